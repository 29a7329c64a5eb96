# SPDX-License-Identifier: Apache-2.0
"""The public half of who a node is: its key, its address, and the name that holds both with the way to it.

A node's address is the first 16 bytes of ``SHA512(SHA512(public key))`` and counts only if it lies in fc00::/8, that
is, if its first byte is ``fc`` (cjdns Whitepaper, section "CryptoAuth"; PrEstoCloud deliverable, 3.2; cjdns v21.1,
``crypto/AddressCalc.c``, ``crypto/Key.c``, ``util/AddrTools.h``). Nobody hands addresses out: about one key in 256
gives a valid one, and whoever claims an address is asked for the key that hashes to it.

Everything here is a value: immutable, hashable, printable, and equal to what its own text or bytes parse to. Users
import these names from `prestocloud_sec.cjdns.keys`.
"""

from __future__ import annotations

import hashlib
import html
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.cjdns._layout import view
from prestocloud_sec.cjdns.base32 import base32_decode, base32_encode
from prestocloud_sec.cjdns.errors import (
    AddressError,
    AddressMismatchError,
    CjdnsError,
    CjdnsMisuseError,
    KeyFormatError,
    KeyLengthError,
    KeySuffixError,
)
from prestocloud_sec.cjdns.headers import label_text

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "HEX_KEY",
    "KEY_SIZE",
    "Address",
    "NodeName",
    "PublicKey",
    "address_bytes",
    "parse_ip",
]

KEY_SIZE = 32
"""Bytes of a private or public key."""

HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")
"""A private or public key in hexadecimal."""

_ADDRESS_SIZE = 16
_PREFIX = 0xFC
_LONGEST_IP = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
_TEXT_SIZE = 54  # 52 characters of base32, ".k"
_NODE_NAME = re.compile(r"v([1-9][0-9]{0,9})\.((?:[0-9A-Fa-f]{4}\.){4})(.{54})", re.ASCII | re.DOTALL)


def exact_bytes(data: BytesLike, size: int, name: str, error: type[CjdnsError]) -> bytes:
    """Return exactly `size` bytes of a bytes-like object; another length raises `error`."""
    if type(data) is bytes and len(data) == size:
        return data
    raw = view(data, name)
    if len(raw) != size:
        raise error(f"{len(raw)} bytes", where=name, expected=f"{size} bytes")
    return bytes(raw)


def exact_text(text: object, name: str) -> str:
    """Return `text` if it is a string; anything else is misuse."""
    if not isinstance(text, str):
        raise CjdnsMisuseError(f"{type(text).__name__} is not text", where=name, expected="str")
    return text


def address_bytes(public: BytesLike) -> bytes:
    """Return the first 16 bytes of ``SHA512(SHA512(public))`` for a 32-byte key, whether or not they make an address.

    Raises
    ------
    KeyLengthError
        If `public` is not 32 bytes.
    """
    key = exact_bytes(public, KEY_SIZE, "public key", KeyLengthError)
    return hashlib.sha512(hashlib.sha512(key).digest()).digest()[:_ADDRESS_SIZE]


def parse_ip(text: str) -> bytes:
    """Return the 16 bytes of any IPv6 address, in any form of RFC 4291, section 2.2.

    Zone indexes, prefix lengths, brackets and white space are refused.

    Raises
    ------
    AddressError
        If `text` is not an IPv6 address.
    """
    exact_text(text, "address")
    if len(text) > _LONGEST_IP or "%" in text:
        raise AddressError(
            "a zone index" if "%" in text[:_LONGEST_IP] else f"{len(text)} characters",
            where="address",
            expected="an IPv6 address like fc12:3456::1",
        )
    try:
        return ipaddress.IPv6Address(text).packed
    except ValueError as error:
        raise AddressError(
            f"{text!a} is not IPv6", where="address", expected="eight groups of four hex digits"
        ) from error


@dataclass(frozen=True, slots=True, eq=False, init=False, repr=False)
class Address:
    """The IPv6 address of a cjdns node: 16 bytes in network order, the first of them ``fc``.

    Addresses are ordered by their bytes, as ``memcmp`` would.

    Attributes
    ----------
    packed : bytes
        The 16 bytes.

    Raises
    ------
    AddressError
        If the bytes are not 16, or do not begin with ``fc``.

    Examples
    --------
    >>> Address.parse("fc00::1")
    Address('fc00:0000:0000:0000:0000:0000:0000:0001')
    """

    packed: bytes

    def __init__(self, packed: BytesLike) -> None:
        raw = exact_bytes(packed, _ADDRESS_SIZE, "address", AddressError)
        if raw[0] != _PREFIX:
            raise AddressError(
                f"first byte {raw[0]:02x}", where="address", expected="fc: cjdns uses fc00::/8 and nothing else"
            )
        object.__setattr__(self, "packed", raw)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address in the full form that cjdns prints, or in any other form of RFC 4291, section 2.2.

        Raises
        ------
        AddressError
            If `text` is no IPv6 address, has a zone index, or lies outside fc00::/8.
        """
        return cls(parse_ip(text))

    @classmethod
    def from_key(cls, key: PublicKey) -> Address:
        """Return the address of a key.

        Raises
        ------
        AddressError
            If the key does not hash into fc00::/8.
        """
        if not isinstance(key, PublicKey):
            raise CjdnsMisuseError(f"{type(key).__name__} is not a key", where="key", expected="PublicKey")
        return key.address

    @property
    def metric(self) -> int:
        """The address as the number distances are taken of: rotated by 64 bits, so that bytes 8..15 lead.

        All addresses begin alike; the rotation brings bits forward that tell them apart (cjdns
        Whitepaper, "The Router").
        """
        return int.from_bytes(self.packed[8:] + self.packed[:8], "big")

    @property
    def short(self) -> str:
        """The text without leading zeros in the groups, as cjdns prints it in short form (no ``::``)."""
        return ":".join(f"{int.from_bytes(self.packed[at : at + 2], 'big'):x}" for at in range(0, _ADDRESS_SIZE, 2))

    def __bytes__(self) -> bytes:
        return self.packed

    def __str__(self) -> str:
        return self.packed.hex(":", 2)

    def __repr__(self) -> str:
        return f"Address('{self}')"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(str(self))}</code>"

    def __hash__(self) -> int:
        return hash(self.packed)

    def __eq__(self, other: object) -> bool:
        return self.packed == other.packed if isinstance(other, Address) else NotImplemented

    def __lt__(self, other: object) -> bool:
        return self.packed < other.packed if isinstance(other, Address) else NotImplemented

    def __le__(self, other: object) -> bool:
        return self.packed <= other.packed if isinstance(other, Address) else NotImplemented

    def __gt__(self, other: object) -> bool:
        return self.packed > other.packed if isinstance(other, Address) else NotImplemented

    def __ge__(self, other: object) -> bool:
        return self.packed >= other.packed if isinstance(other, Address) else NotImplemented


@dataclass(frozen=True, slots=True, eq=False, init=False, repr=False)
class PublicKey:
    """A Curve25519 public key: 32 bytes, little-endian, any value.

    A permanent key has an `address`; a temporary key of a handshake usually has none (`is_routable` tells).

    Attributes
    ----------
    raw : bytes
        The 32 bytes.

    Raises
    ------
    KeyLengthError
        If the bytes are not 32.
    """

    raw: bytes
    _hashed: bytes

    def __init__(self, raw: BytesLike) -> None:
        object.__setattr__(self, "raw", exact_bytes(raw, KEY_SIZE, "public key", KeyLengthError))
        object.__setattr__(self, "_hashed", b"")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read a key as cjdns prints it (52 characters of base32, then ``.k``), or as 64 hexadecimal digits.

        The ``.k`` form is how nodes are named, so it must hash into fc00::/8; the hexadecimal form takes any key.
        Nothing may follow, unlike in ``Key_parse``, which reads 54 characters and ignores the rest.

        Raises
        ------
        KeyLengthError
            If the text is shorter or longer than its form.
        KeySuffixError
            If characters 53 and 54 are not ``.k``.
        KeyEncodingError
            If the rest is not base32 of 32 bytes.
        AddressError
            If the key does not hash into fc00::/8.
        """
        exact_text(text, "public key")
        if HEX_KEY.fullmatch(text):
            return cls(bytes.fromhex(text))
        if len(text) < _TEXT_SIZE:
            raise KeyLengthError(f"{len(text)} characters", where="public key", expected="52 of base32, then .k")
        if text[52:_TEXT_SIZE] != ".k":
            raise KeySuffixError(
                f"characters 53 and 54 are {text[52:_TEXT_SIZE]!a}", where="public key", expected="'.k'"
            )
        if len(text) > _TEXT_SIZE:
            raise KeyLengthError(
                f"{len(text)} characters", where="public key", expected=f"{_TEXT_SIZE}, nothing after .k"
            )
        key = cls(base32_decode(text[:52]))
        if not key.is_routable:
            raise key._unroutable()
        return key

    @property
    def text(self) -> str:
        """The key as cjdns prints it: 52 characters of base32, then ``.k``."""
        return base32_encode(self.raw) + ".k"

    @property
    def hex(self) -> str:
        """The key as 64 hexadecimal digits."""
        return self.raw.hex()

    @property
    def hashed(self) -> bytes:
        """The first 16 bytes of ``SHA512(SHA512(raw))``: the address, if it is one (computed once)."""
        if not self._hashed:
            object.__setattr__(self, "_hashed", address_bytes(self.raw))
        return self._hashed

    @property
    def is_routable(self) -> bool:
        """Whether the key hashes into fc00::/8, and so can belong to a node."""
        return self.hashed[0] == _PREFIX

    @property
    def address(self) -> Address:
        """The node's address.

        Raises
        ------
        AddressError
            If the key does not hash into fc00::/8.
        """
        if not self.is_routable:
            raise self._unroutable()
        return Address(self.hashed)

    def check_address(self, claimed: Address) -> None:
        """Refuse a peer whose key does not give the address it claims.

        Raises
        ------
        AddressMismatchError
            If the key hashes to another address.
        AddressError
            If the key does not hash into fc00::/8 at all.
        """
        if not isinstance(claimed, Address):
            raise CjdnsMisuseError(f"{type(claimed).__name__} is not an address", where="claimed", expected="Address")
        if self.address != claimed:
            raise AddressMismatchError(
                f"the key gives {self.address}", where="peer", expected=str(claimed), hint="do not talk to this peer"
            )

    def _unroutable(self) -> AddressError:
        return AddressError(
            f"the key hashes to {self.hashed.hex(':', 2)}",
            where="public key",
            expected="an address in fc00::/8",
            hint="only about one key in 256 can name a node",
        )

    def __bytes__(self) -> bytes:
        return self.raw

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"PublicKey('{self.text}')"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(self.text)}</code>"

    def __hash__(self) -> int:
        return hash(self.raw)

    def __eq__(self, other: object) -> bool:
        return self.raw == other.raw if isinstance(other, PublicKey) else NotImplemented


@dataclass(frozen=True, slots=True, repr=False)
class NodeName:
    """The full name of a node as cjdns logs and configurations have it: ``v21.0000.0000.0000.0013.<52 characters>.k``.

    Attributes
    ----------
    version : int
        The protocol version the node speaks, 1 to 2**32 - 1.
    label : int
        The 64-bit route label that leads to it.
    key : PublicKey
        Its public key, which hashes into fc00::/8.
    """

    version: int
    label: int
    key: PublicKey

    def __post_init__(self) -> None:
        if not isinstance(self.version, int) or not 1 <= self.version < 1 << 32:
            raise CjdnsMisuseError("not a protocol version", where="node name", expected="an int, 1..2**32 - 1")
        if not isinstance(self.label, int) or not 0 <= self.label < 1 << 64:
            raise CjdnsMisuseError("not a route label", where="node name", expected="an int of 64 bits")
        if not isinstance(self.key, PublicKey):
            raise CjdnsMisuseError(f"{type(self.key).__name__} is not a key", where="node name", expected="PublicKey")

    @classmethod
    def parse(cls, text: str) -> NodeName:
        """Read a full node name.

        Raises
        ------
        KeyFormatError
            If the text does not have the form, or its key cannot be parsed.
        AddressError
            If the key does not hash into fc00::/8.
        """
        match = _NODE_NAME.fullmatch(exact_text(text, "node name"))
        version = int(match[1]) if match else 0
        if match is None or version >= 1 << 32:
            raise KeyFormatError(
                "not a node name", where="node name", expected="v21.0000.0000.0000.0013.<52 characters of base32>.k"
            )
        return cls(version, int(match[2].replace(".", ""), 16), PublicKey.parse(match[3]))

    def __str__(self) -> str:
        return f"v{self.version}.{label_text(self.label)}.{self.key}"

    def __repr__(self) -> str:
        return f"NodeName('{self}')"
