# SPDX-License-Identifier: Apache-2.0
"""Types of functions that nobody would declare: in the wrong places, without an end, of 4 GiB, or none at all."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from prestocloud_sec.bpf import Program, ProgramType, assemble
from prestocloud_sec.bpf.errors import BtfError, LoadError
from prestocloud_sec.bpf.linux.attr import make_buffer
from prestocloud_sec.bpf.linux.functions import KernelBtf
from prestocloud_sec.bpf.linux.loading import LoadRequest, load
from prestocloud_sec.bpf.object import Btf, BtfBuilder, FuncInfo
from prestocloud_sec.bpf.object.types import Parameter, Typedef
from prestocloud_sec.bpf.verifier.rejection import Rule
from tests.bpf.linux.kernel import as_recorded, needs_kernel
from tests.bpf.verifier.answers import asked, described, judged

END = "r0 = 0\nexit"
CALL = f"r1 = r10\nr1 += -16\ncall f\n{END}\nf:\n{END}"
AT = 5
"""The slot of its function."""


def made(*functions: Callable[[BtfBuilder], int]) -> tuple[Btf, list[int]]:
    """Return types, and the ids of functions."""
    builder = BtfBuilder()
    ids = [function(builder) for function in functions]
    return builder.build(), ids


def integer(b: BtfBuilder) -> int:
    return b.int_("int", 4)


def main(b: BtfBuilder) -> int:
    return b.function("main", b.prototype(integer(b), [Parameter("c", b.pointer(b.struct("xdp_md", 0)))]))


def f(type: Callable[[BtfBuilder], int], tag: str = "") -> Callable[[BtfBuilder], int]:
    """Return what makes a function that takes such a thing."""

    def make(b: BtfBuilder) -> int:
        id = b.function("f", b.prototype(integer(b), [Parameter("a", type(b))]))
        if tag:
            b.decl_tag(tag, id, 0)
        return id

    return make


def pair(b: BtfBuilder) -> int:
    return b.pointer(b.array(b.int_("u64", 8), 2))


def array(count: int, size: int = 1) -> Callable[[BtfBuilder], int]:
    return lambda b: b.pointer(b.array(b.int_("word", size), count))


def round_in_a_circle(b: BtfBuilder) -> int:
    first = b.reserve()
    b.define(first, Typedef("a", b.typedef("b", first)))
    return first


def hostile(*functions: Callable[[BtfBuilder], int], slot: int = AT, text: str = CALL) -> Program:
    btf, ids = made(*functions)
    return described(text, btf, dict(zip((0, slot), ids, strict=True)))


@pytest.mark.parametrize(
    ("slots", "says", "hint"),
    [
        (
            (0,),
            "number of funcs in func_info doesn't match number of subprogs",
            "describe the functions at the slots 5",
        ),
        (
            (0, 4),
            "func_info BTF section doesn't match subprog layout in BPF program",
            "describe the functions at the slots 5; no function begins at 4",
        ),
        (
            (1, AT),
            "nonzero insn_off 1 for the first func info record",
            "describe the functions at the slots 0; no function begins at 1",
        ),
        (
            (0, AT, 6),
            "number of funcs in func_info doesn't match number of subprogs",
            "no function begins at 6",
        ),
    ],
)
def test_functions_elsewhere(slots: tuple[int, ...], says: str, hint: str) -> None:
    btf, ids = made(main, f(pair), f(pair))
    program = described(CALL, btf, dict(zip(slots, ids, strict=False)))
    verdict = judged(program)
    assert (verdict.errno, verdict.reason, verdict.message) == ("EINVAL", Rule.STRUCTURE, says)
    assert verdict.hint == hint
    assert verdict.path == ()
    assert says in verdict.log(2).splitlines()


@as_recorded
@needs_kernel
@pytest.mark.parametrize("slots", [(0,), (0, 4), (1, AT), (0, AT, 6)])
def test_the_kernel_refuses_them_too(slots: tuple[int, ...]) -> None:
    btf, ids = made(main, f(pair), f(pair))
    program = described(CALL, btf, dict(zip(slots, ids, strict=False)))
    answer = asked(program)
    assert (answer.accepted, answer.errno) == (False, "EINVAL")
    assert judged(program).message in answer.log


@pytest.mark.parametrize("slot", [1, 3, 77, (1 << 32) - 1])
def test_a_function_within_a_load_or_nowhere(slot: int) -> None:
    text = f"r2 = 5 ll\nr1 = 1\ncall f\n{END}\nf:\n{END}"
    verdict = judged(hostile(main, f(integer), slot=slot, text=text))
    assert (verdict.errno, verdict.reason) == ("EINVAL", Rule.STRUCTURE)
    assert "doesn't match subprog layout" in verdict.message


@as_recorded
@needs_kernel
def test_functions_in_each_others_places() -> None:
    btf, (first, second) = made(main, f(integer))
    program = described(f"r1 = 1\ncall f\n{END}\nf:\n{END}", btf, {0: second, 4: first})
    verdict, answer = judged(program), asked(program)
    assert (verdict.errno, answer.errno) == ("EINVAL", "EINVAL")
    for said in verdict.message.split("; "):
        assert said in answer.log
    assert "('main')" in verdict.message


@pytest.mark.parametrize(
    "type",
    [round_in_a_circle, lambda b: b.pointer(round_in_a_circle(b)), lambda b: b.const(round_in_a_circle(b))],
    ids=["itself", "pointer", "const"],
)
def test_types_that_lead_round_in_a_circle(type: Callable[[BtfBuilder], int]) -> None:
    verdict = judged(hostile(main, f(type)))
    assert (verdict.errno, verdict.instruction) == ("EINVAL", 2)
    assert "types lead round in a circle" in verdict.message


def test_so_may_what_a_function_gives_back() -> None:
    verdict = judged(hostile(main, lambda b: b.function("f", b.prototype(round_in_a_circle(b)))))
    assert (verdict.errno, verdict.reason) == ("EINVAL", Rule.STRUCTURE)


def test_and_an_array_of_itself() -> None:
    def endless(b: BtfBuilder) -> int:
        inner = b.reserve()
        b.define(inner, Typedef("a", b.array(inner, 3)))
        return b.pointer(inner)

    verdict = judged(hostile(main, f(endless)))
    assert (verdict.errno, verdict.instruction) == ("EINVAL", 2)


@as_recorded
@needs_kernel
@pytest.mark.parametrize("count", [16, 17, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_arrays_up_to_4_gib(count: int) -> None:
    program = hostile(main, f(array(count)))
    verdict, answer = judged(program), asked(program)
    assert (verdict.accepted, verdict.errno) == (count == 16, None if count == 16 else "EINVAL")
    assert (verdict.accepted, verdict.errno) == (answer.accepted, answer.errno)
    if not verdict.accepted:
        assert f"invalid read from stack R1 off=-16 size={count}" in verdict.message


@pytest.mark.parametrize("count", [1 << 30, (1 << 32) - 1])
def test_arrays_beyond_4_gib(count: int) -> None:
    verdict = judged(hostile(main, f(array(count, 4))))
    assert (verdict.accepted, verdict.errno) == (False, "EINVAL")
    assert "size cannot be determined" in verdict.message


@as_recorded
@needs_kernel
@pytest.mark.parametrize(("count", "accepted"), [(32768, True), (32767, False), ((1 << 32) - 1, True)])
def test_nothing_of_4_gib_is_gone_through(count: int, *, accepted: bool) -> None:
    text = f"r1 = 0\ncall f\n{END}\nf:\nr0 = 0\nif r1 == 0 goto out\nr0 = *(u64 *)(r1 + 32760)\nout:\nr0 = 0\nexit"
    program = hostile(main, f(array(count)), slot=4, text=text)
    verdict, answer = judged(program), asked(program)
    assert (verdict.accepted, verdict.errno) == (accepted, None if accepted else "EACCES")
    assert (verdict.accepted, verdict.errno) == (answer.accepted, answer.errno)


@as_recorded
@needs_kernel
@pytest.mark.parametrize(
    "make",
    [
        f(pair, tag="arg:bogus"),
        f(lambda b: b.float_("float", 4)),
        f(lambda b: b.pointer(b.float_("double", 8))),
        f(lambda b: b.pointer(b.union("u", 16))),
        f(lambda b: b.pointer(b.struct("large", 1 << 30))),
        f(lambda b: b.pointer(b.forward("xdp_md"))),
        f(lambda b: b.pointer(b.union("xdp_md", 0))),
        f(lambda b: b.pointer(main(b))),
        f(lambda b: b.pointer(b.prototype(0))),
        f(lambda b: b.pointer(b.enum("e", {}))),
    ],
    ids=[
        "tag",
        "float",
        "double",
        "union",
        "1 GiB",
        "no body",
        "a union",
        "function",
        "prototype",
        "enum",
    ],
)
def test_types_that_only_compilers_make(make: Callable[[BtfBuilder], int]) -> None:
    program = hostile(main, make)
    verdict, answer = judged(program), asked(program)
    assert (verdict.accepted, verdict.errno) == (answer.accepted, answer.errno), answer.log
    for said in filter(None, verdict.message.split("; ")):
        assert said.partition(" expected=")[0] in answer.log


RECORDS = {
    "twice in one place": (((0, "main"), (0, "f")), "slot 0 after 0", "same or smaller insn offset (0) than previous"),
    "a type that is none": (((0, "main"), (AT, "none")), "there is no type", "invalid type id"),
    "a type of another kind": (((0, "main"), (AT, "int")), "'int' is no function", "invalid type id"),
}
"""Where functions are and what they are said to be, and what we and the kernel say of that."""


def records(name: str) -> tuple[Btf, bytes]:
    btf, (first, second) = made(main, f(integer))
    known = {"main": first, "f": second, "int": btf.find("int"), "none": len(btf)}
    return btf, b"".join(struct.pack("<II", slot, known[what]) for slot, what in RECORDS[name][0])


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_are_refused(name: str) -> None:
    with pytest.raises(BtfError, match=RECORDS[name][1]):
        FuncInfo.from_records(*records(name))


@as_recorded
@needs_kernel
@pytest.mark.parametrize("name", RECORDS)
def test_the_kernel_refuses_such_records(name: str) -> None:
    btf, data = records(name)
    with KernelBtf.of(btf.to_bytes()) as types:
        fields = {"prog_btf_fd": types.fileno(), "func_info": make_buffer(data)}
        fields |= {"func_info_cnt": len(RECORDS[name][0]), "func_info_rec_size": 8}
        program = assemble(CALL, type=ProgramType.XDP)
        request = LoadRequest.of(program, type=None, license=None, name=None, maps=None, fields=fields)
        with pytest.raises(LoadError) as refused:
            load(request, 1)
    assert refused.value.symbol == "EINVAL"
    assert RECORDS[name][2] in refused.value.log
