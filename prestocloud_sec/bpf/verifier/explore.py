# SPDX-License-Identifier: Apache-2.0
"""Every way through a program, instruction by instruction, with what is known on it (Linux 6.18, ``do_check``).

Ways part at branches that cannot be foreseen; one of the two waits on a stack. Before an instruction that several ways
come by, the state is compared with those that were there: one that is covered ends the way, one that is the same as one
on this very way is a loop that does not end. Callbacks are gone through as often as their states differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
    Extend,
    Imm,
    ImmKind,
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
from prestocloud_sec.bpf.verifier import arithmetic, branches, calls, memory, structure
from prestocloud_sec.bpf.verifier.arguments import Call
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.liveness import live_before
from prestocloud_sec.bpf.verifier.pointers import moved
from prestocloud_sec.bpf.verifier.precision import Checkpoint, Step, mark
from prestocloud_sec.bpf.verifier.programs import return_range
from prestocloud_sec.bpf.verifier.pruning import Exactly, covers
from prestocloud_sec.bpf.verifier.registers import NAMES, NOTHING, NUMBER, ZERO_NUMBER, Kind, Register, known, number
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.scalar import S32_MAX, S32_MIN, Scalar, signed32
from prestocloud_sec.bpf.verifier.state import MAX_FRAMES, STACK_SIZE, Byte, Frame, State, cleared
from prestocloud_sec.bpf.verifier.tnum import U32

__all__ = ["Explorer"]

MOST_INSTRUCTIONS = 1_000_000
_MOST_WAITING = 8192
_LONG_WAY = 400
"""Instructions after which a state is kept in any case: going back over them takes time."""
_ATOMIC_NOT = frozenset({Kind.CONTEXT, Kind.PACKET, Kind.PACKET_META, Kind.FLOW_KEYS}) | {
    kind for kind in Kind if kind.is_socket
}


_REWRITTEN = frozenset({Kind.CONTEXT, Kind.BTF}) | {kind for kind in Kind if kind.is_socket}


_JUMPING = frozenset({Jump, Branch, MayGoto, CallHelper, CallLocal, CallKfunc, Exit})
"""Instructions that count when it is decided whether a state is worth keeping."""


class _Way(NamedTuple):
    """A way that waits to be gone on with."""

    state: State
    at: int
    parent: Checkpoint | None
    steps: list[Step]
    unroll: int


class Explorer:
    """Goes through a program; afterwards says what was seen.

    Attributes
    ----------
    processed : int
        Instructions gone through, on all ways.
    states : int
        States that were kept.
    at : int
        The instruction that is gone through.
    """

    def __init__(self, env: Environment, *, observe: Callable[[int, State], None] | None = None) -> None:
        self.env = env
        self.functions = structure.check(env)
        self.live = live_before(env.instructions, env.targets, env.prototype)
        self.processed = 0
        self.states = 0
        self.at = 0
        self.observe = observe
        self.kept: dict[int, list[Checkpoint]] = {}
        self.waiting: list[_Way] = []
        self.depth_used = [0] * len(self.functions.entries)
        self.stops = self._stops()
        self.parent: Checkpoint | None = None
        self.steps: list[Step] = []
        self.unroll = 0
        self.jumps = self.jumps_before = self.processed_before = 0
        self.pointers: dict[int, Kind] = {}
        """What each access was made through, where the kernel rewrites it by that."""

    # --- The whole.

    def run(self) -> None:
        """Go every way.

        Raises
        ------
        Rejected
            With the instruction to blame.
        """
        frame = Frame(0, 0)
        frame.registers[1] = Register(Kind.CONTEXT, ZERO_NUMBER)
        self.waiting.append(_Way(State([frame]), 0, None, [], 0))
        while self.waiting:
            state, index, self.parent, self.steps, self.unroll = self.waiting.pop()
            try:
                self._go(state, index)
            except Rejected as rejected:
                if rejected.instruction is None:
                    rejected.instruction = self.at
                raise
            self._ended()
        self._check_stack()

    def _go(self, state: State, index: int) -> None:
        instructions = self.env.instructions
        count = len(instructions)
        following: int | None = index
        while following is not None:
            index = following
            self.at = index
            if not 0 <= index < count:
                raise Rejected(Rule.STRUCTURE, f"invalid insn idx {index} insn_cnt {count}", "EFAULT")
            self.processed += 1
            if self.processed > MOST_INSTRUCTIONS:
                raise Rejected(
                    Rule.COMPLEXITY,
                    f"BPF program is too large. Processed {self.processed} insn",
                    "E2BIG",
                    hint="make loops shorter or states alike",
                )
            if index in self.stops and self._seen(state, index):
                return
            if self.observe is not None:
                self.observe(index, state)
            instruction = instructions[index]
            kind = type(instruction)
            if kind in _JUMPING:
                self.jumps += 1
            following = _STEPS[kind](self, state, instruction, index)

    def _stops(self) -> frozenset[int]:
        """Return the instructions before which states are compared."""
        stops = set()
        for index, i in enumerate(self.env.instructions):
            target = self.env.targets[index]
            if isinstance(i, Branch | MayGoto):
                stops.add(index)
            if isinstance(i, Jump | Branch | MayGoto) and target is not None:
                stops.add(target)
            if isinstance(i, CallLocal):
                stops.add(index + 1)
            if isinstance(i, CallHelper) and i.number in calls.CALLBACKS:
                stops.add(index)
        return frozenset(stops)

    # --- States that were here before.

    def _seen(self, state: State, index: int) -> bool:
        """Whether a state that was here covers this one; otherwise keep it, if it is worth it."""
        i = self.env.instructions[index]
        forced = isinstance(i, MayGoto) or (isinstance(i, CallHelper) and i.number in calls.CALLBACKS)
        forced = forced or len(self.steps) > _LONG_WAY
        add = forced or (self.jumps - self.jumps_before >= 2 and self.processed - self.processed_before >= 8)
        kept = self.kept.get(index)
        for old in list(kept) if kept else ():
            if old.branches:
                if isinstance(i, MayGoto):
                    if old.state.may_goto != state.may_goto and self._covers(old, state, Exactly.WITHIN):
                        return True
                elif old.unroll != self.unroll and isinstance(i, CallHelper):
                    if self._covers(old, state, Exactly.WITHIN):
                        return True
                elif self._same(old, state):
                    raise Rejected(
                        Rule.LOOP,
                        f"infinite loop detected at insn {index}",
                        "EINVAL",
                        hint="let a turn of the loop change what its end depends on",
                    )
                if not forced and self.jumps - self.jumps_before < 20 and self.processed - self.processed_before < 100:
                    add = False
            elif self._covers(old, state, Exactly.COVERS):
                old.hits += 1
                mark(self.env.instructions, self.parent, self.steps, old.precise)
                return True
            if add:
                old.misses += 1
            allowance = 64 if forced and old.branches else 3
            if kept is not None and old.misses > old.hits * allowance + allowance:
                kept.remove(old)  # it never helped; a state like it will come again if it could
        if add:
            self._keep(state, index)
        return False

    def _covers(self, old: Checkpoint, state: State, exactly: int) -> bool:
        return covers(old.state, state, self.live, old.precise, exactly, old.index)

    def _same(self, old: Checkpoint, state: State) -> bool:
        return (
            old.state.may_goto == state.may_goto
            and old.unroll == self.unroll
            and self._covers(old, state, Exactly.SAME)
        )

    def _keep(self, state: State, index: int) -> None:
        made = Checkpoint(state.copy(), index, self.parent, self.steps)
        made.branches = 1
        made.unroll = self.unroll
        self.kept.setdefault(index, []).append(made)
        self.states += 1
        self.parent, self.steps = made, []
        self.jumps_before, self.processed_before = self.jumps, self.processed

    def _ended(self) -> None:
        """Count a way as gone to its end, and those before it of which it was the last."""
        checkpoint = self.parent
        while checkpoint is not None:
            checkpoint.branches -= 1
            if checkpoint.branches:
                return
            checkpoint = checkpoint.parent

    def push(self, state: State, index: int, unroll: int | None = None) -> None:
        """Let a way wait."""
        if len(self.waiting) >= _MOST_WAITING:
            raise Rejected(Rule.COMPLEXITY, f"The sequence of {len(self.waiting)} jumps is too complex.", "E2BIG")
        if self.parent is not None:
            self.parent.branches += 1
        self.waiting.append(
            _Way(state, index, self.parent, self.steps.copy(), self.unroll if unroll is None else unroll)
        )

    def need(self, state: State, *registers: int) -> None:
        """Note that the verdict depends on what these registers hold exactly."""
        depth = len(state.frames) - 1
        wanted = [(depth, r) for r in registers if r < 10 and state.registers[r].kind is Kind.NUMBER]
        if wanted:
            mark(self.env.instructions, self.parent, self.steps, wanted)

    # --- Registers.

    def read(self, state: State, register: int) -> Register:
        """Return a register that an instruction reads."""
        found = state.registers[register]
        if found.kind is Kind.NOTHING:
            raise Rejected(
                Rule.UNINITIALISED, f"R{register} !read_ok", hint=f"r{register} holds nothing here", register=register
            )
        return found

    def write(self, register: int) -> None:
        """Check that an instruction may write a register."""
        if register == 10:
            raise Rejected(Rule.STRUCTURE, "frame pointer is read only")

    def operand(self, state: State, source: int | Imm) -> Register:
        """Return an operand."""
        return known(source.value) if isinstance(source, Imm) else self.read(state, source)

    def step(self, state: State, index: int, place: tuple[int, int] | None = None) -> None:
        """Note an instruction on the way."""
        self.steps.append(Step(index, len(state.frames) - 1, place))

    # --- Arithmetic.

    def alu(self, state: State, i: Alu, index: int) -> int:
        """Arithmetic, and moves."""
        source = self.operand(state, i.src)
        if i.op is AluOp.MOV:
            self.write(i.dst)
            self._move(state, i, source)
        else:
            self.read(state, i.dst)
            self.write(i.dst)
            self._compute(state, i, source)
        self.step(state, index)
        return index + 1

    def _move(self, state: State, i: Alu, source: Register) -> None:
        registers = state.registers
        if i.bits == 64:
            if isinstance(i.src, int):
                source = self._shared(state, i.src, source)
            registers[i.dst] = source
        elif source.is_pointer:
            if not self.env.privileged:
                raise Rejected(Rule.POINTER_LEAK, f"R{i.src} partial copy of pointer")
            registers[i.dst] = _low(NUMBER)
        else:
            narrow = source.number.umax <= 0xFFFF_FFFF
            if narrow and isinstance(i.src, int):
                source = self._shared(state, i.src, source)
            registers[i.dst] = _low(source if narrow else source.but(id=0, delta=0, narrow=False))

    def _shared(self, state: State, register: int, held: Register) -> Register:
        """Return a number with an identifier, so that what is learnt of a copy is learnt of it."""
        if held.kind is not Kind.NUMBER or held.number.is_const:
            return held
        if held.delta:
            held = held.but(id=0, delta=0, narrow=False)
        if not held.id:
            held = held.but(id=self.env.new_id())
        state.registers[register] = held
        return held

    def _compute(self, state: State, i: Alu, source: Register) -> None:
        registers = state.registers
        held = registers[i.dst]
        if held.is_pointer or source.is_pointer:
            registers[i.dst] = self._pointers(state, i, held, source)
            return
        result = arithmetic.alu(i.op, i.bits, held.number, source.number)
        by = self._moved_by(i, held, source)
        if by:
            registers[i.dst] = Register(Kind.NUMBER, result, id=held.id, delta=by, narrow=i.bits == 32)
            return
        registers[i.dst] = number(result)

    def _moved_by(self, i: Alu, held: Register, source: Register) -> int:
        """Return by how much a number with copies is moved, 0 where that is not kept in mind.

        In 32 bits only where the number has no more: the copies would not follow otherwise.
        """
        if i.op not in (AluOp.ADD, AluOp.SUB) or not held.id or held.delta or not self.env.privileged:
            return 0
        if i.bits == 32:
            if not source.number.is_const32 or held.number.umax > U32:
                return 0
            by = signed32(source.number.tnum.value)
        else:
            if not source.number.is_const or not S32_MIN <= source.number.smin <= S32_MAX:
                return 0
            by = source.number.smin
        by = -by if i.op is AluOp.SUB else by
        return by if S32_MIN < by <= S32_MAX else 0

    def _pointers(self, state: State, i: Alu, held: Register, source: Register) -> Register:
        """Return a sum with a pointer."""
        if held.is_pointer and source.is_pointer:
            if i.op is AluOp.SUB and self.env.privileged:
                return NUMBER
            raise Rejected(
                Rule.POINTER_ARITHMETIC, f"R{i.dst} pointer {'-=' if i.op is AluOp.SUB else i.op} pointer prohibited"
            )
        if i.bits == 32:
            if i.op is AluOp.SUB and self.env.privileged:
                return NUMBER
            raise Rejected(
                Rule.POINTER_ARITHMETIC,
                f"R{i.dst} 32-bit pointer arithmetic prohibited",
                hint="addresses have 64 bits",
            )
        if held.is_pointer:
            if isinstance(i.src, int):
                self.need(state, i.src)
            return moved(self.env, i.op, held, source, name=i.dst, first=True)
        self.need(state, i.dst)
        return moved(self.env, i.op, source, held, name=i.src if isinstance(i.src, int) else i.dst, first=False)

    def negate(self, state: State, i: Negate, index: int) -> int:
        """Change the sign."""
        held = self.read(state, i.dst)
        self.write(i.dst)
        self._no_pointer(i.dst, held)
        scalar = Scalar.unknown() if held.is_pointer else held.number
        state.registers[i.dst] = number(arithmetic.negate(i.bits, scalar))
        self.step(state, index)
        return index + 1

    def swap(self, state: State, i: Swap, index: int) -> int:
        """Swap bytes; nothing is known of the result."""
        held = self.read(state, i.dst)
        self.write(i.dst)
        self._no_pointer(i.dst, held)
        state.registers[i.dst] = NUMBER
        self.step(state, index)
        return index + 1

    def _no_pointer(self, register: int, held: Register) -> None:
        if held.is_pointer and not self.env.privileged:
            raise Rejected(Rule.POINTER_ARITHMETIC, f"R{register} pointer arithmetic prohibited")

    def extend(self, state: State, i: Extend, index: int) -> int:
        """Extend the sign."""
        source = self.read(state, i.src)
        self.write(i.dst)
        if source.is_pointer:
            raise Rejected(Rule.POINTER_LEAK, f"R{i.src} sign-extension part of pointer")
        size = i.width // 8
        fits = source.number.umax < 1 << i.width - 1
        if fits:
            source = self._shared(state, i.src, source)
        extended = arithmetic.sign_extend(size, i.bits, source.number)
        state.registers[i.dst] = source.but(number=extended) if fits else number(extended)
        self.step(state, index)
        return index + 1

    # --- Memory.

    def _place(self, state: State, base: int, offset: int) -> tuple[int, int] | None:
        pointer = state.registers[base]
        if pointer.kind is Kind.STACK and pointer.number.is_const:
            return pointer.frame, (pointer.offset + pointer.number.smin + offset) // 8
        return None

    def _note_stack(self, state: State, base: int, offset: int) -> None:
        """Note how deep a function's stack is used."""
        pointer = state.registers[base]
        if pointer.kind is Kind.STACK:
            entry = state.frames[pointer.frame].entry
            at = self.functions.of(entry)
            self.depth_used[at] = max(self.depth_used[at], -(pointer.offset + pointer.number.smin + offset))

    def _one_kind(self, index: int, kind: Kind) -> None:
        """Check that an access that is rewritten is made through one kind of pointer on all ways."""
        before = self.pointers.setdefault(index, kind)
        if before is not kind and (kind in _REWRITTEN or before in _REWRITTEN):
            raise Rejected(
                Rule.CONTEXT,
                "same insn cannot be used with different pointers",
                "EINVAL",
                hint="write the access twice, once for each way",
            )

    def load(self, state: State, i: Load | LoadAcquire, index: int) -> int:
        """Load from memory."""
        pointer = self.read(state, i.base)
        self.write(i.dst)
        place = self._place(state, i.base, i.offset)
        self._note_stack(state, i.base, i.offset)
        if not pointer.number.is_const:
            self.need(state, i.base)
        found = memory.access(self.env, state, i.base, i.offset, i.size, write=False)
        self._one_kind(index, pointer.kind)
        if isinstance(i, Load) and i.signed:
            if found.is_pointer:
                raise Rejected(Rule.CONTEXT, f"invalid sign-extended load of a pointer size={i.size}")
            found = number(arithmetic.sign_extend(i.size, 64, found.number))
        state.registers[i.dst] = found
        self.step(state, index, place)
        return index + 1

    def store(self, state: State, i: Store | StoreRelease, index: int) -> int:
        """Store to memory."""
        self.read(state, i.base)
        value = known(i.src.value) if isinstance(i.src, Imm) else self.read(state, i.src)
        pointer = state.registers[i.base]
        if isinstance(i, StoreRelease) and pointer.kind in _ATOMIC_NOT:
            raise Rejected(Rule.MEMORY, f"BPF_ATOMIC stores into R{i.base} {NAMES[pointer.kind]} is not allowed")
        if isinstance(i.src, Imm) and pointer.kind is Kind.CONTEXT and not self.env.privileged:
            raise Rejected(Rule.CONTEXT, f"BPF_ST stores into R{i.base} ctx is not allowed")
        place = self._place(state, i.base, i.offset)
        self._note_stack(state, i.base, i.offset)
        if (
            isinstance(i.src, int)
            and place is not None
            and value.kind is Kind.NUMBER
            and value.number.umax < 1 << 8 * i.size
        ):
            value = self._shared(state, i.src, value)
        memory.access(self.env, state, i.base, i.offset, i.size, write=True, value=value)
        self._one_kind(index, pointer.kind)
        self.step(
            state,
            index,
            place if place is not None and state.frames[place[0]].slot(place[1]).register is not None else None,
        )
        return index + 1

    def atomic(self, state: State, i: Atomic, index: int) -> int:
        """Read and change memory."""
        source = self.read(state, i.src)
        pointer = self.read(state, i.base)
        if i.op is AtomicOp.CMPXCHG:
            held = self.read(state, 0)
            if held.is_pointer and not self.env.privileged:
                raise Rejected(Rule.POINTER_LEAK, "R0 leaks addr into mem")
        if source.is_pointer and not self.env.privileged:
            raise Rejected(Rule.POINTER_LEAK, f"R{i.src} leaks addr into mem")
        if pointer.kind in _ATOMIC_NOT:
            raise Rejected(Rule.MEMORY, f"BPF_ATOMIC stores into R{i.base} {NAMES[pointer.kind]} is not allowed")
        self._check_atomic_alignment(pointer, i)
        place = self._place(state, i.base, i.offset)
        self._note_stack(state, i.base, i.offset)
        old = memory.access(self.env, state, i.base, i.offset, i.size, write=False)
        if i.op is AtomicOp.CMPXCHG:
            state.registers[0] = old
        elif i.fetch:
            self.write(i.src)
            state.registers[i.src] = old
        # Through the same register: one that the old value went into is no address any more, as the kernel sees it.
        memory.access(self.env, state, i.base, i.offset, i.size, write=True, value=None)
        self.step(state, index, place)
        return index + 1

    def _check_atomic_alignment(self, pointer: Register, i: Atomic) -> None:
        if pointer.kind is Kind.STACK or not pointer.number.is_const:
            return
        if (pointer.offset + pointer.number.smin + i.offset) % i.size:
            raise Rejected(Rule.ALIGNMENT, f"misaligned value access off {pointer.offset}+{i.offset} size {i.size}")

    def load_imm64(self, state: State, i: LoadImm64, index: int) -> int:
        """Load a number, a map or a function."""
        self.write(i.dst)
        registers = state.registers
        if i.kind is ImmKind.INTEGER:
            registers[i.dst] = known(i.value)
        elif i.kind is ImmKind.FUNCTION:
            target = self.env.targets[index]
            registers[i.dst] = Register(Kind.FUNCTION, ZERO_NUMBER, function=target or 0)
        else:
            spec = self.env.maps[index]
            if i.kind in (ImmKind.MAP_VALUE_FD, ImmKind.MAP_VALUE_INDEX):
                lock = self.env.new_id() if spec.spin_lock is not None else 0
                registers[i.dst] = Register(Kind.MAP_VALUE, ZERO_NUMBER, offset=i.second, map=spec, id=lock)
            else:
                registers[i.dst] = Register(Kind.MAP, ZERO_NUMBER, map=spec)
        self.step(state, index)
        return index + 1

    def legacy_load(self, state: State, i: LegacyLoad, index: int) -> int:
        """Load a word of the packet (classic BPF)."""
        if state.references:
            raise Rejected(Rule.REFERENCE, "BPF_LD_[ABS|IND] would lead to reference leak", "EINVAL")
        if state.lock is not None:
            raise Rejected(Rule.LOCK, "BPF_LD_[ABS|IND] cannot be used inside bpf_spin_lock-ed region", "EINVAL")
        context = self.read(state, 6)
        if context.kind is not Kind.CONTEXT:
            raise Rejected(
                Rule.CONTEXT, "at the time of BPF_LD_ABS|IND R6 != pointer to skb", "EINVAL", hint="keep r1 in r6"
            )
        if context.offset or not context.number.is_const or context.number.tnum.value:
            raise Rejected(Rule.CONTEXT, "dereference of modified ctx ptr R6 disallowed")
        if i.indirect:
            self.read(state, i.src)
        registers = state.registers
        cleared(registers)
        registers[0] = NUMBER
        self.step(state, index)
        return index + 1

    # --- Ways.

    def jump(self, state: State, _: Jump, index: int) -> int | None:
        """Go on elsewhere."""
        self.step(state, index)
        return self.env.targets[index]

    def may_goto(self, state: State, _: MayGoto, index: int) -> int:
        """Go on, and elsewhere: the run decides."""
        other = state.copy()
        self.push_branch(other, self.env.targets[index] or 0)
        state.may_goto += 1
        self.step(state, index)
        return index + 1

    def push_branch(self, state: State, index: int) -> None:
        """Let the other side of a branch wait."""
        self.push(state, index)

    def branch(self, state: State, i: Branch, index: int) -> int | None:
        """Go on where the comparison leads, or on both ways."""
        if isinstance(i.src, int):
            source = self.read(state, i.src)
            if source.is_pointer and not source.kind.is_packet and not self.env.privileged:
                raise Rejected(Rule.POINTER_LEAK, f"R{i.src} pointer comparison prohibited")
        self.read(state, i.dst)
        left, right = branches.operands(state, i)
        told = branches.foreseen(i, left, right)
        target = self.env.targets[index]
        if told is not None:
            self.need(state, i.dst, *((i.src,) if isinstance(i.src, int) else ()))
            self.step(state, index)
            return target if told else index + 1
        linked = self._linked(state, left, right)
        other = state.copy()
        can_be_taken, can_go_on = branches.learn(self.env, i, other, state)
        if not (can_be_taken and can_go_on):  # foreseen after all, from what is known of both
            self.need(state, i.dst, *((i.src,) if isinstance(i.src, int) else ()))
        self.steps.append(Step(index, len(state.frames) - 1, None, linked))
        if can_be_taken and can_go_on:
            self.push(other, target or 0)
        elif can_be_taken:
            state.frames, state.references, state.lock = other.frames, other.references, other.lock
            return target
        return index + 1 if can_go_on else None

    def _linked(self, state: State, left: Register, right: Register) -> tuple[tuple[int, int], ...]:
        """Return where copies of what is compared are."""
        ids = {register.id for register in (left, right) if register.id and register.kind is Kind.NUMBER}
        if not ids:
            return ()
        found = []
        for depth, frame in enumerate(state.frames):
            found += [(depth, n) for n in range(10) if frame.registers[n].id in ids]
            found += [
                (depth, n)
                for n, slot in frame.stack.items()
                if slot.register is not None and slot.bytes[0] == Byte.SPILL and slot.register.id in ids
            ]
        return tuple(found)

    # --- Calls.

    def call_local(self, state: State, _: CallLocal, index: int) -> int | None:
        """Call a function of the program."""
        if len(state.frames) >= MAX_FRAMES:
            raise Rejected(Rule.STACK_DEPTH, f"the call stack of {len(state.frames)} frames is too deep", "E2BIG")
        target = self.env.targets[index] or 0
        self.step(state, index)
        frame = Frame(len(state.frames), target, index + 1)
        frame.registers[1:6] = state.registers[1:6]
        caller = state.registers
        caller[0] = NOTHING
        cleared(caller)
        state.frames.append(frame)
        return target

    def call_helper(self, state: State, i: CallHelper, index: int) -> int | None:
        """Call a helper."""
        before = state.registers.copy()
        self._note_helper_stack(state)
        entering = state.copy() if i.number in calls.CALLBACKS else None
        call = calls.call_helper(self.env, state, i.number, index)
        for register in call.precise:
            self._need_before(before, state, register)
        if entering is not None:
            self._callback(entering, state, call, before, index)
        self.step(state, index)
        return index + 1

    def _need_before(self, before: list[Register], state: State, register: int) -> None:
        depth = len(state.frames) - 1
        if before[register].kind is Kind.NUMBER:
            mark(self.env.instructions, self.parent, self.steps, [(depth, register)])

    def _note_helper_stack(self, state: State) -> None:
        for register in range(1, 6):
            if state.registers[register].kind is Kind.STACK:
                self._note_stack(state, register, 0)

    def _callback(self, entering: State, state: State, call: Call, before: list[Register], index: int) -> None:
        """Let the function that a helper calls be gone through, for one turn more."""
        if call.function < 0:
            return
        if call.prototype.number == 181:
            count = before[1].number
            self._need_before(before, state, 1)
            if self.unroll >= count.umax:
                return
        frame = calls.callback_frame(self.env, entering, call, before, index)
        if len(entering.frames) >= MAX_FRAMES:
            raise Rejected(Rule.STACK_DEPTH, f"the call stack of {len(entering.frames)} frames is too deep", "E2BIG")
        caller = entering.registers
        caller[0] = NOTHING
        entering.frames.append(frame)
        self.push(entering, call.function, self.unroll + 1)

    def call_kernel(self, _state: State, _: CallKfunc, _index: int) -> int | None:
        """Call a function of the kernel."""
        raise Rejected(
            Rule.HELPER, "calling kernel function is not allowed", hint="functions of the kernel cannot be judged here"
        )

    def exit(self, state: State, _: Exit, index: int) -> int | None:
        """Return from a function, or end the program."""
        if state.lock is not None and len(state.frames) == 1:
            raise Rejected(Rule.LOCK, "bpf_spin_unlock is missing", "EINVAL", hint="unlock on every way")
        if len(state.frames) > 1:
            return self._return(state, index)
        if state.references:
            reference, where = state.references[0]
            raise Rejected(
                Rule.REFERENCE,
                f"Unreleased reference id={reference} alloc_insn={where}",
                "EINVAL",
                hint=f"release what instruction {where} acquired, on this way too",
            )
        result = self.read(state, 0)
        if result.is_pointer and not self.env.privileged:
            raise Rejected(Rule.POINTER_LEAK, "R0 leaks addr as return value")
        wanted = return_range(self.env.type, self.env.attach)
        if wanted is not None:
            self._check_result(state, result, *wanted)
        return None

    def _check_result(self, state: State, result: Register, least: int, most: int) -> None:
        if result.kind is not Kind.NUMBER:
            raise Rejected(
                Rule.RETURN, f"At program exit the register R0 is not a known value ({NAMES[result.kind]})", "EINVAL"
            )
        self.need(state, 0)
        held = result.number
        if not (least <= held.smin and held.smax <= most):
            raise Rejected(
                Rule.RETURN,
                f"At program exit the register R0 has smin={held.smin} smax={held.smax} "
                f"should have been in [{least}, {most}]",
                "EINVAL",
            )

    def _return(self, state: State, index: int) -> int | None:
        frame = state.frames[-1]
        result = frame.registers[0]
        if frame.callback is not None:
            return self._return_callback(state, frame, result, index)
        if result.kind is Kind.STACK:
            raise Rejected(Rule.RETURN, "cannot return stack pointer to the caller", "EINVAL")
        self.step(state, index)
        state.frames.pop()
        state.registers[0] = result
        return frame.returns_to

    def _return_callback(self, state: State, frame: Frame, result: Register, index: int) -> int | None:
        callback = frame.callback
        if callback is None:
            return None
        if result.kind is not Kind.NUMBER:
            raise Rejected(Rule.RETURN, "R0 not a scalar value" if result.kind is not Kind.NOTHING else "R0 !read_ok")
        self.need(state, 0)
        least, most = (0, 0) if callback.helper == 170 else (0, 1)
        if not (least <= result.number.smin and result.number.smax <= most):
            raise Rejected(
                Rule.RETURN,
                f"At callback return the register R0 has smin={result.number.smin} "
                f"smax={result.number.smax} should have been in [{least}, {most}]",
                "EINVAL",
            )
        if len(state.references) and callback.helper == 170:
            raise Rejected(Rule.REFERENCE, "Unreleased reference in callback", "EINVAL")
        self.step(state, index)
        state.frames.pop()
        if callback.helper == 170:
            return None
        return callback.call  # and through the call again, with what the turn left

    # --- Afterwards.

    def _check_stack(self) -> None:
        """Check that no chain of calls uses more stack than there is, or is too long."""
        calls_of: list[dict[int, int]] = [{} for _ in self.depth_used]
        for index, i in enumerate(self.env.instructions):
            target = self.env.targets[index]
            refers = isinstance(i, CallLocal) or (isinstance(i, LoadImm64) and i.kind is ImmKind.FUNCTION)
            if refers and target is not None:
                calls_of[self.functions.of(index)].setdefault(self.functions.of(target), index)
        deepest: dict[int, _Depth] = {}
        _measure(0, [-(-used // 16) * 16 for used in self.depth_used], calls_of, deepest, [])
        depth = deepest[0]
        if depth.bytes > STACK_SIZE:
            raise _at(
                depth.call,
                f"combined stack size of {depth.frames} calls is {depth.bytes}. Too large",
                hint="all functions of a chain of calls share 512 bytes",
            )
        if depth.frames > MAX_FRAMES:
            raise _at(depth.call, f"the call stack of {depth.frames} frames is too deep !", "E2BIG")


class _Depth(NamedTuple):
    """What the calls of a function need at most: bytes of stack, and frames; and the call that leads there."""

    bytes: int
    frames: int
    call: int


def _measure(
    function: int, used: list[int], calls_of: list[dict[int, int]], deepest: dict[int, _Depth], chain: list[int]
) -> None:
    """Find what a function and all that it calls need, each function once."""
    chain.append(function)
    most, frames, call = 0, 0, 0
    for callee, index in calls_of[function].items():
        if callee in chain:
            raise _at(index, "recursive call", "EINVAL")
        if callee not in deepest:
            _measure(callee, used, calls_of, deepest, chain)
        below = deepest[callee]
        if below.bytes > most or not frames:
            most, call = max(most, below.bytes), index
        frames = max(frames, below.frames)
    chain.pop()
    deepest[function] = _Depth(used[function] + most, frames + 1, call)


def _at(index: int, what: str, errno: str = "EACCES", hint: str = "") -> Rejected:
    made = Rejected(Rule.STACK_DEPTH, what, errno, hint=hint)
    made.instruction = index
    return made


def _low(held: Register) -> Register:
    """Return the low half of a number, zeros above."""
    scalar = held.number.copy()
    scalar.keep_low()
    return held.but(number=scalar)


_STEPS: dict[type[Instruction], Callable[[Explorer, State, Any, int], int | None]] = {
    Alu: Explorer.alu,
    Negate: Explorer.negate,
    Extend: Explorer.extend,
    Swap: Explorer.swap,
    Load: Explorer.load,
    LoadAcquire: Explorer.load,
    Store: Explorer.store,
    StoreRelease: Explorer.store,
    Atomic: Explorer.atomic,
    LoadImm64: Explorer.load_imm64,
    LegacyLoad: Explorer.legacy_load,
    Jump: Explorer.jump,
    Branch: Explorer.branch,
    MayGoto: Explorer.may_goto,
    CallHelper: Explorer.call_helper,
    CallLocal: Explorer.call_local,
    CallKfunc: Explorer.call_kernel,
    Exit: Explorer.exit,
}
