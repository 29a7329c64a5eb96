# SPDX-License-Identifier: Apache-2.0
"""CryptoAuth sessions: handshake, data, passwords, timers, counts."""

from __future__ import annotations

import copy
import hashlib
import pickle
from typing import Any

import nacl.bindings as sodium
import nacl.public
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.cryptoauth import HandshakeHeader, PacketKind, Session, SessionState, Users, batch
from prestocloud_sec.cjdns.cryptoauth import session as session_module
from prestocloud_sec.cjdns.cryptoauth.core import NONCES_EXHAUSTED
from prestocloud_sec.cjdns.cryptoauth.exchange import Phase
from prestocloud_sec.cjdns.cryptoauth.machine import TRANSITIONS, Action
from prestocloud_sec.cjdns.cryptoauth.sodium import LIBRARY
from prestocloud_sec.cjdns.errors import (
    AddressError,
    AddressRestrictedError,
    AuthenticationRequiredError,
    CjdnsMisuseError,
    CryptoAuthError,
    EstablishedKeyPacketError,
    HandshakeDecryptionError,
    NoSessionError,
    ReplayError,
    RuntError,
    StrayKeyError,
    UnrecognizedAuthenticationError,
    WrongPermanentKeyError,
)
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey
from prestocloud_sec.testing.session import SeededRandom, SessionPair, node_key, payloads, snapshot, state_of


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def unroutable_key() -> PrivateKey:
    for number in range(100):
        key = PrivateKey(SeededRandom(("any", number))(32))
        if not key.public.is_routable:
            return key
    raise AssertionError


# --- the wire form, against PyNaCl alone


def test_hello_key_and_data_open_with_plain_pynacl() -> None:
    """Every packet of a handshake, decrypted without anything of ours but the temporary private keys."""
    pair = SessionPair.make()
    a, b = pair.a, pair.b
    a_private, b_private = (nacl.public.PrivateKey(node_key(n).raw) for n in (0, 1))

    hello = a.encrypt(b"first payload")
    assert len(hello) == 120 + 13
    assert hello[:4] == bytes(4)
    assert hello[40:72] == bytes(a_private.public_key)
    content = nacl.public.Box(b_private, a_private.public_key).decrypt(hello[72:], hello[16:40])
    a_temporary = nacl.public.PrivateKey(state_of(a).temporary)
    assert content == bytes(a_temporary.public_key) + b"first payload"
    assert b.decrypt(hello) == b"first payload"

    key = b.encrypt(b"second payload")
    assert key[:4] == b"\0\0\0\2"
    assert key[40:72] == bytes(b_private.public_key)
    content = nacl.public.Box(a_temporary, b_private.public_key).decrypt(key[72:], key[16:40])
    b_temporary = nacl.public.PrivateKey(state_of(b).temporary)
    assert content == bytes(b_temporary.public_key) + b"second payload"
    assert a.decrypt(key) == b"second payload"

    shared = nacl.public.Box(a_temporary, b_temporary.public_key)
    data = a.encrypt(b"third payload")
    assert data[:4] == b"\0\0\0\4"
    assert len(data) == 20 + 13
    assert shared.decrypt(data[4:], bytes(4) + b"\4\0\0\0" + bytes(16)) == b"third payload"
    assert b.decrypt(data) == b"third payload"

    answer = b.encrypt(b"fourth payload")
    assert answer[:4] == b"\0\0\0\6"
    assert shared.decrypt(answer[4:], b"\6\0\0\0" + bytes(20)) == b"fourth payload"
    assert a.decrypt(answer) == b"fourth payload"
    assert a.established
    assert b.established


@pytest.mark.parametrize("login", [None, b"user"])
def test_a_password_is_mixed_into_the_hello_as_sha256_of_product_and_hash(login: bytes | None) -> None:
    users = Users()
    user = users.add(b"password", login=b"user")
    pair = SessionPair.make(a={"password": b"password", "login": login}, b={"users": users, "require_auth": True})
    hello = pair.a.encrypt(b"payload")
    named = b"\1" + sha(sha(b"password"))[1:8] if login is None else b"\2" + sha(b"user")[1:8]
    assert hello[4:16] == named + bytes(4)
    product = sodium.crypto_scalarmult(node_key(1).raw, node_key(0).public.raw)
    secret = sha(product + sha(b"password"))
    content = sodium.crypto_box_open_afternm(hello[72:], hello[16:40], secret)
    assert content[32:] == b"payload"
    assert pair.b.decrypt(hello) == b"payload"
    assert pair.b.user == user
    # The responder says nothing of itself: its key packet has type 0, and filler but for the last two bytes.
    key = pair.b.encrypt(b"")
    assert key[4] == 0
    assert key[14:16] == b"\0\0"
    assert pair.a.decrypt(key) == b""


def test_filler_nonces_and_keys_are_drawn_anew_for_each_packet() -> None:
    pair = SessionPair.make()
    hellos = [HandshakeHeader.decode(pair.a.encrypt(b"")) for _ in range(8)]
    assert [h.kind for h in hellos] == [PacketKind.HELLO] + [PacketKind.REPEAT_HELLO] * 7
    assert len({h.auth.lookup for h in hellos}) == 8
    assert len({h.nonce for h in hellos}) == 8
    assert {h.auth.type for h in hellos} == {0}


@pytest.mark.parametrize("quirks", [False, True])
def test_sizes_and_mtu_follow_the_state(quirks: bool) -> None:
    pair = SessionPair.make(quirks=quirks)
    sides = ((pair.a, pair.b), (pair.b, pair.a)) * 3
    for index, (sender, receiver) in enumerate(sides):
        expected = 120 if index < 2 else 20
        assert sender.overhead == expected
        assert sender.mtu(1500) == 1500 - expected
        packet = sender.encrypt(b"x" * 100)
        assert len(packet) == 100 + expected
        receiver.decrypt(packet)
    assert pair.a.mtu(10) == 0


def test_states_along_the_handshake() -> None:
    pair = SessionPair.make()
    a, b = pair.a, pair.b
    assert (a.state, b.state) == (SessionState.INIT, SessionState.INIT)
    hello = a.encrypt(b"")
    assert a.state is SessionState.SENT_HELLO
    b.decrypt(hello)
    assert b.state is SessionState.RECEIVED_HELLO
    key = b.encrypt(b"")
    assert b.state is SessionState.SENT_KEY
    a.decrypt(key)
    assert a.state is SessionState.RECEIVED_KEY
    data = a.encrypt(b"")
    assert a.state is SessionState.RECEIVED_KEY
    b.decrypt(data)
    assert (b.state, b.established, b.initiator) == (SessionState.ESTABLISHED, True, False)
    a.decrypt(b.encrypt(b""))
    assert (a.state, a.established, a.initiator) == (SessionState.ESTABLISHED, True, True)
    assert (int(SessionState.RECEIVED_KEY), int(SessionState.ESTABLISHED)) == (4, 100)


@given(st.lists(st.tuples(st.booleans(), payloads()), max_size=24))
def test_what_one_side_encrypts_the_other_decrypts(turns: list[tuple[bool, bytes]]) -> None:
    pair = SessionPair.make()
    for from_a, payload in turns:
        sender, receiver = (pair.a, pair.b) if from_a else (pair.b, pair.a)
        assert receiver.decrypt(sender.encrypt(payload)) == payload


@pytest.mark.parametrize("guise", [bytearray, memoryview, lambda raw: np.frombuffer(raw, np.uint8)])
def test_any_bytes_like_object_will_do(guise: Any) -> None:
    pair = SessionPair.make()
    for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a)) * 3:
        packet = sender.encrypt(guise(b"payload"))
        assert type(packet) is bytes
        assert receiver.decrypt(guise(packet)) == b"payload"


# --- repeats, loss, crossing


def test_a_lost_hello_is_repeated_with_the_same_temporary_key() -> None:
    pair = SessionPair.make()
    pair.a.encrypt(b"lost")
    assert pair.b.decrypt(pair.a.encrypt(b"repeat")) == b"repeat"
    assert pair.b.decrypt(pair.a.encrypt(b"again")) == b"again"
    pair.b.encrypt(b"lost")
    repeat = pair.b.encrypt(b"repeated key")
    assert repeat[:4] == b"\0\0\0\3"
    assert pair.a.decrypt(repeat) == b"repeated key"
    assert pair.b.decrypt(pair.a.encrypt(b"data")) == b"data"
    assert pair.b.established


@pytest.mark.parametrize("quirks", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("a_first", [True, False])
def test_crossing_hellos_leave_the_lower_key_as_initiator(quirks: tuple[bool, bool], a_first: bool) -> None:
    pair = SessionPair.make(a={"quirks": quirks[0]}, b={"quirks": quirks[1]})
    to_b, to_a = pair.a.encrypt(b"from a"), pair.b.encrypt(b"from b")
    if a_first:
        assert pair.b.decrypt(to_b) == b"from a"
        assert pair.a.decrypt(to_a) == b"from b"
    else:
        assert pair.a.decrypt(to_a) == b"from b"
        assert pair.b.decrypt(to_b) == b"from a"
    lower, higher = (pair.a, pair.b) if node_key(0).public.raw < node_key(1).public.raw else (pair.b, pair.a)
    assert (lower.state, higher.state) == (SessionState.SENT_HELLO, SessionState.RECEIVED_HELLO)
    assert lower.initiator
    for sender, receiver in ((higher, lower), (lower, higher), (higher, lower)):
        assert receiver.decrypt(sender.encrypt(b"go on")) == b"go on"
    assert pair.a.established
    assert pair.b.established


def test_data_may_come_out_of_order() -> None:
    pair = SessionPair.make().establish()
    packets = [pair.a.encrypt(b"%d" % n) for n in range(40)]
    for n in reversed(range(40)):
        assert pair.b.decrypt(packets[n]) == b"%d" % n
    for packet in packets:
        with pytest.raises(ReplayError):
            pair.b.decrypt(packet)
    assert pair.b.statistics.duplicates == 40
    assert pair.b.statistics.refused == {"ReplayError": 40}


# --- refusals


def test_refusals_before_keys_are_agreed_on() -> None:
    pair = SessionPair.make()
    other = SessionPair.make(a={"random": SeededRandom("x")}, b={"random": SeededRandom("y")})
    with pytest.raises(RuntError, match="19 bytes"):
        pair.b.decrypt(bytes(19))
    with pytest.raises(RuntError, match="at least 120"):
        pair.b.decrypt(bytes(119))
    for word in (4, 5, 0x7FFFFFFF, 0xFFFFFFFF):
        with pytest.raises(NoSessionError):
            pair.b.decrypt(word.to_bytes(4, "big") + bytes(40))
    other.b.decrypt(other.a.encrypt(b""))
    with pytest.raises(StrayKeyError):
        pair.a.decrypt(other.b.encrypt(b""))
    assert pair.b.statistics.refused == {"RuntError": 2, "NoSessionError": 4}
    assert pair.b.state is SessionState.INIT


def test_an_established_session_wants_no_key_packets() -> None:
    pair = SessionPair.make()
    pair.b.decrypt(pair.a.encrypt(b""))
    keys = [pair.b.encrypt(b"") for _ in range(2)]
    pair.a.decrypt(keys[0])
    pair.b.decrypt(pair.a.encrypt(b""))
    pair.a.decrypt(pair.b.encrypt(b""))
    for side in (pair.a, pair.b):
        for key in keys:
            with pytest.raises(EstablishedKeyPacketError):
                side.decrypt(key)


def test_another_node_is_refused() -> None:
    pair = SessionPair.make()
    stranger = Session(node_key(2), peer_key=node_key(1).public)
    hello = stranger.encrypt(b"")
    with pytest.raises(WrongPermanentKeyError):
        pair.b.decrypt(hello)
    disguised = hello[:40] + node_key(0).public.raw + hello[72:]
    with pytest.raises(HandshakeDecryptionError):
        pair.b.decrypt(disguised)


def test_a_session_without_a_peer_takes_the_first_that_proves_itself() -> None:
    server = Session(node_key(1))
    assert server.peer_key is None
    with pytest.raises(CjdnsMisuseError, match="not known"):
        server.encrypt(b"")
    client = Session(node_key(0), peer_key=node_key(1).public)
    hello = client.encrypt(b"hi")
    forged = hello[:40] + node_key(3).public.raw + hello[72:]
    with pytest.raises(HandshakeDecryptionError):
        server.decrypt(forged)
    assert server.peer_key is None
    assert server.decrypt(hello) == b"hi"
    assert server.peer_key == node_key(0).public
    with pytest.raises(WrongPermanentKeyError):
        server.decrypt(Session(node_key(2), peer_key=node_key(1).public).encrypt(b""))


def test_a_key_without_an_address_is_refused() -> None:
    bad = unroutable_key()
    with pytest.raises(AddressError):
        Session(node_key(0), peer_key=bad.public)
    hello = Session(bad, peer_key=node_key(0).public).encrypt(b"hello")
    with pytest.raises(AddressError):
        Session(node_key(0)).decrypt(hello)
    # With quirks that is left to the caller, as CryptoAuth in C leaves it.
    assert Session(node_key(0), quirks=True).decrypt(hello) == b"hello"
    assert Session(node_key(0), peer_key=bad.public, quirks=True).decrypt(hello) == b"hello"


def test_passwords_refused_each_for_its_own_reason() -> None:
    users = Users()
    users.add(b"password", login=b"user")
    users.add(b"restricted", login=b"elsewhere", restrict_to=node_key(5).address)
    users.add(b"from here", login=b"here", restrict_to=node_key(0).address)

    def attempt(password: bytes | None, login: bytes | None = None, require: bool = True) -> bytes:
        pair = SessionPair.make(a={"password": password, "login": login}, b={"users": users, "require_auth": require})
        before = snapshot(pair.b)
        hello = pair.a.encrypt(b"in")
        try:
            return pair.b.decrypt(hello)
        except CryptoAuthError:
            assert snapshot(pair.b) == before
            raise

    assert attempt(b"password") == attempt(b"password", b"user") == b"in"
    assert attempt(b"from here") == attempt(b"from here", b"here") == b"in"
    assert attempt(None, require=False) == b"in"
    for require in (True, False):
        with pytest.raises(HandshakeDecryptionError):
            attempt(b"wrong", b"user", require)
        for password, login in ((b"restricted", None), (b"restricted", b"elsewhere")):
            with pytest.raises(AddressRestrictedError):
                attempt(password, login, require)
    for password, login in ((None, None), (b"wrong", None), (b"password", b"nobody")):
        with pytest.raises(AuthenticationRequiredError):
            attempt(password, login)
    for password, login in ((b"wrong", None), (b"password", b"nobody")):
        with pytest.raises(UnrecognizedAuthenticationError):
            attempt(password, login, require=False)


def test_error_codes_are_those_of_the_c_code() -> None:
    codes = {kind.__name__: kind.code for kind in CryptoAuthError.__subclasses__()}
    assert sorted(codes.values()) == [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]


def test_the_responders_password_reaches_the_initiator() -> None:
    """An initiator that requires authentication gets it in the key packet, mixed into that packet's secret."""
    users_a, users_b = Users(), Users()
    users_a.add(b"of b", login=b"b")
    users_b.add(b"of a", login=b"a")
    pair = SessionPair.make(
        a={"password": b"of a", "users": users_a, "require_auth": True},
        b={"password": b"of b", "login": b"b", "users": users_b, "require_auth": True},
    ).establish()
    assert pair.a.user is not None
    assert pair.b.user is not None
    assert (pair.a.user.name, pair.b.user.name) == ("b", "a")


# --- timers, resets, exhaustion


@pytest.mark.parametrize("quirks", [False, True])
def test_an_established_session_ends_after_60_s_without_data(quirks: bool) -> None:
    pair = SessionPair.make(quirks=quirks).establish()
    pair.clock.advance(59.9)
    assert not pair.a.reset_if_timeout()
    assert pair.a.encrypt(b"")[:4] != bytes(4)
    pair.clock.advance(0.1)
    assert pair.a.reset_if_timeout()
    assert pair.a.state is SessionState.INIT
    assert pair.b.encrypt(b"")[:4] == bytes(4)
    assert pair.b.statistics.timeouts == pair.b.statistics.resets == 1


@pytest.mark.parametrize("quirks", [False, True])
def test_data_keeps_a_session_alive(quirks: bool) -> None:
    pair = SessionPair.make(quirks=quirks).establish()
    for _ in range(10):
        pair.clock.advance(50.0)
        assert pair.b.decrypt(pair.a.encrypt(b"tick")) == b"tick"
        assert pair.a.decrypt(pair.b.encrypt(b"tock")) == b"tock"


@pytest.mark.parametrize("quirks", [False, True])
def test_a_handshake_ends_after_10_s_but_never_in_sent_hello(quirks: bool) -> None:
    pair = SessionPair.make(quirks=quirks)
    hello = pair.a.encrypt(b"")
    pair.clock.advance(3600.0)
    assert not pair.a.reset_if_timeout()
    assert pair.a.encrypt(b"")[:4] == b"\0\0\0\1"
    pair.b.reset_if_timeout()
    pair.b.decrypt(hello)
    pair.clock.advance(9.9)
    assert not pair.b.reset_if_timeout()
    pair.clock.advance(0.2)
    assert pair.b.reset_if_timeout()
    assert pair.b.state is SessionState.INIT


def test_a_hello_to_a_long_idle_session_is_answered_not_forgotten() -> None:
    """The C code leaves the clock as it was, and so throws the first hello away; the default starts it."""
    for quirks, answer in ((False, b"\0\0\0\2"), (True, b"\0\0\0\0")):
        pair = SessionPair.make(b={"quirks": quirks})
        pair.clock.advance(1000.0)
        pair.b.decrypt(pair.a.encrypt(b""))
        assert pair.b.encrypt(b"")[:4] == answer


def test_a_reset_wipes_keys_and_begins_anew() -> None:
    pair = SessionPair.make().establish()
    exchange, cipher = pair.a._live, pair.a._live.cipher
    pair.a.reset()
    assert bytes(exchange.temporary) == bytes(32)
    assert exchange.cipher is None
    assert cipher is not None
    with pytest.raises(CjdnsMisuseError):
        cipher.seal(9, b"")
    assert pair.a.encrypt(b"")[:4] == bytes(4)
    pair.a.close()
    assert state_of(pair.a).next_nonce == 0


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_of_a_with_statement_wipes_every_secret(fails: bool) -> None:
    users = Users()
    users.add(b"a secret")
    pair = SessionPair.make(a={"password": b"a secret"}, b={"users": users}).establish()
    exchange, cipher, peer = pair.a._live, pair.a._live.cipher, pair.a._peer
    kept = [exchange.pair._plain or b"", peer._pair._product or b"", exchange.temporary]
    assert all(any(secret) for secret in kept)

    def use() -> None:
        with pair.a as session:
            assert pair.b.decrypt(session.encrypt(b"still here")) == b"still here"
            if fails:
                pair.clock.now = float("nan")
                session.encrypt(b"")

    if fails:
        with pytest.raises(CjdnsMisuseError, match="time"):
            use()
    else:
        use()
    assert not any(any(secret) for secret in kept)
    assert exchange.cipher is exchange.sealing is exchange.opening is peer.credentials is None
    assert cipher is not None
    with pytest.raises(CjdnsMisuseError, match="wiped"):
        cipher.seal(9, b"")
    assert pair.a.state is SessionState.INIT


@pytest.mark.skipif(LIBRARY is None, reason="this PyNaCl does not expose libsodium")
@pytest.mark.parametrize("many", [False, True])
def test_a_nonce_is_taken_before_libsodium_lets_other_threads_run(monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
    """Whoever seals with the session meanwhile, against the rule of one thread, must not seal with the same nonce."""
    pair = SessionPair.make().establish()
    payloads, sent = PacketArena.pack([b"x"] * 3), []
    sent += pair.a.encrypt_batch(payloads)
    place = (batch if many else session_module, "_seal")
    sealer: Any = getattr(*place)

    def meanwhile(*arguments: Any) -> Any:
        with monkeypatch.context() as other:
            other.setattr(*place, sealer)
            sent.append(pair.a.encrypt(b"meanwhile"))
            sent.extend(pair.a.encrypt_batch(payloads))
        return sealer(*arguments)

    monkeypatch.setattr(*place, meanwhile)
    sent += pair.a.encrypt_batch(payloads) if many else [pair.a.encrypt(b"first")]
    nonces = [bytes(packet[:4]) for packet in sent]
    assert len(set(nonces)) == len(nonces) == (10 if many else 8)


@pytest.mark.parametrize("quirks", [False, True])
def test_before_nonces_run_out_the_session_starts_over(quirks: bool) -> None:
    pair = SessionPair.make(quirks=quirks).establish()
    pair.a._live.next_nonce = NONCES_EXHAUSTED - 1
    last = pair.a.encrypt(b"last")
    assert last[:4].hex() == "ffffffef"
    assert pair.b.decrypt(last) == b"last"
    assert pair.a.encrypt(b"hello again")[:4] == bytes(4)
    assert pair.a.state is SessionState.SENT_HELLO


@pytest.mark.parametrize("quirks", [False, True])
def test_set_auth_resets_only_if_it_changes_something(quirks: bool) -> None:
    pair = SessionPair.make(quirks=quirks).establish()
    pair.a.set_auth(None)
    assert pair.a.established
    pair.a.set_auth(b"password")
    assert pair.a.state is SessionState.INIT
    pair.a.encrypt(b"")
    pair.a.set_auth(b"password")
    assert pair.a.state is SessionState.SENT_HELLO
    pair.a.set_auth(b"password", b"login")
    assert pair.a.state is (SessionState.SENT_HELLO if quirks else SessionState.INIT)
    pair.a.set_auth(None)
    assert pair.a.encrypt(b"")[4] == 0


# --- statistics, misuse, and what must not leak


def test_statistics_count_what_happened() -> None:
    pair = SessionPair.make().establish()
    sent = [pair.a.encrypt(bytes(n)) for n in (10, 20, 30)]
    for packet in (sent[0], sent[2]):
        pair.b.decrypt(packet)
    pair.clock.advance(1.0)
    a, b = pair.a.statistics, pair.b.statistics
    assert (a.packets_out, a.bytes_out) == (5, 120 + 20 + 30 + 40 + 50)
    assert (a.packets_in, a.bytes_in) == (2, 120 + 20)
    assert (b.packets_in, b.bytes_in) == (4, 120 + 20 + 30 + 50)
    assert (a.handshakes_out, a.handshakes_in, b.handshakes_out, b.handshakes_in) == (1, 1, 1, 1)
    assert (a.sessions, b.sessions, a.resets) == (1, 1, 0)
    for _ in range(100):
        pair.b.decrypt(pair.a.encrypt(b""))
    assert pair.b.statistics.lost == 1 + 3  # one was not delivered; three nonces are skipped when a is established
    pair.a.reset()
    assert pair.a.statistics.resets == 1


def test_misuse_is_told_from_bad_input() -> None:
    good = {"peer_key": node_key(1).public}
    for wrong in (
        {"peer_key": node_key(1).public.raw},
        {"users": []},
        {"password": "text"},
        {"login": b"without password"},
        {"profile": "other"},
        {"profile": 5},
        {"authenticate": False},
        {"derivations": 3, "password": b"x"},
        {"peer_key": node_key(0).public},
    ):
        with pytest.raises(CjdnsMisuseError):
            Session(node_key(0), **{**good, **wrong})
    with pytest.raises(CjdnsMisuseError):
        Session(b"key")  # type: ignore[arg-type]
    pair = SessionPair.make()
    for established in (False, True):
        if established:
            pair.establish()
        for wrong_call in (
            lambda: pair.a.encrypt("text"),  # type: ignore[arg-type]
            lambda: pair.a.encrypt(7),  # type: ignore[arg-type]
            lambda: pair.a.decrypt(None),  # type: ignore[arg-type]
            lambda: pair.a.encrypt(b"", now="late"),  # type: ignore[arg-type]
            lambda: pair.a.encrypt(b"", now=float("nan")),
            lambda: pair.a.decrypt(b"", now=float("inf")),
            lambda: pair.a.reset(now=[]),  # type: ignore[arg-type]
            lambda: pair.a.set_auth(None, b"login"),
            lambda: pair.a.connect_to_me(),
        ):
            before = snapshot(pair.a)
            with pytest.raises(CjdnsMisuseError):
                wrong_call()
            assert snapshot(pair.a) == before


@pytest.mark.parametrize("broken", [lambda size: b"", lambda size: "x" * size, lambda size: bytes(size + 1)])
def test_a_broken_random_source_is_noticed_before_anything_changes(broken: Any) -> None:
    pair = SessionPair.make(a={"random": broken})
    before = snapshot(pair.a)
    with pytest.raises(CjdnsMisuseError, match="random"):
        pair.a.encrypt(b"")
    assert snapshot(pair.a) == before


def test_nothing_secret_is_shown_and_sessions_do_not_pickle() -> None:
    users = Users()
    users.add(b"hunter2")
    pair = SessionPair.make(a={"password": b"hunter2"}, b={"users": users}).establish()
    state = state_of(pair.a)
    shown = " ".join(map(repr, (pair.a, pair.a.statistics, pair.a._live.cipher, state, snapshot(pair.a), users)))
    for secret in (state.temporary, state.secret, node_key(0).raw, sha(b"hunter2")):
        assert secret.hex() not in shown
        assert repr(secret)[2:14] not in shown
    for act in (pickle.dumps, copy.deepcopy):
        with pytest.raises((TypeError, CjdnsMisuseError)):
            act(pair.a)


def test_the_table_covers_every_packet_and_phase() -> None:
    kinds = [kind for kind in PacketKind if kind is not PacketKind.CONNECT_TO_ME]
    for kind in kinds:
        assert len(TRANSITIONS[kind, False]) == len(Phase)
        if kind is not PacketKind.DATA:
            assert len(TRANSITIONS[kind, True]) == len(Phase)
    used = {action for row in TRANSITIONS.values() for action in row}
    assert used == set(Action)
    initiators = {Phase.SENT_HELLO, Phase.RECEIVED_KEY, Phase.RUNNING}
    for phase in Phase:
        stray = TRANSITIONS[PacketKind.KEY, False][phase] is Action.STRAY
        assert stray == (phase not in initiators | {Phase.ESTABLISHED})


@pytest.mark.parametrize("word", [0, 1, 2, 3, 4, 5, 0xFFFFFFEF, 0xFFFFFFFE, 0xFFFFFFFF])
def test_what_the_first_word_says(word: int) -> None:
    names = {0: "HELLO", 1: "REPEAT_HELLO", 2: "KEY", 3: "REPEAT_KEY"}
    assert PacketKind.of(word).name == names.get(word, "DATA")
    assert PacketKind.of(word, connect_to_me=True).name == (
        "CONNECT_TO_ME" if word == 2**32 - 1 else names.get(word, "DATA")
    )


@given(st.integers(4, 2**32 - 2))
def test_every_other_word_is_a_data_nonce(word: int) -> None:
    assert PacketKind.of(word) is PacketKind.of(word, connect_to_me=True) is PacketKind.DATA


def test_public_key_type_of_peer() -> None:
    pair = SessionPair.make()
    assert isinstance(pair.a.peer_key, PublicKey)
    assert pair.a.peer_key == node_key(1).public
