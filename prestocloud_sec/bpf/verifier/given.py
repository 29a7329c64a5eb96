# SPDX-License-Identifier: Apache-2.0
"""What a caller gives `prestocloud_sec.bpf.verifier.verify`, checked, each as the judging wants it.

Everything here raises `BpfMisuseError` for what is of another type, with the name of the argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prestocloud_sec.bpf.classic.program import ClassicProgram
from prestocloud_sec.bpf.errors import BpfMisuseError, DecodeError
from prestocloud_sec.bpf.helpers.prototypes import Prototype
from prestocloud_sec.bpf.isa import LoadImm64
from prestocloud_sec.bpf.maps.base import Map
from prestocloud_sec.bpf.program import Program
from prestocloud_sec.bpf.program_type import ProgramType
from prestocloud_sec.bpf.verifier.maps import MapSpec, spec_of
from prestocloud_sec.bpf.verifier.profiles import Profile
from prestocloud_sec.bpf.verifier.rejection import Rejected, Rule
from prestocloud_sec.wire import pairs_of, shown, whole

__all__ = [
    "check_is",
    "decoded_of",
    "flag_of",
    "helpers_of",
    "kfunc_names_of",
    "license_of",
    "map_specs",
    "processors_of",
    "profile_of",
    "type_of",
]

_MOST_PROCESSORS = 8192
"""What Linux can be built for."""


def check_is(given: object, kind: type, where: str) -> None:
    """Check that something is of a class."""
    if not isinstance(given, kind):
        raise BpfMisuseError(
            f"{shown(given)} does not go there", where=f"verify, {where}", expected=f"a {kind.__name__}"
        )


def flag_of(given: object, where: str) -> bool:
    """Return what is True or False; a number or an array may mean something else to whoever gives it."""
    if not isinstance(given, bool):
        raise BpfMisuseError(
            f"{shown(given)} says neither yes nor no", where=f"verify, {where}", expected="True or False"
        )
    return given


def processors_of(given: object) -> int:
    """Return how many processors there are said to be; 0 if that is not said."""
    return 0 if given is None else whole(given, "processors", 1, _MOST_PROCESSORS, error=BpfMisuseError)


def profile_of(given: object) -> Profile:
    """Return a profile by its name."""
    known = [str(profile) for profile in Profile]
    if not isinstance(given, str) or given not in known:
        raise BpfMisuseError(f"{shown(given)} is no profile", where="verify, profile", expected=" or ".join(known))
    return Profile(given)


def decoded_of(given: Any) -> tuple[Program | None, Rejected | None]:
    """Return the program, or why its bytes are none."""
    if isinstance(given, Program):
        return given, None
    if isinstance(given, ClassicProgram | str):
        classic = isinstance(given, ClassicProgram)
        raise BpfMisuseError(
            f"{'a classic program' if classic else 'text'} is no program to judge",
            where="verify",
            expected="a Program, or its bytes",
            hint="ClassicProgram.to_ebpf() translates one"
            if classic
            else "prestocloud_sec.bpf.assemble makes one of text",
        )
    try:
        return Program.from_bytes(given), None
    except DecodeError as error:
        rejected = Rejected(Rule.STRUCTURE, error.what, "EINVAL", hint=error.expected or "")
        rejected.instruction = error.instruction
        return None, rejected


def type_of(program: Program | None, given: object, context: object) -> ProgramType:
    """Return as what a program is judged: what is given, or its own type, or none in particular with a context."""
    wanted = given if given is not None else program.type if program is not None else None
    if wanted is None and context is not None:
        return ProgramType.UNSPEC
    if isinstance(wanted, str):
        wanted = {kind.name: kind for kind in ProgramType if kind}.get(wanted.upper(), wanted)
    if not isinstance(wanted, ProgramType):
        raise BpfMisuseError(
            f"{shown(wanted)} is no type of program",
            where="verify, type",
            expected="a ProgramType or its name, here or in the program",
        )
    return wanted


def license_of(program: Program | None, given: object) -> str:
    """Return the licence that is given, or the program's own, or the GPL."""
    if given is None:
        return (program.license if program is not None else "") or "GPL"
    check_is(given, str, "license")
    return str(given)


def helpers_of(given: Mapping[int, Prototype]) -> dict[int, Prototype]:
    """Return helpers by their numbers."""
    check_is(given, Mapping, "helpers")
    found: dict[int, Prototype] = {}
    for number, row in pairs_of(given, "helpers", error=BpfMisuseError):
        if type(number) is not int or not isinstance(row, Prototype) or row.number != number or len(row.arguments) > 5:
            raise BpfMisuseError(
                f"{shown(number)}: {shown(row)} is no helper",
                where="verify, helpers",
                expected="a Prototype of at most five arguments under its own number",
            )
        found[number] = row
    return found


def kfunc_names_of(given: Mapping[int, str]) -> dict[int, str]:
    """Return names of kernel functions by their numbers."""
    check_is(given, Mapping, "kfuncs")
    found: dict[int, str] = {}
    for number, name in pairs_of(given, "kfuncs", error=BpfMisuseError):
        if type(number) is not int or not isinstance(name, str):
            raise BpfMisuseError(
                f"{shown(number)}: {shown(name)} is no function of the kernel",
                where="verify, kfuncs",
                expected="names by number",
            )
        found[number] = name
    return found


def map_specs(program: Program, maps: Any) -> tuple[dict[int, MapSpec], dict[int, MapSpec]]:
    """Return what there is to know of a program's maps: by the index of the load, and by the number in it.

    Loads of the same map get the same object, and loads of different ones never, however alike these are: two maps are
    told apart by it.

    Raises
    ------
    BpfMisuseError
        If `maps` holds something that is no map.
    """
    given = _given(maps)
    made: dict[object, MapSpec] = {}
    specs: dict[int, MapSpec] = {}
    by_number: dict[int, MapSpec] = {}
    for index, instruction in enumerate(program.instructions):
        if not isinstance(instruction, LoadImm64) or not instruction.kind.name.startswith("MAP"):
            continue
        name = program.symbols.maps.get(index)
        key: str | int = name if name is not None and name in given else instruction.value
        found = given.get(key)
        if found is None:
            continue
        identity: object = key if isinstance(found, MapSpec) else id(found)
        if identity not in made:
            spec = spec_of(found)
            made[identity] = replace(spec) if isinstance(found, MapSpec) else spec
        specs[index] = by_number[instruction.value] = made[identity]
    return specs, by_number


def _given(maps: Any) -> dict[str | int, Any]:
    """Return the maps that a caller gives, by name or number."""
    if maps is None:
        return {}
    pairs: Any
    if isinstance(maps, Mapping):
        pairs = pairs_of(maps, "maps", error=BpfMisuseError)
    elif isinstance(maps, list | tuple):
        pairs = enumerate(maps)
    else:
        raise BpfMisuseError(
            f"{shown(maps)} are no maps", where="verify, maps", expected="a sequence, or a mapping by name or number"
        )
    given: dict[str | int, Any] = {}
    for key, found in pairs:
        if not isinstance(key, str | int):
            raise BpfMisuseError(f"{shown(key)} names no map", where="verify, maps", expected="names or numbers")
        if not isinstance(found, Map | MapSpec):
            raise BpfMisuseError(
                f"{type(found).__name__} is no map", where=f"verify, maps[{shown(key)}]", expected="a map or a MapSpec"
            )
        given[key] = found
    return given
