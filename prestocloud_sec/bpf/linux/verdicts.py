# SPDX-License-Identifier: Apache-2.0
"""What the running kernel's verifier says of a program, beside ours.

`prestocloud_sec.bpf.verify` comes here where it is asked to compare. The program is loaded and given back at once; maps
are made as the ones that were judged with are, empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.linux.host import possible_cpus, require
from prestocloud_sec.bpf.linux.maps import KernelMap
from prestocloud_sec.bpf.linux.programs import KernelProgram
from prestocloud_sec.bpf.verifier.hazards import may_crash_linux
from prestocloud_sec.bpf.verifier.verdict import KernelAnswer
from prestocloud_sec.errors import UnavailableError

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.maps import MapSpec
    from prestocloud_sec.bpf.verifier.verdict import Verdict

__all__ = ["ask", "possible_cpus"]

_STRICT, _ANY = 1, 2
"""``BPF_F_STRICT_ALIGNMENT`` and ``BPF_F_ANY_ALIGNMENT``."""


def ask(
    verdict: Verdict, maps: Mapping[int, MapSpec], *, attach: int, strict_alignment: bool, license: str
) -> KernelAnswer:
    """Load a program that was judged, and say whether the kernel judges so, too.

    Parameters
    ----------
    verdict : Verdict
        Of a program.
    maps : mapping of int to MapSpec
        By the number in the loads that name them.
    attach : int
        ``expected_attach_type``.
    strict_alignment : bool
    license : str

    Raises
    ------
    UnavailableError
        If the kernel cannot be asked: bpf(2) is not allowed, a map holds what only BTF can describe, or the program is
        one that can crash the kernel (`prestocloud_sec.bpf.verifier.hazards`).
    MapError
        If the kernel does not make such a map.
    KernelError
        If it does not take the program's BTF.
    """
    require()
    program = verdict.program
    if program is None:
        raise UnavailableError("bytes that are no program cannot be loaded", where="compare_with_kernel")
    if may_crash_linux(program):
        raise UnavailableError(
            "Linux 6.18 can crash over a static function that may end at a load of a packet's word or at a tail call",
            where="compare_with_kernel",
            expected="a program without one",
            hint="KernelProgram.load asks it all the same",
        )
    with ExitStack() as stack:
        made: dict[int, KernelMap] = {}
        for number, spec in maps.items():
            made[number] = _made(spec, stack)
        try:
            loaded = KernelProgram.load(
                program,
                type=verdict.type,
                license=license,
                maps=made,
                expected_attach_type=attach,
                flags=_STRICT if strict_alignment else 0,
            )
        except LoadError as error:
            return KernelAnswer(False, error.symbol, _reason(error), error.log, not verdict.accepted)
        stack.enter_context(loaded)
        return KernelAnswer(True, None, "", "", verdict.accepted)


def _made(spec: MapSpec, stack: ExitStack) -> KernelMap:
    if spec.spin_lock is not None or spec.timer is not None:
        raise UnavailableError(
            "a map with a lock or a timer needs BTF, which is not made here",
            where="compare_with_kernel",
            expected="maps without",
        )
    inner = _made(spec.inner, stack) if spec.inner is not None else None
    return stack.enter_context(
        KernelMap(
            spec.type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            flags=spec.flags,
            inner=inner,
        )
    )


def _reason(error: LoadError) -> str:
    said = error.what.partition(": ")[2]
    return said.rpartition(" [")[0] or said
