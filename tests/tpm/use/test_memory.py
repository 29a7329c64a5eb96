# SPDX-License-Identifier: Apache-2.0
"""The private part of a key is nowhere in this process, while the key is made, used and kept."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.tpm import connect, use
from prestocloud_sec.tpm.protect import unwrap
from prestocloud_sec.tpm.transport import process

ECDSA = ec.ECDSA(hashes.SHA256())


def dump(file: Path) -> None:
    """Write all memory of this process that it can write to into a file."""
    regions = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    with Path("/proc/self/mem").open("rb", buffering=0) as memory, file.open("wb") as out:
        for span, rights, *_ in regions:
            if not rights.startswith("rw"):
                continue
            at, end = (int(number, 16) for number in span.split("-"))
            while at < end:
                try:
                    got = os.pread(memory.fileno(), min(end - at, 1 << 20), at)
                except OSError:  # a device's, or gone since
                    break
                if not got:
                    break
                out.write(got)
                at += len(got)


def test_the_private_part_is_not_in_memory(tmp_path):
    """The memory is written down first; only then is the key, which may be duplicated, taken out of its TPM."""
    if not process.available():
        pytest.skip("swtpm is not here: apt-get install swtpm")
    policy = use.movable_policy()
    witness = os.urandom(32)
    with connect("spawn:") as client:  # whose memory is another process's
        template = use.key_template("ecc", movable=True, policy=policy)
        wrapped = use.create(client, template, policy=policy)
        kept = wrapped.to_json()
        with use.load(client, wrapped) as handle:
            key = use.EccKey(client, handle)
            key.public_key().verify(key.sign(b"a message", ECDSA), b"a message", ECDSA)
            dump(tmp_path / "memory")
            moved = use.duplicate(client, handle, None, policy)
            secret = unwrap(moved, handle.public).sensitive
    with (tmp_path / "memory").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        assert memory.find(witness) >= 0, "the dump is not of all memory"
        assert memory.find(wrapped.private) >= 0
        for form in (secret, secret[::-1], secret.hex().encode()):
            assert memory.find(form) < 0
    assert secret.hex() not in kept
