# SPDX-License-Identifier: Apache-2.0
"""Captures as tcpdump writes them: classic pcap files, read into an arena and written from one.

A file is a header of 24 bytes and, for each packet, a header of 16 bytes and what was captured of it (libpcap,
pcap-savefile(5)). Both byte orders and both resolutions of time are read. The packets of a `Capture` lie in the file as
it was read, and a selection of packets is made of the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.errors import InputError, MisuseError, TruncatedError
from prestocloud_sec.wire import items_of, view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["ETHERNET", "LONGEST", "RAW_IP", "Capture"]

ETHERNET = 1
"""Link type of Ethernet frames (libpcap ``LINKTYPE_ETHERNET``)."""
RAW_IP = 101
"""Link type of packets that begin with their IPv4 or IPv6 header (``LINKTYPE_RAW``)."""
LONGEST = 262_144
"""Most bytes of a packet (libpcap ``MAXIMUM_SNAPLEN``)."""

_MICROSECONDS, _NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
_TICKS = {_MICROSECONDS: 1000, _NANOSECONDS: 1}
"""Nanoseconds of a unit of a time stamp's fraction, by magic number."""
_PCAPNG = 0x0A0D0D0A
_FILE, _RECORD = 24, 16
_LINK_TYPE = 0x0FFF_FFFF
"""Bits of the last word that are the link type; those above tell of checksums of frames."""
_SECOND = 1_000_000_000
_LINKS = {0: "BSD loopback", ETHERNET: "Ethernet", RAW_IP: "raw IP", 105: "802.11", 113: "Linux cooked"}


@dataclass(frozen=True, slots=True)
class Capture:
    """A pcap file and the packets in it.

    Equality and hash are those of the file's bytes.

    Attributes
    ----------
    data : bytes
        The file; the only argument, of which anything bytes-like is taken.
    packets : PacketArena
        What was captured of each packet. Its buffer is the file.
    times : ndarray of int64, shape (k,)
        When each packet was captured, in nanoseconds since 1970.
    lengths : ndarray of int64, shape (k,)
        Bytes that each packet had on the wire; of what was captured, see ``packets.lengths``.
    link_type : int
        What packets begin with: `ETHERNET`, `RAW_IP`, or another of libpcap's link types.

    Raises
    ------
    InputError
        If it is no pcap file, or a packet's length cannot be right.
    TruncatedError
        If it ends within a header or a packet; it says where.
    MisuseError
        If `data` is not bytes-like.

    Examples
    --------
    >>> capture = Capture.pack([b"first", b"second"], times=[0, 1_500_000_000])
    >>> capture
    <Capture: 2 packets of Ethernet in 1.5 s>
    >>> [bytes(packet) for packet in capture.select(capture.packets.lengths > 5).packets]
    [b'second']
    >>> Capture(capture.data).times.tolist()
    [0, 1500000000]
    """

    data: bytes
    packets: PacketArena = field(init=False, compare=False)
    times: NDArray[np.int64] = field(init=False, compare=False)
    lengths: NDArray[np.int64] = field(init=False, compare=False)
    link_type: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        file = bytes(view_of(self.data, name="capture"))
        order, tick = _form(file)
        offsets, rows = _records(file, order)
        table = np.array(rows, np.int64).reshape(len(rows), 4)
        packets = PacketArena(np.frombuffer(file, np.uint8), np.array(offsets, np.int64), table[:, 2].copy())
        (link,) = struct.unpack_from(f"{order}I", file, 20)
        for name, value in (
            ("data", file),
            ("packets", packets),
            ("times", table[:, 0] * _SECOND + table[:, 1] * tick),
            ("lengths", table[:, 3].copy()),
            ("link_type", link & _LINK_TYPE),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def pack(
        cls, packets: Iterable[BytesLike], *, times: Iterable[int] | None = None, link_type: int = ETHERNET
    ) -> Capture:
        """Make a capture of packets, little-endian and with nanoseconds.

        Parameters
        ----------
        packets : iterable of bytes-like
            A `PacketArena` is one.
        times : iterable of int, optional
            Nanoseconds since 1970 for each; all 0 if not given.
        link_type : int
            What they begin with.

        Raises
        ------
        MisuseError
            If a packet is longer than `LONGEST`, a time is before 1970 or in 2106 or later, or there are not as many
            times as packets.
        """
        views = [view_of(packet, name="packet") for packet in items_of(packets, "packets", "packets")]
        given = [0] * len(views) if times is None else list(items_of(times, "times", "integers"))
        if len(given) != len(views):
            raise MisuseError(f"{len(given)} times for {len(views)} packets", where="times", expected="one for each")
        link = whole(link_type, "link_type", 0, _LINK_TYPE)
        parts: list[Any] = [struct.pack("<IHHiIII", _NANOSECONDS, 2, 4, 0, 0, LONGEST, link)]
        for view, moment in zip(views, given, strict=True):
            size = whole(len(view), "bytes of a packet", 0, LONGEST)
            seconds, fraction = divmod(whole(moment, "times", 0, (1 << 32) * _SECOND - 1), _SECOND)
            parts += [struct.pack("<IIII", seconds, fraction, size, size), view]
        return cls(b"".join(parts))

    def select(self, keep: Any) -> Capture:
        """Return a capture of some of the packets, in the same order.

        Parameters
        ----------
        keep : array of bool, shape (k,)
            Which, such as ``program.run_batch(capture.packets).values != 0``.

        Raises
        ------
        MisuseError
            If it is no such array.
        """
        chosen = keep if isinstance(keep, np.ndarray) else None
        if chosen is None or chosen.dtype != np.bool_ or chosen.shape != (len(self),):
            raise MisuseError(
                f"{type(keep).__name__} selects nothing", where="keep", expected=f"an array of {len(self)} bools"
            )
        file, offsets = self.data, self.packets.offsets
        places = zip(offsets[chosen].tolist(), (offsets + self.packets.lengths)[chosen].tolist(), strict=True)
        return Capture(b"".join([file[:_FILE], *(file[start - _RECORD : end] for start, end in places)]))

    def __len__(self) -> int:
        return len(self.packets)

    def __repr__(self) -> str:
        link = _LINKS.get(self.link_type, f"link type {self.link_type}")
        span = f" in {(int(self.times.max()) - int(self.times.min())) / _SECOND:.4g} s" if len(self) else ""
        return f"<Capture: {len(self)} packets of {link}{span}>"


def _form(file: bytes) -> tuple[str, int]:
    """Return byte order and nanoseconds of a tick, as the magic number has them."""
    if len(file) < 4:
        raise TruncatedError(f"{len(file)} bytes", where="pcap file header", expected=f"{_FILE} bytes")
    for order in "<>":
        (magic,) = struct.unpack_from(f"{order}I", file)
        if magic not in _TICKS:
            continue
        if len(file) < _FILE:
            raise TruncatedError(f"{len(file)} bytes", where="pcap file header", expected=f"{_FILE} bytes")
        return order, _TICKS[magic]
    hint = "a pcapng file; editcap -F pcap makes a pcap file of it" if magic == _PCAPNG else None
    raise InputError("no pcap magic", where="pcap file header", offset=0, expected="a1b2c3d4 or a1b23c4d", hint=hint)


def _records(file: bytes, order: str) -> tuple[list[int], list[tuple[int, int, int, int]]]:
    """Return where each packet begins, and what its header says: seconds, fraction, bytes here, bytes on the wire."""
    offsets: list[int] = []
    rows: list[tuple[int, int, int, int]] = []
    read = struct.Struct(f"{order}IIII").unpack_from
    at, end = _FILE, len(file)
    while at < end:
        if end - at < _RECORD:
            raise TruncatedError(f"{end - at} bytes left", where="pcap packet header", offset=at, expected=f"{_RECORD}")
        row = read(file, at)
        captured = row[2]
        if captured > LONGEST:
            raise InputError(
                f"{captured} bytes", where="pcap packet length", offset=at + 8, expected=f"at most {LONGEST}"
            )
        at += _RECORD
        if captured > end - at:
            raise TruncatedError(f"{end - at} bytes left", where="pcap packet", offset=at, expected=f"{captured}")
        rows.append(row)
        offsets.append(at)
        at += captured
    return offsets, rows
