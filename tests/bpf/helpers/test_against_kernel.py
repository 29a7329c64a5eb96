# SPDX-License-Identifier: Apache-2.0
"""Helpers beside the running kernel's: the same program, the same packet, the same result.

A program is run by the kernel's test run and by our readable engine; r0 and the packet afterwards must be equal. The
inputs are random, from fixed seeds.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.linux import KernelProgram, available

pytestmark = pytest.mark.skipif(not available(), reason="kernel lacks bpf(2) for this user")

DELTAS = (0, 1, 4, -4, 8, -8, 14, 50, 51, -215, -216, -217, -252, -256, 64, 3455, 3456, 3457, -50, -51, (1 << 31) - 1)
NUMBERS = (b"12", b"-12", b"0x1f", b"017", b"  7x", b"abc", b"-", b"9" * 20, b"0x", b"-9223372036854775808")
XDP, TC = ProgramType.XDP, ProgramType.SCHED_CLS
ETHERNET = bytes(12) + b"\x08\x00"
IPV4 = bytes.fromhex("450000281234400040060000c0a80001c0a80002")


def frame(rng: random.Random, size: int = 64) -> bytes:
    """Return an IPv4 frame with random bytes behind its headers."""
    return ETHERNET + IPV4 + rng.randbytes(size - len(ETHERNET) - len(IPV4))


def compare(program: Program, packet: bytes, **options: Any) -> tuple[int, bytes]:
    """Run a program on both; return what they agree on."""
    kernel = KernelProgram.load(program).test_run(packet)
    ours = program.run(packet, engine="reference", **options)
    assert ours.fault is None, (ours.fault, program.disassemble())
    told = program.disassemble()
    assert ours.retval == kernel.value, f"{told}\nkernel {kernel.value:#x}, ours {ours.retval:#x}"
    packet = kernel.packet  # of an XDP program, with the metadata before it
    assert packet[-len(ours.packet) or len(packet) :] == ours.packet, (
        f"{told}\nkernel {kernel.packet.hex()}\nours   {ours.packet.hex()}"
    )
    return kernel.value, kernel.packet


def written(data: bytes, below: int) -> str:
    """Return instructions that write bytes to the stack, `below` bytes under its end."""
    data = data.ljust(-len(data) % 8 + len(data), b"\0")
    lines = []
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at : at + 8], "little")
        lines += [f"r0 = {word:#x} ll", f"*(u64 *)(r10 - {below - at}) = r0"]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(12))
def test_csum_diff(seed: int) -> None:
    rng = random.Random(seed)
    old, new = (rng.randbytes(rng.choice((0, 4, 8, 20, 32, 6))) for _ in range(2))
    if seed == 0:
        old = new = bytes(8)
    text = f"""
        {written(old or bytes(8), 64)}
        {written(new or bytes(8), 128)}
        r1 = r10
        r1 += -64
        r2 = {len(old)}
        r3 = r10
        r3 += -128
        r4 = {len(new)}
        r5 = {rng.choice((0, 1, rng.getrandbits(31)))}
        call 28
        exit"""
    compare(assemble(text, type=TC), frame(rng))


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("number", [10, 11])
def test_checksum_replacement(number: int, seed: int) -> None:
    rng = random.Random(100 + seed)
    flags = rng.choice((0, 2, 4, 4, 2, 1, 3, 0x10 | 4, 0x20 | 2, 0x20 | 4, 0x60 | 2, 0x100, 0x10))
    offset = rng.choice((24, 24, 50, 36, 25, 63, 62, 70, 0xFFFF, 0x10000))
    packet = bytearray(frame(rng))
    if seed % 3 == 0:
        packet[24:26] = packet[36:38] = packet[50:52] = bytes(2)
    old = 0 if flags & 15 == 0 and seed % 2 else rng.getrandbits(31)
    text = f"""
        r6 = r1
        r2 = {offset}
        r3 = {old}
        r4 = {rng.getrandbits(31)}
        r5 = {flags}
        call {number}
        exit"""
    compare(assemble(text, type=TC), bytes(packet))


@pytest.mark.parametrize("seed", range(16))
def test_storing_and_loading_bytes(seed: int) -> None:
    rng = random.Random(200 + seed)
    size = rng.choice((1, 2, 6, 8, 16))
    offset = rng.choice((0, 6, 14, 40, 64 - size, 65 - size, 64, 0xFFFFFFFF, 0x7FFFFFFF))
    text = f"""
        r6 = r1
        {written(rng.randbytes(16), 16)}
        r2 = {offset & 0xFFFFFFFF:#x} ll
        r3 = r10
        r3 += -16
        r4 = {size}
        r5 = {rng.choice((0, 0, 1, 2, 3, 0x20))}
        call 9
        r7 = r0
        r1 = r6
        r2 = {rng.choice((0, 14, 40, 64 - size, 70))}
        r3 = r10
        r3 += -16
        r4 = {size}
        call 26
        r7 ^= r0
        r1 = *(u64 *)(r10 - 16)
        r0 = r7
        r0 ^= r1
        exit"""
    compare(assemble(text, type=TC), frame(rng))


@pytest.mark.parametrize(
    ("header", "offset"), [(0, 0), (0, 12), (1, 0), (1, 9), (1, 48), (1, 50), (2, 0), (0, 0x10000)]
)
def test_loading_bytes_relative_to_a_header(header: int, offset: int) -> None:
    text = f"""
        r2 = {offset}
        r3 = r10
        r3 += -8
        r4 = 2
        r5 = {header}
        call 68
        r1 = *(u16 *)(r10 - 8)
        r0 <<= 16
        r0 |= r1
        exit"""
    compare(assemble(text, type=TC), frame(random.Random(5)))


@pytest.mark.parametrize("seed", range(16))
def test_vlan_tags(seed: int) -> None:
    rng = random.Random(300 + seed)
    steps = []
    for _ in range(rng.randint(1, 5)):
        if rng.random() < 0.6:
            steps.append(f"r1 = r6\nr2 = {rng.choice((0x0081, 0xA888, 0x1234))}\nr3 = {rng.getrandbits(12)}\ncall 18")
        else:
            steps.append("r1 = r6\ncall 19")
        steps.append("r7 <<= 4\nr7 ^= r0")
    body = "\n".join(steps)
    fields = "".join(f"r1 = *(u32 *)(r6 + {offset})\nr7 *= 31\nr7 += r1\n" for offset in (0, 16, 20, 24, 28))
    compare(assemble(f"r6 = r1\nr7 = 0\n{body}\n{fields}r0 = r7\nexit", type=TC), frame(rng))


@pytest.mark.parametrize("number", [44, 54, 65])
@pytest.mark.parametrize("delta", DELTAS)
def test_moving_the_bounds_of_an_xdp_packet(number: int, delta: int) -> None:
    packet = frame(random.Random(6))
    text = f"r6 = r1\nr2 = {delta}\ncall {number}\nr7 = r0\nr1 = *(u32 *)(r6 + 0)\nr2 = *(u32 *)(r6 + 4)\nr2 -= r1\n"
    text += (
        "r1 = *(u32 *)(r6 + 8)\nr3 = *(u32 *)(r6 + 0)\nr3 -= r1\nr0 = r7\nr0 <<= 12\nr0 += r2\nr0 <<= 9\nr0 += r3\nexit"
    )
    compare(assemble(text, type=XDP), packet)


@pytest.mark.parametrize("steps", [(-4, 44, -8), (-8, 44, 4), (-16, 54, 0), (-252, 44, 14)])
def test_metadata_moves_with_the_head(steps: tuple[int, int, int]) -> None:
    meta, number, delta = steps
    text = f"r6 = r1\nr2 = {meta}\ncall 54\nr7 = r0\nr1 = r6\nr2 = {delta}\ncall {number}\nr7 <<= 8\nr7 ^= r0\n"
    text += "r1 = *(u32 *)(r6 + 8)\nr3 = *(u32 *)(r6 + 0)\nr3 -= r1\nr0 = r7\nr0 <<= 9\nr0 += r3\nexit"
    compare(assemble(text, type=XDP), frame(random.Random(7)))


@pytest.mark.parametrize("number", [189, 190])
@pytest.mark.parametrize(
    ("offset", "size"), [(0, 8), (56, 8), (57, 8), (64, 1), (0xFFFF, 8), (0x10000, 8), (0xFFFFFFFF, 8)]
)
def test_loading_and_storing_bytes_of_an_xdp_packet(number: int, offset: int, size: int) -> None:
    text = f"""
        {written(b"abcdefgh", 8)}
        r2 = {offset:#x} ll
        r3 = r10
        r3 += -8
        r4 = {size}
        call {number}
        r1 = *(u64 *)(r10 - 8)
        r0 ^= r1
        exit"""
    compare(assemble(text, type=XDP), frame(random.Random(8)))


@pytest.mark.parametrize("size", [0, 13, 14, 20, 33, 34, 63, 64, 65, 100, 2000])
@pytest.mark.parametrize("flags", [0, 1])
def test_changing_the_tail(size: int, flags: int) -> None:
    text = f"r6 = r1\nr2 = {size}\nr3 = {flags}\ncall 38\nr7 = *(u32 *)(r6 + 0)\nr0 <<= 16\nr0 += r7\nexit"
    compare(assemble(text, type=TC), frame(random.Random(9)))


@pytest.mark.parametrize(
    ("form", "values"),
    [
        (b"hello\0", ()),
        (b"%d %u %x\0", (5, 6, 255)),
        (b"%d\0", (0xFFFFFFFF,)),
        (b"%lld %llx\0", ((1 << 64) - 5, 1 << 40)),
        (b"%ld\0", (7,)),
        (b"%c%%\0", (65,)),
        (b"%q\0", (1,)),
        (b"no end", ()),
        (b"%d %d %d %d\0", (1, 2, 3)),
        (b"\x01\0", ()),
        (b"%5d|%-5d|%05d\0", (1, 2, 3)),
        (b"%\0", ()),
        (b"%l\0", (1,)),
        (b"\n\t\0", ()),
    ],
)
def test_printing(form: bytes, values: tuple[int, ...]) -> None:
    registers = "\n".join(f"r{3 + index} = {value:#x} ll" for index, value in enumerate(values))
    rest = "\n".join(f"r{index} = 0" for index in range(3 + len(values), 6))
    text = f"{written(form, 64)}\nr1 = r10\nr1 += -64\nr2 = {len(form)}\n{registers}\n{rest}\ncall 6\nexit"
    program = assemble(text, type=TC)
    compare(program, frame(random.Random(10)))


@pytest.mark.parametrize(
    ("number", "text_", "flags"),
    [(number, text, flags) for number in (105, 106) for text in NUMBERS for flags in (0, 10, 16, 8, 2, 0x100)],
)
def test_numbers_in_text(number: int, text_: bytes, flags: int) -> None:
    text = f"""
        *(u64 *)(r10 - 8) = 0
        {written(text_, 64)}
        r1 = r10
        r1 += -64
        r2 = {len(text_)}
        r3 = {flags}
        r4 = r10
        r4 += -8
        call {number}
        r1 = *(u64 *)(r10 - 8)
        r0 *= 1000003
        r0 += r1
        exit"""
    compare(assemble(text, type=TC), frame(random.Random(11)))


@pytest.mark.parametrize(("flags", "interface"), [(0, 1), (1, 1), (2, 1), (0, 9999)])
@pytest.mark.parametrize("type_", [XDP, TC])
def test_redirect(type_: ProgramType, flags: int, interface: int) -> None:
    """Only what the helper returns: it is kept from becoming the verdict, which would send the packet."""
    text = f"r1 = {interface}\nr2 = {flags}\ncall 23\nr0 += 100\nexit"
    compare(assemble(text, type=type_), frame(random.Random(12)))
