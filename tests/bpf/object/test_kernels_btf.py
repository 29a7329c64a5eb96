# SPDX-License-Identifier: Apache-2.0
"""The types of the running kernel, and what bpftool says of them and of what is built here."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from prestocloud_sec.bpf.object import Btf, Encoding, Kind
from prestocloud_sec.bpf.object.types import (
    Array,
    DeclTag,
    Enum,
    Enum64,
    Float,
    Forward,
    Function,
    Int,
    Prototype,
    Section,
    Struct,
    Union,
    Variable,
)
from tests.bpf.object.samples import example

VMLINUX = Path("/sys/kernel/btf/vmlinux")
BPFTOOL = shutil.which("bpftool", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
needs_vmlinux = pytest.mark.skipif(not VMLINUX.exists(), reason="kernel lacks what is asked here: its types")
needs_bpftool = pytest.mark.skipif(BPFTOOL is None, reason="kernel lacks bpftool beside it")


@cache
def vmlinux() -> Btf:
    return Btf.from_bytes(VMLINUX.read_bytes())


@needs_vmlinux
def test_the_kernels_types_are_read_within_a_second() -> None:
    data = VMLINUX.read_bytes()
    took = []
    for _ in range(3):
        start = time.perf_counter()
        btf = Btf.from_bytes(data)
        took.append(time.perf_counter() - start)
    assert min(took) < 1.5, took
    assert btf.to_bytes() == data


@needs_vmlinux
def test_functions_of_the_kernel() -> None:
    btf = vmlinux()
    function = btf.find("bpf_iter_num_new", Kind.FUNC)
    assert btf.describe(function) == "static int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end)"
    assert "bpf_kfunc" in btf.tags(function)


@needs_vmlinux
def test_sizes_of_the_kernel() -> None:
    """Sizes that the system call's documentation fixes, or C does on a machine of 64 bits."""
    btf = vmlinux()
    sizes = {
        name: btf.size_of(btf.find(name, Kind.STRUCT)) for name in ("bpf_iter_num", "list_head", "bpf_insn", "xdp_md")
    }
    assert sizes == {"bpf_iter_num": 8, "list_head": 16, "bpf_insn": 8, "xdp_md": 24}
    assert btf.size_of(btf.find("__u64", Kind.TYPEDEF)) == 8
    member = next(m for m in struct_of(btf, "ethhdr").members if m.name == "h_dest")
    assert (btf.describe(member.type), btf.size_of(member.type)) == ("unsigned char [6]", 6)


def struct_of(btf: Btf, name: str) -> Struct:
    found = btf[btf.find(name, Kind.STRUCT)]
    assert isinstance(found, Struct)
    return found


LINE = re.compile(r"\[(\d+)\] (\w+) '(.*?)'(?: |$)(.*)")
PART = re.compile(r"\t(?:'(.*?)' )?(.*)")
FIELD = re.compile(r"(\w+)=([^ ,]+)")
Told = tuple[str, str, dict[str, str], list[tuple[str, dict[str, str]]]]


def dump(file: Path) -> dict[int, Told]:
    """Return what bpftool says of each type: kind, name, fields, and name and fields of each part."""
    done = subprocess.run(
        [str(BPFTOOL), "btf", "dump", "file", str(file), "format", "raw"], capture_output=True, text=True, check=True
    )
    told: dict[int, Told] = {}
    for line in done.stdout.splitlines():
        if found := LINE.fullmatch(line):
            kind, name, fields = found.group(2), found.group(3), found.group(4)
            last = told[int(found.group(1))] = (kind, name.replace("(anon)", ""), dict(FIELD.findall(fields)), [])
        elif found := PART.fullmatch(line):
            last[3].append(((found.group(1) or "").replace("(anon)", ""), dict(FIELD.findall(found.group(2)))))
    return told


def as_told(btf: Btf, id: int) -> Told:
    """Return the same of a type of ours."""
    fields: dict[str, object] = {}
    parts: list[tuple[str, dict[str, object]]] = []
    match btf[id]:
        case Int(_, size, bits, encoding, offset):
            named = "(none)" if encoding is Encoding.NONE else encoding.name
            fields = {"size": size, "bits_offset": offset, "nr_bits": bits, "encoding": named}
        case Array(element, count, index):
            fields = {"type_id": element, "index_type_id": index, "nr_elems": count}
        case Struct(_, size, members) | Union(_, size, members):
            fields = {"size": size, "vlen": len(members)}
            for m in members:
                width = {"bitfield_size": m.bits} if m.bits else {}
                parts.append((m.name, {"type_id": m.type, "bits_offset": m.bit_offset, **width}))
        case Enum(_, size, signed, values) | Enum64(_, size, signed, values) as enum:
            fields = {"encoding": "SIGNED" if signed else "UNSIGNED", "size": size, "vlen": len(values)}
            end = ("LL" if signed else "ULL") if enum.kind is Kind.ENUM64 else ""
            parts = [(v.name, {"val": f"{v.value}{end}"}) for v in values]
        case Forward(_, union):
            fields = {"fwd_kind": "union" if union else "struct"}
        case Function(_, prototype, linkage):
            fields = {"type_id": prototype, "linkage": linkage.name.lower()}
        case Prototype(result, parameters):
            fields = {"ret_type_id": result, "vlen": len(parameters)}
            parts = [(p.name, {"type_id": p.type}) for p in parameters]
        case Variable(_, type, linkage):
            fields = {"type_id": type, "linkage": linkage.name.lower()}
        case Section(_, size, variables):
            fields = {"size": size, "vlen": len(variables)}
            parts = [("", {"type_id": v.type, "offset": v.offset, "size": v.size}) for v in variables]
        case Float(_, size):
            fields = {"size": size}
        case DeclTag(_, type, component):
            fields = {"type_id": type, "component_idx": component}
        case other:
            fields = {"type_id": getattr(other, "type", None)}
    texts = [(name, {key: str(value) for key, value in part.items()}) for name, part in parts]
    return btf.kind(id).name, btf.name(id), {key: str(value) for key, value in fields.items()}, texts


@needs_vmlinux
@needs_bpftool
def test_bpftool_says_the_same_of_the_kernel() -> None:
    told = dump(VMLINUX)
    btf = vmlinux()
    assert sorted(told) == list(range(1, len(btf)))
    rare = [id for id in told if btf.kind(id) not in {Kind.FUNC, Kind.FUNC_PROTO, Kind.PTR, Kind.STRUCT}]
    differing = [id for id in {*rare, *range(1, len(btf), 5)} if as_told(btf, id) != told[id]]
    assert differing == []
    function = btf.find("bpf_iter_num_new", Kind.FUNC)
    assert told[function][:2] == ("FUNC", "bpf_iter_num_new")
    assert [name for name, _ in told[int(told[function][2]["type_id"])][3]] == ["it", "start", "end"]


@needs_bpftool
def test_bpftool_says_the_same_of_what_is_built(tmp_path: Path) -> None:
    file = tmp_path / "example.btf"
    btf, _ = example()
    file.write_bytes(btf.to_bytes())
    assert dump(file) == {id: as_told(btf, id) for id in range(1, len(btf))}
