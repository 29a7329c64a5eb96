# SPDX-License-Identifier: Apache-2.0
"""The types of a program's functions: which function begins where, and what it takes and returns.

`ProgramTypes` is what a program carries of them, and what Linux is told when it is loaded (``struct bpf_func_info``).
`declare` makes one out of declarations as C writes them, so that programs that were not compiled have types as well.

Of C it knows: ``void``, integers, ``bool``, the kernel's names for integers of a size, ``struct`` and ``union`` with or
without members, ``enum`` by name, pointers, ``const`` and ``volatile``, arrays as members, ``static``, and the notes on
parameters that the verifier understands (``__arg_ctx`` and such). Types are laid out as clang does for BPF.

Sources: Linux 6.18, ``include/uapi/linux/bpf.h`` (``struct bpf_func_info``), ``Documentation/bpf/btf.rst``, section
"func_info"; ``tools/lib/bpf/bpf_helpers.h`` (``__arg_*``).
"""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError, DeclarationError
from prestocloud_sec.bpf.object.btf import (
    POINTER_SIZE,
    Btf,
    Encoding,
    Enum,
    Forward,
    Function,
    Linkage,
    Member,
    Parameter,
    Prototype,
    Struct,
    Union,
)
from prestocloud_sec.bpf.object.btf_codec import Builder
from prestocloud_sec.wire import shown, view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["ARGUMENT_TAGS", "RECORD", "ProgramTypes", "declare"]

T = TypeVar("T")

RECORD = struct.Struct("<II")
"""A function's first slot, and its type (``struct bpf_func_info``)."""
_LARGEST_RECORD = 252
_U32 = (1 << 32) - 1
_SHOWN = 4


@dataclass(frozen=True, slots=True, repr=False)
class ProgramTypes:
    """Types, and which of them the functions of a program have.

    Attributes
    ----------
    btf : Btf
        The types.
    functions : mapping of int to int
        The slot that a function begins at (a position in units of eight bytes), and the id of the `Function` that it
        is; ascending by slot.

    Raises
    ------
    BtfError
        If an id is no function, or a function has no prototype.
    BpfMisuseError
        If an argument is of the wrong type.

    Examples
    --------
    >>> types = declare({0: "int main(struct xdp_md *ctx)", 5: "int sum(int a, int b)"})
    >>> types
    <ProgramTypes: 0 int main(struct xdp_md *ctx); 5 int sum(int a, int b)>
    >>> ProgramTypes.from_records(types.btf, types.records()) == types
    True
    """

    btf: Btf
    functions: Mapping[int, int] = field(hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.btf, Btf):
            raise BpfMisuseError(f"{shown(self.btf)} holds no types", where="ProgramTypes.btf", expected="a Btf")
        given = _items(self.functions, "ProgramTypes.functions", int, "a mapping of slots to ids of functions")
        for id in given.values():
            _check_function(self.btf, id)
        object.__setattr__(self, "functions", MappingProxyType(given))

    @classmethod
    def from_records(cls, btf: Btf, data: BytesLike, record_size: int = RECORD.size) -> ProgramTypes:
        """Read the list of functions as Linux is told it.

        Parameters
        ----------
        btf : Btf
            The types.
        data : bytes-like
            Records, each with slot (u32) and type (u32), little-endian.
        record_size : int
            Bytes of each; what is behind the first eight has to be zero.

        Raises
        ------
        BtfError
            If the records are not whole, the slots do not ascend, or a type is no function with a prototype.
        BpfMisuseError
            If Linux knows no records of that size, or `btf` is none.
        """
        size = whole(record_size, "record_size", RECORD.size, _LARGEST_RECORD, error=BpfMisuseError)
        if size % 4:
            raise BpfMisuseError(f"records of {size} bytes", where="record_size", expected="a multiple of 4")
        view = view_of(data, name="records")
        if len(view) % size:
            raise BtfError(f"{len(view)} bytes", where="records", expected=f"a multiple of {size}")
        functions: dict[int, int] = {}
        last = -1
        for offset in range(0, len(view), size):
            slot, id = RECORD.unpack_from(view, offset)
            if any(view[offset + RECORD.size : offset + size]):
                raise BtfError("a record says more than is known", where="records", offset=offset, expected="zeros")
            if slot <= last:
                raise BtfError(f"slot {slot} after {last}", where="records", offset=offset, expected="slots ascend")
            functions[slot] = id
            last = slot
        return cls(btf, functions)

    def records(self) -> bytes:
        """Return the list of functions as Linux is told it: for each, slot and type, little-endian."""
        return b"".join(RECORD.pack(slot, id) for slot, id in self.functions.items())

    def __reduce__(self) -> tuple[object, ...]:
        return (ProgramTypes, (self.btf, dict(self.functions)))

    def __repr__(self) -> str:
        parts = [f"{slot} {self.btf.describe(id)}" for slot, id in list(self.functions.items())[:_SHOWN]]
        if len(self.functions) > _SHOWN:
            parts.append("...")
        return f"<ProgramTypes: {'; '.join(parts) or 'no functions'}>"

    def _repr_html_(self) -> str:
        lines = [f"{slot}: {self.btf.describe(id)}" for slot, id in self.functions.items()]
        return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def _items(given: object, where: str, of: type[T], expected: str) -> dict[int, T]:
    """Return the items of a mapping of slots, in their order."""
    try:
        items = dict(given) if isinstance(given, Mapping) else None
    except Exception:  # whatever a foreign mapping raises
        items = None
    if items is None or not all(type(key) is int and isinstance(value, of) for key, value in items.items()):
        raise BpfMisuseError(f"{shown(given)} names no functions", where=where, expected=expected)
    for slot in items:
        whole(slot, f"{where}, slot", 0, _U32, error=BpfMisuseError)
    return dict(sorted(items.items()))


def _check_function(btf: Btf, id: int) -> None:
    function = btf[id]
    if not isinstance(function, Function):
        raise BtfError(f"{shown(btf.describe(id))} is no function", type_id=id, expected="a FUNC")
    if not isinstance(btf[function.prototype], Prototype):
        raise BtfError("what the function takes and returns is no prototype", type_id=id, expected="a FUNC_PROTO")


# --- Declarations ------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?P<space>\s+|/\*.*?\*/|//[^\n]*)|(?P<word>[A-Za-z_]\w*)|(?P<number>\d\w*)|(?P<sign>\.\.\.|[^\w\s])|(?P<other>.)",
    re.ASCII | re.DOTALL,
)
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")
_LONGEST_TEXT = 1 << 16
_LONGEST_NAME = 511
_DEEPEST = 16
_MOST_WORDS = 5
_MOST_MEMBERS = (1 << 16) - 1
_LARGEST_BODY = 1 << 29
"""Bytes that no struct reaches: the places of members are counted in 32 bits."""

ARGUMENT_TAGS = {
    f"__arg_{word}": f"arg:{word}" for word in ("ctx", "nonnull", "nullable", "trusted", "untrusted", "arena")
}
"""What the kernel's macros for parameters say."""


class _Integer(NamedTuple):
    name: str
    size: int
    encoding: Encoding = Encoding.NONE


def _spellings() -> dict[tuple[str, ...], _Integer]:
    """Return the integers of C by the words for them, sorted."""
    found = {
        ("char",): _Integer("char", 1, Encoding.SIGNED),
        ("char", "signed"): _Integer("signed char", 1, Encoding.SIGNED),
        ("char", "unsigned"): _Integer("unsigned char", 1),
        ("_Bool",): _Integer("_Bool", 1, Encoding.BOOL),
    }
    for name, size in (("short", 2), ("int", 4), ("long", 8), ("long long", 8), ("__int128", 16)):
        words = [] if name == "int" else name.split()
        for more in ([], ["int"]) if name != "__int128" else ([],):
            for sign in ([], ["signed"], ["unsigned"]):
                if words + more + sign:
                    integer = _Integer(name, size, Encoding.SIGNED)
                    if sign == ["unsigned"]:
                        integer = _Integer(f"unsigned {name}", size)
                    found[tuple(sorted(words + more + sign))] = integer
    return found


_INTEGERS = _spellings()
_PARTS = frozenset(word for words in _INTEGERS for word in words)
_BY_BITS = {8: ("signed char", "unsigned char"), 16: ("short", "unsigned short"), 32: ("int", "unsigned int")}
_BY_BITS[64] = ("long long", "unsigned long long")
_NAMES: dict[str, str] = {"bool": "_Bool", "size_t": "unsigned long"}
"""Names that are typedefs, and what they are of."""
for _bits, (_signed, _unsigned) in _BY_BITS.items():
    _NAMES |= dict.fromkeys((f"s{_bits}", f"__s{_bits}", f"int{_bits}_t"), _signed)
    _NAMES |= dict.fromkeys((f"u{_bits}", f"__u{_bits}", f"uint{_bits}_t"), _unsigned)
    if _bits > 8:
        _NAMES |= dict.fromkeys((f"__be{_bits}", f"__le{_bits}"), _unsigned)
_TAGGED = frozenset({"struct", "union", "enum"})
_QUALIFIERS = frozenset({"const", "volatile"})
_TAKEN = frozenset({*_PARTS, *_NAMES, *_TAGGED, *_QUALIFIERS, *ARGUMENT_TAGS, "void", "static", "extern", "restrict"})


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


class _Tokens:
    """The words and signs of one declaration, read from left to right."""

    def __init__(self, text: str, slot: int | None) -> None:
        self._text = text
        self._slot = slot
        if len(text) > _LONGEST_TEXT:
            raise self.error(0, f"{len(text)} characters", expected=f"{_LONGEST_TEXT} at most")
        self._all = [
            _Token(str(found.lastgroup), found.group(), found.start())
            for found in _TOKEN.finditer(text)  # every character is in some token
            if found.lastgroup != "space"
        ]
        self._all.append(_Token("end", "", len(text)))
        self._at = 0

    def peek(self) -> _Token:
        return self._all[self._at]

    def take(self) -> _Token:
        token = self._all[self._at]
        self._at = min(self._at + 1, len(self._all) - 1)
        return token

    def accept(self, text: str) -> bool:
        found = self.peek().text == text
        if found:
            self.take()
        return found

    def expect(self, text: str, expected: str | None = None) -> None:
        if not self.accept(text):
            raise self.unexpected(expected or repr(text))

    def name(self, expected: str) -> _Token:
        """Take a name that means nothing else."""
        token = self.peek()
        if token.kind != "word" or token.text in _TAKEN:
            raise self.unexpected(expected)
        if len(token.text) > _LONGEST_NAME:
            raise self.error(token.start, "the name is too long", expected=f"{_LONGEST_NAME} characters at most")
        return self.take()

    def error(self, at: int, what: str, *, expected: str | None = None, hint: str | None = None) -> DeclarationError:
        line = self._text.count("\n", 0, at) + 1 if "\n" in self._text else None
        column = at - self._text.rfind("\n", 0, at)
        return DeclarationError(what, slot=self._slot, line=line, column=column, expected=expected, hint=hint)

    def unexpected(self, expected: str, hint: str | None = None) -> DeclarationError:
        token = self.peek()
        what = "the declaration ends" if token.kind == "end" else f"unexpected {shown(token.text)}"
        return self.error(token.start, what, expected=expected, hint=hint)


class _Known(NamedTuple):
    """A type that was declared: its id, its bytes (None where they are not known) and what it is aligned to."""

    id: int
    size: int | None
    alignment: int = 1


@dataclass(slots=True)
class _Tagged:
    """What a name behind ``struct``, ``union`` or ``enum`` stands for."""

    word: str
    known: _Known
    has_body: bool = False


class _Declarations:
    """Reads declarations, and builds their types."""

    def __init__(self) -> None:
        self._builder = Builder()
        self._tagged: dict[str, _Tagged] = {}
        self._slots: dict[str, int] = {}
        self._depth = 0

    def types(self, text: str) -> None:
        """Read declarations of structs and unions."""
        tokens = _Tokens(text, None)
        while tokens.peek().kind != "end":
            if tokens.peek().text not in _TAGGED:
                raise tokens.unexpected("'struct', 'union' or 'enum'")
            self._base(tokens)
            tokens.expect(";")

    def function(self, text: str, slot: int) -> int:
        """Read the declaration of a function; return its id."""
        tokens = _Tokens(text, slot)
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
        id = self._builder.function(name.text, self._builder.prototype(result.id, parameters), linkage)
        for component, note in notes:
            self._builder.decl_tag(note, id, component)
        return id

    def build(self) -> Btf:
        """Return all types; what was given no body is known by its name only."""
        for name, tagged in self._tagged.items():
            if not tagged.has_body and tagged.word != "enum":
                self._builder.define(tagged.known.id, Forward(name, tagged.word == "union"))
        return self._builder.build()

    def _parameters(self, tokens: _Tokens) -> tuple[list[Parameter], list[tuple[int, str]]]:
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
            name = f"arg{len(parameters)}"  # the kernel refuses functions whose parameters have no names
            if tokens.peek().text not in {",", ")", *ARGUMENT_TAGS}:
                name = tokens.name("a parameter's name").text
            while tokens.peek().text in ARGUMENT_TAGS:
                notes.append((len(parameters), ARGUMENT_TAGS[tokens.take().text]))
            parameters.append(Parameter(name, type.id))
            if tokens.accept(")"):
                return parameters, notes
            tokens.expect(",", "',' or ')'")

    def _base(self, tokens: _Tokens) -> _Known:
        """Read a type as far as it comes before the name of what has it, pointers apart."""
        qualifiers: set[str] = set()
        words: list[str] = []
        found: _Known | None = None
        start = tokens.peek().start
        while True:
            word = tokens.peek().text
            if word in _QUALIFIERS:
                qualifiers.add(tokens.take().text)
            elif found is None and word in _PARTS:
                words.append(tokens.take().text)
                if len(words) > _MOST_WORDS:
                    raise tokens.error(start, "too many words", expected="an integer type")
            elif found is None and not words and word in _TAGGED:
                found = self._tag(tokens)
            elif found is None and not words and (word == "void" or word in _NAMES):
                found = self._named(tokens.take().text)
            else:
                break
        if words:
            integer = _INTEGERS.get(tuple(sorted(words)))
            if integer is None:
                raise tokens.error(start, f"{shown(' '.join(words))} is no type", expected="an integer type")
            found = self._integer(integer)
        if found is None:
            raise tokens.unexpected(
                "a type", hint="other types than integers are declared as struct NAME, union NAME or enum NAME"
            )
        return self._qualified(found, qualifiers)

    def _qualified(self, type: _Known, qualifiers: set[str]) -> _Known:
        if "volatile" in qualifiers:
            type = type._replace(id=self._builder.volatile(type.id))
        if "const" in qualifiers:
            type = type._replace(id=self._builder.const(type.id))
        return type

    def _integer(self, integer: _Integer) -> _Known:
        id = self._builder.int_(integer.name, integer.size, encoding=integer.encoding)
        return _Known(id, integer.size, integer.size)

    def _named(self, name: str) -> _Known:
        if name == "void":
            return _Known(0, None)
        known = self._integer(_INTEGERS[tuple(sorted(_NAMES[name].split()))])
        return known._replace(id=self._builder.typedef(name, known.id))

    def _pointers(self, tokens: _Tokens, type: _Known) -> _Known:
        depth = 0
        while tokens.peek().text == "*":
            depth += 1
            if depth > _DEEPEST:
                raise tokens.unexpected(f"{_DEEPEST} pointers at most")
            tokens.take()
            type = _Known(self._builder.pointer(type.id), POINTER_SIZE, POINTER_SIZE)
            qualifiers = set()
            while tokens.peek().text in _QUALIFIERS:
                qualifiers.add(tokens.take().text)
            type = self._qualified(type, qualifiers)
        return type

    def _tag(self, tokens: _Tokens) -> _Known:
        """Read ``struct``, ``union`` or ``enum``, a name, and a body if there is one."""
        word = tokens.take().text
        if word != "enum" and tokens.peek().text == "{":
            return self._body(tokens, word, "", self._builder.reserve())
        name = tokens.name(f"the name of {_ARTICLES[word]}")
        tagged = self._tagged.get(name.text)
        if tagged is None:
            if word == "enum":
                known = _Known(self._builder.add(Enum(name.text, 4)), 4, 4)
            else:
                known = _Known(self._builder.reserve(), None)
            tagged = self._tagged[name.text] = _Tagged(word, known)
        elif tagged.word != word:
            raise tokens.error(name.start, f"{name.text} is {_ARTICLES[tagged.word]}", expected=f"'{tagged.word}'")
        if word != "enum" and tokens.peek().text == "{":
            if tagged.has_body:
                raise tokens.error(name.start, f"{word} {name.text} has members already", expected="no others")
            tagged.has_body = True
            tagged.known = self._body(tokens, word, name.text, tagged.known.id)
        return tagged.known

    def _body(self, tokens: _Tokens, word: str, name: str, id: int) -> _Known:
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
        return _Known(id, size, alignment)

    def _declarators(self, tokens: _Tokens) -> Iterator[tuple[int, str, _Known]]:
        """Read members that are declared together, to the semicolon; yield place in the text, name and type of each."""
        is_tagged = tokens.peek().text in _TAGGED
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
                raise tokens.unexpected("',' or ';'", hint="bit fields are not known here; Builder.struct() takes them")
            tokens.expect(",", "',' or ';'")

    def _array(self, tokens: _Tokens, type: _Known) -> _Known:
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
            type = _Known(self._builder.array(type.id, count), size, type.alignment)
        return type


_ARTICLES = {"struct": "a struct", "union": "a union", "enum": "an enum"}


def _sizeless(tokens: _Tokens, start: int) -> DeclarationError:
    return tokens.error(
        start,
        "a value of a type whose size is not known",
        expected="a pointer to it, or members before",
        hint="a struct has a size behind its members",
    )


def declare(functions: Mapping[int, str], types: str = "") -> ProgramTypes:
    """Make the types of a program's functions out of declarations in C.

    A struct or union can be given its members once, anywhere: in `types`, or where it is mentioned. One without is
    known by its name only. Parameters without a name are called ``arg0`` and so on.

    Parameters
    ----------
    functions : mapping of int to str
        The slot that a function begins at, and its declaration, such as ``int sum(int a, const char *p)``. With
        ``static`` in front, its linkage is static, else global. Behind a parameter's name can be ``__arg_ctx``,
        ``__arg_nonnull``, ``__arg_nullable``, ``__arg_trusted``, ``__arg_untrusted`` and ``__arg_arena``.
    types : str
        Structs and unions, each with a semicolon behind.

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
    <ProgramTypes: 0 int main(struct xdp_md *ctx); 7 int area(const struct box *of)>
    >>> types.btf.size_of(types.btf.find("box")), types.btf.tags(types.functions[7], 0)
    (24, ('arg:nonnull',))
    """
    given = _items(functions, "declare", str, "a mapping of slots to declarations")
    if not isinstance(types, str):
        raise BpfMisuseError(f"{shown(types)} declares no types", where="declare, types", expected="a str")
    declarations = _Declarations()
    declarations.types(types)
    found = {slot: declarations.function(text, slot) for slot, text in given.items()}
    return ProgramTypes(declarations.build(), found)
