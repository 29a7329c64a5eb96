# SPDX-License-Identifier: Apache-2.0
"""Loops whose accesses to the packet are tested once for several turns: as the readable interpreter runs them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, assemble
from prestocloud_sec.bpf.vm.compiler.loops import short_loops
from prestocloud_sec.bpf.vm.compiler.provenance import PACKET, SCALAR, State
from prestocloud_sec.bpf.vm.compiler.spans import Span, spans

SUM = "\n".join(
    [
        "r0 = 0\nr3 = r1\nr3 += r2\nagain:\nif r1 >= r3 goto out\nr4 = *(u16 *)(r1 + 0)",
        "r0 += r4\nr1 += 2\ngoto again\nout:\nexit",
    ]
)
ACCESSES = ["r4 = *(u{bits} *)(r1 {at})", "*(u{bits} *)(r1 {at}) = r0", "lock *(u64 *)(r1 {at}) += r0"]
STEPS = ["r1 += {n}", "r1 -= {n}", "if r4 > {n} goto +1\nr1 += {n}", "r5 += {n}", "r1 += r5", "r1 = r6", ""]


def found(text: str) -> tuple[Span, ...]:
    program = assemble(text)
    instructions = program.instructions
    (loop,) = short_loops(instructions, program.targets, range(len(instructions))).values()
    state: State = (SCALAR, PACKET, *[SCALAR] * 9)
    return spans(instructions, [state] * len(instructions), loop)


def test_a_pointer_that_moves_by_constants_has_a_span() -> None:
    assert found(SUM) == (Span(1, 0, 2 + 2 * 8, frozenset({4})),)


def test_back_and_forth() -> None:
    loop = "again:\nr0 = *(u8 *)(r1 + 3)\nr1 -= 4\n*(u32 *)(r1 - 1) = 0\nr1 += 1\nr2 -= 1\nif r2 != 0 goto again\nexit"
    assert found(loop) == (Span(1, -1 - 4 * 8, 1 + 4 + 4 * 8 + 8, frozenset({0, 2})),)


def test_what_moves_otherwise_has_none() -> None:
    for step in ("r1 += r5", "r1 = r6", "r1 <<= 1", "w1 += 1", "r1 = *(u64 *)(r1 + 0)", "r1 = -r1", "r1 = be16 r1"):
        assert found(f"again:\nr0 = *(u8 *)(r1 + 0)\n{step}\nr2 -= 1\nif r2 != 0 goto again\nexit") == ()


def same(program: Program, packet: bytes) -> None:
    wanted = program.run(packet, engine="reference")
    given_ = program.run(packet, engine="compiled")
    assert (given_.value, given_.packet, str(given_.fault)) == (wanted.value, wanted.packet, str(wanted.fault))


@given(
    packet=st.binary(max_size=90),
    access=st.sampled_from(
        ["r4 = *(u{bits} *)(r1 {at})", "*(u{bits} *)(r1 {at}) = r0", "lock *(u64 *)(r1 {at}) += r0"]
    ),
    bits=st.sampled_from([8, 16, 32, 64]),
    at=st.integers(-40, 90),
    step=st.sampled_from(STEPS),
    number=st.integers(1, 9),
    turns=st.integers(1, 60),
    begin=st.integers(-3, 60),
)
def test_equal_to_the_readable_interpreter(
    packet: bytes, access: str, bits: int, at: int, step: str, number: int, turns: int, begin: int
) -> None:
    place = f"{'+' if at >= 0 else '-'} {abs(at)}"
    text = "\n".join(
        [
            "r0 = 0\nr4 = 0\nr5 = 0\nr6 = r1",
            f"r7 = {turns}\nr1 += {begin}\nagain:",
            access.format(bits=bits, at=place),
            "r0 += r4\nr0 += r1",
            step.format(n=number),
            "r7 += -1\nif r7 != 0 goto again\nexit",
        ]
    )
    same(assemble(text), packet)


@given(packet=st.binary(max_size=70))
def test_a_sum_over_packets_of_any_length(packet: bytes) -> None:
    same(assemble(SUM), packet)
