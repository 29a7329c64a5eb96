# SPDX-License-Identifier: Apache-2.0
"""The root of every error this package raises.

Three branches, told apart because they ask for three different reactions:

- `InputError`: bytes or text from outside (a peer, a file, a user) break a rule. Drop the input, keep going.
- `MisuseError`: the calling code broke a rule of this library. Mend the call.
- `UnavailableError`: something optional is not on this machine. Install it, or go without.

Each pillar has its own small tree below these (``prestocloud_sec.cjdns.errors``, ...). A message says *what* was wrong,
*where*, what was *expected*, and what to do about it; it never contains secret bytes. No operation is half applied when
one of these leaves it.
"""

from __future__ import annotations

__all__ = [
    "InputError",
    "MisuseError",
    "PrestoCloudError",
    "TrailingBytesError",
    "TruncatedError",
    "UnavailableError",
]


class PrestoCloudError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    what : str
        What was wrong.
    where : str, optional
        The place: a field, an offset in bytes, an instruction, a file.
    expected : str, optional
        What a correct input would have had there.
    hint : str, optional
        What the reader can do about it.
    """

    def __init__(
        self, what: str, *, where: str | None = None, expected: str | None = None, hint: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.expected:
            text += f"; expected {self.expected}"
        if self.hint:
            text += f" ({self.hint})"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.__dict__.copy()))


def _rebuild(kind: type[PrestoCloudError], what: str, attributes: dict[str, object]) -> PrestoCloudError:
    """Make an error again from its pickled parts, whatever its constructor takes."""
    error = kind.__new__(kind, what)
    error.__dict__.update(attributes)
    Exception.__init__(error, what)
    return error


class InputError(PrestoCloudError):
    """Bytes or text from outside break a rule; `offset` is the position in bytes where known."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        offset: int | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.offset = offset
        if offset is not None:
            where = f"{where} (offset {offset})" if where else f"offset {offset}"
        super().__init__(what, where=where, expected=expected, hint=hint)


class TruncatedError(InputError):
    """The input ends before a field does."""


class TrailingBytesError(InputError):
    """The input goes on after its last field."""


class MisuseError(PrestoCloudError):
    """The calling code broke a rule of this library (wrong type, impossible argument, wrong order of calls)."""


class UnavailableError(PrestoCloudError):
    """Something optional (a library, a program, a right, a device) is not here."""
