# SPDX-License-Identifier: Apache-2.0
"""The comparisons that the recorded half of the cases does not reach: handshakes whose keys are all known."""

from __future__ import annotations

import json
from pathlib import Path

import nacl.bindings as sodium
import pytest
from nacl.hash import sha256

from prestocloud_sec.cjdns.beacon import Beacon, UdpBeacon
from prestocloud_sec.cjdns.control import Ping, Pong
from prestocloud_sec.cjdns.errors import CjdnsError
from prestocloud_sec.cjdns.headers import SwitchHeader
from tests.conformance.cjdns_headers import FILES
from tests.conformance.headers_beacon import compare_beacon, pair_of

VECTORS = Path(__file__).parents[1] / "vectors" / "cjdns"
FRAME = SwitchHeader(0x8000000000000001, label_shift=4).encode() + b"\xff" * 4


def raw_sha256(data: bytes) -> bytes:
    return bytes.fromhex(sha256(data).decode())


def boxed(
    kind: int, password: bytes | None, mine: bytes, hers: bytes, key: bytes, temporary: bytes, text: bytes
) -> str:
    """Seal a handshake packet with PyNaCl alone."""
    if password is None:
        secret, auth = sodium.crypto_box_beforenm(hers, mine), bytes(12)
    else:
        hashed = raw_sha256(password)
        secret = raw_sha256(sodium.crypto_scalarmult(mine, hers) + hashed)
        auth = b"\1" + raw_sha256(hashed)[1:8] + bytes(4)
    nonce = bytes(range(24))
    box = sodium.crypto_box_afternm(temporary + text, nonce, secret)
    return (kind.to_bytes(4, "big") + auth + nonce + key + box).hex()


@pytest.fixture
def document():
    """Two nodes: 0 sends a beacon, 1 says hello with its password, 0 answers with a key packet."""
    nodes = json.loads((VECTORS / "beacon.json").read_text())["nodes"]
    zero, one = (bytes.fromhex(node["private"]) for node in nodes["udp"])
    zero_public, one_public = sodium.crypto_scalarmult_base(zero), sodium.crypto_scalarmult_base(one)
    password = bytes(range(50, 70))
    temporaries = [sodium.crypto_scalarmult_base(bytes([n]) * 32) for n in (3, 4)]
    hello = boxed(0, password, one, zero_public, one_public, temporaries[0], FRAME + Ping(21, b"ping").encode())
    again = boxed(1, None, one, zero_public, one_public, temporaries[0], FRAME + Ping(21, b"ping").encode())
    key = boxed(2, None, zero, temporaries[0], zero_public, temporaries[1], FRAME + Pong(21, b"ping").encode())
    with_password = boxed(3, bytes(20), zero, temporaries[0], zero_public, temporaries[1], b"")
    beacon = UdpBeacon(9000, Beacon(21, password, zero_public))
    ends = [{"dst_ip": f"10.99.0.{2 - n}", "sport": 9000, "dport": 9000, "src": n, "kind": "udp_frame"} for n in (0, 1)]
    cases = [
        {
            "id": 0,
            "kind": "udp_beacon",
            "src": 0,
            "dst_ip": "10.99.0.255",
            "sport": 64512,
            "dport": 64512,
            "payload": beacon.encode().hex(),
            "magic": "fffffffc",
            "version": 0,
            "zero": 0,
            "comm_port": 9000,
            "protocol_version": 21,
            "beacon_password": password.hex(),
            "public_key": zero_public.hex(),
        },
        {"id": 1, **ends[1], "payload": hello},
        {"id": 2, **ends[1], "payload": again},
        {"id": 3, **ends[0], "payload": key},
        {"id": 4, **ends[0], "payload": with_password},
    ]
    return {"nodes": nodes, "cases": cases}


def test_handshakes_whose_keys_are_known_are_opened(document):
    for case in document["cases"]:
        compare_beacon(case, document)
    pair = pair_of(document, "udp")
    hello, again, key, other = (bytes.fromhex(case["payload"]) for case in document["cases"][1:])
    ping, pong = FRAME + Ping(21, b"ping").encode(), FRAME + Pong(21, b"ping").encode()
    assert [pair.open_hello(packet, 1)[2] for packet in (hello, again)] == [ping, ping]
    assert pair.open_key(key, 0)[2] == pong
    assert pair.open_key(other, 0) is None


@pytest.mark.parametrize("number", [0, 1, 2])
def test_then_every_byte_that_is_bound_counts(document, number):
    case = document["cases"][number]
    raw = bytes.fromhex(case["payload"])
    # Another kind is a data packet, another type or lookup one of an unknown password: those stay closed. Type 0 brings
    # filler with it.
    unbound = {0: set(), 1: set(range(12)), 2: set(range(14))}[number]
    for at in set(range(len(raw))) - unbound:
        altered = {**case, "payload": (raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).hex()}
        with pytest.raises((AssertionError, CjdnsError)):
            compare_beacon(altered, document)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("change", [{"op": "no such"}, {"kind": "no such"}])
def test_unknown_operations_fail(name, change):
    document = json.loads((VECTORS / name).read_text())
    case = document["cases"][0]
    if next(iter(change)) in case:
        with pytest.raises(AssertionError, match="unknown"):
            FILES[name].compare({**case, **change}, document)
