# SPDX-License-Identifier: Apache-2.0
"""What every entry of this folder asks of its arguments."""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.wire import result_of, shown

__all__ = ["address_from", "check_callable", "check_time", "check_type"]

_LATEST = 1e300  # seconds: added up, still finite


def check_type(value: object, kind: type, where: str) -> None:
    """Raise CjdnsMisuseError unless `value` is of a type."""
    if not isinstance(value, kind):
        raise CjdnsMisuseError(f"a {type(value).__name__}", where=where, expected=f"a {kind.__name__}")


def check_time(value: object, where: str = "now") -> None:
    """Raise CjdnsMisuseError unless `value` is a number of seconds."""
    if not isinstance(value, int | float) or not abs(value) <= _LATEST:
        raise CjdnsMisuseError(shown(value), where=where, expected="a finite number of seconds")


def check_callable(value: object, where: str) -> None:
    """Raise CjdnsMisuseError unless `value` can be called."""
    if not callable(value):
        raise CjdnsMisuseError(f"a {type(value).__name__}", where=where, expected="a function")


def address_from(of: Callable[[PublicKey], Address], key: PublicKey) -> Address:
    """Return the address of a key by the function a caller injected, and hold that to its promise."""
    address = result_of(of, key, name="address_of", expected="a function of a key", error=CjdnsMisuseError)
    check_type(address, Address, "what address_of returns")
    return address
