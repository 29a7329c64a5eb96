# SPDX-License-Identifier: Apache-2.0
"""What the fields of policy steps hold, and how each is written in JSON.

A kind brings what a caller gives into the form that is held, or refuses it; `dump` and `load` are its JSON, exact both
ways: byte strings are lower-case hexadecimal digits, numbers are numbers, and nothing is taken for something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import PolicyFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import handle_name, name_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.spec.declare import Structure
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import shown, whole

__all__ = [
    "DIGEST",
    "FLAG",
    "INDEX",
    "KEY",
    "NAME",
    "NAME_OR_NONE",
    "SELECTION",
    "Encoded",
    "Kind",
    "Maybe",
    "Octets",
    "Whole",
    "shown_bytes",
    "unhex",
]

_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_MOST_DIGEST = 64


def unhex(value: object, where: str, most: int = 0xFFFF) -> bytes:
    """Return the bytes that lower-case hexadecimal digits are; PolicyFormatError if they are something else."""
    if not isinstance(value, str) or len(value) > 2 * most or not _HEX.fullmatch(value):
        what = f"{len(value)} characters" if isinstance(value, str) else shown(value)
        raise PolicyFormatError(what, where=where, expected=f"at most {most} bytes in lower-case hexadecimal digits")
    return bytes.fromhex(value)


def shown_bytes(data: bytes) -> str:
    """Return bytes as a line of a tree shows them: all of a few, the beginning of many."""
    return data.hex() if len(data) <= 8 else f"{data[:8].hex()}…"


class Kind:
    """What a field holds."""

    def admit(self, value: Any, where: str) -> Any:
        """Return the value as it is held; TpmMisuseError if it is none."""
        raise TpmMisuseError(
            f"{type(self).__name__} holds nothing: {shown(value)}", where=where, expected="another kind"
        )

    def dump(self, value: Any) -> Any:
        """Return a held value as JSON has it."""
        return value

    def load(self, value: Any, where: str) -> Any:  # noqa: ARG002  (most say where)
        """Return what is to be held, or PolicyFormatError; what `admit` checks need not be checked here."""
        return value


class _Flag(Kind):
    def admit(self, value: Any, where: str) -> bool:
        return flag(value, where)


class Whole(Kind):
    """An integer from `low` to `high`."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def admit(self, value: Any, where: str) -> int:
        """Return the number."""
        return whole(value, where, self.low, self.high, error=TpmMisuseError)

    def load(self, value: Any, where: str) -> int:
        """Return the number; JSON's true and 1.0 are none."""
        if type(value) is not int:
            raise PolicyFormatError(shown(value), where=where, expected="an integer")
        return value


class Octets(Kind):
    """At most `most` bytes."""

    def __init__(self, most: int) -> None:
        self.most = most

    def admit(self, value: Any, where: str) -> bytes:
        """Return the bytes."""
        return octets(value, where, most=self.most)

    def dump(self, value: bytes) -> str:
        """Return hexadecimal digits."""
        return value.hex()

    def load(self, value: Any, where: str) -> bytes:
        """Return what the digits are."""
        return unhex(value, where, self.most)


class _Name(Octets):
    """A Name: of something with a public area, or a handle; `admit` takes the handle as a number too."""

    def __init__(self) -> None:
        super().__init__(2 + _MOST_DIGEST)

    def admit(self, value: Any, where: str) -> bytes:
        if isinstance(value, int):
            return handle_name(value)
        name = super().admit(value, where)
        if len(name) == 4:
            return handle_name(int.from_bytes(name, "big"))
        algorithm = hash_of(int.from_bytes(name[:2], "big"), where) if len(name) > 2 else None
        if algorithm is None or len(name) != 2 + algorithm.size:
            raise TpmMisuseError(f"{len(name)} bytes", where=where, expected="a Name: a hash algorithm and a digest")
        return name


class _NameOrNone(_Name):
    def admit(self, value: Any, where: str) -> bytes:
        return b"" if not isinstance(value, int) and octets(value, where) == b"" else super().admit(value, where)


class _Entity(Kind):
    """Something with a public area, by that or by its Name alone."""

    def __init__(self, structure: type[Structure]) -> None:
        self.structure = structure

    def admit(self, value: Any, where: str) -> Any:
        if isinstance(value, self.structure):
            if not name_of(value):  # type: ignore[arg-type]
                raise TpmMisuseError("has no Name", where=where, expected="a nameAlg that is not NULL")
            return value
        if isinstance(value, int | Structure):
            raise TpmMisuseError(shown(value), where=where, expected=f"a Name or a {self.structure.__name__}")
        name: bytes = NAME.admit(value, where)
        if len(name) == 4:
            raise TpmMisuseError("the Name of a handle", where=where, expected="one of something with a public area")
        return name

    def dump(self, value: Any) -> dict[str, str]:
        return {"name": value.hex()} if isinstance(value, bytes) else {"public": value.encode().hex()}

    def load(self, value: Any, where: str) -> Any:
        if isinstance(value, dict) and set(value) == {"name"}:
            return unhex(value["name"], f"{where}.name")
        if isinstance(value, dict) and set(value) == {"public"}:
            return decoded(self.structure, unhex(value["public"], f"{where}.public"), where)
        raise PolicyFormatError(shown(value), where=where, expected='an object with "name" or "public"')


def decoded(structure: type[Structure], data: bytes, where: str) -> Any:
    """Return the structure that bytes are; PolicyFormatError if they are none."""
    try:
        return structure.decode(data)
    except PrestoCloudError as error:
        expected = f"a {structure.__name__}"
        raise PolicyFormatError(str(error), where=where, expected=expected) from error


class Encoded(Kind):
    """A structure of the specification; `admit` takes its bytes too."""

    def __init__(self, structure: type[Structure]) -> None:
        self.structure = structure

    def admit(self, value: Any, where: str) -> Any:
        """Return the structure."""
        if isinstance(value, self.structure):
            return value
        if isinstance(value, Structure):
            raise TpmMisuseError(type(value).__name__, where=where, expected=f"a {self.structure.__name__}")
        return self.structure.decode(octets(value, where))

    def dump(self, value: Any) -> str:
        """Return hexadecimal digits."""
        digits: str = value.encode().hex()
        return digits

    def load(self, value: Any, where: str) -> Any:
        """Return the structure that the digits are."""
        return decoded(self.structure, unhex(value, where), where)


class _Selection(Kind):
    def admit(self, value: Any, where: str) -> PcrSelection:  # noqa: ARG002  (the selection says what is wrong with it)
        return PcrSelection.of(value)

    def dump(self, value: PcrSelection) -> str:
        return value.encode().hex()

    def load(self, value: Any, where: str) -> PcrSelection:
        try:
            return PcrSelection.decode(unhex(value, where))
        except PrestoCloudError as error:
            raise PolicyFormatError(str(error), where=where, expected="a TPML_PCR_SELECTION") from error


class Maybe(Kind):
    """What another kind holds, or None."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def admit(self, value: Any, where: str) -> Any:
        """Return None, or what the other kind makes of the value."""
        return None if value is None else self.kind.admit(value, where)

    def dump(self, value: Any) -> Any:
        """Return null, or what the other kind makes of the value."""
        return None if value is None else self.kind.dump(value)

    def load(self, value: Any, where: str) -> Any:
        """Return None, or what the other kind makes of the value."""
        return None if value is None else self.kind.load(value, where)


class PcrValues(Kind):
    """Values of PCRs; held as pairs, so that they can be compared and hashed."""

    def admit(self, value: Any, where: str) -> tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]:
        """Return pairs of bank and pairs of PCR and value, all in ascending order."""
        if isinstance(value, tuple):
            try:
                value = {bank: dict(pcrs) for bank, pcrs in value}
            except (TypeError, ValueError) as error:
                raise TpmMisuseError(shown(value), where=where, expected="a mapping of banks") from error
        if not isinstance(value, Mapping):
            raise TpmMisuseError(shown(value), where=where, expected="a mapping of banks")
        banks = {}
        for bank, pcrs in value.items():
            row = hash_of(bank, where)
            if not isinstance(pcrs, Mapping) or row.id in banks:
                raise TpmMisuseError(shown(pcrs), where=where, expected="each bank once, a mapping of PCRs")
            held = {whole(pcr, where, 0, 255, error=TpmMisuseError): v for pcr, v in pcrs.items()}
            banks[row.id] = tuple(
                (pcr, octets(v, f"{where}[{row.name}][{pcr}]", row.size)) for pcr, v in sorted(held.items())
            )
        return tuple(sorted(banks.items()))

    def dump(self, value: Any) -> Any:
        """Return an object of banks, by name, with an object of PCRs, by number, in each."""
        return {hash_of(bank).name: {str(pcr): v.hex() for pcr, v in pcrs} for bank, pcrs in value}

    def load(self, value: Any, where: str) -> Any:
        """Return banks of PCRs."""
        if not isinstance(value, dict) or not all(isinstance(pcrs, dict) for pcrs in value.values()):
            raise PolicyFormatError(shown(value), where=where, expected="an object of banks, objects of PCRs")
        names = [str(number) for number in range(256)]
        found: dict[int, dict[int, bytes]] = {}
        for bank, pcrs in value.items():
            row = hash_of(bank, where, error=PolicyFormatError)
            if not set(pcrs) <= set(names):
                raise PolicyFormatError(shown(list(pcrs)), where=f"{where}.{bank}", expected="PCRs 0 to 255")
            found[row.id] = {int(pcr): unhex(v, f"{where}.{bank}.{pcr}", row.size) for pcr, v in pcrs.items()}
        return found


FLAG = _Flag()
"""True or False."""
DIGEST = Octets(_MOST_DIGEST)
"""A digest; how long it has to be depends on the hash of the policy."""
NAME = _Name()
"""A Name."""
NAME_OR_NONE = _NameOrNone()
"""A Name, or nothing."""
KEY = _Entity(TPMT_PUBLIC)
"""A key, by its Name or its public area."""
INDEX = _Entity(TPMS_NV_PUBLIC)
"""An NV index, by its Name or its public area."""
SELECTION = _Selection()
"""A selection of PCRs."""
