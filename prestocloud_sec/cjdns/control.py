# SPDX-License-Identifier: Apache-2.0
"""Control frames: what switches and routers tell each other outside any end-to-end session.

A control frame follows a switch header and the four bytes ``ffffffff``; only the outer CryptoAuth, hop by hop, protects
it. Every frame begins with the same four bytes::

    0  2  checksum over the whole frame, `prestocloud_sec.cjdns.checksum`
    2  2  type
    4  n  content

and each class below declares the content of one type as a row of fields. Sources: cjdns v21.1, ``wire/Control.h`` for
the layouts, ``net/ControlHandler.c`` and ``net/SwitchPinger.c`` for what a receiver refuses, ``switch/SwitchCore.c``
(``sendError``) and ``net/SessionManager.c`` (``failedDecrypt``) for what an error carries.

What a receiver refuses is refused here with `HeaderError`: a frame too short, a checksum that does not hold, a type
nobody knows, a wrong magic, more opaque bytes than allowed. Bytes after the fixed fields are kept: senders put there
what they want to see again in the reply, and a replier returns them untouched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.cjdns._layout import Fixed, Flag, Layout, Nested, Number, Octets, Structure, Tail, octets, view
from prestocloud_sec.cjdns.checksum import checksum_holds, internet_checksum
from prestocloud_sec.cjdns.constants import PROTOCOL_VERSION, ErrorType
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.headers import Label, SwitchHeader

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "ControlFrame",
    "ControlType",
    "Error",
    "ErrorType",
    "GetSnodeQuery",
    "GetSnodeReply",
    "KeyPing",
    "KeyPong",
    "Ping",
    "Pong",
    "RPathQuery",
    "RPathReply",
]

_HEAD = 4
_ONES = 0xFFFF
_ONES_CHECKSUM = Flag("ones_checksum")


class ControlType(IntEnum):
    """Second two bytes of a control frame (cjdns v21.1, ``wire/Control.h``)."""

    ERROR = 2
    PING = 3
    PONG = 4
    KEYPING = 5
    KEYPONG = 6
    GETSNODE_QUERY = 7
    GETSNODE_REPLY = 8
    RPATH_QUERY = 9
    RPATH_REPLY = 10


def _ping(name: str, magic: int) -> Layout:
    return Layout(name, Fixed("magic", 32, magic), Number("version", 32), tail=Tail("opaque", 256))


def _key_ping(name: str, magic: int) -> Layout:
    fields = Fixed("magic", 32, magic), Number("version", 32), Octets("key", 256)
    return Layout(name, *fields, tail=Tail("opaque", 64))


def _snode(name: str, magic: int) -> Layout:
    return Layout(
        name,
        Fixed("magic", 32, magic),
        Number("version", 32),
        Number("snode_version", 32),
        Number("kbps", 32),
        Octets("snode_key", 256),
        Label("path_to_snode"),
        tail=Tail("opaque"),
    )


def _rpath(name: str, magic: int) -> Layout:
    fields = Fixed("magic", 32, magic), Number("version", 32), Label("rpath")
    return Layout(name, *fields, tail=Tail("opaque"))


@dataclass(frozen=True, slots=True)
class ControlFrame(Structure):
    """Base of all control frames; ``ControlFrame.decode`` gives the class that the type names.

    Attributes
    ----------
    ones_checksum : bool
        Whether a checksum that comes out as 0000 is written ffff. cjdns writes 0000; both sum to the same and every
        receiver takes both, so what was received is kept. Only a frame whose checksum is 0 can have it set.

    Examples
    --------
    >>> ControlFrame.decode(bytes.fromhex("e4ec000309f9110200000015"))
    Ping(version=21, opaque=b'')
    """

    TYPE: ClassVar[ControlType]

    ones_checksum: bool = field(default=False, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if type(self) is ControlFrame:
            raise CjdnsMisuseError(
                "a control frame needs a type", where="ControlFrame", hint="use one of its subclasses"
            )
        self.LAYOUT.admit(self)
        object.__setattr__(self, "ones_checksum", _ONES_CHECKSUM.admit(self.ones_checksum, "ones_checksum"))
        if self.ones_checksum and self._checksum():
            raise CjdnsMisuseError("this frame's checksum is not 0", where=f"{self.LAYOUT.name}.ones_checksum")

    def encode(self) -> bytes:
        """Return the frame: checksum, type, content."""
        stored = _ONES if self.ones_checksum else self._checksum()
        return stored.to_bytes(2, "big") + self._summed()

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the frame that `data`, from checksum to last byte, holds.

        Parameters
        ----------
        data : bytes-like
            What follows the switch header and ``ffffffff``.

        Raises
        ------
        HeaderError
            If it is shorter than its type needs, longer than its type allows, its checksum does not hold, its type is
            unknown or (on a subclass) another, or its magic is wrong.
        CjdnsMisuseError
            If `data` is not bytes-like.
        """
        raw = view(data, "control frame")
        if len(raw) < _HEAD:
            raise HeaderError(f"{len(raw)} bytes", where="control frame", expected=f"at least {_HEAD}")
        if not checksum_holds(raw):
            right = internet_checksum(bytes(2) + bytes(raw[2:]))
            raise HeaderError(bytes(raw[:2]).hex(), where="control frame checksum", offset=0, expected=f"{right:04x}")
        number = int.from_bytes(raw[2:_HEAD], "big")
        kind = _KINDS.get(number)
        if kind is None:
            raise HeaderError(f"unknown type {number}", where="control frame type", offset=2, expected="2 to 10")
        if not issubclass(kind, cls):
            raise HeaderError(f"a {kind.__name__}", where="control frame type", offset=2, expected=cls.__name__)
        stored = int.from_bytes(raw[:2], "big")
        return kind(**kind.LAYOUT.unpack(raw[_HEAD:], offset=_HEAD), ones_checksum=stored == _ONES)

    def _summed(self) -> bytes:
        """Return all but the checksum."""
        return self.TYPE.to_bytes(2, "big") + self.LAYOUT.pack(self)

    def _checksum(self) -> int:
        return internet_checksum(bytes(2) + self._summed())


@dataclass(frozen=True, slots=True)
class Error(ControlFrame):
    """Why a packet was given back, and its beginning.

    A receiver acts only on frames of 40 bytes or more, and on the first 40 bytes of those (``handleError``): see
    `actionable`.

    Attributes
    ----------
    error_type : int
        32 bits; an `ErrorType` where it is one.
    cause : SwitchHeader
        Header of the packet that was given back, as it was when it went wrong.
    cause_handle : int
        The 32 bits after that header: a handle, ``ffffffff``, or the CryptoAuth state of a handshake.
    more : bytes
        What follows: of a switch, more of the packet; of a session, see `decrypt_failure`.
    """

    TYPE: ClassVar[ControlType] = ControlType.ERROR
    LAYOUT: ClassVar[Layout] = Layout(
        "Error",
        Number("error_type", 32, kind=ErrorType),
        Nested("cause", 96, SwitchHeader),
        Number("cause_handle", 32, show="{:08x}".format),
        tail=Tail("more"),
    )
    MAX_CAUSE: ClassVar[int] = 256
    """Bytes of the packet, from its switch header on, that a switch sends back at most."""
    ACTIONABLE_SIZE: ClassVar[int] = 40
    """Bytes a receiver wants to see of the whole frame."""

    error_type: int
    cause: SwitchHeader
    cause_handle: int
    more: bytes = b""

    @property
    def actionable(self) -> bool:
        """Whether a receiver does anything with this frame rather than drop it as a runt."""
        return _HEAD + self.LAYOUT.size + len(self.more) >= self.ACTIONABLE_SIZE

    @classmethod
    def about(cls, error_type: int, packet: BytesLike) -> Error:
        """Return the error a switch sends for a packet: its first 256 bytes, switch header included.

        Raises
        ------
        HeaderError
            If the packet is shorter than 16 bytes: a switch drops it without a word.
        CjdnsMisuseError
            If `packet` is not bytes-like or `error_type` not 32 bits.
        """
        header, rest = SwitchHeader.split(packet)
        if len(rest) < 4:
            raise HeaderError(
                f"{SwitchHeader.SIZE + len(rest)} bytes", where="packet to complain about", expected="at least 16"
            )
        most = cls.MAX_CAUSE - SwitchHeader.SIZE
        return cls(error_type, header, int.from_bytes(rest[:4], "big"), bytes(rest[4:most]))

    @classmethod
    def decrypt_failure(cls, header: SwitchHeader, packet: BytesLike, code: int, state: int) -> Error:
        """Return the AUTHENTICATION error that a session sends when an inner packet does not decrypt.

        Parameters
        ----------
        header : SwitchHeader
            As the packet came.
        packet : bytes-like
            What followed it; the first 16 bytes are sent back.
        code : int
            Number of the refusal, ``CryptoAuthError.code``.
        state : int
            State of the session, a ``SessionState``.

        Raises
        ------
        HeaderError
            If the packet is shorter than 16 bytes.
        CjdnsMisuseError
            If an argument has the wrong type or does not fit.
        """
        raw = view(packet, "packet")
        if len(raw) < 16:
            raise HeaderError(f"{len(raw)} bytes", where="packet to complain about", expected="at least 16")
        numbers = Number("code", 32).admit(code, "code") << 32 | Number("state", 32).admit(state, "state")
        more = bytes(raw[4:16]) + numbers.to_bytes(8, "big")
        return cls(ErrorType.AUTHENTICATION, header, int.from_bytes(raw[:4], "big"), more)

    @property
    def refusal(self) -> tuple[int, int] | None:
        """CryptoAuth code and session state out of a `decrypt_failure`; None for other errors and sizes."""
        if self.error_type != ErrorType.AUTHENTICATION or len(self.more) != 20:
            return None
        return int.from_bytes(self.more[12:16], "big"), int.from_bytes(self.more[16:], "big")


@dataclass(frozen=True, slots=True)
class Ping(ControlFrame):
    """Asks whoever a label leads to for a sign of life and its version.

    Attributes
    ----------
    version : int
        32 bits: protocol version of the sender. A node drops pings of versions it cannot talk to.
    opaque : bytes
        At most 256 bytes that come back in the pong. A C node puts 4 bytes of handle and 8 of cookie in front.
    """

    TYPE: ClassVar[ControlType] = ControlType.PING
    LAYOUT: ClassVar[Layout] = _ping("Ping", 0x09F91102)

    version: int
    opaque: bytes = b""

    def reply(self, *, version: int = PROTOCOL_VERSION) -> Pong:
        """Return the pong that answers this."""
        return Pong(version, self.opaque)


@dataclass(frozen=True, slots=True)
class Pong(ControlFrame):
    """Answers a ping; same attributes as `Ping`, the version being that of the one who answers."""

    TYPE: ClassVar[ControlType] = ControlType.PONG
    LAYOUT: ClassVar[Layout] = _ping("Pong", 0x9D74E35B)

    version: int
    opaque: bytes = b""


@dataclass(frozen=True, slots=True)
class KeyPing(ControlFrame):
    """A ping that also asks for the public key.

    Attributes
    ----------
    version : int
        32 bits: protocol version of the sender.
    key : bytes
        32 bytes: public key of the sender.
    opaque : bytes
        At most 64 bytes that come back.
    """

    TYPE: ClassVar[ControlType] = ControlType.KEYPING
    LAYOUT: ClassVar[Layout] = _key_ping("KeyPing", 0x01234567)

    version: int
    key: bytes
    opaque: bytes = b""

    def reply(self, key: BytesLike, *, version: int = PROTOCOL_VERSION) -> KeyPong:
        """Return the answer that tells our `key`."""
        return KeyPong(version, octets(key, "key", 32), self.opaque)


@dataclass(frozen=True, slots=True)
class KeyPong(ControlFrame):
    """Answers a key ping; same attributes as `KeyPing`, of the one who answers."""

    TYPE: ClassVar[ControlType] = ControlType.KEYPONG
    LAYOUT: ClassVar[Layout] = _key_ping("KeyPong", 0x89ABCDEF)

    version: int
    key: bytes
    opaque: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class GetSnodeQuery(ControlFrame):
    """Asks a neighbour for its supernode.

    Attributes
    ----------
    version : int
        32 bits: protocol version of the sender.
    snode_version : int
        32 bits: protocol version of the supernode; 0 in a query, or if there is none.
    kbps : int
        32 bits: a limit in kilobit per second that v21.1 does not use: 0 in queries, ffffffff in replies.
    snode_key : bytes
        32 bytes: key of the supernode; zero in a query, or if there is none.
    path_to_snode : int
        64 bits: label from the one who answers to the supernode; 0 if there is none.
    opaque : bytes
        What comes back.
    """

    TYPE: ClassVar[ControlType] = ControlType.GETSNODE_QUERY
    LAYOUT: ClassVar[Layout] = _snode("GetSnodeQuery", 0x736E6F71)

    version: int
    snode_version: int = 0
    kbps: int = 0
    snode_key: bytes = bytes(32)
    path_to_snode: int = 0
    opaque: bytes = b""

    def reply(
        self,
        snode_key: BytesLike = bytes(32),
        path_to_snode: int = 0,
        snode_version: int = 0,
        *,
        version: int = PROTOCOL_VERSION,
    ) -> GetSnodeReply:
        """Return the answer; without arguments, that no supernode is known."""
        key = octets(snode_key, "snode_key", 32)
        return GetSnodeReply(version, snode_version, 0xFFFFFFFF, key, path_to_snode, self.opaque)


@dataclass(frozen=True, slots=True, repr=False)
class GetSnodeReply(ControlFrame):
    """Names the supernode of the one who answers; same attributes as `GetSnodeQuery`."""

    TYPE: ClassVar[ControlType] = ControlType.GETSNODE_REPLY
    LAYOUT: ClassVar[Layout] = _snode("GetSnodeReply", 0x736E6F72)

    version: int
    snode_version: int = 0
    kbps: int = 0xFFFFFFFF
    snode_key: bytes = bytes(32)
    path_to_snode: int = 0
    opaque: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class RPathQuery(ControlFrame):
    """Asks a node by which label it reaches the asker (new in protocol version 21).

    Its magics are those of the supernode frames; that is how the C source has it, and what is on the wire.

    Attributes
    ----------
    version : int
        32 bits: protocol version of the sender.
    rpath : int
        64 bits: in a query the label the asker uses, in a reply the label the query arrived with, reversed.
    opaque : bytes
        What comes back.
    """

    TYPE: ClassVar[ControlType] = ControlType.RPATH_QUERY
    LAYOUT: ClassVar[Layout] = _rpath("RPathQuery", 0x736E6F71)

    version: int
    rpath: int
    opaque: bytes = b""

    def reply(self, rpath: int, *, version: int = PROTOCOL_VERSION) -> RPathReply:
        """Return the answer that tells the asker by which label, `rpath`, we reach it."""
        return RPathReply(version, rpath, self.opaque)


@dataclass(frozen=True, slots=True, repr=False)
class RPathReply(ControlFrame):
    """Tells the label back to the asker; same attributes as `RPathQuery`."""

    TYPE: ClassVar[ControlType] = ControlType.RPATH_REPLY
    LAYOUT: ClassVar[Layout] = _rpath("RPathReply", 0x736E6F72)

    version: int
    rpath: int
    opaque: bytes = b""


_KINDS: dict[int, type[ControlFrame]] = {
    kind.TYPE: kind
    for kind in (Error, Ping, Pong, KeyPing, KeyPong, GetSnodeQuery, GetSnodeReply, RPathQuery, RPathReply)
}
