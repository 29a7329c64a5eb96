# SPDX-License-Identifier: Apache-2.0
"""Recorded pairs of command and response, one of each command that a TPM carried out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from tests.conformance.harness import REPOSITORY


@dataclass(frozen=True)
class Pair:
    """One recorded pair."""

    name: str
    code: int
    command: bytes
    response: bytes


@cache
def pairs() -> tuple[Pair, ...]:
    """Return the first accepted pair of each command, and the first of each that used sessions."""
    found: dict[tuple[str, bytes], Pair] = {}
    with (REPOSITORY / "tests" / "vectors" / "tpm" / "corpus.jsonl").open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["rc"] == 0:
                command = bytes.fromhex(row["command_hex"])
                code, response = int.from_bytes(command[6:10], "big"), bytes.fromhex(row["response_hex"])
                pair = Pair(row["command_code_name"], code, command, response)
                found.setdefault((pair.name, command[:2]), pair)
    return tuple(found[key] for key in sorted(found))
