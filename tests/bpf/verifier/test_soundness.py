# SPDX-License-Identifier: Apache-2.0
"""What the verifier accepts does not fault; and a verifier that accepted too much would be found out."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.trials import Trial
from prestocloud_sec.testing import bpf_soundness
from prestocloud_sec.testing.bpf_soundness import Outcome, check, main, run_campaign

ARRAY = MapSpec(MapType.ARRAY, 4, 16, 4)
LOOKUP = "*(u32 *)(r10 - 4) = 1\nr2 = r10\nr2 += -4\nr1 = map[id:0]\ncall bpf_map_lookup_elem\n"


def trial(text: str) -> Trial:
    return Trial(assemble(text, type=ProgramType.XDP, license="GPL"), 0, (ARRAY,))


def test_accepted_programs_do_not_fault() -> None:
    outcome = run_campaign(Outcome(2), 150)
    assert outcome.accepted == 150
    assert outcome.faults == []
    assert outcome.runs == 7 * 150
    assert 0.3 < outcome.to_json()["refused_share"] < 0.7


@pytest.mark.parametrize(
    "text",
    [
        "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 20)\nexit",
        "call bpf_get_prandom_u32\nr1 = r10\nr1 += r0\nr0 = *(u8 *)(r1 - 8)\nexit",
        LOOKUP + "if r0 == 0 goto +1\nr0 = *(u8 *)(r0 + 16)\nexit",
        LOOKUP + "if r0 == 0 goto +2\nr1 = *(u8 *)(r0 + 0)\nr0 += r1\nr0 = *(u8 *)(r0 + 0)\nexit",
        "r0 = r7\nexit",
    ],
)
def test_a_program_that_is_not_safe_is_found_out(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial(text)
    assert made.rule(1000) is not None
    ends = check(made, random.Random(1), runs=20)
    assert any(end.startswith("!") for end in ends)

    monkeypatch.setattr(bpf_soundness, "generate", lambda _: made)
    monkeypatch.setattr(Trial, "rule", lambda *_: None)
    outcome = run_campaign(Outcome(3), 20)
    assert outcome.faults
    assert outcome.faults[0]["bytes"] == made.program.to_bytes().hex()


@pytest.mark.parametrize(
    ("offset", "body"),
    [
        (-23, "r0 = *(u64 *)(r1 + 0)\n*(u64 *)(r1 + 8) = r0"),  # memory need not be aligned
        (-24, "r0 = *(u32 *)(r1 + 4)"),  # of an address that was kept there, which is a number in the function
    ],
)
def test_memory_of_a_function_that_is_judged_by_itself(offset: int, body: str) -> None:
    text = f"*(u64 *)(r10 - 24) = r1\nr1 = r10\nr1 += {offset}\ncall f\nr0 = 0\nexit\nf:\n{body}\nr0 = 0\nexit"
    program = assemble(text, type=ProgramType.XDP, license="GPL").declaring(
        {0: "int main(struct xdp_md *ctx)", "f": "int f(struct pair *p __arg_nonnull)"},
        structs="struct pair { u64 a, b; };",
    )
    accepted = Trial(program)
    assert accepted.judge()
    ends = check(accepted, random.Random(1))
    assert (ends["watched"], ends["value"]) == (1, 6)


def test_a_bug_of_the_verifier_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Trial, "rule", crash)
    outcome = run_campaign(Outcome(3), 1, seconds=0)
    assert outcome.skipped == {"verifier: ZeroDivisionError": 1}
    assert outcome.faults[0]["number"] == 0


def test_it_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state.json"
    assert main(["--accepted", "10", "--seed", "4", "--state", str(state)]) == 0
    assert main(["--accepted", "30", "--state", str(state)]) == 0
    capsys.readouterr()
    told = json.loads(state.read_text())
    whole = run_campaign(Outcome(4), 30).to_json()
    for outcome in (told, whole):
        del outcome["seconds"]
    assert told == whole
