# SPDX-License-Identifier: Apache-2.0
"""Headers, handles and sessions around parameters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import values
from prestocloud_sec.tpm import CommandFrame, ResponseFrame, TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.errors import Tpm12Error, TpmTruncatedError
from prestocloud_sec.tpm.spec import TPM_CC, TPM_RC, TPM_RH, TPM_ST, TPMS_AUTH_COMMAND, TPMS_AUTH_RESPONSE, Unseal

PASSWORD = TPMS_AUTH_COMMAND(TPM_RH.PW, b"", 0, b"")
ANSWER = TPMS_AUTH_RESPONSE(b"", 1, b"")
NO, YES = TPM_ST.NO_SESSIONS, TPM_ST.SESSIONS


def test_commands_by_hand() -> None:
    assert CommandFrame(NO, TPM_CC.GetRandom, (), (), b"\0\x08").encode().hex() == "80010000000c0000017b0008"
    frame = CommandFrame(YES, TPM_CC.Unseal, (0x80000001,), (PASSWORD,))
    assert frame.encode().hex() == "80020000001b0000015e" + "80000001" + "00000009" + "400000090000" + "00" + "0000"
    assert CommandFrame.decode(frame.encode()) == frame


def test_responses_by_hand() -> None:
    frame = ResponseFrame(YES, 0, (0x80000000,), b"\0\x01x", (ANSWER,))
    assert frame.encode().hex() == "80020000001a00000000" + "80000000" + "00000003" + "000178" + "0000010000"
    assert ResponseFrame.decode(frame.encode(), TPM_CC.Load) == frame
    refused = ResponseFrame.decode(bytes.fromhex("80010000000a00000101"), TPM_CC.Load)
    assert refused == ResponseFrame(NO, 0x101)
    assert refused.encode().hex() == "80010000000a00000101"


@given(
    handles=st.tuples(*[st.integers(0, 0xFFFFFFFF)] * 2),
    auths=st.lists(values(TPMS_AUTH_COMMAND), max_size=3).map(tuple),
    parameters=st.binary(max_size=50),
)
def test_commands_are_exact_both_ways(handles: Any, auths: Any, parameters: bytes) -> None:
    frame = CommandFrame(YES if auths else NO, TPM_CC.ActivateCredential, handles, auths, parameters)
    assert CommandFrame.decode(frame.encode()) == frame
    assert CommandFrame.decode(bytearray(frame.encode()), handles=2) == frame


@given(
    auths=st.lists(values(TPMS_AUTH_RESPONSE), max_size=3).map(tuple),
    handle=st.integers(0, 0xFFFFFFFF),
    parameters=st.binary(max_size=50),
)
def test_responses_are_exact_both_ways(auths: Any, handle: int, parameters: bytes) -> None:
    frame = ResponseFrame(YES if auths else NO, 0, (handle,), parameters, auths)
    assert ResponseFrame.decode(frame.encode(), TPM_CC.Load) == frame


@pytest.mark.parametrize(
    ("message", "words", "rc"),
    [
        ("", "0 bytes; expected 10 or more", TPM_RC.COMMAND_SIZE),
        ("80010000000a0000", "8 bytes; expected 10 or more", TPM_RC.COMMAND_SIZE),
        ("80010000000b0000017c", "command.size (offset 2): a size of 11; expected 10", TPM_RC.COMMAND_SIZE),
        ("00c40000000a0000017c", "command.tag (offset 0): 0x00c4", TPM_RC.BAD_TAG),
        ("80010000000a00000001", "no command 0x1 is known", TPM_RC.COMMAND_CODE),
        ("80020000000a0000015e", "command.handles (offset 10): 0 bytes left; expected 4", TPM_RC.INSUFFICIENT),
        ("8002000000120000015e8000000000000000", "0 bytes; expected 9 to 0", TPM_RC.AUTHSIZE),
        ("80020000001b0000015e80000001" + "0000000a" + "400000090000000000", "10 bytes; expected 9 to 9", 0x144),
        ("80020000001c0000015e80000001" + "0000000a" + "40000009000000000000", "command.auths[1]", 0x09A),
        ("80020000001b0000015e80000001" + "00000009" + "400000080000000000", "auths[0].sessionHandle", 0x084),
        ("80020000001b0000015e80000001" + "00000009" + "400000090000180000", "reserved bits 0x18", 0x0A1),
    ],
)
def test_commands_that_are_none(message: str, words: str, rc: int) -> None:
    with pytest.raises(TpmFormatError) as caught:
        CommandFrame.decode(bytes.fromhex(message))
    assert words in str(caught.value)
    assert caught.value.rc == rc


def test_at_most_three_sessions() -> None:
    four = (PASSWORD,) * 4
    with pytest.raises(TpmMisuseError, match="three at most"):
        CommandFrame(YES, TPM_CC.Unseal, (1,), four)
    body = bytes(4) + (36).to_bytes(4, "big") + PASSWORD.encode() * 4
    with pytest.raises(TpmFormatError, match="a fourth session"):
        CommandFrame.decode(b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + b"\0\0\x01\x5e" + body)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("80010000000b0000000000", "response.parameters"),
        ("12340000000a00000000", "0x1234"),
        ("80020000000a00000101", "tag 8002 and 10 bytes with response code 0x101"),
        ("80010000000b0000010100", "11 bytes with response code 0x101"),
        ("80020000000e0000000000000000", "no session"),
        ("80020000000e0000000000000001", "response.parameters (offset 14): 0 bytes left; expected 1"),
        ("80020000000f000000000000000000", "response.auths[0]"),
    ],
)
def test_responses_that_are_none(message: str, words: str) -> None:
    data = bytes.fromhex(message)
    if words == "response.parameters":
        assert ResponseFrame.decode(data, TPM_CC.Clear).parameters == b"\0"
        return
    with pytest.raises(TpmFormatError) as caught:
        ResponseFrame.decode(data, TPM_CC.Clear)
    assert words in str(caught.value)


def test_a_tpm_1_2_is_called_by_its_name() -> None:
    with pytest.raises(Tpm12Error, match=r"a TPM 1\.2 answered") as caught:
        ResponseFrame.decode(bytes.fromhex("00c40000000a0000001e"), TPM_CC.GetRandom)
    assert caught.value.rc == TPM_RC.BAD_TAG


def test_commands_of_vendors_need_their_number_of_handles() -> None:
    message = bytes.fromhex("80010000000e20000001" + "80000000")
    with pytest.raises(TpmFormatError, match="say how many handles"):
        CommandFrame.decode(message)
    assert CommandFrame.decode(message, handles=1).handles == (0x80000000,)
    assert CommandFrame.decode(message, handles=0).parameters == b"\x80\0\0\0"


@pytest.mark.parametrize(
    "make",
    [
        lambda: CommandFrame(NO, -1),
        lambda: CommandFrame(0x1234, 1),
        lambda: CommandFrame("8001", 1),  # type: ignore[arg-type]
        lambda: CommandFrame(YES, 1),
        lambda: CommandFrame(NO, 1, (), (PASSWORD,)),
        lambda: CommandFrame(NO, 1, 5),  # type: ignore[arg-type]
        lambda: CommandFrame(NO, 1, (-1,)),
        lambda: CommandFrame(NO, 1, (), (), "x"),  # type: ignore[arg-type]
        lambda: CommandFrame(YES, 1, (), (ANSWER,)),  # type: ignore[arg-type]
        lambda: ResponseFrame(NO, 0x101, (1,)),
        lambda: ResponseFrame(YES, 0),
        lambda: ResponseFrame(NO, 0, (), b"", (ANSWER,)),
        lambda: ResponseFrame(NO, 1 << 32),
        lambda: CommandFrame.decode(5),  # type: ignore[arg-type]
        lambda: CommandFrame.decode(bytes(10), handles="x"),  # type: ignore[arg-type]
        lambda: ResponseFrame.decode(b"\x80\x01\0\0\0\x0a" + bytes(4), None),  # type: ignore[arg-type]
    ],
)
def test_misuse(make: Any) -> None:
    with pytest.raises((TpmMisuseError, TpmFormatError)):
        make()


def test_truncation_has_its_own_type() -> None:
    with pytest.raises(TpmTruncatedError):
        CommandFrame.decode(b"\x80\x01")
    assert Unseal.code == TPM_CC.Unseal
