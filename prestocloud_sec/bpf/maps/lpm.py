# SPDX-License-Identifier: Apache-2.0
"""Longest prefix match (``kernel/bpf/lpm_trie.c``); how it works stands in `prestocloud_sec.bpf.maps.lpm_layout`."""

from __future__ import annotations

import errno
from functools import cached_property
from typing import Any

from prestocloud_sec.bpf.maps.codec import BytesCodec, codec_of
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.bpf.maps.layout import DELETE, LOOKUP, UPDATE
from prestocloud_sec.bpf.maps.lpm_layout import LpmWord
from prestocloud_sec.bpf.maps.native import RowMap
from prestocloud_sec.bpf.maps.prefix import PrefixCodec
from prestocloud_sec.bpf.maps.storage import WINDOW, address_of, zeros
from prestocloud_sec.bpf.words import signed

__all__ = ["LpmTrie"]

_SHORTEST, _LONGEST = 5, 260


class LpmTrie(RowMap):
    """Values by prefix; a lookup finds the longest stored prefix that a key begins with.

    Parameters
    ----------
    key : int, dtype, str or struct.Struct
        As a size, 4 bytes for the length and 1 to 256 for the bits: keys are then `Prefix`, and may be given as pairs
        of length and bytes or, of IP addresses (8 and 20), as networks or their text.
    value, max_entries, name
        As for every `Map`.
    flags : int
        ``NO_PREALLOC`` must be among them.

    Examples
    --------
    >>> routes = LpmTrie(8, "u4", 100)
    >>> routes["10.0.0.0/8"] = 1
    >>> routes["10.1.0.0/16"] = 2
    >>> routes["10.1.2.3/32"], routes["10.2.0.1/32"], routes.get("11.0.0.1/32")
    (2, 1, None)
    """

    type = MapType.LPM_TRIE
    _row_extra = 8

    def __init__(
        self,
        key: Any,
        value: Any,
        max_entries: int,
        flags: int = MapFlag.NO_PREALLOC,
        *,
        name: str = "",
        cpus: int | None = None,
    ) -> None:
        codec = codec_of(key, "key")
        if isinstance(codec, BytesCodec) and _SHORTEST <= codec.size <= _LONGEST:
            codec = PrefixCodec(codec.size)
        super().__init__(codec, value, max_entries, flags, name=name, cpus=cpus)
        slots = min(self.max_entries, WINDOW // self.value_stride - 1, WINDOW // (2 * self.key_stride) - 1)
        self._keep_values(slots + 1)
        self._keep_keys(2 * slots + 1)
        self._tables = {
            LpmWord.FREE_AT: zeros(4 * (slots + 1)),
            LpmWord.BRANCH_FREE_AT: zeros(4 * slots),
        }
        for word, table in self._tables.items():
            self._words[word] = address_of(table)
        self._words[LpmWord.SLOTS] = self._words[LpmWord.SPARE] = slots
        self._words[LpmWord.BRANCH_FRESH] = slots + 1
        self._natively(LOOKUP | UPDATE | DELETE)

    @cached_property
    def _kernels(self) -> Any:
        from prestocloud_sec.bpf.maps import lpm_kernel

        return lpm_kernel

    def __contains__(self, key: Any) -> bool:
        """Tell whether a prefix is stored itself; `lookup` finds shorter ones too."""
        self._may_read()
        raw = self._key(key)
        with self._lock:
            self._put(raw)
            node = int(self._kernels.find(self._at, self._key_at))
            return node >= 0 and self._stored_key(node)[:4] == raw[:4]

    def _find(self, key: bytes) -> bytes | int:
        self._put(key)
        node = int(self._kernels.find(self._at, self._key_at))
        return -errno.ENOENT if node < 0 else self._value(node)

    def _store(self, key: bytes, value: bytes, flags: int) -> int:
        self._put(key, value)
        return int(self._kernels.store(self._at, self._key_at, self._value_at, signed(flags), 0))

    def _following(self, key: bytes | None) -> bytes | int:
        if key is not None:
            self._put(key)
        node = int(self._kernels.following(self._at, self._key_at, key is not None))
        return -errno.ENOENT if node < 0 else self._stored_key(node)

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a stored prefix and return its value; where it is not stored, `default` if given.

        Raises
        ------
        MissingKeyError
            If the prefix is not stored and no default was given.
        """
        with self._lock:
            if default and key not in self:
                return default[0]
            value = self.lookup(key)
            self.delete(key)
        return value
