# SPDX-License-Identifier: Apache-2.0
"""Character devices: the kernel's rules and its errors in words, on a terminal that stands for a device."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import threading
import time
import tty
from collections.abc import Iterator
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
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport import Cancellable, DeviceTransport, device, require
from tests.tpm.transport.peers import (
    ANSWER,
    OTHER_ANSWER,
    RANDOM,
    descriptors,
    in_threads,
    soon,
)


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """Give a descriptor and the name of a device at whose other end it is."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        yield master, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


@contextlib.contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Stand for a chip that gives these answers."""
    with terminal() as (master, name):

        def script() -> None:
            for answer in answers:
                assert os.read(master, 8192)
                os.write(master, answer)

        thread = threading.Thread(target=script, daemon=True)
        thread.start()
        yield name
        thread.join(15)
        assert not thread.is_alive()


def test_one_write_and_one_read() -> None:
    with answering(ANSWER, OTHER_ANSWER) as name, DeviceTransport(name) as tpm:
        assert tpm.name == f"device:{name}"
        assert tpm.transceive(RANDOM) == ANSWER
        assert tpm.transceive(bytearray(RANDOM)) == OTHER_ANSWER
        with pytest.raises(TpmMisuseError):
            tpm.transceive(RANDOM[:-1])
        with pytest.raises(TpmUnavailableError, match="cannot cancel a command"):
            require(tpm, Cancellable)


@pytest.mark.parametrize("sent", [b"\x80", ANSWER[:9], ANSWER[:-1], ANSWER + b"x", struct.pack(">HII", 0x8001, 9, 0)])
def test_what_is_no_response(sent: bytes) -> None:
    with answering(sent, ANSWER) as name, DeviceTransport(name) as tpm:
        with pytest.raises(TransportProtocolError):
            tpm.transceive(RANDOM)
        assert not tpm.closed
        assert tpm.transceive(RANDOM) == ANSWER


def test_silence_ends_in_time_and_the_late_answer_is_dropped() -> None:
    with terminal() as (master, name), DeviceTransport(name, timeouts=0.1) as tpm:
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match=r"no response within 0.1 s .*usable"):
            tpm.transceive(RANDOM)
        assert 0.09 < time.monotonic() - start < 3
        assert not tpm.closed
        assert os.read(master, 100) == RANDOM
        os.write(master, ANSWER)
        soon(lambda: tpm._poll.poll(0))
        thread = threading.Thread(target=lambda: os.read(master, 100) and os.write(master, OTHER_ANSWER))
        thread.start()
        assert tpm.transceive(RANDOM) == OTHER_ANSWER
        thread.join()


def test_closing_wakes_who_waits() -> None:
    with terminal() as (_, name), DeviceTransport(name, timeouts=60) as tpm:
        found: list[object] = []

        def wait() -> None:
            try:
                found.append(tpm.transceive(RANDOM))
            except TransportClosedError as error:
                found.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        soon(lambda: tpm._lock.locked())
        time.sleep(0.05)
        in_threads(lambda _: tpm.close(), 4)
        thread.join(10)
        assert "close() was called" in str(found[0])


def test_an_interruption_leaves_the_answer_owed() -> None:
    class InterruptionError(Exception):
        pass

    def handler(*_: object) -> None:
        raise InterruptionError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with terminal() as (master, name), DeviceTransport(name) as tpm:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(InterruptionError):
                tpm.transceive(RANDOM)
            os.read(master, 100)
            os.write(master, ANSWER)
            soon(lambda: tpm._poll.poll(0))
            thread = threading.Thread(target=lambda: os.read(master, 100) and os.write(master, OTHER_ANSWER))
            thread.start()
            assert tpm.transceive(RANDOM) == OTHER_ANSWER
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_device_that_goes_away() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    with DeviceTransport(os.ttyname(slave)) as tpm:
        os.close(slave)
        os.close(master)
        with pytest.raises(TransportError):
            tpm.transceive(RANDOM)


FATAL = {errno.EPIPE, errno.ENODEV, errno.ENXIO, errno.EBADF, errno.EFAULT}


@pytest.mark.parametrize("call", ["write", "read"])
@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (errno.EBUSY, TransportBusyError, "an earlier command is still out"),
        (errno.EAGAIN, TransportBusyError, "an earlier command is still out"),
        (errno.EINVAL, TransportRefusedError, r"refuses the command \(EINVAL\).*a handle must be one that this desc"),
        (errno.EFAULT, TransportClosedError, "a session that it has was flushed"),
        (errno.E2BIG, TransportRefusedError, r"longer than the kernel takes \(E2BIG\).*4096 bytes"),
        (errno.ENOMEM, TransportRefusedError, r"\(ENOMEM\)"),
        (errno.EIO, TransportRefusedError, r"the chip does not answer as it should \(EIO\)"),
        (errno.ECANCELED, TransportRefusedError, r"the chip gave up the command \(ECANCELED\)"),
        (errno.EPERM, TransportRefusedError, r"\(EPERM\)"),
        (errno.ENOTTY, TransportRefusedError, r"the kernel refuses: Inappropriate ioctl.*\(ENOTTY\)"),
        (errno.ETIME, TransportTimeoutError, "the kernel has given up the command: the chip took too long"),
        (errno.EPIPE, TransportClosedError, "the device is gone"),
        (errno.ENODEV, TransportClosedError, "the device is gone"),
        (errno.ENXIO, TransportClosedError, "the device is gone"),
        (errno.EBADF, TransportClosedError, "closed by somebody else"),
    ],
)
def test_the_kernels_refusals(
    monkeypatch: pytest.MonkeyPatch, call: str, number: int, error: type[TransportError], words: str
) -> None:
    with terminal() as (master, name), DeviceTransport(name) as tpm:
        real = getattr(os, call)

        def refuse(descriptor: int, *arguments: Any) -> Any:
            if descriptor == tpm._descriptor:
                raise OSError(number, os.strerror(number))
            return real(descriptor, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(device.os, call, refuse)
            if call == "read":
                os.write(master, ANSWER)
            with pytest.raises(error, match=words) as caught:
                tpm.transceive(RANDOM)
        assert tpm.closed is (number in FATAL)
        assert ("is closed" in str(caught.value)) is (number in FATAL)
        assert getattr(caught.value, "number", number) == number
        if tpm.closed:
            with pytest.raises(TransportClosedError):
                tpm.transceive(RANDOM)
            return
        os.read(master, 100) if call == "read" else None
        with contextlib.suppress(TransportProtocolError):  # what this device, which is none, still holds
            soon(lambda: tpm._poll.poll(0)) if call == "read" else None
            thread = threading.Thread(target=lambda: os.read(master, 100) and os.write(master, OTHER_ANSWER))
            thread.start()
            assert tpm.transceive(RANDOM) in (ANSWER, OTHER_ANSWER)
            thread.join(10)


def test_a_short_write(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (_, name), DeviceTransport(name) as tpm:
        monkeypatch.setattr(device.os, "write", lambda *_: 3)
        with pytest.raises(TransportClosedError, match="took 3 bytes of 12"):
            tpm.transceive(RANDOM)
        monkeypatch.undo()
        assert tpm.closed


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (errno.ENOENT, TpmUnavailableError, "is there a TPM, is it enabled in the firmware"),
        (errno.EACCES, TpmUnavailableError, "be root, or a member of the group tss"),
        (errno.EPERM, TpmUnavailableError, "be root, or a member of the group tss"),
        (errno.ENODEV, TpmUnavailableError, "the driver has no TPM there"),
        (errno.ENXIO, TpmUnavailableError, "the driver has no TPM there"),
        (errno.EMFILE, TpmUnavailableError, "Too many open files"),
        (errno.EBUSY, TransportBusyError, "somebody else has the TPM.*use /dev/tpmrm0"),
    ],
)
def test_a_device_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], words: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(device.os, "open", refuse)
    with pytest.raises(error, match=words):
        DeviceTransport("/dev/tpm0")


def test_what_is_no_device(tmp_path: Path) -> None:
    """A file is not written over because its name was given for a device."""
    file = tmp_path / "precious"
    file.write_text("precious")
    os.mkfifo(tmp_path / "fifo")
    before = descriptors()
    for path in (file, tmp_path / "fifo"):
        with pytest.raises(TpmUnavailableError, match="this is no character device"):
            DeviceTransport(path)
    assert file.read_text() == "precious"
    with pytest.raises(TpmUnavailableError, match="Is a directory"):
        DeviceTransport(tmp_path)
    with pytest.raises(TpmUnavailableError, match="No such file"):
        DeviceTransport(tmp_path / "nothing")
    for wrong in (5.0, None, "a\0b", [], b"a\0"):
        with pytest.raises(TpmMisuseError):
            DeviceTransport(wrong)  # type: ignore[arg-type]
    with pytest.raises(TpmMisuseError):
        DeviceTransport("/dev/null", timeouts=-1)
    assert descriptors() == before


def test_a_device_that_gives_nothing() -> None:
    with DeviceTransport("/dev/null") as tpm:
        with pytest.raises(TransportProtocolError, match="0 bytes came back"):
            tpm.transceive(RANDOM)
        assert not tpm.closed
