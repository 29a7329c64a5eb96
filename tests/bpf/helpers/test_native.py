# SPDX-License-Identifier: Apache-2.0
"""Helpers that run without Python against the implementations in Python, which are tied to the kernel elsewhere."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.helpers.ids import FIRST_KFUNC, KfuncId
from prestocloud_sec.bpf.helpers.native import NATIVE, NATIVE_HELPERS, NATIVE_PLACES, native_address, native_place
from prestocloud_sec.bpf.maps.array import ArrayMap, PerCpuArray
from prestocloud_sec.bpf.maps.hash import HashMap, PerCpuHashMap
from prestocloud_sec.bpf.maps.kinds import MapFlag
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.interpreter import interpreter_of
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.machine import Machine

FUNCTION = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_int64, *[ctypes.c_uint64] * 5)
U64 = (1 << 64) - 1
FRAME = layout.stack_top(0)
LOOKUP, UPDATE, DELETE, KTIME, RANDOM, CPU, REDIRECT, LOAD_BYTES, CSUM_DIFF = 1, 2, 3, 5, 7, 8, 23, 26, 28
LOOKUP_PERCPU = 195
NUM_NEW, NUM_NEXT, NUM_DESTROY = KfuncId.BPF_ITER_NUM_NEW, KfuncId.BPF_ITER_NUM_NEXT, KfuncId.BPF_ITER_NUM_DESTROY
TEXT = "\n".join(f"r1 = map[id:{number}]" for number in range(6)) + "\nr0 = 0\nexit"
KINDS = (None, ProgramType.XDP, ProgramType.SCHED_CLS)
PACKET = bytes(range(64))


def maps() -> list[Any]:
    made = [
        HashMap(4, 8, 4, MapFlag.ZERO_SEED),
        ArrayMap(8, 3),
        PerCpuHashMap(4, 8, 4, MapFlag.ZERO_SEED, cpus=2),
        PerCpuArray(4, 3, cpus=2),
        ArrayMap(8, 2, MapFlag.RDONLY_PROG),
        HashMap(16, 4, 2, MapFlag.ZERO_SEED),
    ]
    made[0][b"\1\0\0\0"] = b"one bits"
    return made


def machine(type_: ProgramType | None = None, **options: Any) -> Machine:
    program = Program(assemble(TEXT).instructions, type=type_)
    made = Machine(program, maps=maps(), seed=5, **options)
    made.start(PACKET)
    made.frames[:512] = np.arange(512) % 7
    return made


def observed(made: Machine) -> dict[str, Any]:
    """Return all that a helper can change."""
    words = [word for word in State if not word.name.endswith("_AT") and word not in {State.HELPER, State.MAP_COUNT}]
    return {
        "state": {word.name: int(made.state[word]) for word in words},
        "packet": made.packet.whole(),
        "frame": made.frames.tobytes(),
        "values": [found.values.tobytes() for found in made.maps],
        "keys": [None if found.keys is None else found.keys.tobytes() for found in made.maps],
    }


def in_python(made: Machine, number: int, registers: tuple[int, ...]) -> int | None:
    return made.run_helper(number, registers)


def natively(made: Machine, number: int, registers: tuple[int, ...]) -> int | None:
    """Do what engines do: native first, Python where that declines."""
    made.state[State.HELPER] = 0
    value: int = FUNCTION(native_address(number))(made.state.ctypes.data, *registers)
    if made.state[State.FAULT]:
        return None
    if made.state[State.HELPER]:
        assert made.state[State.HELPER] == number
        return made.run_helper(number, registers)
    return value


handles = st.sampled_from(range(8)).map(lambda number: layout.MAP_HANDLES | number) | st.sampled_from([0, U64])
places = st.sampled_from(
    [FRAME - 8, FRAME - 16, FRAME - 64, FRAME - 3, FRAME - 512, FRAME]
    + [layout.PACKET_DATA, layout.PACKET_DATA + 60, layout.CONTEXT << 32, 0, U64]
    + [region << 32 for region in (layout.MAP_VALUES, layout.MAP_VALUES + 1, layout.MAP_KEYS, 3, 255, 256)]
)
sizes = st.sampled_from([0, 1, 2, 4, 6, 8, 12, 16, 60, 64, 65, 512, 1 << 31, 0xFFFFFFFF, 1 << 32, (1 << 32) + 4, U64])
words = st.sampled_from([0, 1, 2, 3, 4, 8, 0xFFFF, 0xFFFF_0000, 0xFFFFFFFF, 1 << 32, U64, U64 - 1]) | st.integers(
    0, U64
)
calls = st.one_of(
    st.tuples(st.just(LOOKUP), handles, places, words, words, words),
    st.tuples(st.just(LOOKUP_PERCPU), handles, places, words, words, words),
    st.tuples(st.just(UPDATE), handles, places, places, words, words),
    st.tuples(st.just(DELETE), handles, places, words, words, words),
    st.tuples(st.just(CSUM_DIFF), places, sizes, places, sizes, words),
    st.tuples(st.just(LOAD_BYTES), words, sizes, places, sizes, words),
    st.tuples(st.just(REDIRECT), words, words, words, words, words),
    st.tuples(st.sampled_from([KTIME, RANDOM, CPU]), words, words, words, words, words),
    st.tuples(st.just(NUM_NEW), places, words, words, words, words),
    st.tuples(st.sampled_from([NUM_NEXT, NUM_DESTROY]), places, words, words, words, words),
)
keys = st.lists(st.tuples(st.sampled_from([8, 16, 64]), st.binary(min_size=4, max_size=4)), max_size=2)


@given(st.lists(st.tuples(keys, calls), min_size=1, max_size=6), st.sampled_from(KINDS), st.sampled_from([0, 1, 2, 9]))
def test_native_and_python_do_the_same(
    steps: list[tuple[list[tuple[int, bytes]], tuple[int, ...]]], type_: ProgramType | None, cpu: int
) -> None:
    """One after the other on the same maps, until one is a fault."""
    ours, theirs = machine(type_, cpu=cpu, now=77), machine(type_, cpu=cpu, now=77)
    for written, (number, *registers) in steps:
        for made in (ours, theirs):
            for below, data in written:
                made.frames[512 - below : 512 - below + 4] = np.frombuffer(data, np.uint8) & 3
        expected = in_python(theirs, number, tuple(registers))
        assert natively(ours, number, tuple(registers)) == expected
        assert observed(ours) == observed(theirs)
        if expected is None:
            break


def test_every_native_helper_is_tried() -> None:
    from prestocloud_sec.bpf.helpers.native_kernel import ENTRIES

    tried: set[int] = {LOOKUP, UPDATE, DELETE, KTIME, RANDOM, CPU, REDIRECT, LOAD_BYTES, CSUM_DIFF, LOOKUP_PERCPU}
    tried |= {NUM_NEW, NUM_NEXT, NUM_DESTROY}
    assert tried == NATIVE
    assert ENTRIES.keys() == NATIVE


def test_the_interpreter_looks_where_addresses_are_put() -> None:
    """Each place of the table leads to a function of its own; numbers beside those of native ones to none."""
    for number in NATIVE:
        made = Machine(assemble(f"call {number}\nexit"))
        made.start()
        found = interpreter_of(made)
        answers = [FUNCTION(lambda *_, place=place: place + 1000) for place in range(NATIVE_PLACES)]
        found._native[:] = [ctypes.cast(answer, ctypes.c_void_p).value or 0 for answer in answers]
        found.run(made)
        assert made.finish().value == native_place(number) + 1000
    assert len(set(map(native_place, NATIVE))) == len(NATIVE)
    assert native_place(max(NATIVE)) == NATIVE_PLACES - 1
    wrong = FUNCTION(lambda *_: 1)
    for number in (-1, NATIVE_HELPERS, FIRST_KFUNC - 1, max(NATIVE) + 1, FIRST_KFUNC + NATIVE_HELPERS):
        made = Machine(assemble(f"call {number}\nexit"), helpers={number: lambda *_: 5})
        made.start()
        found = interpreter_of(made)
        found._native[:] = ctypes.cast(wrong, ctypes.c_void_p).value or 0
        found.run(made)
        assert made.finish().value == 5


def test_random_numbers_are_those_of_the_paper() -> None:
    """Vigna's xorshift64*, written out for its first step from 1: x = 1 ^ 1 << 25, then ^ x >> 27; the high half."""
    made = machine()
    made.state[State.RANDOM] = 1
    word = 1 ^ 1 << 25
    word ^= word >> 27
    assert natively(made, RANDOM, (0,) * 5) == (word * 0x2545F4914F6CDD1D & U64) >> 32
    assert int(made.state[State.RANDOM]) == word


def test_a_sum_that_changes() -> None:
    """RFC 1624, section 4: 0xDD2F and a field that goes from 0x5555 to 0x3285 give 0x0000."""
    made = machine()
    made.frames[:8] = np.frombuffer(bytes.fromhex("5555000032850000"), np.uint8)
    low = layout.stack_top(0) - 512
    seed = ~int.from_bytes(bytes.fromhex("dd2f"), "little") & 0xFFFF
    value = natively(made, CSUM_DIFF, (low, 4, low + 4, 4, seed))
    assert value is not None
    assert ~value & 0xFFFF == 0


@pytest.mark.parametrize("number", [LOOKUP, UPDATE, DELETE, LOOKUP_PERCPU, KTIME])
def test_what_it_cannot_do_it_leaves_alone(number: int) -> None:
    """No map, or a clock that runs: declined, with nothing done."""
    made = machine()
    before = observed(made)
    FUNCTION(native_address(number))(made.state.ctypes.data, 5, FRAME - 8, FRAME - 16, 0, 0)
    assert made.state[State.HELPER] == number
    assert observed(made) == before


def test_keys_and_values_in_maps_are_python_s() -> None:
    """An update may move what it reads from."""
    made = machine()
    for registers in (
        (layout.MAP_HANDLES, layout.MAP_KEYS << 32, FRAME - 8, 0, 0),
        (layout.MAP_HANDLES, FRAME - 8, layout.MAP_VALUES << 32, 0, 0),
    ):
        made.state[State.HELPER] = 0
        FUNCTION(native_address(UPDATE))(made.state.ctypes.data, *registers)
        assert made.state[State.HELPER] == UPDATE
