# SPDX-License-Identifier: Apache-2.0
"""Programs with iterators on the stack: what several tests of these begin with."""

from __future__ import annotations

import re


def at(place: int, name: str, *before: str) -> str:
    """Return a call with a pointer to a place in the frame, and lines between."""
    return "\n".join(["r1 = r10", f"r1 += {place}", *before, f"call kfunc bpf_iter_{name}", ""])


NEW, NEXT, DESTROY = at(-8, "num_new", "r2 = 0", "r3 = 10"), at(-8, "num_next"), at(-8, "num_destroy")
BITS = at(-16, "bits_new", "r2 = 0", "r3 = 1")
END = "r0 = 0\nexit"


def loop(turn: str, result: str = END) -> str:
    """Return a loop over the numbers from 0 to 9, with r6 from 0 on."""
    return f"{NEW}r6 = 0\nagain:\n{NEXT}if r0 == 0 goto out\n{turn}\ngoto again\nout:\n{DESTROY}{result}"


SUM = loop("r1 = *(u32 *)(r0 + 0)\nr6 += r1", "r0 = r6\nr0 &= 1\nexit")
ENDLESS = f"{NEW}again:\n{NEXT}r6 = 0\nif r6 == 0 goto again\n{DESTROY}{END}"
UNMADE, MADE = "expected an initialized iter_{} as arg #0", "expected uninitialized iter_{} as arg #0"
NO_NUM, A_NUM = UNMADE.format("num"), MADE.format("num")
KFUNCS = tuple(f"bpf_iter_{type}_{does}" for type in ("num", "bits") for does in ("new", "next", "destroy"))
"""What can be called of the kernel's functions."""


def numbers_for(text: str, numbers: dict[str, int]) -> str:
    """Return a program that calls by number what it calls by name."""
    return re.sub(r"call kfunc (\w+)", lambda found: f"call kfunc {numbers[found[1]]}", text)
