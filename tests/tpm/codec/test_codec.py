# SPDX-License-Identifier: Apache-2.0
"""The derived codec is the plain walk, exact both ways, on whatever the declarations allow and whatever is broken."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import broken, commands, responses, values
from prestocloud_sec.tpm import spec
from prestocloud_sec.tpm.codec.admit import admit_all
from prestocloud_sec.tpm.codec.fields import Array, layout_of
from prestocloud_sec.tpm.codec.generate.writing import Heads
from prestocloud_sec.tpm.codec.install import compiled
from prestocloud_sec.tpm.codec.walk import walk_decode, walk_encode, walk_parameters
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.spec.declare import Structure

STRUCTURES = [
    kind
    for kind in (getattr(spec, name) for name in spec.__all__)
    if isinstance(kind, type) and issubclass(kind, Structure) and kind is not Structure
]
ALG = spec.TPM_ALG_ID
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


def test_heads_are_found_again_and_are_not_kept_without_end() -> None:
    heads = Heads(2)
    assert heads.keep(b"a", 1, 11, 5) is heads.by_size[1][11][5]
    assert heads.keep(b"b", 1, 11, 6) == heads.by_size[1][11][6] == b"b"
    assert heads.by_size[0] == heads.by_size[2] == {}
    assert heads.keep(b"c", 3, 11, 5) == b"c"  # longer than the table allows, as lenient reading takes it
    assert heads.by_size[1] == {11: {5: b"a", 6: b"b"}}
    for number in range(5000):
        assert heads.keep(b"d", 0, number) == b"d"
    assert len(heads.by_size[0]) < 1100


@given(data=st.data())
@many
def test_encoding_is_the_walk_with_heads_in_any_state(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([spec.TPMT_PUBLIC, spec.TPMT_SYM_DEF, spec.TPMT_ECC_SCHEME, spec.TPMS_NV_PUBLIC]))
    encode = compiled(kind)["encode"] if data.draw(st.booleans()) else kind.encode
    for value in data.draw(st.lists(values(kind), min_size=1, max_size=4)):
        assert encode(forgotten(value)) == encode(forgotten(value)) == walk_encode(value)


def test_objects_of_vendors_encode_as_they_were_read() -> None:
    policy = spec.TPMS_NV_PUBLIC(0x01000000, ALG.SHA256, spec.TPMA_NV(0), bytes(64), 0)
    longer = policy.encode().replace(b"\0\x40" + bytes(64), b"\0\x46" + bytes(70))
    again = pickle.loads(pickle.dumps(spec.TPMS_NV_PUBLIC.decode(longer, lenient=True)))  # noqa: S301
    assert again.encode() == longer


# --- what constructors take -------------------------------------------------------------------------------------------

NULL_PUBLIC = spec.TPMT_PUBLIC(
    ALG.KEYEDHASH,
    ALG.NULL,
    spec.TPMA_OBJECT(0),
    b"",
    spec.TPMS_KEYEDHASH_PARMS(spec.TPMT_KEYEDHASH_SCHEME(ALG.NULL, None)),
    b"",
)
DIGEST = spec.TPMT_HA(ALG.SHA256, bytes(32))
NUMBERS = [
    True,
    0,
    1,
    4,
    16,
    255,
    1 << 16,
    1 << 64,
    -1,
    1.0,
    ALG.NULL,
    ALG.SHA256,
    spec.TPM_RH.NULL,
    spec.TPMA_OBJECT(1),
]
BUFFERS = ["ab", b"", b"ab", bytes(20), bytes(32), bytes(65), bytearray(b"ab")]
PARTS = [None, DIGEST, spec.TPMT_HA(ALG.NULL, None), NULL_PUBLIC, spec.TPMS_EMPTY(), spec.TPMS_EMPTY]
LISTS = [(), [], (DIGEST,) * 17, [b"ab"] * 9, (b"",), (None,)]
STRANGE = [*NUMBERS, *BUFFERS, *PARTS, *LISTS]
"""What may stand in a field, somewhere; as a rule not where it is put."""


def others(value: Any) -> Iterator[Any]:
    """Yield what may be given instead of a value: the same in another form, nearly the same, and what is strange."""
    yield from STRANGE
    if isinstance(value, int):
        yield int(value)
    if isinstance(value, bytes | tuple):
        yield value[:-1]
        yield from (value + value[:1], value * 17, value * 300)
    if isinstance(value, bytes):
        yield from (value + b"\0", bytearray(value))
    if isinstance(value, tuple):
        yield from (list(value), dict.fromkeys(value))  # keys: neither list nor tuple, and there for a second look
        yield from ((*value, strange) for strange in STRANGE)
        yield from ([strange, *value[1:]] for strange in STRANGE)


def shape(value: Any) -> Any:
    """Return a value with the types of all that it holds."""
    return type(value), [shape(element) for element in value] if isinstance(value, tuple) else value


def taken(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Return what is held after a constructor, or the words of its refusal."""
    try:
        made = function(*given, **named)
    except TpmMisuseError as error:
        return str(error)
    return [shape(value) for value in (made if isinstance(made, list) else [v for _, v in made._fields()])]


def check_constructor(kind: type[Any], given: dict[str, Any]) -> None:
    plain = taken(admit_all, kind, given)
    assert taken(kind, **given) == plain
    try:
        quick = taken(derived_without_admit(kind), kind, **given)
    except NotDerivedError:
        return
    assert quick == plain


@cache
def derived_without_admit(kind: type[Any]) -> Callable[..., Any]:
    """Return the constructor of a class as it was derived, without the words behind it."""
    made: Callable[..., Any] = compiled(kind, admit=not_derived)["__new__"]
    return made


def check_constructors(kind: type[Any], value: Any) -> None:
    given = dict(value._fields())
    check_constructor(kind, given)
    for name, held in given.items():
        for other in others(held):
            check_constructor(kind, {**given, name: other})


a_few = settings(max_examples=3, suppress_health_check=_SLOW, deadline=None)


@pytest.mark.parametrize("kind", POSSIBLE, ids=lambda kind: kind.__name__)
@given(data=st.data())
@a_few
def test_structures_take_and_refuse_what_the_plain_look_does(kind: type[Structure], data: st.DataObject) -> None:
    check_constructors(kind, data.draw(values(kind)))


@pytest.mark.parametrize("name", sorted({*spec.COMMANDS_BY_NAME} - {"SetCapability"}))  # see IMPOSSIBLE
@given(data=st.data())
@a_few
def test_commands_take_and_refuse_what_the_plain_look_does(name: str, data: st.DataObject) -> None:
    command = spec.COMMANDS_BY_NAME[name]
    for kind in (command, command.Response):
        check_constructors(kind, data.draw(values(kind)))


USUAL = [
    (spec.PCR_Extend, {"pcrHandle": 16, "digests": (DIGEST,)}),
    (spec.PCR_Extend, {"pcrHandle": 16, "digests": [DIGEST, DIGEST]}),
    (spec.PolicyOR, {"policySession": 0x03000000, "pHashList": [bytes(32), bytes(32)]}),
    (spec.TPMT_HA, {"hashAlg": ALG.SHA256, "digest": bytes(32)}),
    (spec.TPMT_HA, {"hashAlg": ALG.NULL, "digest": None}),
    (spec.TPMT_KEYEDHASH_SCHEME, {"scheme": ALG.NULL, "details": None}),
    (spec.TPMS_CAPABILITY_DATA, {"capability": spec.TPM_CAP.HANDLES, "data": (0x80000000, 0x81000000)}),
    (spec.TPMS_CAPABILITY_DATA, {"capability": spec.TPM_CAP.ECC_CURVES, "data": (spec.TPM_ECC_CURVE.NIST_P256,)}),
]


@pytest.mark.parametrize(("kind", "given"), USUAL)
def test_usual_lists_and_unions_need_no_plain_look(kind: type[Any], given: dict[str, Any]) -> None:
    made = derived_without_admit(kind)(kind, **given)
    assert made == kind(**given)
    lists = [field.name for field in layout_of(kind).all if isinstance(field.kind, Array)]
    assert all(type(getattr(made, name)) is tuple for name in lists)
