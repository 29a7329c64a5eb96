# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of BTF: types, lists of them, bytes that are nearly BTF, and declarations in C."""

from __future__ import annotations

import re
import struct

from hypothesis import strategies as st

from prestocloud_sec.bpf.object import Btf, BtfBuilder, Encoding, Linkage
from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.types import Type

__all__ = ["btfs", "declarations", "identifiers", "names", "nearly_btfs", "types"]

_U32 = (1 << 32) - 1
_WORD = re.compile(r"[a-z_][a-z0-9_]{0,5}", re.ASCII)


def identifiers() -> st.SearchStrategy[str]:
    """Names that C allows and gives no meaning of its own."""
    return st.from_regex(_WORD, fullmatch=True).map(lambda word: f"{word}_of")


def names() -> st.SearchStrategy[str]:
    """Any names that BTF can hold, the empty one often among them."""
    any_name = st.binary(max_size=12).map(lambda data: data.replace(b"\0", b"").decode(errors="surrogateescape"))
    return st.just("") | identifiers() | any_name


def types(count: int) -> st.SearchStrategy[Type]:
    """Any type but ``void``, each kind as likely as any other; what it refers to is one of the first `count` ids."""
    id = st.integers(0, count - 1)
    name, number, size, flag = names(), _numbers(), _sizes(), st.booleans()
    linkage = st.sampled_from(Linkage)
    whole = st.lists(st.builds(t.Member, name, id, number), max_size=4)
    fields = st.lists(st.builds(t.Member, name, id, st.integers(0, (1 << 24) - 1), st.integers(0, 255)), max_size=4)
    members = (whole | fields).map(tuple)
    parameters = st.lists(st.builds(t.Parameter, name, id), max_size=4).map(tuple)
    placements = st.lists(st.builds(t.Placement, id, number, number), max_size=4).map(tuple)
    return st.one_of(
        _integers(),
        st.builds(t.Array, id, number, id),
        st.builds(t.Struct, name, size, members),
        st.builds(t.Union, name, size, members),
        _enumerations(32),
        _enumerations(64),
        st.builds(t.Forward, name, flag),
        st.builds(t.Typedef, name, id),
        st.builds(t.Pointer, id) | st.builds(t.Volatile, id) | st.builds(t.Const, id) | st.builds(t.Restrict, id),
        st.builds(t.Function, name, id, linkage),
        st.builds(t.Prototype, id, parameters),
        st.builds(t.Variable, name, id, linkage),
        st.builds(t.Section, name, size, placements),
        st.builds(t.Float, name, st.sampled_from([2, 4, 8, 12, 16])),
        st.builds(t.DeclTag, name, id, st.integers(-1, 4) | st.integers(-1, (1 << 31) - 1), flag),
        st.builds(t.TypeTag, name, id, flag),
    )


def _numbers() -> st.SearchStrategy[int]:
    return st.integers(0, 8) | st.sampled_from([1 << 16, 1 << 31, _U32]) | st.integers(0, _U32)


def _sizes() -> st.SearchStrategy[int]:
    return st.integers(0, 64) | _numbers()


@st.composite
def _integers(draw: st.DrawFn) -> t.Int:
    size = draw(st.sampled_from([1, 2, 4, 8, 16]))
    bits = draw(st.just(8 * size) | st.integers(0, 8 * size))
    return t.Int(draw(names()), size, bits, draw(st.sampled_from(Encoding)), draw(st.integers(0, 8 * size - bits)))


@st.composite
def _enumerations(draw: st.DrawFn, bits: int) -> t.Enum | t.Enum64:
    signed = draw(st.booleans())
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    number = st.sampled_from([low, 0, 1, high]) | st.integers(low, high)
    values = tuple(draw(st.lists(st.builds(t.Enumerator, names(), number), max_size=4)))
    size = draw(st.sampled_from([1, 2, 4, 8]))
    return (t.Enum if bits == 32 else t.Enum64)(draw(names()), size, signed, values)


@st.composite
def btfs(draw: st.DrawFn, *, max_size: int = 8) -> Btf:
    """Draw lists of any types, which refer to each other without sense, in circles too.

    Parameters
    ----------
    max_size : int
        Types at most, ``void`` not counted.
    """
    builder = BtfBuilder()
    ids = [builder.reserve() for _ in range(draw(st.integers(0, max_size)))]
    for id in ids:
        builder.define(id, draw(types(len(builder))))
    return builder.build()


@st.composite
def nearly_btfs(draw: st.DrawFn, of: st.SearchStrategy[Btf] | None = None) -> bytes:
    """Draw BTF with some words of 32 bits exchanged for others, cut off, or with bytes behind; and any bytes at all.

    Parameters
    ----------
    of : strategy of Btf, optional
        What they are made of; `btfs`, if not given.
    """
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=80))
    data = bytearray(draw(btfs() if of is None else of).to_bytes())
    word = _numbers() | st.integers(0, 19).map(lambda kind: kind << 24 | 1) | st.integers(0, len(data))
    for at in draw(st.lists(st.integers(2, len(data) // 4 - 1), max_size=3)):
        struct.pack_into("<I", data, 4 * at, draw(word))
    end = draw(st.just(len(data)) | st.integers(0, len(data)))
    return bytes(data[:end]) + draw(st.just(b"") | st.binary(max_size=4))


_VALUES = st.sampled_from(
    ["int", "unsigned", "char", "unsigned char", "long", "short int", "long long unsigned int", "volatile u64"]
) | st.sampled_from(
    ["bool", "u8", "s16", "__u32", "__s64", "uint16_t", "size_t", "__be32", "enum mode", "const int", "u16 const"]
)
_POINTEES = _VALUES | st.sampled_from(["void", "const void", "struct pair", "const struct pair", "union both"])


@st.composite
def declarations(draw: st.DrawFn) -> dict[int, str]:
    """Draw declarations of functions by slot, each with a name of its own; the kernel takes what is made of them."""
    found = {}
    slots = draw(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=4, unique=True))
    for slot, name in zip(slots, draw(st.permutations(["main", "sum", "f", "last"])), strict=False):
        parameters = [draw(_parameters(number)) for number in range(draw(st.integers(0, 5)))]
        result = draw(st.just("void") | _VALUES | _POINTEES.map(lambda type: f"{type} *"))
        taken = ", ".join(parameters) or draw(st.sampled_from(["", "void"]))
        end = draw(st.sampled_from(["", ";", " /* end */"]))
        found[slot] = f"{draw(st.sampled_from(['', 'static ']))}{result} {name}({taken}){end}"
    return found


@st.composite
def _parameters(draw: st.DrawFn, number: int) -> str:
    stars = draw(st.sampled_from(["*", "**", "*const ", "* volatile*"]))
    type = draw(_VALUES | _POINTEES.map(lambda type: f"{type} {stars}"))
    name = draw(st.just(f" p{number}") | st.just("") | identifiers().map(lambda name: f" {name}"))
    tags = draw(st.lists(st.sampled_from(["__arg_ctx", "__arg_nonnull", "__arg_trusted", "__arg_arena"]), max_size=2))
    return " ".join([f"{type}{name}", *tags])
