# SPDX-License-Identifier: Apache-2.0
"""The node store rule by rule; `test_nodestore_machine` plays them together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing import Node, NodeStore, bucket, distance
from prestocloud_sec.cjdns.routing._directors import CanonicalDirectors
from prestocloud_sec.cjdns.switch import F4, F8, SELF, V3X5X8, V4X8, EncodingForm, EncodingScheme, RouteLabel
from prestocloud_sec.testing.nodes import crowded_addresses

US = Address.parse("fc00::")


def node(number: int) -> Address:
    return Address.parse(f"fc00::{number:x}")


def path(*slots: int) -> RouteLabel:
    """Make the label out of these interfaces, one after the other, in v3x5x8."""
    return RouteLabel.from_path(slots, V3X5X8)


def in_bucket(number: int, rng: random.Random) -> Address:
    """Draw an address that shares exactly `number` leading metric bits with ours."""
    metric = (1 << (127 - number)) | rng.getrandbits(127 - number)
    metric ^= US.metric
    packed = (metric & (1 << 64) - 1).to_bytes(8, "big") + (metric >> 64).to_bytes(8, "big")
    return Address(b"\xfc" + packed[1:])


def chain(store: NodeStore, *slots: int, first: int = 1) -> list[Address]:
    """Discover the nodes along a path, the nearest first."""
    found = []
    for i in range(len(slots)):
        found.append(node(first + i))
        assert store.discover(found[-1], path(*slots[: i + 1]), version=20, now=0.0)
    return found


# -- discovery ---------------------------------------------------------------------------------------------------------


def test_a_peer_and_what_lies_behind_it() -> None:
    store = NodeStore(US)
    a, b = chain(store, 0, 2)
    assert [peer.address for peer in store.peers()] == [a]
    found = store.get(b)
    assert found == Node(b, None, RouteLabel.parse("0000.0000.0000.0153"), 20, V3X5X8, 2 * 2**20)
    assert store.by_path(path(0, 2)) == found
    assert [(x.parent, x.child, x.label) for x in store.links()] == [(US, a, path(0)), (a, b, path(2))]
    assert (len(store), a in store, US in store, "fc00::1" in store) == (2, True, False, False)


def test_a_long_path_hangs_below_the_last_known_node_and_is_split_by_those_in_between() -> None:
    store = NodeStore(US)
    a, b, c, d = (node(i) for i in (1, 2, 3, 4))
    store.discover(d, path(0, 2, 3, 4), now=0.0)
    assert [(x.parent, x.child) for x in store.links()] == [(US, d)]
    store.discover(b, path(0, 2), now=0.0)
    assert [(x.parent, x.child, x.label) for x in store.links()] == [(US, b, path(0, 2)), (b, d, path(3, 4))]
    store.discover(a, path(0), now=0.0)
    store.discover(c, path(0, 2, 3), now=0.0)
    links = [(x.parent, x.child, x.label) for x in store.links()]
    assert sorted(links) == sorted([(US, a, path(0)), (a, b, path(2)), (b, c, path(3)), (c, d, path(4))])
    assert store.get(d).label == path(0, 2, 3, 4)


def test_a_split_link_that_leads_nowhere_is_dropped() -> None:
    """Back to the node that splits it, or on by a director that is none in that node's scheme."""
    store = NodeStore(US)
    store.discover(node(1), path(0, 2, 3), now=0.0)
    store.discover(node(1), path(0), now=0.0)
    assert [(x.parent, x.child, x.label) for x in store.links()] == [(US, node(1), path(0))]
    store.discover(node(2), path(5, 6), now=0.0)
    store.discover(node(3), path(5), scheme=F8, now=0.0)
    assert [(x.parent, x.child, x.label) for x in store.links()] == [
        (US, node(1), path(0)),
        (US, node(3), path(5)),
    ]
    assert store.get(node(2)) is None


def test_a_director_is_widened_where_the_way_back_needs_the_room() -> None:
    """At b the way back takes 10 bits, so the 4-bit way on to c is written in 10, as a switch requires."""
    store = NodeStore(US)
    b, c = node(2), node(3)
    store.discover(b, path(0), inverse_form=2, now=0.0)
    wide = V3X5X8.convert_label(path(3), 2).splice(path(0))
    assert store.discover(c, wide, now=0.0).label == wide
    assert [x.label for x in store.links()] == [path(0), path(3)]  # kept in the smallest form
    assert store.by_path(wide).address == store.by_path(path(0, 3)).address == c
    store.discover(b, path(0), inverse_form=0, now=0.0)
    assert store.get(c).label == path(0, 3)  # b's way back turned out narrow


def test_schemes_are_mixed_along_a_path() -> None:
    store = NodeStore(US, scheme=V4X8)
    first = RouteLabel.from_path([9], V4X8)
    store.discover(node(1), first, scheme=F8, now=0.0)
    onward = RouteLabel.from_path([200], F8)
    assert store.discover(node(2), onward.splice(first), scheme=V3X5X8, now=0.0).label == onward.splice(first)
    assert [x.label for x in store.links()] == [first, onward]


@pytest.mark.parametrize("slots", [(0,), (0, 2), (5, 6, 7)])
def test_our_own_address_is_never_taken_in(slots: tuple[int, ...]) -> None:
    store = NodeStore(US)
    chain(store, 0)
    before = store.links()
    assert store.discover(US, path(*slots), now=1.0) is None
    assert (store.links(), US in store, store.get(US)) == (before, False, None)


def test_a_path_must_lead_somewhere_and_visit_nobody_twice() -> None:
    store = NodeStore(US)
    a, b = chain(store, 0, 2)
    before = store.links()
    assert store.discover(node(9), SELF, now=0.0) is None
    assert store.discover(node(9), 0, now=0.0) is None
    assert store.discover(a, path(0, 2, 5), now=0.0) is None
    assert store.discover(b, path(0, 2, 5), now=0.0) is None
    assert store.discover(node(9), 0x11, now=0.0) is None  # through our own router
    assert [x for x in store.links() if x.child in (a, b)] == before
    with pytest.raises(LabelError):
        store.discover(node(9), 1 << 64, now=0.0)


def test_a_peer_cannot_be_talked_away_but_what_lies_behind_can_change() -> None:
    store = NodeStore(US)
    a, b = chain(store, 0, 2)
    assert store.discover(node(9), path(0), now=1.0) is None
    assert store.by_path(path(0)).address == a
    assert store.discover(node(9), path(0, 2), now=1.0).label == path(0, 2)
    assert store.get(b) is None
    assert store.discover(b, path(3), now=2.0) is not None
    assert store.purge(path(3)) == 1
    assert store.discover(node(8), path(3), now=2.0).address == node(8)


def test_what_is_known_of_a_node_is_updated() -> None:
    store = NodeStore(US)
    key = PublicKey(bytes(range(32)))
    a = node(1)
    store.discover(a, path(0), now=1.0)
    assert store.get(a).version == 0
    store.discover(a, path(0), key=key, version=21, now=2.0)
    store.discover(a, path(0), now=3.0)
    assert (store.get(a).key, store.get(a).version, store.heard(a)) == (key, 21, 3.0)
    assert (store.heard(node(7)), store.latency(a), store.latency(node(7))) == (None, None, None)


def test_a_changed_scheme_is_believed_only_from_near() -> None:
    store = NodeStore(US)
    a, b, c = chain(store, 0, 2, 3)
    assert store.discover(b, path(5, 5, 5), scheme=F8, now=1.0) is None
    assert store.get(c).label == path(0, 2, 3)
    assert store.discover(b, path(0, 2), scheme=F8, now=1.0).scheme == F8
    assert store.get(c) is None  # the label of its link was in b's old scheme
    assert {x.child for x in store.links()} == {a, b}


# -- costs -------------------------------------------------------------------------------------------------------------


def test_costs_fall_by_an_eighth_and_rise_by_a_seventh_within_limits() -> None:
    store = NodeStore(US)
    a, b = chain(store, 0, 2)
    assert store.reply(path(0, 2), latency=0.5, now=4.0)
    fallen = 2**20 - 2**20 // 8
    assert [x.cost for x in store.links()] == [fallen, fallen]
    assert (store.get(b).cost, store.heard(b), store.heard(a)) == (2 * fallen, 4.0, 0.0)
    assert store.timeout(path(0, 2), now=5.0)
    assert [x.cost for x in store.links()] == [fallen, fallen * 8 // 7]
    for _ in range(100):
        store.reply(path(0, 2), latency=0.5, now=6.0)
    assert [x.cost for x in store.links()] == [1024, 1024]
    for _ in range(300):
        store.timeout(path(0), now=7.0)
    assert [x.cost for x in store.links()] == [2**32 - 1, 1024]
    assert not store.reply(path(0, 3), latency=0.5, now=8.0)
    assert not store.timeout(path(3), now=8.0)
    assert not store.reply(SELF, latency=0.5, now=8.0)


def test_a_link_of_several_hops_never_gets_cheap() -> None:
    store = NodeStore(US)
    store.discover(node(1), path(0, 2), now=0.0)
    for _ in range(100):
        store.reply(path(0, 2), latency=0.1, now=1.0)
    assert store.links()[0].cost == 2**20


def test_latency_is_a_rolling_mean() -> None:
    store = NodeStore(US)
    (a,) = chain(store, 0)
    store.reply(path(0), latency=0.8, now=1.0)
    assert store.latency(a) == 0.8
    store.reply(path(0), latency=1.6, now=2.0)
    assert store.latency(a) == pytest.approx(0.9)


def test_the_cheaper_path_wins_and_costs_propagate() -> None:
    store = NodeStore(US)
    a, b = chain(store, 0, 2)
    c = node(3)
    store.discover(c, path(0, 2, 4), now=0.0)
    store.discover(b, path(7), now=0.0)  # b is a direct peer as well
    assert (store.get(b).label, store.get(c).label) == (path(7), path(7, 4))
    for _ in range(80):
        store.timeout(path(7), now=1.0)
        store.reply(path(0, 2), latency=0.1, now=1.0)
    assert (store.get(b).label, store.get(c).label) == (path(0, 2), path(0, 2, 4))
    assert store.get(c).cost == store.get(a).cost + 1024 + 2**20
    assert [peer.label for peer in store.peers()] == [path(0), path(7)]


def test_a_path_too_long_to_extend_hides_what_lies_behind() -> None:
    """As in the C code: y is behind x, and x's cheapest path has grown so long that y's would not fit a label."""
    store = NodeStore(US)
    x, y = node(20), node(21)
    store.discover(x, path(100), now=0.0)
    store.discover(y, path(100, 101), now=0.0)
    long_way = [102, 103, 104, 105, 106]
    chain(store, *long_way[:4], first=30)
    store.discover(x, path(*long_way), now=0.0)
    assert store.get(y).label == path(100, 101)
    for _ in range(10):
        store.timeout(path(100), now=0.0)
    while store.get(x).label == path(100):
        assert store.get(y).label == path(100, 101)
        assert store.reply(path(*long_way[:4]), latency=0.1, now=0.0)
    assert store.get(x).label == path(*long_way)
    assert store.get(y) is None
    assert store.purge(path(102)) == 4
    assert store.get(y).label == path(100, 101)


def test_a_path_that_gets_too_long_is_no_way_on_for_anybody() -> None:
    """As above, but the news is of z behind y, too, over a known path that is too long once it is wide enough."""
    store = NodeStore(US)
    x, y, z = node(20), node(21), node(22)
    for address, slots in ((x, (100,)), (y, (100, 101)), (z, (100, 101, 99))):
        store.discover(address, path(*slots), now=0.0)
    near = path(102, 103, 104, 105)
    *_, last = chain(store, 102, 103, 104, 105, first=30)
    store.discover(last, near, inverse_form=2, now=0.0)
    store.discover(x, path(106).splice(near), now=0.0)
    to_z = path(2, 107).splice(near)
    assert (to_z.log2, store.discover(z, to_z, now=0.0).label) == (54, path(100, 101, 99))
    for _ in range(10):
        store.timeout(path(100), now=0.0)
    while store.get(x).label == path(100):
        assert store.get(z).label == path(100, 101, 99)
        assert store.reply(to_z, latency=0.1, now=0.0)
    assert store.get(x).label == path(106).splice(near)
    assert (store.get(y), store.get(z)) == (None, None)


def test_of_paths_that_cost_the_same_the_smaller_label_wins() -> None:
    store = NodeStore(US)
    t, c = node(2), node(3)
    chain(store, 6, 7, first=10)
    store.discover(node(5), path(200), now=0.0)
    store.discover(t, path(6, 7, 8), now=0.0)
    store.discover(c, path(6, 7, 8, 9), now=0.0)
    store.discover(c, path(200, 2), now=0.0)
    assert (store.get(c).label, store.get(c).cost) == (path(200, 2), 2 * 2**20)
    store.discover(t, path(3), now=0.0)
    assert (store.get(c).label, store.get(c).cost) == (path(3, 9), 2 * 2**20)


# -- what goes ---------------------------------------------------------------------------------------------------------


def test_purge_drops_all_routes_that_begin_so() -> None:
    """Our own address came back at the end of path(0, 2): what is routed through there is routed through ourselves."""
    store = NodeStore(US)
    a, b, c, d = (node(i) for i in (1, 2, 3, 4))
    store.discover(a, path(0), now=0.0)
    store.discover(b, path(0, 2, 3), now=0.0)  # a way through ourselves: interface 3 is ours
    store.discover(c, path(0, 2, 3, 4), now=0.0)
    store.discover(d, path(0, 5), now=0.0)
    assert {n.address for n in store} == {a, b, c, d}
    assert store.purge(path(0, 2)) == 2
    assert [(n.address, n.label) for n in store] == [(a, path(0)), (d, path(0, 5))]
    assert not [n for n in store if n.label.routes_through(path(0, 2))]
    assert store.purge(path(0, 2)) == 0


def test_purge_keeps_nodes_that_another_path_leads_to() -> None:
    store = NodeStore(US)
    _a, b = chain(store, 0, 2)
    store.discover(b, path(9, 9), now=0.0)
    assert store.purge(path(0)) == 1
    assert [(n.address, n.label) for n in store] == [(b, path(9, 9))]
    with pytest.raises(CjdnsMisuseError):
        store.purge(SELF)


def test_purge_reads_any_label_to_the_letter() -> None:
    """A label that ends inside a director is no path, but routes can begin with its bits."""
    store = NodeStore(US)
    chain(store, 0, 2)
    store.discover(node(7), path(200), now=0.0)
    assert store.purge(0b110) == 0
    assert store.purge(0b11) == 2  # 4-bit directors end in 1
    assert [n.address for n in store] == [node(7)]


def test_remove_hides_what_only_it_led_to_until_a_path_comes_again() -> None:
    store = NodeStore(US)
    a, b, c = chain(store, 0, 2, 3)
    assert store.remove(a)
    assert (len(store), list(store), store.nearest(c), store.next_hop(c)) == (0, [], [], None)
    assert not store.remove(a)
    store.discover(b, path(4), now=1.0)
    assert store.get(c).label == path(4, 3)


def test_the_store_stays_within_its_bounds() -> None:
    rng = random.Random(7)
    store = NodeStore(US, capacity=20, link_capacity=60)
    peers = [node(i) for i in range(1, 6)]
    for slot, peer in enumerate(peers, start=2):
        store.discover(peer, path(slot), now=0.0)
    for i in range(600):
        via = rng.choice(list(store)).label
        onward = path(rng.randrange(2, 250))
        if onward.log2 + via.log2 <= 59:
            store.discover(in_bucket(rng.randrange(0, 20), rng), onward.splice(via), now=float(i))
        assert len(store) <= 20 + len(peers)
        assert len(store.links()) <= 60
    assert [peer.address for peer in store.peers()] == peers
    assert len(store) > 20


def test_peers_that_are_none_any_more_count() -> None:
    store = NodeStore(US, capacity=3)
    peers = [node(i) for i in range(1, 10)]
    for slot, peer in enumerate(peers, start=2):
        store.discover(peer, path(slot), now=0.0)
        store.discover(peer, path(2, 20 + slot), now=0.0)  # known behind the first one as well
    assert len(store) == 9
    for slot in range(3, 11):
        store.purge(path(slot))
        assert len(store) <= 3 + len(store.peers())
    assert [peer.address for peer in store.peers()] == peers[:1]
    assert len(store) == 4


def test_links_beyond_the_bound_are_the_dearest_that_carry_nothing() -> None:
    store = NodeStore(US, link_capacity=10)
    _a, b = chain(store, 0, 2)
    for slot in range(3, 60):
        store.discover(b, path(0, slot), now=0.0)  # the same node by ever more links
        assert len(store.links()) <= 10
    assert store.get(b).label == path(0, 2)


def test_unreachable_nodes_go_first() -> None:
    rng = random.Random(3)
    store = NodeStore(US, capacity=10)
    _a, b = chain(store, 0, 2)
    kept = [in_bucket(0, rng) for _ in range(8)]
    for slot, address in enumerate(kept, start=3):
        store.discover(address, path(0, slot), now=0.0)
    store.discover(node(7), path(0, 2, 5), now=0.0)
    store.remove(b)  # node 7 hangs in the air now
    for slot in (20, 21):
        store.discover(in_bucket(0, rng), path(0, slot), now=0.0)
    assert all(address in store for address in kept)
    store.discover(b, path(0, 2), now=0.0)
    assert store.by_path(path(0, 2, 5)) is None


def test_of_the_others_the_worst_by_distance_and_cost_goes() -> None:
    """Bucket 0 is full: the cheap and the four best stay, the dearest of the rest goes."""
    rng = random.Random(11)
    store = NodeStore(US, capacity=12)
    chain(store, 0)
    many = [in_bucket(0, rng) for _ in range(12)]
    for slot, address in enumerate(many, start=2):
        store.discover(address, path(0, slot), now=0.0)
    for _ in range(60):
        store.timeout(store.get(many[5]).label, now=1.0)
    store.discover(in_bucket(3, rng), path(0, 30), now=2.0)
    assert [address in store for address in many] == [i != 5 for i in range(12)]


@pytest.mark.parametrize("ground", [0, 3, 12, 40, 100])
def test_keys_ground_into_one_bucket_do_not_evict_the_others(ground: int) -> None:
    rng = random.Random(ground)
    store = NodeStore(US, capacity=128)
    chain(store, 0)
    honest = [in_bucket(b, rng) for b in range(30) for _ in range(10) if b != ground][:128]
    for slot, address in enumerate(honest, start=2):
        store.discover(address, path(0, slot), now=0.0)
    attacker = path(0, 255)
    store.discover(node(5), attacker, now=0.0)
    present = {address for address in honest if address in store}
    assert len(present) >= 127
    for i in range(3000):
        store.discover(in_bucket(ground, rng), path(rng.randrange(2, 250), 2 + i % 200).splice(attacker), now=1.0)
        assert len(store) <= 129
    left = [address for address in present if address in store]
    assert len(present) - len(left) <= 128 // 8 + 1
    for each in range(30):
        had = sum(bucket(US, address) == each for address in present)
        assert sum(bucket(US, address) == each for address in left) >= min(4, had)


def test_a_node_that_carries_others_is_not_evicted() -> None:
    rng = random.Random(2)
    store = NodeStore(US, capacity=9)
    chain(store, 0)
    carrier = in_bucket(0, rng)
    store.discover(carrier, path(0, 2), now=0.0)
    for _ in range(200):
        store.timeout(path(0, 2), now=0.0)
    for slot in range(3, 40):
        store.discover(in_bucket(9, rng), path(0, 2, slot), now=0.0)
    assert carrier in store
    assert len(store) == 10


def abuse(store: NodeStore, rng: random.Random, pool: list[Address], now: int) -> None:
    """Do one thing at random, mostly with labels that mean nothing."""
    base = rng.choice([known.label for known in store] or [SELF])
    onward = (rng.randrange(2, 4096) ^ 1) << base.log2 ^ base
    label = rng.choice([rng.getrandbits(rng.randrange(1, 64)), rng.getrandbits(8) | 0x100, onward]) & (1 << 64) - 1
    what = rng.choices(["discover", "reply", "timeout", "purge", "remove"], [6, 1, 1, 1, 1])[0]
    if what == "discover":
        scheme = rng.choice([V3X5X8, V3X5X8, V4X8, F4, F8])
        form = rng.randrange(len(scheme.forms))
        store.discover(rng.choice(pool), label, scheme=scheme, inverse_form=form, now=now)
    elif what == "reply":
        store.reply(rng.choice([label, base]), latency=0.1, now=now)
    elif what == "timeout":
        store.timeout(rng.choice([label, base]), now=now)
    elif what == "purge" and (route := rng.choice([label, base])) > 1:
        store.purge(route)
        assert not [known for known in store if known.label.routes_through(route)]
    else:
        store.remove(rng.choice(pool))


@pytest.mark.parametrize("seed", range(40))
def test_a_small_store_survives_anything(seed: int) -> None:
    rng = random.Random(seed)
    capacity, link_capacity = rng.choice([1, 3, 8]), rng.choice([1, 5, 30])
    store = NodeStore(US, capacity=capacity, link_capacity=link_capacity, scheme=rng.choice([V3X5X8, V4X8, F4, F8]))
    pool = [US, *(node(i) for i in range(1, 20))]
    for now in range(120):
        abuse(store, rng, pool, now)
        peers = len(store.peers())
        assert len(store) <= capacity + peers
        assert len(store.links()) <= max(link_capacity, peers)
        assert US not in store
        for known in store:
            assert store.get(known.address) == store.by_path(known.label) == known
            assert known.label.log2 <= 59


# -- lookups -----------------------------------------------------------------------------------------------------------


@given(
    st.lists(crowded_addresses(near=US), min_size=1, max_size=30, unique=True),
    st.one_of(crowded_addresses(near=US), st.binary(min_size=16, max_size=16)),
    st.integers(0, 40),
)
def test_nearest_and_next_hop(addresses: list[Address], target: Address | bytes, count: int) -> None:
    store = NodeStore(US)
    addresses = [address for address in addresses if address != US] or [node(1)]
    for slot, address in enumerate(addresses, start=2):
        assert store.discover(address, path(slot), now=0.0)
    ordered = sorted(addresses, key=lambda a: distance(target, a))
    assert [n.address for n in store.nearest(target, count)] == ordered[:count]
    left_out = frozenset(ordered[::2])
    assert [n.address for n in store.nearest(target, count, exclude=left_out)] == ordered[1::2][:count]
    hop = store.next_hop(target)
    if distance(target, ordered[0]) < distance(target, US):
        assert hop == store.get(ordered[0])
    else:
        assert hop is None
    assert [n.address for n in store] == sorted(addresses, key=lambda a: distance(US, a))


def test_forwarding_is_a_search_with_one_result() -> None:
    """The destination itself with its label where known; else whoever is strictly closer to it; else nobody."""
    store = NodeStore(US)
    a, b = chain(store, 0, 2)
    assert store.next_hop(b) == store.get(b) == store.nearest(b, 1)[0]
    assert store.next_hop(b).label == path(0, 2)
    assert store.next_hop(node(5)).address == a  # 5 ^ 1 = 4 is less than 5 ^ 2 = 7, and than 5, our own distance
    assert store.next_hop(node(8)) is None  # 8 ^ 1 and 8 ^ 2 are no less than 8
    assert store.next_hop(US) is None
    assert NodeStore(US).next_hop(a) is None


@given(st.lists(crowded_addresses(), min_size=2, max_size=12, unique=True), crowded_addresses(), st.randoms())
def test_forwarding_never_circles(addresses: list[Address], target: Address, rng: random.Random) -> None:
    """Whatever routers know of each other, handing a packet on makes its distance shrink at every router."""
    stores = {}
    for own in addresses:
        stores[own] = NodeStore(own)
        for slot, other in enumerate(addresses, start=2):
            if other != own and rng.random() < 0.5:
                stores[own].discover(other, path(slot), now=0.0)
    at, visited = addresses[0], [addresses[0]]
    while (hop := stores[at].next_hop(target)) is not None:
        assert distance(hop.address, target) < distance(at, target)
        at = hop.address
        visited.append(at)
    assert len(set(visited)) == len(visited) <= len(addresses)


def test_the_node_to_ping_is_the_one_not_heard_of_for_longest() -> None:
    store = NodeStore(US)
    assert store.least_recently_heard() is None
    for number, when in ((1, 5.0), (2, 3.0), (3, 9.0)):
        store.discover(node(number), path(number + 1), now=when)
    assert store.least_recently_heard().address == node(2)
    store.reply(path(3), latency=0.1, now=10.0)
    assert store.least_recently_heard().address == node(1)


# -- the rest ----------------------------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**16),
        st.integers(0, 2**16).map(lambda n: n << 12 | int(path(0, 2, 3))),
    ),
    st.sampled_from(["discover", "reply", "timeout", "purge", "by_path"]),
)
def test_any_label_is_survived(label: int, what: str) -> None:
    store = NodeStore(US, capacity=8)
    chain(store, 0, 2, 3)
    if what == "discover":
        found = store.discover(node(77), label, now=1.0)
        assert found is None or (found.label.log2 <= 59 and store.by_path(found.label) == found)
    elif what == "purge":
        if label > 1:
            store.purge(label)
    elif what == "by_path":
        store.by_path(label)
    elif what == "reply":
        store.reply(label, latency=0.1, now=1.0)
    else:
        store.timeout(label, now=1.0)
    assert {n.address for n in store} <= {node(1), node(2), node(3), node(77)}


def test_a_label_of_more_than_59_bits_is_no_path() -> None:
    store = NodeStore(US)
    assert store.discover(node(1), path(*[3] * 14) << 4 | 7, now=0.0) is None
    assert store.discover(node(1), 1 << 63 | 7, now=0.0) is None
    assert (store.links(), store.heard(node(1))) == ([], None)


@pytest.mark.parametrize("label", [2, 3, 0b1001, 0b101110, 0b1011100])
def test_a_label_that_ends_inside_its_first_director_is_no_path(label: int) -> None:
    store = NodeStore(US)
    assert store.discover(node(1), label, now=0.0) is None
    assert store.links() == []


_EVERY_SCHEME = (
    V3X5X8,
    V4X8,
    F4,
    F8,
    EncodingScheme([EncodingForm(12)]),
    EncodingScheme([EncodingForm(3, 5, 1), EncodingForm(20, 1, 0)]),
)


@given(st.sampled_from(_EVERY_SCHEME), st.integers(0, 58).flatmap(lambda bits: st.integers(0, 1 << bits)))
def test_remembered_directors_are_the_scheme_s(scheme: EncodingScheme, label: int) -> None:
    directors = CanonicalDirectors(scheme)
    try:
        expected = scheme.convert_label(label) if label >> scheme.width_of(label) else 0
    except LabelError:
        expected = 0
    if scheme.is_self_route(label):
        expected = 0
    assert directors.canonical(label) == directors.canonical(label) == expected
    if expected:
        assert directors.form_and_width(expected) == (scheme.form_of(expected), scheme.width_of(expected))


def test_only_so_many_directors_are_remembered() -> None:
    wide = CanonicalDirectors(EncodingScheme([EncodingForm(31)]))
    for label in range(1 << 31, (1 << 31) + 5000):
        wide.canonical(label << 5 | 2)
    assert len(wide._known) <= 2048


@pytest.mark.parametrize("label", [-1, 1 << 64])
def test_what_is_no_label_is_refused(label: int) -> None:
    store = NodeStore(US)
    for call in (
        lambda: store.discover(node(1), label, now=0.0),
        lambda: store.reply(label, latency=0.0, now=0.0),
        lambda: store.timeout(label, now=0.0),
        lambda: store.purge(label),
        lambda: store.by_path(label),
    ):
        with pytest.raises(LabelError):
            call()
    assert list(store) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda store: NodeStore(b"\xfc" * 16),
        lambda store: NodeStore(US, scheme="v3x5x8"),
        lambda store: NodeStore(US, capacity=0),
        lambda store: NodeStore(US, capacity=1.5),
        lambda store: NodeStore(US, link_capacity=True),
        lambda store: store.discover("fc00::1", path(0), now=0.0),
        lambda store: store.discover(node(1), "0000.0000.0000.0013", now=0.0),
        lambda store: store.discover(node(1), path(0), now=float("nan")),
        lambda store: store.discover(node(1), path(0), now="now"),
        lambda store: store.discover(node(1), path(0), key=b"k" * 32, now=0.0),
        lambda store: store.discover(node(1), path(0), version=-1, now=0.0),
        lambda store: store.discover(node(1), path(0), scheme=None, now=0.0),
        lambda store: store.discover(node(1), path(0), inverse_form=3, now=0.0),
        lambda store: store.discover(node(1), path(0), inverse_form=-1, now=0.0),
        lambda store: store.reply(path(0), latency=float("inf"), now=0.0),
        lambda store: store.timeout(path(0), now=None),
        lambda store: store.nearest("fc00::1"),
        lambda store: store.nearest(node(1), -1),
        lambda store: store.nearest(node(1), exclude=[1]),
        lambda store: store.nearest(node(1), exclude=5),
        lambda store: store.next_hop(None),
        lambda store: store.get(b"\xfc" * 16),
        lambda store: store.heard("x"),
        lambda store: store.latency(None),
        lambda store: store.remove("x"),
    ],
)
def test_misuse_leaves_the_store_as_it_was(call: object) -> None:
    store = NodeStore(US)
    chain(store, 5, 6)
    before = (list(store), store.links())
    with pytest.raises(CjdnsMisuseError):
        call(store)  # type: ignore[operator]
    assert (list(store), store.links()) == before


def test_the_order_of_news_does_not_matter_to_the_outcome() -> None:
    news = [(1, (0,)), (2, (0, 2)), (3, (0, 2, 3)), (4, (5,)), (3, (5, 7)), (2, (5, 9)), (5, (0, 2, 3, 4))]
    outcomes = set()
    for seed in range(20):
        random.Random(seed).shuffle(news)
        store = NodeStore(US)
        for number, slots in news:
            store.discover(node(number), path(*slots), now=0.0)
        outcomes.add(tuple((n.address, n.label) for n in store))
    assert len(outcomes) == 1


def test_it_shows_itself() -> None:
    store = NodeStore(US)
    chain(store, 0, 2)
    store.reply(path(0), latency=0.020, now=0.0)
    assert repr(store) == "NodeStore(fc00:0000:0000:0000:0000:0000:0000:0000: 2 nodes, 1 of them peers, 2 links)"
    table = store._repr_html_()
    assert table.count("<tr>") == 3
    assert "0000.0000.0000.0153" in table
    assert "20 ms" in table
