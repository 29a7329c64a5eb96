# SPDX-License-Identifier: Apache-2.0
"""The one table of recorded files: what each is called, who compares it, and which other files it stands for.

A new family is a row here and a module ``tests/conformance/<pillar>_<room>.py`` that exports ``FILES``. A path that is
in no row is an unknown file, and unknown files fail. A row without a family is known but not compared yet: ``later``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.family import Case, Family, cases_of, read_json

PILLARS = ("cjdns", "bpf", "tpm")
"""The folders a directory of vectors may hold."""

NOT_CASES = ("src", "obj")
"""Folders whose files belong to the index above them, and Markdown text, are never cases."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded file.

    Attributes
    ----------
    family : Family or None
        Who compares its cases; None until that part of the project lands.
    cases : callable
        Where the cases are in the parsed file.
    load : callable
        How the file is parsed.
    refers : callable
        The files that the parsed file stands for, relative to its own folder.
    """

    family: Family | None = None
    cases: Callable[[Any], Sequence[Case]] = cases_of
    load: Callable[[Path], Any] = read_json
    refers: Callable[[Any], Iterable[str]] | None = None


Refers = Callable[[Any], Iterable[str]]


def _rows_of(pillar: str, room: str, refers: dict[str, Refers] | None = None) -> dict[str, Row]:
    name = f"tests.conformance.{pillar}_{room}"
    if name not in sys.modules:
        pytest.register_assert_rewrite(name)
    module = importlib.import_module(name)
    return {
        f"{pillar}/{file}": Row(family, family.cases, family.load, (refers or {}).get(file))
        for file, family in module.FILES.items()
    }


TABLE: dict[str, Row] = {
    **_rows_of("cjdns", "keys"),
    **_rows_of("cjdns", "session"),
    **_rows_of("cjdns", "headers"),
    **_rows_of("cjdns", "switch"),
    **_rows_of("cjdns", "nodes"),
    **_rows_of("cjdns", "search"),
    **_rows_of("bpf", "isa"),
    **_rows_of("bpf", "suite", {"conformance/index.json": lambda index: [t["name"] for t in index["tests"]]}),
    **_rows_of("bpf", "linux"),
    **_rows_of("bpf", "filters"),
    **_rows_of("bpf", "perf"),
    **_rows_of("bpf", "verifier"),
    **_rows_of("tpm", "names"),
    **_rows_of("tpm", "streams"),
    **_rows_of("tpm", "sessions"),
    **_rows_of("tpm", "policies"),
    **_rows_of("tpm", "protect"),
    **_rows_of("tpm", "attestations"),
    **_rows_of("tpm", "eventlogs", {"eventlogs.json": lambda logs: [f"eventlogs/{log['file']}" for log in logs]}),
    "bpf/elf/index.json": Row(refers=lambda index: [t[k] for t in index["tests"] for k in ("object", "source")]),
}
