# SPDX-License-Identifier: Apache-2.0
"""The Internet checksum against RFC 1071 and against a sum in the machine's own byte order."""

from __future__ import annotations

import array
import random
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.checksum import checksum_holds, internet_checksum, internet_checksum_reference
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.testing.ground import buffers

FORMS = pytest.mark.parametrize("checksum", [internet_checksum, internet_checksum_reference])


@FORMS
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("", 0xFFFF),
        ("00", 0xFFFF),
        ("0000", 0xFFFF),
        ("ffff", 0x0000),
        ("cd", 0x32FF),  # an odd byte is the high one of its word
        ("0001f203f4f5f6f7", 0xFFFF ^ 0xDDF2),  # RFC 1071, section 3
        ("0001f203f4f5f6f700", 0xFFFF ^ 0xDDF2),
        ("fffffffe0001", 0x0000),  # sums to a multiple of 0xffff
        # the IPv4 header of the textbooks, checksum b861 taken out
        ("450000730000400040110000c0a80001c0a800c7", 0xB861),
    ],
)
def test_known_sums(checksum, data, expected):
    assert checksum(bytes.fromhex(data)) == expected


def native_words(data: bytes) -> bytes:
    """Sum as a C program does: words in the machine's order, result stored in that order."""
    words = array.array("H")
    words.frombytes(data + b"\0" * (len(data) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, sys.byteorder)


@given(st.binary(max_size=300))
@example(b"\xff" * 64)
@example(bytes(64))
@example(b"\xff\xfe\x00\x01")
def test_quick_form_is_the_reference_and_both_are_the_native_sum(data):
    expected = native_words(data)
    assert internet_checksum_reference(data).to_bytes(2, "big") == expected
    assert internet_checksum(data) == internet_checksum_reference(data)


def test_the_quick_form_holds_for_the_longest_datagram():
    data = random.Random(1071).randbytes(65535)
    assert internet_checksum(data) == internet_checksum_reference(data)
    assert internet_checksum(b"\xff" * 65534) == 0


@given(st.binary(min_size=1, max_size=100))
def test_data_with_its_checksum_inside_holds(data):
    stored = internet_checksum(bytes(2) + data).to_bytes(2, "big")
    assert checksum_holds(stored + data)


@given(st.binary(max_size=60).filter(any), st.data())
def test_a_changed_byte_never_holds(data, draw):
    whole = bytearray(internet_checksum(bytes(2) + data).to_bytes(2, "big") + data)
    at = draw.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= draw.draw(st.integers(1, 255))
    assert not checksum_holds(whole)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 20])
def test_nothing_but_zeros_does_not_hold(size):
    assert not checksum_holds(bytes(size))


@given(buffers())
def test_any_bytes_like_object(data):
    assert internet_checksum(data) == internet_checksum_reference(bytes(memoryview(data).cast("B")))


@FORMS
@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2]])
def test_other_types_are_misuse(checksum, wrong):
    with pytest.raises(CjdnsMisuseError):
        checksum(wrong)
