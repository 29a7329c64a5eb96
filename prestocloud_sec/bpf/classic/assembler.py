# SPDX-License-Identifier: Apache-2.0
"""Text to classic programs, in the syntax of bpf_asm.

Source: Linux ``Documentation/networking/filter.rst``, "BPF engine and instruction set", and what ``tools/bpf/bpf_asm``
takes: capital letters are as good as small ones but in labels. Besides, a jump may lead ``+N`` instructions on, and
``.insn code, jt, jf, k`` gives the four fields of an instruction that no other text would give.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prestocloud_sec.bpf.assembler.text import shown, suggestion
from prestocloud_sec.bpf.classic.instructions import ClassicInstruction
from prestocloud_sec.bpf.classic.program import ClassicProgram
from prestocloud_sec.bpf.classic.syntax import MNEMONICS, RESERVED, Statement, Target
from prestocloud_sec.bpf.classic.text import Reader
from prestocloud_sec.bpf.errors import BpfMisuseError

__all__ = ["assemble"]


def assemble(text: str) -> ClassicProgram:
    """Assemble a classic program.

    Parameters
    ----------
    text : str
        Instructions; comments begin with ``;`` or stand between ``/*`` and ``*/``; a label is a name and a colon.

    Returns
    -------
    ClassicProgram
        Whether the kernel would take it is not judged; see `ClassicProgram.check`.

    Raises
    ------
    AssemblyError
        If something is no instruction, a number does not fit, a label is not defined or out of reach; it has the line
        and column.
    BpfMisuseError
        If `text` is no str.

    Examples
    --------
    >>> program = assemble('''
    ...     ldh [12]              ; EtherType
    ...     jne #0x800, drop
    ...     ret #-1
    ... drop:
    ...     ret #0
    ... ''')
    >>> program.to_bytes().hex(" ", 8)
    '280000000c000000 1500000100080000 06000000ffffffff 0600000000000000'
    >>> assemble("ldh [12")
    Traceback (most recent call last):
    ...
    prestocloud_sec.bpf.errors.AssemblyError: line 1, column 8: the line ends; expected ']'
    """
    if not isinstance(text, str):
        raise BpfMisuseError(f"{type(text).__name__} is no text", where="assemble", expected="a str")
    return ClassicProgram(_Draft(Reader(text)).read())


@dataclass
class _Draft:
    """The program as far as it is read."""

    reader: Reader
    statements: list[Statement] = field(default_factory=list)
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Each label's instruction, and the position in the text."""

    def read(self) -> list[ClassicInstruction]:
        """Read everything."""
        reader = self.reader
        while reader.peek().kind != "end":
            token = reader.peek()
            reader.begun = token.start
            if token.kind == "word" and reader.peek(1).text == ":":
                self.label()
                continue
            parse = MNEMONICS.get(token.text.lower())
            if parse is None:
                near = suggestion(token.text.lower(), MNEMONICS) if token.kind == "word" else None
                if token.text == "(":
                    near = "tcpdump -d is for people; ClassicProgram.from_ddd reads what tcpdump -ddd prints"
                raise reader.unexpected("an instruction, such as ldh [12]", near)
            reader.take()
            self.statements.append(parse(reader))
        return [self.finish(index, statement) for index, statement in enumerate(self.statements)]

    def label(self) -> None:
        """Read a name and a colon."""
        token = self.reader.take()
        self.reader.take()
        if token.text.lower() in RESERVED or token.text.startswith("."):
            raise self.reader.error(token.start, f"{shown(token.text)} cannot be a label", expected="another name")
        if token.text in self.labels:
            line, _ = self.reader.place(self.labels[token.text][1])
            raise self.reader.error(
                token.start,
                f"{shown(token.text)} is already defined",
                expected="a name of its own",
                hint=f"line {line} defines it",
            )
        self.labels[token.text] = (len(self.statements), token.start)

    def finish(self, index: int, statement: Statement) -> ClassicInstruction:
        """Return an instruction with its distances filled in."""
        if not callable(statement):
            return statement

        def resolve(target: Target, most: int) -> int:
            return self.distance(index, target, most)

        return statement(resolve)

    def distance(self, index: int, target: Target, most: int) -> int:
        """Return how many instructions are between a jump and its target."""
        if target.distance is not None:
            return target.distance
        token, name = target.token, target.token.text
        if name not in self.labels:
            hint = suggestion(name, self.labels) or "a name and a colon before an instruction define it"
            raise self.reader.error(token.start, f"there is no label {shown(name)}", hint=hint)
        found = self.labels[name][0] - index - 1
        if found < 0:
            raise self.reader.error(
                token.start, f"{shown(name)} is behind", expected="a label further on", hint="jumps only lead forwards"
            )
        if found > most:
            raise self.reader.error(
                token.start,
                f"{shown(name)} is {found} instructions away",
                expected=f"up to {most}",
                hint="jmp reaches further; a conditional jump can lead to one",
            )
        return found
