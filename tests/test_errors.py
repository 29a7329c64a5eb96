# SPDX-License-Identifier: Apache-2.0
"""The tree of errors: three branches, messages that say where, copies that keep everything."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prestocloud_sec
from prestocloud_sec.errors import (
    InputError,
    MisuseError,
    PrestoCloudError,
    TrailingBytesError,
    TruncatedError,
    UnavailableError,
)

BRANCHES = (InputError, MisuseError, UnavailableError)


def all_errors() -> list[type[PrestoCloudError]]:
    """Return every error class of the package, wherever it is defined."""
    for module in pkgutil.walk_packages(prestocloud_sec.__path__, "prestocloud_sec."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    found, queue = [], [PrestoCloudError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue += kind.__subclasses__()
    return sorted(set(found), key=lambda kind: f"{kind.__module__}.{kind.__qualname__}")


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
class TestEveryError:
    def test_is_on_one_branch_at_most(self, kind: type[PrestoCloudError]) -> None:
        assert sum(issubclass(kind, branch) for branch in BRANCHES) <= 1

    def test_says_what_it_means(self, kind: type[PrestoCloudError]) -> None:
        assert kind.__doc__
        assert kind.__doc__ is not PrestoCloudError.__doc__ or kind is PrestoCloudError

    @pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
    def test_survives_being_copied(self, kind: type[PrestoCloudError], again: Any) -> None:
        error = made(kind)
        other = again(error)
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.__dict__ == error.__dict__


def made(kind: type[PrestoCloudError]) -> PrestoCloudError:
    """Return an error of a class with every part that its constructor takes, each of the type it says."""
    parts = {
        name: 7 if "int" in str(parameter.annotation) else f"the {name}"
        for name, parameter in inspect.signature(kind).parameters.items()
    }
    return kind(**parts)


texts = st.text(min_size=1, max_size=20)


@given(what=texts, where=st.none() | texts, expected=st.none() | texts, hint=st.none() | texts)
def test_the_message_has_all_its_parts(what: str, where: str | None, expected: str | None, hint: str | None) -> None:
    error = PrestoCloudError(what, where=where, expected=expected, hint=hint)
    assert (error.what, error.where, error.expected, error.hint) == (what, where, expected, hint)
    for part in (what, where, expected, hint):
        assert part is None or part in str(error)


def test_the_message_reads_as_a_sentence() -> None:
    error = InputError("3 bytes left", where="frame.length", offset=8, expected="4", hint="the capture is cut")
    assert str(error) == "frame.length (offset 8): 3 bytes left; expected 4 (the capture is cut)"
    assert error.offset == 8
    assert str(InputError("bad", offset=0)) == "offset 0: bad"


def test_branches_keep_apart() -> None:
    assert issubclass(TruncatedError, InputError)
    assert issubclass(TrailingBytesError, InputError)
    for one in BRANCHES:
        assert not any(issubclass(one, other) for other in BRANCHES if other is not one)
