# SPDX-License-Identifier: Apache-2.0
"""Compiled loops over many data packets of one session: libsodium does each, nothing is copied, Python is called once.

The kernels call libsodium through addresses that they are *given* (words of the context), never one that was known at
compile time, so that the compiled code can be kept on disk and serve every process. A context is an array of 64-bit
words: those addresses, the address of the secret (owned and wiped by the `DataCipher`), where in the cipher's nonce
each direction writes, and the replay window with its counters. No secret byte passes through numba's globals, and none
is stored in the compiled code.

Payloads of up to `STREAMED` bytes are not given to NaCl's box but to the three functions that it is made of (D. J.
Bernstein, "Cryptography in NaCl", sections 7 to 10), which libsodium has, too:

1. HSalsa20 makes a subkey of the secret and the first 16 bytes of the packet's nonce;
2. Salsa20 under the subkey encrypts 32 zeros, which gives the key of Poly1305, and the payload;
3. Poly1305 makes the tag of the ciphertext, or compares it, in constant time.

The box does step 2 in two or three calls, each of which leaves blocks over that libsodium's vector code does not do;
here it is one, for a length that leaves few (`_rounded`), in scratch memory of the call. What was decrypted there is
copied out only after the tag was compared; subkey, key stream and plaintext are wiped before the call returns. Longer
payloads go to the box, to the same bytes, and all do where a libsodium hides the three functions.

Every place and length is checked where it is used, in the pass that uses it: the arrays of a `PacketArena` can be
changed by another thread, which may then get wrong packets, but never memory outside the buffers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]

from prestocloud_sec._jit import kernel
from prestocloud_sec.cjdns.cryptoauth.batch_layout import NEED, NO_ROOM, OUTSIDE, OVERLAP
from prestocloud_sec.cjdns.cryptoauth.sodium_kernel import (
    STACK_BYTES,
    call_box,
    call_subkey,
    call_tag,
    call_wipe,
    copy,
    stack_memory,
)

__all__ = [
    "ACCEPTED",
    "ACCEPTED_BYTES",
    "BASE",
    "BITS",
    "BOX",
    "CONTEXT_WORDS",
    "DUPLICATES",
    "FORGED",
    "KEY",
    "LOST",
    "OPEN_BOX",
    "OUT_OF_RANGE",
    "RECEIVE_AT",
    "ROOM",
    "RUNTS",
    "SEND_AT",
    "STREAM",
    "STREAMED",
    "SUBKEY",
    "TAG",
    "VERIFY",
    "WIPE",
    "accept",
    "compiled",
    "open_packets",
    "seal_packets",
]

# Words of a context: addresses of libsodium's functions; the secret, places, and the payloads that are not given to the
# box (shorter than this); the replay window; what one call of `open_packets` counts.
BOX, OPEN_BOX, WIPE, SUBKEY, STREAM, TAG, VERIFY = 0, 1, 2, 3, 4, 5, 6
KEY, SEND_AT, RECEIVE_AT, ROOM = 7, 8, 9, 10
BASE, BITS = 11, 12
ACCEPTED, ACCEPTED_BYTES, LOST, DUPLICATES, OUT_OF_RANGE, RUNTS, FORGED = 13, 14, 15, 16, 17, 18, 19
CONTEXT_WORDS = 20

_HEADER = 20
_RUNT, _REPLAY, _FORGED, _HANDSHAKE = 1, 14, 15, 255
_HALF = np.uint64(0xFFFFFFFF)

# Where in a call's scratch memory the subkey, the nonce and the key stream lie. The stream's first 32 bytes are the key
# of Poly1305, then come the payload's.
_SUBKEY, _NONCE, _STREAM = 0, 32, 64
_PAYLOAD = _STREAM + 32

STREAMED = STACK_BYTES - _PAYLOAD
"""The longest payload, in bytes, that is encrypted in scratch memory."""

_BYTES = types.Array(types.uint8, 1, "C")
_PLACES = types.Array(types.int64, 1, "C")
_CONTEXT = types.Array(types.uint64, 1, "C")


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
def _rounded(size: Any) -> Any:
    """Return how much key stream to ask for where `size` bytes are needed: that many, or up to 255 more.

    With AVX2, libsodium makes 512 bytes, or the next 256, in the time of two blocks of 64 that it makes one by one.
    """
    over = size & 511
    if over > 256:
        return size - over + 512
    if over > 128:
        return size - over + 256
    return size


@kernel(inline="always")
def _encrypt(context: Any, scratch: Any, number: Any, at: Any, source: Any, size: Any) -> Any:
    """Encrypt, or decrypt, `size` bytes at address `source` into scratch memory, and put the key of their tag there.

    The packet's `number` goes to byte `at` of the nonce, which is all that is done for a payload too long for scratch
    memory: the box needs it. Returns whether the rest was done.
    """
    place = types.uintp(_NONCE + at)
    scratch[place] = number & 0xFF
    scratch[place + types.uintp(1)] = (number >> 8) & 0xFF
    scratch[place + types.uintp(2)] = (number >> 16) & 0xFF
    scratch[place + types.uintp(3)] = (number >> 24) & 0xFF
    if size >= types.int64(context[ROOM]):
        return False
    memory = scratch.ctypes.data
    nonce, stream = memory + _NONCE, memory + _STREAM
    call_subkey(types.int64(context[SUBKEY]), memory + _SUBKEY, nonce, types.int64(context[KEY]), 0)
    for i in range(_STREAM, _PAYLOAD):
        scratch[i] = 0
    copy(memory + _PAYLOAD, source, size)
    call_box(types.int64(context[STREAM]), stream, stream, _rounded(size + 32), nonce + 16, memory + _SUBKEY)
    return True


@kernel(inline="always")
def _seal(context: Any, scratch: Any, number: Any, source: Any, size: Any, target: Any) -> None:
    """Seal a payload: tag and ciphertext go to address `target`."""
    memory = scratch.ctypes.data
    if _encrypt(context, scratch, number, types.int64(context[SEND_AT]), source, size):
        call_tag(types.int64(context[TAG]), target, memory + _PAYLOAD, size, memory + _STREAM)
        copy(target + 16, memory + _PAYLOAD, size)
    else:
        key = types.int64(context[KEY])
        call_box(types.int64(context[BOX]), target, source, size, memory + _NONCE, key)


@kernel(inline="always")
def _open(context: Any, scratch: Any, number: Any, source: Any, size: Any, target: Any) -> Any:
    """Open tag and ciphertext at address `source`; the payload goes to `target` if it authenticates, which is told."""
    memory = scratch.ctypes.data
    if _encrypt(context, scratch, number, types.int64(context[RECEIVE_AT]), source + 16, size):
        if call_tag(types.int64(context[VERIFY]), source, source + 16, size, memory + _STREAM):
            return False
        copy(target, memory + _PAYLOAD, size)
        return True
    key = types.int64(context[KEY])
    return not call_box(types.int64(context[OPEN_BOX]), target, source, size + 16, memory + _NONCE, key)


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
    scratch = carray(stack_memory(), (STACK_BYTES,))
    written = _seal_packets(context, nonce, buffer, offsets, lengths, out, out_offsets, out_lengths, scratch)
    call_wipe(types.int64(context[WIPE]), scratch.ctypes.data, STACK_BYTES)
    return written


@kernel(inline="always")
def _seal_packets(
    context: Any,
    nonce: int,
    buffer: Any,
    offsets: Any,
    lengths: Any,
    out: Any,
    out_offsets: Any,
    out_lengths: Any,
    scratch: Any,
) -> int:
    """Do the work of `seal_packets`, whose layout was checked, with memory that is wiped afterwards."""
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and len(out) == len(buffer)
    end = written = 0
    scratch[_NONCE:_STREAM] = 0
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
        _seal(context, scratch, number, source + offset, length, target + place + 4)
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
    scratch = carray(stack_memory(), (STACK_BYTES,))
    reached = _open_packets(
        context, start, stop, buffer, offsets, lengths, out, out_offsets, out_lengths, status, scratch
    )
    call_wipe(types.int64(context[WIPE]), scratch.ctypes.data, STACK_BYTES)
    return reached


@kernel(inline="always")
def _open_packets(
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
    scratch: Any,
) -> int:
    """Do the work of `open_packets`, whose layout was checked, with memory that is wiped afterwards."""
    source, target = buffer.ctypes.data, out.ctypes.data
    in_place = source == target and len(out) == len(buffer)
    end = out_offsets[start - 1] + out_lengths[start - 1] if start > 0 else 0
    base, bits = types.int64(context[BASE]), context[BITS]
    duplicates = lost = below = accepted = accepted_bytes = runts = forged = 0
    reached = len(offsets)
    scratch[_NONCE:_STREAM] = 0
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
            elif not _open(context, scratch, number, source + offset + 4, size, target + place):
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
