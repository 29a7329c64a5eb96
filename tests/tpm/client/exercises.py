# SPDX-License-Identifier: Apache-2.0
"""One exercise for each command: it succeeds only if the command does what it is for."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

from prestocloud_sec.tpm import Client
from prestocloud_sec.tpm.client import Object, SessionHandle
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import qualified_name
from prestocloud_sec.tpm.session import SessionKind
from prestocloud_sec.tpm.spec.attributes import TPMA_NV, TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import (
    TPM_ALG_ID,
    TPM_CAP,
    TPM_CC,
    TPM_CLOCK_ADJUST,
    TPM_ECC_CURVE,
    TPM_EO,
    TPM_NT,
    TPM_RH,
    TPM_SE,
    TPM_ST,
    TPM_SU,
)
from prestocloud_sec.tpm.spec.structures import (
    TPMS_ATTEST,
    TPMS_DERIVE,
    TPMS_ECC_POINT,
    TPMS_PCR_SELECTION,
    TPMS_SCHEME_ECDAA,
    TPMT_PUBLIC,
    TPMT_PUBLIC_PARMS,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_TK_AUTH,
)
from tests.tpm.client.objects import (
    NO_POINT,
    NO_SCHEME,
    NO_SESSION_CIPHER,
    NO_TICKET,
    NV_FIRST,
    OAEP,
    OWN,
    PERSISTENT_FIRST,
    SHA256,
    Template,
    digests,
    secret,
    selection,
)

ALG, CC, RH = TPM_ALG_ID, TPM_CC, TPM_RH
NONCE = bytes(range(20))
DATA = b"what the exercises work on"
DIGEST = hashlib.sha256(DATA).digest()
KEY_OF_SHA256 = {"AES": bytes(16)}


class Exercise(NamedTuple):
    """How a command is exercised, and what the TPM has to be for that."""

    run: Callable[[Client, Template], None]
    needs: tuple[str, ...]
    """Fixtures of `conftest`, such as ``platform``."""


EXERCISES: dict[int, Exercise] = {}
"""The exercises by the code of the command."""

ONLY_REFUSED: dict[int, tuple[int, str]] = {
    CC.PP_Commands: (0x090, "TPM_RC_PP: libtpms has no line for physical presence, which the command needs"),
}
"""Commands that libtpms 0.9.2 implements but always refuses: the base response code, and why."""

Run = Callable[[Client, Template], None]


def exercise(code: TPM_CC, *needs: str) -> Callable[[Run], Run]:
    """Note that a function exercises a command."""

    def note(run: Run) -> Run:
        assert code not in EXERCISES, code
        EXERCISES[code] = Exercise(run, needs)
        return run

    return note


# --- what exercises are made of


def primary(
    client: Client, public: TPMT_PUBLIC, hierarchy: int = RH.OWNER, auth: bytes = b"", data: bytes = b""
) -> Object[Any]:
    return client.create_primary(hierarchy, secret(auth, data), public, b"", ())


def child(
    client: Client, parent: Object[Any], public: TPMT_PUBLIC, auth: bytes = b"", data: bytes = b""
) -> Object[Any]:
    made = client.create(parent, secret(auth, data), public, b"", ())
    loaded = client.load(parent, made.outPrivate, made.outPublic)
    loaded.set_auth(auth)
    return loaded


def policy(client: Client, kind: SessionKind = SessionKind.POLICY) -> SessionHandle[Any]:
    return client.start_session(kind)


def extended(*parts: bytes) -> bytes:
    """Return the policy digest after one step."""
    return hashlib.sha256(bytes(32) + b"".join(parts)).digest()


def code(number: int) -> bytes:
    return number.to_bytes(4, "big")


def attest(data: bytes, kind: TPM_ST) -> TPMS_ATTEST:
    """Return what a TPM attests, which has to be of a kind and for our nonce."""
    statement = TPMS_ATTEST.decode(data)
    assert (statement.type, statement.extraData) == (kind, NONCE)
    return statement


def verify(public: TPMT_PUBLIC, data: bytes, signature: TPMT_SIGNATURE) -> None:
    """Check an ECDSA signature with other code than ours."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    x, y = (int.from_bytes(each, "big") for each in (public.unique.x, public.unique.y))
    r, s = (int.from_bytes(each, "big") for each in (signature.signature.signatureR, signature.signature.signatureS))
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    key.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))


def pcr_value(client: Client, index: int) -> bytes:
    return client.pcr_read(selection(index)).pcrValues[0]


def define(client: Client, template: Template, **kind: Any) -> int:
    public = template.index(**kind)
    client.nv_define_space(client.owner, b"nv", public)
    return int(public.nvIndex)


# --- start


@exercise(CC.Startup, "power")
def _(client: Client, template: Template) -> None:
    client.transport.power_cycle()  # type: ignore[attr-defined]
    client.startup(TPM_SU.CLEAR)
    assert len(client.get_random(8)) == 8


@exercise(CC.Shutdown)
def _(client: Client, template: Template) -> None:
    client.shutdown(TPM_SU.CLEAR)
    client.get_random(1)


@exercise(CC.SelfTest)
def _(client: Client, template: Template) -> None:
    client.self_test(fullTest=True)
    assert client.get_test_result().testResult == 0


@exercise(CC.IncrementalSelfTest)
def _(client: Client, template: Template) -> None:
    assert ALG.SHA256 not in client.incremental_self_test((ALG.SHA256,))


@exercise(CC.GetTestResult)
def _(client: Client, template: Template) -> None:
    assert client.get_test_result().testResult == 0


# --- sessions


@exercise(CC.StartAuthSession)
def _(client: Client, template: Template) -> None:
    with client.start_auth_session(
        RH.NULL, RH.NULL, bytes(16), b"", TPM_SE.HMAC, NO_SESSION_CIPHER, ALG.SHA256
    ) as session:
        client.pcr_extend(16, digests(b"in a session"), sessions=[session])
        client.pcr_extend(16, digests(b"once more"), sessions=[session])


@exercise(CC.PolicyRestart)
def _(client: Client, template: Template) -> None:
    with policy(client) as session:
        client.policy_auth_value(session)
        client.policy_restart(session)
        assert client.policy_get_digest(session) == bytes(32)


# --- objects


@exercise(CC.CreatePrimary)
def _(client: Client, template: Template) -> None:
    with client.create_primary(client.owner, secret(), template.storage, NONCE, selection(16)) as key:
        creation = key.response.creationData
        assert creation.outsideInfo == NONCE
        assert key.response.creationHash == hashlib.sha256(creation.encode()).digest()
        assert key.public.unique != NO_POINT


@exercise(CC.Create)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent:
        made = client.create(parent, secret(b"auth", b"sealed"), template.sealed, NONCE, selection(16))
        assert made.creationData.parentName == parent.name
        assert made.outPublic.unique


@exercise(CC.Load)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent:
        made = client.create(parent, secret(), template.signing, b"", ())
        with client.load(parent, made.outPrivate, made.outPublic) as key:
            assert key.name == client.read_public(key).name


@exercise(CC.LoadExternal)
def _(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        public = key.public
    with client.load_external(None, public, RH.OWNER) as again:
        assert again.name == key.name


@exercise(CC.ReadPublic)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.signing) as key:
        answer = client.read_public(key)
        above = qualified_name(parent.name, RH.OWNER)
        assert (answer.outPublic, answer.qualifiedName) == (key.public, qualified_name(key.name, above))


@exercise(CC.MakeCredential)
def _(client: Client, template: Template) -> None:
    with primary(client, template.endorsing, RH.ENDORSEMENT) as key:
        made = client.make_credential(key, b"credential", key.name)
        assert b"credential" not in made.credentialBlob + made.secret


@exercise(CC.ActivateCredential)
def _(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        ek = stack.enter_context(primary(client, template.endorsing, RH.ENDORSEMENT, b"ek"))
        ak = stack.enter_context(primary(client, template.attesting, RH.ENDORSEMENT, b"ak"))
        made = client.make_credential(ek, b"credential", ak.name)
        assert client.activate_credential(ak, ek, made.credentialBlob, made.secret) == b"credential"


@exercise(CC.Unseal)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.sealed, b"auth", DATA) as sealed:
        assert client.unseal(sealed) == DATA


@exercise(CC.ObjectChangeAuth)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.sealed, b"old", DATA) as sealed:
        private = client.object_change_auth(sealed, parent, b"new")
        assert client.unseal(sealed) == DATA, "the loaded object keeps its value"
        with client.load(parent, private, sealed.public) as changed:
            changed.set_auth(b"new")
            assert client.unseal(changed) == DATA


@exercise(CC.CreateLoaded)
def _(client: Client, template: Template) -> None:
    with primary(client, template.deriving) as parent:
        public = template.ecc(OWN & ~TPMA_OBJECT.sensitiveDataOrigin | TPMA_OBJECT.decrypt)
        wanted = public.encode()[: -len(NO_POINT.encode())] + TPMS_DERIVE(b"label", b"context").encode()
        with (
            client.create_loaded(parent, secret(), wanted) as one,
            client.create_loaded(parent, secret(), wanted) as two,
        ):
            assert one.public == two.public, "what is derived is derived again"
            assert one.name == client.read_public(one).name


# --- duplication


def duplicated(client: Client, key: Object[Any], parent: int) -> Any:
    with policy(client) as session:
        client.policy_command_code(session, CC.Duplicate)
        from tests.tpm.client.objects import NO_CIPHER

        return client.duplicate(key, parent, b"", NO_CIPHER, sessions=[session])


@exercise(CC.Duplicate)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.movable) as key:
        made = duplicated(client, key, RH.NULL)
        assert made.duplicate
        assert not made.outSymSeed


@exercise(CC.Import)
def _(client: Client, template: Template) -> None:
    from tests.tpm.client.objects import NO_CIPHER

    with ExitStack() as stack:
        old = stack.enter_context(primary(client, template.storage))
        new = stack.enter_context(primary(client, template.endorsing, RH.ENDORSEMENT))
        key = stack.enter_context(child(client, old, template.movable))
        made = duplicated(client, key, new)
        private = client.import_(new, b"", key.public, made.duplicate, made.outSymSeed, NO_CIPHER)
        with client.load(new, private, key.public) as moved:
            signature = client.sign(moved, DIGEST, NO_SCHEME, NO_TICKET)
        verify(key.public, DATA, signature)


@exercise(CC.Rewrap)
def _(client: Client, template: Template) -> None:
    from tests.tpm.client.objects import NO_CIPHER

    with ExitStack() as stack:
        old = stack.enter_context(primary(client, template.storage))
        new = stack.enter_context(primary(client, template.endorsing, RH.ENDORSEMENT))
        key = stack.enter_context(child(client, old, template.movable))
        made = duplicated(client, key, old)
        wrapped = client.rewrap(old, new, made.duplicate, key.name, made.outSymSeed)
        private = client.import_(new, b"", key.public, wrapped.outDuplicate, wrapped.outSymSeed, NO_CIPHER)
        with client.load(new, private, key.public) as moved:
            assert moved.name == key.name


# --- asymmetric keys


@exercise(CC.RSA_Encrypt)
def _(client: Client, template: Template) -> None:
    with primary(client, template.decrypting) as key:
        assert DATA not in client.rsa_encrypt(key, DATA, OAEP, b"")


@exercise(CC.RSA_Decrypt)
def _(client: Client, template: Template) -> None:
    with primary(client, template.decrypting, auth=b"auth") as key:
        hidden = client.rsa_encrypt(key, DATA, OAEP, b"label\0")
        assert client.rsa_decrypt(key, hidden, OAEP, b"label\0") == DATA


@exercise(CC.ECDH_KeyGen)
def _(client: Client, template: Template) -> None:
    with primary(client, template.agreeing) as key:
        made = client.ecdh_key_gen(key)
        assert client.ecdh_zgen(key, made.pubPoint) == made.zPoint


@exercise(CC.ECDH_ZGen)
def _(client: Client, template: Template) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    ours = ec.generate_private_key(ec.SECP256R1())
    numbers = ours.public_key().public_numbers()
    with primary(client, template.agreeing, auth=b"auth") as key:
        point = TPMS_ECC_POINT(numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
        z = client.ecdh_zgen(key, point)
        x, y = (int.from_bytes(each, "big") for each in (key.public.unique.x, key.public.unique.y))
        its = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        assert z is not None
        assert z.x.rjust(32, b"\0") == ours.exchange(ec.ECDH(), its)


@exercise(CC.ECC_Parameters)
def _(client: Client, template: Template) -> None:
    answer = client.ecc_parameters(TPM_ECC_CURVE.NIST_P256)
    assert (answer.curveID, answer.keySize, len(answer.p)) == (TPM_ECC_CURVE.NIST_P256, 256, 32)


@exercise(CC.EC_Ephemeral)
def _(client: Client, template: Template) -> None:
    one, two = client.ec_ephemeral(TPM_ECC_CURVE.NIST_P256), client.ec_ephemeral(TPM_ECC_CURVE.NIST_P256)
    assert one.Q != two.Q
    assert two.counter == one.counter + 1


@exercise(CC.ZGen_2Phase)
def _(client: Client, template: Template) -> None:
    with primary(client, template.agreeing) as ours, primary(client, template.agreeing, RH.ENDORSEMENT) as its:
        here = client.ec_ephemeral(TPM_ECC_CURVE.NIST_P256)
        there = client.ec_ephemeral(TPM_ECC_CURVE.NIST_P256)
        a = client.zgen_2phase(ours, its.public.unique, there.Q, ALG.ECDH, here.counter)
        b = client.zgen_2phase(its, ours.public.unique, here.Q, ALG.ECDH, there.counter)
        assert (a.outZ1, a.outZ2) == (b.outZ1, b.outZ2)


@exercise(CC.Commit)
def _(client: Client, template: Template) -> None:
    with primary(client, template.anonymous) as key:
        made = client.commit(key, NO_POINT, b"", b"")
        assert made.E is not None
        scheme = TPMT_SIG_SCHEME(ALG.ECDAA, TPMS_SCHEME_ECDAA(ALG.SHA256, made.counter))
        assert client.sign(key, DIGEST, scheme, NO_TICKET).sigAlg == ALG.ECDAA


# --- symmetric keys, hashes, random numbers


@exercise(CC.EncryptDecrypt)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.cipher, b"auth") as key:
        hidden = client.encrypt_decrypt(key, False, ALG.CFB, bytes(16), DATA)
        assert client.encrypt_decrypt(key, True, ALG.CFB, bytes(16), hidden.outData).outData == DATA


@exercise(CC.EncryptDecrypt2)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.cipher, b"auth") as key:
        hidden = client.encrypt_decrypt2(key, DATA, False, ALG.CFB, bytes(16))
        assert client.encrypt_decrypt2(key, hidden.outData, True, ALG.CFB, bytes(16)).outData == DATA


@exercise(CC.Hash)
def _(client: Client, template: Template) -> None:
    answer = client.hash(DATA, ALG.SHA256, RH.OWNER)
    assert answer.outHash == DIGEST
    assert answer.validation.hierarchy == RH.OWNER


def own_hmac(client: Client, template: Template, key: bytes) -> Object[Any]:
    """Return an HMAC key that we know."""
    public = template.hmac
    public = public.replace(objectAttributes=public.objectAttributes & ~TPMA_OBJECT.sensitiveDataOrigin)
    return client.create_primary(RH.OWNER, secret(b"auth", key), public, b"", ())


@exercise(CC.HMAC)
def _(client: Client, template: Template) -> None:
    with own_hmac(client, template, b"k" * 32) as key:
        expected = hmac.digest(b"k" * 32, DATA, "sha256")
        assert client.hmac(key, DATA, ALG.NULL) == expected
        assert client.mac(key, DATA, ALG.NULL) == expected


@exercise(CC.HMAC_Start)
def _(client: Client, template: Template) -> None:
    with own_hmac(client, template, b"k" * 32) as key:
        for start in (client.hmac_start, client.mac_start):
            with start(key, b"sequence", ALG.NULL) as sequence:
                client.sequence_update(sequence, DATA)
                answer = client.sequence_complete(sequence, DATA, RH.NULL)
            assert answer.result == hmac.digest(b"k" * 32, DATA + DATA, "sha256")


@exercise(CC.GetRandom)
def _(client: Client, template: Template) -> None:
    assert len(client.get_random(32)) == 32
    assert client.get_random(16) != client.get_random(16)
    assert client.get_random(0) == b""


@exercise(CC.StirRandom)
def _(client: Client, template: Template) -> None:
    client.stir_random(b"some more")


@exercise(CC.HashSequenceStart)
def _(client: Client, template: Template) -> None:
    with client.hash_sequence_start(b"auth", ALG.SHA256) as sequence:
        assert sequence.name == b""
        assert client.sequence_complete(sequence, DATA, RH.OWNER).result == DIGEST
        assert sequence.closed


@exercise(CC.SequenceUpdate)
def _(client: Client, template: Template) -> None:
    with client.hash_sequence_start(b"auth", ALG.SHA256) as sequence:
        for _ in range(3):
            client.sequence_update(sequence, DATA)
        assert client.sequence_complete(sequence, b"", RH.OWNER).result == hashlib.sha256(DATA * 3).digest()


@exercise(CC.SequenceComplete)
def _(client: Client, template: Template) -> None:
    with client.hash_sequence_start(b"", ALG.SHA256) as sequence:
        answer = client.sequence_complete(sequence, DATA, RH.OWNER)
    with primary(client, template.attesting) as key:  # it signs what the TPM has hashed
        verify(key.public, DATA, client.sign(key, answer.result, NO_SCHEME, answer.validation))


@exercise(CC.EventSequenceComplete)
def _(client: Client, template: Template) -> None:
    before = pcr_value(client, 16)
    with client.hash_sequence_start(b"auth", ALG.NULL) as sequence:
        client.sequence_update(sequence, DATA)
        answer = client.event_sequence_complete(client.pcr(16), sequence, DATA)
        assert sequence.closed
    found = {each.hashAlg: each.digest for each in answer}
    assert found[ALG.SHA256] == hashlib.sha256(DATA + DATA).digest()
    assert pcr_value(client, 16) == hashlib.sha256(before + found[ALG.SHA256]).digest()


# --- signing and attestation


@exercise(CC.Sign)
def _(client: Client, template: Template) -> None:
    with primary(client, template.signing, auth=b"auth") as key:
        verify(key.public, DATA, client.sign(key, DIGEST, NO_SCHEME, NO_TICKET))


@exercise(CC.VerifySignature)
def _(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        signature = client.sign(key, DIGEST, NO_SCHEME, NO_TICKET)
        assert client.verify_signature(key, DIGEST, signature).tag == TPM_ST.VERIFIED


@exercise(CC.Certify)
def _(client: Client, template: Template) -> None:
    with primary(client, template.attesting, auth=b"ak") as ak, primary(client, template.signing, auth=b"key") as key:
        answer = client.certify(key, ak, NONCE, NO_SCHEME)
        assert attest(answer.certifyInfo, TPM_ST.ATTEST_CERTIFY).attested.name == key.name
        verify(ak.public, answer.certifyInfo, answer.signature)


@exercise(CC.CertifyCreation)
def _(client: Client, template: Template) -> None:
    with primary(client, template.attesting) as ak, primary(client, template.signing) as key:
        made = key.response
        answer = client.certify_creation(ak, key, NONCE, made.creationHash, NO_SCHEME, made.creationTicket)
        statement = attest(answer.certifyInfo, TPM_ST.ATTEST_CREATION)
        assert statement.attested.creationHash == made.creationHash
        verify(ak.public, answer.certifyInfo, answer.signature)


@exercise(CC.Quote)
def _(client: Client, template: Template) -> None:
    with primary(client, template.attesting) as ak:
        answer = client.quote(ak, NONCE, NO_SCHEME, selection(16))
        statement = attest(answer.quoted, TPM_ST.ATTEST_QUOTE)
        assert statement.attested.pcrDigest == hashlib.sha256(pcr_value(client, 16)).digest()
        verify(ak.public, answer.quoted, answer.signature)


@exercise(CC.GetSessionAuditDigest)
def _(client: Client, template: Template) -> None:
    with primary(client, template.attesting) as ak, client.start_session() as session:
        client.get_random(8, sessions=[session.use(audit=True)])
        client.pcr_read(selection(16), sessions=[session.use(audit=True)])
        answer = client.get_session_audit_digest(client.endorsement, ak, session, NONCE, NO_SCHEME)
        statement = attest(answer.auditInfo, TPM_ST.ATTEST_SESSION_AUDIT)
        assert statement.attested.sessionDigest == session.session.audit_digest
        verify(ak.public, answer.auditInfo, answer.signature)


@exercise(CC.SetCommandCodeAuditStatus)
def _(client: Client, template: Template) -> None:
    audited = client.capability(TPM_CAP.AUDIT_COMMANDS)
    client.set_command_code_audit_status(client.owner, ALG.NULL, (CC.StirRandom,), ())
    assert CC.StirRandom in client.capability(TPM_CAP.AUDIT_COMMANDS)
    client.set_command_code_audit_status(client.owner, ALG.NULL, (), (CC.StirRandom,))
    assert client.capability(TPM_CAP.AUDIT_COMMANDS) == audited


@exercise(CC.GetCommandAuditDigest)
def _(client: Client, template: Template) -> None:
    with primary(client, template.attesting) as ak:
        client.set_command_code_audit_status(client.owner, ALG.NULL, (CC.StirRandom,), ())
        client.get_command_audit_digest(client.endorsement, ak, NONCE, NO_SCHEME)  # which begins a new digest
        client.stir_random(DATA)
        answer = client.get_command_audit_digest(client.endorsement, ak, NONCE, NO_SCHEME)
        client.set_command_code_audit_status(client.owner, ALG.NULL, (), (CC.StirRandom,))
    statement = attest(answer.auditInfo, TPM_ST.ATTEST_COMMAND_AUDIT).attested
    algorithm = hash_of(int(statement.digestAlg))
    sent = algorithm.digest(code(CC.StirRandom), len(DATA).to_bytes(2, "big") + DATA)
    came = algorithm.digest(bytes(4), code(CC.StirRandom))
    assert statement.auditDigest == algorithm.digest(algorithm.zeros, sent, came)
    verify(ak.public, answer.auditInfo, answer.signature)


@exercise(CC.GetTime)
def _(client: Client, template: Template) -> None:
    with primary(client, template.attesting, RH.ENDORSEMENT) as ak:
        answer = client.get_time(client.endorsement, ak, NONCE, NO_SCHEME)
        statement = attest(answer.timeInfo, TPM_ST.ATTEST_TIME)
        assert statement.attested.time.time <= client.read_clock().time
        verify(ak.public, answer.timeInfo, answer.signature)


@exercise(CC.CertifyX509)
def _(client: Client, template: Template) -> None:
    public = template.signing
    public = public.replace(objectAttributes=public.objectAttributes | TPMA_OBJECT.x509sign)
    with primary(client, public) as ca, primary(client, template.signing) as key:
        answer = client.certify_x509(key, ca, b"", NO_SCHEME, partial_certificate())
        assert len(answer.tbsDigest) == 32
        assert answer.addedToCertificate[0] == 0x30


def partial_certificate() -> bytes:
    """Return what the caller contributes to a certificate: issuer, validity, subject and the usage of the key."""

    def der(tag: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        size = bytes((len(content),)) if len(content) < 128 else b"\x81" + bytes((len(content),))
        return bytes((tag,)) + size + content

    name = der(0x30, der(0x31, der(0x30, bytes.fromhex("0603550403"), der(0x0C, b"x"))))
    validity = der(0x30, der(0x17, b"200101000000Z"), der(0x17, b"300101000000Z"))
    usage = der(0x30, bytes.fromhex("0603551d0f"), b"\x01\x01\xff", der(0x04, bytes.fromhex("03020780")))
    return der(0x30, name, validity, name, der(0xA3, der(0x30, usage)))


# --- PCRs


@exercise(CC.PCR_Extend)
def _(client: Client, template: Template) -> None:
    before = pcr_value(client, 16)
    client.pcr_extend(client.pcr(16), digests(b"measured"))
    assert pcr_value(client, 16) == hashlib.sha256(before + b"measured".ljust(32, b"\0")).digest()


@exercise(CC.PCR_Event)
def _(client: Client, template: Template) -> None:
    before = pcr_value(client, 16)
    found = {each.hashAlg: each.digest for each in client.pcr_event(16, DATA)}
    assert found[ALG.SHA256] == DIGEST
    assert pcr_value(client, 16) == hashlib.sha256(before + DIGEST).digest()


@exercise(CC.PCR_Read)
def _(client: Client, template: Template) -> None:
    answer = client.pcr_read(selection(*range(24)))
    assert 0 < len(answer.pcrValues) <= 8, "a TPM gives eight at a time"
    assert answer.pcrSelectionOut[0].pcrSelect == b"\xff\0\0"


@exercise(CC.PCR_Reset)
def _(client: Client, template: Template) -> None:
    client.pcr_extend(16, digests(b"measured"))
    client.pcr_reset(16)
    assert pcr_value(client, 16) == bytes(32)


@exercise(CC.PCR_Allocate, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    banks: tuple[TPMS_PCR_SELECTION, ...] = client.capability(TPM_CAP.PCRS)
    answer = client.pcr_allocate(client.platform, banks)
    assert answer.allocationSuccess
    assert answer.maxPCR >= 24


@exercise(CC.PCR_SetAuthPolicy, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    client.pcr_set_auth_policy(client.platform, DIGEST, ALG.SHA256, 20)


@exercise(CC.PCR_SetAuthValue, "platform")
def _(client: Client, template: Template) -> None:
    client.pcr_set_auth_value(client.pcr(20), b"value")


# --- policies: each digest is computed by hand


def stepped(client: Client, step: Callable[[SessionHandle[Any]], object], expected: bytes) -> None:
    """Carry out a step in a trial session, and compare the digest."""
    with policy(client, SessionKind.TRIAL) as session:
        step(session)
        assert client.policy_get_digest(session) == expected


def updated(number: int, name: bytes, reference: bytes = b"", start: bytes = bytes(32)) -> bytes:
    first = hashlib.sha256(start + code(number) + name).digest()
    return hashlib.sha256(first + reference).digest()


@exercise(CC.PolicyGetDigest)
def _(client: Client, template: Template) -> None:
    with policy(client) as session:
        assert client.policy_get_digest(session) == bytes(32)


@exercise(CC.PolicyAuthValue)
def _(client: Client, template: Template) -> None:
    stepped(client, client.policy_auth_value, extended(code(CC.PolicyAuthValue)))
    public = template.sealed
    public = public.replace(
        objectAttributes=public.objectAttributes & ~TPMA_OBJECT.userWithAuth,
        authPolicy=extended(code(CC.PolicyAuthValue)),
    )
    with (
        primary(client, template.storage) as parent,
        child(client, parent, public, b"auth", DATA) as sealed,
        policy(client) as session,
    ):
        client.policy_auth_value(session)
        assert client.unseal(sealed, sessions=[session]) == DATA


@exercise(CC.PolicyPassword)
def _(client: Client, template: Template) -> None:
    stepped(client, client.policy_password, extended(code(CC.PolicyAuthValue)))
    public = template.sealed
    public = public.replace(
        objectAttributes=public.objectAttributes & ~TPMA_OBJECT.userWithAuth,
        authPolicy=extended(code(CC.PolicyAuthValue)),
    )
    with (
        primary(client, template.storage) as parent,
        child(client, parent, public, b"auth", DATA) as sealed,
        policy(client) as session,
    ):
        client.policy_password(session)
        assert client.unseal(sealed, sessions=[session]) == DATA


@exercise(CC.PolicySecret)
def _(client: Client, template: Template) -> None:
    with client.start_session(SessionKind.POLICY) as session:
        answer = client.policy_secret(client.owner, session, b"", b"", b"ref", 0)
        assert answer.policyTicket.tag == TPM_ST.AUTH_SECRET
        assert client.policy_get_digest(session) == updated(CC.PolicySecret, client.owner.name, b"ref")


@exercise(CC.PolicySigned)
def _(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key, policy(client) as session:
        signed(client, key, session, 0)
        assert client.policy_get_digest(session) == updated(CC.PolicySigned, key.name, b"ref")


def signed(client: Client, key: Object[Any], session: SessionHandle[Any], expiration: int) -> TPMT_TK_AUTH:
    nonce = session.session.nonce_tpm
    to_sign = hashlib.sha256(nonce + expiration.to_bytes(4, "big", signed=True) + b"ref").digest()
    signature = client.sign(key, to_sign, NO_SCHEME, NO_TICKET)
    global TIMEOUT
    answer = client.policy_signed(key, session, nonce, b"", b"ref", expiration, signature)
    TIMEOUT = answer.timeout
    return answer.policyTicket


TIMEOUT = b""


@exercise(CC.PolicyTicket)
def _(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        with policy(client) as session:
            ticket = signed(client, key, session, -1000)
        with policy(client) as session:
            client.policy_ticket(session, TIMEOUT, b"", b"ref", key.name, ticket)
            assert client.policy_get_digest(session) == updated(CC.PolicySigned, key.name, b"ref")


@exercise(CC.PolicyPCR)
def _(client: Client, template: Template) -> None:
    value = hashlib.sha256(pcr_value(client, 16)).digest()
    selected = bytes.fromhex("00000001 000b 03 000001")
    stepped(
        client,
        lambda session: client.policy_pcr(session, b"", selection(16)),
        extended(code(CC.PolicyPCR), selected, value),
    )


@exercise(CC.PolicyCommandCode)
def _(client: Client, template: Template) -> None:
    expected = extended(code(CC.PolicyCommandCode), code(CC.Sign))
    stepped(client, lambda session: client.policy_command_code(session, CC.Sign), expected)


@exercise(CC.PolicyOR)
def _(client: Client, template: Template) -> None:
    branches = (bytes(32), DIGEST)
    expected = extended(code(CC.PolicyOR), *branches)
    stepped(client, lambda session: client.policy_or(session, branches), expected)


@exercise(CC.PolicyLocality)
def _(client: Client, template: Template) -> None:
    from prestocloud_sec.tpm.spec.attributes import TPMA_LOCALITY

    expected = extended(code(CC.PolicyLocality), b"\x01")
    stepped(client, lambda session: client.policy_locality(session, TPMA_LOCALITY.TPM_LOC_ZERO), expected)


@exercise(CC.PolicyNameHash)
def _(client: Client, template: Template) -> None:
    expected = extended(code(CC.PolicyNameHash), DIGEST)
    stepped(client, lambda session: client.policy_name_hash(session, DIGEST), expected)


@exercise(CC.PolicyCpHash)
def _(client: Client, template: Template) -> None:
    expected = extended(code(CC.PolicyCpHash), DIGEST)
    stepped(client, lambda session: client.policy_cp_hash(session, DIGEST), expected)


@exercise(CC.PolicyTemplate)
def _(client: Client, template: Template) -> None:
    expected = extended(code(CC.PolicyTemplate), DIGEST)
    stepped(client, lambda session: client.policy_template(session, DIGEST), expected)


@exercise(CC.PolicyNvWritten)
def _(client: Client, template: Template) -> None:
    expected = extended(code(CC.PolicyNvWritten), b"\x01")
    stepped(client, lambda session: client.policy_nv_written(session, True), expected)


@exercise(CC.PolicyPhysicalPresence)
def _(client: Client, template: Template) -> None:
    stepped(client, client.policy_physical_presence, extended(code(CC.PolicyPhysicalPresence)))


@exercise(CC.PolicyDuplicationSelect)
def _(client: Client, template: Template) -> None:
    names = b"\0\x0b" + DIGEST, b"\0\x0b" + DIGEST[::-1]
    expected = extended(code(CC.PolicyDuplicationSelect), *names, b"\x01")
    stepped(client, lambda session: client.policy_duplication_select(session, *names, True), expected)


@exercise(CC.PolicyCounterTimer)
def _(client: Client, template: Template) -> None:
    arguments = hashlib.sha256(bytes(8) + b"\0\0" + TPM_EO.UNSIGNED_GE.to_bytes(2, "big")).digest()
    expected = extended(code(CC.PolicyCounterTimer), arguments)
    stepped(client, lambda session: client.policy_counter_timer(session, bytes(8), 0, TPM_EO.UNSIGNED_GE), expected)


@exercise(CC.PolicyNV)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    client.nv_write(client.owner, index, DATA[:16], 0)
    arguments = hashlib.sha256(DATA[:4] + b"\0\0\0\0").digest()
    expected = extended(code(CC.PolicyNV), arguments, client.nv_read_public(index).nvName)
    with policy(client) as session:
        client.policy_nv(client.owner, index, session, DATA[:4], 0, TPM_EO.EQ)
        assert client.policy_get_digest(session) == expected
    client.nv_undefine_space(client.owner, index)


@exercise(CC.PolicyAuthorize)
def _(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        approved = extended(code(CC.PolicyAuthValue))
        to_sign = hashlib.sha256(approved + b"ref").digest()
        ticket = client.verify_signature(key, to_sign, client.sign(key, to_sign, NO_SCHEME, NO_TICKET))
        with policy(client) as session:
            client.policy_auth_value(session)
            client.policy_authorize(session, approved, b"ref", key.name, ticket)
            assert client.policy_get_digest(session) == updated(CC.PolicyAuthorize, key.name, b"ref")


@exercise(CC.PolicyAuthorizeNV)
def _(client: Client, template: Template) -> None:
    index = define(client, template, size=34)
    approved = extended(code(CC.PolicyAuthValue))
    client.nv_write(client.owner, index, b"\0\x0b" + approved, 0)
    with policy(client) as session:
        client.policy_auth_value(session)
        client.policy_authorize_nv(client.owner, index, session)
        expected = extended(code(CC.PolicyAuthorizeNV), client.nv_read_public(index).nvName)
        assert client.policy_get_digest(session) == expected
    client.nv_undefine_space(client.owner, index)


# --- hierarchies


@exercise(CC.HierarchyChangeAuth, "erasable")
def _(client: Client, template: Template) -> None:
    client.hierarchy_change_auth(client.owner, b"owner")
    primary(client, template.storage).close()  # with the new value, of which the client has taken note
    with client.start_session() as session:
        client.hierarchy_change_auth(client.owner, b"another", sessions=[session])
        client.hierarchy_change_auth(client.owner, b"", sessions=[session])
    primary(client, template.storage).close()


@exercise(CC.SetPrimaryPolicy, "erasable")
def _(client: Client, template: Template) -> None:
    client.set_primary_policy(client.owner, DIGEST, ALG.SHA256)
    assert DIGEST in [each.policyHash.digest for each in client.capability(TPM_CAP.AUTH_POLICIES, RH.OWNER)]
    client.set_primary_policy(client.owner, b"", ALG.NULL)


@exercise(CC.HierarchyControl, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as key, primary(client, template.storage, RH.NULL) as kept:
        client.hierarchy_control(client.platform, RH.OWNER, False)
        assert key.closed
        assert not kept.closed
        client.hierarchy_control(client.platform, RH.OWNER, True)
    primary(client, template.storage).close()


@exercise(CC.ChangePPS, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage, RH.PLATFORM) as before:
        name = before.name
        client.change_pps(client.platform)
    with primary(client, template.storage, RH.PLATFORM) as after:
        assert after.name != name


@exercise(CC.ChangeEPS, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage, RH.ENDORSEMENT) as before:
        name = before.name
        client.change_eps(client.platform)
        assert before.closed
    with primary(client, template.storage, RH.ENDORSEMENT) as after:
        assert after.name != name


@exercise(CC.Clear, "erasable")
def _(client: Client, template: Template) -> None:
    client.hierarchy_change_auth(client.owner, b"owner")
    client.hierarchy_change_auth(client.lockout, b"lockout")
    with primary(client, template.storage) as key:
        name = key.name
        with client.start_session() as session:
            client.clear(client.lockout, sessions=[session])  # its response is keyed with the empty value
    with primary(client, template.storage) as after:  # owner has no value any more
        assert after.name != name


@exercise(CC.ClearControl, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    client.clear_control(client.lockout, True)
    assert client.properties().permanent.names.__contains__("disableClear")
    client.clear_control(client.platform, False)


@exercise(CC.DictionaryAttackLockReset, "erasable")
def _(client: Client, template: Template) -> None:
    client.dictionary_attack_lock_reset(client.lockout)
    assert client.lockout_state().failures == 0


@exercise(CC.DictionaryAttackParameters, "erasable")
def _(client: Client, template: Template) -> None:
    client.dictionary_attack_parameters(client.lockout, 1000, 1, 1)
    state = client.lockout_state()
    assert (state.limit, state.interval, state.recovery) == (1000, 1, 1)


# --- contexts, clock, capabilities


@exercise(CC.ContextSave)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as key:
        assert client.context_save(key).savedHandle == 0x80000000


@exercise(CC.ContextLoad)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage) as key:
        context = client.context_save(key)
        with client.context_load(context) as again:
            assert again != key
            assert client.read_public(again).name == key.name
    with client.start_session() as session:
        context = client.context_save(session)
        same = client.context_load(context)
        assert same == session
        client.pcr_extend(16, digests(b"loaded again"), sessions=[session])


@exercise(CC.FlushContext)
def _(client: Client, template: Template) -> None:
    key = primary(client, template.storage)
    client.flush_context(key)
    assert key.closed
    assert int(key) not in client.capability(TPM_CAP.HANDLES, 0x80000000)


@exercise(CC.EvictControl)
def _(client: Client, template: Template) -> None:
    with primary(client, template.storage, auth=b"auth") as key:
        client.evict_control(client.owner, key, PERSISTENT_FIRST)
        name = key.name
    kept = client.persistent(PERSISTENT_FIRST)
    assert kept.name == name
    client.create(kept, secret(), template.signing, b"", ())  # with the value that the key had
    client.evict_control(client.owner, kept, PERSISTENT_FIRST)
    assert kept.closed


@exercise(CC.ReadClock)
def _(client: Client, template: Template) -> None:
    one, two = client.read_clock(), client.read_clock()
    assert one.clockInfo.clock <= two.clockInfo.clock


@exercise(CC.ClockSet)
def _(client: Client, template: Template) -> None:
    later = client.read_clock().clockInfo.clock + 1000
    client.clock_set(client.owner, later)
    assert client.read_clock().clockInfo.clock >= later


@exercise(CC.ClockRateAdjust)
def _(client: Client, template: Template) -> None:
    client.clock_rate_adjust(client.owner, TPM_CLOCK_ADJUST.NO_CHANGE)


@exercise(CC.GetCapability)
def _(client: Client, template: Template) -> None:
    answer = client.get_capability(TPM_CAP.ALGS, 0, 1)
    assert answer.moreData
    assert len(client.capability(TPM_CAP.ALGS)) > 10


@exercise(CC.TestParms)
def _(client: Client, template: Template) -> None:
    public = template.storage
    client.test_parms(TPMT_PUBLIC_PARMS(public.type, public.parameters))


@exercise(CC.SetAlgorithmSet, "platform", "erasable")
def _(client: Client, template: Template) -> None:
    client.set_algorithm_set(client.platform, 0)


# --- non-volatile memory


@exercise(CC.NV_DefineSpace)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    assert index in client.capability(TPM_CAP.HANDLES, 0x01000000)
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_UndefineSpace)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    client.nv_undefine_space(client.owner, index)
    assert index not in client.capability(TPM_CAP.HANDLES, 0x01000000)


@exercise(CC.NV_UndefineSpaceSpecial, "platform")
def _(client: Client, template: Template) -> None:
    delete = extended(code(CC.PolicyCommandCode), code(CC.NV_UndefineSpaceSpecial))
    more = TPMA_NV.PPWRITE | TPMA_NV.PPREAD | TPMA_NV.PLATFORMCREATE | TPMA_NV.POLICY_DELETE
    public = template.index(NV_FIRST + 1, more=more, policy=delete)
    client.nv_define_space(client.platform, b"", public)
    with policy(client) as session:
        client.policy_command_code(session, CC.NV_UndefineSpaceSpecial)
        client.nv_undefine_space_special(NV_FIRST + 1, client.platform, sessions=[session])
    assert NV_FIRST + 1 not in client.capability(TPM_CAP.HANDLES, 0x01000000)


@exercise(CC.NV_ReadPublic)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    answer = client.nv_read_public(index)
    assert answer.nvPublic == template.index()
    assert answer.nvName == b"\0\x0b" + hashlib.sha256(template.index().encode()).digest()
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_Write)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    client.nv_write(index, index, DATA[:8], 4)
    assert client.nv_read(client.owner, index, 8, 4) == DATA[:8]
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_Read)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    client.nv_write(client.owner, index, DATA[:16], 0)
    assert client.nv_read(index, index, 16, 0) == DATA[:16]
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_Increment)
def _(client: Client, template: Template) -> None:
    index = define(client, template, kind=TPM_NT.COUNTER, size=8)
    client.nv_increment(client.owner, index)
    one = int.from_bytes(client.nv_read(client.owner, index, 8, 0), "big")
    client.nv_increment(client.owner, index)
    assert int.from_bytes(client.nv_read(client.owner, index, 8, 0), "big") == one + 1
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_Extend)
def _(client: Client, template: Template) -> None:
    index = define(client, template, kind=TPM_NT.EXTEND, size=32)
    client.nv_extend(client.owner, index, DATA)
    assert client.nv_read(client.owner, index, 32, 0) == hashlib.sha256(bytes(32) + DATA).digest()
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_SetBits)
def _(client: Client, template: Template) -> None:
    index = define(client, template, kind=TPM_NT.BITS, size=8)
    client.nv_set_bits(client.owner, index, 1 << 40)
    client.nv_set_bits(client.owner, index, 1)
    assert int.from_bytes(client.nv_read(client.owner, index, 8, 0), "big") == 1 << 40 | 1
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_WriteLock)
def _(client: Client, template: Template) -> None:
    index = define(client, template, more=TPMA_NV.WRITEDEFINE)
    client.nv_write(client.owner, index, DATA[:16], 0)
    client.nv_write_lock(client.owner, index)
    assert client.nv_read_public(index).nvPublic.attributes & TPMA_NV.WRITELOCKED
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_ReadLock)
def _(client: Client, template: Template) -> None:
    index = define(client, template, more=TPMA_NV.READ_STCLEAR)
    client.nv_write(client.owner, index, DATA[:16], 0)
    client.nv_read_lock(client.owner, index)
    assert client.nv_read_public(index).nvPublic.attributes & TPMA_NV.READLOCKED
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_GlobalWriteLock, "erasable")
def _(client: Client, template: Template) -> None:
    index = define(client, template, more=TPMA_NV.GLOBALLOCK)
    client.nv_write(client.owner, index, DATA[:16], 0)
    client.nv_global_write_lock(client.owner)
    assert client.nv_read_public(index).nvPublic.attributes & TPMA_NV.WRITELOCKED
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_ChangeAuth)
def _(client: Client, template: Template) -> None:
    change = extended(code(CC.PolicyCommandCode), code(CC.NV_ChangeAuth))
    index = define(client, template, policy=change)
    with policy(client) as session:
        client.policy_command_code(session, CC.NV_ChangeAuth)
        client.nv_change_auth(index, b"changed", sessions=[session])
    client.nv_write(index, index, DATA[:16], 0)  # with the new value
    client.nv_undefine_space(client.owner, index)


@exercise(CC.NV_Certify)
def _(client: Client, template: Template) -> None:
    index = define(client, template)
    client.nv_write(client.owner, index, DATA[:16], 0)
    with primary(client, template.attesting, auth=b"ak") as ak:
        answer = client.nv_certify(ak, index, index, NONCE, NO_SCHEME, 8, 2)
        statement = attest(answer.certifyInfo, TPM_ST.ATTEST_NV).attested
        assert (statement.offset, statement.nvContents) == (2, DATA[2:10])
        verify(ak.public, answer.certifyInfo, answer.signature)
    client.nv_undefine_space(client.owner, index)


_USED = SHA256
