# SPDX-License-Identifier: Apache-2.0
"""Accepted programs that once faulted in a campaign.

Reads of a map's own description are counted apart: there is nothing here that could be read.
"""

from __future__ import annotations

import random

import pytest

from prestocloud_sec.bpf import assemble, verify
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.hazards import may_crash_linux
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.trials import Trial
from prestocloud_sec.errors import UnavailableError
from prestocloud_sec.testing.bpf_soundness import check
from tests.bpf.linux.kernel import as_recorded, needs_kernel

ONE_VALUE = MapSpec(MapType.ARRAY, 4, 8, 1)
CASES = {
    # what a lookup in an array of maps gives is a map: its description may be read, and nothing else is there
    "a map's description": (
        ProgramType.CGROUP_SYSCTL,
        MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 2, inner=ONE_VALUE),
        "*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\nr1 = map[id:0]\ncall bpf_map_lookup_elem\n"
        "if r0 == 0 goto +1\nr5 = *(u64 *)(r0 + 0)\nr0 = 0\nexit",
        {"value", "read of a map's own description"},
    ),
    # an array has what a constant key names, so that nobody has to test for null
    "a constant key": (
        ProgramType.XDP,
        MapSpec(MapType.ARRAY, 4, 16, 2, MapFlag.WRONLY_PROG),
        "*(u32 *)(r10 - 40) = 0\nr2 = r10\nr2 += -40\nr1 = map[id:0]\ncall bpf_map_lookup_elem\n"
        "if r0 != 0 goto +0\n*(u64 *)(r0 + 7) = 0\nr0 = 1\nexit",
        {"value"},
    ),
    "a constant key, and a register of nought": (
        ProgramType.SK_LOOKUP,
        MapSpec(MapType.ARRAY, 4, 16, 2, MapFlag.WRONLY_PROG),
        "*(u32 *)(r10 - 24) = 1\nr2 = r10\nr2 += -24\nr1 = map[id:0]\ncall bpf_map_lookup_elem\nr9 = r0\nr5 = 0\n"
        "if r0 == r5 goto +1\nr9 += 6\n*(u32 *)(r9 + 1) = 2048\nr0 = 0\nexit",
        {"value"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_accepted_runs(name: str) -> None:
    kind, spec, text, ends = CASES[name]
    attach = 36 if kind is ProgramType.SK_LOOKUP else 0
    case = Trial(assemble(text, type=kind, license="GPL"), attach, (spec,))
    assert case.judge().accepted, case.judge()
    found = check(case, random.Random(7), runs=20)
    plain = {end: count for end, count in found.items() if not end.startswith("watched")}
    assert set(plain) <= ends, found
    assert sum(plain.values()) == 20


@pytest.mark.parametrize(
    ("kind", "key", "flags", "allowed"),
    [
        (MapType.HASH, 4, 0, True),
        (MapType.ARRAY, 4, 0, True),
        (MapType.PERCPU_HASH, 4, 0, True),
        (MapType.PERCPU_ARRAY, 4, 0, True),
        (MapType.LRU_HASH, 4, 0, True),
        (MapType.LRU_PERCPU_HASH, 4, 0, True),
        (MapType.LPM_TRIE, 8, MapFlag.NO_PREALLOC, False),
    ],
)
def test_only_arrays_and_hashes_are_gone_through(kind: MapType, key: int, flags: MapFlag, *, allowed: bool) -> None:
    # each as Linux 6.18 judged it
    text = (
        "r1 = map[id:0]\nr2 = subprog[+7]\nr3 = r10\nr3 += -32\nr4 = 0\n"
        "call bpf_for_each_map_elem#164\nr0 = 0\nexit\nr0 = 0\nexit"
    )
    program = assemble(text, type=ProgramType.XDP, license="GPL")
    assert Trial(program, 0, (MapSpec(kind, key, 8, 4, flags),)).judge().accepted is allowed


@pytest.mark.parametrize(
    "store",
    [
        "*(u32 *)(r10 - 4) = r6",
        "*(u32 *)(r10 - 4) = 0\n*(u8 *)(r10 - 3) = r6",
        "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += r7\n*(u8 *)(r2 - 8) = r6",
    ],
)
def test_a_zero_that_is_kept_as_bytes_matters(store: str) -> None:
    # the way with a zero is gone first: that another number is stored there, too, must not be taken for covered
    program = assemble(
        f"""
        call bpf_get_prandom_u32
        r7 = r0
        r7 &= 7
        r6 = r0
        r6 &= 255
        if r0 == 5 goto other
        r6 = 0
    other:
        call bpf_get_prandom_u32
        if r0 == 6 goto both
    both:
        {store}
        r1 = *(u32 *)(r10 - 4)
        r2 = r10
        r2 += -16
        *(u64 *)(r10 - 16) = 0
        r2 += r1
        *(u8 *)(r2 + 0) = 1
        r0 = 0
        exit""",
        type=ProgramType.XDP,
    )
    assert Trial(program, 0, ()).judge().errno == "EACCES"


def test_part_of_an_address_may_be_extended_by_privileged_programs() -> None:
    # as Linux 6.18 judges it: what comes out is some number
    case = Trial(assemble("r7 = (s8)r1\nw8 = (s8)w1\nr0 = 0\nexit", type=ProgramType.XDP, license="GPL"), 0, ())
    assert case.judge().accepted
    assert set(check(case, random.Random(1), runs=3)) == {"value", "watched"}


@pytest.mark.parametrize("protocol", [0x81, 0x10081, 0xFFFF_A888, 0xFFFF_FFFF])
@pytest.mark.parametrize("call", ["skb_vlan_pop", "skb_vlan_push"])
def test_a_protocol_of_more_than_16_bits(call: str, protocol: int) -> None:
    # a context holds what its user wrote into it: a number of 32 bits, of which the packet's protocol has 16
    program = assemble(
        f"r6 = r1\nr2 = 129\nr3 = 7\ncall bpf_{call}\nr0 = 0\nexit", type=ProgramType.SCHED_CLS, license="GPL"
    )
    context = bytearray(192)
    for offset in (16, 24, 28):  # protocol, vlan_tci, vlan_proto
        context[offset : offset + 4] = protocol.to_bytes(4, "little")
    for present in (0, 1):
        context[20] = present
        for engine in ("reference", "interpreter", "compiled"):
            assert program.run(bytes(64), ctx=bytes(context), engine=engine).fault is None


# --- Ways that were given up for others that do not say the same. The kernel refuses all but the two that are named.

_APART = "r8 = 0\n" * 9 + "goto +0\n" * 3
"""What lies between states that are kept."""
GIVEN_UP = {
    # the second way ends where it comes into `next`: what `f` reads of its caller has to be known by then
    "a way that ends in a called function": f"""
        call bpf_get_prandom_u32
        if r0 == 7 goto big
        *(u64 *)(r10 - 16) = 0
        goto both
    big:
        *(u64 *)(r10 - 16) = 1000
    both:
        {_APART}
        *(u64 *)(r10 - 8) = 0
        call bpf_get_prandom_u32
        r1 = r10
        r1 += -8
        if r0 == 5 goto second
        goto callit
    second:
        r1 = r10
        r1 += -16
        goto callit
    callit:
        call f
        r0 = 0
        exit
    f:
        r2 = *(u64 *)(r1 + 0)
        r1 = 0
        {_APART}
        goto next
    next:
        r3 = r10
        r3 += -8
        r3 += r2
        *(u64 *)(r10 - 8) = 0
        r0 = *(u8 *)(r3 + 0)
        exit""",
    # r3 goes into the call again, though nothing reads it in the function that is called
    "the context of a callback": f"""
        *(u64 *)(r10 - 64) = 0
        *(u64 *)(r10 - 48) = 0
        r1 = r10
        r1 += -48
        *(u64 *)(r10 - 56) = r1
        *(u64 *)(r10 - 40) = r1
        call bpf_get_prandom_u32
        r6 = r10
        r6 += -64
        if r0 == 7 goto big
        goto both
    big:
        r6 = r10
        r6 += -48
    both:
        r1 = 100
        r2 = subprog[+7]
        r3 = r6
        r4 = 0
        r6 = 0
        call bpf_loop
        r0 = 0
        exit
        r3 = *(u64 *)(r2 + 0)
        r5 = *(u64 *)(r2 + 8)
        r4 = r10
        r4 += -8
        r4 += r3
        *(u64 *)(r10 - 8) = 0
        r0 = *(u8 *)(r4 + 0)
        r2 = 0
        r1 = 0
        r3 = 0
        r4 = 0
        r0 = 0
        {_APART}
        *(u64 *)(r5 + 0) = 1000
        r0 = 0
        exit""",
    # one turn, or a hundred; Linux 6.18.44 takes it
    "how many turns there are": f"""
        call bpf_get_prandom_u32
        r6 = 1
        if r0 == 7 goto big
        goto both
    big:
        r6 = 100
    both:
        *(u64 *)(r10 - 8) = 0
        r1 = r6
        r2 = subprog[+8]
        r3 = r10
        r3 += -8
        r4 = 0
        r6 = 0
        call bpf_loop
        r0 = 0
        exit
        {_APART}
        r3 = *(u64 *)(r2 + 0)
        r4 = r10
        r4 += -8
        r4 += r3
        *(u64 *)(r10 - 8) = 0
        r0 = *(u8 *)(r4 + 0)
        *(u64 *)(r2 + 0) = 1000
        r0 = 0
        exit""",
    "a zero over a part of a zero, at a place that varies": f"""
        r0 = *(u32 *)(r1 + 0)
        r7 = r0
        r7 &= 4
        r6 = 0
        if r0 == 77 goto big
        goto both
    big:
        r6 = 100000
    both:
        *(u32 *)(r10 - 8) = r6
        r6 = 0
        r0 = 0
        {_APART}
        r2 = r10
        r2 += r7
        r7 = 0
        r8 = 0
        *(u32 *)(r2 - 8) = r8
        r3 = *(u32 *)(r10 - 8)
        r4 = r10
        r4 += -16
        r4 += r3
        *(u64 *)(r10 - 16) = 0
        r0 = *(u8 *)(r4 + 0)
        exit""",
    # a number that is no null; Linux 6.18.44 takes it
    "a null that stands for no pointer": f"""
        r0 = *(u32 *)(r1 + 0)
        r6 = 0
        if r0 == 77 goto big
        goto both
    big:
        r6 = 1000
    both:
        r0 = 0
        {_APART}
        r1 = 3
        r2 = subprog[+6]
        r3 = r6
        r4 = 0
        call bpf_loop
        r0 = 0
        exit
        r3 = r10
        r3 += -8
        r3 += r2
        *(u64 *)(r10 - 8) = 0
        r0 = *(u8 *)(r3 + 0)
        r0 = 0
        exit""",
    # r7 is a copy of r6, of which a comparison with r8 tells: r8 is needed, too
    "what a copy was compared with": f"""
        call bpf_get_prandom_u32
        r9 = r0
        r8 = 100000
        r9 &= 1
        if r9 == 1 goto there
        r8 = 10
    there:
        r9 = 0
        call bpf_get_prandom_u32
        r6 = r0
        r7 = r6
        {_APART.replace("r8", "r5")}
        if r6 < r8 goto ok
        r0 = 0
        exit
    ok:
        r6 = 0
        r2 = r10
        r2 += r7
        *(u8 *)(r2 - 64) = 1
        r0 = 0
        exit""",
    "no bytes from where the stack ends": """
        r1 = r10
        r2 = 0
        r3 = r10
        r3 += -8
        r4 = 8
        r5 = 0
        call bpf_csum_diff
        r0 = 0
        exit""",
    "an address as the number of turns": """
        r1 = r10
        r2 = subprog[+6]
        r3 = r10
        r4 = 0
        call bpf_loop
        r0 = 1
        exit
        *(u16 *)(r2 + 9) = 7
        r0 = 0
        exit""",
}
TAKEN_BY_LINUX = {"how many turns there are", "a null that stands for no pointer"}


@pytest.mark.parametrize("name", GIVEN_UP)
def test_no_way_is_given_up_for_another_that_says_less(name: str) -> None:
    program = assemble(GIVEN_UP[name], type=ProgramType.SCHED_CLS, license="GPL")
    assert not verify(program)


def test_a_long_way_without_branches_is_not_gone_back_over_again_and_again() -> None:
    # what an access needs was asked for at the one before: 10,000 of them took minutes
    turns = 10_000
    text = "call bpf_get_prandom_u32\nr7 = r0\nr7 &= 7\n" + "r2 = r10\nr2 += r7\n*(u8 *)(r2 - 64) = 1\n" * turns
    verdict = verify(assemble(text + "r0 = 0\nexit", type=ProgramType.SCHED_CLS, license="GPL"))
    assert verdict
    assert verdict.processed == 3 * turns + 5


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", GIVEN_UP)
def test_what_the_kernel_makes_of_them(name: str) -> None:
    program = assemble(GIVEN_UP[name], type=ProgramType.SCHED_CLS, license="GPL")
    answer = verify(program, compare_with_kernel=True).kernel
    assert answer is not None
    assert answer.accepted is (name in TAKEN_BY_LINUX), answer


def test_bytes_that_were_not_written_are_not_read_by_the_unprivileged() -> None:
    text = f"""
        r0 = *(u32 *)(r1 + 0)
        if r0 == 77 goto +1
        *(u64 *)(r10 - 8) = r0
        r0 = 0
        {_APART}
        r0 = *(u64 *)(r10 - 8)
        exit"""
    program = assemble(text, type=ProgramType.SOCKET_FILTER, license="GPL")
    assert verify(program)
    assert verify(program, privileged=False).reason is Rule.UNINITIALISED


@pytest.mark.parametrize(
    ("call", "size"),
    [
        ("tcp_raw_gen_syncookie_ipv4", 20),
        ("tcp_raw_gen_syncookie_ipv6", 40),
        ("tcp_raw_check_syncookie_ipv4", 20),
        ("tcp_raw_check_syncookie_ipv6", 40),
    ],
)
def test_headers_that_helpers_read_lie_in_the_frame(call: str, size: int) -> None:
    for place, accepted in ((size, True), (size - 1, False)):
        text = f"r1 = r10\nr1 += -{place}\nr2 = r10\nr2 += -20\nr3 = 20\ncall bpf_{call}\nr0 = 0\nexit"
        assert bool(verify(assemble(text, type=ProgramType.XDP, license="GPL"))) is accepted


@pytest.mark.parametrize("call", ["dynptr_read", "dynptr_from_mem", "ringbuf_submit_dynptr", "dynptr_data"])
def test_dynptrs_are_refused_by_name(call: str) -> None:
    text = "".join(f"r{n} = r10\nr{n} += -32\n" for n in (1, 3, 4)) + f"r2 = 8\nr5 = 0\ncall bpf_{call}\nr0 = 0\nexit"
    refused = verify(assemble(text, type=ProgramType.XDP, license="GPL"))
    assert not refused
    assert refused.errno in {"EINVAL", "EACCES"}


def test_what_was_given_back_is_a_number_to_the_privileged() -> None:
    # as Linux 6.18 judges it; the watched run had it that nothing was there any more
    text = """
        r1 = map[id:0]
        r2 = 8
        r3 = 0
        call bpf_ringbuf_reserve
        if r0 == 0 goto +6
        r9 = r0
        *(u64 *)(r10 - 8) = r9
        r1 = r9
        r2 = 0
        call bpf_ringbuf_discard
        r9 &= 3
        r0 = 0
        exit"""
    program = assemble(text, type=ProgramType.SCHED_CLS, license="GPL")
    case = Trial(program, 0, (MapSpec(MapType.RINGBUF, 0, 0, 4096),))
    assert case.judge().accepted
    assert set(check(case, random.Random(1), runs=3)) == {"value", "watched"}


def test_an_address_that_an_atomic_operation_fetches_is_one() -> None:
    # as Linux 6.18 judges it; the watched run had it that a number came out
    text = """
        r6 = r1
        r7 = *(u32 *)(r6 + 64)
        *(u64 *)(r10 - 32) = r6
        r7 = atomic_fetch_or((u64 *)(r10 - 32), r7)
        r0 = *(u32 *)(r7 + 0)
        r0 = 1
        exit"""
    case = Trial(assemble(text, type=ProgramType.SOCK_OPS, license="GPL"), 0, ())
    assert case.judge().accepted
    assert set(check(case, random.Random(1), runs=3)) == {"value", "watched"}


# --- What an attack on iterators and functions found. What Linux 6.18.44 answered is written by hand: a static function
# that may end at a load of a packet's word is not loaded again (see prestocloud_sec.bpf.verifier.hazards).

MAKES = "r1 = r10\nr1 += -8\nr2 = 0\nr3 = 9\ncall kfunc bpf_iter_num_new\n"
ENDS = "r1 = r10\nr1 += -8\ncall kfunc bpf_iter_num_destroy\n"


@pytest.mark.parametrize(
    "last", ["r0 = *(u8 *)skb[4]", "r2 = map[id:0]\nr3 = 0\ncall bpf_tail_call"], ids=["load", "tail call"]
)
def test_what_is_held_may_be_held_where_a_function_ends_that_was_called(last: str) -> None:
    text = f"r7 = r1\n{MAKES}r1 = r7\ncall f\n{ENDS}r0 = 0\nexit\nf:\nr6 = r1\n{last}\nr0 = 0\nexit"
    program = assemble(text, type=ProgramType.SCHED_CLS, license="GPL")
    program = program.declaring({0: "int main(void *ctx)", "f": "static int f(void *ctx)"})
    programs = [MapSpec(MapType.PROG_ARRAY, 4, 4, 1)]
    assert verify(program, maps=programs)
    held = assemble(f"r6 = r1\n{MAKES}r1 = r6\n{last}\n{ENDS}r0 = 0\nexit", type=ProgramType.SCHED_CLS, license="GPL")
    assert verify(held, maps=programs).reason is Rule.REFERENCE


def test_functions_that_are_loaded_with_btf_may_end_so() -> None:
    # an address is taken, so that the program is loaded with BTF, which says that each function returns a number
    text = "r0 = 0\nr2 = h ll\nexit\nh:\nr2 = map[id:0]\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit"
    program = assemble(text, type=ProgramType.XDP, license="GPL")
    assert verify(program, maps=[MapSpec(MapType.PROG_ARRAY, 4, 4, 1)])


def test_a_class_is_asked_for_without_the_context() -> None:
    # the watched run had it that the helper takes one in every type
    text = "r6 = r1\ncall bpf_get_prandom_u32\ncall bpf_get_cgroup_classid\nr0 &= 1\nexit"
    case = Trial(assemble(text, type=ProgramType.CGROUP_SKB, license="GPL"), 0, ())
    assert case.judge().accepted
    assert set(check(case, random.Random(1), runs=3)) == {"value", "watched"}


@pytest.mark.parametrize("named", [True, False])
def test_witnesses_of_programs_whose_type_is_said_apart(named: bool) -> None:
    text = MAKES + "r0 = 0\nexit"
    if named:
        found = verify(assemble(text), type="xdp", witness=True)
    else:
        numbers = assemble(text.replace("bpf_iter_num_new", "64233")).to_bytes()
        found = verify(numbers, type="xdp", witness=True, kfuncs={64233: "bpf_iter_num_new"})
    assert found.reason is Rule.REFERENCE
    assert found.witness is not None
    assert found.witness.confirmed()


def test_what_can_crash_linux_is_not_asked() -> None:
    load = assemble("call f\nr0 = 0\nexit\nf:\nr6 = r1\nr0 = *(u8 *)skb[4]\nexit", type=ProgramType.SCHED_CLS)
    main = "int main(struct __sk_buff *s)"
    static = load.declaring({0: main, "f": "static int f(struct __sk_buff *s)"})
    told = load.declaring({0: main, "f": "int f(struct __sk_buff *s)"})
    assert [may_crash_linux(program) for program in (static, told, load)] == [True, False, False]
    address = "r2 = f ll\nr1 = 1\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\nf:\nr6 = r1\nr0 = *(u8 *)skb[4]\nexit"
    assert may_crash_linux(assemble(address, type=ProgramType.SCHED_CLS))


@needs_kernel
def test_it_says_so() -> None:
    load = assemble("call f\nr0 = 0\nexit\nf:\nr6 = r1\nr0 = *(u8 *)skb[4]\nexit", type=ProgramType.SCHED_CLS)
    static = load.declaring({0: "int main(struct __sk_buff *s)", "f": "static int f(struct __sk_buff *s)"})
    with pytest.raises(UnavailableError, match="can crash"):
        verify(static, compare_with_kernel=True)
