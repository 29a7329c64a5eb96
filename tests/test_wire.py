# SPDX-License-Identifier: Apache-2.0
"""Reader and Writer against `int.to_bytes`, slices and every kind of buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec import wire
from prestocloud_sec.errors import MisuseError, TrailingBytesError, TruncatedError
from prestocloud_sec.testing.ground import Field, buffers, fields
from prestocloud_sec.wire import Reader, Writer, view_of

NO_BUFFERS = [None, 1, "text", [1, 2], object(), np.zeros((4, 4), np.uint8)[:, :2], memoryview(b"abcd")[::2]]


@given(fields())
def test_writing_is_int_to_bytes(chosen: list[Field]) -> None:
    writer = Writer()
    for field in chosen:
        writer.uint(field.value, field.size, "field")
    assert writer.finish() == b"".join(f.value.to_bytes(f.size, "big") for f in chosen)
    assert len(writer) == sum(f.size for f in chosen)


@given(fields())
def test_reading_gives_back_what_was_written(chosen: list[Field]) -> None:
    reader = Reader(b"".join(f.value.to_bytes(f.size, "big") for f in chosen))
    assert [Field(f.size, reader.uint(f.size, "field")) for f in chosen] == chosen
    reader.end()


@given(buffers(), st.data())
def test_a_reader_is_a_cursor(data: wire.BytesLike, draw: st.DataObject) -> None:
    raw = bytes(data)
    start = draw.draw(st.integers(0, len(raw)))
    reader = Reader(data, offset=start)
    while reader.remaining:
        size = draw.draw(st.integers(1, reader.remaining))
        before = reader.offset
        assert reader.take(size, "piece") == raw[before : before + size]
        assert reader.offset == before + size
    assert bytes(reader.rest()) == b""
    reader.end()


@given(buffers(max_size=20), st.integers(1, 40))
def test_a_short_input_changes_nothing(data: wire.BytesLike, extra: int) -> None:
    reader = Reader(data, name="thing")
    size = len(bytes(data)) + extra
    for read in (reader.uint, reader.take, reader.view):
        with pytest.raises(TruncatedError) as caught:
            read(size, "field")
        assert caught.value.offset == 0
        assert "thing.field" in str(caught.value)
    assert reader.offset == 0
    assert bytes(reader.rest()) == bytes(data)


@given(buffers(min_size=1))
def test_bytes_after_the_end_are_refused(data: wire.BytesLike) -> None:
    reader = Reader(data)
    with pytest.raises(TrailingBytesError) as caught:
        reader.end()
    assert caught.value.offset == 0


@pytest.mark.parametrize("method", ["u8", "u16", "u32", "u64"])
def test_fixed_widths(method: str) -> None:
    size = int(method[1:]) // 8
    data = bytes(range(1, 9))
    assert getattr(Reader(data), method)("x") == int.from_bytes(data[:size], "big")
    top = (1 << (8 * size)) - 1
    assert getattr(Writer(), method)(top, "x").finish() == b"\xff" * size
    for bad in (-1, top + 1):
        with pytest.raises(MisuseError):
            getattr(Writer(), method)(bad, "x")


@given(st.integers(1, 16), st.integers(1))
def test_a_value_too_large_writes_nothing(size: int, excess: int) -> None:
    writer = Writer()
    for bad in ((1 << (8 * size)) - 1 + excess, -excess):
        with pytest.raises(MisuseError):
            writer.uint(bad, size, "x")
    assert writer.finish() == b""


@given(buffers(), st.integers(0, 80))
def test_putting_bytes_checks_their_length(data: wire.BytesLike, size: int) -> None:
    raw = bytes(data)
    assert Writer().put(data, None, "x").put(data, len(raw), "y").finish() == raw + raw
    if size != len(raw):
        with pytest.raises(MisuseError):
            Writer().put(data, size, "x")


@given(buffers())
def test_a_view_shares_the_memory(data: wire.BytesLike) -> None:
    view = view_of(data)
    assert view.nbytes == len(view) == len(bytes(data))
    assert bytes(view) == bytes(data)
    assert view.obj is memoryview(data).obj


def test_a_view_of_wider_items_is_bytes() -> None:
    words = np.array([1, 2], dtype=">u4")
    assert bytes(view_of(words.view(np.uint8))) == bytes.fromhex("0000000100000002")
    assert bytes(view_of(memoryview(words.astype(np.uint32)))) == words.astype(np.uint32).tobytes()


@pytest.mark.parametrize("value", NO_BUFFERS, ids=lambda value: type(value).__name__)
def test_what_is_no_buffer_is_misuse(value: Any) -> None:
    for call in (view_of, Reader, lambda v: Writer().put(v, None, "x")):
        with pytest.raises(MisuseError):
            call(value)


def test_impossible_positions() -> None:
    for offset in (-1, 3):
        with pytest.raises(TruncatedError):
            Reader(b"ab", offset=offset)
    with pytest.raises(MisuseError):
        Reader(b"ab").view(-1, "x")


def test_the_alias_is_there_at_run_time() -> None:
    assert isinstance(b"", wire.BytesLike)
    with pytest.raises(AttributeError):
        wire.no_such_name  # noqa: B018
