# SPDX-License-Identifier: Apache-2.0
"""What the digest of an event is the digest of, where the log itself can tell.

For some types the profile says that the event's data was hashed: a digest that is not the data's is then a fault of the
log or of the firmware. For others something was hashed that the log does not hold (an image, a table), and nothing can
be said. Between the two are boot loaders: they describe in the data what they hashed, each in its own way; where the
digest fits what they are known to do it is confirmed, where it does not nothing follows.

Sources: TCG PC Client Platform Firmware Profile 1.06, section 10.4.1; for variables of boot options also edk2, which
hashed their value alone until the profile asked for EV_EFI_VARIABLE_BOOT2; GRUB 2.06, ``grub-core/commands/efi/tpm.c``
and ``grub-core/kern/tpm.c``; systemd 251, ``src/boot/measure.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prestocloud_sec.tpm.errors import TpmFormatError
from prestocloud_sec.tpm.eventlog.constants import EventType
from prestocloud_sec.tpm.eventlog.variables import UefiVariable

__all__ = ["Origin", "origin_of"]

_ERROR_SEPARATOR = (1).to_bytes(4, "little")


class Origin(NamedTuple):
    """What may have been hashed.

    Attributes
    ----------
    contents : tuple of bytes
        A right digest is the digest of one of these; empty where the log does not hold what was hashed.
    binding : bool
        Whether a digest of something else is wrong.
    """

    contents: tuple[bytes, ...] = ()
    binding: bool = False


_Rule = Callable[[int, bytes], Origin]


def _data(pcr: int, data: bytes) -> Origin:  # noqa: ARG001
    return Origin((data,), binding=True)


def _perhaps_data(pcr: int, data: bytes) -> Origin:  # noqa: ARG001
    return Origin((data,))


def _separator(pcr: int, data: bytes) -> Origin:  # noqa: ARG001
    # A separator that tells of an error holds what failed; the number 1 is measured in its place.
    return Origin((data, _ERROR_SEPARATOR), binding=True)


def _boot_variable(pcr: int, data: bytes) -> Origin:  # noqa: ARG001
    try:
        return Origin((data, UefiVariable.decode(data).data), binding=True)
    except TpmFormatError:
        return Origin((data,))


_GRUB_PCR = 8


def _ipl(pcr: int, data: bytes) -> Origin:
    text = data.removesuffix(b"\0")
    if pcr != _GRUB_PCR:
        return Origin((data, text))
    # GRUB writes "grub_cmd: insmod ext2" and hashes what follows the first space, with or without the terminator.
    _, space, command = text.partition(b" ")
    return Origin((command, command + b"\0", text, data) if space else (text, data))


_RULES: dict[int, _Rule] = {
    EventType.SEPARATOR: _separator,
    EventType.ACTION: _data,
    EventType.EVENT_TAG: _perhaps_data,
    EventType.S_CRTM_VERSION: _data,
    EventType.IPL: _ipl,
    EventType.OMIT_BOOT_DEVICE_EVENTS: _data,
    EventType.EFI_VARIABLE_DRIVER_CONFIG: _data,
    EventType.EFI_VARIABLE_BOOT: _boot_variable,
    EventType.EFI_VARIABLE_BOOT2: _data,
    EventType.EFI_VARIABLE_AUTHORITY: _data,
    EventType.EFI_GPT_EVENT: _data,
    EventType.EFI_GPT_EVENT2: _perhaps_data,
    EventType.EFI_ACTION: _data,
    EventType.EFI_SPDM_DEVICE_POLICY: _data,
    EventType.EFI_SPDM_DEVICE_AUTHORITY: _data,
}
"""By type; a type without a row hashes what the log does not hold."""


def origin_of(pcr: int, event_type: int, data: bytes) -> Origin:
    """Return what the digest of an event may be the digest of."""
    rule = _RULES.get(event_type)
    return Origin() if rule is None else rule(pcr, data)
