# SPDX-License-Identifier: Apache-2.0
"""What all native helpers are written with: memory of the program, faults, and leaving a call to Python."""

from __future__ import annotations

from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load64, store64
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.access_kernel import host_of
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import State

__all__ = ["decline", "readable", "writable"]

_U = types.uint64


@kernel()
def decline(state_at: Any, number: Any) -> Any:
    """Leave a helper to Python; return 0."""
    store64(state_at + 8 * State.HELPER, _U(number))
    return _U(0)


@kernel()
def _no_memory(state_at: Any, kind: Any, address: Any, size: Any) -> Any:
    """Leave an access fault; return 0."""
    store64(state_at + 8 * State.FAULT, _U(kind))
    store64(state_at + 8 * State.FAULT_ADDRESS, address)
    store64(state_at + 8 * State.FAULT_SIZE, size)
    return _U(0)


@kernel()
def readable(state_at: Any, address: Any, size: Any) -> Any:
    """Return where `size` bytes (not 0) at `address` lie in this process, or 0 with a fault left."""
    host = host_of(types.int64(load64(state_at + 8 * State.REGIONS_AT)), address, size, _U(layout.READABLE))
    if host == 0:
        _no_memory(state_at, types.int64(FaultKind.READ), address, size)
    return host


@kernel()
def writable(state_at: Any, address: Any, size: Any) -> Any:
    """Do the same for memory to be written."""
    host = host_of(types.int64(load64(state_at + 8 * State.REGIONS_AT)), address, size, _U(layout.WRITABLE))
    if host == 0:
        _no_memory(state_at, types.int64(FaultKind.WRITE), address, size)
    return host
