# SPDX-License-Identifier: Apache-2.0
"""Declarations of functions as C writes them, and the types that are made out of these.

So programs that were not compiled have types as well. Of C this knows: ``void``, integers, ``bool``, the kernel's names
for integers of a size, ``struct`` and ``union`` with or without members, ``enum`` by name, pointers, ``const`` and
``volatile``, arrays as members, ``static``, and the notes on parameters that the verifier understands (``__arg_ctx``
and such). Types are laid out as clang does for BPF.

Sources: Linux 6.18, ``Documentation/bpf/btf.rst``; ``tools/lib/bpf/bpf_helpers.h`` (``__arg_*``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from prestocloud_sec.bpf.errors import BpfMisuseError, DeclarationError
from prestocloud_sec.bpf.object.btf import Btf
from prestocloud_sec.bpf.object.functions import FuncInfo, by_slot
from prestocloud_sec.bpf.object.kinds import Linkage
from prestocloud_sec.bpf.object.named_types import Known, NamedTypes, Tagged
from prestocloud_sec.bpf.object.tokens import Tokens
from prestocloud_sec.bpf.object.types import Member, Parameter, Struct, Union
from prestocloud_sec.bpf.object.words import (
    ARGUMENT_TAGS,
    INTEGER_NAMES,
    INTEGER_WORDS,
    INTEGERS,
    QUALIFIERS,
    STRUCT_NAMES,
    TAGGED,
)
from prestocloud_sec.wire import shown

__all__ = ["declare"]

_U32 = (1 << 32) - 1
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")
_DEEPEST = 16
_MOST_WORDS = 5
_MOST_MEMBERS = (1 << 16) - 1
_LARGEST_BODY = 1 << 29
"""Bytes that no struct reaches: the places of members are counted in 32 bits."""


class _Declarations:
    """Reads declarations, and builds their types."""

    def __init__(self) -> None:
        self._named = NamedTypes()
        self._builder = self._named.builder
        self._slots: dict[str, int] = {}
        self._depth = 0

    def types(self, text: str) -> None:
        """Read declarations of structs and unions."""
        tokens = Tokens(text, None)
        while tokens.peek().kind != "end":
            if tokens.peek().text not in TAGGED:
                raise tokens.unexpected("'struct', 'union' or 'enum'")
            self._base(tokens)
            tokens.expect(";")

    def function(self, text: str, slot: int) -> int:
        """Read the declaration of a function; return its id."""
        tokens = Tokens(text, slot)
        linkage = Linkage.STATIC if tokens.accept("static") else Linkage.GLOBAL
        start = tokens.peek().start
        result = self._pointers(tokens, self._base(tokens))
        if result.size is None and result.id:
            raise _sizeless(tokens, start)
        name = tokens.name("the name of a function")
        other = self._slots.setdefault(name.text, slot)
        if other != slot:
            raise tokens.error(name.start, f"{name.text} is at slot {other} already", expected="another name")
        tokens.expect("(")
        parameters, notes = self._parameters(tokens)
        tokens.accept(";")
        if tokens.peek().kind != "end":
            raise tokens.unexpected("the end")
        id = self._builder.function(name.text, self._builder.prototype(result.id, _all_named(parameters)), linkage)
        for component, note in notes:
            self._builder.decl_tag(note, id, component)
        return id

    def build(self) -> Btf:
        """Return all types."""
        return self._named.build()

    def _parameters(self, tokens: Tokens) -> tuple[list[Parameter], list[tuple[int, str]]]:
        """Read parameters up to the closing bracket; return them, and position and text of the notes on them."""
        parameters: list[Parameter] = []
        notes: list[tuple[int, str]] = []
        if tokens.accept(")"):
            return parameters, notes
        while True:
            start = tokens.peek().start
            if parameters and tokens.accept("..."):
                parameters.append(Parameter("", 0))
                tokens.expect(")")
                return parameters, notes
            type = self._pointers(tokens, self._base(tokens))
            if not type.id and not parameters and tokens.accept(")"):
                return parameters, notes
            if type.size is None:
                raise _sizeless(tokens, start)
            name = ""
            if tokens.peek().text not in {",", ")", *ARGUMENT_TAGS}:
                name = tokens.name("a parameter's name").text
            while tokens.peek().text in ARGUMENT_TAGS:
                notes.append((len(parameters), ARGUMENT_TAGS[tokens.take().text]))
            parameters.append(Parameter(name, type.id))
            if tokens.accept(")"):
                return parameters, notes
            tokens.expect(",", "',' or ')'")

    def _base(self, tokens: Tokens) -> Known:
        """Read a type as far as it comes before the name of what has it, pointers apart."""
        qualifiers: set[str] = set()
        words: list[str] = []
        found: Known | None = None
        start = tokens.peek().start
        while True:
            word = tokens.peek().text
            if word in QUALIFIERS:
                qualifiers.add(tokens.take().text)
            elif found is None and word in INTEGER_WORDS:
                words.append(tokens.take().text)
                if len(words) > _MOST_WORDS:
                    raise tokens.error(start, "too many words", expected="an integer type")
            elif found is None and not words and word in TAGGED:
                found = self._tag(tokens)
            elif found is None and not words and (word == "void" or word in INTEGER_NAMES):
                found = self._named.plain(tokens.take().text)
            elif found is None and not words and word in STRUCT_NAMES:
                found = self._renamed(tokens)
            else:
                break
        if words:
            integer = INTEGERS.get(tuple(sorted(words)))
            if integer is None:
                raise tokens.error(start, f"{shown(' '.join(words))} is no type", expected="an integer type")
            found = self._named.integer(integer)
        if found is None:
            raise tokens.unexpected(
                "a type", hint="other types than integers are declared as struct NAME, union NAME or enum NAME"
            )
        return self._named.qualified(found, qualifiers)

    def _renamed(self, tokens: Tokens) -> Known:
        """Read a typedef of a struct that every program knows."""
        token = tokens.take()
        known = self._tagged(tokens, "struct", STRUCT_NAMES[token.text], token.start).known
        return known._replace(id=self._builder.typedef(token.text, known.id))

    def _pointers(self, tokens: Tokens, type: Known) -> Known:
        depth = 0
        while tokens.peek().text == "*":
            depth += 1
            if depth > _DEEPEST:
                raise tokens.unexpected(f"{_DEEPEST} pointers at most")
            tokens.take()
            type = self._named.pointer(type)
            qualifiers = set()
            while tokens.peek().text in QUALIFIERS:
                qualifiers.add(tokens.take().text)
            type = self._named.qualified(type, qualifiers)
        return type

    def _tag(self, tokens: Tokens) -> Known:
        """Read ``struct``, ``union`` or ``enum``, a name, and a body if there is one."""
        word = tokens.take().text
        if word != "enum" and tokens.peek().text == "{":
            return self._body(tokens, word, "", self._builder.reserve())
        name = tokens.name(f"the name of {_ARTICLES[word]}")
        tagged = self._tagged(tokens, word, name.text, name.start)
        if word != "enum" and tokens.peek().text == "{":
            if tagged.has_body:
                raise tokens.error(name.start, f"{word} {name.text} has members already", expected="no others")
            tagged.has_body = True
            tagged.known = self._body(tokens, word, name.text, tagged.known.id)
        return tagged.known

    def _tagged(self, tokens: Tokens, word: str, name: str, start: int) -> Tagged:
        tagged = self._named.tagged(word, name)
        if tagged.word != word:
            raise tokens.error(start, f"{name} is {_ARTICLES[tagged.word]}", expected=f"'{tagged.word}'")
        return tagged

    def _body(self, tokens: Tokens, word: str, name: str, id: int) -> Known:
        """Read members, and lay them out: each behind the last, or all at the start, where its alignment allows."""
        opening = tokens.peek().start
        tokens.expect("{")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise tokens.error(opening, "too many types within each other", expected=f"{_DEEPEST} at most")
        members: list[Member] = []
        size, alignment = 0, 1
        while not tokens.accept("}"):
            for start, title, type in self._declarators(tokens):
                if type.size is None:
                    raise _sizeless(tokens, start)
                place = 0 if word == "union" else -(-size // type.alignment) * type.alignment
                size = max(size, place + type.size)
                alignment = max(alignment, type.alignment)
                if size >= _LARGEST_BODY or len(members) == _MOST_MEMBERS:
                    raise tokens.error(start, "the type is too large", expected="less than 512 MiB and 65536 members")
                members.append(Member(title, type.id, 8 * place))
        self._depth -= 1
        size = -(-size // alignment) * alignment
        self._builder.define(id, (Union if word == "union" else Struct)(name, size, tuple(members)))
        return Known(id, size, alignment)

    def _declarators(self, tokens: Tokens) -> Iterator[tuple[int, str, Known]]:
        """Read members that are declared together, to the semicolon; yield place in the text, name and type of each."""
        is_tagged = tokens.peek().text in TAGGED
        start = tokens.peek().start
        base = self._base(tokens)
        if is_tagged and tokens.accept(";"):
            yield start, "", base
            return
        while True:
            type = self._pointers(tokens, base)
            name = tokens.name("a member's name")
            yield name.start, name.text, self._array(tokens, type)
            if tokens.accept(";"):
                return
            if tokens.peek().text == ":":
                raise tokens.unexpected("',' or ';'", hint="bit fields are not known here; BtfBuilder takes them")
            tokens.expect(",", "',' or ';'")

    def _array(self, tokens: Tokens, type: Known) -> Known:
        counts: list[int] = []
        while tokens.accept("["):
            token = tokens.take()
            if not _NUMBER.fullmatch(token.text):
                raise tokens.error(token.start, f"unexpected {shown(token.text)}", expected="a number of elements")
            counts.append(int(token.text, 0 if token.text[:2] in {"0x", "0X"} else 8 if token.text[0] == "0" else 10))
            if len(counts) > _DEEPEST:
                raise tokens.error(token.start, "too many dimensions", expected=f"{_DEEPEST} at most")
            tokens.expect("]")
        for count in reversed(counts):
            size = None if type.size is None else type.size * count
            if count > _U32 or (size or 0) >= _LARGEST_BODY:
                raise tokens.error(tokens.peek().start, "the array is too large", expected="less than 512 MiB")
            type = Known(self._builder.array(type.id, count), size, type.alignment)
        return type


def _all_named(parameters: list[Parameter]) -> list[Parameter]:
    """Return parameters with a name each: the kernel refuses functions whose parameters have none."""
    taken = {parameter.name for parameter in parameters}
    named: list[Parameter] = []
    number = -1
    for place, (name, type) in enumerate((parameter.name, parameter.type) for parameter in parameters):
        if not name and type:  # without a type it stands for further arguments
            number = max(number + 1, place)
            while f"arg{number}" in taken:
                number += 1
            name = f"arg{number}"
        named.append(Parameter(name, type))
    return named


_ARTICLES = {"struct": "a struct", "union": "a union", "enum": "an enum"}


def _sizeless(tokens: Tokens, start: int) -> DeclarationError:
    return tokens.error(
        start,
        "a value of a type whose size is not known",
        expected="a pointer, or a struct whose members were declared before",
        hint="a struct has a size behind its members",
    )


def declare(functions: Mapping[int, str], structs: str = "") -> FuncInfo:
    """Make the types of a program's functions out of declarations in C.

    A struct or union can be given its members once, anywhere: in `structs`, or where it is mentioned. One without is
    known by its name only; the context of a program, such as ``struct xdp_md``, is a struct without members then, which
    Linux knows it by. A parameter without a name is called ``arg`` and its place, from 0, or a later one whose name is
    free.

    Parameters
    ----------
    functions : mapping of int to str
        The slot that a function begins at, and its declaration, such as ``int sum(int a, const char *p)``. With
        ``static`` in front, its linkage is static, else global. Behind a parameter's name can be ``__arg_ctx``,
        ``__arg_nonnull``, ``__arg_nullable``, ``__arg_trusted``, ``__arg_untrusted`` and ``__arg_arena``.
    structs : str
        Structs and unions, and enums by their names, each with a semicolon behind.

    Raises
    ------
    DeclarationError
        If a text is not what is known of C here, with the slot and the column; if two functions have one name.
    BpfMisuseError
        If an argument is of the wrong type.

    Examples
    --------
    >>> types = declare(
    ...     {0: "int main(struct xdp_md *ctx)", 7: "static int area(const struct box *of __arg_nonnull)"},
    ...     "struct box { u32 width, height; char name[16]; };",
    ... )
    >>> types
    <FuncInfo: 0 int main(struct xdp_md *ctx); 7 static int area(const struct box *of)>
    >>> types.btf.size_of(types.btf.find("box")), types.btf.tags(types.functions[7], 0)
    (24, ('arg:nonnull',))
    """
    given = by_slot(functions, "declare", str, "a mapping of slots to declarations")
    if not isinstance(structs, str):
        raise BpfMisuseError(f"{shown(structs)} declares no types", where="declare, structs", expected="a str")
    declarations = _Declarations()
    declarations.types(structs)
    found = {slot: declarations.function(text, slot) for slot, text in given.items()}
    return FuncInfo(declarations.build(), found)
