# SPDX-License-Identifier: Apache-2.0
"""Classic loads from anywhere in a packet, for compiled code that calls them by address."""

from __future__ import annotations

from functools import cache
from typing import Any

from prestocloud_sec._jit import c_function
from prestocloud_sec.bpf.helpers.native_kernel import packet_word

__all__ = ["packet_word_address"]

_SIGNATURE = "int64(int64,int64,int64)"


def _packet_word(state_at: Any, offset: Any, size: Any) -> Any:
    return packet_word(state_at, offset, size)


@cache
def _compiled() -> Any:
    return c_function(_SIGNATURE)(_packet_word)


def packet_word_address() -> int:
    """Return the address of ``packet_word(state, offset, size)``; -1 where the packet has no such bytes."""
    return int(_compiled().address)
