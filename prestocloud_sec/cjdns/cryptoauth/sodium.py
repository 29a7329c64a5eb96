# SPDX-License-Identifier: Apache-2.0
"""The libsodium that PyNaCl carries, called without PyNaCl's argument handling in between.

`nacl.bindings.crypto_box_afternm` copies every message twice (the old padded interface) and checks lengths in Python;
for a data packet that costs more than the cryptography. PyNaCl's compiled module also exposes the same library through
cffi (``nacl._sodium.lib``), whose ``crypto_box_easy_afternm`` reads and writes where it is told. This module is the one
place that touches it:

- `LIBRARY` is the function table, or ``None`` if this PyNaCl does not have the names (it is a private module, so that
  may come); single packets then go through the public bindings (`prestocloud_sec.cjdns.cryptoauth.cipher`).
- `library` returns the table or says why there is none.

Importing ``nacl.bindings`` first is what runs ``sodium_init``, without which libsodium works but with its slow portable
code. The addresses in the table stay valid for the life of the process: the extension module is never unloaded, and the
table keeps the cffi objects that own them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nacl.bindings  # noqa: F401  (runs sodium_init)

from prestocloud_sec.errors import UnavailableError

__all__ = ["KEY_BYTES", "LIBRARY", "NONCE_BYTES", "TAG_BYTES", "Library", "library"]

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
    zero : cffi function
        ``sodium_memzero(pointer, size)``, which the compiler may not leave out.
    seal_address, open_address : int
        Where the two functions are, for compiled kernels that are handed an address at each call.
    seal_padded_address : int
        Where ``crypto_box_afternm(out, message, size, nonce, key)`` is: the message begins with 32 zeros that `size`
        counts, the output with 16.
    """

    ffi: Any
    seal: Any
    open: Any
    zero: Any
    seal_address: int
    open_address: int
    seal_padded_address: int


def _load() -> Library | None:
    try:
        from nacl._sodium import ffi, lib

        addresses = [
            int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
            for name in ("crypto_box_easy_afternm", "crypto_box_open_easy_afternm", "crypto_box_afternm")
        ]
        return Library(
            ffi, lib.crypto_box_easy_afternm, lib.crypto_box_open_easy_afternm, lib.sodium_memzero, *addresses
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
