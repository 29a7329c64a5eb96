# SPDX-License-Identifier: Apache-2.0
"""What is known of a packet besides its bytes: the part of the kernel's ``sk_buff`` that ancillary loads read."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import result_of, shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["PacketMetadata"]

_U16, _U32 = 0xFFFF, 0xFFFF_FFFF
_ETHERNET = 14
_FIRST_ETHERTYPE = 0x600
_RAW_802_3, _LLC = 1, 4
_LARGEST = 1 << 24
_MOST: dict[str, int] = {
    "protocol": _U16,
    "pkt_type": 7,
    "ifindex": _U32 >> 1,
    "mark": _U32,
    "queue": _U16,
    "hatype": _U16,
    "rxhash": _U32,
    "cpu": _U16,
    "vlan_tci": _U16,
    "vlan_tpid": _U16,
    "network_offset": _LARGEST,
    "mac_offset": _LARGEST,
    "pay_offset": _U32,
    "linear_length": _LARGEST,
}
_OPTIONAL = frozenset({"mac_offset", "pay_offset", "linear_length"})


def _ethernet_protocol(frame: memoryview) -> int:
    """Return the kernel's protocol of an Ethernet frame."""
    found = int.from_bytes(frame[12:14], "big")
    if found >= _FIRST_ETHERTYPE:
        return found
    return _RAW_802_3 if frame[14:16].tobytes() == b"\xff\xff" else _LLC


def _random() -> int:
    return secrets.randbits(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketMetadata:
    """One packet's metadata. Numbers are in the host's order, as programs see them.

    Attributes
    ----------
    protocol : int
        EtherType of what begins at `network_offset`.
    pkt_type : int
        0 to this host, 1 broadcast, 2 multicast, 3 to another host, 4 outgoing.
    ifindex : int
        Number of the device; 0 if there is none, which ends programs that ask for it or for `hatype`.
    mark, queue, rxhash, cpu : int
        The packet's mark, its queue, the hash of its flow, the processor.
    hatype : int
        Hardware type of the device; 1 is Ethernet.
    vlan_tci, vlan_tpid : int
        The VLAN tag that is kept beside the packet, and its EtherType.
    vlan_present : bool
        Whether there is one.
    network_offset : int
        Where the network header begins in the packet.
    mac_offset : int or None
        Where the link-layer header begins; None if there is none.
    pay_offset : int or None
        Where the payload begins; None lets it be found in the packet.
    linear_length : int or None
        Bytes at the beginning that lie in one piece; None is all. Loads relative to a header see no others, and
        searches for netlink attributes find nothing unless all do.
    random : callable
        Returns what the next load of a random number gives.
    """

    protocol: int = 0
    pkt_type: int = 0
    ifindex: int = 0
    mark: int = 0
    queue: int = 0
    hatype: int = 1
    rxhash: int = 0
    cpu: int = 0
    vlan_tci: int = 0
    vlan_present: bool = False
    vlan_tpid: int = 0
    network_offset: int = 0
    mac_offset: int | None = None
    pay_offset: int | None = None
    linear_length: int | None = None
    random: Callable[[], int] = _random

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if type(value) is not int or not 0 <= value <= most:
                raise BpfMisuseError(
                    f"{shown(value)} does not fit", where=f"PacketMetadata.{name}", expected=f"an integer 0..{most}"
                )
        for name, fits in (("vlan_present", type(self.vlan_present) is bool), ("random", callable(self.random))):
            if not fits:
                raise BpfMisuseError(
                    f"{shown(getattr(self, name))} does not fit",
                    where=f"PacketMetadata.{name}",
                    expected="a bool" if name == "vlan_present" else "a function without arguments",
                )

    @classmethod
    def of_frame(cls, packet: BytesLike, **fields: Any) -> PacketMetadata:
        """Return the metadata of an Ethernet frame; `fields` are given as they are.

        The protocol is the number at 12 where that is an EtherType; a length there, below 0x600, makes it 4 (an LLC
        header follows), or 1 where two bytes 0xff do (Linux ``net/ethernet/eth.c``, ``eth_type_trans``).

        Raises
        ------
        BpfMisuseError
            If a field does not fit, or does not exist.
        """
        view = view_of(packet, name="packet")
        found = {
            "protocol": _ethernet_protocol(view) if len(view) >= _ETHERNET else 0,
            "network_offset": min(_ETHERNET, len(view)),
            "mac_offset": 0,
        }
        unknown = fields.keys() - set(cls.__dataclass_fields__)
        if unknown:
            raise BpfMisuseError(f"there is no field {shown(min(unknown))}", where="PacketMetadata.of_frame")
        return cls(**found | fields)

    def draw(self) -> int:
        """Return the next random number, 32 bits.

        Raises
        ------
        BpfMisuseError
            If `random` returns something else.
        """
        value = result_of(
            self.random, name="PacketMetadata.random", expected="a function without arguments", error=BpfMisuseError
        )
        if type(value) is not int or not 0 <= value <= _U32:
            raise BpfMisuseError(f"{shown(value)}", where="PacketMetadata.random", expected=f"an integer 0..{_U32}")
        return value

    def find_payload(self, packet: bytes) -> int:
        """Return where the payload of a packet begins: `pay_offset`, or what the kernel would find."""
        if self.pay_offset is not None:
            return self.pay_offset
        from prestocloud_sec.bpf.classic.dissect import payload_offset

        return payload_offset(
            packet,
            protocol=self.protocol,
            network_offset=self.network_offset,
            vlan_tpid=self.vlan_tpid if self.vlan_present else None,
            linear=self.linear_length,
        )

    def run_options(self) -> dict[str, Any]:
        """Return the arguments that let a translated program (`ClassicProgram.to_ebpf`) see this metadata.

        They are for `Program.run`: ``program.to_ebpf().run(packet, **metadata.run_options())``. What the context of
        eBPF has no field for comes from the functions of `prestocloud_sec.bpf.classic.private`.

        A protocol of 0 is shown as the packet's own EtherType there.
        """
        from prestocloud_sec.bpf.classic.private import bound_helpers
        from prestocloud_sec.bpf.vm.context import network_order

        return {
            "ctx": {
                "protocol": network_order(self.protocol),
                "pkt_type": self.pkt_type,
                "ifindex": self.ifindex,
                "mark": self.mark,
                "queue_mapping": self.queue,
                "hash": self.rxhash,
                "vlan_tci": self.vlan_tci,
                "vlan_present": int(self.vlan_present),
                "vlan_proto": network_order(self.vlan_tpid),
            },
            "network_offset": self.network_offset,
            "mac_offset": -1 if self.mac_offset is None else self.mac_offset,
            "cpu": self.cpu,
            "helpers": bound_helpers(self),
        }
