# SPDX-License-Identifier: Apache-2.0
"""What the families of BPF share: the engines, and how files hold instructions."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterable

from tests.conformance.family import Case

ENGINES = ("reference", "interpreter", "compiled")

Slot = tuple[int, int, int, int]
"""Opcode, both registers (destination in the low half), offset, immediate."""


def bytes_of(case: Case) -> bytes:
    """Return the instructions of a case, however the file holds them."""
    if "insns_hex" in case:
        return bytes.fromhex(case["insns_hex"])
    return zlib.decompress(base64.b64decode(case["insns_zb64"]))


def slots_of(data: bytes) -> list[Slot]:
    """Return the slots of a program of eBPF."""
    return list(struct.iter_unpack("<BBhi", data))


def packed(slots: Iterable[Slot]) -> bytes:
    """Return the bytes of slots."""
    return b"".join(struct.pack("<BBhi", *slot) for slot in slots)
