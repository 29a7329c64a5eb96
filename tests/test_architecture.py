# SPDX-License-Identifier: Apache-2.0
"""The house keeps its floors: imports run downward, pillars never touch each other, protocol comes before I/O.

The rules are read off the source with `ast`, so that an import inside a function, or for the type checker, counts too.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "prestocloud_sec"

FLOORS: dict[str, int] = {
    **dict.fromkeys(("", "errors", "wire", "arena", "pcap", "_jit", "_lazy"), 0),
    **dict.fromkeys(("cjdns", "bpf", "tpm"), 1),
    **dict.fromkeys(("perimeter", "onboarding", "credentials", "authorization", "risk", "placement"), 2),
    **dict.fromkeys(("demo", "agent"), 3),
    **dict.fromkeys(("cli", "__main__", "notebook", "testing"), 4),
}
"""The floor of each part of the package; the package's own ``__init__`` is the part with no name."""

STANDS_ON: dict[str, set[str]] = {"perimeter": {"bpf"}, "onboarding": {"cjdns", "tpm"}, "credentials": {"tpm"}}
"""The pillars that a part of the platform may use; one that is not named here may use none."""

SAME_FLOOR = {("__main__", "cli")}
"""Parts of one floor where one may import the other; besides, the parts of the ground may import each other."""

EDGES = {
    "cjdns": ("net",),
    "bpf": ("linux",),
    "tpm": ("transport", "client.asynchronous", "client.blocking", "client.opening"),
}
"""The folders and modules of each pillar that hold its I/O."""

IO_LIBRARIES = {"asyncio", "fcntl", "http", "multiprocessing", "select", "selectors", "socket", "ssl", "subprocess"}
FACE_LIBRARIES = {"click", "rich"}
HEAVY_LIBRARIES = {"numba", "llvmlite", "matplotlib", "ortools"}


@dataclass(frozen=True)
class Import:
    """One import of a module: where it stands, what it names, and whether importing the file carries it out.

    `is_listed` is true of the rows of a lazy package's table of names, which stand there for type checkers only: a
    package may hand on the names of its edges so, and does not come to them itself.
    """

    module: str
    line: int
    target: str
    at_top: bool
    is_listed: bool


@cache
def modules() -> dict[str, Path]:
    """Return the dotted name of every module of the package with its file."""
    found = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(), str(modules()[module]))


def runs_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that importing the module carries out (functions are not, nor what is for type checkers)."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from runs_at_import(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in ("body", "orelse", "finalbody"):
                yield from runs_at_import(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from runs_at_import(handler.body)


def targets(module: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the full names of what a statement imports; a name that is a module of ours counts as that module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        package = module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]
        kept = package.split(".")[: len(package.split(".")) - (node.level - 1)]
        base = ".".join([*kept, *([base] if base else [])])
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules() else base for alias in node.names]


def names_of_lazy_package(module: str) -> Iterator[ast.stmt]:
    """Yield the imports for type checkers by which a lazy package tells the names that it hands on."""
    if "_HOMES: dict" in modules()[module].read_text():
        for statement in tree(module).body:
            if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
                yield from statement.body


@cache
def imports(module: str) -> tuple[Import, ...]:
    top = {id(statement) for statement in runs_at_import(tree(module).body)}
    listed = {id(statement) for statement in names_of_lazy_package(module)}
    return tuple(
        Import(module, node.lineno, target, id(node) in top, id(node) in listed)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for target in targets(module, node)
    )


def all_imports() -> Iterator[Import]:
    for module in modules():
        yield from imports(module)


def part_of(module: str) -> str:
    """Return the part of the house a module of ours belongs to."""
    return [*module.split("."), ""][1]


def is_ours(target: str) -> bool:
    return target.split(".")[0] == PACKAGE


def is_edge(module: str) -> bool:
    _, _, inner = module.partition(f".{part_of(module)}.")
    return any(f"{inner}.".startswith(f"{edge}.") for edge in EDGES.get(part_of(module), ()))


def refusals(problems: Iterator[str]) -> str:
    return "\n".join(problems)


def may_import(importer: str, imported: str) -> bool:
    above, below = FLOORS[importer], FLOORS[imported]
    if importer == imported or (importer, imported) in SAME_FLOOR or above == below == 0:
        return True
    if above == 2 and below == 1:
        return imported in STANDS_ON.get(importer, set())
    return below < above


def test_every_part_has_a_floor() -> None:
    assert {part_of(module) for module in modules()} <= set(FLOORS)


def test_imports_run_downward() -> None:
    wrong = refusals(
        f"{i.module}:{i.line} imports {i.target}"
        for i in all_imports()
        if is_ours(i.target) and not may_import(part_of(i.module), part_of(i.target))
    )
    assert not wrong, f"upward or sideways:\n{wrong}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("cjdns", "errors", True),
        ("arena", "wire", True),
        ("cli", "demo", True),
        ("demo", "cjdns", True),
        ("perimeter", "bpf", True),
        ("cjdns", "bpf", False),
        ("errors", "cjdns", False),
        ("risk", "cjdns", False),
        ("perimeter", "risk", False),
        ("demo", "cli", False),
        ("testing", "cli", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, *, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


def test_only_the_command_line_imports_its_libraries() -> None:
    wrong = refusals(
        f"{i.module}:{i.line} imports {i.target}"
        for i in all_imports()
        if i.target.split(".")[0] in FACE_LIBRARIES and part_of(i.module) != "cli"
    )
    assert not wrong, wrong


def test_heavy_libraries_are_imported_where_they_are_first_needed() -> None:
    heavy = {i.module for i in all_imports() if i.at_top and i.target.split(".")[0] in HEAVY_LIBRARIES}
    while True:  # whoever imports a heavy module at its top must itself be imported lazily
        more = {i.module for i in all_imports() if i.at_top and i.target in heavy} - heavy
        if not more:
            break
        heavy |= more
    packages = {module for module in heavy if modules()[module].name == "__init__.py"}
    assert not packages, f"importing these costs a heavy library: {sorted(packages)}"
    public = {
        f"{PACKAGE}.{pillar}.{home}" for pillar in EDGES if (ROOT / PACKAGE / pillar).is_dir() for home in homes(pillar)
    }
    assert not heavy & public, f"a public name's module costs a heavy library: {sorted(heavy & public)}"


def homes(pillar: str) -> set[str]:
    """Return the modules that a pillar's ``__init__`` takes its public names from."""
    for node in ast.walk(tree(f"{PACKAGE}.{pillar}")):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_HOMES" and node.value is not None:
            return set(ast.literal_eval(node.value).values())
    return set()


PROBE = """
import json, sys
import prestocloud_sec
loaded = {}
def note(what):
    loaded[what] = sorted(set(sys.modules) & set(json.loads(sys.argv[1])))
note("prestocloud_sec")
import importlib
for pillar in json.loads(sys.argv[2]):
    module = importlib.import_module("prestocloud_sec." + pillar)
    note(pillar)
    for name in module.__all__:
        getattr(module, name)
        note(pillar + "." + name)
print(json.dumps(loaded))
"""


def test_importing_public_names_loads_nothing_heavy() -> None:
    pillars = [pillar for pillar in EDGES if (ROOT / PACKAGE / pillar / "__init__.py").exists()]
    unwanted = sorted(HEAVY_LIBRARIES | FACE_LIBRARIES)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(unwanted), json.dumps(pillars)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = json.loads(done.stdout)
    assert len(loaded) > len(pillars)
    assert {what: names for what, names in loaded.items() if names} == {}


def test_protocol_modules_know_no_io() -> None:
    """The protocol comes to no edge by an import; a lazy package may name what is in one (`Import.is_listed`)."""
    wrong = refusals(
        f"{i.module}:{i.line} imports {i.target}"
        for i in all_imports()
        if part_of(i.module) in EDGES and not is_edge(i.module)
        if i.target.split(".")[0] in IO_LIBRARIES or (is_edge(i.target) and not i.is_listed)
    )
    assert not wrong, wrong


def test_every_file_names_its_licence() -> None:
    files = [f for folder in (PACKAGE, "tests", "benchmarks", "docs") for f in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 10
    wrong = [
        str(f.relative_to(ROOT))
        for f in files
        if "_build" not in f.parts and not f.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n")
    ]
    assert not wrong, wrong


BUILTIN_ERRORS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}
ALLOWED_RAISES = {
    "StopIteration": None,  # None: anywhere
    "SystemExit": {"main"},
    "AttributeError": {"__getattr__", "__setattr__", "__delattr__"},
}


def bare_raises(node: ast.AST, function: str = "") -> Iterator[tuple[int, str]]:
    """Yield the asserts and the raised builtin errors of a file, but for those that Python's own protocols ask for."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Assert):
            yield child.lineno, "assert"
        elif isinstance(child, ast.Raise) and child.exc is not None:
            raised = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            name = raised.id if isinstance(raised, ast.Name) else ""
            where = ALLOWED_RAISES.get(name, set())
            if name in BUILTIN_ERRORS and where is not None and inside not in where:
                yield child.lineno, f"raise {name}"
        yield from bare_raises(child, inside)


def test_every_error_is_one_of_ours() -> None:
    wrong = refusals(f"{module}:{line} {what}" for module in modules() for line, what in bare_raises(tree(module)))
    assert not wrong, wrong


@pytest.mark.parametrize("package", [m for m, path in modules().items() if "_HOMES: dict" in path.read_text()])
def test_lazy_packages_tell_type_checkers_the_same_as_everybody(package: str) -> None:
    """What a lazy package imports under ``TYPE_CHECKING`` is what its table finds at run time."""
    told = {
        alias.name: statement.module.removeprefix(f"{package}.")
        for block in tree(package).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
        for alias in statement.names
    }
    loaded = importlib.import_module(package)
    rooms = {name for name, module in told.items() if module == package}
    assert rooms == set(getattr(loaded, "_ROOMS", ()))
    assert {name: module for name, module in told.items() if name not in rooms} == loaded._HOMES
    modules_below = {module.removeprefix(f"{package}.") for module in modules() if module.startswith(f"{package}.")}
    assert not loaded._HOMES.keys() & modules_below, "an import of the module would hide the name"
    for name in told:
        assert getattr(loaded, name) is not None
        assert name in dir(loaded)
    with pytest.raises(AttributeError) as caught:
        _ = loaded.no_such_name
    assert (caught.value.name, caught.value.obj) == ("no_such_name", loaded)  # of which Python makes suggestions


def test_rooms_of_a_package_are_there_without_an_import() -> None:
    probe = "from prestocloud_sec import bpf; print(bpf.isa.Exit(), bpf.errors.BpfError.__name__)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "Exit() BpfError\n"


def test_only_tables_of_lazy_packages_name_edges() -> None:
    listed = [i for i in all_imports() if i.is_listed and is_edge(i.target)]
    assert f"{PACKAGE}.tpm" in {i.module for i in listed}
    assert all(modules()[i.module].name == "__init__.py" for i in listed)
    assert not any(i.at_top for i in listed), "importing the package would import the edge"
