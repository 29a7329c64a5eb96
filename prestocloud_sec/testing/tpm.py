# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of TPM 2.0: any structure, command or response, made from its declaration; and broken bytes.

>>> from hypothesis import find
>>> from prestocloud_sec.tpm.spec import TPMS_ECC_POINT
>>> find(values(TPMS_ECC_POINT), lambda point: len(point.x) == 2)
TPMS_ECC_POINT(x=bytes.fromhex('0000'), y=b'')
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Kind, Nested, Scalar, layout_of
from prestocloud_sec.tpm.spec.commands import COMMANDS_BY_NAME
from prestocloud_sec.tpm.spec.declare import Command, Declared

__all__ = ["broken", "commands", "responses", "values"]

D = TypeVar("D", bound=Declared)

LONGEST = 40
"""Bytes in a generated buffer, where more are allowed; now and then one is as long as it may be."""
MOST_ELEMENTS = 4


def values(kind: type[D]) -> st.SearchStrategy[D]:
    """Return a strategy of the values of a structure, a command or a response: whatever its declaration allows.

    Parameters
    ----------
    kind : type
        The declared class.
    """
    return _values(kind, asked=True)


def commands() -> st.SearchStrategy[Command]:
    """Return a strategy of commands of every code."""
    return st.sampled_from(sorted(COMMANDS_BY_NAME)).flatmap(lambda name: values(COMMANDS_BY_NAME[name]))


def responses() -> st.SearchStrategy[Command.Response]:
    """Return a strategy of the responses to commands of every code."""
    return st.sampled_from(sorted(COMMANDS_BY_NAME)).flatmap(lambda name: values(COMMANDS_BY_NAME[name].Response))


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Return a strategy of bytes that were cut, lengthened, or had bits or bytes changed."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("cut", "longer", "bit", "byte", "size"))):
            case "cut":
                del data[at:]
            case "longer":
                data += draw(st.binary(min_size=1, max_size=3))
            case "bit" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "byte" if data:
                data[at] = draw(st.integers(0, 255))
            case _:
                data[at : at + 2] = b"\xff\xff"
    return bytes(data)


@cache
def _values(kind: type[Declared], *, asked: bool) -> st.SearchStrategy[Any]:
    layout = layout_of(kind)
    members = {f.kind.selector: set(f.kind.kinds) for f in layout.fields if isinstance(f.kind, Choice)}

    @st.composite
    def value(draw: st.DrawFn) -> Any:
        held: dict[str, Any] = {}
        for field in layout.all:
            strategy = _field(field.kind, held, asked=asked)
            if field.name in members:
                strategy = strategy.filter(members[field.name].__contains__)
            held[field.name] = draw(strategy)
        return kind(**held)

    return value()


def _field(kind: Kind, before: Mapping[str, Any], *, asked: bool) -> st.SearchStrategy[Any]:
    match kind:
        case Scalar():
            return _numbers(kind, asked=asked)
        case Blob():
            least, most = kind.sized.least, kind.sized.most
            short = st.binary(min_size=least, max_size=max(least, min(most, LONGEST)))
            return short if most > 256 else short | st.binary(min_size=most, max_size=most)
        case Digest():
            return st.binary(min_size=kind.size, max_size=kind.size)
        case Nested():
            return _values(kind.structure, asked=kind.null)
        case Box():
            present = _values(kind.structure, asked=kind.null)
            return st.none() | present if kind.absent else present
        case Array():
            most = max(kind.least, min(kind.most, MOST_ELEMENTS))
            return st.lists(_field(kind.element, {}, asked=False), min_size=kind.least, max_size=most).map(tuple)
        case Choice():
            member = kind.kinds[int(before[kind.selector])]
            return st.none() if member is None else _field(member, before, asked=False)


def _numbers(kind: Scalar, *, asked: bool) -> st.SearchStrategy[int]:
    """Return a strategy of the numbers that are taken, named ones as often as others."""
    if kind.kind is bool:
        return st.booleans()
    bits = 8 * kind.size
    if kind.is_attributes:
        mask = ((1 << bits) - 1) & ~kind.reserved
        return st.integers(0, (1 << bits) - 1).map(lambda number: kind.kind(number & mask))
    named = [member for number, member in sorted(kind.members.items()) if kind.takes(number, asked=asked)]
    if kind.allowed is not None:
        named += [kind.held(number) for number in kind.allowed.values if number not in kind.members]
        ranges = [st.integers(first, last).map(kind.held) for first, last in kind.allowed.ranges]
        choices = [st.sampled_from(named), *ranges] if named else ranges
        return st.one_of(choices)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.code.islower() else (0, (1 << bits) - 1)
    anything = st.integers(low, high).map(kind.held)
    if not named:
        return anything
    return st.sampled_from(named) if kind.rc is not None else st.sampled_from(named) | anything
