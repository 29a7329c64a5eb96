# SPDX-License-Identifier: Apache-2.0
"""The fields that templates of integrity measurements are made of, and how the kernel writes each as text.

Source: Linux kernel 6.1, ``security/integrity/ima/ima_template.c`` (tables of templates and fields) and
``ima_template_lib.c`` (what is in a field, and how it is shown).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.wire import shown

__all__ = ["FIELDS", "PATH_SIZE", "TEMPLATES", "TextForm", "fields_of", "split_digest"]

PATH_SIZE = 256
"""Bytes that the template ``ima`` fills a path to before it is hashed, the terminator included."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    "ima": ("d", "n"),
    "ima-ng": ("d-ng", "n-ng"),
    "ima-ngv2": ("d-ngv2", "n-ng"),
    "ima-sig": ("d-ng", "n-ng", "sig"),
    "ima-sigv2": ("d-ngv2", "n-ng", "sig"),
    "ima-buf": ("d-ng", "n-ng", "buf"),
    "ima-modsig": ("d-ng", "n-ng", "sig", "d-modsig", "modsig"),
    "evm-sig": ("d-ng", "n-ng", "evmsig", "xattrnames", "xattrlengths", "xattrvalues", "iuid", "igid", "imode"),
}
"""The fields of each template that has a name."""


class TextForm(NamedTuple):
    """How a field is written as a word of text, and read back."""

    show: Callable[[bytes], bytes]
    parse: Callable[[bytes], bytes]


def split_digest(data: bytes) -> tuple[str, bytes]:
    """Return the names in front of a digest (``sha256``, ``ima:sha256``, or nothing), and the digest.

    Raises
    ------
    TpmFormatError
        If the field is neither empty nor of the form ``names:`` NUL digest.
    """
    if not data:
        return "", b""
    names, separator, digest = data.partition(b":\0")
    if not separator or not all(0x20 < byte < 0x7F for byte in names):
        raise TpmFormatError(shown(data), where="digest", expected="the name of a hash, a colon, NUL and the digest")
    return names.decode("ascii"), digest


def _hex(word: bytes) -> bytes:
    text = word.decode("ascii", "replace")
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise TpmFormatError(shown(word), where="field", expected="hexadecimal digits") from error
    if data.hex() != text:
        raise TpmFormatError(shown(word), where="field", expected="hexadecimal digits in lower case")
    return data


def _show_hex(data: bytes) -> bytes:
    return data.hex().encode()


def _show_digest(data: bytes) -> bytes:
    try:
        names, digest = split_digest(data)
    except TpmFormatError as error:
        raise TpmMisuseError(error.what, where="field", expected=error.expected) from error
    return (f"{names}:" if names else "").encode() + digest.hex().encode()


def _parse_digest(word: bytes) -> bytes:
    names, colon, digits = word.rpartition(b":")
    if not word:
        return b""
    return (names + b":\0" if colon else b":\0") + _hex(digits)


def _show_text(data: bytes) -> bytes:
    if not data:
        return b""
    if data[-1:] != b"\0" or b"\0" in data[:-1] or b" " in data or b"\n" in data:
        raise TpmMisuseError(shown(data), where="field", expected="text with a terminator, without space or line break")
    return data[:-1]


def _show_bare_text(data: bytes) -> bytes:
    return _show_text(data + b"\0")


def _show_number(data: bytes) -> bytes:
    return str(int.from_bytes(data, "little")).encode()


def _number(size: int) -> TextForm:
    def parse(word: bytes) -> bytes:
        if not word.isdigit() or len(word) > 10 or int(word) >= 1 << 8 * size:
            raise TpmFormatError(shown(word), where="field", expected=f"a number of {8 * size} bits")
        return int(word).to_bytes(size, "little")

    return TextForm(_show_number, parse)


_HEX = TextForm(_show_hex, _hex)
_DIGEST = TextForm(_show_digest, _parse_digest)
_TEXT = TextForm(_show_text, lambda word: word + b"\0" if word else b"")

FIELDS: dict[str, TextForm] = {
    "d": _HEX,
    "n": TextForm(_show_bare_text, lambda word: word),
    "d-ng": _DIGEST,
    "d-ngv2": _DIGEST,
    "n-ng": _TEXT,
    "sig": _HEX,
    "buf": _HEX,
    "d-modsig": _DIGEST,
    "modsig": _HEX,
    "evmsig": _HEX,
    "xattrnames": _TEXT,
    "xattrlengths": _HEX,
    "xattrvalues": _HEX,
    "iuid": _number(4),
    "igid": _number(4),
    "imode": _number(2),
}
"""By the kernel's name of the field."""


def fields_of(template: str) -> tuple[str, ...] | None:
    """Return the names of a template's fields; None if it is not known.

    A template without a name is known by its fields: ``d-ng|n-ng|sig``.
    """
    known = TEMPLATES.get(template)
    if known is None:
        names = tuple(template.split("|"))
        known = names if all(name in FIELDS for name in names) else None
    return known
