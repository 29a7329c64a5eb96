# SPDX-License-Identifier: Apache-2.0
"""What ``prestocloud-sec tpm`` is given: ways to a TPM, files, bytes, logs, PCR values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import file_bytes, hex_bytes, stdin_bytes
from prestocloud_sec.errors import InputError, MisuseError

if TYPE_CHECKING:
    from prestocloud_sec.tpm import Client, EventLog, ImaLog

__all__ = [
    "FILE_LIMIT",
    "bank_of",
    "bytes_of",
    "connected",
    "data_of",
    "kernel_log_of",
    "log_of",
    "tpm_option",
    "values_of",
]

FILE_LIMIT = 1 << 26
"""Most bytes of a file, or of standard input."""
TPM_VARIABLE = "PRESTOCLOUD_SEC_TPM"

_TEXT_LOG = re.compile(rb"^[0-9]{1,2} [0-9a-f]{40,128} ima")

tpm_option = click.option(
    "--tpm",
    "uri",
    metavar="URI",
    envvar=TPM_VARIABLE,
    help=f"The way to the TPM, such as device:/dev/tpmrm0; also the variable {TPM_VARIABLE}.  [default: embedded:]",
)


def connected(uri: str | None, *, startup: bool = True) -> Client:
    """Return a client of the TPM that ``--tpm`` names."""
    from prestocloud_sec.tpm import connect
    from prestocloud_sec.tpm.errors import TransportUriError

    try:
        return connect(uri or None, startup=startup)
    except TransportUriError as error:
        raise MisuseError(error.what, where="--tpm", expected=error.expected, hint=error.hint) from error


def bank_of(number: int) -> str:
    """Return the name of a PCR bank; the number where it has none."""
    from prestocloud_sec.tpm.hashes import HASHES

    return next((row.name for row in HASHES if row.id == number), f"0x{number:04x}")


def data_of(path: str) -> bytes:
    """Return the bytes of a file, or of standard input where the path is ``-``."""
    return stdin_bytes(FILE_LIMIT) if path == "-" else file_bytes(path, FILE_LIMIT)


def bytes_of(given: str, where: str) -> bytes:
    """Return the bytes that a file has, standard input (``-``), or the digits of the argument itself."""
    if given == "-" or Path(given).is_file():
        return data_of(given)
    if re.fullmatch(r"(?:0[xX])?(?:[0-9A-Fa-f]{2}[\s:]*)+", given):
        return hex_bytes(re.sub(r"[\s:]", "", given.removeprefix("0x").removeprefix("0X")), where)
    raise InputError(
        "neither a file nor bytes", where=where, expected="the name of a file, -, or pairs of hexadecimal digits"
    )


def log_of(path: str) -> EventLog | ImaLog:
    """Return the log in a file: of the boot, or of the kernel where it is the text of one."""
    from prestocloud_sec.tpm.eventlog import EventLog

    data = data_of(path)
    return kernel_log_from(data) if _TEXT_LOG.match(data) else EventLog.decode(data)


def kernel_log_of(path: str) -> ImaLog:
    """Return the kernel's log in a file, as text or in its binary form."""
    return kernel_log_from(data_of(path))


def kernel_log_from(data: bytes) -> ImaLog:
    """Return the kernel's log that is in bytes, as text or in its binary form."""
    from prestocloud_sec.tpm.eventlog import ImaLog

    return ImaLog.decode_ascii(data) if _TEXT_LOG.match(data) else ImaLog.decode(data)


def values_of(path: str) -> dict[str, dict[int, bytes]]:
    """Return the PCR values in a file that ``tpm pcr --json`` has written."""
    where = path
    expected = 'an object such as {"sha256": {"0": "..."}}'
    try:
        found = json.loads(data_of(path))
    except (ValueError, RecursionError) as error:
        raise InputError("no JSON", where=where, expected=expected) from error
    if not isinstance(found, dict) or not all(isinstance(pcrs, dict) for pcrs in found.values()):
        raise InputError("another object", where=where, expected=expected)
    return {
        bank: {_number(pcr, where): _digest(value, where) for pcr, value in pcrs.items()}
        for bank, pcrs in found.items()
    }


def _number(text: str, where: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 2:
        raise InputError("a key that is no PCR", where=where, expected="0 to 31")
    return int(text)


def _digest(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise InputError("a value that is no text", where=where, expected="hexadecimal digits")
    return hex_bytes(value, where)
