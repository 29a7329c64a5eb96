# SPDX-License-Identifier: Apache-2.0
"""What terminals and notebooks show of the objects that a run is made of: what is there, and nothing else."""

from __future__ import annotations

import os
from html.parser import HTMLParser

from prestocloud_sec.bpf import ArrayMap, Builder, Machine, ProgramType, assemble
from prestocloud_sec.bpf.helpers import prototype
from prestocloud_sec.bpf.linux import KernelObject
from prestocloud_sec.bpf.linux.attr import Attr, Command, make_buffer
from prestocloud_sec.bpf.vm import layout

COUNTS = assemble("r1 = map[hits]\nr0 = 2\nexit", type=ProgramType.XDP)


class Cells(HTMLParser):
    """The texts of a table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self.rows[-1].append(data)


def test_memory_shows_the_regions_there_are() -> None:
    machine = Machine(COUNTS, maps={"hits": ArrayMap(8, 2, name="hits")})
    machine.start(bytes(60))
    assert repr(machine.memory) == "<Memory: packet, context, stack frame 0, values of map 'hits'>"
    head, *rows = Cells(machine.memory._repr_html_()).rows
    assert head == ["region", "address", "bytes", "a program may"]
    assert rows == [
        ["packet", hex(layout.PACKET_DATA), "60", "read, write"],
        ["context", hex(1 << 32), "24", "read"],
        ["stack frame 0", hex(2 << 32), "512", "read, write"],
        ["values of map 'hits'", hex(16 << 32), "16", "read, write"],
    ]


def test_packet_and_context() -> None:
    machine = Machine(assemble("r2 = -4\ncall 54\nexit", type=ProgramType.XDP))
    machine.start(bytes(60), {"rx_queue_index": 3})
    assert repr(machine.packet) == f"<Packet of 60 bytes at {layout.PACKET_DATA:#x}>"
    assert repr(machine.context).endswith(", rx_queue_index=0x3>")
    assert "egress_ifindex" not in repr(machine.context)
    machine.packet.adjust_meta(-4)
    assert repr(machine.packet).endswith(", 4 of metadata before it>")
    assert repr(Machine(assemble("exit")).context) == "<Context: 0 bytes>"


def test_what_the_kernel_is_handed() -> None:
    attr = Attr(Command.PROG_LOAD, prog_type=6, insn_cnt=2, insns=make_buffer(16), prog_name="drop")
    assert repr(attr) == "<Attr PROG_LOAD: prog_type=6, insn_cnt=2, insns=..., prog_name='drop'>"
    assert repr(Attr(Command.MAP_FREEZE)) == "<Attr MAP_FREEZE: all 0>"
    descriptor = os.open(os.devnull, os.O_RDONLY)
    with KernelObject(descriptor) as held:
        assert repr(held) == f"<KernelObject: descriptor {descriptor}>"
    assert repr(held) == "<KernelObject: closed>"


def test_what_is_under_construction_and_what_can_be_called() -> None:
    b = Builder()
    b.r0 = b.imm64(1 << 40)
    b.exit()
    assert repr(b) == "<Builder, 3 slots so far>"
    assert repr(prototype(12)) == "<Prototype 12: tail_call(ctx, map, any) -> void>"
    assert repr(ArrayMap("u2", 1).value_codec) == "<DtypeCodec: uint16>"
