# SPDX-License-Identifier: Apache-2.0
"""Encoding schemes: sane ones only, one codeword for each form and number, and the wire form both ways."""

from __future__ import annotations

import pickle
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError, SchemeError
from prestocloud_sec.cjdns.switch import F4, F8, V3X5X8, V4X8, EncodingForm, EncodingScheme, RouteLabel, label_for
from prestocloud_sec.cjdns.switch.scheme import MAX_SERIALIZED
from prestocloud_sec.testing.switch import BUILT_IN, encoding_forms, encoding_schemes, route_labels

# The numbers below are worked out by hand from the bit layout: prefix in the lowest bits, director above it.


def test_the_common_scheme_on_the_wire() -> None:
    # 1,3 bits: 00001 00011 1; 2,5 bits: 00010 00101 10; 2,8 bits: 00010 01000 00; each field lowest bit first.
    fields = [(1, 5), (3, 5), (1, 1), (2, 5), (5, 5), (2, 2), (2, 5), (8, 5), (0, 2)]
    bits = "".join(f"{value:0{width}b}"[::-1] for value, width in fields).ljust(40, "0")
    expected = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, 40, 8))
    assert V3X5X8.serialize() == expected == bytes.fromhex("6114458100")


@pytest.mark.parametrize(
    ("scheme", "number", "codes"),
    [
        # In the 3-bit form 0 and 1 change places; the wider forms leave 1 out.
        (V3X5X8, 0, {4: 0b0011, 7: 0b00000_10, 10: 0b00000000_00}),
        (V3X5X8, 1, {4: 1, 7: 1, 10: 1}),
        (V3X5X8, 7, {4: 0b111_1, 7: 0b00110_10, 10: 0b00000110_00}),
        (V3X5X8, 8, {7: 0b00111_10, 10: 0b00000111_00}),
        (V3X5X8, 32, {7: 0b11111_10, 10: 0b00011111_00}),
        (V3X5X8, 33, {10: 0b00100000_00}),
        (V3X5X8, 256, {10: 0b11111111_00}),
        (V4X8, 0, {5: 0b0001_1, 9: 0b00000001_0}),
        (V4X8, 1, {5: 1, 9: 1}),
        (V4X8, 6, {5: 0b0111_1, 9: 0b00000111_0}),
        (V4X8, 255, {9: 0b11111110_0}),
        (F4, 1, {4: 1}),
        (F4, 15, {4: 15}),
        (F8, 200, {8: 200}),
    ],
)
def test_codewords(scheme: EncodingScheme, number: int, codes: dict[int, int]) -> None:
    found = {}
    for width in scheme.numbers.widths:
        try:
            found[width] = scheme.numbers.compress(number, width)
        except LabelError:
            continue
    assert found == codes
    assert scheme.numbers.width_for(number) == min(codes)


@pytest.mark.parametrize("scheme", BUILT_IN)
def test_the_router_is_the_label_that_is_only_its_closing_bit(scheme: EncodingScheme) -> None:
    assert scheme.parse_director(1) == 1
    assert scheme.is_self_route(1)
    assert scheme.serialize_director(1) == 1


def _codewords(scheme: EncodingScheme) -> dict[tuple[int, int], tuple[int, int]]:
    """All (form, number) with their (code, width), for schemes small enough to list."""
    listed = {}
    for index, form in enumerate(scheme.forms):
        for number in range(scheme.numbers.count):
            try:
                listed[index, number] = scheme.serialize_director(number, index), form.width
            except LabelError:
                continue
    return listed


@given(encoding_schemes(most_bits=6) | st.sampled_from(BUILT_IN))
def test_no_codeword_begins_another_and_none_stands_for_two(scheme: EncodingScheme) -> None:
    codewords = _codewords(scheme)
    assert len(set(codewords.values())) == len(codewords)
    # Every director of every form is used by exactly one number, but for the router's in the wide forms of v3x5x8.
    sizes = [1 << form.bit_count for form in scheme.forms]
    assert len(codewords) == sum(sizes)
    # Kraft's inequality, which every prefix code keeps.
    assert sum(2.0**-form.prefix_length for form in scheme.forms) <= 1
    for (index, number), (code, width) in codewords.items():
        for above in (0, 1, (1 << (63 - width)) - 1):
            label = code | above << width
            assert scheme.form_of(label) == index
            assert scheme.width_of(label) == width
            assert scheme.parse_director(label) == number


@given(encoding_schemes())
def test_a_scheme_survives_the_wire(scheme: EncodingScheme) -> None:
    wire = scheme.serialize()
    assert EncodingScheme.deserialize(wire) == scheme
    assert EncodingScheme.deserialize(memoryview(wire + b"\0\0")) == scheme
    assert len(wire) == -(-sum(10 + form.prefix_length for form in scheme.forms) // 8) <= MAX_SERIALIZED
    assert pickle.loads(pickle.dumps(scheme)) == scheme  # noqa: S301
    assert hash(EncodingScheme(scheme.forms)) == hash(scheme)


@given(st.binary(max_size=12) | st.binary(max_size=400))
def test_any_bytes_are_a_scheme_or_a_scheme_error(data: bytes) -> None:
    try:
        scheme = EncodingScheme.deserialize(data)
    except SchemeError:
        return
    assert EncodingScheme.is_sane(scheme.forms)
    assert scheme.serialize().rstrip(b"\0") == data.rstrip(b"\0")


@given(encoding_schemes(), st.data())
def test_a_damaged_scheme_is_another_or_refused(scheme: EncodingScheme, data: st.DataObject) -> None:
    wire = bytearray(scheme.serialize())
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(SchemeError):
        assert EncodingScheme.deserialize(bytes(wire)) != scheme


def test_a_long_row_of_forms_is_refused_at_once() -> None:
    with pytest.raises(SchemeError, match="at most"):
        EncodingScheme.deserialize(b"\xff" * 1_000_000)


@given(encoding_forms())
def test_is_sane_agrees_with_the_constructor(forms: list[EncodingForm]) -> None:
    if EncodingScheme.is_sane(forms):
        assert EncodingScheme(forms).forms == tuple(forms)
    else:
        with pytest.raises(SchemeError):
            EncodingScheme(forms)


@pytest.mark.parametrize(
    "forms",
    [
        [],
        [(4, 1, 1)],
        [(0, 0, 0)],
        [(32, 0, 0)],
        [(4, 1, 1), (8, 0, 0)],
        [(4, 1, 1), (8, 1, 1)],
        [(8, 1, 1), (4, 1, 0)],
        [(4, 1, 1), (4, 1, 0)],
        [(4, 1, 1), (8, 2, 3)],
        [(4, 1, 1), (8, 1, 2)],
        [(4, 1, 1), (31, 31, 0)],
        [(4, 1, 1), (8, 32, 0)],
    ],
)
def test_forms_that_make_no_scheme(forms: list[tuple[int, int, int]]) -> None:
    many = [EncodingForm(*form) for form in forms]
    assert not EncodingScheme.is_sane(many)
    with pytest.raises(SchemeError):
        EncodingScheme(many)


def test_the_largest_forms_make_a_scheme() -> None:
    assert EncodingScheme.is_sane([EncodingForm(31)])
    assert EncodingScheme.is_sane([EncodingForm(4, 1, 1), EncodingForm(31, 28, 0)])


# -- converting a label ------------------------------------------------------------------------------------------------


@given(encoding_schemes(most_bits=12) | st.sampled_from(BUILT_IN), route_labels(), st.data())
def test_conversion_is_reversible_and_keeps_the_rest(
    scheme: EncodingScheme, label: RouteLabel, data: st.DataObject
) -> None:
    target = data.draw(st.one_of(st.none(), st.integers(0, len(scheme) - 1)))
    try:
        before = scheme.form_of(label)
        converted = scheme.convert_label(label, target)
    except LabelError:
        return
    if scheme.is_self_route(label):
        assert converted == label
        return
    assert scheme.parse_director(converted) == scheme.parse_director(label)
    assert converted >> scheme.width_of(converted) == label >> scheme.width_of(label)
    if target is not None:
        assert scheme.form_of(converted) == target
    if label.log2 <= 59:
        assert scheme.convert_label(converted, before) == label


def test_conversion_by_hand() -> None:
    # Interface 2 in 4, 7 and 10 bits is 5, 6 and 4; `1` closes the label.
    assert V3X5X8.convert_label(0x15, 1) == 1 << 7 | 6
    assert V3X5X8.convert_label(0x15, 2) == 1 << 10 | 4
    assert V3X5X8.convert_label(1 << 10 | 4) == 0x15
    # Interface 32 is director 31 in both wide forms.
    assert V3X5X8.convert_label(1 << 10 | 31 << 2) == 1 << 7 | 31 << 2 | 0b10


@pytest.mark.parametrize(
    ("label", "form"),
    [
        (0x11, 1),  # the router has no wide name
        (0x15, 3),  # no such form
        (0x15, -1),
        (1 << 10 | 100 << 2, 0),  # interface 101 needs 8 bits
        (1 << 59 | 5, 2),  # would take 65 bits
    ],
)
def test_conversions_that_are_refused(label: int, form: int) -> None:
    with pytest.raises(LabelError):
        V3X5X8.convert_label(label, form)


def test_a_fixed_scheme_has_one_form_to_convert_to() -> None:
    assert F8.convert_label(0x1FF) == F8.convert_label(0x1FF, 0) == 0x1FF
    with pytest.raises(LabelError):
        F8.convert_label(0x1FF, 1)


def test_a_conversion_that_would_name_the_router_is_refused() -> None:
    # In v4x8 the wide director 0 becomes, bit for bit, the short one that means the router.
    with pytest.raises(LabelError, match="router"):
        V4X8.convert_label(1 << 9, 0)


# -- the label for whoever asks ----------------------------------------------------------------------------------------


@given(route_labels(), route_labels())
def test_label_for_makes_room_for_the_way_back(target: RouteLabel, asker: RouteLabel) -> None:
    try:
        label = label_for(target, asker)
    except LabelError:
        assert target.log2 + V3X5X8.width_of(asker) - V3X5X8.width_of(target) > 63
        return
    assert V3X5X8.parse_director(label) == V3X5X8.parse_director(target)
    if V3X5X8.parse_director(target) != 1:  # the router's director is `0001` whatever its room
        assert V3X5X8.width_of(label) == max(V3X5X8.width_of(target), V3X5X8.width_of(asker))
        assert label >> V3X5X8.width_of(label) == target >> V3X5X8.width_of(target)


def test_label_for_by_hand() -> None:
    assert label_for(0x15, 0x13) == 0x15
    assert label_for(0x15, 1 << 10 | 100 << 2) == 1 << 10 | 4
    assert label_for(1 << 63 | 5, 1 << 10 | 100 << 2, wrap=True) == 4
    with pytest.raises(LabelError, match="64 bits"):
        label_for(1 << 63 | 5, 1 << 10 | 100 << 2)


# -- misuse ------------------------------------------------------------------------------------------------------------


def test_labels_that_begin_with_no_form() -> None:
    scheme = EncodingScheme([EncodingForm(3, 2, 0b01), EncodingForm(5, 2, 0b11)])
    for use in (scheme.form_of, scheme.width_of, scheme.parse_director, scheme.convert_label, scheme.is_one_hop):
        with pytest.raises(LabelError, match="no form"):
            use(0b100)
    assert not scheme.is_self_route(0b100)


@given(encoding_schemes(), st.integers() | st.integers(-3, 300), st.integers(-2, 6) | st.none())
def test_any_number_has_a_director_or_a_label_error(scheme: EncodingScheme, number: int, form: int | None) -> None:
    try:
        director = scheme.serialize_director(number, form)
    except LabelError:
        return
    assert scheme.parse_director(director) == number


def test_wrong_types_are_misuse() -> None:
    with pytest.raises(CjdnsMisuseError):
        EncodingScheme([3])  # type: ignore[list-item]
    with pytest.raises(CjdnsMisuseError):
        EncodingScheme(3)  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        EncodingForm("4")  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        EncodingScheme.deserialize("6114")  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        V3X5X8.serialize_director("2")  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        V3X5X8.convert_label(0x15, "1")  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        V3X5X8.form_of("1")  # type: ignore[arg-type]
    with pytest.raises(SchemeError):
        EncodingForm(-1)


def test_a_scheme_does_not_change() -> None:
    with pytest.raises(CjdnsMisuseError):
        V3X5X8.forms = ()
    with pytest.raises(CjdnsMisuseError):
        del V3X5X8.forms


def test_how_schemes_look() -> None:
    assert repr(V3X5X8) == "EncodingScheme.V3X5X8"
    assert (
        repr(EncodingScheme([EncodingForm(3, 1, 1), EncodingForm(5, 1, 0)]))
        == "EncodingScheme[(3, 1, 0x1), (5, 1, 0x0)]"
    )
    table = V3X5X8._repr_html_()
    assert "xxx<b>1</b>" in table
    assert "0, 2&ndash;256" in table
    assert table.count("<tr>") == 4
