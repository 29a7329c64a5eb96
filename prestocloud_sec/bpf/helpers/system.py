# SPDX-License-Identifier: Apache-2.0
"""Helpers about time, chance, processors and text.

Time, random numbers and the processor's number come from the machine, so that a run can be repeated exactly.

Sources: Linux 6.18, ``kernel/bpf/helpers.c``, ``kernel/trace/bpf_trace.c`` (behaviour).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.numbers import fail, u32
from prestocloud_sec.bpf.helpers.registry import implements
from prestocloud_sec.bpf.helpers.text import LONGEST, FormatError, format_text, text_at

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__: list[str] = []

_TICKS_PER_SECOND = 250
"""``CONFIG_HZ`` of the kernels that distributions ship."""
_NANOSECONDS = 1_000_000_000
_FIRST_JIFFIES = (1 << 32) - 300 * _TICKS_PER_SECOND
"""Linux starts its counter five minutes before 32 bits of it wrap."""


@implements("ktime_get_ns")
def ktime_get_ns(machine: Machine) -> int:
    """Return nanoseconds of the monotonic clock."""
    return machine.now()


@implements("ktime_get_boot_ns")
def ktime_get_boot_ns(machine: Machine) -> int:
    """Return the same: nobody suspends this machine."""
    return machine.now()


@implements("ktime_get_coarse_ns")
def ktime_get_coarse_ns(machine: Machine) -> int:
    """Return the same, as of the last tick."""
    tick = _NANOSECONDS // _TICKS_PER_SECOND
    return machine.now() // tick * tick


@implements("ktime_get_tai_ns")
def ktime_get_tai_ns(machine: Machine) -> int:
    """Return the same: this machine keeps no calendar."""
    return machine.now()


@implements("jiffies64")
def jiffies64(machine: Machine) -> int:
    """Return ticks, 250 a second."""
    return _FIRST_JIFFIES + machine.now() // (_NANOSECONDS // _TICKS_PER_SECOND)


@implements("get_prandom_u32")
def get_prandom_u32(machine: Machine) -> int:
    """Return 32 bits of the machine's generator."""
    return machine.random()


@implements("get_smp_processor_id")
def get_smp_processor_id(machine: Machine) -> int:
    """Return the number of the processor that the program runs on."""
    return machine.cpu


@implements("get_numa_node_id")
def get_numa_node_id(machine: Machine) -> int:  # noqa: ARG001
    """Return the memory node: there is one."""
    return 0


@implements("spin_lock")
def spin_lock(machine: Machine, lock: int) -> int:
    """Take the lock of a map's value; a program runs alone here, so it is free."""
    machine.memory.check_write(lock, 4)
    return 0


@implements("spin_unlock")
def spin_unlock(machine: Machine, lock: int) -> int:
    """Give it back."""
    machine.memory.check_write(lock, 4)
    return 0


@implements("strncmp")
def strncmp(machine: Machine, first: int, size: int, second: int) -> int:
    """Compare `size` bytes at most with zero-terminated text; negative, 0 or positive as C's function."""
    ours = machine.memory.read(first, u32(size))
    try:
        theirs = text_at(second, machine.memory.read) + b"\0"
    except FormatError:
        raise machine.bad_argument(f"no end of text within {LONGEST} bytes at {second:#x}") from None
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other:
            return -1 if mine < other else 1
        if not mine:
            break
    return 0


@implements("trace_printk")
def trace_printk(machine: Machine, form: int, size: int, first: int, second: int, third: int) -> int:
    """Add a line to the machine's log; return its length, as the kernel does."""
    return _printed(machine, machine.memory.read(form, u32(size)), (first, second, third))


@implements("trace_vprintk")
def trace_vprintk(machine: Machine, form: int, size: int, data: int, data_size: int) -> int:
    """Do the same with up to twelve values in memory."""
    count = u32(data_size)
    if count % 8 or count > 12 * 8 or (count and not data):
        return fail("EINVAL")
    raw = machine.memory.read(data, count) if count else b""
    values = tuple(int.from_bytes(raw[at : at + 8], "little") for at in range(0, count, 8))
    return _printed(machine, machine.memory.read(form, u32(size)), values)


def _printed(machine: Machine, form: bytes, values: tuple[int, ...]) -> int:
    try:
        text = format_text(form, values, machine.memory.read)
    except FormatError:
        return fail("EINVAL")
    machine.log(text.decode("latin-1"))
    return len(text)


@implements("strtol")
def strtol(machine: Machine, text: int, size: int, flags: int, to: int) -> int:
    """Read a signed number; return how many characters it had."""
    return _number(machine, text, size, flags, to, signed=True)


@implements("strtoul")
def strtoul(machine: Machine, text: int, size: int, flags: int, to: int) -> int:
    """Read an unsigned number; return how many characters it had."""
    return _number(machine, text, size, flags, to, signed=False)


def _number(machine: Machine, text: int, size: int, flags: int, to: int, *, signed: bool) -> int:
    """Parse as ``kernel/bpf/helpers.c``, ``__bpf_strtoull``: spaces, a sign, a prefix, digits, then anything."""
    machine.memory.check_write(to, 8)
    data = machine.memory.read(text, size)
    base = flags & 0b11111
    if base not in {0, 8, 10, 16} or flags & ~0b11111:
        return fail("EINVAL")
    at = 0
    while at < len(data) and data[at : at + 1].isspace():
        at += 1
    negative = data[at : at + 1] == b"-"
    at += negative
    base, skipped = _base(data[at:].lower(), base)
    digits = at + skipped
    end = digits
    while end < len(data) and data[end : end + 1].isalnum() and _digit(data[end]) < base:
        end += 1
    if end == digits:
        return fail("EINVAL")
    value = int(data[digits:end], base)
    if value >= 1 << 64:
        return fail("ERANGE")
    if negative and not signed:
        return fail("EINVAL")
    if signed and value > (1 << 63) - (not negative):
        return fail("ERANGE")
    machine.memory.write(to, ((-value if negative else value) % (1 << 64)).to_bytes(8, "little"))
    return end


def _base(text: bytes, base: int) -> tuple[int, int]:
    """Return the base that the text is in, and how many characters of it say so."""
    hexadecimal = text[:2] == b"0x" and text[2:3].isalnum() and _digit(text[2]) < 16
    if base == 0:
        base = 16 if hexadecimal else 8 if text[:1] == b"0" else 10
    return base, 2 if base == 16 and text[:2] == b"0x" else 0


def _digit(character: int) -> int:
    return int(chr(character), 36)
