# SPDX-License-Identifier: Apache-2.0
"""From instructions to LLVM IR: one LLVM function for the program, and one for each local function it has.

A register is a stack slot that LLVM promotes; a basic block begins wherever something jumps to. All of an instruction's
text is made at once, from templates: the time to write the IR counts as much as the time to compile it.

Every access to memory tests the region that `provenance` expects and then, out of line, looks at all of them. Fuel is a
stack slot too, written to the state before anything that may look at it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
    Imm,
    ImmKind,
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
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler import arithmetic
from prestocloud_sec.bpf.vm.compiler.lookups import KEY_SIZES, MapFacts, bucket_search, search_name
from prestocloud_sec.bpf.vm.compiler.loops import ShortLoop, short_loops
from prestocloud_sec.bpf.vm.compiler.packetloop import Begin, loop_text
from prestocloud_sec.bpf.vm.compiler.provenance import Kind, Origin
from prestocloud_sec.bpf.vm.compiler.runtime import ENDED, Service, atomic_name, atomics, runtime, state_word
from prestocloud_sec.bpf.vm.context import LINK_LAYER_TYPES, ContextKind
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import FUNCTION_HANDLES, MAP_HANDLES, READABLE, WRITABLE, State

__all__ = ["Plan", "module_text"]

LOOKUP, TAIL_CALL, LOOP, FOR_EACH = 1, 12, 181, 164
_RANDOM, _REDIRECT = 7, 23
_MOST_LOOPS = 8 * 1024 * 1024
_NO_HELPER = 1 << 62
_EINVAL, _E2BIG = (1 << 64) - 22, (1 << 64) - 7
_SIZES = (1, 2, 4, 8)
_LARGEST_UNROLLED = 1500
"""Instructions of the largest program whose short loops are written out."""
_U32 = 0xFFFF_FFFF


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a program is compiled to.

    Attributes
    ----------
    program : Program
    origins : sequence
        Registers before each instruction, or None where they were not looked for; see `provenance`.
    loads : mapping of int to int
        What 64-bit loads of maps and functions give, by index.
    maps : mapping of int to MapFacts
        By number.
    functions : tuple of int
        Instructions that local functions begin with, sorted.
    native : frozenset of int
        Helpers that may be called without Python.
    foreign : frozenset of int
        Helpers that a user gave, which may call functions of the program.
    special : frozenset of int
        Of `TAIL_CALL`, `LOOP` and `FOR_EACH`, those that a user did not replace.
    context : tuple of (int, bool)
        Size of the context, and whether it may be written; (0, False) if unknown.
    checks : bool
        Whether accesses are tested. Without, a program can touch anything: only for measuring what tests cost.
    facts : frozenset of int
        Instructions whose access was proved to lie in the region that `origins` says.
    tag : str
        Added to every name, so that one module can hold several programs.
    """

    program: Program
    origins: Sequence[Any]
    loads: dict[int, int]
    maps: dict[int, MapFacts]
    functions: tuple[int, ...]
    native: frozenset[int]
    foreign: frozenset[int]
    special: frozenset[int]
    context: tuple[int, bool]
    checks: bool = True
    facts: frozenset[int] = field(default_factory=frozenset)
    tag: str = ""


_BEGIN = "".join(f"  %r{number} = alloca i64, align 8\n" for number in range(11)) + "  %fuel = alloca i64, align 8\n"


class _Function:
    """The text of one LLVM function."""

    def __init__(
        self,
        plan: Plan,
        entry: int,
        *,
        main: bool,
        rows: bool,
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
        self.atomics_used = atomics_used
        self.lines: list[str] = []
        self.count = 0
        self.index = 0
        self.leaders: set[int] = set()
        self.framed = False
        self.uses_packet = self.uses_data = self.uses_context = False
        self.ended = False
        self.slots: list[str] = []
        self.counts = False
        self.loops: Mapping[int, ShortLoop] = {}
        self.turn: tuple[ShortLoop, int] | None = None
        self.moves = TAIL_CALL in plan.special and any(
            isinstance(i, CallRegister) or (isinstance(i, CallHelper) and i.number == TAIL_CALL)
            for i in self.instructions
        )

    # --- Pieces of text.

    def new(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def label(self) -> str:
        self.count += 1
        return f"l{self.count}"

    def add(self, text: str) -> None:
        self.lines.append(text)

    def get(self, register: int) -> str:
        name = self.new()
        self.add(f"  {name} = load i64, ptr %r{register}\n")
        return name

    def put(self, register: int, value: str | int) -> None:
        self.add(f"  store i64 {value}, ptr %r{register}\n")

    def operand(self, source: int | Imm) -> str:
        return str(source.value) if isinstance(source, Imm) else self.get(source)

    def op(self, text: str) -> str:
        name = self.new()
        self.add(f"  {name} = {text}\n")
        return name

    # --- The function as a whole.

    def text(self) -> str:
        order = self.reachable()
        # The outermost frame that nothing names is the machine's own; others may be reached through any pointer.
        self.framed = self.names_frame(order) or (self.rows and not self.main)
        self.loops = {}
        if len(self.instructions) <= _LARGEST_UNROLLED:
            self.loops = short_loops(self.instructions, self.targets, order)
        body = self.lines = []
        self.write(order, None)
        for loop in self.loops.values():
            self.gate(loop)
            for turn in range(loop.turns):
                self.write(range(loop.head, loop.last + 1), (loop, turn))
        return self.prologue() + "".join(map(str, body)) + self.epilogue()

    def write(self, indexes: Sequence[int], turn: tuple[ShortLoop, int] | None) -> None:
        """Write instructions, ascending; with `turn`, as one turn of a loop that is written out."""
        self.turn = turn
        instructions, leaders, lines = self.instructions, self.leaders, self.lines
        for index, following in zip(indexes, [*indexes[1:], -1], strict=True):
            self.index = index
            if index in leaders:
                lines.append(f"{self.own_name(index)}:\n")
                self.ended = False
            instruction = instructions[index]
            _EMITTERS[type(instruction)](self, instruction, index)
            if (following != index + 1 or following in leaders) and not self.ended:
                lines.append(f"  br label %{self.name(index + 1)}\n")
        self.turn = None

    def own_name(self, index: int) -> str:
        """Return the name of the block that is being written and begins at `index`."""
        return f"b{index}" if self.turn is None else f"b{index}u{self.turn[1]}"

    def name(self, target: int) -> str:
        """Return the name of the block to go to, from here, for the instruction `target`."""
        if self.turn is not None and target in self.turn[0] and target != self.turn[0].head:
            return self.own_name(target)
        return f"g{target}" if target in self.loops else f"b{target}"

    def gate(self, loop: ShortLoop) -> None:
        """Write where a loop is entered: with enough fuel for all turns, or not."""
        self.counts = True
        fuel, enough = self.new(), self.new()
        self.add(
            f"g{loop.head}:\n  {fuel} = load i64, ptr %fuel\n  {enough} = icmp sge i64 {fuel}, {loop.fuel}\n"
            f"  br i1 {enough}, label %b{loop.head}u0, label %b{loop.head}, !prof !1\n"
        )

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

    def prologue(self) -> str:
        if self.body:
            more = "i64 %host0, i64 %size0, ptr %context0"
            head = (
                f"define private i64 @body(ptr %state, i64 %depth, i64 %a1, i64 %a2, {more}) alwaysinline nounwind {{\n"
            )
            head += "entry:\n"
            values: list[str] = ["0", "%a1", "%a2", *["0"] * 7]
        elif self.main:
            head = f"define i64 @main{self.plan.tag}(ptr %state, i64 %depth, i64 %a1, i64 %a2) nounwind {{\nentry:\n"
            values = ["0", "%a1", "%a2", *["0"] * 7]
        else:
            names = ", ".join(f"i64 %a{number}" for number in range(10))
            name = f"@f{self.entry}{self.plan.tag}"
            head = f"define private i64 {name}(ptr %state, i64 %depth, {names}) nounwind {{\nentry:\n"
            values = [f"%a{number}" for number in range(10)]
        text = [head, _BEGIN, *(f"  {slot} = alloca i64, align 8\n" for slot in self.slots)]
        text += [f"  store i64 {value}, ptr %r{number}\n" for number, value in enumerate(values)]
        text.append(
            f"  %region = add i64 %depth, {layout.STACK}\n  %bottom = shl i64 %region, {layout.REGION_SHIFT}\n"
            f"  %top = or i64 %bottom, {layout.FRAME_SIZE}\n  store i64 %top, ptr %r10\n"
        )
        text.append(
            state_word("fuelp", State.FUEL) + "  %fuel0 = load i64, ptr %fuelp\n  store i64 %fuel0, ptr %fuel\n"
        )
        if self.moves:  # what is called may go on to another program, and comes back here
            text.append(state_word("programp", State.PROGRAM) + "  %program = load i64, ptr %programp\n")
        text.append(
            state_word("regionsp", State.REGIONS_AT)
            + "  %regions = load ptr, ptr %regionsp\n"
            + f"  %rowat = mul i64 %region, {8 * layout.REGION_WORDS}\n"
            + "  %row = getelementptr i8, ptr %regions, i64 %rowat\n"
            + f"  %rowsize = getelementptr i8, ptr %row, i64 {8 * layout.SIZE}\n"
        )
        if self.framed:
            text.append(
                f"  %frame = alloca [{layout.FRAME_SIZE} x i8], align 16\n"
                f"  call void @llvm.memset.p0.i64(ptr align 16 %frame, i8 0, i64 {layout.FRAME_SIZE}, i1 false)\n"
            )
            if self.rows:
                text.append(
                    "  %framehost = ptrtoint ptr %frame to i64\n"
                    f"  %rowhost = getelementptr i8, ptr %row, i64 {8 * layout.HOST}\n"
                    f"  store i64 %framehost, ptr %rowhost\n  store i64 {layout.FRAME_SIZE}, ptr %rowsize\n"
                )
        text += self.views()
        text.append(f"  br label %{self.name(self.entry)}\n")
        return "".join(text)

    def views(self) -> list[str]:
        """Return what reads the bounds of packet and context at the beginning."""
        text = []
        if self.uses_packet:
            names = ("pbase", "phost", *(f"plim{size}" for size in _SIZES))
            text += [f"  %{name} = alloca i64, align 8\n" for name in names]
        if self.uses_data:
            text += ["  %dhost = alloca i64, align 8\n", "  %dsize = alloca i64, align 8\n"]
        if self.uses_packet or self.uses_data:
            text.append(self.reload("e"))
        if self.uses_context and self.body:
            text.append("  %chost = ptrtoint ptr %context0 to i64\n")
        elif self.uses_context:
            at = 8 * layout.REGION_WORDS * layout.CONTEXT
            text.append(
                f"  %chostp = getelementptr i8, ptr %regions, i64 {at + 8 * layout.HOST}\n"
                "  %chost = load i64, ptr %chostp\n"
            )
        return text

    def reload(self, tag: str) -> str:
        """Return what reads the bounds of the packet again; `tag` makes its names new."""
        given = self.body and tag == "e"
        text = []
        if self.uses_packet and given:
            text.append(
                f"  %base.e = add i64 {layout.PACKET_DATA}, 0\n  %host.e = add i64 %host0, 0\n"
                "  %size.e = add i64 %size0, 0\n"
            )
        elif self.uses_packet:
            for name, word in (("base", layout.BASE), ("host", layout.HOST), ("size", layout.SIZE)):
                text.append(
                    f"  %{name}p.{tag} = getelementptr i8, ptr %regions, i64 {8 * word}\n"
                    f"  %{name}.{tag} = load i64, ptr %{name}p.{tag}\n"
                )
        if self.uses_packet:
            text.append(f"  store i64 %base.{tag}, ptr %pbase\n  store i64 %host.{tag}, ptr %phost\n")
            text += [
                f"  %lim{size}.{tag} = call i64 @llvm.usub.sat.i64(i64 %size.{tag}, i64 {size - 1})\n"
                f"  store i64 %lim{size}.{tag}, ptr %plim{size}\n"
                for size in _SIZES
            ]
        if self.uses_data and given:
            text.append("  store i64 %host0, ptr %dhost\n  store i64 %size0, ptr %dsize\n")
        elif self.uses_data:
            for name, word in (("data", State.DATA), ("end", State.DATA_END), ("buffer", State.PACKET_AT)):
                text.append(state_word(f"{name}p.{tag}", word) + f"  %{name}.{tag} = load i64, ptr %{name}p.{tag}\n")
            text.append(
                f"  %dplace.{tag} = sub i64 %data.{tag}, {layout.PACKET_BUFFER}\n"
                f"  %dh.{tag} = add i64 %buffer.{tag}, %dplace.{tag}\n  store i64 %dh.{tag}, ptr %dhost\n"
                f"  %ds.{tag} = sub i64 %end.{tag}, %data.{tag}\n  store i64 %ds.{tag}, ptr %dsize\n"
            )
        return "".join(text)

    def epilogue(self) -> str:
        save = "  %fuelf = load i64, ptr %fuel\n  store i64 %fuelf, ptr %fuelp\n" if self.counts else ""
        return f"fault:\n{save}  ret i64 0\ngone:\n  ret i64 0\n}}\n"

    # --- Fuel, faults, returns.

    def trap(self, kind: FaultKind, address: str = "0", size: str | int = 0) -> None:
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
        value = self.new()
        self.add(_IfCounted(self, f"  {value} = load i64, ptr %fuel\n  store i64 {value}, ptr %fuelp\n"))  # type: ignore[arg-type]

    def load_fuel(self) -> None:
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
        self.save_fuel()
        if not self.main:  # that of a program that was gone on to is hidden by what went there
            self.hide_frame()
        self.add(f"  ret i64 {value}\n")
        self.ended = True

    def clobber(self) -> None:
        self.add("".join(f"  store i64 0, ptr %r{number}\n" for number in range(1, 6)))

    def jump(self, target: int) -> None:
        cost = self.index - target + 1
        if self.turn is not None and target == self.turn[0].head:
            loop, turn = self.turn
            less = self.op(f"sub i64 {self.op('load i64, ptr %fuel')}, {cost}")
            following = f"b{target}u{turn + 1}" if turn + 1 < loop.turns else f"g{target}"
            self.add(f"  store i64 {less}, ptr %fuel\n  br label %{following}\n")
        else:
            if cost > 0:
                self.charge(cost)
            self.add(f"  br label %{self.name(target)}\n")
        self.ended = True

    # --- Memory.

    def origin(self, register: int) -> Origin:
        state = self.plan.origins[self.index] if self.plan.origins else None
        if state is not None:
            found: Origin = state[register]
            return found
        return Origin(Kind.FRAME, 0, 0) if register == FRAME_POINTER else Origin(Kind.UNKNOWN)

    def pointer(self, base: int, offset: int, size: int, flag: int) -> str:
        """Return a pointer to an access's bytes, having tested it."""
        origin = self.origin(base)
        if origin.kind is Kind.FRAME and origin.offset is not None and self.framed:
            known = layout.FRAME_SIZE + origin.offset + offset
            if 0 <= known <= layout.FRAME_SIZE - size:
                return self.op(f"getelementptr i8, ptr %frame, i64 {known}")
        value = self.get(base)
        address = self.op(f"add i64 {value}, {offset}") if offset else value
        guess = self.guess(origin, address, size, flag)
        if guess is None:
            return self.looked_up(address, size, flag)
        test, start, place = guess
        if self.plan.checks and self.index not in self.plan.facts:
            fast, slow, join = self.label(), self.label(), self.label()
            self.add(f"  br i1 {test}, label %{fast}, label %{slow}, !prof !1\n{slow}:\n")
            host, block = self.find(address, size, flag)
            far = self.op(f"sub i64 {host}, {start}")
            self.add(f"  br label %{join}\n{fast}:\n  br label %{join}\n{join}:\n")
            place = self.op(f"phi i64 [ {place}, %{fast} ], [ {far}, %{block} ]")
        whole = self.op(f"inttoptr i64 {start} to ptr")
        return self.op(f"getelementptr i8, ptr {whole}, i64 {place}")

    def looked_up(self, address: str, size: int, flag: int) -> str:
        return self.op(f"inttoptr i64 {self.find(address, size, flag)[0]} to ptr")

    def find(self, address: str, size: int, flag: int) -> tuple[str, str]:
        """Look an address up in the region table; return the host's address and the block it is known in."""
        host = self.op(f"call preserve_mostcc i64 @find(ptr %state, i64 {address}, i64 {size}, i64 {flag})")
        none = self.op(f"icmp eq i64 {host}, 0")
        bad, good = self.label(), self.label()
        self.add(f"  br i1 {none}, label %{bad}, label %{good}, !prof !0\n{bad}:\n")
        self.trap(FaultKind.READ if flag == READABLE else FaultKind.WRITE, address, size)
        self.add(f"{good}:\n")
        return host, good

    def guess(self, origin: Origin, address: str, size: int, flag: int) -> tuple[str, str, str] | None:
        """Return a test that an address lies in the region that is expected, where that begins, and the place in it."""
        match origin.kind:
            case Kind.PACKET:
                self.uses_packet = True
                offset = self.op(f"sub i64 {address}, {self.op('load i64, ptr %pbase')}")
                test = self.op(f"icmp ult i64 {offset}, {self.op(f'load i64, ptr %plim{size}')}")
                return test, self.op("load i64, ptr %phost"), offset
            case Kind.FRAME if self.framed:
                offset = self.op(f"sub i64 {address}, %bottom")
                test = self.op(f"icmp ult i64 {offset}, {layout.FRAME_SIZE - size + 1}")
                return test, self.op("ptrtoint ptr %frame to i64"), offset
            case Kind.CONTEXT if self.plan.context[0] >= size and (flag == READABLE or self.plan.context[1]):
                self.uses_context = True
                offset = self.op(f"sub i64 {address}, {layout.CONTEXT << layout.REGION_SHIFT}")
                test = self.op(f"icmp ult i64 {offset}, {self.plan.context[0] - size + 1}")
                return test, "%chost", offset
            case Kind.VALUE:
                return self.guess_value(origin.number, address, size, flag)
            case _:
                return None

    def guess_value(self, number: int, address: str, size: int, flag: int) -> tuple[str, str, str] | None:
        facts = self.plan.maps.get(number)
        if facts is None or facts.element < size or (flag == WRITABLE and not facts.writable):
            return None
        region = layout.MAP_VALUES + number
        offset = self.op(f"sub i64 {address}, {region << layout.REGION_SHIFT}")
        inner = self.op(f"and i64 {offset}, {facts.stride - 1}")
        known = self.op(f"icmp ult i64 {offset}, {facts.total}")
        fits = self.op(f"icmp ule i64 {inner}, {facts.element - size}")
        test = self.op(f"and i1 {known}, {fits}")
        at = 8 * (layout.REGION_WORDS * region + layout.HOST)
        host = self.op(f"load i64, ptr {self.op(f'getelementptr i8, ptr %regions, i64 {at}')}")
        return test, host, offset

    # --- Instructions.

    def load(self, i: Load, index: int) -> None:  # noqa: ARG002
        pointer = self.pointer(i.base, i.offset, i.size, READABLE)
        value = self.op(f"load i{8 * i.size}, ptr {pointer}, align 1")
        if i.size < 8:
            value = self.op(f"{'sext' if i.signed else 'zext'} i{8 * i.size} {value} to i64")
        self.put(i.dst, value)

    def load_acquire(self, i: LoadAcquire, index: int) -> None:
        self.load(Load(i.size, False, i.dst, i.base, i.offset), index)
        self.add("  fence acquire\n")

    def store(self, i: Store | StoreRelease, index: int) -> None:  # noqa: ARG002
        bits = 8 * i.size
        pointer = self.pointer(i.base, i.offset, i.size, WRITABLE)
        if isinstance(i, StoreRelease):
            self.add("  fence release\n")
        if isinstance(i.src, Imm):
            value = str(i.src.value & (1 << bits) - 1)
        else:
            value = self.get(i.src)
            if bits < 64:
                value = self.op(f"trunc i64 {value} to i{bits}")
        self.add(f"  store i{bits} {value}, ptr {pointer}, align 1\n")

    def atomic(self, i: Atomic, index: int) -> None:  # noqa: ARG002
        self.atomics_used.add((i.op, i.size))
        bits = f"i{8 * i.size}"
        pointer = self.pointer(i.base, i.offset, i.size, WRITABLE)
        value = self.get(i.src)
        expected = self.get(0) if i.op is AtomicOp.CMPXCHG else ""
        if i.size == 4:
            value = self.op(f"trunc i64 {value} to i32")
            expected = self.op(f"trunc i64 {expected} to i32") if expected else ""
        more = f", {bits} {expected}" if expected else ""
        old = self.op(f"call {bits} {atomic_name(i.op, i.size)}(ptr {pointer}, {bits} {value}{more})")
        if i.size == 4:
            old = self.op(f"zext i32 {old} to i64")
        if i.op is AtomicOp.CMPXCHG:
            self.put(0, old)
        elif i.fetch:
            self.put(i.src, old)

    def load_imm64(self, i: LoadImm64, index: int) -> None:
        self.put(i.dst, i.value if i.kind is ImmKind.INTEGER else self.plan.loads[index])

    def legacy_load(self, i: LegacyLoad, index: int) -> None:  # noqa: ARG002
        bits = 8 * i.size
        if i.indirect or i.imm < 0:
            value = self.legacy_anywhere(i)
        else:
            self.uses_data = True
            size = self.op("load i64, ptr %dsize")
            test = self.op(f"icmp uge i64 {size}, {i.imm + i.size}")
            good, bad = self.label(), self.label()
            self.add(f"  br i1 {test}, label %{good}, label %{bad}\n")
            self.add(f"{bad}:\n")
            self.end_program()
            self.add(f"{good}:\n")
            value = self.word_at(str(i.imm), bits)
        self.put(0, value)
        self.clobber()

    def word_at(self, offset: str, bits: int) -> str:
        """Return the word in network order at an offset of the packet that is there."""
        host = self.op("load i64, ptr %dhost")
        pointer = self.op(f"inttoptr i64 {self.op(f'add i64 {host}, {offset}')} to ptr")
        word = self.op(f"load i{bits}, ptr {pointer}, align 1")
        if bits > 8:
            word = self.op(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {word})")
        return self.op(f"zext i{bits} {word} to i64")

    def legacy_anywhere(self, i: LegacyLoad) -> str:
        self.uses_data = True
        narrow = self.op(f"trunc i64 {self.get(i.src)} to i32") if i.indirect else "0"
        offset = self.op(f"sext i32 {self.op(f'add i32 {narrow}, {i.imm}')} to i64")
        size = self.op("load i64, ptr %dsize")
        room = self.op(f"sub i64 {size}, {i.size}")
        fits, forward = self.op(f"icmp sle i64 {offset}, {room}"), self.op(f"icmp sge i64 {offset}, 0")
        near, far, bad, join = self.label(), self.label(), self.label(), self.label()
        self.add(f"  br i1 {self.op(f'and i1 {fits}, {forward}')}, label %{near}, label %{far}\n{near}:\n")
        fast = self.word_at(offset, 8 * i.size)
        self.add(f"  br label %{join}\n{far}:\n")
        slow = self.op(f"call preserve_mostcc i64 @packet_word(ptr %state, i64 {offset}, i64 {i.size})")
        none = self.op(f"icmp slt i64 {slow}, 0")
        self.add(f"  br i1 {none}, label %{bad}, label %{join}\n{bad}:\n")
        self.end_program()
        self.add(f"{join}:\n")
        return self.op(f"phi i64 [ {fast}, %{near} ], [ {slow}, %{far} ]")

    def end_program(self) -> None:
        """End the whole program with 0: at once if nothing called this function, else through the callers."""
        if self.main:
            outer = self.op("icmp eq i64 %depth, 0")
            code = self.op(f"select i1 {outer}, i64 0, i64 {ENDED}")
            self.add(f"  store i64 {code}, ptr %state\n  br label %fault\n")
        else:
            self.add(f"  store i64 {ENDED}, ptr %state\n  br label %fault\n")

    def jump_to(self, i: Jump, index: int) -> None:  # noqa: ARG002
        self.jump(self.targets[index] or 0)

    def branch(self, i: Branch, index: int) -> None:
        test = arithmetic.condition(self, i)
        target = self.targets[index] or 0
        if target <= index:
            edge = self.label()
            self.add(f"  br i1 {test}, label %{edge}, label %{self.name(index + 1)}\n{edge}:\n")
            self.jump(target)
        else:
            self.add(f"  br i1 {test}, label %{self.name(target)}, label %{self.name(index + 1)}\n")
        self.ended = True

    def may_goto(self, i: MayGoto, index: int) -> None:  # noqa: ARG002
        place = self.op(f"getelementptr i8, ptr %state, i64 {8 * State.MAY_GOTO}")
        passes = self.op(f"load i64, ptr {place}")
        over = self.op(f"icmp uge i64 {passes}, {layout.MAY_GOTO_LOOPS}")
        out, on = self.label(), self.label()
        self.add(f"  br i1 {over}, label %{out}, label %{on}\n{on}:\n")
        self.add(
            f"  store i64 {self.op(f'add i64 {passes}, 1')}, ptr {place}\n  br label %{self.name(index + 1)}\n{out}:\n"
        )
        self.jump(self.targets[index] or 0)

    def exit(self, i: Exit, index: int) -> None:  # noqa: ARG002
        self.leave(self.get(0))

    # --- Calls.

    def deeper(self) -> str:
        """Return the depth of a function that is called, having tested and paid for it."""
        depth = self.op("add i64 %depth, 1")
        many = self.op(f"icmp uge i64 {depth}, {layout.MAX_FRAMES}")
        bad, good = self.label(), self.label()
        self.add(f"  br i1 {many}, label %{bad}, label %{good}, !prof !0\n{bad}:\n")
        self.trap(FaultKind.DEPTH)
        self.add(f"{good}:\n")
        self.charge(1)
        self.save_fuel()
        return depth

    def after_call(self) -> None:
        self.check_fault()
        if self.moves:
            self.add("  store i64 %program, ptr %programp\n")
        self.load_fuel()
        self.see_packet()

    def see_packet(self) -> None:
        self.count += 1
        self.add(_Reload(self, f"c{self.count}"))  # type: ignore[arg-type]

    def registers(self) -> str:
        return ", ".join(f"i64 {self.get(number)}" for number in range(10))

    def call_local(self, i: CallLocal, index: int) -> None:  # noqa: ARG002
        depth = self.deeper()
        value = self.op(f"call i64 @f{self.targets[index]}{self.plan.tag}(ptr %state, i64 {depth}, {self.registers()})")
        self.after_call()
        self.put(0, value)
        self.clobber()

    def call_helper(self, i: CallHelper, index: int) -> None:  # noqa: ARG002
        special = _SPECIAL.get(i.number)
        if special is not None and i.number in self.plan.special:
            special(self)
        elif i.number in self.plan.native:
            self.lookup() if i.number == LOOKUP else self.native(i.number)
        else:
            self.helper(str(i.number))

    def arguments(self) -> str:
        return ", ".join(f"i64 {self.get(number)}" for number in range(1, 6))

    def lookup(self) -> None:
        """``map_lookup_elem``, at once if it is known which map it is, and that is of a usual kind."""
        origin = self.origin(1)
        facts = self.plan.maps.get(origin.number) if origin.kind is Kind.MAP else None
        if facts is None or not (facts.entries or facts.key):
            self.native(LOOKUP)
            return
        known, other, done = self.label(), self.label(), self.label()
        test = self.op(f"icmp eq i64 {self.get(1)}, {MAP_HANDLES | origin.number}")
        self.add(f"  br i1 {test}, label %{known}, label %{other}, !prof !1\n{other}:\n")
        self.native(LOOKUP)
        self.add(f"  br label %{done}\n{known}:\n")
        bits = f"i{8 * (facts.key or 4)}"
        key = self.op(f"load {bits}, ptr {self.pointer(2, 0, facts.key or 4, READABLE)}, align 1")
        if facts.entries:
            index = self.op(f"zext i32 {key} to i64")
            there = self.op(f"icmp ult i64 {index}, {facts.entries}")
        else:
            arguments = f"ptr %state, i64 {origin.number}, {bits} {key}"
            index = self.op(f"call i64 {search_name(facts.key)}({arguments})")
            there = self.op(f"icmp ne i64 {index}, -1")
        offset = self.op(f"mul i64 {index}, {facts.stride}")
        address = self.op(f"add i64 {offset}, {layout.MAP_VALUES + origin.number << layout.REGION_SHIFT}")
        self.give(self.op(f"select i1 {there}, i64 {address}, i64 0"), done)
        self.add(f"{done}:\n")

    def native(self, number: int) -> None:
        """Call a helper that needs no Python; Python, if it declines."""
        arguments = self.arguments()
        table = self.op(f"load ptr, ptr {self.op(f'getelementptr i8, ptr %state, i64 {8 * State.HELPERS_AT}')}")
        place = self.op(f"getelementptr i8, ptr {table}, i64 {8 * number}")
        function = self.op(f"load ptr, ptr {place}")
        asked = self.op(f"getelementptr i8, ptr %state, i64 {8 * State.HELPER}")
        self.add(f"  store i64 0, ptr {asked}\n")
        value = self.op(f"call i64 {function}(ptr %state, {arguments})")
        self.check_blamed()
        declined = self.op(f"icmp ne i64 {self.op(f'load i64, ptr {asked}')}, 0")
        slow, quick, join = self.label(), self.label(), self.label()
        self.add(f"  br i1 {declined}, label %{slow}, label %{quick}, !prof !0\n{slow}:\n")
        self.save_fuel()
        late = self.op(f"call i64 @help(ptr %state, i64 {number}, {arguments})")
        from_ = self.check_blamed()
        self.add(f"  br label %{join}\n{quick}:\n  br label %{join}\n{join}:\n")
        self.put(0, self.op(f"phi i64 [ {late}, %{from_} ], [ {value}, %{quick} ]"))
        self.clobber()

    def check_blamed(self) -> str:
        """Leave if a helper left a fault, which is this instruction's; return the block that goes on."""
        fault = self.op("load i64, ptr %state")
        bad_test = self.op(f"icmp ne i64 {fault}, 0")
        bad, good = self.label(), self.label()
        place = self.new()
        self.add(
            f"  br i1 {bad_test}, label %{bad}, label %{good}, !prof !0\n{bad}:\n"
            f"  {place} = getelementptr i8, ptr %state, i64 {8 * State.FAULT_INSTRUCTION}\n"
            f"  store i64 {self.index}, ptr {place}\n  br label %fault\n{good}:\n"
        )
        return good

    def helper(self, number: str) -> None:
        """Call a helper in Python, which may change the packet and run callbacks."""
        arguments = self.arguments()
        self.save_fuel()
        self.depth_word()
        if not number.isdecimal() or int(number) in self.plan.foreign:
            self.save_registers()
        value = self.op(f"call i64 @help(ptr %state, i64 {number}, {arguments})")
        self.check_service()
        self.load_fuel()
        self.see_packet()
        self.put(0, value)
        self.clobber()

    def save_registers(self) -> None:
        """Write down what a callback of a user's helper finds in r0 and r6 to r9."""
        for number in (0, *range(6, 10)):
            place = self.op(f"getelementptr i8, ptr %state, i64 {8 * (State.R0 + number)}")
            self.add(f"  store i64 {self.get(number)}, ptr {place}\n")

    def depth_word(self) -> None:
        place = self.op(f"getelementptr i8, ptr %state, i64 {8 * State.DEPTH}")
        self.add(f"  store i64 %depth, ptr {place}\n")

    def check_service(self) -> None:
        """Leave if Python left a fault; one without an instruction (-1) is this one's."""
        fault = self.op("load i64, ptr %state")
        bad_test = self.op(f"icmp ne i64 {fault}, 0")
        bad, mine, good = self.label(), self.label(), self.label()
        self.add(f"  br i1 {bad_test}, label %{bad}, label %{good}, !prof !0\n{bad}:\n")
        place = self.op(f"getelementptr i8, ptr %state, i64 {8 * State.FAULT_INSTRUCTION}")
        unknown = self.op(f"icmp slt i64 {self.op(f'load i64, ptr {place}')}, 0")
        self.add(
            f"  br i1 {unknown}, label %{mine}, label %gone\n{mine}:\n"
            f"  store i64 {self.index}, ptr {place}\n  br label %gone\n{good}:\n"
        )

    def call_register(self, i: CallRegister, index: int) -> None:  # noqa: ARG002
        value = self.get(i.register)
        function = self.op(f"sub i64 {value}, {FUNCTION_HANDLES}")
        other, done = self.label(), self.label()
        cases = [(entry, self.label()) for entry in self.plan.functions]
        table = " ".join(f"i64 {entry}, label %{name}" for entry, name in cases)
        self.add(f"  switch i64 {function}, label %{other} [ {table} ]\n")
        for entry, name in cases:
            self.add(f"{name}:\n")
            depth = self.deeper()
            returned = self.op(f"call i64 @f{entry}{self.plan.tag}(ptr %state, i64 {depth}, {self.registers()})")
            self.after_call()
            self.put(0, returned)
            self.clobber()
            self.add(f"  br label %{done}\n")
        specials = [(number, self.label()) for number in sorted(self.plan.special)]
        plain = self.label()
        table = " ".join(f"i64 {number}, label %{name}" for number, name in specials)
        self.add(f"{other}:\n  switch i64 {value}, label %{plain} [ {table} ]\n")
        for number, name in specials:
            self.add(f"{name}:\n")
            _SPECIAL[number](self)
            self.add(f"  br label %{done}\n")
        self.add(f"{plain}:\n")
        negative = self.op(f"icmp slt i64 {value}, 0")  # only a call by number has negative ones
        self.helper(self.op(f"select i1 {negative}, i64 {_NO_HELPER}, i64 {value}"))
        self.add(f"  br label %{done}\n{done}:\n")

    def give(self, value: str | int, done: str) -> None:
        self.put(0, value)
        self.clobber()
        self.add(f"  br label %{done}\n")

    def tail_call(self) -> None:
        arguments = f"i64 {self.get(1)}, i64 {self.get(2)}, i64 {self.get(3)}, i64 %depth, i64 0"
        context = self.get(1)
        self.save_fuel()
        found = self.op(f"call i64 @service(ptr %state, i64 {Service.TAIL_CALL}, {arguments})")
        self.check_service()
        self.load_fuel()
        none = self.op(f"icmp eq i64 {found}, 0")
        fail, go, done = self.label(), self.label(), self.label()
        self.add(f"  br i1 {none}, label %{fail}, label %{go}\n{go}:\n")
        function = self.op(f"inttoptr i64 {found} to ptr")
        value = self.op(f"call i64 {function}(ptr %state, i64 %depth, i64 {context}, i64 0)")
        self.hide_frame()
        self.add(f"  ret i64 {value}\n{fail}:\n")
        self.give(0, done)
        self.add(f"{done}:\n")

    def loop(self) -> None:
        """``loop(count, function, context, flags)``."""
        wide, function, context, flags = (self.get(number) for number in range(1, 5))
        count = self.op(f"and i64 {wide}, {_U32}")
        done, refuse, sized, big, start = (self.label() for _ in range(5))
        self.add(f"  br i1 {self.op(f'icmp ne i64 {flags}, 0')}, label %{refuse}, label %{sized}\n{refuse}:\n")
        self.give(_EINVAL, done)
        self.add(f"{sized}:\n")
        self.add(f"  br i1 {self.op(f'icmp ugt i64 {count}, {_MOST_LOOPS}')}, label %{big}, label %{start}\n{big}:\n")
        self.give(_E2BIG, done)
        self.add(f"{start}:\n")
        self.repeat(count, function, done, lambda turn: [turn, context, "0", "0", "0"])

    def repeat(self, count: str, function: str, done: str, arguments: Callable[[str], list[str]]) -> None:
        """Call a function `count` times, or until it returns other than 0; give the number of calls."""
        slot = f"%n{self.new()[1:]}"
        self.slots.append(slot)
        self.add(f"  store i64 0, ptr {slot}\n")
        head, body, after = self.label(), self.label(), self.label()
        self.add(f"  br label %{head}\n{head}:\n")
        turn = self.op(f"load i64, ptr {slot}")
        self.add(f"  br i1 {self.op(f'icmp ult i64 {turn}, {count}')}, label %{body}, label %{after}\n{body}:\n")
        self.add(f"  store i64 {self.op(f'add i64 {turn}, 1')}, ptr {slot}\n")
        value = self.dispatched(function, arguments(turn))
        self.put(0, value)
        self.add(f"  br i1 {self.op(f'icmp eq i64 {value}, 0')}, label %{head}, label %{after}\n{after}:\n")
        self.give(self.op(f"load i64, ptr {slot}"), done)
        self.add(f"{done}:\n")

    def dispatched(self, handle: str, arguments: list[str]) -> str:
        """Call the function that a handle names; return its r0."""
        result = f"%v{self.new()[1:]}"
        function = self.op(f"sub i64 {handle}, {FUNCTION_HANDLES}")
        bad, join = self.label(), self.label()
        cases = [(entry, self.label()) for entry in self.plan.functions]
        table = " ".join(f"i64 {entry}, label %{name}" for entry, name in cases)
        self.add(f"  switch i64 {function}, label %{bad} [ {table} ]\n{bad}:\n")
        self.trap(FaultKind.CALL)
        joined = []
        for entry, name in cases:
            self.add(f"{name}:\n")
            depth = self.deeper()
            given = [self.get(0), *arguments, *(self.get(number) for number in range(6, 10))]
            listed = ", ".join(f"i64 {value}" for value in given)
            value = self.op(f"call i64 @f{entry}{self.plan.tag}(ptr %state, i64 {depth}, {listed})")
            self.after_call()
            last = self.label()
            self.add(f"  br label %{last}\n{last}:\n  br label %{join}\n")
            joined.append(f"[ {value}, %{last} ]")
        self.add(f"{join}:\n")
        if joined:
            self.add(f"  {result} = phi i64 {', '.join(joined)}\n")
            return result
        return "0"

    def for_each(self) -> None:
        """``for_each_map_elem(map, function, context, flags)``."""
        handle, function, context, flags = (self.get(number) for number in range(1, 5))
        self.save_fuel()
        arguments = f"i64 {handle}, i64 {flags}, i64 %depth, i64 0, i64 0"
        table = self.op(f"call i64 @service(ptr %state, i64 {Service.ELEMENTS}, {arguments})")
        self.check_service()
        self.load_fuel()
        done, refuse, start = self.label(), self.label(), self.label()
        self.add(f"  br i1 {self.op(f'icmp ne i64 {flags}, 0')}, label %{refuse}, label %{start}\n{refuse}:\n")
        self.give(_EINVAL, done)
        self.add(f"{start}:\n")
        elements = self.op(f"inttoptr i64 {table} to ptr")
        count = self.op(f"load i64, ptr {elements}")

        def given(turn: str) -> list[str]:
            place = self.op(f"shl i64 {turn}, 4")
            key_at = self.op(f"getelementptr i8, ptr {elements}, i64 {self.op(f'add i64 {place}, 8')}")
            value_at = self.op(f"getelementptr i8, ptr {elements}, i64 {self.op(f'add i64 {place}, 16')}")
            return [handle, self.op(f"load i64, ptr {key_at}"), self.op(f"load i64, ptr {value_at}"), context, "0"]

        self.repeat(count, function, done, given)


class _Reload:
    """A place where packet bounds are read again, written out once it is known which are used."""

    def __init__(self, function: _Function, tag: str) -> None:
        self.function = function
        self.tag = tag

    def __str__(self) -> str:
        return self.function.reload(self.tag)


class _IfCounted:
    """Text that is only there if the function counts instructions."""

    def __init__(self, function: _Function, text: str) -> None:
        self.function = function
        self.text = text

    def __str__(self) -> str:
        return self.text if self.function.counts else ""


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
_EMITTERS: dict[type, Callable[[_Function, Any, int], None]] = {
    Alu: lambda f, i, _: arithmetic.alu(f, i),
    Negate: lambda f, i, _: arithmetic.negate(f, i),
    Extend: lambda f, i, _: arithmetic.extend(f, i),
    Swap: lambda f, i, _: arithmetic.swap(f, i),
    Load: _Function.load,
    LoadAcquire: _Function.load_acquire,
    Store: _Function.store,
    StoreRelease: _Function.store,
    Atomic: _Function.atomic,
    LoadImm64: _Function.load_imm64,
    LegacyLoad: _Function.legacy_load,
    Jump: _Function.jump_to,
    Branch: _Function.branch,
    MayGoto: _Function.may_goto,
    CallHelper: _Function.call_helper,
    CallLocal: _Function.call_local,
    CallRegister: _Function.call_register,
    Exit: _Function.exit,
}
_SPECIAL: dict[int, Callable[[_Function], None]] = {
    TAIL_CALL: _Function.tail_call,
    LOOP: _Function.loop,
    FOR_EACH: _Function.for_each,
}


def _needs_rows(plan: Plan) -> bool:
    """Whether anything but proved accesses can reach a stack frame: then frames must be in the region table."""
    for index, i in enumerate(plan.program.instructions):
        if type(i) is Alu:
            continue
        if isinstance(i, CallHelper | CallRegister | CallLocal):
            return True
        if isinstance(i, Load | Store | Atomic | LoadAcquire | StoreRelease):
            state = plan.origins[index] if plan.origins else None
            origin = state[i.base] if state is not None else Origin(Kind.UNKNOWN)
            if i.base == FRAME_POINTER:
                origin = Origin(Kind.FRAME, 0, 0)
            place = layout.FRAME_SIZE + (origin.offset or 0) + i.offset
            proved = origin.kind is Kind.FRAME and origin.offset is not None
            if not proved or not 0 <= place <= layout.FRAME_SIZE - i.size:
                return True
    return False


def _callback(plan: Plan) -> str:
    """Return the function through which helpers in Python call functions of the program."""
    arguments = ", ".join(f"i64 %a{number}" for number in range(1, 6))
    head = f"define i64 @callback{plan.tag}(ptr %state, i64 %depth, i64 %function, {arguments}) nounwind {{\n"
    loads = [
        state_word(f"p{number}", State.R0 + number) + f"  %a{number} = load i64, ptr %p{number}, align 8\n"
        for number in (0, *range(6, 10))
    ]
    given = ", ".join(f"i64 %a{number}" for number in range(10))
    table = " ".join(f"i64 {entry}, label %c{entry}" for entry in plan.functions)
    choice = f"  switch i64 %function, label %none [ {table} ]\nnone:\n  ret i64 0\n"
    cases = [
        f"c{entry}:\n  %v{entry} = call i64 @f{entry}{plan.tag}(ptr %state, i64 %depth, {given})\n  ret i64 %v{entry}\n"
        for entry in plan.functions
    ]
    return "".join([head, *loads, choice, *cases, "}\n"])


def _native_numbers(plan: Plan) -> set[int]:
    return {i.number for i in plan.program.instructions if isinstance(i, CallHelper)}


def _packet_loop(plan: Plan, kind: ContextKind, used: set[tuple[AtomicOp, int]]) -> str:
    """Return the program written into a loop over packets."""
    rows = _needs_rows(plan)
    body = _Function(plan, 0, main=True, rows=rows, atomics_used=used, body=True)
    text = body.text()
    helpers = _native_numbers(plan)
    calls = any(isinstance(i, CallHelper | CallLocal | LegacyLoad) for i in plan.program.instructions)
    begin = Begin(
        kind=kind,
        link_layer=plan.program.type in LINK_LAYER_TYPES,
        raw=plan.program.type is None,
        regions=rows,
        words=calls,
        fuel=body.counts or calls,
        random=_RANDOM in helpers,
        redirects=_REDIRECT in helpers,
    )
    return text + loop_text(begin)


def module_text(*plans: Plan, loop: ContextKind | None = None) -> str:
    """Return the LLVM IR of programs: of each ``i64 main(ptr state, i64 depth, i64 r1, i64 r2)`` and what it needs.

    With `loop`, the kind of the context of the only program, there is its `packetloop` besides.
    """
    used: set[tuple[AtomicOp, int]] = set()
    bodies: list[str] = []
    for plan in plans:
        rows = _needs_rows(plan)
        functions = [_Function(plan, 0, main=True, rows=rows, atomics_used=used)]
        functions += [_Function(plan, entry, main=False, rows=rows, atomics_used=used) for entry in plan.functions]
        bodies += [function.text() for function in functions]
        bodies.append(_callback(plan))
        if loop is not None:
            bodies.append(_packet_loop(plan, loop, used))
    weights = '!0 = !{!"branch_weights", i32 1, i32 100000}\n!1 = !{!"branch_weights", i32 100000, i32 1}\n'
    searches = "".join(
        bucket_search(size) for size in KEY_SIZES if any(f.key == size for p in plans for f in p.maps.values())
    )
    return runtime() + atomics(used) + searches + "".join(bodies) + weights
