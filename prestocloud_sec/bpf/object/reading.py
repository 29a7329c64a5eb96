# SPDX-License-Identifier: Apache-2.0
"""BTF read from bytes, with every bound checked.

What is read is little-endian: a header, then the types, then the strings, and nothing between or behind, as compilers
and Linux write it. A header of 24 bytes is the canonical one; a longer one, with zeros at its end, is read as well, as
Linux does, and written as the canonical one.

Reading checks once that every type lies in its section, that its fields can be what they are, that each name is a
string and each reference leads to a type. What types make of each other (whether a function's prototype is one) is the
affair of who asks.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``, section "BTF Type and String Encoding";
``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BtfError
from prestocloud_sec.bpf.object.image import Image
from prestocloud_sec.bpf.object.layout import (
    FLAG,
    HEADER,
    LONGEST_STRING,
    MAGIC,
    MOST_PARTS,
    ROWS,
    UNUSED,
    VERSION,
)
from prestocloud_sec.wire import view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["read", "starts_of"]


def read(data: BytesLike) -> Image:
    """Check bytes as a whole, and find where each type begins.

    Raises
    ------
    BtfError
        If they are no little-endian BTF that Linux 6.18 could read; with the offset and the type.
    """
    view = view_of(data, name="BTF")
    types, strings = _sections(view)
    words = array("I", bytes(view[types:strings]))
    if sys.byteorder == "big":
        words.byteswap()
    text = bytes(view[strings:])
    _check_strings(text, strings)
    return Image(words, starts_of(words, len(text), types), text)


def _sections(view: memoryview) -> tuple[int, int]:
    """Return where the types begin, and where the strings do."""
    if len(view) < HEADER.size:
        raise BtfError(f"{len(view)} bytes in all", offset=0, expected=f"a header of {HEADER.size} bytes")
    magic, version, flags, size, type_off, type_len, str_off, str_len = HEADER.unpack_from(view)
    if magic == int.from_bytes(MAGIC.to_bytes(2, "big"), "little"):
        raise BtfError("this BTF is big-endian", offset=0, expected="little-endian", hint="compile for bpfel")
    if magic != MAGIC:
        raise BtfError(f"{magic:#06x} does not begin BTF", offset=0, expected=f"{MAGIC:#x}")
    if (version, flags) != (VERSION, 0):
        raise BtfError(f"version {version} with flags {flags:#x}", offset=2, expected="version 1 without flags")
    if not HEADER.size <= size <= len(view):
        raise BtfError(f"a header of {size} bytes", offset=4, expected=f"{HEADER.size}..{len(view)}")
    if any(view[HEADER.size : size]):
        raise BtfError("the header says more than is known", offset=HEADER.size, expected="zeros")
    if type_off or str_off != type_len or size + str_off + str_len != len(view):
        raise BtfError(
            f"{type_len} bytes at {type_off} and {str_len} at {str_off} of {len(view) - size}",
            offset=8,
            expected="types behind the header, strings behind them up to the end",
        )
    if type_len % 4:
        raise BtfError(f"types of {type_len} bytes", offset=12, expected="a multiple of 4")
    return size, size + type_len


def _check_strings(text: bytes, offset: int) -> None:
    if not text or text[0] or text[-1]:
        raise BtfError("the strings do not begin and end with a zero", offset=offset, expected="an empty string first")
    at = 0
    while at < len(text):
        end = text.rfind(0, at, at + LONGEST_STRING + 1)
        if end < 0:
            raise BtfError("a string is too long", offset=offset + at, expected=f"{LONGEST_STRING} bytes at most")
        at = end + 1


def starts_of(words: array[int], names: int, offset: int) -> array[int]:
    """Check types, and return the word that each begins with.

    Parameters
    ----------
    words : array of int
        The section of types, in words of 32 bits.
    names : int
        Bytes of the strings.
    offset : int
        Where the section lies, for errors.

    Raises
    ------
    BtfError
        If they are no types, with the offset and the type.
    """
    starts, at, end = array("I", [0]), 0, len(words)

    def wrong(what: str, expected: str) -> BtfError:
        return BtfError(what, offset=offset + 4 * at, type_id=len(starts), expected=expected)

    while at < end:
        if end - at < 3:
            raise wrong(f"{4 * (end - at)} bytes left", "12 bytes of a type")
        info = words[at + 1]
        kind, count = info >> 24 & 0x1F, info & MOST_PARTS
        row = ROWS.get(kind)
        if row is None:
            raise wrong(f"there is no kind {kind}", f"one from 1 to {max(ROWS)}")
        if info & UNUSED:
            raise wrong(f"{info:#010x} has bits that mean nothing", f"none of {UNUSED:#010x}")
        body = at + 3 + row.fixed
        after = body + row.each * count
        if after > end:
            raise wrong(f"{4 * (end - at)} bytes left", f"{4 * (after - at)} bytes")
        if info >> FLAG and not row.flag:
            raise wrong("the flag of the kind has no meaning here", "0")
        if count and not (row.each or row.linkage):
            raise wrong(f"{count} parts", "none of this kind")
        told = row.wrong(words, at, count) if row.wrong is not None else None
        if told is not None:
            raise wrong(*told)
        if words[at] and not (row.named and words[at] < names):
            raise wrong(f"its name is at {words[at]}", f"less than {names}" if row.named else "0, for it has no name")
        if count and row.name is not None and max(words[body + row.name : after : row.each]) >= names:
            raise wrong("a part's name lies outside the strings", f"less than {names}")
        starts.append(at)
        at = after
    _check_references(words, starts, offset)
    return starts


def _check_references(words: array[int], starts: array[int], offset: int) -> None:
    """Refuse types that refer to ones that are not there."""
    types = len(starts)
    for id in range(1, types):
        at = starts[id]
        info = words[at + 1]
        row = ROWS[info >> 24 & 0x1F]
        reached = [words[at + place] for place in row.refers]
        if row.type is not None:
            first = at + 3 + row.fixed
            reached += words[first + row.type : first + row.each * (info & MOST_PARTS) : row.each]
        if reached and max(reached) >= types:
            raise BtfError(
                f"refers to type {max(reached)}",
                type_id=id,
                offset=offset + 4 * at,
                expected=f"0..{types - 1}",
                hint="types of kernel modules go on where those of the kernel end",
            )
