# SPDX-License-Identifier: Apache-2.0
"""Programs and maps in objects of clang, as a loader takes them out: ELF64, relocations, and the maps BTF describes.

Only what the recorded objects have is read. Sources: ELF-64 Object File Format; Linux 6.18,
``Documentation/bpf/btf.rst``, ``Documentation/bpf/llvm_reloc.rst``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prestocloud_sec.bpf import MapFlag, MapType, Program, ProgramType
from prestocloud_sec.bpf.verifier.maps import MapSpec

EXECUTABLE = 4
NOBITS, REL = 8, 9
FUNCTION, SECTION = 2, 3
LOAD, CALL = 0x18, 0x85
LOCAL, MAP, VALUE, CALLBACK = 1, 1, 2, 4
"""What the source register of a call or a wide load says of its number."""
TYPES = {
    "xdp": ProgramType.XDP,
    "tc": ProgramType.SCHED_CLS,
    "classifier": ProgramType.SCHED_CLS,
    "socket": ProgramType.SOCKET_FILTER,
    "tracepoint": ProgramType.TRACEPOINT,
    "tp": ProgramType.TRACEPOINT,
    "cgroup_skb": ProgramType.CGROUP_SKB,
    "raw_tp": ProgramType.RAW_TRACEPOINT,
    "kprobe": ProgramType.KPROBE,
}


class Part(NamedTuple):
    """A section."""

    name: str
    kind: int
    flags: int
    data: bytes
    about: int
    """For relocations: the section that they change."""


class Symbol(NamedTuple):
    name: str
    kind: int
    part: int
    value: int
    size: int


class Relocation(NamedTuple):
    part: int
    offset: int
    symbol: Symbol


@dataclass(frozen=True)
class Loadable:
    """A program of an object, and the maps that its loads of maps count."""

    name: str
    program: Program
    maps: dict[int, MapSpec]


def text_at(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


class Elf:
    """Sections, symbols and relocations of a file."""

    def __init__(self, data: bytes) -> None:
        (headers,) = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        rows = [struct.unpack_from("<IIQQQQIIQQ", data, headers + n * size) for n in range(count)]

        def content(row: tuple[int, ...]) -> bytes:
            return bytes(row[5]) if row[1] == NOBITS else data[row[4] : row[4] + row[5]]

        strings = content(rows[names])
        self.parts = [Part(text_at(strings, row[0]), row[1], row[2], content(row), row[7]) for row in rows]
        named, table = self.part(".strtab").data, self.part(".symtab").data
        self.symbols: list[Symbol] = []
        for name, info, _, part, value, length in struct.iter_unpack("<IBBHQQ", table):
            kind = info & 15
            called = self.parts[part].name if kind == SECTION else text_at(named, name)
            self.symbols.append(Symbol(called, kind, part, value, length))
        self.relocations = [
            Relocation(part.about, offset, self.symbols[info >> 32])
            for part in self.parts
            if part.kind == REL
            for offset, info in struct.iter_unpack("<QQ", part.data)
        ]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def function(self, part: int, offset: int) -> Symbol:
        """Return the function that begins at a place."""
        return next(s for s in self.symbols if (s.kind, s.part, s.value) == (FUNCTION, part, offset))


INTEGER, POINTER, ARRAY, STRUCT, UNION, ENUM, TYPEDEF = 1, 2, 3, 4, 5, 6, 8
"""Kinds of types in BTF."""
QUALIFIERS = frozenset({TYPEDEF, 9, 10, 11})
DATA_SECTION = 15


def tail_of(kind: int, count: int) -> int:
    """Return how many bytes follow a type's row."""
    each = {STRUCT: 12, UNION: 12, ENUM: 8, 13: 8, DATA_SECTION: 12, 19: 12}
    fixed = {INTEGER: 4, ARRAY: 12, 14: 4, 17: 4}
    return fixed.get(kind, each.get(kind, 0) * count)


class Type(NamedTuple):
    name: str
    kind: int
    size: int
    """Or the number of another type."""
    rows: tuple[tuple[int, int, int], ...]
    """Members, of an array its elements, of a section what lies in it."""


class Types:
    """The types of an object."""

    def __init__(self, data: bytes) -> None:
        _, _, _, header, types, length, strings, _ = struct.unpack_from("<HBBIIIII", data)
        self.strings = data[header + strings :]
        at, end = header + types, header + types + length
        self.rows = [Type("void", 0, 0, ())]
        while at < end:
            name, info, size = struct.unpack_from("<III", data, at)
            kind = info >> 24 & 31
            tail = data[at + 12 : at + 12 + tail_of(kind, info & 0xFFFF)]
            triples = tail if kind in {ARRAY, STRUCT, UNION, DATA_SECTION} else b""
            self.rows.append(Type(text_at(self.strings, name), kind, size, tuple(struct.iter_unpack("<III", triples))))
            at += 12 + len(tail)

    def size(self, number: int) -> int:
        """Return how many bytes a type has."""
        row = self.rows[number]
        if row.kind in QUALIFIERS:
            return self.size(row.size)
        if row.kind == ARRAY:
            return row.rows[0][2] * self.size(row.rows[0][0])
        return 8 if row.kind == POINTER else row.size

    def maps(self) -> dict[str, MapSpec]:
        """Return the maps that are declared in the section ``.maps``."""
        section = next((row for row in self.rows if (row.name, row.kind) == (".maps", DATA_SECTION)), None)
        found = {}
        for variable, _, _ in section.rows if section is not None else ():
            name, _, struct_type, _ = self.rows[variable]
            told = {"key": 0, "value": 0, "max_entries": 0, "map_flags": 0}
            for member, kind, _ in self.rows[struct_type].rows:
                word = text_at(self.strings, member)
                pointed = self.rows[kind].size
                if word in {"key", "value"}:  # by a pointer to one; numbers by one to an array of so many
                    told[word] = self.size(pointed)
                else:
                    told[word.removesuffix("_size")] = self.rows[pointed].rows[0][2]
            found[name] = MapSpec(
                MapType(told["type"]), told["key"], told["value"], told["max_entries"], told["map_flags"]
            )
        return found


def maps_of(elf: Elf) -> dict[str, MapSpec]:
    """Return the maps of an object, and those that its variables lie in."""
    found = Types(elf.part(".BTF").data).maps()
    for part in elf.parts:
        if part.data and part.name.startswith((".rodata", ".data", ".bss")):
            constant = part.name.startswith(".rodata")
            found[part.name] = MapSpec(
                MapType.ARRAY,
                4,
                len(part.data),
                1,
                MapFlag.RDONLY_PROG if constant else 0,
                frozen=part.data if constant else None,
            )
    return found


@dataclass
class Linker:
    """Puts a function and all that it calls in a row, and maps by number where they are named."""

    elf: Elf
    numbers: dict[str, int]
    code: bytearray = field(default_factory=bytearray)
    placed: dict[tuple[int, int], int] = field(default_factory=dict)

    def place(self, symbol: Symbol) -> int:
        """Return where a function begins."""
        key = symbol.part, symbol.value
        if key not in self.placed:
            start = self.placed[key] = len(self.code)
            self.code += self.elf.parts[symbol.part].data[symbol.value : symbol.value + symbol.size]
            changes = {r.offset: r.symbol for r in self.elf.relocations if r.part == symbol.part}
            for offset in range(0, symbol.size, 8):
                self._change(start + offset, symbol, symbol.value + offset, changes.get(symbol.value + offset))
        return self.placed[key]

    def _change(self, at: int, function: Symbol, offset: int, target: Symbol | None) -> None:
        (number,) = struct.unpack_from("<i", self.code, at + 4)
        if self.code[at] == CALL and self.code[at + 1] >> 4 == LOCAL:
            if target is None:
                called = self.elf.function(function.part, offset + 8 * (number + 1))
            else:
                called = self.elf.function(target.part, target.value + 8 * (number + 1) * (target.kind == SECTION))
            self._put(at, LOCAL, (self.place(called) - at) // 8 - 1)
        elif self.code[at] == LOAD and target is not None:
            part = self.elf.parts[target.part]
            if part.flags & EXECUTABLE:
                callback = self.elf.function(target.part, target.value + number)
                self._put(at, CALLBACK, (self.place(callback) - at) // 8 - 1)
            elif part.name == ".maps":
                self._put(at, MAP, self.numbers[target.name])
            else:
                self._put(at, VALUE, self.numbers[part.name])
                struct.pack_into("<i", self.code, at + 12, target.value + number)

    def _put(self, at: int, source: int, number: int) -> None:
        self.code[at + 1] = self.code[at + 1] & 15 | source << 4
        struct.pack_into("<i", self.code, at + 4, number)


def loadables(path: Path) -> list[Loadable]:
    """Return the programs of an object, in the order of its sections."""
    elf = Elf(path.read_bytes())
    maps = maps_of(elf)
    found = []
    for number, part in enumerate(elf.parts):
        if not part.flags & EXECUTABLE or not part.data or part.name == ".text":
            continue
        entries = [symbol for symbol in elf.symbols if (symbol.kind, symbol.part) == (FUNCTION, number)]
        for entry in sorted(entries, key=lambda symbol: symbol.value):
            linker = Linker(elf, {name: n for n, name in enumerate(maps)})
            linker.place(entry)
            kind = TYPES[part.name.partition("/")[0]]
            program = Program.from_bytes(bytes(linker.code), type=kind, license="GPL")
            found.append(Loadable(entry.name, program, dict(enumerate(maps.values()))))
    return found
