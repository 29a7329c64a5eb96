# SPDX-License-Identifier: Apache-2.0
"""bpf(2) itself: sizes of the attr, descriptors that are closed once, and what is said where it cannot be called."""

from __future__ import annotations

import copy
import errno
import fcntl
import os
import pickle
import struct
import subprocess
import sys
import threading

import pytest

from prestocloud_sec.bpf.errors import BpfMisuseError, KernelError, MapError
from prestocloud_sec.bpf.linux import KernelMap, KernelObject, host, possible_cpus, require, syscall
from prestocloud_sec.bpf.linux.attr import MAP_INFO, Attr, Command
from prestocloud_sec.bpf.linux.syscall import bpf, read_info
from prestocloud_sec.bpf.maps.kinds import MapType
from prestocloud_sec.errors import UnavailableError
from tests.bpf.linux.kernel import RECORDED, as_recorded, needs_kernel, outcome, program, standard

CALLS = RECORDED["calls"]["SYSCALL"]
ARRAY = struct.pack("<5I", MapType.ARRAY, 4, 8, 1, 0)


def made(result: int) -> str:
    """Return the errno of a call that returns a descriptor, which is given back."""
    if result >= 0:
        KernelObject(result).close()
        return "ok"
    return errno.errorcode[-result]


@needs_kernel
@pytest.mark.parametrize(
    ("attr", "answer"),
    [
        (ARRAY, "ok"),  # 20 bytes: all that Linux 4.11 knew
        (ARRAY.ljust(72, b"\0"), "ok"),
        (ARRAY.ljust(4096, b"\0"), "ok"),
        (ARRAY.ljust(4097, b"\0"), "E2BIG"),
        (ARRAY.ljust(512, b"\0") + b"\1", CALLS["attr larger than kernel's, non-zero tail"]),
        (ARRAY[:16], "ok"),  # what is not given is 0
        (b"", "EINVAL"),
    ],
)
def test_sizes_of_the_attr(attr: bytes, answer: str) -> None:
    assert made(bpf(Command.MAP_CREATE, attr)) == answer


@needs_kernel
@as_recorded
def test_the_attr_beyond_the_last_field_of_a_command_must_be_zero() -> None:
    want = CALLS["attr with non-zero tail beyond the command's last field"]
    with standard("HASH") as there:
        attr = struct.pack("<I", there.fileno()).ljust(64, b"\0")
        assert made(bpf(Command.MAP_FREEZE, attr[:-1] + b"\1")) == want
        assert bpf(Command.MAP_FREEZE, attr) == 0


@needs_kernel
def test_calls_that_the_kernel_does_not_know() -> None:
    assert made(bpf(9999, b"")) == CALLS["cmd 9999"]
    assert made(bpf((1 << 31) - 1, bytes(64))) == "EINVAL"
    lookup = Attr(Command.MAP_LOOKUP_ELEM, map_fd=-1)
    assert made(bpf(Command.MAP_LOOKUP_ELEM, lookup)) == CALLS["lookup on fd -1"]
    with program() as loaded:
        lookup = Attr(Command.MAP_LOOKUP_ELEM, map_fd=loaded.fileno())
        assert made(bpf(Command.MAP_LOOKUP_ELEM, lookup)) == CALLS["lookup on a prog fd"]


@pytest.mark.parametrize("command", [-1, 1 << 31, None, "5", 1.5])
def test_commands_that_are_none(command: object) -> None:
    with pytest.raises(BpfMisuseError, match="is no command"):
        bpf(command, b"")  # type: ignore[arg-type]


@pytest.mark.parametrize("attr", [None, 5, "attr", [1]])
def test_attrs_that_are_none(attr: object) -> None:
    with pytest.raises(BpfMisuseError, match="is no attr"):
        bpf(0, attr)  # type: ignore[arg-type]


@needs_kernel
def test_descriptors_are_closed_on_exec_and_once() -> None:
    there = standard("ARRAY")
    number = there.fileno()
    assert fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    probe = "import os, sys\ntry: os.fstat(int(sys.argv[1])); print('open')\nexcept OSError: print('closed')"
    child = [sys.executable, "-c", probe, str(number)]
    assert subprocess.run(child, capture_output=True, text=True, close_fds=False, check=True).stdout == "closed\n"
    assert not there.closed
    there.close()
    assert there.closed
    other = os.open("/dev/null", os.O_RDONLY)  # takes the number that is free now
    try:
        assert other == number
        there.close()
        with pytest.raises(BpfMisuseError, match="it was closed"):
            there.lookup(bytes(4))
        with pytest.raises(BpfMisuseError, match="it was closed"), there:
            pass
        del there
        os.fstat(other)
    finally:
        os.close(other)


@needs_kernel
def test_what_is_collected_is_closed() -> None:
    there = standard("ARRAY")
    number = there.fileno()
    del there
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(number)


def test_many_threads_close_a_descriptor_once() -> None:
    for _ in range(50):
        there = KernelObject(os.open("/dev/null", os.O_RDONLY))
        failed: list[KernelError] = []

        def close(there: KernelObject = there, failed: list[KernelError] = failed) -> None:
            try:
                there.close()
            except KernelError as error:
                failed.append(error)

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert there.closed
        assert not failed


def test_a_descriptor_that_somebody_else_closed_is_told() -> None:
    number = os.open("/dev/null", os.O_RDONLY)
    there = KernelObject(number)
    os.close(number)
    with pytest.raises(KernelError, match="EBADF"):
        there.close()
    there.close()


def test_descriptors_are_not_copied() -> None:
    with KernelObject(os.open("/dev/null", os.O_RDONLY)) as there:
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(BpfMisuseError, match="neither copied nor pickled"):
                attempt(there)


@pytest.mark.parametrize("number", [-1, 1 << 31, None, "3", 1.0, True])
def test_what_is_no_descriptor(number: object) -> None:
    with pytest.raises(BpfMisuseError, match="is no descriptor"):
        KernelObject(number)  # type: ignore[arg-type]


def test_the_kernel_tells_nothing_of_what_is_no_bpf_object() -> None:
    with KernelObject(os.open("/dev/null", os.O_RDONLY)) as there, pytest.raises(KernelError) as refused:
        read_info(there.fileno(), MAP_INFO)
    assert refused.value.symbol in {"EINVAL", "EPERM", "ENOSYS", "EBADFD"}


def test_other_systems_and_processors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscall, "NUMBERS", {"pdp11": 1})
    syscall._syscall.cache_clear()
    try:
        with pytest.raises(UnavailableError, match=r"bpf\(2\) cannot be called from here .*on pdp11"):
            require()
        assert host.available() is False
        with pytest.raises(UnavailableError, match="cannot be called"):
            KernelMap(MapType.ARRAY, key_size=4, value_size=4, max_entries=1)
    finally:
        syscall._syscall.cache_clear()


@pytest.mark.parametrize(
    ("refused", "at", "says"),
    [
        (errno.EPERM, 0, r"refuses to make a map \[EPERM\]; expected root, or CAP_BPF"),
        (errno.ENOSYS, 0, r"refuses to make a map \[ENOSYS\]; expected a kernel with CONFIG_BPF_SYSCALL"),
        (errno.EPERM, 5, r"refuses to make a program \[EPERM\]"),
        (errno.ENOMEM, 0, r"refuses to make a map \[ENOMEM\]$"),
    ],
)
def test_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, refused: int, at: int, says: str) -> None:
    def answer(command: int, attr: Attr) -> int:
        return -refused if command == at else os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(host, "bpf", answer)
    with pytest.raises(UnavailableError, match=says):
        require()
    assert host.available() is False


@needs_kernel
@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="kernel lacks nothing, but only root can drop rights"
)
def test_a_process_without_rights_is_told_why() -> None:
    probe = (
        "import os\nfrom prestocloud_sec.bpf import linux\n"
        "from prestocloud_sec.errors import UnavailableError\n"
        "import prestocloud_sec.bpf.linux.host, prestocloud_sec.bpf.linux.maps\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n    linux.require()\nexcept UnavailableError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("bpf(2) refuses to make a ")
    assert "[EPERM]; expected root, or CAP_BPF and CAP_NET_ADMIN" in done.stdout


def test_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    assert possible_cpus() >= (os.cpu_count() or 1)
    monkeypatch.setattr(host, "_POSSIBLE", host.Path(tmp_path) / "possible")
    with pytest.raises(UnavailableError, match=r"number of processors \[ENOENT\]"):
        possible_cpus()


@needs_kernel
@as_recorded
def test_map_types_and_names_that_are_none() -> None:
    def create(kind: int = MapType.ARRAY, name: str = "") -> KernelMap:
        return KernelMap(kind, key_size=4, value_size=4, max_entries=1, name=name)

    assert outcome(lambda: create(0)) == CALLS["map type 0"]
    assert outcome(lambda: create(999)) == CALLS["map type 999"]
    assert outcome(lambda: create(name="a b")) == CALLS["map name with space"]
    assert outcome(lambda: create(name="x" * 16)) == CALLS["map name 16 chars, no NUL"]
    assert outcome(lambda: create(name="x" * 15)) == "ok"
    assert outcome(lambda: create(name="a.b_C9")) == "ok"
    with pytest.raises(MapError, match=r"ARRAY 'a b': the kernel makes no such map .*\[EINVAL\]"):
        create(name="a b")
