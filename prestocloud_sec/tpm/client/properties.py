# SPDX-License-Identifier: Apache-2.0
"""What a TPM says about itself, as people read it: maker, firmware, revision, limits.

Source: TPM 2.0 Library, Part 2, 6.13 (TPM_PT). Numbers are put into words only where the specification says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.attributes import TPMA_MEMORY, TPMA_MODES, TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_PS, TPM_PT
from prestocloud_sec.wire import items_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.spec.structures import TPMS_TAGGED_PROPERTY

__all__ = ["Properties"]

PT = TPM_PT
_VENDOR = (PT.VENDOR_STRING_1, PT.VENDOR_STRING_2, PT.VENDOR_STRING_3, PT.VENDOR_STRING_4)


def _letters(*words: int) -> str:
    """Return words as the text that they are, four letters each; what is no letter is written as its number."""
    data = b"".join(word.to_bytes(4, "big") for word in words).rstrip(b"\0 ")
    return "".join(chr(each) if 32 <= each < 127 else f"\\x{each:02x}" for each in data)


def _hundredths(number: int) -> str:
    return f"{number // 100}.{number % 100:02}"


def _named(kind: Any) -> Callable[[int], str]:
    """Return what shows a number by its name in an enumeration, or the names of the bits of an attribute word."""

    def show(number: int) -> str:
        try:
            value = kind(number)
        except ValueError:
            return f"0x{number:x}"
        return str(value.text() if hasattr(value, "text") else value.name)

    return show


_SHOWN: Mapping[int, Callable[[int], str]] = {
    **dict.fromkeys((PT.FAMILY_INDICATOR, PT.MANUFACTURER, *_VENDOR), _letters),
    **dict.fromkeys((PT.REVISION, PT.PS_REVISION), _hundredths),
    **dict.fromkeys((PT.CONTEXT_HASH, PT.CONTEXT_SYM), _named(TPM_ALG_ID)),
    PT.FIRMWARE_VERSION_1: lambda number: f"0x{number:08x}",
    PT.FIRMWARE_VERSION_2: lambda number: f"0x{number:08x}",
    PT.PS_FAMILY_INDICATOR: _named(TPM_PS),
    PT.MEMORY: _named(TPMA_MEMORY),
    PT.MODES: _named(TPMA_MODES),
    PT.PERMANENT: _named(TPMA_PERMANENT),
    PT.STARTUP_CLEAR: _named(TPMA_STARTUP_CLEAR),
}
"""How properties are shown that are no plain numbers."""


class Properties(Mapping[TPM_PT, int]):
    """The properties of a TPM by `TPM_PT`, and what they mean.

    Parameters
    ----------
    listed : iterable of TPMS_TAGGED_PROPERTY
        What TPM2_GetCapability told.
    """

    __slots__ = ("_values",)

    def __init__(self, listed: Iterable[TPMS_TAGGED_PROPERTY]) -> None:
        from prestocloud_sec.tpm.spec.structures import TPMS_TAGGED_PROPERTY

        self._values: dict[int, int] = {}
        for each in items_of(listed, "listed", "tagged properties", error=TpmMisuseError):
            told = instance(each, TPMS_TAGGED_PROPERTY, "listed")
            self._values[int(told.property)] = told.value

    def __getitem__(self, key: int) -> int:
        return self._values[key]

    def __iter__(self) -> Iterator[TPM_PT]:
        return (TPM_PT(number) if number in _KNOWN else number for number in self._values)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self._values)

    @property
    def manufacturer(self) -> str:
        """The letters that stand for the maker (TCG TPM Vendor ID Registry)."""
        return _letters(self._values.get(PT.MANUFACTURER, 0))

    @property
    def vendor(self) -> str:
        """The maker's own words for the model."""
        return _letters(*(self._values.get(each, 0) for each in _VENDOR))

    @property
    def family(self) -> str:
        """The family of specifications: ``2.0``."""
        return _letters(self._values.get(PT.FAMILY_INDICATOR, 0))

    @property
    def revision(self) -> str:
        """The revision of the library specification, such as ``1.59``."""
        return _hundredths(self._values.get(PT.REVISION, 0))

    @property
    def published(self) -> date | None:
        """When that revision was published; None where the TPM tells no date."""
        year, day = self._values.get(PT.YEAR, 0), self._values.get(PT.DAY_OF_YEAR, 0)
        if not 1 <= year <= 9998 or not 1 <= day <= 366:
            return None
        return date(year, 1, 1) + timedelta(days=day - 1)

    @property
    def firmware(self) -> int:
        """The version of the firmware as one number of 64 bits; each maker has his own way to read it."""
        return self._values.get(PT.FIRMWARE_VERSION_1, 0) << 32 | self._values.get(PT.FIRMWARE_VERSION_2, 0)

    @property
    def permanent(self) -> TPMA_PERMANENT:
        """What is set for good, or until somebody clears it."""
        return TPMA_PERMANENT(self._values.get(PT.PERMANENT, 0))

    @property
    def startup_clear(self) -> TPMA_STARTUP_CLEAR:
        """What is set until the next start."""
        return TPMA_STARTUP_CLEAR(self._values.get(PT.STARTUP_CLEAR, 0))

    def rows(self) -> list[tuple[str, str]]:
        """Return name and text of every property, in the order in which the TPM told them."""
        rows = []
        for number, value in self._values.items():
            name = TPM_PT(number).name if number in _KNOWN else f"0x{number:03x}"
            show = _SHOWN.get(number)
            rows.append((name, show(value) if show is not None else str(value)))
        return rows

    def __repr__(self) -> str:
        return (
            f"<Properties of a TPM {self.family} by {self.manufacturer} ({self.vendor}), revision {self.revision}, "
            f"firmware 0x{self.firmware:016x}: {len(self)} in all>"
        )

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in self.rows())
        return f"<table><caption>{escape(repr(self))}</caption>{rows}</table>"


_KNOWN = frozenset(int(each) for each in TPM_PT if each != PT.NONE)
