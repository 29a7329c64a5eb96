# SPDX-License-Identifier: Apache-2.0
"""Addresses of the helpers that run without Python, each compiled when it is first asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

from prestocloud_sec.bpf.helpers.ids import FIRST_KFUNC, HelperId, KfuncId

__all__ = [
    "NATIVE",
    "NATIVE_HELPERS",
    "NATIVE_KFUNCS",
    "NATIVE_PLACES",
    "native_address",
    "native_place",
]

NATIVE: frozenset[int] = frozenset(
    {
        HelperId.MAP_LOOKUP_ELEM,
        HelperId.MAP_UPDATE_ELEM,
        HelperId.MAP_DELETE_ELEM,
        HelperId.KTIME_GET_NS,
        HelperId.GET_PRANDOM_U32,
        HelperId.GET_SMP_PROCESSOR_ID,
        HelperId.REDIRECT,
        HelperId.SKB_LOAD_BYTES,
        HelperId.CSUM_DIFF,
        HelperId.MAP_LOOKUP_PERCPU_ELEM,
        KfuncId.BPF_ITER_NUM_NEW,
        KfuncId.BPF_ITER_NUM_NEXT,
        KfuncId.BPF_ITER_NUM_DESTROY,
    }
)
"""Numbers of these helpers, kernel functions among them."""
NATIVE_HELPERS, NATIVE_KFUNCS = 256, max(NATIVE) - FIRST_KFUNC + 1
"""In tables of addresses stand first so many helpers by their number, then so many kernel functions by theirs."""
NATIVE_PLACES = NATIVE_HELPERS + NATIVE_KFUNCS


def native_place(number: int) -> int:
    """Return the place in such a table of a helper of `NATIVE`."""
    return number if number < NATIVE_HELPERS else NATIVE_HELPERS + number - FIRST_KFUNC


@cache
def _compiled(number: int) -> Any:
    """Return the compiled function of a helper, from the cache on disk where it is there."""
    from prestocloud_sec._jit import c_function
    from prestocloud_sec.bpf.helpers.native_kernel import ENTRIES, SIGNATURE

    return c_function(SIGNATURE)(ENTRIES[number])


def native_address(number: int) -> int:
    """Return the address of a helper of `NATIVE`: a C function of the state's address and r1 to r5 that returns r0.

    It is valid as long as the process lives. What it leaves in the state besides is said in
    `prestocloud_sec.bpf.helpers.native_kernel`.
    """
    return int(_compiled(number).address)
