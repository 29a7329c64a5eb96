# SPDX-License-Identifier: Apache-2.0
"""The packet of a machine: its buffer with room on both sides, and how helpers move its bounds.

Bounds are addresses as the program sees them and stand in the state (`State.DATA` and its neighbours), because native
engines read them there. The rules for moving them are those of ``net/core/filter.c`` in Linux 6.18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.bpf.helpers.numbers import fail
from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.layout import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.bpf.vm.context import Context
    from prestocloud_sec.bpf.vm.memory import Memory

__all__ = ["FRAME_HEADER", "FRAME_ROOM", "LARGEST", "Packet"]

LARGEST = 1 << 24
"""Bytes of the largest packet; the kernel's are at most 2**16, but other programs use buffers."""
FRAME_ROOM = 3520
"""Bytes from the start of a packet to where growing it ends: a page less headroom and what the kernel keeps behind."""
FRAME_HEADER = 40
"""Bytes at the start of the headroom that the kernel keeps (``struct xdp_frame``)."""
_NO_HEADROOM = bytes(layout.HEADROOM)
_ETHERNET = 14
_MOST_META = 252
"""Bytes of metadata at most (``xdp_metalen_invalid``)."""


class Packet:
    """The packet, from ``data_meta`` to ``data_end``."""

    def __init__(self, memory: Memory, state: NDArray[np.int64], context: Context) -> None:
        self._memory = memory
        self._state = state
        self._context = context
        self._buffer: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._view = memoryview(b"")

    def lay(self, packet: bytes | memoryview) -> None:
        """Take over a new packet."""
        size = len(packet)
        room = layout.HEADROOM + max(size, FRAME_ROOM)
        if len(self._buffer) < room:
            self._buffer = np.zeros(room, np.uint8)
            self._view = self._buffer.data
            self._memory.show(layout.PACKET, self._buffer, "packet", place=layout.PACKET_BUFFER)
        self._view[layout.HEADROOM : layout.HEADROOM + size] = packet
        self._state[State.PACKET_AT] = self._buffer.ctypes.data
        self._state[State.PACKET_ROOM] = layout.HEADROOM + max(size, FRAME_ROOM)
        self._bound(layout.PACKET_DATA, layout.PACKET_DATA + size, layout.PACKET_DATA)

    def _bound(self, data: int, data_end: int, data_meta: int) -> None:
        state = self._state
        state[State.DATA], state[State.DATA_END], state[State.DATA_META] = data, data_end, data_meta
        self._memory.bound(layout.PACKET, data_meta - layout.PACKET_BUFFER, data_end - data_meta)
        self._context.set_bounds(data, data_end, data_meta)

    def _places(self) -> tuple[int, int, int]:
        state = self._state
        return int(state[State.DATA]), int(state[State.DATA_END]), int(state[State.DATA_META])

    def _begin_to_change(self) -> None:
        """Let the headroom be zeros the first time that a run touches the packet, whatever a run before left there.

        `State.CHANGED` is 0 where a run begins, also in batches, which lay their packets out without this class; until
        it is set, the packet begins where the headroom ends.
        """
        if not self._state[State.CHANGED]:
            self._view[: layout.HEADROOM] = _NO_HEADROOM
            self._state[State.CHANGED] = 1

    def _move(self, data: int, data_end: int, data_meta: int) -> int:
        self._bound(data, data_end, data_meta)
        return 0

    def __len__(self) -> int:
        return int(self._state[State.DATA_END]) - int(self._state[State.DATA])

    def __repr__(self) -> str:
        data, data_end, meta = self._places()
        before = f", {data - meta} of metadata before it" if meta != data else ""
        return f"<Packet of {data_end - data} bytes at {data:#x}{before}>"

    def whole(self) -> bytes:
        """Return the packet as it is now."""
        data, data_end, _ = self._places()
        return bytes(self._view[data - layout.PACKET_BUFFER : data_end - layout.PACKET_BUFFER])

    def read(self, offset: int, size: int) -> bytes | None:
        """Return `size` bytes at `offset`, or None if the packet does not have them."""
        if offset < 0 or size < 0 or offset + size > len(self):
            return None
        start = int(self._state[State.DATA]) - layout.PACKET_BUFFER + offset
        return bytes(self._view[start : start + size])

    def store(self, offset: int, data: bytes) -> None:
        """Overwrite bytes that `read` would give."""
        self._begin_to_change()
        start = int(self._state[State.DATA]) - layout.PACKET_BUFFER + offset
        self._view[start : start + len(data)] = data

    # --- Moving the bounds. Each returns 0 or a negative errno, with nothing changed.

    def adjust_head(self, delta: int) -> int:
        """Move the start, and the metadata before it, by `delta` bytes."""
        data, data_end, meta = self._places()
        first = layout.PACKET_BUFFER + FRAME_HEADER + (data - meta)
        if not first <= data + delta <= data_end - _ETHERNET:
            return fail("EINVAL")
        self._begin_to_change()
        if meta != data:
            start, end = meta - layout.PACKET_BUFFER, data - layout.PACKET_BUFFER
            self._view[start + delta : end + delta] = bytes(self._view[start:end])
        return self._move(data + delta, data_end, meta + delta)

    def adjust_tail(self, delta: int) -> int:
        """Move the end by `delta` bytes; what is added is zeros."""
        data, data_end, meta = self._places()
        last = layout.PACKET_BUFFER + int(self._state[State.PACKET_ROOM])
        if not data + _ETHERNET <= data_end + delta <= last:
            return fail("EINVAL")
        self._begin_to_change()
        self._clear(data_end, delta)
        return self._move(data, data_end + delta, meta)

    def adjust_meta(self, delta: int) -> int:
        """Move the start of the metadata by `delta` bytes."""
        data, data_end, meta = self._places()
        moved = meta + delta
        if not layout.PACKET_BUFFER + FRAME_HEADER <= moved <= data:
            return fail("EINVAL")
        if (data - moved) % 4 or data - moved > _MOST_META:
            return fail("EACCES")
        self._begin_to_change()
        return self._move(data, data_end, moved)

    def resize(self, size: int) -> int:
        """Cut the packet, or add zeros to it."""
        data, data_end, meta = self._places()
        if not self._reach(data - layout.PACKET_BUFFER + size):
            return fail("ENOMEM")
        self._begin_to_change()
        self._clear(data_end, data + size - data_end)
        return self._move(data, data + size, meta)

    def insert(self, offset: int, data: bytes) -> int:
        """Put bytes in at `offset`."""
        whole = self.whole()
        if offset > len(whole) or self.resize(len(whole) + len(data)):
            return fail("ENOMEM")
        self.store(offset, data + whole[offset:])
        return 0

    def cut(self, offset: int, size: int) -> int:
        """Take `size` bytes at `offset` out."""
        whole = self.whole()
        if offset + size > len(whole):
            return fail("ENOMEM")
        self.store(offset, whole[offset + size :])
        return self.resize(len(whole) - size)

    def _clear(self, address: int, size: int) -> None:
        if size > 0:
            start = address - layout.PACKET_BUFFER
            self._view[start : start + size] = bytes(size)

    def _reach(self, size: int) -> bool:
        """Make the buffer at least `size` bytes long; False if that is more than any packet has."""
        if size > layout.HEADROOM + LARGEST:
            return False
        if size > len(self._buffer):
            grown = np.zeros(size, np.uint8)
            grown[: len(self._buffer)] = self._buffer
            self._buffer, self._view = grown, grown.data
            self._memory.show(layout.PACKET, grown, "packet", place=layout.PACKET_BUFFER)
            self._state[State.PACKET_AT] = grown.ctypes.data
        self._state[State.PACKET_ROOM] = max(int(self._state[State.PACKET_ROOM]), size)
        return True
