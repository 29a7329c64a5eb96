# SPDX-License-Identifier: Apache-2.0
"""What an attacker on the wire can do: nothing to data, and to handshakes only what the deliverable concedes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nacl.bindings as sodium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.exceptions import CryptoError

from prestocloud_sec.cjdns.cryptoauth import Session, SessionState, Users
from prestocloud_sec.cjdns.cryptoauth.exchange import Phase
from prestocloud_sec.cjdns.cryptoauth.handshake import seal
from prestocloud_sec.cjdns.cryptoauth.secrets import mix_password, plain_secret, raw_product
from prestocloud_sec.cjdns.errors import (
    CjdnsError,
    DecryptionError,
    HandshakeDecryptionError,
    SmallOrderError,
    WrongPermanentKeyError,
    ZeroTemporaryKeyError,
)
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey
from prestocloud_sec.testing.session import SeededRandom, SessionPair, damaged, node_key, snapshot

# Points of order 1, 2, 4 and 8 and their other encodings (the list in libsodium's ed25519 and x25519 sources, and RFC
# 7748, section 6.1: such a point makes the product zero).
SMALL_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def pair_in(phase: str, **settings_: Any) -> tuple[Session, Session, list[bytes]]:
    """Return the session under attack in a phase, its peer, and all packets on the wire that it has not received."""
    pair = SessionPair.make(**settings_)
    a, b = pair.a, pair.b
    if phase == "INIT":
        return b, a, [a.encrypt(b"hello")]
    if phase == "SENT_HELLO":
        b.decrypt(a.encrypt(b"hello"))
        return a, b, [b.encrypt(b"key"), b.encrypt(b"repeat key")]
    b.decrypt(a.encrypt(b"hello"))
    if phase == "RECEIVED_HELLO":
        return b, a, [a.encrypt(b"repeat hello")]
    key = b.encrypt(b"key")
    a.decrypt(key)
    if phase == "SENT_KEY":
        return b, a, [a.encrypt(b"data 4"), a.encrypt(b"data 5")]
    if phase == "RECEIVED_KEY":
        return a, b, [b.encrypt(b"repeat key")]
    data = a.encrypt(b"data")
    if phase == "RUNNING":
        b.decrypt(data)
        return a, b, [b.encrypt(b"data 6")]
    b.decrypt(data)
    a.decrypt(b.encrypt(b"data"))
    if phase == "ESTABLISHED":
        return b, a, [a.encrypt(b"data"), a.encrypt(b"data")]
    assert phase == "PENDING"
    again = Session(node_key(0), peer_key=node_key(1).public, random=SeededRandom("again"))
    b.decrypt(again.encrypt(b""))
    again.decrypt(b.encrypt(b""))
    return b, a, [a.encrypt(b"data"), again.encrypt(b"promotes"), again.encrypt(b"promotes")]


PHASES = [phase.name for phase in Phase] + ["PENDING"]


def refused_without_a_trace(victim: Session, packet: bytes) -> None:
    before, counted = snapshot(victim), victim.statistics
    with pytest.raises(CjdnsError):
        victim.decrypt(packet)
    assert snapshot(victim) == before
    after = victim.statistics
    assert sum(after.refused.values()) == sum(counted.refused.values()) + 1
    assert (after.packets_in, after.bytes_in, after.handshakes_in) == (
        counted.packets_in,
        counted.bytes_in,
        counted.handshakes_in,
    )


def malleable(packet: bytes) -> bytes:
    """Return a packet with the bytes zeroed that nothing authenticates: those of a handshake's type 0 field."""
    if len(packet) < 120 or packet[:3] != bytes(3) or packet[3] > 3 or packet[4] != 0:
        return packet
    return packet[:5] + bytes(11) + packet[16:]


@pytest.mark.parametrize("phase", PHASES)
@settings(max_examples=30)
@given(data=st.data())
def test_arbitrary_bytes_are_refused_in_every_phase(phase: str, data: st.DataObject) -> None:
    victim, _, _ = pair_in(phase)
    for _ in range(4):
        words = st.one_of(st.integers(0, 8), st.integers(0, 0xFFFFFFFF)).map(lambda word: word.to_bytes(4, "big"))
        packet = data.draw(st.one_of(st.binary(max_size=200), st.builds(bytes.__add__, words, st.binary(max_size=200))))
        refused_without_a_trace(victim, packet)


@pytest.mark.parametrize("phase", PHASES)
@settings(max_examples=30)
@given(data=st.data())
def test_damaged_packets_are_refused_and_the_genuine_ones_still_work(phase: str, data: st.DataObject) -> None:
    victim, _, packets = pair_in(phase)
    for packet in packets:
        for _ in range(3):
            bad = data.draw(damaged(packet))
            # The kind of a handshake is not authenticated either: hello and repeat hello differ in that alone.
            if malleable(bad)[4:] != malleable(packet)[4:]:
                refused_without_a_trace(victim, bad)
    for packet in packets:
        victim.decrypt(packet)


@pytest.mark.parametrize("phase", PHASES)
def test_every_truncation_is_refused(phase: str) -> None:
    victim, _, packets = pair_in(phase)
    for size in range(len(packets[0])):
        refused_without_a_trace(victim, packets[0][:size])
    victim.decrypt(packets[0])


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("disguise", [False, True])
def test_packets_sent_back_are_refused(phase: str, disguise: bool) -> None:
    """Also with the permanent key in their clear header exchanged, which a hello does not authenticate."""
    victim, peer, _ = pair_in(phase)
    for side, other in ((victim, peer), (peer, victim)):
        assert other.peer_key is not None
        for _ in range(3):
            packet = side.encrypt(b"mine")
            if disguise and packet[:3] == bytes(3) and packet[3] < 4:
                assert side.peer_key is not None
                packet = packet[:40] + side.peer_key.raw + packet[72:]
            refused_without_a_trace(side, packet)


def test_reflected_data_does_not_decrypt_because_of_the_nonce_halves() -> None:
    pair = SessionPair.make().establish()
    for side in (pair.a, pair.b):
        packet = side.encrypt(b"mine")
        with pytest.raises(DecryptionError):
            side.decrypt(packet)


@pytest.mark.parametrize("point", SMALL_ORDER)
@pytest.mark.parametrize("quirks", [False, True])
def test_temporary_keys_of_small_order_are_refused(point: bytes, quirks: bool) -> None:
    """In a hello and in a key packet; zero is its own case in C, the others make the data secret known to everyone."""
    a, b = node_key(0), node_key(1)
    pair = SessionPair.make(quirks=quirks)
    hello = seal(0, bytes(12), bytes(24), a.public.raw, point, b"x", plain_secret(a.raw, b.public.raw))
    before = snapshot(pair.b)
    with pytest.raises(ZeroTemporaryKeyError):
        pair.b.decrypt(hello)
    assert snapshot(pair.b) == before
    hello_of_a = pair.a.encrypt(b"")
    content = sodium.crypto_box_open_afternm(hello_of_a[72:], hello_of_a[16:40], plain_secret(b.raw, a.public.raw))
    key = seal(2, bytes(12), bytes(24), b.public.raw, point, b"x", plain_secret(b.raw, content[:32]))
    before = snapshot(pair.a)
    with pytest.raises(ZeroTemporaryKeyError):
        pair.a.decrypt(key)
    assert snapshot(pair.a) == before


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_permanent_keys_of_small_order_are_an_error_and_never_a_crash(point: bytes) -> None:
    hello = bytes(40) + point + bytes(48)
    for quirks in (False, True):
        with pytest.raises(CjdnsError):
            Session(node_key(0), quirks=quirks).decrypt(hello)
    with pytest.raises(HandshakeDecryptionError):
        Session(node_key(0), quirks=True).decrypt(hello)
    with pytest.raises(SmallOrderError):
        Session(node_key(0), peer_key=PublicKey(point), quirks=True).encrypt(b"")


def test_our_own_key_is_nobody_elses() -> None:
    ours = Session(node_key(0), peer_key=node_key(1).public).encrypt(b"")
    with pytest.raises(WrongPermanentKeyError):
        Session(node_key(0)).decrypt(ours)


# --- what the deliverable concedes for handshakes, demonstrated (3.3: "not secure against replay attacks and has no
# forward secrecy if the private key is compromised")


def recorded_session(**settings_: Any) -> tuple[list[bytes], SessionPair]:
    pair = SessionPair.make(**settings_)
    wire = []
    for n, (sender, receiver) in enumerate(((pair.a, pair.b), (pair.b, pair.a)) * 2):
        wire.append(sender.encrypt(b"payload %d" % n))
        receiver.decrypt(wire[-1])
    return wire, pair


def test_a_handshake_payload_can_be_replayed_and_a_data_payload_cannot() -> None:
    wire, pair = recorded_session()
    restarted = Session(node_key(1), peer_key=node_key(0).public)
    assert restarted.decrypt(wire[0]) == b"payload 0"  # the attack works
    for packet in wire[2:]:
        for victim in (pair.a, pair.b, restarted):
            with pytest.raises(CjdnsError):
                victim.decrypt(packet)
    assert restarted.state is SessionState.RECEIVED_HELLO  # and gains nothing more: no session comes of it
    answer = restarted.encrypt(b"to whoever that was")
    with pytest.raises(CjdnsError):
        pair.a.decrypt(answer)


def test_stolen_permanent_keys_open_recorded_hellos_and_no_recorded_data() -> None:
    wire, _ = recorded_session()
    a, b = node_key(0), node_key(1)
    secret = plain_secret(b.raw, a.public.raw)
    content = sodium.crypto_box_open_afternm(wire[0][72:], wire[0][16:40], secret)
    assert content[32:] == b"payload 0"  # the attack works
    # With b's permanent key and a's temporary *public* key, which the hello gave away, the key packet opens as well.
    answer = sodium.crypto_box_open_afternm(wire[1][72:], wire[1][16:40], plain_secret(b.raw, content[:32]))
    assert answer[32:] == b"payload 1"
    known_private, known_public = (a.raw, b.raw), (a.public.raw, b.public.raw, content[:32], answer[:32])
    for packet in wire[2:]:
        nonce = int.from_bytes(packet[:4], "big").to_bytes(4, "little")
        for private in known_private:
            for public in known_public:
                for box_nonce in (nonce + bytes(20), bytes(4) + nonce + bytes(16)):
                    with pytest.raises(CryptoError):
                        sodium.crypto_box_open_afternm(packet[4:], box_nonce, plain_secret(private, public))


@pytest.mark.parametrize("login", [None, b"user"])
def test_with_a_password_stolen_permanent_keys_do_not_open_a_hello(login: bytes | None) -> None:
    users = Users()
    users.add(b"a long password", login=b"user")
    wire, _ = recorded_session(a={"password": b"a long password", "login": login}, b={"users": users})
    a, b = node_key(0), node_key(1)
    product = raw_product(b.raw, a.public.raw)
    candidates: list[bytes] = [plain_secret(b.raw, a.public.raw), product]
    candidates += [mix_password(product, guess) for guess in (bytes(32), wire[0][4:16] + bytes(20))]
    for secret in candidates:
        with pytest.raises(CryptoError):
            sodium.crypto_box_open_afternm(wire[0][72:], wire[0][16:40], secret)
    impostor = Session(PrivateKey(b.raw), peer_key=a.public)
    with pytest.raises(CjdnsError):
        impostor.decrypt(wire[0])
    with pytest.raises(CjdnsError):  # the type written off does not help either
        impostor.decrypt(wire[0][:4] + b"\0" + wire[0][5:])


@pytest.mark.parametrize("position", range(120))
def test_which_bytes_of_a_hello_are_authenticated(position: int) -> None:
    """With a login only bytes 12 to 15 are free, and of the kind the bit that tells a hello from a repeat."""
    users = Users()
    users.add(b"password", login=b"user")
    make: Callable[[], SessionPair] = lambda: SessionPair.make(  # noqa: E731
        a={"password": b"password", "login": b"user"}, b={"users": users, "require_auth": True}
    )
    hello = make().a.encrypt(b"payload")
    changed = hello[:position] + bytes([hello[position] ^ 1]) + hello[position + 1 :]
    victim = make().b
    if position in (3, 12, 13, 14, 15):
        assert victim.decrypt(changed) == b"payload"
    else:
        refused_without_a_trace(victim, changed)
