# SPDX-License-Identifier: Apache-2.0
"""Hellos to sessions that need none: recordings must do no harm, restarted peers must get through."""

from __future__ import annotations

from typing import Any

import pytest

from prestocloud_sec.cjdns.cryptoauth import Session, SessionState
from prestocloud_sec.cjdns.cryptoauth.pending import PENDING_SECONDS, REMEMBERED
from prestocloud_sec.cjdns.errors import (
    CryptoAuthError,
    DecryptionError,
    EstablishedKeyPacketError,
    HandshakeDecryptionError,
    InvalidHandshakeError,
    NoSessionError,
    ReplayError,
    StrayKeyError,
)
from prestocloud_sec.testing.session import SeededRandom, SessionPair, node_key, snapshot, state_of

BOTH = [(False, False), (False, True), (True, False), (True, True)]


def hello_from_an_earlier_life(kind: int = 0, seed: str = "earlier life", payload: bytes = b"long ago") -> bytes:
    """Record a hello (0) or repeat hello (1) that the node behind `SessionPair.a` once made."""
    before = Session(node_key(0), peer_key=node_key(1).public, random=SeededRandom(seed))
    packet = b""
    for _ in range(kind + 1):
        packet = before.encrypt(payload)
    return packet


def try_decrypt(session: Session, packet: bytes) -> bytes | None:
    try:
        return session.decrypt(packet)
    except CryptoAuthError:
        return None


def restarted(pair: SessionPair, side: str, **settings: Any) -> None:
    """Let one side lose its session."""
    mine, other = (0, 1) if side == "a" else (1, 0)
    new = Session(
        node_key(mine),
        peer_key=node_key(other).public,
        random=SeededRandom((side, "restarted", settings.get("quirks"))),
        clock=pair.clock,
        **settings,
    )
    setattr(pair, side, new)


def exchange(pair: SessionPair, rounds: int, *, first: str = "a", step: float = 0.01) -> list[tuple[bool, bool]]:
    """Let both sides send in turn; return for each round whether each payload arrived."""
    arrived = []
    sides = [(pair.a, pair.b), (pair.b, pair.a)]
    if first == "b":
        sides.reverse()
    for round_ in range(rounds):
        pair.clock.advance(step)
        arrived.append(tuple(try_decrypt(to, frm.encrypt(b"%d" % round_)) == b"%d" % round_ for frm, to in sides))
    return arrived  # type: ignore[return-value]


@pytest.mark.parametrize("victim_is_responder", [True, False])
@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("peer_quirks", [False, True])
def test_a_replayed_hello_costs_one_payload_and_never_the_session(
    victim_is_responder: bool, kind: int, peer_quirks: bool
) -> None:
    pair = SessionPair.make(a={"quirks": peer_quirks})
    if victim_is_responder:
        pair.establish()
    else:
        for sender, receiver in ((pair.b, pair.a), (pair.a, pair.b)) * 2:
            receiver.decrypt(sender.encrypt(b""))
    secret = state_of(pair.b).secret
    assert pair.b.decrypt(hello_from_an_earlier_life(kind)) == b"long ago"
    assert pair.b.established
    assert pair.b.overhead == 120
    lost = pair.b.encrypt(b"lost")
    assert lost[:4] == b"\0\0\0\2"
    with pytest.raises(EstablishedKeyPacketError):
        pair.a.decrypt(lost)
    for n in range(50):
        pair.clock.advance(0.5)
        assert pair.a.decrypt(pair.b.encrypt(b"%d" % n)) == b"%d" % n
        assert pair.b.decrypt(pair.a.encrypt(b"%d" % n)) == b"%d" % n
    assert state_of(pair.b).secret == secret
    counted = pair.b.statistics
    assert (counted.pending_opened, counted.pending_promoted, counted.pending_expired) == (1, 0, 1)
    assert counted.resets == 0


def test_with_quirks_a_replayed_hello_ends_the_session_as_it_does_in_c() -> None:
    pair = SessionPair.make(quirks=True).establish()
    assert pair.b.decrypt(hello_from_an_earlier_life()) == b"long ago"
    assert pair.b.state is SessionState.RECEIVED_HELLO
    with pytest.raises(NoSessionError):
        pair.b.decrypt(pair.a.encrypt(b"to nobody"))
    with pytest.raises(EstablishedKeyPacketError):
        pair.a.decrypt(pair.b.encrypt(b"to nobody"))


def test_the_same_recording_is_played_once_only() -> None:
    pair = SessionPair.make().establish()
    recording = hello_from_an_earlier_life()
    pair.b.decrypt(recording)
    pair.b.encrypt(b"the one payload")
    for wait in (0.0, PENDING_SECONDS + 1, 100.0):
        pair.clock.advance(min(wait, 40.0))
        pair.b.decrypt(pair.a.encrypt(b"alive"))
        pair.a.decrypt(pair.b.encrypt(b"alive"))
        before = snapshot(pair.b)
        with pytest.raises(InvalidHandshakeError):
            pair.b.decrypt(recording)
        assert snapshot(pair.b) == before
        assert pair.a.decrypt(pair.b.encrypt(b"data")) == b"data"
    # Bytes that nothing authenticates make it no other packet.
    altered = recording[:4] + b"\0" + bytes(11) + recording[16:]
    with pytest.raises(InvalidHandshakeError):
        pair.b.decrypt(altered)


def test_hellos_of_this_very_session_are_refused() -> None:
    """The hello that began the session, repeats of it that come late, and those of sessions before it."""
    pair = SessionPair.make()
    hellos = [pair.a.encrypt(b"old") for _ in range(4)]
    for hello in hellos[:3]:
        pair.b.decrypt(hello)
    for sender, receiver in ((pair.b, pair.a), (pair.a, pair.b), (pair.b, pair.a)):
        receiver.decrypt(sender.encrypt(b""))
    for _ in range(2):
        before = snapshot(pair.b)
        for hello in hellos:
            with pytest.raises(InvalidHandshakeError):
                pair.b.decrypt(hello)
        assert snapshot(pair.b) == before
        # The same after the peer began a new session: the temporary key is spent.
        pair.a.reset()
        assert exchange(pair, 3)[-1] == (True, True)
    pair.b.reset()
    for hello in hellos:
        with pytest.raises(InvalidHandshakeError):
            pair.b.decrypt(hello)


@pytest.mark.parametrize("peer_quirks", [False, True])
def test_every_fresh_repeat_earns_one_more_key_packet(peer_quirks: bool) -> None:
    pair = SessionPair.make(a={"quirks": peer_quirks}).establish()
    restarted(pair, "a", quirks=peer_quirks)
    kinds = []
    for _ in range(4):
        pair.b.decrypt(pair.a.encrypt(b"hello"))
        kinds += [pair.b.encrypt(b"")[3] for _ in range(2)]
    assert kinds[0] == 2
    assert kinds[2::2] == [3, 3, 3]
    assert all(kind > 3 for kind in kinds[1::2])
    assert pair.b.statistics.pending_opened == 1


def test_a_pending_handshake_is_given_up_10_s_after_its_last_hello() -> None:
    pair = SessionPair.make().establish()
    restarted(pair, "a")
    pair.b.decrypt(pair.a.encrypt(b""))
    pair.clock.advance(PENDING_SECONDS - 0.1)
    pair.b.decrypt(pair.a.encrypt(b""))
    key = pair.b.encrypt(b"")
    pair.clock.advance(PENDING_SECONDS - 0.1)
    pair.a.decrypt(key)
    data = pair.a.encrypt(b"just in time")
    late = SessionPair(pair.a, pair.b, pair.clock)
    pending = pair.b._pending
    assert pending is not None
    pair.clock.advance(0.1)
    with pytest.raises(DecryptionError):
        late.b.decrypt(data)
    assert pair.b._pending is None
    assert bytes(pending.exchange.temporary) == bytes(32)
    assert pair.b.statistics.pending_expired == 1


def test_the_newest_of_two_pending_handshakes_wins_and_nobody_is_locked_out() -> None:
    """An attacker who plays recordings in between delays a restarted peer by a packet each, and no more."""
    pair = SessionPair.make().establish()
    restarted(pair, "a")
    pair.b.decrypt(pair.a.encrypt(b"restarted"))
    assert pair.b.decrypt(hello_from_an_earlier_life()) == b"long ago"
    with pytest.raises(HandshakeDecryptionError):
        pair.a.decrypt(pair.b.encrypt(b"for the recording"))
    assert pair.b.decrypt(pair.a.encrypt(b"still here")) == b"still here"
    assert pair.a.decrypt(pair.b.encrypt(b"key")) == b"key"
    assert pair.b.decrypt(pair.a.encrypt(b"data")) == b"data"
    assert pair.b.statistics.pending_promoted == 1
    assert state_of(pair.a).secret == state_of(pair.b).secret


@pytest.mark.parametrize("peer_quirks", [False, True])
@pytest.mark.parametrize("sent", [0, 1, 3, 200])
def test_data_of_the_old_session_costs_the_new_one_nothing(peer_quirks: bool, sent: int) -> None:
    """Seen live: a restarted C node moved its window behind old data, and refused the new session's first packet."""
    pair = SessionPair.make(a={"quirks": peer_quirks}).establish()
    restarted(pair, "a", quirks=peer_quirks)
    pair.b.decrypt(pair.a.encrypt(b"restarted"))
    assert pair.a.decrypt(pair.b.encrypt(b"key")) == b"key"
    for _ in range(sent):
        with pytest.raises(DecryptionError):
            pair.a.decrypt(pair.b.encrypt(b"of the old session"))
    assert pair.b.decrypt(pair.a.encrypt(b"data")) == b"data"
    assert pair.b.statistics.pending_promoted == 1
    first = pair.b.encrypt(b"first")
    if not sent:
        assert first[:4] == bytes((0, 0, 0, 6))
    assert pair.a.decrypt(first) == b"first"
    assert pair.a.established
    assert exchange(pair, 3) == [(True, True)] * 3


@pytest.mark.parametrize("quirks", BOTH)
@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("first", ["a", "b"])
def test_a_peer_that_restarted_is_connected_at_once(quirks: tuple[bool, bool], side: str, first: str) -> None:
    pair = SessionPair.make(a={"quirks": quirks[0]}, b={"quirks": quirks[1]}).establish()
    restarted(pair, side, quirks=quirks[0] if side == "a" else quirks[1])
    rounds = exchange(pair, 6, first=first)
    assert rounds[4:] == [(True, True)] * 2
    assert pair.a.established
    assert pair.b.established
    assert state_of(pair.a).secret == state_of(pair.b).secret
    survivor, default = (pair.b, not quirks[1]) if side == "a" else (pair.a, not quirks[0])
    assert survivor.statistics.pending_promoted == default


@pytest.mark.parametrize("quirks", BOTH)
@pytest.mark.parametrize("crossing", [False, True])
def test_both_sides_restarted(quirks: tuple[bool, bool], crossing: bool) -> None:
    pair = SessionPair.make(a={"quirks": quirks[0]}, b={"quirks": quirks[1]}).establish()
    restarted(pair, "a", quirks=quirks[0])
    restarted(pair, "b", quirks=quirks[1])
    if crossing:
        to_b, to_a = pair.a.encrypt(b""), pair.b.encrypt(b"")
        pair.b.decrypt(to_b)
        pair.a.decrypt(to_a)
    assert exchange(pair, 6)[4:] == [(True, True)] * 2


def test_promotion_wipes_the_old_session() -> None:
    pair = SessionPair.make().establish()
    old, cipher = pair.b._live, pair.b._live.cipher
    restarted(pair, "a")
    for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a), (pair.a, pair.b)):
        receiver.decrypt(sender.encrypt(b""))
    assert pair.b._live is not old
    assert pair.b._pending is None
    assert bytes(old.temporary) == bytes(32)
    assert cipher is not None
    assert cipher._key is None
    assert pair.b.initiator is False


def test_old_data_does_not_promote_and_new_data_not_twice() -> None:
    pair = SessionPair.make().establish()
    old = pair.a.encrypt(b"old session")
    restarted(pair, "a")
    pair.b.decrypt(pair.a.encrypt(b""))
    pair.a.decrypt(pair.b.encrypt(b""))
    assert pair.b.decrypt(old) == b"old session"  # the live session is still the old one
    data = pair.a.encrypt(b"new session")
    assert pair.b.decrypt(data) == b"new session"
    with pytest.raises(ReplayError):
        pair.b.decrypt(data)
    with pytest.raises((DecryptionError, ReplayError)):
        pair.b.decrypt(old)


@pytest.mark.parametrize("phase", ["SENT_KEY", "RECEIVED_KEY", "RUNNING"])
def test_a_recording_does_not_break_a_handshake_that_is_under_way(phase: str) -> None:
    """From SENT_KEY on; with quirks, as in C, each of these ends in a time-out."""
    for quirks in (False, True):
        pair = SessionPair.make(quirks=quirks)
        a, b = pair.a, pair.b
        b.decrypt(a.encrypt(b""))
        key = b.encrypt(b"")
        victim = b
        if phase != "SENT_KEY":
            a.decrypt(key)
            victim = a
        if phase == "RUNNING":
            a.encrypt(b"lost")
        mine, other = (1, 0) if victim is b else (0, 1)
        earlier = Session(node_key(other), peer_key=node_key(mine).public, random=SeededRandom("earlier"))
        victim.decrypt(earlier.encrypt(b""))
        if phase == "SENT_KEY":
            a.decrypt(key)
        good = [try_decrypt(to, frm.encrypt(b"x")) for _ in range(3) for frm, to in ((a, b), (b, a))]
        assert (good[-2:] == [b"x", b"x"]) is not quirks, quirks


def test_the_final_step_survives_forgeries() -> None:
    """In C a forged packet makes the genuine one with that nonce fail; by default it changes nothing."""
    for quirks in (False, True):
        pair = SessionPair.make(quirks=quirks)
        pair.b.decrypt(pair.a.encrypt(b""))
        pair.a.decrypt(pair.b.encrypt(b""))
        genuine = pair.a.encrypt(b"final")
        for nonce in (4, 1000, 0xFFFFFFFF):
            with pytest.raises(DecryptionError):
                pair.b.decrypt(nonce.to_bytes(4, "big") + genuine[4:-1] + b"\0")
        if quirks:
            pair.b.decrypt(genuine)  # the last forgery wrapped the base round to 0
            assert state_of(pair.b).base == 5
        else:
            assert pair.b.decrypt(genuine) == b"final"
        pair = SessionPair.make(quirks=quirks)
        pair.b.decrypt(pair.a.encrypt(b""))
        pair.a.decrypt(pair.b.encrypt(b""))
        genuine = pair.a.encrypt(b"final")
        forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
        with pytest.raises(DecryptionError):
            pair.b.decrypt(forged)
        if quirks:
            with pytest.raises(ReplayError):
                pair.b.decrypt(genuine)
        else:
            assert pair.b.decrypt(genuine) == b"final"


def test_our_own_hello_sent_back_with_the_peers_key_in_it_is_refused() -> None:
    """A hello's secret is the same in both directions: only its clear text says who sent it."""
    pair = SessionPair.make()
    hellos = [pair.a.encrypt(b"mine") for _ in range(2)]
    pair.a.reset()
    hellos.append(pair.a.encrypt(b"mine"))
    before = snapshot(pair.a)
    for hello in hellos:
        disguised = hello[:40] + node_key(1).public.raw + hello[72:]
        with pytest.raises(InvalidHandshakeError, match="ours"):
            pair.a.decrypt(disguised)
    assert snapshot(pair.a) == before
    # In C it is accepted, as the peer's.
    quirky = SessionPair.make(quirks=True)
    hello = quirky.a.encrypt(b"mine")
    assert quirky.a.decrypt(hello[:40] + node_key(1).public.raw + hello[72:]) == b"mine"


def test_memories_are_bounded() -> None:
    pair = SessionPair.make().establish()
    for n in range(3 * REMEMBERED):
        pair.b.decrypt(hello_from_an_earlier_life(seed=f"life {n}"))
    guard = pair.b._guard
    assert len(guard.accepted) == REMEMBERED
    assert pair.b.established
    assert pair.b.statistics.pending_opened == 3 * REMEMBERED
    pair.b.encrypt(b"key")
    assert pair.a.decrypt(pair.b.encrypt(b"data")) == b"data"


def test_a_stray_key_for_a_recording_is_refused_by_every_state_of_the_true_peer() -> None:
    pair = SessionPair.make().establish()
    pair.b.decrypt(hello_from_an_earlier_life())
    key = pair.b.encrypt(b"lost")
    fresh = Session(node_key(0), peer_key=node_key(1).public)
    with pytest.raises(StrayKeyError):
        fresh.decrypt(key)
    fresh.encrypt(b"")
    with pytest.raises(HandshakeDecryptionError):
        fresh.decrypt(key)
