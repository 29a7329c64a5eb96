# SPDX-License-Identifier: Apache-2.0
"""Messages between routers: exact, whatever their spelling, and precise about what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import BencodeError, CjdnsMisuseError, MessageError
from prestocloud_sec.cjdns.keys import PublicKey
from prestocloud_sec.cjdns.routing import bencode
from prestocloud_sec.cjdns.routing.messages import (
    FIND_NODE,
    GET_PEERS,
    MAX_MESSAGE,
    PING,
    NodeEntry,
    Query,
    Reply,
    decode_message,
)
from prestocloud_sec.cjdns.switch import F4, V3X5X8
from prestocloud_sec.testing.search import messages, queries

ES = bytes.fromhex("6114458100")


@given(messages())
def test_messages_round_trip(message):
    assert decode_message(message.encode()) == message


@given(messages(), st.data())
def test_any_spelling_round_trips(message, data):
    """Keys in any order, leading zeros, trailing bytes: read, and given back as they came."""
    fields = bencode.decode(message.encode()).value
    order = data.draw(st.permutations(list(fields)))
    widths = data.draw(st.dictionaries(st.integers(0, 9), st.integers(1, 9), max_size=3))
    layout = bencode.Layout(tuple(sorted(widths.items())), data.draw(st.binary(max_size=3)))
    wire = bencode.encode({key: fields[key] for key in order}, layout)
    read = decode_message(wire)
    assert read.encode() == wire
    assert replace(read, spelling=message.spelling) == replace(message, extra=read.extra)
    assert dict(read.extra) == dict(message.extra)


@given(
    st.binary(max_size=100)
    | st.builds(lambda m, at, by: _damaged(m.encode(), at, by), messages(), st.integers(0), st.integers(1, 255))
)
def test_any_bytes_are_a_message_or_a_typed_error(data):
    try:
        message = decode_message(data)
    except (BencodeError, MessageError):
        return
    assert message.encode() == data


def _damaged(wire, at, by):
    at %= len(wire)
    return wire[:at] + bytes([wire[at] ^ by]) + wire[at + 1 :]


def _wire(**changes):
    fields = {"ei": 0, "es": ES, "p": 21, "txid": b"00" + bytes(12)}
    fields.update(changes)
    return bencode.encode({key.encode(): value for key, value in sorted(fields.items()) if value is not None})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"txid": None}, "txid"),
        ({"p": None}, "p"),
        ({"ei": None}, "ei"),
        ({"txid": 1}, "txid"),
        ({"p": b"21"}, "p"),
        ({"p": -1}, "p"),
        ({"p": 1 << 32}, "p"),
        ({"ei": 3}, "ei"),
        ({"ei": -1}, "ei"),
        ({"es": b""}, "es"),
        ({"es": b"\xff" * 5}, "es"),
        ({"es": 5}, "es"),
        ({"es": F4.serialize(), "ei": 1}, "ei"),
        ({"dnd": b"1"}, "dnd"),
        ({"q": 1}, "q"),
        ({"q": b"fn"}, "tar"),
        ({"q": b"fn", "tar": bytes(8)}, "tar"),
        ({"q": b"nh", "tar": bytes(17)}, "tar"),
        ({"q": b"gp", "tar": bytes(9)}, "tar"),
        ({"q": b"gp", "tar": 1}, "tar"),
        ({"n": bytes(39)}, "n"),
        ({"n": 1}, "n"),
        ({"np": b"\x01\x15"}, "np"),
        ({"n": bytes(40), "np": b""}, "np"),
        ({"n": bytes(40), "np": b"\x00"}, "np"),
        ({"n": bytes(40), "np": b"\x01"}, "np"),
        ({"n": bytes(40), "np": b"\x05" + bytes(5)}, "np"),
        ({"n": bytes(40), "np": b"\x01\x15\x15"}, "np"),
        ({"sq": b"gr"}, "sq"),
    ],
)
def test_refusals_name_the_field(changes, field):
    with pytest.raises(MessageError) as caught:
        decode_message(_wire(**changes))
    assert caught.value.where == field


def test_other_refusals():
    with pytest.raises(MessageError, match="dictionary"):
        decode_message(b"li1ee")
    with pytest.raises(MessageError, match=str(MAX_MESSAGE)):
        decode_message(bytes(MAX_MESSAGE + 1))
    with pytest.raises(CjdnsMisuseError):
        decode_message(7)  # type: ignore[arg-type]


def test_fields_of_a_reply():
    key = bytes(range(32))
    wire = _wire(n=key + bytes(7) + b"\x13" + key + bytes.fromhex("0123456789abcdef"), np=b"\x02\x00\x15\x01\x00")
    reply = decode_message(wire)
    assert isinstance(reply, Reply)
    assert reply.nodes == (
        NodeEntry(PublicKey(key), 0x13, 21),
        NodeEntry(PublicKey(key), 0x0123456789ABCDEF, 256),
    )
    assert reply.version == 21
    assert reply.encoding_scheme == V3X5X8
    assert reply.listed


def test_what_is_missing_has_a_default_or_none():
    reply = decode_message(_wire(es=None, dnd=1))
    assert isinstance(reply, Reply)
    assert reply.nodes is None
    assert reply.encoding_scheme is V3X5X8
    assert not reply.listed
    told = decode_message(_wire(n=bytes(40)))  # without np
    assert isinstance(told, Reply)
    assert told.nodes is not None
    assert told.nodes[0].version == 0


def test_the_last_step_of_a_search_is_a_gp_for_an_address():
    query = decode_message(_wire(q=b"gp", tar=bytes(16)))
    assert isinstance(query, Query)
    assert (query.kind, query.target) == (GET_PEERS, bytes(16))


@given(queries())
def test_a_query_is_padded_like_a_live_one(query):
    assert len(query.encode()) % 8 == 0


@pytest.mark.parametrize(
    "message",
    [
        Query(kind=PING, txid="text", version=21),  # type: ignore[arg-type]
        Query(kind=PING, txid=b"", version=1 << 32),
        Query(kind=PING, txid=b"", version=21, form=32),
        Query(kind=FIND_NODE, txid=b"", version=21, extra=((b"q", 1),)),
        Reply(txid=b"", version=21, nodes=(NodeEntry(PublicKey(bytes(32)), 1 << 64, 21),)),
        Reply(txid=b"", version=21, nodes=(NodeEntry(PublicKey(bytes(32)), 1, -1),)),
    ],
)
def test_what_cannot_be_written_is_misuse(message):
    with pytest.raises(CjdnsMisuseError):
        message.encode()
