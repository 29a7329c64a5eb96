# SPDX-License-Identifier: Apache-2.0
"""What all attestations have in common: a structure that only a TPM signs, checked up to what it attests.

The structure starts with the number ff544347. A TPM refuses to sign foreign bytes that start so with a *restricted*
key; a key that is not restricted signs anything, so an attestation by it proves nothing. That is the clause ``key``,
and it can be checked only where the key comes as a public area.

The signature is over the bytes as they were received, which are never made again from what was read.

Sources: TPM 2.0 Library, Part 1, clause 31; Part 2, 10.12.12 (TPMS_ATTEST); Part 3, clause 18.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.attest.verdict import Findings
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError, VerificationError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.names import name_of, qualified_name
from prestocloud_sec.tpm.pem import key_from
from prestocloud_sec.tpm.signatures import signature_hash, verify_signature
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_GENERATED, TPM_ST
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST, TPMS_CLOCK_INFO
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.pem import KeyLike
    from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
    from prestocloud_sec.wire import BytesLike

    SignatureLike: TypeAlias = TPMT_SIGNATURE | BytesLike

__all__ = ["Expected", "Statement", "open_statement"]

T = TypeVar("T")

_U64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of any attestation; what is None is not checked.

    Attributes
    ----------
    signer : bytes, optional
        Qualified Name of the key that signed.
    parent : bytes or int, optional
        Qualified Name of its parent, or handle of its hierarchy for a primary key; in place of `signer`.
    since : TPMS_CLOCK_INFO, optional
        The clock of an earlier attestation by the same key: the TPM must not have been reset or restarted since, and
        its clock must not have gone back.
    firmware : int, optional
        Version of the TPM's firmware. Keys outside of endorsement and platform hierarchy have an obfuscated one, which
        is the same in all attestations by one key.
    allow_unrestricted : bool
        Let an unrestricted key pass. It can have signed anything, also what no TPM ever said.
    """

    signer: bytes | None = None
    parent: bytes | int | None = None
    since: TPMS_CLOCK_INFO | None = None
    firmware: int | None = None
    allow_unrestricted: bool = False

    def __post_init__(self) -> None:
        if self.signer is not None:
            object.__setattr__(self, "signer", octets(self.signer, "signer"))
            if self.parent is not None:
                raise TpmMisuseError("both signer and parent", where="parent", expected="one of them")
        if isinstance(self.parent, int):
            object.__setattr__(self, "parent", whole(self.parent, "parent", 0, 0xFFFFFFFF, error=TpmMisuseError))
        elif self.parent is not None:
            object.__setattr__(self, "parent", octets(self.parent, "parent"))
        if self.since is not None:
            instance(self.since, TPMS_CLOCK_INFO, "since")
        if self.firmware is not None:
            object.__setattr__(self, "firmware", whole(self.firmware, "firmware", 0, _U64, error=TpmMisuseError))
        flag(self.allow_unrestricted, "allow_unrestricted")


@dataclass(frozen=True, slots=True)
class Statement:
    """An attestation that could be read, and what was found of it so far.

    Attributes
    ----------
    findings : Findings
        Clauses up to what is attested.
    attest : TPMS_ATTEST
        What was signed.
    hash : HashAlgorithm or None
        The hash of the signature, where the signature could be read.
    """

    findings: Findings
    attest: TPMS_ATTEST
    hash: HashAlgorithm | None


def open_statement(
    subject: str,
    kinds: tuple[TPM_ST, ...],
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    nonce: BytesLike | None,
    expected: Expected,
) -> Statement | Findings:
    """Check what attestations of all kinds have in common.

    Parameters
    ----------
    subject : str
        What the verdict is about.
    kinds : tuple of TPM_ST
        The kinds that it may be of.
    attest : bytes-like or TPMS_ATTEST
        What was signed, as it was received.
    signature : TPMT_SIGNATURE or bytes-like
        The signature.
    key : TPMT_PUBLIC, public key, str or bytes-like
        Who is said to have signed.
    nonce : bytes-like, optional
        What the verifier asked to have in it.
    expected : Expected
        What else.

    Returns
    -------
    Statement or Findings
        Findings alone, all that can be said, where the bytes are no attestation of these kinds.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type. What the bytes hold raises nothing: it becomes a clause.
    """
    findings = Findings(subject)
    raw = attest.encode() if isinstance(attest, TPMS_ATTEST) else octets(attest, "attest")
    wanted = None if nonce is None else octets(nonce, "nonce")
    value = signature if isinstance(signature, TPMT_SIGNATURE) else octets(signature, "signature")
    public, fault = _key(key)
    read = _read(findings, raw)
    algorithm = _check_signature(findings, raw, value, key if fault is None else fault)
    _check_key(findings, public, fault, allow_unrestricted=expected.allow_unrestricted)
    if read is None:
        return findings
    findings.attest = read
    kind_name = getattr(read.type, "name", shown(read.type))
    fits = findings.note("type", read.type in kinds, f"{kind_name}; expected {' or '.join(k.name for k in kinds)}")
    if fits:
        findings.note("type", True, kind_name)
    _check_nonce(findings, read.extraData, wanted)
    _check_signer(findings, read.qualifiedSigner, public, expected)
    _check_clock(findings, read.clockInfo, expected.since)
    findings.equal("firmware", read.firmwareVersion, expected.firmware, f"version {read.firmwareVersion:#x}")
    return Statement(findings, read, algorithm) if fits else findings


def _read(findings: Findings, raw: bytes) -> TPMS_ATTEST | None:
    try:
        # Whether the magic is right is a clause of its own, so that all else can be told too.
        read = TPMS_ATTEST.decode(raw, lenient=True)
    except TpmFormatError as error:
        findings.note("format", False, f"no attestation: {error}")
        return None
    findings.note("format", True, f"{len(raw)} bytes, read to the last")
    right = read.magic == TPM_GENERATED.VALUE
    findings.note("magic", right, "made by a TPM, if its key is restricted" if right else f"{int(read.magic):#010x}")
    return read


def _key(key: KeyLike) -> tuple[TPMT_PUBLIC | None, PrestoCloudError | None]:
    """Return the public area of a key, if it came as one, or what is wrong with the key."""
    try:
        return key_from(key)[1], None
    except (TpmFormatError, VerificationError, TpmUnavailableError) as error:
        return None, error


def _check_signature(
    findings: Findings, raw: bytes, signature: TPMT_SIGNATURE | bytes, key: KeyLike | PrestoCloudError
) -> HashAlgorithm | None:
    algorithm = None
    try:
        value = signature if isinstance(signature, TPMT_SIGNATURE) else TPMT_SIGNATURE.decode(signature)
        algorithm = signature_hash(value)
        if isinstance(key, PrestoCloudError):
            raise key
        verify_signature(key, value, raw)
    except TpmUnavailableError as error:
        findings.note("signature", None, str(error))
    except (TpmFormatError, VerificationError) as error:
        findings.note("signature", False, str(error))
    else:
        findings.note("signature", True, f"by this key, over {algorithm.name}")
    return algorithm


_ATTESTATION_KEY = TPMA_OBJECT.restricted | TPMA_OBJECT.sign_encrypt


def _check_key(
    findings: Findings, public: TPMT_PUBLIC | None, fault: PrestoCloudError | None, *, allow_unrestricted: bool
) -> None:
    if fault is not None:
        findings.note("key", None if isinstance(fault, TpmUnavailableError) else False, str(fault))
    elif public is None:
        findings.note("key", None, "it came without its public area, which tells whether it signs for its TPM alone")
    elif public.objectAttributes & _ATTESTATION_KEY == _ATTESTATION_KEY:
        findings.note("key", True, "it is restricted: it signs no foreign bytes that look like an attestation")
    elif allow_unrestricted:
        findings.note("key", True, "it is not restricted, and the caller lets it pass")
    else:
        findings.note("key", False, "it is not restricted: it signs whatever it is given, this too")


def _check_nonce(findings: Findings, found: bytes, wanted: bytes | None) -> None:
    if wanted is None:
        findings.note("nonce", None, "none was given: this may be an old attestation")
    elif hmac.compare_digest(found, wanted):
        findings.note("nonce", True, f"the {len(wanted)} bytes that were asked for")
    else:
        findings.note("nonce", False, f"{found.hex() or 'nothing'}; expected {wanted.hex() or 'nothing'}")


def _check_signer(findings: Findings, found: bytes, public: TPMT_PUBLIC | None, expected: Expected) -> None:
    wanted = expected.signer
    if expected.parent is not None:
        if public is None:
            findings.note("signer", None, "the key came without its public area, so its Qualified Name is not known")
            return
        wanted = qualified_name(name_of(public), expected.parent)
    if wanted is not None:
        findings.equal("signer", found, wanted, f"Qualified Name {found.hex()}")
    elif public is not None and found[:2] != name_of(public)[:2]:
        findings.note("signer", False, f"Qualified Name {found.hex()} is of another hash than the key's Name")
    else:
        findings.note("signer", None, "neither the Qualified Name of the signer nor its parent was given")


def _check_clock(findings: Findings, found: TPMS_CLOCK_INFO, since: TPMS_CLOCK_INFO | None) -> None:
    words = f"{found.clock} ms, reset {found.resetCount}, restart {found.restartCount}"
    if since is None:
        findings.note("clock", None, f"{words}; no earlier one was given")
    elif (found.resetCount, found.restartCount) != (since.resetCount, since.restartCount):
        findings.note(
            "clock", False, f"the TPM was started anew: {words}; before, {since.resetCount}, {since.restartCount}"
        )
    elif found.clock < since.clock:
        findings.note("clock", False, f"it went back: {words}; before, {since.clock} ms")
    else:
        findings.note("clock", True, f"{words}; {found.clock - since.clock} ms later, without a start between")
