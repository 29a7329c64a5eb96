# SPDX-License-Identifier: Apache-2.0
"""The parties of the demo's third stage: a gateway that knows what is good, a device that shows what it runs."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from prestocloud_sec.tpm import use
from prestocloud_sec.tpm.attest import ReferencePolicy
from prestocloud_sec.tpm.client import Object, PersistentObject
from prestocloud_sec.tpm.errors import TpmUnavailableError
from prestocloud_sec.tpm.eventlog import Digest, Event, EventLog, EventType, SpecIdEvent
from prestocloud_sec.tpm.eventlog.firmware import AlgorithmSize
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.protocol import Attester, Outcome, Task, Verifier
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPM_PT

if TYPE_CHECKING:
    from prestocloud_sec.tpm import Client
    from prestocloud_sec.tpm.public_keys import PublicKey
    from prestocloud_sec.tpm.spec import TPMT_PUBLIC
    from prestocloud_sec.tpm.use import EccKey, RsaKey

__all__ = ["GOOD", "SELECTION", "STRANGER", "Device", "Gateway"]

GOOD = ("boot: edge image 2.4.1", "start: sensor gateway 1.8", "configure: tenant 7, north field")
"""What the device runs."""
STRANGER = "start: /tmp/.x/miner"
"""What it should not run."""

PCR_NUMBER = 16
SELECTION = f"sha256:{PCR_NUMBER}"
_SHA256 = hash_of("sha256")


class Gateway:
    """Knows what devices should run, and whose TPMs are good."""

    def __init__(self) -> None:
        self.signing_key = ed25519.Ed25519PrivateKey.generate()
        self._maker_key = ec.generate_private_key(ec.SECP256R1())
        self.maker = self._certificate(
            _name("maker of the demo"), self._maker_key.public_key(), x509.BasicConstraints(ca=True, path_length=0)
        )
        allowed = {PCR_NUMBER: {_SHA256.digest(words.encode()): words for words in GOOD}}
        self.verifier = Verifier(
            [self.maker],
            self.signing_key,
            selection=SELECTION,
            policy=ReferencePolicy(TPM_ALG_ID.SHA256, measurements=allowed, required=allowed),
        )

    def certify(self, ek: TPMT_PUBLIC, manufacturer: int) -> x509.Certificate:
        """Return the certificate of an endorsement key, as the TCG's profile has it."""
        rows = {1: f"id:{manufacturer:08X}", 2: "demo", 3: "id:00000001"}
        model = x509.Name(
            [x509.NameAttribute(x509.ObjectIdentifier(f"2.23.133.2.{n}"), text) for n, text in rows.items()]
        )
        key = public_key_of(ek)
        purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier("2.23.133.8.1")])
        alternative = x509.SubjectAlternativeName([x509.DirectoryName(model)])
        return self._certificate(
            x509.Name([]), key, x509.BasicConstraints(ca=False, path_length=None), (alternative, purpose)
        )

    def _certificate(
        self,
        subject: x509.Name,
        key: PublicKey,
        constraints: x509.BasicConstraints,
        more: tuple[x509.ExtensionType, ...] = (),
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name("maker of the demo"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(constraints, critical=True)
            .add_extension(_usage(ca=constraints.ca), critical=True)
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=extension is more[0])
        return builder.sign(self._maker_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, ca: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    chosen = {"key_cert_sign"} if ca else {"key_agreement"}
    return x509.KeyUsage(**{name: name in chosen for name in names})


class Device:
    """The edge device: its TPM, an attestation key, and the log of what it runs.

    Parameters
    ----------
    client : Client
        The TPM.
    gateway : Gateway
        Who is to trust it. It also plays the maker, and certifies the endorsement key.
    """

    def __init__(self, client: Client, gateway: Gateway) -> None:
        self.client, self.gateway = client, gateway
        told = client.properties()
        self.words = f"{told.manufacturer} {' '.join(told.vendor.split())}, firmware 0x{told.firmware:016x}"
        self.storage = use.srk(client)
        self._ek: Object[object] | PersistentObject = use.ek(client, "ecc")  # type: ignore[assignment]
        self._ak: EccKey | RsaKey = use.create_ak(client, parent=self.storage)
        self._certificate = gateway.certify(self._ek.public, told.get(TPM_PT.MANUFACTURER, 0))
        self._events: list[Event] = []
        self.sizes: list[tuple[str, int]] = []

    # -- what it runs ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start anew: the PCR is reset, and everything is measured again."""
        self.client.pcr_reset(PCR_NUMBER)
        self._events = []
        for words in GOOD:
            self.measure(words)

    def measure(self, words: str) -> None:
        """Measure what is about to run: into the log, and into the PCR."""
        data = words.encode()
        digest = _SHA256.digest(data)
        self._events.append(Event(PCR_NUMBER, EventType.IPL, (Digest(_SHA256.id, digest),), data))
        use.extend_pcr(self.client, PCR_NUMBER, {"sha256": digest})

    def log(self) -> bytes:
        """Return the log, in the format of the firmware's."""
        banks = SpecIdEvent((AlgorithmSize(TPM_ALG_ID.SHA256, _SHA256.size),))
        first = Event(0, EventType.NO_ACTION, (Digest(TPM_ALG_ID.SHA1, bytes(20)),), banks.encode())
        return EventLog((first, *self._events)).encode()

    def pcr(self) -> bytes:
        """Return the value of the PCR."""
        return use.read_pcrs(self.client, SELECTION)[_SHA256.id][PCR_NUMBER]

    # -- attestation -----------------------------------------------------------------------------------------------

    def attest(self) -> Outcome:
        """Go through the four messages with the gateway."""
        verifier = self.gateway.verifier
        attester = Attester.endorsed(
            self._ak.public, self._ek.public, [self._certificate], self.gateway.signing_key.public_key()
        )
        enrol = attester.enrol()
        challenge = verifier.received(enrol, time.time()).message
        task = attester.received(challenge, time.time())
        if not isinstance(task, Task):
            return task  # the gateway does not know the TPM's maker
        evidence = self._evidence(attester, task)
        decision = verifier.received(evidence, time.time()).message
        messages = {"enrol": enrol, "challenge": challenge, "evidence": evidence, "decision": decision}
        self.sizes = [(name, len(message)) for name, message in messages.items()]
        outcome = attester.received(decision, time.time())
        if not isinstance(outcome, Outcome):
            raise TpmUnavailableError("a decision that is none", where="attestation")
        return outcome

    def _evidence(self, attester: Attester, task: Task) -> bytes:
        secret = use.activate(self.client, self._ak, self._ek, (task.id_object, task.encrypted_secret))
        quote = use.quote(self.client, self._ak, task.selection, task.qualifying_data)
        values = [value for pcrs in quote.pcrs.values() for value in pcrs.values()]
        return attester.evidence(
            quote.signature, secret=secret, attest=quote.attest, values=values, boot_log=self.log()
        )

    # -- secrets ---------------------------------------------------------------------------------------------------

    def seal(self, secret: bytes) -> use.WrappedObject:
        """Seal a secret to what the PCR is now: no other state opens it."""
        return use.seal(self.client, secret, pcrs=SELECTION, parent=self.storage)

    def unseal(self, sealed: use.WrappedObject) -> bytes:
        """Return a secret, if the PCR is what it was."""
        return use.unseal(self.client, sealed, parent=self.storage)

    def close(self) -> None:
        """Leave the TPM as it was."""
        self.client.pcr_reset(PCR_NUMBER)
        self._ak.close()
        for handle in (self._ek, self.storage):
            if isinstance(handle, Object):
                handle.close()
