# SPDX-License-Identifier: Apache-2.0
"""What calling code hands in, brought into the form that values are held in, or refused by an error of this pillar."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from prestocloud_sec.errors import MisuseError
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.wire import shown, view_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["instance", "octets", "text"]

T = TypeVar("T")


def octets(data: BytesLike, name: str, size: int | None = None, *, most: int | None = None) -> bytes:
    """Return `data` as bytes; TpmMisuseError unless bytes-like, `size` bytes long and at most `most`, where given."""
    if type(data) is bytes:
        raw = data
    else:
        try:
            raw = bytes(view_of(data, name=name))
        except MisuseError as error:
            raise TpmMisuseError(error.what, where=error.where, expected=error.expected, hint=error.hint) from error
    if size is not None and len(raw) != size:
        raise TpmMisuseError(f"{len(raw)} bytes", where=name, expected=f"{size} bytes")
    if most is not None and len(raw) > most:
        raise TpmMisuseError(f"{len(raw)} bytes", where=name, expected=f"at most {most} bytes")
    return raw


def text(value: str, name: str) -> str:
    """Return `value`, a plain ``str``; TpmMisuseError if it is anything else."""
    if not isinstance(value, str):
        raise TpmMisuseError(f"{type(value).__name__} is not text", where=name, expected="a str")
    return str(value)


def instance(value: object, kind: type[T], name: str) -> T:
    """Return `value` if it is of a kind; TpmMisuseError if not."""
    if not isinstance(value, kind):
        raise TpmMisuseError(shown(value), where=name, expected=f"a {kind.__name__}")
    return value
