# SPDX-License-Identifier: Apache-2.0
"""Steps into and out of functions, and through helpers.

Sources: Linux 6.18, ``kernel/bpf/verifier.c`` (``check_func_call``, ``prepare_func_exit``, ``check_ld_abs``,
``process_iter_next_call``).
"""

from __future__ import annotations

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
    LegacyLoad,
)
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier import calls, global_functions, kernel_functions
from prestocloud_sec.bpf.verifier.arguments import Call
from prestocloud_sec.bpf.verifier.kernel_functions import Does
from prestocloud_sec.bpf.verifier.live_stack import slots
from prestocloud_sec.bpf.verifier.precision import mark
from prestocloud_sec.bpf.verifier.programs import return_range
from prestocloud_sec.bpf.verifier.registers import (
    NAMES,
    NOTHING,
    NUMBER,
    ZERO,
    Kind,
    Register,
)
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import MAX_FRAMES, Frame, State, cleared
from prestocloud_sec.bpf.verifier.stops import CALLBACKS
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["CallSteps"]


_READS_PACKET = frozenset({ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.SCHED_ACT})
"""Types of programs that load words of packets as classic ones do."""


class CallSteps(Walk):
    """What calls and returns, and what may end a function besides."""

    def call_local(self, state: State, _: CallLocal, index: int) -> int | None:
        """Call a function of the program."""
        if self.is_global(index):
            return self._call_global(state, index)
        if len(state.frames) >= MAX_FRAMES:
            raise Rejected(Rule.STACK_DEPTH, f"the call stack of {len(state.frames) + 1} frames is too deep", "E2BIG")
        target = self.env.targets[index] or 0
        self.step(state, index)
        self.uses.moved()
        frame = Frame(len(state.frames), target, index + 1)
        frame.registers[1:6] = state.registers[1:6]
        caller = state.registers
        caller[0] = NOTHING
        cleared(caller)
        state.frames.append(frame)
        return target

    def _call_global(self, state: State, index: int) -> int:
        """Hold a call against what the function takes; the function is judged by itself, later."""
        number = self.functions.of(self.env.targets[index] or 0)
        if state.lock is not None:
            raise Rejected(
                Rule.LOCK,
                "global function calls are not allowed while holding a lock, use static function instead",
                "EINVAL",
            )
        call = global_functions.check_call(self.env, state, number)
        for frame, start, end in call.reads:
            self.uses.read(state, index, frame, slots(start, end))
        for frame, lowest in call.touched:
            self.note_depth(state, frame, lowest)
        self.called.setdefault(number)
        if number in self.changing:
            calls.forget_packets(state, privileged=self.env.privileged)
        cleared(state.registers)
        state.registers[0] = NUMBER
        self.step(state, index)
        return index + 1

    def call_helper(self, state: State, i: CallHelper, index: int) -> int | None:
        """Call a helper."""
        before = state.registers.copy()
        entering = state.copy() if i.number in CALLBACKS else None
        call = calls.call_helper(self.env, state, i.number, index)
        for frame, start, end in call.reads:
            self.uses.read(state, index, frame, slots(start, end))
        for frame, lowest in call.touched:
            self.note_depth(state, frame, lowest)
        if entering is not None:
            self.uses.written(state, index, 0, 0)
        for register in call.precise:
            self._need_before(before, state, register)
        if call.places:
            mark(self.followed, self.parent, self.steps, call.places)
        if entering is not None:
            self._callback(entering, state, call, before, index)
        if i.number == HelperId.TAIL_CALL and len(state.frames) > 1:
            return self.may_return(state, NUMBER, index, packets=False)
        self.step(state, index)
        return index + 1

    def may_return(self, state: State, result: Register, index: int, *, packets: bool) -> int | None:
        """Go on behind an instruction, and, as a way of its own, behind the call of the function that it may end.

        Parameters
        ----------
        state : State
        result : Register
            What the function returns then.
        index : int
        packets : bool
            Whether the packet is what it was then.
        """
        self.step(state, index)
        self.push(state.copy(), index + 1)
        self.steps.pop()
        if not packets:
            calls.forget_packets(state, privileged=self.env.privileged)
        state.registers[0] = result
        return self._return(state, index, depth=len(state.frames) - 2)

    def _need_before(self, before: list[Register], state: State, register: int) -> None:
        depth = len(state.frames) - 1
        if before[register].kind is Kind.NUMBER:
            mark(self.followed, self.parent, self.steps, [(depth, register)])

    def _callback(self, entering: State, state: State, call: Call, before: list[Register], index: int) -> None:
        """Let the function that a helper calls be gone through, for one turn more."""
        if call.function < 0:
            return
        if call.prototype.number == 181:
            if before[1].kind is not Kind.NUMBER:  # Linux 6.18 trips over itself here, and refuses with EFAULT
                raise Rejected(
                    Rule.ARGUMENT,
                    f"R1 type={NAMES[before[1].kind]} expected=scalar",
                    "EFAULT",
                    hint="r1 says how many turns there are",
                    register=1,
                )
            self._need_before(before, state, 1)
            if state.frame.turns >= before[1].number.umax:
                state.frame.turns = 0
                return
        frame = calls.callback_frame(self.env, entering, call, before, index)
        if len(entering.frames) >= MAX_FRAMES:
            deep = len(entering.frames) + 1
            raise Rejected(Rule.STACK_DEPTH, f"the call stack of {deep} frames is too deep", "E2BIG")
        caller = entering.registers
        caller[0] = NOTHING
        entering.frame.turns += 1
        state.frame.turns = 0
        entering.frames.append(frame)
        self.push(entering, call.function, self.unroll + 1)

    def call_kernel(self, state: State, i: CallKfunc, index: int) -> int | None:
        """Call a function of the kernel; where an iterator may give one more, that is a way of its own."""
        row = self.env.kernel_functions.get(index)
        if row is None:
            raise self._unknown(i, index)
        place, gives = kernel_functions.call(self.env, state, row, index)
        mask = slots(8 * place.slot, 8 * (place.slot + row.slots))
        if row.does is Does.NEW:
            self.note_depth(state, place.frame, 8 * place.slot)
        else:
            self.uses.read(state, index, place.frame, mask)
        if row.does is not Does.NEXT:
            self.uses.written(state, index, place.frame, mask)
        self.step(state, index)
        if gives is not None:
            other = state.copy()
            kernel_functions.advanced(self.env, other, row, place, gives)
            if self.parent is not None:
                self.widen(other, index, self.parent.depth)
            self.push(other, index + 1)
        return index + 1

    def _unknown(self, i: CallKfunc, index: int) -> Rejected:
        name = self.env.kernel_name(i, index)
        known = ", ".join(kernel_functions.KERNEL_FUNCTIONS)
        return Rejected(
            Rule.HELPER,
            f"calling kernel function {name or f'#{i.id}'} is not allowed",
            hint=f"of functions of the kernel these can be judged here: {known}"
            if name
            else "say what its number stands for: kfuncs=, or call it by its name",
        )

    def exit(self, state: State, _: Exit, index: int) -> int | None:
        """Return from a function, or end the program."""
        if state.lock is not None and len(state.frames) == 1:
            raise Rejected(Rule.LOCK, "bpf_spin_unlock is missing", "EINVAL", hint="unlock on every way")
        if len(state.frames) > 1:
            return self._return(state, index)
        if state.references:
            reference, acquired = state.references[0]
            where = self.env.program.slot_of(acquired)
            raise Rejected(
                Rule.REFERENCE,
                f"Unreleased reference id={reference} alloc_insn={where}",
                "EINVAL",
                hint=f"release what instruction {where} acquired, on this way too",
            )
        result = self.read(state, 0)
        if result.is_pointer and not self.env.privileged:
            raise Rejected(Rule.POINTER_LEAK, "R0 leaks addr as return value")
        if state.frame.entry:  # a function that is judged by itself
            if result.kind is not Kind.NUMBER:
                name = NAMES[result.kind] + ("_or_null" if result.nullable else "")
                what = f"At subprogram exit the register R0 is not a scalar value ({name})"
                raise Rejected(Rule.RETURN, what, "EINVAL", hint="let the function return a number", register=0)
            return None
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

    def _return(self, state: State, index: int, depth: int | None = None) -> int | None:
        """Go back to the caller.

        Parameters
        ----------
        state : State
        index : int
            The exit, or what ended the function.
        depth : int, optional
            The frame that this is noted for, if it is no exit: the caller's, as Linux looks back over it.
        """
        frame = state.frames[-1]
        result = frame.registers[0]
        self.uses.settle(state)
        if frame.callback is not None:
            return self._return_callback(state, frame, result, index, depth)
        if result.kind is Kind.STACK:
            raise Rejected(Rule.RETURN, "cannot return stack pointer to the caller", "EINVAL")
        self.step(state, index, depth=depth)
        state.frames.pop()
        state.registers[0] = result
        return frame.returns_to

    def _return_callback(
        self, state: State, frame: Frame, result: Register, index: int, depth: int | None
    ) -> int | None:
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
        self.step(state, index, depth=depth)
        state.frames.pop()
        if callback.helper == 170:
            return None
        self.widen(state, callback.call, 0 if self.parent is None else self.parent.depth + 1)
        return callback.call  # and through the call again, with what the turn left

    def legacy_load(self, state: State, i: LegacyLoad, index: int) -> int | None:
        """Load a word of the packet (classic BPF)."""
        if self.env.type not in _READS_PACKET:
            raise Rejected(Rule.TYPE, "BPF_LD_[ABS|IND] instructions not allowed for this program type", "EINVAL")
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
        if len(state.frames) > 1:  # where the packet has no such word, the function ends, and returns 0
            return self.may_return(state, ZERO, index, packets=True)
        self.step(state, index)
        return index + 1
