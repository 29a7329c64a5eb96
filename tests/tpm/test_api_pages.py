# SPDX-License-Identifier: Apache-2.0
"""The reference pages name every module of the TPM pillar that has something to say, once."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections import Counter
from pathlib import Path

from prestocloud_sec import testing, tpm

PAGES = Path(__file__).parents[2] / "docs" / "api"
NAMED = Counter(
    name
    for page in sorted(PAGES.glob("*.md"))
    for name in re.findall(r"^\.\. automodule:: (\S+)$", page.read_text(), re.MULTILINE)
    if name.startswith(("prestocloud_sec.tpm.", "prestocloud_sec.testing.tpm"))
)
TOLD_ELSEWHERE = ("prestocloud_sec.tpm.codec.generate", "prestocloud_sec.tpm.client.async_methods")
"""What writes the codec is for nobody to call; methods of `AsyncClient` are those of `Client`, awaited."""


def defines(file: Path) -> bool:
    """Tell whether a module defines something, rather than handing on names."""
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.parse(file.read_text()).body)


def modules() -> set[str]:
    found = [*pkgutil.walk_packages(tpm.__path__, "prestocloud_sec.tpm.")]
    found += [m for m in pkgutil.iter_modules(testing.__path__, "prestocloud_sec.testing.") if ".tpm" in m.name]
    names = set()
    for module in found:
        path, own = module.name, module.name.rpartition(".")[2]
        file = Path(tpm.__file__).parents[1].joinpath(*path.split(".")[1:])
        if own.startswith("_") or f"{path}.".startswith(tuple(f"{each}." for each in TOLD_ELSEWHERE)):
            continue
        if not module.ispkg or defines(file / "__init__.py"):
            names.add(path)
    return names


def test_every_module_stands_on_one_page() -> None:
    assert Counter(modules()) == NAMED
