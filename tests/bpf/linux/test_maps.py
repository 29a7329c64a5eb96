# SPDX-License-Identifier: Apache-2.0
"""Maps of the running kernel: every kind of Linux 4.11 and its errors, as recorded by calls without this package."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestocloud_sec.bpf import ProgramType
from prestocloud_sec.bpf.errors import BpfMisuseError, MapError
from prestocloud_sec.bpf.linux import KernelMap, possible_cpus
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.errors import MisuseError
from tests.bpf.linux.kernel import RECORDED, as_recorded, done, key_of, needs_kernel, outcome, program, standard

pytestmark = needs_kernel

CREATION = RECORDED["creation"]
ELEMENTS = RECORDED["elements"]
GENERIC = [kind for kind, answers in ELEMENTS.items() if "update absent key BPF_ANY" in answers]

FLAGS = {"flags NO_PREALLOC": 1, "flags NO_COMMON_LRU": 2, "flags 0x8000 unknown": 0x8000, "flags RDONLY": 8}
FLAGS |= {"flags WRONLY": 16, "flags RDONLY|WRONLY": 24, "flags ZERO_SEED": 64, "flags MMAPABLE": 1024}


def changes(kind: str, what: str) -> dict[str, int]:
    """Return what a recorded creation changes of the standard one."""
    name = what.partition("(")[0]
    if name == "standard":
        return {}
    if name == "no flags":
        return {"flags": 0}
    if name in FLAGS:
        return {"flags": FLAGS[name] | (MapFlag.NO_PREALLOC if kind == "LPM_TRIE" else 0)}
    field, _, number = what.partition("=")
    base, _, shift = number.partition("<<")
    return {field: int(base) << int(shift or 0)}


@as_recorded
@pytest.mark.parametrize("kind", CREATION)
def test_what_can_be_created(kind: str) -> None:
    """What the kernel would take gigabytes for was recorded once, and is not asked for again."""
    answers = {what: outcome(lambda what=what: standard(kind, **changes(kind, what))) for what in CREATION[kind]}
    assert answers == CREATION[kind]
    assert len(answers) >= 16


def value(there: KernelMap, number: int) -> bytes:
    return number.to_bytes(there.value_bytes, "little")


def generic(kind: str) -> Iterator[tuple[str, object]]:
    """Do to a map what was done when the answers were recorded; yield the answers of this kernel."""
    with standard(kind) as there:
        key = key_of(kind, 1)
        yield "lookup missing key", outcome(lambda: there.lookup(key))
        yield "delete missing key", done(lambda: there.delete(key))
        first = there.next_key()
        yield "next_key(NULL) of fresh map", "ENOENT" if first is None else first.hex()
        flags = {"BPF_ANY": 0, "BPF_NOEXIST": 1, "BPF_EXIST": 2, "NOEXIST|EXIST(3)": 3, "BPF_F_LOCK(4)": 4}
        flags |= {"flag 8": 8, "flag 1<<32": 1 << 32}
        for name, flag in flags.items():
            done(lambda: there.delete(key))
            yield f"update absent key {name}", done(lambda flag=flag: there.update(key, value(there, 5), flag))
        there.update(key, value(there, 6))
        for name, flag in list(flags.items())[:3]:
            yield f"update present key {name}", done(lambda flag=flag: there.update(key, value(there, 7), flag))
        yield "lookup present", "ok" if there.lookup(key) == value(there, 7) else "another value"
        yield "delete present", done(lambda: there.delete(key))
    with standard(kind) as there:
        inserts = [done(lambda n=n: there.update(key_of(kind, n), value(there, n))) for n in range(6)]
        yield "insert max_entries(4)+2 distinct keys", inserts
        kept = there.keys()
        assert len(kept) == 4
        assert dict(there.items()) == {k: value(there, k[-1] if kind == "LPM_TRIE" else k[0]) for k in kept}
        yield "update existing when full", done(lambda: there.update(kept[0], value(there, 9)))


@as_recorded
@pytest.mark.parametrize("kind", GENERIC)
def test_elements(kind: str) -> None:
    answers = dict(generic(kind))
    assert answers == {what: ELEMENTS[kind][what] for what in answers}
    assert len(answers) == 17


@as_recorded
def test_indexes_of_arrays() -> None:
    with standard("ARRAY") as there:
        answers = {
            "lookup idx=max": outcome(lambda: there.lookup(key_of("ARRAY", 4))),
            "update idx=max": done(lambda: there.update(key_of("ARRAY", 4), bytes(8))),
            "update idx=max NOEXIST": done(lambda: there.update(key_of("ARRAY", 4), bytes(8), 1)),
            "delete idx 0": done(lambda: there.delete(bytes(4))),
            "next_key(3) (last)": outcome(lambda: there.next_key(key_of("ARRAY", 3))),
            "next_key(99) out of range": (there.next_key(key_of("ARRAY", 99)) or b"").hex(),
        }
    assert answers == {what: ELEMENTS["ARRAY"][what] for what in answers}


def prefix(length: int, *address: int) -> bytes:
    return struct.pack("<I4B", length, *address)


@as_recorded
def test_prefixes() -> None:
    answers: dict[str, object] = {}
    inserted = [
        (0, (0, 0, 0, 0)),
        (8, (10, 0, 0, 0)),
        (24, (10, 0, 0, 0)),
        (32, (10, 0, 0, 7)),
        (16, (10, 1, 255, 255)),
    ]
    with standard("LPM_TRIE", max_entries=64) as trie:
        for number, (length, address) in enumerate(inserted, 1):
            key = prefix(length, *address)
            answers[f"insert /{length} {address}"] = done(lambda k=key, n=number: trie.update(k, value(trie, n)))
        for what in ELEMENTS["LPM_TRIE"]:
            if what.startswith("lookup /"):
                length, _, text = what.removeprefix("lookup /").partition(" ")
                found = trie.lookup(prefix(int(length), *(int(part) for part in text.strip("()").split(","))))
                answers[what] = "ENOENT" if found is None else found[0]
        answers["insert /33"] = done(lambda: trie.update(prefix(33, 10, 0, 0, 0), bytes(8)))
        answers["delete /33"] = done(lambda: trie.delete(prefix(33, 10, 0, 0, 0)))
        sibling = prefix(16, 10, 1, 0, 0)
        answers["delete exact /16 of 10.1 with other host bits"] = done(lambda: trie.delete(sibling))
        answers["delete /25 absent"] = done(lambda: trie.delete(prefix(25, 10, 0, 0, 0)))
        answers["NOEXIST on existing /8"] = done(lambda: trie.update(prefix(8, 10, 0, 0, 0), bytes(8), 1))
        answers["EXIST on absent /9"] = done(lambda: trie.update(prefix(9, 10, 0, 0, 0), bytes(8), 2))
        assert trie.keys() == [prefix(n, *a) for n, a in (inserted[3], inserted[2], inserted[1], inserted[0])]
    assert answers == {what: ELEMENTS["LPM_TRIE"][what] for what in answers}
    assert len(answers) == 5 + 10 + 6


@as_recorded
def test_programs_in_an_array() -> None:
    def place(number: int, what: object, flags: int = 0) -> str:
        return done(lambda: there.update(key_of("ARRAY", number), what, flags))  # type: ignore[arg-type]

    with standard("PROG_ARRAY") as there, standard("ARRAY") as a_map, program() as xdp:
        answers = {"lookup empty slot (syscall)": outcome(lambda: there.lookup(bytes(4)))}
        answers["update with xdp prog"] = place(0, xdp)
        with program(ProgramType.SCHED_CLS) as other:
            answers["update with sched_cls prog after xdp"] = place(1, other)
        assert there.lookup(bytes(4)) == struct.pack("<I", xdp.info().id)
        answers["update with bad fd"] = place(1, struct.pack("<i", -1))
        answers["update idx=max"] = place(4, xdp)
        answers["update NOEXIST"] = place(1, xdp, 1)
        answers["update EXIST on empty slot"] = place(1, xdp, 2)
        answers["delete set slot"] = done(lambda: there.delete(bytes(4)))
        answers["delete empty slot"] = done(lambda: there.delete(bytes(4)))
        answers["delete idx=max"] = done(lambda: there.delete(key_of("ARRAY", 4)))
        answers["update with a map fd"] = place(1, a_map)
    assert answers == {what: ELEMENTS["PROG_ARRAY"][what] for what in answers}
    assert len(answers) == 11


@as_recorded
def test_arrays_of_events_and_of_groups() -> None:
    with standard("PERF_EVENT_ARRAY") as events, standard("CGROUP_ARRAY") as groups, standard("ARRAY") as other:
        number = struct.pack("<i", other.fileno())
        answers = {
            "lookup (syscall)": outcome(lambda: events.lookup(bytes(4))),
            "update with non-perf fd": done(lambda: events.update(bytes(4), number)),
            "update bad fd": done(lambda: events.update(bytes(4), struct.pack("<i", 1 << 20))),
            "delete empty": done(lambda: events.delete(bytes(4))),
            "delete idx=max": done(lambda: events.delete(key_of("ARRAY", 4))),
        }
        assert answers == ELEMENTS["PERF_EVENT_ARRAY"]
        of_groups = {
            "lookup (syscall)": outcome(lambda: groups.lookup(bytes(4))),
            "update with non-cgroup fd": done(lambda: groups.update(bytes(4), other)),
            "delete empty": done(lambda: groups.delete(bytes(4))),
        }
        assert of_groups == {what: ELEMENTS["CGROUP_ARRAY"][what] for what in of_groups}


@as_recorded
def test_stack_traces() -> None:
    with standard("STACK_TRACE") as there:
        answers = {
            "lookup missing id": outcome(lambda: there.lookup(bytes(4))),
            "update from user": done(lambda: there.update(bytes(4), bytes(8))),
            "delete missing": done(lambda: there.delete(bytes(4))),
            "next_key(NULL) empty": outcome(there.next_key),
        }
    assert answers == ELEMENTS["STACK_TRACE"]


def test_a_map_that_a_flag_protects_from_user_space() -> None:
    calls = RECORDED["calls"]["SYSCALL"]
    with standard("HASH", flags=MapFlag.RDONLY) as read_only, standard("HASH", flags=MapFlag.WRONLY) as write_only:
        assert done(lambda: read_only.update(bytes(4), bytes(8))) == calls["update on RDONLY map from user"]
        assert outcome(lambda: write_only.lookup(bytes(4))) == calls["lookup on WRONLY map from user"]
        write_only.update(bytes(4), bytes(8))
        assert read_only.lookup(bytes(4)) is None


def test_values_of_all_processors() -> None:
    for kind in ("PERCPU_HASH", "PERCPU_ARRAY", "LRU_PERCPU_HASH"):
        with standard(kind, value_size=5) as there:
            assert there.value_bytes == 8 * possible_cpus()
            each = [bytes([10 + cpu] * 5) for cpu in range(possible_cpus())]
            there.update(bytes(4), b"".join(part.ljust(8, b"\xff") for part in each))
            kept = there.lookup(bytes(4)) or b""
            assert [kept[8 * cpu : 8 * cpu + 5] for cpu in range(possible_cpus())] == each
            assert (bytes(4), kept) in list(there.items())
            with pytest.raises(BpfMisuseError, match=f"5 bytes; expected {there.value_bytes} bytes"):
                there.update(bytes(4), bytes(5))


def test_a_frozen_map_changes_no_more() -> None:
    with standard("ARRAY") as there:
        there.update(bytes(4), b"constant")
        there.freeze()
        assert done(lambda: there.update(bytes(4), bytes(8))) == "EPERM"
        assert there.lookup(bytes(4)) == b"constant"
    with standard("HASH", flags=MapFlag.RDONLY) as unwritable:
        assert done(unwritable.freeze) == "EPERM"  # freezing is a change


def test_lookup_and_delete() -> None:
    for kind in ("HASH", "LRU_HASH", "PERCPU_HASH"):
        with standard(kind) as there:
            there.update(b"key0", value(there, 77))
            assert there.lookup_and_delete(b"key0") == value(there, 77)
            assert there.lookup_and_delete(b"key0") is None
            assert there.keys() == []
    with standard("ARRAY") as array:
        assert outcome(lambda: array.lookup_and_delete(bytes(4))) in {"ENOTSUPP", "EOPNOTSUPP"}


@pytest.mark.parametrize("kind", ["HASH", "LRU_HASH", "ARRAY", "LPM_TRIE", "PERCPU_HASH"])
def test_walking_through_many(kind: str) -> None:
    count = 3000
    with standard(kind, max_entries=1 << 13) as there:
        for number in range(count):
            key = (
                key_of(kind, number % 256)[:-2] + struct.pack(">H", number)
                if kind == "LPM_TRIE"
                else key_of(kind, number)
            )
            there.update(key, value(there, number + 1))
        numbers = sorted(int.from_bytes(v, "little") for _, v in there.items() if any(v))
        assert numbers == list(range(1, count + 1))
        assert len(dict(there.items())) == (1 << 13 if kind == "ARRAY" else count)


def test_walking_through_a_bucket_that_is_longer_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from prestocloud_sec.bpf.linux import maps

    monkeypatch.setattr(maps, "_BATCH", 1)
    with standard("HASH", max_entries=512) as there:
        for number in range(512):
            there.update(key_of("HASH", number), value(there, number))
        assert dict(there.items()) == {key_of("HASH", n): value(there, n) for n in range(512)}


def test_walking_through_a_map_that_is_emptied_meanwhile() -> None:
    with standard("HASH", max_entries=64) as there:
        for number in range(64):
            there.update(key_of("HASH", number), bytes(8))
        for key, old in there.items():
            assert old == bytes(8)
            there.delete(key)
        assert there.keys() == []
        assert list(there.items()) == []


def test_kinds_that_cannot_be_walked_through_in_batches() -> None:
    with standard("PROG_ARRAY") as there, program() as xdp:
        there.update(key_of("ARRAY", 2), xdp)
        assert list(there.items()) == [(key_of("ARRAY", 2), struct.pack("<I", xdp.info().id))]
    with standard("PERF_EVENT_ARRAY") as events, pytest.raises(MapError, match="ENOTSUPP"):
        list(events.items())


def test_what_a_map_says_of_itself() -> None:
    with standard("HASH", flags=MapFlag.NO_PREALLOC) as there:
        info = there.info()
        assert (info.type, info.key_size, info.value_size, info.max_entries, info.flags) == (1, 4, 8, 4, 1)
        assert (there.type, there.key_size, there.value_size, there.max_entries, there.flags) == (1, 4, 8, 4, 1)
        assert repr(there) == "<KernelMap HASH: key 4, value 8, max 4>"
        with KernelMap.from_id(info.id) as again:
            there.update(b"same", b"contents")
            assert again.lookup(b"same") == b"contents"
            assert again.info() == info
            assert again.type is MapType.HASH
    assert repr(there) == "<KernelMap HASH: closed>"
    with KernelMap(MapType.HASH, key_size=1, value_size=1, max_entries=1, name="flows.x_1") as named:
        assert named.name == named.info().name == "flows.x_1"
        assert repr(named).startswith("<KernelMap HASH 'flows.x_1': ")
    assert done(lambda: KernelMap.from_id(0x7FFFFFF0)) == "ENOENT"


@pytest.mark.parametrize("key", [b"", b"123", b"12345", bytearray(8), memoryview(b"123456")])
def test_keys_of_another_size(key: bytes) -> None:
    with standard("HASH") as there:
        for call in (there.lookup, there.delete, there.next_key, there.lookup_and_delete):
            with pytest.raises(BpfMisuseError, match=r"HASH, key: . bytes; expected 4 bytes"):
                call(key)
        with pytest.raises(BpfMisuseError, match="key"):
            there.update(key, bytes(8))
        with pytest.raises(BpfMisuseError, match=r"value: . bytes; expected 8 bytes"):
            there.update(b"1234", key if len(key) != 8 else b"9")


@pytest.mark.parametrize("key", [None, 5, "1234", 1.5, [1, 2, 3, 4], object()])
def test_keys_that_are_no_bytes(key: object) -> None:
    with standard("HASH") as there:
        for call in (there.lookup, there.delete, there.lookup_and_delete):
            with pytest.raises(MisuseError, match="key"):
                call(key)  # type: ignore[arg-type]
        with pytest.raises(MisuseError, match="value"):
            there.update(b"1234", key)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": None},
        {"type": "HASH"},
        {"type": -1},
        {"type": 1 << 32},
        {"key_size": -1},
        {"key_size": 1 << 32},
        {"value_size": 2.0},
        {"max_entries": None},
        {"max_entries": 1 << 40},
        {"flags": -1},
        {"flags": "NO_PREALLOC"},
        {"name": b"flows"},
        {"name": "x" * 17},
        {"name": None},
        {"inner": 3},
        {"inner": "map"},
        {"extra": -1},
    ],
)
def test_arguments_that_make_no_map(wrong: dict[str, object]) -> None:
    arguments = {"type": MapType.HASH, "key_size": 4, "value_size": 8, "max_entries": 4} | wrong
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BpfMisuseError, match=next(iter(wrong)).replace("type", "map_type")):
        KernelMap(**arguments)  # type: ignore[arg-type]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("flags", [-1, 1 << 64, None, "EXIST", 0.5])
def test_flags_that_are_none(flags: object) -> None:
    with standard("HASH") as there:
        with pytest.raises(BpfMisuseError, match="flags"):
            there.update(b"1234", bytes(8), flags)  # type: ignore[arg-type]
        with pytest.raises(BpfMisuseError, match="flags"):
            there.lookup(b"1234", flags=flags)  # type: ignore[arg-type]
        assert there.keys() == []


@pytest.mark.parametrize("identifier", [-1, 1 << 32, None, "1"])
def test_identifiers_that_are_none(identifier: object) -> None:
    with pytest.raises(BpfMisuseError, match="map_id"):
        KernelMap.from_id(identifier)  # type: ignore[arg-type]
