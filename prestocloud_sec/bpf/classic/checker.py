# SPDX-License-Identifier: Apache-2.0
"""What the kernel demands of a classic program before it runs one, with the errno and the instruction to blame.

Sources: Linux 6.18, ``net/core/filter.c``: ``bpf_check_basics_ok``, ``bpf_check_classic``, ``check_load_and_stores``;
and for seccomp filters, which must pass the same and more, ``kernel/seccomp.c``, ``seccomp_check_filter`` (behaviour).

libpcap's own check differs: it lets pass memory that is read before it is written, constant shifts of 32 or more, and
jumps backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from prestocloud_sec.bpf.classic.ancillary import ANCILLARY_BASE
from prestocloud_sec.bpf.classic.instructions import (
    Alu,
    Branch,
    ClassicInstruction,
    Jump,
    LoadHeaderLength,
    LoadMemory,
    LoadPacket,
    Operation,
    Return,
    Store,
)
from prestocloud_sec.bpf.errors import BpfMisuseError, ClassicError
from prestocloud_sec.wire import shown

__all__ = ["LONGEST", "MEMORY_WORDS", "PROFILES", "SECCOMP_DATA_SIZE", "check_instructions", "check_profile"]

LONGEST = 4096
"""Instructions of a program at most (``BPF_MAXINSNS``)."""
MEMORY_WORDS = 16
"""Words of scratch memory (``BPF_MEMWORDS``)."""
SECCOMP_DATA_SIZE = 64
"""Bytes of ``struct seccomp_data``."""
PROFILES = ("socket", "seccomp")
"""Whose rules a program can be held to."""

Program: TypeAlias = Sequence[ClassicInstruction]
_ALL_WORDS = (1 << MEMORY_WORDS) - 1
_WIDTH = 32


def check_profile(profile: str) -> None:
    """Refuse the name of a profile that does not exist."""
    if not isinstance(profile, str) or profile not in PROFILES:
        raise BpfMisuseError(
            f"{shown(profile)} is no profile", where="profile", expected=" or ".join(map(repr, PROFILES))
        )


def check_instructions(program: Program, profile: str = "socket") -> None:
    """Refuse a program that the kernel would refuse.

    Raises
    ------
    ClassicError
        With the errno, and the first instruction that breaks a rule of its own; then the last, then memory.
    """
    check_profile(profile)
    if not 1 <= len(program) <= LONGEST:
        raise ClassicError(f"{len(program)} instructions", expected=f"1..{LONGEST}")
    seccomp = profile == "seccomp"
    for index, instruction in enumerate(program):
        rule = _RULES.get(type(instruction))
        if rule is not None:
            rule(instruction, index, len(program))
        if seccomp:
            _check_seccomp(instruction, index)
    if not isinstance(program[-1], Return):
        raise ClassicError(
            "the program can run on behind its last instruction",
            instruction=len(program) - 1,
            field="code",
            expected="ret at the end",
        )
    _check_memory(program)


# --- Each instruction by itself. A rule knows the instruction, its index and how many there are.


def _load(i: LoadPacket, index: int, _count: int) -> None:
    if not i.indirect and i.offset >= ANCILLARY_BASE and i.ancillary is None:
        raise ClassicError(
            f"there is no ancillary data {i.offset:#x}",
            instruction=index,
            field="k",
            expected=f"below {ANCILLARY_BASE:#x}, or one of prestocloud_sec.bpf.classic.Ancillary",
        )


def _memory(i: LoadMemory | Store, index: int, _count: int) -> None:
    if i.index >= MEMORY_WORDS:
        raise ClassicError(
            f"there is no M[{i.index}]", instruction=index, field="k", expected=f"M[0]..M[{MEMORY_WORDS - 1}]"
        )


def _arithmetic(i: Alu, index: int, _count: int) -> None:
    if not isinstance(i.operand, int):
        return
    if i.op in {Operation.DIV, Operation.MOD} and i.operand == 0:
        raise ClassicError(f"{i.op} by 0", instruction=index, field="k", expected="another divisor")
    if i.op in {Operation.LSH, Operation.RSH} and i.operand >= _WIDTH:
        raise ClassicError(f"{i.op} by {i.operand}", instruction=index, field="k", expected=f"0..{_WIDTH - 1}")


def _reaches(index: int, count: int, distance: int, field: str) -> None:
    if distance >= count - index - 1:
        raise ClassicError(
            f"it leads to {index + 1 + distance}, outside the program",
            instruction=index,
            field=field,
            expected=f"an instruction up to {count - 1}",
            hint="classic jumps only lead forwards",
        )


def _jump(i: Jump, index: int, count: int) -> None:
    _reaches(index, count, i.distance, "k")


def _branch(i: Branch, index: int, count: int) -> None:
    _reaches(index, count, i.jt, "jt")
    _reaches(index, count, i.jf, "jf")


_RULES: Mapping[type, Callable[[Any, int, int], None]] = {
    LoadPacket: _load,
    LoadMemory: _memory,
    Store: _memory,
    Alu: _arithmetic,
    Jump: _jump,
    Branch: _branch,
}


def _check_seccomp(i: ClassicInstruction, index: int) -> None:
    """Refuse what only packets have, and loads outside ``struct seccomp_data`` or not aligned in it."""
    match i:
        case LoadPacket(size=4, indirect=False, offset=offset):
            if offset >= SECCOMP_DATA_SIZE or offset % 4:
                raise ClassicError(
                    f"no word of seccomp data is at {offset}",
                    instruction=index,
                    field="k",
                    expected=f"a multiple of 4 below {SECCOMP_DATA_SIZE}",
                )
        case LoadPacket() | LoadHeaderLength() | Alu(op=Operation.MOD):
            raise ClassicError(
                "seccomp filters do not have this instruction",
                instruction=index,
                field="code",
                expected="loads of whole words at fixed offsets; arithmetic without mod",
            )
        case _:
            pass


# --- Scratch memory.


def _check_memory(program: Program) -> None:
    """Refuse a read of scratch memory that is not written on every way there.

    Jumps only lead forwards, so one pass suffices: a set of words for each instruction that something jumps to, and the
    words that are written when the instruction before it is done. As in the kernel, a ``ret`` does not end that line:
    what stands behind one counts as reached from it as well.
    """
    reached = [_ALL_WORDS] * (len(program) + 1)
    written = 0
    for index, i in enumerate(program):
        written &= reached[index]
        match i:
            case Store():
                written |= 1 << i.index
            case LoadMemory():
                if not written >> i.index & 1:
                    raise ClassicError(
                        f"M[{i.index}] is read before it is written",
                        instruction=index,
                        field="k",
                        expected="a word that every way to here has written",
                    )
            case Jump():
                reached[index + 1 + i.distance] &= written
                written = _ALL_WORDS
            case Branch():
                reached[index + 1 + i.jt] &= written
                reached[index + 1 + i.jf] &= written
                written = _ALL_WORDS
            case _:
                pass
