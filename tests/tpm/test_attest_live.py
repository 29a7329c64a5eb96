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
from prestocloud_sec.tpm.transport import Transport, open_transport

OWNER, ENDORSEMENT, NULL, PASSWORD = 0x40000001, 0x4000000B, 0x40000007, 0x40000009
NONCE = bytes(range(16))
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
EK_TEMPLATE = (
    bytes.fromhex("0001000b000300b2")
    + two_bytes(EK_POLICY)
    + bytes.fromhex("0006008000430010080000000000")
    + two_bytes(bytes(256))
)
ECC_EK_TEMPLATE = (
    bytes.fromhex("0023000b000300b2")
    + two_bytes(EK_POLICY)
    + bytes.fromhex("000600800043 0010 0003 0010")
    + two_bytes(bytes(32)) * 2
)
SCHEMES = {"ecdsa": "0018000b", "rsassa": "0014000b", "rsapss": "0016000b"}


def ak_template(scheme: str) -> bytes:
    head = bytes.fromhex("000b000500720000")
    if scheme == "ecdsa":
        return b"\0\x23" + head + bytes.fromhex("00100018000b00030010") + bytes(4)
    return (
        b"\0\x01" + head + b"\0\x10" + bytes.fromhex(SCHEMES[scheme]) + bytes.fromhex("080000000000") + two_bytes(b"")
    )


class RealTpm:
    """A running TPM, through commands packed by hand."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def command(self, code: int, handles: list[int], parameters: bytes, auths: list[int] | None = None) -> bytes:
        """Return what follows the response's header, without its sessions."""
        body = b"".join(struct.pack(">I", handle) for handle in handles)
        if auths:
            area = b"".join(struct.pack(">IHBH", session, 0, 1 if session == PASSWORD else 0, 0) for session in auths)
            body += struct.pack(">I", len(area)) + area
        body += parameters
        raw = struct.pack(">HII", 0x8002 if auths else 0x8001, 10 + len(body), code) + body
        for _ in range(10):
            response = self._transport.transceive(raw)
            rc = struct.unpack(">I", response[6:10])[0]
            if rc != 0x922:
                break
        assert rc == 0, f"{code:#x}: {rc:#x}"
        return response[10:]

    def parts(self, raw: bytes, *, handle: bool = False) -> tuple[int, bytes]:
        """Return the handle, if there is one, and the parameters of a response with sessions."""
        found = struct.unpack(">I", raw[:4])[0] if handle else 0
        rest = raw[4:] if handle else raw
        size = struct.unpack(">I", rest[:4])[0]
        return found, rest[4 : 4 + size]

    def create_primary(self, hierarchy: int, template: bytes) -> tuple[int, bytes, dict[str, bytes]]:
        """Return the handle and the public area of a primary key, and what tells of its creation."""
        parameters = two_bytes(bytes(4)) + two_bytes(template) + two_bytes(b"outside") + bytes(4)
        handle, raw = self.parts(self.command(0x131, [hierarchy], parameters, [PASSWORD]), handle=True)
        public, raw = take(raw)
        data, raw = take(raw)
        digest, raw = take(raw)
        size = struct.unpack(">H", raw[6:8])[0]
        return handle, public, {"data": data, "hash": digest, "ticket": raw[: 8 + size]}

    def attestation(self, code: int, handles: list[int], parameters: bytes) -> tuple[bytes, bytes]:
        _, raw = self.parts(self.command(code, handles, parameters, [PASSWORD] * min(len(handles), 2)))
        return take(raw)

    def quote(self, ak: int, nonce: bytes, selection: bytes) -> tuple[bytes, bytes]:
        return self.attestation(0x158, [ak], two_bytes(nonce) + b"\0\x10" + selection)

    def read(self, selection: PcrSelection) -> list[bytes]:
        """Return the values of up to eight PCRs."""
        raw = self.command(0x17E, [], selection.encode())
        raw = raw[4 + len(selection.encode()) + 4 :]
        found = []
        while raw:
            value, raw = take(raw)
            found.append(value)
        return found

    def activate(self, ak: int, ek: int, id_object: bytes, secret: bytes) -> bytes:
        """Return the secret of a credential; the endorsement key's policy asks for its hierarchy's authorization."""
        start = two_bytes(bytes(16)) + two_bytes(b"") + b"\1" + b"\0\x10" + b"\0\x0b"
        session = struct.unpack(">I", self.command(0x176, [NULL, NULL], start)[:4])[0]
        self.command(0x151, [ENDORSEMENT, session], bytes(6) + bytes(4), [PASSWORD])
        _, raw = self.parts(
            self.command(0x147, [ak, ek], two_bytes(id_object) + two_bytes(secret), [PASSWORD, session])
        )
        return take(raw)[0]

    def sign_ticketed(self, ak: int, message: bytes) -> bytes:
        """Return the signature of a message that the TPM itself hashed, so that a restricted key may sign it."""
        raw = self.command(0x17D, [], two_bytes(message) + b"\0\x0b" + struct.pack(">I", ENDORSEMENT))
        digest, ticket = take(raw)
        _, signature = self.parts(self.command(0x15D, [ak], two_bytes(digest) + b"\0\x10" + ticket, [PASSWORD]))
        return signature

    def flush(self, handle: int) -> None:
        self.command(0x165, [], struct.pack(">I", handle))


def take(raw: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack(">H", raw[:2])[0]
    return raw[2 : 2 + size], raw[2 + size :]


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
