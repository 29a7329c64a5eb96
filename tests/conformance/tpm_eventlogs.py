# SPDX-License-Identifier: Apache-2.0
"""Recorded event logs, right and broken ones, against the parser and the replay.

The logs themselves lie beside the file of cases; the project has no copy of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prestocloud_sec.tpm._banks import bank_name
from prestocloud_sec.tpm.errors import TpmFormatError
from prestocloud_sec.tpm.eventlog import EventLog, compare, replay
from tests.conformance.family import Case, Family


class Logs(list[Case]):
    """The cases, and the folder that their logs are in."""

    folder: Path


def load(path: Path) -> Logs:
    found = Logs(json.loads(path.read_bytes()))
    found.folder = path.parent / "eventlogs"
    return found


def listed(document: Any) -> Sequence[Case]:
    found: Sequence[Case] = document
    return found


def told(log: EventLog) -> list[dict[str, object]]:
    """Return the events in the form of the recorded cases."""
    return [
        {
            "pcr": event.pcr,
            "type": int(event.type),
            "digests": {bank_name(bank): value.hex() for bank, value in event.digests},
            "event_size": len(event.data),
            "event_sha256": hashlib.sha256(event.data).hexdigest(),
        }
        for event in log
    ]


def compare_log(case: Case, document: Any) -> None:
    raw = (document.folder / case["file"]).read_bytes()
    assert case["kind"] == case["format"] == ("crypto-agile" if raw[32:].startswith(b"Spec ID Event03\0") else "sha1")
    try:
        log = EventLog.decode(raw)
    except TpmFormatError:
        assert case["malformed"] is True
        assert case["events"] is None
        assert case["valid"] is (case["skip"] is not None)
        if case["skip"] is None:
            assert (case["event_count"], case["expected_pcrs"]) == (None, None)
        return
    assert log.encode() == raw
    assert log.format.value == case["format"]
    assert len(log) == case["event_count"]
    for event in log:
        assert event.payload.encode() == event.data
    if case["skip"] is not None:
        return
    assert case["valid"] is True
    assert case["malformed"] is False
    assert told(log) == case["events"]
    found = replay(log)
    values = {bank_name(b): {str(pcr): v.hex() for pcr, v in pcrs.items()} for b, pcrs in found.values.items() if pcrs}
    assert values == case["expected_pcrs"]
    expected = {
        bank: {int(pcr): bytes.fromhex(value) for pcr, value in pcrs.items()}
        for bank, pcrs in case["expected_pcrs"].items()
    }
    assert compare(expected, log).faults == ()


FILES = {
    "eventlogs.json": Family(compare_log, frozenset({"id", "why", "skip", "source", "note"}), listed, load),
}
