# SPDX-License-Identifier: Apache-2.0
"""What a simulated network measured, as tables that numpy, pandas and others take as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing._checks import check_type
from prestocloud_sec.cjdns.routing.search import Faults, Search, Step
from prestocloud_sec.cjdns.switch import RouteLabel

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from prestocloud_sec.cjdns.simulator.fabric import Fabric
    from prestocloud_sec.cjdns.simulator.node import SimulatedNode

__all__ = ["NODE_COLUMNS", "SEARCH_COLUMNS", "Metrics", "SearchRecord"]


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """One search that is over.

    Attributes
    ----------
    node : int
        Who searched.
    target : Address
    began, ended : float
        Simulated seconds.
    found : bool
        Whether the target answered.
    label : RouteLabel or None
        The route by which it did.
    hops : int
        Links on that route; -1 where not found.
    steps : tuple of Step
        Whom it asked, in order.
    faults : Faults
        What it was told and discarded.
    """

    node: int
    target: Address
    began: float
    ended: float
    found: bool
    label: RouteLabel | None
    hops: int
    steps: tuple[Step, ...]
    faults: Faults

    def __post_init__(self) -> None:
        check_type(self.target, Address, "SearchRecord.target")
        check_type(self.steps, tuple, "SearchRecord.steps")
        check_type(self.faults, Faults, "SearchRecord.faults")

    @classmethod
    def of(cls, node: int, search: Search, began: float, ended: float, hops: int) -> SearchRecord:
        """Make the record of a search."""
        check_type(search, Search, "search")
        found = search.found
        return cls(
            node,
            search.target,
            began,
            ended,
            found is not None,
            None if found is None else found.label,
            hops,
            tuple(search.steps),
            search.faults,
        )

    @property
    def queries(self) -> int:
        """Questions sent."""
        return len(self.steps)

    @property
    def circled(self) -> bool:
        """Whether it asked anyone twice by one route, or asked a node that is no closer than whoever named it."""
        places = [(step.address, step.label) for step in self.steps]
        point = self.target.metric
        return len(set(places)) != len(places) or any(
            step.source is not None and step.distance >= step.source.metric ^ point for step in self.steps
        )


SEARCH_COLUMNS = np.dtype(
    [
        ("node", np.int32),
        ("found", np.bool_),
        ("queries", np.int32),
        ("timeouts", np.int32),
        ("seconds", np.float64),
        ("hops", np.int32),
        ("shortest", np.int32),
        ("stretch", np.float64),
        ("circled", np.bool_),
        ("lies", np.int32),
    ]
)
"""A row for a search: who; whether found; questions; those not answered; simulated seconds; links on the route found
(-1: none); fewest links there are now (-1: no way); the quotient of the two (nan where there is none); whether it
circled; lies it was told and discarded."""

NODE_COLUMNS = np.dtype(
    [
        ("node", np.int32),
        ("alive", np.bool_),
        ("peers", np.int32),
        ("table", np.int32),
        ("messages", np.int64),
        ("bytes", np.int64),
    ]
)
"""A row for a node: number; whether it is there; its links; nodes in its table (-1: of a warm network, and not met with
yet); messages and bytes it sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Metrics:
    """What a network measured so far.

    Attributes
    ----------
    searches : structured array of SEARCH_COLUMNS
    nodes : structured array of NODE_COLUMNS
    """

    searches: NDArray[Any]
    nodes: NDArray[Any]

    def __post_init__(self) -> None:
        for name, array, columns in (("searches", self.searches, SEARCH_COLUMNS), ("nodes", self.nodes, NODE_COLUMNS)):
            if not isinstance(array, np.ndarray) or array.dtype != columns or array.ndim != 1:
                raise CjdnsMisuseError("wrong array", where=f"Metrics.{name}", expected="one dimension of its columns")

    @property
    def success(self) -> float:
        """The share of searches that found their target; nan without searches."""
        return float(self.searches["found"].mean()) if len(self.searches) else float("nan")

    def __repr__(self) -> str:
        return f"Metrics({len(self.searches)} searches, {self.success:.1%} found, {len(self.nodes)} nodes)"

    def _repr_html_(self) -> str:
        """Show the means of both tables."""
        rows = [(f"searches: {name}", self.searches[name]) for name in ("found", "queries", "hops", "stretch", "lies")]
        rows[2] = ("searches: hops", self.searches["hops"][self.searches["hops"] >= 0])  # -1: nothing was found
        rows += [(f"nodes: {name}", self.nodes[name]) for name in ("peers", "table", "messages", "bytes")]
        body = "".join(
            f"<tr><td>{name}</td><td>{_mean(column):.3f}</td><td>{_largest(column):.3f}</td></tr>"
            for name, column in rows
        )
        return f"<table><thead><tr><th></th><th>mean</th><th>largest</th></tr></thead><tbody>{body}</tbody></table>"


def _finite(column: NDArray[Any]) -> NDArray[np.float64]:
    numbers = column.astype(np.float64)
    return numbers[np.isfinite(numbers)]


def _mean(column: NDArray[Any]) -> float:
    numbers = _finite(column)
    return float(numbers.mean()) if len(numbers) else float("nan")


def _largest(column: NDArray[Any]) -> float:
    numbers = _finite(column)
    return float(numbers.max()) if len(numbers) else float("nan")


def tables(nodes: Sequence[SimulatedNode], records: Iterable[SearchRecord], fabric: Fabric) -> Metrics:
    """Make the tables. The fewest links to a target are counted for each node that searched, so this takes a while."""
    numbers = {node.address: node.number for node in nodes}
    shortest: dict[int, list[int]] = {}
    rows = []
    for record in records:
        if record.node not in shortest:
            shortest[record.node] = fabric.distances(record.node)
        target = numbers.get(record.target)
        best = -1 if target is None else shortest[record.node][target]
        rows.append(
            (
                record.node,
                record.found,
                record.queries,
                sum(step.outcome == "timeout" for step in record.steps),
                record.ended - record.began,
                record.hops,
                best,
                record.hops / best if record.hops > 0 and best > 0 else float("nan"),
                record.circled,
                record.faults.lies(),
            )
        )
    return Metrics(
        np.array(rows, SEARCH_COLUMNS),
        np.array(
            [
                (
                    node.number,
                    node.alive,
                    len(fabric.peers(node.number)),
                    len(node.router.store) if node.made else -1,
                    node.messages_sent,
                    node.bytes_sent,
                )
                for node in nodes
            ],
            NODE_COLUMNS,
        ),
    )
