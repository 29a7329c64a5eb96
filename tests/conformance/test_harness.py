# SPDX-License-Identifier: Apache-2.0
"""The conformance run itself: it must fail where it should, and count right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.harness import REPOSITORY, Folder, case_names, summary, walk
from tests.conformance.table import TABLE, Row

ADDRESSES = REPOSITORY / "tests" / "vectors" / "cjdns" / "address.json"


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Run the conformance tests on `folder` as a user does; return the exit code and what was printed."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("tests/conformance/test_vectors.py", f"--vectors={folder}", *options),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def write(folder: Path, path: str, document: Any) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return file


@pytest.fixture
def addresses() -> dict[str, Any]:
    """Return a few real cases, small enough to change and to run again."""
    document = json.loads(ADDRESSES.read_bytes())
    document["cases"] = document["cases"][:4]
    return document


def examine(folder: Path) -> Folder:
    return Folder(folder, {})


def faults(folder: Path) -> dict[str, str]:
    return {r.path: r.fault for r in examine(folder).files if r.fault is not None}


class TestRuns:
    def test_good_cases_pass_and_are_counted(self, tmp_path: Path, addresses: dict[str, Any]) -> None:
        write(tmp_path, "cjdns/address.json", addresses)
        write(tmp_path, "cjdns/README.md", "not a case")
        code, output = run(tmp_path)
        assert code == 0, output
        assert "\nconformance cjdns/address.json 4 4\n" in output
        assert "1 of 3 families" in output

    def test_a_changed_value_fails_alone(self, tmp_path: Path, addresses: dict[str, Any]) -> None:
        addresses["cases"][2]["prefix"] = "00000000"
        write(tmp_path, "cjdns/address.json", addresses)
        code, output = run(tmp_path)
        assert code == 1, output
        assert "\nconformance cjdns/address.json 4 3\n" in output
        assert f"cjdns/address.json::{addresses['cases'][2]['id']}" in output

    def test_a_selection_counts_what_it_compared(self, tmp_path: Path, addresses: dict[str, Any]) -> None:
        for case, name in zip(addresses["cases"], ("one", "two", "three", "four"), strict=True):
            case["id"] = name
        write(tmp_path, "cjdns/address.json", addresses)
        code, output = run(tmp_path, "-k", "two or three")
        assert code == 0, output
        assert "\nconformance cjdns/address.json 2 2\n" in output

    def test_an_unknown_operation_fails(self, tmp_path: Path) -> None:
        case = {"id": 0, "op": "no_such_op", "text": "a", "ret": 0}
        write(tmp_path, "cjdns/text_parse.json", {"cases": [case]})
        code, output = run(tmp_path)
        assert code == 1, output
        assert "\nconformance cjdns/text_parse.json 1 0\n" in output

    def test_an_unknown_file_fails_though_all_else_passes(self, tmp_path: Path, addresses: dict[str, Any]) -> None:
        write(tmp_path, "cjdns/address.json", addresses)
        write(tmp_path, "tpm/surprise.json", {"cases": []})
        code, output = run(tmp_path)
        assert code == 1, output
        assert "tpm/surprise.json unknown file" in output
        assert "\nconformance cjdns/address.json 4 4\n" in output
        assert "\nconformance tpm/surprise.json 1 0\n" in output

    @pytest.mark.parametrize("name", [".", "missing"])
    def test_nothing_to_compare_fails(self, tmp_path: Path, name: str) -> None:
        code, output = run(tmp_path / name)
        assert code == 1, output
        assert "holds no vectors" in output or "is not a directory" in output

    def test_malformed_json_is_a_failure_not_a_crash(self, tmp_path: Path) -> None:
        write(tmp_path, "cjdns/address.json", '{"cases": [')
        code, output = run(tmp_path)
        assert code == 1, output
        assert "cjdns/address.json cannot be read" in output
        assert "Traceback" not in output
        assert "INTERNALERROR" not in output

    def test_linked_families_work(self, tmp_path: Path, addresses: dict[str, Any]) -> None:
        write(tmp_path / "elsewhere", "address.json", addresses)
        (tmp_path / "vectors").mkdir()
        (tmp_path / "vectors" / "cjdns").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        code, output = run(tmp_path / "vectors")
        assert code == 0, output
        assert "\nconformance cjdns/address.json 4 4\n" in output


class TestFolders:
    """What a directory of vectors is taken for, without running pytest again."""

    def test_later_families_are_reported_and_are_no_failure(self, tmp_path: Path) -> None:
        later = [path for path, row in TABLE.items() if row.family is None]
        for path in later:
            write(tmp_path, path, [] if path.startswith("tpm/") else {"tests": []})
        folder = examine(tmp_path)
        assert faults(tmp_path) == {}
        lines = list(summary([folder]))
        for path in later:
            assert f"conformance {path} later" in lines

    def test_files_an_index_refers_to_are_not_cases(self, tmp_path: Path) -> None:
        write(tmp_path, "bpf/conformance/index.json", {"tests": [{"name": "add.data"}]})
        write(tmp_path, "bpf/conformance/add.data", "x")
        write(tmp_path, "bpf/conformance/extra.data", "x")
        write(tmp_path, "bpf/elf/index.json", {"tests": [{"object": "obj/a.o", "source": "src/a.c"}]})
        for path in ("obj/a.o", "src/a.c", "src/common.h"):
            write(tmp_path, f"bpf/elf/{path}", "x")
        write(tmp_path, "tpm/eventlogs.json", [{"file": "one.bin"}])
        write(tmp_path, "tpm/eventlogs/one.bin", "x")
        write(tmp_path, "tpm/eventlogs/two.bin", "x")
        assert set(faults(tmp_path)) == {"bpf/conformance/extra.data", "tpm/eventlogs/two.bin"}

    def test_an_index_that_is_none_is_a_fault(self, tmp_path: Path) -> None:
        write(tmp_path, "bpf/elf/index.json", [1, 2])
        write(tmp_path, "tpm/eventlogs.json", "nonsense")
        assert set(faults(tmp_path)) == {"bpf/elf/index.json", "tpm/eventlogs.json"}

    @pytest.mark.parametrize(
        "document",
        [[], {}, {"cases": None}, {"cases": []}, {"cases": {}}, {"cases": [1]}, "1", "", "[" * 200_000],
        ids=["list", "no cases", "null", "empty", "object", "number in it", "number", "nothing", "deep"],
    )
    def test_files_without_cases_are_faults(self, tmp_path: Path, document: Any) -> None:
        write(tmp_path, "cjdns/address.json", document)
        assert set(faults(tmp_path)) == {"cjdns/address.json"}

    def test_strangers_are_faults_wherever_they_are(self, tmp_path: Path) -> None:
        strangers = ["stray.json", "other/address.json", "cjdns/deep/address.json", "cjdns/address.txt"]
        for path in strangers:
            write(tmp_path, path, {"cases": [{"id": 0}]})
        assert set(faults(tmp_path)) == set(strangers)

    def test_broken_links_and_loops_are_faults(self, tmp_path: Path) -> None:
        (tmp_path / "cjdns").symlink_to(tmp_path / "nowhere")
        (tmp_path / "tpm").symlink_to(tmp_path, target_is_directory=True)
        assert set(faults(tmp_path)) == {"cjdns", "tpm"}
        assert {file.name for file in walk(tmp_path)} == {"cjdns", "tpm"}

    def test_the_same_bytes_are_compared_once(self, tmp_path: Path, addresses: dict[str, Any]) -> None:
        for name in ("a", "b"):
            write(tmp_path / name, "cjdns/address.json", addresses)
        known: dict[bytes, str] = {}
        first, second = Folder(tmp_path / "a", known), Folder(tmp_path / "b", known)
        assert len(first.files[0].cases) == 4
        assert second.files[0].identical_to == str(tmp_path / "a" / "cjdns" / "address.json")
        assert not second.files[0].cases
        assert any("1 files of" in line and "byte-identical" in line for line in summary([first, second]))

    def test_every_row_has_its_pillar(self) -> None:
        assert {path.split("/")[0] for path in TABLE} <= {"cjdns", "bpf", "tpm"}
        assert all(isinstance(row, Row) for row in TABLE.values())

    def test_names_of_cases(self) -> None:
        cases: list[dict[str, Any]] = [{"id": 7}, {"index": 3}, {"x": 1}, {"id": "7"}]
        assert list(case_names(cases)) == ["7", "3", "#2", "7#3"]


def test_a_skip_is_a_failure_in_ci(tmp_path: Path) -> None:
    """In CI nothing may be missing, but for the few things that a machine cannot be given."""
    test = tmp_path / "test_skips.py"
    test.write_text(
        "import pytest\n"
        "def test_missing(): pytest.skip('no frobnicator here')\n"
        "def test_allowed(): pytest.skip('kernel lacks BPF')\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", str(test)]
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    for extra, expected in (({}, "2 skipped"), ({"CI": "true"}, "1 failed, 1 skipped")):
        done = subprocess.run(
            [*command, "--rootdir", str(tmp_path), "-c", os.devnull],
            env=environment | extra,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert expected in done.stdout, done.stdout + done.stderr
