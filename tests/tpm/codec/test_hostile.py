# SPDX-License-Identifier: Apache-2.0
"""Recorded messages that were cut, lengthened or flipped: a typed error, or a value that is exactly those bytes."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec import tpm
from prestocloud_sec.tpm import Decoded, TpmFormatError, decode_command, decode_response
from prestocloud_sec.tpm.codec.frame import CommandFrame, ResponseFrame
from tests.tpm.codec.recorded import Pair, pairs

FLIPS = 250
"""Bits that are flipped in a longer message; in a shorter one all of them are."""

PAIRS = pytest.mark.parametrize("pair", pairs(), ids=lambda pair: pair.name)


def variants(message: bytes, seed: str) -> Iterator[bytes]:
    """Yield every truncation, some extensions and many bit flips, with the size in the header as it was and mended."""
    rng = random.Random(seed)
    for size in range(len(message)):
        yield message[:size]
        if size >= 10:
            yield message[:2] + size.to_bytes(4, "big") + message[6:size]
    for more in (b"\0", b"\xff\xff", bytes(300)):
        yield message + more
        yield message[:2] + (len(message) + len(more)).to_bytes(4, "big") + message[6:] + more
    bits = range(8 * len(message))
    for bit in bits if len(bits) <= FLIPS else rng.sample(bits, FLIPS):
        flipped = bytearray(message)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def is_exact(decoded: Decoded) -> None:
    """Check that what was decoded is these bytes, and nothing else."""
    frame: Any = decoded.frame
    assert frame.encode() == decoded.raw
    if decoded.value is not None:
        assert decoded.value.encode_parameters() == frame.parameters
        assert type(decoded.value)(**dict(decoded.value._fields())).encode_parameters() == frame.parameters


@PAIRS
def test_broken_responses(pair: Pair) -> None:
    decoded = refused = 0
    for message in variants(pair.response, pair.name):
        try:
            is_exact(decode_response(message, pair.code))
            decoded += 1
        except TpmFormatError as error:
            refused += bool(str(error))
    assert refused > len(pair.response)
    assert decoded or len(pair.response) == 10


@PAIRS
def test_broken_commands(pair: Pair) -> None:
    refused = 0
    for message in variants(pair.command, pair.name):
        try:
            is_exact(decode_command(message))
        except TpmFormatError as error:
            refused += bool(str(error))
    assert refused >= len(pair.command)


@PAIRS
def test_texts_of_recorded_messages(pair: Pair) -> None:
    command = decode_command(pair.command)
    for decoded in (command, decode_response(pair.response, command)):
        nodes = decoded.nodes()
        at = 0
        for node in nodes:
            assert node.offset == at, node.name
            at += node.size
        assert at == len(decoded.raw)
        for _, node in (row for top in nodes for row in top.walk()):
            inner = [child.size for child in node.children]
            assert sum(inner) <= node.size
        assert decoded.text().count("\n") >= len(nodes)
        assert pair.name in str(decoded) or pair.name in ("HMAC", "HMAC_Start")
        assert decoded.to_json()
        assert decoded._repr_html_().startswith("<table>")
        assert repr(decoded).startswith(f"<{decoded.kind} ")


@given(data=st.binary(max_size=80), code=st.sampled_from(sorted(tpm.spec.COMMANDS)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_at_all(data: bytes, code: int) -> None:
    for function, arguments in ((decode_command, ()), (decode_response, (code,)), (decode_response, ())):
        with contextlib.suppress(TpmFormatError):
            is_exact(function(data, *arguments))  # type: ignore[arg-type]


@given(data=st.binary(max_size=60), code=st.integers(0, 0xFFFFFFFF), handles=st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_frames_with_unknown_commands(data: bytes, code: int, handles: int) -> None:
    header = b"\x80\x02" + (10 + len(data)).to_bytes(4, "big")
    for frame, message in (
        (lambda m: CommandFrame.decode(m, handles=handles), header + code.to_bytes(4, "big") + data),
        (lambda m: ResponseFrame.decode(m, code, handles=handles), header + bytes(4) + data),
    ):
        with contextlib.suppress(TpmFormatError):
            assert frame(message).encode() == message


def test_nothing_takes_long() -> None:
    start = time.perf_counter()
    for message in (
        b"\x80\x01\0\0\x10\0\0\0\x01\x7e" + b"\xff" * 4086,
        b"\x80\x02\0\0\x10\0\0\0\x01\x31" + b"\0" * 4086,
    ):
        for lenient in (False, True):
            with pytest.raises(TpmFormatError):
                decode_command(message, lenient=lenient)
    assert time.perf_counter() - start < 1
