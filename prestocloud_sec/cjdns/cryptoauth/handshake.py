# SPDX-License-Identifier: Apache-2.0
r"""Handshake packets: the 120-byte header, and the box behind it.

Sources: cjdns v21.1 ``wire/CryptoHeader.h``, ``crypto/CryptoAuth.c``; PrEstoCloud deliverable, 3.3.

::

    off  len
      0    4   kind: 0 hello, 1 repeat hello, 2 key, 3 repeat key, ffffffff connect-to-me
      4   12   authentication field
     16   24   random nonce of the box
     40   32   sender's permanent public key, in clear
     72   16   tag        \
     88   32   ciphertext  | one box: the sender's temporary public key, then the payload
    120    n   ciphertext /

The box authenticates only what is inside it. The clear header is bound to it indirectly, because the lookup chooses the
password and nonce and key go into the cipher; bytes 12 to 15 are bound to nothing.

The deliverable counts types from zero as "connect to me", and in the same sentence zero as hello; running nodes decide:
hello is 0, and connect-to-me, which left cjdns long ago, was ffffffff.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from prestocloud_sec.cjdns._layout import Layout, Nested, Number, Octets, Structure
from prestocloud_sec.cjdns.cryptoauth import sodium
from prestocloud_sec.cjdns.cryptoauth.auth import AuthField
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import whole

__all__ = [
    "CONNECT_TO_ME_FILLER",
    "FIRST_DATA_NONCE",
    "HANDSHAKE_SIZE",
    "ClearHeader",
    "HandshakeHeader",
    "PacketKind",
    "clear_header",
    "connect_to_me",
    "open_box",
    "seal",
]

HANDSHAKE_SIZE = 120
"""Bytes that a handshake packet adds to its payload."""

FIRST_DATA_NONCE = 4
"""Packets whose first 32 bits are this or more are data."""

CONNECT_TO_ME_FILLER = 84
"""Random bytes in a connect-to-me packet: 36 before the permanent key, 48 after it."""

_BOX_START = 72
_NONCE = slice(16, 40)
_TEMPORARY_KEY = 32
_U32_MAX = 0xFFFFFFFF
_ADDITIONAL = 0x7FFF
_clear = struct.Struct(">4x8sHH24s32s").unpack_from
_new = tuple.__new__  # the constructor of a named tuple is written in Python and takes three times as long


class PacketKind(IntEnum):
    """What the first 32 bits of a packet say it is."""

    HELLO = 0
    REPEAT_HELLO = 1
    KEY = 2
    REPEAT_KEY = 3
    DATA = 4
    """Any number from 4 on; it is the packet's nonce. Whether there is an authenticator the session knows."""
    CONNECT_TO_ME = _U32_MAX
    """Only in ``profile="deliverable"``; elsewhere a nonce like any other (though no sender reaches it)."""

    @classmethod
    def of(cls, word: int, *, connect_to_me: bool = False) -> PacketKind:
        """Classify a 32-bit number.

        >>> PacketKind.of(3).name, PacketKind.of(4).name, PacketKind.of(0xFFFFFFFF, connect_to_me=True).name
        ('REPEAT_KEY', 'DATA', 'CONNECT_TO_ME')
        """
        if type(word) is not int or not 0 <= word <= _U32_MAX:
            word = whole(word, "first word", 0, _U32_MAX, error=CjdnsMisuseError)
        if word < FIRST_DATA_NONCE:
            return _HANDSHAKES[word]
        return cls.CONNECT_TO_ME if connect_to_me and word == _U32_MAX else cls.DATA


_HANDSHAKES = (PacketKind.HELLO, PacketKind.REPEAT_HELLO, PacketKind.KEY, PacketKind.REPEAT_KEY)


@dataclass(frozen=True, slots=True)
class HandshakeHeader(Structure):
    """The first 120 bytes of a handshake packet.

    Attributes
    ----------
    kind : int
        `PacketKind`; any 32-bit number can be represented.
    auth : AuthField
        12 bytes.
    nonce : bytes, 24 bytes
        Nonce of the box.
    public_key : bytes, 32 bytes
        The sender's permanent key.
    tag : bytes, 16 bytes
        Poly1305 over everything that follows.
    encrypted_temporary_key : bytes, 32 bytes
        The sender's temporary public key, encrypted.
    """

    kind: int
    auth: AuthField
    nonce: bytes
    public_key: bytes
    tag: bytes
    encrypted_temporary_key: bytes

    LAYOUT: ClassVar[Layout] = Layout(
        "handshake header",
        Number("kind", 32),
        Nested("auth", 96, AuthField),
        Octets("nonce", 192),
        Octets("public_key", 256),
        Octets("tag", 128),
        Octets("encrypted_temporary_key", 256),
    )


class ClearHeader(NamedTuple):
    """What a receiver needs of the clear 72 bytes: `HandshakeHeader` in a tenth of the time.

    Attributes
    ----------
    matched : bytes, 8 bytes
        Authentication type and lookup.
    derivations : int
        Rounds of hashing.
    additional : int
        The A bit and 15 bits without a meaning.
    nonce : bytes, 24 bytes
        Nonce of the box.
    public_key : bytes, 32 bytes
        The sender's permanent key.
    """

    matched: bytes
    derivations: int
    additional: int
    nonce: bytes
    public_key: bytes

    @property
    def authenticate(self) -> bool:
        """The A bit."""
        return self.additional > _ADDITIONAL


def clear_header(packet: bytes) -> ClearHeader:
    """Take the clear header of a packet of 120 bytes or more apart."""
    header: ClearHeader = _new(ClearHeader, _clear(packet))
    return header


def seal(
    kind: int, auth: bytes, nonce: bytes, public_key: bytes, temporary_key: bytes, payload: bytes, secret: bytes
) -> bytes:
    """Return a whole handshake packet.

    Parameters
    ----------
    kind : int
        0 to 3.
    auth : bytes, 12 bytes
        The encoded authentication field.
    nonce : bytes, 24 bytes
        Fresh random.
    public_key, temporary_key : bytes, 32 bytes each
        The sender's permanent and temporary public keys.
    payload : bytes
        Any number of bytes.
    secret : bytes, 32 bytes
        See `prestocloud_sec.cjdns.cryptoauth.secrets`.
    """
    box = sodium.seal_box(temporary_key + payload, nonce, secret)
    return b"".join((kind.to_bytes(4, "big"), auth, nonce, public_key, box))


def open_box(packet: bytes, secret: bytes) -> tuple[bytes, bytes] | None:
    """Return temporary key and payload of a packet of 120 bytes or more, or None if it does not authenticate."""
    content = sodium.open_box(packet[_BOX_START:], packet[_NONCE], secret)
    if content is None:
        return None
    return content[:_TEMPORARY_KEY], content[_TEMPORARY_KEY:]


def connect_to_me(public_key: bytes, filler: bytes) -> bytes:
    """Return a connect-to-me packet: type, 36 random bytes, the sender's permanent key, 48 random bytes.

    Parameters
    ----------
    public_key : bytes, 32 bytes
        The sender's permanent key: all that the packet says.
    filler : bytes, 84 bytes
        Fresh random.
    """
    return _U32_MAX.to_bytes(4, "big") + filler[:36] + public_key + filler[36:]
