# SPDX-License-Identifier: Apache-2.0
"""Secret parts of objects, and what ties them to the public ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    VerificationError,
)
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.protect import (
    check_binding,
    private_key_of,
    sensitive_of,
    unique_of,
)
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPMT_PUBLIC,
    TPMT_SENSITIVE,
)
from tests.tpm.protect.keys import DATA, objects, rsa_key


@pytest.mark.parametrize(("public", "secret"), objects(), ids=["rsa", "ecc", "keyedhash", "symcipher"])
def test_secret_parts(public: TPMT_PUBLIC, secret: Any) -> None:
    public, sensitive = sensitive_of(public, secret, "value")
    check_binding(public, sensitive)
    assert sensitive.authValue == b"value"
    if isinstance(secret, bytes):
        assert sensitive.sensitive == secret
        assert len(sensitive.seedValue) == 32
        assert public.unique == hash_of("sha256").digest(sensitive.seedValue, secret)
        assert public.unique == unique_of(public, sensitive.seedValue, secret)
        with pytest.raises(TpmMisuseError):
            private_key_of(public, sensitive)
    else:
        found = private_key_of(public, sensitive)
        assert found.public_key() == secret.public_key()
        numbers, wanted = found.private_numbers(), secret.private_numbers()
        same = ("private_value",) if isinstance(numbers, ec.EllipticCurvePrivateNumbers) else ("p", "q")
        assert all(getattr(numbers, name) == getattr(wanted, name) for name in same)
        assert sensitive.seedValue == b""
    other = bytearray(sensitive.sensitive)
    other[-1] ^= 1
    with pytest.raises(VerificationError):
        check_binding(public, sensitive.replace(sensitive=bytes(other)))
    wrong = TPMT_SENSITIVE(TPM_ALG_ID.RSA if public.type != TPM_ALG_ID.RSA else TPM_ALG_ID.ECC, b"", b"", b"\3")
    with pytest.raises(VerificationError):
        check_binding(public, wrong)


def test_numbers_that_are_no_private_key() -> None:
    rsa_public, _ = sensitive_of(*objects()[0])
    modulus = int.from_bytes(rsa_public.unique, "big")  # type: ignore[arg-type]
    primes = rsa_key().private_numbers()
    for number in (0, 1, 2, primes.p + 2, modulus, modulus - 1):
        secret = number.to_bytes(256, "big")
        with pytest.raises(VerificationError):
            check_binding(rsa_public, TPMT_SENSITIVE(TPM_ALG_ID.RSA, b"", b"", secret))
    check_binding(rsa_public, TPMT_SENSITIVE(TPM_ALG_ID.RSA, b"", b"", primes.q.to_bytes(128, "big")))
    ecc_public, _ = sensitive_of(*objects()[1])
    for number in (0, 1, 1 << 384):
        with pytest.raises(VerificationError):
            check_binding(ecc_public, TPMT_SENSITIVE(TPM_ALG_ID.ECC, b"", b"", number.to_bytes(49, "big")))


def test_what_makes_no_secret_part() -> None:
    public, key = objects()[1]
    calls: list[Callable[[], object]] = [
        lambda: sensitive_of(public, b"bytes"),
        lambda: sensitive_of(public, rsa_key()),
        lambda: sensitive_of(public, ec.generate_private_key(ec.SECP384R1())),
        lambda: sensitive_of(DATA, key),
        lambda: sensitive_of(DATA, None),  # type: ignore[arg-type]
        lambda: sensitive_of(DATA, b"", bytes(32) + b"x"),
        lambda: sensitive_of(None, b""),  # type: ignore[arg-type]
        lambda: sensitive_of(DATA, b"", random=lambda size: b""),
        lambda: unique_of(None, b"", b""),  # type: ignore[arg-type]
        lambda: unique_of(DATA, "x", b""),  # type: ignore[arg-type]
        lambda: check_binding(DATA, b""),  # type: ignore[arg-type]
        lambda: check_binding(b"", b""),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TpmMisuseError):
            call()
