# SPDX-License-Identifier: Apache-2.0
"""Captured traffic: found in hexadecimal text, logs of swtpm and packet captures, and decoded message by message."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import Decoded, TpmFormatError, TpmMisuseError, decode_command, decode_response, decode_stream
from prestocloud_sec.tpm.codec.streams import messages_in, split_messages
from prestocloud_sec.tpm.spec import TPM_CC, TPMA_SESSION, GetRandom, Unseal
from tests.tpm.codec.recorded import pairs

RANDOM = bytes.fromhex("80010000000c0000017b0008")
ANSWER = bytes.fromhex("80010000001400000000" + "0008" + "f33644d066eac4da")
BAD = bytes.fromhex("80010000000c0000017e0000")
REFUSED = bytes.fromhex("80010000000a000001da")

LOG = """ Ctrl Cmd: length 4
 00 00 00 10 \n SWTPM_IO_Read: length 12
 80 01 00 00 00 0C 00 00 01 7B 00 08 \n SWTPM_IO_Write: length 20
 80 01 00 00 00 14 00 00 00 00 00 08 F3 36 44 D0 \n 66 EA C4 DA \n SWTPM_IO_Read: length 12
 80 01 00 00 00 0C 00 00 01 7E 00 00 \n SWTPM_IO_Write: length 10
 80 01 00 00 00 0A 00 00 01 DA \nData client disconnected
"""
"""What swtpm 0.7 writes at level 20."""

FOUR = [RANDOM, ANSWER, BAD, REFUSED]


def kinds(stream: list[Decoded | TpmFormatError]) -> list[str]:
    return [item.kind if isinstance(item, Decoded) else "error" for item in stream]


# --- forms of text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        RANDOM.hex() + ANSWER.hex() + BAD.hex() + REFUSED.hex(),
        "\n".join(m.hex().upper() for m in FOUR),
        "\r\n".join(f"0x{m.hex()}" for m in FOUR),
        " ".join(f"{b:02x}" for m in FOUR for b in m),
        ":".join(f"{b:02X}" for m in FOUR for b in m),
        ", ".join(f"0x{b:02x}" for m in FOUR for b in m),
        LOG,
        LOG.replace("\n", "\r\n"),
        b"".join(FOUR),
        bytearray(b"".join(FOUR)),
    ],
)
def test_messages_are_found(text: str | bytes) -> None:
    assert messages_in(text) == FOUR


FORMS = {"hex": RANDOM.hex(), "swtpm": LOG, "bytes": RANDOM}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_named_is_taken_and_no_other(form: str) -> None:
    assert messages_in(FORMS[form], form)[0] == RANDOM
    for other in {"hex", "swtpm", "pcap", "bytes"} - {form}:
        with pytest.raises(TpmFormatError):
            messages_in(FORMS[form], other)
    with pytest.raises(TpmMisuseError):
        messages_in(FORMS[form], "text")


def test_a_stream_goes_on_after_what_cannot_be_decoded() -> None:
    stream = decode_stream(LOG)
    assert kinds(stream) == ["command", "response", "error", "response"]
    first, second, third, fourth = stream
    assert isinstance(first, Decoded)
    assert first.value == GetRandom(8)
    assert isinstance(second, Decoded)
    assert second.value == GetRandom.Response(ANSWER[12:])
    assert isinstance(third, TpmFormatError)
    assert "PCR_Read.pcrSelectionIn" in str(third)
    assert isinstance(fourth, Decoded)
    assert fourth.rc is not None
    assert (fourth.rc.name, fourth.rc.culprit) == ("INSUFFICIENT", "pcrSelectionIn")


def test_every_recorded_pair_in_one_stream() -> None:
    text = "\n".join(m.hex() for pair in pairs() for m in (pair.command, pair.response))
    stream = decode_stream(text)
    assert kinds(stream) == ["command", "response"] * len(pairs())
    for pair, command, response in zip(pairs(), stream[::2], stream[1::2], strict=True):
        assert isinstance(command, Decoded)
        assert isinstance(response, Decoded)
        assert (command.raw, response.raw) == (pair.command, pair.response)
        assert command.code == response.code == pair.code


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "nothing in it"),
        ("  \n ", "nothing in it"),
        (" : , ", "nothing in it"),
        ("80010", "an odd number"),
        ("8001", "2 bytes; expected 10 or more"),
        ("12340000000a00000000", "0x1234; expected 8001, 8002 or 00c4"),
        ("80010000000b00000000", "a size of 11"),
        ("80010000000900000000", "a size of 9; expected 10 to 10"),
        ("hello there", "text that is no hexadecimal: 'hello there'"),
        ("zz", "text that is no hexadecimal: 'zz'"),
        (b"zz\n", "hexadecimal digits or a log of swtpm; or the bytes themselves"),
        ("8001 000g", "text that is no hexadecimal: '8001 000g'"),
        ("SWTPM_IO_Read: length 0\n", "log: no message of a TPM in it"),
        (b"\xff\xfe" * 8, "0xfffe"),
        (LOG.replace("length 20", "length 21"), "20 bytes; expected 21"),
        (LOG.replace("length 20", "length 999999999"), "expected 999999999"),
        ("ü" * 20, "text that is no hexadecimal"),
    ],
)
def test_what_holds_no_messages(data: str | bytes, words: str) -> None:
    with pytest.raises(TpmFormatError) as caught:
        messages_in(data)
    assert words in str(caught.value)


@pytest.mark.parametrize("data", [None, 5, [RANDOM], object()])
def test_what_is_neither_text_nor_bytes(data: object) -> None:
    for function in (messages_in, decode_stream, split_messages, decode_command, decode_response):
        with pytest.raises(TpmMisuseError):
            function(data)  # type: ignore[operator]


@given(data=st.binary(max_size=120) | st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_anything_at_all(data: bytes | str) -> None:
    try:
        found = decode_stream(data)
    except PrestoCloudError:
        return
    assert found


# --- packet captures --------------------------------------------------------------------------------------------------


def segment(source: int, target: int, sequence: int, payload: bytes, flags: int = 0x18) -> bytes:
    return struct.pack(">HHIIBBHHH", source, target, sequence, 0, 5 << 4, flags, 65535, 0, 0) + payload


def ipv4(payload: bytes, fragment: int = 0) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, fragment, 64, 6, 0, b"\x7f\0\0\x01", b"\x7f\0\0\x01"
    )
    return head + payload


def ipv6(payload: bytes) -> bytes:
    return struct.pack(">IHBB16s16s", 6 << 28, len(payload), 6, 64, bytes(16), bytes(16)) + payload


def ethernet(packet: bytes, kind: int = 0x0800) -> bytes:
    return bytes(12) + struct.pack(">H", kind) + packet


def conversation(messages: list[bytes]) -> Iterator[bytes]:
    """Yield the TCP segments of commands and responses, with their sequence numbers, and one sent again."""
    numbers = {False: 1000, True: 0xFFFFFFF0}  # the second one runs over
    yield segment(40000, 2321, numbers[False] - 1, b"", 0x02)
    yield segment(2321, 40000, numbers[True] - 1, b"", 0x12)
    for index, message in enumerate(messages):
        back = bool(index % 2)
        ports = (2321, 40000) if back else (40000, 2321)
        half = len(message) // 2
        for part in (message[:half], message[half:]):
            yield segment(*ports, numbers[back] & 0xFFFFFFFF, part)
            numbers[back] += len(part)
        if index == 1:
            yield segment(*ports, numbers[back] - len(message) & 0xFFFFFFFF, message)


def pcap(link: int, packets: list[bytes], order: str = "<") -> bytes:
    head = struct.pack(order + "IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(struct.pack(order + "IIII", 0, 0, len(p), len(p)) + p for p in packets)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def pcapng(link: int, packets: list[bytes], order: str = "<") -> bytes:
    section = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    interface = block(1, struct.pack(order + "HHI", link, 0, 0), order)
    enhanced = (block(6, struct.pack(order + "IIIII", 0, 0, 0, len(p), len(p)) + p, order) for p in packets)
    return section + interface + b"".join(enhanced)


PACKETS = [ipv4(s) for s in conversation(FOUR)]


@pytest.mark.parametrize(
    "capture",
    [
        pcap(101, PACKETS),
        pcap(101, PACKETS, ">"),
        pcap(228, PACKETS),
        pcap(1, [ethernet(p) for p in PACKETS]),
        pcap(1, [ethernet(b"\0\x07\x08\0" + p, 0x8100) for p in PACKETS]),
        pcap(1, [ethernet(ipv6(s), 0x86DD) for s in conversation(FOUR)]),
        pcap(0, [bytes(4) + p for p in PACKETS]),
        pcap(113, [bytes(14) + b"\x08\0" + p for p in PACKETS]),
        pcap(276, [b"\x08\0" + bytes(18) + p for p in PACKETS]),
        pcapng(101, PACKETS),
        pcapng(1, [ethernet(p) for p in PACKETS], ">"),
        pcap(101, [ipv4(s) + bytes(6) for s in conversation(FOUR)]),
    ],
)
def test_packet_captures(capture: bytes) -> None:
    assert messages_in(capture) == FOUR


def test_what_is_not_tcp_is_passed_over() -> None:
    others = [ethernet(b"\0" * 40, 0x0806), ethernet(ipv4(b"")), ethernet(ipv4(bytes(20), 1)), b"", ethernet(b"\x45")]
    assert messages_in(pcap(1, [*others, *(ethernet(p) for p in PACKETS)])) == FOUR


def test_a_capture_without_traffic_of_a_tpm() -> None:
    others = [ethernet(bytes(40), 0x0806), ethernet(b"\x45" + bytes(8) + b"\x11" + bytes(20))]
    for capture in (pcap(1, others), pcapng(1, others), pcap(1, [])):
        for function in (messages_in, decode_stream):
            with pytest.raises(TpmFormatError, match="capture: no message of a TPM in it"):
                function(capture)


def test_the_framing_of_the_simulators() -> None:
    said = [
        *(
            b"\0\0\0\x08\0" + struct.pack(">I", len(RANDOM)) + RANDOM,
            struct.pack(">I", len(ANSWER)) + ANSWER + bytes(4),
        ),
        *(b"\0\0\0\x08\x03" + struct.pack(">I", len(BAD)) + BAD, struct.pack(">I", len(REFUSED)) + REFUSED + bytes(4)),
    ]
    assert messages_in(pcap(101, [ipv4(s) for s in conversation(said)])) == FOUR


@pytest.mark.parametrize("size", range(4, 140))
def test_captures_that_were_cut(size: int) -> None:
    for capture in (pcap(101, PACKETS), pcapng(101, PACKETS)):
        try:
            messages_in(capture[:size])
        except TpmFormatError as error:
            assert str(error)  # noqa: PT017


def test_captures_of_other_networks() -> None:
    with pytest.raises(TpmFormatError, match="link-layer type 127"):
        messages_in(pcap(127, PACKETS))
    unknown = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(6, bytes(20))
    with pytest.raises(TpmFormatError, match="interface 0"):
        messages_in(unknown)


# --- trees ------------------------------------------------------------------------------------------------------------


def test_a_tree_by_hand() -> None:
    command = decode_command(RANDOM)
    assert command.text() == (
        "command GetRandom, 12 bytes\n"
        "    0  tag: TPM_ST = NO_SESSIONS (0x8001)\n"
        "    2  commandSize: UINT32 = 12\n"
        "    6  commandCode: TPM_CC = GetRandom (0x17b)\n"
        "   10  parameters\n"
        "   10    bytesRequested: UINT16 = 8"
    )
    assert command.to_dict() == {
        "kind": "command",
        "command": "GetRandom",
        "tag": 0x8001,
        "commandSize": 12,
        "commandCode": 0x17B,
        "parameters": {"bytesRequested": 8},
    }
    answer = decode_response(ANSWER, command)
    assert answer.to_dict(secrets=True)["parameters"] == {"randomBytes": "f33644d066eac4da"}
    assert json.loads(answer.to_json())["parameters"] == {"randomBytes": None}
    assert "f33644d066eac4da" not in answer.text()
    assert "randomBytes: TPM2B_DIGEST = f33644d066eac4da" in answer.text(secrets=True)
    assert "f33644d066eac4da" not in answer._repr_html_()


def test_refusals_are_explained() -> None:
    answer = decode_response(REFUSED, TPM_CC.PCR_Read)
    assert answer.value is None
    assert "PCR_Read, parameter 1 (pcrSelectionIn): TPM_RC_INSUFFICIENT" in answer.text()
    assert answer.to_dict()["words"] == str(answer.rc)


def test_responses_to_unknown_commands_stay_bytes() -> None:
    answer = decode_response(ANSWER)
    assert (answer.code, answer.value, answer.name) == (None, None, "unknown command")
    assert answer.to_dict()["parameters"] == "0008f33644d066eac4da"
    assert decode_response(ANSWER, 0x20000001).name == "command 0x20000001"


def test_encrypted_parameters_stay_as_they_are() -> None:
    for pair in pairs():
        command = decode_command(pair.command)
        response = decode_response(pair.response, command)
        for decoded in (command, response):
            bit = TPMA_SESSION.decrypt if decoded.kind == "command" else TPMA_SESSION.encrypt
            if decoded.encrypted:
                assert any(auth.sessionAttributes & bit for auth in decoded.frame.auths)
                assert "(encrypted)" in decoded.text()
    body = bytes.fromhex("0004deadbeef")
    auth = bytes.fromhex("0000" + "41" + "0000")
    message = b"\x80\x02" + (14 + len(body) + len(auth)).to_bytes(4, "big") + bytes(4) + len(body).to_bytes(4, "big")
    answer = decode_response(message + body + auth, TPM_CC.Unseal)
    assert answer.encrypted
    assert answer.value == Unseal.Response(b"\xde\xad\xbe\xef")
    assert "outData: TPM2B_SENSITIVE_DATA (encrypted) = deadbeef" in answer.text()


def test_what_cannot_be_a_command() -> None:
    with pytest.raises(TpmMisuseError, match="a command code, or a decoded command"):
        decode_response(ANSWER, "GetRandom")  # type: ignore[arg-type]
    with pytest.raises(TpmFormatError):
        decode_command(ANSWER)


def test_what_comes_before_a_message_that_was_cut_off_is_decoded() -> None:
    whole, cut = b"".join(FOUR), b"".join(FOUR)[:-1]
    for data in (cut, cut.hex()):
        *told, broken = decode_stream(data)
        assert list(map(repr, told)) == list(map(repr, decode_stream(whole)[:3]))
        assert isinstance(broken, TpmFormatError)
        assert broken.offset == len(b"".join(FOUR[:3]))
    with pytest.raises(TpmFormatError):
        decode_stream(FOUR[0][:-1])
    with pytest.raises(TpmFormatError):
        messages_in(cut)
