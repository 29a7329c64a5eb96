# SPDX-License-Identifier: Apache-2.0
"""What object files say of programs beside their instructions: the types of BTF, and the functions they describe.

`Btf` reads and holds types, `BtfBuilder` makes some, `declare` makes those of a program's functions out of C
declarations, and `FuncInfo` says which function of a program has which. The classes of types are in
`prestocloud_sec.bpf.object.types`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.object.btf import Btf as Btf
    from prestocloud_sec.bpf.object.builder import BtfBuilder as BtfBuilder
    from prestocloud_sec.bpf.object.declarations import declare as declare
    from prestocloud_sec.bpf.object.functions import FuncInfo as FuncInfo
    from prestocloud_sec.bpf.object.kinds import Encoding as Encoding
    from prestocloud_sec.bpf.object.kinds import Kind as Kind
    from prestocloud_sec.bpf.object.kinds import Linkage as Linkage

_HOMES: dict[str, str] = {
    "Btf": "btf",
    "BtfBuilder": "builder",
    "Encoding": "kinds",
    "Kind": "kinds",
    "Linkage": "kinds",
    "FuncInfo": "functions",
    "declare": "declarations",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
