# SPDX-License-Identifier: Apache-2.0
"""Memory by address, for numba kernels: what the native engines and the kernels of maps are written with.

These do no checks. Whoever calls one has compared the address with the region table
(`prestocloud_sec.bpf.vm.layout`) or takes it from an array that it holds. Addresses are int64; values are uint64,
zero-extended.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "clear",
    "copy",
    "load8",
    "load16",
    "load32",
    "load64",
    "move",
    "store8",
    "store16",
    "store32",
    "store64",
]

_WORD = ir.IntType(64)


def _loader(bits: int) -> Any:
    integer = ir.IntType(bits)

    def load(_typing: Any, _address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], integer.as_pointer())
            value = builder.load(pointer, align=1)
            return value if bits == 64 else builder.zext(value, _WORD)

        return types.uint64(types.int64), generate

    load.__name__ = f"load{bits}"
    return intrinsic(load)


def _storer(bits: int) -> Any:
    integer = ir.IntType(bits)

    def store(_typing: Any, _address: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            address, value = arguments
            value = value if bits == 64 else builder.trunc(value, integer)
            builder.store(value, builder.inttoptr(address, integer.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.uint64), generate

    store.__name__ = f"store{bits}"
    return intrinsic(store)


load8: Any = _loader(8)
load16: Any = _loader(16)
load32: Any = _loader(32)
load64: Any = _loader(64)
store8: Any = _storer(8)
store16: Any = _storer(16)
store32: Any = _storer(32)
store64: Any = _storer(64)


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(8).as_pointer())


def _copier(name: str, generator: Any) -> Any:
    def copy(_typing: Any, _target: Any, _source: Any, _size: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            target, source, size = arguments
            generator(builder, _pointer(builder, target), _pointer(builder, source), size, 1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    copy.__name__ = name
    return intrinsic(copy)


def _clear(_typing: Any, _target: Any, _size: Any) -> Any:
    """Set `size` bytes to 0."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        target, size = arguments
        cgutils.memset(builder, _pointer(builder, target), size, 0)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


copy: Any = _copier("copy", cgutils.raw_memcpy)
"""Copy so many bytes between places that do not overlap: ``copy(target, source, size)``."""
move: Any = _copier("move", cgutils.raw_memmove)
"""Copy so many bytes between places that may overlap: ``move(target, source, size)``."""
clear: Any = intrinsic(_clear)
"""Set so many bytes to 0: ``clear(target, size)``."""
