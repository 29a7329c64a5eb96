# SPDX-License-Identifier: Apache-2.0
"""What stays the same while a program is judged: the program, its maps, who loads it for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.helpers.prototypes import Prototype, prototype
from prestocloud_sec.bpf.isa import CallKfunc, Instruction
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.contexts import CONTEXTS, Access
from prestocloud_sec.bpf.verifier.function_types import FunctionTypes
from prestocloud_sec.bpf.verifier.iterators import ITERATOR_KFUNCS, IteratorKfunc
from prestocloud_sec.bpf.verifier.loading import usual_attach
from prestocloud_sec.bpf.verifier.maps import MapSpec

__all__ = ["MOST_INSTRUCTIONS", "Environment"]

MOST_INSTRUCTIONS = 1_000_000
"""Instructions that the kernel goes through at most, on all ways (``BPF_COMPLEXITY_LIMIT_INSNS``)."""

_MOVING = frozenset({ProgramType.CGROUP_SOCKOPT, ProgramType.CGROUP_SYSCTL}) - frozenset(ProgramType)
"""Types whose context may be read through a pointer that was moved; in Linux 6.18 only those that no field is rewritten
for, which are the tracing types."""

_CLASS_OF_CONTEXT = frozenset(
    {
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_XMIT,
        ProgramType.LWT_SEG6LOCAL,
    }
)
"""Types in which ``get_cgroup_classid`` takes the context, and tells the class of the packet's socket, as Linux 6.18
answers for each type; in all others it takes nothing, and tells that of the task that runs."""


class Environment:
    """See the head of this module.

    Attributes
    ----------
    program : Program
    type : ProgramType
    attach : int
        Where it is to be attached (``expected_attach_type``), 0 if that is all the same.
    maps : mapping of int to MapSpec
        By the index of the load that names it.
    privileged : bool
        Whether it is loaded with ``CAP_BPF`` and ``CAP_PERFMON``.
    strict_alignment : bool
        ``BPF_F_STRICT_ALIGNMENT``.
    gpl : bool
        Whether its licence is GPL-compatible.
    context : Access or None
        What may be done with the context; None where nothing is known of its type's.
    user_space : bool
        Whether a caller said what the context is: a program of a machine of his own, not of the kernel.
    helpers : mapping of int to Prototype
        Helpers of a user-space machine, which go before the kernel's.
    kfunc_names : mapping of int to str
        Names of kernel functions, by the number in calls that have no name.
    limit : int
        Instructions to go through at most, on all ways.
    processors : int
        How many the machine has that runs it; 0 if that is not known.
    function_types : FunctionTypes or None
        What BTF says of the program's functions, where there is any.
    kfuncs : mapping of int to IteratorKfunc
        By instruction: calls of kernel functions (kfuncs) that are judged.
    """

    def __init__(
        self,
        program: Program,
        kind: ProgramType,
        maps: dict[int, MapSpec],
        *,
        attach: int = 0,
        privileged: bool = True,
        strict_alignment: bool = False,
        gpl: bool = True,
        context: Access | None = None,
        helpers: Mapping[int, Prototype] | None = None,
        kfunc_names: Mapping[int, str] | None = None,
        limit: int = MOST_INSTRUCTIONS,
        processors: int = 0,
    ) -> None:
        self.program = program
        self.instructions: Sequence[Instruction] = program.instructions
        self.targets = program.targets
        self.type = kind
        self.attach = usual_attach(kind, attach)
        self.maps = maps
        self.privileged = privileged
        self.strict_alignment = strict_alignment
        self.gpl = gpl
        self.context: Access | None = context if context is not None else CONTEXTS.get(kind.name)
        self.user_space = context is not None
        self.helpers = helpers if helpers is not None else {}
        types = program.func_info
        self.function_types = None if types is None else FunctionTypes(types, kind, user_space=context is not None)
        self.kfunc_names = kfunc_names if kfunc_names is not None else {}
        self.kfuncs: dict[int, IteratorKfunc] = {}
        for index, i in enumerate(self.instructions):
            row = ITERATOR_KFUNCS.get(self.kfunc_name(i, index)) if isinstance(i, CallKfunc) else None
            if row is not None:
                self.kfuncs[index] = row
        self.limit = limit
        self.processors = processors
        self._ids = 0

    def prototype(self, number: int) -> Prototype | None:
        """Return what a helper takes and gives in this type of program; None if there is none with this number."""
        found = self.helpers.get(number) or prototype(number)
        if number == HelperId.GET_CGROUP_CLASSID and found is not None and number not in self.helpers:
            return found if self.type in _CLASS_OF_CONTEXT else replace(found, arguments=())
        return found

    def kfunc_name(self, i: CallKfunc, index: int) -> str:
        """Return the name of the kernel function that an instruction calls; empty where nothing says it."""
        named = self.program.symbols.kfuncs.get(index)
        return named if named is not None else self.kfunc_names.get(i.id, "") if not i.off else ""

    def new_id(self) -> int:
        """Return an identifier that nothing has yet."""
        self._ids += 1
        return self._ids
