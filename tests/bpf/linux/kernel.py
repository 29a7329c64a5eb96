# SPDX-License-Identifier: Apache-2.0
"""What the tests of the running kernel share: whether it may be asked, what was recorded of it, small programs."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.errors import KernelError, MapError
from prestocloud_sec.bpf.linux import KernelMap, KernelProgram, require
from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType
from prestocloud_sec.errors import UnavailableError

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())
"""What bpf(2) of Linux 6.18 answered to calls that were made of it directly, without this package."""


def _refusal() -> str | None:
    try:
        require()
    except UnavailableError as error:
        return str(error)
    return None


REFUSAL = _refusal()
needs_kernel = pytest.mark.skipif(REFUSAL is not None, reason=f"kernel lacks what is asked here: {REFUSAL}")


def version() -> tuple[int, ...]:
    """Return the first two numbers of the running kernel's version."""
    return tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in os.uname().release.split(".")[:2])


as_recorded = pytest.mark.skipif(
    version() < (6, 18), reason=f"kernel lacks what Linux {RECORDED['kernel']} has, where the answers are from"
)


def outcome(call: Callable[[], object]) -> str:
    """Return the errno of a call, ``ok`` without one; None as a result stands for ENOENT."""
    try:
        return "ENOENT" if call() is None else "ok"
    except (MapError, KernelError) as error:
        return error.symbol


def done(call: Callable[[], object]) -> str:
    """Return the errno of a call that has no result, ``ok`` without one."""
    return outcome(lambda: (call(), "done"))


def key_of(kind: str, number: int) -> bytes:
    """Return the key with a number, small ones within an array of four."""
    return struct.pack("<I4B", 32, 10, 0, 0, number) if kind == "LPM_TRIE" else struct.pack("<I", number)


def standard(kind: str, **changed: int) -> KernelMap:
    """Return a map of the size that the recordings were made with, but for what is changed."""
    size = {
        "key_size": 8 if kind == "LPM_TRIE" else 4,
        "value_size": 4 if kind in {"PROG_ARRAY", "PERF_EVENT_ARRAY", "CGROUP_ARRAY"} else 8,
        "max_entries": 4,
        "flags": MapFlag.NO_PREALLOC if kind == "LPM_TRIE" else 0,
    }
    return KernelMap(MapType[kind], **(size | changed))


def program(type: ProgramType = ProgramType.XDP, text: str = "r0 = 0\nexit") -> KernelProgram:
    return KernelProgram.load(assemble(text), type=type)
