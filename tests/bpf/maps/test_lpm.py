# SPDX-License-Identifier: Apache-2.0
"""Tries: every length of key against a search through all prefixes, order, size, and keys as people write them."""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec import bpf
from prestocloud_sec.bpf.errors import BpfMisuseError, MapError, MissingKeyError
from prestocloud_sec.bpf.maps.base import address_of
from prestocloud_sec.bpf.maps.lpm_layout import LpmWord
from prestocloud_sec.bpf.maps.prefix import Prefix


def prefixes(size: int) -> st.SearchStrategy[tuple[int, bytes]]:
    """Draw prefixes that often agree in many bits."""
    data = st.lists(st.sampled_from([0, 0, 0, 1, 128, 255, 10]), min_size=size, max_size=size).map(bytes)
    return st.tuples(st.integers(0, 8 * size) | st.sampled_from([0, 1, 8 * size - 1, 8 * size]), data)


def bits(data: bytes, length: int) -> str:
    return "".join(f"{byte:08b}" for byte in data)[:length]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 16, 17, 23, 64, 256])
@settings(max_examples=40)
@given(data=st.data())
def test_lookups_find_the_longest(size: int, data: st.DataObject) -> None:
    stored = data.draw(st.lists(prefixes(size), max_size=12))
    there = bpf.LpmTrie(4 + size, "u4", 100)
    model: dict[str, int] = {}
    for number, (length, key) in enumerate(stored):
        there[length, key] = number
        model[bits(key, length)] = number
    for length, key in [*stored, *data.draw(st.lists(prefixes(size), max_size=8))]:
        asked = bits(key, length)
        matching = [prefix for prefix in model if asked.startswith(prefix)]
        assert there.get((length, key)) == (model[max(matching, key=len)] if matching else None)
        assert ((length, key) in there) is (asked in model)
    found = {bits(key.data, key.length): value for key, value in there.items()}
    assert found == model
    # A prefix comes behind those it is the beginning of; else the order is that of the bits.
    order = [bits(key.data, key.length) for key in there]
    assert order == sorted(order, key=lambda text: text + "2")
    removed = data.draw(st.sets(st.sampled_from(sorted(model)))) if model else set()
    for text in removed:
        del there[len(text), int(text.ljust(8 * size, "1"), 2).to_bytes(size, "big")]
    assert {bits(key.data, key.length): value for key, value in there.items()} == {
        text: value for text, value in model.items() if text not in removed
    }


@given(st.lists(st.tuples(st.booleans(), prefixes(2)), max_size=80))
def test_branches_are_given_back(steps: list[tuple[bool, tuple[int, bytes]]]) -> None:
    there = bpf.LpmTrie(6, "u4", 8)
    for store, key in steps:
        try:
            if store:
                there[key] = 1
            else:
                del there[key]
        except MapError as error:
            assert error.symbol in {"ENOSPC", "ENOENT"}  # noqa: PT017
        words = there.descriptor
        branches = words[LpmWord.BRANCH_FRESH] - (words[LpmWord.SLOTS] + 1) - words[LpmWord.BRANCH_FREED]
        assert 0 <= branches <= max(len(there) - 1, 0)
        assert words[LpmWord.FRESH] - words[LpmWord.FREED] == len(there)
    for key in there:
        del there[key]
    assert there.descriptor[LpmWord.ROOT] == 0


def test_keys_as_people_write_them() -> None:
    there = bpf.LpmTrie(8, "u4", 10)
    there["10.0.0.0/8"] = 1
    there[ipaddress.IPv4Network("10.1.0.0/16")] = 2
    there[24, bytes([10, 1, 2, 0])] = 3
    there[Prefix(32, bytes([10, 1, 2, 3]))] = 4
    there[b"\0\0\0\0" + bytes(4)] = 5
    asked = {"10.9.9.9/32": 1, "10.1.9.9": 2, "10.1.2.9": 3, "10.1.2.3": 4, "11.0.0.0": 5}
    assert {key: there[key] for key in asked} == asked
    assert [str(key.network) for key in there] == [
        "10.1.2.3/32",
        "10.1.2.0/24",
        "10.1.0.0/16",
        "10.0.0.0/8",
        "0.0.0.0/0",
    ]
    six = bpf.LpmTrie(20, "u4", 10)
    six["2001:db8::/32"] = 6
    assert six["2001:db8::1"] == 6
    assert next(iter(six)).network == ipaddress.IPv6Network("2001:db8::/32")
    table = there.to_numpy()
    assert table["key"]["length"].tolist() == [32, 24, 16, 8, 0]
    assert table["key"]["data"][0].tolist() == [10, 1, 2, 3]
    assert repr(six) == "<LpmTrie: prefix of 128 bits -> uint32, 1 of 10 entries, NO_PREALLOC>"


def test_addresses_are_prefixes_of_all_their_bits() -> None:
    there = bpf.LpmTrie(8, "u4", 10)
    there[ipaddress.ip_address("10.1.2.3")] = 1
    assert [key.length for key in there] == [32]
    assert there["10.1.2.3/32"] == there[ipaddress.ip_address("10.1.2.3")] == 1
    six = bpf.LpmTrie(20, "u4", 10)
    six[ipaddress.ip_address("fc00::1")] = 2
    assert [key.length for key in six] == [128]
    for trie, other, family in ((there, "fc00::1", "IPv4"), (six, "10.1.2.3", "IPv6")):
        for text in (other, ipaddress.ip_address(other), ipaddress.ip_network(other)):
            with pytest.raises(BpfMisuseError, match=f"an {family} network or address"):
                _ = trie[text]


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (Prefix(16, bytes([10, 1, 2, 3])), "10.1.2.3/16"),
        (Prefix(8, b"\xfc" + bytes(15)), "fc00::/8"),
        (Prefix(12, b"\xab\xc0"), "0xabc0/12"),
        (Prefix("a", None), "None/'a'"),  # type: ignore[arg-type]
    ],
)
def test_what_a_prefix_looks_like(prefix: Prefix, text: str) -> None:
    assert (str(prefix), repr(prefix)) == (text, f"Prefix({text})")


def test_keys_of_other_kinds() -> None:
    there = bpf.LpmTrie([("length", "u4"), ("data", "u1", (4,))], "u4", 10)
    there[8, [10, 0, 0, 0]] = 1
    assert there[32, [10, 1, 1, 1]] == 1
    packed = bpf.LpmTrie("=I4s", "u4", 10)
    packed[8, b"\n\0\0\0"] = 1
    assert packed[32, b"\n\1\1\1"] == 1
    assert list(packed) == [(8, b"\n\0\0\0")]


@pytest.mark.parametrize(
    "bad",
    ["10.0.0.0/33", "10.0.0", "::1", "", 5, None, (1,), (1, 2), (1, b"abc"), (-1, bytes(4)), (1.5, bytes(4)), bytes(7)],
)
def test_bad_keys(bad: Any) -> None:
    there = bpf.LpmTrie(8, "u4", 10)
    with pytest.raises(BpfMisuseError):
        there[bad] = 1
    with pytest.raises(BpfMisuseError):
        there.get(bad)
    assert len(there) == 0
    with pytest.raises(BpfMisuseError):
        _ = Prefix(8, b"abc").network


def test_a_stored_prefix_is_taken_out_only_by_its_own_key() -> None:
    there = bpf.LpmTrie(8, "u4", 10)
    there["10.0.0.0/8"] = 1
    assert there.pop("10.1.0.0/16", 7) == 7
    with pytest.raises(MissingKeyError):
        there.pop("10.1.0.0/16")
    assert there.pop("10.9.9.9/8") == 1
    assert there.pop("10.0.0.0/8", None) is None
    with pytest.raises(MapError, match="ENOTSUPP"):
        there.lookup_and_delete("10.0.0.0/8")


def test_an_update_of_a_full_trie() -> None:
    there = bpf.LpmTrie(8, "u4", 2)
    there["10.0.0.0/8"] = 1
    there["11.0.0.0/8"] = 2
    old = there.program_lookup(b"\x08\0\0\0\n\0\0\0")
    there["10.0.0.0/8"] = 3
    assert there.values[old] == 1
    assert there.to_numpy()["value"].tolist() == [3, 2]
    with pytest.raises(MapError, match="ENOSPC"):
        there["12.0.0.0/8"] = 1


def test_many_prefixes() -> None:
    from prestocloud_sec.bpf.maps import native_kernel

    chance = np.random.default_rng(5)
    count = 100_000
    there = bpf.LpmTrie(8, "u4", 1_000_000)
    keys = np.zeros((count, 8), np.uint8)
    lengths = chance.integers(12, 33, count)
    numbers = chance.integers(0, 1 << 32, count, dtype=np.uint64)
    keys[:, 0] = lengths
    keys[:, 4:] = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    values = np.arange(count, dtype=np.uint32)
    descriptor = address_of(there.descriptor)
    for place in range(count):
        native_kernel.update(descriptor, address_of(keys) + 8 * place, address_of(values) + 4 * place, 0, 0)
    newest = {
        (int(n) >> (32 - int(length)), int(length)): place
        for place, (n, length) in enumerate(zip(numbers, lengths, strict=True))
    }
    assert len(there) == len(newest)
    for number in chance.integers(0, 1 << 32, 2000).tolist() + numbers[:2000].tolist():
        expected = next(
            (
                newest[number >> (32 - length), length]
                for length in range(32, 11, -1)
                if (number >> (32 - length), length) in newest
            ),
            None,
        )
        assert there.get((32, number.to_bytes(4, "big"))) == expected
