# SPDX-License-Identifier: Apache-2.0
"""The one table of recorded files: what each is called, who compares it, and which other files it stands for.

A new family is a row here and a module ``tests/conformance/<pillar>_<room>.py`` that exports ``FILES``. A path that is
in no row is an unknown file, and unknown files fail. A row without a family is known but not compared yet: ``later``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.family import Case, Family

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
    cases: Callable[[Any], Sequence[Case]] = lambda document: document["cases"]
    load: Callable[[Path], Any] = lambda path: json.loads(path.read_bytes())
    refers: Callable[[Any], Iterable[str]] | None = None


def _rows_of(pillar: str, room: str) -> dict[str, Row]:
    name = f"tests.conformance.{pillar}_{room}"
    if name not in sys.modules:
        pytest.register_assert_rewrite(name)
    module = importlib.import_module(name)
    return {f"{pillar}/{file}": Row(family) for file, family in module.FILES.items()}


TABLE: dict[str, Row] = {
    **_rows_of("cjdns", "keys"),
    **_rows_of("cjdns", "session"),
    **_rows_of("cjdns", "headers"),
    **_rows_of("cjdns", "switch"),
    **_rows_of("cjdns", "nodes"),
    **_rows_of("cjdns", "search"),
    "bpf/cbpf_filters.json": Row(),
    "bpf/reserved_fields.json": Row(),
    "bpf/test_bpf.json": Row(),
    "bpf/verifier_selftests.json": Row(),
    "bpf/conformance/index.json": Row(refers=lambda index: [t["name"] for t in index["tests"]]),
    "bpf/elf/index.json": Row(refers=lambda index: [t[k] for t in index["tests"] for k in ("object", "source")]),
    "bpf/perf/programs.json": Row(),
    "tpm/attestations.json": Row(),
    "tpm/corpus.jsonl": Row(),
    "tpm/credentials.json": Row(),
    "tpm/decoded.jsonl": Row(),
    "tpm/duplicates.json": Row(),
    "tpm/eventlogs.json": Row(refers=lambda logs: [f"eventlogs/{log['file']}" for log in logs]),
    "tpm/names.json": Row(),
    "tpm/nv.json": Row(),
    "tpm/policies.json": Row(),
    "tpm/sealed.json": Row(),
    "tpm/sessions.json": Row(),
    "tpm/signatures.json": Row(),
}
