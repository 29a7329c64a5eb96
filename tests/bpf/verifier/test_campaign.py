# SPDX-License-Identifier: Apache-2.0
"""Campaigns: trials as values, smaller programs, comparisons with the running kernel, and going on where one was."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError, MapError
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier import campaign
from prestocloud_sec.bpf.verifier.campaign import Outcome, compare, run_campaign
from prestocloud_sec.bpf.verifier.generator import numbered
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.trials import TooLong, Trial, assembled, cells_of, smaller
from prestocloud_sec.bpf.verifier.verdict import KernelAnswer, Verdict
from prestocloud_sec.testing.bpf_verify import trials
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.test_cli import answer, call

XDP = ProgramType.XDP


def trial(text: str, type_: ProgramType = XDP, maps: tuple[MapSpec, ...] = ()) -> Trial:
    return Trial(assemble(text, type=type_, license="GPL"), 0, maps)


def wrong_kernel(verdict: Verdict, *_: Any, **__: Any) -> KernelAnswer:
    """Answer as a kernel that takes whatever we take, but for programs with a multiplication by 7."""
    program = verdict.program
    assert program is not None
    refuses = not verdict.accepted or "*= 7" in program.disassemble()
    if not refuses:
        return KernelAnswer(True, None, "", "", verdict.accepted)
    return KernelAnswer(False, "EACCES", "R3 is not liked at 12", "", not verdict.accepted)


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "import_module", lambda _: SimpleNamespace(ask=wrong_kernel, possible_cpus=lambda: 2))


class TestTrials:
    @given(trials())
    @settings(max_examples=50, deadline=None)
    def test_json_and_back(self, made: Trial) -> None:
        again = Trial.from_json(json.loads(json.dumps(made.to_json())))
        assert again.program == made.program
        assert (again.type, again.attach, again.used) == (made.type, made.attach, made.used)

    def test_maps_in_maps_go_to_json_too(self) -> None:
        spec = MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 2, inner=MapSpec(MapType.HASH, 8, 24, 3, 1))
        made = trial("r1 = map[id:0]\nr0 = 0\nexit", maps=(spec,))
        assert Trial.from_json(made.to_json()).used == {0: spec}

    @pytest.mark.parametrize(
        "told",
        [
            None,
            [],
            {},
            {"type": "XDP"},
            {"type": "NO", "bytes": "", "maps": {}, "attach": 0},
            {"type": "XDP", "bytes": "zz", "maps": {}, "attach": 0},
            {"type": "XDP", "bytes": "00", "maps": {}, "attach": 0},
            {"type": "XDP", "bytes": "9500000000000000", "maps": {"0": []}, "attach": 0},
            {"type": "XDP", "bytes": "9500000000000000", "maps": {"9999999": ["HASH", 1, 1, 1, 0]}, "attach": 0},
            {"type": "XDP", "bytes": "9500000000000000", "maps": {"-1": ["HASH", 1, 1, 1, 0]}, "attach": 0},
        ],
    )
    def test_what_is_none_is_refused(self, told: Any) -> None:
        with pytest.raises(BpfError):
            Trial.from_json(told)

    def test_it_needs_a_type(self) -> None:
        with pytest.raises(BpfMisuseError):
            Trial(assemble("exit"))

    def test_the_rule_alone_is_what_the_verdict_says(self) -> None:
        for number in range(100):
            made = numbered(4, number)
            verdict = made.judge()
            assert made.rule(1_000_000) is verdict.reason

    def test_a_judgement_can_be_cut_short(self) -> None:
        loop = trial("r1 = 0\nagain:\nr1 += 1\nif r1 < 5000 goto again\nr0 = 0\nexit")
        with pytest.raises(TooLong):
            loop.rule(100)
        assert loop.rule(100_000) is None

    def test_cells_link_to_what_they_came_from(self) -> None:
        for number in range(50):
            program = numbered(5, number).program
            try:
                cells = cells_of(program)
            except BpfError:
                continue
            btf = program.func_info.btf if program.func_info is not None else None
            again = assembled(cells, btf, program.type)
            assert (again, again.func_info) == (program, program.func_info)


class TestSmaller:
    def test_only_what_matters_is_left(self) -> None:
        made = trial("""
            r6 = r1
            r2 = 1
            if r2 == 1 goto there
            r2 *= 9
        there:
            r3 = 5
            r3 *= 7
            r4 = r3
            if r4 > 3 goto out
            r2 = 0
        out:
            r0 = 0
            exit
        """)

        def same(proposal: Trial) -> bool:
            return "*= 7" in proposal.program.disassemble() and proposal.judge().accepted

        found = smaller(made, same)
        assert same(found)
        assert [line.strip() for line in found.program.disassemble().splitlines()] in (
            ["r3 = 5", "r3 *= 7", "r0 = 0", "exit"],
            ["r0 = 0", "r0 *= 7", "exit"],
        )

    def test_the_effort_is_limited(self) -> None:
        asked = 0

        def same(_: Trial) -> bool:
            nonlocal asked
            asked += 1
            return False

        made = trial("r0 = 0\n" * 50 + "exit")
        assert smaller(made, same, most=10) == made
        assert asked == 10
        assert smaller(made, lambda _: True, seconds=0) == made


@pytest.mark.usefixtures("replaced")
class TestCampaign:
    def test_disagreements_are_made_small_and_kept(self) -> None:
        programs = [
            trial("r0 = 0\nexit"),
            trial("r0 = r3\nexit"),
            trial("r1 = 1\nr2 = 3\nr2 *= 7\nr2 += 1\nr0 = 2\nexit"),
            trial("r5 = 1\nr4 = 3\nr4 *= 7\nr0 = 2\nexit"),
        ]
        outcome = run_campaign(Outcome(5), lambda _, number: programs[number], 4)
        assert (outcome.compared, outcome.agree) == (4, 2)
        assert outcome.verdicts == {"accepts / accepts": 1, "refuses / refuses": 1, "accepts / refuses": 2}
        assert outcome.classes == {"only the kernel refuses it: EACCES R is not liked at N": 2}
        assert [case["number"] for case in outcome.cases] == [2, 3]
        for case in outcome.cases:
            kept = Trial.from_json(case)
            assert len(kept.program.instructions) <= 4
            assert "*= 7" in case["text"]
            assert compare(kept)[1] == case["class"]

    def test_it_can_be_gone_on_with(self) -> None:
        whole = run_campaign(Outcome(6), numbered, 60, minimise=False)
        half = run_campaign(Outcome(6), numbered, 25, minimise=False)
        half = Outcome.from_json(json.loads(json.dumps(half.to_json())))
        half = run_campaign(half, numbered, 60, minimise=False)
        whole.seconds = half.seconds = 0
        assert half == whole

    def test_it_stops_after_so_long_and_reports(self) -> None:
        seen: list[int] = []
        run_campaign(Outcome(6), numbered, 1000, seconds=0, report=lambda o: seen.append(o.compared))
        assert seen == [1]

    def test_what_takes_too_long_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(campaign, "_MOST_PROCESSED", 10)
        loop = trial("r1 = 0\nagain:\nr1 += 1\nif r1 < 100 goto again\nr0 = 0\nexit")
        outcome = run_campaign(Outcome(), lambda _, __: loop, 1)
        assert (outcome.compared, outcome.agree, sum(outcome.failed.values())) == (1, 0, 1)

    def test_maps_that_a_kernel_does_not_make(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> KernelAnswer:
            raise MapError(1, "no such map", where="HASH")

        monkeypatch.setattr(campaign, "import_module", lambda _: SimpleNamespace(ask=refuse, possible_cpus=lambda: 2))
        outcome = run_campaign(Outcome(), numbered, 3)
        assert (outcome.agree, sum(outcome.failed.values())) == (0, 3)

    @pytest.mark.parametrize("told", [None, {}, {"seed": 1}, {**Outcome().to_json(), "cases": 3}])
    def test_what_is_no_outcome(self, told: Any) -> None:
        with pytest.raises(BpfError):
            Outcome.from_json(told)

    def test_misuse(self) -> None:
        with pytest.raises(BpfMisuseError):
            run_campaign(None, numbered, 3)  # type: ignore[arg-type]
        with pytest.raises(BpfMisuseError):
            run_campaign(Outcome(), numbered, -3)


@as_recorded
@needs_kernel
class TestRunningKernel:
    def test_generated_programs(self) -> None:
        outcome = run_campaign(Outcome(100), numbered, 300, minimise=False)
        compared = outcome.compared - sum(outcome.failed.values())
        assert outcome.agree / compared >= 0.97
        assert 0.3 < outcome.refused_share < 0.7
        assert not outcome.verdicts["accepts / refuses"] or all("E2BIG" in told for told in outcome.classes)

    def test_the_command(self, tmp_path: Path) -> None:
        state = tmp_path / "state.json"
        told = answer("bpf", "verify-campaign", "--programs", "20", "--seed", "3", "--state", str(state))
        assert told["compared"] == 20
        assert json.loads(state.read_text()) == told
        done = call("bpf", "verify-campaign", "--programs", "40", "--state", str(state), "--progress")
        assert "of 40" in done.stderr or done.stderr.isspace()
        assert json.loads(state.read_text())["compared"] == 40
        assert json.loads(state.read_text())["seed"] == 3

    @pytest.mark.parametrize("content", ["", "[]", "{", '{"seed": 1}'])
    def test_a_file_that_no_campaign_wrote(self, tmp_path: Path, content: str) -> None:
        state = tmp_path / "state.json"
        state.write_text(content)
        done = call("bpf", "verify-campaign", "--programs", "1", "--state", str(state))
        assert done.exit_code == 1
        assert state.read_text() == content
        assert "Traceback" not in done.stderr


def test_a_rule_that_is_broken_is_named() -> None:
    assert trial("r0 = r3\nexit").rule(100) is Rule.UNINITIALISED
