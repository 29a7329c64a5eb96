# SPDX-License-Identifier: Apache-2.0
"""Recorded commands and responses: what a TPM accepted decodes and encodes to the same bytes, and equals the tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prestocloud_sec.tpm import CommandFrame, Decoded, ResponseFrame, TpmFormatError, decode_command, decode_response
from prestocloud_sec.tpm.spec import COMMANDS, TPM_CC
from tests.conformance.family import Case, Family
from tests.conformance.tpm_trees import as_recorded, message

INFORMATIONAL = frozenset({"id", "seq", "seq_in_source", "tool", "source", "locality"})


def decode(data: bytes) -> Decoded | None:
    """Return the command, with values that no table has kept where it has such; None if it is none."""
    for lenient in (False, True):
        try:
            return decode_command(data, lenient=lenient)
        except TpmFormatError:
            pass
    return None


def encodes_the_same(decoded: Decoded) -> None:
    """Make frame and parameters anew from their values, without the bytes that were received."""
    frame = decoded.frame
    if decoded.value is not None:
        fresh = type(decoded.value)(**dict(decoded.value._fields()))
        assert fresh.encode_parameters() == frame.parameters
        assert fresh == decoded.value
    if isinstance(frame, CommandFrame):
        again = CommandFrame(frame.tag, frame.code, frame.handles, frame.auths, frame.parameters).encode()
    else:
        again = ResponseFrame(frame.tag, frame.rc, frame.handles, frame.parameters, frame.auths).encode()
    assert again == decoded.raw


def compare_pair(case: Case, document: Case) -> None:
    """Compare one line of ``corpus.jsonl``; what the TPM refused need not decode, but if it does it is exact too."""
    command, response = bytes.fromhex(case["command_hex"]), bytes.fromhex(case["response_hex"])
    code = int.from_bytes(command[6:10], "big") if len(command) >= 10 else None
    if code in COMMANDS:
        assert TPM_CC(code).name == case["command_code_name"]
    try:
        decoded: Decoded | None = decode_command(command)
    except TpmFormatError:
        assert case["rc"] != 0, "the TPM carried it out"
        decoded = None
    if decoded is not None:
        assert decoded.raw == command
        encodes_the_same(decoded)
    answer = decode_response(response, decoded if decoded is not None else code)
    assert answer.rc is not None
    assert answer.rc.rc == case["rc"] == int.from_bytes(response[6:10], "big")
    if not answer.encrypted:
        assert (answer.value is None) == (case["rc"] != 0)
    encodes_the_same(answer)


def compare_trees(case: Case, document: Any) -> None:
    """Compare one line of ``decoded.jsonl`` with the pair that it was made of.

    Where the recorder found an error, that is its opinion: it does not know CMAC, nor some properties.
    """
    pair, name = document["pairs"][case["id"]], case["command_code_name"]
    command = bytes.fromhex(pair["command_hex"])
    decoded = decode(command)
    if "command" in case:
        assert decoded is not None
        assert as_recorded(name, message(decoded)) == case["command"]
    code = int.from_bytes(command[6:10], "big") if len(command) >= 10 else None
    if "response" in case:
        answer = decode_response(bytes.fromhex(pair["response_hex"]), decoded if decoded is not None else code)
        assert as_recorded(name, message(answer)) == case["response"]
    assert {"command", "response"} & set(case)
    assert name == pair["command_code_name"]


def lines_of(path: Path) -> list[Case]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def load_corpus(path: Path) -> Any:
    return {"cases": lines_of(path)}


def load_decoded(path: Path) -> Any:
    """Read the trees, and the pairs that they were made of, which are in the file beside them."""
    pairs = {pair["id"]: pair for pair in lines_of(path.with_name("corpus.jsonl"))}
    return {"cases": lines_of(path), "pairs": pairs}


def cases_in(document: Any) -> Sequence[Case]:
    found: Sequence[Case] = document["cases"]
    return found


FILES = {
    "corpus.jsonl": Family(compare_pair, INFORMATIONAL, cases_in, load_corpus),
    "decoded.jsonl": Family(
        compare_trees, frozenset({"id", "seq", "command_error", "response_error"}), cases_in, load_decoded
    ),
}
