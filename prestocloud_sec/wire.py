# SPDX-License-Identifier: Apache-2.0
"""Bounds-checked reading and writing of big-endian binary fields.

`Reader` walks over any bytes-like object without copying it; every read names its field, so that a short input says
which field it broke. `Writer` is the mirror image and refuses a value that does not fit its field. Nothing here knows a
protocol.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.errors import MisuseError, TrailingBytesError, TruncatedError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    BytesLike: TypeAlias = Buffer | NDArray[Any]

__all__ = ["BytesLike", "Reader", "Writer", "shown", "view_of", "whole"]


def __getattr__(name: str) -> object:
    # At run time the alias is the documentation of what `view_of` takes; `collections.abc.Buffer` is 3.12 and later.
    if name == "BytesLike":
        return bytes | bytearray | memoryview
    raise AttributeError(name)


def view_of(data: BytesLike, *, name: str = "data") -> memoryview:
    """Return a flat, contiguous, read-as-bytes view of any object with the buffer protocol, without a copy.

    Raises
    ------
    MisuseError
        If `data` has no buffer, or one that is not contiguous.
    """
    try:
        view = memoryview(data)  # type: ignore[arg-type,unused-ignore]
        return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")
    except (TypeError, ValueError, BufferError) as error:
        raise MisuseError(
            f"{type(data).__name__} is not a contiguous bytes-like object",
            where=name,
            expected="bytes, bytearray, memoryview or a C-contiguous array",
            hint="text has to be encoded, or parsed" if isinstance(data, str) else None,
        ) from error


_SHOWN_BITS = 256
_SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """Return a value as an error message shows it: on one short line, whatever it is.

    Python refuses to write out integers of more than 4300 digits; here they are told by their size.

    >>> shown(-7), shown(1 << 70000), shown("x" * 1000)[:10]
    ('-7', 'an integer of 70001 bits', "'xxxxxxxxx")
    """
    if isinstance(value, int):
        bits = int.bit_length(value)
        return repr(value) if bits <= _SHOWN_BITS else f"an integer of {bits} bits"
    if isinstance(value, str | bytes):
        # Cut before it is written out: a hundred million characters make a message of thirty.
        text = repr(value[: _SHOWN_CHARACTERS + 1])
    else:
        try:
            text = repr(value)
        except Exception:  # whatever a foreign __repr__ raises (or a huge integer in a tuple) must not hide the error
            text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def whole(
    value: object,
    name: str,
    low: int | None = 0,
    high: int | None = None,
    *,
    error: type[MisuseError] = MisuseError,
) -> int:
    """Return `value` as an ``int`` if it is an integer (numpy's too) from `low` to `high`.

    Parameters
    ----------
    value : object
        What the caller gave.
    name : str
        What the error calls it.
    low, high : int
        The least and the greatest that are allowed; None for no limit.
    error : type
        The error to raise.

    Raises
    ------
    MisuseError
        Or `error`, if `value` is no integer, or out of range.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError as wrong:
        raise error(f"{type(value).__name__} is not an integer", where=name, expected="an int") from wrong
    if (low is not None and number < low) or (high is not None and number > high):
        raise error(shown(number), where=name, expected=f"{low} or more" if high is None else f"{low} to {high}")
    return int(number)


class Reader:
    """A cursor over bytes; each method takes the name of the field it reads, for the error message.

    >>> r = Reader(bytes.fromhex("0001ff"), name="example")
    >>> r.u16("count"), r.u8("flag")
    (1, 255)
    >>> r.u8("more")
    Traceback (most recent call last):
    ...
    prestocloud_sec.errors.TruncatedError: example.more (offset 3): 0 bytes left; expected 1
    """

    __slots__ = ("_name", "_offset", "_view")

    def __init__(self, data: BytesLike, *, name: str = "input", offset: int = 0) -> None:
        self._view = view_of(data, name=name)
        self._name = name
        start = whole(offset, f"{name}.offset", None)
        if not 0 <= start <= len(self._view):
            raise TruncatedError(f"{len(self._view)} bytes in all", where=name, expected=f"at least {shown(start)}")
        self._offset = start

    @property
    def offset(self) -> int:
        """Position of the next byte, counted from the start of the input."""
        return self._offset

    @property
    def remaining(self) -> int:
        """Number of bytes not yet read."""
        return len(self._view) - self._offset

    def view(self, size: int, field: str) -> memoryview:
        """Take `size` bytes as a view of the input (no copy)."""
        if type(size) is not int or size < 0:
            size = whole(size, f"{self._name}.{field}")
        if size > self.remaining:
            raise TruncatedError(
                f"{self.remaining} bytes left", where=f"{self._name}.{field}", offset=self._offset, expected=shown(size)
            )
        start = self._offset
        self._offset = start + size
        return self._view[start : start + size]

    def take(self, size: int, field: str) -> bytes:
        """Take `size` bytes as `bytes`."""
        return bytes(self.view(size, field))

    def uint(self, size: int, field: str) -> int:
        """Take a big-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.view(size, field), "big")

    def u8(self, field: str) -> int:
        """Take one byte."""
        return self.uint(1, field)

    def u16(self, field: str) -> int:
        """Take a big-endian 16-bit integer."""
        return self.uint(2, field)

    def u32(self, field: str) -> int:
        """Take a big-endian 32-bit integer."""
        return self.uint(4, field)

    def u64(self, field: str) -> int:
        """Take a big-endian 64-bit integer."""
        return self.uint(8, field)

    def rest(self) -> memoryview:
        """Take everything that is left (no copy)."""
        return self.view(self.remaining, "rest")

    def end(self) -> None:
        """Refuse bytes after the last field."""
        if self.remaining:
            raise TrailingBytesError(f"{self.remaining} bytes too many", where=self._name, offset=self._offset)


_WIDEST = 1 << 16  # bytes of an integer field; none that is meant is wider


class Writer:
    """Collects big-endian fields; each method refuses a value that its field cannot hold.

    >>> Writer("example").u16(1, "count").put(b"ab", 2, "tag").finish().hex()
    '00016162'
    """

    __slots__ = ("_buffer", "_name")

    def __init__(self, name: str = "output") -> None:
        self._buffer = bytearray()
        self._name = name

    def __len__(self) -> int:
        return len(self._buffer)

    def uint(self, value: int, size: int, field: str) -> Writer:
        """Append `value` as a big-endian unsigned integer of `size` bytes."""
        number, width = whole(value, f"{self._name}.{field}"), whole(size, f"size of {self._name}.{field}", 0, _WIDEST)
        if number.bit_length() > 8 * width:
            raise MisuseError(
                f"{shown(number)} does not fit", where=f"{self._name}.{field}", expected=f"0..2**{8 * width} - 1"
            )
        self._buffer += number.to_bytes(width, "big")
        return self

    def u8(self, value: int, field: str) -> Writer:
        """Append one byte."""
        return self.uint(value, 1, field)

    def u16(self, value: int, field: str) -> Writer:
        """Append a big-endian 16-bit integer."""
        return self.uint(value, 2, field)

    def u32(self, value: int, field: str) -> Writer:
        """Append a big-endian 32-bit integer."""
        return self.uint(value, 4, field)

    def u64(self, value: int, field: str) -> Writer:
        """Append a big-endian 64-bit integer."""
        return self.uint(value, 8, field)

    def put(self, data: BytesLike, size: int | None, field: str) -> Writer:
        """Append bytes; `size`, where given, is the exact length the field must have."""
        view = view_of(data, name=field)
        if size is not None and len(view) != whole(size, f"size of {self._name}.{field}"):
            raise MisuseError(f"{len(view)} bytes", where=f"{self._name}.{field}", expected=f"{shown(size)} bytes")
        self._buffer += view
        return self

    def finish(self) -> bytes:
        """Return what was written."""
        return bytes(self._buffer)
