# SPDX-License-Identifier: Apache-2.0
"""What is handed to bpf(2) is checked before, descriptors that are gone are told, and children keep theirs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.errors import KernelError, MapError
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram, attach, attach_classic, available, detach, lock
from prestocloud_sec.bpf.linux.attr import Attr, Command, make_buffer
from prestocloud_sec.bpf.linux.syscall import bpf
from prestocloud_sec.errors import PrestoCloudError
from tests.test_attack_bpf import survives

RETURN: Any = assemble("r0 = 1\nexit", type=ProgramType.SOCKET_FILTER)
LOADS = assemble("r1 = map[m]\nr0 = 1\nexit", type=ProgramType.SOCKET_FILTER)
needs_right = pytest.mark.skipif(not available(), reason="bpf(2) is not for this process")

CALLS: dict[str, Callable[[Any], object]] = {
    "command": lambda v: bpf(v, b"") if not isinstance(v, int | np.integer) else None,
    "attr": lambda v: bpf(1 << 20, v),
    "layout": Attr,
    "a field": lambda v: Attr(Command.MAP_CREATE, map_type=v),
    "a descriptor": lambda v: Attr(Command.MAP_CREATE, inner_map_fd=v),
    "a name": lambda v: Attr(Command.MAP_CREATE, map_name=v),
    "a pointer": lambda v: Attr(Command.MAP_LOOKUP_ELEM, key=v),
    "a field to read": lambda v: Attr(Command.MAP_CREATE)[v],
    "a text to read": lambda v: Attr(Command.MAP_CREATE).text(v),
    "a buffer": make_buffer,
    "kind of a map": lambda v: KernelMap(v, key_size=0, max_entries=1),
    "inner": lambda v: KernelMap(12, key_size=4, value_size=4, max_entries=1, inner=v),
    "name of a map": lambda v: KernelMap(2, key_size=4, value_size=4, max_entries=1, name=v),
    "identifier": lambda v: None if isinstance(v, int | np.integer) else KernelMap.from_id(v),
    "program": KernelProgram.load,
    "type": lambda v: KernelProgram.load(RETURN, type=v),
    "licence": lambda v: KernelProgram.load(RETURN, license=v),
    "maps": lambda v: KernelProgram.load(LOADS, maps=v),
    "a map": lambda v: KernelProgram.load(LOADS, maps={"m": v}),
    "level": lambda v: KernelProgram.load(RETURN, log_level=v),
    "socket for a program": lambda v: attach(v, RETURN),
    "socket for a classic program": lambda v: attach_classic(v, b"\x06" + bytes(7)),
    "socket to free": detach,
    "socket to lock": lock,
}
ELEMENTS = ("lookup", "lookup_and_delete", "delete", "next_key", "push", "contains")


@pytest.mark.parametrize("name", CALLS)
def test_calls(name: str) -> None:
    survives(CALLS[name])


@needs_right
@pytest.mark.parametrize("method", ELEMENTS)
def test_elements(method: str) -> None:
    with KernelMap(1, key_size=4, value_size=4, max_entries=4) as made:
        survives(getattr(made, method))
        survives(lambda value: made.update(bytes(4), value))
        survives(lambda value: made.update(bytes(4), bytes(4), value))
        survives(lambda value: made.lookup(bytes(4), flags=value))


@needs_right
def test_what_was_closed_refuses_everything() -> None:
    made = KernelMap(1, key_size=4, value_size=4, max_entries=4)
    program = KernelProgram.load(RETURN)
    made.close()
    program.close()
    calls: list[Callable[..., Any]] = [
        *(partial(getattr(made, method), bytes(4)) for method in ELEMENTS[:4]),
        *(made.info, made.keys, made.freeze, lambda: list(made.items())),
        *(program.info, lambda: program.test_run(bytes(64)), program.fileno),
    ]
    for call in calls:
        with pytest.raises(PrestoCloudError, match="closed"):
            call()
    assert "closed" in repr(made)
    assert "closed" in repr(program)


@needs_right
def test_a_descriptor_that_somebody_closed_or_took() -> None:
    made = KernelMap(2, key_size=4, value_size=4, max_entries=1)
    os.close(made.fileno())
    with pytest.raises(MapError, match="EBADF"):
        made.lookup(bytes(4))
    with pytest.raises(KernelError, match="EBADF"):
        made.close()
    taken = KernelMap(2, key_size=4, value_size=4, max_entries=1)
    inlet, outlet = os.pipe()
    os.dup2(inlet, taken.fileno())
    os.close(inlet)
    os.close(outlet)
    with pytest.raises(MapError, match="EINVAL"):
        taken.lookup(bytes(4))


MAPS: dict[str, Any] = {
    "larger": {"type": 1, "key_size": 64, "value_size": 1 << 16, "max_entries": 4},
    "smaller": {"type": 1, "key_size": 1, "value_size": 1, "max_entries": 4},
    "alike": {"type": 1, "key_size": 4, "value_size": 4, "max_entries": 4},
    "of another kind": {"type": 2, "key_size": 4, "value_size": 4, "max_entries": 4},
    "of all processors": {"type": 5, "key_size": 4, "value_size": 4, "max_entries": 4},
}


@needs_right
@pytest.mark.parametrize("other", MAPS)
def test_a_descriptor_that_another_map_has_now(other: str) -> None:
    """The kernel goes by the map that it finds, and would write as many bytes as that one's values have."""
    made = KernelMap(**MAPS["alike"])
    made.update(bytes(4), b"mine")
    walk = made.items()
    with KernelMap(**MAPS[other]) as instead:
        kept = os.dup(made.fileno())
        os.dup2(instead.fileno(), made.fileno())
        calls: list[Callable[..., Any]] = [
            *(partial(getattr(made, method), bytes(4)) for method in ELEMENTS[:4]),
            *(partial(made.update, bytes(4), b"more"), made.next_key, made.keys, made.freeze),
            *(partial(next, made.items()), partial(next, walk)),
        ]
        for call in calls:
            with pytest.raises(MapError, match=r"no longer that of this map \[EBADF\]"):
                call()
        os.dup2(kept, made.fileno())
        os.close(kept)
        assert made.lookup(bytes(4)) == b"mine"
        assert not any(any(value) for _, value in instead.items())
    made.close()


@needs_right
def test_a_descriptor_that_another_map_has_between_two_batches() -> None:
    made = KernelMap(1, key_size=4, value_size=4, max_entries=5000)
    for number in range(5000):
        made.update(number.to_bytes(4, "little"), bytes(4))
    walk = made.items()
    next(walk)
    with KernelMap(**MAPS["larger"]) as instead:
        instead.update(bytes(64), bytes(1 << 16))
        os.dup2(instead.fileno(), made.fileno())
        with pytest.raises(MapError, match="no longer that of this map"):
            list(walk)
    made.close()


@needs_right
def test_a_child_has_descriptors_of_its_own() -> None:
    with KernelMap(2, key_size=4, value_size=4, max_entries=1) as made:
        child = os.fork()
        if child == 0:
            done = 1
            try:
                made.update(bytes(4), b"abcd")
                made.close()
                done = 0
            finally:
                os._exit(done)
        assert os.waitpid(child, 0)[1] == 0
        assert made.lookup(bytes(4)) == b"abcd"


def test_closed_sockets() -> None:
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    gone.close()
    calls: list[Callable[..., Any]] = [partial(attach_classic, gone, b""), partial(detach, gone), partial(lock, gone)]
    for call in calls:
        with pytest.raises(PrestoCloudError, match="no open socket"):
            call()
