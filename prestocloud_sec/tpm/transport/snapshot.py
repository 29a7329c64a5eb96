# SPDX-License-Identifier: Apache-2.0
"""The whole state of an emulated TPM, and the form in which swtpm keeps it in files and hands it out.

libtpms has two blobs: the permanent one (seeds, persistent objects, NV) and the volatile one (PCRs, loaded objects,
sessions, clock). swtpm puts them into an envelope (swtpm ``src/swtpm/swtpm_nvstore.c`` and ``tlv.c``): a header of 10
bytes, then tagged data; in a state file the blob is tagged once, on the control channel twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prestocloud_sec.errors import InputError
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.wire import Reader

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Snapshot", "enveloped", "from_envelope"]

_MAGIC = b"tpmstate"
_VERSION = 1
_LARGEST = 1 << 24
_HEADER = struct.Struct(">BBHHI")  # version, least version of a reader, size of this header, flags, size of everything
_TAGGED = struct.Struct(">HI")
_ENVELOPE_VERSION = 2
_DATA, _MIGRATION_DATA = 1, 4
_PLAIN_FLAG = 4  # the data are tagged for migration
_ENCRYPTED_FLAGS = 0b1011


@contextlib.contextmanager
def _as_format_error() -> Iterator[None]:
    try:
        yield
    except TpmFormatError:
        raise
    except InputError as error:
        raise TpmFormatError(
            error.what, where=error.where, offset=error.offset, expected=error.expected, hint=error.hint
        ) from error


class Snapshot:
    """The state of an emulated TPM between two commands.

    It holds every secret of the TPM: keep it as you would keep the TPM.

    Parameters
    ----------
    permanent, volatile : bytes
        The blobs as libtpms writes them.
    """

    __slots__ = ("permanent", "volatile")

    permanent: bytes
    """What survives a loss of power: seeds, persistent objects, NV indices."""
    volatile: bytes
    """What does not: PCRs, transient objects, sessions, the clock."""

    def __init__(self, permanent: BytesLike, volatile: BytesLike) -> None:
        object.__setattr__(self, "permanent", octets(permanent, "Snapshot.permanent", most=_LARGEST))
        object.__setattr__(self, "volatile", octets(volatile, "Snapshot.volatile", most=_LARGEST))
        if not self.permanent:
            raise TpmMisuseError("0 bytes", where="Snapshot.permanent", expected="a state; every TPM has one")

    def encode(self) -> bytes:
        """Return the snapshot as bytes: both blobs with their lengths, and a SHA-256 that finds damage."""
        body = b"".join(
            (
                _MAGIC,
                struct.pack(">II", _VERSION, len(self.permanent)),
                self.permanent,
                struct.pack(">I", len(self.volatile)),
                self.volatile,
            )
        )
        return body + hashlib.sha256(body).digest()

    @classmethod
    def decode(cls, data: BytesLike) -> Snapshot:
        """Return the snapshot that `encode` wrote.

        Raises
        ------
        TpmFormatError
            If it is none, or damaged.
        """
        raw = octets(data, "Snapshot", most=2 * _LARGEST + 256)
        body, digest = raw[:-32], raw[-32:]
        if not raw.startswith(_MAGIC) or not hmac.compare_digest(hashlib.sha256(body).digest(), digest):
            raise TpmFormatError(f"{len(raw)} bytes are no snapshot, or a damaged one", where="Snapshot")
        with _as_format_error():
            reader = Reader(body, name="Snapshot", offset=len(_MAGIC))
            version = reader.u32("version")
            if version != _VERSION:
                raise TpmFormatError(f"version {version}", where="Snapshot.version", expected=str(_VERSION))
            permanent = reader.take(reader.u32("permanent.size"), "permanent")
            volatile = reader.take(reader.u32("volatile.size"), "volatile")
            reader.end()
        if not permanent:
            raise TpmFormatError("0 bytes", where="Snapshot.permanent", expected="a state; every TPM has one")
        return cls(permanent, volatile)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return NotImplemented
        return hmac.compare_digest(self.encode(), other.encode())

    def __hash__(self) -> int:
        return hash((self.permanent, self.volatile))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Snapshot cannot be changed ({name})")

    def __reduce__(self) -> tuple[object, ...]:
        return (Snapshot, (self.permanent, self.volatile))

    def __repr__(self) -> str:
        return f"<Snapshot of {len(self.permanent)} permanent and {len(self.volatile)} volatile bytes>"


def enveloped(blob: bytes, *, migration: bool = False) -> bytes:
    """Return a blob as swtpm keeps it in a file, or as it takes it on its control channel (`migration`)."""
    data = _TAGGED.pack(_DATA, len(blob)) + blob
    if migration:
        data = _TAGGED.pack(_MIGRATION_DATA, len(data)) + data
    return (
        _HEADER.pack(_ENVELOPE_VERSION, 1, _HEADER.size, _PLAIN_FLAG if migration else 0, _HEADER.size + len(data))
        + data
    )


def from_envelope(data: bytes, name: str) -> bytes:
    """Return the blob that swtpm put into an envelope.

    Raises
    ------
    TpmFormatError
        If it is no such envelope, or the blob is encrypted.
    """
    reader = Reader(data, name=name)
    with _as_format_error():
        version, least = reader.u8("version"), reader.u8("minimumVersion")
        header, flags, size = reader.u16("headerSize"), reader.u16("flags"), reader.u32("size")
    if least > _ENVELOPE_VERSION or version < _ENVELOPE_VERSION or header != _HEADER.size or size != len(data):
        raise TpmFormatError(
            f"version {version} (readable from {least}), header of {header} bytes, {size} bytes in all",
            where=name,
            expected=f"version {_ENVELOPE_VERSION}, header of {_HEADER.size} bytes, {len(data)} bytes in all",
            hint="is it a state file of swtpm?",
        )
    if flags & _ENCRYPTED_FLAGS:
        raise TpmFormatError("the state is encrypted", where=f"{name}.flags", hint="swtpm can read it, with its key")
    wanted = (_MIGRATION_DATA, _DATA) if flags & _PLAIN_FLAG else (_DATA,)
    with _as_format_error():
        for tag in wanted:
            reader = Reader(_tagged(reader, tag, name), name=name)
    return bytes(reader.rest())


def _tagged(reader: Reader, tag: int, name: str) -> memoryview:
    """Return the data that stand under a tag; others are gone over."""
    while reader.remaining:
        found = reader.u16("tag")
        data = reader.view(reader.u32("tag.size"), "data")
        if found == tag:
            return data
    raise TpmFormatError(f"no data are tagged {tag}", where=name)
