# SPDX-License-Identifier: Apache-2.0
"""The types of programs' functions as records that the kernel reads."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf import Program, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.bpf.object import BtfBuilder, FuncInfo, declare
from tests.bpf.object.samples import THREE


def test_records() -> None:
    types = declare(THREE)
    assert list(types.functions) == [0, 5, 9]
    ids = list(types.functions.values())
    assert types.records() == struct.pack("<6I", 0, ids[0], 5, ids[1], 9, ids[2])
    assert FuncInfo.from_records(types.btf, types.records()) == types
    wide = b"".join(struct.pack("<4I", slot, id, 0, 0) for slot, id in types.functions.items())
    assert FuncInfo.from_records(types.btf, wide, 16) == types
    assert FuncInfo.from_records(types.btf, b"") == FuncInfo(types.btf, {})
    assert list(FuncInfo(types.btf, {9: ids[2], 0: ids[0]}).functions) == [0, 9]


def test_records_that_are_none() -> None:
    types = declare(THREE)
    main, pointer = types.functions[0], types.btf.find("int")
    for data, what in (
        (bytes(7), "7 bytes"),
        (struct.pack("<4I", 5, main, 5, main), "slot 5 after 5"),
        (struct.pack("<4I", 5, main, 0, main), "slot 0 after 5"),
        (struct.pack("<2I", 0, 1000), "there is no type 1000"),
        (struct.pack("<2I", 0, 0), "'void' is no function"),
        (struct.pack("<2I", 0, pointer), "'int' is no function"),
    ):
        with pytest.raises(BtfError, match=what):
            FuncInfo.from_records(types.btf, data)
    with pytest.raises(BtfError, match="more than is known"):
        FuncInfo.from_records(types.btf, struct.pack("<3I", 0, main, 1), 12)
    for size in (0, 4, 9, 256, "8"):
        with pytest.raises(BpfMisuseError):
            FuncInfo.from_records(types.btf, b"", size)  # type: ignore[arg-type]


@given(st.binary(max_size=40) | st.lists(st.integers(0, 12), max_size=8).map(lambda n: struct.pack(f"<{len(n)}I", *n)))
def test_any_records(data: bytes) -> None:
    types = declare(THREE)
    try:
        found = FuncInfo.from_records(types.btf, data)
    except BtfError:
        return
    assert found.records() == data


def test_functions_without_a_prototype() -> None:
    builder = BtfBuilder()
    id = builder.function("f", builder.int_("int", 4))
    with pytest.raises(BtfError, match="no prototype"):
        FuncInfo(builder.build(), {0: id})


@pytest.mark.parametrize("id", [0, 1, 99, 1 << 80, -1])
def test_types_that_are_no_functions(id: int) -> None:
    """Nothing, an ``int``, and numbers of no type."""
    with pytest.raises((BpfMisuseError, BtfError)):
        FuncInfo(declare(THREE).btf, {0: id})


@pytest.mark.parametrize("given", [5, "x", b"x", {0: 1}, object()], ids=lambda given: type(given).__name__)
def test_a_program_takes_no_other(given: Any) -> None:
    with pytest.raises(BpfMisuseError, match=r"Program\.func_info"):
        Program(assemble("exit").instructions, func_info=given)


@pytest.mark.parametrize("wrong", [None, [0], {"0": 1}, {0: "1"}, {-1: 1}, {1 << 32: 1}, {0.0: 1}])
def test_mappings_that_are_none(wrong: Any) -> None:
    with pytest.raises(BpfMisuseError):
        FuncInfo(BtfBuilder().build(), wrong)
    with pytest.raises(BpfMisuseError):
        FuncInfo(b"", {})  # type: ignore[arg-type]


def test_they_are_values() -> None:
    types = declare(THREE)
    assert pickle.loads(pickle.dumps(types)) == types  # noqa: S301
    assert hash(types) == hash(declare(THREE))
    assert repr(types).startswith("<FuncInfo: 0 int main(struct xdp_md *ctx); 5 int sum(int a, const char *p);")
    assert types._repr_html_().startswith("<pre>0: int main(struct xdp_md *ctx)\n")
    with pytest.raises(TypeError):
        types.functions[0] = 1  # type: ignore[index]
