# SPDX-License-Identifier: Apache-2.0
"""Filters on sockets: a program says how many bytes of each packet the socket gets, and 0 drops it.

Sources: socket(7), ``SO_ATTACH_FILTER``, ``SO_ATTACH_BPF``, ``SO_DETACH_FILTER``, ``SO_LOCK_FILTER``; Linux
``include/uapi/linux/filter.h``, ``struct sock_fprog``; the numbers, ``include/uapi/asm-generic/socket.h``, which x86-64
and arm64 use.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError, ClassicError, KernelError, LoadError
from prestocloud_sec.bpf.linux.attr import make_buffer
from prestocloud_sec.bpf.linux.programs import KernelProgram
from prestocloud_sec.wire import shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["attach", "attach_classic", "detach", "lock"]

_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_SO_LOCK_FILTER = 44
_SO_ATTACH_BPF = 50
_INSTRUCTION = 8
"""Bytes of a classic instruction (``struct sock_filter``)."""
_LONGEST = 0xFFFF
"""Instructions that ``struct sock_fprog`` can count."""


def attach_classic(to: socket.socket, program: BytesLike) -> None:
    """Let a classic program filter what a socket receives; no right is needed.

    Parameters
    ----------
    to : socket
        A socket; a filter it had is replaced.
    program : bytes-like
        Instructions of eight bytes each: code (u16), jt (u8), jf (u8), k (u32), little-endian.

    Raises
    ------
    LoadError
        If the kernel refuses the program; with its errno.
    ClassicError
        If the bytes are no whole number of instructions, or more than 65535.
    BpfMisuseError
        If an argument is of another type.
    """
    code = bytes(view_of(program, name="program"))
    count, rest = divmod(len(code), _INSTRUCTION)
    if rest or count > _LONGEST:
        raise ClassicError(
            f"{len(code)} bytes are no program",
            expected=f"up to {_LONGEST} instructions of {_INSTRUCTION} bytes each",
        )
    memory = make_buffer(code)
    option = struct.pack("<H6xQ", count, ctypes.addressof(memory))
    try:
        _checked(to).setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
    except OSError as error:
        raise LoadError(
            error.errno or 0,
            "the kernel refuses the program",
            where=f"classic program of {count} instructions",
            hint="prestocloud_sec.bpf.classic tells which instruction breaks which rule",
        ) from error


def attach(to: socket.socket, program: KernelProgram) -> None:
    """Let a loaded program of type ``SOCKET_FILTER`` filter what a socket receives.

    Raises
    ------
    KernelError
        If the kernel refuses: EINVAL for a program of another type.
    BpfMisuseError
        If an argument is of another type, or the program is closed.
    """
    if not isinstance(program, KernelProgram):
        raise BpfMisuseError(f"{shown(program)} is no loaded program", where="attach", expected="a KernelProgram")
    _set(to, _SO_ATTACH_BPF, program.fileno(), f"{program!r} is not attached")


def detach(of: socket.socket) -> None:
    """Remove a socket's filter.

    Raises
    ------
    KernelError
        ENOENT, where it has none; EPERM, where it is locked.
    BpfMisuseError
        If `of` is no socket.
    """
    _set(of, _SO_DETACH_FILTER, 0, "the filter is not removed")


def lock(of: socket.socket) -> None:
    """Forbid every change of a socket's filter, also to whoever the socket is handed to.

    Raises
    ------
    KernelError
        If the kernel refuses.
    BpfMisuseError
        If `of` is no socket.
    """
    _set(of, _SO_LOCK_FILTER, 1, "the filter is not locked")


def _checked(of: socket.socket) -> socket.socket:
    if not isinstance(of, socket.socket) or of.fileno() < 0:
        raise BpfMisuseError(f"{shown(of)} is no open socket", expected="a socket.socket")
    return of


def _set(of: socket.socket, option: int, value: int, otherwise: str) -> None:
    try:
        _checked(of).setsockopt(socket.SOL_SOCKET, option, value)
    except OSError as error:
        raise KernelError(error.errno or 0, otherwise, where=f"socket {of.fileno()}") from error
