# SPDX-License-Identifier: Apache-2.0
"""Maps, the model of them, and maps of the running kernel do the same, whatever is done to them."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import settings

from prestocloud_sec.bpf import MapType, create_map
from prestocloud_sec.errors import UnavailableError
from prestocloud_sec.testing.bpf_maps import LruMachine, MapMachine, MapShape, kernel_map, outcome


class TestModel(MapMachine.TestCase):
    settings = settings(MapMachine.TestCase.settings, max_examples=60, stateful_step_count=40, deadline=None)


class TestLru(LruMachine.TestCase):
    settings = settings(LruMachine.TestCase.settings, max_examples=40, stateful_step_count=40, deadline=None)


class KernelMachine(MapMachine):
    kernel = True


@pytest.fixture
def kernel() -> None:
    try:
        kernel_map(MapShape(MapType.ARRAY, 4, 4, 1)).close()
    except UnavailableError as error:
        pytest.skip(f"bpf(2): {error}")


@pytest.mark.usefixtures("kernel")
class TestKernel(KernelMachine.TestCase):
    settings = settings(KernelMachine.TestCase.settings, max_examples=60, stateful_step_count=40, deadline=None)


@pytest.fixture
def one_processor(kernel: None):
    """Which elements the kernel evicts depends on the processor it is asked on: the first, which is ours too."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_processor")
@pytest.mark.parametrize("flags", [64, 66], ids=["common", "own lists"])
@pytest.mark.parametrize("kind", [MapType.LRU_HASH, MapType.LRU_PERCPU_HASH])
@pytest.mark.parametrize("entries", [1, 4, 10, 50, 300])
def test_the_same_elements_go_as_in_the_kernel(kind: MapType, flags: int, entries: int) -> None:
    from prestocloud_sec.bpf.linux import possible_cpus

    cpus = possible_cpus()
    shape = MapShape(kind, 4, 4, entries, flags)
    theirs = kernel_map(shape)
    ours = create_map(kind, 4, 4, entries, flags, cpus=cpus)
    chance = random.Random(entries)
    for step in range(1200):
        key = chance.randrange(2 * entries + 2).to_bytes(4, "little")
        what = chance.choice("uuuuld")
        if what == "u":
            value, chosen = shape.value(step, cpus), chance.choice([0, 0, 0, 1, 2])
            assert outcome(ours.update, key, value, chosen) == outcome(theirs.update, key, value, chosen), step
        elif what == "d":
            assert outcome(ours.delete, key) == outcome(theirs.delete, key), step
        else:
            assert (outcome(ours.lookup, key) == -2) == (theirs.lookup(key) is None), step
        if step % 25 == 0:
            assert ours._pairs() == [(key, theirs.lookup(key)) for key in theirs.keys()], step  # noqa: SIM118
    theirs.close()
