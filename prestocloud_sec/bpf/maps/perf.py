# SPDX-License-Identifier: Apache-2.0
"""Perf events as programs write to them: arrays of buffers, and the buffers.

``perf_event_output`` appends a record to the buffer that the array has at a number, which must belong to the
processor that the program runs on (``kernel/trace/bpf_trace.c``, ``__bpf_perf_event_output``). A record is what
perf_event_open(2) describes: a header of 8 bytes (type, misc, size, in this machine's byte order), and for
``PERF_SAMPLE_RAW`` a size of 4 bytes and the data, padded so that all of it is a multiple of 8 bytes; the padding is
counted in that size.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Iterator
from threading import Lock
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.codec import plain_bytes
from prestocloud_sec.bpf.maps.holders import Holder
from prestocloud_sec.bpf.maps.kinds import PAGE, MapType
from prestocloud_sec.bpf.maps.storage import rounded
from prestocloud_sec.wire import whole

__all__ = ["CURRENT_CPU", "PerfBuffer", "PerfEventArray"]

CURRENT_CPU = 0xFFFF_FFFF
"""The number that means the processor that the program runs on (``BPF_F_CURRENT_CPU``)."""
RECORD_LOST, RECORD_SAMPLE = 2, 9
_HEADER = struct.Struct("=IHH")
_SIZE = struct.Struct("=I")
_MOST = 0xFFFF
_U32_MAX = 0xFFFF_FFFF


class PerfBuffer:
    """Records for one processor, to be read once.

    Parameters
    ----------
    cpu : int
        Whose programs may write to it.
    pages : int
        Pages of 4096 bytes that records take before further ones are lost; a power of two.

    Attributes
    ----------
    lost : int
        Records that found no room.
    """

    __slots__ = ("_lock", "_records", "_used", "cpu", "lost", "room")

    def __init__(self, cpu: int = 0, pages: int = 8) -> None:
        self.cpu = whole(cpu, "cpu", 0, 0xFFFF, error=BpfMisuseError)
        pages = whole(pages, "pages", 1, 1 << 20, error=BpfMisuseError)
        if pages & (pages - 1):
            raise BpfMisuseError(str(pages), where="pages", expected="a power of two")
        self.room = pages * PAGE
        self.lost = 0
        self._used = 0
        self._records: deque[bytes] = deque()
        self._lock = Lock()

    def write(self, data: bytes) -> int:
        """Append a record; return 0, or -ENOSPC if it is lost, -E2BIG if no record can be as long.

        Raises
        ------
        BpfMisuseError
            If `data` is not bytes-like.
        """
        data = plain_bytes(data, "data")
        payload = rounded(len(data) + _SIZE.size)
        size = _HEADER.size + payload
        if size > _MOST:
            return -errno.E2BIG
        record = (
            _HEADER.pack(RECORD_SAMPLE, 0, size)
            + _SIZE.pack(payload - _SIZE.size)
            + data.ljust(payload - _SIZE.size, b"\0")
        )
        with self._lock:
            if self._used + size > self.room:
                self.lost += 1
                return -errno.ENOSPC
            self._records.append(record)
            self._used += size
        return 0

    def records(self) -> Iterator[bytes]:
        """Yield the records there are, header and all, and make room as they are taken."""
        while True:
            with self._lock:
                if not self._records:
                    return
                record = self._records.popleft()
                self._used -= len(record)
            yield record

    def samples(self) -> Iterator[bytes]:
        """Yield the data of the records there are, padding included, as readers of the kernel's get it."""
        for record in self.records():
            yield record[_HEADER.size + _SIZE.size :]

    def __len__(self) -> int:
        return len(self._records)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<PerfBuffer of processor {self.cpu}: {len(self)} records, {self._used} of {self.room} bytes>"


class PerfEventArray(Holder):
    """Perf buffers by number, usually that of their processor.

    Examples
    --------
    >>> events = PerfEventArray(2)
    >>> events[0] = PerfBuffer(cpu=0)
    >>> events.output(0, CURRENT_CPU, b"abcd")
    0
    >>> list(events.buffer(0).samples())
    [b'abcd']
    """

    type = MapType.PERF_EVENT_ARRAY
    is_perf = True
    _readable = False
    _holds = "perf buffers"

    def _acceptable(self, value: Any) -> int:
        return 0 if isinstance(value, PerfBuffer) else -errno.EBADF

    def buffer(self, index: int) -> PerfBuffer | None:
        """Return the buffer at a number, or None; the kernel gives none back."""
        found: PerfBuffer | None = self._objects.get(whole(index, "index", None, error=BpfMisuseError))
        return found

    def output(self, cpu: int, index: int, data: bytes) -> int:
        """Write a record as a program on processor `cpu` does.

        Returns
        -------
        int
            0; -E2BIG beyond the array; -ENOENT for an empty place; -EOPNOTSUPP for a buffer of another processor;
            -ENOSPC if there is no room.
        """
        index = whole(index, "index", 0, _U32_MAX, error=BpfMisuseError)
        index = whole(cpu, "cpu", 0, _U32_MAX, error=BpfMisuseError) if index == CURRENT_CPU else index
        if index >= self.max_entries:
            return -errno.E2BIG
        found = self._objects.get(index)
        if found is None:
            return -errno.ENOENT
        if found.cpu != cpu:
            return -errno.EOPNOTSUPP
        return int(found.write(data))
