# SPDX-License-Identifier: Apache-2.0
"""Filters that tcpdump compiled, over recorded packets, and classic programs that the kernel accepts or refuses.

A case is one entry of ``filters`` (all packets, on the readable interpreter and, translated, on every engine) or of
``invalid``. ``uncompilable`` judges compilers of filter expressions, which this project has not: no case here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf import ClassicProgram
from prestocloud_sec.bpf.classic import PacketMetadata
from prestocloud_sec.bpf.errors import ClassicError
from tests.conformance.bpf_programs import ENGINES, bytes_of
from tests.conformance.family import Case, Family

UNIX = PacketMetadata()
"""What packets between two AF_UNIX sockets have beside their bytes: nothing."""


class Packets:
    """The packets of one document, packed once."""

    def __init__(self, document: Case) -> None:
        self.document = document
        self.packets = [bytes.fromhex(packet["hex"]) for packet in document["packets"]]
        self.arena = PacketArena.pack(self.packets)


_LAST: list[Packets] = []


def packets_of(document: Case) -> Packets:
    """Return the packets of a document, kept until another document comes."""
    if not _LAST or _LAST[0].document is not document:
        _LAST[:] = [Packets(document)]
    return _LAST[0]


def digits(values: Iterable[Any]) -> str:
    """Return 0 or 1 for each value, as the file tells matches."""
    return "".join("1" if value else "0" for value in values)


def compare_filter(case: Case, document: Case) -> None:
    known = packets_of(document)
    program = ClassicProgram.from_bytes(bytes_of(case))
    assert len(program) == case["n_insns"]
    assert ClassicProgram.from_ddd(program.to_ddd()) == program
    program.check()
    assert case["kernel_attach_errno"] is None
    values = [program.run(packet) for packet in known.packets]
    assert digits(values) == case["match"]
    assert sorted(set(values) - {0}) == case["retval_nonzero"]
    for engine in ENGINES:
        batch = program.run_batch(known.arena, engine=engine)
        assert not batch.faults.any(), engine
        assert np.array_equal(batch.values, np.array(values, np.uint64)), engine
    sent = [bool(program.run(packet, metadata=UNIX)) if packet else None for packet in known.packets]
    assert "".join("-" if kept is None else str(int(kept)) for kept in sent) == case["kernel_match"]
    pairs = zip(values, sent, strict=True)
    differing = [index for index, (value, kept) in enumerate(pairs) if kept not in (None, bool(value))]
    assert differing == case["kernel_vs_libpcap_differs"]


def compare_program(case: Case, document: Case) -> None:
    refused = None
    try:
        ClassicProgram.from_bytes(bytes_of(case)).to_ebpf()
    except ClassicError as error:
        refused = error.symbol
    assert len(bytes_of(case)) == 8 * case["n_insns"]
    assert ("ACCEPT" if refused is None else "REJECT") == case["kernel_verdict"]
    assert refused == case["kernel_errno"]


def compare(case: Case, document: Case) -> None:
    (compare_program if "kernel_verdict" in case else compare_filter)(case, document)


def cases(document: Case) -> list[Case]:
    return [*document["filters"], *document["invalid"]]


_OF_ANOTHER_MACHINE = ("libpcap_validate",)
"""What libpcap's own checker says: of the programs in ``invalid`` it accepts others than the kernel does."""

FILES = {
    "cbpf_filters.json": Family(compare, frozenset({"expr", "optimized", "name", *_OF_ANOTHER_MACHINE}), cases),
}
