# SPDX-License-Identifier: Apache-2.0
"""Witnesses: for small programs that are refused, inputs with which the reference interpreter does the damage."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings

from prestocloud_sec.bpf import Program, ProgramType, assemble, verify
from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier import searching
from prestocloud_sec.bpf.verifier.inputs import Inputs, Stage, context_size
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.shadows import Stopped, Violated
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial
from prestocloud_sec.bpf.verifier.watching import Watch
from prestocloud_sec.bpf.verifier.witness import NoWitness, Witness, find_witness
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.testing.bpf_verify import trials

XDP, TC, FILTER = ProgramType.XDP, ProgramType.SCHED_CLS, ProgramType.SOCKET_FILTER
HASH, ARRAY = MapSpec(MapType.HASH, 4, 20, 4), MapSpec(MapType.ARRAY, 4, 16, 4)
LOOKUP = """
    *(u32 *)(r10 - 4) = 1
    r2 = r10
    r2 += -4
    r1 = map[id:0]
    call bpf_map_lookup_elem
"""


def witness(text: str, type_: ProgramType = XDP, maps: list[MapSpec] | None = None) -> Witness | NoWitness:
    program = assemble(text, type=type_)
    verdict = verify(program, maps=maps)
    assert not verdict.accepted
    found = find_witness(program, verdict)
    assert isinstance(found, NoWitness) or found.instruction == verdict.instruction
    return found


def confirmed(text: str, type_: ProgramType = XDP, maps: list[MapSpec] | None = None) -> Witness:
    found = witness(text, type_, maps)
    assert isinstance(found, Witness), found
    assert found.confirmed()
    return found


def test_a_packet_that_is_too_short() -> None:
    found = confirmed("""
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r4 = r2
        r4 += 14
        r0 = 0
        if r4 > r3 goto out
        r0 = *(u8 *)(r2 + 14)
    out:
        exit
    """)
    assert len(found.inputs.packet) == 14
    assert found.fault is not None
    assert (found.fault.kind, found.fault.size) == (FaultKind.READ, 1)
    assert found.replay().fault == found.fault


def test_an_index_out_of_a_value_behind_comparisons() -> None:
    """The index comes from the packet, is changed, compared in 32 bits, and may be one too large."""
    found = confirmed(
        """
        r6 = r1
        r7 = *(u32 *)(r6 + 76)
        r8 = *(u32 *)(r6 + 80)
        r2 = r7
        r2 += 4
        if r2 > r8 goto out
        r7 = *(u32 *)(r7 + 0)
        if w7 < 0x12345678 goto out
        r7 -= 0x12345678
        """
        + LOOKUP
        + """
        if r0 == 0 goto out
        w7 = w7
        if r7 > 20 goto out
        r0 += r7
        r0 = *(u8 *)(r0 + 0)
    out:
        r0 = 0
        exit
        """,
        TC,
        [HASH],
    )
    assert int.from_bytes(found.inputs.packet[:4], "little") == 0x12345678 + 20
    assert [(number, key) for number, key, _ in found.inputs.maps] == [(0, b"\1\0\0\0")]
    assert found.fault is not None
    assert found.fault.region == "values of map 0"


def test_what_a_map_holds_decides() -> None:
    found = confirmed(
        LOOKUP
        + """
        if r0 == 0 goto out
        r3 = *(u64 *)(r0 + 8)
        if r3 != 77 goto out
        r3 = *(u32 *)(r0 + 0)
        r1 = r10
        r1 += r3
        r2 = *(u8 *)(r1 - 8)
    out:
        r0 = 0
        exit
        """,
        FILTER,
        [ARRAY],
    )
    ((_, key, value),) = found.inputs.maps
    assert key == b"\1\0\0\0"
    assert int.from_bytes(value[8:16], "little") == 77
    assert int.from_bytes(value[:4], "little") not in range(-504 & 0xFFFF_FFFF, 8)


def test_a_lookup_that_finds_nothing() -> None:
    found = confirmed(LOOKUP + "r0 = *(u8 *)(r0 + 0)\nexit", FILTER, [HASH])
    assert found.inputs.maps == ()
    assert found.registers[0] == 0
    assert found.fault is not None


def test_a_helper_s_result_decides() -> None:
    found = confirmed("""
        call bpf_get_prandom_u32
        if w0 != 0xC0FFEE goto out
        r1 = r10
        r1 += r0
        r0 = *(u8 *)(r1 + 0)
    out:
        r0 = 0
        exit
    """)
    assert [given & 0xFFFF_FFFF for given in found.inputs.returns] == [0xC0FFEE]
    assert found.replay().fault is not None


def test_a_register_that_holds_nothing_is_seen_though_the_machine_minds_not() -> None:
    found = confirmed("r0 = r3\nexit")
    assert (found.fault, found.rule) == (None, Rule.UNINITIALISED)
    assert found.replay().fault is None
    assert "r3" in found.what


@pytest.mark.parametrize(
    ("text", "type_", "rule"),
    [
        ("r0 = *(u32 *)(r1 + 24)\nexit", XDP, Rule.CONTEXT),
        ("*(u32 *)(r1 + 12) = 0\nr0 = 0\nexit", XDP, Rule.CONTEXT),
        ("r0 = *(u32 *)(r1 + 8)\nr0 = *(u8 *)(r0 + 0)\nexit", XDP, Rule.PACKET),
        ("r0 = 1\nr0 -= r10\nexit", XDP, Rule.POINTER_ARITHMETIC),
        ("r1 *= 2\nr0 = 0\nexit", XDP, Rule.POINTER_ARITHMETIC),
        ("*(u64 *)(r10 - 12) = 0\nr0 = 0\nexit", XDP, Rule.ALIGNMENT),
        ("*(u64 *)(r10 - 520) = 0\nr0 = 0\nexit", XDP, Rule.STACK),
        ("*(u64 *)(r10 + 0) = 0\nr0 = 0\nexit", XDP, Rule.STACK),
        ("r0 = 5\nr0 = *(u8 *)(r0 + 0)\nexit", XDP, Rule.MEMORY),
        ("r1 = 0\nr2 = 0\ncall bpf_map_lookup_elem\nexit", XDP, Rule.ARGUMENT),
        ("exit", XDP, Rule.UNINITIALISED),
    ],
)
def test_a_rule_a_program(text: str, type_: ProgramType, rule: Rule) -> None:
    assert confirmed(text, type_).rule is rule


def test_a_loop_is_followed() -> None:
    found = confirmed("""
        r6 = *(u32 *)(r1 + 12)
        r7 = 0
        r8 = r10
    again:
        r8 += -8
        *(u64 *)(r8 + 0) = 0
        r7 += 1
        if r7 < 70 goto again
        r0 = 0
        exit
    """)
    assert found.registers[7] == 64


def test_functions_and_spilled_pointers_are_followed() -> None:
    found = confirmed("""
        r6 = *(u32 *)(r1 + 0)
        *(u64 *)(r10 - 8) = r6
        r1 = r10
        r1 += -8
        call read
        exit
    read:
        r1 = *(u64 *)(r1 + 0)
        r0 = *(u8 *)(r1 + 0)
        exit
    """)
    assert found.inputs.packet == b""


def test_metadata_is_an_input() -> None:
    found = confirmed("""
        r2 = *(u32 *)(r1 + 8)
        r3 = *(u32 *)(r1 + 0)
        r4 = r2
        r4 += 8
        r0 = 0
        if r4 > r3 goto out
        r0 = *(u8 *)(r2 + 8)
    out:
        exit
    """)
    assert found.inputs.metadata == 8


def test_a_harmless_program_that_only_the_verifier_cannot_follow() -> None:
    found = witness("r1 += 8\nr0 = *(u32 *)(r1 + 4)\nexit")
    assert isinstance(found, NoWitness)
    assert not found
    assert found.complete
    assert json.loads(json.dumps(found.to_json()))["complete"] is True


def test_a_search_that_is_not_complete_says_so() -> None:
    """The product is never odd, which nobody tells the verifier; the search cannot know that it tried everything."""
    found = witness(
        """
        r2 = *(u32 *)(r1 + 12)
        r3 = r2
        r3 += 1
        r3 *= r2
        r3 &= 1
        r0 = 0
        if r3 == 0 goto out
        r0 = *(u8 *)(r10 + 8)
    out:
        exit
        """
    )
    assert isinstance(found, NoWitness)
    assert not found.complete
    assert found.tried > 5


def test_a_program_that_is_refused_as_a_whole_has_none() -> None:
    found = witness("r0 = 0\nexit\nr0 = 1\nexit")
    assert isinstance(found, NoWitness)
    assert found.tried == 0


def test_it_is_told_in_words_in_html_and_in_json() -> None:
    found = confirmed(LOOKUP + "r0 = *(u8 *)(r0 + 0)\nexit", FILTER, [HASH])
    told = json.loads(json.dumps(found.to_json()))
    assert told["fault"] == "READ"
    assert bytes.fromhex(told["packet"]) == found.inputs.packet
    assert "null" in str(found)
    assert repr(found).startswith("<Witness: instruction 6")
    assert "<table>" in found._repr_html_()


def test_verify_looks_for_it_where_asked() -> None:
    verdict = verify(assemble("r0 = r3\nexit", type=XDP), witness=True)
    assert isinstance(verdict.witness, Witness)


def test_misuse() -> None:
    good = assemble("r0 = 0\nexit", type=XDP)
    with pytest.raises(BpfMisuseError):
        find_witness(good, verify(good))
    with pytest.raises(BpfMisuseError):
        find_witness(b"", verify(good))  # type: ignore[arg-type]
    bad = assemble("r0 = r3\nexit", type=XDP)
    with pytest.raises(BpfMisuseError):
        find_witness(bad, verify(bad), runs=0)


# --- The watched run.


def inputs_of(trial: Trial, rng: random.Random) -> tuple[Inputs, dict[object, int]]:
    length = rng.choice((0, 14, 40))
    size = context_size(trial.program)
    values: dict[object, int] = {"length": length}
    values |= {("packet", n): rng.randrange(256) for n in range(length)}
    values |= {("context", n): rng.randrange(256) for n in range(size)}
    values |= {("there", n): rng.randrange(2) for n in range(8)}
    values |= {("return", n): rng.getrandbits(64) for n in range(8)}
    packet = bytes(values["packet", n] for n in range(length))
    return Inputs(packet, bytes(values["context", n] for n in range(size))), values


@given(trials())
@settings(max_examples=150, deadline=None)
def test_nothing_is_held_against_programs_that_are_accepted(trial: Trial) -> None:
    """What the watched run objects to is what the verifier refuses, and nothing else; nor does the machine."""
    try:
        if trial.rule(5_000) is not None:
            return
        stage = Stage(trial.program, trial.specs)
        inputs, values = inputs_of(trial, random.Random(trial.program.to_bytes()))
        run = Watch(stage.machine(inputs), stage, trial.environment(), values)
    except (TooLong, BpfError):
        return
    try:
        run.go()
    except Stopped:
        return
    except (Violated, Trap) as seen:
        pytest.fail(f"{seen!r} in\n{trial}")


@given(trials(mutate=0.6))
@settings(max_examples=60, deadline=None)
def test_every_witness_that_is_found_is_confirmed(trial: Trial) -> None:
    try:
        if trial.rule(5_000) is None:
            return
    except TooLong:
        return
    verdict = trial.judge()
    found = find_witness(trial.program, verdict, runs=40)
    if isinstance(found, Witness):
        assert found.confirmed()
        assert found.instruction == verdict.instruction
        assert (found.fault is None) is (found.replay().fault is None or found.replay().fault != found.fault)


def test_programs_that_cannot_be_run_are_said_to_be_so() -> None:
    unknown = Program.from_bytes(bytes.fromhex("18110000630000000000000000000000b7000000000000009500000000000000"))
    with pytest.raises(BpfError):
        Stage(unknown, {})


def test_a_search_ends_though_each_run_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        r6 = r1
        call bpf_get_prandom_u32
        r8 = r0
        r7 = 0
    again:
        r7 += 1
        if r7 == r8 goto out
        if r7 < 900 goto again
    out:
        r2 = *(u32 *)(r6 + 0)
        if r8 != 12345678 goto end
        r0 = *(u8 *)(r2 + 0)
    end:
        r0 = 1
        exit"""
    program = assemble(text, type=ProgramType.XDP)
    monkeypatch.setattr(searching, "_MOST_STEPS", 5000)
    found = verify(program, witness=True).witness
    assert isinstance(found, NoWitness)
    assert not found.complete
    assert found.tried < 10
