# SPDX-License-Identifier: Apache-2.0
"""Simulator and topologies refuse wrong arguments with an error of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.simulator import Simulator, topology


def sim() -> Simulator:
    made = Simulator(1)
    made.build([(0, 1), (1, 2)])
    return made


CALLS: dict[str, Callable[[Any], object]] = {
    "seed": Simulator,
    "loss": lambda x: Simulator(1, loss=x),
    "reading": lambda x: Simulator(1, reading=x),
    "capacity": lambda x: Simulator(1, capacity=x),
    "key": lambda x: sim().add_node(key=x),
    "edges": lambda x: sim().build(x),
    "an edge": lambda x: sim().build([x]),
    "warm": Simulator.warm,
    "latency": lambda x: sim().link(0, 2, latency=x),
    "node": lambda x: sim().remove_node(x),
    "lie": lambda x: sim().lie(0, x),
    "target": lambda x: sim().search(0, x),
    "limits": lambda x: sim().search(0, 1, limits=x),
    "until": lambda x: sim().run(until=x),
    "most": lambda x: sim().run(most=x),
    "line": topology.line,
    "fanout": lambda x: topology.tree(5, fanout=x),
    "degree": lambda x: topology.small_world(9, degree=x),
    "rewired": lambda x: topology.small_world(9, rewired=x),
    "degree of regular": lambda x: topology.regular(9, degree=x),
    "links": lambda x: topology.scale_free(9, links=x),
    "degree of geometric": lambda x: topology.geometric(9, degree=x),
    "seed of a shape": lambda x: topology.regular(9, degree=4, seed=x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "wrong", ["x" * 10**5, [1], {}, object(), 1j], ids=["text", "list", "dict", "object", "complex"]
)
def test_wrong_arguments_are_misuse(name: str, wrong: Any) -> None:
    if wrong == {} and name in ("edges", "warm"):
        wrong = 7
    with pytest.raises(CjdnsMisuseError) as caught:
        CALLS[name](wrong)
    assert len(str(caught.value)) < 300
