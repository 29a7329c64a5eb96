# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of the messages of the attestation protocol, and a run of it with pretended TPMs.

>>> from hypothesis import find
>>> find(messages(), lambda message: message.TYPE == 2).selection
b''
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_device import Authority, PretendAk, make_credential
from prestocloud_sec.tpm.attest import Clause, ClauseState, Verdict
from prestocloud_sec.tpm.errors import ExchangeError
from prestocloud_sec.tpm.protocol import (
    Attester,
    Challenge,
    Decision,
    Enrol,
    Evidence,
    Outcome,
    PseudonymIssuer,
    RelyingParty,
    Step,
    Task,
    Verifier,
    WantedLogs,
)
from prestocloud_sec.tpm.protocol.messages import EnrolKind
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC

__all__ = ["Run", "World", "messages"]

Message = Enrol | Challenge | Evidence | Decision


def _exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


_U64 = st.integers(0, (1 << 64) - 1)
_CERTIFICATES = st.lists(st.binary(max_size=40), max_size=3).map(tuple)
_WORDS = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def _enrols(draw: st.DrawFn) -> Enrol:
    certificates = draw(_CERTIFICATES.filter(bool))
    if draw(st.booleans()):
        return Enrol(EnrolKind.PSEUDONYM, draw(_exactly(32)), b"", b"", certificates)
    ak, ek = (draw(st.binary(min_size=1, max_size=60)) for _ in range(2))
    return Enrol(EnrolKind.ENDORSED, draw(_exactly(32)), ak, ek, certificates)


@st.composite
def _challenges(draw: st.DrawFn) -> Challenge:
    head = draw(_exactly(16)), draw(_exactly(32)), draw(_U64)
    selection = draw(st.binary(max_size=20))
    logs = WantedLogs(draw(st.integers(0, 3)) if selection else 0)
    credential = [draw(st.binary(min_size=1, max_size=40)) for _ in range(2)] if draw(st.booleans()) else [b"", b""]
    return Challenge(*head, selection, logs, *credential)


@st.composite
def _evidences(draw: st.DrawFn) -> Evidence:
    values = tuple(draw(st.lists(st.binary(max_size=64), max_size=4)))
    attest, signature, boot, kernel = (draw(st.binary(max_size=60)) for _ in range(4))
    return Evidence(draw(_exactly(16)), draw(st.binary(max_size=32)), attest, signature, values, boot, kernel)


@st.composite
def _decisions(draw: st.DrawFn) -> Decision:
    names = draw(st.lists(st.text("abc ", max_size=5), max_size=4, unique=True))
    clauses = tuple(Clause(name, draw(st.sampled_from(ClauseState)), draw(_WORDS)) for name in names)
    verdict = Verdict("x", clauses)
    is_accepted = bool(clauses) and not verdict.failed and draw(st.booleans())
    times = {"issued": draw(_U64), "expires": draw(_U64)}
    exchange, certificates = draw(_exactly(16)), draw(_CERTIFICATES)
    made = Decision.of(exchange, verdict, is_accepted=is_accepted, certificates=certificates, **times)
    return Decision(
        made.exchange,
        made.is_accepted,
        made.clauses,
        draw(_WORDS),
        made.issued,
        made.expires,
        certificates,
        draw(_exactly(64)),
    )


def messages() -> st.SearchStrategy[Message]:
    """Return a strategy of messages of all four types; what is in them need not make sense."""
    return st.one_of(_enrols(), _challenges(), _evidences(), _decisions())


@dataclass
class Run:
    """What happened in one exchange.

    Attributes
    ----------
    messages : list of bytes
        All that was said, in order.
    step : Step
        What the challenger found.
    outcome : Outcome
        What the attester was told.
    """

    messages: list[bytes]
    step: Step
    outcome: Outcome


@dataclass
class World:
    """A maker of TPMs, a verifier with an issuer of pseudonyms, and a relying party.

    Attributes
    ----------
    options : dict
        What the verifier is made with, besides.
    """

    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = Authority("maker of TPMs")
        self.maker = Authority("factory", self.root)
        self.privacy = Authority("privacy", key=ed25519.Ed25519PrivateKey.generate())
        self.key, self.other_key = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
        self.now = self.root.now.timestamp() + 3600.0
        self.issuer = PseudonymIssuer(self.privacy.certificate, self.privacy.key)
        self.verifier = self.new_verifier(**self.options)
        self.relying_party = RelyingParty([self.privacy.certificate], self.other_key)

    def new_verifier(self, **options: object) -> Verifier:
        """Return a verifier of this world."""

        def credential(ek: TPMT_PUBLIC, name: bytes, secret: bytes) -> tuple[bytes, bytes]:
            return make_credential(public_key_of(ek), name, secret)  # type: ignore[arg-type]

        merged = {"issuer": self.issuer, **options}
        return Verifier([self.root.certificate], self.key, credential, **merged)  # type: ignore[arg-type]

    def attester(self, ak: PretendAk, **certificate_changes: object) -> Attester:
        """Return the device's side of an exchange with the verifier."""
        certificate = self.maker.certify_ek(ak.tpm.ek_private.public_key(), **certificate_changes)
        chain = [certificate, self.maker.certificate]
        return Attester.endorsed(ak.public, ak.tpm.ek_public, chain, self.key.public_key())

    @staticmethod
    def answer(attester: Attester, task: Task, ak: PretendAk, boot_log: bytes = b"", kernel_log: bytes = b"") -> bytes:
        """Return the evidence that a device gives for a task."""
        if task.to_sign:
            return attester.evidence(ak.sign_ticketed(task.to_sign))
        secret = ak.tpm.activate(ak, task.id_object, task.encrypted_secret)
        attest, signature = ak.quote(task.selection.encode(), task.qualifying_data)
        values = [ak.tpm.pcrs.read(pcr, bank) for bank, pcr in task.selection]
        return attester.evidence(
            signature, secret=secret, attest=attest, values=values, boot_log=boot_log, kernel_log=kernel_log
        )

    def run(
        self,
        challenger: Verifier | RelyingParty,
        attester: Attester,
        ak: PretendAk,
        boot_log: bytes = b"",
        kernel_log: bytes = b"",
    ) -> Run:
        """Carry out a whole exchange."""
        said = [attester.enrol()]
        step = challenger.received(said[-1], self.now)
        said.append(step.message)
        found = attester.received(step.message, self.now)
        if isinstance(found, Task):
            said.append(self.answer(attester, found, ak, boot_log, kernel_log))
            step = challenger.received(said[-1], self.now)
            said.append(step.message)
            found = attester.received(step.message, self.now)
        if not isinstance(found, Outcome):
            raise ExchangeError("a task in place of a decision", where="challenger")
        return Run(said, step, found)

    def enrol(self, ak: PretendAk, boot_log: bytes = b"", kernel_log: bytes = b"") -> Run:
        """Have the verifier judge a device."""
        return self.run(self.verifier, self.attester(ak), ak, boot_log, kernel_log)

    def rely(self, ak: PretendAk, certificates: tuple[bytes, ...]) -> Run:
        """Have the relying party judge a pseudonym."""
        attester = Attester.pseudonymous(certificates, self.other_key.public_key())
        return self.run(self.relying_party, attester, ak)
