# SPDX-License-Identifier: Apache-2.0
"""The loop over a packet arena that interprets; `prestocloud_sec.bpf.vm.batch_kernel` has the one for machine code."""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load64, store64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.batch_kernel import CROWDED, FULL, OUTSIDE, collect, crowded, lay, note, outside, word
from prestocloud_sec.bpf.vm.batch_layout import Batch
from prestocloud_sec.bpf.vm.interpreter_kernel import begin, interpret
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["run_interpreted"]

_U = types.uint64
_CONTEXT_ADDRESS = layout.CONTEXT << layout.REGION_SHIFT


@kernel()
def run_interpreted(batch: Any, first: Any) -> Any:
    """Interpret a program over packets from index `first` on; return how far it got, and a status.

    Parameters and results are those of `run_compiled`; the status can also be what the interpreter paused for
    (`prestocloud_sec.bpf.vm.interpreter_layout.Status`) in the packet with the returned index.
    """
    state, desk, copies = word(batch, Batch.STATE_AT), word(batch, Batch.DESK_AT), word(batch, Batch.COPIES)
    base, count = word(batch, Batch.SOURCE_AT), word(batch, Batch.COUNT)
    offsets, lengths = word(batch, Batch.OFFSETS_AT), word(batch, Batch.LENGTHS_AT)
    registers = state + 8 * State.R0
    index = types.int64(first)
    ran = first < 0
    if ran:
        index = -first - 1
    while index < count:
        offset, length = types.int64(load64(offsets + 8 * index)), types.int64(load64(lengths + 8 * index))
        if outside(batch, offset, length):
            return index, types.int64(OUTSIDE)
        source = base + offset
        if not ran:
            if crowded(batch):
                return index, types.int64(CROWDED)
            begin(state)
            lay(batch, source, length)
            if not word(batch, Batch.RAW):
                store64(registers + 8, _U(_CONTEXT_ADDRESS))
            elif length > 0:
                store64(registers + 8, _U(layout.PACKET_DATA))
                store64(registers + 16, _U(length))
            status = interpret(state, desk)
            if status != 0:
                return index, types.int64(status)
        ran = False
        note(batch, index, load64(state + 8 * State.RESULT))
        if copies and not collect(batch, index, source, length):
            return index, types.int64(FULL)
        index += 1
    return index, types.int64(0)
