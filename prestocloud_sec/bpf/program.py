# SPDX-License-Identifier: Apache-2.0
"""A program: decoded once, the same object for the assembler, the machine, the compiler and the loader.

Positions are of two kinds. An *index* counts instructions; a *slot* counts units of eight bytes, of which a 64-bit load
takes two. Jump offsets count slots (RFC 9669, section 4.3), and the kernel's messages do, too; `Program.slot_of` and
`Program.index_at` translate.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfMisuseError, JumpTargetError
from prestocloud_sec.bpf.isa import (
    Branch,
    CallLocal,
    ImmKind,
    Instruction,
    Jump,
    LoadImm64,
    MayGoto,
    decode,
    encode,
)
from prestocloud_sec.bpf.isa.operands import InstructionBase
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.symbols import Symbols, check_symbols
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prestocloud_sec.arena import PacketArena
    from prestocloud_sec.bpf.object.functions import FuncInfo
    from prestocloud_sec.bpf.vm.result import BatchResult, Result
    from prestocloud_sec.wire import BytesLike

__all__ = ["Program", "ProgramType", "Symbols", "target_slot"]

_SHOWN = 4
"""Instructions that the short form of a program shows."""


def target_slot(instruction: Instruction, slot: int) -> int | None:
    """Return the slot that an instruction at `slot` may jump to, call, or take the address of; None if it does not.

    Jumps and local calls count from the instruction's end, the address of a function from the load's second slot, which
    is the same rule: one past the first slot (Linux ``kernel/bpf/verifier.c``, ``add_subprog_and_kfunc``).
    """
    match instruction:
        case Jump() | Branch() | MayGoto() | CallLocal():
            return slot + 1 + instruction.offset
        case LoadImm64(kind=ImmKind.FUNCTION):
            return slot + 1 + instruction.value
        case _:
            return None


def _instructions_of(given: Iterable[Instruction]) -> Iterator[Instruction]:
    """Yield what a caller's iterable holds; the first that is no instruction ends it, however many there are."""
    for index, instruction in enumerate(items_of(given, "Program", "instructions", error=BpfMisuseError)):
        if not isinstance(instruction, InstructionBase):
            raise BpfMisuseError(
                f"{shown(instruction)} is no instruction",
                where=f"Program, element {index}",
                expected="an object of prestocloud_sec.bpf.isa",
            )
        yield instruction


def _target_field(instruction: Instruction) -> str:
    """Return which field of an instruction holds its distance (RFC 9669, sections 4.3 and 5.4)."""
    far = isinstance(instruction, CallLocal | LoadImm64) or (isinstance(instruction, Jump) and instruction.wide)
    return "imm" if far else "off"


def _func_info_class() -> Any:
    """Return `FuncInfo`, which only programs with BTF need."""
    from prestocloud_sec.bpf.object.functions import FuncInfo

    return FuncInfo


class Program:
    """An immutable eBPF program.

    Equality is that of its bytes, and of the names of the kernel functions that it calls by name, for which the bytes
    have no number; other names and types do not count. Any decodable bytes make a program, also one
    that no machine would run: whether jumps lead anywhere is what `targets` checks.

    Parameters
    ----------
    instructions : iterable of Instruction
        The program.
    type : ProgramType, optional
        Where it is meant to run.
    name, license : str
        As the kernel takes them; may be empty.
    symbols : Symbols, optional
        Names of places, functions, maps and kernel functions.
    func_info : FuncInfo, optional
        What BTF says of the program's functions.

    Raises
    ------
    BpfMisuseError
        If an element is not an instruction, a symbol lies outside the program, or an argument is of another type.

    Examples
    --------
    >>> program = Program.from_bytes(bytes.fromhex("b7000000010000009500000000000000"))
    >>> program
    <Program, 2 slots: r0 = 1; exit>
    >>> program.to_bytes().hex()
    'b7000000010000009500000000000000'
    """

    __slots__ = (
        "__weakref__",
        "_by_slot",
        "_bytes",
        "_machines",
        "_starts",
        "_targets",
        "func_info",
        "instructions",
        "license",
        "name",
        "symbols",
        "type",
    )

    instructions: tuple[Instruction, ...]
    type: ProgramType | None
    name: str
    license: str
    symbols: Symbols
    func_info: FuncInfo | None

    def __init__(
        self,
        instructions: Iterable[Instruction],
        *,
        type: ProgramType | None = None,
        name: str = "",
        license: str = "",
        symbols: Symbols | None = None,
        func_info: FuncInfo | None = None,
    ) -> None:
        if not isinstance(instructions, Iterable):
            raise BpfMisuseError(f"{shown(instructions)} is no program", where="Program", expected="instructions")
        for what, given, kind in (
            ("name", name, str),
            ("license", license, str),
            ("type", type, ProgramType),
            ("symbols", symbols, Symbols),
            ("func_info", func_info, _func_info_class() if func_info is not None else object),
        ):
            if given is not None and not isinstance(given, kind):
                raise BpfMisuseError(
                    f"{shown(given)} does not go there",
                    where=f"Program.{what}",
                    expected=f"a {kind.__name__}",
                    hint=_named_type(given) if what == "type" else None,
                )
        decoded = tuple(_instructions_of(instructions))
        starts: list[int] = []
        slot = 0
        self._bytes: bytes = encode(decoded)
        for instruction in decoded:
            starts.append(slot)
            slot += instruction.slots
        by_slot = dict(zip(starts, range(len(starts)), strict=True))
        self._starts: tuple[int, ...] = tuple(starts)
        self._by_slot: dict[int, int] = by_slot
        self._targets: tuple[int | None, ...] | None = None
        self._machines: list[Any] = []  # what `prestocloud_sec.bpf.vm.runs` keeps of it; it dies with the program
        symbols = symbols if symbols is not None else Symbols()
        check_symbols(symbols, decoded, by_slot, slot)
        for attribute, value in {
            "instructions": decoded,
            "type": type,
            "name": name,
            "license": license,
            "symbols": symbols,
            "func_info": func_info,
        }.items():
            object.__setattr__(self, attribute, value)

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"programs do not change: cannot set {name!r}")
        object.__setattr__(self, name, value)

    @classmethod
    def from_bytes(
        cls,
        data: BytesLike,
        *,
        type: ProgramType | None = None,
        name: str = "",
        license: str = "",
        symbols: Symbols | None = None,
        func_info: FuncInfo | None = None,
    ) -> Program:
        """Decode a program from slots of eight bytes, little-endian.

        Raises
        ------
        DecodeError
            If some bytes are no instruction; it says which slot and which field.
        """
        return cls(decode(data), type=type, name=name, license=license, symbols=symbols, func_info=func_info)

    def to_bytes(self) -> bytes:
        """Return the program's bytes; the inverse of `from_bytes`."""
        return self._bytes

    def slot_of(self, index: int) -> int:
        """Return the slot that the instruction with this index starts at.

        Raises
        ------
        BpfMisuseError
            If there is no such instruction.
        """
        if not isinstance(index, int) or not 0 <= index < len(self._starts):
            raise BpfMisuseError(f"no instruction {shown(index)}", expected=f"0..{len(self._starts) - 1}")
        return self._starts[index]

    def index_at(self, slot: int) -> int | None:
        """Return the index of the instruction that starts at `slot`; None within a 64-bit load or outside.

        Raises
        ------
        BpfMisuseError
            If `slot` is no integer.
        """
        if not isinstance(slot, int):
            raise BpfMisuseError(f"{shown(slot)} is no slot", where="Program.index_at", expected="an integer")
        return self._by_slot.get(slot)

    @property
    def targets(self) -> tuple[int | None, ...]:
        """For each instruction, the index of the one it may jump to, call or take the address of, or None.

        Raises
        ------
        JumpTargetError
            If some target is outside the program or within a 64-bit load.
        """
        if self._targets is None:
            self._targets = tuple(map(self._target, range(len(self.instructions))))
        return self._targets

    def _target(self, index: int) -> int | None:
        slot = self._starts[index]
        target = target_slot(self.instructions[index], slot)
        if target is None:
            return None
        found = self._by_slot.get(target)
        if found is None:
            inside = 0 <= target < len(self)
            raise JumpTargetError(
                f"it leads to slot {target}, " + ("within a 64-bit load" if inside else "outside the program"),
                instruction=slot,
                field=_target_field(self.instructions[index]),
                expected=f"the slot of an instruction, 0..{len(self) - 1}",
            )
        return found

    def declaring(self, functions: Mapping[str | int, str], *, structs: str = "") -> Program:
        r"""Return the same program with BTF that says what its functions are.

        Functions that are declared ``static`` are judged from each call of them, the others once and by themselves.

        Parameters
        ----------
        functions : mapping of str or int to str
            Declarations as in C, by the function's name or label, or its slot. The first function is at slot 0; where
            nothing is called, and no address taken, no other begins.
        structs : str
            Structs that these refer to, as in C; see `prestocloud_sec.bpf.object.declarations.declare`.

        Raises
        ------
        BpfMisuseError
            If there is no such function, one is there twice, or an argument is of the wrong type.
        DeclarationError
            If a text declares none.

        Examples
        --------
        >>> from prestocloud_sec.bpf import ProgramType, assemble, verify
        >>> half = assemble("r1 = 8\ncall half\nexit\nhalf:\nr0 = r1\nr0 >>= 1\nexit", type=ProgramType.XDP)
        >>> half = half.declaring({0: "int main(struct xdp_md *ctx)", "half": "int half(int of)"})
        >>> verify(half).accepted
        True
        """
        from prestocloud_sec.bpf.object.declaring import declared

        return declared(self, functions, structs)

    def naming(self, kfuncs: Mapping[int, str]) -> Program:
        """Return the same program with kernel functions called by name where it has their numbers.

        Parameters
        ----------
        kfuncs : mapping of int to str
            Names by the numbers of the kernel that the program was made for: the ids of its functions in its BTF.

        Raises
        ------
        BpfMisuseError
            If the mapping holds something else.

        Examples
        --------
        >>> from prestocloud_sec.bpf.isa import CallKfunc
        >>> Program([CallKfunc(64236)]).naming({64236: "bpf_iter_num_next"})
        <Program, 1 slots: call kfunc bpf_iter_num_next>
        """
        from prestocloud_sec.bpf.naming import named

        return named(self, kfuncs)

    def disassemble(self, *, syntax: str = "kernel", labels: bool | None = None, helpers: bool = False) -> str:
        """Return the program as text; see `prestocloud_sec.bpf.disassembler.disassemble`."""
        from prestocloud_sec.bpf.disassembler import disassemble

        return disassemble(self, syntax=syntax, labels=labels, helpers=helpers)

    def run(
        self, packet: BytesLike = b"", *, ctx: Any = None, maps: Any = None, engine: str = "auto", **options: Any
    ) -> Result:
        r"""Run the program once, over a packet.

        Parameters
        ----------
        packet : bytes-like
            Copied, never changed; what became of it is ``packet`` of the result.
        ctx : bytes-like or mapping, optional
            The context: fields by name, where the program's type has them, otherwise bytes.
        maps : sequence or mapping, optional
            The maps that it refers to: by number, or by name. What the program does to them stays.
        engine : {"auto", "reference", "interpreter", "compiled"}
            What runs it.
        **options
            ``trace=True`` records every step; ``helpers`` are functions of r1 to r5 by number or name; ``limit`` of
            counted instructions, ``time_limit`` in seconds; ``seed``, ``now`` and ``cpu`` let a run be repeated;
            ``network_offset`` and ``mac_offset`` say where headers begin. More about them:
            `prestocloud_sec.bpf.vm.run`, which this calls, and `prestocloud_sec.bpf.vm.Machine`.

        Returns
        -------
        Result
            r0 as ``value``, or what went wrong as ``fault``; packet, context, log.

        Raises
        ------
        ProgramError
            If the program cannot be run at all, for one because a map is missing.
        BpfMisuseError
            If an argument is wrong.

        Examples
        --------
        >>> from prestocloud_sec.bpf import assemble
        >>> second = assemble("r0 = *(u8 *)(r1 + 1)\nexit")
        >>> second.run(b"\x01\x02").value
        2
        >>> second.run(b"\x01").fault.kind.name
        'READ'
        """
        from prestocloud_sec.bpf.vm.runs import run

        return run(self, packet, ctx=ctx, maps=maps, engine=engine, **options)

    def run_batch(self, arena: PacketArena, *, maps: Any = None, engine: str = "auto", **options: Any) -> BatchResult:
        r"""Run the program over every packet of an arena, in order.

        Parameters
        ----------
        arena : PacketArena
            The packets, of `PacketArena.pack` or a `prestocloud_sec.pcap.Capture`. They are not changed: a program that
            can change packets works on a copy.
        maps, engine, **options
            As for `run`, but for ``trace``, ``ctx`` and offsets; and ``workers``: see
            `prestocloud_sec.bpf.vm.run_batch`, which this calls.

        Returns
        -------
        BatchResult
            Arrays: r0 of each run as ``values``, ``faults``, and whether each packet was ``changed``.

        Raises
        ------
        ProgramError, BpfMisuseError
            As for `run`.

        Examples
        --------
        >>> from prestocloud_sec.arena import PacketArena
        >>> from prestocloud_sec.bpf import assemble
        >>> assemble("r0 = r2\nexit").run_batch(PacketArena.pack([b"one", b"four"])).values.tolist()
        [3, 4]
        """
        from prestocloud_sec.bpf.vm.runs import run_batch

        return run_batch(self, arena, maps=maps, engine=engine, **options)

    def __len__(self) -> int:
        return len(self._bytes) // 8

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.instructions)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Program):
            return NotImplemented
        return self._bytes == other._bytes and self.symbols.kfuncs == other.symbols.kfuncs

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self._bytes, self.type, self.name, self.license, self.symbols, self.func_info))

    def __repr__(self) -> str:
        title = "Program" + (f" {self.name!r}" if self.name else "") + (f" {self.type.name}" if self.type else "")
        from prestocloud_sec.bpf.disassembler import line_text

        first = "; ".join(line_text(self, index) for index in range(min(_SHOWN, len(self.instructions))))
        more = "; ..." if len(self.instructions) > _SHOWN else ""
        return f"<{title}, {len(self)} slots: {first}{more}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.disassemble())}</pre>"


def _named_type(given: object) -> str | None:
    """Return a hint for the type that a text names."""
    name = given.upper().replace(" ", "_") if isinstance(given, str) else ""
    return f"ProgramType.{name}" if name in ProgramType.__members__ else None


def _rebuild(
    data: bytes,
    type: ProgramType | None,
    name: str,
    license: str,
    symbols: Symbols,
    func_info: FuncInfo | None,
) -> Program:
    return Program.from_bytes(data, type=type, name=name, license=license, symbols=symbols, func_info=func_info)
