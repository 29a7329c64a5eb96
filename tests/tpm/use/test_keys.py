# SPDX-License-Identifier: Apache-2.0
"""Keys: templates are the TCG's, keys do what pyca/cryptography's do, and never leave their TPM."""

from __future__ import annotations

import copy
import hashlib
import hmac
import os
import pickle

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

from prestocloud_sec.tpm import Client, connect, use
from prestocloud_sec.tpm.errors import (
    AuthFailError,
    HandleError,
    IntegrityError,
    TpmFormatError,
    TpmMisuseError,
    TpmResponseError,
)
from prestocloud_sec.tpm.policy import OR, AuthValue, CommandCode, Password
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPM_CC, TPM_RH, TPMA_OBJECT, TPMT_PUBLIC
from prestocloud_sec.tpm.transport import Recorder, open_transport
from tests.tpm.client.objects import NO_SCHEME, PERSISTENT_FIRST

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    CFB = modes.CFB

SHA256 = hashes.SHA256()
SHA1 = hashes.SHA1()  # noqa: S303  (TPMs have it)
SHA384 = hashes.SHA384()
PKCS1, ECDSA = padding.PKCS1v15(), ec.ECDSA(SHA256)
OAEP = padding.OAEP(padding.MGF1(SHA256), SHA256, None)

EK_RSA = bytes.fromhex(
    "0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
    "00060080004300100800000000000100"
) + bytes(256)
"""Template L-1 of the EK Credential Profile, written out."""
EK_ECC = (
    bytes.fromhex(
        "0023000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
        "0006008000430010000300100020"
    )
    + bytes(32)
    + b"\0\x20"
    + bytes(32)
)
"""Template L-2."""


def test_templates_are_those_of_the_tcg():
    assert use.ek_template("rsa").encode() == EK_RSA
    assert use.ek_template("ecc").encode() == EK_ECC
    assert use.srk_template("rsa").encode() == bytes.fromhex(
        "0001000b00030472000000060080004300100800000000000100"
    ) + bytes(256)
    assert use.srk_template("ecc").encode() == bytes.fromhex(
        "0023000b00030472000000060080004300100003001000200000000000000000000000000000000000000000000000000000000000000000"
        "00200000000000000000000000000000000000000000000000000000000000000000"
    )
    nonce = use.ek_template("rsa", nonce=b"nonce").unique
    assert nonce == b"nonce" + bytes(251)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
@pytest.mark.parametrize("password", ["", "a password"])
def test_a_certificate_request_is_signed(client, kind, password):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device")])
    with use.create_key(client, kind, password=password) as key:
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, SHA256)
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    read = x509.load_der_x509_csr(request.public_bytes(serialization.Encoding.DER))
    assert read.subject == name


@pytest.mark.parametrize("hashed", [SHA1, SHA256, hashes.SHA384(), hashes.SHA512()])
def test_signatures_verify_elsewhere(client, hashed):
    message = os.urandom(3000)
    digest = hashes.Hash(hashed)
    digest.update(message)
    prehashed = digest.finalize()
    with use.create_key(client, "rsa") as key:
        pss = padding.PSS(padding.MGF1(hashed), padding.PSS.AUTO)
        for form in (PKCS1, pss):
            key.public_key().verify(key.sign(message, form, hashed), message, form, hashed)
            key.public_key().verify(key.sign(prehashed, form, Prehashed(hashed)), message, form, hashed)
        exact = padding.PSS(padding.MGF1(hashed), padding.PSS.DIGEST_LENGTH)
        key.public_key().verify(key.sign(message, exact, hashed), message, exact, hashed)
        with pytest.raises(InvalidSignature):
            key.public_key().verify(key.sign(message, PKCS1, hashed), message + b"!", PKCS1, hashed)
    with use.create_key(client, "ecc") as key:
        key.public_key().verify(key.sign(message, ec.ECDSA(hashed)), message, ec.ECDSA(hashed))
        key.public_key().verify(key.sign(prehashed, ec.ECDSA(Prehashed(hashed))), message, ec.ECDSA(hashed))


def test_a_salt_that_the_tpm_does_not_make_is_refused(client):
    with use.create_key(client, "rsa") as key:
        for salt in (padding.PSS.MAX_LENGTH, 5):
            with pytest.raises(TpmMisuseError, match="salt"):
                key.sign(b"", padding.PSS(padding.MGF1(SHA256), salt), SHA256)


@pytest.mark.parametrize(
    "form",
    [PKCS1, OAEP, padding.OAEP(padding.MGF1(SHA1), SHA1, b"a label\0")],
    ids=["pkcs1", "oaep", "oaep with a label"],
)
def test_what_others_encrypt_is_decrypted(client, form):
    with use.create_key(client, "rsa", use="decrypt", password="p") as key:
        assert key.decrypt(key.public_key().encrypt(b"a message", form), form) == b"a message"
        with pytest.raises(TpmResponseError):
            key.decrypt(bytes(255) + b"\1", form)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_a_secret_is_agreed_on(client, curve):
    with use.create_key(client, "ecc", use="decrypt", curve={256: 3, 384: 4}[curve.key_size]) as key:
        for _ in range(3):
            other = ec.generate_private_key(curve)
            assert key.exchange(ec.ECDH(), other.public_key()) == other.exchange(ec.ECDH(), key.public_key())


def test_a_restricted_key_signs_what_its_tpm_has_hashed_and_nothing_that_looks_like_a_statement(client):
    with use.create_ak(client) as ak:
        message = os.urandom(5000)
        ak.public_key().verify(ak.sign(message, ECDSA), message, ECDSA)
        with pytest.raises(TpmMisuseError, match="restricted"):
            ak.sign(bytes(32), ec.ECDSA(Prehashed(SHA256)))
        with pytest.raises(TpmResponseError) as refused:
            ak.sign(b"\xffTCG and then anything", ECDSA)
        assert refused.value.name == "TICKET"


def test_keys_are_kept_and_loaded_again(client):
    with use.create_key(client, password="p") as key:
        text = key.wrapped.to_json()
    again = use.load_key(client, use.WrappedObject.from_json(text), password="p")
    again.public_key().verify(again.sign(b"message", ECDSA), b"message", ECDSA)
    assert again.name == key.name
    wrong = use.load_key(client, use.WrappedObject.from_json(text), password="q")
    with pytest.raises(AuthFailError):
        wrong.sign(b"message", ECDSA)


def test_a_key_is_made_persistent_and_removed(client):
    with use.create_key(client) as key:
        kept = key.persist(PERSISTENT_FIRST)
        assert key.persist(PERSISTENT_FIRST) == kept
    again = use.open_key(client, PERSISTENT_FIRST)
    again.public_key().verify(again.sign(b"message", ECDSA), b"message", ECDSA)
    assert again.wrapped is None
    client.evict_control(client.owner, kept, PERSISTENT_FIRST)
    with pytest.raises(HandleError):
        use.open_key(client, PERSISTENT_FIRST)


def test_a_key_is_used_as_its_policy_says(client):
    policy = CommandCode(TPM_CC.Sign) >> AuthValue()
    with use.create_key(client, password="p", policy=policy) as key:
        key.public_key().verify(key.sign(b"message", ECDSA), b"message", ECDSA)
        with pytest.raises(TpmResponseError):
            client.certify(key.handle, key.handle, b"", NO_SCHEME)
    again = use.load_key(client, use.WrappedObject.from_json(key.wrapped.to_json()), password="p")
    assert again.sign(b"message", ECDSA)
    again.close()
    with use.create_key(client, password="p", policy=CommandCode(TPM_CC.Sign) >> Password()) as key:
        assert key.sign(b"message", ECDSA)


@pytest.mark.parametrize("password", ["", "p", "another"])
def test_a_policy_instead_of_the_password(client, password):
    """What comes back encrypted does not depend on a value that nothing has checked."""
    policy = OR(CommandCode(TPM_CC.RSA_Decrypt), CommandCode(TPM_CC.ECDH_ZGen))
    peer = ec.generate_private_key(ec.SECP256R1())
    for kind, choice in (("rsa", 0), ("ecc", 1)):
        with use.create_key(client, kind, use="decrypt", password="p", policy=policy) as key:
            wrapped = key.wrapped
        with use.load_key(client, wrapped, password=password, choices=[choice]) as key:
            if kind == "rsa":
                assert key.decrypt(key.public_key().encrypt(b"secret", OAEP), OAEP) == b"secret"
            else:
                assert key.exchange(ec.ECDH(), peer.public_key()) == peer.exchange(ec.ECDH(), key.public_key())


def test_a_key_for_something_else_says_so(client):
    with use.create_key(client, "rsa") as key, pytest.raises(TpmResponseError, match="one that signs"):
        key.decrypt(bytes(256), PKCS1)
    with use.create_key(client, use="decrypt") as key, pytest.raises(TpmResponseError, match="one that decrypts"):
        key.sign(b"message", ECDSA)


class TestWhatStaysInTheTpm:
    @pytest.fixture
    def key(self, client):
        with use.create_key(client, "rsa", password="the password") as made:
            yield made

    def test_the_private_part_is_not_handed_out(self, key):
        for ask in (key.private_numbers, lambda: key.private_bytes(1, 2, 3)):
            with pytest.raises(TpmMisuseError, match="stays in the TPM"):
                ask()
        with pytest.raises(TpmMisuseError):
            pickle.dumps(key)
        assert copy.copy(key) is copy.deepcopy(key) is key

    def test_nothing_secret_is_shown(self, key):
        shown = f"{key!r} {key} {key.wrapped!r} {key.handle!r} {vars(key)}"
        assert "the password" not in shown
        assert key.wrapped.private.hex()[:32] not in shown

    def test_fixed_objects_are_not_duplicated(self, client, key):
        with pytest.raises((TpmResponseError, TpmMisuseError)):
            use.duplicate(client, key.handle, None, CommandCode(TPM_CC.Duplicate))

    def test_nothing_secret_is_on_the_way(self, uri, tmp_path):
        """Everything that goes to the TPM and comes back is looked through for the secrets."""
        secret, password = os.urandom(32), "no password in plain"
        way = Recorder(open_transport(uri), tmp_path / "record")
        with Client(way) as client:
            sealed = use.seal(client, secret, password=password)
            assert use.unseal(client, sealed, password=password) == secret
            with use.create_key(client, "rsa", use="decrypt", password=password) as key:
                assert key.decrypt(key.public_key().encrypt(secret, OAEP), OAEP) == secret
        traffic = (tmp_path / "record").read_text()
        assert traffic.count("\n") > 20
        assert secret.hex() not in traffic
        assert password.encode().hex() not in traffic
        assert secret.hex() not in sealed.to_json()


def test_objects_of_one_tpm_are_not_loaded_by_another(client, uri):
    with use.create_key(client) as key:
        pass
    assert key.public.objectAttributes & (TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent)
    with connect("embedded:") as other:
        with pytest.raises(TpmMisuseError, match="no parent"):
            use.load(other, key.wrapped)
        with pytest.raises(IntegrityError):
            use.load(other, key.wrapped, parent=use.srk(other))


def test_two_applications_have_storage_keys_of_their_own(tmp_path):
    with connect(f"embedded:dir={tmp_path}") as client:
        keys = [
            use.provision_srk(client, 0x81000001 + n, label=label) for n, label in enumerate(("app one", "app two"))
        ]
        assert keys[0].name != keys[1].name
        made = [use.create_key(client, parent=key).wrapped for key in keys]
    with connect(f"embedded:dir={tmp_path}") as client:
        assert [client.persistent(0x81000001 + n).name for n in (0, 1)] == [key.name for key in keys]
        loaded = [use.load_key(client, each) for each in made]
        for _ in range(3):
            for key in loaded:
                key.public_key().verify(key.sign(b"at once", ECDSA), b"at once", ECDSA)
        with pytest.raises(IntegrityError):
            use.load(client, made[0], parent=client.persistent(0x81000002))


def test_every_type_of_object_is_made(client):
    templates = {
        "rsa": use.key_template("rsa"),
        "ecc": use.key_template("ecc"),
        "hmac": use.hmac_template(),
        "aes": use.symmetric_template(),
        "storage": use.storage_template("rsa"),
    }
    for name, template in templates.items():
        made = use.create(client, template)
        assert made.public.replace(unique=template.unique) == template, name
        with use.load(client, made) as handle:
            assert handle.name == b"\0\x0b" + hashlib.sha256(made.public.encode()).digest()


class TestCryptoEngine:
    def test_hashes(self, client):
        for name in ("sha1", "sha256", "sha384", "sha512"):
            for size in (0, 1, 1024, 1025, 4096, 5001):
                data = os.urandom(size)
                digest, ticket = use.hash_data(client, data, name)
                assert digest == hashlib.new(name, data).digest()
                assert ticket.hierarchy == TPM_RH.OWNER

    def test_hmac(self, client):
        key = os.urandom(32)
        wrapped = use.import_secret(client, use.hmac_template(), key)
        with use.load(client, wrapped) as handle:
            for size in (0, 1024, 3000):
                data = os.urandom(size)
                assert use.hmac_data(client, handle, data) == hmac.digest(key, data, "sha256")

    @pytest.mark.parametrize("mode", ["cfb", "ctr", "cbc"])
    def test_block_ciphers(self, client, mode):
        key, iv, data = os.urandom(16), os.urandom(16), os.urandom(3200)
        wrapped = use.import_secret(client, use.symmetric_template(mode=mode), key)
        form = {"cfb": CFB, "ctr": modes.CTR, "cbc": modes.CBC}[mode](iv)
        expected = Cipher(algorithms.AES(key), form).encryptor().update(data)
        with use.load(client, wrapped) as handle:
            made = use.encrypt_data(client, handle, data, iv)
            assert made == expected
            assert use.decrypt_data(client, handle, made, iv) == data

    def test_the_tpm_encrypts_and_verifies_for_others(self, client):
        with use.create_key(client, "rsa", use="decrypt") as key:
            made = client.rsa_encrypt(key.handle, b"a message", _oaep(), b"")
            assert key.decrypt(made, OAEP) == b"a message"
        private = ec.generate_private_key(ec.SECP256R1())
        with use.load_key(client, use.import_key(client, private)) as key:
            signature = key.sign(b"a message", ECDSA)
            private.public_key().verify(signature, b"a message", ECDSA)


def _oaep():
    from prestocloud_sec.tpm.spec import TPMS_SCHEME_HASH, TPMT_RSA_DECRYPT

    return TPMT_RSA_DECRYPT(TPM_ALG_ID.OAEP, TPMS_SCHEME_HASH(TPM_ALG_ID.SHA256))


class TestMisuse:
    def test_no_client(self):
        for call in (use.srk, use.pcr_banks, use.ek, lambda c: use.seal(c, b"x"), lambda c: use.create_key(c)):
            for wrong in (None, 7, b"", object(), Client):
                with pytest.raises(TpmMisuseError, match="client"):
                    call(wrong)

    @pytest.mark.parametrize(
        "options",
        [
            {"kind": "dsa"},
            {"kind": None},
            {"kind": b"ecc"},
            {"use": "encrypt"},
            {"scheme": "rsassa"},
            {"curve": 77},
            {"curve": "P-999"},
            {"password": b"x" * 33},
            {"password": 5},
            {"policy": "AuthValue"},
            {"parent": 0x81000001},
            {"hash": "md5", "scheme": "ecdsa"},
            {"choices": 5},
            {"use": "both", "scheme": "ecdsa"},
        ],
    )
    def test_create_key(self, client, options):
        with pytest.raises(TpmMisuseError):
            use.create_key(client, **options)

    @pytest.mark.parametrize("bits", [0, -1, 1000, 2049, "2048", None, 1 << 40])
    def test_sizes(self, bits):
        with pytest.raises(TpmMisuseError):
            use.key_template("rsa", bits=bits)
        with pytest.raises(TpmMisuseError):
            use.symmetric_template(bits=bits)

    def test_a_key_is_asked_for_what_it_does_not_do(self, client):
        with use.create_key(client, "rsa", scheme="rsassa", hash="sha384") as key:
            for args in (
                (b"x", PKCS1, SHA256),
                (b"x", None, SHA256),
                (b"x", PKCS1, None),
                (None, PKCS1, SHA384),
                (b"x", padding.PSS(padding.MGF1(SHA256), 32), hashes.SHA384()),
            ):
                with pytest.raises(TpmMisuseError):
                    key.sign(*args)
            for args in ((b"", PKCS1), (bytes(256), None), (None, PKCS1)):
                with pytest.raises(TpmMisuseError):
                    key.decrypt(*args)
        with use.create_key(client) as key:
            for algorithm in (None, ECDSA.__class__, SHA256, ec.ECDSA(hashes.BLAKE2s(32))):
                with pytest.raises(TpmMisuseError):
                    key.sign(b"x", algorithm)
            other = ec.generate_private_key(ec.SECP384R1()).public_key()
            for args in ((None, key.public_key()), (ec.ECDH(), None), (ec.ECDH(), other)):
                with pytest.raises(TpmMisuseError):
                    key.exchange(*args)
        with pytest.raises(TpmMisuseError, match="closed"):
            key.sign(b"x", ECDSA)

    def test_what_is_no_key_is_not_opened(self, client):
        with use.load(client, use.create(client, use.hmac_template())) as handle:
            with pytest.raises(TpmMisuseError, match="RSA or ECC"):
                use.open_key(client, handle)
            with pytest.raises(TpmMisuseError):
                use.EccKey(client, handle)
        for wrong in (None, b"", "x", 0x80000000):
            with pytest.raises((TpmMisuseError, HandleError)):
                use.open_key(client, wrong)


class TestWrapped:
    @pytest.fixture
    def wrapped(self, client):
        return use.seal(client, b"data", pcrs="sha256:16", password="p")

    def test_it_goes_to_json_and_files_and_back(self, wrapped):
        assert use.WrappedObject.from_json(wrapped.to_json()) == wrapped
        assert use.WrappedObject.from_json(wrapped.to_json(indent=None).encode()) == wrapped
        files = wrapped.to_files()
        again = use.WrappedObject.from_files(*files, parent=wrapped.parent, policy=wrapped.policy)
        assert again == wrapped
        assert again.to_files() == files
        assert TPMT_PUBLIC.decode(files[0][2:]) == wrapped.public

    def test_other_texts_are_refused(self, wrapped):
        text = wrapped.to_json()
        for wrong in (
            "",
            "{}",
            "[]",
            "null",
            text[:-1],
            text + "x",
            text.replace("1", '"1"', 1),
            "[" * 100000,
            text.replace('"parent"', '"other"'),
            text.replace('"private": "', '"private": "x'),
            b"\xff\xfe",
            text.replace('"version"', '"format"'),
            text.replace(wrapped.private.hex(), "0"),
        ):
            with pytest.raises(TpmFormatError):
                use.WrappedObject.from_json(wrong)
        for wrong in (None, 5, object()):
            with pytest.raises(TpmMisuseError):
                use.WrappedObject.from_json(wrong)

    def test_a_changed_object_is_refused_by_the_tpm(self, client):
        made = use.create(client, use.key_template())
        for at in (0, 40, len(made.private) - 1):
            changed = bytearray(made.private)
            changed[at] ^= 1
            with pytest.raises(TpmResponseError):
                use.load(client, use.WrappedObject(made.public, bytes(changed), made.parent))

    def test_another_policy_is_refused(self, wrapped):
        with pytest.raises(TpmMisuseError, match="policy"):
            use.WrappedObject(wrapped.public, wrapped.private, wrapped.parent, (AuthValue() >> AuthValue()))

    def test_files_that_are_none(self, wrapped):
        public, private = wrapped.to_files()
        for wrong in (b"", public[:1], public[:-1], public + b"\0"):
            with pytest.raises(TpmFormatError):
                use.WrappedObject.from_files(wrong, private)
