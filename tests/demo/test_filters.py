# SPDX-License-Identifier: Apache-2.0
"""The demo's filters: all engines keep the same packets, and the right ones."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from prestocloud_sec.bpf import ClassicProgram
from prestocloud_sec.demo import filters
from prestocloud_sec.demo.capture import conversation


@pytest.fixture(scope="module")
def shown() -> filters.Filters:
    return filters.run_filters()


def test_every_engine_keeps_the_same(shown: filters.Filters) -> None:
    assert shown.equal
    assert shown.packets == len(conversation())
    assert [row.expression for row in shown.rows] == list(filters.EXPRESSIONS)
    for row in shown.rows:
        assert set(row.packets_per_second) == set(filters.ENGINES)
        assert all(rate > 0 for rate in row.packets_per_second.values())


def test_the_right_ones_are_kept(shown: filters.Filters) -> None:
    """Counted from the packets' own headers: next header at byte 6, length at byte 4, ports at 40 and 42."""
    packets = [packet.data for packet in conversation()]

    def port(packet: bytes, wanted: int) -> bool:
        return wanted in (int.from_bytes(packet[40:42], "big"), int.from_bytes(packet[42:44], "big"))

    expected = {
        "ip6": len(packets),
        "icmp6": sum(p[6] == 58 for p in packets),
        "udp port 5683": sum(p[6] == 17 and port(p, 5683) for p in packets),
        "tcp port 80 and ip6 host 2001:db8::e": sum(p[6] == 6 and port(p, 80) for p in packets),
        "ip6[4:2] > 100": sum(int.from_bytes(p[4:6], "big") > 100 for p in packets),
        "tcp port 8080": 0,
        "greater 200": sum(len(p) + 14 >= 200 for p in packets),
    }
    assert {row.expression: row.kept for row in shown.rows} == expected
    assert expected["tcp port 80 and ip6 host 2001:db8::e"] > 0


def test_what_is_shipped_is_what_tcpdump_prints() -> None:
    assert set(filters.shipped()) == set(filters.EXPRESSIONS)
    for text in filters.shipped().values():
        assert ClassicProgram.from_ddd(text).to_ddd() == text


def test_without_tcpdump_the_shipped_programs_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    shown = filters.run_filters()
    assert not shown.compiled_by_tcpdump
    assert shown.equal


def test_a_tcpdump_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise subprocess.CalledProcessError(1, "tcpdump")

    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/tcpdump")
    monkeypatch.setattr(subprocess, "run", broken)
    assert not filters.run_filters().compiled_by_tcpdump
