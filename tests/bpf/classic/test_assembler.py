# SPDX-License-Identifier: Apache-2.0
"""bpf_asm's syntax: what each form encodes to, text that comes back, and errors with their place.

The numbers are those of Linux ``Documentation/networking/filter.rst`` and ``include/uapi/linux/filter.h``.
"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.classic import ClassicInstruction, ClassicProgram, assemble, disassemble
from prestocloud_sec.bpf.errors import AssemblyError, BpfError, BpfMisuseError
from prestocloud_sec.testing.bpf_classic import instructions, nearly_programs, nearly_text, programs

AD = 0xFFFFF000

FORMS: list[tuple[str, tuple[int, int, int, int]]] = [
    ("ld [12]", (0x20, 0, 0, 12)),
    ("ldh [12]", (0x28, 0, 0, 12)),
    ("ldb [0x17]", (0x30, 0, 0, 23)),
    ("ld [x + 4]", (0x40, 0, 0, 4)),
    ("ldh [x+14]", (0x48, 0, 0, 14)),
    ("ldb [%x + 2]", (0x50, 0, 0, 2)),
    ("ldb [x - 2]", (0x50, 0, 0, 0xFFFFFFFE)),
    ("ldb [x]", (0x50, 0, 0, 0)),
    ("ld [-1048576]", (0x20, 0, 0, 0xFFF00000)),
    ("ld #5", (0x00, 0, 0, 5)),
    ("ld #-1", (0x00, 0, 0, 0xFFFFFFFF)),
    ("ldi 5", (0x00, 0, 0, 5)),
    ("LDI 0X1F", (0x00, 0, 0, 31)),
    ("LDH [X + 1]", (0x48, 0, 0, 1)),
    ("ld m[3]", (0x60, 0, 0, 3)),
    ("ld #LEN", (0x80, 0, 0, 0)),
    ("Ret A", (0x16, 0, 0, 0)),
    ("ldi #0b101", (0x00, 0, 0, 5)),
    ("ld #010", (0x00, 0, 0, 8)),
    ("ld len", (0x80, 0, 0, 0)),
    ("ld #len", (0x80, 0, 0, 0)),
    ("ld #pktlen", (0x80, 0, 0, 0)),
    ("ld M[15]", (0x60, 0, 0, 15)),
    ("ldx #7", (0x01, 0, 0, 7)),
    ("ldxi 7", (0x01, 0, 0, 7)),
    ("ldx #len", (0x81, 0, 0, 0)),
    ("ldx M[2]", (0x61, 0, 0, 2)),
    ("ldx 4*([14]&0xf)", (0xB1, 0, 0, 14)),
    ("ldxb 4 * ([14] & 15)", (0xB1, 0, 0, 14)),
    ("ldx msh [14]", (0xB1, 0, 0, 14)),
    ("st M[1]", (0x02, 0, 0, 1)),
    ("stx M[1]", (0x03, 0, 0, 1)),
    ("add #3", (0x04, 0, 0, 3)),
    ("add x", (0x0C, 0, 0, 0)),
    ("sub %x", (0x1C, 0, 0, 0)),
    ("mul #3", (0x24, 0, 0, 3)),
    ("div #3", (0x34, 0, 0, 3)),
    ("mod x", (0x9C, 0, 0, 0)),
    ("and #0xff", (0x54, 0, 0, 255)),
    ("or #1", (0x44, 0, 0, 1)),
    ("xor x", (0xAC, 0, 0, 0)),
    ("lsh #2", (0x64, 0, 0, 2)),
    ("rsh x", (0x7C, 0, 0, 0)),
    ("neg", (0x84, 0, 0, 0)),
    ("tax", (0x07, 0, 0, 0)),
    ("txa", (0x87, 0, 0, 0)),
    ("ret a", (0x16, 0, 0, 0)),
    ("ret %a", (0x16, 0, 0, 0)),
    ("ret #-1", (0x06, 0, 0, 0xFFFFFFFF)),
    ("jmp +3", (0x05, 0, 0, 3)),
    ("ja +3", (0x05, 0, 0, 3)),
    ("jeq #6, +1, +2", (0x15, 1, 2, 6)),
    ("jeq x, +1", (0x1D, 1, 0, 0)),
    ("jgt #6, +0, +2", (0x25, 0, 2, 6)),
    ("jge %x, +1, +2", (0x3D, 1, 2, 0)),
    ("jset #6, +1, +2", (0x45, 1, 2, 6)),
    ("jne #6, +2", (0x15, 0, 2, 6)),
    ("jneq x, +2", (0x1D, 0, 2, 0)),
    ("jlt #6, +2", (0x35, 0, 2, 6)),
    ("jle #6, +2", (0x25, 0, 2, 6)),
    (".insn 0x87, 1, 2, 3", (0x87, 1, 2, 3)),
    *(
        (f"{word} {name}", (code, 0, 0, AD + number))
        for word, code in (("ld", 0x20), ("ldh", 0x28), ("ldb", 0x30))
        for name, number in {
            "proto": 0,
            "type": 4,
            "ifidx": 8,
            "nla": 12,
            "nlan": 16,
            "mark": 20,
            "queue": 24,
            "hatype": 28,
            "rxhash": 32,
            "cpu": 36,
            "vlan_tci": 44,
            "vlan_tag": 44,
            "vlan_avail": 48,
            "vlan_pr": 48,
            "poff": 52,
            "rand": 56,
            "vlan_tpid": 60,
            "#proto": 0,
            "#rand": 56,
        }.items()
    ),
]


@pytest.mark.parametrize(("text", "fields"), FORMS, ids=[text for text, _ in FORMS])
def test_each_form(text: str, fields: tuple[int, int, int, int]) -> None:
    program = assemble(text)
    assert program.to_bytes() == struct.pack("<HBBI", *fields)
    assert assemble(disassemble(program)) == program


EXAMPLE = """
/* TCP to port 22 or 80,
   and no fragments */
    ldh [12]
    jne #0x800, drop      ; not IPv4
    ldb [23]
    jneq #6, drop
    ldh [20]
    jset #0x1fff, drop
    ldxb 4*([14]&0xf)
    ldh [x + 16]
# this line says nothing
    jeq #22, keep
    jeq #80, keep, drop
keep: ret #-1
drop:
    ret #0
"""


def test_a_filter() -> None:
    """The same as libpcap makes, which begins likewise; the offsets of jumps were counted by hand."""
    program = assemble(EXAMPLE)
    fields = list(struct.iter_unpack("<HBBI", program.to_bytes()))
    assert [(code, jt, jf) for code, jt, jf, _ in fields] == [
        (0x28, 0, 0),
        (0x15, 0, 9),
        (0x30, 0, 0),
        (0x15, 0, 7),
        (0x28, 0, 0),
        (0x45, 5, 0),
        (0xB1, 0, 0),
        (0x48, 0, 0),
        (0x15, 1, 0),
        (0x15, 0, 1),
        (0x06, 0, 0),
        (0x06, 0, 0),
    ]
    assert disassemble(program).splitlines()[:3] == ["    ldh [12]", "    jne #0x800, L11", "    ldb [23]"]
    assert assemble(disassemble(program)) == program


def test_several_instructions_on_a_line_and_one_on_several() -> None:
    assert assemble("ldb\n[0] tax ret\n #1") == assemble("ldb [0]\ntax\nret #1")


def test_the_program_with_no_text() -> None:
    assert len(assemble(" ; nothing\n")) == 0
    assert disassemble(ClassicProgram([])) == ""


@given(st.lists(instructions(), max_size=12))
def test_what_is_printed_assembles_to_the_same(made: list[ClassicInstruction]) -> None:
    program = ClassicProgram(made)
    text = disassemble(program)
    assert assemble(text) == program
    assert disassemble(assemble(text)) == text


@given(programs(max_size=60))
def test_programs_are_printed_with_labels_alone(program: ClassicProgram) -> None:
    text = program.disassemble()
    assert ", +" not in text
    assert "jmp +" not in text
    assert assemble(text) == program


@given(nearly_programs())
def test_what_is_decoded_comes_back_through_text(data: bytes) -> None:
    try:
        program = ClassicProgram.from_bytes(data)
    except BpfError:
        return
    assert assemble(program.disassemble()).to_bytes() == data


@given(nearly_text())
def test_any_text(text: str) -> None:
    try:
        program = assemble(text)
    except AssemblyError as error:
        place = (error.line, error.column)
        lines = text.split("\n")
        assert place[0] is not None
        assert place[1] is not None
        assert 1 <= place[0] <= len(lines)
        assert 1 <= place[1] <= len(lines[place[0] - 1]) + 1
        return
    assert assemble(disassemble(program)) == program


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("ldhh [12]", (1, 1), "unexpected 'ldhh'; expected an instruction, such as ldh [12] (did you mean 'ldh'?)"),
        ("ldh [12", (1, 8), "the line ends; expected ']'"),
        ("ldh [12\nret #0", (1, 8), "the line ends; expected ']'"),
        ("ldh 12", (1, 5), "unexpected '12'; expected [offset]"),
        ("ld proot", (1, 4), "(did you mean 'proto'?)"),
        ("ldh #len", (1, 5), "unexpected '#'; expected [offset], [x + offset] or the name"),
        ("ld #4294967296", (1, 5), "'4294967296' does not fit; expected -2147483648..4294967295"),
        ("ld #-2147483649", (1, 5), "'-2147483649' does not fit"),
        ("ld #08", (1, 5), "'08' is no number; expected digits 0..7"),
        ("ld #" + "1" * 60, (1, 5), "is too large"),
        ("ld [x 4]", (1, 7), "unexpected '4'; expected '+'"),
        ("ld M[-1]", (1, 6), "does not fit; expected 0.."),
        ("st 5", (1, 4), "expected M[0]..M[15]"),
        ("add 5", (1, 5), "unexpected '5'; expected #number or x"),
        ("ldxb 4*([14]&0x7)", (1, 6), "4*(...&7) cannot be computed; expected 4*([offset]&0xf)"),
        ("ret x", (1, 5), "unexpected 'x'; expected #number or a (the kernel has no ret x"),
        ("ret 5", (1, 5), "expected #number or a"),
        ("jmp there\nret #0", (1, 5), "there is no label 'there' (a name and a colon"),
        ("jmp ther\nthere: ret #0", (1, 5), "(did you mean 'there'?)"),
        (
            "back: ret #0\n  jmp back",
            (2, 7),
            "'back' is behind; expected a label further on (jumps",
        ),
        ("jeq #1, far\n" + "neg\n" * 256 + "far: ret a", (1, 9), "'far' is 256 instructions away; expected up to 255"),
        ("jeq #1, +256", (1, 10), "'256' does not fit; expected 0..255"),
        ("jeq #1", (1, 7), "the line ends; expected ','"),
        ("jeq #1, 5", (1, 9), "unexpected '5'; expected a label, or +N"),
        (
            "jeq #1, a\nret a",
            (1, 9),
            "unexpected 'a'; expected a label, or +N (a, x and m are registers and memory, not labels)",
        ),
        ("l: ret #0\n  l: ret #0", (2, 3), "'l' is already defined; expected a name of its own (line 1 defines it)"),
        ("x: ret #0", (1, 1), "'x' cannot be a label"),
        ("ret #0 /* no end", (1, 8), "the comment does not end"),
        ("ld /* no end", (1, 4), "the comment does not end; expected '*/'"),
        (".insn 0xffff, 0, 0, 0", (1, 7), "0xffff is no opcode"),
        (".insn 6, 256, 0, 0", (1, 10), "'256' does not fit"),
        ("ret #0 \0", (1, 8), "unexpected '\\x00'"),
    ],
)
def test_errors(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(text)
    assert said in str(caught.value)
    assert (caught.value.line, caught.value.column) == place


def test_misuse() -> None:
    with pytest.raises(BpfMisuseError, match="bytes is no text"):
        assemble(b"ret #0")  # type: ignore[arg-type]
    with pytest.raises(BpfMisuseError, match="is no program"):
        disassemble("ret #0")  # type: ignore[arg-type]
