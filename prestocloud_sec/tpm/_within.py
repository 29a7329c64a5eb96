# SPDX-License-Identifier: Apache-2.0
"""Whether this very thread is in the middle of something already.

A handler of signals runs between two instructions of whatever the main thread is doing. Where that is a command, a lock
is held that the handler would wait for without end. Locks do not say whose they are; the stack does.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from types import FrameType

from prestocloud_sec.tpm.errors import TpmMisuseError

__all__ = ["refuse_within"]


def refuse_within(owner: object, methods: Collection[str], what: str, *, above: int = 1) -> None:
    """Refuse something that its own caller is in the middle of.

    Parameters
    ----------
    owner : object
        What must not be used again.
    methods : collection of str
        The names of its methods in whose middle it must not.
    what : str
        What errors call it.
    above : int
        Whose callers are looked at: 1 for the caller of this function, 2 for its caller.

    Raises
    ------
    TpmMisuseError
        If this thread is in one of the methods already.
    """
    frame: FrameType | None = sys._getframe(above).f_back
    while frame is not None:
        if frame.f_code.co_name in methods and frame.f_locals.get("self") is owner:
            raise TpmMisuseError(
                "this thread is in the middle of a command",
                where=what,
                expected="a call between two commands",
                hint="a handler of signals may note what is to be done, or raise an exception",
            )
        frame = frame.f_back
