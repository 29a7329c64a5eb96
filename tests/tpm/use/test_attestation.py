# SPDX-License-Identifier: Apache-2.0
"""What a TPM attests, one call each, is verified; endorsement keys are certified; things move between TPMs."""

from __future__ import annotations

import datetime
import pickle

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from prestocloud_sec.testing.tpm_device import Authority
from prestocloud_sec.testing.tpm_protocol import World
from prestocloud_sec.tpm import (
    Attester,
    connect,
    use,
    verify_certify,
    verify_command_audit,
    verify_creation,
    verify_nv,
    verify_quote,
    verify_session_audit,
    verify_time,
)
from prestocloud_sec.tpm.errors import (
    IntegrityError,
    TpmFormatError,
    TpmMisuseError,
    TpmResponseError,
    UnwrapError,
    VerificationError,
)
from prestocloud_sec.tpm.policy import CommandCode
from prestocloud_sec.tpm.protect import Duplicate, SoftwareParent, make_credential, private_key_of, unwrap
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPM_CC, TPM_NT, TPM_RH, TPMA_NV, TPMS_NV_PUBLIC
from prestocloud_sec.tpm.spec.commands import GetRandom, PCR_Read, ReadClock
from tests.tpm.client.objects import NV_FIRST

NONCE = bytes(range(20))
CONTENTS = b"sixteen bytes..."
SHA256 = hashes.SHA256()
ECDSA = ec.ECDSA(SHA256)


@pytest.fixture(params=[("ecc", None), ("rsa", "rsassa"), ("rsa", "rsapss")], ids=["ecdsa", "rsassa", "rsapss"])
def ak(request, client):
    kind, scheme = request.param
    with use.create_ak(client, kind, scheme=scheme) as key:
        yield key


def test_a_quote(client, ak):
    client.pcr_event(16, b"an event")
    quoted = use.quote(client, ak, "sha1:0+sha256:7,16,17", NONCE)
    again = use.Attestation.from_json(quoted.to_json())
    assert again == quoted == pickle.loads(pickle.dumps(quoted))  # noqa: S301
    verdict = verify_quote(
        again.attest, again.signature, ak.public, nonce=NONCE, pcrs=again.pcrs, selection="sha1:0+sha256:7,16,17"
    )
    assert verdict.failed == ()
    assert verdict.accepts("signature", "nonce", "selection", "pcr digest")
    other = verify_quote(again.attest, again.signature, ak.public, nonce=b"another", pcrs=again.pcrs)
    assert [clause.name for clause in other.failed] == ["nonce"]
    assert set(quoted.selection) == {(4, 0), (11, 7), (11, 16), (11, 17)}


def test_quotes_of_many_pcrs(client, ak):
    quoted = use.quote(client, ak, "sha1:all+sha256:all+sha512:all", NONCE)
    assert len(quoted.selection) == 72
    assert verify_quote(quoted.attest, quoted.signature, ak.public, nonce=NONCE, pcrs=quoted.pcrs).failed == ()


def test_a_key_and_how_it_was_made(client, ak):
    with use.create_key(client, "ecc", password="p") as key:
        told = use.certify(client, key.handle, ak, NONCE)
        verdict = verify_certify(told.attest, told.signature, ak.public, nonce=NONCE, object_public=key.public)
        assert verdict.failed == ()
        made = use.certify_creation(client, key.handle, key.wrapped, ak, NONCE)
        verdict = verify_creation(
            made.attest,
            made.signature,
            ak.public,
            nonce=NONCE,
            object_public=key.public,
            creation_data=key.wrapped.creation.data.encode(),
        )
        assert verdict.failed == ()
        assert verdict.accepts("creation data", "name", "signature", "nonce")
        with pytest.raises(TpmMisuseError, match="how it was made"):
            use.certify_creation(client, key.handle, use.WrappedObject.from_json(key.wrapped.to_json()), ak, NONCE)


def test_nv_and_time(client, ak):
    space = use.NvData.define(client, NV_FIRST + 1, 16, password="p")
    space.write(CONTENTS)
    told = use.certify_nv(client, space, ak, NONCE)
    verdict = verify_nv(
        told.attest,
        told.signature,
        ak.public,
        nonce=NONCE,
        nv_public=space.public,
        contents=b"sixteen bytes...",
        offset=0,
    )
    assert verdict.failed == ()
    told = use.attest_time(client, ak, NONCE)
    assert verify_time(told.attest, told.signature, ak.public, nonce=NONCE).failed == ()
    assert 0 < told.statement.attested.time.time <= client.read_clock().time


def test_an_audited_session(client, ak):
    with use.audited(client) as trail:
        trail.execute(GetRandom(16))
        trail.execute(PCR_Read(()))
        trail.execute(ReadClock())
        told = trail.attest(ak, NONCE)
    known = {"nonce": NONCE, "commands": trail.commands}
    verdict = verify_session_audit(told.attest, told.signature, ak.public, **known)
    assert verdict.failed == ()
    assert verdict.accepts("session digest", "signature", "nonce")
    assert told.statement.attested.sessionDigest == trail.digest
    known["commands"] = trail.commands[:-1]
    assert [c.name for c in verify_session_audit(told.attest, told.signature, ak.public, **known).failed] == [
        "session digest"
    ]


def test_audited_commands(client, ak):
    use.set_audited_commands(client, add=[TPM_CC.GetRandom], hash="sha384")
    use.attest_commands(client, ak, NONCE)
    client.get_random(8)
    told = use.attest_commands(client, ak, NONCE)
    verdict = verify_command_audit(told.attest, told.signature, ak.public, nonce=NONCE)
    assert verdict.failed == ()
    assert told.statement.attested.digestAlg == TPM_ALG_ID.SHA384
    use.set_audited_commands(client, remove=[TPM_CC.GetRandom], hash="sha256")
    for wrong in (5, [1 << 40], ["GetRandom"], [None]):
        with pytest.raises(TpmMisuseError):
            use.set_audited_commands(client, add=wrong)


def test_texts_that_are_no_attestation(client):
    with use.create_ak(client) as key:
        text = use.quote(client, key, "sha256:0", NONCE).to_json()
    for wrong in (
        "",
        "{}",
        text[1:],
        text.replace('"0"', '"300"'),
        text.replace("sha256", "sha99"),
        "[" * 99999,
        text.replace('"pcrs"', '"pcr"'),
        text.replace("ff544347", "ff54434"),
        b"\xff",
    ):
        with pytest.raises((TpmFormatError, TpmMisuseError)):
            use.Attestation.from_json(wrong)
    for call in (
        lambda: use.quote(client, None, "sha256:0", NONCE),
        lambda: use.quote(client, key, 5, NONCE),
        lambda: use.quote(client, key, "sha256:0", "text"),
        lambda: use.certify(client, 0x80000000, key, NONCE),
        lambda: use.attest_time(client, 5, NONCE),
        lambda: use.certify_nv(client, 5, key, NONCE),
        lambda: use.Attestation(b"", b""),
        lambda: use.Attestation("", None, 5),
    ):
        with pytest.raises(TpmMisuseError):
            call()


# --- endorsement


def _write(client, index, data):
    """Leave data in an NV index as a maker does: readable by anyone, written by the platform."""
    bits = TPMA_NV.PPWRITE | TPMA_NV.WRITEDEFINE | TPMA_NV.PPREAD | TPMA_NV.OWNERREAD | TPMA_NV.AUTHREAD
    bits |= TPMA_NV.NO_DA | TPMA_NV.PLATFORMCREATE | TPMA_NV(TPM_NT.ORDINARY << 4)
    client.nv_define_space(TPM_RH.PLATFORM, b"", TPMS_NV_PUBLIC(index, TPM_ALG_ID.SHA256, bits, b"", len(data)))
    for at in range(0, len(data), 1024):
        client.nv_write(TPM_RH.PLATFORM, index, data[at : at + 1024], at)


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_an_endorsement_key_and_its_chain(kind):
    now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    root = Authority("root")
    maker = Authority("maker", root)
    with connect("embedded:") as client:
        assert use.ek_certificate(client, kind) is None
        with pytest.raises(VerificationError, match="none"):
            use.ek_chain(client, [root.certificate], kind=kind)
        made = use.ek(client, kind)
        template = use.ek_template(kind)
        assert made.public.replace(unique=template.unique) == template
        certificate = maker.certify_ek(public_key_of(made.public))
        padded = certificate.public_bytes(Encoding.DER) + b"\xff" * 30
        _write(client, {"rsa": 0x01C00002, "ecc": 0x01C0000A}[kind], padded)
        _write(client, 0x01C00100, maker.certificate.public_bytes(Encoding.DER))
        assert use.ek_certificate(client, kind) == certificate
        assert use.maker_certificates(client) == (maker.certificate,)
        chain = use.ek_chain(client, [root.certificate], kind=kind, now=now)
        assert chain.certificates == (certificate, maker.certificate, root.certificate)
        with pytest.raises(VerificationError):
            use.ek_chain(client, [Authority("root").certificate], kind=kind, now=now)
        kept = use.provision_ek(client, kind)
        assert kept.name == made.name == use.ek(client, kind).name
        assert use.provision_ek(client, kind) == kept
        other = {"rsa": "ecc", "ecc": "rsa"}[kind]
        _write(client, {"rsa": 0x01C00002, "ecc": 0x01C0000A}[other], certificate.public_bytes(Encoding.DER))
        with pytest.raises(VerificationError, match="another key"):
            use.ek_chain(client, [root.certificate], kind=other, now=now)
        for wrong in ("dsa", None, 5, b"rsa"):
            for call in (use.ek, use.ek_certificate, use.provision_ek):
                with pytest.raises(TpmMisuseError):
                    call(client, wrong)


@pytest.mark.parametrize("wrong", [b"\0", b"\x30\x82", b"\x30\x82\xff\xff", b"\x30\x03abc", b"\x30\x89" + bytes(12)])
def test_what_is_no_certificate(wrong):
    with connect("embedded:") as client:
        _write(client, 0x01C00002, wrong)
        with pytest.raises(TpmFormatError):
            use.ek_certificate(client)


def test_the_makers_template_and_nonce():
    with connect("embedded:") as client:
        _write(client, 0x01C0000B, b"nonce")
        assert use.ek(client, "ecc").public.authPolicy == use.ek_template("ecc").authPolicy
        other = use.ek_template("ecc", nonce=b"nonce")
        assert use.ek(client, "ecc").name == use.primary(client, other, hierarchy=TPM_RH.ENDORSEMENT).name
        theirs = use.srk_template("ecc", label="theirs")
        _write(client, 0x01C0000C, theirs.encode())
        assert use.ek(client, "ecc").public.objectAttributes == theirs.objectAttributes


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_credentials(client, ak, kind):
    key = use.ek(client, kind)
    credential = make_credential(key.public, ak.name, b"a secret")
    assert use.activate(client, ak, key, credential) == b"a secret"
    assert use.activate(client, ak.handle, key, tuple(credential)) == b"a secret"
    with pytest.raises(IntegrityError):
        use.activate(client, ak, key, make_credential(key.public, use.srk(client).name, b"a secret"))
    changed = bytes(credential.id_object[:-1]) + bytes((credential.id_object[-1] ^ 1,))
    with pytest.raises(TpmResponseError):
        use.activate(client, ak, key, (changed, credential.encrypted_secret))
    with connect("embedded:") as other, use.create_ak(other) as theirs, pytest.raises(TpmResponseError):
        use.activate(other, theirs, use.ek(other, kind), make_credential(key.public, theirs.name, b"a secret"))
    for wrong in (None, b"", (b"",), (1, 2)):
        with pytest.raises(TpmMisuseError):
            use.activate(client, ak, key, wrong)


def test_two_tpms_have_different_endorsement_keys():
    with connect("embedded:") as one, connect("embedded:") as two:
        assert use.ek(one, "ecc").name != use.ek(two, "ecc").name
        assert use.srk(one).name != use.srk(two).name


def test_the_attestation_protocol(client):
    """Two keys of one TPM are enrolled by the verifier; a relying party sees pseudonyms that have nothing in common."""
    world = World()
    key = use.ek(client, "rsa")
    certificate = world.maker.certify_ek(public_key_of(key.public))
    shown = []
    for kind in ("ecc", "rsa"):
        with use.create_ak(client, kind) as own:
            chain = [certificate, world.maker.certificate]
            attester = Attester.endorsed(own.public, key.public, chain, world.key.public_key())
            step = world.verifier.received(attester.enrol(), world.now)
            task = attester.received(step.message, world.now)
            secret = use.activate(client, own, key, (task.id_object, task.encrypted_secret))
            quoted = use.quote(client, own, task.selection, task.qualifying_data)
            values = [quoted.pcrs[bank][pcr] for bank, pcr in task.selection]
            evidence = attester.evidence(quoted.signature, secret=secret, attest=quoted.attest, values=values)
            step = world.verifier.received(evidence, world.now)
            assert step.is_accepted, str(step.verdict)
            outcome = attester.received(step.message, world.now)
            shown.append((outcome.certificates, own.public))
    (first, one), (second, two) = shown
    assert not set(first[:1]) & set(second[:1])
    assert one.unique != two.unique
    for certificates, _ in shown:
        assert not any(key.public.unique in raw or key.name in raw for raw in certificates)


# --- what moves


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_a_key_is_imported(client, kind):
    private = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    wrapped = use.import_key(client, private, password="p")
    with use.load_key(client, wrapped, password="p") as key:
        assert key.public_key() == private.public_key()
        if kind == "rsa":
            private.public_key().verify(key.sign(b"m", padding.PKCS1v15(), SHA256), b"m", padding.PKCS1v15(), SHA256)
        else:
            private.public_key().verify(key.sign(b"m", ECDSA), b"m", ECDSA)
        assert not key.public.objectAttributes & key.public.objectAttributes.fixedTPM
    for wrong in (None, b"", ec.generate_private_key(ec.SECP256R1()).public_key()):
        with pytest.raises(TpmMisuseError):
            use.import_key(client, wrong)
    with pytest.raises(TpmMisuseError):
        use.import_key(client, private, use="all")


def test_data_are_sealed_from_outside(client):
    wrapped = use.import_secret(client, use.sealed_template(), b"made elsewhere", password="p")
    assert use.unseal(client, wrapped, password="p") == b"made elsewhere"


@pytest.mark.parametrize("cipher", [None, ParameterCipher("aes", 128)], ids=["outer", "both"])
@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_key_goes_to_another_tpm(client, cipher, kind):
    with connect("embedded:") as other:
        target = use.srk(other, kind)
        policy = use.movable_policy(target.public)
        template = use.key_template("ecc", movable=True, policy=policy)
        with use.load_key(client, use.create(client, template, policy=policy)) as key:
            key_public = key.public_key()
            moved = use.duplicate(client, key.handle, target.public, policy, cipher=cipher)
            with pytest.raises(TpmResponseError):
                use.duplicate(client, key.handle, use.srk_template("ecc").replace(unique=key.public.unique), policy)
            public = key.public
        assert isinstance(moved, Duplicate)
        wrapped = use.import_duplicate(other, public, moved, parent=target, policy=policy)
        with use.load_key(other, wrapped, parent=target) as there:
            key_public.verify(_signed(there), b"m", ECDSA)
        with pytest.raises(TpmResponseError):
            use.import_duplicate(client, public, moved)


def _signed(key):
    """Sign by the password, which a movable key can be used with, whatever its policy for duplication."""
    return use.EccKey(key.client, key.handle).sign(b"m", ECDSA)


def test_a_key_goes_to_a_parent_in_software_and_comes_back(client):
    parents = [SoftwareParent.generate("ecc"), SoftwareParent.generate("rsa")]
    policy = use.movable_policy(*(parent.public for parent in parents))
    template = use.key_template("ecc", movable=True, policy=policy)
    with use.load_key(client, use.create(client, template, policy=policy)) as key:
        for parent in parents:
            moved = use.duplicate(client, key.handle, parent.public, policy)
            sensitive = unwrap(moved, key.public, parent)
            private = private_key_of(key.public, sensitive)
            key.public_key().verify(private.sign(b"m", ECDSA), b"m", ECDSA)
            other = parents[1 - parents.index(parent)]
            with pytest.raises((UnwrapError, TpmFormatError)):
                unwrap(moved, key.public, other)
        wrapped = use.import_key(client, private)
    with use.load_key(client, wrapped) as back:
        private.public_key().verify(back.sign(b"m", ECDSA), b"m", ECDSA)


def test_a_key_with_a_password_goes_by_its_policy(client):
    """The key of the inner wrap comes back encrypted; the object's value is not in the key of that."""
    policy, cipher = use.movable_policy(), ParameterCipher("aes", 128)
    template = use.key_template("ecc", movable=True, policy=policy)
    kept = use.create(client, template, password="p", policy=policy)
    for password in ("", "p", "another"):
        with use.load(client, kept, password=password) as key:
            public = key.public
            moved = use.duplicate(client, key, None, policy, cipher=cipher)
        assert private_key_of(public, unwrap(moved, public)).public_key() == public_key_of(public)


def test_a_key_that_may_go_anywhere(client):
    policy = use.movable_policy()
    with use.load_key(
        client, use.create(client, use.key_template("rsa", movable=True, policy=policy), policy=policy)
    ) as key:
        moved = use.duplicate(client, key.handle, None, policy)
        assert not moved.seed
        private = private_key_of(key.public, unwrap(moved, key.public))
        assert private.public_key() == key.public_key()


def test_what_is_fixed_is_not_duplicated(client):
    policy = CommandCode(TPM_CC.Duplicate)
    with use.create_key(client, policy=policy) as key, pytest.raises(TpmResponseError):
        use.duplicate(client, key.handle, SoftwareParent.generate("ecc").public, policy)
    for call in (
        lambda: use.duplicate(client, 0x80000000, None, policy),
        lambda: use.duplicate(client, use.srk(client), "parent", policy),
        lambda: use.duplicate(client, use.srk(client), None, None),
        lambda: use.duplicate(client, use.srk(client), None, policy, cipher="aes"),
        lambda: use.import_duplicate(client, None, None),
        lambda: use.import_duplicate(client, use.srk_template(), b""),
        lambda: use.import_secret(client, None, b""),
        lambda: use.movable_policy(5),
    ):
        with pytest.raises(TpmMisuseError):
            call()
