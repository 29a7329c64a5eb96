# SPDX-License-Identifier: Apache-2.0
"""A datagram taken apart layer by layer, for people to read.

Nothing is decrypted here. Whoever holds the sessions passes what each CryptoAuth layer gave (the datagram as it came,
the plaintext of the outer session, the plaintext of the inner one) and gets one `Layer` for every header on the way,
each with its fields, where they are, and what they say. Bytes that break a rule become a layer with a `problem`, never
an error: a trace must be able to show the packet that went wrong.

The order of layers is the one of `prestocloud_sec.cjdns.headers`; the CryptoAuth headers shown are those of the cjdns
Whitepaper, "The CryptoAuth" (120 bytes for a handshake, 20 for everything after).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from prestocloud_sec.cjdns._layout import Layout, Number, Octets, Structure, view
from prestocloud_sec.cjdns.beacon import Beacon, EthernetFrame, EthernetPayload, UdpBeacon, is_udp_beacon
from prestocloud_sec.cjdns.constants import CONTROL_HANDLE
from prestocloud_sec.cjdns.control import ControlFrame
from prestocloud_sec.cjdns.cryptoauth.handshake import FIRST_DATA_NONCE, HANDSHAKE_SIZE, HandshakeHeader, PacketKind
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.headers import ContentType, DataHeader, SwitchHeader, content_name
from prestocloud_sec.cjdns.ipv6 import IPv6Header
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Layer", "LayerField", "Layers", "decode_layers", "packet_kind"]

_RUN = Layout("CryptoAuth", Number("nonce", 32), Octets("tag", 128))
_HANDLE = Layout("handle", Number("handle", 32))
_CONTROL_MARK = Layout("handle", Number("handle", 32, show="{:08x}".format))

_UPPER: dict[int, Layout] = {
    ContentType.TCP: Layout(
        "TCP",
        Number("source_port", 16),
        Number("destination_port", 16),
        Number("sequence", 32),
        Number("acknowledgement", 32),
    ),
    ContentType.UDP: Layout(
        "UDP", Number("source_port", 16), Number("destination_port", 16), Number("length", 16), Number("checksum", 16)
    ),
    ContentType.ICMPV6: Layout("ICMPv6", Number("type", 8), Number("code", 8), Number("checksum", 16)),
}

_TEXT_SHOWN, _HEX_SHOWN = 72, 32


def packet_kind(packet: BytesLike) -> str:
    r"""Return what a CryptoAuth packet is by its first four bytes: hello, repeat hello, key, repeat key or data.

    Raises
    ------
    HeaderError
        If there are fewer than four bytes.
    CjdnsMisuseError
        If `packet` is not bytes-like.

    Examples
    --------
    >>> packet_kind(bytes(120)), packet_kind(b"\0\0\0\x04" + bytes(16))
    ('hello', 'data')
    """
    raw = view(packet, "CryptoAuth packet")
    if len(raw) < 4:
        raise HeaderError(f"{len(raw)} bytes", where="CryptoAuth packet", expected="at least 4")
    return PacketKind.of(int.from_bytes(raw[:4], "big")).name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class LayerField:
    """One field of a layer.

    Attributes
    ----------
    name : str
        As the structure calls it; of a structure within, with a dot.
    offset : int
        Byte of the buffer in which it begins.
    bit : int
        Bit of that byte, 0 being the highest.
    bits : int
        Its width.
    text : str
        Its value.
    """

    name: str
    offset: int
    bit: int
    bits: int
    text: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One header, or the payload at the end.

    Attributes
    ----------
    name : str
        What it is.
    buffer : str
        Where its bytes are: ``datagram``, ``outer plaintext`` or ``inner plaintext``.
    offset, size : int
        In bytes of that buffer.
    fields : tuple of LayerField
        What it says, in wire order.
    value : Structure or link header, optional
        The decoded value, where this package has one.
    problem : str
        Why it could not be read; empty if it could.
    """

    name: str
    buffer: str
    offset: int
    size: int
    fields: tuple[LayerField, ...] = ()
    value: Structure | EthernetFrame | EthernetPayload | UdpBeacon | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one packet, outermost first: a sequence of `Layer` that prints itself and shows in notebooks."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.layers, tuple) or not all(isinstance(layer, Layer) for layer in self.layers):
            raise CjdnsMisuseError(f"a {type(self.layers).__name__}", where="Layers", expected="a tuple of Layer")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        try:
            return self.layers[index]
        except Exception as error:  # whatever a foreign __index__ raises
            raise CjdnsMisuseError(
                f"no layer {shown(index)}", where="Layers", expected=f"0..{len(self) - 1}"
            ) from error

    def find(self, name: str) -> Layer | None:
        """Return the first layer of that name."""
        if not isinstance(name, str):
            raise CjdnsMisuseError(f"a {type(name).__name__}", where="Layers.find", expected="the name of a layer")
        return next((layer for layer in self.layers if layer.name == name), None)

    def as_list(self) -> list[dict[str, Any]]:
        """Return everything but the values as plain lists, dictionaries, texts and numbers, for JSON."""
        return [
            {
                "name": layer.name,
                "buffer": layer.buffer,
                "offset": layer.offset,
                "size": layer.size,
                "fields": {f.name: f.text for f in layer.fields},
                "problem": layer.problem or None,
            }
            for layer in self.layers
        ]

    def __str__(self) -> str:
        lines = []
        for layer in self.layers:
            lines.append(f"{layer.name}, {layer.size} bytes at {layer.offset} of the {layer.buffer}")
            if layer.problem:
                lines.append(f"  ! {layer.problem}")
            lines += [f"  {_place(f):>7}  {f.name:<24}{f.text}" for f in layer.fields]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for layer in self.layers:
            where = f"{layer.size} bytes at {layer.offset} of the {layer.buffer}"
            rows.append(
                f'<tr><th colspan="3" style="text-align:left">{escape(layer.name)}'
                f" <small>{escape(where)}</small></th></tr>"
            )
            if layer.problem:
                rows.append(f'<tr><td colspan="3"><em>{escape(layer.problem)}</em></td></tr>')
            rows += [
                f"<tr><td>{_place(f)}</td><td>{escape(f.name)}</td>"
                f'<td style="text-align:left"><code>{escape(f.text)}</code></td></tr>'
                for f in layer.fields
            ]
        return f"<table>{''.join(rows)}</table>"


def _place(f: LayerField) -> str:
    return str(f.offset) if f.bit == 0 and f.bits % 8 == 0 else f"{f.offset}.{f.bit}"


def _as_text(data: bytes) -> str:
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[:_TEXT_SHOWN])
    return text if len(data) <= _TEXT_SHOWN else f"{text}... ({len(data)} bytes)"


def _as_hex(data: bytes) -> str:
    return data.hex() if len(data) <= _HEX_SHOWN else f"{data[:_HEX_SHOWN].hex()}... ({len(data)} bytes)"


class _Walk:
    """A cursor over one buffer that leaves a layer behind for everything it passes."""

    def __init__(self, buffer: str, data: BytesLike, out: list[Layer]) -> None:
        self.buffer = buffer
        self.data = bytes(view(data, buffer))
        self.offset = 0
        self.end = len(self.data)
        self.out = out

    @property
    def left(self) -> bytes:
        """What was not passed yet, up to where the current layer ends."""
        return self.data[self.offset : self.end]

    def _fields(self, layout: Layout, value: object, base: int) -> tuple[LayerField, ...]:
        return tuple(
            LayerField(cell.name, base + cell.first_bit // 8, cell.first_bit % 8, cell.bits, cell.text)
            for cell in layout.cells(value)
        )

    def problem(self, name: str, error: HeaderError) -> None:
        """Leave a layer for bytes that cannot be read; the walk is over."""
        self.out.append(Layer(name, self.buffer, self.offset, len(self.left), problem=str(error)))
        self.offset = self.end

    def fixed(self, name: str, layout: Layout) -> bool:
        """Pass a header that has a layout but no value; whether it could be read."""
        try:
            value = SimpleNamespace(**layout.unpack(self.left[: layout.size]))
        except HeaderError as error:
            self.problem(name, error)
            return False
        fields = self._fields(layout, value, self.offset)
        self.out.append(Layer(name, self.buffer, self.offset, layout.size, fields))
        self.offset += layout.size
        return True

    def structure(self, name: str, kind: type[Structure], size: int | None = None) -> Structure | None:
        """Pass a value; all that is left belongs to it unless `size` says otherwise."""
        mine = self.left if size is None else self.left[:size]
        try:
            value = kind.decode(mine)
        except HeaderError as error:
            self.problem(name, error)
            return None
        base = self.offset
        fields: tuple[LayerField, ...] = ()
        if isinstance(value, ControlFrame):
            name = f"{name} {type(value).__name__}"
            checksum = LayerField("checksum", base, 0, 16, mine[:2].hex())
            fields = (checksum, LayerField("type", base + 2, 0, 16, f"{int(value.TYPE)} ({value.TYPE.name})"))
            base += 4
        fields += self._fields(value.LAYOUT, value, base)
        self.out.append(Layer(name, self.buffer, self.offset, len(mine), fields, value))
        self.offset += len(mine)
        return value

    def payload(self, name: str, show: Callable[[bytes], str] = _as_text) -> None:
        """Pass all that is left, without looking into it."""
        if self.left:
            content = LayerField("bytes", self.offset, 0, 8 * len(self.left), show(self.left))
            self.out.append(Layer(name, self.buffer, self.offset, len(self.left), (content,)))
            self.offset = self.end

    def link(self, name: str, value: UdpBeacon | EthernetFrame | EthernetPayload) -> None:
        """Pass the header of a value that was decoded already; what it carries stays."""
        fields = self._fields(value.LAYOUT, value, self.offset)
        self.out.append(Layer(name, self.buffer, self.offset, value.LAYOUT.size, fields, value))
        self.offset += value.LAYOUT.size


def _crypto_auth(walk: _Walk, which: str) -> str:
    """Pass a CryptoAuth header and what it seals; return the kind of packet, empty if it could not be read."""
    try:
        kind = packet_kind(walk.left)
    except HeaderError as error:
        walk.problem(f"{which} CryptoAuth", error)
        return ""
    name = f"{which} CryptoAuth, {kind}"
    if kind == "data":
        readable = walk.fixed(name, _RUN)
    else:
        readable = walk.structure(name, HandshakeHeader, HANDSHAKE_SIZE) is not None
    if not readable:
        return ""
    walk.payload("sealed", _as_hex)
    return kind


def _udp(walk: _Walk) -> None:
    if not is_udp_beacon(walk.left):
        _crypto_auth(walk, "outer")
        return
    try:
        value = UdpBeacon.decode(walk.left)
    except HeaderError as error:
        walk.problem("UDP beacon", error)
        return
    walk.link("UDP beacon", value)
    walk.structure("beacon", Beacon)


def _ethernet(walk: _Walk) -> None:
    try:
        value = EthernetFrame.decode(walk.left)
    except HeaderError as error:
        walk.problem("Ethernet", error)
        return
    walk.link("Ethernet", value)
    walk.link("cjdns over Ethernet", value.payload)
    walk.end -= len(value.payload.padding)
    if value.is_broadcast:
        walk.structure("beacon", Beacon)
    else:
        _crypto_auth(walk, "outer")
    walk.end = len(walk.data)
    walk.payload("padding", _as_hex)


def _frame(walk: _Walk) -> bool:
    """Pass what the outer session carried; whether the inner packet in it is a handshake."""
    if walk.structure("switch header", SwitchHeader, SwitchHeader.SIZE) is None or not walk.left:
        return False
    first = int.from_bytes(walk.left[:4], "big")
    if first < FIRST_DATA_NONCE:
        return bool(_crypto_auth(walk, "inner"))
    if first == CONTROL_HANDLE:
        if walk.fixed("control mark", _CONTROL_MARK):
            walk.structure("control", ControlFrame)
    elif walk.fixed("session handle", _HANDLE) and walk.fixed("inner CryptoAuth, data", _RUN):
        walk.payload("sealed", _as_hex)
    return False


def _content(walk: _Walk, handshake: bool) -> None:
    """Pass what the inner session carried."""
    if handshake and not walk.fixed("offered handle", _HANDLE):
        return
    header = walk.structure("data header", DataHeader, DataHeader.SIZE)
    if not isinstance(header, DataHeader):
        return
    upper = _UPPER.get(header.content_type)
    if upper is not None and len(walk.left) >= upper.size:
        walk.fixed(upper.name, upper)
    elif header.content_type == ContentType.IPTUN and walk.left[:1] and walk.left[0] >> 4 == 6:
        walk.structure("IPv6", IPv6Header, IPv6Header.SIZE)
    walk.payload(f"payload, {content_name(header.content_type)}")


def decode_layers(
    datagram: BytesLike | None = None,
    *,
    outer: BytesLike | None = None,
    inner: BytesLike | None = None,
    inner_handshake: bool = False,
    link: Literal["udp", "ethernet"] = "udp",
) -> Layers:
    """Take one packet apart as far as its plaintexts are given.

    Parameters
    ----------
    datagram : bytes-like, optional
        As it came from the link: the payload of a UDP datagram (also a beacon), or a whole Ethernet frame.
    outer : bytes-like, optional
        Plaintext of the session with the neighbour: switch header and what follows.
    inner : bytes-like, optional
        Plaintext of the session with the far end: data header and payload.
    inner_handshake : bool
        Whether `inner` came out of a handshake packet, so that it begins with a handle; where `outer` is given it
        decides, and this is not looked at.
    link : {"udp", "ethernet"}
        What kind of link `datagram` came from.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type. No bytes raise anything.

    Examples
    --------
    >>> print(decode_layers(outer=bytes.fromhex("00000000000000130040ffff" "ffffffff" "e4ec000309f9110200000015")))
    switch header, 12 bytes at 0 of the outer plaintext
            0  label                   0000.0000.0000.0013
          8.0  congestion              0
          8.7  suppress_errors         no
          9.0  version                 1
          9.2  label_shift             0
           10  traffic_class           ffff
    control mark, 4 bytes at 12 of the outer plaintext
           12  handle                  ffffffff
    control Ping, 12 bytes at 16 of the outer plaintext
           16  checksum                e4ec
           18  type                    3 (PING)
           20  magic                   09f91102
           24  version                 21
    """
    if not isinstance(link, str) or link not in ("udp", "ethernet"):
        raise CjdnsMisuseError(shown(link), where="link", expected="'udp' or 'ethernet'")
    out: list[Layer] = []
    if datagram is not None:
        (_udp if link == "udp" else _ethernet)(_Walk("datagram", datagram, out))
    if outer is not None:
        inner_handshake = _frame(_Walk("outer plaintext", outer, out))
    if inner is not None:
        _content(_Walk("inner plaintext", inner, out), inner_handshake)
    return Layers(tuple(out))
