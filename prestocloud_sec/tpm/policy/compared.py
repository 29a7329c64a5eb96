# SPDX-License-Identifier: Apache-2.0
"""Steps that compare the state of the TPM with what it is to be: PCRs, NV indexes, clock and counters.

Source: TPM 2.0 Library, Part 3, 23.7 (PCR), 23.9 (NV), 23.10 (counter and timer); Part 2, 6.8 (TPM_EO), 10.11.2
(TPMS_TIME_INFO).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.policy.kinds import (
    DIGEST,
    INDEX,
    SELECTION,
    Kind,
    Maybe,
    Octets,
    PcrValues,
    Whole,
    shown_bytes,
)
from prestocloud_sec.tpm.policy.step import Step, sized
from prestocloud_sec.tpm.spec.commands.policies import PolicyCounterTimer, PolicyNV, PolicyPCR
from prestocloud_sec.tpm.spec.constants import TPM_EO
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.run import Course

__all__ = ["FIELDS", "NV", "OPERATIONS", "PCR", "CounterTimer", "TimeField", "operation_of"]


class _Operation(NamedTuple):
    """A comparison: its number, what tpm2-tools call it, and how it is written between the two sides."""

    number: TPM_EO
    name: str
    sign: str


OPERATIONS = (
    _Operation(TPM_EO.EQ, "eq", "=="),
    _Operation(TPM_EO.NEQ, "neq", "!="),
    _Operation(TPM_EO.SIGNED_GT, "sgt", "> (signed)"),
    _Operation(TPM_EO.UNSIGNED_GT, "ugt", ">"),
    _Operation(TPM_EO.SIGNED_LT, "slt", "< (signed)"),
    _Operation(TPM_EO.UNSIGNED_LT, "ult", "<"),
    _Operation(TPM_EO.SIGNED_GE, "sge", ">= (signed)"),
    _Operation(TPM_EO.UNSIGNED_GE, "uge", ">="),
    _Operation(TPM_EO.SIGNED_LE, "sle", "<= (signed)"),
    _Operation(TPM_EO.UNSIGNED_LE, "ule", "<="),
    _Operation(TPM_EO.BITSET, "bs", "has the bits"),
    _Operation(TPM_EO.BITCLEAR, "bc", "has none of the bits"),
)
"""The comparisons; what is in the TPM stands on the left."""

_BY_WORD: Mapping[object, TPM_EO] = {
    word: row.number for row in OPERATIONS for word in (row.number, row.name, row.sign)
}


def operation_of(operation: TPM_EO | int | str) -> TPM_EO:
    """Return a comparison given by number, by the name of tpm2-tools (``"ugt"``), or by its sign (``">"``).

    Raises
    ------
    TpmMisuseError
        If there is none.
    """
    try:
        return _BY_WORD[operation]
    except Exception:  # not there, or whatever a foreign __hash__ raises
        expected = ", ".join(row.name for row in OPERATIONS)
        raise TpmMisuseError(f"{shown(operation)} is no comparison", where="operation", expected=expected) from None


class TimeField(NamedTuple):
    """A field of TPMS_TIME_INFO: where it begins, and how many bytes it has."""

    offset: int
    size: int


FIELDS = {
    "time": TimeField(0, 8),
    "clock": TimeField(8, 8),
    "resets": TimeField(16, 4),
    "restarts": TimeField(20, 4),
    "safe": TimeField(24, 1),
}
"""The fields of TPMS_TIME_INFO, by the names of tpm2-tools: milliseconds since power-on, milliseconds of the TPM's
clock, counters of resets and restarts, and whether the clock is sure not to have been set back."""

_AT = {field: name for name, field in FIELDS.items()}


class _Operations(Whole):
    def admit(self, value: Any, where: str) -> int:
        return operation_of(value) if isinstance(value, str) else TPM_EO(super().admit(value, where))


_OPERATION = _Operations(0, 0x0B)
_OPERAND = Octets(64)


@dataclass(frozen=True, slots=True)
class PCR(Step):
    """PCRs have to have given values.

    Attributes
    ----------
    selection : PcrSelection, str or mapping
        Which: ``"sha256:0,7"``, or all that `PcrSelection.of` takes.
    values : mapping of bank to mapping of PCR to bytes, optional
        Their values, as `PcrBanks.values` gives them; others than the selected ones are left out. Held as pairs.
    digest : bytes, optional
        In place of the values, their digest with the hash of the policy.

    Raises
    ------
    TpmMisuseError
        If there is not exactly one of values and digest, or the values are not those of the selection.
    """

    selection: PcrSelection
    values: Any = None
    digest: bytes | None = None

    kinds: ClassVar[Mapping[str, Kind]] = {
        "selection": SELECTION,
        "values": Maybe(PcrValues()),
        "digest": Maybe(DIGEST),
    }

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        if (self.values is None) == (self.digest is None):
            raise TpmMisuseError(
                "not exactly one of values and digest",
                where="PCR",
                expected="one of them",
                hint="use.read_pcrs(client, selection) gives the values of now",
            )
        if self.values is not None:
            wanted = set(self.selection)
            rows = [(bank, tuple(row for row in pcrs if (bank, row[0]) in wanted)) for bank, pcrs in self.values]
            object.__setattr__(self, "values", tuple(row for row in rows if row[1]))
            missing = wanted - {(bank, pcr) for bank, pcrs in self.values for pcr, _ in pcrs}
            if missing:
                raise TpmMisuseError(f"no value of {len(missing)} PCRs", where="PCR.values", expected="all selected")

    def pcr_digest(self, algorithm: HashAlgorithm) -> bytes:
        """Return the digest over the values; PolicyError if only one of another hash is known."""
        if self.digest is not None:
            return sized(self.digest, algorithm, "PCR.digest")
        return self.selection.digest({bank: dict(pcrs) for bank, pcrs in self.values}, algorithm)

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step.

        Raises
        ------
        PolicyError
            If the digest in the step is not of this hash.
        """
        return self._hashed(digest, algorithm, self.selection.encode(), self.pcr_digest(algorithm))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command; a TPM whose PCRs have other values refuses it."""
        digest = self.pcr_digest(course.algorithm)
        yield from course.command(PolicyPCR(course.handle, digest, self.selection.to_list()))

    def words(self) -> str:
        """Return which PCRs, and the beginning of the digest where that is all that is known."""
        if self.digest is not None:
            return f"{self.selection} = {shown_bytes(self.digest)}"
        count = sum(len(pcrs) for _, pcrs in self.values)
        if count == 1:
            return f"{self.selection} = {shown_bytes(self.values[0][1][0][1])}"
        return f"{self.selection} = {count} values"


@dataclass(frozen=True, slots=True)
class NV(Step):
    """What is in an NV index has to compare with a given value.

    Attributes
    ----------
    index : TPMS_NV_PUBLIC or bytes
        The index, by its public area or by its Name. The Name changes when the index is first written.
    operand : bytes
        The value that is compared with, on the right-hand side.
    operation : TPM_EO, int or str
        The comparison, such as ``"=="``, ``"uge"`` or ``TPM_EO.BITSET``.
    offset : int
        Where in the index the left-hand side begins, in bytes; it is as long as the operand.
    """

    index: TPMS_NV_PUBLIC | bytes
    operand: bytes
    operation: int = TPM_EO.EQ
    offset: int = 0

    kinds: ClassVar[Mapping[str, Kind]] = {
        "index": INDEX,
        "operand": _OPERAND,
        "operation": _OPERATION,
        "offset": Whole(0, 0xFFFF),
    }

    @property
    def name(self) -> bytes:
        """The Name of the index."""
        return self.index if isinstance(self.index, bytes) else name_of(self.index)

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        numbers = self.offset.to_bytes(2, "big") + self.operation.to_bytes(2, "big")
        return self._hashed(digest, algorithm, algorithm.digest(self.operand, numbers), self.name)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command, which reads the index and so needs an authorization to read it."""
        handle, reader = yield from course.index(self.index)
        operation = TPM_EO(self.operation)
        yield from course.command(PolicyNV(reader, handle, course.handle, self.operand, self.offset, operation))

    def words(self) -> str:
        """Return the comparison."""
        where = shown_bytes(self.index) if isinstance(self.index, bytes) else f"0x{self.index.nvIndex:08x}"
        return f"{where}[{self.offset}:{self.offset + len(self.operand)}] {_sign(self.operation)} {self.operand.hex()}"


@dataclass(frozen=True, slots=True)
class CounterTimer(Step):
    """The TPM's time, clock or counters have to compare with a given value.

    Attributes
    ----------
    operand : bytes
        The value that is compared with, on the right-hand side.
    operation : TPM_EO, int or str
        The comparison, such as ``"<"``.
    offset : int
        Where in TPMS_TIME_INFO the left-hand side begins; `FIELDS` has the fields. It is as long as the operand.
    """

    operand: bytes
    operation: int = TPM_EO.EQ
    offset: int = 0

    kinds: ClassVar[Mapping[str, Kind]] = {"operand": _OPERAND, "operation": _OPERATION, "offset": Whole(0, 0xFFFF)}

    @classmethod
    def of(cls, name: str, operation: TPM_EO | int | str, value: int) -> CounterTimer:
        """Return the step for a field of `FIELDS`.

        >>> print(CounterTimer.of("clock", "<", 60_000))
        CounterTimer clock < 60000

        Raises
        ------
        TpmMisuseError
            If there is no such field or comparison, or the value does not fit the field.
        """
        field = FIELDS.get(name) if isinstance(name, str) else None
        if field is None:
            raise TpmMisuseError(shown(name), where="CounterTimer", expected=", ".join(FIELDS))
        number = whole(value, name, 0, (1 << 8 * field.size) - 1, error=TpmMisuseError)
        return cls(number.to_bytes(field.size, "big"), operation_of(operation), field.offset)

    @property
    def field(self) -> str | None:
        """The name of the field that is compared, if it is just one."""
        return _AT.get(TimeField(self.offset, len(self.operand)))

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        numbers = self.offset.to_bytes(2, "big") + self.operation.to_bytes(2, "big")
        return self._hashed(digest, algorithm, algorithm.digest(self.operand, numbers))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        operation = TPM_EO(self.operation)
        yield from course.command(PolicyCounterTimer(course.handle, self.operand, self.offset, operation))

    def words(self) -> str:
        """Return the comparison."""
        if self.field is not None:
            return f"{self.field} {_sign(self.operation)} {int.from_bytes(self.operand, 'big')}"
        return f"[{self.offset}:{self.offset + len(self.operand)}] {_sign(self.operation)} {self.operand.hex()}"


def _sign(operation: int) -> str:
    return OPERATIONS[operation].sign
