# SPDX-License-Identifier: Apache-2.0
"""The cipher of a session as a value, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmMisuseError,
)
from prestocloud_sec.tpm.session import (
    ParameterCipher,
)


@given(
    st.sampled_from(
        [("aes", 128), ("aes", 192), ("aes", 256), ("sm4", 128), ("camellia", 192), ("tdes", 192), ("xor", 4)]
    )
)
def test_ciphers_encode_and_decode(pair: tuple[str, int]) -> None:
    cipher = ParameterCipher(*pair)
    assert ParameterCipher.decode(cipher.encode()) == cipher
    data = b"some parameter of a command"
    made = cipher.encrypt("sha256", b"key", bytes(32), bytes(16), data)
    assert made != data
    assert len(made) == len(data)
    assert cipher.decrypt("sha256", b"key", bytes(32), bytes(16), made) == data
    assert cipher.encrypt("sha256", b"key", bytes(32), bytes(16), b"") == b""


@given(st.binary(max_size=8))
@settings(max_examples=300)
def test_no_bytes_are_a_cipher_by_mistake(data: bytes) -> None:
    try:
        cipher = ParameterCipher.decode(data)
    except TpmFormatError:
        return
    assert (b"\0\x10" if cipher is None else cipher.encode()) == data


def test_what_is_no_cipher() -> None:
    for arguments in (("des", 56), ("aes", 129), ("aes", "128"), ("aes", True), (6, 128), ("xor", 6), ("xor", None)):
        with pytest.raises(TpmMisuseError):
            ParameterCipher(*arguments)  # type: ignore[arg-type]
    for wrong in ("0006", "00060080", "000600800042", "00060081004300", "000600810043", "000a0010", "0025", ""):
        with pytest.raises(TpmFormatError):
            ParameterCipher.decode(bytes.fromhex(wrong))
    with pytest.raises(TpmMisuseError):
        ParameterCipher.decode("0010")  # type: ignore[arg-type]
