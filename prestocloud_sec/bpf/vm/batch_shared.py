# SPDX-License-Identifier: Apache-2.0
"""One batch shared among threads: for programs whose runs cannot see each other.

Most programs wait for memory longer than they compute, and one processor alone cannot ask for more of it at a time. So
each processor takes a run of neighbouring packets, with a machine of its own: state, stack and region table are never
shared, compiled code and maps are. Allowed is what only reads: no helper but a lookup, in maps where that changes
nothing (an LRU map notes what is looked up).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import CallHelper
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.vm.machine import Machine

__all__ = ["cuts", "each", "siblings", "workers_for"]

LEAST = 1 << 15
"""Packets that are worth a thread."""
MOST = 16
"""Threads at most, however many processors there are: memory serves no more."""
_ONLY_READ = frozenset({MapType.ARRAY, MapType.HASH, MapType.LPM_TRIE})


def workers_for(machine: Machine, count: int, wanted: int | None) -> int:
    """Return how many threads a batch of `count` packets is shared among.

    Parameters
    ----------
    machine : Machine
        With a program that changes neither packets nor what a run begins with.
    count : int
        Packets.
    wanted : int or None
        How many the caller allows; None for as many as there are processors.
    """
    if count < 2 * LEAST or wanted == 1 or not _alone(machine):
        return 1
    return min(wanted or len(os.sched_getaffinity(0)), count // LEAST, MOST)


def _alone(machine: Machine) -> bool:
    """Whether no run can see what another does."""
    calls = {i.number for i in machine.runnable[0].instructions if isinstance(i, CallHelper)}
    return calls <= {HelperId.MAP_LOOKUP_ELEM} and all(found.type in _ONLY_READ for found in machine.maps)


def cuts(count: int, workers: int) -> list[tuple[int, int]]:
    """Cut `count` packets into `workers` runs of neighbours: first, and behind the last.

    >>> cuts(7, 2)
    [(0, 3), (3, 7)]
    """
    return [(count * part // workers, count * (part + 1) // workers) for part in range(workers)]


def siblings(machine: Machine, count: int, kept: list[Machine]) -> list[Machine]:
    """Return `count` more machines for the same program, maps and options, made where `kept` has not enough."""
    while len(kept) < count:
        kept.append(machine.twin())
    return kept[:count]


_POOL: list[ThreadPoolExecutor] = []
_POOL_LOCK = threading.Lock()


def _pool() -> ThreadPoolExecutor:
    with _POOL_LOCK:
        if not _POOL:
            _POOL.append(ThreadPoolExecutor(MOST - 1, thread_name_prefix="prestocloud-sec-batch"))
        return _POOL[0]


def _forget_pool() -> None:
    """Give up threads that did not come along into a child process."""
    _POOL.clear()


os.register_at_fork(after_in_child=_forget_pool)


def each(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Do `work` on every item at once, the first in this thread; raise the first error after all have ended."""
    pending = [_pool().submit(work, item) for item in items[1:]]
    try:
        work(items[0])
    finally:
        errors = [error for future in pending if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
