# SPDX-License-Identifier: Apache-2.0
"""Loops over a packet arena: lay a packet out, run the program, write down how it ended; Python is not involved.

`run_compiled` calls machine code by address, `run_interpreted` the interpreter's kernel. Both do for a packet exactly
what `Machine.start` and `Machine.finish` do, and stop where only Python can go on: at a packet that the interpreter has
paused in, or when the output buffer is full.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, load8, load16, load64, move, store8, store32, store64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.batch_layout import Batch
from prestocloud_sec.bpf.vm.compiler.runtime import ENDED
from prestocloud_sec.bpf.vm.context import SK_BUFF, XDP_MD, ContextKind, network_order
from prestocloud_sec.bpf.vm.interpreter_kernel import begin, interpret
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["FULL", "OUTSIDE", "run_compiled", "run_interpreted"]

FULL, OUTSIDE = -1, -2
"""Status: the output buffer has no room for a result; a packet does not lie in the arena's buffer (any more)."""

_U = types.uint64
_ETHERNET = 14
_ROW = 8 * layout.REGION_WORDS
_CONTEXT_ADDRESS = layout.CONTEXT << layout.REGION_SHIFT
_IPV4, _IPV6 = network_order(0x0800), network_order(0x86DD)
_XDP, _SKB = int(ContextKind.XDP), int(ContextKind.SKB)
_XDP_DATA, _XDP_END, _XDP_META = (XDP_MD.fields[name].offset for name in ("data", "data_end", "data_meta"))
_SKB_DATA, _SKB_END, _SKB_META = (SK_BUFF.fields[name].offset for name in ("data", "data_end", "data_meta"))
_FAULT_BYTES = 8 * (State.FAULT_SIZE + 1)
_COUNTS_AT, _COUNT_BYTES = 8 * State.PROGRAM, 8 * (State.MAY_GOTO + 1 - State.PROGRAM)
"""The words of the state from the fault, and from the number of the program on, that begin as 0."""
_SKB_LEN, _SKB_PROTOCOL = SK_BUFF.fields["len"].offset, SK_BUFF.fields["protocol"].offset


def _call_main(_typing: Any, _function: Any, _state: Any, _r1: Any, _r2: Any) -> Any:
    """Call a compiled program: ``main(state, 0, r1, r2)``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        function, state, r1, r2 = arguments
        word, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(word, [pointer, word, word, word])
        callee = builder.inttoptr(function, kind.as_pointer())
        return builder.call(callee, [builder.inttoptr(state, pointer), ir.Constant(word, 0), r1, r2])

    return types.uint64(types.int64, types.int64, types.uint64, types.uint64), generate


_main: Any = intrinsic(_call_main)


@kernel(inline="always")
def _word(batch: Any, word: Any) -> Any:
    """Return a word of the batch."""
    return types.int64(load64(batch + 8 * types.int64(word)))


@kernel()
def _protocol(batch: Any, packet: Any, length: Any) -> Any:
    """Return what the context's protocol shows, as it lies in memory."""
    if _word(batch, Batch.LINK_LAYER):
        return load16(packet + 12) if length >= _ETHERNET else _U(0)
    if length == 0:
        return _U(0)
    version = load8(packet) >> _U(4)
    return _U(_IPV4) if version == _U(4) else _U(_IPV6) if version == _U(6) else _U(0)


@kernel()
def _lay_context(batch: Any, packet: Any, length: Any) -> Any:
    """Write the context of a packet; its other fields are 0."""
    at, end = _word(batch, Batch.CONTEXT_AT), _U(layout.PACKET_DATA + length)
    kind = _word(batch, Batch.KIND)
    if _word(batch, Batch.COPIES):
        clear(at, _word(batch, Batch.CONTEXT_SIZE))
    if kind == _XDP:
        store32(at + _XDP_DATA, _U(layout.PACKET_DATA))
        store32(at + _XDP_END, end)
        store32(at + _XDP_META, _U(layout.PACKET_DATA))
    elif kind == _SKB:
        store32(at + _SKB_LEN, _U(length))
        store32(at + _SKB_PROTOCOL, _protocol(batch, packet, length))
        store32(at + _SKB_DATA, _U(layout.PACKET_DATA))
        store32(at + _SKB_END, end)
        store32(at + _SKB_META, _U(layout.PACKET_DATA))


@kernel()
def _lay(batch: Any, source: Any, length: Any) -> Any:
    """Show a packet to the program: buffer, bounds, region, context."""
    state = _word(batch, Batch.STATE_AT)
    if _word(batch, Batch.COPIES):
        buffer = types.int64(load64(state + 8 * State.PACKET_AT))
        move(buffer + layout.HEADROOM, source, length)
    else:
        buffer = source - layout.HEADROOM
        store64(state + 8 * State.PACKET_AT, _U(buffer))
    store64(state + 8 * State.PACKET_ROOM, _U(layout.HEADROOM + max(length, _word(batch, Batch.ROOM))))
    store64(state + 8 * State.DATA, _U(layout.PACKET_DATA))
    store64(state + 8 * State.DATA_META, _U(layout.PACKET_DATA))
    store64(state + 8 * State.DATA_END, _U(layout.PACKET_DATA + length))
    store64(state + 8 * State.NETWORK_OFFSET, _U(min(_ETHERNET, length) if _word(batch, Batch.LINK_LAYER) else 0))
    row = _word(batch, Batch.TABLE_AT) + layout.PACKET * _ROW
    store64(row + 8 * layout.BASE, _U(layout.PACKET_DATA))
    store64(row + 8 * layout.SIZE, _U(length))
    store64(row + 8 * layout.ELEMENT, _U(length))
    store64(row + 8 * layout.HOST, _U(buffer + layout.HEADROOM))
    if _word(batch, Batch.KIND):
        _lay_context(batch, source, length)
    store64(state + 8 * State.FUEL, _U(_word(batch, Batch.FUEL)))
    seed = load64(batch + 8 * Batch.SEED)
    if seed != _U(0):
        store64(state + 8 * State.RANDOM, seed)


@kernel()
def _lay_plainly(batch: Any, source: Any, length: Any) -> Any:
    """Do the same for a program that leaves everything else as `_lay` left it for the packet before."""
    state = _word(batch, Batch.STATE_AT)
    store64(state + 8 * State.PACKET_AT, _U(source - layout.HEADROOM))
    store64(state + 8 * State.DATA_END, _U(layout.PACKET_DATA + length))
    store64(state + 8 * State.FUEL, load64(batch + 8 * Batch.FUEL))
    row = _word(batch, Batch.TABLE_AT) + layout.PACKET * _ROW
    store64(row + 8 * layout.SIZE, _U(length))
    store64(row + 8 * layout.ELEMENT, _U(length))
    store64(row + 8 * layout.HOST, _U(source))
    if _word(batch, Batch.LINK_LAYER) and length < _ETHERNET:
        store64(state + 8 * State.NETWORK_OFFSET, _U(length))
    if _word(batch, Batch.KIND):
        _lay_context(batch, source, length)


@kernel()
def _same(first: Any, second: Any, size: Any) -> Any:
    """Whether two pieces of memory are equal."""
    at = types.int64(0)
    while at + 8 <= size:
        if load64(first + at) != load64(second + at):
            return False
        at += 8
    while at < size:
        if load8(first + at) != load8(second + at):
            return False
        at += 1
    return True


@kernel()
def _collect(batch: Any, index: Any, source: Any, length: Any) -> Any:
    """Copy a packet out of the machine's buffer; False if there is no room."""
    state = _word(batch, Batch.STATE_AT)
    start = types.int64(load64(state + 8 * State.DATA))
    size = types.int64(load64(state + 8 * State.DATA_END)) - start
    at = _word(batch, Batch.WRITTEN)
    if size > _word(batch, Batch.OUT_SIZE) - at:
        return False
    host = types.int64(load64(state + 8 * State.PACKET_AT)) + start - layout.PACKET_BUFFER
    move(_word(batch, Batch.OUT_AT) + at, host, size)
    store64(_word(batch, Batch.OUT_OFFSETS_AT) + 8 * index, _U(at))
    store64(_word(batch, Batch.OUT_LENGTHS_AT) + 8 * index, _U(size))
    other = size != length or not _same(host, source, size)
    store8(_word(batch, Batch.CHANGED_AT) + index, _U(1) if other else _U(0))
    store64(batch + 8 * Batch.WRITTEN, _U(at + size))
    return True


@kernel()
def _note(batch: Any, index: Any, value: Any) -> Any:
    """Write down how a run ended; return whether it was without a fault."""
    state = _word(batch, Batch.STATE_AT)
    fault = load64(state)
    if fault == _U(0):
        store64(_word(batch, Batch.VALUES_AT) + 8 * index, value)
        return True
    if fault == _U(ENDED):
        store64(_word(batch, Batch.VALUES_AT) + 8 * index, _U(0))
        return False
    store8(_word(batch, Batch.FAULTS_AT) + index, fault)
    store32(_word(batch, Batch.PLACES_AT) + 4 * index, load64(state + 8 * State.FAULT_INSTRUCTION))
    if fault == _U(1) or fault == _U(2):  # reads and writes
        touched = _word(batch, Batch.TOUCHED_AT) + 16 * index
        store64(touched, load64(state + 8 * State.FAULT_ADDRESS))
        store64(touched + 8, load64(state + 8 * State.FAULT_SIZE))
    return False


@kernel()
def _reset(batch: Any, state: Any) -> Any:
    """Make the state's counters those of a run that has not begun."""
    clear(state, _FAULT_BYTES)
    clear(state + _COUNTS_AT, _COUNT_BYTES)
    store64(state + 8 * State.REDIRECT, _U(0))
    store64(state + 8 * State.CHANGED, _U(0))
    rows = _word(batch, Batch.TABLE_AT) + layout.STACK * _ROW
    store64(rows + 8 * layout.SIZE, _U(layout.FRAME_SIZE))
    if _word(batch, Batch.COPIES):  # the program writes, perhaps to a frame that is the machine's own
        clear(types.int64(load64(rows + 8 * layout.HOST)), layout.FRAME_SIZE)
        for frame in range(1, layout.MAX_FRAMES):
            store64(rows + frame * _ROW + 8 * layout.SIZE, _U(0))


@kernel()
def _outside(batch: Any, offset: Any, length: Any) -> Any:
    """Whether a packet does not lie in the arena's buffer."""
    return offset < 0 or length < 0 or offset > _word(batch, Batch.SOURCE_SIZE) - length


@kernel()
def run_compiled(batch: Any, first: Any) -> Any:
    """Run a compiled program over packets from index `first` on; return how far it got, and a status.

    Parameters
    ----------
    batch : int64
        Address of the words of `Batch`.
    first : int64
        If it is negative, -first - 1 is a packet that ran already and whose result is copied first.

    Returns
    -------
    int64, int64
        The index of the packet that it stopped at (that of the end with status 0), and 0, `FULL` or `OUTSIDE`.
    """
    state, function, copies = _word(batch, Batch.STATE_AT), _word(batch, Batch.FUNCTION_AT), _word(batch, Batch.COPIES)
    base, count, raw = _word(batch, Batch.SOURCE_AT), _word(batch, Batch.COUNT), _word(batch, Batch.RAW)
    offsets, lengths = _word(batch, Batch.OFFSETS_AT), _word(batch, Batch.LENGTHS_AT)
    frame = _word(batch, Batch.TABLE_AT) + layout.STACK * _ROW + 8 * layout.HOST
    own_frame = load64(frame)
    index = types.int64(first)
    ran = first < 0
    if ran:
        index = -first - 1
    plain, clean, last = _word(batch, Batch.PLAIN) != 0, False, types.int64(0)
    while index < count:
        offset, length = types.int64(load64(offsets + 8 * index)), types.int64(load64(lengths + 8 * index))
        if _outside(batch, offset, length):
            return index, types.int64(OUTSIDE)
        source = base + offset
        if not ran:
            if clean and last >= _ETHERNET:
                _lay_plainly(batch, source, length)
            else:
                store64(frame, own_frame)
                _reset(batch, state)
                _lay(batch, source, length)
            last = length
            r1, r2 = _U(_CONTEXT_ADDRESS), _U(0)
            if raw:
                r1, r2 = (_U(layout.PACKET_DATA), _U(length)) if length > 0 else (_U(0), _U(0))
            clean = _note(batch, index, _main(function, state, r1, r2)) and plain
        ran = False
        if copies and not _collect(batch, index, source, length):
            return index, types.int64(FULL)
        index += 1
    return index, types.int64(0)


@kernel()
def run_interpreted(batch: Any, first: Any) -> Any:
    """Interpret a program over packets from index `first` on; return how far it got, and a status.

    Parameters and results are those of `run_compiled`; the status can also be what the interpreter paused for
    (`prestocloud_sec.bpf.vm.interpreter_layout.Status`) in the packet with the returned index.
    """
    state, desk, copies = _word(batch, Batch.STATE_AT), _word(batch, Batch.DESK_AT), _word(batch, Batch.COPIES)
    base, count = _word(batch, Batch.SOURCE_AT), _word(batch, Batch.COUNT)
    offsets, lengths = _word(batch, Batch.OFFSETS_AT), _word(batch, Batch.LENGTHS_AT)
    registers = state + 8 * State.R0
    index = types.int64(first)
    ran = first < 0
    if ran:
        index = -first - 1
    while index < count:
        offset, length = types.int64(load64(offsets + 8 * index)), types.int64(load64(lengths + 8 * index))
        if _outside(batch, offset, length):
            return index, types.int64(OUTSIDE)
        source = base + offset
        if not ran:
            begin(state)
            _lay(batch, source, length)
            if not _word(batch, Batch.RAW):
                store64(registers + 8, _U(_CONTEXT_ADDRESS))
            elif length > 0:
                store64(registers + 8, _U(layout.PACKET_DATA))
                store64(registers + 16, _U(length))
            status = interpret(state, desk)
            if status != 0:
                return index, types.int64(status)
        ran = False
        _note(batch, index, load64(state + 8 * State.RESULT))
        if copies and not _collect(batch, index, source, length):
            return index, types.int64(FULL)
        index += 1
    return index, types.int64(0)
