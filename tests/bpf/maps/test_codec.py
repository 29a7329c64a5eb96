# SPDX-License-Identifier: Apache-2.0
"""Keys and values as numbers, records and tuples: what goes in comes out, and what does not fit is refused."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from prestocloud_sec import bpf
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.codec import codec_of

RECORD = np.dtype([("a", "u2"), ("b", ">i4"), ("c", "u1", (2,)), ("d", [("e", "f4"), ("f", "S3")])])


@pytest.mark.parametrize(
    ("declared", "value", "data"),
    [
        (3, b"abc", b"abc"),
        (3, bytearray(b"abc"), b"abc"),
        (4, np.uint32(0x01020304), b"\4\3\2\1"),
        ("u4", 5, b"\5\0\0\0"),
        (">u4", 5, b"\0\0\0\5"),
        ("i2", -2, b"\xfe\xff"),
        (np.uint64, 2**64 - 1, b"\xff" * 8),
        ("u1", np.int64(7), b"\7"),
        ("f8", 1, struct.pack("=d", 1.0)),
        ("?", True, b"\1"),
        ("U1", "a", b"a\0\0\0"),
        ("c8", 1, struct.pack("=ff", 1.0, 0.0)),
        ("S4", b"ab", b"ab\0\0"),
        ("(2,)u2", [1, 2], b"\1\0\2\0"),
        ("<IH", (1, 2), b"\1\0\0\0\2\0"),
        (">H", 5, b"\0\5"),
        (struct.Struct("4s"), b"ab", b"ab\0\0"),
        (RECORD, (1, 2, (3, 4), (1.0, b"x")), b"\1\0\0\0\0\2\3\4\0\0\x80\x3fx\0\0"),
        (RECORD, {"a": 1, "b": 2, "c": [3, 4], "d": {"e": 1, "f": b"x"}}, b"\1\0\0\0\0\2\3\4\0\0\x80\x3fx\0\0"),
    ],
)
def test_bytes_of_a_value(declared: Any, value: Any, data: bytes) -> None:
    codec = codec_of(declared, "value")
    assert codec.encode(value, "value") == data
    assert codec.size == len(data)
    assert codec.encode(data, "value") == codec.encode(memoryview(data), "value") == data
    assert codec.encode(codec.decode(data), "value") == data


@pytest.mark.parametrize(
    ("declared", "bad"),
    [
        ("u4", [-1, 2**32, 1.0, float("nan"), "1", None, b"", (1,), np.float64(1), 10**5000]),
        ("i1", [128, -129]),
        ("f4", ["x", None, (1, 2), [1.0], {}, 10**5000]),
        ("S2", [b"abc", 5 + 5j, "a", 1]),
        ("U2", ["abc", b"a", 1]),
        ("?", [1, "a", None]),
        ("c8", ["a", None, (1, 2)]),
        ("(2,)u2", [5, [1], [1, 2, 3], [1, 2**16], None]),
        ("<IH", [5, (1,), (1, 2, 3), (1, 2**16), (1.5, 2), ("a", 2), None]),
        ("4s", [5, None, "abcd"]),
        (RECORD, [5, (1,), (1, 2, (3, 4), (1.0,)), (1, 2, (3, 256), (1.0, b"x")), {"a": 1}, None, "abcd"]),
        (RECORD, [(1.5, 2, (3, 4), (1.0, b"x")), (1, 2, (3, 4), (1.0, b"wxyz")), np.zeros((), [("a", "u2")])]),
        (4, [5, 1.0, None, "abcd", (1, 2), np.uint64(5)]),
    ],
)
def test_what_does_not_fit_is_refused(declared: Any, bad: list[Any]) -> None:
    codec = codec_of(declared, "value")
    for value in bad:
        with pytest.raises(BpfMisuseError):
            codec.encode(value, "value")


@pytest.mark.parametrize(
    "declared",
    [
        -1,
        1 << 32,
        1.5,
        None,
        True,
        "",
        "x",
        "999999999999s",
        "O",
        object,
        "M8[s]",
        [("a", "O")],
        "é",
        b"u4",
        {},
        (),
        "4x",
    ],
    ids=repr,
)
def test_what_is_no_declaration(declared: Any) -> None:
    with pytest.raises(BpfMisuseError):
        codec_of(declared, "value")


@given(st.data())
def test_any_scalar_comes_back(data: st.DataObject) -> None:
    dtype = data.draw(
        nps.integer_dtypes()
        | nps.unsigned_integer_dtypes()
        | nps.floating_dtypes(sizes=(32, 64))
        | nps.boolean_dtypes()
    )
    value = data.draw(nps.from_dtype(dtype))
    codec = codec_of(dtype, "value")
    written = np.array(value, dtype).tobytes()
    assert codec.encode(value, "value") == written
    found = codec.decode(written)
    assert found == value.item() or (found != found and value != value)


@given(st.binary(min_size=RECORD.itemsize, max_size=RECORD.itemsize))
def test_records_come_back(data: bytes) -> None:
    there = bpf.ArrayMap(RECORD, 1)
    there[0] = data
    assert there[0].tobytes() == data == there.array[0].tobytes()
    assert there[0]["b"] == int.from_bytes(data[2:6], "big", signed=True)
