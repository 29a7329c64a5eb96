# SPDX-License-Identifier: Apache-2.0
"""What BTF says of a program's functions: which are judged by themselves, and what these are given.

A *global* function is judged once, for anything that its prototype lets callers give it; a call of it is only held
against the prototype. A *static* one is gone through from each call, as all are where there is no BTF.

Sources: Linux 6.18, ``kernel/bpf/verifier.c`` (``check_btf_func``, ``btf_check_func_arg_match``) and
``kernel/bpf/btf.c`` (``btf_prepare_func_args``, ``btf_is_prog_ctx_type``, ``btf_validate_prog_ctx_type``). Parameters
that are a dynptr, an object of the kernel (``__arg_trusted``), memory that may not be there (``__arg_untrusted``) or of
an arena cannot be judged here, and calls of such functions are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.bpf.context_names import CONTEXT_STRUCTS, PT_REGS_TYPEDEF
from prestocloud_sec.bpf.errors import BtfError
from prestocloud_sec.bpf.object import Kind, types
from prestocloud_sec.bpf.object.words import ARGUMENT_TAGS
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule

if TYPE_CHECKING:
    from prestocloud_sec.bpf.object.functions import FuncInfo

__all__ = ["ArgumentSpec", "FunctionTypes", "Passed"]

_MOST_PARAMETERS = 5
_ANY_POINTER_TAGGED = frozenset({ProgramType.TRACEPOINT, ProgramType.SYSCALL, ProgramType.EXT})
"""Types that take any pointer as their context where it is tagged as such."""
_RAW_TRACEPOINTS = frozenset({ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE})
_TAG = "arg:"
_TAGS = frozenset(tag.removeprefix(_TAG) for tag in ARGUMENT_TAGS.values())
_UNJUDGED = "such parameters cannot be judged here: make the function static"


class Passed(Enum):
    """How an argument is passed."""

    NUMBER = auto()
    CONTEXT = auto()
    MEMORY = auto()


class ArgumentSpec(NamedTuple):
    """What a global function is given.

    Attributes
    ----------
    passed : Passed
    size : int
        Bytes of memory that it may read and write.
    nullable : bool
        Whether it may be null instead.
    """

    passed: Passed
    size: int = 0
    nullable: bool = False


class FunctionTypes:
    """The functions of a program by their number, in the order of the instructions that they begin with.

    Parameters
    ----------
    given : FuncInfo
    kind : ProgramType
    user_space : bool
        Whether the context is that of a machine of the caller's, which no name stands for.
    """

    def __init__(self, given: FuncInfo, kind: ProgramType, *, user_space: bool = False) -> None:
        self._btf = given.btf
        self._slots = list(given.functions)
        self._ids = list(given.functions.values())
        self._type = kind
        self._user_space = user_space
        self._arguments: dict[int, tuple[ArgumentSpec, ...]] = {}

    def check_layout(self, slots: Sequence[int]) -> None:
        """Check that each of the program's functions is described, and nothing else is.

        Parameters
        ----------
        slots : sequence of int
            Where they begin.

        Raises
        ------
        Rejected
        """
        missing, foreign = (sorted(a)[:16] for a in ({*slots} - {*self._slots}, {*self._slots} - {*slots}))
        hint = "; ".join(
            f"{what} {', '.join(map(str, at))}"
            for what, at in (("describe the functions at the slots", missing), ("no function begins at", foreign))
            if at
        )
        if self._slots and self._slots[0]:
            what = f"nonzero insn_off {self._slots[0]} for the first func info record"
            raise Rejected(Rule.STRUCTURE, what, "EINVAL", hint=hint)
        if len(self._slots) != len(slots):
            what = "number of funcs in func_info doesn't match number of subprogs"
            raise Rejected(Rule.STRUCTURE, what, "EINVAL", hint=hint)
        if self._slots != list(slots):
            what = "func_info BTF section doesn't match subprog layout in BPF program"
            raise Rejected(Rule.STRUCTURE, what, "EINVAL", hint=hint)

    def name(self, number: int) -> str:
        """Return a function's name."""
        return self._btf.name(self._ids[number])

    def is_global(self, number: int) -> bool:
        """Whether a function is judged by itself; the first is where everything begins."""
        return number > 0 and self._linkage(number) is types.Linkage.GLOBAL

    def is_static(self, number: int) -> bool:
        """Whether a function is seen in its file only, as those that helpers call have to be."""
        return self._linkage(number) is types.Linkage.STATIC

    def _linkage(self, number: int) -> types.Linkage | None:
        found = self._btf[self._ids[number]] if number < len(self._ids) else None
        return found.linkage if isinstance(found, types.Function) else None

    def returns_number(self, number: int) -> bool:
        """Whether a function returns an integer of at most 64 bits."""
        found = self._btf[self._resolved(self._prototype(number).result)]
        if isinstance(found, types.Int):
            return found.size in (1, 2, 4, 8)
        return isinstance(found, types.Enum | types.Enum64)

    def arguments(self, number: int) -> tuple[ArgumentSpec, ...]:
        """Return what a global function is given.

        Raises
        ------
        Rejected
            If it is described as none that can be judged by itself.
        """
        found = self._arguments.get(number)
        if found is None:
            found = self._arguments[number] = self._prepared(number)
        return found

    # --- Types.

    def _prototype(self, number: int) -> types.Prototype:
        function = self._btf[self._ids[number]]
        found = self._btf[function.prototype] if isinstance(function, types.Function) else None
        if not isinstance(found, types.Prototype):
            raise Rejected(Rule.STRUCTURE, f"Invalid type of function {self.name(number)}()", "EFAULT")
        return found

    def _resolved(self, id: int) -> int:
        try:
            return self._btf.resolved(id)
        except BtfError:
            raise Rejected(Rule.STRUCTURE, "types lead round in a circle", "EINVAL", hint="mend the BTF") from None

    def _prepared(self, number: int) -> tuple[ArgumentSpec, ...]:
        name, prototype = self.name(number), self._prototype(number)
        if len(prototype.parameters) > _MOST_PARAMETERS:
            count = len(prototype.parameters)
            raise _refuse(f"Global function {name}() with {count} > {_MOST_PARAMETERS} args. Buggy compiler.")
        if not isinstance(self._btf[self._resolved(prototype.result)], types.Int | types.Enum | types.Enum64):
            raise _refuse(
                f"Global function {name}() doesn't return scalar. Only those are supported.",
                hint="let it return an integer",
            )
        return tuple(self._argument(number, at, row.type) for at, row in enumerate(prototype.parameters))

    def _argument(self, number: int, at: int, id: int) -> ArgumentSpec:
        tags = self._tags(number, at)
        found = self._btf[self._resolved(id)]
        if isinstance(found, types.Pointer):
            return self._pointer(at, found.type, tags)
        if tags:
            raise _refuse(f"arg#{at} has pointer tag, but is not a pointer type")
        if isinstance(found, types.Int | types.Enum | types.Enum64):
            return ArgumentSpec(Passed.NUMBER)
        what = f"Arg#{at} type {found.kind.name} in {self.name(number)}() is not supported yet."
        raise _refuse(what, hint="pass numbers, the context, or pointers to memory of a known size")

    def _tags(self, number: int, at: int) -> frozenset[str]:
        given = [tag.removeprefix(_TAG) for tag in self._btf.tags(self._ids[number], at) if tag.startswith(_TAG)]
        if not _TAGS.issuperset(given):
            raise _refuse(f"arg#{at} has unsupported set of tags", "EOPNOTSUPP")
        return frozenset(given)

    def _pointer(self, at: int, to: int, tags: frozenset[str]) -> ArgumentSpec:
        invalid = f"arg#{at} has invalid combination of tags"
        behind = self._btf[self._resolved(to)]
        if "ctx" in tags or self._is_context(to):
            if tags - {"ctx"}:
                raise _refuse(invalid)
            if "ctx" in tags:
                self._check_context(at, to)
            return ArgumentSpec(Passed.CONTEXT)
        if isinstance(behind, types.Struct) and behind.name == "bpf_dynptr":
            raise _refuse(invalid if tags else f"arg#{at} is a dynptr", hint=_UNJUDGED)
        for tag, only in (("trusted", {"trusted", "nullable"}), ("untrusted", {"untrusted"}), ("arena", {"arena"})):
            if tag in tags:
                wrong = tags - only - ({"untrusted", "arena"} if tag == "trusted" else set())
                raise _refuse(invalid if wrong else f"arg#{at} is tagged as {tag}", hint="" if wrong else _UNJUDGED)
        if "nullable" in tags:
            raise _refuse(invalid, hint="memory may be null as it is; nonnull says that it is not")
        try:
            size = self._btf.size_of(to)
        except BtfError:
            name = f"{behind.kind.name if to else 'UNKNOWN'} {self._btf.name(self._resolved(to))}"
            what = f"arg#{at} reference type('{name}') size cannot be determined: -22"
            hint = "point to a type whose size is known, tag it as the context, or make the function static"
            if isinstance(behind, types.Forward):
                hint = f"say what members struct {behind.name} has"
            raise _refuse(what, hint=hint) from None
        return ArgumentSpec(Passed.MEMORY, size, "nonnull" not in tags)

    def _typedef(self, id: int) -> str:
        """Return the name of the first typedef that stands for a type."""
        return next((self._btf.name(at) for at in self._btf.behind(id) if self._btf.kind(at) is Kind.TYPEDEF), "")

    def _is_context(self, to: int) -> bool:
        """Whether a pointer to this type is one to the context."""
        if self._type is ProgramType.KPROBE and self._typedef(to) == PT_REGS_TYPEDEF:
            return True
        behind = self._btf[self._resolved(to)]
        if self._user_space or not isinstance(behind, types.Struct | types.Union):
            return False
        return behind.name in CONTEXT_STRUCTS.get(self._type, ())

    def _check_context(self, at: int, to: int) -> None:
        """Check that a pointer that is tagged as the context may be one."""
        kind = self._type
        if self._user_space or kind in _ANY_POINTER_TAGGED:
            return
        if kind in (ProgramType.KPROBE, ProgramType.PERF_EVENT) and self._typedef(to) == PT_REGS_TYPEDEF:
            return
        id = self._resolved(to)
        behind = self._btf[id]
        if isinstance(behind, types.Void):
            return
        name, is_struct = self._btf.name(id), isinstance(behind, types.Struct | types.Union)
        if not name:
            raise _refuse(f"arg#{at} type doesn't have a name")
        if kind in (ProgramType.KPROBE, ProgramType.PERF_EVENT) and is_struct and name == "pt_regs":
            return
        if kind in _RAW_TRACEPOINTS and isinstance(behind, types.Int) and behind.size == 8:
            return
        if kind not in CONTEXT_STRUCTS:
            raise _refuse(f"arg#{at} should be void pointer")
        wanted = CONTEXT_STRUCTS[kind][0]
        if not is_struct or name != wanted:
            raise _refuse(f"arg#{at} should be `struct {wanted} *`")


def _refuse(what: str, errno: str = "EINVAL", hint: str = "") -> Rejected:
    return Rejected(Rule.ARGUMENT, what, errno, hint=hint)
