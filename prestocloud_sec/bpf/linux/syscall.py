# SPDX-License-Identifier: Apache-2.0
"""bpf(2) itself, through ctypes: one function, and the objects it returns descriptors of.

Sources: bpf(2); the numbers, Linux ``arch/x86/entry/syscalls/syscall_64.tbl`` and
``include/uapi/asm-generic/unistd.h``.

The C library has no function for this call, so it goes through ``syscall(2)``, which keeps errno by thread and lets
other threads run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from types import MappingProxyType, TracebackType
from typing import Self

from prestocloud_sec.bpf.errors import BpfMisuseError, KernelError
from prestocloud_sec.bpf.linux.attr import Attr, Command, Layout, make_buffer
from prestocloud_sec.errors import UnavailableError
from prestocloud_sec.wire import shown

__all__ = ["NUMBERS", "KernelObject", "bpf", "read_info"]

NUMBERS = MappingProxyType({"x86_64": 321, "aarch64": 280})
"""The number of bpf(2) by the machine's name (uname(2))."""

_PAGE = 4096
"""Bytes of the longest attr that the kernel looks at; a longer one is E2BIG."""


@cache
def _syscall() -> Callable[[int, ctypes.c_void_p, int], int]:
    """Return a function of command, address and size that gives what bpf(2) returns, or -1 with errno set."""
    machine = os.uname().machine if hasattr(os, "uname") else "?"
    number = NUMBERS.get(machine)
    if sys.platform != "linux" or number is None or sys.maxsize < 1 << 32:
        raise UnavailableError(
            f"bpf(2) cannot be called from here ({sys.platform}, {machine}, {sys.maxsize.bit_length() + 1} bits)",
            expected=f"a 64-bit Python on Linux, on {' or '.join(NUMBERS)}",
        )
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]
    return lambda command, address, size: int(function(number, command, address, size))


def bpf(command: int, attr: Attr | bytes) -> int:
    """Call bpf(2).

    Parameters
    ----------
    command : int
        Such as `Command.MAP_CREATE`; any 32-bit number, also one that the kernel does not know.
    attr : Attr or bytes
        The structure. The kernel's answers are in it afterwards; where bytes are given, they are lost. Pointers in
        bytes are the caller's risk.

    Returns
    -------
    int
        What the call returns; where the kernel refuses, the negative errno.

    Raises
    ------
    BpfMisuseError
        If an argument is of another type or out of range.
    UnavailableError
        If this is no Linux on a processor of `NUMBERS`.
    """
    if not isinstance(command, int) or not 0 <= command < 1 << 31:
        raise BpfMisuseError(f"{shown(command)} is no command", where="bpf", expected="an integer 0..2**31 - 1")
    if isinstance(attr, Attr):
        memory, size = attr.memory, len(attr)
    elif isinstance(attr, bytes):
        memory, size = make_buffer(attr.ljust(_PAGE, b"\0")), len(attr)
    else:
        raise BpfMisuseError(f"{type(attr).__name__} is no attr", where="bpf", expected="an Attr or bytes")
    result = _syscall()(command, ctypes.c_void_p(ctypes.addressof(memory)), size)
    return result if result >= 0 else -ctypes.get_errno()


class KernelObject:
    """Something that lives in the kernel while this object holds its descriptor.

    The descriptor is closed by `close`, at the end of a ``with`` block, or when the object is collected; only once,
    whichever comes first, and from whatever thread. It is not inherited by child processes (``O_CLOEXEC``).

    Parameters
    ----------
    descriptor : int
        An open file descriptor, which the object owns from now on.
    """

    __slots__ = ("__weakref__", "_held")

    def __init__(self, descriptor: int) -> None:
        self._held: list[int] = []
        if not isinstance(descriptor, int) or isinstance(descriptor, bool) or not 0 <= descriptor < 1 << 31:
            raise BpfMisuseError(
                f"{shown(descriptor)} is no descriptor", where=type(self).__name__, expected="an open one"
            )
        self._held.append(descriptor)

    @property
    def closed(self) -> bool:
        """Whether the descriptor is gone."""
        return not self._held

    def fileno(self) -> int:
        """Return the descriptor.

        Raises
        ------
        BpfMisuseError
            If it was closed.
        """
        for descriptor in self._held:
            return descriptor
        raise BpfMisuseError("it was closed", where=type(self).__name__, hint="use it inside its with block")

    def close(self) -> None:
        """Close the descriptor; nothing happens where that was done before.

        Raises
        ------
        KernelError
            EBADF, if somebody else closed it.
        """
        try:
            descriptor = self._held.pop()  # one step, so that of two threads one closes
        except IndexError:
            return
        try:
            os.close(descriptor)
        except OSError as error:
            raise KernelError(
                error.errno or 0,
                f"descriptor {descriptor} cannot be closed",
                where=type(self).__name__,
                hint="was it closed by its number?",
            ) from error

    def __enter__(self) -> Self:
        self.fileno()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_held", None):
            with contextlib.suppress(KernelError):
                self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'closed' if self.closed else f'descriptor {self.fileno()}'}>"

    def __reduce__(self) -> tuple[object, ...]:
        raise BpfMisuseError(
            "what lives in the kernel can be neither copied nor pickled",
            where=type(self).__name__,
            hint="two owners of a descriptor would close it twice",
        )


def read_info(descriptor: int, layout: Layout) -> Attr:
    """Ask the kernel what it knows of a map or a program (``BPF_OBJ_GET_INFO_BY_FD``, Linux 4.13).

    Raises
    ------
    KernelError
        If it refuses.
    """
    info = Attr(layout)
    attr = Attr(Command.OBJ_GET_INFO_BY_FD, bpf_fd=descriptor, info_len=len(info), info=info.memory)
    result = bpf(Command.OBJ_GET_INFO_BY_FD, attr)
    if result < 0:
        raise KernelError(-result, "the kernel does not tell", where=f"descriptor {descriptor}, {layout.name}")
    return info
