# SPDX-License-Identifier: Apache-2.0
"""Endorsement keys, and the certificates that the makers of TPMs leave beside them.

The maker certifies one key of the endorsement hierarchy, which follows from a template that the TCG fixes, unless the
maker has left another one in the TPM. The certificate lies in NV memory, and often those that lead towards a root too.

Sources: TCG EK Credential Profile for TPM Family 2.0, 2.6, section 2.2 (NV indices) and annex B (templates); TCG TPM
v2.0 Provisioning Guidance 1.0, 7.8 (persistent handles).
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.errors import (
    HandleError,
    NvUninitializedError,
    TpmFormatError,
    TpmMisuseError,
    VerificationError,
)
from prestocloud_sec.tpm.policy import Policy, Secret
from prestocloud_sec.tpm.protocol.certificates import Chain, certificate_from, certificate_list, walk
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_HT, TPM_RH
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.use._doing import client_of
from prestocloud_sec.tpm.use.nv import read_nv
from prestocloud_sec.tpm.use.objects import persist, primary
from prestocloud_sec.tpm.use.policies import policy_session
from prestocloud_sec.tpm.use.templates import EK_POLICY, ek_template
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from cryptography import x509

    from prestocloud_sec.tpm.client import Client, PersistentObject, SessionHandle
    from prestocloud_sec.tpm.protocol.certificates import CertificateLike

__all__ = ["ek", "ek_certificate", "ek_chain", "ek_session", "ek_template_of", "maker_certificates", "provision_ek"]


class _Places(NamedTuple):
    """Where a TPM has what belongs to an endorsement key: NV indices, and the persistent handle."""

    certificate: int
    nonce: int
    template: int
    handle: int


_PLACES = {
    "rsa": _Places(0x01C00002, 0x01C00003, 0x01C00004, 0x81010001),
    "ecc": _Places(0x01C0000A, 0x01C0000B, 0x01C0000C, 0x81010002),
}
_TYPES = {"rsa": TPM_ALG_ID.RSA, "ecc": TPM_ALG_ID.ECC}
_CHAIN = range(0x01C00100, 0x01C00200)
"""NV indices of certificates that lead towards a root, in parts of one stream."""
_SEQUENCE = 0x30


def _places(kind: str) -> _Places:
    if not isinstance(kind, str) or kind not in _PLACES:
        raise TpmMisuseError(shown(kind), where="kind", expected='"rsa" or "ecc"')
    return _PLACES[kind]


def ek_template_of(client: Client, kind: str = "rsa") -> TPMT_PUBLIC:
    """Return the template of a TPM's endorsement key: the maker's, where he has left one, else the TCG's.

    Parameters
    ----------
    client : Client
        The TPM.
    kind : str
        ``"rsa"`` or ``"ecc"``.

    Raises
    ------
    TpmFormatError
        If what the maker has left is no template.
    """
    places = _places(kind)
    tpm = client_of(client)
    theirs = _nv(tpm, places.template)
    if theirs is not None:
        return TPMT_PUBLIC.decode(theirs)
    nonce = _nv(tpm, places.nonce)
    return ek_template(kind, nonce=b"" if nonce is None else nonce)


def ek(client: Client, kind: str = "rsa") -> Handle:
    """Return the endorsement key: the persistent one where there is one, else one that is made for now.

    Parameters
    ----------
    client : Client
        The TPM; the endorsement hierarchy authorizes.
    kind : str
        ``"rsa"`` or ``"ecc"``.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     ek(client, "ecc").public.authPolicy == EK_POLICY
    True
    """
    tpm, places = client_of(client), _places(kind)
    wanted = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt
    with contextlib.suppress(HandleError):
        kept = tpm.persistent(places.handle)
        if kept.public.type == _TYPES[kind] and kept.public.objectAttributes & wanted == wanted:
            return kept
    return primary(tpm, ek_template_of(tpm, kind), hierarchy=TPM_RH.ENDORSEMENT)


def provision_ek(client: Client, kind: str = "rsa") -> PersistentObject:
    """Make the endorsement key persistent, where the TCG wants it; nothing happens where it is already."""
    tpm, places = client_of(client), _places(kind)
    with primary(tpm, ek_template_of(tpm, kind), hierarchy=TPM_RH.ENDORSEMENT) as made:
        return persist(tpm, made, places.handle)


@contextlib.contextmanager
def ek_session(client: Client, handle: Handle) -> Iterator[SessionHandle[Any] | None]:
    """Start the session that an endorsement key is used with: of PolicyA, for which its hierarchy authorizes.

    Parameters
    ----------
    client : Client
        The TPM.
    handle : Handle
        The key. One that has no policy is authorized by its own value: then there is no session.

    Raises
    ------
    TpmMisuseError
        If it has another policy.
    """
    public: Any = getattr(handle, "public", None)
    if not isinstance(public, TPMT_PUBLIC):
        raise TpmMisuseError(shown(handle), where="handle", expected="a key")
    if not public.authPolicy:
        yield None
        return
    policy = Policy(Secret(TPM_RH.ENDORSEMENT))  # type: ignore[arg-type]
    if policy.digest(int(public.nameAlg)) != public.authPolicy:
        raise TpmMisuseError("another policy than PolicyA", where="handle", expected=EK_POLICY.hex())
    with policy_session(client, policy, hash=int(public.nameAlg)) as session:
        yield session


def ek_certificate(client: Client, kind: str = "rsa") -> x509.Certificate | None:
    """Return the certificate of a TPM's endorsement key; None if it has none.

    Parameters
    ----------
    client : Client
        The TPM.
    kind : str
        ``"rsa"`` or ``"ecc"``.

    Raises
    ------
    TpmFormatError
        If what is there is no certificate.
    """
    raw = _nv(client_of(client), _places(kind).certificate)
    return None if raw is None else certificate_from(_first_der(raw), "EK certificate")


def maker_certificates(client: Client) -> tuple[x509.Certificate, ...]:
    """Return the certificates that the maker has left in the TPM and that lead towards a root; often there are none.

    Raises
    ------
    TpmFormatError
        If what is there is no chain.
    """
    tpm = client_of(client)
    there = tpm.capability(TPM_CAP.HANDLES, TPM_HT.NV_INDEX << 24)
    stream = b"".join(_nv(tpm, index) or b"" for index in _CHAIN if index in there)
    found = []
    while stream[:1] == bytes((_SEQUENCE,)):
        one = _first_der(stream)
        found.append(certificate_from(one, "EK certificate chain"))
        stream = stream[len(one) :]
    return tuple(found)


def ek_chain(
    client: Client,
    roots: Iterable[CertificateLike],
    *,
    kind: str = "rsa",
    others: Iterable[CertificateLike] = (),
    now: datetime.datetime | None = None,
) -> Chain:
    """Return the chain from a TPM's endorsement key to a root that is trusted.

    Parameters
    ----------
    client : Client
        The TPM.
    roots : iterable of Certificate, DER or PEM
        Those of the makers that are trusted.
    kind : str
        ``"rsa"`` or ``"ecc"``.
    others : iterable of Certificate, DER or PEM
        Those that may lie between; what the maker has left in the TPM is looked at too.
    now : datetime, optional
        When all have to be good; now, if not given.

    Raises
    ------
    VerificationError
        If there is no certificate, it is that of another key, or no chain leads to a root.
    TpmFormatError
        If something is no certificate.
    """
    tpm = client_of(client)
    trusted, between = certificate_list(roots, "roots"), certificate_list(others, "others")
    moment = datetime.datetime.now(datetime.UTC) if now is None else now
    if not isinstance(moment, datetime.datetime) or moment.tzinfo is None:
        raise TpmMisuseError(shown(now), where="now", expected="a datetime with its time zone")
    certificate = ek_certificate(tpm, kind)
    if certificate is None:
        raise VerificationError("there is none", where="EK certificate")
    handle: Any = ek(tpm, kind)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    theirs, ours = (key.public_bytes(*form) for key in (certificate.public_key(), public_key_of(handle.public)))
    if theirs != ours:
        raise VerificationError("it is that of another key", where="EK certificate")
    return walk(certificate, (*between, *maker_certificates(tpm)), trusted, moment)


def _nv(client: Client, index: int) -> bytes | None:
    """Return what is in an NV index; None if it is not defined, or was never written."""
    try:
        return read_nv(client, index)
    except (HandleError, NvUninitializedError):
        return None


def _first_der(raw: bytes) -> bytes:
    """Return the first DER value; makers fill up what follows it."""
    where = "certificate in NV"
    if len(raw) < 2 or raw[0] != _SEQUENCE:
        raise TpmFormatError(shown(raw[:2]), where=where, expected="a DER sequence")
    head, size = 2, raw[1]
    if size & 0x80:
        count = size & 0x7F
        head, size = 2 + count, int.from_bytes(raw[2 : 2 + count], "big")
        if not 1 <= count <= 3:
            raise TpmFormatError(f"a length of {count} bytes", where=where, expected="1 to 3")
    if len(raw) < head + size:
        raise TpmFormatError(f"{len(raw)} bytes", where=where, expected=f"{head + size}, as it begins")
    return raw[: head + size]
