# SPDX-License-Identifier: Apache-2.0
"""Public areas to make objects with: those that the TCG fixes, and those for everyday use.

A primary key follows from the seed of its hierarchy and from its template, to the last bit: who makes it again with
the same template gets the same key. That is why the TCG fixes the templates of endorsement and storage keys, *unique*
included, and why two storage keys for two applications differ in *unique* alone.

Sources: TCG EK Credential Profile for TPM Family 2.0, 2.6, B.3.3 and B.3.4 (templates L-1 and L-2), B.6.2 (PolicyA);
TCG TPM v2.0 Provisioning Guidance 1.0, 7.5.1 (storage root keys); TPM 2.0 Library, Part 1, 25 to 27, Part 2, 12.2.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.policy.step import Step
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE
from prestocloud_sec.tpm.spec.structures.objects import (
    TPMS_ECC_PARMS,
    TPMS_KEYEDHASH_PARMS,
    TPMS_RSA_PARMS,
    TPMT_PUBLIC,
)
from prestocloud_sec.tpm.spec.structures.schemes import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_RSA_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

    PolicyLike: TypeAlias = "Policy | Step | BytesLike"

__all__ = [
    "EK_POLICY",
    "ak_template",
    "ek_template",
    "hmac_template",
    "key_template",
    "sealed_template",
    "srk_template",
    "storage_template",
    "symmetric_template",
]

ALG = TPM_ALG_ID
BIT = TPMA_OBJECT

EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
"""PolicyA: whoever knows the authorization value of the endorsement hierarchy may use the key."""

_KEPT = BIT.fixedTPM | BIT.fixedParent | BIT.sensitiveDataOrigin
_NO_SYMMETRIC = TPMT_SYM_DEF_OBJECT(ALG.NULL, None, None)
_NO_KDF = TPMT_KDF_SCHEME(ALG.NULL, None)
_RSA_BYTES, _ECC_BYTES = 256, 32

_USES = {"sign": BIT.sign_encrypt, "decrypt": BIT.decrypt, "both": BIT.sign_encrypt | BIT.decrypt}
_SCHEMES = {"rsassa": ALG.RSASSA, "rsapss": ALG.RSAPSS, "ecdsa": ALG.ECDSA}
_CURVES = {curve.name.removeprefix("NIST_").replace("_", ""): curve for curve in TPM_ECC_CURVE if curve}
_USUAL_SCHEME = {"rsa": "rsassa", "ecc": "ecdsa"}


def srk_template(kind: str = "ecc", *, label: BytesLike | str = b"") -> TPMT_PUBLIC:
    """Return the template of a storage root key.

    Parameters
    ----------
    kind : str
        ``"ecc"`` (P-256) or ``"rsa"`` (2048 bits).
    label : bytes-like or str
        Empty for the key that everybody shares. Any other label stands for a key of its own: *unique* begins with the
        SHA-256 of the label.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be.

    >>> srk_template().objectAttributes.text()
    'fixedTPM|fixedParent|sensitiveDataOrigin|userWithAuth|noDA|restricted|decrypt'
    """
    attributes = _KEPT | BIT.userWithAuth | BIT.noDA | BIT.restricted | BIT.decrypt
    return _storage(kind, attributes, b"", label)


def storage_template(kind: str = "ecc", *, no_da: bool = True, policy: PolicyLike = b"") -> TPMT_PUBLIC:
    """Return the template of a storage key below another one.

    Parameters
    ----------
    kind : str
        ``"ecc"`` or ``"rsa"``.
    no_da : bool
        Whether wrong passwords are not counted.
    policy : Policy or bytes-like
        The policy that its use is bound to, or its digest.
    """
    public = _storage(kind, _attributes(_KEPT | BIT.restricted | BIT.decrypt, policy, no_da=no_da), policy, b"")
    return public.replace(unique=b"" if public.type == ALG.RSA else TPMS_ECC_POINT(b"", b""))


def ek_template(kind: str = "rsa", *, nonce: BytesLike = b"") -> TPMT_PUBLIC:
    """Return the template of an endorsement key of the low range: L-1 (RSA 2048) or L-2 (ECC P-256).

    Parameters
    ----------
    kind : str
        ``"rsa"`` or ``"ecc"``.
    nonce : bytes-like
        What the TPM's maker has put into the NV index of the EK nonce; nothing in most cases.

    >>> ek_template("ecc").encode().hex()[:20]
    '0023000b000300b20020'
    """
    attributes = _KEPT | BIT.adminWithPolicy | BIT.restricted | BIT.decrypt
    public = _storage(kind, attributes, EK_POLICY, b"")
    size = _RSA_BYTES if public.type == ALG.RSA else _ECC_BYTES
    first = octets(nonce, "nonce", most=size).ljust(size, b"\0")
    if public.type == ALG.RSA:
        return public.replace(unique=first)
    return public.replace(unique=TPMS_ECC_POINT(first, bytes(size)))


def ak_template(
    kind: str = "ecc",
    *,
    scheme: str | None = None,
    hash: HashName = "sha256",
    no_da: bool = True,
    policy: PolicyLike = b"",
) -> TPMT_PUBLIC:
    """Return the template of an attestation key: it signs what the TPM itself says, and nothing else.

    Parameters
    ----------
    kind : str
        ``"ecc"`` or ``"rsa"``.
    scheme : str, optional
        ``"ecdsa"``, ``"rsassa"`` or ``"rsapss"``.
    hash : HashAlgorithm, int or str
        The hash of signatures.
    no_da, policy
        As of `storage_template`.
    """
    attributes = _attributes(_KEPT | BIT.restricted | BIT.sign_encrypt, policy, no_da=no_da)
    wanted = _USUAL_SCHEME[_kind(kind)] if scheme is None else scheme
    return _asymmetric(kind, attributes, policy, wanted, hash, 2048, TPM_ECC_CURVE.NIST_P256)


def key_template(
    kind: str = "ecc",
    *,
    use: str = "sign",
    bits: int = 2048,
    curve: int | str = TPM_ECC_CURVE.NIST_P256,
    scheme: str | None = None,
    hash: HashName = "sha256",
    no_da: bool = True,
    policy: PolicyLike = b"",
    movable: bool = False,
) -> TPMT_PUBLIC:
    """Return the template of a key that signs or decrypts for an application.

    Parameters
    ----------
    kind : str
        ``"ecc"`` or ``"rsa"``.
    use : str
        ``"sign"``; ``"decrypt"``, which for ECC means key agreement; or ``"both"``, where there is need.
    bits : int
        Size of an RSA modulus.
    curve : int or str
        The TPM_ECC_CURVE of an ECC key, or its name: ``"NIST_P384"``, ``"P-384"``.
    scheme : str, optional
        ``"ecdsa"``, ``"rsassa"`` or ``"rsapss"``: the only one that the key may sign with, with `hash`. By default the
        caller chooses each time.
    hash : HashAlgorithm, int or str
        The hash of `scheme`.
    no_da, policy
        As of `storage_template`.
    movable : bool
        Whether the key may be duplicated, which takes a policy that allows it.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be.
    """
    if not isinstance(use, str) or use not in _USES:
        raise TpmMisuseError(shown(use), where="use", expected=", ".join(_USES))
    kept = BIT.sensitiveDataOrigin if flag(movable, "movable") else _KEPT
    attributes = _attributes(kept | _USES[use], policy, no_da=no_da)
    if movable:
        attributes |= BIT.userWithAuth  # the policy is there for duplication, not instead of the password
    if scheme is not None and use != "sign":
        raise TpmMisuseError(shown(scheme), where="scheme", expected='none but for use="sign"')
    hash_of(hash)  # a word that is none is told, also where nothing depends on it
    return _asymmetric(kind, attributes, policy, scheme, hash, bits, _curve_of(curve))


def sealed_template(*, no_da: bool = True, policy: PolicyLike = b"", with_auth: bool = True) -> TPMT_PUBLIC:
    """Return the template of sealed data.

    Parameters
    ----------
    no_da : bool
        Whether wrong passwords are not counted.
    policy : Policy or bytes-like
        The policy that unsealing is bound to, or its digest.
    with_auth : bool
        Whether the password alone is enough; with a policy it never is.
    """
    flag(with_auth, "with_auth")
    fixed = BIT.fixedTPM | BIT.fixedParent
    attributes = _attributes(fixed, policy, no_da=no_da) if with_auth else fixed | BIT.adminWithPolicy
    none = TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(ALG.NULL, None))
    return TPMT_PUBLIC(ALG.KEYEDHASH, ALG.SHA256, attributes, _policy_digest(policy), none, b"")


def hmac_template(*, hash: HashName = "sha256", no_da: bool = True, policy: PolicyLike = b"") -> TPMT_PUBLIC:
    """Return the template of a key for HMACs.

    Parameters
    ----------
    hash : HashAlgorithm, int or str
        The hash.
    no_da, policy
        As of `storage_template`.
    """
    attributes = _attributes(_KEPT | BIT.sign_encrypt, policy, no_da=no_da)
    scheme = TPMT_KEYEDHASH_SCHEME(ALG.HMAC, TPMS_SCHEME_HASH(ALG(hash_of(hash).id)))
    return TPMT_PUBLIC(ALG.KEYEDHASH, ALG.SHA256, attributes, _policy_digest(policy), TPMS_KEYEDHASH_PARMS(scheme), b"")


def symmetric_template(
    *, bits: int = 128, mode: str = "cfb", no_da: bool = True, policy: PolicyLike = b""
) -> TPMT_PUBLIC:
    """Return the template of an AES key.

    Parameters
    ----------
    bits : int
        128, 192 or 256.
    mode : str
        ``"cfb"``, ``"ctr"``, ``"ofb"`` or ``"cbc"``.
    no_da, policy
        As of `storage_template`.
    """
    modes = {"cfb": ALG.CFB, "ctr": ALG.CTR, "ofb": ALG.OFB, "cbc": ALG.CBC}
    if not isinstance(mode, str) or mode not in modes:
        raise TpmMisuseError(shown(mode), where="mode", expected=", ".join(modes))
    size = whole(bits, "bits", 128, 256, error=TpmMisuseError)
    if size % 64:
        raise TpmMisuseError(f"{size} bits", where="bits", expected="128, 192 or 256")
    attributes = _attributes(_KEPT | BIT.sign_encrypt | BIT.decrypt, policy, no_da=no_da)
    cipher = TPMT_SYM_DEF_OBJECT(ALG.AES, size, modes[mode])
    return TPMT_PUBLIC(ALG.SYMCIPHER, ALG.SHA256, attributes, _policy_digest(policy), TPMS_SYMCIPHER_PARMS(cipher), b"")


def _attributes(what: TPMA_OBJECT, policy: PolicyLike, *, no_da: bool) -> TPMA_OBJECT:
    """Return attributes with those of authorization: by the policy where there is one, else by the password."""
    flag(no_da, "no_da")
    return (
        what | (BIT.noDA if no_da else BIT(0)) | (BIT.adminWithPolicy if _policy_digest(policy) else BIT.userWithAuth)
    )


def _policy_digest(policy: PolicyLike) -> bytes:
    if isinstance(policy, Policy | Step):
        return Policy(policy).digest("sha256")
    return octets(policy, "policy")


def _kind(kind: str) -> str:
    if not isinstance(kind, str) or kind not in _USUAL_SCHEME:
        raise TpmMisuseError(shown(kind), where="kind", expected='"ecc" or "rsa"')
    return kind


def _storage(kind: str, attributes: TPMA_OBJECT, policy: PolicyLike, label: BytesLike | str) -> TPMT_PUBLIC:
    first = _unique_of(label)
    aes = TPMT_SYM_DEF_OBJECT(ALG.AES, 128, ALG.CFB)
    head = ALG.SHA256, attributes, _policy_digest(policy)
    if _kind(kind) == "rsa":
        rsa = TPMS_RSA_PARMS(aes, TPMT_RSA_SCHEME(ALG.NULL, None), 2048, 0)
        return TPMT_PUBLIC(ALG.RSA, *head, rsa, first.ljust(_RSA_BYTES, b"\0"))
    ecc = TPMS_ECC_PARMS(aes, TPMT_ECC_SCHEME(ALG.NULL, None), TPM_ECC_CURVE.NIST_P256, _NO_KDF)
    point = TPMS_ECC_POINT(first.ljust(_ECC_BYTES, b"\0"), bytes(_ECC_BYTES))
    return TPMT_PUBLIC(ALG.ECC, *head, ecc, point)


def _unique_of(label: BytesLike | str) -> bytes:
    raw = label.encode("utf-8", "surrogatepass") if isinstance(label, str) else octets(label, "label")
    return hash_of("sha256").digest(raw) if raw else b""


def _curve_of(curve: int | str) -> int:
    expected = "a TPM_ECC_CURVE or the name of one, such as P-256"
    if isinstance(curve, str):
        name = curve.upper().replace("_", "").replace("-", "").removeprefix("NIST")
        if name not in _CURVES:
            raise TpmMisuseError(shown(curve), where="curve", expected=expected)
        return _CURVES[name]
    if whole(curve, "curve", 0, 0xFFFF, error=TpmMisuseError) not in set(TPM_ECC_CURVE):
        raise TpmMisuseError(f"0x{curve:04x}", where="curve", expected=expected)
    return curve


def _asymmetric(
    kind: str,
    attributes: TPMA_OBJECT,
    policy: PolicyLike,
    scheme: str | None,
    hash: HashName,
    bits: int,
    curve: int,
) -> TPMT_PUBLIC:
    fitting = ("rsassa", "rsapss") if _kind(kind) == "rsa" else ("ecdsa",)
    if scheme is not None and (not isinstance(scheme, str) or scheme not in fitting):
        raise TpmMisuseError(shown(scheme), where="scheme", expected=f"{', '.join(fitting)}, or None")
    number = ALG.NULL if scheme is None else _SCHEMES[scheme]
    details = None if scheme is None else TPMS_SCHEME_HASH(ALG(hash_of(hash).id))
    head = ALG.SHA256, attributes, _policy_digest(policy)
    if kind == "rsa":
        size = whole(bits, "bits", 1024, 4096, error=TpmMisuseError)
        if size % 1024:
            raise TpmMisuseError(f"{size} bits", where="bits", expected="a multiple of 1024")
        rsa = TPMS_RSA_PARMS(_NO_SYMMETRIC, TPMT_RSA_SCHEME(number, details), size, 0)
        return TPMT_PUBLIC(ALG.RSA, *head, rsa, b"")
    ecc = TPMS_ECC_PARMS(_NO_SYMMETRIC, TPMT_ECC_SCHEME(number, details), TPM_ECC_CURVE(curve), _NO_KDF)
    return TPMT_PUBLIC(ALG.ECC, *head, ecc, TPMS_ECC_POINT(b"", b""))
