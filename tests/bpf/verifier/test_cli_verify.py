# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec bpf verify`` and ``verify-corpus``: what they print, for people and machines, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prestocloud_sec.bpf import linux
from tests.bpf.verifier.test_corpus import BAD, GOOD, document, entry
from tests.test_cli import answer, call, refused

BEYOND = "r2 = *(u32 *)(r1 + 0); r0 = *(u8 *)(r2 + 1); exit"
COUNT = (
    "*(u32 *)(r10 - 4) = 0; r1 = map[seen] ll; r2 = r10; r2 += -4; call 1; "
    "if r0 == 0 goto +1; r1 = *(u64 *)(r0 + 0); r0 = 2; exit"
)


class TestVerify:
    def test_accepted(self) -> None:
        done = call("bpf", "verify", "r0 = 0; exit")
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith("accepted: 2 instructions")

    def test_refused(self) -> None:
        done = call("bpf", "verify", BEYOND, "--type", "xdp")
        assert (done.exit_code, done.stderr) == (1, "")
        assert "refused [EACCES]: instruction 1" in done.stdout
        assert "to mend it" in done.stdout
        assert "R2=pkt(r=0)" in done.stdout

    def test_for_machines(self) -> None:
        told = answer("bpf", "verify", "r0 = 0; exit", "--type", "xdp", "--log", "2")
        assert (told["accepted"], told["type"], told["rule"], told["path"]) == (True, "xdp", None, [])
        assert "0: (b7) r0 = 0" in told["log"]
        done = call("bpf", "verify", BEYOND, "--type", "xdp", "--json")
        assert done.exit_code == 1
        told = json.loads(done.stdout)
        assert (told["accepted"], told["rule"], told["errno"], told["slot"]) == (False, "PACKET", "EACCES", 1)

    def test_a_log_as_the_kernel_writes_it(self) -> None:
        lines = call("bpf", "verify", BEYOND, "--type", "xdp", "--log", "1").stdout.splitlines()
        assert lines[0] == "0: R1=ctx() R10=fp0"
        assert lines[2] == "1: (71) r0 = *(u8 *)(r2 +1)"
        assert lines[4].startswith("processed 2 insns (limit 1000000)")

    def test_functions_that_are_judged_by_themselves(self) -> None:
        half = "r1 = 4; call half; exit; half: r0 = r1; r0 >>= 1; exit"
        declared = ("--function", "0=int main(void *ctx)", "--function")
        assert call("bpf", "verify", half, *declared, "half=int half(int of)").exit_code == 0
        done = call(
            "bpf", "verify", half, *declared, "half=int half(struct two *of)", "--structs", "struct two { int a; };"
        )
        assert done.exit_code == 1
        assert "Caller passes invalid args into func#1 ('half')" in done.stdout
        assert call("bpf", "verify", half, *declared, "00000000000000000000003=int half(int of)").exit_code == 0
        assert "half2" in refused(2, "bpf", "verify", half, *declared, "half2=int half(int of)")
        for wrong in ("int half(int of)", "=int half(int of)"):
            assert f"'{wrong}'; expected PLACE=TEXT" in refused(2, "bpf", "verify", half, "--function", wrong)
        twice = ("--function", "0=int f(void)", "--function", "0000000000=int g(void)")
        assert "'0000000000' is there twice" in refused(2, "bpf", "verify", half, *twice)
        assert "--function" in refused(2, "bpf", "verify", half, "--structs", "struct two { int a; };")

    def test_functions_of_the_kernel(self) -> None:
        text = "r1 = r10; r1 += -8; r2 = 0; r3 = 1; call kfunc {}; r1 = r10; r1 += -8; call kfunc {}; r0 = 0; exit"
        assert call("bpf", "verify", text.format("bpf_iter_num_new", "bpf_iter_num_destroy")).exit_code == 0
        numbers = ("--kfunc", "71=bpf_iter_num_new", "--kfunc", "70=bpf_iter_num_destroy")
        assert call("bpf", "verify", text.format(71, 70), *numbers).exit_code == 0
        assert "kfuncs=" in call("bpf", "verify", text.format(71, 70)).stdout
        for wrong in ("new=bpf_iter_num_new", "71", "99999999999=bpf_iter_num_new"):
            told = refused(2, "bpf", "verify", text.format(71, 70), "--kfunc", wrong)
            assert f"'{wrong}'; expected NUMBER=NAME" in told

    def test_processors(self) -> None:
        text = "call 8; r1 = r10; r1 += -8; *(u64 *)(r10 - 8) = 0; r1 += r0; r0 = *(u8 *)(r1 + 0); exit"
        assert call("bpf", "verify", text).exit_code == 1
        assert call("bpf", "verify", text, "--processors", "8").exit_code == 0
        assert call("bpf", "verify", text, "--processors", "9").exit_code == 1

    def test_options(self) -> None:
        assert call("bpf", "verify", COUNT, "--map", "seen=hash,4,8,2").exit_code == 0
        assert call("bpf", "verify", COUNT, "--map", "seen=hash,4,4,2").exit_code == 1
        assert call("bpf", "verify", COUNT).exit_code == 1
        loop = "r0 = 3; r0 += -1; if r0 != 0 goto -2; exit"
        assert call("bpf", "verify", loop).exit_code == 0
        assert "back-edge" in call("bpf", "verify", loop, "--profile", "linux-4.11").stdout
        assert call("bpf", "verify", "r0 = r10; exit").exit_code == 0
        assert call("bpf", "verify", "r0 = r10; exit", "--unprivileged").exit_code == 1
        assert call("bpf", "verify", "r0 = 3; exit", "--type", "cgroup_skb").exit_code == 1
        assert call("bpf", "verify", "r0 = 3; exit", "--type", "cgroup_skb", "--attach", "1").exit_code == 0
        assert call("bpf", "verify", "--classic", "ldh [12]; ret a").exit_code == 0
        assert (
            call("bpf", "verify", BEYOND, "--type", "XDP").stdout
            == call("bpf", "verify", BEYOND, "--type", "xdp").stdout
        )
        long = "r0 = 300; r0 += -1; if r0 != 0 goto -2; exit"
        assert call("bpf", "verify", long).exit_code == 0
        assert "[E2BIG]" in call("bpf", "verify", long, "--limit", "100").stdout
        refused(2, "bpf", "verify", long, "--limit", "0")

    def test_a_witness(self) -> None:
        told = json.loads(call("bpf", "verify", BEYOND, "--type", "xdp", "--witness", "--json").stdout)
        assert told["witness"]["instruction"] == 1

    @pytest.mark.skipif(not linux.available(), reason="bpf(2) is not allowed here")
    def test_beside_the_kernel(self) -> None:
        assert "the running kernel: accepts it (as here)" in call("bpf", "verify", "r0 = 0; exit", "--kernel").stdout
        told = json.loads(call("bpf", "verify", BEYOND, "--type", "xdp", "--kernel", "--json").stdout)
        assert (told["kernel"]["agrees"], told["kernel"]["errno"]) == (True, "EACCES")

    def test_misused(self) -> None:
        refused(2, "bpf", "verify", "r0 = 0; exit", "--type", "raw")
        refused(2, "bpf", "verify", "r0 = 0; exit", "--log", "3")
        refused(2, "bpf", "verify", "r0 = 0; exit", "--profile", "linux-2.6")
        refused(2, "bpf", "verify")
        refused(1, "bpf", "verify", "nonsense")
        refused(1, "bpf", "verify", "ff" * 8)


class TestCorpus:
    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        tests = [
            entry("good", GOOD, "ACCEPT"),
            entry("bad", BAD, "REJECT", "EACCES"),
            entry("too good", GOOD, "REJECT", "EPERM"),
            entry("too bad", BAD, "ACCEPT"),
            entry("skipped", BAD, "SKIP"),
        ]
        path = tmp_path / "corpus.json"
        path.write_text(json.dumps(document(*tests)))
        return str(path)

    def test_for_machines(self, file: str) -> None:
        assert answer("bpf", "verify-corpus", file) == {
            "compared": 4,
            "agree": 2,
            "false_accept": [{"name": "too good", "errno": "EPERM"}],
            "false_reject": [{"name": "too bad"}],
            "witness": {"unsafe": 0, "confirmed": 0},
        }
        assert answer("bpf", "verify-corpus", file, "--witness")["witness"] == {"unsafe": 1, "confirmed": 1}

    def test_for_people(self, file: str) -> None:
        done = call("bpf", "verify-corpus", file, "--witness", "--progress")
        assert done.exit_code == 0
        rows = [line.split("  ") for line in done.stdout.splitlines()]
        assert [(row[0], row[-1].strip()) for row in rows] == [
            ("compared", "4"),
            ("agree", "2"),
            ("accepted, the kernel refuses", "too good [EPERM]"),
            ("refused, the kernel accepts", "too bad"),
            ("witnesses", "1 confirmed of 1"),
        ]
        assert "4/4" in done.stderr

    def test_broken(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken.json"
        broken.write_text('{"tests": [5]}')
        assert "test 0" in refused(1, "bpf", "verify-corpus", str(broken))
        refused(1, "bpf", "verify-corpus", str(tmp_path / "none.json"))
        refused(1, "bpf", "verify-corpus", str(tmp_path))
        refused(2, "bpf", "verify-corpus")
