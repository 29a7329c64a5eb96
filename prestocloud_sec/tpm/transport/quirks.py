# SPDX-License-Identifier: Apache-2.0
"""What TPMs of some makers do otherwise than one expects, as a table: whom it concerns, what to do, and who says so.

A TPM names its maker in TPM_PT_MANUFACTURER, four letters of the TCG's vendor registry, and its firmware in
TPM_PT_FIRMWARE_VERSION_1 and _2, of which each maker has his own reading; where a range of firmware is given, it is of
the two as one 64-bit number.
"""

from __future__ import annotations

from typing import NamedTuple

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.wire import whole

__all__ = ["MAKERS", "QUIRKS", "Quirk", "maker", "quirks_of"]

MAKERS = {
    "AMD": "AMD",
    "ANT": "Ant Group",
    "ATML": "Atmel (Microchip)",
    "BRCM": "Broadcom",
    "CSCO": "Cisco",
    "FLYS": "Flyslice",
    "GOOG": "Google",
    "HISI": "Huawei",
    "HPE": "HPE",
    "HPI": "HPI",
    "IBM": "IBM (libtpms and swtpm among them)",
    "IFX": "Infineon",
    "INTC": "Intel",
    "LEN": "Lenovo",
    "MSFT": "Microsoft",
    "NSM": "National Semiconductor",
    "NTC": "Nuvoton",
    "NTZ": "Nationz",
    "QCOM": "Qualcomm",
    "ROCC": "Fuzhou Rockchip",
    "SEAL": "Wisekey",
    "SECE": "SecEdge",
    "SMSC": "SMSC",
    "SMSN": "Samsung",
    "SNS": "Sinosun",
    "STM": "STMicroelectronics",
    "TXN": "Texas Instruments",
    "WEC": "Winbond",
}
"""Makers by their letters (TCG TPM Vendor ID Registry, Table 2)."""

_WORD = (1 << 32) - 1


class Quirk(NamedTuple):
    """Something that TPMs of one maker do otherwise."""

    name: str
    """A short name for programs."""
    maker: str
    """The letters of TPM_PT_MANUFACTURER, without what fills them up to four."""
    firmware: tuple[tuple[int, int], ...]
    """First and last firmware that does so; empty where it is not told by the firmware."""
    words: str
    """What it does."""
    advice: str
    """What to do about it."""
    source: str
    """Who says so."""


def _until(major: int, minor: int) -> tuple[int, int]:
    """Return the firmware of a major version before a minor one, whatever follows it."""
    return (major << 48, (major << 48 | minor << 32) - 1)


def _exactly(major: int, minor: int) -> tuple[int, int]:
    start = major << 48 | minor << 32
    return (start, start | _WORD)


QUIRKS = (
    Quirk(
        "weak-rsa-keys",
        "IFX",
        (_until(5, 62), _until(7, 62), _until(133, 33)),
        "RSA keys that it made can be factored (ROCA)",
        "update the firmware, make new keys, do not trust the old ones; ECC keys are sound",
        "https://www.cve.org/CVERecord?id=CVE-2017-15361",
    ),
    Quirk(
        "failure-on-decryption-key",
        "IFX",
        (_exactly(7, 40),),
        "LoadExternal of an ECC key that is restricted and decrypts, and PolicySecret in an HMAC session, make it fail",
        "give PolicySecret a password session, update the firmware; a hardware reset ends the failure mode",
        "https://github.com/tpm2-software/tpm2-tss/issues/1700 and /1865",
    ),
    Quirk(
        "properties-beyond-group",
        "IFX",
        ((7 << 48, 7 << 48 | 62 << 32 | _WORD),),
        "GetCapability goes on from the fixed properties into the variable ones (library revision 1.16)",
        "look at the numbers of the properties, not at the end of the list",
        "https://github.com/Infineon/eltt2/issues/15",
    ),
    Quirk(
        "empty-capabilities",
        "IFX",
        (),
        "during a firmware update Startup succeeds and GetCapability gives empty lists",
        "take a property that is missing for a sign of that state, not for 0",
        "https://git.kernel.org/torvalds/linux, drivers/char/tpm/tpm2-cmd.c, tpm2_get_tpm_pt",
    ),
    Quirk(
        "ecdsa-timing",
        "STM",
        tuple(
            _exactly(major, minor)
            for major, minors in ((71, (0, 4, 12)), (73, (0, 4, 5, 8, 9)), (74, (0, 4, 5, 8, 9, 16)))
            for minor in minors
        ),
        "the time that an ECDSA signature takes tells of the private key (TPM-FAIL)",
        "update the firmware; until then do not sign with ECC for strangers",
        "https://www.st.com/content/st_com/en/campaigns/tpm-update.html (CVE-2019-16863)",
    ),
    Quirk(
        "encryptdecrypt2-off",
        "STM",
        (),
        "EncryptDecrypt2 is off until a command of the maker (SetCommandSet) turns it on",
        "look for it in TPM_CAP_COMMANDS, and encrypt in software where it is not there",
        "https://github.com/wolfSSL/wolfTPM/pull/102",
    ),
    Quirk(
        "slow-random",
        "AMD",
        ((6 << 48, 0x0006_0000_0018_0005), (3 << 48, 0x0003_0057_0000_0004)),
        "GetRandom may stop the whole machine for moments",
        "take few random numbers from it, or update the machine's firmware",
        "https://git.kernel.org/torvalds/linux, drivers/char/tpm/tpm-chip.c, tpm_amd_is_rng_defective (Linux 6.3)",
    ),
    Quirk(
        "no-aes-cfb-sessions",
        "INTC",
        (),
        "older ones (such as in processors of 2013) cannot encrypt parameters with AES in CFB mode",
        "ask with TestParms, and use XOR where AES is refused",
        "https://github.com/systemd/systemd/issues/32602",
    ),
    Quirk(
        "out-of-bounds-write",
        "NTC",
        ((0x0001_0003_0000_0001,) * 2, (0x0001_0003_0001_0000,) * 2, (0x0001_0003_0002_0008,) * 2),
        "a malformed encrypted command stops it until the power is turned off",
        "update to firmware 1.3.2.20",
        "https://www.nuvoton.com/support/security/security-advisories/sa-003/ (CVE-2023-1017)",
    ),
    Quirk(
        "ecdh-side-channel",
        "NTC",
        ((7 << 48, 0x0007_0002_0003_FFFF),),
        "who can measure at the chip may find the key of ECDH operations",
        "update to firmware 7.2.4.0",
        "https://www.cve.org/CVERecord?id=CVE-2026-6923",
    ),
    Quirk(
        "retry-on-first-use",
        "IBM",
        (),
        "libtpms answers TPM_RC_RETRY the first time an algorithm is used that it has not tested",
        "send the command again, or SelfTest first; `Retrying` does the former",
        "https://github.com/stefanberger/libtpms, src/tpm2/AlgorithmTests.c, and measured with libtpms 0.9.2",
    ),
    Quirk(
        "no-physical-presence",
        "IBM",
        (),
        "PP_Commands is refused with TPM_RC_PP in swtpm: nobody can be physically present",
        "do not expect commands to need physical presence there",
        "measured with swtpm 0.7.1 and libtpms 0.9.2",
    ),
)
"""The table; rows of one maker stand together."""


def maker(manufacturer: int) -> str:
    """Return the letters of a value of TPM_PT_MANUFACTURER.

    Raises
    ------
    TpmMisuseError
        If it is no 32-bit number.

    >>> maker(0x49465800)
    'IFX'
    """
    number = whole(manufacturer, "manufacturer", 0, _WORD, error=TpmMisuseError)
    letters = number.to_bytes(4, "big").rstrip(b"\0 ")
    return "".join(chr(letter) if 32 <= letter < 127 else f"\\x{letter:02x}" for letter in letters)


def quirks_of(manufacturer: int, firmware: int) -> tuple[Quirk, ...]:
    """Return what is known of a TPM.

    Parameters
    ----------
    manufacturer : int
        TPM_PT_MANUFACTURER.
    firmware : int
        TPM_PT_FIRMWARE_VERSION_1 in the upper 32 bits, _2 in the lower.

    Raises
    ------
    TpmMisuseError
        If one is no number of its size.

    >>> [quirk.name for quirk in quirks_of(0x49465800, 7 << 48 | 40 << 32)]
    ['weak-rsa-keys', 'failure-on-decryption-key', 'properties-beyond-group', 'empty-capabilities']
    """
    letters = maker(manufacturer)
    version = whole(firmware, "firmware", 0, (1 << 64) - 1, error=TpmMisuseError)
    return tuple(
        quirk
        for quirk in QUIRKS
        if quirk.maker == letters
        and (not quirk.firmware or any(first <= version <= last for first, last in quirk.firmware))
    )
