# SPDX-License-Identifier: Apache-2.0
"""The reference pages name every module of BPF that has something to say, once."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections import Counter
from pathlib import Path

from prestocloud_sec import bpf, testing

PAGES = Path(__file__).parents[2] / "docs" / "api"
NAMED = Counter(
    name
    for page in sorted(PAGES.glob("*.md"))
    for name in re.findall(r"^\.\. automodule:: (\S+)$", page.read_text(), re.MULTILINE)
    if name.startswith(("prestocloud_sec.bpf.", "prestocloud_sec.testing.bpf_"))
)
COMPILER = "prestocloud_sec.bpf.vm.compiler."
HAS_USERS = {f"{COMPILER}{name}" for name in ("engine", "planning", "llvm", "cache")}
"""The modules of the compiler that somebody else could call; the others write IR for these."""


def defines(file: Path) -> bool:
    """Tell whether a module defines something, rather than handing on names."""
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(file.read_text()).body)


def modules() -> set[str]:
    found = [*pkgutil.walk_packages(bpf.__path__, "prestocloud_sec.bpf.")]
    found += [m for m in pkgutil.iter_modules(testing.__path__, "prestocloud_sec.testing.") if ".bpf_" in m.name]
    names = set()
    for module in found:
        path, own = module.name, module.name.rpartition(".")[2]
        file = Path(bpf.__file__).parents[1].joinpath(*path.split(".")[1:])
        if own.startswith("_") or own.endswith("_kernel") or (path.startswith(COMPILER) and path not in HAS_USERS):
            continue
        if not module.ispkg or defines(file / "__init__.py"):
            names.add(path)
    return names


def test_every_module_stands_on_one_page() -> None:
    assert Counter(modules()) == NAMED
