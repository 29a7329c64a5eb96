# SPDX-License-Identifier: Apache-2.0
"""Labels, schemes and the switch, against what the C code did."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from prestocloud_sec.cjdns.errors import LabelError, SchemeError
from prestocloud_sec.cjdns.switch import (
    F4,
    F8,
    V3X5X8,
    V4X8,
    Drop,
    EncodingForm,
    EncodingScheme,
    ErrorReply,
    Forward,
    RouteLabel,
    Switch,
    bit_reverse_64,
    label_for,
)
from tests.conformance.family import Case, Family

SCHEMES = {"v3x5x8": V3X5X8, "v4x8": V4X8, "f4": F4, "f8": F8}
CANONICAL = -5000
"""What the recordings write for "the smallest form that fits"."""

NO_LABEL = "f" * 16


def _label(text: str) -> RouteLabel:
    assert len(text) == 16
    return RouteLabel(int(text, 16))


def _forms(listed: list[dict[str, Any]]) -> list[EncodingForm]:
    return [EncodingForm(f["bitCount"], f["prefixLen"], int(f["prefix"], 16)) for f in listed]


def _listed(scheme: EncodingScheme) -> list[dict[str, Any]]:
    return [{"bitCount": f.bit_count, "prefixLen": f.prefix_length, "prefix": f"{f.prefix:x}"} for f in scheme.forms]


def _scheme(case: Case) -> EncodingScheme:
    assert (case["scheme"] == "custom") == ("forms" in case)
    return EncodingScheme(_forms(case["forms"])) if "forms" in case else SCHEMES[case["scheme"]]


def _or(otherwise: Any, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except LabelError:
        return otherwise


def compare_number_compress(case: Case, document: Case) -> None:
    scheme, number = SCHEMES[case["scheme"]], case["number"]
    numbers = scheme.numbers
    bits = numbers.width_for(number)
    assert bits == case["bits"]
    assert f"{numbers.compress(number, bits):x}" == case["compressed"]
    assert f"{RouteLabel.from_path([number], scheme):016x}" == case["first_label"]
    widths = {}
    for width in numbers.widths:
        code = _or(None, numbers.compress, number, width)
        if code is not None:
            widths[str(width)] = {
                "compressed": f"{code:x}",
                "bits_for_label": scheme.width_of(code),
                "decompressed": numbers.decompress(code),
            }
    assert widths == case["by_width"]


def compare_label_decode(case: Case, document: Case) -> None:
    scheme, label = SCHEMES[case["scheme"]], _label(case["label"])
    assert label.director_width(scheme) == case["bits"]
    assert scheme.numbers.decompress(label) == case["number"]
    assert _or(-1, scheme.form_of, label) == case["form"]
    assert _or(-1, scheme.parse_director, label) == case["director"]
    assert int(scheme.is_self_route(label)) == case["self"]
    assert int(label.is_one_hop(scheme)) == case["one_hop"]


def compare_serialize_director(case: Case, document: Case) -> None:
    scheme = SCHEMES[case["scheme"]]
    director = scheme.serialize_director(case["number"], None if case["form"] == -1 else case["form"])
    assert f"{director:016x}" == case["result"]
    assert scheme.parse_director(director) == case["parsed_back"]


def compare_convert_label(case: Case, document: Case) -> None:
    scheme, label = _scheme(case), _label(case["label"])
    target = None if case["to_form"] == CANONICAL else case["to_form"]
    converted = _or(None, scheme.convert_label, label, target)
    assert (NO_LABEL if converted is None else f"{converted:016x}") == case["result"]
    if "forms" in case:
        assert _or(-1, scheme.form_of, label) == case["form"]
        assert _or(-1, scheme.parse_director, label) == case["director"]


def compare_splice(case: Case, document: Case) -> None:
    a, b = _label(case["a"]), _label(case["b"])
    spliced = _or(None, a.splice, b)
    assert (NO_LABEL if spliced is None else f"{spliced:016x}") == case["splice"]
    assert (a.log2, b.log2) == (case["log2_a"], case["log2_b"])
    assert f"{a.unsplice(b):016x}" == case["unsplice_a_b"]
    assert int(a.routes_through(b)) == case["routes_through_a_b"]
    assert f"{label_for(a, b, wrap=True):016x}" == case["label_for_a_b"]
    assert f"{a.reversed():016x}" == f"{bit_reverse_64(a):016x}" == case["bit_reverse_a"]
    assert ("unsplice_splice_b" in case) == ("routes_through_splice_b" in case) == (spliced is not None)
    if spliced is not None:
        assert f"{spliced.unsplice(b):016x}" == case["unsplice_splice_b"]
        assert int(spliced.routes_through(b)) == case["routes_through_splice_b"]


def compare_scheme_serialization(case: Case, document: Case) -> None:
    match case["op"]:
        case "serialize":
            scheme = EncodingScheme(_forms(case["forms"]))
            assert _listed(scheme) == case["forms"]
            assert scheme.serialize().hex() == case["bytes"]
            assert int(scheme.is_358) == case["is358"]
            assert (EncodingScheme.deserialize(scheme.serialize()) == scheme) is case["roundtrip"]
        case "deserialize":
            try:
                found = _listed(EncodingScheme.deserialize(bytes.fromhex(case["bytes"])))
            except SchemeError:
                found = None
            assert (found is not None) is case["ok"]
            assert found == case.get("forms")
        case "is_sane":
            assert EncodingScheme.is_sane(_forms(case["forms"])) is case["sane"]
        case other:
            raise AssertionError(f"unknown op {other!r}")


_TOPOLOGY = re.compile(
    r"with (\w+)\. interfaces 0\.\.(\d+) exist \(1 = router\) except missing \[([\d,]*)\]; down \[([\d,]*)\]"
)


@cache
def _recorded_switch(description: str) -> Switch:
    """Make the switch that a file's description states."""
    found = _TOPOLOGY.search(description)
    assert found, f"no topology in {description!r}"
    name, last, missing, down = found.groups()
    switch = Switch(SCHEMES[name])
    while switch.free and switch.interfaces[-1] < int(last):
        switch.add_interface()
    for number in missing.split(","):
        switch.remove(int(number))
    for number in down.split(","):
        switch.set_down(int(number))
    return switch


def compare_switch(case: Case, document: Case) -> None:
    packet = bytes.fromhex(case["in"])
    # The label is that of the packet before the shortest cases were cut off.
    assert len(case["label"]) == 16
    assert case["label"].startswith(packet[:8].hex())
    match _recorded_switch(document["description"]).forward(case["in_if"], packet):
        case Forward(out, sent):
            found = {"result": "forward", "out_if": out, "out": sent.hex()}
        case ErrorReply(out, sent, error):
            found = {"result": "error", "error_type": int(error), "out_if": out, "out": sent.hex()}
        case Drop():
            found = {"result": "drop", "out_if": -1, "out": ""}
    assert found == {name: case[name] for name in case if name in ("result", "error_type", "out_if", "out")}


_ID = frozenset({"id"})

FILES = {
    "number_compress.json": Family(compare_number_compress, _ID),
    "label_decode.json": Family(compare_label_decode, _ID),
    "serialize_director.json": Family(compare_serialize_director, _ID),
    "convert_label.json": Family(compare_convert_label, _ID),
    "splice.json": Family(compare_splice, _ID),
    "scheme_serialization.json": Family(compare_scheme_serialization, _ID),
    # `label` repeats the packet's own, and is compared with it; of a packet cut off before its label ends it says more.
    "switch.json": Family(compare_switch, _ID | {"kind", "label"}),
}
