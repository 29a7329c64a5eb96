# SPDX-License-Identifier: Apache-2.0
"""The contexts that r1 points at, by type of program: where their fields are, and how a packet fills them.

Sources: Linux 6.18, ``include/uapi/linux/bpf.h``, ``struct xdp_md`` and ``struct __sk_buff``. In the kernel these
structures do not exist, loads from them are rewritten; here they are plain memory, in the machine's byte order, whose
``data`` and ``data_end`` hold a program's addresses.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.program_type import SKB_TYPES, ProgramType
from prestocloud_sec.bpf.vm.arguments import pairs_of
from prestocloud_sec.wire import shown, whole

__all__ = [
    "LINK_LAYER_TYPES",
    "SK_BUFF",
    "XDP_MD",
    "Context",
    "ContextKind",
    "Field",
    "Layout",
    "context_kind",
    "network_order",
    "octets_of",
    "protocol_of",
]


class ContextKind(IntEnum):
    """What `State.CONTEXT_KIND` says."""

    OPAQUE = 0
    """Bytes of the caller's, or none."""
    XDP = 1
    """``struct xdp_md``."""
    SKB = 2
    """``struct __sk_buff``."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its bytes, and whether its number is in network byte order."""

    offset: int
    size: int
    network: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A context: its size in bytes, its fields by name, and whether programs may write to it."""

    size: int
    fields: Mapping[str, Field]
    writable: bool


def _words(*names: str, at: int = 0) -> dict[str, Field]:
    return {name: Field(at + 4 * index, 4) for index, name in enumerate(names)}


XDP_MD = Layout(
    24, _words("data", "data_end", "data_meta", "ingress_ifindex", "rx_queue_index", "egress_ifindex"), writable=False
)
SK_BUFF = Layout(
    192,
    {
        **_words("len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto"),
        **_words("priority", "ingress_ifindex", "ifindex", "tc_index", "cb0", "cb1", "cb2", "cb3", "cb4", at=32),
        **_words("hash", "tc_classid", "data", "data_end", "napi_id", "family", "remote_ip4", "local_ip4", at=68),
        "remote_ip6": Field(100, 16),
        "local_ip6": Field(116, 16),
        **_words("remote_port", "local_port", "data_meta", at=132),
        "flow_keys": Field(144, 8),
        "tstamp": Field(152, 8),
        **_words("wire_len", "gso_segs", at=160),
        "sk": Field(168, 8),
        "gso_size": Field(176, 4),
        "hwtstamp": Field(184, 8),
    },
    writable=True,
)

_SKB_TYPES = SKB_TYPES | {ProgramType.FLOW_DISSECTOR}
LINK_LAYER_TYPES = frozenset(
    {ProgramType.SOCKET_FILTER, ProgramType.SCHED_CLS, ProgramType.SCHED_ACT, ProgramType.XDP, ProgramType.SK_SKB}
)
"""Types whose packets begin with a link-layer header here, as packets of a capture do."""
_LAYOUTS = {ContextKind.XDP: XDP_MD, ContextKind.SKB: SK_BUFF}
_BOUNDS = ("data", "data_end", "data_meta")
_ETHERNET = 14
_IP_PROTOCOLS = {4: 0x0800, 6: 0x86DD}


def context_kind(type_: ProgramType | None) -> ContextKind:
    """Return which context programs of a type see."""
    if type_ is ProgramType.XDP:
        return ContextKind.XDP
    return ContextKind.SKB if type_ in _SKB_TYPES else ContextKind.OPAQUE


def network_order(value: int) -> int:
    """Return what a 16-bit number in network order reads as on this machine; of a longer one the low bits."""
    return int.from_bytes((value & 0xFFFF).to_bytes(2, "big"), sys.byteorder)


def protocol_of(packet: bytes, *, link_layer: bool) -> int:
    """Return what ``__sk_buff.protocol`` shows for a packet: its EtherType, in network order; 0 where it tells none."""
    if link_layer:
        return int.from_bytes(packet[12:14], sys.byteorder) if len(packet) >= _ETHERNET else 0
    return network_order(_IP_PROTOCOLS.get(packet[0] >> 4, 0)) if packet else 0


class Context:
    """The context of one machine, by field names: ``context["mark"]``, ``context.update(mark=7)``.

    Parameters
    ----------
    kind : ContextKind
        Which.
    size : int
        Bytes, for an opaque one.

    Attributes
    ----------
    buffer : ndarray of uint8
        Its bytes, which never move.
    """

    def __init__(self, kind: ContextKind, size: int = 0) -> None:
        self.kind = kind
        self.layout = _LAYOUTS.get(kind)
        self.buffer: NDArray[np.uint8] = np.zeros(self.layout.size if self.layout else size, np.uint8)
        self._view = self.buffer.data

    @property
    def writable(self) -> bool:
        """Whether a program may write to it."""
        return self.layout is None or self.layout.writable

    def _field(self, name: object) -> Field:
        field = self.layout.fields.get(name) if self.layout and isinstance(name, str) else None
        if field is None:
            known = ", ".join(self.layout.fields) if self.layout else "bytes, as this type has no layout here"
            raise BpfMisuseError(f"no field {shown(name)}", where="context", expected=known)
        return field

    def __getitem__(self, name: str) -> int:
        field = self._field(name)
        return int.from_bytes(self._view[field.offset : field.offset + field.size], sys.byteorder)

    def update(self, **values: int) -> None:
        """Set fields; numbers are cut to their width.

        Raises
        ------
        BpfMisuseError
            If there is no such field, or a value is no integer; nothing is set then.
        """
        written = []
        for name, value in values.items():
            field = self._field(name)
            number = value if type(value) is int else whole(value, f"context, {name}", None, error=BpfMisuseError)
            written.append((field, number & (1 << 8 * field.size) - 1))
        for field, number in written:
            self._view[field.offset : field.offset + field.size] = number.to_bytes(field.size, sys.byteorder)

    def fill(self, given: object) -> None:
        """Take over what a caller gave: bytes, or numbers (or bytes) by field name; the rest becomes 0.

        Raises
        ------
        BpfMisuseError
            If there is no such field, or a value does not fit.
        """
        if given is None or isinstance(given, Mapping):
            members = [] if given is None else list(self._members(given))
            self._view[:] = bytes(len(self._view))
            for offset, data in members:
                self._view[offset : offset + len(data)] = data
            return
        data = octets_of(given)
        if len(data) > len(self._view):
            raise BpfMisuseError(
                f"{len(data)} bytes", where="context", expected=f"at most {len(self._view)}", hint="name fields instead"
            )
        self._view[:] = data.ljust(len(self._view), b"\0")

    def _members(self, given: Mapping[object, object]) -> Iterator[tuple[int, bytes]]:
        for name, value in pairs_of(given, "context"):
            field = self._field(name)
            if type(value) is int and 0 <= value < 1 << 8 * field.size:
                yield field.offset, value.to_bytes(field.size, sys.byteorder)
            elif isinstance(value, bytes) and len(value) == field.size:
                yield field.offset, value
            else:
                raise BpfMisuseError(
                    f"{type(value).__name__} does not fit",
                    where=f"context, {name}",
                    expected=f"0..2**{8 * field.size} - 1, or {field.size} bytes",
                )

    def __repr__(self) -> str:
        if self.layout is None:
            return f"<Context: {len(self.buffer)} bytes>"
        told = ", ".join(f"{name}={self[name]:#x}" for name in self.layout.fields if self[name])
        return f"<Context {self.kind.name}: {told or 'all 0'}>"

    def set_bounds(self, data: int, data_end: int, data_meta: int) -> None:
        """Show where the packet is, and in a socket buffer how long."""
        if self.layout is not None:
            self.update(data=data, data_end=data_end, data_meta=data_meta)
            if self.kind is ContextKind.SKB:
                self.update(len=data_end - data)


def octets_of(given: object) -> bytes:
    """Return a context that was given as bytes; BpfMisuseError if it was not."""
    try:
        return bytes(memoryview(given))  # type: ignore[arg-type]
    except (TypeError, ValueError, NotImplementedError) as error:
        raise BpfMisuseError(
            f"{type(given).__name__} is no context", where="context", expected="bytes, or a mapping of field names"
        ) from error
