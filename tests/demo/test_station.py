# SPDX-License-Identifier: Apache-2.0
"""Three stations in one process: the same objects as in the demo's processes, with a list in place of sockets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.cjdns.cryptoauth import Users
from prestocloud_sec.cjdns.keys import PrivateKey
from prestocloud_sec.demo.capture import CAPTURE_EDGE, conversation, readdress
from prestocloud_sec.demo.station import Deliver, Send, Station


class Mesh:
    """Edge device, relay and gateway; datagrams go through `wire`, where a test can look at them."""

    def __init__(self, password: bytes = b"right", seed: int = 1) -> None:
        chance = random.Random(seed)
        self.stations = {
            name: Station(name, PrivateKey.generate(random=chance.randbytes), random=chance.randbytes, trace=True)
            for name in ("edge", "relay", "gateway")
        }
        relay = self.stations["relay"]
        self.links: dict[tuple[str, int], tuple[str, int]] = {}
        labels = {}
        for name in ("edge", "gateway"):
            station = self.stations[name]
            users = Users()
            users.add(b"right", login=name.encode(), restrict_to=station.key.address)
            there = relay.connect(users=users)
            here = station.connect(peer_key=relay.key.public, password=password, login=name.encode())
            self.links[name, here], self.links["relay", there] = ("relay", there), (name, here)
            labels[name] = (station.link_label(here), relay.link_label(there))
        gateway = self.stations["gateway"]
        self.stations["edge"].reach(gateway.key.public, labels["gateway"][1].splice(labels["edge"][0]))
        self.wire: list[bytes] = []
        self.now = 100.0

    def carry(self, name: str, actions: list) -> list[tuple[str, Deliver]]:
        """Carry all datagrams until nothing moves; return what was delivered, and where."""
        delivered, waiting = [], [(name, action) for action in actions]
        while waiting:
            station, action = waiting.pop(0)
            if isinstance(action, Deliver):
                delivered.append((station, action))
                continue
            self.wire.append(action.datagram)
            there, interface = self.links[station, action.interface]
            self.now += 0.001
            found = self.stations[there].datagram_received(interface, action.datagram, self.now)
            waiting += [(there, a) for a in found]
        return delivered

    def join(self) -> None:
        for _ in range(4):
            for name in ("edge", "gateway"):
                self.carry(name, self.stations[name].knock(0, self.now))
        for _ in range(4):
            edge = self.stations["edge"]
            self.carry("edge", edge.greet(self.stations["gateway"].key.address, self.now))

    @property
    def joined(self) -> bool:
        return self.stations["edge"].connected(self.stations["gateway"].key.address)


def test_every_packet_of_the_capture_arrives_as_cjdns_delivers_it():
    mesh = Mesh()
    mesh.join()
    assert mesh.joined
    edge, gateway = mesh.stations["edge"].key.address.packed, mesh.stations["gateway"].key.address.packed
    mesh.wire.clear()
    packets = conversation()
    for packet in packets:
        outward = packet.source == CAPTURE_EDGE
        name, ends = ("edge", (edge, gateway)) if outward else ("gateway", (gateway, edge))
        sent = readdress(packet.data, *ends)
        delivered = mesh.carry(name, mesh.stations[name].packet_from_user(sent, mesh.now))
        ((where, action),) = delivered
        assert where == ("gateway" if outward else "edge")
        assert action.packet == b"\x60\0\0\0" + sent[4:7] + b"\x2a" + sent[8:]
    # On each of the two links 60 bytes (outer 20, switch 12, handle 4, inner 20, data 4) for the 40 of the IPv6 header.
    assert sum(map(len, mesh.wire)) == 2 * sum(len(packet.data) + 20 for packet in packets)
    assert mesh.stations["relay"].counters.switched >= len(packets)


def test_the_relay_and_the_wire_see_no_plain_text_and_the_relay_has_no_inner_session(monkeypatch: pytest.MonkeyPatch):
    mesh = Mesh()
    mesh.join()
    packet = next(p for p in conversation() if b"celsius" in p.data)
    edge, gateway, relay = (mesh.stations[name] for name in ("edge", "gateway", "relay"))
    opened: list[bytes] = []
    switch_frame = Station._switch_frame

    def spy(station: Station, interface: int, frame: bytes, now: float) -> list:
        if station is relay:
            opened.append(frame)
        return switch_frame(station, interface, frame, now)

    monkeypatch.setattr(Station, "_switch_frame", spy)
    sent = readdress(packet.data, edge.key.address.packed, gateway.key.address.packed)
    assert mesh.carry("edge", edge.packet_from_user(sent, mesh.now))
    assert len(opened) == 1
    assert all(b"celsius" not in frame for frame in opened + mesh.wire)
    assert gateway.key.address.packed not in opened[0]
    assert relay._inner == {}


def test_a_wrong_password_is_answered_by_silence():
    mesh = Mesh(password=b"wrong")
    mesh.join()
    relay = mesh.stations["relay"]
    assert not mesh.joined
    assert relay.counters.datagrams_in == relay.counters.refused > 0
    assert relay.counters.datagrams_out == 0


def test_packets_with_a_false_source_or_no_session_go_nowhere():
    mesh = Mesh()
    mesh.join()
    edge, gateway = mesh.stations["edge"], mesh.stations["gateway"]
    packet = conversation()[0].data
    false_source = readdress(packet, gateway.key.address.packed, edge.key.address.packed)
    no_session = readdress(packet, edge.key.address.packed, mesh.stations["relay"].key.address.packed)
    not_cjdns = readdress(packet, edge.key.address.packed, CAPTURE_EDGE)
    before = edge.counters.refused
    for bad in (false_source, no_session, not_cjdns, packet[:39], b"", b"\x45" + packet[1:]):
        assert edge.packet_from_user(bad, mesh.now) == []
    assert edge.counters.refused == before + 6


@settings(max_examples=60)
@given(st.data())
def test_no_datagram_brings_a_station_down(data: st.DataObject):
    mesh = Mesh()
    mesh.join()
    good = mesh.wire[-1]
    for name, interface in list(mesh.links):
        noise = data.draw(st.binary(max_size=200) | st.binary(max_size=64).map(lambda b: good[:60] + b))
        mesh.carry(name, mesh.stations[name].datagram_received(interface, noise, mesh.now))
    assert mesh.joined


@pytest.mark.parametrize("name", ["edge", "gateway"])
def test_the_trace_names_every_layer(name: str):
    mesh = Mesh()
    mesh.join()
    ends = [mesh.stations[n].key.address.packed for n in ("edge", "gateway")]
    ends = ends if name == "edge" else ends[::-1]
    (action,) = mesh.stations[name].packet_from_user(readdress(conversation()[0].data, *ends), mesh.now)
    assert isinstance(action, Send)
    assert [step.layer for step in action.steps] == [
        "IPv6",
        "data header",
        "inner CryptoAuth sealed",
        "switch header",
        "switch",
        "outer CryptoAuth sealed",
    ]


def test_sizes_tell_which_datagram_became_which():
    """No anonymity: whoever hears both links of the relay matches what goes in with what comes out."""
    mesh = Mesh()
    mesh.join()
    edge, gateway = mesh.stations["edge"], mesh.stations["gateway"]
    mesh.wire.clear()
    sent = [p for p in conversation() if p.source == CAPTURE_EDGE]
    for packet in sent:
        readdressed = readdress(packet.data, edge.key.address.packed, gateway.key.address.packed)
        mesh.carry("edge", edge.packet_from_user(readdressed, mesh.now))
    first_link, second_link = mesh.wire[::2], mesh.wire[1::2]
    assert [len(d) for d in first_link] == [len(d) for d in second_link] == [len(p.data) + 20 for p in sent]
    assert all(a != b for a, b in zip(first_link, second_link, strict=True))
