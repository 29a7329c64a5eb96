# SPDX-License-Identifier: Apache-2.0
"""Shapes of networks, as lists of edges between nodes 0..n-1.

Every function returns pairs (a, b) with a < b, each once, and the same ones for the same arguments. The random shapes
are connected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import TypeAlias

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import shown, whole

__all__ = ["SHAPES", "Edges", "geometric", "line", "regular", "ring", "scale_free", "small_world", "star", "tree"]

Edges: TypeAlias = list[tuple[int, int]]


def _check(n: int, least: int = 1) -> None:
    if not isinstance(n, int) or not least <= n <= 1_000_000:
        raise CjdnsMisuseError(f"{shown(n)} nodes", where="topology", expected=f"{least}..1000000")


def _generator(seed: int) -> Random:
    return Random(whole(seed, "seed", None, error=CjdnsMisuseError))  # noqa: S311 - a shape, not a secret


def _real(value: float, name: str, low: float, high: float) -> None:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise CjdnsMisuseError(shown(value), where=name, expected=f"a number from {low} to {high}")


def line(n: int) -> Edges:
    """Join 0 - 1 - 2 - ... - (n - 1)."""
    _check(n)
    return [(i, i + 1) for i in range(n - 1)]


def ring(n: int) -> Edges:
    """Join the ends of a line."""
    _check(n, 3)
    return sorted([*line(n), (0, n - 1)])


def star(n: int) -> Edges:
    """Put node 0 in the middle; at most 257 nodes, for a switch has 256 interfaces for others."""
    _check(n)
    return [(0, i) for i in range(1, n)]


def tree(n: int, *, fanout: int = 2) -> Edges:
    """Hang every node i on node (i - 1) // fanout: a complete tree."""
    _check(n)
    fanout = whole(fanout, "fanout", 1, error=CjdnsMisuseError)
    return [((i - 1) // fanout, i) for i in range(1, n)]


def small_world(n: int, *, degree: int = 6, rewired: float = 0.2, seed: int = 0) -> Edges:
    """Join each node of a ring to its nearest `degree` others, and let a share of those links lead anywhere instead.

    After Watts and Strogatz, "Collective dynamics of 'small-world' networks", Nature 393 (1998). The links to direct
    neighbours are kept, so that the network is connected; a node keeps at most ``degree + 1`` links where that can be,
    which for a degree up to 6 lets every director take 4 bits.
    """
    _check(n, 3)
    degree = whole(degree, "degree", None, error=CjdnsMisuseError)
    _real(rewired, "rewired", 0.0, 1.0)
    random = _generator(seed)
    half = max(1, min(degree // 2, (n - 1) // 2))
    linked: list[set[int]] = [set() for _ in range(n)]
    for i in range(n):
        for step in range(1, half + 1):
            a, b = i, (i + step) % n
            if step > 1 and random.random() < rewired:
                for _ in range(8):
                    other = random.randrange(n)
                    if other != a and other not in linked[a] and len(linked[other]) <= degree:
                        b = other
                        break
            if b not in linked[a] and a != b:
                linked[a].add(b)
                linked[b].add(a)
    return sorted((a, b) for a in range(n) for b in linked[a] if a < b)


def regular(n: int, *, degree: int = 7, seed: int = 0) -> Edges:
    """Join nodes at random, each to `degree` others or one less: no place is special, and nobody is far away.

    Seven links are the most for which every director of a v3x5x8 switch takes 4 bits, so this is the shape in which
    labels reach furthest. A ring through all nodes keeps the network connected.
    """
    _check(n, 3)
    degree = whole(degree, "degree", 2, n - 1, error=CjdnsMisuseError)
    random = _generator(seed)
    around = list(range(n))
    random.shuffle(around)
    edges = {(min(pair), max(pair)) for pair in zip(around, around[1:] + around[:1], strict=True)}
    free = [node for node in range(n) for _ in range(degree - 2)]
    for _ in range(8):  # each round joins what can be joined of what the last one left
        random.shuffle(free)
        left: list[int] = []
        for a, b in zip(free[::2], free[1::2], strict=False):
            pair = (min(a, b), max(a, b))
            if a == b or pair in edges:
                left += (a, b)
            else:
                edges.add(pair)
        free = left
    return sorted(edges)


def scale_free(n: int, *, links: int = 2, seed: int = 0) -> Edges:
    """Each new node joins `links` others, well-connected ones more likely, but none with 200 links or more.

    After Barabasi and Albert, "Emergence of scaling in random networks", Science 286 (1999).
    """
    _check(n)
    links = whole(links, "links", 1, error=CjdnsMisuseError)
    random = _generator(seed)
    ends: list[int] = [0]
    degrees = [0] * n
    edges: set[tuple[int, int]] = set()
    for new in range(1, n):
        wanted = min(links, new)
        chosen: set[int] = set()
        while len(chosen) < wanted:
            other = ends[random.randrange(len(ends))]
            if degrees[other] >= 200:
                other = random.randrange(new)
            chosen.add(other)
        for other in sorted(chosen):
            edges.add((other, new))
            degrees[other] += 1
            degrees[new] += 1
            ends += (other, new)
    return sorted(edges)


def geometric(n: int, *, degree: float = 6.0, seed: int = 0) -> Edges:
    """Nodes at random places of a square, joined where they are near: an ad-hoc radio network.

    The range is such that a node has `degree` neighbours in the mean; pieces that are left over are joined to the next
    node by number.
    """
    _check(n)
    _real(degree, "degree", 1e-3, 1e6)
    random = _generator(seed)
    places = [(random.random(), random.random()) for _ in range(n)]
    reach = math.sqrt(degree / (math.pi * n))
    cells: dict[tuple[int, int], list[int]] = {}
    for i, (x, y) in enumerate(places):
        cells.setdefault((int(x / reach), int(y / reach)), []).append(i)
    edges: set[tuple[int, int]] = set()
    for (cx, cy), inside in cells.items():
        near = [j for dx in (-1, 0, 1) for dy in (-1, 0, 1) for j in cells.get((cx + dx, cy + dy), ())]
        edges |= {(i, j) for i in inside for j in near if i < j and math.dist(places[i], places[j]) <= reach}
    return sorted(edges | _joined(n, edges))


def _joined(n: int, edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the edges that are missing for the network to be connected."""
    root = list(range(n))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b in edges:
        root[find(a)] = find(b)
    added = set()
    for i in range(n - 1):
        if find(i) != find(i + 1):
            root[find(i)] = find(i + 1)
            added.add((i, i + 1))
    return added


SHAPES: dict[str, Callable[..., Edges]] = {
    "line": line,
    "ring": ring,
    "regular": regular,
    "star": star,
    "tree": tree,
    "small_world": small_world,
    "scale_free": scale_free,
    "geometric": geometric,
}
"""Every shape by name."""
