# SPDX-License-Identifier: Apache-2.0
"""One swtpm that tpm2-tools and this library use in turn."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestocloud_sec.tpm import Client
from prestocloud_sec.tpm.transport import SwtpmServer, process

SECONDS = 60


class Tools:
    """tpm2-tools, on the same TPM as `client`; each has it for as long as a call takes.

    Attributes
    ----------
    folder : Path
        Where the tools run and have their files.
    server : SwtpmServer
        The TPM.
    """

    def __init__(self, folder: Path, server: SwtpmServer) -> None:
        self.folder = folder
        self.server = server

    def run(self, command: str, *arguments: object, code: int = 0) -> str:
        """Run a tool, which has to end with `code`, and return what it prints."""
        tcti = f"swtpm:host={self.server.address[0]},port={self.server.address[1]}"
        done = subprocess.run(
            [f"tpm2_{command}", *map(str, arguments)],
            cwd=self.folder,
            env=os.environ | {"TPM2TOOLS_TCTI": tcti, "TSS2_LOG": "all+NONE"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"tpm2_{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def flush(self) -> None:
        """Have the tools leave nothing in the TPM, which has room for three objects and no resource manager."""
        self.run("flushcontext", "-t")

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def write(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return name

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Yield a client of the same TPM."""
        with Client(self.server.open()) as client:
            yield client


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    if not process.available():
        pytest.skip("swtpm is not here: apt-get install swtpm")
    if shutil.which("tpm2_quote") is None:
        pytest.skip("tpm2-tools are not here: apt-get install tpm2-tools")
    with SwtpmServer() as server:
        yield Tools(tmp_path, server)
