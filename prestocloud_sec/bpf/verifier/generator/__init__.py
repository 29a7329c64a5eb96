# SPDX-License-Identifier: Apache-2.0
"""Programs for verifiers: some that the kernel takes, some that it refuses, and some that somebody spoiled.

`generate` makes one from a `random.Random`, the same everywhere for the same seed; `mutated` spoils one. About half of
them are refused, nearly all for a reason that needs some thought.

>>> import random
>>> case = generate(random.Random(1))
>>> case == generate(random.Random(1))
True
"""

from __future__ import annotations

import random
from dataclasses import fields, replace

from prestocloud_sec.bpf.isa import (
    Alu,
    AluOp,
    Atomic,
    Branch,
    BranchOp,
    CallHelper,
    Imm,
    ImmKind,
    Instruction,
    LegacyLoad,
    Load,
    LoadAcquire,
    LoadImm64,
    Store,
    StoreRelease,
)
from prestocloud_sec.bpf.verifier.generator.pieces import FUNCTIONS, finish, some, start
from prestocloud_sec.bpf.verifier.generator.tables import MAPS, TYPES
from prestocloud_sec.bpf.verifier.generator.writer import Writer
from prestocloud_sec.bpf.verifier.iterators import ITERATOR_KFUNCS
from prestocloud_sec.bpf.verifier.trials import Cell, Trial, assembled, cells_of
from prestocloud_sec.errors import PrestoCloudError

__all__ = ["MAPS", "generate", "mutated", "numbered"]

_CARELESS = (0.0, 0.0, 0.01, 0.02, 0.04, 0.08)
_WEIGHTS = (12, 8, 6, 4, 2, 1, 1, 1) + (1,) * (len(TYPES) - 8)
_MUTATED = 0.3
_OFFSET = (-8, -4, -1, 1, 2, 4, 8, 16, 512)
_ARITHMETIC = tuple(op for op in AluOp)


def generate(rng: random.Random, *, mutate: float = _MUTATED) -> Trial:
    """Return a program of some 10 to 60 instructions.

    Parameters
    ----------
    rng : random.Random
        Where all choices come from.
    mutate : float
        How likely it is spoiled by `mutated` afterwards.
    """
    target = rng.choices(TYPES, _WEIGHTS)[0]
    writer = Writer(rng, target, rng.choice(_CARELESS))
    start(writer)
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5))):
        some(writer)
    finish(writer)
    case = Trial(writer.finish(FUNCTIONS), target.attach, MAPS)
    return mutated(rng, case) if rng.random() < mutate else case


def numbered(seed: int, number: int) -> Trial:
    """Return the program that has a number among those of a seed, for campaigns."""
    return generate(random.Random(f"{seed} {number}"))  # noqa: S311 - to be repeated, not to be secret


# --- Spoiling.


def mutated(rng: random.Random, case: Trial) -> Trial:
    """Return a program with a few instructions changed, left out, repeated or moved; it still decodes."""
    cells = cells_of(case.program)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _spoil(rng, cells)
    try:
        types = case.program.func_info
        program = assembled(cells, None if types is None else types.btf, case.program.type)
    except PrestoCloudError:
        return case  # a distance does not fit any more
    return replace(case, program=program)


def _spoil(rng: random.Random, cells: list[Cell]) -> None:
    at = rng.randrange(len(cells))
    match rng.randrange(10):
        case 0 if len(cells) > 2:
            gone = cells.pop(at)
            following = cells[min(at, len(cells) - 1)]
            following.type = following.type or gone.type
            for cell in cells:
                if cell.target is gone:
                    cell.target = following
        case 1:
            cells.insert(at + 1, Cell(cells[at].instruction, cells[at].target, cells[at].kfunc))
        case 2:
            other = rng.randrange(len(cells))
            cells[at], cells[other] = cells[other], cells[at]
            cells[at].type, cells[other].type = cells[other].type, cells[at].type
        case 4 if cells[at].kfunc:
            cells[at].kfunc = rng.choice(sorted(ITERATOR_KFUNCS))
        case 3 if cells[at].target is not None:
            cells[at].target = rng.choice(cells)
        case _:
            for _ in range(8):  # most instructions have something to change
                changed = _changed(rng, cells[at].instruction)
                if changed is not None:
                    cells[at].instruction = changed
                    return
                at = rng.randrange(len(cells))


def _changed(rng: random.Random, i: Instruction) -> Instruction | None:
    """Return an instruction with one member changed; None where nothing was found."""
    name = rng.choice([f.name for f in fields(i)] or [""])
    value = getattr(i, name, None)
    changes: dict[str, object] = {}
    if isinstance(value, Imm):
        changes["src"] = Imm(_number(rng, value.value)) if rng.random() < 0.7 else rng.randrange(10)
    elif name in ("dst", "src", "base"):
        changes[name] = rng.randrange(11)
    elif name == "offset" and isinstance(i, Load | Store | Atomic | LoadAcquire | StoreRelease):
        changes[name] = max(min(i.offset + rng.choice(_OFFSET), 32767), -32768)
    elif name == "size":
        changes[name] = rng.choice((1, 2, 4, 8))
    elif name == "bits":
        changes[name] = 96 - i.bits  # type: ignore[union-attr]
    elif isinstance(i, Alu) and name == "op":
        changes[name] = rng.choice(_ARITHMETIC)
    elif isinstance(i, Branch) and name == "op":
        changes[name] = rng.choice(tuple(BranchOp))
    elif isinstance(i, CallHelper):
        changes["number"] = rng.randrange(1, 212)
    elif isinstance(i, LegacyLoad) and name == "imm":
        changes["imm"] = _number(rng, i.imm)
    elif isinstance(i, LoadImm64) and i.kind in (ImmKind.MAP_FD, ImmKind.MAP_VALUE_FD) and name == "value":
        changes["value"] = rng.randrange(len(MAPS))
    elif isinstance(i, LoadImm64) and i.kind is ImmKind.MAP_VALUE_FD and name == "second":
        changes["second"] = max(i.second + rng.choice(_OFFSET), 0)
    try:
        return replace(i, **changes) if changes else None  # type: ignore[arg-type]
    except PrestoCloudError:
        return None


def _number(rng: random.Random, near: int) -> int:
    if rng.random() < 0.6:
        near += rng.choice(_OFFSET)
    else:
        near = rng.choice((0, 1, -1, 0x7FFFFFFF, -0x80000000, near * 2, -near, near ^ 1 << rng.randrange(31)))
    return max(min(near, 0x7FFFFFFF), -0x80000000)
