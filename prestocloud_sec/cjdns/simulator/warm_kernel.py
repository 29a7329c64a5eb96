# SPDX-License-Identifier: Apache-2.0
"""The numba kernel behind `warm`: for many nodes at once, what a table has after a long time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec._jit import kernel
from prestocloud_sec.cjdns.switch.label import MAX_ROUTE_BITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["sample_tables"]


@kernel()
def sample_tables(
    first: int,
    starts: NDArray[np.int64],
    peers: NDArray[np.int32],
    interfaces: NDArray[np.int16],
    back_interfaces: NDArray[np.int16],
    metrics: NDArray[np.uint64],
    directors: NDArray[np.int32],
    widths: NDArray[np.int64],
    narrowest: NDArray[np.int64],
    per_bucket: int,
    counts: NDArray[np.int64],
    nodes: NDArray[np.int32],
    labels: NDArray[np.uint64],
    forms: NDArray[np.uint8],
) -> None:
    """Visit the network breadth first from each of ``first .. first + len(counts) - 1`` and sample what is met.

    Parameters
    ----------
    first : int
        The first node to do this for.
    starts : int64[n + 1]
        Where the links of each node begin in the next three arrays.
    peers, interfaces, back_interfaces : int32[m], int16[m], int16[m]
        The other end of a link, the interface of this end, that of the other.
    metrics : uint64[n, 2]
        Both words of every node's metric, the one that counts first at index 0.
    directors : int32[interfaces, forms]
        Every interface's director in every form, prefix included; -1 where it does not fit.
    widths : int64[forms]
        Bits of a director in each form.
    narrowest : int64[interfaces]
        The first form that holds an interface.
    per_bucket : int
        How many nodes of each bucket to take: those that are met first, so the ones with the fewest links in between.
    counts : int64[k]
        Output: how many nodes were taken.
    nodes, labels, forms : int32[k, c], uint64[k, c], uint8[k, c]
        Output: which, the route to each, and the form of the director that leads back at its end.
    """
    total = len(starts) - 1
    seen = np.full(total, -1, np.int64)
    queue = np.empty(total, np.int32)
    label_of = np.zeros(total, np.uint64)  # without the closing 1
    used = np.zeros(total, np.int64)  # bits of directors in it
    way_in = np.zeros(total, np.int64)  # form that the interface it is reached by needs
    taken = np.zeros(129, np.int64)
    one = np.uint64(1)
    for row in range(len(counts)):
        source = first + row
        taken[:] = 0
        found = 0
        head, tail = 0, 1
        queue[0] = source
        seen[source] = source
        label_of[source] = np.uint64(0)
        used[source] = 0
        way_in[source] = 0
        while head < tail:
            node = queue[head]
            head += 1
            if node != source:
                word = metrics[source, 0] ^ metrics[node, 0]
                bucket = 0
                if word == 0:
                    word = metrics[source, 1] ^ metrics[node, 1]
                    bucket = 64
                while bucket < 128 and not (word >> np.uint64(63)) & one:
                    word = word << one
                    bucket += 1
                if taken[bucket] < per_bucket and found < nodes.shape[1]:
                    taken[bucket] += 1
                    nodes[row, found] = node
                    labels[row, found] = label_of[node] | one << np.uint64(used[node])
                    forms[row, found] = way_in[node]
                    found += 1
            for at in range(starts[node], starts[node + 1]):
                peer = peers[at]
                if seen[peer] == source:
                    continue
                form = max(narrowest[interfaces[at]], way_in[node])
                width = widths[form]
                if used[node] + width > MAX_ROUTE_BITS:
                    continue
                seen[peer] = source
                director = np.uint64(directors[interfaces[at], form])
                label_of[peer] = label_of[node] | director << np.uint64(used[node])
                used[peer] = used[node] + width
                way_in[peer] = narrowest[back_interfaces[at]]
                queue[tail] = peer
                tail += 1
        counts[row] = found
