# SPDX-License-Identifier: Apache-2.0
"""What clang makes of programs: verdicts and numbers of instructions gone through, as Linux 6.18 has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.bpf import verify
from tests.bpf.verifier.objects import Elf, loadables, maps_of

FOLDER = Path(__file__).resolve().parents[2] / "vectors" / "bpf" / "elf"
INDEX: dict[str, Any] = json.loads((FOLDER / "index.json").read_text())
OBJECTS: list[dict[str, Any]] = INDEX["tests"]


@pytest.mark.parametrize("recorded", OBJECTS, ids=[recorded["object"] for recorded in OBJECTS])
def test_verdicts_and_counts(recorded: dict[str, Any]) -> None:
    found = {made.name: made for made in loadables(FOLDER / recorded["object"])}
    verdicts = {name: verify(made.program, maps=made.maps) for name, made in found.items()}
    assert all(verdicts.values()) is (recorded["kernel_6_18_verdict"] == "ACCEPT")
    told = recorded.get("programs", {})
    assert told.keys() <= found.keys()
    assert all(found[name].program.type == row["type"] for name, row in told.items())
    for verdict in verdicts.values():
        if not verdict:
            assert f"processed {verdict.processed} insns" in recorded["kernel_log_tail"][-1]
            assert f"total_states {verdict.states} " in recorded["kernel_log_tail"][-1]
    assert {name: verdicts[name].processed for name in told} == {
        name: row["verified_insns"] for name, row in told.items()
    }


def test_what_was_recorded_is_not_all_the_same() -> None:
    assert len(OBJECTS) == 51
    assert {recorded["kernel_6_18_verdict"] for recorded in OBJECTS} == {"ACCEPT", "REJECT"}
    counts = {row["verified_insns"] for recorded in OBJECTS for row in recorded.get("programs", {}).values()}
    assert len(counts) > 15
    assert max(counts) > 1000


def test_maps_are_those_of_the_declarations() -> None:
    for recorded in OBJECTS:
        maps = maps_of(Elf((FOLDER / recorded["object"]).read_bytes()))
        for name, told in recorded.get("maps", {}).items():
            spec = maps[name]
            assert {
                "type": spec.type,
                "key_size": spec.key_size,
                "value_size": spec.value_size,
                "max_entries": spec.max_entries,
                "flags": spec.flags,
                "name": name,
            } == told
