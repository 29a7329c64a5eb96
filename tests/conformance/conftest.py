# SPDX-License-Identifier: Apache-2.0
"""Hooks of the conformance run; `harness` says what they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance import harness

FOLDERS: pytest.StashKey[list[harness.Folder]] = pytest.StashKey()


class VectorsCollector(pytest.Collector):
    """All directories of vectors of this run."""

    def collect(self) -> list[pytest.Collector]:
        given = self.config.getoption("--vectors")
        roots = [Path(given)] if given is not None else harness.default_roots()
        known: dict[bytes, str] = {}
        folders = [harness.Folder(root, known) for root in roots]
        self.config.stash[FOLDERS] = folders
        return [harness.FolderCollector.make(self, f, f"{f.root.parent.name}/{f.root.name}") for f in folders]


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> pytest.Collector | None:
    return VectorsCollector.from_parent(collector, name=name) if isinstance(obj, harness.Vectors) else None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    folders = config.stash.get(FOLDERS, [])
    if folders and not config.option.collectonly:
        terminalreporter.section("conformance")
        for line in harness.summary(folders):
            terminalreporter.write_line(line)
