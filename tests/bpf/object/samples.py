# SPDX-License-Identifier: Apache-2.0
"""BTF that several tests use: made by hand, and of every kind; and a walk through all that there is."""

from __future__ import annotations

import struct
from contextlib import suppress

from prestocloud_sec.bpf.errors import BtfError
from prestocloud_sec.bpf.object import Btf, BtfBuilder, Encoding, Linkage
from prestocloud_sec.bpf.object.types import (
    Member,
    Parameter,
    Placement,
    Struct,
)

STRINGS = b"\0int\0a\0"
INT, A = 1, 5
"""Where both strings begin."""
THREE = {
    0: "int main(struct xdp_md *ctx)",
    5: "int sum(int a, const char *p)",
    9: "static int helper(void)",
}
"""Declarations of functions, by slot."""


def header(types: bytes = b"", strings: bytes = b"\0", **changed: int) -> bytes:
    """Return BTF made by hand."""
    fields = {"magic": 0xEB9F, "version": 1, "flags": 0, "size": 24}
    fields |= {"types_off": 0, "types_len": len(types), "strings_off": len(types), "strings_len": len(strings)}
    return struct.pack("<HBBIIIII", *(fields | changed).values()) + types + strings


def info(kind: int, count: int = 0, *, flag: int = 0) -> int:
    return flag << 31 | kind << 24 | count


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(value & 0xFFFF_FFFF for value in values))


def example() -> tuple[Btf, dict[str, int]]:
    """Return types of every kind that a kernel takes, and the ids of some."""
    b = BtfBuilder()
    ids = {"int": b.int_("int", 4, encoding=Encoding.SIGNED), "char": b.int_("char", 1, encoding=Encoding.SIGNED)}
    ids["word"] = b.typedef("word", b.const(b.volatile(ids["int"])))
    ids["text"] = b.array(ids["char"], 16)
    ids["node"] = b.reserve()
    call = b.pointer(b.prototype(0, [Parameter("", b.pointer(ids["node"]))]))
    inner = b.union("", 4, [Member("x", ids["int"], 0), Member("y", ids["word"], 0)])
    members = [
        Member("next", b.pointer(ids["node"]), 0),
        Member("call", call, 64),
        Member("name", ids["text"], 128),
        Member("", inner, 256),
        Member("low", ids["int"], 288, 3),
        Member("high", ids["int"], 291, 5),
    ]
    b.define(ids["node"], Struct("node", 40, tuple(members)))
    ids["matrix"] = b.array(b.array(ids["int"], 3), 2)
    ids["later"] = b.forward("later")
    ids["mode"] = b.enum("mode", {"OFF": 0, "ON": 1, "BROKEN": -1})
    ids["wide"] = b.enum64("wide", {"TOP": (1 << 64) - 1})
    ids["double"] = b.float_("double", 8)
    text = b.restrict(b.pointer(b.const(ids["char"])))
    proto = b.prototype(ids["int"], [Parameter("of", b.pointer(ids["node"])), Parameter("text", text)])
    ids["count"] = b.function("count", proto, Linkage.GLOBAL)
    ids["tag"] = b.decl_tag("arg:nonnull", ids["count"], 0)
    b.decl_tag("second", ids["count"], 0)
    b.decl_tag("whole", ids["count"])
    ids["user"] = b.pointer(b.type_tag("user", ids["later"]))
    ids["total"] = b.variable("total", ids["word"], Linkage.GLOBAL)
    ids["data"] = b.section(".data", 4, [Placement(ids["total"], 0, 4)])
    return b.build(), ids


def walk(btf: Btf) -> None:
    """Ask for everything there is."""
    assert repr(btf)
    assert btf._repr_html_()
    for id, type in enumerate(btf):
        assert btf[id] == type
        assert len(btf.describe(id)) < 4100
        btf.describe(id).encode()
        assert len(btf.tags(id)) <= len(btf)
        if btf.name(id):
            assert btf.name(btf.find(btf.name(id), btf.kind(id))) == btf.name(id)
        for ask in (btf.size_of, btf.resolved):
            with suppress(BtfError):
                assert 0 <= ask(id) < 1 << 32
