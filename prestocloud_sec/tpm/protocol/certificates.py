# SPDX-License-Identifier: Apache-2.0
"""Chains of certificates: from the one that came to a root that is trusted.

Every certificate above the first must be an authority (basicConstraints, keyCertSign, path length), all must be in
time, every signature must hold, and no critical extension may be one that is not looked at here: name constraints, for
one, are refused rather than overlooked. Roots are trusted as they were given, for nothing but what they signed.

Source: RFC 5280, sections 4.2 and 6.1. Certificates of endorsement keys have an empty subject and names of the TCG in
critical extensions, which the verifiers of web servers refuse; so the walk is written out here, and every signature is
checked by pyca/cryptography.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, VerificationError
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

    CertificateLike: TypeAlias = x509.Certificate | str | BytesLike

__all__ = [
    "Chain",
    "certificate_from",
    "certificate_list",
    "crl_list",
    "der_of",
    "extension_of",
    "is_current",
    "name_text",
    "walk",
]

Extension = TypeVar("Extension", bound=x509.ExtensionType)

_MOST = 8  # certificates of a chain
_MOST_CHECKS = 64  # signatures that are looked at, whatever somebody sends
_PEM_MARK = b"-----BEGIN"
_FIELDS = ("issuer", "subject", "extensions", "not_valid_before_utc", "not_valid_after_utc", "serial_number")
_LOOKED_AT = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,  # no policy is asked for, so any will do
}


def certificate_from(certificate: CertificateLike, where: str = "certificate") -> x509.Certificate:
    """Return a certificate given as a value, as DER, or as PEM.

    Raises
    ------
    TpmFormatError
        If bytes or text hold no certificate.
    TpmMisuseError
        If it is something else.
    """
    if isinstance(certificate, x509.Certificate):
        return _read(certificate, where)
    raw = certificate.encode("utf-8", "replace") if isinstance(certificate, str) else octets(certificate, where)
    try:
        if isinstance(certificate, str) or raw.lstrip().startswith(_PEM_MARK):
            found = x509.load_pem_x509_certificate(raw)
        else:
            found = x509.load_der_x509_certificate(raw)
    except Exception as error:  # it raises many kinds, TypeError among them, for bytes that are no certificate
        raise _no_certificate(where) from error
    return _read(found, where)


def _read(certificate: x509.Certificate, where: str) -> x509.Certificate:
    """Return a certificate all of which can be read; pyca/cryptography looks at a field when it is first asked for."""
    try:
        for field in _FIELDS:
            getattr(certificate, field)
    except Exception as error:
        raise _no_certificate(where) from error
    return certificate


def _no_certificate(where: str) -> TpmFormatError:
    return TpmFormatError("no certificate", where=where, expected="X.509 in DER or PEM")


def certificate_list(certificates: Iterable[CertificateLike], where: str) -> tuple[x509.Certificate, ...]:
    """Return certificates given one by one; errors as for `certificate_from`."""
    if isinstance(certificates, x509.Certificate | bytes | bytearray | memoryview | str):
        raise TpmMisuseError(shown(certificates), where=where, expected="an iterable of certificates")
    found = items_of(certificates, where, "an iterable of certificates", error=TpmMisuseError)
    return tuple(certificate_from(certificate, where) for certificate in found)


def crl_list(crls: Iterable[x509.CertificateRevocationList]) -> tuple[x509.CertificateRevocationList, ...]:
    """Return lists of revoked certificates given one by one; TpmMisuseError if one is something else."""
    found = items_of(crls, "crls", "an iterable of lists", error=TpmMisuseError)
    return tuple(instance(crl, x509.CertificateRevocationList, "crls") for crl in found)


def der_of(certificate: x509.Certificate) -> bytes:
    """Return the DER of a certificate."""
    return certificate.public_bytes(Encoding.DER)


def name_text(name: x509.Name) -> str:
    """Return a distinguished name as text, on one line."""
    line = name.rfc4514_string() or "an empty name"
    return "".join(character if character.isprintable() else " " for character in line)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that leads to a root.

    Attributes
    ----------
    certificates : tuple of Certificate
        From the first up to and with the root.
    """

    certificates: tuple[x509.Certificate, ...]

    @property
    def root(self) -> x509.Certificate:
        """The root."""
        return self.certificates[-1]

    def __str__(self) -> str:
        return " <- ".join(name_text(certificate.subject) for certificate in self.certificates)


def walk(
    first: x509.Certificate,
    others: Iterable[x509.Certificate],
    roots: Iterable[x509.Certificate],
    now: datetime.datetime,
    crls: Iterable[x509.CertificateRevocationList] = (),
) -> Chain:
    """Return the chain from a certificate to a root.

    Parameters
    ----------
    first : Certificate
        Where the chain begins.
    others : iterable of Certificate
        Certificates that may lie between; they need not be trusted, and not be in order.
    roots : iterable of Certificate
        Those that are trusted.
    now : datetime
        The time at which all have to be good.
    crls : iterable of CertificateRevocationList
        Lists of those that are not; one that is not signed by its issuer, or out of date, counts for nothing.

    Raises
    ------
    VerificationError
        If there is none: says what was wrong where the walk came furthest.
    TpmMisuseError
        If `crls` holds something else.
    """
    trusted = {der_of(root): root for root in roots}
    between = {der_of(other): other for other in others if der_of(other) not in trusted}
    lists = crl_list(crls)
    if der_of(first) in trusted:
        _check(first, now)
        return Chain((first,))
    furthest: tuple[int, str] = (
        0,
        f"no certificate of {name_text(first.issuer)}, who signed {name_text(first.subject)}",
    )
    stack: list[tuple[x509.Certificate, ...]] = [(first,)]
    try:
        _check(first, now)
    except VerificationError as error:
        raise VerificationError(f"{name_text(first.subject)}: {error.what}", where="chain") from error
    left = _MOST_CHECKS
    while stack and left > 0:
        path = stack.pop()
        for issuer, is_root in _issuers(path, trusted.values(), between.values()):
            left -= 1
            try:
                _check_issued(path, issuer, now, lists, is_root=is_root)
            except VerificationError as error:
                furthest = max(furthest, (len(path), f"{name_text(issuer.subject)}: {error.what}"), key=lambda f: f[0])
                continue
            if is_root:
                return Chain((*path, issuer))
            if len(path) < _MOST:
                words = f"no certificate of {name_text(issuer.issuer)}, who signed {name_text(issuer.subject)}"
                furthest = max(furthest, (len(path), words), key=lambda f: f[0])
                stack.append((*path, issuer))
    raise VerificationError(furthest[1], where="chain", expected="one that leads to a root that is trusted")


def _issuers(
    path: tuple[x509.Certificate, ...], roots: Iterable[x509.Certificate], between: Iterable[x509.Certificate]
) -> Iterator[tuple[x509.Certificate, bool]]:
    """Yield who may have issued the last of a path, roots last so that the walk looks at them first."""
    wanted = path[-1].issuer
    yield from ((other, False) for other in between if other.subject == wanted and other not in path)
    yield from ((root, True) for root in roots if root.subject == wanted)


def _check(certificate: x509.Certificate, now: datetime.datetime) -> None:
    """Refuse a certificate that is not good now, or has a critical extension that nothing here looks at."""
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        raise VerificationError(f"it is good from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}", where="certificate")
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _LOOKED_AT:
            raise VerificationError(f"critical extension {extension.oid.dotted_string}", where="certificate")


def _check_issued(
    path: tuple[x509.Certificate, ...],
    issuer: x509.Certificate,
    now: datetime.datetime,
    crls: tuple[x509.CertificateRevocationList, ...],
    *,
    is_root: bool,
) -> None:
    """Refuse an issuer that did not sign the last of a path, or may not have."""
    last = path[-1]
    try:
        last.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise VerificationError("it did not sign the certificate below it", where="certificate") from error
    if not is_root:
        _check(issuer, now)
    constraints = extension_of(issuer, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise VerificationError("it is no authority", where="certificate")
    below = sum(certificate.subject != certificate.issuer for certificate in path[1:])
    if constraints.path_length is not None and below > constraints.path_length:
        raise VerificationError(
            f"{below} authorities below it; it allows {constraints.path_length}", where="certificate"
        )
    usage = extension_of(issuer, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise VerificationError("it may not sign certificates", where="certificate")
    if _is_revoked(last, issuer, crls, now):
        raise VerificationError(f"it revoked {name_text(last.subject)}", where="certificate")


def _is_revoked(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: tuple[x509.CertificateRevocationList, ...],
    now: datetime.datetime,
) -> bool:
    for crl in crls:
        if crl.issuer != issuer.subject or not is_current(crl, now):
            continue
        try:
            is_signed = crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        except (TypeError, ValueError, UnsupportedAlgorithm):
            is_signed = False
        if is_signed and crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            return True
    return False


def is_current(crl: x509.CertificateRevocationList, now: datetime.datetime) -> bool:
    """Tell whether a list is to be believed at a time; one without an end is."""
    return crl.last_update_utc <= now and (crl.next_update_utc is None or now <= crl.next_update_utc)


def extension_of(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """Return an extension of a certificate; None if it has none of that kind."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
