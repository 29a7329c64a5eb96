# SPDX-License-Identifier: Apache-2.0
"""Types as C would declare them, on one line, however they refer to each other.

What is written is bounded: types that lie too deep, and parts that are too many, are shown as ``...``.
"""

from __future__ import annotations

from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.image import Image
from prestocloud_sec.bpf.object.kinds import MODIFIERS, Kind, Linkage
from prestocloud_sec.bpf.object.types import Type

__all__ = ["LONGEST_NAME", "description"]


_LONGEST_TEXT = 4000
LONGEST_NAME = 80
"""Characters of a name that are shown."""
_MOST_TYPES = 200
"""Types that a description goes through, and parts of any one of them that it shows."""
_DEEPEST = 24
_QUALIFIERS = {Kind.VOLATILE: "volatile", Kind.CONST: "const", Kind.RESTRICT: "restrict"}
_TAGS = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
_LINKAGES = {Linkage.STATIC: "static ", Linkage.GLOBAL: "", Linkage.EXTERN: "extern "}


def description(image: Image, id: int) -> str:
    """Return a type as C would declare it; ``...`` stands for what is too much to show."""
    text = _Text(image).of(id)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


class _Text:
    """Writes C; what is left of the number of types that it may look at bounds its work."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._left = _MOST_TYPES

    def of(self, id: int) -> str:
        """Return what a type, or what is none in C, looks like where it is declared."""
        match self._image.type_at(id, 0):
            case t.Function(name, prototype, linkage):
                return _LINKAGES[linkage] + self._declare(prototype, _cut(name), 1)
            case t.Struct(name) | t.Union(name) | t.Enum(name) | t.Enum64(name) as body:
                return f"{_TAGS[body.kind]} {_cut(name)}{' ' * bool(name)}{self._body(id, 1)}"
            case t.Typedef(name, type):
                return f"typedef {self._declare(type, _cut(name), 1)}"
            case t.Variable(name, type, linkage):
                return _LINKAGES[linkage] + self._declare(type, _cut(name), 1)
            case t.Section(name, size):
                return f"section {_cut(name)} of {size} bytes with {self._image.count_at(id)} variables"
            case t.DeclTag(value, type, component):
                place = "" if component < 0 else f"component {component} of "
                return f'"{_cut(value)}" on {place}{self._declare(type, "", 1)}'
            case _:
                return self._declare(id, "", 0)

    def _declare(self, id: int, name: str, depth: int) -> str:
        """Return the declaration of something of a type; `name` is what is declared, with what is around it so far."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return _beside("...", name)
        takes = self._image.kind_at(id) is Kind.FUNC_PROTO
        match self._image.type_at(id, _MOST_TYPES * takes):
            case t.Pointer(type):
                if self._image.kind_at(self._unqualified(type)) in {Kind.ARRAY, Kind.FUNC_PROTO}:
                    return self._declare(type, f"(*{name})", depth + 1)
                return self._declare(type, f"*{name}", depth + 1)
            case t.Array(element, count):
                return self._declare(element, f"{name}[{count}]", depth + 1)
            case t.Prototype(result, parameters):
                listed = self._listed([(p.name, p.type, "") for p in parameters], id, depth)
                return self._declare(result, f"{name}({', '.join(listed) or 'void'})", depth + 1)
            case t.Volatile(type) | t.Const(type) | t.Restrict(type) | t.TypeTag(_, type) as modifier:
                word = _QUALIFIERS.get(modifier.kind) or f'__attribute__((btf_type_tag("{self._name(id)}")))'
                if self._image.kind_at(self._unqualified(type)) is Kind.PTR:
                    return self._declare(type, _beside(word, name), depth + 1)
                return f"{word} {self._declare(type, name, depth + 1)}"
            case other:
                return _beside(self._base(other, id, depth), name)

    def _base(self, type: Type, id: int, depth: int) -> str:
        match type:
            case t.Void():
                return "void"
            case t.Struct(name) | t.Union(name) | t.Enum(name) | t.Enum64(name):
                return f"{_TAGS[type.kind]} {_cut(name) if name else self._body(id, depth + 1)}"
            case t.Forward(name, union):
                return f"{'union' if union else 'struct'} {_cut(name)}"
            case _:
                return self._name(id) or "..."

    def _body(self, id: int, depth: int) -> str:
        match self._image.type_at(id, _MOST_TYPES):
            case t.Struct(_, _, members) | t.Union(_, _, members):
                fields = [(m.name, m.type, f" : {m.bits}" * bool(m.bits)) for m in members]
                parts = [f"{text};" for text in self._listed(fields, id, depth)]
                return f"{{ {' '.join(parts)} }}" if parts else "{ }"
            case t.Enum(_, _, _, values) | t.Enum64(_, _, _, values):
                shown_values = [f"{_cut(v.name)} = {v.value}" for v in values[: max(self._left, 0)]]
                self._left -= len(values)
                more = ["..."] * (len(shown_values) < self._image.count_at(id))
                return f"{{ {', '.join(shown_values + more)} }}" if values else "{ }"
            case _:
                return "..."

    def _listed(self, parts: list[tuple[str, int, str]], id: int, depth: int) -> list[str]:
        """Return the declarations of members or parameters, and ``...`` for those that are too many."""
        listed = []
        for name, type, behind in parts:
            if self._left <= 0:
                break
            further = not (name or type)
            listed.append("..." if further else self._declare(type, _cut(name), depth + 1) + behind)
        if len(listed) < self._image.count_at(id):
            listed.append("...")
        return listed

    def _unqualified(self, id: int) -> int:
        """Return what a type is behind its modifiers; typedefs stay, for C names them."""
        return next((at for at in self._image.behind(id) if self._image.kind_at(at) not in MODIFIERS), id)

    def _name(self, id: int) -> str:
        return _cut(self._image.name_at(id))


def _beside(base: str, name: str) -> str:
    return f"{base} {name}" if name else base


def _cut(name: str) -> str:
    """Return a name as a terminal can show it."""
    text = name if name.isprintable() else ascii(name)[1:-1]
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."
