# SPDX-License-Identifier: Apache-2.0
"""Types of programs and their places: for which the kernel loads a harmless program, and what one may return there."""

from __future__ import annotations

import pytest

from prestocloud_sec.bpf import ProgramType, assemble, verify
from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.linux import KernelProgram
from prestocloud_sec.bpf.verifier.contexts import Access, Layout
from prestocloud_sec.bpf.verifier.loading import ATTACH_TYPES, UNJUDGED
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel

P = ProgramType
ONE = assemble("r0 = 1\nexit", license="GPL")
NUMBERS = (*range(61), 999)


def told(kind: ProgramType, attach: int = 0, **options: object) -> tuple[Rule | None, str | None, str]:
    verdict = verify(ONE, type=kind, attach=attach, **options)  # type: ignore[arg-type]
    assert (verdict.processed > 0) is verdict.accepted
    return verdict.reason, verdict.errno, verdict.hint


class TestRules:
    @pytest.mark.parametrize("kind", [P.TRACING, P.LSM, P.EXT, P.STRUCT_OPS, P.SYSCALL])
    def test_what_cannot_be_judged_is_refused(self, kind: ProgramType) -> None:
        rule, errno, hint = told(kind)
        assert (rule, errno) == (Rule.TYPE, "ENOTSUPP" if kind is P.STRUCT_OPS else "EINVAL")
        assert f"{kind.name} programs need" in hint

    def test_there_is_no_unspecified_type(self) -> None:
        assert told(P.UNSPEC) == (Rule.TYPE, "EINVAL", "say where the program is to run: type=")

    @pytest.mark.parametrize(
        ("kind", "attach", "hint"),
        [
            (P.SK_LOOKUP, 0, "attach= 36 (SK_LOOKUP)"),
            (P.NETFILTER, 44, "attach= 45 (NETFILTER)"),
            (P.CGROUP_SOCKOPT, 0, "attach= 21 (CGROUP_GETSOCKOPT), 22 (CGROUP_SETSOCKOPT)"),
            (P.CGROUP_SKB, 2, "attach= 0 (CGROUP_INET_INGRESS), 1 (CGROUP_INET_EGRESS)"),
            (P.SYSCALL, 1, "attach= 0 (none)"),
        ],
    )
    def test_the_hint_names_the_places(self, kind: ProgramType, attach: int, hint: str) -> None:
        assert told(kind, attach) == (Rule.TYPE, "EINVAL", hint)

    def test_0_is_the_usual_place_where_there_is_one(self) -> None:
        assert told(P.CGROUP_SOCK)[0] is told(P.SK_REUSEPORT)[0] is None
        assert told(P.CGROUP_SOCK, 999)[0] is Rule.TYPE
        read = assemble(
            "r0 = *(u32 *)(r1 + 16)\nr0 = 1\nexit"
        )  # mark: where sockets are made, not where they are bound
        assert verify(read, type=P.CGROUP_SOCK)
        assert not verify(read, type=P.CGROUP_SOCK, attach=12)

    def test_programs_of_user_space_are_for_no_place(self) -> None:
        context = Access(Layout((), 8))
        assert verify(ONE, context=context)
        assert verify(ONE, type=P.SK_LOOKUP, context=context)

    def test_an_old_profile_does_not_know_the_type(self) -> None:
        verdict = verify(ONE, type=P.SK_LOOKUP, profile="linux-4.11")
        assert verdict.message == "there is no type SK_LOOKUP in linux-4.11"


@as_recorded
@needs_kernel
class TestKernel:
    def test_every_type_for_every_place(self) -> None:
        """EPERM without a log is said before the type is looked at closer: trampolines are not allowed there."""
        different = []
        for kind in P:
            answers = {attach: loaded(kind, attach, 1) for attach in NUMBERS}
            if kind is P.LIRC_MODE2 and set(answers.values()) == {"EINVAL"}:
                continue  # a kernel without infrared receivers
            for attach, theirs in answers.items():
                ours = told(kind, attach)[1]
                if ours != theirs and not (theirs == "EPERM" and kind in UNJUDGED and ours is not None):
                    different.append((kind.name, attach, ours, theirs))
        assert different == []

    @pytest.mark.parametrize("value", [-1, 0, 2, 3, 4])
    def test_what_may_be_returned_for_every_place(self, value: int) -> None:
        program = assemble(f"r0 = {value}\nexit", license="GPL")
        different = []
        for kind in set(P) - set(UNJUDGED) - {P.UNSPEC, P.LIRC_MODE2}:
            for attach in ATTACH_TYPES.get(kind, range(61)):
                ours = verify(program, type=kind, attach=attach).errno
                theirs = loaded(kind, attach, value)
                if ours != theirs:
                    different.append((kind.name, attach, ours, theirs))
        assert different == []


def loaded(kind: ProgramType, attach: int, value: int) -> str | None:
    """Return the errno with which the kernel refuses a program that returns a number; None if it loads it."""
    try:
        program = assemble(f"r0 = {value}\nexit", license="GPL")
        KernelProgram.load(program, type=kind, expected_attach_type=attach).close()
    except LoadError as error:
        return error.symbol
    return None
