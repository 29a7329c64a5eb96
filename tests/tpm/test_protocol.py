# SPDX-License-Identifier: Apache-2.0
"""Remote attestation from the first message to the last: who is accepted, who is not and why, what cannot be linked."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_device import UNRESTRICTED_SIGNING, PretendAk, PretendTpm, der
from prestocloud_sec.testing.tpm_logs import (
    EV_APPLICATION,
    EV_SEPARATOR,
    agile_log,
    ima_entry,
    ima_log,
    image_load,
    measured,
)
from prestocloud_sec.testing.tpm_protocol import World, messages
from prestocloud_sec.tpm.attest import Grade, ReferencePolicy
from prestocloud_sec.tpm.errors import ExchangeError, TpmFormatError, TpmMisuseError, VerificationError
from prestocloud_sec.tpm.eventlog import EventLog, ImaLog
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.pcr import PcrBanks
from prestocloud_sec.tpm.protocol import (
    Attester,
    AttesterState,
    Challenge,
    Decision,
    Enrol,
    Evidence,
    PseudonymIssuer,
    RelyingParty,
    Verifier,
    WantedLogs,
)
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPMS_SCHEME_HASH, TPMT_PUBLIC

BANKS = ("sha256",)
WORLD = World()
TPM, OTHER = PretendTpm(), PretendTpm()
AK = TPM.create_ak()


def failed(verdict) -> set[str]:
    return {clause.name for clause in verdict.failed}


def boot(*images: bytes):
    """Return the log of a boot, and a TPM that measured it."""
    events = [measured(4, EV_APPLICATION, image_load(f"\\{n}.efi"), BANKS, image) for n, image in enumerate(images)]
    return agile_log(BANKS, [measured(4, EV_SEPARATOR, bytes(4), BANKS), *events])


def booted(tpm: PretendTpm, built) -> PretendAk:
    tpm.pcrs = PcrBanks(["sha1", "sha256"])
    for event in built.events[1:]:
        tpm.pcrs.extend(event.pcr, event.digests)
    return tpm.create_ak()


def test_a_certified_tpm_is_accepted_and_gets_a_pseudonym():
    run = WORLD.enrol(AK)
    assert run.step.is_accepted
    assert run.outcome.is_accepted
    assert run.step.verdict.grade is Grade.PARTIAL
    assert {clause.name for clause in run.step.verdict.unchecked} == {
        "ek revocation",
        "signer",
        "clock",
        "firmware",
        "log",
    }
    assert [(c.name, c.state) for c in run.outcome.verdict] == [(c.name, c.state) for c in run.step.verdict]
    assert run.outcome.expires == WORLD.now + 3600
    relied = WORLD.rely(AK, run.outcome.certificates)
    assert relied.step.is_accepted
    assert relied.step.verdict.grade is Grade.FULL
    assert relied.outcome.certificates == ()
    assert WORLD.verifier.exchanges == WORLD.relying_party.exchanges == 0


def test_messages_are_of_the_documented_types():
    run = WORLD.enrol(AK)
    for kind, raw in zip((Enrol, Challenge, Evidence, Decision), run.messages, strict=True):
        assert raw[:6] == b"PSRA\x01" + bytes([kind.TYPE])
        assert kind.decode(raw).encode() == raw


GOOD = boot(b"shim", b"grub")
POLICY = ReferencePolicy.learn(EventLog.decode(GOOD.data), pcrs=[4])


def test_what_was_measured_decides():
    world = World({"policy": POLICY, "selection": "sha256:0,1,2,3,4"})
    assert world.enrol(booted(TPM, GOOD), GOOD.data).outcome.is_accepted
    bad = boot(b"shim", b"evil", b"grub")
    run = world.enrol(booted(TPM, bad), bad.data)
    assert not run.outcome.is_accepted
    assert failed(run.outcome.verdict) == {"measurements"}
    assert "event 3: PCR 4 EV_EFI_BOOT_SERVICES_APPLICATION: \\1.efi" in run.outcome.culprit
    assert run.step.verdict.culprit.number == 3
    assert run.outcome.certificates == ()


@pytest.mark.parametrize(
    ("log", "clause"),
    [(b"", "logs read"), (b"no log", "logs read"), (GOOD.data[:-1], "logs read"), (boot(b"shim").data, "log")],
)
def test_logs_that_are_not_right_are_told(log, clause):
    world = World({"policy": POLICY, "selection": "sha256:4"})
    run = world.enrol(booted(TPM, GOOD), log)
    assert failed(run.outcome.verdict) == {clause}
    assert not run.outcome.is_accepted


def test_a_log_of_another_boot_does_not_help():
    """A machine that booted something else cannot pass with the log of a good boot."""
    world = World({"policy": POLICY, "selection": "sha256:4"})
    evil = booted(TPM, boot(b"evil"))
    run = world.enrol(evil, GOOD.data)
    assert failed(run.outcome.verdict) == {"log"}
    assert not run.outcome.is_accepted


def test_a_kernel_that_measured_on_is_judged_by_what_was_quoted():
    entries = [
        ima_entry("ima-ng", [b"sha256:\0" + hashlib.sha256(content).digest(), b"/bin/" + content + b"\0"])
        for content in (b"ls", b"sh", b"evil")
    ]
    allowed = {f"/bin/{name}": [hashlib.sha256(name.encode()).digest()] for name in ("ls", "sh")}
    world = World({"policy": ReferencePolicy(files=allowed), "selection": "sha256:10"})
    for count, accepted in ((2, True), (3, False)):
        TPM.pcrs = PcrBanks(["sha256"])
        for _, link in ImaLog.decode(ima_log(entries[:count]).data).links(hash_of("sha256")):
            TPM.pcrs.extend(10, {"sha256": link.value})
        run = world.enrol(TPM.create_ak(), b"", ima_log(entries).data)
        assert run.outcome.is_accepted is accepted
        assert ("/bin/evil" in run.outcome.culprit) is not accepted


def step_of(world: World, attester: Attester):
    return world.verifier.received(attester.enrol(), world.now)


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"constraints": None, "purpose": None, "alternative": None}, "ek certificate"),
        ({"days": -0.5}, "ek chain"),
    ],
)
def test_certificates_that_are_not_right_end_it_at_once(changes, clause):
    step = step_of(WORLD, WORLD.attester(AK, **changes))
    assert failed(step.verdict) == {clause}
    assert step.is_accepted is False
    assert WORLD.verifier.exchanges == 0


def test_who_is_not_certified_is_told_so_at_once():
    key = WORLD.key.public_key()
    elsewhere = World().maker.certify_ek(TPM.ek_private.public_key())
    for chain, clauses in (([elsewhere], {"ek chain"}), ([WORLD.maker.certificate], {"ek certificate", "ek key"})):
        attester = Attester.endorsed(AK.public, TPM.ek_public, chain, key)
        step = step_of(WORLD, attester)
        assert failed(step.verdict) == clauses
        outcome = attester.received(step.message, WORLD.now)
        assert not outcome.is_accepted
        assert failed(outcome.verdict) == clauses
        assert attester.state is AttesterState.DONE


def test_the_certificate_has_to_be_of_the_key():
    certificate = WORLD.maker.certify_ek(OTHER.ek_private.public_key())
    chain = [certificate, WORLD.maker.certificate]
    step = step_of(WORLD, Attester.endorsed(AK.public, TPM.ek_public, chain, WORLD.key.public_key()))
    assert failed(step.verdict) == {"ek key"}
    garbage = Enrol(1, bytes(32), b"no area", b"no area", (b"no certificate",)).encode()
    step = WORLD.verifier.received(garbage, WORLD.now)
    assert failed(step.verdict) == {"ek certificate", "ak attributes"}


@pytest.mark.parametrize(
    ("area", "clause"),
    [
        (TPM.create_ak(UNRESTRICTED_SIGNING).public, "ak attributes"),
        (TPM.create_ak(0x00070072).public, "ak attributes"),
        (TPM.create_ak(0x00050062).public, "ak attributes"),
        (TPM.ek_public, "ak attributes"),
    ],
)
def test_an_attestation_key_has_to_be_one(area, clause):
    certificate = WORLD.maker.certify_ek(TPM.ek_private.public_key())
    chain = [certificate, WORLD.maker.certificate]
    step = step_of(WORLD, Attester.endorsed(area, TPM.ek_public, chain, WORLD.key.public_key()))
    assert failed(step.verdict) == {clause}


def challenged(world: World = WORLD, ak: PretendAk = AK):
    attester = world.attester(ak)
    step = step_of(world, attester)
    assert step.verdict is None, str(step.verdict)
    return attester, step.message, attester.received(step.message, world.now)


def test_a_key_outside_of_the_tpm_is_not_bound_to_it():
    """The endorsement key of one TPM, the attestation key of another: the secret cannot be unwrapped."""
    alien = OTHER.create_ak()
    certificate = WORLD.maker.certify_ek(TPM.ek_private.public_key())
    attester = Attester.endorsed(
        alien.public, TPM.ek_public, [certificate, WORLD.maker.certificate], WORLD.key.public_key()
    )
    task = attester.received(step_of(WORLD, attester).message, WORLD.now)
    with pytest.raises(VerificationError):
        TPM.activate(alien, task.id_object, task.encrypted_secret)
    attest, signature = alien.quote(task.selection.encode(), task.qualifying_data)
    values = [OTHER.pcrs.read(pcr, bank) for bank, pcr in task.selection]
    evidence = attester.evidence(signature, secret=bytes(32), attest=attest, values=values)
    step = WORLD.verifier.received(evidence, WORLD.now)
    assert failed(step.verdict) == {"credential"}
    assert step.is_accepted is False


def test_evidence_counts_once():
    attester, _, task = challenged()
    evidence = WORLD.answer(attester, task, AK)
    assert WORLD.verifier.received(evidence, WORLD.now).is_accepted
    with pytest.raises(ExchangeError, match="not under way"):
        WORLD.verifier.received(evidence, WORLD.now)


def test_evidence_of_one_exchange_is_none_of_another():
    first, _, first_task = challenged()
    second, _, second_task = challenged()
    assert first_task.qualifying_data != second_task.qualifying_data
    stolen = Evidence.decode(WORLD.answer(first, first_task, AK))
    own = Evidence.decode(WORLD.answer(second, second_task, AK))
    crossed = Evidence(own.exchange, own.proof, stolen.attest, stolen.signature, stolen.values)
    step = WORLD.verifier.received(crossed.encode(), WORLD.now)
    assert failed(step.verdict) == {"nonce", "credential"}
    replayed = Evidence(stolen.exchange, own.proof, stolen.attest, stolen.signature, stolen.values)
    assert failed(WORLD.verifier.received(replayed.encode(), WORLD.now).verdict) == {"credential"}


def test_evidence_comes_in_time():
    attester, _, task = challenged()
    evidence = WORLD.answer(attester, task, AK)
    step = WORLD.verifier.received(evidence, WORLD.now + 61)
    assert failed(step.verdict) == {"in time"}
    attester, _, task = challenged()
    assert WORLD.verifier.tick(WORLD.now + 60) == 1
    assert WORLD.verifier.tick(WORLD.now + 61) == 0
    with pytest.raises(ExchangeError):
        WORLD.verifier.received(WORLD.answer(attester, task, AK), WORLD.now + 61)


@given(st.data())
def test_no_change_of_evidence_is_accepted(data):
    attester, _, task = challenged()
    raw = bytearray(WORLD.answer(attester, task, AK))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        step = WORLD.verifier.received(bytes(raw), WORLD.now)
    except (TpmFormatError, ExchangeError):
        WORLD.verifier.tick(WORLD.now + 100)
        return
    assert step.is_accepted is False
    assert step.verdict.grade is Grade.NONE


@given(st.data())
def test_no_change_of_a_decision_is_believed(data):
    attester, _, task = challenged()
    raw = bytearray(WORLD.verifier.received(WORLD.answer(attester, task, AK), WORLD.now).message)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((TpmFormatError, VerificationError, ExchangeError)):
        attester.received(bytes(raw), WORLD.now)
    assert attester.state is AttesterState.WAITING


def test_decisions_are_of_one_exchange_and_of_one_time():
    first, _, first_task = challenged()
    second, _, second_task = challenged()
    one = WORLD.verifier.received(WORLD.answer(first, first_task, AK), WORLD.now).message
    two = WORLD.verifier.received(WORLD.answer(second, second_task, AK), WORLD.now).message
    with pytest.raises(VerificationError, match="not signed"):
        first.received(two, WORLD.now)
    with pytest.raises(ExchangeError, match="time is over"):
        first.received(one, WORLD.now + 3601)
    assert first.received(one, WORLD.now).is_accepted
    with pytest.raises(ExchangeError, match="no place"):
        first.received(one, WORLD.now)


@given(st.binary(max_size=100) | messages().map(lambda message: message.encode()))
def test_machines_take_any_bytes(raw):
    for machine in (WORLD.verifier, WORLD.relying_party):
        before = machine.exchanges
        try:
            step = machine.received(raw, WORLD.now)
        except (TpmFormatError, ExchangeError):
            assert machine.exchanges == before
        else:
            assert step.is_accepted is not True
            machine.tick(WORLD.now + 1000)
    for attester in (WORLD.attester(AK), *challenged()[:1]):
        state = attester.state
        with pytest.raises((TpmFormatError, ExchangeError, VerificationError)):
            attester.received(raw, WORLD.now)
        assert attester.state is state
    WORLD.verifier.tick(WORLD.now + 1000)


def hostile_quote(ak: PretendAk, task, selection: bytes, digest: bytes = bytes(32)):
    return ak.attest(0x8018, task.qualifying_data, selection + len(digest).to_bytes(2, "big") + digest)


@pytest.mark.parametrize(
    "selection",
    [
        bytes(4),
        bytes.fromhex("00000001 000b 00"),
        bytes.fromhex("00000001 000b 03 ffffff"),
        bytes.fromhex("00000001 000b ff") + b"\xff" * 255,
        bytes.fromhex("00000001 1234 03 010000"),
        bytes.fromhex("00000001 0000 03 010000"),
        (100).to_bytes(4, "big") + bytes.fromhex("000b03010000") * 100,
        bytes.fromhex("00000001 000b 04 00000001"),
    ],
)
@pytest.mark.parametrize("values", [[], [bytes(32)], [b""], [bytes(64)] * 256])
def test_strange_quotes_get_a_verdict(selection, values):
    """A device that signs what it likes with its own key is told no, and nothing breaks."""
    attester, _, task = challenged()
    secret = TPM.activate(AK, task.id_object, task.encrypted_secret)
    attest, signature = hostile_quote(AK, task, selection)
    step = WORLD.verifier.received(attester.evidence(signature, secret=secret, attest=attest, values=values), WORLD.now)
    assert step.is_accepted is False
    assert step.verdict.grade is Grade.NONE


def test_attesters_go_one_way():
    attester = WORLD.attester(AK)
    for wrong in (lambda: attester.evidence(b"", secret=b""), lambda: attester.enrol() and attester.enrol()):
        with pytest.raises(TpmMisuseError, match="no place"):
            wrong()
    assert attester.state is AttesterState.ENROLLED
    step = WORLD.verifier.received(WORLD.attester(AK).enrol(), WORLD.now)
    with pytest.raises(ExchangeError, match="time is over"):
        attester.received(step.message, WORLD.now + 61)
    attester.received(step.message, WORLD.now)
    with pytest.raises(ExchangeError, match="no place"):
        attester.received(step.message, WORLD.now)
    with pytest.raises(TpmMisuseError, match="no secret"):
        attester.evidence(b"")
    bare = Challenge(bytes(16), bytes(32), 1 << 60, b"", 0, b"", b"").encode()
    fresh = WORLD.attester(AK)
    fresh.enrol()
    with pytest.raises(ExchangeError, match="without quote"):
        fresh.received(bare, WORLD.now)
    assert "enrolled" in repr(fresh)


def test_a_pseudonym_shows_nothing_else():
    certificates = WORLD.enrol(AK).outcome.certificates
    pseudonym = Attester.pseudonymous(certificates, WORLD.other_key.public_key())
    enrol = Enrol.decode(pseudonym.enrol())
    assert (enrol.ak_public, enrol.ek_public) == (b"", b"")
    asking = Challenge(bytes(16), bytes(32), 1 << 60, bytes.fromhex("00000001000b03010000"), 0, b"", b"")
    with pytest.raises(ExchangeError, match="more than a signature"):
        pseudonym.received(asking.encode(), WORLD.now)
    wrapped = Challenge(bytes(16), bytes(32), 1 << 60, b"", 0, b"x", b"y")
    with pytest.raises(ExchangeError, match="more than a signature"):
        pseudonym.received(wrapped.encode(), WORLD.now)
    pseudonym.received(Challenge(bytes(16), bytes(32), 1 << 60, b"", 0, b"", b"").encode(), WORLD.now)
    for more in ({"secret": b"x"}, {"attest": b"x"}, {"values": [b"x"]}, {"boot_log": b"x"}, {"kernel_log": b"x"}):
        with pytest.raises(TpmMisuseError, match="more than a signature"):
            pseudonym.evidence(b"signature", **more)


def test_a_relying_party_wants_a_pseudonym_and_a_verifier_does_not():
    run = WORLD.enrol(AK)
    step = WORLD.relying_party.received(run.messages[0], WORLD.now)
    assert failed(step.verdict) == {"certificate"}
    pseudonym = Attester.pseudonymous(run.outcome.certificates, WORLD.other_key.public_key()).enrol()
    step = WORLD.verifier.received(pseudonym, WORLD.now)
    assert failed(step.verdict) == {"ek certificate"}
    ek = WORLD.maker.certify_ek(TPM.ek_private.public_key())
    for chain, clauses in (
        ([ek, WORLD.maker.certificate], {"certificate", "chain"}),
        ([WORLD.privacy.certificate], {"certificate"}),
        ([run.outcome.certificates[0]], set()),
        ([b"garbage"], {"certificate"}),
    ):
        raw = Enrol(2, bytes(32), b"", b"", tuple(c if isinstance(c, bytes) else der(c) for c in chain)).encode()
        step = WORLD.relying_party.received(raw, WORLD.now)
        assert (failed(step.verdict) if step.verdict is not None else set()) == clauses


def test_a_pseudonym_is_worth_nothing_without_its_key_or_after_its_time():
    certificates = WORLD.enrol(AK).outcome.certificates
    thief = OTHER.create_ak()
    run = WORLD.rely(thief, certificates)
    assert failed(run.step.verdict) == {"signature"}
    late = WORLD.now + 26 * 3600
    step = WORLD.relying_party.received(Attester.pseudonymous(certificates, WORLD.other_key.public_key()).enrol(), late)
    assert failed(step.verdict) == {"chain"}
    stranger = World()
    step = stranger.relying_party.received(
        Attester.pseudonymous(certificates, WORLD.other_key.public_key()).enrol(), WORLD.now
    )
    assert failed(step.verdict) == {"chain"}


def in_common(one: list[bytes], two: list[bytes], others: list[list[bytes]]) -> tuple[float, int]:
    """Tell how far two transcripts agree where those of other TPMs differ: the share of bytes, and the longest run."""
    raw, again, rest = b"".join(one), b"".join(two), [b"".join(said) for said in others]
    assert len({len(said) for said in (raw, again, *rest)}) == 1, "the very length tells"
    telling = [at for at in range(len(raw)) if len({said[at] for said in rest}) > 1]
    same = [raw[at] == again[at] for at in telling]
    longest = max(len(run) for run in "".join("x" if equal else " " for equal in same).split(" "))
    return sum(same) / len(same), longest


def test_two_keys_of_one_tpm_cannot_be_linked_by_a_relying_party():
    """Two pseudonyms of one TPM agree no more than chance has it, wherever those of other TPMs differ at all."""
    tpm = PretendTpm()
    aks = [tpm.create_ak() for _ in range(2)]
    strangers = [PretendTpm().create_ak() for _ in range(4)]
    enrolled = [WORLD.enrol(ak) for ak in (*aks, *strangers)]
    relied = [WORLD.rely(ak, run.outcome.certificates) for ak, run in zip((*aks, *strangers), enrolled, strict=True)]
    assert all(run.step.is_accepted for run in relied)
    seen = [run.messages for run in relied]
    share, longest = in_common(seen[0], seen[1], seen[2:])
    assert share < 0.05
    assert longest < 6
    # Nor is anything there that only this TPM has.
    modulus = tpm.ek_private.public_key().public_numbers().n.to_bytes(256, "big")
    for said in map(b"".join, seen[:2]):
        for mark in (modulus[:16], modulus[-16:], tpm.clock.encode()[:8], *(ak.qualified_name for ak in aks)):
            assert mark not in said
    # The test can tell: what a verifier is shown agrees in the whole endorsement key.
    first, second, *rest = ([run.messages[0]] for run in enrolled)
    share, longest = in_common([first[0][:500]], [second[0][:500]], [[said[0][:500]] for said in rest])
    assert share > 0.3
    assert longest > 200


def test_names_and_numbers_of_pseudonyms_are_random_and_times_are_rounded():
    from cryptography import x509

    issued = [x509.load_der_x509_certificate(WORLD.enrol(TPM.create_ak()).outcome.certificates[0]) for _ in range(8)]
    assert len({certificate.serial_number for certificate in issued}) == len({str(c.subject) for c in issued}) == 8
    assert {certificate.serial_number.bit_length() for certificate in issued} == {127}
    assert {certificate.not_valid_before_utc for certificate in issued} == {issued[0].not_valid_before_utc}
    assert issued[0].not_valid_before_utc.minute == 0
    assert len({len(der(certificate)) for certificate in issued}) == 1


def test_only_so_many_exchanges_are_under_way():
    world = World({"most_exchanges": 2})
    for _ in range(2):
        challenged(world)
    with pytest.raises(ExchangeError, match="2 exchanges"):
        challenged(world)
    attester = world.attester(AK)
    assert world.verifier.received(attester.enrol(), world.now + 61).verdict is None
    assert world.verifier.exchanges == 1


def test_makers_can_be_chosen():
    for makers, accepted in ((["XYZ"], True), ({"id:58595A00"}, True), (["STM"], False), ([], False)):
        world = World({"makers": makers})
        step = step_of(world, world.attester(AK))
        assert (step.verdict is None) is accepted
        if not accepted:
            assert failed(step.verdict) == {"maker"}


def test_logs_are_asked_for_where_they_are_needed():
    files = ReferencePolicy(files={})
    for policy, logs in (
        (None, WantedLogs.NONE),
        (ReferencePolicy(values={0: [bytes(32)]}), WantedLogs.NONE),
        (POLICY, WantedLogs.BOOT),
        (files, WantedLogs.KERNEL),
        (ReferencePolicy(files={}, secure_boot=True), WantedLogs.BOOT | WantedLogs.KERNEL),
    ):
        world = World({"policy": policy})
        assert challenged(world)[2].logs == logs
    assert challenged(World({"logs": WantedLogs.KERNEL}))[2].logs is WantedLogs.KERNEL


def test_a_credential_that_cannot_be_made_is_told():
    def fails(ek, name, secret):
        raise VerificationError("no such point", where="seed")

    verifier = Verifier([WORLD.root.certificate], WORLD.key, fails)
    step = verifier.received(WORLD.attester(AK).enrol(), WORLD.now)
    assert failed(step.verdict) == {"credential"}
    for wrong in (lambda *_: 7, lambda *_: (b"a", b"b", b"c"), lambda *_: (b"a", ""), lambda: None):
        with pytest.raises(TpmMisuseError):
            Verifier([WORLD.root.certificate], WORLD.key, wrong).received(WORLD.attester(AK).enrol(), WORLD.now)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"symmetric": (0x10, None, None)}},
        {"parameters": {"scheme": (0x14, 0x0B)}},
        {"nameAlg": 0x10},
        {"nameAlg": 0x12},
    ],
)
def test_a_certified_key_in_a_strange_public_area_is_told(changes):
    """The certificate vouches for the key alone; what stands around it is the attester's word."""
    public = TPMT_PUBLIC.decode(TPM.ek_public)
    parameters = public.parameters
    for name, (kind, *more) in changes.get("parameters", {}).items():
        old = getattr(parameters, name)
        if name == "symmetric":
            parameters = parameters.replace(symmetric=type(old)(TPM_ALG_ID(kind), *more))
        else:
            parameters = parameters.replace(scheme=type(old)(TPM_ALG_ID(kind), TPMS_SCHEME_HASH(TPM_ALG_ID(more[0]))))
    odd = public.replace(parameters=parameters, nameAlg=TPM_ALG_ID(changes.get("nameAlg", 0x0B)))
    chain = [WORLD.maker.certify_ek(TPM.ek_private.public_key()), WORLD.maker.certificate]
    verifier = Verifier([WORLD.root.certificate], WORLD.key)
    step = verifier.received(Attester.endorsed(AK.public, odd, chain, WORLD.key.public_key()).enrol(), WORLD.now)
    assert step.verdict is None or failed(step.verdict) == {"credential"}
    assert step.verdict is not None or "scheme" in changes.get("parameters", {})


def test_credentials_are_made_in_software():
    """The library's own credential is opened by the pretended TPM, which has none of its code."""
    verifier = Verifier([WORLD.root.certificate], WORLD.key)
    assert WORLD.run(verifier, WORLD.attester(AK), AK).step.is_accepted


def test_machines_keep_their_secrets():
    issuer = PseudonymIssuer(WORLD.privacy.certificate, WORLD.privacy.key)
    for machine in (WORLD.verifier, WORLD.relying_party, issuer, WORLD.attester(AK)):
        assert "key" not in repr(machine).lower()
        for keep in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TpmMisuseError, match="holds secrets"):
                keep(machine)


CERTIFICATE = WORLD.privacy.certificate


@pytest.mark.parametrize(
    "call",
    [
        lambda: Verifier(7, WORLD.key, print),
        lambda: Verifier(CERTIFICATE, WORLD.key, print),
        lambda: Verifier([7], WORLD.key, print),
        lambda: Verifier([], 7, print),
        lambda: Verifier([], WORLD.key.public_key(), print),
        lambda: Verifier([], WORLD.key, 7),
        lambda: Verifier([], WORLD.key, print, selection="sha256:none"),
        lambda: Verifier([], WORLD.key, print, selection=7),
        lambda: Verifier([], WORLD.key, print, policy=7),
        lambda: Verifier([], WORLD.key, print, logs=1),
        lambda: Verifier([], WORLD.key, print, crls=[7]),
        lambda: Verifier([], WORLD.key, print, makers="STM"),
        lambda: Verifier([], WORLD.key, print, makers=[7]),
        lambda: Verifier([], WORLD.key, print, issuer=7),
        lambda: Verifier([], WORLD.key, print, challenge_seconds=0),
        lambda: Verifier([], WORLD.key, print, most_exchanges=0),
        lambda: RelyingParty(7, WORLD.key),
        lambda: RelyingParty([], WORLD.key, crls=7),
        lambda: WORLD.verifier.received(7, WORLD.now),
        lambda: WORLD.verifier.received("text", WORLD.now),
        lambda: WORLD.verifier.received(b"", "now"),
        lambda: WORLD.verifier.received(b"", None),
        lambda: WORLD.verifier.received(b"", float("nan")),
        lambda: WORLD.verifier.received(b"", -1),
        lambda: WORLD.verifier.received(b"", 1e300),
        lambda: WORLD.verifier.tick("now"),
        lambda: challenged(World({"random": lambda size: b""})),
        lambda: challenged(World({"random": 7})),
        lambda: Attester.endorsed(7, b"x", [CERTIFICATE], WORLD.key.public_key()),
        lambda: Attester.endorsed(b"x", b"x", [], WORLD.key.public_key()),
        lambda: Attester.endorsed(b"", b"x", [CERTIFICATE], WORLD.key.public_key()),
        lambda: Attester.endorsed(b"x", b"x", [CERTIFICATE], WORLD.key),
        lambda: Attester.endorsed(b"x", b"x", [CERTIFICATE], WORLD.key.public_key(), random=7),
        lambda: Attester.pseudonymous(7, WORLD.key.public_key()),
        lambda: Attester(7, WORLD.key.public_key()),
        lambda: WORLD.attester(AK).received(7, WORLD.now),
        lambda: PseudonymIssuer(7, WORLD.key),
        lambda: PseudonymIssuer(CERTIFICATE, 7),
        lambda: PseudonymIssuer(CERTIFICATE, WORLD.key),
        lambda: PseudonymIssuer(WORLD.maker.certify_ek(TPM.ek_private.public_key()), TPM.ek_private),
        lambda: PseudonymIssuer(CERTIFICATE, WORLD.privacy.key, hours=0),
        lambda: WORLD.issuer.issue(7, WORLD.root.now),
    ],
)
def test_wrong_arguments_are_refused(call):
    with pytest.raises(TpmMisuseError):
        call()


def test_a_random_source_that_repeats_itself_is_refused():
    world = World({"random": lambda size: b"\1" * size})
    step_of(world, world.attester(AK))
    with pytest.raises(TpmMisuseError, match="repeats itself"):
        step_of(world, world.attester(AK))


def test_randomness_is_injected():
    drawn = []

    def source(size: int) -> bytes:
        drawn.append(size)
        return os.urandom(size)

    world = World({"random": source})
    assert world.enrol(AK).step.is_accepted
    assert sorted(drawn) == [16, 32, 32]
    assert isinstance(world.key, ed25519.Ed25519PrivateKey)
