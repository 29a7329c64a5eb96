# SPDX-License-Identifier: Apache-2.0
"""Where the payload of a packet begins, found as the kernel's flow dissector finds it.

Two stages take turns: one for the EtherType, one for the IP protocol, each a table from number to function. A function
moves on behind its header and says how to go on. At most fifteen headers are followed. What ends well is then followed
by the transport header, whose size comes from a table, TCP's from the packet.

Source: Linux 6.18, ``net/core/flow_dissector.c``, ``__skb_flow_dissect`` with the basic keys, and ``__skb_get_poff``
(behaviour; the tests ask the running kernel the same). Numbers: ``include/uapi/linux/if_ether.h``, ``in.h``,
``ppp_defs.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

__all__ = ["payload_offset"]

_MOST_HEADERS = 15
"""``MAX_FLOW_DISSECT_HDRS``."""
_U16 = 0xFFFF

_IP, _IPV6, _ETHERNET_IN_GRE, _PPP_IN_GRE = 0x0800, 0x86DD, 0x6558, 0x880B
_MPLS, _MPLS_MULTICAST = 0x8847, 0x8848
_TCP, _TCP_SIZE, _TCP_OFFSET = 6, 20, 12
_SIZES = {1: 8, 2: 8, 17: 8, 33: 12, 58: 8, 132: 12, 136: 8}
"""Bytes of transport headers by IP protocol: ICMP, IGMP, UDP, DCCP, ICMPv6, SCTP, UDP-Lite."""


class _Next(Enum):
    """How to go on."""

    GOOD = auto()
    """The packet is understood as far as it is looked into."""
    BAD = auto()
    """It is not."""
    ETHERTYPE = auto()
    """With the function for the new EtherType."""
    PROTOCOL = auto()
    """With the function for the new IP protocol."""
    TRANSPORT = auto()
    """What follows is no header that is looked into."""


class _Walk:
    """The place in the packet, and what is known of it there."""

    def __init__(self, packet: bytes, at: int, ethertype: int, tagged: bool, protocol: int, linear: int) -> None:
        self.packet = packet
        self.at = at
        self.ethertype = ethertype
        self.inner = protocol
        self.tagged = tagged
        self.linear = linear
        self.vlans = 0
        self.protocol = 0
        self.later_fragment = False
        self.headers = 0

    def enter(self, header: bytes, ethertype_at: int) -> _Next:
        """Go on behind a header, with the EtherType that stands in it."""
        self.ethertype = int.from_bytes(header[ethertype_at : ethertype_at + 2], "big")
        self.at += len(header)
        return _Next.ETHERTYPE

    def bytes(self, size: int, further: int = 0) -> bytes | None:
        """Return bytes of the packet from the place on; None if it does not have them."""
        start = self.at + further
        return self.packet[start : start + size] if 0 <= start <= len(self.packet) - size else None

    def allowed(self) -> bool:
        """Count one more header."""
        self.headers += 1
        return self.headers <= _MOST_HEADERS


def payload_offset(
    packet: bytes, *, protocol: int, network_offset: int, vlan_tpid: int | None = None, linear: int | None = None
) -> int:
    """Return the offset of the payload behind the transport header; 0 if the packet is not understood.

    Parameters
    ----------
    packet : bytes
        All of it.
    protocol : int
        The EtherType of what begins at `network_offset`.
    network_offset : int
        Where the network header begins.
    vlan_tpid : int, optional
        The EtherType of a VLAN tag that is kept beside the packet, if there is one.
    linear : int, optional
        Bytes that lie in one piece; all, if not given.
    """
    tagged = vlan_tpid is not None
    first = vlan_tpid if vlan_tpid is not None else protocol
    walk = _Walk(packet, network_offset, first, tagged, protocol, len(packet) if linear is None else linear)
    return _transport(walk) if _dissect(walk) else 0


def _dissect(walk: _Walk) -> bool:
    """Walk to the transport header; tell whether the packet was understood."""
    way = _Next.ETHERTYPE
    while True:
        if way is _Next.ETHERTYPE:
            stage = _ETHERTYPES.get(walk.ethertype)
            way = _Next.BAD if stage is None else stage(walk)
            if way is _Next.TRANSPORT:
                way = _Next.PROTOCOL
                continue
        elif way is _Next.PROTOCOL:
            following = _PROTOCOLS.get(walk.protocol)
            way = _Next.GOOD if following is None else following(walk)
        if way in {_Next.GOOD, _Next.TRANSPORT}:
            return True
        if way is _Next.BAD:
            return False
        if not walk.allowed():
            return True


def _transport(walk: _Walk) -> int:
    offset = min(walk.at & _U16, len(walk.packet) & _U16)
    if walk.later_fragment:
        return offset
    if walk.protocol == _TCP:
        at = offset + _TCP_OFFSET
        return offset + max(_TCP_SIZE, (walk.packet[at] & 0xF0) >> 2) if at < len(walk.packet) else offset
    return offset + _SIZES.get(walk.protocol, 0)


# --- By EtherType.


def _ipv4(walk: _Walk) -> _Next:
    header = walk.bytes(20)
    if header is None or header[0] & 15 < 5:
        return _Next.BAD
    walk.at += (header[0] & 15) * 4
    walk.protocol = header[9]
    fragment = int.from_bytes(header[6:8], "big")
    if fragment & 0x3FFF:
        walk.later_fragment = bool(fragment & 0x1FFF)
        return _Next.GOOD
    return _Next.TRANSPORT


def _ipv6(walk: _Walk) -> _Next:
    header = walk.bytes(40)
    if header is None:
        return _Next.BAD
    walk.at += 40
    walk.protocol = header[6]
    return _Next.TRANSPORT


def _vlan(walk: _Walk) -> _Next:
    walk.vlans += 1
    if walk.vlans == 1 and walk.tagged:  # the tag is kept beside the packet
        walk.ethertype = walk.inner
        return _Next.ETHERTYPE
    header = walk.bytes(4)
    return _Next.BAD if header is None else walk.enter(header, 2)


_PPP = {0x0021: _IP, 0x0057: _IPV6, 0x0281: _MPLS, 0x0283: _MPLS_MULTICAST}
"""EtherTypes by PPP's protocol numbers."""


def _pppoe(walk: _Walk) -> _Next:
    header = walk.bytes(8)
    if header is None or header[:2] != b"\x11\x00":
        return _Next.BAD
    kind = int.from_bytes(header[6:8], "big")
    walk.at += 8
    if kind in _PPP:
        walk.ethertype = _PPP[kind]
        return _Next.ETHERTYPE
    # A number of one byte ("compressed") is no valid one of two; earlier kernels went on behind it.
    return _Next.GOOD if kind & 0x0101 == 0x0001 else _Next.BAD


_BATMAN_VERSION, _BATMAN_UNICAST = 15, 0x40


def _batman(walk: _Walk) -> _Next:
    header = walk.bytes(24)
    if header is None or header[1] != _BATMAN_VERSION or header[0] != _BATMAN_UNICAST:
        return _Next.BAD
    return walk.enter(header, 22)


def _hsr(walk: _Walk) -> _Next:
    header = walk.bytes(6)
    return _Next.BAD if header is None else walk.enter(header, 4)


def _ends(walk: _Walk) -> _Next:  # noqa: ARG001
    return _Next.GOOD


def _mpls(walk: _Walk) -> _Next:
    walk.at += 4
    return _Next.GOOD


def _tipc(walk: _Walk) -> _Next:
    return _Next.BAD if walk.bytes(16) is None else _Next.GOOD


def _fcoe(walk: _Walk) -> _Next:
    if walk.linear - walk.at < 38:
        return _Next.BAD
    walk.at += 38
    return _Next.GOOD


def _ptp(walk: _Walk) -> _Next:
    if walk.bytes(34) is None:
        return _Next.BAD
    walk.at += 34
    return _Next.GOOD


_ETHERTYPES: dict[int, Callable[[_Walk], _Next]] = {
    _IP: _ipv4,
    _IPV6: _ipv6,
    0x8100: _vlan,  # ETH_P_8021Q
    0x88A8: _vlan,  # ETH_P_8021AD
    0x8864: _pppoe,  # ETH_P_PPP_SES
    0x88CA: _tipc,  # ETH_P_TIPC
    _MPLS: _mpls,
    _MPLS_MULTICAST: _mpls,
    0x8906: _fcoe,  # ETH_P_FCOE
    0x0806: _ends,  # ETH_P_ARP
    0x8035: _ends,  # ETH_P_RARP
    0x4305: _batman,  # ETH_P_BATMAN
    0x88F7: _ptp,  # ETH_P_1588
    0x88FB: _hsr,  # ETH_P_PRP
    0x892F: _hsr,  # ETH_P_HSR
    0x8902: _ends,  # ETH_P_CFM
}


# --- By IP protocol.

_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE, _GRE_ACK, _GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x80, 0x7


def _gre(walk: _Walk) -> _Next:
    header = walk.bytes(4)
    if header is None:
        return _Next.BAD
    flags, ethertype = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")
    version = flags & _GRE_VERSION
    if flags & _GRE_ROUTING or version > 1:
        return _Next.GOOD
    walk.ethertype = ethertype
    if version and not (ethertype == _PPP_IN_GRE and flags & _GRE_KEY):
        return _Next.GOOD
    offset = 4 + (4 if flags & _GRE_CHECKSUM else 0)
    if flags & _GRE_KEY:
        if walk.bytes(4, offset) is None:
            return _Next.BAD
        offset += 4
    offset += 4 if flags & _GRE_SEQUENCE else 0
    if version and flags & _GRE_ACK:
        offset += 4
    return _in_gre(walk, version, offset)


def _in_gre(walk: _Walk, version: int, offset: int) -> _Next:
    if version:
        header = walk.bytes(4, offset)
        if header is None:
            return _Next.BAD
        walk.ethertype = {0x0021: _IP, 0x0057: _IPV6}.get(int.from_bytes(header[2:4], "big"), walk.ethertype)
        offset += 4
    elif walk.ethertype == _ETHERNET_IN_GRE:
        header = walk.bytes(14, offset)
        if header is None:
            return _Next.BAD
        walk.ethertype = int.from_bytes(header[12:14], "big")
        offset += 14
    walk.at += offset
    return _Next.ETHERTYPE


def _option(walk: _Walk) -> _Next:
    if walk.ethertype != _IPV6:
        return _Next.GOOD
    header = walk.bytes(2)
    if header is None:
        return _Next.BAD
    walk.protocol = header[0]
    walk.at += (header[1] + 1) << 3
    return _Next.PROTOCOL


def _fragment(walk: _Walk) -> _Next:
    if walk.ethertype != _IPV6:
        return _Next.GOOD
    header = walk.bytes(8)
    if header is None:
        return _Next.BAD
    walk.at += 8
    walk.protocol = header[0]
    walk.later_fragment = bool(int.from_bytes(header[2:4], "big") & 0xFFF8)
    return _Next.GOOD


def _tunnel(ethertype: int) -> Callable[[_Walk], _Next]:
    def enter(walk: _Walk) -> _Next:
        walk.ethertype = ethertype
        return _Next.ETHERTYPE

    return enter


_PROTOCOLS: dict[int, Callable[[_Walk], _Next]] = {
    0: _option,  # hop-by-hop options
    4: _tunnel(_IP),
    41: _tunnel(_IPV6),
    43: _option,  # routing header
    44: _fragment,
    47: _gre,
    60: _option,  # destination options
    137: _tunnel(_MPLS),
}
