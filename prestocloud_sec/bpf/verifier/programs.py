# SPDX-License-Identifier: Apache-2.0
"""What programs of each type may return (Linux 6.18, ``check_return_code``)."""

from __future__ import annotations

from prestocloud_sec.bpf.program_type import ProgramType

__all__ = ["return_range"]

P = ProgramType
_ALWAYS: dict[ProgramType, tuple[int, int]] = {
    P.CGROUP_SOCK: (0, 1),
    P.SOCK_OPS: (0, 1),
    P.CGROUP_DEVICE: (0, 1),
    P.CGROUP_SYSCTL: (0, 1),
    P.CGROUP_SOCKOPT: (0, 1),
    P.SK_LOOKUP: (0, 1),
    P.NETFILTER: (0, 1),
}
_EGRESS = 1
_MUST_ALLOW = frozenset({19, 20, 29, 30, 31, 32, 51, 52, 53})
"""Places where addresses are received or told: they cannot be refused."""
_BINDS = frozenset({8, 9})
_SESSIONS = frozenset({56, 57})
"""Places of probes that are called at a function's beginning and its end."""


def return_range(kind: ProgramType, attach: int) -> tuple[int, int] | None:
    """Return the least and the greatest number that r0 may hold at the end, None where anything may be returned.

    Parameters
    ----------
    kind : ProgramType
    attach : int
        Where the program is to be attached (``expected_attach_type``).
    """
    if kind is P.CGROUP_SKB:
        return (0, 3) if attach == _EGRESS else (0, 1)
    if kind is P.CGROUP_SOCK_ADDR:
        return (1, 1) if attach in _MUST_ALLOW else (0, 3) if attach in _BINDS else (0, 1)
    if kind is P.KPROBE and attach in _SESSIONS:
        return (0, 1)
    return _ALWAYS.get(kind)
