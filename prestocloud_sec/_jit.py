# SPDX-License-Identifier: Apache-2.0
"""How this package compiles its numba kernels: nopython, without the GIL, cached on disk.

A kernel module imports this one and is itself imported only where its kernel is first used, so that importing the
package stays cheap. The compiled code lies beside the source where that is writable, otherwise in the user's cache
folder; only the first run on a machine compiles. Where neither can be written, the kernel is compiled for the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["kernel"]

F = TypeVar("F", bound=Callable[..., Any])


def kernel(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles a function with numba in nopython mode, GIL released, cached on disk."""

    def decorate(function: F) -> F:
        try:
            return cast("F", numba.njit(nogil=True, cache=True, **options)(function))
        except RuntimeError:  # "no locator available": no writable place for the cache
            return cast("F", numba.njit(nogil=True, **options)(function))

    return decorate
