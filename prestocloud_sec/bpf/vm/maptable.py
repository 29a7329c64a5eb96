# SPDX-License-Identifier: Apache-2.0
"""The maps of a machine: their numbers, and where their keys and values lie for the program.

A map keeps its number for the machine's life. Maps out of maps of maps are numbered when a program first finds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.bpf.errors import ProgramError
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import MAP_HANDLES, State
from prestocloud_sec.bpf.vm.memory import Memory, Trap

__all__ = ["MOST_ELEMENTS", "MapTable"]

MOST_ELEMENTS = 1 << 20
"""Elements of the largest map that a program can go over: engines write their addresses down before the first call."""


class MapTable:
    """Memory and state of a machine, and the maps in them.

    Parameters
    ----------
    cpu : int
        The processor whose values of per-CPU maps the program sees.

    Attributes
    ----------
    maps : list of Map
        By number.
    state : ndarray of int64, shape (STATE_WORDS,)
    memory : Memory
    generation : int
        Grows whenever there are more maps (or, in a machine, programs).
    """

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.state: NDArray[np.int64] = np.zeros(layout.STATE_WORDS, np.int64)
        self.memory = Memory()
        self.maps: list[Any] = []
        self.generation = 0
        self._map_numbers: dict[int, int] = {}
        self._map_addresses = np.zeros(layout.MAX_MAPS, np.int64)

    def number_of(self, found: Any) -> int:
        """Return the number of a map, which gets one if it is new here.

        Raises
        ------
        ProgramError
            If there are 64 maps already.
        """
        number = self._map_numbers.get(id(found))
        if number is not None:
            return number
        number = len(self.maps)
        if number >= layout.MAX_MAPS:
            raise ProgramError(f"more than {layout.MAX_MAPS} maps", where="maps", expected="fewer")
        self._map_numbers[id(found)] = number
        self.maps.append(found)
        self._map_addresses[number] = found.descriptor.ctypes.data
        self.state[State.MAP_COUNT] = number + 1
        title = f"map {found.name!r}" if found.name else f"map {number}"
        if found.values is not None:
            self.memory.show(
                layout.MAP_VALUES + number,
                found.values,
                f"values of {title}",
                element=found.value_size,
                stride=found.value_stride,
                writable=not found.program_reads_only,
            )
        if found.keys is not None:
            self.memory.show(
                layout.MAP_KEYS + number,
                found.keys,
                f"keys of {title}",
                element=found.key_size,
                stride=found.key_stride,
                writable=False,
            )
        self.generation += 1
        return number

    def map_of(self, handle: int) -> Any:
        """Return the map that a register holds; Trap if it holds none."""
        number = handle ^ MAP_HANDLES
        if number < len(self.maps):
            return self.maps[number]
        raise Trap(FaultKind.MAP, message=f"{handle:#x} is no map")

    def ring_of(self, handle: int) -> Any:
        """Return the ring buffer that a register holds; Trap if it holds none."""
        found = self.map_of(handle)
        if not found.is_ring:
            raise self.wrong_map(found, "a ring buffer")
        return found

    def handle_of(self, found: Any) -> int:
        """Return what a register holds for a map, such as one out of a map of maps."""
        return MAP_HANDLES | self.number_of(found)

    def wrong_map(self, found: Any, expected: str) -> Trap:
        """Return the Trap for a map of a kind that a helper does not work on."""
        return Trap(FaultKind.MAP, message=f"{type(found).__name__} is not {expected}")

    def value_address(self, found: Any, offset: int) -> int:
        """Return the address of a map's value, as the program sees it."""
        return (layout.MAP_VALUES + self.number_of(found) << layout.REGION_SHIFT) + offset

    def elements(self, found: Any) -> Iterator[tuple[int, int]]:
        """Yield the addresses of key and value of every element of a map, for ``for_each_map_elem``.

        Raises
        ------
        Trap
            If there are more than `MOST_ELEMENTS`.
        """
        if len(found) > MOST_ELEMENTS:
            raise Trap(FaultKind.ARGUMENT, message=f"{len(found)} elements; a program goes over {MOST_ELEMENTS} here")
        number = self.number_of(found)
        keys, values = (start + number << layout.REGION_SHIFT for start in (layout.MAP_KEYS, layout.MAP_VALUES))
        if found.keys is None:
            indexes = found.index_keys()
            self.memory.show(
                layout.MAP_KEYS + number, indexes, f"keys of map {number}", element=4, stride=8, writable=False
            )
        for key_offset, value_offset in found.iterate(self.cpu):
            yield keys + key_offset, values + value_offset
