# SPDX-License-Identifier: Apache-2.0
"""The two rules that every answer to a search keeps, in one place for whoever answers and whoever checks.

PrEstoCloud deliverable, 3.2 ("Router"): *responses MUST NOT have addresses which are, in address space distance,
further from the responding node than the search target, and they MUST NOT have routes which begin with the same
interface as the route to the querying node.*

**Rule one** can be read in two ways, and only one of them does what the text says it is for ("no search will ever go in
circles"):

- ``"closer"`` (the default): a node may be named if it is closer to the *target* than the responder is. Every node that
  is asked because of an answer is then strictly closer to the target than whoever named it; distances are natural
  numbers, so every such chain ends. This is also what cjdns v21.1 checks in an asker (``dht/dhtcore/SearchRunner.c``).
- ``"literal"``: the distance of the node *from the responder* is at most that of the target from the responder. For
  three addresses with metrics 0, 1 and 2, node 0 may name node 1 (1 <= 2) and node 1 may name node 0 (1 <= 3) in a
  search for 2: a chain that follows such answers need not end. A search must then remember whom it asked.

**Rule two** compares interfaces, that is the numbers that the first directors mean, not their bits: one interface has a
director in each form that can hold its number.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import shown

__all__ = [
    "Reading",
    "check_reading",
    "compatible",
    "may_name",
]

Reading: TypeAlias = Literal["closer", "literal"]
"""How rule one is read."""

_OLDEST_AND_NEWEST = (16, 22)
_COMPATIBLE: dict[int, frozenset[int]] = {
    20: frozenset(range(16, 21)),
    21: frozenset((20, 21)),
    22: frozenset((20, 21, 22)),
}
"""For each version the older ones it talks to (cjdns v21.1, ``util/version/Version.h``)."""


def check_reading(reading: str) -> Reading:
    """Return `reading` if it is one; CjdnsMisuseError otherwise."""
    for known in get_args(Reading) if isinstance(reading, str) else ():
        if reading == known:
            return known  # type: ignore[no-any-return]
    raise CjdnsMisuseError(shown(reading), where="reading", expected="'closer' or 'literal'")


def may_name(node: int, responder: int, target: int, reading: Reading = "closer") -> bool:
    """Tell whether rule one lets a responder name a node.

    Parameters
    ----------
    node, responder, target : int
        Metrics (`Address.metric`): XOR of two of them is their distance.
    reading : {"closer", "literal"}
        See the module's text.

    Examples
    --------
    >>> may_name(1, 0, 2, "literal"), may_name(0, 1, 2, "literal"), may_name(1, 0, 2), may_name(0, 1, 2)
    (True, True, False, True)
    """
    if not (isinstance(node, int) and isinstance(responder, int) and isinstance(target, int)):
        raise CjdnsMisuseError("not three metrics", where="may_name", expected="ints, as Address.metric is")
    if not isinstance(reading, str) or reading not in get_args(Reading):
        check_reading(reading)
    if reading == "closer":
        return node ^ target < responder ^ target
    return node ^ responder <= target ^ responder


def compatible(mine: int, theirs: int) -> bool:
    """Tell whether nodes of two protocol versions talk to one another (cjdns v21.1, ``Version_isCompatible``).

    A version above the newest known one counts as compatible with what that one is; 0, a version nobody said, is given
    the benefit of the doubt.

    Examples
    --------
    >>> compatible(21, 20), compatible(21, 19), compatible(20, 16), compatible(21, 40), compatible(21, 0)
    (True, False, True, True, True)
    """
    if not (isinstance(mine, int) and isinstance(theirs, int)):
        raise CjdnsMisuseError("not two versions", where="compatible", expected="ints")
    if not mine or not theirs:
        return True
    newest = _OLDEST_AND_NEWEST[1]
    low, high = sorted((min(mine, newest), min(theirs, newest)))
    return low == high or low in _COMPATIBLE.get(high, frozenset())
