# SPDX-License-Identifier: Apache-2.0
"""Bencoding: exact round trips, limits, and no input that hurts."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import BencodeError, CjdnsMisuseError
from prestocloud_sec.cjdns.routing.bencode import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_SIZE,
    Document,
    Layout,
    decode,
    encode,
)
from prestocloud_sec.testing.search import bencode_documents, bencode_values


@given(bencode_values())
def test_what_is_encoded_decodes_to_the_same(value):
    document = decode(encode(value))
    assert document.value == value
    assert document.layout == Layout()


@given(bencode_documents())
@example(b"d00000002:eii0ee")
@example(b"i007e")
@example(b"d1:bi1e1:ai2ee tail")
@example(b"i-0000000000000000007e")
def test_what_is_decoded_encodes_to_the_same_bytes(data):
    assert decode(data).encode() == data


@given(st.binary(max_size=200) | st.text("dlie0123456789:-ab", max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_a_typed_error(data):
    try:
        document = decode(data)
    except BencodeError as error:
        at = error.offset
    else:
        at = 0
        assert document.encode() == data
    assert at is None or 0 <= at <= len(data)


@given(bencode_values())
def test_plain_bencoding_of_others_is_read(value):
    """Written by five lines of our own that know nothing of padding (BEP 3)."""

    def plain(item):
        if isinstance(item, int):
            return b"i%de" % item
        if isinstance(item, bytes):
            return b"%d:%s" % (len(item), item)
        if isinstance(item, dict):
            return b"d" + b"".join(plain(k) + plain(v) for k, v in item.items()) + b"e"
        return b"l" + b"".join(map(plain, item)) + b"e"

    document = decode(plain(value))
    assert document.value == value
    assert document.encode() == plain(value)


@given(st.dictionaries(st.binary(max_size=9), st.binary(max_size=30), min_size=1))
def test_a_dictionary_is_padded_to_eight_bytes_in_its_first_key(value):
    written = encode(value)
    assert len(written) % 8 == 0
    first = len(next(iter(value)))
    digits, _, rest = written[1:].partition(b":")
    assert int(digits) == first
    assert len(digits) - len(str(first)) < 8
    assert rest.startswith(next(iter(value)))


def test_what_the_padding_is_for_a_live_message():
    value = {b"ei": 0, b"es": bytes.fromhex("6114458100"), b"p": 21, b"q": b"pn", b"txid": bytes(14)}
    assert encode(value).startswith(b"d00000002:eii0e2:es5:")


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (b"i", 0),
        (b"ie", 0),
        (b"i-e", 0),
        (b"i-0e", 0),
        (b"i+1e", 0),
        (b"i1", 0),
        (b"5:abcd", 0),
        (b"-1:a", 0),
        (b"e", 0),
        (b"x", 0),
        (b"l", 1),
        (b"li1e", 4),
        (b"d1:ae", 4),
        (b"di1ei2ee", 7),
        (b"d1:ai1e1:ai2ee", 13),
        (b"dli1eei2ee", 9),
        (b"i9223372036854775808e", 0),
        (b"i-9223372036854775809e", 0),
        (b"i" + b"0" * MAX_DIGITS + b"1e", 0),
        (b"1" * (MAX_DIGITS + 1) + b":", 0),
        (b"99999999999999999999:a", 0),
    ],
)
def test_refusals_say_where(data, offset):
    with pytest.raises(BencodeError) as caught:
        decode(data)
    assert caught.value.offset == offset


def test_limits_are_exact():
    deepest = b"l" * MAX_DEPTH + b"e" * MAX_DEPTH
    assert decode(deepest).encode() == deepest
    with pytest.raises(BencodeError, match="too deep"):
        decode(b"l" * MAX_SIZE)
    with pytest.raises(BencodeError, match="bytes"):
        decode(bytes(MAX_SIZE + 1))
    for edge in (-(1 << 63), (1 << 63) - 1):
        assert decode(encode(edge)).value == edge


def test_trailing_bytes_are_kept_or_refused():
    assert decode(b"i1exyz").layout.trailing == b"xyz"
    with pytest.raises(BencodeError, match="3 bytes after"):
        decode(b"i1exyz", trailing=False)


def _nested(depth):
    value = 1
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "value", [1.5, None, "text", {"a": 1}, 1 << 63, -(1 << 63) - 1, True, _nested(MAX_DEPTH + 1), bytes(MAX_SIZE)]
)
def test_what_cannot_be_written_is_misuse(value):
    with pytest.raises(CjdnsMisuseError):
        encode(value)


def test_misuse_of_decode_and_layout():
    with pytest.raises(CjdnsMisuseError):
        decode("text")  # type: ignore[arg-type]
    for widths in ([(0, 1)], ((0,),), ((0, MAX_DIGITS + 1),), (("a", 1),)):
        with pytest.raises(CjdnsMisuseError):
            Layout(widths)  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        Layout(None, "x")  # type: ignore[arg-type]
    assert Document({b"a": 1}).encode() == encode({b"a": 1})
