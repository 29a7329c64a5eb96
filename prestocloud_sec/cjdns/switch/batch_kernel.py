# SPDX-License-Identifier: Apache-2.0
"""The switch's inner loop over many packets, compiled: the twin of `Switch.step` and `Switch.forward`.

Labels are as good as random, and a branch on a random bit is mispredicted every other time, which costs more than all
the work on a packet. So a packet's fate is looked up, by the class of the interface it came from and the lowest 10 bits
of its label, and the answer is applied without asking what it was: a step that refuses a packet shifts it by 0 bits and
puts 0 in at the top, which leaves its header as it is. What remains to be asked is nearly always answered in the same
way: whether the packet suppresses errors, has used up its label, or is at its last hop with a way back that is wider
than its director. One test for all of these leads to `_one`, which goes through the rules one by one.

The loop works on addresses: an array that is handed on inside compiled code has its references counted, which costs
more than a packet. `forward` takes the arrays, so they live as long as it runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FITS", "NO_INTERFACE", "OUTSIDE", "forward"]

FITS, NO_INTERFACE, OUTSIDE = 0, 1, 2
"""What `forward` returns. After the last two, nothing has been changed."""

_U = np.uint64
_W = np.uint32
_LEAST, _REPORTED = 12, 16


def _reader(bits: int, order: str = sys.byteorder) -> Any:
    """Make a function that reads an unaligned number of `bits` bits from an address, as a uint64."""
    kind = ir.IntType(bits)

    @intrinsic
    def read(_typing: Any, _address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            value = value if order == sys.byteorder else builder.bswap(value)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.uint64(types.uint64), generate

    return read


def _writer(bits: int, order: str = sys.byteorder) -> Any:
    """Make a function that writes the lowest `bits` bits of a uint64 to an address."""
    kind = ir.IntType(bits)

    @intrinsic
    def write(_typing: Any, _address: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], kind)
            value = value if order == sys.byteorder else builder.bswap(value)
            builder.store(value, builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.none(types.uint64, types.uint64), generate

    return write


_read_label, _write_label = _reader(64, "big"), _writer(64, "big")
# The last 4 bytes of a header, lowest byte first: suppress errors in bit 0, label shift in 8..13, class in 16..31.
_read_tail, _write_tail = _reader(32, "little"), _writer(32, "little")
_read_64, _read_32, _read_16 = _reader(64), _reader(32), _reader(16)
_write_64, _write_32, _write_8 = _writer(64), _writer(32), _writer(8)

# The layout of a plan (see `prestocloud_sec.cjdns.switch.batch`), in bytes, and of its words, in bits.
_ROWS, _ROW_BITS, _CLASS = 1 << 16, 5, 30
_LOW, _STATE, _WIDTH, _LAST_HOP = 0x3FF, 0xF, 0xF00, 0x4000
_SUPPRESS, _SHIFT, _OVERFLOW = 1, 0x3F00, 0x4000
_TRAFFIC_CLASS = 0xFFFF0000
_RETURN_PATH = 10
_RUNT, _SHIFTED_OUT, _SUPPRESSED, _TOO_SHORT = -1, -2, -3, -4
_COUNTED_DROPS = 10  # a drop's reason, negative, is counted this far above 0


@kernel()
def _fault(
    size: int,
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    interfaces: NDArray[np.int32],
    attached: NDArray[np.uint8],
) -> tuple[int, int]:
    """Look over a batch before anything is written: what is wrong with it, and the shortest length (at most 16)."""
    first, last, shortest, highest = 0, 0, _REPORTED, _W(0)
    for i in range(len(offsets)):
        first = min(first, offsets[i])
        last = max(last, offsets[i])
        shortest = min(shortest, lengths[i])
    for i in range(len(interfaces)):
        highest = max(highest, _W(interfaces[i]))
    if highest >= len(attached):
        return NO_INTERFACE, shortest
    gaps = 0
    for number in range(highest + 1):
        gaps += 1 - attached[number]
    if gaps:
        for i in range(len(interfaces)):
            if not attached[interfaces[i]]:
                return NO_INTERFACE, shortest
    if first < 0 or last > size - _LEAST:
        for i in range(len(offsets)):
            if lengths[i] >= _LEAST and (offsets[i] < 0 or offsets[i] > size - _LEAST):
                return OUTSIDE, shortest
    return FITS, shortest


@kernel()
def _one(header: np.uint64, length: np.int64, row: np.uint64, plan: np.uint64) -> tuple[np.int64 | int, np.int64 | int]:
    """Forward one packet by the rules, one after the other: (interface to leave by or -1, status)."""
    if length < _LEAST:
        return -1, _RUNT
    label, tail = _read_label(header), _read_tail(header + _U(8))
    step = _read_32(plan + _read_16(row + _U(_CLASS)) + ((label & _U(_LOW)) << _U(2)))
    width, state = (step & _U(_WIDTH)) >> _U(8), np.int64(step & _U(_STATE))
    if step & _U(_LAST_HOP) and (label ^ _U(1)) & ((_U(1) << (width + _U(4))) - _U(1)):
        state = np.int64(_RETURN_PATH)
    if state:
        if length < _REPORTED:
            return -1, _TOO_SHORT
        return -1, np.int64(_SUPPRESSED) if tail & _U(_SUPPRESS) else state
    if (tail & _U(_SHIFT)) + (step & _U(_WIDTH)) > _U(_SHIFT):
        return -1, _SHIFTED_OUT
    _write_label(header, (label >> width) | (_read_16(row + (width << _U(1))) << _U(48)))
    _write_tail(header + _U(8), (tail | _U(_TRAFFIC_CLASS)) + (step & _U(_WIDTH)))
    return np.int64(step >> _U(16)), 0


@kernel()
def _run(
    first: np.uint64,
    count: np.uint64,
    base: np.uint64,
    offsets: np.uint64,
    interfaces: np.uint64,
    plan: np.uint64,
    out: np.uint64,
    status: np.uint64,
    counts: np.uint64,
) -> np.uint64:
    """Forward packets from `first` on until one that only `_one` can judge; return its index, or `count`."""
    i = first
    while i < count:
        header = base + _read_64(offsets + (i << _U(3)))
        row = plan + (_read_32(interfaces + (i << _U(2))) << _U(_ROW_BITS))
        label, tail = _read_label(header), _W(_read_tail(header + _U(8)))
        step = _W(_read_32(plan + _read_16(row + _U(_ROWS + _CLASS)) + ((label & _U(_LOW)) << _U(2))))
        shifted = step & _W(_WIDTH | _LAST_HOP)
        # The sum carries into bit 14 where the label shift overflows, and on into bit 15 if that was set already.
        if ((tail & _W(_SHIFT | _SUPPRESS)) + shifted) & _W(_SUPPRESS | _OVERFLOW | _OVERFLOW << 1):
            break
        width = _U(shifted >> _W(8))
        leaves_by = _W(np.int32(step) >> np.int32(16))
        _write_label(header, (label >> width) | (_read_16(row + (width << _U(1)) + _U(_ROWS)) << _U(48)))
        # An interface number has zeros in its upper half, the -1 of a refusal has not.
        _write_tail(header + _U(8), _U((tail | (~leaves_by & _W(_TRAFFIC_CLASS))) + shifted))
        _write_32(out + (i << _U(2)), _U(leaves_by))
        _write_8(status + i, _U(step))
        counter = counts + (_U(step & _W(_STATE)) << _U(3))
        _write_64(counter, _read_64(counter) + _U(1))
        i += _U(1)
    return i


@kernel()
def _walk(
    count: np.uint64,
    base: np.uint64,
    offsets: np.uint64,
    lengths: np.uint64,
    interfaces: np.uint64,
    plan: np.uint64,
    out: np.uint64,
    status: np.uint64,
    counts: np.uint64,
    ordinary: bool,
) -> None:
    """Forward `count` packets, none of them shorter than 16 bytes if `ordinary`."""
    i = _U(0)
    while i < count:
        if ordinary:
            i = _run(i, count, base, offsets, interfaces, plan, out, status, counts)
        if i < count:
            header = base + _read_64(offsets + (i << _U(3)))
            length = np.int64(_read_64(lengths + (i << _U(3))))
            row = plan + (_read_32(interfaces + (i << _U(2))) << _U(_ROW_BITS)) + _U(_ROWS)
            leaves_by, state = _one(header, length, row, plan)
            _write_32(out + (i << _U(2)), _U(leaves_by))
            _write_8(status + i, _U(state))
            counter = counts + (_U(state if state >= 0 else _COUNTED_DROPS - state) << _U(3))
            _write_64(counter, _read_64(counter) + _U(1))
            i += _U(1)


@kernel()
def forward(
    buffer: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    interfaces: NDArray[np.int32],
    attached: NDArray[np.uint8],
    plan: NDArray[np.uint8],
    out: NDArray[np.int32],
    status: NDArray[np.int8],
    counts: NDArray[np.int64],
) -> int:
    """Forward every packet of a batch, in place.

    Parameters
    ----------
    buffer : uint8[n]
        The bytes of the packets; the headers of those that go on are rewritten.
    offsets, lengths : int64[k]
        Where each packet begins and how long it is, in bytes.
    interfaces : int32[k]
        Where each packet came from.
    attached : uint8[slots]
        1 for each interface number that is attached.
    plan : uint8[...]
        The tables, as `prestocloud_sec.cjdns.switch.batch` lays them out.
    out : int32[k]
        Gets the interface that each packet leaves by, -1 where it does not.
    status : int8[k]
        Gets 0, the number of the error, or the (negative) reason that the packet is dropped for.
    counts : int64[16]
        At the index of each status, or 10 above a negative one's amount, is increased by how many packets had it.

    Returns
    -------
    int
        FITS, NO_INTERFACE or OUTSIDE.
    """
    fault, shortest = _fault(len(buffer), offsets, lengths, interfaces, attached)
    if fault == FITS:
        _walk(
            _U(len(offsets)),
            _U(buffer.ctypes.data),
            _U(offsets.ctypes.data),
            _U(lengths.ctypes.data),
            _U(interfaces.ctypes.data),
            _U(plan.ctypes.data),
            _U(out.ctypes.data),
            _U(status.ctypes.data),
            _U(counts.ctypes.data),
            shortest >= _REPORTED,
        )
    return fault
