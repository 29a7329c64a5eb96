# SPDX-License-Identifier: Apache-2.0
"""What machines that hold secrets have in common: buffers as a TPM has them, randomness, and how secrets end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.wire import result_of

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["LARGEST", "KeepsSecrets", "Random", "buffer", "drawn", "flag", "wipe"]

LARGEST = 0xFFFF
"""The most bytes that a TPM2B can hold (Part 2, 10.4)."""

Random: TypeAlias = Callable[[int], bytes]
"""Returns as many fresh random bytes as it is asked for."""


def buffer(data: BytesLike, where: str) -> bytes:
    """Return what a TPM2B is to hold, as bytes.

    Raises
    ------
    TpmMisuseError
        If it is not bytes-like, or longer than 65535 bytes.
    """
    return octets(data, where, most=LARGEST)


def flag(value: object, where: str) -> bool:
    """Return a truth value that is one.

    Raises
    ------
    TpmMisuseError
        If it is neither True nor False.
    """
    if value is True or value is False:
        return value
    raise TpmMisuseError(f"{type(value).__name__} is not a truth value", where=where, expected="True or False")


def drawn(random: Random, size: int) -> bytes:
    """Take `size` bytes from an injected random source, and hold it to its promise.

    Raises
    ------
    TpmMisuseError
        If it is no source, or returns something else.
    """
    data = result_of(random, size, name="random", expected=f"{size} bytes", error=TpmMisuseError)
    # Exactly `bytes`: a subclass can lie about its length.
    if type(data) is not bytes or len(data) != size:
        raise TpmMisuseError(
            "the random source did not return what it was asked for", where="random", expected=f"{size} bytes"
        )
    return data


def wipe(secret: bytearray) -> None:
    """Overwrite a secret with zeros, in place."""
    secret[:] = bytes(len(secret))


class KeepsSecrets:
    """Base of what is neither copied nor pickled: it holds secrets, or nonces that must roll for one holder only."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse: a secret does not belong in a pickle, and two copies of a session would use its nonces twice."""
        raise TpmMisuseError(
            "holds secrets", where=type(self).__name__, expected="no copy and no pickle", hint="hand the object around"
        )
