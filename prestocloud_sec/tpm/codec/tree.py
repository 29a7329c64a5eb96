# SPDX-License-Identifier: Apache-2.0
"""Captured commands and responses as trees: typed values, with where each field stands in the bytes.

`decode_command` and `decode_response` check everything, and give a value that holds the typed command or response. Its
tree of `Node` is made when somebody looks at it. Where a session encrypted the first parameter, the tree shows its
bytes as they are; there is nothing else to know about them without the session's key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.codec.fields import Blob, Field, Layout, Scalar, layout_of
from prestocloud_sec.tpm.codec.frame import CommandFrame, ResponseFrame
from prestocloud_sec.tpm.codec.nodes import Node, group, inside, node_of, number_text, plain
from prestocloud_sec.tpm.codec.walk import Cursor, decode_kind
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.response_codes import ResponseCode, explain
from prestocloud_sec.tpm.spec.commands import COMMANDS
from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_ST
from prestocloud_sec.tpm.spec.declare import Command, Sized
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Decoded", "Node", "decode_command", "decode_response"]

_DECRYPT = 1 << 5  # TPMA_SESSION: the first parameter of the command is encrypted
_ENCRYPT = 1 << 6  # the first parameter of the response is encrypted
_PASSWORD = 0x40000009

_CIPHERTEXT = Blob(Sized(0xFFFF), secret=False)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A command or response, taken apart.

    Attributes
    ----------
    kind : str
        ``"command"`` or ``"response"``.
    raw : bytes
        The message.
    frame : CommandFrame or ResponseFrame
        Header, handles, sessions, and the parameter area as bytes.
    code : int or None
        The command code; of a response, that of the command it answers, where that is known.
    value : Command, Command.Response or None
        Handles and parameters, typed. None for a response code that is not success, for a response to an unknown
        command, and where the first parameter is an encrypted structure.
    encrypted : bool
        Whether a session encrypted the first parameter.
    fields : tuple
        Parameters with their values, in order, whether or not there is a `value`.
    """

    kind: Literal["command", "response"]
    raw: bytes
    frame: CommandFrame | ResponseFrame
    code: int | None
    value: Command | Command.Response | None
    encrypted: bool
    fields: tuple[tuple[Field, Any], ...] | None = None

    @property
    def name(self) -> str:
        """The name of the command, as far as it is known."""
        if self.code is None:
            return "unknown command"
        found = COMMANDS.get(self.code)
        return TPM_CC(self.code).name if found is not None else f"command 0x{self.code:x}"

    @property
    def rc(self) -> ResponseCode | None:
        """The response code, taken apart; None for a command."""
        return explain(self.frame.rc, self.code) if isinstance(self.frame, ResponseFrame) else None

    def nodes(self) -> tuple[Node, ...]:
        """Return the fields of the message, those of header, handles, sessions and parameters, in wire order."""
        return tuple(_nodes_of(self))

    def text(self, *, secrets: bool = False) -> str:
        """Return the tree as lines: offset, name and type, value.

        Parameters
        ----------
        secrets : bool
            Whether passwords, keys and sealed data are shown.
        """
        exposed = flag(secrets, "secrets")
        rows = [row for node in self.nodes() for row in node.walk()]
        lines = [self._title()]
        for depth, node in rows:
            shown_text = node.exposed if exposed else node.text
            label = f"{'  ' * depth}{node.name}" + (f": {node.type}" if node.type else "")
            lines.append(f"{node.offset:5d}  {label}{' = ' + shown_text if shown_text else ''}")
        return "\n".join(lines)

    def to_dict(self, *, secrets: bool = False) -> dict[str, Any]:
        """Return the message as plain dictionaries, lists, numbers, and bytes in hexadecimal.

        Parameters
        ----------
        secrets : bool
            Whether passwords, keys and sealed data are in it; without, they are null.
        """
        exposed = flag(secrets, "secrets")
        found: dict[str, Any] = {"kind": self.kind, "command": self.name}
        for node in self.nodes():
            found[node.name] = plain(node, secrets=exposed)
        rc = self.rc
        if rc is not None:
            found["words"] = str(rc)
        return found

    def to_json(self, *, secrets: bool = False, indent: int | None = 2) -> str:
        """Return `to_dict` as JSON text, indented by so many spaces."""
        spaces = None if indent is None else whole(indent, "indent", 0, 16, error=TpmMisuseError)
        return json.dumps(self.to_dict(secrets=secrets), indent=spaces)

    def _title(self) -> str:
        words = f", {len(self.raw)} bytes"
        if isinstance(self.frame, ResponseFrame) and self.frame.rc:
            words += f": {self.rc}"
        return f"{self.kind} {self.name}{words}"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        inner = repr(self.value) if self.value is not None else self._title()
        return f"<{self.kind} {inner}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{node.offset}</td><td>{node.size}</td>"
            f"<td style='text-align:left;padding-left:{1 + 2 * depth}em'>{escape(node.name)}</td>"
            f"<td style='text-align:left'><code>{escape(node.type)}</code></td>"
            f"<td style='text-align:left;word-break:break-all'><code>{escape(node.text)}</code></td></tr>"
            for top in self.nodes()
            for depth, node in top.walk()
        )
        head = "<tr><th>offset</th><th>size</th><th>field</th><th>type</th><th>value</th></tr>"
        return f"<table><caption>{escape(self._title())}</caption>{head}{rows}</table>"


def decode_command(data: BytesLike, *, lenient: bool = False) -> Decoded:
    """Take a captured command apart.

    Parameters
    ----------
    data : bytes-like
        The whole command.
    lenient : bool
        Whether numbers that no table has are kept as plain integers instead of refused.

    Raises
    ------
    TpmFormatError
        If it is no command, or none that is known here: says where, and what a TPM would answer.
    TpmMisuseError
        If `data` is not bytes-like.
    """
    raw, lenient = octets(data, "command"), flag(lenient, "lenient")
    frame = CommandFrame.decode(raw)
    declaration = COMMANDS[frame.code]
    encrypted = _encrypts(frame.auths, _DECRYPT) and declaration.first_parameter_is_2b
    if not encrypted:
        value = declaration.decode_parameters(frame.parameters, handles=frame.handles, lenient=lenient)
        return Decoded("command", raw, frame, frame.code, value, encrypted=False)
    value, fields = _decode_encrypted(declaration, frame.parameters, frame.handles, lenient=lenient)
    return Decoded("command", raw, frame, frame.code, value, encrypted=True, fields=fields)


def decode_response(data: BytesLike, command: int | Decoded | None = None, *, lenient: bool = False) -> Decoded:
    """Take a captured response apart.

    Parameters
    ----------
    data : bytes-like
        The whole response.
    command : int or Decoded, optional
        The command that it answers: its code, or what `decode_command` made of it. Without it parameters stay bytes.
    lenient : bool
        Whether numbers that no table has are kept as plain integers instead of refused.

    Raises
    ------
    Tpm12Error
        If a TPM 1.2 answered.
    TpmFormatError
        If it is no response, or none to this command.
    TpmMisuseError
        If `data` is not bytes-like, or `command` is neither.
    """
    raw, lenient = octets(data, "response"), flag(lenient, "lenient")
    code = command.code if isinstance(command, Decoded) else command
    if code is not None and not isinstance(code, int):
        raise TpmMisuseError(shown(command), where="command", expected="a command code, or a decoded command")
    declaration = COMMANDS.get(code) if code is not None else None
    if declaration is None:
        frame = ResponseFrame.decode(raw, 0 if code is None else code, handles=0)
        return Decoded("response", raw, frame, code, None, encrypted=False)
    frame = ResponseFrame.decode(raw, declaration.code)
    if frame.rc:
        return Decoded("response", raw, frame, declaration.code, None, encrypted=False)
    answer = declaration.Response
    encrypted = _encrypts(frame.auths, _ENCRYPT) and answer.first_parameter_is_2b
    if encrypted and isinstance(command, Decoded) and isinstance(command.frame, CommandFrame):
        encrypted = _encrypts(command.frame.auths, _ENCRYPT)
    if not encrypted:
        value = answer.decode_parameters(frame.parameters, handles=frame.handles, lenient=lenient)
        return Decoded("response", raw, frame, declaration.code, value, encrypted=False)
    value, fields = _decode_encrypted(answer, frame.parameters, frame.handles, lenient=lenient)
    return Decoded("response", raw, frame, declaration.code, value, encrypted=True, fields=fields)


def _encrypts(auths: tuple[Any, ...], bit: int) -> bool:
    """Tell whether a session encrypts; the bits of a password are not looked at."""
    return any(int(auth.sessionAttributes) & bit and getattr(auth, "sessionHandle", 0) != _PASSWORD for auth in auths)


def _decode_encrypted(
    declaration: type[Command] | type[Command.Response], parameters: bytes, handles: tuple[int, ...], *, lenient: bool
) -> tuple[Any, tuple[tuple[Field, Any], ...]]:
    """Decode a parameter area whose first parameter is encrypted: the first stays bytes."""
    layout = layout_of(declaration)
    cursor = Cursor(parameters, layout.name, lenient=lenient)
    values: dict[str, Any] = {}
    fields = []
    for index, field in enumerate(layout.fields):
        cursor.trail.append(field.name)
        kind = _CIPHERTEXT if index == 0 else field.kind
        values[field.name] = decode_kind(kind, cursor, values, asked=True)
        cursor.trail.pop()
        meant = field if index else Field(field.name, kind, f"{field.text} (encrypted)", False, False, None)
        fields.append((meant, values[field.name]))
    cursor.finish()
    value = None
    if isinstance(layout.fields[0].kind, Blob):
        try:
            value = declaration.decode_parameters(parameters, handles=handles, lenient=lenient)
        except TpmFormatError:
            value = None  # more bytes than a clear parameter may have
    return value, tuple(fields)


# --- where everything stands ------------------------------------------------------------------------------------------


def _nodes_of(decoded: Decoded) -> Iterator[Node]:
    frame, raw = decoded.frame, decoded.raw
    tag = TPM_ST(frame.tag)
    yield Node("tag", "TPM_ST", 0, 2, int(tag), f"{tag.name} (0x{tag:04x})")
    yield Node(f"{decoded.kind}Size", "UINT32", 2, 4, len(raw), str(len(raw)))
    if isinstance(frame, CommandFrame):
        yield Node("commandCode", "TPM_CC", 6, 4, int(frame.code), f"{decoded.name} (0x{frame.code:x})")
    else:
        yield Node("responseCode", "TPM_RC", 6, 4, frame.rc, str(explain(frame.rc, decoded.code)))
    at = 10
    layout = _layout_of(decoded)
    if frame.handles and layout is not None:
        yield group("handles", at, _handle_nodes(layout.handles, frame.handles, at))
        at += 4 * len(frame.handles)
    if isinstance(frame, CommandFrame) and frame.auths:
        size = sum(len(auth.encode()) for auth in frame.auths)
        yield Node("authSize", "UINT32", at, 4, size, str(size))
        yield group("authorizationArea", at + 4, _auth_nodes(frame.auths, at + 4))
        at += 4 + size
    if isinstance(frame, ResponseFrame) and frame.auths:
        size = len(frame.parameters)
        yield Node("parameterSize", "UINT32", at, 4, size, str(size))
        at += 4
    if layout is None or (decoded.value is None and decoded.fields is None):
        if frame.parameters:
            yield Node("parameters", "", at, len(frame.parameters), frame.parameters, frame.parameters.hex())
    else:
        yield group("parameters", at, _parameter_nodes(decoded, at))
    if isinstance(frame, ResponseFrame) and frame.auths:
        at += len(frame.parameters)
        yield group("authorizationArea", at, _auth_nodes(frame.auths, at))


def _layout_of(decoded: Decoded) -> Layout | None:
    declaration = COMMANDS.get(decoded.code) if decoded.code is not None else None
    if declaration is None:
        return None
    return layout_of(declaration if decoded.kind == "command" else declaration.Response)


def _handle_nodes(fields: tuple[Field, ...], handles: tuple[int, ...], at: int) -> Iterator[Node]:
    for index, (field, handle) in enumerate(zip(fields, handles, strict=True)):
        kind = field.kind
        held = kind.held(handle) if isinstance(kind, Scalar) else handle
        yield Node(field.name, field.text, at + 4 * index, 4, int(handle), number_text(held, kind))


def _auth_nodes(auths: tuple[Any, ...], at: int) -> Iterator[Node]:
    for index, auth in enumerate(auths):
        yield Node(f"[{index}]", type(auth).__name__, at, len(auth.encode()), auth, "", children=inside(auth, at))
        at += len(auth.encode())


def _parameter_nodes(decoded: Decoded, at: int) -> Iterator[Node]:
    if decoded.fields is None:
        if decoded.value is not None:
            yield from inside(decoded.value, at)
        return
    for field, value in decoded.fields:
        node = node_of(field.name, field.text, field.kind, value, at, None, secret=field.secret)
        yield node
        at += node.size
