# SPDX-License-Identifier: Apache-2.0
"""Endorsement keys: whether a certificate and a public area are those of a TPM, and of whose.

The maker of a TPM certifies its endorsement key. The certificate names maker, model and version of the TPM in its
subjectAltName, in attributes of the TCG; its subject may be empty. The key decrypts and does not sign, and its public
area has the attributes that keep it in its TPM.

Source: TCG EK Credential Profile for TPM Family 2.0, 2.6, sections 3.1 (names), 3.2 (the certificate), B.3 and B.4
(templates); TCG TPM Vendor ID Registry 1.06.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from prestocloud_sec.tpm.errors import TpmFormatError, TpmUnavailableError, VerificationError
from prestocloud_sec.tpm.protocol.certificates import certificate_from, extension_of, is_current, name_text, walk
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.verdict import Findings
    from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC

__all__ = ["TpmModel", "check_ak", "check_ek", "tpm_model"]

_TCG = "2.23.133"
_MANUFACTURER, _MODEL, _VERSION = (x509.ObjectIdentifier(f"{_TCG}.2.{number}") for number in (1, 2, 3))
_EK_PURPOSE = x509.ObjectIdentifier(f"{_TCG}.8.1")

_KEPT = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.sensitiveDataOrigin
_EK = _KEPT | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt
_AK = _KEPT | TPMA_OBJECT.restricted | TPMA_OBJECT.sign_encrypt


class TpmModel(tuple[str, str, str]):
    """Maker, model and version of a TPM, as its certificate has them.

    The maker is a number of four bytes in hexadecimal, ``id:53544D20``; `maker` reads it as text.
    """

    __slots__ = ()

    @property
    def maker(self) -> str:
        """The maker as the four letters that its number stands for, such as ``STM``; else the number."""
        try:
            letters = bytes.fromhex(self[0].removeprefix("id:")).rstrip(b"\0 ").decode("ascii")
        except ValueError:
            return self[0]
        return letters if letters.isprintable() and letters else self[0]

    def __str__(self) -> str:
        return f"{self.maker}, model {self[1]}, version {self[2].removeprefix('id:')}"


def tpm_model(certificate: x509.Certificate) -> TpmModel | None:
    """Return what the certificate of an endorsement key says of the TPM; None if it says nothing.

    Raises
    ------
    TpmFormatError
        If it cannot be read.
    TpmMisuseError
        If it is no certificate.
    """
    names = extension_of(certificate_from(certificate), x509.SubjectAlternativeName)
    found: dict[x509.ObjectIdentifier, str] = {}
    for directory in names.get_values_for_type(x509.DirectoryName) if names is not None else ():
        for attribute in directory:
            found.setdefault(attribute.oid, str(attribute.value))
    if _MANUFACTURER not in found:
        return None
    return TpmModel((found[_MANUFACTURER], found.get(_MODEL, ""), found.get(_VERSION, "")))


def check_ek(
    findings: Findings,
    certificate: x509.Certificate | None,
    others: Iterable[x509.Certificate],
    public: TPMT_PUBLIC | None,
    *,
    roots: Iterable[x509.Certificate],
    crls: Collection[x509.CertificateRevocationList],
    makers: Collection[str] | None,
    now: datetime.datetime,
) -> bool:
    """Note the clauses ``ek certificate``, ``ek chain``, ``ek revocation``, ``ek key``, ``ek attributes``, ``maker``.

    Parameters
    ----------
    findings : Findings
        Where the clauses go.
    certificate : Certificate or None
        That of the endorsement key; None if what came is none.
    others : iterable of Certificate
        Those that may lead to a root.
    public : TPMT_PUBLIC or None
        The public area of the endorsement key; None if what came is none.
    roots, crls
        What is trusted, and what no longer is.
    makers : collection of str, optional
        Makers whose TPMs are accepted, by number (``id:53544D20``) or letters (``STM``).
    now : datetime
        The time at which certificates have to be good.

    Returns
    -------
    bool
        Whether all of them hold that have to, so that a credential can be made for the key.
    """
    if certificate is None:
        findings.note("ek certificate", False, "what came is no certificate")
        return False
    model = tpm_model(certificate)
    problem = _problem(certificate, model)
    findings.note("ek certificate", problem is None, problem or f"of a TPM by {model}")
    try:
        chain = walk(certificate, others, roots, now, crls)
    except VerificationError as error:
        findings.note("ek chain", False, str(error))
    else:
        findings.note("ek chain", True, f"leads to {name_text(chain.root.subject)}")
        issuers = {issuer.subject for issuer in chain.certificates[1:]}
        covered = {crl.issuer for crl in crls if is_current(crl, now)}
        lacking = ", ".join(sorted(name_text(name) for name in issuers - covered))
        findings.note("ek revocation", None if lacking else True, f"no list of {lacking}" if lacking else "not revoked")
    if makers is not None:
        wanted = model is not None and bool({model[0], model.maker} & set(makers))
        findings.note("maker", wanted, "none is told" if model is None else model.maker)
    _check_ek_key(findings, certificate, public)
    names = ("ek certificate", "ek chain", "ek key", "ek attributes", *(("maker",) if makers is not None else ()))
    return all(findings.holds(name) for name in names)


def _problem(certificate: x509.Certificate, model: TpmModel | None) -> str | None:
    """Return what a certificate has against being that of an endorsement key; None if nothing."""
    constraints = extension_of(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        return "it is that of an authority"
    purposes = extension_of(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and _EK_PURPOSE not in purposes:  # early certificates tell no purpose
        return "it is for other purposes than an endorsement key"
    usage = extension_of(certificate, x509.KeyUsage)
    if usage is not None and not (usage.key_encipherment or usage.key_agreement):
        return "its key may not be used to protect others"
    return "it does not say of whose TPM" if model is None else None


def _check_ek_key(findings: Findings, certificate: x509.Certificate, public: TPMT_PUBLIC | None) -> None:
    if public is None:
        findings.note("ek key", False, "what came is no public area")
        return
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        same = certificate.public_key().public_bytes(*form) == public_key_of(public).public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm, TpmUnavailableError) as error:
        findings.note("ek key", None, f"a key that pyca/cryptography does not read: {error}")
        same = False
    except (VerificationError, TpmFormatError) as error:
        findings.note("ek key", False, str(error))
        same = False
    else:
        words = "the certificate is that of the public area"
        findings.note("ek key", same, words if same else "the certificate is of another key than the public area")
    _check_attributes(findings, "ek attributes", public, _EK, TPMA_OBJECT.sign_encrypt)


def check_ak(findings: Findings, public: TPMT_PUBLIC | None) -> bool:
    """Note the clause ``ak attributes``: a key that its TPM made, keeps, and lets sign nothing but what is its own."""
    if public is None:
        return findings.note("ak attributes", False, "what came is no public area")
    return _check_attributes(findings, "ak attributes", public, _AK, TPMA_OBJECT.decrypt)


def _check_attributes(
    findings: Findings, name: str, public: TPMT_PUBLIC, wanted: TPMA_OBJECT, unwanted: TPMA_OBJECT
) -> bool:
    lacking = [flag.name for flag in TPMA_OBJECT if flag & wanted & ~public.objectAttributes]
    extra = [flag.name for flag in TPMA_OBJECT if flag & unwanted & public.objectAttributes]
    words = [f"lacks {flag}" for flag in lacking] + [f"has {flag}" for flag in extra]
    return findings.note(name, not words, ", ".join(words) or "made in the TPM, kept there, and restricted")
