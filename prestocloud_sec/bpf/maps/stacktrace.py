# SPDX-License-Identifier: Apache-2.0
"""Stack traces by number (``kernel/bpf/stackmap.c``).

A program gets a number for its stack from ``get_stackid``: the hash of the addresses, modulo the number of buckets.
Two stacks with the same number collide: the first stays, unless the caller says that it may go. A machine in user space
has no stack of a kernel to record, so whoever runs one gives the addresses to `StackTraceMap.record`.
"""

from __future__ import annotations

import errno
import itertools
import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.array import INDEX, index_codec
from prestocloud_sec.bpf.maps.base import no_room
from prestocloud_sec.bpf.maps.codec import BytesCodec, codec_of
from prestocloud_sec.bpf.maps.jhash import jhash
from prestocloud_sec.bpf.maps.keyed import KeyedMap
from prestocloud_sec.bpf.maps.kinds import MOST_STACK_FRAMES, MapFlag, MapType
from prestocloud_sec.bpf.maps.layout import Descriptor
from prestocloud_sec.bpf.maps.storage import WINDOW, power_of_two
from prestocloud_sec.wire import items_of, whole

__all__ = ["FAST_CMP", "REUSE", "StackTraceMap"]

SKIP_MASK = 0xFF
"""How many of the innermost frames to leave out."""
USER, FAST_CMP, REUSE = 256, 512, 1024
"""Flags of ``get_stackid``: the user's stack; the hash alone says that stacks are equal; one that collides goes."""
_DEPTHS = range(8, 8 * (MOST_STACK_FRAMES + 1), 8)
"""Bytes of a trace of addresses."""
_U32_MAX, _U64_MAX = (1 << 32) - 1, (1 << 64) - 1
_BUILD_ID = struct.Struct("=i20sQ")
_NO_BUILD_ID = 2
"""Status of an entry that has an address in place of a build id (``BPF_STACK_BUILD_ID_IP``)."""


class StackTraceMap(KeyedMap):
    """Stack traces by number.

    Parameters
    ----------
    value : int, dtype, str or struct.Struct
        What a trace is: as a size, 8 bytes for each of up to 127 addresses, or with the flag ``STACK_BUILD_ID`` 32
        bytes. Traces of addresses are arrays of uint64, zeros behind the last.
    max_entries, flags, name
        As for every `Map`.

    Examples
    --------
    >>> stacks = StackTraceMap(8 * 4, 100)
    >>> number = stacks.record([0x10, 0x20])
    >>> stacks[number].tolist()
    [16, 32, 0, 0]
    """

    type = MapType.STACK_TRACE
    takes_out = True

    def __init__(self, value: Any, max_entries: int, flags: int = 0, *, key: Any = INDEX, name: str = "") -> None:
        flags = whole(flags, "flags", 0, _U32_MAX, error=BpfMisuseError)
        codec = codec_of(value, "value")
        if isinstance(codec, BytesCodec) and codec.size in _DEPTHS and not flags & MapFlag.STACK_BUILD_ID:
            codec = codec_of(np.dtype(("=u8", (codec.size // 8,))), "value")
        super().__init__(index_codec(key), codec, max_entries, flags, name=name)
        if self.max_entries * self.value_size > WINDOW:
            raise no_room(self)
        self.buckets = power_of_two(self.max_entries)
        self._builds = bool(self.flags & MapFlag.STACK_BUILD_ID)
        self._traces: dict[int, tuple[int, bytes]] = {}
        """Hash and entries by number."""

    def record(self, addresses: Sequence[int], flags: int = 0) -> int:
        """Keep a stack and return its number, as ``get_stackid`` does.

        Parameters
        ----------
        addresses : sequence of int
            From the innermost frame on, 64 bits each.
        flags : int
            How many to skip, and the flags `FAST_CMP` and `REUSE`.

        Returns
        -------
        int
            The number, or a negative errno: -EINVAL for unknown flags, -EFAULT if nothing is left, -EEXIST if another
            stack has the number, -ENOMEM if there is no room.

        Raises
        ------
        BpfMisuseError
            If there is something that is no integer.
        """
        flags = whole(flags, "flags", 0, error=BpfMisuseError)
        if not isinstance(addresses, Sequence | np.ndarray):
            raise BpfMisuseError(type(addresses).__name__, where="addresses", expected="a sequence of integers")
        if flags & ~(SKIP_MASK | USER | FAST_CMP | REUSE):
            return -errno.EINVAL
        skip = flags & SKIP_MASK
        depth = self.value_size // (_BUILD_ID.size if self._builds else 8)
        each = itertools.islice(items_of(addresses, "addresses", "integers", error=BpfMisuseError), skip, skip + depth)
        words = [whole(address, "addresses", None, error=BpfMisuseError) & _U64_MAX for address in each]
        if not words:
            return -errno.EFAULT
        kept = np.array(words, "=u8")
        digest = jhash(kept.tobytes())
        number = digest & (self.buckets - 1)
        with self._lock:
            return self._keep(number, digest, self._entries(kept), flags)

    def _entries(self, addresses: np.ndarray[Any, Any]) -> bytes:
        if not self._builds:
            return addresses.tobytes()
        return b"".join(_BUILD_ID.pack(_NO_BUILD_ID, bytes(20), int(address)) for address in addresses)

    def _keep(self, number: int, digest: int, entries: bytes, flags: int) -> int:
        old = self._traces.get(number)
        same = old is not None and old[0] == digest
        if same and (flags & FAST_CMP or old == (digest, entries)):
            return number
        if old is not None and not flags & REUSE:
            return -errno.EEXIST
        if len(self._traces) >= self.max_entries:
            return -errno.ENOMEM
        self._traces[number] = (digest, entries)
        self._words[Descriptor.COUNT] = len(self._traces)
        return number

    def _number(self, key: bytes) -> int:
        return int.from_bytes(key, sys.byteorder)

    def _find(self, key: bytes) -> Any:
        found = self._traces.get(self._number(key))
        return -errno.ENOENT if found is None else found[1].ljust(self.value_size, b"\0")

    def _remove(self, key: bytes) -> int:
        number = self._number(key)
        if number >= self.buckets:
            return -errno.E2BIG
        if self._traces.pop(number, None) is None:
            return -errno.ENOENT
        self._words[Descriptor.COUNT] = len(self._traces)
        return 0

    def _following(self, key: bytes | None) -> bytes | int:
        number = -1 if key is None else self._number(key)
        later = sorted(self._traces)
        if number in self._traces:
            later = [other for other in later if other > number]
        return later[0].to_bytes(4, sys.byteorder) if later else -errno.ENOENT

    def _pairs(self) -> list[tuple[bytes, Any]]:
        with self._lock:
            keys = [number.to_bytes(4, sys.byteorder) for number in sorted(self._traces)]
            return [(key, self._find(key)) for key in keys]
