# SPDX-License-Identifier: Apache-2.0
"""From a program to a descriptor: maps and kernel functions put in their places, the call, and the verifier's log.

A map in a program is a number until it is loaded; here it becomes a descriptor (or, for loads that count maps, a place
in a list of descriptors). A kernel function that is called by name becomes its number in this kernel. The log is not
asked for until the program is refused: it costs more than the verification.

Sources: Linux 6.18, ``kernel/bpf/verifier.c`` (``resolve_pseudo_ldimm64``), ``kernel/bpf/log.c``.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prestocloud_sec.bpf.errors import BpfMisuseError, LoadError
from prestocloud_sec.bpf.isa import CallKfunc, ImmKind, Instruction, LoadImm64, encode
from prestocloud_sec.bpf.linux.attr import NAME_SIZE, Attr, Command, make_buffer
from prestocloud_sec.bpf.linux.kernel_types import kfunc_id
from prestocloud_sec.bpf.linux.maps import KernelMap
from prestocloud_sec.bpf.linux.syscall import bpf
from prestocloud_sec.bpf.program import Program, ProgramType
from prestocloud_sec.wire import shown

__all__ = ["LoadRequest", "load"]

_BY_DESCRIPTOR = frozenset({ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD})
_BY_INDEX = frozenset({ImmKind.MAP_INDEX, ImmKind.MAP_VALUE_INDEX})

_LICENSE_SIZE = 128
"""Bytes that the kernel reads of a licence, its NUL counted."""
_MOST_MAPS = 1 << 16
"""Maps that a list of descriptors may count; a program can use 64."""
_FIRST_LOG = 1 << 16
_LONGEST_LOG = 1 << 26
"""Bytes of the first try, and of the last."""
_TRIES = 5
"""How often a load is tried again that a signal interrupted."""

_STATISTICS = re.compile(
    r"^(verification time|stack depth|processed|mark_precise|max_states|insns processed)\b|^(cur|old) state:"
)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """A program as the kernel is given it.

    Attributes
    ----------
    code : bytes
        Its instructions, with descriptors where maps were, and numbers where kernel functions had names.
    slots : int
        How many units of eight bytes these are.
    type : ProgramType
        Where it is meant to run.
    license, name : str
        As the kernel takes them.
    descriptors : bytes
        The list that its loads by index count in, four bytes each; empty where it has none.
    fields : mapping
        Further fields of the attr.
    """

    code: bytes
    slots: int
    type: ProgramType
    license: str
    name: str
    descriptors: bytes
    fields: Mapping[str, object]

    @classmethod
    def of(
        cls,
        program: Program,
        *,
        type: ProgramType | None,
        license: str | None,
        name: str | None,
        maps: object,
        fields: Mapping[str, object],
    ) -> LoadRequest:
        """Check everything that can be checked without bpf(2), and put maps and kernel functions in their places.

        Raises
        ------
        BpfMisuseError
            If an argument is of another type or does not fit, a map is missing, or what a kernel function is called
            cannot be a name.
        UnavailableError
            If the kernel has no function of a name that the program calls, or does not show its types.
        BtfError
            If what it shows is no BTF.
        """
        if not isinstance(program, Program):
            raise BpfMisuseError(f"{shown(program)} is no program", where="load", expected="a Program")
        wanted = type if type is not None else program.type
        if not isinstance(wanted, ProgramType):
            raise BpfMisuseError(
                f"{shown(wanted)} is no type of program", where="load", expected="a ProgramType, here or in the program"
            )
        code, descriptors = _placed(program, maps)
        return cls(
            code,
            len(program),
            wanted,
            _license(license if license is not None else program.license or "GPL"),
            name if name is not None else _fitting(program.name),
            descriptors,
            fields,
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one call gave: a descriptor or a negative errno, the log, and the bytes it wanted for it (0: not told)."""

    result: int
    log: str
    wanted: int


def load(request: LoadRequest, level: int) -> tuple[int, str]:
    """Load a program; return its descriptor, and the log where `level` is not 0.

    Raises
    ------
    LoadError
        If the kernel refuses it.
    """
    outcome = _try(request, 0, 0) if level == 0 else _try_with_log(request, level)
    if outcome.result >= 0:
        return outcome.result, outcome.log
    if level == 0:
        # The log of a program that is too complex is as long as its judgement: its end, which is kept, is enough.
        brief = outcome.result == -errno.E2BIG
        told = _try(request, 1, _FIRST_LOG) if brief else _try_with_log(request, 1)
        if told.result >= 0:  # what stood in the way is over
            return told.result, ""
        outcome = replace(outcome, log=told.log)
    raise _refusal(request, -outcome.result, outcome.log)


def _try_with_log(request: LoadRequest, level: int) -> _Outcome:
    """Load with ever more room for the log; if it never fits, the answer is that of a load without one."""
    room = _FIRST_LOG
    while True:
        outcome = _try(request, level, room)
        if outcome.result != -errno.ENOSPC:
            return outcome
        if room == _LONGEST_LOG:
            return replace(_try(request, 0, 0), log=outcome.log)
        room = min(max(4 * room, outcome.wanted + 1), _LONGEST_LOG)


def _try(request: LoadRequest, level: int, room: int) -> _Outcome:
    log = make_buffer(room)
    descriptors = request.descriptors
    attr = Attr(
        Command.PROG_LOAD,
        prog_type=request.type,
        insn_cnt=request.slots,
        insns=make_buffer(request.code),
        license=make_buffer(request.license.encode("ascii") + b"\0"),
        prog_name=request.name,
        log_level=level,
        log_size=room,
        log_buf=log if room else None,
        fd_array=make_buffer(descriptors) if descriptors else None,
        **request.fields,
    )
    for _ in range(_TRIES):
        result = bpf(Command.PROG_LOAD, attr)
        if result != -errno.EAGAIN:
            break
    return _Outcome(result, log.value.decode(errors="replace"), attr["log_true_size"])


def _refusal(request: LoadRequest, number: int, log: str) -> LoadError:
    said = [line for line in log.splitlines() if line.strip() and not _STATISTICS.match(line)]
    return LoadError(
        number,
        "the kernel refuses the program" + (f": {said[-1].strip()}" if said else ""),
        log=log,
        where=f"{request.type.name} program" + (f" {shown(request.name)}" if request.name else ""),
        hint="see prestocloud_sec.bpf.linux.require" if number == errno.EPERM and not said else None,
    )


def _license(text: object) -> str:
    if not isinstance(text, str) or not text.isascii() or "\0" in text or len(text) >= _LICENSE_SIZE:
        raise BpfMisuseError(
            f"{shown(text)} is no licence", where="load", expected=f"ASCII text of less than {_LICENSE_SIZE} characters"
        )
    return text


def _fitting(name: str) -> str:
    """Return a program's own name as the kernel takes it."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)[: NAME_SIZE - 1]


def _placed(program: Program, maps: object) -> tuple[bytes, bytes]:
    """Return a program's bytes with descriptors and numbers in them, and the list that loads by index refer to."""
    if maps is not None and not isinstance(maps, Mapping | Sequence):
        raise BpfMisuseError(f"{shown(maps)} are no maps", where="load", expected="a sequence or mapping of KernelMap")
    placed: list[Instruction] = []
    listed: dict[int, int] = {}
    for index, instruction in enumerate(program.instructions):
        match instruction:
            case LoadImm64(kind=kind, value=number) if kind in _BY_DESCRIPTOR:
                found = _map_of(maps, number, program.symbols.maps.get(index), program.slot_of(index))
                placed.append(replace(instruction, value=found.fileno()))
            case LoadImm64(kind=kind, value=number) if kind in _BY_INDEX:
                listed[number] = _map_of(maps, number, None, program.slot_of(index)).fileno()
                placed.append(instruction)
            case CallKfunc() if index in program.symbols.kfuncs:
                placed.append(CallKfunc(kfunc_id(program.symbols.kfuncs[index])))
            case _:
                placed.append(instruction)
    if not listed:
        return encode(placed), b""
    if min(listed) < 0 or max(listed) >= _MOST_MAPS:
        raise BpfMisuseError(
            "a load counts more maps than there can be", where="load", expected=f"an index 0..{_MOST_MAPS - 1}"
        )
    descriptors = [listed.get(number, -1) for number in range(max(listed) + 1)]
    return encode(placed), struct.pack(f"<{len(descriptors)}i", *descriptors)


def _map_of(maps: object, number: int, name: str | None, slot: int) -> KernelMap:
    found: object = None
    try:
        if isinstance(maps, Mapping):
            found = maps.get(name) if name in maps else maps.get(number)
        elif isinstance(maps, Sequence) and 0 <= number < len(maps):
            found = maps[number]
    except Exception:  # whatever a foreign container raises: it has no map there
        found = None
    if not isinstance(found, KernelMap):
        wanted = f"map {shown(name)}" if name is not None else f"map {number}"
        raise BpfMisuseError(
            f"there is no {wanted}" if found is None else f"{wanted} is {shown(found)}",
            where=f"load, instruction {slot}",
            expected="a KernelMap in `maps`",
            hint=None if found is None else "KernelMap.like(map) makes one of the same form",
        )
    return found
