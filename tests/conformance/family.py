# SPDX-License-Identifier: Apache-2.0
"""What a family of recorded cases is: how one case is compared, and which fields make no claim."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Case = dict[str, Any]


def cases_of(document: Any) -> Sequence[Case]:
    """Return the cases of a file that lists them as ``cases``."""
    found: Sequence[Case] = document["cases"]
    return found


def tests_of(document: Any) -> Sequence[Case]:
    """Return the cases of a file that lists them as ``tests``."""
    found: Sequence[Case] = document["tests"]
    return found


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


@dataclass(frozen=True, slots=True)
class Family:
    """One file of cases.

    Attributes
    ----------
    compare : callable
        ``compare(case, document)`` raises AssertionError on any difference between what was recorded and what we do.
    informational : frozenset of str
        Dotted paths of fields, list indexes left out, that state nothing to compare (an id, a remark).
    cases : callable
        Where the cases are in the parsed file.
    load : callable
        How the file is parsed.
    """

    compare: Callable[[Case, Case], None]
    informational: frozenset[str] = field(default_factory=frozenset)
    cases: Callable[[Any], Sequence[Case]] = cases_of
    load: Callable[[Path], Any] = read_json
