# SPDX-License-Identifier: Apache-2.0
"""Programs that a kernel is better not asked about: Linux 6.18.44 can crash while it judges them.

Where a static function may end at a load of a packet's word or at a tail call, that kernel goes on behind the call
without noting that it left the function. When it then looks back for why a number of the caller's is what it is, it
can take a register of the function for the caller's, and write before the beginning of a table
(``__mark_chain_precision``). Most such programs are judged, some end with ``EFAULT`` and "verifier bug", and three of
some thousands ended in an oops.
"""

from __future__ import annotations

from prestocloud_sec.bpf.entries import functions_of, takes_address
from prestocloud_sec.bpf.errors import JumpTargetError
from prestocloud_sec.bpf.object.types import Function, Linkage
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.verifier.structure import may_end

__all__ = ["may_crash_linux"]


def may_crash_linux(program: Program) -> bool:
    """Whether a program has a static function that may end elsewhere than at its exit."""
    try:
        entries = functions_of(program)
    except JumpTargetError:  # it is refused before it is looked at
        return False
    if program.func_info is None and not takes_address(program):
        return False  # it is loaded without BTF, and refused
    static = False
    for index, i in enumerate(program.instructions):
        if index in entries:
            static = index > 0 and not _is_global(program, program.slot_of(index))
        if static and may_end(i):
            return True
    return False


def _is_global(program: Program, slot: int) -> bool:
    info = program.func_info
    found = info.btf[info.functions[slot]] if info is not None and slot in info.functions else None
    return isinstance(found, Function) and found.linkage is Linkage.GLOBAL
