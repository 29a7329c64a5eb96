# SPDX-License-Identifier: Apache-2.0
"""Helpers that look into maps, change them, or send packets where a map says.

What an operation does, and which errno it gives, is the map's own business (`prestocloud_sec.bpf.maps`); here registers
become keys and values, and places in a map's storage become addresses.

Sources: Linux 6.18, ``kernel/bpf/helpers.c``, ``kernel/bpf/ringbuf.c``, ``kernel/trace/bpf_trace.c``
(``bpf_perf_event_output``), and for redirects ``net/core/filter.c`` and ``kernel/bpf/devmap.c`` (behaviour).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.helpers.actions import (
    ACTION_MASK,
    BROADCAST,
    EXCLUDE_INGRESS,
    INGRESS,
    TC_ACT_REDIRECT,
    TC_ACT_SHOT,
    XDP_ABORTED,
    XDP_REDIRECT,
)
from prestocloud_sec.bpf.helpers.numbers import fail, u32
from prestocloud_sec.bpf.helpers.registry import implements
from prestocloud_sec.bpf.vm.context import ContextKind
from prestocloud_sec.bpf.vm.layout import State

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.machine import Machine

__all__: list[str] = []

_INDEX_MASK, _LENGTH_MASK = 0xFFFF_FFFF, 0xFFFFF << 32
"""Flags of ``perf_event_output`` (``BPF_F_INDEX_MASK``, ``BPF_F_CTXLEN_MASK``)."""


@implements("map_lookup_elem")
def map_lookup_elem(machine: Machine, handle: int, key: int) -> int:
    """Return the address of the value, or 0; of a map of maps, the inner map."""
    found = machine.map_of(handle)
    wanted = machine.memory.read(key, found.key_size) if found.key_size else b""
    if found.holds_maps:
        inner = found.inner(wanted)
        return 0 if inner is None else machine.handle_of(inner)
    offset = found.program_lookup(wanted, machine.cpu)
    return 0 if offset is None else machine.value_address(found, offset)


@implements("map_lookup_percpu_elem")
def map_lookup_percpu_elem(machine: Machine, handle: int, key: int, cpu: int) -> int:
    """Return the address of another processor's value, or 0."""
    found = machine.map_of(handle)
    if not found.per_cpu:
        raise machine.wrong_map(found, "a per-CPU map")
    wanted = machine.memory.read(key, found.key_size)
    if u32(cpu) >= found.cpus:
        return 0
    offset = found.program_lookup(wanted, u32(cpu))
    return 0 if offset is None else machine.value_address(found, offset)


@implements("map_update_elem")
def map_update_elem(machine: Machine, handle: int, key: int, value: int, flags: int) -> int:
    """Store a value."""
    found = machine.map_of(handle)
    wanted = machine.memory.read(key, found.key_size) if found.key_size else b""
    return int(found.program_update(wanted, machine.memory.read(value, found.value_size), flags, machine.cpu))


@implements("map_delete_elem")
def map_delete_elem(machine: Machine, handle: int, key: int) -> int:
    """Remove an element."""
    found = machine.map_of(handle)
    return int(found.program_delete(machine.memory.read(key, found.key_size) if found.key_size else b""))


@implements("map_push_elem")
def map_push_elem(machine: Machine, handle: int, value: int, flags: int) -> int:
    """Put a value into a queue, a stack or a Bloom filter."""
    found = machine.map_of(handle)
    return int(found.program_push(machine.memory.read(value, found.value_size), flags))


def _take(machine: Machine, handle: int, value: int, operation: str) -> int:
    """Pop or peek; where there is nothing, zeros are written (Linux ``kernel/bpf/queue_stack_maps.c``)."""
    found = machine.map_of(handle)
    machine.memory.check_write(value, found.value_size)
    if operation == "program_peek" and found.is_filter:
        return int(found.program_test(machine.memory.read(value, found.value_size)))
    taken = getattr(found, operation)()
    if isinstance(taken, int):
        machine.memory.write(value, bytes(found.value_size))
        return taken
    machine.memory.write(value, taken)
    return 0


@implements("map_pop_elem")
def map_pop_elem(machine: Machine, handle: int, value: int) -> int:
    """Take the next value out of a queue or a stack."""
    return _take(machine, handle, value, "program_pop")


@implements("map_peek_elem")
def map_peek_elem(machine: Machine, handle: int, value: int) -> int:
    """Read the next value of a queue or a stack; of a Bloom filter, ask whether it may hold a value."""
    return _take(machine, handle, value, "program_peek")


@implements("redirect_map")
def redirect_map(machine: Machine, handle: int, key: int, flags: int) -> int:
    """Say that the packet goes where the map's entry `key` says; without one, return the low two bits of the flags."""
    found = machine.map_of(handle)
    if not found.redirects:
        raise machine.wrong_map(found, "a device, processor or socket map")
    spreads = BROADCAST | EXCLUDE_INGRESS if found.broadcasts else 0
    if flags & ~(ACTION_MASK | spreads):
        return XDP_ABORTED
    target = found.target(u32(key))
    if target is None and not flags & BROADCAST & spreads:
        return flags & ACTION_MASK
    machine.redirect_to(target if target is not None else 0, flags, found)
    return XDP_REDIRECT


@implements("redirect")
def redirect(machine: Machine, interface: int, flags: int) -> int:
    """Say that the packet goes to an interface; which flags there are, and what to return, depends on the type."""
    xdp = int(machine.state[State.CONTEXT_KIND]) == ContextKind.XDP
    allowed, refused, done = (0, XDP_ABORTED, XDP_REDIRECT) if xdp else (INGRESS, TC_ACT_SHOT, TC_ACT_REDIRECT)
    if flags & ~allowed:
        return refused
    machine.redirect_to(u32(interface), flags, None)
    return done


@implements("ringbuf_output")
def ringbuf_output(machine: Machine, handle: int, data: int, size: int, flags: int) -> int:
    """Copy `size` bytes into a ring buffer as one record."""
    ring = machine.ring_of(handle)
    return int(ring.output(machine.memory.read(data, size) if size else b"", flags))


@implements("ringbuf_reserve")
def ringbuf_reserve(machine: Machine, handle: int, size: int, flags: int) -> int:
    """Return the address of `size` bytes for a record, or 0 where there is no room."""
    ring = machine.ring_of(handle)
    if flags:
        return 0
    record = ring.reserve(size)
    return 0 if record is None else machine.lend(ring, record)


@implements("ringbuf_submit")
def ringbuf_submit(machine: Machine, record: int, flags: int) -> int:
    """Hand a reserved record to whoever reads the ring."""
    ring, reserved = machine.take_back(record)
    ring.submit(reserved, flags)
    return 0


@implements("ringbuf_discard")
def ringbuf_discard(machine: Machine, record: int, flags: int) -> int:
    """Give a reserved record up."""
    ring, reserved = machine.take_back(record)
    ring.discard(reserved, flags)
    return 0


@implements("ringbuf_query")
def ringbuf_query(machine: Machine, handle: int, flags: int) -> int:
    """Return a number of the ring: 0 bytes to read, 1 its size, 2 and 3 the positions of reader and writer."""
    return int(machine.ring_of(handle).query(flags))


@implements("perf_event_output")
def perf_event_output(machine: Machine, context: int, handle: int, flags: int, data: int, size: int) -> int:  # noqa: ARG001
    """Write a record, and as many bytes of the packet as bits 32 to 51 of the flags say, to a perf event."""
    found = machine.map_of(handle)
    if not found.is_perf:
        raise machine.wrong_map(found, "a perf event array")
    if flags & ~(_INDEX_MASK | _LENGTH_MASK):
        return fail("EINVAL")
    length = (flags & _LENGTH_MASK) >> 32
    tail = b""
    if length:
        packet = machine.packet_bytes(0, length)
        if packet is None:
            return fail("EFAULT")
        tail = packet
    record = machine.memory.read(data, size) if size else b""
    return int(found.output(machine.cpu, flags & _INDEX_MASK, record + tail))
