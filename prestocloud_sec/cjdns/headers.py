# SPDX-License-Identifier: Apache-2.0
"""The headers between the CryptoAuth layers of a packet: switch header and data header; and the route header of a node.

One datagram between two established neighbours, from the outside in (cjdns v21.1; all numbers big-endian)::

    outer CryptoAuth       4 nonce, 16 tag            (120 during the handshake)
      switch header       12 `SwitchHeader`
        ffffffff          a control frame follows, see `prestocloud_sec.cjdns.control`
        or handle          4 names the inner session; absent during its handshake, where it is inside the box
          inner CryptoAuth 4 nonce, 16 tag            (120 during the handshake)
            data header    4 `DataHeader`
              payload

Sources: cjdns v21.1, ``wire/SwitchHeader.h``, ``wire/DataHeader.h``, ``wire/ContentType.h``, ``wire/RouteHeader.h``,
``net/SessionManager.c``; cjdns Whitepaper, "The Switch" (which calls the traffic class "penalty"). The CryptoAuth
headers are in `prestocloud_sec.cjdns.cryptoauth`.

Every value here encodes to exactly the bytes that it was decoded from, unused bits included, and is as lenient as
running nodes are: a version or congestion of 0 is normal on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.cjdns._layout import Flag, Layout, Nested, Number, Octets, Structure, view
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "AVAILABLE_CONTENT",
    "IP6_CONTENT_MAX",
    "TUN_MTU",
    "ContentType",
    "DataHeader",
    "RouteFlags",
    "RouteHeader",
    "SwitchHeader",
    "content_name",
    "datagram_overhead",
    "label_text",
]

IP6_CONTENT_MAX = 255
"""Content types up to here are IPv6 next-header numbers; the payload is what follows the 40-byte IPv6 header."""

_LABEL_MAX = (1 << 64) - 1

AVAILABLE_CONTENT = 0x8000
"""Content types from here on are free for agreements between nodes; those below, down to 258, are reserved."""


class ContentType(IntEnum):
    """What the payload of an inner packet is, where it has a name here (cjdns v21.1, ``wire/ContentType.h``)."""

    HOP_BY_HOP = 0
    TCP = 6
    UDP = 17
    ICMPV6 = 58
    CJDHT = 256
    """A bencoded message between routers."""
    IPTUN = 257
    """A whole IPv4 or IPv6 packet, its header included, for a tunnel."""


def content_name(content_type: int) -> str:
    """Return what a human calls a content type: a name, or the range it falls into; CjdnsMisuseError unless 16 bits."""
    content_type = whole(content_type, "content_type", 0, 0xFFFF, error=CjdnsMisuseError)
    try:
        return ContentType(content_type).name
    except ValueError:
        pass
    if content_type <= IP6_CONTENT_MAX:
        return f"IPv6 next header {content_type}"
    return f"{'reserved' if content_type < AVAILABLE_CONTENT else 'available'} {content_type:#06x}"


def label_text(label: int) -> str:
    """Return a 64-bit label as cjdns prints it, ``0000.0000.0000.0013``; CjdnsMisuseError unless 64 bits."""
    digits = f"{whole(label, 'label', 0, _LABEL_MAX, error=CjdnsMisuseError):016x}"
    return f"{digits[:4]}.{digits[4:8]}.{digits[8:12]}.{digits[12:]}"


@dataclass(frozen=True, slots=True)
class Label(Number):
    """A route label of 64 bits, shown as cjdns prints it."""

    bits: int = 64

    def text(self, value: int) -> str:
        return label_text(value)

    def literal(self, value: int) -> str:
        return label_text(value)


@dataclass(frozen=True, slots=True, repr=False)
class SwitchHeader(Structure):
    """What a switch reads and rewrites, 12 bytes (cjdns v21.1, ``wire/SwitchHeader.h``).

    Attributes
    ----------
    label : int
        64 bits at offset 0: the rest of the way in its low bits, the way back, bit-reversed, in its high bits.
    congestion : int
        7 bits at offset 8: 0 to 127. The C setter never stores 0 (see `with_congestion`); live packets carry 0.
    suppress_errors : bool
        Lowest bit of byte 8: nothing that goes wrong with this packet is to be answered with an error.
    version : int
        2 bits at offset 9: 1 for a node of today; live packets also carry 0.
    label_shift : int
        6 bits at offset 9: how many bits switches have shifted off the label so far.
    traffic_class : int
        16 bits at offset 10: every switch overwrites it with 0xffff, "unclassed".

    Examples
    --------
    >>> header = SwitchHeader.decode(bytes.fromhex("80000000000000010044ffff"))
    >>> f"{header.label:016x}", header.version, header.label_shift
    ('8000000000000001', 1, 4)
    """

    SIZE: ClassVar[int] = 12
    LAYOUT: ClassVar[Layout] = Layout(
        "SwitchHeader",
        Label("label"),
        Number("congestion", 7),
        Flag("suppress_errors"),
        Number("version", 2),
        Number("label_shift", 6),
        Number("traffic_class", 16, show="{:04x}".format),
    )

    label: int
    congestion: int = 0
    suppress_errors: bool = False
    version: int = 1
    label_shift: int = 0
    traffic_class: int = 0xFFFF

    def with_congestion(self, congestion: int) -> SwitchHeader:
        """Return this header with the congestion as the C setter stores it: 1 in place of 0.

        Raises
        ------
        CjdnsMisuseError
            Unless 0 to 127.
        """
        stored = whole(congestion, "congestion", 0, 127, error=CjdnsMisuseError) or 1
        return SwitchHeader(
            self.label, stored, self.suppress_errors, self.version, self.label_shift, self.traffic_class
        )

    @classmethod
    def split(cls, frame: BytesLike) -> tuple[SwitchHeader, memoryview]:
        """Return the header at the start of `frame` and a view of what follows it.

        Raises
        ------
        HeaderError
            If there are fewer than 12 bytes.
        CjdnsMisuseError
            If `frame` is not bytes-like.
        """
        raw = view(frame, "frame")
        return cls.decode(raw[: cls.SIZE]), raw[cls.SIZE :]


@dataclass(frozen=True, slots=True)
class DataHeader(Structure):
    """First bytes of every inner plaintext, 4 bytes (cjdns v21.1, ``wire/DataHeader.h``).

    Attributes
    ----------
    content_type : int
        16 bits at offset 2: up to 255 an IPv6 next-header number, else see `ContentType`.
    version : int
        4 bits at offset 0: 1. The receiver does not look at it.
    flags : int
        4 bits at offset 0, unused, written 0.
    unused : int
        Byte 1, written 0.

    Examples
    --------
    >>> DataHeader(ContentType.CJDHT).encode().hex()
    '10000100'
    """

    SIZE: ClassVar[int] = 4
    LAYOUT: ClassVar[Layout] = Layout(
        "DataHeader",
        Number("version", 4),
        Number("flags", 4),
        Number("unused", 8),
        Number("content_type", 16, kind=ContentType),
    )

    content_type: int
    version: int = 1
    flags: int = 0
    unused: int = 0

    @classmethod
    def split(cls, plaintext: BytesLike) -> tuple[DataHeader, memoryview]:
        """Return the header at the start of `plaintext` and a view of the payload.

        Raises
        ------
        HeaderError
            If there are fewer than 4 bytes.
        CjdnsMisuseError
            If `plaintext` is not bytes-like.
        """
        raw = view(plaintext, "plaintext")
        return cls.decode(raw[: cls.SIZE]), raw[cls.SIZE :]


class RouteFlags(IntFlag):
    """What a route header says about its packet (cjdns v21.1, ``wire/RouteHeader.h``)."""

    INCOMING = 1
    """It came from another node; key, address and label are of its source."""
    CTRLMSG = 2
    """A control frame follows, not a data header."""
    PATHFINDER = 4
    """It is for, or of, the router itself."""


@dataclass(frozen=True, slots=True)
class RouteHeader(Structure):
    """Which node a packet is for or of, 68 bytes, inside a node only (cjdns v21.1, ``wire/RouteHeader.h``).

    Never on the wire; programs that register for a content type (``UpperDistributor``) see it.

    Attributes
    ----------
    public_key : bytes
        32 bytes at offset 0: key of the other node; zero if unknown.
    switch_header : SwitchHeader
        12 bytes at offset 32; a label of 0 if unknown.
    version : int
        32 bits at offset 44: protocol version of the other node; 0 if unknown.
    flags : RouteFlags
        Byte 48.
    ip6 : bytes
        16 bytes at offset 52: address of the other node.
    unused : bytes
        Bytes 49 to 51, written 0.
    """

    SIZE: ClassVar[int] = 68
    LAYOUT: ClassVar[Layout] = Layout(
        "RouteHeader",
        Octets("public_key", 256),
        Nested("switch_header", 96, SwitchHeader),
        Number("version", 32),
        Number("flags", 8, kind=RouteFlags),
        Octets("unused", 24),
        Octets("ip6", 128),
    )

    public_key: bytes
    switch_header: SwitchHeader
    version: int
    flags: RouteFlags
    ip6: bytes
    unused: bytes = bytes(3)


_OUTER, _INNER, _HANDSHAKE, _HANDLE = 20, 20, 120, 4


def datagram_overhead(*, outer_handshake: bool = False, inner_handshake: bool = False) -> int:
    """Return how many bytes of a datagram are not payload, for a packet that is sent through both sessions.

    Parameters
    ----------
    outer_handshake, inner_handshake : bool
        Whether the session with the neighbour, or with the far end, is still in its handshake, so that its header
        takes 120 bytes in place of 20.

    Notes
    -----
    The payload is what follows the data header; of an IPv6 packet that is what follows the IPv6 header.

    Examples
    --------
    >>> datagram_overhead(), datagram_overhead(inner_handshake=True)
    (60, 160)
    """
    for name, flag in (("outer_handshake", outer_handshake), ("inner_handshake", inner_handshake)):
        if not isinstance(flag, bool):
            raise CjdnsMisuseError(shown(flag), where=name, expected="True or False")
    outer = _HANDSHAKE if outer_handshake else _OUTER
    inner = _HANDSHAKE if inner_handshake else _INNER
    return outer + SwitchHeader.SIZE + _HANDLE + inner + DataHeader.SIZE


TUN_MTU = 1492 - 20 - 8 - datagram_overhead(inner_handshake=True)
"""MTU of the TUN interface of a C node, 1304: what PPPoE leaves for IPv4, UDP and a datagram in an inner handshake."""
