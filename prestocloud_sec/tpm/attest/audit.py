# SPDX-License-Identifier: Apache-2.0
"""Attestations of what a TPM was told to do: audited sessions, audited commands, and of its clock.

The digest of an audit starts with zeros, and each command makes it ``H(digest || cpHash || rpHash)``, where cpHash is
of the command's code, the Names of its handles and its parameters, and rpHash of the response's code, the command's
code and the response's parameters. So whoever has the commands can follow.

Sources: TPM 2.0 Library, Part 1, clauses 16.7, 16.8 and 19.10; Part 2, 10.12.2, 10.12.4 and 10.12.5; Part 3, 18.5 to
18.7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.attest.statement import Expected, open_statement
from prestocloud_sec.tpm.attest.verdict import Findings, Verdict
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HASHES, HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.spec.constants import TPM_ST
from prestocloud_sec.tpm.spec.structures.attestation import (
    TPMS_COMMAND_AUDIT_INFO,
    TPMS_SESSION_AUDIT_INFO,
    TPMS_TIME_ATTEST_INFO,
)
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.statement import SignatureLike
    from prestocloud_sec.tpm.pem import KeyLike
    from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST, TPMS_CLOCK_INFO
    from prestocloud_sec.wire import BytesLike

__all__ = ["AuditedCommand", "audit_digest", "verify_command_audit", "verify_session_audit", "verify_time"]


class AuditedCommand(NamedTuple):
    """A command that was given, and answered with success.

    Attributes
    ----------
    code : int
        Its command code.
    names : tuple of bytes
        Names of its handles, in order.
    parameters, response_parameters : bytes
        Its parameters as they were sent, and those of the response as they were received.
    """

    code: int
    names: tuple[bytes, ...]
    parameters: bytes
    response_parameters: bytes


def audit_digest(commands: Iterable[AuditedCommand], algorithm: HashName, start: BytesLike | None = None) -> bytes:
    """Return the digest that commands lead an audit to.

    Parameters
    ----------
    commands : iterable of AuditedCommand
        In order.
    algorithm : str or int
        The hash of the audit; for a session that of the session.
    start : bytes-like, optional
        Where the audit stood before; zeros unless told otherwise.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong form.
    """
    row = hash_of(algorithm, "algorithm")
    digest = row.zeros if start is None else octets(start, "start", row.size)
    for command in _commands(commands):
        code = command.code.to_bytes(4, "big")
        sent = row.digest(code, *command.names, command.parameters)
        received = row.digest(bytes(4), code, command.response_parameters)
        digest = row.digest(digest, sent, received)
    return digest


def _commands(commands: Iterable[AuditedCommand]) -> list[AuditedCommand]:
    where, found = "commands", []
    for command in items_of(commands, where, "an iterable of AuditedCommand", error=TpmMisuseError):
        if not isinstance(command, tuple) or len(command) != 4:
            raise TpmMisuseError(shown(command), where=where, expected="an AuditedCommand")
        code, names, parameters, response = command
        held = tuple(
            octets(name, f"{where}.names") for name in items_of(names, f"{where}.names", "Names", error=TpmMisuseError)
        )
        found.append(
            AuditedCommand(
                whole(code, f"{where}.code", 0, 0xFFFFFFFF, error=TpmMisuseError),
                held,
                octets(parameters, f"{where}.parameters"),
                octets(response, f"{where}.response_parameters"),
            )
        )
    return found


def verify_session_audit(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    commands: Iterable[AuditedCommand] | None = None,
    session_hash: HashName | None = None,
    exclusive: bool | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify which commands were given in an audited session (TPM2_GetSessionAuditDigest).

    Parameters
    ----------
    attest, signature, key, nonce
        As in `verify_quote`.
    commands : iterable of AuditedCommand, optional
        What is said to have been done, in order; clause ``session digest``.
    session_hash : str or int, optional
        The hash of the session; by default told by the length of the digest.
    exclusive : bool, optional
        Whether nothing may have been done outside of the session; clause ``exclusive``.
    signer, parent, since, firmware, allow_unrestricted
        As in `Expected`.

    Returns
    -------
    Verdict
        With the clauses that all attestations have, and the two above.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type.
    """
    expected = Expected(signer, parent, since, firmware, allow_unrestricted)  # type: ignore[arg-type]
    given = None if commands is None else _commands(commands)
    row = None if session_hash is None else hash_of(session_hash, "session_hash")
    if exclusive is not None:
        flag(exclusive, "exclusive")
    kinds = (TPM_ST.ATTEST_SESSION_AUDIT,)
    opened = open_statement("an audited session", kinds, attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    findings, info = opened.findings, opened.attest.attested
    if isinstance(info, TPMS_SESSION_AUDIT_INFO):
        words = "nothing was done outside of it" if info.exclusiveSession else "other things were done outside of it"
        findings.equal("exclusive", bool(info.exclusiveSession), exclusive, words)
        algorithm = row or _by_size(len(info.sessionDigest))
        if given is None:
            findings.note("session digest", None, f"{info.sessionDigest.hex()}; no commands were given")
        elif algorithm is None:
            findings.note("session digest", False, f"{len(info.sessionDigest)} bytes are no digest of a known hash")
        else:
            found = audit_digest(given, algorithm)
            findings.equal("session digest", found, info.sessionDigest, f"{len(given)} commands lead to it")
    return findings.verdict()


def _by_size(size: int) -> HashAlgorithm | None:
    return next((row for row in HASHES if row.size == size), None)


def verify_command_audit(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    codes: Iterable[int] | None = None,
    commands: Iterable[AuditedCommand] | None = None,
    digest: BytesLike | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify which commands a TPM audits, and which were given (TPM2_GetCommandAuditDigest).

    Parameters
    ----------
    attest, signature, key, nonce
        As in `verify_quote`.
    codes : iterable of int, optional
        Codes of the commands that should be audited, in any order; clause ``audited commands``.
    commands : iterable of AuditedCommand, optional
        What is said to have been done since the audit began, in order; clause ``audit digest``.
    digest : bytes-like, optional
        The digest of the audit, in place of `commands`.
    signer, parent, since, firmware, allow_unrestricted
        As in `Expected`.

    Returns
    -------
    Verdict
        With the clauses that all attestations have, and the two above.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type, or there are both commands and digest.
    """
    expected = Expected(signer, parent, since, firmware, allow_unrestricted)  # type: ignore[arg-type]
    listed = None
    if codes is not None:
        found_codes = items_of(codes, "codes", "an iterable of codes", error=TpmMisuseError)
        listed = sorted({whole(code, "codes", 0, 0xFFFFFFFF, error=TpmMisuseError) for code in found_codes})
    given = None if commands is None else _commands(commands)
    wanted = None if digest is None else octets(digest, "digest")
    if given is not None and wanted is not None:
        raise TpmMisuseError("both commands and digest", where="digest", expected="one of them")
    kinds = (TPM_ST.ATTEST_COMMAND_AUDIT,)
    opened = open_statement("audited commands", kinds, attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    findings, info = opened.findings, opened.attest.attested
    if isinstance(info, TPMS_COMMAND_AUDIT_INFO):
        try:
            row = hash_of(int(info.digestAlg), "digestAlg")
        except TpmMisuseError as error:
            findings.note("audited commands", None if listed is None else False, str(error))
            findings.note("audit digest", None, str(error))
            return findings.verdict()
        if listed is None:
            findings.note("audited commands", None, "which should be audited was not given")
        else:
            found = row.digest(*(code.to_bytes(4, "big") for code in listed))
            findings.equal("audited commands", found, info.commandDigest, f"the {len(listed)} that should be")
        if given is not None:
            wanted = audit_digest(given, row)
        words = f"{info.auditDigest.hex()}, number {info.auditCounter}"
        if wanted is None:
            findings.note("audit digest", None, f"{words}; no commands were given")
        else:
            findings.equal("audit digest", info.auditDigest, wanted, words)
    return findings.verdict()


def verify_time(
    attest: BytesLike | TPMS_ATTEST,
    signature: SignatureLike,
    key: KeyLike,
    *,
    nonce: BytesLike | None = None,
    signer: BytesLike | None = None,
    parent: BytesLike | int | None = None,
    since: TPMS_CLOCK_INFO | None = None,
    firmware: int | None = None,
    allow_unrestricted: bool = False,
) -> Verdict:
    """Verify the clock of a TPM (TPM2_GetTime).

    The time itself is in ``verdict.attest.attested.time``. The clause ``safe`` holds where the TPM is sure that it
    never told a greater clock; after a power cut it may not be for a while.

    Parameters
    ----------
    attest, signature, key, nonce
        As in `verify_quote`.
    signer, parent, since, firmware, allow_unrestricted
        As in `Expected`.

    Returns
    -------
    Verdict
        With the clauses that all attestations have, and ``safe``.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type.
    """
    expected = Expected(signer, parent, since, firmware, allow_unrestricted)  # type: ignore[arg-type]
    opened = open_statement("a time", (TPM_ST.ATTEST_TIME,), attest, signature, key, nonce, expected)
    if isinstance(opened, Findings):
        return opened.verdict()
    findings, info = opened.findings, opened.attest.attested
    if isinstance(info, TPMS_TIME_ATTEST_INFO):
        clock = info.time.clockInfo
        words = "no greater clock was ever told" if clock.safe else "a greater clock may have been told before"
        findings.note(
            "safe",
            True if clock.safe else None,
            f"{info.time.time} ms since power came, clock {clock.clock} ms: {words}",
        )
    return findings.verdict()
