# SPDX-License-Identifier: Apache-2.0
"""What the tests of transports share: commands as bytes, what is here of real peers, and peers that misbehave."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from prestocloud_sec.tpm.transport import libtpms, process
from prestocloud_sec.tpm.transport.stream import StreamTransport

T = TypeVar("T")

needs_libtpms = pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")
needs_swtpm = pytest.mark.skipif(not process.available(), reason="swtpm is not here: apt-get install swtpm")

NO_SESSIONS, SESSIONS = 0x8001, 0x8002


def command(code: int, body: bytes = b"", tag: int = NO_SESSIONS) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def response(body: bytes = b"", rc: int = 0, tag: int = NO_SESSIONS) -> bytes:
    return command(rc, body, tag)


def get_random(size: int = 16) -> bytes:
    return command(0x17B, struct.pack(">H", size))


STARTUP = command(0x144, b"\0\0")
STARTUP_STATE = command(0x144, b"\0\1")
SHUTDOWN_STATE = command(0x145, b"\0\1")
READ_CLOCK = command(0x181)
RANDOM = get_random()
ANSWER = response(bytes.fromhex("0010") + bytes(range(16)))
OTHER_ANSWER = response(bytes.fromhex("0010") + bytes(16))
PASSWORD = bytes.fromhex("00000009400000090000000000")
"""The authorization area of the empty password."""


def pcr_extend(pcr: int, digest: bytes = b"\x11" * 32) -> bytes:
    return command(0x182, struct.pack(">I", pcr) + PASSWORD + bytes.fromhex("00000001000b") + digest, SESSIONS)


def pcr_reset(pcr: int) -> bytes:
    return command(0x13D, struct.pack(">I", pcr) + PASSWORD, SESSIONS)


def pcr_read(pcr: int) -> bytes:
    bitmap = (1 << pcr).to_bytes(3, "little")
    return command(0x17E, bytes.fromhex("00000001000b03") + bitmap)


def digest_of(answer: bytes) -> bytes:
    """Return the only digest in an answer to `pcr_read`."""
    assert rc_of(answer) == 0
    return answer[-32:]


def rc_of(answer: bytes) -> int:
    return int.from_bytes(answer[6:10], "big")


def create_rsa_primary() -> bytes:
    """Return a command that makes an RSA key of 2048 bits, which takes time; its unique field makes it a new one."""
    sensitive = bytes.fromhex("000400000000")
    unique = os.urandom(32).ljust(256, b"\0")
    public = bytes.fromhex("0001000b00030072000000060080004300100800000000000100") + unique
    body = struct.pack(">I", 0x40000001) + PASSWORD + sensitive + struct.pack(">H", len(public)) + public
    return command(0x131, body + bytes.fromhex("000000000000"), SESSIONS)


def make_nv_index(index: int = 0x01800001) -> bytes:
    public = struct.pack(">IHI", index, 0x0B, 0x00020002) + bytes.fromhex("00000008")
    body = struct.pack(">I", 0x40000001) + PASSWORD + b"\0\0" + struct.pack(">H", len(public)) + public
    return command(0x12A, body, SESSIONS)


def read_nv_public(index: int = 0x01800001) -> bytes:
    return command(0x169, struct.pack(">I", index))


Script = Callable[[socket.socket], object]


@contextlib.contextmanager
def peer(script: Script, **options: Any) -> Iterator[StreamTransport]:
    """Give a transport at whose other end a script runs, which gets the socket."""
    ours, its = socket.socketpair()
    its.settimeout(10)
    problems: list[BaseException] = []

    def run() -> None:
        try:
            script(its)
        except (ConnectionError, TimeoutError):
            pass  # the transport was closed first
        except BaseException as error:
            problems.append(error)
        finally:
            its.close()

    thread = threading.Thread(target=run, daemon=True)
    transport = StreamTransport(ours, "a peer", **({"timeouts": 5} | options))
    thread.start()
    try:
        with transport:
            yield transport
    finally:
        thread.join(15)
    assert not thread.is_alive(), "the peer still waits"
    assert not problems, problems


def answering(*answers: bytes) -> Script:
    """Return a script that reads a command and sends what it is given, once for each."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            assert connection.recv(8192)
            connection.sendall(answer)

    return script


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[int]:
    """Return the processes that this one has started and that are still there, ended or not."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def soon(condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
    return found


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Do something in several threads, and pass on what goes wrong."""
    problems: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not problems, problems
