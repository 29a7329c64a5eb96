# SPDX-License-Identifier: Apache-2.0
"""Judging a file of recorded verdicts, and counting where ours differ.

The schema is that in which the kernel's own verifier tests (Linux ``tools/testing/selftests/bpf/verifier``) were
recorded: a JSON object with ``tests``, each with the program's bytes, its type, where maps go (``fixups``) and what the
kernel said (``kernel_6_18_verdict``, ``kernel_6_18_errno``), and ``map_kinds``, which says in words what each map is.
Entries that the recording kernel skipped, or could not load for reasons of its environment, are left out.

The words of a map kind are read, not known by name: the kind, sizes as ``key/value/entries`` or ``key8 val48 max1``,
flags by name, after ``inner`` what a map of maps holds, and in braces the members of its value, of which a lock or a
timer matters.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError, DecodeError
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.environment import Environment
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.profiles import Profile
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.bpf.verifier.verify import judge
from prestocloud_sec.wire import shown

__all__ = ["Case", "Corpus", "Tally", "map_kind"]

_LARGEST_PROGRAM = 1 << 24
"""Bytes of the longest program that is unpacked: two million slots, which no kernel takes."""
_ANY_ALIGNMENT, _STRICT_ALIGNMENT = 1, 2
"""Bits of a test's own flags; any other bit means that the flags are those of bpf(2)."""
_F_STRICT_ALIGNMENT = 1
_VERDICTS = frozenset({"ACCEPT", "REJECT", "SKIP"})


# --- Maps, by their words.

_MEMBERS: Sequence[tuple[str, int, int]] = (
    ("struct bpf_spin_lock", 4, 4),
    ("struct bpf_timer", 16, 8),
    ("bpf_spin_lock", 4, 4),
    ("bpf_timer", 16, 8),
    ("int", 4, 4),
    ("u32", 4, 4),
    ("u64", 8, 8),
    ("long", 8, 8),
)
"""What members of a value begin with, their bytes, and their alignment; others are pointers."""


def map_kind(text: str) -> MapSpec:
    """Return the map that words describe.

    >>> map_kind("HASH key8 val48 max1 NO_PREALLOC")
    MapSpec(type=<MapType.HASH: 1>, key_size=8, value_size=48, max_entries=1, flags=1, ...)
    >>> map_kind("ARRAY 4/8/1 with BTF val {int cnt; struct bpf_spin_lock l}").spin_lock
    4

    Raises
    ------
    BpfError
        If they describe none.
    """
    if not isinstance(text, str):
        raise BpfMisuseError(f"{shown(text)} are no words", where="map_kind", expected="text")
    outside, members = re.sub(r"\{[^}]*\}", "", text), re.findall(r"\{([^}]*)\}", text)
    described, _, inner = outside.partition(";")[0].partition("inner ")
    made = _plain_map(described, text)
    if inner:
        made["inner"] = MapSpec(**_plain_map(inner, text))
    if members and "BTF" in described:
        made.update(_special(members[0]))
    return MapSpec(**made)


def _plain_map(words: str, text: str) -> dict[str, Any]:
    made: dict[str, Any] = {"key_size": 4, "value_size": 4, "max_entries": 0, "flags": 0}
    kind, *others = re.split(r"[\s,]+", words.strip())
    if kind not in MapType.__members__:
        raise BpfError(f"{shown(kind)} is no kind of map", where=f"map kind {shown(text)}", expected="its name first")
    made["type"] = MapType[kind]
    for word in others:
        if sizes := re.fullmatch(r"(\d{1,9})/(\d{1,9})/(\d{1,9})", word):
            made["key_size"], made["value_size"], made["max_entries"] = map(int, sizes.groups())
        elif size := re.fullmatch(r"(key|val|max)(\d{1,9})", word):
            made[{"key": "key_size", "val": "value_size", "max": "max_entries"}[size[1]]] = int(size[2])
        elif (name := word.removeprefix("BPF_F_")) in MapFlag.__members__:
            made["flags"] |= int(MapFlag[name])
    return made


def _special(members: str) -> dict[str, int]:
    """Return where a value has a lock or a timer."""
    found: dict[str, int] = {}
    offset = 0
    for member in re.split(r"[;,]", members):
        name = member.strip()
        row = next((row for row in _MEMBERS if name.startswith(row[0])), (name, 8, 8))
        offset += -offset % row[2]
        if row[0].endswith("bpf_spin_lock"):
            found["spin_lock"] = offset
        elif row[0].endswith("bpf_timer"):
            found["timer"] = offset
        offset += row[1]
    return found


# --- Cases.


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded program.

    Attributes
    ----------
    name, file : str
        What it is called, and where.
    code : bytes
        The program.
    type : int
        By the kernel's number.
    attach : int
        ``expected_attach_type``.
    strict_alignment : bool
    maps : mapping of int to MapSpec
        By the slot of the load that names it.
    accepted : bool
        The recorded verdict.
    errno : str or None
        What the kernel gave for one that it refused.
    counts : bool
        Whether it is to be compared.
    """

    name: str
    file: str
    code: bytes = field(repr=False)
    type: int
    attach: int
    strict_alignment: bool
    maps: Mapping[int, MapSpec] = field(repr=False)
    accepted: bool
    errno: str | None
    counts: bool

    def judge(self) -> Verdict:
        """Return our verdict. Bytes that are no program, and types that do not exist, are refused with EINVAL."""
        try:
            kind = ProgramType(self.type)
        except ValueError:
            return _refused(None, ProgramType.UNSPEC, Rule.TYPE, f"there is no type {self.type}")
        try:
            program = Program.from_bytes(self.code, type=kind)
        except DecodeError as error:
            return _refused(None, kind, Rule.STRUCTURE, error.what)
        specs = {index: spec for slot, spec in self.maps.items() if (index := program.index_at(slot)) is not None}
        options: dict[str, Any] = {"attach": self.attach, "strict_alignment": self.strict_alignment}
        return judge(program, partial(Environment, program, kind, specs, **options), kind)


def _refused(program: Program | None, kind: ProgramType, rule: Rule, what: str) -> Verdict:
    return Verdict(program, kind, Profile.KERNEL, Rejected(rule, what, "EINVAL"))


@dataclass
class Tally:
    """What came of judging a corpus.

    Attributes
    ----------
    compared, agree : int
        Cases, and those on which the verdicts are equal.
    false_accept, false_reject : list of dict
        Those that we accept and the kernel refused, with its errno; and the other way round.
    unsafe, confirmed : int
        Of programs that both refuse for what they would do to memory (EACCES), those that a witness was looked for,
        and those of which the reference interpreter committed the fault.
    """

    compared: int = 0
    agree: int = 0
    false_accept: list[dict[str, str | None]] = field(default_factory=list)
    false_reject: list[dict[str, str]] = field(default_factory=list)
    unsafe: int = 0
    confirmed: int = 0

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count a case."""
        self.compared += 1
        if verdict.accepted is case.accepted:
            self.agree += 1
        elif verdict.accepted:
            self.false_accept.append({"name": case.name, "errno": case.errno})
        else:
            self.false_reject.append({"name": case.name})

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "compared": self.compared,
            "agree": self.agree,
            "false_accept": self.false_accept,
            "false_reject": self.false_reject,
            "witness": {"unsafe": self.unsafe, "confirmed": self.confirmed},
        }


class Corpus:
    """The cases of a file.

    Parameters
    ----------
    document : mapping
        The parsed file.

    Attributes
    ----------
    cases : tuple of Case
        All, those that do not count too.

    Raises
    ------
    BpfError
        If the document does not have the schema; it says which test, and which of its fields.
    """

    def __init__(self, document: Any) -> None:
        if not isinstance(document, Mapping):
            raise BpfError(f"{shown(document)} is no corpus", where="corpus", expected="an object with tests")
        kinds = document.get("map_kinds", {})
        if not isinstance(kinds, Mapping):
            raise BpfError(f"{shown(kinds)} says nothing", where="corpus, map_kinds", expected="an object of texts")
        tests = document.get("tests")
        if not isinstance(tests, list):
            raise BpfError(f"{shown(tests)} are no tests", where="corpus, tests", expected="a list")
        specs: dict[str, MapSpec] = {}
        self.cases = tuple(_Reader(test, position, kinds, specs).case() for position, test in enumerate(tests))

    @classmethod
    def from_json(cls, text: str | bytes) -> Corpus:
        """Return the corpus in the text of a file.

        Raises
        ------
        BpfError
            If it is no JSON, or no corpus.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError, TypeError) as error:
            raise BpfError("it is no JSON", where="corpus", expected="one object") from error
        return cls(document)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __repr__(self) -> str:
        return f"<Corpus of {len(self)} programs, {sum(case.counts for case in self.cases)} to compare>"

    def judge(self, *, witness: bool = False, progress: Callable[[int, Case, Verdict], None] | None = None) -> Tally:
        """Judge every case that counts.

        Parameters
        ----------
        witness : bool
            Whether to look for a witness of each refusal for EACCES in which we agree.
        progress : callable, optional
            Called after each case with how many were judged, the case and the verdict.
        """
        tally = Tally()
        for case in self.cases:
            if not case.counts:
                continue
            verdict = case.judge()
            tally.add(case, verdict)
            if witness and not verdict.accepted and not case.accepted and case.errno == "EACCES":
                _witness(tally, verdict)
            if progress is not None:
                progress(tally.compared, case, verdict)
        return tally


def _witness(tally: Tally, verdict: Verdict) -> None:
    """Look for a witness and replay it; programs that the reference interpreter cannot run do not count."""
    from prestocloud_sec.bpf.verifier.witness import NoWitness, find_witness

    if verdict.program is None:
        return
    found = find_witness(verdict.program, verdict)
    if isinstance(found, NoWitness):
        tally.unsafe += bool(found.tried or verdict.again is None)
        return
    tally.unsafe += 1
    tally.confirmed += found.confirmed()


# --- Reading.


class _Reader:
    """One test of a document, field by field."""

    def __init__(self, test: Any, position: int, kinds: Mapping[str, Any], specs: dict[str, MapSpec]) -> None:
        self.where = f"corpus, test {position}"
        if not isinstance(test, Mapping):
            raise BpfError(f"{shown(test)} is no test", where=self.where, expected="an object")
        self.test, self.kinds, self.specs = test, kinds, specs

    def _field(self, name: str, kind: type, expected: str, default: Any = None) -> Any:
        value = self.test.get(name, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BpfError(f"{shown(value)}", where=f"{self.where}, {name}", expected=expected)
        return value

    def case(self) -> Case:
        """Return it as a case."""
        verdict = self._field("kernel_6_18_verdict", str, "ACCEPT, REJECT or SKIP")
        if verdict not in _VERDICTS:
            raise BpfError(shown(verdict), where=f"{self.where}, kernel_6_18_verdict", expected="ACCEPT, REJECT, SKIP")
        errno = self.test.get("kernel_6_18_errno")
        flags = self._field("test_flags", int, "a number", 0)
        return Case(
            name=self._field("name", str, "text"),
            file=self._field("file", str, "text", ""),
            code=self._code(),
            type=self._field("prog_type", int, "a number"),
            attach=self._field("expected_attach_type", int, "a number", 0),
            strict_alignment=_strict(flags),
            maps=self._maps(),
            accepted=verdict == "ACCEPT",
            errno=errno if isinstance(errno, str) else None,
            counts=verdict != "SKIP" and not self.test.get("kernel_env_limited"),
        )

    def _code(self) -> bytes:
        packed = "insns_hex" not in self.test
        name = "insns_zb64" if packed else "insns_hex"
        text = self._field(name, str, "text")
        try:
            if not packed:
                return bytes.fromhex(text)
            unpacking = zlib.decompressobj()
            code = unpacking.decompress(base64.b64decode(text, validate=True), _LARGEST_PROGRAM)
        except (ValueError, binascii.Error, zlib.error) as error:
            raise BpfError(
                "no bytes", where=f"{self.where}, {name}", expected="hexadecimal, or zlib in base64"
            ) from error
        if unpacking.unconsumed_tail or not unpacking.eof:
            raise BpfError("too long, or cut off", where=f"{self.where}, {name}", expected="a program")
        return code

    def _maps(self) -> dict[int, MapSpec]:
        found: dict[int, MapSpec] = {}
        for kind, slots in self._field("fixups", Mapping, "an object", {}).items():
            if not isinstance(slots, list) or not all(type(slot) is int for slot in slots):
                raise BpfError(shown(slots), where=f"{self.where}, fixups", expected="lists of numbers")
            for slot in slots:
                found[slot] = self._spec(kind)
        return found

    def _spec(self, kind: str) -> MapSpec:
        if kind not in self.specs:
            text = self.kinds.get(kind)
            if not isinstance(text, str):
                raise BpfError(
                    f"nothing says what {shown(kind)} is", where=f"{self.where}, fixups", expected="a row of map_kinds"
                )
            self.specs[kind] = map_kind(text)
        return self.specs[kind]


def _strict(flags: int) -> bool:
    if flags & ~(_ANY_ALIGNMENT | _STRICT_ALIGNMENT):
        return bool(flags & _F_STRICT_ALIGNMENT)
    return bool(flags & _STRICT_ALIGNMENT)
