# SPDX-License-Identifier: Apache-2.0
"""The demo's stations outlive hostile neighbours, and its processes end with one line on orders they cannot read."""

from __future__ import annotations

import os
from typing import Any

import pytest

from prestocloud_sec.cjdns.cryptoauth import Users
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.cjdns.keys import PrivateKey
from prestocloud_sec.demo import lines
from prestocloud_sec.demo.capture import conversation, readdress
from prestocloud_sec.demo.station import Send, Station
from prestocloud_sec.demo.wire import Eavesdropper, Wire
from prestocloud_sec.errors import InputError, MisuseError, PrestoCloudError, TruncatedError


def test_a_neighbour_cannot_stop_a_relay_by_a_frame_for_a_link_that_nobody_answers() -> None:
    edge, relay = Station("edge", PrivateKey.generate()), Station("relay", PrivateKey.generate())
    users = Users()
    users.add(b"secret", login=b"edge")
    uplink = edge.connect(peer_key=relay.key.public, password=b"secret", login=b"edge")
    first, silent = relay.connect(users=users), relay.connect(users=users)
    for _ in range(3):
        for knock in edge.knock(uplink, 1.0):
            assert isinstance(knock, Send)
            for answer in relay.datagram_received(first, knock.datagram, 1.0):
                assert isinstance(answer, Send)
                edge.datagram_received(uplink, answer.datagram, 1.0)
    assert relay.linked(first)

    frame = SwitchHeader(int(relay.link_label(silent))).encode() + bytes(20)
    hostile = edge._outer[uplink].encrypt(frame, now=1.0)
    refused = relay.counters.refused
    assert relay.datagram_received(first, hostile, 1.0) == []
    assert relay.counters.refused == refused + 1


@pytest.mark.parametrize("interface", [None, 99, -1, "0", 10**5000, []], ids=["None", "99", "-1", "text", "huge", "[]"])
def test_a_station_knows_its_links(interface: Any) -> None:
    with pytest.raises(CjdnsMisuseError):
        Station("relay", PrivateKey.generate()).datagram_received(interface, b"", 0.0)


def test_packets_too_short_to_have_addresses_get_none() -> None:
    packet = conversation()[0].data
    for size in range(40):
        with pytest.raises(TruncatedError):
            readdress(packet[:size], bytes(16), bytes(16))
    for size in range(40, len(packet)):
        assert len(readdress(packet[:size], bytes(16), bytes(16))) == size
    with pytest.raises(MisuseError):
        readdress(packet, bytes(15), bytes(16))


def read(data: bytes) -> list[Any]:
    inlet, outlet = os.pipe()
    try:
        os.write(outlet, data)
        return list(lines.Lines(inlet).read())
    finally:
        os.close(inlet)
        os.close(outlet)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b'{"order":' + b"9" * 5000 + b"}"])
def test_orders_are_objects(line: bytes) -> None:
    assert read(b'{"order":"report"}\n') == [{"order": "report"}]
    with pytest.raises(InputError):
        read(line + b"\n")


def test_an_order_without_an_end_is_not_collected_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST", 100)
    with pytest.raises(InputError):
        read(bytes(101))


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"order": 5},
        {"order": "links"},
        {"order": "links", "markers": ["zz"], "links": []},
        {"order": "links", "markers": [5], "links": []},
        {"order": "links", "markers": [], "links": [None]},
        {"order": "links", "markers": [], "links": [{"ends": [["a", 1]]}]},
        {"order": "links", "markers": [], "links": [{"ends": [["a", 1], ["b", 70000]]}]},
    ],
)
def test_orders_are_complete(order: dict[str, Any]) -> None:
    wire = object.__new__(Wire)  # without standard input, which pytest does not let us wait for
    wire.eavesdropper = Eavesdropper([])
    with pytest.raises(PrestoCloudError):
        wire.order(order)


@pytest.mark.parametrize("error", [InputError("not readable", where="orders"), OSError(1, "not readable")])
def test_a_process_ends_with_one_line(error: Exception) -> None:
    def refuse() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        lines.main_loop("relay", refuse)
    assert str(caught.value.code).startswith("relay: ")
    assert str(caught.value.code).endswith("not readable")


def test_members_of_orders_have_their_types() -> None:
    assert lines.member({"port": 5}, "port", int) == 5
    for order in ({}, {"port": True}, {"port": "5"}, None, []):
        with pytest.raises(InputError):
            lines.member(order, "port", int)
