# SPDX-License-Identifier: Apache-2.0
"""The derived codec is the plain walk, exact both ways, on whatever the declarations allow and whatever is broken."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import broken, commands, responses, values
from prestocloud_sec.tpm import spec
from prestocloud_sec.tpm.codec.install import compiled
from prestocloud_sec.tpm.codec.walk import walk_decode, walk_encode, walk_parameters
from prestocloud_sec.tpm.errors import TpmFormatError
from prestocloud_sec.tpm.spec.declare import Structure

STRUCTURES = [
    kind
    for kind in (getattr(spec, name) for name in spec.__all__)
    if isinstance(kind, type) and issubclass(kind, Structure) and kind is not Structure
]
IMPOSSIBLE = {spec.TPMS_SET_CAPABILITY_DATA}
"""Structures without a value: the specification has no member for the selector of their union yet."""
POSSIBLE = [kind for kind in STRUCTURES if kind not in IMPOSSIBLE]

few = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
many = settings(max_examples=250, suppress_health_check=_SLOW, deadline=None)


class NotDerivedError(Exception):
    """The derived text asked the walk, which these tests do not let it."""


def not_derived(*_: Any, **__: Any) -> Any:
    raise NotDerivedError


@cache
def derived(kind: type[Any], name: str) -> Callable[..., Any]:
    """Return a method of a class as it was derived, without the walk behind it."""
    space = compiled(kind, walk_decode=not_derived, walk_parameters=not_derived)
    method = space[name]
    return method.__get__(None, kind) if isinstance(method, classmethod) else method


def outcome(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a decoder makes of bytes, None if it refuses them."""
    try:
        return function(*arguments, **named)
    except (TpmFormatError, NotDerivedError):
        return None


def forgotten(value: Any) -> Any:
    """Return an equal value that does not keep its encoding, nor do the structures in it."""
    return type(value)(**dict(value._fields()))


@pytest.mark.parametrize("kind", POSSIBLE, ids=lambda kind: kind.__name__)
@given(data=st.data())
@few
def test_structures_are_exact_both_ways(kind: type[Structure], data: st.DataObject) -> None:
    value = data.draw(values(kind))
    wire = value.encode()
    assert wire == walk_encode(value) == walk_encode(forgotten(value))
    again = derived(kind, "decode")(wire)
    assert again == value == walk_decode(kind, wire)
    assert type(again) is kind
    assert derived(kind, "decode")(wire) == again  # from what is kept of the first time
    assert dict(again._fields()) == dict(value._fields())
    assert [type(v) for _, v in again._fields()] == [type(v) for _, v in walk_decode(kind, wire)._fields()]
    assert again.encode() == wire == forgotten(again).encode()
    assert hash(again) == hash(value)
    assert kind.decode(wire, lenient=True) == value


@pytest.mark.parametrize("kind", STRUCTURES, ids=lambda kind: kind.__name__)
@given(data=st.data())
@few
def test_both_refuse_the_same_bytes(kind: type[Structure], data: st.DataObject) -> None:
    whole = values(kind).map(lambda value: value.encode()) if kind in POSSIBLE else st.binary(max_size=8)
    wire = data.draw(broken(whole) | st.binary(max_size=60))
    plain, fast = outcome(walk_decode, kind, wire), outcome(derived(kind, "decode"), wire)
    assert plain == fast == outcome(kind.decode, wire)
    if plain is not None:
        assert plain.encode() == wire == walk_encode(plain) == forgotten(fast).encode()


@given(value=commands() | responses())
@many
def test_parameters_are_exact_both_ways(value: Any) -> None:
    kind = type(value)
    wire = value.encode_parameters()
    assert wire == walk_encode(value) == walk_encode(forgotten(value))
    again = derived(kind, "decode_parameters")(wire, handles=value.handles)
    assert again == value == walk_parameters(kind, wire, value.handles)
    assert dict(again._fields()) == dict(value._fields())
    assert again.encode_parameters() == wire == forgotten(again).encode_parameters()


@given(value=commands() | responses(), data=st.data())
@many
def test_both_refuse_the_same_parameters(value: Any, data: st.DataObject) -> None:
    kind = type(value)
    wire = data.draw(broken(st.just(value.encode_parameters())))
    handles = data.draw(st.just(value.handles) | st.tuples(*(st.integers(0, 0xFFFFFFFF) for _ in value.handles)))
    plain = outcome(walk_parameters, kind, wire, handles)
    assert plain == outcome(derived(kind, "decode_parameters"), wire, handles=handles)
    assert plain == outcome(kind.decode_parameters, wire, handles=handles)
    if plain is not None:
        assert plain.encode_parameters() == wire == forgotten(plain).encode_parameters()
        assert plain.handles == handles


@given(value=commands(), data=st.data())
@many
def test_what_strict_reading_takes_lenient_reading_takes_too(value: Any, data: st.DataObject) -> None:
    wire = data.draw(broken(st.just(value.encode_parameters())))
    strict = outcome(type(value).decode_parameters, wire, handles=value.handles)
    assume(strict is not None)
    assert type(value).decode_parameters(wire, handles=value.handles, lenient=True) == strict


@given(data=st.data())
@many
def test_lenient_reading_is_exact_too(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(POSSIBLE))
    wire = data.draw(broken(values(kind).map(lambda value: value.encode())))
    value = outcome(kind.decode, wire, lenient=True)
    assume(value is not None)
    assert walk_encode(value) == wire
