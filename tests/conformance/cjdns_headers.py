# SPDX-License-Identifier: Apache-2.0
"""Headers, control frames, checksums, beacons and whole datagrams against what running cjdns nodes made and sent."""

from __future__ import annotations

from prestocloud_sec.cjdns.checksum import checksum_holds, internet_checksum, internet_checksum_reference
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
from prestocloud_sec.cjdns.headers import DataHeader, RouteFlags, RouteHeader, SwitchHeader
from tests.conformance.family import Case, Family
from tests.conformance.headers_beacon import compare_beacon
from tests.conformance.headers_trace import compare_wire_trace, fields_of, ways

ID = frozenset({"id"})


def compare_switch(case: Case) -> SwitchHeader:
    plain = SwitchHeader(
        int(case["label"], 16),
        suppress_errors=case["suppress_errors"],
        version=case["version"],
        label_shift=case["label_shift"],
        traffic_class=int(case["traffic_class"], 16),
    )
    header = plain.with_congestion(case["congestion_set"])
    expected = {"congestion_set", "bytes", "id", "op"}
    assert fields_of(header) == {name: value for name, value in case.items() if name not in expected}
    return header


def compare_data(case: Case) -> DataHeader:
    header = DataHeader(case["content_type"], case["version"])
    decoded = DataHeader.decode(header.encode())
    assert (decoded.flags, decoded.unused) == (0, 0)
    return header


def compare_route(case: Case) -> RouteHeader:
    return RouteHeader(
        public_key=bytes.fromhex(case["public"]),
        switch_header=SwitchHeader.decode(bytes.fromhex(case["switch_header"])),
        version=case["version"],
        flags=RouteFlags(case["flags"]),
        ip6=bytes.fromhex(case["ip6"]),
    )


def compare_headers(case: Case, document: Case) -> None:
    makers = {"switch": compare_switch, "data": compare_data, "route": compare_route}
    assert case["op"] in makers, f"unknown op {case['op']}"
    header = makers[case["op"]](case)  # type: ignore[operator]
    raw = bytes.fromhex(case["bytes"])
    assert header.encode() == raw
    assert type(header).decode(raw) == header


def compare_checksum(case: Case, document: Case) -> None:
    data, expected = bytes.fromhex(case["bytes"]), int(case["checksum"], 16)
    assert len(case["checksum"]) == 4
    assert internet_checksum(data) == internet_checksum_reference(data) == expected
    if len(data) % 2 == 0 and expected != 0xFFFF:
        assert checksum_holds(data + expected.to_bytes(2, "big"))


def _frame(case: Case) -> ControlFrame:
    op, extra = case["op"], bytes.fromhex(case["extra"])
    pings = {"ping": Ping, "pong": Pong}
    key_pings = {"keyping": KeyPing, "keypong": KeyPong}
    snodes = {"getsnode_query": GetSnodeQuery, "getsnode_reply": GetSnodeReply}
    paths = {"rpath_query": RPathQuery, "rpath_reply": RPathReply}
    if op in pings:
        return pings[op](case["version"], extra)
    if op in key_pings:
        return key_pings[op](case["version"], bytes.fromhex(case["key"]), extra)
    if op in snodes:
        key, path = bytes.fromhex(case["snode_key"]), int(case["path_to_snode"], 16)
        return snodes[op](case["version"], case["snode_version"], int(case["kbps"], 16), key, path, extra)
    if op in paths:
        return paths[op](case["version"], int(case["rpath"], 16), extra)
    assert op == "error", f"unknown op {op}"
    cause = SwitchHeader.decode(bytes.fromhex(case["cause_switch_header"]))
    return Error(case["error_type"], cause, int(case["cause_handle"], 16), extra)


def compare_control(case: Case, document: Case) -> None:
    frame, raw = _frame(case), bytes.fromhex(case["bytes"])
    assert frame.encode() == raw
    assert ControlFrame.decode(raw) == frame


def compare_control_live(case: Case, document: Case) -> None:
    raw = bytes.fromhex(case["bytes"])
    frame = ControlFrame.decode(raw)
    assert frame.encode() == raw
    assert case["type"] == frame.TYPE
    assert case["handle"] == "ffffffff"
    header = SwitchHeader.decode(bytes.fromhex(case["switch_header"]))
    assert header.encode().hex() == case["switch_header"]
    assert header.version in (0, 1)
    assert header.traffic_class == 0xFFFF
    if isinstance(frame, Error):  # begins at a switch on the way, and is not to cause another (SwitchCore.c, sendError)
        assert header.congestion in (0, 1)
        assert header.suppress_errors
    else:
        ways(header)
        assert (header.congestion, header.suppress_errors) == (0, False)


FILES = {
    "headers.json": Family(compare_headers, ID),
    "checksum.json": Family(compare_checksum, ID),
    "control.json": Family(compare_control, ID),
    "control_live.json": Family(compare_control_live, ID),
    # The ciphertext of a data packet whose session secret was not recorded claims nothing that can be compared. What
    # its clear header and what beacons and handshakes say is compared all the same.
    "beacon.json": Family(compare_beacon, frozenset({"id", "payload"})),
    "wire_trace.json": Family(compare_wire_trace, frozenset({"id", "t"})),
}
