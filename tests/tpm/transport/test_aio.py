# SPDX-License-Identifier: Apache-2.0
"""Transports for asyncio: the same answers, the same errors, and nothing else stands still meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportBusyError,
    TransportClosedError,
    TransportError,
    TransportProtocolError,
    TransportTimeoutError,
    TransportUriError,
)
from prestocloud_sec.tpm.transport import (
    AsyncTransport,
    DeviceTransport,
    EmbeddedTransport,
    MssimTransport,
    Replayer,
    SpawnedTransport,
    StreamTransport,
    SwtpmServer,
    asynchronous,
    open_async_transport,
)
from tests.tpm.transport.peers import (
    ANSWER,
    OTHER_ANSWER,
    RANDOM,
    STARTUP,
    create_rsa_primary,
    needs_libtpms,
    needs_swtpm,
    pcr_reset,
    rc_of,
    response,
)


@contextlib.asynccontextmanager
async def peer(
    script: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]], **options: Any
) -> AsyncIterator[AsyncTransport]:
    """Give a transport at whose other end a script runs."""
    ours, its = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=its)

    async def run() -> None:
        with contextlib.suppress(ConnectionError):
            await script(reader, writer)
        writer.close()

    task = asyncio.create_task(run())
    async with asynchronous(StreamTransport(ours, "a peer", **({"timeouts": 5} | options))) as tpm:
        yield tpm
    async with asyncio.timeout(10):
        await task


def answering(*answers: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            assert await reader.read(8192)
            writer.write(answer)
            await writer.drain()

    return script


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(bounded())


def test_answers() -> None:
    async def work() -> None:
        async with peer(answering(ANSWER, OTHER_ANSWER)) as tpm:
            assert await tpm.transceive(RANDOM) == ANSWER
            with pytest.raises(TpmMisuseError):
                await tpm.transceive(RANDOM[:-1])
            assert await tpm.transceive(bytearray(RANDOM)) == OTHER_ANSWER
            assert tpm.name == "a peer"
            assert not tpm.closed
        assert tpm.closed
        await tpm.close()
        with pytest.raises(TransportClosedError, match="it is closed: close"):
            await tpm.transceive(RANDOM)
        with pytest.raises(TransportClosedError):
            await tpm.__aenter__()

    run(work)


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", TransportClosedError),
        (ANSWER[:11], TransportClosedError),
        (ANSWER + b"x", TransportProtocolError),
        (bytes(10), TransportProtocolError),
        (b"\x80\x01\xff\xff\xff\xff", TransportProtocolError),
    ],
)
def test_peers_that_misbehave(sent: bytes, error: type[TransportError]) -> None:
    async def work() -> None:
        async with peer(answering(sent)) as tpm:
            with pytest.raises(error):
                await tpm.transceive(RANDOM)
            assert tpm.closed
            with pytest.raises(TransportClosedError):
                await tpm.transceive(RANDOM)

    run(work)


@pytest.mark.parametrize("way", ["silence", "half", "cancelled"])
def test_a_late_answer_is_dropped(way: str) -> None:
    async def work() -> None:
        late = asyncio.Event()

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            half = 12 if way == "half" else 0
            writer.write(ANSWER[:half])
            await late.wait()
            writer.write(ANSWER[half:])
            await reader.read(4096)
            writer.write(OTHER_ANSWER)
            await writer.drain()

        async with peer(script, timeouts=5 if way == "cancelled" else 0.1) as tpm:
            if way == "cancelled":
                task = asyncio.ensure_future(tpm.transceive(RANDOM))
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                with pytest.raises(TransportTimeoutError, match="usable"):
                    await tpm.transceive(RANDOM)
            assert not tpm.closed
            with pytest.raises(TransportBusyError):
                await tpm.transceive(RANDOM)
            late.set()
            await asyncio.sleep(0.05)
            assert await tpm.transceive(RANDOM) == OTHER_ANSWER

    run(work)


def test_closing_wakes_who_waits() -> None:
    async def work() -> None:
        async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            await reader.read(4096)

        async with peer(script) as tpm:
            task = asyncio.ensure_future(tpm.transceive(RANDOM))
            await asyncio.sleep(0.05)
            await asyncio.gather(tpm.close(), tpm.close())
            with pytest.raises(TransportClosedError, match="close"):
                await task

    run(work)


def test_tasks_take_turns() -> None:
    async def work() -> None:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(100):
                assert await reader.readexactly(12) == RANDOM
                writer.write(ANSWER[:5])
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(ANSWER[5:])

        async with peer(script) as tpm:
            assert set(await asyncio.gather(*(tpm.transceive(RANDOM) for _ in range(100)))) == {ANSWER}

    run(work)


@needs_swtpm
def test_swtpm() -> None:
    async def work() -> None:
        with SwtpmServer() as server:
            async with await open_async_transport(server.uri, timeouts=10) as tpm:
                assert rc_of(await tpm.transceive(RANDOM)) == 0
                await tpm.set_locality(2)
                assert rc_of(await tpm.transceive(pcr_reset(20))) == 0
                await tpm.cancel()
                await tpm.power_cycle()
                assert rc_of(await tpm.transceive(RANDOM)) == 0x100
            async with asynchronous(MssimTransport(server.address, power_on=False)) as tpm:
                assert rc_of(await tpm.transceive(STARTUP)) == 0
                answers = await asyncio.gather(*(tpm.transceive(RANDOM) for _ in range(20)))
                assert len(set(answers)) == 20

    run(work)


@needs_swtpm
def test_a_swtpm_of_ones_own() -> None:
    async def work() -> None:
        async with await open_async_transport("spawn:") as tpm:
            answers = await asyncio.gather(*(tpm.transceive(RANDOM) for _ in range(20)))
            assert len(set(answers)) == 20
            inner = tpm.inner
            assert isinstance(inner, SpawnedTransport)
            os.kill(inner.pid, signal.SIGKILL)
            with pytest.raises(TransportClosedError, match="swtpm was ended by SIGKILL"):
                await tpm.transceive(RANDOM)

    run(work)


@needs_libtpms
def test_a_tpm_in_this_process() -> None:
    async def work() -> None:
        async with await open_async_transport() as tpm:
            assert isinstance(tpm.inner, EmbeddedTransport)
            state = await tpm.snapshot()
            random = await tpm.transceive(RANDOM)
            await tpm.restore(state)
            assert await tpm.transceive(RANDOM) == random
            await tpm.measure_launch(b"data")
            turns = 0
            task = asyncio.ensure_future(tpm.transceive(create_rsa_primary()))
            while not task.done():
                turns += 1
                await asyncio.sleep(0)
            assert turns > 10
            assert rc_of(await task) == 0
            with pytest.raises(TpmMisuseError):
                await tpm.transceive("text")  # type: ignore[arg-type]
        with pytest.raises(TransportClosedError):
            await tpm.transceive(RANDOM)

    run(work)


@needs_libtpms
def test_a_cancelled_task_does_not_mix_up_answers() -> None:
    async def work() -> None:
        async with await open_async_transport() as tpm:
            task = asyncio.ensure_future(tpm.transceive(create_rsa_primary()))
            await asyncio.sleep(0.01)
            task.cancel()
            assert len(await tpm.transceive(RANDOM)) == 28
            with contextlib.suppress(asyncio.CancelledError):
                await task

    run(work)


@needs_libtpms
def test_who_waits_for_a_turn_finds_the_transport_closed() -> None:
    async def work() -> None:
        async with await open_async_transport() as tpm:
            tasks = [asyncio.ensure_future(tpm.transceive(create_rsa_primary())) for _ in range(4)]
            await asyncio.sleep(0.01)
            await tpm.close()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(answer) for answer in answers} <= {bytes, TransportClosedError}
            assert isinstance(answers[-1], TransportClosedError)

    run(work)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def test_a_device() -> None:
    async def work() -> None:
        with terminal() as (master, name):
            thread = threading.Thread(target=lambda: os.read(master, 100) and os.write(master, ANSWER))
            thread.start()
            async with asynchronous(DeviceTransport(name, timeouts=5)) as tpm:
                assert await tpm.transceive(RANDOM) == ANSWER
                task = asyncio.ensure_future(tpm.transceive(RANDOM))
                await asyncio.sleep(0.05)
                start = time.monotonic()
                await tpm.close()
                assert time.monotonic() - start < 4
                with pytest.raises(TransportClosedError):
                    await task
            thread.join()

    run(work)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(TransportUriError):
            await open_async_transport("nonsense:")
        with pytest.raises(TpmUnavailableError):
            await open_async_transport(f"swtpm:path={tmp_path}/x")
        for wrong in (5, None, "embedded:"):
            with pytest.raises(TpmMisuseError):
                asynchronous(wrong)  # type: ignore[arg-type]
        async with asynchronous(Replayer([(RANDOM, response())])) as tpm:
            assert await tpm.transceive(RANDOM) == response()
            with pytest.raises(TpmUnavailableError, match="cannot set the locality"):
                await tpm.set_locality(1)

    run(work)
