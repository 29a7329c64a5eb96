# SPDX-License-Identifier: Apache-2.0
"""What the verifier has to know of a map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.kinds import MapType

__all__ = ["MapSpec", "spec_of"]

RDONLY_PROG, WRONLY_PROG = 1 << 7, 1 << 8


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map as a program's verdict depends on it.

    Attributes
    ----------
    type : MapType
    key_size, value_size : int
        Bytes.
    max_entries : int
    flags : int
        ``BPF_F_*`` of its creation.
    spin_lock, timer : int or None
        Where in the value a ``struct bpf_spin_lock`` or ``struct bpf_timer`` is.
    inner : MapSpec, optional
        What maps of maps hold.
    frozen : bytes, optional
        The value of an array of one element that no one can change any more: programs read constants from it.
    """

    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    spin_lock: int | None = None
    timer: int | None = None
    inner: MapSpec | None = None
    frozen: bytes | None = field(default=None, repr=False)

    @property
    def program_may_read(self) -> bool:
        """Whether programs may read values."""
        return not self.flags & WRONLY_PROG

    @property
    def program_may_write(self) -> bool:
        """Whether programs may write values."""
        return not self.flags & RDONLY_PROG


def spec_of(given: Any) -> MapSpec:
    """Return what there is to know of a map: one of ours, or a `MapSpec` as it is.

    Raises
    ------
    BpfMisuseError
        If it is neither.
    """
    if isinstance(given, MapSpec):
        return given
    if not isinstance(given, Map):
        raise BpfMisuseError(f"{type(given).__name__} is no map", where="maps", expected="a map or a MapSpec")
    model = getattr(given, "model", None)
    flags = int(given.flags)
    constant = given.frozen and flags & RDONLY_PROG and given.type is MapType.ARRAY and given.max_entries == 1
    return MapSpec(
        given.type,
        given.key_size,
        given.value_size,
        given.max_entries,
        flags,
        inner=spec_of(model) if model is not None else None,
        frozen=bytes(given.values[: given.value_size]) if constant and given.values is not None else None,
    )
