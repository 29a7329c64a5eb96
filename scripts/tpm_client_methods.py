# SPDX-License-Identifier: Apache-2.0
"""Write the methods of TPM clients, one for each command, from the declarations of the commands.

    .venv/bin/python scripts/tpm_client_methods.py          writes the files
    .venv/bin/python scripts/tpm_client_methods.py --check  says whether they are as they would be written

What a method returns follows from the response: nothing, if it has nothing; the one parameter that it has; a handle
object, if it has a handle; else the response itself.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ROOT / "prestocloud_sec/tpm/spec/commands"
CLIENT = ROOT / "prestocloud_sec/tpm/client"
HERE = "prestocloud_sec.tpm.client"

NAMES = {"Import": "import_", "ECDH_ZGen": "ecdh_zgen", "ZGen_2Phase": "zgen_2phase"}
"""Methods whose names do not follow from the command's by `snake`."""

MADE = {"sessionHandle": ("_session", "SessionHandle"), "loadedHandle": ("_loaded", "")}
"""What handle object a handle in a response becomes, by its name; else an object."""


class Field(NamedTuple):
    """A field of a declaration: its name, its type as text, what is said about it, and whether it is a handle."""

    name: str
    type: str
    words: str
    is_handle: bool


class Declaration(NamedTuple):
    """A command."""

    name: str
    words: str
    fields: list[Field]
    answer: list[Field]


def snake(name: str) -> str:
    """Return a command's name as that of a method: ``NV_DefineSpace`` becomes ``nv_define_space``."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return NAMES.get(name, re.sub("_+", "_", parts).lower())


def fields_of(node: ast.ClassDef) -> list[Field]:
    """Return the annotated fields of a class, with the strings that stand behind them."""
    found = []
    for statement, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            words = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            value = statement.value
            is_handle = isinstance(value, ast.Call) and ast.unparse(value.func) == "handle"
            found.append(Field(statement.target.id, ast.unparse(statement.annotation), str(words), is_handle))
    return found


def declarations(tree: ast.Module) -> list[Declaration]:
    """Return the commands of a chapter, in order."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Command" for base in node.bases):
            response = next(n for n in node.body if isinstance(n, ast.ClassDef))
            words = ast.get_docstring(node) or ""
            found.append(Declaration(node.name, words, fields_of(node), fields_of(response)))
    return found


def homes(tree: ast.Module) -> dict[str, str]:
    """Return the module that each imported name of a chapter comes from."""
    return {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def result(command: Declaration, prefix: str) -> tuple[str, str, str]:
    """Return type, words and last line of what a method returns; the line is in terms of ``response``."""
    handles = [field for field in command.answer if field.is_handle]
    response = f"{command.name}.Response"
    if handles:
        maker, kind = MADE.get(handles[0].name, ("_object", "Object"))
        kinds = [kind] if kind else ["Object", "SessionHandle"]
        returned = " | ".join(f"{prefix}{each}[{response}]" for each in kinds)
        words = handles[0].words if kind else "What was loaded."
        return returned, words, f"self.{maker}(response.{handles[0].name}, response)"
    if not command.answer:
        return "None", "", ""
    if len(command.answer) == 1:
        return command.answer[0].type, command.answer[0].words, f"response.{command.answer[0].name}"
    return response, "The response.", "response"


def method(command: Declaration, *, asynchronous: bool) -> list[str]:
    """Return the text of a method."""
    returned, words, last = result(command, "Async" if asynchronous else "")
    parameters = "".join(f"{field.name}: {field.type}, " for field in command.fields)
    arguments = ", ".join(f"live(self, {f.name})" if f.is_handle else f.name for f in command.fields)
    define, wait = ("async def", "await ") if asynchronous else ("def", "")
    lines = [f"{define} {snake(command.name)}(self, {parameters}*, sessions: Sessions = None) -> {returned}:"]
    if asynchronous:
        lines += [f'    """{command.words}"""']
    else:
        lines += [f'    """{command.words}', "", "    Parameters", "    ----------"]
        for field in command.fields:
            lines += [f"    {field.name} : {field.type}", f"        {field.words}"]
        lines += ["    sessions : sequence, optional", "        See `Client`."]
        if last:
            lines += ["", "    Returns", "    -------", f"    {returned}", f"        {words}"]
            if last == "response":
                lines[-1] = f"        With {', '.join(field.name for field in command.answer)}."
        lines += ['    """']
    call = f"{wait}self.execute({command.name}({arguments}), sessions)"
    if not last:
        return [*lines, f"    {call}"]
    if last == "response" or (last.startswith("response") and not wait):
        return [*lines, f"    return {call}{last.removeprefix('response')}"]
    return [*lines, f"    response = {call}", f"    return {last}"]


def chapter(path: Path, *, asynchronous: bool) -> str:
    """Return the text of the methods for one chapter of commands."""
    tree = ast.parse(path.read_text())
    commands, imported = declarations(tree), homes(tree)
    title = (ast.get_docstring(tree) or "").split(":")[0]
    base = "AsyncExecutor" if asynchronous else "Executor"
    body: list[str] = []
    for command in commands:
        body += ["", *(f"    {line}".rstrip() for line in method(command, asynchronous=asynchronous))]
    text = "\n".join(body)
    names: dict[str, set[str]] = {
        f"{HERE}.core": {"Sessions"},
        f"{HERE}.executor": {base} | ({"live"} if "live(" in text else set()),
        f"prestocloud_sec.tpm.spec.commands.{path.stem}": {command.name for command in commands},
    }
    prefix = "Async" if asynchronous else ""
    kinds = {k for k in (f"{prefix}Object", f"{prefix}SessionHandle") if re.search(rf"\b{k}\[", text)}
    if kinds:
        names[f"{HERE}.handles"] = kinds
    types = " ".join([f.type for c in commands for f in c.fields] + [result(c, prefix)[0] for c in commands])
    for name in set(re.findall(r"\w+", types)) & set(imported):
        names.setdefault(imported[name], set()).add(name)
    imports = "\n".join(f"from {home} import {', '.join(sorted(each))}" for home, each in sorted(names.items()))
    kind = f"{prefix}{path.stem.capitalize()}Methods"
    return f'''# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/{path.name}; edit that, and run it.
"""{title}: a method for each command{", to be awaited" if asynchronous else ""}."""

from __future__ import annotations

{imports}

__all__ = ["{kind}"]


class {kind}({base}):
    """{title}: a method for each command."""
{text}
'''


def package(stems: list[str], *, asynchronous: bool) -> str:
    """Return the text of the package that puts the chapters together."""
    folder, prefix = ("async_methods", "Async") if asynchronous else ("methods", "")
    kinds = [(stem, f"{prefix}{stem.capitalize()}Methods") for stem in stems]
    imports = "\n".join(f"from {HERE}.{folder}.{stem} import {kind}" for stem, kind in kinds)
    bases = ",\n    ".join(kind for _, kind in kinds)
    return f'''# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py.
"""A method for each command of TPM 2.0{", to be awaited" if asynchronous else ""}, by the chapters of Part 3."""

from __future__ import annotations

{imports}

__all__ = ["{prefix}Methods"]


class {prefix}Methods(
    {bases},
):
    """A method for each command: its name in small letters, its parameters as the specification calls them."""
'''


def formatted(text: str) -> str:
    """Return the text as the formatter of this project has it."""
    for command in (["check", "--fix", "--select", "I", "-q", "-"], ["format", "-q", "-"]):
        done = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command], input=text, capture_output=True, text=True, check=True
        )
        text = done.stdout
    return text


def files() -> dict[Path, str]:
    """Return every file with its text."""
    chapters = sorted(path for path in COMMANDS.glob("*.py") if path.stem != "__init__")
    found = {}
    for asynchronous in (False, True):
        folder = CLIENT / ("async_methods" if asynchronous else "methods")
        for path in chapters:
            found[folder / path.name] = formatted(chapter(path, asynchronous=asynchronous))
        found[folder / "__init__.py"] = formatted(package([p.stem for p in chapters], asynchronous=asynchronous))
    return found


def main() -> int:
    """Write the files, or say which are not as they should be."""
    wrong = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    if "--check" not in sys.argv:
        for path, text in wrong.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    for path in wrong:
        print(path.relative_to(ROOT))
    return 1 if wrong and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
