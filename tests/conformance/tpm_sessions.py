# SPDX-License-Identifier: Apache-2.0
"""Recorded commands in sessions, all secrets known: keys, digests, HMACs and both plain areas are computed anew.

Each case goes two ways: through the pure formulas, value by value, and through the machines, which have to send the
recorded bytes and to make of the recorded response what was recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.tpm.codec.frame import CommandFrame, ResponseFrame
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.kdf import kdfe
from prestocloud_sec.tpm.public_keys import curve_of
from prestocloud_sec.tpm.salt import Salt, make_salt
from prestocloud_sec.tpm.session import (
    PASSWORD,
    Binding,
    Exchange,
    HmacSession,
    ParameterCipher,
    SessionKind,
    SessionStart,
    Use,
    auth_after,
    authorize,
    command_hmac,
    cp_hash,
    response_hmac,
    rp_hash,
    session_key,
)
from prestocloud_sec.tpm.session.base import AUDIT, AUDIT_EXCLUSIVE, AUDIT_RESET, CONTINUE, DECRYPT, ENCRYPT
from prestocloud_sec.tpm.spec import COMMANDS, TPM_ALG_ID, TPM_RH, TPMT_PUBLIC, StartAuthSession
from tests.conformance.family import Case, Family
from tests.conformance.tpm_attestations import listed
from tests.conformance.tpm_names import exact, judged

CODE_OF_START = StartAuthSession.code


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def cipher_of(name: str, hash: str) -> ParameterCipher | None:
    """Return the cipher of a recorded name; the field of XOR had the hash of the session."""
    if name == "null":
        return None
    if name == "xor":
        return ParameterCipher("xor", hash_of(hash).id)
    return ParameterCipher("aes", {"aes128": 128, "aes256": 256}[name])


class Fixed:
    """Gives recorded bytes where random ones are asked for."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)

    def __call__(self, size: int) -> bytes:
        part = self.parts.pop(0)
        assert len(part) == size
        return part


def check_salt(session: Case, keys: Case, encrypted: bytes) -> Salt | None:
    """Return the salt of a session; what was drawn for one on a curve gives the recorded bytes again."""
    secret, kind = unhex(session["salt"]), session["salt_kind"]
    assert (kind is None) == (secret == b"") == (encrypted == b"")
    assert (kind == "ecc") == ("ephemeral_private" in session)
    if kind is None:
        return None
    public = exact(TPMT_PUBLIC, unhex(keys[kind]))
    if kind == "rsa":
        assert public.type == TPM_ALG_ID.RSA
        assert len(encrypted) == len(public.unique)
        assert len(secret) == hash_of(public.nameAlg).size
        return Salt(secret, encrypted)
    bits = curve_of(public.parameters.curveID).key_size
    size = (bits + 7) // 8
    number = int(session["ephemeral_private"], 16)
    assert session["ephemeral_private"] == hex(number)
    salt = make_salt(public, random=Fixed((number << -bits % 8).to_bytes(size, "big")))
    assert salt == Salt(secret, encrypted)
    # and once more from the numbers, with the point multiplied by the other side's formula
    ephemeral = ec.derive_private_key(number, curve_of(public.parameters.curveID))
    x = ephemeral.public_key().public_numbers().x.to_bytes(size, "big")
    point = ec.EllipticCurvePublicNumbers(
        int.from_bytes(public.unique.x, "big"), int.from_bytes(public.unique.y, "big"), ephemeral.curve
    ).public_key()
    z = ephemeral.exchange(ec.ECDH(), point)
    assert kdfe(public.nameAlg, z, "SECRET", x, public.unique.x) == secret
    return salt


def check_start(session: Case, keys: Case) -> HmacSession:
    """Start the recorded session anew; it then has the key that was recorded."""
    command = CommandFrame.decode(unhex(session["start_command"]))
    response = ResponseFrame.decode(unhex(session["start_response"]), code=CODE_OF_START)
    assert command.code == CODE_OF_START
    typed = StartAuthSession.decode_parameters(command.parameters, handles=command.handles)
    salt = check_salt(session, keys, typed.encryptedSalt)
    value, name = unhex(session["bind_auth"]), unhex(session["bind_name"])
    binding = Binding(name, value) if session["bound"] else None  # type: ignore[arg-type]
    if binding is None:
        assert name == value == b""
    key, bind = command.handles
    assert (key == TPM_RH.NULL) == (salt is None)
    assert (bind == TPM_RH.NULL) == (binding is None)
    assert all(handle == TPM_RH.NULL or handle >> 24 in (0x80, 0x81) for handle in (key, bind)) or len(name) == 4
    start = SessionStart(
        SessionKind.HMAC,
        hash=session["auth_hash"],
        cipher=cipher_of(session["symmetric"], session["auth_hash"]),
        salt=salt,
        binding=binding,
        random=Fixed(unhex(session["nonce_caller0"])),
    )
    assert start.parameters == command.parameters
    assert response.parameters == (len(unhex(session["nonce_tpm0"]))).to_bytes(2, "big") + unhex(session["nonce_tpm0"])
    nonces = {"nonce_tpm": unhex(session["nonce_tpm0"]), "nonce_caller": unhex(session["nonce_caller0"])}
    bind_value = None if binding is None else binding.value
    made = session_key(session["auth_hash"], bind=bind_value, salt=unhex(session["salt"]), **nonces)
    assert made == unhex(session["session_key"])
    started = start.answered(response.handles[0], nonces["nonce_tpm"])
    assert isinstance(started, HmacSession)
    assert bytes(started._key) == made
    return started


def at_step(started: HmacSession, session: Case, step: Case) -> Use:
    """Return the recorded session as it was before the recorded command, with what it was to do."""
    attributes = step["attrs"]
    binding = Binding(unhex(session["bind_name"]), unhex(session["bind_auth"]))  # type: ignore[arg-type]
    now = HmacSession(
        started.handle,
        hash=session["auth_hash"],
        nonce_tpm=unhex(step["nonce_tpm"]),
        session_key=unhex(session["session_key"]),
        cipher=started.cipher,
        binding=binding if session["bound"] else None,
        random=Fixed(unhex(step["nonce_caller"])),
    )
    flags = {
        "decrypt": DECRYPT,
        "encrypt": ENCRYPT,
        "audit": AUDIT,
        "audit_reset": AUDIT_RESET,
        "audit_exclusive": AUDIT_EXCLUSIVE,
        "continue_session": CONTINUE,
    }
    use = now.use(**{name: bool(attributes & bit) for name, bit in flags.items()})
    assert use.attributes == attributes
    return use


def check_first_session(case: Case, real: list[Case]) -> None:
    """Hold what the case says of itself to its first session that is one."""
    first = real[0] if real else None
    if first is None:
        assert (case["symmetric"], case["salt_kind"], case["bound"]) == (None, None, False)
        return
    assert case["hash"] == first["auth_hash"]
    assert (case["symmetric"] or "null") == first["symmetric"]
    assert case["salt_kind"] == first["salt_kind"]
    assert case["bound"] is first["bound"]


def further_nonces(index: int, uses: list[Any], authorized: int) -> dict[str, bytes]:
    """Return the nonces of other sessions that the HMAC of a session covers."""
    if index or not authorized:
        return {}
    roles = {}
    for name, bit in (("nonce_decrypt", DECRYPT), ("nonce_encrypt", ENCRYPT)):
        for use in uses:
            other = isinstance(use, Use) and use.attributes & bit and use is not uses[index]
            if other and use.session.nonce_tpm not in roles.values():
                roles[name] = use.session.nonce_tpm
    return roles


def check_formulas(
    case: Case, command: CommandFrame, response: ResponseFrame, uses: list[Any], steps: list[Case]
) -> None:
    """Compute every recorded value by the formula that has its name."""
    names, values = [unhex(name) for name in case["names"]], case["auths"]
    authorized = sum(value is not None for value in values)
    after = auth_after(command.code, names, unhex(case["plain_params"]))
    remaining = iter(steps)
    for index, (use, auth, answer) in enumerate(zip(uses, command.auths, response.auths, strict=True)):
        value = unhex(values[index] or "").rstrip(b"\0")
        if use.session is PASSWORD:
            assert (auth.sessionHandle, auth.nonce, auth.hmac.rstrip(b"\0")) == (TPM_RH.RS_PW, b"", value)
            assert (answer.nonce, answer.sessionAttributes, answer.hmac) == (b"", CONTINUE, b"")
            continue
        step, session = next(remaining), use.session
        algorithm, bound = session.algorithm, session._binding
        assert (auth.sessionHandle, int(auth.sessionAttributes)) == (session.handle, step["attrs"])
        included = values[index] is not None and not (
            bound is not None and (bound.name, bound.value.raw) == (names[index], value)
        )
        key = bytes(session._key) + (value if included else b"")
        assert step["hmac_key"] == key.hex()
        further = further_nonces(index, uses, authorized)
        assert step["extra_nonces"] == b"".join(further.values()).hex()
        assert step["cpHash"] == cp_hash(algorithm, command.code, names, command.parameters).hex()
        assert step["nonce_caller"] == auth.nonce.hex()
        cp, nonces = unhex(step["cpHash"]), (auth.nonce, session.nonce_tpm)
        assert (
            step["hmac"] == auth.hmac.hex() == command_hmac(algorithm, key, cp, *nonces, step["attrs"], **further).hex()
        )
        assert step["rpHash"] == rp_hash(algorithm, command.code, response.parameters).hex()
        assert step["response_nonce_tpm"] == answer.nonce.hex()
        assert step["response_attrs"] == int(answer.sessionAttributes)
        if after is not None and index == 0 and included:
            key = bytes(session._key) + after.raw
        made = response_hmac(algorithm, key, unhex(step["rpHash"]), answer.nonce, auth.nonce, step["response_attrs"])
        assert step["response_hmac"] == answer.hmac.hex() == made.hex()
    assert next(remaining, None) is None


def areas(data: bytes, frame: CommandFrame | ResponseFrame) -> bytes:
    """Return the authorization area of a command or a response as bytes."""
    return b"".join(auth.encode() for auth in frame.auths)


def authorized_by(case: Case, command: CommandFrame, uses: list[Any]) -> Exchange:
    names = [unhex(name) for name in case["names"]]
    kind = COMMANDS[command.code]
    needed = sum(role is not None for role in kind.handle_auths)
    assert [value is not None for value in case["auths"]] == [index < needed for index in range(len(uses))]
    values = [unhex(value) for value in case["auths"] if value is not None]
    encryptable = (kind.first_parameter_is_2b, kind.Response.first_parameter_is_2b)
    return authorize(command.code, names, unhex(case["plain_params"]), uses, values, encryptable=encryptable)


def check_session(case: Case) -> None:
    command = CommandFrame.decode(unhex(case["command"]))
    response = ResponseFrame.decode(unhex(case["response"]), code=command.code)
    assert command.encode().hex() == case["command"]
    assert response.encode().hex() == case["response"]
    assert response.rc == 0
    assert len(case["sessions"]) == len(command.auths) == len(response.auths)
    for handle, name in zip(command.handles, case["names"], strict=True):
        assert len(name) != 8 or int(name, 16) == handle
        assert len(name) == 8 or handle >> 24 in (0x01, 0x80, 0x81)
    assert all(handle >> 24 == 0x80 for handle in response.handles)
    real = [session for session in case["sessions"] if session != "password"]
    check_first_session(case, real)
    uses: list[Any] = []
    steps: Iterator[Case] = iter(case["steps"])
    for session, auth in zip(case["sessions"], command.auths, strict=True):
        if session == "password":
            assert int(auth.sessionAttributes) in (0, CONTINUE)
            uses.append(Use(PASSWORD, continue_session=bool(auth.sessionAttributes)))
        else:
            uses.append(at_step(check_start(session, case["salt_key_public_hex"]), session, next(steps)))
    check_formulas(case, command, response, uses, case["steps"])
    exchange = authorized_by(case, command, uses)
    assert exchange.authorizations == areas(unhex(case["command"]), command)
    assert exchange.parameters == command.parameters
    plain = exchange.accept(response.parameters, areas(unhex(case["response"]), response))
    assert plain.hex() == case["plain_rparams"]


# The key that RSA salts were encrypted for states nothing that could be computed without its private half.
REMARKS = frozenset({"id", "why", "skip", "source", "description", "label", "kind", "salt_key_public_hex.rsa"})

FILES = {"sessions.json": Family(judged(check_session), REMARKS, listed)}
