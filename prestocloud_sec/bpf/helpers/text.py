# SPDX-License-Identifier: Apache-2.0
"""The text forms of ``trace_printk``: what ``kernel/trace/bpf_trace.c`` and ``bpf_bprintf_prepare`` allow, no more.

Understood are ``%d %i %u %x %X %o %c %p %s`` with ``l`` or ``ll`` before a number, flags and widths; ``%pks %pus`` are
text, ``%pK %px`` addresses, ``%pi4 %pI4 %pi6 %pI6`` network addresses in memory. A pointer prints as the program's own
address, where a kernel prints a hash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

__all__ = ["LONGEST", "FormatError", "format_text", "text_at"]

_FORM = re.compile(
    rb"%(?:(?P<percent>%)|(?P<flags>[-0]?)(?P<width>[0-9]*)"
    rb"(?P<kind>(?:ll|l)?[diuxXo]|c|s|p(?:ks|us|K|x|i4|I4|i6|I6)?))",
    re.DOTALL,
)
_WIDEST = 1 << 10
LONGEST = 1 << 12
"""Bytes of the longest text that is looked for in memory."""
_SIGNED = b"di"
_DIGITS = {b"x": "x", b"X": "X", b"o": "o"}

Reader = Callable[[int, int], bytes]
"""Reads so many bytes at an address of the program."""


class FormatError(Exception):
    """The kernel refuses such a form (EINVAL); never leaves `prestocloud_sec.bpf.helpers`."""


def format_text(form: bytes, values: Sequence[int], read: Reader) -> bytes:
    r"""Return `form`, which must end in a zero byte, with `values` in it; the zero is not in the result.

    Parameters
    ----------
    form : bytes
        As the program gave it.
    values : sequence of int
        Unsigned 64-bit registers; more than needed is no error.
    read : callable
        Reads the program's memory, for what `values` point at.

    Raises
    ------
    FormatError
        If the form is one that the kernel refuses, or asks for more values.

    Examples
    --------
    >>> format_text(b"%d of %llx%%\0", (0xFFFFFFFF, 255), lambda address, size: b"")
    b'-1 of ff%'
    """
    end = form.find(b"\0")
    if end < 0 or any(not (0x20 <= byte < 0x7F or byte in b"\t\n\r\v\f") for byte in form[:end]):
        raise FormatError
    pieces, rest = [], iter(values)
    at = 0
    while at < end:
        if form[at : at + 1] != b"%":
            following = form.find(b"%", at, end)
            following = end if following < 0 else following
            pieces.append(form[at:following])
            at = following
            continue
        found = _FORM.match(form, at, end)
        if found is None:
            raise FormatError
        at = found.end()
        pieces.append(b"%" if found["percent"] else _field(found, rest, read))
    return b"".join(pieces)


def _field(found: re.Match[bytes], rest: Iterator[int], read: Reader) -> bytes:
    value = next(rest, None)
    width = int(found["width"] or b"0")
    if value is None or width > _WIDEST:
        raise FormatError
    text = _text(found["kind"], value, read)
    if found["flags"] == b"-":
        return text.ljust(width)
    if found["flags"] == b"0" and found["kind"][-1:] in b"diuxXo":
        return text.decode().zfill(width).encode()
    return text.rjust(width)


def _text(kind: bytes, value: int, read: Reader) -> bytes:
    match kind:
        case b"c":
            return bytes([value & 0xFF])
        case b"s" | b"pks" | b"pus":
            return text_at(value, read)
        case b"p" | b"pK" | b"px":
            return f"{value:016x}".encode()
        case b"pi4" | b"pI4":
            separator, form = ".", "03d" if kind == b"pi4" else "d"
            return separator.join(format(byte, form) for byte in read(value, 4)).encode()
        case b"pi6" | b"pI6":
            return read(value, 16).hex(*(() if kind == b"pi6" else (":", 2))).encode()
        case _:
            return _number(kind, value)


def text_at(address: int, read: Reader) -> bytes:
    """Return the zero-terminated text at an address of the program, without the zero.

    Raises
    ------
    FormatError
        If there is no zero within `LONGEST` bytes.
    """
    text = bytearray()
    while len(text) < LONGEST:
        byte = read(address + len(text), 1)
        if byte == b"\0":
            return bytes(text)
        text += byte
    raise FormatError


def _number(kind: bytes, value: int) -> bytes:
    bits = 64 if kind[:1] == b"l" else 32
    value &= (1 << bits) - 1
    if kind[-1:] in _SIGNED and value >> bits - 1:
        value -= 1 << bits
    return format(value, _DIGITS.get(kind[-1:], "d")).encode()
