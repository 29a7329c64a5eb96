# SPDX-License-Identifier: Apache-2.0
"""Maps of the running kernel.

A `KernelMap` takes and gives bytes, as bpf(2) does, and refuses with the errno that the kernel gave. What is not there
is None, not an error. Sizes are checked here, before the kernel reads or writes as many bytes as the map says; and that
the map still is this one (`prestocloud_sec.bpf.linux.identity`).

Sources: bpf(2); Linux 6.18, ``kernel/bpf/syscall.c`` (``map_copy_to_user``, ``bpf_map_value_size``) and
``Documentation/bpf/maps.rst``.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError, MapError
from prestocloud_sec.bpf.linux.attr import MAP_INFO, Attr, Buffer, Command, content, make_buffer
from prestocloud_sec.bpf.linux.host import possible_cpus
from prestocloud_sec.bpf.linux.identity import Identity
from prestocloud_sec.bpf.linux.mapinfo import HINTS, HOLDS_DESCRIPTORS, KINDS, PER_CPU, MapInfo, map_label
from prestocloud_sec.bpf.linux.syscall import KernelObject, bpf, read_info
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.wire import shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.bpf.maps.base import Map
    from prestocloud_sec.wire import BytesLike

__all__ = ["KernelMap"]

_BATCH = 1024
_BATCH_BYTES = 1 << 20
"""Elements, and bytes, that one call brings when a map is walked through."""


class KernelMap(KernelObject):
    """A map in the running kernel, made by this object and gone with its last user.

    Parameters
    ----------
    type : MapType or int
        Its kind, by the kernel's number.
    key_size, value_size : int
        Bytes of a key and of a value; 0 for kinds without.
    max_entries : int
        Elements; bytes, for ring buffers.
    flags : MapFlag or int
        How it is made.
    inner : KernelMap, optional
        For maps of maps: a map like those it will hold.
    name : str
        At most 15 letters, digits, ``_`` and ``.``.
    extra : int
        For bloom filters the number of hash functions, 0 for the kernel's own choice.

    Raises
    ------
    MapError
        If the kernel refuses; with its errno.
    BpfMisuseError
        If an argument is of another type or does not fit the kernel's field.
    UnavailableError
        If bpf(2) cannot be called on this machine at all.

    Notes
    -----
    Kinds with a value for each processor read and write all of them at once: `value_bytes` is `possible_cpus` times the
    value's size rounded up to 8. Kinds that hold programs, maps, sockets and such take the object itself as a value, or
    its descriptor as four bytes.

    Kernels before 5.11 count maps against ``RLIMIT_MEMLOCK`` and say EPERM beyond it.
    """

    __slots__ = (
        *("_extra", "_flags", "_identity", "_key_size", "_max_entries"),
        *("_name", "_type", "_value_bytes", "_value_size"),
    )

    def __init__(
        self,
        type: int,
        *,
        key_size: int = 0,
        value_size: int = 0,
        max_entries: int,
        flags: int = 0,
        inner: KernelMap | None = None,
        name: str = "",
        extra: int = 0,
    ) -> None:
        if inner is not None and not isinstance(inner, KernelMap):
            raise BpfMisuseError(f"{shown(inner)} is no map", where="KernelMap.inner", expected="a KernelMap or None")
        attr = Attr(
            Command.MAP_CREATE,
            map_type=type,
            key_size=key_size,
            value_size=value_size,
            max_entries=max_entries,
            map_flags=flags,
            inner_map_fd=inner.fileno() if inner is not None else 0,
            map_name=name,
            map_extra=extra,
        )
        type, flags, extra = attr["map_type"], attr["map_flags"], attr["map_extra"]
        key_size, value_size, max_entries = attr["key_size"], attr["value_size"], attr["max_entries"]
        descriptor = bpf(Command.MAP_CREATE, attr)
        if descriptor < 0:
            raise MapError(
                -descriptor,
                f"the kernel makes no such map (key of {key_size} bytes, value of {value_size}, {max_entries} entries, "
                f"flags {flags:#x})",
                where=map_label(type, name),
                hint="see prestocloud_sec.bpf.linux.require" if descriptor == -errno.EPERM else None,
            )
        super().__init__(descriptor)
        self._describe(MapInfo(0, type, key_size, value_size, max_entries, flags, name, extra))

    def _describe(self, info: MapInfo) -> None:
        """Keep what the sizes of buffers depend on where nobody changes it."""
        self._type, self._flags, self._name, self._extra = info.type, info.flags, info.name, info.extra
        self._key_size, self._value_size, self._max_entries = info.key_size, info.value_size, info.max_entries
        self._value_bytes = info.value_size
        if info.type in PER_CPU:
            self._value_bytes = possible_cpus() * (info.value_size + -info.value_size % 8)
        self._identity = Identity(self.fileno(), self._label())

    @classmethod
    def from_id(cls, identifier: int) -> KernelMap:
        """Open a map that exists (Linux 4.13), such as one whose identifier a map of maps gave.

        Raises
        ------
        MapError
            ENOENT, if there is none; EPERM without CAP_SYS_ADMIN.
        """
        descriptor = bpf(Command.MAP_GET_FD_BY_ID, Attr(Command.MAP_GET_FD_BY_ID, map_id=identifier))
        if descriptor < 0:
            raise MapError(-descriptor, "the kernel opens no such map", where=f"map with identifier {identifier}")
        found = cls.__new__(cls)
        KernelObject.__init__(found, descriptor)
        found._describe(found.info())
        return found

    @classmethod
    def like(cls, model: Map, *, inner: KernelMap | None = None) -> KernelMap:
        """Make an empty map of the same kind, sizes, flags and name as a map of user space.

        Parameters
        ----------
        model : prestocloud_sec.bpf.maps.base.Map
            What it is to be like; its elements are not copied.
        inner : KernelMap, optional
            For maps of maps, as in `KernelMap`.

        Raises
        ------
        MapError
            If the kernel refuses; with its errno.
        BpfMisuseError
            If `model` is no such map.
        """
        from prestocloud_sec.bpf.maps.base import Map

        if not isinstance(model, Map):
            raise BpfMisuseError(f"{shown(model)} is no map of user space", where="KernelMap.like", expected="a Map")
        return cls(
            model.type,
            key_size=model.key_size,
            value_size=model.value_size,
            max_entries=model.max_entries,
            flags=int(model.flags),
            inner=inner,
            name=model.name,
            extra=getattr(model, "map_extra", 0),
        )

    def own_descriptor(self) -> int:
        """Return the descriptor, which is that of this map: for calls that rely on its sizes.

        Raises
        ------
        MapError
            If somebody closed it by its number, and perhaps opened something else.
        BpfMisuseError
            If it was closed.
        """
        descriptor = self.fileno()
        self._identity.check()
        return descriptor

    def info(self) -> MapInfo:
        """Return what the kernel knows of the map (Linux 4.13).

        Raises
        ------
        KernelError
            If it does not tell.
        """
        info = read_info(self.fileno(), MAP_INFO)
        return MapInfo(
            info["id"],
            info["type"],
            info["key_size"],
            info["value_size"],
            info["max_entries"],
            info["map_flags"],
            info.text("name"),
            info["map_extra"],
        )

    @property
    def type(self) -> int:
        """The kind, a `MapType` or a number that is none."""
        return MapType(self._type) if self._type in KINDS else self._type

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return self._key_size

    @property
    def value_size(self) -> int:
        """Bytes of a value, as a program sees it."""
        return self._value_size

    @property
    def value_bytes(self) -> int:
        """Bytes of a value as it is read and written here: those of all processors, where each has its own."""
        return self._value_bytes

    @property
    def max_entries(self) -> int:
        """Elements it has room for."""
        return self._max_entries

    @property
    def flags(self) -> int:
        """Flags it was made with."""
        return self._flags

    @property
    def name(self) -> str:
        """Its name, which may be empty."""
        return self._name

    def lookup(self, key: BytesLike, *, flags: int = 0) -> bytes | None:
        """Return the value of a key, or None where the kernel says ENOENT.

        Parameters
        ----------
        key : bytes-like
            `key_size` bytes; of a queue, stack or bloom filter none.
        flags : int
            4 to read under the value's spin lock.

        Raises
        ------
        MapError
            If the kernel refuses for another reason.
        BpfMisuseError
            If the key is of another size.
        """
        return self._take(Command.MAP_LOOKUP_ELEM, self._key(key), flags, "lookup")

    def lookup_and_delete(self, key: BytesLike, *, flags: int = 0) -> bytes | None:
        """Return the value of a key and delete it, in one step (hashes: Linux 5.14); None where it does not exist."""
        return self._take(Command.MAP_LOOKUP_AND_DELETE_ELEM, self._key(key), flags, "lookup and delete")

    def update(self, key: BytesLike, value: BytesLike | KernelObject, flags: int = 0) -> None:
        """Write the value of a key.

        Parameters
        ----------
        key : bytes-like
            `key_size` bytes.
        value : bytes-like or KernelObject
            `value_bytes` bytes; or, where the map holds descriptors, a program or a map.
        flags : int
            0 in any case, 1 only where the key is new, 2 only where it exists, 4 under the value's spin lock.

        Raises
        ------
        MapError
            If the kernel refuses.
        BpfMisuseError
            If key or value is of another size.
        """
        if isinstance(value, KernelObject) and self._type in HOLDS_DESCRIPTORS:
            value = value.fileno().to_bytes(4, "little")
        self._check(
            self._call(Command.MAP_UPDATE_ELEM, self._key(key), self._sized(value, self._value_bytes, "value"), flags),
            "update",
        )

    def delete(self, key: BytesLike) -> None:
        """Delete a key.

        Raises
        ------
        MapError
            ENOENT, where it does not exist; EINVAL, where elements of this kind cannot be deleted.
        BpfMisuseError
            If the key is of another size.
        """
        self._check(self._call(Command.MAP_DELETE_ELEM, self._key(key), None, 0), "delete")

    def next_key(self, key: BytesLike | None = None) -> bytes | None:
        """Return the key after this one in the kernel's order, or None after the last.

        The first is that after None; hashes give it after a key that does not exist as well.

        Raises
        ------
        MapError
            If the kernel refuses.
        """
        found = make_buffer(self._key_size)
        given = None if key is None else self._key(key)
        attr = Attr(Command.MAP_GET_NEXT_KEY, map_fd=self.own_descriptor(), key=given, next_key=found)
        result = bpf(Command.MAP_GET_NEXT_KEY, attr)
        if result == -errno.ENOENT:
            return None
        self._check(result, "next key")
        return content(found, self._key_size)

    def keys(self) -> list[bytes]:
        """Return all keys, in the kernel's order.

        Where others change the map meanwhile, keys may be missing or come twice; there are never more than
        `max_entries`.
        """
        found: list[bytes] = []
        key = self.next_key()
        while key is not None and len(found) < self._max_entries:
            found.append(key)
            key = self.next_key(key)
        return found

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys with their values, a batch to each call of the kernel where it can (Linux 5.6).

        Elements that are deleted meanwhile may be missing.

        Raises
        ------
        MapError
            If the kernel refuses, as for kinds whose values cannot be read.
        """
        from prestocloud_sec.bpf.linux.batch import batches

        walk = batches(self, _BATCH, _BATCH_BYTES)
        if walk is not None:
            for batch in walk:
                yield from batch
            return
        for key in self.keys():
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def push(self, value: BytesLike, flags: int = 0) -> None:
        """Append to a queue or stack, or add to a bloom filter.

        Parameters
        ----------
        value : bytes-like
            `value_size` bytes.
        flags : int
            2 to push out the oldest where a queue or stack is full.

        Raises
        ------
        MapError
            E2BIG, where it is full.
        """
        self.update(b"", value, flags)

    def pop(self) -> bytes | None:
        """Take the next value from a queue or stack; None where it is empty."""
        return self.lookup_and_delete(b"")

    def peek(self) -> bytes | None:
        """Return the next value of a queue or stack and leave it there; None where it is empty."""
        return self.lookup(b"")

    def contains(self, value: BytesLike) -> bool:
        """Tell whether a bloom filter may have been given a value; where False, it certainly was not.

        Raises
        ------
        BpfMisuseError
            If the map is no bloom filter.
        """
        if self._type != MapType.BLOOM_FILTER:
            raise BpfMisuseError("it is no bloom filter", where=self._label(), hint="`lookup` asks for a key")
        asked = self._sized(value, self._value_bytes, "value")
        result = self._call(Command.MAP_LOOKUP_ELEM, None, asked, 0)
        if result != -errno.ENOENT:
            self._check(result, "lookup")
        return result >= 0

    def freeze(self) -> None:
        """Forbid user space every change from now on (Linux 5.2).

        Raises
        ------
        MapError
            EPERM, where user space may not write (also where it is frozen); EBUSY, where it is mapped for writing;
            ENOTSUPP, for some kinds.
        """
        self._check(bpf(Command.MAP_FREEZE, Attr(Command.MAP_FREEZE, map_fd=self.own_descriptor())), "freeze")

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"key {self._key_size}, value {self._value_size}, max {self._max_entries}"
        return f"<KernelMap {self._label()}: {state}>"

    def _label(self) -> str:
        return map_label(self._type, self._name)

    def _sized(self, data: object, size: int, what: str) -> Buffer:
        """Return a buffer with what must be exactly so many bytes."""
        view = view_of(data, name=what)  # type: ignore[arg-type]
        if len(view) != size:
            raise BpfMisuseError(f"{len(view)} bytes", where=f"{self._label()}, {what}", expected=f"{size} bytes")
        return make_buffer(bytes(view))

    def _key(self, key: object) -> Buffer | None:
        buffer = self._sized(key, self._key_size, "key")
        return buffer if self._key_size else None

    def _call(self, command: Command, key: Buffer | None, value: Buffer | None, flags: int) -> int:
        return bpf(command, Attr(command, map_fd=self.own_descriptor(), key=key, value=value, flags=flags))

    def _take(self, command: Command, key: Buffer | None, flags: int, what: str) -> bytes | None:
        value = make_buffer(self._value_bytes)
        result = self._call(command, key, value, flags)
        if result == -errno.ENOENT:
            return None
        self._check(result, what)
        return content(value, self._value_bytes)

    def _check(self, result: int, what: str) -> None:
        if result < 0:
            raise MapError(-result, f"{what} refused", where=self._label(), hint=HINTS.get(-result))
