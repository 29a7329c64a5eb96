# SPDX-License-Identifier: Apache-2.0
"""Responses are put together from whatever parts a stream brings, in both framings."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import TransportProtocolError
from prestocloud_sec.tpm.transport.framing import Collector
from tests.tpm.transport.peers import ANSWER, response


def parts(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def fed(collector: Collector, chunks: list[bytes]) -> bytes | None:
    """Feed chunks, but no more of each than the collector asks for."""
    found = None
    for chunk in chunks:
        while chunk:
            assert found is None
            size = min(len(chunk), collector.missing)
            found = collector.feed(chunk[:size])
            chunk = chunk[size:]
    return found


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=8), st.booleans())
def test_however_it_is_cut(body: bytes, cuts: list[int], framed: bool) -> None:
    whole = response(body)
    sent = struct.pack(">I", len(whole)) + whole + bytes(4) if framed else whole
    assert fed(Collector("here", framed=framed), parts(sent, cuts)) == whole


@given(st.binary(max_size=64), st.booleans())
def test_whatever_comes_is_a_response_or_refused_or_not_yet_there(data: bytes, framed: bool) -> None:
    collector = Collector("here", 48, framed=framed)
    try:
        found = collector.feed(data)
    except TransportProtocolError:
        return
    if found is not None:
        assert 10 <= len(found) <= 48
        assert int.from_bytes(found[2:6], "big") == len(found)
        assert found in data
    else:
        assert 1 <= collector.missing <= 48 + 8 + 1


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (struct.pack(">I", 9), "has 9 bytes"),
        (struct.pack(">I", 0xFFFFFFFF), "has 4294967295 bytes"),
        (struct.pack(">I", 27) + ANSWER, "says it has 28 bytes comes in 27"),
        (struct.pack(">I", 28) + ANSWER + struct.pack(">I", 1), "acknowledged with 0x1; expected 0"),
        (struct.pack(">I", 28) + ANSWER + bytes(5), "1 bytes or more after the response"),
    ],
)
def test_frames_that_are_none(sent: bytes, words: str) -> None:
    with pytest.raises(TransportProtocolError, match=words):
        Collector("here", framed=True).feed(sent)
