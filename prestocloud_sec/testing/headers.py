# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of cjdns headers, control frames, beacons and IPv6 packets.

>>> from hypothesis import find
>>> find(control_frames(), lambda frame: frame.TYPE == 3)
Ping(version=0, opaque=b'')
"""

from __future__ import annotations

from hypothesis import strategies as st

from prestocloud_sec.cjdns.beacon import Beacon, EthernetFrame, EthernetPayload, UdpBeacon
from prestocloud_sec.cjdns.constants import ErrorType
from prestocloud_sec.cjdns.control import (
    ControlFrame,
    Error,
    GetSnodeQuery,
    GetSnodeReply,
    KeyPing,
    KeyPong,
    Ping,
    Pong,
    RPathQuery,
    RPathReply,
)
from prestocloud_sec.cjdns.headers import ContentType, DataHeader, RouteFlags, RouteHeader, SwitchHeader
from prestocloud_sec.cjdns.ipv6 import IPv6Header, upper_layer_checksum

__all__ = [
    "beacons",
    "control_frames",
    "data_headers",
    "ethernet_frames",
    "ethernet_payloads",
    "ipv6_headers",
    "ipv6_packets",
    "route_headers",
    "switch_headers",
    "udp_beacons",
    "udp_packets",
]

_U8, _U16, _U32, _U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))


def _raw(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def switch_headers() -> st.SearchStrategy[SwitchHeader]:
    """Return a strategy of every possible switch header, also those no node of today would send."""
    return st.builds(
        SwitchHeader,
        label=_U64,
        congestion=st.integers(0, 127),
        suppress_errors=st.booleans(),
        version=st.integers(0, 3),
        label_shift=st.integers(0, 63),
        traffic_class=_U16,
    )


def data_headers(*, canonical: bool = False) -> st.SearchStrategy[DataHeader]:
    """Return a strategy of data headers; `canonical` ones have version 1 and unused bits 0."""
    types = st.sampled_from(ContentType) | _U16
    if canonical:
        return st.builds(DataHeader, types)
    return st.builds(DataHeader, types, st.integers(0, 15), st.integers(0, 15), _U8)


def route_headers() -> st.SearchStrategy[RouteHeader]:
    """Return a strategy of every possible route header."""
    return st.builds(
        RouteHeader,
        public_key=_raw(32),
        switch_header=switch_headers(),
        version=_U32,
        flags=st.builds(RouteFlags, _U8),
        ip6=_raw(16),
        unused=_raw(3),
    )


def control_frames(*, max_extra: int = 64) -> st.SearchStrategy[ControlFrame]:
    """Return a strategy of control frames of all types, with up to `max_extra` bytes after the fixed fields.

    Key pings and pongs never have more than 64 such bytes, pings and pongs never more than 256.
    """
    free = st.binary(max_size=max_extra)
    ping, key_ping = st.binary(max_size=min(max_extra, 256)), st.binary(max_size=min(max_extra, 64))
    return st.one_of(
        st.builds(Ping, _U32, ping),
        st.builds(Pong, _U32, ping),
        st.builds(KeyPing, _U32, _raw(32), key_ping),
        st.builds(KeyPong, _U32, _raw(32), key_ping),
        st.builds(Error, st.sampled_from(ErrorType) | _U32, switch_headers(), _U32, free),
        st.builds(GetSnodeQuery, _U32, _U32, _U32, _raw(32), _U64, free),
        st.builds(GetSnodeReply, _U32, _U32, _U32, _raw(32), _U64, free),
        st.builds(RPathQuery, _U32, _U64, free),
        st.builds(RPathReply, _U32, _U64, free),
    )


def beacons(*, max_more: int = 0) -> st.SearchStrategy[Beacon]:
    """Return a strategy of beacons, with up to `max_more` bytes after them. Their keys are any 32 bytes."""
    return st.builds(Beacon, _U32, _raw(20), _raw(32), st.binary(max_size=max_more))


def udp_beacons(*, max_more: int = 0) -> st.SearchStrategy[UdpBeacon]:
    """Return a strategy of beacons as UDP carries them."""
    return st.builds(UdpBeacon, _U16, beacons(max_more=max_more))


def ethernet_payloads(*, max_content: int = 128, max_padding: int = 46) -> st.SearchStrategy[EthernetPayload]:
    """Return a strategy of what cjdns frames carry after their Ethernet type, padded or not."""
    return st.builds(EthernetPayload, st.binary(max_size=max_content), _U8, st.binary(max_size=max_padding))


def ethernet_frames(*, max_content: int = 128, max_padding: int = 46) -> st.SearchStrategy[EthernetFrame]:
    """Return a strategy of whole cjdns Ethernet frames."""
    payloads = ethernet_payloads(max_content=max_content, max_padding=max_padding)
    return st.builds(EthernetFrame, _raw(6), _raw(6), payloads)


def ipv6_headers() -> st.SearchStrategy[IPv6Header]:
    """Return a strategy of every possible IPv6 header."""
    return st.builds(
        IPv6Header,
        source=_raw(16),
        destination=_raw(16),
        next_header=_U8,
        payload_length=_U16,
        hop_limit=_U8,
        traffic_class=_U8,
        flow_label=st.integers(0, (1 << 20) - 1),
    )


def _mesh_address() -> st.SearchStrategy[bytes]:
    return _raw(15).map(lambda rest: b"\xfc" + rest)


@st.composite
def ipv6_packets(draw: st.DrawFn, *, max_payload: int = 128) -> bytes:
    """Draw an IPv6 packet between two addresses in fc00::/8, its length right, its payload any bytes."""
    payload = draw(st.binary(max_size=max_payload))
    header = IPv6Header(draw(_mesh_address()), draw(_mesh_address()), draw(_U8), len(payload), draw(_U8))
    return header.encode() + payload


@st.composite
def udp_packets(draw: st.DrawFn, *, max_payload: int = 128) -> bytes:
    """Draw an IPv6 packet with a UDP datagram whose checksum is right, between two addresses in fc00::/8."""
    source, destination = draw(_mesh_address()), draw(_mesh_address())
    payload = draw(st.binary(max_size=max_payload))
    ports, length = draw(_raw(4)), (8 + len(payload)).to_bytes(2, "big")
    checksum = upper_layer_checksum(source, destination, 17, ports + length + bytes(2) + payload)
    segment = ports + length + checksum.to_bytes(2, "big") + payload
    return IPv6Header(source, destination, 17, len(segment), 64).encode() + segment
