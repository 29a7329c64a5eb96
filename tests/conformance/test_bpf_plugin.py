# SPDX-License-Identifier: Apache-2.0
"""The bpf_conformance suite through the plug-in, as its runner would use it: hexadecimal in, hexadecimal out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prestocloud_sec.cli import main
from tests.conformance.bpf_programs import ENGINES, bytes_of
from tests.conformance.harness import default_roots

INDEX = "bpf/conformance/index.json"


def suite(config: pytest.Config) -> list[dict[str, str]]:
    given = config.getoption("--vectors")
    roots = [Path(given)] if given is not None else default_roots()
    files = [root / INDEX for root in roots if (root / INDEX).is_file()]
    return [test for file in files for test in json.loads(file.read_bytes())["tests"]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    tests = suite(metafunc.config)
    absent = pytest.param(
        None, marks=pytest.mark.skip(reason="../shared, which holds the suite, is not beside the project")
    )
    metafunc.parametrize("case", [pytest.param(test, id=test["name"]) for test in tests] or [absent])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_suite_through_the_plugin(case: dict[str, str], engine: str) -> None:
    words = ["bpf", "conformance-plugin", case["mem_hex"], "--engine", engine]
    done = CliRunner().invoke(main, words, input=bytes_of(case).hex())
    assert done.exit_code == 0, done.output
    assert int(done.stdout, 16) == int(case["result"], 16)
