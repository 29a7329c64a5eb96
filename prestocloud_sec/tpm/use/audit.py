# SPDX-License-Identifier: Apache-2.0
"""Audits: a TPM's own account of the commands that it was given.

An audited session keeps a digest of each command that goes in it, and of the response; the TPM attests that digest. An
`AuditTrail` keeps the commands beside it, so that a verifier can compute the digest anew (`verify_session_audit`), and
see what was done, in which order, and with what result.

Sources: TPM 2.0 Library, Part 1, 17.8 (audit); Part 3, 18.5 and 18.6.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.attest.audit import AuditedCommand
from prestocloud_sec.tpm.client.handles import SessionHandle
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.session import PASSWORD
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CC, TPM_RH
from prestocloud_sec.tpm.spec.declare import Command
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME
from prestocloud_sec.tpm.use._doing import client_of
from prestocloud_sec.tpm.use.attestation import Attestation
from prestocloud_sec.tpm.use.private_keys import TpmKey
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.client.core import Answered
    from prestocloud_sec.wire import BytesLike

__all__ = ["AuditTrail", "attest_commands", "audited", "set_audited_commands"]

R = TypeVar("R")

_KEYS_OWN_SCHEME = TPMT_SIG_SCHEME(TPM_ALG_ID.NULL, None)


class AuditTrail:
    """Commands in an audited session; `audited` starts one.

    Attributes
    ----------
    client : Client
        The TPM.
    session : SessionHandle
        The session.
    commands : tuple of AuditedCommand
        What was done, in order.
    """

    def __init__(self, client: Client, session: SessionHandle[Any]) -> None:
        self.client = client_of(client)
        self.session = instance(session, SessionHandle, "session")
        self.commands: tuple[AuditedCommand, ...] = ()

    def execute(self, command: Answered[R]) -> R:
        """Carry out a command in the session, and note it.

        Parameters
        ----------
        command : Command
            The command. Its handles are authorized by password.

        Raises
        ------
        TpmResponseError
            If the TPM refuses; a command that was refused is not in the audit.
        TpmMisuseError
            If it is no command, or one that cannot go in a session.
        """
        held: Any = instance(command, Command, "command")
        registry = self.client.core.registry
        roles = [role for role in held.handle_auths if role is not None]
        response: Any = self.client.execute(command, [*[PASSWORD] * len(roles), self.session.use(audit=True)])
        names = tuple(registry.of(number).name or b"" for number in held.handles)
        noted = AuditedCommand(int(held.code), names, held.encode_parameters(), response.encode_parameters())
        self.commands += (noted,)
        return response  # type: ignore[no-any-return]

    @property
    def digest(self) -> bytes | None:
        """The digest that the TPM should have come to; None before the first command."""
        return self.session.session.audit_digest

    def attest(self, key: TpmKey, nonce: BytesLike) -> Attestation:
        """Have the digest attested, for which the endorsement hierarchy authorizes.

        Parameters
        ----------
        key : RsaKey or EccKey
            The attestation key.
        nonce : bytes-like
            What the verifier has sent.
        """
        held, challenge = instance(key, TpmKey, "key"), octets(nonce, "nonce")
        with held.authorized() as sessions:
            both = None if sessions is None else [PASSWORD, *sessions]
            made = self.client.get_session_audit_digest(
                TPM_RH.ENDORSEMENT, held.handle, self.session, challenge, _KEYS_OWN_SCHEME, sessions=both
            )
        return Attestation(made.auditInfo, made.signature)

    def __repr__(self) -> str:
        return f"<AuditTrail of {len(self.commands)} commands in {self.session!r}>"


@contextlib.contextmanager
def audited(client: Client, *, hash: HashName = "sha256") -> Iterator[AuditTrail]:
    """Start an audited session, and close it in the end.

    Parameters
    ----------
    client : Client
        The TPM.
    hash : HashAlgorithm, int or str
        The hash of the audit.

    >>> from prestocloud_sec.tpm import connect, verify_session_audit
    >>> from prestocloud_sec.tpm.spec.commands import GetRandom, ReadClock
    >>> from prestocloud_sec.tpm.use.keys import create_ak
    >>> with connect("embedded:") as client, create_ak(client) as ak, audited(client) as trail:
    ...     _ = trail.execute(GetRandom(8)), trail.execute(ReadClock())
    ...     told = trail.attest(ak, b"a nonce")
    >>> verify_session_audit(
    ...     told.attest, told.signature, ak.public, nonce=b"a nonce", commands=trail.commands).failed
    ()
    """
    with client_of(client).start_session(hash=hash) as session:
        yield AuditTrail(client, session)


def set_audited_commands(
    client: Client,
    *,
    add: Iterable[int] = (),
    remove: Iterable[int] = (),
    hash: HashName | None = None,
) -> None:
    """Choose which commands the TPM audits whoever gives them, for which the owner authorizes.

    Parameters
    ----------
    client : Client
        The TPM.
    add, remove : iterable of TPM_CC
        The commands.
    hash : HashAlgorithm, int or str, optional
        Another hash for the audit, which starts it anew.

    Raises
    ------
    TpmResponseError
        If the TPM refuses.
    """
    tpm = client_of(client)
    if hash is not None:
        tpm.set_command_code_audit_status(TPM_RH.OWNER, TPM_ALG_ID(hash_of(hash).id), (), ())
    lists = [_codes(codes, where) for codes, where in ((add, "add"), (remove, "remove"))]
    if any(lists):
        tpm.set_command_code_audit_status(TPM_RH.OWNER, TPM_ALG_ID.NULL, *lists)


def attest_commands(client: Client, key: TpmKey, nonce: BytesLike) -> Attestation:
    """Have the digest of audited commands attested, and start it anew; `verify_command_audit` verifies it.

    Parameters
    ----------
    client : Client
        The TPM; the endorsement hierarchy authorizes.
    key : RsaKey or EccKey
        The attestation key.
    nonce : bytes-like
        What the verifier has sent.
    """
    tpm, held = client_of(client), instance(key, TpmKey, "key")
    challenge = octets(nonce, "nonce")
    with held.authorized() as sessions:
        both = None if sessions is None else [PASSWORD, *sessions]
        made = tpm.get_command_audit_digest(TPM_RH.ENDORSEMENT, held.handle, challenge, _KEYS_OWN_SCHEME, sessions=both)
    return Attestation(made.auditInfo, made.signature)


def _codes(codes: Iterable[int], where: str) -> tuple[TPM_CC, ...]:
    known = {int(code): code for code in TPM_CC}
    found = []
    for code in items_of(codes, where, "command codes", error=TpmMisuseError):
        if not isinstance(code, int) or code not in known:
            raise TpmMisuseError(shown(code), where=where, expected="a TPM_CC")
        found.append(known[code])
    return tuple(found)
