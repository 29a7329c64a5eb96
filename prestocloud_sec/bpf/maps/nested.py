# SPDX-License-Identifier: Apache-2.0
"""Maps of maps (``kernel/bpf/map_in_map.c``).

A map of maps is made with a map as the model of those it will hold: same type, sizes and flags; arrays also of the same
length, unless they have the flag ``INNER_MAP``. Programs look maps up in it and cannot change it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import ENOTSUPP, BpfMisuseError, MapError
from prestocloud_sec.bpf.maps.array import INDEX
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.codec import sized_bytes
from prestocloud_sec.bpf.maps.hash import HashMap
from prestocloud_sec.bpf.maps.holders import Holder
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.program import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArrayOfMaps", "HashOfMaps"]


def _check_model(model: object, kind: str) -> Map:
    """Return the model if maps like it can be held."""
    if model is None:
        raise MapError(errno.EINVAL, "no model of the maps it will hold", where=kind, expected="a map")
    if not isinstance(model, Map):
        raise BpfMisuseError(type(model).__name__, where=f"{kind}.inner", expected="a map")
    if model.holds_maps:
        raise MapError(errno.EINVAL, "its maps would hold maps", where=kind, expected="one level")
    if model.holds_programs:
        raise MapError(ENOTSUPP, "its maps would hold programs", where=kind, expected="another type")
    return model


def _alike(model: Map, other: Any) -> int:
    """Return 0 if a map may stand where its model can, else a negative errno (``bpf_map_meta_equal``)."""
    if not isinstance(other, Map):
        return -errno.EINVAL if isinstance(other, Program) else -errno.EBADF
    same = (model.type, model.key_size, model.value_size, model.flags) == (
        other.type,
        other.key_size,
        other.value_size,
        other.flags,
    )
    if model.type == MapType.ARRAY and not model.flags & MapFlag.INNER_MAP:
        same = same and model.max_entries == other.max_entries
    return 0 if same else -errno.EINVAL


class ArrayOfMaps(Holder):
    """Maps by number.

    Parameters
    ----------
    inner : Map
        The model.
    max_entries, flags, name
        As for every `Map`.

    Examples
    --------
    >>> from prestocloud_sec.bpf.maps.hash import HashMap
    >>> tables = ArrayOfMaps(HashMap("u4", "u8", 10), 2)
    >>> tables[0] = HashMap("u4", "u8", 20)
    >>> tables[0][5] = 6
    """

    type = MapType.ARRAY_OF_MAPS
    holds_maps = True
    _holds = "maps"

    def __init__(
        self,
        inner: Map | None,
        max_entries: int,
        flags: int = 0,
        *,
        key: Any = INDEX,
        value: Any = 4,
        name: str = "",
    ) -> None:
        super().__init__(max_entries, flags, key=key, value=value, name=name)
        self.model = _check_model(inner, self.type.name)

    def _acceptable(self, value: Any) -> int:
        return _alike(self.model, value)

    def inner(self, key: bytes) -> Map | None:
        """Return the map that a program finds under a key, or None."""
        found: Map | None = self._objects.get(self._index(sized_bytes(key, self.key_size, "key")))
        return found


class HashOfMaps(HashMap):
    """Maps by key.

    Parameters
    ----------
    key : int, dtype, str or struct.Struct
        What keys are.
    inner : Map
        The model.
    max_entries, flags, name
        As for every `Map`.
    """

    type = MapType.HASH_OF_MAPS
    takes_out = False
    holds_maps = True

    def __init__(
        self, key: Any, inner: Map | None, max_entries: int, flags: int = 0, *, value: Any = 4, name: str = ""
    ) -> None:
        super().__init__(key, value, max_entries, flags, name=name)
        self.model = _check_model(inner, self.type.name)
        self._natively(0)
        self._objects: dict[int, Map] = {}
        """The maps, by the number that stands for each in the value of its key."""
        self._next = 1

    def _data(self, value: Any) -> Any:
        return value

    def _value_of(self, data: Any) -> Any:
        return data

    def _columns(self) -> str:
        return f"{self.key_codec} -> maps"

    def _held(self, key: bytes) -> int | None:
        """Return the number of the map under a key, or None."""
        found = super()._find(key)
        return None if isinstance(found, int) else int.from_bytes(found, "little")

    def _find(self, key: bytes) -> Any:
        number = self._held(key)
        return -errno.ENOENT if number is None else self._objects[number]

    def _store(self, key: bytes, value: Any, flags: int) -> int:
        refused = _alike(self.model, value)
        if refused:
            return refused
        old, number = self._held(key), self._next
        result = super()._store(key, number.to_bytes(4, "little"), flags)
        if result == 0:
            self._objects[number] = value
            if old is not None:
                del self._objects[old]
            while self._next in self._objects:
                self._next = self._next % 0xFFFF_FFFF + 1
        return result

    def _remove(self, key: bytes) -> int:
        old = self._held(key)
        result = super()._remove(key)
        if old is not None:
            del self._objects[old]
        return result

    def _pairs(self) -> list[tuple[bytes, Any]]:
        with self._lock:
            return [(key, self._objects[int.from_bytes(value, "little")]) for key, value in super()._pairs()]

    def to_numpy(self) -> NDArray[Any]:
        """Return a table of all elements: fields ``key``, and ``value``, which holds the maps."""
        self._may_read()
        pairs = self._pairs()
        table = np.empty(len(pairs), [("key", self.key_codec.dtype), ("value", object)])
        keys = np.frombuffer(b"".join(key for key, _ in pairs), np.uint8).reshape(len(pairs), self.key_size)
        table["key"] = self.key_codec.column(keys)
        for row, (_, value) in enumerate(pairs):
            table["value"][row] = value
        return table

    def inner(self, key: bytes) -> Map | None:
        """Return the map that a program finds under a key, or None."""
        key = sized_bytes(key, self.key_size, "key")
        with self._lock:
            found = self._find(key)
        return None if isinstance(found, int) else found

    def program_lookup(self, key: bytes, cpu: int = 0) -> int | None:  # noqa: ARG002
        """Return None: what a program finds is a map, see `inner`."""
        return None

    def program_update(self, key: bytes, value: bytes, flags: int, cpu: int = 0) -> int:  # noqa: ARG002
        """Return -EINVAL: programs cannot change a map of maps."""
        return -errno.EINVAL

    def program_delete(self, key: bytes) -> int:  # noqa: ARG002
        """Return -EINVAL: programs cannot change a map of maps."""
        return -errno.EINVAL
