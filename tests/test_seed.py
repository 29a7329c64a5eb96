# SPDX-License-Identifier: Apache-2.0
"""Whatever docs/seed.md names as the proof of a row is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/seed.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d+ \|", line)]
NAMED = sorted({place for row in ROWS for place in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[1])})


def definitions(path: Path) -> set[str]:
    """Return ``function`` and ``Class::function`` for everything a file defines."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        name = getattr(node, "name", None) or getattr(getattr(node, "targets", [None])[0], "id", None)
        found.add(name)
        for inner in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
            found.add(f"{name}::{getattr(inner, 'name', None)}")
    return found


@pytest.mark.parametrize("place", NAMED)
def test_the_proof_of_a_row_exists(place: str):
    if recorded := re.fullmatch(r"tests/conformance \((.*)\)", place):
        for file in recorded[1].split(", "):
            if file.endswith(".json"):
                assert (ROOT / "tests/vectors/cjdns" / file.removeprefix("cjdns/")).exists()
        return
    path, _, name = place.partition("::")
    assert (ROOT / path).exists()
    if name:
        assert name in definitions(ROOT / path)


def test_every_row_of_the_cjdns_library_is_there():
    rows = {row.split("|")[1].strip() for row in ROWS}
    wanted = [*range(1, 7), *range(11, 35)]
    assert {f"C{n}" for n in wanted} | {f"A{n}" for n in [*range(1, 23), 24, 32]} <= rows
