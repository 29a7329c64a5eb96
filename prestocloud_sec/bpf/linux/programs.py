# SPDX-License-Identifier: Apache-2.0
"""Programs of the running kernel: loaded past its verifier, and run by it over bytes.

Sources: bpf(2); Linux 6.18, ``kernel/bpf/syscall.c`` (``bpf_prog_load``), ``kernel/bpf/log.c``, ``net/bpf/test_run.c``,
``Documentation/bpf/bpf_prog_run.rst``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prestocloud_sec.bpf.errors import BpfMisuseError, KernelError
from prestocloud_sec.bpf.linux.attr import PROGRAM_INFO, Attr, Command, content, make_buffer
from prestocloud_sec.bpf.linux.functions import describe_functions, needs_btf
from prestocloud_sec.bpf.linux.loading import LoadRequest, load
from prestocloud_sec.bpf.linux.syscall import KernelObject, bpf, read_info
from prestocloud_sec.bpf.object.functions import RECORD
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.program_type import SKB_TYPES, ProgramType
from prestocloud_sec.wire import view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.linux.maps import KernelMap
    from prestocloud_sec.wire import BytesLike

__all__ = ["KernelProgram", "KernelRun", "ProgramInfo"]

_TAKES_PACKETS = SKB_TYPES | {ProgramType.XDP, ProgramType.FLOW_DISSECTOR, ProgramType.NETFILTER}
"""The types that are run over a packet; the others are refused where they are given memory for one."""

_GROWTH = 1 << 16
"""Bytes by which a program may make its packet longer before the kernel has no room to write it."""
_CONTEXT = 512
"""Bytes of memory for a context that the kernel makes up; more than any has."""
_LIVE_FRAMES = 1 << 1
"""``BPF_F_TEST_XDP_LIVE_FRAMES``: packets leave for real, and nothing comes back."""


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel knows of a program.

    Attributes
    ----------
    id, type : int
        Its identifier, and its type by the kernel's number.
    name : str
        Its name.
    tag : str
        A hash of its instructions, 16 hexadecimal digits.
    jited_size, translated_size : int
        Bytes of its machine code (0 without a compiler), and of its instructions after the kernel rewrote them.
    verified : int
        Instructions that the verifier went through (Linux 5.16).
    """

    id: int
    type: int
    name: str
    tag: str
    jited_size: int
    translated_size: int
    verified: int


@dataclass(frozen=True, slots=True)
class KernelRun:
    """What one `KernelProgram.test_run` gave.

    Attributes
    ----------
    value : int
        The low 32 bits of r0.
    packet : bytes
        The packet afterwards; empty for types that take none.
    ctx : bytes
        The context afterwards; empty where the kernel gives none.
    duration_ns : int
        Mean nanoseconds of a run, as the kernel measured it.
    """

    value: int
    packet: bytes
    ctx: bytes
    duration_ns: int


class _Memory:
    """What one run reads and writes: a packet, a context or None, and room in bytes for both afterwards."""

    __slots__ = ("ctx", "ctx_in", "ctx_out", "ctx_room", "packet", "packet_out", "packet_room")

    def __init__(self, packet: bytes, ctx: bytes | None, packet_room: int, ctx_room: int) -> None:
        self.packet, self.ctx, self.packet_room, self.ctx_room = packet, ctx, packet_room, ctx_room
        self.ctx_in, self.ctx_out = make_buffer(ctx or b""), make_buffer(ctx_room)
        self.packet_out = make_buffer(packet_room)

    def fields(self) -> dict[str, object]:
        """Return the fields of the attr that point at it."""
        return {
            "data_size_in": len(self.packet),
            "data_in": make_buffer(self.packet) if self.packet or self.packet_room else None,
            "data_size_out": self.packet_room,
            "data_out": self.packet_out if self.packet_room else None,
            "ctx_size_in": len(self.ctx or b""),
            "ctx_in": self.ctx_in if self.ctx is not None else None,
            "ctx_size_out": self.ctx_room,
            "ctx_out": self.ctx_out if self.ctx_room else None,
        }


class KernelProgram(KernelObject):
    """A program in the running kernel; made by `load`, gone with its last user."""

    __slots__ = ("_log", "_name", "_type")

    _log: str
    _name: str
    _type: ProgramType

    def __init__(self) -> None:
        self._held = []
        raise BpfMisuseError("programs are loaded", where="KernelProgram", hint="KernelProgram.load(program)")

    @classmethod
    def load(
        cls,
        program: Program,
        *,
        type: ProgramType | None = None,
        license: str | None = None,
        name: str | None = None,
        maps: Sequence[KernelMap] | Mapping[str, KernelMap] | Mapping[int, KernelMap] | None = None,
        expected_attach_type: int = 0,
        flags: int = 0,
        log_level: int = 0,
        kernel_version: int = 0,
    ) -> KernelProgram:
        """Hand a program to the kernel's verifier and compiler.

        Parameters
        ----------
        program : Program
            What to load.
        type : ProgramType, optional
            Where it is meant to run; the program's own, where it has one.
        license : str, optional
            The program's own, or ``GPL``. Some helpers are only for programs with a licence that goes with the GPL.
        name : str, optional
            At most 15 letters, digits, ``_`` and ``.``. The program's own is made to fit.
        maps : sequence or mapping of KernelMap, optional
            What its loads of maps mean: a mapping answers by name (`Program.symbols`) or by the number in the load, a
            sequence by that number, which is the position of the name where there are names.
        expected_attach_type : int
            ``enum bpf_attach_type``, for the types that ask for it.
        flags : int
            ``BPF_F_STRICT_ALIGNMENT`` (1), ``BPF_F_ANY_ALIGNMENT`` (2), ``BPF_F_SLEEPABLE`` (16),
            ``BPF_F_XDP_HAS_FRAGS`` (32), ...
        log_level : int
            0: a log only where the program is refused. 1: the path that was refused, 2: all paths with their states,
            4: only statistics.
        kernel_version : int
            ``LINUX_VERSION_CODE``, which kernels before 5.0 want of kprobes.

        Raises
        ------
        LoadError
            If the kernel refuses; with its errno, and the verifier's log.
        BpfMisuseError
            If an argument is of another type, the program has no type, or refers to a map that `maps` does not have.
        UnavailableError
            If bpf(2) cannot be called on this machine at all, or the kernel has no function that the program names.
        """
        level = whole(log_level, "log_level", 0, (1 << 32) - 1, error=BpfMisuseError)
        fields: dict[str, object] = {
            "expected_attach_type": expected_attach_type,
            "prog_flags": flags,
            "kern_version": kernel_version,
        }
        request = LoadRequest.of(program, type=type, license=license, name=name, maps=maps, fields=fields)
        if needs_btf(program):
            types, records, count = describe_functions(program)
            fields |= {"prog_btf_fd": types.fileno(), "func_info": records, "func_info_cnt": count}
            fields["func_info_rec_size"] = RECORD.size
            with types:
                descriptor, log = load(replace(request, fields=fields), level)
        else:
            descriptor, log = load(request, level)
        loaded = cls.__new__(cls)
        KernelObject.__init__(loaded, descriptor)
        loaded._log, loaded._name, loaded._type = log, request.name, request.type
        return loaded

    @property
    def type(self) -> ProgramType:
        """The type it was loaded as."""
        return self._type

    @property
    def name(self) -> str:
        """The name it was loaded with."""
        return self._name

    @property
    def log(self) -> str:
        """What the verifier said; empty where `log_level` was 0."""
        return self._log

    def info(self) -> ProgramInfo:
        """Return what the kernel knows of the program (Linux 4.13).

        Raises
        ------
        KernelError
            If it does not tell.
        """
        info = read_info(self.fileno(), PROGRAM_INFO)
        return ProgramInfo(
            info["id"],
            info["type"],
            info.text("name"),
            info["tag"].to_bytes(8, "little").hex(),
            info["jited_prog_len"],
            info["xlated_prog_len"],
            info["verified_insns"],
        )

    def test_run(
        self,
        packet: BytesLike = b"",
        *,
        ctx: BytesLike | None = None,
        repeat: int = 1,
        flags: int = 0,
        cpu: int = 0,
        batch_size: int = 0,
    ) -> KernelRun:
        """Run the program over a packet that goes nowhere (``BPF_PROG_TEST_RUN``, Linux 4.12).

        Parameters
        ----------
        packet : bytes-like
            With its Ethernet header, at least 14 bytes. Socket filters and ``CGROUP_SKB`` see it without that header.
        ctx : bytes-like, optional
            The context before the run; only some fields may be set, the kernel says EINVAL for others.
        repeat : int
            Times to run it over the same packet; what it did to the packet stays.
        flags, cpu, batch_size : int
            ``BPF_F_TEST_*``, and what they ask for.

        Returns
        -------
        KernelRun
            Of the last run.

        Raises
        ------
        KernelError
            If the kernel refuses: EINVAL for a packet that is too short or a context with a wrong field, ENOTSUPP for a
            type that cannot be run, EINTR where a signal came between two repetitions.
        BpfMisuseError
            If an argument is of another type or does not fit.

        Notes
        -----
        The time is that of the loop in the kernel divided by `repeat`; an empty program takes some of it
        as well. More than one run costs XDP some milliseconds besides, in which the kernel rewrites its dispatcher.
        """
        whole(repeat, "repeat", 1, (1 << 32) - 1, error=BpfMisuseError)
        live = bool(whole(flags, "flags", 0, (1 << 32) - 1, error=BpfMisuseError) & _LIVE_FRAMES)
        context = None if ctx is None else bytes(view_of(ctx, name="ctx"))
        memory = self._memory(bytes(view_of(packet, name="packet")), context, live)
        attr = Attr(
            Command.PROG_TEST_RUN,
            prog_fd=self.fileno(),
            **memory.fields(),
            repeat=repeat if repeat > 1 or self._type in _TAKES_PACKETS else 0,  # others refuse even 1
            flags=flags,
            cpu=cpu,
            batch_size=batch_size,
        )
        result = bpf(Command.PROG_TEST_RUN, attr)
        if result < 0:
            size = len(memory.packet)
            raise KernelError(
                -result,
                f"the kernel does not run it over {size} bytes",
                where=repr(self),
                hint="of a packet it wants 14 bytes or more" if size < 14 and memory.packet_room else None,
            )
        in_place = self._type is ProgramType.SYSCALL  # its context is written where it was read
        return KernelRun(
            attr["retval"],
            content(memory.packet_out, min(attr["data_size_out"], memory.packet_room)),
            content(memory.ctx_in, len(memory.ctx or b""))
            if in_place
            else content(memory.ctx_out, min(attr["ctx_size_out"], memory.ctx_room)),
            attr["duration"],
        )

    def _memory(self, packet: bytes, ctx: bytes | None, live: bool) -> _Memory:
        """Return memory for a run: what this type of program may be given, and no more."""
        # A context that is to be written asks XDP for one that is right, and is refused for raw tracepoints.
        writes_ctx = self._type in SKB_TYPES or (ctx is not None and self._type is ProgramType.XDP)
        return _Memory(
            packet,
            ctx,
            len(packet) + _GROWTH if self._type in _TAKES_PACKETS and not live else 0,
            _CONTEXT if writes_ctx and not live else 0,
        )

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        return f"<KernelProgram {self._type.name}{name}{': closed' if self.closed else ''}>"
