# SPDX-License-Identifier: Apache-2.0
"""The demo as it is run: operating-system processes and UDP sockets on loopback."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from prestocloud_sec.demo import Event, Summary, run
from prestocloud_sec.demo.wire import Eavesdropper


@pytest.fixture(scope="module")
def finished() -> tuple[Summary, list[Event]]:
    events: list[Event] = []
    return run(trace=True, report=events.append), events


def test_every_packet_arrives_and_nothing_is_readable(finished: tuple[Summary, list[Event]]):
    summary, _ = finished
    assert summary.complete
    assert summary.packets_delivered == summary.packets > 60
    assert summary.eavesdropper["found"] == 0
    assert summary.eavesdropper["markers"] == 5
    assert len(summary.eavesdropper["keys"]) == 3  # the permanent keys of all three, read off the handshakes
    # Two links, and 20 bytes more than the packet on each, besides the handshakes.
    assert summary.wire_bytes > 2 * (summary.payload_bytes + 20 * summary.packets)


def test_the_labels_on_the_way_are_those_the_stations_saw(finished: tuple[Summary, list[Event]]):
    summary, _ = finished
    journey = summary.journeys[0]
    assert [hop.station for hop in journey.hops] == ["edge", "relay", "gateway"]
    seen = [detail for hop in journey.hops for layer, _, detail in hop.steps if layer == "switch"]
    labels = [label for _, label in summary.labels_on_the_way]
    assert [detail.split("label ")[1] for detail in seen] == [f"{a} -> {b}" for a, b in itertools.pairwise(labels[:4])]
    assert len(summary.journeys) == summary.packets


def test_the_times_are_of_this_run(finished: tuple[Summary, list[Event]]):
    summary, _ = finished
    assert 0 < summary.relay_seconds_per_datagram < summary.transit_seconds_median <= summary.transit_seconds_p99 < 5
    assert all(0 < seconds < 30 for seconds in summary.link_handshake_seconds.values())


def test_the_summary_is_plain_json(finished: tuple[Summary, list[Event]]):
    summary, _ = finished
    assert json.loads(json.dumps(summary.to_dict()))["complete"] is True


def test_no_private_key_or_password_is_told(finished: tuple[Summary, list[Event]]):
    _, events = finished
    for event in events:
        assert {"private", "password", "secret"}.isdisjoint(event.data)


def test_processes_end_with_their_orders():
    for module, words in (("prestocloud_sec.demo.process", ["relay"]), ("prestocloud_sec.demo.wire", [])):
        child = subprocess.run([sys.executable, "-m", module, *words], input=b"", capture_output=True, timeout=60)
        assert child.returncode == 0, child.stderr


def test_an_unknown_role_is_refused_in_one_line():
    child = subprocess.run(
        [sys.executable, "-m", "prestocloud_sec.demo.process", "spy"], capture_output=True, text=True, timeout=60
    )
    assert child.returncode != 0
    assert child.stderr.startswith("usage:")
    assert len(child.stderr.splitlines()) == 1


def test_the_eavesdropper_would_notice_plain_text():
    ear = Eavesdropper([b"celsius"])
    ear.overhear("a -> b", b"\0\0\0\x09" + b"x" * 20 + b"celsius")
    assert ear.found == 1
