# SPDX-License-Identifier: Apache-2.0
"""Declared values as people read them: on one line, and as a table in a notebook; secrets are told by their length."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Field, Kind, Nested, Scalar, layout_of
from prestocloud_sec.tpm.spec.declare import Attributes, Declared

__all__ = ["html_of", "literal", "rows_of", "value_text"]


def value_text(kind: Kind | None, value: Any, *, secret: bool = False) -> str:
    """Return one value on one line; a secret one as its size."""
    if secret and value is not None:
        return f"<{len(value)} secret bytes>" if isinstance(value, bytes) else "<secret>"
    match value:
        case bytes():
            return f"bytes.fromhex({value.hex()!r})" if value else "b''"
        case tuple():
            element = kind.element if isinstance(kind, Array) else None
            inner = ", ".join(value_text(element, v) for v in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case Attributes():
            return repr(value)
        case Declared() | bool() | None:
            return repr(value)
        case int():
            name = getattr(value, "name", None)
            if name is not None:
                return f"{type(value).__name__}.{name}"
            return f"0x{value:08x}" if isinstance(kind, Scalar) and kind.is_handle else int.__repr__(value)
    return repr(value)


def _kind_of(field: Field, owner: Declared) -> Kind | None:
    """Return the kind of a field's value, for a union that of its member."""
    kind = field.kind
    if isinstance(kind, Choice):
        return kind.kinds.get(int(getattr(owner, kind.selector)))
    return kind


def literal(value: Declared) -> str:
    """Return the `repr` of a structure, command or response: the call that makes it, but for secrets."""
    layout = layout_of(type(value)) if "__match_args__" in type(value).__dict__ else None
    if layout is None:
        return object.__repr__(value)
    inner = ", ".join(
        f"{f.name}={value_text(_kind_of(f, value), getattr(value, f.name), secret=_is_secret(f, value))}"
        for f in layout.all
    )
    return f"{layout.name}({inner})"


def _is_secret(field: Field, owner: Declared) -> bool:
    kind = _kind_of(field, owner)
    return field.secret or (isinstance(kind, Blob) and kind.secret)


def rows_of(value: Declared, depth: int = 0) -> Iterator[tuple[int, str, str, str]]:
    """Yield depth, name, type and text of every field, nested ones below the field that holds them."""
    for field in layout_of(type(value)).all:
        inner, kind = getattr(value, field.name), _kind_of(field, value)
        yield from _rows(field.name, field.text, kind, inner, depth, secret=_is_secret(field, value))


def _rows(
    name: str, text: str, kind: Kind | None, value: Any, depth: int, *, secret: bool
) -> Iterator[tuple[int, str, str, str]]:
    match kind:
        case Nested() | Box() if isinstance(value, Declared) and not secret:
            yield depth, name, type(value).__name__, ""
            yield from rows_of(value, depth + 1)
        case Array() if not secret:
            yield depth, name, text, f"{len(value)} elements"
            for index, element in enumerate(value):
                yield from _rows(f"[{index}]", "", kind.element, element, depth + 1, secret=False)
        case Blob() | Digest() if isinstance(value, bytes) and not secret:
            yield depth, name, text, value.hex() or "(empty)"
        case _:
            yield depth, name, text, value_text(kind, value, secret=secret)


def html_of(value: Declared) -> str:
    """Return a table of all fields for a notebook."""
    rows = "".join(
        f"<tr><td style='text-align:left;padding-left:{1 + 2 * depth}em'>{escape(name)}</td>"
        f"<td style='text-align:left'><code>{escape(kind)}</code></td>"
        f"<td style='text-align:left;word-break:break-all'><code>{escape(text)}</code></td></tr>"
        for depth, name, kind, text in rows_of(value)
    )
    title = escape(layout_of(type(value)).name)
    return f"<table><caption>{title}</caption><tr><th>field</th><th>type</th><th>value</th></tr>{rows}</table>"
