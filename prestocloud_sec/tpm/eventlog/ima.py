# SPDX-License-Identifier: Apache-2.0
"""The kernel's integrity measurements (IMA): which files were used since the boot, and with what content.

A record is ``pcr(4) digest name_size(4) name``, then the template's data: its size (4), and each field with its own
size before it. Only the template ``ima`` has another form: 20 bytes of SHA-1, then the path with its size. The digest
is that of the template's data, which for ``ima`` is the digest of the file and the path filled with zeros to 256 bytes.
Numbers are in the byte order of the machine, or little-endian where the kernel runs with ``ima_canonical_fmt``.

A record whose digest is all zeros is a violation: the file was open for writing while it was measured. The PCR was
then extended with all ones. The kernel offers the log in SHA-1, and since Linux 6.10 also one for each bank.

The text form has one line a record. A path may hold a line break, which the kernel does not escape; lines put in that
way have no digest that fits, and `ImaLog.misfits` lists them. The binary form has no such weakness.

Sources: Linux kernel 6.1, ``security/integrity/ima/ima_fs.c``, ``ima_template.c``, ``ima_template_lib.c``,
``ima_crypto.c`` and ``Documentation/security/IMA-templates.rst``; Linux 6.10 for logs of one bank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, overload

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog._layout import Source
from prestocloud_sec.tpm.eventlog.faults import Link
from prestocloud_sec.tpm.eventlog.ima_entry import ImaEntry, check_byteorder
from prestocloud_sec.tpm.eventlog.ima_text import line, parse_line
from prestocloud_sec.tpm.hashes import HASHES, HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.tpm.eventlog.ima_entry import ByteOrder
    from prestocloud_sec.wire import BytesLike

__all__ = ["ImaLog"]

_SHA1_SIZE = 20


@dataclass(frozen=True, slots=True, repr=False)
class ImaLog:
    r"""The measurements of the kernel since the boot.

    Attributes
    ----------
    entries : tuple of ImaEntry
        In order; each knows its position.
    algorithm : str
        The hash of the log's digests: ``sha1``, unless the log is one of those for each bank.
    byteorder : str
        ``little`` or ``big``.
    sha1_padded : bool
        How kernels before 5.8 extended banks other than SHA-1: with the SHA-1 digest and zeros behind it, instead of
        a digest of their own.

    Examples
    --------
    >>> line = f"10 {'0' * 40} ima-ng sha1:{'0' * 40} /var/log/syslog\n"
    >>> log = ImaLog.decode_ascii(line)
    >>> log[0].path, log[0].is_violation
    ('/var/log/syslog', True)
    """

    entries: tuple[ImaEntry, ...]
    algorithm: str = "sha1"
    byteorder: ByteOrder = "little"
    sha1_padded: bool = False

    def __post_init__(self) -> None:
        algorithm = hash_of(self.algorithm, "ImaLog.algorithm")
        object.__setattr__(self, "algorithm", algorithm.name)
        check_byteorder(self.byteorder, "ImaLog.byteorder")
        flag(self.sha1_padded, "ImaLog.sha1_padded")
        held = []
        where = "ImaLog.entries"
        for number, entry in enumerate(items_of(self.entries, where, "an iterable of ImaEntry", error=TpmMisuseError)):
            if not isinstance(entry, ImaEntry):
                raise TpmMisuseError(shown(entry), where=where, expected="only entries")
            if len(entry.digest) != algorithm.size:
                raise TpmMisuseError(
                    f"a digest of {len(entry.digest)} bytes", where=f"{where}[{number}]", expected=str(algorithm.size)
                )
            held.append(entry if entry.number == number else replace(entry, number=number))
        object.__setattr__(self, "entries", tuple(held))

    @classmethod
    def decode(
        cls,
        data: BytesLike,
        *,
        algorithm: HashName = "sha1",
        byteorder: ByteOrder = "little",
        sha1_padded: bool = False,
    ) -> Self:
        """Return the log that `data` (``binary_runtime_measurements``) holds from its first to its last byte.

        Raises
        ------
        TpmFormatError
            If a record does not fit: it goes past the end, its sizes contradict each other, its template has another
            number of fields. A log of no bytes is one without entries.
        TpmMisuseError
            If an argument is of the wrong type.
        """
        raw = octets(data, "IMA log")
        row = hash_of(algorithm, "algorithm")
        check_byteorder(byteorder, "byteorder")
        source = Source(raw, "IMA log", byteorder=byteorder)
        entries: list[ImaEntry] = []
        while source.left:
            entries.append(_read(source, len(entries), row.size))
        return cls(tuple(entries), row.name, byteorder, sha1_padded)

    def encode(self) -> bytes:
        """Return the log as ``binary_runtime_measurements`` has it."""
        return b"".join(self._record(entry) for entry in self.entries)

    def _record(self, entry: ImaEntry) -> bytes:
        def size(number: int) -> bytes:
            return number.to_bytes(4, self.byteorder)

        name = entry.template.encode("ascii")
        head = size(entry.pcr) + entry.digest + size(len(name)) + name
        if entry.template == "ima":
            return head + entry.fields[0] + size(len(entry.fields[1])) + entry.fields[1]
        data = entry.template_data(self.byteorder)
        return head + size(len(data)) + data

    @classmethod
    def decode_ascii(
        cls,
        data: str | BytesLike,
        *,
        algorithm: HashName | None = None,
        byteorder: ByteOrder = "little",
        sha1_padded: bool = False,
    ) -> Self:
        """Return the log that a text (``ascii_runtime_measurements``) holds.

        Parameters
        ----------
        data : str or bytes-like
            The text, its last line ended.
        algorithm : str, optional
            The hash of the log's digests; by default told by the length of the first.
        byteorder : str
            That of the machine, which the digests depend on.
        sha1_padded : bool
            See `ImaLog`.

        Raises
        ------
        TpmFormatError
            If a line does not fit, or the last one is not ended.
        TpmMisuseError
            If an argument is of the wrong type.
        """
        raw = _raw_text(data)
        if raw and not raw.endswith(b"\n"):
            raise TpmFormatError(
                "a last line that does not end", where="IMA log", offset=len(raw), expected="a line break"
            )
        lines = raw.split(b"\n")[:-1]
        entries = tuple(ImaEntry(*parse_line(line, number), number) for number, line in enumerate(lines))
        if algorithm is None:
            size = len(entries[0].digest) if entries else _SHA1_SIZE
            row = next((known for known in HASHES if known.size == size), None)
            if row is None:
                raise TpmFormatError(
                    f"a digest of {size} bytes", where="IMA log.entries[0]", expected="20, 32, 48 or 64"
                )
        else:
            row = hash_of(algorithm, "algorithm")
        try:
            return cls(entries, row.name, byteorder, sha1_padded)
        except TpmMisuseError as error:
            if error.where is not None and "entries" in error.where:
                raise TpmFormatError(error.what, where=error.where, expected=error.expected) from error
            raise

    def encode_ascii(self) -> bytes:
        """Return the log as ``ascii_runtime_measurements`` has it.

        Raises
        ------
        TpmMisuseError
            If the fields of a template are not known, or a field cannot be written as text so that it reads back.
        """
        return b"".join(line(entry.pcr, entry.digest, entry.template, entry.fields) for entry in self.entries)

    @property
    def banks(self) -> tuple[int, ...]:
        """The bank that the digests of the log are of; others can be computed."""
        return (TPM_ALG_ID(hash_of(self.algorithm).id),)

    @property
    def pcrs(self) -> tuple[int, ...]:
        """The PCRs that the log extends, ascending."""
        return tuple(sorted({entry.pcr for entry in self.entries}))

    @property
    def misfits(self) -> tuple[ImaEntry, ...]:
        """The entries whose digest is not that of their data: something in them was altered."""
        digest = hash_of(self.algorithm).digest
        return tuple(
            entry
            for entry in self.entries
            if not entry.is_violation and digest(entry.template_data(self.byteorder)) != entry.digest
        )

    def links(self, bank: HashAlgorithm) -> Iterator[tuple[int, Link]]:
        """Yield what each entry extended into a bank, with its PCR."""
        own = bank.name == self.algorithm
        source = hash_of("sha1") if self.sha1_padded else bank
        for entry in self.entries:
            if entry.is_violation:
                yield entry.pcr, Link(b"\xff" * bank.size, (), entry)
                continue
            computed = source.digest(entry.template_data(self.byteorder)).ljust(bank.size, b"\0")
            value = entry.digest if own else computed
            yield entry.pcr, Link(value, () if value == computed else (computed,), entry)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[ImaEntry]:
        return iter(self.entries)

    @overload
    def __getitem__(self, index: int) -> ImaEntry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImaEntry, ...]: ...
    def __getitem__(self, index: int | slice) -> ImaEntry | tuple[ImaEntry, ...]:
        if isinstance(index, slice):
            return self.entries[index]
        count = len(self.entries)
        return self.entries[whole(index, "index", -count, count - 1, error=TpmMisuseError)]

    def __repr__(self) -> str:
        pcrs = ", ".join(map(str, self.pcrs)) or "none"
        return f"<ImaLog {self.algorithm}: {len(self.entries)} entries in PCRs {pcrs}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{entry.number}</td><td>{entry.pcr}</td><td>{escape(entry.template)}</td>"
            f"<td>{escape(entry.path or '')}</td></tr>"
            for entry in self.entries
        )
        head = "<tr><th>#</th><th>PCR</th><th>template</th><th>path</th></tr>"
        return f"<table><caption>{escape(repr(self)[1:-1])}</caption>{head}{rows}</table>"


def _read(source: Source, number: int, size: int) -> ImaEntry:
    place, start = f"entries[{number}]", source.offset
    pcr = source.uint(4, f"{place}.pcr")
    digest = source.take(size, f"{place}.digest")
    raw = source.take(source.uint(4, f"{place}.name size"), f"{place}.name")
    try:
        name = raw.decode("ascii")
        if name == "ima":
            file_digest = source.take(_SHA1_SIZE, f"{place}.d")
            found: list[bytes] = [file_digest, source.take(source.uint(4, f"{place}.n size"), f"{place}.n")]
        else:
            inner_size = source.uint(4, f"{place}.data size")
            inner_start = source.offset
            inner = Source(source.take(inner_size, f"{place}.data"), f"IMA log.{place}", inner_start, source.byteorder)
            found = []
            while inner.left:
                found.append(inner.take(inner.uint(4, f"fields[{len(found)}] size"), f"fields[{len(found)}]"))
        return ImaEntry(pcr, digest, name, tuple(found), number)
    except UnicodeDecodeError as error:
        raise source.refuse(shown(raw), f"{place}.name", "ASCII", offset=start) from error
    except TpmMisuseError as error:
        raise source.refuse(
            error.what, f"{place} ({error.where})", error.expected or "another", offset=start
        ) from error


def _raw_text(data: str | BytesLike) -> bytes:
    if not isinstance(data, str):
        return octets(data, "IMA log")
    try:
        return data.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise TpmFormatError("half a character", where="IMA log", offset=error.start, expected="text") from error
