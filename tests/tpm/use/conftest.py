# SPDX-License-Identifier: Apache-2.0
"""The TPM under test is that of the client's tests; see there. Many tests have a second one, in this process."""

from __future__ import annotations

import pytest

from prestocloud_sec.tpm.transport import libtpms
from tests.tpm.client.conftest import client, uri

__all__ = ["client", "uri"]


@pytest.fixture(autouse=True)
def _libtpms_is_here() -> None:
    if not libtpms.available():
        pytest.skip("libtpms is not here: apt-get install libtpms0")
