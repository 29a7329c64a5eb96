# SPDX-License-Identifier: Apache-2.0
"""Kernel functions that work here: the iterators over numbers and over bits.

A program calls them by name (``call kfunc bpf_iter_num_next``), and a machine as helpers with the numbers of `KfuncId`.
An iterator is memory of the program, most often on its stack, which holds in host byte order

- of numbers, the last one given and the one to end before, both 32 bits and signed;
- of bits, 64 bits that are the words themselves if it is one, and otherwise a handle of what the machine keeps of them;
  then how many bits there are, and the last one given, both 32 bits and signed.

C's ``int`` fills the low half of r0 and leaves the high half 0, as on x86-64.

Sources: Linux 6.18, ``kernel/bpf/bpf_iter.c`` and ``kernel/bpf/helpers.c`` (behaviour). Of what the kernel's verifier
never lets happen, this machine makes a fault: an iterator in memory that may not be written, or one of many bits that
nobody made. The words of one of bits must lie in one piece of memory, or they are not readable: EFAULT, where the
kernel says ERANGE of several words at an address of user space.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.ids import KfuncId
from prestocloud_sec.bpf.helpers.numbers import fail, s32, u32
from prestocloud_sec.bpf.helpers.registry import implements_kfunc
from prestocloud_sec.bpf.vm.layout import MAX_LOOPS
from prestocloud_sec.bpf.vm.memory import Trap

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__: list[str] = []

_NUMBERS = struct.Struct("=ii")
_BITS = struct.Struct("=Qii")
_BIT_OFFSET = 12
_MOST_WORDS = 511
_WORD = 64


@implements_kfunc(KfuncId.BPF_ITER_NUM_NEW, 3)
def bpf_iter_num_new(machine: Machine, iterator: int, start: int, end: int) -> int:
    """Begin to count from `start` to one less than `end`; an iterator that is refused has nothing to give."""
    first, last = s32(start), s32(end)
    machine.memory.check_write(iterator, _NUMBERS.size)
    error = "EINVAL" if first > last else "E2BIG" if last - first > MAX_LOOPS else ""
    machine.memory.write(iterator, bytes(_NUMBERS.size) if error else _NUMBERS.pack(s32(first - 1), last))
    return u32(fail(error)) if error else 0


@implements_kfunc(KfuncId.BPF_ITER_NUM_NEXT, 1)
def bpf_iter_num_next(machine: Machine, iterator: int) -> int:
    """Return the address of the next number, which is the iterator's own; 0 if there is none."""
    machine.memory.check_write(iterator, _NUMBERS.size)
    last, end = _NUMBERS.unpack(machine.memory.read(iterator, _NUMBERS.size))
    following = s32(last + 1)
    more = following < end
    machine.memory.write(iterator, _NUMBERS.pack(following, end) if more else bytes(_NUMBERS.size))
    return iterator if more else 0


@implements_kfunc(KfuncId.BPF_ITER_NUM_DESTROY, 1)
def bpf_iter_num_destroy(machine: Machine, iterator: int) -> int:
    """Leave an iterator that has nothing to give."""
    machine.memory.write(iterator, bytes(_NUMBERS.size))
    return 0


@implements_kfunc(KfuncId.BPF_ITER_BITS_NEW, 3)
def bpf_iter_bits_new(machine: Machine, iterator: int, words: int, count: int) -> int:
    """Begin to go through the bits that are set in `count` words of 64 bits, as they are now."""
    machine.memory.write(iterator, _BITS.pack(0, 0, -1))
    count = u32(count)
    if not words or not count:
        return u32(fail("EINVAL"))
    if count > _MOST_WORDS:
        return u32(fail("E2BIG"))
    try:
        data = machine.memory.read(words, count * 8)
    except Trap:  # the kernel reads what may be unreadable, and says so
        return u32(fail("EFAULT"))
    values = struct.unpack(f"={count}Q", data)
    kept: int | None = values[0]
    if count > 1:
        kept = machine.allocate(sum(value << _WORD * place for place, value in enumerate(values)))
        if kept is None:
            return u32(fail("ENOMEM"))
    machine.memory.write(iterator, _BITS.pack(kept, count * _WORD, -1))
    return 0


@implements_kfunc(KfuncId.BPF_ITER_BITS_NEXT, 1)
def bpf_iter_bits_next(machine: Machine, iterator: int) -> int:
    """Return the address of the next bit's number, in the iterator; 0 if there is none."""
    machine.memory.check_write(iterator, _BITS.size)
    kept, count, last = _BITS.unpack(machine.memory.read(iterator, _BITS.size))
    if not count or last >= count:
        return 0
    bits = kept if count == _WORD else _allocated(machine, iterator, kept)
    left = bits >> last + 1 if last >= -1 else 0  # the kernel compares unsigned: below -1 is behind every bit
    found = min(last + (left & -left).bit_length(), count) if left else count
    machine.memory.write(iterator, _BITS.pack(kept, count, found))
    return iterator + _BIT_OFFSET if found < count else 0


@implements_kfunc(KfuncId.BPF_ITER_BITS_DESTROY, 1)
def bpf_iter_bits_destroy(machine: Machine, iterator: int) -> int:
    """Free the words of an iterator; its memory stays as it is."""
    machine.memory.check_write(iterator, _BITS.size)
    kept, count, _ = _BITS.unpack(machine.memory.read(iterator, _BITS.size))
    if count > _WORD:
        _allocated(machine, iterator, kept)
        machine.free(kept)
    return 0


def _allocated(machine: Machine, iterator: int, handle: int) -> int:
    """Return the bits under a handle; Trap if nothing is there."""
    bits: int | None = machine.allocated(handle)
    if bits is None:
        raise machine.bad_argument(f"no iterator of bits was made at {iterator:#x}")
    return bits
