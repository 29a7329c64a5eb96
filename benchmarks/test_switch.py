# SPDX-License-Identifier: Apache-2.0
"""What a packet costs in the switch: batches beside the same table-driven loop in C, and one packet in Python.

Every call gets a batch that it has not seen for 63 batches. With the same 4096 labels over and over, a processor learns
the outcome of every branch of the C loop by heart, which no traffic lets it do; that case has a row of its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.conftest import Versus
from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.switch import ROUTER, V3X5X8, RouteLabel, Switch

BATCH, RING = 4096, 64
SIZE = 16  # bytes: the least that is answered with an error

C_LOOP = r"""
#include <stdint.h>
#include <string.h>

/* The rules of cjdns' switch, one packet at a time, with tables for all that a table can give. */
struct director { uint8_t bits; uint16_t number; };
static struct director directors[1024];  /* by the lowest 10 bits of a label */
static uint16_t codes[257][11];          /* director of an interface, by width */
static uint8_t needed[257];              /* width of an interface's smallest director */
static uint8_t states[257];              /* 0 absent, 1 up, 2 down */

void setup(const uint8_t *bits, const uint16_t *numbers, const uint16_t *all, const uint8_t *least, const uint8_t *up) {
    for (int i = 0; i < 1024; i++) { directors[i].bits = bits[i]; directors[i].number = numbers[i]; }
    memcpy(codes, all, sizeof codes);
    memcpy(needed, least, sizeof needed);
    memcpy(states, up, sizeof states);
}

static inline uint64_t reversed(uint64_t x) {
    x = (x & 0x5555555555555555u) << 1 | (x >> 1 & 0x5555555555555555u);
    x = (x & 0x3333333333333333u) << 2 | (x >> 2 & 0x3333333333333333u);
    x = (x & 0x0f0f0f0f0f0f0f0fu) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0fu);
    return __builtin_bswap64(x);
}

static inline int one(uint8_t *header, int64_t length, int source, int32_t *out) {
    *out = -1;
    if (length < 12) return -1;
    uint64_t label;
    memcpy(&label, header, 8);
    label = __builtin_bswap64(label);
    struct director first = directors[label & 1023];
    unsigned bits = first.bits, least = needed[source];
    int error = 0;
    if (first.number == 1 && (label & 15) != 1) {
        error = 1;
    } else if (least > bits) {
        if (first.number != 1) error = 1;
        else if ((label ^ 1) & ((1ull << (least + 4)) - 1)) error = 10;
        else bits = least;
    }
    if (!error) {
        if (!states[first.number]) error = 1;
        else if (states[first.number] == 2 && source != 1) error = 8;
    }
    if (error) {
        if (length < 16) return -4;
        return header[8] & 1 ? -3 : error;
    }
    unsigned shift = (header[9] & 63) + bits;
    if (shift > 63) return -2;
    label = __builtin_bswap64(label >> bits | reversed(codes[source][bits]));
    memcpy(header, &label, 8);
    header[9] = (header[9] & 0xc0) | shift;
    header[10] = header[11] = 0xff;
    *out = first.number;
    return 0;
}

void forward(uint8_t *buffer, const int64_t *offsets, const int64_t *lengths, const int32_t *sources, int64_t count,
             int32_t *out, int8_t *status, int64_t *counts) {
    for (int64_t i = 0; i < count; i++) {
        int state = one(buffer + offsets[i], lengths[i], sources[i], out + i);
        status[i] = state;
        counts[state + 4]++;
    }
}
"""


def _pointer(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _full_switch() -> Switch:
    switch = Switch()
    while switch.free:
        switch.add_interface()
    return switch


class Peer:
    """The C loop, set up for a switch with all 257 interfaces, and the arrays it writes to."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        numbers = V3X5X8.numbers
        codes = np.zeros((numbers.count, 11), np.uint16)
        for number, returns in enumerate(numbers.returns):
            for width in returns:
                codes[number, width] = numbers.compress(number, width)
        tables = [
            np.array([width for width, _ in numbers.table], np.uint8),
            np.array([number for _, number in numbers.table], np.uint16),
            codes,
            np.array([numbers.width_for(number) for number in range(numbers.count)], np.uint8),
            np.ones(numbers.count, np.uint8),
        ]
        self._library.setup(*(ctypes.c_void_p(_pointer(table)) for table in tables))
        self.out, self.status, self.counts = np.empty(BATCH, np.int32), np.empty(BATCH, np.int8), np.zeros(15, np.int64)
        self._forward = self._library.forward
        self._forward.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] + [ctypes.c_void_p] * 3
        self._forward.restype = None
        self._results = [_pointer(array) for array in (self.out, self.status, self.counts)]

    def prepare(self, arena: PacketArena, sources: NDArray[np.int32]) -> Callable[[], None]:
        arrays = [_pointer(array) for array in (arena.buffer, arena.offsets, arena.lengths, sources)]
        arguments = (*arrays, len(arena), *self._results)
        return lambda: self._forward(*arguments)


@dataclass(frozen=True)
class Traffic:
    """Batches of packets, each a header and four bytes, and where each packet came from."""

    packets: NDArray[np.uint8]  # (batches, packets, 16)
    sources: NDArray[np.int32]  # (batches, packets)


def _packets(labels: NDArray[np.uint64]) -> NDArray[np.uint8]:
    packets = np.zeros((*labels.shape, SIZE), np.uint8)
    packets[..., :8] = labels.astype(">u8").view(np.uint8).reshape(*labels.shape, 8)
    packets[..., 9] = 0x40
    return packets


def random_labels(batches: int) -> Traffic:
    """64 random bits from a random interface: a third goes on."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2**64, (batches, BATCH), dtype=np.uint64)
    return Traffic(_packets(labels), rng.integers(0, 257, (batches, BATCH), dtype=np.int32))


def good_labels(batches: int) -> Traffic:
    """Routes of random hops, the first director wide enough for the way back: all go on."""
    rng = np.random.default_rng(2)
    numbers = V3X5X8.numbers
    sources = rng.integers(0, 257, (batches, BATCH), dtype=np.int32)
    onward = rng.integers(0, 257, (batches, BATCH))
    onward[onward == ROUTER] = 0
    first = np.empty((257, 257), np.uint64)
    for source, returns in enumerate(numbers.returns):
        for number, other in enumerate(numbers.returns):
            width = min(set(returns) & set(other))
            first[source, number] = 1 << width | numbers.compress(number, width)
    director = first[sources, onward]
    width = np.frexp(director.astype(float))[1].astype(np.uint64) - np.uint64(1)
    beyond = rng.integers(1 << 30, 1 << 40, (batches, BATCH), dtype=np.uint64)
    return Traffic(_packets(director - (np.uint64(1) << width) | beyond << width), sources)


CASES = [
    ("switch, batch of 4096 random labels", random_labels, RING, 0.7, "labels new in every batch"),
    ("switch, batch of 4096 labels that go on", good_labels, RING, None, "labels new in every batch"),
    ("switch, the same 4096 random labels each time", random_labels, 1, None, "C's branches learned by heart"),
]


@pytest.mark.parametrize(("name", "traffic", "ring", "target", "note"), CASES, ids=[case[0] for case in CASES])
def test_batch(
    versus: Versus,
    c_library: Callable[[str], Path],
    name: str,
    traffic: Callable[[int], Traffic],
    ring: int,
    target: float | None,
    note: str,
) -> None:
    batches = traffic(ring)
    switch, peer = _full_switch(), Peer(c_library(C_LOOP))
    ours, theirs = PacketArena.uniform(BATCH, SIZE), PacketArena.uniform(BATCH, SIZE)
    flat = [packets.reshape(-1) for packets in batches.packets]
    sources = [np.ascontiguousarray(row) for row in batches.sources]
    calls = [peer.prepare(theirs, row) for row in sources]
    turn = {"ours": 0, "theirs": 0}

    def run_ours() -> Any:
        turn["ours"] = at = (turn["ours"] + 1) % ring
        np.copyto(ours.buffer, flat[at])
        return switch.forward_batch(ours, sources[at])

    def run_theirs() -> None:
        turn["theirs"] = at = (turn["theirs"] + 1) % ring
        np.copyto(theirs.buffer, flat[at])
        calls[at]()

    result, _ = run_ours(), run_theirs()
    assert (ours.buffer == theirs.buffer).all()
    assert (result.out_interface == peer.out).all()
    assert (result.status == peer.status).all()
    share = (result.status == 0).mean()
    versus(
        name,
        run_ours,
        run_theirs,
        against="the same table-driven loop in C",
        target=target,
        units=BATCH,
        note=f"per packet; {note}; {share:.0%} go on; both copy the batch in first",
    )


def test_one_packet(versus: Versus) -> None:
    switch = _full_switch()
    packet = RouteLabel.from_path([4, 0, 40], V3X5X8).to_bytes(8, "big") + bytes((0, 0x40, 0, 0)) + bytes(1388)
    versus.report(
        "switch, one packet in Python", lambda: switch.forward(2, packet), note="Switch.forward, 1400 B copied"
    )


def test_one_label(versus: Versus) -> None:
    switch = _full_switch()
    label = int(RouteLabel.from_path([4, 0, 40], V3X5X8))
    versus.report("switch, one label in Python", lambda: switch.step(2, label), note="Switch.step, the label alone")
