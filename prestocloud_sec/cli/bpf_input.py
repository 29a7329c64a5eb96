# SPDX-License-Identifier: Apache-2.0
"""What ``prestocloud-sec bpf`` is given: programs in any form, packets, captures, maps."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import file_bytes, hex_bytes, stdin_bytes
from prestocloud_sec.errors import InputError, PrestoCloudError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.bpf.classic import ClassicProgram
    from prestocloud_sec.bpf.maps.base import Map
    from prestocloud_sec.bpf.program import Program
    from prestocloud_sec.pcap import Capture

__all__ = [
    "ENGINES",
    "PROGRAM_LIMIT",
    "capture_of",
    "classic_of",
    "classic_option",
    "engine_option",
    "map_option",
    "maps_of",
    "packet_option",
    "program_argument",
    "program_of",
    "source_of",
    "type_option",
    "write",
]

PROGRAM_LIMIT = 1 << 25
"""Most bytes of a program that is read from a file or from standard input."""
CAPTURE_LIMIT = 1 << 30
"""Most bytes of a capture."""
ENGINES = ("auto", "reference", "interpreter", "compiled")
TYPES = ("raw", "socket_filter", "sched_cls", "sched_act", "xdp", "cgroup_skb")
_HEX = frozenset("0123456789abcdefABCDEF \t\r\n")
_DDD = re.compile(r"\s*[0-9]+[ \t]*[\r\n,]")
_DUMPED = re.compile(r"^ *([0-9]{1,9}):\t((?:[0-9a-f]{2} )*[0-9a-f]{2})[ \t]", re.MULTILINE)
"""A line of ``llvm-objdump -d``: the number of the slot, and the bytes of an instruction."""
_LONGEST_PATH = 4096

program_argument = click.argument("program")
type_option = click.option(
    "--type",
    "type_name",
    type=click.Choice(TYPES),
    default="raw",
    show_default=True,
    help="What runs it: raw gets the packet's address in r1 and its length in r2, the others a context in r1.",
)
packet_option = click.option("--packet", default="", metavar="HEX", help="The packet, in hexadecimal.")

classic_option = click.option("--classic", is_flag=True, help="PROGRAM is classic BPF; it is translated.")
engine_option = click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)
map_option = click.option(
    "--map",
    "declared",
    multiple=True,
    metavar="NAME=KIND,KEY,VALUE,ENTRIES",
    help="A map that the program refers to, such as seen=hash,4,8,1000; bpf run prints what it holds afterwards.",
)


# --- Programs --------------------------------------------------------------------------------------------


def source_of(given: str) -> str:
    """Return the text that PROGRAM names or is; of one line on the command line, ``;`` ends an instruction."""
    if given == "-":
        data = stdin_bytes(PROGRAM_LIMIT)
    elif _is_file(given):
        data = file_bytes(given, PROGRAM_LIMIT)
    else:
        return given if "\n" in given else given.replace(";", "\n")
    if data.startswith(b"\x7fELF"):
        raise InputError(
            "an ELF object",
            where="PROGRAM",
            expected="text, or the bytes of one program",
            hint="llvm-objcopy -O binary --only-section=NAME takes a program's bytes out of it",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.hex()


def _is_file(given: str) -> bool:
    return (
        len(given) < _LONGEST_PATH and "\n" not in given and "\0" not in given and os.path.isfile(given)  # noqa: PTH113
    )


def _is_hex(text: str) -> bool:
    return bool(text.strip()) and _HEX.issuperset(text)


def program_of(given: str, *, type_name: str = "raw", classic: bool = False) -> Program:
    """Return the eBPF program that PROGRAM stands for; a classic one is translated."""
    from prestocloud_sec.bpf.program import Program, ProgramType

    text = source_of(given)
    if classic:
        return classic_of(given, text).to_ebpf()
    kind = None if type_name == "raw" else ProgramType[type_name.upper()]
    if _is_hex(text):
        return Program.from_bytes(hex_bytes(text, "PROGRAM"), type=kind)
    dumped = _dumped(text)
    if dumped:
        return Program.from_bytes(dumped, type=kind)
    from prestocloud_sec.bpf.assembler import assemble

    try:
        return assemble(text, type=kind)
    except PrestoCloudError as error:
        raise _no_file(given) or error from error


def _dumped(text: str) -> bytes:
    """Return the bytes of a program that ``llvm-objdump -d`` printed, empty if it is none."""
    rows = _DUMPED.findall(text)
    if sum(int(slot) == 0 for slot, _ in rows) > 1:
        raise InputError("several programs", where="PROGRAM", expected="the dump of one section")
    return bytes.fromhex("".join(code for _, code in rows))


def classic_of(given: str, text: str) -> ClassicProgram:
    """Return a classic program from bytes in hexadecimal, tcpdump's output (-ddd, -dd), or bpf_asm's syntax."""
    from prestocloud_sec.bpf import classic

    if _DDD.match(text):
        return classic.ClassicProgram.from_ddd(text)
    if text.lstrip().startswith("{"):
        return classic.ClassicProgram.from_dd(text)
    if _is_hex(text):
        return classic.ClassicProgram.from_bytes(hex_bytes(text, "PROGRAM"))
    try:
        return classic.assemble(text)
    except PrestoCloudError as error:
        raise _no_file(given) or error from error


def _no_file(given: str) -> InputError | None:
    """Return the error for what looks like the name of a file and is no program either."""
    if given == "-" or _is_file(given) or any(c.isspace() for c in given) or not ("/" in given or "." in given):
        return None
    return InputError(f"there is no file {shown(given)}", where="PROGRAM", expected="a file, - or the program itself")


def write(path: str, data: bytes) -> None:
    """Write a file; an InputError says what the system refused."""
    try:
        Path(path).write_bytes(data)
    except (OSError, ValueError) as error:
        raise InputError(
            getattr(error, "strerror", None) or "no path", where=path, expected="a place to write"
        ) from error


# --- Packets and maps ------------------------------------------------------------------------------------


def capture_of(path: str) -> Capture:
    """Return the capture in a pcap file."""
    from prestocloud_sec.pcap import Capture

    return Capture(file_bytes(path, CAPTURE_LIMIT))


_KINDS = ("hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie", "queue", "stack")
_MAP_FORM = f"NAME=KIND,KEY,VALUE,ENTRIES with KIND one of {', '.join(_KINDS)}, and bytes of a key and of a value"
_LARGEST_MAP = 1 << 26
"""Bytes of the keys and values of a map: all of them are looked through when the program has ended."""
_NUMBERS = {1, 2, 4, 8}
"""Sizes of keys and values that are shown as numbers; others as bytes."""


def maps_of(given: Sequence[str]) -> dict[str, Map]:
    """Return the maps that ``--map`` declares, by name."""
    return dict(_map(text) for text in given)


def _map(text: str) -> tuple[str, Map]:
    from prestocloud_sec.bpf.maps.create import create_map
    from prestocloud_sec.bpf.maps.kinds import MapFlag, MapType

    name, _, declared = text.partition("=")
    parts = declared.split(",")
    kind, sizes = parts[0].lower(), parts[1:]
    if (
        not name
        or kind not in _KINDS
        or len(sizes) != 3
        or not all(s.isascii() and s.isdecimal() and len(s) < 10 for s in sizes)
    ):
        raise click.BadParameter(f"{shown(text)} declares no map; expected {_MAP_FORM}", param_hint="--map")
    key, value, entries = map(int, sizes)
    if (key + value) * entries > _LARGEST_MAP:
        raise click.BadParameter(f"{shown(text)} takes more than {_LARGEST_MAP >> 20} MiB", param_hint="--map")
    type_ = MapType[kind.upper()]
    flags = MapFlag.NO_PREALLOC if type_ is MapType.LPM_TRIE else 0
    return name, create_map(type_, key if type_ is MapType.LPM_TRIE else _shape(key), _shape(value), entries, flags)


def _shape(size: int) -> Any:
    return f"u{size}" if size in _NUMBERS else size
