# SPDX-License-Identifier: Apache-2.0
"""Linux's character devices: ``/dev/tpmrm0`` (shared, with a resource manager) and ``/dev/tpm0`` (bare, one user).

The kernel's rules (``drivers/char/tpm/tpm-dev-common.c``): one write is one whole command, one read its response; a
write before the response was read is EBUSY; a read before a command gives nothing. The descriptor is non-blocking
(Linux 4.20 and later): the write queues the command and poll(2) says when the response is there, so that waiting can
end. Older kernels wait in the write.

There is no way to cancel: sysfs has ``cancel`` for TPM 1.2 only, and the kernel gives up a command of its own accord
after 2 minutes, or 5 where keys are made (the errno is ETIME then). A command whose response did not come in time goes
on, and the device cannot be closed before it is done. Since the kernel holds a lock while the chip works, poll(2) too
may not return before that: the time-out of this transport then comes late, but at the latest with the kernel's.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import stat
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportBusyError,
    TransportClosedError,
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport.base import LIMIT_BYTES, SIZE_AND_CODE, command_of, response_of
from prestocloud_sec.tpm.transport.lifetime import BaseTransport
from prestocloud_sec.tpm.transport.stream import words_of
from prestocloud_sec.tpm.transport.timeouts import BEHIND_A_KERNEL, Timeouts
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["DEVICE", "DeviceTransport"]

DEVICE = "/dev/tpmrm0"
"""The device that is meant unless told otherwise: several programs may use it at once."""

_unpack = SIZE_AND_CODE.unpack_from

_UNAVAILABLE = MappingProxyType(
    {
        errno.ENOENT: "is there a TPM, is it enabled in the firmware, and is its driver loaded?",
        errno.EACCES: "be root, or a member of the group tss",
        errno.EPERM: "be root, or a member of the group tss",
        errno.ENODEV: "the driver has no TPM there",
        errno.ENXIO: "the driver has no TPM there",
    }
)
"""What to do where a device cannot be opened, by errno."""

_REFUSALS = MappingProxyType(
    {
        errno.EINVAL: (
            "the kernel refuses the command",
            "through /dev/tpmrm0, a handle must be one that this descriptor loaded",
        ),
        errno.E2BIG: ("the command is longer than the kernel takes", "4096 bytes at most"),
        errno.ENOMEM: ("the kernel has too little memory", "try again"),
        errno.EIO: ("the chip does not answer as it should", "try again; if it stays so, restart the machine"),
        errno.ECANCELED: ("the chip gave up the command", "send it again"),
        errno.EPERM: ("the kernel does not let this command pass", "the TPM may be in use by the kernel alone"),
    }
)
"""What the kernel refuses at a write, or at the read after it where the write has only queued the command."""

_LOST = MappingProxyType(
    {
        errno.EPIPE: "the device is gone",
        errno.ENODEV: "the device is gone",
        errno.ENXIO: "the device is gone",
        errno.EBADF: "the descriptor was closed by somebody else",
        errno.EFAULT: "the kernel cannot load what belongs to this descriptor: a session that it has was flushed "
        "through another descriptor",
    }
)
"""What says that no command will be answered through this descriptor any more."""


class DeviceTransport(BaseTransport):
    """A transport to a TPM of this machine.

    Parameters
    ----------
    path : str or path
        The device.
    timeouts : Timeouts or float, optional
        How long to wait for responses; a little longer than Linux does unless told otherwise.

    Raises
    ------
    TpmMisuseError
        If `path` is no path.
    TpmUnavailableError
        If there is no such device, or this user may not open it.
    TransportBusyError
        If somebody else has ``/dev/tpm0`` open.
    """

    __slots__ = ("_by_code", "_descriptor", "_ordinary", "_owed", "_poll", "_ready", "_timeouts", "_waker")

    def __init__(self, path: str | os.PathLike[str] = DEVICE, *, timeouts: Timeouts | float | None = None) -> None:
        self._timeouts = BEHIND_A_KERNEL if timeouts is None else Timeouts.of(timeouts)
        self._by_code = self._timeouts.by_code.get
        self._ordinary = self._timeouts.ordinary
        self._descriptor = _opened(path)
        try:
            self._waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        self._poll.register(self._waker, select.POLLIN)
        self._owed = False
        self._ready = True
        super().__init__(f"device:{os.fspath(path)}")

    @property
    def timeouts(self) -> Timeouts:
        """How long it waits for responses."""
        return self._timeouts

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command and return the response to it (see `Transport.transceive`).

        Raises
        ------
        TpmMisuseError
            If `command` is no command.
        TransportTimeoutError
            If the response does not come in time. The transport is usable; the answer will be dropped when it comes.
        TransportBusyError
            If such an answer is still out. The command was not sent.
        TransportRefusedError
            If the kernel refuses the command (`number` is the errno). The transport is usable.
        TransportClosedError
            If the device is gone, or the transport was closed. The transport is closed.
        TransportProtocolError
            If what comes is no response. The transport is usable: reads do not run into one another.
        """
        if self._lock.locked():
            self._refuse_within("transceive")
        with self._lock:
            if type(command) is not bytes:
                command = command_of(command)
            try:
                size, code = _unpack(command, 2)
            except struct.error:
                size = code = -1
            if size != len(command) or size > LIMIT_BYTES:
                command_of(command)  # says what is wrong
            if not self._ready:
                self._settle()
            self._ready = False
            try:
                sent = os.write(self._descriptor, command)
            except OSError as error:
                self._refused(error)
            except BaseException:
                self._owed = True
                raise
            if sent != size:
                self._lost(f"the device took {sent} bytes of {size}", None)
            response = self._response(self._by_code(code, self._ordinary))
            self._ready = True
            return response_of(response, self._name)

    def _response(self, seconds: float) -> bytes:
        """Wait for the response and read it, in one read as the kernel has it."""
        self._owed = True
        events = self._poll.poll(math.ceil(seconds * 1000))
        if any(descriptor == self._waker for descriptor, _ in events):
            raise self._closed_error()
        if not events:
            raise TransportTimeoutError(
                f"no response within {seconds:g} s",
                where=self._name,
                hint="the transport is usable: the late answer will be dropped, and commands are refused until then",
            )
        try:
            response = os.read(self._descriptor, LIMIT_BYTES)
        except OSError as error:
            self._refused(error)
        self._owed = False
        return response

    def _settle(self) -> None:
        """Drop the answer that is owed, if it has come.

        If not, the kernel refuses the next write as long as the old command is under way; an answer that nobody fetches
        it drops itself after 2 minutes.
        """
        self._refuse_if_closed()
        if self._owed and any(descriptor == self._descriptor for descriptor, _ in self._poll.poll(0)):
            with contextlib.suppress(OSError):
                os.read(self._descriptor, LIMIT_BYTES)
            self._owed = False
        self._ready = True

    def _refused(self, error: OSError) -> NoReturn:
        """Go on from what the kernel says at a write, or at the read after it."""
        number = error.errno or 0
        if number in {errno.EBUSY, errno.EAGAIN}:
            self._owed = True
            raise self._busy() from error
        if number in _LOST:
            self._lost(_LOST[number], error)
        self._owed = False
        self._ready = True
        if number == errno.ETIME:
            raise TransportTimeoutError(
                "the kernel has given up the command: the chip took too long",
                where=self._name,
                hint="the transport is usable; whether the TPM carried out the command is not known",
            ) from error
        what, hint = _REFUSALS.get(number, (f"the kernel refuses: {words_of(error)}", ""))
        name = errno.errorcode.get(number, str(number))
        raise TransportRefusedError(
            f"{what} ({name})", number=number, where=self._name, hint=f"{hint}; the transport is usable".lstrip("; ")
        ) from error

    def _lost(self, what: str, cause: BaseException | None) -> NoReturn:
        self._shut(what)
        raise TransportClosedError(
            what, where=self._name, hint="the transport is closed; whether the TPM carried out the command is not known"
        ) from cause

    def _wake(self) -> None:
        self._ready = False
        os.eventfd_write(self._waker, 1)

    def _release(self) -> None:
        self._ready = False
        os.close(self._waker)
        os.close(self._descriptor)


def _opened(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of a character device."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (TypeError, ValueError) as error:
        raise TpmMisuseError(f"{shown(path)} is no path", where="device", expected="a str or a path") from error
    except OSError as error:
        name = f"device:{os.fspath(path)}"
        if error.errno == errno.EBUSY:
            raise TransportBusyError(
                "somebody else has the TPM", where=name, hint="use /dev/tpmrm0, which several may open, or wait"
            ) from error
        raise TpmUnavailableError(
            f"it cannot be opened: {words_of(error)}", where=name, hint=_UNAVAILABLE.get(error.errno or 0)
        ) from error
    if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise TpmUnavailableError("this is no character device", where=f"device:{os.fspath(path)}")
    return descriptor
