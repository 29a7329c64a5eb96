# SPDX-License-Identifier: Apache-2.0
"""KDFa and KDFe against the key derivation functions of pyca/cryptography, which are the same ones of NIST."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import HASHES, hash_of
from prestocloud_sec.tpm.kdf import kdfa, kdfe

NAMES = ("sha1", "sha256", "sha384", "sha512", "sha3_256")
LABELS = ("", "ATH", "CFB", "STORAGE")


@given(
    name=st.sampled_from(NAMES),
    key=st.binary(min_size=1, max_size=160),
    label=st.sampled_from(LABELS),
    contexts=st.tuples(st.binary(max_size=64), st.binary(max_size=64)),
    size=st.integers(1, 200),
)
def test_kdfa(name: str, key: bytes, label: str, contexts: tuple[bytes, bytes], size: int) -> None:
    row = hash_of(name)
    oracle = KBKDFHMAC(
        row.cryptography(),
        Mode.CounterMode,
        size,
        4,
        4,
        CounterLocation.BeforeFixed,
        None,
        None,
        label.encode() + b"\0" + b"".join(contexts) + (8 * size).to_bytes(4, "big"),
    )
    assert kdfa(name, key, label, *contexts, 8 * size) == oracle.derive(key)


@given(
    name=st.sampled_from(NAMES),
    z=st.binary(min_size=1, max_size=66),
    label=st.sampled_from(LABELS),
    parties=st.tuples(st.binary(max_size=66), st.binary(max_size=66)),
    size=st.integers(1, 200),
)
def test_kdfe(name: str, z: bytes, label: str, parties: tuple[bytes, bytes], size: int) -> None:
    row = hash_of(name)
    oracle = ConcatKDFHash(row.cryptography(), size, label.encode() + b"\0" + b"".join(parties))
    assert kdfe(name, z, label, *parties, 8 * size) == oracle.derive(z)


def test_an_empty_key_is_a_key() -> None:
    assert kdfa("sha256", b"", "ATH") == kdfa("sha256", b"\0", "ATH")
    assert len(kdfa("sha384", b"", "ATH")) == 48


@given(bits=st.integers(0, 700))
def test_bits_that_are_not_whole_bytes_are_masked_at_the_top(bits: int) -> None:
    for made in (kdfa("sha1", b"k", "L", bits=bits), kdfe("sha1", b"k", "L", bits=bits)):
        assert len(made) == -(-bits // 8)
        assert int.from_bytes(made, "big") < 1 << bits
    # the size itself is a part of KDFa's input, and not of KDFe's
    whole = kdfe("sha1", b"k", "L", bits=-(-bits // 8) * 8)
    assert int.from_bytes(kdfe("sha1", b"k", "L", bits=bits), "big") == int.from_bytes(whole, "big") & (1 << bits) - 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"hash": "md5"},
        {"hash": 0x10},
        {"hash": ["sha256"]},
        {"hash": None},
        {"key": "text"},
        {"key": None},
        {"key": bytes(65536)},
        {"label": "a\0"},
        {"label": "\u00e9"},
        {"label": 7},
        {"context_u": 7},
        {"context_v": "x"},
        {"bits": -1},
        {"bits": 8 * 65536},
        {"bits": "8"},
        {"bits": 1 << 90000},
    ],
)
def test_misuse(arguments: dict[str, Any]) -> None:
    given_: dict[str, Any] = {"hash": "sha256", "key": b"k", "label": "ATH", **arguments}
    with pytest.raises(TpmMisuseError):
        kdfa(**given_)


@pytest.mark.parametrize("position", range(5))
def test_misuse_of_kdfe(position: int) -> None:
    arguments: list[Any] = ["sha256", b"z", "SECRET", b"u", b"v"]
    arguments[position] = object()
    with pytest.raises(TpmMisuseError):
        kdfe(*arguments)


@pytest.mark.parametrize("row", HASHES, ids=lambda row: row.name)
def test_rows_of_hashes_are_right(row: Any) -> None:
    kind = getattr(hashes, row.name.upper())
    assert row.size == kind.digest_size == len(row.digest(b"a", b"b")) == len(row.zeros)
    assert row.block == row.new().block_size
    assert hash_of(row.id) is hash_of(row.name) is hash_of(row) is row
