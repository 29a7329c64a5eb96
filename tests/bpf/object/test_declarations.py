# SPDX-License-Identifier: Apache-2.0
"""Declarations of functions in C: what they say, texts that are none, and layouts as C and the kernel have them."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import BpfMisuseError, DeclarationError
from prestocloud_sec.bpf.linux.functions import KernelBtf
from prestocloud_sec.bpf.object import Btf, Encoding, FuncInfo, Kind, Linkage, declare
from prestocloud_sec.bpf.object.types import Function, Int, Parameter, Prototype, Struct, Union
from prestocloud_sec.testing.bpf_btf import declarations
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.object.samples import THREE


def function(types: FuncInfo, slot: int = 0) -> tuple[Function, Prototype]:
    found = types.btf[types.functions[slot]]
    assert isinstance(found, Function)
    prototype = types.btf[found.prototype]
    assert isinstance(prototype, Prototype)
    return found, prototype


def described(text: str, types: str = "") -> str:
    declared = declare({0: text}, types)
    return declared.btf.describe(declared.functions[0])


def test_three_functions() -> None:
    types = declare(THREE)
    assert [function(types, slot)[0].linkage for slot in THREE] == [Linkage.GLOBAL, Linkage.GLOBAL, Linkage.STATIC]
    assert [types.btf.describe(types.functions[slot]) for slot in THREE] == [
        "int main(struct xdp_md *ctx)",
        "int sum(int a, const char *p)",
        "static int helper(void)",
    ]
    assert types.btf.kind(types.btf.find("xdp_md")) is Kind.STRUCT


INTEGERS = {  # as clang calls them, with the sizes of a machine of 64 bits
    "char": ("char", 1, Encoding.SIGNED),
    "signed char": ("signed char", 1, Encoding.SIGNED),
    "char unsigned": ("unsigned char", 1, Encoding.NONE),
    "short": ("short", 2, Encoding.SIGNED),
    "unsigned short int": ("unsigned short", 2, Encoding.NONE),
    "int": ("int", 4, Encoding.SIGNED),
    "signed": ("int", 4, Encoding.SIGNED),
    "unsigned": ("unsigned int", 4, Encoding.NONE),
    "long": ("long", 8, Encoding.SIGNED),
    "long unsigned int": ("unsigned long", 8, Encoding.NONE),
    "long long": ("long long", 8, Encoding.SIGNED),
    "long unsigned long int": ("unsigned long long", 8, Encoding.NONE),
    "_Bool": ("_Bool", 1, Encoding.BOOL),
    "unsigned __int128": ("unsigned __int128", 16, Encoding.NONE),
    "u8": ("unsigned char", 1, Encoding.NONE),
    "s16": ("short", 2, Encoding.SIGNED),
    "__u32": ("unsigned int", 4, Encoding.NONE),
    "__s64": ("long long", 8, Encoding.SIGNED),
    "uint64_t": ("unsigned long long", 8, Encoding.NONE),
    "int8_t": ("signed char", 1, Encoding.SIGNED),
    "__be16": ("unsigned short", 2, Encoding.NONE),
    "size_t": ("unsigned long", 8, Encoding.NONE),
    "bool": ("_Bool", 1, Encoding.BOOL),
}


@pytest.mark.parametrize("text", INTEGERS)
def test_integers(text: str) -> None:
    types = declare({0: f"{text} f({text} a)"})
    _, prototype = function(types)
    name, size, encoding = INTEGERS[text]
    assert prototype.parameters[0].type == prototype.result
    assert types.btf[types.btf.resolved(prototype.result)] == Int(name, size, 8 * size, encoding)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("void f()", "void f(void)"),
        ("void *f(void);", "void *f(void)"),
        ("const char *const f(const void *p)", "const char *const f(const void *p)"),
        ("char const * f(volatile u32 **p)", "const char *f(volatile u32 **p)"),
        ("int f(int, char *)", "int f(int arg0, char *arg1)"),
        ("int f(int arg1, int)", "int f(int arg1, int arg2)"),
        ("int f(int, int arg0, int)", "int f(int arg1, int arg0, int arg2)"),
        ("int f(int, int arg2, int, int)", "int f(int arg0, int arg2, int arg3, int arg4)"),
        ("static enum mode *f(u8)", "static enum mode *f(u8 arg0)"),
        ("enum mode f(enum mode m, union both *b)", "enum mode f(enum mode m, union both *b)"),
        ("int f(const char *format, ...)", "int f(const char *format, ...)"),
        ("struct a *f(/* of */ struct a *a) // end", "struct a *f(struct a *a)"),
        ("int f(struct pair { int a, b; } p)", "int f(struct pair p)"),
    ],
)
def test_declarations(text: str, shown: str) -> None:
    assert described(text) == shown


def test_tags() -> None:
    types = declare(
        {
            3: "int f(struct xdp_md *ctx __arg_ctx, int *p __arg_nonnull, void *q __arg_trusted __arg_nullable)",
            8: "int g(void *__arg_arena, const void *u __arg_untrusted, int n)",
        }
    )
    f, g = types.functions.values()
    assert [types.btf.tags(f, n) for n in range(3)] == [
        ("arg:ctx",),
        ("arg:nonnull",),
        ("arg:trusted", "arg:nullable"),
    ]
    assert [types.btf.tags(g, n) for n in range(3)] == [("arg:arena",), ("arg:untrusted",), ()]
    assert function(types, 8)[1].parameters[0].name == "arg0"


def test_members_are_said_once() -> None:
    types = declare(
        {
            0: "int f(struct later *l, struct first *p)",
            1: "int g(struct later { struct first of; struct later *next; } *l)",
        },
        "struct first { char a; int b; };",
    )
    btf = types.btf
    assert btf.describe(btf.find("later")) == "struct later { struct first of; struct later *next; }"
    assert btf.size_of(btf.find("later")) == 16
    assert [kind for kind in map(btf.kind, range(len(btf))) if kind is Kind.FWD] == []


def test_types_without_functions() -> None:
    btf = declare({}, "struct a { struct { int x; union { char c; long l; }; } in[2]; }; enum e; union u;").btf
    assert btf.size_of(btf.find("a")) == 32
    assert btf.kind(btf.find("u")) is Kind.FWD
    assert btf.describe(btf.find("a")) == "struct a { struct { int x; union { char c; long l; }; } in[2]; }"


WRONG = {
    "": (1, "a type"),
    "main(void)": (1, "a type"),
    "int": (4, "the name of a function"),
    "int main": (9, "'('"),
    "int main(": (10, "a type"),
    "int main(void": (10, "a pointer"),
    "int main(int a": (15, "',' or ')'"),
    "int main(int a,)": (16, "a type"),
    "int main(int a b)": (16, "',' or ')'"),
    "int main(void) {": (16, "the end"),
    "int main(void v)": (10, "a pointer"),
    "int main(int a, void)": (17, "a pointer"),
    "int main(struct s a)": (10, "a pointer"),
    "struct s main(void)": (1, "a pointer"),
    "int main(int a[4])": (15, "',' or ')'"),
    "int main(int (*f)(int))": (14, "a parameter's name"),
    "int main(task_t a)": (10, "a type"),
    "int main(short long a)": (10, "an integer type"),
    "int main(long long long a)": (10, "an integer type"),
    "int main(int int)": (10, "an integer type"),
    "int main(int static)": (14, "a parameter's name"),
    "int main(...)": (10, "a type"),
    "int main(int a, ..., int b)": (20, "')'"),
    "int static(void)": (5, "the name of a function"),
    "int main(struct s { int a } *s)": (27, "',' or ';'"),
    "int main(struct s { int a:3; } *s)": (26, "',' or ';'"),
    "int main(struct s { int a[]; } *s)": (27, "a number"),
    "int main(struct s { int a[0x]; } *s)": (27, "a number"),
    "int main(struct s { int a[99999999999]; } *s)": (27, "a number"),
    "int main(struct s { int a[4294967295]; } *s)": (38, "512 MiB"),
    "int main(struct s { struct s s; } *s)": (30, "a pointer"),
    "int main(struct s { void v; } *s)": (26, "a pointer"),
    "int main(struct s { int; } *s)": (24, "a member's name"),
    "int main(struct s {": (20, "a type"),
    "int main(struct s { int a; } *s, struct s { int b; } *t)": (41, "no others"),
    "int main(struct s *a, union s *b)": (29, "'struct'"),
    "int main(enum e { A } e)": (17, "a parameter's name"),
    "int main(struct *s)": (17, "the name of a struct"),
    "int ma$in(void)": (7, "'('"),
    "int m\N{LATIN SMALL LETTER E WITH ACUTE}(void)": (6, "'('"),
    "int main(void) /* no end": (16, "the end"),
    f"int {'a' * 512}(void)": (5, "511"),
    f"int main(int {'*' * 40}p)": (30, "16 pointers"),
    f"int main({'struct { ' * 40}": (161, "16 at most"),
    f"int main(int a /*{'x' * 70000}*/)": (1, "65536"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:40])
def test_texts_that_declare_nothing(text: str) -> None:
    column, expected = WRONG[text]
    with pytest.raises(DeclarationError) as caught:
        declare({4: text})
    assert expected in str(caught.value)
    assert (caught.value.slot, caught.value.line, caught.value.column) == (4, None, column)


def test_types_that_are_none() -> None:
    with pytest.raises(DeclarationError, match="line 2, column 3: ") as caught:
        declare({}, "struct a { int x; };\n  int b;")
    assert caught.value.slot is None
    with pytest.raises(DeclarationError, match="';'"):
        declare({}, "struct a { int x; }")


def test_functions_have_names_of_their_own() -> None:
    with pytest.raises(DeclarationError, match="f is at slot 0 already") as caught:
        declare({0: "int f(void)", 3: "int f(int *p __arg_nonnull)"})
    assert (caught.value.slot, caught.value.column) == (3, 5)


@pytest.mark.parametrize("wrong", [None, "int f(void)", {0: b"int f(void)"}, {"f": "int f(void)"}, {-1: "int f(void)"}])
def test_misuse(wrong: Any) -> None:
    with pytest.raises(BpfMisuseError):
        declare(wrong)
    with pytest.raises(BpfMisuseError):
        declare({}, None)  # type: ignore[arg-type]


PIECES = ["int", "char", "void", "struct", "union", "enum", "s", "e", "static", "const", "u32", "long", "__arg_ctx"]
PIECES += ["*", ",", ";", "(", ")", "{", "}", "[", "4", "]", "...", "/*", "//", "$"]


@given(st.lists(st.sampled_from(PIECES), max_size=16).map(" ".join) | st.text(max_size=30))
def test_any_text(text: str) -> None:
    for functions, types in (({0: text}, ""), ({0: f"int f({text})"}, ""), ({}, text), ({}, f"struct s {{ {text} }};")):
        try:
            found = declare(functions, types)
        except DeclarationError:
            continue
        assert FuncInfo.from_records(found.btf, found.records()) == found


# --- What C and the kernel say -----------------------------------------------------------------------------

C_TYPES: dict[str, Any] = {
    "char": ctypes.c_char,
    "u8": ctypes.c_uint8,
    "short": ctypes.c_short,
    "__u32": ctypes.c_uint32,
    "int": ctypes.c_int,
    "long": ctypes.c_int64,
    "u64": ctypes.c_uint64,
    "void *": ctypes.c_uint64,
    "bool": ctypes.c_bool,
}
MEMBERS = st.lists(st.tuples(st.sampled_from(sorted(C_TYPES)), st.none() | st.integers(0, 5)), max_size=6)


@given(MEMBERS, MEMBERS, st.booleans(), st.booleans())
def test_layouts_are_those_of_c(inner: list[Any], outer: list[Any], inner_union: bool, outer_union: bool) -> None:
    def text(members: list[Any]) -> str:
        return " ".join(f"{t} m{n}{'' if c is None else f'[{c}]'};" for n, (t, c) in enumerate(members))

    def fields(members: list[Any]) -> list[tuple[str, Any]]:
        return [(f"m{n}", C_TYPES[t] if c is None else C_TYPES[t] * c) for n, (t, c) in enumerate(members)]

    words = ["union" if flag else "struct" for flag in (inner_union, outer_union)]
    bases = [ctypes.Union if flag else ctypes.Structure for flag in (inner_union, outer_union)]
    inner_type = type("inner", (bases[0],), {"_fields_": fields(inner)})
    outer_type = type("outer", (bases[1],), {"_fields_": [("in", inner_type), *fields(outer)]})
    source = f"{words[0]} inner {{ {text(inner)} }}; {words[1]} outer {{ {words[0]} inner in; {text(outer)} }};"
    btf = declare({}, source).btf
    found = btf[btf.find("outer")]
    assert isinstance(found, Struct | Union)
    assert (found.size, btf.size_of(btf.find("inner"))) == (ctypes.sizeof(outer_type), ctypes.sizeof(inner_type))
    assert [m.bit_offset for m in found.members] == [8 * getattr(outer_type, m.name).offset for m in found.members]


@needs_kernel
@given(declarations())
def test_the_kernel_takes_what_is_declared(functions: dict[int, str]) -> None:
    types = declare(functions, "struct pair { int a; struct pair *next; char b[3][4]; }; union both { u64 x; };")
    KernelBtf.of(types.btf.to_bytes()).close()
    assert list(types.functions) == sorted(functions)
    assert Btf.from_bytes(types.btf.to_bytes()) == types.btf


@needs_kernel
def test_the_kernel_takes_the_three() -> None:
    KernelBtf.of(declare(THREE).btf.to_bytes()).close()
    KernelBtf.of(declare({0: "int f(const char *a, ...)", 1: "int g(int)"}).btf.to_bytes()).close()


def test_parameters_keep_their_types() -> None:
    types = declare({0: "long f(u8 a, struct s *b)"})
    _, prototype = function(types)
    assert [p.name for p in prototype.parameters] == ["a", "b"]
    assert prototype.parameters[0] == Parameter("a", types.btf.find("u8"))
    assert not prototype.variadic
    assert types.btf.size_of(prototype.parameters[1].type) == 8
