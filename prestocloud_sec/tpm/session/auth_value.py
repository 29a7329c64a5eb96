# SPDX-License-Identifier: Apache-2.0
"""Authorization values: the passwords of keys, NV indexes and hierarchies."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.tpm._secrets import KeepsSecrets, buffer, wipe
from prestocloud_sec.tpm.errors import TpmMisuseError

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["AuthValue", "AuthValueLike", "auth_value"]


class AuthValue(KeepsSecrets):
    """An authorization value, with the zeros at its end off, as every formula uses it (Part 1, 17.6.5).

    It prints nothing, compares in constant time, and can be wiped. A copy is the object itself. Whoever uses the same
    value again and again does well to keep the object: sessions remember the key that they made with it.

    Parameters
    ----------
    value : bytes-like or str
        The value; text is taken as UTF-8.

    Raises
    ------
    TpmMisuseError
        If it is neither, or longer than 65535 bytes.
    """

    __slots__ = ("_value",)

    def __init__(self, value: BytesLike | str = b"") -> None:
        if isinstance(value, str):
            try:
                value = value.encode()
            except UnicodeError:
                # Without its cause: that one shows the text.
                raise TpmMisuseError("text that is not UTF-8", where="authorization value") from None
        self._value: bytearray | None = bytearray(buffer(value, "authorization value").rstrip(b"\0"))

    @property
    def raw(self) -> bytes:
        """The value, as a copy that `wipe` does not reach.

        Raises
        ------
        TpmMisuseError
            If it was wiped.
        """
        return bytes(self.live())

    @property
    def is_empty(self) -> bool:
        """Whether there is no secret at all."""
        return not self.live()

    def live(self) -> bytearray:
        """Return the value itself, not a copy.

        Raises
        ------
        TpmMisuseError
            If it was wiped.
        """
        if self._value is None:
            raise TpmMisuseError("was wiped", where="authorization value", expected="no use after wipe()")
        return self._value

    def wipe(self) -> None:
        """Overwrite the value with zeros; any later use raises TpmMisuseError. Wiping twice is harmless."""
        if self._value is not None:
            wipe(self._value)
            self._value = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AuthValue):
            return NotImplemented
        return hmac.compare_digest(self.live(), other.live())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "AuthValue(wiped)" if self._value is None else "AuthValue(...)"

    def __copy__(self) -> AuthValue:
        return self

    def __deepcopy__(self, memo: object) -> AuthValue:
        return self


AuthValueLike: TypeAlias = "AuthValue | BytesLike | str"
"""What is taken where an authorization value is meant."""


def auth_value(value: AuthValueLike) -> AuthValue:
    """Return `value` as an AuthValue: itself, if it is one.

    Raises
    ------
    TpmMisuseError
        If it is neither bytes-like nor text.
    """
    return value if isinstance(value, AuthValue) else AuthValue(value)
