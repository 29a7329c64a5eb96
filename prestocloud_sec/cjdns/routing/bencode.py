# SPDX-License-Identifier: Apache-2.0
"""Bencoding as cjdns nodes speak it, kept exactly: what is decoded encodes to the very bytes that came.

Plain bencoding has one spelling for each value. The C nodes (cjdns v21.1, ``benc/serialization/standard``) spell one
thing differently: the length of a dictionary's *first key* gets leading zeros until the whole message is a multiple of
8 bytes long (``d00000002:eii0e...``). Their reader is more liberal than that: it takes leading zeros in any length or
number, keys in any order, and bytes after the end.

So a decoded document is two things: its value, and a `Layout` that says how it was spelt where that is not what cjdns
itself would have written. A default `Layout` is what cjdns writes, so a message made here comes out as a C node's.

Limits, all refused with `BencodeError`: more than `MAX_SIZE` bytes, nesting beyond `MAX_DEPTH`, integers outside 64
bits signed, numbers of more than `MAX_DIGITS` digits, negative zero, a key twice in one dictionary, a key that is no
string. Decoding is a loop with an explicit stack: no input can exhaust the interpreter's.

>>> document = decode(b"d00000001:xi7e1:y4:spame")
>>> document.value, document.layout == Layout()
({b'x': 7, b'y': b'spam'}, True)
>>> document.encode()
b'd00000001:xi7e1:y4:spame'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, Union

from prestocloud_sec.cjdns._layout import view
from prestocloud_sec.cjdns.errors import BencodeError, CjdnsMisuseError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "MAX_SIZE", "Document", "Layout", "Value", "decode", "encode"]

Value: TypeAlias = Union[int, bytes, "tuple[Value, ...]", "dict[bytes, Value]"]
"""A bencoded value: an integer, a byte string, a list (as a tuple), or a dictionary in the order of its bytes."""

MAX_SIZE = 1 << 16
"""Bytes of the largest document that is read or written; a cjdns message is below 2 kB."""

MAX_DEPTH = 16
"""Deepest nesting of lists and dictionaries; a cjdns message has one level, an admin message three."""

MAX_DIGITS = 20
"""Most digits of a length or a number, leading zeros included: enough for 64 bits."""

_ALIGNMENT = 8
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How a document is spelt, where bencoding as the C reader takes it leaves a choice.

    Attributes
    ----------
    widths : tuple of (int, int), or None
        Number of digits (at most `MAX_DIGITS`), leading zeros included, of the length or number of a scalar, as pairs
        (ordinal of the scalar in the document, digits). Keys, strings and integers are scalars, counted from 0 in the
        order of their bytes. A scalar that is not named has no leading zeros. None: cjdns' rule, where only the first
        scalar is padded, and only in a dictionary, so that the document without `trailing` is a multiple of 8 bytes.
    trailing : bytes
        What follows the document.

    Raises
    ------
    CjdnsMisuseError
        If the widths are not such pairs, or `trailing` is not `bytes`.
    """

    widths: tuple[tuple[int, int], ...] | None = None
    trailing: bytes = b""

    def __post_init__(self) -> None:
        if not isinstance(self.trailing, bytes) or not isinstance(self.widths, tuple | None):
            raise CjdnsMisuseError("wrong type", where="Layout", expected="a tuple or None, and bytes")
        for pair in self.widths or ():
            if (
                not isinstance(pair, tuple)
                or len(pair) != 2
                or not all(isinstance(number, int) for number in pair)
                or not 0 <= pair[1] <= MAX_DIGITS
            ):
                raise CjdnsMisuseError(shown(pair), where="Layout.widths", expected=f"(ordinal, 0..{MAX_DIGITS})")


@dataclass(frozen=True, slots=True)
class Document:
    """A decoded value and how it was spelt."""

    value: Value
    layout: Layout = field(default_factory=Layout)

    def encode(self) -> bytes:
        """Return the bytes: for a decoded document those it came from. Raises `CjdnsMisuseError` as `encode` does."""
        return encode(self.value, self.layout)


def encode(value: Value, layout: Layout | None = None) -> bytes:
    """Write a value; dictionaries in the order they hold, so sort them first where that is wanted.

    Parameters
    ----------
    value : int, bytes, tuple, list or dict
        Nested at most `MAX_DEPTH` deep; dictionary keys are `bytes`.
    layout : Layout, optional
        The spelling; as a C node writes it where not given.

    Returns
    -------
    bytes

    Raises
    ------
    CjdnsMisuseError
        A type that bencoding has no form for, an integer beyond 64 bits signed, too deep, or too long.
    """
    layout = _DEFAULT if layout is None else layout
    if not isinstance(layout, Layout):
        raise CjdnsMisuseError(f"a {type(layout).__name__}", where="bencode.layout", expected="a Layout")
    widths = dict(layout.widths) if layout.widths is not None else {}
    parts: list[bytes] = []
    _write(value, parts, widths)
    size = sum(map(len, parts))
    if layout.widths is None and isinstance(value, dict) and value:
        # parts[0] is "d" and parts[1] the first key with its length; one more digit is one more byte.
        parts.insert(1, b"0" * (-size % _ALIGNMENT))
        size += -size % _ALIGNMENT
    if size > MAX_SIZE:
        raise CjdnsMisuseError(f"{size} bytes", where="bencode", expected=f"at most {MAX_SIZE}")
    return b"".join(parts) + layout.trailing


_DEFAULT = Layout()


def _write(value: Value, parts: list[bytes], widths: dict[int, int]) -> None:
    """Append the encoding of `value` to `parts`; a stack of iterators, so depth is ours to bound."""
    ordinal = 0
    stack: list[tuple[bool, list[Value]]] = [(False, [value])]  # (closes with "e", what is left, last first)
    while stack:
        if len(parts) > MAX_SIZE:  # no part is empty; and lists that hold one list many times make more than memory
            raise CjdnsMisuseError("too many values", where="bencode", expected=f"at most {MAX_SIZE} bytes")
        closes, left = stack[-1]
        if not left:
            stack.pop()
            if closes:
                parts.append(b"e")
            continue
        item = left.pop()
        if isinstance(item, bytes):
            parts.append(b"%0*d:%b" % (widths.get(ordinal, 0), len(item), item))
            ordinal += 1
        elif isinstance(item, int) and not isinstance(item, bool):
            if not _INT_MIN <= item <= _INT_MAX:
                raise CjdnsMisuseError(
                    f"{shown(item)} does not fit", where="bencode", expected="a 64-bit signed integer"
                )
            parts.append(b"i%b%0*de" % (b"-" if item < 0 else b"", widths.get(ordinal, 0), abs(item)))
            ordinal += 1
        else:
            opening, inner = _open(item)
            if len(stack) > MAX_DEPTH:
                raise CjdnsMisuseError("nested too deep", where="bencode", expected=f"at most {MAX_DEPTH} levels")
            parts.append(opening)
            stack.append((True, inner))


def _open(item: object) -> tuple[bytes, list[Value]]:
    """Return the first byte of a list or dictionary, and its contents with the first one last."""
    if isinstance(item, dict):
        flat: list[Value] = []
        for key, inner in item.items():
            if not isinstance(key, bytes):
                raise CjdnsMisuseError(f"key of type {type(key).__name__}", where="bencode", expected="bytes")
            flat += (key, inner)
        flat.reverse()
        return b"d", flat
    if isinstance(item, tuple | list):
        return b"l", list(reversed(item))
    raise CjdnsMisuseError(
        f"{type(item).__name__} has no bencoded form", where="bencode", expected="int, bytes, tuple, list or dict"
    )


def decode(data: BytesLike, *, trailing: bool = True) -> Document:
    """Read one value from the start of `data`.

    Parameters
    ----------
    data : bytes-like
        The document, and perhaps more after it.
    trailing : bool
        Whether bytes after the value are allowed, as the C reader allows them; they are kept in the layout.

    Returns
    -------
    Document
        ``decode(data).encode() == bytes(data)`` for all data that is accepted.

    Raises
    ------
    BencodeError
        Where the bytes break a rule above; `offset` says where.
    CjdnsMisuseError
        If `data` is not bytes-like.
    """
    given = view(data, "bencode")
    if len(given) > MAX_SIZE:
        raise BencodeError(f"{len(given)} bytes", where="bencode", expected=f"at most {MAX_SIZE}")
    raw = bytes(given)
    value, end, widths, zeros = _read(raw)
    rest = raw[end:]
    if rest and not trailing:
        raise BencodeError(f"{len(rest)} bytes after the value", where="bencode", offset=end, expected="none")
    if widths == _rule(value, end - zeros):
        return Document(value, Layout(None, rest))
    return Document(value, Layout(widths, rest))


def _rule(value: Value, size: int) -> tuple[tuple[int, int], ...]:
    """Return the widths that cjdns gives a document of `size` bytes without leading zeros."""
    padding = -size % _ALIGNMENT
    if not padding or not isinstance(value, dict) or not value:
        return ()
    return ((0, len(b"%d" % len(next(iter(value)))) + padding),)


_TOKEN = re.compile(rb"([0-9]{1,%d}):|i(-?)([0-9]{1,%d})e|([dle])" % (MAX_DIGITS, MAX_DIGITS))


def _read(data: bytes) -> tuple[Value, int, tuple[tuple[int, int], ...], int]:
    """Read one value; return it, its end, the widths with leading zeros, and how many such zeros there were."""
    widths: list[tuple[int, int]] = []
    stack: list[tuple[bool, list[Value]]] = []  # the containers still open: is it a dictionary, what it holds so far
    at = ordinal = zeros = 0
    token = _TOKEN.match
    while True:
        start = at
        found = token(data, at)
        if found is None:
            raise _no_token(data, at)
        at = found.end()
        length, minus, digits, mark = found.groups()
        item: Value
        if mark is None:
            number = int(length or digits)
            width = len(length or digits)
            if width > 1 and width != len(b"%d" % number):
                widths.append((ordinal, width))
                zeros += width - len(b"%d" % number)
            ordinal += 1
            if length is None:
                item = _signed(number, minus, start)
            else:
                item = data[at : at + number]
                at += number
                if at > len(data):
                    raise BencodeError(
                        f"{len(data) - found.end()} bytes left", where="bencode", offset=start, expected=f"{number}"
                    )
        elif mark == b"e":
            if not stack:
                raise BencodeError("an end without a beginning", where="bencode", offset=start, expected="a value")
            is_dict, items = stack.pop()
            item = _dictionary(items, start) if is_dict else tuple(items)
        else:
            if len(stack) == MAX_DEPTH:
                raise BencodeError("too deep", where="bencode", offset=start, expected=f"at most {MAX_DEPTH} levels")
            stack.append((mark == b"d", []))
            continue
        if not stack:
            return item, at, tuple(widths), zeros
        stack[-1][1].append(item)


def _signed(number: int, minus: bytes, offset: int) -> int:
    if minus and not number:
        raise BencodeError("negative zero", where="bencode", offset=offset, expected="i0e")
    number = -number if minus else number
    if not _INT_MIN <= number <= _INT_MAX:
        raise BencodeError(f"{number}", where="bencode", offset=offset, expected="a 64-bit signed integer")
    return number


def _dictionary(items: list[Value], offset: int) -> dict[bytes, Value]:
    """Pair up keys and values; `offset` is where the dictionary ends."""
    keys = items[::2]
    entries: dict[bytes, Value] = {}
    for key, item in zip(keys, items[1::2], strict=False):
        if not isinstance(key, bytes):
            raise BencodeError("a key that is no string", where="bencode", offset=offset, expected="strings as keys")
        entries[key] = item
    if len(items) % 2:
        raise BencodeError("a key without a value", where="bencode", offset=offset, expected="a value")
    if len(entries) != len(keys):
        raise BencodeError("a key comes twice", where="bencode", offset=offset, expected="each key once")
    return entries


def _no_token(data: bytes, at: int) -> BencodeError:
    if at == len(data):
        return BencodeError("the input ends within a value", where="bencode", offset=at, expected="more bytes")
    return BencodeError(
        f"byte 0x{data[at]:02x} begins nothing",
        where="bencode",
        offset=at,
        expected=f"d, l, e, i and 1 to {MAX_DIGITS} digits and e, or 1 to {MAX_DIGITS} digits and a colon",
    )
