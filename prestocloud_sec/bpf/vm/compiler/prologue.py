# SPDX-License-Identifier: Apache-2.0
"""What an LLVM function of a program begins and ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.bpf.vm import layout
from prestocloud_sec.bpf.vm.compiler.runtime import state_word
from prestocloud_sec.bpf.vm.layout import State

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.compiler.function import Function

__all__ = ["epilogue", "prologue", "reload"]

_SIZES = (1, 2, 4, 8)
_BEGIN = "".join(f"  %r{number} = alloca i64, align 8\n" for number in range(11)) + "  %fuel = alloca i64, align 8\n"


def prologue(f: Function) -> str:
    """Return what a function begins with: arguments, registers, frame, and where memory lies."""
    if f.body:
        more = "i64 %host0, i64 %size0, ptr %context0"
        head = f"define private i64 @body(ptr %state, i64 %depth, i64 %a1, i64 %a2, {more}) alwaysinline nounwind {{\n"
        head += "entry:\n"
        values: list[str] = ["0", "%a1", "%a2", *["0"] * 7]
    elif f.main:
        head = f"define i64 @main{f.plan.tag}(ptr %state, i64 %depth, i64 %a1, i64 %a2) nounwind {{\nentry:\n"
        values = ["0", "%a1", "%a2", *["0"] * 7]
    else:
        names = ", ".join(f"i64 %a{number}" for number in range(10))
        name = f"@f{f.entry}{f.plan.tag}"
        head = f"define private i64 {name}(ptr %state, i64 %depth, {names}) nounwind {{\nentry:\n"
        values = [f"%a{number}" for number in range(10)]
    text = [head, _BEGIN, *(f"  {slot} = alloca i64, align 8\n" for slot in f.slots)]
    text += [f"  store i64 {value}, ptr %r{number}\n" for number, value in enumerate(values)]
    text.append(
        f"  %region = add i64 %depth, {layout.STACK}\n  %bottom = shl i64 %region, {layout.REGION_SHIFT}\n"
        f"  %top = or i64 %bottom, {layout.FRAME_SIZE}\n  store i64 %top, ptr %r10\n"
    )
    text.append(state_word("fuelp", State.FUEL) + "  %fuel0 = load i64, ptr %fuelp\n  store i64 %fuel0, ptr %fuel\n")
    if f.moves:  # what is called may go on to another program, and comes back here
        text.append(state_word("programp", State.PROGRAM) + "  %program = load i64, ptr %programp\n")
    text.append(
        state_word("regionsp", State.REGIONS_AT)
        + "  %regions = load ptr, ptr %regionsp\n"
        + f"  %rowat = mul i64 %region, {8 * layout.REGION_WORDS}\n"
        + "  %row = getelementptr i8, ptr %regions, i64 %rowat\n"
        + f"  %rowsize = getelementptr i8, ptr %row, i64 {8 * layout.SIZE}\n"
    )
    if f.framed:
        text.append(
            f"  %frame = alloca [{layout.FRAME_SIZE} x i8], align 16\n"
            f"  call void @llvm.memset.p0.i64(ptr align 16 %frame, i8 0, i64 {layout.FRAME_SIZE}, i1 false)\n"
        )
        if f.rows:
            text.append(
                "  %framehost = ptrtoint ptr %frame to i64\n"
                f"  %rowhost = getelementptr i8, ptr %row, i64 {8 * layout.HOST}\n"
                f"  store i64 %framehost, ptr %rowhost\n  store i64 {layout.FRAME_SIZE}, ptr %rowsize\n"
            )
    text += _views(f)
    text.append(f"  br label %{f.name(f.entry)}\n")
    return "".join(text)


def _views(f: Function) -> list[str]:
    """Return what reads the bounds of packet and context at the beginning."""
    text = []
    if f.uses_packet:
        names = ("pbase", "phost", *(f"plim{size}" for size in _SIZES))
        text += [f"  %{name} = alloca i64, align 8\n" for name in names]
    if f.uses_data:
        text += ["  %dhost = alloca i64, align 8\n", "  %dsize = alloca i64, align 8\n"]
    if f.uses_packet or f.uses_data:
        text.append(reload(f, "e"))
    if f.uses_context and f.body:
        text.append("  %chost = ptrtoint ptr %context0 to i64\n")
    elif f.uses_context:
        at = 8 * layout.REGION_WORDS * layout.CONTEXT
        text.append(
            f"  %chostp = getelementptr i8, ptr %regions, i64 {at + 8 * layout.HOST}\n"
            "  %chost = load i64, ptr %chostp\n"
        )
    return text


def reload(f: Function, tag: str) -> str:
    """Return what reads the bounds of the packet again; `tag` makes its names new."""
    given = f.body and tag == "e"
    text = []
    if f.uses_packet and given:
        text.append(
            f"  %base.e = add i64 {layout.PACKET_DATA}, 0\n  %host.e = add i64 %host0, 0\n"
            "  %size.e = add i64 %size0, 0\n"
        )
    elif f.uses_packet:
        for name, word in (("base", layout.BASE), ("host", layout.HOST), ("size", layout.SIZE)):
            text.append(
                f"  %{name}p.{tag} = getelementptr i8, ptr %regions, i64 {8 * word}\n"
                f"  %{name}.{tag} = load i64, ptr %{name}p.{tag}\n"
            )
    if f.uses_packet:
        text.append(f"  store i64 %base.{tag}, ptr %pbase\n  store i64 %host.{tag}, ptr %phost\n")
        text += [
            f"  %lim{size}.{tag} = call i64 @llvm.usub.sat.i64(i64 %size.{tag}, i64 {size - 1})\n"
            f"  store i64 %lim{size}.{tag}, ptr %plim{size}\n"
            for size in _SIZES
        ]
    if f.uses_data and given:
        text.append("  store i64 %host0, ptr %dhost\n  store i64 %size0, ptr %dsize\n")
    elif f.uses_data:
        for name, word in (("data", State.DATA), ("end", State.DATA_END), ("buffer", State.PACKET_AT)):
            text.append(state_word(f"{name}p.{tag}", word) + f"  %{name}.{tag} = load i64, ptr %{name}p.{tag}\n")
        text.append(
            f"  %dplace.{tag} = sub i64 %data.{tag}, {layout.PACKET_BUFFER}\n"
            f"  %dh.{tag} = add i64 %buffer.{tag}, %dplace.{tag}\n  store i64 %dh.{tag}, ptr %dhost\n"
            f"  %ds.{tag} = sub i64 %end.{tag}, %data.{tag}\n  store i64 %ds.{tag}, ptr %dsize\n"
        )
    return "".join(text)


def epilogue(f: Function) -> str:
    """Return the ways out with a fault."""
    save = "  %fuelf = load i64, ptr %fuel\n  store i64 %fuelf, ptr %fuelp\n" if f.counts else ""
    return f"fault:\n{save}  ret i64 0\ngone:\n  ret i64 0\n}}\n"
