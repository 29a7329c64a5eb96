# SPDX-License-Identifier: Apache-2.0
"""Loops over a packet arena: lay a packet out, run the program, write down how it ended; Python is not involved.

`run_compiled` calls machine code by address; `prestocloud_sec.bpf.vm.batch_interpreter_kernel` does the same with the
interpreter. Both do for a packet exactly what `Machine.start` and `Machine.finish` do, and stop where only Python can
go on: when the output buffer or the room for faults is full.

Most programs only read. For those the state is the same before every packet but for a few words, so `_run_on` writes
those and nothing else, for as long as no run ends in a fault.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, load8, load16, load64, move, store8, store32, store64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.batch_layout import RECORD_WORDS, Batch
from prestocloud_sec.bpf.vm.compiler.runtime import INTERRUPTED
from prestocloud_sec.bpf.vm.context import SK_BUFF, XDP_MD, ContextKind, network_order
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import State

__all__ = [
    "CROWDED",
    "FULL",
    "OUTSIDE",
    "STOPPED",
    "collect",
    "crowded",
    "lay",
    "note",
    "outside",
    "run_compiled",
    "word",
]

FULL, OUTSIDE, CROWDED, STOPPED = -1, -2, -3, -4
"""Status: the output buffer has no room for a result; a packet does not lie in the arena's buffer (any more); there is
no room for another fault; Python was interrupted within the run over a packet."""

_U = types.uint64
_AHEAD = 64
"""So many packets ahead of the one that runs, headers are asked for: memory takes longer than most programs."""
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


def _call_loop(_typing: Any, _function: Any, _batch: Any, _first: Any) -> Any:
    """Call a compiled program's own loop: ``packets(batch, first)``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        function, batch, first = arguments
        number, pointer = ir.IntType(64), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(number, [pointer, number])
        callee = builder.inttoptr(function, kind.as_pointer())
        return builder.call(callee, [builder.inttoptr(batch, pointer), first])

    return types.int64(types.int64, types.int64, types.int64), generate


_packets: Any = intrinsic(_call_loop)


def _prefetch_line(_typing: Any, _address: Any) -> Any:
    """Ask for the cache line of an address, which may lie anywhere, ahead of its use."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        ask = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
        # to read, to be kept in every cache, data
        builder.call(ask, [builder.inttoptr(arguments[0], pointer), *(ir.Constant(number, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64), generate


_prefetch: Any = intrinsic(_prefetch_line)


@kernel(inline="always")
def word(batch: Any, word: Any) -> Any:
    """Return a word of the batch."""
    return types.int64(load64(batch + 8 * types.int64(word)))


@kernel()
def _protocol(batch: Any, packet: Any, length: Any) -> Any:
    """Return what the context's protocol shows, as it lies in memory."""
    if word(batch, Batch.LINK_LAYER):
        return load16(packet + 12) if length >= _ETHERNET else _U(0)
    if length == 0:
        return _U(0)
    version = load8(packet) >> _U(4)
    return _U(_IPV4) if version == _U(4) else _U(_IPV6) if version == _U(6) else _U(0)


@kernel()
def _lay_context(batch: Any, packet: Any, length: Any) -> Any:
    """Write the context of a packet; its other fields are 0."""
    at, end = word(batch, Batch.CONTEXT_AT), _U(layout.PACKET_DATA + length)
    kind = word(batch, Batch.KIND)
    if word(batch, Batch.COPIES):
        clear(at, word(batch, Batch.CONTEXT_SIZE))
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
def lay(batch: Any, source: Any, length: Any) -> Any:
    """Show a packet to the program: buffer, bounds, region, context."""
    state = word(batch, Batch.STATE_AT)
    if word(batch, Batch.COPIES):
        buffer = types.int64(load64(state + 8 * State.PACKET_AT))
        move(buffer + layout.HEADROOM, source, length)
    else:
        buffer = source - layout.HEADROOM
        store64(state + 8 * State.PACKET_AT, _U(buffer))
    store64(state + 8 * State.PACKET_ROOM, _U(layout.HEADROOM + max(length, word(batch, Batch.ROOM))))
    store64(state + 8 * State.DATA, _U(layout.PACKET_DATA))
    store64(state + 8 * State.DATA_META, _U(layout.PACKET_DATA))
    store64(state + 8 * State.DATA_END, _U(layout.PACKET_DATA + length))
    store64(state + 8 * State.NETWORK_OFFSET, _U(min(_ETHERNET, length) if word(batch, Batch.LINK_LAYER) else 0))
    row = word(batch, Batch.TABLE_AT) + layout.PACKET * _ROW
    store64(row + 8 * layout.BASE, _U(layout.PACKET_DATA))
    store64(row + 8 * layout.SIZE, _U(length))
    store64(row + 8 * layout.ELEMENT, _U(length))
    store64(row + 8 * layout.HOST, _U(buffer + layout.HEADROOM))
    if word(batch, Batch.KIND):
        _lay_context(batch, source, length)
    store64(state + 8 * State.FUEL, _U(word(batch, Batch.FUEL)))
    seed = load64(batch + 8 * Batch.SEED)
    if seed != _U(0):
        store64(state + 8 * State.RANDOM, seed)


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
def collect(batch: Any, index: Any, source: Any, length: Any) -> Any:
    """Copy a packet out of the machine's buffer; False if there is no room."""
    state = word(batch, Batch.STATE_AT)
    start = types.int64(load64(state + 8 * State.DATA))
    size = types.int64(load64(state + 8 * State.DATA_END)) - start
    at = word(batch, Batch.WRITTEN)
    if size > word(batch, Batch.OUT_SIZE) - at:
        return False
    host = types.int64(load64(state + 8 * State.PACKET_AT)) + start - layout.PACKET_BUFFER
    move(word(batch, Batch.OUT_AT) + at, host, size)
    store64(word(batch, Batch.OUT_OFFSETS_AT) + 8 * index, _U(at))
    store64(word(batch, Batch.OUT_LENGTHS_AT) + 8 * index, _U(size))
    other = size != length or not _same(host, source, size)
    store8(word(batch, Batch.CHANGED_AT) + index, _U(1) if other else _U(0))
    store64(batch + 8 * Batch.WRITTEN, _U(at + size))
    return True


@kernel()
def crowded(batch: Any) -> Any:
    """Whether there is no room to write down another fault."""
    return word(batch, Batch.RECORDS) >= word(batch, Batch.RECORDS_ROOM)


@kernel()
def note(batch: Any, index: Any, value: Any) -> Any:
    """Write down how a run ended; return whether it was without a fault. There is room for one (`crowded`)."""
    state = word(batch, Batch.STATE_AT)
    fault = load64(state)
    good = fault == _U(0)
    store64(word(batch, Batch.VALUES_AT) + 8 * index, value if good else _U(0))
    if good:
        return True
    store8(word(batch, Batch.FAULTS_AT) + index, fault)
    count = word(batch, Batch.RECORDS)
    record = word(batch, Batch.RECORDS_AT) + 8 * RECORD_WORDS * count
    touched = fault == _U(FaultKind.READ) or fault == _U(FaultKind.WRITE)
    store64(record, _U(index))
    store64(record + 8, load64(state + 8 * State.FAULT_INSTRUCTION))
    store64(record + 16, load64(state + 8 * State.FAULT_ADDRESS) if touched else _U(0))
    store64(record + 24, load64(state + 8 * State.FAULT_SIZE) if touched else _U(0))
    store64(batch + 8 * Batch.RECORDS, _U(count + 1))
    return False


@kernel()
def _reset(batch: Any, state: Any) -> Any:
    """Make the state's counters those of a run that has not begun."""
    clear(state, _FAULT_BYTES)
    clear(state + _COUNTS_AT, _COUNT_BYTES)
    store64(state + 8 * State.REDIRECT, _U(0))
    store64(state + 8 * State.CHANGED, _U(0))
    rows = word(batch, Batch.TABLE_AT) + layout.STACK * _ROW
    store64(rows + 8 * layout.SIZE, _U(layout.FRAME_SIZE))
    for frame in range(1, layout.MAX_FRAMES):
        store64(rows + frame * _ROW + 8 * layout.SIZE, _U(0))
    if word(batch, Batch.COPIES):  # the program writes, perhaps to a frame that is the machine's own
        clear(types.int64(load64(rows + 8 * layout.HOST)), layout.FRAME_SIZE)


@kernel()
def outside(batch: Any, offset: Any, length: Any) -> Any:
    """Whether a packet does not lie in the arena's buffer."""
    return offset < 0 or length < 0 or offset > word(batch, Batch.SOURCE_SIZE) - length


@kernel()
def _run_on(batch: Any, first: Any) -> Any:
    """Run from packet `first` on, after `lay` was done for another, writing only what differs from packet to packet.

    Returns
    -------
    int64, bool
        The index of the packet that it stopped at, or behind the last; and whether that packet ran and ended in a fault
        (otherwise it lies outside, or is for `run_compiled` to lay out).
    """
    state, function = word(batch, Batch.STATE_AT), word(batch, Batch.FUNCTION_AT)
    row = word(batch, Batch.TABLE_AT) + layout.PACKET * _ROW
    base, size, count = word(batch, Batch.SOURCE_AT), word(batch, Batch.SOURCE_SIZE), word(batch, Batch.COUNT)
    offsets, lengths = word(batch, Batch.OFFSETS_AT), word(batch, Batch.LENGTHS_AT)
    values, context, kind = word(batch, Batch.VALUES_AT), word(batch, Batch.CONTEXT_AT), word(batch, Batch.KIND)
    raw, link, redirects = word(batch, Batch.RAW), word(batch, Batch.LINK_LAYER), word(batch, Batch.REDIRECTS)
    fuel, seed = load64(batch + 8 * Batch.FUEL), load64(batch + 8 * Batch.SEED)
    r1, r2 = _U(_CONTEXT_ADDRESS), _U(0)
    index = types.int64(first)
    while index < count:
        length = types.int64(load64(lengths + 8 * index))
        offset = types.int64(load64(offsets + 8 * index))
        if _U(length) > _U(size) or _U(offset) > _U(size - length):
            break
        source = base + offset
        ahead = base + types.int64(load64(offsets + 8 * min(index + _AHEAD, count - 1)))
        _prefetch(ahead)
        _prefetch(ahead + 63)
        end = _U(layout.PACKET_DATA) + _U(length)
        store64(state + 8 * State.PACKET_AT, _U(source - layout.HEADROOM))
        store64(state + 8 * State.DATA_END, end)
        store64(state + 8 * State.FUEL, fuel)
        store64(row + 8 * layout.SIZE, _U(length))
        store64(row + 8 * layout.ELEMENT, _U(length))
        store64(row + 8 * layout.HOST, _U(source))
        if raw:
            r1, r2 = (_U(layout.PACKET_DATA), _U(length)) if length > 0 else (_U(0), _U(0))
        elif kind == _XDP:
            store32(context + _XDP_END, end)
        elif kind == _SKB:
            store32(context + _SKB_LEN, _U(length))
            store32(context + _SKB_PROTOCOL, _protocol(batch, source, length))
            store32(context + _SKB_END, end)
        if link:
            store64(state + 8 * State.NETWORK_OFFSET, _U(min(_ETHERNET, length)))
        if seed != _U(0):
            store64(state + 8 * State.RANDOM, seed)
        if redirects:
            store64(state + 8 * State.REDIRECT, _U(0))
        value = _main(function, state, r1, r2)
        if load64(state) != _U(0):
            return index, True
        store64(values + 8 * index, value)
        index += 1
    return index, False


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
        The index of the packet that it stopped at (that of the end with status 0), and 0, `FULL`, `OUTSIDE`, `CROWDED`
        or `STOPPED`.
    """
    state, function, copies = word(batch, Batch.STATE_AT), word(batch, Batch.FUNCTION_AT), word(batch, Batch.COPIES)
    base, count, raw = word(batch, Batch.SOURCE_AT), word(batch, Batch.COUNT), word(batch, Batch.RAW)
    offsets, lengths = word(batch, Batch.OFFSETS_AT), word(batch, Batch.LENGTHS_AT)
    plain, loop = word(batch, Batch.PLAIN) != 0, word(batch, Batch.LOOP_AT)
    frame = word(batch, Batch.TABLE_AT) + layout.STACK * _ROW + 8 * layout.HOST
    own_frame = load64(frame)
    index = types.int64(first)
    ran = first < 0
    if ran:
        index = -first - 1
    while index < count:
        offset, length = types.int64(load64(offsets + 8 * index)), types.int64(load64(lengths + 8 * index))
        if outside(batch, offset, length):
            return index, types.int64(OUTSIDE)
        source = base + offset
        good = False
        if not ran:
            if crowded(batch):
                return index, types.int64(CROWDED)
            store64(frame, own_frame)
            _reset(batch, state)
            lay(batch, source, length)
            r1, r2 = _U(_CONTEXT_ADDRESS), _U(0)
            if raw:
                r1, r2 = (_U(layout.PACKET_DATA), _U(length)) if length > 0 else (_U(0), _U(0))
            good = note(batch, index, _main(function, state, r1, r2))
            if not good and load64(state) == _U(INTERRUPTED):
                return index, types.int64(STOPPED)
        ran = False
        if copies and not collect(batch, index, source, length):
            return index, types.int64(FULL)
        index += 1
        if good and plain:
            if loop != 0:
                index = _packets(loop, batch, index)
                faulted = load64(state) != _U(0)
            else:
                index, faulted = _run_on(batch, index)
            if faulted:  # no fault was written down since there was room for one
                note(batch, index, _U(0))
                if load64(state) == _U(INTERRUPTED):
                    return index, types.int64(STOPPED)
                index += 1
    return index, types.int64(0)
