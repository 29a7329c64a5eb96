# SPDX-License-Identifier: Apache-2.0
"""Which tests of memory accesses the compiler can leave out, because a verdict proved them needless.

The compiler guesses what a pointer points at, and tests that an access lies there; a guess may be wrong. A verdict
knows what each access is made through, on every way, and that it lies in that memory. Where both say the same, the test
is needless. They have to mean the same memory of the same machine, so it is compared here: the program, its type, which
map of the machine each map of the verdict is and how long its values are, and that no helper of the program is a
function of the user's, of which the verdict knew nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.isa import Atomic, Load, LoadAcquire, Store, StoreRelease
from prestocloud_sec.bpf.verifier.registers import Kind
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.layout import MAP_HANDLES
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.facts import AccessFact
    from prestocloud_sec.bpf.vm.compiler.plan import Plan
    from prestocloud_sec.bpf.vm.compiler.provenance import Origin
    from prestocloud_sec.bpf.vm.machine import Machine

__all__ = ["proved"]


def proved(verdict: Verdict, machine: Machine, number: int = 0) -> frozenset[int]:
    """Return the instructions of a machine's program whose access needs no test.

    Parameters
    ----------
    verdict : Verdict
        On the program, judged as the type that the machine runs it as, with the machine's maps.
    machine : Machine
    number : int
        Which of its programs.

    Returns
    -------
    frozenset of int
        For `prestocloud_sec.bpf.vm.compiler.planning.compile_program`; empty where the verdict is a refusal, or says
        nothing of this machine.

    Raises
    ------
    BpfMisuseError
        If an argument is of another type, or there is no such program.

    Examples
    --------
    >>> from prestocloud_sec.bpf import Machine, ProgramType, assemble, verify
    >>> program = assemble(
    ...     '''
    ...     r2 = *(u32 *)(r1 + 0)
    ...     r3 = *(u32 *)(r1 + 4)
    ...     r4 = r2
    ...     r4 += 14
    ...     r0 = 1
    ...     if r4 > r3 goto +1
    ...     r0 = *(u8 *)(r2 + 13)
    ...     exit''',
    ...     type=ProgramType.XDP,
    ... )
    >>> sorted(proved(verify(program), Machine(program)))
    [0, 1, 6]
    """
    from prestocloud_sec.bpf.vm.compiler.planning import plan_of
    from prestocloud_sec.bpf.vm.machine import Machine

    if not isinstance(verdict, Verdict):
        raise BpfMisuseError(f"{shown(verdict)} is no verdict", where="proved", expected="a Verdict")
    if not isinstance(machine, Machine):
        raise BpfMisuseError(f"{shown(machine)} is no machine", where="proved", expected="a Machine")
    whole(number, "number", 0, len(machine.programs) - 1, error=BpfMisuseError)
    program = machine.programs[number]
    facts = verdict.facts
    if facts is None or verdict.again is None or verdict.program != program or verdict.type is not program.type:
        return frozenset()
    plan = plan_of(machine, number)
    if plan.foreign or not plan.origins:
        return frozenset()
    maps = _same_maps(machine, plan, verdict)
    found = set()
    for index, fact in facts.accesses.items():
        origins = plan.origins[index]
        instruction: Any = program.instructions[index]
        if origins is not None and _agree(plan, instruction, origins[instruction.base], fact, maps):
            found.add(index)
    return frozenset(found)


def _same_maps(machine: Machine, plan: Plan, verdict: Verdict) -> dict[int, int]:
    """Return the machine's number of each map that the verdict knows (by identity), where there is exactly one."""
    numbers: dict[int, set[int]] = {}
    specs: dict[int, Any] = {}
    env = verdict.again() if verdict.again is not None else None
    for index, spec in (env.maps if env is not None else {}).items():
        value = plan.loads[index]
        handle = value & MAP_HANDLES == MAP_HANDLES
        at = value ^ MAP_HANDLES if handle else (value >> layout.REGION_SHIFT) - layout.MAP_VALUES
        numbers.setdefault(id(spec), set()).add(at)
        specs[id(spec)] = spec
    found = {}
    for identity, places in numbers.items():
        at = min(places)
        if len(places) == 1 and machine.maps[at].value_size == specs[identity].value_size:
            found[identity] = at
    return found


def _agree(plan: Plan, i: Any, origin: Origin, fact: AccessFact, maps: dict[int, int]) -> bool:
    """Whether the compiler's guess is what the verdict proved."""
    from prestocloud_sec.bpf.vm.compiler.provenance import Kind as Guess

    if not isinstance(i, Load | LoadAcquire | Store | StoreRelease | Atomic):
        return False
    match fact.kind:
        case Kind.PACKET:
            return origin.kind is Guess.PACKET
        case Kind.STACK:
            return origin.kind is Guess.FRAME and fact.own_frame
        case Kind.CONTEXT:  # which is used as it was given: the verdict refuses all else
            return origin.kind is Guess.CONTEXT and 0 <= i.offset <= plan.context[0] - i.size
        case Kind.MAP_VALUE:
            return origin.kind is Guess.VALUE and not fact.inner and maps.get(id(fact.map)) == origin.number
        case _:
            return False
