# SPDX-License-Identifier: Apache-2.0
"""Batches give what their packets give one by one, and engines what the readable one gives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ArrayMap, ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.testing.bpf_fuzz import compare

ENGINES = ("reference", "interpreter", "compiled")

TEXTS: dict[str, tuple[str, ProgramType | None]] = {
    "reads": ("r0 = 0\nif r2 < 4 goto out\nr0 = *(u32 *)(r1 + 0)\nout:\nexit", None),
    "faults": ("r0 = *(u32 *)(r1 + 2)\nexit", None),
    "writes": ("r0 = 1\nif r2 < 4 goto out\n*(u16 *)(r1 + 1) = 258\nout:\nexit", None),
    "calls": (
        "r6 = r1\ncall 8\nr1 = r2\ncall f\nexit\nf:\n*(u64 *)(r10 - 8) = 4\nr0 = *(u64 *)(r10 - 8)\nexit",
        None,
    ),
    "loops": ("r0 = 0\nagain:\nr0 += r2\nr2 -= 1\nif r2 s> 0 goto again\nexit", None),
    "xdp": ("r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr0 = r3\nr0 -= r2\nexit", ProgramType.XDP),
    "grows": ("r2 = 8\ncall 65\nexit", ProgramType.XDP),
    "shrinks": ("r6 = r1\nr2 = 2\ncall 44\nr0 = *(u32 *)(r6 + 0)\nexit", ProgramType.XDP),
    "classic": ("r6 = r1\nr0 = *(u16 *)skb[12]\nexit", ProgramType.SOCKET_FILTER),
    "protocol": ("r0 = *(u32 *)(r1 + 16)\nexit", ProgramType.SCHED_CLS),
    "cgroup": ("r0 = *(u32 *)(r1 + 16)\nexit", ProgramType.CGROUP_SKB),
    "mark": ("r0 = *(u32 *)(r1 + 8)\n*(u32 *)(r1 + 8) = 5\nexit", ProgramType.SCHED_CLS),
    "stack": ("r3 = r10\nr3 -= r2\nr0 = *(u8 *)(r3 + 0)\n*(u8 *)(r3 + 0) = 7\nexit", None),
}


class TestBatches:
    @pytest.mark.parametrize("name", TEXTS)
    @pytest.mark.parametrize("engine", ["interpreter", "compiled"])
    def test_as_one_by_one(self, name: str, engine: str) -> None:
        text, type_ = TEXTS[name]
        rng = random.Random(name)
        packets = [rng.randbytes(rng.choice((0, 1, 3, 4, 6, 14, 20, 60, 200))) for _ in range(300)]
        packets[5] = b"\x45" + bytes(30)
        packets[6] = b"\x60" + bytes(30)
        arena = PacketArena.pack(packets)
        program = assemble(text, type=type_)
        expected = program.run_batch(arena, engine="reference", limit=100)
        found = program.run_batch(arena, engine=engine, limit=100)
        assert (found.values == expected.values).all()
        assert (found.faults == expected.faults).all()
        assert (found.instructions == expected.instructions).all()
        assert (found.addresses == expected.addresses).all()
        assert (found.changed == expected.changed).all()
        assert [bytes(p) for p in found.packets] == [bytes(p) for p in expected.packets]
        assert [bytes(p) for p in arena] == packets
        for index in range(0, 300, 37):
            assert found.fault(index) == expected.fault(index)

    @pytest.mark.parametrize("engine", ENGINES)
    def test_maps_keep_what_runs_did(self, engine: str) -> None:
        table = ArrayMap(8, 1)
        text = """
            *(u32 *)(r10 - 4) = 0
            r6 = r2
            r2 = r10
            r2 += -4
            r1 = map[table]
            call 1
            if r0 == 0 goto out
            lock *(u64 *)(r0 + 0) += r6
        out:
            r0 = 0
            exit"""
        arena = PacketArena.pack([bytes(n) for n in range(10)])
        assemble(text).run_batch(arena, maps={"table": table}, engine=engine)
        assert int(np.asarray(table.values)[:8].view(np.uint64)[0]) == 45

    def test_nothing_to_do(self) -> None:
        assert len(assemble("r0 = 0\nexit").run_batch(PacketArena.pack([]), engine="compiled")) == 0

    @pytest.mark.parametrize("arena", [None, [b"x"], b"x"])
    def test_what_is_no_arena(self, arena: Any) -> None:
        with pytest.raises(BpfMisuseError):
            assemble("r0 = 0\nexit").run_batch(arena)

    def test_representations(self) -> None:
        result = assemble("r0 = *(u8 *)(r1 + 2)\nexit").run_batch(
            PacketArena.pack([b"abc", b"a"]), engine="interpreter"
        )
        assert "2 runs, 1 faults" in repr(result)
        assert "read" in result._repr_html_()
        with pytest.raises(BpfMisuseError):
            result.fault(2)


def test_engines_agree_on_generated_programs() -> None:
    """The same comparison that has run over very many more; see benchmarks/RESULTS.md."""
    outcome = compare(seed=11, programs=256)
    assert outcome.programs == 256
    assert outcome.differences == []
    assert outcome.ends["value"] > 64


def test_the_function_run_is_there_after_a_batch() -> None:
    """A module of the same name would take its place in the package as soon as something imports it."""
    from prestocloud_sec.bpf import vm

    assemble("r0 = 7\nexit").run_batch(PacketArena.pack([b"x"]))
    assert vm.run(assemble("r0 = 7\nexit"), b"").value == 7
