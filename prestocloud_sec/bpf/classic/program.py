# SPDX-License-Identifier: Apache-2.0
"""A classic program: decoded once, checked when it is to run, translated to eBPF when it is to run fast."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.classic.checker import check_instructions, check_profile
from prestocloud_sec.bpf.classic.codec import decode, decode_fields, encode, fields_of
from prestocloud_sec.bpf.classic.instructions import ClassicInstruction, InstructionBase
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic.metadata import PacketMetadata
    from prestocloud_sec.bpf.classic.seccomp import SeccompData
    from prestocloud_sec.bpf.program import Program
    from prestocloud_sec.wire import BytesLike

__all__ = ["ClassicProgram", "check"]

_SHOWN = 4
"""Instructions that the short form of a program shows."""


def _instructions_of(given: Iterable[ClassicInstruction]) -> Iterator[ClassicInstruction]:
    """Yield what a caller's iterable holds; the first that is no instruction ends it, however many there are."""
    for index, instruction in enumerate(items_of(given, "ClassicProgram", "instructions", error=BpfMisuseError)):
        if not isinstance(instruction, InstructionBase):
            raise BpfMisuseError(
                f"{shown(instruction)} is no instruction",
                where=f"ClassicProgram, element {index}",
                expected="a classic instruction",
            )
        yield instruction


class ClassicProgram:
    r"""An immutable classic BPF program.

    Equality and hash are those of its bytes. Anything that decodes makes a program, also one that the kernel refuses;
    `check` tells, and `run` and `to_ebpf` begin with it.

    Parameters
    ----------
    instructions : iterable of ClassicInstruction
        The program.

    Raises
    ------
    BpfMisuseError
        If an element is not an instruction.

    Examples
    --------
    >>> program = ClassicProgram.from_ddd("4,40 0 0 12,21 0 1 2048,6 0 0 65535,6 0 0 0")
    >>> program
    <ClassicProgram, 4 instructions: ldh [12]; jne #0x800, +1; ret #0xffff; ret #0x0>
    >>> program.run(bytes(12) + b"\x08\x00")
    65535
    >>> program.run(bytes(12) + b"\x08\x06")
    0
    """

    __slots__ = ("__weakref__", "_bytes", "_checked", "_translated", "instructions")

    instructions: tuple[ClassicInstruction, ...]

    def __init__(self, instructions: Iterable[ClassicInstruction]) -> None:
        if not isinstance(instructions, Iterable):
            raise BpfMisuseError(
                f"{shown(instructions)} is no program", where="ClassicProgram", expected="instructions"
            )
        decoded = tuple(_instructions_of(instructions))
        self._bytes: bytes = encode(decoded)
        self._checked: set[str] = set()
        self._translated: dict[str, Program] = {}
        object.__setattr__(self, "instructions", decoded)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"programs do not change: cannot set {name!r}")
        object.__setattr__(self, name, value)

    @classmethod
    def from_bytes(cls, data: BytesLike) -> ClassicProgram:
        """Decode a program from an array of ``struct sock_filter``: code (u16), jt, jf (u8), k (u32), little-endian.

        Raises
        ------
        ClassicError
            If some bytes are no instruction; it says which and which field.
        """
        return cls(decode(data))

    def to_bytes(self) -> bytes:
        """Return the program's bytes; the inverse of `from_bytes`."""
        return self._bytes

    @classmethod
    def from_ddd(cls, text: str) -> ClassicProgram:
        """Read what ``tcpdump -ddd`` prints: a count, then four decimal numbers to a line (or between commas).

        Raises
        ------
        AssemblyError
            If it is no such text; with line and column.
        ClassicError
            If an opcode is unknown.
        """
        from prestocloud_sec.bpf.classic.listing import read_ddd

        return cls(decode_fields(fields, index) for index, fields in enumerate(read_ddd(text)))

    @classmethod
    def from_dd(cls, text: str) -> ClassicProgram:
        """Read what ``tcpdump -dd`` prints: initialisers of C, ``{ 0x28, 0, 0, 0x0000000c },``.

        Raises
        ------
        AssemblyError
            If it is no such text; with line and column.
        ClassicError
            If an opcode is unknown.
        """
        from prestocloud_sec.bpf.classic.listing import read_dd

        return cls(decode_fields(fields, index) for index, fields in enumerate(read_dd(text)))

    def to_ddd(self) -> str:
        """Return the program as ``tcpdump -ddd`` prints it."""
        from prestocloud_sec.bpf.classic.listing import write_ddd

        return write_ddd(map(fields_of, self.instructions))

    def to_dd(self) -> str:
        """Return the program as ``tcpdump -dd`` prints it."""
        from prestocloud_sec.bpf.classic.listing import write_dd

        return write_dd(map(fields_of, self.instructions))

    def disassemble(self) -> str:
        """Return the program as text; see `prestocloud_sec.bpf.classic.disassembler.disassemble`."""
        from prestocloud_sec.bpf.classic.disassembler import disassemble

        return disassemble(self)

    def check(self, profile: str = "socket") -> None:
        """Refuse the program if the kernel would.

        Parameters
        ----------
        profile : {"socket", "seccomp"}
            As a filter of packets, or of system calls.

        Raises
        ------
        ClassicError
            With the kernel's errno and the instruction that breaks a rule.
        BpfMisuseError
            If there is no such profile.
        """
        check_profile(profile)
        if profile not in self._checked:
            check_instructions(self.instructions, profile)
            self._checked.add(profile)

    def run(self, packet: BytesLike, *, metadata: PacketMetadata | None = None) -> int:
        """Run the program over a packet, with the readable interpreter.

        Parameters
        ----------
        packet : bytes-like
            The packet.
        metadata : PacketMetadata, optional
            What ancillary loads see; without it, what `PacketMetadata.of_frame` makes of an Ethernet frame.

        Returns
        -------
        int
            What the program returns, 32 bits unsigned: for a socket, the bytes to keep.

        Raises
        ------
        ClassicError
            If the kernel would refuse the program.
        BpfMisuseError
            If `metadata` is something else.
        """
        from prestocloud_sec.bpf.classic.reference import run

        return run(self, packet, metadata)

    def run_seccomp(self, data: SeccompData | BytesLike) -> int:
        """Run the program over a system call.

        Parameters
        ----------
        data : SeccompData or bytes-like
            The call; as bytes, the 64 of ``struct seccomp_data`` in this machine's byte order.

        Returns
        -------
        int
            Action and data; see `prestocloud_sec.bpf.classic.seccomp`.

        Raises
        ------
        ClassicError
            If the kernel would refuse the program as a seccomp filter.
        BpfMisuseError
            If the data has another size.
        """
        from prestocloud_sec.bpf.classic.reference import run_seccomp

        return run_seccomp(self, data)

    def to_ebpf(self, profile: str = "socket") -> Program:
        """Translate the program, as the kernel does before it runs one.

        See `prestocloud_sec.bpf.classic.convert`. The same object is returned each time.

        Parameters
        ----------
        profile : {"socket", "seccomp"}
            A filter of packets becomes a program of type ``SOCKET_FILTER``; a filter of system calls one without a
            type, whose packet is the ``struct seccomp_data``.

        Raises
        ------
        ClassicError
            If the kernel would refuse the program.
        BpfMisuseError
            If there is no such profile.
        """
        self.check(profile)
        found = self._translated.get(profile)
        if found is None:
            from prestocloud_sec.bpf.classic.convert import convert

            found = self._translated[profile] = convert(self, profile)
        return found

    def run_batch(self, arena: Any, *, engine: str = "auto", **options: Any) -> Any:
        """Run the translated program over every packet of an arena; see `prestocloud_sec.bpf.vm.run_batch`."""
        return self.to_ebpf().run_batch(arena, engine=engine, **options)

    def __len__(self) -> int:
        return len(self.instructions)

    def __iter__(self) -> Iterator[ClassicInstruction]:
        return iter(self.instructions)

    def __eq__(self, other: object) -> bool:
        return self._bytes == other._bytes if isinstance(other, ClassicProgram) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self._bytes,))

    def __repr__(self) -> str:
        from prestocloud_sec.bpf.classic.disassembler import instruction_text

        parts = [instruction_text(instruction) for instruction in self.instructions[:_SHOWN]]
        if len(self) > _SHOWN:
            parts.append("...")
        return f"<ClassicProgram, {len(self)} instructions{': ' * bool(parts)}{'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.disassemble())}</pre>"


def _rebuild(data: bytes) -> ClassicProgram:
    return ClassicProgram.from_bytes(data)


def check(program: ClassicProgram, profile: str = "socket") -> None:
    r"""Refuse a program if the kernel would; see `ClassicProgram.check`.

    Raises
    ------
    ClassicError
        With the kernel's errno and the instruction that breaks a rule.
    BpfMisuseError
        If it is no program, or there is no such profile.

    Examples
    --------
    >>> from prestocloud_sec.bpf.classic import assemble
    >>> check(assemble("ld #1\nlsh #32\nret a"))
    Traceback (most recent call last):
    ...
    prestocloud_sec.bpf.errors.ClassicError: instruction 1, field k: lsh by 32; expected 0..31
    """
    if not isinstance(program, ClassicProgram):
        raise BpfMisuseError(f"{shown(program)} is no program", where="check", expected="a ClassicProgram")
    program.check(profile)
