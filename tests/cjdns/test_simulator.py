# SPDX-License-Identifier: Apache-2.0
"""The simulated network: it is deterministic and real, and in it searches do what the protocol promises."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing.messages import FIND_NODE, NEXT_HOP, Reply
from prestocloud_sec.cjdns.routing.search import SearchLimits
from prestocloud_sec.cjdns.simulator import Arrival, Fabric, Lie, Lost, Simulator, topology
from prestocloud_sec.cjdns.switch import V3X5X8, RouteLabel, bit_reverse_64
from prestocloud_sec.testing.search import topologies


class Watcher:
    """Stands between a node and its answers, and judges each by what only the simulator knows."""

    def __init__(self, node):
        self.node = node
        self.inner = node.router.answers
        self.violations = 0
        self.entries = 0

    def answer(self, query, *, asker, path):
        reply = self.inner.answer(query, asker=asker, path=path)
        for entry in reply.nodes or ():
            self.entries += 1
            if V3X5X8.parse_director(entry.label) == V3X5X8.parse_director(path):
                self.violations += 1
            address = Address(query.target) if query.kind in (FIND_NODE, NEXT_HOP) else None
            named = self.node.router._address_of(entry.key)
            if address and (named.metric ^ address.metric) >= (self.node.address.metric ^ address.metric):
                self.violations += 1
        return reply


def watch(sim):
    watchers = []
    for node in sim.nodes:
        if not isinstance(node.router.answers, Watcher):
            node.router.answers = Watcher(node)
        watchers.append(node.router.answers)
    return watchers


def all_pairs(sim, rounds=3):
    """Search between all pairs of live nodes; return those not found within so many rounds of searches."""
    missing = [(a, b) for a in sim.alive() for b in sim.alive() if a != b]
    for _ in range(rounds):
        missing = [(a, b) for a, b in missing if not sim.search(a, b).found]
        if not missing:
            break
        sim.run(until=sim.now + 10)
    return missing


# -- the fabric: real labels ---------------------------------------------------------------------------------------


@given(topologies(), st.integers(0), st.integers(0, (1 << 64) - 1))
def test_a_walk_ends_where_the_reversed_label_leads_back(edges, source, label):
    fabric = Fabric(random.Random(0))
    for _ in range(1 + max(b for _, b in edges)):
        fabric.add()
    for a, b in edges:
        fabric.link(a, b, 0.5)
    source %= len(fabric.switches)
    where = fabric.walk(source, label)
    if isinstance(where, Lost):
        assert where.reason in ("MALFORMED_ADDRESS", "RETURN_PATH_INVALID", "SHIFT_OVERFLOW", "UNDELIVERABLE")
        return
    assert where.latency == pytest.approx(0.5 * where.hops)
    if where.hops < 8:
        back = fabric.walk(where.node, where.back)
        assert isinstance(back, Arrival)
        assert (back.node, back.hops) == (source, where.hops)


def test_a_walk_is_what_switches_forward():
    """The same packet, carried as bytes through `Switch.forward`, ends at the same node with the same label."""
    fabric = Fabric(random.Random(0))
    for _ in range(60):
        fabric.add()
    links = [fabric.link(a, b, 0.1) for a, b in topology.scale_free(60, seed=3)]
    wires = {(link.a, link.interface_a): (link.b, link.interface_b) for link in links}
    wires |= {(link.b, link.interface_b): (link.a, link.interface_a) for link in links}
    draw, arrived = random.Random(4), 0
    for _ in range(4000):
        node = source = draw.randrange(60)
        label = draw.getrandbits(draw.choice((8, 14, 22))) | 1 << draw.choice((4, 8, 12, 18))
        where = fabric.walk(source, label)
        interface, packet = 1, label.to_bytes(8, "big") + b"\x00\x40\xff\xff" + bytes(8)
        while True:
            outcome = fabric.switches[node].forward(interface, packet)
            if not hasattr(outcome, "packet") or hasattr(outcome, "error"):
                assert isinstance(where, Lost)
                break
            packet = outcome.packet
            if outcome.interface == 1:
                assert isinstance(where, Arrival)
                assert where.node == node
                assert where.back == bit_reverse_64(int.from_bytes(packet[:8], "big"))
                arrived += 1
                break
            node, interface = wires[node, outcome.interface]
    assert arrived > 300


def test_the_fabric_refuses_what_makes_no_sense():
    fabric = Fabric(random.Random(0))
    a, b = fabric.add(), fabric.add()
    fabric.link(a, b, 0.1)
    for call in (
        lambda: fabric.link(a, b, 0.1),
        lambda: fabric.link(a, a, 0.1),
        lambda: fabric.link(a, 7, 0.1),
        lambda: fabric.unlink(a, 7),
        lambda: fabric.walk(9, 1),
        lambda: Fabric(random.Random(0), loss=1.5),
    ):
        with pytest.raises(CjdnsMisuseError):
            call()
    fabric.unlink(a, b)
    with pytest.raises(CjdnsMisuseError):
        fabric.between(a, b)
    with pytest.raises(CjdnsMisuseError):
        fabric.link(a, b, float("nan"))


@pytest.mark.parametrize("shape", sorted(topology.SHAPES))
def test_shapes_are_connected_and_repeatable(shape):
    for n in (3, 10, 200):
        if shape == "regular" and n == 3:
            continue
        edges = topology.SHAPES[shape](n)
        assert edges == topology.SHAPES[shape](n)
        assert edges == sorted({(a, b) for a, b in edges if a < b})
        fabric = Fabric(random.Random(0))
        for _ in range(n):
            fabric.add()
        for a, b in edges:
            fabric.link(a, b, 0.0)
        assert -1 not in fabric.distances(0)


# -- determinism ---------------------------------------------------------------------------------------------------


def _run(seed, **options):
    sim = Simulator(seed, **options)
    sim.build(topology.small_world(12, seed=1))
    sim.run(until=8.0)
    sim.search(0, 7)
    sim.unlink(*next((link.a, link.b) for link in sim.fabric.links()))
    sim.run(until=15.0)
    return sim


def test_the_same_seed_gives_the_same_events_and_another_does_not():
    one, same, other = _run(1), _run(1), _run(2)
    assert one.trace == same.trace
    assert one.events == same.events
    assert one.trace != other.trace
    np.testing.assert_array_equal(one.metrics().nodes, same.metrics().nodes)
    lossy = _run(1, loss=0.02)
    assert lossy.trace == _run(1, loss=0.02).trace
    assert lossy.lost["LOSS"] > 0


def test_messages_as_bytes_give_the_same_events_as_messages_as_objects():
    objects, wired = _run(5), _run(5, wire=True)
    assert objects.trace == wired.trace
    assert objects.metrics().nodes["bytes"].sum() == 0
    assert (wired.metrics().nodes["bytes"] > 0).all()


def test_keys_that_hash_are_as_good():
    sim = Simulator(3, keys="hashed")
    sim.build(topology.ring(4))
    assert all(node.key.address == node.address for node in sim.nodes)
    assert not all_pairs(sim)


# -- what searches promise -----------------------------------------------------------------------------------------


NETWORKS = {
    "regular": topology.regular(300, seed=1),
    "small_world": topology.small_world(150, seed=2),
    "geometric": topology.geometric(60, seed=3),
    "scale_free": topology.scale_free(100, seed=4),
    "tree": topology.tree(60),
}


def test_of_ten_thousand_searches_none_circles_and_each_ends_and_most_find():
    """Each step is closer to the target than whoever named it, nobody is asked twice, and both rules are kept."""
    found = {}
    for seed, (name, edges) in enumerate(NETWORKS.items()):
        sim = Simulator.warm(edges, seed=seed)
        watchers = watch(sim)
        draw = random.Random(seed)
        for _ in range(2000):
            record = sim.search(*draw.sample(range(len(sim.nodes)), 2), limits=SearchLimits(20, 1))
            assert record.queries <= 20
            assert not record.circled
            places = [(step.address, step.label) for step in record.steps]
            assert len(set(places)) == len(places)
            for step in record.steps:
                if step.source is not None:
                    assert step.distance < step.source.metric ^ record.target.metric
        found[name] = sim.metrics().success
        assert sum(watcher.violations for watcher in watchers) == 0
        assert sum(watcher.entries for watcher in watchers) > 1000
        assert all(record.faults.lies() == 0 for record in sim.records)
    # In a tree there is one way to everyone, so rule two leaves a node next to the target in address space, but on the
    # asker's side of the tree, unable to name it.
    assert found.pop("tree") >= 0.85
    assert min(found.values()) >= 0.99


def test_a_search_from_nothing_but_peers_converges():
    """Tables are empty but for direct peers; the nodes' own maintenance fills them."""
    sim = Simulator(1)
    sim.build(topology.small_world(20, seed=1))
    watchers = watch(sim)
    sim.run(until=40.0)
    assert not all_pairs(sim)
    assert sum(watcher.violations for watcher in watchers) == 0
    metrics = sim.metrics()
    assert metrics.success == 1.0
    assert not metrics.searches["circled"].any()
    assert (metrics.searches["stretch"] >= 1.0).all()
    assert (metrics.nodes["table"] <= 128 + metrics.nodes["peers"]).all()


def test_the_literal_reading_ends_too_because_searches_remember():
    sim = Simulator.warm(topology.small_world(100, seed=1), seed=1, reading="literal")
    draw = random.Random(1)
    for _ in range(200):
        record = sim.search(*draw.sample(range(100), 2))
        places = [(step.address, step.label) for step in record.steps]
        assert len(set(places)) == len(places)
        assert record.queries <= 20


def test_routes_that_are_found_lead_to_the_target():
    sim = Simulator.warm(topology.scale_free(120, seed=2), seed=2)
    draw = random.Random(2)
    for _ in range(200):
        a, b = draw.sample(range(120), 2)
        record = sim.search(a, b)
        if record.found:
            where = sim.fabric.walk(a, record.label)
            assert isinstance(where, Arrival)
            assert (where.node, where.hops) == (b, record.hops)


@pytest.mark.parametrize("lie", list(Lie))
def test_liars_are_caught_and_do_not_stop_a_search_while_there_is_an_honest_way(lie):
    """A fifth of the nodes lie. The others still find each other, and every lie that shows is counted."""
    sim = Simulator.warm(topology.small_world(60, seed=1), seed=1)
    liars = random.Random(3).sample(range(60), 12)
    for liar in liars:
        sim.lie(liar, lie)
    honest = [node for node in range(60) if node not in liars]
    draw = random.Random(5)
    for _ in range(150):
        sim.search(*draw.sample(honest, 2))
    told = sum(sim.nodes[liar].router.answers.told[lie] for liar in liars)
    faults = [record.faults for record in sim.records]
    assert told > 20
    caught = {
        Lie.FURTHER: sum(f.rule_one for f in faults),
        Lie.OWN_ADDRESS: sum(f.own_address for f in faults),
        Lie.SELF_LOOP: sum(f.bad_route for f in faults),
        Lie.BAD_KEYS: sum(f.bad_key for f in faults),
        Lie.OVERSIZE: sum(f.oversize for f in faults) * 40,
    }
    if lie in caught:
        assert caught[lie] == told
    assert not any(record.circled for record in sim.records)
    assert sim.metrics().success >= 0.95


def test_ones_own_address_from_a_liar_purges_only_routes_through_it():
    sim = Simulator.warm(topology.ring(8), seed=1)
    sim.lie(1, Lie.OWN_ADDRESS)
    before = {node.address for node in sim.nodes[0].router.store}
    record = sim.search(0, 3)
    store = sim.nodes[0].router.store
    assert record.found
    gone = before - {node.address for node in store}
    towards_liar = sim.fabric.switches[0].label_of(sim.fabric.between(0, 1).interface_a)
    for address in gone:
        assert address != sim.nodes[7].address
    assert sim.nodes[1].address in store
    assert towards_liar in [peer.label for peer in store.peers()]


# -- change --------------------------------------------------------------------------------------------------------


def test_two_meshes_become_one_when_they_are_linked_and_nobody_is_renumbered():
    sim = Simulator(4)
    sim.build(topology.small_world(8, seed=1))
    sim.build([(a + 8, b + 8) for a, b in topology.ring(7)])
    sim.run(until=20.0)
    left, right = range(8), range(8, 15)
    assert not any(sim.search(a, b).found for a in left for b in right)
    assert all(sim.search(a, b).found for side in (left, right) for a in side for b in side if a != b)
    addresses = [node.address for node in sim.nodes]
    links = sim.fabric.links()
    sim.link(3, 11)
    sim.run(until=sim.now + 30.0)
    assert not all_pairs(sim)
    assert [node.address for node in sim.nodes] == addresses
    assert [link for link in sim.fabric.links() if link.a != 3 or link.b != 11] == links


def test_two_hundred_nodes_come_and_go_and_those_that_stay_find_each_other():
    sim = Simulator(7)
    sim.build(topology.small_world(20, seed=1))
    draw = random.Random(9)
    sim.run(until=10.0)
    for _ in range(200):
        alive = sim.alive()
        if len(alive) > 12 and draw.random() < 0.6:
            leaver = draw.choice(alive)
            peers = sim.fabric.peers(leaver)
            sim.remove_node(leaver)
            for a, b in pairwise(peers):  # who lost a peer finds another, so that no part is cut off
                if b not in sim.fabric.peers(a):
                    sim.link(a, b)
        else:
            new = sim.add_node()
            for peer in draw.sample(alive, min(3, len(alive))):
                sim.link(new, peer)
        sim.run(until=sim.now + 0.25)
    assert -1 not in [sim.fabric.distances(sim.alive()[0])[node] for node in sim.alive()]
    assert not all_pairs(sim, rounds=5)


def test_a_removed_node_is_gone():
    sim = Simulator(1)
    sim.build(topology.line(3))
    sim.run(until=10.0)
    assert sim.search(0, 2).found
    sim.remove_node(1)
    assert sim.alive() == [0, 2]
    assert len(sim.nodes[0].router.store) == 0
    assert not sim.search(0, 2).found
    for call in (lambda: sim.remove_node(1), lambda: sim.link(0, 1), lambda: sim.search(1, 0)):
        with pytest.raises(CjdnsMisuseError):
            call()


def test_a_message_under_way_on_a_link_that_goes_down_makes_no_peer():
    """Whenever the link goes, a message that left before does not bring the dead node back as a direct peer."""
    lost = 0
    for moment in range(100):
        sim = Simulator(11)
        for _ in range(3):
            sim.add_node()
        sim.link(2, 0, latency=0.05)
        sim.add_node()
        sim.run(until=1.0 + moment / 50)
        sim.remove_node(0)
        sim.run(until=sim.now + 1.0)
        assert sim.nodes[2].router.store.peers() == []
        lost += sim.lost["LINK_DOWN"]
    assert lost


class Mesh(RuleBasedStateMachine):
    """Nodes and links come and go at random; what the protocol forbids never happens, and what is joined is found."""

    nodes = Bundle("nodes")

    @initialize()
    def begin(self):
        self.sim = Simulator(11)
        self.watchers = {}

    @rule(target=nodes)
    @precondition(lambda self: len(self.sim.nodes) < 12)
    def join(self):
        return self.sim.add_node()

    def _pair(self, a, b):
        return a != b and self.sim.nodes[a].alive and self.sim.nodes[b].alive

    @rule(a=nodes, b=nodes)
    def link(self, a, b):
        if self._pair(a, b) and b not in self.sim.fabric.peers(a):
            self.sim.link(a, b)

    @rule(a=nodes, b=nodes)
    def unlink(self, a, b):
        if self._pair(a, b) and b in self.sim.fabric.peers(a):
            self.sim.unlink(a, b)

    @rule(node=nodes)
    def leave(self, node):
        if self.sim.nodes[node].alive:
            self.sim.remove_node(node)

    @rule(seconds=st.floats(0.1, 5.0))
    def wait(self, seconds):
        self.sim.run(until=self.sim.now + seconds)

    @rule(a=nodes, b=nodes)
    def search(self, a, b):
        if self._pair(a, b):
            record = self.sim.search(a, b)
            assert not record.circled
            if self.sim.fabric.distances(a)[b] < 0:
                assert not record.found

    @rule(a=nodes)
    def everyone_who_is_joined_is_found_in_the_end(self, a):
        if not self.sim.nodes[a].alive:
            return
        missing = [b for b, far in enumerate(self.sim.fabric.distances(a)) if far > 0]
        for _ in range(6):
            missing = [b for b in missing if not self.sim.search(a, b).found]
            if not missing:
                return
            self.sim.run(until=self.sim.now + 15.0)
        raise AssertionError(f"{a} does not find {missing}")

    @invariant()
    def answers_keep_both_rules(self):
        assert sum(watcher.violations for watcher in watch(self.sim)) == 0

    @invariant()
    def tables_hold_no_dead_peer_and_not_the_node_itself(self):
        for node in self.sim.nodes:
            if node.alive:
                peers = {self.sim.nodes[peer].address for peer in self.sim.fabric.peers(node.number)}
                assert {peer.address for peer in node.router.store.peers()} == peers
                assert node.address not in node.router.store


TestMesh = Mesh.TestCase
TestMesh.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)


# -- what it is like to use ----------------------------------------------------------------------------------------


def test_run_shows_progress_and_does_not_run_for_ever():
    sim = Simulator(1)
    sim.build(topology.ring(5))
    with pytest.raises(CjdnsMisuseError, match="never end"):
        sim.run()
    seen = []
    done = sim.run(until=5.0, progress=lambda now, events: seen.append((now, events)))
    assert seen[-1] == (5.0, done)
    assert sim.run(most=3) == 3
    quiet = Simulator(1, maintain=False)
    quiet.build(topology.ring(5))
    quiet.start_search(0, 2)
    quiet.run()
    assert len(quiet.records) == 1
    warm_seen = []
    Simulator.warm(topology.ring(300), progress=lambda done, total: warm_seen.append((done, total)))
    assert warm_seen[-1] == (300, 300)


def test_a_link_in_a_warm_network_is_a_link():
    sim = Simulator.warm(topology.line(6), seed=1)
    assert sim.search(0, 5).hops == 5
    sim.link(0, 5)
    assert sim.search(0, 5).hops == 1
    sim.unlink(0, 5)
    sim.remove_node(3)
    assert not sim.search(0, 5).found


def test_misuse():
    sim = Simulator(1)
    a = sim.add_node()
    for call in (
        lambda: Simulator("seed"),  # type: ignore[arg-type]
        lambda: Simulator(1, keys="none"),
        lambda: sim.add_node(key=sim.nodes[0].key),
        lambda: sim.search(a, 9),
        lambda: sim.lie(9, Lie.FURTHER),
        lambda: sim.unlink(a, 9),
        lambda: Simulator.warm([]),
        lambda: Simulator.warm([(0, 1)], per_bucket=0),
        lambda: topology.ring(2),
        lambda: topology.line("3"),  # type: ignore[arg-type]
        lambda: topology.tree(3, fanout=0),
        lambda: topology.regular(5, degree=9),
        lambda: sim.lie(a, "nonsense"),
    ):
        with pytest.raises(CjdnsMisuseError):
            call()


def test_tables_and_pictures():
    sim = Simulator(1)
    sim.build(topology.ring(5))
    assert sim.search(0, 1).label == RouteLabel(0x13)
    metrics = sim.metrics()
    assert metrics.searches.shape == (1,)
    assert metrics.nodes["peers"].tolist() == [2] * 5
    assert metrics.searches["shortest"].tolist() == [1]
    assert "100.0% found" in repr(metrics)
    assert metrics._repr_html_().count("<tr>") == 10
    lost = metrics.searches.copy()
    lost["found"], lost["hops"] = False, -1
    both = replace(metrics, searches=np.concatenate([metrics.searches, lost]))
    row = re.compile("<td>searches: hops</td>.*?</tr>")
    assert row.findall(both._repr_html_()) == row.findall(metrics._repr_html_())
    assert "-1" not in replace(metrics, searches=lost)._repr_html_()
    svg = sim._repr_svg_()
    assert svg.count("<circle") == 5
    assert svg.count("<line") == 5
    assert "svg" in sim._repr_html_()
    assert repr(sim).startswith("Simulator(seed=1, 5 nodes, 5 links")
    big = Simulator(1, maintain=False)
    big.build(topology.line(101))
    assert big._repr_svg_() is None
    assert np.isnan(big.metrics().success)


def test_a_reply_too_long_to_read_is_lost_on_the_wire():
    sim = Simulator.warm(topology.line(3), seed=1, wire=True)
    inner = sim.nodes[1].router.answers

    class Babbler:
        def answer(self, query, *, asker, path):
            reply = inner.answer(query, asker=asker, path=path)
            return Reply(txid=reply.txid, version=21, extra=((b"x", bytes(3000)),))

    sim.nodes[1].router.answers = Babbler()
    sim.search(0, 1)
    assert sim.lost["UNREADABLE"] > 0
