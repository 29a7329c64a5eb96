# SPDX-License-Identifier: Apache-2.0
"""Contexts and sockets, byte by byte, against the running kernel: what may be read and written, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble, verify
from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.contexts import CONTEXTS, SOCKETS
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.registers import Kind
from tests.bpf.linux.kernel import as_recorded, needs_kernel

pytestmark = [as_recorded, needs_kernel]

ATTACHED = {
    "CGROUP_SKB": (0, 1),
    "CGROUP_SOCK": (2, 34, 12, 13),
    "CGROUP_SOCK_ADDR": (8, 9, 10, 11, 14, 15, 19, 20, 29, 30, 31, 32, 49, 50, 51, 52, 53),
    "CGROUP_SOCKOPT": (21, 22),
    "CGROUP_SYSCTL": (18,),
    "CGROUP_DEVICE": (6,),
    "SK_REUSEPORT": (39, 40),
    "SK_LOOKUP": (36,),
    "SOCK_OPS": (3,),
    "XDP": (0, 33, 35),
}
"""Where programs of a type may be attached, as far as that changes what they may do."""
SIZES = (1, 2, 4, 8)
MOST = 260
"""Contexts of raw events go on, and are all alike."""
ONE_OF = 6
"""Of accesses that are not aligned one in so many is tried."""

READ, STORE, STORE_NUMBER = (
    assemble(f"r2 = 1\n{access}\nr0 = 1\nexit", license="GPL").instructions
    for access in ("r0 = *(u64 *)(r1 + 0)", "*(u64 *)(r1 + 0) = r2", "*(u64 *)(r1 + 0) = 1")
)


def verdicts(code: Any, at: int, offset: int, size: int, kind: ProgramType, attach: int = 0, **more: Any) -> list[bool]:
    """Return what we say, and the kernel, of a program whose instruction `at` is made an access."""
    instructions = [*code[:at], replace(code[at], offset=offset, size=size), *code[at + 1 :]]
    program = Program(instructions, type=kind, license="GPL")
    try:
        KernelProgram.load(program, expected_attach_type=attach, log_level=4, maps=more.get("made")).close()
        theirs = True
    except LoadError:
        theirs = False
    return [bool(verify(program, attach=attach, maps=more.get("specs"))), theirs]


def places(end: int) -> Iterator[tuple[int, int]]:
    """Yield offsets and sizes of accesses around and within so many bytes."""
    for offset in range(-8, end + 9):
        for size in SIZES:
            if offset % size == 0 or (offset * 7 + size) % ONE_OF == 0:
                yield offset, size


def different(kind: ProgramType, attach: int) -> set[tuple[str, int, int, bool]]:
    """Return the accesses that one side allows: how, offset, size, and whether it is the kernel."""
    found = set()
    for offset, size in places(min(CONTEXTS[kind.name].layout.size, MOST)):
        told = {
            "read": verdicts(READ, 1, offset, size, kind, attach),
            "store": verdicts(STORE, 1, offset, size, kind, attach),
        }
        if any(told["store"]):
            told["store number"] = verdicts(STORE_NUMBER, 1, offset, size, kind, attach)
        found |= {(how, offset, size, theirs) for how, (ours, theirs) in told.items() if ours != theirs}
    return found


@pytest.mark.parametrize("name", sorted(CONTEXTS.keys() - {"TRACEPOINT"}))
def test_contexts(name: str) -> None:
    for attach in ATTACHED.get(name, (0,)):
        assert different(ProgramType[name], attach) == set()


def test_the_context_of_tracepoints() -> None:
    """Linux 6.18 compares a negative offset with an unsigned size, and lets it pass where it is aligned."""
    negative = {("read", offset, size, True) for offset in range(-8, 0) for size in SIZES if offset % size == 0}
    assert different(ProgramType.TRACEPOINT, 0) == negative
    for offset in range(8192 - 8, 8192 + 8):
        for size in SIZES:
            ours, theirs = verdicts(READ, 1, offset, size, ProgramType.TRACEPOINT)
            assert ours is theirs


SOCKET_PROGRAMS = {
    Kind.SOCKET_COMMON: "",
    Kind.SOCKET: "call bpf_sk_fullsock\nif r0 == 0 goto out\nr1 = r0",
    Kind.TCP_SOCKET: "call bpf_tcp_sock\nif r0 == 0 goto out\nr1 = r0",
}


@pytest.mark.parametrize("kind", SOCKET_PROGRAMS, ids=[kind.name for kind in SOCKET_PROGRAMS])
def test_sockets(kind: Kind) -> None:
    text = f"r1 = *(u64 *)(r1 + 168)\nif r1 == 0 goto out\n{SOCKET_PROGRAMS[kind]}\n"
    both = assemble(f"{text}r0 = *(u64 *)(r1 + 0)\nout:\nr0 = 0\nexit").instructions
    stored = assemble(f"{text}*(u64 *)(r1 + 0) = 0\nout:\nr0 = 0\nexit").instructions
    at = len(both) - 3
    allowed = 0
    for offset, size in places(SOCKETS[kind].layout.size):
        ours, theirs = verdicts(both, at, offset, size, ProgramType.SCHED_CLS)
        assert (offset, size, ours) == (offset, size, theirs)
        allowed += ours
    assert allowed >= 10
    for offset, size in [(0, 4), (16, 4), (80, 8)]:
        assert verdicts(stored, at, offset, size, ProgramType.SCHED_CLS) == [False, False]


def test_sockets_of_xdp() -> None:
    spec = MapSpec(MapType.XSKMAP, 4, 4, 4)
    code = assemble("""
        *(u32 *)(r10 - 4) = 0
        r1 = map[id:0]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        r0 = *(u32 *)(r0 + 0)
    out:
        r0 = 0
        exit""").instructions
    with ExitStack() as stack:
        made = stack.enter_context(KernelMap(spec.type, key_size=4, value_size=4, max_entries=4))
        for offset, size in places(SOCKETS[Kind.XDP_SOCKET].layout.size):
            ours, theirs = verdicts(code, 6, offset, size, ProgramType.XDP, made=[made], specs=[spec])
            assert (offset, size, ours) == (offset, size, theirs)
            assert ours is ((offset, size) == (0, 4))
