# SPDX-License-Identifier: Apache-2.0
"""Recorded credentials and duplicates, unwrapped by storage keys in software, and wrapped anew.

Broken copies have to be refused for what is wrong with them: a wrap that does not open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prestocloud_sec.tpm.errors import TpmInputError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.protect import (
    Credential,
    Duplicate,
    SoftwareParent,
    activate_credential,
    check_binding,
    make_credential,
    rewrap,
    unwrap,
    wrap,
)
from prestocloud_sec.tpm.session import AuthValue, ParameterCipher
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPMA_OBJECT, TPMT_PUBLIC, TPMT_SENSITIVE
from tests.conformance.family import Case, Family
from tests.conformance.tpm_names import exact


def unhex(text: str | None) -> bytes:
    return b"" if text is None else bytes.fromhex(text)


def is_refused(error: type[Exception], function: Callable[..., object], *args: object) -> bool:
    """Say whether a call ends with an error; pytest's own way to ask is no AssertionError where it does not."""
    try:
        function(*args)
    except error:
        return True
    return False


def cipher_of(symmetric: Case | None) -> ParameterCipher | None:
    if symmetric is None:
        return None
    assert set(symmetric) == {"algorithm", "bits", "mode"}
    assert symmetric["mode"] == "cfb"
    return ParameterCipher(symmetric["algorithm"], symmetric["bits"])


def parent_of(case: Case) -> SoftwareParent:
    """Return the storage key of a case, which is what the case says of it."""
    public = exact(TPMT_PUBLIC, unhex(case["parent_public_hex"]))
    parent = SoftwareParent.from_pem(case["parent_private_pem"], public)
    assert public.type == TPM_ALG_ID[case["parent_type"].upper()] == TPM_ALG_ID[case["scheme"].upper()]
    assert public.nameAlg == hash_of(case["hash"]).id
    storage = TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt
    assert public.objectAttributes & storage == storage
    return parent


def object_of(case: Case) -> tuple[TPMT_PUBLIC, bytes]:
    """Return public area and Name of the object of a case."""
    public, name = exact(TPMT_PUBLIC, unhex(case["object_public_hex"])), unhex(case["object_name_hex"])
    assert name_of(public) == name
    return public, name


def compare_credential(case: Case, document: Case) -> None:
    assert case["kind"] == "makecredential"
    parent, (_, name) = parent_of(case), object_of(case)
    cipher: Any = cipher_of(case["symmetric"])
    symmetric: Any = parent.public.parameters.symmetric  # type: ignore[union-attr]
    assert (symmetric.algorithm, symmetric.keyBits) == (TPM_ALG_ID[cipher.name.upper()], cipher.bits)
    credential = Credential(unhex(case["id_object_hex"]), unhex(case["encrypted_secret_hex"]))
    if case["tool_file_hex"] is not None:
        assert credential.to_file().hex() == case["tool_file_hex"]
        assert Credential.from_file(unhex(case["tool_file_hex"])) == credential
    assert type(case["valid"]) is bool
    if not case["valid"]:
        assert is_refused(TpmInputError, activate_credential, parent, name, credential)
        return
    secret = activate_credential(parent, name, credential)
    assert secret.hex() == case["secret_hex"]
    again = make_credential(parent.public, name, secret)
    assert tuple(map(len, again)) == tuple(map(len, credential))
    assert activate_credential(parent, name, again) == secret


def check_sensitive(sensitive: TPMT_SENSITIVE, expected: Case) -> None:
    assert sensitive.encode().hex() == expected["sensitive_hex"]
    assert exact(TPMT_SENSITIVE, unhex(expected["sensitive_hex"])) == sensitive
    assert sensitive.sensitiveType == expected["sensitive_type"]
    assert sensitive.authValue.hex() == expected["auth_value_hex"]
    assert AuthValue(sensitive.authValue).raw.hex() == expected["auth_value_stripped_hex"]
    assert sensitive.seedValue.hex() == expected["seed_value_hex"]
    assert sensitive.sensitive.hex() == expected["sensitive_value_hex"]


def compare_duplicate(case: Case, document: Case) -> None:
    public, _ = object_of(case)
    cipher, outer = cipher_of(case["symmetric"]), "outer" in case["kind"]
    assert (
        case["kind"]
        == {(0, 0): "none", (0, 1): "outer", (1, 0): "inner", (1, 1): "inner+outer"}[cipher is not None, outer]
    )
    assert (case["inner_key_hex"] is None) == (cipher is None)
    assert (case["seed_hex"] == "") == (not outer)
    if outer:
        parent = parent_of(case)
    else:
        parent = None
        assert (case["parent_type"], case["parent_public_hex"], case["parent_private_pem"]) == (None, None, None)
        assert case["scheme"] == "none"
        hash_of(case["hash"])
    duplicate = Duplicate(unhex(case["duplicate_hex"]), unhex(case["seed_hex"]), unhex(case["inner_key_hex"]), cipher)
    assert type(case["valid"]) is bool
    if not case["valid"]:
        assert case["expected"] is None
        assert is_refused(TpmInputError, unwrap, duplicate, public, parent)
        return
    sensitive = unwrap(duplicate, public, parent)
    check_sensitive(sensitive, case["expected"])
    check_binding(public, sensitive)
    to = None if parent is None else parent.public
    again = wrap(public, sensitive, to, cipher=cipher, inner_key=duplicate.inner_key or None)
    assert len(again.duplicate) == len(duplicate.duplicate)
    assert unwrap(again, public, parent) == sensitive
    if parent is None:
        assert again == duplicate
        return
    other = SoftwareParent.generate("ecc")
    moved = rewrap(duplicate, name_of(public), parent, other.public)
    assert unwrap(moved, public, other) == sensitive


def scored(document: Any) -> Sequence[Case]:
    """Return the cases that can be judged: not those whose parent's private key is known to a TPM alone."""
    return [case for case in document if case["skip"] is None]


REMARKS = frozenset({"id", "why", "skip", "source"})

FILES = {
    "credentials.json": Family(compare_credential, REMARKS, scored),
    "duplicates.json": Family(compare_duplicate, REMARKS, scored),
}
