# SPDX-License-Identifier: Apache-2.0
"""Commands put together from parts that are bytes already, and responses taken apart.

The same as `CommandFrame` and `ResponseFrame` (`prestocloud_sec.tpm.codec.frame`), without the objects in between; what
is not as it should be is given to `ResponseFrame`, which has the words for it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prestocloud_sec.tpm.client.plan import HEAD, NO_SESSIONS, SESSIONS, Plan, plan_of
from prestocloud_sec.tpm.codec.frame import ResponseFrame
from prestocloud_sec.tpm.errors import TpmFormatError, TpmResponseError, TransportRefusedError
from prestocloud_sec.tpm.response_codes import error_for
from prestocloud_sec.tpm.spec.constants import TPM_HT, TPM_RC
from prestocloud_sec.tpm.spec.declare import Command

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.calls import Exchanging

__all__ = ["code_of", "compose", "not_known", "plain", "refusal", "split"]

_HEAD_BYTES = HEAD.size
_MANAGED = (TPM_HT.TRANSIENT, TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION)


def compose(plan: Plan, handles: bytes, exchange: Exchanging) -> bytes:
    """Return the command.

    Parameters
    ----------
    plan : Plan
        Which command.
    handles : bytes
        The handle area.
    exchange : Exchanging
        What has authorization area and parameters.
    """
    auths, parameters = exchange.authorizations, exchange.parameters
    if not auths:
        size = _HEAD_BYTES + len(handles) + len(parameters)
        return b"".join((HEAD.pack(NO_SESSIONS, size, plan.code), handles, parameters))
    size = _HEAD_BYTES + len(handles) + 4 + len(auths) + len(parameters)
    head = HEAD.pack(SESSIONS, size, plan.code)
    return b"".join((head, handles, len(auths).to_bytes(4, "big"), auths, parameters))


def plain(command: Command, *handles: bytes) -> bytes:
    """Return a command without sessions, whose handles are given as the TPM has them."""
    plan, parameters = plan_of(command), command.encode_parameters()
    size = _HEAD_BYTES + 4 * len(handles) + len(parameters)
    return b"".join((HEAD.pack(NO_SESSIONS, size, plan.code), *handles, parameters))


def code_of(response: bytes) -> int:
    """Return the response code; 0 for success.

    Raises
    ------
    TpmTruncatedError
        If the response is too short to have one, which would look like success.
    """
    if len(response) < _HEAD_BYTES:
        ResponseFrame.decode(response, 0)
    return int.from_bytes(response[6:10], "big")


def refusal(response: bytes, command: type[Command]) -> TpmResponseError:
    """Return the error for a response that does not say success.

    Raises
    ------
    Tpm12Error, TpmFormatError
        If it is no response, or no code.
    """
    frame = ResponseFrame.decode(response, int(command.code))
    if not frame.rc & 0xFFFF:
        raise TpmFormatError(
            f"0x{frame.rc:08x}", where=f"response to {command.__name__}", offset=6, expected="a response code"
        )
    return error_for(frame.rc, command)


_UNKNOWN_HANDLE = frozenset({errno.EINVAL, errno.EFAULT})
_OF_RESOURCE_MANAGER = 0x000B0000
"""Layer 11 of response codes (TSS 2.0 Overview, 2.4), under which Linux gives its own ones too."""


def not_known(error: TransportRefusedError, command: type[Command], handles: Iterable[int]) -> TpmResponseError | None:
    """Return the error for what Linux's resource manager refuses without a response: a handle that it does not know.

    A TPM answers with a response code then. Callers get the same error either way: TPM_RC_REFERENCE_H0 and its like.

    Parameters
    ----------
    error : TransportRefusedError
        The kernel's refusal.
    command : type
        The command.
    handles : iterable of int
        What it names.

    Returns
    -------
    TpmResponseError or None
        None if the kernel has another reason: nothing that is named is a transient object or a session.
    """
    if error.number in _UNKNOWN_HANDLE:
        for index, handle in enumerate(handles):
            if handle >> 24 in _MANAGED:
                return error_for(_OF_RESOURCE_MANAGER | TPM_RC.REFERENCE_H0 + index, command)
    return None


def split(plan: Plan, response: bytes, *, sessions: bool) -> tuple[int, bytes, bytes]:
    """Return handle (0 if there is none), parameter area and authorization area of a response that says success.

    Parameters
    ----------
    plan : Plan
        Which command it answers.
    response : bytes
        The response.
    sessions : bool
        Whether the command had sessions. The response has to have them too: one that does without would escape every
        check of its HMACs.

    Raises
    ------
    Tpm12Error, TpmFormatError
        If it is not such a response.
    """
    start = plan.start
    if len(response) >= start:
        tag, size, rc = HEAD.unpack_from(response)
        if size == len(response) and not rc:
            handle = int.from_bytes(response[_HEAD_BYTES:start], "big") if plan.answers else 0
            if tag == SESSIONS and sessions:
                middle = start + 4 + int.from_bytes(response[start : start + 4], "big")
                if start + 4 <= middle < size:
                    return handle, response[start + 4 : middle], response[middle:]
            elif tag == NO_SESSIONS and not sessions:
                return handle, response[start:], b""
    frame = ResponseFrame.decode(response, plan.code)
    wanted = SESSIONS if sessions else NO_SESSIONS
    raise TpmFormatError(
        f"tag {frame.tag:04x} and response code 0x{frame.rc:x}",
        where=f"response to {plan.command.__name__}",
        offset=0,
        expected=f"tag {wanted:04x} and success, as the command had {'' if sessions else 'no '}sessions",
    )
