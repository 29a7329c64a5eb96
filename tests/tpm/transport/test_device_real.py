# SPDX-License-Identifier: Apache-2.0
"""A real character device: the one that the environment variable TPM names, such as ``device:/dev/tpmrm0``.

What is expected was measured on Linux 6.1, with tpm_tis and tpm_crb in front of swtpm in QEMU.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

import pytest

from prestocloud_sec.tpm.errors import TransportBusyError, TransportClosedError, TransportRefusedError
from prestocloud_sec.tpm.transport import DeviceTransport
from tests.tpm.transport.peers import (
    RANDOM,
    STARTUP,
    command,
    create_rsa_primary,
    descriptors,
    get_random,
    in_threads,
    rc_of,
    soon,
)

NAMED = os.environ.get("TPM", "")
DEVICE = NAMED.removeprefix("device:") if NAMED.startswith("device:") else ""
real = pytest.mark.skipif(not DEVICE, reason="hardware TPM: set TPM to a device, such as device:/dev/tpmrm0")
managed = pytest.mark.skipif("tpmrm" not in DEVICE, reason="hardware TPM: no device with a resource manager in TPM")
bare = pytest.mark.skipif("tpmrm" in DEVICE or not DEVICE, reason="hardware TPM: no bare device in TPM")


@pytest.fixture
def tpm() -> Iterator[DeviceTransport]:
    with DeviceTransport(DEVICE) as transport:
        yield transport


@real
def test_commands_are_answered(tpm: DeviceTransport) -> None:
    answers = {tpm.transceive(RANDOM) for _ in range(20)}
    assert len(answers) == 20
    assert {rc_of(answer) for answer in answers} == {0}
    assert rc_of(tpm.transceive(STARTUP)) == 0x100
    assert rc_of(tpm.transceive(command(0x17B))) & 0xFFF != 0
    assert rc_of(tpm.transceive(command(0x17B, b"\0\x10", tag=0x1234))) == 0x84


@real
def test_an_unknown_command(tpm: DeviceTransport) -> None:
    assert rc_of(tpm.transceive(command(0x1FF))) & 0xFFF == 0x143


@real
def test_the_longest_command(tpm: DeviceTransport) -> None:
    assert rc_of(tpm.transceive(command(0x17D, bytes(4086)))) & 0x8F == 0x83  # TPM_RC_HASH: no algorithm 0
    assert rc_of(tpm.transceive(RANDOM)) == 0


@real
def test_threads_share_it(tpm: DeviceTransport) -> None:
    seen: list[bytes] = []
    in_threads(lambda _: seen.extend(tpm.transceive(RANDOM) for _ in range(20)), 4)
    assert len(set(seen)) == 80


@real
def test_a_key_is_made(tpm: DeviceTransport) -> None:
    answer = tpm.transceive(create_rsa_primary())
    assert rc_of(answer) == 0
    assert rc_of(tpm.transceive(command(0x165, answer[10:14]))) == 0


@real
def test_an_unread_answer_is_dropped(tpm: DeviceTransport) -> None:
    """As after an interruption: the command was sent, its answer is owed."""
    os.write(tpm._descriptor, get_random(7))
    tpm._owed, tpm._ready = True, False

    def again() -> bytes | None:
        with contextlib.suppress(TransportBusyError):
            return tpm.transceive(get_random(9))
        return None

    assert len(soon(again)) == 12 + 9


@real
def test_somebody_else_has_written(tpm: DeviceTransport) -> None:
    """The kernel refuses a second command with EBUSY, and the transport is usable after it."""
    os.write(tpm._descriptor, get_random(7))
    soon(lambda: tpm._poll.poll(0))
    with pytest.raises(TransportBusyError):
        tpm.transceive(RANDOM)
    assert len(tpm.transceive(get_random(9))) == 12 + 9


@real
def test_open_and_close(tpm: DeviceTransport) -> None:
    tpm.close()
    before = descriptors()
    for _ in range(20):
        with DeviceTransport(DEVICE) as other:
            assert rc_of(other.transceive(RANDOM)) == 0
    assert descriptors() == before


@managed
def test_several_may_have_it(tpm: DeviceTransport) -> None:
    with DeviceTransport(DEVICE) as other:
        assert rc_of(other.transceive(RANDOM)) == rc_of(tpm.transceive(RANDOM)) == 0


@managed
def test_a_handle_of_nobody_is_refused_by_the_kernel(tpm: DeviceTransport) -> None:
    with pytest.raises(TransportRefusedError, match="EINVAL") as caught:
        tpm.transceive(command(0x165, bytes.fromhex("80ffffff")))
    assert caught.value.number == errno.EINVAL
    assert not tpm.closed
    assert rc_of(tpm.transceive(RANDOM)) == 0


@managed
def test_a_session_that_somebody_else_flushed(tpm: DeviceTransport) -> None:
    start = command(0x176, bytes.fromhex("4000000740000007" + "0010" + "11" * 16 + "0000" + "01" + "0010" + "000b"))
    answer = tpm.transceive(start)
    assert rc_of(answer) == 0
    session = answer[10:14]
    with DeviceTransport(DEVICE) as other:
        assert rc_of(other.transceive(command(0x165, session))) == 0
    with pytest.raises(TransportClosedError, match="a session that it has was flushed"):
        tpm.transceive(command(0x180, session))
    assert tpm.closed
    with DeviceTransport(DEVICE) as other:
        assert rc_of(other.transceive(RANDOM)) == 0


@bare
def test_one_may_have_it(tpm: DeviceTransport) -> None:
    with pytest.raises(TransportBusyError, match="somebody else has the TPM"):
        DeviceTransport(DEVICE)
    assert rc_of(tpm.transceive(RANDOM)) == 0
