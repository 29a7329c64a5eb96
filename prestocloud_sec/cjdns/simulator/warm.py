# SPDX-License-Identifier: Apache-2.0
"""Tables as they are after a long time, without waiting for it.

A network of ten thousand nodes takes hours of simulated maintenance, and of real time, to fill its tables. What a
table then holds is known: the direct peers, and a few nodes of every bucket, the more surely the closer the bucket is
to the node itself (Maymounkov, Mazieres, "Kademlia", 2002, section 2.2). `sample` makes that directly: from every node
it visits the network breadth first and takes the first nodes of each bucket that it meets, with the route by which it
met them. So all nodes of the closest buckets are there, and of the far ones those that are a few links away, as the
cost of paths makes a real table prefer them.

This is a shortcut past the *maintenance* of tables only. Routes are real, and searches in such a network are made of
messages like all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing._checks import check_callable, check_type
from prestocloud_sec.cjdns.routing.metric import packed_bytes, rotate
from prestocloud_sec.cjdns.simulator.fabric import Fabric
from prestocloud_sec.cjdns.switch import V3X5X8
from prestocloud_sec.wire import items_of, result_of, whole

__all__ = ["Tables", "sample"]

_MOST_PER_BUCKET = 64

_CHUNK = 256
_ROWS = 256  # most nodes taken for one table


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """What every node knows.

    Attributes
    ----------
    counts : int64[n]
        How many nodes each one knows.
    nodes, labels, forms : int32[n, 256], uint64[n, 256], uint8[n, 256]
        Which, in the order of the links in between; the route to each; the form of the director that leads back.
    """

    counts: NDArray[np.int64]
    nodes: NDArray[np.int32]
    labels: NDArray[np.uint64]
    forms: NDArray[np.uint8]

    def of(self, node: int) -> list[tuple[int, int, int]]:
        """Return (node, label, inverse form) for all that a node knows; CjdnsMisuseError if there is no such node."""
        node = whole(node, "node", 0, len(self.counts) - 1, error=CjdnsMisuseError)
        count = int(self.counts[node])
        columns = (self.nodes[node, :count], self.labels[node, :count], self.forms[node, :count])
        return list(zip(*(column.tolist() for column in columns), strict=True))


def _directors() -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return what `warm_kernel.sample_tables` takes as `directors`, `widths` and `narrowest`."""
    numbers = V3X5X8.numbers
    widths = np.array(numbers.widths, np.int64)
    narrowest = np.array([numbers.widths.index(numbers.width_for(i)) for i in range(numbers.count)], np.int64)
    directors = np.full((numbers.count, len(widths)), -1, np.int32)
    for number in range(numbers.count):
        for form in range(int(narrowest[number]), len(widths)):
            directors[number, form] = numbers.compress(number, int(widths[form]))
    return directors, widths, narrowest


def sample(
    fabric: Fabric,
    addresses: Sequence[Address],
    *,
    per_bucket: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Tables:
    """Fill tables.

    Parameters
    ----------
    fabric : Fabric
        The links.
    addresses : sequence of Address
        That of every node, by number.
    per_bucket : int
        Nodes of each bucket in one table.
    progress : callable, optional
        Called with the number of nodes done and their total.

    Returns
    -------
    Tables

    Raises
    ------
    CjdnsMisuseError
        If there are no nodes, `addresses` has not one for each, or `per_bucket` is not from 1 to 64.
    """
    check_type(fabric, Fabric, "fabric")
    given = items_of(addresses, "addresses", "one for each node", error=CjdnsMisuseError)
    packed = b"".join(packed_bytes(address, "addresses") for address in given)
    count = len(fabric.switches)
    if not count or len(packed) != 16 * count:
        raise CjdnsMisuseError(
            f"{len(packed) // 16} addresses for {count} nodes", where="warm", expected="one for each, and one or more"
        )
    per_bucket = whole(per_bucket, "per_bucket", 1, _MOST_PER_BUCKET, error=CjdnsMisuseError)
    if progress is not None:
        check_callable(progress, "progress")
    from prestocloud_sec.cjdns.simulator.warm_kernel import sample_tables

    ends = [fabric.ends(node) for node in range(count)]
    starts = np.zeros(count + 1, np.int64)
    np.cumsum([len(each) for each in ends], out=starts[1:])
    flat = np.array([end for each in ends for end in each], np.int32).reshape(-1, 3)
    metrics = rotate(np.frombuffer(packed, np.uint8).reshape(-1, 16))
    tables = Tables(
        np.zeros(count, np.int64),
        np.zeros((count, _ROWS), np.int32),
        np.zeros((count, _ROWS), np.uint64),
        np.zeros((count, _ROWS), np.uint8),
    )
    links = starts, np.ascontiguousarray(flat[:, 0]), flat[:, 1].astype(np.int16), flat[:, 2].astype(np.int16)
    directors = _directors()
    for first in range(0, count, _CHUNK):
        rows = slice(first, first + _CHUNK)
        sample_tables(
            first,
            *links,
            metrics,
            *directors,
            per_bucket,
            tables.counts[rows],
            tables.nodes[rows],
            tables.labels[rows],
            tables.forms[rows],
        )
        if progress is not None:
            done = min(first + _CHUNK, count)
            result_of(progress, done, count, name="progress", expected="a function of two", error=CjdnsMisuseError)
    return tables
