# SPDX-License-Identifier: Apache-2.0
"""Attestations of objects: that one is loaded in the TPM of the signer, or that the TPM made it, and from what.

Sources: TPM 2.0 Library, Part 2, 10.12.3 and 10.12.7; Part 3, 18.2 (TPM2_Certify) and 18.3 (TPM2_CertifyCreation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.attest.statement import Expected, open_statement
from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import name_of, qualified_name
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ST
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_CERTIFY_INFO, TPMS_CREATION_INFO
from prestocloud_sec.tpm.spec.structures.objects import TPMS_CREATION_DATA, TPMT_PUBLIC

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.statement import SignatureLike
    from prestocloud_sec.tpm.pem import KeyLike
    from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST, TPMS_CLOCK_INFO
    from prestocloud_sec.wire import BytesLike

__all__ = ["verify_certify", "verify_creation"]


def verify_certify(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    object_public: TPMT_PUBLIC | BytesLike | None = None,
    object_parent: BytesLike | int | None = None,
    attributes: TPMA_OBJECT | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify that an object was loaded in the TPM of the signer (TPM2_Certify).

    Parameters
    ----------
    attest, signature, key, nonce
        As in `verify_quote`.
    object_public : TPMT_PUBLIC or bytes-like, optional
        The public area that the object is said to have; clause ``name``.
    object_parent : bytes-like or int, optional
        Qualified Name of the object's parent, or the handle of its hierarchy; clause ``qualified name``.
    attributes : TPMA_OBJECT, optional
        Attributes that it must have set, such as fixedTPM; clause ``attributes``.
    signer, parent, since, firmware, allow_unrestricted
        As in `Expected`.

    Returns
    -------
    Verdict
        With the clauses that all attestations have, and the three above.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type.
    """
    expected = Expected(signer, parent, since, firmware, allow_unrestricted)  # type: ignore[arg-type]
    public = _public_bytes(object_public)
    above = (
        object_parent if object_parent is None or isinstance(object_parent, int) else octets(object_parent, "parent")
    )
    wanted = None if attributes is None else TPMA_OBJECT(instance(attributes, int, "attributes"))
    opened = open_statement("a certified object", (TPM_ST.ATTEST_CERTIFY,), attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    findings, info = opened.findings, opened.attest.attested
    if isinstance(info, TPMS_CERTIFY_INFO):
        area = _check_name(findings, info.name, public)
        if above is None:
            findings.note("qualified name", None, "the parent of the object was not given")
        else:
            _check_qualified(findings, info, above)
        if wanted is not None and area is None:
            findings.note("attributes", None, "the public area that was certified is not known")
        elif wanted is not None and area is not None:
            lacking = wanted & ~area.objectAttributes
            words = f"it lacks {TPMA_OBJECT(lacking)!r}" if lacking else f"it has {wanted!r}"
            findings.note("attributes", not lacking, words)
    return findings.verdict()


def verify_creation(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    object_public: TPMT_PUBLIC | BytesLike | None = None,
    creation_data: TPMS_CREATION_DATA | BytesLike | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify that the TPM of the signer made an object, and from what (TPM2_CertifyCreation).

    Parameters
    ----------
    attest, signature, key, nonce
        As in `verify_quote`.
    object_public : TPMT_PUBLIC or bytes-like, optional
        The public area that the object is said to have; clause ``name``.
    creation_data : TPMS_CREATION_DATA or bytes-like, optional
        The parent, PCRs and locality that it is said to have been made with; clause ``creation data``.
    signer, parent, since, firmware, allow_unrestricted
        As in `Expected`.

    Returns
    -------
    Verdict
        With the clauses that all attestations have, and the two above.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type.
    """
    expected = Expected(signer, parent, since, firmware, allow_unrestricted)  # type: ignore[arg-type]
    public = _public_bytes(object_public)
    if creation_data is None or isinstance(creation_data, TPMS_CREATION_DATA):
        data = None if creation_data is None else creation_data.encode()
    else:
        data = octets(creation_data, "creation_data")
    opened = open_statement("a created object", (TPM_ST.ATTEST_CREATION,), attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    findings, info = opened.findings, opened.attest.attested
    if isinstance(info, TPMS_CREATION_INFO):
        _check_name(findings, info.objectName, public)
        _check_creation(findings, info, data)
    return findings.verdict()


def _public_bytes(public: TPMT_PUBLIC | BytesLike | None) -> bytes | None:
    if public is None or isinstance(public, TPMT_PUBLIC):
        return None if public is None else public.encode()
    return octets(public, "object_public")


def _check_name(findings: Findings, found: bytes, public: bytes | None) -> TPMT_PUBLIC | None:
    """Check the Name of an object against its public area, and return that if it is the one."""
    if public is None:
        findings.note("name", None, f"{found.hex()}; the public area was not given")
        return None
    try:
        area = TPMT_PUBLIC.decode(public)
        name = name_of(area)
    except TpmFormatError as error:
        findings.note("name", False, f"no public area: {error}")
        return None
    except TpmUnavailableError as error:
        findings.note("name", None, str(error))
        return None
    return area if findings.equal("name", found, name, f"{name.hex()}, that of the public area") else None


def _check_qualified(findings: Findings, info: TPMS_CERTIFY_INFO, above: bytes | int) -> None:
    try:
        wanted = qualified_name(info.name, above)
    except TpmMisuseError as error:
        findings.note("qualified name", False, str(error))
    else:
        findings.equal("qualified name", info.qualifiedName, wanted, f"{wanted.hex()}, below the parent that was given")


def _check_creation(findings: Findings, info: TPMS_CREATION_INFO, data: bytes | None) -> None:
    if data is None:
        findings.note("creation data", None, "none was given")
        return
    try:
        TPMS_CREATION_DATA.decode(data)
        # The hash is that of the object's Name, which begins with its number.
        algorithm = hash_of(int.from_bytes(info.objectName[:2], "big"), "objectName", error=TpmFormatError)
        found = algorithm.digest(data)
    except TpmFormatError as error:
        findings.note("creation data", False, str(error))
    except TpmUnavailableError as error:
        findings.note("creation data", None, str(error))
    else:
        findings.equal("creation data", found, info.creationHash, "their digest is what was signed")
