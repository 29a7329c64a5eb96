# SPDX-License-Identifier: Apache-2.0
"""Attestations of what is in an NV index, in full or as a digest.

TPM2_NV_Certify with size and offset 0 attests a digest of all of it, by the hash of the signature.

Sources: TPM 2.0 Library, Part 2, 10.12.8 and 10.12.9; Part 3, 31.16 (TPM2_NV_Certify).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.attest.statement import Expected, open_statement
from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.spec.constants import TPM_ST
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_NV_CERTIFY_INFO, TPMS_NV_DIGEST_CERTIFY_INFO
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.statement import SignatureLike, Statement
    from prestocloud_sec.tpm.pem import KeyLike
    from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST, TPMS_CLOCK_INFO
    from prestocloud_sec.wire import BytesLike

__all__ = ["verify_nv"]


def verify_nv(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    nv_public: TPMS_NV_PUBLIC | BytesLike | None = None,
    contents: BytesLike | None = None,
    offset: int | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify what is in an NV index (TPM2_NV_Certify).

    Parameters
    ----------
    attest, signature, key, nonce
        As in `verify_quote`.
    nv_public : TPMS_NV_PUBLIC or bytes-like, optional
        The public area that the index is said to have; clause ``name``.
    contents : bytes-like, optional
        What is said to be in it, from `offset` on; clause ``contents``.
    offset : int, optional
        Where in the index; clause ``offset``. A digest is always of all there is.
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
    if nv_public is None or isinstance(nv_public, TPMS_NV_PUBLIC):
        public = None if nv_public is None else nv_public.encode()
    else:
        public = octets(nv_public, "nv_public")
    data = None if contents is None else octets(contents, "contents")
    place = None if offset is None else whole(offset, "offset", 0, 0xFFFF, error=TpmMisuseError)
    kinds = (TPM_ST.ATTEST_NV, TPM_ST.ATTEST_NV_DIGEST)
    opened = open_statement("an NV index", kinds, attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    _check_contents(opened, public, data, place)
    return opened.findings.verdict()


def _check_contents(opened: Statement, public: bytes | None, data: bytes | None, offset: int | None) -> None:
    findings, info = opened.findings, opened.attest.attested
    if isinstance(info, TPMS_NV_CERTIFY_INFO):
        _check_name(findings, info.indexName, public)
        findings.equal("offset", info.offset, offset, f"{info.offset}")
        words = f"the {len(info.nvContents)} bytes that were signed"
        if data is None:
            findings.note("contents", None, f"{len(info.nvContents)} bytes were signed; none were given")
        else:
            findings.equal("contents", data, info.nvContents, words)
    elif isinstance(info, TPMS_NV_DIGEST_CERTIFY_INFO):
        _check_name(findings, info.indexName, public)
        findings.equal("offset", 0, offset, "0: the digest is of all there is")
        if data is None:
            findings.note("contents", None, f"the digest {info.nvDigest.hex()} was signed; nothing was given")
        elif opened.hash is None:
            findings.note("contents", None, "the signature, whose hash the digest is by, cannot be read")
        else:
            found = opened.hash.digest(data)
            findings.equal("contents", found, info.nvDigest, f"their digest by {opened.hash.name} was signed")


def _check_name(findings: Findings, found: bytes, public: bytes | None) -> None:
    if public is None:
        findings.note("name", None, f"{found.hex()}; the public area was not given")
        return
    try:
        name = name_of(TPMS_NV_PUBLIC.decode(public))
    except TpmFormatError as error:
        findings.note("name", False, f"no public area: {error}")
    except TpmUnavailableError as error:
        findings.note("name", None, str(error))
    else:
        findings.equal("name", found, name, f"{name.hex()}, that of the public area")
