# SPDX-License-Identifier: Apache-2.0
"""The PCRs of a PC's TPM in software: all banks, with the rules of who may extend and reset which of them.

`PcrBanks` is a machine: commands change it as they change a TPM, or are refused as a TPM refuses them and change
nothing. It starts as a TPM does after TPM2_Startup(CLEAR).

- A PCR is extended in every bank that the command has a digest of, each time it has one.
- PCRs 0 to 15 are reset by nothing but a start; 16 and 23 by anyone but locality 4; 20 to 22 by locality 2. A dynamic
  launch (``_TPM_Hash_Start`` and its like, from locality 4) resets 17 to 22 to zero and extends 17.
- The update counter goes up by one for each bank that a PCR was extended in, and by one for a PCR that was reset; the
  PCRs 16, 21, 22 and 23 never move it. It starts at the number of PCRs that do, 20.

Sources: TCG PC Client Platform TPM Profile 1.06, section 4.6.2 (localities, start values, the counter); TPM 2.0
Library, Part 1, 17 and 34, Part 3, clause 22. Where libtpms 0.9.2 differs it is followed: the profile lets locality 4
reset PCRs 17 to 20 by command, libtpms does not; and extending counts once for each bank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prestocloud_sec.tpm._banks import bank_id, bank_name
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import LocalityError, TpmMisuseError, TpmResponseError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.wire import BytesLike

__all__ = ["PCRS", "PROFILE", "PcrBanks", "PcrRule"]

PCRS = 24
"""How many PCRs a PC has."""


class PcrRule(NamedTuple):
    """What may be done with a PCR.

    Attributes
    ----------
    extends, resets : frozenset of int
        Localities that may extend it, and that may reset it by command.
    is_saved : bool
        Whether Shutdown(STATE) and Startup(STATE) carry it over.
    is_dynamic : bool
        Whether it starts with all ones, and a dynamic launch sets it to zero.
    is_counted : bool
        Whether its changes move the update counter.
    """

    extends: frozenset[int]
    resets: frozenset[int] = frozenset()
    is_saved: bool = False
    is_dynamic: bool = False
    is_counted: bool = True


def _set(*localities: int) -> frozenset[int]:
    return frozenset(localities)


_ANY = _set(0, 1, 2, 3, 4)

PROFILE: tuple[PcrRule, ...] = (
    *(PcrRule(_ANY, is_saved=True) for _ in range(16)),
    PcrRule(_ANY, _set(0, 1, 2, 3), is_counted=False),
    PcrRule(_set(2, 3, 4), is_dynamic=True),
    PcrRule(_set(2, 3, 4), is_dynamic=True),
    PcrRule(_set(2, 3), is_dynamic=True),
    PcrRule(_set(1, 2, 3), _set(2), is_dynamic=True),
    PcrRule(_set(2), _set(2), is_dynamic=True, is_counted=False),
    PcrRule(_set(2), _set(2), is_dynamic=True, is_counted=False),
    PcrRule(_ANY, _set(0, 1, 2, 3), is_counted=False),
)
"""The rule of each PCR, by its number."""

_HCRTM_LOCALITY = 4
_STARTUP_LOCALITIES = (0, 3)


class PcrBanks:
    """The PCRs of a TPM, in software.

    Parameters
    ----------
    banks : iterable of str or int
        The banks that are allocated, in order.

    Examples
    --------
    >>> pcrs = PcrBanks(["sha256"])
    >>> pcrs.extend(7, {"sha256": bytes(32)})
    >>> pcrs.read(7, "sha256").hex()[:16], pcrs.update_counter
    ('f5a5fd42d16a2030', 21)
    """

    __slots__ = ("_banks", "_counter", "_saved", "_values")

    def __init__(self, banks: Iterable[HashName] = ("sha1", "sha256", "sha384", "sha512")) -> None:
        held = [
            hash_of(bank, "banks") for bank in items_of(banks, "banks", "an iterable of banks", error=TpmMisuseError)
        ]
        if not held or len({bank.id for bank in held}) != len(held):
            raise TpmMisuseError(f"{len(held)} banks", where="banks", expected="at least one, each once")
        self._banks: dict[int, HashAlgorithm] = {bank_id(bank): bank for bank in held}
        self._values: dict[int, list[bytes]] = {}
        self._counter = 0
        self._saved: dict[int, list[bytes]] | None = None
        self.startup()

    @property
    def banks(self) -> tuple[int, ...]:
        """The banks that are allocated."""
        return tuple(self._banks)

    @property
    def update_counter(self) -> int:
        """How often PCRs changed, as TPM2_PCR_Read tells."""
        return self._counter

    def startup(self, locality: int = 0, *, hcrtm: BytesLike | None = None) -> None:
        """Start the TPM anew, as a power cycle and TPM2_Startup(CLEAR) do.

        Parameters
        ----------
        locality : int
            0, or 3, which PCR 0 then starts with.
        hcrtm : bytes-like, optional
            What a hardware CRTM measured before TPM2_Startup; PCR 0 is then extended with its digest.

        Raises
        ------
        LocalityError
            If the locality is another.
        """
        self._startup_locality(locality)
        data = None if hcrtm is None else octets(hcrtm, "hcrtm")
        self._saved = None
        self._values = {}
        for number, bank in self._banks.items():
            zeros, ones = bank.zeros, b"\xff" * bank.size
            self._values[number] = [ones if rule.is_dynamic else zeros for rule in PROFILE]
            if data is not None:
                start = zeros[:-1] + bytes((_HCRTM_LOCALITY,))
                self._values[number][0] = bank.digest(start, bank.digest(data))
            else:
                self._values[number][0] = zeros[:-1] + bytes((locality,))
        self._counter = sum(rule.is_counted for rule in PROFILE)

    def shutdown(self) -> None:
        """Keep for `resume` what TPM2_Shutdown(STATE) keeps."""
        self._saved = {bank: list(values) for bank, values in self._values.items()}

    def resume(self) -> None:
        """Start the TPM again where `shutdown` left it, as a power cycle and TPM2_Startup(STATE) do.

        Raises
        ------
        TpmResponseError
            If nothing was kept, or PCRs changed since.
        """
        if self._saved is None:
            raise TpmResponseError(0x1C4, "VALUE", "there is no state to resume from", command="Startup", parameter=1)
        for bank, values in self._saved.items():
            algorithm = self._banks[bank]
            ones = b"\xff" * algorithm.size
            self._values[bank] = [
                value if rule.is_saved else ones if rule.is_dynamic else algorithm.zeros
                for rule, value in zip(PROFILE, values, strict=True)
            ]
        self._counter += sum(rule.is_counted and not rule.is_saved for rule in PROFILE)
        self._saved = None

    def extend(
        self, pcr: int, digests: Mapping[HashName, BytesLike] | Iterable[tuple[HashName, BytesLike]], locality: int = 0
    ) -> None:
        """Extend a PCR as TPM2_PCR_Extend does.

        Parameters
        ----------
        pcr : int
            Which; 0 to 23.
        digests : mapping or iterable of pairs
            Digests by bank. A bank that is not allocated is passed over; one that comes twice is extended twice.
        locality : int
            From where.

        Raises
        ------
        LocalityError
            If the PCR cannot be extended from there.
        TpmMisuseError
            If there is no such PCR, or a digest is not as long as its bank's.
        """
        number = self._checked(pcr, locality, "PCR_Extend", "extends")
        pairs = self._pairs(digests)
        for bank, value in pairs:
            self._extend(bank, number, value)
        self._saved = None

    def event(self, pcr: int, data: BytesLike, locality: int = 0) -> dict[int, bytes]:
        """Extend a PCR with the digests of data, as TPM2_PCR_Event does, and return them by bank.

        Raises
        ------
        LocalityError
            If the PCR cannot be extended from there.
        TpmMisuseError
            If there is no such PCR, or `data` is not bytes-like or longer than 1024 bytes.
        """
        number = self._checked(pcr, locality, "PCR_Event", "extends")
        raw = octets(data, "data", most=1024)
        found = {bank: algorithm.digest(raw) for bank, algorithm in self._banks.items()}
        for bank, value in found.items():
            self._extend(bank, number, value)
        self._saved = None
        return found

    def reset(self, pcr: int, locality: int = 0) -> None:
        """Set a PCR to zero in all banks, as TPM2_PCR_Reset does.

        Raises
        ------
        LocalityError
            If the PCR cannot be reset, or not from there.
        TpmMisuseError
            If there is no such PCR.
        """
        number = self._checked(pcr, locality, "PCR_Reset", "resets")
        for bank, algorithm in self._banks.items():
            self._values[bank][number] = algorithm.zeros
        self._counter += PROFILE[number].is_counted
        self._saved = None

    def dynamic_launch(self, data: BytesLike) -> None:
        """Launch dynamically, as _TPM_Hash_Start, _Data and _End do: PCRs 17 to 22 are reset, 17 measures `data`."""
        raw = octets(data, "data")
        for bank, algorithm in self._banks.items():
            for number, rule in enumerate(PROFILE):
                if rule.is_dynamic:
                    self._values[bank][number] = algorithm.zeros
            self._extend(bank, 17, algorithm.digest(raw))
        self._saved = None

    def read(self, pcr: int, bank: HashName) -> bytes:
        """Return the value of a PCR; TpmMisuseError if there is no such PCR or bank."""
        number = whole(pcr, "pcr", 0, PCRS - 1, error=TpmMisuseError)
        return self._values[self._allocated(bank)][number]

    def values(self, selection: SelectionLike | None = None) -> dict[int, dict[int, bytes]]:
        """Return values by bank and PCR: those of a selection, or all."""
        if selection is None:
            return {bank: dict(enumerate(values)) for bank, values in self._values.items()}
        found: dict[int, dict[int, bytes]] = {}
        for bank, pcr in PcrSelection.of(selection):
            found.setdefault(bank, {})[pcr] = self.read(pcr, bank)
        return found

    def digest(self, selection: SelectionLike, algorithm: HashName) -> bytes:
        """Return the digest of selected PCRs as a quote or a policy has it.

        A TPM passes over PCRs and banks that it does not have, and quotes the rest, if only a hash of nothing; whoever
        asks here wants the digest of what he has named.

        Raises
        ------
        TpmMisuseError
            If a selected PCR or its bank is not there.
        """
        chosen = PcrSelection.of(selection)
        return chosen.digest(self.values(chosen), algorithm)

    def copy(self) -> PcrBanks:
        """Return PCRs of their own that are now as these are."""
        twin = PcrBanks(self._banks)
        twin._values = {bank: list(values) for bank, values in self._values.items()}
        twin._counter = self._counter
        twin._saved = None if self._saved is None else {bank: list(values) for bank, values in self._saved.items()}
        return twin

    def _extend(self, bank: int, pcr: int, value: bytes) -> None:
        algorithm = self._banks[bank]
        self._values[bank][pcr] = algorithm.digest(self._values[bank][pcr], value)
        self._counter += PROFILE[pcr].is_counted

    def _pairs(self, digests: Any) -> list[tuple[int, bytes]]:
        given = digests.items() if isinstance(digests, Mapping) else digests
        found = []
        for pair in items_of(given, "digests", "a mapping, or an iterable of pairs", error=TpmMisuseError):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TpmMisuseError(shown(pair), where="digests", expected="a pair of bank and digest")
            algorithm = hash_of(pair[0], "digests")
            value = octets(pair[1], f"digests[{algorithm.name}]", algorithm.size)
            if algorithm.id in self._banks:
                found.append((algorithm.id, value))
        return found

    def _allocated(self, bank: HashName) -> int:
        number = bank_id(bank)
        if number not in self._banks:
            raise TpmMisuseError(
                f"no bank {bank_name(number)}", where="bank", expected=", ".join(map(bank_name, self._banks))
            )
        return number

    @staticmethod
    def _startup_locality(locality: int) -> None:
        if whole(locality, "locality", 0, 4, error=TpmMisuseError) not in _STARTUP_LOCALITIES:
            raise LocalityError(
                0x907, "LOCALITY", f"TPM2_Startup comes from localities 0 and 3, not {locality}", command="Startup"
            )

    @staticmethod
    def _checked(pcr: int, locality: int, command: str, right: str) -> int:
        number = whole(pcr, "pcr", 0, PCRS - 1, error=TpmMisuseError)
        place = whole(locality, "locality", 0, 4, error=TpmMisuseError)
        allowed: frozenset[int] = getattr(PROFILE[number], right)
        if place not in allowed:
            places = ", ".join(map(str, sorted(allowed))) or "no locality"
            raise LocalityError(
                0x907,
                "LOCALITY",
                f"PCR {number} can be changed so from {places}, not from locality {place}",
                command=command,
                handle=1,
            )
        return number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PcrBanks) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        banks = ", ".join(map(bank_name, self._banks))
        return f"<PcrBanks {banks}: {self._counter} updates>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{bank_name(bank)}</td><td>{pcr}</td><td><code>{value.hex()}</code></td></tr>"
            for bank, values in self._values.items()
            for pcr, value in enumerate(values)
        )
        return f"<table><tr><th>bank</th><th>PCR</th><th>value</th></tr>{rows}</table>"
