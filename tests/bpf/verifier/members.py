# SPDX-License-Identifier: Apache-2.0
"""A million pairs: words that abstract operands stand for, and what operations make of them, with numpy alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
PAIRS, MEMBERS = 4096, 256
"""Pairs of abstract operands, and of words for each: about a million."""

U64 = (1 << 64) - 1


def interesting(rng: np.random.Generator, count: int) -> Words:
    """Return words of all sizes: small, large, near powers of two, with few bits, random."""
    words = rng.integers(0, 1 << 64, count, np.uint64, endpoint=False)
    shifts = rng.integers(0, 64, count).astype(np.uint64)
    kind = rng.integers(0, 6, count)
    near = (np.uint64(1) << shifts) + rng.integers(-3, 4, count).astype(np.uint64)
    found: Words = np.select(
        [kind == 0, kind == 1, kind == 2, kind == 3, kind == 4],
        [words >> shifts, near, ~near, words & rng.integers(0, 1 << 64, count, np.uint64), words << shifts],
        words,
    )
    return found


def word(value: int) -> np.uint64:
    return np.uint64(value & U64)


def column(values: list[int]) -> Words:
    return np.array([value & U64 for value in values], np.uint64)[:, None]


Concrete = Callable[[Words, Words], Words]


def _signed(operation: Callable[[Any, Any], Any]) -> Concrete:
    return lambda a, b: operation(a.view(np.int64), b.view(np.int64)).view(np.uint64)


def narrow(operation: Concrete) -> Concrete:
    """Return a 32-bit operation: on the low halves, the result zero-extended."""

    def narrowed(a: Words, b: Words) -> Words:
        low = np.uint64(0xFFFF_FFFF)
        return operation(a & low, b & low) & low

    return narrowed


OPERATIONS: dict[str, Concrete] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}


def hulls(words: Words) -> list[Any]:
    """Return, for each row, what is known of a number that is one of the row's words: the tightest ranges and bits."""
    from prestocloud_sec.bpf.verifier.scalar import Scalar
    from prestocloud_sec.bpf.verifier.tnum import Tnum

    low = words.astype(np.uint32)
    ends = [
        array
        for view in (words, words.view(np.int64), low, low.view(np.int32))
        for array in (view.min(axis=1), view.max(axis=1))
    ]
    ones, zeros = np.bitwise_and.reduce(words, axis=1), np.bitwise_or.reduce(words, axis=1)
    found = []
    for row in range(len(words)):
        scalar = Scalar.unknown()
        scalar.tnum = Tnum(int(ones[row]), int(ones[row] ^ zeros[row]))
        for name, array in zip(NAMES, ends, strict=True):
            setattr(scalar, name, int(array[row]))
        found.append(scalar)
    return found


NAMES = ("umin", "umax", "smin", "smax", "umin32", "umax32", "smin32", "smax32")


def drawn_scalars(rng: np.random.Generator, count: int = PAIRS) -> tuple[list[Any], Words]:
    """Return abstract numbers, and for each words that it stands for; some are wider than their words need."""
    start, width = interesting(rng, count), interesting(rng, count)
    steps = rng.integers(0, 1 << 64, (count, MEMBERS), np.uint64)
    steps[:, 0], steps[:, 1] = 0, U64
    near = start[:, None] + steps % np.maximum(width >> np.uint64(1), np.uint64(1))[:, None]
    bits = (start & ~width)[:, None] | steps & width[:, None]
    words = np.where(rng.random(count)[:, None] < 0.5, near, bits)
    scalars = hulls(words)
    for scalar, forget in zip(scalars, rng.integers(0, 16, count), strict=True):
        if forget & 1:
            scalar.tnum = scalar.tnum._replace(value=0, mask=U64)
        if forget & 2:
            scalar.umin, scalar.umax = 0, U64
        if forget & 4:
            scalar.smin, scalar.smax = -(1 << 63), (1 << 63) - 1
        if forget & 8:
            scalar.unbound32()
        if forget == 15:
            scalar.umin, scalar.umax = 0, U64
    return scalars, words


def all_in(scalars: list[Any], words: Words, which: Any = None) -> bool:
    """Whether each number stands for the words of its row (those that `which` names)."""
    low = words.astype(np.uint32)
    good = words & ~column([s.tnum.mask for s in scalars]) == column([s.tnum.value for s in scalars])
    for names, view, kind in (
        (NAMES[:2], words, np.uint64),
        (NAMES[2:4], words.view(np.int64), np.int64),
        (NAMES[4:6], low, np.uint32),
        (NAMES[6:], low.view(np.int32), np.int32),
    ):
        least, most = (np.array([getattr(s, name) for s in scalars], kind)[:, None] for name in names)
        good &= (view >= least) & (view <= most)
    return bool((good if which is None else good | ~which).all())
