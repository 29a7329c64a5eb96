# SPDX-License-Identifier: Apache-2.0
"""Route labels: text, the algebra of routes, and paths for a human."""

from __future__ import annotations

import copy
import pickle
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError
from prestocloud_sec.cjdns.switch import (
    F4,
    F8,
    SELF,
    V3X5X8,
    V4X8,
    EncodingForm,
    EncodingScheme,
    RouteLabel,
    bit_reverse_64,
)
from prestocloud_sec.testing.switch import BUILT_IN, encoding_schemes, paths, route_labels

# -- text --------------------------------------------------------------------------------------------------------------


@given(route_labels())
def test_text_both_ways(label: RouteLabel) -> None:
    text = str(label)
    assert text == ".".join(label.to_bytes(8, "big").hex(sep=".", bytes_per_sep=2).split("."))
    assert RouteLabel.parse(text) == label
    assert RouteLabel.parse(text.upper()) == label
    assert repr(label) == f"RouteLabel({text!r})"
    assert f"{label}" == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0013",
        "0000.0000.0000.001",
        "0000.0000.0000.00133",
        "000g.0000.0000.0013",
        "0000.0000.00000013",
        "....",
        "0000.0000.0000.0013\n",
        " 0000.0000.0000.0013",
        "0000:0000:0000:0013",
        "+000.0000.0000.0013",
        "00_0.0000.0000.0013",
        "0000.0000.0000.00١٣",
        "0000.0000.0000.0013." * 100_000,
    ],
)
def test_other_text_is_no_label(text: str) -> None:
    with pytest.raises(LabelError, match="form") as caught:
        RouteLabel.parse(text)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=25))
def test_any_text_is_a_label_or_a_label_error(text: str) -> None:
    try:
        label = RouteLabel.parse(text)
    except LabelError:
        return
    assert str(label) == text.lower()


def test_it_is_a_number_of_64_bits() -> None:
    assert RouteLabel(0x13) == 0x13
    assert hash(RouteLabel(0x13)) == hash(0x13)
    assert RouteLabel(np.uint64(2**64 - 1)) == 2**64 - 1
    assert RouteLabel.from_bytes(bytes(7) + b"\x13", "big") == RouteLabel(0x13)
    assert pickle.loads(pickle.dumps(RouteLabel(7))) == copy.deepcopy(RouteLabel(7)) == 7  # noqa: S301
    assert type(pickle.loads(pickle.dumps(RouteLabel(7)))) is RouteLabel  # noqa: S301
    with pytest.raises(AttributeError):
        RouteLabel(7).note = "labels carry nothing else"  # type: ignore[attr-defined]


@given(st.integers().filter(lambda value: not 0 <= value < 2**64))
def test_other_numbers_are_refused_everywhere(value: int) -> None:
    label = RouteLabel(0x13)
    for use in (RouteLabel, bit_reverse_64, label.splice, label.unsplice, label.routes_through, V3X5X8.form_of):
        with pytest.raises(LabelError):
            use(value)


@pytest.mark.parametrize("value", [None, "0000.0000.0000.0013", 1.5, b"\x13"])
def test_other_types_are_misuse(value: object) -> None:
    label = RouteLabel(0x13)
    for use in (RouteLabel, bit_reverse_64, label.splice, label.unsplice, label.routes_through):
        with pytest.raises(CjdnsMisuseError):
            use(value)  # type: ignore[operator]
    for use in (label.hops, label.path, label.drawing):
        with pytest.raises(CjdnsMisuseError):
            use(3 if value is None else value)
        with pytest.raises(CjdnsMisuseError):
            use([])
    with pytest.raises(CjdnsMisuseError):
        RouteLabel.parse(3)  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        RouteLabel.from_path([value], V3X5X8)  # type: ignore[list-item]
    with pytest.raises(CjdnsMisuseError):
        RouteLabel.from_path(3, V3X5X8)  # type: ignore[arg-type]


@given(route_labels())
def test_paths_are_read_in_the_common_scheme_where_none_is_given(label: RouteLabel) -> None:
    try:
        hops = label.hops(V3X5X8)
    except LabelError:
        with pytest.raises(LabelError):
            label.path()
        return
    assert label.hops() == hops
    assert label.path() == [hop.interface for hop in hops]
    assert label.drawing() == label.drawing(V3X5X8)
    assert RouteLabel.from_path(label.path()) == RouteLabel.from_path(label.path(V3X5X8), V3X5X8)


# -- algebra -----------------------------------------------------------------------------------------------------------


@given(route_labels())
def test_reversing_mirrors_the_bits(label: RouteLabel) -> None:
    assert label.reversed() == int(f"{label:064b}"[::-1], 2)
    assert label.reversed().reversed() == label


@given(route_labels(), route_labels())
def test_splicing_puts_one_row_of_bits_after_the_other(here: RouteLabel, via: RouteLabel) -> None:
    if here == 0 or via == 0:
        return
    # As text: the leading 1 closes a label, so the route is what follows it.
    bits = f"{here:b}" + f"{via:b}"[1:]
    if here.log2 + via.log2 > 59:
        with pytest.raises(LabelError, match="59"):
            here.splice(via)
        return
    whole = here.splice(via)
    assert whole == int(bits, 2)
    assert whole.log2 == here.log2 + via.log2
    assert whole.routes_through(via)
    assert whole.unsplice(via) == here


@given(route_labels(), route_labels(), route_labels())
def test_splicing_is_associative_and_self_is_neutral(a: RouteLabel, b: RouteLabel, c: RouteLabel) -> None:
    if 0 in (a, b, c) or a.log2 + b.log2 + c.log2 > 59:
        return
    assert a.splice(b).splice(c) == a.splice(b.splice(c))
    assert a.splice(SELF) == SELF.splice(a) == a


@given(route_labels(), route_labels())
def test_routes_through_is_having_the_same_first_bits(label: RouteLabel, mid: RouteLabel) -> None:
    first = f"{mid:b}"[1:]
    expected = mid <= label and f"{label:064b}".endswith(first)
    assert label.routes_through(mid) == expected


# -- paths -------------------------------------------------------------------------------------------------------------


def test_a_path_by_hand() -> None:
    # Interfaces 0, 40 and 9: 0011, then 39 in 8 bits with prefix 00, then 8 in 5 bits with prefix 10.
    label = RouteLabel(int("1" + "0100010" + "0010011100" + "0011", 2))
    assert RouteLabel.from_path([0, 40, 9], V3X5X8) == label
    assert label.path(V3X5X8) == [0, 40, 9]
    assert [hop.width for hop in label.hops(V3X5X8)] == [4, 10, 7]
    assert label.director_width(V3X5X8) == 4
    assert not label.is_one_hop(V3X5X8)
    assert RouteLabel(0x13).is_one_hop(V3X5X8)
    assert SELF.path(V3X5X8) == []


def test_each_switch_reads_by_its_own_scheme() -> None:
    schemes = [F4, V3X5X8, F8]
    label = RouteLabel.from_path([7, 0, 200], schemes)
    assert label == int("1" + "11001000" + "0011" + "0111", 2)
    assert label.path(schemes) == [7, 0, 200]
    assert label.path(iter(schemes)) == [7, 0, 200]


@given(st.data())
def test_paths_both_ways(data: st.DataObject) -> None:
    scheme = data.draw(encoding_schemes(most_bits=10) | st.sampled_from(BUILT_IN))
    path = data.draw(paths(scheme))
    label = RouteLabel.from_path(path, scheme)
    if scheme in BUILT_IN:
        assert label.path(scheme) == path
    else:  # in other schemes a director may look like the router's, which ends a path
        assert path[: len(label.path(scheme))] == label.path(scheme)
    assert label.log2 == sum(scheme.numbers.width_for(number) for number in path)


@given(route_labels(), encoding_schemes() | st.sampled_from(BUILT_IN))
def test_any_label_has_a_path_or_is_refused(label: RouteLabel, scheme: EncodingScheme) -> None:
    try:
        hops = label.hops(scheme)
    except LabelError:
        return
    rest = int(label)
    for hop in hops:
        assert rest & ((1 << hop.width) - 1) == hop.director
        rest >>= hop.width
    assert rest == 1 or scheme.is_self_route(rest)


def test_paths_that_no_label_holds() -> None:
    with pytest.raises(LabelError, match="59"):
        RouteLabel.from_path([256] * 6, V3X5X8)
    with pytest.raises(LabelError):
        RouteLabel.from_path([257], V3X5X8)
    with pytest.raises(LabelError):
        RouteLabel.from_path([-1], F4)
    with pytest.raises(LabelError, match="ends inside"):
        RouteLabel(0).path(V3X5X8)
    with pytest.raises(LabelError, match="ends inside"):
        RouteLabel(0b11).path(F4)
    with pytest.raises(LabelError, match="no form"):
        RouteLabel(0b100).path(EncodingScheme([EncodingForm(3, 2, 1), EncodingForm(5, 2, 3)]))


# -- in a notebook -----------------------------------------------------------------------------------------------------


def test_the_drawing_shows_every_hop() -> None:
    drawing = RouteLabel.from_path([0, 40], V3X5X8)._repr_svg_()
    assert drawing is not None
    root = ET.fromstring(drawing)  # noqa: S314
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert texts == ["interface 0", "0011", "interface 40", "0010011100", "router", "1", "0000.0000.0000.49c3"]
    assert sum(element.tag.endswith("rect") for element in root.iter()) == 3
    assert RouteLabel(0)._repr_svg_() is None
    assert "interface 6" in RouteLabel.from_path([6], V4X8).drawing(V4X8)
