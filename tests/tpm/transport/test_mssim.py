# SPDX-License-Identifier: Apache-2.0
"""The reference simulator's protocol: against swtpm, which speaks its data half, and against a simulator of it all."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportClosedError,
    TransportError,
    TransportProtocolError,
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport import EmbeddedTransport, MssimPlatform, MssimTransport, Platform, SwtpmServer
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
    soon,
)


@needs_swtpm
def test_swtpm_takes_the_locality_with_each_command() -> None:
    with SwtpmServer() as server, MssimTransport(server.address, power_on=False) as tpm:
        assert rc_of(tpm.transceive(RANDOM)) == 0
        for locality, rc in ((0, 0x907), (2, 0), (3, 0x907), (2, 0)):
            tpm.set_locality(locality)
            assert rc_of(tpm.transceive(pcr_reset(20))) == rc
        for work in (tpm.power_cycle, tpm.cancel, lambda: tpm.measure_launch(b"")):
            with pytest.raises(TpmUnavailableError, match="without the platform port it cannot"):
                work()
        with pytest.raises(TpmMisuseError):
            tpm.set_locality(5)


def neighbours() -> list[socket.socket]:
    """Return two sockets with neighbouring ports, which others may have one of."""
    while True:
        found = [socket.socket(), socket.socket()]
        try:
            found[0].bind(("127.0.0.1", 0))
            found[1].bind(("127.0.0.1", found[0].getsockname()[1] + 1))
        except (OSError, OverflowError):  # taken, or there is none above
            for one in found:
                one.close()
            continue
        return found


class Simulator:
    """Both ports of a simulator (TPM 2.0 Library, Part 4, ``TcpServer.c``), with libtpms for a TPM."""

    def __init__(self) -> None:
        self.tpm = EmbeddedTransport(startup=False)
        self.signals: list[int] = []
        self.ended = threading.Event()
        self.sockets = neighbours()
        self.threads: list[threading.Thread] = []
        for listening, serve in zip(self.sockets, (self.serve_data, self.serve_platform), strict=True):
            listening.listen()
            self.threads.append(threading.Thread(target=self.accept, args=(listening, serve), daemon=True))
        for thread in self.threads:
            thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.sockets[0].getsockname()[1])

    def accept(self, listening: socket.socket, serve: Any) -> None:
        with contextlib.suppress(OSError):
            while not self.ended.is_set():
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(20)
                    with contextlib.suppress(OSError, struct.error):
                        serve(connection)

    def serve_data(self, connection: socket.socket) -> None:
        while True:
            (number,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
            if number == 20:
                return
            locality, size = struct.unpack(">BI", connection.recv(5, socket.MSG_WAITALL))
            self.tpm.set_locality(locality)
            answer = self.tpm.transceive(connection.recv(size, socket.MSG_WAITALL))
            connection.sendall(struct.pack(">I", len(answer)) + answer + bytes(4))

    def serve_platform(self, connection: socket.socket) -> None:
        while True:
            (number,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
            self.signals.append(number)
            if number == 20:
                return
            if number == 9:
                self.tpm.cancel()
            elif number == 2:
                self.tpm.power_cycle()
            elif number == 6:
                (size,) = struct.unpack(">I", connection.recv(4, socket.MSG_WAITALL))
                self.tpm.measure_launch(connection.recv(size, socket.MSG_WAITALL))
            connection.sendall(bytes(4))

    def close(self) -> None:
        self.ended.set()
        for listening in self.sockets:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for thread in self.threads:
            thread.join(20)
        self.tpm.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    running = Simulator()
    yield running
    running.close()


@needs_libtpms
def test_power_and_nv_are_turned_on(simulator: Simulator) -> None:
    with MssimTransport(simulator.address) as tpm:
        assert simulator.signals == [Platform.POWER_ON, Platform.NV_ON]
        assert rc_of(tpm.transceive(RANDOM)) == 0x100
        assert rc_of(tpm.transceive(STARTUP)) == 0
        assert rc_of(tpm.transceive(RANDOM)) == 0
        tpm.power_cycle()
        assert rc_of(tpm.transceive(RANDOM)) == 0x100
        assert simulator.signals[2:] == [Platform.POWER_OFF, Platform.POWER_ON, Platform.NV_ON]
        assert rc_of(tpm.transceive(STARTUP)) == 0
        tpm.measure_launch(b"data")
        assert simulator.signals[5:] == [Platform.HASH_START, Platform.HASH_DATA, Platform.HASH_END]
    soon(lambda: simulator.signals[-1] == Platform.SESSION_END)
    with MssimTransport(simulator.address) as tpm:  # the session was ended in order: the next is served
        assert rc_of(tpm.transceive(RANDOM)) == 0


@needs_libtpms
def test_a_command_can_be_cancelled(simulator: Simulator) -> None:
    with MssimTransport(simulator.address) as tpm:
        tpm.transceive(STARTUP)
        tpm.cancel()  # no command runs: nothing to cancel
        assert Platform.CANCEL_ON not in simulator.signals
        answers: list[int] = []

        def work() -> None:
            while 0x909 not in answers and len(answers) < 200:
                answers.append(rc_of(tpm.transceive(create_rsa_primary())))
                if answers[-1] == 0x902:
                    tpm.power_cycle()
                    tpm.transceive(STARTUP)

        thread = threading.Thread(target=work)
        thread.start()
        deadline = time.monotonic() + 60
        while thread.is_alive() and time.monotonic() < deadline:
            tpm.cancel()
            time.sleep(0.002)
        thread.join(60)
        assert 0x909 in answers
        assert rc_of(tpm.transceive(RANDOM)) == 0
        on = [signal for signal in simulator.signals if signal in (Platform.CANCEL_ON, Platform.CANCEL_OFF)]
        assert on[-1] == Platform.CANCEL_OFF  # else the simulator would give up all later commands


# --- Peers that misbehave ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(*answers: bytes, silent: float = 0) -> Iterator[tuple[str, int]]:
    """Serve: give an answer to each thing that is received, and then close, or wait."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(10)

        def script() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                for answer in answers:
                    connection.recv(8192)
                    connection.sendall(answer)
                if silent:
                    connection.recv(8192)
                    connection.recv(8192)

        thread = threading.Thread(target=script, daemon=True)
        thread.start()
        yield server.getsockname()
        thread.join(15)
        assert not thread.is_alive()


def framed(answer: bytes, acknowledgement: int = 0) -> bytes:
    return struct.pack(">I", len(answer)) + answer + struct.pack(">I", acknowledgement)


def test_two_exchanges() -> None:
    with (
        listening(framed(ANSWER), framed(OTHER_ANSWER)) as address,
        MssimTransport(address, power_on=False) as tpm,
    ):
        assert tpm.name == f"mssim:host={address[0]},port={address[1]}"
        assert tpm.transceive(RANDOM) == ANSWER
        assert tpm.transceive(bytearray(RANDOM)) == OTHER_ANSWER


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", TransportClosedError),
        (framed(ANSWER)[:-1], TransportClosedError),
        (framed(ANSWER)[:3], TransportClosedError),
        (framed(ANSWER, 1), TransportProtocolError),
        (framed(ANSWER) + b"x", TransportProtocolError),
        (struct.pack(">I", 0xFFFFFFFF), TransportProtocolError),
        (struct.pack(">I", 5), TransportProtocolError),
        (ANSWER, TransportProtocolError),
    ],
)
def test_a_peer_that_sends_something_else(sent: bytes, error: type[TransportError]) -> None:
    with listening(sent) as address, MssimTransport(address, power_on=False) as tpm:
        with pytest.raises(error):
            tpm.transceive(RANDOM)
        assert tpm.closed
        with pytest.raises(TransportClosedError):
            tpm.transceive(RANDOM)


def test_a_peer_that_stays_silent() -> None:
    with listening(silent=1) as address, MssimTransport(address, power_on=False, timeouts=0.2) as tpm:
        with pytest.raises(TransportTimeoutError, match="usable"):
            tpm.transceive(RANDOM)
        assert not tpm.closed


def test_a_platform_port_that_refuses() -> None:
    with listening(struct.pack(">I", 5)) as platform, listening() as data:
        with pytest.raises(TransportRefusedError, match=r"POWER_ON.*acknowledged with 0x5") as caught:
            MssimTransport(data, platform)
        assert caught.value.number == 5
        socket.create_connection(data).close()


def test_a_platform_port_that_closes() -> None:
    with listening(b"\0\0") as platform, MssimPlatform(platform) as port:
        with pytest.raises(TransportClosedError, match="the other end closed"):
            port.signal(Platform.POWER_ON)
        assert port.closed
        with pytest.raises(TransportClosedError):
            port.signal(Platform.POWER_ON)


def test_a_platform_port_that_stays_silent() -> None:
    with listening(silent=1) as platform, MssimPlatform(platform, seconds=0.2) as port:
        with pytest.raises(TransportTimeoutError, match=r"no acknowledgement within 0.2 s"):
            port.signal(Platform.POWER_ON)
        assert port.closed


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
        with pytest.raises(TpmUnavailableError, match="platform port"):
            MssimTransport(address, address)
        with pytest.raises(TpmUnavailableError, match="mssim:"):
            MssimTransport(address, power_on=False)
        with listening(bytes(4), bytes(4)) as platform, pytest.raises(TpmUnavailableError, match="mssim:"):
            MssimTransport(address, platform)


@pytest.mark.parametrize("wrong", [5, "path", ("x", 0), ("x", 65535), None])
def test_addresses_that_are_none(wrong: Any) -> None:
    with pytest.raises((TpmMisuseError, TpmUnavailableError)):
        MssimTransport(wrong)
