# SPDX-License-Identifier: Apache-2.0
"""Policies as text: trees for people, JSON for files.

The JSON is an object with ``steps``, an array, and a ``label`` where there is one. A step is an object with ``op``, the
name of its command, and all its fields. Nothing can be left out, nothing can be there besides, and bytes are lower-case
hexadecimal digits: so that a policy has one text only.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from typing import Any, TypeVar

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm.errors import PolicyFormatError, TpmMisuseError
from prestocloud_sec.tpm.policy.kinds import shown_bytes
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.policy.step import STEPS, Step
from prestocloud_sec.wire import shown

__all__ = ["dump", "html_tree", "load", "parse", "tree"]

_LARGEST = 1 << 20

T = TypeVar("T")


# --- JSON


def dump(policy: Policy) -> dict[str, Any]:
    """Return a policy as the objects of JSON."""
    steps = [
        {"op": step.op, **{name: kind.dump(getattr(step, name)) for name, kind in step.kinds.items()}}
        for step in policy.steps
    ]
    return {"steps": steps} if policy.label is None else {"label": policy.label, "steps": steps}


def parse(text: str | bytes) -> Policy:
    """Return the policy of a JSON text; see `Policy.from_json`."""
    if not isinstance(text, str | bytes):
        raise TpmMisuseError(type(text).__name__, where="JSON", expected="text")
    # A subclass may lie about its length.
    text = str.__str__(text) if isinstance(text, str) else bytes(memoryview(text))
    if len(text) > _LARGEST:
        raise PolicyFormatError(f"{len(text)} characters", where="JSON", expected=f"at most {_LARGEST}")
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise PolicyFormatError(f"not JSON: {type(error).__name__}", where="JSON", expected="a policy") from error
    policy = load(value, "policy")
    if dump(policy) != value:
        raise PolicyFormatError("not written as it would be", where="policy", expected="what to_json gives")
    return policy


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PolicyFormatError("a key twice", where="JSON", expected="each key once")
    return found


def _no_number(name: str) -> Any:
    raise PolicyFormatError(name, where="JSON", expected="a number")


def load(value: Any, where: str) -> Policy:
    """Return the policy that objects of JSON are."""
    if not isinstance(value, dict) or set(value) - {"label"} != {"steps"} or not isinstance(value["steps"], list):
        raise PolicyFormatError(shown(value), where=where, expected='an object with "steps", and perhaps a "label"')
    label = value.get("label")
    if "label" in value and not isinstance(label, str):
        raise PolicyFormatError(shown(label), where=f"{where}.label", expected="text")
    steps = [_step(step, f"{where}.steps[{number}]") for number, step in enumerate(value["steps"])]
    policy: Policy = _made(Policy, where, *steps, label=label)
    return policy


def _step(value: Any, where: str) -> Step:
    name = value.get("op") if isinstance(value, dict) else None
    kind = STEPS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise PolicyFormatError(shown(name), where=f"{where}.op", expected="the name of a policy command")
    if set(value) != {"op", *kind.kinds}:
        expected = ", ".join(("op", *kind.kinds))
        raise PolicyFormatError(f"{kind.op} with {', '.join(map(shown, value))}", where=where, expected=expected)
    fields = {field: held.load(value[field], f"{where}.{field}") for field, held in kind.kinds.items()}
    branches = fields.pop("branches", ())  # which `OR` takes one by one
    step: Step = _made(kind, where, *branches, **fields)
    return step


def _made(make: Any, where: str, *args: Any, **named: Any) -> Any:
    """Make a value of what a text has; what cannot be is a fault of the text."""
    try:
        return make(*args, **named)
    except PrestoCloudError as error:
        raise PolicyFormatError(error.what, where=where, expected=error.expected, hint=error.hint) from error


# --- trees


def _rows(policy: Policy) -> list[tuple[str, list[tuple[str, Policy | bytes]]]]:
    """Return the line of each step, and what hangs below it."""
    return [(str(step), list(step.children)) for step in policy.steps]


def _title(policy: Policy) -> str:
    count = len(policy.steps)
    size = "no steps" if not count else "1 step" if count == 1 else f"{count} steps"
    return f"policy {policy.label!r} of {size}" if policy.label is not None else f"policy of {size}"


def _caption(what: str, child: Policy | bytes) -> str:
    if isinstance(child, bytes):
        return f"{what}: known by its digest, {shown_bytes(child)}"
    text = f"{what} {child.label!r}" if child.label is not None else what
    return text if child.steps else f"{text}: no steps"


def tree(policy: Policy) -> str:
    """Return a policy as a tree of lines.

    >>> from prestocloud_sec.tpm.policy import AuthValue, NvWritten, OR
    >>> print(Policy(NvWritten(), OR(AuthValue(), bytes(32))))
    policy of 2 steps
    ├─ NvWritten yes
    └─ OR of 2 branches
       ├─ branch 0
       │  └─ AuthValue
       └─ branch 1: known by its digest, 0000000000000000…
    """
    return "\n".join((_title(policy), *_lines(policy, "")))


def _lines(policy: Policy, indent: str) -> Iterator[str]:
    for line, children, last in _with_last(_rows(policy)):
        yield f"{indent}{'└─' if last else '├─'} {line}"
        below = indent + ("   " if last else "│  ")
        for what, child, lowest in _with_last(children):
            yield f"{below}{'└─' if lowest else '├─'} {_caption(what, child)}"
            if isinstance(child, Policy):
                yield from _lines(child, below + ("   " if lowest else "│  "))


def _with_last(rows: list[tuple[str, T]]) -> Iterator[tuple[str, T, bool]]:
    for number, (first, second) in enumerate(rows, 1):
        yield first, second, number == len(rows)


def html_tree(policy: Policy) -> str:
    """Return a policy as nested lists."""
    return f"<div>{html.escape(_title(policy))}{_list(policy)}</div>"


def _list(policy: Policy) -> str:
    items = []
    for line, children in _rows(policy):
        inner = "".join(
            f"<li>{html.escape(_caption(what, child))}{_list(child) if isinstance(child, Policy) else ''}</li>"
            for what, child in children
        )
        items.append(f"<li><code>{html.escape(line)}</code>{f'<ul>{inner}</ul>' if inner else ''}</li>")
    return f"<ol>{''.join(items)}</ol>" if items else ""
