# SPDX-License-Identifier: Apache-2.0
"""Sessions against libtpms: what the model of the TPM's side says is what a TPM does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from prestocloud_sec.tpm.errors import SessionStateError
from prestocloud_sec.tpm.policy import AuthValue as NeedsValue
from prestocloud_sec.tpm.policy import CommandCode, Policy
from prestocloud_sec.tpm.session import (
    PASSWORD,
    AuthValue,
    HmacSession,
    ParameterCipher,
    Session,
    SessionState,
    authorize,
)
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPM_CC,
    TPM_RH,
    TPMA_NV,
    TPMS_ATTEST,
    TPMS_NV_PUBLIC,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    Clear,
    Create,
    GetRandom,
    GetSessionAuditDigest,
    HierarchyChangeAuth,
    Load,
    NV_ChangeAuth,
    NV_DefineSpace,
    NV_Read,
    NV_UndefineSpaceSpecial,
    NV_Write,
    ObjectChangeAuth,
    PolicyAuthValue,
    PolicyCommandCode,
    PolicyGetDigest,
    PolicyPassword,
    StirRandom,
    Unseal,
)
from tests.tpm.live import NO_PCRS, SEAL, STORAGE_ECC, STORAGE_RSA, Live, RefusedError, available

pytestmark = available()

SECRET = b"what was sealed"
CIPHERS = [None, ParameterCipher("aes", 128), ParameterCipher("aes", 256), ParameterCipher("xor", 0x000B)]
NO_SCHEME = TPMT_SIG_SCHEME(TPM_ALG_ID.NULL, None)
BAD_AUTH = (0x98E, 0x9A2)


@pytest.fixture(scope="module")
def keep() -> Iterator[tuple[Live, int]]:
    """Make a TPM for tests that leave nothing behind: with a key for salts, and a sealed object."""
    live = Live()
    key = live.primary(STORAGE_ECC)
    live.salt_key = key, live.public(key)
    yield live, live.primary(SEAL, b"the value", data=SECRET)
    live.close()


@pytest.fixture
def live() -> Iterator[Live]:
    made = Live()
    yield made
    made.close()


@pytest.mark.parametrize("hash", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cipher", CIPHERS, ids=str)
def test_every_kind_of_hmac_session(keep: tuple[Live, int], hash: str, cipher: ParameterCipher | None) -> None:
    live, sealed = keep
    for salted, bind in itertools.product((False, True), (None, sealed, TPM_RH.OWNER)):
        session = live.hmac(hash=hash, cipher=cipher, salted=salted, bind=bind)
        for _ in range(2):
            assert live.execute(Unseal(sealed), [session]).outData == SECRET
        if cipher is not None:  # it authorizes nothing, and encrypts
            assert live.execute(Unseal(sealed), [PASSWORD, session]).outData == SECRET
            assert len(live.execute(GetRandom(16), [session]).randomBytes) == 16
        live.execute(Unseal(sealed), [session.use(continue_session=False)])
        assert session.state is SessionState.CLOSED


def test_a_salt_for_an_rsa_key(live: Live) -> None:
    key = live.primary(STORAGE_RSA)
    live.salt_key = key, live.public(key)
    session = live.hmac(salted=True, cipher=ParameterCipher())
    assert len(live.execute(GetRandom(16), [session]).randomBytes) == 16


def test_three_sessions(keep: tuple[Live, int]) -> None:
    live, _ = keep
    assert live.salt_key is not None
    template = TPMT_PUBLIC.decode(SEAL)
    create = Create(live.salt_key[0], TPMS_SENSITIVE_CREATE(b"value", SECRET), template, b"", NO_PCRS)  # type: ignore[arg-type]
    one, two = live.hmac(hash="sha1"), live.hmac(cipher=ParameterCipher("aes", 128), salted=True)
    three = live.hmac(hash="sha384", cipher=ParameterCipher("xor", 0x000B))
    for uses in (
        [one, two.use(encrypt=False), three],
        [one, two.use(decrypt=False), three],
        [two.use(encrypt=False), three, one.use(audit=True)],
        [three, one.use(audit=True)],
        [one.use(audit=True), two],
        [PASSWORD, two.use(decrypt=False), three.use(audit=True)],
        [one, two],
    ):
        made = live.execute(create, uses)
        assert made.outPublic.type == template.type
    # no handle is authorized: the nonces of the others are in no HMAC
    live.execute(StirRandom(b"x"), [one.use(audit=True), two])
    live.execute(GetRandom(8), [one.use(audit=True), three])
    for session in (one, two, three):
        live.flush(session)


def test_a_wrong_value_is_refused_and_the_session_lives_on(keep: tuple[Live, int]) -> None:
    live, sealed = keep
    right = live.value(sealed)
    for bind in (None, sealed):
        session = live.hmac(bind=bind, salted=True)
        live.values[sealed] = AuthValue(b"wrong")
        with pytest.raises(RefusedError) as caught:
            live.execute(Unseal(sealed), [session])
        assert caught.value.rc in BAD_AUTH
        live.values[sealed] = right
        assert live.execute(Unseal(sealed), [session]).outData == SECRET
        live.flush(session)


def test_the_first_audit_ends_the_binding(keep: tuple[Live, int]) -> None:
    live, sealed = keep
    session = live.hmac(bind=sealed)
    live.execute(Unseal(sealed), [session])
    live.execute(Unseal(sealed), [session.use(audit=True)])
    assert not session.is_bound
    live.execute(Unseal(sealed), [session])
    live.flush(session)


def test_the_audit_digest_is_the_tpms(keep: tuple[Live, int]) -> None:
    live, sealed = keep
    session = live.hmac(hash="sha384", cipher=ParameterCipher(), salted=True)
    other = live.hmac()
    live.execute(Unseal(sealed), [session.use(audit=True)])
    live.execute(GetRandom(8), [session.use(audit=True)])
    assert digest_of(live, session) == session.audit_digest
    live.execute(Unseal(sealed), [session.use(audit=True, audit_reset=True)])
    assert session.is_exclusive
    live.execute(Unseal(sealed), [session.use(audit=True, audit_exclusive=True)])
    assert session.is_exclusive
    live.execute(Unseal(sealed), [other])
    with pytest.raises(RefusedError) as caught:
        live.execute(Unseal(sealed), [session.use(audit=True, audit_exclusive=True)])
    assert caught.value.rc == 0x121
    live.execute(Unseal(sealed), [session.use(audit=True)])
    assert not session.is_exclusive
    assert digest_of(live, session) == session.audit_digest
    for each in (session, other):
        live.flush(each)


def digest_of(live: Live, session: HmacSession) -> bytes:
    handles = TPM_RH.ENDORSEMENT, TPM_RH.NULL, session.handle
    answer = live.execute(GetSessionAuditDigest(*handles, b"", NO_SCHEME))  # type: ignore[arg-type]
    digest: bytes = TPMS_ATTEST.decode(answer.auditInfo).attested.sessionDigest  # type: ignore[union-attr]
    return digest


def test_values_that_a_command_changes(live: Live) -> None:
    bound, free = live.hmac(bind=TPM_RH.OWNER), live.hmac(cipher=ParameterCipher())
    for session, value in ((free, b"first"), (bound, b"second\0\0"), (bound, b"third"), (free, b""), (bound, b"")):
        live.execute(HierarchyChangeAuth(TPM_RH.OWNER, value), [session])  # type: ignore[arg-type]
        live.values[TPM_RH.OWNER] = AuthValue(value)
        live.execute(HierarchyChangeAuth(TPM_RH.OWNER, value), [session])  # type: ignore[arg-type]
    live.execute(HierarchyChangeAuth(TPM_RH.LOCKOUT, b"locked"))  # type: ignore[arg-type]
    live.values[TPM_RH.LOCKOUT] = AuthValue(b"locked")
    live.execute(Clear(TPM_RH.LOCKOUT), [free])  # type: ignore[arg-type]
    live.values[TPM_RH.LOCKOUT] = AuthValue()
    live.execute(HierarchyChangeAuth(TPM_RH.PLATFORM, b"platform"), [free])  # type: ignore[arg-type]
    live.values[TPM_RH.PLATFORM] = AuthValue(b"platform")
    live.execute(Clear(TPM_RH.PLATFORM), [free])  # type: ignore[arg-type]


def test_an_object_keeps_its_value_where_its_copy_gets_another(keep: tuple[Live, int]) -> None:
    live, _ = keep
    assert live.salt_key is not None
    session = live.hmac(cipher=ParameterCipher(), salted=True)

    made = live.execute(
        Create(live.salt_key[0], TPMS_SENSITIVE_CREATE(b"old", SECRET), TPMT_PUBLIC.decode(SEAL), b"", NO_PCRS)  # type: ignore[arg-type]
    )
    handle = live.execute(Load(live.salt_key[0], made.outPrivate, made.outPublic)).objectHandle  # type: ignore[arg-type]
    live.loaded(handle, made.outPublic, b"old")
    live.execute(ObjectChangeAuth(handle, live.salt_key[0], b"new"), [session])  # type: ignore[arg-type]
    assert live.execute(Unseal(handle), [session]).outData == SECRET
    live.flush(handle)
    live.flush(session)


def test_an_nv_index_that_is_written_is_called_otherwise(live: Live) -> None:
    index = live.index(0x01500001, 8, b"nv value")
    session = live.hmac(bind=index, cipher=ParameterCipher())
    live.execute(NV_Write(index, index, b"12345678", 0), [session])  # type: ignore[arg-type]
    with pytest.raises(RefusedError):  # the Name is another now
        live.execute(NV_Read(index, index, 8, 0), [session])  # type: ignore[arg-type]
    live.index_public(index)
    assert live.execute(NV_Read(index, index, 8, 0), [session]).data == b"12345678"  # type: ignore[arg-type]


def test_a_policy_session_may_change_the_value_of_an_index(live: Live) -> None:

    policy = CommandCode(TPM_CC.NV_ChangeAuth) >> NeedsValue()
    index = live.index(0x01500002, 8, b"old", policy=policy.digest())
    for salted in (False, True):
        if salted:
            key = live.primary(STORAGE_ECC)
            live.salt_key = key, live.public(key)
        session = live.policy(salted=salted, cipher=ParameterCipher())
        for value in (b"new", b"", b"newer"):
            live.satisfy(policy, session)
            live.execute(NV_ChangeAuth(index, value), [session])  # type: ignore[arg-type]
            live.values[index] = AuthValue(value)


def test_an_index_that_is_gone_has_no_value(live: Live) -> None:

    policy = CommandCode(TPM_CC.NV_UndefineSpaceSpecial) >> NeedsValue()
    rights = TPMA_NV.AUTHREAD | TPMA_NV.PPWRITE | TPMA_NV.PLATFORMCREATE | TPMA_NV.POLICY_DELETE
    live.names[TPM_RH.OWNER] = live.name(TPM_RH.PLATFORM)

    public = TPMS_NV_PUBLIC(0x01500003, TPM_ALG_ID.SHA256, rights, policy.digest(), 8)  # type: ignore[arg-type]
    live.execute(NV_DefineSpace(TPM_RH.PLATFORM, b"value", public))  # type: ignore[arg-type]
    live.index_public(0x01500003)
    live.values[0x01500003] = AuthValue(b"value")
    session = live.policy()
    live.satisfy(policy, session)
    live.execute(NV_UndefineSpaceSpecial(0x01500003, TPM_RH.PLATFORM), [session, live.hmac()])  # type: ignore[arg-type]


@pytest.mark.parametrize("salted", [False, True])
def test_policy_sessions(live: Live, salted: bool) -> None:

    key = live.primary(STORAGE_ECC)
    live.salt_key = key, live.public(key)
    for auth in (b"value", b""):
        sealed = live.primary(SEAL, auth, data=SECRET, policy=Policy(NeedsValue()).digest())
        session = live.policy(salted=salted, cipher=ParameterCipher())
        for command, code in ((PolicyAuthValue, TPM_CC.PolicyAuthValue), (PolicyPassword, TPM_CC.PolicyPassword)):
            live.execute(command(session.handle), [])
            session.policy_command(code)
            assert live.execute(Unseal(sealed), [session]).outData == SECRET
            assert live.execute(PolicyGetDigest(session.handle), []).policyDigest == bytes(32)
        live.execute(PolicyAuthValue(session.handle), [])
        session.policy_command(TPM_CC.PolicyAuthValue)
        # a session that only encrypts forgets its policy too
        live.execute(GetRandom(8), [session])
        assert live.execute(PolicyGetDigest(session.handle), []).policyDigest == bytes(32)
        assert not session.needs_auth_value
        live.flush(session)
        live.flush(sealed)
    plain = live.primary(SEAL, b"not needed", data=SECRET, policy=Policy(CommandCode(TPM_CC.Unseal)).digest())
    session = live.policy(salted=salted)
    for _ in range(2):
        live.execute(PolicyCommandCode(session.handle, TPM_CC.Unseal), [])
        assert live.execute(Unseal(plain), [session]).outData == SECRET


def test_a_lost_answer_ends_the_session_here_and_a_flush_there(keep: tuple[Live, int]) -> None:
    live, sealed = keep

    session: Session = live.hmac()
    authorize(TPM_CC.Unseal, [live.name(sealed)], b"", [session], [live.value(sealed)]).lost()
    with pytest.raises(SessionStateError):
        live.execute(Unseal(sealed), [session])
    live.flush(session)
    assert session.state is SessionState.CLOSED
