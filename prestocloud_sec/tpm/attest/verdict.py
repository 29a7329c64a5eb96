# SPDX-License-Identifier: Apache-2.0
"""What a verification found: every clause that holds, fails, or was not checked, in words.

There is no truth value of a `Verdict`, and asking for one is an error: a quote whose signature holds may still have
been checked without a nonce, and only whoever relies on it knows whether that will do. He names the clauses that have
to hold (`Verdict.accepts`, `Verdict.require`); one that fails is never overlooked, named or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from html import escape
from typing import TYPE_CHECKING, NoReturn

from prestocloud_sec.tpm._given import instance, text
from prestocloud_sec.tpm.errors import TpmMisuseError, VerificationError
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.eventlog.faults import Measurement
    from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST

__all__ = ["Clause", "ClauseState", "Findings", "Grade", "Verdict"]


class ClauseState(Enum):
    """What became of a clause."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_CHECKED = "not checked"


class Grade(Enum):
    """How far a verdict goes."""

    FULL = "full"
    """Every clause was checked, and holds."""

    PARTIAL = "partial"
    """No clause fails, and not all were checked."""

    NONE = "none"
    """A clause fails: what was verified is not to be trusted."""


_MARKS = {ClauseState.HOLDS: "+", ClauseState.FAILS: "-", ClauseState.NOT_CHECKED: "?"}


@dataclass(frozen=True, slots=True)
class Clause:
    """One thing that was to be verified.

    Attributes
    ----------
    name : str
        What it is about, in one or two words that do not change: ``signature``, ``nonce``, ``pcr digest``.
    state : ClauseState
        What became of it.
    words : str
        What was found, or why it was not checked.
    """

    name: str
    state: ClauseState
    words: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", text(self.name, "Clause.name"))
        object.__setattr__(self, "words", text(self.words, "Clause.words"))
        if not isinstance(self.state, ClauseState):
            raise TpmMisuseError(shown(self.state), where="Clause.state", expected="a ClauseState")

    @property
    def holds(self) -> bool:
        """Whether the clause was checked, and holds."""
        return self.state is ClauseState.HOLDS

    @property
    def fails(self) -> bool:
        """Whether the clause was checked, and does not hold."""
        return self.state is ClauseState.FAILS

    def __str__(self) -> str:
        return f"{_MARKS[self.state]} {self.name}: {self.words}"


@dataclass(frozen=True, slots=True, repr=False)
class Verdict:
    """What a verification found.

    Attributes
    ----------
    subject : str
        What was verified.
    clauses : tuple of Clause
        In the order in which they were looked at; no name twice.
    attest : TPMS_ATTEST or None
        What was signed, where it could be read. Nothing in it is to be believed unless ``signature`` holds.
    culprit : Event or ImaEntry or None
        The first measurement that broke trust, where one did.

    Examples
    --------
    >>> verdict = Verdict("a quote", (Clause("signature", ClauseState.HOLDS, "by the key"),
    ...                               Clause("nonce", ClauseState.NOT_CHECKED, "none was given")))
    >>> verdict.grade, verdict.accepts("signature"), verdict.accepts("signature", "nonce")
    (<Grade.PARTIAL: 'partial'>, True, False)
    """

    subject: str
    clauses: tuple[Clause, ...]
    attest: TPMS_ATTEST | None = None
    culprit: Measurement | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject", text(self.subject, "Verdict.subject"))
        where = "Verdict.clauses"
        held = tuple(items_of(self.clauses, where, "an iterable of Clause", error=TpmMisuseError))
        if not all(isinstance(clause, Clause) for clause in held):
            raise TpmMisuseError(shown(held), where=where, expected="only clauses")
        if len({clause.name for clause in held}) != len(held):
            raise TpmMisuseError("one clause twice", where=where, expected="each once")
        object.__setattr__(self, "clauses", held)
        if self.attest is not None or self.culprit is not None:
            _check_found(self.attest, self.culprit)

    @property
    def grade(self) -> Grade:
        """How far the verdict goes; a verdict without clauses goes nowhere."""
        if not self.clauses or any(clause.fails for clause in self.clauses):
            return Grade.NONE
        return Grade.FULL if all(clause.holds for clause in self.clauses) else Grade.PARTIAL

    @property
    def held(self) -> tuple[Clause, ...]:
        """The clauses that hold."""
        return tuple(clause for clause in self.clauses if clause.holds)

    @property
    def failed(self) -> tuple[Clause, ...]:
        """The clauses that fail."""
        return tuple(clause for clause in self.clauses if clause.fails)

    @property
    def unchecked(self) -> tuple[Clause, ...]:
        """The clauses that were not checked."""
        return tuple(clause for clause in self.clauses if clause.state is ClauseState.NOT_CHECKED)

    def accepts(self, *names: str) -> bool:
        """Tell whether no clause fails, and those of some names hold; without names, whether all hold.

        Raises
        ------
        TpmMisuseError
            If there is no clause of a name.
        """
        wanted = [self[name] for name in names] if names else list(self.clauses)
        return self.grade is not Grade.NONE and all(clause.holds for clause in wanted)

    def require(self, *names: str) -> None:
        """Refuse what `accepts` does not accept.

        Raises
        ------
        VerificationError
            If a clause fails, or one of those named (without names, any) was not checked; says which.
        TpmMisuseError
            If there is no clause of a name.
        """
        if self.accepts(*names):
            return
        wanted = [self[name] for name in names] if names else list(self.clauses)
        bad = [*self.failed, *(clause for clause in wanted if not clause.holds and not clause.fails)]
        words = "; ".join(f"{clause.name} ({clause.state.value}): {clause.words}" for clause in bad)
        raise VerificationError(words or "nothing was verified", where=self.subject)

    def __getitem__(self, name: str) -> Clause:
        """Return the clause of a name; TpmMisuseError if there is none."""
        for clause in self.clauses:
            if isinstance(name, str) and clause.name == name:
                return clause
        names = ", ".join(clause.name for clause in self.clauses)
        raise TpmMisuseError(f"no clause {shown(name)}", where=self.subject, expected=names or "no clause at all")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and any(clause.name == name for clause in self.clauses)

    def __iter__(self) -> Iterator[Clause]:
        return iter(self.clauses)

    def __len__(self) -> int:
        return len(self.clauses)

    def __bool__(self) -> NoReturn:
        raise TpmMisuseError(
            "a verdict is neither true nor false",
            where=self.subject,
            expected="accepts('signature', 'nonce', ...) or grade",
            hint="which clauses have to hold is for whoever relies on it to say",
        )

    def __repr__(self) -> str:
        words = [f"{len(self.held)} of {len(self.clauses)} clauses hold"]
        for clauses, state in ((self.failed, "fails"), (self.unchecked, "not checked")):
            if clauses:
                more = f" and {len(clauses) - 1} more" if len(clauses) > 1 else ""
                words.append(f"{state}: {shown(clauses[0].name)}{more}")
        return f"<Verdict on {shown(self.subject)}: trust {self.grade.value}; {'; '.join(words)}>"

    def __str__(self) -> str:
        lines = [f"{self.subject}: trust {self.grade.value}", *(f"  {clause}" for clause in self.clauses)]
        if self.culprit is not None:
            lines.append(f"  first measurement that broke trust: {self.culprit}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_MARKS[clause.state]}</td><td>{escape(clause.name)}</td><td>{escape(clause.words)}</td></tr>"
            for clause in self.clauses
        )
        culprit = (
            "" if self.culprit is None else f"<p>first measurement that broke trust: {escape(str(self.culprit))}</p>"
        )
        caption = f"<caption>{escape(self.subject)}: trust {self.grade.value}</caption>"
        return f"<table>{caption}<tr><th></th><th>clause</th><th>found</th></tr>{rows}</table>{culprit}"


class Findings:
    """Clauses as they are found, on the way to a verdict.

    Parameters
    ----------
    subject : str
        What is verified.
    """

    __slots__ = ("_clauses", "attest", "culprit", "subject")

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._clauses: dict[str, Clause] = {}
        self.attest: TPMS_ATTEST | None = None
        self.culprit: Measurement | None = None

    def note(self, name: str, holds: bool | None, words: str) -> bool:
        """Note a clause: True holds, False fails, None was not checked. Return whether it holds."""
        states = {True: ClauseState.HOLDS, False: ClauseState.FAILS, None: ClauseState.NOT_CHECKED}
        self._clauses[name] = Clause(name, states[holds], words)
        return holds is True

    def equal(self, name: str, found: object, expected: object, words: str) -> bool:
        """Note whether two values are equal; not checked where `expected` is None."""
        if expected is None:
            return self.note(name, None, "nothing to compare with was given")
        if found == expected:
            return self.note(name, True, words)
        return self.note(name, False, f"{_told(found)}; expected {_told(expected)}")

    def holds(self, name: str) -> bool:
        """Tell whether a clause was noted that holds."""
        return name in self._clauses and self._clauses[name].holds

    def merge(self, clauses: Mapping[str, Clause]) -> None:
        """Note clauses that were found elsewhere."""
        self._clauses.update(clauses)

    def verdict(self) -> Verdict:
        """Return the verdict."""
        return Verdict(self.subject, tuple(self._clauses.values()), self.attest, self.culprit)


def _check_found(attest: object, culprit: object) -> None:
    """Refuse what is no attestation, or no measurement."""
    from prestocloud_sec.tpm.eventlog.event import Event
    from prestocloud_sec.tpm.eventlog.ima_entry import ImaEntry
    from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST

    if attest is not None:
        instance(attest, TPMS_ATTEST, "Verdict.attest")
    if culprit is not None and not isinstance(culprit, Event | ImaEntry):
        raise TpmMisuseError(shown(culprit), where="Verdict.culprit", expected="an Event or an ImaEntry")


def _told(value: object) -> str:
    return (value.hex() or "nothing") if isinstance(value, bytes) else shown(value)
