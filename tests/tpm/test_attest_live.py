# SPDX-License-Identifier: Apache-2.0
"""What a running TPM signs is verified, of every kind it signs; and it goes through the whole attestation protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from prestocloud_sec.testing.tpm_device import two_bytes
from prestocloud_sec.testing.tpm_protocol import World
from prestocloud_sec.tpm.attest import verify_certify, verify_creation, verify_nv, verify_quote, verify_time
from prestocloud_sec.tpm.errors import TpmUnavailableError
from prestocloud_sec.tpm.pcr import PcrBanks, PcrSelection
from prestocloud_sec.tpm.protocol import Attester, Verifier
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec import TPMT_PUBLIC
from prestocloud_sec.tpm.transport import open_transport
from tests.tpm.real_tpm import (
    ECC_EK_TEMPLATE,
    EK_TEMPLATE,
    ENDORSEMENT,
    OWNER,
    PASSWORD,
    SCHEMES,
    RealTpm,
    ak_template,
    take,
)

NONCE = bytes(range(16))


@pytest.fixture
def tpm() -> Iterator[RealTpm]:
    try:
        transport = open_transport("spawn:")
    except TpmUnavailableError as error:
        pytest.skip(f"hardware TPM or swtpm: {error}")
    with transport:
        yield RealTpm(transport)


SELECTION = PcrSelection.of("sha1:0+sha256:7,16,17")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_quote_of_every_scheme(tpm, scheme):
    model = PcrBanks()
    for event in (b"one", b"two"):
        tpm.command(0x13C, [7], two_bytes(event), [PASSWORD])
        model.event(7, event)
    ak, public, _ = tpm.create_primary(ENDORSEMENT, ak_template(scheme))
    attest, signature = tpm.quote(ak, NONCE, SELECTION.encode())
    verdict = verify_quote(attest, signature, public, nonce=NONCE, pcrs=model, selection=SELECTION, parent=ENDORSEMENT)
    assert verdict.failed == ()
    assert {clause.name for clause in verdict.unchecked} == {"clock", "firmware", "log"}
    later, signature = tpm.quote(ak, NONCE, SELECTION.encode())
    since = verdict.attest.clockInfo
    again = verify_quote(later, signature, public, since=since, firmware=verdict.attest.firmwareVersion)
    assert again["clock"].holds
    assert again["firmware"].holds
    model.event(7, b"three")
    assert [c.name for c in verify_quote(later, signature, public, pcrs=model).failed] == ["pcr digest"]
    assert [c.name for c in verify_quote(attest, signature, public).failed] == ["signature"]


def test_objects_are_certified_and_their_creation(tpm):
    ak, public, _ = tpm.create_primary(ENDORSEMENT, ak_template("ecdsa"))
    made, made_public, creation = tpm.create_primary(OWNER, ak_template("ecdsa"))
    attest, signature = tpm.attestation(0x148, [made, ak], two_bytes(NONCE) + b"\0\x10")
    verdict = verify_certify(
        attest, signature, public, nonce=NONCE, object_public=made_public, object_parent=OWNER, parent=ENDORSEMENT
    )
    assert verdict.failed == ()
    assert verdict.accepts("signature", "nonce", "name", "qualified name", "signer")
    parameters = two_bytes(NONCE) + two_bytes(creation["hash"]) + b"\0\x10" + creation["ticket"]
    _, raw = tpm.parts(tpm.command(0x14A, [ak, made], parameters, [PASSWORD]))
    attest, signature = take(raw)
    verdict = verify_creation(
        attest, signature, public, nonce=NONCE, object_public=made_public, creation_data=creation["data"]
    )
    assert verdict.failed == ()
    assert verdict.accepts("signature", "nonce", "name", "creation data")


def test_time_and_nv_are_attested(tpm):
    ak, public, _ = tpm.create_primary(ENDORSEMENT, ak_template("rsapss"))
    attest, signature = tpm.attestation(0x14C, [ENDORSEMENT, ak], two_bytes(NONCE) + b"\0\x10")
    assert verify_time(attest, signature, public, nonce=NONCE).accepts("signature", "nonce", "type")
    index, content = 0x01500010, b"what is in it"
    defined = struct.pack(">IHIHH", index, 0x0B, 0x00060006, 0, len(content))
    tpm.command(0x12A, [OWNER], two_bytes(b"") + two_bytes(defined), [PASSWORD])
    tpm.command(0x137, [index, index], two_bytes(content) + b"\0\0", [PASSWORD])
    written = struct.pack(">IHIHH", index, 0x0B, 0x20060006, 0, len(content))
    for size in (len(content), 0):
        handles = [ak, index, index]
        attest, signature = tpm.attestation(0x184, handles, two_bytes(NONCE) + b"\0\x10" + struct.pack(">HH", size, 0))
        verdict = verify_nv(attest, signature, public, nonce=NONCE, nv_public=written, contents=content, offset=0)
        assert verdict.failed == ()
        assert verdict.accepts("signature", "nonce", "name", "contents", "offset")
        assert [c.name for c in verify_nv(attest, signature, public, contents=content[:-1]).failed] == ["contents"]


@pytest.mark.parametrize("template", [EK_TEMPLATE, ECC_EK_TEMPLATE])
def test_the_whole_protocol(tpm, template):
    world = World()
    world.verifier = Verifier([world.root.certificate], world.key, issuer=world.issuer)
    ek, ek_public, _ = tpm.create_primary(ENDORSEMENT, template)
    certificate = world.maker.certify_ek(public_key_of(TPMT_PUBLIC.decode(ek_public)))
    pseudonyms = []
    for scheme in ("ecdsa", "rsassa"):
        ak, public, _ = tpm.create_primary(ENDORSEMENT, ak_template(scheme))
        attester = Attester.endorsed(public, ek_public, [certificate, world.maker.certificate], world.key.public_key())
        step = world.verifier.received(attester.enrol(), world.now)
        assert step.verdict is None, str(step.verdict)
        task = attester.received(step.message, world.now)
        secret = tpm.activate(ak, ek, task.id_object, task.encrypted_secret)
        attest, signature = tpm.quote(ak, task.qualifying_data, task.selection.encode())
        values = tpm.read(task.selection)
        evidence = attester.evidence(signature, secret=secret, attest=attest, values=values)
        step = world.verifier.received(evidence, world.now)
        assert step.is_accepted, str(step.verdict)
        outcome = attester.received(step.message, world.now)
        assert outcome.is_accepted
        hidden = Attester.pseudonymous(outcome.certificates, world.other_key.public_key())
        task = hidden.received(world.relying_party.received(hidden.enrol(), world.now).message, world.now)
        step = world.relying_party.received(hidden.evidence(tpm.sign_ticketed(ak, task.to_sign)), world.now)
        assert step.is_accepted, str(step.verdict)
        pseudonyms.append(outcome.certificates)
        tpm.flush(ak)
    assert pseudonyms[0][0] != pseudonyms[1][0]
