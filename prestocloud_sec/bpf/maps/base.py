# SPDX-License-Identifier: Apache-2.0
"""What all maps have in common: their sizes, the two sides they are used from, and what they look like.

A map has two faces. *User space* sees keys and values as they were declared, with the errnos of ``bpf(2)`` as
`MapError`, and may be kept from reading or writing (``RDONLY``, ``WRONLY``). *Programs* see bytes, places in the map's
storage, and negative errnos, as helpers return them; of per-CPU maps they see the value of the processor they run on.

A kind of map overrides what `prestocloud_sec.bpf.maps.hooks` has for either; here is what is made of that. Maps that
have keys are Python mappings too: `prestocloud_sec.bpf.maps.keyed`.
"""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np

from prestocloud_sec.bpf.errors import ENOTSUPP, BpfMisuseError, MapError, MissingKeyError
from prestocloud_sec.bpf.maps.codec import Codec, codec_of, parts_of, plain_bytes
from prestocloud_sec.bpf.maps.kinds import ANY, LOCK, MapFlag, check_creation
from prestocloud_sec.bpf.maps.layout import DELETE, ITERATE, LOOKUP, UPDATE, Descriptor
from prestocloud_sec.bpf.maps.storage import address_of, rounded
from prestocloud_sec.bpf.maps.stored import Stored
from prestocloud_sec.bpf.words import signed
from prestocloud_sec.wire import shown, whole

__all__ = ["DELETE", "ITERATE", "LOOKUP", "UPDATE", "Map", "address_of", "no_room", "processors", "signed"]

_U32_MAX = 0xFFFF_FFFF
_U64_MAX = (1 << 64) - 1
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.")


def processors(cpus: int | None) -> int:
    """Return how many processors per-CPU maps have values for: `cpus`, or as many as this machine has."""
    return os.cpu_count() or 1 if cpus is None else whole(cpus, "cpus", 1, 4096, error=BpfMisuseError)


class Map(Stored):
    """One BPF map.

    Parameters
    ----------
    key, value : int, dtype, str or struct.Struct
        What keys and values are: a size in bytes, a numpy dtype (also as text, also structured), or a struct format.
    max_entries : int
        Elements that there is room for.
    flags : int
        Bits of `MapFlag`.
    name : str
        Up to 15 letters, digits, dots and underscores.
    cpus : int, optional
        For maps with a value for each processor: how many there are; as many as this machine has if not given.

    Attributes
    ----------
    type : MapType
    key_size, value_size, max_entries : int
    flags : MapFlag
    name : str
    key_codec, value_codec : Codec
    cpus : int
        Values of each element; 1 but for per-CPU maps.
    descriptor : ndarray of int64, shape (DESCRIPTOR_WORDS,)
        What compiled code knows of the map (`prestocloud_sec.bpf.maps.layout`).
    values, keys : ndarray of uint8, or None
        Its storage, if programs can point into it; never moves.
    value_stride, key_stride : int
        Bytes from one stored value, and key, to the next.
    program_reads_only : bool
        Whether programs may not write.
    frozen : bool
        Whether user space may not write any more (`freeze`).

    Raises
    ------
    MapError
        Where the kernel would not create such a map, with its errno.
    BpfMisuseError
        If an argument is of the wrong type, or a number that a map cannot have.
    """

    def __init__(
        self,
        key: Any,
        value: Any,
        max_entries: int,
        flags: int = 0,
        *,
        name: str = "",
        cpus: int | None = None,
    ) -> None:
        self.key_codec: Codec = codec_of(key, "key")
        self.value_codec: Codec = codec_of(value, "value")
        self.key_size = self.key_codec.size
        self.value_size = self.value_codec.size
        self.max_entries = whole(max_entries, "max_entries", 0, _U32_MAX, error=BpfMisuseError)
        self.flags = MapFlag(whole(flags, "flags", 0, _U32_MAX, error=BpfMisuseError))
        self.name = _name(name)
        check_creation(self.type, self.key_size, self.value_size, self.max_entries, int(self.flags))
        self.cpus = processors(cpus) if self.per_cpu else 1
        self.program_reads_only = bool(self.flags & MapFlag.RDONLY_PROG)
        self.frozen = False
        self._set_up()

    # --- User space.

    def lookup(self, key: Any) -> Any:
        """Return the value of a key.

        Raises
        ------
        MapError
            ENOENT if there is none; EPERM if user space may not read; what the kind of map says.
        """
        self._may_read()
        raw = self._key(key)
        with self._lock:
            found = self._find(raw)
        if isinstance(found, int):
            raise self._error(found, "lookup", key)
        return self._value_of(found)

    def update(self, key: Any, value: Any, flags: int = ANY) -> None:
        """Store a value.

        Parameters
        ----------
        key, value : object
            As the map declares them; of a per-CPU map, a value for each processor.
        flags : int
            `ANY`, `NOEXIST` or `EXIST`.

        Raises
        ------
        MapError
            EEXIST or ENOENT by the flags, EINVAL for other flags, E2BIG if the map is full (ENOSPC for a trie), EPERM
            if user space may not write; what the kind of map says.
        """
        self._may_write()
        flags = whole(flags, "flags", 0, _U64_MAX, error=BpfMisuseError)
        raw, data = self._key(key), self._data(value)
        with self._lock:
            result = -errno.EINVAL if flags & LOCK else self._store(raw, data, flags)
        if result:
            raise self._error(result, "update", key)

    def delete(self, key: Any) -> None:
        """Remove an element.

        Raises
        ------
        MapError
            ENOENT if there is none; EINVAL for arrays, whose elements cannot go; EPERM if user space may not write.
        """
        self._may_write()
        raw = self._key(key)
        with self._lock:
            result = self._remove(raw)
        if result:
            raise self._error(result, "delete", key)

    def lookup_and_delete(self, key: Any) -> Any:
        """Return the value of a key and remove it, in one step.

        Raises
        ------
        MapError
            As `lookup` and `delete`; ENOTSUPP where the kind of map has no such operation.
        """
        self._may_read()
        self._may_write()
        if not self.takes_out:
            raise self._error(-ENOTSUPP, "lookup_and_delete", key)
        raw = self._key(key)
        with self._lock:
            found = self._take_out(raw)
        if isinstance(found, int):
            raise self._error(found, "lookup_and_delete", key)
        return self._value_of(found)

    def next_key(self, key: Any = None) -> Any:
        """Return the key behind `key`; the first for None, or for a key that is not there.

        Raises
        ------
        MapError
            ENOENT behind the last.
        """
        self._may_read()
        raw = None if key is None else self._key(key)
        with self._lock:
            found = self._following(raw)
        if isinstance(found, int):
            raise self._error(found, "next_key", key)
        return self.key_codec.decode(found)

    def freeze(self) -> None:
        """Keep user space from writing from now on (``BPF_MAP_FREEZE``); programs still may."""
        self.frozen = True

    def __len__(self) -> int:
        """Return how many elements there are."""
        return int(self._words[Descriptor.COUNT])

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> tuple[object, ...]:
        raise BpfMisuseError(
            "a map can be neither copied nor pickled",
            where=self._title(),
            hint="its memory is where compiled code expects it; to_numpy() or items() copy what it holds",
        )

    # --- Typed values and errors.

    def _key(self, key: Any) -> bytes:
        return self.key_codec.encode(key, "key")

    def _data(self, value: Any) -> bytes:
        """Return a value as system calls have it."""
        if not self.per_cpu:
            return self.value_codec.encode(value, "value")
        if isinstance(value, bytes | bytearray | memoryview):
            data = plain_bytes(value, "value")
            if len(data) == self._block:
                return data
            raise BpfMisuseError(
                f"{len(data)} bytes", where="value", expected=f"{self._block}: all processors, each rounded up to 8"
            )
        parts = parts_of(value, self.cpus, "value", f"a value for each of {self.cpus} processors")
        wide = rounded(self.value_size)
        encode = self.value_codec.encode
        return b"".join(encode(part, f"value[{cpu}]").ljust(wide, b"\0") for cpu, part in enumerate(parts))

    def _value_of(self, data: bytes) -> Any:
        if not self.per_cpu:
            return self.value_codec.decode(data)
        rows = np.frombuffer(self._cut(data), np.uint8).reshape(self.cpus, self.value_size)
        return self.value_codec.decode_many(rows)

    def _may_read(self) -> None:
        if self.flags & MapFlag.WRONLY:
            raise MapError(errno.EPERM, "user space may not read", where=self._title(), hint="it has the flag WRONLY")

    def _may_write(self) -> None:
        if self.flags & MapFlag.RDONLY:
            raise MapError(errno.EPERM, "user space may not write", where=self._title(), hint="it has the flag RDONLY")
        if self.frozen:
            raise MapError(errno.EPERM, "user space may not write", where=self._title(), hint="it was frozen")

    def _error(self, result: int, operation: str, key: Any) -> MapError:
        """Return the error for a negative errno."""
        number = -result
        kind = MissingKeyError if number == errno.ENOENT else MapError
        what = "" if key is None else f" of {shown(key)}"
        return kind(number, f"{operation}{what}", where=self._title(), expected=_EXPECTED.get(number))

    # --- What it looks like.

    def _title(self) -> str:
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    def _columns(self) -> str:
        keys = f"{self.key_codec} -> " if self.key_size else ""
        return f"{keys}{self.value_codec}{f' on {self.cpus} processors' if self.per_cpu else ''}"

    def __repr__(self) -> str:
        flags = f", {_flag_names(self.flags)}" if self.flags else ""
        return f"<{self._title()}: {self._columns()}, {len(self)} of {self.max_entries} entries{flags}>"


def no_room(found: Map) -> MapError:
    """Return the error for a map whose storage programs could not address."""
    return MapError(
        errno.ENOMEM,
        f"{found.max_entries} entries need more than 4 GiB",
        where=found.type.name,
        expected="what programs can address",
    )


_EXPECTED = {
    errno.ENOENT: "a key that is there",
    errno.EEXIST: "a key that is not there",
    errno.E2BIG: "room in the map, and an index below max_entries",
    errno.ENOSPC: "room in the map",
}


def _flag_names(flags: MapFlag) -> str:
    return "|".join(flag.name or hex(flag) for flag in MapFlag if flag & flags)


def _name(name: object) -> str:
    """Return a map's name if the kernel takes it (``bpf_obj_name_cpy``)."""
    if not isinstance(name, str):
        raise BpfMisuseError(type(name).__name__, where="name", expected="str")
    if len(name) > 15 or not _NAME.issuperset(name):
        raise MapError(
            errno.EINVAL, shown(name), where="name", expected="up to 15 letters, digits, dots and underscores"
        )
    return name
