# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong about a TPM, each with a type of its own.

Five branches, told apart because they ask for five different reactions:

- `TpmInputError`: bytes from outside are not what they claim to be (a truncated structure, a forged response, a quote
  that does not verify). Drop them.
- `TpmMisuseError`: the calling code broke a rule of this library. Mend the call.
- `TpmUnavailableError`: a library, a program or a device is not here. Install it, or go without.
- `TransportError`: the way to the TPM failed; what the TPM did with the command is not known unless the error says so.
- `TpmResponseError`: the TPM answered, and refused. Its words say which parameter, handle or session it refused
  (TPM 2.0 Library, Part 1, clause 39 and Part 2, 6.6).
"""

from __future__ import annotations

from prestocloud_sec.errors import (
    InputError,
    MisuseError,
    PrestoCloudError,
    TrailingBytesError,
    TruncatedError,
    UnavailableError,
)

__all__ = [
    "AuthFailError",
    "BadAuthError",
    "CanceledError",
    "CommandUnknownError",
    "DisabledError",
    "ExchangeError",
    "FailureModeError",
    "HandleError",
    "HandleNotLoadedError",
    "InitializeError",
    "IntegrityError",
    "LocalityError",
    "LockoutError",
    "NvAuthorizationError",
    "NvDefinedError",
    "NvError",
    "NvLockedError",
    "NvRangeError",
    "NvRateError",
    "NvSpaceError",
    "NvUnavailableError",
    "NvUninitializedError",
    "ObjectMemoryError",
    "PcrChangedError",
    "PolicyError",
    "PolicyFailError",
    "PolicyFormatError",
    "ReplayError",
    "ResponseHmacError",
    "RetryError",
    "SessionMemoryError",
    "SessionStateError",
    "Tpm12Error",
    "TpmFormatError",
    "TpmInputError",
    "TpmMisuseError",
    "TpmResponseError",
    "TpmTrailingBytesError",
    "TpmTruncatedError",
    "TpmUnavailableError",
    "TransportBusyError",
    "TransportClosedError",
    "TransportError",
    "TransportProtocolError",
    "TransportRefusedError",
    "TransportTimeoutError",
    "TransportUriError",
    "UnwrapError",
    "VerificationError",
]


class TpmInputError(InputError):
    """Base of all errors that bytes from outside can cause."""


class TpmFormatError(TpmInputError):
    """Bytes that are not the structure they are read as.

    Attributes
    ----------
    rc : int or None
        The response code (without the number of a parameter) that a TPM gives for the same fault, where it has one.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        offset: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
        rc: int | None = None,
    ) -> None:
        self.rc = rc
        super().__init__(what, where=where, offset=offset, expected=expected, hint=hint)


class TpmTruncatedError(TpmFormatError, TruncatedError):
    """The bytes end before a field does."""


class TpmTrailingBytesError(TpmFormatError, TrailingBytesError):
    """The bytes go on after the last field."""


class Tpm12Error(TpmFormatError):
    """A response with the tag 00C4: what answered is a TPM 1.2, or a TPM 2.0 that was sent a tag it does not know."""


class ResponseHmacError(TpmInputError):
    """The HMAC of a response is wrong: it was changed on the way, or does not come from the TPM of this session."""


class VerificationError(TpmInputError):
    """A signature, a digest, a name or an attestation does not verify."""


class TpmMisuseError(MisuseError):
    """A TPM object was called in a way its documentation forbids."""


class TpmUnavailableError(UnavailableError):
    """A library, a program or a device that a TPM is reached through is not here."""


class TransportError(PrestoCloudError):
    """The way to the TPM failed."""


class TransportTimeoutError(TransportError):
    """No answer within the time allowed; the TPM may still be at work."""


class TransportClosedError(TransportError):
    """The way to the TPM is closed, at this end or at the other."""


class TransportBusyError(TransportError):
    """Somebody else has the device, or an answer waits to be read."""


class TpmResponseError(PrestoCloudError):
    """The TPM refused a command.

    Parameters
    ----------
    rc : int
        The response code as it was received.
    name : str
        The name of the code without number and prefix, such as ``AUTH_FAIL``.
    words : str
        What the code means.
    command : str, optional
        The command that was refused.
    parameter, handle, session : int, optional
        The number, from 1, of what the TPM refused; at most one of them is given.
    culprit : str, optional
        The name that the command's declaration gives to that parameter, handle or session.
    hint : str, optional
        What the reader can do about it.
    """

    def __init__(
        self,
        rc: int,
        name: str,
        words: str,
        *,
        command: str | None = None,
        parameter: int | None = None,
        handle: int | None = None,
        session: int | None = None,
        culprit: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.rc = rc
        self.name = name
        self.words = words
        self.command = command
        self.parameter = parameter
        self.handle = handle
        self.session = session
        self.culprit = culprit
        places = [
            f"{kind} {number}"
            for kind, number in (("parameter", parameter), ("handle", handle), ("session", session))
            if number is not None
        ]
        place = f"{places[0]} ({culprit})" if places and culprit else places[0] if places else culprit
        where = ", ".join(part for part in (command, place) if part) or None
        super().__init__(f"TPM_RC_{name} (0x{rc:03x}): {words}", where=where, hint=hint)


class AuthFailError(TpmResponseError):
    """An authorization was wrong, and the TPM counted the failure against its dictionary-attack limit."""


class BadAuthError(AuthFailError):
    """An authorization was wrong; the entity is not protected against dictionary attacks, so nothing was counted."""


class LockoutError(TpmResponseError):
    """Too many wrong authorizations: entities protected against dictionary attacks cannot be used for now.

    Attributes
    ----------
    seconds : int or None
        How long that will last at most, where the TPM tells.
    """

    seconds: int | None = None


class PolicyFailError(TpmResponseError):
    """The policy session does not satisfy the policy, no longer does, or never could."""


class PcrChangedError(PolicyFailError):
    """A PCR changed after the policy session looked at it."""


class RetryError(TpmResponseError):
    """The TPM was not able to start the command now; sent again, the same bytes may succeed."""


class CanceledError(TpmResponseError):
    """The command was cancelled before it did anything."""


class ObjectMemoryError(TpmResponseError):
    """No memory for a further object: save one away, or flush one."""


class SessionMemoryError(TpmResponseError):
    """No memory, or no handle, for a further session: save one away, or flush one."""


class HandleError(TpmResponseError):
    """A handle is not one that the command can use, or not one that exists."""


class HandleNotLoadedError(HandleError):
    """A handle refers to a transient object or a session that is not loaded."""


class IntegrityError(TpmResponseError):
    """The integrity value of protected bytes is wrong: they were changed, or belong to another parent or TPM."""


class LocalityError(TpmResponseError):
    """The command may not be given from this locality."""


class DisabledError(TpmResponseError):
    """The command, or the hierarchy it needs, is disabled."""


class InitializeError(TpmResponseError):
    """The TPM waits for TPM2_Startup, or has already had it."""


class FailureModeError(TpmResponseError):
    """The TPM failed its self-test, and answers nothing but questions about that."""


class CommandUnknownError(TpmResponseError):
    """The TPM does not implement the command."""


class NvError(TpmResponseError):
    """Base of the refusals that have to do with non-volatile memory."""


class NvRangeError(NvError):
    """An offset or a size lies outside the NV index."""


class NvLockedError(NvError):
    """The NV index is locked against reading or writing."""


class NvAuthorizationError(NvError):
    """The NV index does not allow this authorization for this command."""


class NvUninitializedError(NvError):
    """The NV index was never written, or lost its state with the last start."""


class NvSpaceError(NvError):
    """No room for the NV index or the persistent object."""


class NvDefinedError(NvError):
    """An NV index or a persistent object of this handle exists already."""


class NvRateError(NvError, RetryError):
    """The TPM holds back writes to spare its memory; the command can be sent again."""


class NvUnavailableError(NvError, RetryError):
    """The memory cannot be written just now; the command can be sent again."""


class TransportProtocolError(TransportError):
    """What came back is no response: its length is absurd, or not the one it states."""


class TransportRefusedError(TransportError):
    """The kernel, an emulator's control channel or libtpms refused, and the TPM did not see the command.

    Attributes
    ----------
    number : int
        Why: an errno of the kernel, or a result of the control channel or of libtpms.
    """

    def __init__(
        self,
        what: str,
        *,
        number: int,
        where: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.number = number
        super().__init__(what, where=where, expected=expected, hint=hint)


class ReplayError(TransportError):
    """A command is not the one that was recorded at this place, or the recording is at its end."""


class TransportUriError(TpmInputError):
    """A text that names no transport, or gives it options that it does not have."""


class SessionStateError(TpmMisuseError):
    """A session has ended, has lost the TPM's nonce, or has a command under way."""


class UnwrapError(VerificationError):
    """Protected bytes do not open: they were changed, or are for another key, object or purpose."""


class ExchangeError(TpmInputError):
    """A message of the attestation protocol that has no place where it came: out of order, too late, or used before."""


class PolicyError(TpmMisuseError):
    """A policy that cannot be: a digest of another hash, too many branches, a branch that is not there."""


class PolicyFormatError(TpmInputError):
    """Text that is not a policy in JSON."""
