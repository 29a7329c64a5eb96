# SPDX-License-Identifier: Apache-2.0
"""Our objects against a running cjdroute, over UDP on the loopback.

Run with ``CJDROUTE=/path/to/cjdroute pytest tests/interop``. What is expected comes from the node itself: from its
answers, and from what its admin interface says about us. Our sessions are as they are by default (no quirks).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from prestocloud_sec.cjdns.constants import ErrorType
from prestocloud_sec.cjdns.control import (
    Error,
    GetSnodeQuery,
    GetSnodeReply,
    KeyPing,
    KeyPong,
    Ping,
    Pong,
    RPathQuery,
    RPathReply,
)
from prestocloud_sec.cjdns.cryptoauth import SessionState, Users
from prestocloud_sec.cjdns.errors import (
    AuthenticationRequiredError,
    HandshakeDecryptionError,
    InvalidHandshakeError,
    UnrecognizedAuthenticationError,
)
from prestocloud_sec.cjdns.headers import ContentType, SwitchHeader
from prestocloud_sec.cjdns.ipv6 import rebuild_header
from prestocloud_sec.cjdns.keys import Address, PrivateKey, PublicKey
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, GET_PEERS, NEXT_HOP, PING
from prestocloud_sec.cjdns.switch import ROUTER, V3X5X8, Drop, RouteLabel, Switch
from tests.interop.cjdroute import Cjdroute, executable
from tests.interop.neighbour import VERSION, Neighbour, run

if executable() is None:
    pytest.skip("CJDROUTE names no executable: nothing to talk to", allow_module_level=True)

LOGIN, PASSWORD = "edge-7", "correct horse battery staple"
USERS = ({"user": LOGIN, "password": PASSWORD},)
DATA_STATE = 4
HELLOS = (0, 1)

Start = Callable[..., Cjdroute]
Meet = Callable[..., Neighbour]


@pytest.fixture
def things() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(things: ExitStack) -> Start:
    """Start a cjdroute; at the end it is killed, and its log is there to see if the test failed."""

    def make(**settings: object) -> Cjdroute:
        node = Cjdroute(settings.pop("key", None) or PrivateKey.generate(), **settings)  # type: ignore[arg-type]
        things.callback(lambda: print(node_log[0]))
        node_log = [""]
        things.enter_context(node.running())
        things.callback(lambda: node_log.__setitem__(0, node.log[-4000:]))
        return node

    return make


@pytest.fixture
def meet(things: ExitStack) -> Meet:
    """Make a neighbour of a cjdroute, with the login and password it accepts unless others are given."""

    def make(node: Cjdroute, **settings: object) -> Neighbour:
        settings = {"password": PASSWORD.encode(), "login": LOGIN.encode(), **settings}
        key = settings.pop("key", None) or PrivateKey.generate()
        return things.enter_context(Neighbour(key, node.endpoint, node.public, **settings))  # type: ignore[arg-type]

    return make


@pytest.fixture
def pair(start: Start, meet: Meet) -> tuple[Cjdroute, Neighbour]:
    """Return a cjdroute and a neighbour of it whose link is up."""
    node = start(passwords=USERS)
    us = meet(node)
    assert us.connect()
    return node, us


def word(packet: bytes) -> int:
    """Return the first 32 bits of a packet: its state or nonce."""
    return int.from_bytes(packet[:4], "big")


def state_of(node: Cjdroute, us: Neighbour) -> str:
    """Return what the node says of the link to us."""
    peer = node.peer(us.key.public)
    return "" if peer is None else peer[b"state"].decode()


def established(node: Cjdroute, us: Neighbour, *, seconds: float = 5.0) -> bool:
    """Tell whether both sides come to call the link established."""
    return us.run(lambda: us.outer.established and state_of(node, us) == "ESTABLISHED", seconds=seconds)


def answered(us: Neighbour, *, seconds: float = 3.0) -> bool:
    """Tell whether the node answers a switch ping that we send now, at once and without repeating it."""
    ping = us.knock()
    return us.run(lambda: any(pong.opaque == ping.opaque for pong in us.heard.of(Pong)), seconds=seconds)


def through(us: Neighbour, node: Cjdroute, kind: bytes = PING, target: bytes | None = None, *, seconds: float = 3.0):
    """Ask a DHT question once, through the inner session, and return the reply (None if none comes)."""
    address = node.public.address
    if address not in us.far:
        us.reach(node.public)
    txid = us.ask(address, kind, target)
    us.run(lambda: us.heard.reply(txid), seconds=seconds)
    return us.heard.reply(txid)


def call(node: Cjdroute, us: Neighbour, function: str, *, seconds: float = 5.0, **arguments: object):
    """Have the node do something that takes us to answer; return what it then says."""
    txid = node.admin.post(function, **arguments)
    found: list[object] = []

    def look() -> bool:
        found[:] = [node.admin.answer(txid, seconds=0.01)]
        return found[0] is not None

    us.run(look, seconds=seconds)
    return found[0]


def ours(us: Neighbour, label: RouteLabel) -> str:
    """Return our name as the node writes it."""
    return f"v{VERSION}.{label}.{us.key.public.text}"


# -- the link: who may come in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("login", "auth_type"), [(LOGIN, 2), (None, 1)], ids=["login", "password alone"])
def test_we_connect(start: Start, meet: Meet, login: str | None, auth_type: int) -> None:
    node = start(passwords=USERS)
    us = meet(node, login=login.encode() if login else None)
    assert us.connect()
    assert (us.sent[0][0:4], us.sent[0][4]) == (bytes(4), auth_type)
    assert us.outer.initiator
    assert us.outer.peer_key == node.public
    assert established(node, us)
    peer = node.peer(us.key.public)
    assert peer is not None
    assert peer[b"isIncoming"] == 1
    assert peer[b"lladdr"].decode() == us.endpoint
    assert us.heard.refused == []


@pytest.mark.parametrize("login", [LOGIN, None], ids=["login", "password alone"])
def test_they_connect(start: Start, meet: Meet, login: str | None) -> None:
    users = Users()
    user = users.add(PASSWORD.encode(), login=LOGIN.encode())
    theirs = PrivateKey.generate()
    us = Neighbour(PrivateKey.generate(), None, theirs.public, users=users, waits=True)
    with us:
        told = {"publicKey": us.key.public.text, "password": PASSWORD, **({"login": login} if login else {})}
        node = start(key=theirs, connect_to={us.endpoint: told})
        assert us.outer.peer_key is None
        assert established(node, us, seconds=10)
        assert us.heard.datagrams[0][4] == (2 if login else 1)
        assert not us.outer.initiator
        assert us.outer.user == user
        assert us.outer.peer_key == node.public
        assert us.remote == node.endpoint
        assert answered(us)
        assert us.heard.refused == []


@pytest.mark.parametrize("lower", [False, True], ids=["our key is higher", "our key is lower"])
def test_both_connect_at_once(start: Start, meet: Meet, lower: bool) -> None:
    """Hellos that cross: the node with the lower key stays initiator, and both sides see that the same way."""
    mine, theirs = sorted((PrivateKey.generate(), PrivateKey.generate()), key=lambda key: key.public.raw, reverse=not lower)
    users = Users()
    users.add(PASSWORD.encode())
    us = Neighbour(mine, None, theirs.public, users=users, password=PASSWORD.encode(), login=LOGIN.encode())
    with us:
        told = {us.endpoint: {"publicKey": mine.public.text, "password": PASSWORD}}
        node = start(key=theirs, passwords=USERS, connect_to=told)  # its hello waits in our socket
        us.remote = node.endpoint
        us.knock()
        assert us.outer.state is SessionState.SENT_HELLO
        assert us.run(lambda: us.outer.established, seconds=10, nudge=us.knock)
        assert us.outer.initiator is lower
        assert established(node, us)
        assert answered(us)
        assert word(us.sent[0]) == word(us.heard.datagrams[0]) == 0


@pytest.mark.parametrize("login", [LOGIN, None], ids=["login", "password alone"])
def test_our_wrong_password_meets_silence(start: Start, meet: Meet, login: str | None) -> None:
    node = start(passwords=USERS)
    us = meet(node, login=login.encode() if login else None, password=b"wrong")
    assert not us.connect(seconds=2.0)
    assert us.heard.datagrams == []
    assert us.outer.state is SessionState.SENT_HELLO
    assert len(us.sent) >= 3
    assert [word(sent) for sent in us.sent] == [0] + [1] * (len(us.sent) - 1)
    assert node.peer(us.key.public) is None


def test_we_are_not_whom_the_password_is_for(start: Start, meet: Meet) -> None:
    allowed = PrivateKey.generate()
    node = start(passwords=({**USERS[0], "ipv6": str(allowed.address)},))
    stranger, friend = meet(node), meet(node, key=allowed)
    assert not stranger.connect(seconds=1.5)
    assert stranger.heard.datagrams == []
    assert friend.connect()


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"login": LOGIN, "password": "wrong"}, HandshakeDecryptionError),
        ({"password": "wrong"}, AuthenticationRequiredError),
        ({"login": "nobody", "password": PASSWORD}, AuthenticationRequiredError),
    ],
    ids=["wrong password", "unknown password", "unknown login"],
)
def test_their_wrong_password_is_a_typed_error(start: Start, told: dict[str, str], error: type[Exception]) -> None:
    users = Users()
    users.add(PASSWORD.encode(), login=LOGIN.encode())
    theirs = PrivateKey.generate()
    with Neighbour(PrivateKey.generate(), None, theirs.public, users=users, waits=True) as us:
        node = start(key=theirs, connect_to={us.endpoint: {"publicKey": us.key.public.text, **told}})
        us.run(lambda: len(us.heard.refused) >= 2, seconds=10)
        assert len(us.heard.refused) >= 2
        assert {type(refused) for refused in us.heard.refused} == {error}
        assert us.sent == []
        assert us.outer.state is SessionState.INIT
        assert us.outer.peer_key is None
        assert state_of(node, us) != "ESTABLISHED"


def test_without_users_an_authenticated_hello_is_a_typed_error(start: Start) -> None:
    theirs = PrivateKey.generate()
    with Neighbour(PrivateKey.generate(), None, theirs.public) as us:
        start(key=theirs, connect_to={us.endpoint: {"publicKey": us.key.public.text, "password": PASSWORD}})
        us.run(lambda: us.heard.refused, seconds=10)
        assert {type(refused) for refused in us.heard.refused} == {UnrecognizedAuthenticationError}


# -- control frames and labels ---------------------------------------------------------------------------------------


def test_control_frames_are_answered(pair: tuple[Cjdroute, Neighbour]) -> None:
    node, us = pair
    label = us.label
    ping = Ping(VERSION, os.urandom(200))
    key_ping = KeyPing(VERSION, us.key.public.raw, os.urandom(64))
    get_snode = GetSnodeQuery(VERSION, opaque=os.urandom(12))
    rpath = RPathQuery(VERSION, int(label), os.urandom(12))
    for query in (ping, key_ping, get_snode, rpath):
        us.control(query)
    us.run(lambda: us.heard.of(GetSnodeReply) and (us.heard.of(RPathReply) or node.version() < 21), seconds=3)
    version = node.version()
    assert Pong(version, ping.opaque) in us.heard.of(Pong)
    assert us.heard.of(KeyPong) == [KeyPong(version, node.public.raw, key_ping.opaque)]
    assert us.heard.of(GetSnodeReply) == [GetSnodeReply(version, opaque=get_snode.opaque)]  # it knows no supernode
    if version >= 21:  # the frame is new in version 21
        theirs = RouteLabel.parse(node.peer(us.key.public)[b"addr"].decode()[4:23])  # type: ignore[index]
        assert us.heard.of(RPathReply) == [RPathReply(version, int(theirs), rpath.opaque)]
    assert {back for back, _ in us.heard.control} == {label}
    assert us.heard.refused == []


@pytest.mark.parametrize("key_ping", [0, 1], ids=["ping", "key ping"])
def test_they_take_our_pongs(pair: tuple[Cjdroute, Neighbour], key_ping: int) -> None:
    node, us = pair
    arguments = {"path": "0000.0000.0000.0013", "data": "it is opaque", "timeout": 3000, "keyPing": key_ping}
    pong = call(node, us, "SwitchPinger_ping", **arguments)
    assert pong is not None
    assert (pong[b"result"], pong[b"version"], pong[b"data"]) == (b"pong", VERSION, b"it is opaque")
    if key_ping:
        assert pong[b"key"].decode() == us.key.public.text


def test_the_link_stays_up_as_long_as_we_answer(pair: tuple[Cjdroute, Neighbour]) -> None:
    """Nothing but answers for nine seconds; a node pings a peer that is silent for three."""
    node, us = pair
    assert us.run(lambda: (node.peer(us.key.public) or {}).get(b"addr", b"").startswith(b"v%d." % VERSION), seconds=3)
    seen = set()
    sent, pinged = len(us.sent), len(us.heard.of(Ping))
    end = time.monotonic() + 9
    while time.monotonic() < end:
        us.run(seconds=0.5)
        seen.add(state_of(node, us))
    assert seen == {"ESTABLISHED"}
    assert us.outer.statistics.resets == 0
    assert len(us.heard.of(Ping)) + len(us.heard.queries()) > pinged
    assert len(us.sent) > sent
    assert node.peer(us.key.public)[b"addr"].decode() == ours(us, RouteLabel(0x13))  # type: ignore[index]
    assert us.heard.refused == []


def test_their_switch_does_as_ours_does(start: Start, meet: Meet) -> None:
    """Labels from ten interfaces: where the real switch sends each packet, and every byte of it, is what ours says."""
    node = start(passwords=USERS)
    hosts = [meet(node) for _ in range(10)]
    model = Switch()
    slots: dict[int, Neighbour] = {}
    for host in hosts:
        assert host.connect()
        slot, label = model.add_interface()
        slots[slot] = host
        assert node.peer(host.key.public)[b"addr"].decode()[4:23] == str(label)  # type: ignore[index]
        # What the node asks of its own accord would be in the way of what the test looks for.
        host.receive_quietly = True  # type: ignore[attr-defined]
    rng = random.Random(20)
    outcomes = {"forwarded": 0, "refused": 0, "router": 0}
    for number in range(300):
        source = rng.choice(list(slots))
        first = rng.choice([*slots, ROUTER, 3 + len(slots), 40, 256])
        rest = rng.choice([1, rng.getrandbits(12) | 1, rng.getrandbits(40), rng.getrandbits(64)])
        width = rng.choice([w for w in V3X5X8.numbers.widths if w >= V3X5X8.numbers.width_for(first)])
        label = (V3X5X8.numbers.compress(first, width) | rest << width) & (2**64 - 1)
        header = SwitchHeader(label, rng.randrange(128), rng.random() < 0.2, 1, rng.choice([0, 0, 30, 62]), rng.getrandbits(16))
        marker = number.to_bytes(4, "big") + b"marks this packet out"
        packet = header.encode() + b"\xff\xff\xff\xff" + bytes(2) + marker
        outcome = model.forward(source, packet)
        host = slots[source]
        before = {slot: len(each.heard.frames) for slot, each in slots.items()}
        host.transmit(host.outer.encrypt(packet))
        goes = None if isinstance(outcome, Drop) or outcome.interface == ROUTER else outcome.interface
        tracer = host.knock()
        came = lambda: any(pong.opaque == tracer.opaque for pong in host.heard.of(Pong))  # noqa: E731
        assert run(hosts, came, seconds=3)
        if goes is not None:
            expected = outcome.packet  # type: ignore[union-attr]
            assert run(hosts, lambda: expected in slots[goes].heard.frames[before[goes] :], seconds=2), number
            outcomes["refused" if isinstance(outcome, type(outcome)) and hasattr(outcome, "error") else "forwarded"] += 1
        else:
            outcomes["router"] += 1
        marked = [
            slot for slot, each in slots.items() if any(marker in frame for frame in each.heard.frames[before[slot] :])
        ]
        assert marked == ([] if goes is None else [goes]), number
    assert min(outcomes.values()) >= 20, outcomes
