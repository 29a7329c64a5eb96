# SPDX-License-Identifier: Apache-2.0
"""How transports begin and end: one lock for those who use them, one way to close, at any time and whoever does it.

What is open is known here, so that it can be closed when the interpreter ends, and left alone by a forked child.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from types import TracebackType
from typing import Self
from weakref import WeakSet

from prestocloud_sec.tpm._given import text
from prestocloud_sec.tpm._within import refuse_within
from prestocloud_sec.tpm.errors import TpmMisuseError, TransportBusyError, TransportClosedError

__all__ = ["CLOSED_HERE", "BaseTransport"]

CLOSED_HERE = "close() was called"
"""Why a transport is closed that was closed in order."""

_COMMANDING = frozenset({"transceive"})
_END_SECONDS = 5.0
_OPEN: WeakSet[BaseTransport] = WeakSet()


def _forked() -> None:
    """Take from a child what belongs to its parent; runs in the child, where no other thread is."""
    for transport in list(_OPEN):
        transport._lock, transport._waking = threading.Lock(), threading.Lock()
        transport._reason = "it belongs to the process that this one was forked from"
        transport._released = True
        transport._abandon()
    _OPEN.clear()


def _end() -> None:
    """Close, when the interpreter ends, what was left open, unless a command is under way for long."""
    for transport in list(_OPEN):
        with transport._waking:
            if not transport._released:
                transport._reason = transport._reason or CLOSED_HERE
                transport._wake()
        if transport._lock.acquire(timeout=_END_SECONDS):
            transport._shut("")


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class BaseTransport:
    """What the transports here are made from: a name, a lock, and one way to close.

    A transport fills in `_release`, which gives back what it holds and is called once, with the lock held; `_wake`,
    where a thread can wait inside for long; and `_abandon`, where a forked child may not do what `_release` does.
    """

    __slots__ = ("__weakref__", "_lock", "_name", "_reason", "_released", "_waking")

    def __init__(self, name: str) -> None:
        self._name = text(name, "name")
        self._lock = threading.Lock()
        self._waking = threading.Lock()
        self._reason = ""  # why it is closed; empty while it is open
        self._released = False
        _OPEN.add(self)

    @property
    def name(self) -> str:
        """What the transport leads to."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return bool(self._reason)

    def close(self) -> None:
        """Give back what the transport holds.

        A thread that waits for a response gets a `TransportClosedError`, but for ``embedded:``, whose command is waited
        for. Nothing happens where the transport was closed before.

        Raises
        ------
        TpmMisuseError
            If this thread is in the middle of a command, as in a handler of signals. The transport is as it was.
        """
        if self._lock.locked():
            self._refuse_within("close")
        with self._waking:
            if self._released:
                return
            self._reason = self._reason or CLOSED_HERE
            self._wake()
        with self._lock:
            self._shut("")

    def _refuse_within(self, what: str) -> None:
        """Refuse to wait for a lock that this thread may hold itself."""
        refuse_within(self, _COMMANDING, f"{self._name}: {what}", above=2)

    def _wake(self) -> None:
        """Let a thread that waits inside find out that the transport is about to be closed."""

    def _release(self) -> None:
        """Give back what the transport holds."""

    def _abandon(self) -> None:
        """Close, in a child, the copies of what the parent goes on using."""
        self._release()

    def _shut(self, reason: str) -> None:
        """Close, with the lock held, unless that was done before."""
        with self._waking:  # nobody is woken by a descriptor that is being closed
            if self._released:
                return
            self._released = True
            self._reason = self._reason or reason
        _OPEN.discard(self)
        self._release()

    def _refuse_if_closed(self) -> None:
        if self._reason:
            raise self._closed_error()

    def _closed_error(self) -> TransportClosedError:
        return TransportClosedError(f"it is closed: {self._reason}", where=self._name, hint="open it again")

    def _busy(self) -> TransportBusyError:
        return TransportBusyError(
            "the answer to an earlier command is still out",
            where=self._name,
            hint="the transport is usable again when it has come: try later, or close it",
        )

    def __enter__(self) -> Self:
        self._refuse_if_closed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_released", True):
            with contextlib.suppress(Exception):
                self._shut("it was collected")

    def __repr__(self) -> str:
        state = f", closed: {self._reason}" if self._reason else ""
        return f"<{type(self).__name__} {self._name}{state}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise TpmMisuseError("a transport can be neither copied nor pickled", where=self._name)
