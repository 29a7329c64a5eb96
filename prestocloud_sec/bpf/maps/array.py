# SPDX-License-Identifier: Apache-2.0
"""Arrays: elements by number, that all exist from the start (``kernel/bpf/arraymap.c``)."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.maps.base import no_room
from prestocloud_sec.bpf.maps.codec import BytesCodec, Codec, codec_of
from prestocloud_sec.bpf.maps.keyed import KeyedMap
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.maps.layout import DELETE, ITERATE, LOOKUP, UPDATE, Descriptor
from prestocloud_sec.bpf.maps.native import NativeMap
from prestocloud_sec.bpf.maps.storage import WINDOW, wipe
from prestocloud_sec.bpf.words import signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["INDEX", "ORDER", "ArrayMap", "Indexed", "PerCpuArray", "index_codec"]

INDEX = np.dtype("=u4")
"""What keys of arrays are."""
ORDER = sys.byteorder
"""The byte order of such keys."""


def index_codec(key: Any) -> Codec:
    """Return the codec of keys that are numbers, also where they were declared by their size alone."""
    codec = codec_of(key, "key")
    return codec_of(INDEX, "key") if isinstance(codec, BytesCodec) and codec.size == INDEX.itemsize else codec


class Indexed(KeyedMap):
    """What maps have in common whose keys are the numbers from 0 to `max_entries` - 1."""

    def __init__(
        self,
        key: Any,
        value: Any,
        max_entries: int,
        flags: int = 0,
        *,
        name: str = "",
        cpus: int | None = None,
    ) -> None:
        super().__init__(index_codec(key), value, max_entries, flags, name=name, cpus=cpus)

    def _index(self, key: bytes) -> int:
        return int.from_bytes(key, ORDER)

    def _following(self, key: bytes | None) -> bytes | int:
        index = -1 if key is None else self._index(key)
        if index >= self.max_entries:
            index = -1
        return (index + 1).to_bytes(4, ORDER) if index + 1 < self.max_entries else -errno.ENOENT


class ArrayMap(Indexed, NativeMap):
    """An array of values.

    Parameters
    ----------
    value : int, dtype, str or struct.Struct
        What the values are.
    max_entries : int
        How many there are.
    flags, name
        As for every `Map`.
    key : optional
        Keys are unsigned numbers of 32 bits; another size is refused.

    Notes
    -----
    Programs can address the first 4 GiB of the values; beyond, the map is for user space alone.

    Examples
    --------
    >>> counters = ArrayMap("u8", 4)
    >>> counters[2] = 7
    >>> counters.array.tolist()
    [0, 0, 7, 0]
    """

    type = MapType.ARRAY

    def __init__(
        self,
        value: Any,
        max_entries: int,
        flags: int = 0,
        *,
        key: Any = INDEX,
        name: str = "",
        cpus: int | None = None,
    ) -> None:
        super().__init__(key, value, max_entries, flags, name=name, cpus=cpus)
        if self.per_cpu and self.max_entries * self.cpus * self.value_stride > WINDOW:
            raise no_room(self)
        self._keep_values(self.max_entries)
        self._words[Descriptor.COUNT] = self.max_entries
        whole = self.max_entries * self.value_stride <= WINDOW
        self._natively(LOOKUP | UPDATE | DELETE | ITERATE if whole else 0)

    @cached_property
    def _kernels(self) -> Any:
        from prestocloud_sec.bpf.maps import array_kernel

        return array_kernel

    def _find(self, key: bytes) -> bytes | int:
        index = self._index(key)
        if index >= self.max_entries:
            return -errno.ENOENT
        return self._value(index)

    def _store(self, key: bytes, value: bytes, flags: int) -> int:
        self._put(key, value)
        return int(self._kernels.update(self._at, self._key_at, self._value_at, signed(flags), -1))

    def _pairs(self) -> list[tuple[bytes, bytes]]:
        return [(index.to_bytes(4, ORDER), self._value(index)) for index in range(self.max_entries)]

    def clear(self) -> None:
        """Set all values to 0."""
        self._may_write()
        wipe(self._all_values)

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys, which are always the same."""
        self._may_read()
        decode = self.key_codec.decode
        return (decode(index.to_bytes(4, ORDER)) for index in range(self.max_entries))

    @property
    def array(self) -> NDArray[Any]:
        """The values themselves, as an array of their dtype: what is written to it is in the map.

        Shape (max_entries,), and (max_entries, cpus) of a per-CPU array. Read-only if user space may only read.

        Raises
        ------
        MapError
            EPERM, if user space may not read.
        """
        self._may_read()
        dtype = self.value_codec.dtype
        base, inner = dtype.subdtype if dtype.subdtype is not None else (dtype, ())
        shape = (self.max_entries, self.cpus) if self.per_cpu else (self.max_entries,)
        strides = (self.cpus * self.value_stride, self.value_stride) if self.per_cpu else (self.value_stride,)
        steps = np.empty(inner, base).strides
        view: NDArray[Any] = np.ndarray((*shape, *inner), base, self._all_values, 0, (*strides, *steps))
        if self.flags & MapFlag.RDONLY or self.frozen:
            view.flags.writeable = False
        return view

    def to_numpy(self) -> NDArray[Any]:
        """Return a copy of all elements: fields ``key`` and ``value``, as for every `Map`."""
        values = self.array
        shape = values.shape[1:]
        table = np.zeros(
            self.max_entries,
            [("key", INDEX), ("value", values.dtype, shape)] if shape else [("key", INDEX), ("value", values.dtype)],
        )
        table["key"] = np.arange(self.max_entries)
        table["value"] = values
        return table

    def iterate(self, cpu: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the offsets of key (in `index_keys`) and value of each element."""
        for index in range(self.max_entries):
            yield 8 * index, (index * self.cpus + (cpu if self.per_cpu else 0)) * self.value_stride


class PerCpuArray(ArrayMap):
    """An array with a value for each processor; user space sees all of them, a program its own.

    Examples
    --------
    >>> counters = PerCpuArray("u4", 4, cpus=2)
    >>> counters[1] = [5, 6]
    >>> int(counters[1].sum()), counters.array.shape
    (11, (4, 2))
    """

    type = MapType.PERCPU_ARRAY
    per_cpu = True
