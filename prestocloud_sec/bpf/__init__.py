# SPDX-License-Identifier: Apache-2.0
"""BPF as a library: programs, assembler and disassembler, classic BPF, maps, machines.

Names are imported from their modules where they are first used, so that importing this package stays cheap. A new
public name is a row of `_HOMES`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prestocloud_sec.bpf.assembler import assemble as assemble
    from prestocloud_sec.bpf.disassembler import disassemble as disassemble
    from prestocloud_sec.bpf.program import Program as Program
    from prestocloud_sec.bpf.program import ProgramType as ProgramType
    from prestocloud_sec.bpf.program import Symbols as Symbols

_HOMES: dict[str, str] = {
    "assemble": "assembler",
    "disassemble": "disassembler",
    "Program": "program",
    "ProgramType": "program",
    "Symbols": "program",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
