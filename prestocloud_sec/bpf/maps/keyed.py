# SPDX-License-Identifier: Apache-2.0
"""Maps with keys as Python mappings, tables, and what notebooks show."""

from __future__ import annotations

import errno
import html
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.bpf.errors import BpfMisuseError, MissingKeyError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.kinds import ANY, MapFlag
from prestocloud_sec.wire import items_of, result_of, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KeyedMap"]

_ROWS = 10


class KeyedMap(Map):
    """A `Map` whose elements have keys: ``m[key]``, ``key in m``, ``for key in m``, ``del m[key]`` and the like.

    A key that is not there raises `MissingKeyError`, which is a `KeyError` with the errno ENOENT.
    """

    def __getitem__(self, key: Any) -> Any:
        return self.lookup(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update(key, value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)

    def __contains__(self, key: Any) -> bool:
        self._may_read()
        raw = self._key(key)
        with self._lock:
            return not isinstance(self._find(raw), int)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or `default` where there is none."""
        try:
            return self.lookup(key)
        except MissingKeyError:
            return default

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a key and return its value; where there is none, `default` if given.

        Raises
        ------
        MissingKeyError
            If the key is not there and no default was given.
        """
        try:
            return self.lookup_and_delete(key)
        except MissingKeyError:
            if default:
                return default[0]
            raise

    def __iter__(self) -> Iterator[Any]:
        """Yield the keys there are now; the map may change meanwhile."""
        self._may_read()
        decode = self.key_codec.decode
        return iter([decode(key) for key, _ in self._pairs()])

    def items(self) -> list[tuple[Any, Any]]:
        """Return pairs of key and value, as they are now, in the map's order."""
        self._may_read()
        decode = self.key_codec.decode
        return [(decode(key), self._value_of(value)) for key, value in self._pairs()]

    def clear(self) -> None:
        """Remove every element that can be removed; where none can, set all values to 0."""
        self._may_write()
        with self._lock:
            for key, _ in self._pairs():
                if self._remove(key) == -errno.EINVAL:
                    self._store(key, bytes(self._block), ANY)

    def merge(self, pairs: Any) -> None:
        """Store all pairs of a mapping, or of an iterable of pairs; those before a pair that is refused stay stored."""
        expected = "a mapping or an iterable of pairs"
        if hasattr(pairs, "items"):
            pairs = result_of(pairs.items, name="pairs", expected=expected, error=BpfMisuseError)
        if not isinstance(pairs, Iterable):
            raise BpfMisuseError(type(pairs).__name__, where="pairs", expected=expected)
        for pair in items_of(pairs, "pairs", expected, error=BpfMisuseError):
            try:
                key, value = pair
            except Exception as error:  # what a foreign __iter__ raises
                raise BpfMisuseError(shown(pair), where="pairs", expected="a key and a value") from error
            self.update(key, value)

    def to_numpy(self) -> NDArray[Any]:
        """Return a copy of all elements, in the map's order.

        Returns
        -------
        ndarray, shape (elements,), fields ``key`` and ``value``
            As the map declares them, or bytes (``V``); of a per-CPU map, ``value`` has a place for each processor.
        """
        self._may_read()
        pairs = self._pairs()
        keys = np.frombuffer(b"".join(key for key, _ in pairs), np.uint8).reshape(len(pairs), self.key_size)
        values = b"".join(self._cut(value) for _, value in pairs)
        return self._table(keys, np.frombuffer(values, np.uint8).reshape(len(pairs), self.cpus, self.value_size))

    def _table(self, keys: NDArray[np.uint8], values: NDArray[np.uint8]) -> NDArray[Any]:
        """Return rows of bytes as a table: keys of shape (rows, bytes), values of shape (rows, processors, bytes)."""
        shape = (self.cpus,) if self.per_cpu else ()
        fields = [("key", self.key_codec.dtype)] if self.key_size else []
        fields.append(("value", np.dtype((self.value_codec.dtype, shape)) if shape else self.value_codec.dtype))
        packed = np.concatenate([keys, values.reshape(len(values), math.prod(values.shape[1:]))], axis=1)
        return np.ascontiguousarray(packed).reshape(-1).view(np.dtype(fields))

    def _repr_html_(self) -> str:
        title = html.escape(repr(self)[1:-1])
        if self.flags & MapFlag.WRONLY:
            return f"<p>{title}</p>"
        rows = self._first(_ROWS)
        body = "".join(
            f"<tr><td>{html.escape(shown(key))}</td><td>{html.escape(shown(value))}</td></tr>" for key, value in rows
        )
        more = len(self) - len(rows)
        tail = f"<tr><td colspan=2>and {more} more</td></tr>" if more > 0 else ""
        head = "<thead><tr><th>key</th><th>value</th></tr></thead>"
        return f"<table><caption>{title}</caption>{head}<tbody>{body}{tail}</tbody></table>"

    def _first(self, count: int) -> list[tuple[Any, Any]]:
        """Return the first elements, typed."""
        rows: list[tuple[Any, Any]] = []
        key: bytes | None = None
        with self._lock:
            while len(rows) < count:
                found = self._following(key)
                if isinstance(found, int):
                    break
                value = self._find(found)
                if not isinstance(value, int):
                    rows.append((self.key_codec.decode(found), self._value_of(value)))
                key = found
        return rows
