# SPDX-License-Identifier: Apache-2.0
"""Arrays of control groups (``kernel/bpf/arraymap.c``, ``cgroup_array_ops``)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.holders import Holder
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.wire import whole

__all__ = ["Cgroup", "CgroupArray"]


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A control group of the second version.

    Attributes
    ----------
    id : int
        Its number, as ``get_current_cgroup_id`` gives it.
    parent : Cgroup or None
        The group it is in.
    """

    id: int
    parent: Cgroup | None = None

    def __post_init__(self) -> None:
        whole(self.id, "Cgroup.id", 0, (1 << 64) - 1, error=BpfMisuseError)
        if self.parent is not None and not isinstance(self.parent, Cgroup):
            raise BpfMisuseError(type(self.parent).__name__, where="Cgroup.parent", expected="a Cgroup or None")

    def is_under(self, other: Cgroup) -> bool:
        """Whether this group is `other`, or in it.

        Raises
        ------
        BpfMisuseError
            If `other` is no group.
        """
        if not isinstance(other, Cgroup):
            raise BpfMisuseError(type(other).__name__, where="other", expected="a Cgroup")
        group: Cgroup | None = self
        while group is not None:
            if group.id == other.id:
                return True
            group = group.parent
        return False


class CgroupArray(Holder):
    """Control groups by number, that programs ask whether they run for one of.

    Examples
    --------
    >>> root = Cgroup(1)
    >>> groups = CgroupArray(4)
    >>> groups[0] = root
    >>> groups.under(0, Cgroup(7, root)), groups.under(0, Cgroup(8))
    (1, 0)
    """

    type = MapType.CGROUP_ARRAY
    _readable = False
    _holds = "control groups"

    def _acceptable(self, value: Any) -> int:
        return 0 if isinstance(value, Cgroup) else -errno.EBADF

    def under(self, index: int, group: Cgroup) -> int:
        """Return what ``skb_under_cgroup`` gives: 1 or 0, -E2BIG beyond the array, -EAGAIN for an empty place."""
        index = whole(index, "index", 0, error=BpfMisuseError)
        if not isinstance(group, Cgroup):
            raise BpfMisuseError(type(group).__name__, where="group", expected="a Cgroup")
        if index >= self.max_entries:
            return -errno.E2BIG
        found = self._objects.get(index)
        return -errno.EAGAIN if found is None else int(group.is_under(found))
