# SPDX-License-Identifier: Apache-2.0
"""The TPM that the client's tests run against: libtpms in this process, or whatever ``TPM`` in the environment names.

``make test-tpm TPM=device:/dev/tpmrm0`` sets it. A TPM that exists beyond the tests keeps what it had: tests that would
erase it are skipped unless ``TPM_ERASE=1`` allows that, and what they make in its NV memory they remove.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from prestocloud_sec.tpm import Client, connect
from prestocloud_sec.tpm.errors import TpmResponseError
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CLOCK_ADJUST, TPM_HT
from prestocloud_sec.tpm.transport import HasPower, libtpms, process
from tests.tpm.client.fakes import Listening
from tests.tpm.client.objects import NV_FIRST, NV_LAST, PERSISTENT_FIRST, PERSISTENT_LAST, Template

URI = os.environ.get("TPM") or "embedded:"
"""The TPM under test."""

IS_OURS = URI.partition(":")[0] in ("embedded", "spawn")
"""Whether it is made for a test and ends with it."""

MAY_ERASE = IS_OURS or os.environ.get("TPM_ERASE") == "1"


@pytest.fixture
def uri() -> str:
    """Return the way to the TPM under test."""
    if URI.startswith("embedded") and not libtpms.available():
        pytest.skip("libtpms is not here: apt-get install libtpms0")
    if URI.startswith("spawn") and not process.available():
        pytest.skip("swtpm is not here: apt-get install swtpm")
    return URI


@pytest.fixture
def client(uri: str) -> Iterator[Client]:
    """Return a client of the TPM under test, which is left as it was."""
    with connect(uri) as made:
        before = None if IS_OURS else _loaded(made)
        yield made
        if not made.closed and not IS_OURS:
            made.protect(protect=False)
            _tidy(made)
    if before is not None:
        with connect(uri) as after:
            assert _loaded(after) == before, "something was left in the TPM"


@pytest.fixture
def listening(uri: str) -> Iterator[tuple[Client, Listening]]:
    """Return a client, and who listens in on it."""
    with connect(uri) as plain:
        between = Listening(plain.transport)
        client = Client(between)
        yield client, between
        if not client.closed:
            between.before, between.after = bytes, bytes
            client.close()


def _loaded(client: Client) -> tuple[tuple[int, ...], ...]:
    kinds = (TPM_HT.TRANSIENT, TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION)
    return tuple(client.capability(TPM_CAP.HANDLES, kind << 24) for kind in kinds)


def _tidy(client: Client) -> None:
    """Remove what tests have left in the ranges of handles that are theirs."""
    for handle in client.capability(TPM_CAP.HANDLES, NV_FIRST):
        if NV_FIRST <= handle <= NV_LAST:
            client.nv_undefine_space(client.owner, handle)
    for handle in client.capability(TPM_CAP.HANDLES, PERSISTENT_FIRST):
        if PERSISTENT_FIRST <= handle <= PERSISTENT_LAST:
            client.evict_control(client.owner, handle, handle)


@pytest.fixture
def power(uri: str, client: Client) -> Callable[[], None]:
    """Return what turns the TPM under test off and on, without warning."""
    transport = client.transport
    if not isinstance(transport, HasPower):
        pytest.skip("hardware TPM: nobody here turns its power off")
    return transport.power_cycle


@pytest.fixture
def platform(client: Client) -> Client:
    """Return the client of a TPM whose platform hierarchy obeys; the firmware of a computer keeps it for itself."""
    try:
        client.clock_rate_adjust(client.platform, TPM_CLOCK_ADJUST.NO_CHANGE)
    except TpmResponseError:
        pytest.skip("hardware TPM: its platform hierarchy is the firmware's")
    return client


@pytest.fixture
def erasable(client: Client) -> Client:
    """Return the client of a TPM that may lose all keys."""
    if not MAY_ERASE:
        pytest.skip("hardware TPM: this would erase it; TPM_ERASE=1 allows that")
    return client


@pytest.fixture
def template() -> Template:
    """Return public areas to make keys with."""
    return Template()
