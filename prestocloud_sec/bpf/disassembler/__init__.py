# SPDX-License-Identifier: Apache-2.0
"""Programs to text, in the syntax of clang and bpftool or in the older mnemonic one.

What is printed assembles to the same bytes. Where several spellings exist, the kernel syntax is LLVM's (as ``clang -S``
prints it: 32-bit operands of atomic operations as ``w`` registers, those of plain loads and stores as ``r``), and the
kernel's for what LLVM cannot name (``map[id:4]``, ``call pc+3``, ``subprog[+3]``).
"""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.bpf.disassembler import kernel, mnemonic
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import CallHelper, CallKfunc, CallLocal, Instruction, LoadImm64
from prestocloud_sec.bpf.program import Program, target_slot
from prestocloud_sec.bpf.syntax import check_syntax, is_symbol
from prestocloud_sec.wire import shown

__all__ = ["disassemble", "instruction_text", "line_text"]

_INDENT = "    "
_WRITERS: dict[str, Callable[[Instruction, str | None, str | None], str]] = {
    "kernel": kernel.write,
    "mnemonic": mnemonic.write,
}
"""What writes an instruction in each syntax, from the names of its target and of its map or kernel function."""


def disassemble(program: Program, *, syntax: str = "kernel", labels: bool | None = None, helpers: bool = False) -> str:
    """Return a program as text, one instruction to a line.

    Parameters
    ----------
    program : Program
        What to print; its symbols name places, functions, maps and kernel functions.
    syntax : {"kernel", "mnemonic"}
        ``r0 = *(u32 *)(r1 + 4)`` or ``ldxw r0, [r1+4]``.
    labels : bool, optional
        True: give every target a label, ``L<slot>`` or ``func_<slot>`` where the program has no name for it. False:
        numbers only, but for the names of kernel functions, which have no other. By default, the names that the program
        has, and numbers elsewhere.
    helpers : bool
        Whether helpers of the kernel are called by name and number, ``call bpf_map_lookup_elem#1``, or by number alone.

    Returns
    -------
    str
        Lines without a newline after the last. It assembles to the same bytes; where `labels` is not False, also to the
        same names, as far as they are words.

    Raises
    ------
    BpfMisuseError
        If there is no such syntax, or an argument is of another type.

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> program = assemble('''
    ...     ldxw r0, [r1+4]
    ...     jeq r0, 0, +1
    ...     mov32 r0, 7
    ...     exit''')
    >>> print(disassemble(program))
    r0 = *(u32 *)(r1 + 4)
    if r0 == 0 goto +1
    w0 = 7
    exit
    >>> print(disassemble(program, syntax="mnemonic", labels=True))
        ldxw r0, [r1+4]
        jeq r0, 0, L3
        mov32 r0, 7
    L3:
        exit
    """
    check_syntax(syntax)
    if not isinstance(program, Program):
        raise BpfMisuseError(f"{shown(program)} is no program", where="disassemble", expected="a Program")
    if not isinstance(labels, bool | None):
        raise BpfMisuseError(f"{shown(labels)} says nothing of labels", where="labels", expected="a bool or None")
    if not isinstance(helpers, bool):
        raise BpfMisuseError(f"{shown(helpers)} says nothing of helpers", where="helpers", expected="a bool")
    names = _Names(program, labels)
    at_slot = names.at_slot
    lines: list[str] = []
    slot = 0
    for index, instruction in enumerate(program.instructions):
        lines.extend(f"{name}:" for name in at_slot.get(slot, ()))
        named = _helper_text(instruction) if helpers else None
        text = named or _WRITERS[syntax](instruction, names.target(index), names.used(index))
        lines.append(_INDENT + text if at_slot else text)
        slot += instruction.slots
    lines.extend(f"{name}:" for name in at_slot.get(slot, ()))
    return "\n".join(lines)


class _Names:
    """Which name each place of a program gets in its text.

    Where a place has several names, all are printed and the first in the alphabet is used: a rule that the text itself
    tells, so that text made from text is the same again.
    """

    def __init__(self, program: Program, labels: bool | None) -> None:
        self._program = program
        self._used = {**(program.symbols.maps if labels is not False else {}), **program.symbols.kfuncs}
        self.at_slot: dict[int, list[str]] = {}
        if labels is False:
            return
        symbols = program.symbols
        for name, slot in sorted({**symbols.labels, **symbols.functions}.items()):
            if is_symbol(name):
                self.at_slot.setdefault(slot, []).append(name)
        if labels:
            self._invent()

    def _invent(self) -> None:
        used = {name for names in self.at_slot.values() for name in names}
        for index, instruction in enumerate(self._program.instructions):
            slot = self._slot(index)
            if slot is None or slot in self.at_slot:
                continue
            name = f"{'func_' if isinstance(instruction, CallLocal | LoadImm64) else 'L'}{slot}"
            while name in used:
                name += "_"
            used.add(name)
            self.at_slot[slot] = [name]

    def _slot(self, index: int) -> int | None:
        """Return the slot that an instruction leads to, if it is a place that can have a name."""
        slot = target_slot(self._program.instructions[index], self._program.slot_of(index))
        if slot is None or (slot != len(self._program) and self._program.index_at(slot) is None):
            return None
        return slot

    def target(self, index: int) -> str | None:
        """Return the name of the place that an instruction leads to."""
        slot = self._slot(index)
        return None if slot is None else self.at_slot.get(slot, [None])[0]

    def used(self, index: int) -> str | None:
        """Return the name of the map that a load refers to, or of the kernel function called, if it is a word."""
        name = self._used.get(index)
        return name if name is not None and is_symbol(name) else None


def instruction_text(
    instruction: Instruction,
    *,
    syntax: str = "kernel",
    target: str | None = None,
    map_name: str | None = None,
    kfunc_name: str | None = None,
) -> str:
    """Return one instruction as text.

    Parameters
    ----------
    instruction : Instruction
        What to print.
    syntax : {"kernel", "mnemonic"}
        As in `disassemble`.
    target, map_name, kfunc_name : str, optional
        The name of the place or function it leads to, of the map it refers to, or of the kernel function it calls,
        instead of a number.

    Raises
    ------
    BpfMisuseError
        If there is no such syntax, or an argument is of another type.
    """
    check_syntax(syntax)
    for name, where in ((target, "target"), (map_name, "map_name"), (kfunc_name, "kfunc_name")):
        if not isinstance(name, str | None):
            raise BpfMisuseError(f"{shown(name)} is no name", where=where, expected="a str or None")
    if not isinstance(instruction, Instruction):
        raise BpfMisuseError(f"{shown(instruction)} is no instruction", expected="an object of prestocloud_sec.bpf.isa")
    used = kfunc_name if isinstance(instruction, CallKfunc) else map_name
    return _WRITERS[syntax](instruction, target, used)


def line_text(program: Program, index: int) -> str:
    """Return an instruction of a program as people read it, in the kernel syntax.

    Maps and kernel functions have the names that the program knows, helpers those of the kernel (as bpftool prints
    them); jumps have numbers, as such a line stands alone.

    >>> from prestocloud_sec.bpf import assemble
    >>> line_text(assemble("call 1"), 0)
    'call bpf_map_lookup_elem#1'
    """
    instruction = program.instructions[index]
    name = program.symbols.maps.get(index) or program.symbols.kfuncs.get(index)
    return _helper_text(instruction) or kernel.write(instruction, None, name if name and is_symbol(name) else None)


def _helper_text(instruction: Instruction) -> str | None:
    """Return the call of a helper that has a name; None for anything else."""
    if not isinstance(instruction, CallHelper):
        return None
    from prestocloud_sec.bpf.helpers.prototypes import prototype

    row = prototype(instruction.number)
    return None if row is None else f"call bpf_{row.name}#{row.number}"
