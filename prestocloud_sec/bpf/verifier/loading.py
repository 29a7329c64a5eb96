# SPDX-License-Identifier: Apache-2.0
"""What is refused before a program is looked at: its type, and the place that it says it is for.

Sources: Linux 6.18, ``kernel/bpf/syscall.c`` (``bpf_prog_load``, ``bpf_prog_load_check_attach``,
``bpf_prog_load_fixup_attach_type``), ``kernel/bpf/verifier.c`` (``check_attach_btf_id``), and
``include/uapi/linux/bpf.h`` for the numbers. The rows are what a running Linux 6.18 answered for every type and every
number. Where that kernel was built without a feature, what the sources say counts: infrared receivers (``LIRC_MODE2``)
are judged, though a kernel without them refuses every program of that type. Types that are refused here whatever the
program does are those that name a function or structure of the kernel by its BTF, or that have to be loaded as
sleepable; a kernel may refuse these even earlier, with ``EPERM``, where trampolines are not allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment

__all__ = ["ATTACH_TYPES", "UNJUDGED", "check_loading", "usual_attach"]

P = ProgramType
ATTACH_TYPES: dict[ProgramType, dict[int, str]] = {
    P.CGROUP_SKB: {0: "CGROUP_INET_INGRESS", 1: "CGROUP_INET_EGRESS"},
    P.CGROUP_SOCK: {
        2: "CGROUP_INET_SOCK_CREATE",
        12: "CGROUP_INET4_POST_BIND",
        13: "CGROUP_INET6_POST_BIND",
        34: "CGROUP_INET_SOCK_RELEASE",
    },
    P.CGROUP_SOCK_ADDR: {
        8: "CGROUP_INET4_BIND",
        9: "CGROUP_INET6_BIND",
        10: "CGROUP_INET4_CONNECT",
        11: "CGROUP_INET6_CONNECT",
        14: "CGROUP_UDP4_SENDMSG",
        15: "CGROUP_UDP6_SENDMSG",
        19: "CGROUP_UDP4_RECVMSG",
        20: "CGROUP_UDP6_RECVMSG",
        29: "CGROUP_INET4_GETPEERNAME",
        30: "CGROUP_INET6_GETPEERNAME",
        31: "CGROUP_INET4_GETSOCKNAME",
        32: "CGROUP_INET6_GETSOCKNAME",
        49: "CGROUP_UNIX_CONNECT",
        50: "CGROUP_UNIX_SENDMSG",
        51: "CGROUP_UNIX_RECVMSG",
        52: "CGROUP_UNIX_GETPEERNAME",
        53: "CGROUP_UNIX_GETSOCKNAME",
    },
    P.CGROUP_SOCKOPT: {21: "CGROUP_GETSOCKOPT", 22: "CGROUP_SETSOCKOPT"},
    P.SK_LOOKUP: {36: "SK_LOOKUP"},
    P.SK_REUSEPORT: {39: "SK_REUSEPORT_SELECT", 40: "SK_REUSEPORT_SELECT_OR_MIGRATE"},
    P.NETFILTER: {45: "NETFILTER"},
    P.SYSCALL: {0: "none"},
    P.EXT: {0: "none"},
}
"""Types that take only these values of ``expected_attach_type`` (and their names); the others take any."""

_USUAL = {P.CGROUP_SOCK: 2, P.SK_REUSEPORT: 39}
"""What 0 means for types that a 0 is not among the values of."""


class _Unjudged(NamedTuple):
    """What the kernel says of a type that is given without what this package cannot give, and what that is."""

    message: str
    errno: str
    wanted: str


_BTF = _Unjudged("Tracing programs must provide btf_id", "EINVAL", "a function of the kernel, by its BTF")
UNJUDGED: dict[ProgramType, _Unjudged] = {
    P.TRACING: _BTF,
    P.LSM: _BTF,
    P.EXT: _BTF,
    P.STRUCT_OPS: _Unjudged("it is for no structure", "ENOTSUPP", "a structure of the kernel, by its BTF"),
    P.SYSCALL: _Unjudged("Syscall programs can only be sleepable", "EINVAL", "to be loaded as sleepable"),
}
"""Types that no program is accepted as."""

_UNPRIVILEGED = frozenset({P.SOCKET_FILTER, P.CGROUP_SKB})
"""Types that may be loaded without ``CAP_BPF``."""


def usual_attach(kind: ProgramType, attach: int) -> int:
    """Return what the kernel makes of an ``expected_attach_type``: where a type has a usual one, it stands for 0."""
    return attach or _USUAL.get(kind, 0)


def check_loading(env: Environment) -> None:
    """Refuse what is no type, what is for another place, and what cannot be judged.

    A program whose context a caller described is one of user space, which none of this is asked of.

    Raises
    ------
    Rejected
    """
    kind = env.type
    if env.user_space:
        return
    if kind is P.UNSPEC:
        raise Rejected(Rule.TYPE, "there is no type UNSPEC", "EINVAL", hint="say where the program is to run: type=")
    if not env.privileged and kind not in _UNPRIVILEGED:
        allowed = " and ".join(sorted(row.name for row in _UNPRIVILEGED))
        raise Rejected(
            Rule.PRIVILEGE,
            f"{kind.name} programs are loaded with CAP_BPF",
            "EPERM",
            hint=f"only {allowed} programs may be loaded without",
        )
    places = ATTACH_TYPES.get(kind)
    if places is not None and env.attach not in places:
        known = ", ".join(f"{number} ({name})" for number, name in places.items())
        raise Rejected(
            Rule.TYPE,
            f"{kind.name} programs have no expected_attach_type {env.attach}",
            "EINVAL",
            hint=f"attach= {known}",
        )
    unjudged = UNJUDGED.get(kind)
    if unjudged is not None:
        raise Rejected(
            Rule.TYPE,
            unjudged.message,
            unjudged.errno,
            hint=f"{kind.name} programs need {unjudged.wanted}; they cannot be judged here",
        )
