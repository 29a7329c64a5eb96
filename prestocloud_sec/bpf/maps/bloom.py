# SPDX-License-Identifier: Apache-2.0
"""Bloom filters (``kernel/bpf/bloom_filter.c``): sets that only grow, and may say yes for what was never put in.

For n values and k hash functions there are n * k / ln 2 bits, rounded up to a power of two; for 1 / ln 2 the kernel
divides by 5 and multiplies by 7. Hash function i of a value is its ``jhash`` with the seed plus i.
"""

from __future__ import annotations

import errno
import secrets
from typing import Any

from prestocloud_sec.bpf.errors import ENOTSUPP, BpfMisuseError, MapError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.codec import sized_bytes
from prestocloud_sec.bpf.maps.jhash import jhash
from prestocloud_sec.bpf.maps.kinds import ANY, MapFlag, MapType
from prestocloud_sec.bpf.maps.storage import power_of_two, view, zeros
from prestocloud_sec.wire import whole

__all__ = ["BloomFilter"]

_USUAL, _MOST = 5, 15
_U32_MAX, _U64_MAX = (1 << 32) - 1, (1 << 64) - 1
_PART = 1 << 16
"""Bytes that are counted at a time."""


class BloomFilter(Map):
    """A set of values that is certain only of what it does not have.

    Parameters
    ----------
    value : int, dtype, str or struct.Struct
        What the values are.
    max_entries : int
        Values for which it stays as certain as the number of hash functions makes it; it takes more.
    flags, name
        As for every `Map`.
    map_extra : int
        Hash functions, up to 15; 0 for 5.

    Examples
    --------
    >>> known = BloomFilter("u4", 100)
    >>> known.push(7)
    >>> 7 in known
    True
    """

    type = MapType.BLOOM_FILTER
    is_filter = True

    def __init__(
        self,
        value: Any,
        max_entries: int,
        flags: int = 0,
        *,
        map_extra: int = 0,
        key: Any = 0,
        name: str = "",
    ) -> None:
        extra = whole(map_extra, "map_extra", 0, (1 << 64) - 1, error=BpfMisuseError)
        super().__init__(key, value, max_entries, flags, name=name)
        if extra > _MOST:
            raise MapError(errno.EINVAL, f"{extra} hash functions", where=self.type.name, expected="15 at most")
        self.map_extra = extra
        self.hashes = extra or _USUAL
        wanted = self.max_entries * self.hashes // 5 * 7
        self.bits = 1 << 32 if wanted > 1 << 31 else max(power_of_two(wanted), 64)
        self._bitmap = zeros(self.bits // 8)
        self._bitmap_view = view(self._bitmap)
        self._seed = 0 if self.flags & MapFlag.ZERO_SEED else secrets.randbits(32)

    def push(self, value: Any, flags: int = ANY) -> None:
        """Put a value in.

        Raises
        ------
        MapError
            EINVAL for flags; EPERM if user space may not write.
        """
        self.update(b"", value, flags)

    def __contains__(self, value: Any) -> bool:
        """Tell whether a value may be in the filter; if not, it is not."""
        self._may_read()
        return self.program_test(self._data(value)) == 0

    def lookup(self, key: Any) -> Any:
        """Refuse: a Bloom filter can be asked for a value (``value in map``), not for what it has.

        Raises
        ------
        MapError
            ENOTSUPP; EPERM if user space may not read.
        """
        self._may_read()
        raise self._error(-ENOTSUPP, "lookup", key)

    def _places(self, value: bytes) -> list[int]:
        mask = self.bits - 1
        return [jhash(value, self._seed + index & _U32_MAX) & mask for index in range(self.hashes)]

    def _store(self, key: bytes, value: Any, flags: int) -> int:  # noqa: ARG002
        return self.program_push(value, flags)

    def _remove(self, key: bytes) -> int:  # noqa: ARG002
        return -errno.EOPNOTSUPP

    def program_push(self, value: bytes, flags: int) -> int:
        """Put a value in; return 0 or a negative errno."""
        value = sized_bytes(value, self.value_size, "value")
        if whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError) != ANY:
            return -errno.EINVAL
        with self._lock:
            for place in self._places(value):
                self._bitmap_view[place >> 3] |= 1 << (place & 7)
        return 0

    def program_pop(self) -> bytes | int:
        """Return -EOPNOTSUPP: nothing comes out."""
        return -errno.EOPNOTSUPP

    def program_test(self, value: bytes) -> int:
        """Return 0 if the filter may have a value, -ENOENT if it does not."""
        value = sized_bytes(value, self.value_size, "value")
        found = all(self._bitmap_view[place >> 3] >> (place & 7) & 1 for place in self._places(value))
        return 0 if found else -errno.ENOENT

    def __len__(self) -> int:
        """Return how many bits are set: how many values were put in is not known."""
        parts = range(0, len(self._bitmap_view), _PART)
        return sum(int.from_bytes(self._bitmap_view[at : at + _PART], "little").bit_count() for at in parts)

    def __repr__(self) -> str:
        return f"<{self._title()}: {self.value_codec}, {self.hashes} hash functions, {self.bits} bits>"
