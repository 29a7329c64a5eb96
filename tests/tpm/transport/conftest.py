# SPDX-License-Identifier: Apache-2.0
"""No test here may leave a descriptor, a process or a thread behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from prestocloud_sec.tpm.transport import libtpms
from tests.tpm.transport.peers import children, descriptors, soon


@pytest.fixture(scope="session", autouse=True)
def _one_descriptor_is_kept() -> None:
    """Open what libtpms may write to, which the first TPM in this process does for all."""
    libtpms._silence()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before, processes, threads = descriptors(), children(), threading.active_count()
    yield
    soon(lambda: threading.active_count() <= threads)
    if descriptors() > before or not children() <= processes:
        gc.collect()  # takes longer than most tests
    assert children() <= processes, "a process is left"
    assert descriptors() <= before, "descriptors are left"
