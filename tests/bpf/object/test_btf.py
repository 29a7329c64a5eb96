# SPDX-License-Identifier: Apache-2.0
"""BTF as values and as bytes: round trips, bytes that are none, and what bpftool and the kernel say of them."""

from __future__ import annotations

import copy
import pickle
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError, KernelError
from prestocloud_sec.bpf.linux.functions import KernelBtf
from prestocloud_sec.bpf.object import Btf, Builder, Encoding, Kind, Linkage
from prestocloud_sec.bpf.object.btf import (
    Array,
    Const,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Forward,
    Function,
    Int,
    Member,
    Parameter,
    Placement,
    Pointer,
    Prototype,
    Restrict,
    Section,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Variable,
    Void,
    Volatile,
)
from prestocloud_sec.testing.bpf_btf import btfs, nearly_btfs, types
from tests.bpf.linux.kernel import needs_kernel

VMLINUX = Path("/sys/kernel/btf/vmlinux")
BPFTOOL = shutil.which("bpftool", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
needs_vmlinux = pytest.mark.skipif(not VMLINUX.exists(), reason="kernel lacks what is asked here: its types")
needs_bpftool = pytest.mark.skipif(BPFTOOL is None, reason="kernel lacks bpftool beside it")


@cache
def vmlinux() -> Btf:
    return Btf.from_bytes(VMLINUX.read_bytes())


def header(types: bytes = b"", strings: bytes = b"\0", **changed: int) -> bytes:
    """Return BTF made by hand."""
    fields = {"magic": 0xEB9F, "version": 1, "flags": 0, "size": 24}
    fields |= {"types_off": 0, "types_len": len(types), "strings_off": len(types), "strings_len": len(strings)}
    return struct.pack("<HBBIIIII", *(fields | changed).values()) + types + strings


def info(kind: int, count: int = 0, *, flag: int = 0) -> int:
    return flag << 31 | kind << 24 | count


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFF_FFFF for value in values))


# --- Bytes by hand, as the document lays them out ----------------------------------------------------------

STRINGS = b"\0int\0a\0"
INT, A = 1, 5
"""Where both strings begin."""

LAYOUTS: list[tuple[bytes, Type]] = [
    (words(INT, info(1), 4, 1 << 24 | 32), Int("int", 4, 32, Encoding.SIGNED)),
    (words(INT, info(1), 4, 2 << 16 | 4), Int("int", 4, 4, Encoding.NONE, 2)),
    (words(INT, info(1), 1, 4 << 24 | 8), Int("int", 1, 8, Encoding.BOOL)),
    (words(0, info(2), 1), Pointer(1)),
    (words(0, info(3), 0, 1, 0, 16), Array(1, 16, 0)),
    (words(A, info(4, 1), 8, A, 1, 32), Struct("a", 8, (Member("a", 1, 32),))),
    (words(A, info(4, 1, flag=1), 8, A, 1, 3 << 24 | 33), Struct("a", 8, (Member("a", 1, 33, 3),))),
    (words(0, info(5, 2), 8, A, 1, 0, INT, 0, 0), Union("", 8, (Member("a", 1, 0), Member("int", 0, 0)))),
    (words(A, info(6, 1), 4, A, -1), Enum("a", 4, False, (Enumerator("a", 0xFFFF_FFFF),))),
    (words(A, info(6, 1, flag=1), 4, A, -1), Enum("a", 4, True, (Enumerator("a", -1),))),
    (words(A, info(7), 0), Forward("a")),
    (words(A, info(7, flag=1), 0), Forward("a", True)),
    (words(A, info(8), 1), Typedef("a", 1)),
    (words(0, info(9), 1), Volatile(1)),
    (words(0, info(10), 1), Const(1)),
    (words(0, info(11), 1), Restrict(1)),
    (words(A, info(12, 2), 1), Function("a", 1, Linkage.EXTERN)),
    (words(0, info(13, 2), 1, A, 1, 0, 0), Prototype(1, (Parameter("a", 1), Parameter("", 0)))),
    (words(A, info(14), 1, 1), Variable("a", 1, Linkage.GLOBAL)),
    (words(A, info(15, 1), 12, 1, 4, 8), Section("a", 12, (Placement(1, 4, 8),))),
    (words(A, info(16), 8), Float("a", 8)),
    (words(A, info(17), 1, -1), DeclTag("a", 1)),
    (words(A, info(17, flag=1), 1, 3), DeclTag("a", 1, 3, True)),
    (words(A, info(18), 1), TypeTag("a", 1)),
    (words(A, info(19, 1), 8, A, 1, 2), Enum64("a", 8, False, (Enumerator("a", 2 << 32 | 1),))),
    (words(A, info(19, 1, flag=1), 8, A, -2, -1), Enum64("a", 8, True, (Enumerator("a", -2),))),
]


@pytest.mark.parametrize(("data", "type"), LAYOUTS, ids=lambda value: type(value).__name__)
def test_layouts(data: bytes, type: Type) -> None:
    btf = Btf.from_bytes(header(data, STRINGS))
    assert list(btf) == [Void(), type]
    assert btf.kind(1) is type.kind
    assert btf.to_bytes() == header(data, STRINGS)
    builder = Builder()
    assert builder.add(type) == 1
    assert list(builder.build()) == [Void(), type]


def test_every_kind_has_a_layout() -> None:
    assert {type.kind for _, type in LAYOUTS} | {Kind.VOID} == set(Kind)


# --- Round trips -------------------------------------------------------------------------------------------


@given(btfs())
def test_btf_comes_back(btf: Btf) -> None:
    data = btf.to_bytes()
    again = Btf.from_bytes(data)
    assert again == btf
    assert hash(again) == hash(btf)
    assert list(again) == list(btf)
    assert again.to_bytes() == data
    for other in (copy.deepcopy(btf), pickle.loads(pickle.dumps(btf))):  # noqa: S301
        assert other == btf


@given(st.integers(1, 6).flatmap(lambda count: st.lists(types(count), min_size=count - 1, max_size=8)))
def test_builders_keep_what_they_are_given(given_types: list[Type]) -> None:
    builder = Builder()
    ids = [builder.add(type) for type in given_types]
    assert [builder.add(type) for type in given_types] == ids
    while len(builder) < 6:
        builder.reserve()
    for id in range(1, len(builder)):
        if id not in ids:
            builder.define(id, Int("filling", 4, 32))
    btf = builder.build()
    assert [btf[id] for id in ids] == given_types


@given(nearly_btfs())
def test_any_bytes(data: bytes) -> None:
    try:
        btf = Btf.from_bytes(data)
    except BtfError as error:
        assert str(error)  # noqa: PT017
        return
    walk(btf)
    again = Btf.from_bytes(btf.to_bytes())
    assert list(again) == list(btf)
    assert btf.to_bytes() == data or data[4] > 24


@needs_kernel
@given(nearly_btfs(st.builds(lambda: example()[0])))
def test_what_the_kernel_takes_is_taken(data: bytes) -> None:
    try:
        KernelBtf.of(data).close()
    except KernelError:
        return
    walk(Btf.from_bytes(data))


def walk(btf: Btf) -> None:
    """Ask for everything there is."""
    assert repr(btf)
    assert btf._repr_html_()
    for id, type in enumerate(btf):
        assert btf[id] == type
        assert len(btf.describe(id)) < 4100
        btf.describe(id).encode()
        assert len(btf.tags(id)) <= len(btf)
        if btf.name(id):
            assert btf.name(btf.find(btf.name(id), btf.kind(id))) == btf.name(id)
        for ask in (btf.size_of, btf.resolved):
            with suppress(BtfError):
                assert 0 <= ask(id) < 1 << 32


# --- Refusals ----------------------------------------------------------------------------------------------

ONE = words(INT, info(1), 4, 1 << 24 | 32)
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "0 bytes in all"),
    "half a header": (header()[:23], "23 bytes"),
    "other magic": (header(magic=0xEB9E), "does not begin BTF"),
    "big-endian": (header(magic=0x9FEB), "big-endian"),
    "version": (header(version=2), "version 2"),
    "flags": (header(flags=1), "flags 0x1"),
    "short header": (header(size=20), "a header of 20 bytes"),
    "long header": (header(size=1 << 31), "a header of"),
    "more in the header": (header(size=28)[:24] + b"\0\0\1\0" + b"\0", "more than is known"),
    "types outside": (header(ONE, types_len=1 << 31), "strings behind"),
    "strings outside": (header(ONE, strings_len=2), "strings behind"),
    "overlap": (header(ONE, strings_off=12), "strings behind"),
    "gap": (header(ONE, types_off=4), "strings behind"),
    "behind": (header(ONE) + b"\0", "strings behind"),
    "strings first": (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 2, 16, 0, 2) + b"\0\0" + ONE, "strings behind"),
    "uneven": (header(ONE + b"\0"), "multiple of 4"),
    "no strings": (header(strings=b""), "zero"),
    "strings without an empty one": (header(strings=b"a\0"), "zero"),
    "strings without an end": (header(strings=b"\0a"), "zero"),
    "long string": (header(strings=b"\0" + b"a" * 1024 + b"\0"), "too long"),
    "half a type": (header(words(0, info(2))), "8 bytes left"),
    "half an integer": (header(words(0, info(1), 4)), "12 bytes left"),
    "more members than bytes": (header(words(0, info(4, 0xFFFF), 4)), "12 bytes left"),
    "kind 0": (header(words(0, 0, 0)), "describes no type"),
    "kind 20": (header(words(0, info(20), 0)), "describes no type"),
    "unused bits": (header(words(0, info(2) | 1 << 16, 0)), "describes no type"),
    "flag without meaning": (header(words(0, info(2, flag=1), 0)), "flag"),
    "parts without meaning": (header(words(0, info(2, 1), 0)), "1 parts"),
    "name outside": (header(words(1, info(8), 0)), "its name is at 1"),
    "name of a pointer": (header(words(1, info(2), 0), b"\0a\0"), "no name"),
    "member's name outside": (header(words(0, info(4, 1), 4, 9, 0, 0)), "part's name"),
    "reference outside": (header(words(0, info(2), 2)), "refers to type 2"),
    "member of a type outside": (header(words(0, info(4, 1), 4, 0, 7, 0)), "refers to type 7"),
    "element outside": (header(words(0, info(3), 0, 3, 0, 1)), "refers to type 3"),
    "variable outside": (header(words(0, info(15, 1), 0, 5, 0, 1)), "refers to type 5"),
    "two encodings": (header(words(0, info(1), 4, 3 << 24 | 32)), "says nothing of an integer"),
    "bits beyond": (header(words(0, info(1), 4, 33)), "33 bits"),
    "bits beyond 128": (header(words(0, info(1), 32, 129)), "129 bits"),
    "array with a size": (header(words(0, info(3), 4, 0, 0, 0)), "an array with a size"),
    "enumeration of 3 bytes": (header(words(0, info(6), 3)), "3 bytes"),
    "float of 5 bytes": (header(words(0, info(16), 5)), "5 bytes"),
    "linkage of a function": (header(words(0, info(12, 3), 0)), "linkage 3"),
    "linkage of a variable": (header(words(0, info(14), 0, 3)), "linkage 3"),
    "component": (header(words(0, info(17), 0, -2)), "component -2"),
    "struct with a type": (header(words(0, info(7), 1)), "without members"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    data, what = REFUSED[name]
    with pytest.raises(BtfError, match=what):
        Btf.from_bytes(data)


@needs_kernel
@pytest.mark.parametrize("name", REFUSED.keys() - {"long string"})
def test_the_kernel_refuses_them_too(name: str) -> None:
    with pytest.raises(KernelError):
        KernelBtf.of(REFUSED[name][0])


def test_refusals_name_the_place() -> None:
    with pytest.raises(BtfError) as caught:
        Btf.from_bytes(header(ONE + words(0, info(20), 0), STRINGS))
    assert (caught.value.type_id, caught.value.offset) == (2, 24 + 16)
    assert str(caught.value).startswith("type 2 (offset 40): 0x14000000 describes no type")


@needs_kernel
@pytest.mark.parametrize(
    "data",
    [
        header(ONE, STRINGS),
        header(ONE, STRINGS, size=28)[:24] + bytes(4) + ONE + STRINGS,
    ],
    ids=["canonical", "long header"],
)
def test_layouts_that_the_kernel_takes(data: bytes) -> None:
    KernelBtf.of(data).close()
    btf = Btf.from_bytes(data)
    assert list(btf) == [Void(), Int("int", 4, 32, Encoding.SIGNED)]
    assert list(Btf.from_bytes(btf.to_bytes())) == list(btf)


# --- Looking things up -------------------------------------------------------------------------------------


def example() -> tuple[Btf, dict[str, int]]:
    """Return types of every kind that a kernel takes, and the ids of some."""
    b = Builder()
    ids = {"int": b.int_("int", 4, encoding=Encoding.SIGNED), "char": b.int_("char", 1, encoding=Encoding.SIGNED)}
    ids["word"] = b.typedef("word", b.const(b.volatile(ids["int"])))
    ids["text"] = b.array(ids["char"], 16)
    ids["node"] = b.reserve()
    call = b.pointer(b.prototype(0, [Parameter("", b.pointer(ids["node"]))]))
    inner = b.union("", 4, [Member("x", ids["int"], 0), Member("y", ids["word"], 0)])
    members = [
        Member("next", b.pointer(ids["node"]), 0),
        Member("call", call, 64),
        Member("name", ids["text"], 128),
        Member("", inner, 256),
        Member("low", ids["int"], 288, 3),
        Member("high", ids["int"], 291, 5),
    ]
    b.define(ids["node"], Struct("node", 40, tuple(members)))
    ids["matrix"] = b.array(b.array(ids["int"], 3), 2)
    ids["later"] = b.forward("later")
    ids["mode"] = b.enum("mode", {"OFF": 0, "ON": 1, "BROKEN": -1})
    ids["wide"] = b.enum64("wide", {"TOP": (1 << 64) - 1})
    ids["double"] = b.float_("double", 8)
    text = b.restrict(b.pointer(b.const(ids["char"])))
    proto = b.prototype(ids["int"], [Parameter("of", b.pointer(ids["node"])), Parameter("text", text)])
    ids["count"] = b.function("count", proto, Linkage.GLOBAL)
    ids["tag"] = b.decl_tag("arg:nonnull", ids["count"], 0)
    b.decl_tag("second", ids["count"], 0)
    b.decl_tag("whole", ids["count"])
    ids["user"] = b.pointer(b.type_tag("user", ids["later"]))
    ids["total"] = b.variable("total", ids["word"], Linkage.GLOBAL)
    ids["data"] = b.section(".data", 4, [Placement(ids["total"], 0, 4)])
    return b.build(), ids


@needs_kernel
def test_the_kernel_takes_the_example() -> None:
    KernelBtf.of(example()[0].to_bytes()).close()


def test_sizes() -> None:
    btf, ids = example()
    sizes = {name: btf.size_of(id) for name, id in ids.items() if name not in {"later", "count", "tag"}}
    assert sizes == {
        "int": 4,
        "char": 1,
        "word": 4,
        "text": 16,
        "node": 40,
        "matrix": 24,
        "mode": 4,
        "wide": 8,
        "double": 8,
        "user": 8,
        "total": 4,
        "data": 4,
    }
    for name in ("later", "count", "tag"):
        with pytest.raises(BtfError, match="has no size"):
            btf.size_of(ids[name])
    with pytest.raises(BtfError, match="void has no size"):
        btf.size_of(0)


def test_descriptions() -> None:
    btf, ids = example()
    assert {name: btf.describe(id) for name, id in ids.items()} == {
        "int": "int",
        "char": "char",
        "word": "typedef const volatile int word",
        "text": "char [16]",
        "node": "struct node { struct node *next; void (*call)(struct node *); char name[16]; "
        "union { int x; word y; }; int low : 3; int high : 5; }",
        "matrix": "int [2][3]",
        "later": "struct later",
        "mode": "enum mode { OFF = 0, ON = 1, BROKEN = -1 }",
        "wide": "enum wide { TOP = 18446744073709551615 }",
        "double": "double",
        "count": "int count(struct node *of, const char *restrict text)",
        "tag": '"arg:nonnull" on component 0 of count',
        "user": '__attribute__((btf_type_tag("user"))) struct later *',
        "total": "word total",
        "data": "section .data of 4 bytes with 1 variables",
    }
    assert btf.describe(0) == "void"


def test_names_and_tags() -> None:
    btf, ids = example()
    assert btf.find("node") == btf.find("node", Kind.STRUCT) == ids["node"]
    assert btf.name(ids["node"]) == "node"
    assert (btf.name(0), btf.name(ids["text"])) == ("", "")
    assert btf.tags(ids["count"], 0) == ("arg:nonnull", "second")
    assert (btf.tags(ids["count"]), btf.tags(ids["count"], 1)) == (("whole",), ())
    assert btf.resolved(ids["word"]) == ids["int"]
    assert btf.resolved(ids["text"]) == ids["text"]
    with pytest.raises(BtfError, match="nothing is called 'nod'"):
        btf.find("nod")
    with pytest.raises(BtfError, match="FUNC"):
        btf.find("node", Kind.FUNC)
    with pytest.raises(BtfError):
        btf.find("")


@pytest.mark.parametrize("ask", ["kind", "name", "size_of", "resolved", "tags", "describe", "__getitem__"])
def test_ids_that_are_none(ask: str) -> None:
    btf, _ = example()
    method: Callable[[Any], object] = getattr(btf, ask)
    for id in (len(btf), 1 << 80):
        with pytest.raises(BtfError, match="there is no type"):
            method(id)
    for wrong in (-1, "1", None, 1.0):
        with pytest.raises(BpfMisuseError):
            method(wrong)


def test_misuse() -> None:
    btf, _ = example()
    for wrong in (5, None, "a\0", "\ud800", "a" * 2000):
        with pytest.raises(BpfMisuseError):
            btf.find(wrong)  # type: ignore[arg-type]
    with pytest.raises(BpfMisuseError):
        btf.find("node", "STRUCT")  # type: ignore[arg-type]
    with pytest.raises(BpfMisuseError):
        btf.tags(1, -2)
    assert btf != 5


def test_shown() -> None:
    btf, _ = example()
    assert repr(btf).startswith(f"<Btf, {len(btf)} types: int; char; volatile int; const volatile int; ...>")
    assert btf._repr_html_().startswith("<pre>[1] int\n[2] char\n")
    assert repr(Builder().build()) == "<Btf, 1 types>"
    nasty = Builder()
    nasty.forward("<b>\n\ud8ff\x1b".encode(errors="ignore").decode() + "\udcff")
    assert "<b>" not in nasty.build()._repr_html_()
    assert repr(nasty.build()).isprintable()


# --- What is made to hurt ----------------------------------------------------------------------------------


def soon(call: Callable[[], object]) -> None:
    start = time.perf_counter()
    call()
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("kind", [Kind.TYPEDEF, Kind.CONST, Kind.PTR, Kind.VAR, Kind.TYPE_TAG, Kind.FUNC_PROTO])
def test_circles_end(kind: Kind) -> None:
    tail = (0,) if kind is Kind.VAR else ()
    walk(Btf.from_bytes(header(words(0, info(kind), 1, *tail))))


def test_circles_of_arrays_and_structs_end() -> None:
    walk(Btf.from_bytes(header(words(0, info(3), 0, 1, 1, 0xFFFF_FFFF))))
    walk(Btf.from_bytes(header(words(0, info(3), 0, 1, 1, 0))))
    walk(Btf.from_bytes(header(words(0, info(4, 3), 0, *(0, 1, 0) * 3))))
    with pytest.raises(BtfError, match="in a row"):
        Btf.from_bytes(header(words(0, info(8), 1))).size_of(1)


def test_products_of_arrays_stay_small() -> None:
    arrays = b"".join(words(0, info(3), 0, id + 2, 0, 0xFFFF) for id in range(100))
    btf = Btf.from_bytes(header(arrays + words(0, info(1), 1, 8)))
    assert btf.size_of(99 + 1) == 0xFFFF
    assert btf.size_of(99) == 0xFFFF**2
    with pytest.raises(BtfError, match="elements"):
        btf.size_of(98)
    soon(lambda: walk(btf))


def test_structs_of_themselves_are_described_soon() -> None:
    most = 0xFFFF
    btf = Btf.from_bytes(header(words(0, info(4, most), 0, *(0, 1, 0) * most)))
    soon(lambda: btf.describe(1))
    soon(lambda: repr(btf))


def test_names_that_share_their_end_are_looked_up_soon() -> None:
    name = b"a" * 1023
    rows = b"".join(words(1 + n % 1000, info(8), 0) for n in range(100_000))
    btf = Btf.from_bytes(header(rows, b"\0" + name + b"\0"))
    soon(lambda: btf.find("a" * 1023))
    assert btf.find("a" * 24) == 1000


def test_many_empty_strings_are_read_soon() -> None:
    soon(lambda: Btf.from_bytes(header(strings=bytes(1 << 24))))


# --- Builders ----------------------------------------------------------------------------------------------


def test_equal_types_are_one() -> None:
    b = Builder()
    first = b.pointer(b.int_("int", 4))
    assert b.pointer(b.int_("int", 4)) == first
    assert b.int_("int", 4, encoding=Encoding.SIGNED) != b.int_("int", 4)
    assert b.add(Void()) == 0
    assert len(b) == len(b.build()) == 4


WRONG: list[Any] = [
    Int("i", 4, 300),
    Int("i", -1, 8),
    Int("a\0b", 4, 32),
    Int(5, 4, 32),  # type: ignore[arg-type]
    Pointer(-1),
    Pointer("int"),  # type: ignore[arg-type]
    Pointer(1 << 32),
    Array(1, 1 << 32, 1),
    Struct("s", 4, (Member("m", 1, 1 << 32),)),
    Struct("s", 4, (Member("m", 1, 1 << 24, 1),)),
    Struct("s", 4, (Parameter("m", 1),)),  # type: ignore[arg-type]
    Struct("s", 4, (Member("m", 1, 0),) * 65536),
    Struct("s", 4, 5),  # type: ignore[arg-type]
    Enum("e", 4, False, (Enumerator("v", -1),)),
    Enum("e", 4, True, (Enumerator("v", 1 << 31),)),
    Enum64("e", 8, False, (Enumerator("v", 1 << 64),)),
    Function("f", 1, 3),  # type: ignore[arg-type]
    DeclTag("d", 1, -2),
    Member("m", 1, 0),
    "int",
    None,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: repr(value)[:40])
def test_types_that_cannot_be_added(wrong: Any) -> None:
    builder = Builder()
    with pytest.raises(BpfMisuseError):
        builder.add(wrong)
    assert builder.build() == Builder().build()


def test_lists_that_cannot_be_built() -> None:
    builder = Builder()
    waiting = builder.reserve()
    with pytest.raises(BpfMisuseError, match="reserved and not defined"):
        builder.build()
    builder.define(waiting, Pointer(9))
    with pytest.raises(BpfMisuseError, match="refers to type 9"):
        builder.build()
    for id in (waiting, 0, 2, -1):
        with pytest.raises(BpfMisuseError):
            builder.define(id, Pointer(0))
    contradiction = Builder()
    contradiction.int_("int", 4, bits=33)
    with pytest.raises(BpfMisuseError, match="33 bits"):
        contradiction.build()
    with pytest.raises(BpfMisuseError):
        builder.enum("e", [("A", 1)])  # type: ignore[arg-type]


# --- The types of the running kernel -----------------------------------------------------------------------


@needs_vmlinux
def test_the_kernels_types_are_read_within_a_second() -> None:
    data = VMLINUX.read_bytes()
    took = []
    for _ in range(3):
        start = time.perf_counter()
        btf = Btf.from_bytes(data)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.5, took
    assert btf.to_bytes() == data


@needs_vmlinux
def test_functions_of_the_kernel() -> None:
    btf = vmlinux()
    function = btf.find("bpf_iter_num_new", Kind.FUNC)
    assert btf.describe(function) == "int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end)"
    assert "bpf_kfunc" in btf.tags(function)


@needs_vmlinux
def test_sizes_of_the_kernel() -> None:
    """Sizes that the system call's documentation fixes, or C does on a machine of 64 bits."""
    btf = vmlinux()
    sizes = {
        name: btf.size_of(btf.find(name, Kind.STRUCT)) for name in ("bpf_iter_num", "list_head", "bpf_insn", "xdp_md")
    }
    assert sizes == {"bpf_iter_num": 8, "list_head": 16, "bpf_insn": 8, "xdp_md": 24}
    assert btf.size_of(btf.find("__u64", Kind.TYPEDEF)) == 8
    member = next(m for m in struct_of(btf, "ethhdr").members if m.name == "h_dest")
    assert (btf.describe(member.type), btf.size_of(member.type)) == ("unsigned char [6]", 6)


def struct_of(btf: Btf, name: str) -> Struct:
    found = btf[btf.find(name, Kind.STRUCT)]
    assert isinstance(found, Struct)
    return found


LINE = re.compile(r"\[(\d+)\] (\w+) '(.*?)'(?: |$)(.*)")
PART = re.compile(r"\t(?:'(.*?)' )?(.*)")
FIELD = re.compile(r"(\w+)=([^ ,]+)")
Told = tuple[str, str, dict[str, str], list[tuple[str, dict[str, str]]]]


def dump(file: Path) -> dict[int, Told]:
    """Return what bpftool says of each type: kind, name, fields, and name and fields of each part."""
    done = subprocess.run(
        [str(BPFTOOL), "btf", "dump", "file", str(file), "format", "raw"], capture_output=True, text=True, check=True
    )
    told: dict[int, Told] = {}
    for line in done.stdout.splitlines():
        if found := LINE.fullmatch(line):
            kind, name, fields = found.group(2), found.group(3), found.group(4)
            last = told[int(found.group(1))] = (kind, name.replace("(anon)", ""), dict(FIELD.findall(fields)), [])
        elif found := PART.fullmatch(line):
            last[3].append(((found.group(1) or "").replace("(anon)", ""), dict(FIELD.findall(found.group(2)))))
    return told


def as_told(btf: Btf, id: int) -> Told:
    """Return the same of a type of ours."""
    fields: dict[str, object] = {}
    parts: list[tuple[str, dict[str, object]]] = []
    match btf[id]:
        case Int(_, size, bits, encoding, offset):
            named = "(none)" if encoding is Encoding.NONE else encoding.name
            fields = {"size": size, "bits_offset": offset, "nr_bits": bits, "encoding": named}
        case Array(element, count, index):
            fields = {"type_id": element, "index_type_id": index, "nr_elems": count}
        case Struct(_, size, members) | Union(_, size, members):
            fields = {"size": size, "vlen": len(members)}
            for m in members:
                width = {"bitfield_size": m.bits} if m.bits else {}
                parts.append((m.name, {"type_id": m.type, "bits_offset": m.bit_offset, **width}))
        case Enum(_, size, signed, values) | Enum64(_, size, signed, values) as enum:
            fields = {"encoding": "SIGNED" if signed else "UNSIGNED", "size": size, "vlen": len(values)}
            end = ("LL" if signed else "ULL") if enum.kind is Kind.ENUM64 else ""
            parts = [(v.name, {"val": f"{v.value}{end}"}) for v in values]
        case Forward(_, union):
            fields = {"fwd_kind": "union" if union else "struct"}
        case Function(_, prototype, linkage):
            fields = {"type_id": prototype, "linkage": linkage.name.lower()}
        case Prototype(result, parameters):
            fields = {"ret_type_id": result, "vlen": len(parameters)}
            parts = [(p.name, {"type_id": p.type}) for p in parameters]
        case Variable(_, type, linkage):
            fields = {"type_id": type, "linkage": linkage.name.lower()}
        case Section(_, size, variables):
            fields = {"size": size, "vlen": len(variables)}
            parts = [("", {"type_id": v.type, "offset": v.offset, "size": v.size}) for v in variables]
        case Float(_, size):
            fields = {"size": size}
        case DeclTag(_, type, component):
            fields = {"type_id": type, "component_idx": component}
        case other:
            fields = {"type_id": getattr(other, "type", None)}
    texts = [(name, {key: str(value) for key, value in part.items()}) for name, part in parts]
    return btf.kind(id).name, btf.name(id), {key: str(value) for key, value in fields.items()}, texts


@needs_vmlinux
@needs_bpftool
def test_bpftool_says_the_same_of_the_kernel() -> None:
    told = dump(VMLINUX)
    btf = vmlinux()
    assert sorted(told) == list(range(1, len(btf)))
    rare = [id for id in told if btf.kind(id) not in {Kind.FUNC, Kind.FUNC_PROTO, Kind.PTR, Kind.STRUCT}]
    differing = [id for id in {*rare, *range(1, len(btf), 5)} if as_told(btf, id) != told[id]]
    assert differing == []
    function = btf.find("bpf_iter_num_new", Kind.FUNC)
    assert told[function][:2] == ("FUNC", "bpf_iter_num_new")
    assert [name for name, _ in told[int(told[function][2]["type_id"])][3]] == ["it", "start", "end"]


@needs_bpftool
def test_bpftool_says_the_same_of_what_is_built(tmp_path: Path) -> None:
    file = tmp_path / "example.btf"
    btf, _ = example()
    file.write_bytes(btf.to_bytes())
    assert dump(file) == {id: as_told(btf, id) for id in range(1, len(btf))}


def test_importing_costs_nothing_heavy() -> None:
    probe = (
        "import sys, prestocloud_sec.bpf.object as o; [getattr(o, name) for name in o.__all__];"
        "print([m for m in sys.modules if m.split('.')[0] in ('numba', 'numpy') or 'bpf.linux' in m])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
