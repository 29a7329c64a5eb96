# SPDX-License-Identifier: Apache-2.0
"""Chains of certificates, and what certificates of endorsement keys have to be."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_device import Authority, PretendTpm, der
from prestocloud_sec.tpm.attest.verdict import Findings
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, VerificationError
from prestocloud_sec.tpm.protocol import TpmModel, tpm_model
from prestocloud_sec.tpm.protocol.certificates import certificate_from, certificate_list, walk
from prestocloud_sec.tpm.protocol.ek import check_ek
from prestocloud_sec.tpm.protocol.pseudonyms import PseudonymIssuer, is_pseudonym
from prestocloud_sec.tpm.spec import TPMT_PUBLIC

ROOT = Authority("root")
MIDDLE = Authority("middle", ROOT)
LOW = Authority("low", MIDDLE)
NOW = ROOT.now
TPM = PretendTpm()
EK = TPM.ek_private.public_key()
PUBLIC = TPMT_PUBLIC.decode(TPM.ek_public)
GOOD = LOW.certify_ek(EK)
BETWEEN = [MIDDLE.certificate, LOW.certificate]


def check(certificate, **options):
    findings = Findings("an endorsement key")
    merged = {"roots": [ROOT.certificate], "crls": [], "makers": None, "now": NOW, **options}
    others, public = merged.pop("others", BETWEEN), merged.pop("public", PUBLIC)
    accepted = check_ek(findings, certificate, others, public, **merged)
    verdict = findings.verdict()
    assert accepted is (not verdict.failed and verdict["ek key"].holds if "ek key" in verdict else False)
    return verdict


def failed(verdict) -> set[str]:
    return {clause.name for clause in verdict.failed}


def test_a_good_certificate_holds():
    verdict = check(GOOD)
    assert failed(verdict) == set()
    assert verdict["ek certificate"].words == "of a TPM by XYZ, model pretend, version 00010002"
    assert verdict["ek chain"].words == "leads to CN=root"
    assert "maker" not in verdict
    assert tpm_model(GOOD) == ("id:58595A00", "pretend", "id:00010002")


def test_the_order_of_certificates_and_strange_ones_do_not_matter():
    strangers = [Authority("low").certificate, Authority("middle").certificate, Authority("root").certificate]
    for others in (BETWEEN, BETWEEN[::-1], [*strangers, *BETWEEN, *strangers], [*BETWEEN, ROOT.certificate]):
        assert failed(check(GOOD, others=others)) == set()
    chain = walk(GOOD, BETWEEN, [ROOT.certificate], NOW)
    assert str(chain) == "an empty name <- CN=low <- CN=middle <- CN=root"
    assert walk(ROOT.certificate, [], [ROOT.certificate], NOW).certificates == (ROOT.certificate,)


@pytest.mark.parametrize("crls", [5, [GOOD], [b""], [None]], ids=repr)
def test_what_are_no_revocation_lists_is_refused(crls: object) -> None:
    with pytest.raises(TpmMisuseError, match="crls"):
        walk(GOOD, BETWEEN, [ROOT.certificate], NOW, crls)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("others", "roots", "words"),
    [
        ([], [ROOT], "no certificate of CN=low"),
        ([LOW], [ROOT], "no certificate of CN=middle, who signed CN=low"),
        ([LOW, MIDDLE], [], "no certificate of CN=root, who signed CN=middle"),
        ([LOW, MIDDLE], [Authority("root")], "CN=root: it did not sign the certificate below it"),
        ([LOW, MIDDLE], [Authority("other")], "no certificate of CN=root"),
    ],
)
def test_chains_that_do_not_lead_to_a_root_are_told(others, roots, words):
    verdict = check(GOOD, others=[a.certificate for a in others], roots=[a.certificate for a in roots])
    assert failed(verdict) == {"ek chain"}
    assert words in verdict["ek chain"].words


@pytest.mark.parametrize("days", [-2, 3651])
def test_certificates_are_good_for_a_time(days):
    verdict = check(GOOD, now=NOW + datetime.timedelta(days=days))
    assert failed(verdict) == {"ek chain"}
    assert "it is good from 2025-12-31" in verdict["ek chain"].words


def authority(
    above: Authority, constraints, usage=None, extra=(), name: str = "between", days: int = 3650
) -> Authority:
    """Return an authority whose certificate has the extensions that are given."""
    made = Authority(name, above)
    parts = [(constraints, True)] if constraints is not None else []
    parts += [(usage, True)] if usage is not None else []
    made.certificate = above.sign(made.name, made.key.public_key(), [*parts, *extra], days=days)
    return made


CA = x509.BasicConstraints(ca=True, path_length=None)
NAME_CONSTRAINTS = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.org")], excluded_subtrees=None)
SIGNS = x509.KeyUsage(True, False, False, False, False, False, False, False, False)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (authority(ROOT, x509.BasicConstraints(ca=False, path_length=None)), "no authority"),
        (authority(ROOT, None), "no authority"),
        (authority(ROOT, CA, SIGNS), "may not sign certificates"),
        (authority(ROOT, CA, extra=[(NAME_CONSTRAINTS, True)]), "critical extension 2.5.29.30"),
        (authority(ROOT, CA, days=-0.5), "it is good from"),
    ],
)
def test_authorities_have_to_be_some(made, words):
    verdict = check(made.certify_ek(EK), others=[made.certificate])
    assert failed(verdict) == {"ek chain"}
    assert words in verdict["ek chain"].words
    assert failed(check(authority(ROOT, CA).certify_ek(EK), others=[made.certificate])) == {"ek chain"}


def test_paths_have_a_length():
    top = authority(ROOT, x509.BasicConstraints(ca=True, path_length=0), name="top")
    below = Authority("below", top)
    assert failed(check(top.certify_ek(EK), others=[top.certificate])) == set()
    verdict = check(below.certify_ek(EK), others=[top.certificate, below.certificate])
    assert failed(verdict) == {"ek chain"}
    assert "it allows 0" in verdict["ek chain"].words


def test_a_crowd_of_namesakes_is_not_searched_for_ever():
    """Certificates of one name, each able to have issued any other: the walk gives up."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loop")])
    crowd = []
    for _ in range(12):
        made = Authority("loop")
        made.key, made.name = key, name
        made.certificate = made.sign(name, key.public_key(), [(CA, True)])
        crowd.append(made.certificate)
    loop = Authority("loop")
    loop.key = key
    verdict = check(loop.certify_ek(EK), others=crowd)
    assert failed(verdict) == {"ek chain"}


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"alternative": None}, "ek certificate"),
        ({"alternative": (x509.SubjectAlternativeName([x509.DNSName("tpm")]), True)}, "ek certificate"),
        ({"constraints": (CA, True)}, "ek certificate"),
        ({"purpose": (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)}, "ek certificate"),
        ({"usage": (SIGNS, True)}, "ek certificate"),
        ({"odd": (NAME_CONSTRAINTS, True)}, "ek chain"),
        ({"days": -0.5}, "ek chain"),
    ],
)
def test_certificates_of_endorsement_keys_have_a_profile(changes, clause):
    assert failed(check(LOW.certify_ek(EK, **changes))) == {clause}


def test_what_early_certificates_lack_is_not_missed():
    assert failed(check(LOW.certify_ek(EK, purpose=None, usage=None, constraints=None))) == set()


def test_the_key_has_to_be_that_of_the_public_area():
    assert failed(check(GOOD, public=None)) == {"ek key"}
    assert failed(check(GOOD, public=TPMT_PUBLIC.decode(PretendTpm().ek_public))) == {"ek key"}
    weak = PUBLIC.replace(objectAttributes=PUBLIC.objectAttributes & ~0x2)
    verdict = check(GOOD, public=weak)
    assert failed(verdict) == {"ek attributes"}
    assert verdict["ek attributes"].words == "lacks fixedTPM"
    loose = PUBLIC.replace(objectAttributes=PUBLIC.objectAttributes | 0x40000)
    assert check(GOOD, public=loose)["ek attributes"].words == "has sign_encrypt"
    odd = LOW.sign(x509.Name([]), ed25519.Ed25519PrivateKey.generate().public_key(), [])
    assert failed(check(odd)) == {"ek certificate", "ek key"}
    assert failed(check(None)) == {"ek certificate"}


def crl(by: Authority, *serials: int, until: int | None = 30, signer: Authority | None = None):
    day = datetime.timedelta(days=1)
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.name).last_update(NOW - day)
    builder = builder.next_update(NOW + (until or 1) * day)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - day).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign((signer or by).key, hashes.SHA256())


def test_what_is_revoked_is_refused():
    assert check(GOOD)["ek revocation"].state.value == "not checked"
    lists = [crl(LOW), crl(MIDDLE), crl(ROOT)]
    assert check(GOOD, crls=lists)["ek revocation"].holds
    assert "CN=root" in check(GOOD, crls=lists[:2])["ek revocation"].words
    for bad in (crl(LOW, GOOD.serial_number), crl(ROOT, MIDDLE.certificate.serial_number)):
        verdict = check(GOOD, crls=[*lists, bad])
        assert failed(verdict) == {"ek chain"}
        assert "it revoked" in verdict["ek chain"].words
    forged = crl(LOW, GOOD.serial_number, signer=Authority("low"))
    assert failed(check(GOOD, crls=[forged])) == set()
    old = check(GOOD, crls=lists, now=NOW + datetime.timedelta(days=31))
    assert "no list of CN=low" in old["ek revocation"].words


@pytest.mark.parametrize(
    ("number", "letters"),
    [
        ("id:53544D20", "STM"),
        ("id:49465800", "IFX"),
        ("id:1", "id:1"),
        ("id:00000000", "id:00000000"),
        ("id:FFFFFFFF", "id:FFFFFFFF"),
        ("", ""),
    ],
)
def test_makers_are_numbers_that_stand_for_letters(number, letters):
    assert TpmModel((number, "m", "id:1")).maker == letters


@given(st.binary(max_size=60), st.integers(0, 2000), st.integers(1, 255))
def test_any_bytes_are_a_certificate_or_refused(raw, at, flip):
    bad = bytearray(der(GOOD))
    bad[at % len(bad)] ^= flip
    for data in (raw, bytes(bad), b"-----BEGIN CERTIFICATE-----\n" + raw):
        try:
            found = certificate_from(data)
        except TpmFormatError:
            continue
        verdict = check(found)
        assert verdict.failed


def test_certificates_are_taken_in_all_forms():
    pem = GOOD.public_bytes(Encoding.PEM)
    for form in (GOOD, der(GOOD), bytearray(der(GOOD)), pem, pem.decode()):
        assert certificate_from(form) == GOOD
    for wrong in (7, None, [GOOD]):
        with pytest.raises(TpmMisuseError):
            certificate_from(wrong)
    for wrong in (GOOD, der(GOOD), "x", 7, [7]):
        with pytest.raises((TpmMisuseError, TpmFormatError)):
            certificate_list(wrong, "x")
    with pytest.raises(VerificationError):
        walk(GOOD, [], [], NOW)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
)
def test_issuers_have_keys_of_all_kinds(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=9))
        .add_extension(CA, critical=True)
    )
    certificate = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    issuer = PseudonymIssuer(certificate, key, hours=2)
    ak = TPM.create_ak()
    chain = [certificate_from(raw) for raw in issuer.issue(TPMT_PUBLIC.decode(ak.public), NOW)]
    assert chain[0].public_key() == ak.private.public_key()
    assert is_pseudonym(chain[0])
    assert not is_pseudonym(certificate)
    assert walk(chain[0], [], [certificate], NOW).root == certificate
    assert chain[0].not_valid_after_utc - NOW == datetime.timedelta(hours=3)
    assert "2 hours" in repr(issuer)
