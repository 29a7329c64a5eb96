# SPDX-License-Identifier: Apache-2.0
"""Machine code on disk: what its owner wrote is used, anything else is compiled again, and nothing waits or is left."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prestocloud_sec.bpf import assemble
from prestocloud_sec.bpf.vm.compiler import planning
from prestocloud_sec.bpf.vm.compiler.engine import compiled_of, execute
from prestocloud_sec.bpf.vm.compiler.llvm import compile_object
from prestocloud_sec.bpf.vm.machine import Machine

PROGRAM = assemble("r0 = 42\nexit")
NOBODY = 65534


class Cache:
    """A cache of its own, and how often something was compiled."""

    def __init__(self, base: Path) -> None:
        self.base, self.folder = base, base / "bpf"
        self.compiled = 0

    @property
    def file(self) -> Path:
        """The only file that is kept."""
        (found,) = self.folder.iterdir()
        return found

    def value(self, *, loop: bool = False) -> tuple[int, int]:
        """Return what the program gives, and how often it was compiled for that."""
        before, machine = self.compiled, Machine(PROGRAM)
        compiled_of(machine).take(planning.compile_program(machine, loop=loop))
        machine.start()
        execute(machine)
        return machine.finish().unwrap(), self.compiled - before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    made = Cache(tmp_path / "cache")
    original: Callable[[str, int], bytes] = planning.compile_object

    def counted(text: str, level: int) -> bytes:
        made.compiled += 1
        return original(text, level)

    monkeypatch.setenv("PRESTOCLOUD_SEC_CACHE", str(made.base))
    monkeypatch.setattr(planning, "compile_object", counted)
    return made


def test_what_was_compiled_is_kept_for_its_owner_alone(cache: Cache) -> None:
    assert [cache.value(), cache.value()] == [(42, 1), (42, 0)]
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.file.stat().st_mode) == 0o600


# --- Files that nobody but the owner may have written.


def _moved(path: Path, instead: Callable[[Path], None]) -> None:
    """Put something in a file's place that leads to its bytes, which lie outside the folder from now on."""
    kept = path.parents[2] / "kept"
    path.rename(kept)
    instead(kept)


def _foreign(path: Path) -> None:
    if os.geteuid():
        pytest.skip("kernel lacks the right for us to give a file away")
    os.chown(path, NOBODY, -1)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(1 << 28)
    assert path.stat().st_blocks * 512 < len(content) + 8192


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


SPOILT: dict[str, Callable[[Path], None]] = {
    "somebody else's": _foreign,
    "all may write": lambda path: path.chmod(0o666),
    "a group may write": lambda path: path.chmod(0o620),
    "a hard link": lambda path: _moved(path, path.hardlink_to),
    "a symbolic link": lambda path: _moved(path, path.symlink_to),
    "a FIFO": _fifo,
    "a link to /dev/zero": _endless,
    "too large": _huge,
    "damaged": _damaged,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_file_that_is_not_ours_is_compiled_again_and_replaced(cache: Cache, what: str) -> None:
    cache.value()
    SPOILT[what](cache.file)
    before = open_files()
    assert [cache.value(), cache.value()] == [(42, 1), (42, 0)]
    assert open_files() <= before
    found = cache.file.lstat()
    assert stat.S_ISREG(found.st_mode)
    assert (found.st_uid, found.st_nlink, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 1, 0o600)


def test_a_folder_in_a_files_place_stays_and_nothing_is_left_beside_it(cache: Cache) -> None:
    cache.value()
    _folder(cache.file)
    before = open_files()
    assert [cache.value(), cache.value()] == [(42, 1), (42, 1)]
    assert open_files() <= before
    assert cache.file.is_dir()


# --- Folders.


def test_a_folder_that_others_can_write_to_is_not_used(cache: Cache) -> None:
    cache.value()
    for mode in (0o777, 0o1777, 0o770):
        cache.folder.chmod(mode)
        assert [cache.value(), cache.value()] == [(42, 1), (42, 1)]
    cache.folder.chmod(0o700)
    assert cache.value() == (42, 0)


def test_a_folder_that_is_somebody_elses_is_not_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.value()
    someone = os.geteuid() + 1
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: someone)
        assert [cache.value(), cache.value()] == [(42, 1), (42, 1)]
    assert cache.value() == (42, 0)


def test_a_link_in_the_folders_place_is_not_used(cache: Cache) -> None:
    cache.value()
    cache.folder.rename(cache.base / "elsewhere")
    cache.folder.symlink_to("elsewhere")
    assert cache.value() == (42, 1)


@pytest.mark.parametrize("place", ["/proc", "/dev/null", "/dev/full", "/no\n/such"])
def test_where_no_folder_can_be_everything_is_compiled(
    cache: Cache, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place.startswith("/no"):
        place = str(cache.base / ("x" * 300))
    monkeypatch.setenv("PRESTOCLOUD_SEC_CACHE", place)
    assert [cache.value(), cache.value()] == [(42, 1), (42, 1)]


def test_a_user_without_a_home(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("PRESTOCLOUD_SEC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache.value() == (42, 1)


# --- No room.


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: EFBIG, as ENOSPC on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_keeps_no_half_file(cache: Cache) -> None:
    with files_of_at_most(100):
        values = [cache.value(), cache.value()]
    assert values == [(42, 1), (42, 1)]
    assert list(cache.folder.iterdir()) == []
    assert [cache.value(), cache.value()] == [(42, 1), (42, 0)]


def test_an_interrupt_while_writing_keeps_no_half_file(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.value()
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_nothing_can_be_written_to(cache: Cache) -> None:
    cache.value()
    kept = cache.file
    kept.write_bytes(b"")
    cache.folder.chmod(0o500)
    try:
        assert cache.value() == (42, 1)
        assert cache.file == kept
    finally:
        cache.folder.chmod(0o700)


def test_the_older_half_of_too_many_files_goes(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prestocloud_sec.bpf.vm.compiler.cache._MOST_FILES", 8)
    cache.folder.mkdir(parents=True, mode=0o700)
    (cache.folder / "a folder").mkdir()
    for number in range(8):
        (cache.folder / f"{number}").write_bytes(b"")
        os.utime(cache.folder / f"{number}", (number, number))
    assert [cache.value(), cache.value()] == [(42, 1), (42, 0)]
    names = {path.name for path in cache.folder.iterdir()}
    assert names >= {"a folder", "4", "5", "6", "7"}
    assert len(names) == 6


# --- Objects that are not what their name says, which only the owner can have kept.


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("names", ["other", "main", "callback"])
def test_an_object_without_what_a_program_has_is_compiled_again(cache: Cache, names: str, loop: bool) -> None:
    cache.value(loop=loop)
    content = compile_object(f"define i64 @{names}() {{\n  ret i64 1\n}}\n", 0)
    cache.file.write_bytes(hashlib.sha256(content).digest() + content)
    assert [cache.value(loop=loop), cache.value(loop=loop)] == [(42, 1), (42, 0)]


def test_an_object_without_the_loop_that_is_asked_for_is_compiled_again(cache: Cache) -> None:
    cache.value()
    without = cache.file.read_bytes()
    cache.file.unlink()
    cache.value(loop=True)
    cache.file.write_bytes(without)
    assert [cache.value(loop=True), cache.value(loop=True)] == [(42, 1), (42, 0)]
