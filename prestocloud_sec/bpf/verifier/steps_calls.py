# SPDX-License-Identifier: Apache-2.0
"""Steps into and out of functions, and through helpers (Linux 6.18, ``check_func_call``, ``prepare_func_exit``)."""

from __future__ import annotations

from prestocloud_sec.bpf.isa import (
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
)
from prestocloud_sec.bpf.verifier import calls
from prestocloud_sec.bpf.verifier.arguments import Call
from prestocloud_sec.bpf.verifier.live_stack import slots
from prestocloud_sec.bpf.verifier.precision import mark
from prestocloud_sec.bpf.verifier.programs import return_range
from prestocloud_sec.bpf.verifier.registers import (
    NAMES,
    NOTHING,
    Kind,
    Register,
)
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import MAX_FRAMES, Frame, State, cleared
from prestocloud_sec.bpf.verifier.stops import CALLBACKS
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["CallSteps"]


class CallSteps(Walk):
    """What calls and returns."""

    def call_local(self, state: State, _: CallLocal, index: int) -> int | None:
        """Call a function of the program."""
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
            mark(self.env.instructions, self.parent, self.steps, call.places)
        if entering is not None:
            self._callback(entering, state, call, before, index)
        self.step(state, index)
        return index + 1

    def _need_before(self, before: list[Register], state: State, register: int) -> None:
        depth = len(state.frames) - 1
        if before[register].kind is Kind.NUMBER:
            mark(self.env.instructions, self.parent, self.steps, [(depth, register)])

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
        self.uses.settle(state)
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
        self.widen(state, callback.call, 0 if self.parent is None else self.parent.depth + 1)
        return callback.call  # and through the call again, with what the turn left
