# SPDX-License-Identifier: Apache-2.0
"""Tnums stand for every result that words they stand for can have; a million pairs for each operation."""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.verifier.tnum import U64, UNKNOWN, ZERO, Tnum
from tests.bpf.verifier.members import MEMBERS, OPERATIONS, PAIRS, Words, column, interesting

BINARY: dict[str, Callable[[Tnum, Tnum], Tnum]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
WORDS = st.integers(0, U64)
TNUMS = st.builds(lambda value, mask: Tnum(value & ~mask, mask), WORDS, WORDS)


def drawn(rng: np.random.Generator, count: int = PAIRS) -> tuple[list[Tnum], Words]:
    """Return tnums, and for each words that it stands for, one row a tnum."""
    values, masks = interesting(rng, count), interesting(rng, count)
    tnums = [Tnum(int(value & ~mask), int(mask)) for value, mask in zip(values, masks, strict=True)]
    free = rng.integers(0, 1 << 64, (count, MEMBERS), np.uint64)
    free[:, 0], free[:, 1] = 0, U64
    return tnums, (values & ~masks)[:, None] | free & masks[:, None]


def stands_for_all(found: list[Tnum], words: Words) -> bool:
    masks = column([tnum.mask for tnum in found])
    return bool((words & ~masks == column([tnum.value for tnum in found])).all())


@pytest.mark.parametrize("name", BINARY)
def test_every_result_is_stood_for(name: str) -> None:
    rng = np.random.default_rng(1)
    (left, a), (right, b) = drawn(rng), drawn(rng)
    found = [BINARY[name](x, y) for x, y in zip(left, right, strict=True)]
    assert not any(tnum.value & tnum.mask for tnum in found)
    assert stands_for_all(found, OPERATIONS[name](a, rng.permuted(b, axis=1)))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", ["lsh", "rsh", "arsh"])
def test_shifts(name: str, bits: int) -> None:
    rng = np.random.default_rng(2)
    tnums, words = drawn(rng)
    shifts = rng.integers(0, bits, PAIRS).astype(np.uint64)
    counts = shifts[:, None]
    if name == "arsh":
        found = [tnum.arsh(int(shift), bits) for tnum, shift in zip(tnums, shifts, strict=True)]
        kind = (np.uint64, np.int64) if bits == 64 else (np.uint32, np.int32)
        signed = words.astype(kind[0]).view(kind[1]) >> counts.astype(kind[1])
        concrete = signed.view(kind[0]).astype(np.uint64)
    else:
        found = [getattr(tnum, name)(int(shift)) for tnum, shift in zip(tnums, shifts, strict=True)]
        concrete = words << counts if name == "lsh" else words >> counts
    assert stands_for_all(found, concrete)


def test_negation_and_parts() -> None:
    tnums, words = drawn(np.random.default_rng(3))
    low = np.uint64(0xFFFF_FFFF)
    assert stands_for_all([-tnum for tnum in tnums], ~words + np.uint64(1))
    assert stands_for_all([tnum.low for tnum in tnums], words & low)
    assert stands_for_all([tnum.with_low(ZERO) for tnum in tnums], words & ~low)
    for size, kind in ((1, np.uint8), (2, np.uint16), (4, np.uint32)):
        assert stands_for_all([tnum.cast(size) for tnum in tnums], words.astype(kind).astype(np.uint64))
        signed = {1: np.int8, 2: np.int16, 4: np.int32}[size]
        extended = words.astype(kind).view(signed).astype(np.int64).view(np.uint64)
        assert stands_for_all([tnum.sign_extend(size) for tnum in tnums], extended)


@given(TNUMS, TNUMS)
def test_no_bit_that_is_known_of_all_results_is_lost_by_addition(a: Tnum, b: Tnum) -> None:
    """Sums are as tight as a tnum can be: each unknown bit really varies."""
    found = a + b
    extremes = [x + y & U64 for x in (a.value, a.most) for y in (b.value, b.most)]
    singles = [x + y & U64 for bit in range(64) for x in ones(a, bit) for y in ones(b, bit)]
    seen_ones = seen_zeros = 0
    for total in extremes + singles:
        assert total in found
        seen_ones |= total
        seen_zeros |= ~total & U64
    assert found.value & ~seen_ones == 0
    assert found.value & seen_zeros == 0


def ones(tnum: Tnum, bit: int) -> list[int]:
    """Return the least word it stands for, with and without one unknown bit."""
    return [tnum.value, tnum.value | tnum.mask & 1 << bit]


@given(TNUMS, TNUMS, WORDS)
def test_sets(a: Tnum, b: Tnum, word: int) -> None:
    assert (word in a and word in b) <= (word in a.intersect(b))
    assert (word in a or word in b) <= (word in a.union(b))
    assert a.union(b).covers(a)
    assert a.union(b).covers(b)
    assert UNKNOWN.covers(a)
    assert a.covers(Tnum.const(a.most))


@given(TNUMS, WORDS)
def test_the_next_word(tnum: Tnum, word: int) -> None:
    found = tnum.after(word)
    assert found in tnum
    assert found > word or found == tnum.most
    free = tnum.mask & -tnum.mask  # the lowest unknown bit: no word lies closer below
    assert free == 0 or found - free <= word or found - free not in tnum or found == tnum.value


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_the_next_word_is_the_least(value: int, mask: int, word: int) -> None:
    tnum = Tnum(value & ~mask, mask)
    later = [other for other in range(word + 1, 256) if other in tnum]
    assert tnum.after(word) == (later[0] if later else tnum.most)


@given(WORDS, WORDS, st.data())
def test_ranges(x: int, y: int, data: st.DataObject) -> None:
    least, most = sorted((x, y))
    found = Tnum.range(least, most)
    assert data.draw(st.integers(least, most)) in found
    assert least in found
    assert most in found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # From the paper's and the kernel's description: unknown bits carry into the ones above.
        (Tnum(0b1000, 0b0011) + Tnum(0b0001, 0), Tnum(0b1000, 0b0111)),
        (Tnum(0b10, 0b01) * Tnum.const(3), Tnum(0, 0b1111)),
        (Tnum(0, 0b11) & Tnum.const(0b10), Tnum(0, 0b10)),
        (Tnum(0, 0b11) | Tnum.const(0b10), Tnum(0b10, 0b01)),
        (Tnum.range(0, U64), UNKNOWN),
        (Tnum.range(7, 7), Tnum.const(7)),
        (Tnum(0, 0xF0).sign_extend(1), Tnum(0, U64 & ~0xF)),
    ],
)
def test_examples(found: Tnum, expected: Tnum) -> None:
    assert expected.covers(found)


def test_how_it_is_written() -> None:
    assert str(Tnum(0x10, 0x3)) == "(0x10; 0x3)"
    assert repr(Tnum.of(0x10, 0x3)) == "Tnum(0x10, 0x3)"
    assert Tnum(8, 0b10000).aligned(8)
    assert not Tnum(8, 0b10100).aligned(8)


@pytest.mark.parametrize(("value", "mask"), [(1, 1), (-1, 0), (1 << 64, 0), (0, 1 << 64), ("a", 0), (0, 1.0)])
def test_no_tnum(value: object, mask: object) -> None:
    with pytest.raises(BpfMisuseError, match="Tnum"):
        Tnum.of(value, mask)  # type: ignore[arg-type]
