# SPDX-License-Identifier: Apache-2.0
"""The questions and answers routers exchange: bencoded dictionaries, inner content type 256.

Rules: cjdns v21.1, ``dht/CJDHTConstants.h`` (names of the fields), ``dht/dhtcore/RouterModule.c`` (what a query and a
reply hold), ``dht/EncodingSchemeModule.c`` (``es``, ``ei``), ``dht/dhtcore/VersionList.c`` (``np``).

========  ==============  ======================================================================================
key       field           holds
========  ==============  ======================================================================================
``q``     `Query.kind`    ``fn`` find node, ``gp`` get peers, ``pn`` ping, ``nh`` next hop; a reply has none
``tar``   `Query.target`  ``fn``, ``nh``: an address, 16 bytes; ``gp``: a label, 8 bytes
``txid``  `txid`          the asker's mark, given back unchanged
``p``     `version`       protocol version of the sender
``es``    `scheme`        the sender's encoding scheme, serialised; v3x5x8 where it is missing
``ei``    `form`          index of the form in which the sender's interface stands in the path to the receiver
``n``     `Reply.nodes`   up to eight times 40 bytes: public key 32, label 8 (relative to the node that answers)
``np``    (the same)      one byte, the width of a version number, then a version for each entry of ``n``
``dnd``   `dnd`           1: do not list the sender in answers to others
========  ==============  ======================================================================================

A message without ``txid``, ``p`` or ``ei`` is ignored by running nodes and refused here. Whatever is accepted encodes
to the bytes it came from: keys that are not in the table are kept in `extra`, and unusual spelling in `spelling`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from prestocloud_sec.cjdns._layout import octets, view
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, MessageError, SchemeError
from prestocloud_sec.cjdns.headers import label_text
from prestocloud_sec.cjdns.keys import PublicKey
from prestocloud_sec.cjdns.routing import bencode
from prestocloud_sec.cjdns.switch import V3X5X8, EncodingScheme
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "FIND_NODE",
    "GET_PEERS",
    "MAX_MESSAGE",
    "MAX_VERSION",
    "NEXT_HOP",
    "PING",
    "REPLY_NODES",
    "Message",
    "NodeEntry",
    "Query",
    "Reply",
    "Spelling",
    "decode_message",
]

FIND_NODE = b"fn"
"""Which nodes do you know close to this address?"""

GET_PEERS = b"gp"
"""Which direct peers do you have, from this label on?"""

PING = b"pn"
"""Are you there?"""

NEXT_HOP = b"nh"
"""By which node would you forward to this address?"""

REPLY_NODES = 8
"""Most nodes an honest reply holds (K)."""

MAX_MESSAGE = 2048
"""Bytes of the longest message that is read; an inner packet of a cjdns network holds 1304."""

MAX_VERSION = (1 << 32) - 1
"""The highest version number that a message has room for."""

_ENTRY = 40
_KEY = 32
_FORMS = 32
_U32 = 1 << 32
_U64 = 1 << 64
_WIDEST_VERSION = 4
_ADDRESS_SIZE, _LABEL_SIZE = 16, 8
_TARGET_SIZES = {
    FIND_NODE: (_ADDRESS_SIZE,),
    NEXT_HOP: (_ADDRESS_SIZE,),
    # The last step of a search asks the target itself with gp and the address searched for (dht/SearchRunner.c).
    GET_PEERS: (_LABEL_SIZE, _ADDRESS_SIZE),
}


class NodeEntry(NamedTuple):
    """One node of a reply: its key, its label relative to the node that answers, its version (0 = not said)."""

    key: PublicKey
    label: int
    version: int

    def __repr__(self) -> str:
        label = label_text(self.label) if _is_uint(self.label, _U64) else shown(self.label)
        return f"NodeEntry(key={shown(self.key)}, label={label}, version={shown(self.version)})"


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a message is written where the wire leaves a choice; the default is how cjdns v21.1 writes.

    Attributes
    ----------
    layout : Layout
        Leading zeros, and bytes after the message.
    order : tuple of bytes, or None
        The order of the keys, where it is not ascending.
    version_width : int or None
        Bytes of a version number in ``np``: 1 to 4; 0 for a reply with ``n`` but without ``np``; None for the fewest
        that hold the largest.
    """

    layout: bencode.Layout = field(default_factory=bencode.Layout)
    order: tuple[bytes, ...] | None = None
    version_width: int | None = None


_PLAIN = Spelling()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Message:
    """What a query and a reply have in common.

    Attributes
    ----------
    txid : bytes
        Opaque to whoever answers.
    version : int
        Protocol version of the sender (``p``), below 2**32.
    form : int
        Index of the sender's encoding form (``ei``); a form of `scheme`.
    scheme : bytes or None
        The sender's encoding scheme as serialised (``es``); None where the message does not say.
    dnd : int or None
        Not zero: the sender asks not to be listed.
    extra : tuple of (bytes, Value)
        Keys this module does not know, and their values.
    spelling : Spelling
        How it is written.
    """

    txid: bytes
    version: int
    form: int = 0
    scheme: bytes | None = None
    dnd: int | None = None
    extra: tuple[tuple[bytes, bencode.Value], ...] = field(default=(), hash=False)
    spelling: Spelling = field(default=_PLAIN, repr=False)

    def __repr__(self) -> str:
        shown_fields = [f.name for f in fields(self) if f.repr]
        return f"{type(self).__name__}({', '.join(f'{name}={self._literal(name)}' for name in shown_fields)})"

    def _literal(self, name: str) -> str:
        """Return a field as `repr` shows it."""
        value = getattr(self, name)
        if name == "scheme" and isinstance(value, bytes):
            with suppress(SchemeError):
                return repr(_scheme(value))
        return shown(value)

    @property
    def encoding_scheme(self) -> EncodingScheme:
        """The sender's scheme; v3x5x8 where the message does not say."""
        return V3X5X8 if self.scheme is None else _scheme(octets(self.scheme, "scheme"))

    @property
    def listed(self) -> bool:
        """Whether the sender may be named in answers to others."""
        return not self._dnd()

    def _dnd(self) -> int | None:
        if self.dnd is not None and not isinstance(self.dnd, int):
            raise CjdnsMisuseError(f"a {type(self.dnd).__name__}", where="Message.dnd", expected="an int or None")
        return self.dnd

    def check(self) -> None:
        """Raise CjdnsMisuseError unless every field has a type and size the wire has room for."""
        if not isinstance(self.txid, bytes) or not _is_uint(self.version, _U32) or not _is_uint(self.form, _FORMS):
            raise CjdnsMisuseError(
                "cannot be written",
                where=f"{type(self).__name__}",
                expected="txid bytes, version below 2**32, form < 32",
            )
        if self.scheme is not None and not isinstance(self.scheme, bytes):
            raise CjdnsMisuseError(f"a {type(self.scheme).__name__}", where="Message.scheme", expected="bytes or None")
        self._dnd()

    def encode(self) -> bytes:
        """Return the bencoded bytes.

        Raises
        ------
        CjdnsMisuseError
            If a field has a type or size the wire has no room for.
        """
        self.check()
        if not isinstance(self.spelling, Spelling):
            raise CjdnsMisuseError(f"a {type(self.spelling).__name__}", where="Message.spelling", expected="Spelling")
        written = self._fields()
        for key, value in self._extra():
            if key in written:
                raise CjdnsMisuseError(f"{shown(key)} is a field of its own", where="Message.extra", expected="others")
            written[key] = value
        order = self.spelling.order
        if order is not None and not isinstance(order, tuple):
            raise CjdnsMisuseError(f"a {type(order).__name__}", where="Spelling.order", expected="a tuple of bytes")
        if order is None or len(order) != len(written) or any(key not in written for key in order):
            order = tuple(sorted(written))
        return bencode.encode({key: written[key] for key in order}, self.spelling.layout)

    def _extra(self) -> tuple[tuple[bytes, bencode.Value], ...]:
        for pair in self.extra if isinstance(self.extra, tuple) else (None,):
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], bytes):
                raise CjdnsMisuseError("wrong type", where="Message.extra", expected="pairs of bytes and a value")
        return self.extra

    def _fields(self) -> dict[bytes, bencode.Value]:
        written: dict[bytes, bencode.Value] = {b"txid": self.txid, b"p": self.version, b"ei": self.form}
        if self.scheme is not None:
            written[b"es"] = self.scheme
        if self.dnd is not None:
            written[b"dnd"] = self.dnd
        return written


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Query(Message):
    r"""A question.

    Attributes
    ----------
    kind : bytes
        `FIND_NODE`, `GET_PEERS`, `PING`, `NEXT_HOP`; another one is answered with an empty reply.
    target : bytes or None
        Address (16 bytes) or label (8 bytes, big-endian).

    Examples
    --------
    >>> Query(kind=PING, txid=b"01abc", version=21, scheme=V3X5X8.serialize()).encode()
    b'd02:eii0e2:es5:a\x14E\x81\x001:pi21e1:q2:pn4:txid5:01abce'
    """

    kind: bytes
    target: bytes | None = None

    def check(self) -> None:
        """Raise CjdnsMisuseError unless every field has a type and size the wire has room for."""
        Message.check(self)
        for name, value in (("kind", self.kind), ("target", self.target)):
            if not isinstance(value, bytes) and not (name == "target" and value is None):
                raise CjdnsMisuseError(f"a {type(value).__name__}", where=f"Query.{name}", expected="bytes")

    def _literal(self, name: str) -> str:
        target = self.target
        if name == "target" and isinstance(target, bytes):
            if len(target) == _LABEL_SIZE:
                return label_text(int.from_bytes(target, "big"))
            if len(target) == _ADDRESS_SIZE:
                return target.hex(":", 2)
        return Message._literal(self, name)

    def _fields(self) -> dict[bytes, bencode.Value]:
        written = Message._fields(self)
        written[b"q"] = self.kind
        if self.target is not None:
            written[b"tar"] = self.target
        return written


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reply(Message):
    """An answer.

    Attributes
    ----------
    nodes : tuple of NodeEntry, or None
        The nodes, worst first and best last; None where the reply has no ``n`` at all (as for a ping).
    """

    nodes: tuple[NodeEntry, ...] | None = None

    def check(self) -> None:
        """Raise CjdnsMisuseError unless every field has a type and size the wire has room for."""
        Message.check(self)
        if self.nodes is not None:
            check_entries(self.nodes, "Reply.nodes")

    def _literal(self, name: str) -> str:
        if name == "nodes" and isinstance(self.nodes, tuple) and all(map(_is_entry, self.nodes)):
            return repr(self.nodes)
        return Message._literal(self, name)

    def _fields(self) -> dict[bytes, bencode.Value]:
        written = Message._fields(self)
        if self.nodes is None:
            return written
        written[b"n"] = b"".join([entry.key.raw + entry.label.to_bytes(_LABEL_SIZE, "big") for entry in self.nodes])
        highest = max((entry.version for entry in self.nodes), default=0)
        least = max(1, (highest.bit_length() + 7) // 8)
        width = self.spelling.version_width
        if width is not None:
            width = whole(width, "Spelling.version_width", 0, _WIDEST_VERSION, error=CjdnsMisuseError)
        if width != 0:
            width = least if width is None else max(width, least)
            written[b"np"] = bytes([width]) + b"".join([e.version.to_bytes(width, "big") for e in self.nodes])
        return written


def check_entries(nodes: object, where: str) -> None:
    """Raise CjdnsMisuseError, naming `where`, unless `nodes` is a tuple of `NodeEntry` that the wire has room for."""
    if not isinstance(nodes, tuple) or not all(map(_is_entry, nodes)):
        raise CjdnsMisuseError(
            "does not fit", where=where, expected="a tuple of NodeEntry: keys, labels of 64 bits, versions of 32"
        )


def _is_entry(value: object) -> bool:
    return (
        isinstance(value, NodeEntry)
        and isinstance(value.key, PublicKey)
        and _is_uint(value.label, _U64)
        and _is_uint(value.version, _U32)
    )


def _is_uint(value: object, limit: int) -> bool:
    return isinstance(value, int) and 0 <= value < limit


@lru_cache(maxsize=64)
def _scheme(serialized: bytes) -> EncodingScheme:
    return EncodingScheme.deserialize(serialized)


def decode_message(data: BytesLike) -> Query | Reply:
    """Read a message.

    Parameters
    ----------
    data : bytes-like
        At most `MAX_MESSAGE` bytes.

    Returns
    -------
    Query or Reply
        ``decode_message(data).encode() == bytes(data)``.

    Raises
    ------
    BencodeError
        If the bytes are not bencoding.
    MessageError
        If they are no dictionary, too long, a message to or from a supernode (``sq``), or a field is missing or of the
        wrong shape; `where` names the field.
    CjdnsMisuseError
        If `data` is not bytes-like.
    """
    raw = view(data, "message")
    if len(raw) > MAX_MESSAGE:
        raise MessageError(f"{len(raw)} bytes", where="message", expected=f"at most {MAX_MESSAGE}")
    document = bencode.decode(raw)
    if not isinstance(document.value, dict):
        raise MessageError(f"a {type(document.value).__name__}", where="message", expected="a dictionary")
    return _Fields(document.value, document.layout).message()


class _Fields:
    """Takes the fields out of a decoded dictionary one by one; what is left over is `extra`."""

    __slots__ = ("_layout", "_left", "_order")

    def __init__(self, value: dict[bytes, bencode.Value], layout: bencode.Layout) -> None:
        keys = tuple(value)
        self._order = None if keys == tuple(sorted(keys)) else keys
        self._left = dict(value)
        self._layout = layout

    def message(self) -> Query | Reply:
        if b"sq" in self._left:
            raise MessageError("a supernode's message", where="sq", expected="a message of the DHT, with q or without")
        txid = self._bytes(b"txid")
        version = self._uint(b"p", _U32)
        form = self._uint(b"ei", _FORMS)
        if txid is None or version is None or form is None:
            missing = "txid" if txid is None else "p" if version is None else "ei"
            raise MessageError("missing", where=missing, expected="a field that every message has")
        scheme = self._bytes(b"es")
        self._check_form(scheme, form)
        dnd = self._uint(b"dnd", _U32)
        kind = self._bytes(b"q")
        if kind is not None:
            target = self._bytes(b"tar")
            _check_target(kind, target)
            return Query(
                kind=kind,
                target=target,
                txid=txid,
                version=version,
                form=form,
                scheme=scheme,
                dnd=dnd,
                extra=tuple(self._left.items()),
                spelling=self._spelling(None),
            )
        nodes, width = self._nodes()
        return Reply(
            nodes=nodes,
            txid=txid,
            version=version,
            form=form,
            scheme=scheme,
            dnd=dnd,
            extra=tuple(self._left.items()),
            spelling=self._spelling(width),
        )

    def _spelling(self, width: int | None) -> Spelling:
        if width is None and self._order is None and self._layout == _PLAIN.layout:
            return _PLAIN
        return Spelling(self._layout, self._order, width)

    def _bytes(self, key: bytes) -> bytes | None:
        value = self._left.pop(key, None)
        if value is None or isinstance(value, bytes):
            return value
        raise MessageError(f"a {type(value).__name__}", where=key.decode(), expected="a string")

    def _uint(self, key: bytes, limit: int) -> int | None:
        value = self._left.pop(key, None)
        if value is None or (isinstance(value, int) and 0 <= value < limit):
            return value
        found = str(value) if isinstance(value, int) else f"a {type(value).__name__}"
        raise MessageError(found, where=key.decode(), expected=f"an integer from 0 to {limit - 1}")

    def _check_form(self, scheme: bytes | None, form: int) -> None:
        try:
            forms = len((V3X5X8 if scheme is None else _scheme(scheme)).forms)
        except SchemeError as error:
            raise MessageError(
                f"{len(scheme or b'')} bytes that are no encoding scheme", where="es", expected="a sane scheme"
            ) from error
        if form >= forms:
            raise MessageError(f"form {form}", where="ei", expected=f"one of the scheme's {forms} forms")

    def _nodes(self) -> tuple[tuple[NodeEntry, ...] | None, int | None]:
        """Return the entries of ``n`` with the versions of ``np``, and the width of those where it is a choice."""
        packed, versions = self._bytes(b"n"), self._bytes(b"np")
        if packed is None:
            if versions is not None:
                raise MessageError("versions of no nodes", where="np", expected="n beside it")
            return None, None
        count, left = divmod(len(packed), _ENTRY)
        if left:
            raise MessageError(f"{len(packed)} bytes", where="n", expected=f"a multiple of {_ENTRY}")
        numbers, width = _versions(versions, count)
        return (
            tuple(
                [
                    NodeEntry(
                        PublicKey(packed[at : at + _KEY]),
                        int.from_bytes(packed[at + _KEY : at + _ENTRY], "big"),
                        number,
                    )
                    for at, number in zip(range(0, len(packed), _ENTRY), numbers, strict=True)
                ]
            ),
            width,
        )


def _check_target(kind: bytes, target: bytes | None) -> None:
    sizes = _TARGET_SIZES.get(kind)
    if sizes is None or (target is not None and len(target) in sizes):
        return
    found = "missing" if target is None else f"{len(target)} bytes"
    raise MessageError(found, where="tar", expected=f"{' or '.join(map(str, sizes))} bytes for {kind.decode()}")


def _versions(packed: bytes | None, count: int) -> tuple[list[int], int | None]:
    """Read ``np``; return the numbers, and the width unless it is the one that would be written anyway."""
    if packed is None:
        return [0] * count, 0
    width = packed[0] if packed else 0
    if not 1 <= width <= 4 or len(packed) != 1 + width * count:
        raise MessageError(
            f"{len(packed)} bytes of width {width}", where="np", expected=f"a width of 1 to 4, then {count} numbers"
        )
    numbers = [int.from_bytes(packed[at : at + width], "big") for at in range(1, len(packed), width)]
    least = max(1, (max(numbers, default=0).bit_length() + 7) // 8)
    return numbers, None if width == least else width
