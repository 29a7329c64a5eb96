# SPDX-License-Identifier: Apache-2.0
"""What the node store shows of its nodes and links: values, made when asked for and then fixed."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._linkgraph import Entry, LinkGraph
from prestocloud_sec.cjdns.switch.label import RouteLabel
from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["KnownLink", "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A known node, as it was when it was asked for.

    Attributes
    ----------
    address : Address
    key : PublicKey or None
        Its permanent key, where known.
    label : RouteLabel
        The best path from us to it.
    version : int
        The protocol version it said it speaks, 0 if it did not.
    scheme : EncodingScheme
        How its switch writes interfaces into labels.
    cost : int
        The cost of the path: the sum over its links of 1024 .. 2**32 - 1.
    """

    address: Address
    key: PublicKey | None
    label: RouteLabel
    version: int
    scheme: EncodingScheme
    cost: int


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A known way from one node to another, as it was when it was asked for.

    Attributes
    ----------
    parent, child : Address
        Where it begins and ends.
    label : RouteLabel
        The route from `parent` to `child`, the first director canonical in the scheme of `parent`.
    inverse_form : int
        The form, in the scheme of `child`, of the director that leads back.
    cost : int
        1024 .. 2**32 - 1.
    """

    parent: Address
    child: Address
    label: RouteLabel
    inverse_form: int
    cost: int


def view(entry: Entry) -> Node:
    """Return a node that a path leads to, as others see it; the same object until something changes."""
    seen = entry.view
    if not isinstance(seen, Node):
        label = RouteLabel(entry.label)
        seen = entry.view = Node(entry.address, entry.key, label, entry.version, entry.scheme, entry.cost)
    return seen


def table(caption: str, graph: LinkGraph, entries: Iterable[Entry]) -> str:
    """Return nodes as a table in HTML."""
    names = ("address", "label", "cost", "bucket", "version", "reply time", "peer")
    rows = []
    for entry in entries:
        latency = "" if entry.latency is None else f"{entry.latency * 1000:.0f} ms"
        peer = "yes" if graph.is_peer(entry) else ""
        cells = (entry.address, RouteLabel(entry.label), entry.cost, entry.bucket, entry.version or "", latency, peer)
        rows.append("".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
