# SPDX-License-Identifier: Apache-2.0
"""The node store against a plain model and against the true network, under random news.

The model keeps a list of links and searches all of it for everything: it follows paths by trying every link, and finds
best paths by improving all of them until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prestocloud_sec.cjdns.errors import LabelError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing import NodeStore, _linkgraph
from prestocloud_sec.cjdns.switch import EncodingScheme, RouteLabel
from prestocloud_sec.testing.nodes import Network, Way, networks


@dataclass
class PlainLink:
    parent: Address
    child: Address
    label: RouteLabel
    inverse_form: int
    cost: int


Best = dict[Address, tuple[int, RouteLabel, int]]


class Model:
    """Every link that is known, and nothing clever."""

    def __init__(self, own: Address, schemes: dict[Address, EncodingScheme], limit: int) -> None:
        self.own = own
        self.limit = limit
        self.schemes = schemes
        self.known: set[Address] = set()
        self.links: list[PlainLink] = []

    def canonical(self, at: Address, label: RouteLabel) -> RouteLabel | None:
        try:
            ends_inside = label.log2 < label.director_width(self.schemes[at])
            return (
                None if ends_inside or self.schemes[at].is_self_route(label) else self.schemes[at].convert_label(label)
            )
        except LabelError:
            return None

    def follow(
        self, path: RouteLabel, start: Address | None = None
    ) -> tuple[Address, RouteLabel | None, list[PlainLink]]:
        at, rest, taken = start or self.own, path, list[PlainLink]()
        while rest != 1:
            canonical = self.canonical(at, rest)
            if canonical is None:
                return at, None, taken
            rest = canonical
            fitting = [link for link in self.links if link.parent == at and rest.routes_through(link.label)]
            assert len(fitting) < 2, "of the labels of a node's links none begins with another"
            if not fitting:
                break
            taken.append(fitting[0])
            at, rest = fitting[0].child, rest.unsplice(fitting[0].label)
        return at, rest, taken

    def priced(self, link: PlainLink, cost: int) -> int:
        single = link.label.is_one_hop(self.schemes[link.parent])
        return min(max(cost, 1024 if single else 2**20), 2**32 - 1)

    def discover(self, address: Address, way: Way) -> bool:
        at, rest, taken = self.follow(way.label)
        if address == self.own or rest is None:
            return False
        if rest == 1:
            if not taken:
                return False
            last = taken[-1]
            assert last.child == address, "a true network never changes"
            if any(link.child == address for link in taken[:-1]):
                return False
            last.inverse_form = way.inverse_form
            return True
        if any(link.child == address for link in taken):
            return False
        self.known.add(address)
        self.attach(PlainLink(at, address, rest, way.inverse_form, 2**20))
        return True

    def attach(self, link: PlainLink) -> None:
        at, rest, taken = self.follow(link.label, link.parent)
        if rest is None or rest == 1 or link.child in {at, *(each.child for each in taken)}:
            return
        link.parent, link.label = at, rest
        link.cost = self.priced(link, link.cost)
        passing = [other for other in self.links if other.parent == at and other.label.routes_through(rest)]
        self.links = [other for other in self.links if other not in passing] + [link]
        for other in reversed(passing):
            onward = other.label.unsplice(rest)
            self.attach(PlainLink(link.child, other.child, onward, other.inverse_form, other.cost))

    def over(self, best: Best, link: PlainLink) -> tuple[int, RouteLabel] | None:
        cost, label, form_back = best[link.parent]
        scheme, onward = self.schemes[link.parent], link.label
        try:
            if form_back > scheme.form_of(onward):
                onward = scheme.convert_label(onward, form_back)
            route = onward.splice(label)
        except LabelError:
            return None
        return (cost + link.cost, route) if route.log2 <= self.limit else None

    def best(self) -> Best:
        found: Best = {self.own: (0, RouteLabel(1), 0)}
        for _ in range(len(self.known) + 2):
            better: Best = {self.own: found[self.own]}
            for link in self.links:
                route = self.over(found, link) if link.parent in found else None
                if route is not None and (link.child not in better or route < better[link.child][:2]):
                    better[link.child] = (*route, link.inverse_form)
            found = better
        del found[self.own]
        return found

    def forget(self, address: Address) -> None:
        self.known.discard(address)
        self.links = [link for link in self.links if address not in (link.parent, link.child)]

    def purge(self, path: RouteLabel) -> int:
        unlisted = self.known - set(self.best())
        at, rest, taken = self.follow(path)
        if rest == 1:
            self.links.remove(taken[-1])
        elif rest is not None:
            self.links = [x for x in self.links if x.parent != at or not x.label.routes_through(rest)]
        while True:
            best = self.best()
            bad = [address for address, (_, label, _) in best.items() if label.routes_through(path)]
            if not bad:
                break
            origin = {**best, self.own: (0, RouteLabel(1), 0)}
            for link in list(self.links):
                if link.child in bad and link.parent in origin and self.over(origin, link) == best[link.child][:2]:
                    self.links.remove(link)
        gone = self.known - set(best) - unlisted
        for address in gone:
            self.forget(address)
        return len(gone)


class StoreMachine(RuleBasedStateMachine):
    """Random news about a network that stands still; the store has room for all of it."""

    limit = 59

    @initialize(network=networks())
    def start(self, network: Network) -> None:
        self.network = network
        self.index = {address: i for i, address in enumerate(network.addresses)}
        self.store = NodeStore(network.addresses[0], scheme=network.schemes[0])
        self.model = Model(network.addresses[0], dict(zip(network.addresses, network.schemes, strict=True)), self.limit)
        self.now = 0.0
        self.ways: list[Way] = []

    def some_way(self, data: st.DataObject) -> Way | None:
        """Walk one to five hops, or the way of an earlier walk."""
        if self.ways and data.draw(st.booleans()):
            return data.draw(st.sampled_from(self.ways))
        at, slots = 0, []
        for _ in range(data.draw(st.integers(1, 5))):
            out = sorted(self.network.slots[at])
            if not out:
                break
            slots.append(data.draw(st.sampled_from(out)))
            at = self.network.slots[at][slots[-1]][0]
        way = self.network.way(slots) if slots else None
        if way is not None:
            assert self.network.walk(way.label) == way.nodes[-1], "the two halves of the true network agree"
            self.ways.append(way)
        return way

    @rule(data=st.data())
    def discover(self, data: st.DataObject) -> None:
        way = self.some_way(data)
        if way is None:
            return
        self.now += 1
        end = way.nodes[-1]
        address, scheme = self.network.addresses[end], self.network.schemes[end]
        node = self.store.discover(
            address, way.label, scheme=scheme, inverse_form=way.inverse_form, version=20, now=self.now
        )
        learnt = self.model.discover(address, way)
        assert (node is not None) == (learnt and address in self.model.best())
        if learnt:
            assert self.store.heard(address) == self.now

    @rule(data=st.data(), replied=st.booleans())
    def news_of_a_path(self, data: st.DataObject, replied: bool) -> None:
        way = self.some_way(data)
        if way is None:
            return
        _, rest, taken = self.model.follow(way.label)
        for link in (taken if replied else taken[-1:]) if rest == 1 else ():
            link.cost = self.model.priced(link, link.cost - link.cost // 8 if replied else link.cost * 8 // 7)
        news = (
            self.store.reply(way.label, latency=0.1, now=self.now)
            if replied
            else self.store.timeout(way.label, now=self.now)
        )
        assert news == (rest == 1)

    @rule(data=st.data(), times=st.integers(10, 60))
    def many_replies(self, data: st.DataObject, times: int) -> None:
        for node in data.draw(st.permutations(list(self.store)))[:1]:
            for _ in range(times):
                _, _, taken = self.model.follow(node.label)
                for link in taken:
                    link.cost = self.model.priced(link, link.cost - link.cost // 8)
                assert self.store.reply(node.label, latency=0.1, now=self.now)

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        way = self.some_way(data)
        if way is None:
            return
        assert self.store.purge(way.label) == self.model.purge(way.label)
        assert not [node for node in self.store if node.label.routes_through(way.label)]

    @precondition(lambda self: self.model.known)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.model.known)))
        assert self.store.remove(address)
        assert not self.store.remove(address)
        self.model.forget(address)

    @invariant()
    def best_paths_are_the_model_s(self) -> None:
        expected = {address: (cost, label) for address, (cost, label, _) in self.model.best().items()}
        assert {node.address: (node.cost, node.label) for node in self.store} == expected
        assert len(self.store) == len(expected)

    @invariant()
    def links_are_the_model_s(self) -> None:
        found = [(x.parent, x.child, x.label, x.inverse_form, x.cost) for x in self.store.links()]
        expected = [(x.parent, x.child, x.label, x.inverse_form, x.cost) for x in self.model.links]
        assert sorted(found) == sorted(expected)

    @invariant()
    def every_path_leads_where_it_says(self) -> None:
        for node in self.store:
            assert self.network.walk(node.label) == self.index[node.address]
            known = self.store.by_path(node.label)
            assert known == node

    @invariant()
    def peers_are_the_neighbours_that_were_met(self) -> None:
        scheme = self.network.schemes[0]
        direct = sorted(
            (x.label, x.child) for x in self.model.links if x.parent == self.model.own and scheme.is_one_hop(x.label)
        )
        assert [(peer.label, peer.address) for peer in self.store.peers()] == direct
        assert self.store.own not in self.store


class TightStoreMachine(StoreMachine):
    """The same with labels so short that many a path cannot be extended."""

    limit = 20

    def __init__(self) -> None:
        super().__init__()
        _linkgraph.MAX_ROUTE_BITS = self.limit

    def teardown(self) -> None:
        _linkgraph.MAX_ROUTE_BITS = 59


class TestStore(StoreMachine.TestCase):
    settings = settings(
        max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )


class TestTightStore(TightStoreMachine.TestCase):
    settings = TestStore.settings
