# SPDX-License-Identifier: Apache-2.0
"""Policies against libtpms: digests are those of its trial sessions, and what they seal opens when they hold only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import PolicyError, TpmMisuseError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.policy import (
    NV,
    OR,
    PCR,
    Authorize,
    AuthorizeNV,
    AuthValue,
    Choose,
    CommandCode,
    CounterTimer,
    CpHash,
    DuplicationSelect,
    Locality,
    NameHash,
    NvWritten,
    Password,
    PhysicalPresence,
    Policy,
    Secret,
    Sign,
    Signed,
    Template,
    Ticket,
)
from prestocloud_sec.tpm.session import AuthValue as Value
from prestocloud_sec.tpm.session import PolicySession, SessionKind
from prestocloud_sec.tpm.signatures import signature_from_plain
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPM_CC,
    TPM_RH,
    TPM_ST,
    TPMS_SCHEME_HASH,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TPMT_TK_HASHCHECK,
    NV_Write,
    PCR_Event,
    PCR_Read,
    PolicyAuthValue,
    PolicyGetDigest,
    Unseal,
)
from prestocloud_sec.tpm.spec import Sign as SignCommand
from tests.tpm.live import SEAL, SIGN_RSA, Live, RefusedError, available

pytestmark = available()

SECRET = b"what was sealed"
PRIVATE = ec.derive_private_key(12345, ec.SECP256R1())
KEY = public_area_of(PRIVATE.public_key())
INDEX = 0x01500010


def sign(request: Sign) -> TPMT_SIGNATURE:
    return signature_from_plain(PRIVATE.sign(request.message, ec.ECDSA(hashes.SHA256())), "ecdsa", "sha256")


@pytest.fixture(autouse=True)
def tidy(live: Live) -> Iterator[None]:
    """Leave nothing loaded for the next test."""
    yield
    live.tidy()


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    made = Live()
    index = made.index(INDEX, 34, b"nv")
    made.execute(NV_Write(index, index, b"\0\x0b" + Policy(AuthValue()).digest(), 0))  # type: ignore[arg-type]
    made.index_public(index)
    yield made
    made.close()


def pcrs_of(live: Live, selection: str) -> dict[int, dict[int, bytes]]:
    """Return PCRs as the TPM has them now."""
    chosen = PcrSelection.of(selection)
    found: dict[int, dict[int, bytes]] = {}
    for bank, pcr in chosen:
        one = PcrSelection.of({bank: [pcr]})
        found.setdefault(bank, {})[pcr] = live.execute(PCR_Read(one.to_list())).pcrValues[0]
    return found


def trial_digest(live: Live, policy: Policy, hash: str = "sha256", **how: Any) -> bytes:
    session: PolicySession = live.session(SessionKind.TRIAL, hash)
    try:
        outcome = live.satisfy(policy, session, **how)
        digest: bytes = live.execute(PolicyGetDigest(session.handle)).policyDigest  # type: ignore[arg-type]
        assert digest == outcome.digest
    finally:
        live.flush(session)
    return digest


def samples(live: Live, hash: str) -> list[Policy]:
    """Return a policy of each kind that a trial session of libtpms executes."""
    row, index = hash_of(hash), live.index_public(INDEX)
    digest = row.digest(b"anything")
    name = name_of(KEY)
    return [
        Policy(PCR("sha256:0,7+sha1:16", values=pcrs_of(live, "sha256:0,7+sha1:16"))),
        Policy(AuthValue()),
        Policy(Password()),
        Policy(PhysicalPresence()),
        Policy(CommandCode(TPM_CC.Sign)),
        Policy(Locality.of(0, 3)),
        Policy(Locality(77)),
        Policy(NvWritten()),
        Policy(NvWritten(written=False)),
        Policy(Secret(TPM_RH.ENDORSEMENT)),  # type: ignore[arg-type]
        Policy(Secret(TPM_RH.OWNER, b"ref", -60, with_nonce=True)),  # type: ignore[arg-type]
        Policy(Signed(KEY)),
        Policy(Signed(KEY, b"ref", 5, digest, with_nonce=True)),
        Policy(NV(index, b"\0\x0b")),
        Policy(NV(index, b"\x0b", "uge", 1)),
        Policy(CounterTimer.of("clock", ">=", 0)),
        Policy(CounterTimer.of("resets", "<", 99)),
        Policy(CpHash(digest)),
        Policy(NameHash(digest)),
        Policy(Template(digest)),
        Policy(DuplicationSelect(name)),
        Policy(DuplicationSelect(name, name, include_object=True)),
        Policy(OR(AuthValue(), Policy(Locality(1), Password()), digest)),
        Policy(NvWritten(), OR(CommandCode(TPM_CC.Sign), CommandCode(TPM_CC.Unseal)), Locality(1)),
        Policy(Authorize(KEY, b"ref", Policy(AuthValue()))),
        Policy(Locality(1), Authorize(KEY, approved=Policy(OR(CommandCode(TPM_CC.Sign), CommandCode(TPM_CC.Unseal))))),
    ]


@pytest.mark.parametrize("hash", ["sha1", "sha256", "sha384", "sha512"])
def test_trial_sessions_come_to_the_digests(live: Live, hash: str) -> None:
    for policy in samples(live, hash):
        found = trial_digest(live, policy, hash, sign=sign, choices=itertools.repeat(0))
        assert found == policy.digest(hash), policy
    assert len(live.loaded_objects) == 0


def test_a_policy_in_an_index(live: Live) -> None:
    policy = Policy(AuthorizeNV(live.index_public(INDEX), Policy(AuthValue())))
    assert trial_digest(live, policy) == policy.digest()


@st.composite
def combined(draw: st.DrawFn, rows: list[Policy], depth: int = 2) -> Policy:
    """Return a policy of some of `rows`, one after the other and in branches."""
    policy = Policy(*draw(st.lists(st.sampled_from(rows), max_size=3)))
    if depth and draw(st.booleans()):
        branches = draw(st.lists(combined(rows, depth - 1), min_size=2, max_size=4))
        policy >>= OR(*branches)
    return policy >> draw(st.sampled_from(rows))


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_whatever_a_trial_session_takes_comes_to_the_digest(live: Live, data: st.DataObject) -> None:
    policy = data.draw(combined(samples(live, "sha256")))
    session: PolicySession = live.session(SessionKind.TRIAL)
    try:
        outcome = live.satisfy(policy, session, sign=sign, choose=lambda request: 0)
        digest = live.execute(PolicyGetDigest(session.handle)).policyDigest  # type: ignore[arg-type]
    except RefusedError:  # two commands, two digests of parameters, no locality in common
        reject()
    finally:
        live.flush(session)
    assert digest == outcome.digest == policy.digest()
    assert not live.loaded_objects


# --- policies that hold


def sealed_to(live: Live, policy: Policy, auth: bytes = b"value") -> int:
    return live.primary(SEAL, auth, data=SECRET, policy=policy.digest())


def opens(live: Live, policy: Policy, sealed: int, **how: Any) -> bool:
    """Say whether a policy opens what is sealed."""
    session = live.policy()
    try:
        live.satisfy(policy, session, **how)
        opened: bytes = live.execute(Unseal(sealed), [session]).outData  # type: ignore[arg-type]
    except RefusedError:
        return False
    finally:
        live.flush(session)
    assert opened == SECRET
    return True


def test_what_each_step_opens(live: Live) -> None:
    index = live.index_public(INDEX)
    for policy in (
        Policy(PCR("sha256:16", values=pcrs_of(live, "sha256:16"))),
        Policy(AuthValue()),
        Policy(Password()),
        Policy(CommandCode(TPM_CC.Unseal)),
        Policy(Locality.of(0)),
        Policy(Secret(TPM_RH.OWNER)),  # type: ignore[arg-type]
        Policy(Secret(name_of(index), b"ref", 100, with_nonce=True)),
        Policy(Signed(KEY)),
        Policy(Signed(KEY, b"ref", 100, with_nonce=True)),
        Policy(NV(index, b"\0\x0b"), CounterTimer.of("clock", ">=", 0)),
        Policy(AuthorizeNV(index, Policy(AuthValue()))),
        Policy(Authorize(KEY, b"ref", Policy(AuthValue()))),
        Policy(CommandCode(TPM_CC.Unseal), OR(AuthValue(), Locality(2))),
    ):
        sealed = sealed_to(live, policy)
        assert opens(live, policy, sealed, sign=sign, choices=[0]), policy
        live.values[sealed] = Value(b"wrong")
        needs_value = any(word in str(policy) for word in ("AuthValue", "Password"))
        assert opens(live, policy, sealed, sign=sign, choices=[0]) != needs_value, policy
        live.flush(sealed)
        assert not live.loaded_objects


def test_cp_hash_and_name_hash(live: Live) -> None:
    """Policies of what they protect: its Name is known only when it is made, so a key approves them afterwards."""
    base = Authorize(KEY)
    sealed = sealed_to(live, Policy(base))
    name = live.name(sealed)
    for step in (CpHash.of("sha256", TPM_CC.Unseal, [name], b""), NameHash.of("sha256", [name])):
        assert opens(live, Policy(Authorize(KEY, approved=Policy(step))), sealed, sign=sign)
    other = NameHash.of("sha256", [name_of(KEY)])
    assert not opens(live, Policy(Authorize(KEY, approved=Policy(other))), sealed, sign=sign)
    live.flush(sealed)


def test_branches(live: Live) -> None:
    policy = Policy(
        CommandCode(TPM_CC.Unseal),
        OR(
            Policy(AuthValue(), label="owner"),
            Policy(Secret(TPM_RH.ENDORSEMENT), label="recovery"),  # type: ignore[arg-type]
            Policy(Locality(2), label="elsewhere"),
            bytes(32),
        ),
    )
    sealed = sealed_to(live, policy)
    asked: list[Choose] = []
    for choice, holds in ((0, True), ("owner", True), (1, True), ("recovery", True), ("elsewhere", False), (2, False)):

        def choose(request: Choose, choice: Any = choice) -> Any:
            asked.append(request)
            return choice

        assert opens(live, policy, sealed, choose=choose) is holds
        assert opens(live, policy, sealed, choices=[choice]) is holds
    assert len(asked) == 6
    for wrong in (3, 4, -1, "nobody", None):
        session = live.policy()
        with pytest.raises(PolicyError):
            live.satisfy(policy, session, choose=lambda request: wrong)  # noqa: B023
        live.flush(session)
    session = live.policy()
    assert live.satisfy(policy, session, choices=["recovery"]).path == (1,)
    live.flush(session)
    live.flush(sealed)


def test_a_branch_that_is_known_by_its_digest_alone(live: Live) -> None:
    """What was executed before can be the branch itself; and where one branch is known, nobody is asked."""
    before = Policy(AuthValue())
    policy = before >> OR(before.digest(), b"\1" * 32)
    sealed = sealed_to(live, policy)
    assert opens(live, policy, sealed)
    assert opens(live, Policy(OR(before, b"\1" * 32)), sealed)
    session = live.policy()
    with pytest.raises(PolicyError, match="digest"):
        live.satisfy(Policy(OR(b"\1" * 32, b"\2" * 32)), session)
    live.flush(session)
    live.flush(sealed)


def test_pcrs_that_change(live: Live) -> None:
    policy = Policy(PCR("sha256:10", values=pcrs_of(live, "sha256:10")), AuthValue())
    sealed = sealed_to(live, policy)
    assert opens(live, policy, sealed)
    session = live.policy()
    live.satisfy(policy, session)
    live.execute(PCR_Event(10, b"an event"))  # type: ignore[arg-type]
    with pytest.raises(RefusedError) as caught:
        live.execute(Unseal(sealed), [session])  # type: ignore[arg-type]
    assert caught.value.rc == 0x128
    live.flush(session)
    assert not opens(live, policy, sealed)
    live.flush(sealed)


def test_tickets_stand_for_their_steps(live: Live) -> None:
    for step in (
        Secret(TPM_RH.OWNER, b"ref", -1000),  # type: ignore[arg-type]
        Signed(KEY, b"ref", -1000, with_nonce=True),
        Signed(KEY, b"", -1000),
    ):
        policy = Policy(step)
        sealed = sealed_to(live, policy)
        session = live.policy()
        outcome = live.satisfy(policy, session, sign=sign)
        live.flush(session)
        (ticket,) = outcome.tickets
        assert not ticket.is_null
        instead = Policy(ticket)
        assert instead.digest() == policy.digest()
        assert opens(live, instead, sealed)
        forged = Ticket(ticket.entity, ticket.ticket.replace(digest=bytes(32)), ticket.timeout, ticket.policy_ref)
        assert not opens(live, Policy(forged), sealed)
        live.flush(sealed)
    session = live.policy()
    assert live.satisfy(Policy(Secret(TPM_RH.OWNER)), session).tickets == ()  # type: ignore[arg-type]
    live.flush(session)


def test_signatures_that_are_kept(live: Live) -> None:
    """A signature without limits is a part of the policy, and checked without a TPM."""
    step = Signed(KEY, b"ref")
    kept = Signed(KEY, b"ref", signature=sign(Sign(step, step.to_sign())))
    kept.check()
    policy = Policy(kept)
    sealed = sealed_to(live, policy)
    assert opens(live, policy, sealed)
    assert not opens(live, Policy(Signed(KEY, b"fer", signature=kept.signature)), sealed)
    assert not live.loaded_objects[1:]
    approved = Policy(CommandCode(TPM_CC.Unseal))
    to_sign = Authorize(KEY).to_sign(approved.digest())
    authorize = Authorize(KEY, approved=approved, signature=sign(Sign(step, to_sign)))
    authorize.check(approved.digest())
    live.flush(sealed)
    sealed = sealed_to(live, Policy(authorize))
    assert opens(live, Policy(authorize), sealed)
    live.flush(sealed)


def test_a_key_in_the_tpm_is_found_by_its_name(live: Live) -> None:
    handle = live.primary(SIGN_RSA)
    public = live.public(handle)
    policy = Policy(Signed(name_of(public)), Secret(name_of(public)))

    def by_tpm(request: Sign) -> TPMT_SIGNATURE:
        scheme = TPMT_SIG_SCHEME(TPM_ALG_ID.RSASSA, TPMS_SCHEME_HASH(TPM_ALG_ID.SHA256))
        ticket = TPMT_TK_HASHCHECK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")
        digest = hash_of("sha256").digest(request.message)
        signature: TPMT_SIGNATURE = live.execute(SignCommand(handle, digest, scheme, ticket)).signature  # type: ignore[arg-type]
        return signature

    sealed = sealed_to(live, policy)
    assert opens(live, policy, sealed, sign=by_tpm)
    live.flush(sealed)
    live.flush(handle)


# --- the course of a policy, without a TPM


def test_answers_that_are_none(live: Live) -> None:
    session = live.policy()

    def course(policy: Policy, *answers: Any) -> None:
        run = policy.run(session)
        next(run)
        for answer in answers:
            run.send(answer)

    for policy, answer in (
        (Policy(AuthValue()), None),
        (Policy(AuthValue()), PolicyAuthValue(session.handle)),  # type: ignore[arg-type]
        (Policy(Secret(name_of(KEY))), "handle"),
        (Policy(Secret(name_of(KEY))), -1),
        (Policy(OR(AuthValue(), Password())), 1.5),
        (Policy(OR(AuthValue(), Password())), object()),
    ):
        with pytest.raises(PolicyError):
            course(policy, answer)
    with pytest.raises(TpmMisuseError):
        course(Policy(Signed(KEY)), None)
    for wrong in (None, live.hmac(), session.handle):
        with pytest.raises(TpmMisuseError):
            next(Policy(AuthValue()).run(wrong))  # type: ignore[arg-type]
    assert not session.needs_auth_value


def test_the_key_does_not_stay_behind_when_something_goes_wrong(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = ec.derive_private_key(99, ec.SECP256R1())
    commands: list[str] = []
    execute = live.execute

    def forged(request: Sign) -> TPMT_SIGNATURE:
        made = wrong.sign(request.message, ec.ECDSA(hashes.SHA256()))
        return signature_from_plain(made, "ecdsa", "sha256")

    def recorded(command: Any, sessions: Any = None) -> Any:
        commands.append(type(command).__name__)
        return execute(command, sessions)

    session = live.policy()
    monkeypatch.setattr(live, "execute", recorded)
    with pytest.raises(RefusedError):
        live.satisfy(Policy(Signed(KEY)), session, sign=forged)
    assert commands == ["LoadExternal", "PolicySigned", "FlushContext"]
    monkeypatch.undo()
    assert not live.loaded_objects
