# SPDX-License-Identifier: Apache-2.0
"""The inner loops of the batch key search: several public keys at once, in the lanes of vector registers.

Only public points come here; the secret they belong to stays with the caller. A *block* is the public keys of the
scalars ``s + 8 i`` for ``-n <= i <= n``. With the point of ``s`` and a table of the points of ``8 i`` in affine
coordinates ``(u, v)`` on Curve25519, ``v**2 = u**3 + A u**2 + u`` (RFC 7748, section 4.1), the sums and differences are

    slope = (+-v_table - v) / (u_table - u)
    u_new = slope**2 - A - u - u_table

so ``+i`` and ``-i`` share one inversion, and all inversions of a block share a single one (Montgomery's trick: invert
the product, then unwind it). A key then costs about four multiplications, where a scalar multiplication of its own
costs some 2500, and the two SHA-512 are what takes most of the time.

`LANES` keys are worked on side by side. numba does not vectorise this by itself, so each field or hash operation is a
formula over `_Vector`, which writes LLVM instructions on ``LANES`` 64-bit integers; `_operation` makes of a formula a
function of array rows. LLVM maps the vectors to what the processor has (AVX-512, AVX2, NEON, or scalar registers).
Formulas and kernels share this file because numba's cache on disk looks at the kernel's own file to know its age.

Field elements are ten limbs of 26 and 25 bits in turn, least significant first, so that ``2**255 = 19`` folds products
back and a 32-bit multiplication (``pmuludq``) suffices. *Reduced* limbs are below ``2**26 + 2**16`` (of 25 bits:
``2**25 + 2**16``). One sum or difference of reduced elements may enter a product as it is: its limbs are below
``1.5 * 2**27 + 2**17`` (``1.5 * 2**26 + 2**17``), 19 of them below 2**32, and the largest column of a product is below
``1121 * 2**52 < 2**63``.

Arrays are uint64, C-contiguous, of shape ``(rows, 10, LANES)`` for field elements.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import isqrt
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.cjdns.keysearch import CURVE_A, FIELD_PRIME

__all__ = ["LANES", "LIMB_BITS", "first_match", "hash_rows", "limbs_of", "walk_block"]

LANES = 4
"""How many keys are worked on side by side."""

LIMB_BITS = (26, 25) * 5
"""Bits of each limb of a field element, least significant limb first."""

_LIMBS = len(LIMB_BITS)
_VECTOR = ir.VectorType(ir.IntType(64), LANES)
_WORD = (1 << 64) - 1


def limbs_of(number: int) -> list[int]:
    """Return the ten limbs of a number below 2**255."""
    return [number >> sum(LIMB_BITS[:at]) & ((1 << LIMB_BITS[at]) - 1) for at in range(_LIMBS)]


def _root_bits(degree: int, count: int) -> list[int]:
    """Return the first 64 bits after the point of roots of the first primes: SHA-512's constants (FIPS 180-4)."""
    primes = [n for n in range(2, 410) if all(n % d for d in range(2, isqrt(n) + 1))][:count]
    found = []
    for prime in primes:
        root, bit = 0, 1 << 68
        while bit := bit >> 1:
            if (root | bit) ** degree <= prime << 64 * degree:
                root |= bit
        found.append(root & _WORD)
    return found


_PRIME_LIMBS = limbs_of(FIELD_PRIME)
_SHA512_INITIAL = _root_bits(2, 8)
_SHA512_CONSTANTS = _root_bits(3, 80)


class _Vector:
    """`LANES` unsigned 64-bit integers as a value of the LLVM function under construction."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def of(self, number: int) -> _Vector:
        """Return a vector that holds `number` in every lane."""
        return _Vector(self.builder, ir.Constant(_VECTOR, [number & _WORD] * LANES))

    def _apply(self, instruction: str, other: _Vector | int) -> _Vector:
        right = other if isinstance(other, _Vector) else self.of(other)
        return _Vector(self.builder, getattr(self.builder, instruction)(self.value, right.value))

    def __add__(self, other: _Vector | int) -> _Vector:
        return self._apply("add", other)

    def __sub__(self, other: _Vector | int) -> _Vector:
        return self._apply("sub", other)

    def __and__(self, other: _Vector | int) -> _Vector:
        return self._apply("and_", other)

    def __or__(self, other: _Vector | int) -> _Vector:
        return self._apply("or_", other)

    def __xor__(self, other: _Vector | int) -> _Vector:
        return self._apply("xor", other)

    def __lshift__(self, count: int) -> _Vector:
        return self._apply("shl", count)

    def __rshift__(self, count: int) -> _Vector:
        return self._apply("lshr", count)

    def times(self, other: _Vector | int) -> _Vector:
        """Multiply the low 32 bits of both; the masks are what lets LLVM choose a 32-bit multiplication."""
        low = 0xFFFFFFFF
        right = other & low if isinstance(other, _Vector) else other
        return (self & low)._apply("mul", right)

    def rotated(self, count: int) -> _Vector:
        """Rotate right by `count` bits."""
        return (self >> count) | (self << (64 - count))

    def swapped(self) -> _Vector:
        """Reverse the bytes of every lane."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        swap = self.builder.module.declare_intrinsic(f"llvm.bswap.v{LANES}i64", fnty=kind)
        return _Vector(self.builder, self.builder.call(swap, [self.value]))


Formula = Callable[..., list[_Vector]]


def _operation(outputs: int, *inputs: int) -> Callable[[Formula], Any]:
    """Make of a formula over vectors a function over array rows, for use in kernels.

    The function takes the array and row that the result goes to, then the array and row of each operand;
    `outputs` and `inputs` are how many vectors a row of each has. It checks no bounds: its callers do.
    """
    sizes = (outputs, *inputs)

    def decorate(formula: Formula) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointers = []
            for size, array, row, kind in zip(sizes, arguments[::2], arguments[1::2], signature.args[::2], strict=True):
                data = context.make_array(kind)(context, builder, array).data
                start = builder.mul(row, ir.Constant(row.type, size))
                pointers.append(builder.gep(builder.bitcast(data, _VECTOR.as_pointer()), [start]))
            builder.call(_function(builder.module, formula, sizes), pointers)
            return context.get_dummy_value()

        def declare(_typing: Any, *kinds: Any) -> Any:
            return types.void(*kinds), code

        names = ["typing", *(f"{name}_{number}" for number in range(len(sizes)) for name in ("array", "row"))]
        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        declare.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        declare.__name__ = formula.__name__
        declare.__doc__ = formula.__doc__
        return intrinsic(declare)

    return decorate


def _function(module: Any, formula: Formula, sizes: tuple[int, ...]) -> Any:
    """Return the LLVM function of a formula in `module`, written at the first call."""
    name = f"keysearch_{formula.__name__}"
    if name in module.globals:
        return module.globals[name]
    pointer = _VECTOR.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * len(sizes)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())

    def slot(base: Any, number: int) -> Any:
        return builder.gep(base, [ir.Constant(ir.IntType(64), number)])

    operands = [
        [_Vector(builder, builder.load(slot(base, number), align=8)) for number in range(size)]
        for base, size in zip(function.args[1:], sizes[1:], strict=True)
    ]
    for number, vector in enumerate(formula(*operands)):
        builder.store(vector.value, slot(function.args[0], number), align=8)
    builder.ret_void()
    return function


Limbs = list[_Vector]


def _carried(limbs: Limbs) -> Limbs:
    """Bring limbs below 2**63 to reduced ones: two chains of carries side by side, then the ends of both once more."""
    limbs = list(limbs)

    def carry(at: int) -> None:
        over = limbs[at] >> LIMB_BITS[at]
        limbs[at] = limbs[at] & ((1 << LIMB_BITS[at]) - 1)
        if at == _LIMBS - 1:
            limbs[0] = limbs[0] + (over + (over << 1) + (over << 4))
        else:
            limbs[at + 1] = limbs[at + 1] + over

    for at in (0, 5, 1, 6, 2, 7, 3, 8, 4, 9, 5, 0):
        carry(at)
    return limbs


def _product(a: Limbs, b: Limbs) -> Limbs:
    """Multiply field elements: 100 products; see `multiply`."""
    doubled = [limb << 1 for limb in a]
    folded = [limb.times(19) for limb in b]
    columns: list[_Vector | None] = [None] * _LIMBS
    for i in range(_LIMBS):
        for j in range(_LIMBS):
            at = (i + j) % _LIMBS
            left = doubled[i] if i % 2 and j % 2 else a[i]
            term = left.times(folded[j] if i + j >= _LIMBS else b[j])
            column = columns[at]
            columns[at] = term if column is None else column + term
    return _carried([column for column in columns if column is not None])


def _squared(a: Limbs) -> Limbs:
    """Square a field element: 55 products; see `square`."""
    columns: list[_Vector | None] = [None] * _LIMBS
    for i in range(_LIMBS):
        for j in range(i, _LIMBS):
            at = (i + j) % _LIMBS
            shift = (i != j) + (i % 2 and j % 2)
            left = a[i] << shift if shift else a[i]
            term = left.times(a[j].times(19) if i + j >= _LIMBS else a[j])
            column = columns[at]
            columns[at] = term if column is None else column + term
    return _carried([column for column in columns if column is not None])


def _canonical_words(limbs: Limbs) -> list[_Vector]:
    """Bring limbs below 2**30 to the one representative below the prime, as four little-endian 64-bit words."""
    limbs = list(limbs)

    def carry_all() -> _Vector:
        for at in range(_LIMBS):
            over = limbs[at] >> LIMB_BITS[at]
            limbs[at] = limbs[at] & ((1 << LIMB_BITS[at]) - 1)
            if at < _LIMBS - 1:
                limbs[at + 1] = limbs[at + 1] + over
        return over

    over = carry_all()
    limbs[0] = limbs[0] + over.times(19)
    reaches = limbs[0] + 19  # whether value + 19 reaches 2**255, that is, whether the value reaches the prime
    for at in range(_LIMBS - 1):
        reaches = limbs[at + 1] + (reaches >> LIMB_BITS[at])
    limbs[0] = limbs[0] + (reaches >> LIMB_BITS[-1]).times(19)
    carry_all()
    h = limbs
    return [
        h[0] | h[1] << 26 | h[2] << 51,
        h[2] >> 13 | h[3] << 13 | h[4] << 38,
        h[5] | h[6] << 25 | h[7] << 51,
        h[7] >> 13 | h[8] << 12 | h[9] << 38,
    ]


def _sum_u(slope_squared: Limbs, u: Limbs, other_u: Limbs) -> Limbs:
    """Return ``slope**2 - A - u - other_u``, with limbs below 2**30."""
    result = [s + 4 * p - (x + y) for s, x, y, p in zip(slope_squared, u, other_u, _PRIME_LIMBS, strict=True)]
    result[0] = result[0] - CURVE_A
    return result


@_operation(10, 10, 10)
def multiply(a: Limbs, b: Limbs) -> Limbs:
    """Multiply; the operands are reduced, or one sum or difference of reduced elements; the result is reduced."""
    return _product(a, b)


@_operation(10, 10)
def square(a: Limbs) -> Limbs:
    """Square, with the same bounds as `multiply`."""
    return _squared(a)


@_operation(10, 10, 10)
def subtract(a: Limbs, b: Limbs) -> Limbs:
    """Subtract reduced elements; the result is not reduced. Twice the prime keeps the limbs positive."""
    return [x + 2 * p - y for x, y, p in zip(a, b, _PRIME_LIMBS, strict=True)]


@_operation(10, 10, 10)
def subtract_reduced(a: Limbs, b: Limbs) -> Limbs:
    """Subtract reduced elements; the result is reduced."""
    return _carried([x + 2 * p - y for x, y, p in zip(a, b, _PRIME_LIMBS, strict=True)])


@_operation(10, 10, 10)
def add(a: Limbs, b: Limbs) -> Limbs:
    """Add reduced elements; the result is not reduced."""
    return [x + y for x, y in zip(a, b, strict=True)]


@_operation(10, 10, 10, 10)
def sum_point(slope: Limbs, u: Limbs, other_u: Limbs) -> Limbs:
    """Return the u coordinate of a sum of points, reduced; `slope` is that of the line through them."""
    return _carried(_sum_u(_squared(slope), u, other_u))


@_operation(4, 10, 10, 10)
def sum_key(slope: Limbs, u: Limbs, other_u: Limbs) -> list[_Vector]:
    """Return the u coordinate of a sum of points as a public key: four little-endian words."""
    return _canonical_words(_sum_u(_squared(slope), u, other_u))


@_operation(4, 10)
def own_key(u: Limbs) -> list[_Vector]:
    """Return a reduced u coordinate as a public key: four little-endian words."""
    return _canonical_words(u)


def _sha512(words: list[_Vector]) -> list[_Vector]:
    """Return SHA-512 (FIPS 180-4, section 6.4) of up to 13 words of 64 bits, big-endian values, as 8 such words."""
    zero = words[0].of(0)
    schedule = [*words, zero.of(1 << 63), *[zero] * (14 - len(words)), zero.of(64 * len(words))]
    a, b, c, d, e, f, g, h = (zero.of(value) for value in _SHA512_INITIAL)
    b_xor_c = b ^ c
    for number, constant in enumerate(_SHA512_CONSTANTS):
        if number >= 16:
            x, y = schedule[number - 15], schedule[number - 2]
            low = x.rotated(1) ^ x.rotated(8) ^ (x >> 7)
            high = y.rotated(19) ^ y.rotated(61) ^ (y >> 6)
            schedule.append(schedule[number - 16] + low + schedule[number - 7] + high)
        choice = g ^ (e & (f ^ g))
        first = h + (e.rotated(14) ^ e.rotated(18) ^ e.rotated(41)) + choice + (schedule[number] + constant)
        a_xor_b = a ^ b
        majority = b ^ (a_xor_b & b_xor_c)
        second = (a.rotated(28) ^ a.rotated(34) ^ a.rotated(39)) + majority
        a, b, c, d, e, f, g, h = first + second, a, b, c, d + first, e, f, g
        b_xor_c = a_xor_b
    return [state + value for state, value in zip((a, b, c, d, e, f, g, h), _SHA512_INITIAL, strict=True)]


@_operation(1, 4)
def hash_keys(key: list[_Vector]) -> list[_Vector]:
    """Return the first 64 bits, as a big-endian number, of SHA512(SHA512(key))."""
    return _sha512(_sha512([word.swapped() for word in key]))[:1]


# 1/x = x**(p - 2), in steps of (base, squarings, factor, result), which are rows of the work array:
# result = base**(2**squarings) * factor. Row 2 holds x; the exponents reached are 9, 11, 2**5 - 1, then 2**k - 1 for
# k = 10, 20, 40, 50, 100, 200, 250, and last 2**255 - 32 + 11 = p - 2 in row 1.
_INVERSION = (
    (2, 3, 2, 3),
    (2, 1, 3, 4),
    (4, 1, 3, 5),
    (5, 5, 5, 3),
    (3, 10, 3, 5),
    (5, 20, 5, 5),
    (5, 10, 3, 3),
    (3, 50, 3, 5),
    (5, 100, 5, 5),
    (5, 50, 3, 3),
    (3, 5, 4, 1),
)


@kernel()
def walk_block(centre: Any, table_u: Any, table_v: Any, products: Any, work: Any, keys: Any) -> None:
    """Write the public keys of one block and move `centre` to the next.

    Parameters
    ----------
    centre : uint64[2, 10, LANES]
        ``u`` and ``v`` of the block's middle point, reduced, the same in every lane.
    table_u, table_v : uint64[rows + 1, 10, LANES]
        Coordinates of the multiples of the step, reduced: lane l of row r has multiple ``r * LANES + l + 1``; every
        lane of the last row has the distance from one block's middle to the next.
    products : uint64[rows + 2, 10, LANES]
        Scratch.
    work : uint64[8, 10, LANES]
        Scratch.
    keys : uint64[2 * rows + 1, 4, LANES]
        The result, as little-endian words: row ``2 r`` has the sums with table row r, row ``2 r + 1`` the differences,
        the last row the middle itself in every lane.
    """
    last = table_u.shape[0] - 1
    for limb in range(_LIMBS):
        for lane in range(LANES):
            products[0, limb, lane] = limb == 0
    for row in range(last + 1):
        subtract(work, 0, table_u, row, centre, 0)
        multiply(products, row + 1, products, row, work, 0)
    multiply(work, 2, products, last + 1, products, 0)
    for base, squarings, factor, result in _INVERSION:
        square(work, 0, work, base)
        for _ in range(squarings - 1):
            square(work, 0, work, 0)
        multiply(work, result, work, 0, work, factor)
    own_key(keys, 2 * last, centre, 0)
    for row in range(last, -1, -1):
        # Work row 1 is the inverse of the product of the differences 0..row, row 2 that of difference `row` alone.
        multiply(work, 2, work, 1, products, row)
        subtract(work, 0, table_u, row, centre, 0)
        multiply(work, 1, work, 1, work, 0)
        subtract(work, 0, table_v, row, centre, 1)
        multiply(work, 3, work, 0, work, 2)
        if row == last:
            sum_point(work, 6, work, 3, centre, 0, table_u, row)
            subtract(work, 0, centre, 0, work, 6)
            multiply(work, 7, work, 0, work, 3)
            continue
        sum_key(keys, 2 * row, work, 3, centre, 0, table_u, row)
        add(work, 0, table_v, row, centre, 1)
        multiply(work, 3, work, 0, work, 2)
        sum_key(keys, 2 * row + 1, work, 3, centre, 0, table_u, row)
    for limb in range(_LIMBS):
        for lane in range(LANES):
            centre[0, limb, lane] = work[6, limb, lane]
    subtract_reduced(centre, 1, work, 7, centre, 1)


@kernel()
def hash_rows(keys: Any, hashes: Any) -> None:
    """Write the first 64 bits of the double SHA-512 of each key: uint64[rows, 4, LANES] to uint64[rows, LANES]."""
    for row in range(keys.shape[0]):
        hash_keys(hashes, row, keys, row)


@kernel()
def first_match(hashes: Any, mask: int, wanted: int, limit: int) -> int:
    """Return the lowest place below `limit` in a block of a key with ``hash & mask == wanted``, or `limit` if none has.

    Places run from 0 to 2 n, n being the number of table entries; place ``n + i`` is the middle plus i steps.
    """
    rows = hashes.shape[0] // 2
    best = limit
    middle = rows * LANES
    for row in range(rows):
        for lane in range(LANES):
            distance = row * LANES + lane + 1
            if hashes[2 * row, lane] & mask == wanted:
                best = min(best, middle + distance)
            if hashes[2 * row + 1, lane] & mask == wanted:
                best = min(best, middle - distance)
    if hashes[2 * rows, 0] & mask == wanted:
        best = min(best, middle)
    return best
