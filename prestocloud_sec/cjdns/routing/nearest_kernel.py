# SPDX-License-Identifier: Apache-2.0
"""Kernels of `prestocloud_sec.cjdns.routing.nearest`: the walk to the XOR-nearest keys of a sorted array.

Every kernel sees the same index: `words`, uint32[5, n + WINDOW], the metrics in ascending order, the bits that count
most in row 0, and in row 4 the place that each had in the input; the last column is repeated to fill the rows. And
`starts`, a table over the top bits: keys whose top ``64 - shift`` bits are ``p`` lie at ``starts[p] .. starts[p + 1]``.
`nearest` explains the walk and why it is bounded. Nothing here checks its arguments; there is at least one key. A
target is the two halves of its metric, `high` and `low`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from prestocloud_sec._jit import kernel
from prestocloud_sec.cjdns.routing.nearest import WINDOW

Keys: TypeAlias = NDArray[np.uint32]
Starts: TypeAlias = NDArray[np.int32]
Targets: TypeAlias = NDArray[np.uint8]
Found: TypeAlias = NDArray[np.int64]

__all__ = ["nearest_many", "nearest_one", "walk_steps"]

_DEEPEST = 130
"""More than the number of ranges that can wait during one walk: each split fixes another of the 128 bits."""


@kernel()
def _block(starts: Starts, shift: int, high: Any, wanted: int) -> Any:
    """Return the range of the smallest aligned block of table entries around `high` that holds `wanted` keys.

    All keys in an aligned block share a prefix with the target that no key outside shares, so none outside is closer.
    """
    first = np.int64(high >> np.uint64(shift))
    size = np.int64(1)
    last = np.int64(starts.size - 1)
    begin = np.int64(starts[first])
    end = np.int64(starts[first + 1])
    while end - begin < wanted and size < last:
        size += size
        first &= -size
        begin = np.int64(starts[first])
        end = np.int64(starts[first + size])
    return begin, end


@kernel()
def _part(high: Any, low: Any, row: int) -> Any:
    """Return the 32 bits of a target that are compared with a row of keys."""
    half = low if row & 2 else high
    return np.uint32(half if row & 1 else half >> np.uint64(32))


@kernel()
def _split(words: Keys, begin: Any, end: Any) -> Any:
    """Return where a range of sorted keys parts: row, bit and place of the first key that has the bit set.

    The bit is the highest in which any two keys of the range differ; 0 means that all keys are the same. The last
    figure is how many keys were looked at.
    """
    row = 0
    differ = words[0, begin] ^ words[0, end - 1]
    while differ == 0 and row < 3:
        row += 1
        differ = words[row, begin] ^ words[row, end - 1]
    if differ == 0:
        return row, differ, end, 2
    for by in (1, 2, 4, 8, 16):  # every bit below the highest set one is set, too ...
        differ |= differ >> by
    bit = differ ^ (differ >> 1)  # ... and goes
    low, high, steps = begin + 1, end - 1, 2
    while low < high:
        middle = (low + high) >> 1
        steps += 1
        if words[row, middle] & bit:
            high = middle
        else:
            low = middle + 1
    return row, bit, low, steps


@kernel()
def _whole(words: Keys, at: Any, high: Any, low: Any) -> Any:
    """Return the two halves of the distance between a target and a key."""
    bits = np.uint64(32)
    return (
        ((np.uint64(words[0, at]) << bits) | np.uint64(words[1, at])) ^ high,
        ((np.uint64(words[2, at]) << bits) | np.uint64(words[3, at])) ^ low,
    )


@kernel()
def _walk(words: Keys, starts: Starts, shift: int, high: Any, low: Any) -> Any:
    """Return the place of the key nearest to a target and the number of keys looked at, whatever the keys are."""
    begin, end = _block(starts, shift, high, 1)
    steps = 0
    while end - begin > WINDOW:
        row, bit, middle, looked = _split(words, begin, end)
        steps += looked
        if bit == 0:
            return begin, steps
        if _part(high, low, row) & bit:
            begin = middle
        else:
            end = middle
    found = begin
    best, best_low = _whole(words, begin, high, low)
    for at in range(begin + 1, end):
        away, away_low = _whole(words, at, high, low)
        if away < best or (away == best and away_low < best_low):
            found, best, best_low = at, away, away_low
    return found, steps + end - begin


@kernel()
def _few(starts: Starts, shift: int, high: Any) -> Any:
    """Return where the smallest block around `high` that has keys begins, -1 if they do not fit the window."""
    begin, end = _block(starts, shift, high, 1)
    return begin if end - begin <= WINDOW else np.int64(-1)


@kernel()
def _tagged(words: Keys, at: Any, i: int, top: Any) -> Any:
    """Return the distance of a key in its top 32 bits, the last of them replaced by the key's place in the window."""
    return np.uint32(np.uint32(words[0, at + np.uint64(i)] ^ top) & ~np.uint32(WINDOW - 1)) | np.uint32(i)


@kernel()
def _in_window(words: Keys, begin: Any, top: Any) -> Any:
    """Return the place of the key nearest to a target among a window of keys, -1 if their top bits cannot tell.

    One minimum finds the distance and the place. It is taken as a tree, written out: as a loop, every comparison would
    wait for the one before. Keys that agree in all but the replaced bits are neighbours, and of them the first is
    found; so a look at its successor tells whether there were several.
    """
    at = np.uint64(begin)
    best = min(
        min(
            min(_tagged(words, at, 0, top), _tagged(words, at, 1, top)),
            min(_tagged(words, at, 2, top), _tagged(words, at, 3, top)),
        ),
        min(
            min(_tagged(words, at, 4, top), _tagged(words, at, 5, top)),
            min(_tagged(words, at, 6, top), _tagged(words, at, 7, top)),
        ),
    )
    found = at + np.uint64(best & np.uint32(WINDOW - 1))
    alike = np.uint32(words[0, found] ^ words[0, found + np.uint64(1)]) < np.uint32(WINDOW)
    return np.int64(-1) if alike else np.int64(found)


def _ask_for(_typing: Any, words: Any, at: Any) -> Any:
    """Ask for the memory of an item of a contiguous array, counted from its first, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), (byte, number, number, number))
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", (byte,), kind)
        to_read, keep, as_data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(prefetch, (builder.bitcast(builder.gep(data, [arguments[1]]), byte), to_read, keep, as_data))
        return context.get_dummy_value()

    return types.none(words, at), generate


_prefetch: Any = intrinsic(_ask_for)


@kernel()
def _lookup(words: Keys, starts: Starts, shift: int, high: Any, low: Any) -> Any:
    """Return the place of the key nearest to (`high`, `low`)."""
    begin = _few(starts, shift, high)
    _prefetch(words, 4 * words.shape[1] + begin)  # row 4, on its way while the keys are: in a large index both miss
    found = _in_window(words, begin, _part(high, low, 0)) if begin >= 0 else np.int64(-1)
    return found if found >= 0 else _walk(words, starts, shift, high, low)[0]


@kernel()
def _word(data: Targets, at: Any, first: int) -> Any:
    """Read eight bytes of a row as one big-endian number."""
    value = np.uint64(0)
    for i in range(8):
        value = (value << np.uint64(8)) | np.uint64(data[at, first + i])
    return value


@kernel()
def nearest_one(words: Keys, starts: Starts, shift: int, high: int, low: int) -> Any:
    """Return the input index of the key nearest to (`high`, `low`), both given as signed 64-bit words."""
    return np.int64(words[4, _lookup(words, starts, shift, np.uint64(high), np.uint64(low))])


@kernel()
def walk_steps(words: Keys, starts: Starts, shift: int, high: int, low: int) -> Any:
    """Return how many keys `nearest_one` looks at for the same target: its cost without a clock."""
    high64, low64 = np.uint64(high), np.uint64(low)
    begin = _few(starts, shift, high64)
    if begin >= 0 and _in_window(words, begin, _part(high64, low64, 0)) >= 0:
        return np.int64(WINDOW)
    return np.int64(_walk(words, starts, shift, high64, low64)[1] + WINDOW)


@kernel()
def _one_each(words: Keys, starts: Starts, shift: int, targets: Targets, out: Found) -> None:
    """Find one key per target, in three passes: each has one memory access that is likely to miss, for all targets."""
    for at in range(targets.shape[0]):
        out[at, 0] = _few(starts, shift, _word(targets, at, 8))
    for at in range(targets.shape[0]):
        high = _word(targets, at, 8)
        found = _in_window(words, out[at, 0], _part(high, high, 0)) if out[at, 0] >= 0 else np.int64(-1)
        out[at, 0] = found if found >= 0 else _walk(words, starts, shift, high, _word(targets, at, 0))[0]
    for at in range(targets.shape[0]):
        out[at, 0] = words[4, np.uint64(out[at, 0])]


@kernel()
def nearest_many(
    words: Keys,
    starts: Starts,
    shift: int,
    targets: Targets,
    out: Found,
) -> None:
    """Write into each row of `out` the input indexes of the keys nearest to that target, closest first, then -1.

    The ranges on the way that are further from the target wait on a stack, the nearest on top, so that single keys come
    off it in order of distance.
    """
    wanted = out.shape[1]
    if wanted == 1:
        _one_each(words, starts, shift, targets, out)
        return
    begins, ends = np.empty(_DEEPEST, np.int64), np.empty(_DEEPEST, np.int64)
    for at in range(targets.shape[0]):
        high, low = _word(targets, at, 8), _word(targets, at, 0)
        begins[0], ends[0] = _block(starts, shift, high, wanted)
        waiting, got = 1, 0
        while waiting > 0 and got < wanted:
            waiting -= 1
            begin, end = begins[waiting], ends[waiting]
            row, bit, middle, _ = _split(words, begin, end)
            if bit == 0:  # one key, or several that are equal: in the order of the input, which sorting kept
                for place in range(begin, min(end, begin + wanted - got)):
                    out[at, got] = np.int64(words[4, place])
                    got += 1
                continue
            upper = _part(high, low, row) & bit != 0
            begins[waiting], ends[waiting] = (begin, middle) if upper else (middle, end)
            begins[waiting + 1], ends[waiting + 1] = (middle, end) if upper else (begin, middle)
            waiting += 2
        out[at, got:] = -1
