# SPDX-License-Identifier: Apache-2.0
"""A comparison that cannot fail shows nothing: change a recorded value, and the case must no longer pass.

Every expected value is changed and must be noticed each time. A changed *input* need not change the outcome (another
wrong key is as wrong), so a field listed in `INPUTS` has to be noticed at least once over the sampled cases.
"""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.harness import REPOSITORY
from tests.conformance.table import TABLE

VECTORS = REPOSITORY / "tests" / "vectors"
CASES_OF_A_FILE = 30
CASES_OF_A_KIND = 3
LEAVES_OF_A_CASE = 60

INPUTS: dict[str, set[str]] = {
    "bpf/cbpf_filters.json": {"insns_hex", "insns_zb64"},
    "bpf/perf/programs.json": {"mem", "xdp", "cbpf", "ebpf_tc", "packet"},
    "cjdns/address.json": {"private"},
    "cjdns/convert_label.json": {"scheme", "label", "to_form", "forms.bitCount", "forms.prefixLen", "forms.prefix"},
    "cjdns/cryptoauth.json": {
        *("a.private", "b.private", "a.require_auth", "b.require_auth", "start_time"),
        *("steps.rand", "steps.advance_seconds", "steps.password", "steps.login", "steps.restrict_ip6"),
    },
    "cjdns/headers.json": {"congestion_set"},
    "cjdns/label_decode.json": {"scheme", "label"},
    "cjdns/number_compress.json": {"scheme", "number"},
    "cjdns/replay.json": {"start", "nonces"},
    "cjdns/scheme_serialization.json": {"bytes", "forms.bitCount", "forms.prefixLen", "forms.prefix"},
    "cjdns/secretbox.json": {"my_private", "her_private"},
    "cjdns/serialize_director.json": {"scheme", "number", "form"},
    "cjdns/sign.json": {"curve_private", "signed_message_given_to_verify"},
    "cjdns/splice.json": {"a", "b"},
    "cjdns/switch.json": {"in_if", "in", "label"},
    "cjdns/text_parse.json": {"text", "bytes", "label"},
    "cjdns/xor_metric.json": {"target", "a", "b", "nodes"},
    # In a broken copy, where another break changes nothing.
    "tpm/attestations.json": {"signature_hex", "public_hex", "extra_data_hex", "nv_contents_hex"},
    "tpm/corpus.jsonl": {"command_hex", "response_hex"},
    # In a broken copy, where another break changes nothing; attributes of the parent that are in no computation.
    "tpm/credentials.json": {"id_object_hex", "encrypted_secret_hex", "secret_hex", "parent_public_hex"},
    "tpm/duplicates.json": {"seed_hex", "duplicate_hex", "inner_key_hex", "parent_public_hex"},
    "tpm/names.json": {"qualified_name_hex", "parent_qualified_name_hex", "hierarchy"},  # where the parent is unknown
    # Handles that no Name tells; values whose last zeros do not count; the entity of a binding that is not used.
    "tpm/sessions.json": {
        *("command", "auths", "salt_key_public_hex.ecc"),
        *("sessions.start_command", "sessions.bind_name", "sessions.bind_auth"),
    },
    "tpm/signatures.json": {"signature_hex", "message_hex", "plain_hex", "public_hex"},
}
"""Fields that are given to the code under test, where a change may rightly leave the outcome as it was."""

Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every scalar of a case with where it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, value


def dotted(path: Path) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def changed(value: Any, rng: random.Random) -> Any:
    """Return another value of the same shape: one digit or character, one more, the opposite."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if value is None:
        return "00"
    places = [at for at, character in enumerate(value) if character.isalnum()]
    if not places:
        return value + "00"
    at = rng.choice(places)
    return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]


def some_leaves(case: dict[str, Any], informational: frozenset[str], rng: random.Random) -> Iterator[tuple[Path, Any]]:
    """Yield a leaf of every field that claims something, and more up to `LEAVES_OF_A_CASE`."""
    places = [(where, value) for where, value in leaves(case) if dotted(where) not in informational]
    rng.shuffle(places)
    first = {dotted(where): (where, value) for where, value in places}
    chosen = {where for where, _ in first.values()}
    yield from first.values()
    rest = [(where, value) for where, value in places if where not in chosen]
    yield from rest[: max(0, LEAVES_OF_A_CASE - len(chosen))]


def with_leaf(case: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    altered: Any = copy.deepcopy(case)
    inner = altered
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return altered


def sample(cases: list[dict[str, Any]], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Yield a few cases of each kind."""
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in cases:
        kinds[f"{case.get('op')} {case.get('kind')} {sorted(case)}"].append(case)
    most = max(CASES_OF_A_KIND, CASES_OF_A_FILE // len(kinds))
    for kind in sorted(kinds):
        yield from rng.sample(kinds[kind], min(most, len(kinds[kind])))


COMPARED = sorted(
    path
    for path in (file.relative_to(VECTORS).as_posix() for file in VECTORS.glob("**/*.json*"))
    if path in TABLE and TABLE[path].family is not None
)
"""The files of the project's own copy that have a family already."""


def test_files_are_compared() -> None:
    assert {"bpf/cbpf_filters.json", "bpf/perf/programs.json"} <= set(COMPARED)
    assert len(COMPARED) >= len(INPUTS)


@pytest.mark.parametrize("path", COMPARED)
def test_a_changed_value_is_noticed(path: str) -> None:
    row = TABLE[path]
    assert row.family is not None
    family, document, rng = row.family, row.load(VECTORS / path), random.Random(path)
    missed: list[str] = []
    inputs: dict[str, bool] = {}
    for case in sample(list(row.cases(document)), rng):
        family.compare(copy.deepcopy(case), document)
        for where, value in some_leaves(case, family.informational, rng):
            other = changed(value, rng)
            if dotted(where) in INPUTS.get(path, ()) and type(value) is int and value:
                other = rng.choice((other, 0))  # one more is often as good; nothing at all is not
            try:
                family.compare(with_leaf(case, where, other), document)
            except Exception:  # whatever refuses it, the case no longer passes
                noticed = True
            else:
                noticed = False
            if dotted(where) in INPUTS.get(path, ()):
                inputs[dotted(where)] = noticed or inputs.get(dotted(where), False)
            elif not noticed:
                missed.append(f"case {case.get('id')}: {'.'.join(map(str, where))} = {value!r} -> {other!r}")
    missed += [f"input {field}: no change of it" for field, noticed in inputs.items() if not noticed]
    assert not missed, f"{len(missed)} changes went unnoticed: " + "; ".join(missed[:10])
