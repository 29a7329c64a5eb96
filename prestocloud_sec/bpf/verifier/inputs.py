# SPDX-License-Identifier: Apache-2.0
"""Everything that a run depends on, as one value, and a machine that is set up with it.

A program that was judged names its maps by what they are like (`MapSpec`); to be run, it gets maps of these kinds.
Helpers that no machine of user space has are played: what they return is an input, and a socket is 128 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfError, MapError
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.prototypes import Argument, Prototype, Returns, prototypes
from prestocloud_sec.bpf.helpers.registry import implementations
from prestocloud_sec.bpf.isa import CallHelper, ImmKind, LoadImm64
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.create import create_map
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.symbols import Symbols
from prestocloud_sec.bpf.verifier.contexts import CONTEXTS, Field
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import ContextKind, context_kind
from prestocloud_sec.bpf.vm.machine import Machine

__all__ = ["SOCKET", "SOCKET_SIZE", "Inputs", "Stage", "context_size", "pointer_fields", "put"]

SOCKET = layout.DYNAMIC + layout.DYNAMIC_REGIONS - 1 << layout.REGION_SHIFT
"""Address of the socket that helpers and contexts give."""
SOCKET_SIZE = 128
_LARGEST_CONTEXT = 8192
_CHANCE = frozenset({5, 7, 14, 15, 125, 160})
"""Helpers of user space whose result nothing determines: clocks, chance, who runs. They are inputs, too."""
_LIMIT = 1 << 16
_RUN_BY_MACHINES = frozenset({HelperId.TAIL_CALL, HelperId.FOR_EACH_MAP_ELEM, HelperId.LOOP})
"""Helpers that are steps of a machine, and no functions."""
_STAND_INS = {
    MapType.SOCKMAP: MapType.ARRAY,
    MapType.XSKMAP: MapType.ARRAY,
    MapType.REUSEPORT_SOCKARRAY: MapType.ARRAY,
    MapType.SOCKHASH: MapType.HASH,
    MapType.SK_STORAGE: MapType.HASH,
    MapType.CGROUP_STORAGE: MapType.ARRAY,
    MapType.PERCPU_CGROUP_STORAGE: MapType.ARRAY,
    MapType.STRUCT_OPS: MapType.ARRAY,
}
"""Kinds that only a kernel has, and which map of user space has their memory."""
_SOCKETS = frozenset({Returns.SOCKET_OR_NULL, Returns.SOCKET_COMMON_OR_NULL, Returns.TCP_SOCKET_OR_NULL})
_LENGTH_AT = {45: 1, 67: 2, 114: 1, 115: 1, 141: 2}
"""Helpers that return how much they wrote, and which argument says how much that is at most."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run is given.

    Attributes
    ----------
    packet : bytes
    context : bytes
        In the layout of the program's type; where the packet is, is filled in.
    maps : tuple of (int, bytes, bytes)
        Number of a map, key and value, for each element that is there when the run begins.
    returns : tuple of int
        What helpers returned whose result nothing determines (`Stage.played`), in the order of their calls; 0 after the
        last.
    metadata : int
        Bytes of metadata before an XDP packet: a multiple of 4, at most 252.
    """

    packet: bytes = b""
    context: bytes = b""
    maps: tuple[tuple[int, bytes, bytes], ...] = ()
    returns: tuple[int, ...] = ()
    metadata: int = 0


def context_size(program: Program) -> int:
    """Return how many bytes the context of a program has."""
    kind = context_kind(program.type)
    if kind is ContextKind.XDP:
        return 24
    if kind is ContextKind.SKB:
        return 192
    access = CONTEXTS.get(program.type.name) if program.type is not None else None
    return min(access.layout.size, _LARGEST_CONTEXT) if access is not None else _LARGEST_CONTEXT


def pointer_fields(program: Program) -> list[Field]:
    """Return the fields of a program's context that hold pointers."""
    access = CONTEXTS.get(program.type.name) if program.type is not None else None
    return [] if access is None else [row for row in access.layout.fields if row.mode == "p"]


class Stage:
    """A program with maps of the kinds that it was judged with, ready to be run on any inputs.

    Parameters
    ----------
    program : Program
    specs : mapping of int to MapSpec
        By the index of the load that names the map.

    Attributes
    ----------
    program : Program
        The same with loads that count `specs`.
    specs : list of MapSpec
        By the number in the loads.
    played : frozenset of int
        Helpers whose result is an input.

    Raises
    ------
    BpfError
        If the program cannot be run in user space.
    """

    def __init__(self, program: Program, specs: Mapping[int, MapSpec]) -> None:
        numbers: dict[int, int] = {}
        self.specs: list[MapSpec] = []
        placed = list(program.instructions)
        for index, i in enumerate(placed):
            if not isinstance(i, LoadImm64) or i.kind not in (ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD):
                continue
            spec = specs.get(index)
            if spec is None:
                raise BpfError(
                    "a map is not known", where=f"instruction {program.slot_of(index)}", expected="what it is like"
                )
            if id(spec) not in numbers:
                numbers[id(spec)] = len(self.specs)
                self.specs.append(spec)
            placed[index] = replace(i, value=numbers[id(spec)])
        names = Symbols(kfuncs=program.symbols.kfuncs)
        self.program = Program(placed, type=program.type, license=program.license, symbols=names)
        called = {i.number for i in placed if isinstance(i, CallHelper)}
        known = prototypes()
        missing = {n for n in called if n in known and n not in implementations() and n not in _RUN_BY_MACHINES}
        self.played = frozenset(called & _CHANCE | missing)
        self.at_call: Callable[[int], int] | None = None
        """What gives the result of a helper that is played, instead of the inputs."""

    def maps(self) -> list[Map]:
        """Return new maps, empty.

        Raises
        ------
        MapError
            If there are none of such a kind in user space.
        """
        return [_made(spec) for spec in self.specs]

    def machine(self, inputs: Inputs, *, limit: int = _LIMIT) -> Machine:
        """Return a machine that is about to run on inputs.

        Parameters
        ----------
        inputs : Inputs
        limit : int
            After how many instructions a run ends.

        Raises
        ------
        BpfError
            If the program cannot be run in user space, or a map refuses an element.
        """
        maps = self.maps()
        for number, key, value in inputs.maps:
            put(maps[number], key, value)
        results = iter(inputs.returns)
        helpers = {number: self._player(number, results) for number in self.played}
        machine = Machine(self.program, maps=maps, helpers=helpers, limit=limit, seed=1, now=1)
        machine.memory.show(SOCKET >> layout.REGION_SHIFT, np.zeros(SOCKET_SIZE, np.uint8), "socket", writable=False)
        machine.start(inputs.packet, self.context(inputs))
        if inputs.metadata:
            machine.packet.adjust_meta(-inputs.metadata)
        return machine

    def context(self, inputs: Inputs) -> bytes:
        """Return the context of a run: what the inputs say, and pointers where its type has some."""
        context = bytearray(inputs.context.ljust(context_size(self.program), b"\0"))
        sizes = len(inputs.packet)
        for row in pointer_fields(self.program):
            if row.offset + row.size > len(context) or row.size < 8:
                continue
            if row.name in ("data", "skb_data", "optval"):
                address = layout.PACKET_DATA
            elif row.name in ("data_end", "skb_data_end", "optval_end"):
                address = layout.PACKET_DATA + sizes
            elif row.name in ("sk", "migrating_sk"):
                given = int.from_bytes(context[row.offset : row.offset + 8], "little")
                address = SOCKET if given else 0
                access = CONTEXTS[self.program.type.name] if self.program.type is not None else None
                if access is not None and row.name in access.pointers and not access.pointers[row.name].nullable:
                    address = SOCKET
            else:
                address = 0
            struct.pack_into("<Q", context, row.offset, address)
        return bytes(context)

    def _player(self, number: int, results: Any) -> Callable[..., int]:
        row = prototypes()[number]

        def play(machine: Machine, *registers: int) -> int:
            given = self.at_call(number) if self.at_call is not None else next(results, 0)
            return _played(machine, row, registers, given)

        play.machine = True  # type: ignore[attr-defined]
        return play


def _played(machine: Machine, row: Prototype, registers: tuple[int, ...], given: int) -> int:
    """Do what a helper that is played does to memory; return what it returns."""
    arguments = row.arguments
    for place, argument in enumerate(arguments):
        following = arguments[place + 1] if place + 1 < len(arguments) else None
        sized = following in (Argument.SIZE, Argument.SIZE_OR_ZERO)
        if argument in (Argument.MEMORY_OUT, Argument.MEMORY_OUT_OR_NULL) and sized and registers[place]:
            machine.memory.write(registers[place], bytes(min(registers[place + 1] & 0xFFFF_FFFF, 1 << 20)))
        elif argument in (Argument.MEMORY, Argument.MEMORY_OR_NULL) and sized and registers[place]:
            machine.memory.read(registers[place], min(registers[place + 1] & 0xFFFF_FFFF, 1 << 20))
    if row.number == HelperId.GET_LOCAL_STORAGE:
        return machine.value_address(machine.map_of(registers[0]), 0)
    if row.returns in _SOCKETS:
        return SOCKET if given else 0
    if row.number in _LENGTH_AT:
        return min(given, registers[_LENGTH_AT[row.number]] & 0xFFFF_FFFF)
    if row.returns in (Returns.INTEGER, Returns.VOID):
        return given
    return 0


def _made(spec: MapSpec) -> Map:
    kind = _STAND_INS.get(spec.type, spec.type)
    inner = _made(spec.inner) if spec.inner is not None else None
    flags = int(spec.flags) if kind is spec.type else 0
    made = create_map(kind, spec.key_size, spec.value_size, spec.max_entries or 1, flags, inner=inner)
    if inner is not None:
        for number in range(min(spec.max_entries, 4)):
            try:
                made.update(number.to_bytes(spec.key_size, "little"), inner)
            except MapError:
                break
    if spec.frozen is not None and made.values is not None:
        made.values[: len(spec.frozen)] = np.frombuffer(spec.frozen, np.uint8)
    return made


def put(found: Map, key: bytes, value: bytes) -> None:
    """Let an element be there, also where only programs, or nobody, may write.

    Raises
    ------
    MapError
        If the map has no room.
    """
    place = found.program_lookup(key, 0) if found.values is not None else None
    if place is None:
        refused = found.program_update(key, value[: found.value_size].ljust(found.value_size, b"\0"), 0, 0)
        if refused < 0:
            raise MapError(-refused, "no such element", where="inputs", expected="one that the map takes")
        return
    values = found.values
    if values is not None:
        data = np.frombuffer(value[: found.value_size], np.uint8)
        values[place : place + len(data)] = data
