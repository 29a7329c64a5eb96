# SPDX-License-Identifier: Apache-2.0
"""Gives a declared class its constructor, decoder and encoder, when it is first used.

The text that `prestocloud_sec.tpm.codec.generate` writes is compiled and put onto the class in place of the methods of
its base, which lead here. A frozen value is made in a *draft*: a class with the same slots that can be written to,
which turns into the frozen one when it is complete; that is several times cheaper than writing around the frozen one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.codec.admit import admit
from prestocloud_sec.tpm.codec.fields import Blob, Box, layout_of
from prestocloud_sec.tpm.codec.generate.decoder import write_decoder
from prestocloud_sec.tpm.codec.generate.encoder import write_encoder
from prestocloud_sec.tpm.codec.generate.maker import write_maker
from prestocloud_sec.tpm.codec.generate.writing import Text
from prestocloud_sec.tpm.codec.walk import walk_decode, walk_parameters
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.declare import AuthRole, Command, Declared, DeclaredType, SessionUse, Structure

__all__ = ["derive", "draft_of", "install", "source_of"]


@cache
def draft_of(cls: type[Declared]) -> type:
    """Return the class that values of a declared class are made in."""
    base = cls.__mro__[1]
    space = {
        "__slots__": cls.__dict__["__slots__"],
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
        "__annotations__": {},
        "__module__": cls.__module__,
        "__qualname__": f"{cls.__qualname__}.<draft>",
    }
    made: type = DeclaredType(cls.__name__, (base,), space)
    type.__setattr__(made, "__class__", DeclaredType)
    return made


def _is_declaration(cls: type[Declared]) -> bool:
    """Tell a class with fields of its own from the bases that all have in common."""
    return cls.__module__ != Declared.__module__


@cache
def derive(cls: type[Declared]) -> tuple[str, dict[str, Any]]:
    """Return the text for a declared class, and the objects that it speaks of.

    Three functions: the constructor, then the class method that decodes and the method that encodes, whose names, other
    for a structure than for a command or response, are ``methods``.
    """
    text = Text(draft_of)
    names = ("decode", "encode") if issubclass(cls, Structure) else ("decode_parameters", "encode_parameters")
    _write_constructor(text, cls)
    _write_decoding(text, cls, names[0])
    _write_encoding(text, cls, names[1])
    text.names |= {
        "octets": octets,
        "admit": admit,
        "walk_decode": walk_decode,
        "walk_parameters": walk_parameters,
        "keep": Declared.__dict__["_wire"].__set__,
        "methods": names,
    }
    return str(text), text.names


def _write_constructor(text: Text, cls: type[Declared]) -> None:
    arguments = "".join(f", {field.name}" for field in layout_of(cls).all)
    text.add(f"def __new__(cls{arguments}):")
    text.depth = 1
    write_maker(text, cls)
    text.depth = 0


def _write_decoding(text: Text, cls: type[Declared], name: str) -> None:
    """Write the quick way, and behind it the plain walk for whatever the quick way does not take."""
    layout, own = layout_of(cls), text.of(cls)
    is_structure = issubclass(cls, Structure)
    options = "" if is_structure else "handles=(), "
    again = f"walk_decode({own}, d" if is_structure else f"walk_parameters({own}, d, h"
    text.add("")
    text.add("")
    text.add("@classmethod")
    text.add(f"def {name}(cls, data, *, {options}lenient=False):")
    text.depth = 1
    text.add(f"d = data if type(data) is bytes else octets(data, {layout.name!r})")
    if not is_structure:
        text.add("h = handles")
    text.add(f"if lenient: return {again}, lenient=True)")
    text.add("try:")
    text.depth = 2
    write_decoder(text, cls, layout.handles)
    text.depth = 1
    text.add("except Exception:  # whatever it is, the walk has the words for it")
    text.add(f"    return {again})")
    text.depth = 0


def _write_encoding(text: Text, cls: type[Declared], name: str) -> None:
    text.add("")
    text.add("")
    text.add(f"def {name}(self):")
    text.depth = 1
    text.add("w = self._wire")
    text.add("if w is not None: return w")
    write_encoder(text, cls, "self")
    text.add("keep(self, w)")
    text.add("return w")


def source_of(cls: type[Declared]) -> str:
    """Return the text that was derived for a class."""
    _refuse_base(cls)
    return derive(cls)[0]


def _refuse_base(cls: type[Declared]) -> None:
    if not _is_declaration(cls):
        raise TpmMisuseError(f"{cls.__name__} has no fields", hint="use one of the classes below it")


def compiled(cls: type[Declared], **others: Any) -> dict[str, Any]:
    """Return the functions of a class, compiled anew; `others` replaces objects that the text speaks of."""
    source, names = derive(cls)
    space = {**names, **others}
    exec(compile(source, f"<codec of {cls.__qualname__}>", "exec"), space)  # noqa: S102
    return space


def install(cls: type[Declared]) -> None:
    """Give a class what its declaration says; TpmMisuseError for a base class."""
    _refuse_base(cls)
    space = compiled(cls)
    methods: dict[str, Callable[..., Any]] = {name: space[name] for name in space["methods"]}
    for name, method in methods.items():
        setattr(cls, name, method)
    layout = layout_of(cls)
    if not issubclass(cls, Structure):
        first = layout.fields[0].kind if layout.fields else None
        two = isinstance(first, Box) or (isinstance(first, Blob) and first.sized.code == "H")
        type.__setattr__(cls, "first_parameter_is_2b", two)
        type.__setattr__(cls, "handle_names", tuple(field.name for field in layout.handles))
    if issubclass(cls, Command):
        auths: tuple[AuthRole | None, ...] = tuple(field.auth for field in layout.handles)
        type.__setattr__(cls, "handle_auths", auths)
        if "sessions" not in cls.__dict__:
            needed = SessionUse.REQUIRED if any(auths) else SessionUse.OPTIONAL
            type.__setattr__(cls, "sessions", needed)
    type.__setattr__(cls, "__new__", staticmethod(space["__new__"]))
    type.__setattr__(cls, "__class__", DeclaredType)  # calls lead to the constructor from now on
