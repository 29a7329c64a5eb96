# SPDX-License-Identifier: Apache-2.0
"""Sending a command again when the TPM says that it may succeed then.

Three warnings mean that the same bytes should be sent again (TPM 2.0 Library, Part 2, 6.6.3, and Part 3, clause 5):
TPM_RC_RETRY and TPM_RC_YIELDED at once, TPM_RC_TESTING after a while. libtpms gives RETRY the first time an algorithm
is used that was not tested yet. A TPM that answers one of these has done nothing, and its sessions are where they were.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.transport.base import Transport, Wrapper, command_of
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["AGAIN", "RetryPolicy", "Retrying"]

RETRY, YIELDED, TESTING = bytes.fromhex("00000922"), bytes.fromhex("00000908"), bytes.fromhex("0000090a")

AGAIN = frozenset({RETRY, YIELDED, TESTING})
"""The response codes, as they stand in a response from its seventh byte, after which a command is sent again."""

_PATIENT = frozenset({TESTING})


class RetryPolicy:
    """How often, and after what pauses, a command is sent again.

    The pauses double from `first` to `longest`. Before the first repetition there is none, but after TPM_RC_TESTING.

    Parameters
    ----------
    attempts : int
        How often a command is sent at most, the first time included.
    first, longest : float
        The shortest and the longest pause in seconds.
    total : float
        Seconds of all pauses after which it is not sent again.

    Raises
    ------
    TpmMisuseError
        If one is out of range.

    >>> RetryPolicy(attempts=6, first=0.01, longest=0.05).pauses(patient=False)
    (0.0, 0.01, 0.02, 0.04, 0.05)
    """

    __slots__ = ("attempts", "first", "longest", "total")

    def __init__(self, attempts: int = 20, first: float = 0.005, longest: float = 0.5, total: float = 10.0) -> None:
        self.attempts = whole(attempts, "RetryPolicy.attempts", 1, 1000, error=TpmMisuseError)
        for name, value in (("first", first), ("longest", longest), ("total", total)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 3600:
                raise TpmMisuseError(shown(value), where=f"RetryPolicy.{name}", expected="seconds, 0 to 3600")
        self.first, self.longest, self.total = float(first), float(longest), float(total)

    def pauses(self, *, patient: bool) -> tuple[float, ...]:
        """Return the pauses before each repetition, in seconds.

        Parameters
        ----------
        patient : bool
            Whether there is one before the first repetition, too.
        """
        found: list[float] = []
        pause, left = self.first, self.total
        for number in range(self.attempts - 1):
            now = 0.0 if number == 0 and not patient else min(pause, self.longest)
            if now > left:
                break
            found.append(now)
            left -= now
            if now:
                pause = min(pause * 2, self.longest)
        return tuple(found)

    def repeat(
        self,
        send: Callable[[bytes], bytes],
        command: bytes,
        response: bytes,
        sleep: Callable[[float], object] = time.sleep,
    ) -> bytes:
        """Send a command again as long as the response says so, and return the last response.

        Parameters
        ----------
        send : callable
            Sends a command and returns the response.
        command : bytes
            The command that was sent once.
        response : bytes
            What came back.
        sleep : callable
            Waits for so many seconds.

        Returns
        -------
        bytes
            The first response that is final or, when the attempts are used up, the last one.
        """
        for pause in self.pauses(patient=response[6:10] in _PATIENT):
            if response[6:10] not in AGAIN:
                break
            if pause:
                sleep(pause)
            response = send(command)
        return response

    async def repeat_async(
        self,
        send: Callable[[bytes], Awaitable[bytes]],
        command: bytes,
        response: bytes,
        sleep: Callable[[float], Awaitable[object]],
    ) -> bytes:
        """Do what `repeat` does, without blocking an event loop."""
        for pause in self.pauses(patient=response[6:10] in _PATIENT):
            if response[6:10] not in AGAIN:
                break
            if pause:
                await sleep(pause)
            response = await send(command)
        return response

    def __repr__(self) -> str:
        return f"RetryPolicy(attempts={self.attempts}, first={self.first}, longest={self.longest}, total={self.total})"


class Retrying(Wrapper):
    """A transport that sends a command again when the TPM says so, within bounds.

    Parameters
    ----------
    transport : Transport
        The way to the TPM.
    policy : RetryPolicy, optional
        How often and how long.
    sleep : callable
        Waits for so many seconds.
    """

    __slots__ = ("_sleep", "policy")

    def __init__(
        self, transport: Transport, policy: RetryPolicy | None = None, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        super().__init__(transport)
        self.policy = RetryPolicy() if policy is None else instance(policy, RetryPolicy, "policy")
        if not callable(sleep):
            raise TpmMisuseError(shown(sleep), where="sleep", expected="a function of seconds")
        self._sleep = sleep

    def transceive(self, command: BytesLike, /) -> bytes:
        """Send a command, again if need be, and return the last response to it."""
        response = self.inner.transceive(command)
        if response[6:10] in AGAIN:
            return self.policy.repeat(self.inner.transceive, command_of(command, 1 << 20), response, self._sleep)
        return response
