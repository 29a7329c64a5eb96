# SPDX-License-Identifier: Apache-2.0
"""The demo's third stage: the edge device's TPM is attested by the gateway, and gives a secret only in the right state.

The device measures what it runs into PCR 16, which every TPM lets one reset, and keeps a log of it. The gateway knows
the measurements that are good. Both speak the four messages of `prestocloud_sec.tpm.protocol`: enrol, challenge,
evidence, decision. A secret is sealed to the value of the PCR. Then a program runs that nobody knows: the gateway says
which, and the TPM keeps the secret to itself. After a new start all is well again.

Who made the TPM is certified by an authority of the demo's own: a TPM in a process has no certificate of its maker, and
what the gateway checks is the same. On a real TPM nothing stays behind, and PCR 16 is reset in the end.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestocloud_sec.demo.parties import STRANGER, Device, Gateway
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import connect
from prestocloud_sec.tpm.errors import TpmResponseError, TpmUnavailableError

if TYPE_CHECKING:
    from prestocloud_sec.tpm import Client
    from prestocloud_sec.tpm.use import WrappedObject

__all__ = ["DeviceState", "Trust", "opened", "run_trust"]


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What became of the device in one state.

    Attributes
    ----------
    name : str
        The state.
    pcr : str
        The PCR's value, in hexadecimal.
    accepted : bool
        Whether the gateway accepts the device.
    clauses : int
        How many the gateway checked.
    failed : tuple of str
        Those that fail.
    culprit : str
        The measurement that broke trust; empty if none did.
    unsealed : bool
        Whether the TPM gave the secret.
    words : str
        What the TPM said where it did not.
    attest_seconds, unseal_seconds : float
        How long it took.
    """

    name: str
    pcr: str
    accepted: bool
    clauses: int
    failed: tuple[str, ...]
    culprit: str
    unsealed: bool
    words: str
    attest_seconds: float
    unseal_seconds: float


@dataclass(frozen=True, slots=True)
class Trust:
    """What the stage showed.

    Attributes
    ----------
    tpm : str
        The TPM, as it says of itself; empty where there is none.
    missing : str
        What to install where there is no TPM; empty where there is one.
    problem : str
        What the TPM refused that it should not have; empty if nothing.
    messages : tuple of (str, int)
        The four messages, and how many bytes each has.
    states : tuple of DeviceState
        As it should be, with a stranger, and after a new start.
    """

    tpm: str = ""
    missing: str = ""
    problem: str = ""
    messages: tuple[tuple[str, int], ...] = ()
    states: tuple[DeviceState, ...] = ()

    @property
    def as_expected(self) -> bool:
        """Whether the right states were trusted and the wrong one was not; also where there is no TPM to ask."""
        if self.missing:
            return True
        return [(state.accepted, state.unsealed) for state in self.states] == [
            (True, True),
            (False, False),
            (True, True),
        ]

    @property
    def is_complete(self) -> bool:
        """Whether nothing went otherwise than it should."""
        return self.as_expected and not self.problem


@contextmanager
def opened(uri: str | None) -> Iterator[Client | str]:
    """Open the device's TPM; where none is named and none can be made, yield what is missing.

    Parameters
    ----------
    uri : str, optional
        As `prestocloud_sec.tpm.connect` takes it; a TPM in this process if not given.

    Raises
    ------
    PrestoCloudError
        If a TPM is named that cannot be had.
    """
    try:
        client = connect(uri)
    except TpmUnavailableError as error:
        if uri is not None:
            raise
        yield str(error)
        return
    with client:
        yield client


def run_trust(client: Client | str, report: Callable[[DeviceState], None] | None = None) -> Trust:
    """Run the stage.

    Parameters
    ----------
    client : Client or str
        What `opened` has yielded.
    report : callable, optional
        Called with each state as it is there.
    """
    if isinstance(client, str):
        return Trust(missing=client)
    states: list[DeviceState] = []
    words, messages = "", list[tuple[str, int]]()
    try:
        device = Device(client, Gateway())
        words = device.words
        try:
            for state in _states(device):
                states.append(state)
                (report or (lambda _state: None))(state)
            messages = device.sizes
        finally:
            device.close()
    except PrestoCloudError as error:
        return Trust(words or "a TPM", problem=str(error), messages=tuple(messages), states=tuple(states))
    return Trust(words, messages=tuple(messages), states=tuple(states))


def _states(device: Device) -> Iterator[DeviceState]:
    """Yield what becomes of the device, from state to state."""
    secret = secrets.token_bytes(32)
    device.start()
    sealed = device.seal(secret)
    yield _state("as it should be", device, sealed, secret)
    device.measure(STRANGER)
    yield _state("a stranger runs", device, sealed, secret)
    device.start()
    yield _state("started anew", device, sealed, secret)


def _state(name: str, device: Device, sealed: WrappedObject, secret: bytes) -> DeviceState:
    start = time.perf_counter()
    outcome = device.attest()
    attested = time.perf_counter()
    words, unsealed = "", False
    try:
        unsealed = device.unseal(sealed) == secret
    except TpmResponseError as error:
        words = str(error)
    done = time.perf_counter()
    return DeviceState(
        name=name,
        pcr=device.pcr().hex(),
        accepted=outcome.is_accepted,
        clauses=len(outcome.verdict),
        failed=tuple(clause.name for clause in outcome.verdict.failed),
        culprit=outcome.culprit,
        unsealed=unsealed,
        words=words,
        attest_seconds=attested - start,
        unseal_seconds=done - attested,
    )
