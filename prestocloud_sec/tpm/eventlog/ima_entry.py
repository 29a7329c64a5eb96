# SPDX-License-Identifier: Apache-2.0
"""One measurement of the kernel: what was used, with what content, and the digest that was extended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from prestocloud_sec.tpm._given import octets, text
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS
from prestocloud_sec.tpm.eventlog.ima_fields import PATH_SIZE, fields_of, split_digest
from prestocloud_sec.wire import items_of, shown, whole

__all__ = ["ByteOrder", "ImaEntry"]

ByteOrder: TypeAlias = Literal["little", "big"]
"""Of numbers on the machine that measured."""

_SHA1_SIZE = 20
_MOST_NAME = 255


def check_byteorder(byteorder: object, where: str) -> None:
    """Raise TpmMisuseError if something is no byte order."""
    if not isinstance(byteorder, str) or byteorder not in ("little", "big"):
        raise TpmMisuseError(shown(byteorder), where=where, expected="'little' or 'big'")


@dataclass(frozen=True, slots=True)
class ImaEntry:
    """One measurement of the kernel.

    Attributes
    ----------
    pcr : int
        The PCR that was extended, mostly 10.
    digest : bytes
        What the log says was extended; all zeros for a violation.
    template : str
        Name of the template, or its fields with bars between them where it has no name.
    fields : tuple of bytes
        The template's data, field by field; `field` returns one by its name.
    number : int
        The position in its log, from 0. Not part of the value.
    """

    pcr: int
    digest: bytes
    template: str
    fields: tuple[bytes, ...]
    number: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        where = "ImaEntry"
        object.__setattr__(self, "pcr", whole(self.pcr, f"{where}.pcr", 0, MOST_PCRS - 1, error=TpmMisuseError))
        object.__setattr__(self, "number", whole(self.number, f"{where}.number", 0, 1 << 32, error=TpmMisuseError))
        object.__setattr__(self, "digest", octets(self.digest, f"{where}.digest"))
        name = text(self.template, f"{where}.template")
        if not 0 < len(name) <= _MOST_NAME or not all("!" <= character <= "~" for character in name):
            raise TpmMisuseError(
                shown(name), where=f"{where}.template", expected=f"1 to {_MOST_NAME} printable characters without space"
            )
        expected = f"{where}.fields", "an iterable of bytes"
        held = tuple(
            octets(item, expected[0], most=0xFFFFFFFF)
            for item in items_of(self.fields, *expected, error=TpmMisuseError)
        )
        object.__setattr__(self, "fields", held)
        known = fields_of(name)
        if known is not None and len(known) != len(held):
            raise TpmMisuseError(f"{len(held)} fields", where=f"{where}.fields", expected=f"{len(known)}: {known}")
        if name == "ima" and (len(held[0]) != _SHA1_SIZE or b"\0" in held[1] or len(held[1]) >= PATH_SIZE):
            raise TpmMisuseError(
                "fields that the template cannot hold",
                where=f"{where}.fields",
                expected=f"20 bytes, and a path of less than {PATH_SIZE} bytes without NUL",
            )

    def field(self, name: str) -> bytes | None:
        """Return a field by its kernel name (``d-ng``, ``n-ng``, ``sig``, ``buf``); None if the template has none."""
        wanted, names = text(name, "name"), fields_of(self.template) or ()
        return next((data for known, data in zip(names, self.fields, strict=False) if known == wanted), None)

    @property
    def is_violation(self) -> bool:
        """Whether the kernel could not tell what was used: the file was being written."""
        return not self.digest.strip(b"\0")

    @property
    def path(self) -> str | None:
        """The file, or what else was measured; bytes that are not UTF-8 are escaped."""
        found = self.field("n-ng") or self.field("n")
        return None if found is None else found.rstrip(b"\0").decode("utf-8", "backslashreplace")

    @property
    def file_digest(self) -> tuple[str, bytes] | None:
        """The kernel's name of a hash, and the digest of the file's content by it; None if there is none that reads."""
        for name in ("d-ng", "d-ngv2"):
            found = self.field(name)
            if found is not None:
                try:
                    prefix, digest = split_digest(found)
                except TpmFormatError:
                    return None
                return prefix.rpartition(":")[2] or "sha1", digest
        found = self.field("d")
        return None if found is None else ("sha1", found)

    @property
    def signature(self) -> bytes | None:
        """The file's signature as it stands in its extended attribute; empty if it has none."""
        return self.field("sig")

    @property
    def buffer(self) -> bytes | None:
        """What was measured where that is no file: a key, a policy, a command line."""
        return self.field("buf")

    def template_data(self, byteorder: ByteOrder = "little") -> bytes:
        """Return what the digest is the digest of; TpmMisuseError if `byteorder` is none."""
        check_byteorder(byteorder, "byteorder")
        if self.template == "ima":
            return self.fields[0] + self.fields[1].ljust(PATH_SIZE, b"\0")
        return b"".join(len(item).to_bytes(4, byteorder) + item for item in self.fields)

    def __str__(self) -> str:
        subject = self.path if self.path is not None else f"template {self.template}"
        return f"entry {self.number}: PCR {self.pcr} {self.template}: {subject}"
