# SPDX-License-Identifier: Apache-2.0
"""Keys and values as Python knows them, and as the bytes that a map holds.

A map's key or value is declared in one of three ways, and what Python gives and gets follows from it:

- a size in bytes: bytes;
- a numpy dtype (``"u4"``, ``np.uint64``, a structured one): numbers, or numpy records;
- a format of `struct` (``"<IH"``, ``"4s"``): what it unpacks to; the value itself where that is one.

Bytes of the right size are taken everywhere. Nothing is cut, rounded or wrapped: what does not fit is refused.
"""

from __future__ import annotations

import itertools
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.wire import items_of, shown, view_of, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BytesCodec", "Codec", "DtypeCodec", "StructCodec", "codec_of", "parts_of", "plain_bytes", "sized_bytes"]

_U32_MAX = 0xFFFF_FFFF
_LONGEST_OF_NUMPY = 0x7FFF_FFFF
"""Bytes of the longest dtype; no map that can be made has longer keys or values."""
_LONGEST = 1 << 22
"""Bytes that a format of `struct` may describe; beyond, give a size."""


def plain_bytes(data: object, name: str) -> bytes:
    """Return what a bytes-like object holds.

    Raises
    ------
    BpfMisuseError
        If it is none, or not contiguous.
    """
    if isinstance(data, bytes):
        return data
    try:
        return bytes(view_of(data, name=name))  # type: ignore[arg-type]
    except MisuseError as error:
        raise BpfMisuseError(error.what, where=error.where, expected=error.expected, hint=error.hint) from error


def sized_bytes(data: object, size: int, name: str) -> bytes:
    """Return what a bytes-like object of so many bytes holds.

    Raises
    ------
    BpfMisuseError
        If it is none, or has another size.
    """
    found = data if isinstance(data, bytes) else plain_bytes(data, name)
    if len(found) != size:
        raise BpfMisuseError(f"{len(found)} bytes", where=name, expected=f"{size}")
    return found


def parts_of(values: Any, count: int, name: str, expected: str) -> list[Any]:
    """Return the `count` things that an iterable of the caller's yields; no more than one beyond is asked for.

    Raises
    ------
    BpfMisuseError
        If it yields more or less, or cannot be gone through; `expected` says what there should be.
    """
    if not isinstance(values, Iterable):
        raise BpfMisuseError(type(values).__name__, where=name, expected=expected)
    parts = list(itertools.islice(items_of(values, name, expected, error=BpfMisuseError), count + 1))
    if len(parts) != count:
        told = f"more than {count}" if len(parts) > count else f"{len(parts)}"
        raise BpfMisuseError(f"{told} of them", where=name, expected=expected)
    return parts


class Codec(ABC):
    """How one key or value is written.

    Attributes
    ----------
    size : int
        Bytes.
    dtype : dtype
        What a snapshot shows it as.
    """

    __slots__ = ("dtype", "size")
    size: int
    dtype: np.dtype[Any]
    _pads = False
    """Whether shorter bytes are values too, with zeros behind them."""

    def encode(self, value: object, name: str) -> bytes:
        """Return the bytes of `value`; bytes of the right size are themselves.

        Raises
        ------
        BpfMisuseError
            If `value` is nothing that this codec can write; `name` says what it was for.
        """
        if not isinstance(value, bytes | bytearray | memoryview):
            return self._encode(value, name)
        data = plain_bytes(value, name)
        if len(data) == self.size:
            return data
        if self._pads and len(data) < self.size:
            return data.ljust(self.size, b"\0")
        raise BpfMisuseError(f"{len(data)} bytes", where=name, expected=f"{self.size}")

    @abstractmethod
    def _encode(self, value: Any, name: str) -> bytes:
        """Return the bytes of what is not bytes."""

    @abstractmethod
    def decode(self, data: bytes) -> Any:
        """Return what `size` bytes mean."""

    def decode_many(self, block: NDArray[np.uint8]) -> Any:
        """Return what rows of bytes mean: an array of `dtype`, or a tuple where that would say less."""
        return tuple(self.decode(row.tobytes()) for row in block)

    def column(self, rows: NDArray[np.uint8]) -> NDArray[Any]:
        """Return rows of bytes, shape (rows, size), as an array of `dtype`."""
        packed: NDArray[Any] = np.ascontiguousarray(rows)
        return packed.reshape(-1).view(self.dtype.base).reshape(len(rows), *self.dtype.shape)

    @abstractmethod
    def __str__(self) -> str: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


class BytesCodec(Codec):
    """Bytes as they are."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        self.size = size
        self.dtype = np.dtype((np.void, min(size, _LONGEST_OF_NUMPY)))

    def _encode(self, value: Any, name: str) -> bytes:
        if isinstance(value, np.ndarray | np.generic):
            data = value.tobytes()
            if len(data) == self.size:
                return bytes(data)
            raise BpfMisuseError(f"{len(data)} bytes", where=name, expected=f"{self.size}")
        hint = "declare it by a dtype such as 'u4' for numbers" if isinstance(value, int) else None
        raise BpfMisuseError(f"{type(value).__name__}", where=name, expected=f"{self.size} bytes", hint=hint)

    def decode(self, data: bytes) -> bytes:
        """Return the bytes."""
        return data

    def __str__(self) -> str:
        return f"{self.size} bytes"


_INTEGERS = {
    (kind, size): (low, high)
    for size in (1, 2, 4, 8)
    for kind, low, high in (
        ("u", 0, (1 << 8 * size) - 1),
        ("i", -1 << 8 * size - 1, (1 << 8 * size - 1) - 1),
    )
}


_TAKEN: dict[str, tuple[type, ...]] = {
    "f": (int, float, np.integer, np.floating),
    "c": (int, float, complex, np.integer, np.floating, np.complexfloating),
    "b": (bool, np.bool_),
    "S": (bytes,),
    "V": (bytes, np.void),
    "U": (str,),
}
"""What may be written into each kind of dtype, but for integers and records."""


class DtypeCodec(Codec):
    """Numbers and records of numpy."""

    __slots__ = ("_endian", "_integer", "_pads")

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.size = dtype.itemsize
        self._integer = _INTEGERS.get((dtype.kind, dtype.itemsize))
        self._pads = dtype.kind == "S"
        self._endian: Any = "big" if _is_big(dtype) else "little"

    def _encode(self, value: Any, name: str) -> bytes:
        if self._integer is not None:
            low, high = self._integer
            number = whole(value, name, low, high, error=BpfMisuseError)
            return number.to_bytes(self.size, self._endian, signed=low < 0)
        target = np.zeros((), self.dtype)
        _fill(target, self.dtype, value, name)
        return target.tobytes()

    def decode(self, data: bytes) -> Any:
        """Return an ``int`` or ``float`` for a number, a numpy scalar or array for everything else.

        Raises
        ------
        BpfError
            If text has what is no character, which numpy would make a str of all the same.
        """
        if self._integer is not None:
            return int.from_bytes(data, self._endian, signed=self._integer[0] < 0)
        if self.dtype.subdtype is not None:
            base, shape = self.dtype.subdtype
            return np.frombuffer(data, base).reshape(shape)
        if self.dtype.kind == "U":
            _check_text(data, self.dtype)
        found = np.frombuffer(data, self.dtype)[0]
        return found.item() if self.dtype.kind in "fb?" else found

    def decode_many(self, block: NDArray[np.uint8]) -> Any:
        """Return an array of `dtype`."""
        return self.column(block)

    def __str__(self) -> str:
        return str(self.dtype)


def _check_text(data: bytes, dtype: np.dtype[Any]) -> None:
    """Refuse what numpy would make a str of that is none, and that Python cannot handle."""
    if int(np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder)).max()) > sys.maxunicode:
        raise BpfError(
            "the bytes are no text",
            where=str(dtype),
            expected="characters of Unicode, four bytes each",
            hint="a map whose values are declared by their size gives them as bytes",
        )


def _is_big(dtype: np.dtype[Any]) -> bool:
    return dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")


def _fill(target: NDArray[Any], dtype: np.dtype[Any], value: Any, name: str) -> None:
    """Write `value` into an array without dimensions, or into a part of one, refusing what numpy would bend."""
    if dtype.names is not None:
        _fill_record(target, dtype, value, name)
    elif target.shape:
        rows = parts_of(value, target.shape[0], name, f"{target.shape[0]} of them")
        for place, row in enumerate(rows):
            _fill(target[place : place + 1].reshape(target.shape[1:]), dtype.base, row, f"{name}[{place}]")
    elif (limits := _INTEGERS.get((dtype.kind, dtype.itemsize))) is not None:
        target[...] = whole(value, name, *limits, error=BpfMisuseError)
    elif (taken := _TAKEN.get(dtype.kind)) is None or not isinstance(value, taken):
        raise BpfMisuseError(type(value).__name__, where=name, expected=f"a {dtype}")
    else:
        if isinstance(value, bytes | str) and len(value) * (4 if dtype.kind == "U" else 1) > dtype.itemsize:
            raise BpfMisuseError(shown(value), where=name, expected=f"a {dtype}, no longer")
        try:
            with np.errstate(all="ignore"):
                target[...] = value
        except (TypeError, ValueError, OverflowError) as error:
            raise BpfMisuseError(shown(value), where=name, expected=f"a {dtype}") from error


def _fill_record(target: NDArray[Any], dtype: np.dtype[Any], value: Any, name: str) -> None:
    names = dtype.names or ()
    if isinstance(value, np.ndarray | np.void) and value.dtype == dtype and not value.shape:
        target[...] = value
        return
    if isinstance(value, np.void | np.ndarray) and value.dtype.names:
        value = {field: value[field] for field in value.dtype.names}
    if not isinstance(value, dict):
        parts = parts_of(value, len(names), name, f"fields {', '.join(names)}")
        value = dict(zip(names, parts, strict=True))
    if set(value) != set(names):
        raise BpfMisuseError(shown(list(value)), where=name, expected=f"fields {', '.join(names)}")
    for field in names:
        part = target[field]
        _fill(part, part.dtype, value[field], f"{name}.{field}")


class StructCodec(Codec):
    """What a format of `struct` says."""

    __slots__ = ("_count", "_pads", "_single", "_struct")

    def __init__(self, layout: struct.Struct) -> None:
        self._struct = layout
        self.size = layout.size
        self._pads = layout.format.strip("@=<>!0123456789") == "s"
        self._count = len(layout.unpack(bytes(layout.size)))
        self._single = self._count == 1
        self.dtype = np.dtype((np.void, layout.size))

    def _encode(self, value: Any, name: str) -> bytes:
        expected = f"{self._count} of {self._struct.format!r}"
        single = self._single and not isinstance(value, tuple | list)
        parts = [value] if single else parts_of(value, self._count, name, expected)
        try:
            return self._struct.pack(*parts)
        except Exception as error:  # `struct` raises many things, and what a foreign __index__ raises
            raise BpfMisuseError(shown(value), where=name, expected=f"what packs as {self._struct.format!r}") from error

    def decode(self, data: bytes) -> Any:
        """Return the tuple that the format unpacks to, or its one part."""
        parts = self._struct.unpack(data)
        return parts[0] if self._single else parts

    def __str__(self) -> str:
        return repr(self._struct.format)


def codec_of(declared: Any, name: str) -> Codec:
    """Return the codec that a declaration means.

    Parameters
    ----------
    declared : int, str, dtype, struct.Struct or Codec
        A size in bytes, a format of `struct`, or what numpy takes for a dtype.
    name : str
        What an error calls it.

    Raises
    ------
    BpfMisuseError
        If it is none of them.
    """
    if isinstance(declared, Codec):
        return declared
    if isinstance(declared, bool):
        raise BpfMisuseError("bool", where=name, expected="a size, a numpy dtype or a struct format")
    if isinstance(declared, int | np.integer):
        return BytesCodec(whole(declared, name, 0, _U32_MAX, error=BpfMisuseError))
    if isinstance(declared, str) and (layout := _struct_of(declared)) is not None:
        return StructCodec(layout)
    if isinstance(declared, struct.Struct):
        if declared.size > _LONGEST:
            raise BpfMisuseError(
                f"a format of {declared.size} bytes", where=name, expected=f"{_LONGEST} at most", hint="give a size"
            )
        return StructCodec(declared)
    try:
        # What numpy takes as well, but nobody means.
        dtype: np.dtype[Any] = np.dtype("none" if declared is None or isinstance(declared, bytes) else declared)
    except Exception as error:  # numpy raises many things for what is no dtype
        raise BpfMisuseError(
            shown(declared), where=name, expected="a size in bytes, a numpy dtype or a struct format"
        ) from error
    if dtype.hasobject or not 0 < dtype.itemsize <= _U32_MAX or dtype.kind in "mM":
        raise BpfMisuseError(shown(declared), where=name, expected="a dtype of plain bytes")
    return DtypeCodec(dtype)


def _struct_of(text: str) -> struct.Struct | None:
    """Return the layout that `text` describes, None if it is no format of `struct`, or means the same as a dtype."""
    if len(text) == 1 and text in "bBhHiIqQlLfd?":
        return None
    try:
        layout = struct.Struct(text)
        return layout if 0 < layout.size <= _LONGEST and layout.unpack(bytes(layout.size)) else None
    except (struct.error, UnicodeEncodeError, MemoryError, OverflowError):
        return None
