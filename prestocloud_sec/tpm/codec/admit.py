# SPDX-License-Identifier: Apache-2.0
"""What a caller may put into a field: the checks of a constructor, with words.

The derived constructors look at the types that values usually have; whatever does not have one comes here, and is
either brought into the form that the field holds (any bytes-like object for bytes, any integer for an enumeration that
has it, any iterable for a list) or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Field, Kind, Nested, Scalar, layout_of
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.declare import Declared
from prestocloud_sec.wire import items_of, shown, whole

__all__ = ["admit", "admit_all"]


def admit_all(cls: type[Declared], values: Mapping[str, Any]) -> list[Any]:
    """Return the values of all fields as they are held, in order; TpmMisuseError where one cannot be held."""
    layout = layout_of(cls)
    held: dict[str, Any] = {}
    for field in layout.all:
        held[field.name] = admit(field.kind, values[field.name], _where(layout.name, field), held, asked=True)
    return list(held.values())


def _where(owner: str, field: Field) -> str:
    return f"{owner}.{field.name}"


def admit(kind: Kind, value: Any, where: str, before: Mapping[str, Any], *, asked: bool) -> Any:
    """Return `value` as a field holds it.

    Parameters
    ----------
    kind : Kind
        What the field is.
    value : object
        What the caller gave.
    where : str
        What errors call the field.
    before : mapping
        The fields before it, by name.
    asked : bool
        Whether the structure around it may be NULL.

    Raises
    ------
    TpmMisuseError
        If the field cannot hold it.
    """
    match kind:
        case Scalar():
            return _admit_number(kind, value, where, asked=asked)
        case Blob():
            return _admit_bytes(value, where, kind.sized.least, kind.sized.most)
        case Digest():
            return _admit_bytes(value, where, kind.size, kind.size)
        case Nested() | Box():
            return _admit_structure(kind, value, where)
        case Array():
            return _admit_elements(kind, value, where)
        case Choice():
            return _admit_member(kind, value, where, before)


def _admit_number(kind: Scalar, value: Any, where: str, *, asked: bool) -> int:
    number = whole(value, where, None, error=TpmMisuseError)
    bits = 8 * kind.size
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind.code.islower() else (0, (1 << bits) - 1)
    if not low <= number <= high:
        raise TpmMisuseError(shown(number), where=where, expected=f"{low} to {high}")
    if not kind.takes(number, asked=asked):
        raise TpmMisuseError(kind.words(number), where=where, expected=kind.expected)
    return kind.held(number)


def _admit_bytes(value: Any, where: str, least: int, most: int) -> bytes:
    data = octets(value, where)
    if not least <= len(data) <= most:
        expected = f"{least} bytes" if least == most else f"{least} to {most}"
        raise TpmMisuseError(f"{len(data)} bytes", where=where, expected=expected)
    return data


def _admit_elements(kind: Array, value: Any, where: str) -> tuple[Any, ...]:
    held: list[Any] = []
    for element in items_of(value, where, "elements", error=TpmMisuseError):
        if len(held) == kind.most:  # before the rest of an iterable that may have no end
            raise TpmMisuseError(f"more than {kind.most} elements", where=where, expected=f"{kind.most} at most")
        held.append(admit(kind.element, element, f"{where}[{len(held)}]", {}, asked=False))
    if len(held) < kind.least:
        raise TpmMisuseError(f"{len(held)} elements", where=where, expected=f"{kind.least} or more")
    return tuple(held)


def _admit_member(kind: Choice, value: Any, where: str, before: Mapping[str, Any]) -> Any:
    selector = before[kind.selector]
    if int(selector) not in kind.kinds:
        raise TpmMisuseError(
            f"nothing is known for {kind.selector} {shown(selector)}",
            where=where,
            expected=f"{kind.selector} one of {', '.join(f'0x{number:x}' for number in kind.kinds)}",
        )
    member = kind.kinds[int(selector)]
    if member is not None:
        return admit(member, value, where, before, asked=False)
    if value is not None:
        raise TpmMisuseError(
            shown(type(value).__name__), where=where, expected=f"None, as {kind.selector} is {shown(selector)}"
        )
    return None


def _admit_structure(kind: Nested | Box, value: Any, where: str) -> Any:
    wanted = kind.structure
    if value is None and isinstance(kind, Box) and kind.absent:
        return None
    if type(value) is not wanted:
        raise TpmMisuseError(
            f"a {type(value).__name__}" if not isinstance(value, type) else f"the class {value.__name__}",
            where=where,
            expected=f"a {wanted.__name__}",
            hint=f"{wanted.__name__}.decode() makes one from bytes" if isinstance(value, bytes) else None,
        )
    conditional = layout_of(kind.structure).conditional
    if conditional is not None and not kind.null and getattr(value, conditional[0]) == conditional[1]:
        raise TpmMisuseError(f"NULL as {conditional[0]}", where=where, expected="one that is not NULL")
    return value
