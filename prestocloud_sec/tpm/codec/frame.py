# SPDX-License-Identifier: Apache-2.0
"""What is around the parameters of a command or response (TPM 2.0 Library, Part 1, clause 18; Part 3, clause 5).

::

    command    tag(2) size(4) code(4)  handles(4 each)  [authSize(4) TPMS_AUTH_COMMAND...]  parameters
    response   tag(2) size(4) rc(4)    [handle(4)]      [parameterSize(4)]  parameters  [TPMS_AUTH_RESPONSE...]

What stands in brackets is there with the tag TPM_ST_SESSIONS alone. How many handles there are is known to the
declaration of the command; for a command without declaration (a vendor's) the caller has to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeVar

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.codec.fields import layout_of
from prestocloud_sec.tpm.codec.walk import Cursor, build, decode_fields
from prestocloud_sec.tpm.errors import Tpm12Error, TpmFormatError, TpmMisuseError, TpmTruncatedError
from prestocloud_sec.tpm.spec.commands import COMMANDS
from prestocloud_sec.tpm.spec.constants import TPM_RC, TPM_ST
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE
from prestocloud_sec.wire import items_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["CommandFrame", "ResponseFrame"]

_HEADER = Struct(">HII")
_U32 = Struct(">I")
MOST_SESSIONS = 3
"""Sessions of one command (Part 1, 18.6.1)."""

RC_BAD_TAG = int(TPM_RC.BAD_TAG)
RC_COMMAND_SIZE = int(TPM_RC.COMMAND_SIZE)
RC_COMMAND_CODE = int(TPM_RC.COMMAND_CODE)
RC_AUTHSIZE = int(TPM_RC.AUTHSIZE)


def _count_of(code: int, handles: int | None, *, response: bool) -> int:
    """Return how many handles a command or its response has."""
    if handles is not None:
        return whole(handles, "handles", 0, 7, error=TpmMisuseError)
    command = COMMANDS.get(code)
    if command is None:
        raise TpmFormatError(
            f"no command 0x{code:x} is known",
            where="commandCode",
            offset=6,
            hint="say how many handles it has",
            rc=RC_COMMAND_CODE,
        )
    return len((command.Response if response else command).handle_names)


def _admit_tag(tag: object, where: str) -> TPM_ST:
    number = whole(tag, where, 0, 0xFFFF, error=TpmMisuseError)
    if number not in (TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS):
        raise TpmMisuseError(_tag_name(number), where=where, expected="8001 or 8002")
    return TPM_ST(number)


def _tag_name(tag: int) -> str:
    return f"0x{tag:04x}"


def _pack_handles(handles: tuple[int, ...]) -> bytes:
    return b"".join([_U32.pack(handle) for handle in handles])


def _whole_handles(handles: Iterable[int], where: str) -> tuple[int, ...]:
    numbers = items_of(handles, where, "handles", error=TpmMisuseError)
    return tuple(whole(handle, where, 0, 0xFFFFFFFF, error=TpmMisuseError) for handle in numbers)


@dataclass(frozen=True, slots=True)
class CommandFrame:
    """A command, its parameters as bytes.

    Attributes
    ----------
    tag : int
        TPM_ST_NO_SESSIONS, or TPM_ST_SESSIONS where there are some.
    code : int
        The command code.
    handles : tuple of int
        The handle area.
    auths : tuple of TPMS_AUTH_COMMAND
        The sessions, three at most.
    parameters : bytes
        The parameter area, as it is sent: perhaps encrypted.
    """

    tag: int
    code: int
    handles: tuple[int, ...] = ()
    auths: tuple[TPMS_AUTH_COMMAND, ...] = ()
    parameters: bytes = b""

    def __post_init__(self) -> None:
        name = type(self).__name__
        object.__setattr__(self, "tag", _admit_tag(self.tag, f"{name}.tag"))
        object.__setattr__(self, "code", whole(self.code, f"{name}.code", 0, 0xFFFFFFFF, error=TpmMisuseError))
        object.__setattr__(self, "handles", _whole_handles(self.handles, f"{name}.handles"))
        object.__setattr__(self, "auths", _auths(self.auths, TPMS_AUTH_COMMAND, f"{name}.auths"))
        object.__setattr__(self, "parameters", octets(self.parameters, f"{name}.parameters"))
        if bool(self.auths) != (self.tag == TPM_ST.SESSIONS):
            wanted = "8001 without sessions, 8002 with some"
            raise TpmMisuseError(f"{len(self.auths)} sessions and tag {self.tag:04x}", where=name, expected=wanted)

    def encode(self) -> bytes:
        """Return the bytes of the command."""
        body = _pack_handles(self.handles)
        if self.auths:
            area = b"".join([auth.encode() for auth in self.auths])
            body += _U32.pack(len(area)) + area
        return _HEADER.pack(self.tag, 10 + len(body) + len(self.parameters), self.code) + body + self.parameters

    @classmethod
    def decode(cls, data: BytesLike, *, handles: int | None = None) -> CommandFrame:
        """Return the command that `data`, from first to last byte, is.

        Parameters
        ----------
        data : bytes-like
            The command.
        handles : int, optional
            How many handles it has, where there is no declaration that says so.

        Raises
        ------
        TpmFormatError
            If header, handles or sessions are not what they should be.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        raw = octets(data, "command")
        cursor, tag, code = _header(raw, "command")
        if tag not in (TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS):
            expected = "8001 (no sessions) or 8002 (sessions)"
            raise TpmFormatError(_tag_name(tag), where="command.tag", offset=0, expected=expected, rc=RC_BAD_TAG)
        numbers = _take_handles(cursor, _count_of(code, handles, response=False))
        auths: list[TPMS_AUTH_COMMAND] = []
        if tag == TPM_ST.SESSIONS:
            cursor.trail.append("authSize")
            size = cursor.number("I", 4)
            if not 9 <= size <= cursor.end - cursor.at:
                raise cursor.refuse(f"{size} bytes", cursor.at - 4, f"9 to {cursor.end - cursor.at}", RC_AUTHSIZE)
            outer, cursor.end = cursor.end, cursor.at + size
            while cursor.at < cursor.end:
                cursor.trail[-1] = f"auths[{len(auths)}]"
                if len(auths) == MOST_SESSIONS:
                    raise cursor.refuse("a fourth session", cursor.at, "three at most", RC_AUTHSIZE)
                auths.append(_take_auth(cursor, TPMS_AUTH_COMMAND))
            cursor.end = outer
        return _frame(
            CommandFrame, tag=TPM_ST(tag), code=code, handles=numbers, auths=tuple(auths), parameters=raw[cursor.at :]
        )


@dataclass(frozen=True, slots=True)
class ResponseFrame:
    """A response, its parameters as bytes.

    Attributes
    ----------
    tag : int
        TPM_ST_NO_SESSIONS or TPM_ST_SESSIONS.
    rc : int
        The response code; with one that is not 0 there is nothing else.
    handles : tuple of int
        The handle area: one handle or none.
    parameters : bytes
        The parameter area, as it was received: perhaps encrypted.
    auths : tuple of TPMS_AUTH_RESPONSE
        The sessions, as many as the command had.
    """

    tag: int
    rc: int
    handles: tuple[int, ...] = ()
    parameters: bytes = b""
    auths: tuple[TPMS_AUTH_RESPONSE, ...] = ()

    def __post_init__(self) -> None:
        name = type(self).__name__
        tag = _admit_tag(self.tag, f"{name}.tag")
        object.__setattr__(self, "tag", tag)
        object.__setattr__(self, "rc", whole(self.rc, f"{name}.rc", 0, 0xFFFFFFFF, error=TpmMisuseError))
        object.__setattr__(self, "handles", _whole_handles(self.handles, f"{name}.handles"))
        object.__setattr__(self, "parameters", octets(self.parameters, f"{name}.parameters"))
        object.__setattr__(self, "auths", _auths(self.auths, TPMS_AUTH_RESPONSE, f"{name}.auths"))
        if self.auths and tag != TPM_ST.SESSIONS:
            raise TpmMisuseError("sessions", where=f"{name}.auths", expected="none with the tag 8001")
        if not self.rc and not self.auths and tag == TPM_ST.SESSIONS:
            raise TpmMisuseError("no session", where=f"{name}.auths", expected="one at least with the tag 8002")
        if self.rc and (self.handles or self.parameters or self.auths or tag != TPM_ST.NO_SESSIONS):
            raise TpmMisuseError("a refusal with a body", where=name, expected="tag 8001 and the response code alone")

    def encode(self) -> bytes:
        """Return the bytes of the response."""
        body = _pack_handles(self.handles)
        if self.tag == TPM_ST.SESSIONS:
            body += _U32.pack(len(self.parameters))
        body += self.parameters + b"".join([auth.encode() for auth in self.auths])
        return _HEADER.pack(self.tag, 10 + len(body), self.rc) + body

    @classmethod
    def decode(cls, data: BytesLike, code: int, *, handles: int | None = None) -> ResponseFrame:
        """Return the response that `data`, from first to last byte, is.

        Parameters
        ----------
        data : bytes-like
            The response.
        code : int
            The code of the command that it answers.
        handles : int, optional
            How many handles it has, where there is no declaration that says so.

        Raises
        ------
        Tpm12Error
            If the response has the tag of a TPM 1.2.
        TpmFormatError
            If header, handle or sessions are not what they should be.
        TpmMisuseError
            If `data` is not bytes-like.
        """
        raw = octets(data, "response")
        cursor, tag, rc = _header(raw, "response")
        if tag == TPM_ST.RSP_COMMAND:
            raise Tpm12Error(
                f"tag 00c4, response code 0x{rc:x}",
                where="response.tag",
                offset=0,
                expected="8001 or 8002",
                hint="a TPM 1.2 answered, or a TPM 2.0 a command with a tag that it does not know",
                rc=RC_BAD_TAG,
            )
        if tag not in (TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS):
            raise TpmFormatError(_tag_name(tag), where="response.tag", offset=0, expected="8001 or 8002")
        if rc:
            if len(raw) != 10 or tag != TPM_ST.NO_SESSIONS:
                raise TpmFormatError(
                    f"tag {tag:04x} and {len(raw)} bytes with response code 0x{rc:x}",
                    where="response",
                    offset=6,
                    expected="tag 8001 and 10 bytes",
                )
            return _frame(ResponseFrame, tag=TPM_ST(tag), rc=rc, handles=(), parameters=b"", auths=())
        number = whole(code, "code", 0, 0xFFFFFFFF, error=TpmMisuseError)
        numbers = _take_handles(cursor, _count_of(number, handles, response=True))
        auths: list[TPMS_AUTH_RESPONSE] = []
        size = cursor.end - cursor.at
        if tag == TPM_ST.SESSIONS:
            cursor.trail.append("parameterSize")
            size = cursor.number("I", 4)
        cursor.trail[1:] = ["parameters"]
        parameters = cursor.take(size)
        while cursor.at < cursor.end:
            cursor.trail[-1] = f"auths[{len(auths)}]"
            if len(auths) == MOST_SESSIONS:
                raise cursor.refuse("a fourth session", cursor.at, "three at most", None)
            auths.append(_take_auth(cursor, TPMS_AUTH_RESPONSE))
        if tag == TPM_ST.SESSIONS and not auths:
            raise TpmTruncatedError("no session", where="response.auths", offset=cursor.at, expected="one at least")
        return _frame(ResponseFrame, tag=TPM_ST(tag), rc=0, handles=numbers, parameters=parameters, auths=tuple(auths))


A = TypeVar("A", TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE)
F = TypeVar("F", CommandFrame, ResponseFrame)


def _auths(auths: Iterable[A], kind: type[A], where: str) -> tuple[A, ...]:
    """Return sessions as a tuple; TpmMisuseError if there are too many, or one is something else."""
    held = tuple(items_of(auths, where, "sessions", error=TpmMisuseError))
    for auth in held:
        if type(auth) is not kind:
            raise TpmMisuseError(f"a {type(auth).__name__}", where=where, expected=f"a {kind.__name__}")
    if len(held) > MOST_SESSIONS:
        raise TpmMisuseError(f"{len(held)} sessions", where=where, expected="three at most")
    return held


def _take_auth(cursor: Cursor, kind: type[A]) -> A:
    """Take a session: handle (in a command), nonce, attributes, HMAC."""
    data, start = cursor.data, cursor.at
    try:
        nonce = start + (4 if kind is TPMS_AUTH_COMMAND else 0)
        hmac = nonce + 3 + (data[nonce] << 8 | data[nonce + 1])
        end = hmac + 2 + (data[hmac] << 8 | data[hmac + 1])
        if end <= cursor.end:
            value = kind.decode(data[start:end])
            cursor.at = end
            return value
    except (IndexError, TpmFormatError):
        pass  # the walk below says what it is, and where in the command
    made: A = build(kind, decode_fields(layout_of(kind), cursor, asked=True), data[start : cursor.at])
    return made


def _frame(kind: type[F], **values: Any) -> F:
    """Return a frame whose fields are known to be right."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _header(raw: bytes, name: str) -> tuple[Cursor, int, int]:
    """Take the header; the cursor stands behind it."""
    cursor = Cursor(raw, name)
    if len(raw) < 10:
        raise TpmTruncatedError(f"{len(raw)} bytes", where=name, offset=0, expected="10 or more", rc=RC_COMMAND_SIZE)
    tag, size, code = _HEADER.unpack_from(raw)
    if size != len(raw):
        raise TpmFormatError(
            f"a size of {size}",
            where=f"{name}.size",
            offset=2,
            expected=f"{len(raw)}, as there are",
            rc=RC_COMMAND_SIZE,
        )
    cursor.at = 10
    return cursor, tag, code


def _take_handles(cursor: Cursor, count: int) -> tuple[int, ...]:
    cursor.trail.append("handles")
    numbers = tuple(cursor.number("I", 4) for _ in range(count))
    cursor.trail.pop()
    return numbers
