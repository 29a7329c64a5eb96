# SPDX-License-Identifier: Apache-2.0
"""What runs give back: one result, or arrays of them."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.helpers.ids import HelperId
from prestocloud_sec.bpf.isa import CallHelper
from prestocloud_sec.bpf.vm.fault import Fault, FaultKind
from prestocloud_sec.bpf.vm.layout import place_of
from prestocloud_sec.bpf.vm.trace import Trace
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.arena import PacketArena
    from prestocloud_sec.bpf.program import Program

__all__ = ["BatchResult", "Redirect", "Result", "faulting"]

_SHOWN = 16
_TOLD = {
    FaultKind.LIMIT: "the limit of counted instructions is used up",
    FaultKind.TIME: "the time is up",
    FaultKind.DEPTH: "more than eight functions are active",
    FaultKind.HELPER: "a helper does not exist here, or raised an error",
    FaultKind.MAP: "no such map",
    FaultKind.CALL: "the call leads to no function of the program",
    FaultKind.ARGUMENT: "a bad argument",
}
"""What a batch can tell of faults that touched no memory."""
_U32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a redirect helper sent the packet.

    Attributes
    ----------
    target : int
        Number of the interface; with a map, what the map's entry says.
    flags : int
        As the program gave them.
    map : Map or None
        The map that was asked, if one was.
    """

    target: int
    flags: int
    map: Any = None


@dataclass(frozen=True, slots=True)
class Result:
    """How one run ended.

    Attributes
    ----------
    value : int or None
        r0 at the end, 64 bits unsigned; None where there is a fault.
    packet : bytes
        The packet afterwards, from ``data`` to ``data_end``.
    fault : Fault or None
        Why the program was stopped.
    context : bytes
        The context afterwards; empty where there is none.
    redirect : Redirect or None
        What the last redirect helper said.
    log : tuple of str
        What the program printed.
    charged : int
        Instructions counted (see `FaultKind.LIMIT`).
    engine : str
        What ran it.
    trace : Trace or None
        Every step, if that was asked for.
    """

    value: int | None
    packet: bytes
    fault: Fault | None
    context: bytes = b""
    redirect: Redirect | None = None
    log: tuple[str, ...] = ()
    charged: int = 0
    engine: str = ""
    trace: Trace | None = field(default=None, repr=False)

    @property
    def retval(self) -> int | None:
        """The low 32 bits of `value`, which is all that the kernel looks at."""
        return None if self.value is None else self.value & _U32

    def unwrap(self) -> int:
        """Return `value`, or raise the fault.

        Raises
        ------
        FaultError
            If there is a fault.
        """
        if self.fault is not None:
            raise self.fault.error()
        return self.value or 0

    def __repr__(self) -> str:
        if self.fault is not None:
            return f"<Result: fault at {self.fault}>"
        more = f", packet of {len(self.packet)} bytes" if self.packet else ""
        return f"<Result: {self.value:#x}{more}>"


def faulting(program: Program) -> Program | None:
    """Return the program that all faults of its runs are in; None where tail calls may lead to another."""
    tail = any(isinstance(i, CallHelper) and i.number == HelperId.TAIL_CALL for i in program.instructions)
    return None if tail else program


@dataclass(frozen=True, slots=True, eq=False)
class BatchResult:
    """How the runs over a batch of packets ended.

    Attributes
    ----------
    values : ndarray of uint64, shape (k,)
        r0 of each run; 0 where there is a fault.
    faults : ndarray of uint8, shape (k,)
        `FaultKind` of each run; 0 where there is none.
    instructions : ndarray of int32, shape (k,)
        The instruction that a fault is at; -1 where there is none.
    addresses, sizes : ndarray of uint64, shape (k,)
        What a faulting run tried to touch; 0 where that does not apply.
    packets : PacketArena
        The packets afterwards. The arena that was given itself, where the program cannot change packets.
    changed : ndarray of bool, shape (k,)
        Whether bytes or bounds of a packet are other than before.
    engine : str
        What ran it.
    program : Program or None
        Where the instructions of faults are: None where a tail call may have led to another program.
    """

    values: NDArray[np.uint64]
    faults: NDArray[np.uint8]
    instructions: NDArray[np.int32]
    addresses: NDArray[np.uint64]
    sizes: NDArray[np.uint64]
    packets: PacketArena
    changed: NDArray[np.bool_]
    engine: str = ""
    program: Program | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def retvals(self) -> NDArray[np.uint32]:
        """The low 32 bits of `values`, which is all that the kernel looks at."""
        return self.values.astype(np.uint32)

    def fault(self, index: int) -> Fault | None:
        """Return the fault of one run, or None.

        Offsets in the packet count from its first byte as it arrived. What the number of the fault does not tell, such
        as which helper raised what, `prestocloud_sec.bpf.vm.run` tells of the same packet.

        Raises
        ------
        BpfMisuseError
            If there is no such run.
        """
        index = whole(index, "BatchResult.fault", -len(self), len(self) - 1, error=BpfMisuseError)
        number = int(self.faults[index])
        if not number:
            return None
        kind = FaultKind(number)
        at, size = int(self.addresses[index]), int(self.sizes[index])
        at_instruction = int(self.instructions[index])
        slot = None if self.program is None else self.program.slot_of(at_instruction)
        touched = kind in {FaultKind.READ, FaultKind.WRITE}
        if not touched:
            return Fault(kind, at_instruction, message=_TOLD[kind], slot=slot)
        place = place_of(at)
        region, offset = place or (None, None)
        where = "no memory is there" if place is None else f"offset {offset} of the {region}"
        if region == "packet" and not self.changed[index]:
            where += f", which has {int(self.packets.lengths[index])} bytes"
        told = f"{kind.name.lower()} of {size} byte{'' if size == 1 else 's'} at {at:#x}: {where}"
        return Fault(kind, at_instruction, "", at, size, region, offset, told, slot)

    def __repr__(self) -> str:
        return (
            f"<BatchResult: {len(self)} runs, {int(np.count_nonzero(self.faults))} faults, "
            f"{int(np.count_nonzero(self.changed))} packets changed, {self.engine}>"
        )

    def _repr_html_(self) -> str:
        rows = []
        for index in range(min(len(self), _SHOWN)):
            fault = self.fault(index)
            end = f"{int(self.values[index]):#x}" if fault is None else html.escape(str(fault))
            changed = "yes" if self.changed[index] else ""
            rows.append(f"<tr><td>{index}</td><td>{end}</td><td>{changed}</td></tr>")
        more = f"<caption>the first {_SHOWN} of {len(self)}</caption>" if len(self) > _SHOWN else ""
        head = "<tr><th>packet</th><th>result</th><th>changed</th></tr>"
        return f"<table>{more}{head}{''.join(rows)}</table>"
