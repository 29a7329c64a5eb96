# SPDX-License-Identifier: Apache-2.0
"""The parts of a compiled program that are the same in all: looking up regions, leaving faults, atomics, fuel.

Textual LLVM IR. ``%state`` is the machine's state (`prestocloud_sec.bpf.vm.layout.State`). No instruction here or in
what `prestocloud_sec.bpf.vm.compiler.emit` writes can be undefined for any program: shifts are masked, divisors
guarded, sums wrap, and every access has alignment 1.
"""

from __future__ import annotations

import sys

from prestocloud_sec.bpf.isa import AtomicOp
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import State

__all__ = [
    "INTERRUPTED",
    "LITTLE",
    "PACKET_WORD",
    "SERVICE",
    "Service",
    "atomic_name",
    "atomics",
    "runtime",
    "state_word",
]

INTERRUPTED = 254
"""What `State.FAULT` says while a program that ended for what is its caller's (`Machine.fail`), such as a Ctrl-C,
returns through its frames."""
UNANSWERED = -2
"""What `State.FAULT_INSTRUCTION` says from before a call of Python until Python is there.

A signal's handler can raise an error before the first line of what is called runs, where nothing can catch it and C
drops it; the program ends as `INTERRUPTED` then.
"""
PACKET_WORD = 252
SERVICE = 253
"""Places in the table at `State.HELPERS_AT` that are no helper's number: of ``packet_word``, and of `Service`."""


class Service:
    """What compiled code asks Python for, besides helpers."""

    REFUEL = 1
    TAIL_CALL = 2
    ELEMENTS = 3


def state_word(name: str, word: int) -> str:
    """Return IR that points ``%name`` at a word of the state."""
    return f"  %{name} = getelementptr i8, ptr %state, i64 {8 * word}\n"


_ROW = 8 * layout.REGION_WORDS

_TEXT = f"""
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare i64 @llvm.usub.sat.i64(i64, i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define private preserve_mostcc void @trap(ptr %state, i64 %kind, i64 %index, i64 %address, i64 %size)
    noinline cold nounwind {{
  store i64 %kind, ptr %state, align 8
{state_word("a", State.FAULT_INSTRUCTION)}  store i64 %index, ptr %a, align 8
{state_word("b", State.FAULT_ADDRESS)}  store i64 %address, ptr %b, align 8
{state_word("c", State.FAULT_SIZE)}  store i64 %size, ptr %c, align 8
  ret void
}}

define private preserve_mostcc i64 @find(ptr %state, i64 %address, i64 %size, i64 %flag) noinline nounwind {{
  %number = lshr i64 %address, {layout.REGION_SHIFT}
  %known = icmp ult i64 %number, {layout.REGIONS}
  br i1 %known, label %look, label %no
look:
{state_word("t", State.REGIONS_AT)}  %table = load ptr, ptr %t, align 8
  %at = mul i64 %number, {_ROW}
  %row = getelementptr i8, ptr %table, i64 %at
  %base = load i64, ptr %row, align 8
  %sizep = getelementptr i8, ptr %row, i64 {8 * layout.SIZE}
  %total = load i64, ptr %sizep, align 8
  %hostp = getelementptr i8, ptr %row, i64 {8 * layout.HOST}
  %host = load i64, ptr %hostp, align 8
  %maskp = getelementptr i8, ptr %row, i64 {8 * layout.MASK}
  %mask = load i64, ptr %maskp, align 8
  %elementp = getelementptr i8, ptr %row, i64 {8 * layout.ELEMENT}
  %element = load i64, ptr %elementp, align 8
  %flagsp = getelementptr i8, ptr %row, i64 {8 * layout.FLAGS}
  %flags = load i64, ptr %flagsp, align 8
  %offset = sub i64 %address, %base
  %in = icmp ult i64 %offset, %total
  %fits = icmp ule i64 %size, %element
  %inner = and i64 %offset, %mask
  %room = sub i64 %element, %size
  %inside = icmp ule i64 %inner, %room
  %right = and i64 %flags, %flag
  %allowed = icmp ne i64 %right, 0
  %x = and i1 %in, %fits
  %y = and i1 %inside, %allowed
  %ok = and i1 %x, %y
  br i1 %ok, label %yes, label %no
yes:
  %found = add i64 %host, %offset
  ret i64 %found
no:
  ret i64 0
}}

define private preserve_mostcc i64 @refuel(ptr %state, i64 %fuel, i64 %cost, i64 %index) noinline cold nounwind {{
{state_word("r", State.RESERVE)}  %reserve = load i64, ptr %r, align 8
  %empty = icmp eq i64 %reserve, 0
  br i1 %empty, label %limit, label %ask
limit:
{state_word("f0", State.FUEL)}  store i64 %fuel, ptr %f0, align 8
  call preserve_mostcc void @trap(ptr %state, i64 {int(FaultKind.LIMIT)}, i64 %index, i64 0, i64 0)
  ret i64 -1
ask:
{state_word("f", State.FUEL)}  store i64 %fuel, ptr %f, align 8
  %done = call i64 @service(ptr %state, i64 {Service.REFUEL}, i64 %cost, i64 0, i64 0, i64 0, i64 0)
  %fault = load i64, ptr %state, align 8
  %bad = icmp ne i64 %fault, 0
  br i1 %bad, label %late, label %good
late:
{state_word("i", State.FAULT_INSTRUCTION)}  store i64 %index, ptr %i, align 8
  ret i64 -1
good:
{state_word("g", State.FUEL)}  %now = load i64, ptr %g, align 8
  ret i64 %now
}}

define private i64 @service(ptr %state, i64 %what, i64 %a, i64 %b, i64 %c, i64 %d, i64 %e) noinline nounwind {{
{state_word("h", State.HELPERS_AT)}  %table = load ptr, ptr %h, align 8
  %at = getelementptr i8, ptr %table, i64 {8 * SERVICE}
  %function = load ptr, ptr %at, align 8
  %r = call i64 @ask(ptr %function, ptr %state, i64 %what, i64 %a, i64 %b, i64 %c, i64 %d, i64 %e)
  ret i64 %r
}}

define private i64 @help(ptr %state, i64 %number, i64 %a, i64 %b, i64 %c, i64 %d, i64 %e) noinline nounwind {{
{state_word("h", State.TRAMPOLINE_AT)}  %function = load ptr, ptr %h, align 8
  %r = call i64 @ask(ptr %function, ptr %state, i64 %number, i64 %a, i64 %b, i64 %c, i64 %d, i64 %e)
  ret i64 %r
}}

define private i64 @ask(ptr %function, ptr %state, i64 %what, i64 %a, i64 %b, i64 %c, i64 %d, i64 %e) nounwind {{
{state_word("i", State.FAULT_INSTRUCTION)}  store i64 {UNANSWERED}, ptr %i, align 8
  %r = call i64 %function(ptr %state, i64 %what, i64 %a, i64 %b, i64 %c, i64 %d, i64 %e)
  %left = load i64, ptr %i, align 8
  %lost = icmp eq i64 %left, {UNANSWERED}
  br i1 %lost, label %dropped, label %answered
dropped:
  store i64 {INTERRUPTED}, ptr %state, align 8
  ret i64 0
answered:
  ret i64 %r
}}

define private preserve_mostcc i64 @packet_word(ptr %state, i64 %offset, i64 %size) noinline nounwind {{
{state_word("h", State.HELPERS_AT)}  %table = load ptr, ptr %h, align 8
  %at = getelementptr i8, ptr %table, i64 {8 * PACKET_WORD}
  %function = load ptr, ptr %at, align 8
  %r = call i64 %function(ptr %state, i64 %offset, i64 %size)
  ret i64 %r
}}
"""


def runtime() -> str:
    """Return the text."""
    return _TEXT


def atomic_name(op: AtomicOp, size: int) -> str:
    """Return the name of the function that does an atomic operation."""
    return f"@atomic_{op}_{size}"


_RMW = {AtomicOp.ADD: "add", AtomicOp.OR: "or", AtomicOp.AND: "and", AtomicOp.XOR: "xor", AtomicOp.XCHG: "xchg"}
_PLAIN = {AtomicOp.ADD: "add", AtomicOp.OR: "or", AtomicOp.AND: "and", AtomicOp.XOR: "xor"}


def _modify(op: AtomicOp, size: int) -> str:
    bits = f"i{8 * size}"
    plain = "%value" if op is AtomicOp.XCHG else "%made"
    make = "" if op is AtomicOp.XCHG else f"  %made = {_PLAIN[op]} {bits} %old, %value\n"
    return f"""
define private {bits} {atomic_name(op, size)}(ptr %at, {bits} %value) nounwind {{
  %number = ptrtoint ptr %at to i64
  %rest = and i64 %number, {size - 1}
  %aligned = icmp eq i64 %rest, 0
  br i1 %aligned, label %whole, label %torn
whole:
  %before = atomicrmw {_RMW[op]} ptr %at, {bits} %value seq_cst, align {size}
  ret {bits} %before
torn:
  %old = load {bits}, ptr %at, align 1
{make}  store {bits} {plain}, ptr %at, align 1
  ret {bits} %old
}}
"""


def _exchange(size: int) -> str:
    bits = f"i{8 * size}"
    return f"""
define private {bits} {atomic_name(AtomicOp.CMPXCHG, size)}(ptr %at, {bits} %value, {bits} %expected) nounwind {{
  %number = ptrtoint ptr %at to i64
  %rest = and i64 %number, {size - 1}
  %aligned = icmp eq i64 %rest, 0
  br i1 %aligned, label %whole, label %torn
whole:
  %pair = cmpxchg ptr %at, {bits} %expected, {bits} %value seq_cst seq_cst, align {size}
  %before = extractvalue {{ {bits}, i1 }} %pair, 0
  ret {bits} %before
torn:
  %old = load {bits}, ptr %at, align 1
  %same = icmp eq {bits} %old, %expected
  %kept = select i1 %same, {bits} %value, {bits} %old
  store {bits} %kept, ptr %at, align 1
  ret {bits} %old
}}
"""


def atomics(used: set[tuple[AtomicOp, int]]) -> str:
    """Return the functions for these operations and sizes.

    An address that is not a multiple of the size is not accessed as one: locked accesses across a cache line can end
    the process. The kernel's verifier refuses such programs.
    """
    return "".join(
        _exchange(size) if op is AtomicOp.CMPXCHG else _modify(op, size) for op, size in sorted(used, key=str)
    )


LITTLE = sys.byteorder == "little"
