# SPDX-License-Identifier: Apache-2.0
"""What a family of recorded cases is: how one case is compared, and which fields make no claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Case = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """One file of cases.

    Attributes
    ----------
    compare : callable
        ``compare(case, document)`` raises AssertionError on any difference between what was recorded and what we do.
    informational : frozenset of str
        Dotted paths of fields, list indexes left out, that state nothing to compare (an id, a remark).
    """

    compare: Callable[[Case, Case], None]
    informational: frozenset[str] = field(default_factory=frozenset)
