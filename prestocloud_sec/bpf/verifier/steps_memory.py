# SPDX-License-Identifier: Apache-2.0
"""Steps through loads and stores (Linux 6.18, ``check_load_mem``, ``check_store_reg``, ``check_atomic``)."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    Atomic,
    AtomicOp,
    Imm,
    ImmKind,
    Load,
    LoadAcquire,
    LoadImm64,
    Store,
    StoreRelease,
)
from prestocloud_sec.bpf.verifier import arithmetic, memory, stack
from prestocloud_sec.bpf.verifier.live_stack import slots
from prestocloud_sec.bpf.verifier.registers import (
    NAMES,
    ZERO_NUMBER,
    Kind,
    Register,
    known,
    number,
)
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import State
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["MemorySteps"]


_ATOMIC_NOT = frozenset({Kind.CONTEXT, Kind.PACKET, Kind.PACKET_META, Kind.FLOW_KEYS}) | {
    kind for kind in Kind if kind.is_socket
}


_REWRITTEN = frozenset({Kind.CONTEXT, Kind.BTF}) | {kind for kind in Kind if kind.is_socket}


class MemorySteps(Walk):
    """What reads and writes memory."""

    def _place(self, state: State, base: int, offset: int) -> tuple[int, int] | None:
        pointer = state.registers[base]
        if pointer.kind is Kind.STACK and pointer.number.is_const:
            return pointer.frame, (pointer.offset + pointer.number.smin + offset) // 8
        return None

    def _reads(self, state: State, pointer: Register, offset: int, size: int, index: int) -> None:
        """Note what a load reads of the stack."""
        place = pointer.offset + offset
        number = pointer.number
        self.uses.read(state, index, pointer.frame, slots(place + number.smin, place + number.smax + size))

    def _writes(self, state: State, pointer: Register, offset: int, size: int, index: int) -> None:
        """Note what a store surely writes of the stack: eight bytes at a place that is known."""
        mask = 0
        if pointer.kind is Kind.STACK and size == 8 and pointer.number.is_const:
            place = pointer.offset + pointer.number.smin + offset
            mask = slots(place, place + 8)
        self.uses.written(state, index, pointer.frame if mask else 0, mask)

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
        self.note_stack(state, i.base, i.offset)
        if not pointer.number.is_const:
            self.need(state, i.base)
        found = memory.access(self.env, state, i.base, i.offset, i.size, write=False)
        if pointer.kind is Kind.STACK:
            self._reads(state, pointer, i.offset, i.size, index)
        if place is not None:
            part = (pointer.offset + pointer.number.smin + i.offset) % 8
            place, found = self._restored(state, place, part, i.size, found)
        self._one_kind(index, pointer.kind)
        if isinstance(i, Load) and i.signed:
            if found.is_pointer:
                raise Rejected(Rule.CONTEXT, f"invalid sign-extended load of a pointer size={i.size}")
            found = number(arithmetic.sign_extend(i.size, 64, found.number))
        state.registers[i.dst] = found
        self.step(state, index, place)
        return index + 1

    def _restored(
        self, state: State, place: tuple[int, int], part: int, size: int, found: Register
    ) -> tuple[tuple[int, int] | None, Register]:
        """Return the place, if a load from it gives what is kept there, and what it gives: a whole number is shared."""
        frame, number = state.frames[place[0]], place[1]
        slot = frame.slot(number)
        kept = slot.register
        if kept is None or not stack.restored(slot, part, size):
            return None, found
        whole = size == 8 or (size == slot.spilled == 4 and kept.number.umax < 1 << 32)
        if not whole or kept.kind is not Kind.NUMBER or not self.env.privileged:
            return place, found
        shared = self.identified(kept)
        frame.stack[number] = slot._replace(register=shared)
        return place, shared

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
        self.note_stack(state, i.base, i.offset)
        if (
            isinstance(i.src, int)
            and place is not None
            and (pointer.offset + pointer.number.smin + i.offset) % 8 == 0  # only such places keep a register
            and value.kind is Kind.NUMBER
            and value.number.umax < 1 << 8 * i.size
        ):
            value = self.shared(state, i.src, value)
        memory.access(self.env, state, i.base, i.offset, i.size, write=True, value=value)
        zero = pointer.kind is Kind.STACK and value.is_null
        if zero and isinstance(i.src, int) and stack.zeroed(state, pointer, i.offset, i.size):
            self.need(state, i.src)
        self._writes(state, pointer, i.offset, i.size, index)
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
        self.note_stack(state, i.base, i.offset)
        if pointer.kind is Kind.STACK and place is None:
            stack.bounds(pointer, i.offset, i.size, write=False, name=str(i.base))
            raise Rejected(
                Rule.STACK,
                "variable offset stack pointer cannot be passed into helper function; "
                f"var_off={pointer.number.tnum} off={pointer.offset + i.offset} size={i.size}",
                hint="load, change and store what is there",
            )
        if place is not None:
            part = (pointer.offset + pointer.number.smin + i.offset) % 8
            if not stack.restored(state.frames[place[0]].slot(place[1]), part, i.size):
                place = None  # nothing that is kept is read, and afterwards nothing is kept there
        old = memory.access(self.env, state, i.base, i.offset, i.size, write=False)
        if pointer.kind is Kind.STACK:
            self._reads(state, pointer, i.offset, i.size, index)
        if i.op is AtomicOp.CMPXCHG:
            state.registers[0] = old
        elif i.fetch:
            self.write(i.src)
            state.registers[i.src] = old
        # Through the same register: one that the old value went into is no address any more, as the kernel sees it.
        memory.access(self.env, state, i.base, i.offset, i.size, write=True, value=None)
        self._writes(state, pointer, i.offset, i.size, index)
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
            types = self.env.function_types
            if types is not None and not types.is_static(self.functions.of(target or 0)):
                raise Rejected(Rule.STRUCTURE, "callback function not static", "EINVAL", hint="describe it as static")
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
