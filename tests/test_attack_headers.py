# SPDX-License-Identifier: Apache-2.0
"""Headers made by the calling code refuse what no field can hold, integers too long to be written out included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.cjdns.control import KeyPing, Ping, RPathQuery
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.headers import DataHeader, SwitchHeader, content_name, label_text
from prestocloud_sec.cjdns.ipv6 import pseudo_header, upper_layer_checksum_holds
from prestocloud_sec.cjdns.layers import decode_layers
from prestocloud_sec.wire import shown

HUGE = 10**5000
CALLS: dict[str, Callable[[Any], object]] = {
    "label": SwitchHeader,
    "flag": lambda x: SwitchHeader(1, suppress_errors=x),
    "congestion": SwitchHeader(1).with_congestion,
    "content type": DataHeader,
    "name of a content type": content_name,
    "text of a label": label_text,
    "ping": Ping,
    "checksum form": lambda x: Ping(21, ones_checksum=x),
    "key ping": lambda x: KeyPing(x, bytes(32)),
    "path": lambda x: RPathQuery(21, x),
    "protocol": lambda x: pseudo_header(bytes(16), bytes(16), x, 0),
    "checked protocol": lambda x: upper_layer_checksum_holds(bytes(16), bytes(16), x, bytes(8)),
    "layer": lambda x: decode_layers(outer=bytes(12))[x],
    "link": lambda x: decode_layers(b"", link=x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", [HUGE, -HUGE, -(1 << 64), None, "x" * 10**6, 1.5, np.zeros(3), []], ids=shown)
def test_what_no_field_holds_is_misuse(name: str, wrong: Any) -> None:
    with pytest.raises(CjdnsMisuseError) as caught:
        CALLS[name](wrong)
    assert len(str(caught.value)) < 300
