# SPDX-License-Identifier: Apache-2.0
"""Keys of tries: a length in bits, and the bits."""

from __future__ import annotations

import ipaddress
import sys
from typing import Any, NamedTuple

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.codec import Codec, plain_bytes
from prestocloud_sec.wire import shown, whole

__all__ = ["Prefix", "PrefixCodec"]

_ADDRESSES: dict[int, type[ipaddress.IPv4Network | ipaddress.IPv6Network]] = {
    4: ipaddress.IPv4Network,
    16: ipaddress.IPv6Network,
}
_SUCH_AS = {4: "an IPv4 network or address, such as 10.0.0.0/8", 16: "an IPv6 network or address, such as fc00::/8"}
_IP = (ipaddress.IPv4Network, ipaddress.IPv6Network, ipaddress.IPv4Address, ipaddress.IPv6Address)


class Prefix(NamedTuple):
    """A key of a trie.

    Attributes
    ----------
    length : int
        How many bits count, from the highest of the first byte on.
    data : bytes
        All of the key's bits, as they were stored.
    """

    length: int
    data: bytes

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The IP network that a key with 4 or 16 bytes of data means, without what is behind its length.

        Raises
        ------
        BpfMisuseError
            If the key is of another size.
        """
        kind = _ADDRESSES.get(len(self.data))
        if kind is None or self.length > 8 * len(self.data):
            raise BpfMisuseError(
                f"{self.length} of {8 * len(self.data)} bits", where="prefix", expected="an IP network"
            )
        return kind((self.data, self.length), strict=False)

    def __str__(self) -> str:
        """Return address and length, ``10.1.0.0/16``, or, of other sizes, the bytes in hexadecimal and the length."""
        data: object = self.data  # what a caller put there is printed, whatever it is
        if isinstance(data, bytes):
            bits = str(ipaddress.ip_address(data)) if len(data) in _ADDRESSES else f"0x{data.hex()}"
        else:
            bits = shown(data)
        return f"{bits}/{shown(self.length)}"

    def __repr__(self) -> str:
        return f"Prefix({self})"


class PrefixCodec(Codec):
    """`Prefix` and what can be written as one: a pair, and, of 4 or 16 bytes, an IP network or address, or its text."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        self.size = size
        self.dtype = np.dtype([("length", "=u4"), ("data", np.uint8, (size - 4,))])

    def _encode(self, value: Any, name: str) -> bytes:
        if isinstance(value, (str, *_IP)):
            value = self._network(value, name)
        try:
            length, data = value
        except Exception as error:  # what a foreign __iter__ raises
            raise BpfMisuseError(shown(value), where=name, expected="a length and bytes, or a network") from error
        length = whole(length, f"{name}.length", 0, 0xFFFF_FFFF, error=BpfMisuseError)
        bits = plain_bytes(data, f"{name}.data")
        if len(bits) != self.size - 4:
            raise BpfMisuseError(f"{len(bits)} bytes", where=f"{name}.data", expected=str(self.size - 4))
        return length.to_bytes(4, sys.byteorder) + bits

    def _network(self, value: Any, name: str) -> tuple[int, bytes]:
        """Return length and bytes of a network, of an address (all its bits), or of the text of either."""
        size = self.size - 4
        kind = _ADDRESSES.get(size)
        if kind is None:
            raise BpfMisuseError(shown(value), where=name, expected=f"a prefix of up to {8 * size} bits")
        try:
            network = value if isinstance(value, kind) else kind(str(value), strict=False)
        except ValueError as error:
            raise BpfMisuseError(shown(value), where=name, expected=_SUCH_AS[size]) from error
        return network.prefixlen, network.network_address.packed

    def decode(self, data: bytes) -> Prefix:
        """Return the prefix."""
        return Prefix(int.from_bytes(data[:4], sys.byteorder), data[4:])

    def __str__(self) -> str:
        return f"prefix of {8 * (self.size - 4)} bits"
