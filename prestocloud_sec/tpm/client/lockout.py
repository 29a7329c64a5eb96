# SPDX-License-Identifier: Apache-2.0
"""Dictionary-attack lockout in words: how many attempts, and how long to wait.

Sources: TPM 2.0 Library, Part 1, 19.8 (dictionary-attack protection); Part 2, 6.13 (the properties).

A TPM counts wrong authorizations. At the limit it refuses to authorize whatever is protected, until it has forgotten
one of them, which takes *lockoutInterval* seconds of it being on. lockoutAuth has no second attempt at all: after one
wrong value it is refused for *lockoutRecovery* seconds, or until the next start if that is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm.client.residence import Steps, some_properties
from prestocloud_sec.tpm.errors import LockoutError, TpmResponseError, TransportError
from prestocloud_sec.tpm.spec.attributes import TPMA_PERMANENT
from prestocloud_sec.tpm.spec.constants import TPM_PT, TPM_RH

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.calls import Call

__all__ = ["Lockout", "lockout_error", "read_lockout"]


@dataclass(frozen=True, slots=True)
class Lockout:
    """Where a TPM's protection against dictionary attacks stands.

    Attributes
    ----------
    failures : int
        Wrong authorizations that are counted now.
    limit : int
        At how many of them it locks.
    interval : int
        Seconds after which it forgets one; 0 if it never does.
    recovery : int
        Seconds for which lockoutAuth is refused after a wrong attempt; 0 if until the next start.
    locked : bool
        Whether it is locked (TPMA_PERMANENT.inLockout).
    """

    failures: int
    limit: int
    interval: int
    recovery: int
    locked: bool

    @property
    def seconds(self) -> int:
        """How long it takes at most, from now, until it is not locked any more; 0 if it is not.

        The TPM does not tell how much of the current interval has passed.
        """
        return max(self.failures - self.limit + 1, 1) * self.interval if self.locked else 0

    def __str__(self) -> str:
        text = f"{self.failures} of {self.limit} failed attempts"
        if not self.locked:
            return f"not locked: {text}"
        if not self.interval:
            return f"locked: {text}, and none is ever forgotten"
        return f"locked: {text}; one is forgotten every {_span(self.interval)}, so wait at most {_span(self.seconds)}"


def _span(seconds: int) -> str:
    """Return a time as people say it."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def read_lockout() -> Steps[Lockout]:
    """Ask the TPM."""
    found: dict[int, int] = {}
    for first, count in ((TPM_PT.PERMANENT, 1), (TPM_PT.LOCKOUT_COUNTER, 4)):
        found |= yield from some_properties(first, count)
    return Lockout(
        failures=found.get(TPM_PT.LOCKOUT_COUNTER, 0),
        limit=found.get(TPM_PT.MAX_AUTH_FAIL, 0),
        interval=found.get(TPM_PT.LOCKOUT_INTERVAL, 0),
        recovery=found.get(TPM_PT.LOCKOUT_RECOVERY, 0),
        locked=bool(found.get(TPM_PT.PERMANENT, 0) & TPMA_PERMANENT.inLockout),
    )


def lockout_error(error: TpmResponseError, call: Call) -> Steps[TpmResponseError]:
    """Return the error for TPM_RC_LOCKOUT, with the time left; without it where the TPM does not tell."""
    try:
        state = yield from read_lockout()
    except TransportError:
        raise
    except PrestoCloudError:
        return error
    if any(entity.number == TPM_RH.LOCKOUT for entity in call.entities[: call.plan.auths]):
        when = f"for {_span(state.recovery)} after a wrong attempt" if state.recovery else "until the next start"
        error.hint = f"lockoutAuth itself is refused {when}"
        seconds = state.recovery or None
    else:
        error.hint = f"{state}; or DictionaryAttackLockReset with lockoutAuth"
        seconds = state.seconds or None
    if isinstance(error, LockoutError):
        error.seconds = seconds
    return error
