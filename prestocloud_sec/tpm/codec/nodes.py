# SPDX-License-Identifier: Apache-2.0
"""Fields where they stand in the bytes: the nodes of a tree.

Offsets are computed from the value, which is as good as reading them, because an encoding is exact both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Kind, Nested, Scalar, layout_of
from prestocloud_sec.tpm.codec.text import value_text
from prestocloud_sec.tpm.spec.declare import Attributes, Declared, Structure

__all__ = ["Node", "group", "inside", "node_of", "number_text", "plain"]


class Node:
    """One field where it stands in the bytes.

    Attributes
    ----------
    name : str
        Its name; ``[0]`` for an element of a list.
    type : str
        Its type.
    offset : int
        Where it starts, in bytes from the start of the message.
    size : int
        How many bytes it takes up, its size or number of elements in front included.
    value : object
        What it holds.
    kind : Kind or None
        What it is on the wire; None for a part of the message rather than a field.
    secret : bool
        Whether the text leaves out what the value is.
    children : tuple of Node
        The fields below it.
    """

    __slots__ = ("_words", "children", "kind", "name", "offset", "secret", "size", "type", "value")

    def __init__(
        self,
        name: str,
        type: str,
        offset: int,
        size: int,
        value: Any,
        words: str | None = None,
        secret: bool = False,
        children: tuple[Node, ...] = (),
        kind: Kind | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.offset = offset
        self.size = size
        self.value = value
        self._words = words
        self.secret = secret
        self.children = children
        self.kind = kind

    @property
    def text(self) -> str:
        """What it holds, in words; empty where the fields below it say it."""
        if self._words is not None:
            return self._words
        if self.secret:
            return value_text(self.kind, self.value, secret=True)
        if isinstance(self.value, bytes):
            return self.value.hex() or "(empty)"
        return number_text(self.value, self.kind)

    @property
    def exposed(self) -> str:
        """The text with its secret."""
        if not self.secret:
            return self.text
        if isinstance(self.value, bytes):
            return self.value.hex() or "(empty)"
        return self.value.encode().hex() if isinstance(self.value, Structure) else self.text

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """Yield the field and all below it, with how deep each is."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def __repr__(self) -> str:
        return f"<{self.offset}: {self.name}: {self.type} = {self.text}>"


def group(name: str, at: int, children: Iterator[Node]) -> Node:
    """Return a node with others below it."""
    inner = tuple(children)
    return Node(name, "", at, sum(child.size for child in inner), None, "", children=inner)


def inside(owner: Declared, at: int) -> tuple[Node, ...]:
    """Return the fields of a structure, or the parameters of a command."""
    nodes = []
    for field in layout_of(type(owner)).fields:
        node = node_of(field.name, field.text, field.kind, getattr(owner, field.name), at, owner, secret=field.secret)
        nodes.append(node)
        at += node.size
    return tuple(nodes)


def node_of(
    name: str, text: str, kind: Kind | None, value: Any, at: int, owner: Declared | None, *, secret: bool
) -> Node:
    """Return the node of one value.

    Parameters
    ----------
    name, text : str
        What it is called, and its type.
    kind : Kind or None
        What it is on the wire; None for nothing.
    value : object
        What it holds.
    at : int
        Where it starts.
    owner : Declared or None
        The structure around it, where a union finds its selector.
    secret : bool
        Whether its text is to leave out what it holds.
    """
    match kind:
        case Scalar():
            return Node(name, text, at, kind.size, value, kind=kind)
        case Blob():
            size = (2 if kind.sized.code == "H" else 1) + len(value)
            return Node(name, text, at, size, value, None, secret or kind.secret, kind=kind)
        case Digest():
            return Node(name, text, at, len(value), value, None, secret, kind=kind)
        case Nested():
            inner = inside(value, at)
            return _above(name, text, at, 0, value, inner, secret=secret)
        case Box():
            inner = inside(value, at + 2) if value is not None else ()
            return _above(name, text, at, 2, value, inner, secret=secret, empty="(absent)")
        case Array():
            nodes, place = [], at + 4
            for index, element in enumerate(value):
                nodes.append(node_of(f"[{index}]", "", kind.element, element, place, owner, secret=secret))
                place += nodes[-1].size
            return Node(name, text, at, place - at, value, "" if nodes else "(none)", secret, tuple(nodes))
        case Choice() if owner is not None:
            selector = int(getattr(owner, kind.selector))
            member = kind.kinds.get(selector)
            chosen = kind.union.by_selector.get(selector)
            label = f"{text}.{chosen.name}" if chosen is not None else text
            return node_of(name, label, member, value, at, owner, secret=secret)
        case _:
            return Node(name, text, at, 0, None, "(nothing)")


def _above(
    name: str, text: str, at: int, head: int, value: Any, inner: tuple[Node, ...], *, secret: bool, empty: str = ""
) -> Node:
    """Return the node of a structure; a secret one shows nothing of its fields."""
    size = head
    for node in inner:
        size += node.size
    if secret:
        return Node(name, text, at, size, value, "<secret>", True)
    return Node(name, text, at, size, value, "" if inner else empty, False, inner)


def number_text(value: int, kind: Kind | None) -> str:
    """Return a number by name and in hexadecimal, as far as it has a name."""
    digits = f"0x{int(value):0{2 * kind.size}x}" if isinstance(kind, Scalar) and value >= 0 else str(int(value))
    if isinstance(value, Attributes):
        return f"{value.text()} ({digits})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    name = getattr(value, "name", None)
    if name is not None:
        return f"{name} ({digits})"
    return digits if isinstance(kind, Scalar) and (kind.is_handle or kind.kind is not int) else str(int(value))


def plain(node: Node, *, secrets: bool) -> Any:
    """Return a node as JSON has it."""
    if node.secret and not secrets:
        return None
    if node.children and node.children[0].name == "[0]":
        return [plain(child, secrets=secrets) for child in node.children]
    if node.children:
        return {child.name.rstrip("_"): plain(child, secrets=secrets) for child in node.children}
    value = node.value
    if isinstance(value, tuple):
        return []
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Declared):
        return node.exposed if node.secret else {}
    if node.name in ("handles", "parameters"):
        return {}
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
