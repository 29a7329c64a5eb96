# SPDX-License-Identifier: Apache-2.0
"""Steps into functions, and through helpers and kernel functions.

Sources: Linux 6.18, ``kernel/bpf/verifier.c`` (``check_func_call``, ``check_helper_call``, ``process_iter_next_call``).
"""

from __future__ import annotations

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import CallHelper, CallKfunc, CallLocal
from prestocloud_sec.bpf.verifier import calls, global_functions, iterators
from prestocloud_sec.bpf.verifier.arguments import Call, StackUses
from prestocloud_sec.bpf.verifier.function_types import FunctionTypes
from prestocloud_sec.bpf.verifier.iterators import Does
from prestocloud_sec.bpf.verifier.live_stack import slots
from prestocloud_sec.bpf.verifier.precision import mark
from prestocloud_sec.bpf.verifier.registers import NAMES, NOTHING, NUMBER, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import MAX_FRAMES, Frame, State, cleared
from prestocloud_sec.bpf.verifier.steps_ends import EndSteps
from prestocloud_sec.bpf.verifier.stops import CALLBACKS

__all__ = ["CallSteps"]


class CallSteps(EndSteps):
    """What calls functions, helpers and kernel functions."""

    def call_local(self, state: State, _: CallLocal, index: int) -> int | None:
        """Call a function of the program."""
        types = self.env.function_types
        if types is not None and self.is_global(index):
            return self._call_global(types, state, index)
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

    def _call_global(self, types: FunctionTypes, state: State, index: int) -> int:
        """Hold a call against what the function takes; the function is judged by itself, later."""
        number = self.functions.of(self.env.targets[index] or 0)
        if state.lock is not None:
            raise Rejected(
                Rule.LOCK,
                "global function calls are not allowed while holding a lock, use static function instead",
                "EINVAL",
            )
        self._note_uses(state, global_functions.check_call(self.env, types, state, number), index)
        self.called.add(number)
        if number in self.changing:
            calls.forget_packets(state, privileged=self.env.privileged)
        cleared(state.registers)
        state.registers[0] = NUMBER
        self.step(state, index)
        return index + 1

    def _note_uses(self, state: State, uses: StackUses, index: int) -> None:
        for frame, start, end in uses.reads:
            self.uses.read(state, index, frame, slots(start, end))
        for frame, lowest in uses.touched:
            self.note_depth(state, frame, lowest)

    def call_helper(self, state: State, i: CallHelper, index: int) -> int | None:
        """Call a helper."""
        before = state.registers.copy()
        entering = state.copy() if i.number in CALLBACKS else None
        call = calls.call_helper(self.env, state, i.number, index)
        self._note_uses(state, call.stack, index)
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

    def _need_before(self, before: list[Register], state: State, register: int) -> None:
        depth = len(state.frames) - 1
        if before[register].kind is Kind.NUMBER:
            mark(self.followed, self.parent, self.steps, [(depth, register)])

    def _callback(self, entering: State, state: State, call: Call, before: list[Register], index: int) -> None:
        """Let the function that a helper calls be gone through, for one turn more."""
        if call.function < 0:
            return
        if call.prototype.number == HelperId.LOOP:
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

    def call_kfunc(self, state: State, i: CallKfunc, index: int) -> int | None:
        """Call a kernel function; where an iterator may give one more, that is a way of its own."""
        row = self.env.kfuncs.get(index)
        if row is None:
            raise self._unknown(i, index)
        place, gives = iterators.call(self.env, state, row, index)
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
            iterators.advanced(self.env, other, row, place, gives)
            if self.parent is not None:
                self.widen(other, index, self.parent.depth)
            self.push(other, index + 1)
        return index + 1

    def _unknown(self, i: CallKfunc, index: int) -> Rejected:
        name = self.env.kfunc_name(i, index)
        known = ", ".join(iterators.ITERATOR_KFUNCS)
        return Rejected(
            Rule.HELPER,
            f"calling kernel function {name or f'#{i.id}'} is not allowed",
            hint=f"of functions of the kernel these can be judged here: {known}"
            if name
            else "say what its number stands for: kfuncs=, or --kfunc; or call it by its name",
        )
