# SPDX-License-Identifier: Apache-2.0
"""Logs of the kernel's form: words by hand, and, where bpf(2) is allowed, each line that the running kernel writes."""

from __future__ import annotations

import random

import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import Program, ProgramType, assemble, linux, verify
from prestocloud_sec.bpf.errors import BpfMisuseError, LoadError
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.registers import Kind, Register, known, number
from prestocloud_sec.bpf.verifier.scalar import Scalar
from prestocloud_sec.bpf.verifier.state import Frame, Slot, State
from prestocloud_sec.bpf.verifier.witness import Witness
from prestocloud_sec.bpf.verifier.wording import frame_text, ranges_text, register_text, slot_text
from prestocloud_sec.bpf.verifier.wording_instructions import instruction_text
from tests.bpf.verifier.answers import plain

XDP = ProgramType.XDP
FLOWS = MapSpec(MapType.HASH, 4, 8, 2)

CALLS = """
    r6 = *(u32 *)(r1 + 12)
    *(u32 *)(r10 - 4) = 0
    r1 = map[flows] ll
    r2 = r10
    r2 += -4
    call 1
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 + 0)
    lock *(u64 *)(r0 + 0) += r1
    r7 = r6
    r7 &= 7
    r0 += r7
out:
    if r6 > 5 goto y
    r6 = 1
y:
    r0 = 1
    call f
    r0 = 1
    r0 += 1
    r0 += 1
    r0 += 1
    r0 += 1
    r0 += 1
    r0 += 1
    if r6 > 5 goto z
    r0 = 0
z:
    exit
f:
    r0 = 0
    exit"""
SPILLS = """
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 14
    r0 = 1
    if r4 > r3 goto out
    r0 = 2
    exit
out:
    if r0 == 1 goto x
    r0 = 2
x:
    r6 = r10
    r6 += -8
    *(u32 *)(r10 - 4) = r0
    *(u8 *)(r10 - 12) = r0
    *(u64 *)(r10 - 24) = r1
    r0 = *(u8 *)(r2 + 14)
    exit"""
NUMBERS = """
    r7 = *(u32 *)(r1 + 8)
    r6 = *(u32 *)(r1 + 12)
    r6 &= 65535
    r6 += -70000
    r9 = -5
    r9 <<= 20
    w9 s>>= 3
    r8 = 0x123456789 ll
    r0 = 0
    if r6 s> 5 goto g
    r0 = r6
    r0 *= 3
    exit
g:
    exit"""

WIDE = """
    r6 = 0x123456789 ll
    r7 = *(u32 *)(r1 + 12)
    call f
    r8 = 0x100000000 ll
    if r7 > 5 goto small
    r8 = 0x200000001 ll
    r0 = r8
    exit
small:
    r7 &= 3
    if r7 == 2 goto out
    r0 = r6
out:
    exit
f:
    r0 = 0x300000000 ll
    exit"""
SIGNS = """
    r6 = *(s8 *)(r10 - 8)
    r6 <<= 32
    r6 s>>= 32
    r7 = *(u64 *)(r10 - 16)
    if w7 s> -7 goto out
    r7 <<= 32
    r8 = *(u64 *)(r10 - 24)
    if w8 s< -5 goto out
    r8 <<= 32
    r8 s>>= 32
    r6 += 128
    r1 = r10
    r1 += -264
    r1 += r6
    *(u8 *)(r1 + 0) = 1
out:
    r0 = 0
    exit"""
"""Low halves that are made numbers of 64 bits, as C does, and one as a place on the stack."""
LOAD = "r9 = 0x123456789 ll\n"
LOGS = {"calls": CALLS, "spills": SPILLS, "numbers": NUMBERS, "signs": SIGNS, "wide": WIDE}
DEEP = "".join(f"f{i}:\ncall f{i + 1}\nexit\n" for i in range(9)) + "f9:\nr0 = 0\nexit"
REFUSED = {
    "loop": "r6 = 0\nagain:\nif r6 < 100 goto again\nr0 = 0\nexit",
    "unreachable": "r0 = 0\nexit\nr0 = 1\nexit",
    "reference": "r1 = map[ring] ll\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto out\nr0 = 0\nout:\nexit",
    "other function": "r0 = 0\ncall f\nif r0 == 0 goto f\nexit\nf:\nr0 = 0\nexit",
    "out of the program": "goto +20\nexit",
    "before the program": "r0 = 0\ngoto -20\nexit",
    "middle": "r0 = 0\nif r0 == 0 goto +1\nr1 = 5 ll\nexit",
    "9 frames": f"call f0\nexit\n{DEEP}",
    "9 frames of dead code": f"r0 = 0\nif r0 == 0 goto out\ncall f0\nout:\nexit\n{DEEP}",
    "without an end": "r0 = 0\nif r0 == 0 goto out\ncall f\nout:\nexit\nf:\ncall f\nexit",
    "two without an end": "r0 = 0\nif r0 == 0 goto out\ncall f\nout:\nexit\nf:\ncall g\nexit\ng:\ncall f\nexit",
    "stacks": "call f\nexit\nf:\n*(u64 *)(r10 - 304) = 0\ncall g\nexit\ng:\n*(u64 *)(r10 - 224) = 0\ncall h\nexit\n"
    "h:\nr0 = 0\nexit",
    "the second chain": "call f\ncall g\nexit\nf:\n*(u64 *)(r10 - 304) = 0\ncall h\nexit\n"
    "g:\n*(u64 *)(r10 - 304) = 0\ncall i\nexit\nh:\n*(u64 *)(r10 - 104) = 0\nr0 = 0\nexit\n"
    "i:\n*(u64 *)(r10 - 304) = 0\nr0 = 0\nexit",
    "tail call": "call f\nexit\nf:\nr1 = r1\nr2 = map[ring] ll\nr3 = 0\ncall bpf_tail_call\nr0 = 0\nexit",
    "packet load": "r6 = r1\ncall f\nexit\nf:\nr6 = r1\nr0 = *(u8 *)skb[0]\nexit",
}
"""Programs that are refused with a number in the message, or a place; each gets a 64-bit load before it."""
RING = MapSpec(MapType.RINGBUF, 0, 0, 4096)


class TestWords:
    @pytest.mark.parametrize(
        ("scalar", "text"),
        [
            (Scalar.unknown(), ""),
            (Scalar.bounded(0, 10), "smin=smin32=0,smax=umax=smax32=umax32=10,var_off=(0x0; 0xf)"),
            (Scalar.bounded(0, 0xFFFF_FFFF), "smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)"),
            (Scalar.bounded(11, 0xFFFF_FFFF), "smin=umin=umin32=11,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)"),
            (Scalar.bounded(0, 70000), "smin=smin32=0,smax=umax=smax32=umax32=0x11170,var_off=(0x0; 0x1ffff)"),
        ],
    )
    def test_ranges(self, scalar: Scalar, text: str) -> None:
        assert ranges_text(scalar) == text

    @pytest.mark.parametrize(
        ("register", "text"),
        [
            (known(5), "5"),
            (known(-32768), "-32768"),
            (known(-32769), "0xffffffffffff7fff"),
            (known(32768), "0x8000"),
            (number(Scalar.unknown()), "scalar()"),
            (number(Scalar.unknown()).but(id=3, delta=8), "scalar(id=3+8)"),
            (Register(Kind.STACK, Scalar.const(0), offset=-16), "fp-16"),
            (Register(Kind.STACK, Scalar.const(0), frame=1), "fp[1]0"),
            (Register(Kind.PACKET, Scalar.const(0), offset=14, range=-2), "pkt(off=14,r=0xfffffffffffffffe)"),
            (
                Register(Kind.MAP_VALUE, Scalar.const(0), nullable=True, id=1, map=FLOWS),
                "map_value_or_null(id=1,ks=4,vs=8)",
            ),
            (Register(Kind.MEMORY, Scalar.const(0), size=8, ring=True, reference=4), "ringbuf_mem(ref_obj_id=4,sz=8)"),
            (Register(Kind.MEMORY, Scalar.const(4), size=8, read_only=True), "rdonly_mem(sz=8,imm=4)"),
        ],
    )
    def test_registers(self, register: Register, text: str) -> None:
        assert register_text(register) == text

    @pytest.mark.parametrize(
        ("kinds", "register", "text"),
        [
            (b"\1" * 8, known(7), "7"),
            (b"\1\1\1\1\0\0\0\0", known(7), "????7"),
            (b"\0\0\0\0\2\2\2\2", None, "mmmm????"),
            (b"\3" * 8, None, "00000000"),
        ],
    )
    def test_slots(self, kinds: bytes, register: Register | None, text: str) -> None:
        assert slot_text(Slot(kinds, register)) == text

    def test_frames(self) -> None:
        state = State([Frame(0, 0), Frame(1, 5, 3)])
        state.frames[0].registers[3] = known(1)
        state.frames[1].stack[-2] = Slot(b"\2" * 8, None)
        state.references = ((4, 0), (5, 2))
        assert frame_text(state) == "frame1: R10=fp0 fp-16=mmmmmmmm refs=4,5"
        assert frame_text(state, 0, registers=[3], slots=[]) == "R3=1"

    @pytest.mark.parametrize(
        ("line", "text"),
        [
            ("w1 s>>= w2", "(cc) w1 s>>= w2"),
            ("r1 = -r1", "(87) r1 = -r1"),
            ("r1 = be16 r1", "(dc) r1 = be16 r1"),
            ("r1 = (s8)r2", "(bf) r1 = (s8)r2"),
            ("r1 = *(s16 *)(r2 - 4)", "(89) r1 = *(s16 *)(r2 -4)"),
            ("*(u8 *)(r10 - 1) = 5", "(72) *(u8 *)(r10 -1) = 5"),
            ("if w1 s< -1 goto +0", "(c6) if w1 s< 0xffffffff goto pc+0"),
            ("r0 = *(u16 *)skb[12]", "(28) r0 = *(u16 *)skb[12]"),
            ("r0 = *(u8 *)skb[r3 + 2]", "(50) r0 = *(u8 *)skb[r3 + 2]"),
            ("r1 = 0x123456789 ll", "(18) r1 = 0x123456789"),
            ("r3 = atomic_fetch_or((u64 *)(r10 - 8), r3)", "(db) r3 = atomic64_fetch_or((u64 *)(r10 -8), r3)"),
            ("r3 = xchg_64(r10 - 8, r3)", "(db) r3 = atomic64_xchg((u64 *)(r10 -8), r3)"),
            ("goto +0", "(05) goto pc+0"),
            ("may_goto +0", "(e5) may_goto pc+0"),
            ("call kfunc bpf_iter_num_new", "(85) call bpf_iter_num_new"),
            ("call kfunc 7", "(85) call kernel-function"),
            ("exit", "(95) exit"),
        ],
    )
    def test_instructions(self, line: str, text: str) -> None:
        assert instruction_text(assemble(f"{line}\nexit"), 0) == text


class TestShape:
    def test_of_an_accepted_program_level_1_has_what_it_took(self) -> None:
        verdict = verify(assemble("r0 = 0\nexit"), type=XDP)
        assert verdict.log() == (
            "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
        )

    def test_of_a_refused_one_the_way(self) -> None:
        lines = verify(assemble(SPILLS), type=XDP).log(1).splitlines()
        assert lines[0] == "0: R1=ctx() R10=fp0"
        assert lines[6].startswith("5: (2d) if r4 > r3 goto pc+2 8: R0=1 R1=ctx() R2=pkt(r=0)")
        assert lines[7] == "8: (15) if r0 == 0x1 goto pc+1        ; R0=1"
        assert lines[-3] == "15: (71) r0 = *(u8 *)(r2 +14)"

    @pytest.mark.parametrize("level", [0, 3, -1, "1", None])
    def test_levels(self, level: object) -> None:
        with pytest.raises(BpfMisuseError):
            verify(assemble("r0 = 0\nexit"), type=XDP).log(level)  # type: ignore[arg-type]

    def test_texts_say_slots_and_the_verdict_an_index(self) -> None:
        program = assemble(LOAD + "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 1)\nexit", type=XDP)
        verdict = verify(program, witness=True)
        assert (verdict.instruction, verdict.slot) == (2, 3)
        witness = verdict.witness
        assert isinstance(witness, Witness)
        assert (witness.instruction, witness.slot, witness.to_json()["slot"]) == (2, 3, 3)
        assert "instruction 3: invalid access" in str(verdict)
        assert ", instruction 3 does it: " in str(verdict)
        assert repr(witness).startswith("<Witness: instruction 3,")
        assert "Instruction 3:" in witness._repr_html_()
        result = program.run(witness.inputs.packet, trace=True, engine="reference")
        fault, trace = result.fault, result.trace
        assert fault is not None
        assert trace is not None
        assert (fault.instruction, fault.slot) == (2, 3)
        assert str(fault).startswith("instruction 3: ")
        assert fault.error().instruction == 2
        assert "instruction 3" in str(fault.error())
        assert [line.split(":")[0].strip() for line in str(trace).splitlines()] == ["0", "2", "3"]
        batch = program.run_batch(PacketArena.pack([witness.inputs.packet] * 2))
        assert batch.fault(1) == fault
        assert str(batch.fault(1)).startswith("instruction 3: ")

    def test_of_what_no_way_was_gone_of(self) -> None:
        assert verify(b"\xff" * 8, type=XDP).log(2).count("\n") == 2
        assert "unreachable insn 1" in verify(assemble("exit\nexit"), type=XDP).log(2)

    def test_it_keeps_its_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from prestocloud_sec.bpf.verifier import log

        text = "r6 = 0\nagain:\nr6 += 1\nif r6 < 300 goto again\nr0 = *(u8 *)(r6 + 0)\nexit"
        whole = verify(assemble(text), type=XDP).log(1)
        monkeypatch.setattr(log, "_MOST_LINES", 20)
        cut = verify(assemble(text), type=XDP).log(1)
        assert whole.endswith(cut[cut.index("\n") + 1 :])
        assert 20 <= cut.count("\n") <= 43


def kernel_log(program: Program, level: int, maps: list[linux.KernelMap]) -> str:
    try:
        with linux.KernelProgram.load(program, type=XDP, license="GPL", maps=maps, log_level=level) as loaded:
            return loaded.log
    except LoadError as error:
        return error.log


@pytest.mark.skipif(not linux.available(), reason="bpf(2) is not allowed here")
class TestKernel:
    @pytest.mark.parametrize("level", [1, 2])
    @pytest.mark.parametrize("text", LOGS.values(), ids=LOGS)
    def test_the_kernel_writes_the_same(self, text: str, level: int) -> None:
        program = assemble(text, type=XDP)
        ours = plain(verify(program, maps=[FLOWS]).log(level))
        with linux.KernelMap(MapType.HASH, key_size=4, value_size=8, max_entries=2, name="flows") as flows:
            theirs = plain(kernel_log(program, level, [flows]))
        assert ours == theirs

    @pytest.mark.parametrize("name", REFUSED)
    def test_messages_count_as_the_kernel_does(self, name: str) -> None:
        program = assemble(LOAD + REFUSED[name], license="GPL", type=ProgramType.SCHED_CLS)
        verdict = verify(program, maps=[RING], compare_with_kernel=True)
        kernel = verdict.kernel
        assert kernel is not None
        lines = verdict.log(1).splitlines()
        assert (verdict.accepted, kernel.accepted, verdict.errno) == (False, False, kernel.errno)
        assert verdict.message in kernel.log.splitlines()
        assert lines[-2] == verdict.message
        if name != "reference":  # the kernel says more there
            assert kernel.message == verdict.message

    def test_straight_programs_of_numbers(self) -> None:
        rng = random.Random(5)
        for _ in range(40):
            lines = ["r0 = *(u32 *)(r1 + 12)", "r2 = *(u32 *)(r1 + 16)", "r3 = r2"]
            for _ in range(rng.randrange(3, 12)):
                letter = rng.choice("rw")
                op = rng.choice(["+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>=", "s>>="])
                right = str(rng.choice([1, 3, 7, 31])) if "<" in op or ">" in op or rng.random() < 0.5 else f"{letter}2"
                lines.append(f"{letter}{rng.choice([0, 2, 3])} {op} {right}")
            program = assemble("\n".join([*lines, "exit"]), type=XDP)
            assert plain(verify(program).log(2)) == plain(kernel_log(program, 2, []))
