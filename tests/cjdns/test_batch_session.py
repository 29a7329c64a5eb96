# SPDX-License-Identifier: Apache-2.0
"""`Session.encrypt_batch` and `Session.decrypt_batch` do what a loop does, in every state of a session."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.cryptoauth import Session, SessionState, sodium
from prestocloud_sec.cjdns.cryptoauth.batch_session import NOT_A_NODE
from prestocloud_sec.cjdns.cryptoauth.core import NONCES_EXHAUSTED
from prestocloud_sec.cjdns.errors import AddressError, CjdnsError, CjdnsMisuseError
from prestocloud_sec.cjdns.keys import PrivateKey
from prestocloud_sec.testing.arena import empty_arena, laid_out
from prestocloud_sec.testing.session import SeededRandom, SessionPair, damaged, node_key, snapshot

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "quirks": {"quirks": True},
    "deliverable": {"profile": "deliverable"},
    "unauthenticated": {"profile": "deliverable", "authenticate": False},
}
WHERE = ("new", "out", "in place")


def singly(session: Session, packets: list[bytes], now: float) -> tuple[list[bytes], list[int]]:
    payloads, status = [], []
    for packet in packets:
        payload, code = b"", 0
        try:
            payload = session.decrypt(packet, now=now)
        except AddressError:
            code = NOT_A_NODE
        except CjdnsError as error:
            code = error.code  # type: ignore[attr-defined]
        payloads.append(payload)
        status.append(code)
    return payloads, status


def contents(arena: PacketArena) -> list[bytes]:
    return [bytes(packet) for packet in arena]


class Twins:
    """Two pairs of sessions with the same randomness: one goes packet by packet, the other in batches."""

    def __init__(self, data: st.DataObject, variant: str) -> None:
        self.data = data
        self.loops, self.batches = (SessionPair.make(**VARIANTS[variant]) for _ in range(2))
        self.sent: dict[str, list[bytes]] = {"a": [], "b": []}
        self.now = 0.0
        self.least = 4 if variant == "unauthenticated" else 20

    def arena(self, packets: list[bytes], grow: int) -> tuple[PacketArena, PacketArena | None]:
        where = self.data.draw(st.sampled_from(WHERE))
        room = max(grow, 0)
        arena = self.data.draw(laid_out(packets, headroom=room, ascending=where == "in place", writable=True))
        if where == "new":
            return arena, None
        if where == "in place":
            return arena, arena
        return arena, empty_arena(len(packets), sum(max(len(packet) + grow, 0) for packet in packets))

    def send(self, side: str, payloads: list[bytes]) -> None:
        one, other = getattr(self.loops, side), getattr(self.batches, side)
        wires = [one.encrypt(payload, now=self.now) for payload in payloads]
        arena, out = self.arena(payloads, 120)
        made = other.encrypt_batch(arena, out=out, now=self.now)
        assert contents(made) == wires
        assert made is out or out is None
        self.sent[side] += wires
        self.same()

    def deliver(self, side: str, packets: list[bytes]) -> None:
        one, other = getattr(self.loops, side), getattr(self.batches, side)
        expected = singly(one, packets, self.now)
        arena, out = self.arena(packets, -self.least)
        opened = other.decrypt_batch(arena, out=out, now=self.now)
        assert (contents(opened.arena), opened.status.tolist()) == expected
        assert opened.arena is out or out is None
        self.same()

    def same(self) -> None:
        for side in ("a", "b"):
            one, other = getattr(self.loops, side), getattr(self.batches, side)
            assert snapshot(one) == snapshot(other)
            assert one.statistics == other.statistics


def draw_packets(data: st.DataObject, sent: list[bytes]) -> list[bytes]:
    """Choose what arrives: mostly what was sent last, in order; some of it damaged, again, from before, or made up."""
    packets = []
    for packet in sent[-data.draw(st.integers(0, 8)) :]:
        how = data.draw(st.sampled_from(["good"] * 8 + ["lost", "twice", "damaged", "old", "short", "noise"]))
        if how == "damaged":
            packet = data.draw(damaged(packet))
        elif how == "old":
            packet = data.draw(st.sampled_from(sent))
        elif how == "short":
            packet = packet[: data.draw(st.integers(0, 24))]
        elif how == "noise":
            packet = data.draw(st.binary(max_size=150))
        packets += [packet] * {"lost": 0, "twice": 2}.get(how, 1)
    return packets


payload_lists = st.lists(st.binary(max_size=40), max_size=6)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_batches_are_loops(variant: str, data: st.DataObject) -> None:
    twins = Twins(data, variant)
    if data.draw(st.booleans()):
        for pair in (twins.loops, twins.batches):
            pair.establish()
    for _ in range(data.draw(st.integers(1, 10))):
        side, other = data.draw(st.sampled_from(["ab", "ba"]))
        match data.draw(st.sampled_from(["send", "send", "deliver", "deliver", "deliver", "wait", "reset"])):
            case "send":
                twins.send(side, data.draw(payload_lists))
            case "deliver":
                twins.deliver(side, draw_packets(data, twins.sent[other]))
            case "wait":
                twins.now += data.draw(st.sampled_from([0.5, 9.0, 11.0, 61.0]))
            case _:
                for pair in (twins.loops, twins.batches):
                    getattr(pair, side).reset(now=twins.now)
                twins.same()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_established_sessions_under_fire(data: st.DataObject) -> None:
    """Long batches of data with everything that may be among it."""
    twins = Twins(data, "default")
    for pair in (twins.loops, twins.batches):
        pair.establish()
    for _ in range(3):
        twins.send("a", [bytes(size) for size in data.draw(st.lists(st.integers(0, 60), min_size=8, max_size=40))])
        packets = draw_packets(data, twins.sent["a"]) + twins.sent["a"][-data.draw(st.integers(1, 30)) :]
        twins.deliver("b", packets)


# --- particular moments


def established(**settings: Any) -> SessionPair:
    return SessionPair.make(**settings).establish()


def test_a_hello_in_a_batch_and_the_data_that_follows_it() -> None:
    """The peer restarts: its hello, and after our answer its first data, come among packets of the old session."""
    pair = established()
    old = [pair.a.encrypt(b"old %d" % number) for number in range(3)]
    again = Session(node_key(0), peer_key=node_key(1).public, random=SeededRandom("again"), clock=pair.clock)
    hello = again.encrypt(b"hello")
    opened = pair.b.decrypt_batch(PacketArena.pack([old[0], hello, old[1], old[0]]))
    assert contents(opened.arena) == [b"old 0", b"hello", b"old 1", b""]
    assert opened.status.tolist() == [0, 0, 0, 14]
    answers = pair.b.encrypt_batch(PacketArena.pack([b"key", b"still old"]))
    assert answers.lengths.tolist() == [123, 29]
    assert again.decrypt_batch(answers).status.tolist() == [0, 15]
    first = again.encrypt_batch(PacketArena.pack([b"new 0", b"new 1"]))
    opened = pair.b.decrypt_batch(PacketArena.pack([old[2], bytes(first[0]), old[2], bytes(first[1])]))
    assert contents(opened.arena) == [b"old 2", b"new 0", b"", b"new 1"]
    assert opened.status.tolist() == [0, 0, 15, 0]
    assert pair.b.statistics.pending_promoted == 1


def test_a_whole_handshake_in_batches() -> None:
    pair = SessionPair.make()
    for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a)) * 2:
        opened = receiver.decrypt_batch(sender.encrypt_batch(PacketArena.pack([b"one", b"two"])))
        assert contents(opened.arena) == [b"one", b"two"]
        assert not opened.status.any()
    assert pair.a.state == pair.b.state == SessionState.ESTABLISHED


def test_a_handshake_from_outside_fc00() -> None:
    key = next(
        key
        for key in (PrivateKey(SeededRandom(("any", number))(32)) for number in range(100))
        if not key.public.is_routable
    )
    stranger = Session(key, peer_key=node_key(1).public, quirks=True, random=SeededRandom("stranger"))
    session = Session(node_key(1), random=SeededRandom(1))
    opened = session.decrypt_batch(PacketArena.pack([stranger.encrypt(b"")]))
    assert opened.status.tolist() == [NOT_A_NODE]
    assert session.state == SessionState.INIT


def test_nonces_run_out_in_the_middle_of_a_batch() -> None:
    pair = established()
    pair.a._live.next_nonce = NONCES_EXHAUSTED - 2
    packets = contents(pair.a.encrypt_batch(PacketArena.pack([b"x"] * 4)))
    assert [packet[:4].hex() for packet in packets] == ["ffffffee", "ffffffef", "00000000", "00000001"]
    assert pair.a.state == SessionState.SENT_HELLO
    assert pair.b.decrypt_batch(PacketArena.pack(packets)).status.tolist() == [0, 0, 0, 0]


def test_nonces_never_repeat_between_batches_and_single_packets() -> None:
    pair = established()
    wires = contents(pair.a.encrypt_batch(PacketArena.pack([b"x"] * 5)))
    wires.append(pair.a.encrypt(b"x"))
    wires += contents(pair.a.encrypt_batch(PacketArena.pack([b"x"] * 3), out=empty_arena(3, 63)))
    nonces = [int.from_bytes(wire[:4], "big") for wire in wires]
    assert nonces == list(range(nonces[0], nonces[0] + 9))


def test_a_refused_batch_uses_no_nonces() -> None:
    pair = established()
    before, counted = snapshot(pair.a), pair.a.statistics
    arena = PacketArena.pack([b"abc"] * 2)
    for out in (empty_arena(2, 45), empty_arena(3, 100), arena):
        with pytest.raises(CjdnsMisuseError):
            pair.a.encrypt_batch(arena, out=out)
    assert snapshot(pair.a) == before
    assert pair.a.statistics == counted


def test_a_refused_batch_decrypts_nothing() -> None:
    pair = established()
    packets = pair.a.encrypt_batch(PacketArena.pack([b"abc"] * 2))
    before, counted = snapshot(pair.b), pair.b.statistics
    for out in (empty_arena(2, 5), empty_arena(1, 100)):
        with pytest.raises(CjdnsMisuseError):
            pair.b.decrypt_batch(packets, out=out)
    assert snapshot(pair.b) == before
    assert pair.b.statistics == counted
    assert contents(pair.b.decrypt_batch(packets).arena) == [b"abc"] * 2


def test_room_for_handshake_headers_is_asked_for_before_anything_is_sent() -> None:
    pair = SessionPair.make()
    arena = PacketArena.pack([b"abc"], headroom=119)
    for out in (empty_arena(1, 122), arena):
        with pytest.raises(CjdnsMisuseError):
            pair.a.encrypt_batch(arena, out=out)
    assert pair.a.state == SessionState.INIT
    arena = PacketArena.pack([b"abc"], headroom=120)
    assert pair.a.encrypt_batch(arena, out=arena) is arena
    assert pair.b.decrypt(arena[0]) == b"abc"


def test_time_runs_out() -> None:
    """Like a single packet, a batch after 60 s without data begins a new session."""
    pair = established()
    assert pair.a.encrypt_batch(PacketArena.pack([b"x"]), now=59.9).lengths.tolist() == [21]
    assert pair.a.encrypt_batch(PacketArena.pack([b"x"]), now=60.1).lengths.tolist() == [121]
    pair = established()
    packets = pair.b.encrypt_batch(PacketArena.pack([b"x"]))
    pair.a.decrypt_batch(packets, now=30.0)
    assert pair.a.encrypt_batch(PacketArena.pack([b"x"]), now=89.0).lengths.tolist() == [21]


@pytest.mark.parametrize("value", [None, b"bytes", [b"a"]])
def test_wrong_types(value: PacketArena) -> None:
    for pair in (SessionPair.make(), established()):
        for call in (pair.a.encrypt_batch, pair.a.decrypt_batch):
            with pytest.raises(CjdnsMisuseError):
                call(value)
            if value is not None:
                with pytest.raises(CjdnsMisuseError):
                    call(PacketArena.pack([bytes(50)]), out=value)


@pytest.mark.parametrize("now", [float("nan"), "now", float("inf")])
def test_times_that_are_none(now: float) -> None:
    pair = established()
    with pytest.raises(CjdnsMisuseError, match="time"):
        pair.a.encrypt_batch(PacketArena.pack([b"x"]), now=now)
    heard = pair.b._heard
    packets = pair.a.encrypt_batch(PacketArena.pack([b"x"]))
    with contextlib.suppress(CjdnsMisuseError):
        pair.b.decrypt_batch(packets, now=now)
    assert pair.b._heard == heard


def test_without_the_private_module(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = contents(established().a.encrypt_batch(PacketArena.pack([b"a", b"b"])))
    monkeypatch.setattr(sodium, "LIBRARY", None)
    pair = established()
    packets = pair.a.encrypt_batch(PacketArena.pack([b"a", b"b"]))
    assert contents(packets) == expected
    assert contents(pair.b.decrypt_batch(packets).arena) == [b"a", b"b"]


def test_the_clock_is_asked_once_for_a_batch() -> None:
    pair = established()
    readings = 0

    def clock() -> float:
        nonlocal readings
        readings += 1
        return 0.0

    pair.a._clock = pair.b._clock = clock
    packets = pair.a.encrypt_batch(PacketArena.pack([b"x"] * 3))
    assert readings == 1
    pair.b.decrypt_batch(packets)
    assert readings == 2
