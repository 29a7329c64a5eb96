# SPDX-License-Identifier: Apache-2.0
"""BPF as a library: programs, assembler and disassembler, classic BPF, maps, machines.

The names that most users need are here; each is imported from its module where it is first used, so that importing this
package stays cheap. A new public name is a row of `_HOMES` and an import for type checkers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.assembler import assemble as assemble
    from prestocloud_sec.bpf.builder import Builder as Builder
    from prestocloud_sec.bpf.cfg import ControlFlowGraph as ControlFlowGraph
    from prestocloud_sec.bpf.disassembler import disassemble as disassemble
    from prestocloud_sec.bpf.maps.array import ArrayMap as ArrayMap
    from prestocloud_sec.bpf.maps.array import PerCpuArray as PerCpuArray
    from prestocloud_sec.bpf.maps.hash import HashMap as HashMap
    from prestocloud_sec.bpf.maps.hash import PerCpuHashMap as PerCpuHashMap
    from prestocloud_sec.bpf.maps.kinds import MapFlag as MapFlag
    from prestocloud_sec.bpf.maps.kinds import MapType as MapType
    from prestocloud_sec.bpf.maps.lpm import LpmTrie as LpmTrie
    from prestocloud_sec.bpf.maps.lru import LruHashMap as LruHashMap
    from prestocloud_sec.bpf.maps.lru import LruPerCpuHashMap as LruPerCpuHashMap
    from prestocloud_sec.bpf.program import Program as Program
    from prestocloud_sec.bpf.program import ProgramType as ProgramType
    from prestocloud_sec.bpf.program import Symbols as Symbols

_HOMES: dict[str, str] = {
    "assemble": "assembler",
    "disassemble": "disassembler",
    "ArrayMap": "maps.array",
    "Builder": "builder",
    "ControlFlowGraph": "cfg",
    "HashMap": "maps.hash",
    "LpmTrie": "maps.lpm",
    "LruHashMap": "maps.lru",
    "LruPerCpuHashMap": "maps.lru",
    "MapFlag": "maps.kinds",
    "MapType": "maps.kinds",
    "PerCpuArray": "maps.array",
    "PerCpuHashMap": "maps.hash",
    "Program": "program",
    "ProgramType": "program",
    "Symbols": "program",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
