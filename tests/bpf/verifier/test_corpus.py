# SPDX-License-Identifier: Apache-2.0
"""Files of recorded verdicts: what they mean, what is counted, and files that are broken."""

from __future__ import annotations

import base64
import copy
import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.bpf import MapFlag, MapType, assemble
from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError
from prestocloud_sec.bpf.verifier.corpus import Case, Corpus, map_kind
from prestocloud_sec.bpf.verifier.maps import MapSpec
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.errors import InputError

GOOD = assemble("r0 = 0\nexit").to_bytes()
BAD = assemble("r0 = *(u64 *)(r10 - 600)\nexit").to_bytes()
LOOKUP = assemble(
    """
    r1 = map[id:0]
    r2 = r10
    r2 += -8
    *(u64 *)(r10 - 8) = 0
    call 1
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 + 40)
out:
    r0 = 0
    exit"""
).to_bytes()


def entry(name: str, code: bytes, verdict: str, errno: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "file": "hand.c",
        "prog_type": 1,
        "expected_attach_type": 0,
        "test_flags": 0,
        "fixups": {},
        "insns_hex": code.hex(),
        "kernel_6_18_verdict": verdict,
        "kernel_6_18_errno": errno,
        **more,
    }


def document(*tests: dict[str, Any], **kinds: str) -> dict[str, Any]:
    return {"map_kinds": kinds, "tests": list(tests)}


def counted(*tests: dict[str, Any], **kinds: str) -> dict[str, Any]:
    return Corpus(document(*tests, **kinds)).judge().to_json()


class TestMapKind:
    @pytest.mark.parametrize(
        ("text", "spec"),
        [
            ("HASH key8 val48 max1 NO_PREALLOC", MapSpec(MapType.HASH, 8, 48, 1, MapFlag.NO_PREALLOC)),
            ("LPM_TRIE 8/4/100 NO_PREALLOC", MapSpec(MapType.LPM_TRIE, 8, 4, 100, 1)),
            ("ARRAY key4 val16 max2; elem0={1,2,0*2}", MapSpec(MapType.ARRAY, 4, 16, 2)),
            ("PROG_ARRAY max4; [0]=return 1", MapSpec(MapType.PROG_ARRAY, 4, 4, 4)),
            (
                "HASH_OF_MAPS 4/4/7, inner HASH 2/6/3",
                MapSpec(MapType.HASH_OF_MAPS, 4, 4, 7, 0, inner=MapSpec(MapType.HASH, 2, 6, 3)),
            ),
            ("ARRAY 4/8/1 BPF_F_RDONLY_PROG", MapSpec(MapType.ARRAY, 4, 8, 1, 128)),
            ("ARRAY 4/8/1 WRONLY_PROG", MapSpec(MapType.ARRAY, 4, 8, 1, 256)),
            ("RINGBUF 0/0/8192", MapSpec(MapType.RINGBUF, 0, 0, 8192)),
            ("ARRAY 4/8/1 BTF val {int a; struct bpf_spin_lock l}", MapSpec(MapType.ARRAY, 4, 8, 1, spin_lock=4)),
            ("ARRAY 4/24/1 BTF {u32 a; struct bpf_timer t}", MapSpec(MapType.ARRAY, 4, 24, 1, timer=8)),
            (
                "ARRAY 4/28/1 BTF {bpf_spin_lock l, bpf_timer t, int n}",
                MapSpec(MapType.ARRAY, 4, 28, 1, spin_lock=0, timer=8),
            ),
            ("ARRAY 4/16/1 BTF {kptr, kptr_ref}", MapSpec(MapType.ARRAY, 4, 16, 1)),
        ],
    )
    def test_words(self, text: str, spec: MapSpec) -> None:
        assert map_kind(text) == spec

    @pytest.mark.parametrize("text", ["", "NOTHING 4/4/1", "4/4/1", ";", "{HASH}", "ARRAY_OF_MAPS 4/4/1, inner 5"])
    def test_no_words(self, text: str) -> None:
        with pytest.raises(BpfError):
            map_kind(text)

    def test_misuse(self) -> None:
        with pytest.raises(BpfMisuseError):
            map_kind(5)  # type: ignore[arg-type]

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        with suppress(InputError):
            map_kind(text)


class TestTally:
    def test_what_is_compared(self) -> None:
        assert counted(
            entry("agreed", GOOD, "ACCEPT"),
            entry("refused by both", BAD, "REJECT", "EACCES"),
            entry("accepted here", GOOD, "REJECT", "EACCES"),
            entry("refused here", BAD, "ACCEPT"),
            entry("skipped", GOOD, "SKIP", "EINVAL"),
            entry("not for this kernel", GOOD, "REJECT", "EINVAL", kernel_env_limited=True),
        ) == {
            "compared": 4,
            "agree": 2,
            "false_accept": [{"name": "accepted here", "errno": "EACCES"}],
            "false_reject": [{"name": "refused here"}],
            "witness": {"unsafe": 0, "confirmed": 0},
        }

    def test_maps_go_where_they_are_put(self) -> None:
        put: dict[str, Any] = {"fixups": {"big": [0]}}
        assert counted(entry("in it", LOOKUP, "ACCEPT", **put), big="HASH 8/48/1")["agree"] == 1
        assert counted(entry("behind it", LOOKUP, "REJECT", "EACCES", **put), big="HASH 8/40/1")["agree"] == 1
        assert counted(entry("no map", LOOKUP, "REJECT", "EINVAL"), big="HASH 8/48/1")["agree"] == 1

    def test_bytes_and_types_that_are_none_are_refused(self) -> None:
        cases = list(Corpus(document(entry("a", b"\xff" * 8, "REJECT"), entry("b", GOOD, "REJECT", prog_type=999))))
        assert [case.judge().errno for case in cases] == ["EINVAL", "EINVAL"]
        assert Corpus(document(entry("c", GOOD[:11], "REJECT", "EINVAL"))).judge().agree == 1

    def test_alignment(self) -> None:
        code = assemble(
            """
            r2 = *(u32 *)(r1 + 0)
            r3 = *(u32 *)(r1 + 4)
            r4 = r2
            r4 += 14
            r0 = 0
            if r4 > r3 goto +1
            r0 = *(u32 *)(r2 + 3)
            exit"""
        ).to_bytes()
        for flags, strict in ((0, False), (1, False), (2, True), (3, True), (4, False), (5, True), (16, False)):
            case = next(iter(Corpus(document(entry("x", code, "ACCEPT", prog_type=6, test_flags=flags)))))
            assert (case.strict_alignment, bool(case.judge())) == (strict, not strict)

    def test_packed(self) -> None:
        test = entry("packed", GOOD, "ACCEPT", insns_zb64=base64.b64encode(zlib.compress(GOOD)).decode())
        del test["insns_hex"]
        assert counted(test)["agree"] == 1

    def test_progress_and_length(self) -> None:
        corpus = Corpus(
            document(entry("a", GOOD, "ACCEPT"), entry("b", BAD, "SKIP"), entry("c", BAD, "REJECT", "EACCES"))
        )
        told: list[tuple[int, str, bool]] = []

        def progress(count: int, case: Case, verdict: Verdict) -> None:
            told.append((count, case.name, bool(verdict)))

        corpus.judge(progress=progress)
        assert told == [(1, "a", True), (2, "c", False)]
        assert len(corpus) == 3
        assert "2 to compare" in repr(corpus)

    def test_witnesses(self) -> None:
        tests = [
            entry("behind the stack", BAD, "REJECT", "EACCES"),
            entry("agreed", GOOD, "ACCEPT"),
            entry("not for memory", assemble("r0 = 0").to_bytes(), "REJECT", "EINVAL"),
        ]
        tally = Corpus(document(*tests)).judge(witness=True)
        assert (tally.unsafe, tally.confirmed) == (1, 1)


class TestBroken:
    @pytest.mark.parametrize("text", ["", "{", "[]", "5", "null", '"x"', b"\xff", "[" * 100000, "{}"])
    def test_no_corpus(self, text: str | bytes) -> None:
        with pytest.raises(BpfError):
            Corpus.from_json(text)

    @pytest.mark.parametrize(
        "change",
        [
            {"name": 5},
            {"name": None},
            {"prog_type": "1"},
            {"prog_type": True},
            {"expected_attach_type": "1"},
            {"test_flags": None},
            {"insns_hex": "9"},
            {"insns_hex": "zz"},
            {"insns_hex": 5},
            {"fixups": []},
            {"fixups": {"m": 0}},
            {"fixups": {"m": ["0"]}},
            {"fixups": {"m": [0]}},
            {"kernel_6_18_verdict": "MAYBE"},
            {"kernel_6_18_verdict": None},
        ],
    )
    def test_no_test(self, change: dict[str, Any]) -> None:
        with pytest.raises(BpfError, match="test 1"):
            Corpus(document(entry("a", GOOD, "ACCEPT"), entry("b", GOOD, "ACCEPT") | change))

    @pytest.mark.parametrize(
        "packed",
        [
            "!",
            base64.b64encode(b"no zlib").decode(),
            base64.b64encode(zlib.compress(GOOD)[:-4]).decode(),
            base64.b64encode(zlib.compress(bytes((1 << 24) + 8))).decode(),
        ],
    )
    def test_no_packed_program(self, packed: str) -> None:
        test = entry("a", GOOD, "ACCEPT", insns_zb64=packed)
        del test["insns_hex"]
        with pytest.raises(BpfError):
            Corpus(document(test))

    @pytest.mark.parametrize("kinds", [{"m": 5}, {"m": "NONE"}, [], "x"])
    def test_no_kinds(self, kinds: Any) -> None:
        with pytest.raises(BpfError):
            Corpus({"map_kinds": kinds, "tests": [entry("a", LOOKUP, "ACCEPT", fixups={"m": [0]})]})

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_anything_in_its_place(self, data: st.DataObject) -> None:
        whole = document(
            entry("a", GOOD, "ACCEPT", fixups={"m": [0]}), entry("b", BAD, "REJECT", "EACCES"), m="HASH 8/8/1"
        )
        broken: Any = copy.deepcopy(whole)
        place = data.draw(
            st.sampled_from([broken, broken["map_kinds"], *broken["tests"], broken["tests"][0]["fixups"]])
        )
        anything = st.recursive(
            st.none() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)
        )
        place[data.draw(st.sampled_from(sorted(place)))] = data.draw(anything)
        try:
            told = Corpus.from_json(json.dumps(broken)).judge().to_json()
        except InputError:
            return
        assert told["compared"] >= told["agree"]
