# SPDX-License-Identifier: Apache-2.0
"""Policies executed in a TPM: `Policy.run` asks, and this answers.

Entities that a policy names are found by their Names: among those that the caller hands in, the persistent objects, and
the NV indices. Signatures are made by the caller's private key, or by whatever he gives that signs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.client.handles import Handle, SessionHandle
from prestocloud_sec.tpm.errors import HandleError, PolicyError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName
from prestocloud_sec.tpm.policy import Choose, Find, Outcome, Policy, Run, Sign, Step
from prestocloud_sec.tpm.session import ParameterCipher, PolicySession, SessionKind
from prestocloud_sec.tpm.signatures import signature_from_plain
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_HT
from prestocloud_sec.tpm.use._doing import client_of, secret_session
from prestocloud_sec.wire import items_of, result_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE

__all__ = ["Signer", "policy_session", "run_policy", "secret_policy_sessions"]

Signer: TypeAlias = "Callable[[Sign], TPMT_SIGNATURE] | Any"
"""A private key of pyca/cryptography, or what returns a TPMT_SIGNATURE for a `Sign` request."""


def run_policy(
    client: Client,
    policy: Policy | Step,
    session: SessionHandle[Any],
    *,
    choices: Iterable[int | str] = (),
    handles: Iterable[Handle] = (),
    signer: Signer = None,
) -> Outcome:
    """Execute a policy in a session of a TPM.

    Parameters
    ----------
    client : Client
        The TPM.
    policy : Policy
        What to execute.
    session : SessionHandle
        A policy or trial session.
    choices : iterable of int or str
        The branches to take, in the order in which alternatives are met.
    handles : iterable of Handle
        Entities that the policy names, where they are neither persistent objects nor NV indices.
    signer : private key or callable, optional
        Who signs, where a step asks for it.

    Returns
    -------
    Outcome
        Digest, branches taken, tickets.

    Raises
    ------
    PolicyError
        If the policy asks for something that was not given.
    TpmResponseError
        If the TPM refuses a step: a PCR or a comparison that does not hold, a signature that is none.
    TpmMisuseError
        If an argument is not what it should be.

    >>> from prestocloud_sec.tpm import connect
    >>> from prestocloud_sec.tpm.policy import Locality, PCR
    >>> with connect("embedded:") as client:
    ...     policy = Locality.of(0, 1) >> PCR("sha256:16", values={"sha256": {16: bytes(32)}})
    ...     with policy_session(client, policy) as session:
    ...         client.policy_get_digest(session) == policy.digest("sha256")
    True
    """
    client_of(client)
    held = Policy(policy) if isinstance(policy, Step) else instance(policy, Policy, "policy")
    found = instance(session, SessionHandle, "session").session
    if not isinstance(found, PolicySession):
        raise TpmMisuseError(repr(session), where="session", expected="a policy session")
    known = list(items_of(handles, "handles", "handles", error=TpmMisuseError))
    steps = held.run(found, choices=choices)
    answer: Any = None
    try:
        request = next(steps)
        while True:
            try:
                answer = _answer(client, request, known, signer)
            except Exception as error:
                request = steps.throw(error)
            else:
                request = steps.send(answer)
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome


@contextlib.contextmanager
def policy_session(
    client: Client,
    policy: Policy | Step,
    *,
    hash: HashName = "sha256",
    salt_key: int | None = None,
    choices: Iterable[int | str] = (),
    handles: Iterable[Handle] = (),
    signer: Signer = None,
) -> Iterator[SessionHandle[Any]]:
    """Start a policy session, execute a policy in it, and close it in the end.

    Parameters
    ----------
    client, policy, choices, handles, signer
        As of `run_policy`.
    hash : HashAlgorithm, int or str
        The hash of the policy: the nameAlg of the object.
    salt_key : int or Handle, optional
        A key of the TPM that decrypts; with one the session also encrypts first parameters both ways. The value of
        the entity is in the key of that. Where the policy does not ask for it, nothing tells whether the one that is
        known here is right, and a wrong one makes garbage; `secret_policy_sessions` do not depend on it.
    """
    cipher = None if salt_key is None else ParameterCipher()
    options: Any = {"choices": choices, "handles": handles, "signer": signer}
    with _executed(client_of(client), policy, hash, cipher, salt_key, options) as session:
        yield session


@contextlib.contextmanager
def secret_policy_sessions(
    client: Client, policy: Policy | Step, salt_key: int, *, hash: HashName = "sha256", **options: Any
) -> Iterator[list[SessionHandle[Any]]]:
    """Start two sessions for one command: one of a policy, which authorizes, and one that encrypts first parameters.

    A policy session would encrypt with the entity's value in its key, which no HMAC has where the policy does not ask
    for it: with a wrong one garbage would be written or read, and nobody would notice. The key of the second session
    depends on no value, and its HMAC covers command and response.

    Parameters
    ----------
    client : Client
        The TPM.
    policy : Policy
        What to execute.
    salt_key : int or Handle
        A key of the TPM that decrypts; both are salted for it.
    hash : HashAlgorithm, int or str
        The hash of the policy: the nameAlg of the object.
    options
        ``choices``, ``handles`` and ``signer``, as of `run_policy`.
    """
    tpm = client_of(client)
    with (
        secret_session(tpm, salt_key) as encrypts,
        _executed(tpm, policy, hash, None, salt_key, options) as authorizes,
    ):
        yield [authorizes, encrypts]


@contextlib.contextmanager
def _executed(
    client: Client,
    policy: Policy | Step,
    hash: HashName,
    cipher: ParameterCipher | None,
    salt_key: int | None,
    options: dict[str, Any],
) -> Iterator[SessionHandle[Any]]:
    with client.start_session(SessionKind.POLICY, hash=hash, cipher=cipher, salt_key=salt_key) as session:
        run_policy(client, policy, session, **options)
        yield session


def asks_for_value(session: SessionHandle[Any]) -> bool:
    """Return whether the policy that was executed in a session asks for the value of the entity."""
    found = session.session
    return isinstance(found, PolicySession) and (found.needs_auth_value or found.needs_password)


def _answer(client: Client, request: object, handles: list[Any], signer: Signer) -> Any:
    if isinstance(request, Run):
        return client.execute(request.command)
    if isinstance(request, Find):
        return _found(client, request.name, handles)
    if isinstance(request, Sign):
        return _signed(request, signer)
    if isinstance(request, Choose):
        count = len(request.step.branches)
        raise PolicyError("no branch was chosen", where="choices", expected=f"one of {count}", hint="give choices")
    raise PolicyError(shown(request), where="policy", expected="a request that is known here")


def _found(client: Client, name: bytes, handles: list[Any]) -> Handle:
    """Return the entity that has a Name."""
    for handle in handles:
        if isinstance(handle, Handle) and handle.name == name:
            return handle
    for kind, find in ((TPM_HT.PERSISTENT, client.persistent), (TPM_HT.NV_INDEX, client.nv_index)):
        for number in client.capability(TPM_CAP.HANDLES, kind << 24):
            with contextlib.suppress(HandleError):
                handle = find(number)
                if handle.name == name:
                    return handle
    raise PolicyError(
        f"nothing in this TPM has the Name {name.hex()}", where="policy", hint="give what has it in handles"
    )


def _signed(request: Sign, signer: Signer) -> TPMT_SIGNATURE:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if isinstance(signer, rsa.RSAPrivateKey):
        plain = signer.sign(request.message, padding.PKCS1v15(), hashes.SHA256())
        return signature_from_plain(plain, "rsassa", "sha256")
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        return signature_from_plain(signer.sign(request.message, ec.ECDSA(hashes.SHA256())), "ecdsa", "sha256")
    if signer is None:
        raise PolicyError("a step asks for a signature", where="signer", expected="a private key", hint="give a signer")
    made: TPMT_SIGNATURE = result_of(
        signer, request, name="signer", expected="a private key or a callable", error=TpmMisuseError
    )
    return made
