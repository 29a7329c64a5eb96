# SPDX-License-Identifier: Apache-2.0
"""Data packets one by one, against PyNaCl's public bindings and packets put together by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import nacl.bindings as bindings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.cryptoauth import Session, sodium
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher, _SodiumCipher
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, CryptoAuthError, DecryptionError, RuntError
from prestocloud_sec.errors import UnavailableError
from prestocloud_sec.testing.ground import buffers
from prestocloud_sec.testing.session import SessionPair, damaged

SECRET = bytes(range(32))
nonces = st.integers(4, 0xFFFFFFFF)
secrets = st.binary(min_size=32, max_size=32)
roles = st.booleans()


def box_nonce(nonce: int, *, from_initiator: bool) -> bytes:
    """Return the cipher's nonce as the protocol describes it."""
    little = nonce.to_bytes(4, "little")
    return (bytes(4) + little if from_initiator else little + bytes(4)) + bytes(16)


def by_hand(secret: bytes, nonce: int, payload: bytes, *, from_initiator: bool) -> bytes:
    return nonce.to_bytes(4, "big") + bindings.crypto_box_afternm(
        payload, box_nonce(nonce, from_initiator=from_initiator), secret
    )


@pytest.fixture(params=["sodium", "bindings"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "bindings":
        monkeypatch.setattr(sodium, "LIBRARY", None)
    return str(request.param)


def portable(secret: bytes, *, initiator: bool, authenticated: bool = True) -> DataCipher:
    """Make a cipher over the public bindings, whatever there is."""
    cipher = object.__new__(DataCipher)
    cipher.__init__(secret, initiator=initiator, authenticated=authenticated)  # type: ignore[misc]
    return cipher


def both(secret: bytes, *, initiator: bool) -> Iterator[DataCipher]:
    yield DataCipher(secret, initiator=initiator)
    yield portable(secret, initiator=initiator)


def test_there_are_two_implementations() -> None:
    assert type(DataCipher(SECRET, initiator=True)) is _SodiumCipher
    assert type(portable(SECRET, initiator=True)) is DataCipher
    assert type(DataCipher(SECRET, initiator=True, authenticated=False)) is DataCipher


@given(secrets, nonces, st.binary(max_size=300), roles)
def test_seal_is_what_pynacl_makes(secret: bytes, nonce: int, payload: bytes, initiator: bool) -> None:
    for cipher in both(secret, initiator=initiator):
        assert cipher.seal(nonce, payload) == by_hand(secret, nonce, payload, from_initiator=initiator)


@given(secrets, nonces, st.binary(max_size=300), roles)
def test_open_takes_what_pynacl_makes(secret: bytes, nonce: int, payload: bytes, initiator: bool) -> None:
    packet = by_hand(secret, nonce, payload, from_initiator=not initiator)
    for cipher in both(secret, initiator=initiator):
        assert cipher.open(packet) == cipher.open_as(nonce, packet) == payload


@pytest.mark.parametrize("size", [0, 1, 2, 31, 32, 33, 1400, 65495, 65496, 65497, 65515, 65516, 65517, 65536, 200_000])
def test_sizes(size: int, implementation: str) -> None:
    payload = bytes(i & 0xFF for i in range(size))
    packet = DataCipher(SECRET, initiator=True).seal(77, payload)
    assert packet == by_hand(SECRET, 77, payload, from_initiator=True)
    assert DataCipher(SECRET, initiator=False).open(packet) == payload


@given(buffers(max_size=200), buffers(max_size=200))
def test_any_bytes_like_object(payload: object, other: object) -> None:
    ours, theirs = DataCipher(SECRET, initiator=True), DataCipher(SECRET, initiator=False)
    plain = bytes(memoryview(payload))  # type: ignore[arg-type]
    packet = ours.seal(9, payload)  # type: ignore[arg-type]
    assert type(packet) is bytes
    assert packet == ours.seal(9, plain)
    for guise in (packet, bytearray(packet), memoryview(packet), memoryview(b"x" + packet)[1:]):
        opened = theirs.open(guise)
        assert type(opened) is bytes
        assert opened == plain
    with pytest.raises((DecryptionError, RuntError)):
        theirs.open(other)  # type: ignore[arg-type]


@given(st.data(), st.binary(max_size=64))
def test_damaged_packets_give_nothing(data: st.DataObject, payload: bytes) -> None:
    for cipher in both(SECRET, initiator=True):
        packet = data.draw(damaged(by_hand(SECRET, 10, payload, from_initiator=False)))
        with pytest.raises((DecryptionError, RuntError)):
            cipher.open(packet)


def test_every_bit_counts(implementation: str) -> None:
    cipher = DataCipher(SECRET, initiator=True)
    packet = by_hand(SECRET, 10, b"payload", from_initiator=False)
    for bit in range(8 * len(packet)):
        changed = bytearray(packet)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError) as caught:
            cipher.open(changed)
        assert caught.value.code == 15


def test_a_reflected_packet_is_refused(implementation: str) -> None:
    for initiator in (True, False):
        cipher = DataCipher(SECRET, initiator=initiator)
        with pytest.raises(DecryptionError):
            cipher.open(cipher.seal(4, b"to you"))


@pytest.mark.parametrize("size", range(20))
def test_short_packets(size: int, implementation: str) -> None:
    with pytest.raises(RuntError) as caught:
        DataCipher(SECRET, initiator=True).open(bytes(size))
    assert caught.value.code == 1


@pytest.mark.parametrize("nonce", [-1, 0, 3, 1 << 32, 1 << 70, -(1 << 40), 4.0, "4", None])
def test_nonces_that_are_none(nonce: int, implementation: str) -> None:
    with pytest.raises(CjdnsMisuseError, match="data nonce"):
        DataCipher(SECRET, initiator=True).seal(nonce, b"")


@pytest.mark.parametrize("value", ["text", None, 7, [1, 2]])
def test_not_bytes_like(value: bytes, implementation: str) -> None:
    cipher = DataCipher(SECRET, initiator=True)
    for call in (lambda: cipher.seal(4, value), lambda: cipher.open(value), lambda: DataCipher(value, initiator=True)):
        with pytest.raises(CjdnsMisuseError):
            call()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_secrets_have_32_bytes(size: int) -> None:
    with pytest.raises(CjdnsMisuseError, match="32 bytes"):
        DataCipher(bytes(size), initiator=True)


def test_unauthenticated_packets_are_the_same_key_stream(implementation: str) -> None:
    """The stream is read off PyNaCl as the encryption of zeros."""
    payload = b"who knows a byte can change it"
    ours = DataCipher(SECRET, initiator=True, authenticated=False)
    theirs = DataCipher(SECRET, initiator=False, authenticated=False)
    assert ours.overhead == 4
    packet = ours.seal(5, payload)
    stream = bindings.crypto_box_afternm(bytes(len(payload)), box_nonce(5, from_initiator=True), SECRET)[16:]
    assert packet == (5).to_bytes(4, "big") + bytes(a ^ b for a, b in zip(payload, stream, strict=True))
    assert theirs.open(packet) == payload
    assert theirs.open(packet[:4]) == b""
    with pytest.raises(RuntError):
        theirs.open(packet[:3])


def test_wipe(implementation: str) -> None:
    cipher = DataCipher(SECRET, initiator=True)
    key = cipher._key
    assert bytes(key) == SECRET
    cipher.wipe()
    assert bytes(key) == bytes(32)
    cipher.wipe()
    for call in (lambda: cipher.seal(4, b"x"), lambda: cipher.open(bytes(40)), cipher.key_address):
        with pytest.raises(CjdnsMisuseError, match="wiped"):
            call()


def test_the_secret_is_copied_and_never_shown(implementation: str) -> None:
    secret = bytearray(SECRET)
    cipher = DataCipher(secret, initiator=True)
    secret[:] = bytes(32)
    assert cipher.seal(4, b"x") == by_hand(SECRET, 4, b"x", from_initiator=True)
    assert SECRET.hex() not in repr(cipher)
    assert repr(cipher) == "DataCipher(<secret>, initiator=True, authenticated=True)"


def test_threads_can_share_a_cipher() -> None:
    """The library is called without the interpreter's lock: nothing that two calls use may be the same memory."""
    ours, theirs = DataCipher(SECRET, initiator=True), DataCipher(SECRET, initiator=False)
    wrong: list[int] = []

    def work(first: int) -> None:
        for nonce in range(first, first + 300):
            payload = nonce.to_bytes(4, "big") * 400
            packet = ours.seal(nonce, payload)
            if packet != by_hand(SECRET, nonce, payload, from_initiator=True) or theirs.open(packet) != payload:
                wrong.append(nonce)

    threads = [threading.Thread(target=work, args=(4 + 1000 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_the_private_module_a_session_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [SessionPair.make().establish().a.encrypt(payload) for payload in (b"", b"x" * 1400)]
    monkeypatch.setattr(sodium, "LIBRARY", None)
    pair = SessionPair.make().establish()
    assert [SessionPair.make().establish().a.encrypt(payload) for payload in (b"", b"x" * 1400)] == expected
    assert type(pair.a._live.cipher) is DataCipher
    assert pair.b.decrypt(pair.a.encrypt(b"there")) == b"there"
    with pytest.raises(UnavailableError, match="PyNaCl"):
        DataCipher(SECRET, initiator=True).key_address()


def test_an_unknown_library_is_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import nacl._sodium

    class Bare:
        """A cffi library without our functions."""

    monkeypatch.setattr(nacl._sodium, "lib", Bare())
    assert sodium._load() is None


def test_a_session_refuses_by_the_numbers_of_c() -> None:
    pair = SessionPair.make().establish()
    session: Session = pair.b
    packet = pair.a.encrypt(b"once")
    session.decrypt(packet)
    for wire, code in ((packet, 14), (packet[:-1], 15), (packet[:19], 1)):
        with pytest.raises(CryptoAuthError) as caught:
            session.decrypt(wire)
        assert caught.value.code == code
