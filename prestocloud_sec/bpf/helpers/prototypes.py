# SPDX-License-Identifier: Apache-2.0
"""The kernel's helpers: number, name, arguments, result, and which program types may call each.

A row is what the verifier checks a call against and what tools name helpers by; it says nothing of how a helper works
here (see `prestocloud_sec.bpf.helpers`), and most helpers have no meaning outside a kernel.

The rows stand as text in `prestocloud_sec.bpf.helpers.table`, which says where they come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from prestocloud_sec.bpf.helpers.table import CHANGES_PACKET, COMMON, FURTHER, GPL, TABLE
from prestocloud_sec.bpf.program_type import ProgramType

__all__ = ["Argument", "Prototype", "Returns", "by_name", "prototype", "prototypes"]


class Argument(StrEnum):
    """What an argument must be (Linux ``include/linux/bpf.h``, ``enum bpf_arg_type``)."""

    ANYTHING = "any"
    """Any number, or a pointer taken as one."""
    CONTEXT = "ctx"
    """What r1 pointed at when the program began."""
    MAP = "map"
    """A map, known when the program is loaded."""
    MAP_KEY = "key"
    """Memory of the map's key size."""
    MAP_VALUE = "value"
    """Memory of the map's value size."""
    MAP_VALUE_OUT = "value_out"
    """The same, written by the helper."""
    MAP_VALUE_OR_NULL = "value?"
    """Memory of the map's value size, or 0."""
    MEMORY = "mem"
    """Memory to read, as long as the next argument says (or, in the raw SYN cookie helpers, as the header it is)."""
    MEMORY_OR_NULL = "mem?"
    MEMORY_OUT = "mem_out"
    """Memory to write, as long as the next argument says."""
    MEMORY_OUT_OR_NULL = "mem_out?"
    SIZE = "size"
    """How long the memory before is, 1 or more."""
    SIZE_OR_ZERO = "size0"
    ALLOCATION_SIZE = "alloc"
    """How long the result is; known when the program is loaded."""
    RING_RECORD = "record"
    """What ``ringbuf_reserve`` gave; the helper takes it back."""
    FUNCTION = "func"
    """A function of the program."""
    CALLBACK_CONTEXT = "stack?"
    """Memory on the stack, or 0."""
    STRING = "str"
    """Zero-terminated text in a read-only map."""
    NUMBER_OUT = "long_out"
    """Eight bytes (four for ``check_mtu``) that the helper writes."""
    SPIN_LOCK = "lock"
    """A ``struct bpf_spin_lock`` in a map's value."""
    TIMER = "timer"
    """A ``struct bpf_timer`` in a map's value."""
    SOCKET = "sock"
    """A full socket."""
    SOCKET_COMMON = "sock_common"
    """A socket of which only the part is known that all have."""
    SOCKET_ANY = "sock_any"
    """A socket of any kind, also one known by its type information."""
    BTF_OBJECT = "btf"
    """A structure of the kernel, known by its type information."""
    BTF_PER_CPU = "percpu_btf"
    """A variable of the kernel with a value for each processor."""
    DYNPTR = "dynptr"
    """A pointer that knows the size of its memory (``struct bpf_dynptr``)."""
    DYNPTR_OUT = "dynptr_out"
    DYNPTR_RING_RECORD = "dynptr_record"
    KPTR = "kptr"
    """A pointer to an object of the kernel that is kept in a map's value."""


class Returns(StrEnum):
    """What a helper leaves in r0 (Linux ``include/linux/bpf.h``, ``enum bpf_return_type``)."""

    INTEGER = "int"
    VOID = "void"
    MAP_VALUE_OR_NULL = "value?"
    MAP_VALUE = "value"
    RING_RECORD_OR_NULL = "record?"
    DYNPTR_MEMORY_OR_NULL = "dynptr_mem?"
    SOCKET_OR_NULL = "sock?"
    SOCKET_COMMON_OR_NULL = "sock_common?"
    TCP_SOCKET_OR_NULL = "tcp_sock?"
    BTF_OBJECT = "btf"
    BTF_OBJECT_OR_NULL = "btf?"
    PER_CPU_OR_NULL = "percpu?"
    PER_CPU = "percpu"
    KPTR_OR_NULL = "kptr?"


@dataclass(frozen=True, slots=True)
class Prototype:
    """One helper.

    Attributes
    ----------
    number : int
        What a call instruction holds.
    name : str
        Without the ``bpf_`` that C puts before it.
    arguments : tuple of Argument
        For r1 and on; at most five.
    returns : Returns
        For r0.
    gpl : bool
        Whether only GPL-compatible programs may call it.
    changes_packet : bool
        Whether packet pointers are void afterwards.
    types : frozenset of ProgramType
        Who may call it.
    """

    number: int
    name: str
    arguments: tuple[Argument, ...]
    returns: Returns
    gpl: bool
    changes_packet: bool
    types: frozenset[ProgramType]

    def __repr__(self) -> str:
        return f"<Prototype {self.number}: {self}>"

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.arguments)}) -> {self.returns}"


def _numbers(text: str) -> Iterator[int]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


@cache
def prototypes() -> Mapping[int, Prototype]:
    """Return every helper by number."""
    gpl, changes, common = set(_numbers(GPL)), set(_numbers(CHANGES_PACKET)), frozenset(_numbers(COMMON))
    further = {type_: frozenset(_numbers(text)) for type_, text in FURTHER.items()}
    found = {}
    for line in TABLE.strip().splitlines():
        left, _, returns = line.partition(" -> ")
        number_text, name, *arguments = left.split()
        number = int(number_text)
        found[number] = Prototype(
            number,
            name,
            tuple(map(Argument, arguments)),
            Returns(returns),
            number in gpl,
            number in changes,
            frozenset(
                type_
                for type_ in ProgramType
                if type_ is not ProgramType.UNSPEC and (number in common or number in further.get(type_, ()))
            ),
        )
    return MappingProxyType(found)


@cache
def by_name() -> Mapping[str, Prototype]:
    """Return every helper by name (without ``bpf_``)."""
    return MappingProxyType({row.name: row for row in prototypes().values()})


def prototype(helper: int | str) -> Prototype | None:
    """Return the helper with this number or name (with or without ``bpf_``), or None.

    >>> prototype(1)
    <Prototype 1: map_lookup_elem(map, key) -> value?>
    >>> prototype("bpf_map_lookup_elem") is prototype("map_lookup_elem") is prototype(1)
    True
    """
    if isinstance(helper, str):
        return by_name().get(helper.removeprefix("bpf_"))
    return prototypes().get(helper) if isinstance(helper, int) else None
