# SPDX-License-Identifier: Apache-2.0
"""Classic programs as bytes, as numbers in text, and as values."""

from __future__ import annotations

import copy
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec import bpf
from prestocloud_sec.bpf.classic import (
    Alu,
    Ancillary,
    Branch,
    ClassicInstruction,
    ClassicProgram,
    Condition,
    Copy,
    Jump,
    LoadConstant,
    LoadPacket,
    Negate,
    Operation,
    Register,
    Return,
    assemble,
)
from prestocloud_sec.bpf.classic.codec import decode, encode
from prestocloud_sec.bpf.classic.table import ROWS
from prestocloud_sec.bpf.errors import AssemblyError, BpfError, BpfMisuseError, ClassicError
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.testing.bpf_classic import instructions, nearly_programs
from tests.bpf.classic.kernel import filtered

# A filter by hand: tcpdump(8) prints this for `ip` on Ethernet.
DDD = "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n"
DD = (
    "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n{ 0x6, 0, 0, 0x00040000 },\n{ 0x6, 0, 0, 0x00000000 },\n"
)
BYTES = bytes.fromhex("280000000c000000 1500000100080000 0600000000000400 0600000000000000")
IP = (LoadPacket(2, False, 12), Branch(Condition.EQ, 0x800, 0, 1), Return(262144), Return(0))


def test_one_program_in_every_form() -> None:
    program = ClassicProgram(IP)
    assert program.to_bytes() == BYTES
    for other in (ClassicProgram.from_bytes(BYTES), ClassicProgram.from_ddd(DDD), ClassicProgram.from_dd(DD)):
        assert other == program
        assert other.instructions == IP
        assert hash(other) == hash(program)
    assert program.to_ddd() == DDD
    assert program.to_dd() == DD
    assert ClassicProgram.from_ddd(DDD.strip().replace("\n", ",")) == program
    assert bpf.ClassicProgram is ClassicProgram
    assert list(program) == list(IP)
    assert len(program) == 4
    assert program != 5


def test_known_opcodes_are_the_kernels() -> None:
    """Each of the 65536 opcodes is known here if and only if the running kernel accepts it."""
    before = struct.pack("<HBBI", 0x02, 0, 0, 1)  # M[1], so that a load from there is right
    after = struct.pack("<HBBI", 0x06, 0, 0, 0) * 2
    known = {row.code for row in ROWS}
    with filtered() as pair:
        accepted = {
            code
            for code in range(1 << 16)
            if pair.refusal(before + struct.pack("<HBBI", code, 0, 0, 1 if code != 5 else 0) + after) is None
        }
    assert accepted == known
    assert len(known) == len(ROWS)


def attempt(data: bytes) -> tuple[ClassicInstruction, ...] | ClassicError:
    try:
        return decode(data)
    except ClassicError as error:
        return error


@given(nearly_programs())
def test_what_is_accepted_comes_back(data: bytes) -> None:
    decoded = attempt(data)
    if isinstance(decoded, ClassicError):
        code = struct.unpack_from("<H", data, 8 * (decoded.instruction or 0))[0]
        assert decoded.field == "code"
        assert code not in {row.code for row in ROWS}
        assert f"instruction {decoded.instruction}, field code: {code:#x}" in str(decoded)
        return
    assert encode(decoded) == data
    program = ClassicProgram(decoded)
    assert ClassicProgram.from_ddd(program.to_ddd()) == ClassicProgram.from_dd(program.to_dd()) == program


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    decoded = attempt(data)
    if isinstance(decoded, ClassicError):
        assert decoded.instruction is not None
    else:
        assert ClassicProgram(decoded).to_bytes() == data


@given(st.lists(instructions(), max_size=5))
def test_any_instructions(made: list[ClassicInstruction]) -> None:
    program = ClassicProgram(made)
    assert decode(program.to_bytes()) == tuple(made)
    assert pickle.loads(pickle.dumps(program)) == copy.deepcopy(program) == program  # noqa: S301
    for instruction in made:
        shown = repr(instruction)
        assert shown.startswith(f"{type(instruction).__name__}(")
        assert "unused" not in shown


@pytest.mark.parametrize("length", [1, 7, 9, 15])
def test_bytes_that_are_no_whole_instructions(length: int) -> None:
    with pytest.raises(ClassicError, match=f"instruction {length // 8}: {length} bytes .*multiple of 8") as caught:
        ClassicProgram.from_bytes((BYTES * 2)[:length])
    assert (caught.value.errno, caught.value.symbol) == (22, "EINVAL")


def test_fields_that_are_not_used_are_kept() -> None:
    data = struct.pack("<HBBI", 0x87, 1, 2, 3) + struct.pack("<HBBI", 0x06, 4, 5, 6)
    assert decode(data) == (Copy(Register.A, unused=(1, 2, 3)), Return(6, unused=(4, 5, 0)))
    assert Copy(Register.A) != Copy(Register.A, unused=(1, 2, 3))
    assert repr(decode(data)[1]) == "Return(value=6, unused=(4, 5, 0))"
    assert decode(data)[1].encode() == data[8:]
    with pytest.raises(BpfMisuseError, match=r"unused: .*uses the field k"):
        Return(6, unused=(4, 5, 6)).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LoadPacket(3, False, 0),
        lambda: LoadPacket(True, False, 0),
        lambda: LoadPacket(4, 0, 0),  # type: ignore[arg-type]
        lambda: LoadPacket(4, False, -1),
        lambda: LoadConstant("a", 0),  # type: ignore[arg-type]
        lambda: LoadConstant(Register.A, 1 << 32),
        lambda: Alu("add", 1),  # type: ignore[arg-type]
        lambda: Alu(Operation.ADD, Register.A),
        lambda: Alu(Operation.ADD, 1.0),  # type: ignore[arg-type]
        lambda: Jump(-1),
        lambda: Branch(Condition.EQ, 0, 256, 0),
        lambda: Branch(Condition.EQ, 0, 0, None),  # type: ignore[arg-type]
        lambda: Return(Register.X),
        lambda: Copy(0),  # type: ignore[arg-type]
        lambda: Negate(unused=(0, 0)),  # type: ignore[arg-type]
        lambda: Negate(unused=(0, 256, 0)),
        lambda: Negate(unused=5),  # type: ignore[arg-type]
        lambda: ClassicProgram(5),  # type: ignore[arg-type]
        lambda: ClassicProgram([5]),  # type: ignore[list-item]
        lambda: ClassicProgram([b"12345678"]),  # type: ignore[list-item]
        lambda: ClassicProgram.from_bytes("text"),  # type: ignore[arg-type]
        lambda: ClassicProgram.from_ddd(b"1"),  # type: ignore[arg-type]
        lambda: ClassicProgram.from_dd(None),  # type: ignore[arg-type]
    ],
)
def test_misuse(make: Any) -> None:
    with pytest.raises(MisuseError):
        make()


def test_programs_do_not_change() -> None:
    program = ClassicProgram(IP)
    with pytest.raises(AttributeError, match="cannot set 'instructions'"):
        program.instructions = ()


def test_ancillary_loads() -> None:
    assert LoadPacket(4, False, 0xFFFFF000).ancillary is Ancillary.PROTOCOL
    assert LoadPacket(1, False, 0xFFFFF03C).ancillary is Ancillary.VLAN_TPID
    for offset in (0xFFFFF001, 0xFFFFF040, 0xFFFFEFFF, 0):
        assert LoadPacket(4, False, offset).ancillary is None
    assert LoadPacket(4, True, 0xFFFFF000).ancillary is None


def test_shown() -> None:
    program = ClassicProgram(IP)
    assert repr(program) == "<ClassicProgram, 4 instructions: ldh [12]; jne #0x800, +1; ret #0x40000; ret #0x0>"
    assert repr(ClassicProgram(IP * 2)).endswith("; ret #0x0; ...>")
    assert repr(ClassicProgram([])) == "<ClassicProgram, 0 instructions>"
    assert program._repr_html_().startswith("<pre>    ldh [12]")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", (1, 1), "the text ends; expected the count"),
        ("x", (1, 1), "unexpected 'x'"),
        ("2\n6 0 0 0\n", (2, 8), "the text ends after 1 instructions; expected the 2"),
        ("1\n6 0 0 0\n6 0 0 0", (3, 1), "expected the end, after 1"),
        ("1\n6 0 0", (2, 6), "the text ends; expected k"),
        ("1\n6 0 256 0", (2, 5), "jf '256' does not fit; expected 0..255"),
        ("1\n6 0 0 4294967296", (2, 7), "k '4294967296' does not fit"),
        ("1\n6 0 0 0x10", (2, 7), "expected k, a decimal number"),
        ("1\n6 0 0 -1", (2, 7), "unexpected '-1'"),
        ("70000", (1, 1), "does not fit; expected 0..65535"),
        ("1\n6 0 0 " + "9" * 5000, (2, 7), "does not fit"),
    ],
)
def test_text_that_is_no_ddd(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        ClassicProgram.from_ddd(text)
    assert (caught.value.line, caught.value.column) == place
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("{ 0x6, 0, 0, 0 }\n{", (2, 1), "expected ','"),
        ("{ 0x6 0, 0, 0 }", (1, 7), "unexpected '0'; expected ','"),
        ("{ 0x10000, 0, 0, 0 }", (1, 3), "code '0x10000' does not fit"),
        ("{ 0x6, 0, 0, 0", (1, 15), "the text ends; expected '}'"),
        ("/* ret */ { 0x6, 0, 0, g }", (1, 24), "unexpected 'g'"),
        ("struct", (1, 1), "expected '{'"),
    ],
)
def test_text_that_is_no_dd(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        ClassicProgram.from_dd(text)
    assert (caught.value.line, caught.value.column) == place
    assert said in str(caught.value)


def test_dd_as_it_stands_in_a_c_file() -> None:
    assert ClassicProgram.from_dd("/* one\n */ {6,0,0,1,}, // two\n") == ClassicProgram([Return(1)])
    assert ClassicProgram.from_dd("") == ClassicProgram([])


@given(st.text(alphabet="0123456789 ,{}\nx-/*", max_size=40) | st.text(max_size=20))
def test_any_text(text: str) -> None:
    for read in (ClassicProgram.from_ddd, ClassicProgram.from_dd):
        try:
            program = read(text)
        except BpfError:
            continue
        assert ClassicProgram.from_bytes(program.to_bytes()) == program


@pytest.mark.parametrize("read", [ClassicProgram.from_ddd, ClassicProgram.from_dd])
def test_opcodes_that_are_unknown_in_text(read: Any) -> None:
    text = "2\n6 0 0 0\n14 0 0 0" if read == ClassicProgram.from_ddd else "{6,0,0,0},{14,0,0,0}"
    with pytest.raises(ClassicError, match="instruction 1, field code: 0xe is no opcode"):
        read(text)


FOR_PEOPLE = (
    "(000) ldh      [12]\n(001) jeq      #0x800           jt 2\tjf 3\n(002) ret      #262144\n(003) ret      #0\n"
)


@pytest.mark.parametrize(
    ("read", "text", "hint"),
    [
        (ClassicProgram.from_ddd, DD, "which from_dd reads"),
        (ClassicProgram.from_dd, DDD, "which from_ddd reads"),
        (ClassicProgram.from_ddd, FOR_PEOPLE, "what tcpdump -ddd prints"),
        (ClassicProgram.from_dd, FOR_PEOPLE, "what tcpdump -ddd prints"),
        (assemble, FOR_PEOPLE, "what tcpdump -ddd prints"),
    ],
)
def test_another_form_of_tcpdump_is_told_by_its_name(read: Any, text: str, hint: str) -> None:
    with pytest.raises(AssemblyError, match=hint):
        read(text)


def test_what_begins_well_gets_no_such_hint() -> None:
    for text in ("1\n{ 6, 0, 0, 0 }", "x", ""):
        with pytest.raises(AssemblyError) as caught:
            ClassicProgram.from_ddd(text)
        assert caught.value.hint is None
