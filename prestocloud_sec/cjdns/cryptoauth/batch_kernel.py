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

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.cjdns.cryptoauth.batch_layout import NEED, NO_ROOM, OUTSIDE, OVERLAP

__all__ = [
    "ACCEPTED",
    "ACCEPTED_BYTES",
    "BASE",
    "BITS",
    "CONTEXT_WORDS",
    "DUPLICATES",
    "FORGED",
    "KEY",
    "LOST",
    "OPEN",
    "OUT_OF_RANGE",
    "RECEIVE_AT",
    "RUNTS",
    "SEAL",
    "SEAL_PADDED",
    "SEND_AT",
    "SMALL",
    "accept",
    "compiled",
    "open_packets",
    "seal_packets",
]

# Words of a context: addresses and places, the replay window, and what one call of `open_packets` counts.
SEAL, SEAL_PADDED, OPEN, KEY, SEND_AT, RECEIVE_AT = 0, 1, 2, 3, 4, 5
BASE, BITS = 6, 7
ACCEPTED, ACCEPTED_BYTES, LOST, DUPLICATES, OUT_OF_RANGE, RUNTS, FORGED = 8, 9, 10, 11, 12, 13, 14
CONTEXT_WORDS = 15

_HEADER = 20
_RUNT, _REPLAY, _FORGED, _HANDSHAKE = 1, 14, 15, 255
_HALF = np.uint64(0xFFFFFFFF)

SMALL = 1024
"""Up to this size, in bytes, payloads are sealed in libsodium's older padded form.

Both forms give the same bytes. The newer one encrypts the first 32 bytes in a call of its own, and each call does what
its 256-byte vector code leaves over block by block, which is slow; the padded form is one call. It costs two short
copies, and wins from 1 % to 45 % by size; above, the copies make it even.
"""

_BYTE, _HALF_WORD, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_POINTER = _BYTE.as_pointer()

_BYTES = types.Array(types.uint8, 1, "C")
_PLACES = types.Array(types.int64, 1, "C")
_CONTEXT = types.Array(types.uint64, 1, "C")


def _call(builder: Any, address: Any, out: Any, source: Any, size: Any, nonce: Any, at: Any, key: Any) -> Any:
    """Emit the call ``int address(out, source, size, nonce24, key)``; 24 zeros but for `nonce` at byte `at`."""
    # In the entry block of the kernel: one slot, not one more for each turn of its loop.
    slot = cgutils.alloca_once(builder, ir.ArrayType(_BYTE, 24))  # type: ignore[no-untyped-call]
    builder.store(ir.Constant(ir.ArrayType(_BYTE, 24), None), slot)
    first = builder.bitcast(slot, _POINTER)
    number = builder.trunc(nonce, _HALF_WORD)
    if sys.byteorder == "big":
        number = builder.bswap(number)
    # Whole, not byte by byte: libsodium reads it right away, and a processor cannot forward four stores to one load.
    builder.store(number, builder.bitcast(builder.gep(first, [at]), _HALF_WORD.as_pointer()), align=1)
    function = ir.FunctionType(ir.IntType(32), [_POINTER, _POINTER, _WORD, _POINTER, _POINTER])
    return builder.call(
        builder.inttoptr(address, function.as_pointer()), [out, source, size, first, builder.inttoptr(key, _POINTER)]
    )


def _box(_typing: Any, _address: Any, _out: Any, _source: Any, _size: Any, _nonce: Any, _at: Any, _key: Any) -> Any:
    """``crypto_box_easy_afternm`` or ``crypto_box_open_easy_afternm``, from `source` to `out`."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, out, source, *rest = arguments
        return _call(builder, address, builder.inttoptr(out, _POINTER), builder.inttoptr(source, _POINTER), *rest)

    return types.int32(*[types.int64] * 7), generate


def _padded_box(
    _typing: Any, _address: Any, _out: Any, _source: Any, _size: Any, _nonce: Any, _at: Any, _key: Any
) -> Any:
    """``crypto_box_afternm``, from `source` to `out`, by way of the stack; `size` is `SMALL` at most.

    The message is encrypted where it lies on the stack, so that nothing but ciphertext stays there.
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, out, source, size, nonce, at, key = arguments
        zeros = ir.ArrayType(_BYTE, 32)
        slot = cgutils.alloca_once(builder, ir.ArrayType(_BYTE, 32 + SMALL))  # type: ignore[no-untyped-call]
        start = builder.bitcast(slot, _POINTER)
        builder.store(ir.Constant(zeros, None), builder.bitcast(slot, zeros.as_pointer()))
        _copy(builder, builder.gep(start, [ir.Constant(_WORD, 32)]), builder.inttoptr(source, _POINTER), size)
        padded = builder.add(size, ir.Constant(_WORD, 32))
        result = _call(builder, address, start, start, padded, nonce, at, key)
        boxed = builder.add(size, ir.Constant(_WORD, 16))
        _copy(builder, builder.inttoptr(out, _POINTER), builder.gep(start, [ir.Constant(_WORD, 16)]), boxed)
        return result

    return types.int32(*[types.int64] * 7), generate


def _copy(builder: Any, target: Any, source: Any, size: Any) -> None:
    cgutils.raw_memcpy(builder, target, source, size, 1)  # type: ignore[no-untyped-call]


_call_box: Any = intrinsic(_box)
_call_padded_box: Any = intrinsic(_padded_box)


@kernel()
def _layout(buffer: Any, offsets: Any, lengths: Any, grow: int, out: Any) -> int:
    """Check that every packet lies in `buffer` and its result in `out`; 0 or a refusal.

    `grow` is what a packet's length changes by. In place (both buffers the same memory) packets must ascend and leave
    `grow` bytes before each; otherwise results are laid one after another.
    """
    size = len(buffer)
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and size == len(out)
    if not in_place and source < target + len(out) and target < source + size:
        return OVERLAP
    end = need = 0
    for i in range(len(offsets)):
        offset, length = offsets[i], lengths[i]
        if offset < 0 or length < 0 or offset > size or length > size - offset:
            return OUTSIDE
        if in_place and offset - max(grow, 0) < end:
            return NO_ROOM
        end = offset + length
        need += max(length + grow, 0)
    if not in_place and need > len(out):
        return NEED - need
    return 0


@kernel()
def _read(buffer: Any, offset: Any) -> Any:
    """Return the big-endian 32-bit integer at byte `offset`."""
    # Unsigned places cannot count from the end; so LLVM makes one load of the four.
    at = types.uintp(offset)
    return (
        types.int64(buffer[at]) << 24
        | types.int64(buffer[at + types.uintp(1)]) << 16
        | types.int64(buffer[at + types.uintp(2)]) << 8
        | types.int64(buffer[at + types.uintp(3)])
    )


@kernel()
def _write(buffer: Any, offset: Any, number: Any) -> None:
    """Write a big-endian 32-bit integer to byte `offset`."""
    at = types.uintp(offset)
    buffer[at] = (number >> 24) & 0xFF
    buffer[at + types.uintp(1)] = (number >> 16) & 0xFF
    buffer[at + types.uintp(2)] = (number >> 8) & 0xFF
    buffer[at + types.uintp(3)] = number & 0xFF


@kernel()
def seal_packets(
    context: Any, nonce: int, buffer: Any, offsets: Any, lengths: Any, out: Any, out_offsets: Any, out_lengths: Any
) -> int:
    """Seal all packets with nonces `nonce`, `nonce` + 1, ...; their bytes in all, or a refusal before any was written.

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
    refusal = _layout(buffer, offsets, lengths, _HEADER, out)
    if refusal < 0:
        return refusal
    address, padded = types.int64(context[SEAL]), types.int64(context[SEAL_PADDED])
    key, at = types.int64(context[KEY]), types.int64(context[SEND_AT])
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and len(out) == len(buffer)
    end = written = 0
    for i in range(len(offsets)):
        offset, length = offsets[i], lengths[i]
        if offset < 0 or length < 0 or offset > len(buffer) or length > len(buffer) - offset:
            return OUTSIDE
        place = offset - _HEADER if in_place else end
        end = place + _HEADER + length
        if place < 0 or end > len(out):
            return OUTSIDE
        number = nonce + i
        _write(out, place, number)
        if length <= SMALL:
            _call_padded_box(padded, target + place + 4, source + offset, length, number, at, key)
        else:
            _call_box(address, target + place + 4, source + offset, length, number, at, key)
        out_offsets[i] = place
        out_lengths[i] = length + _HEADER
        written += length + _HEADER
    return written


@kernel()
def accept(base: Any, bits: Any, number: Any) -> tuple[bool, Any, Any, Any]:
    """Return whether `number` is new to a replay window, its new `base` and `bits`, and how many numbers it lost.

    The twin of `ReplayWindow.accept`, which explains it. A refused number is below the new base, or its bit is set.
    """
    one, lost = types.uint64(1), types.int64(0)
    offset = number - base
    if offset < 0:
        return False, base, bits, lost
    while offset > 63:
        shift = types.int64(32)
        if bits & _HALF != _HALF:
            shift = offset - 47
            lost += shift
            counted = shift % 64 if shift >> 31 else min(shift, 64)  # see ReplayWindow: recorded C counts
            if counted == 0:
                counted = 64
            for i in range(counted):
                lost -= types.int64(bits >> types.uint64(i) & one)
        bits = bits >> types.uint64(shift) if shift < 64 else types.uint64(0)
        base += shift
        offset -= shift
    place = one << types.uint64(offset)
    return bits & place == types.uint64(0), base, bits | place, lost


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
        Its replay window is updated, its counts are set.
    start : int64
        First packet; the results of those before it stay as they are. From 1 on the layout was checked before.
    stop : int64
        1: at a packet that is no data (see `status`) return its index; 0: give it status 255.
    buffer, offsets, lengths : uint8[n], int64[k], int64[k]
        The packets.
    out, out_offsets, out_lengths : uint8[m], int64[k], int64[k]
        Where the payloads go: in place (`out` is `buffer`) where they were, otherwise one after another.
    status : uint8[k]
        0 for a payload, otherwise 1 (short), 14 (replay), 15 (does not authenticate) or 255 (at least 20 bytes, but
        their first word is below 4 or ffffffff), and no payload.
    """
    if start == 0:
        refusal = _layout(buffer, offsets, lengths, -_HEADER, out)
        if refusal < 0:
            return refusal
    address, key, at = types.int64(context[OPEN]), types.int64(context[KEY]), types.int64(context[RECEIVE_AT])
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and len(out) == len(buffer)
    end = out_offsets[start - 1] + out_lengths[start - 1] if start > 0 else 0
    base, bits = types.int64(context[BASE]), context[BITS]
    duplicates = lost = below = accepted = accepted_bytes = runts = forged = 0
    reached = len(offsets)
    for i in range(start, len(offsets)):
        offset, length = offsets[i], lengths[i]
        if offset < 0 or length < 0 or offset > len(buffer) or length > len(buffer) - offset:
            return OUTSIDE
        place = offset + min(length, _HEADER) if in_place else end
        size, code = max(length - _HEADER, 0), 0
        if place < 0 or size > len(out) - place:
            return OUTSIDE
        if length < _HEADER:
            code = _RUNT
            runts += 1
        else:
            number = _read(buffer, offset)
            if number < 4 or number == 0xFFFFFFFF:
                if stop:
                    reached = i
                    break
                code = _HANDSHAKE
            elif _call_box(address, target + place, source + offset + 4, length - 4, number, at, key):
                code = _FORGED
                forged += 1
            else:
                new, base, bits, gone = accept(base, bits, number)
                lost += gone
                if new:
                    accepted += 1
                    accepted_bytes += length
                else:
                    below += number < base
                    duplicates += number >= base
                    code = _REPLAY
                    out[place : place + size] = 0
        if code:
            size = 0
        status[i] = code
        out_offsets[i] = place
        out_lengths[i] = size
        end = place + size
    context[BASE], context[BITS] = types.uint64(base), bits
    context[DUPLICATES], context[LOST] = types.uint64(duplicates), types.uint64(lost)
    context[OUT_OF_RANGE], context[RUNTS] = types.uint64(below), types.uint64(runts)
    context[ACCEPTED], context[ACCEPTED_BYTES] = types.uint64(accepted), types.uint64(accepted_bytes)
    context[FORGED] = types.uint64(forged)
    return reached


def compiled() -> tuple[Any, Any]:
    """Return `seal_packets` and `open_packets` as functions that look at no types.

    numba's dispatcher finds out the types of eight arguments before each call, which takes as long as sealing a small
    packet. A `PacketArena` has checked them already, so each kernel is compiled for its one signature here, and its
    entry is called directly. Whoever calls it answers for types, dtypes and that outputs are writable.
    """
    outputs = (_BYTES, _PLACES, _PLACES)
    return (
        _entry(seal_packets, (_CONTEXT, types.int64, *outputs, *outputs)),
        _entry(open_packets, (_CONTEXT, types.int64, types.int64, *outputs, *outputs, _BYTES)),
    )


def _entry(dispatcher: Any, signature: tuple[Any, ...]) -> Any:
    dispatcher.compile(signature)
    return getattr(dispatcher.overloads.get(signature), "entry_point", dispatcher)
