# SPDX-License-Identifier: Apache-2.0
"""Event logs made byte by byte from the specifications, and Hypothesis strategies of them.

Nothing here uses `prestocloud_sec.tpm`: what a log holds and where it leads is known from how it was made, so that it
can be held against what the library reads. Strategies give whole logs that are right; tests break them.

>>> from hypothesis import find
>>> find(boot_logs(), lambda log: log.banks == ("sha256",) and len(log.events) == 2).events[1].pcr
0
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = [
    "BuiltEntry",
    "BuiltEvent",
    "BuiltImaLog",
    "BuiltLog",
    "agile_log",
    "boot_logs",
    "gpt_data",
    "ima_log",
    "ima_logs",
    "image_load",
    "measured",
    "sha1_log",
    "spec_id",
    "startup_locality",
    "uefi_variable",
]

BANKS = {"sha1": (0x0004, 20), "sha256": (0x000B, 32), "sha384": (0x000C, 48), "sha512": (0x000D, 64)}
"""TCG number and digest size of the banks that logs are made of."""

EV_NO_ACTION, EV_SEPARATOR, EV_IPL = 0x3, 0x4, 0xD
EV_VARIABLE, EV_APPLICATION, EV_GPT, EV_ACTION, EV_HCRTM = 0x80000001, 0x80000003, 0x80000006, 0x80000007, 0x80000010

HASHES_ITS_DATA = (EV_SEPARATOR, EV_VARIABLE, EV_GPT, EV_ACTION)
"""Types whose digest is that of the event's data."""


@dataclass(frozen=True)
class BuiltEvent:
    """One record: PCR, type, digests by bank, and data."""

    pcr: int
    type: int
    digests: tuple[tuple[str, bytes], ...]
    data: bytes

    def sha1_record(self) -> bytes:
        """Return the record as logs of SHA-1 alone have it."""
        return struct.pack("<II20sI", self.pcr, self.type, dict(self.digests)["sha1"], len(self.data)) + self.data

    def agile_record(self) -> bytes:
        """Return the record as crypto-agile logs have it."""
        head = struct.pack("<III", self.pcr, self.type, len(self.digests))
        digests = b"".join(struct.pack("<H", BANKS[bank][0]) + digest for bank, digest in self.digests)
        return head + digests + struct.pack("<I", len(self.data)) + self.data


@dataclass(frozen=True)
class BuiltLog:
    """A log: its bytes, its records, its banks, and what PCR 0 starts with in its last byte."""

    data: bytes
    events: tuple[BuiltEvent, ...]
    banks: tuple[str, ...]
    locality: int = 0

    def pcrs(self, bank: str) -> dict[int, bytes]:
        """Return where the log leads, computed with hashlib alone."""
        size = BANKS[bank][1]
        found: dict[int, bytes] = {}
        for event in self.events:
            digest = dict(event.digests).get(bank)
            if event.type == EV_NO_ACTION or digest is None:
                continue
            zero = bytes(size - 1) + bytes([self.locality if event.pcr == 0 else 0])
            start = b"\xff" * size if 17 <= event.pcr <= 22 else zero
            found[event.pcr] = hashlib.new(bank, found.get(event.pcr, start) + digest).digest()
        return found

    def all_pcrs(self) -> dict[str, dict[int, bytes]]:
        """Return where the log leads in every bank."""
        return {bank: self.pcrs(bank) for bank in self.banks}


def measured(pcr: int, kind: int, data: bytes, banks: Iterable[str], content: bytes | None = None) -> BuiltEvent:
    """Return an event that measures `content`, or its own data where there is none."""
    hashed = data if content is None else content
    return BuiltEvent(pcr, kind, tuple((bank, hashlib.new(bank, hashed).digest()) for bank in banks), data)


def no_action(data: bytes, banks: Iterable[str], pcr: int = 0) -> BuiltEvent:
    """Return an event that is not extended."""
    return BuiltEvent(pcr, EV_NO_ACTION, tuple((bank, bytes(BANKS[bank][1])) for bank in banks), data)


def startup_locality(locality: int, banks: Iterable[str]) -> BuiltEvent:
    """Return the event that says from which locality the TPM was started."""
    return no_action(b"StartupLocality\0" + bytes([locality]), banks)


def spec_id(banks: Sequence[str], vendor_info: bytes = b"", errata: int = 2) -> bytes:
    """Return the data of the first event of a crypto-agile log."""
    head = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, errata, 2, len(banks))
    return head + b"".join(struct.pack("<HH", *BANKS[bank]) for bank in banks) + bytes([len(vendor_info)]) + vendor_info


def sha1_log(events: Iterable[BuiltEvent], locality: int = 0) -> BuiltLog:
    """Return a log of SHA-1 alone."""
    held = tuple(events)
    return BuiltLog(b"".join(event.sha1_record() for event in held), held, ("sha1",), locality)


def agile_log(banks: Sequence[str], events: Iterable[BuiltEvent], locality: int = 0, vendor: bytes = b"") -> BuiltLog:
    """Return a crypto-agile log of some banks; the event that names them comes first."""
    first = BuiltEvent(0, EV_NO_ACTION, (("sha1", bytes(20)),), spec_id(banks, vendor))
    held = tuple(events)
    data = first.sha1_record() + b"".join(event.agile_record() for event in held)
    return BuiltLog(data, (first, *held), tuple(banks), locality)


def uefi_variable(guid: bytes, name: str, value: bytes) -> bytes:
    """Return a measured variable (UEFI_VARIABLE_DATA)."""
    return guid + struct.pack("<QQ", len(name), len(value)) + name.encode("utf-16-le") + value


def image_load(path: str, size: int = 4096) -> bytes:
    """Return the data of an image that was loaded from a file (UEFI_IMAGE_LOAD_EVENT)."""
    name = path.encode("utf-16-le") + b"\0\0"
    nodes = struct.pack("<BBH", 4, 4, 4 + len(name)) + name + struct.pack("<BBH", 0x7F, 0xFF, 4)
    return struct.pack("<QQQQ", 0x10000, size, 0, len(nodes)) + nodes


def gpt_data(names: Sequence[str]) -> bytes:
    """Return a partition table with partitions of these names (UEFI_GPT_DATA)."""
    numbers = struct.pack("<4sIIIQQQQ", bytes.fromhex("00000100"), 92, 0, 0, 1, 2047, 34, 2014)
    header = b"EFI PART" + numbers + bytes(range(16)) + struct.pack("<QIII", 2, 128, 128, 0)
    partitions = b"".join(
        bytes([n + 1]) * 16
        + bytes([n + 101]) * 16
        + struct.pack("<QQQ", n, n, 0)
        + name.encode("utf-16-le").ljust(72, b"\0")
        for n, name in enumerate(names)
    )
    return header + struct.pack("<Q", len(names)) + partitions


_GLOBAL = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")


@st.composite
def _events(draw: st.DrawFn, banks: tuple[str, ...]) -> BuiltEvent:
    pcr = draw(st.sampled_from((0, 1, 2, 4, 5, 7, 8, 9, 14, 17, 22)))
    kind = draw(st.sampled_from((*HASHES_ITS_DATA, EV_APPLICATION, EV_IPL, 0x12345678)))
    if kind == EV_SEPARATOR:
        data = draw(st.sampled_from((bytes(4), b"\xff" * 4)))
    elif kind == EV_VARIABLE:
        name = draw(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x17F), max_size=8))
        data = uefi_variable(_GLOBAL, name, draw(st.binary(max_size=20)))
    elif kind == EV_GPT:
        data = gpt_data(draw(st.lists(st.text("abc", max_size=5), max_size=3)))
    elif kind == EV_ACTION:
        data = b"Calling EFI Application from Boot Option"
    elif kind == EV_APPLICATION:
        data = image_load(draw(st.text("abcdef\\.", min_size=1, max_size=12)))
    else:
        data = draw(st.binary(max_size=40))
    content = None if kind in HASHES_ITS_DATA else draw(st.binary(min_size=1, max_size=16)) + b"\0content\0"
    some = banks if draw(st.integers(0, 9)) else draw(st.lists(st.sampled_from(banks), unique=True).map(tuple))
    return measured(pcr, kind, data, some if len(banks) > 1 else banks, content)


@st.composite
def boot_logs(draw: st.DrawFn, *, formats: Sequence[str] = ("sha1", "crypto-agile"), most: int = 12) -> BuiltLog:
    """Return a strategy of logs of a boot, in the formats that are asked for, with up to `most` measurements."""
    if draw(st.sampled_from(formats)) == "sha1":
        return sha1_log(draw(st.lists(_events(("sha1",)), min_size=1, max_size=most)))
    banks = tuple(draw(st.lists(st.sampled_from(sorted(BANKS)), min_size=1, unique=True)))
    locality = draw(st.sampled_from((0, 0, 3, 4)))
    first = [startup_locality(locality, banks)] if locality else []
    events = draw(st.lists(_events(banks), max_size=most))
    return agile_log(banks, [*first, *events], locality, draw(st.binary(max_size=5)))


@dataclass(frozen=True)
class BuiltEntry:
    """One measurement of the kernel: PCR, digest, template, and its fields as they are on the wire."""

    pcr: int
    digest: bytes
    template: str
    fields: tuple[bytes, ...]


@dataclass(frozen=True)
class BuiltImaLog:
    """A log of the kernel: its binary form, its text, and its entries."""

    data: bytes
    text: bytes
    entries: tuple[BuiltEntry, ...]

    def pcr(self, bank: str, *, padded: bool = False) -> bytes:
        """Return where PCR 10 is led in a bank, computed with hashlib alone."""
        size = BANKS[bank][1]
        state = bytes(size)
        for entry in self.entries:
            if not any(entry.digest):
                value = b"\xff" * size
            elif padded:
                value = hashlib.sha1(_hashed(entry)).digest().ljust(size, b"\0")  # noqa: S324  (the kernel's choice)
            else:
                value = hashlib.new(bank, _hashed(entry)).digest()
            state = hashlib.new(bank, state + value).digest()
        return state


def _hashed(entry: BuiltEntry) -> bytes:
    """Return what the digest of an entry is the digest of."""
    if entry.template == "ima":
        return entry.fields[0] + entry.fields[1].ljust(256, b"\0")
    return b"".join(struct.pack("<I", len(field)) + field for field in entry.fields)


def ima_entry(template: str, fields: Sequence[bytes], *, violation: bool = False, bank: str = "sha1") -> BuiltEntry:
    """Return a measurement of the kernel into PCR 10."""
    entry = BuiltEntry(10, b"", template, tuple(fields))
    digest = bytes(BANKS[bank][1]) if violation else hashlib.new(bank, _hashed(entry)).digest()
    return BuiltEntry(10, digest, template, tuple(fields))


def ima_log(entries: Iterable[BuiltEntry]) -> BuiltImaLog:
    """Return the log of some entries, in both forms."""
    held = tuple(entries)
    binary, lines = [], []
    for entry in held:
        name = entry.template.encode()
        head = struct.pack("<I", entry.pcr) + entry.digest + struct.pack("<I", len(name)) + name
        if entry.template == "ima":
            digest, path = entry.fields
            binary.append(head + digest + struct.pack("<I", len(path)) + path)
            words = [digest.hex(), path.decode()]
        else:
            data = _hashed(entry)
            binary.append(head + struct.pack("<I", len(data)) + data)
            prefix, _, digest = entry.fields[0].partition(b":\0")
            words = [f"{prefix.decode()}:{digest.hex()}", entry.fields[1][:-1].decode()]
            words += [field.hex() for field in entry.fields[2:]]
        lines.append(" ".join([str(entry.pcr), entry.digest.hex(), entry.template, *words]) + "\n")
    return BuiltImaLog(b"".join(binary), "".join(lines).encode(), held)


@st.composite
def _entries(draw: st.DrawFn) -> BuiltEntry:
    template = draw(st.sampled_from(("ima", "ima-ng", "ima-sig", "ima-buf")))
    path = "/" + draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"]), max_size=20))
    violation = not draw(st.integers(0, 7))
    if template == "ima":
        return ima_entry(template, [draw(st.binary(min_size=20, max_size=20)), path.encode()], violation=violation)
    bank = draw(st.sampled_from(sorted(BANKS)))
    digest = draw(st.binary(min_size=BANKS[bank][1], max_size=BANKS[bank][1]))
    fields = [f"{bank}:\0".encode() + digest, path.encode() + b"\0"]
    if template != "ima-ng":
        fields.append(draw(st.binary(max_size=30)))
    return ima_entry(template, fields, violation=violation)


def ima_logs(*, most: int = 8) -> st.SearchStrategy[BuiltImaLog]:
    """Return a strategy of logs of the kernel with up to `most` entries in PCR 10."""
    return st.lists(_entries(), max_size=most).map(ima_log)
