# SPDX-License-Identifier: Apache-2.0
"""Whatever the calling code hands to structures, attestations, logs, PCRs and the protocol: a value, or our errors."""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.testing.tpm_device import Authority, PretendTpm, der, two_bytes
from prestocloud_sec.testing.tpm_logs import EV_SEPARATOR, agile_log, ima_entry, ima_log, measured
from prestocloud_sec.testing.tpm_protocol import World
from prestocloud_sec.tpm import attest, eventlog, names, pcr, pem, protocol, response_codes, signatures, transport, use
from prestocloud_sec.tpm.client import Protection, connect
from prestocloud_sec.tpm.codec import frame, streams, tree
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.protocol import messages
from prestocloud_sec.tpm.spec import TPMT_PUBLIC, TPMT_SIGNATURE
from prestocloud_sec.tpm.spec.declare import Declared, Structure
from prestocloud_sec.wire import shown
from tests.tpm.codec.recorded import pairs
from tests.tpm.test_attack_machines import WRONG

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
TPM = PretendTpm()
AK = TPM.create_ak()
AK_PUBLIC = TPMT_PUBLIC.decode(AK.public)
QUOTE, SIGNATURE = AK.quote(bytes.fromhex("00000001000b03010000"), b"nonce")
SIGNED = {"attest": QUOTE, "signature": SIGNATURE, "key": AK_PUBLIC, "nonce": b"nonce"}
SIGNED |= {"parent": 0x4000000B, "allow_unrestricted": False}
LOG = agile_log(("sha256",), [measured(4, EV_SEPARATOR, bytes(4), ("sha256",))])
EVENTS = eventlog.EventLog.decode(LOG.data)
EVENT, SPEC_ID = EVENTS.events[1], EVENTS.spec_id
DIGEST = b"sha256:\0" + hashlib.sha256(b"x").digest()
IMA = ima_log([ima_entry("ima-ng", [DIGEST, b"/bin/x\0"])])
ENTRIES = eventlog.ImaLog.decode(IMA.data)
POLICY = attest.ReferencePolicy.learn(EVENTS, pcrs=[4])
WORLD = World()
RUN = WORLD.enrol(AK)
KEY = ed25519.Ed25519PrivateKey.generate()
ROOT = Authority("root")
EK = der(ROOT.certify_ek(TPM.ek_private.public_key()))
VALUES = {"sha256": {0: bytes(32)}}
COMMAND = next(pair for pair in pairs() if pair.name == "CreatePrimary")
BANKS = pcr.PcrBanks(["sha256"])


def waiting() -> protocol.Attester:
    """Return an attester that waits for a challenge."""
    made = WORLD.attester(AK)
    made.enrol()
    return made


def challenged() -> protocol.Attester:
    """Return an attester that is asked for evidence."""
    made = WORLD.attester(AK)
    made.received(WORLD.new_verifier().received(made.enrol(), WORLD.now).message, WORLD.now)
    return made


def verifier(**more: Any) -> protocol.Verifier:
    return protocol.Verifier(**{"roots": [ROOT.certificate], "signing_key": KEY, **more})


def relying_party(**more: Any) -> protocol.RelyingParty:
    return protocol.RelyingParty(**{"issuers": [ROOT.certificate], "signing_key": KEY, **more})


def issuer(**more: Any) -> protocol.PseudonymIssuer:
    return protocol.PseudonymIssuer(**{"certificate": ROOT.certificate, "key": ROOT.key, **more})


NEXT = WORLD.new_verifier().received(RUN.messages[0], WORLD.now).message
CLAUSE = attest.Clause("log", attest.ClauseState.HOLDS, "")
VERDICT = attest.Verdict("x", (CLAUSE,))
DECISION = messages.Decision.decode(RUN.messages[3])

GOOD: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "verify_quote": (
        attest.verify_quote,
        {**SIGNED, "pcrs": VALUES, "selection": "sha256:0", "logs": [EVENTS], "policy": POLICY},
    ),
    "verify_certify": (
        attest.verify_certify,
        {**SIGNED, "object_public": AK_PUBLIC, "object_parent": AK.name, "attributes": None},
    ),
    "verify_creation": (attest.verify_creation, {**SIGNED, "object_public": AK_PUBLIC, "creation_data": None}),
    "verify_nv": (attest.verify_nv, {**SIGNED, "nv_public": None, "contents": b"", "offset": 0}),
    "verify_time": (attest.verify_time, {**SIGNED, "since": None, "firmware": 0}),
    "verify_session_audit": (
        attest.verify_session_audit,
        {**SIGNED, "commands": [], "session_hash": "sha256", "exclusive": True},
    ),
    "verify_command_audit": (
        attest.verify_command_audit,
        {**SIGNED, "codes": [1], "commands": [], "digest": None},
    ),
    "audit_digest": (
        attest.audit_digest,
        {"commands": [attest.AuditedCommand(1, (b"",), b"", b"")], "algorithm": "sha256", "start": bytes(32)},
    ),
    "audit_digest of": (
        lambda **parts: attest.audit_digest([attest.AuditedCommand(**parts)], "sha256"),
        {"code": 1, "names": (b"",), "parameters": b"", "response_parameters": b""},
    ),
    "ReferencePolicy": (
        attest.ReferencePolicy,
        {
            "bank": 11,
            "values": {0: [bytes(32)]},
            "measurements": {4: {bytes(32): "x"}},
            "required": {4: {bytes(32): "x"}},
            "forbidden": {bytes(32): "x"},
            "secure_boot": True,
            "files": {"/bin/x": [bytes(32)]},
        },
    ),
    "ReferencePolicy.learn": (
        lambda log, **more: attest.ReferencePolicy.learn(log, **more),
        {"log": EVENTS, "pcrs": [4], "bank": "sha256", "files": False},
    ),
    "ReferencePolicy.from_json": (attest.ReferencePolicy.from_json, {"data": POLICY.to_json()}),
    "Verdict": (attest.Verdict, {"subject": "x", "clauses": (CLAUSE,), "attest": None, "culprit": None}),
    "Clause": (attest.Clause, {"name": "x", "state": attest.ClauseState.HOLDS, "words": ""}),
    "accepts": (VERDICT.accepts, {"names": "log"}),
    "require": (VERDICT.require, {"names": "log"}),
    "Expected": (
        attest.Expected,
        {"signer": AK.name, "parent": None, "since": None, "firmware": 1, "allow_unrestricted": True},
    ),
    "EventLog": (eventlog.EventLog, {"events": EVENTS.events, "padding": b"", "dynamic_launch": False}),
    "EventLog.decode": (eventlog.EventLog.decode, {"data": LOG.data, "dynamic_launch": False}),
    "of_pcr": (EVENTS.of_pcr, {"pcr": 4}),
    "Event": (eventlog.Event, {"pcr": 1, "type": 4, "digests": EVENT.digests, "data": b"", "number": 0}),
    "digest": (EVENT.digest, {"bank": "sha256"}),
    "digest_fits": (EVENT.digest_fits, {"bank": "sha256"}),
    "Digest": (
        lambda **parts: eventlog.Event(1, 4, (eventlog.Digest(**parts),), b""),
        {"algorithm": 11, "value": bytes(32)},
    ),
    "ImaLog": (
        eventlog.ImaLog,
        {"entries": ENTRIES.entries, "algorithm": "sha1", "byteorder": "little", "sha1_padded": False},
    ),
    "ImaLog.decode": (
        eventlog.ImaLog.decode,
        {"data": IMA.data, "algorithm": "sha1", "byteorder": "little", "sha1_padded": False},
    ),
    "ImaLog.decode_ascii": (
        eventlog.ImaLog.decode_ascii,
        {"data": ENTRIES.encode_ascii() if hasattr(ENTRIES, "encode_ascii") else b"", "algorithm": "sha1"},
    ),
    "ImaEntry": (
        eventlog.ImaEntry,
        {"pcr": 10, "digest": bytes(20), "template": "ima-ng", "fields": (DIGEST, b"/\0"), "number": 0},
    ),
    "ImaEntry.field": (ENTRIES.entries[0].field, {"name": "n-ng"}),
    "template_data": (ENTRIES.entries[0].template_data, {"byteorder": "little"}),
    "replay": (lambda log, banks: eventlog.replay(log, banks=banks), {"log": EVENTS, "banks": ["sha256"]}),
    "compare": (eventlog.compare, {"pcrs": VALUES, "log": EVENTS}),
    "kernel_log_at": (eventlog.kernel_log_at, {"pcrs": {11: {10: bytes(32)}}, "log": ENTRIES}),
    "Replay": (eventlog.Replay, {"values": {11: {0: bytes(32)}}}),
    "decode_payload": (eventlog.decode_payload, {"event_type": 4, "data": b""}),
    "SpecIdEvent": (
        eventlog.SpecIdEvent,
        {
            "algorithms": EVENTS.spec_id.algorithms,
            "platform_class": 0,
            "version_minor": 0,
            "uintn_size": 2,
            "vendor_info": b"",
        },
    ),
    "StartupLocality": (eventlog.StartupLocality, {"locality": 3}),
    "UefiVariable": (
        eventlog.UefiVariable,
        {"guid": eventlog.Guid("8be4df61-93ca-11d2-aa0d-00e098032b8c"), "name": "x", "data": b""},
    ),
    "ImageLoad": (
        eventlog.ImageLoad,
        {"address": 1, "length": 1, "link_time_address": 0, "device_path": eventlog.DevicePath()},
    ),
    "DevicePath": (eventlog.DevicePath, {"nodes": ()}),
    "DevicePath.decode": (eventlog.DevicePath.decode, {"data": b""}),
    "Guid": (eventlog.Guid, {"text": "8be4df61-93ca-11d2-aa0d-00e098032b8c"}),
    "Guid.decode": (eventlog.Guid.decode, {"data": bytes(16)}),
    "PcrSelection": (pcr.PcrSelection, {"rows": ((11, b"\1\0\0"),)}),
    "PcrSelection.of": (pcr.PcrSelection.of, {"selection": "sha256:0"}),
    "PcrSelection.of_list": (pcr.PcrSelection.of_list, {"selection": pcr.PcrSelection.of("sha256:0").to_list()}),
    "PcrSelection.decode": (pcr.PcrSelection.decode, {"data": bytes(4)}),
    "PcrSelection.digest": (pcr.PcrSelection.of("sha256:0").digest, {"values": VALUES, "algorithm": "sha256"}),
    "pcr_digest": (pcr.pcr_digest, {"selection": "sha256:0", "values": VALUES, "algorithm": "sha256"}),
    "PcrBanks": (pcr.PcrBanks, {"banks": ["sha256"]}),
    "startup": (pcr.PcrBanks().startup, {"locality": 0, "hcrtm": b""}),
    "extend": (BANKS.extend, {"pcr": 1, "digests": {"sha256": bytes(32)}, "locality": 0}),
    "event": (BANKS.event, {"pcr": 1, "data": b"", "locality": 0}),
    "reset": (BANKS.reset, {"pcr": 16, "locality": 0}),
    "dynamic_launch": (BANKS.dynamic_launch, {"data": b""}),
    "read": (BANKS.read, {"pcr": 1, "bank": "sha256"}),
    "values": (BANKS.values, {"selection": "sha256:0"}),
    "BANKS.digest": (BANKS.digest, {"selection": "sha256:0", "algorithm": "sha256"}),
    "Attester.endorsed": (
        protocol.Attester.endorsed,
        {
            "ak_public": AK_PUBLIC,
            "ek_public": TPM.ek_public,
            "certificates": [EK],
            "verifier_key": KEY.public_key(),
            "random": lambda size: bytes(size),
        },
    ),
    "Attester.pseudonymous": (
        protocol.Attester.pseudonymous,
        {"certificates": [EK], "verifier_key": KEY.public_key(), "random": lambda size: bytes(size)},
    ),
    "Attester": (
        protocol.Attester,
        {"enrol": messages.Enrol.decode(RUN.messages[0]), "verifier_key": KEY.public_key()},
    ),
    "Attester.received": (lambda **parts: waiting().received(**parts), {"message": NEXT, "now": WORLD.now}),
    "Attester.evidence": (
        lambda **parts: challenged().evidence(**parts),
        {
            "signature": SIGNATURE,
            "secret": bytes(32),
            "attest": QUOTE,
            "values": (bytes(32),),
            "boot_log": b"",
            "kernel_log": b"",
        },
    ),
    "Verifier": (
        verifier,
        {
            "roots": [ROOT.certificate],
            "signing_key": KEY,
            "make_credential": None,
            "selection": "sha256:0",
            "policy": POLICY,
            "logs": None,
            "intermediates": [],
            "crls": [],
            "issuer": None,
            "random": lambda size: bytes(size),
            "challenge_seconds": 60,
            "decision_seconds": 60,
            "most_exchanges": 10,
        },
    ),
    "Verifier.received": (lambda **parts: verifier().received(**parts), {"message": RUN.messages[0], "now": WORLD.now}),
    "RelyingParty": (
        relying_party,
        {
            "issuers": [ROOT.certificate],
            "signing_key": KEY,
            "crls": [],
            "random": lambda size: bytes(size),
            "challenge_seconds": 60,
            "decision_seconds": 60,
            "most_exchanges": 10,
        },
    ),
    "RelyingParty.received": (
        lambda **parts: relying_party().received(**parts),
        {"message": RUN.messages[0], "now": WORLD.now},
    ),
    "PseudonymIssuer": (
        issuer,
        {"certificate": ROOT.certificate, "key": ROOT.key, "chain": [], "hours": 1, "random": lambda size: bytes(size)},
    ),
    "issue": (lambda **parts: issuer().issue(**parts), {"public": AK_PUBLIC, "now": NOW}),
    "tpm_model": (protocol.tpm_model, {"certificate": ROOT.certificate}),
    **{
        f"{kind.__name__}.{position}": (
            lambda kind=kind, raw=raw, position=position, value=None: changed(kind.decode(raw), **{position: value}),
            {"value": getattr(kind.decode(raw), position)},
        )
        for kind, raw in zip(
            (messages.Enrol, messages.Challenge, messages.Evidence, messages.Decision), RUN.messages, strict=True
        )
        for position in kind.__match_args__
    },
    "Decision.of": (
        messages.Decision.of,
        {
            "exchange": bytes(16),
            "verdict": VERDICT,
            "is_accepted": True,
            "issued": 1,
            "expires": 2,
            "certificates": (b"",),
        },
    ),
    "key_from": (pem.key_from, {"key": AK_PUBLIC, "where": "key"}),
    "public_area_of": (
        pem.public_area_of,
        {"key": ROOT.key.public_key(), "name_hash": 11, "scheme": None, "scheme_hash": 11, "policy": b""},
    ),
    "public_from_pem": (pem.public_from_pem, {"pem": pem.public_to_pem(AK_PUBLIC), "name_hash": 11}),
    "public_to_pem": (pem.public_to_pem, {"key": AK_PUBLIC}),
    "signature_from_plain": (
        signatures.signature_from_plain,
        {"plain": signatures.signature_to_plain(SIGNATURE), "scheme": "ecdsa", "algorithm": "sha256"},
    ),
    "signature_hash": (signatures.signature_hash, {"signature": TPMT_SIGNATURE.decode(SIGNATURE)}),
    "signature_to_plain": (signatures.signature_to_plain, {"signature": SIGNATURE}),
    "verify_hmac": (signatures.verify_hmac, {"key": b"", "signature": SIGNATURE, "message": b""}),
    "verify_signature": (
        signatures.verify_signature,
        {"key": AK_PUBLIC, "signature": SIGNATURE, "message": QUOTE, "digest": None},
    ),
    "error_for": (response_codes.error_for, {"rc": 0x101, "command": "GetRandom"}),
    "explain": (response_codes.explain, {"rc": 0x101, "command": "GetRandom"}),
    "handle_name": (names.handle_name, {"handle": 1}),
    "name_of": (names.name_of, {"public": AK_PUBLIC}),
    "qualified_name": (names.qualified_name, {"name": AK.name, "parent": 1}),
    "decode_command": (tree.decode_command, {"data": COMMAND.command, "lenient": False}),
    "decode_response": (
        tree.decode_response,
        {"data": COMMAND.response, "command": COMMAND.code, "lenient": False},
    ),
    "text": (tree.decode_command(COMMAND.command).text, {"secrets": False}),
    "to_dict": (tree.decode_command(COMMAND.command).to_dict, {"secrets": False}),
    "to_json": (tree.decode_command(COMMAND.command).to_json, {"secrets": False, "indent": 2}),
    "decode_stream": (streams.decode_stream, {"data": COMMAND.command, "form": "bytes", "lenient": False}),
    "messages_in": (streams.messages_in, {"data": COMMAND.command, "form": "bytes"}),
    "split_messages": (streams.split_messages, {"data": COMMAND.command}),
    "CommandFrame": (frame.CommandFrame, {"tag": 0x8001, "code": 1, "handles": (1,), "auths": (), "parameters": b""}),
    "CommandFrame.decode": (frame.CommandFrame.decode, {"data": COMMAND.command, "handles": 1}),
    "ResponseFrame": (frame.ResponseFrame, {"tag": 0x8001, "rc": 0, "handles": (), "parameters": b"", "auths": ()}),
    "ResponseFrame.decode": (
        frame.ResponseFrame.decode,
        {"data": COMMAND.response, "code": COMMAND.code, "handles": 1},
    ),
    "Protection": (Protection, {"key": None, "hash": "sha256", "cipher": None}),
    "parse_uri": (transport.parse_uri, {"uri": "swtpm:path=/x"}),
    "open_transport": (
        lambda uri, timeouts: transport.open_transport(uri, timeouts=timeouts),
        {"uri": "x:", "timeouts": None},
    ),
    "connect": (connect, {"uri": "x:", "protect": False, "startup": True, "timeouts": None, "retry": None}),
    "Replayer": (transport.Replayer, {"pairs": [(b"", b"")], "name": "x"}),
    "RetryPolicy": (transport.RetryPolicy, {"attempts": 2, "first": 1.0, "longest": 1.0, "total": 1.0}),
    "quirks_of": (transport.quirks_of, {"manufacturer": 1, "firmware": 1}),
    "key_template": (
        use.key_template,
        {
            "kind": "ecc",
            "use": "sign",
            "bits": 2048,
            "curve": 3,
            "scheme": None,
            "hash": 11,
            "no_da": True,
            "policy": b"",
            "movable": False,
        },
    ),
    "ak_template": (use.ak_template, {"kind": "ecc", "scheme": None, "hash": 11, "no_da": True, "policy": b""}),
    "ek_template": (use.ek_template, {"kind": "rsa", "nonce": b""}),
    "srk_template": (use.srk_template, {"kind": "ecc", "label": b""}),
    "storage_template": (use.storage_template, {"kind": "ecc", "no_da": True, "policy": b""}),
    "hmac_template": (use.hmac_template, {"hash": 11, "no_da": True, "policy": b""}),
    "sealed_template": (use.sealed_template, {"no_da": True, "policy": b"", "with_auth": True}),
    "symmetric_template": (use.symmetric_template, {"bits": 128, "mode": "cfb", "no_da": True, "policy": b""}),
    "movable_policy": (use.movable_policy, {"new_parents": AK_PUBLIC}),
    "foretell": (use.foretell, {"values": VALUES, "extends": [(0, b"x")]}),
    "foretell_log": (use.foretell_log, {"log": EVENTS, "changes": {1: None}}),
    "WrappedObject": (
        use.WrappedObject,
        {"public": AK_PUBLIC, "private": b"", "parent": b"", "policy": None, "creation": None},
    ),
    "WrappedObject.from_json": (use.WrappedObject.from_json, {"text": use.WrappedObject(AK_PUBLIC, b"").to_json()}),
    "WrappedObject.from_files": (
        use.WrappedObject.from_files,
        {"public": two_bytes(AK.public), "private": b"\0\0", "parent": b"", "policy": None},
    ),
}
"""What is called, and with what; each argument in turn is replaced by what it should not be."""

POSITIONAL = {"accepts", "require", "compare", "kernel_log_at", "movable_policy"}


def call(name: str, arguments: dict[str, Any]) -> Any:
    function, _ = GOOD[name]
    return function(*arguments.values()) if name in POSITIONAL else function(**arguments)


REFUSED = {"verify_hmac", "open_transport", "connect"}
"""What is refused for good reasons, though each argument is of the right type."""


@pytest.mark.parametrize("name", GOOD)
def test_the_good_arguments_are_good(name: str) -> None:
    """Else the next would only show that nothing works."""
    if name in REFUSED:
        with pytest.raises(PrestoCloudError):
            call(name, GOOD[name][1])
    else:
        call(name, GOOD[name][1])


@pytest.mark.parametrize("name", GOOD)
def test_no_argument_gets_through_as_something_else(name: str) -> None:
    _, arguments = GOOD[name]
    longest = 0
    for position in arguments:
        for wrong in WRONG:
            try:
                made = call(name, {**arguments, position: wrong})
                repr(made)
            except PrestoCloudError as error:
                longest = max(longest, len(str(error)))
            except Exception as error:
                pytest.fail(f"{name}({position}={shown(wrong)}): {type(error).__name__}: {error!r}")
    assert longest < 600


def _samples() -> dict[type, Any]:
    """Return a structure of each type that recorded messages hold, and each command and response."""
    found: dict[type, Any] = {}

    def take(value: Any) -> None:
        if isinstance(value, tuple):
            for each in value:
                take(each)
        elif isinstance(value, Declared):
            found.setdefault(type(value), value)
            for _, each in value._fields():
                take(each)

    for pair in pairs():
        command = tree.decode_command(pair.command)
        take(command.value)
        take(tree.decode_response(pair.response, command).value)
    return found


@pytest.mark.parametrize("kind", _samples(), ids=lambda kind: kind.__qualname__)
def test_no_field_of_a_structure_gets_through_as_something_else(kind: Any) -> None:
    sample = _samples_once()[kind]
    for name, _ in sample._fields():
        for wrong in WRONG:
            try:
                made = kind(**{**dict(sample._fields()), name: wrong})
                raw = made.encode() if isinstance(made, Structure) else made.encode_parameters()
            except PrestoCloudError:
                continue
            except Exception as error:
                pytest.fail(f"{kind.__name__}({name}={shown(wrong)}): {type(error).__name__}: {error!r}")
            repr(made)
            assert type(raw) is bytes
            if isinstance(made, Structure):
                assert kind.decode(raw) == made
    for wrong in WRONG:
        if isinstance(wrong, bytes | bytearray | memoryview | np.ndarray | np.generic):
            continue
        with pytest.raises(TpmMisuseError):
            kind.decode(wrong) if issubclass(kind, Structure) else kind.decode_parameters(wrong)


_samples_once = functools.cache(_samples)
