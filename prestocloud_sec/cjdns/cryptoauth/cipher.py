# SPDX-License-Identifier: Apache-2.0
"""Data packets of an established CryptoAuth session: one packet sealed or opened with a shared secret.

Wire form (cjdns v21.1 ``crypto/CryptoAuth.c``, functions ``encryptMessage`` and ``decryptMessage``; PrEstoCloud
deliverable, 3.3, "Data Packet")::

    0   4   nonce, big-endian, counts up from 4
    4  16   Poly1305 tag                 (absent where packets are not authenticated)
   20   n   XSalsa20 ciphertext

The cipher's 24-byte nonce is all zero but for the packet's nonce in *little-endian* order: at bytes 0..3 when the
sender of the packet is the responder of the handshake (it sent the key packet), at bytes 4..7 when it is the initiator
(it sent the hello). So a packet that is reflected to its sender meets another key stream and does not authenticate.

An unauthenticated packet is the same ciphertext without its tag: XSalsa20 from byte 32 of the key stream (the first 32
bytes key Poly1305). Running cjdns nodes never send it; only ``profile="deliverable"`` does.

A `DataCipher` has no counter: whoever calls `DataCipher.seal` promises a nonce that this secret has not sealed with
before (`prestocloud_sec.cjdns.cryptoauth.session.Session` counts). It also keeps no state between calls that a second
thread could see half changed: the cipher's nonce is made anew for each call, and output is written into scratch memory
that belongs to one call at a time.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nacl import bindings
from nacl.exceptions import CryptoError

from prestocloud_sec.cjdns._layout import octets, view
from prestocloud_sec.cjdns.cryptoauth import sodium
from prestocloud_sec.cjdns.cryptoauth.handshake import FIRST_DATA_NONCE
from prestocloud_sec.cjdns.cryptoauth.secrets import KeepsSecrets
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, DecryptionError, RuntError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["LARGEST", "WIRE_NONCE", "DataCipher", "readable", "refused"]

WIRE_NONCE = struct.Struct(">I")
"""How a data packet begins."""

_RESPONDER_NONCE = struct.Struct("<I20x").pack
_INITIATOR_NONCE = struct.Struct("<4xI16x").pack
_PACKERS = {True: (_INITIATOR_NONCE, _RESPONDER_NONCE), False: (_RESPONDER_NONCE, _INITIATOR_NONCE)}
"""By whether we are the initiator: the cipher's nonce of what we send, and of what we receive."""


class DataCipher(KeepsSecrets):
    """The shared secret of a session, ready to seal and open data packets.

    Parameters
    ----------
    secret : bytes
        32 bytes; copied, and wiped by `wipe`.
    initiator : bool
        Whether *we* sent the hello of the handshake that made this secret.
    authenticated : bool
        Whether packets carry a Poly1305 tag. Without one anybody can change a packet unnoticed.

    Raises
    ------
    CjdnsMisuseError
        If `secret` is not 32 bytes.

    Notes
    -----
    This class is the readable form, over PyNaCl's public bindings. Where PyNaCl exposes libsodium through cffi (see
    `prestocloud_sec.cjdns.cryptoauth.sodium`), making a `DataCipher` gives a subclass that does the same in place.

    Examples
    --------
    >>> ours, theirs = DataCipher(bytes(32), initiator=True), DataCipher(bytes(32), initiator=False)
    >>> packet = ours.seal(4, b"hello")
    >>> packet[:4].hex(), len(packet), theirs.open(packet)
    ('00000004', 25, b'hello')
    """

    __slots__ = (
        "_key",
        "_receive_nonce",
        "_send_nonce",
        "authenticated",
        "batches",
        "context",
        "initiator",
        "open_quickly",
        "opening",
        "overhead",
        "seal_quickly",
        "sealing",
    )

    authenticated: bool
    initiator: bool
    overhead: int
    """Bytes that sealing adds to a payload: 20, or 4 without authentication."""
    batches: bool
    """Whether `prestocloud_sec.cjdns.cryptoauth.batch` can use this cipher."""
    seal_quickly: Callable[[int, bytes, int], bytes] | None
    """`seal` without its checks, for a caller who has made them: a nonce from 4 on, a payload that is `bytes`, and its
    size, at most `LARGEST`. None where there is no short way, and once the cipher was wiped."""
    open_quickly: Callable[[int, bytes, int], bytes | None] | None
    """`open_as` likewise, for a packet that is `bytes`, and its size, 20 to `LARGEST`; None for what does not
    authenticate."""
    sealing: tuple[Any, Callable[[int], bytes]] | None
    """What `seal_quickly` works with, for `Session.encrypt`, which does the same without calling it: the secret, and
    what makes the cipher's nonce. None when that is."""
    opening: tuple[Any, Callable[[int], bytes]] | None
    """What `open_quickly` works with, for `Session.decrypt`."""
    context: Any
    """What compiled kernels take in place of this object (`prestocloud_sec.cjdns.cryptoauth.batch`), once made."""

    def __new__(cls, secret: BytesLike, *, initiator: bool, authenticated: bool = True) -> DataCipher:  # noqa: ARG004, D102
        if cls is DataCipher and authenticated and sodium.LIBRARY is not None:
            return object.__new__(_SodiumCipher)
        return object.__new__(cls)

    def __init__(self, secret: BytesLike, *, initiator: bool, authenticated: bool = True) -> None:
        raw = octets(secret, "secret", sodium.KEY_BYTES)
        self.initiator = initiator
        self.authenticated = authenticated
        self.overhead = 20 if authenticated else 4
        self._send_nonce, self._receive_nonce = _PACKERS[bool(initiator)]
        self._key: Any = bytearray(raw)
        self.batches = authenticated and sodium.LIBRARY is not None
        self.context = self.seal_quickly = self.open_quickly = self.sealing = self.opening = None

    def __repr__(self) -> str:
        return f"DataCipher(<secret>, initiator={self.initiator}, authenticated={self.authenticated})"

    def seal(self, nonce: int, payload: BytesLike) -> bytes:
        """Return the data packet that carries `payload`.

        Parameters
        ----------
        nonce : int
            4 to 2**32 - 1, never used before with this secret in this direction (smaller values mark handshakes).
        payload : bytes-like
            Any number of bytes.

        Raises
        ------
        CjdnsMisuseError
            If the nonce is out of range, the payload is not bytes-like, or the cipher was wiped.
        """
        try:
            head, inner = WIRE_NONCE.pack(nonce), self._send_nonce(nonce)
        except (struct.error, TypeError):
            raise _bad_nonce(nonce) from None
        if nonce < FIRST_DATA_NONCE:
            raise _bad_nonce(nonce)
        boxed = bindings.crypto_box_afternm(octets(payload, "payload"), inner, self._secret())
        return head + (boxed if self.authenticated else boxed[sodium.TAG_BYTES :])

    def open(self, packet: BytesLike) -> bytes:
        """Return the payload of a data packet.

        Whether the nonce was seen before is not looked at; that is the replay window's work.

        Raises
        ------
        RuntError
            If the packet is shorter than its header.
        DecryptionError
            If it does not authenticate: forged, damaged, of another session, or one of our own sent back.
        CjdnsMisuseError
            If the packet is not bytes-like, or the cipher was wiped.
        """
        source = octets(packet, "packet")
        if len(source) < self.overhead:
            raise _runt(len(source), self.overhead)
        return self.open_as(WIRE_NONCE.unpack_from(source)[0], source)

    def open_as(self, nonce: int, packet: bytes) -> bytes:
        """Return the payload of a data packet of at least `overhead` bytes whose nonce was read already.

        Raises
        ------
        DecryptionError, CjdnsMisuseError
            As `open`.
        """
        inner, boxed = self._receive_nonce(nonce), packet[WIRE_NONCE.size :]
        if not self.authenticated:  # the key stream is its own inverse
            return bindings.crypto_box_afternm(boxed, inner, self._secret())[sodium.TAG_BYTES :]
        try:
            return bindings.crypto_box_open_afternm(boxed, inner, self._secret())
        except CryptoError:
            raise refused() from None

    def wipe(self) -> None:
        """Overwrite the secret; the cipher cannot be used afterwards. No call may be under way in another thread."""
        key, self._key, self.context = self._key, None, None
        if key is not None:
            key[:] = bytes(len(key))

    def key_address(self) -> int:
        """Where the secret lies in memory, for compiled code; valid until `wipe`, or until this object is gone."""
        if self._key is None:
            raise _wiped()
        ffi = sodium.library().ffi
        return int(ffi.cast("uintptr_t", ffi.from_buffer(self._key)))

    def _secret(self) -> bytes:
        if self._key is None:
            raise _wiped()
        return bytes(self._key)


class _SodiumCipher(DataCipher):
    """The same over cffi, always authenticated."""

    __slots__ = ()

    def __init__(self, secret: BytesLike, *, initiator: bool, authenticated: bool = True) -> None:
        # As the other, but nothing is asked twice: a handshake makes two of these.
        if type(secret) is not bytes or len(secret) != sodium.KEY_BYTES:
            secret = octets(secret, "secret", sodium.KEY_BYTES)
        self.initiator = initiator
        self.authenticated = self.batches = authenticated
        self.overhead = 20
        send_nonce, receive_nonce = self._send_nonce, self._receive_nonce = _PACKERS[bool(initiator)]
        key = self._key = _new_key(secret)
        self.sealing, self.opening = (key, send_nonce), (key, receive_nonce)
        self.seal_quickly, self.open_quickly = _sealer(key, send_nonce), _opener(key, receive_nonce)
        self.context = None

    def seal(self, nonce: int, payload: BytesLike) -> bytes:
        source: Any = payload if type(payload) is bytes else readable(view(payload, "payload"))
        size, quick = len(source), self.seal_quickly
        if size > LARGEST or quick is None:
            return super().seal(nonce, payload)
        if type(nonce) is not int or not FIRST_DATA_NONCE <= nonce <= _U32_MAX:
            raise _bad_nonce(nonce)
        return quick(nonce, source, size)

    def open(self, packet: BytesLike) -> bytes:
        source = packet if type(packet) is bytes else octets(packet, "packet")
        if len(source) < 20:
            raise _runt(len(source), 20)
        return self.open_as(_read_wire_nonce(source)[0], source)

    def open_as(self, nonce: int, packet: bytes) -> bytes:
        size, quick = len(packet), self.open_quickly
        if not 20 <= size <= LARGEST or quick is None:
            return super().open_as(nonce, packet)
        payload = quick(nonce, packet, size)
        if payload is None:
            raise refused()
        return payload

    def wipe(self) -> None:
        key, self._key, self.context = self._key, None, None
        self.seal_quickly = self.open_quickly = self.sealing = self.opening = None
        if key is not None:
            sodium.library().zero(key, sodium.KEY_BYTES)

    def key_address(self) -> int:
        if self._key is None:
            raise _wiped()
        return int(sodium.library().ffi.cast("uintptr_t", self._key))


# A call's scratch memory holds a packet (the wire's nonce, 4 bytes; the tag, 16; the ciphertext) or a payload.
LARGEST = sodium.SCRATCH_BYTES - 20
"""Larger payloads and packets, which no datagram carries, go through the public bindings."""
_U32_MAX = 0xFFFFFFFF

_pop = sodium.SCRATCH.pop
_push = sodium.SCRATCH.append
_read_wire_nonce = WIRE_NONCE.unpack_from
_put_wire_nonce = WIRE_NONCE.pack_into

readable: Callable[[memoryview], Any] = bytes if sodium.LIBRARY is None else sodium.LIBRARY.ffi.from_buffer
"""Turns a view into what libsodium can read, without a copy if possible."""

if sodium.LIBRARY is not None:
    _seal = sodium.LIBRARY.seal
    _open = sodium.LIBRARY.open
    _new_key = functools.partial(sodium.LIBRARY.ffi.new, sodium.LIBRARY.ffi.typeof("unsigned char[32]"))


def _sealer(key: Any, send_nonce: Callable[[int], bytes]) -> Callable[[int, Any, int], bytes]:
    """Return what seals with a secret, and checks nothing."""

    def seal(nonce: int, source: Any, size: int) -> bytes:
        try:
            scratch = _pop()
        except IndexError:
            scratch = sodium.new_scratch()
        _, box, memory = scratch
        _put_wire_nonce(memory, 0, nonce)
        _seal(box, source, size, send_nonce(nonce), key)
        packet: bytes = memory[: size + 20]
        _push(scratch)
        return packet

    return seal


def _opener(key: Any, receive_nonce: Callable[[int], bytes]) -> Callable[[int, bytes, int], bytes | None]:
    """Return what opens with a secret, and checks nothing but that the packet authenticates."""

    def open_(nonce: int, packet: bytes, size: int) -> bytes | None:
        try:
            scratch = _pop()
        except IndexError:
            scratch = sodium.new_scratch()
        out, _, memory = scratch
        # Cutting the nonce off copies the packet, and still takes less time than a cffi pointer into it.
        if _open(out, packet[4:], size - 4, receive_nonce(nonce), key):
            _push(scratch)
            return None
        payload: bytes = memory[: size - 20]
        _push(scratch)
        return payload

    return open_


def _bad_nonce(nonce: object) -> CjdnsMisuseError:
    return CjdnsMisuseError(
        f"{shown(nonce)} is no data nonce", where="DataCipher.seal", expected=f"{FIRST_DATA_NONCE} to 2**32 - 1"
    )


def _wiped() -> CjdnsMisuseError:
    return CjdnsMisuseError("the cipher was wiped", where="DataCipher", hint="make a new one")


def _runt(size: int, least: int) -> RuntError:
    return RuntError(f"{size} bytes", where="data packet", expected=f"at least {least} bytes")


def refused() -> DecryptionError:
    """Say that a data packet does not authenticate."""
    return DecryptionError(
        "the packet does not authenticate",
        where="data packet",
        hint="forged, damaged, of another session, or sent back to its sender: drop it",
    )
