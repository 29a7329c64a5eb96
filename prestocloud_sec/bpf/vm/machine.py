# SPDX-License-Identifier: Apache-2.0
"""A machine: one program, the maps it uses, the programs it can go on to, and the memory they share.

Theory of operation ------------------- A machine is made once for a program and its maps and then runs any number of
packets. What all engines share is here: numbers of maps and programs, the state and the region table
(`prestocloud_sec.bpf.vm.layout`), the packet, the context, the stack frames, and the helpers that are written in
Python. An engine takes a machine that `start` has prepared, runs it, and leaves either `State.RESULT` or the words of a
fault; `finish` reads those.

A map keeps its number for the machine's life. Programs reached through a program array are numbered too; when such an
array was changed, `start` links anew, and `generation` tells engines that kept something about programs.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError, ProgramError
from prestocloud_sec.bpf.isa import ImmKind, LoadImm64
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import LINK_LAYER_TYPES, Context, ContextKind, context_kind, octets_of, protocol_of
from prestocloud_sec.bpf.vm.fault import Fault, FaultKind
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAP_HANDLES, State
from prestocloud_sec.bpf.vm.memory import Memory, Trap
from prestocloud_sec.bpf.vm.messages import fault_message
from prestocloud_sec.bpf.vm.packet import LARGEST, Packet
from prestocloud_sec.bpf.vm.result import Redirect, Result
from prestocloud_sec.bpf.vm.runnable import check_runnable, functions_of
from prestocloud_sec.wire import view_of

if TYPE_CHECKING:
    from prestocloud_sec.bpf.helpers.registry import Helper
    from prestocloud_sec.wire import BytesLike

__all__ = ["DEFAULT_LIMIT", "PORTION", "Machine"]

DEFAULT_LIMIT = 1 << 26
"""Instructions that a run may count (see `FaultKind.LIMIT`)."""
PORTION = 1 << 20
"""Instructions between two looks at the clock."""
_MOST = (1 << 62) - 1
_U64 = (1 << 64) - 1
_DEFAULT_SEED = 0x9E37_79B9_7F4A_7C15
_MULTIPLIER = 0x2545_F491_4F6C_DD1D
_MOST_LINES = 4096
_ETHERNET = 14

Maps = Sequence[Any] | Mapping[Any, Any] | None
Caller = Callable[[int, Sequence[int]], int]


class Machine:
    """One program ready to run.

    Parameters
    ----------
    program : Program
        What to run.
    maps : sequence or mapping, optional
        The maps that it refers to: a sequence by the number in the load; a mapping by name (`Symbols.maps`) or number.
    helpers : mapping, optional
        Further helpers, or others for the built-in ones, by number or name: functions of r1 to r5 that return r0.
    limit : int
        Instructions that a run may count; see `FaultKind.LIMIT`.
    time_limit : float, optional
        Seconds that a run may take.
    seed : int, optional
        What ``get_prandom_u32`` starts from, at each run; without it, something random.
    now : int, optional
        What the clock shows, in nanoseconds; without it, the system's monotonic clock.
    cpu : int
        The processor that the program believes to run on.

    Attributes
    ----------
    programs : list of Program
        By number; 0 is the program.
    functions : list of frozenset of int
        For each program, the instructions that its functions begin with.
    maps : list of Map
        By number.
    state : ndarray of int64, shape (STATE_WORDS,)
    memory : Memory
    context : Context
    packet : Packet
    generation : int
        Grows whenever `programs` or `maps` do.

    Raises
    ------
    ProgramError
        If the program cannot be run; see `prestocloud_sec.bpf.vm.runnable`.
    BpfMisuseError
        If an argument is wrong.
    """

    def __init__(
        self,
        program: Program,
        *,
        maps: Maps = None,
        helpers: Mapping[Any, Callable[..., int]] | None = None,
        limit: int = DEFAULT_LIMIT,
        time_limit: float | None = None,
        seed: int | None = None,
        now: int | None = None,
        cpu: int = 0,
    ) -> None:
        if not isinstance(program, Program):
            raise BpfMisuseError(f"{type(program).__name__} is no program", where="Machine", expected="a Program")
        self.limit = _whole(limit, "limit", 1, _MOST)
        self.time_limit = _seconds(time_limit)
        self.seed = None if seed is None else _whole(seed, "seed", 0, _U64)
        self.fixed_now = None if now is None else _whole(now, "now", 1, _MOST)
        self.cpu = _whole(cpu, "cpu", 0, 0xFFFF)
        self._given = _maps(maps)
        self._helpers = _user_helpers(helpers)
        self.state: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(layout.STATE_WORDS, np.int64)
        self.memory = Memory()
        kind = context_kind(program.type)
        self.context = Context(kind)
        self.packet = Packet(self.memory, self.state, self.context)
        self.programs: list[Program] = []
        self.functions: list[frozenset[int]] = []
        self.maps: list[Any] = []
        self._map_numbers: dict[int, int] = {}
        self._program_numbers: dict[int, int] = {}
        self._map_addresses = np.zeros(layout.MAX_MAPS, np.int64)
        self._linked: dict[int, int] = {}
        self.generation = 0
        self.caller: Caller | None = None
        """What runs a callback, while an engine that can runs."""
        self.failure: BaseException | None = None
        """What a helper written by a user raised in the last run."""
        self.lines: list[str] = []
        self._lent: dict[int, tuple[Any, Any]] = {}
        self._opaque: np.ndarray[Any, np.dtype[np.uint8]] | None = None
        self.frames = np.zeros(layout.MAX_FRAMES * layout.FRAME_SIZE, np.uint8)
        for frame in range(layout.MAX_FRAMES):
            part = self.frames[frame * layout.FRAME_SIZE : (frame + 1) * layout.FRAME_SIZE]
            self.memory.show(layout.STACK + frame, part, f"stack frame {frame}")
            self.memory.hide(layout.STACK + frame)
        if kind is not ContextKind.OPAQUE:
            self._show_context(self.context)
        self._add_program(program)
        self.link()
        self._template = self._fixed_state(kind)

    @property
    def program(self) -> Program:
        """The program that runs begin with."""
        return self.programs[0]

    def __repr__(self) -> str:
        return f"<Machine of {self.program!r}, {len(self.maps)} maps>"

    # --- Numbers of programs and maps.

    def _add_program(self, program: Program) -> int:
        known = self._program_numbers.get(id(program))
        if known is not None:
            return known
        check_runnable(program)
        for instruction in program.instructions:
            if isinstance(instruction, LoadImm64) and instruction.kind not in {ImmKind.INTEGER, ImmKind.FUNCTION}:
                self._map_for(program, instruction)
        number = self._program_numbers[id(program)] = len(self.programs)
        self.programs.append(program)
        self.functions.append(functions_of(program))
        self.generation += 1
        return number

    def _map_for(self, program: Program, load: LoadImm64) -> int:
        """Return the number of the map that a load refers to."""
        name = None
        if program.symbols.maps and load.kind in {ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD}:
            names = program.symbols.map_names
            name = names[load.value] if 0 <= load.value < len(names) else None
        for key in (name, load.value):
            found = None if key is None else self._given.get(key)
            if found is not None:
                return self.number_of(found)
        wanted = f"the map {name!r}" if name is not None else f"map {load.value}"
        raise ProgramError(
            f"it refers to {wanted}, which was not given", where="maps", hint="give maps= by position, number or name"
        )

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
        if getattr(self, "_template", None) is not None:
            self._template[State.MAP_COUNT] = number + 1
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

    def program_number(self, program: Program) -> int:
        """Return the number of a program that a program array holds."""
        return self._add_program(program)

    def link(self) -> None:
        """Give a number to every program that tail calls can reach."""
        at = 0
        while at < len(self.maps):
            found = self.maps[at]
            if found.holds_programs and self._linked.get(at) != found.generation:
                self._linked[at] = found.generation
                for program in found.programs():
                    self._add_program(program)
            at += 1

    def load_value(self, number: int, index: int) -> int:
        """Return what a 64-bit load gives: instruction `index` of program `number`."""
        program = self.programs[number]
        load = program.instructions[index]
        if not isinstance(load, LoadImm64):
            raise BpfMisuseError(f"instruction {index} is no 64-bit load", where="Machine.load_value")
        match load.kind:
            case ImmKind.INTEGER:
                return load.value
            case ImmKind.FUNCTION:
                return FUNCTION_HANDLES | (program.targets[index] or 0)
            case ImmKind.MAP_FD | ImmKind.MAP_INDEX:
                return MAP_HANDLES | self._map_for(program, load)
            case _:
                base = layout.MAP_VALUES + self._map_for(program, load) << layout.REGION_SHIFT
                return base + load.second

    # --- A run.

    def _show_context(self, context: Context) -> None:
        self.memory.show(layout.CONTEXT, context.buffer, "context", writable=context.writable)

    def _fixed_state(self, kind: ContextKind) -> np.ndarray[Any, np.dtype[np.int64]]:
        state = np.zeros(layout.STATE_WORDS, np.int64)
        state[State.REGIONS_AT] = self.memory.table.ctypes.data
        state[State.MAPS_AT] = self._map_addresses.ctypes.data
        state[State.MAP_COUNT] = len(self.maps)
        state[State.CPU] = self.cpu
        state[State.NOW] = self.fixed_now or 0
        state[State.CONTEXT_KIND] = kind
        fuel = self.limit if self.time_limit is None else min(self.limit, PORTION)
        state[State.FUEL], state[State.RESERVE] = fuel, self.limit - fuel
        state[State.RANDOM] = _signed(self.seed or _DEFAULT_SEED)
        state[State.MAC_OFFSET] = 0 if self.program.type in LINK_LAYER_TYPES else -1
        return state

    def start(
        self,
        packet: BytesLike = b"",
        ctx: object = None,
        *,
        network_offset: int | None = None,
        mac_offset: int | None = None,
    ) -> None:
        """Prepare a run: packet, context, registers and limits.

        Parameters
        ----------
        packet : bytes-like
            Copied.
        ctx : bytes-like or mapping, optional
            The context: bytes for programs whose type has no layout here, otherwise fields by name (or bytes).
        network_offset, mac_offset : int, optional
            Where the network and the link-layer header begin, the latter -1 where there is none. Without them a packet
            begins with an Ethernet header in the types that see one, and with its network header in others.

        Raises
        ------
        BpfMisuseError
            If the packet is not bytes-like or too large, or the context does not fit the program's type.
        """
        view = view_of(packet, name="packet")
        if len(view) > LARGEST:
            raise BpfMisuseError(f"{len(view)} bytes", where="packet", expected=f"at most {LARGEST}")
        self.link()
        state = self.state
        state[:] = self._template
        if self.seed is None:
            state[State.RANDOM] = _signed(secrets.randbits(64) or _DEFAULT_SEED)
        if self.time_limit is not None:
            state[State.DEADLINE] = time.monotonic_ns() + int(self.time_limit * 1e9)
        self.lines.clear()
        self.failure = None
        for address in list(self._lent):
            self.take_back(address)
        link_layer = int(state[State.MAC_OFFSET]) >= 0
        state[State.NETWORK_OFFSET] = min(_ETHERNET, len(view)) if link_layer else 0
        if network_offset is not None:
            state[State.NETWORK_OFFSET] = _whole(network_offset, "network_offset", 0, LARGEST)
        if mac_offset is not None:
            state[State.MAC_OFFSET] = _whole(mac_offset, "mac_offset", -1, LARGEST)
        if self.context.kind is ContextKind.OPAQUE:
            self.packet.lay(view)
            self._opaque_context(ctx)
        else:
            self.context.fill(ctx)
            if self.context.kind is ContextKind.SKB and not self.context["protocol"]:
                self.context.update(protocol=protocol_of(bytes(view[:_ETHERNET]), link_layer=link_layer))
            self.packet.lay(view)
        self._enter_registers(len(view), ctx)
        self.frames[: layout.FRAME_SIZE] = 0
        self.memory.reveal(layout.STACK, layout.FRAME_SIZE)
        for frame in range(1, layout.MAX_FRAMES):
            self.memory.hide(layout.STACK + frame)

    def _opaque_context(self, ctx: object) -> None:
        if ctx is None:
            self.memory.hide(layout.CONTEXT)
            self._opaque = None
            return
        if isinstance(ctx, Mapping):
            raise BpfMisuseError(
                "this type of program has no named context fields here", where="context", expected="bytes"
            )
        buffer = np.frombuffer(bytearray(octets_of(ctx)), np.uint8)
        self._opaque = buffer
        if len(buffer):
            self.memory.show(layout.CONTEXT, buffer, "context")
        else:
            self.memory.hide(layout.CONTEXT)

    def _enter_registers(self, size: int, ctx: object) -> None:
        state = self.state
        if self.context.kind is not ContextKind.OPAQUE or ctx is not None or self.program.type is not None:
            state[State.R0 + 1] = layout.CONTEXT << layout.REGION_SHIFT
        elif size:
            state[State.R0 + 1], state[State.R0 + 2] = layout.PACKET_DATA, size
        state[State.R0 + 10] = layout.stack_top(0)

    def finish(self, engine: str = "", trace: Any = None) -> Result:
        """Return what a run left."""
        state = self.state
        fault = self._fault()
        redirect = None
        if state[State.REDIRECT]:
            number = int(state[State.REDIRECT_MAP])
            redirect = Redirect(
                int(state[State.REDIRECT_TARGET]),
                int(state[State.REDIRECT_FLAGS]) & _U64,
                self.maps[number - 1] if number else None,
            )
        shown = self._opaque if self.context.kind is ContextKind.OPAQUE else self.context.buffer
        return Result(
            value=None if fault is not None else int(state[State.RESULT]) & _U64,
            packet=self.packet.whole(),
            fault=fault,
            context=b"" if shown is None else shown.tobytes(),
            redirect=redirect,
            log=tuple(self.lines),
            charged=self.limit - int(state[State.FUEL]) - int(state[State.RESERVE]),
            engine=engine,
            trace=trace,
        )

    def _fault(self) -> Fault | None:
        state = self.state
        number = int(state[State.FAULT])
        if not number:
            return None
        kind = FaultKind(number)
        program = self.programs[int(state[State.PROGRAM])]
        index = int(state[State.FAULT_INSTRUCTION])
        touched = kind in {FaultKind.READ, FaultKind.WRITE}
        address = int(state[State.FAULT_ADDRESS]) & _U64 if touched else None
        size = int(state[State.FAULT_SIZE]) & _U64 if touched else None
        region, offset = (None, None) if address is None else self.memory.describe(address)
        message = fault_message(kind, program, index, address, size, region, offset, self.failure, self.limit)
        return Fault(kind, index, program.name, address, size, region, offset, message)

    # --- What helpers use.

    def helper(self, number: int) -> Helper | None:
        """Return the helper with this number, a user's before a built-in one."""
        found = self._helpers.get(number)
        if found is None:
            from prestocloud_sec.bpf.helpers import implementations

            found = implementations().get(number)
        return found

    @property
    def user_helpers(self) -> bool:
        """Whether a user gave any helper."""
        return bool(self._helpers)

    def overrides(self, number: int) -> bool:
        """Whether a user gave this helper, so that nothing built in may be run instead."""
        return number in self._helpers

    def run_helper(self, number: int, registers: Sequence[int]) -> int | None:
        """Run a helper in Python; return r0 (unsigned), or None with a fault left in the state but for its place."""
        found = self.helper(number)
        if found is None:
            self.leave_fault(Trap(FaultKind.HELPER))
            return None
        try:
            return int(found(self, *registers)) & _U64
        except Trap as trap:
            self.leave_fault(trap)
        except Exception as error:  # whatever a user's function raises ends the program, not its caller
            self.failure = error
            self.leave_fault(Trap(FaultKind.HELPER))
        return None

    def leave_fault(self, trap: Trap) -> None:
        """Write a fault into the state, its instruction excepted."""
        state = self.state
        state[State.FAULT] = trap.kind
        state[State.FAULT_ADDRESS] = _signed(trap.address & _U64)
        state[State.FAULT_SIZE] = _signed(trap.size & _U64)
        if trap.message and self.failure is None:
            self.failure = trap

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

    def bad_argument(self, message: str) -> Trap:
        """Return the Trap for an argument that no verifier would let through."""
        return Trap(FaultKind.ARGUMENT, message=message)

    def value_address(self, found: Any, offset: int) -> int:
        """Return the address of a map's value, as the program sees it."""
        return (layout.MAP_VALUES + self.number_of(found) << layout.REGION_SHIFT) + offset

    def elements(self, found: Any) -> Iterator[tuple[int, int]]:
        """Yield the addresses of key and value of every element of a map, for ``for_each_map_elem``."""
        number = self.number_of(found)
        keys, values = (start + number << layout.REGION_SHIFT for start in (layout.MAP_KEYS, layout.MAP_VALUES))
        if found.keys is None:
            indexes = found.index_keys()
            self.memory.show(
                layout.MAP_KEYS + number, indexes, f"keys of map {number}", element=4, stride=8, writable=False
            )
        for key_offset, value_offset in found.iterate(self.cpu):
            yield keys + key_offset, values + value_offset

    def lend(self, ring: Any, record: Any) -> int:
        """Show a reserved record of a ring buffer to the program; return its address, 0 if too many are out."""
        for number in range(layout.DYNAMIC, layout.DYNAMIC + layout.DYNAMIC_REGIONS):
            address = number << layout.REGION_SHIFT
            if address not in self._lent:
                self._lent[address] = (ring, record)
                self.memory.show(number, record.view, "ring buffer record")
                return address
        ring.discard(record, 0)
        return 0

    def take_back(self, address: int) -> tuple[Any, Any]:
        """Hide a record that was lent; return its ring and the record. Trap if there is none at the address."""
        lent = self._lent.pop(address, None)
        if lent is None:
            raise self.bad_argument(f"{address:#x} is no reserved record")
        self.memory.hide(address >> layout.REGION_SHIFT)
        return lent

    def redirect_to(self, target: int, flags: int, found: Any) -> None:
        """Note where the packet is to go."""
        state = self.state
        state[State.REDIRECT] = 1
        state[State.REDIRECT_TARGET] = target
        state[State.REDIRECT_FLAGS] = _signed(flags)
        state[State.REDIRECT_MAP] = 0 if found is None else self.number_of(found) + 1

    def log(self, line: str) -> None:
        """Keep a line that the program printed; the first 4096 of a run."""
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)

    def now(self) -> int:
        """Return nanoseconds of the clock."""
        return time.monotonic_ns() if self.fixed_now is None else self.fixed_now

    def random(self) -> int:
        """Return 32 bits of xorshift64* (Vigna, 2016), and go on."""
        word = int(self.state[State.RANDOM]) & _U64
        word ^= word >> 12
        word ^= word << 25 & _U64
        word ^= word >> 27
        self.state[State.RANDOM] = _signed(word)
        return (word * _MULTIPLIER & _U64) >> 32

    @property
    def network_offset(self) -> int:
        """Where the network header begins in the packet."""
        return int(self.state[State.NETWORK_OFFSET])

    @property
    def mac_offset(self) -> int | None:
        """Where the link-layer header begins; None where there is none."""
        offset = int(self.state[State.MAC_OFFSET])
        return offset if offset >= 0 else None

    # The packet, as helpers know it.

    @property
    def packet_size(self) -> int:
        """Bytes of the packet."""
        return len(self.packet)

    def packet_bytes(self, offset: int, size: int) -> bytes | None:
        """Return bytes of the packet, or None if it does not have them."""
        return self.packet.read(offset, size)

    def packet_store(self, offset: int, data: bytes) -> None:
        """Overwrite bytes of the packet."""
        self.packet.store(offset, data)

    # --- Frames, for engines that keep them in the machine's own memory.

    def enter_frame(self, frame: int) -> None:
        """Let a stack frame be there, all zeros."""
        start = frame * layout.FRAME_SIZE
        self.frames[start : start + layout.FRAME_SIZE] = 0
        self.memory.reveal(layout.STACK + frame, layout.FRAME_SIZE)

    def leave_frame(self, frame: int) -> None:
        """Let a stack frame be gone."""
        self.memory.hide(layout.STACK + frame)

    @contextlib.contextmanager
    def calling(self, caller: Caller) -> Iterator[None]:
        """Let `caller` run callbacks for the time of the block."""
        before, self.caller = self.caller, caller
        try:
            yield
        finally:
            self.caller = before


# --- Arguments.


def _whole(value: object, name: str, low: int, high: int) -> int:
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        shown = value if type(value) is int and abs(value) <= _U64 else type(value).__name__
        raise BpfMisuseError(f"{shown}", where=name, expected=f"an integer {low}..{high}")
    return value


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    raise BpfMisuseError(f"{type(value).__name__} is no time", where="time_limit", expected="seconds above 0, or None")


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _maps(maps: object) -> dict[Any, Any]:
    if maps is None:
        return {}
    if isinstance(maps, Mapping):
        given = dict(maps)
    elif isinstance(maps, Sequence) and not isinstance(maps, str | bytes):
        given = dict(enumerate(maps))
    else:
        raise BpfMisuseError(
            f"{type(maps).__name__} holds no maps", where="maps", expected="a sequence, or a mapping by name or number"
        )
    for key, value in given.items():
        if not hasattr(value, "descriptor"):
            raise BpfMisuseError(f"{type(value).__name__} is no map", where=f"maps[{key!r}]", expected="a map")
    return given


def _user_helpers(helpers: object) -> dict[int, Helper]:
    from prestocloud_sec.bpf.helpers.registry import user_helpers

    return user_helpers(helpers)
