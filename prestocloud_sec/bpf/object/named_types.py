# SPDX-License-Identifier: Apache-2.0
"""The types that declarations name, each built once, with the sizes that their members need to be laid out.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``; ``kernel/bpf/btf.c`` (``btf_is_prog_ctx_type``).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple

from prestocloud_sec.bpf.object.btf import POINTER_SIZE, Btf
from prestocloud_sec.bpf.object.builder import BtfBuilder
from prestocloud_sec.bpf.object.types import Enum, Forward, Struct
from prestocloud_sec.bpf.object.words import CONTEXTS, INTEGER_NAMES, INTEGERS, Integer

__all__ = ["Known", "NamedTypes", "Tagged"]


class Known(NamedTuple):
    """A type that was declared: its id, its bytes (None where they are not known) and what it is aligned to."""

    id: int
    size: int | None
    alignment: int = 1


@dataclass(slots=True)
class Tagged:
    """What a name behind ``struct``, ``union`` or ``enum`` stands for, and which of these was before it at first."""

    word: str
    known: Known
    has_body: bool = False


class NamedTypes:
    """Types by their names in C.

    Attributes
    ----------
    builder : BtfBuilder
        What they are built with, and what is made of them.
    """

    def __init__(self) -> None:
        self.builder = BtfBuilder()
        self._tagged: dict[str, Tagged] = {}

    def integer(self, integer: Integer) -> Known:
        """Return an integer."""
        id = self.builder.int_(integer.name, integer.size, encoding=integer.encoding)
        return Known(id, integer.size, integer.size)

    def plain(self, name: str) -> Known:
        """Return what a name of `INTEGER_NAMES`, or ``void``, stands for."""
        if name == "void":
            return Known(0, None)
        known = self.integer(INTEGERS[tuple(sorted(INTEGER_NAMES[name].split()))])
        return known._replace(id=self.builder.typedef(name, known.id))

    def qualified(self, type: Known, qualifiers: Container[str]) -> Known:
        """Return the ``volatile`` and ``const`` form of a type, as far as these words are among the qualifiers."""
        if "volatile" in qualifiers:
            type = type._replace(id=self.builder.volatile(type.id))
        if "const" in qualifiers:
            type = type._replace(id=self.builder.const(type.id))
        return type

    def pointer(self, type: Known) -> Known:
        """Return a pointer to a type."""
        return Known(self.builder.pointer(type.id), POINTER_SIZE, POINTER_SIZE)

    def tagged(self, word: str, name: str) -> Tagged:
        """Return what a name stands for, whatever word it was first seen behind; `word` if it is new."""
        tagged = self._tagged.get(name)
        if tagged is None:
            is_enum = word == "enum"
            known = Known(self.builder.add(Enum(name, 4)), 4, 4) if is_enum else Known(self.builder.reserve(), None)
            tagged = self._tagged[name] = Tagged(word, known)
        return tagged

    def build(self) -> Btf:
        """Return all types; what was given no members is known by its name only, unless it is a context."""
        for name, tagged in self._tagged.items():
            if tagged.has_body or tagged.word == "enum":
                continue
            is_context = tagged.word == "struct" and name in CONTEXTS
            only = Struct(name, 0) if is_context else Forward(name, tagged.word == "union")
            self.builder.define(tagged.known.id, only)
        return self.builder.build()
