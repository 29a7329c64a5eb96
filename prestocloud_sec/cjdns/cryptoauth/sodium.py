# SPDX-License-Identifier: Apache-2.0
"""The libsodium that PyNaCl carries, called without PyNaCl's argument handling in between.

`nacl.bindings.crypto_box_afternm` copies every message twice (the old padded interface) and checks lengths in Python;
for a data packet that costs more than the cryptography. PyNaCl's compiled module also exposes the same library through
cffi (``nacl._sodium.lib``), whose ``crypto_box_easy_afternm`` reads and writes where it is told. This module is the one
place that touches it:

- `LIBRARY` is the function table, or ``None`` if this PyNaCl does not have the names (it is a private module, so that
  may come); single packets then go through the public bindings (`prestocloud_sec.cjdns.cryptoauth.cipher`).
- `library` returns the table or says why there is none.
- `beforenm`, `public_key`, `seal_box` and `open_box` are what a handshake needs of NaCl: by the short way where there
  is one, otherwise through the public bindings.

Importing ``nacl.bindings`` first is what runs ``sodium_init``, without which libsodium works but with its slow portable
code. The addresses in the table stay valid for the life of the process: the extension module is never unloaded, and the
table keeps the cffi objects that own them.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from nacl import bindings  # runs sodium_init
from nacl.exceptions import CryptoError

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.errors import UnavailableError

__all__ = [
    "KEY_BYTES",
    "LIBRARY",
    "NONCE_BYTES",
    "SCRATCH",
    "SCRATCH_BYTES",
    "TAG_BYTES",
    "Library",
    "Parts",
    "beforenm",
    "check_keys",
    "library",
    "new_scratch",
    "open_box",
    "parts",
    "public_key",
    "seal_box",
]

KEY_BYTES = 32
"""Size of the shared secret."""

NONCE_BYTES = 24
"""Size of the XSalsa20 nonce."""

TAG_BYTES = 16
"""Size of the Poly1305 tag, which stands before the ciphertext."""


@dataclass(frozen=True, slots=True)
class Library:
    """libsodium's functions for data packets.

    Attributes
    ----------
    ffi : cffi FFI object
        Makes the buffers that the functions take.
    seal, open : cffi functions
        ``crypto_box_easy_afternm(out, message, size, nonce, key)`` writes tag and ciphertext (``size + 16`` bytes);
        ``crypto_box_open_easy_afternm(out, boxed, size, nonce, key)`` writes ``size - 16`` bytes and returns 0, or
        returns -1 and writes nothing. ``out`` may lie anywhere: libsodium moves overlapping messages first.
    beforenm, public_key : cffi functions
        ``crypto_box_beforenm(out, public, private)`` gives -1 if the public key is a point of small order;
        ``crypto_scalarmult_base(out, private)``. Both write 32 bytes.
    zero : cffi function
        ``sodium_memzero(pointer, size)``, which the compiler may not leave out.
    seal_address, open_address, zero_address : int
        Where these functions are, for compiled kernels that are handed an address at each call.
    """

    ffi: Any
    seal: Any
    open: Any
    beforenm: Any
    public_key: Any
    zero: Any
    seal_address: int
    open_address: int
    zero_address: int


def _load() -> Library | None:
    try:
        from nacl._sodium import ffi, lib

        addresses = [
            int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
            for name in ("crypto_box_easy_afternm", "crypto_box_open_easy_afternm", "sodium_memzero")
        ]
        return Library(
            ffi,
            lib.crypto_box_easy_afternm,
            lib.crypto_box_open_easy_afternm,
            lib.crypto_box_beforenm,
            lib.crypto_scalarmult_base,
            lib.sodium_memzero,
            *addresses,
        )
    except (ImportError, AttributeError, TypeError):
        return None


LIBRARY: Library | None = _load()


def library() -> Library:
    """Return the function table.

    Raises
    ------
    UnavailableError
        If the installed PyNaCl does not offer these functions through cffi.
    """
    if LIBRARY is None:
        raise UnavailableError(
            "the installed PyNaCl does not expose libsodium's functions",
            where="nacl._sodium",
            expected="crypto_box_easy_afternm and crypto_box_open_easy_afternm",
            hint="packets can still be sealed and opened one by one; for batches install PyNaCl 1.6",
        )
    return LIBRARY


class Parts(NamedTuple):
    """Where the functions are that a box is made of, which PyNaCl does not offer; all return 0.

    Attributes
    ----------
    subkey : int
        ``crypto_core_hsalsa20(out, input, key, constant)``: 32 bytes of 16 and 32; NULL stands for the usual constant.
    stream : int
        ``crypto_stream_salsa20_xor(out, message, size, nonce, key)``: the nonce is 8 bytes, `out` may be `message`.
    tag, verify : int
        ``crypto_onetimeauth_poly1305(out, message, size, key)`` and ``..._verify(tag, message, size, key)``, which
        compares 16 bytes in constant time and returns -1 if they differ.
    """

    subkey: int
    stream: int
    tag: int
    verify: int


_PARTS = (
    "crypto_core_hsalsa20",
    "crypto_stream_salsa20_xor",
    "crypto_onetimeauth_poly1305",
    "crypto_onetimeauth_poly1305_verify",
)


@functools.cache
def parts() -> Parts | None:
    """Return the parts of a box as the dynamic linker finds them in the same library, or None if it does not."""
    import ctypes

    from nacl import _sodium

    try:
        library = ctypes.CDLL(_sodium.__file__)
        return Parts(*[ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in _PARTS])
    except (AttributeError, OSError, TypeError):
        return None


SCRATCH: deque[tuple[Any, Any, Any]] = deque()
"""Memory for the output of one call each: a pointer to it, one to byte 4, and a view to copy results from.

A call takes one (`deque.pop` and `deque.append` are atomic, so no two calls share it; a list would be shrunk and grown
again each time) or makes a `new_scratch`, and gives it back. Writing straight into a new `bytes` would save that copy
but change an immutable object; allocating a cffi buffer for each packet costs ten times as much. Payloads stay there
until overwritten, as they do in Python's own freed memory; keys are overwritten at once.
"""

SCRATCH_BYTES = 1 << 16

_ZEROS = bytes(KEY_BYTES)

_pop = SCRATCH.pop
_push = SCRATCH.append


def new_scratch() -> tuple[Any, Any, Any]:
    """Make scratch memory for `SCRATCH`."""
    ffi = library().ffi
    memory = ffi.new("unsigned char[]", SCRATCH_BYTES)
    return memory, memory + 4, ffi.buffer(memory)


def _wrong_sizes() -> CjdnsMisuseError:
    """Refuse an input of another type or size than libsodium reads: it would read beyond its end."""
    return CjdnsMisuseError("wrong size or type", where="libsodium", expected="keys of 32 bytes, nonces of 24")


def check_keys(private: bytes, public: bytes) -> None:
    """Refuse a key that is no `bytes` of 32: libsodium would read beyond its end.

    Raises
    ------
    CjdnsMisuseError
        If either is not.
    """
    if type(private) is not bytes or type(public) is not bytes or len(private) != 32 or len(public) != 32:
        raise _wrong_sizes()


def beforenm(public: bytes, private: bytes) -> bytes | None:
    """Return the 32 bytes of ``crypto_box_beforenm``, or None if `public` is a point of small order.

    Both keys must be 32 bytes.
    """
    if type(private) is not bytes or type(public) is not bytes or len(private) != 32 or len(public) != 32:
        raise _wrong_sizes()
    table = LIBRARY
    if table is None:
        try:
            return bindings.crypto_box_beforenm(public, private)
        except RuntimeError:
            return None
    try:
        scratch = _pop()
    except IndexError:
        scratch = new_scratch()
    memory, _, view = scratch
    secret: bytes | None = None if table.beforenm(memory, public, private) else view[:KEY_BYTES]
    view[:KEY_BYTES] = _ZEROS
    _push(scratch)
    return secret


def public_key(private: bytes) -> bytes:
    """Return the public key of a private one (32 bytes each)."""
    if type(private) is not bytes or len(private) != KEY_BYTES:
        raise _wrong_sizes()
    table = LIBRARY
    if table is None:
        return bindings.crypto_scalarmult_base(private)
    try:
        scratch = _pop()
    except IndexError:
        scratch = new_scratch()
    table.public_key(scratch[0], private)
    public: bytes = scratch[2][:KEY_BYTES]
    _push(scratch)
    return public


def seal_box(message: bytes, nonce: bytes, secret: bytes) -> bytes:
    """Return tag and ciphertext of `message`; `nonce` must be 24 bytes, `secret` 32."""
    if type(secret) is not bytes or type(nonce) is not bytes or len(secret) != 32 or len(nonce) != 24:
        raise _wrong_sizes()
    table, size = LIBRARY, len(message) + TAG_BYTES
    if table is None or size > SCRATCH_BYTES:
        return bindings.crypto_box_afternm(message, nonce, secret)
    try:
        scratch = _pop()
    except IndexError:
        scratch = new_scratch()
    table.seal(scratch[0], message, len(message), nonce, secret)
    boxed: bytes = scratch[2][:size]
    _push(scratch)
    return boxed


def open_box(boxed: bytes, nonce: bytes, secret: bytes) -> bytes | None:
    """Return the message of a box (16 bytes or more), or None; `nonce` must be 24 bytes, `secret` 32."""
    if type(secret) is not bytes or type(nonce) is not bytes or len(secret) != 32 or len(nonce) != 24:
        raise _wrong_sizes()
    table, size = LIBRARY, len(boxed)
    if table is None or size > SCRATCH_BYTES:
        try:
            return bindings.crypto_box_open_afternm(boxed, nonce, secret)
        except CryptoError:
            return None
    try:
        scratch = _pop()
    except IndexError:
        scratch = new_scratch()
    message: bytes | None = None
    if not table.open(scratch[0], boxed, size, nonce, secret):
        message = scratch[2][: size - TAG_BYTES]
    _push(scratch)
    return message
