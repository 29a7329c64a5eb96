# SPDX-License-Identifier: Apache-2.0
"""Batches through the switch: the same outcomes as one packet after the other, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.constants import ErrorType
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.switch import (
    ROUTER,
    V3X5X8,
    Drop,
    DropReason,
    EncodingScheme,
    ErrorReply,
    Forward,
    Outcome,
    RouteLabel,
    Switch,
)
from prestocloud_sec.testing.switch import BUILT_IN, switch_packets, switches


def _status(outcome: Outcome) -> tuple[int, int]:
    match outcome:
        case Forward(interface, _):
            return interface, 0
        case ErrorReply(_, _, error):
            return -1, int(error)
        case Drop(reason):
            return -1, int(reason)


def _compare(switch: Switch, packets: list[bytes], sources: list[int], *, room: int = 0) -> None:
    """Forward the packets one by one and as a batch, and compare everything."""
    outcomes = [switch.forward(source, packet) for source, packet in zip(sources, packets, strict=True)]
    counted = switch.counters
    arena = PacketArena.pack(packets, headroom=room, tailroom=room)
    before = arena.buffer.copy()
    result = switch.forward_batch(arena, np.array(sources, dtype=np.int32))
    assert [*zip(result.out_interface.tolist(), result.status.tolist(), strict=True)] == [*map(_status, outcomes)]
    for index, outcome in enumerate(outcomes):
        expected = outcome.packet if isinstance(outcome, Forward) else packets[index]
        assert bytes(arena[index]) == expected
        start, end = int(arena.offsets[index]), int(arena.offsets[index] + arena.lengths[index])
        before[start:end] = arena.buffer[start:end]
    assert (arena.buffer == before).all()  # the room between packets is as it was
    assert switch.counters.total == 2 * len(packets)
    assert switch.counters.forwarded == 2 * counted.forwarded
    assert switch.counters.errors == {error: 2 * count for error, count in counted.errors.items()}
    assert switch.counters.drops == {reason: 2 * count for reason, count in counted.drops.items()}


@settings(max_examples=80)
@given(switches(), st.integers(0, 3), st.data())
def test_a_batch_is_one_packet_after_the_other(switch: Switch, room: int, data: st.DataObject) -> None:
    packets = data.draw(st.lists(switch_packets(switch.scheme), max_size=12))
    sources = [data.draw(st.sampled_from(switch.interfaces)) for _ in packets]
    _compare(switch, packets, sources, room=room)


@pytest.mark.parametrize("scheme", BUILT_IN)
@pytest.mark.parametrize("short", [False, True])
def test_many_random_packets(scheme: EncodingScheme, short: bool) -> None:
    rng = np.random.default_rng(7)
    switch = Switch(scheme)
    while switch.free:
        switch.add_interface()
    count = scheme.numbers.count
    for number in rng.choice(np.arange(2, count), size=count // 10, replace=False).tolist():
        (switch.remove if number % 2 else switch.set_down)(number)
    raw = rng.integers(0, 256, (3000, 16), dtype=np.uint8)
    raw[1::2, 8] &= 0xFE  # every other packet takes errors
    raw[::3, 9] = 0x40
    raw[::5, :8] = np.frombuffer(
        b"".join(RouteLabel(1 | 1 << b % 40).to_bytes(8, "big") for b in range(600)), np.uint8
    ).reshape(600, 8)
    packets = [row.tobytes()[: 16 if not short else 8 + index % 9] for index, row in enumerate(raw)]
    sources = rng.choice(switch.interfaces, size=len(packets)).tolist()
    _compare(switch, packets, sources)


@given(switches(), st.data())
def test_bare_headers_stand_for_whole_packets(switch: Switch, data: st.DataObject) -> None:
    headers = data.draw(st.lists(switch_packets(switch.scheme).filter(lambda p: len(p) >= 12), max_size=6))
    sources = [data.draw(st.sampled_from(switch.interfaces)) for _ in headers]
    outcomes = [switch.forward(source, packet[:12] + bytes(4)) for source, packet in zip(sources, headers, strict=True)]
    array = np.frombuffer(b"".join(packet[:12] for packet in headers), np.uint8).reshape(-1, 12).copy()
    result = switch.forward_batch(array, sources if sources else np.zeros(0, np.int32))
    assert [*zip(result.out_interface.tolist(), result.status.tolist(), strict=True)] == [*map(_status, outcomes)]
    for row, packet, outcome in zip(array, headers, outcomes, strict=True):
        assert row.tobytes() == (outcome.packet[:12] if isinstance(outcome, Forward) else packet[:12])


def _switch(interfaces: int = 3) -> Switch:
    switch = Switch()
    for _ in range(interfaces):
        switch.add_interface()
    return switch


def _headers(*labels: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    rows = b"".join(label.to_bytes(8, "big") + bytes((0, 0x40, 0, 0)) for label in labels)
    return np.frombuffer(rows, np.uint8).reshape(-1, 12).copy()


def test_by_hand() -> None:
    switch = _switch()
    switch.set_down(3)
    headers = _headers(0x155, 0x157, 0x1FF, 1, 1 << 20 | 1)
    result = switch.forward_batch(headers, 0)
    assert result.out_interface.tolist() == [2, -1, -1, ROUTER, ROUTER]
    assert result.status.tolist() == [0, ErrorType.UNDELIVERABLE, ErrorType.MALFORMED_ADDRESS, 0, 0]
    assert result.forwarded.tolist() == [0, 3, 4]
    assert result.refused.tolist() == [1, 2]
    assert len(result) == 5
    assert repr(result) == "BatchForwarded(3 forwarded, 2 refused, 0 dropped)"
    # 0011 of the way back, mirrored, in place of 0101: shift 4, class ffff.
    assert headers[0].tobytes().hex() == "c0000000000000150044ffff"


def test_a_change_of_the_interfaces_is_seen_by_the_next_batch() -> None:
    switch = _switch()
    assert switch.forward_batch(_headers(0x17), 0).status.tolist() == [0]
    switch.set_down(3)
    assert switch.forward_batch(_headers(0x17), 0).status.tolist() == [8]
    assert switch.forward_batch(_headers(0x17), ROUTER).status.tolist() == [0]
    switch.remove(3)
    assert switch.forward_batch(_headers(0x17), ROUTER).status.tolist() == [1]
    with pytest.raises(CjdnsMisuseError):
        switch.forward_batch(_headers(0x17), 3)
    switch.add_interface()
    assert switch.forward_batch(_headers(0x17), 3).status.tolist() == [0]


def test_an_empty_batch() -> None:
    switch = _switch()
    assert len(switch.forward_batch(_headers(), 0)) == 0
    assert len(switch.forward_batch(PacketArena.pack([]), [])) == 0
    assert switch.counters.total == 0


def test_a_runt_at_the_very_end_of_the_buffer() -> None:
    switch = _switch()
    result = switch.forward_batch(PacketArena.pack([_headers(0x15).tobytes() + bytes(4), b"\0" * 11]), 0)
    assert result.status.tolist() == [0, DropReason.RUNT]


@pytest.mark.parametrize("bad", [4, -1, 257, 2**31 - 1, 2**40, -(2**31)])
def test_an_interface_that_is_not_there_changes_nothing(bad: int) -> None:
    switch = _switch()
    headers = _headers(0x13, 0x15, 0x17)
    before = headers.copy()
    with pytest.raises(CjdnsMisuseError, match="no interface"):
        switch.forward_batch(headers, np.array([0, 0, bad], dtype=np.int64))
    with pytest.raises(CjdnsMisuseError, match="no interface"):
        switch.forward_batch(headers, np.array([0, 0, bad % 2**64], dtype=np.uint64))
    assert (headers == before).all()
    assert switch.counters.total == 0


def test_a_gap_among_the_interfaces_is_noticed() -> None:
    switch = _switch(5)
    switch.remove(4)
    headers = _headers(0x13, 0x13)
    assert switch.forward_batch(headers, [5, 3]).status.tolist() == [0, 0]
    with pytest.raises(CjdnsMisuseError, match="no interface 4"):
        switch.forward_batch(headers, [5, 4])


@pytest.mark.parametrize(
    ("packets", "interfaces"),
    [
        (np.zeros((2, 11), np.uint8), 0),
        (np.zeros(24, np.uint8), 0),
        (np.zeros((2, 12), np.int8), 0),
        (np.zeros((2, 24), np.uint8)[:, ::2], 0),
        (b"0" * 24, 0),
        (None, 0),
        (np.zeros((2, 12), np.uint8), [0]),
        (np.zeros((2, 12), np.uint8), [0, 0, 0]),
        (np.zeros((2, 12), np.uint8), [[0], [0]]),
        (np.zeros((2, 12), np.uint8), [0.0, 0.0]),
        (np.zeros((2, 12), np.uint8), "0"),
        (np.zeros((2, 12), np.uint8), None),
        (np.zeros((2, 12), np.uint8), [[0], [0, 1]]),
        (np.zeros((2, 12), np.uint8), 10**30),
    ],
)
def test_wrong_shapes_and_types_are_misuse(packets: object, interfaces: object) -> None:
    switch = _switch()
    with pytest.raises(CjdnsMisuseError):
        switch.forward_batch(packets, interfaces)  # type: ignore[arg-type]
    assert switch.counters.total == 0


def test_read_only_packets_are_misuse() -> None:
    switch = _switch()
    headers = _headers(0x13)
    headers.flags.writeable = False
    with pytest.raises(CjdnsMisuseError, match="read-only"):
        switch.forward_batch(headers, 0)


def test_an_arena_that_was_bent_after_it_was_made() -> None:
    switch = _switch()
    for offset in (-1, 5, 2**62, -(2**62)):
        arena = PacketArena.pack([_headers(0x13).tobytes() + bytes(4)])
        arena.offsets[0] = offset
        before = arena.buffer.copy()
        with pytest.raises(CjdnsMisuseError, match="outside"):
            switch.forward_batch(arena, 0)
        assert (arena.buffer == before).all()


def test_interfaces_of_any_integer_type_and_layout() -> None:
    for interfaces in (np.array([0, 2], np.uint8), np.array([0, 9, 2, 9])[::2], (0, 2), np.array([0, 2], ">i4")):
        switch = _switch()
        assert switch.forward_batch(_headers(0x15, 0x13), interfaces).out_interface.tolist() == [2, 0]


def test_the_plan_covers_all_labels_of_the_table() -> None:
    """All 1024 lowest bits from every interface: what the kernel looks up against what the switch works out."""
    switch = _switch(256)
    for number in (5, 6, 13, 20, 100, 101, 200, 254):
        (switch.remove if number % 5 == 0 else switch.set_down)(number)
    for source in switch.interfaces:
        if source not in (0, 1, 2, 6, 8, 33, 256):
            continue
        headers = _headers(*(low | 3 << 30 for low in range(1024)))
        result = switch.forward_batch(headers, source)
        for low in range(1024):
            step = switch.step(source, low | 3 << 30)
            if isinstance(step, ErrorType):
                assert (result.out_interface[low], result.status[low]) == (-1, step)
            else:
                assert (result.out_interface[low], result.status[low]) == (step[0], 0)
                assert int.from_bytes(headers[low, :8].tobytes(), "big") == step[1]
    assert V3X5X8 is switch.scheme
