# SPDX-License-Identifier: Apache-2.0
"""Searches: they double-check, they end, and they use what they are told. The router that sends them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import AddressError, CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, GET_PEERS, PING, NodeEntry, Query, Reply
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.router import (
    MAX_OUT,
    MAX_SEARCHES,
    MAX_UNLISTED,
    RoundTrips,
    Router,
    SearchDone,
    Send,
)
from prestocloud_sec.cjdns.routing.search import DEFAULT_LIMITS, USER_LIMITS, Search, SearchLimits
from prestocloud_sec.cjdns.switch import V3X5X8, RouteLabel
from prestocloud_sec.testing.keys import addresses

ES = V3X5X8.serialize()


def _address(number: int) -> Address:
    """Return an address whose metric is `number` in its upper half: distances between such are easy to see."""
    return Address(b"\xfc" + bytes(7) + number.to_bytes(8, "big"))


def _key(address: Address, mark: int = 0) -> PublicKey:
    return PublicKey(address.packed + bytes(15) + bytes([mark]))


def _address_of(key: PublicKey) -> Address:
    """Return the address that `_key` put into a key; others have none."""
    if key.raw[16:31] != bytes(15):
        raise AddressError("no address")
    return Address(key.raw[:16])


def _hop(interface: int) -> RouteLabel:
    return RouteLabel.from_path((interface,), V3X5X8)


OWN = _address(0)


def _search(peers: list[int], target: int, *, limits: SearchLimits = USER_LIMITS, reading: str = "closer"):
    """Return a store with peers of those metrics on interfaces 2, 3, ..., and a search that begins there."""
    store = NodeStore(OWN)
    for interface, peer in enumerate(peers, start=2):
        store.discover(_address(peer), _hop(interface), key=_key(_address(peer)), version=21, now=0.0)
    search = Search(store, own=OWN, target=_address(target), limits=limits, reading=reading, address_of=_address_of)
    return store, search


def _entry(number: int, label: int = 0x15, version: int = 21) -> NodeEntry:
    return NodeEntry(_key(_address(number)), label, version)


def test_the_closest_is_asked_first_and_what_it_names_after_it():
    store, search = _search([0x80, 0x90], 0x9F)
    ask = search.next()
    assert (ask.address, ask.kind, ask.source) == (_address(0x90), FIND_NODE, None)
    search.reply((_entry(0x98), _entry(0x9E, 0x17)), now=1.0)
    named = search.next()
    assert (named.address, named.source) == (_address(0x9E), _address(0x90))
    assert named.label == RouteLabel(0x17).splice(ask.label)  # the route told, after the route to who told it
    assert store.get(_address(0x9E)).label == named.label  # and the table has it
    assert store.get(_address(0x98)) is not None
    search.reply((), now=2.0)
    assert search.next().address == _address(0x98)


def test_the_target_is_asked_with_gp_and_its_answer_ends_the_search():
    _, search = _search([0x90, 0x91, 0x92, 0x93], 0x9F)
    search.next()
    search.reply((_entry(0x9F),), now=1.0)
    ask = search.next()
    assert (ask.address, ask.kind) == (_address(0x9F), GET_PEERS)
    search.reply(None, now=2.0)
    assert search.found == ask
    assert search.next() is not None  # two of three questions, so one more may find a better route
    search.reply((), now=3.0)
    assert search.next() is None


def test_limits_end_a_search():
    for limits in (DEFAULT_LIMITS, SearchLimits(3, 1)):
        _, search = _search(list(range(0x80, 0x80 + 20)), 0x9F, limits=limits)
        for _ in range(limits.requests):
            assert search.next() is not None
            search.timeout()
        assert search.next() is None
        assert len(search.steps) == limits.requests


@given(st.lists(addresses(), min_size=2, max_size=12, unique=True), addresses(), st.data())
def test_rule_one_is_double_checked_for_any_answer(known, target, data):
    """Whatever is answered: all that is taken is strictly closer than who said it; the rest is counted."""
    own, first, *others = known
    store = NodeStore(own)
    store.discover(first, _hop(0), key=_key(first), version=21, now=0.0)
    search = Search(store, own=own, target=target, address_of=_address_of)
    ask = search.next()
    if ask is None:
        return
    named = data.draw(st.lists(st.sampled_from([*others, own, first]), max_size=8)) if others else []
    labels = data.draw(st.lists(st.integers(0, (1 << 64) - 1), min_size=len(named), max_size=len(named)))
    short = [label % (1 << data.draw(st.sampled_from((8, 20, 64)))) for label in labels]
    entries = tuple(NodeEntry(_key(a), label, 21) for a, label in zip(named, short, strict=True))
    before = set(store)
    search.reply(entries if ask.kind == FIND_NODE else None, now=1.0)
    if ask.kind != FIND_NODE:
        return
    bad_route = sum(entry.label <= 1 for entry in entries)
    closer = [
        (address, entry.label)
        for address, entry in zip(named, entries, strict=True)
        if entry.label > 1 and (address.metric ^ target.metric) < (first.metric ^ target.metric) and address != own
    ]
    fitting = [(a, label) for a, label in closer if ask.label.log2 + RouteLabel(label).log2 <= 59]
    assert search.faults.bad_route == bad_route
    assert search.faults.own_address == sum(a == own and e.label > 1 for a, e in zip(named, entries, strict=True))
    for node in set(store) - before:
        assert (node.address.metric ^ target.metric) < (first.metric ^ target.metric)
    asked = []
    while (step := search.next()) is not None:
        asked.append(step)
        search.timeout()
    assert {step.address for step in asked} == {a for a, _ in fitting}
    assert len({(step.address, step.label) for step in asked}) == len(asked)


def test_lies_are_counted_each_in_its_place():
    _, search = _search([0x90], 0x9F)
    search.next()
    no_address = PublicKey(b"\xfc" * 32)
    search.reply(
        (
            _entry(0x80),  # further
            _entry(0x90),  # as far: the answerer itself
            NodeEntry(no_address, 0x15, 21),
            _entry(0x9E, 0),
            _entry(0x9E, 1),
            _entry(0x9D, 1 << 60),  # too long after any route
            _entry(0x9C),
        ),
        now=1.0,
    )
    faults = search.faults
    assert (faults.rule_one, faults.bad_key, faults.bad_route, faults.too_long, faults.oversize) == (2, 1, 2, 1, 0)
    assert faults.lies() == 5
    assert search.next().address == _address(0x9C)


def test_of_too_many_nodes_the_best_eight_are_looked_at():
    _, search = _search([0x90], 0x9F)
    search.next()
    search.reply(tuple(_entry(n) for n in [*range(0x80, 0x8F), *range(0x98, 0xA0)]), now=1.0)
    assert search.faults.oversize == 1
    assert search.faults.rule_one == 0  # the first fifteen, further away, were not even looked at
    assert search.next().address == _address(0x9F)


def test_ones_own_address_purges_every_route_through_it():
    store, search = _search([0x90], 0x9F)
    peer = store.get(_address(0x90))
    loop = RouteLabel(0x15).splice(peer.label)  # the peer says: behind my interface 2 are you
    behind = RouteLabel(0x17).splice(loop)
    store.discover(_address(0x50), behind, key=_key(_address(0x50)), version=21, now=0.0)
    elsewhere = _hop(4).splice(peer.label)
    store.discover(_address(0x60), elsewhere, key=_key(_address(0x60)), version=21, now=0.0)
    assert _address(0x50) in store
    search.next()
    search.reply((NodeEntry(_key(OWN), 0x15, 21), _entry(0x9E, 0x17)), now=1.0)
    assert search.faults.own_address == 1
    assert _address(0x50) not in store
    assert _address(0x60) in store
    assert _address(0x90) in store
    assert OWN not in store
    assert not any(node.label.routes_through(loop) for node in store)


def test_a_node_that_does_not_answer_is_asked_again_only_by_another_route():
    _, search = _search([0x90, 0x92], 0x9F)
    search.next()  # 0x92
    search.reply((_entry(0x9E, 0x15),), now=1.0)
    by_one = search.next()
    search.timeout()
    other = search.next()
    assert other.address == _address(0x90)
    search.reply((_entry(0x9E, 0x17),), now=2.0)
    by_another = search.next()
    assert by_another.address == by_one.address == _address(0x9E)
    assert by_another.label != by_one.label
    search.reply((), now=3.0)
    assert search.next() is None


def test_the_nominees_of_a_node_whose_nominees_do_not_answer_wait_for_all_others():
    _, search = _search([0x80, 0x90], 0x9F)
    search.next()
    search.reply(tuple(_entry(n) for n in range(0x98, 0x9F)), now=1.0)
    for _ in range(2):
        assert search.next().source == _address(0x90)
        search.timeout()
    assert search.next().address == _address(0x80)  # known before, and further away than five that were named
    search.reply((), now=2.0)
    assert search.next().source == _address(0x90)  # only then the rest


def test_a_search_by_the_literal_reading_ends_because_it_remembers():
    """Two nodes that name each other, as that reading lets them: each is asked once."""
    nodes = {0x10: 0x11, 0x11: 0x10}
    _, search = _search([0x10], 0x12, reading="literal")
    asked = []
    while (ask := search.next()) is not None:
        number = int.from_bytes(ask.address.packed[8:], "big")
        asked.append(number)
        search.reply((_entry(nodes[number]),), now=1.0)
    assert asked == [0x10, 0x11]
    assert search.faults.rule_one == 0


def test_misuse_of_a_search():
    _, search = _search([0x90], 0x9F)
    for call in (search.timeout, lambda: search.reply(None, now=0.0)):
        with pytest.raises(CjdnsMisuseError):
            call()
    search.next()
    with pytest.raises(CjdnsMisuseError):
        search.next()
    for requests, found in ((0, 0), (3, 4), (2000, 1)):
        with pytest.raises(CjdnsMisuseError):
            SearchLimits(requests, found)
    with pytest.raises(CjdnsMisuseError):
        _search([], 1, reading="both")
    with pytest.raises(CjdnsMisuseError, match="store"):
        Search(None, own=OWN, target=_address(2))  # type: ignore[arg-type]


# -- the router ----------------------------------------------------------------------------------------------------


def _router(peers: tuple[int, ...] = (0x90,), *, maintain: bool = False) -> Router:
    router = Router(_key(OWN), random=random.Random(1).randbytes, address_of=_address_of, maintain=maintain)
    for interface, peer in enumerate(peers, start=2):
        router.store.discover(_address(peer), _hop(interface), key=_key(_address(peer)), version=21, now=0.0)
    return router


def _reply(send: Send, nodes: tuple[NodeEntry, ...] | None = None, **changes: object) -> Reply:
    fields: dict[str, object] = {"txid": send.message.txid, "version": 21, "scheme": ES, "nodes": nodes}
    return Reply(**(fields | changes))  # type: ignore[arg-type]


def _answer(router: Router, send: Send, nodes: tuple[NodeEntry, ...] | None = None, *, now: float, **changes: object):
    return router.received(
        _reply(send, nodes, **changes), address=send.address, key=_key(send.address), label=send.label, now=now
    )


def test_a_search_from_the_first_question_to_the_route():
    router = _router()
    identity, actions = router.search(_address(0x9F), now=0.0)
    (send,) = actions
    assert isinstance(send.message, Query)
    assert (send.message.kind, send.message.target, send.message.form) == (FIND_NODE, _address(0x9F).packed, 0)
    assert send.message.txid[:2] == b"00"
    assert len(send.message.txid) == 14
    (send,) = _answer(router, send, (_entry(0x9F),), now=0.1)
    assert send.message.kind == GET_PEERS
    (done,) = _answer(router, send, now=0.2)
    assert isinstance(done, SearchDone)
    assert (done.id, done.search.found.address) == (identity, _address(0x9F))
    assert not router.searches
    assert router.next_hop(_address(0x9F)).label == done.search.found.label


def test_replies_that_answer_nothing_of_ours_are_strays():
    router = _router()
    _, (send,) = router.search(_address(0x9F), now=0.0)
    txid = send.message.txid
    for wrong in (b"", b"01" + txid[2:], txid[:-1], txid[:-1] + bytes([txid[-1] ^ 1]), txid[:5] + b"\x99" + txid[6:]):
        assert _answer(router, send, (_entry(0x9F),), now=0.1, txid=wrong) == []
    other = _reply(send, (_entry(0x9F),))
    assert router.received(other, address=_address(0x77), key=_key(_address(0x77)), label=_hop(9), now=0.1) == []
    assert router.strays == 6
    assert _address(0x9F) not in router.store
    assert _address(0x77) not in router.store
    assert _answer(router, send, (), now=0.2)  # the true one still counts
    assert _answer(router, send, (), now=0.3) == []  # but once
    assert router.strays == 7


def test_an_incompatible_or_own_message_is_not_heard():
    router = _router()
    query = Query(kind=PING, txid=b"x", version=17, scheme=ES)
    stranger = _address(0x77)
    assert router.received(query, address=stranger, key=_key(stranger), label=_hop(9), now=0.0) == []
    assert stranger not in router.store
    mine = Query(kind=PING, txid=b"x", version=21, scheme=ES)
    assert router.received(mine, address=OWN, key=_key(OWN), label=_hop(9), now=0.0) == []


def test_who_asks_is_learnt_and_answered():
    router = _router()
    stranger = _address(0x77)
    query = Query(kind=FIND_NODE, target=_address(0x91).packed, txid=b"mark", version=21, scheme=ES)
    (send,) = router.received(query, address=stranger, key=_key(stranger), label=_hop(9), now=0.0)
    assert send.message.txid == b"mark"
    assert [entry.key for entry in send.message.nodes] == [_key(_address(0x90))]
    assert router.store.get(stranger).label == _hop(9)


def test_who_says_dnd_is_learnt_but_not_listed():
    router = _router(())
    shy, asker = _address(0x90), _address(0x10)
    hello = Query(kind=PING, txid=b"x", version=21, scheme=ES, dnd=1)
    router.received(hello, address=shy, key=_key(shy), label=_hop(9), now=0.0)
    query = Query(kind=FIND_NODE, target=_address(0x91).packed, txid=b"x", version=21, scheme=ES)
    (send,) = router.received(query, address=asker, key=_key(asker), label=_hop(8), now=0.0)
    assert shy in router.store
    assert send.message.nodes is None
    for number in range(MAX_UNLISTED):
        other = _address(0x1000 + number)
        router.received(hello, address=other, key=_key(other), label=_hop(10), now=0.0)
    (send,) = router.received(query, address=asker, key=_key(asker), label=_hop(8), now=0.0)
    assert [entry.key for entry in send.message.nodes] == [_key(shy)]  # forgotten after so many others


def test_a_question_times_out_and_the_search_goes_on():
    router = _router((0x90, 0x91))
    _, (first,) = router.search(_address(0x9F), now=0.0)
    due = router.next_tick
    assert 0.01 <= due <= 10.0
    assert router.tick(due / 2) == []
    (second,) = router.tick(due)
    assert (first.address, second.address) == (_address(0x91), _address(0x90))
    assert _answer(router, first, (_entry(0x9F),), now=due) == []  # too late
    assert router.strays == 1
    done = router.tick(due + 20.0)
    assert isinstance(done[0], SearchDone)
    assert done[0].search.found is None
    assert router.next_tick is None


def test_searches_at_a_time_are_bounded():
    router = _router()
    for number in range(MAX_SEARCHES):
        assert isinstance(router.search(_address(0xA0 + number), now=0.0)[1][0], Send)
    (done,) = router.search(_address(0x9F), now=0.0)[1]
    assert isinstance(done, SearchDone)
    assert len(router.searches) == MAX_SEARCHES


def test_maintenance_asks_everyone_in_turn_and_searches_now_and_then():
    router = _router((0x90, 0xA0, 0xB0), maintain=True)
    asked, targets, now = set(), [], 0.0
    for _ in range(40):
        now = router.next_tick
        for action in router.tick(now):
            if isinstance(action, Send) and action.message.kind == GET_PEERS:
                asked.add(action.address)
            elif isinstance(action, Send):
                targets.append(action.message.target)
    assert asked >= {_address(0x90), _address(0xA0), _address(0xB0)}
    assert OWN.packed in targets
    assert len(set(targets)) > 1
    assert 10 < now < 120  # about a round a second


def test_questions_of_maintenance_are_bounded_and_peers_come_page_by_page():
    router = _router(maintain=True)
    for tick in range(402):
        now = tick * 0.0001  # nothing can time out
        router._next_cycle = now
        router.tick(now)
    assert len(router._out) <= MAX_OUT + MAX_SEARCHES

    router = _router(maintain=True)
    router.tick(0.0)
    router._next_cycle = 1.0
    (send,) = router.tick(1.0)
    page = tuple(_entry(0x100 + i, _hop(20 + i)) for i in reversed(range(8)))  # highest first, as C nodes have it
    (more,) = _answer(router, send, page, now=1.1)
    assert more.message.target == int(page[0].label).to_bytes(8, "big")
    assert all(_address(0x100 + i) in router.store for i in range(8))
    for pages in range(100):  # a liar has always more
        page = tuple(_entry(0x200 + i, (pages << 12) + 0x1000 + i) for i in range(9))
        following = _answer(router, more, page, now=1.2)
        if not following:
            break
        (more,) = following
    assert pages < 60
    assert router.faults.oversize == pages + 1


def test_a_node_that_is_among_its_own_peers_does_not_lie():
    """A C node's first page of peers ends with itself, by the label 1."""
    router = _router(maintain=True)
    router.tick(0.0)
    router._next_cycle = 1.0
    (send,) = router.tick(1.0)
    page = (_entry(0x100, _hop(3)), NodeEntry(_key(send.address), 1, 21))
    _answer(router, send, page, now=1.1)
    assert _address(0x100) in router.store
    assert router.faults.lies() == 0


def test_another_node_by_the_label_of_the_answerer_is_a_lie():
    router = _router(maintain=True)
    router.tick(0.0)
    router._next_cycle = 1.0
    (send,) = router.tick(1.0)
    _answer(router, send, (_entry(0x100, 1),), now=1.1)
    assert _address(0x100) not in router.store
    assert router.faults.bad_route == 1


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 30)), max_size=60))
def test_the_mean_round_trip_is_that_of_the_window(gaps):
    trips, now, measured = RoundTrips(), 0.0, []
    for gap, seconds in gaps:
        now += gap
        trips.add(seconds, now)
        measured.append((now, seconds))
    newest = [s for at, s in measured if at >= now - RoundTrips.WINDOW + 8]
    oldest = [s for at, s in measured if at >= now - RoundTrips.WINDOW - 16]
    assert trips._count - 1 >= len(newest)
    assert trips._count - 1 <= len(oldest)
    assert trips.mean == pytest.approx(
        (5.0 + sum([s for _, s in measured][len(measured) - (trips._count - 1) :])) / trips._count, abs=1e-6
    )
