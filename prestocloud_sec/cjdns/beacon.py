# SPDX-License-Identifier: Apache-2.0
"""How neighbours find each other, and how cjdns rides on Ethernet.

A node that looks for neighbours broadcasts a beacon: its protocol version, a password that is good for one run, and its
key. Whoever hears it can say hello (authentication type 1 with those 20 raw bytes as the password)::

    0   4  protocol version
    4  20  password
   24  32  public key

Over UDP (IPv4 broadcast to a port of its own, default 64512, every 32768 ms) these 56 bytes follow 8 more that name the
port to talk to. Over Ethernet, type fc00, every frame has a header of 6 bytes, and a beacon is a frame sent to
ff:ff:ff:ff:ff:ff.

Sources: cjdns v21.1, ``wire/Headers.h`` (``Headers_Beacon``), ``interface/UDPInterface.h`` and ``.c``,
``interface/ETHInterface.h`` and ``ETHInterface_linux.c``, ``net/InterfaceController.c`` (``handleBeacon``). Whether the
key is a valid one and the version one that we can talk to is for the receiver to ask of the decoded value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.cjdns._layout import Fixed, Layout, Number, Octets, Structure, Tail, octets, view
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError

if TYPE_CHECKING:
    from typing import Self

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "BEACON_PORT",
    "BROADCAST_MAC",
    "ETHERTYPE",
    "Beacon",
    "EthernetFrame",
    "EthernetPayload",
    "UdpBeacon",
    "is_udp_beacon",
]

BEACON_PORT = 64512
"""UDP port that beacons are sent to unless configured otherwise."""

BROADCAST_MAC = b"\xff" * 6
"""Ethernet destination of a beacon."""

ETHERTYPE = 0xFC00
"""Ethernet type of every cjdns frame."""

_UDP_MAGIC = 0xFFFFFFFC


@dataclass(frozen=True, slots=True)
class Beacon(Structure):
    """What a node tells everyone on its link, 56 bytes.

    Attributes
    ----------
    version : int
        32 bits at offset 0: protocol version of the sender.
    password : bytes
        20 bytes at offset 4: authorises a hello to the sender. Everyone on the link reads it; it still stays out of
        ``repr``, so that logs do not spread it further.
    public_key : bytes
        32 bytes at offset 24: key of the sender.
    more : bytes
        What follows; a receiver ignores it.
    """

    SIZE: ClassVar[int] = 56
    LAYOUT: ClassVar[Layout] = Layout(
        "Beacon", Number("version", 32), Octets("password", 160), Octets("public_key", 256), tail=Tail("more")
    )

    version: int
    password: bytes = field(repr=False)
    public_key: bytes
    more: bytes = b""


@dataclass(frozen=True, slots=True)
class UdpBeacon:
    """A beacon with the header that UDP broadcasts have, 64 bytes in all.

    Attributes
    ----------
    comm_port : int
        16 bits: UDP port of the sender for everything but beacons. Its address is that of the datagram.
    beacon : Beacon
        What it tells.
    """

    SIZE: ClassVar[int] = 64
    LAYOUT: ClassVar[Layout] = Layout(
        "UdpBeacon",
        Fixed("magic", 32, _UDP_MAGIC),
        Fixed("version", 8, 0),
        Fixed("zero", 8, 0),
        Number("comm_port", 16),
    )

    comm_port: int
    beacon: Beacon

    def __post_init__(self) -> None:
        self.LAYOUT.admit(self)
        if not isinstance(self.beacon, Beacon):
            raise CjdnsMisuseError(f"{type(self.beacon).__name__}", where="UdpBeacon.beacon", expected="Beacon")

    def encode(self) -> bytes:
        """Return the datagram."""
        return self.LAYOUT.pack(self) + self.beacon.encode()

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the beacon in a datagram that came to the beacon port.

        Raises
        ------
        HeaderError
            If it is shorter than 64 bytes, its magic is not fffffffc, its version not 0, or the next byte not 0.
        CjdnsMisuseError
            If `data` is not bytes-like.
        """
        raw = view(data, "UdpBeacon")
        head = cls.LAYOUT.unpack(raw[: cls.LAYOUT.size])
        return cls(**head, beacon=Beacon(**Beacon.LAYOUT.unpack(raw[cls.LAYOUT.size :], offset=cls.LAYOUT.size)))


def is_udp_beacon(datagram: BytesLike) -> bool:
    """Whether a datagram begins as a beacon does.

    Raises
    ------
    CjdnsMisuseError
        If `datagram` is not bytes-like.
    """
    return bytes(view(datagram, "datagram")[:4]) == _UDP_MAGIC.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class EthernetPayload:
    """What a cjdns Ethernet frame carries after its type: a header of 6 bytes, the content, and perhaps padding.

    Attributes
    ----------
    content : bytes
        At most 65529 bytes: a `Beacon`, or an outer CryptoAuth packet.
    zero : int
        Byte 1, written 0; a receiver does not look at it.
    padding : bytes
        What the link added to reach its shortest frame. The header's length, which counts itself and the content,
        tells where it begins.

    Examples
    --------
    >>> EthernetPayload(b"example").encode().hex()
    '0000000dfc006578616d706c65'
    """

    HEADER_SIZE: ClassVar[int] = 6
    MAX_CONTENT: ClassVar[int] = 0xFFFF - HEADER_SIZE
    LAYOUT: ClassVar[Layout] = Layout(
        "EthernetPayload",
        Fixed("version", 8, 0),
        Number("zero", 8),
        Number("length", 16),
        Fixed("magic", 16, ETHERTYPE),
    )

    content: bytes
    zero: int = 0
    padding: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", octets(self.content, "EthernetPayload.content"))
        object.__setattr__(self, "padding", octets(self.padding, "EthernetPayload.padding"))
        object.__setattr__(self, "zero", Number("zero", 8).admit(self.zero, "EthernetPayload.zero"))
        if len(self.content) > self.MAX_CONTENT:
            raise CjdnsMisuseError(
                f"{len(self.content)} bytes", where="EthernetPayload.content", expected=f"at most {self.MAX_CONTENT}"
            )

    @property
    def length(self) -> int:
        """What the length field says: the bytes of header and content."""
        return self.HEADER_SIZE + len(self.content)

    def encode(self) -> bytes:
        """Return the bytes after the Ethernet type."""
        return self.LAYOUT.pack(self) + self.content + self.padding

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the payload of a frame.

        Raises
        ------
        HeaderError
            If it is shorter than its header or than its length field says, its version is not 0, its magic not fc00,
            or its length leaves no room for the header.
        CjdnsMisuseError
            If `data` is not bytes-like.
        """
        raw = view(data, "EthernetPayload")
        head = cls.LAYOUT.unpack(raw[: cls.HEADER_SIZE])
        length = head["length"]
        if not cls.HEADER_SIZE <= length <= len(raw):
            raise HeaderError(
                f"{length} bytes", where="EthernetPayload.length", offset=2, expected=f"{cls.HEADER_SIZE}..{len(raw)}"
            )
        return cls(bytes(raw[cls.HEADER_SIZE : length]), head["zero"], bytes(raw[length:]))


@dataclass(frozen=True, slots=True)
class EthernetFrame:
    """A whole Ethernet frame of cjdns, without preamble and checksum.

    Attributes
    ----------
    destination, source : bytes
        6 bytes each: MAC addresses.
    payload : EthernetPayload
        What it carries.
    """

    SIZE: ClassVar[int] = 14
    LAYOUT: ClassVar[Layout] = Layout(
        "EthernetFrame",
        Octets("destination", 48, show=lambda mac: mac.hex(":")),
        Octets("source", 48, show=lambda mac: mac.hex(":")),
        Fixed("ethertype", 16, ETHERTYPE),
    )

    destination: bytes
    source: bytes
    payload: EthernetPayload

    def __post_init__(self) -> None:
        self.LAYOUT.admit(self)
        if not isinstance(self.payload, EthernetPayload):
            raise CjdnsMisuseError(
                f"{type(self.payload).__name__}", where="EthernetFrame.payload", expected="EthernetPayload"
            )

    @property
    def is_broadcast(self) -> bool:
        """Whether it goes to everyone on the link: then its content is a `Beacon`."""
        return self.destination == BROADCAST_MAC

    def encode(self) -> bytes:
        """Return the frame."""
        return self.LAYOUT.pack(self) + self.payload.encode()

    @classmethod
    def decode(cls, data: BytesLike) -> Self:
        """Return the frame that `data` is.

        Raises
        ------
        HeaderError
            If it is shorter than its headers, or its type is not fc00, and as `EthernetPayload.decode` does.
        CjdnsMisuseError
            If `data` is not bytes-like.
        """
        raw = view(data, "EthernetFrame")
        return cls(**cls.LAYOUT.unpack(raw[: cls.SIZE]), payload=EthernetPayload.decode(raw[cls.SIZE :]))
