# SPDX-License-Identifier: Apache-2.0
"""``wire_trace.json``: every frame on the links of a line of running nodes, opened, taken apart, and sealed again.

A hello opens with the sender's permanent key and the receiver's; a data packet with the recorded secret of its session.
A key packet opens with the sender's permanent key and the *temporary* key in the receiver's hello, which may not be
among the recorded frames. Where it is (then both temporary keys together make a recorded session secret), the packet
must open; where not, everything but its ciphertext is compared.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import nacl.bindings as sodium

from prestocloud_sec.cjdns.control import ControlFrame, Error
from prestocloud_sec.cjdns.cryptoauth.auth import Credentials
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher
from prestocloud_sec.cjdns.cryptoauth.handshake import HANDSHAKE_SIZE, HandshakeHeader, open_box, seal
from prestocloud_sec.cjdns.cryptoauth.secrets import PairSecret, plain_secret
from prestocloud_sec.cjdns.headers import IP6_CONTENT_MAX, DataHeader, SwitchHeader, datagram_overhead
from prestocloud_sec.cjdns.ipv6 import rebuild_header, split_packet, upper_layer_checksum_holds
from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey
from prestocloud_sec.cjdns.layers import decode_layers
from prestocloud_sec.cjdns.switch import V3X5X8, RouteLabel
from tests.conformance.family import Case

KINDS = {0: "hello", 1: "repeat_hello", 2: "key", 3: "repeat_key"}
CHECKSUMMED = {6, 17, 58}
SELF = 1


def fields_of(header: SwitchHeader) -> Case:
    """Return a switch header as the recorded files write it."""
    return {
        **asdict(header),
        "label": f"{header.label:016x}",
        "suppress_errors": int(header.suppress_errors),
        "traffic_class": f"{header.traffic_class:04x}",
    }


def way(label: int) -> list[tuple[int, int]]:
    """Return interface and width of every director up to the one that means "this router", which is included."""
    found: list[tuple[int, int]] = []
    while not found or found[-1][0] != SELF:
        width = V3X5X8.width_of(label)
        found.append((V3X5X8.numbers.decompress(label), width))
        assert label != 0, "the label ends before it arrives"
        label >>= width
    assert label == 0, "bits are left behind the last director"
    return found


def ways(header: SwitchHeader) -> tuple[list[int], list[int]]:
    """Return the interfaces still ahead of a frame, and those on its way back; their bits fill the label exactly."""
    behind = RouteLabel(header.label).reversed() & ((1 << header.label_shift) - 1)
    back = way(behind)
    assert sum(width for _, width in back) == header.label_shift
    ahead = way(header.label & ((1 << (64 - header.label_shift)) - 1))
    return [interface for interface, _ in ahead], [interface for interface, _ in back]


def signature(packet: bytes) -> bytes:
    """Return what is the same in all IPv6 packets of a flow but for the addresses: the header without its length."""
    return packet[:4] + packet[6:8]


@dataclass
class Trace:
    """What the frames of one document have in common."""

    private: list[PrivateKey]
    neighbours: list[dict[int, int]]
    credentials: dict[tuple[int, int], Credentials]
    hellos: dict[tuple[str, int, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    secrets: dict[tuple[str, frozenset[int]], set[str]] = field(default_factory=lambda: defaultdict(set))
    flows: dict[tuple[str, bytes], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    link_locals: dict[bytes, set[int]] = field(default_factory=lambda: defaultdict(set))

    def endpoints(self, header: SwitchHeader, source: int, destination: int) -> tuple[int, int]:
        """Follow a label both ways from the link it was seen on: who sent the frame, and who is to have it."""
        ahead, back = ways(header)
        for interface in back[:-1]:
            source = self.neighbours[source][interface]
        for interface in ahead[:-1]:
            destination = self.neighbours[destination][interface]
        return source, destination

    def hello_keys(self, role: str, sender: int, receiver: int, temporary: bytes) -> list[bytes]:
        """Return the temporary keys of the receiver's hellos that a key packet with `temporary` answers."""
        known = self.secrets[role, frozenset((sender, receiver))]
        offered = [bytes.fromhex(key) for key in self.hellos[role, receiver, sender]]
        return [key for key in offered if plain_secret(temporary, key).hex() in known]


def _make(document: Case) -> Trace:
    nodes = document["nodes"]
    private = [PrivateKey(bytes.fromhex(node["private"])) for node in nodes]
    index = {key.public: at for at, key in enumerate(private)}
    credentials: dict[tuple[int, int], Credentials] = {}
    configured: list[list[int]] = []
    for at, node in enumerate(nodes):
        assert private[at].public.hex == node["public"]
        assert private[at].public.text == node["key"]
        assert str(private[at].address) == node["ip6_str"]
        configured.append([])
        for peer in node["connect_to"].values():
            other = index[PublicKey.parse(peer["publicKey"])]
            configured[-1].append(other)
            login = peer["login"].encode() if "login" in peer else None
            credentials[at, other] = Credentials.of(peer["password"].encode(), login)
    neighbours = []
    for at, own in enumerate(configured):
        callers = [other for other in range(len(nodes)) if at in configured[other] and other not in own]
        free = (slot for slot in range(257) if slot != SELF)  # configured peers get their slots at start
        neighbours.append(dict(zip(free, own + callers, strict=False)))
    trace = Trace(private, neighbours, credentials)
    for case in document["cases"]:
        _collect(trace, case)
    return trace


def _collect(trace: Trace, case: Case) -> None:
    if case["kind"] == "tun":
        packet = bytes.fromhex(case["ip6"])
        trace.flows[case["dir"], packet[8:41]].add(signature(packet))
        if case["dir"] == "to_cjdns":
            trace.link_locals[packet[8:24]].add(case["node"])
        return
    ends = {"outer": (case["src"], case["dst"]), "inner": (case.get("inner_from"), case.get("inner_to"))}
    for role, (sender, receiver) in ends.items():
        record = case.get(role, {})
        if record.get("type") == "data":
            pair = case["inner_pair"] if role == "inner" else (sender, receiver)
            trace.secrets[role, frozenset(pair)].add(record["session_secret"])
        elif record.get("type") in ("hello", "repeat_hello"):
            trace.hellos[role, sender, receiver].add(record["temp_public"])


_TRACES: list[tuple[Case, Trace]] = []


def trace_of(document: Case) -> Trace:
    """Return what was collected from a document, once per document."""
    for known, trace in _TRACES:
        if known is document:
            return trace
    del _TRACES[:-3]
    _TRACES.append((document, _make(document)))
    return _TRACES[-1][1]


def _compare_data(record: Case, packet: bytes) -> None:
    assert set(record) == {"nonce", "type", "sent_by_initiator", "session_secret", "plaintext"}
    assert record["sent_by_initiator"] in (0, 1)
    secret, plaintext = bytes.fromhex(record["session_secret"]), bytes.fromhex(record["plaintext"])
    by_initiator = bool(record["sent_by_initiator"])
    assert DataCipher(secret, initiator=not by_initiator).open(packet) == plaintext
    assert DataCipher(secret, initiator=by_initiator).seal(record["nonce"], plaintext) == packet


def _compare_handshake(trace: Trace, role: str, record: Case, packet: bytes, sender: int, receiver: int) -> None:
    expected = {"nonce", "type", "auth", "handshake_nonce", "permanent_public", "temp_public", "temp_private"}
    assert set(record) == expected | {"password_hash", "plaintext"}
    header = HandshakeHeader.decode(packet[:HANDSHAKE_SIZE])
    public = trace.private[sender].public.raw
    assert header.kind == record["nonce"]
    assert header.auth.encode().hex() == record["auth"]
    assert header.nonce.hex() == record["handshake_nonce"]
    assert header.public_key.hex() == record["permanent_public"] == public.hex()
    temporary, temp_public = bytes.fromhex(record["temp_private"]), bytes.fromhex(record["temp_public"])
    assert sodium.crypto_scalarmult_base(temporary) == temp_public
    password = None if record["password_hash"] is None else bytes.fromhex(record["password_hash"])
    if password is None:
        assert header.auth.type == 0
    else:
        credentials = trace.credentials[sender, receiver]
        assert credentials.secret == password
        assert credentials.matched == header.auth.matched
    plaintext = bytes.fromhex(record["plaintext"])
    assert len(packet) == HANDSHAKE_SIZE + len(plaintext)
    if record["type"] in ("hello", "repeat_hello"):
        theirs = [trace.private[receiver].public.raw]
    else:
        theirs = trace.hello_keys(role, sender, receiver, temporary)
    for key in theirs:
        secret = PairSecret().get(trace.private[sender].raw, key, password)
        assert open_box(packet, secret) == (temp_public, plaintext)
        auth = header.auth.encode()
        assert seal(record["nonce"], auth, header.nonce, public, temp_public, plaintext, secret) == packet


def _compare_packet(trace: Trace, role: str, record: Case, packet: bytes, sender: int, receiver: int) -> bool:
    """Compare one CryptoAuth packet; return whether it is a handshake."""
    nonce = int.from_bytes(packet[:4], "big")
    assert record["nonce"] == nonce
    assert record["type"] == KINDS.get(nonce, "data")
    if nonce in KINDS:
        _compare_handshake(trace, role, record, packet, sender, receiver)
    else:
        _compare_data(record, packet)
    return nonce in KINDS


def compare_udp(case: Case, trace: Trace) -> None:
    assert {case["src"], case["dst"]} == {case["link"], case["link"] + 1} <= set(range(len(trace.private)))
    wire = bytes.fromhex(case["wire"])
    outer_handshake = _compare_packet(trace, "outer", case["outer"], wire, case["src"], case["dst"])
    frame = bytes.fromhex(case["outer"]["plaintext"])
    header, rest = SwitchHeader.split(frame)
    assert fields_of(header) == case["switch_header"]
    assert header.encode() == frame[: SwitchHeader.SIZE]
    inner = None
    if rest[:4] == b"\xff" * 4:
        control = ControlFrame.decode(rest[4:])
        if not isinstance(control, Error):  # those begin at a switch on the way, with a label that came from elsewhere
            trace.endpoints(header, case["src"], case["dst"])
        assert "inner" not in case
        assert case["control"] == {"type": control.TYPE, "bytes": control.encode().hex()}
    else:
        assert "control" not in case
        inner = bytes.fromhex(case["inner"]["plaintext"])
        ends = trace.endpoints(header, case["src"], case["dst"])
        overhead = _compare_inner(case, trace, bytes(rest), inner, ends, outer_handshake)
        assert len(wire) == overhead + len(bytes.fromhex(case["payload"]))
    layers = decode_layers(wire, outer=frame, inner=inner)
    assert not [layer.problem for layer in layers if layer.problem]
    assert [layer.value for layer in layers if layer.name == "switch header"] == [header]


def _compare_inner(
    case: Case, trace: Trace, rest: bytes, inner: bytes, ends: tuple[int, int], outer_handshake: bool
) -> int:
    """Compare what is inside a frame that is not a control frame; return the bytes it all adds to the payload."""
    handle = int.from_bytes(rest[:4], "big")
    if handle in KINDS:
        assert "handle" not in case
        assert (case["inner_from"], case["inner_to"]) == ends
        handshake, packet = True, rest
        assert int.from_bytes(inner[:4], "big") == case["handle_offered"]
        content = inner[4:]
    else:
        assert "handle_offered" not in case
        assert sorted(case["inner_pair"]) == sorted(ends)
        assert handle == case["handle"]
        handshake, packet = False, rest[4:]
        content = inner
    assert _compare_packet(trace, "inner", case["inner"], packet, *ends) is handshake
    data, payload = DataHeader.split(content)
    assert data.encode().hex() == case["data_header"]
    assert (data.version, data.flags, data.unused) == (1, 0, 0)
    assert data.content_type == case["content_type"]
    assert bytes(payload).hex() == case["payload"]
    if data.content_type in CHECKSUMMED:
        source, destination = (trace.private[end].address for end in ends)
        assert upper_layer_checksum_holds(source, destination, data.content_type, payload)
    return datagram_overhead(outer_handshake=outer_handshake, inner_handshake=handshake)


def compare_tun(case: Case, trace: Trace) -> None:
    packet = bytes.fromhex(case["ip6"])
    header, payload = split_packet(packet)
    assert header.encode() + bytes(payload) == packet
    assert header.next_header <= IP6_CONTENT_MAX
    # All packets of a flow have the same label, class and hop limit (RFC 6437, section 3; the kernel's own choice)
    assert trace.flows[case["dir"], packet[8:41]] == {signature(packet)}
    own = trace.private[case["node"]].address.packed
    known = {key.address.packed for key in trace.private}
    if header.next_header in CHECKSUMMED:
        assert upper_layer_checksum_holds(header.source, header.destination, header.next_header, payload)
    if case["dir"] == "from_cjdns":
        assert header.destination == own
        assert header.source in known
        assert packet[:40] == rebuild_header(header.source, own, header.next_header, len(payload))
        return
    assert case["dir"] == "to_cjdns"
    if header.destination[0] == 0xFC:
        assert header.source == own
        assert header.destination in known
    else:  # the kernel looks for routers on every new interface; cjdns drops it
        assert header.source[:2] == b"\xfe\x80" or not any(header.source)
        assert header.destination[:2] == b"\xff\x02"
        assert not any(header.source) or trace.link_locals[header.source] == {case["node"]}


def compare_wire_trace(case: Case, document: Case) -> None:
    compare: dict[str, Any] = {"udp": compare_udp, "tun": compare_tun}
    assert case["kind"] in compare, f"unknown kind {case['kind']}"
    compare[case["kind"]](case, trace_of(document))
