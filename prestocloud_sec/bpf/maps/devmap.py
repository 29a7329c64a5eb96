# SPDX-License-Identifier: Apache-2.0
"""Maps that say where ``redirect_map`` sends a packet (``kernel/bpf/devmap.c``, ``kernel/bpf/cpumap.c``).

A value is a number of 32 bits - an interface, or the length of a processor's queue - and, if values have 8 bytes, the
descriptor of a program that runs there. Here the program itself is given, in a pair with the number.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Container
from typing import Any, ClassVar

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.array import INDEX, ORDER, Indexed, index_codec
from prestocloud_sec.bpf.maps.base import no_room, processors
from prestocloud_sec.bpf.maps.codec import sized_bytes
from prestocloud_sec.bpf.maps.keyed import KeyedMap
from prestocloud_sec.bpf.maps.kinds import EXIST, NOEXIST, MapType
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.storage import WINDOW, power_of_two
from prestocloud_sec.bpf.program import Program, ProgramType
from prestocloud_sec.wire import whole

__all__ = ["CpuMap", "DevMap", "DevMapHash"]

LONGEST_QUEUE = 16384
"""Packets that the queue of a processor can hold."""


class _Targets(KeyedMap):
    """What these maps have in common: values with an optional program."""

    redirects = True
    _number: ClassVar[str]
    """What the number in a value is called."""

    def __init__(self, value: Any, max_entries: int, flags: int, *, key: Any, name: str) -> None:
        if isinstance(value, int | np.integer):
            value = {4: INDEX, 8: np.dtype([(self._number, "=u4"), ("program", "=i4")])}.get(int(value), value)
        super().__init__(index_codec(key), value, max_entries, flags, name=name)
        self.program_reads_only = True
        if self.max_entries * self.value_stride > WINDOW:
            raise no_room(self)
        self._keep_values(self.max_entries)
        self._slots: dict[int, int] = {}
        """Slot in `values` of each key that is set."""
        self._programs: dict[int, Program] = {}

    def _data(self, value: Any) -> Any:
        """Return number, descriptor and program of a value."""
        program = None
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Program | type(None)):
            value, program = value
        if isinstance(value, int | np.integer) and self.value_size == 8:
            value = (value, 0)
        data = self.value_codec.encode(value, "value")
        descriptor = int.from_bytes(data[4:8], sys.byteorder, signed=True)
        return int.from_bytes(data[:4], sys.byteorder), descriptor, program

    def _index(self, key: bytes) -> int:
        return int.from_bytes(key, ORDER)

    def _write(self, index: int, slot: int, number: int, program: Program | None) -> None:
        start = slot * self.value_stride
        self._value_view[start : start + 4] = number.to_bytes(4, sys.byteorder)
        self._programs.pop(index, None)
        if program is not None:
            self._programs[index] = program
        self._slots[index] = slot
        self._words[Descriptor.COUNT] = len(self._slots)

    def _forget(self, index: int) -> bool:
        self._programs.pop(index, None)
        found = self._slots.pop(index, None) is not None
        self._words[Descriptor.COUNT] = len(self._slots)
        return found

    def _find(self, key: bytes) -> Any:
        slot = self._slots.get(self._index(key))
        return -errno.ENOENT if slot is None else self._value(slot)

    def _pairs(self) -> list[tuple[bytes, Any]]:
        with self._lock:
            return [(index.to_bytes(4, ORDER), self._value(slot)) for index, slot in sorted(self._slots.items())]

    def _first(self, count: int) -> list[tuple[Any, Any]]:
        return self.items()[:count]

    def clear(self) -> None:
        """Remove every element."""
        self._may_write()
        with self._lock:
            for index in list(self._slots):
                self._forget(index)

    def program_for(self, key: int) -> Program | None:
        """Return the program that runs at the target of a key, or None."""
        return self._programs.get(whole(key, "key", None, error=BpfMisuseError))

    def program_lookup(self, key: bytes, cpu: int = 0) -> int | None:  # noqa: ARG002
        """Return the offset of the value in `values`, which programs may read, or None."""
        slot = self._slots.get(self._index(sized_bytes(key, self.key_size, "key")))
        return None if slot is None else slot * self.value_stride


class _TargetArray(_Targets, Indexed):
    """Targets by index."""

    def _store(self, key: bytes, value: Any, flags: int) -> int:
        index = self._index(key)
        if flags > EXIST:
            return -errno.EINVAL
        if index >= self.max_entries:
            return -errno.E2BIG
        if flags == NOEXIST:
            return -errno.EEXIST
        number, descriptor, program = value
        refused = self._refuse(index, number, descriptor, program)
        if refused:
            return refused
        if number:
            self._write(index, index, number, program)
        else:
            self._forget(index)
        return 0

    def _refuse(self, index: int, number: int, descriptor: int, program: Program | None) -> int:  # noqa: ARG002
        """Return 0 if a value may be stored, else a negative errno."""
        return -errno.EINVAL

    def _remove(self, key: bytes) -> int:
        index = self._index(key)
        if index >= self.max_entries:
            return -errno.EINVAL
        self._forget(index)
        return 0


class _Devices(_Targets):
    """What maps of interfaces have in common."""

    broadcasts = True
    _number = "ifindex"

    def __init__(
        self,
        max_entries: int,
        flags: int = 0,
        *,
        value: Any = 4,
        key: Any = INDEX,
        name: str = "",
        interfaces: Container[int] | None = None,
    ) -> None:
        super().__init__(value, max_entries, flags, key=key, name=name)
        self._interfaces = interfaces

    def _refuse(self, index: int, number: int, descriptor: int, program: Program | None) -> int:  # noqa: ARG002
        wrong = (
            (not number and (descriptor > 0 or program is not None))
            or (number and self._interfaces is not None and number not in self._interfaces)
            or descriptor > 0
            or (program is not None and program.type != ProgramType.XDP)
        )
        return -errno.EINVAL if wrong else 0

    def target(self, key: int) -> int | None:
        """Return the interface of a key, or None."""
        slot = self._slots.get(whole(key, "key", None, error=BpfMisuseError))
        return None if slot is None else int.from_bytes(self._value(slot)[:4], sys.byteorder)


class DevMap(_Devices, _TargetArray):
    """Interfaces by index; to store 0 is to remove.

    Parameters
    ----------
    max_entries, flags, name
        As for every `Map`.
    value : int
        Bytes of a value: 4, or 8 with a program.
    interfaces : container of int, optional
        The interfaces there are; others are refused with EINVAL. All, if not given.

    Examples
    --------
    >>> ports = DevMap(8)
    >>> ports[1] = 3
    >>> ports.target(1), ports.target(2)
    (3, None)
    """

    type = MapType.DEVMAP


class DevMapHash(_Devices):
    """Interfaces by any number of 32 bits.

    Parameters
    ----------
    max_entries, flags, value, name, interfaces
        As for `DevMap`.

    Examples
    --------
    >>> ports = DevMapHash(8)
    >>> ports[70000] = 3
    >>> ports.target(70000)
    3
    """

    type = MapType.DEVMAP_HASH

    def __init__(
        self,
        max_entries: int,
        flags: int = 0,
        *,
        value: Any = 4,
        key: Any = INDEX,
        name: str = "",
        interfaces: Container[int] | None = None,
    ) -> None:
        super().__init__(max_entries, flags, value=value, key=key, name=name, interfaces=interfaces)
        self._mask = power_of_two(self.max_entries) - 1
        self._free: list[int] = []
        self._fresh = 0
        self._written: dict[int, int] = {}
        """When each key was last stored: within a bucket the latest comes first."""
        self._clock = 0

    def _store(self, key: bytes, value: Any, flags: int) -> int:
        index = self._index(key)
        number, descriptor, program = value
        if flags > EXIST or not number:
            return -errno.EINVAL
        old = self._slots.get(index)
        if old is not None and flags & NOEXIST:
            return -errno.EEXIST
        refused = self._refuse(index, number, descriptor, program)
        if refused:
            return refused
        if old is None:
            if len(self._slots) >= self.max_entries:
                return -errno.E2BIG
            if self._free:
                old = self._free.pop()
            else:
                old, self._fresh = self._fresh, self._fresh + 1
        self._write(index, old, number, program)
        self._clock += 1
        self._written[index] = self._clock
        return 0

    def _forget(self, index: int) -> bool:
        slot = self._slots.get(index)
        if slot is not None:
            self._free.append(slot)
            del self._written[index]
        return super()._forget(index)

    def _remove(self, key: bytes) -> int:
        return 0 if self._forget(self._index(key)) else -errno.ENOENT

    def _order(self) -> list[int]:
        """Return the keys bucket by bucket."""
        return sorted(self._slots, key=lambda index: (index & self._mask, -self._written[index]))

    def _following(self, key: bytes | None) -> bytes | int:
        order = self._order()
        index = -1 if key is None else self._index(key)
        place = order.index(index) + 1 if index in self._slots else 0
        return order[place].to_bytes(4, ORDER) if place < len(order) else -errno.ENOENT

    def _pairs(self) -> list[tuple[bytes, Any]]:
        with self._lock:
            return [(index.to_bytes(4, ORDER), self._value(self._slots[index])) for index in self._order()]


class CpuMap(_TargetArray):
    """Processors, each with the length of the queue of packets before it; to store 0 is to remove.

    Parameters
    ----------
    max_entries, flags, name
        As for every `Map`.
    value : int
        Bytes of a value: 4, or 8 with a program.
    cpus : int, optional
        Processors there are; others are refused with ENODEV. As many as this machine has if not given.

    Examples
    --------
    >>> workers = CpuMap(4, cpus=4)
    >>> workers[2] = 192
    >>> workers.target(2), workers.target(3)
    (2, None)
    """

    type = MapType.CPUMAP
    _number = "qsize"

    def __init__(
        self,
        max_entries: int,
        flags: int = 0,
        *,
        value: Any = 4,
        key: Any = INDEX,
        name: str = "",
        cpus: int | None = None,
    ) -> None:
        super().__init__(value, max_entries, flags, key=key, name=name)
        self.processors = processors(cpus)

    def _refuse(self, index: int, number: int, descriptor: int, program: Program | None) -> int:
        if number > LONGEST_QUEUE:
            return -errno.EOVERFLOW
        if index >= self.processors:
            return -errno.ENODEV
        if number and descriptor > 0:
            return -errno.ENOMEM  # which is what the kernel makes of any failure to start the processor's thread
        return -errno.EINVAL if program is not None and program.type != ProgramType.XDP else 0

    def target(self, key: int) -> int | None:
        """Return the processor of a key, which is the key itself, or None."""
        return key if whole(key, "key", None, error=BpfMisuseError) in self._slots else None
