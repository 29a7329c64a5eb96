# SPDX-License-Identifier: Apache-2.0
"""The values: time-outs, snapshots, envelopes of swtpm, and the table of quirks."""

from __future__ import annotations

import copy
import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.transport import Snapshot, SpawnedTransport, Timeouts, maker, quirks_of
from prestocloud_sec.tpm.transport.quirks import MAKERS, QUIRKS
from prestocloud_sec.tpm.transport.snapshot import enveloped, from_envelope
from prestocloud_sec.tpm.transport.timeouts import BEHIND_A_KERNEL, KEY_COMMANDS, SLOW_COMMANDS
from tests.tpm.transport.peers import needs_swtpm

# --- Time-outs -----------------------------------------------------------------------------------------------------


def test_minutes_for_keys() -> None:
    usual = Timeouts()
    for code in (0x131, 0x153, 0x191):  # CreatePrimary, Create, CreateLoaded
        assert usual.of_command(code) >= 300
        assert BEHIND_A_KERNEL.of_command(code) > 300  # what Linux allows: drivers/char/tpm/tpm.h, 300 s and 120 s
    assert usual.of_command(0x17B) == usual.of_command(0xFFFFFFFF) == usual.ordinary
    assert BEHIND_A_KERNEL.of_command(0x17B) > 120
    assert not set(KEY_COMMANDS) & set(SLOW_COMMANDS)


def test_one_number_is_for_all() -> None:
    assert Timeouts.of(2.5) == Timeouts(2.5, 2.5, 2.5) != Timeouts()
    assert hash(Timeouts.of(1)) == hash(Timeouts(1, 1, 1))
    assert Timeouts.of(None) == Timeouts()
    assert Timeouts.of(Timeouts(1, 2, 3)) == Timeouts(1, 2, 3)
    assert Timeouts.of(1) != 1
    assert eval(repr(Timeouts(1, 2, 3))) == Timeouts(1, 2, 3)  # noqa: S307


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), 86401, "5", True, b"1", [1]])
def test_times_that_are_none(wrong: Any) -> None:
    with pytest.raises(TpmMisuseError):
        Timeouts.of(wrong)
    with pytest.raises(TpmMisuseError):
        Timeouts(ordinary=wrong)


def test_none_below_the_one_before() -> None:
    for wrong in ((2, 1, 3), (1, 3, 2)):
        with pytest.raises(TpmMisuseError, match="none below the one before"):
            Timeouts(*wrong)


# --- Snapshots -----------------------------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=100), st.binary(max_size=100))
def test_a_snapshot_is_what_it_was(permanent: bytes, volatile: bytes) -> None:
    snapshot = Snapshot(permanent, bytearray(volatile))
    encoded = snapshot.encode()
    assert Snapshot.decode(encoded) == snapshot
    assert Snapshot.decode(memoryview(encoded)).encode() == encoded
    assert pickle.loads(pickle.dumps(snapshot)) == copy.copy(snapshot) == snapshot  # noqa: S301
    assert hash(snapshot) == hash(Snapshot(permanent, volatile))
    assert snapshot != Snapshot(permanent + b"\0", volatile)
    assert snapshot != encoded


@given(st.data())
def test_a_damaged_snapshot_is_refused(data: st.DataObject) -> None:
    encoded = bytearray(Snapshot(b"permanent", b"volatile").encode())
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= 1 << data.draw(st.integers(0, 7))
    for wrong in (encoded, encoded[:place], encoded + b"\0"):
        with pytest.raises(TpmFormatError):
            Snapshot.decode(wrong)


@given(st.binary(max_size=64))
def test_what_is_no_snapshot(data: bytes) -> None:
    with pytest.raises(TpmFormatError, match="are no snapshot, or a damaged one"):
        Snapshot.decode(data)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"tpmstate", "bytes left"),
        (b"tpmstate" + bytes.fromhex("00000002"), "version 2; expected 1"),
        (b"tpmstate" + bytes.fromhex("00000001ffffffff"), "bytes left"),
        (b"tpmstate" + bytes.fromhex("000000010000000000000000"), "every TPM has one"),
        (b"tpmstate" + bytes.fromhex("0000000100000001aa0000000000"), "too many"),
    ],
)
def test_snapshots_whose_checksum_fits(body: bytes, words: str) -> None:
    with pytest.raises(TpmFormatError, match=words):
        Snapshot.decode(body + hashlib.sha256(body).digest())


def test_snapshots_show_no_secrets_and_do_not_change() -> None:
    snapshot = Snapshot(b"secret", b"")
    assert repr(snapshot) == "<Snapshot of 6 permanent and 0 volatile bytes>"
    with pytest.raises(AttributeError):
        snapshot.permanent = b""  # type: ignore[misc]
    for wrong in ((b"", b"x"), ("text", b""), (b"x", None), (bytes((1 << 24) + 1), b"")):
        with pytest.raises(TpmMisuseError):
            Snapshot(*wrong)  # type: ignore[arg-type]
    for nonsense in ("text", None, 5):
        with pytest.raises(TpmMisuseError):
            Snapshot.decode(nonsense)  # type: ignore[arg-type]


# --- Envelopes of swtpm --------------------------------------------------------------------------------------------


@given(st.binary(max_size=100), st.booleans())
def test_an_envelope_gives_back_what_was_put_in(blob: bytes, migration: bool) -> None:
    assert from_envelope(enveloped(blob, migration=migration), "here") == blob


@given(st.binary(max_size=60))
def test_whatever_an_envelope_is(data: bytes) -> None:
    for sent in (data, b"\x02\x01\x00\x0a\x00\x00" + (len(data) + 10).to_bytes(4, "big") + data):
        try:
            assert from_envelope(sent, "here") in sent
        except TpmFormatError as error:
            assert (error.where or "").startswith("here")  # noqa: PT017


@needs_swtpm
def test_it_is_the_envelope_of_swtpm(tmp_path: Path) -> None:
    with SpawnedTransport(tmp_path):
        pass
    written = (tmp_path / "tpm2-00.permall").read_bytes()
    assert enveloped(from_envelope(written, "here")) == written


# --- Quirks --------------------------------------------------------------------------------------------------------


def test_every_row_names_a_maker_and_a_source() -> None:
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS) >= 10
    for quirk in QUIRKS:
        assert quirk.maker in MAKERS
        assert quirk.source.startswith(("https://", "measured with "))
        assert all(0 <= first <= last < 1 << 64 for first, last in quirk.firmware)
        assert quirk.words
        assert quirk.advice
    assert all(len(letters) <= 4 for letters in MAKERS)


@pytest.mark.parametrize(
    ("manufacturer", "letters"),
    [
        (0x49424D00, "IBM"),
        (0x49465800, "IFX"),
        (0x53544D20, "STM"),
        (0x414D4400, "AMD"),
        (0x494E5443, "INTC"),
        (0x4E544300, "NTC"),
        (0x41000000, "A"),
        (0, ""),
        (0xFF414243, "\\xffABC"),
    ],
)
def test_makers(manufacturer: int, letters: str) -> None:
    assert maker(manufacturer) == letters


def names(manufacturer: int, firmware: int) -> set[str]:
    return {quirk.name for quirk in quirks_of(manufacturer, firmware)}


def version(*parts: int) -> int:
    return sum(part << shift for part, shift in zip(parts, (48, 32, 16, 0), strict=False))


@pytest.mark.parametrize(
    ("manufacturer", "firmware", "name", "there"),
    [
        (0x49465800, version(7, 61, 9999, 9), "weak-rsa-keys", True),
        (0x49465800, version(7, 62), "weak-rsa-keys", False),
        (0x49465800, version(5, 61), "weak-rsa-keys", True),
        (0x49465800, version(5, 62, 3126, 0), "weak-rsa-keys", False),
        (0x49465800, version(133, 32), "weak-rsa-keys", True),
        (0x49465800, version(133, 33), "weak-rsa-keys", False),
        (0x49465800, version(15, 23), "weak-rsa-keys", False),
        (0x53544D20, version(73, 4, 1, 2), "ecdsa-timing", True),
        (0x53544D20, version(73, 64), "ecdsa-timing", False),
        (0x53544D20, version(71, 12), "ecdsa-timing", True),
        (0x414D4400, 0x0006000000180005, "slow-random", True),
        (0x414D4400, 0x0006000000180006, "slow-random", False),
        (0x414D4400, 0x0003005700000004, "slow-random", True),
        (0x414D4400, 0x0003005700000005, "slow-random", False),
        (0x4E544300, 0x0001000300020008, "out-of-bounds-write", True),
        (0x4E544300, 0x0001000300020014, "out-of-bounds-write", False),
        (0x49424D00, 0x2019102300163636, "retry-on-first-use", True),
        (0x41424344, 0, "retry-on-first-use", False),
    ],
)
def test_whom_it_concerns(manufacturer: int, firmware: int, name: str, there: bool) -> None:
    assert (name in names(manufacturer, firmware)) is there


@pytest.mark.parametrize("wrong", [-1, 1 << 64, "IFX", None, b"IFX\0"])
def test_numbers_that_are_none(wrong: Any) -> None:
    with pytest.raises(TpmMisuseError):
        quirks_of(0, wrong)
    with pytest.raises(TpmMisuseError):
        quirks_of(wrong, 0)
    with pytest.raises(TpmMisuseError):
        maker(wrong)
