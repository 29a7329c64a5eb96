# SPDX-License-Identifier: Apache-2.0
"""Whatever the calling code passes for a number or a size, it gets one of the package's errors, and a short one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import PrivateKey, search_vanity
from prestocloud_sec.errors import InputError, MisuseError
from prestocloud_sec.wire import Reader, Writer, shown, whole

HUGE = 10**5000  # Python does not write out integers of more than 4300 digits
NO_NUMBER = [None, "1", b"1", 1.5, float("nan"), 1j, [], np.float64(1), np.zeros(3), object()]
NO_SIZE: list[Any] = [*NO_NUMBER, HUGE, -HUGE, 1 << 63]

CALLS: dict[str, Callable[[Any], object]] = {
    "reader's offset": lambda x: Reader(b"abc", offset=x),
    "reader's size": lambda x: Reader(b"abc").view(x, "x"),
    "reader's integer": lambda x: Reader(b"abc").uint(x, "x"),
    "writer's integer": lambda x: Writer().u8(x, "x"),
    "writer's width": lambda x: Writer().uint(1, x, "x"),
    "headroom": lambda x: PacketArena.pack([b"ab"], headroom=x),
    "tailroom": lambda x: PacketArena.pack([b"ab"], tailroom=x),
    "count": lambda x: PacketArena.uniform(x, 1),
    "length": lambda x: PacketArena.uniform(1, x),
    "index": lambda x: PacketArena.pack([b"a"])[x],
    "limit of a search": lambda x: search_vanity("fc", limit="" if x is None else x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("wrong", NO_SIZE, ids=shown)
def test_no_number_is_taken_for_one(name: str, wrong: Any) -> None:
    with pytest.raises((MisuseError, InputError)) as caught:
        CALLS[name](wrong)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("wrong", [None, 7, [1], ["ab"], object()])
def test_only_packets_are_packed(wrong: Any) -> None:
    with pytest.raises(MisuseError):
        PacketArena.pack(wrong)


def test_integers_of_numpy_are_integers() -> None:
    one, two = np.uint8(1), np.int64(2)
    assert Reader(b"abc", offset=one).take(two, "x") == b"bc"  # type: ignore[arg-type]
    assert Writer().uint(one, two, "x").finish() == b"\0\1"  # type: ignore[arg-type]
    arena = PacketArena.uniform(two, one, headroom=two)  # type: ignore[arg-type]
    assert (len(arena), len(arena.buffer), bytes(arena[two - 1])) == (2, 6, b"\0")  # type: ignore[index]


def test_a_value_is_shown_short_and_never_fails() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise RuntimeError("loud")

    assert shown(HUGE) == "an integer of 16610 bits"
    assert shown(Loud()) == "a Loud"
    assert shown((HUGE,)) == "a tuple"
    for long in ("x" * 10**6, b"x" * 10**6, list(range(1000))):
        assert len(shown(long)) < 80


@pytest.mark.parametrize("value", [-1, 11, HUGE, True + 10], ids=shown)
def test_whole_keeps_its_limits(value: int) -> None:
    with pytest.raises(CjdnsMisuseError):
        whole(value, "x", 0, 10, error=CjdnsMisuseError)
    assert whole(np.uint8(10), "x", 0, 10) == 10


class Liar(bytes):
    def __len__(self) -> int:
        return 32


@pytest.mark.parametrize("source", [lambda _: Liar(b"few"), lambda _: b"", lambda n: bytearray(n), None, 7])
def test_a_random_source_is_held_to_its_promise(source: Any) -> None:
    with pytest.raises(CjdnsMisuseError):
        PrivateKey.generate(random=source)
    with pytest.raises(CjdnsMisuseError):
        PrivateKey(bytes(32)).sign(b"", random=source)
