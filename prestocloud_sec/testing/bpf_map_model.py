# SPDX-License-Identifier: Apache-2.0
"""Shapes of BPF maps for Hypothesis, and a model of maps to be read: the rules of the kernel in a few lines.

What user space sees is modelled, in dictionaries and lists; the machines of `prestocloud_sec.testing.bpf_maps` hold a
map against it, and a map of the running kernel too. Sources: those of the modules of `prestocloud_sec.bpf.maps`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import ENOTSUPP, MapError
from prestocloud_sec.bpf.maps.kinds import ANY, EXIST, NOEXIST, MapFlag, MapType

__all__ = [
    "ARRAYS",
    "BARE",
    "HASHES",
    "KEYS",
    "LRU",
    "PER_CPU",
    "MapShape",
    "ModelMap",
    "kernel_map",
    "map_shapes",
    "outcome",
]

KEYS = 14
"""Different keys that `MapShape.key` knows."""
ARRAYS = {MapType.ARRAY, MapType.PERCPU_ARRAY}
HASHES = {MapType.HASH, MapType.PERCPU_HASH}
BARE = {MapType.QUEUE, MapType.STACK}
PER_CPU = {MapType.PERCPU_ARRAY, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH}
LRU = {MapType.LRU_HASH, MapType.LRU_PERCPU_HASH}
_PATTERN = bytes.fromhex("0a000a010a01020aff80007f0a000000")


@dataclass(frozen=True, slots=True)
class MapShape:
    """What a map is made with, by the system call's names."""

    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0

    @property
    def wide(self) -> int:
        """Bytes of one processor's value in a system call."""
        return (self.value_size + 7) & ~7 if self.type in PER_CPU else self.value_size

    def key(self, number: int) -> bytes:
        """Return one of `KEYS` keys; some are wrong for arrays and tries."""
        if self.type in BARE:
            return b""
        if self.type in ARRAYS:
            return (number if number < KEYS - 1 else 0xFFFF_FFFF).to_bytes(4, "little")
        if self.type is MapType.LPM_TRIE:
            bits = 8 * (self.key_size - 4)
            length = (0, bits, bits // 2, bits - 1, 8, bits + 1, 1)[number % 7]
            data = (_PATTERN[number:] + _PATTERN * 17)[: self.key_size - 4]
            return length.to_bytes(4, "little") + data
        return (
            (number * 0x9E3779B97F4A7C15 + number).to_bytes(12, "little")[: self.key_size].ljust(self.key_size, b"\1")
        )

    def value(self, number: int, cpus: int) -> bytes:
        """Return a value as system calls have it."""
        own = (number.to_bytes(4, "little") * (self.value_size // 4 + 1))[: self.value_size]
        if self.type not in PER_CPU:
            return own
        return b"".join(bytes([byte ^ cpu for byte in own]).ljust(self.wide, b"\0") for cpu in range(cpus))


def map_shapes(*types: MapType) -> st.SearchStrategy[MapShape]:
    """Draw shapes of small maps: of the given types, or of all whose outcomes do not depend on chance."""

    def shape(kind: MapType) -> st.SearchStrategy[MapShape]:
        key_size: st.SearchStrategy[int] = st.just(4)
        flags: st.SearchStrategy[int] = st.just(0)
        if kind in BARE:
            key_size = st.just(0)
        elif kind is MapType.LPM_TRIE:
            key_size, flags = st.sampled_from([5, 8, 11, 12, 15, 20, 260]), st.just(int(MapFlag.NO_PREALLOC))
        elif kind in LRU:
            key_size, flags = st.sampled_from([4, 8, 13]), st.sampled_from([0, 2, 64, 66])
        elif kind in HASHES:
            key_size, flags = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 33]), st.sampled_from([0, 1, 64, 65])
        return st.builds(
            MapShape,
            st.just(kind),
            key_size,
            st.sampled_from([1, 4, 5, 8, 9, 16, 24]),
            st.integers(1, 9),
            flags,
        )

    everything = (*ARRAYS, *HASHES, *BARE, MapType.LPM_TRIE)
    return st.sampled_from(sorted(types or everything)).flatmap(shape)


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call gives, or the negative errno of the `MapError` that it raises."""
    try:
        return call(*arguments)
    except MapError as error:
        return -error.errno


def kernel_map(shape: MapShape) -> Any:
    """Return such a map of the running kernel (`prestocloud_sec.bpf.linux.KernelMap`).

    Raises
    ------
    UnavailableError
        If bpf(2) is refused here.
    """
    from prestocloud_sec.bpf.linux import KernelMap, require

    require()
    return KernelMap(
        shape.type,
        key_size=shape.key_size,
        value_size=shape.value_size,
        max_entries=shape.max_entries,
        flags=shape.flags,
    )


class ModelMap:
    """What user space sees of a map, in Python's own containers; results are bytes, 0, or negative errnos."""

    def __init__(self, shape: MapShape, cpus: int) -> None:
        self.shape = shape
        self.elements: dict[bytes, bytes] = {}
        self.line: list[bytes] = []
        if shape.type in ARRAYS:
            empty = bytes(shape.wide * (cpus if shape.type in PER_CPU else 1))
            self.elements = {index.to_bytes(4, "little"): empty for index in range(shape.max_entries)}

    def lookup(self, key: bytes) -> bytes | int:
        """Return the value of a key."""
        kind = self.shape.type
        if kind in BARE:
            return (self.line[-1] if kind is MapType.STACK else self.line[0]) if self.line else -errno.ENOENT
        found = self._longest(key) if kind is MapType.LPM_TRIE else key
        return self.elements.get(found, -errno.ENOENT) if found is not None else -errno.ENOENT

    def update(self, key: bytes, value: bytes, flags: int) -> int:
        """Store a value."""
        kind = self.shape.type
        if flags not in {ANY, NOEXIST, EXIST}:
            return -errno.EINVAL
        if kind in BARE:
            return self._push(value, flags)
        if kind in ARRAYS and key not in self.elements:
            return -errno.E2BIG
        if kind is MapType.LPM_TRIE and self._length(key) > 8 * (self.shape.key_size - 4):
            return -errno.EINVAL
        old = self._stored(key)
        if old is not None and flags == NOEXIST:
            return -errno.EEXIST
        if old is None and flags == EXIST:
            return -errno.ENOENT
        if old is None and len(self.elements) == self.shape.max_entries:
            return -errno.ENOSPC if kind is MapType.LPM_TRIE else -errno.E2BIG
        if old is not None:
            del self.elements[old]
        self.elements[key] = value
        return 0

    def delete(self, key: bytes) -> int:
        """Remove a key."""
        kind = self.shape.type
        if kind in ARRAYS | BARE:
            return -errno.EINVAL
        if kind is MapType.LPM_TRIE and self._length(key) > 8 * (self.shape.key_size - 4):
            return -errno.EINVAL
        old = self._stored(key)
        if old is None:
            return -errno.ENOENT
        del self.elements[old]
        return 0

    def lookup_and_delete(self, key: bytes) -> bytes | int:
        """Return the value of a key, and remove it."""
        kind = self.shape.type
        if kind in ARRAYS or kind is MapType.LPM_TRIE:
            return -ENOTSUPP
        found = self.lookup(key)
        if kind not in BARE:
            self.delete(key)
        elif self.line:
            self.line.pop(-1 if kind is MapType.STACK else 0)
        return found

    def _push(self, value: bytes, flags: int) -> int:
        if flags == NOEXIST:
            return -errno.EINVAL
        if len(self.line) == self.shape.max_entries:
            if flags != EXIST:
                return -errno.E2BIG
            del self.line[0]
        self.line.append(value)
        return 0

    def _length(self, key: bytes) -> int:
        return int.from_bytes(key[:4], "little")

    def _bits(self, key: bytes, length: int) -> int:
        data = key[4:]
        return int.from_bytes(data, "big") >> 8 * len(data) - length

    def _stored(self, key: bytes) -> bytes | None:
        """Return the stored key that means the same as `key`; of tries only the bits within the length count."""
        if self.shape.type is not MapType.LPM_TRIE:
            return key if key in self.elements else None
        length = self._length(key)
        same = (
            k for k in self.elements if self._length(k) == length and self._bits(k, length) == self._bits(key, length)
        )
        return next(same, None)

    def _longest(self, key: bytes) -> bytes | None:
        """Return the longest stored prefix of a key."""
        limit = self._length(key)
        if limit > 8 * (self.shape.key_size - 4):
            return None
        matching = [
            k
            for k in self.elements
            if (length := self._length(k)) <= limit and self._bits(k, length) == self._bits(key, length)
        ]
        return max(matching, key=self._length, default=None)
