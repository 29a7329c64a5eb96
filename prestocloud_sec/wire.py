# SPDX-License-Identifier: Apache-2.0
"""Bounds-checked reading and writing of big-endian binary fields.

`Reader` walks over any bytes-like object without copying it; every read names its field, so that a short input says
which field it broke. `Writer` is the mirror image and refuses a value that does not fit its field. Nothing here knows a
protocol.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from prestocloud_sec.errors import MisuseError, PrestoCloudError, TrailingBytesError, TruncatedError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    BytesLike: TypeAlias = Buffer | NDArray[Any]

__all__ = ["BytesLike", "Reader", "Writer", "items_of", "pairs_of", "result_of", "shown", "view_of", "whole"]

T = TypeVar("T")


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
    except Exception as error:  # whatever a foreign buffer raises
        raise MisuseError(
            f"{type(data).__name__} is not a contiguous bytes-like object",
            where=_name(name),
            expected="bytes, bytearray, memoryview or a C-contiguous array",
            hint="text has to be encoded, or parsed" if isinstance(data, str) else None,
        ) from error


_SHOWN_BITS = 256
_SHOWN_CHARACTERS = 60
_LONGEST_NAME = 200


def shown(value: object) -> str:
    """Return a value as an error message shows it: on one short line, whatever it is.

    Python refuses to write out integers of more than 4300 digits; here they are told by their size.

    >>> shown(-7), shown(1 << 70000), shown("x" * 1000)[:10]
    ('-7', 'an integer of 70001 bits', "'xxxxxxxxx")
    """
    if isinstance(value, int) and not isinstance(value, bool):
        bits = int.bit_length(value)
        return int.__repr__(value) if bits <= _SHOWN_BITS else f"an integer of {bits} bits"
    try:
        # Cut before it is written out: a hundred million characters make a message of thirty.
        long = isinstance(value, str | bytes) or type(value) in {bytearray, list, tuple}
        text = repr(value[: _SHOWN_CHARACTERS + 1] if long else value)  # type: ignore[index]
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
    except Exception as wrong:  # whatever a foreign __index__ raises
        raise error(f"{type(value).__name__} is not an integer", where=_name(name), expected="an int") from wrong
    if not isinstance(low, int | None) or not isinstance(high, int | None):
        raise MisuseError("no limits", where=_name(name), expected="ints or None")
    if (low is not None and number < low) or (high is not None and number > high):
        least, most = shown(low), shown(high)
        raise error(
            shown(number), where=_name(name), expected=f"{least} or more" if high is None else f"{least} to {most}"
        )
    return number


def items_of(values: Iterable[T], name: str, expected: str, *, error: type[MisuseError] = MisuseError) -> Iterator[T]:
    """Yield what an iterable of the caller's yields, one by one.

    Parameters
    ----------
    values : iterable
        What the caller gave.
    name : str
        What the error calls it.
    expected : str
        What it should hold.
    error : type
        The error to raise.

    Raises
    ------
    MisuseError
        Or `error`, if `values` cannot be gone through, or no further. Errors of this package pass as they are.
    """
    try:
        yield from values
    except PrestoCloudError:
        raise
    except Exception as wrong:  # whatever a foreign iterator raises
        raise error(
            f"{type(values).__name__} cannot be gone through", where=_name(name), expected=_name(expected)
        ) from wrong


def pairs_of(
    mapping: Mapping[Any, Any], name: str, *, error: type[MisuseError] = MisuseError
) -> Iterator[tuple[Any, Any]]:
    """Yield the keys and values of a mapping of the caller's, one by one.

    Raises
    ------
    MisuseError
        Or `error`, if it does not give them.
    """

    def pairs() -> Iterator[tuple[Any, Any]]:
        yield from mapping.items()  # also a call of the caller's, made where its errors are caught

    return items_of(pairs(), name, "a mapping", error=error)


def result_of(
    function: Callable[..., T], *arguments: object, name: str, expected: str, error: type[MisuseError] = MisuseError
) -> T:
    """Call a function of the caller's and return what it returns.

    Parameters
    ----------
    function : callable
        What the caller gave.
    arguments
        What it is called with.
    name : str
        What the error calls it.
    expected : str
        What it should be.
    error : type
        The error to raise.

    Raises
    ------
    MisuseError
        Or `error`, if `function` cannot be called so. What a function raises once it runs is its owner's and passes.
    """
    try:
        return function(*arguments)
    except Exception as wrong:
        running = wrong.__traceback__ is not None and wrong.__traceback__.tb_next is not None
        if running or isinstance(wrong, PrestoCloudError):
            raise
        raise error(
            f"a {type(function).__name__} cannot be called so", where=_name(name), expected=_name(expected)
        ) from wrong


def _name(name: object) -> str:
    """Return a name as an error shows it, whatever the caller gave for one."""
    return name if type(name) is str and len(name) <= _LONGEST_NAME else shown(name)


def _place(name: str, field: str) -> str:
    return f"{name}.{_name(field)}"


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
        self._name = _name(name)
        start = whole(offset, _place(self._name, "offset"), None)
        if not 0 <= start <= len(self._view):
            raise TruncatedError(
                f"{len(self._view)} bytes in all", where=self._name, expected=f"at least {shown(start)}"
            )
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
            size = whole(size, _place(self._name, field))
        if size > self.remaining:
            raise TruncatedError(
                f"{self.remaining} bytes left",
                where=_place(self._name, field),
                offset=self._offset,
                expected=shown(size),
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
        self._name = _name(name)

    def __len__(self) -> int:
        return len(self._buffer)

    def uint(self, value: int, size: int, field: str) -> Writer:
        """Append `value` as a big-endian unsigned integer of `size` bytes."""
        place = _place(self._name, field)
        number, width = whole(value, place), whole(size, f"size of {place}", 0, _WIDEST)
        if number.bit_length() > 8 * width:
            raise MisuseError(f"{shown(number)} does not fit", where=place, expected=f"0..2**{8 * width} - 1")
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
        if size is not None:
            place = _place(self._name, field)
            wanted = whole(size, f"size of {place}")
            if len(view) != wanted:
                raise MisuseError(f"{len(view)} bytes", where=place, expected=f"{shown(wanted)} bytes")
        self._buffer += view
        return self

    def finish(self) -> bytes:
        """Return what was written."""
        return bytes(self._buffer)
