# SPDX-License-Identifier: Apache-2.0
"""What type checkers are told of the specification's packages is what they hold."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from prestocloud_sec.tpm import spec

PACKAGES = ["", ".structures", ".commands"]


def names_in(file: Path) -> tuple[set[str], set[str]]:
    """Return the modules that a file takes everything of, and the names that it has besides."""
    stars, names = set(), set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            stars |= {node.module for alias in node.names if alias.name == "*"}
            names |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return stars, names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_stub_tells_what_the_package_holds(package: str) -> None:
    module = importlib.import_module(f"prestocloud_sec.tpm.spec{package}")
    file = Path(str(module.__file__))
    stars, names = names_in(file.with_suffix(".pyi"))
    assert stars == names_in(file)[0]
    told = names | {name for star in stars for name in importlib.import_module(star).__all__}
    assert set(module.__all__) <= told
    assert all(hasattr(module, name) for name in told)


def test_they_are_there_by_the_specification_s_names() -> None:
    assert {"TPMT_PUBLIC", "TPM_ALG_ID", "TPMA_OBJECT", "GetRandom", "TPMI_ALG_HASH"} <= set(spec.__all__)
