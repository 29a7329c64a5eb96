# SPDX-License-Identifier: Apache-2.0
"""Whether a descriptor still is that of the map it was made for.

bpf(2) is not told how large the memory is that it reads a key from and writes a value to: it goes by the map. Where a
descriptor was closed by its number and the number given to another map, that would be the other's sizes, and the kernel
would write beyond what was made for this one. So the kernel is asked first which map it is
(``BPF_OBJ_GET_INFO_BY_FD``, Linux 4.13). Between that and the call itself a thread that closes the descriptors of
others can still come; nothing can be done about that from here.

Source: Linux 6.18, ``kernel/bpf/syscall.c`` (``map_lookup_elem``, ``bpf_map_get_info_by_fd``).
"""

from __future__ import annotations

import errno

from prestocloud_sec.bpf.errors import MapError
from prestocloud_sec.bpf.linux.attr import MAP_INFO, Attr, Command, content
from prestocloud_sec.bpf.linux.syscall import bpf

__all__ = ["Identity"]

_TOLD = MAP_INFO.fields["max_entries"].end
"""Bytes from the start of ``struct bpf_map_info`` that never change: kind, identifier, sizes."""


class Identity:
    """Which map a descriptor is of, as the kernel says when this is made.

    A kernel that does not tell (before 4.13) is believed without.

    Parameters
    ----------
    descriptor : int
        Of the map.
    label : str
        What an error calls it.
    """

    __slots__ = ("_attr", "_info", "_known", "_label")

    def __init__(self, descriptor: int, label: str) -> None:
        self._label = label
        self._info = Attr(MAP_INFO)
        self._attr = Attr(
            Command.OBJ_GET_INFO_BY_FD, bpf_fd=descriptor, info_len=len(self._info), info=self._info.memory
        )
        self._known: bytes | None = self._told() if self._ask() >= 0 else None

    def _ask(self) -> int:
        return bpf(Command.OBJ_GET_INFO_BY_FD, self._attr)

    def _told(self) -> bytes:
        return content(self._info.memory, _TOLD)

    def check(self) -> None:
        """Make sure that the descriptor still is that of the map.

        Raises
        ------
        MapError
            EBADF, where it is another map's, or closed; EINVAL, where it is no map's.
        """
        if self._known is None:
            return
        result = self._ask()
        if result < 0 or self._told() != self._known:
            raise MapError(
                -result or errno.EBADF,
                "its descriptor is no longer that of this map",
                where=self._label,
                hint="was it closed by its number?",
            )
