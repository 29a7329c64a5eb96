# SPDX-License-Identifier: Apache-2.0
"""Random numbers of a TPM, as many as are wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.use._doing import client_of
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.wire import BytesLike

__all__ = ["random_bytes", "stir"]

_AT_ONCE = 64
"""More than one digest's worth no TPM gives at once (Part 3, 16.1)."""
_STIRRED = 128
"""The most that TPM2_StirRandom takes (Part 3, 16.2)."""
_MOST = 1 << 26


def random_bytes(client: Client, count: int, *, mix: bool = False) -> bytes:
    """Return random bytes of a TPM.

    Parameters
    ----------
    client : Client
        The TPM. What comes back can be read on the way, unless the client was made with ``protect``.
    count : int
        How many: up to 64 MiB. The TPM is asked as often as it takes.
    mix : bool
        Whether they are mixed with as many of the operating system, so that they are good if either source is.

    Raises
    ------
    TpmFormatError
        If the TPM returns none, or more than it was asked for.
    TpmMisuseError
        If an argument is not what it should be.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     len(random_bytes(client, 1000)), len(random_bytes(client, 1000, mix=True))
    (1000, 1000)
    """
    tpm, left = client_of(client), whole(count, "count", 0, _MOST, error=TpmMisuseError)
    mixed = flag(mix, "mix")
    parts = []
    while left:
        part = tpm.get_random(min(left, _AT_ONCE))
        if not 0 < len(part) <= min(left, _AT_ONCE):
            raise TpmFormatError(f"{len(part)} bytes", where="GetRandom", expected=f"1 to {min(left, _AT_ONCE)}")
        parts.append(part)
        left -= len(part)
    made = b"".join(parts)
    if not mixed:
        return made
    other = os.urandom(len(made))
    return (int.from_bytes(made, "big") ^ int.from_bytes(other, "big")).to_bytes(len(made), "big")


def stir(client: Client, data: BytesLike) -> None:
    """Add to what the TPM's random numbers come from; it never makes them worse.

    Parameters
    ----------
    client : Client
        The TPM.
    data : bytes-like
        Any number of bytes.
    """
    tpm, raw = client_of(client), octets(data, "data")
    for start in range(0, len(raw), _STIRRED):
        tpm.stir_random(raw[start : start + _STIRRED])
