# SPDX-License-Identifier: Apache-2.0
"""Storage keys in software: what a TPM does with a storage key that it alone has, done with one that is here.

Source: TPM 2.0 Library, Part 1, clauses 23 (Protected storage hierarchy) and 24 (Credential protection).

Such a parent takes in what a TPM duplicates to it, opens credentials, and so lets everything be tested, or escrowed,
without a TPM. Whoever has its private key has all that was ever wrapped for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import KeepsSecrets
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.protect.wrapping import protection_of
from prestocloud_sec.tpm.public_keys import curve_of, public_key_of
from prestocloud_sec.tpm.salt import Purpose, recover_secret
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF_OBJECT
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.salt import SoftwareKey
    from prestocloud_sec.wire import BytesLike

__all__ = ["SoftwareParent", "storage_public_of", "symmetric_of"]

_ATTRIBUTES = TPMA_OBJECT.userWithAuth | TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt


def symmetric_of(cipher: ParameterCipher) -> TPMT_SYM_DEF_OBJECT:
    """Return the TPMT_SYM_DEF_OBJECT of a block cipher in CFB mode.

    Raises
    ------
    TpmMisuseError
        If it is none.
    """
    if not isinstance(cipher, ParameterCipher) or cipher.name == "xor":
        raise TpmMisuseError(shown(cipher), where="cipher", expected="a ParameterCipher with a block cipher")
    return TPMT_SYM_DEF_OBJECT.decode(cipher.encode())


def storage_public_of(
    key: Any, *, name_hash: HashName = "sha256", cipher: ParameterCipher | None = None
) -> TPMT_PUBLIC:
    """Return the public area of a storage key for a public key of pyca/cryptography.

    Parameters
    ----------
    key : RSAPublicKey or EllipticCurvePublicKey
        The public key.
    name_hash : HashAlgorithm, int or str
        Its nameAlg.
    cipher : ParameterCipher, optional
        What it encrypts its children with; AES of 128 bits if not given.

    Raises
    ------
    TpmMisuseError
        If a TPM has no such key, or an argument has the wrong type.
    """
    public = public_area_of(key, name_hash=name_hash, attributes=_ATTRIBUTES)
    symmetric = symmetric_of(ParameterCipher() if cipher is None else cipher)
    parameters: Any = public.parameters
    return public.replace(parameters=parameters.replace(symmetric=symmetric))


class SoftwareParent(KeepsSecrets):
    """A storage key whose private half is here.

    Parameters
    ----------
    private : RSAPrivateKey or EllipticCurvePrivateKey
        The private key of pyca/cryptography.
    public : TPMT_PUBLIC, optional
        Its public area; made by `storage_public_of` if not given.

    Raises
    ------
    TpmMisuseError
        If it is no private key, the public area is not that of a storage key, or they do not belong together.

    Attributes
    ----------
    public : TPMT_PUBLIC
        The public area.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: SoftwareKey, public: TPMT_PUBLIC | None = None) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise TpmMisuseError(type(private).__name__, where="private", expected="a private key of RSA or ECC")
        if public is None:
            public = storage_public_of(private.public_key())
        protection_of(public)
        if public_key_of(public) != private.public_key():
            raise TpmMisuseError("not the private key of this public area", where="private")
        self._private = private
        self.public = public

    @classmethod
    def generate(
        cls,
        kind: str = "ecc",
        *,
        size: int = 2048,
        curve: int = 0x0003,
        name_hash: HashName = "sha256",
        cipher: ParameterCipher | None = None,
    ) -> SoftwareParent:
        """Make a new key; its randomness is the system's.

        Parameters
        ----------
        kind : str
            ``"rsa"`` or ``"ecc"``.
        size : int
            Bits of an RSA modulus: 1024 to 4096, in steps of 1024.
        curve : int
            The TPM_ECC_CURVE of an ECC key.
        name_hash, cipher
            As of `storage_public_of`.

        Raises
        ------
        TpmMisuseError
            If an argument is wrong.
        TpmUnavailableError
            If pyca/cryptography has no such curve.
        """
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        private: SoftwareKey
        if not isinstance(kind, str):
            raise TpmMisuseError(shown(kind), where="kind", expected='"rsa" or "ecc"')
        if kind == "rsa":
            bits = whole(size, "size", 1024, 4096, error=TpmMisuseError)
            if bits % 1024:
                raise TpmMisuseError(f"{bits} bits", where="size", expected="a multiple of 1024")
            private = rsa.generate_private_key(65537, bits)
        elif kind == "ecc":
            private = ec.generate_private_key(curve_of(curve))
        else:
            raise TpmMisuseError(shown(kind), where="kind", expected='"rsa" or "ecc"')
        return cls(private, storage_public_of(private.public_key(), name_hash=name_hash, cipher=cipher))

    @classmethod
    def from_pem(
        cls, pem: str | BytesLike, public: TPMT_PUBLIC | None = None, *, password: BytesLike | None = None
    ) -> SoftwareParent:
        """Read a private key in PEM.

        Parameters
        ----------
        pem : str or bytes-like
            The key (PKCS #8, or the traditional form).
        public : TPMT_PUBLIC, optional
            Its public area.
        password : bytes-like, optional
            What it is encrypted with.

        Raises
        ------
        TpmFormatError
            If it is no private key of RSA or ECC, or the password is wrong. The message does not repeat it.
        TpmMisuseError
            If an argument has the wrong type, or the key does not belong to the public area.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        raw = pem.encode("utf-8", "replace") if isinstance(pem, str) else octets(pem, "pem")
        secret = None if password is None else octets(password, "password")
        try:
            private: Any = load_pem_private_key(raw, secret)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Without its cause, which may show parts of the text.
            raise TpmFormatError(
                "no private key in PEM", where="pem", expected="RSA or ECC, and its password"
            ) from None
        return cls(private, public)

    @property
    def name(self) -> bytes:
        """The Name of the key."""
        return name_of(self.public)

    def recover(self, purpose: Purpose, encrypted: BytesLike) -> bytes:
        """Return a secret that was shared with this key; see `prestocloud_sec.tpm.salt.recover_secret`."""
        return recover_secret(self._private, self.public, purpose, encrypted)

    def __repr__(self) -> str:
        return f"SoftwareParent({self.public.type.name}, name={self.name.hex()})"
