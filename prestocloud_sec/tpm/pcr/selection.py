# SPDX-License-Identifier: Apache-2.0
"""Selections of PCRs: which of them a quote or a policy is about, and the digest of their values.

On the wire a selection is a list; each element names a bank and has a bit map, in which PCR n is bit ``n % 8`` of byte
``n / 8``. The order of the list matters: values are hashed in that order, and by ascending number within a bank.

Sources: TPM 2.0 Library, Part 2, 10.5.1, 10.6.2 and 10.9.7 (TPML_PCR_SELECTION); Part 3, 18.4 (the digest of a quote).
The text is that of tpm2-tools, ``sha1:0,1,2+sha256:all``, and ranges besides: ``sha256:0-7,16``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._banks import bank_id, bank_name
from prestocloud_sec.tpm._given import octets, text
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.tpm.spec.structures.basic import TPMS_PCR_SELECTION
    from prestocloud_sec.wire import BytesLike

    SelectionLike: TypeAlias = "PcrSelection | str | Mapping[HashName, Iterable[int]] | Iterable[TPMS_PCR_SELECTION]"

__all__ = ["PcrSelection", "SelectionLike", "pcr_digest"]

_PCRS = 24
_LEAST_BYTES = 3
_MOST_BYTES = 32  # of a bit map; TPM 2.0 Library has 4
_MOST_ROWS = 64
_RANGE = re.compile(r"([0-9]{1,2})(?:-([0-9]{1,2}))?")


def __getattr__(name: str) -> object:
    # At run time the alias is the documentation of what `PcrSelection.of` takes.
    if name == "SelectionLike":
        return PcrSelection | str | Mapping | tuple
    raise AttributeError(name)


@dataclass(frozen=True, slots=True, repr=False)
class PcrSelection:
    """PCRs of banks, in the order in which they are hashed.

    Attributes
    ----------
    rows : tuple of (int, bytes)
        For each element of the list, the bank's algorithm and the bit map as they are on the wire.

    Examples
    --------
    >>> selection = PcrSelection.of("sha256:0,7+sha1:16")
    >>> selection.encode().hex()
    '00000002000b03810000000403000001'
    >>> [(pcr, int(bank)) for bank, pcr in selection]
    [(0, 11), (7, 11), (16, 4)]
    """

    rows: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        where, held = "PcrSelection.rows", []
        for row in items_of(self.rows, where, "an iterable of pairs", error=TpmMisuseError):
            if not isinstance(row, tuple) or len(row) != 2:
                raise TpmMisuseError(shown(row), where=where, expected="a pair of bank and bit map")
            held.append((bank_id(row[0], where), octets(row[1], where, most=_MOST_BYTES)))
        if len(held) > _MOST_ROWS:
            raise TpmMisuseError(f"{len(held)} rows", where=where, expected=f"at most {_MOST_ROWS}")
        object.__setattr__(self, "rows", tuple(held))

    @classmethod
    def of(cls, selection: SelectionLike) -> PcrSelection:
        """Return a selection given in any form people write one in.

        Parameters
        ----------
        selection : PcrSelection, str, mapping, or iterable of TPMS_PCR_SELECTION
            Text as tpm2-tools take it, also with ranges (``"sha256:0-7"``), or a mapping from banks to PCR numbers,
            or the list of the specification.

        Raises
        ------
        TpmMisuseError
            If it is none of these, or a PCR is not one of 0 to 23.
        """
        if isinstance(selection, PcrSelection):
            return selection
        if isinstance(selection, str):
            return cls(tuple(_parsed(part) for part in selection.split("+"))) if selection else cls()
        if isinstance(selection, Mapping):
            return cls(tuple((bank_id(bank), _bitmap(pcrs, "selection")) for bank, pcrs in selection.items()))
        return cls.of_list(selection)

    @classmethod
    def of_list(cls, selection: Iterable[TPMS_PCR_SELECTION]) -> Self:
        """Return the selection that a TPML_PCR_SELECTION is; TpmMisuseError if it is none."""
        from prestocloud_sec.tpm.spec.structures.basic import TPMS_PCR_SELECTION

        rows = []
        expected = "an iterable of TPMS_PCR_SELECTION"
        for row in items_of(selection, "selection", expected, error=TpmMisuseError):
            if not isinstance(row, TPMS_PCR_SELECTION):
                raise TpmMisuseError(shown(row), where="selection", expected=expected)
            rows.append((row.hash, row.pcrSelect))
        return cls(tuple(rows))

    def to_list(self) -> tuple[TPMS_PCR_SELECTION, ...]:
        """Return the selection as commands take it (TPML_PCR_SELECTION)."""
        from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
        from prestocloud_sec.tpm.spec.structures.basic import TPMS_PCR_SELECTION

        return tuple(TPMS_PCR_SELECTION(TPM_ALG_ID(bank), bitmap) for bank, bitmap in self.rows)

    def encode(self) -> bytes:
        """Return the bytes of the TPML_PCR_SELECTION."""
        rows = (bank.to_bytes(2, "big") + bytes((len(bitmap),)) + bitmap for bank, bitmap in self.rows)
        return len(self.rows).to_bytes(4, "big") + b"".join(rows)

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the selection of a TPML_PCR_SELECTION.

        Raises
        ------
        TpmFormatError
            If the bytes are none, or have more than 64 elements.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        raw, at, where = octets(data, "PcrSelection"), 4, "PcrSelection"
        if len(raw) < at:
            raise TpmTruncatedError(f"{len(raw)} bytes", where=f"{where}.count", offset=0, expected="4")
        count = int.from_bytes(raw[:at], "big")
        if count > _MOST_ROWS:
            raise TpmFormatError(f"{count} elements", where=where, offset=0, expected=f"at most {_MOST_ROWS}")
        rows = []
        for number in range(count):
            place = f"{where}.rows[{number}]"
            if len(raw) < at + 3 or len(raw) < at + 3 + raw[at + 2]:
                raise TpmTruncatedError(f"{len(raw) - at} bytes left", where=place, offset=at, expected="more")
            end = at + 3 + raw[at + 2]
            if raw[at + 2] > _MOST_BYTES:
                raise TpmFormatError(f"{raw[at + 2]} bytes", where=place, offset=at, expected=f"at most {_MOST_BYTES}")
            rows.append((int.from_bytes(raw[at : at + 2], "big"), raw[at + 3 : end]))
            at = end
        if at != len(raw):
            raise TpmTrailingBytesError(f"{len(raw) - at} bytes too many", where=where, offset=at)
        return cls(tuple(rows))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield bank and PCR of all that is selected, in the order in which it is hashed."""
        for bank, bitmap in self.rows:
            for at, bits in enumerate(bitmap):
                for bit in range(8):
                    if bits >> bit & 1:
                        yield bank, 8 * at + bit

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def banks(self) -> dict[int, tuple[int, ...]]:
        """The PCRs of each bank, ascending."""
        found: dict[int, set[int]] = {bank: set() for bank, _ in self.rows}
        for bank, pcr in self:
            found[bank].add(pcr)
        return {bank: tuple(sorted(pcrs)) for bank, pcrs in found.items()}

    def digest(self, values: Mapping[int, Mapping[int, bytes]], algorithm: HashName) -> bytes:
        """Return the digest of the selected PCRs: of their values one after the other, in the order of the selection.

        Parameters
        ----------
        values : mapping of bank to mapping of int to bytes
            At least the values that are selected; banks by name or number.
        algorithm : str or int
            The hash. For a quote it is that of the signature, for a policy that of the session.

        Raises
        ------
        TpmMisuseError
            If a selected value is not there, or not as long as its bank's digests.
        """
        found: dict[int, Any] = {}
        if not isinstance(values, Mapping):
            raise TpmMisuseError(shown(values), where="values", expected="a mapping of banks")
        for bank, pcrs in values.items():
            found[bank_id(bank, "values")] = pcrs
        parts = []
        for bank, pcr in self:
            try:
                value = found[bank][pcr]
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise TpmMisuseError(f"no PCR {pcr} of {bank_name(bank)}", where="values") from error
            parts.append(octets(value, f"values[{bank_name(bank)}][{pcr}]", hash_of(bank, "bank").size))
        return hash_of(algorithm, "algorithm").digest(*parts)

    def __str__(self) -> str:
        words = (f"{bank_name(bank)}:{_numbers(bitmap)}" for bank, bitmap in self.rows)
        return "+".join(words)

    def __repr__(self) -> str:
        return f"PcrSelection.of({str(self)!r})"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{bank_name(b)}</td><td>{_numbers(m)}</td></tr>" for b, m in self.rows)
        return f"<table><tr><th>bank</th><th>PCRs</th></tr>{rows}</table>"


def pcr_digest(selection: SelectionLike, values: Mapping[int, Mapping[int, bytes]], algorithm: HashName) -> bytes:
    """Return the digest of selected PCRs; see `PcrSelection.digest`."""
    return PcrSelection.of(selection).digest(values, algorithm)


def _numbers(bitmap: bytes) -> str:
    found = [str(8 * at + bit) for at, bits in enumerate(bitmap) for bit in range(8) if bits >> bit & 1]
    return ",".join(found) or "none"


def _bitmap(pcrs: Iterable[int], where: str) -> bytes:
    bits = 0
    for pcr in items_of(pcrs, where, "an iterable of PCR numbers", error=TpmMisuseError):
        bits |= 1 << whole(pcr, where, 0, _PCRS - 1, error=TpmMisuseError)
    return bits.to_bytes(_LEAST_BYTES, "little")


def _parsed(part: str) -> tuple[int, bytes]:
    name, colon, numbers = text(part, "selection").partition(":")
    if not colon:
        raise TpmMisuseError(shown(part), where="selection", expected="a bank, a colon and PCRs: sha256:0,7")
    bank = bank_id(name.strip(), "selection")
    words = [word.strip() for word in numbers.split(",")]
    if words == ["all"]:
        return bank, _bitmap(range(_PCRS), "selection")
    if words in (["none"], [""]):
        return bank, bytes(_LEAST_BYTES)
    pcrs: list[int] = []
    for word in words:
        found = _RANGE.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first:
            expected = f"numbers from 0 to {_PCRS - 1}, ranges such as 0-7, or all"
            raise TpmMisuseError(shown(part), where="selection", expected=expected)
        pcrs += range(first, last + 1)
    return bank, _bitmap(pcrs, "selection")
