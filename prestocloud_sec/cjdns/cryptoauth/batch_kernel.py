# SPDX-License-Identifier: Apache-2.0
"""Compiled loops over many data packets of one session: libsodium does each, nothing is copied, Python is called once.

The kernels call libsodium through an address that they are *given* (word `SEAL` or `OPEN` of the context), never one
that was known at compile time, so that the compiled code can be kept on disk and serve every process. A context is an
array of 64-bit words: those two addresses, the address of the secret (owned and wiped by the `DataCipher`), where in
the cipher's nonce each direction writes, and the replay window with its counters. No secret byte passes through numba's
globals, and none is stored in the compiled code.

Every place and length is checked where it is used, in the pass that uses it: the arrays of a `PacketArena` can be
changed by another thread, which may then get wrong packets, but never memory outside the buffers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel

__all__ = [
    "BASE",
    "BITS",
    "CONTEXT_WORDS",
    "DUPLICATES",
    "KEY",
    "LOST",
    "NEED",
    "NO_ROOM",
    "OPEN",
    "OUTSIDE",
    "OUT_OF_RANGE",
    "OVERLAP",
    "RECEIVE_AT",
    "SEAL",
    "SEND_AT",
    "UNREADABLE",
    "accept",
    "open_packets",
    "seal_packets",
]

# Words of a context.
SEAL, OPEN, KEY, SEND_AT, RECEIVE_AT = 0, 1, 2, 3, 4
BASE, BITS, DUPLICATES, LOST, OUT_OF_RANGE = 5, 6, 7, 8, 9
CONTEXT_WORDS = 10

UNREADABLE = (NumbaError, TypeError)
"""What numba raises for arrays it has no compiled form for (read-only output, subclasses)."""

# Refusals; `NEED - n` says that the output buffer must have n bytes.
OUTSIDE, OVERLAP, NO_ROOM, NEED = -1, -2, -3, -4

_HEADER = 20
_HALF = np.uint64(0xFFFFFFFF)
_RUNT, _REPLAY, _FORGED, _HANDSHAKE = 1, 14, 15, 255


def _box(_typing: Any, _address: Any, _out: Any, _source: Any, _size: Any, _nonce: Any, _at: Any, _key: Any) -> Any:
    """Call ``int address(out, source, size, nonce24, key)``, with `nonce` little-endian at byte `at` of 24 zeros."""
    signature = types.int32(*[types.int64] * 7)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, out, source, size, nonce, at, key = arguments
        byte, word = ir.IntType(8), ir.IntType(64)
        pointer = byte.as_pointer()
        function = ir.FunctionType(ir.IntType(32), [pointer, pointer, word, pointer, pointer])
        block = ir.ArrayType(byte, 24)
        # In the entry block of the kernel: one slot, not one more for each turn of its loop.
        slot = cgutils.alloca_once(builder, block)  # type: ignore[no-untyped-call]
        builder.store(ir.Constant(block, None), slot)
        first = builder.bitcast(slot, pointer)
        for index in range(4):  # byte by byte, so that the host's byte order does not matter
            value = builder.trunc(builder.lshr(nonce, ir.Constant(word, 8 * index)), byte)
            builder.store(value, builder.gep(first, [builder.add(at, ir.Constant(word, index))]))
        return builder.call(
            builder.inttoptr(address, function.as_pointer()),
            [
                builder.inttoptr(out, pointer),
                builder.inttoptr(source, pointer),
                size,
                first,
                builder.inttoptr(key, pointer),
            ],
        )

    return signature, generate


_call_box: Any = intrinsic(_box)


@kernel()
def _layout(buffer: Any, offsets: Any, lengths: Any, start: int, grow: int, out: Any, used: int) -> int:
    """Check that every packet from `start` on lies in `buffer` and its result in `out`; 0 or a refusal.

    `grow` is what a packet's length changes by. In place (both buffers the same memory) packets must ascend and leave
    `grow` bytes before each; otherwise results are laid one after another from byte `used` of `out`.
    """
    size, count = len(buffer), len(offsets)
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and size == len(out)
    if not in_place and source < target + len(out) and target < source + size:
        return OVERLAP
    room = max(grow, 0)
    end, need = 0, used
    for i in range(start, count):
        offset, length = offsets[i], lengths[i]
        if offset < 0 or length < 0 or offset > size or length > size - offset:
            return OUTSIDE
        if in_place and offset - room < end:
            return NO_ROOM
        end = offset + length
        need += max(length + grow, 0)
    if not in_place and need > len(out):
        return NEED - need
    return 0


@kernel()
def seal_packets(
    context: Any, nonce: int, buffer: Any, offsets: Any, lengths: Any, out: Any, out_offsets: Any, out_lengths: Any
) -> int:
    """Seal all packets with nonces `nonce`, `nonce` + 1, ...; 0, or a refusal before anything was written.

    Parameters
    ----------
    context : uint64[CONTEXT_WORDS]
    nonce : int64
        Nonce of the first packet.
    buffer, offsets, lengths : uint8[n], int64[k], int64[k]
        The payloads.
    out, out_offsets, out_lengths : uint8[m], int64[k], int64[k]
        Where the packets go: in place (`out` is `buffer`) 20 bytes before their payload, otherwise one after another.
    """
    refusal = _layout(buffer, offsets, lengths, 0, _HEADER, out, 0)
    if refusal < 0:
        return refusal
    address, key, at = types.int64(context[SEAL]), types.int64(context[KEY]), types.int64(context[SEND_AT])
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and len(out) == len(buffer)
    end = 0
    for i in range(len(offsets)):
        offset, length = offsets[i], lengths[i]
        place = offset - _HEADER if in_place else end
        end = place + length + _HEADER
        if (
            offset < 0
            or length < 0
            or offset > len(buffer)
            or length > len(buffer) - offset
            or place < 0
            or end > len(out)
        ):
            return OUTSIDE
        number = nonce + i
        out[place] = (number >> 24) & 0xFF
        out[place + 1] = (number >> 16) & 0xFF
        out[place + 2] = (number >> 8) & 0xFF
        out[place + 3] = number & 0xFF
        _call_box(address, target + place + 4, source + offset, length, number, at, key)
        out_offsets[i] = place
        out_lengths[i] = length + _HEADER
    return 0


@kernel()
def accept(context: Any, number: Any) -> bool:
    """Take `number` into the context's replay window; whether it is new. The twin of `ReplayWindow.accept`."""
    base, bits, one = types.int64(context[BASE]), context[BITS], types.uint64(1)
    offset = number - base
    if offset < 0:
        context[OUT_OF_RANGE] += one
        return False
    while offset > 63:
        shift = types.int64(32)
        if bits & _HALF != _HALF:
            shift = offset - 47
            counted = shift % 64 if shift >> 31 else min(shift, 64)  # see ReplayWindow: recorded C counts
            if counted == 0:
                counted = 64
            gone = shift
            for i in range(counted):
                gone -= types.int64(bits >> types.uint64(i) & one)
            context[LOST] = (context[LOST] + types.uint64(gone)) & _HALF
        bits = bits >> types.uint64(shift) if shift < 64 else types.uint64(0)
        base += shift
        offset -= shift
    context[BASE] = types.uint64(base)
    place = one << types.uint64(offset)
    if bits & place != types.uint64(0):
        context[BITS] = bits
        context[DUPLICATES] += one
        return False
    context[BITS] = bits | place
    return True


@kernel()
def open_packets(
    context: Any,
    start: int,
    stop: int,
    buffer: Any,
    offsets: Any,
    lengths: Any,
    out: Any,
    out_offsets: Any,
    out_lengths: Any,
    status: Any,
) -> int:
    """Open packets from index `start` on, in order; how far it got, or a refusal before anything was written.

    Parameters
    ----------
    context : uint64[CONTEXT_WORDS]
        Its replay window is updated.
    start : int64
        First packet; the results of those before it stay as they are.
    stop : int64
        1: at a handshake packet (nonce below 4, at least 20 bytes) return its index; 0: give it status 255.
    buffer, offsets, lengths : uint8[n], int64[k], int64[k]
        The packets.
    out, out_offsets, out_lengths : uint8[m], int64[k], int64[k]
        Where the payloads go: in place (`out` is `buffer`) where they were, otherwise one after another.
    status : uint8[k]
        0 for a payload, otherwise 1 (short), 14 (replay), 15 (does not authenticate) or 255, and no payload.
    """
    in_place = buffer.ctypes.data == out.ctypes.data and len(out) == len(buffer)
    end = 0
    if start > 0 and not in_place:
        end = out_offsets[start - 1] + out_lengths[start - 1]
    refusal = _layout(buffer, offsets, lengths, start, -_HEADER, out, end)
    if refusal < 0:
        return refusal
    address, key, at = types.int64(context[OPEN]), types.int64(context[KEY]), types.int64(context[RECEIVE_AT])
    source, target = buffer.ctypes.data, out.ctypes.data
    for i in range(start, len(offsets)):
        offset, length = offsets[i], lengths[i]
        if offset < 0 or length < 0 or offset > len(buffer) or length > len(buffer) - offset:
            return OUTSIDE
        place = offset + min(length, _HEADER) if in_place else end
        size, code = length - _HEADER, 0
        if size < 0:
            size, code = 0, _RUNT
        else:
            if place < 0 or size > len(out) - place:
                return OUTSIDE
            number = (
                types.int64(buffer[offset]) << 24
                | types.int64(buffer[offset + 1]) << 16
                | types.int64(buffer[offset + 2]) << 8
                | types.int64(buffer[offset + 3])
            )
            if number < 4:
                if stop:
                    return i
                size, code = 0, _HANDSHAKE
            elif _call_box(address, target + place, source + offset + 4, length - 4, number, at, key):
                size, code = 0, _FORGED
            elif not accept(context, number):
                out[place : place + size] = 0
                size, code = 0, _REPLAY
        status[i] = code
        out_offsets[i] = place
        out_lengths[i] = size
        end = place + size
    return len(offsets)
