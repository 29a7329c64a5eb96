# SPDX-License-Identifier: Apache-2.0
"""GUIDs as UEFI writes them, and the names of those that event logs are full of.

Sources: UEFI Specification 2.10, Appendix A (text and bytes), section 32.4 (signature databases and their types),
section 5.3 (partition types), section 3.3 (global variables); the shim and systemd projects for theirs.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = ["KNOWN_GUIDS", "Guid"]

KNOWN_GUIDS: dict[str, str] = {
    "8be4df61-93ca-11d2-aa0d-00e098032b8c": "EFI_GLOBAL_VARIABLE",
    "d719b2cb-3d3a-4596-a3bc-dad00e67656f": "EFI_IMAGE_SECURITY_DATABASE",
    "605dab50-e046-4300-abb6-3dd810dd8b23": "SHIM_LOCK",
    "77fa9abd-0359-4d32-bd60-28f4e78f784b": "MICROSOFT_OWNER",
    "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f": "SYSTEMD_LOADER",
    "c1c41626-504c-4092-aca9-41f936934328": "EFI_CERT_SHA256",
    "826ca512-cf10-4ac9-b187-be01496631bd": "EFI_CERT_SHA1",
    "a5c059a1-94e4-4aa7-87b5-ab155c2bf072": "EFI_CERT_X509",
    "3c5766e8-269c-4e34-aa14-ed776e85b3b6": "EFI_CERT_RSA2048",
    "3bd2a492-96c0-4079-b420-fcf98ef103ed": "EFI_CERT_X509_SHA256",
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI_SYSTEM_PARTITION",
    "0fc63daf-8483-4772-8e79-3d69d8477de4": "LINUX_FILESYSTEM_DATA",
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7": "MICROSOFT_BASIC_DATA",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "MICROSOFT_RESERVED",
    "21686148-6449-6e6f-744e-656564454649": "BIOS_BOOT_PARTITION",
    "8868e871-e4f1-11d3-bc22-0080c73c8881": "EFI_ACPI_20_TABLE",
    "eb9d2d31-2d88-11d3-9a16-0090273fc14d": "SMBIOS_TABLE",
    "f2fd1544-9794-4a2c-992e-e5bbcf20e394": "SMBIOS3_TABLE",
    "00000000-0000-0000-0000-000000000000": "ZERO",
}
"""Names of GUIDs, by their text in lower case."""


class Guid:
    """A GUID: 16 bytes, of which UEFI keeps the first three groups little-endian.

    Parameters
    ----------
    text : str or Guid
        As people write it, in any case, with or without braces.

    Examples
    --------
    >>> Guid("8BE4DF61-93CA-11D2-AA0D-00E098032B8C").name
    'EFI_GLOBAL_VARIABLE'
    """

    __slots__ = ("_raw",)

    _raw: bytes

    def __init__(self, text: str | Guid) -> None:
        if isinstance(text, Guid):
            raw = text.encode()
        else:
            try:
                raw = uuid.UUID(text).bytes_le
            except Exception as error:  # also whatever a foreign object raises
                raise TpmMisuseError(
                    shown(text), where="Guid", expected="32 hexadecimal digits in five groups"
                ) from error
        object.__setattr__(self, "_raw", raw)

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the GUID of 16 bytes; TpmFormatError if there are more or fewer."""
        raw = octets(data, "Guid")
        if len(raw) != 16:
            raise TpmFormatError(f"{len(raw)} bytes", where="Guid", expected="16")
        found = cls.__new__(cls)
        object.__setattr__(found, "_raw", raw)
        return found

    def encode(self) -> bytes:
        """Return the 16 bytes as they are in memory."""
        return self._raw

    @property
    def name(self) -> str | None:
        """What the GUID stands for, where it is one of `KNOWN_GUIDS`."""
        return KNOWN_GUIDS.get(str(self))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Guid does not change: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Guid does not change: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Guid) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self).decode, (self._raw,))

    def __str__(self) -> str:
        return str(uuid.UUID(bytes_le=self._raw))

    def __repr__(self) -> str:
        return f"Guid({str(self)!r})"
