# SPDX-License-Identifier: Apache-2.0
"""Classic BPF instructions as values: one closed set of frozen dataclasses that every other stage works from.

The machine has an accumulator A, an index register X and sixteen words of scratch memory M[0] to M[15], all of 32 bits;
arithmetic is unsigned and wraps. The set is what Linux 6.18 accepts (``net/core/filter.c``, ``chk_code_allowed``);
opcodes stand in `prestocloud_sec.bpf.classic.table` alone.

Conventions: ``operand`` and ``value`` are a constant 0..2**32 - 1, or a `Register`; jump distances count instructions
from the one behind the jump; packet offsets are unsigned, and those that are negative as signed numbers mean what
`prestocloud_sec.bpf.classic.ancillary` says. An instruction has three fields (jt, jf, k), of which most use fewer; the
kernel ignores the others, and ``unused`` keeps what was in them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from prestocloud_sec.bpf.classic.ancillary import Ancillary
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import shown

__all__ = [
    "NOTHING",
    "Alu",
    "Branch",
    "ClassicInstruction",
    "Condition",
    "Copy",
    "InstructionBase",
    "Jump",
    "LoadConstant",
    "LoadHeaderLength",
    "LoadLength",
    "LoadMemory",
    "LoadPacket",
    "Negate",
    "Operation",
    "Register",
    "Return",
    "Store",
]

_U32 = 0xFFFF_FFFF
_LIMITS = (0xFF, 0xFF, _U32)
NOTHING = (0, 0, 0)
"""Fields jt, jf and k with nothing in them."""
_ANCILLARY = {which.offset: which for which in Ancillary}


class Register(StrEnum):
    """The two registers."""

    A = "a"
    X = "x"


class Operation(StrEnum):
    """Two-operand arithmetic on A; the value is the mnemonic."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MOD = "mod"
    OR = "or"
    AND = "and"
    XOR = "xor"
    LSH = "lsh"
    RSH = "rsh"


class Condition(StrEnum):
    """Comparisons of A, unsigned; the value is the mnemonic."""

    EQ = "jeq"
    GT = "jgt"
    GE = "jge"
    SET = "jset"


@dataclass(frozen=True, slots=True, repr=False)
class InstructionBase:
    """What all instructions share.

    Attributes
    ----------
    unused : (int, int, int)
        What stands in those of the fields jt, jf and k that the instruction does not use; by keyword only.
    """

    unused: tuple[int, int, int] = field(default=NOTHING, kw_only=True)

    def __post_init__(self) -> None:
        given = self.unused
        if given is NOTHING:
            return
        if type(given) is not tuple or len(given) != len(_LIMITS):
            raise self._misfit("unused", "three numbers")
        if not all(type(value) is int and 0 <= value <= most for value, most in zip(given, _LIMITS, strict=True)):
            raise self._misfit("unused", "two numbers of 8 bits and one of 32")

    def encode(self) -> bytes:
        """Return the instruction's 8 bytes: code (u16), jt (u8), jf (u8), k (u32), little-endian."""
        from prestocloud_sec.bpf.classic.codec import encode

        return encode((self,))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        names = [item.name for item in dataclasses.fields(self) if item.name != "unused"]
        names += ["unused"] if self.unused != NOTHING else []
        parts = [f"{name}={getattr(self, name)!r}" for name in names]
        return f"{type(self).__name__}({', '.join(parts)})"

    def _misfit(self, name: str, expected: str) -> BpfMisuseError:
        value = shown(getattr(self, name))
        return BpfMisuseError(f"{value} does not fit", where=f"{type(self).__name__}.{name}", expected=expected)

    def _whole(self, name: str, most: int = _U32) -> None:
        value = getattr(self, name)
        if type(value) is not int or not 0 <= value <= most:
            raise self._misfit(name, f"an integer 0..{most}")

    def _whole_or(self, name: str, register: Register) -> None:
        if getattr(self, name) is not register:
            self._whole(name)

    def _member(self, name: str, kind: type) -> None:
        if type(getattr(self, name)) is not kind:
            raise self._misfit(name, f"a {kind.__name__}")


@dataclass(frozen=True, slots=True, repr=False)
class LoadPacket(InstructionBase):
    """``A = P[offset]``, or with `indirect` ``A = P[X + offset]``: `size` bytes (1, 2, 4), big-endian.

    Outside the packet the program ends with 0.
    """

    size: int
    indirect: bool
    offset: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        if type(self.size) is not int or self.size not in {1, 2, 4}:
            raise self._misfit("size", "1, 2 or 4")
        self._member("indirect", bool)
        self._whole("offset")

    @property
    def ancillary(self) -> Ancillary | None:
        """What the load is of, if not of the packet."""
        return None if self.indirect else _ANCILLARY.get(self.offset)


@dataclass(frozen=True, slots=True, repr=False)
class LoadConstant(InstructionBase):
    """``register = value``."""

    register: Register
    value: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("register", Register)
        self._whole("value")


@dataclass(frozen=True, slots=True, repr=False)
class LoadLength(InstructionBase):
    """``register`` = bytes of the packet."""

    register: Register

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("register", Register)


@dataclass(frozen=True, slots=True, repr=False)
class LoadMemory(InstructionBase):
    """``register = M[index]``."""

    register: Register
    index: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("register", Register)
        self._whole("index")


@dataclass(frozen=True, slots=True, repr=False)
class LoadHeaderLength(InstructionBase):
    """``X = 4 * (P[offset] & 15)``: the length of an IPv4 header that begins there ("msh")."""

    offset: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._whole("offset")


@dataclass(frozen=True, slots=True, repr=False)
class Store(InstructionBase):
    """``M[index] = register``."""

    register: Register
    index: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("register", Register)
        self._whole("index")


@dataclass(frozen=True, slots=True, repr=False)
class Alu(InstructionBase):
    """``A = A op operand``, the operand a constant or X; division by an X of 0 ends the program with 0."""

    op: Operation
    operand: int | Register

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("op", Operation)
        self._whole_or("operand", Register.X)


@dataclass(frozen=True, slots=True, repr=False)
class Negate(InstructionBase):
    """``A = -A``."""


@dataclass(frozen=True, slots=True, repr=False)
class Jump(InstructionBase):
    """Go on `distance` instructions behind the next one."""

    distance: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._whole("distance")


@dataclass(frozen=True, slots=True, repr=False)
class Branch(InstructionBase):
    """Skip `jt` instructions if the comparison of A with the operand holds, otherwise `jf` (0..255 each)."""

    op: Condition
    operand: int | Register
    jt: int
    jf: int

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("op", Condition)
        self._whole_or("operand", Register.X)
        self._whole("jt", 0xFF)
        self._whole("jf", 0xFF)


@dataclass(frozen=True, slots=True, repr=False)
class Return(InstructionBase):
    """End with a constant or with A: the bytes of the packet to keep, or what a seccomp filter decides."""

    value: int | Register

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._whole_or("value", Register.A)


@dataclass(frozen=True, slots=True, repr=False)
class Copy(InstructionBase):
    """``to`` = the other register."""

    to: Register

    def __post_init__(self) -> None:
        InstructionBase.__post_init__(self)
        self._member("to", Register)


ClassicInstruction: TypeAlias = (
    LoadPacket
    | LoadConstant
    | LoadLength
    | LoadMemory
    | LoadHeaderLength
    | Store
    | Alu
    | Negate
    | Jump
    | Branch
    | Return
    | Copy
)
"""Any instruction."""
