# SPDX-License-Identifier: Apache-2.0
"""Builders: equal types are one, and types that cannot be added."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.object import BtfBuilder, Encoding
from prestocloud_sec.bpf.object.types import (
    Array,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Function,
    Int,
    Member,
    Parameter,
    Pointer,
    Struct,
    Void,
)


def test_equal_types_are_one() -> None:
    b = BtfBuilder()
    first = b.pointer(b.int_("int", 4))
    assert b.pointer(b.int_("int", 4)) == first
    assert b.int_("int", 4, encoding=Encoding.SIGNED) != b.int_("int", 4)
    assert b.add(Void()) == 0
    assert len(b) == len(b.build()) == 4


WRONG: list[Any] = [
    Int("i", 4, 300),
    Int("i", -1, 8),
    Int("a\0b", 4, 32),
    Int(5, 4, 32),  # type: ignore[arg-type]
    Pointer(-1),
    Pointer("int"),  # type: ignore[arg-type]
    Pointer(1 << 32),
    Array(1, 1 << 32, 1),
    Struct("s", 4, (Member("m", 1, 1 << 32),)),
    Struct("s", 4, (Member("m", 1, 1 << 24, 1),)),
    Struct("s", 4, (Parameter("m", 1),)),  # type: ignore[arg-type]
    Struct("s", 4, (Member("m", 1, 0),) * 65536),
    Struct("s", 4, 5),  # type: ignore[arg-type]
    Enum("e", 4, False, (Enumerator("v", -1),)),
    Enum("e", 4, True, (Enumerator("v", 1 << 31),)),
    Enum64("e", 8, False, (Enumerator("v", 1 << 64),)),
    Function("f", 1, 3),  # type: ignore[arg-type]
    DeclTag("d", 1, -2),
    Member("m", 1, 0),
    "int",
    None,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: repr(value)[:40])
def test_types_that_cannot_be_added(wrong: Any) -> None:
    builder = BtfBuilder()
    with pytest.raises(BpfMisuseError):
        builder.add(wrong)
    assert builder.build() == BtfBuilder().build()


def test_lists_that_cannot_be_built() -> None:
    builder = BtfBuilder()
    waiting = builder.reserve()
    with pytest.raises(BpfMisuseError, match="reserved and not defined"):
        builder.build()
    builder.define(waiting, Pointer(9))
    with pytest.raises(BpfMisuseError, match="refers to type 9"):
        builder.build()
    for id in (waiting, 0, 2, -1):
        with pytest.raises(BpfMisuseError):
            builder.define(id, Pointer(0))
    contradiction = BtfBuilder()
    contradiction.int_("int", 4, bits=33)
    with pytest.raises(BpfMisuseError, match="33 bits"):
        contradiction.build()
    with pytest.raises(BpfMisuseError):
        builder.enum("e", [("A", 1)])  # type: ignore[arg-type]


def test_importing_costs_nothing_heavy() -> None:
    probe = (
        "import sys, prestocloud_sec.bpf.object as o; [getattr(o, name) for name in o.__all__];"
        "print([m for m in sys.modules if m.split('.')[0] in ('numba', 'numpy') or 'bpf.linux' in m])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
