# SPDX-License-Identifier: Apache-2.0
"""Helpers that read and change packets: of XDP programs, and of those that see an ``sk_buff``.

Sources: Linux 6.18, ``net/core/filter.c`` and ``net/core/skbuff.c`` (behaviour); what a running kernel gives for the
same programs is compared in the tests.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.numbers import fail, s32, u32
from prestocloud_sec.bpf.helpers.registry import implements
from prestocloud_sec.bpf.vm.context import network_order

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__: list[str] = []

_INT_MAX = 0x7FFF_FFFF
_U16 = 0xFFFF
_STORE_FLAGS = 0b11
"""``BPF_F_RECOMPUTE_CSUM`` and ``BPF_F_INVALIDATE_HASH``."""
_VLAN_PROTOCOLS = (0x8100, 0x88A8)
_ADDRESSES = 12
"""Bytes of the two link-layer addresses, behind which a VLAN tag stands."""
_TAG = 4
_MAC_HEADER, _NETWORK_HEADER = 0, 1
"""``enum bpf_hdr_start_off``."""
_MOST_SKB = 0xFFFF
"""Bytes that an ``sk_buff`` can be made to have (``BPF_SKB_MAX_LEN``)."""


def _load(machine: Machine, offset: int, to: int, size: int) -> int:
    """Copy packet bytes to memory; zeros and an error where the packet does not have them."""
    machine.memory.check_write(to, size)
    data = machine.packet_bytes(offset, size) if 0 <= offset <= _INT_MAX else None
    machine.memory.write(to, bytes(size) if data is None else data)
    return fail("EFAULT") if data is None else 0


@implements("skb_load_bytes")
def skb_load_bytes(machine: Machine, context: int, offset: int, to: int, size: int) -> int:  # noqa: ARG001
    """Copy packet bytes to memory."""
    return _load(machine, u32(offset), to, u32(size))


@implements("skb_load_bytes_relative")
def skb_load_bytes_relative(machine: Machine, context: int, offset: int, to: int, size: int, header: int) -> int:  # noqa: ARG001
    """Copy packet bytes counted from the link-layer header (0) or the network header (1)."""
    starts = {_MAC_HEADER: machine.mac_offset, _NETWORK_HEADER: machine.network_offset}
    start = starts.get(u32(header))
    machine.memory.check_write(to, u32(size))
    if u32(offset) > _U16 or start is None:
        machine.memory.write(to, bytes(u32(size)))
        return fail("EFAULT")
    return _load(machine, start + u32(offset), to, u32(size))


@implements("skb_store_bytes")
def skb_store_bytes(machine: Machine, context: int, offset: int, start: int, size: int, flags: int) -> int:  # noqa: ARG001
    """Copy memory into the packet."""
    if flags & ~_STORE_FLAGS:
        return fail("EINVAL")
    at, size = u32(offset), u32(size)
    data = machine.memory.read(start, size)
    if at > _INT_MAX or machine.packet_bytes(at, size) is None:
        return fail("EFAULT")
    machine.packet_store(at, data)
    return 0


@implements("skb_pull_data")
def skb_pull_data(machine: Machine, context: int, size: int) -> int:  # noqa: ARG001
    """Make so many bytes reachable through pointers; here all are."""
    return fail("ENOMEM") if u32(size) > machine.packet_size else 0


@implements("skb_change_tail")
def skb_change_tail(machine: Machine, context: int, size: int, flags: int) -> int:  # noqa: ARG001
    """Cut the packet at its end, or add zeros there."""
    wanted = u32(size)
    if flags or not max(machine.network_offset, 0) <= wanted <= _MOST_SKB:
        return fail("EINVAL")
    return machine.packet.resize(wanted)


@implements("xdp_adjust_head")
def xdp_adjust_head(machine: Machine, context: int, delta: int) -> int:  # noqa: ARG001
    """Move the start of the packet."""
    return machine.packet.adjust_head(s32(delta))


@implements("xdp_adjust_tail")
def xdp_adjust_tail(machine: Machine, context: int, delta: int) -> int:  # noqa: ARG001
    """Move the end of the packet; what is added is zeros."""
    return machine.packet.adjust_tail(s32(delta))


@implements("xdp_adjust_meta")
def xdp_adjust_meta(machine: Machine, context: int, delta: int) -> int:  # noqa: ARG001
    """Move the start of the metadata before the packet."""
    return machine.packet.adjust_meta(s32(delta))


@implements("xdp_get_buff_len")
def xdp_get_buff_len(machine: Machine, context: int) -> int:  # noqa: ARG001
    """Return the length of the packet."""
    return machine.packet_size


def _xdp_range(machine: Machine, offset: int, size: int) -> int:
    if offset > _U16 or size > _U16:
        return fail("EFAULT")
    return fail("EINVAL") if offset + size > machine.packet_size else 0


@implements("xdp_load_bytes")
def xdp_load_bytes(machine: Machine, context: int, offset: int, to: int, size: int) -> int:  # noqa: ARG001
    """Copy packet bytes to memory."""
    machine.memory.check_write(to, u32(size))
    refused = _xdp_range(machine, u32(offset), u32(size))
    data = None if refused else machine.packet_bytes(u32(offset), u32(size))
    if data is not None:
        machine.memory.write(to, data)
    return refused


@implements("xdp_store_bytes")
def xdp_store_bytes(machine: Machine, context: int, offset: int, start: int, size: int) -> int:  # noqa: ARG001
    """Copy memory into the packet."""
    data = machine.memory.read(start, u32(size))
    refused = _xdp_range(machine, u32(offset), u32(size))
    if not refused:
        machine.packet_store(u32(offset), data)
    return refused


# --- VLAN tags. The outermost tag is kept beside the packet, in fields of the context, as network cards do it; pushing
# a second one writes the first into the packet.


@implements("skb_vlan_push")
def skb_vlan_push(machine: Machine, context: int, protocol: int, tag: int) -> int:  # noqa: ARG001
    """Add a VLAN tag; `protocol` is in network order, and 802.1Q unless it says 802.1ad."""
    wanted = network_order(protocol & _U16)
    if wanted not in _VLAN_PROTOCOLS:
        wanted = _VLAN_PROTOCOLS[0]
    if machine.context["vlan_present"]:
        failed = _tag_into_packet(machine)
        if failed:
            return failed
    machine.context.update(vlan_present=1, vlan_tci=tag & _U16, vlan_proto=network_order(wanted))
    return 0


def _tag_into_packet(machine: Machine) -> int:
    """Write the tag that stands in the context into the packet."""
    fields = machine.context
    tag = int(fields["vlan_tci"]) & _U16
    header = network_order(fields["vlan_proto"]).to_bytes(2, "big") + tag.to_bytes(2, "big")
    failed = machine.packet.insert(_ADDRESSES, header)
    if not failed:
        fields.update(protocol=fields["vlan_proto"], vlan_present=0, vlan_tci=0)
    return failed


@implements("skb_vlan_pop")
def skb_vlan_pop(machine: Machine, context: int) -> int:  # noqa: ARG001
    """Take the outermost VLAN tag off."""
    fields = machine.context
    if fields["vlan_present"]:
        fields.update(vlan_present=0, vlan_tci=0, vlan_proto=0)
    elif network_order(fields["protocol"]) not in _VLAN_PROTOCOLS:
        return 0
    else:
        failed, _ = _tag_out_of_packet(machine)
        if failed:
            return failed
    if network_order(fields["protocol"]) not in _VLAN_PROTOCOLS:
        return 0
    proto = fields["protocol"]
    failed, tag = _tag_out_of_packet(machine)
    if not failed:
        fields.update(vlan_present=1, vlan_tci=tag, vlan_proto=proto)
    return failed


def _tag_out_of_packet(machine: Machine) -> tuple[int, int]:
    """Cut the tag out of the packet, so that the protocol behind it shows; return 0 or an error, and the tag."""
    data = machine.packet_bytes(_ADDRESSES, _TAG + 2)
    if data is None:
        return fail("ENOMEM"), 0
    failed = machine.packet.cut(_ADDRESSES, _TAG)
    if not failed:
        machine.context.update(protocol=int.from_bytes(data[4:6], sys.byteorder))
    return failed, int.from_bytes(data[2:4], "big")


@implements("get_hash_recalc")
def get_hash_recalc(machine: Machine, context: int) -> int:  # noqa: ARG001
    """Return the hash of the packet's flow as the context has it."""
    return int(machine.context["hash"])


@implements("set_hash_invalid")
def set_hash_invalid(machine: Machine, context: int) -> int:  # noqa: ARG001
    """Forget the hash."""
    machine.context.update(hash=0)
    return 0


@implements("set_hash")
def set_hash(machine: Machine, context: int, value: int) -> int:  # noqa: ARG001
    """Set the hash."""
    machine.context.update(hash=u32(value))
    return 0
