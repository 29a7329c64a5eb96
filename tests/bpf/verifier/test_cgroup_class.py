# SPDX-License-Identifier: Apache-2.0
"""The helper ``get_cgroup_classid`` in every type: a packet's class is asked of the context, a task's of nothing."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import ProgramType, assemble, verify
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel

OF_A_PACKET = {"SCHED_CLS", "SCHED_ACT", "LWT_IN", "LWT_OUT", "LWT_XMIT", "LWT_SEG6LOCAL"}
ATTACHED = {"CGROUP_SOCK_ADDR": 8, "CGROUP_SOCKOPT": 21, "SK_LOOKUP": 36, "NETFILTER": 45}
"""Places for programs of the types that have to name one."""
NEVER = {"UNSPEC", "TRACING", "STRUCT_OPS", "EXT", "LSM", "SYSCALL"}
"""No program is accepted as one of these that is loaded with nothing else, see test_loading.py."""
NAMES = sorted(kind.name for kind in ProgramType if kind.name not in NEVER)
CALL = "r1 = 1\ncall bpf_get_cgroup_classid\nr0 = 1\nexit"
GIVEN = {"a number": CALL, "the context": CALL.replace("r1 = 1\n", "")}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", NAMES)
def test_verdicts(name: str, given: str) -> None:
    verdict = verify(assemble(GIVEN[given], type=ProgramType[name]), attach=ATTACHED.get(name, 0))
    if given == "a number" and name in OF_A_PACKET:
        assert (verdict.accepted, verdict.errno, verdict.reason) == (False, "EACCES", Rule.ARGUMENT)
        assert verdict.message == "R1 type=scalar expected=ctx"
    else:
        assert verdict.accepted


@as_recorded
@needs_kernel
@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_says_the_same(name: str, given: str) -> None:
    kind, attach = ProgramType[name], ATTACHED.get(name, 0)
    bare = verify(assemble("r0 = 1\nexit", type=kind), attach=attach, compare_with_kernel=True).kernel
    assert bare is not None
    if not bare.accepted:
        pytest.skip(f"kernel lacks programs of the type {name}")
    answer = verify(assemble(GIVEN[given], type=kind), attach=attach, compare_with_kernel=True).kernel
    assert answer is not None
    refused = given == "a number" and name in OF_A_PACKET
    assert (answer.accepted, answer.errno) == (not refused, "EACCES" if refused else None)
