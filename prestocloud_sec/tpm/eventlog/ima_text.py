# SPDX-License-Identifier: Apache-2.0
"""Lines of the text that the kernel shows its integrity measurements as.

A line is the PCR (two places wide), the digest, the name of the template and its fields, with one space between them.

Source: Linux kernel 6.1, ``security/integrity/ima/ima_fs.c`` (``ima_ascii_measurements_show``) and
``ima_template_lib.c`` (``ima_show_template_data_ascii``).
"""

from __future__ import annotations

from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog.constants import MOST_PCRS
from prestocloud_sec.tpm.eventlog.ima_fields import FIELDS, PATH_SIZE, TEMPLATES, fields_of
from prestocloud_sec.wire import shown

__all__ = ["line", "parse_line"]

_SHA1_SIZE = 20


def line(pcr: int, digest: bytes, template: str, fields: tuple[bytes, ...]) -> bytes:
    """Return a record as a line of text, its end included; TpmMisuseError if it cannot be written as one."""
    kinds = fields_of(template)
    if kinds is None:
        raise TpmMisuseError(shown(template), where="template", expected=f"one of {', '.join(TEMPLATES)}")
    words = [FIELDS[kind].show(data) for kind, data in zip(kinds, fields, strict=True)]
    return b" ".join([b"%2d" % pcr, digest.hex().encode(), template.encode(), *words]) + b"\n"


def parse_line(raw: bytes, number: int) -> tuple[int, bytes, str, tuple[bytes, ...]]:
    """Return PCR, digest, template and fields of a line without its end.

    Raises
    ------
    TpmFormatError
        If the kernel would not write it so; says in which line (`number`, counted from 0) and in what.
    """
    place = f"IMA log, line {number + 1}"
    try:
        found = _parse(raw)
        again = line(*found)
    except (TpmFormatError, TpmMisuseError) as error:
        raise TpmFormatError(error.what, where=f"{place}, {error.where}", expected=error.expected) from error
    if again != raw + b"\n":
        raise TpmFormatError(shown(raw), where=place, expected=shown(again))
    return found


def _parse(raw: bytes) -> tuple[int, bytes, str, tuple[bytes, ...]]:
    words = raw[1:].split(b" ") if raw[:1] == b" " else raw.split(b" ")  # PCRs of one digit have a space in front
    if len(words) < 3:
        raise TpmFormatError(
            f"{len(words)} words", where="words", expected="a PCR, a digest, a template and its fields"
        )
    pcr = int(words[0]) if words[0].isdigit() and len(words[0]) <= 2 else MOST_PCRS
    if pcr >= MOST_PCRS:
        raise TpmFormatError(shown(words[0]), where="PCR", expected=f"0 to {MOST_PCRS - 1}")
    template = words[2].decode("ascii", "replace")
    kinds = fields_of(template)
    if kinds is None:
        raise TpmFormatError(shown(words[2]), where="template", expected=f"one of {', '.join(TEMPLATES)}")
    if len(kinds) != len(words) - 3:
        raise TpmFormatError(f"{len(words) - 3} words", where="fields", expected=f"{len(kinds)}: {' '.join(kinds)}")
    fields = tuple(FIELDS[kind].parse(word) for kind, word in zip(kinds, words[3:], strict=True))
    if template == "ima" and (len(fields[0]) != _SHA1_SIZE or b"\0" in fields[1] or len(fields[1]) >= PATH_SIZE):
        raise TpmFormatError(
            "a digest or a path of another size", where="fields", expected=f"20 bytes, and less than {PATH_SIZE} bytes"
        )
    return pcr, FIELDS["d"].parse(words[1]), template, fields
