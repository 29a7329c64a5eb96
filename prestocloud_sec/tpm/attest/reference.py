# SPDX-License-Identifier: Apache-2.0
"""What a machine should have measured: values and measurements that are allowed, asked for, or forbidden.

A `ReferencePolicy` is a value: written by hand, learned from a machine that is known to be good, kept as JSON. How it
is held against a quote stands in `prestocloud_sec.tpm.attest.reference_checks`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._banks import bank_id, bank_name
from prestocloud_sec.tpm._given import octets, text
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS
from prestocloud_sec.tpm.eventlog.ima import ImaLog
from prestocloud_sec.tpm.eventlog.log import EventLog
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.tpm.attest.verdict import Findings
    from prestocloud_sec.tpm.eventlog.replaying import Log
    from prestocloud_sec.wire import BytesLike

    Values = Mapping[int, Mapping[int, bytes]]

__all__ = ["ReferencePolicy"]


@dataclass(frozen=True, slots=True)
class ReferencePolicy:
    """What PCRs, measurements and files should be.

    Attributes
    ----------
    bank : int
        The bank that all digests are of.
    values : mapping of int to set of bytes
        By PCR, the values it may have.
    measurements : mapping of int to mapping of bytes to str
        By PCR, the digests that may be extended into it, each with words about it; any other is at fault.
    required : mapping of int to mapping of bytes to str
        By PCR, digests that must have been extended into it.
    forbidden : mapping of bytes to str
        Digests that must not be there, in any PCR or as the content of any file, each with the reason.
    secure_boot : bool or None
        Whether the firmware must have been started with secure boot on, or off.
    files : mapping of str to set of bytes, or None
        By path, the content that the kernel may have measured, as digests by any hash; None does not look at files.
    allow_violations : bool
        Let files pass that were written while they were measured.

    Examples
    --------
    >>> policy = ReferencePolicy("sha256", values={7: [bytes(32)]})
    >>> ReferencePolicy.from_json(policy.to_json()) == policy
    True
    """

    bank: int = 0x000B
    values: Mapping[int, frozenset[bytes]] = field(default_factory=dict)
    measurements: Mapping[int, Mapping[bytes, str]] = field(default_factory=dict)
    required: Mapping[int, Mapping[bytes, str]] = field(default_factory=dict)
    forbidden: Mapping[bytes, str] = field(default_factory=dict)
    secure_boot: bool | None = None
    files: Mapping[str, frozenset[bytes]] | None = None
    allow_violations: bool = False

    def __post_init__(self) -> None:
        algorithm = hash_of(self.bank, "ReferencePolicy.bank")
        object.__setattr__(self, "bank", bank_id(algorithm))
        size = algorithm.size
        object.__setattr__(self, "values", _by_pcr(self.values, "values", lambda v, w: _digests(v, w, size)))
        for name in ("measurements", "required"):
            held = _by_pcr(getattr(self, name), name, lambda v, w: _labelled(v, w, size))
            object.__setattr__(self, name, held)
        object.__setattr__(self, "forbidden", _labelled(self.forbidden, "ReferencePolicy.forbidden", None))
        for name in ("secure_boot", "allow_violations"):
            if self.secure_boot is not None or name != "secure_boot":
                flag(getattr(self, name), f"ReferencePolicy.{name}")
        if self.files is not None:
            where = "ReferencePolicy.files"
            held_files = {
                text(path, where): _digests(digests, where, None) for path, digests in _items(self.files, where)
            }
            object.__setattr__(self, "files", MappingProxyType(held_files))

    @classmethod
    def learn(cls, *logs: Log, pcrs: Iterable[int], bank: HashName = "sha256", files: bool = False) -> Self:
        """Return the policy that allows what the logs of a known good machine hold, and nothing else.

        Parameters
        ----------
        logs : EventLog or ImaLog
            The logs; believe them before.
        pcrs : iterable of int
            The PCRs whose measurements are constrained.
        bank : str or int
            The bank.
        files : bool
            Constrain files too, to those that the kernel measured.
        """
        number, with_files = bank_id(bank), flag(files, "files")
        chosen = [
            whole(pcr, "pcrs", 0, MOST_PCRS - 1, error=TpmMisuseError)
            for pcr in items_of(pcrs, "pcrs", "PCRs", error=TpmMisuseError)
        ]
        learned: dict[int, dict[bytes, str]] = {pcr: {} for pcr in chosen}
        contents: dict[str, set[bytes]] = {}
        for log in logs:
            if isinstance(log, ImaLog):
                for entry in log:
                    if with_files and entry.path is not None and entry.file_digest is not None:
                        contents.setdefault(entry.path, set()).add(entry.file_digest[1])
            elif isinstance(log, EventLog):
                for event in log:
                    digest = event.digest(number)
                    if event.is_extended and event.pcr in learned and digest is not None:
                        learned[event.pcr].setdefault(digest, f"{event.name}: {event.summary}")
            else:
                raise TpmMisuseError(shown(log), where="logs", expected="an EventLog or an ImaLog")
        allowed = {path: frozenset(digests) for path, digests in contents.items()} if with_files else None
        return cls(number, measurements=learned, files=allowed)

    def to_json(self) -> str:
        """Return the policy as JSON: digests in hexadecimal, the bank by its name."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {key.hex() if isinstance(key, bytes) else str(key): plain(item) for key, item in value.items()}
            if isinstance(value, frozenset):
                return sorted(item.hex() for item in value)
            return value

        found = {item.name: plain(getattr(self, item.name)) for item in fields(self)}
        return json.dumps(found | {"bank": bank_name(self.bank)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, data: str | BytesLike) -> Self:
        """Return the policy of a text that `to_json` wrote, or a person.

        Raises
        ------
        TpmFormatError
            If it is no JSON, or no policy; a field that is not known is refused.
        TpmMisuseError
            If the argument is of the wrong type.
        """
        raw = data if isinstance(data, str) else octets(data, "policy")
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise TpmFormatError("no JSON", where="policy", expected="an object") from error
        names = {item.name for item in fields(cls)}
        if not isinstance(found, dict) or not set(found) <= names:
            raise TpmFormatError("another object", where="policy", expected=f"fields {', '.join(sorted(names))}")
        try:
            return cls(**{name: _from_plain(name, value) for name, value in found.items()})
        except (TpmMisuseError, ValueError, TypeError, AttributeError) as error:
            words = error.what if isinstance(error, TpmMisuseError) else str(error)
            where = error.where if isinstance(error, TpmMisuseError) else "policy"
            raise TpmFormatError(words, where=where, expected="a policy as to_json writes it") from error

    def evaluate(self, findings: Findings, values: Values | None, logs: tuple[Log, ...]) -> None:
        """Add the policy's clauses to what was found of a quote.

        Parameters
        ----------
        findings : Findings
            Where the clauses go.
        values : mapping of bank to mapping of int to bytes, or None
            The values that the quote vouches for; None where there are none.
        logs : tuple of EventLog and ImaLog
            Logs that lead to them.
        """
        from prestocloud_sec.tpm.attest.reference_checks import Evaluation

        Evaluation(self, findings, values, logs).run()

    def _repr_html_(self) -> str:
        def size(value: Any) -> str:
            return str(len(value)) if isinstance(value, Mapping) else str(value)

        rows = "".join(f"<tr><td>{f.name}</td><td>{size(getattr(self, f.name))}</td></tr>" for f in fields(self))
        return f"<table><caption>reference policy</caption>{rows}</table>"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self).from_json, (self.to_json(),))

    __hash__ = None  # type: ignore[assignment]  # it holds mappings


def _items(given: Any, where: str) -> list[tuple[Any, Any]]:
    if not isinstance(given, Mapping):
        raise TpmMisuseError(shown(given), where=where, expected="a mapping")
    return list(given.items())


def _by_pcr(given: Any, name: str, hold: Any) -> Mapping[int, Any]:
    where = f"ReferencePolicy.{name}"
    held = {
        whole(pcr, where, 0, MOST_PCRS - 1, error=TpmMisuseError): hold(value, f"{where}[{shown(pcr)}]")
        for pcr, value in _items(given, where)
    }
    return MappingProxyType(held)


def _digests(given: Any, where: str, size: int | None) -> frozenset[bytes]:
    if isinstance(given, bytes | bytearray | memoryview | str):
        raise TpmMisuseError(shown(given), where=where, expected="a set of digests")
    return frozenset(
        octets(item, where, size) for item in items_of(given, where, "a set of digests", error=TpmMisuseError)
    )


def _labelled(given: Any, where: str, size: int | None) -> Mapping[bytes, str]:
    if isinstance(given, Mapping):
        held = {octets(digest, where, size): text(words, where) for digest, words in given.items()}
    else:
        held = dict.fromkeys(sorted(_digests(given, where, size)), "")
    return MappingProxyType(held)


def _from_plain(name: str, value: Any) -> Any:
    if name in ("secure_boot", "allow_violations", "bank"):
        return value
    if name == "files":
        return (
            None if value is None else {path: [bytes.fromhex(item) for item in items] for path, items in value.items()}
        )
    if name == "values":
        return {int(pcr): [bytes.fromhex(item) for item in items] for pcr, items in value.items()}
    if name == "forbidden":
        return {bytes.fromhex(digest): words for digest, words in value.items()}
    return {int(pcr): {bytes.fromhex(digest): words for digest, words in items.items()} for pcr, items in value.items()}
