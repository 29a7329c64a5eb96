# SPDX-License-Identifier: Apache-2.0
"""Running programs without thinking about engines: `run` and `run_batch`, and how ``engine="auto"`` chooses.

Machines are kept by each program as long as it lives, for the maps and options it was last run with, so that a second
run costs no set-up. With ``auto``, a program is interpreted at first and compiled once it has run `HOT` times, or at
once for a batch of `LARGE` packets or more; where numba or llvmlite cannot be imported, the readable engine takes their
place.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.vm.arguments import given_maps, pairs_of
from prestocloud_sec.bpf.vm.batch_room import copies_of
from prestocloud_sec.bpf.vm.layout import MAX_MAPS
from prestocloud_sec.bpf.vm.machine import Machine
from prestocloud_sec.bpf.vm.result import BatchResult, Result, faulting
from prestocloud_sec.bpf.vm.trace import Trace
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["ENGINES", "HOT", "LARGE", "one_by_one", "run", "run_batch"]

ENGINES: Mapping[str, str] = {
    "reference": "prestocloud_sec.bpf.vm.reference",
    "interpreter": "prestocloud_sec.bpf.vm.interpreter",
    "compiled": "prestocloud_sec.bpf.vm.compiler",
}
"""Each engine's module, which has ``execute(machine)``."""
HOT = 64
"""Runs after which ``auto`` compiles a program."""
LARGE = 256
"""Packets of a batch for which ``auto`` compiles at once."""
_MOST_KEPT = 4
_SPARE_MAPS = 16
"""Numbers of maps that are free when a run begins, for what it finds in maps of maps."""
_MOST_MET = 256
"""Programs that a kept machine may have met in program arrays."""
_MOST_WORKERS = 1 << 16
_OPTIONS = frozenset({"helpers", "limit", "time_limit", "seed", "now", "cpu"})
"""Arguments of `Machine` that are options of a run."""

Execute = Callable[[Machine], None]


class _Kept:
    """A machine that is kept, how often it ran, and whether it runs now."""

    __slots__ = ("_maps", "_programs", "key", "lock", "machine", "runs")

    def __init__(self, key: tuple[Any, ...], machine: Machine) -> None:
        self.key = key
        self.machine = machine
        self.runs = 0
        self.lock = threading.Lock()
        self._maps, self._programs = len(machine.maps), len(machine.programs)

    @property
    def crowded(self) -> bool:
        """Whether runs have met so many maps and programs, of which some may be gone, that a new machine is due.

        A machine keeps the numbers of all that it ever met, out of maps of maps and program arrays.
        """
        maps, programs = len(self.machine.maps), len(self.machine.programs)
        return maps > max(self._maps, MAX_MAPS - _SPARE_MAPS) or programs > self._programs + _MOST_MET


_LOADED: dict[str, Execute] = {}


@contextlib.contextmanager
def _machine(program: Program, maps: Any, options: dict[str, Any]) -> Iterator[_Kept]:
    """Lend a machine for these maps and options, kept from an earlier call where one is that does not run now."""
    kept = _kept(program, maps, options)
    if kept.lock.acquire(blocking=False):
        try:
            yield kept
        finally:
            kept.lock.release()
    else:  # in another thread, or this call comes from a helper of that run
        yield _Kept(kept.key, Machine(program, maps=maps, **options))


def _kept(program: Program, maps: Any, options: dict[str, Any]) -> _Kept:
    key = _key(maps, options)
    kept: list[_Kept] = program._machines
    runs = 0
    for candidate in tuple(kept):
        if candidate.key == key:
            if not candidate.crowded:
                return candidate
            runs = candidate.runs
            with contextlib.suppress(ValueError):  # another thread was first
                kept.remove(candidate)
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise BpfMisuseError(
            f"there is no option {shown(min(unknown))}", where="run", expected=", ".join(sorted(_OPTIONS))
        )
    made = _Kept(key, Machine(program, maps=maps, **options))
    made.runs = runs
    kept.insert(0, made)
    del kept[_MOST_KEPT:]
    return made


def _key(maps: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells two calls apart: the maps and helpers by identity (the machine keeps them alive)."""
    if maps is None:
        told: tuple[Any, ...] = ()
    elif type(maps) is list or type(maps) is tuple:
        told = tuple(map(id, maps))
    else:
        told = tuple((name, id(value)) for name, value in given_maps(maps).items())
    chosen = tuple(
        (name, _by_identity(value) if name == "helpers" else _told(value)) for name, value in sorted(options.items())
    )
    return (told, chosen)


def _by_identity(helpers: object) -> tuple[object, ...]:
    """Return what tells helpers apart; what is no mapping, or has other keys, is refused by the machine."""
    if not isinstance(helpers, Mapping):
        return _told(helpers)
    pairs = pairs_of(helpers, "helpers")
    return tuple((name if isinstance(name, int | str) else id(name), id(function)) for name, function in pairs)


def _told(value: object) -> tuple[object, ...]:
    """Return what tells an option's values apart; what is no plain number is refused by the machine.

    By identity goes only what is refused: nothing keeps it alive, and another object may have its identity later.
    """
    if isinstance(value, np.integer):
        value = int(value)
    return (type(value), value) if isinstance(value, int | float | str | None) else (type(value), id(value))


def _engine(name: str) -> Execute:
    found = _LOADED.get(name)
    if found is None:
        found = _LOADED[name] = importlib.import_module(ENGINES[name]).execute
    return found


def _check_engine(engine: object) -> str:
    if isinstance(engine, str) and (engine == "auto" or engine in ENGINES):
        return engine
    raise BpfMisuseError(f"{shown(engine)} is no engine", where="engine", expected=" or ".join(("auto", *ENGINES)))


def _check_program(program: object) -> None:
    if not isinstance(program, Program):
        raise BpfMisuseError(f"{type(program).__name__} is no program", where="run", expected="a Program")


def _choose(engine: str, hot: bool) -> str:
    """Return the engine to use; for ``auto``, the best that can be loaded."""
    if engine != "auto":
        return engine
    for name in ("compiled", "interpreter") if hot else ("interpreter",):
        try:
            _engine(name)
        except ImportError:
            continue
        return name
    return "reference"


def run(
    program: Program,
    packet: BytesLike = b"",
    *,
    ctx: Any = None,
    maps: Any = None,
    engine: str = "auto",
    trace: bool = False,
    network_offset: int | None = None,
    mac_offset: int | None = None,
    **options: Any,
) -> Result:
    r"""Run a program once.

    Parameters
    ----------
    program : Program
        What to run. Its type decides what r1 is: with no type the packet's address (and r2 its length), otherwise the
        context.
    packet : bytes-like
        Copied, never changed; what became of it is in the result.
    ctx : bytes-like or mapping, optional
        The context; see `Machine.start`.
    maps : sequence or mapping, optional
        See `Machine`; what the program does to them stays.
    engine : str
        ``reference`` (readable), ``interpreter``, ``compiled``, or ``auto``.
    trace : bool
        Record every step, on the reference engine.
    network_offset, mac_offset : int, optional
        Where headers begin; see `Machine.start`.
    **options
        Further arguments of `Machine`: ``helpers``, ``limit``, ``time_limit``, ``seed``, ``now``, ``cpu``.

    Raises
    ------
    ProgramError
        If the program cannot be run at all; what goes wrong in a run is the result's `Fault`.
    BpfMisuseError
        If an argument is wrong.

    Examples
    --------
    >>> from prestocloud_sec.bpf import assemble
    >>> run(assemble("r0 = *(u8 *)(r1 + 1)\nexit"), b"\x01\x02").value
    2
    """
    engine = _check_engine(engine)
    _check_program(program)
    if not isinstance(trace, bool):
        raise BpfMisuseError(f"{shown(trace)} says nothing of a trace", where="trace", expected="True or False")
    if trace and engine not in {"auto", "reference"}:
        raise BpfMisuseError(f"{shown(engine)} records no steps", where="trace", expected="engine='reference'")
    with _machine(program, maps, options) as kept:
        machine = kept.machine
        machine.start(packet, ctx, network_offset=network_offset, mac_offset=mac_offset)
        if trace:
            return _traced(machine)
        kept.runs += 1
        chosen = _choose(engine, kept.runs > HOT)
        _engine(chosen)(machine)
        return machine.finish(chosen)


def _traced(machine: Machine) -> Result:
    from prestocloud_sec.bpf.vm.reference import execute

    steps = Trace()
    execute(machine, steps)
    result = machine.finish("reference", steps)
    if result.fault is not None:
        steps.reason = result.fault.message
    return result


def run_batch(
    program: Program,
    arena: PacketArena,
    *,
    maps: Any = None,
    engine: str = "auto",
    workers: int | None = None,
    **options: Any,
) -> BatchResult:
    """Run a program over every packet of an arena, in order; maps keep what each run did to them.

    Parameters
    ----------
    program : Program
        What to run.
    arena : PacketArena
        The packets. They are not changed: a program that can change packets works on a copy.
    maps, engine, **options
        See `run`.
    workers : int, optional
        Threads that may share the batch, on the compiled engine, where no run can see another (the program only reads,
        and so do its lookups in arrays, hashes and LPM tries); as many as processors by default. 1: this one alone.

    Raises
    ------
    ProgramError, BpfMisuseError
        See `run`.
    """
    engine = _check_engine(engine)
    _check_program(program)
    if not isinstance(arena, PacketArena):
        raise BpfMisuseError(
            f"{type(arena).__name__} is no arena",
            where="run_batch",
            expected="a PacketArena",
            hint="prestocloud_sec.arena.PacketArena.pack makes one of packets",
        )
    if workers is not None:
        workers = whole(workers, "workers", 1, _MOST_WORKERS, error=BpfMisuseError)
    chosen = _choose(engine, len(arena) >= LARGE)
    with _machine(program, maps, options) as kept:
        if chosen == "reference":
            return one_by_one(kept.machine, arena, chosen)
        _engine(chosen)
        batch = importlib.import_module("prestocloud_sec.bpf.vm.batch")
        result: BatchResult = batch.run_batch(kept.machine, arena, chosen, workers)
        return result


def one_by_one(machine: Machine, arena: PacketArena, engine: str) -> BatchResult:
    """Run an engine over each packet by itself: what every batch must be equal to."""
    copies_of(arena)
    execute = _engine(engine)
    count = len(arena)
    values = np.zeros(count, np.uint64)
    faults, instructions = np.zeros(count, np.uint8), np.full(count, -1, np.int32)
    addresses, sizes = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    changed = np.zeros(count, np.bool_)
    packets = []
    for index in range(count):
        machine.start(arena[index])
        execute(machine)
        result = machine.finish(engine)
        packets.append(result.packet)
        changed[index] = result.packet != bytes(arena[index])
        if result.fault is None:
            values[index] = result.value or 0
            continue
        faults[index], instructions[index] = result.fault.kind, result.fault.instruction
        addresses[index], sizes[index] = result.fault.address or 0, result.fault.size or 0
    after = PacketArena.pack(packets) if changed.any() else arena
    return BatchResult(
        values, faults, instructions, addresses, sizes, after, changed, engine, faulting(machine.program)
    )
