# SPDX-License-Identifier: Apache-2.0
"""A pretended TPM: keys, quotes and credentials made byte by byte, so that verification has something true to verify.

Nothing here uses the structures or the verification of `prestocloud_sec.tpm`: public areas and attestations are packed
by hand, signed by pyca/cryptography. It protects nothing and is for tests alone.

>>> tpm = PretendTpm()
>>> attest, signature = tpm.create_ak().quote(bytes.fromhex("00000001000b03010000"), b"nonce")
>>> attest[:6].hex()
'ff5443478018'
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.x509.oid import NameOID

from prestocloud_sec.tpm.errors import VerificationError
from prestocloud_sec.tpm.pcr import PcrBanks, PcrSelection

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB

__all__ = ["Authority", "PretendAk", "PretendTpm", "make_credential", "two_bytes"]

RESTRICTED_SIGNING = 0x00050072
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign."""

UNRESTRICTED_SIGNING = 0x00040072

_EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_TCG = "2.23.133"


def two_bytes(data: bytes) -> bytes:
    """Return bytes with their length in front, as a TPM2B."""
    return struct.pack(">H", len(data)) + data


def _name(public: bytes) -> bytes:
    return b"\0\x0b" + hashlib.sha256(public).digest()


def _kdfa(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    blocks = (
        hmac.digest(key, struct.pack(">I", n) + label + b"\0" + context + struct.pack(">I", bits), "sha256")
        for n in (1, 2)
    )
    return b"".join(blocks)[: bits // 8]


def make_credential(ek: rsa.RSAPublicKey, name: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return a credential for an RSA endorsement key with SHA-256 and AES-128, as TPM2_MakeCredential makes it."""
    seed = os.urandom(32)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
    encryptor = Cipher(algorithms.AES(_kdfa(seed, b"STORAGE", name, 128)), CFB(bytes(16))).encryptor()
    identity = encryptor.update(two_bytes(secret)) + encryptor.finalize()
    integrity = hmac.digest(_kdfa(seed, b"INTEGRITY", b"", 256), identity + name, "sha256")
    return two_bytes(integrity) + identity, ek.encrypt(seed, oaep)


class Authority:
    """An authority that signs certificates: a root, or one below another.

    Parameters
    ----------
    name : str
        Its common name.
    above : Authority, optional
        Who certifies it; without one it certifies itself.
    now : datetime
        Certificates are good from a day before until ten years after.
    key : private key, optional
        Of ECC or Ed25519; a fresh one on P-256 unless told otherwise.
    """

    def __init__(
        self,
        name: str,
        above: Authority | None = None,
        now: datetime.datetime | None = None,
        key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None = None,
    ) -> None:
        self.now = now or datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.above = above or self
        self.certificate = self.sign(
            self.name,
            self.key.public_key(),
            [
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (_usage(key_cert_sign=True, crl_sign=True), True),
            ],
            by=self.above,
        )

    def sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
        extensions: Iterable[tuple[x509.ExtensionType, bool]],
        by: Authority | None = None,
        days: int = 3650,
    ) -> x509.Certificate:
        """Return a certificate, signed by this authority unless told otherwise."""
        signer = by or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - datetime.timedelta(days=1))
            .not_valid_after(self.now + datetime.timedelta(days=days))
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(signer.key, None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256())

    def certify_ek(self, key: rsa.RSAPublicKey, **changes: object) -> x509.Certificate:
        """Return the certificate of an endorsement key, as the TCG's profile has it; `changes` spoil it for tests."""
        model = [("2.1", "id:58595A00"), ("2.2", "pretend"), ("2.3", "id:00010002")]
        attributes = [x509.NameAttribute(x509.ObjectIdentifier(f"{_TCG}.{oid}"), text) for oid, text in model]
        alternative = x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))])
        parts: dict[str, tuple[x509.ExtensionType, bool]] = {
            "alternative": (alternative, True),
            "constraints": (x509.BasicConstraints(ca=False, path_length=None), True),
            "usage": (_usage(key_encipherment=True), True),
            "purpose": (x509.ExtendedKeyUsage([x509.ObjectIdentifier(f"{_TCG}.8.1")]), False),
        }
        days = changes.pop("days", 3650)
        merged = {**parts, **changes}
        kept = [part for part in merged.values() if part is not None]
        return self.sign(x509.Name([]), key, kept, days=days)  # type: ignore[arg-type]

    def chain(self) -> list[x509.Certificate]:
        """Return the certificates from this authority up to, and without, the root."""
        return [] if self.above is self else [self.certificate, *self.above.chain()]


def _usage(**given: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def der(certificate: x509.Certificate) -> bytes:
    """Return the bytes of a certificate."""
    return certificate.public_bytes(serialization.Encoding.DER)


@dataclass
class Clock:
    """What a TPM says of its time, in attestations."""

    clock: int = 123456
    resets: int = 7
    restarts: int = 2
    safe: bool = True

    def encode(self) -> bytes:
        """Return the TPMS_CLOCK_INFO."""
        return struct.pack(">QIIB", self.clock, self.resets, self.restarts, self.safe)


class PretendAk:
    """An attestation key of a `PretendTpm`.

    Parameters
    ----------
    tpm : PretendTpm
        Whose key it is.
    attributes : int
        Its objectAttributes.
    """

    def __init__(self, tpm: PretendTpm, attributes: int = RESTRICTED_SIGNING) -> None:
        self.tpm = tpm
        self.private = ec.generate_private_key(ec.SECP256R1())
        numbers = self.private.public_key().public_numbers()
        # TPM_ALG_ECC, SHA-256, attributes, no policy, no symmetric, ECDSA with SHA-256, P-256, no KDF
        self.public = (
            struct.pack(">HHIH", 0x23, 0x0B, attributes, 0)
            + bytes.fromhex("0010 0018000b 0003 0010")
            + two_bytes(numbers.x.to_bytes(32, "big"))
            + two_bytes(numbers.y.to_bytes(32, "big"))
        )
        self.name = _name(self.public)
        self.qualified_name = b"\0\x0b" + hashlib.sha256(bytes.fromhex("4000000b") + self.name).digest()

    def sign(self, message: bytes) -> bytes:
        """Return the TPMT_SIGNATURE of a message (ECDSA with SHA-256)."""
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        halves = b"".join(two_bytes(half.to_bytes(32, "big")) for half in (r, s))
        return bytes.fromhex("0018000b") + halves

    def sign_ticketed(self, message: bytes) -> bytes:
        """Return the signature of foreign bytes, as TPM2_Hash and TPM2_Sign give it to a restricted key."""
        if message.startswith(b"\xff\x54\x43\x47"):
            raise VerificationError(
                "no ticket for bytes that look like an attestation", where="PretendAk.sign_ticketed"
            )
        return self.sign(message)

    def attest(self, kind: int, extra: bytes, attested: bytes) -> tuple[bytes, bytes]:
        """Return an attestation and its signature."""
        head = b"\xff\x54\x43\x47" + struct.pack(">H", kind) + two_bytes(self.qualified_name) + two_bytes(extra)
        attest = head + self.tpm.clock.encode() + struct.pack(">Q", self.tpm.firmware) + attested
        return attest, self.sign(attest)

    def quote(self, selection: bytes, nonce: bytes) -> tuple[bytes, bytes]:
        """Return a quote of the TPM's PCRs and its signature; `selection` is a TPML_PCR_SELECTION."""
        chosen = PcrSelection.decode(selection)
        digest = self.tpm.pcrs.digest(chosen, "sha256")
        return self.attest(0x8018, nonce, selection + two_bytes(digest))


@dataclass
class PretendTpm:
    """A pretended TPM with an endorsement key, attestation keys and PCRs.

    Attributes
    ----------
    pcrs : PcrBanks
        Its PCRs.
    clock : Clock
        What it says of its time.
    firmware : int
        Version of its firmware.
    """

    pcrs: PcrBanks = field(default_factory=PcrBanks)
    clock: Clock = field(default_factory=Clock)
    firmware: int = 0x2023_0102_0003_0004

    def __post_init__(self) -> None:
        self.ek_private = rsa.generate_private_key(65537, 2048)
        modulus = self.ek_private.public_key().public_numbers().n.to_bytes(256, "big")
        # TPM_ALG_RSA, SHA-256, the attributes and policy of the TCG's template, AES-128-CFB, no scheme, 2048, 65537
        self.ek_public = (
            bytes.fromhex("0001000b000300b2") + two_bytes(_EK_POLICY) + bytes.fromhex("0006008000430010080000000000")
        ) + two_bytes(modulus)

    def create_ak(self, attributes: int = RESTRICTED_SIGNING) -> PretendAk:
        """Return a fresh attestation key."""
        return PretendAk(self, attributes)

    def activate(self, ak: PretendAk, id_object: bytes, encrypted_secret: bytes) -> bytes:
        """Return the secret of a credential for one of the keys, as TPM2_ActivateCredential does.

        Raises
        ------
        VerificationError
            If the credential is not for this key in this TPM.
        """
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
        try:
            seed = self.ek_private.decrypt(encrypted_secret, oaep)
        except ValueError as error:
            raise VerificationError("not for this endorsement key", where="credential") from error
        (size,) = struct.unpack(">H", id_object[:2])
        integrity, identity = id_object[2 : 2 + size], id_object[2 + size :]
        made = hmac.digest(_kdfa(seed, b"INTEGRITY", b"", 256), identity + ak.name, "sha256")
        if ak.tpm is not self or not hmac.compare_digest(integrity, made):
            raise VerificationError("not for this attestation key", where="credential")
        decryptor = Cipher(algorithms.AES(_kdfa(seed, b"STORAGE", ak.name, 128)), CFB(bytes(16))).decryptor()
        secret = decryptor.update(identity) + decryptor.finalize()
        return secret[2 : 2 + struct.unpack(">H", secret[:2])[0]]
