# SPDX-License-Identifier: Apache-2.0
"""TPMs in this process: several at once, each its own; their state in memory, in a directory, and as snapshots."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmMisuseError,
    TpmUnavailableError,
    TransportBusyError,
    TransportClosedError,
    TransportRefusedError,
)
from prestocloud_sec.tpm.transport import EmbeddedTransport, Snapshot, SpawnedTransport, libtpms
from prestocloud_sec.tpm.transport.storage import MemoryStorage
from tests.tpm.transport.peers import (
    RANDOM,
    SHUTDOWN_STATE,
    STARTUP,
    STARTUP_STATE,
    create_rsa_primary,
    descriptors,
    digest_of,
    in_threads,
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

pytestmark = needs_libtpms


def ok(tpm: Any, sent: bytes) -> bytes:
    answer: bytes = tpm.transceive(sent)
    assert rc_of(answer) == 0, hex(rc_of(answer))
    return answer


def copies() -> int:
    """Return how many copies of libtpms are loaded."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return len({line.split(None, 5)[5] for line in maps if "libtpms-" in line})


def test_several_at_once_are_several_tpms() -> None:
    with EmbeddedTransport() as one, EmbeddedTransport() as two, EmbeddedTransport() as three:
        ok(one, pcr_extend(16))
        ok(two, pcr_extend(16, b"\x22" * 32))
        assert digest_of(ok(one, pcr_read(16))) == hashlib.sha256(bytes(32) + b"\x11" * 32).digest()
        assert digest_of(ok(two, pcr_read(16))) == hashlib.sha256(bytes(32) + b"\x22" * 32).digest()
        assert digest_of(ok(three, pcr_read(16))) == bytes(32)
        ok(one, make_nv_index())
        assert rc_of(two.transceive(read_nv_public())) == 0x18B


def test_the_next_one_is_a_new_one() -> None:
    with EmbeddedTransport() as first:
        ok(first, pcr_extend(16))
        ok(first, make_nv_index())
        first.set_locality(3)
        random = ok(first, RANDOM)
        state = first.snapshot()
    with EmbeddedTransport() as second:
        assert digest_of(ok(second, pcr_read(16))) == bytes(32)
        assert rc_of(second.transceive(read_nv_public())) == 0x18B
        assert rc_of(second.transceive(pcr_reset(20))) == 0x907  # as at locality 0, 20 being reset at 2
        assert ok(second, RANDOM) != random
        assert second.snapshot().permanent != state.permanent


def test_copies_are_used_again_and_leave_nothing() -> None:
    with EmbeddedTransport():
        pass
    loaded, open_files = copies(), descriptors()
    for _ in range(10):
        with EmbeddedTransport() as tpm:
            ok(tpm, RANDOM)
    assert copies() == loaded
    assert descriptors() == open_files


def test_one_that_is_forgotten_gives_its_copy_back(tmp_path: Path) -> None:
    EmbeddedTransport(tmp_path)
    gc.collect()
    loaded = copies()
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, RANDOM)
    assert copies() == loaded


def test_without_startup() -> None:
    with EmbeddedTransport(startup=False) as tpm:
        assert rc_of(tpm.transceive(RANDOM)) == 0x100
        ok(tpm, STARTUP)
        ok(tpm, RANDOM)


def test_power() -> None:
    with EmbeddedTransport() as tpm:
        ok(tpm, pcr_extend(16))
        ok(tpm, make_nv_index())
        tpm.power_cycle()
        assert rc_of(tpm.transceive(RANDOM)) == 0x100
        ok(tpm, STARTUP)
        assert digest_of(ok(tpm, pcr_read(16))) == bytes(32)
        ok(tpm, read_nv_public())
        ok(tpm, pcr_extend(0))
        value = digest_of(ok(tpm, pcr_read(0)))
        ok(tpm, SHUTDOWN_STATE)
        tpm.power_cycle()
        ok(tpm, STARTUP_STATE)
        assert digest_of(ok(tpm, pcr_read(0))) == value


@pytest.mark.parametrize(("locality", "reset"), [(0, 0x907), (1, 0x907), (2, 0), (3, 0x907), (4, 0x907), (32, 0x907)])
def test_localities(locality: int, reset: int) -> None:
    """PCR 20 is reset at locality 2 only, 16 at all to 3 (PC Client Platform TPM Profile, 4.6)."""
    with EmbeddedTransport() as tpm:
        tpm.set_locality(locality)
        for _ in range(2):
            assert rc_of(tpm.transceive(pcr_reset(20))) == reset
        if locality < 4:
            ok(tpm, pcr_reset(16))
        tpm.restore(tpm.snapshot())
        assert rc_of(tpm.transceive(pcr_reset(20))) == reset
        tpm.set_locality(0)
        assert rc_of(tpm.transceive(pcr_reset(20))) == 0x907


@pytest.mark.parametrize("wrong", [-1, 5, 31, 256, "0", None, 1.0])
def test_localities_that_are_none(wrong: Any) -> None:
    with EmbeddedTransport() as tpm:
        with pytest.raises(TpmMisuseError):
            tpm.set_locality(wrong)
        ok(tpm, RANDOM)


def test_a_measured_launch() -> None:
    """PCR 17 becomes the digest of 0 and the digest of the data (TPM 2.0 Library, Part 1, 34.3)."""
    data = bytes(range(256)) * 100
    with EmbeddedTransport() as tpm:
        assert digest_of(ok(tpm, pcr_read(17))) == b"\xff" * 32
        tpm.measure_launch(data)
        assert digest_of(ok(tpm, pcr_read(17))) == hashlib.sha256(bytes(32) + hashlib.sha256(data).digest()).digest()
        assert digest_of(ok(tpm, pcr_read(18))) == bytes(32)
        with pytest.raises(TpmMisuseError):
            tpm.measure_launch("text")  # type: ignore[arg-type]


def test_a_command_can_be_cancelled() -> None:
    with EmbeddedTransport() as tpm:
        answers: list[int] = []

        def work() -> None:
            while 0x909 not in answers:
                answers.append(rc_of(tpm.transceive(create_rsa_primary())))
                if answers[-1] == 0x902:
                    tpm.power_cycle()
                    ok(tpm, STARTUP)

        thread = threading.Thread(target=work)
        thread.start()
        deadline = time.monotonic() + 60
        while thread.is_alive():
            tpm.cancel()
            time.sleep(0.001)
            assert time.monotonic() < deadline
        assert 0x909 in answers
        ok(tpm, RANDOM)
    with pytest.raises(TransportClosedError):
        tpm.cancel()


def test_others_run_while_a_command_does() -> None:
    with EmbeddedTransport() as tpm:
        thread = threading.Thread(target=lambda: tpm.transceive(create_rsa_primary()))
        thread.start()
        soon(lambda: tpm._lock.locked())
        turns = 0
        while thread.is_alive():
            turns += 1
        thread.join()
        assert turns > 100  # else the interpreter stood still


def test_several_work_in_threads() -> None:
    def work(number: int) -> None:
        with EmbeddedTransport() as tpm:
            for _ in range(20):
                ok(tpm, pcr_extend(16, bytes([number]) * 32))
            value = bytes(32)
            for _ in range(20):
                value = hashlib.sha256(value + bytes([number]) * 32).digest()
            assert digest_of(ok(tpm, pcr_read(16))) == value

    in_threads(work, 4)


# --- Snapshots -----------------------------------------------------------------------------------------------------


def test_a_snapshot_brings_everything_back() -> None:
    with EmbeddedTransport() as tpm:
        ok(tpm, pcr_extend(16))
        before = digest_of(ok(tpm, pcr_read(16)))
        saved = tpm.snapshot()
        random = ok(tpm, RANDOM)
        ok(tpm, pcr_extend(16))
        ok(tpm, make_nv_index())
        for _ in range(3):
            tpm.restore(saved)
            assert ok(tpm, RANDOM) == random
            assert digest_of(ok(tpm, pcr_read(16))) == before
            assert rc_of(tpm.transceive(read_nv_public())) == 0x18B
        tpm.power_cycle()
        ok(tpm, STARTUP)
        assert rc_of(tpm.transceive(read_nv_public())) == 0x18B


def test_a_snapshot_goes_to_another_tpm() -> None:
    with EmbeddedTransport() as one, EmbeddedTransport() as two:
        ok(one, make_nv_index())
        two.restore(Snapshot.decode(one.snapshot().encode()))
        ok(two, read_nv_public())
        assert ok(one, RANDOM) == ok(two, RANDOM)
        ok(one, pcr_extend(16))
        assert digest_of(ok(two, pcr_read(16))) == bytes(32)


@pytest.mark.parametrize("damage", ["permanent", "volatile", "both", "cut", "empty volatile"])
def test_a_snapshot_that_cannot_be_read_changes_nothing(damage: str, tmp_path: Path) -> None:
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, pcr_extend(16))
        before = digest_of(ok(tpm, pcr_read(16)))
        good = tpm.snapshot()
        permanent, volatile = good.permanent, good.volatile
        if damage in ("permanent", "both"):
            permanent = permanent[:100] + bytes(20) + permanent[120:-200] + bytes(200)
        if damage in ("volatile", "both"):
            volatile = volatile[:-1] + bytes([volatile[-1] ^ 1])
        if damage == "cut":
            permanent = permanent[:-3]
        if damage == "empty volatile":
            tpm.restore(Snapshot(permanent, b""))
            assert rc_of(tpm.transceive(RANDOM)) == 0x100  # no volatile state: the power was off
            return
        with pytest.raises(TransportRefusedError, match="libtpms") as caught:
            tpm.restore(Snapshot(permanent, volatile))
        assert caught.value.number
        assert not tpm.closed
        ok(tpm, RANDOM)
        assert digest_of(ok(tpm, pcr_read(16))) == before
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, RANDOM)


@pytest.mark.parametrize("wrong", [None, b"", b"x", "snapshot", 5])
def test_what_is_no_snapshot(wrong: Any) -> None:
    with EmbeddedTransport() as tpm:
        with pytest.raises(TpmMisuseError):
            tpm.restore(wrong)
        ok(tpm, RANDOM)


# --- Directories ---------------------------------------------------------------------------------------------------


def test_a_directory_keeps_the_tpm(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    with EmbeddedTransport(path) as tpm:
        ok(tpm, make_nv_index())
        assert tpm.name == f"embedded:dir={path}"
    assert path.stat().st_mode & 0o077 == 0
    assert {file.name for file in path.iterdir()} == {".lock", "tpm2-00.permall"}
    with EmbeddedTransport(str(path)) as tpm:
        ok(tpm, read_nv_public())
        assert digest_of(ok(tpm, pcr_read(16))) == bytes(32)


def test_a_tpm_that_is_not_closed_is_kept_too(tmp_path: Path) -> None:
    """What was written is on the disk at once; a process that dies takes nothing with it."""
    code = f"""
import os
from prestocloud_sec.tpm.transport import EmbeddedTransport
tpm = EmbeddedTransport({str(tmp_path)!r})
tpm.transceive(bytes.fromhex({make_nv_index().hex()!r}))
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == -9
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, read_nv_public())


def test_one_that_is_left_open_is_put_to_rest_at_the_end(tmp_path: Path) -> None:
    code = f"""
from prestocloud_sec.tpm.transport import EmbeddedTransport, Recorder
tpm = EmbeddedTransport({str(tmp_path)!r})
tpm.transceive(bytes.fromhex({make_nv_index().hex()!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, read_nv_public())


def test_one_state_is_one_tpm(tmp_path: Path) -> None:
    with EmbeddedTransport(tmp_path) as tpm:
        with pytest.raises(TransportBusyError, match="another TPM runs with this state"):
            EmbeddedTransport(tmp_path)
        code = f"from prestocloud_sec.tpm.transport import EmbeddedTransport; EmbeddedTransport({str(tmp_path)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert "TransportBusyError" in done.stderr
        ok(tpm, RANDOM)
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, RANDOM)


@needs_swtpm
def test_swtpm_and_we_go_on_with_each_others_tpm(tmp_path: Path) -> None:
    with SpawnedTransport(tmp_path) as tpm:
        ok(tpm, make_nv_index(0x01800001))
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, read_nv_public(0x01800001))
        ok(tpm, make_nv_index(0x01800002))
        with pytest.raises(TransportBusyError, match="another TPM runs with this state"):
            SpawnedTransport(tmp_path)
    with SpawnedTransport(tmp_path) as tpm:
        ok(tpm, read_nv_public(0x01800002))
        with pytest.raises(TransportBusyError, match="another TPM runs with this state"):
            EmbeddedTransport(tmp_path)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", TpmFormatError, "bytes left"),
        (b"\x02\x01\x00\x0a\x00\x00\x00\x00\x00\x0a", TpmFormatError, "no data are tagged 1"),
        (b"\x02\x01\x00\x0a\x00\x01\x00\x00\x00\x0a", TpmFormatError, "encrypted.*swtpm can read it"),
        (b"\x02\x01\x00\x0a\x00\x00\x00\x00\x00\x0b", TpmFormatError, "is it a state file of swtpm"),
        (b"\x02\x01\x00\x0a\x00\x00\x00\x00\x00\x14\x00\x01\xff\xff\xff\xff1234", TpmFormatError, "bytes left"),
        (b"\x02\x01\x00\x0a\x00\x00\x00\x00\x00\x14\x00\x01\x00\x00\x00\x041234", TransportRefusedError, "libtpms"),
        (b"x" * 5000, TpmFormatError, "is it a state file of swtpm"),
    ],
)
def test_a_state_that_cannot_be_read(tmp_path: Path, content: bytes, error: type[Exception], words: str) -> None:
    file = tmp_path / "tpm2-00.permall"
    file.write_bytes(content)
    EmbeddedTransport().close()
    loaded = copies()
    for _ in range(3):
        with pytest.raises(error, match=words):
            EmbeddedTransport(tmp_path)
    assert file.read_bytes() == content
    assert copies() == loaded
    file.unlink()
    with EmbeddedTransport(tmp_path) as tpm:
        ok(tpm, RANDOM)


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    for wrong in (file, file / "below"):
        with pytest.raises(TpmUnavailableError, match="no state can be kept here"):
            EmbeddedTransport(wrong)
    for nonsense in (5, b"/tmp", "", "a\0b", object()):
        with pytest.raises(TpmMisuseError):
            EmbeddedTransport(nonsense)  # type: ignore[arg-type]
    with pytest.raises(TpmUnavailableError):
        EmbeddedTransport(tmp_path / ("x" * 300))


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TpmUnavailableError):
        EmbeddedTransport(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    """The TPM answers with a failure and lives on; the error says what is wrong with the file."""
    with EmbeddedTransport(tmp_path) as tpm:
        (tmp_path / "TMP2-00.permall").mkdir()
        with pytest.raises(TransportRefusedError, match=r"cannot be read or written: Is a directory") as caught:
            tpm.transceive(make_nv_index())
        assert caught.value.number == 21
        assert not tpm.closed
        (tmp_path / "TMP2-00.permall").rmdir()
        assert len(tpm.transceive(RANDOM)) >= 10


def test_an_interruption_while_the_state_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is written all the same, and the interruption is passed on once the TPM is done."""
    stored: list[bytes] = []

    def store(_: object, state: bytes) -> None:
        if len(stored) == 1:
            stored.append(b"")
            raise KeyboardInterrupt
        stored.append(state)

    with EmbeddedTransport() as tpm:
        monkeypatch.setattr(MemoryStorage, "store", store)
        stored.append(b"")
        with pytest.raises(KeyboardInterrupt):
            tpm.transceive(make_nv_index())
        assert len(stored) >= 3
        assert b"\x01\x80\x00\x01" in stored[-1]
        ok(tpm, read_nv_public())


# --- The library ---------------------------------------------------------------------------------------------------


def test_libtpms_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    libtpms.find.cache_clear()
    monkeypatch.setattr(libtpms, "_SONAME", "libnothere.so.0")
    try:
        with pytest.raises(TpmUnavailableError, match=r"cannot be loaded.*apt-get install libtpms0"):
            EmbeddedTransport()
        assert not libtpms.available()
    finally:
        libtpms.find.cache_clear()


def test_a_library_that_is_another(tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)
    where = libtpms._Where()
    libc.dladdr(ctypes.cast(libc.fopencookie, ctypes.c_void_p), ctypes.byref(where))
    with pytest.raises(TpmUnavailableError, match="there is no TPMLIB_"):
        EmbeddedTransport(library=os.fsdecode(where.file or b""))
    text = tmp_path / "text.so"
    text.write_text("no library")
    with pytest.raises(TpmUnavailableError, match="cannot be loaded"):
        EmbeddedTransport(library=str(text))
    with pytest.raises(TpmUnavailableError):
        EmbeddedTransport(library=str(tmp_path / "nothing.so"))
    with pytest.raises(TpmMisuseError):
        EmbeddedTransport(library=5)  # type: ignore[arg-type]


def test_where_nothing_may_be_run_from_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy is loaded from memory then."""
    load, make = ctypes.CDLL, os.memfd_create
    made: list[int] = []

    def refuse(name: str, *arguments: Any, **options: Any) -> ctypes.CDLL:
        if name and "libtpms-" in name:
            raise OSError(f"{name}: failed to map segment from shared object")
        return load(name, *arguments, **options)

    def remember(name: str) -> int:
        made.append(make(name))
        return made[-1]

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    monkeypatch.setattr(os, "memfd_create", remember)
    monkeypatch.setattr(libtpms, "_IDLE", [])
    with EmbeddedTransport() as one, EmbeddedTransport() as two:
        assert ok(one, RANDOM) != ok(two, RANDOM)
        ok(one, pcr_extend(16))
        assert digest_of(ok(two, pcr_read(16))) == bytes(32)
    assert len(set(made)) == 2  # kept open as long as the copies are, else the second would be the first
    for descriptor in made:
        os.close(descriptor)


def test_what_libtpms_writes_is_not_shown() -> None:
    """It would write commands in full, with their passwords, on stderr."""
    code = """
from prestocloud_sec.tpm.transport import EmbeddedTransport, Snapshot
with EmbeddedTransport() as tpm:
    try:
        tpm.restore(Snapshot(b"secret", b"secret"))
    except Exception as error:
        assert "secret" not in str(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


FORKING = """
import os, sys
from prestocloud_sec.tpm.errors import TransportClosedError
from prestocloud_sec.tpm.transport import EmbeddedTransport
tpm = EmbeddedTransport(sys.argv[1])
command = bytes.fromhex("80010000000c0000017b0010")
child = os.fork()
if not child:
    try:
        tpm.transceive(command)
    except TransportClosedError as error:
        assert "forked" in str(error), error
        tpm.close()
        with EmbeddedTransport() as own:
            os.write(1, own.transceive(command))
        sys.exit(7)
    sys.exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
os.write(1, tpm.transceive(command))
"""


def test_a_forked_child_gets_no_copy_of_the_tpm(tmp_path: Path) -> None:
    """Two TPMs with one state would give the same random numbers."""
    done = subprocess.run([sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, timeout=60, check=False)
    assert done.stderr == b""
    assert len(done.stdout) == 56
    assert done.stdout[12:28] != done.stdout[40:56]
