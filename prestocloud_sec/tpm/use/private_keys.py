# SPDX-License-Identifier: Apache-2.0
"""Keys of a TPM as pyca/cryptography has private keys: they sign, decrypt and agree wherever one of its keys does.

`RsaKey` and `EccKey` are an `RSAPrivateKey` and an `EllipticCurvePrivateKey`, so that a certificate request, say, is
signed with one as with any other. The private part never leaves the TPM; what asks for it is refused.

What is signed is hashed here, but for restricted keys: these sign only what the TPM has hashed itself, and has seen not
to look like a statement of its own.

Sources: TPM 2.0 Library, Part 3, 14.2 (RSA_Decrypt), 14.5 (ECDH_ZGen), 20.2 (Sign); Part 1, B.4 to B.7, C.4, C.5.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PSS, PKCS1v15, calculate_max_pss_salt_length
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm._secrets import KeepsSecrets
from prestocloud_sec.tpm.client.handles import Handle, Object, PersistentObject
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.signatures import signature_to_plain
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_RH, TPM_ST
from prestocloud_sec.tpm.spec.structures.basic import TPMT_TK_HASHCHECK
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import (
    TPMS_ECC_POINT,
    TPMS_SCHEME_HASH,
    TPMT_SIG_SCHEME,
)
from prestocloud_sec.tpm.use._doing import client_of, handle_of, secret_session
from prestocloud_sec.tpm.use._paddings import check_mgf, decryption_of, plain_hash, row_of
from prestocloud_sec.tpm.use.crypto import hash_data
from prestocloud_sec.tpm.use.objects import persist, srk
from prestocloud_sec.tpm.use.policies import Signer, policy_session, secret_policy_sessions
from prestocloud_sec.tpm.use.wrapped import WrappedObject
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client

__all__ = ["EccKey", "RsaKey", "TpmKey"]

ALG = TPM_ALG_ID

_NO_TICKET = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")


class TpmKey(KeepsSecrets):
    """What keys of both kinds have in common; `create_key`, `load_key` and `open_key` make them.

    Attributes
    ----------
    client : Client
        The TPM.
    handle : Object or PersistentObject
        The key in the TPM.
    wrapped : WrappedObject or None
        The key outside of it, to be kept and loaded again; None for one that was found in the TPM.
    """

    _KIND: int

    def __init__(
        self,
        client: Client,
        handle: Handle,
        wrapped: WrappedObject | None = None,
        *,
        policy: Policy | None = None,
        choices: Iterable[int | str] = (),
        signer: Signer = None,
    ) -> None:
        self.client = client_of(client)
        self.handle = handle_of(handle, "handle")
        if not isinstance(handle, Object | PersistentObject) or handle.public.type != self._KIND:
            kind = f"a key of {ALG(self._KIND).name}"
            raise TpmMisuseError(repr(handle), where="handle", expected=kind)
        self.wrapped = None if wrapped is None else instance(wrapped, WrappedObject, "wrapped")
        self._policy = wrapped.policy if policy is None and wrapped is not None else policy
        self._choices, self._signer = _held(choices), signer
        self._public = handle.public
        self._public_key: Any = public_key_of(handle.public)

    @property
    def public(self) -> TPMT_PUBLIC:
        """The public area."""
        return self._public

    @property
    def name(self) -> bytes:
        """The Name."""
        return name_of(self._public)

    @property
    def key_size(self) -> int:
        """Bits of the modulus, or of the curve's field."""
        size: int = self._public_key.key_size
        return size

    def persist(self, handle: int) -> PersistentObject:
        """Make the key persistent, and return what stands for it from now on; this one can be closed."""
        return persist(self.client, self.handle, handle)

    def close(self) -> None:
        """Flush the key out of the TPM; a persistent one stays there."""
        if isinstance(self.handle, Object):
            self.handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def authorized(self) -> Iterator[list[Any] | None]:
        """Yield the sessions that a command with this key takes: one of its policy, or the client's choice."""
        if self._policy is None:
            yield None
            return
        options: Any = {"choices": self._choices, "signer": self._signer, "hash": int(self.public.nameAlg)}
        with policy_session(self.client, self._policy, **options) as session:
            yield [session]

    @contextlib.contextmanager
    def _secretly(self) -> Iterator[list[Any]]:
        """Yield sessions that also encrypt what comes back."""
        salt_key = srk(self.client)
        if self._policy is None:
            with secret_session(self.client, salt_key) as session:
                yield [session]
            return
        options: Any = {"choices": self._choices, "signer": self._signer, "hash": int(self.public.nameAlg)}
        with secret_policy_sessions(self.client, self._policy, salt_key, **options) as sessions:
            yield list(sessions)

    def _sign(self, data: Any, algorithm: Any, scheme: int) -> bytes:
        row, digest, ticket = self._digest(data, algorithm)
        self._check_scheme(scheme, row)
        wanted = TPMT_SIG_SCHEME(ALG(scheme), TPMS_SCHEME_HASH(ALG(row.id)))
        with self.authorized() as sessions:
            made = self.client.sign(self.handle, digest, wanted, ticket, sessions=sessions)
        return signature_to_plain(made)

    def _digest(self, data: Any, algorithm: Any) -> tuple[HashAlgorithm, bytes, TPMT_TK_HASHCHECK]:
        if isinstance(algorithm, Prehashed):
            inner = algorithm._algorithm  # there is no other way to it
            row = row_of(inner)
            if self._is_restricted:
                expected = "the data, which the TPM has to hash itself"
                raise TpmMisuseError("a digest, and the key is restricted", where="data", expected=expected)
            return row, octets(data, "data", row.size), _NO_TICKET
        row, raw = row_of(algorithm), octets(data, "data")
        if self._is_restricted:
            digest, ticket = hash_data(self.client, raw, row)
            return row, digest, ticket
        return row, row.digest(raw), _NO_TICKET

    @property
    def _is_restricted(self) -> bool:
        return bool(self.public.objectAttributes & TPMA_OBJECT.restricted)

    def _check_scheme(self, scheme: int, row: HashAlgorithm) -> None:
        fixed: Any = self.public.parameters.scheme  # type: ignore[union-attr]
        if fixed.scheme != ALG.NULL and (fixed.scheme != scheme or fixed.details.hashAlg != row.id):
            expected = f"{fixed.scheme.name} with {fixed.details.hashAlg.name}, as the key has it"
            raise TpmMisuseError(f"{ALG(scheme).name} with {row.name}", where="scheme", expected=expected)

    def private_numbers(self) -> NoReturn:
        """Refuse: they are in the TPM, and stay there."""
        raise TpmMisuseError("the private part stays in the TPM", where=repr(self), hint="wrapped is to be kept")

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        """Refuse, as `private_numbers`."""
        self.private_numbers()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.key_size} bits, {self.handle!r}>"


class RsaKey(TpmKey, rsa.RSAPrivateKey):
    """An RSA key of a TPM.

    >>> from cryptography.hazmat.primitives import hashes
    >>> from cryptography.hazmat.primitives.asymmetric import padding
    >>> from prestocloud_sec.tpm import connect, create_key
    >>> with connect("embedded:") as client, create_key(client, "rsa") as key:
    ...     signature = key.sign(b"a message", padding.PKCS1v15(), hashes.SHA256())
    ...     key.public_key().verify(signature, b"a message", padding.PKCS1v15(), hashes.SHA256())
    ...     key.key_size
    2048
    """

    _KIND = ALG.RSA

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public key."""
        found: rsa.RSAPublicKey = self._public_key
        return found

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """Sign.

        Parameters
        ----------
        data : bytes-like
            The message; its digest, if `algorithm` is ``Prehashed``.
        padding : PKCS1v15 or PSS
            The padding. Of PSS, a TPM has MGF1 with the same hash, and chooses the length of the salt itself: give
            ``DIGEST_LENGTH``, ``MAX_LENGTH`` or a number if it has to be that one, and the signature is refused if the
            TPM's is another; give ``AUTO`` to take what it chooses.
        algorithm : HashAlgorithm
            The hash.

        Raises
        ------
        TpmMisuseError
            If the key does not sign so.
        TpmResponseError
            If the TPM refuses.
        """
        if isinstance(padding, PKCS1v15):
            return self._sign(data, algorithm, ALG.RSASSA)
        if not isinstance(padding, PSS):
            raise TpmMisuseError(shown(padding), where="padding", expected="PKCS1v15 or PSS")
        check_mgf(padding, row_of(plain_hash(algorithm)))
        made = self._sign(data, algorithm, ALG.RSAPSS)
        if padding._salt_length is not PSS.AUTO:
            self._check_salt(made, data, padding, algorithm)
        return made

    def _check_salt(self, signature: bytes, data: Any, padding: Any, algorithm: Any) -> None:
        """Refuse a salt of another length than was wanted: whoever verifies may insist on it."""
        from cryptography.exceptions import InvalidSignature

        plain = plain_hash(algorithm)
        wanted: Any = padding._salt_length
        if wanted is PSS.DIGEST_LENGTH:
            wanted = plain.digest_size
        elif wanted is PSS.MAX_LENGTH:  # which OpenSSL takes for any length, where it verifies
            wanted = calculate_max_pss_salt_length(self.public_key(), plain)
        try:
            self.public_key().verify(signature, data, PSS(padding._mgf, wanted), algorithm)
        except InvalidSignature:
            hint = "give PSS.AUTO to take what it chooses"
            raise TpmMisuseError("the TPM's salt has another length", where="padding", hint=hint) from None

    def decrypt(self, ciphertext: Any, padding: Any) -> bytes:
        """Decrypt.

        Parameters
        ----------
        ciphertext : bytes-like
            As long as the modulus.
        padding : OAEP or PKCS1v15
            The padding. Of OAEP, a TPM has MGF1 with the same hash, and labels that end with a zero byte.

        Raises
        ------
        TpmMisuseError
            If the key does not decrypt so.
        TpmResponseError
            If the TPM refuses; it does where the padding is wrong.
        """
        scheme, label = decryption_of(padding)
        raw = octets(ciphertext, "ciphertext", self.key_size // 8)
        with self._secretly() as sessions:
            return self.client.rsa_decrypt(self.handle, raw, scheme, label, sessions=sessions)


class EccKey(TpmKey, ec.EllipticCurvePrivateKey):
    """An ECC key of a TPM.

    >>> from cryptography.hazmat.primitives import hashes
    >>> from cryptography.hazmat.primitives.asymmetric import ec
    >>> from prestocloud_sec.tpm import connect, create_key
    >>> with connect("embedded:") as client, create_key(client) as key:
    ...     signature = key.sign(b"a message", ec.ECDSA(hashes.SHA256()))
    ...     key.public_key().verify(signature, b"a message", ec.ECDSA(hashes.SHA256()))
    ...     key.curve.name
    'secp256r1'
    """

    _KIND = ALG.ECC

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve."""
        found: ec.EllipticCurve = self._public_key.curve
        return found

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public key."""
        found: ec.EllipticCurvePublicKey = self._public_key
        return found

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        """Sign.

        Parameters
        ----------
        data : bytes-like
            The message; its digest, if the algorithm's hash is ``Prehashed``.
        signature_algorithm : ECDSA
            With the hash.

        Returns
        -------
        bytes
            r and s in DER.

        Raises
        ------
        TpmMisuseError
            If the key does not sign so.
        TpmResponseError
            If the TPM refuses.
        """
        if not isinstance(signature_algorithm, ec.ECDSA):
            raise TpmMisuseError(shown(signature_algorithm), where="signature_algorithm", expected="ECDSA")
        if getattr(signature_algorithm, "deterministic_signing", False):
            raise TpmMisuseError("deterministic", where="signature_algorithm", expected="random nonces")
        return self._sign(data, signature_algorithm.algorithm, ALG.ECDSA)

    def exchange(self, algorithm: Any, peer_public_key: Any) -> bytes:
        """Return the secret that is shared with another key: the x-coordinate, padded to the size of the field.

        Parameters
        ----------
        algorithm : ECDH
            There is no other.
        peer_public_key : EllipticCurvePublicKey
            The other's public key, on the same curve.

        Raises
        ------
        TpmMisuseError
            If the key does not agree so.
        TpmResponseError
            If the TPM refuses.
        """
        if not isinstance(algorithm, ec.ECDH):
            raise TpmMisuseError(shown(algorithm), where="algorithm", expected="ECDH")
        if not isinstance(peer_public_key, ec.EllipticCurvePublicKey) or peer_public_key.curve.name != self.curve.name:
            raise TpmMisuseError(shown(peer_public_key), where="peer_public_key", expected=f"one on {self.curve.name}")
        numbers, size = peer_public_key.public_numbers(), (self.key_size + 7) // 8
        point = TPMS_ECC_POINT(numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big"))
        with self._secretly() as sessions:
            shared: Any = self.client.ecdh_zgen(self.handle, point, sessions=sessions)
        agreed: bytes = shared.x
        return agreed.rjust(size, b"\0")


def _held(choices: Iterable[int | str]) -> tuple[int | str, ...]:
    return tuple(items_of(choices, "choices", "numbers or labels", error=TpmMisuseError))
