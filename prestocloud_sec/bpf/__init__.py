# SPDX-License-Identifier: Apache-2.0
"""BPF as a library: programs, assembler and disassembler, classic BPF, maps, machines.

`assemble` and `Builder` make a `Program`, `Program.from_bytes` reads one, and `ClassicProgram.from_ddd` what tcpdump
prints; `Program.run` runs it over a packet, `Program.run_batch` over an arena of them (`prestocloud_sec.arena`), with
maps such as `HashMap` and `ArrayMap`. `disassemble` and `ControlFlowGraph` show it. The running kernel is a module that
has to be asked for: ``from prestocloud_sec.bpf import linux``.

The names that most users need are here; each is imported from its module where it is first used, so that importing this
package stays cheap, and so are the modules `classic`, `errors`, `helpers`, `isa`, `maps` and `vm`. A new public name is
a row of `_HOMES` and an import for type checkers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf import classic as classic
    from prestocloud_sec.bpf import errors as errors
    from prestocloud_sec.bpf import helpers as helpers
    from prestocloud_sec.bpf import isa as isa
    from prestocloud_sec.bpf import maps as maps
    from prestocloud_sec.bpf import vm as vm
    from prestocloud_sec.bpf.assembler import assemble as assemble
    from prestocloud_sec.bpf.builder import Builder as Builder
    from prestocloud_sec.bpf.cfg import ControlFlowGraph as ControlFlowGraph
    from prestocloud_sec.bpf.classic.program import ClassicProgram as ClassicProgram
    from prestocloud_sec.bpf.disassembler import disassemble as disassemble
    from prestocloud_sec.bpf.maps.array import ArrayMap as ArrayMap
    from prestocloud_sec.bpf.maps.array import PerCpuArray as PerCpuArray
    from prestocloud_sec.bpf.maps.bloom import BloomFilter as BloomFilter
    from prestocloud_sec.bpf.maps.cgroup import Cgroup as Cgroup
    from prestocloud_sec.bpf.maps.cgroup import CgroupArray as CgroupArray
    from prestocloud_sec.bpf.maps.create import create_map as create_map
    from prestocloud_sec.bpf.maps.devmap import CpuMap as CpuMap
    from prestocloud_sec.bpf.maps.devmap import DevMap as DevMap
    from prestocloud_sec.bpf.maps.devmap import DevMapHash as DevMapHash
    from prestocloud_sec.bpf.maps.hash import HashMap as HashMap
    from prestocloud_sec.bpf.maps.hash import PerCpuHashMap as PerCpuHashMap
    from prestocloud_sec.bpf.maps.kinds import MapFlag as MapFlag
    from prestocloud_sec.bpf.maps.kinds import MapType as MapType
    from prestocloud_sec.bpf.maps.lpm import LpmTrie as LpmTrie
    from prestocloud_sec.bpf.maps.lru import LruHashMap as LruHashMap
    from prestocloud_sec.bpf.maps.lru import LruPerCpuHashMap as LruPerCpuHashMap
    from prestocloud_sec.bpf.maps.nested import ArrayOfMaps as ArrayOfMaps
    from prestocloud_sec.bpf.maps.nested import HashOfMaps as HashOfMaps
    from prestocloud_sec.bpf.maps.perf import PerfBuffer as PerfBuffer
    from prestocloud_sec.bpf.maps.perf import PerfEventArray as PerfEventArray
    from prestocloud_sec.bpf.maps.progarray import ProgArray as ProgArray
    from prestocloud_sec.bpf.maps.queue import QueueMap as QueueMap
    from prestocloud_sec.bpf.maps.queue import StackMap as StackMap
    from prestocloud_sec.bpf.maps.ringbuf import RingBuffer as RingBuffer
    from prestocloud_sec.bpf.maps.stacktrace import StackTraceMap as StackTraceMap
    from prestocloud_sec.bpf.program import Program as Program
    from prestocloud_sec.bpf.program import ProgramType as ProgramType
    from prestocloud_sec.bpf.program import Symbols as Symbols
    from prestocloud_sec.bpf.verifier.rejection import Rule as Rule
    from prestocloud_sec.bpf.verifier.verdict import Verdict as Verdict
    from prestocloud_sec.bpf.verifier.verify import verify as verify
    from prestocloud_sec.bpf.vm.fault import Fault as Fault
    from prestocloud_sec.bpf.vm.fault import FaultKind as FaultKind
    from prestocloud_sec.bpf.vm.machine import Machine as Machine
    from prestocloud_sec.bpf.vm.result import BatchResult as BatchResult
    from prestocloud_sec.bpf.vm.result import Result as Result

_HOMES: dict[str, str] = {
    "assemble": "assembler",
    "disassemble": "disassembler",
    "create_map": "maps.create",
    "ArrayMap": "maps.array",
    "ArrayOfMaps": "maps.nested",
    "BatchResult": "vm.result",
    "BloomFilter": "maps.bloom",
    "Builder": "builder",
    "Cgroup": "maps.cgroup",
    "CgroupArray": "maps.cgroup",
    "ClassicProgram": "classic.program",
    "ControlFlowGraph": "cfg",
    "CpuMap": "maps.devmap",
    "DevMap": "maps.devmap",
    "DevMapHash": "maps.devmap",
    "Fault": "vm.fault",
    "FaultKind": "vm.fault",
    "HashMap": "maps.hash",
    "HashOfMaps": "maps.nested",
    "LpmTrie": "maps.lpm",
    "LruHashMap": "maps.lru",
    "LruPerCpuHashMap": "maps.lru",
    "Machine": "vm.machine",
    "MapFlag": "maps.kinds",
    "MapType": "maps.kinds",
    "PerCpuArray": "maps.array",
    "PerCpuHashMap": "maps.hash",
    "PerfBuffer": "maps.perf",
    "PerfEventArray": "maps.perf",
    "ProgArray": "maps.progarray",
    "Program": "program",
    "ProgramType": "program",
    "QueueMap": "maps.queue",
    "Result": "vm.result",
    "RingBuffer": "maps.ringbuf",
    "Rule": "verifier.rejection",
    "StackMap": "maps.queue",
    "StackTraceMap": "maps.stacktrace",
    "Symbols": "program",
    "Verdict": "verifier.verdict",
    "verify": "verifier.verify",
}

_ROOMS = ("classic", "errors", "helpers", "isa", "maps", "vm")

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES, _ROOMS)
