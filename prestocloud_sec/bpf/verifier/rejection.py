# SPDX-License-Identifier: Apache-2.0
"""Why a program is refused: the rule it breaks, what the kernel would answer, and where."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Rejected", "Rule"]


class Rule(StrEnum):
    """The rules a program can break, by what would mend it.

    The value is what a person reads.
    """

    STRUCTURE = "instructions are well-formed, and every one can be reached and leads somewhere"
    STACK_DEPTH = "functions together use no more stack than there is"
    UNINITIALISED = "a register or stack byte is read only after it was written"
    POINTER_ARITHMETIC = "pointers are only moved, by numbers whose range is known"
    POINTER_LEAK = "addresses do not leave the program"
    STACK = "accesses to the stack stay in the frame"
    CONTEXT = "the context is read and written in its fields, as its type of program may"
    PACKET = "packet bytes are read only after a comparison with the packet's end"
    MAP_VALUE = "accesses to a map's value stay in it"
    MEMORY = "accesses to memory stay in what it was given for"
    NULL = "a pointer that may be null is tested before it is used"
    ALIGNMENT = "accesses are aligned where that is asked for"
    READ_ONLY = "memory that is to be read only is not written"
    HELPER = "a helper exists, and this type of program may call it"
    ARGUMENT = "a helper gets what it takes"
    MAP = "a map is used as its kind can be"
    REFERENCE = "what was acquired is released, once, on every way"
    LOCK = "a lock is held for a few instructions, and given back"
    RETURN = "a function returns what its kind of program may return"
    LOOP = "loops end"
    COMPLEXITY = "the program is small enough to be judged"
    PRIVILEGE = "the program keeps to what its loader may do"
    TYPE = "the type of program exists and can do this"


class Rejected(Exception):  # noqa: N818 - it is a verdict, not an error
    """A rule is broken; for the verifier's own use, a caller gets a verdict."""

    def __init__(
        self, rule: Rule, what: str, errno: str = "EACCES", *, hint: str = "", register: int | None = None
    ) -> None:
        super().__init__(what)
        self.rule = rule
        self.what = what
        self.errno = errno
        self.hint = hint
        self.register = register
        self.instruction: int | None = None
