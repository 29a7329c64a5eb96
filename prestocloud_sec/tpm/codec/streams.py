# SPDX-License-Identifier: Apache-2.0
"""Captured traffic of a TPM: found in what people have, and decoded message by message.

What people have is hexadecimal text, the log of swtpm (``--log file=...,level=20``), a packet capture (pcap or pcapng,
of swtpm's bare messages or of the framing of the simulators), or the bytes themselves. Every message says how long it
is, so that any number of them can stand one after the other; a message after a command is its response.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, TypeAlias

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.codec.pcap import conversations, is_capture
from prestocloud_sec.tpm.codec.tree import Decoded, decode_command, decode_response
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTruncatedError
from prestocloud_sec.tpm.spec.commands import COMMANDS
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["FORMS", "Form", "decode_stream", "messages_in", "split_messages"]

Form: TypeAlias = Literal["hex", "swtpm", "pcap", "bytes"]
FORMS: tuple[Form, ...] = ("hex", "swtpm", "pcap", "bytes")
"""What captured traffic comes in: hexadecimal text, a log of swtpm, a packet capture, the bytes themselves."""

_TAGS = (0x8001, 0x8002, 0x00C4)
_RESPONSE_OF_1_2 = b"\x00\xc4"
_LOG_HEAD = re.compile(rb"^\s*SWTPM_IO_(Read|Write): length (\d{1,9})\s*$", re.MULTILINE)
_LOG_LINE = re.compile(rb"^ *(?:[0-9A-Fa-f]{2} ?)+ *$")
_TEXT = re.compile(rb"^[\t\n\v\f\r -~]+$")
_PLACES: dict[Form, str] = {"hex": "data", "swtpm": "log", "pcap": "capture", "bytes": "data"}
_HEX = re.compile(rb"^(?:0[xX])?[0-9A-Fa-f]+$")
_MOST = 1 << 26  # bytes of text or capture that are looked at


def split_messages(data: BytesLike) -> list[bytes]:
    """Return the messages that stand one after the other in `data`.

    Raises
    ------
    TpmFormatError
        If one has no tag of a TPM, or a size that is not there.
    TpmMisuseError
        If `data` is not bytes-like.
    """
    return list(_split(octets(data, "data")))


def _split(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        if len(raw) - at < 10:
            raise TpmTruncatedError(f"{len(raw) - at} bytes", where="message", offset=at, expected="10 or more")
        tag, size = int.from_bytes(raw[at : at + 2], "big"), int.from_bytes(raw[at + 2 : at + 6], "big")
        if tag not in _TAGS:
            raise TpmFormatError(f"0x{tag:04x}", where="message.tag", offset=at, expected="8001, 8002 or 00c4")
        if not 10 <= size <= len(raw) - at:
            raise TpmTruncatedError(
                f"a size of {size}", where="message.size", offset=at + 2, expected=f"10 to {len(raw) - at}"
            )
        yield raw[at : at + size]
        at += size


def messages_in(data: BytesLike | str, form: Form | None = None) -> list[bytes]:
    """Return the messages in hexadecimal text, a log of swtpm, a packet capture, or bytes.

    Parameters
    ----------
    data : bytes-like or str
        The contents of the file, or the text.
    form : str, optional
        Which of `FORMS` it is. Without it that shows.

    Raises
    ------
    TpmFormatError
        If it is none of these, or not the one that was named, if no message is in it, or a message is broken.
    TpmMisuseError
        If `data` is neither bytes-like nor text, or `form` names none.
    """
    return list(_found(data, form))


def _found(data: BytesLike | str, form: Form | None) -> Iterator[bytes]:
    """Yield the messages one by one, so that those before a broken one are not lost."""
    if form is not None and (not isinstance(form, str) or form not in FORMS):
        raise TpmMisuseError(shown(form), where="form", expected=", ".join(FORMS))
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else octets(data, "data")
    if len(raw) > _MOST:
        raise TpmMisuseError(f"{len(raw)} bytes", where="data", expected=f"{_MOST} at most", hint="cut it in pieces")
    if not raw.strip(b" \t\r\n\v\f:,-"):
        raise TpmFormatError("nothing in it", where="data", expected="hex, a log of swtpm, a capture, or messages")
    found = _form_of(raw) if form is None else form
    if form is None and found == "bytes" and (isinstance(data, str) or _TEXT.match(raw)):
        raise TpmFormatError(
            f"text that is no hexadecimal: {shown(raw[:40].decode('utf-8', 'replace'))}",
            where="data",
            expected="hexadecimal digits or a log of swtpm; or the bytes themselves, not as text",
        )
    messages = _of_form(raw, found)
    first = next(messages, None)
    if first is None:
        expected = "commands and responses" + (" over TCP, bare or framed" if found == "pcap" else "")
        raise TpmFormatError("no message of a TPM in it", where=_PLACES[found], expected=expected)
    yield first
    yield from messages


def _of_form(raw: bytes, found: Form) -> Iterator[bytes]:
    if found == "pcap":
        if not is_capture(raw):
            raise TpmFormatError("no packet capture", where="data", offset=0, expected="pcap or pcapng")
        for conversation in conversations(raw):
            yield from _split_network(conversation)
    elif found == "swtpm":
        if not _LOG_HEAD.search(raw):
            raise TpmFormatError("no message", where="log", expected="lines with SWTPM_IO_Read and SWTPM_IO_Write")
        yield from _from_log(raw)
    else:
        yield from _split(_from_hex(_words_of(raw)) if found == "hex" else raw)


def _form_of(raw: bytes) -> Form:
    if is_capture(raw):
        return "pcap"
    if _LOG_HEAD.search(raw):
        return "swtpm"
    return "hex" if all(_HEX.match(word) for word in _words_of(raw)) else "bytes"


def _words_of(raw: bytes) -> list[bytes]:
    return raw.translate(None, b":,-").split()


def decode_stream(
    data: BytesLike | str, *, form: Form | None = None, lenient: bool = False
) -> list[Decoded | TpmFormatError]:
    """Decode every message that `messages_in` finds.

    A message that cannot be decoded is in the list as the error that says why; the others are decoded all the same.
    Where what follows a message is none, as at the end of a capture that was cut off, the error ends the list.

    Parameters
    ----------
    data : bytes-like or str
        The contents of the file, or the text.
    form : str, optional
        Which of `FORMS` it is. Without it that shows.
    lenient : bool
        Whether numbers that no table has are kept as plain integers instead of refused.

    Raises
    ------
    TpmFormatError
        If there is no message at the beginning of `data`.
    TpmMisuseError
        If `data` is neither bytes-like nor text.
    """
    decoded: list[Decoded | TpmFormatError] = []
    pending: int | Decoded | None = None
    answers = False
    messages = _found(data, form)
    while True:
        try:
            message = next(messages, None)
        except TpmFormatError as error:
            if not decoded:
                raise
            decoded.append(error)
            break
        if message is None:
            break
        code = int.from_bytes(message[6:10], "big")
        is_response = answers or not _looks_like_command(message, code)
        try:
            if is_response:
                decoded.append(decode_response(message, pending, lenient=lenient))
            else:
                pending = code  # where the command cannot be decoded its response may be
                pending = decode_command(message, lenient=lenient)
                decoded.append(pending)
        except TpmFormatError as error:
            decoded.append(error)
        answers = not is_response
        if is_response:
            pending = None
    return decoded


def _looks_like_command(message: bytes, code: int) -> bool:
    return message[:2] != _RESPONSE_OF_1_2 and (code in COMMANDS or bool(code & 0x20000000))


def _from_hex(words: list[bytes]) -> bytes:
    if not all(_HEX.match(word) for word in words):
        raise TpmFormatError("something else", where="data", expected="hexadecimal digits")
    digits = b"".join(word[2:] if word[:2] in (b"0x", b"0X") else word for word in words)
    if len(digits) % 2:
        raise TpmFormatError("an odd number of hexadecimal digits", where="data", expected="two for each byte")
    return bytes.fromhex(digits.decode("ascii"))


def _from_log(raw: bytes) -> Iterator[bytes]:
    """Yield the messages of a log: a head with the length, then lines of bytes."""
    for head in _LOG_HEAD.finditer(raw):
        wanted, found = int(head[2]), bytearray()
        at = raw.find(b"\n", head.end(2)) + 1
        while at and len(found) < wanted:
            end = raw.find(b"\n", at)
            line = raw[at : end if end >= 0 else len(raw)].rstrip(b"\r")
            if not _LOG_LINE.match(line):
                break
            found += bytes.fromhex(line.decode("ascii"))
            at = end + 1
        if len(found) != wanted:
            raise TpmTruncatedError(
                f"{len(found)} bytes", where=f"log, {shown(head[0].decode('ascii').strip())}", expected=str(wanted)
            )
        yield from split_messages(found)


def _split_network(conversation: bytes) -> list[bytes]:
    """Return the messages of a conversation over TCP: bare, or in the framing of the simulators."""
    messages, at = [], 0
    while len(conversation) - at >= 10:
        place = next((p for p in (_bare(conversation, at), _framed(conversation, at)) if p is not None), None)
        if place is None:
            at += 1  # a command to the platform, the zeros that end a framed response
            continue
        messages.append(conversation[place[0] : place[1]])
        at = place[1]
    return messages


def _bare(data: bytes, at: int) -> tuple[int, int] | None:
    size = int.from_bytes(data[at + 2 : at + 6], "big")
    if int.from_bytes(data[at : at + 2], "big") in _TAGS[:2] and 10 <= size <= len(data) - at:
        return at, at + size
    return None


def _framed(data: bytes, at: int) -> tuple[int, int] | None:
    """Return the place of a message behind its framing: command 8, locality and size; or the size of a response."""
    for skip, match in _FRAMES:
        place = _bare(data, at + skip) if len(data) - at >= skip + 10 and match(data[at : at + skip]) else None
        if place is not None and place[1] - place[0] == int.from_bytes(data[at + skip - 4 : at + skip], "big"):
            return place
    return None


_FRAMES: tuple[tuple[int, Callable[[bytes], bool]], ...] = (
    (9, lambda head: head[:4] == b"\0\0\0\x08"),
    (4, lambda head: head[:2] == b"\0\0"),
)
