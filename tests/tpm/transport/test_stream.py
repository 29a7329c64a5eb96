# SPDX-License-Identifier: Apache-2.0
"""Transports over sockets: peers that close, stay silent, send half, send junk; what the transport is afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportBusyError,
    TransportClosedError,
    TransportError,
    TransportProtocolError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport import StreamTransport, SwtpmTransport, Timeouts
from prestocloud_sec.tpm.transport.framing import Collector
from tests.tpm.transport.peers import ANSWER, OTHER_ANSWER, RANDOM, answering, command, in_threads, peer, response, soon


def test_a_response_comes_back_as_it_was_sent() -> None:
    with peer(answering(ANSWER, OTHER_ANSWER)) as tpm:
        assert tpm.transceive(RANDOM) == ANSWER
        assert tpm.transceive(bytearray(RANDOM)) == OTHER_ANSWER
        assert not tpm.closed


def test_it_looks_before_it_sleeps_and_less_often_where_that_does_not_help() -> None:
    waits: list[int] = []
    comes_soon = False
    with peer(answering(*[ANSWER] * 36)) as tpm:
        sleep = tpm._poll

        def poll(milliseconds: int) -> object:
            waits.append(milliseconds)
            if milliseconds:
                return sleep(milliseconds)
            return sleep(1000) if comes_soon and len(waits) == 3 else []

        def looks() -> int:
            waits.clear()
            assert tpm.transceive(RANDOM) == ANSWER
            assert [wait for wait in waits if wait] == ([] if comes_soon and 0 in waits else [5000])
            return waits.count(0)

        tpm._poll = poll  # type: ignore[assignment]
        seen = [looks() for _ in range(20)]
        most = max(seen)
        assert seen == [most, 0, most, 0, 0, 0, most, *[0] * 7, most, *[0] * 5]
        comes_soon = True
        assert [looks() for _ in range(12)] == [0] * 10 + [3, 3]
        comes_soon = False
        assert [looks() for _ in range(4)] == [most, 0, most, 0]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 9, 10, 11, 27])
def test_a_response_in_parts(size: int) -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(2):
            connection.recv(4096)
            for start in range(0, len(ANSWER), size):
                connection.sendall(ANSWER[start : start + size])
                time.sleep(0.001)

    with peer(script) as tpm:
        assert tpm.transceive(RANDOM) == ANSWER
        assert tpm.transceive(RANDOM) == ANSWER


def test_the_longest_response_and_the_longest_command() -> None:
    longest = response(bytes(4086))
    with peer(answering(longest, ANSWER)) as tpm:
        assert tpm.transceive(RANDOM) == longest
        assert tpm.transceive(command(0x17B, bytes(4086))) == ANSWER
        with pytest.raises(TpmMisuseError, match=r"4097 bytes; expected 4096 at most"):
            tpm.transceive(command(0x17B, bytes(4087)))


def test_the_limit_can_be_another() -> None:
    with peer(answering(response(bytes(8182))), limit=8192) as tpm:
        assert len(tpm.transceive(RANDOM)) == 8192


@pytest.mark.parametrize("sent", [b"", ANSWER[:1], ANSWER[:9], ANSWER[:10], ANSWER[:-1]])
def test_a_peer_that_closes(sent: bytes) -> None:
    with peer(answering(sent)) as tpm:
        with pytest.raises(TransportClosedError, match=f"closed the connection after {len(sent)} bytes of a response"):
            tpm.transceive(RANDOM)
        assert tpm.closed
        with pytest.raises(TransportClosedError, match="it is closed: the other end"):
            tpm.transceive(RANDOM)


def test_a_peer_that_is_gone_before_the_command() -> None:
    with peer(lambda connection: None) as tpm:
        with contextlib.suppress(TransportClosedError):
            tpm.transceive(RANDOM)  # the first may still be taken by the system
        with pytest.raises(TransportClosedError):
            tpm.transceive(RANDOM)
        assert tpm.closed


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (struct.pack(">HII", 0x8001, 9, 0), "says it has 9 bytes; expected 10 to 4096"),
        (struct.pack(">HII", 0x8001, 0, 0), "says it has 0 bytes"),
        (struct.pack(">HII", 0x8001, 0xFFFF, 0), "says it has 65535 bytes"),
        (struct.pack(">HII", 0x8001, 0xFFFFFFFF, 0), "says it has 4294967295 bytes"),
        (struct.pack(">HII", 0x8001, 4097, 0) + bytes(4087), "says it has 4097 bytes"),
        (ANSWER + b"\0", "1 bytes or more after the response"),
        (ANSWER + ANSWER, "bytes or more after the response"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "says it has"),
        (bytes(4097), "says it has 0 bytes"),
    ],
)
def test_a_peer_that_sends_junk(sent: bytes, words: str) -> None:
    with peer(answering(sent)) as tpm:
        with pytest.raises(TransportProtocolError, match=words):
            tpm.transceive(RANDOM)
        assert tpm.closed
        with pytest.raises(TransportClosedError, match="it is closed: what came was no response"):
            tpm.transceive(RANDOM)


@given(st.binary(min_size=1, max_size=64))
def test_whatever_a_peer_sends_ends_in_a_response_or_a_typed_error(sent: bytes) -> None:
    with peer(answering(sent)) as tpm:
        try:
            assert tpm.transceive(RANDOM) == sent
        except TransportError:
            assert tpm.closed


def test_a_claim_of_four_gigabytes_allocates_nothing() -> None:
    collector = Collector("here")
    with pytest.raises(TransportProtocolError):
        collector.feed(struct.pack(">HI", 0x8001, 0xFFFFFFFF))
    assert collector.received == 6
    assert collector.missing <= 4097


def test_silence_ends_in_time_and_the_late_answer_is_dropped() -> None:
    late = threading.Event()

    def script(connection: socket.socket) -> None:
        assert connection.recv(4096) == RANDOM
        late.wait(10)
        connection.sendall(ANSWER)
        assert connection.recv(4096) == RANDOM
        connection.sendall(OTHER_ANSWER)

    with peer(script, timeouts=0.1) as tpm:
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match=r"no whole response within 0.1 s; 0 bytes .*usable"):
            tpm.transceive(RANDOM)
        assert 0.09 < time.monotonic() - start < 5
        assert not tpm.closed
        with pytest.raises(TransportBusyError, match="an earlier command is still out"):
            tpm.transceive(RANDOM)
        late.set()

        def again() -> bytes | None:
            with contextlib.suppress(TransportBusyError):
                return tpm.transceive(RANDOM)
            return None

        assert soon(again) == OTHER_ANSWER


@pytest.mark.parametrize("first", [1, 7, 12, 27])
def test_an_answer_whose_half_is_late_is_dropped_whole(first: int) -> None:
    late = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(ANSWER[:first])
        late.wait(10)
        connection.sendall(ANSWER[first:])
        connection.recv(4096)
        connection.sendall(OTHER_ANSWER)

    with peer(script, timeouts=0.1) as tpm:
        with pytest.raises(TransportTimeoutError, match=f"{first} bytes have come"):
            tpm.transceive(RANDOM)
        with pytest.raises(TransportBusyError):
            tpm.transceive(RANDOM)
        late.set()

        def again() -> bytes | None:
            with contextlib.suppress(TransportBusyError):
                return tpm.transceive(RANDOM)
            return None

        assert soon(again) == OTHER_ANSWER


def test_a_peer_that_drips_cannot_go_on_for_ever() -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        for byte in response(bytes(4000)):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with peer(script, timeouts=0.2) as tpm:
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError):
            tpm.transceive(RANDOM)
        assert time.monotonic() - start < 3


def test_a_peer_that_takes_nothing() -> None:
    ours, its = socket.socketpair()
    with its, StreamTransport(ours, "a peer", timeouts=0.2, limit=1 << 20) as tpm:
        with pytest.raises(TransportTimeoutError, match=r"not taken within 0.2 s .*closed"):
            tpm.transceive(command(0x17B, bytes(1_000_000)))
        assert tpm.closed


class Interruption(Exception):  # noqa: N818
    """Raised by the handler of a signal, as KeyboardInterrupt is."""


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def handler(*_: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interruption_leaves_the_answer_owed() -> None:
    late = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        late.wait(10)
        connection.sendall(ANSWER)
        connection.recv(4096)
        connection.sendall(OTHER_ANSWER)

    with peer(script) as tpm:
        with interrupted_after(0.1), pytest.raises(Interruption):
            tpm.transceive(RANDOM)
        assert not tpm.closed
        with pytest.raises(TransportBusyError):
            tpm.transceive(RANDOM)
        late.set()

        def again() -> bytes | None:
            with contextlib.suppress(TransportBusyError):
                return tpm.transceive(RANDOM)
            return None

        assert soon(again) == OTHER_ANSWER


def test_an_interruption_in_the_middle_of_a_response_closes() -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(ANSWER[:12])
        connection.recv(4096)

    with peer(script) as tpm:
        with interrupted_after(0.1), pytest.raises(Interruption):
            tpm.transceive(RANDOM)
        assert tpm.closed
        with pytest.raises(TransportClosedError, match="interrupted in the middle of a response"):
            tpm.transceive(RANDOM)


def test_an_interruption_while_sending_closes() -> None:
    ours, its = socket.socketpair()
    with its, StreamTransport(ours, "a peer", limit=1 << 20) as tpm:
        with interrupted_after(0.1), pytest.raises(Interruption):
            tpm.transceive(command(0x17B, bytes(1_000_000)))
        assert tpm.closed


def test_a_signal_that_does_not_raise_disturbs_nothing() -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        time.sleep(0.1)
        connection.sendall(ANSWER[:5])
        time.sleep(0.1)
        connection.sendall(ANSWER[5:])

    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with peer(script) as tpm:
            assert tpm.transceive(RANDOM) == ANSWER
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_signals_do_not_prolong_the_wait() -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        with peer(lambda connection: connection.recv(4096) and connection.recv(4096), timeouts=0.2) as tpm:
            start = time.monotonic()
            with pytest.raises(TransportTimeoutError):
                tpm.transceive(RANDOM)
            assert time.monotonic() - start < 3
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_closing_wakes_who_waits() -> None:
    with peer(lambda connection: connection.recv(4096) and connection.recv(4096)) as tpm:
        found: list[object] = []

        def wait() -> None:
            try:
                found.append(tpm.transceive(RANDOM))
            except TransportClosedError as error:
                found.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        soon(lambda: tpm._lock.locked())
        start = time.monotonic()
        in_threads(lambda _: tpm.close(), 4)
        thread.join(10)
        assert time.monotonic() - start < 4
        assert isinstance(found[0], TransportClosedError)
        assert "close() was called" in str(found[0])
        tpm.close()


def test_threads_take_turns() -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(400):
            got = connection.recv(4096)
            assert len(got) == 12
            time.sleep(0.0001)
            connection.sendall(response(got[10:]))

    with peer(script) as tpm:

        def work(number: int) -> None:
            for each in range(100):
                mine = struct.pack(">H", number * 1000 + each)
                assert tpm.transceive(command(0x17B, mine))[10:] == mine

        in_threads(work, 4)


def test_the_time_depends_on_the_command() -> None:
    def script(connection: socket.socket) -> None:
        connection.recv(4096)
        time.sleep(0.3)
        connection.sendall(ANSWER)
        connection.recv(4096)
        connection.recv(4096)

    with peer(script, timeouts=Timeouts(0.1, 0.1, 5)) as tpm:
        assert tpm.transceive(command(0x131)) == ANSWER
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match=r"within 0.1 s"):
            tpm.transceive(RANDOM)
        assert time.monotonic() - start < 3


def test_a_socket_whose_descriptor_was_closed() -> None:
    with peer(lambda connection: None) as tpm:
        os.close(tpm._socket.detach())
        with pytest.raises(TransportClosedError, match="Bad file descriptor"):
            tpm.transceive(RANDOM)
        assert tpm.closed


FORKING = """
import os, socket, sys
from prestocloud_sec.tpm.errors import TransportClosedError
from prestocloud_sec.tpm.transport import StreamTransport
ours, its = socket.socketpair()
tpm = StreamTransport(ours, "a peer", timeouts=5)
child = os.fork()
if not child:
    try:
        tpm.transceive(bytes.fromhex("80010000000c0000017b0010"))
    except TransportClosedError as error:
        tpm.close()
        assert "forked" in str(error), error
        sys.exit(7)
    sys.exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
its.sendall(bytes.fromhex("80010000000a00000000"))
assert tpm.transceive(bytes.fromhex("80010000000c0000017b0010"))
print("both")
"""


def test_a_forked_child_has_no_part_in_it() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("both\n", "")


# --- Connecting --------------------------------------------------------------------------------------------------


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(TpmUnavailableError, match=r"no connection: No such file.*is the emulator running"):
        SwtpmTransport(str(tmp_path / "nobody"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TpmUnavailableError, match="Connection refused"):
            SwtpmTransport(taken.getsockname())
    with pytest.raises(TpmUnavailableError):
        SwtpmTransport(str(tmp_path / ("x" * 200)))
    with pytest.raises(TpmUnavailableError):
        SwtpmTransport(("no.such.host.invalid", 1))
    with pytest.raises(TpmUnavailableError):
        SwtpmTransport(("x" * 300, 1))


def test_nobody_accepts() -> None:
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # until the queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(TransportTimeoutError, match=r"no connection within 0.2 s"):
            SwtpmTransport(full.getsockname(), connect_seconds=0.2)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((("localhost", 0),), {}),
        ((("localhost", 65536),), {}),
        ((("localhost", "2321"),), {}),
        (((1, 2),), {}),
        ((5,), {}),
        (("",), {}),
        (("a\0b",), {}),
        ((b"/tmp/x",), {}),
        (("/nobody", 5), {}),
        (("/nobody",), {"connect_seconds": 0}),
        (("/nobody",), {"connect_seconds": "1"}),
    ],
)
def test_addresses_that_are_none(arguments: tuple[object, ...], options: dict[str, object]) -> None:
    with pytest.raises(TpmMisuseError):
        SwtpmTransport(*arguments, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"timeouts": -1}, {"timeouts": "5"}, {"limit": 9}, {"limit": 1 << 30}])
def test_options_that_are_none(options: dict[str, object]) -> None:
    ours, its = socket.socketpair()
    with its:
        with pytest.raises(TpmMisuseError):
            StreamTransport(ours, "a peer", **options)  # type: ignore[arg-type]
        assert its.recv(1) == b""  # the socket was given back
