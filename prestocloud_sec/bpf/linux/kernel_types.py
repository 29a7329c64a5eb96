# SPDX-License-Identifier: Apache-2.0
"""The running kernel's own types, of which programs need the numbers of the functions that they call.

Sources: Linux 6.18, ``Documentation/bpf/kfuncs.rst``, ``kernel/bpf/sysfs_btf.c`` (behaviour).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from prestocloud_sec.bpf.errors import BtfError, errno_symbol
from prestocloud_sec.bpf.object import Btf, Kind
from prestocloud_sec.errors import UnavailableError
from prestocloud_sec.wire import shown

__all__ = ["kfunc_id", "vmlinux_btf"]

_VMLINUX = Path("/sys/kernel/btf/vmlinux")


@cache
def vmlinux_btf() -> Btf:
    """Return the types of the running kernel without its modules, read once.

    Raises
    ------
    UnavailableError
        If the kernel does not show them.
    BtfError
        If what it shows is no BTF.
    """
    try:
        data = _VMLINUX.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"the kernel does not show its types [{errno_symbol(error.errno or 0)}]",
            where=str(_VMLINUX),
            hint="a kernel with CONFIG_DEBUG_INFO_BTF and /sys mounted does",
        ) from error
    return Btf.from_bytes(data)


def kfunc_id(name: str) -> int:
    """Return the number of a function of the running kernel, which calls of it hold.

    Whether a program may call it, the kernel says when the program is loaded.

    Raises
    ------
    UnavailableError
        If the kernel has no function of that name outside its modules, or does not show its types.
    BtfError
        If what the kernel shows is no BTF.
    BpfMisuseError
        If it is nothing that can be a name.
    """
    types = vmlinux_btf()
    try:
        return types.find(name, Kind.FUNC)
    except BtfError as error:
        raise UnavailableError(
            f"the running kernel has no function {shown(name)}",
            where=str(_VMLINUX),
            hint="those of modules cannot be called by name",
        ) from error
