# SPDX-License-Identifier: Apache-2.0
"""Arrays of programs, for tail calls (``kernel/bpf/arraymap.c``, ``prog_array_map_ops``)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.holders import Holder
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.bpf.program import Program, ProgramType
from prestocloud_sec.wire import whole

__all__ = ["ProgArray"]

_NOBODY = object()


class ProgArray(Holder):
    """Programs by number; a tail call goes on in one of them.

    The first program that is stored fixes the type of all, for as long as the map lives. Programs cannot look into it.

    Examples
    --------
    >>> from prestocloud_sec.bpf.assembler import assemble
    >>> stages = ProgArray(8)
    >>> stages[2] = assemble("exit")
    >>> stages.program_at(2) is stages[2], stages.program_at(3)
    (True, None)
    """

    type = MapType.PROG_ARRAY
    holds_programs = True
    _holds = "programs"
    _owner: ProgramType | object | None = _NOBODY

    def _acceptable(self, value: Any) -> int:
        if not isinstance(value, Program):
            return -errno.EINVAL if isinstance(value, Map) else -errno.EBADF
        if self._owner is _NOBODY:
            self._owner = value.type
        return 0 if value.type == self._owner else -errno.EINVAL

    def program_at(self, index: int) -> Program | None:
        """Return the program that a tail call to `index` goes on in, or None."""
        found: Program | None = self._objects.get(whole(index, "index", None, error=BpfMisuseError))
        return found

    def programs(self) -> Iterator[Program]:
        """Return the programs there are, by number."""
        with self._lock:
            return iter([self._objects[index] for index in sorted(self._objects)])
