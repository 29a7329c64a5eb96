# SPDX-License-Identifier: Apache-2.0
"""Labels, forms, schemes and switches refuse what is no number, or too large a one, with an error of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.cjdns.errors import CjdnsMisuseError, LabelError, SchemeError
from prestocloud_sec.cjdns.switch import (
    F4,
    V3X5X8,
    EncodingForm,
    EncodingScheme,
    Forward,
    RouteLabel,
    Switch,
    bit_reverse_64,
    label_for,
)
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.wire import shown

HUGE = 10**5000


def switch() -> Switch:
    made = Switch()
    made.add_interface()
    made.add_interface()
    return made


CALLS: dict[str, Callable[[Any], object]] = {
    "label": RouteLabel,
    "mirrored": bit_reverse_64,
    "spliced": RouteLabel(0x13).splice,
    "path": lambda x: RouteLabel.from_path([x], V3X5X8),
    "form": lambda x: EncodingForm(x if isinstance(x, int) else None),  # type: ignore[arg-type]
    "scheme": lambda x: EncodingScheme([EncodingForm(1, 1), EncodingForm(2, 1, 1), x]),
    "self route": lambda x: V3X5X8.is_self_route(None if isinstance(x, int) else x),  # type: ignore[arg-type]
    "form's director": lambda x: EncodingForm(3, 1, 1).encode(None if isinstance(x, int) else x),  # type: ignore[arg-type]
    "director": V3X5X8.serialize_director,
    "director in a form": lambda x: V3X5X8.serialize_director(2, "0" if x is None else x),  # type: ignore[arg-type]
    "conversion": lambda x: V3X5X8.convert_label(0x13, "0" if x is None else x),  # type: ignore[arg-type]
    "fixed conversion": lambda x: F4.convert_label(0x13, "0" if x is None else x),  # type: ignore[arg-type]
    "compressed": lambda x: V3X5X8.numbers.compress(x, 4),
    "width": lambda x: V3X5X8.numbers.compress(2, x),
    "number's form": lambda x: V3X5X8.numbers.number_of(1, x),
    "scheme of a label": lambda x: RouteLabel(0x13).is_one_hop("" if x is None else x),
    "scheme of an answer": lambda x: label_for(1, 1, scheme=x),
    "removed": lambda x: switch().remove(x),
    "set down": lambda x: switch().set_down(x),
    "source": lambda x: switch().forward(x, bytes(20)),
    "source of a runt": lambda x: switch().forward(x, b""),
    "step": lambda x: switch().step(0, x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [None, HUGE, -HUGE, "x" * 10**5, [], np.zeros(3), int], ids=shown)
def test_what_is_no_number_of_theirs(name: str, wrong: Any) -> None:
    with pytest.raises(PrestoCloudError) as caught:
        CALLS[name](wrong)
    assert len(str(caught.value)) < 400


def test_integers_of_numpy_make_a_step_like_any_other() -> None:
    one = switch()
    assert one.step(0, np.int64(0x155)) == one.step(0, 0x155)  # type: ignore[arg-type]
    assert isinstance(one.forward(0, (0x155).to_bytes(8, "big") + bytes(8)), Forward)
    with pytest.raises(LabelError):
        one.step(0, 1 << 64)


def test_endless_forms_and_paths_end() -> None:
    with pytest.raises(SchemeError):
        EncodingScheme(itertools.repeat(EncodingForm(3)))
    assert not EncodingScheme.is_sane(itertools.repeat(EncodingForm(3, 1, 1)))
    with pytest.raises(LabelError):
        RouteLabel.from_path(itertools.repeat(2), V3X5X8)


@pytest.mark.parametrize("size", [1025, 1 << 40, HUGE], ids=shown)
def test_no_form_takes_more_memory_than_a_form(size: int) -> None:
    for form in ({"bit_count": size}, {"bit_count": 1, "prefix_length": size}):
        with pytest.raises(SchemeError):
            EncodingForm(**form)


def test_no_table_of_two_thousand_million_numbers() -> None:
    with pytest.raises(CjdnsMisuseError):
        _ = EncodingScheme([EncodingForm(31)]).numbers.returns
