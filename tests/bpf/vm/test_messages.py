# SPDX-License-Identifier: Apache-2.0
"""What a fault says to people: which bytes, of what, and why not those."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.bpf import ArrayMap, ProgramType, assemble
from prestocloud_sec.bpf.vm.fault import Fault

ENGINES = ["reference", "interpreter", "compiled"]
each_engine = pytest.mark.parametrize("engine", ENGINES)


def fault_of(text: str, engine: str = "reference", packet: bytes = b"", **options: Any) -> Fault:
    found = assemble(text, type=options.pop("type", None)).run(packet, engine=engine, **options).fault
    assert found is not None
    return found


@each_engine
@pytest.mark.parametrize(
    ("text", "packet", "words"),
    [
        ("r0 = *(u8 *)(r1 + 4)\nexit", b"abcd", ["read of 1 byte at", "offset 4 of the packet, which has 4 bytes"]),
        ("r0 = *(u32 *)(r1 + 1)\nexit", b"abcd", ["read of 4 bytes at", "offset 1 of the packet, which has 4 bytes"]),
        ("r0 = *(u8 *)(r1 - 1)\nexit", b"abcd", ["offset -1 of the packet, which has 4 bytes"]),
        ("r1 = 0x10100\nr0 = *(u8 *)(r1 + 0)\nexit", b"", ["offset 0 of the packet, which is empty"]),
        ("r0 = *(u64 *)(r10 - 520)\nexit", b"", ["stack frame 0 (r10 - 520), which has 512 bytes"]),
        ("*(u64 *)(r10 - 4) = 1\nexit", b"", ["write of 8 bytes at", "stack frame 0 (r10 - 4), which has 512 bytes"]),
        ("*(u64 *)(r10 + 0) = 1\nexit", b"", ["(r10 + 0)"]),
        ("r1 = 0\nr0 = *(u64 *)(r1 + 8)\nexit", b"x", ["at 0x8: a null pointer leads to no memory"]),
        ("r1 = 0xffff800000000000 ll\nr0 = *(u64 *)(r1 + 0)\nexit", b"x", ["a map is no memory"]),
        ("r1 = f ll\nr0 = *(u64 *)(r1 + 0)\nexit\nf:\nr0 = 0\nexit", b"x", ["a function is no memory"]),
        ("r1 = 0x1234567800000000 ll\nr0 = *(u64 *)(r1 + 0)\nexit", b"x", ["no memory is there"]),
        (
            "call f\nr0 = *(u64 *)(r0 + 0)\nexit\nf:\nr0 = r10\nr0 += -8\nexit",
            b"",
            ["stack frame 1 (r10 - 8), which is not there"],
        ),
    ],
)
def test_memory(engine: str, text: str, packet: bytes, words: list[str]) -> None:
    message = fault_of(text, engine, packet).message
    assert all(part in message for part in words), message


@each_engine
def test_memory_that_may_only_be_read(engine: str) -> None:
    assert fault_of("*(u32 *)(r1 + 4) = 0\nexit", engine, bytes(60), type=ProgramType.XDP).message.endswith(
        "offset 4 of the context, which may not be written"
    )
    assert "offset 100 of the context, which has 24 bytes" in str(
        fault_of("r0 = *(u32 *)(r1 + 100)\nexit", engine, bytes(60), type=ProgramType.XDP)
    )


@each_engine
def test_entries_of_a_map(engine: str) -> None:
    text = """
        *(u32 *)(r10 - 4) = 1
        r1 = map[table]
        r2 = r10
        r2 += -4
        call 1
        r0 = *(u64 *)(r0 + {0})
        exit
    """
    table = ArrayMap(12, 3, name="table")
    inside = fault_of(text.format(8), engine, maps={"table": table})
    assert inside.message.endswith("of the values of map 'table', byte 8 of an entry of 12 bytes")
    behind = fault_of(text.format(4000), engine, maps={"table": table})
    assert behind.message.endswith(f"of the values of map 'table', which have {len(table.values)} bytes")


def test_a_null_pointer_is_in_no_region() -> None:
    fault = fault_of("r1 = 0\nr0 = *(u8 *)(r1 + 0)\nexit", packet=b"x")
    assert (fault.region, fault.offset, fault.address) == (None, None, 0)


def _divides(*_registers: int) -> int:
    return 1 // 0


@each_engine
def test_a_helper_that_raises_is_told_with_its_place(engine: str) -> None:
    message = fault_of("call 1000\nexit", engine, helpers={1000: _divides}).message
    line = _divides.__code__.co_firstlineno + 1
    assert message == f"helper 1000 raised ZeroDivisionError (test_messages.py, line {line})"


@each_engine
def test_so_is_one_that_takes_the_machine(engine: str) -> None:
    def helper(_machine: Any, *registers: int) -> int:
        return _divides(*registers)

    helper.machine = True  # type: ignore[attr-defined]
    assert "(test_messages.py, line " in fault_of("call 1000\nexit", engine, helpers={1000: helper}).message


@each_engine
@pytest.mark.parametrize(("helper", "kind"), [(lambda only: only, "TypeError"), (lambda *_: None, "TypeError")])
def test_what_is_no_helper_is_told_what_one_is(engine: str, helper: Any, kind: str) -> None:
    message = fault_of("call 1000\nexit", engine, helpers={1000: helper}).message
    assert message == f"helper 1000 raised {kind}; it is a function of r1 to r5 that returns an integer"
