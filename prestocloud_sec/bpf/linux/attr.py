# SPDX-License-Identifier: Apache-2.0
"""What bpf(2) is handed: its commands, and the fields of ``union bpf_attr`` for each, as data.

Source: Linux 6.18, ``include/uapi/linux/bpf.h``, ``enum bpf_cmd``, ``union bpf_attr``, ``struct bpf_map_info`` and
``struct bpf_prog_info``. A row says a field's name, its offset in bytes, and what it holds; all numbers are
little-endian, as both processors with a row in `prestocloud_sec.bpf.linux.syscall.NUMBERS` are. A kernel takes an attr
that is longer than the one it knows as long as the rest is 0, so that one layout serves every version.
"""

from __future__ import annotations

import ctypes
import errno
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import TypeAlias

from prestocloud_sec.bpf.errors import BpfMisuseError, MapError
from prestocloud_sec.wire import shown, view_of

__all__ = [
    "LAYOUTS",
    "MAP_INFO",
    "NAME_SIZE",
    "PROGRAM_INFO",
    "Attr",
    "Buffer",
    "Command",
    "Field",
    "Kind",
    "Layout",
    "content",
    "make_buffer",
]

NAME_SIZE = 16
"""Bytes of the name of a map or a program, its final NUL counted (``BPF_OBJ_NAME_LEN``)."""

Buffer: TypeAlias = ctypes.Array[ctypes.c_char]
"""Memory that the kernel reads or writes while it is called."""


class Command(IntEnum):
    """What bpf(2) can be asked to do (``enum bpf_cmd``)."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    BTF_LOAD = 18
    MAP_LOOKUP_AND_DELETE_ELEM = 21
    MAP_FREEZE = 22
    MAP_LOOKUP_BATCH = 24


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field holds: bytes it takes, and the numbers it may be given."""

    name: str
    size: int
    low: int = 0
    high: int = 0

    @property
    def expected(self) -> str:
        """What an error says a field of this kind takes."""
        return {"pointer": "a buffer or None", "name": f"a name of at most {self.size} bytes"}.get(
            self.name, f"an integer {self.low}..{self.high}"
        )


U32 = Kind("u32", 4, 0, (1 << 32) - 1)
U64 = Kind("u64", 8, 0, (1 << 64) - 1)
FD = Kind("descriptor", 4, -1, (1 << 31) - 1)
POINTER = Kind("pointer", 8)
NAME = Kind("name", NAME_SIZE)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, the offset of its first byte, and what it holds."""

    name: str
    offset: int
    kind: Kind

    @property
    def end(self) -> int:
        """The offset of the byte after it."""
        return self.offset + self.kind.size


@dataclass(frozen=True, slots=True)
class Layout:
    """A structure of the kernel's: its fields by name, and its size in bytes."""

    name: str
    fields: Mapping[str, Field]
    size: int


def _layout(name: str, *rows: tuple[str, int, Kind]) -> Layout:
    fields = {row[0]: Field(*row) for row in rows}
    end = max(field.end for field in fields.values())
    return Layout(name, MappingProxyType(fields), end + -end % 8)


_ELEMENT = (("map_fd", 0, FD), ("key", 8, POINTER), ("value", 16, POINTER), ("flags", 24, U64))

LAYOUTS: Mapping[Command, Layout] = MappingProxyType(
    {
        command: _layout(command.name, *rows)
        for command, rows in {
            Command.MAP_CREATE: (
                ("map_type", 0, U32),
                ("key_size", 4, U32),
                ("value_size", 8, U32),
                ("max_entries", 12, U32),
                ("map_flags", 16, U32),
                ("inner_map_fd", 20, FD),
                ("numa_node", 24, U32),
                ("map_name", 28, NAME),
                ("map_ifindex", 44, U32),
                ("btf_fd", 48, FD),
                ("btf_key_type_id", 52, U32),
                ("btf_value_type_id", 56, U32),
                ("btf_vmlinux_value_type_id", 60, U32),
                ("map_extra", 64, U64),
            ),
            Command.MAP_LOOKUP_ELEM: _ELEMENT,
            Command.MAP_UPDATE_ELEM: _ELEMENT,
            Command.MAP_DELETE_ELEM: _ELEMENT,
            Command.MAP_GET_NEXT_KEY: (("map_fd", 0, FD), ("key", 8, POINTER), ("next_key", 16, POINTER)),
            Command.MAP_LOOKUP_AND_DELETE_ELEM: _ELEMENT,
            Command.MAP_FREEZE: (("map_fd", 0, FD),),
            Command.MAP_GET_FD_BY_ID: (("map_id", 0, U32), ("next_id", 4, U32), ("open_flags", 8, U32)),
            Command.MAP_LOOKUP_BATCH: (
                ("in_batch", 0, POINTER),
                ("out_batch", 8, POINTER),
                ("keys", 16, POINTER),
                ("values", 24, POINTER),
                ("count", 32, U32),
                ("map_fd", 36, FD),
                ("elem_flags", 40, U64),
                ("flags", 48, U64),
            ),
            Command.BTF_LOAD: (
                ("btf", 0, POINTER),
                ("btf_log_buf", 8, POINTER),
                ("btf_size", 16, U32),
                ("btf_log_size", 20, U32),
                ("btf_log_level", 24, U32),
                ("btf_log_true_size", 28, U32),
            ),
            Command.PROG_LOAD: (
                ("prog_type", 0, U32),
                ("insn_cnt", 4, U32),
                ("insns", 8, POINTER),
                ("license", 16, POINTER),
                ("log_level", 24, U32),
                ("log_size", 28, U32),
                ("log_buf", 32, POINTER),
                ("kern_version", 40, U32),
                ("prog_flags", 44, U32),
                ("prog_name", 48, NAME),
                ("prog_ifindex", 64, U32),
                ("expected_attach_type", 68, U32),
                ("prog_btf_fd", 72, FD),
                ("func_info_rec_size", 76, U32),
                ("func_info", 80, POINTER),
                ("func_info_cnt", 88, U32),
                ("line_info_rec_size", 92, U32),
                ("line_info", 96, POINTER),
                ("line_info_cnt", 104, U32),
                ("attach_btf_id", 108, U32),
                ("attach_prog_fd", 112, FD),
                ("core_relo_cnt", 116, U32),
                ("fd_array", 120, POINTER),
                ("core_relos", 128, POINTER),
                ("core_relo_rec_size", 136, U32),
                ("log_true_size", 140, U32),
            ),
            Command.PROG_TEST_RUN: (
                ("prog_fd", 0, FD),
                ("retval", 4, U32),
                ("data_size_in", 8, U32),
                ("data_size_out", 12, U32),
                ("data_in", 16, POINTER),
                ("data_out", 24, POINTER),
                ("repeat", 32, U32),
                ("duration", 36, U32),
                ("ctx_size_in", 40, U32),
                ("ctx_size_out", 44, U32),
                ("ctx_in", 48, POINTER),
                ("ctx_out", 56, POINTER),
                ("flags", 64, U32),
                ("cpu", 68, U32),
                ("batch_size", 72, U32),
            ),
            Command.PROG_GET_FD_BY_ID: (("prog_id", 0, U32), ("next_id", 4, U32)),
            Command.OBJ_GET_INFO_BY_FD: (("bpf_fd", 0, FD), ("info_len", 4, U32), ("info", 8, POINTER)),
        }.items()
    }
)
"""The part of ``union bpf_attr`` that each command reads, and writes its answers to."""

MAP_INFO = _layout(
    "bpf_map_info",
    ("type", 0, U32),
    ("id", 4, U32),
    ("key_size", 8, U32),
    ("value_size", 12, U32),
    ("max_entries", 16, U32),
    ("map_flags", 20, U32),
    ("name", 24, NAME),
    ("map_extra", 80, U64),
)
PROGRAM_INFO = _layout(
    "bpf_prog_info",
    ("type", 0, U32),
    ("id", 4, U32),
    ("tag", 8, U64),
    ("jited_prog_len", 16, U32),
    ("xlated_prog_len", 20, U32),
    ("name", 64, NAME),
    ("verified_insns", 216, U32),
)
"""Of these the fields that are read here; the pointers between them stay 0, so that the kernel writes nowhere else."""


def make_buffer(content: bytes | int) -> Buffer:
    """Return memory for the kernel: a copy of some bytes, or so many zeros. It is at least one byte long.

    Raises
    ------
    MapError
        ENOMEM, if there is no memory for it.
    MisuseError
        If `content` is neither.
    """
    data = b"" if isinstance(content, int) else bytes(view_of(content, name="a buffer for bpf(2)"))
    size = content if isinstance(content, int) else len(data)
    try:
        memory = (ctypes.c_char * max(size, 1))()
        ctypes.memmove(memory, data, len(data))
    except (MemoryError, OverflowError) as error:
        raise MapError(
            errno.ENOMEM, f"there is no memory for {shown(size)} bytes", where="a buffer for bpf(2)"
        ) from error
    return memory


def content(memory: Buffer, size: int) -> bytes:
    """Return the first bytes of a buffer, at most as many as it has."""
    return bytes(memoryview(memory).cast("B")[: max(size, 0)])


class Attr:
    """One structure that is handed to the kernel: packed from named fields, and read back by name.

    Buffers that it points at live as long as it does.

    Parameters
    ----------
    layout : Layout or Command
        Which structure.
    **values
        Fields: integers; for pointers a buffer of `make_buffer`, or None; for names text. Those not given are 0.

    Raises
    ------
    BpfMisuseError
        If there is no such field, or a value does not fit it.

    Examples
    --------
    >>> attr = Attr(Command.MAP_CREATE, map_type=2, key_size=4, value_size=8, max_entries=1, map_name="hits")
    >>> attr
    <Attr MAP_CREATE: map_type=2, key_size=4, value_size=8, max_entries=1, map_name='hits'>
    >>> len(attr), attr["value_size"]
    (72, 8)
    >>> bytes(attr.memory)[:16].hex(" ", 4)
    '02000000 04000000 08000000 01000000'
    """

    __slots__ = ("_kept", "_view", "layout", "memory")

    layout: Layout
    memory: Buffer

    def __init__(self, layout: Layout | Command, **values: object) -> None:
        found = LAYOUTS[layout] if isinstance(layout, Command) else layout
        if not isinstance(found, Layout):
            raise BpfMisuseError(f"{shown(layout)} is no layout", where="Attr", expected="a Command or a Layout")
        self.layout = found
        self.memory = make_buffer(self.layout.size)
        self._view = memoryview(self.memory).cast("B")
        self._kept: list[object] = []
        for name, value in values.items():
            self._put(name, value)

    def _field(self, name: str) -> Field:
        field = self.layout.fields.get(name) if isinstance(name, str) else None
        if field is None:
            raise BpfMisuseError(
                f"there is no field {shown(name)}", where=self.layout.name, expected=", ".join(self.layout.fields)
            )
        return field

    def _put(self, name: str, value: object) -> None:
        field = self._field(name)
        packed = self._packed(field.kind, value)
        if packed is None:
            raise BpfMisuseError(
                f"{shown(value)} does not fit", where=f"{self.layout.name}.{name}", expected=field.kind.expected
            )
        self._view[field.offset : field.end] = packed

    def _packed(self, kind: Kind, value: object) -> bytes | None:
        """Return the bytes of a field, or None if the value is not one for it."""
        if kind is POINTER:
            if value is None:
                return bytes(8)
            if not isinstance(value, ctypes.Array):
                return None
            self._kept.append(value)
            return ctypes.addressof(value).to_bytes(8, "little")
        if kind is NAME:
            if not isinstance(value, str) or len(value) > NAME_SIZE:
                return None
            encoded = value.encode(errors="surrogatepass")
            return encoded.ljust(NAME_SIZE, b"\0") if len(encoded) <= NAME_SIZE else None
        try:
            number = operator.index(value)  # type: ignore[arg-type]
        except Exception:  # whatever a foreign __index__ raises
            return None
        return number.to_bytes(kind.size, "little", signed=kind.low < 0) if kind.low <= number <= kind.high else None

    def __getitem__(self, name: str) -> int:
        """Return what a field holds now, as an unsigned number (descriptors as signed ones)."""
        field = self._field(name)
        return int.from_bytes(self._view[field.offset : field.end], "little", signed=field.kind.low < 0)

    def text(self, name: str) -> str:
        """Return a name, up to its NUL."""
        field = self._field(name)
        return bytes(self._view[field.offset : field.end]).partition(b"\0")[0].decode(errors="replace")

    def __len__(self) -> int:
        return self.layout.size

    def __repr__(self) -> str:
        told = []
        for name, field in self.layout.fields.items():
            if self[name]:
                shown_as = {POINTER: "...", NAME: repr(self.text(name))}.get(field.kind, str(self[name]))
                told.append(f"{name}={shown_as}")
        return f"<Attr {self.layout.name}: {', '.join(told) or 'all 0'}>"
