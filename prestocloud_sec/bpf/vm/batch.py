# SPDX-License-Identifier: Apache-2.0
"""Many packets through one program: arrays in, arrays out, Python once for all.

A program that can change a packet gets a copy of each, with room on both sides; one that cannot is run over the arena
where it lies, by several threads where no run can see another. What only Python does for a run (a limit of time,
records of ring buffers that are still out) makes the batch a loop in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.arena import PacketArena, trusted_arena
from prestocloud_sec.bpf.helpers.ids import HelperId, KfuncId
from prestocloud_sec.bpf.isa import (
    FRAME_POINTER,
    Atomic,
    CallHelper,
    CallRegister,
    MayGoto,
    Store,
    StoreRelease,
)
from prestocloud_sec.bpf.maps.storage import address_of
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.batch_layout import BATCH_WORDS, RECORD_WORDS, Batch
from prestocloud_sec.bpf.vm.batch_room import copies_of, outside, room
from prestocloud_sec.bpf.vm.batch_shared import cuts, each, siblings, workers_for
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.packet import FRAME_ROOM
from prestocloud_sec.bpf.vm.result import BatchResult, faulting
from prestocloud_sec.bpf.vm.services import DEFAULT_SEED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.bpf.program import Program

__all__ = ["run_batch"]

_PLAIN = frozenset(
    {
        HelperId.MAP_LOOKUP_ELEM,
        HelperId.MAP_UPDATE_ELEM,
        HelperId.MAP_DELETE_ELEM,
        HelperId.GET_PRANDOM_U32,
        HelperId.GET_SMP_PROCESSOR_ID,
        HelperId.REDIRECT,
        HelperId.CSUM_DIFF,
        HelperId.LOOP,
        HelperId.MAP_LOOKUP_PERCPU_ELEM,
    }
)
"""Helpers that leave nothing in the state but what is written before each packet."""
_READS_ONLY = (_PLAIN - {HelperId.LOOP}) | {
    HelperId.KTIME_GET_NS,
    HelperId.REDIRECT_MAP,
    HelperId.KTIME_GET_BOOT_NS,
    HelperId.KTIME_GET_COARSE_NS,
    HelperId.STRNCMP,
    HelperId.KTIME_GET_TAI_NS,
}
"""Helpers that change neither the packet nor anything that a run begins with."""
_KEEPS_RECORDS: frozenset[int] = frozenset({HelperId.RINGBUF_RESERVE, HelperId.TAIL_CALL, KfuncId.BPF_ITER_BITS_NEW})
"""Helpers after which a run must begin in Python: records or allocations may be out, programs may be others."""
_FAULTS = 1024
"""How many faults there is room for at first."""


def can_write(program: Program) -> bool:
    """Whether a program could change a packet, or a frame that it does not name."""
    for i in program.instructions:
        if isinstance(i, Store | StoreRelease | Atomic):
            outside = i.offset >= 0 or i.offset < -layout.FRAME_SIZE
            if i.base != FRAME_POINTER or outside:
                return True
        if isinstance(i, CallRegister) or (isinstance(i, CallHelper) and i.number not in _READS_ONLY):
            return True
    return False


def _plain(program: Program) -> bool:
    """Whether a run of a program that changes no packet leaves in the state only what is written before each packet."""
    return not any(
        isinstance(i, CallRegister | MayGoto) or (isinstance(i, CallHelper) and i.number not in _PLAIN)
        for i in program.instructions
    )


def _in_python(machine: Machine) -> bool:
    if machine.time_limit is not None or machine.user_helpers:
        return True
    return any(
        isinstance(i, CallRegister) or (isinstance(i, CallHelper) and i.number in _KEEPS_RECORDS)
        for i in machine.runnable[0].instructions
    )


_NOWHERE, _NOTHING = np.full(1, -1, np.int32), np.zeros(1, np.uint64)


def _all(one: NDArray[Any], count: int) -> NDArray[Any]:
    """Return an array of the same number `count` times, without room for each."""
    shown = np.ndarray((count,), one.dtype, one, strides=(0,)) if count else one[:0]
    shown.flags.writeable = False
    return shown


class _Run:
    """The arrays of one batch."""

    def __init__(self, machine: Machine, arena: PacketArena, first: int = 0, whole: _Run | None = None) -> None:
        """Make the arrays of a batch, or with `whole` take the part of another's that begins with packet `first`."""
        count = len(arena)
        self.machine, self.arena, self.first = machine, arena, first
        part = slice(first, first + count)
        self.values: NDArray[np.uint64] = np.empty(count, np.uint64) if whole is None else whole.values[part]
        self.faults: NDArray[np.uint8] = np.zeros(count, np.uint8) if whole is None else whole.faults[part]
        self.records, self.told = np.empty((_FAULTS, RECORD_WORDS), np.int64), [np.empty((0, RECORD_WORDS), np.int64)]
        self.changed = np.zeros(count, np.bool_)
        self.copies = can_write(machine.runnable[0])
        copied = count if self.copies else 0
        size, self.longest = copies_of(arena) if self.copies else (0, 0)
        self.out = room(size)
        self.out_offsets, self.out_lengths = np.empty(copied, np.int64), np.empty(copied, np.int64)
        self.words = self._words()
        self._arrays()

    def _words(self) -> Any:
        machine = self.machine
        machine.start(bytes(self.longest))
        state, words = machine.state, np.zeros(BATCH_WORDS, np.int64)
        kind = machine.context.kind
        words[Batch.STATE_AT] = address_of(state)
        words[Batch.TABLE_AT] = address_of(machine.memory.table)
        words[Batch.CONTEXT_AT] = address_of(machine.context.buffer) if kind else 0
        words[Batch.CONTEXT_SIZE] = len(machine.context.buffer)
        words[Batch.KIND] = kind
        words[Batch.LINK_LAYER] = int(state[State.MAC_OFFSET]) >= 0
        words[Batch.COPIES] = self.copies
        words[Batch.PLAIN] = not self.copies and _plain(machine.runnable[0])
        words[Batch.REDIRECTS] = any(
            isinstance(i, CallHelper) and i.number == HelperId.REDIRECT for i in machine.runnable[0].instructions
        )
        words[Batch.ROOM] = FRAME_ROOM
        words[Batch.FUEL] = machine.limit
        seed = 0 if machine.seed is None else machine.seed or DEFAULT_SEED
        words[Batch.SEED] = seed - (1 << 64) if seed >> 63 else seed
        words[Batch.RAW] = machine.program.type is None and kind is ContextKind.OPAQUE
        machine.context.fill(None)
        return words

    def _arrays(self) -> None:
        """Tell the kernel where the arrays are."""
        arena, words = self.arena, self.words
        words[Batch.COUNT] = len(arena)
        words[Batch.SOURCE_SIZE], words[Batch.OUT_SIZE] = len(arena.buffer), len(self.out)
        words[Batch.RECORDS_ROOM] = len(self.records)
        for word, array in (
            (Batch.SOURCE_AT, arena.buffer),
            (Batch.OFFSETS_AT, arena.offsets),
            (Batch.LENGTHS_AT, arena.lengths),
            (Batch.VALUES_AT, self.values),
            (Batch.FAULTS_AT, self.faults),
            (Batch.RECORDS_AT, self.records),
            (Batch.CHANGED_AT, self.changed),
            (Batch.OUT_AT, self.out),
            (Batch.OUT_OFFSETS_AT, self.out_offsets),
            (Batch.OUT_LENGTHS_AT, self.out_lengths),
        ):
            words[word] = address_of(array)

    def grow(self) -> None:
        """Make room for more results."""
        full, self.out = self.out, room(2 * len(self.out) + (1 << 16))
        self.out[: len(full)] = full
        self._arrays()

    def take_faults(self) -> None:
        """Make room for more faults."""
        self.told.append(self.records[: int(self.words[Batch.RECORDS])])
        self.words[Batch.RECORDS] = 0
        self.records = np.empty((2 * len(self.records), RECORD_WORDS), np.int64)
        self._arrays()

    def recorded(self) -> list[NDArray[np.int64]]:
        """Return what was written down of faults."""
        return [*self.told, self.records[: self.words[Batch.RECORDS]]]

    def take_part(self, part: _Run) -> None:
        """Take over what was written down in a part of this batch."""
        for records in part.recorded():
            records[:, 0] += part.first
            self.told.append(records)

    def result(self, engine: str) -> BatchResult:
        packets = self.arena
        if self.copies:
            packets = PacketArena(self.out, self.out_offsets, self.out_lengths)
        return BatchResult(
            self.values, self.faults, *self._faults(), packets, self.changed, engine, faulting(self.machine.program)
        )

    def _faults(self) -> tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the faulting instructions, and addresses and sizes of what they touched."""
        count = len(self.arena)
        records = np.concatenate(self.recorded())
        if not len(records):  # one number for all: nothing to fill
            return _all(_NOWHERE, count), _all(_NOTHING, count), _all(_NOTHING, count)
        index = records[:, 0]
        instructions = np.full(count, -1, np.int32)
        addresses, sizes = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        instructions[index] = records[:, 1]
        addresses[index], sizes[index] = records[:, 2].view(np.uint64), records[:, 3].view(np.uint64)
        return instructions, addresses, sizes


def _drive(run: _Run, kernel: Any, resume: Any) -> None:
    """Call a kernel until all packets are done; `resume` does what it paused for."""
    from prestocloud_sec.bpf.vm.batch_kernel import CROWDED, FULL, OUTSIDE

    at = 0
    while True:
        reached, status = map(int, kernel(run.words.ctypes.data, at))
        if status == 0:
            return
        if status == OUTSIDE:
            raise outside(run.first + reached)
        if status == CROWDED:
            run.take_faults()
            at = reached
            continue
        if status == FULL:
            run.grow()
        else:
            resume(status)
        run.machine.raise_interrupt()
        at = -reached - 1


def _compiled(run: _Run, workers: int | None) -> None:
    from prestocloud_sec.bpf.vm.batch_kernel import run_compiled
    from prestocloud_sec.bpf.vm.compiler.engine import compiled_of

    compiled = compiled_of(run.machine)
    run.words[Batch.FUNCTION_AT] = compiled.prepare()
    if run.words[Batch.PLAIN]:
        run.words[Batch.LOOP_AT] = compiled.packets(len(run.arena))
        shared = workers_for(run.machine, len(run.arena), workers)
        if shared > 1 and run.words[Batch.LOOP_AT]:
            _share(run, shared)
            return
    try:
        _drive(run, run_compiled, lambda _: compiled.miss())
    finally:
        compiled.restore_frames()


def _share(run: _Run, workers: int) -> None:
    """Run a batch in several threads, each with a machine of its own and the code of the batch's."""
    from prestocloud_sec.bpf.vm.compiler.engine import compiled_of

    arena, compiled = run.arena, compiled_of(run.machine)
    machines = [run.machine, *siblings(run.machine, workers - 1, compiled.siblings)]
    parts = []
    for machine, (first, end) in zip(machines, cuts(len(arena), workers), strict=True):
        compiled_of(machine).share(compiled)
        packets = trusted_arena(arena.buffer, arena.offsets[first:end], arena.lengths[first:end])
        parts.append(_Run(machine, packets, first, run))
    each(lambda part: _compiled(part, 1), parts)
    for part in parts:
        part.machine.packet.lay(b"")
        run.take_part(part)


def _interpreted(run: _Run) -> None:
    from prestocloud_sec.bpf.vm.batch_interpreter_kernel import run_interpreted
    from prestocloud_sec.bpf.vm.interpreter import interpreter_of

    interpreter = interpreter_of(run.machine)
    interpreter.refresh(run.machine)
    run.words[Batch.DESK_AT] = interpreter.desk_at
    _drive(run, run_interpreted, lambda status: interpreter.resume(run.machine, status))


def run_batch(machine: Machine, arena: PacketArena, engine: str, workers: int | None = None) -> BatchResult:
    """Run a machine's program over every packet of an arena.

    Parameters
    ----------
    machine : Machine
        Its maps keep what each run does to them.
    arena : PacketArena
        Not changed.
    engine : {"compiled", "interpreter"}
    workers : int, optional
        Threads at most; see `prestocloud_sec.bpf.vm.batch_shared`.

    Returns
    -------
    BatchResult
        What `Machine.start`, the engine and `Machine.finish` give for one packet after the other.
    """
    if _in_python(machine):
        from prestocloud_sec.bpf.vm.runs import one_by_one

        return one_by_one(machine, arena, engine)
    try:
        run = _Run(machine, arena)
        if engine == "compiled":
            _compiled(run, workers)
        else:
            _interpreted(run)
    finally:
        machine.packet.lay(b"")  # no region shows the arena any more
    return run.result(engine)
