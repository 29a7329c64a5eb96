# SPDX-License-Identifier: Apache-2.0
"""How long a TPM may take over a command.

Chips take milliseconds over most commands, seconds over some, and minutes to find the primes of an RSA key. Linux gives
up after 2 minutes in general and after 5 where keys are made or signatures checked (``drivers/char/tpm/tpm2-cmd.c``);
in front of its devices one has to wait a little longer, so that the kernel is the one that ends the command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.wire import shown

__all__ = ["BEHIND_A_KERNEL", "KEY_COMMANDS", "SLOW_COMMANDS", "Timeouts"]

KEY_COMMANDS = (0x131, 0x153, 0x191, 0x124, 0x125, 0x126, 0x156, 0x167, 0x177)
"""CreatePrimary, Create, CreateLoaded, ChangeEPS, ChangePPS, Clear, Import, LoadExternal, VerifySignature."""

SLOW_COMMANDS = (
    0x142,
    0x143,
    0x147,
    0x14B,
    0x152,
    0x157,
    0x159,
    0x15D,
    0x148,
    0x14A,
    0x158,
    0x184,
    0x14C,
    0x14D,
    0x133,
)
"""Self-tests, and what uses a private key: ActivateCredential, Duplicate, Rewrap, Load, RSA_Decrypt, Sign, Certify,
CertifyCreation, Quote, NV_Certify, GetTime, GetSessionAuditDigest, GetCommandAuditDigest."""

_LONGEST = 86400.0


def seconds_of(value: float, name: str) -> float:
    """Return a time to wait as a float if it is more than 0 and at most a day.

    Raises
    ------
    TpmMisuseError
        If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST or math.isnan(value):
        raise TpmMisuseError(shown(value), where=name, expected="seconds, more than 0 and at most a day")
    return float(value)


class Timeouts:
    """Seconds to wait for a response, by the kind of the command.

    Parameters
    ----------
    ordinary : float
        For commands that are not named below.
    slow : float
        For `SLOW_COMMANDS`; at least as long as `ordinary`.
    keys : float
        For `KEY_COMMANDS`; at least as long as `slow`.

    Raises
    ------
    TpmMisuseError
        If one is no number, not more than 0, more than a day, or less than the one before it.

    >>> Timeouts()
    Timeouts(ordinary=30.0, slow=120.0, keys=300.0)
    >>> Timeouts.of(5).of_command(0x17B)
    5.0
    """

    __slots__ = ("by_code", "keys", "ordinary", "slow")

    by_code: Mapping[int, float]
    """The seconds of those commands that are not ordinary."""

    def __init__(self, ordinary: float = 30.0, slow: float = 120.0, keys: float = 300.0) -> None:
        self.ordinary = seconds_of(ordinary, "Timeouts.ordinary")
        self.slow = seconds_of(slow, "Timeouts.slow")
        self.keys = seconds_of(keys, "Timeouts.keys")
        if not self.ordinary <= self.slow <= self.keys:
            raise TpmMisuseError(
                f"{self.ordinary:g}, {self.slow:g}, {self.keys:g}",
                where="Timeouts",
                expected="none below the one before",
            )
        self.by_code = MappingProxyType(
            dict.fromkeys(SLOW_COMMANDS, self.slow) | dict.fromkeys(KEY_COMMANDS, self.keys)
        )

    @classmethod
    def of(cls, value: Timeouts | float | None) -> Timeouts:
        """Return what a caller gave: timeouts, one number of seconds for all commands, or None for the usual ones."""
        if value is None:
            return cls()
        return value if isinstance(value, Timeouts) else cls(value, value, value)

    def of_command(self, code: int) -> float:
        """Return the seconds to wait for the response to a command, by its code."""
        return self.by_code.get(code, self.ordinary)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timeouts):
            return NotImplemented
        return (self.ordinary, self.slow, self.keys) == (other.ordinary, other.slow, other.keys)

    def __hash__(self) -> int:
        return hash((self.ordinary, self.slow, self.keys))

    def __repr__(self) -> str:
        return f"Timeouts(ordinary={self.ordinary}, slow={self.slow}, keys={self.keys})"


BEHIND_A_KERNEL = Timeouts(130.0, 130.0, 310.0)
"""For character devices: ten seconds more than Linux allows the chip."""
