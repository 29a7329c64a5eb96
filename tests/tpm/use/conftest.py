# SPDX-License-Identifier: Apache-2.0
"""The TPM under test is that of the client's tests; see there."""

from __future__ import annotations

from tests.tpm.client.conftest import client, erasable, uri

__all__ = ["client", "erasable", "uri"]
