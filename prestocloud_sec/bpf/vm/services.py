# SPDX-License-Identifier: Apache-2.0
"""What helpers that are written in Python find in a machine: clock, chance, packet, records, lines, errors."""

from __future__ import annotations

import time
from typing import Any

from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.context import Context, ContextKind
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.layout import State
from prestocloud_sec.bpf.vm.maptable import MapTable
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.packet import Packet
from prestocloud_sec.bpf.words import signed

__all__ = ["DEFAULT_SEED", "Services"]

DEFAULT_SEED = 0x9E37_79B9_7F4A_7C15
"""What stands for the seed 0, which the generator cannot begin with."""
_U64 = (1 << 64) - 1
_MULTIPLIER = 0x2545_F491_4F6C_DD1D
_MOST_LINES = 4096
_MOST_ALLOCATED = layout.MAX_FRAMES * layout.FRAME_SIZE // 8
"""Things that kernel functions may keep for a program at a time: as many as its stack has room for their handles."""


class Services(MapTable):
    """Maps and what else helpers use.

    Parameters
    ----------
    kind : ContextKind
        Which context the program sees.
    cpu : int
        The processor that it believes to run on.
    now : int or None
        What the clock shows; None for the system's.
    """

    def __init__(self, kind: ContextKind, cpu: int, now: int | None) -> None:
        super().__init__(cpu)
        self.context = Context(kind)
        self.packet = Packet(self.memory, self.state, self.context)
        self.fixed_now = now
        self.lines: list[str] = []
        self._lent: dict[int, tuple[Any, Any]] = {}
        self._allocated: dict[int, Any] = {}
        self._allocations = 0

    # --- Errors.

    def bad_argument(self, message: str) -> Trap:
        """Return the Trap for an argument that no verifier would let through."""
        return Trap(FaultKind.ARGUMENT, message=message)

    # --- Records of ring buffers.

    def lend(self, ring: Any, record: Any) -> int:
        """Show a reserved record of a ring buffer to the program; return its address, 0 if too many are out."""
        for number in range(layout.DYNAMIC, layout.DYNAMIC + layout.DYNAMIC_REGIONS):
            address = number << layout.REGION_SHIFT
            if address not in self._lent:
                self._lent[address] = (ring, record)
                self.memory.show(number, record.view, "ring buffer record")
                return address
        ring.discard(record, 0)
        return 0

    def take_back(self, address: int) -> tuple[Any, Any]:
        """Hide a record that was lent; return its ring and the record. Trap if there is none at the address."""
        lent = self._lent.pop(address, None)
        if lent is None:
            raise self.bad_argument(f"{address:#x} is no reserved record")
        self.memory.hide(address >> layout.REGION_SHIFT)
        return lent

    def reclaim(self) -> None:
        """Discard every record that the program kept, and free what it let kernel functions allocate.

        A verifier would not have let it keep either. A ring's reader stops at a record that is reserved; one that
        nobody can hand over would stop it for ever.
        """
        for address in list(self._lent):
            ring, record = self.take_back(address)
            ring.discard(record, 0)
        self._allocated.clear()
        self._allocations = 0

    # --- What kernel functions allocate: for one run, and out of the program's reach.

    def allocate(self, thing: Any) -> int | None:
        """Keep something until the run is over; return its handle, 1 or more, or None if too much is kept."""
        if len(self._allocated) >= _MOST_ALLOCATED:
            return None
        self._allocations += 1
        self._allocated[self._allocations] = thing
        return self._allocations

    def allocated(self, handle: int) -> Any:
        """Return what was kept under a handle; None if nothing is."""
        return self._allocated.get(handle)

    def free(self, handle: int) -> None:
        """Keep something no longer."""
        del self._allocated[handle]

    def redirect_to(self, target: int, flags: int, found: Any) -> None:
        """Note where the packet is to go."""
        state = self.state
        state[State.REDIRECT] = 1
        state[State.REDIRECT_TARGET] = target
        state[State.REDIRECT_FLAGS] = signed(flags)
        state[State.REDIRECT_MAP] = 0 if found is None else self.number_of(found) + 1

    def log(self, line: str) -> None:
        """Keep a line that the program printed; the first 4096 of a run."""
        if len(self.lines) < _MOST_LINES:
            self.lines.append(line)

    def now(self) -> int:
        """Return nanoseconds of the clock."""
        return time.monotonic_ns() if self.fixed_now is None else self.fixed_now

    def random(self) -> int:
        """Return 32 bits of xorshift64* (Vigna, 2016), and go on."""
        word = int(self.state[State.RANDOM]) & _U64
        word ^= word >> 12
        word ^= word << 25 & _U64
        word ^= word >> 27
        self.state[State.RANDOM] = signed(word)
        return (word * _MULTIPLIER & _U64) >> 32

    @property
    def network_offset(self) -> int:
        """Where the network header begins in the packet."""
        return int(self.state[State.NETWORK_OFFSET])

    @property
    def mac_offset(self) -> int | None:
        """Where the link-layer header begins; None where there is none."""
        offset = int(self.state[State.MAC_OFFSET])
        return offset if offset >= 0 else None

    # The packet, as helpers know it.

    @property
    def packet_size(self) -> int:
        """Bytes of the packet."""
        return len(self.packet)

    def packet_bytes(self, offset: int, size: int) -> bytes | None:
        """Return bytes of the packet, or None if it does not have them."""
        return self.packet.read(offset, size)

    def packet_store(self, offset: int, data: bytes) -> None:
        """Overwrite bytes of the packet."""
        self.packet.store(offset, data)
