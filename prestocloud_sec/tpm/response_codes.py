# SPDX-License-Identifier: Apache-2.0
"""What a response code says, in words (TPM 2.0 Library, Part 1, clause 39; Part 2, 6.6).

A code of format 1 (bit 7) is a base code with the number of what is at fault: a parameter (bit 6), a handle, or a
session (bit 11). A code of format 0 is an error or a warning of its own; 910 to 91E name a handle or a session too.
Bits 16 to 23 tell which layer of software made the code: 0 is the TPM itself.

>>> print(explain(0x98E, "Unseal"))
Unseal, session 1: TPM_RC_AUTH_FAIL (0x98e): the authorization is wrong, and was counted as a failed attempt
>>> explain(0x2C4, "NV_Read").culprit
'offset'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prestocloud_sec.tpm import errors
from prestocloud_sec.tpm.errors import TpmMisuseError, TpmResponseError
from prestocloud_sec.tpm.spec.commands import COMMANDS, COMMANDS_BY_NAME
from prestocloud_sec.tpm.spec.constants import TPM_RC
from prestocloud_sec.tpm.spec.declare import Command
from prestocloud_sec.wire import shown, whole

__all__ = ["LAYERS", "WORDS", "Meaning", "ResponseCode", "error_for", "explain"]


class Meaning(NamedTuple):
    """What a base code means.

    Attributes
    ----------
    words : str
        In words.
    error : type
        The error that is raised for it.
    hint : str or None
        What can be done about it.
    """

    words: str
    error: type[TpmResponseError] = TpmResponseError
    hint: str | None = None


RC = TPM_RC

WORDS: Mapping[int, Meaning] = {
    RC.SUCCESS: Meaning("the command was carried out"),
    RC.BAD_TAG: Meaning("the tag of the command is not one of TPM 2.0"),
    # format 0, errors
    RC.INITIALIZE: Meaning(
        "TPM2_Startup is needed first, or was given already",
        errors.InitializeError,
        "send Startup, once after power-on",
    ),
    RC.FAILURE: Meaning(
        "a self-test failed, and the TPM does nothing else any more",
        errors.FailureModeError,
        "GetTestResult tells more; only a reset can help",
    ),
    RC.SEQUENCE: Meaning("the sequence cannot be used so"),
    RC.PRIVATE: Meaning("not used"),
    RC.HMAC: Meaning("not used"),
    RC.DISABLED: Meaning("the command, or the hierarchy that it needs, is disabled", errors.DisabledError),
    RC.EXCLUSIVE: Meaning("the audit session is not exclusive any more: another command came between"),
    RC.AUTH_TYPE: Meaning("the handle cannot be authorized in this way"),
    RC.AUTH_MISSING: Meaning("a handle needs an authorization, and the command has no session for it"),
    RC.POLICY: Meaning("the policy cannot be continued so", errors.PolicyFailError),
    RC.PCR: Meaning("the PCR cannot be used so"),
    RC.PCR_CHANGED: Meaning(
        "a PCR changed after PolicyPCR looked at it", errors.PcrChangedError, "restart the policy, and repeat it"
    ),
    RC.UPGRADE: Meaning("the TPM waits for the rest of a firmware upgrade"),
    RC.TOO_MANY_CONTEXTS: Meaning("no number is left for a saved context", errors.SessionMemoryError),
    RC.AUTH_UNAVAILABLE: Meaning("the authValue or the policy of the entity cannot be had now"),
    RC.REBOOT: Meaning("the TPM has to be reset before it goes on"),
    RC.UNBALANCED: Meaning("hash and block cipher of the key are not equally strong"),
    RC.COMMAND_SIZE: Meaning("the size in the command is not its length"),
    RC.COMMAND_CODE: Meaning("the TPM does not know the command", errors.CommandUnknownError),
    RC.AUTHSIZE: Meaning("the size of the sessions is wrong"),
    RC.AUTH_CONTEXT: Meaning("the command takes no session"),
    RC.NV_RANGE: Meaning("offset and size lie outside of the index", errors.NvRangeError),
    RC.NV_SIZE: Meaning("the size is more than can be had at once", errors.NvRangeError),
    RC.NV_LOCKED: Meaning("the index is locked", errors.NvLockedError),
    RC.NV_AUTHORIZATION: Meaning("who authorizes may not do this with the index", errors.NvAuthorizationError),
    RC.NV_UNINITIALIZED: Meaning("the index was not written yet", errors.NvUninitializedError),
    RC.NV_SPACE: Meaning(
        "no room in the non-volatile memory", errors.NvSpaceError, "remove an index or persistent object"
    ),
    RC.NV_DEFINED: Meaning("the index, or persistent handle, is in use already", errors.NvDefinedError),
    RC.BAD_CONTEXT: Meaning("the saved context cannot be loaded"),
    RC.CPHASH: Meaning("the session has a cpHash already, or not that of the command", errors.PolicyFailError),
    RC.PARENT: Meaning("the handle is not one of a parent"),
    RC.NEEDS_TEST: Meaning("a function has to be tested first", hint="send SelfTest"),
    RC.NO_RESULT: Meaning("no result, for a reason that the TPM does not tell"),
    RC.SENSITIVE: Meaning("the secret part does not fit the public area"),
    RC.READ_ONLY: Meaning("the TPM is in read-only mode", errors.DisabledError),
    # format 0, warnings
    RC.CONTEXT_GAP: Meaning(
        "the oldest saved session has to be loaded before another can be saved", errors.SessionMemoryError
    ),
    RC.OBJECT_MEMORY: Meaning(
        "no memory for a further object", errors.ObjectMemoryError, "save an object away, or flush one"
    ),
    RC.SESSION_MEMORY: Meaning(
        "no memory for a further session", errors.SessionMemoryError, "save a session away, or flush one"
    ),
    RC.MEMORY: Meaning("no memory", errors.ObjectMemoryError, "flush objects and sessions"),
    RC.SESSION_HANDLES: Meaning("no handle for a further session", errors.SessionMemoryError, "flush a session"),
    RC.OBJECT_HANDLES: Meaning("no handle for a further object", errors.ObjectMemoryError, "flush an object"),
    RC.LOCALITY: Meaning("not from this locality", errors.LocalityError),
    RC.YIELDED: Meaning("the TPM let the command go for another one", errors.RetryError, "send it again"),
    RC.CANCELED: Meaning("the command was cancelled", errors.CanceledError, "send it again"),
    RC.TESTING: Meaning("the TPM tests itself", errors.RetryError, "send it again"),
    RC.NV_RATE: Meaning("too many writes for the non-volatile memory", errors.NvRateError, "send it again"),
    RC.LOCKOUT: Meaning(
        "too many failed attempts: what is protected against them cannot be authorized",
        errors.LockoutError,
        "wait, or DictionaryAttackLockReset with lockoutAuth",
    ),
    RC.RETRY: Meaning("the TPM was not able to start the command", errors.RetryError, "send it again"),
    RC.NV_UNAVAILABLE: Meaning("non-volatile memory cannot be written now", errors.NvUnavailableError, "send it again"),
    # format 1
    RC.ASYMMETRIC: Meaning("the asymmetric algorithm is not supported, or not right here"),
    RC.ATTRIBUTES: Meaning("attributes do not fit each other, or what is asked for"),
    RC.HASH: Meaning("the hash is not supported, or not right here"),
    RC.VALUE: Meaning("the value is out of range, or not right here"),
    RC.HIERARCHY: Meaning("the hierarchy is disabled, or not right here"),
    RC.KEY_SIZE: Meaning("the size of the key is not supported"),
    RC.MGF: Meaning("the mask generation is not supported"),
    RC.MODE: Meaning("the mode is not supported, or not right here"),
    RC.TYPE: Meaning("the type is not right here"),
    RC.HANDLE: Meaning("the handle is not right here, or nothing has it", errors.HandleError),
    RC.KDF: Meaning("the key derivation is not supported, or not right here"),
    RC.RANGE: Meaning("the value is out of the allowed range"),
    RC.AUTH_FAIL: Meaning("the authorization is wrong, and was counted as a failed attempt", errors.AuthFailError),
    RC.NONCE: Meaning("the nonce has a wrong size, or is not that of the session"),
    RC.PP: Meaning("the command needs physical presence"),
    RC.SCHEME: Meaning("the scheme is not supported, or not right here"),
    RC.SIZE: Meaning("the size is wrong"),
    RC.SYMMETRIC: Meaning("the block cipher is not supported, or not right here"),
    RC.TAG: Meaning("the structure tag is wrong"),
    RC.SELECTOR: Meaning("the selector of a union is wrong"),
    RC.INSUFFICIENT: Meaning("the bytes end too early"),
    RC.SIGNATURE: Meaning("the signature does not verify"),
    RC.KEY: Meaning("the key does not fit what it is used for"),
    RC.POLICY_FAIL: Meaning("the policy of the session is not that of the entity", errors.PolicyFailError),
    RC.INTEGRITY: Meaning("the bytes were changed, or belong to another parent or TPM", errors.IntegrityError),
    RC.TICKET: Meaning("the ticket is not valid"),
    RC.RESERVED_BITS: Meaning("bits that have to be zero are set"),
    RC.BAD_AUTH: Meaning("the authorization is wrong; the attempt was not counted", errors.BadAuthError),
    RC.EXPIRED: Meaning("the authorization of the policy has expired", errors.PolicyFailError),
    RC.POLICY_CC: Meaning("the policy is for another command", errors.PolicyFailError),
    RC.BINDING: Meaning("public and secret part do not belong together"),
    RC.CURVE: Meaning("the curve is not supported"),
    RC.ECC_POINT: Meaning("the point is not on the curve"),
    RC.FW_LIMITED: Meaning("the hierarchy belongs to other firmware"),
    RC.SVN_LIMITED: Meaning("the hierarchy belongs to another security version"),
    RC.CHANNEL: Meaning("the command did not come from a secure channel", errors.PolicyFailError),
    RC.CHANNEL_KEY: Meaning("the secure channel has other keys", errors.PolicyFailError),
}
"""What each base code means; REFERENCE_H0 to S6 and numbers are told apart by `explain`."""

LAYERS: Mapping[int, str] = {
    0: "TPM",
    6: "feature or ESAPI library",
    7: "SAPI library",
    8: "marshalling library",
    9: "transport library",
    11: "resource manager",
    12: "resource manager, in the words of the TPM",
}
"""Who made a code, by bits 16 to 23 (TSS 2.0 Overview, 2.4)."""


_NO_DECRYPTION = "the key is one that signs, or restricted as storage keys are; it takes one made with use='decrypt'"
_NO_SIGNING = "the key is one that decrypts; it takes one that signs"
_KEY_HINTS: Mapping[tuple[str | None, int], str] = {
    ("RSA_Decrypt", RC.ATTRIBUTES): _NO_DECRYPTION,
    ("ECDH_ZGen", RC.ATTRIBUTES): _NO_DECRYPTION,
    ("Sign", RC.KEY): _NO_SIGNING,
    ("Quote", RC.KEY): _NO_SIGNING,
}
"""What is wrong with the key, where a command refuses its first handle with a code that says little (Part 3)."""


@dataclass(frozen=True, slots=True, repr=False)
class ResponseCode:
    """A response code, taken apart.

    Attributes
    ----------
    rc : int
        The code as it was received.
    base : int
        The code without number: a `TPM_RC` where it is known.
    name : str
        Its name, such as ``AUTH_FAIL``.
    words : str
        What it means.
    kind : str
        ``"success"``, ``"error"``, ``"warning"``, ``"vendor"`` or ``"TPM 1.2"``.
    command : str or None
        The command that was refused.
    parameter, handle, session : int or None
        The number, from 1, of what is at fault.
    culprit : str or None
        What the declaration of the command calls it.
    layer : int
        Who made the code: 0 for the TPM, else see `LAYERS`.
    hint : str or None
        What can be done about it.
    """

    rc: int
    base: int
    name: str
    words: str
    kind: str
    command: str | None = None
    parameter: int | None = None
    handle: int | None = None
    session: int | None = None
    culprit: str | None = None
    layer: int = 0
    hint: str | None = None

    def error(self) -> TpmResponseError:
        """Return the error for it, of the class that people catch; one for success is a contradiction."""
        if self.kind == "success":
            raise TpmMisuseError("TPM_RC_SUCCESS is no error", where="rc")
        kind = errors.HandleNotLoadedError if self.name.startswith("REFERENCE_") else TpmResponseError
        if self.base in WORDS and kind is TpmResponseError:
            kind = WORDS[self.base].error
        return kind(
            self.rc,
            self.name,
            self.words,
            command=self.command,
            parameter=self.parameter,
            handle=self.handle,
            session=self.session,
            culprit=self.culprit,
            hint=self.hint,
        )

    def __repr__(self) -> str:
        rc = f"0x{self.rc:03x}" if isinstance(self.rc, int) else shown(self.rc)
        told = {"": self.name, "command ": self.command, "parameter ": self.parameter}
        told |= {"handle ": self.handle, "session ": self.session, "that is ": self.culprit}
        words = (f"{what}{_short(value)}" for what, value in told.items() if value is not None)
        return f"<ResponseCode {rc}, {', '.join(words)}>"

    def __str__(self) -> str:
        return f"TPM_RC_SUCCESS: {self.words}" if self.kind == "success" else str(self.error())


def explain(rc: int | str, command: type[Command] | int | str | None = None) -> ResponseCode:
    """Take a response code apart.

    Parameters
    ----------
    rc : int or str
        The code, or its name: ``"BAD_AUTH"``, ``"TPM_RC_BAD_AUTH"``.
    command : type, int or str, optional
        The command that it answers: its declaration, its code or its name. With it the parameter or handle at fault has
        a name.

    Raises
    ------
    TpmMisuseError
        If `rc` is neither an integer of 32 bits nor such a name, or `command` none of these.
    """
    number = _named(rc) if isinstance(rc, str) else whole(rc, "rc", 0, 0xFFFFFFFF, error=TpmMisuseError)
    known, title = _command(command)
    layer, code = number >> 16 & 0xFF, number & 0xFFFF
    if code & 0x80:
        return _format_1(number, code, layer, known, title)
    if code and not code & 0x100:
        if code == TPM_RC.BAD_TAG:
            return ResponseCode(number, code, "BAD_TAG", WORDS[TPM_RC.BAD_TAG].words, "error", title, layer=layer)
        return ResponseCode(number, code, f"0x{code:x}", "a code of TPM 1.2", "TPM 1.2", title, layer=layer)
    if code & 0x400:
        return ResponseCode(number, code, f"0x{code:x}", "a code of the vendor", "vendor", title, layer=layer)
    kind = "warning" if code & 0x800 else "error" if code else "success"
    index = code - TPM_RC.REFERENCE_H0
    if 0 <= index <= 6:
        words = f"handle {index + 1} refers to an object or session that is not loaded"
        culprit = _name(known.handle_names if known else (), index)
        return ResponseCode(
            number, code, f"REFERENCE_H{index}", words, kind, title, handle=index + 1, culprit=culprit, layer=layer
        )
    index = code - TPM_RC.REFERENCE_S0
    if 0 <= index <= 6:
        words = f"session {index + 1} is not loaded"
        return ResponseCode(number, code, f"REFERENCE_S{index}", words, kind, title, session=index + 1, layer=layer)
    name, words, hint = _meaning(code)
    return ResponseCode(number, _base(code), name, words, kind, title, layer=layer, hint=hint)


def error_for(rc: int, command: type[Command] | int | str | None = None) -> TpmResponseError:
    """Return the error for a response code that is not success.

    Parameters
    ----------
    rc : int
        The code.
    command : type, int or str, optional
        The command that it answers.

    Raises
    ------
    TpmMisuseError
        If it is the code of success, or no code at all.
    """
    return explain(rc, command).error()


def _format_1(number: int, code: int, layer: int, known: type[Command] | None, title: str | None) -> ResponseCode:
    base = code & 0x0BF
    name, words, hint = _meaning(base)
    parameter = handle = session = None
    culprit: str | None = None
    if code & 0x40:
        parameter = (code >> 8 & 0xF) or None
        if parameter and known:
            from prestocloud_sec.tpm.codec.fields import layout_of

            culprit = _name(tuple(field.name for field in layout_of(known).fields), parameter - 1)
    elif code & 0x800:
        session = (code >> 8 & 7) or None
    else:
        handle = (code >> 8 & 7) or None
        if handle and known:
            culprit = _name(known.handle_names, handle - 1)
        if handle == 1:
            hint = _KEY_HINTS.get((title, base), hint)
    return ResponseCode(
        number, _base(base), name, words, "error", title, parameter, handle, session, culprit, layer, hint
    )


def _named(text: str) -> int:
    name = text.upper().removeprefix("TPM_RC_")
    if name not in TPM_RC.__members__:
        raise TpmMisuseError(shown(text), where="rc", expected="a number of 32 bits, or a name such as BAD_AUTH")
    return int(TPM_RC[name])


def _command(command: object) -> tuple[type[Command] | None, str | None]:
    """Return the declaration of a command, and what to call it."""
    if command is None:
        return None, None
    if isinstance(command, type) and issubclass(command, Command) and command is not Command:
        return command, command.__name__
    if isinstance(command, str):
        return COMMANDS_BY_NAME.get(command), command
    if isinstance(command, int):
        found = COMMANDS.get(command)
        return found, found.__name__ if found else f"command 0x{int(command):x}"
    raise TpmMisuseError(shown(command), where="command", expected="a command, its code or its name")


def _short(value: object) -> str:
    """Return a name as it is, and anything else as it can be shown."""
    return value if isinstance(value, str) and value.isidentifier() and len(value) <= 40 else shown(value)


def _name(names: tuple[str, ...], index: int) -> str | None:
    return names[index].rstrip("_") if index < len(names) else None


def _base(code: int) -> int:
    return TPM_RC(code) if code in WORDS else code


def _meaning(code: int) -> tuple[str, str, str | None]:
    found = WORDS.get(code)
    if found is None:
        return f"0x{code:x}", "a code that the specification does not have", None
    return TPM_RC(code).name, found.words, found.hint
