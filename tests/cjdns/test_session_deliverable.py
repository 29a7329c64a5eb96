# SPDX-License-Identifier: Apache-2.0
"""CryptoAuth as the PrEstoCloud deliverable (3.3) has it: connect-to-me, derivations, the A bit, 4-byte headers."""

from __future__ import annotations

import hashlib
from typing import Any

import nacl.bindings as sodium
import nacl.secret
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.cjdns.cryptoauth import HandshakeHeader, Session, SessionState, Users
from prestocloud_sec.cjdns.cryptoauth.core import DEFAULT_MAX_DERIVATIONS
from prestocloud_sec.cjdns.errors import (
    AddressError,
    CjdnsError,
    CjdnsMisuseError,
    DecryptionError,
    HandshakeDecryptionError,
    InvalidHandshakeError,
    ReplayError,
    RuntError,
    UnrecognizedAuthenticationError,
    WrongPermanentKeyError,
)
from prestocloud_sec.testing.session import SeededRandom, SessionPair, node_key, snapshot, state_of

PLAIN = {"profile": "deliverable", "authenticate": False}
TAGGED = {"profile": "deliverable", "authenticate": True}


def unknown_peer(number: int, **settings_: Any) -> Session:
    return Session(node_key(number), profile="deliverable", random=SeededRandom(number), **settings_)


# --- connect-to-me


def test_connect_to_me_makes_the_receiver_say_hello() -> None:
    asker, answerer = unknown_peer(0), unknown_peer(1)
    request = asker.connect_to_me()
    assert len(request) == 120
    assert request[:4] == b"\xff\xff\xff\xff"
    assert request[40:72] == node_key(0).public.raw
    assert answerer.decrypt(request) == b""
    assert answerer.peer_key == node_key(0).public
    hello = answerer.encrypt(b"hello")
    assert hello[:4] == bytes(4)
    assert asker.decrypt(hello) == b"hello"
    assert asker.peer_key == node_key(1).public
    for sender, receiver in ((asker, answerer), (answerer, asker)) * 2:
        assert receiver.decrypt(sender.encrypt(b"payload")) == b"payload"
    assert asker.established
    assert answerer.established


def test_everything_but_type_and_key_is_random() -> None:
    asker = Session(node_key(0), profile="deliverable")
    packets = [asker.connect_to_me() for _ in range(64)]
    for position in range(120):
        values = {packet[position] for packet in packets}
        assert (len(values) == 1) == (position < 4 or 40 <= position < 72)


def test_with_a_session_connect_to_me_is_dropped() -> None:
    request = unknown_peer(2).connect_to_me()
    for phase in range(5):
        pair = SessionPair.make(profile="deliverable")
        for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a), (pair.a, pair.b), (pair.b, pair.a))[:phase]:
            receiver.decrypt(sender.encrypt(b""))
        for side in (pair.a, pair.b):
            before = snapshot(side)
            with pytest.raises(InvalidHandshakeError):
                side.decrypt(request)
            assert snapshot(side) == before


def test_connect_to_me_names_a_node_in_the_network() -> None:
    answerer = unknown_peer(1)
    request = unknown_peer(0).connect_to_me()
    with pytest.raises(RuntError):
        answerer.decrypt(request[:119])
    with pytest.raises(AddressError):
        answerer.decrypt(request[:40] + bytes(31) + b"\1" + request[72:])
    with pytest.raises(WrongPermanentKeyError):
        answerer.decrypt(request[:40] + node_key(1).public.raw + request[72:])
    assert answerer.peer_key is None


def test_a_key_that_was_only_named_gives_way_to_one_that_proves_itself() -> None:
    """Anybody can send connect-to-me; it must not keep the true peer out."""
    for said_hello in (False, True):
        answerer = unknown_peer(1)
        answerer.decrypt(unknown_peer(5).connect_to_me())
        if said_hello:
            answerer.encrypt(b"to node 5")
        true_peer = unknown_peer(0, peer_key=node_key(1).public)
        forged = true_peer.encrypt(b"")
        with pytest.raises(HandshakeDecryptionError):
            answerer.decrypt(forged[:-1] + bytes([forged[-1] ^ 1]))
        assert answerer.peer_key == node_key(5).public
        assert answerer.decrypt(true_peer.encrypt(b"proof")) == b"proof"
        assert answerer.peer_key == node_key(0).public
        assert answerer.state is SessionState.RECEIVED_HELLO
        with pytest.raises(WrongPermanentKeyError):
            answerer.decrypt(unknown_peer(5, peer_key=node_key(1).public).encrypt(b""))
    answerer = unknown_peer(1)
    answerer.decrypt(unknown_peer(5).connect_to_me())
    answerer.reset()
    assert answerer.peer_key is None


def test_connect_to_me_belongs_to_this_profile_and_to_unknown_peers() -> None:
    with pytest.raises(CjdnsMisuseError):
        Session(node_key(0)).connect_to_me()
    with pytest.raises(CjdnsMisuseError):
        unknown_peer(0, peer_key=node_key(1).public).connect_to_me()
    with pytest.raises(CjdnsError):
        Session(node_key(1)).decrypt(unknown_peer(0).connect_to_me())


def test_the_permanent_key_in_a_key_packet_must_be_there_but_is_not_looked_at() -> None:
    """The deliverable says so (header type 3); running nodes compare it, and so does the other profile."""
    for profile in ("deliverable", "cjdns"):
        pair = SessionPair.make(profile=profile)
        pair.b.decrypt(pair.a.encrypt(b""))
        key = pair.b.encrypt(b"payload")
        noise = key[:40] + SeededRandom("noise")(32) + key[72:]
        if profile == "deliverable":
            assert pair.a.decrypt(noise) == b"payload"
            assert pair.a.peer_key == node_key(1).public
        else:
            with pytest.raises(WrongPermanentKeyError):
                pair.a.decrypt(noise)


# --- derivations


@pytest.mark.parametrize("derivations", [0, 1, 2, 1000])
@pytest.mark.parametrize("login", [None, b"user"])
def test_derivations_make_the_secret(derivations: int, login: bytes | None) -> None:
    users = Users()
    users.add(b"password", login=b"user")
    pair = SessionPair.make(
        a={"password": b"password", "login": login, "derivations": derivations},
        b={"users": users, "require_auth": True},
        profile="deliverable",
    )
    hello = pair.a.encrypt(b"payload")
    header = HandshakeHeader.decode(hello[:120])
    assert header.auth.derivations == derivations
    secret = hashlib.sha256(b"password").digest()
    for _ in range(derivations):
        secret = hashlib.sha256(secret).digest()
    product = sodium.crypto_scalarmult(node_key(1).raw, node_key(0).public.raw)
    box = nacl.secret.SecretBox(hashlib.sha256(product + secret).digest())
    assert box.decrypt(hello[72:], hello[16:40])[32:] == b"payload"
    assert pair.b.decrypt(hello) == b"payload"


def test_a_receiver_bounds_the_work_it_does() -> None:
    users = Users()
    users.add(b"password")
    for derivations, most, accepted in ((10, 10, True), (11, 10, False), (DEFAULT_MAX_DERIVATIONS + 1, None, False)):
        limit = {} if most is None else {"max_derivations": most}
        pair = SessionPair.make(
            a={"password": b"password", "derivations": derivations}, b={"users": users, **limit}, profile="deliverable"
        )
        hello = pair.a.encrypt(b"payload")
        if accepted:
            assert pair.b.decrypt(hello) == b"payload"
        else:
            with pytest.raises(UnrecognizedAuthenticationError, match="derivations"):
                pair.b.decrypt(hello)


def test_changed_derivations_are_noticed_and_without_a_password_they_are_filler() -> None:
    users = Users()
    users.add(b"password")
    pair = SessionPair.make(a={"password": b"password"}, b={"users": users}, profile="deliverable")
    hello = pair.a.encrypt(b"payload")
    with pytest.raises(HandshakeDecryptionError):
        pair.b.decrypt(hello[:12] + b"\0\1" + hello[14:])
    plain = SessionPair.make(profile="deliverable")
    hello = plain.a.encrypt(b"payload")
    assert plain.b.decrypt(hello[:12] + b"\xff\xff" + hello[14:]) == b"payload"


# --- the A bit and data packets of 4 bytes


def test_without_the_a_bit_and_passwords_data_has_a_header_of_4_bytes() -> None:
    pair = SessionPair.make(**PLAIN).establish()
    secret = state_of(pair.a).secret
    assert pair.a.overhead == pair.b.overhead == 4
    assert pair.a.mtu(1500) == 1496
    packet = pair.a.encrypt(b"payload")
    assert len(packet) == 4 + 7
    nonce = bytes(4) + int.from_bytes(packet[:4], "big").to_bytes(4, "little") + bytes(16)
    # The ciphertext of crypto_box_afternm without its authenticator.
    assert packet[4:] == sodium.crypto_box_afternm(b"payload", nonce, secret)[16:]
    assert pair.b.decrypt(packet) == b"payload"
    packet = pair.b.encrypt(b"payload")
    nonce = int.from_bytes(packet[:4], "big").to_bytes(4, "little") + bytes(20)
    assert packet[4:] == sodium.crypto_box_afternm(b"payload", nonce, secret)[16:]
    assert pair.a.decrypt(packet) == b"payload"


@pytest.mark.parametrize("a", [PLAIN, TAGGED])
@pytest.mark.parametrize("b", [PLAIN, TAGGED])
@pytest.mark.parametrize("password", [None, "a", "b"])
def test_an_a_bit_or_a_password_of_either_side_authenticates_all_packets(
    a: dict[str, Any], b: dict[str, Any], password: str | None
) -> None:
    users = Users()
    users.add(b"password")
    more_a = {"password": b"password"} if password == "a" else {"users": users}
    more_b = {"password": b"password"} if password == "b" else {"users": users}
    pair = SessionPair.make({**a, **more_a}, {**b, **more_b})
    hello = pair.a.encrypt(b"")
    assert HandshakeHeader.decode(hello).auth.authenticate is bool(a["authenticate"])
    assert hello[14] >> 7 == a["authenticate"]
    pair.b.decrypt(hello)
    pair.a.decrypt(pair.b.encrypt(b""))
    tagged = a["authenticate"] or b["authenticate"] or password is not None
    for sender, receiver in ((pair.a, pair.b), (pair.b, pair.a)) * 2:
        packet = sender.encrypt(b"payload")
        assert len(packet) == 7 + (20 if tagged else 4)
        assert receiver.decrypt(packet) == b"payload"


def test_4_byte_data_can_be_changed_on_the_way_and_tagged_data_cannot() -> None:
    """What `authenticate=False` gives up, shown: an attacker who knows the plaintext writes another."""
    pair = SessionPair.make(**PLAIN).establish()
    packet = pair.a.encrypt(b"pay 100")
    changed = packet[:4] + bytes(c ^ o ^ n for c, o, n in zip(packet[4:], b"pay 100", b"pay 999", strict=True))
    assert pair.b.decrypt(changed) == b"pay 999"
    pair = SessionPair.make(**TAGGED).establish()
    packet = pair.a.encrypt(b"pay 100")
    for at in range(len(packet)):
        with pytest.raises(CjdnsError):
            pair.b.decrypt(packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :])
    assert pair.b.decrypt(packet) == b"pay 100"


def test_clearing_the_a_bit_on_the_way_loses_packets_but_no_protection() -> None:
    """Both sides insist: nothing changes. One insists: its peer's untagged packets are refused."""

    def cleared(packet: bytes) -> bytes:
        return packet[:14] + bytes([packet[14] & 0x7F]) + packet[15:]

    pair = SessionPair.make(**TAGGED)
    pair.b.decrypt(cleared(pair.a.encrypt(b"")))
    pair.a.decrypt(cleared(pair.b.encrypt(b"")))
    assert len(pair.a.encrypt(b"")) == 20
    pair = SessionPair.make(TAGGED, PLAIN)
    pair.b.decrypt(cleared(pair.a.encrypt(b"")))
    pair.a.decrypt(cleared(pair.b.encrypt(b"")))
    pair.b.decrypt(pair.a.encrypt(b"to one who expects 4 bytes"))  # garbage: it has no authenticator to look at
    with pytest.raises(DecryptionError):
        pair.a.decrypt(pair.b.encrypt(b"untagged, and long enough for a tag"))


@pytest.mark.parametrize("settings_", [PLAIN, TAGGED])
def test_the_replay_window_holds_in_both_forms(settings_: dict[str, Any]) -> None:
    pair = SessionPair.make(**settings_).establish()
    packets = [pair.a.encrypt(b"%d" % n) for n in range(100)]
    order = [*range(0, 100, 2), *range(99, 80, -2), *range(90)]
    accepted: list[int] = []
    for n in order:
        try:
            assert pair.b.decrypt(packets[n]) == b"%d" % n
        except ReplayError:
            continue
        accepted.append(n)
    assert len(accepted) == len(set(accepted)) >= 60


def test_reflected_data_is_garbage_or_refused() -> None:
    """The halves of the nonce make another key stream; only an authenticator can say so."""
    pair = SessionPair.make(**PLAIN).establish()
    mine = pair.a.encrypt(b"mine, and long enough to be unlikely by chance")
    assert pair.a.decrypt(mine) != b"mine, and long enough to be unlikely by chance"
    pair = SessionPair.make(**TAGGED).establish()
    with pytest.raises(DecryptionError):
        pair.a.decrypt(pair.a.encrypt(b"mine"))


def test_without_authenticators_hellos_are_taken_as_in_c() -> None:
    pair = SessionPair.make(**PLAIN).establish()
    again = Session(node_key(0), peer_key=node_key(1).public, random=SeededRandom("again"), **PLAIN)  # type: ignore[arg-type]
    pair.b.decrypt(again.encrypt(b""))
    assert pair.b.state is SessionState.RECEIVED_HELLO


def test_authenticators_are_the_default() -> None:
    pair = SessionPair.make(profile="deliverable").establish()
    assert pair.a.overhead == 20
    assert pair.a.encrypt(b"")[:4] != bytes(4)


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_untagged_sessions_answer_any_bytes_with_a_payload_or_a_typed_error(packet: bytes) -> None:
    for pair in (SessionPair.make(**PLAIN), SessionPair.make(**PLAIN).establish()):
        try:
            pair.b.decrypt(packet)
        except CjdnsError:
            pass
        else:
            assert len(packet) >= 4
            assert packet[:4] >= b"\0\0\0\4"


def test_the_two_profiles_talk_to_each_other() -> None:
    """As far as they have the same words: the A bit is unbound and ignored by running nodes."""
    for a, b in (({}, TAGGED), (TAGGED, {}), ({"quirks": True}, TAGGED)):
        pair = SessionPair.make(a, b).establish()
        assert pair.b.decrypt(pair.a.encrypt(b"payload")) == b"payload"
        assert pair.a.decrypt(pair.b.encrypt(b"payload")) == b"payload"
