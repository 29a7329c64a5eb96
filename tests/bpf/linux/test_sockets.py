# SPDX-License-Identifier: Apache-2.0
"""Filters on sockets: classic ones need no right and give exactly what libpcap's answers say; loaded ones do."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.bpf import ProgramType
from prestocloud_sec.bpf.errors import BpfMisuseError, ClassicError, KernelError, LoadError
from prestocloud_sec.bpf.linux import attach, attach_classic, detach, lock
from prestocloud_sec.errors import MisuseError
from tests.bpf.linux.kernel import done, needs_kernel, program

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "bpf" / "cbpf_filters.json"


def instruction(code: int, jt: int, jf: int, k: int) -> bytes:
    return struct.pack("<HBBI", code, jt, jf, k)


ALL, NONE, FOUR = (instruction(0x06, 0, 0, k) for k in (0xFFFFFFFF, 0, 4))
FIRST_IS_A = instruction(0x30, 0, 0, 0) + instruction(0x15, 0, 1, ord("a")) + ALL + NONE


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.setblocking(False)
        yield sender, receiver


def passes(sender: socket.socket, receiver: socket.socket, packet: bytes) -> bytes | None:
    """Return what arrives of a packet. A dropped one is an error for the sender here (EPERM), or nothing."""
    try:
        sender.send(packet)
        return receiver.recv(1 << 16)
    except (PermissionError, BlockingIOError):
        return None


def test_classic_filters(pair: tuple[socket.socket, socket.socket]) -> None:
    attach_classic(pair[1], FIRST_IS_A)
    assert passes(*pair, b"abc") == b"abc"
    assert passes(*pair, b"bbc") is None
    attach_classic(pair[1], FOUR)
    assert passes(*pair, b"bbcdefg") == b"bbcd"
    detach(pair[1])
    assert passes(*pair, b"bbcdefg") == b"bbcdefg"
    assert done(lambda: detach(pair[1])) == "ENOENT"


def filters() -> list[dict[str, Any]]:
    """Return every eighth filter with the packets; all 159 are compared elsewhere, here the way to the kernel is."""
    rows = json.loads(VECTORS.read_text())
    return [row | {"packets": [packet["hex"] for packet in rows["packets"]]} for row in rows["filters"][::8]]


def code_of(row: dict[str, Any]) -> bytes:
    if "insns_hex" in row:
        return bytes.fromhex(row["insns_hex"])
    return zlib.decompress(base64.b64decode(row["insns_zb64"]))


@pytest.mark.parametrize("row", filters(), ids=lambda row: row["expr"][:40])
def test_recorded_filters(pair: tuple[socket.socket, socket.socket], row: dict[str, Any]) -> None:
    attach_classic(pair[1], code_of(row))
    packets = zip(row["packets"], row["kernel_match"], strict=True)
    answers = [(passes(*pair, bytes.fromhex(packet)) is not None, match) for packet, match in packets if match != "-"]
    assert all("01"[kept] == match for kept, match in answers)
    assert len(answers) > 300


def test_recorded_refusals(pair: tuple[socket.socket, socket.socket]) -> None:
    rows = json.loads(VECTORS.read_text())["invalid"]
    counts = {"REJECT": 0, "ACCEPT": 0}
    for row in rows:
        answer = done(lambda row=row: attach_classic(pair[1], code_of(row)))
        assert (answer == "ok") == (row["kernel_verdict"] == "ACCEPT"), row["name"]
        if answer != "ok":
            assert answer == row["kernel_errno"], row["name"]
        counts[row["kernel_verdict"]] += 1
    assert min(counts.values()) > 40


def test_a_classic_filter_that_is_refused_leaves_the_old_one(pair: tuple[socket.socket, socket.socket]) -> None:
    attach_classic(pair[1], FIRST_IS_A)
    with pytest.raises(LoadError, match=r"classic program of 1 instructions: the kernel refuses .*\[EINVAL\]"):
        attach_classic(pair[1], instruction(0x30, 0, 0, 0))
    with pytest.raises(LoadError, match="EINVAL"):
        attach_classic(pair[1], b"")
    assert passes(*pair, b"abc") == b"abc"
    assert passes(*pair, b"bbc") is None


@pytest.mark.parametrize("code", [b"1234567", ALL + b"1", ALL * 65536])
def test_what_is_no_classic_program(pair: tuple[socket.socket, socket.socket], code: bytes) -> None:
    with pytest.raises(ClassicError, match=f"{len(code)} bytes are no program"):
        attach_classic(pair[1], code)


@pytest.mark.parametrize("code", [None, 5, "ret #0", [6, 0, 0, 0]])
def test_what_is_no_program_at_all(pair: tuple[socket.socket, socket.socket], code: Any) -> None:
    with pytest.raises(MisuseError, match="program"):
        attach_classic(pair[1], code)
    with pytest.raises(BpfMisuseError, match="is no loaded program"):
        attach(pair[1], code)


def test_what_is_no_socket() -> None:
    closed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    closed.close()
    number = os.open("/dev/null", os.O_RDONLY)
    os.close(number)
    for wrong in (None, number, "socket", closed):
        for call in (lambda w=wrong: attach_classic(w, ALL), lambda w=wrong: detach(w), lambda w=wrong: lock(w)):
            with pytest.raises(BpfMisuseError, match="is no open socket"):
                call()


def test_a_locked_filter_stays(pair: tuple[socket.socket, socket.socket]) -> None:
    attach_classic(pair[1], FOUR)
    lock(pair[1])
    assert done(lambda: detach(pair[1])) == "EPERM"
    assert done(lambda: attach_classic(pair[1], ALL)) == "EPERM"
    assert passes(*pair, b"abcdef") == b"abcd"


@needs_kernel
def test_loaded_programs_filter_sockets(pair: tuple[socket.socket, socket.socket]) -> None:
    text = "r6 = r1\nr0 = *(u8 *)skb[0]\nif r0 == 97 goto +2\nr0 = 0\nexit\nr0 = 3\nexit"
    with program(ProgramType.SOCKET_FILTER, text) as loaded:
        attach(pair[1], loaded)
    assert passes(*pair, b"abcdef") == b"abc"  # the socket keeps the program
    assert passes(*pair, b"bbcdef") is None
    with program(ProgramType.XDP) as other, pytest.raises(KernelError, match="EINVAL"):
        attach(pair[1], other)
    with pytest.raises(BpfMisuseError, match="it was closed"):
        attach(pair[1], loaded)
    detach(pair[1])
    assert passes(*pair, b"bbcdef") == b"bbcdef"
