# SPDX-License-Identifier: Apache-2.0
"""Two sessions over a network that loses, repeats, reorders, damages and reflects, while time passes and ends restart.

What must hold at every step: a payload that comes out was put in by the other side; a data packet's payload comes out
at most once; nothing but a typed error says no; no packet, whoever sent it and when, ends a default session that is
established. And at the end: once the network is honest again, two default sessions are connected within the 10 s after
which a handshake is given up, and a few packets; with quirks it can take the 60 s of an established session.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prestocloud_sec.cjdns.cryptoauth import Session
from prestocloud_sec.cjdns.errors import CjdnsError, CryptoAuthError
from prestocloud_sec.testing.session import Clock, SeededRandom, damaged, node_key

SIDES = {"a": 0, "b": 1}
IN_FLIGHT = 24
STEP = 2.0


class TwoSessions(RuleBasedStateMachine):
    """The network in between is the machine; subclasses say how each side behaves."""

    QUIRKS: ClassVar[dict[str, bool]] = {"a": False, "b": False}
    ROUNDS: ClassVar[int] = 12  # 24 s

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1000.0)
        self.sessions: dict[str, Session] = {}
        self.lives = Counter[str]()
        self.sent: dict[bytes, str] = {}
        self.as_data: set[bytes] = set()
        self.delivered = Counter[bytes]()
        self.flying: list[tuple[str, int, bytes]] = []
        self.recorded: list[tuple[str, bytes]] = []

    @initialize(keys=st.booleans())
    def start(self, keys: bool) -> None:
        """Either side may have the lower permanent key."""
        self.keys = {"a": node_key(keys), "b": node_key(not keys)}
        for side in SIDES:
            self.begin_life(side)

    def begin_life(self, side: str) -> None:
        self.lives[side] += 1
        self.sessions[side] = Session(
            self.keys[side],
            peer_key=self.keys[self.other(side)].public,
            quirks=self.QUIRKS[side],
            random=SeededRandom((side, self.lives[side])),
            clock=self.clock,
        )

    @staticmethod
    def other(side: str) -> str:
        return "b" if side == "a" else "a"

    def send(self, side: str, size: int = 0) -> bytes:
        payload = b"%s%d" % (side.encode(), len(self.sent)) + bytes(size)
        packet = self.sessions[side].encrypt(payload)
        self.sent[payload] = side
        if packet[:4] >= b"\0\0\0\4":
            self.as_data.add(payload)
        else:
            self.recorded.append((side, packet))
        return packet

    def receive(self, side: str, packet: bytes) -> bytes | None:
        session = self.sessions[side]
        was_established = session.established
        try:
            payload = session.decrypt(packet)
        except CryptoAuthError:
            return None
        finally:
            assert session.established or not was_established or self.QUIRKS[side], "a packet ended a session"
        assert self.sent.get(payload) == self.other(side), "a payload that the peer never sent"
        self.delivered[payload] += 1
        assert payload not in self.as_data or self.delivered[payload] == 1, "data delivered twice"
        return payload

    @rule(side=st.sampled_from("ab"), size=st.integers(0, 40))
    def put_in(self, side: str, size: int) -> None:
        packet = self.send(side, size)
        self.flying.append((side, self.lives[side], packet))
        del self.flying[:-IN_FLIGHT]

    @rule(side=st.sampled_from("ab"))
    def put_in_and_deliver_at_once(self, side: str) -> None:
        self.receive(self.other(side), self.send(side))

    @rule(first=st.sampled_from("ab"))
    def talk_in_peace(self, first: str) -> None:
        for _ in range(3):
            for side in (first, self.other(first)):
                self.receive(self.other(side), self.send(side))

    @rule(side=st.sampled_from("ab"), order=st.permutations(range(4)))
    def overtake_and_repeat(self, side: str, order: list[int]) -> None:
        packets = [self.send(side) for _ in order]
        for at in (*order, *range(4)):
            self.receive(self.other(side), packets[at])

    @precondition(lambda self: self.recorded)
    @rule(data=st.data())
    def play_a_recording(self, data: st.DataObject) -> None:
        """Any handshake packet of any life of either side."""
        side, packet = data.draw(st.sampled_from(self.recorded))
        self.receive(self.other(side), packet)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), keep=st.booleans())
    def deliver(self, data: st.DataObject, keep: bool) -> None:
        """Any packet in flight; kept, it can come again."""
        at = data.draw(st.integers(0, len(self.flying) - 1))
        side, _, packet = self.flying[at]
        if not keep:
            del self.flying[at]
        self.receive(self.other(side), packet)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def deliver_damaged(self, data: st.DataObject) -> None:
        side, _, packet = data.draw(st.sampled_from(self.flying))
        self.receive(self.other(side), data.draw(damaged(packet)))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), disguised=st.booleans())
    def reflect(self, data: st.DataObject, disguised: bool) -> None:
        """Send a packet back to its sender; in disguise only where the sender is one that notices, and remembers."""
        side, life, packet = data.draw(st.sampled_from(self.flying))
        if disguised and packet[:4] < b"\0\0\0\4" and not self.QUIRKS[side] and life == self.lives[side]:
            packet = packet[:40] + self.keys[self.other(side)].public.raw + packet[72:]
        with pytest.raises(CjdnsError):
            self.sessions[side].decrypt(packet)

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.flying[data.draw(st.integers(0, len(self.flying) - 1))]

    @rule(side=st.sampled_from("ab"), junk=st.binary(max_size=160))
    def inject(self, side: str, junk: bytes) -> None:
        with pytest.raises(CryptoAuthError):
            self.sessions[side].decrypt(junk)

    @rule(seconds=st.sampled_from((0.5, 3.0, 9.0, 11.0, 61.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(side=st.sampled_from("ab"))
    def reset(self, side: str) -> None:
        self.sessions[side].reset()

    @rule(side=st.sampled_from("ab"))
    def restart(self, side: str) -> None:
        self.begin_life(side)

    @invariant()
    def bounded(self) -> None:
        for session in self.sessions.values():
            assert session.overhead in (20, 120)

    def teardown(self) -> None:
        """Let the network be honest: what was in flight is gone, everything sent arrives once and in order."""
        if not self.sessions:
            return
        for _ in range(self.ROUNDS):
            self.clock.advance(STEP)
            arrived = [self.receive(self.other(side), self.send(side)) for side in SIDES]
            if None not in arrived and all(session.established for session in self.sessions.values()):
                break
        else:
            raise AssertionError(f"not connected after {self.ROUNDS * STEP} s: {self.sessions}")
        for side in ("a", "b", "b", "a"):
            assert self.receive(self.other(side), self.send(side)) is not None


class DefaultAndQuirks(TwoSessions):
    QUIRKS: ClassVar[dict[str, bool]] = {"a": False, "b": True}
    ROUNDS: ClassVar[int] = 40  # 80 s


class QuirksAndQuirks(TwoSessions):
    QUIRKS: ClassVar[dict[str, bool]] = {"a": True, "b": True}
    ROUNDS: ClassVar[int] = 40


BUDGET = settings(max_examples=60, stateful_step_count=40, deadline=None)


def _case(machine: type[TwoSessions], budget: Any = BUDGET) -> Any:
    case = machine.TestCase
    case.settings = budget
    return case


TestDefaultAndDefault = _case(TwoSessions)
TestDefaultAndQuirks = _case(DefaultAndQuirks)
TestQuirksAndQuirks = _case(QuirksAndQuirks, settings(BUDGET, max_examples=30))
