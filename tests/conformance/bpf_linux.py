# SPDX-License-Identifier: Apache-2.0
"""Linux's own table of tests (``lib/test_bpf.c``) on every engine: extended, classic and translated, tail calls.

What the kernel's verifier thought of each program is not judged here: these were written for machines below it.
"""

from __future__ import annotations

import functools
from typing import Any

from prestocloud_sec.bpf import ClassicProgram, ProgArray, Program, ProgramType
from prestocloud_sec.bpf.classic import PacketMetadata
from prestocloud_sec.bpf.errors import ClassicError
from tests.conformance.bpf_programs import ENGINES, bytes_of, packed, slots_of
from tests.conformance.family import Case, Family

LIMIT = 1 << 32
"""Some jump to and fro over hundreds of thousands of instructions."""
ZERO_EXTENDING_MOVE, CALL, LOAD_WIDE, MOVE_32, TAIL_CALL = 0xBC, 0x85, 0x18, 0xB4, 0xF5
MAP_REFERENCE, TAIL_CALL_HELPER = 0x10, 12
ENOMEM = 12
TABLE_SIZE = 64
EMPTY = TABLE_SIZE - 1
"""A place of the table of tail calls that stays empty."""


def packet_of(case: Case, subtest: Case) -> bytes:
    """Return the memory of a sub-test: the packet, its fragment included, or a buffer."""
    size, flags = subtest["data_size"], case["flags"]
    if "FLAG_NO_DATA" in flags:
        return b""
    if "FLAG_LARGE_MEM" in flags:
        return bytes(size)
    fragment = bytes.fromhex(case["frag_data_hex"]) if "FLAG_SKB_FRAG" in flags else b""
    return bytes.fromhex(case["data_hex"])[:size].ljust(size, b"\0") + fragment


# --- Extended programs -------------------------------------------------------------------------------------


def internal_program(case: Case) -> Program:
    """Return an extended test as a program.

    Where the kernel wants a register zero-extended, it puts a 32-bit move into the program whose immediate is 1; tests
    of its compilers have such moves, while a program from outside may not.
    """
    slots = [
        (op, registers, off, 0 if op == ZERO_EXTENDING_MOVE and imm == 1 else imm)
        for op, registers, off, imm in slots_of(bytes_of(case))
    ]
    raw = {"FLAG_NO_DATA", "FLAG_LARGE_MEM"} & set(case["flags"])
    return Program.from_bytes(packed(slots), type=None if raw else ProgramType.SOCKET_FILTER)


def compare_internal(case: Case, document: Case) -> None:
    program = internal_program(case)
    assert case["expected_errcode"] == 0
    assert case["subtests"], "a test of nothing"
    for subtest in case["subtests"]:
        packet = packet_of(case, subtest)
        for engine in ENGINES:
            result = program.run(packet, engine=engine, limit=LIMIT)
            assert result.fault is None, f"{engine}: {result.fault}"
            assert result.retval == subtest["result"], engine
        if case.get("kernel_retval_match"):
            assert case["kernel_retval"] == subtest["result"]


# --- Classic programs --------------------------------------------------------------------------------------


def metadata_of(case: Case, subtest: Case, document: Case) -> PacketMetadata:
    """Return what ancillary loads see: the ``skb`` of the file."""
    known, size = document["skb"], subtest["data_size"]
    assert known["network_header"] == "min(size,14)"
    return PacketMetadata(
        protocol=known["protocol"],
        pkt_type=known["pkt_type"],
        ifindex=known["ifindex"],
        mark=known["mark"],
        queue=known["queue_mapping"],
        hatype=known["dev_type"],
        rxhash=known["hash"],
        vlan_tci=known["vlan_tci"],
        vlan_present=bool(known["vlan_present"]),
        vlan_tpid=known["vlan_proto"],
        network_offset=min(size, 14),
        mac_offset=known["mac_header"],
        linear_length=size if "FLAG_SKB_FRAG" in case["flags"] else None,
    )


def refusal(data: bytes) -> int:
    """Return the errno with which a classic program is refused, 0 if it is not."""
    try:
        ClassicProgram.from_bytes(data).check()
    except ClassicError as error:
        return error.errno
    return 0


def compare_classic(case: Case, document: Case) -> None:
    data = bytes_of(case)
    assert len(data) == 8 * case["n_insns"]
    limited_memory = bool(case["subtests"]) and abs(case["expected_errcode"]) == ENOMEM
    assert refusal(data) == (0 if limited_memory else -case["expected_errcode"])
    if not case["subtests"]:
        return
    program = ClassicProgram.from_bytes(data)
    for subtest in case["subtests"]:
        packet, metadata = packet_of(case, subtest), metadata_of(case, subtest, document)
        assert program.run(packet, metadata=metadata) == subtest["result"]
        for engine in ENGINES:
            result = program.to_ebpf().run(packet, engine=engine, limit=LIMIT, **metadata.run_options())
            assert result.fault is None, f"{engine}: {result.fault}"
            assert result.value == subtest["result"], engine


# --- Tail calls --------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _table(programs: tuple[str, ...], marker: int, places: tuple[tuple[int, int], ...]) -> list[Program]:
    made = []
    for index, code in enumerate(programs):
        slots = []
        for op, registers, off, imm in slots_of(bytes.fromhex(code)):
            if op == TAIL_CALL:
                slots.append((CALL, 0, 0, TAIL_CALL_HELPER))
            elif op == CALL:  # as the kernel's own code calls a helper, by its distance
                slots.append((op, 0, 0, imm))
            elif op == LOAD_WIDE and imm == marker:
                slots.append((op, registers | MAP_REFERENCE, 0, 0))
            elif op == MOVE_32 and imm == marker:
                slots.append((op, registers, 0, dict(places).get(off, index + off)))
            else:
                slots.append((op, registers, off, imm))
        made.append(Program.from_bytes(packed(slots)))
    return made


def tail_call_programs(document: Case) -> list[Program]:
    """Return all programs of the table with tail calls of ours: helper 12 through a program array, their map 0."""
    tests = document["tail_call_tests"]
    places = ((tests[0]["null_off"], EMPTY), (tests[0]["invalid_off"], TABLE_SIZE))
    return _table(tuple(test["insns_hex"] for test in tests), tests[0]["marker"], places)


def compare_tail_call(case: Case, document: Case) -> None:
    programs = tail_call_programs(document)
    table = ProgArray(TABLE_SIZE)
    for index, program in enumerate(programs):
        table[index] = program
    stateful = "FLAG_NEED_STATE" in case["flags"]
    for engine in ENGINES:
        state: bytes | None = bytes(4) if stateful else None
        value: Any = None
        for _ in range(case["max_testruns"] if stateful else 1):
            result = programs[case["index"]].run(ctx=state, maps=[table], engine=engine)
            assert result.fault is None, f"{engine}: {result.fault}"
            value = result.retval
            state = result.context if stateful else None
        if "FLAG_RESULT_IN_STATE" in case["flags"]:
            value = int.from_bytes(state or b"", "little")
        assert value == case["result"], engine


_KINDS = {"internal": compare_internal, "classic": compare_classic, "tail_call": compare_tail_call}


def compare(case: Case, document: Case) -> None:
    _KINDS[case["kind"]](case, document)


def cases(document: Case) -> list[Case]:
    """Return every test that stands for itself, tail calls included."""
    return [*document["tests"], *(test for test in document["tail_call_tests"] if not test.get("program_only"))]


FILES = {
    "test_bpf.json": Family(compare, frozenset({"name", "generated", "stack_depth", "nr_testruns", "ubpf"}), cases),
}
