# SPDX-License-Identifier: Apache-2.0
"""``beacon.json``: beacons, and the frames of two nodes that found each other by them, over UDP and over Ethernet.

The temporary keys of these nodes were not recorded, so their data packets stay closed; of those only the clear header
is compared. A hello opens when the beacon that gave its password is among the cases, a key packet when such a hello is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from prestocloud_sec.cjdns.beacon import BEACON_PORT, ETHERTYPE, Beacon, EthernetFrame, UdpBeacon, is_udp_beacon
from prestocloud_sec.cjdns.control import ControlFrame
from prestocloud_sec.cjdns.cryptoauth.auth import AuthType, Credentials
from prestocloud_sec.cjdns.cryptoauth.handshake import HANDSHAKE_SIZE, HandshakeHeader, open_box, seal
from prestocloud_sec.cjdns.cryptoauth.secrets import PairSecret
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey
from prestocloud_sec.cjdns.layers import decode_layers
from tests.conformance.family import Case

RUN_SIZE = 20
KEY, REPEAT_KEY = 2, 3


@dataclass
class Pair:
    """Two nodes on one link, and what their recorded cases say about them."""

    private: list[PrivateKey]
    passwords: dict[int, set[bytes]] = field(default_factory=lambda: {0: set(), 1: set()})
    ends: dict[int, Counter[tuple[Any, ...]]] = field(default_factory=lambda: {0: Counter(), 1: Counter()})
    hello_keys: dict[int, set[bytes]] = field(default_factory=lambda: {0: set(), 1: set()})

    def usual(self, source: int) -> tuple[Any, ...]:
        """Return what the frames of one node carry as the addresses of their link."""
        return self.ends[source].most_common(1)[0][0]

    def _password_secrets(self, header: HandshakeHeader, source: int) -> list[bytes | None]:
        """Return what a handshake mixes into its secret: nothing, or the password in a beacon of the other node."""
        if header.auth.type == AuthType.NONE:
            return [None]
        offered = [Credentials.of(password) for password in self.passwords[1 - source]]
        return [known.secret for known in offered if known.matched == header.auth.matched]

    def open_hello(self, packet: bytes, source: int) -> tuple[bytes, bytes, bytes] | None:
        """Return secret, temporary key and payload of a hello whose password was recorded; None for the others."""
        header = HandshakeHeader.decode(packet[:HANDSHAKE_SIZE])
        for password in self._password_secrets(header, source):
            secret = PairSecret().get(self.private[source].raw, self.private[1 - source].public.raw, password)
            opened = open_box(packet, secret)
            assert opened is not None, "a hello whose password is known does not open"
            return secret, *opened
        return None

    def open_key(self, packet: bytes, source: int) -> tuple[bytes, bytes, bytes] | None:
        """Return the same of a key packet that answers a hello that was opened; None for the others."""
        header = HandshakeHeader.decode(packet[:HANDSHAKE_SIZE])
        for password in self._password_secrets(header, source):
            for key in self.hello_keys[1 - source]:
                secret = PairSecret().get(self.private[source].raw, key, password)
                opened = open_box(packet, secret)
                if opened is not None:
                    return secret, *opened
        return None


def _packet_of(case: Case) -> bytes:
    return bytes.fromhex(case["payload" if case["kind"] == "udp_frame" else "content"])


def _link_of(case: Case) -> tuple[Any, ...]:
    if case["kind"] == "udp_frame":
        return case["dst_ip"], case["sport"], case["dport"]
    return case["frame"][:12], case["frame"][12:24]


def _make(document: Case, link: str) -> Pair:
    pair = Pair([PrivateKey(bytes.fromhex(node["private"])) for node in document["nodes"][link]])
    for private, node in zip(pair.private, document["nodes"][link], strict=True):
        assert private.public == PublicKey.parse(node["public_k"])
        assert str(private.address) == node["ip6_str"]
    cases = [case for case in document["cases"] if case["kind"].startswith(link)]
    for case in cases:
        if case["kind"].endswith("beacon"):
            pair.passwords[case["src"]].add(bytes.fromhex(case["beacon_password"]))
        else:
            pair.ends[case["src"]][_link_of(case)] += 1
    for case in cases:
        packet = _packet_of(case) if case["kind"].endswith("frame") else b""
        if packet[:4] in (b"\0\0\0\0", b"\0\0\0\1"):
            opened = pair.open_hello(packet, case["src"])
            if opened is not None:
                pair.hello_keys[case["src"]].add(opened[1])
    return pair


_PAIRS: list[tuple[Case, str, Pair]] = []


def pair_of(document: Case, link: str) -> Pair:
    """Return what the cases of one kind of link say about its two nodes, collected once per document."""
    for known, name, pair in _PAIRS:
        if known is document and name == link:
            return pair
    del _PAIRS[:-5]
    _PAIRS.append((document, link, _make(document, link)))
    return _PAIRS[-1][2]


def _compare_packet(packet: bytes, source: int, pair: Pair) -> None:
    """Compare a packet of the session of two neighbours as far as the cases allow."""
    kind = int.from_bytes(packet[:4], "big")
    assert not [layer.problem for layer in decode_layers(packet) if layer.problem]
    if kind > REPEAT_KEY:
        assert len(packet) > RUN_SIZE + SwitchHeader.SIZE
        return
    header = HandshakeHeader.decode(packet[:HANDSHAKE_SIZE])
    public = pair.private[source].public.raw
    assert header.kind == kind
    assert header.encode() == packet[:HANDSHAKE_SIZE]
    assert header.public_key == public
    assert header.auth.additional == 0
    assert not header.auth.authenticate
    assert header.auth.type in (AuthType.NONE, AuthType.PASSWORD)
    assert header.auth.type == AuthType.NONE or header.auth.derivations == 0
    opened = (pair.open_key if kind in (KEY, REPEAT_KEY) else pair.open_hello)(packet, source)
    if opened is not None:
        secret, temporary, payload = opened
        assert seal(kind, header.auth.encode(), header.nonce, public, temporary, payload, secret) == packet
        switch, rest = SwitchHeader.split(payload)
        assert switch.encode() == payload[: SwitchHeader.SIZE]
        if rest[:4] == b"\xff" * 4:
            assert ControlFrame.decode(rest[4:]).encode() == bytes(rest[4:])


def _compare_beacon(case: Case, beacon: Beacon, pair: Pair) -> None:
    assert beacon.version == case["protocol_version"]
    assert beacon.password.hex() == case["beacon_password"]
    assert beacon.public_key.hex() == case["public_key"] == pair.private[case["src"]].public.hex


def compare_udp_beacon(case: Case, document: Case) -> None:
    pair = pair_of(document, "udp")
    raw = bytes.fromhex(case["payload"])
    assert is_udp_beacon(raw)
    beacon = UdpBeacon.decode(raw)
    assert UdpBeacon(case["comm_port"], beacon.beacon) == beacon
    assert beacon.encode() == raw
    assert raw[:4].hex() == case["magic"]
    assert (raw[4], raw[5]) == (case["version"], case["zero"])
    assert beacon.beacon.more == b""
    _compare_beacon(case, beacon.beacon, pair)
    assert case["sport"] == case["dport"] == BEACON_PORT
    if pair.ends[case["src"]]:
        peer, port, _ = pair.usual(case["src"])
        assert port == beacon.comm_port
        assert case["dst_ip"] == f"{peer.rpartition('.')[0]}.255"


def compare_udp_frame(case: Case, document: Case) -> None:
    pair = pair_of(document, "udp")
    assert (case["dst_ip"], case["sport"], case["dport"]) == pair.usual(case["src"])
    packet = _packet_of(case)
    assert not is_udp_beacon(packet)
    _compare_packet(packet, case["src"], pair)


def _compare_ethernet(case: Case, pair: Pair) -> EthernetFrame:
    raw = bytes.fromhex(case["frame"])
    frame = EthernetFrame.decode(raw)
    assert frame.encode() == raw
    assert f"{ETHERTYPE:04x}" == raw[12:14].hex() == case["ethertype"]
    assert f"{ETHERTYPE:04x}" == raw[18:20].hex() == case["magic"]
    assert (raw[14], frame.payload.zero) == (case["eth_version"], case["zero"])
    assert frame.payload.length == case["length_field"]
    assert frame.payload.content.hex() == case["content"]
    assert not frame.payload.padding
    destination, source = pair.usual(case["src"])
    assert frame.source.hex() == source
    assert frame.destination.hex() == ("f" * 12 if frame.is_broadcast else destination)
    return frame


def compare_eth_beacon(case: Case, document: Case) -> None:
    pair = pair_of(document, "eth")
    frame = _compare_ethernet(case, pair)
    assert frame.is_broadcast
    beacon = Beacon.decode(frame.payload.content)
    assert beacon.encode() == frame.payload.content
    _compare_beacon(case, beacon, pair)


def compare_eth_frame(case: Case, document: Case) -> None:
    pair = pair_of(document, "eth")
    frame = _compare_ethernet(case, pair)
    assert not frame.is_broadcast
    _compare_packet(frame.payload.content, case["src"], pair)


def compare_beacon(case: Case, document: Case) -> None:
    compare = {
        "udp_beacon": compare_udp_beacon,
        "udp_frame": compare_udp_frame,
        "eth_beacon": compare_eth_beacon,
        "eth_frame": compare_eth_frame,
    }
    assert case["kind"] in compare, f"unknown kind {case['kind']}"
    compare[case["kind"]](case, document)
