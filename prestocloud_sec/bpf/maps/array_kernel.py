# SPDX-License-Identifier: Apache-2.0
"""Array maps in compiled code; the rules are those of ``kernel/bpf/arraymap.c``."""

from __future__ import annotations

import errno
from typing import Any

from numba import types

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import load32
from prestocloud_sec.bpf.maps._words_kernel import fits, put_value, value_place, word
from prestocloud_sec.bpf.maps.layout import Descriptor

__all__ = ["delete", "lookup", "step", "update"]

_I, _U = types.int64, types.uint64
_NONE = _I(-1)
_NOEXIST = _U(1)
_LOCKLESS = _U((1 << 64) - 1 - 4)
_E2BIG, _EEXIST, _EINVAL = _I(-errno.E2BIG), _I(-errno.EEXIST), _I(-errno.EINVAL)


@kernel()
def lookup(at: Any, key_at: Any, cpu: Any) -> Any:
    """Return the offset of a processor's value, or -1."""
    index = _I(load32(key_at))
    return value_place(at, index, cpu) if index < word(at, Descriptor.MAX_ENTRIES) else _NONE


@kernel()
def update(at: Any, key_at: Any, value_at: Any, flags: Any, cpu: Any) -> Any:
    """Store a processor's value, or with `cpu` -1 those of all; return 0 or a negative errno.

    The values of all stand one after the other, each rounded up to 8 bytes.
    """
    flags = _U(flags)
    cpus = word(at, Descriptor.CPUS)
    if not fits(flags & _LOCKLESS if cpus == _I(1) else flags):
        return _EINVAL
    if _I(load32(key_at)) >= word(at, Descriptor.MAX_ENTRIES):
        return _E2BIG
    if flags & _NOEXIST != _U(0):
        return _EEXIST
    if not fits(flags):
        return _EINVAL
    if cpus > _I(1) and _I(cpu) >= cpus:
        return _EINVAL
    put_value(at, _I(load32(key_at)), value_at, _I(cpu), False)
    return _I(0)


@kernel()
def delete(at: Any, key_at: Any) -> Any:  # noqa: ARG001  (as for other kinds)
    """Return -EINVAL: elements of an array stay."""
    return _EINVAL


@kernel()
def step(at: Any, slot: Any) -> Any:
    """Return the slot behind `slot`, the first for -1; -1 at the end."""
    following = _I(slot) + _I(1)
    return following if following < word(at, Descriptor.MAX_ENTRIES) else _NONE
