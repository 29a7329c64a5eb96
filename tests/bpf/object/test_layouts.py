# SPDX-License-Identifier: Apache-2.0
"""BTF as bytes and back: layouts by hand as the document has them, what is drawn, and any bytes."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import BtfError, KernelError
from prestocloud_sec.bpf.linux.functions import KernelBtf
from prestocloud_sec.bpf.object import Btf, BtfBuilder, Encoding, Kind, Linkage
from prestocloud_sec.bpf.object import types as t
from prestocloud_sec.bpf.object.types import Type
from prestocloud_sec.testing.bpf_btf import btfs, nearly_btfs, types
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.object.samples import INT, STRINGS, A, example, header, info, walk, words

LAYOUTS: list[tuple[bytes, Type]] = [
    (words(INT, info(1), 4, 1 << 24 | 32), t.Int("int", 4, 32, Encoding.SIGNED)),
    (words(INT, info(1), 4, 2 << 16 | 4), t.Int("int", 4, 4, Encoding.NONE, 2)),
    (words(INT, info(1), 1, 4 << 24 | 8), t.Int("int", 1, 8, Encoding.BOOL)),
    (words(0, info(2), 1), t.Pointer(1)),
    (words(0, info(3), 0, 1, 0, 16), t.Array(1, 16, 0)),
    (words(A, info(4, 1), 8, A, 1, 32), t.Struct("a", 8, (t.Member("a", 1, 32),))),
    (words(A, info(4, 1, flag=1), 8, A, 1, 3 << 24 | 33), t.Struct("a", 8, (t.Member("a", 1, 33, 3),))),
    (words(0, info(5, 2), 8, A, 1, 0, INT, 0, 0), t.Union("", 8, (t.Member("a", 1, 0), t.Member("int", 0, 0)))),
    (words(A, info(6, 1), 4, A, -1), t.Enum("a", 4, False, (t.Enumerator("a", 0xFFFF_FFFF),))),
    (words(A, info(6, 1, flag=1), 4, A, -1), t.Enum("a", 4, True, (t.Enumerator("a", -1),))),
    (words(A, info(7), 0), t.Forward("a")),
    (words(A, info(7, flag=1), 0), t.Forward("a", True)),
    (words(A, info(8), 1), t.Typedef("a", 1)),
    (words(0, info(9), 1), t.Volatile(1)),
    (words(0, info(10), 1), t.Const(1)),
    (words(0, info(11), 1), t.Restrict(1)),
    (words(A, info(12, 2), 1), t.Function("a", 1, Linkage.EXTERN)),
    (words(0, info(13, 2), 1, A, 1, 0, 0), t.Prototype(1, (t.Parameter("a", 1), t.Parameter("", 0)))),
    (words(A, info(14), 1, 1), t.Variable("a", 1, Linkage.GLOBAL)),
    (words(A, info(15, 1), 12, 1, 4, 8), t.Section("a", 12, (t.Placement(1, 4, 8),))),
    (words(A, info(16), 8), t.Float("a", 8)),
    (words(A, info(17), 1, -1), t.DeclTag("a", 1)),
    (words(A, info(17, flag=1), 1, 3), t.DeclTag("a", 1, 3, True)),
    (words(A, info(18), 1), t.TypeTag("a", 1)),
    (words(A, info(19, 1), 8, A, 1, 2), t.Enum64("a", 8, False, (t.Enumerator("a", 2 << 32 | 1),))),
    (words(A, info(19, 1, flag=1), 8, A, -2, -1), t.Enum64("a", 8, True, (t.Enumerator("a", -2),))),
]


@pytest.mark.parametrize(("data", "type"), LAYOUTS, ids=lambda value: type(value).__name__)
def test_layouts(data: bytes, type: Type) -> None:
    btf = Btf.from_bytes(header(data, STRINGS))
    assert list(btf) == [t.Void(), type]
    assert btf.kind(1) is type.kind
    assert btf.to_bytes() == header(data, STRINGS)
    builder = BtfBuilder()
    assert builder.add(type) == 1
    assert list(builder.build()) == [t.Void(), type]


def test_every_kind_has_a_layout() -> None:
    assert {type.kind for _, type in LAYOUTS} | {Kind.VOID} == set(Kind)


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
    builder = BtfBuilder()
    ids = [builder.add(type) for type in given_types]
    assert [builder.add(type) for type in given_types] == ids
    while len(builder) < 6:
        builder.reserve()
    for id in range(1, len(builder)):
        if id not in ids:
            builder.define(id, t.Int("filling", 4, 32))
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
