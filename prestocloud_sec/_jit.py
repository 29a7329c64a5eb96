# SPDX-License-Identifier: Apache-2.0
"""How this package compiles its numba kernels: nopython, without the GIL, cached on disk.

A kernel module imports this one and is itself imported only where its kernel is first used, so that importing the
package stays cheap. The compiled code lies beside the source where that is writable, otherwise in the user's cache
folder; only the first run on a machine compiles. Where neither can be written, the kernel is compiled for the process.

numba compiles a kernel again when the file it stands in has changed. That is not enough: the code also holds constants
and other kernels from the modules that the file imports. So what names a kernel's code on disk here are the sizes and
times of all of the package's files that its module imports, however indirectly.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

__all__ = ["c_function", "kernel"]

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parent
_IMPORT = re.compile(rf"^\s*(?:from|import) ({_PACKAGE.name}(?:\.\w+)*)(?: import (?:\(([^)]*)\)|(.*)))?", re.MULTILINE)


def _file_of(module: str) -> Path | None:
    """Return the file of a module of this package, or None if there is none."""
    path = _PACKAGE.parent.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def _imports(file: Path) -> frozenset[Path]:
    """Return the files of this package that a file imports itself."""
    found = set()
    for module, listed, rest in _IMPORT.findall(file.read_text()):
        names = re.findall(r"\w+", listed or rest.partition(" as ")[0])
        for name in (module, *(f"{module}.{name}" for name in names)):
            target = _file_of(name)
            if target is not None:
                found.add(target)
    return frozenset(found)


@cache
def _stamp(file: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what tells one state of a file, and of all that it imports, from another."""
    seen: set[Path] = set()
    queue = [file]
    while queue:
        path = queue.pop()
        if path not in seen:
            seen.add(path)
            queue += _imports(path)
    states = ((path.relative_to(_PACKAGE).as_posix(), path.stat()) for path in seen)
    return tuple(sorted((name, state.st_size, state.st_mtime_ns) for name, state in states))


def _stamped(compiled: F) -> F:
    """Let a cached dispatcher or C function of numba be compiled again when anything that its module imports changed.

    numba has no public way to say so; where its internals are other than known here, its own rule stays.
    """
    cache_file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    file = _file_of(str(getattr(compiled, "__module__", "")))
    if hasattr(cache_file, "_source_stamp") and file is not None:
        cast("Any", cache_file)._source_stamp = (cast("Any", cache_file)._source_stamp, _stamp(file))
    return compiled


def kernel(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles a function with numba in nopython mode, GIL released, cached on disk."""

    def decorate(function: F) -> F:
        try:
            return _stamped(cast("F", numba.njit(nogil=True, cache=True, **options)(function)))
        except RuntimeError:  # "no locator available": no writable place for the cache
            return cast("F", numba.njit(nogil=True, **options)(function))

    return decorate


def c_function(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function for C callers: the result's ``address`` is valid while it lives."""
    from numba.core import ccallback, sigutils

    def decorate(function: Callable[..., Any]) -> Any:
        # What numba.cfunc does, with the stamp in between; by itself that looks into the cache at once.
        normal = sigutils.normalize_signature(signature)  # type: ignore[no-untyped-call]
        made = ccallback.CFunc(function, normal, {}, {"nopython": True, "nogil": True})
        with contextlib.suppress(RuntimeError):  # no writable place for the cache
            made.enable_caching()
            _stamped(made)
        made.compile()
        return made

    return decorate
