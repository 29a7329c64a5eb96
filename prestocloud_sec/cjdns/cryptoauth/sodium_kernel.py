# SPDX-License-Identifier: Apache-2.0
"""What a compiled kernel needs in order to call libsodium: its functions by address, a copy, and memory on the stack.

An address is an argument of each call, never known when a kernel is compiled; so the compiled code can be kept on disk
and serve every process. Pointers are 64-bit integers here. Which function lies at an address is the caller's word, and
so is that the memory it works on is there.

Kernels that were compiled with this module and kept on disk are renewed when *their* file changes, not when this does.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["STACK_BYTES", "call_box", "call_subkey", "call_tag", "call_wipe", "copy", "stack_memory"]

STACK_BYTES = 2112
"""Size of `stack_memory`: a subkey, a nonce, and a whole number of blocks of key stream."""

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_POINTER = _BYTE.as_pointer()


def _foreign(kinds: str, result: str = "i") -> Any:
    """Type and emit the call of a C function by address.

    `kinds` are its parameters, pointers (p) and sizes (n); it returns an ``int`` (i) or nothing (v).
    """
    parameters = [_POINTER if kind == "p" else _WORD for kind in kinds]
    returned, typed = (ir.IntType(32), types.int32) if result == "i" else (ir.VoidType(), types.void)
    function = ir.FunctionType(returned, parameters).as_pointer()

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, *rest = arguments
        given = [
            builder.inttoptr(argument, _POINTER) if kind == "p" else argument
            for argument, kind in zip(rest, kinds, strict=True)
        ]
        value = builder.call(builder.inttoptr(address, function), given)
        return value if result == "i" else context.get_dummy_value()

    return typed(*[types.int64] * (1 + len(kinds))), generate


def _box(_typing: Any, _address: Any, _out: Any, _source: Any, _size: Any, _nonce: Any, _key: Any) -> Any:
    """Call a box function, or a stream cipher: out, source, size of the source, nonce, key."""
    return _foreign("ppnpp")


def _subkey(_typing: Any, _address: Any, _out: Any, _source: Any, _key: Any, _constant: Any) -> Any:
    """Call HSalsa20: out, 16 bytes, key, constant (0 is the usual one)."""
    return _foreign("pppp")


def _tag(_typing: Any, _address: Any, _tag: Any, _source: Any, _size: Any, _key: Any) -> Any:
    """Call Poly1305 to make a tag, or to compare one: tag, source, size of the source, key."""
    return _foreign("ppnp")


def _wipe(_typing: Any, _address: Any, _memory: Any, _size: Any) -> Any:
    """Call ``sodium_memzero``: memory, size."""
    return _foreign("pn", "v")


def _copy(_typing: Any, _target: Any, _source: Any, _size: Any) -> Any:
    """Copy between addresses that do not overlap: target, source, size."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        target, source, size = arguments
        places = builder.inttoptr(target, _POINTER), builder.inttoptr(source, _POINTER)
        cgutils.raw_memcpy(builder, *places, size, 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _stack_memory(_typing: Any) -> Any:
    """Return a pointer to `STACK_BYTES` of the calling kernel's own, which hold whatever was there before."""

    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        with builder.goto_entry_block():  # one piece, not one more for each turn of a loop
            memory = builder.alloca(ir.ArrayType(_BYTE, STACK_BYTES))
        memory.align = 64
        return builder.bitcast(memory, _POINTER)

    return types.CPointer(types.uint8)(), generate  # type: ignore[no-untyped-call]


call_box: Any = intrinsic(_box)
call_subkey: Any = intrinsic(_subkey)
call_tag: Any = intrinsic(_tag)
call_wipe: Any = intrinsic(_wipe)
copy: Any = intrinsic(_copy)
stack_memory: Any = intrinsic(_stack_memory)
