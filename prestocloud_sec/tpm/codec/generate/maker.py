# SPDX-License-Identifier: Apache-2.0
"""The writer of constructors.

A value that a field holds as it is passes by a few comparisons; only what is something else is given to `admit`, which
brings it into form or has the words for what is wrong. Nothing is taken here that `admit` does not return as it is.
"""

from __future__ import annotations

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Kind, Nested, Scalar, layout_of
from prestocloud_sec.tpm.codec.generate.writing import Text, branches_of, in_ranges, selects
from prestocloud_sec.tpm.spec.constants import TPM_RH
from prestocloud_sec.tpm.spec.declare import Declared

__all__ = ["write_maker"]


def write_maker(text: Text, cls: type[Declared]) -> None:
    """Write the body of a constructor whose parameters are the fields: check, bring into form, make."""
    layout = layout_of(cls)
    held: dict[str, str] = {}
    for field in layout.all:
        name, kind = field.name, field.kind
        known = text.name("K", field, lambda kind=kind: kind)  # type: ignore[misc]
        before = f"{{{kind.selector!r}: {kind.selector}}}" if isinstance(kind, Choice) else "{}"
        call = f"{name} = admit({known}, {name}, {layout.name + '.' + name!r}, {before}, asked=True)"
        _Admitting(text, name, call).value(kind, asked=True)
        held[name] = name
    text.add(f"return {text.make(cls, held)}")


class _Admitting:
    """Writes the look at one argument, and the call of `admit` for where it is not in the usual form."""

    def __init__(self, text: Text, name: str, call: str) -> None:
        self.text, self.name, self.call = text, name, call

    def value(self, kind: Kind | None, *, asked: bool) -> None:
        """Write it for an argument of a kind; None is what a union without a member holds."""
        match kind:
            case Array():
                self.elements(kind)
            case Choice():
                self.choice(kind)
            case None:
                self.unless(f"{self.name} is None")
            case _:
                self.unless(_usual(self.text, kind, self.name, asked=asked))

    def unless(self, condition: str) -> None:
        self.text.add(f"if not ({condition}):")
        self.text.add(f"    {self.call}")

    def elements(self, kind: Array) -> None:
        """Write the look at a list: the loop ends by itself if every element is in the usual form."""
        name, element = self.name, self.text.fresh("e")
        least = f"{kind.least} <= " if kind.least else ""
        self.text.add(f"if typeof({name}) is list and len({name}) <= {kind.most}: {name} = tuple({name})")
        self.text.add(f"if typeof({name}) is tuple and {least}len({name}) <= {kind.most}:")
        usual = _usual(self.text, kind.element, element, asked=False)
        self.text.add(f"    for {element} in {name}:")
        self.text.add(f"        if not ({usual}):")
        self.text.add(f"            {self.call}")
        self.text.add("            break")
        self.text.add(f"else: {self.call}")

    def choice(self, kind: Choice) -> None:
        """Write the look at the member of a union: one look into a table where the type says all, else branches."""
        members = kind.kinds
        if all(k is None or (isinstance(k, Nested) and not _is_conditional(k)) for k in members.values()):
            types = {number: k.structure if isinstance(k, Nested) else type(None) for number, k in members.items()}
            self.unless(f"{self.text.name('T', kind, lambda: types)}.get({kind.selector}) is typeof({self.name})")
            return
        word = "if"
        for selectors, (member,) in branches_of([kind]):
            self.text.add(f"{word} {selects(self.text, kind.selector, selectors)}:")
            self.text.depth += 1
            self.value(member, asked=False)
            self.text.depth -= 1
            word = "elif"
        self.text.add(self.call if word == "if" else f"else: {self.call}")


def _is_conditional(kind: Nested | Box) -> bool:
    """Tell whether a structure may be NULL elsewhere, but not here."""
    return not kind.null and layout_of(kind.structure).conditional is not None


def _usual(text: Text, kind: Kind, name: str, *, asked: bool) -> str:
    """Return the condition that a value is already as the field or element holds it."""
    match kind:
        case Scalar():
            return _usual_scalar(text, kind, name, asked=asked)
        case Blob():
            least = f"{kind.sized.least} <= " if kind.sized.least else ""
            return f"typeof({name}) is bytes and {least}len({name}) <= {kind.sized.most}"
        case Digest():
            return f"typeof({name}) is bytes and len({name}) == {kind.size}"
        case Nested() | Box():
            is_one = f"typeof({name}) is {text.of(kind.structure)}"
            conditional = layout_of(kind.structure).conditional
            if conditional is not None and not kind.null:
                is_one += f" and {name}.{conditional[0]} != 0x{conditional[1]:x}"
            return f"{name} is None or {is_one}" if isinstance(kind, Box) and kind.absent else is_one
        case _:
            return "False"  # a list or union as an element: there is none in the tables


def _usual_scalar(text: Text, kind: Scalar, name: str, *, asked: bool) -> str:
    if kind.kind is bool:
        return f"{name} is True or {name} is False"
    if kind.is_attributes:
        return f"typeof({name}) is {text.of(kind.kind)} and not {name}._value_ & 0x{kind.reserved:x}"
    table = text.table(kind, asked=asked)
    if kind.kind is not int:
        return f"typeof({name}) is {text.of(kind.kind)} and {name} in {table}"
    if kind.allowed is not None:
        ranges = in_ranges(kind, name)
        named = any(first <= number <= last for first, last in kind.allowed.ranges for number in text.names[table])
        unless = f" and {name} not in {table}" if named else ""
        plain = [f"typeof({name}) is int and ({ranges}){unless}"] if ranges else []
        known = text.of(TPM_RH) if kind.is_handle else "int"
        plain.append(f"typeof({name}) is {known} and {name} in {table}")
        return " or ".join(f"({part})" for part in plain)
    bits = 8 * kind.size
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.code.islower() else (0, (1 << bits) - 1)
    return f"typeof({name}) is int and {low} <= {name} <= {high}"
