# SPDX-License-Identifier: Apache-2.0
"""What can be refused without running a program: its instructions, where they lead, and its functions.

Follows the order of Linux 6.18: functions are found (``add_subprog_and_kfunc``), jumps stay within them
(``check_subprogs``), loads of maps are resolved (``resolve_pseudo_ldimm64``), and every instruction is reached
(``check_cfg``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.entries import takes_address
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import (
    Branch,
    CallHelper,
    CallKfunc,
    CallLocal,
    CallRegister,
    Exit,
    ImmKind,
    Instruction,
    Jump,
    LegacyLoad,
    LoadImm64,
    MayGoto,
)
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.verifier.maps import MapSpec

__all__ = ["Functions", "check", "is_tail_call", "may_end"]

_MOST = 1_000_000
_MOST_UNPRIVILEGED = 4096
_MOST_FUNCTIONS = 256
_TRACING = frozenset(
    {
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
    }
)


class Functions:
    """Where the functions of a program are.

    Attributes
    ----------
    entries : list of int
        The instructions that they begin with, ascending; 0 is the first.
    early_ends : dict of int to int
        Instructions of functions but the first that may end it besides going on, as a load of a packet's word or a
        tail call does, and the exit of that function that comes last.
    """

    def __init__(self, entries: list[int], instructions: Sequence[Instruction]) -> None:
        self.entries = entries
        self._ends = [*entries[1:], len(instructions)]
        self.early_ends: dict[int, int] = {}
        for number in range(1, len(entries)):
            first, end = self.span(number)
            last = next(
                (index for index in range(end - 1, first - 1, -1) if isinstance(instructions[index], Exit)), None
            )
            if last is not None:
                self.early_ends.update((index, last) for index in range(first, end) if may_end(instructions[index]))

    def of(self, index: int) -> int:
        """Return the number of the function that an instruction belongs to."""
        low, high = 0, len(self.entries)
        while high - low > 1:
            middle = (low + high) // 2
            if self.entries[middle] <= index:
                low = middle
            else:
                high = middle
        return low

    def span(self, number: int) -> tuple[int, int]:
        """Return the first instruction of a function, and the one behind its last."""
        return self.entries[number], self._ends[number]


def may_end(i: Instruction) -> bool:
    """Whether an instruction may end the function, though it is no exit."""
    return isinstance(i, LegacyLoad) or is_tail_call(i)


def is_tail_call(i: Instruction) -> bool:
    """Whether an instruction goes on to another program."""
    return isinstance(i, CallHelper) and i.number == HelperId.TAIL_CALL


def check(env: Environment) -> Functions:
    """Check a program's structure.

    Raises
    ------
    Rejected
        With `Rejected.instruction` set where one is to blame.
    """
    count = len(env.program)
    limit = _MOST if env.privileged else _MOST_UNPRIVILEGED
    if not 0 < count <= limit:
        raise Rejected(Rule.COMPLEXITY, f"a program of {count} instructions", "E2BIG", hint=f"1 to {limit} are allowed")
    functions = _functions(env)
    for number in range(len(functions.entries)):
        _check_jumps(env, *functions.span(number))
    if not env.user_space:
        _check_function_types(env, functions)
    for index, instruction in enumerate(env.instructions):
        _at(index, _check_instruction, env, instruction, index)
    _check_reached(env, functions)
    return functions


def _at(index: int, what: object, *arguments: object) -> None:
    try:
        what(*arguments)  # type: ignore[operator]
    except Rejected as rejected:
        rejected.instruction = index
        raise


def _refuse(index: int, rule: Rule, what: str, errno: str = "EINVAL", hint: str = "") -> Rejected:
    made = Rejected(rule, what, errno, hint=hint)
    made.instruction = index
    return made


def _functions(env: Environment) -> Functions:
    entries = {0}
    for index, instruction in enumerate(env.instructions):
        if isinstance(instruction, CallKfunc):
            _check_kfunc_call(env, index)
        if isinstance(instruction, CallLocal) or (
            isinstance(instruction, LoadImm64) and instruction.kind is ImmKind.FUNCTION
        ):
            target = env.targets[index]
            if target is None:
                raise _refuse(index, Rule.STRUCTURE, "call to invalid destination")
            if not env.privileged:
                raise _refuse(
                    index, Rule.PRIVILEGE, "function calls to other bpf functions are allowed for CAP_BPF", "EPERM"
                )
            entries.add(target)
    if len(entries) > _MOST_FUNCTIONS:
        raise Rejected(Rule.COMPLEXITY, "too many subprograms", "E2BIG", hint=f"{_MOST_FUNCTIONS} are allowed")
    return Functions(sorted(entries), env.instructions)


def _check_kfunc_call(env: Environment, index: int) -> None:
    if not env.privileged:
        what = "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN"
        raise _refuse(index, Rule.PRIVILEGE, what, "EPERM")
    if not env.gpl:
        what = "cannot call kernel function from non-GPL compatible program"
        raise _refuse(index, Rule.HELPER, what, hint='give the program the licence "GPL"')


def _slot(env: Environment, index: int | None) -> int:
    """Return the slot of an instruction, as messages say it; one behind the last is the program's end."""
    count = len(env.instructions)
    return env.program.slot_of(index) if index is not None and index < count else len(env.program)


def _check_jumps(env: Environment, first: int, end: int) -> None:
    """Check that jumps stay in their function, and that it does not run on into the next."""
    for index in range(first, end):
        instruction = env.instructions[index]
        if isinstance(instruction, Jump | Branch | MayGoto):
            target = env.targets[index]
            if target is None or not first <= target < end:
                raise _refuse(
                    index,
                    Rule.STRUCTURE,
                    f"jump out of range from insn {env.program.slot_of(index)} to {_slot(env, target)}",
                    hint="jump to an instruction of the function",
                )
    if not isinstance(env.instructions[end - 1], Exit | Jump):
        raise _refuse(end - 1, Rule.STRUCTURE, "last insn is not an exit or jmp", hint="end the function with exit")


def _check_function_types(env: Environment, functions: Functions) -> None:
    """Check what BTF says of the functions, and refuse what only those may do that it describes.

    See Linux 6.18, ``check_btf_func`` and ``check_abnormal_return``.
    """
    types = env.function_types
    if types is None and takes_address(env.program):
        return  # such programs are loaded with BTF that says of each function that it is static and returns a number
    if types is not None:
        types.check_layout([env.program.slot_of(entry) for entry in functions.entries])
    for number in range(1, len(functions.entries)):
        if types is not None and types.returns_number(number):
            continue
        span = range(*functions.span(number))
        for kind, name in ((LegacyLoad, "LD_ABS"), (CallHelper, "tail_call")):
            for index in span:
                if not isinstance(env.instructions[index], kind) or not may_end(env.instructions[index]):
                    continue
                if types is None:
                    what = f"{name} is not allowed in subprogs without BTF"
                    hint = "do it in the first function, or describe the functions: Program.declaring, or --function"
                else:
                    what, hint = f"{name} is only allowed in functions that return 'int'.", "let it return a number"
                raise _refuse(index, Rule.STRUCTURE, what, hint=hint)


def _check_instruction(env: Environment, i: Instruction, index: int) -> None:
    if index in env.maps:
        _check_map(env, env.maps[index])
    match i:
        case CallRegister():
            raise Rejected(Rule.STRUCTURE, "unknown opcode 8d", "EINVAL", hint="Linux has no calls by register")
        case LoadImm64(_, kind) if kind in _NAMES_MAP and index not in env.maps:
            raise Rejected(
                Rule.MAP, "fd is not pointing to valid bpf_map", "EINVAL", hint="say what it is: maps=, or --map"
            )
        case LoadImm64(_, kind, _, second) if kind in _NAMES_VALUE:
            spec = env.maps[index]
            if second < 0 or second >= 1 << 29:
                raise Rejected(Rule.MAP, f"direct value offset of {second} is not allowed", "EINVAL")
            if spec.type.name != "ARRAY" or spec.max_entries != 1:
                raise Rejected(Rule.MAP, "no direct value access support for this map type", "EINVAL")
            if second >= spec.value_size:
                raise Rejected(
                    Rule.MAP,
                    f"invalid access to map value pointer, value_size={spec.value_size} off={second}",
                    "EINVAL",
                )
        case LoadImm64(_, ImmKind.BTF_VARIABLE):
            raise Rejected(Rule.STRUCTURE, "variables of the kernel cannot be judged here", "EINVAL")


_NAMES_VALUE = (
    frozenset({ImmKind.MAP_VALUE_FD, ImmKind.MAP_VALUE_INDEX}) if hasattr(ImmKind, "MAP_VALUE_FD") else frozenset()
)
_NAMES_MAP = frozenset(kind for kind in ImmKind if kind.name.startswith("MAP"))


def _check_map(env: Environment, spec: MapSpec) -> None:
    """Check that programs of this type may use a map (``check_map_prog_compatibility``)."""
    tracing = env.type in _TRACING
    if spec.spin_lock is not None and (tracing or env.type is ProgramType.SOCKET_FILTER):
        kind = "tracing" if tracing else "socket filter"
        raise Rejected(Rule.LOCK, f"{kind} progs cannot use bpf_spin_lock yet", "EINVAL")
    if spec.timer is not None and tracing:
        raise Rejected(Rule.TYPE, "tracing progs cannot use bpf_timer yet", "EINVAL")


def _check_reached(env: Environment, functions: Functions) -> None:
    """Check that something leads to every instruction."""
    instructions, targets = env.instructions, env.targets
    seen = bytearray(len(instructions))
    queue = list(functions.entries)
    while queue:
        index = queue.pop()
        while index < len(instructions) and not seen[index]:
            seen[index] = 1
            instruction = instructions[index]
            target = targets[index]
            if isinstance(instruction, Exit):
                break
            if isinstance(instruction, Jump):
                index = target if target is not None else index
                continue
            if isinstance(instruction, Branch | MayGoto) and target is not None:
                if target <= index and not env.privileged:
                    slot = env.program.slot_of(index)
                    raise _refuse(index, Rule.LOOP, f"back-edge from insn {slot} to {_slot(env, target)}")
                queue.append(target)
            index += 1
    for index, reached in enumerate(seen):
        if not reached:
            slot = env.program.slot_of(index)
            raise _refuse(index, Rule.STRUCTURE, f"unreachable insn {slot}", hint="remove it")
