# SPDX-License-Identifier: Apache-2.0
"""The running kernel as an oracle of classic filters: a socket's filter decides how many bytes of a packet are kept.

Attaching a filter needs no right. The kernel translates it, runs it, and keeps as many bytes as it returned.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prestocloud_sec.bpf.classic import (
    Alu,
    ClassicInstruction,
    ClassicProgram,
    Operation,
    PacketMetadata,
    Register,
    Return,
)
from prestocloud_sec.bpf.errors import LoadError
from prestocloud_sec.bpf.linux import attach_classic

UNIX = PacketMetadata()
"""What packets between two AF_UNIX sockets have: no protocol, no device, no link-layer header."""
LONG = 300
"""Length of a packet that can show any byte as its length."""


class Filtered:
    """A pair of sockets, the second with a filter."""

    def __init__(self) -> None:
        self.sender, self.receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.receiver.setblocking(False)

    def refusal(self, code: bytes) -> str | None:
        """Attach a program; return the errno if the kernel refuses it."""
        try:
            attach_classic(self.receiver, code)
        except LoadError as error:
            return error.symbol
        return None

    def kept(self, packet: bytes) -> int:
        """Return how many bytes of a packet are kept. A dropped one is an error for the sender here, or nothing."""
        try:
            self.sender.send(packet)
            return len(self.receiver.recv(1 << 17))
        except (PermissionError, BlockingIOError):
            return 0


@contextmanager
def filtered() -> Iterator[Filtered]:
    pair = Filtered()
    with pair.sender, pair.receiver:
        yield pair


def showing(byte: int) -> Sequence[ClassicInstruction]:
    """Return the end of a program that returns 1 more than a byte of A."""
    return (Alu(Operation.RSH, 8 * byte), Alu(Operation.AND, 0xFF), Alu(Operation.ADD, 1), Return(Register.A))


def shown_by_kernel(program: ClassicProgram, packet: bytes) -> list[int]:
    """Return how much the kernel keeps of a packet for each byte of A at a program's end (which is not yet there)."""
    with filtered() as pair:
        kept = []
        for byte in range(4):
            assert pair.refusal(ClassicProgram([*program, *showing(byte)]).to_bytes()) is None
            kept.append(pair.kept(packet))
    return kept


def shown_here(program: ClassicProgram, packet: bytes) -> list[int]:
    """Return the same by the readable interpreter."""
    ended = [ClassicProgram([*program, *showing(byte)]) for byte in range(4)]
    return [min(program.run(packet, metadata=UNIX), len(packet)) for program in ended]


def fork() -> int:
    """Fork; the child must do no more than a few calls and ``os._exit``, so that other threads do not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
