# SPDX-License-Identifier: Apache-2.0
"""Recorded public areas: Names and qualified Names are recomputed, fields and attributes are what was printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import name_of, qualified_name
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPM_NT, TPM_RH, TPMS_NV_PUBLIC, TPMT_PUBLIC, Structure
from tests.conformance.family import Case, Family

REMARKS = frozenset({"id", "source", "skip", "why"})
HIERARCHIES = {
    "owner": TPM_RH.OWNER,
    "null": TPM_RH.NULL,
    "endorsement": TPM_RH.ENDORSEMENT,
    "platform": TPM_RH.PLATFORM,
}


def judged(check: Callable[[Case], None]) -> Callable[[Case, Case], None]:
    """Return the comparison that lets a valid case pass its check, and a broken copy of one fail it."""

    def compare(case: Case, document: Case) -> None:
        if case["skip"] is not None:
            pytest.skip(case["skip"])
        assert type(case["valid"]) is bool
        try:
            check(case)
        except (AssertionError, PrestoCloudError):
            if case["valid"]:
                raise
        else:
            assert case["valid"], f"nothing is wrong with it: {case['why']}"

    return compare


def exact(structure: type[Structure], data: bytes) -> Any:
    """Return the structure that `data` is, having made it anew from its fields."""
    value = structure.decode(data)
    fresh = structure(**dict(value._fields()))
    assert fresh.encode() == data == value.encode()
    assert fresh == value
    return value


def check_name(case: Case) -> None:
    assert case["kind"] in ("object", "nv")
    structure = TPMT_PUBLIC if case["kind"] == "object" else TPMS_NV_PUBLIC
    public = exact(structure, bytes.fromhex(case["public_hex"]))
    name = bytes.fromhex(case["name_hex"])
    assert name_of(public) == name
    assert public.nameAlg == hash_of(case["hash"]).id == int.from_bytes(name[:2], "big")
    if case["kind"] == "nv":
        absent = ("type", "qualified_name_hex", "parent_qualified_name_hex", "hierarchy")
        assert all(case[field] is None for field in absent)
        return
    assert public.type == TPM_ALG_ID[case["type"].upper()]
    parent, hierarchy = case["parent_qualified_name_hex"], case["hierarchy"]
    assert parent is None or hierarchy is None
    if case["qualified_name_hex"] is None:
        return
    recorded = bytes.fromhex(case["qualified_name_hex"])
    assert len(recorded) == len(name)
    assert recorded[:2] == name[:2]
    if parent is not None:
        assert qualified_name(name, bytes.fromhex(parent)) == recorded
    elif hierarchy is not None:
        assert qualified_name(name, HIERARCHIES[hierarchy]) == recorded


def check_nv(case: Case) -> None:
    public, fields = exact(TPMS_NV_PUBLIC, bytes.fromhex(case["public_hex"])), case["fields"]
    assert name_of(public).hex() == case["name_hex"]
    assert public.nameAlg == hash_of(fields["name_alg"]).id == hash_of(case["hash"]).id
    assert int(public.nvIndex) == fields["nv_index"]
    assert int(public.attributes) == fields["attributes"]
    assert {name.lower() for name in public.attributes.names} == set(fields["attribute_names"])
    assert len(public.attributes.names) == len(fields["attribute_names"])
    assert public.attributes.nt == fields["nt"]
    assert TPM_NT(fields["nt"]).name.replace("_", "").lower() == fields["nt_name"] == case["kind"]
    assert public.authPolicy.hex() == fields["auth_policy_hex"]
    assert public.dataSize == fields["data_size"]


def check_sealed(case: Case) -> None:
    """Compare the structure: what libtpms puts into a private part is its own business, but for how it is laid out."""
    public, fields = exact(TPMT_PUBLIC, bytes.fromhex(case["public_hex"])), case["fields"]
    assert name_of(public).hex() == case["name_hex"]
    assert public.nameAlg == hash_of(fields["name_alg"]).id == hash_of(case["hash"]).id
    assert public.type == TPM_ALG_ID[fields["type"].upper()] == TPM_ALG_ID.KEYEDHASH
    assert int(public.objectAttributes) == fields["attributes"]
    assert public.parameters.scheme.scheme == TPM_ALG_ID[fields["scheme"].upper()]
    assert public.unique.hex() == fields["unique_hex"]
    assert public.authPolicy.hex() == case["policy_digest_hex"]
    assert case["kind"] == ("policy" if case["policy_digest_hex"] else "auth")
    private, layout = bytes.fromhex(case["private_hex"]), case["private_layout"]
    integrity, iv, encrypted = (bytes.fromhex(layout[f"{part}_hex"]) for part in ("integrity", "iv", "encrypted"))
    assert private == b"".join((_sized(integrity), _sized(iv), encrypted))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def cases_in(document: Any) -> Sequence[Case]:
    found: Sequence[Case] = document
    return found


_LIVE = frozenset({"policy_id", "unseal_policy", "unseal_expected_ok"})
"""What happened when the TPM was asked; cannot be recomputed."""

FILES = {
    "names.json": Family(judged(check_name), REMARKS, cases_in),
    "nv.json": Family(judged(check_nv), REMARKS, cases_in),
    "sealed.json": Family(judged(check_sealed), REMARKS | _LIVE, cases_in),
}
