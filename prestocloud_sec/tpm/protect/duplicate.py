# SPDX-License-Identifier: Apache-2.0
"""Duplicates: objects on their way from one parent to another, wrapped, unwrapped and wrapped anew without a TPM.

Sources: TPM 2.0 Library, Part 1, 23.3 (Duplication) and 22.5 (inner wrap); Part 3, clause 13 (Duplicate, Rewrap,
Import).

::

    object        TPM2B_SENSITIVE
    inner wrap    CFB(key, IV = 0, TPM2B(H(TPM2B_SENSITIVE || Name)) || TPM2B_SENSITIVE)   with the object's nameAlg
    outer wrap    `prestocloud_sec.tpm.protect.wrapping`, with a seed shared with the new parent

Either wrap may be missing, and both may. The inner key has to come another way than the duplicate, so that neither way
alone tells the secret.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._secrets import Random, buffer, drawn
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, UnwrapError
from prestocloud_sec.tpm.hashes import HashAlgorithm, hash_of
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.protect.parent import SoftwareParent, symmetric_of
from prestocloud_sec.tpm.protect.sensitive import check_binding
from prestocloud_sec.tpm.protect.wrapping import protection_of, sized, split_sized
from prestocloud_sec.tpm.salt import Purpose, share_secret
from prestocloud_sec.tpm.session.cipher import BLOCK_CIPHERS, ParameterCipher, cfb_decrypt, cfb_encrypt
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC, TPMT_SENSITIVE
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF_OBJECT

if TYPE_CHECKING:
    from prestocloud_sec.tpm.session.cipher import BlockCipher
    from prestocloud_sec.wire import BytesLike

__all__ = ["Duplicate", "rewrap", "unwrap", "wrap"]

_FIXED = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent


@dataclass(frozen=True, slots=True)
class Duplicate:
    """What TPM2_Duplicate returns, and TPM2_Import takes.

    Attributes
    ----------
    duplicate : bytes
        *duplicate*: what a TPM2B_PRIVATE holds.
    seed : bytes
        *outSymSeed*, *inSymSeed*: what a TPM2B_ENCRYPTED_SECRET holds; empty without an outer wrap.
    inner_key : bytes
        *encryptionKeyOut*, *encryptionKey*: the key of the inner wrap; empty without one. Not shown.
    cipher : ParameterCipher, optional
        The cipher of the inner wrap.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or there is not as much key as the cipher needs.
    """

    duplicate: bytes
    seed: bytes = b""
    inner_key: bytes = field(default=b"", repr=False)
    cipher: ParameterCipher | None = None

    def __post_init__(self) -> None:
        for name in ("duplicate", "seed", "inner_key"):
            object.__setattr__(self, name, buffer(getattr(self, name), f"Duplicate.{name}"))
        if self.cipher is not None:
            symmetric_of(self.cipher)
        needed = 0 if self.cipher is None else self.cipher.bits // 8
        if len(self.inner_key) != needed:
            raise TpmMisuseError(f"{len(self.inner_key)} bytes", where="Duplicate.inner_key", expected=f"{needed}")

    @property
    def symmetric(self) -> TPMT_SYM_DEF_OBJECT:
        """*symmetricAlg*: the cipher of the inner wrap as commands have it."""
        return TPMT_SYM_DEF_OBJECT(TPM_ALG_ID.NULL, None, None) if self.cipher is None else symmetric_of(self.cipher)


def wrap(
    public: TPMT_PUBLIC,
    sensitive: TPMT_SENSITIVE,
    parent: TPMT_PUBLIC | None = None,
    *,
    cipher: ParameterCipher | None = None,
    inner_key: BytesLike | None = None,
    random: Random = os.urandom,
) -> Duplicate:
    """Wrap an object for another parent, as TPM2_Duplicate does.

    Parameters
    ----------
    public : TPMT_PUBLIC
        The object's public area.
    sensitive : TPMT_SENSITIVE
        Its secret part; see `prestocloud_sec.tpm.protect.sensitive`.
    parent : TPMT_PUBLIC, optional
        The storage key that is to take it in; None for no outer wrap.
    cipher : ParameterCipher, optional
        The cipher of the inner wrap; None for none.
    inner_key : bytes-like, optional
        The key of the inner wrap; drawn if not given.
    random : callable
        Returns as many fresh random bytes as it is asked for.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, the object cannot be duplicated, or needs a wrap that is missing.
    VerificationError
        If the two parts are not those of one object, or the parent is no key.
    TpmUnavailableError
        If pyca/cryptography lacks a curve, or OAEP with this hash.
    """
    check_binding(public, sensitive)
    _check_attributes(public, outer=parent is not None, inner=cipher is not None)
    name, blob = name_of(public), sized(sensitive.encode())
    key = b"" if inner_key is None else buffer(inner_key, "inner_key")
    if cipher is None and key:
        raise TpmMisuseError("a key, but no cipher", where="inner_key", expected="both or neither")
    if cipher is not None:
        row, size = _row(cipher), cipher.bits // 8
        key = drawn(random, size) if inner_key is None else key
        if len(key) != size:
            raise TpmMisuseError(f"{len(key)} bytes", where="inner_key", expected=f"{size}")
        integrity = hash_of(public.nameAlg).digest(blob, name)
        blob = cfb_encrypt(row, key, bytes(row.block), sized(integrity) + blob)
    seed = b""
    if parent is not None:
        protection = protection_of(parent)
        shared, seed = share_secret(parent, Purpose.DUPLICATE, random=random)
        blob = protection.wrap(shared, name, blob)
    return Duplicate(blob, seed, key, cipher)


def unwrap(duplicate: Duplicate, public: TPMT_PUBLIC, parent: SoftwareParent | None = None) -> TPMT_SENSITIVE:
    """Unwrap an object, as TPM2_Import does, with a storage key in software.

    The secret part is as its TPM had it: libtpms pads the authorization value with zeros, which do not count
    (`AuthValue` takes them off).

    Parameters
    ----------
    duplicate : Duplicate
        The object, wrapped.
    public : TPMT_PUBLIC
        The object's public area.
    parent : SoftwareParent, optional
        Whom it was wrapped for; needed if there is an outer wrap.

    Raises
    ------
    UnwrapError
        If a wrap is for another key or object, or was changed.
    VerificationError
        If the secret part is not that of the public area.
    TpmFormatError
        If there is no secret part inside.
    TpmMisuseError
        If an argument has the wrong type, or the parent is missing.
    TpmUnavailableError
        If pyca/cryptography has no such curve.
    """
    _check_types(duplicate, public)
    blob, name = duplicate.duplicate, name_of(public)
    if duplicate.seed:
        blob = _opened(duplicate, name, parent)
    if duplicate.cipher is not None:
        blob = _inner(duplicate, blob, hash_of(public.nameAlg, "public.nameAlg"), name)
    inner, rest = split_sized(blob, "TPM2B_SENSITIVE")
    if rest:
        raise TpmFormatError(f"{len(rest)} bytes too many", where="TPM2B_SENSITIVE", offset=len(inner) + 2)
    sensitive = TPMT_SENSITIVE.decode(inner)
    check_binding(public, sensitive)
    return sensitive


def rewrap(
    duplicate: Duplicate,
    name: BytesLike,
    old_parent: SoftwareParent | None,
    new_parent: TPMT_PUBLIC | None,
    *,
    random: Random = os.urandom,
) -> Duplicate:
    """Change the outer wrap of a duplicate, as TPM2_Rewrap does; the inner one stays as it is.

    Parameters
    ----------
    duplicate : Duplicate
        The object, wrapped.
    name : bytes-like
        Its Name.
    old_parent : SoftwareParent or None
        Whom it was wrapped for.
    new_parent : TPMT_PUBLIC or None
        Whom it is to be wrapped for.
    random : callable
        Returns as many fresh random bytes as it is asked for.

    Raises
    ------
    UnwrapError
        If the outer wrap is for another key or object, or was changed.
    TpmFormatError
        If there is none.
    TpmMisuseError
        If an argument has the wrong type.
    """
    if not isinstance(duplicate, Duplicate):
        raise TpmMisuseError(type(duplicate).__name__, where="duplicate", expected="a Duplicate")
    whose = buffer(name, "name")
    blob = _opened(duplicate, whose, old_parent) if duplicate.seed else duplicate.duplicate
    seed = b""
    if new_parent is not None:
        protection = protection_of(new_parent)
        shared, seed = share_secret(new_parent, Purpose.DUPLICATE, random=random)
        blob = protection.wrap(shared, whose, blob)
    return Duplicate(blob, seed, duplicate.inner_key, duplicate.cipher)


def _opened(duplicate: Duplicate, name: bytes, parent: SoftwareParent | None) -> bytes:
    """Return what is inside the outer wrap."""
    if not isinstance(parent, SoftwareParent):
        raise TpmMisuseError(type(parent).__name__, where="parent", expected="the SoftwareParent it is wrapped for")
    seed = parent.recover(Purpose.DUPLICATE, duplicate.seed)
    return protection_of(parent.public).unwrap(seed, name, duplicate.duplicate, "outer wrap")


def _inner(duplicate: Duplicate, blob: bytes, algorithm: HashAlgorithm, name: bytes) -> bytes:
    """Return what is inside the inner wrap."""
    row, start = _row(duplicate.cipher), 2 + algorithm.size
    plain = cfb_decrypt(row, duplicate.inner_key, bytes(row.block), blob)
    # One comparison for the size and the digest: with another key both are noise.
    if not hmac.compare_digest(plain[:start], sized(algorithm.digest(plain[start:], name))):
        raise UnwrapError("the digest is wrong", where="inner wrap", hint="changed, or for another key or object")
    return plain[start:]


def _row(cipher: ParameterCipher | None) -> BlockCipher:
    return BLOCK_CIPHERS[symmetric_of(cipher).algorithm]  # type: ignore[arg-type]


def _check_types(duplicate: object, public: object) -> None:
    if not isinstance(duplicate, Duplicate):
        raise TpmMisuseError(type(duplicate).__name__, where="duplicate", expected="a Duplicate")
    if not isinstance(public, TPMT_PUBLIC):
        raise TpmMisuseError(type(public).__name__, where="public", expected="a TPMT_PUBLIC")


def _check_attributes(public: TPMT_PUBLIC, *, outer: bool, inner: bool) -> None:
    """Raise TpmMisuseError if a TPM would not take the object in."""
    attributes = public.objectAttributes
    if attributes & _FIXED:
        raise TpmMisuseError("the object stays where it is", where="public", expected="fixedTPM and fixedParent clear")
    if attributes & TPMA_OBJECT.encryptedDuplication and not (outer and inner):
        raise TpmMisuseError("encryptedDuplication", where="public", expected="an outer and an inner wrap")
