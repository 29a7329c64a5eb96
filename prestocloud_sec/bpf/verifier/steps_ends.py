# SPDX-License-Identifier: Apache-2.0
"""Steps out of functions: exits, and what may end a function besides.

Sources: Linux 6.18, ``kernel/bpf/verifier.c`` (``prepare_func_exit``, ``check_return_code``, ``check_ld_abs``).
"""

from __future__ import annotations

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import Exit, LegacyLoad
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier import calls
from prestocloud_sec.bpf.verifier.programs import return_range
from prestocloud_sec.bpf.verifier.registers import NAMES, NUMBER, ZERO, Kind, Register
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.state import Frame, State, cleared
from prestocloud_sec.bpf.verifier.walk import Walk

__all__ = ["EndSteps"]

_READS_PACKET = frozenset({ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.SCHED_ACT})
"""Types of programs that load words of packets as classic ones do."""


class EndSteps(Walk):
    """What returns, and what may end a function besides."""

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
        least, most = (0, 0) if callback.helper == HelperId.TIMER_SET_CALLBACK else (0, 1)
        if not (least <= result.number.smin and result.number.smax <= most):
            raise Rejected(
                Rule.RETURN,
                f"At callback return the register R0 has smin={result.number.smin} "
                f"smax={result.number.smax} should have been in [{least}, {most}]",
                "EINVAL",
            )
        if len(state.references) and callback.helper == HelperId.TIMER_SET_CALLBACK:
            raise Rejected(Rule.REFERENCE, "Unreleased reference in callback", "EINVAL")
        self.step(state, index, depth=depth)
        state.frames.pop()
        if callback.helper == HelperId.TIMER_SET_CALLBACK:
            return None
        self.widen(state, callback.call, 0 if self.parent is None else self.parent.depth + 1)
        return callback.call  # and through the call again, with what the turn left

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
        self.steps.pop()  # the way that waits has this step; on the other, `_return` notes it as one of the caller's
        if not packets:
            calls.forget_packets(state, privileged=self.env.privileged)
        state.registers[0] = result
        return self._return(state, index, depth=len(state.frames) - 2)

    def legacy_load(self, state: State, i: LegacyLoad, index: int) -> int | None:
        """Load a word of the packet (classic BPF)."""
        if self.env.type not in _READS_PACKET:
            raise Rejected(Rule.TYPE, "BPF_LD_[ABS|IND] instructions not allowed for this program type", "EINVAL")
        if state.references and len(state.frames) == 1:  # elsewhere it leads back to the caller
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
