# SPDX-License-Identifier: Apache-2.0
"""Recorded comparisons of distances in address space (xor_metric.json)."""

from __future__ import annotations

from prestocloud_sec.cjdns.keys import Address
from prestocloud_sec.cjdns.routing.metric import closest, compare_metrics, sort_by_distance
from tests.conformance.family import Case, Family


def _address(text: str) -> Address:
    return Address(bytes.fromhex(text))


def _prefix(address: Address) -> str:
    return f"{address.metric >> 96:08x}"


def compare_metric(case: Case, document: Case) -> None:
    op = case["op"]
    if op == "closest":
        assert set(case) == {"id", "op", "target", "a", "b", "prefix_a", "prefix_for_search_target_t", "result"}
        target, a, b = (_address(case[name]) for name in ("target", "a", "b"))
        assert closest(target, a, b) == case["result"]
        assert _prefix(a) == case["prefix_a"]
        assert _prefix(target) == case["prefix_for_search_target_t"]
    elif op == "xorcmp_be32":
        assert set(case) == {"id", "op", "target", "a", "b", "result"}
        target, a, b = (int.from_bytes(bytes.fromhex(case[name]), "big") for name in ("target", "a", "b"))
        assert compare_metrics(target, a, b) == case["result"]
    elif op == "sort":
        assert set(case) == {"id", "op", "target", "nodes", "order"}
        nodes = [_address(text) for text in case["nodes"]]
        assert sort_by_distance(_address(case["target"]), nodes) == [nodes[i] for i in case["order"]]
        assert sorted(case["order"]) == list(range(len(nodes)))
    else:
        raise AssertionError(f"unknown op {op!r}")


FILES = {"xor_metric.json": Family(compare_metric, informational=frozenset({"id"}))}
