# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong in BPF input, each with a type of its own.

Bytes, text, packets and map operations from outside raise below `BpfError`; calls that break a rule of this library
raise `BpfMisuseError`. Map errors carry the errno that the kernel gives for the same operation.
"""

from __future__ import annotations

import errno as _errno

from prestocloud_sec.errors import InputError, MisuseError

__all__ = [
    "ENOTSUPP",
    "AssemblyError",
    "BpfError",
    "BpfMisuseError",
    "BtfError",
    "ClassicError",
    "DeclarationError",
    "DecodeError",
    "FaultError",
    "JumpTargetError",
    "KernelError",
    "LoadError",
    "MapError",
    "MissingKeyError",
    "ProgramError",
    "errno_symbol",
]

ENOTSUPP = 524
"""The kernel's "operation is not supported", which has no number in user space's ``errno.h``."""

_KERNEL_NAMES = {ENOTSUPP: "ENOTSUPP", _errno.EOPNOTSUPP: "EOPNOTSUPP", _errno.EDEADLK: "EDEADLK"}
"""Names the kernel uses where C has none, or a second one that Python prefers."""


def errno_symbol(number: int) -> str:
    """Return the symbolic name of an errno, such as ``ENOENT``; ``E<number>`` where it has none.

    >>> errno_symbol(2), errno_symbol(95), errno_symbol(524)
    ('ENOENT', 'EOPNOTSUPP', 'ENOTSUPP')
    """
    return _KERNEL_NAMES.get(number) or _errno.errorcode.get(number, f"E{number}")


def _place(**parts: object) -> str | None:
    """Return where something is, as messages say it: the parts that are known, each behind its name."""
    return ", ".join(f"{name} {part}" for name, part in parts.items() if part is not None) or None


class BpfError(InputError):
    """Base of all errors that BPF input can cause."""


class BpfMisuseError(MisuseError):
    """A BPF object was called in a way its documentation forbids."""


class ProgramError(BpfError):
    """A program as a whole breaks a rule."""


class DecodeError(ProgramError):
    """Bytes that are not an eBPF instruction of RFC 9669 or of Linux.

    Attributes
    ----------
    instruction : int or None
        Slot of the instruction (position in units of eight bytes), where known.
    field : str or None
        The field that breaks the rule: ``opcode``, ``dst``, ``src``, ``off``, ``imm``, or ``next`` and such a name for
        the second half of a 64-bit load.
    """

    def __init__(
        self,
        what: str,
        *,
        instruction: int | None = None,
        field: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.instruction = instruction
        self.field = field
        super().__init__(what, where=_place(instruction=instruction, field=field), expected=expected, hint=hint)


class JumpTargetError(DecodeError):
    """A jump or local call leads outside the program, or into the second half of a 64-bit load."""


class AssemblyError(BpfError):
    """Text that is not BPF assembler.

    Attributes
    ----------
    line, column : int or None
        Where the offending word starts, counted from 1.
    """

    def __init__(
        self,
        what: str,
        *,
        line: int | None = None,
        column: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.line = line
        self.column = column
        super().__init__(what, where=_place(line=line, column=column), expected=expected, hint=hint)


class BtfError(BpfError):
    """Types that are not BTF, or that are not what is asked for.

    Attributes
    ----------
    type_id : int or None
        The type that is wrong, where one is to blame.
    offset : int or None
        Where it begins, in bytes from the start, where known.
    """

    def __init__(
        self,
        what: str,
        *,
        type_id: int | None = None,
        offset: int | None = None,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.type_id = type_id
        place = ", ".join(filter(None, (where, _place(type=type_id)))) or None
        super().__init__(what, where=place, offset=offset, expected=expected, hint=hint)


class DeclarationError(BpfError):
    """Text that declares no function or type as C does, as far as it is known here.

    Attributes
    ----------
    slot : int or None
        The slot of the function whose declaration it is; None for the types.
    line : int or None
        The line of the offending word, counted from 1; None where there is but one.
    column : int or None
        Where it starts, counted from 1.
    """

    def __init__(
        self,
        what: str,
        *,
        slot: int | None = None,
        line: int | None = None,
        column: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.slot = slot
        self.line = line
        self.column = column
        super().__init__(what, where=_place(slot=slot, line=line, column=column), expected=expected, hint=hint)


class ClassicError(ProgramError):
    """A classic BPF program or its text that the kernel would refuse.

    Attributes
    ----------
    instruction : int or None
        Index of the instruction, where one is to blame.
    field : str or None
        The field that breaks the rule: ``code``, ``jt``, ``jf`` or ``k``, where one does.
    errno : int
        What the kernel gives for it, as in ``errno.h``.
    symbol : str
        Its name.
    """

    def __init__(
        self,
        what: str,
        *,
        instruction: int | None = None,
        field: str | None = None,
        errno: int = _errno.EINVAL,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.instruction = instruction
        self.field = field
        self.errno = errno
        self.symbol = errno_symbol(errno)
        super().__init__(what, where=_place(instruction=instruction, field=field), expected=expected, hint=hint)


class _ErrnoError(BpfError):
    """What a kernel says with an errno.

    Attributes
    ----------
    errno : int
        The positive number, as in ``errno.h`` (524 for ENOTSUPP).
    symbol : str
        Its name.
    """

    def __init__(
        self,
        errno: int,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.errno = errno
        self.symbol = errno_symbol(errno)
        super().__init__(f"{what} [{self.symbol}]", where=where, expected=expected, hint=hint)


class MapError(_ErrnoError):
    """A map operation that the kernel refuses with the same errno.

    Attributes
    ----------
    errno : int
        The positive number, as in ``errno.h`` (524 for ENOTSUPP).
    symbol : str
        Its name.
    """


class KernelError(_ErrnoError):
    """The running kernel refused a call.

    Attributes
    ----------
    errno : int
        The positive number, as in ``errno.h`` (524 for ENOTSUPP).
    symbol : str
        Its name.
    """


class LoadError(KernelError):
    """The running kernel refused a program.

    Attributes
    ----------
    log : str
        What its verifier said, line by line; empty where the program did not get that far.
    """

    def __init__(
        self,
        errno: int,
        what: str,
        *,
        log: str = "",
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.log = log
        super().__init__(errno, what, where=where, expected=expected, hint=hint)


class MissingKeyError(MapError, KeyError):
    """A key is not in a map: the errno is ENOENT, and it is the error that Python's mappings raise."""


class FaultError(BpfError):
    """A program did what no program may do, and was stopped; raised where a caller asks for errors, not for results.

    Attributes
    ----------
    kind : str
        What happened, such as ``"read"`` or ``"limit"``.
    instruction : int or None
        Index of the instruction that did it.
    slot : int or None
        Where that begins, in units of eight bytes, where known: the number that the message says.
    region : str or None
        The memory region concerned.
    offset, size : int or None
        The bytes of the region that were asked for.
    """

    def __init__(
        self,
        what: str,
        *,
        kind: str,
        instruction: int | None = None,
        slot: int | None = None,
        region: str | None = None,
        offset: int | None = None,
        size: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.kind = kind
        self.instruction = instruction
        self.slot = slot
        self.region = region
        self.size = size
        place = _place(instruction=instruction if slot is None else slot, region=region)
        super().__init__(what, where=place, expected=expected, hint=hint)
        self.offset = offset
