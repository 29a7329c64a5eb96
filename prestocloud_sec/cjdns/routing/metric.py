# SPDX-License-Identifier: Apache-2.0
"""How far two addresses are from one another: XOR, with the two halves of the address swapped.

The distance of `a` and `b` is ``a XOR b``, rotated by 64 bits and read as a big-endian integer (cjdns Whitepaper,
"The Router"; PrEstoCloud deliverable, 3.2; cjdns v21.1, ``dht/Address.c``). Rotating the addresses first and taking
the XOR of the results is the same thing, so every address has a *metric*, a 128-bit integer made of its bytes 8..15
followed by its bytes 0..7, and the distance is the XOR of two metrics. The rotation is there because byte 0 of every
address is 0xfc: without it the first eight bits of a distance would always be zero and would spread nothing.

XOR is symmetric, zero only between equal addresses, and unidirectional: for a given point and distance there is exactly
one address at that distance. So every search for one target meets the same nodes from wherever it starts (Maymounkov,
Mazieres, "Kademlia", 2002, section 2.1).

This module is the readable reference on Python integers; `rotate` and `distances` do the same for arrays.

>>> a, b = bytes.fromhex("fc" + "00" * 14 + "01"), bytes.fromhex("fc" + "00" * 15)
>>> distance(a, b) == 1 << 64, bucket(a, b)
(True, 63)
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from prestocloud_sec.cjdns._layout import octets
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.wire import BytesLike

    AddressLike: TypeAlias = Address | BytesLike
    A = TypeVar("A", bound=AddressLike)

__all__ = [
    "ADDRESS_BITS",
    "bucket",
    "bucket_of_metrics",
    "closest",
    "compare_metrics",
    "distance",
    "distances",
    "metric",
    "packed_bytes",
    "packed_rows",
    "rotate",
    "sort_by_distance",
    "unrotate",
]

ADDRESS_BITS = 128
"""Width of an address, of a metric and of a distance."""

_HALF = (1 << 64) - 1


def metric(address: AddressLike) -> int:
    """Return the 128-bit integer whose XOR with another's is the distance of the two addresses.

    Parameters
    ----------
    address : Address or bytes-like of 16 bytes
        Plain bytes need not lie in fc00::/8: a search may aim at any point of the address space.

    Raises
    ------
    CjdnsMisuseError
        If `address` is neither.
    """
    if isinstance(address, Address):
        return address.metric
    return unrotate(int.from_bytes(packed_bytes(address), "big"))


def packed_bytes(address: AddressLike, name: str = "address") -> bytes:
    """Return the 16 bytes of an address in network byte order, or raise CjdnsMisuseError naming `name`."""
    if isinstance(address, Address):
        return address.packed
    return octets(address, name, ADDRESS_BITS // 8)


def unrotate(value: int) -> int:
    """Swap the two 64-bit halves of a 128-bit integer: from an address's integer to its metric, and back."""
    _check_metrics(value)
    return (value & _HALF) << 64 | value >> 64


def distance(a: AddressLike, b: AddressLike) -> int:
    """Return the distance of two addresses, 0 .. 2**128 - 1 (0 exactly between equal ones)."""
    return metric(a) ^ metric(b)


def compare_metrics(target: int, a: int, b: int) -> int:
    """Return -1 if metric `a` is closer to metric `target` than `b` is, 1 if `b` is, 0 if they are the same."""
    _check_metrics(target, a, b)
    to_a, to_b = target ^ a, target ^ b
    return (to_a > to_b) - (to_a < to_b)


def closest(target: AddressLike, a: AddressLike, b: AddressLike) -> int:
    """Return -1 if `a` is closer to `target` than `b` is, 1 if `b` is, 0 if `a` and `b` are the same address."""
    return compare_metrics(metric(target), metric(a), metric(b))


def bucket_of_metrics(a: int, b: int) -> int:
    """Return how many leading bits two metrics share, 0..128."""
    _check_metrics(a, b)
    return ADDRESS_BITS - (a ^ b).bit_length()


def _check_metrics(*metrics: int) -> None:
    for each in metrics:
        if not isinstance(each, int) or each >> ADDRESS_BITS:
            raise CjdnsMisuseError(shown(each), where="metric", expected="an int of 128 bits")


def bucket(a: AddressLike, b: AddressLike) -> int:
    """Return how many leading bits the metrics of two addresses share: 0..127, and 128 for the same address.

    Seen from `a`, bucket ``i`` holds ``2**(127 - i)`` of the ``2**128`` points: all whose distance has its highest bit
    at ``127 - i`` (cjdns v21.1, ``NodeStore_bucketForAddr``).
    """
    return bucket_of_metrics(metric(a), metric(b))


def sort_by_distance(target: AddressLike, addresses: Iterable[A]) -> list[A]:
    """Return the addresses, closest to `target` first."""
    point = metric(target)
    given = items_of(addresses, "addresses", "an iterable of addresses", error=CjdnsMisuseError)
    away = [(metric(address) ^ point, address) for address in given]
    return [address for _, address in sorted(away, key=itemgetter(0))]


def packed_rows(addresses: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return an array of addresses with its rows contiguous, or raise CjdnsMisuseError naming `name`."""
    if not isinstance(addresses, np.ndarray) or addresses.dtype != np.uint8 or addresses.shape[1:] != (16,):
        found = f"{addresses.dtype}{addresses.shape}" if isinstance(addresses, np.ndarray) else type(addresses).__name__
        raise CjdnsMisuseError(f"{found} holds no addresses", where=name, expected="an array of uint8, shape (n, 16)")
    return np.ascontiguousarray(addresses)


def rotate(addresses: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the metrics of many addresses as pairs of 64-bit words, the word that counts first at index 0.

    Parameters
    ----------
    addresses : uint8[n, 16]
        Addresses in network byte order.

    Returns
    -------
    uint64[n, 2]
        ``metric(addresses[i]) == int(words[i, 0]) << 64 | int(words[i, 1])``.

    Raises
    ------
    CjdnsMisuseError
        If the array has another dtype or shape.
    """
    return packed_rows(addresses, "addresses").view(">u8")[:, ::-1].astype(np.uint64, order="C")


def distances(target: AddressLike, addresses: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the distances from `target` to many addresses, in the words of `rotate`.

    Parameters
    ----------
    target : Address or bytes-like of 16 bytes
    addresses : uint8[n, 16]

    Returns
    -------
    uint64[n, 2]
        ``distance(target, addresses[i]) == int(words[i, 0]) << 64 | int(words[i, 1])``.
    """
    point = metric(target)
    return rotate(addresses) ^ np.array([point >> 64, point & _HALF], np.uint64)
