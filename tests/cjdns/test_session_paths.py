# SPDX-License-Identifier: Apache-2.0
"""The two ways of data through a session: `encrypt` and `decrypt` in place, and the long way that is their oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_box_afternm

from prestocloud_sec.cjdns.cryptoauth import Session
from prestocloud_sec.cjdns.cryptoauth.cipher import LARGEST
from prestocloud_sec.cjdns.cryptoauth.core import NONCES_EXHAUSTED
from prestocloud_sec.cjdns.cryptoauth.handshake import FIRST_DATA_NONCE
from prestocloud_sec.cjdns.cryptoauth.sodium import LIBRARY
from prestocloud_sec.cjdns.errors import CryptoAuthError
from prestocloud_sec.testing.session import SessionPair, damaged, snapshot

pytestmark = pytest.mark.skipif(LIBRARY is None, reason="this PyNaCl does not expose libsodium: there is one way")

sizes = st.one_of(st.integers(0, 70), st.sampled_from([1400, LARGEST - 1, LARGEST, LARGEST + 1, 70_000]))
skips = st.one_of(st.integers(0, 3), st.integers(40, 140), st.integers(0, 0xFFFFFFFF))
idle = st.sampled_from([0.0, 1.0, 9.0, 10.0, 59.0, 60.0])


def long_way(session: Session) -> Session:
    """Let the next packet go the long way, which itself prepares the short one for the packet after."""
    session._live.sealing = session._live.opening = None
    return session


def outcome(call: Any, *arguments: Any) -> object:
    try:
        return call(*arguments)
    except CryptoAuthError as error:
        return type(error), str(error), error.code


def same(short: Session, long: Session) -> None:
    for session in (short, long):
        session._expire(session._clock())  # the short way leaves a pending handshake that ran out to the next long one
    assert snapshot(short) == snapshot(long)
    assert short.statistics == long.statistics


@given(st.data())
def test_both_ways_do_the_same(data: st.DataObject) -> None:
    """Sizes, nonces up to the last, silence, damage, and packets that come late or twice."""
    short, long = SessionPair.make().establish(), SessionPair.make().establish()
    sent: list[bytes] = []
    for _ in range(data.draw(st.integers(1, 12), "packets")):
        reached = short.a._live.next_nonce
        first = min(reached + data.draw(skips, "skip"), NONCES_EXHAUSTED) if reached >= FIRST_DATA_NONCE else reached
        seconds = data.draw(idle, "silence")
        payload = bytes(data.draw(sizes, "size"))
        for pair in (short, long):
            pair.a._live.next_nonce = first
            pair.clock.advance(seconds)
        packet = short.a.encrypt(payload)
        assert packet == long_way(long.a).encrypt(payload)
        same(short.a, long.a)
        sent.append(packet)
        wire = data.draw(st.one_of(st.just(packet), st.sampled_from(sent), damaged(packet[:60])), "arrives")
        assert outcome(short.b.decrypt, wire) == outcome(long_way(long.b).decrypt, wire)
        same(short.b, long.b)


@pytest.mark.parametrize("word", [0, 1, 2, 3, 4, 5, 100, 0xFFFFFFFE, 0xFFFFFFFF])
def test_words_that_no_honest_peer_seals_with(word: int) -> None:
    """The peer has the key: it can seal data whose first word says handshake, an old nonce, or the last of all."""
    short, long = SessionPair.make().establish(), SessionPair.make().establish()
    cipher = short.b._live.cipher
    assert cipher is not None
    boxed = crypto_box_afternm(
        bytes(200), word.to_bytes(4, "little").rjust(8, b"\0").ljust(24, b"\0"), bytes(cipher._key)
    )
    wire = word.to_bytes(4, "big") + boxed
    got = outcome(short.b.decrypt, wire)
    assert got == outcome(long_way(long.b).decrypt, wire)
    assert (got == bytes(200)) is (word > FIRST_DATA_NONCE)  # with which the session was established
    same(short.b, long.b)


@pytest.mark.parametrize("size", [0, 1, 1400, LARGEST - 20])
def test_the_usual_packet_goes_the_short_way(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    pair = SessionPair.make().establish()
    monkeypatch.setattr(Session, "_encrypt_slowly", None)
    monkeypatch.setattr(Session, "_receive", None)
    payload = bytes(size)
    assert pair.b.decrypt(pair.a.encrypt(payload)) == payload
