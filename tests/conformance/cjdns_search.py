# SPDX-License-Identifier: Apache-2.0
"""Messages of the DHT as live nodes sent them."""

from __future__ import annotations

from prestocloud_sec.cjdns.routing import bencode
from prestocloud_sec.cjdns.routing.messages import Query, Reply, decode_message
from tests.conformance.family import Case, Family


def _decoded(message: Query | Reply) -> Case:
    """Every field of a message, in the form the recordings have it: from our typed fields, not from the dictionary."""
    fields: Case = {"txid": message.txid.hex(), "p": message.version, "ei": message.form}
    if message.scheme is not None:
        fields["es"] = message.scheme.hex()
    if message.dnd is not None:
        fields["dnd"] = message.dnd
    if isinstance(message, Query):
        fields["q"] = message.kind.hex()
        if message.target is not None:
            fields["tar"] = message.target.hex()
    elif message.nodes is not None:
        fields["n"] = "".join(f"{entry.key.raw.hex()}{entry.label:016x}" for entry in message.nodes)
        width = message.spelling.version_width or max((e.version.bit_length() + 7) // 8 for e in message.nodes) or 1
        fields["np"] = f"{width:02x}" + "".join(f"{entry.version:0{2 * width}x}" for entry in message.nodes)
    for key, value in message.extra:
        fields[key.decode()] = value.hex() if isinstance(value, bytes) else value
    return fields


def compare_message(case: Case, document: Case) -> None:
    wire = bytes.fromhex(case["bytes"])
    message = decode_message(wire)
    assert message.encode() == wire
    assert _decoded(message) == case["decoded"]
    assert message.spelling.layout.trailing.hex() == case["trailing"]
    assert (message.kind.decode() if isinstance(message, Query) else None) == case["query"]
    # What was recorded, written again without knowing how it was spelt, is what a C node wrote.
    fields = {
        key.encode(): bytes.fromhex(value) if isinstance(value, str) else value
        for key, value in case["decoded"].items()
    }
    assert bencode.encode(dict(sorted(fields.items()))) + bytes.fromhex(case["trailing"]) == wire


FILES = {"dht_messages.json": Family(compare_message, informational=frozenset({"id", "seen_on_link", "src_hop"}))}
