# SPDX-License-Identifier: Apache-2.0
"""The readable interpreter against the running kernel, against libpcap's recorded answers, and by hand."""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf.classic import Ancillary, ClassicProgram, PacketMetadata, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.testing.bpf_classic import metadata, nearly_programs, programs
from tests.bpf.classic.kernel import LONG, UNIX, filtered, shown_by_kernel, shown_here
from tests.bpf.classic.test_checker import VECTORS, code_of

PACKETS = [bytes.fromhex(packet["hex"]) for packet in VECTORS["packets"]]
KNOWN_OF_UNIX = [which for which in Ancillary if which not in {Ancillary.CPU, Ancillary.RANDOM}]
"""Ancillary data of which a packet between AF_UNIX sockets has always the same."""


def long_packets() -> st.SearchStrategy[bytes]:
    few = st.binary(min_size=LONG, max_size=LONG) | st.integers(0, 255).map(lambda byte: bytes([byte]) * LONG)
    return few | st.binary(min_size=64, max_size=64).map(lambda start: (start * 8)[:400])


@settings(max_examples=300)
@given(programs(ending=(), ancillary=KNOWN_OF_UNIX), long_packets())
@example(assemble("ldx #33\nld #1\nlsh x"), bytes(LONG))
@example(assemble("ldx #-1\nldb [x + 2]"), b"\x01\x02" + bytes(LONG))
@example(assemble("ld #7\nld ifidx"), bytes(LONG))
@example(assemble("ld #7\nld hatype"), bytes(LONG))
def test_the_kernel_computes_the_same(program: ClassicProgram, packet: bytes) -> None:
    """All 32 bits of A at the end of a program that never returns before."""
    assert len(packet) >= LONG
    assert shown_here(program, packet) == shown_by_kernel(program, packet)


@given(programs(ancillary=KNOWN_OF_UNIX), st.binary(min_size=1, max_size=120))
def test_the_kernel_keeps_as_much(program: ClassicProgram, packet: bytes) -> None:
    """Short packets, into which many loads do not fit."""
    with filtered() as pair:
        assert pair.refusal(program.to_bytes()) is None
        assert min(program.run(packet, metadata=UNIX), len(packet)) == pair.kept(packet)


@given(nearly_programs(max_size=8), st.binary(min_size=1, max_size=60))
def test_nearly_programs_as_well(code: bytes, packet: bytes) -> None:
    with filtered() as pair:
        if pair.refusal(code) is None:
            program = ClassicProgram.from_bytes(code)
            drawn = {i.ancillary for i in program if hasattr(i, "ancillary")} & {Ancillary.CPU, Ancillary.RANDOM}
            if not drawn:
                assert min(program.run(packet, metadata=UNIX), len(packet)) == pair.kept(packet)


@pytest.mark.parametrize("row", VECTORS["filters"], ids=lambda row: row["expr"][:60])
def test_recorded_filters(row: dict[str, Any]) -> None:
    """Libpcap's answers to 334 packets, and the kernel's."""
    if row.get("kernel_attach_errno"):
        return  # it jumps backwards, and is refused: see the checker's tests
    program = ClassicProgram.from_bytes(code_of(row))
    values = [program.run(packet) for packet in PACKETS]
    assert "".join("01"[bool(value)] for value in values) == row["match"]
    assert sorted({value for value in values if value}) == sorted(row.get("retval_nonzero", {v for v in values if v}))
    for value, kernel in zip(values, row["kernel_match"], strict=True):
        assert kernel in {"-", "01"[bool(value)]}


LIBPCAP = ctypes.util.find_library("pcap")
if LIBPCAP is not None:  # its answers are recorded above; where it is installed it is asked about more

    @given(programs(portable=True), st.binary(max_size=120))
    def test_libpcap_returns_the_same(program: ClassicProgram, packet: bytes) -> None:
        run = ctypes.CDLL(LIBPCAP).bpf_filter
        run.restype = ctypes.c_uint32
        code = ctypes.create_string_buffer(program.to_bytes())
        assert program.run(packet) == run(code, packet, len(packet), len(packet))


# --- Ancillary data, by what the documentation says of each.

FRAME = PacketMetadata(
    protocol=0x86DD,
    pkt_type=3,
    ifindex=7,
    mark=0xDEADBEEF,
    queue=12,
    hatype=772,
    rxhash=0x89ABCDEF,
    cpu=5,
    vlan_tci=0x1064,
    vlan_present=True,
    vlan_tpid=0x88A8,
    pay_offset=54,
    network_offset=2,
    mac_offset=1,
    random=lambda: 4_000_000_000,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ld proto", 0x86DD),
        ("ldb proto", 0x86DD),  # the size does not matter
        ("ld type", 3),
        ("ld ifidx", 7),
        ("ld mark", 0xDEADBEEF),
        ("ld queue", 12),
        ("ld hatype", 772),
        ("ld rxhash", 0x89ABCDEF),
        ("ld cpu", 5),
        ("ld vlan_tci", 0x1064),
        ("ld vlan_avail", 1),
        ("ld vlan_tpid", 0x88A8),
        ("ld poff", 54),
        ("ld rand", 4_000_000_000),
        ("ldx #5\nld #3\nld [0xfffff028]", 6),  # A ^ X
        ("ld len", 6),
        ("ldx len\ntxa", 6),
        ("ldb [0xfff00000]", 0x22),  # from the network header
        ("ldh [0xffe00001]", 0x2233),  # from the link-layer header
        ("ldx #1\nldb [x + 0xfff00000]", 0x33),
        ("ldb [0xfff00004]", 0),  # behind the end
        ("ldb [0xffdfffff]", 0),  # counts from nothing
        ("ldb [0x80000000]", 0),
        ("ldxb 4*([0xffe00000]&0xf)\ntxa", 4),
        ("ld #7\nldb [6]", 0),
        ("ld #9\nldx #0\ndiv x", 0),
        ("ld #9\nldx #0\nmod x", 0),
        ("ld #1\nneg\nrsh #31", 1),
        ("ld #1\nneg", 0xFFFFFFFF),
        ("ld #5\nsub #6", 0xFFFFFFFF),
        ("ld #0x10000\nmul #0x10000", 0),
    ],
)
def test_by_hand(text: str, value: int) -> None:
    packet = bytes.fromhex("001122334455")
    assert assemble(f"{text}\nret a").run(packet, metadata=FRAME) == value


def test_without_a_device_a_program_ends_with_a() -> None:
    """So does the kernel's translation, as `test_the_kernel_computes_the_same` shows."""
    for name in ("ifidx", "hatype"):
        assert assemble(f"ld #41\nld {name}\nret #99").run(b"", metadata=PacketMetadata()) == 41


def test_frames_that_lie_in_several_pieces() -> None:
    """Loads from a header, and the search for attributes, see only the first piece; other loads see all."""
    packet = attribute(1, b"abcd") + attribute(2, b"efgh")
    whole, parts = PacketMetadata(), PacketMetadata(linear_length=10)
    for text, in_one, in_two in (
        ("ldb [0xfff0000c]", ord("e"), 0),
        ("ldx #2\nld nla", 8, 0),
        ("ldb [15]", ord("h"), ord("h")),
        ("ldb [0xfff00004]", ord("a"), ord("a")),
    ):
        program = assemble(f"{text}\nret a")
        assert program.run(packet, metadata=whole) == in_one
        assert program.run(packet, metadata=parts) == in_two


# --- Netlink attributes.


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes() -> st.SearchStrategy[bytes]:
    kinds = st.integers(0, 5) | st.integers(0x8000, 0x8005)
    one = st.builds(attribute, kinds, st.binary(max_size=9))
    nested = st.builds(attribute, kinds, st.lists(one, max_size=3).map(b"".join))
    return st.lists(one | nested | st.binary(max_size=6), max_size=5).map(b"".join)


@settings(max_examples=150)
@given(attributes(), st.sampled_from(["nla", "nlan"]), st.integers(0, 24) | st.just(0xFFFFFFFF), st.integers(0, 6))
def test_the_kernel_finds_the_same_attributes(data: bytes, name: str, start: int, kind: int) -> None:
    packet = data.ljust(LONG, b"\0")
    program = assemble(f"ldx #{kind}\nld #{start}\nld {name}")
    assert shown_here(program, packet) == shown_by_kernel(program, packet)


def test_attributes_by_hand() -> None:
    packet = attribute(1, b"abc") + attribute(2, attribute(3, b"") + attribute(0x8004, b"xyz")) + attribute(5, b"")
    places = {
        ("nla", 0, 2): 8,
        ("nla", 0, 5): 24,
        ("nla", 8, 1): 0,
        ("nla", 0, 4): 0,
        ("nlan", 8, 3): 12,
        ("nlan", 8, 4): 16,  # the two upper bits of a type are flags
        ("nlan", 8, 5): 0,
        ("nlan", 28, 5): 0,
    }
    for (name, start, kind), place in places.items():
        assert assemble(f"ldx #{kind}\nld #{start}\nld {name}\nret a").run(packet, metadata=UNIX) == place


# --- Arguments.


def test_default_metadata_is_that_of_an_ethernet_frame() -> None:
    frame = bytes(12) + b"\x08\x00" + b"\x45" + bytes(40)
    assert assemble("ld proto\nret a").run(frame) == 0x0800
    assert assemble("ldb [0xfff00000]\nret a").run(frame) == 0x45
    assert assemble("ldb [0xffe0000c]\nret a").run(frame) == 0x08
    assert PacketMetadata.of_frame(b"short") == PacketMetadata(network_offset=5, mac_offset=0)
    assert PacketMetadata.of_frame(frame, mark=3).mark == 3


def test_packets_can_be_any_buffer() -> None:
    program = assemble("ldb [1]\nret a")
    for packet in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
        assert program.run(packet) == ord("b")
    with pytest.raises(MisuseError):
        program.run("ab")  # type: ignore[arg-type]
    with pytest.raises(BpfMisuseError, match=r"metadata: .* is none"):
        program.run(b"", metadata={})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"protocol": 0x10000},
        {"mark": -1},
        {"cpu": None},
        {"ifindex": 1 << 31},
        {"vlan_present": 1},
        {"random": 4},
        {"mac_offset": "0"},
        {"linear_length": -1},
    ],
)
def test_metadata_that_does_not_fit(fields: dict[str, Any]) -> None:
    name = next(iter(fields))
    with pytest.raises(BpfMisuseError, match=rf"PacketMetadata\.{name}: .*does not fit"):
        PacketMetadata(**fields)
    with pytest.raises(BpfMisuseError, match=r"there is no field 'colour'"):
        PacketMetadata.of_frame(b"", colour=1)


def test_random_numbers_that_are_none() -> None:
    program = assemble("ld rand\nret a")
    for wrong in (-1, 1 << 32, None):
        with pytest.raises(BpfMisuseError, match=r"PacketMetadata\.random"):
            program.run(b"", metadata=PacketMetadata(random=lambda wrong=wrong: wrong))
    assert 0 <= program.run(b"") < 1 << 32
    assert len({program.run(b"") for _ in range(4)}) > 1


@given(metadata(), programs(ancillary=list(Ancillary)), st.binary(max_size=120))
def test_any_metadata(given_: PacketMetadata, program: ClassicProgram, packet: bytes) -> None:
    assert 0 <= program.run(packet, metadata=given_) < 1 << 32
