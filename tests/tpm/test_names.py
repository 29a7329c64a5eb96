# SPDX-License-Identifier: Apache-2.0
"""Names of objects, of NV indices, and of what has no public area. The recorded ones are in ``tests/conformance``."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from prestocloud_sec.tpm import TpmMisuseError, name_of, qualified_name
from prestocloud_sec.tpm.names import handle_name
from prestocloud_sec.tpm.spec import TPM_ALG_ID, TPM_RH, TPMA_NV, TPMS_NV_PUBLIC, TPMT_PUBLIC

PUBLIC = bytes.fromhex("0023000b00030072000000060080004300100003001000000000")


def test_the_name_of_an_object() -> None:
    assert name_of(TPMT_PUBLIC.decode(PUBLIC)) == b"\0\x0b" + hashlib.sha256(PUBLIC).digest()
    other = TPMT_PUBLIC.decode(PUBLIC).replace(nameAlg=TPM_ALG_ID.SHA384)
    assert name_of(other) == b"\0\x0c" + hashlib.sha384(other.encode()).digest()


def test_an_object_without_name() -> None:
    assert name_of(TPMT_PUBLIC.decode(PUBLIC).replace(nameAlg=TPM_ALG_ID.NULL)) == b""


def test_the_name_of_an_index() -> None:
    index = TPMS_NV_PUBLIC(0x01500001, TPM_ALG_ID.SHA256, TPMA_NV.OWNERREAD, b"", 8)
    assert name_of(index) == b"\0\x0b" + hashlib.sha256(index.encode()).digest()


@pytest.mark.parametrize("handle", [0, 23, 0x02000000, 0x03000001, 0x40000001, 0x40000007, 0x4000000B, 0x90000000])
def test_others_are_called_by_their_handles(handle: int) -> None:
    assert name_of(handle) == handle_name(handle) == handle.to_bytes(4, "big")


@pytest.mark.parametrize(
    "handle", [0x80000000, 0x81000001, 0x01500001, 1 << 32, -1, "40000001", None, 1.0, b"\x40\0\0\1"]
)
def test_what_has_no_name(handle: Any) -> None:
    with pytest.raises(TpmMisuseError):
        name_of(handle)


def test_qualified_names() -> None:
    name = name_of(TPMT_PUBLIC.decode(PUBLIC))
    primary = qualified_name(name, TPM_RH.OWNER)
    assert primary == b"\0\x0b" + hashlib.sha256(b"\x40\0\0\1" + name).digest()
    child = qualified_name(name, primary)
    assert child == b"\0\x0b" + hashlib.sha256(primary + name).digest()
    assert qualified_name(memoryview(name), bytearray(primary)) == child


@pytest.mark.parametrize(
    "name", [b"", b"\0", b"\0\x0b", b"\0\x0b" + bytes(31), b"\x7f\xff" + bytes(32), 5, None, "name"]
)
def test_what_is_no_name(name: Any) -> None:
    with pytest.raises(TpmMisuseError):
        qualified_name(name, TPM_RH.OWNER)


@pytest.mark.parametrize("parent", [None, "owner", 0x81000001, 1.5])
def test_what_is_no_parent(parent: Any) -> None:
    with pytest.raises(TpmMisuseError):
        qualified_name(b"\0\x0b" + bytes(32), parent)
