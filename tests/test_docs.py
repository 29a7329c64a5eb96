# SPDX-License-Identifier: Apache-2.0
"""What the documentation shows is what happens: every example in pages and docstrings is run."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import prestocloud_sec
from prestocloud_sec.tpm.transport import libtpms

ROOT = Path(__file__).resolve().parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FENCE = re.compile(r"^(?P<mark>`{3,})(?P<kind>[a-z]+)[ \t]*\n(?P<text>.*?)^(?P=mark)[ \t]*$", re.MULTILINE | re.DOTALL)
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(prestocloud_sec.__path__, "prestocloud_sec.")
    if module.name.rpartition(".")[2] != "__main__"
)


TPM = re.compile(
    r"(?<!\.)\bconnect\(|\bopen_transport\(.embedded:|\bEmbeddedTransport\(\)|\btpm (info|pcr|random|raw)\b"
)
"""What an example has that makes a TPM in this process."""


def needs_missing_tpm(text: str) -> bool:
    """Tell whether an example makes a TPM, and there is no libtpms to make one of."""
    return TPM.search(text) is not None and not libtpms.available()


def fences(page: Path, kind: str) -> list[tuple[int, str]]:
    """Return the text of every fence of one kind with the line it starts on, counted from 0."""
    text = page.read_text()
    return [
        (text.count("\n", 0, found.start("text")), found["text"])
        for found in FENCE.finditer(text)
        if found["kind"] == kind
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_a_page(page: Path) -> None:
    """All ``pycon`` fences of a page share one namespace, in order; without libtpms those before the first TPM run."""
    parser, namespace, failed = doctest.DocTestParser(), {"__name__": "__main__"}, []
    is_cut = False
    for line, text in fences(page, "pycon"):
        if is_cut := needs_missing_tpm(text):
            break
        test = parser.get_doctest(text, namespace, str(page.relative_to(ROOT)), str(page), line)
        assert test.examples, f"{page}:{line + 1}: a pycon fence without a >>> prompt"
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        runner.run(test, out=failed.append, clear_globs=False)
        namespace = test.globs
    assert not failed, "".join(failed)
    if is_cut:
        pytest.skip("libtpms is not here: apt-get install libtpms0")


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    module = importlib.import_module(name)
    failed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    found = doctest.DocTestFinder().find(module, name)
    possible = [test for test in found if not needs_missing_tpm(test.docstring or "")]
    for test in possible:
        runner.run(test, out=failed.append)
    assert not failed, "".join(failed)
    if len(possible) < len(found):
        pytest.skip("libtpms is not here: apt-get install libtpms0")


COMMANDS = sorted(
    {
        line.removeprefix("$ ")
        for page in PAGES
        for _, text in fences(page, "console")
        for line in text.splitlines()
        if line.startswith("$ prestocloud-sec ")
    }
)


def test_commands_of_the_pages_run() -> None:
    for command in COMMANDS:
        if needs_missing_tpm(command):
            continue
        done = subprocess.run(
            [sys.executable, "-m", "prestocloud_sec", *shlex.split(command, comments=True)[1:]],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
