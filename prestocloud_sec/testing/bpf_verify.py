# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of programs for verifiers; see `prestocloud_sec.bpf.verifier.generator`, which makes them."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from prestocloud_sec.bpf.verifier.generator import MAPS, generate, mutated, numbered
from prestocloud_sec.bpf.verifier.trials import Trial

__all__ = ["MAPS", "generate", "mutated", "numbered", "spoiled", "trials"]


def trials(*, mutate: float = 0.3) -> st.SearchStrategy[Trial]:
    """Programs as `generate` makes them; they shrink with the number that they are made from, not by themselves."""
    return st.integers(0, (1 << 32) - 1).map(lambda seed: generate(random.Random(seed), mutate=mutate))  # noqa: S311


def spoiled(trial: Trial) -> st.SearchStrategy[Trial]:
    """Return programs with a few instructions changed, in all the ways that `mutated` has."""
    return st.integers(0, (1 << 32) - 1).map(lambda seed: mutated(random.Random(seed), trial))  # noqa: S311
