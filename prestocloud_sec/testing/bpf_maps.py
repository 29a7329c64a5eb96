# SPDX-License-Identifier: Apache-2.0
"""Hypothesis for BPF maps: machines that drive maps side by side.

`MapMachine` does the same operations on a map of this package, on a `ModelMap` and, where bpf(2) is allowed, on a map
of the running kernel, and compares what each gives: values, errnos, order. `LruMachine` checks what a map that evicts
has to keep.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from prestocloud_sec.bpf.errors import BpfError
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.maps.create import create_map
from prestocloud_sec.bpf.maps.kinds import NOEXIST, MapFlag, MapType
from prestocloud_sec.testing.bpf_map_model import (
    BARE,
    HASHES,
    KEYS,
    LRU,
    PER_CPU,
    MapShape,
    ModelMap,
    kernel_map,
    map_shapes,
    outcome,
)

__all__ = [
    "KEYS",
    "DisagreementError",
    "LruMachine",
    "MapMachine",
    "MapShape",
    "ModelMap",
    "kernel_map",
    "map_shapes",
    "outcome",
]


class DisagreementError(BpfError):
    """Two maps that were asked the same did not answer the same, or a map holds what it cannot."""


def _require(condition: object, about: object) -> None:
    if not condition:
        raise DisagreementError("maps disagree", where=repr(about))


class MapMachine(RuleBasedStateMachine):
    """Drives a map, its model, and where `kernel` is true one of the running kernel."""

    kernel = False
    types: tuple[MapType, ...] = ()
    """Which types; all whose outcomes do not depend on chance, if empty."""

    shape: MapShape
    ours: Map
    model: ModelMap
    theirs: Any = None

    @initialize(data=st.data())
    def create(self, data: st.DataObject) -> None:
        """Make the maps."""
        self.shape = data.draw(map_shapes(*self.types), label="shape")
        self.cpus = 2
        if self.kernel:
            from prestocloud_sec.bpf.linux import possible_cpus

            self.cpus = possible_cpus()
            self.theirs = kernel_map(self.shape)
        shape = self.shape
        self.ours = create_map(
            shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.flags, cpus=self.cpus
        )
        self.model = ModelMap(shape, self.cpus)
        self.written = 0

    def teardown(self) -> None:
        """Give the kernel's map back."""
        if self.theirs is not None:
            self.theirs.close()

    def _agree(self, ours: Any, model: Any, theirs: Callable[[], Any]) -> None:
        _require(ours == model, (self.shape, ours, model))
        if self.theirs is not None:
            given = outcome(theirs)
            given = 0 if given is None else given
            _require(ours == given, (self.shape, ours, given))

    def _found(self, key: bytes) -> Any:
        found = outcome(self.theirs.lookup, key)
        return -errno.ENOENT if found is None else found

    def _raw(self, value: Any) -> Any:
        """Return a value of ours as system calls have it."""
        if isinstance(value, int | bytes):
            return value
        return b"".join(bytes(part).ljust(self.shape.wide, b"\0") for part in value)

    @rule(number=st.integers(0, KEYS - 1))
    def lookup(self, number: int) -> None:
        """Look a key up from user space."""
        key = self.shape.key(number)
        self._agree(self._raw(outcome(self.ours.lookup, key)), self.model.lookup(key), lambda: self._found(key))

    @rule(number=st.integers(0, KEYS - 1), flags=st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6, 8, 1 << 32, 2**64 - 1]))
    def update(self, number: int, flags: int) -> None:
        """Store a value from user space."""
        key = self.shape.key(number)
        self.written += 1
        value = self.shape.value(self.written, self.cpus)
        ours = outcome(self.ours.update, key, value, flags) or 0
        self._agree(ours, self.model.update(key, value, flags), lambda: self.theirs.update(key, value, flags))

    @rule(number=st.integers(0, KEYS - 1))
    def delete(self, number: int) -> None:
        """Remove a key from user space."""
        key = self.shape.key(number)
        ours = outcome(self.ours.delete, key) or 0
        if self.shape.type in BARE:
            _require(ours == -errno.EINVAL, self.shape)
            return
        self._agree(ours, self.model.delete(key), lambda: self.theirs.delete(key))

    @rule(number=st.integers(0, KEYS - 1))
    def lookup_and_delete(self, number: int) -> None:
        """Look a key up and remove it from user space."""
        key = self.shape.key(number)

        def theirs() -> Any:
            found = self.theirs.lookup_and_delete(key)
            return -errno.ENOENT if found is None else found

        ours = self._raw(outcome(self.ours.lookup_and_delete, key))
        self._agree(ours, self.model.lookup_and_delete(key), theirs)

    @precondition(lambda self: self.shape.type not in PER_CPU | BARE)
    @rule(number=st.integers(0, KEYS - 1), flags=st.sampled_from([0, 0, 1, 2, 3, 8, 2**64 - 1]))
    def program_update(self, number: int, flags: int) -> None:
        """Store a value from a program; the kernel gives user space the same."""
        key = self.shape.key(number)
        self.written += 1
        value = self.shape.value(self.written, self.cpus)
        ours = self.ours.program_update(key, value, flags)
        self._agree(ours, self.model.update(key, value, flags), lambda: self.theirs.update(key, value, flags))

    @precondition(lambda self: self.shape.type not in PER_CPU | BARE)
    @rule(number=st.integers(0, KEYS - 1))
    def program_delete(self, number: int) -> None:
        """Remove a key from a program."""
        key = self.shape.key(number)
        self._agree(self.ours.program_delete(key), self.model.delete(key), lambda: self.theirs.delete(key))

    @precondition(lambda self: self.shape.type not in BARE)
    @rule(number=st.integers(0, KEYS - 1), cpu=st.integers(0, 1))
    def program_lookup(self, number: int, cpu: int) -> None:
        """Look a key up from a program: what lies at the place it gets is that processor's value."""
        key = self.shape.key(number)
        cpu = min(cpu, self.cpus - 1)
        place = self.ours.program_lookup(key, cpu)
        wanted = self.model.lookup(key)
        if isinstance(wanted, int):
            _require(place is None, self.shape)
            return
        if place is None or self.ours.values is None:
            raise DisagreementError("a program does not find what user space does", where=repr(self.shape))
        found = self.ours.values[place : place + self.shape.value_size].tobytes()
        start = cpu * self.shape.wide if self.shape.type in PER_CPU else 0
        _require(found == wanted[start : start + self.shape.value_size], self.shape)

    @precondition(lambda self: self.shape.type in BARE)
    @rule(flags=st.sampled_from([0, 1, 2, 3, 8]))
    def program_push_and_peek(self, flags: int) -> None:
        """Push from a program, and look at what comes out next."""
        self.written += 1
        value = self.shape.value(self.written, 1)
        wanted = self.model.update(b"", value, flags)
        self._agree(self.ours.program_push(value, flags), wanted, lambda: self.theirs.update(b"", value, flags))
        self._agree(self.ours.program_peek(), self.model.lookup(b""), lambda: self._found(b""))

    @precondition(lambda self: self.shape.type in BARE)
    @rule()
    def program_pop(self) -> None:
        """Pop from a program."""
        ours = self.ours.program_pop()

        def theirs() -> Any:
            found = self.theirs.pop()
            return -errno.ENOENT if found is None else found

        self._agree(ours, self.model.lookup_and_delete(b""), theirs)

    @precondition(lambda self: self.shape.type not in BARE)
    @rule(number=st.none() | st.integers(0, KEYS - 1))
    def next_key(self, number: int | None) -> None:
        """Ask for the key behind one: from none on, that visits each key once."""
        key = None if number is None else self.shape.key(number)
        found = outcome(self.ours.next_key, key)
        if self.theirs is not None and (self.shape.type not in HASHES or self.shape.flags & MapFlag.ZERO_SEED):
            given = outcome(self.theirs.next_key, key)
            shown = found if isinstance(found, int) and found < 0 else self.ours.key_codec.encode(found, "key")
            _require(shown == (-errno.ENOENT if given is None else given), self.shape)
        if key is None:
            visited = []
            while not isinstance(found, int) or found >= 0:
                visited.append(self.ours.key_codec.encode(found, "key"))
                _require(len(visited) <= len(self.model.elements), self.shape)
                found = outcome(self.ours.next_key, found)
            _require(found == -errno.ENOENT, self.shape)
            _require(sorted(visited) == sorted(self.model.elements), self.shape)

    @invariant()
    def holds_the_same(self) -> None:
        """Compare all of the map with the model."""
        if not hasattr(self, "model"):
            return
        if self.shape.type in BARE:
            line = self.model.line[::-1] if self.shape.type is MapType.STACK else self.model.line
            _require(list(self.ours) == line, self.shape)  # type: ignore[call-overload]
            return
        _require(dict(self.ours._pairs()) == self.model.elements, self.shape)
        _require(len(self.ours) == len(self.model.elements), self.shape)


class LruMachine(RuleBasedStateMachine):
    """Drives a map that evicts: it never refuses for want of room, and what it has is what was last stored."""

    shape: MapShape
    ours: Map

    @initialize(shape=map_shapes(*LRU), cpus=st.integers(1, 3))
    def create(self, shape: MapShape, cpus: int) -> None:
        """Make the map."""
        self.shape, self.cpus = shape, cpus
        self.ours = create_map(shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.flags, cpus=cpus)
        self.stored: dict[bytes, bytes] = {}
        self.written = 0

    @rule(number=st.integers(0, KEYS - 1), flags=st.sampled_from([0, 0, 1, 2, 3]), cpu=st.none() | st.integers(0, 2))
    def update(self, number: int, flags: int, cpu: int | None) -> None:
        """Store a value, from user space or from a program on a processor."""
        key = self.shape.key(number)
        self.written += 1
        value = self.shape.value(self.written, self.cpus)
        before = dict(self.ours._pairs())
        if cpu is None:
            result = outcome(self.ours.update, key, value, flags) or 0
        else:
            result = self.ours.program_update(key, value[: self.shape.value_size], flags, cpu % self.cpus)
        after = dict(self.ours._pairs())
        _require(result in {0, -errno.EEXIST, -errno.ENOENT, -errno.EINVAL}, self.shape)
        if result == 0:
            _require(key in after, self.shape)
            # With NOEXIST the key may have been there: to make room the map may evict that very key first.
            self.stored[key] = after[key]
            if cpu is None:
                _require(after[key] == value, self.shape)
        elif result == -errno.EEXIST:
            _require(key in before, self.shape)
            _require(flags == NOEXIST, self.shape)
        self.stored = {key: value for key, value in self.stored.items() if key in after}

    @rule(number=st.integers(0, KEYS - 1))
    def delete(self, number: int) -> None:
        """Remove a key."""
        key = self.shape.key(number)
        result = outcome(self.ours.delete, key) or 0
        _require(result == (0 if self.stored.pop(key, None) is not None else -errno.ENOENT), self.shape)

    @rule(number=st.integers(0, KEYS - 1), cpu=st.integers(0, 2))
    def program_lookup(self, number: int, cpu: int) -> None:
        """Look a key up as a program does, which counts as use."""
        found = self.ours.program_lookup(self.shape.key(number), cpu % self.cpus)
        _require((found is None) == (self.shape.key(number) not in self.stored), self.shape)

    @invariant()
    def holds_what_was_stored(self) -> None:
        """Check that what is in the map was stored, and is not more than there is room for."""
        if not hasattr(self, "stored"):
            return
        _require(dict(self.ours._pairs()) == self.stored, self.shape)
        _require(len(self.stored) == len(self.ours) <= self.ours.max_entries, self.shape)
