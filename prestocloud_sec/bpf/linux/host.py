# SPDX-License-Identifier: Apache-2.0
"""What this machine allows: whether bpf(2) may be called, and how many processors a per-CPU map counts.

Sources: bpf(2), capabilities(7); Linux ``Documentation/admin-guide/cputopology.rst`` for the list of processors.
"""

from __future__ import annotations

import errno
from pathlib import Path

from prestocloud_sec.bpf.errors import errno_symbol
from prestocloud_sec.bpf.isa import Alu, AluOp, Exit, Imm, encode
from prestocloud_sec.bpf.linux.attr import Attr, Command, make_buffer
from prestocloud_sec.bpf.linux.syscall import KernelObject, bpf
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.program import ProgramType
from prestocloud_sec.errors import UnavailableError

__all__ = ["available", "parse_processors", "possible_cpus", "require"]

_POSSIBLE = Path("/sys/devices/system/cpu/possible")
_MOST = 1 << 16
"""Processors beyond which a list is not believed."""

_RIGHTS = "root, or CAP_BPF and CAP_NET_ADMIN"
_REASONS = {
    errno.EPERM: (_RIGHTS, "the seccomp profile of a container may refuse it to root as well"),
    errno.EACCES: (_RIGHTS, "a security module may refuse it to root as well"),
    errno.ENOSYS: ("a kernel with CONFIG_BPF_SYSCALL", "the seccomp profile of a container may hide it"),
}
"""By errno: what is expected, and what else to look at."""


def require() -> None:
    """Make sure that this process may make maps and load network programs.

    A map of one element and a program of two instructions are made and given back.

    Raises
    ------
    UnavailableError
        If it may not; the message says why.
    """
    code = make_buffer(encode([Alu(AluOp.MOV, 64, 0, Imm(0)), Exit()]))
    tries: tuple[tuple[str, Command, dict[str, object]], ...] = (
        ("map", Command.MAP_CREATE, {"map_type": MapType.ARRAY, "key_size": 4, "value_size": 4, "max_entries": 1}),
        (
            "program",
            Command.PROG_LOAD,
            {"prog_type": ProgramType.XDP, "insn_cnt": 2, "insns": code, "license": make_buffer(b"GPL\0")},
        ),
    )
    for what, command, fields in tries:
        result = bpf(command, Attr(command, **fields))
        if result < 0:
            expected, hint = _REASONS.get(-result, (None, None))
            raise UnavailableError(
                f"bpf(2) refuses to make a {what} [{errno_symbol(-result)}]", expected=expected, hint=hint
            )
        KernelObject(result).close()


def available() -> bool:
    """Tell whether `require` would pass."""
    try:
        require()
    except UnavailableError:
        return False
    return True


def parse_processors(text: str) -> tuple[int, ...]:
    """Return the processors that a list such as ``0-3,8`` names (Linux ``Documentation/admin-guide/cputopology.rst``).

    Raises
    ------
    UnavailableError
        If the text is no such list, or names more than 65536.

    Examples
    --------
    >>> parse_processors("0-2,8")
    (0, 1, 2, 8)
    """
    found: list[int] = []
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        numbers = [first, last if dash else first]
        if not all(number.isascii() and number.isdigit() and len(number) <= 5 for number in numbers):
            raise UnavailableError("the list of processors is none", where=str(_POSSIBLE), expected="one such as 0-3")
        low, high = map(int, numbers)
        if not low <= high < _MOST or len(found) + high - low >= _MOST:
            raise UnavailableError("the list of processors is too long", where=str(_POSSIBLE), expected=f"{_MOST}")
        found += range(low, high + 1)
    return tuple(found)


def possible_cpus() -> int:
    """Return the number of processors that the machine could have: of values in each element of a per-CPU map.

    Raises
    ------
    UnavailableError
        If the kernel does not tell, as where ``/sys`` is not mounted.
    """
    try:
        text = _POSSIBLE.read_text("ascii", "replace")
    except OSError as error:
        raise UnavailableError(
            f"the kernel does not tell the number of processors [{errno_symbol(error.errno or 0)}]",
            where=str(_POSSIBLE),
            hint="mount /sys",
        ) from error
    return len(parse_processors(text))
