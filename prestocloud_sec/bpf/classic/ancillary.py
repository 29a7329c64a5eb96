# SPDX-License-Identifier: Apache-2.0
"""What a classic program can learn of a packet besides its bytes: ancillary data, and offsets that count from a header.

Such loads have offsets that are negative as signed 32-bit numbers. From -0x1000 up, an absolute load is of ancillary
data; of the rest, those from -0x100000 up count from the network header and those from -0x200000 up from the
link-layer header. Source: Linux ``include/uapi/linux/filter.h``, ``SKF_*``; the names are bpf_asm's (Linux
``Documentation/networking/filter.rst``, "BPF engine and instruction set").
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ANCILLARY_BASE", "LINK_BASE", "NAMES", "NETWORK_BASE", "SPELLINGS", "Ancillary"]

ANCILLARY_BASE = 0xFFFF_F000
"""``SKF_AD_OFF``: absolute loads from here are of ancillary data."""
NETWORK_BASE = 0xFFF0_0000
"""``SKF_NET_OFF``: offsets from here count from the network header."""
LINK_BASE = 0xFFE0_0000
"""``SKF_LL_OFF``: offsets from here, and below `NETWORK_BASE`, count from the link-layer header."""


class Ancillary(IntEnum):
    """Ancillary data, by its distance from `ANCILLARY_BASE`."""

    PROTOCOL = 0
    """The EtherType of the packet."""
    PKTTYPE = 4
    """0 to this host, 1 broadcast, 2 multicast, 3 to another host, 4 outgoing."""
    IFINDEX = 8
    """Index of the device; without a device the program ends and returns A."""
    NLATTR = 12
    """Offset of the netlink attribute of type X, searched for from offset A; 0 without."""
    NLATTR_NEST = 16
    """The same, within the attribute at offset A."""
    MARK = 20
    """The packet's mark, as ``SO_MARK`` and netfilter set it."""
    QUEUE = 24
    """Number of the device's queue."""
    HATYPE = 28
    """Hardware type of the device (ARPHRD_*); without a device as `IFINDEX`."""
    RXHASH = 32
    """Hash of the packet's flow; 0 where none was made."""
    CPU = 36
    """Number of the processor."""
    ALU_XOR_X = 40
    """A ^ X: from before there was an instruction for it."""
    VLAN_TAG = 44
    """Control information of the VLAN tag that is kept beside the packet."""
    VLAN_TAG_PRESENT = 48
    """1 if there is such a tag."""
    PAY_OFFSET = 52
    """Where the payload behind the transport header begins."""
    RANDOM = 56
    """32 random bits."""
    VLAN_TPID = 60
    """EtherType of the VLAN tag beside the packet."""

    @property
    def offset(self) -> int:
        """The offset of the load, unsigned."""
        return ANCILLARY_BASE + self.value


NAMES: dict[Ancillary, str] = {
    Ancillary.PROTOCOL: "proto",
    Ancillary.PKTTYPE: "type",
    Ancillary.IFINDEX: "ifidx",
    Ancillary.NLATTR: "nla",
    Ancillary.NLATTR_NEST: "nlan",
    Ancillary.MARK: "mark",
    Ancillary.QUEUE: "queue",
    Ancillary.HATYPE: "hatype",
    Ancillary.RXHASH: "rxhash",
    Ancillary.CPU: "cpu",
    Ancillary.VLAN_TAG: "vlan_tci",
    Ancillary.VLAN_TAG_PRESENT: "vlan_avail",
    Ancillary.PAY_OFFSET: "poff",
    Ancillary.RANDOM: "rand",
    Ancillary.VLAN_TPID: "vlan_tpid",
}
"""How they are written; `Ancillary.ALU_XOR_X` has no name there, only its offset."""
SPELLINGS: dict[str, Ancillary] = {
    **{name: which for which, name in NAMES.items()},
    "vlan_tag": Ancillary.VLAN_TAG,
    "vlan_pr": Ancillary.VLAN_TAG_PRESENT,
    "ifindex": Ancillary.IFINDEX,
}
"""What is read: the names, and other words in use for them."""
