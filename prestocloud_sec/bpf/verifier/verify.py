# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel would take a program, decided without one, and told with reasons."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfMisuseError, JumpTargetError
from prestocloud_sec.bpf.helpers.prototypes import Prototype
from prestocloud_sec.bpf.isa import CallLocal, LoadImm64
from prestocloud_sec.bpf.program import Program, target_slot
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.contexts import Access
from prestocloud_sec.bpf.verifier.environment import MOST_INSTRUCTIONS, Environment
from prestocloud_sec.bpf.verifier.explore import Explorer
from prestocloud_sec.bpf.verifier.given import (
    check_is,
    decoded_of,
    flag_of,
    helpers_of,
    kfunc_names_of,
    license_of,
    map_specs,
    processors_of,
    profile_of,
    type_of,
)
from prestocloud_sec.bpf.verifier.loading import check_loading
from prestocloud_sec.bpf.verifier.profiles import Profile, restrict
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["judge", "verify"]

_EDGE = "prestocloud_sec.bpf.linux.verdicts"
"""What asks the running kernel; imported only where it is to be asked."""
_GPL = frozenset({"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"})
"""Licences with which all helpers may be called (Linux ``include/linux/license.h``)."""
_MOST_ATTACH = (1 << 32) - 1


def verify(
    program: Program | BytesLike,
    *,
    type: ProgramType | str | None = None,
    maps: Any = None,
    profile: str = Profile.KERNEL,
    attach: int = 0,
    privileged: bool = True,
    strict_alignment: bool = False,
    license: str | None = None,
    context: Access | None = None,
    helpers: Mapping[int, Prototype] | None = None,
    kfuncs: Mapping[int, str] | None = None,
    compare_with_kernel: bool = False,
    witness: bool = False,
    limit: int = MOST_INSTRUCTIONS,
    processors: int | None = None,
) -> Verdict:
    r"""Judge a program as the Linux kernel would.

    Parameters
    ----------
    program : Program or bytes-like
        What to judge. Bytes that are no program are refused, as the kernel refuses them.
    type : ProgramType or str, optional
        Where it is meant to run; the program's own, where it has one. A name may be in any case: ``"xdp"``.
    maps : sequence or mapping, optional
        The maps that it refers to, by number or name, as for `Program.run`: maps, or `MapSpec` objects that only say
        what a map is like.
    profile : {"kernel", "linux-4.11"}
        Whose rules: those of Linux 6.18, or those that the deliverable describes (see
        `prestocloud_sec.bpf.verifier.profiles`).
    attach : int
        ``expected_attach_type``, for the types that need one, or whose rules depend on it; see
        `prestocloud_sec.bpf.verifier.loading`.
    privileged : bool
        False judges a program that is loaded without ``CAP_BPF`` and ``CAP_PERFMON``; only socket filters and
        ``CGROUP_SKB`` programs may be.
    strict_alignment : bool
        Whether every access has to be aligned (``BPF_F_STRICT_ALIGNMENT``).
    license : str, optional
        The program's own, or ``GPL``: some helpers are only for programs whose licence goes with the GPL.
    context : Access, optional
        What r1 points at and may be done with it, instead of what the type says: for programs that run in user space.
    helpers : mapping of int to Prototype, optional
        Helpers of a user-space machine, by number, besides the kernel's and before them.
    kfuncs : mapping of int to str, optional
        Names of kernel functions (kfuncs), by the number with which the program calls them, where it does not call
        them by name (``call kfunc bpf_iter_num_new``).
    compare_with_kernel : bool
        Whether to load the program into the running kernel, too; its answer is ``kernel`` of the verdict.
    witness : bool
        Whether to look for inputs with which a refused program really does what it is refused for.
    limit : int
        Instructions to go through at most, on all ways: a program that needs more is refused with ``E2BIG``. The
        kernel's is a million, which is also the most; each costs some 30 to 50 microseconds here.
    processors : int, optional
        How many the machine has that is to run it, which its kernel knows: what ``bpf_get_smp_processor_id`` can give
        follows from it. Anything, if that is not said.

    Returns
    -------
    Verdict
        True if the program is accepted.

    Raises
    ------
    BpfMisuseError
        If an argument is of another type, or the program has no type.
    UnavailableError
        If the running kernel is to be asked and cannot be.
    KernelError, MapError
        If it is asked, and does not take the program's BTF, or does not make a map like the program's.

    Examples
    --------
    >>> from prestocloud_sec.bpf import ProgramType, assemble, verify
    >>> second = assemble("r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 1)\nexit", type=ProgramType.XDP)
    >>> verdict = verify(second)
    >>> verdict.accepted, verdict.errno, verdict.instruction
    (False, 'EACCES', 1)
    >>> print(verdict.hint)
    compare the pointer plus what is read with data_end first
    """
    rules = profile_of(profile)
    decoded, refused = decoded_of(program)
    kind = type_of(decoded, type, context)
    chosen = license_of(decoded, license)
    ask, search = flag_of(compare_with_kernel, "compare_with_kernel"), flag_of(witness, "witness")
    options: dict[str, Any] = {
        "attach": whole(attach, "attach", 0, _MOST_ATTACH, error=BpfMisuseError),
        "privileged": flag_of(privileged, "privileged"),
        "strict_alignment": flag_of(strict_alignment, "strict_alignment"),
        "gpl": chosen in _GPL,
        "processors": processors_of(processors),
        "limit": whole(limit, "limit", 1, MOST_INSTRUCTIONS, error=BpfMisuseError),
    }
    if context is not None:
        check_is(context, Access, "context")
        options["context"] = context
    if helpers is not None:
        options["helpers"] = helpers_of(helpers)
    if kfuncs is not None:
        options["kfunc_names"] = kfunc_names_of(kfuncs)
    if decoded is None:
        return Verdict(None, kind, rules, refused)
    specs, by_number = map_specs(decoded, maps)
    verdict = judge(decoded, partial(Environment, decoded, kind, specs, **options), kind, rules)
    if ask:
        answer = import_module(_EDGE).ask(
            verdict,
            by_number,
            attach=options["attach"],
            strict_alignment=options["strict_alignment"],
            license=chosen,
        )
        verdict = verdict.but(kernel=answer)
    if search and not verdict.accepted:
        from prestocloud_sec.bpf.verifier.witness import find_witness

        verdict = verdict.but(witness=find_witness(decoded, verdict))
    return verdict


def judge(
    program: Program, again: Callable[[], Environment], kind: ProgramType, profile: Profile = Profile.KERNEL
) -> Verdict:
    """Return the verdict on a program in an environment.

    Parameters
    ----------
    program : Program
    again : callable
        Gives a new environment for it each time.
    kind : ProgramType
        As what it is judged.
    profile : Profile
    """
    explorer: Explorer | None = None
    try:
        env = again()
        restrict(env, profile)
        check_loading(env)
        explorer = Explorer(env)
        explorer.run()
    except Rejected as rejected:
        gone = explorer is not None
        return Verdict(
            program,
            kind,
            profile,
            rejected,
            processed=explorer.processed if explorer is not None else 0,
            states=explorer.states if explorer is not None else 0,
            again=again if gone else None,
        )
    except JumpTargetError as error:
        return Verdict(program, kind, profile, _misled(program, error))
    return Verdict(program, kind, profile, None, processed=explorer.processed, states=explorer.states, again=again)


def _misled(program: Program, error: JumpTargetError) -> Rejected:
    """Return the refusal of a jump or call that leads nowhere."""
    slot = error.instruction or 0
    index = program.index_at(slot) or 0
    target = target_slot(program.instructions[index], slot) or 0
    if isinstance(program.instructions[index], CallLocal | LoadImm64):
        what = "call to invalid destination"
    elif 0 <= target < len(program):
        what = f"jump into the middle of ldimm64 insn {target - 1}"
    else:
        what = f"jump out of range from insn {slot} to {target}"
    made = Rejected(Rule.STRUCTURE, what, "EINVAL", hint=f"lead to {error.expected}")
    made.instruction = index
    return made
