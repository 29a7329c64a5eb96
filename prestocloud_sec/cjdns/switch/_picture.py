# SPDX-License-Identifier: Apache-2.0
"""How labels and schemes look in a notebook: small drawings without a drawing library.

All text in them is made of numbers, so nothing needs escaping. Colours are left to the page except for the frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.switch.label import Hop, RouteLabel
    from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["path_svg", "scheme_html"]

_BOX, _GAP, _HEIGHT = 92, 26, 62


def path_svg(label: RouteLabel, hops: Sequence[Hop]) -> str:
    """Draw a path as an SVG document: one box for each switch with the interface it picks, then where the path ends.

    Under each interface number stand the bits of its director, most significant first, as they stand in the label.
    """
    boxes = [(f"interface {hop.interface}", f"{hop.director:0{hop.width}b}") for hop in hops]
    boxes.append(("router", "1"))
    width = len(boxes) * (_BOX + _GAP) - _GAP + 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}" '
        f'role="img" font-family="sans-serif" font-size="12" text-anchor="middle" fill="currentColor">',
        f"<title>{label}</title>",
    ]
    for index, (title, bits) in enumerate(boxes):
        left = 1 + index * (_BOX + _GAP)
        middle = left + _BOX // 2
        dash = ' stroke-dasharray="4 3"' if index == len(hops) else ""
        parts.append(
            f'<rect x="{left}" y="17" width="{_BOX}" height="44" rx="6" fill="none" stroke="#4a7ba6"{dash}/>'
            f'<text x="{middle}" y="35">{title}</text>'
            f'<text x="{middle}" y="53" font-family="monospace" fill="#4a7ba6">{bits}</text>'
        )
        if index < len(hops):
            end = left + _BOX + _GAP
            parts.append(f'<path d="M{end - _GAP} 39H{end - 3}m-5 -4l5 4l-5 4" fill="none" stroke="#4a7ba6"/>')
    parts.append(f'<text x="1" y="11" text-anchor="start" font-family="monospace">{label}</text></svg>')
    return "".join(parts)


def scheme_html(scheme: EncodingScheme) -> str:
    """Show a scheme as a table: for each form its width, its director's bits and the interface numbers it can name."""
    rows = []
    for index, form in enumerate(scheme.forms):
        prefix = f"{form.prefix:0{form.prefix_length}b}" if form.prefix_length else ""
        # All rules of numbering permute or shift the lowest numbers only, so the range begins at 0 in every form.
        most = scheme.numbers.number_of((1 << form.bit_count) - 1, form) if form.bit_count > 1 else 1
        numbers = f"0&ndash;{most}" if index == 0 or not scheme.is_358 else f"0, 2&ndash;{most}"
        rows.append(
            f"<tr><td>{index}</td><td>{form.width}</td><td><code>{'x' * form.bit_count}<b>{prefix}</b></code></td>"
            f"<td>{numbers}</td></tr>"
        )
    head = "<tr><th>form</th><th>bits</th><th>director</th><th>interfaces</th></tr>"
    return f"<table><caption><code>{scheme!r}</code></caption>{head}{''.join(rows)}</table>"
