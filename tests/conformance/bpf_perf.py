# SPDX-License-Identifier: Apache-2.0
"""The six benchmark programs: each of their forms returns the same on every engine, and what the kernel returned.

The forms were recorded without results; what the kernel's runs returned stands in the text beside the file.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prestocloud_sec.bpf import ClassicProgram, HashMap, Program, ProgramType
from tests.conformance.bpf_programs import ENGINES, Slot, packed, slots_of
from tests.conformance.family import Case, Family

RETURNED = {
    "alu100": 2180770561,
    "csum1400": 16232,
    "tuple5": 1,
    "stackloop": 376287343,
    "cbpf_tcp80": 262144,
}
"""The low half of r0 in the kernel's runs; the kernel does not tell more."""
_LOAD_WIDE, _MOVE, _MAP = 0x18, 0xB7, 1
_JUMPS, _JUMPS_32, _NO_TARGET = 0x05, 0x06, (0x85, 0x95)
_ENTRIES = re.compile(r"HASH key4 val4 max (?P<size>\d+), (?P<entries>\d+) entries incl\. (?P<address>[\d.]+)")


def with_map_load(data: bytes) -> bytes:
    """Return a program with its ``r1 = 0``, which stands for the map, made a load of map 0: one slot longer."""
    slots = slots_of(data)
    at = slots.index((_MOVE, 1, 0, 0))
    longer: list[Slot] = []
    for index, (op, registers, off, imm) in enumerate(slots):
        jumps = op & 7 in {_JUMPS, _JUMPS_32} and op not in _NO_TARGET
        crosses = jumps and (index < at) is not (index + 1 + off <= at)
        longer.append((op, registers, off + (1 if off > 0 else -1) * crosses, imm))
    return packed([*longer[:at], (_LOAD_WIDE, 1 | _MAP << 4, 0, 0), (0, 0, 0, 0), *longer[at + 1 :]])


def table_of(case: Case) -> tuple[HashMap, int]:
    """Return the map that a case describes, and the value of the address that it names."""
    described = _ENTRIES.fullmatch(case["map"])
    assert described is not None, case["map"]
    named = struct.unpack("<I", bytes(map(int, described["address"].split("."))))[0]
    table = HashMap("u4", "u4", int(described["size"]))
    for number in range(1, int(described["entries"])):
        table[(named + 7 * number) & 0xFFFF_FFFF] = number
    table[named] = 0xC0DE
    assert len(table) == int(described["entries"])
    slot = slots_of(bytes.fromhex(case["xdp"]))[case["map_fd_insn"]]
    assert (slot[0], slot[1] >> 4) == (_LOAD_WIDE, _MAP)
    return table, 0xC0DE


def results(case: Case, maps: list[Any]) -> Iterator[tuple[str, int | None]]:
    """Yield what each form returned on each engine."""
    packet = bytes.fromhex(case["packet"])
    if "cbpf" in case:
        classic = ClassicProgram.from_bytes(bytes.fromhex(case["cbpf"]))
        yield "classic", classic.run(packet)
        forms = {"translated": classic.to_ebpf()}
        forms["ebpf_tc"] = Program.from_bytes(bytes.fromhex(case["ebpf_tc"]), type=ProgramType.SCHED_CLS)
    else:
        memory = bytes.fromhex(case["mem"])
        forms = {"mem": Program.from_bytes(with_map_load(memory) if maps else memory)}
        forms["xdp"] = Program.from_bytes(bytes.fromhex(case["xdp"]), type=ProgramType.XDP)
    for name, program in forms.items():
        for engine in ENGINES:
            result = program.run(packet, maps=maps, engine=engine)
            assert result.fault is None, f"{name}, {engine}: {result.fault}"
            assert result.packet == packet
            yield f"{name}, {engine}", result.value


def compare(case: Case, document: Case) -> None:
    maps: list[Any] = []
    expected = RETURNED.get(case["id"])
    if "map" in case:
        table, expected = table_of(case)
        maps = [table]
    assert expected is not None, f"nothing is known of {case['id']}"
    returned = dict(results(case, maps))
    for name, value in returned.items():
        assert value is not None, name
        assert value & 0xFFFF_FFFF == expected, name
    assert len(set(returned.values())) == 1, returned


def load_programs(path: Path) -> Any:
    """Read the file, with each program's name as its id."""
    document = json.loads(path.read_bytes())
    return {"cases": [{"id": name, **program} for name, program in document.items()]}


FILES = {
    "perf/programs.json": Family(compare, frozenset({"id"}), load=load_programs),
}
