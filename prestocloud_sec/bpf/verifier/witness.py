# SPDX-License-Identifier: Apache-2.0
r"""Proof of a refusal: inputs with which the reference interpreter really does what a program is refused for.

A verifier refuses what it cannot show to be harmless. Often the harm is real, and then nothing convinces like an
example: this packet, these elements in maps, this clock, and the program reads what is not there.

>>> from prestocloud_sec.bpf import ProgramType, assemble, verify
>>> second = assemble("r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 1)\nexit", type=ProgramType.XDP)
>>> witness = find_witness(second, verify(second))
>>> len(witness.inputs.packet) < 2, witness.instruction
(True, 1)
>>> witness.replay().fault.kind.name
'READ'
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prestocloud_sec.bpf.errors import BpfError, BpfMisuseError
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.verifier.inputs import Inputs, Stage
from prestocloud_sec.bpf.verifier.rejection import Rule
from prestocloud_sec.bpf.verifier.searching import Found, Search
from prestocloud_sec.bpf.verifier.shadows import Stopped, Violated
from prestocloud_sec.bpf.verifier.verdict import Verdict
from prestocloud_sec.bpf.verifier.watching import Watch
from prestocloud_sec.bpf.vm.fault import FaultKind
from prestocloud_sec.bpf.vm.memory import Trap
from prestocloud_sec.bpf.vm.reference import execute
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.bpf.verifier.environment import Environment
    from prestocloud_sec.bpf.vm.fault import Fault
    from prestocloud_sec.bpf.vm.result import Result

__all__ = ["NoWitness", "Witness", "find_witness"]

RUNS = 300
"""Runs that a search makes where nobody says otherwise."""
_MOST_RUNS = 1 << 20
_LONGEST_WAY = 4000
"""Instructions of the longest way that a search follows; of longer ones, the verifier keeps only the end."""
_SHOWN_BYTES = 64
_MEMORY = frozenset({FaultKind.READ, FaultKind.WRITE, FaultKind.MAP, FaultKind.ARGUMENT})
"""What the machine itself stops that touches or hands on what is not there."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Inputs, and what a program does with them.

    Attributes
    ----------
    inputs : Inputs
        Packet, context, elements of maps, and what helpers returned.
    instruction : int
        Index of the instruction that does it.
    rule : Rule
        What it breaks.
    what : str
        What it does, as one sentence.
    registers : tuple of int
        r0 to r10 when that instruction began; addresses are those of the machine.
    fault : Fault or None
        How the machine itself stopped the run; None where it lets such things pass (as a read of a register that holds
        nothing, which are zeros there) and they were seen by the watched run (`prestocloud_sec.bpf.verifier.watching`).
    """

    inputs: Inputs
    instruction: int
    rule: Rule
    what: str
    registers: tuple[int, ...]
    fault: Fault | None
    _stage: Stage = field(repr=False, compare=False)
    _env: Environment = field(repr=False, compare=False)

    def __bool__(self) -> bool:
        return True

    @property
    def slot(self) -> int:
        """Where the instruction begins, in units of eight bytes: the number that texts say."""
        return self._env.program.slot_of(self.instruction)

    def replay(self) -> Result:
        """Run the reference interpreter on the inputs once more.

        Where `fault` is None, the run goes on behind what no program may do, as the machine does not mind.
        """
        machine = self._stage.machine(self.inputs)
        execute(machine)
        return machine.finish("reference")

    def confirmed(self) -> bool:
        """Whether a new run on the inputs does the same."""
        return _replayed(self._stage, self._env, self.inputs, self.instruction, self.rule, self.fault is not None)[0]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, bytes in hexadecimal."""
        inputs = self.inputs
        return {
            "instruction": self.instruction,
            "slot": self.slot,
            "rule": str(self.rule),
            "what": self.what,
            "fault": None if self.fault is None else self.fault.kind.name,
            "packet": inputs.packet.hex(),
            "metadata": inputs.metadata,
            "context": inputs.context.rstrip(b"\0").hex(),
            "maps": [{"map": n, "key": key.hex(), "value": value.hex()} for n, key, value in inputs.maps],
            "returns": list(inputs.returns),
            "registers": [f"{value:#x}" for value in self.registers],
        }

    def __str__(self) -> str:
        return f"with {self._given()}, instruction {self.slot} does it: {self.what}"

    def _given(self) -> str:
        inputs = self.inputs
        told = [_packet(inputs.packet)]
        if inputs.metadata:
            told.append(f"{inputs.metadata} bytes of metadata before it")
        if inputs.context.strip(b"\0"):
            told.append(f"a context of {inputs.context.rstrip(bytes(1))[:_SHOWN_BYTES].hex(' ', 4)}")
        told += [f"in map {number} {key.hex()}: {value.hex(' ', 4)}" for number, key, value in inputs.maps]
        if inputs.returns:
            told.append("helpers that return " + ", ".join(f"{value:#x}" for value in inputs.returns))
        return ", ".join(told)

    def __repr__(self) -> str:
        return f"<Witness: instruction {self.slot}, {self.what}>"

    def _repr_html_(self) -> str:
        inputs = self.inputs
        rows = [("packet", _packet(inputs.packet)), ("context", inputs.context.rstrip(b"\0").hex(" ", 4) or "zeros")]
        rows += [(f"map {number}, key {key.hex()}", value.hex(" ", 4)) for number, key, value in inputs.maps]
        rows += [(f"helper's result {n}", f"{value:#x}") for n, value in enumerate(inputs.returns)]
        rows += [(f"r{n} then", f"{value:#x}") for n, value in enumerate(self.registers) if value]
        cells = "".join(f"<tr><td>{html.escape(a)}</td><td><code>{html.escape(b)}</code></td></tr>" for a, b in rows)
        return f"<p>Instruction {self.slot}: {html.escape(self.what)}.</p><table>{cells}</table>"


@dataclass(frozen=True, slots=True)
class NoWitness:
    """What a search says that found nothing; it is false.

    Attributes
    ----------
    tried : int
        Runs that were made.
    complete : bool
        Whether these were all that the program can do: it is harmless on every input, only the verifier cannot know.
    why : str
        What stood in the way.
    """

    tried: int
    complete: bool
    why: str

    def __bool__(self) -> bool:
        return False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"tried": self.tried, "complete": self.complete, "why": self.why}

    def __str__(self) -> str:
        return f"no witness in {self.tried} runs: {self.why}"


def _packet(packet: bytes) -> str:
    more = "..." if len(packet) > _SHOWN_BYTES else ""
    return f"a packet of {len(packet)} bytes" + (f": {packet[:_SHOWN_BYTES].hex(' ', 4)}{more}" if packet else "")


def find_witness(
    program: Program, verdict: Verdict, maps: Any = None, *, runs: int = RUNS, seed: int = 0
) -> Witness | NoWitness:
    """Look for inputs with which a refused program does what it is refused for.

    Parameters
    ----------
    program : Program
    verdict : Verdict
        Its verdict, with which maps and type are known.
    maps : object
        Not used; maps that are like those that were judged with are made.
    runs : int
        Runs of the interpreter to spend.
    seed : int
        Of what is left to chance.

    Returns
    -------
    Witness or NoWitness
        The latter is false.

    Raises
    ------
    BpfMisuseError
        If the verdict is none, or accepts the program.
    """
    if not isinstance(program, Program) or not isinstance(verdict, Verdict):
        raise BpfMisuseError(
            f"{shown(program)} and {shown(verdict)}", where="find_witness", expected="a Program and its Verdict"
        )
    runs = whole(runs, "runs", 1, _MOST_RUNS, error=BpfMisuseError)
    seed = whole(seed, "seed", 0, (1 << 64) - 1, error=BpfMisuseError)
    del maps
    if verdict.accepted:
        raise BpfMisuseError("the program is accepted", where="find_witness", expected="a program that is refused")
    if verdict.again is None or verdict.instruction is None or verdict.reason is None:
        return NoWitness(0, False, "the program was refused as a whole, before any way through it")
    env = verdict.again()
    program = program.naming(env.kfunc_names)
    if not program.type and env.type:
        symbols = program.symbols
        program = Program(program.instructions, type=env.type, license=program.license, symbols=symbols)
    way = [step.index for step in verdict.path]
    try:
        stage = Stage(program, env.maps)
        search = Search(
            stage, env, verdict.instruction, verdict.reason, way if len(way) < _LONGEST_WAY else (), seed=seed
        )
        found = search.go(runs)
    except BpfError as error:
        return NoWitness(0, False, f"the reference interpreter cannot run it ({error})")
    if found is None:
        why = "no input changes what it does" if search.complete else "none of the inputs tried does it"
        return NoWitness(search.tried, search.complete, why)
    return _confirmed(stage, env, verdict, found, search)


def _confirmed(stage: Stage, env: Environment, verdict: Verdict, found: Found, search: Search) -> Witness | NoWitness:
    """Return a witness, if a new run does the same."""
    at, rule = verdict.instruction, verdict.reason
    if at is None or rule is None:
        return NoWitness(search.tried, False, "nothing is blamed")
    seen = found.violated
    named = seen.rule if seen is not None else rule
    same, fault = _replayed(stage, env, found.inputs, at, named, seen is None)
    if not same:
        return NoWitness(search.tried, False, "what was found does not happen again")
    if fault is None:  # the machine may stop it all the same, for the same reason
        _, fault = _replayed(stage, env, found.inputs, at, named, True)
        fault = fault if fault is not None and fault.instruction == at and fault.kind in _MEMORY else None
    what = fault.message if fault is not None else seen.what if seen is not None else ""
    return Witness(found.inputs, at, named, what, found.registers, fault, stage, env)


def _replayed(
    stage: Stage, env: Environment, inputs: Inputs, at: int, rule: Rule, faults: bool
) -> tuple[bool, Fault | None]:
    """Return whether a run on inputs does it, and the machine's fault."""
    machine = stage.machine(inputs)
    if faults:
        execute(machine)
        fault = machine.finish("reference").fault
        return fault is not None and fault.instruction == at, fault
    run = Watch(machine, stage, env, {}, at, free=False)
    try:
        run.go()
    except Violated as seen:
        return seen.instruction == at and seen.rule is rule, None
    except (Trap, Stopped):
        return False, None
    return False, None
