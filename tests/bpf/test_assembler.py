# SPDX-License-Identifier: Apache-2.0
"""Text and programs: LLVM's own text and bytes, bpf_conformance's, round trips, and what is refused where."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, Symbols, assemble, disassemble
from prestocloud_sec.bpf.disassembler import instruction_text, line_text
from prestocloud_sec.bpf.errors import AssemblyError, BpfMisuseError
from prestocloud_sec.bpf.helpers.prototypes import prototypes
from prestocloud_sec.bpf.isa import (
    CallHelper,
    CallKfunc,
    CallLocal,
    Exit,
    ImmKind,
    Instruction,
    Jump,
    LoadImm64,
    decode,
)
from prestocloud_sec.testing.bpf_isa import instructions, programs

LLVM = Path(__file__).parent / "llvm"
CONFORMANCE = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "bpf" / "conformance"
SYNTAXES = st.sampled_from(["kernel", "mnemonic"])


def pairs() -> list[tuple[str, str]]:
    lines = (LLVM / "assembled.txt").read_text().splitlines()
    return [(text.strip(), encoded) for encoded, text in (line.split(maxsplit=1) for line in lines if line[0] != "#")]


class TestLlvm:
    @pytest.mark.parametrize(("text", "encoded"), pairs())
    def test_its_bytes(self, text: str, encoded: str) -> None:
        assert assemble(text, syntax="kernel").to_bytes().hex() == encoded
        assert assemble(text).to_bytes().hex() == encoded

    @pytest.mark.parametrize(("text", "encoded"), pairs())
    def test_its_text(self, text: str, encoded: str) -> None:
        """What LLVM accepted is what we print: the recorded text is in canonical form."""
        assert disassemble(Program.from_bytes(bytes.fromhex(encoded))) == text

    @pytest.mark.parametrize("cpu", ["v2", "v4"])
    def test_whole_functions_as_it_prints_them(self, cpu: str) -> None:
        listing = (LLVM / f"printed_{cpu}.s").read_text()
        encoded = "".join(re.findall(r"^# bytes: ([0-9a-f]+)$", listing, re.MULTILINE))
        program = assemble(listing, syntax="kernel")
        assert program.to_bytes().hex() == encoded
        names = {"arithmetic", "memory", "jumps", "swaps"} | ({"newer", "atomics"} if cpu == "v4" else set())
        assert names <= set(program.symbols.labels)
        printed = [line.strip() for line in disassemble(program).splitlines() if not line.endswith(":")]
        assert printed == list(statements(listing, cpu))


def statements(listing: str, cpu: str) -> Iterator[str]:
    """Yield the instructions of a listing; LLVM (from v3 on) writes as w some operands that the kernel writes as r."""
    for line in listing.splitlines():
        text = line.partition("#")[0].strip()
        if not text or text.startswith(".") or text.endswith(":"):
            continue
        if cpu == "v4":
            text = re.sub(r"^w(\d+)( = \*\()", r"r\1\2", text)
            text = re.sub(r"^(\*\(.*\) = )w", r"\1r", text)
            text = re.sub(r"^r(\d+)( = w\d+)$", r"w\1\2", text)
        yield text


class TestConformance:
    def cases(self) -> list[tuple[str, str, str]]:
        if not CONFORMANCE.is_dir():
            pytest.skip("../shared is not here, with the bpf_conformance suite")
        index = json.loads((CONFORMANCE / "index.json").read_text())
        return [
            (test["name"], assembly((CONFORMANCE / test["name"]).read_text()), test["insns_hex"])
            for test in index["tests"]
        ]

    def test_every_text_gives_its_bytes(self) -> None:
        cases = self.cases()
        assert len(cases) > 100
        for name, text, encoded in cases:
            assert assemble(text, syntax="mnemonic").to_bytes().hex() == encoded, name
            assert assemble(text).to_bytes().hex() == encoded, name

    def test_every_program_comes_back_from_its_text(self) -> None:
        for name, _, encoded in self.cases():
            program = Program.from_bytes(bytes.fromhex(encoded))
            for syntax in ("kernel", "mnemonic"):
                assert assemble(disassemble(program, syntax=syntax), syntax=syntax) == program, name


def assembly(data: str) -> str:
    """Return the section with assembler text of a file of the suite."""
    found, section = [], ""
    for line in data.replace("\r", "").split("\n"):
        if "--" in line.partition("#")[0]:
            section = line
        elif "asm" in section:
            found.append(line)
    return "\n".join(found)


class TestRoundTrips:
    @given(instructions(), SYNTAXES)
    def test_an_instruction(self, instruction: Instruction, syntax: str) -> None:
        text = instruction_text(instruction, syntax=syntax)
        assert "\n" not in text
        assert assemble(text, syntax=syntax).instructions == (instruction,)
        assert assemble(text).instructions == (instruction,)

    @given(programs(), SYNTAXES, st.sampled_from([None, False, True]))
    def test_a_program(self, program: Program, syntax: str, labels: bool | None) -> None:
        text = disassemble(program, syntax=syntax, labels=labels)
        for accepted in ("auto", syntax):
            again = assemble(text, syntax=accepted)
            assert again == program
            assert disassemble(again, syntax=syntax) == text
        if labels is None:
            names = {**program.symbols.labels, **program.symbols.functions}
            assert {**again.symbols.labels, **again.symbols.functions}.items() >= names.items()
            assert again.symbols.maps == program.symbols.maps
            assert again.symbols.kfuncs == program.symbols.kfuncs

    @given(programs())
    def test_from_one_syntax_to_the_other(self, program: Program) -> None:
        older = disassemble(program, syntax="mnemonic")
        assert disassemble(assemble(older), syntax="kernel") == disassemble(program)

    @given(programs(names=False))
    def test_a_label_for_every_place(self, program: Program) -> None:
        text = disassemble(program, labels=True)
        assert not re.search(r"goto [+-]|pc[+-]", text)

    def test_names_that_are_no_words_are_numbers(self) -> None:
        symbols = Symbols({"two words": 1, "r1": 1}, {"9": 2}, {0: "a b"})
        program = Program([LoadImm64(1, ImmKind.MAP_FD, 0), Jump(0), CallLocal(0), Exit()], symbols=Symbols())
        assert disassemble(Program(program, symbols=symbols_at(symbols))) == disassemble(program)

    def test_a_jump_out_of_the_program_is_a_number(self) -> None:
        program = Program([Jump(7), LoadImm64(1, ImmKind.INTEGER, 0), Jump(-2)])
        assert disassemble(program, labels=True) == "goto +7\nr1 = 0 ll\ngoto -2"
        assert assemble("goto +7\nr1 = 0 ll\ngoto -2") == program


def symbols_at(symbols: Symbols) -> Symbols:
    """Move the names to slots that a program with a 64-bit load in front has."""
    return Symbols(
        {name: slot + 1 for name, slot in symbols.labels.items()},
        {name: slot + 1 for name, slot in symbols.functions.items()},
        symbols.maps,
    )


# Each line written by hand from the encodings of RFC 9669 and the kernel's bpf.h.
SPELLINGS = [
    ("r0 = 0xffffffff", "b7000000ffffffff"),
    ("r0 = -0x1", "b7000000ffffffff"),
    ("r0 = +7", "b700000007000000"),
    ("w0 = w1", "bc10000000000000"),
    ("r0 = w1", "bc10000000000000"),
    ("w3 = *(u16 *)(r1 + 0)", "6913000000000000"),
    ("*(u32 *)(r1+4)=w2", "6321040000000000"),
    ("*(u8 *)(r1 - 0x2) = 255", "7201feffff000000"),
    ("r1 = 0x123456789 ll", "18010000896745230000000001000000"),
    ("r1 = -1 ll", "18010000ffffffff00000000ffffffff"),
    ("r1 = map[fd:3]", "18110000030000000000000000000000"),
    ("r1 = map[id:3] ll", "18110000030000000000000000000000"),
    ("r1 = map[id:3][0]+8", "18210000030000000000000008000000"),
    ("r1 = map[idx:1]", "18510000010000000000000000000000"),
    ("r1 = map[idx:1][0]+8 ll", "18610000010000000000000008000000"),
    ("r1 = map[some.map]", "18110000000000000000000000000000"),
    ("r1 = btf[id:7, fd:3]", "18310000070000000000000003000000"),
    ("r1 = subprog[+1]\nexit\nexit", "18410000010000000000000000000000" + "9500000000000000" * 2),
    ("r1 = f ll\nexit\nf: exit", "18410000020000000000000000000000" + "9500000000000000" * 2),
    ("lddw r1, 0x8000000000000000", "18010000000000000000000000000080"),
    ("lddw r1, map 3", "18110000030000000000000000000000"),
    ("lddw r1, map some.map", "18110000000000000000000000000000"),
    ("lddw r1, map_value 3, 8", "18210000030000000000000008000000"),
    ("lddw r1, map_index_value 3, 8", "18610000030000000000000008000000"),
    ("lddw r1, btf 7", "18310000070000000000000000000000"),
    ("lddw r1, function +1", "18410000010000000000000000000000"),
    ("call bpf_map_lookup_elem#1", "8500000001000000"),
    ("call -1", "85000000ffffffff"),
    ("call helper 5", "8500000005000000"),
    ("call pc+3", "8510000003000000"),
    ("call local -3", "85100000fdffffff"),
    ("call kfunc 9, 2", "8520020009000000"),
    ("call runtime 9", "8520000009000000"),
    ("call kfunc bpf_iter_num_new", "8520000000000000"),
    ("call runtime bpf_iter_num_new", "8520000000000000"),
    ("call bpf_iter_num_new#64233", "8520000000000000"),
    ("callx r3", "8d03000000000000"),
    ("call %r3", "8d03000000000000"),
    ("call helper %r3", "8d03000000000000"),
    ("callx r3, imm", "8d00000003000000"),
    ("goto pc+3", "0500030000000000"),
    ("gotol pc-3", "06000000fdffffff"),
    ("if r1 == 0x0 goto pc+3", "1501030000000000"),
    ("if w1 s<= w2 goto -1", "de21ffff00000000"),
    ("may_goto pc+2", "e500020000000000"),
    ("r2 = atomic64_fetch_add((u64 *)(r1 +8), r2)", "db21080001000000"),
    ("r2 = atomic_fetch_or((u32 *)(r1 +8), r2)", "c321080041000000"),
    ("r2 = atomic64_xchg((u64 *)(r1 -8), r2)", "db21f8ffe1000000"),
    ("r0 = atomic_cmpxchg((u32 *)(r1 +0), r0, r2)", "c3210000f1000000"),
    ("lock *(u32 *)(r1 +0) += r2", "c321000000000000"),
    ("r0 = *(u16 *)skb[r3 - 1]", "48300000ffffffff"),
    ("r0 = *(u8 *)skb[-4096]", "3000000000f0ffff"),
    ("0: (18) r1 = 0x7", "18010000070000000000000000000000"),
    ("  12: (b7) r1 = 7", "b701000007000000"),
    ("add64 %r1, 5", "0701000005000000"),
    ("add %r1 5", "0701000005000000"),
    ("mov32 r1, 0xffffffff", "b4010000ffffffff"),
    ("bswap32 r1", "d701000020000000"),
    ("swap32 r1", "d701000020000000"),
    ("movsx3264 r1, r2", "bf21200000000000"),
    ("ldxsw r1, [r2-4]", "8121fcff00000000"),
    ("ldxh r1, [%r2+0xffff]", "6921ffff00000000"),
    ("stdw [r10-8], -1", "7a0af8ffffffffff"),
    ("lock fetch xor32 [r1+8], r2", "c3210800a1000000"),
    ("lock xchg64 [r1], r2", "db210000e1000000"),
    ("ldacqb r1, [r2]", "d321000000010000"),
    ("strelh [r1], r2", "cb21000010010000"),
    ("ldindh r3, -1", "48300000ffffffff"),
    ("ldabsw 12", "200000000c000000"),
    ("ja32 -3", "06000000fdffffff"),
    ("jset32 r1, 8, +1", "4601010008000000"),
    ("neg32 r1", "8401000000000000"),
]


@pytest.mark.parametrize(("text", "encoded"), SPELLINGS)
def test_spellings(text: str, encoded: str) -> None:
    assert assemble(text).to_bytes().hex() == encoded


class TestHelpersByName:
    def test_each_helper_is_called_by_its_name_in_c(self) -> None:
        for row in prototypes().values():
            for text in (f"call bpf_{row.name}\nexit", f"call bpf_{row.name}#{row.number}\nexit"):
                assert assemble(text).instructions == (CallHelper(row.number), Exit())

    def test_a_function_of_that_name_comes_first(self) -> None:
        program = assemble("call bpf_redirect\nexit\nbpf_redirect:\nr0 = 1\nexit")
        assert program.instructions[0] == CallLocal(1)
        assert program.symbols.functions == {"bpf_redirect": 2}
        assert program.run().value == 1


class TestLines:
    def test_comments_and_blanks(self) -> None:
        text = "# first\n\r\n\t r0 = 1 ; why\r\n// all of it\nr0+=2//no\n;\n  exit# done\n"
        assert disassemble(assemble(text)) == "r0 = 1\nr0 += 2\nexit"
        assert assemble("") == assemble("; nothing") == Program([])

    def test_a_comment_after_a_call(self) -> None:
        assert assemble("f: call f # 7\ncall f#7") == assemble("call pc-1\ncall 7")

    def test_labels(self) -> None:
        program = assemble("a: b:\n r1 = 0 ll\nc: goto c\n call a\n if r1 == 0 goto end\nexit\nend:")
        assert disassemble(program, labels=False).splitlines()[1:4] == ["goto -1", "call pc-4", "if r1 == 0 goto +1"]
        assert program.symbols == Symbols({"b": 0, "c": 2, "end": 6}, {"a": 0})

    def test_a_label_in_both_directions(self) -> None:
        text = "start: r1 -= 1\nif r1 s< 0 goto out\ngoto start\nout: exit"
        assert [getattr(i, "offset", None) for i in assemble(text)] == [None, 1, -3, None]

    def test_exit_is_a_label(self) -> None:
        program = assemble("jne r1, 0, exit\nmov r0, 1\nexit\nexit")
        assert program.symbols.labels == {"exit": 2}
        assert assemble("exit: r0 = 1\ngoto exit\nexit").to_bytes() == assemble("r0 = 1\ngoto -2\nexit").to_bytes()

    def test_maps_by_name(self) -> None:
        program = assemble("r1 = map[b]\nr2 = map[a][0]+4\nr3 = map[b]")
        assert program.symbols.maps == {0: "b", 1: "a", 2: "b"}
        assert program.symbols.map_names == ("b", "a")
        assert [load.value for load in program if isinstance(load, LoadImm64)] == [0, 1, 0]
        assert disassemble(program) == "r1 = map[b]\nr2 = map[a][0]+4\nr3 = map[b]"

    def test_kernel_functions_by_name(self) -> None:
        program = assemble("call kfunc exit\ncall runtime exit\ncall kfunc 3\nexit: exit")
        assert program.symbols.kfuncs == {0: "exit", 1: "exit"}
        assert program.symbols.labels == {"exit": 3}
        assert program.instructions[:3] == (CallKfunc(0), CallKfunc(0), CallKfunc(3))
        assert disassemble(program, labels=False) == "call kfunc exit\ncall kfunc exit\ncall kfunc 3\nexit"
        assert disassemble(program, syntax="mnemonic").splitlines()[0].strip() == "call runtime exit"
        assert assemble("call kfunc exit\nexit").symbols.labels == {}

    def test_a_kernels_log_has_names_and_numbers(self) -> None:
        program = assemble("7: (85) call bpf_iter_num_next#64236\n8: (85) call bpf_map_lookup_elem#1\n9: (95) exit")
        assert program.symbols.kfuncs == {0: "bpf_iter_num_next"}
        assert program.instructions[1] == CallHelper(1)
        with pytest.raises(AssemblyError, match="write call kfunc bpf_iter_num_next"):
            assemble("call bpf_iter_num_next\nexit")

    def test_a_kernel_function_whose_name_is_no_word_is_a_number(self) -> None:
        program = Program([CallKfunc(0), Exit()], symbols=Symbols(kfuncs={0: "a b"}))
        assert disassemble(program) == "call kfunc 0\nexit"

    def test_what_clang_writes_around_code(self) -> None:
        text = '.file "a.c"\n.text\n.globl f # -- Begin\n.type f,@function\nf:\n.cfi_startproc\nexit\n.size f, .-f\n'
        assert assemble(text).symbols.labels == {"f": 0}

    def test_both_syntaxes_in_one_text(self) -> None:
        assert assemble("mov r0, 1\nr0 += 1\nexit") == assemble("r0 = 1\nadd r0, 1\nexit")

    def test_what_a_program_carries(self) -> None:
        program = assemble("exit", name="p", license="GPL")
        assert (program.name, program.license, program.type) == ("p", "GPL", None)


REFUSED = [
    ("r0 = 1\n  r11 = 2", 2, 3, "there is no register 'r11'", "r0..r10"),
    ("r00 = 1", 1, 1, "there is no register", "r0..r10"),
    ("r0 = w1 w2", 1, 9, "unexpected 'w2'", "the end of the line"),
    ("w0 = r1", 1, 6, "unexpected 'r1'", "w1"),
    ("w0 += r1", 1, 7, "unexpected 'r1'", "w1"),
    ("r0 = 2147483648", 1, 6, "2147483648 does not fit", "-2147483648..2147483647"),
    ("r0 = 0x100000000", 1, 6, "does not fit", "-2147483648..2147483647"),
    ("r0 = 99999999999999999999999999", 1, 6, "too large", ""),
    ("r0 = 18446744073709551616 ll", 1, 6, "does not fit", ""),
    ("r1 = *(u32 *)(r2 + 40000)", 1, 18, "does not fit", "-32768..32767"),
    ("r1 = *(u33 *)(r2 + 4)", 1, 8, "unexpected 'u33'", "u32"),
    ("r1 = *(u32 *)(w2 + 4)", 1, 15, "unexpected 'w2'", "r2"),
    ("r1 = *(u32 *)(r2 + 4", 1, 21, "the line ends", "')'"),
    ("w1 = *(u64 *)(r2 + 4)", 1, 8, "unexpected 'u64'", "u32"),
    ("*(u8 *)(r1 + 0) += r2", 1, 17, "unexpected '+='", "lock"),
    ("lock *(u8 *)(r1 + 0) += r2", 1, 8, "unexpected 'u8'", "u32 or u64"),
    ("lock *(u64 *)(r1 + 0) -= r2", 1, 23, "unexpected '-='", "+="),
    ("r1 = bee16 r1", 1, 6, "unexpected 'bee16'", "did you mean 'be16'?"),
    ("r1 = -r2", 1, 7, "unexpected 'r2'", "r1"),
    ("r1 = be16 r2", 1, 11, "unexpected 'r2'", "in place"),
    ("r1 = be8 r1", 1, 6, "unexpected 'be8'", "a register"),
    ("w1 = (s32)w2", 1, 7, "unexpected 's32'", "s8 or s16"),
    ("r1 = cmpxchg_64(r2 + 0, r1, r3)", 1, 1, "unexpected 'r1'", "r0"),
    ("r1 = atomic_fetch_add((u64 *)(r2 + 0), r3)", 1, 40, "unexpected 'r3'", "r1"),
    ("w1 = 5 ll", 1, 1, "unexpected 'w1'", "r1"),
    ("r1 = map[4]", 1, 10, "unexpected '4'", "map[id:4]"),
    ("r1 = map[x:4]", 1, 10, "unexpected 'x'", "id"),
    ("r1 = addr_space_cast(r2, 1, 1)", 1, 29, "1 does not fit", "0..0"),
    ("r1 += *(u32 *)(r2 + 4)", 1, 7, "unexpected '*'", "a register or a number"),
    ("r1 5", 1, 4, "unexpected '5'", "an assignment"),
    ("if r1 = 5 goto +1", 1, 7, "unexpected '='", "a comparison"),
    ("if r1 == 5 +1", 1, 12, "unexpected '+'", "'goto'"),
    ("goto 5", 1, 6, "unexpected '5'", "+N, -N or a label"),
    ("goto +40000", 1, 6, "does not fit", "-32768..32767"),
    ("goto nowhere", 1, 6, "there is no label 'nowhere'", "colon"),
    ("done: exit\ngoto doen", 2, 6, "there is no label 'doen'", "did you mean 'done'?"),
    ("call kfunc r3", 1, 12, "unexpected 'r3'", "the name or number of a kernel function"),
    ("call runtime f, 3", 1, 15, "unexpected ','", "the end of the line"),
    ("call nothing", 1, 6, "there is no function 'nothing'", "a helper, as a number or bpf_..."),
    ("call bpf_redirekt", 1, 6, "there is no function 'bpf_redirekt'", "did you mean 'bpf_redirect'?"),
    ("call local bpf_redirect", 1, 12, "there is no function 'bpf_redirect'", "colon"),
    ("goto bpf_redirect", 1, 6, "there is no label 'bpf_redirect'", "colon"),
    ("a: exit\n\n a: exit", 3, 2, "'a' is already defined", "line 1"),
    ("r1: exit", 1, 1, "unexpected 'r1'", "a name"),
    ("gotoo +1", 1, 1, "unexpected 'gotoo'", "did you mean 'goto"),
    ("mvo r0, 1", 1, 1, "unexpected 'mvo'", "did you mean 'mov'?"),
    ("mov r0", 1, 7, "the line ends", "a register or a number"),
    ("mov r0, [r1]", 1, 9, "unexpected '['", "a register or a number"),
    ("ldxw r0, r1", 1, 10, "unexpected 'r1'", "'['"),
    ("lock nand [r1], r2", 1, 6, "unexpected 'nand'", "did you mean 'and'?"),
    ("lddw r1, mpa 3", 1, 10, "unexpected 'mpa'", "did you mean 'map'?"),
    ("callx r0, imm", 1, 7, "r0 is the same", "callx r0"),
    ("exit exit", 1, 6, "unexpected 'exit'", "one instruction to a line"),
    (".section maps", 1, 1, "the directive '.section'", "object file"),
    ("r0 = 'a'", 1, 6, 'unexpected "\'"', ""),
    ("r0 = 12abc", 1, 6, "unexpected '12abc'", ""),
    ("r0 = 1é", 1, 7, "unexpected 'é'", ""),
    ("\x00", 1, 1, "unexpected '\\x00'", ""),
    ("%r0 = 1", 1, 1, "unexpected '%'", ""),
    ("*(u64 *)(r1 + 0) = w2", 1, 20, "unexpected 'w2'", "r2"),
    ("store_release((u64 *)(r1 + 0), w2)", 1, 32, "unexpected 'w2'", "r2"),
    ("r1 = *(u64 *)skb[4]", 1, 17, "no such load", "u32"),
    ("r0 = subprog[x]", 1, 14, "unexpected 'x'", "a number"),
    ("call f#9999999999", 1, 6, "there is no helper f", ""),
]


WORDS = [
    *(
        "r0",
        "w1",
        "r10",
        "r11",
        "5",
        "-1",
        "0xffffffff",
        "70000",
        "+",
        "-",
        "=",
        "+=",
        "s>>=",
        "*",
        ":",
        "==",
        "s<",
        "&",
    ),
    *(
        "(",
        ")",
        "[",
        "]",
        ",",
        "#",
        "%",
        "\n",
        "if",
        "goto",
        "gotol",
        "call",
        "callx",
        "exit",
        "lock",
        "fetch",
        "map",
        "id",
    ),
    *(
        "ll",
        "a",
        "a:",
        "u32",
        "s8",
        "skb",
        "be16",
        "xchg_64",
        "cmpxchg32_32",
        "atomic_fetch_add",
        "load_acquire",
        "btf",
    ),
    *(
        "store_release",
        "addr_space_cast",
        "subprog",
        "mov",
        "add32",
        "ldxw",
        "stxdw",
        "lddw",
        "ja",
        "jeq",
        "pc",
        "local",
    ),
    *("kfunc", "imm", ".text", "may_goto"),
]


class TestRefusals:
    @pytest.mark.parametrize(("text", "line", "column", "what", "advice"), REFUSED)
    def test_where_and_why(self, text: str, line: int, column: int, what: str, advice: str) -> None:
        with pytest.raises(AssemblyError) as caught:
            assemble(text)
        error = caught.value
        assert (error.line, error.column) == (line, column)
        assert what in error.what
        assert advice in str(error)
        assert f"line {line}, column {column}: " in str(error)

    def test_a_label_too_far_away(self) -> None:
        with pytest.raises(AssemblyError, match="'end' is 40000 slots away") as caught:
            assemble("goto end\n" + "r0 = 0\n" * 40000 + "end: exit")
        assert (caught.value.line, caught.value.column, caught.value.expected) == (1, 6, "an integer -32768..32767")
        assert "gotol" in str(caught.value)
        program = assemble("gotol end\n" + "r0 = 0\n" * 40000 + "end: exit")
        assert program.targets[0] == 40001

    @pytest.mark.parametrize(
        ("text", "syntax", "other"), [("mov r0, 1", "kernel", "mnemonic"), ("r0 = 1", "mnemonic", "kernel")]
    )
    def test_the_other_syntax(self, text: str, syntax: str, other: str) -> None:
        with pytest.raises(AssemblyError, match=f"this is a line of the {other} syntax"):
            assemble(text, syntax=syntax)

    def test_misuse(self) -> None:
        for wrong in (b"exit", None, 5):
            with pytest.raises(BpfMisuseError):
                assemble(wrong)  # type: ignore[arg-type]
        for call in (lambda: assemble("exit", syntax="att"), lambda: disassemble(Program([Exit()]), syntax="auto")):
            with pytest.raises(BpfMisuseError, match="syntax"):
                call()

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        try:
            program = assemble(text)
        except AssemblyError as error:
            line, column = error.line or 0, error.column or 0
        else:
            assert decode(program.to_bytes()) == program.instructions
            return
        assert 1 <= line <= text.count("\n") + 1
        assert 1 <= column <= len(text.split("\n")[line - 1]) + 1

    @given(st.lists(st.sampled_from(WORDS), max_size=14), st.sampled_from(["auto", "kernel", "mnemonic"]))
    def test_any_words(self, words: list[str], syntax: str) -> None:
        try:
            program = assemble(" ".join(words), syntax=syntax)
        except AssemblyError as error:
            place = (error.line, error.column)
        else:
            assert assemble(disassemble(program)) == program
            return
        assert None not in place


class TestSize:
    @pytest.mark.parametrize(
        "text",
        ["a" * 10_000_000, "r0 = " + "9" * 10_000_000, ":" * 10_000_000, "r0 " * 3_000_000, "\0" * 10_000_000,
         "r0 = 1 " + " " * 10_000_000 + "x", "goto " + "l" * 10_000_000, "call a#" + "1" * 10_000_000],
        ids=lambda text: text[:8],
    )  # fmt: skip
    def test_ten_megabytes_that_are_no_program(self, text: str) -> None:
        begin = time.process_time()
        with pytest.raises(AssemblyError) as caught:
            assemble(text)
        assert len(str(caught.value)) < 400
        assert time.process_time() - begin < 10


class TestNamesInText:
    TEXT = "r1 = map[seen]\ncall 1\ncall 1000\ncall -1\nexit"

    def test_helpers_by_name(self) -> None:
        program = assemble(self.TEXT)
        named = program.disassemble(helpers=True).splitlines()
        assert named == ["r1 = map[seen]", "call bpf_map_lookup_elem#1", "call 1000", "call -1", "exit"]
        assert program.disassemble().splitlines()[1] == "call 1"
        other = program.disassemble(helpers=True, syntax="mnemonic")
        assert "call bpf_map_lookup_elem#1" in other
        for text in ("\n".join(named), other):
            assert assemble(text) == program

    def test_every_line_alone(self) -> None:
        program = assemble("again:\n" + self.TEXT.replace("exit", "goto again"))
        lines = [line_text(program, index) for index in range(len(program.instructions))]
        assert lines == ["r1 = map[seen]", "call bpf_map_lookup_elem#1", "call 1000", "call -1", "goto -6"]
        assert repr(program).startswith("<Program, 6 slots: r1 = map[seen]; call bpf_map_lookup_elem#1; call 1000; ")

    def test_misuse(self) -> None:
        with pytest.raises(BpfMisuseError, match="helpers"):
            assemble("exit").disassemble(helpers="yes")  # type: ignore[arg-type]


def test_a_type_given_by_name_is_told_which_it_is() -> None:
    with pytest.raises(BpfMisuseError, match=r"Program\.type: 'xdp' .* \(ProgramType\.XDP\)"):
        assemble("exit", type="xdp")  # type: ignore[arg-type]
    with pytest.raises(BpfMisuseError, match=r"Program\.type: 'xpd' does not go there; expected a ProgramType$"):
        assemble("exit", type="xpd")  # type: ignore[arg-type]
