# SPDX-License-Identifier: Apache-2.0
"""What the kernels of all maps are written with: words of a descriptor, its lock, values of slots, keys."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from prestocloud_sec._jit import kernel
from prestocloud_sec.bpf._raw_kernel import clear, copy, load8, load16, load32, load64, move, store32, store64
from prestocloud_sec.bpf.maps.layout import Descriptor

__all__ = [
    "copy_key",
    "entry",
    "fits",
    "lock",
    "put_value",
    "same_key",
    "set_entry",
    "set_word",
    "short_key",
    "swap64",
    "unlock",
    "value_place",
    "word",
]

_WORD = ir.IntType(64)


def _exchange(_typing: Any, _address: Any) -> Any:
    """Set the word at an address to 1; return what it was."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _WORD.as_pointer())
        return builder.atomic_rmw("xchg", pointer, ir.Constant(_WORD, 1), "acquire")

    return types.int64(types.int64), generate


def _release(_typing: Any, _address: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], _WORD.as_pointer())
        builder.store_atomic(ir.Constant(_WORD, 0), pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _swap(_typing: Any, _value: Any) -> Any:
    """Return a 64-bit number with its bytes in the other order."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), generate


_try_lock: Any = intrinsic(_exchange)
_clear_lock: Any = intrinsic(_release)
swap64: Any = intrinsic(_swap)


@kernel(inline="always")
def word(at: Any, index: Any) -> Any:
    """Return a word of a descriptor (int64)."""
    return types.int64(load64(at + types.int64(8) * types.int64(index)))


@kernel(inline="always")
def set_word(at: Any, index: Any, value: Any) -> Any:
    """Set a word of a descriptor."""
    store64(at + types.int64(8) * types.int64(index), types.uint64(value))


@kernel(inline="always")
def entry(at: Any, index: Any) -> Any:
    """Return a number of a table of uint32 (as int64)."""
    return types.int64(load32(at + types.int64(4) * index))


@kernel(inline="always")
def set_entry(at: Any, index: Any, value: Any) -> Any:
    """Set a number of a table of uint32."""
    store32(at + types.int64(4) * index, types.uint64(value))


@kernel()
def lock(address: Any) -> Any:
    """Wait until nobody else changes the map, and keep others from it."""
    while _try_lock(address) != types.int64(0):
        pass


@kernel(inline="always")
def unlock(address: Any) -> Any:
    """Let others change the map."""
    _clear_lock(address)


@kernel(inline="always")
def fits(flags: Any) -> Any:
    """Tell whether the flags of an update are ones that a map without spin locks takes."""
    return types.uint64(flags) <= types.uint64(2)


@kernel(inline="always")
def value_place(at: Any, slot: Any, cpu: Any) -> Any:
    """Return the offset of a processor's value of a slot; -1 if there is no such processor."""
    cpus = word(at, Descriptor.CPUS)
    stride = word(at, Descriptor.STRIDE)
    place = types.int64(-1)
    if cpus == types.int64(1):
        place = slot * stride
    elif types.int64(0) <= types.int64(cpu) < cpus:
        place = (slot * cpus + types.int64(cpu)) * stride
    return place


@kernel()
def put_value(at: Any, slot: Any, value_at: Any, cpu: Any, fresh: Any) -> Any:
    """Write the values of a slot: of one processor, those of others becoming 0 if `fresh`; of all where `cpu` is -1.

    The values of all stand one after the other, each rounded up to 8 bytes, as system calls have them.
    """
    cpus = word(at, Descriptor.CPUS)
    stride = word(at, Descriptor.STRIDE)
    size = word(at, Descriptor.VALUE_SIZE)
    target = word(at, Descriptor.VALUES_AT) + slot * cpus * stride
    if cpus == types.int64(1):
        move(target, value_at, size)
    elif cpu < types.int64(0):
        for each in range(cpus):
            move(target + each * stride, value_at + each * ((size + types.int64(7)) & types.int64(-8)), size)
    else:
        if fresh:
            clear(target, cpus * stride)
        move(target + cpu * stride, value_at, size)


@kernel(inline="always")
def copy_key(target: Any, source: Any, size: Any) -> Any:
    """Copy a key."""
    if size == types.int64(4):
        store32(target, load32(source))
    elif size == types.int64(8):
        store64(target, load64(source))
    else:
        copy(target, source, size)


@kernel(inline="always")
def short_key(at: Any, size: Any) -> Any:
    """Return a key of 1 to 7 bytes as a number; different keys give different ones."""
    if size == types.int64(4):
        return load32(at)
    if size > types.int64(4):
        return load32(at) | (load32(at + size - types.int64(4)) << types.uint64(32))
    if size == types.int64(1):
        return load8(at)
    return load16(at) | (load8(at + size - types.int64(1)) << types.uint64(16))


@kernel()
def same_key(left: Any, right: Any, size: Any) -> Any:
    """Tell whether two keys are the same bytes."""
    if size < types.int64(8):
        return short_key(left, size) == short_key(right, size)
    place = types.int64(0)
    while place < size:
        at = min(place, size - types.int64(8))
        if load64(left + at) != load64(right + at):
            return False
        place += types.int64(8)
    return True
