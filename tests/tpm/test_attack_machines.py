# SPDX-License-Identifier: Apache-2.0
"""Whatever the calling code hands to sessions, salts, policies and protection, it gets a value or an error of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import hashes, kdf, policy, protect, public_keys, salt, session
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.session import cipher, formulas
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPMT_PUBLIC, TPMT_SENSITIVE
from prestocloud_sec.wire import shown

HUGE = 10**5000


class Loud:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")


class Liar(bytes):
    """Bytes that lie about their length."""

    def __len__(self) -> int:
        return 32


class Text(str):
    """Text that is more than text."""

    __slots__ = ()


WRONG: list[Any] = [
    None,
    True,
    -1,
    1.5,
    HUGE,
    -HUGE,
    float("nan"),
    "",
    "text",
    "\ud800",
    Text("sha256"),
    b"",
    b"bytes",
    bytes(70_000),
    bytearray(3),
    memoryview(b"abcdef")[::2],
    np.zeros((2, 2)),
    np.int64(7),
    Liar(b"x"),
    [],
    [1],
    ["a", None],
    {},
    {"a": 1},
    {1, 2},
    (1, 2),
    lambda *_: None,
    object(),
    Loud(),
    int,
    TPM_ALG_ID.SHA256,
    ec.SECP256R1(),
]
"""What is never what it is taken for, or only by chance."""

KEY = ec.derive_private_key(5, ec.SECP256R1())
PARENT = protect.SoftwareParent(KEY)
PUBLIC, SENSITIVE = protect.sensitive_of(
    TPMT_PUBLIC.decode(bytes.fromhex("0008 000b 00000040 0000 0010 0000")), b"data"
)
NAME = b"\x00\x0b" + bytes(32)


def made(kind: int = 0) -> Any:
    start = session.SessionStart(session.SessionKind(kind), cipher=session.ParameterCipher())
    return start.answered(0x02000000 if kind == 0 else 0x03000000, bytes(32))


def exchange() -> session.Exchange:
    return session.authorize(0x15E, [NAME], b"", [made()], [b""])


BINDING = session.Binding(NAME, session.AuthValue(b"x"))
NONCES = {"nonce_tpm": bytes(32), "nonce_caller": bytes(32)}
CIPHER = session.ParameterCipher()
PCRS = {"sha256": {0: bytes(32)}}

GOOD: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "hash_of": (hashes.hash_of, {"algorithm": "sha256"}),
    "kdfa": (kdf.kdfa, {"hash": 11, "key": b"k", "label": "L", "context_u": b"", "context_v": b"", "bits": 8}),
    "kdfe": (kdf.kdfe, {"hash": 11, "z": b"k", "label": "L", "party_u": b"", "party_v": b"", "bits": 8}),
    "cp_hash": (formulas.cp_hash, {"hash": 11, "code": 1, "names": [b""], "parameters": b""}),
    "rp_hash": (formulas.rp_hash, {"hash": 11, "code": 1, "parameters": b"", "rc": 0}),
    "session_key": (formulas.session_key, {"hash": 11, **NONCES, "bind": b"", "salt": b"x"}),
    "command_hmac": (
        formulas.command_hmac,
        {
            "hash": 11,
            "key": b"",
            "cp_hash": b"",
            "nonce_caller": b"",
            "nonce_tpm": b"",
            "attributes": 1,
            "nonce_decrypt": b"",
            "nonce_encrypt": b"",
        },
    ),
    "response_hmac": (
        formulas.response_hmac,
        {"hash": 11, "key": b"", "rp_hash": b"", "nonce_tpm": b"", "nonce_caller": b"", "attributes": 1},
    ),
    "audit_extend": (formulas.audit_extend, {"hash": 11, "digest": b"", "cp_hash": b"", "rp_hash": b""}),
    "AuthValue": (session.AuthValue, {"value": b""}),
    "auth_value": (session.auth_value, {"value": b""}),
    "auth_after": (session.auth_after, {"code": 0x129, "names": [NAME], "parameters": b"\0\0"}),
    "ParameterCipher": (cipher.ParameterCipher, {"name": "aes", "bits": 128}),
    "ParameterCipher.decode": (cipher.ParameterCipher.decode, {"data": b"\0\x10"}),
    "ParameterCipher.encrypt": (
        CIPHER.encrypt,
        {"hash": 11, "key": b"", "nonce_newer": b"", "nonce_older": b"", "data": b"x"},
    ),
    "ParameterCipher.decrypt": (
        CIPHER.decrypt,
        {"hash": 11, "key": b"", "nonce_newer": b"", "nonce_older": b"", "data": b"x"},
    ),
    "Binding": (session.Binding, {"name": NAME, "value": b"x"}),
    "HmacSession": (
        session.HmacSession,
        {
            "handle": 0x02000000,
            "hash": 11,
            "nonce_tpm": bytes(32),
            "session_key": bytes(32),
            "cipher": None,
            "binding": None,
            "random": bytes,
        },
    ),
    "PolicySession": (
        session.PolicySession,
        {
            "handle": 0x03000000,
            "hash": 11,
            "nonce_tpm": bytes(32),
            "session_key": bytes(32),
            "cipher": None,
            "is_trial": False,
            "random": bytes,
        },
    ),
    "policy_command": (lambda code: made(1).policy_command(code), {"code": 1}),
    "use": (
        lambda **named: made().use(**named),
        {
            "decrypt": None,
            "encrypt": None,
            "audit": False,
            "audit_reset": False,
            "audit_exclusive": False,
            "continue_session": True,
        },
    ),
    "Use": (session.Use, {"session": session.PASSWORD}),
    "SessionStart": (
        session.SessionStart,
        {
            "kind": 0,
            "hash": 11,
            "cipher": None,
            "salt": None,
            "binding": None,
            "nonce_size": None,
            "random": lambda size: bytes(size),
        },
    ),
    "answered": (
        lambda handle, nonce_tpm: session.SessionStart().answered(handle, nonce_tpm),
        {"handle": 0x02000000, "nonce_tpm": bytes(32)},
    ),
    "authorize": (
        session.authorize,
        {
            "code": 1,
            "names": [NAME],
            "parameters": b"",
            "sessions": [session.PASSWORD],
            "auths": [b""],
            "encryptable": (False, False),
        },
    ),
    "accept": (
        lambda parameters, authorizations: exchange().accept(parameters, authorizations),
        {"parameters": b"", "authorizations": b""},
    ),
    "Salt": (salt.Salt, {"secret": b"x", "encrypted": b"x"}),
    "make_salt": (salt.make_salt, {"public": PARENT.public, "random": lambda size: b"x" * size}),
    "share_secret": (
        salt.share_secret,
        {"public": PARENT.public, "purpose": salt.Purpose.SALT, "random": lambda size: b"x" * size},
    ),
    "recover_secret": (
        salt.recover_secret,
        {
            "private": KEY,
            "public": PARENT.public,
            "purpose": salt.Purpose.SALT,
            "encrypted": salt.make_salt(PARENT.public).encrypted,
        },
    ),
    "public_key_of": (public_keys.public_key_of, {"public": PARENT.public}),
    "curve_of": (public_keys.curve_of, {"number": 3}),
    "curve_number": (public_keys.curve_number, {"curve": ec.SECP256R1()}),
    "Policy": (policy.Policy, {"label": None}),
    "Policy of": (lambda step: policy.Policy(step), {"step": policy.AuthValue()}),
    "digest": (policy.Policy().digest, {"hash": "sha256"}),
    "digests": (policy.Policy().digests, {"hash": "sha256"}),
    "from_json": (policy.Policy.from_json, {"text": '{"steps": []}'}),
    "run": (
        lambda **named: next(policy.Policy(policy.OR(policy.AuthValue(), policy.Password())).run(**named)),
        {"session": made(1), "choices": [0], "hierarchy": 0x40000001},
    ),
    "an answer": (
        lambda answer: _answered(policy.Policy(policy.OR(policy.AuthValue(), policy.Password())), answer),
        {"answer": 0},
    ),
    "a response": (
        lambda answer: _answered(policy.Policy(policy.Secret(NAME)), 0x80000000, answer),
        {"answer": None},
    ),
    "a handle": (lambda answer: _answered(policy.Policy(policy.Secret(NAME)), answer), {"answer": 0x80000000}),
    "any_of": (policy.any_of, {}),
    "CommandCode": (policy.CommandCode, {"command": 1}),
    "Locality": (policy.Locality, {"localities": 1}),
    "Locality.of": (lambda number: policy.Locality.of(number), {"number": 1}),
    "NvWritten": (policy.NvWritten, {"written": True}),
    "CpHash": (policy.CpHash, {"digest": b""}),
    "CpHash.of": (policy.CpHash.of, {"hash": 11, "code": 1, "names": [], "parameters": b""}),
    "NameHash": (policy.NameHash, {"digest": b""}),
    "NameHash.of": (policy.NameHash.of, {"hash": 11, "names": []}),
    "Template": (policy.Template, {"digest": b""}),
    "Template.of": (policy.Template.of, {"hash": 11, "template": PUBLIC}),
    "DuplicationSelect": (policy.DuplicationSelect, {"new_parent": NAME, "object": NAME, "include_object": True}),
    "PCR": (policy.PCR, {"selection": "sha256:0", "values": PCRS, "digest": None}),
    "NV": (policy.NV, {"index": NAME, "operand": b"", "operation": 0, "offset": 0}),
    "CounterTimer": (policy.CounterTimer, {"operand": b"", "operation": 0, "offset": 0}),
    "CounterTimer.of": (policy.CounterTimer.of, {"name": "clock", "operation": "<", "value": 1}),
    "Secret": (
        policy.Secret,
        {"entity": NAME, "policy_ref": b"", "expiration": 0, "cp_hash": b"", "with_nonce": False},
    ),
    "Signed": (
        policy.Signed,
        {
            "key": PARENT.public,
            "policy_ref": b"",
            "expiration": 0,
            "cp_hash": b"",
            "with_nonce": False,
            "signature": None,
        },
    ),
    "Signed.to_sign": (policy.Signed(NAME).to_sign, {"nonce_tpm": b""}),
    "Signed.check": (policy.Signed(PARENT.public).check, {"signature": None, "nonce_tpm": b""}),
    "Ticket": (
        policy.Ticket,
        {
            "entity": NAME,
            "ticket": bytes.fromhex("8023400000010000"),
            "timeout": b"",
            "policy_ref": b"",
            "cp_hash": b"",
        },
    ),
    "OR": (lambda one, two: policy.OR(one, two), {"one": b"", "two": policy.AuthValue()}),
    "Authorize": (
        policy.Authorize,
        {"key": NAME, "policy_ref": b"", "approved": policy.Policy(), "signature": None},
    ),
    "Authorize.check": (policy.Authorize(PARENT.public).check, {"approved_policy": b"", "signature": None}),
    "AuthorizeNV": (policy.AuthorizeNV, {"index": NAME, "approved": policy.Policy()}),
    "SoftwareParent": (protect.SoftwareParent, {"private": KEY, "public": None}),
    "SoftwareParent.generate": (
        protect.SoftwareParent.generate,
        {"kind": "ecc", "curve": 3, "name_hash": 11, "cipher": None},
    ),
    "SoftwareParent.from_pem": (protect.SoftwareParent.from_pem, {"pem": "", "public": None, "password": None}),
    "storage_public_of": (protect.storage_public_of, {"key": KEY.public_key(), "name_hash": 11, "cipher": None}),
    "Credential.from_file": (protect.Credential.from_file, {"data": b""}),
    "Credential.to_file": (lambda part: protect.Credential(part, b"").to_file(), {"part": b""}),
    "make_credential": (
        protect.make_credential,
        {"public": PARENT.public, "name": NAME, "secret": b"", "random": lambda size: b"x" * size},
    ),
    "activate_credential": (
        protect.activate_credential,
        {"parent": PARENT, "name": NAME, "credential": protect.make_credential(PARENT.public, NAME, b"")},
    ),
    "Duplicate": (protect.Duplicate, {"duplicate": b"", "seed": b"", "inner_key": b"", "cipher": None}),
    "wrap": (
        protect.wrap,
        {
            "public": PUBLIC,
            "sensitive": SENSITIVE,
            "parent": PARENT.public,
            "cipher": None,
            "inner_key": None,
            "random": lambda size: b"x" * size,
        },
    ),
    "unwrap": (
        protect.unwrap,
        {"duplicate": protect.wrap(PUBLIC, SENSITIVE, PARENT.public), "public": PUBLIC, "parent": PARENT},
    ),
    "rewrap": (
        protect.rewrap,
        {
            "duplicate": protect.wrap(PUBLIC, SENSITIVE),
            "name": NAME,
            "old_parent": PARENT,
            "new_parent": PARENT.public,
            "random": lambda size: b"x" * size,
        },
    ),
    "sensitive_of": (
        protect.sensitive_of,
        {"public": PUBLIC, "secret": b"", "auth": b"", "random": lambda size: b"x" * size},
    ),
    "unique_of": (protect.unique_of, {"public": PUBLIC, "seed": b"", "data": b""}),
    "check_binding": (protect.check_binding, {"public": PUBLIC, "sensitive": SENSITIVE}),
    "private_key_of": (
        protect.private_key_of,
        {
            "public": public_area_of(KEY.public_key()),
            "sensitive": TPMT_SENSITIVE(TPM_ALG_ID.ECC, b"", b"", b"\5"),
        },
    ),
}


def _answered(what: policy.Policy, *answers: Any) -> None:
    course = what.run(made(1))
    next(course)
    for answer in answers:
        course.send(answer)


@pytest.mark.parametrize("name", GOOD)
def test_no_argument_gets_through_as_something_else(name: str) -> None:
    call, arguments = GOOD[name]
    longest = 0
    for position in arguments:
        for wrong in WRONG:
            try:
                call(**{**arguments, position: wrong})
            except PrestoCloudError as error:
                longest = max(longest, len(str(error)))
            except Exception as error:
                pytest.fail(f"{name}({position}={shown(wrong)}): {type(error).__name__}: {error!r}")
    assert longest < 500


@pytest.mark.parametrize("name", GOOD)
def test_the_good_arguments_are_good(name: str) -> None:
    """Else the above would only show that nothing works."""
    call, arguments = GOOD[name]
    refused = {"accept", "SoftwareParent.from_pem", "Credential.from_file", "any_of", "a response"}
    refused |= {"Signed.check", "Authorize.check"}
    if name in refused:
        with pytest.raises(PrestoCloudError):
            call(**arguments)
    else:
        call(**arguments)


def test_every_public_function_is_tried() -> None:
    tried = {getattr(call, "__name__", "") for call, _ in GOOD.values()} | set(GOOD)
    for module in (hashes, kdf, formulas, salt, public_keys, protect, policy, session):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                assert name in tried | {"draw_private_key"}, f"{module.__name__}.{name}"
