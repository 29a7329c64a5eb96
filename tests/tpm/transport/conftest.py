# SPDX-License-Identifier: Apache-2.0
"""No test here may leave a descriptor, a process or a thread behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from tests.tpm.transport.peers import children, descriptors, soon


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    gc.collect()
    before, processes, threads = descriptors(), children(), threading.active_count()
    yield
    gc.collect()
    soon(lambda: threading.active_count() <= threads)
    assert children() <= processes, "a process is left"
    left = descriptors() - before
    # Libraries that TPMs in this process have used are kept for the next, and with the first of them one descriptor.
    assert left <= 1, f"{left} descriptors are left"
