# SPDX-License-Identifier: Apache-2.0
"""System calls as seccomp filters see them, and what several filters decide together.

Sources: Linux ``include/uapi/linux/seccomp.h``; seccomp(2); 6.18 ``kernel/seccomp.c``, ``seccomp_run_filters``
(behaviour).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.classic.checker import SECCOMP_DATA_SIZE
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import items_of, shown, view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic.program import ClassicProgram
    from prestocloud_sec.wire import BytesLike

__all__ = ["SeccompAction", "SeccompData", "decide", "run_filters", "seccomp_bytes"]

_FORMAT = struct.Struct("=iIQ6Q")
_ACTION, _DATA = 0xFFFF_0000, 0xFFFF
_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_ARGUMENTS = 6


class SeccompAction(IntEnum):
    """The upper half of what a filter returns; the lower is data, such as an errno."""

    KILL_PROCESS = 0x8000_0000
    KILL_THREAD = 0x0000_0000
    TRAP = 0x0003_0000
    ERRNO = 0x0005_0000
    USER_NOTIF = 0x7FC0_0000
    TRACE = 0x7FF0_0000
    LOG = 0x7FFC_0000
    ALLOW = 0x7FFF_0000


@dataclass(frozen=True, slots=True)
class SeccompData:
    """One system call: ``struct seccomp_data``.

    Attributes
    ----------
    nr : int
        Number of the call, 32 bits signed.
    arch : int
        ``AUDIT_ARCH_*``.
    instruction_pointer : int
        Where it was made, 64 bits.
    args : tuple of int
        Up to six arguments of 64 bits; those left out are 0.
    """

    nr: int
    arch: int = 0
    instruction_pointer: int = 0
    args: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        limits = {"nr": (-(1 << 31), (1 << 31) - 1), "arch": (0, _U32), "instruction_pointer": (0, _U64)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise BpfMisuseError(
                    f"{shown(value)} does not fit", where=f"SeccompData.{name}", expected=f"an integer {low}..{high}"
                )
        args = self.args
        if type(args) is not tuple or len(args) > _ARGUMENTS:
            raise BpfMisuseError(f"{shown(args)}", where="SeccompData.args", expected="a tuple of up to six integers")
        if not all(type(value) is int and 0 <= value <= _U64 for value in args):
            raise BpfMisuseError(f"{shown(args)}", where="SeccompData.args", expected="integers of 64 bits")

    def to_bytes(self) -> bytes:
        """Return its 64 bytes, in this machine's byte order."""
        args = (*self.args, *[0] * (_ARGUMENTS - len(self.args)))
        return _FORMAT.pack(self.nr, self.arch, self.instruction_pointer, *args)


def seccomp_bytes(data: SeccompData | BytesLike) -> bytes:
    """Return the bytes of a system call.

    Raises
    ------
    BpfMisuseError
        If there are not exactly 64.
    """
    found = data.to_bytes() if isinstance(data, SeccompData) else bytes(view_of(data, name="data"))
    if len(found) != SECCOMP_DATA_SIZE:
        raise BpfMisuseError(
            f"{len(found)} bytes", where="data", expected=f"{SECCOMP_DATA_SIZE}, a struct seccomp_data"
        )
    return found


def _rank(result: int) -> int:
    """Return the action as a signed number: the lowest wins."""
    action = result & _ACTION
    return action - (1 << 32) if action >> 31 else action


def decide(results: Iterable[int]) -> int:
    """Return what several filters decide together.

    Parameters
    ----------
    results : iterable of int
        What each returned, the filter that was installed last first: of equal actions, the first one's data counts.

    Raises
    ------
    BpfMisuseError
        If there is no result, or one is no number of 32 bits.

    Examples
    --------
    >>> hex(decide([SeccompAction.ALLOW, SeccompAction.ERRNO | 1, SeccompAction.ERRNO | 2]))
    '0x50001'
    """
    chosen = None
    for result in items_of(results, "decide", "results", error=BpfMisuseError):
        number = whole(result, "decide, a result", 0, _U32, error=BpfMisuseError)
        chosen = int(SeccompAction.ALLOW) if chosen is None else chosen
        if _rank(number) < _rank(chosen):
            chosen = number
    if chosen is None:
        raise BpfMisuseError("no results", where="decide", expected="results of 32 bits, at least one")
    return chosen


def run_filters(programs: Iterable[ClassicProgram], data: SeccompData | BytesLike) -> int:
    """Run several filters over a system call, in the order they were installed in, and return what they decide.

    Raises
    ------
    ClassicError
        If the kernel would refuse one.
    BpfMisuseError
        If there is no filter, something is no filter, or the data has another size.
    """
    from prestocloud_sec.bpf.classic.program import ClassicProgram

    call = seccomp_bytes(data)
    filters = []
    for program in items_of(programs, "run_filters", "programs", error=BpfMisuseError):
        if not isinstance(program, ClassicProgram):
            raise BpfMisuseError(f"{shown(program)} is no program", where="run_filters", expected="a ClassicProgram")
        filters.append(program)
    return decide(program.run_seccomp(call) for program in reversed(filters))
