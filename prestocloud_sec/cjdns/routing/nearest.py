# SPDX-License-Identifier: Apache-2.0
"""Exact nearest-node lookups among many addresses, without looking at most of them.

Theory of operation
-------------------
The index is an array of metrics (`metric`: the address rotated by 64 bits) in ascending order. In such an array the
keys that share their first `b` bits lie side by side, so a range of it is a subtree of the binary trie that XOR
distance walks: wherever the keys of a range first differ, those that agree with the target in that bit are all closer
to it than those that do not. A lookup therefore

1. jumps into the array by a table over the top bits of the target, with about three keys per entry. If that entry holds
   too few keys, the aligned block of twice the size around it is taken, and so on: among the keys of the smallest
   aligned block that holds `k` keys are the `k` nearest;
2. parts the range at the highest bit in which its first and last key differ (bits that all keys share cost nothing) and
   goes on in the half on the target's side, until 16 or fewer keys are left, which are compared one by one. For `k`
   keys, the other halves wait on a stack.

For addresses that are hashes, step 1 leaves a handful of keys and the lookup costs a few cache lines whatever `n` is.
Addresses can be ground, though: whoever searches long enough makes keys whose addresses share many bits, and could fill
one entry of the table. Then step 2 is what bounds the work: at most 128 partings, each a binary search; never a scan of
what the attacker added. `NearestIndex.steps` counts the keys that a lookup looks at.

The memory is 16 bytes for a key, 4 for its place in the input and between 0.9 and 1.9 for its share of the table.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing.metric import packed_bytes, packed_rows, rotate
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.cjdns.routing.metric import AddressLike

__all__ = ["WINDOW", "NearestIndex"]

WINDOW = 8
"""Keys that a lookup compares at one go, without a branch; a power of two."""

_KEYS_PER_ENTRY = 3
_BYTE = np.dtype(np.uint8)
_LARGEST = (1 << 31) - 1
_signed_words = struct.Struct(">qq").unpack


class NearestIndex:
    """An immutable index that finds the addresses nearest to a target.

    Parameters
    ----------
    addresses : uint8[n, 16]
        Addresses in network byte order, in any order, also repeated; copied. At most 2**31 - 1.

    Raises
    ------
    CjdnsMisuseError
        If the array has another dtype or shape, or too many rows.

    Examples
    --------
    >>> import numpy as np
    >>> addresses = np.zeros((3, 16), np.uint8)
    >>> addresses[:, 0], addresses[:, 15] = 0xFC, (1, 2, 7)
    >>> index = NearestIndex(addresses)
    >>> index.nearest(addresses[2].tobytes(), k=2)
    [2, 1]
    """

    __slots__ = ("_count", "_shift", "_starts", "_words")

    def __init__(self, addresses: NDArray[np.uint8]) -> None:
        words = rotate(addresses)
        count = len(words)
        if count > _LARGEST:
            raise CjdnsMisuseError(f"{count} addresses", where="addresses", expected=f"at most {_LARGEST}")
        order = _sorting(words)
        order = np.concatenate((order, np.repeat(order[-1:], WINDOW)))
        bits = max(1, round(math.log2(max(count, 1) / _KEYS_PER_ENTRY)))
        self._count = count
        self._words = np.empty((5, len(order)), np.uint32)
        self._words[4] = order
        for row in range(4):
            self._words[row] = words[order, row // 2] >> np.uint64(0 if row % 2 else 32)
        self._shift = 64 - bits
        top_bits = self._words[0, :count] >> np.uint32(32 - bits)
        self._starts = np.zeros((1 << bits) + 1, np.int32)
        np.cumsum(np.bincount(top_bits, minlength=1 << bits), out=self._starts[1:])

    @classmethod
    def from_addresses(cls, addresses: Iterable[Address]) -> NearestIndex:
        """Build an index of `Address` objects; the indexes that lookups return count them in their order."""
        given = items_of(addresses, "addresses", "an iterable of Address", error=CjdnsMisuseError)
        packed = b"".join([packed_bytes(address, "addresses") for address in given])
        return cls(np.frombuffer(packed, np.uint8).reshape(-1, 16))

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"NearestIndex({len(self)} addresses, {self.nbytes} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the index holds."""
        return self._words.nbytes + self._starts.nbytes

    def nearest(self, target: AddressLike, k: int = 1) -> list[int]:
        """Return the indexes, in the input, of the `k` addresses nearest to `target`, closest first.

        The list is shorter where there are fewer than `k` addresses. Equal addresses come in the order of the input.

        Raises
        ------
        CjdnsMisuseError
            If `target` is neither an Address nor 16 bytes, or `k` is not a positive integer.
        """
        packed = target.packed if isinstance(target, Address) else packed_bytes(target, "target")
        if type(k) is int and k == 1 and self._count:
            low, high = _signed_words(packed)
            return [_kernels().nearest_one(self._words, self._starts, self._shift, high, low)]
        row = np.frombuffer(bytearray(packed), np.uint8).reshape(1, 16)
        found = self.nearest_batch(row, min(_positive(k), max(1, self._count)))[0]
        return [each for each in found.tolist() if each >= 0]

    def steps(self, target: AddressLike) -> int:
        """Return how many keys `nearest` looks at to find the one nearest to `target`."""
        low, high = _signed_words(packed_bytes(target, "target"))
        if not self._count:
            return 0
        return int(_kernels().walk_steps(self._words, self._starts, self._shift, high, low))

    def nearest_batch(self, targets: NDArray[np.uint8], k: int = 1) -> NDArray[np.int64]:
        """Return what `nearest` returns for many targets at once.

        Parameters
        ----------
        targets : uint8[m, 16]
            Addresses in network byte order.
        k : int
            How many addresses to find for each.

        Returns
        -------
        int64[m, k]
            Indexes in the input, closest first; -1 where there are fewer than `k` addresses.

        Raises
        ------
        CjdnsMisuseError
            If `targets` has another dtype or shape, or `k` is not a positive integer.
        """
        if not (isinstance(targets, np.ndarray) and targets.dtype is _BYTE and targets.flags.carray):
            targets = packed_rows(targets, "targets").copy()  # the kernel is compiled for writeable arrays
        if targets.ndim != 2 or targets.shape[1] != 16:
            packed_rows(targets, "targets")
        try:
            out = np.empty((targets.shape[0], k if type(k) is int and k == 1 else _positive(k)), np.int64)
        except (MemoryError, ValueError, OverflowError) as error:
            raise CjdnsMisuseError(
                f"{shown(k)} for each target", where="k", expected="what fits into memory"
            ) from error
        if self._count:
            _kernels().nearest_many(self._words, self._starts, self._shift, targets, out)
        else:
            out.fill(-1)
        return out


def _sorting(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the stable order that sorts metrics.

    Sorting by the first word alone is several times faster than by both, and hashes hardly ever share one; only the
    runs of keys that do are sorted again.
    """
    first = words[:, 0]
    order = np.argsort(first)
    ordered = first[order]
    same = np.zeros(len(words) + 1, bool)
    np.equal(ordered[1:], ordered[:-1], out=same[1:-1])
    places = np.flatnonzero(same[1:] | same[:-1])
    if places.size:
        runs = order[places]
        order[places] = runs[np.lexsort((runs, words[runs, 1], first[runs]))]
    return order


@functools.cache
def _kernels() -> ModuleType:
    """Import numba only when the first lookup is made."""
    from prestocloud_sec.cjdns.routing import nearest_kernel

    return nearest_kernel


def _positive(k: int) -> int:
    return whole(k, "k", 1, error=CjdnsMisuseError)
