# SPDX-License-Identifier: Apache-2.0
"""Packages whose public names are imported from their modules where they are first used (PEP 562).

A package lists its names twice: once for type checkers, as imports under ``TYPE_CHECKING``, and once as a table from
name to module. A test holds the two together.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping

__all__ = ["lazy"]


def lazy(
    package: str, homes: Mapping[str, str], modules: Collection[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for `package`, which takes each name of `homes` from its module.

    What helps to define the package, and is not part of it, is left out of ``dir``.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping of str to str
        From public name to the module below the package that defines it.
    modules : collection of str
        Modules below the package that are names of it too, imported where they are first used.
    """

    def __getattr__(name: str) -> object:  # noqa: N807  (PEP 562)
        home = homes.get(name)
        if home is None:
            if name in modules:
                return importlib.import_module(f"{package}.{name}")  # which makes it an attribute, too
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value = getattr(importlib.import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*homes, *modules, *(name for name in vars(sys.modules[package]) if name.startswith("__"))})

    return __getattr__, __dir__
