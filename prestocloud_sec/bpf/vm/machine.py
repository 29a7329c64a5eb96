# SPDX-License-Identifier: Apache-2.0
"""A machine: one program, the maps it uses, the programs it can go on to, and the memory they share.

Theory of operation
-------------------
A machine is made once for a program and its maps and then runs any number of packets. What all engines share is here:
numbers of maps and programs, the state and the region table (`prestocloud_sec.bpf.vm.layout`), the packet, the context,
the stack frames, and the helpers that are written in Python. An engine takes a machine that `start` has prepared, runs
it, and leaves either `State.RESULT` or the words of a fault; `finish` reads those.

The parts that stand on their own are `prestocloud_sec.bpf.vm.maptable` (maps), `prestocloud_sec.bpf.vm.services` (what
helpers use) and `prestocloud_sec.bpf.vm.programtable` (programs).
"""

from __future__ import annotations

import contextlib
import operator
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.helpers.registry import kfunc_numbers, user_helpers
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.arguments import given_maps, seconds, whole
from prestocloud_sec.bpf.vm.context import LINK_LAYER_TYPES, ContextKind, context_kind, octets_of, protocol_of
from prestocloud_sec.bpf.vm.fault import Fault, FaultKind
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.messages import fault_message
from prestocloud_sec.bpf.vm.packet import LARGEST
from prestocloud_sec.bpf.vm.programtable import ProgramTable
from prestocloud_sec.bpf.vm.result import Redirect, Result
from prestocloud_sec.bpf.vm.services import DEFAULT_SEED
from prestocloud_sec.bpf.words import signed
from prestocloud_sec.wire import view_of

if TYPE_CHECKING:
    from prestocloud_sec.bpf.helpers.registry import Helper
    from prestocloud_sec.wire import BytesLike

__all__ = ["DEFAULT_LIMIT", "PORTION", "Machine"]

DEFAULT_LIMIT = 1 << 26
"""Instructions that a run may count (see `FaultKind.LIMIT`)."""
PORTION = 1 << 16
"""Instructions between two looks at the clock."""
_MOST = (1 << 62) - 1
_U64 = (1 << 64) - 1
_ETHERNET = 14

Maps = Sequence[Any] | Mapping[Any, Any] | None
Caller = Callable[[int, Sequence[int]], int]


class Machine(ProgramTable):
    r"""One program ready to run.

    `Program.run` keeps one for each set of maps and options; who wants it for himself calls `start`, an engine's
    ``execute``, and `finish`.

    Parameters
    ----------
    program : Program
        What to run.
    maps : sequence or mapping, optional
        The maps that it refers to: a sequence by the number in the load; a mapping by name (`Symbols.maps`) or number.
    helpers : mapping, optional
        Further helpers, or others for the built-in ones, by number or name: functions of r1 to r5 that return r0. Also
        kernel functions, by the names that `program` itself calls, which go before those of helpers; names that only
        programs behind its tail calls have do not count.
        An `Exception` of one is a fault of the program; what is none, such as a Ctrl-C, ends the run and is raised to
        its caller. (What another signal's handler raises while machine code runs arrives as a KeyboardInterrupt.)
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
    runnable : list of Program
        The same as engines run them, with calls of helpers where kernel functions are called by name.
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

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> from prestocloud_sec.bpf.vm import reference
    >>> machine = Machine(assemble("r0 = 3\nexit"))
    >>> machine.start()
    >>> reference.execute(machine)
    >>> machine.finish().value
    3
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
        self._arguments: dict[str, Any] = {
            "maps": maps,
            "helpers": helpers,
            "limit": limit,
            "time_limit": time_limit,
            "seed": seed,
            "now": now,
            "cpu": cpu,
        }
        kind = context_kind(program.type)
        clock = None if now is None else whole(now, "now", 1, _MOST)
        super().__init__(kind, whole(cpu, "cpu", 0, 0xFFFF), clock, given_maps(maps))
        self.limit = whole(limit, "limit", 1, _MOST)
        self.time_limit = seconds(time_limit)
        self.seed = None if seed is None else whole(seed, "seed", 0, _U64)
        numbers = kfunc_numbers(program.symbols.kfuncs.values())
        self._helpers = user_helpers(helpers, numbers)
        self._kfuncs = {name: number for name, number in numbers.items() if self.helper(number) is not None}
        self.caller: Caller | None = None
        """What runs a callback, while an engine that can runs."""
        self.failure: BaseException | None = None
        """What a helper written by a user raised in the last run."""
        self._interrupt: BaseException | None = None
        """What it raised that is no error of the program's, such as a Ctrl-C: `finish` raises it."""
        self._helping = 0
        self._opaque: np.ndarray[Any, np.dtype[np.uint8]] | None = None
        self.frames = np.zeros(layout.MAX_FRAMES * layout.FRAME_SIZE, np.uint8)
        for frame in range(layout.MAX_FRAMES):
            part = self.frames[frame * layout.FRAME_SIZE : (frame + 1) * layout.FRAME_SIZE]
            self.memory.show(layout.STACK + frame, part, f"stack frame {frame}")
            self.memory.hide(layout.STACK + frame)
        if kind is not ContextKind.OPAQUE:
            self._show_context()
        self._add_program(program)
        self.link()
        self._template = self._fixed_state(kind)

    def twin(self) -> Machine:
        """Return another machine for the same program, maps and options: what runs on one, the other does not see."""
        return Machine(self.program, **self._arguments)

    def __reduce__(self) -> tuple[object, ...]:
        raise BpfMisuseError(
            "a machine can be neither copied nor pickled", where="Machine", hint="make another for the same program"
        )

    def __repr__(self) -> str:
        return f"<Machine of {self.program!r}, {len(self.maps)} maps>"

    # --- A run.

    def _show_context(self) -> None:
        self.memory.show(layout.CONTEXT, self.context.buffer, "context", writable=self.context.writable)

    def _fixed_state(self, kind: ContextKind) -> np.ndarray[Any, np.dtype[np.int64]]:
        state = np.zeros(layout.STATE_WORDS, np.int64)
        state[State.REGIONS_AT] = self.memory.table.ctypes.data
        state[State.MAPS_AT] = self._map_addresses.ctypes.data
        state[State.CPU] = self.cpu
        state[State.NOW] = self.fixed_now or 0
        state[State.CONTEXT_KIND] = kind
        fuel = self.limit if self.time_limit is None else min(self.limit, PORTION)
        state[State.FUEL], state[State.RESERVE] = fuel, self.limit - fuel
        state[State.RANDOM] = signed(self.seed or DEFAULT_SEED)
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
            If the packet is not bytes-like or too large, or the context does not fit the program's type; if a helper of
            the machine's own run asks for it.
        """
        if self._helping:
            raise BpfMisuseError(
                "it is running", where="Machine.start", hint="a helper that runs programs makes a machine of its own"
            )
        view = view_of(packet, name="packet")
        if len(view) > LARGEST:
            raise BpfMisuseError(f"{len(view)} bytes", where="packet", expected=f"at most {LARGEST}")
        self.link()
        state = self.state
        state[:] = self._template
        state[State.MAP_COUNT] = len(self.maps)
        if self.seed is None:
            state[State.RANDOM] = signed(secrets.randbits(64) or DEFAULT_SEED)
        if self.time_limit is not None:
            state[State.DEADLINE] = time.monotonic_ns() + int(self.time_limit * 1e9)
        self.lines.clear()
        self.failure = self._interrupt = None
        self.reclaim()
        link_layer = int(state[State.MAC_OFFSET]) >= 0
        state[State.NETWORK_OFFSET] = min(_ETHERNET, len(view)) if link_layer else 0
        if network_offset is not None:
            state[State.NETWORK_OFFSET] = whole(network_offset, "network_offset", 0, LARGEST)
        if mac_offset is not None:
            state[State.MAC_OFFSET] = whole(mac_offset, "mac_offset", -1, LARGEST)
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
            self.memory.forget(layout.CONTEXT)
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
        """Return what a run left; records of ring buffers that it reserved and kept are discarded.

        What a helper raised that is no `Exception` (a Ctrl-C, an exit) is raised here.
        """
        self.raise_interrupt()
        state = self.state
        fault = self._fault()
        self.reclaim()
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

    def raise_interrupt(self) -> None:
        """Raise what ended the run and is the caller's, if there is such; the run has no result then."""
        if self._interrupt is not None:
            self.reclaim()
            interrupt, self._interrupt = self._interrupt, None
            raise interrupt

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
        message = fault_message(kind, program, index, address, size, self.memory, self.failure, self.limit)
        slot = program.slot_of(index)
        return Fault(kind, index, program.name, address, size, region, offset, message, slot)

    # --- Helpers.

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
        self._helping += 1
        try:
            value = operator.index(found(self, *registers)) & _U64
        except Trap as trap:
            self.leave_fault(trap)
        except BaseException as error:
            self.fail(error)
        else:
            if self.time_limit is None or time.monotonic_ns() < self.state[State.DEADLINE]:
                return value
            self.leave_fault(Trap(FaultKind.TIME))
        finally:
            self._helping -= 1
        return None

    def fail(self, error: BaseException) -> None:
        """End the run for what Python raised within it, which no C function on the way out lets pass.

        An `Exception` is the program's: a fault of the helper. Anything else is the caller's; `finish` raises it.
        """
        if isinstance(error, Exception):
            self.failure = error
        else:
            self._interrupt = error
        self.leave_fault(Trap(FaultKind.HELPER))

    @property
    def interrupted(self) -> bool:
        """Whether `raise_interrupt` would raise something."""
        return self._interrupt is not None

    def leave_fault(self, trap: Trap) -> None:
        """Write a fault into the state, its instruction excepted."""
        state = self.state
        state[State.FAULT] = trap.kind
        state[State.FAULT_ADDRESS] = signed(trap.address & _U64)
        state[State.FAULT_SIZE] = signed(trap.size & _U64)
        if trap.message and self.failure is None:
            self.failure = trap

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
