# SPDX-License-Identifier: Apache-2.0
"""Pseudonyms: certificates of attestation keys that say nothing about the TPM the keys are in.

A `PseudonymIssuer` certifies the keys that a verifier has found to be in a TPM that it accepts. A relying party trusts
the issuer, and learns that the key is in some such TPM. Nothing in two certificates ties their keys together: serial
numbers and names are random, times are rounded to hours, and everything else is the same in all of them. The issuer
itself knows which TPM it certified, and must keep that to itself; hiding it even from him would take anonymous
attestation (ECDAA), which is not done here.

Source: RFC 5280, section 4; TCG EK Credential Profile for TPM Family 2.0, 2.6, section 3.5 (purposes of keys).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm._secrets import KeepsSecrets, drawn
from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.protocol.certificates import certificate_from, certificate_list, der_of, extension_of
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from typing import TypeAlias

    from prestocloud_sec.tpm.protocol.certificates import CertificateLike

    IssuerKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

__all__ = ["AK_PURPOSE", "PseudonymIssuer", "is_pseudonym"]

AK_PURPOSE = x509.ObjectIdentifier("2.23.133.8.3")
"""What such a certificate is for: the key attests (tcg-kp-AIKCertificate)."""

_HOUR = datetime.timedelta(hours=1)
_MOST_HOURS = 24 * 366
_FIRST_YEAR, _LAST_YEAR = 1950, 9998
_WHEN = "a time that certificates can tell: from 1950 to 9997"


class PseudonymIssuer(KeepsSecrets):
    """Certifies attestation keys under random names.

    Parameters
    ----------
    certificate : Certificate, DER or PEM
        That of the issuer; an authority.
    key : private key of RSA, ECC or Ed25519
        The key of that certificate.
    chain : iterable of Certificate
        Those between it and the root that relying parties trust.
    hours : int
        How long certificates are good, from the last full hour on. The shorter, the sooner a machine that fell has to
        show itself to the verifier again.
    random : callable, optional
        Returns fresh random bytes.
    """

    __slots__ = ("_certificate", "_chain", "_hours", "_key", "_random")

    def __init__(
        self,
        certificate: CertificateLike,
        key: IssuerKey,
        *,
        chain: Iterable[CertificateLike] = (),
        hours: int = 24,
        random: Callable[[int], bytes] | None = None,
    ) -> None:
        self._certificate = certificate_from(certificate)
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise TpmMisuseError(type(key).__name__, where="key", expected="a private key of RSA, ECC or Ed25519")
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if key.public_key().public_bytes(*form) != self._certificate.public_key().public_bytes(*form):
            raise TpmMisuseError("a key of another certificate", where="key", expected="that of the issuer's")
        constraints = extension_of(self._certificate, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise TpmMisuseError("the certificate of no authority", where="certificate", expected="basicConstraints CA")
        self._key = key
        self._chain = certificate_list(chain, "chain")
        self._hours = whole(hours, "hours", 1, _MOST_HOURS, error=TpmMisuseError)
        if random is None:
            import os

            random = os.urandom
        self._random = random

    def issue(self, public: TPMT_PUBLIC, now: datetime.datetime) -> tuple[bytes, ...]:
        """Return, in DER, a certificate for an attestation key, that of the issuer, and those above it without a root.

        Parameters
        ----------
        public : TPMT_PUBLIC
            The key. Whether it deserves a certificate was decided before.
        now : datetime
            The time, with its zone.

        Raises
        ------
        TpmMisuseError
            If an argument is not what it should be.
        """
        key = public_key_of(instance(public, TPMT_PUBLIC, "public"))
        start = _hour_of(now)
        name = x509.Name([x509.NameAttribute(NameOID.PSEUDONYM, drawn(self._random, 16).hex())])
        # Positive and of one length, so that certificates do not differ in theirs.
        serial = int.from_bytes(drawn(self._random, 16), "big") >> 2 | 1 << 126
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(serial)
            .not_valid_before(start)
            .not_valid_after(start + (self._hours + 1) * _HOUR)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(x509.ExtendedKeyUsage([AK_PURPOSE]), critical=False)
        )
        hashed = None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        try:
            made = builder.sign(self._key, hashed)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise TpmUnavailableError("pyca/cryptography cannot certify this key", where="public") from error
        return tuple(der_of(certificate) for certificate in (made, self._certificate, *self._chain))

    def __repr__(self) -> str:
        return f"<PseudonymIssuer: {self._hours} hours>"


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _hour_of(now: datetime.datetime) -> datetime.datetime:
    """Return the beginning of the hour of a time; TpmMisuseError if it is none, or none that certificates can tell."""
    if instance(now, datetime.datetime, "now").tzinfo is None:
        raise TpmMisuseError(shown(now), where="now", expected="a time with its zone")
    try:
        start = now.astimezone(datetime.UTC).replace(minute=0, second=0, microsecond=0)
    except Exception as error:  # out of range, or whatever a foreign zone raises
        raise TpmMisuseError(shown(now), where="now", expected=_WHEN) from error
    if not _FIRST_YEAR <= start.year < _LAST_YEAR:
        raise TpmMisuseError(shown(now), where="now", expected=_WHEN)
    return start


def is_pseudonym(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is one of an attestation key: no authority, and for that purpose."""
    constraints = extension_of(certificate, x509.BasicConstraints)
    purposes = extension_of(certificate, x509.ExtendedKeyUsage)
    if constraints is not None and constraints.ca:
        return False
    return purposes is not None and AK_PURPOSE in purposes
