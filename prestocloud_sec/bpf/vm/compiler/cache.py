# SPDX-License-Identifier: Apache-2.0
"""Compiled programs on disk, so that only the first run on a machine compiles.

A file is named by the SHA-256 of everything that went into it and begins with the SHA-256 of the rest, so a damaged
file is compiled again. Whoever can write to the folder can run code as its owner; so it is made for the owner alone,
and one that belongs to somebody else, or that others can write to, is not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import stat
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["folder", "get", "name_of", "put"]

_DIGEST = 32
_MOST_FILES = 4096


@cache
def folder() -> Path | None:
    """Return the folder, made if needed; None where there can be none. PRESTOCLOUD_SEC_CACHE names another."""
    given = os.environ.get("PRESTOCLOUD_SEC_CACHE")
    base = (
        Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prestocloud_sec"
    )
    path = base / "bpf"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat(follow_symlinks=False)
    except (OSError, RuntimeError, ValueError):
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if private and os.access(path, os.W_OK) else None


def name_of(*parts: bytes) -> str:
    """Return the name for what went into some code."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def get(name: str) -> bytes | None:
    """Return what was kept under a name, or None."""
    path = folder()
    if path is None:
        return None
    try:
        data = (path / name).read_bytes()
    except OSError:
        return None
    digest, content = data[:_DIGEST], data[_DIGEST:]
    return content if hmac.compare_digest(digest, hashlib.sha256(content).digest()) else None


def put(name: str, content: bytes) -> None:
    """Keep something under a name, whole or not at all; no more than some thousand files are kept."""
    path = folder()
    if path is None:
        return
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=path)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(temporary).replace(path / name)
        _thin(path)


def _thin(path: Path) -> None:
    """Throw the older half away once there are too many."""
    names = os.listdir(path)  # noqa: PTH208 - names alone, and many
    if len(names) <= _MOST_FILES:
        return
    files = sorted((entry for entry in path.iterdir() if entry.is_file()), key=lambda entry: entry.stat().st_mtime)
    for file in files[: len(files) // 2]:
        with contextlib.suppress(OSError):
            file.unlink()
