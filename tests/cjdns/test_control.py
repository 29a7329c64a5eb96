# SPDX-License-Identifier: Apache-2.0
"""Control frames against the table of their types, and what a receiver refuses."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prestocloud_sec.cjdns import control
from prestocloud_sec.cjdns.checksum import internet_checksum_reference
from prestocloud_sec.cjdns.control import (
    ControlFrame,
    ControlType,
    Error,
    ErrorType,
    GetSnodeQuery,
    GetSnodeReply,
    KeyPing,
    KeyPong,
    Ping,
    Pong,
    RPathQuery,
    RPathReply,
)
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.testing.ground import buffers
from prestocloud_sec.testing.headers import control_frames, switch_headers

# type, magic, bytes of fixed content after the magic, most opaque bytes: cjdns v21.1, wire/Control.h
TABLE = [
    (Ping, 3, "09f91102", 4, 256),
    (Pong, 4, "9d74e35b", 4, 256),
    (KeyPing, 5, "01234567", 36, 64),
    (KeyPong, 6, "89abcdef", 36, 64),
    (GetSnodeQuery, 7, "736e6f71", 52, None),
    (GetSnodeReply, 8, "736e6f72", 52, None),
    (RPathQuery, 9, "736e6f71", 12, None),
    (RPathReply, 10, "736e6f72", 12, None),
    (Error, 2, "", 20, None),
]
ROWS = pytest.mark.parametrize(("kind", "number", "magic", "size", "most"), TABLE)


def framed(number: int, content: bytes) -> bytes:
    """Return a frame with a right checksum, made without the code under test but for the checksum's reference."""
    rest = struct.pack(">H", number) + content
    return struct.pack(">H", internet_checksum_reference(bytes(2) + rest)) + rest


@ROWS
def test_table_of_types_magics_and_sizes(kind, number, magic, size, most):
    assert kind.TYPE == number == ControlType(number)
    content = bytes.fromhex(magic) + bytes(size)
    frame = ControlFrame.decode(framed(number, content))
    assert type(frame) is kind
    assert frame.encode() == framed(number, content)
    with pytest.raises(HeaderError, match=kind.__name__):
        ControlFrame.decode(framed(number, content[:-1]))


@ROWS
def test_most_opaque_bytes(kind, number, magic, size, most):
    longest = 1400 if most is None else most
    content = bytes.fromhex(magic) + bytes(size) + b"\x01" * longest
    assert ControlFrame.decode(framed(number, content)).encode() == framed(number, content)
    if most is not None:
        with pytest.raises(HeaderError, match=f"at most {most}"):
            ControlFrame.decode(framed(number, content + b"\x01"))
        with pytest.raises(CjdnsMisuseError, match=f"at most {most}"):
            kind(21, *([bytes(32)] if size == 36 else []), bytes(most + 1))


@ROWS
@given(data=st.data())
def test_a_wrong_magic_is_refused(kind, number, magic, size, most, data):
    if not magic:
        return  # errors have none
    wrong = data.draw(st.binary(min_size=4, max_size=4))
    assume(wrong.hex() != magic)
    with pytest.raises(HeaderError, match=f"magic .*offset 4.*expected {magic}"):
        ControlFrame.decode(framed(number, wrong + bytes(size)))


@given(control_frames(max_extra=80))
def test_decode_undoes_encode(frame):
    raw = frame.encode()
    assert ControlFrame.decode(raw) == frame
    assert type(frame).decode(raw) == frame
    assert raw == framed(frame.TYPE, raw[4:])


@given(buffers(max_size=100))
def test_any_bytes_give_a_frame_or_a_header_error(data):
    try:
        frame = ControlFrame.decode(data)
    except HeaderError as error:
        assert "control frame" in str(error)  # noqa: PT017
    else:
        assert frame.encode() == bytes(memoryview(data).cast("B"))


@given(st.integers(0, 12), st.sampled_from(TABLE), st.binary(max_size=330))
def test_any_content_under_a_right_checksum_gives_a_frame_or_a_header_error(number, row, content):
    for raw in (framed(number, content), framed(row[1], bytes.fromhex(row[2]) + content)):
        try:
            frame = ControlFrame.decode(raw)
        except HeaderError:
            continue
        assert frame.encode() == raw


@given(control_frames(), st.data())
def test_any_changed_byte_is_refused(frame, data):
    raw = bytearray(frame.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(HeaderError, match="checksum"):
        ControlFrame.decode(raw)


@given(control_frames(), st.data())
def test_a_frame_cut_short_is_refused_unless_what_is_gone_sums_to_nothing(frame, data):
    raw = frame.encode()
    cut = data.draw(st.integers(0, len(raw) - 1))
    try:
        short = ControlFrame.decode(raw[:cut])
    except HeaderError:
        return
    assert internet_checksum_reference(bytes(cut % 2) + raw[cut:]) in (0, 0xFFFF)
    assert short.encode() == raw[:cut]


@given(st.sampled_from([number for number in range(300) if number not in range(2, 11)]), st.binary(max_size=40))
def test_an_unknown_type_is_refused(number, content):
    with pytest.raises(HeaderError, match=f"unknown type {number}"):
        ControlFrame.decode(framed(number, content))


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_less_than_a_head_is_refused(size):
    with pytest.raises(HeaderError, match="at least 4"):
        ControlFrame.decode(bytes(size))


def test_a_subclass_takes_only_its_own_type():
    raw = Pong(21, b"1234").encode()
    assert Pong.decode(raw) == Pong(21, b"1234")
    with pytest.raises(HeaderError, match="a Pong; expected Ping"):
        Ping.decode(raw)


def zero_checksum_ping() -> Ping:
    """Return a ping whose checksum comes out as 0."""
    rest = internet_checksum_reference(b"\0\0\0\x03" + bytes.fromhex("09f9110200000015"))
    return Ping(21, rest.to_bytes(2, "big"))


def test_both_ways_to_write_a_zero_checksum_are_taken_and_kept():
    frame = zero_checksum_ping()
    raw = frame.encode()
    assert raw[:2] == b"\0\0"
    other = b"\xff\xff" + raw[2:]
    received = ControlFrame.decode(other)
    assert received.encode() == other
    assert received == Ping(frame.version, frame.opaque, ones_checksum=True)
    assert received != frame == ControlFrame.decode(raw)
    with pytest.raises(CjdnsMisuseError, match="ones_checksum"):
        Ping(21, ones_checksum=True)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=64), st.binary(min_size=32, max_size=32))
def test_replies_return_the_opaque_bytes(version, opaque, key):
    assert Ping(version, opaque).reply() == Pong(21, opaque)
    assert KeyPing(version, bytes(32), opaque).reply(key, version=20) == KeyPong(20, key, opaque)
    nothing = GetSnodeQuery(version, opaque=opaque).reply()
    assert nothing == GetSnodeReply(21, 0, 0xFFFFFFFF, bytes(32), 0, opaque)
    assert GetSnodeQuery(version, opaque=opaque).reply(key, 0x13, 22) == GetSnodeReply(
        21, 22, 0xFFFFFFFF, key, 0x13, opaque
    )
    assert RPathQuery(version, 0x13, opaque).reply(0x15) == RPathReply(21, 0x15, opaque)


@given(switch_headers(), st.binary(min_size=4, max_size=600), st.sampled_from(ErrorType))
def test_a_switch_sends_back_the_first_256_bytes(header, rest, reason):
    packet = header.encode() + rest
    frame = Error.about(reason, packet)
    assert frame.encode() == framed(2, struct.pack(">I", reason) + packet[:256])
    assert frame.error_type is reason
    assert frame.cause == header
    assert frame.actionable == (len(packet) >= 32)


@pytest.mark.parametrize("size", [0, 11, 12, 15])
def test_a_switch_says_nothing_about_runts(size):
    with pytest.raises(HeaderError):
        Error.about(ErrorType.UNDELIVERABLE, bytes(size))


def test_a_receiver_acts_on_errors_of_40_bytes():
    assert Error(8, SwitchHeader(1), 0, bytes(16)).actionable
    assert len(Error(8, SwitchHeader(1), 0, bytes(16)).encode()) == 40
    assert not Error(8, SwitchHeader(1), 0, bytes(15)).actionable


@given(switch_headers(), st.binary(min_size=16, max_size=100), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_failed_decryption_is_reported_with_its_code_and_state(header, packet, code, state):
    frame = Error.decrypt_failure(header, packet, code, state)
    assert frame.encode()[4:] == struct.pack(">I", 6) + header.encode() + packet[:16] + struct.pack(">II", code, state)
    assert frame.refusal == (code, state)
    assert ControlFrame.decode(frame.encode()) == frame


def test_only_a_failed_decryption_has_a_refusal():
    assert Error(8, SwitchHeader(1), 0, bytes(20)).refusal is None
    assert Error(6, SwitchHeader(1), 0, bytes(19)).refusal is None
    with pytest.raises(HeaderError, match="at least 16"):
        Error.decrypt_failure(SwitchHeader(1), bytes(15), 1, 1)
    with pytest.raises(CjdnsMisuseError):
        Error.decrypt_failure(SwitchHeader(1), bytes(16), -1, 1)


def test_unknown_error_types_stay_numbers():
    frame = ControlFrame.decode(framed(2, struct.pack(">I", 4711) + bytes(16)))
    assert isinstance(frame, Error)
    assert frame.error_type == 4711
    assert not isinstance(frame.error_type, ErrorType)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ControlFrame(),
        lambda: Ping("21"),
        lambda: Ping(-1),
        lambda: Ping(21, "opaque"),
        lambda: KeyPing(21, bytes(31)),
        lambda: Error(8, bytes(12), 0),
        lambda: RPathQuery(21, 1 << 64),
        lambda: KeyPing(21, bytes(32)).reply(bytes(33)),
        lambda: ControlFrame.decode("text"),
        lambda: ControlFrame.decode(12),
    ],
)
def test_misuse(make):
    with pytest.raises(CjdnsMisuseError):
        make()


def test_every_type_has_a_class():
    classes = {kind.TYPE for kind in vars(control).values() if isinstance(kind, type) and hasattr(kind, "TYPE")}
    assert classes == set(ControlType)
