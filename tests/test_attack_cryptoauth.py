# SPDX-License-Identifier: Apache-2.0
"""Sessions, ciphers and tables of users against callers, clocks, arenas and threads that do not keep their word."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.cryptoauth import Session, Users
from prestocloud_sec.cjdns.cryptoauth.auth import Credentials, derive
from prestocloud_sec.cjdns.cryptoauth.batch import open_batch, seal_batch
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher
from prestocloud_sec.cjdns.cryptoauth.handshake import PacketKind
from prestocloud_sec.cjdns.cryptoauth.replay import ReplayWindow
from prestocloud_sec.cjdns.cryptoauth.secrets import plain_secret, raw_product
from prestocloud_sec.cjdns.cryptoauth.sodium import LIBRARY, open_box, public_key, seal_box
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import PrivateKey
from prestocloud_sec.wire import shown

HUGE = 10**5000
OURS, THEIRS = PrivateKey.generate(), PrivateKey.generate()
needs_batches = pytest.mark.skipif(LIBRARY is None, reason="this PyNaCl does not expose libsodium")


class Clock:
    now: Any = 0.0

    def __call__(self) -> Any:
        return self.now


def established() -> tuple[Session, Session, Clock]:
    clock = Clock()
    ours = Session(OURS, peer_key=THEIRS.public, clock=clock)
    theirs = Session(THEIRS, clock=clock)
    for _ in range(2):
        theirs.decrypt(ours.encrypt(b""))
        ours.decrypt(theirs.encrypt(b""))
    assert ours.established
    return ours, theirs, clock


def state(session: Session) -> tuple[Any, ...]:
    live = session._live
    return live.next_nonce, live.window.base, live.window.bits, session._heard, session.state


# --- time

NO_TIMES = [None, "1", 1j, float("nan"), float("inf"), -float("inf"), Decimal(1), HUGE, -HUGE, [], np.zeros(2)]


@pytest.mark.parametrize("wrong", NO_TIMES, ids=shown)
@pytest.mark.parametrize("act", ["encrypt", "decrypt", "encrypt_batch", "decrypt_batch", "reset"])
def test_a_clock_that_tells_no_time_changes_nothing(act: str, wrong: Any) -> None:
    ours, theirs, clock = established()
    packet = theirs.encrypt(b"hello")
    given = {
        "encrypt": [b"x"],
        "decrypt": [packet],
        "encrypt_batch": [PacketArena.pack([b"x"])],
        "decrypt_batch": [PacketArena.pack([packet])],
        "reset": [],
    }[act]
    before, clock.now = state(ours), wrong
    for options in ({}, {"now": wrong}):
        if options and wrong is None:
            continue  # no time given: the clock is asked
        with pytest.raises(CjdnsMisuseError):
            getattr(ours, act)(*given, **options)
        assert state(ours) == before
    clock.now = 0.0
    assert ours.decrypt(packet) == b"hello"


# --- copies

WITHIN: dict[str, Callable[[Session], object]] = {
    "session": lambda session: session,
    "exchange": lambda session: session._live,
    "pair": lambda session: session._live.pair,
    "peer": lambda session: session._peer,
    "credentials": lambda session: session._peer.credentials,
    "users": lambda session: session._peer.users,
    "cipher": lambda _: DataCipher(bytes(32), initiator=True),
    "plain cipher": lambda _: DataCipher(bytes(32), initiator=True, authenticated=False),
}


@pytest.mark.parametrize("act", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("what", WITHIN)
@pytest.mark.parametrize("hello", [False, True])
def test_what_holds_secrets_is_not_doubled(act: Callable[[object], object], what: str, hello: bool) -> None:
    """A copy made during the handshake would seal other payloads with the nonces of the original."""
    session = Session(OURS, peer_key=THEIRS.public, password=b"secret", users=Users())
    if hello:
        session.encrypt(b"")
    with pytest.raises(CjdnsMisuseError):
        act(WITHIN[what](session))


# --- arguments

CALLS: dict[str, Callable[[Any], object]] = {
    "mtu": lambda x: Session(OURS).mtu(None if isinstance(x, int) else x),
    "derivations": lambda x: Session(OURS, password=b"", derivations=x),
    "derivations, deliverable": lambda x: Session(OURS, password=b"", derivations=x, profile="deliverable"),
    "profile": lambda x: Session(OURS, profile=x),
    "clock": lambda x: Session(OURS, clock=x),
    "random": lambda x: Session(OURS, random=x),
    "users": lambda x: Users(limit=-1 if isinstance(x, int) else x),
    "index key": lambda x: Users(random=lambda _: x),
    "lookup": lambda x: Users().lookup(x),
    "secret of": lambda x: Users().secret(x),
    "rounds": lambda x: derive(bytes(32), x),
    "credentials": lambda x: Credentials.of(b"", derivations=x),
    "nonce": lambda x: DataCipher(bytes(32), initiator=True).seal(x, b""),
    "unauthenticated nonce": lambda x: DataCipher(bytes(32), initiator=True, authenticated=False).seal(x, b""),
    "first nonce": lambda x: seal_batch(DataCipher(bytes(32), initiator=True), x, PacketArena.pack([])),
    "window": lambda x: ReplayWindow(x),
    "number": lambda x: ReplayWindow().accept(abs(x) if isinstance(x, int) else x),
    "restart": lambda x: ReplayWindow().restart("x" if isinstance(x, int) else x),  # type: ignore[arg-type]
    "kind": PacketKind.of,
    "private": lambda x: raw_product(x, bytes(32)),
    "public": lambda x: plain_secret(bytes(32), x),
    "public key": public_key,
    "box nonce": lambda x: seal_box(b"", x, bytes(32)),
    "box key": lambda x: open_box(bytes(20), bytes(24), x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [None, HUGE, -HUGE, 1.5, "x" * 10**6, [1], np.zeros(3)[::2]], ids=shown)
def test_wrong_arguments_are_misuse(name: str, wrong: Any) -> None:
    with pytest.raises(CjdnsMisuseError) as caught:
        CALLS[name](wrong)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("size", [0, 1, 23, 31, 33])
def test_libsodium_never_reads_beyond_a_key(size: int) -> None:
    short = bytes(size)
    for act in (
        lambda: plain_secret(short, bytes(32)),
        lambda: plain_secret(bytes(32), short),
        lambda: public_key(short),
        lambda: seal_box(b"", short, bytes(32)),
        lambda: open_box(bytes(20), bytes(24), short),
    ):
        with pytest.raises(CjdnsMisuseError):
            act()


class Liar(bytes):
    def __len__(self) -> int:
        return 60_000


def test_a_packet_is_as_long_as_it_is() -> None:
    ours, theirs, _ = established()
    packet = theirs.encrypt(b"hello")
    assert ours.decrypt(Liar(packet)) == b"hello"
    with pytest.raises(Exception, match="does not authenticate"):
        DataCipher(bytes(32), initiator=True).open_as(4, Liar(packet))


# --- arenas changed after they were made


@needs_batches
def test_no_nonce_seals_twice_when_a_batch_is_cut_off() -> None:
    """The packets' own places are overwritten by the first results: the rest cannot be sealed."""
    ours, _, _ = established()
    first = ours._live.next_nonce
    arena = PacketArena.pack([bytes(40)] * 4)
    places = np.zeros(4096, np.int64)
    places[:4] = arena.offsets
    overlapping = PacketArena(arena.buffer, places[:4], arena.lengths)
    out = PacketArena(places.view(np.uint8), np.zeros(4, np.int64), np.zeros(4, np.int64))
    with pytest.raises(CjdnsMisuseError):
        ours.encrypt_batch(overlapping, out=out)
    used = int.from_bytes(places.view(np.uint8)[:4].tobytes(), "big")
    assert used == first, "a packet was sealed"
    assert int.from_bytes(ours.encrypt(b"")[:4], "big") >= first + 4


EXTREMES = [-1, 1 << 62, (1 << 63) - 1, -(1 << 63)]


@pytest.mark.parametrize("column", ["offsets", "lengths"])
@pytest.mark.parametrize("value", EXTREMES)
@pytest.mark.parametrize("act", ["encrypt_batch", "decrypt_batch"])
@pytest.mark.parametrize("place", ["new", "given", "same"])
@pytest.mark.parametrize("ready", [False, pytest.param(True, marks=needs_batches)])
def test_places_outside_the_buffer(column: str, value: int, act: str, place: str, ready: bool) -> None:
    session = established()[0] if ready else Session(OURS, peer_key=THEIRS.public)
    arena = PacketArena.pack([bytes(30)] * 3, headroom=120)
    getattr(arena, column)[1] = value
    out = {"new": None, "given": PacketArena.uniform(3, 1000), "same": arena}[place]
    if act == "encrypt_batch" and place == "new" and not ready:
        session.encrypt_batch(arena)  # packet by packet: a view of nothing is an empty payload
        return
    with pytest.raises(CjdnsMisuseError):
        getattr(session, act)(arena, out=out)


# --- threads


@needs_batches
def test_threads_share_a_cipher_but_not_their_windows() -> None:
    sender, receiver = DataCipher(bytes(32), initiator=True), DataCipher(bytes(32), initiator=False)
    packets = PacketArena.pack([sender.seal(4 + i, bytes(1400)) for i in range(32)])
    expected = ReplayWindow()
    open_batch(receiver, expected, packets)

    def repeat(_: int) -> bool:
        for _ in range(100):
            window = ReplayWindow()
            opened = open_batch(receiver, window, packets)
            if opened.status.any() or repr(window) != repr(expected):
                return False
        return True

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(repeat, range(8)))
    finally:
        sys.setswitchinterval(interval)
