# SPDX-License-Identifier: Apache-2.0
"""Walking through a map of the kernel's many elements at a time (``BPF_MAP_LOOKUP_BATCH``, Linux 5.6).

The kernel keeps no state between calls: it writes a position of its own (for hashes the number of a bucket, otherwise a
key) and is given it back. A hash hands out whole buckets, and says ENOSPC where one has more elements than were asked
for.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import ENOTSUPP, MapError
from prestocloud_sec.bpf.linux.attr import Attr, Buffer, Command, make_buffer
from prestocloud_sec.bpf.linux.syscall import bpf

if TYPE_CHECKING:
    from prestocloud_sec.bpf.linux.maps import KernelMap

__all__ = ["batches"]

_POSITION = 8
"""Least bytes of the memory for a position."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one call brought: an errno or 0, elements, and where to go on."""

    error: int
    elements: list[tuple[bytes, bytes]]
    position: Buffer


def batches(source: KernelMap, most: int, most_bytes: int) -> Iterator[list[tuple[bytes, bytes]]] | None:
    """Return an iterator over lists of elements, or None where the kernel cannot do this for this map.

    Parameters
    ----------
    source : KernelMap
        The map.
    most, most_bytes : int
        Elements, and bytes, of a list, unless a hash has a bucket with more.
    """
    if not source.key_size or not source.value_bytes:
        return None
    count = max(1, min(most, source.max_entries, most_bytes // (source.key_size + source.value_bytes)))
    first = _fetch(source, None, count)
    if first.error in {ENOTSUPP, errno.EINVAL}:  # EINVAL: a kernel that does not know the command
        return None
    return _walk(source, first, count)


def _walk(source: KernelMap, first: _Batch, count: int) -> Iterator[list[tuple[bytes, bytes]]]:
    batch, position = first, None
    while True:
        if batch.error == errno.ENOSPC and count <= 2 * source.max_entries:
            count *= 2
        elif batch.error not in {0, errno.ENOENT}:
            raise MapError(batch.error, "a batch of elements is refused", where=repr(source))
        else:
            yield batch.elements
            if batch.error:
                return
            position = batch.position
        batch = _fetch(source, position, count)


def _fetch(source: KernelMap, position: Buffer | None, count: int) -> _Batch:
    key_size, value_size = source.key_size, source.value_bytes
    keys, values = make_buffer(count * key_size), make_buffer(count * value_size)
    reached = make_buffer(max(key_size, _POSITION))
    attr = Attr(
        Command.MAP_LOOKUP_BATCH,
        map_fd=source.own_descriptor(),
        in_batch=position,
        out_batch=reached,
        keys=keys,
        values=values,
        count=count,
    )
    error = -min(bpf(Command.MAP_LOOKUP_BATCH, attr), 0)
    found = min(attr["count"], count) if error in {0, errno.ENOENT} else 0
    all_keys, all_values = keys.raw, values.raw
    elements = [
        (
            all_keys[index * key_size : (index + 1) * key_size],
            all_values[index * value_size : (index + 1) * value_size],
        )
        for index in range(found)
    ]
    return _Batch(error, elements, reached)
