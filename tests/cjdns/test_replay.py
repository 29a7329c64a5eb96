# SPDX-License-Identifier: Apache-2.0
"""The replay window against a model that remembers everything, and at its exact edges."""

from __future__ import annotations

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.cryptoauth.replay import ReplayWindow

TOP = 2**32 - 1


class Model:
    """The policy in sets: every number ever accepted, and the lowest that may still be."""

    def __init__(self, base: int = 0) -> None:
        self.base = base
        self.seen: set[int] = set()
        self.duplicates = self.lost = self.out_of_range = 0

    def accept(self, number: int) -> bool:
        if number < self.base:
            self.out_of_range += 1
            return False
        while number > self.base + 63:
            if all(low in self.seen for low in range(self.base, self.base + 32)):
                self.base += 32
            else:
                moved = number - 47
                dropped = moved - self.base
                self.lost += dropped - sum(self.base <= old < moved for old in self.seen)
                self.base = moved
            self.seen = {old for old in self.seen if old >= self.base}
        if number in self.seen:
            self.duplicates += 1
            return False
        self.seen.add(number)
        return True


def compare(numbers: Iterable[int], base: int = 0, *, look_every: int = 1) -> None:
    window, model = ReplayWindow(base), Model(base)
    for count, number in enumerate(numbers):
        assert window.accept(number) is model.accept(number), number
        if count % look_every == 0:
            assert window.base == model.base
            assert {window.base + i for i in range(64) if window.bits >> i & 1} == model.seen
    assert (window.duplicates, window.lost, window.out_of_range) == (model.duplicates, model.lost, model.out_of_range)
    assert window.bits < 1 << 64


def test_a_long_run_of_every_sort_of_disorder() -> None:
    rng = random.Random(20)
    for _ in range(200):
        at, numbers = rng.randrange(1000), []
        for _ in range(5000):
            match rng.random():
                case p if p < 0.90:
                    at += 1
                    numbers.append(at)
                case p if p < 0.98:
                    numbers.append(max(0, at - rng.randrange(80)))
                case p if p < 0.995:
                    at += rng.randrange(1, 130)
                    numbers.append(at)
                case _:
                    at += rng.randrange(1, 100_000)
                    numbers.append(at)
        compare(numbers, base=rng.randrange(5), look_every=50)


@given(st.lists(st.integers(0, 300), max_size=120), st.integers(0, 100))
def test_any_order_of_near_numbers(numbers: list[int], base: int) -> None:
    compare(numbers, base)


@given(st.lists(st.integers(0, 2**31 - 1), max_size=30))
def test_any_order_of_far_numbers(numbers: list[int]) -> None:
    compare(numbers)


@given(st.lists(st.integers(0, TOP), max_size=60))
def test_no_number_is_accepted_twice(numbers: list[int]) -> None:
    window = ReplayWindow()
    accepted = [number for number in numbers if window.accept(number)]
    assert len(accepted) == len(set(accepted))
    assert 0 <= window.base <= TOP
    assert 0 <= window.bits < 1 << 64


def test_the_width_is_64() -> None:
    window = ReplayWindow(100)
    assert not window.accept(99)
    assert window.accept(163)
    assert window.base == 100
    assert window.accept(100)
    assert window.accept(164)
    assert window.base == 164 - 47
    assert not window.accept(116)
    assert window.accept(117)
    assert (window.out_of_range, window.lost) == (2, 17 - 1)


def test_a_full_lower_half_moves_by_32_and_loses_nothing() -> None:
    window = ReplayWindow()
    for number in range(33):
        assert window.accept(number)
    assert window.accept(64)
    assert (window.base, window.lost) == (32, 0)
    assert not window.accept(31)
    assert window.accept(33)
    assert (window.duplicates, window.out_of_range) == (0, 1)


def test_numbers_in_order_are_all_accepted_and_none_is_lost() -> None:
    window = ReplayWindow()
    assert all(window.accept(number) for number in range(10_000))
    assert window.lost == 0


def test_the_highest_number() -> None:
    window = ReplayWindow()
    assert window.accept(TOP)
    assert window.base == TOP - 47
    assert not window.accept(TOP)
    assert window.accept(TOP - 1)


def test_restart_wraps_and_keeps_the_counts() -> None:
    window = ReplayWindow()
    assert window.accept(5)
    assert not window.accept(5)
    window.restart(TOP + 1)
    assert (window.base, window.bits, window.duplicates) == (0, 0, 1)
    assert window.accept(5)
