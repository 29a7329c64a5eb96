# SPDX-License-Identifier: Apache-2.0
"""Compiled programs on disk, so that only the first run on a machine compiles.

A file is named by the SHA-256 of everything that went into it and begins with the SHA-256 of the rest, so a damaged
file is compiled again. That digest has no key and does not say who made the file, and what is found is run: nobody but
the owner of the process may have been able to write it. So the folder is made for him alone; one that is somebody
else's, or that others can write to, is not used. Nor is such a file, one with a second name elsewhere, a link, or what
is no plain file at all, which is neither read nor waited for. All this is asked of what was opened, never of a path,
which may lead elsewhere at the next call. Whatever is not used is compiled again.

What is left is a broken object under a right digest, which can only have been written by the owner himself. One that
lacks what a program must have is compiled again (`prestocloud_sec.bpf.vm.compiler.planning.compile_program`); one that
is broken otherwise may end the process, as would any other code that he puts where his processes look for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = ["get", "name_of", "put"]

_DIGEST = 32
_MOST_FILES = 4096
_TOO_LONG = 1 << 28
"""Bytes from which on a file is not read; objects are far smaller."""
_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC


def _place() -> Path:
    """Return where the folder is to be; PRESTOCLOUD_SEC_CACHE names the one that holds it."""
    given = os.environ.get("PRESTOCLOUD_SEC_CACHE")
    if given:
        return Path(given) / "bpf"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prestocloud_sec" / "bpf"


def _is_ours(found: os.stat_result) -> bool:
    """Whether nobody else can write to what was opened (where there are ACLs, the group's bits stand for them)."""
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextlib.contextmanager
def _folder() -> Iterator[int | None]:
    """Open the folder, made if needed; None where there is none that may be used."""
    descriptor = None
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # also: no home, or a name that no folder can have
        path = _place()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFELY)
    if descriptor is None:
        yield None
        return
    try:
        yield descriptor if _is_ours(os.fstat(descriptor)) else None
    finally:
        os.close(descriptor)


def name_of(*parts: bytes) -> str:
    """Return the name for what went into some code."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def get(name: str) -> bytes | None:
    """Return what was kept under a name, or None."""
    data = b""
    with contextlib.suppress(OSError), _folder() as folder:
        data = b"" if folder is None else _read(folder, name)
    digest, content = data[:_DIGEST], data[_DIGEST:]
    return content if hmac.compare_digest(digest, hashlib.sha256(content).digest()) else None


def _read(folder: int, name: str) -> bytes:
    """Return a file that `put` may have made; of any other no bytes."""
    handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _SAFELY, dir_fd=folder)  # a FIFO would let wait for a writer
    try:
        found = os.fstat(handle)
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size < _TOO_LONG
        if not plain or not _is_ours(found):
            return b""
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(found.st_size)
    finally:
        os.close(handle)


def put(name: str, content: bytes) -> None:
    """Keep something under a name, whole or not at all; no more than some thousand files are kept."""
    with contextlib.suppress(OSError), _folder() as folder:
        if folder is None:
            return
        temporary = f"{secrets.token_hex(16)}.new"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:  # a full disk, a folder of that name, an interrupt: no half file is left
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        _thin(folder)


def _thin(folder: int) -> None:
    """Throw the older half away once there are too many."""
    names = os.listdir(folder)
    if len(names) <= _MOST_FILES:
        return
    aged: list[tuple[int, str]] = []
    for name in names:
        with contextlib.suppress(OSError):  # another process thins it too
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                aged.append((found.st_mtime_ns, name))
    for _, name in sorted(aged)[: len(aged) // 2]:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
