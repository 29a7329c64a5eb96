# SPDX-License-Identifier: Apache-2.0
"""Sessions: what the client chooses, what the caller says, and that every response is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from prestocloud_sec.errors import MisuseError, PrestoCloudError
from prestocloud_sec.tpm import Client, Protection
from prestocloud_sec.tpm.client.calls import Call, Passwords, SingleCall
from prestocloud_sec.tpm.client.entities import Entity
from prestocloud_sec.tpm.client.plan import plan_of
from prestocloud_sec.tpm.codec.frame import CommandFrame
from prestocloud_sec.tpm.errors import (
    AuthFailError,
    BadAuthError,
    PolicyFailError,
    ResponseHmacError,
    SessionStateError,
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
    TpmResponseError,
    TransportError,
)
from prestocloud_sec.tpm.session import (
    PASSWORD,
    AuthValue,
    HmacSession,
    ParameterCipher,
    PolicySession,
    SessionState,
    authorize,
)
from prestocloud_sec.tpm.spec.commands import GetRandom, NV_Write, PCR_Extend
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_CC, TPM_RH
from tests.tpm.client.exercises import DATA, child, define, policy, primary
from tests.tpm.client.fakes import Listening
from tests.tpm.client.objects import NO_SCHEME, NO_TICKET, Template, digests, secret

CIPHERS = [None, ParameterCipher("aes", 128), ParameterCipher("aes", 256), ParameterCipher("xor", TPM_ALG_ID.SHA256)]


# --- the short forms are the long one


def numbered() -> Callable[[int], bytes]:
    """Return a source of nonces that is the same each time."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha512(bytes((count,))).digest()[:size]

    return draw


def hmac_session(**more: Any) -> HmacSession:
    return HmacSession(0x02000000, hash="sha256", nonce_tpm=b"n" * 32, session_key=b"k" * 32, random=numbered(), **more)


def policy_session(code: int | None) -> PolicySession:
    made = PolicySession(0x03000000, hash="sha256", nonce_tpm=b"n" * 32, session_key=b"", random=numbered())
    if code is not None:
        made.policy_command(code)
    return made


COMMAND = PCR_Extend(16, digests(b"x"))
PARAMETERS = COMMAND.encode_parameters()


def entity(auth: bytes = b"") -> Entity:
    made = Entity(16)
    made.auth = AuthValue(auth)
    return made


def long_form(session: Any, auth: bytes) -> tuple[Any, bytes]:
    exchange = authorize(COMMAND.code, [b"\0\0\0\x10"], PARAMETERS, [session], [auth])
    frame = CommandFrame.decode(Call(plan_of(COMMAND), COMMAND, (entity(),), (), exchange).frame, handles=1)
    return exchange, frame.encode()


MAKERS = {
    "hmac": hmac_session,
    "hmac that could encrypt": lambda: hmac_session(cipher=ParameterCipher("aes", 128)),
    "policy": lambda: policy_session(None),
    "policy, authValue": lambda: policy_session(TPM_CC.PolicyAuthValue),
    "policy, password": lambda: policy_session(TPM_CC.PolicyPassword),
}


@pytest.mark.parametrize("auth", [b"", b"a value"])
@pytest.mark.parametrize("kind", list(MAKERS))
def test_one_session_is_written_as_authorize_does(kind: str, auth: bytes) -> None:
    _, expected = long_form(MAKERS[kind](), auth)
    assert SingleCall(plan_of(COMMAND), COMMAND, entity(auth), MAKERS[kind]()).frame == expected


@pytest.mark.parametrize("count", [1, 2])
def test_passwords_are_written_as_authorize_does(count: int) -> None:
    entities = (entity(b"one"), entity(b""))[:count]
    exchange = authorize(0x158, [b"\0\0\0\x10"] * count, b"p", [PASSWORD] * count, [e.auth for e in entities])
    short = Passwords(b"p", entities)
    assert (short.authorizations, short.parameters) == (exchange.authorizations, exchange.parameters)
    assert short.accept(b"r", b"\0\0\1\0\0" * count) == exchange.accept(b"r", b"\0\0\1\0\0" * count)
    with pytest.raises(TpmFormatError):
        short.accept(b"r", b"\0\0\1\0\0" * (count + 1))


# --- every response is checked


def test_a_changed_bit_of_a_response_is_found_out(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    command = GetRandom(8)
    session = client.start_session()
    client.execute(command, [session.use(audit=True)])
    size = len(between.passed[-1][1])
    for bit in range(8 * size):
        between.after = lambda response, bit=bit: flipped(response, bit)
        with pytest.raises(PrestoCloudError) as refused:
            client.execute(command, [session.use(audit=True)])
        assert isinstance(refused.value, TpmInputError | TransportError | TpmResponseError), bit
        assert not isinstance(refused.value, TpmResponseError) or bit // 8 in range(6, 10), bit
        between.after = bytes
        assert session.session.state in (SessionState.LOST, SessionState.READY)
        session.close()
        session = client.start_session()
    client.execute(command, [session.use(audit=True)])


@pytest.mark.parametrize("kind", ["single", "general", "password"])
def test_a_changed_bit_is_found_out_in_every_form(listening: tuple[Client, Listening], kind: str) -> None:
    client, between = listening
    sessions: Callable[[Any], Any] = {
        "single": lambda session: [session],
        "general": lambda session: [session.use(audit=True)],
        "password": lambda _: None,
    }[kind]
    session = client.start_session()
    client.execute(COMMAND, sessions(session))
    size = len(between.passed[-1][1])
    for bit in range(8 * size):
        between.after = lambda response, bit=bit: flipped(response, bit)
        with pytest.raises((TpmInputError, TransportError, TpmResponseError)):
            client.execute(COMMAND, sessions(session))
        between.after = bytes
        if kind != "password":
            session.close()
            session = client.start_session()
    client.execute(COMMAND, sessions(session))


def flipped(response: bytes, bit: int) -> bytes:
    changed = bytearray(response)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("audit", [False, True])
def test_a_response_that_was_cut_or_lengthened_is_found_out(
    listening: tuple[Client, Listening], *, audit: bool
) -> None:
    client, between = listening

    def resized(response: bytes, size: int) -> bytes:
        made = (response + bytes(8))[:size]
        return made[:2] + len(made).to_bytes(4, "big") + made[6:]

    session = client.start_session()
    client.execute(COMMAND, [session.use(audit=audit)])
    size = len(between.passed[-1][1])
    for length in [*range(10, size), size + 1, size + 5]:
        between.after = lambda response, length=length: resized(response, length)
        with pytest.raises(TpmInputError):
            client.execute(COMMAND, [session.use(audit=audit)])
        between.after = bytes
        session.close()
        session = client.start_session()


def test_a_response_without_sessions_does_not_escape_the_check(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    session = client.start_session()
    between.after = lambda _: bytes.fromhex("8001 0000000a 00000000")
    with pytest.raises(TpmFormatError, match="as the command had sessions"):
        client.execute(COMMAND, [session])
    between.after = lambda _: bytes.fromhex("8001 0000000a 00000000")
    with pytest.raises(TpmFormatError, match="as the command had sessions"):
        client.execute(COMMAND)


def test_an_old_response_is_found_out(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    with client.start_session() as session:
        client.execute(COMMAND, [session])
        old = between.passed[-1][1]
        between.after = lambda _: old
        with pytest.raises(ResponseHmacError):
            client.execute(COMMAND, [session])
        between.after = bytes


def test_a_forged_refusal_leaves_the_session_as_it_was(listening: tuple[Client, Listening]) -> None:
    """Error codes have no HMAC; the next command tells."""
    client, between = listening
    with client.start_session() as session:
        between.before = lambda command: command[:-1] + bytes((command[-1] ^ 1,))
        with pytest.raises((AuthFailError, BadAuthError)):
            client.execute(COMMAND, [session])
        between.before = bytes
        client.execute(COMMAND, [session])


# --- what the caller says


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("salted", ["", "ecc", "rsa"])
@pytest.mark.parametrize("hash", ["sha1", "sha256", "sha384", "sha512"])
def test_every_kind_of_session(
    client: Client, template: Template, cipher: ParameterCipher | None, hash: str, salted: str, *, bound: bool
) -> None:
    key = primary(client, template.storage if salted == "ecc" else template.endorsing) if salted else None
    with (
        primary(client, template.sealed, auth=b"value", data=DATA) as sealed,
        client.start_session(hash=hash, cipher=cipher, salt_key=key, bind=sealed if bound else None) as session,
    ):
        for _ in range(2):
            assert client.unseal(sealed, sessions=[session]) == DATA
        assert len(client.get_random(8, sessions=[session.use(audit=True)])) == 8
    if key is not None:
        key.close()


def test_three_sessions_at_once(client: Client, template: Template) -> None:
    """One authorizes, one encrypts, one audits."""
    with (
        primary(client, template.storage, auth=b"parent") as parent,
        client.start_session() as one,
        client.start_session() as three,
        client.start_session(cipher=ParameterCipher()) as two,
    ):
        sessions = [one, two, three.use(audit=True)]
        made = client.create(parent, secret(b"auth", DATA), template.sealed, b"", (), sessions=sessions)
        assert three.session.audit_digest is not None
        with client.load(parent, made.outPrivate, made.outPublic, sessions=sessions) as sealed:
            sealed.set_auth(b"auth")
            assert client.unseal(sealed, sessions=sessions) == DATA


def test_handles_that_no_session_is_left_for_get_passwords(client: Client, template: Template) -> None:
    with (
        primary(client, template.attesting, auth=b"ak") as ak,
        primary(client, template.signing, auth=b"key") as key,
        client.start_session() as session,
    ):
        assert client.certify(key, ak, b"nonce", NO_SCHEME, sessions=[session]).certifyInfo
        assert client.certify(key, ak, b"nonce", NO_SCHEME, sessions=[PASSWORD, session]).certifyInfo
        assert client.certify(key, ak, b"nonce", NO_SCHEME, sessions=[]).certifyInfo


def test_a_session_can_end_with_a_command(client: Client) -> None:
    session = client.start_session()
    client.execute(COMMAND, [session.use(continue_session=False)])
    assert session.closed
    assert session.session.state is SessionState.CLOSED
    assert int(session) not in client.capability(TPM_CAP.HANDLES, 0x02000000)
    session.close()
    with pytest.raises(SessionStateError):
        client.execute(COMMAND, [session])


def test_a_policy_session_without_a_policy_is_refused(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key, policy(client) as session:
        with pytest.raises(PolicyFailError) as refused:
            client.sign(key, bytes(32), NO_SCHEME, NO_TICKET, sessions=[session])
        assert refused.value.command == "Sign"
        assert refused.value.session == 1


def test_a_session_of_ones_own(client: Client) -> None:
    """A session machine is taken where a handle object is; what the client does not know, it does not move."""
    with client.start_session() as session:
        client.execute(COMMAND, [session.session])
        client.execute(COMMAND, (session.session.use(),))


@pytest.mark.parametrize(
    "sessions",
    [5, "session", [5], [None], [b""], {1: 2}, object(), [PASSWORD] * 4, iter([PASSWORD, 3]), [PASSWORD, PASSWORD]],
    ids=repr,
)
def test_what_are_no_sessions_is_refused(client: Client, sessions: Any) -> None:
    with pytest.raises(MisuseError):
        client.execute(COMMAND, sessions)
    client.execute(COMMAND)


def test_commands_that_take_none_refuse_sessions(client: Client) -> None:
    with client.start_session() as session, pytest.raises(TpmMisuseError, match="takes no sessions"):
        client.context_save(session, sessions=[session])


def test_sessions_may_be_any_iterable(client: Client) -> None:
    with client.start_session() as session:
        client.execute(COMMAND, iter([session]))  # type: ignore[arg-type]
        client.execute(COMMAND, (session,))


def test_a_session_whose_salt_is_not_known(client: Client, template: Template) -> None:
    from prestocloud_sec.tpm.salt import make_salt
    from prestocloud_sec.tpm.spec.constants import TPM_SE
    from tests.tpm.client.objects import NO_SESSION_CIPHER

    with primary(client, template.storage) as key:
        salt = make_salt(key.public)
        with (
            client.start_auth_session(
                key, TPM_RH.NULL, bytes(16), salt.encrypted, TPM_SE.HMAC, NO_SESSION_CIPHER, TPM_ALG_ID.SHA256
            ) as session,
            pytest.raises(TpmMisuseError, match="salt"),
        ):
            client.execute(COMMAND, [session])


# --- what the client notes


def test_the_name_of_an_index_changes_with_its_first_write(client: Client, template: Template) -> None:
    number = define(client, template)
    index = client.nv_index(number)
    before = index.name
    with client.start_session() as session:
        client.nv_write(index, index, DATA[:16], 0, sessions=[session])
        assert index.name != before
        assert index.name == b"\0\x0b" + hashlib.sha256(index.public.encode()).digest()
        client.nv_write(index, index, DATA[:16], 0, sessions=[session])  # authorized under the new Name
        client.nv_read(index, index, 16, 0, sessions=[session])
    assert client.nv_read_public(index).nvName == index.name
    client.nv_undefine_space(client.owner, index)
    assert index.closed


def test_a_name_that_somebody_else_changed_is_learnt_after_a_refusal(
    uri: str, client: Client, template: Template
) -> None:
    number = define(client, template)
    index = client.nv_index(number)
    client.raw(CommandFrame.decode(client_frame(client, NV_Write(number, number, DATA[:16], 0))).encode())
    assert not index.public.attributes & index.public.attributes.WRITTEN
    with client.start_session() as session:
        with pytest.raises((AuthFailError, BadAuthError)):
            client.nv_read(index, index, 16, 0, sessions=[session])
        assert client.nv_read(index, index, 16, 0, sessions=[session]) == DATA[:16]
    client.nv_undefine_space(client.owner, index)


def client_frame(client: Client, command: Any) -> bytes:
    call = client.core.begin(command)
    assert call is not None
    return call.frame


def test_auth_values_are_followed(client: Client, template: Template) -> None:
    """A value that a command changes is the new one from then on, in the very response too."""
    with (
        primary(client, template.storage) as parent,
        child(client, parent, template.sealed, b"old", DATA) as sealed,
        client.start_session() as session,
    ):
        client.object_change_auth(sealed, parent, b"new", sessions=[session])  # the loaded object keeps its own
        assert client.unseal(sealed, sessions=[session]) == DATA


def test_wrong_values_are_refused_in_words(client: Client, template: Template) -> None:
    with primary(client, template.storage) as parent, child(client, parent, template.sealed, b"right", DATA) as sealed:
        sealed.set_auth(b"wrong")
        with pytest.raises(BadAuthError) as refused:
            client.unseal(sealed)
        assert str(refused.value).startswith("Unseal, session 1: TPM_RC_BAD_AUTH")
        assert b"wrong".decode() not in str(refused.value).replace("is wrong", "")
        sealed.set_auth("right")
        assert client.unseal(sealed) == DATA


# --- protection


def test_nothing_secret_passes(listening: tuple[Client, Listening], template: Template) -> None:
    client, between = listening
    client.protect()
    secrets = [b"the parent's value", b"the value of what is sealed", b"what is sealed in it"]
    parent = client.create_primary(client.owner, secret(secrets[0]), template.storage, b"", ())
    made = client.create(parent, secret(secrets[1], secrets[2]), template.sealed, b"", ())
    with client.load(parent, made.outPrivate, made.outPublic) as sealed:
        sealed.set_auth(secrets[1])
        assert client.unseal(sealed) == secrets[2]
    random = client.get_random(32)
    client.pcr_extend(16, digests(b"integrity"))
    assert len(random) == 32
    for each in (*secrets, random):
        assert each not in between.all_bytes
    assert client.protection is not None
    assert len(client.protection.key_name) == 34
    frames = [CommandFrame.decode(command) for command, _ in between.passed if command[:2] == b"\x80\x02"]
    assert all(auth.sessionHandle != TPM_RH.PW or not auth.hmac for frame in frames for auth in frame.auths)
    parent.close()


def test_bytes_that_were_sent_stay_as_they_were(listening: tuple[Client, Listening], template: Template) -> None:
    """Libtpms decrypts the bytes that it is given where they stand."""
    client, between = listening
    client.protect()
    sent: list[tuple[bytes, bytes]] = []
    between.before = lambda command: sent.append((command, bytes(bytearray(command)))) or command  # type: ignore[func-returns-value]
    primary(client, template.storage, auth=b"the value").close()
    assert len(sent) > 3
    assert all(one == two for one, two in sent)


def test_protection_finds_out_changes_and_goes_on(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    client.protect()
    client.get_random(8)
    between.after = lambda response: flipped(response, 8 * len(response) - 1)
    with pytest.raises(ResponseHmacError):
        client.get_random(8)
    between.after = bytes
    assert len(client.get_random(8)) == 8, "another session has taken the place of the lost one"


def test_protection_survives_that_its_sessions_are_flushed(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    client.protect()
    client.get_random(8)
    assert client.protection is not None
    for session in client.protection.sessions:
        between.inner.transceive(bytes.fromhex("8001 0000000e 00000165") + session.number.to_bytes(4, "big"))
    assert len(client.get_random(8)) == 8


def test_two_values_need_two_sessions(listening: tuple[Client, Listening], template: Template) -> None:
    client, between = listening
    client.protect()
    with (
        primary(client, template.attesting, auth=b"ak value") as ak,
        primary(client, template.signing, auth=b"key value") as key,
    ):
        client.certify(key, ak, b"nonce", NO_SCHEME)
    assert client.protection is not None
    assert len(client.protection.sessions) == 2
    assert b"ak value" not in between.all_bytes
    assert b"key value" not in between.all_bytes


@pytest.mark.parametrize("hash", ["sha1", "sha384"])
@pytest.mark.parametrize("cipher", CIPHERS)
def test_protection_with_a_key_of_ones_own(
    client: Client, template: Template, hash: str, cipher: ParameterCipher | None
) -> None:
    with primary(client, template.endorsing, TPM_RH.ENDORSEMENT) as key:
        client.protect(Protection(key, hash=hash, cipher=cipher))
        client.pcr_extend(16, digests(b"x"))
        client.get_random(4)
        assert client.protection is not None
        assert client.protection.key_name == key.name
        client.protect(protect=False)


def test_protection_takes_the_storage_root_key(listening: tuple[Client, Listening], template: Template) -> None:
    client, _ = listening
    there = [h for h in (0x81000001, 0x81010001, 0x81010002) if h in client.capability(TPM_CAP.HANDLES, 0x81000000)]
    if there:
        name = client.persistent(there[0]).name
    else:
        with primary(client, template.storage) as key:
            client.evict_control(client.owner, key, 0x81000001)
            name = key.name
    client.protect()
    client.get_random(8)
    assert client.protection is not None
    assert client.protection.key_name == name
    if not there:
        client.protect(protect=False)
        client.evict_control(client.owner, 0x81000001, 0x81000001)


def test_a_key_that_does_not_decrypt_is_no_key_to_salt_for(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        client.protect(Protection(key))
        with pytest.raises(MisuseError):
            client.pcr_extend(16, digests(b"x"))
        client.protect(protect=False)


@pytest.mark.parametrize("protect", [5, "yes", object(), Protection])
def test_what_is_no_protection_is_refused(client: Client, protect: Any) -> None:
    with pytest.raises(TpmMisuseError):
        client.protect(protect)
    with pytest.raises(MisuseError):
        Protection(hash="md5")
    with pytest.raises(MisuseError):
        Protection(cipher="aes")  # type: ignore[arg-type]
    with pytest.raises(MisuseError):
        Protection("key")  # type: ignore[arg-type]


def test_commands_that_cannot_be_protected_go_as_they_are(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    client.protect()
    client.read_clock()
    assert between.codes == [TPM_CC.ReadClock]


# --- names


def test_a_name_that_does_not_follow_from_the_public_area_is_refused(
    listening: tuple[Client, Listening], template: Template
) -> None:
    client, between = listening
    with primary(client, template.signing) as key:
        public, name = key.public, key.name
    between.after = lambda response: response.replace(name, name[:-1] + bytes((name[-1] ^ 1,)))
    with pytest.raises(TpmInputError, match="Name"):
        client.load_external(None, public, TPM_RH.OWNER)
    between.after = bytes
    client.flush_context(client.start_session())
    assert client.capability(TPM_CAP.HANDLES, 0x80000000) == (), "what was loaded under a false Name does not stay"
    with client.load_external(None, public, TPM_RH.OWNER) as again:
        assert again.name == name


def test_a_public_area_that_was_changed_on_the_way_is_found_out(
    listening: tuple[Client, Listening], template: Template
) -> None:
    client, between = listening
    with primary(client, template.signing) as key:
        x = key.public.unique.x
        other = x[:-1] + bytes((x[-1] ^ 1,))
        between.after = lambda response: response.replace(x, other)
        with pytest.raises(TpmInputError, match="Name"):
            client.read_public(key)
        between.after = bytes
        assert client.read_public(key).name == key.name
