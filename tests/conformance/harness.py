# SPDX-License-Identifier: Apache-2.0
"""Every case of every recorded file as one pytest item.

A `Folder` is a directory of vectors; walking it gives `Recorded` files, each with what became of it: its cases,
`later`, identical to a file met before, or a fault (unknown, malformed, empty). pytest sees a collector for a file and
an item for a case; a fault is an item that fails. The tally of the items is what the terminal summary prints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.family import Case, Family
from tests.conformance.table import NOT_CASES, PILLARS, TABLE, Row

REPOSITORY = Path(__file__).resolve().parents[2]


class VectorError(Exception):
    """Something about a file of vectors, rather than about one case, that makes the run fail."""


@dataclass
class Recorded:
    """One file of a directory of vectors, and what came of it."""

    path: str
    file: Path
    fault: str | None = None
    later: bool = False
    identical_to: str | None = None
    family: Family | None = None
    document: Any = None
    cases: Sequence[Case] = ()
    compared: int = 0
    passed: int = 0


def walk(folder: Path, seen: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield every file below `folder`, symbolic links followed, in order; a folder inside itself counts as a file."""
    real = folder.resolve()
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and entry.resolve() not in seen | {real}:
            yield from walk(entry, seen | {real})
        else:
            yield entry


def _parse(row: Row, recorded: Recorded) -> Any:
    try:
        return row.load(recorded.file)
    except (OSError, ValueError, RecursionError) as error:
        recorded.fault = f"cannot be read: {type(error).__name__}: {error}"
        return None


def _take_cases(row: Row, recorded: Recorded) -> None:
    """Parse the file and find its cases, or say what is wrong with it."""
    document = _parse(row, recorded)
    if recorded.fault is not None:
        return
    try:
        cases = row.cases(document)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        recorded.fault = f"has no list of cases where its family keeps them: {type(error).__name__}: {error}"
        return
    if not isinstance(cases, list) or not cases:
        recorded.fault = "holds no cases"
    elif not all(isinstance(case, dict) for case in cases):
        recorded.fault = "holds a case that is not an object"
    else:
        recorded.family, recorded.document, recorded.cases = row.family, document, cases


def _referred(row: Row, path: str, recorded: Recorded) -> set[str]:
    """Paths, relative to the directory of vectors, of the files that an index stands for."""
    document = _parse(row, recorded)
    if recorded.fault is not None or row.refers is None:
        return set()
    try:
        return {f"{path.rpartition('/')[0]}/{name}" for name in row.refers(document)}
    except (KeyError, TypeError, AttributeError) as error:
        recorded.fault = f"is not the index it should be: {type(error).__name__}: {error}"
        return set()


class Folder:
    """One directory of vectors: ``cjdns/``, ``bpf/``, ``tpm/``, any of them absent or a symbolic link."""

    def __init__(self, root: Path, known: dict[bytes, str], table: Mapping[str, Row] = TABLE) -> None:
        self.root = root
        self.files: list[Recorded] = []
        self.fault: str | None = None
        if not root.is_dir():
            self.fault = f"{root} is not a directory"
            return
        found = {file.relative_to(root).as_posix(): file for file in walk(root) if file.suffix != ".md"}
        covered = self._indexes(found, table)
        for path, file in found.items():
            if path in covered or set(path.split("/")[1:-1]) & set(NOT_CASES):
                continue
            self.files.append(self._examine(path, file, known, table))
        if not self.files:
            self.fault = f"{root} holds no vectors; expected files in {', '.join(f'{p}/' for p in PILLARS)}"

    @property
    def pillars(self) -> list[str]:
        """The families of this directory."""
        return [p for p in PILLARS if any(r.path.startswith(f"{p}/") for r in self.files)]

    def _indexes(self, found: dict[str, Path], table: Mapping[str, Row]) -> set[str]:
        covered: set[str] = set()
        for path, file in found.items():
            row = table.get(path)
            if row is not None and row.refers is not None:
                covered |= _referred(row, path, Recorded(path, file))
        return covered

    def _examine(self, path: str, file: Path, known: dict[bytes, str], table: Mapping[str, Row]) -> Recorded:
        recorded = Recorded(path, file)
        row = table.get(path)
        if row is None:
            recorded.fault = "unknown file: no row of tests/conformance/table.py names it"
            return recorded
        try:
            digest = hashlib.sha256(path.encode() + b"\0" + file.read_bytes()).digest()
        except OSError as error:
            recorded.fault = f"cannot be read: {error}"
            return recorded
        if digest in known:
            recorded.identical_to = known[digest]
            return recorded
        known[digest] = str(file)
        if row.family is None:
            recorded.later = True
            if row.refers is not None:
                _referred(row, path, recorded)
        else:
            _take_cases(row, recorded)
        return recorded


def default_roots() -> list[Path]:
    """Return the copy in the project, and the shared folder beside the checkout where there is one."""
    beside = REPOSITORY.parent / "shared" / "vectors"
    return [REPOSITORY / "tests" / "vectors", *([beside] if beside.is_dir() else [])]


def case_names(cases: Sequence[Case]) -> Iterator[str]:
    """Name each case by its ``id`` or ``index``, else its position; a name met before gets its position as well."""
    used: set[str] = set()
    for position, case in enumerate(cases):
        name = str(case.get("id", case.get("index", f"#{position}")))
        if name in used:
            name = f"{name}#{position}"
        used.add(name)
        yield name


class Vectors:
    """What ``test_vectors.py`` declares; the hook in ``conftest.py`` turns it into the collectors below."""


class FolderCollector(pytest.Collector):
    """A directory of vectors."""

    folder: Folder

    @classmethod
    def make(cls, parent: pytest.Collector, folder: Folder, name: str) -> FolderCollector:
        node = cls.from_parent(parent, name=name)
        node.folder = folder
        return node

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        if self.folder.fault is not None:
            yield FaultItem.make(self, "directory", None, self.folder.fault)
        for recorded in self.folder.files:
            if recorded.fault is not None or recorded.cases:
                yield FileCollector.make(self, recorded)


class FileCollector(pytest.Collector):
    """One file of cases."""

    recorded: Recorded

    @classmethod
    def make(cls, parent: pytest.Collector, recorded: Recorded) -> FileCollector:
        node = cls.from_parent(parent, name=recorded.path)
        node.recorded = recorded
        return node

    def collect(self) -> Iterator[pytest.Item]:
        recorded = self.recorded
        if recorded.fault is not None:
            yield FaultItem.make(self, "file", recorded, f"{recorded.path} {recorded.fault}")
            return
        for name, case in zip(case_names(recorded.cases), recorded.cases, strict=True):
            yield CaseItem.make(self, name, recorded, case)


class FaultItem(pytest.Item):
    """A file or directory that cannot be compared: always fails, and counts as one comparison."""

    recorded: Recorded | None
    message: str

    @classmethod
    def make(cls, parent: pytest.Collector, name: str, recorded: Recorded | None, message: str) -> FaultItem:
        node = cls.from_parent(parent, name=name)
        node.recorded, node.message = recorded, message
        return node

    def runtest(self) -> None:
        if self.recorded is not None:
            self.recorded.compared += 1
        raise VectorError(self.message)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"conformance {self.message}"


class CaseItem(pytest.Item):
    """One recorded case, compared with what the library does."""

    recorded: Recorded
    case: Case

    @classmethod
    def make(cls, parent: pytest.Collector, name: str, recorded: Recorded, case: Case) -> CaseItem:
        node = cls.from_parent(parent, name=name)
        node.recorded, node.case = recorded, case
        return node

    def runtest(self) -> None:
        recorded = self.recorded
        recorded.compared += 1
        assert recorded.family is not None
        recorded.family.compare(self.case, recorded.document)
        recorded.passed += 1

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the frames of the comparison, without those of pytest and of this file."""
        here = str(Path(__file__))
        excinfo.traceback = excinfo.traceback.filter(
            lambda entry: str(entry.path) != here and "/_pytest/" not in str(entry.path)
        )
        return self._repr_failure_py(excinfo, style=style or "short")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"{self.recorded.path}::{self.name}"


def summary(folders: Sequence[Folder]) -> Iterator[str]:
    """Yield the lines of the terminal summary: one for each file that was compared, or that comes later."""
    for folder in folders:
        for recorded in folder.files:
            if recorded.compared:
                yield f"conformance {recorded.path} {recorded.compared} {recorded.passed}"
            elif recorded.later and recorded.fault is None:
                yield f"conformance {recorded.path} later"
    for folder in folders:
        same = sum(r.identical_to is not None for r in folder.files)
        if same:
            yield f"conformance: {same} files of {folder.root} are byte-identical to files above; compared once"
        names = ", ".join(folder.pillars) or "none"
        yield f"conformance: {len(folder.pillars)} of {len(PILLARS)} families in {folder.root}: {names}"
