# SPDX-License-Identifier: Apache-2.0
"""Pictures of a simulated network for a notebook."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.simulator.simulator import Simulator

__all__ = ["MOST_DRAWN", "network_svg", "summary_html"]

MOST_DRAWN = 100
"""Nodes of the largest network that is drawn."""

_SIZE, _RADIUS = 480, 200


def network_svg(simulator: Simulator) -> str | None:
    """Draw the nodes on a circle, in the order of their metrics, with their links; None if they are too many.

    Neighbours on the circle are neighbours in address space; links show the network. A node's tooltip has its address.
    """
    nodes = sorted((node for node in simulator.nodes if node.alive), key=lambda node: node.address.metric)
    if not 0 < len(nodes) <= MOST_DRAWN:
        return None
    middle = _SIZE / 2
    places = {
        node.number: (
            middle + _RADIUS * math.sin(2 * math.pi * i / len(nodes)),
            middle - _RADIUS * math.cos(2 * math.pi * i / len(nodes)),
        )
        for i, node in enumerate(nodes)
    }
    lines = [
        f'<line x1="{places[link.a][0]:.1f}" y1="{places[link.a][1]:.1f}" '
        f'x2="{places[link.b][0]:.1f}" y2="{places[link.b][1]:.1f}" stroke="#888"/>'
        for link in simulator.fabric.links()
    ]
    dots = [
        f"<g><title>{node.number}: {html.escape(str(node.address))}</title>"
        f'<circle cx="{places[node.number][0]:.1f}" cy="{places[node.number][1]:.1f}" r="9" fill="#dbe9f6" '
        f'stroke="#246"/><text x="{places[node.number][0]:.1f}" y="{places[node.number][1] + 3:.1f}" '
        f'font-size="8" text-anchor="middle" font-family="sans-serif">{node.number}</text></g>'
        for node in nodes
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SIZE}" height="{_SIZE}" role="img" '
        f'aria-label="{len(nodes)} nodes, {len(lines)} links">{"".join(lines + dots)}</svg>'
    )


def summary_html(simulator: Simulator) -> str:
    """Say what is there and what happened, with the picture where there is one."""
    found = sum(record.found for record in simulator.records)
    rows = [
        ("seed", shown(simulator.seed)),
        ("nodes", len(simulator.alive())),
        ("links", len(simulator.fabric.links())),
        ("time", f"{simulator.now:.3f} s"),
        ("events", simulator.events),
        ("searches", f"{len(simulator.records)}, {found} found"),
        (
            "lost packets",
            ", ".join(f"{count} {html.escape(why)}" for why, count in sorted(simulator.lost.items())) or 0,
        ),
    ]
    body = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<table>{body}</table>{network_svg(simulator) or ''}"
