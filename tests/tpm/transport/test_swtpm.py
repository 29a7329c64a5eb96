# SPDX-License-Identifier: Apache-2.0
"""swtpm: started and ended by us, listening for others, its control channel; and what is said when it dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
    TpmUnavailableError,
    TransportBusyError,
    TransportClosedError,
    TransportProtocolError,
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport import (
    Blob,
    ControlCapability,
    EmbeddedTransport,
    Snapshot,
    SpawnedTransport,
    SwtpmControl,
    SwtpmServer,
    SwtpmTransport,
)
from tests.tpm.transport.peers import (
    RANDOM,
    STARTUP,
    children,
    create_rsa_primary,
    digest_of,
    make_nv_index,
    needs_libtpms,
    needs_swtpm,
    pcr_extend,
    pcr_read,
    pcr_reset,
    rc_of,
    read_nv_public,
    soon,
)

here = needs_swtpm


def ok(tpm: Any, sent: bytes) -> bytes:
    answer: bytes = tpm.transceive(sent)
    assert rc_of(answer) == 0, hex(rc_of(answer))
    return answer


@pytest.fixture
def tpm() -> Iterator[SpawnedTransport]:
    with SpawnedTransport() as transport:
        yield transport


# --- Started here --------------------------------------------------------------------------------------------------


@here
def test_it_is_started_and_ended(tpm: SpawnedTransport) -> None:
    assert tpm.name == "spawn"
    assert tpm.pid in children()
    directory = Path(tpm._child.directory)
    assert directory.is_dir()
    ok(tpm, RANDOM)
    tpm.close()
    assert tpm.pid not in children()
    assert not directory.exists()


@here
def test_without_startup() -> None:
    with SpawnedTransport(startup=False) as tpm:
        assert rc_of(tpm.transceive(RANDOM)) == 0x100
        ok(tpm, STARTUP)
        ok(tpm, RANDOM)


@here
def test_a_directory_keeps_the_tpm(tmp_path: Path) -> None:
    for number in range(3):
        with SpawnedTransport(tmp_path / "state") as tpm:
            assert tpm.name == f"spawn:dir={tmp_path}/state"
            assert rc_of(tpm.transceive(read_nv_public())) == (0 if number else 0x18B)
            if not number:
                ok(tpm, make_nv_index())


@here
def test_one_state_is_one_tpm(tmp_path: Path) -> None:
    with SpawnedTransport(tmp_path) as tpm:
        for other in (SpawnedTransport, SwtpmServer):
            with pytest.raises(TransportBusyError, match=f"{tmp_path}: another TPM runs with this state"):
                other(tmp_path)
        ok(tpm, RANDOM)


@here
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = f"""
import os
from prestocloud_sec.tpm.transport import SpawnedTransport
tpm = SpawnedTransport({str(tmp_path)!r})
print(tpm.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9
    soon(lambda: not _runs(int(done.stdout)))
    with SpawnedTransport(tmp_path) as tpm:
        ok(tpm, RANDOM)


@here
def test_one_that_is_left_open_is_ended_at_the_end() -> None:
    code = """
from prestocloud_sec.tpm.transport import SpawnedTransport
tpm = SpawnedTransport()
print(tpm.pid, tpm._child.directory, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    pid, directory = done.stdout.split()
    assert (done.returncode, done.stderr) == (0, "")
    assert not _runs(int(pid))
    assert not Path(directory).exists()


def _runs(pid: int) -> bool:
    try:
        return "swtpm" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


FORKING = """
import os, sys
from prestocloud_sec.tpm.transport import SpawnedTransport
tpm = SpawnedTransport()
child = os.fork()
if not child:
    assert tpm.closed
    tpm.close()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert len(tpm.transceive(bytes.fromhex("80010000000c0000017b0010"))) == 28
print("lives")
"""


@here
def test_a_forked_child_does_not_end_it() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORKING], capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"lives\n", b"")


@here
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_dies_between_commands(tpm: SpawnedTransport, number: signal.Signals) -> None:
    ok(tpm, RANDOM)
    os.kill(tpm.pid, number)
    soon(tpm._child.has_ended)
    with pytest.raises(TransportClosedError, match=r"closed the connection.*swtpm (was ended by SIGKILL|ended)"):
        tpm.transceive(RANDOM)
    assert tpm.closed
    with pytest.raises(TransportClosedError, match="it is closed: the other end closed"):
        tpm.transceive(RANDOM)


@here
def test_one_that_dies_in_the_middle_of_a_command(tpm: SpawnedTransport) -> None:
    os.kill(tpm.pid, signal.SIGSTOP)
    killer = threading.Timer(0.2, lambda: os.kill(tpm.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(TransportClosedError, match=r"swtpm was ended by SIGKILL.*whether the TPM carried out"):
        tpm.transceive(RANDOM)
    killer.join()
    assert tpm.closed


@here
def test_one_that_hangs() -> None:
    with SpawnedTransport(timeouts=0.2) as tpm:
        os.kill(tpm.pid, signal.SIGSTOP)
        with pytest.raises(TransportTimeoutError):
            tpm.transceive(RANDOM)
        with pytest.raises(TransportBusyError):
            tpm.transceive(RANDOM)
        os.kill(tpm.pid, signal.SIGCONT)

        def again() -> bytes | None:
            with contextlib.suppress(TransportBusyError):
                return tpm.transceive(pcr_read(16))
            return None

        digest_of(soon(again))
        os.kill(tpm.pid, signal.SIGSTOP)
        start = time.monotonic()
    assert time.monotonic() - start < 8  # it hears nothing any more, and is made to end


@here
def test_ctrl_c_is_not_for_it() -> None:
    with SpawnedTransport() as tpm:
        assert os.getpgid(tpm.pid) != os.getpgid(0)


def test_there_is_no_program(tmp_path: Path) -> None:
    for program in ("no-such-swtpm", str(tmp_path), "", "a\0b", 5):
        with pytest.raises(TpmUnavailableError, match=r"there is no program.*apt-get install swtpm"):
            SpawnedTransport(program=program)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "swtpm did not start"),
        ("echo something is wrong >&2; exit 1", "swtpm did not start, saying: something is wrong"),
        ("echo Could not lock access to lockfile >&2; exit 1", "another TPM runs with this state"),
    ],
)
def test_a_program_that_ends_at_once(tmp_path: Path, script: str, words: str) -> None:
    program = tmp_path / "fake"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    for kind in (SpawnedTransport, SwtpmServer):
        with pytest.raises((TpmUnavailableError, TransportBusyError), match=words):
            kind(program=str(program))
    assert not list(tmp_path.glob("swtpm-*"))


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    program = tmp_path / "fake"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    with pytest.raises(TpmUnavailableError, match="cannot be run: Exec format error"):
        SpawnedTransport(program=str(program))


@here
def test_directories_that_are_none(tmp_path: Path) -> None:
    for wrong in ("", "a,b", 5, b"/tmp", "a\0b"):
        with pytest.raises(TpmMisuseError):
            SpawnedTransport(wrong)  # type: ignore[arg-type]
    for options in ({"limit": 3}, {"timeouts": 0}, {"limit": "x"}):
        with pytest.raises(TpmMisuseError):
            SpawnedTransport(**options)  # type: ignore[arg-type]
    (tmp_path / "file").write_text("x")
    with pytest.raises(TpmUnavailableError, match="no state can be kept"):
        SpawnedTransport(tmp_path / "file")
    (tmp_path / "tpm2-00.permall").write_text("nonsense")
    with pytest.raises(TpmUnavailableError, match="swtpm did not start"):
        SpawnedTransport(tmp_path)


# --- Signals and states --------------------------------------------------------------------------------------------


@here
def test_power_locality_and_launch(tpm: SpawnedTransport) -> None:
    assert rc_of(tpm.transceive(pcr_reset(20))) == 0x907
    tpm.set_locality(2)
    ok(tpm, pcr_reset(20))
    tpm.set_locality(0)
    assert rc_of(tpm.transceive(pcr_reset(20))) == 0x907
    with pytest.raises(TransportRefusedError, match="SET_LOCALITY was refused with 0x3d: a bad locality"):
        tpm.set_locality(32)
    tpm.measure_launch(b"data" * 3000)
    want = hashlib.sha256(bytes(32) + hashlib.sha256(b"data" * 3000).digest()).digest()
    assert digest_of(ok(tpm, pcr_read(17))) == want
    tpm.power_cycle()
    assert rc_of(tpm.transceive(RANDOM)) == 0x100
    ok(tpm, STARTUP)
    tpm.cancel()
    ok(tpm, RANDOM)


@here
def test_a_snapshot_brings_everything_back(tpm: SpawnedTransport) -> None:
    ok(tpm, pcr_extend(16))
    before = digest_of(ok(tpm, pcr_read(16)))
    saved = tpm.snapshot()
    random = ok(tpm, RANDOM)
    ok(tpm, make_nv_index())
    ok(tpm, pcr_extend(16))
    for _ in range(2):
        tpm.restore(saved)
        assert ok(tpm, RANDOM) == random
        assert digest_of(ok(tpm, pcr_read(16))) == before
        assert rc_of(tpm.transceive(read_nv_public())) == 0x18B


@here
@needs_libtpms
def test_snapshots_go_from_swtpm_to_libtpms_and_back(tpm: SpawnedTransport) -> None:
    ok(tpm, make_nv_index())
    with EmbeddedTransport() as other:
        other.restore(tpm.snapshot())
        ok(other, read_nv_public())
        assert ok(other, RANDOM) == ok(tpm, RANDOM)
        ok(other, make_nv_index(0x01800002))
        tpm.restore(other.snapshot())
        ok(tpm, read_nv_public(0x01800002))
        assert ok(other, RANDOM) == ok(tpm, RANDOM)


@here
def test_a_snapshot_that_cannot_be_read_changes_nothing(tpm: SpawnedTransport) -> None:
    ok(tpm, pcr_extend(16))
    before = digest_of(ok(tpm, pcr_read(16)))
    good = tpm.snapshot()
    for bad in (Snapshot(b"x", b"y"), Snapshot(good.permanent, good.volatile[:-1] + b"\0")):
        with pytest.raises(TransportRefusedError, match=r"(SET_STATEBLOB|INIT) was refused"):
            tpm.restore(bad)
        assert digest_of(ok(tpm, pcr_read(16))) == before


# --- The control channel -------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[SwtpmServer]:
    with SwtpmServer() as running:
        yield running


@here
def test_a_server_for_several(server: SwtpmServer) -> None:
    assert server.control_address == (server.address[0], server.address[1] + 1)
    for _ in range(2):
        with server.open() as tpm, SwtpmControl(server.control_address) as control:
            ok(tpm, RANDOM)
            control.init()
            assert rc_of(tpm.transceive(RANDOM)) == 0x100
            ok(tpm, STARTUP)
    pid = server._child.pid if server._child else 0
    server.close()
    server.close()
    assert pid not in children()
    assert "ended" in repr(server)
    with pytest.raises(TpmUnavailableError):
        server.open()


@here
def test_what_the_control_channel_can_do(server: SwtpmServer) -> None:
    with SwtpmControl(server.control_address) as control:
        can = control.capabilities()
        assert ControlCapability.INIT | ControlCapability.GET_STATEBLOB | ControlCapability.SEND_COMMAND_HEADER in can
        assert control.info()["TPMSpecification"]["family"] == "2.0"
        assert control.config() == 0
        assert control.buffer_size() == (4096, 2808, 4096)
        assert control.tpm_established() is False
        control.hash_start()
        control.hash_data(b"")
        control.hash_data(b"x" * 10000)
        control.hash_end()
        assert control.tpm_established() is True
        control.reset_tpm_established(3)
        assert control.tpm_established() is False
        with pytest.raises(TransportRefusedError):
            control.reset_tpm_established(32)
        with pytest.raises(TransportRefusedError, match="SET_BUFFERSIZE was refused with 0xa"):
            control.buffer_size(3000)
        with pytest.raises(TransportRefusedError, match="SET_STATEBLOB was refused with 0xa"):
            control.set_state(Blob.PERMANENT, b"x")
        control.stop()
        assert control.buffer_size(3000)[0] == 3000
        with pytest.raises(TransportRefusedError, match="GET_TPMESTABLISHED was refused"):
            control.tpm_established()
        with pytest.raises(TransportRefusedError) as caught:
            control.set_state(Blob.PERMANENT, b"nonsense")
        assert caught.value.number
        control.init()
        control.cancel()
        with pytest.raises(TransportRefusedError, match="0x800: there is none"):
            control.get_state(Blob.SAVESTATE)
        with contextlib.suppress(TransportRefusedError):
            control.lock_storage()  # swtpm 0.8
        control.shutdown()
        with pytest.raises(TransportClosedError):
            control.config()
        assert control.closed


@here
def test_a_data_socket_can_be_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "control"
    arguments = ["--tpm2", "--tpmstate", f"dir={tmp_path}", "--ctrl", f"type=unixio,path={path}"]
    with subprocess.Popen(["swtpm", "socket", *arguments, "--flags", "not-need-init,startup-clear"]) as process:
        try:
            soon(path.exists)
            ours, its = socket.socketpair()
            with its, SwtpmControl(str(path)) as control, ours:
                control.set_data_fd(its)
                ours.settimeout(10)
                ours.sendall(RANDOM)
                assert rc_of(ours.recv(4096)) == 0
                with pytest.raises(TransportRefusedError, match="SET_DATAFD was refused with 0x1f"):
                    control.set_data_fd(its)
                with pytest.raises(TpmMisuseError):
                    control.set_data_fd(5)  # type: ignore[arg-type]
                control.shutdown()
            process.wait(10)
        finally:
            process.kill()


@here
def test_a_unix_socket_of_a_running_swtpm(tmp_path: Path) -> None:
    data, control = tmp_path / "data", tmp_path / "control"
    arguments = ["--tpm2", "--tpmstate", f"dir={tmp_path}", "--flags", "not-need-init,startup-clear"]
    sockets = ["--server", f"type=unixio,path={data}", "--ctrl", f"type=unixio,path={control}"]
    with subprocess.Popen(["swtpm", "socket", *arguments, *sockets], stderr=subprocess.DEVNULL) as process:
        try:
            soon(lambda: data.exists() and control.exists())
            with SwtpmTransport(str(data)) as tpm:
                ok(tpm, RANDOM)
                with pytest.raises(TpmUnavailableError, match="no control channel is known"):
                    tpm.power_cycle()
            with SwtpmTransport(str(data), str(control)) as tpm:
                tpm.set_locality(2)
                ok(tpm, pcr_reset(20))
                with SwtpmControl(str(control)) as channel:
                    channel.shutdown()
                with pytest.raises(TransportClosedError):
                    tpm.transceive(RANDOM)
            process.wait(10)
        finally:
            process.kill()


@here
def test_a_control_channel_that_another_holds(server: SwtpmServer) -> None:
    with SwtpmControl(server.control_address) as first:
        first.config()
        with SwtpmControl(server.control_address, seconds=0.2) as second:
            with pytest.raises(TransportTimeoutError, match="swtpm serves one at a time"):
                second.config()
            assert second.closed
        first.config()


@here
def test_it_hears_its_control_channel_only_between_commands(tpm: SpawnedTransport) -> None:
    thread = threading.Thread(target=lambda: [tpm.transceive(create_rsa_primary()) for _ in range(3)])
    thread.start()
    soon(lambda: tpm._lock.locked())
    tpm.cancel()
    thread.join()
    ok(tpm, RANDOM)


# --- Control channels that misbehave -------------------------------------------------------------------------------


@contextlib.contextmanager
def channel(*answers: bytes, seconds: float = 5.0) -> Iterator[SwtpmControl]:
    ours, its = socket.socketpair()
    its.settimeout(10)

    def script() -> None:
        with its, contextlib.suppress(OSError):
            for answer in answers:
                if not its.recv(8192):
                    return
                its.sendall(answer)
            if seconds < 5:
                its.recv(8192)
                its.recv(8192)

    thread = threading.Thread(target=script, daemon=True)
    thread.start()
    with SwtpmControl(ours, seconds=seconds) as control:
        yield control
    thread.join(15)
    assert not thread.is_alive()


OK = bytes(4)


@pytest.mark.parametrize("sent", [b"", b"\0", OK[:3]])
def test_a_channel_that_closes(sent: bytes) -> None:
    with channel(sent) as control:
        with pytest.raises(TransportClosedError, match="closed the connection"):
            control.init()
        assert control.closed
        with pytest.raises(TransportClosedError, match="it is closed"):
            control.init()


def test_a_channel_that_closes_in_the_middle() -> None:
    with channel(OK + b"\0\0") as control, pytest.raises(TransportClosedError):
        control.buffer_size()


def test_a_channel_that_stays_silent() -> None:
    with channel(seconds=0.2) as control:
        start = time.monotonic()
        with pytest.raises(TransportTimeoutError, match=r"no reply within 0.2 s"):
            control.init()
        assert time.monotonic() - start < 3
        assert control.closed


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


@pytest.mark.parametrize(
    "sent",
    [
        numbers(0, 0, 0xFFFFFFFF, 0),
        numbers(0, 0, 0xFFFFFFFF, 0xFFFFFFFF),
        numbers(0, 0, 10, 11),
        numbers(0, 0, 10, 0),
    ],
)
def test_states_of_absurd_size_are_refused(sent: bytes) -> None:
    with channel(sent, sent) as control:
        with pytest.raises(TransportProtocolError, match="a state of"):
            control.get_state(Blob.PERMANENT)
        assert control.closed


def test_a_state_in_parts() -> None:
    with channel(numbers(0, 0, 5, 3) + b"abc", numbers(0, 0, 5, 2) + b"de") as control:
        assert control.get_state(Blob.PERMANENT) == b"abcde"


@pytest.mark.parametrize(
    "sent",
    [
        numbers(0, 5, 6),
        numbers(0, 0xFFFFFFFF, 0xFFFFFFFF),
        numbers(0, 4, 4) + b"{]\0\0",
        numbers(0, 2, 2) + b"\xff\xff",
        numbers(0, 3, 3) + b"[1]",
        numbers(0, 0, 0),
    ],
)
def test_information_that_is_none(sent: bytes) -> None:
    with channel(sent) as control, pytest.raises(TransportProtocolError, match="bytes of information"):
        control.info()


def test_a_refusal_leaves_the_channel_usable() -> None:
    with channel(numbers(0x0A), numbers(0x1234) + bytes(4), OK) as control:
        with pytest.raises(TransportRefusedError, match="0xa: the command is not known, or not while"):
            control.stop()
        with pytest.raises(TransportRefusedError, match="0x1234: a result that has no name") as caught:
            control.stop()
        assert caught.value.number == 0x1234
        control.stop()


@pytest.mark.parametrize(
    "work",
    [
        lambda control: control.set_locality(5),
        lambda control: control.set_locality("0"),
        lambda control: control.hash_data("text"),
        lambda control: control.get_state(0),
        lambda control: control.get_state("permanent"),
        lambda control: control.set_state(Blob.PERMANENT, None),
        lambda control: control.set_state(4, b""),
        lambda control: control.buffer_size(-1),
        lambda control: control.info(1 << 64),
        lambda control: control.lock_storage(-1),
    ],
)
def test_arguments_that_are_none(work: Any) -> None:
    with channel() as control:
        with pytest.raises(TpmMisuseError):
            work(control)
        assert not control.closed


def test_addresses_that_are_none(tmp_path: Path) -> None:
    for wrong in (5, "", ("x", 0), None):
        with pytest.raises(TpmMisuseError):
            SwtpmControl(wrong)  # type: ignore[arg-type]
    with pytest.raises(TpmUnavailableError):
        SwtpmControl(str(tmp_path / "nobody"))
