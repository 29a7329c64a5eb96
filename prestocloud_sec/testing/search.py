# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for the DHT: bencoded values and documents, messages between routers, shapes of networks."""

from __future__ import annotations

from hypothesis import strategies as st

from prestocloud_sec.cjdns.keys import PublicKey
from prestocloud_sec.cjdns.routing import bencode
from prestocloud_sec.cjdns.routing.messages import (
    FIND_NODE,
    GET_PEERS,
    NEXT_HOP,
    PING,
    REPLY_NODES,
    NodeEntry,
    Query,
    Reply,
)
from prestocloud_sec.cjdns.simulator import topology
from prestocloud_sec.cjdns.switch import F4, F8, V3X5X8, V4X8

__all__ = ["bencode_documents", "bencode_values", "messages", "node_entries", "queries", "replies", "topologies"]

_SCHEMES = (V3X5X8, V4X8, F4, F8)
_KNOWN = frozenset((b"q", b"tar", b"txid", b"p", b"ei", b"es", b"n", b"np", b"dnd", b"sq"))


def bencode_values(*, max_leaves: int = 20) -> st.SearchStrategy[bencode.Value]:
    """Return a strategy of values that bencoding can hold, nested a few levels deep."""
    integers = st.integers(-(1 << 63), (1 << 63) - 1)
    return st.recursive(
        integers | st.binary(max_size=40),
        lambda inner: (
            st.lists(inner, max_size=5).map(tuple) | st.dictionaries(st.binary(max_size=8), inner, max_size=5)
        ),
        max_leaves=max_leaves,
    )


@st.composite
def bencode_documents(draw: st.DrawFn) -> bytes:
    """Draw bencoded bytes in an unusual spelling: leading zeros anywhere, bytes after the end."""
    value = draw(bencode_values())
    widths = draw(st.dictionaries(st.integers(0, 12), st.integers(1, bencode.MAX_DIGITS), max_size=4))
    trailing = draw(st.binary(max_size=4))
    return bencode.encode(value, bencode.Layout(tuple(sorted(widths.items())), trailing))


def node_entries() -> st.SearchStrategy[NodeEntry]:
    """Return a strategy of entries of a reply: any key, any label of 64 bits, versions of one byte mostly."""
    return st.builds(
        NodeEntry,
        key=st.binary(min_size=32, max_size=32).map(PublicKey),
        label=st.integers(0, (1 << 64) - 1),
        version=st.integers(0, 255) | st.integers(0, (1 << 32) - 1),
    )


@st.composite
def _common(draw: st.DrawFn) -> dict[str, object]:
    scheme = draw(st.sampled_from(_SCHEMES))
    said = draw(st.booleans()) or scheme is not V3X5X8
    extra = draw(st.dictionaries(st.binary(min_size=1, max_size=6), bencode_values(max_leaves=3), max_size=2))
    return {
        "txid": draw(st.binary(max_size=32)),
        "version": draw(st.integers(0, 30) | st.integers(0, (1 << 32) - 1)),
        "scheme": scheme.serialize() if said else None,
        "form": draw(st.integers(0, len(scheme.forms) - 1)),
        "dnd": draw(st.none() | st.integers(0, 2)),
        "extra": tuple(sorted((key, value) for key, value in extra.items() if key not in _KNOWN)),
    }


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Draw a question of any kind, unknown ones too."""
    kind = draw(st.sampled_from((FIND_NODE, GET_PEERS, PING, NEXT_HOP)) | st.binary(min_size=1, max_size=4))
    address = st.binary(min_size=15, max_size=15).map(lambda tail: b"\xfc" + tail) | st.binary(min_size=16, max_size=16)
    label = st.binary(min_size=8, max_size=8)
    targets: dict[bytes, st.SearchStrategy[bytes | None]] = {
        FIND_NODE: address,
        NEXT_HOP: address,
        GET_PEERS: label | address,
    }
    target = draw(targets.get(kind, st.none()))
    return Query(kind=kind, target=target, **draw(_common()))  # type: ignore[arg-type]


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Draw an answer, without nodes or with up to a dozen."""
    nodes = draw(st.none() | st.lists(node_entries(), max_size=REPLY_NODES + 4).map(tuple))
    return Reply(nodes=nodes, **draw(_common()))  # type: ignore[arg-type]


def messages() -> st.SearchStrategy[Query | Reply]:
    """Return a strategy of messages between routers."""
    return queries() | replies()


@st.composite
def topologies(draw: st.DrawFn, *, max_nodes: int = 12) -> topology.Edges:
    """Draw the edges of a connected network of 3 to `max_nodes` nodes."""
    nodes = draw(st.integers(3, max_nodes))
    shape = draw(st.sampled_from(("line", "ring", "star", "tree", "small_world", "scale_free", "geometric")))
    if shape in ("small_world", "scale_free", "geometric"):
        return topology.SHAPES[shape](nodes, seed=draw(st.integers(0, 1000)))
    return topology.SHAPES[shape](nodes)
