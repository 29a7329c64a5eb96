# SPDX-License-Identifier: Apache-2.0
"""Accesses to memory: each tests the region that `provenance` expects and then, out of line, looks at all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.isa import Atomic, AtomicOp, Imm, ImmKind, Load, LoadAcquire, LoadImm64, Store, StoreRelease
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler.provenance import Kind, Origin
from prestocloud_sec.bpf.vm.compiler.runtime import atomic_name
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import READABLE, WRITABLE

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.function import Function

__all__ = ["atomic", "load", "load_acquire", "load_imm64", "pointer", "store"]


def pointer(f: Function, base: int, offset: int, size: int, flag: int) -> str:
    """Return a pointer to an access's bytes, having tested it."""
    origin = f.origin(base)
    if origin.kind is Kind.FRAME and origin.offset is not None and f.framed:
        known = layout.FRAME_SIZE + origin.offset + offset
        if 0 <= known <= layout.FRAME_SIZE - size:
            return f.op(f"getelementptr i8, ptr %frame, i64 {known}")
    value = f.get(base)
    address = f.op(f"add i64 {value}, {offset}") if offset else value
    guessed = _guess(f, origin, address, size, flag)
    if guessed is None:
        return _looked_up(f, address, size, flag)
    test, start, place = guessed
    if f.plan.checks and f.index not in f.plan.facts and f.index not in f.within:
        fast, slow, join = f.label(), f.label(), f.label()
        f.add(f"  br i1 {test}, label %{fast}, label %{slow}, !prof !1\n{slow}:\n")
        host, block = _find(f, address, size, flag)
        far = f.op(f"sub i64 {host}, {start}")
        f.add(f"  br label %{join}\n{fast}:\n  br label %{join}\n{join}:\n")
        place = f.op(f"phi i64 [ {place}, %{fast} ], [ {far}, %{block} ]")
    whole = f.op(f"inttoptr i64 {start} to ptr")
    return f.op(f"getelementptr i8, ptr {whole}, i64 {place}")


def _looked_up(f: Function, address: str, size: int, flag: int) -> str:
    return f.op(f"inttoptr i64 {_find(f, address, size, flag)[0]} to ptr")


def _find(f: Function, address: str, size: int, flag: int) -> tuple[str, str]:
    """Look an address up in the region table; return the host's address and the block it is known in."""
    host = f.op(f"call preserve_mostcc i64 @find(ptr %state, i64 {address}, i64 {size}, i64 {flag})")
    none = f.op(f"icmp eq i64 {host}, 0")
    bad, good = f.label(), f.label()
    f.add(f"  br i1 {none}, label %{bad}, label %{good}, !prof !0\n{bad}:\n")
    f.trap(FaultKind.READ if flag == READABLE else FaultKind.WRITE, address, size)
    f.add(f"{good}:\n")
    return host, good


def _guess(f: Function, origin: Origin, address: str, size: int, flag: int) -> tuple[str, str, str] | None:
    """Return a test that an address lies in the region that is expected, where that begins, and the place in it."""
    match origin.kind:
        case Kind.PACKET:
            f.uses_packet = True
            offset = f.op(f"sub i64 {address}, {f.op('load i64, ptr %pbase')}")
            test = f.op(f"icmp ult i64 {offset}, {f.op(f'load i64, ptr %plim{size}')}")
            return test, f.op("load i64, ptr %phost"), offset
        case Kind.FRAME if f.framed:
            offset = f.op(f"sub i64 {address}, %bottom")
            test = f.op(f"icmp ult i64 {offset}, {layout.FRAME_SIZE - size + 1}")
            return test, f.op("ptrtoint ptr %frame to i64"), offset
        case Kind.CONTEXT if f.plan.context[0] >= size and (flag == READABLE or f.plan.context[1]):
            f.uses_context = True
            offset = f.op(f"sub i64 {address}, {layout.CONTEXT << layout.REGION_SHIFT}")
            test = f.op(f"icmp ult i64 {offset}, {f.plan.context[0] - size + 1}")
            return test, "%chost", offset
        case Kind.VALUE:
            return _guess_value(f, origin.number, address, size, flag)
        case _:
            return None


def _guess_value(f: Function, number: int, address: str, size: int, flag: int) -> tuple[str, str, str] | None:
    facts = f.plan.maps.get(number)
    if facts is None or facts.element < size or (flag == WRITABLE and not facts.writable):
        return None
    region = layout.MAP_VALUES + number
    offset = f.op(f"sub i64 {address}, {region << layout.REGION_SHIFT}")
    inner = f.op(f"and i64 {offset}, {facts.stride - 1}")
    known = f.op(f"icmp ult i64 {offset}, {facts.total}")
    fits = f.op(f"icmp ule i64 {inner}, {facts.element - size}")
    test = f.op(f"and i1 {known}, {fits}")
    at = 8 * (layout.REGION_WORDS * region + layout.HOST)
    host = f.op(f"load i64, ptr {f.op(f'getelementptr i8, ptr %regions, i64 {at}')}")
    return test, host, offset


def load(f: Function, i: Load) -> None:
    """Load from memory."""
    place = pointer(f, i.base, i.offset, i.size, READABLE)
    value = f.op(f"load i{8 * i.size}, ptr {place}, align 1")
    if i.size < 8:
        value = f.op(f"{'sext' if i.signed else 'zext'} i{8 * i.size} {value} to i64")
    f.put(i.dst, value)


def load_acquire(f: Function, i: LoadAcquire) -> None:
    """Load from memory, before anything that follows."""
    load(f, Load(i.size, False, i.dst, i.base, i.offset))
    f.add("  fence acquire\n")


def store(f: Function, i: Store | StoreRelease) -> None:
    """Store to memory, a release after anything that went before."""
    bits = 8 * i.size
    place = pointer(f, i.base, i.offset, i.size, WRITABLE)
    if isinstance(i, StoreRelease):
        f.add("  fence release\n")
    if isinstance(i.src, Imm):
        value = str(i.src.value & (1 << bits) - 1)
    else:
        value = f.get(i.src)
        if bits < 64:
            value = f.op(f"trunc i64 {value} to i{bits}")
    f.add(f"  store i{bits} {value}, ptr {place}, align 1\n")


def atomic(f: Function, i: Atomic) -> None:
    """Read, change and write memory in one step."""
    f.atomics_used.add((i.op, i.size))
    bits = f"i{8 * i.size}"
    place = pointer(f, i.base, i.offset, i.size, WRITABLE)
    value = f.get(i.src)
    expected = f.get(0) if i.op is AtomicOp.CMPXCHG else ""
    if i.size == 4:
        value = f.op(f"trunc i64 {value} to i32")
        expected = f.op(f"trunc i64 {expected} to i32") if expected else ""
    more = f", {bits} {expected}" if expected else ""
    old = f.op(f"call {bits} {atomic_name(i.op, i.size)}(ptr {place}, {bits} {value}{more})")
    if i.size == 4:
        old = f.op(f"zext i32 {old} to i64")
    if i.op is AtomicOp.CMPXCHG:
        f.put(0, old)
    elif i.fetch:
        f.put(i.src, old)


def load_imm64(f: Function, i: LoadImm64) -> None:
    """Load a number, or what stands for a map, a value of it or a function."""
    f.put(i.dst, i.value if i.kind is ImmKind.INTEGER else f.plan.loads[f.index])
