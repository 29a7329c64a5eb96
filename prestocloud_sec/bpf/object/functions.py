# SPDX-License-Identifier: Apache-2.0
"""The types of a program's functions: which function begins where, and what it takes and returns.

`FuncInfo` is what a program carries of them, and what Linux is told when it is loaded (``struct bpf_func_info``).
`prestocloud_sec.bpf.object.declarations` makes one out of declarations as C writes them.

Sources: Linux 6.18, ``include/uapi/linux/bpf.h`` (``struct bpf_func_info``), ``Documentation/bpf/btf.rst``, section
"func_info".
"""

from __future__ import annotations

import html
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError
from prestocloud_sec.bpf.object.btf import Btf
from prestocloud_sec.bpf.object.types import Function, Prototype
from prestocloud_sec.wire import shown, view_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["RECORD", "FuncInfo", "by_slot"]

T = TypeVar("T")

RECORD = struct.Struct("<II")
"""A function's first slot, and its type (``struct bpf_func_info``)."""
_LARGEST_RECORD = 252
_U32 = (1 << 32) - 1
_SHOWN = 4


@dataclass(frozen=True, slots=True, repr=False)
class FuncInfo:
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
    >>> from prestocloud_sec.bpf.object import declare
    >>> types = declare({0: "int main(struct xdp_md *ctx)", 5: "int sum(int a, int b)"})
    >>> types
    <FuncInfo: 0 int main(struct xdp_md *ctx); 5 int sum(int a, int b)>
    >>> FuncInfo.from_records(types.btf, types.records()) == types
    True
    """

    btf: Btf
    functions: Mapping[int, int] = field(hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.btf, Btf):
            raise BpfMisuseError(f"{shown(self.btf)} holds no types", where="FuncInfo.btf", expected="a Btf")
        given = by_slot(self.functions, "FuncInfo.functions", int, "a mapping of slots to ids of functions")
        for id in given.values():
            _check_function(self.btf, id)
        object.__setattr__(self, "functions", MappingProxyType(given))

    @classmethod
    def from_records(cls, btf: Btf, data: BytesLike, record_size: int = RECORD.size) -> FuncInfo:
        """Read the list of functions as Linux is told it.

        Parameters
        ----------
        btf : Btf
            The types.
        data : bytes-like
            Records, each with slot (u32) and type (u32), little-endian.
        record_size : int
            Bytes of each, as the section ``.BTF.ext`` of an object file says it; what is behind the first eight has to
            be zero.

        Raises
        ------
        BtfError
            If the records are not whole, the slots do not ascend, or a type is no function with a prototype.
        BpfMisuseError
            If Linux knows no records of that size, or `btf` is none.
        MisuseError
            If `data` is not bytes-like.
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
        return (FuncInfo, (self.btf, dict(self.functions)))

    def __repr__(self) -> str:
        parts = [f"{slot} {self.btf.describe(id)}" for slot, id in list(self.functions.items())[:_SHOWN]]
        if len(self.functions) > _SHOWN:
            parts.append("...")
        return f"<FuncInfo: {'; '.join(parts) or 'no functions'}>"

    def _repr_html_(self) -> str:
        lines = [f"{slot}: {self.btf.describe(id)}" for slot, id in self.functions.items()]
        return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def by_slot(given: object, where: str, of: type[T], expected: str) -> dict[int, T]:
    """Return the items of a mapping of slots, in their order.

    Raises
    ------
    BpfMisuseError
        If it is no mapping, its keys are no slots, or a value is not of the type `of`.
    """
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
