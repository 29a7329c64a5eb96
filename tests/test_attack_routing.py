# SPDX-License-Identifier: Apache-2.0
"""Messages, tables and lookups of a router refuse what they cannot hold, shortly and in bounded time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing import bencode
from prestocloud_sec.cjdns.routing.messages import NodeEntry, Query, Reply, Spelling
from prestocloud_sec.cjdns.routing.metric import sort_by_distance
from prestocloud_sec.cjdns.routing.nearest import NearestIndex
from prestocloud_sec.cjdns.routing.nodestore import NodeStore
from prestocloud_sec.cjdns.routing.responder import Responder
from prestocloud_sec.cjdns.routing.router import Router
from prestocloud_sec.cjdns.routing.rules import check_reading
from prestocloud_sec.cjdns.routing.search import Search, SearchLimits
from prestocloud_sec.wire import shown

HUGE = 10**5000
OWN, OTHER = Address.parse("fc00::1"), Address.parse("fc00::2")
KEY = PublicKey(bytes(32))
INDEX = NearestIndex.from_addresses([OWN, OTHER])


def reply(**fields: Any) -> bytes:
    return Reply(txid=b"", version=21, **fields).encode()


def router() -> Router:
    return Router(KEY, address_of=lambda _: OWN)


def received(**wrong: Any) -> object:
    rest = {"message": Query(txid=b"", version=21, kind=b"pn"), "address": OTHER, "key": KEY, "label": 0x13, "now": 0.0}
    return router().received(**{**rest, **wrong})


def answer(query: Any, asker: Any) -> object:
    return Responder(NodeStore(OWN), own=OWN).answer(query, asker=asker, path=0x13)


def answered(node: Any) -> object:
    store = NodeStore(OWN)
    store.discover(OTHER, 0x13, key=KEY, version=21, now=0.0)
    search = Search(store, own=OWN, target=Address.parse("fc00::3"))
    asked = search.next()
    assert asked is not None
    assert asked.address == OTHER
    return search.reply((node,), now=0.0)


CALLS: dict[str, Callable[[Any], object]] = {
    "tick": lambda x: router().tick("" if x == 1.5 else x),  # type: ignore[arg-type]
    "search": lambda x: router().search(x, now=0.0),
    "message": lambda x: received(message=x),
    "sender": lambda x: received(address=x),
    "sender's key": lambda x: received(key=x),
    "query": lambda x: answer(x, OTHER),
    "asker": lambda x: answer(Query(txid=b"", version=21, kind=b"pn"), x),
    "own": lambda x: Responder(NodeStore(OWN), own=x),
    "target": lambda x: Search(NodeStore(OWN), own=OWN, target=x),
    "answered nodes": answered,
    "sorted": lambda x: sort_by_distance(OWN, "ab" if isinstance(x, list | str) else x),
    "capacity": lambda x: NodeStore(OWN, capacity=-1 if x is HUGE else x),
    "version": lambda x: NodeStore(OWN).discover(OTHER, 0x13, version=-HUGE if x is HUGE else x, now=0.0),
    "form": lambda x: NodeStore(OWN).discover(OTHER, 0x13, inverse_form=x, now=0.0),
    "now": lambda x: NodeStore(OWN).discover(OTHER, 0x13, now="" if x == 1.5 else x),  # type: ignore[arg-type]
    "latency": lambda x: NodeStore(OWN).reply(0x13, latency="" if x == 1.5 else x, now=0.0),  # type: ignore[arg-type]
    "count": lambda x: NodeStore(OWN).nearest(OWN, -HUGE if x is HUGE else x),
    "k": lambda x: INDEX.nearest_batch(np.zeros((1, 16), np.uint8), x),
    "index": NearestIndex.from_addresses,
    "reading": check_reading,
    "requests": lambda x: SearchLimits(x, 1),
    "requests if found": lambda x: SearchLimits(10, x),
    "value": lambda x: bencode.encode({b"a": {} if isinstance(x, list) else x} if not isinstance(x, list) else None),  # type: ignore[arg-type]
    "layout": lambda x: bencode.encode(1, "" if x is None else x),  # type: ignore[arg-type]
    "width": lambda x: bencode.Layout(((0, x),)),
    "extra": lambda x: reply(extra=x),
    "spelling": lambda x: reply(spelling=x),
    "order": lambda x: reply(spelling=Spelling(order="" if x is None else x)),  # type: ignore[arg-type]
    "version width": lambda x: reply(nodes=(), spelling=Spelling(version_width="" if x is None else x)),  # type: ignore[arg-type]
    "nodes": lambda x: reply(nodes="" if x is None else x),
    "entry": lambda x: reply(nodes=(x,)),
    "entry's key": lambda x: reply(nodes=(NodeEntry(x, 1, 1),)),
    "kind": lambda x: Query(txid=b"", version=21, kind="" if isinstance(x, list) else x).encode(),  # type: ignore[arg-type]
    "scheme": lambda x: Query(txid=b"", version=21, kind=b"", scheme="" if x is None else x).encoding_scheme,  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [None, HUGE, 1.5, "x" * 10**5, [1]], ids=shown)
def test_what_they_cannot_hold_is_misuse(name: str, wrong: Any) -> None:
    with pytest.raises(CjdnsMisuseError) as caught:
        CALLS[name](wrong)
    assert len(str(caught.value)) < 300


def test_lists_that_hold_one_list_many_times_are_not_written_out() -> None:
    value: Any = (1,)
    for _ in range(bencode.MAX_DEPTH - 1):
        value = (value,) * 1000
    with pytest.raises(CjdnsMisuseError):
        bencode.encode(value)
