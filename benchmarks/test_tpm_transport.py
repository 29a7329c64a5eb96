# SPDX-License-Identifier: Apache-2.0
"""Ways to a TPM, each beside the barest code that does the same: bytes made beforehand, one call or one socket.

The floor is the exchange itself: a foreign function called with what it needs, or ``sendall`` and ``recv``. What a
transport adds is its checks, its lock and its time-outs; what a client may add to that is in its own benchmarks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Versus
from prestocloud_sec.tpm.transport import (
    EmbeddedTransport,
    Recorder,
    Replayer,
    Retrying,
    SpawnedTransport,
    StreamTransport,
    SwtpmServer,
    libtpms,
    process,
)

GET_RANDOM_16 = bytes.fromhex("80010000000c0000017b0010")
GET_RANDOM_32 = bytes.fromhex("80010000000c0000017b0020")

needs_libtpms = pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")
needs_swtpm = pytest.mark.skipif(not process.available(), reason="swtpm is not here: apt-get install swtpm")


@needs_libtpms
@pytest.mark.parametrize("command", [GET_RANDOM_16, GET_RANDOM_32], ids=["16", "32"])
def test_get_random_embedded(versus: Versus, command: bytes) -> None:
    """The floor calls the same copy of the library, so that it is the same TPM at the same age."""
    with EmbeddedTransport() as tpm:
        process_ = tpm._library._library.TPMLIB_Process
        pointer, length, capacity = ctypes.c_void_p(), ctypes.c_uint32(), ctypes.c_uint32()

        def floor() -> bytes:
            process_(ctypes.byref(pointer), ctypes.byref(length), ctypes.byref(capacity), command, len(command))
            return ctypes.string_at(pointer.value or 0, length.value)

        size = 12 + command[-1]
        assert len(floor()) == len(tpm.transceive(command)) == size
        versus(
            f"GetRandom({command[-1]}), embedded: transport",
            lambda: tpm.transceive(command),
            floor,
            against="ctypes, pre-built bytes",
            target=1.2,
        )
        ctypes.CDLL(None).free(pointer)


@contextlib.contextmanager
def unix() -> Iterator[StreamTransport]:
    with SpawnedTransport() as tpm:
        yield tpm


@contextlib.contextmanager
def tcp() -> Iterator[StreamTransport]:
    with SwtpmServer() as server, server.open() as tpm:
        yield tpm


@needs_swtpm
@pytest.mark.parametrize("kind", [unix, tcp])
def test_get_random_swtpm(
    versus: Versus, kind: Callable[[], contextlib.AbstractContextManager[StreamTransport]]
) -> None:
    """Both use the same connection, in turn; the floor blocks in ``recv``, as code does that knows no time-outs."""
    with kind() as tpm, socket.socket(fileno=os.dup(tpm._socket.fileno())) as raw:
        send, receive = raw.sendall, raw.recv

        def floor() -> bytes:
            send(GET_RANDOM_32)
            return receive(4096)

        def ours() -> bytes:
            return tpm.transceive(GET_RANDOM_32)

        os.set_blocking(
            raw.fileno(), True
        )  # of the open file, whose flags both have; the transport polls before it reads
        assert len(ours()) == len(floor()) == 44
        name = f"GetRandom(32), swtpm over {kind.__name__}: transport"
        versus(name, ours, floor, against="the bare socket", target=1.2)


@needs_libtpms
@pytest.mark.parametrize(("name", "wrap"), [("Retrying", lambda inner, _: Retrying(inner)), ("Recorder", Recorder)])
def test_wrappers(versus: Versus, tmp_path: Path, name: str, wrap: Callable[[Any, Path], Any]) -> None:
    with EmbeddedTransport() as inner, wrap(inner, tmp_path / "recording") as tpm:
        versus(
            f"GetRandom(16), embedded: {name}",
            lambda: tpm.transceive(GET_RANDOM_16),
            lambda: inner.transceive(GET_RANDOM_16),
            against="the transport without it",
        )


def test_replay(versus: Versus) -> None:
    pair = (GET_RANDOM_16, bytes.fromhex("80010000000a00000000"))
    with Replayer([pair]) as tpm:

        def ours() -> None:
            tpm._next = 0
            tpm.transceive(GET_RANDOM_16)

        versus.report("a command of a recording", ours)


@needs_libtpms
def test_opening_and_states(versus: Versus) -> None:
    """From nothing to a TPM that was made and started, and back to a saved state."""

    def open_and_close() -> None:
        EmbeddedTransport().close()

    open_and_close()
    with EmbeddedTransport() as tpm:
        state = tpm.snapshot()
        versus.report("embedded: restore a snapshot", lambda: tpm.restore(state), rounds=5)
    versus.report("embedded: make, start and end a TPM", open_and_close, rounds=5)


@needs_swtpm
def test_spawning(versus: Versus) -> None:
    versus.report("spawn: start and end a swtpm", lambda: SpawnedTransport().close(), rounds=3, least=0.1)
