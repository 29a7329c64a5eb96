# SPDX-License-Identifier: Apache-2.0
"""Looking things up in BTF, and bytes that are made to make that slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.bpf.linux.functions import KernelBtf
from prestocloud_sec.bpf.object import Btf, BtfBuilder, Kind, Linkage
from prestocloud_sec.errors import MisuseError
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.object.samples import example, header, info, walk, words


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


def test_who_can_see_a_function() -> None:
    b = BtfBuilder()
    prototype = b.prototype(b.int_("int", 4))
    ids = [b.function("f", prototype, linkage) for linkage in (Linkage.STATIC, Linkage.GLOBAL, Linkage.EXTERN)]
    assert [b.build().describe(id) for id in ids] == ["static int f(void)", "int f(void)", "extern int f(void)"]


def test_names_and_tags() -> None:
    btf, ids = example()
    assert btf.find("node") == btf.find("node", Kind.STRUCT) == ids["node"]
    assert btf.name(ids["node"]) == "node"
    assert (btf.name(0), btf.name(ids["text"])) == ("", "")
    assert btf.tags(ids["count"], 0) == ("arg:nonnull", "second")
    assert (btf.tags(ids["count"]), btf.tags(ids["count"], 1)) == (("whole",), ())
    assert btf.resolved(ids["word"]) == ids["int"]
    assert btf.resolved(ids["text"]) == ids["text"]
    behind = [btf.kind(id) for id in btf.behind(ids["word"])]
    assert behind == [Kind.TYPEDEF, Kind.CONST, Kind.VOLATILE, Kind.INT]
    assert list(btf.behind(ids["text"])) == [ids["text"]]
    with pytest.raises(BtfError, match="nothing is called 'nod'"):
        btf.find("nod")
    with pytest.raises(BtfError, match="FUNC"):
        btf.find("node", Kind.FUNC)
    with pytest.raises(BtfError):
        btf.find("")


@pytest.mark.parametrize("ask", ["kind", "name", "size_of", "resolved", "behind", "tags", "describe", "__getitem__"])
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
    for wrong in (5, None, "bytes"):
        with pytest.raises(BpfMisuseError, match="holds no types"):
            Btf(wrong)  # type: ignore[arg-type]
        with pytest.raises(MisuseError):
            Btf.from_bytes(wrong)  # type: ignore[arg-type]


def test_shown() -> None:
    btf, _ = example()
    assert repr(btf).startswith(f"<Btf, {len(btf)} types: int; char; volatile int; const volatile int; ...>")
    assert btf._repr_html_().startswith("<pre>[1] int\n[2] char\n")
    assert repr(BtfBuilder().build()) == "<Btf, 1 types>"
    nasty = BtfBuilder()
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


def test_what_stands_for_nothing_is_followed_so_far() -> None:
    btf = Btf.from_bytes(header(words(0, info(10), 1)))
    assert list(btf.behind(1)) == [1] * 256
    with pytest.raises(BtfError, match="in a row"):
        btf.resolved(1)
    pointer = Btf.from_bytes(header(words(0, info(10), 1, 0, info(2), 1)))
    assert pointer.describe(2).startswith("const ")


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
