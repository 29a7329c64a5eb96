# SPDX-License-Identifier: Apache-2.0
"""Answers: the nearest nodes, and neither of what an answer MUST NOT hold."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._directors import director_table_of
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, GET_PEERS, NEXT_HOP, PING, Query
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.responder import Responder
from prestocloud_sec.cjdns.routing.rules import compatible, may_name
from prestocloud_sec.cjdns.switch import F8, V3X5X8, V4X8, RouteLabel, label_for
from prestocloud_sec.testing.keys import addresses

ES = V3X5X8.serialize()


def _hop(interface: int) -> RouteLabel:
    return RouteLabel.from_path((interface,), V3X5X8)


def _key(address: Address) -> PublicKey:
    """Make a key to tell nodes apart by; its hash does not matter to a responder."""
    return PublicKey(address.packed + address.packed)


def _ask(kind: bytes, target: bytes | None, version: int = 21) -> Query:
    return Query(kind=kind, target=target, txid=b"mark", version=version, scheme=ES)


@st.composite
def stores(draw):
    """Draw a store with peers on some interfaces and nodes behind them, and an asker behind one of those."""
    own, *others = draw(st.lists(addresses(), min_size=4, max_size=24, unique=True))
    store = NodeStore(own)
    interfaces = draw(st.lists(st.sampled_from((0, 2, 3, 7, 8, 30, 33, 40, 256)), min_size=1, max_size=4, unique=True))
    peers = others[: len(interfaces)]
    for peer, interface in zip(peers, interfaces, strict=False):  # there may be fewer nodes than interfaces
        form = draw(st.integers(0, 2))
        store.discover(peer, _hop(interface), key=_key(peer), version=21, inverse_form=form, now=0.0)
    for other in others[len(interfaces) :]:
        via = store.get(draw(st.sampled_from(others)))
        if via is not None and via.address != other:
            beyond = RouteLabel.from_path((draw(st.integers(2, 40)),), V3X5X8)
            form = V3X5X8.form_of(beyond)
            if via.label.log2 + beyond.log2 < 55:
                version = draw(st.sampled_from((20, 21, 21, 21, 16)))
                store.discover(
                    other, beyond.splice(via.label), key=_key(other), version=version, inverse_form=form, now=0.0
                )
    asker = draw(st.sampled_from(sorted(node.address for node in store)))
    return store, asker


def _named(store, reply):
    """Return the nodes of a reply, found again in the store by their keys."""
    return [(next(node for node in store if node.key == entry.key), entry) for entry in reply.nodes or ()]


@given(stores(), addresses(), st.sampled_from(("closer", "literal")))
def test_both_rules_are_kept_and_nothing_else_is_left_out(known, target, reading):
    store, asker = known
    path = store.get(asker).label
    responder = Responder(store, own=store.own, reading=reading)
    reply = responder.answer(_ask(FIND_NODE, target.packed), asker=asker, path=path)
    back = V3X5X8.parse_director(path)

    def allowed(node):
        closer = (node.address.metric ^ target.metric) < (store.own.metric ^ target.metric)
        literal = (node.address.metric ^ store.own.metric) <= (target.metric ^ store.own.metric)
        return (
            (closer if reading == "closer" else literal)
            and V3X5X8.parse_director(node.label) != back
            and node.address not in (asker, store.own)
            and node.version in (20, 21)
        )

    expected = sorted(filter(allowed, store), key=lambda node: node.address.metric ^ target.metric)[:8]
    named = _named(store, reply)
    assert [node.address for node, _ in named] == [node.address for node in reversed(expected)]  # worst first
    for node, entry in named:
        assert entry.label == label_for(node.label, path)  # room for the way back
        assert entry.version == node.version


@given(stores(), addresses())
def test_widening_by_table_is_label_for(known, target):
    store, _ = known
    directors = director_table_of(V3X5X8)
    labels = [node.label for node in store]
    for label in labels:
        assert directors.interface(label) == V3X5X8.parse_director(label)
        assert directors.form(label) == V3X5X8.form_of(label)
        for back in labels:
            assert directors.widen(label, back) == label_for(label, back)


@given(st.integers(4, (1 << 64) - 1), st.integers(4, (1 << 64) - 1), st.sampled_from((V3X5X8, V4X8, F8)))
def test_widening_any_label(label, back, scheme):
    try:
        expected = int(label_for(label, back, scheme=scheme))
    except LabelError:
        expected = 0
    assert director_table_of(scheme).widen(label, back) == expected


def _small_store():
    own, peer, far, other = (Address.parse(f"fc00::{i:x}:0:0:0") for i in (8, 4, 2, 1))
    store = NodeStore(own)
    store.discover(peer, _hop(0), key=_key(peer), version=21, now=0.0)
    store.discover(other, _hop(2), key=_key(other), version=21, now=0.0)
    store.discover(far, RouteLabel(0x15).splice(_hop(0)), key=_key(far), version=21, now=0.0)
    return store, peer, far, other


def test_a_ping_and_an_unknown_question_are_answered_without_nodes():
    store, peer, _, _ = _small_store()
    responder = Responder(store, own=store.own)
    for query in (_ask(PING, None), _ask(b"zz", bytes(16)), _ask(GET_PEERS, bytes(16)), _ask(FIND_NODE, None)):
        reply = responder.answer(query, asker=peer, path=_hop(0))
        assert (reply.nodes, reply.txid, reply.version, reply.scheme) == (None, b"mark", 21, ES)


def test_peers_in_the_order_of_labels_and_page_by_page():
    own, *others = (Address.parse(f"fc00::{i:x}") for i in range(1, 14))
    store = NodeStore(own)
    numbers = [0, *range(2, 13)]
    for peer, interface in zip(others, numbers, strict=True):
        store.discover(peer, _hop(interface), key=_key(peer), version=21, now=0.0)
    responder = Responder(store, own=own)
    asker, path = others[0], _hop(0)
    found, first = [], 0
    for _ in range(3):
        reply = responder.answer(_ask(GET_PEERS, first.to_bytes(8, "big")), asker=asker, path=path)
        assert len(reply.nodes) <= 8
        assert all(a.label > b.label for a, b in pairwise(reply.nodes))  # as a C node: the next to the label comes last
        found += [entry.label for entry in reversed(reply.nodes) if entry.label not in found]
        first = found[-1]
    assert found == sorted(_hop(number) for number in numbers[1:])


def test_only_the_first_director_of_a_label_says_from_where_peers_are_named():
    """A C node asks with random labels of 32 bits, and answers those by the width of their first director."""
    own, *others = (Address.parse(f"fc00::{i:x}") for i in range(1, 14))
    store = NodeStore(own)
    for peer, interface in zip(others, [0, *range(2, 13)], strict=True):
        store.discover(peer, _hop(interface), key=_key(peer), version=21, now=0.0)
    responder = Responder(store, own=own)
    # What cjdns v21.1 answered that had peers on the same interfaces.
    recorded = {
        0x001F: [0xAE, 0xAA, 0xA6, 0xA2, 0x9E, 0x1F],
        0x0086: [0xAE, 0xAA, 0xA6, 0xA2, 0x9E],
        0x0099: [0xAA, 0xA6, 0xA2, 0x9E, 0x1F, 0x1D, 0x1B, 0x19],
        0x009E: [0xAE, 0xAA, 0xA6, 0xA2, 0x9E],
        0x1000: None,
    }
    for label, labels in recorded.items():
        reply = responder.answer(_ask(GET_PEERS, label.to_bytes(8, "big")), asker=others[0], path=_hop(0))
        assert (reply.nodes and [entry.label for entry in reply.nodes]) == labels


def test_the_next_hop_of_a_packet_is_a_search_with_one_result():
    store, peer, far, other = _small_store()
    responder = Responder(store, own=store.own)
    reply = responder.answer(_ask(NEXT_HOP, far.packed), asker=other, path=_hop(2))
    assert [entry.key for entry in reply.nodes] == [_key(far)]
    # The same question from behind the interface that the route begins with: rule two leaves nothing.
    assert responder.answer(_ask(NEXT_HOP, far.packed), asker=peer, path=_hop(0)).nodes is None


def test_a_target_outside_cjdns_has_no_nodes():
    store, peer, _, _ = _small_store()
    responder = Responder(store, own=store.own)
    for kind in (FIND_NODE, NEXT_HOP):
        assert responder.answer(_ask(kind, bytes(16)), asker=peer, path=_hop(0)).nodes is None


def test_who_asks_not_to_be_listed_is_not():
    store, _, far, other = _small_store()
    responder = Responder(store, own=store.own, unlisted={far})
    assert responder.answer(_ask(FIND_NODE, far.packed), asker=other, path=_hop(2)).nodes is not None
    named = responder.answer(_ask(FIND_NODE, far.packed), asker=other, path=_hop(2)).nodes
    assert _key(far) not in [entry.key for entry in named]


def test_versions_that_talk_to_one_another():
    """The table of cjdns v21.1, Version.h: 20 with 16 to 19, 21 with 20, 22 with 20 and 21."""
    rows = {20: {16, 17, 18, 19, 20}, 21: {20, 21}, 22: {20, 21, 22}}
    for a in range(16, 23):
        for b in range(16, 23):
            high, low = max(a, b), min(a, b)
            assert compatible(a, b) == (a == b or low in rows.get(high, ())), (a, b)


@given(st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1))
def test_the_default_reading_makes_every_chain_approach(node, responder, target):
    if may_name(node, responder, target):
        assert node ^ target < responder ^ target
        assert not may_name(responder, node, target)  # nobody can name back who named him


def test_the_literal_reading_lets_two_nodes_name_each_other_for_ever():
    """Trap in the words: with metrics 0, 1 and 2, both may name the other in a search for the third."""
    assert may_name(1, 0, 2, "literal")
    assert may_name(0, 1, 2, "literal")
    assert not (may_name(1, 0, 2) and may_name(0, 1, 2))


def test_misuse():
    store, *_ = _small_store()
    with pytest.raises(CjdnsMisuseError):
        Responder(store, own=store.own, reading="other")
