# SPDX-License-Identifier: Apache-2.0
"""One LLVM function of a program while it is written: its text, its blocks, fuel and faults.

A register is a stack slot that LLVM promotes; a basic block begins wherever something jumps to. All of an instruction's
text is made at once, from templates: the time to write the IR counts as much as the time to compile it. What becomes of
each kind of instruction is written in the modules beside this one, as functions that take a `Function`.

Fuel is a stack slot too, written to the state before anything that may look at it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    Alu,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallLocal,
    CallRegister,
    Exit,
    Extend,
    Instruction,
    Jump,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    MayGoto,
    Negate,
    Store,
    StoreRelease,
    Swap,
)
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler.loops import ShortLoop, short_loops
from prestocloud_sec.bpf.vm.compiler.plan import Plan
from prestocloud_sec.bpf.vm.compiler.prologue import epilogue, prologue, reload
from prestocloud_sec.bpf.vm.compiler.provenance import Kind, Origin
from prestocloud_sec.bpf.vm.compiler.spans import Span, spans
from prestocloud_sec.bpf.vm.fault import FaultKind

__all__ = ["Function", "Late"]

_LARGEST_UNROLLED = 1500
"""Instructions of the largest program whose short loops are written out."""
_FLOW = frozenset({Exit, Jump, Branch, MayGoto})
_SOURCES: dict[type, tuple[str, ...]] = {
    Alu: ("src",),
    Negate: (),
    Extend: ("src",),
    Swap: (),
    Load: ("base",),
    LoadAcquire: ("base",),
    Store: ("src", "base"),
    StoreRelease: ("src", "base"),
    Atomic: ("src", "base"),
    LoadImm64: (),
    LegacyLoad: ("src",),
    Jump: (),
    Branch: ("dst", "src"),
    MayGoto: (),
    CallHelper: (),
    CallLocal: (),
    CallRegister: ("register",),
    Exit: (),
}
"""Where an instruction names registers that it reads and that may be r10 (which nothing may write)."""


class Late:
    """Text that is known only when the whole function is written."""

    def __init__(self, function: Function, text: str) -> None:
        self.function = function
        self.text = text


class _Reload(Late):
    """A place where packet bounds are read again, when it is known which are used; its text makes the names new."""

    def __str__(self) -> str:
        return reload(self.function, self.text)


class _IfCounted(Late):
    """Text that is only there if the function counts instructions."""

    def __str__(self) -> str:
        return self.text if self.function.counts else ""


class Function:
    """The text of one LLVM function."""

    def __init__(
        self,
        plan: Plan,
        entry: int,
        *,
        main: bool,
        rows: bool,
        emit: Callable[[Function, Instruction], None],
        atomics_used: set[tuple[AtomicOp, int]],
        body: bool = False,
    ) -> None:
        self.plan = plan
        self.program = plan.program
        self.instructions = plan.program.instructions
        self.targets = plan.program.targets
        self.entry = entry
        self.main = main
        self.body = body
        """Whether it is the main function as part of `packetloop`: the packet's place is an argument."""
        self.rows = rows
        self.emit = emit
        self.atomics_used = atomics_used
        self.lines: list[str | Late] = []
        self.count = 0
        self.index = 0
        self.leaders: set[int] = set()
        self.framed = False
        self.uses_packet = self.uses_data = self.uses_context = False
        self.ended = self.finds_nothing = False
        self.slots: list[str] = []
        self.counts = False
        self.loops: Mapping[int, ShortLoop] = {}
        self.turn: tuple[ShortLoop, int] | None = None
        self.kind = "u"
        """Of turns that are written out: whether their accesses are tested (u), or were before the first (r)."""
        self.within: frozenset[int] = frozenset()
        """Accesses that were."""
        self.moves = HelperId.TAIL_CALL in plan.special and any(
            isinstance(i, CallRegister) or (isinstance(i, CallHelper) and i.number == HelperId.TAIL_CALL)
            for i in self.instructions
        )

    # --- Pieces of text.

    def new(self) -> str:
        """Return a new name for a value."""
        self.count += 1
        return f"%t{self.count}"

    def label(self) -> str:
        """Return a new name for a block."""
        self.count += 1
        return f"l{self.count}"

    def add(self, text: str | Late) -> None:
        """Write text."""
        self.lines.append(text)

    def get(self, register: int) -> str:
        """Return the value of a register."""
        name = self.new()
        self.add(f"  {name} = load i64, ptr %r{register}\n")
        return name

    def put(self, register: int, value: str | int) -> None:
        """Set a register."""
        self.add(f"  store i64 {value}, ptr %r{register}\n")

    def op(self, text: str) -> str:
        """Write one instruction of LLVM; return its value."""
        name = self.new()
        self.add(f"  {name} = {text}\n")
        return name

    # --- The function as a whole.

    def text(self) -> str:
        """Return the whole function."""
        order = self.reachable()
        # The outermost frame that nothing names is the machine's own; others may be reached through any pointer.
        self.framed = self.names_frame(order) or (self.rows and not self.main)
        self.loops = {}
        if len(self.instructions) <= _LARGEST_UNROLLED:
            self.loops = short_loops(self.instructions, self.targets, order)
        body = self.lines = []
        self.write(order, None)
        for loop in self.loops.values():
            known = spans(self.instructions, self.plan.origins, loop) if self.plan.checks and self.plan.origins else ()
            self.gate(loop, known)
            self.write_out(loop)
            if known:
                self.kind, self.within = "r", frozenset().union(*(span.accesses for span in known))
                self.write_out(loop)
                self.kind, self.within = "u", frozenset()
        if self.finds_nothing:
            self.add("nothing:\n")
            self.leave("0")
        return prologue(self) + "".join(map(str, body)) + epilogue(self)

    def write(self, indexes: Sequence[int], turn: tuple[ShortLoop, int] | None) -> None:
        """Write instructions, ascending; with `turn`, as one turn of a loop that is written out."""
        self.turn = turn
        instructions, leaders, lines, emit = self.instructions, self.leaders, self.lines, self.emit
        for index, following in zip(indexes, [*indexes[1:], -1], strict=True):
            self.index = index
            if index in leaders:
                lines.append(f"{self.own_name(index)}:\n")
                self.ended = False
            instruction = instructions[index]
            emit(self, instruction)
            if (following != index + 1 or following in leaders) and not self.ended:
                lines.append(f"  br label %{self.name(index + 1)}\n")
        self.turn = None

    def write_out(self, loop: ShortLoop) -> None:
        """Write a loop's turns one after the other."""
        for turn in range(loop.turns):
            self.write(range(loop.head, loop.last + 1), (loop, turn))

    def own_name(self, index: int) -> str:
        """Return the name of the block that is being written and begins at `index`."""
        return f"b{index}" if self.turn is None else f"b{index}{self.kind}{self.turn[1]}"

    def name(self, target: int) -> str:
        """Return the name of the block to go to, from here, for the instruction `target`."""
        if self.turn is not None and target in self.turn[0] and target != self.turn[0].head:
            return self.own_name(target)
        return f"g{target}" if target in self.loops else f"b{target}"

    def gate(self, loop: ShortLoop, known: tuple[Span, ...]) -> None:
        """Write where a loop is entered: with fuel for all turns or not, and whether these stay in the packet."""
        self.counts = True
        fuel, enough = self.new(), self.new()
        self.add(f"g{loop.head}:\n  {fuel} = load i64, ptr %fuel\n  {enough} = icmp sge i64 {fuel}, {loop.fuel}\n")
        if not known:
            self.add(f"  br i1 {enough}, label %b{loop.head}u0, label %b{loop.head}, !prof !1\n")
            return
        look = self.label()
        self.add(f"  br i1 {enough}, label %{look}, label %b{loop.head}, !prof !1\n{look}:\n")
        self.uses_packet = True
        inside = "true"
        for span in known:
            first = self.op(f"sub i64 {self.get(span.register)}, {self.op('load i64, ptr %pbase')}")
            for place in (span.low, span.low + span.size - 1):
                at, size = self.op(f"add i64 {first}, {place}"), self.op("load i64, ptr %plim1")
                inside = self.op(f"and i1 {inside}, {self.op(f'icmp ult i64 {at}, {size}')}")
        self.add(f"  br i1 {inside}, label %b{loop.head}r0, label %b{loop.head}u0, !prof !1\n")

    def reachable(self) -> list[int]:
        """Return the instructions of the function in program order, and note where blocks begin."""
        instructions, targets = self.instructions, self.targets
        seen: set[int] = set()
        queue = [self.entry]
        leaders = {self.entry}
        while queue:
            index = queue.pop()
            while index not in seen:
                seen.add(index)
                kind = type(instructions[index])
                if kind in _FLOW:
                    target = targets[index]
                    if target is not None:
                        leaders.add(target)
                        queue.append(target)
                    if kind is Exit or kind is Jump:
                        break
                    leaders.add(index + 1)
                index += 1
        self.leaders = leaders
        return sorted(seen)

    def names_frame(self, order: Sequence[int]) -> bool:
        """Whether one of these instructions reads r10."""
        for index in order:
            i = self.instructions[index]
            for name in _SOURCES[type(i)]:
                register = getattr(i, name)
                if type(register) is int and register == FRAME_POINTER:
                    return True
        return False

    # --- Fuel, faults, returns.

    def trap(self, kind: FaultKind, address: str = "0", size: str | int = 0) -> None:
        """End the run with a fault of this instruction."""
        self.add(
            f"  call preserve_mostcc void @trap(ptr %state, i64 {int(kind)}, i64 {self.index}, i64 {address}, "
            f"i64 {size})\n  br label %fault\n"
        )

    def charge(self, cost: int) -> None:
        """Count instructions; on the way out if there are not so many left."""
        self.counts = True
        before, after, low = self.new(), self.new(), self.new()
        more, good, done = self.label(), self.label(), self.label()
        got, bad = self.new(), self.new()
        self.add(
            f"  {before} = load i64, ptr %fuel\n  {after} = sub i64 {before}, {cost}\n"
            f"  {low} = icmp slt i64 {after}, 0\n  br i1 {low}, label %{more}, label %{good}, !prof !0\n"
            f"{more}:\n  {got} = call preserve_mostcc i64 @refuel(ptr %state, i64 {before}, i64 {cost}, "
            f"i64 {self.index})\n"
            f"  {bad} = icmp slt i64 {got}, 0\n  br i1 {bad}, label %gone, label %{done}\n"
            f"{good}:\n  br label %{done}\n"
            f"{done}:\n  %p{got[1:]} = phi i64 [ {got}, %{more} ], [ {after}, %{good} ]\n"
            f"  store i64 %p{got[1:]}, ptr %fuel\n"
        )

    def save_fuel(self) -> None:
        """Write the fuel to the state."""
        value = self.new()
        self.add(_IfCounted(self, f"  {value} = load i64, ptr %fuel\n  store i64 {value}, ptr %fuelp\n"))

    def load_fuel(self) -> None:
        """Read the fuel from the state again."""
        self.counts = True
        value = self.op("load i64, ptr %fuelp")
        self.add(f"  store i64 {value}, ptr %fuel\n")

    def check_fault(self) -> None:
        """Leave if what was called left a fault (fuel is in the state)."""
        fault, bad, good = self.new(), self.new(), self.label()
        self.add(
            f"  {fault} = load i64, ptr %state\n  {bad} = icmp ne i64 {fault}, 0\n"
            f"  br i1 {bad}, label %gone, label %{good}, !prof !0\n{good}:\n"
        )

    def hide_frame(self) -> None:
        """Let the frame's region be gone, unless it is the outermost's."""
        if not self.rows:
            return
        outer = self.op("icmp eq i64 %depth, 0")
        size = self.op(f"select i1 {outer}, i64 {layout.FRAME_SIZE}, i64 0")
        self.add(f"  store i64 {size}, ptr %rowsize\n")

    def leave(self, value: str) -> None:
        """Return from the function."""
        self.save_fuel()
        if not self.main:  # that of a program that was gone on to is hidden by what went there
            self.hide_frame()
        self.add(f"  ret i64 {value}\n")
        self.ended = True

    def nothing(self) -> str:
        """Return the name of the block that returns 0 where a classic load finds nothing."""
        self.finds_nothing = True
        return "nothing"

    def clobber(self) -> None:
        """Clear what a call leaves undefined, as all engines do."""
        self.add("".join(f"  store i64 0, ptr %r{number}\n" for number in range(1, 6)))

    def jump(self, target: int) -> None:
        """Go on at an instruction; a jump back pays for what it leads to."""
        cost = self.index - target + 1
        if self.turn is not None and target == self.turn[0].head:
            loop, turn = self.turn
            less = self.op(f"sub i64 {self.op('load i64, ptr %fuel')}, {cost}")
            following = f"b{target}{self.kind}{turn + 1}" if turn + 1 < loop.turns else f"g{target}"
            self.add(f"  store i64 {less}, ptr %fuel\n  br label %{following}\n")
        else:
            if cost > 0:
                self.charge(cost)
            self.add(f"  br label %{self.name(target)}\n")
        self.ended = True

    # --- Memory.

    def origin(self, register: int) -> Origin:
        """Return what a register is known to hold before this instruction."""
        state = self.plan.origins[self.index] if self.plan.origins else None
        if state is not None:
            found: Origin = state[register]
            return found
        return Origin(Kind.FRAME, 0, 0) if register == FRAME_POINTER else Origin(Kind.UNKNOWN)

    def see_packet(self) -> None:
        """Read the bounds of the packet again, which may be another now."""
        self.count += 1
        self.add(_Reload(self, f"c{self.count}"))
