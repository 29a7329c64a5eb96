# SPDX-License-Identifier: Apache-2.0
"""The compiler: programs become LLVM IR, and LLVM makes machine code of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.engine import execute as execute
    from prestocloud_sec.bpf.vm.compiler.planning import compile_program as compile_program

_HOMES: dict[str, str] = {"compile_program": "planning", "execute": "engine"}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
