# SPDX-License-Identifier: Apache-2.0
"""The words of C that declarations of functions are made of, and what they stand for on BPF's machine.

Integers are called and sized as clang does for BPF.

Sources: Linux 6.18, ``include/uapi/linux/types.h`` and ``tools/lib/bpf/bpf_helpers.h`` (``__arg_*``).
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from prestocloud_sec.bpf.context_names import CONTEXT_STRUCTS, PT_REGS_TYPEDEF
from prestocloud_sec.bpf.object.kinds import Encoding

__all__ = [
    "ARGUMENT_TAGS",
    "CONTEXTS",
    "INTEGERS",
    "INTEGER_NAMES",
    "INTEGER_WORDS",
    "QUALIFIERS",
    "STRUCT_NAMES",
    "TAGGED",
    "TAKEN",
    "Integer",
]

ARGUMENT_TAGS = {
    f"__arg_{word}": f"arg:{word}" for word in ("ctx", "nonnull", "nullable", "trusted", "untrusted", "arena")
}
"""What the kernel's macros for parameters say."""


class Integer(NamedTuple):
    """An integer of C: its name in BTF, its bytes, and what they mean."""

    name: str
    size: int
    encoding: Encoding = Encoding.NONE


def _spellings() -> dict[tuple[str, ...], Integer]:
    """Return the integers of C by the words for them, sorted."""
    found = {
        ("char",): Integer("char", 1, Encoding.SIGNED),
        ("char", "signed"): Integer("signed char", 1, Encoding.SIGNED),
        ("char", "unsigned"): Integer("unsigned char", 1),
        ("_Bool",): Integer("_Bool", 1, Encoding.BOOL),
    }
    for name, size in (("short", 2), ("int", 4), ("long", 8), ("long long", 8), ("__int128", 16)):
        words = [] if name == "int" else name.split()
        for more in ([], ["int"]) if name != "__int128" else ([],):
            for sign in ([], ["signed"], ["unsigned"]):
                if words + more + sign:
                    integer = Integer(name, size, Encoding.SIGNED)
                    if sign == ["unsigned"]:
                        integer = Integer(f"unsigned {name}", size)
                    found[tuple(sorted(words + more + sign))] = integer
    return found


INTEGERS = _spellings()
"""Integers by the words for them, sorted."""
INTEGER_WORDS = frozenset(word for words in INTEGERS for word in words)
_BY_BITS = {
    8: ("signed char", "unsigned char"),
    16: ("short", "unsigned short"),
    32: ("int", "unsigned int"),
    64: ("long long", "unsigned long long"),
}
INTEGER_NAMES: dict[str, str] = {"bool": "_Bool", "size_t": "unsigned long"}
"""Typedefs of integers that every program knows, and what they are of."""
for _bits, (_signed, _unsigned) in _BY_BITS.items():
    INTEGER_NAMES |= dict.fromkeys((f"s{_bits}", f"__s{_bits}", f"int{_bits}_t"), _signed)
    INTEGER_NAMES |= dict.fromkeys((f"u{_bits}", f"__u{_bits}", f"uint{_bits}_t"), _unsigned)
    if _bits > 8:
        INTEGER_NAMES |= dict.fromkeys((f"__be{_bits}", f"__le{_bits}"), _unsigned)
STRUCT_NAMES = {PT_REGS_TYPEDEF: "pt_regs"}
"""Typedefs of structs that every program knows: that by which Linux knows the context of a kprobe."""
TAGGED = frozenset({"struct", "union", "enum"})
"""Words that a name of a type follows."""
QUALIFIERS = frozenset({"const", "volatile"})
TAKEN = frozenset(
    {*INTEGER_WORDS, *INTEGER_NAMES, *STRUCT_NAMES, *TAGGED, *QUALIFIERS, *ARGUMENT_TAGS}
    | {"void", "static", "extern", "restrict"}
)
"""Words that cannot be names."""

CONTEXTS = frozenset(chain.from_iterable(CONTEXT_STRUCTS.values()))
"""Structs that are the context of a type of programs.

Linux looks at the name only, but takes a parameter for the context only if it points to a struct: a forward declaration
of that name would be a pointer to memory of a size that nobody knows. So these are structs even where a declaration
does not say their members.
"""
