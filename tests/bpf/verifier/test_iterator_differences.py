# SPDX-License-Identifier: Apache-2.0
"""Iterators on the stack: where verdicts differ from the kernel's, and what is refused whatever is done with them."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import MapType, ProgramType, assemble, verify
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import XDP, asked, judged
from tests.bpf.verifier.iterators import DESTROY, END, ENDLESS, KFUNCS, NEW, NO_NUM, SUM, at

BEYOND = {
    "asked": f"{NEW}{at(0, 'num_next')}{DESTROY}{END}",
    "ended": f"{NEW}{at(0, 'num_destroy')}{END}",
}
"""Programs that Linux 6.18.44 takes and that are refused here; they are not to be run."""


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", BEYOND)
def test_at_the_frames_end_the_kernel_finds_the_iterator_below_it(name: str) -> None:
    """Linux takes r10+0 for the slot at r10-8, though the function works on what lies above the frame."""
    program = assemble(BEYOND[name], type=XDP)
    verdict, answer = judged(program), asked(program)
    assert (verdict.accepted, verdict.errno, verdict.reason) == (False, "EINVAL", Rule.ARGUMENT)
    assert f"offset=0; {NO_NUM}" in verdict.message
    assert answer.accepted


def test_a_loop_that_forgets_what_it_was_given_is_gone_round_until_it_is_too_long() -> None:
    verdict = verify(assemble(ENDLESS, type=XDP), limit=5_000)
    assert (verdict.accepted, verdict.errno, verdict.reason) == (False, "E2BIG", Rule.COMPLEXITY)
    assert "Processed 5001 insn" in verdict.message


@as_recorded
@needs_kernel
def test_so_it_is_in_the_kernel() -> None:
    answer = asked(assemble(ENDLESS, type=XDP), level=1)
    assert (answer.accepted, answer.errno) == (False, "E2BIG")
    assert "BPF program is too large. Processed 1000001 insn" in answer.log


@as_recorded
@needs_kernel
def test_programs_of_another_licence_call_no_functions_of_the_kernel() -> None:
    program = assemble(SUM, type=XDP, license="Proprietary")
    verdict, answer = verify(program), asked(program, licence="Proprietary")
    assert (verdict.accepted, answer.accepted, verdict.errno) == (False, False, answer.errno)
    assert verdict.message in answer.log


def test_nor_do_those_without_privileges() -> None:
    """``add_subprog_and_kfunc`` asks for CAP_BPF."""
    verdict = verify(assemble(SUM, type=ProgramType.SOCKET_FILTER), privileged=False)
    assert (verdict.errno, verdict.reason) == ("EPERM", Rule.PRIVILEGE)


def test_while_a_lock_is_held_only_numbers_are_gone_through() -> None:
    """``check_kfunc_call`` lets those pass that ``is_bpf_iter_num_api_kfunc`` names."""
    spec = MapSpec(MapType.ARRAY, 4, 16, 1, spin_lock=0)
    text = (
        "*(u32 *)(r10 - 4) = 0\nr1 = map[id:0]\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\n"
        "if r0 == 0 goto out\nr6 = r0\nr1 = r6\ncall bpf_spin_lock\n{}r1 = r6\ncall bpf_spin_unlock\nout:\n" + END
    )
    numbers = at(-16, "num_new", "r2 = 0", "r3 = 1") + at(-16, "num_next") + at(-16, "num_destroy")
    bits = at(-32, "bits_new", "r2 = 0", "r3 = 1") + at(-32, "bits_destroy")
    assert verify(assemble(text.format(numbers), type=ProgramType.SCHED_CLS), maps=[spec])
    refused = verify(assemble(text.format(bits), type=ProgramType.SCHED_CLS), maps=[spec])
    assert (refused.errno, refused.reason) == ("EINVAL", Rule.LOCK)
    assert "function calls are not allowed while holding a lock" in refused.message


def test_functions_that_are_not_known_here_are_refused_with_what_is() -> None:
    verdict = verify(assemble(f"call kfunc bpf_rcu_read_lock\n{END}", type=XDP))
    assert (verdict.errno, verdict.reason, verdict.instruction) == ("EACCES", Rule.HELPER, 0)
    assert "bpf_rcu_read_lock" in verdict.message
    assert all(name in verdict.hint for name in KFUNCS)
