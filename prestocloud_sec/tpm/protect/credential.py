# SPDX-License-Identifier: Apache-2.0
"""Credentials: a secret that only the TPM which holds a storage key, and an object with a given Name, can read.

Sources: TPM 2.0 Library, Part 1, clause 24; Part 3, 12.5 (ActivateCredential) and 12.6 (MakeCredential). The file is
that of tpm2-tools (``tpm2_makecredential``): BADCC0DE, version 1, then two TPM2B.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import Random, buffer
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError
from prestocloud_sec.tpm.protect.parent import SoftwareParent
from prestocloud_sec.tpm.protect.wrapping import protection_of, sized, split_sized
from prestocloud_sec.tpm.salt import Purpose, share_secret
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Credential", "activate_credential", "make_credential"]

_MAGIC = bytes.fromhex("badcc0de00000001")


class Credential(NamedTuple):
    """What TPM2_MakeCredential returns, and TPM2_ActivateCredential takes.

    Attributes
    ----------
    id_object : bytes
        *credentialBlob*: what a TPM2B_ID_OBJECT holds.
    encrypted_secret : bytes
        *secret*: what a TPM2B_ENCRYPTED_SECRET holds.
    """

    id_object: bytes
    encrypted_secret: bytes

    def to_file(self) -> bytes:
        """Return the credential as tpm2-tools keep it.

        Raises
        ------
        TpmMisuseError
            If a part is not bytes, or too long.
        """
        parts = buffer(self.id_object, "id_object"), buffer(self.encrypted_secret, "encrypted_secret")
        return _MAGIC + b"".join(map(sized, parts))

    @classmethod
    def from_file(cls, data: BytesLike) -> Credential:
        """Read what tpm2-tools have written.

        Raises
        ------
        TpmFormatError
            If it is no such file.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        raw = octets(data, "credential file")
        if not raw.startswith(_MAGIC):
            raise TpmFormatError("another magic", where="credential file", offset=0, expected=_MAGIC.hex())
        id_object, rest = split_sized(raw[len(_MAGIC) :], "credential file")
        encrypted, rest = split_sized(rest, "credential file")
        if rest:
            raise TpmTrailingBytesError(f"{len(rest)} bytes too many", where="credential file")
        return cls(id_object, encrypted)


def make_credential(
    public: TPMT_PUBLIC, name: BytesLike, secret: BytesLike, *, random: Random = os.urandom
) -> Credential:
    """Wrap a secret, without a TPM.

    Parameters
    ----------
    public : TPMT_PUBLIC
        The storage key that the TPM has, such as its endorsement key.
    name : bytes-like
        The Name of the object that has to be in the same TPM.
    secret : bytes-like
        The secret, at most as long as a digest of the storage key's nameAlg.
    random : callable
        Returns as many fresh random bytes as it is asked for.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, the key is no storage key, or the secret too long.
    VerificationError
        If the public area is no key.
    TpmUnavailableError
        If pyca/cryptography lacks the curve, or OAEP with this hash.
    """
    protection = protection_of(public)
    plain, whose = buffer(secret, "secret"), buffer(name, "name")
    if len(plain) > protection.algorithm.size:
        raise TpmMisuseError(f"{len(plain)} bytes", where="secret", expected=f"at most {protection.algorithm.size}")
    seed, encrypted = share_secret(public, Purpose.CREDENTIAL, random=random)
    return Credential(protection.wrap(seed, whose, sized(plain)), encrypted)


def activate_credential(parent: SoftwareParent, name: BytesLike, credential: tuple[BytesLike, BytesLike]) -> bytes:
    """Unwrap a secret, as TPM2_ActivateCredential does, with a storage key in software.

    Parameters
    ----------
    parent : SoftwareParent
        The storage key.
    name : bytes-like
        The Name of the object that the secret is for.
    credential : Credential
        What `make_credential` or TPM2_MakeCredential has made.

    Raises
    ------
    UnwrapError
        If it is for another key or object, or was changed.
    TpmFormatError
        If it is no credential.
    TpmMisuseError
        If an argument has the wrong type.
    """
    if not isinstance(parent, SoftwareParent):
        raise TpmMisuseError(type(parent).__name__, where="parent", expected="a SoftwareParent")
    if not isinstance(credential, tuple) or len(credential) != 2:
        raise TpmMisuseError(type(credential).__name__, where="credential", expected="a Credential")
    id_object, encrypted = buffer(credential[0], "id_object"), buffer(credential[1], "encrypted_secret")
    protection, whose = protection_of(parent.public), buffer(name, "name")
    seed = parent.recover(Purpose.CREDENTIAL, encrypted)
    plain, rest = split_sized(protection.unwrap(seed, whose, id_object, "credential"), "credential")
    if rest:
        raise TpmTrailingBytesError(f"{len(rest)} bytes too many", where="credential")
    if len(plain) > protection.algorithm.size:
        expected = f"at most {protection.algorithm.size}"
        raise TpmFormatError(f"a secret of {len(plain)} bytes", where="credential", expected=expected)
    return plain
