# SPDX-License-Identifier: Apache-2.0
"""What people type first: names where there are numbers, ranges, and messages that tell what to type instead."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.tpm import TpmMisuseError, explain, use, verify_quote
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.policy import PCR, CommandCode, Policy
from prestocloud_sec.tpm.spec import TPM_CC, TPM_ECC_CURVE, TPMS_ECC_PARMS


def test_ranges_of_pcrs() -> None:
    assert PcrSelection.of("sha256:0-3,16") == PcrSelection.of("sha256:0,1,2,3,16")
    assert PcrSelection.of("sha1:7-7") == PcrSelection.of("sha1:7")
    assert len(PcrSelection.of("sha1:0-23")) == 24


@pytest.mark.parametrize("numbers", ["3-1", "0-", "-3", "0-24", "0-1-2", "a-b", "0--1", "0-100", "٠-٣"])
def test_what_is_no_range(numbers: str) -> None:
    with pytest.raises(TpmMisuseError, match="selection"):
        PcrSelection.of(f"sha256:{numbers}")


@pytest.mark.parametrize("name", ["NIST_P384", "nist_p384", "P-384", "p384", "NIST-P384"])
def test_names_of_curves(name: str) -> None:
    template = use.key_template(curve=name)
    assert isinstance(template.parameters, TPMS_ECC_PARMS)
    assert template.parameters.curveID is TPM_ECC_CURVE.NIST_P384


@pytest.mark.parametrize("curve", [curve for curve in TPM_ECC_CURVE if curve])
def test_every_curve_has_its_name(curve: TPM_ECC_CURVE) -> None:
    assert use.key_template(curve=curve.name) == use.key_template(curve=curve)


@pytest.mark.parametrize("wrong", ["", "P-1", "384", "NONE", "x" * 100_000, 99, -1, None])
def test_what_is_no_curve(wrong: Any) -> None:
    with pytest.raises(TpmMisuseError, match="curve"):
        use.key_template(curve=wrong)


def test_a_hash_that_is_none_is_told_without_a_scheme() -> None:
    with pytest.raises(TpmMisuseError, match="md5"):
        use.key_template(hash="md5")


def test_names_of_commands_in_policies() -> None:
    step = CommandCode("Unseal")  # type: ignore[arg-type]
    assert step == CommandCode(0x15E) == CommandCode(TPM_CC.Unseal) == CommandCode("TPM2_Unseal")  # type: ignore[arg-type]
    assert repr(CommandCode(0x15E)) == "CommandCode(command=<TPM_CC.Unseal: 350>)"
    assert Policy.from_json(Policy(step).to_json()) == Policy(step)
    with pytest.raises(TpmMisuseError, match="a name such as Unseal"):
        CommandCode("Unsael")  # type: ignore[arg-type]


def test_names_of_response_codes() -> None:
    assert explain("TPM_RC_LOCKOUT") == explain("lockout") == explain(0x921)
    with pytest.raises(TpmMisuseError, match="BAD_AUTH"):
        explain("nothing")


def test_what_an_object_is_bound_to_is_shown(client: Any) -> None:
    sealed = use.seal(client, b"secret", pcrs="sha256:16", password="open")
    assert repr(sealed).endswith("bytes wrapped, policy PCR >> AuthValue>")
    assert "policy" not in repr(use.seal(client, b"secret"))


def test_messages_say_what_to_give(client: Any) -> None:
    with pytest.raises(TpmMisuseError, match="pcr_event"):
        use.extend_pcr(client, 16, b"data")  # type: ignore[arg-type]
    with pytest.raises(TpmMisuseError, match="read_pcrs"):
        PCR("sha256:16")  # type: ignore[arg-type]
    with pytest.raises(TpmMisuseError, match="0x01000000 to 0x01ffffff"):
        use.NvCounter.define(client, 1)
    with use.create_ak(client) as key:
        quote = use.quote(client, key, "sha256:0-3", b"nonce")
        with pytest.raises(TpmMisuseError, match=r"public_key\(\)"):
            verify_quote(quote.attest, quote.signature, key)  # type: ignore[arg-type]
        with pytest.raises(TpmMisuseError, match=r"\.handle"):
            use.persist(client, key, 0x81000100)  # type: ignore[arg-type]
        assert verify_quote(quote.attest, quote.signature, key.public_key(), nonce=b"nonce").accepts("signature")
    with pytest.raises(TpmMisuseError, match=r"public_key\(\)"):
        verify_quote(quote.attest, quote.signature, ec.generate_private_key(ec.SECP256R1()))  # type: ignore[arg-type]
