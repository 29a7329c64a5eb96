# SPDX-License-Identifier: Apache-2.0
"""Every answer that was recorded of the maps of a running kernel (Linux 6.18, two processors), asked of ours."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec import bpf
from prestocloud_sec.bpf import MapType, create_map
from prestocloud_sec.bpf.errors import BpfMisuseError, MapError, errno_symbol
from prestocloud_sec.bpf.maps.base import Map

RECORDED = json.loads((Path(__file__).parents[1] / "linux" / "recorded.json").read_text())
SIZES = {"PROG_ARRAY": (4, 4), "PERF_EVENT_ARRAY": (4, 4), "CGROUP_ARRAY": (4, 4), "LPM_TRIE": (8, 4)}
FLAGS = {
    "no flags": 0,
    "flags NO_PREALLOC(1)": 1,
    "flags NO_COMMON_LRU(2)": 2,
    "flags 0x8000 unknown": 0x8000,
    "flags RDONLY(8)": 8,
    "flags WRONLY(16)": 16,
    "flags RDONLY|WRONLY": 24,
    "flags ZERO_SEED(64)": 64,
    "flags MMAPABLE(1024)": 1024,
}
HUGE = {"value_size=1<<30": "ok", "max_entries=1<<31": "ok"}
"""Recorded too, but not asked of the running kernel again, which takes the gigabytes that ours only maps."""
OUT_OF_MEMORY = {("PERF_EVENT_ARRAY", "max_entries=1<<31"), ("CGROUP_ARRAY", "max_entries=1<<31")}
"""Where the kernel had no 16 GiB for pointers, which ours does not need: a program array of that length was made."""


def answer(call: Callable[[], Any]) -> Any:
    try:
        result = call()
    except MapError as error:
        return error.symbol
    return "ok" if result is None else result


def made(kind: str, **changes: int) -> Map:
    key, value = SIZES.get(kind, (4, 8))
    given = {"key_size": key, "value_size": value, "max_entries": 4, "flags": int(kind == "LPM_TRIE"), **changes}
    return create_map(MapType[kind], **given, cpus=2)


def change(kind: str, row: str) -> dict[str, int]:
    if row == "standard":
        return {}
    if row in FLAGS:
        always = 1 if kind == "LPM_TRIE" and row != "no flags" else 0
        return {"flags": FLAGS[row] | always}
    name, _, number = row.partition("=")
    base, _, shift = number.partition("<<")
    return {name: int(base) << int(shift or 0)}


@pytest.mark.parametrize("kind", RECORDED["creation"])
def test_creation(kind: str) -> None:
    rows = RECORDED["creation"][kind] | (HUGE if kind == "ARRAY" else {})
    assert len(rows) >= 17
    for row, expected in rows.items():
        given = answer(lambda row=row: made(kind, **change(kind, row)) and None)
        if (kind, row) in OUT_OF_MEMORY:
            assert (given, expected) == ("ok", "ENOMEM"), row
        else:
            assert given == expected, row


@pytest.mark.parametrize(
    ("size", "expected"), [(4, "EINVAL"), (5, "ok"), (8, "ok"), (20, "ok"), (260, "ok"), (261, "EINVAL")]
)
def test_keys_of_tries(size: int, expected: str) -> None:
    assert answer(lambda: made("LPM_TRIE", key_size=size) and None) == expected


@pytest.mark.parametrize(("size", "expected"), [(8, "ok"), (12, "EINVAL"), (16, "ok"), (1016, "ok"), (1024, "EINVAL")])
def test_values_of_stack_traces(size: int, expected: str) -> None:
    assert answer(lambda: made("STACK_TRACE", value_size=size) and None) == expected


def key_of(kind: str, number: int) -> bytes:
    if kind == "LPM_TRIE":
        return struct.pack("=IBBBB", 32, 10, 0, 0, number)
    return number.to_bytes(4, "little")


def generic(kind: str) -> Iterator[tuple[str, object]]:
    there = made(kind)
    wide = there.value_size * there.cpus
    key, value = key_of(kind, 1), bytes(range(wide))
    yield "lookup missing key", answer(lambda: there.lookup(key) and None)
    yield "delete missing key", answer(lambda: there.delete(key))
    first = answer(lambda: there.next_key())
    yield "next_key(NULL) of fresh map", first if isinstance(first, str) else first.to_bytes(4, "little").hex()
    flags = {"BPF_ANY": 0, "BPF_NOEXIST": 1, "BPF_EXIST": 2, "NOEXIST|EXIST(3)": 3, "BPF_F_LOCK(4)": 4}
    more = {"flag 8": 8, "flag 1<<32": 1 << 32}
    for name, flag in (flags | more).items():
        answer(lambda: there.delete(key))
        yield f"update absent key {name}", answer(lambda flag=flag: there.update(key, value, flag))
    there.update(key, value)
    for name, flag in list(flags.items())[:3]:
        yield f"update present key {name}", answer(lambda flag=flag: there.update(key, value, flag))
    yield "lookup present", answer(lambda: there.lookup(key) is None)
    yield "delete present", answer(lambda: there.delete(key))
    again = made(kind)
    inserted = [answer(lambda number=number: again.update(key_of(kind, number), value)) for number in range(6)]
    yield "insert max_entries(4)+2 distinct keys", inserted
    last = again.next_key()
    yield "update existing when full", answer(lambda: again.update(last, value))


GENERIC = [kind for kind, rows in RECORDED["elements"].items() if "update absent key BPF_ANY" in rows]


@pytest.mark.parametrize("kind", GENERIC)
def test_elements(kind: str) -> None:
    rows = RECORDED["elements"][kind]
    given = dict(generic(kind))
    given["lookup present"] = {False: "ok"}.get(given["lookup present"], given["lookup present"])
    assert given == {row: rows[row] for row in given}
    assert len(given) == 17


def test_the_rest_of_arrays() -> None:
    there = made("ARRAY")
    given = {
        "lookup idx=max": answer(lambda: there.lookup(4)),
        "update idx=max": answer(lambda: there.update(4, bytes(8))),
        "update idx=max NOEXIST": answer(lambda: there.update(4, bytes(8), 1)),
        "delete idx 0": answer(lambda: there.delete(0)),
        "next_key(3) (last)": answer(lambda: there.next_key(3)),
        "next_key(99) out of range": there.next_key(99).to_bytes(4, "little").hex(),
    }
    assert given == {row: RECORDED["elements"]["ARRAY"][row] for row in given}
    order = [there.next_key(), *(there.next_key(key) for key in range(3))]
    assert order == [0, 1, 2, 3]


def test_values_of_all_processors() -> None:
    for kind in ("PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH"):
        there = made(kind, value_size=5)
        there.update(bytes(4), bytes(range(16)))
        assert [bytes(part) for part in there.lookup(bytes(4))] == [bytes(range(5)), bytes(range(8, 13))]
        with pytest.raises(BpfMisuseError, match="16"):
            there.update(bytes(4), bytes(10))


def test_tries() -> None:
    rows = RECORDED["elements"]["LPM_TRIE"]
    there = create_map(MapType.LPM_TRIE, 8, "u4", 10, 1)
    values = iter(range(1, 9))
    asked = 0
    for row, expected in rows.items():
        what, _, rest = row.partition(" /")
        if what not in {"insert", "lookup", "delete"} or "(" not in rest:
            continue
        length, _, data = rest.partition(" (")
        key = struct.pack("=I4B", int(length), *map(int, data.rstrip(")").split(",")))
        call = (
            (lambda key=key: there.update(key, next(values)))
            if what == "insert"
            else (lambda key=key: there.lookup(key))
        )
        assert answer(call) == expected, row
        asked += 1
    assert asked == 15
    assert answer(lambda: there.update((33, bytes(4)), 1)) == rows["insert /33"]
    assert answer(lambda: there.delete((33, bytes(4)))) == rows["delete /33"]
    row = "delete exact /16 of 10.1 with other host bits"
    assert answer(lambda: there.delete((16, bytes([10, 1, 9, 9])))) == rows[row]
    assert answer(lambda: there.delete((25, bytes([10, 0, 0, 0])))) == rows["delete /25 absent"]
    assert answer(lambda: there.update((8, bytes([10, 0, 0, 0])), 1, 1)) == rows["NOEXIST on existing /8"]
    assert answer(lambda: there.update((9, bytes([10, 0, 0, 0])), 1, 2)) == rows["EXIST on absent /9"]
    assert [(key.length, str(key.network.network_address)) for key in there] == [
        (32, "10.0.0.7"),
        (24, "10.0.0.0"),
        (8, "10.0.0.0"),
        (0, "0.0.0.0"),  # noqa: S104
    ]


def test_arrays_of_programs() -> None:
    rows = RECORDED["elements"]["PROG_ARRAY"]
    xdp = bpf.Program(bpf.assemble("exit").instructions, type=bpf.ProgramType.XDP)
    other = bpf.Program(bpf.assemble("exit").instructions, type=bpf.ProgramType.SCHED_CLS)
    there = bpf.ProgArray(4)
    given = {
        "lookup empty slot (syscall)": answer(lambda: there.lookup(0)),
        "update with xdp prog": answer(lambda: there.update(0, xdp)),
        "update with sched_cls prog after xdp": answer(lambda: there.update(1, other)),
        "update with bad fd": answer(lambda: there.update(1, 9999)),
        "update idx=max": answer(lambda: there.update(4, xdp)),
        "update NOEXIST": answer(lambda: there.update(1, xdp, 1)),
        "update EXIST on empty slot": answer(lambda: there.update(1, xdp, 2)),
        "update with a map fd": answer(lambda: there.update(1, there)),
        "delete set slot": answer(lambda: there.delete(0)),
        "delete empty slot": answer(lambda: there.delete(0)),
        "delete idx=max": answer(lambda: there.delete(4)),
    }
    assert given == {row: rows[row] for row in given}
    assert len(given) == len(rows) - 1  # what a lookup gives is a program here, and its number there
    assert answer(lambda: there.update(0, other)) == "EINVAL"  # the first type stays


def test_arrays_of_perf_events_and_control_groups() -> None:
    events, groups = bpf.PerfEventArray(4), bpf.CgroupArray(4)
    given = {
        "lookup (syscall)": answer(lambda: events.lookup(0)),
        "update with non-perf fd": answer(lambda: events.update(0, groups)),
        "update bad fd": answer(lambda: events.update(0, 9999)),
        "delete empty": answer(lambda: events.delete(0)),
        "delete idx=max": answer(lambda: events.delete(4)),
    }
    assert given == RECORDED["elements"]["PERF_EVENT_ARRAY"]
    rows = RECORDED["elements"]["CGROUP_ARRAY"]
    assert answer(lambda: groups.lookup(0)) == rows["lookup (syscall)"]
    assert answer(lambda: groups.update(0, 5)) == rows["update with non-cgroup fd"]
    assert answer(lambda: groups.delete(0)) == rows["delete empty"]


def test_stack_traces() -> None:
    there = bpf.StackTraceMap(8 * 4, 4)
    given = {
        "lookup missing id": answer(lambda: there.lookup(0)),
        "update from user": answer(lambda: there.update(0, bytes(32))),
        "delete missing": answer(lambda: there.delete(0)),
        "next_key(NULL) empty": answer(lambda: there.next_key()),
    }
    assert given == RECORDED["elements"]["STACK_TRACE"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (0, {"total": 1024, "old looked-up kept": 192, "old others kept": 576, "new kept": 256}),
        (2, {"total": 512, "old looked-up kept": 64, "old others kept": 192, "new kept": 256}),
    ],
)
def test_what_stays_of_a_full_map(flags: int, expected: dict[str, int]) -> None:
    """1024 keys, every fourth looked up by user space, then 256 more."""
    there = create_map(MapType.LRU_HASH, "u4", "u4", 1024, flags, cpus=2)
    for key in range(1024):
        there.update(key, key)
    for key in range(0, 1024, 4):
        assert answer(lambda key=key: there.lookup(key)) in {key, "ENOENT"}
    for key in range(1024, 1280):
        there.update(key, key)
    kept = {int(key) for key in there}
    assert {
        "total": len(kept),
        "old looked-up kept": sum(key < 1024 and key % 4 == 0 for key in kept),
        "old others kept": sum(key < 1024 and key % 4 != 0 for key in kept),
        "new kept": sum(key >= 1024 for key in kept),
    } == expected


@pytest.mark.parametrize(("entries", "flags", "kept"), [(4, 0, [2, 3, 4, 5]), (8, 2, [8, 9])])
def test_what_stays_of_a_small_map(entries: int, flags: int, kept: list[int]) -> None:
    there = create_map(MapType.LRU_HASH, "u4", "u4", entries, flags, cpus=2)
    for key in range(entries + 2):
        there.update(key, key)
    assert sorted(there) == kept


def test_sides_types_and_names() -> None:
    rows = RECORDED["calls"]["SYSCALL"]
    reads, writes = made("HASH", flags=8), made("HASH", flags=16)
    assert answer(lambda: reads.update(bytes(4), bytes(8))) == rows["update on RDONLY map from user"]
    assert answer(lambda: reads.delete(bytes(4))) == "EPERM"
    assert answer(lambda: writes.lookup(bytes(4))) == rows["lookup on WRONLY map from user"]
    assert answer(lambda: writes.next_key()) == answer(lambda: writes.to_numpy()) == "EPERM"
    writes.update(bytes(4), bytes(8))
    assert len(writes) == 1
    assert answer(lambda: create_map(0, 4, 4, 4)) == rows["map type 0"]
    assert answer(lambda: create_map(999, 4, 4, 4)) == rows["map type 999"]
    assert answer(lambda: bpf.HashMap(4, 4, 4, name="a b")) == rows["map name with space"]
    assert answer(lambda: bpf.HashMap(4, 4, 4, name="a" * 16)) == rows["map name 16 chars, no NUL"]
    assert bpf.HashMap(4, 4, 4, name="a.B_9").name == "a.B_9"
    assert errno_symbol(524) == "ENOTSUPP"
