# SPDX-License-Identifier: Apache-2.0
"""The running kernel's BPF: maps and programs behind bpf(2), filters on sockets.

Nothing else in `prestocloud_sec.bpf` needs this package, and it needs no library: without the right to call bpf(2), or
on another system, everything else works, and `require` says what is missing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.linux.host import available as available
    from prestocloud_sec.bpf.linux.host import possible_cpus as possible_cpus
    from prestocloud_sec.bpf.linux.host import require as require
    from prestocloud_sec.bpf.linux.kernel_types import vmlinux_btf as vmlinux_btf
    from prestocloud_sec.bpf.linux.mapinfo import MapInfo as MapInfo
    from prestocloud_sec.bpf.linux.maps import KernelMap as KernelMap
    from prestocloud_sec.bpf.linux.programs import KernelProgram as KernelProgram
    from prestocloud_sec.bpf.linux.programs import KernelRun as KernelRun
    from prestocloud_sec.bpf.linux.programs import ProgramInfo as ProgramInfo
    from prestocloud_sec.bpf.linux.sockets import attach as attach
    from prestocloud_sec.bpf.linux.sockets import attach_classic as attach_classic
    from prestocloud_sec.bpf.linux.sockets import detach as detach
    from prestocloud_sec.bpf.linux.sockets import lock as lock
    from prestocloud_sec.bpf.linux.syscall import KernelObject as KernelObject

_HOMES: dict[str, str] = {
    "KernelMap": "maps",
    "KernelObject": "syscall",
    "KernelProgram": "programs",
    "KernelRun": "programs",
    "MapInfo": "mapinfo",
    "ProgramInfo": "programs",
    "attach": "sockets",
    "attach_classic": "sockets",
    "available": "host",
    "detach": "sockets",
    "lock": "sockets",
    "possible_cpus": "host",
    "require": "host",
    "vmlinux_btf": "kernel_types",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
