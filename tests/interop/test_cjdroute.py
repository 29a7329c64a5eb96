# SPDX-License-Identifier: Apache-2.0
"""Our objects against a running cjdroute, over UDP on the loopback.

Run with ``CJDROUTE=/path/to/cjdroute pytest tests/interop``. What is expected comes from the node itself: from its
answers, and from what its admin interface says about us. Our sessions are as they are by default (no quirks).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
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
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.cjdns.ipv6 import rebuild_header
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, GET_PEERS, NEXT_HOP, PING
from prestocloud_sec.cjdns.routing.router import Router
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
    mine, theirs = sorted(
        (PrivateKey.generate(), PrivateKey.generate()), key=lambda key: key.public.raw, reverse=not lower
    )
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
        assert us.heard.of(RPathReply) == [RPathReply(version, int(node.label_of(us.key.public)), rpath.opaque)]
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
    sent, asked = len(us.sent), len(us.heard.of(Ping)) + len(us.heard.queries())
    end = time.monotonic() + 9
    while time.monotonic() < end:
        us.run(seconds=0.5)
        seen.add(state_of(node, us))
    assert seen == {"ESTABLISHED"}
    assert us.outer.statistics.resets == 0
    more = len(us.heard.of(Ping)) + len(us.heard.queries()) - asked
    assert more >= 3
    assert len(us.sent) >= sent + more
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
        assert node.label_of(host.key.public) == label
        host.tap = lambda frame: MARK in frame
    rng = random.Random(20)
    seen = Counter[str]()
    for number in range(600):
        source = rng.choice(list(slots))
        packet = marked_packet(rng, [*slots, ROUTER, 40, 256], number)
        outcome = model.forward(source, packet)
        seen["to the router" if getattr(outcome, "interface", None) == ROUTER else type(outcome).__name__] += 1
        expected = {}
        if not isinstance(outcome, Drop) and outcome.interface != ROUTER:
            expected = {outcome.interface: outcome.packet}
        host = slots[source]
        host.transmit(host.outer.encrypt(packet))
        assert answered_by_switch(hosts, host)  # it takes one packet after the other, so the first is dealt with now
        run(hosts, lambda: all(marked(slots[slot]) for slot in expected), seconds=2)  # noqa: B023
        came = {slot: marked(each) for slot, each in slots.items() if marked(each)}
        assert came == {slot: [frame] for slot, frame in expected.items()}, f"{packet.hex()} from {source}"
        for each in hosts:
            each.heard.frames.clear()
    assert min(seen[kind] for kind in ("Forward", "ErrorReply", "Drop", "to the router")) >= 20, seen


MARK = b"marks a packet"


def marked(host: Neighbour) -> list[bytes]:
    """Return the frames with the mark that came to a neighbour."""
    return [frame for frame in host.heard.frames if MARK in frame]


def answered_by_switch(hosts: list[Neighbour], host: Neighbour) -> bool:
    """Tell whether a switch ping of one neighbour, sent once, is answered."""
    ping = host.knock()
    return run(hosts, lambda: any(pong.opaque == ping.opaque for pong in host.heard.of(Pong)), seconds=3)


def marked_packet(rng: random.Random, interfaces: list[int], number: int) -> bytes:
    """Return a packet whose label begins with one of some interfaces, in any form that holds it."""
    first = rng.choice(interfaces)
    numbers = V3X5X8.numbers
    width = rng.choice([width for width in numbers.widths if width >= numbers.width_for(first)])
    rest = rng.choice([1, rng.getrandbits(12) | 1, rng.getrandbits(40), rng.getrandbits(64)])
    header = SwitchHeader(
        (numbers.compress(first, width) | rest << width) % 2**64,
        congestion=rng.getrandbits(7),
        suppress_errors=rng.random() < 0.2,
        label_shift=rng.choice([0, 0, 30, 62]),
        traffic_class=rng.getrandbits(16),
    )
    return header.encode() + b"\xff\xff\xff\xff" + number.to_bytes(4, "big") + MARK


# -- end to end: inner sessions and the DHT --------------------------------------------------------------------------


def test_an_inner_hello_inside_the_outer_hello(start: Start, meet: Meet) -> None:
    """The first datagram ever carries two handshakes and a DHT ping; the node answers all three."""
    node = start(passwords=USERS)
    us = meet(node)
    far = us.reach(node.public)
    txid = us.ask(node.public.address)
    assert len(us.sent[0]) > 2 * 120
    assert us.run(lambda: us.heard.reply(txid), seconds=5)
    reply = us.heard.reply(txid)
    assert reply is not None
    assert (reply.version, reply.encoding_scheme, reply.nodes) == (node.version(), V3X5X8, None)
    assert far.session.initiator
    assert through(us, node) is not None
    assert us.outer.established
    assert far.session.established
    assert far.their_handle is not None
    assert us.heard.refused == []


def test_they_open_the_inner_session(pair: tuple[Cjdroute, Neighbour]) -> None:
    node, us = pair
    assert us.run(lambda: us.heard.inner_handshakes and us.heard.queries(), seconds=5)
    hello = us.heard.inner_handshakes[0]
    assert (word(hello), hello[4]) == (0, 0)
    assert PublicKey(hello[40:72]) == node.public
    far = us.far[node.public.address]
    assert us.run(lambda: far.session.established, seconds=5)
    assert not far.session.initiator
    address, query = us.heard.messages[0]
    assert (address, query.version, query.encoding_scheme) == (node.public.address, node.version(), V3X5X8)
    assert us.heard.refused == []


def test_dht_questions_are_answered(pair: tuple[Cjdroute, Neighbour]) -> None:
    node, us = pair
    in_table = lambda: ours(us, us.label).encode() in known_to(node)  # noqa: E731
    assert us.run(in_table, seconds=5)
    found = through(us, node, FIND_NODE, us.key.address.packed)
    assert found is not None
    assert [(entry.key, entry.label, entry.version) for entry in found.nodes] == [(us.key.public, 0x13, VERSION)]
    peers = through(us, node, GET_PEERS, bytes(8))
    assert peers is not None
    assert [(entry.key, entry.label) for entry in peers.nodes] == [(us.key.public, 0x13), (node.public, 1)]
    hop = through(us, node, NEXT_HOP, us.key.address.packed)
    assert hop is not None
    assert [entry.key for entry in hop.nodes] == [us.key.public]
    nothing = through(us, node, GET_PEERS, (0x15).to_bytes(8, "big"))
    assert nothing is not None
    assert nothing.nodes is None
    assert us.heard.refused == []


def known_to(node: Cjdroute) -> set[bytes]:
    """Return the names of all nodes in the table of a cjdroute."""
    names: set[bytes] = set()
    for page in range(64):
        answer = node.admin.call("NodeStore_dumpTable", page=page)
        names |= {row[b"addr"] for row in answer[b"routingTable"]}
        if b"more" not in answer:
            break
    return names


def test_they_take_our_answers(pair: tuple[Cjdroute, Neighbour]) -> None:
    node, us = pair
    assert us.run(lambda: ours(us, us.label).encode() in known_to(node), seconds=5)
    others = [PrivateKey.generate().public for _ in range(3)]
    labels = [us.switch.add_interface()[1] for _ in others]
    for key, label in zip(others, labels, strict=True):
        us.router.store.discover(key.address, label, key=key, version=VERSION, now=us.clock())
    name = ours(us, us.label)

    pong = call(node, us, "RouterModule_pingNode", path=name, timeout=3000)
    assert pong is not None
    assert (pong[b"result"], pong[b"protocol"], pong[b"addr"].decode()) == (b"pong", VERSION, name)

    peers = call(node, us, "RouterModule_getPeers", path=name, timeout=3000)
    assert peers is not None
    assert peers[b"result"] == b"peers"
    named = [f"v{VERSION}.{label}.{key.text}" for key, label in zip(others, labels, strict=True)]
    assert [name.decode() for name in peers[b"peers"]] == named  # the admin interface turns lists round

    target = str(others[0].address)
    found = call(node, us, "RouterModule_findNode", nodeToQuery=name, target=target, timeout=3000)
    assert found is not None
    assert found[b"result"] == b"nodes"
    best = f"v{VERSION}.{labels[0].splice(us.label)}.{others[0].text}"
    assert found[b"nodes"][0].decode() == best


def test_peers_in_pages(start: Start, meet: Meet) -> None:
    """A node with more peers than a reply holds: our router learns all of them."""
    node = start(passwords=USERS)
    hosts = [meet(node) for _ in range(12)]
    for host in hosts:
        assert host.connect()
    us, *others = hosts
    everybody = lambda: len({name for name in known_to(node) if b".0001." not in name}) == len(hosts)  # noqa: E731
    assert run(hosts, everybody, seconds=20)
    us.router = Router(us.key.public, version=VERSION)
    us.router.store.discover(node.public.address, us.label, key=node.public, version=node.version(), now=us.clock())
    store = us.router.store
    assert run(hosts, lambda: all(host.key.address in store for host in others), seconds=20)
    for host in others:
        known = store.get(host.key.address)
        assert known is not None
        assert known.label == node.label_of(host.key.public).splice(us.label)
    assert us.router.faults.lies() == 0


def test_a_search_through_the_real_network(start: Start, meet: Meet) -> None:
    """Two of ours that know only the node between them: one finds the other, and talks to it through that switch."""
    node = start(passwords=USERS)
    seeker, sought = meet(node), meet(node)
    assert seeker.connect()
    assert sought.connect()
    both = [seeker, sought]
    assert run(
        both,
        lambda: {ours(each, node.label_of(each.key.public)).encode() for each in both} <= known_to(node),
        seconds=10,
    )
    seeker.router.store.discover(
        node.public.address, seeker.label, key=node.public, version=node.version(), now=seeker.clock()
    )
    target = sought.key.address
    seeker.search(target)
    assert run(both, lambda: seeker.heard.searches, seconds=10)
    search = seeker.heard.searches[0].search
    assert search.found is not None
    assert [step.address for step in search.steps] == [node.public.address, target]
    assert search.found.label == node.label_of(sought.key.public).splice(seeker.label)
    assert search.faults.lies() == 0
    far = seeker.far[target]
    assert run(both, lambda: far.session.established, seconds=5, nudge=lambda: seeker.ask(target))
    payloads = [os.urandom(1200) for _ in range(50)]
    for count, payload in enumerate(payloads, start=1):
        seeker.send(target, 17, payload)
        if count % 8 == 0:  # the node drops what waits beyond 16 kB
            assert run(both, lambda: len(sought.heard.packets) == count, seconds=5)  # noqa: B023
    assert run(both, lambda: len(sought.heard.packets) == len(payloads), seconds=5)
    head = rebuild_header(seeker.key.address, target, 17, 1200)
    assert sought.heard.packets == [head + payload for payload in payloads]
    assert seeker.heard.refused == sought.heard.refused == []


def test_a_label_that_leads_nowhere_comes_back(pair: tuple[Cjdroute, Neighbour]) -> None:
    _, us = pair
    nowhere = RouteLabel(0x1F).splice(us.label)
    us.control(Ping(VERSION, bytes(12)), nowhere)
    assert us.run(lambda: us.heard.of(Error), seconds=3)
    (error,) = us.heard.of(Error)
    assert error.error_type is ErrorType.MALFORMED_ADDRESS
    assert error.cause.label & 0xF == 0xF
    assert us.heard.refused == []


def test_round_the_corner(pair: tuple[Cjdroute, Neighbour]) -> None:
    """A label out to the node and straight back: our own ping comes to us through its switch, and our pong too."""
    node, us = pair
    ping = Ping(VERSION, os.urandom(12))
    us.control(ping, node.label_of(us.key.public).splice(us.label))
    assert us.run(lambda: Pong(VERSION, ping.opaque) in us.heard.of(Pong), seconds=3)
    assert ping in us.heard.of(Ping)


def test_ipv6_packets_reach_their_user(start: Start, meet: Meet) -> None:
    """Only this way: a cjdroute aborts (alignment fault) on what its socket interface is given by its user."""
    node = start(passwords=USERS, packets=True)
    us = meet(node)
    assert us.connect()
    theirs, mine = node.public.address, us.key.address
    assert through(us, node) is not None
    assert us.run(lambda: us.far[theirs].session.established, seconds=5, nudge=lambda: us.ask(theirs))
    assert node.user is not None
    for size in (0, 8, 1200):
        payload = os.urandom(size)
        us.send(theirs, 17, payload)
        assert node.user.receive(seconds=3) == rebuild_header(mine, theirs, 17, size) + payload
    assert us.heard.refused == []


def test_a_question_of_their_tunnel_comes_to_us(pair: tuple[Cjdroute, Neighbour]) -> None:
    """What a node sends of itself that is not DHT: content type 257, a whole IPv6 packet from it to us."""
    node, us = pair
    assert us.run(lambda: us.heard.queries(), seconds=5)
    node.admin.call("IpTunnel_connectTo", publicKeyOfNodeToConnectTo=us.key.public.text)
    assert us.run(lambda: us.heard.tunnel, seconds=12)
    packet = us.heard.tunnel[0]
    assert packet[0] >> 4 == 6
    assert b"IpTunnel_getAddresses" in packet


# -- restarts and recordings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [False, True], ids=["same port", "another port"])
def test_we_restart(pair: tuple[Cjdroute, Neighbour], moved: bool) -> None:
    """Their sessions with us are live when ours are gone: a hello of the same key starts them over at once."""
    node, us = pair
    assert through(us, node) is not None
    assert established(node, us)
    before, old = us.outer, us.far[node.public.address].session
    us.start_over()
    if moved:
        us.another_port()
    began = time.monotonic()
    assert us.connect()
    assert us.outer is not before
    assert through(us, node) is not None
    assert us.far[node.public.address].session is not old
    assert us.run(
        lambda: us.far[node.public.address].session.established, seconds=3, nudge=lambda: us.ask(node.public.address)
    )
    assert time.monotonic() - began < 4
    assert established(node, us)
    assert answered(us)


@pytest.fixture
def called(start: Start, things: ExitStack) -> tuple[Cjdroute, Neighbour]:
    """Return a cjdroute that has connected to us, and us."""
    users = Users()
    users.add(PASSWORD.encode(), login=LOGIN.encode())
    theirs = PrivateKey.generate()
    us = things.enter_context(Neighbour(PrivateKey.generate(), None, theirs.public, users=users, waits=True))
    told = {us.endpoint: {"publicKey": us.key.public.text, "password": PASSWORD, "login": LOGIN}}
    node = start(key=theirs, connect_to=told)
    assert established(node, us, seconds=10)
    return node, us


def test_they_restart_and_call_again(called: tuple[Cjdroute, Neighbour]) -> None:
    """Our session is live when theirs is gone: their hello is answered beside it, and their first data replaces it."""
    node, us = called
    assert through(us, node) is not None
    inner = us.far[node.public.address].session
    assert us.run(lambda: inner.established, seconds=5, nudge=lambda: us.ask(node.public.address))
    session, sessions = us.outer, inner.statistics.sessions
    assert session.statistics.pending_opened == 0
    node.stop()
    node.start()
    began = time.monotonic()
    assert us.run(lambda: session.statistics.pending_promoted == 1, seconds=10)
    assert time.monotonic() - began < 3
    assert us.outer is session
    assert session.established
    assert established(node, us)
    assert answered(us)
    assert us.run(lambda: inner.statistics.sessions > sessions, seconds=5)
    assert through(us, node) is not None


def test_they_restart_and_wait(pair: tuple[Cjdroute, Neighbour]) -> None:
    """Nobody tells us: their node drops what it has no session for. Our session gives up after its 60 seconds."""
    node, us = pair
    node.stop()
    node.start()
    assert not answered(us, seconds=1)
    us.sleep(61)
    assert us.connect()
    assert us.outer.statistics.timeouts == 1
    assert established(node, us)
    assert answered(us)


def test_a_recorded_hello_of_theirs_is_known(called: tuple[Cjdroute, Neighbour]) -> None:
    node, us = called
    hellos = [datagram for datagram in us.heard.datagrams if word(datagram) in HELLOS]
    assert hellos
    session = us.outer
    for hello in hellos:
        us.receive(hello)
    assert [type(refused) for refused in us.heard.refused] == [InvalidHandshakeError] * len(hellos)
    assert session.statistics.pending_opened == 0
    assert answered(us)
    assert established(node, us)
    assert session.statistics.resets == 0


def test_a_recorded_hello_from_before_our_restart_costs_one_payload(called: tuple[Cjdroute, Neighbour]) -> None:
    """We cannot know it for a recording. It gets one key packet, which they refuse, and the session goes on."""
    node, us = called
    hello = next(datagram for datagram in us.heard.datagrams if word(datagram) in HELLOS)
    us.start_over()
    us.waits = False
    us.start_over()
    assert us.connect()
    assert answered(us)
    session, sent = us.outer, len(us.sent)
    us.heard.refused.clear()  # data for the session of before
    us.receive(hello)
    assert session.statistics.pending_opened == 1
    assert session.established
    assert word(us.sent[sent]) == 2  # the recording's payload was a ping: our pong went out in a key packet
    for _ in range(3):
        assert answered(us)
        us.receive(hello)
    assert [word(packet) for packet in us.sent[sent:] if word(packet) < DATA_STATE] == [2]
    assert {type(refused) for refused in us.heard.refused} == {InvalidHandshakeError}
    assert session.statistics.pending_promoted == 0
    assert session.statistics.resets == 0
    assert state_of(node, us) == "ESTABLISHED"


def test_their_fault_heals(pair: tuple[Cjdroute, Neighbour]) -> None:
    """Our own hello, recorded and replayed at them, ends their side of a live session. We get over it."""
    node, us = pair
    hello = next(packet for packet in us.sent if word(packet) == 0)
    us.start_over()
    assert us.connect()
    assert answered(us)
    assert established(node, us)
    us.transmit(hello)
    began = time.monotonic()
    assert not answered(us, seconds=1)
    assert us.run(lambda: us.outer.statistics.pending_promoted, seconds=30, every=1.0, nudge=us.knock)
    print(f"healed after {time.monotonic() - began:.1f} s")
    assert answered(us)
    assert established(node, us)
