# SPDX-License-Identifier: Apache-2.0
"""The batch key search against the readable walk, PyNaCl and hashlib."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import signal
import subprocess
import sys
from typing import Any

import nacl.bindings
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prestocloud_sec.cjdns import keysearch, keysearch_kernel, sign
from prestocloud_sec.cjdns.errors import AddressError, CjdnsMisuseError, KeySearchFaultError, KeySearchLimitError
from prestocloud_sec.cjdns.keys import PrivateKey, search_vanity
from prestocloud_sec.cjdns.keysearch import FIELD_PRIME, Progress, Walk, point_of, walk
from prestocloud_sec.cjdns.keysearch_kernel import LANES, LIMB_BITS, limbs_of
from prestocloud_sec.testing.keys import seeded_random

LOWEST, END = 2**254, 2**255
NOTHING = (2**64 - 1, 0)  # a mask and value that no key meets
SCALARS = st.integers(LOWEST // 8, END // 8 - 1).map(lambda number: 8 * number)


def public_of(scalar: int) -> bytes:
    return nacl.bindings.crypto_scalarmult_base(scalar.to_bytes(32, "little"))


def first_word(public: bytes) -> int:
    return int.from_bytes(hashlib.sha512(hashlib.sha512(public).digest()).digest()[:8], "big")


def check_block(trail: Walk, scalar: int) -> None:
    """Hold each key and hash of a block against PyNaCl and hashlib."""
    block = trail.block()
    assert len(block) == trail.width
    for place, (public, word) in enumerate(block):
        assert public == public_of(scalar + 8 * place)
        assert word == first_word(public)


class TestWalk:
    @settings(max_examples=5, deadline=None)
    @given(SCALARS, st.integers(0, 3))
    def test_every_key_and_hash_of_a_block_is_what_pynacl_and_hashlib_derive(self, scalar: int, blocks: int) -> None:
        trail = Walk(scalar)
        assume(scalar + 8 * trail.width * (blocks + 1) <= END)
        for _ in range(blocks + 1):
            assert not trail.search(*NOTHING, limit=2**62)
        assert trail.tried == trail.width * (blocks + 1)
        check_block(trail, scalar + 8 * trail.width * blocks)

    @pytest.mark.parametrize("from_end", [0, 1, 100])
    def test_up_to_the_end_of_the_range(self, from_end: int) -> None:
        scalar = END - 8 * (Walk(LOWEST).width + from_end)
        trail = Walk(scalar)
        trail.search(*NOTHING, limit=2**62)
        check_block(trail, scalar)

    def test_from_the_start_of_the_range(self) -> None:
        trail = Walk(LOWEST)
        trail.search(*NOTHING, limit=2**62)
        check_block(trail, LOWEST)

    def test_stays_true_over_many_blocks(self) -> None:
        scalar = LOWEST + 8 * 123456789
        trail = Walk(scalar)
        for _ in range(500):
            trail.search(*NOTHING, limit=2**62)
        check_block(trail, scalar + 8 * trail.width * 499)

    @settings(max_examples=5, deadline=None)
    @given(SCALARS)
    def test_the_readable_walk_is_its_twin(self, scalar: int) -> None:
        trail = Walk(scalar)
        assume(scalar + 8 * trail.width <= END)
        trail.search(*NOTHING, limit=2**62)
        keys = [key.raw for key in itertools.islice(walk(scalar), trail.width)]
        assert keys == [public for public, _ in trail.block()]
        assert trail.middle() == keys[trail.width // 2]

    @given(SCALARS)
    def test_point_of_lies_on_the_curve_and_has_the_key_as_its_u(self, scalar: int) -> None:
        u, v = point_of(scalar)
        assert (v * v - (u**3 + 486662 * u * u + u)) % FIELD_PRIME == 0
        assert u.to_bytes(32, "little") == public_of(scalar)

    @given(SCALARS)
    def test_clamping_leaves_every_scalar_of_a_walk_alone(self, scalar: int) -> None:
        assert sign.clamp(scalar.to_bytes(32, "little")) == scalar.to_bytes(32, "little")

    @settings(max_examples=20)
    @given(SCALARS, st.integers(0, 2**16 - 1), st.integers(0, 8), st.integers(1, 3000))
    def test_finds_the_first_key_that_fits(self, scalar: int, wanted: int, bits: int, limit: int) -> None:
        mask = ((1 << bits) - 1) << 64 - bits if bits else 0
        wanted = wanted << 48 & mask
        trail = Walk(scalar)
        assume(scalar + 8 * trail.width <= END)
        found = trail.search(mask, wanted, limit)
        words = [word for _, word in trail.block()][:limit]
        places = [place for place, word in enumerate(words) if word & mask == wanted]
        assert found == bool(places)
        assert trail.tried == (places[0] if places else min(limit, trail.width))


def lanes_of(elements: list[list[int]]) -> np.ndarray[Any, Any]:
    """Lay `LANES` elements of ten limbs out as a row."""
    return np.ascontiguousarray(np.array(elements, dtype=np.uint64).T[None])


def numbers_of(row: np.ndarray[Any, Any]) -> list[int]:
    return [sum(int(limb) << sum(LIMB_BITS[:at]) for at, limb in enumerate(lane)) for lane in row.T]


@pytest.fixture(scope="module")
def operations() -> Any:
    """Compile one kernel that applies every field operation to a pair of elements."""
    import numba

    @numba.njit
    def apply(a: Any, b: Any, out: Any, key: Any) -> None:
        keysearch_kernel.multiply(out, 0, a, 0, b, 0)
        keysearch_kernel.square(out, 1, a, 0)
        keysearch_kernel.subtract(out, 2, a, 0, b, 0)
        keysearch_kernel.add(out, 3, a, 0, b, 0)
        keysearch_kernel.subtract_reduced(out, 4, a, 0, b, 0)
        keysearch_kernel.sum_point(out, 5, a, 0, b, 0, b, 0)
        keysearch_kernel.own_key(key, 0, a, 0)
        keysearch_kernel.sum_key(key, 1, a, 0, b, 0, b, 0)

    return apply


REDUCED = [2**26 + 2**16 - 1, 2**25 + 2**16 - 1] * 5
PRIME_LIMBS = limbs_of(FIELD_PRIME)
ELEMENTS = st.one_of(
    st.sampled_from([[0] * 10, REDUCED, PRIME_LIMBS, limbs_of(FIELD_PRIME - 1), limbs_of(2**255 - 1), limbs_of(1)]),
    st.tuples(*[st.integers(0, most) for most in REDUCED]).map(list),
    st.integers(0, 2**255 - 1).map(limbs_of),
)
FOUR = st.lists(ELEMENTS, min_size=LANES, max_size=LANES)


@settings(deadline=None)
@given(a=FOUR, b=FOUR, stretch=st.booleans())
def test_field_operations_are_exact_up_to_their_bounds(
    operations: Any, a: list[list[int]], b: list[list[int]], stretch: bool
) -> None:
    out, key = np.zeros((6, 10, LANES), dtype=np.uint64), np.zeros((2, 4, LANES), dtype=np.uint64)
    operations(lanes_of(a), lanes_of(b), out, key)
    words = key.transpose(0, 2, 1).astype("<u8", order="C")
    for lane, (x, y) in enumerate(zip(numbers_of(lanes_of(a)[0]), numbers_of(lanes_of(b)[0]), strict=True)):
        expected = [x * y, x * x, x - y, x + y, x - y, x * x - 486662 - 2 * y]
        assert [(numbers_of(row)[lane] - value) % FIELD_PRIME for row, value in zip(out, expected, strict=True)] == [
            0
        ] * 6
        assert words[0, lane].tobytes() == (x % FIELD_PRIME).to_bytes(32, "little")
        assert words[1, lane].tobytes() == (expected[5] % FIELD_PRIME).to_bytes(32, "little")
    for row in (0, 1, 4, 5):
        assert (out[row] <= np.array(REDUCED, dtype=np.uint64)[:, None]).all()
    # A product also takes one sum or difference as it comes: row 2 (difference) times row 3 (sum).
    unreduced = out[2:3].copy() if stretch else out[3:4].copy()
    operations(unreduced, out[3:4].copy(), out, key)
    for lane, (x, y) in enumerate(zip(numbers_of(unreduced[0]), numbers_of(lanes_of(a)[0]), strict=True)):
        total = y + numbers_of(lanes_of(b)[0])[lane]
        assert (numbers_of(out[0])[lane] - x * total) % FIELD_PRIME == 0
        assert (numbers_of(out[1])[lane] - x * x) % FIELD_PRIME == 0


class TestSearchVanity:
    @pytest.mark.parametrize("prefix", ["fc", "FC0", "fcab", "fc12:", "fc12:3"])
    def test_returns_a_key_whose_address_begins_so(self, prefix: str) -> None:
        key = search_vanity(prefix)
        address = hashlib.sha512(hashlib.sha512(nacl.bindings.crypto_scalarmult_base(key.raw)).digest()).hexdigest()
        assert address.startswith(prefix.replace(":", "").lower())
        assert str(key.address).startswith(prefix.lower())

    @settings(max_examples=5, deadline=None)
    @given(st.binary(min_size=4, max_size=4))
    def test_returns_the_first_key_at_or_after_a_start_drawn_afresh(self, seed: bytes) -> None:
        source, asked = seeded_random(seed), []
        key = search_vanity("fc", random=lambda size: asked.append(source(size)) or asked[-1])
        assert [len(drawn) for drawn in asked] == [32]
        start = int.from_bytes(sign.clamp(asked[0]), "little")
        steps = next(n for n, public in enumerate(walk(start)) if first_word(public.raw) >> 56 == 0xFC)
        assert int.from_bytes(key.raw, "little") == start + 8 * steps

    def test_two_searches_share_nothing(self) -> None:
        keys = [int.from_bytes(search_vanity("fc").raw, "little") for _ in range(4)]
        assert all(abs(a - b) > 2**200 for a, b in itertools.combinations(keys, 2))

    def test_limit_is_the_number_of_keys_tried(self) -> None:
        start = int.from_bytes(sign.clamp(seeded_random(b"limit")(32)), "little")
        steps = next(n for n, public in enumerate(walk(start)) if first_word(public.raw) >> 56 == 0xFC)
        assert steps > 0
        for limit in (1, steps):
            with pytest.raises(KeySearchLimitError, match=f"{limit} keys"):
                search_vanity("fc", limit=limit, random=seeded_random(b"limit"))
        found = search_vanity("fc", limit=steps + 1, random=seeded_random(b"limit"))
        assert int.from_bytes(found.raw, "little") == start + 8 * steps

    def test_limit_beyond_a_block(self) -> None:
        with pytest.raises(KeySearchLimitError):
            search_vanity("fc00:0000:0000:0000", limit=20_000)

    def test_a_start_near_the_end_is_drawn_again(self) -> None:
        draws = [b"\xff" * 32, (END - 8 * 2**64).to_bytes(32, "little"), bytes(range(32))]
        key = search_vanity("fc", random=lambda size: draws.pop(0))
        assert draws == []
        start = int.from_bytes(sign.clamp(bytes(range(32))), "little")
        assert 0 <= int.from_bytes(key.raw, "little") - start < 8 * 2**16

    @pytest.mark.parametrize("random", [lambda size: b"\xff" * size, lambda size: b"", lambda size: None, 7])
    def test_a_random_source_that_is_none(self, random: Any) -> None:
        with pytest.raises(CjdnsMisuseError):
            search_vanity("fc", random=random)

    @pytest.mark.parametrize(
        "prefix",
        [
            "",
            "f",
            "fd",
            "0c",
            "fc g",
            "fc:12",
            "fc1:",
            ":fc",
            "fc12::3",
            "fc1234:5",
            "fc12:34567",
            "fc٠",
            "fc\n",
            " fc",
            "0xfc",
            "fc" + "0" * 15,
            "fc" * 10**6,
            "fc12:" * 7,
        ],
    )
    def test_bad_prefixes(self, prefix: str) -> None:
        with pytest.raises(AddressError) as caught:
            search_vanity(prefix)
        assert len(str(caught.value)) < 300

    @given(st.text(max_size=20))
    def test_any_text_is_a_prefix_or_refused_by_type(self, prefix: str) -> None:
        with contextlib.suppress(AddressError, KeySearchLimitError):
            search_vanity(prefix, limit=1)

    @pytest.mark.parametrize(
        "arguments", [{"limit": 0}, {"limit": 2**63}, {"limit": "1"}, {"limit": -1}, {"progress": 7}, {"random": None}]
    )
    def test_wrong_use(self, arguments: Any) -> None:
        with pytest.raises(CjdnsMisuseError):
            search_vanity("fc", **arguments)
        for wrong in (None, b"fc", 0xFC):
            with pytest.raises(CjdnsMisuseError):
                search_vanity(wrong)  # type: ignore[arg-type]

    def test_progress_counts_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keysearch, "_REPORT_SECONDS", 0)
        seen: list[Progress] = []
        with pytest.raises(KeySearchLimitError):
            search_vanity("fc00:0000:0000", limit=10_000, progress=seen.append)
        width = Walk(LOWEST).width
        assert [report.tried for report in seen] == list(range(width, 10_000, width))
        assert {report.expected for report in seen} == {2**48}
        assert all(report.rate > 0 for report in seen)

    @pytest.mark.parametrize("wrong_by", [-1, 1])
    def test_a_key_that_pynacl_derives_otherwise_is_not_returned(
        self, monkeypatch: pytest.MonkeyPatch, wrong_by: int
    ) -> None:
        honest = keysearch_kernel.first_match
        monkeypatch.setattr(keysearch_kernel, "first_match", lambda *given: honest(*given) + wrong_by)
        with pytest.raises(KeySearchFaultError):
            search_vanity("fc", random=seeded_random(b"limit"))

    def test_a_walk_gone_astray_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(keysearch, "_REPORT_SECONDS", 0)
        monkeypatch.setattr(Walk, "middle", lambda self: bytes(32))
        with pytest.raises(KeySearchFaultError):
            search_vanity("fc00:0000:0000:0000")

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_the_start_is_wiped_however_the_search_ends(
        self, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
    ) -> None:
        monkeypatch.setattr(keysearch, "_REPORT_SECONDS", 0)
        starts = []
        clamp = sign.clamp
        monkeypatch.setattr(sign, "clamp", lambda secret: starts.append(clamp(secret)) or starts[-1])

        def stop(_: Progress) -> None:
            assert any(starts[0])
            raise error

        with pytest.raises(error):
            search_vanity("fc00:0000:0000:0000", progress=stop)
        assert starts == [bytearray(32)]
        search_vanity("fc")
        assert starts[1] == bytearray(32)

    def test_ctrl_c_ends_a_search_at_once(self) -> None:
        program = (
            "from prestocloud_sec.cjdns.keys import search_vanity\n"
            "search_vanity('fc00:0000:0000:0000', progress=lambda report: print(report.tried, flush=True))\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
        ) as child:
            assert child.stdout is not None
            assert int(child.stdout.readline()) > 0
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=10)
        assert errors.rstrip().endswith(b"KeyboardInterrupt")

    def test_a_key_found_by_search_signs_and_names_like_any_other(self) -> None:
        key = search_vanity("fc")
        assert PrivateKey(key.raw) == key
        assert PrivateKey.parse(key.raw.hex()).public.is_routable
