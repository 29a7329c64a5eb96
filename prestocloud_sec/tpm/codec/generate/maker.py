# SPDX-License-Identifier: Apache-2.0
"""The writer of constructors."""

from __future__ import annotations

from prestocloud_sec.tpm.codec.fields import (
    Array,
    Blob,
    Box,
    Choice,
    Kind,
    Nested,
    Scalar,
    layout_of,
)
from prestocloud_sec.tpm.codec.generate.writing import (
    Text,
    in_ranges,
)
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
        usual = _usual(text, kind, name)
        if usual is None:
            text.add(call)
        else:
            text.add(f"if not ({usual}):")
            text.add(f"    {call}")
        held[name] = name
    text.add(f"return {text.make(cls, held)}")


def _usual(text: Text, kind: Kind, name: str) -> str | None:
    """Return the condition that a value is already as the field holds it; None where only `admit` can tell."""
    match kind:
        case Scalar():
            return _usual_scalar(text, kind, name)
        case Blob():
            least = f"{kind.sized.least} <= " if kind.sized.least else ""
            return f"typeof({name}) is bytes and {least}len({name}) <= {kind.sized.most}"
        case Nested() | Box():
            is_one = f"typeof({name}) is {text.of(kind.structure)}"
            conditional = layout_of(kind.structure).conditional
            if conditional is not None and not kind.null:
                is_one += f" and {name}.{conditional[0]} != 0x{conditional[1]:x}"
            return f"{name} is None or {is_one}" if isinstance(kind, Box) and kind.absent else is_one
        case Array():
            return f"typeof({name}) is tuple and not {name}" if not kind.least else None
        case Choice():
            kinds = list(kind.kinds.items())
            if not all(
                k is None or (isinstance(k, Nested) and not layout_of(k.structure).conditional) for _, k in kinds
            ):
                return None
            types = {number: k.structure if isinstance(k, Nested) else type(None) for number, k in kinds}
            table = text.name("T", kind, lambda: types)
            return f"{table}.get({kind.selector}) is typeof({name})"
        case _:
            return None


def _usual_scalar(text: Text, kind: Scalar, name: str) -> str:
    if kind.kind is bool:
        return f"{name} is True or {name} is False"
    if kind.is_attributes:
        return f"typeof({name}) is {text.of(kind.kind)} and not {name}._value_ & 0x{kind.reserved:x}"
    if kind.kind is not int:
        return f"typeof({name}) is {text.of(kind.kind)} and {name} in {text.table(kind, asked=True)}"
    if kind.allowed is not None:
        ranges = in_ranges(kind, name)
        plain = (
            [f"typeof({name}) is int and ({ranges}) and {name} not in {text.table(kind, asked=True)}"] if ranges else []
        )
        table = text.table(kind, asked=True)
        if kind.is_handle:
            plain.append(f"typeof({name}) is {text.of(_enum_of_handles())} and {name} in {table}")
        else:
            plain.append(f"typeof({name}) is int and {name} in {table}")
        return " or ".join(f"({part})" for part in plain)
    bits = 8 * kind.size
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.code.islower() else (0, (1 << bits) - 1)
    return f"typeof({name}) is int and {low} <= {name} <= {high}"


def _enum_of_handles() -> type:

    return TPM_RH
