# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the option of the conformance run, Hypothesis profiles, and no silent skips in CI."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ALLOWED_SKIPS = ("CJDROUTE", "hardware TPM", "../shared", "kernel lacks")
"""How the reason of a skip must begin that CI accepts; any other skip fails there."""

settings.register_profile("default", max_examples=60, deadline=None, print_blob=True)
settings.register_profile(
    "ci", max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors",
        metavar="DIR",
        default=None,
        help="directory of vectors (cjdns/, bpf/, tpm/); default: tests/vectors, and ../shared/vectors where it exists",
    )


def pytest_configure() -> None:
    """Let Ctrl-C be heard: a run that a shell starts in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """In CI a test that is skipped for want of something is a test that was not run: say so by failing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        reason = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
        if not reason.startswith(ALLOWED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, where nothing may be missing: {reason}"
    return report
