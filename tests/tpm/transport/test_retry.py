# SPDX-License-Identifier: Apache-2.0
"""Commands are sent again when the TPM says so, with pauses, and not for ever."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.transport import (
    AsyncRetrying,
    EmbeddedTransport,
    Replayer,
    Retrying,
    RetryPolicy,
    asynchronous,
)
from tests.tpm.transport.peers import ANSWER, RANDOM, command, needs_libtpms, rc_of, response

RETRY, YIELDED, TESTING = response(rc=0x922), response(rc=0x908), response(rc=0x90A)


def run(answers: list[bytes], policy: RetryPolicy | None = None) -> tuple[bytes, int, list[float]]:
    """Return the last answer, how many commands were sent, and the pauses; the same with asyncio."""
    found = []
    pauses: list[float] = []
    with Replayer([(RANDOM, answer) for answer in answers]) as inner:
        tpm = Retrying(inner, policy, sleep=pauses.append)
        found.append((tpm.transceive(RANDOM), len(answers) - inner.remaining, pauses))

    async def again() -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        inner = Replayer([(RANDOM, answer) for answer in answers])
        async with AsyncRetrying(asynchronous(inner), policy, sleep=sleep) as tpm:
            found.append((await tpm.transceive(RANDOM), len(answers) - inner.remaining, waited))

    asyncio.run(again())
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("again", [RETRY, YIELDED])
def test_at_once_and_then_with_pauses(again: bytes) -> None:
    assert run([again, ANSWER]) == (ANSWER, 2, [])
    assert run([again] * 4 + [ANSWER]) == (ANSWER, 5, [0.005, 0.01, 0.02])


def test_a_test_is_waited_for() -> None:
    assert run([TESTING, ANSWER]) == (ANSWER, 2, [0.005])
    assert run([TESTING] * 3 + [ANSWER]) == (ANSWER, 4, [0.005, 0.01, 0.02])
    assert run([RETRY, TESTING, ANSWER]) == (ANSWER, 3, [0.005])


@pytest.mark.parametrize("rc", [0, 0x100, 0x101, 0x909, 0x921, 0x902, 0x98E, 0x20922, 0xB0922, 0x122])
def test_everything_else_is_final(rc: int) -> None:
    assert run([response(rc=rc), ANSWER])[1] == 1


def test_it_ends() -> None:
    assert run([RETRY] * 5, RetryPolicy(attempts=3)) == (RETRY, 3, [0.005])
    assert run([RETRY] * 5, RetryPolicy(attempts=1)) == (RETRY, 1, [])
    answer, sent, pauses = run([TESTING] * 100, RetryPolicy(attempts=90, first=1, longest=4, total=20))
    assert (answer, sent) == (TESTING, 7)
    assert pauses == [1, 2, 4, 4, 4, 4]
    assert run([RETRY] * 30)[1] == 20


@given(st.integers(1, 60), st.floats(0, 3), st.floats(0, 3), st.floats(0, 20), st.booleans())
def test_pauses_are_bounded(attempts: int, first: float, longest: float, total: float, patient: bool) -> None:
    pauses = RetryPolicy(attempts, first, longest, total).pauses(patient=patient)
    assert len(pauses) < attempts or attempts == 1
    assert sum(pauses) <= total + 1e-9
    assert all(0 <= pause <= longest for pause in pauses)
    assert all(a <= b for a, b in pairwise(pauses))


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": 1001},
        {"attempts": "3"},
        {"first": -1},
        {"first": float("nan")},
        {"longest": float("inf")},
        {"total": "1"},
        {"total": True},
    ],
)
def test_policies_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(TpmMisuseError):
        RetryPolicy(**options)


def test_arguments_that_are_none() -> None:
    with Replayer([]) as inner:
        for options in ({"policy": 5}, {"sleep": 5}):
            with pytest.raises(TpmMisuseError):
                Retrying(inner, **options)  # type: ignore[arg-type]
    with pytest.raises(TpmMisuseError):
        AsyncRetrying(5)  # type: ignore[arg-type]


@needs_libtpms
def test_libtpms_wants_to_be_asked_again() -> None:
    """The first use of an algorithm answers TPM_RC_RETRY before the self-test was run."""
    public = bytes.fromhex("0023000b000400720000001000180 00b0003001000000000".replace(" ", ""))
    body = bytes.fromhex("40000001000000094000000900000000000004000000 00".replace(" ", ""))
    body += len(public).to_bytes(2, "big") + public + bytes.fromhex("000000000000")
    with EmbeddedTransport() as inner:
        tpm = Retrying(inner)
        first = tpm.transceive(command(0x131, body, 0x8002))
        assert rc_of(first) == 0
        handle = first[10:14]
        sign = handle + bytes.fromhex("000000094000000900000000000020") + b"\x11" * 32
        sign += bytes.fromhex("0010" + "8024" + "40000007" + "0000")
        with EmbeddedTransport() as raw:
            raw.restore(inner.snapshot())
            assert rc_of(raw.transceive(command(0x15D, sign, 0x8002))) == 0x922
        assert rc_of(tpm.transceive(command(0x15D, sign, 0x8002))) == 0
