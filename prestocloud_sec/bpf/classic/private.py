# SPDX-License-Identifier: Apache-2.0
"""The functions that translated programs call where eBPF has nothing a program could use instead.

The kernel, translating a classic program, calls functions of its own that no program could call by number. Here they
have numbers in a range that the kernel does not use, from `PRIVATE` up. A machine finds them by these numbers; those
that `bound_helpers` gives know a packet's metadata besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.classic.metadata import PacketMetadata
from prestocloud_sec.bpf.classic.netlink import find_attribute, find_nested
from prestocloud_sec.bpf.helpers.ids import HelperId

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__ = ["HELPERS", "PRIVATE", "PrivateHelper", "bound_helpers"]

PRIVATE = 0x7000_0000
"""The first number of the private range."""
_U32 = 0xFFFF_FFFF
_ETHERNET = 1


class PrivateHelper(IntEnum):
    """Helpers by number. All take the context in r1; the searches take A in r2 and X in r3."""

    SKB_GET_PAY_OFFSET = PRIVATE
    """Where the payload begins."""
    SKB_GET_NLATTR = PRIVATE + 1
    """Offset of a netlink attribute."""
    SKB_GET_NLATTR_NEST = PRIVATE + 2
    """Offset of a nested netlink attribute."""
    SKB_GET_HATYPE = PRIVATE + 3
    """Hardware type of the device."""


def _packet(machine: Machine) -> bytes:
    return machine.packet_bytes(0, machine.packet_size) or b""


def _network(value: int) -> int:
    from prestocloud_sec.bpf.vm.context import network_order

    return network_order(value & 0xFFFF)


def _pay_offset(machine: Machine, *_registers: int) -> int:
    fields = machine.context
    metadata = PacketMetadata(
        protocol=_network(fields["protocol"]),
        network_offset=machine.network_offset,
        vlan_present=bool(fields["vlan_present"]),
        vlan_tpid=_network(fields["vlan_proto"]),
    )
    return metadata.find_payload(_packet(machine))


def _attribute(machine: Machine, _context: int, start: int, kind: int, *_registers: int) -> int:
    return find_attribute(_packet(machine), start & _U32, kind & _U32)


def _nested(machine: Machine, _context: int, start: int, kind: int, *_registers: int) -> int:
    return find_nested(_packet(machine), start & _U32, kind & _U32)


def _hatype(_machine: Machine, *_registers: int) -> int:
    return _ETHERNET


HELPERS: Mapping[int, Callable[..., int]] = MappingProxyType(
    {
        PrivateHelper.SKB_GET_PAY_OFFSET.value: _pay_offset,
        PrivateHelper.SKB_GET_NLATTR.value: _attribute,
        PrivateHelper.SKB_GET_NLATTR_NEST.value: _nested,
        PrivateHelper.SKB_GET_HATYPE.value: _hatype,
    }
)
"""What a machine runs where nothing was bound: ``helper(machine, r1, r2, r3, r4, r5)``; devices are Ethernet's."""


def bound_helpers(metadata: PacketMetadata) -> dict[int, Callable[..., Any]]:
    """Return helpers that answer with a packet's metadata, random numbers included, for ``helpers=`` of a run."""

    def pay_offset(machine: Machine, *_registers: int) -> int:
        return metadata.find_payload(_packet(machine))

    def attribute(machine: Machine, *registers: int) -> int:
        return 0 if nonlinear(machine) else _attribute(machine, *registers)

    def nested(machine: Machine, *registers: int) -> int:
        return 0 if nonlinear(machine) else _nested(machine, *registers)

    def nonlinear(machine: Machine) -> bool:
        return metadata.linear_length is not None and metadata.linear_length < machine.packet_size

    for function in (pay_offset, attribute, nested):
        function.machine = True  # type: ignore[attr-defined]
    return {
        PrivateHelper.SKB_GET_PAY_OFFSET.value: pay_offset,
        PrivateHelper.SKB_GET_NLATTR.value: attribute,
        PrivateHelper.SKB_GET_NLATTR_NEST.value: nested,
        PrivateHelper.SKB_GET_HATYPE.value: lambda *_: metadata.hatype,
        HelperId.GET_PRANDOM_U32.value: lambda *_: metadata.draw(),
    }
