# SPDX-License-Identifier: Apache-2.0
"""What a register or a stack slot holds, as far as the verifier knows.

A `Register` is never changed once it is made: states share them, and what changes one puts another in its place. So is
the `Scalar` in it.

A pointer has a fixed part of its offset (`Register.offset`) and a varying one (`Register.number`), as in Linux
(``struct bpf_reg_state``): what is compared with the limits of its memory is both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.verifier.scalar import Scalar

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.maps import MapSpec

__all__ = ["NOTHING", "NUMBER", "ZERO", "Kind", "Register", "known", "low_half", "number"]


class Kind(Enum):
    """What a register holds (Linux ``include/linux/bpf.h``, ``enum bpf_reg_type``)."""

    NOTHING = auto()
    """It was not written, or cannot be read any more."""
    NUMBER = auto()
    CONTEXT = auto()
    MAP = auto()
    """A map itself."""
    MAP_KEY = auto()
    MAP_VALUE = auto()
    STACK = auto()
    PACKET = auto()
    PACKET_META = auto()
    PACKET_END = auto()
    SOCKET = auto()
    SOCKET_COMMON = auto()
    TCP_SOCKET = auto()
    XDP_SOCKET = auto()
    FLOW_KEYS = auto()
    MEMORY = auto()
    """Memory of a size that is known."""
    BUFFER = auto()
    """A buffer whose size only a run knows, checked when it attaches."""
    FUNCTION = auto()
    BTF = auto()
    """A structure of the kernel, known by its type information."""

    @property
    def is_packet(self) -> bool:
        """Whether it points into a packet or at its end."""
        return self in _PACKETS

    @property
    def is_socket(self) -> bool:
        """Whether it points at a socket."""
        return self in _SOCKETS


_PACKETS = frozenset({Kind.PACKET, Kind.PACKET_META, Kind.PACKET_END})
_SOCKETS = frozenset({Kind.SOCKET, Kind.SOCKET_COMMON, Kind.TCP_SOCKET, Kind.XDP_SOCKET})

NAMES = {
    Kind.NOTHING: "?",
    Kind.NUMBER: "scalar",
    Kind.CONTEXT: "ctx",
    Kind.MAP: "map_ptr",
    Kind.MAP_KEY: "map_key",
    Kind.MAP_VALUE: "map_value",
    Kind.STACK: "fp",
    Kind.PACKET: "pkt",
    Kind.PACKET_META: "pkt_meta",
    Kind.PACKET_END: "pkt_end",
    Kind.SOCKET: "sock",
    Kind.SOCKET_COMMON: "sock_common",
    Kind.TCP_SOCKET: "tcp_sock",
    Kind.XDP_SOCKET: "xdp_sock",
    Kind.FLOW_KEYS: "flow_keys",
    Kind.MEMORY: "mem",
    Kind.BUFFER: "buf",
    Kind.FUNCTION: "func",
    Kind.BTF: "ptr_",
}
"""What the kernel's log calls them."""


@dataclass(frozen=True, slots=True, eq=False)
class Register:
    """What a register holds.

    Attributes
    ----------
    kind : Kind
    number : Scalar
        Of a number, what it can be; of a pointer, the varying part of its offset.
    offset : int
        The fixed part of a pointer's offset.
    nullable : bool
        Whether a pointer may be null instead.
    id : int
        Shared by copies: what a comparison says of one is true of all. 0 is none.
    delta : int
        Of a number with an `id`, by how much it is more than that which the `id` was given to.
    narrow : bool
        Whether it is so in 32 bits, the upper ones of both being zero.
    reference : int
        Of what has to be released, which acquisition it comes from; 0 is none.
    range : int
        Of a packet pointer, bytes from its base (without the fixed part) that are known to lie in the packet.
    map : MapSpec or None
        Of `Kind.MAP`, `MAP_KEY` and `MAP_VALUE`.
    map_id : int
        Tells values of inner maps apart.
    frame : int
        Of `Kind.STACK`, whose frame.
    size : int
        Of `Kind.MEMORY`, bytes.
    read_only : bool
        Whether it must not be written through.
    ring : bool
        Whether the memory is a record of a ring buffer.
    function : int
        Of `Kind.FUNCTION`, the instruction it begins with.
    """

    kind: Kind
    number: Scalar
    offset: int = 0
    nullable: bool = False
    id: int = 0
    delta: int = 0
    narrow: bool = False
    reference: int = 0
    range: int = 0
    map: MapSpec | None = None
    map_id: int = 0
    frame: int = 0
    size: int = 0
    read_only: bool = False
    ring: bool = False
    function: int = 0

    def but(self, **changes: Any) -> Register:
        """Return the same with other attributes."""
        made = Register.__new__(Register)
        put = object.__setattr__
        for name in _FIELDS:
            put(made, name, changes[name] if name in changes else getattr(self, name))
        return made

    @property
    def is_pointer(self) -> bool:
        """Whether it holds an address."""
        return self.kind is not Kind.NUMBER and self.kind is not Kind.NOTHING

    @property
    def is_null(self) -> bool:
        """Whether it is the number 0."""
        return self.kind is Kind.NUMBER and self.number.is_const and not self.number.tnum.value

    def same(self, other: Register) -> bool:
        """Whether both say the same, identifiers apart."""
        return self is other or (
            self.kind is other.kind
            and self.offset == other.offset
            and self.number == other.number
            and self.delta == other.delta
            and self.range == other.range
            and self.map == other.map
            and self.frame == other.frame
            and self.size == other.size
            and self.function == other.function
            and (self.nullable, self.narrow, self.read_only, self.ring)
            == (other.nullable, other.narrow, other.read_only, other.ring)
        )

    def __str__(self) -> str:
        """Write it as the kernel's log does."""
        if self.kind is Kind.NOTHING:
            return "?"
        if self.kind is Kind.NUMBER:
            if self.number.is_const:
                return str(self.number.smin)
            return f"scalar({self.number})" if str(self.number) else "scalar()"
        name = NAMES[self.kind] + ("_or_null" if self.nullable else "")
        if self.kind is Kind.STACK:
            name += str(self.frame) if self.frame else ""
            fixed = self.offset + (self.number.smin if self.number.is_const else 0)
            return (
                f"{name}{fixed:+d}"
                if self.number.is_const and fixed
                else name + ("" if self.number.is_const else f"({self.number})")
            )
        said = []
        if self.id:
            said.append(f"id={self.id}")
        if self.reference:
            said.append(f"ref_obj_id={self.reference}")
        if self.offset:
            said.append(f"off={self.offset}")
        if self.kind in {Kind.PACKET, Kind.PACKET_META}:
            said.append(f"r={self.range}")
        if self.map is not None:
            said.append(f"ks={self.map.key_size},vs={self.map.value_size}")
        if self.kind is Kind.MEMORY:
            said.append(f"sz={self.size}")
        if not (self.number.is_const and not self.number.tnum.value):
            said.append(str(self.number))
        return f"{name}({','.join(said)})"


_FIELDS = tuple(Register.__dataclass_fields__)
ZERO_NUMBER = Scalar.const(0)
NOTHING = Register(Kind.NOTHING, Scalar.unknown())
NUMBER = Register(Kind.NUMBER, Scalar.unknown())
"""Any number."""
ZERO = Register(Kind.NUMBER, ZERO_NUMBER)


def number(scalar: Scalar) -> Register:
    """Return a register that holds a number."""
    return Register(Kind.NUMBER, scalar)


def known(value: int) -> Register:
    """Return a register that holds a number that is known."""
    return Register(Kind.NUMBER, Scalar.const(value))


def low_half(held: Register) -> Register:
    """Return the low half of a number, zeros above."""
    scalar = held.number.copy()
    scalar.keep_low()
    return held.but(number=scalar)
