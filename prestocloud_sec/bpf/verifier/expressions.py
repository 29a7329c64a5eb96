# SPDX-License-Identifier: Apache-2.0
"""Numbers of a run as functions of its inputs, and which inputs would make them other numbers.

A run on given inputs computes each number from some of them; the `Node` of a number says how. `value` computes it for
other inputs, `solve` proposes inputs for which it is a wanted number. Proposals are cheap and may be wrong: whoever
asks runs them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping

from prestocloud_sec.bpf.isa import AluOp, BranchOp
from prestocloud_sec.bpf.vm.arithmetic import ALU, COMPARE, signed

__all__ = ["Node", "Values", "constant", "holds", "joined", "numbers_near", "operation", "part", "solve", "value"]

_U64 = (1 << 64) - 1
_DEEPEST = 150
"""Operations that are kept on top of each other; a number that is made of more is taken as it is."""
_MOST_PROPOSALS = 12

Values = Mapping[Hashable, int]
"""What inputs are, by name; those that are not there are 0."""


class Node:
    """A number: a constant, an input, or an operation.

    Attributes
    ----------
    op : str
        ``constant``, ``input``, ``join`` (parts, the lowest first, of so many bits), ``part`` (bits from one on), or an
        arithmetic operation.
    bits : int
        Of an input or part, how many; of an operation, 32 or 64.
    items : tuple
        A constant's number; an input's name; otherwise nodes, and numbers where the operation takes any.
    depth : int
    inputs : frozenset
        Names of all inputs in it.
    """

    __slots__ = ("bits", "depth", "inputs", "items", "op")

    def __init__(self, op: str, bits: int, *items: object) -> None:
        self.op = op
        self.bits = bits
        self.items = items
        nodes = [item for item in items if isinstance(item, Node)]
        self.depth: int = 1 + max((node.depth for node in nodes), default=0)
        self.inputs: frozenset[Hashable] = frozenset((items[0],)) if op == "input" else frozenset()
        for node in nodes:
            self.inputs |= node.inputs

    @property
    def varies(self) -> bool:
        """Whether it depends on any input."""
        return bool(self.inputs)

    def __repr__(self) -> str:
        return f"{self.op}{self.bits}{self.items}"


def constant(number: int) -> Node:
    """Return the node of a number that depends on nothing."""
    return Node("constant", 64, number & _U64)


def operation(op: str, bits: int, now: int, *items: Node | int) -> Node:
    """Return the node of a result that is `now` on the run at hand."""
    nodes = [item for item in items if isinstance(item, Node)]
    if not any(node.varies for node in nodes) or max(node.depth for node in nodes) > _DEEPEST:
        return constant(now)
    return Node(op, bits, *items)


def _width(node: Node) -> int:
    """Return how many bits of a number an item of a join is; constants there are bytes."""
    return node.bits if node.op in ("input", "part") else 8


def part(whole: Node, start: int, bits: int, now: int) -> Node:
    """Return some bits of a node."""
    if not start and bits == 64:
        return whole
    if whole.op == "join":
        place = 0
        for item in whole.items:
            if isinstance(item, Node):
                if place == start and item.bits == bits and item.op in ("input", "part"):
                    return item
                place += _width(item)
    return operation("part", bits, now, whole, start)


def _beginning(node: Node) -> tuple[Node | None, int]:
    """Return what a node is a part of, and from which bit on; None where it is no part."""
    if node.op != "part":
        return None, 0
    whole, start = node.items
    return (whole, start) if isinstance(whole, Node) and isinstance(start, int) else (None, 0)


def joined(parts: list[Node], now: int) -> Node:
    """Return the node of a number whose bytes these are, the lowest first."""
    whole, start = _beginning(parts[0])
    if whole is not None and all(_beginning(p) == (whole, start + 8 * n) for n, p in enumerate(parts)):
        return part(whole, start, 8 * len(parts), now)
    return operation("join", 8 * len(parts), now, *parts)


# --- Forwards.


def value(node: Node, values: Values, known: dict[int, int] | None = None) -> int:
    """Return what a node is for given inputs."""
    if node.op == "constant":
        return node.items[0]  # type: ignore[return-value]
    if node.op == "input":
        return values.get(node.items[0], 0)
    known = {} if known is None else known
    found = known.get(id(node))
    if found is None:
        items = [value(item, values, known) if isinstance(item, Node) else item for item in node.items]
        found = known[id(node)] = _compute(node, items) & _U64
    return found


def _compute(node: Node, items: list[object]) -> int:
    numbers: list[int] = items  # type: ignore[assignment]
    match node.op:
        case "join":
            found, shift = 0, 0
            for item, number in zip(node.items, numbers, strict=True):
                width = _width(item) if isinstance(item, Node) else 8
                found |= (number & (1 << width) - 1) << shift
                shift += width
            return found
        case "part":
            return numbers[0] >> numbers[1] & (1 << node.bits) - 1
        case "negate":
            return -numbers[0] & (1 << node.bits) - 1
        case "extend":
            return signed(numbers[0], numbers[1]) & (1 << node.bits) - 1
        case "swap":
            size = node.bits // 8
            return int.from_bytes((numbers[0] & (1 << node.bits) - 1).to_bytes(size, "little"), "big")
        case "there":
            return numbers[1] if numbers[0] else 0
        case _:
            mask = (1 << node.bits) - 1
            return ALU[AluOp(node.op)](numbers[0] & mask, numbers[1] & mask, node.bits) & mask


def holds(op: BranchOp, bits: int, left: Node, right: Node, values: Values, known: dict[int, int]) -> bool:
    """Return whether a comparison holds for given inputs."""
    mask = (1 << bits) - 1
    return bool(COMPARE[op](value(left, values, known) & mask, value(right, values, known) & mask, bits))


def numbers_near(number: int, bits: int) -> list[int]:
    """Return numbers that a comparison with this one tells apart, and the ends of ranges."""
    top = 1 << bits
    near = [number, number + 1, number - 1, 0, top - 1, top >> 1, (top >> 1) - 1, 1, number + 8, number - 8]
    return list(dict.fromkeys(n % top for n in near))


# --- Backwards.


def solve(node: Node, wanted: int, values: Values, depth: int = 0) -> Iterator[dict[Hashable, int]]:
    """Propose inputs, changes of these, for which a node is a wanted number; at most a few."""
    return itertools.islice(_solve(node, wanted & _U64, values, depth), _MOST_PROPOSALS)


def _solve(node: Node, wanted: int, values: Values, depth: int) -> Iterator[dict[Hashable, int]]:
    if depth > _DEEPEST or not node.varies:
        if not node.varies and value(node, values) == wanted:
            yield {}
        return
    match node.op:
        case "input":
            if wanted < 1 << node.bits:
                yield {node.items[0]: wanted}
        case "join":
            yield from _split(node, wanted, values, depth)
        case "there":
            first, address = node.items
            if isinstance(first, Node) and wanted in (0, address):
                yield from _solve(first, 1 if wanted else 0, values, depth + 1)
        case _:
            first = node.items[0]
            if isinstance(first, Node):
                for before in _before(node, wanted, values):
                    yield from _solve(first, before & _U64, values, depth + 1)
            second = node.items[1] if len(node.items) > 1 else None
            if isinstance(second, Node) and second.varies:
                for before in _other(node, wanted, values):
                    yield from _solve(second, before & _U64, values, depth + 1)


def _split(node: Node, wanted: int, values: Values, depth: int) -> Iterator[dict[Hashable, int]]:
    found: dict[Hashable, int] = {}
    shift = 0
    for item in node.items:
        if not isinstance(item, Node):
            return
        width = _width(item)
        change = next(_solve(item, wanted >> shift & (1 << width) - 1, values, depth + 1), None)
        if change is None:
            return
        found |= change
        shift += width
    if not wanted >> shift:
        yield found


def _before(node: Node, wanted: int, values: Values) -> Iterator[int]:
    """Propose what the first operand has to be, with the second as it is."""
    first = node.items[0]
    assert_now = value(first, values) if isinstance(first, Node) else 0
    bits, mask = node.bits, (1 << node.bits) - 1
    if node.op == "part":
        start = node.items[1]
        if isinstance(start, int):
            kept = assert_now & ~(mask << start)
            yield wanted << start | kept
            yield wanted << start
        return
    if wanted > mask:
        return
    high = assert_now & ~mask & _U64
    if node.op == "negate":
        yield -wanted & mask | high
    elif node.op == "swap":
        yield int.from_bytes(wanted.to_bytes(bits // 8, "little"), "big") | high
    elif node.op == "extend":
        width = node.items[1]
        if isinstance(width, int):
            yield wanted & (1 << width) - 1
            yield wanted & (1 << width) - 1 | assert_now & ~((1 << width) - 1)
    else:
        other = node.items[1]
        b = (value(other, values) if isinstance(other, Node) else int(other)) & mask  # type: ignore[call-overload]
        for proposal in _ARITHMETIC.get(node.op, _nothing)(wanted, b, bits, assert_now & mask):
            yield proposal & mask
            if high:
                yield proposal & mask | high


def _other(node: Node, wanted: int, values: Values) -> Iterator[int]:
    """Propose what the second operand has to be, with the first as it is."""
    first = node.items[0]
    mask = (1 << node.bits) - 1
    a = (value(first, values) if isinstance(first, Node) else 0) & mask
    match node.op:
        case "add":
            yield wanted - a & mask
        case "sub":
            yield a - wanted & mask
        case "xor":
            yield wanted ^ a
        case "mov":
            yield wanted
        case "and" | "or":
            yield wanted
        case "mul" if a and not wanted % a:
            yield wanted // a


_Inverse = Callable[[int, int, int, int], Iterator[int]]
"""Of the wanted result, the second operand, the width and what the first operand is now."""


def _nothing(_t: int, _b: int, _bits: int, _now: int) -> Iterator[int]:
    return iter(())


def _and(t: int, b: int, bits: int, now: int) -> Iterator[int]:
    if not t & ~b:
        yield t
        yield t | now & ~b
        yield t | (1 << bits) - 1 & ~b


def _or(t: int, b: int, _bits: int, now: int) -> Iterator[int]:
    if t & b == b:
        yield t
        yield t & ~b | now & b


def _left(t: int, b: int, bits: int, now: int) -> Iterator[int]:
    b &= bits - 1
    if not t & (1 << b) - 1:
        yield t >> b
        yield t >> b | now & ~((1 << bits - b) - 1)


def _right(t: int, b: int, bits: int, _now: int) -> Iterator[int]:
    b &= bits - 1
    if not t >> bits - b:
        yield t << b
        yield t << b | (1 << b) - 1


def _right_signed(t: int, b: int, bits: int, _now: int) -> Iterator[int]:
    b &= bits - 1
    yield t << b
    yield t << b | (1 << b) - 1


def _mul(t: int, b: int, bits: int, now: int) -> Iterator[int]:
    if not b:
        if not t:
            yield now
        return
    if not t % b:
        yield t // b
    even = (b & -b).bit_length() - 1  # what is odd has an inverse
    if not t & (1 << even) - 1:
        rest = 1 << bits - even
        yield (t >> even) * pow(b >> even, -1, rest) % rest


def _div(t: int, b: int, _bits: int, now: int) -> Iterator[int]:
    if not b and not t:
        yield now
    if b:
        yield t * b
        yield t * b + b - 1


def _mod(t: int, b: int, _bits: int, _now: int) -> Iterator[int]:
    if not b or t < b:
        yield t


_ARITHMETIC: dict[str, _Inverse] = {
    "add": lambda t, b, _bits, _now: iter((t - b,)),
    "sub": lambda t, b, _bits, _now: iter((t + b,)),
    "xor": lambda t, b, _bits, _now: iter((t ^ b,)),
    "mov": lambda t, _b, _bits, _now: iter((t,)),
    "and": _and,
    "or": _or,
    "lsh": _left,
    "rsh": _right,
    "arsh": _right_signed,
    "mul": _mul,
    "div": _div,
    "mod": _mod,
}
