# SPDX-License-Identifier: Apache-2.0
"""What is true of every transport, of each with a real peer behind it."""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestocloud_sec.errors import MisuseError
from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportClosedError,
    TransportError,
)
from prestocloud_sec.tpm.transport import (
    Cancellable,
    EmbeddedTransport,
    HasLocality,
    HasPower,
    HasSnapshots,
    MeasuresLaunch,
    MssimTransport,
    Recorder,
    Replayer,
    Retrying,
    SpawnedTransport,
    SwtpmServer,
    Transport,
    open_transport,
    require,
)
from tests.tpm.transport.peers import (
    ANSWER,
    RANDOM,
    command,
    descriptors,
    get_random,
    in_threads,
    needs_libtpms,
    needs_swtpm,
    rc_of,
    response,
)


@contextmanager
def swtpm_tcp(_: Path) -> Iterator[Transport]:
    with SwtpmServer() as server, server.open() as tpm:
        yield tpm


@contextmanager
def swtpm_framed(_: Path) -> Iterator[Transport]:
    """Speak to swtpm in the simulator's framing, which its data channel understands."""
    with SwtpmServer() as server, MssimTransport(server.address, power_on=False) as tpm:
        yield tpm


@contextmanager
def spawned(_: Path) -> Iterator[Transport]:
    with SpawnedTransport() as tpm:
        yield tpm


@contextmanager
def embedded(_: Path) -> Iterator[Transport]:
    with EmbeddedTransport() as tpm:
        yield tpm


@contextmanager
def embedded_in_directory(path: Path) -> Iterator[Transport]:
    with EmbeddedTransport(path / "state") as tpm:
        yield tpm


@contextmanager
def recorded(path: Path) -> Iterator[Transport]:
    with Recorder(Retrying(EmbeddedTransport()), path / "recording") as tpm:
        yield tpm


@pytest.fixture(
    params=[
        pytest.param(swtpm_tcp, marks=needs_swtpm),
        pytest.param(swtpm_framed, marks=needs_swtpm),
        pytest.param(spawned, marks=needs_swtpm),
        pytest.param(embedded, marks=needs_libtpms),
        pytest.param(embedded_in_directory, marks=needs_libtpms),
        pytest.param(recorded, marks=needs_libtpms),
    ],
    ids=lambda maker: maker.__name__,
)
def tpm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    with request.param(tmp_path) as transport:
        yield transport


def test_commands_are_answered(tpm: Transport) -> None:
    first, second = tpm.transceive(RANDOM), tpm.transceive(RANDOM)
    assert rc_of(first) == rc_of(second) == 0
    assert len(first) == len(second) == 28
    assert first != second
    for size in (0, 1, 32):
        assert len(tpm.transceive(get_random(size))) == 12 + size
    assert rc_of(tpm.transceive(command(0x17B, b""))) != 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_commands_are_any_bytes(tpm: Transport, kind: Callable[[bytes], Any]) -> None:
    assert rc_of(tpm.transceive(kind(RANDOM))) == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"", "0 bytes; expected a header"),
        (RANDOM[:9], "9 bytes; expected a header"),
        (struct.pack(">HII", 0x8001, 9, 0x17B), "the size field says 9; expected 10, its length"),
        (struct.pack(">HII", 0x8001, 0, 0x17B), "the size field says 0"),
        (struct.pack(">HII", 0x8001, 0xFFFFFFFF, 0x17B), "the size field says 4294967295"),
        (RANDOM[:-1], "the size field says 12; expected 11"),
        (RANDOM + b"\0", "the size field says 12; expected 13"),
        (bytearray(RANDOM + b"\0"), "the size field says 12; expected 13"),
        (command(0x17B, bytes(4087)), "4097 bytes; expected 4096 at most|the size"),
        ("80010000000c0000017b0010", "str is not a contiguous bytes-like object"),
        (None, "NoneType is not"),
        (5, "int is not"),
        ([1, 2], "list is not"),
    ],
)
def test_what_is_no_command_is_not_sent(tpm: Transport, wrong: Any, words: str) -> None:
    with pytest.raises(TpmMisuseError, match=words):
        tpm.transceive(wrong)
    assert rc_of(tpm.transceive(RANDOM)) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.binary(max_size=40), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF))
def test_whatever_is_as_long_as_it_says_is_answered(tpm: Transport, body: bytes, tag: int, code: int) -> None:
    tag = tag or 0x8001  # swtpm takes what begins with 0 for the simulator's framing
    answer = tpm.transceive(command(code, body, tag))
    assert len(answer) >= 10
    assert int.from_bytes(answer[2:6], "big") == len(answer)


def test_closing(tpm: Transport) -> None:
    assert not tpm.closed
    tpm.close()
    tpm.close()
    assert tpm.closed
    for _ in range(2):
        with pytest.raises(TransportClosedError, match=r"it is closed: close\(\) was called \(open it again\)"):
            tpm.transceive(RANDOM)
    with pytest.raises(TransportClosedError):
        tpm.__enter__()
    assert "closed" in repr(tpm)


def test_it_can_be_neither_copied_nor_pickled(tpm: Transport) -> None:
    inner = tpm
    while hasattr(inner, "inner"):
        inner = inner.inner
    for work in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(MisuseError):
            work(inner)


def test_threads_share_it(tpm: Transport) -> None:
    seen: list[bytes] = []

    def work(_: int) -> None:
        for _ in range(50):
            answer = tpm.transceive(RANDOM)
            assert len(answer) == 28
            seen.append(answer)

    in_threads(work, 4)
    assert len(set(seen)) == 200


def test_threads_close_while_others_use_it(tpm: Transport) -> None:
    def work(number: int) -> None:
        with suppress(TransportClosedError):
            for _ in range(20 if number else 5):
                tpm.transceive(RANDOM)
        tpm.close()

    in_threads(work, 4)
    assert tpm.closed


def test_a_hundred_of_them_leave_nothing(tmp_path: Path) -> None:
    before = descriptors()
    for _ in range(100):
        with Replayer([(RANDOM, ANSWER)]) as tpm:
            tpm.transceive(RANDOM)
    assert descriptors() == before


# --- Capabilities --------------------------------------------------------------------------------------------------


@needs_libtpms
def test_capabilities_are_found_through_wrappers(tmp_path: Path) -> None:
    with Recorder(Retrying(EmbeddedTransport()), tmp_path / "recording") as tpm:
        for capability in (Cancellable, HasLocality, HasPower, HasSnapshots, MeasuresLaunch):
            assert isinstance(require(tpm, capability), EmbeddedTransport)


def test_capabilities_that_are_missing_are_named() -> None:
    with Retrying(Replayer([])) as tpm:
        with pytest.raises(TpmUnavailableError, match="a recording: this transport cannot turn the power off and on"):
            require(tpm, HasPower)
        with pytest.raises(TpmMisuseError, match="is no capability"):
            require(tpm, int)
        with pytest.raises(TpmMisuseError, match="is no capability"):
            require(tpm, 5)  # type: ignore[arg-type]
        with pytest.raises(TpmUnavailableError):
            require("x", HasPower)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [None, 5, "embedded:", object()])
@pytest.mark.parametrize("wrapper", [Retrying, lambda inner: Recorder(inner, "/nowhere/x")])
def test_what_is_no_transport_is_not_wrapped(wrapper: Callable[[Any], object], wrong: Any) -> None:
    with pytest.raises(TpmMisuseError, match="expected a transport"):
        wrapper(wrong)


def test_responses_are_handed_on_whatever_they_say() -> None:
    for rc in (0x101, 0x922, 0x98E, 0xB0143):
        with Replayer([(RANDOM, response(rc=rc))]) as tpm:
            assert rc_of(tpm.transceive(RANDOM)) == rc


def test_errors_of_transports_are_of_one_branch() -> None:
    with pytest.raises(TpmUnavailableError):
        open_transport("device:/nowhere/tpm0")
    assert issubclass(TransportClosedError, TransportError)
