# SPDX-License-Identifier: Apache-2.0
"""Event logs of firmware: every log that is right is read to the byte, and nothing that is not passes for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.ground import buffers
from prestocloud_sec.testing.tpm_logs import (
    BANKS,
    EV_NO_ACTION,
    EV_SEPARATOR,
    HASHES_ITS_DATA,
    BuiltEvent,
    agile_log,
    boot_logs,
    measured,
    no_action,
    sha1_log,
    spec_id,
)
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog import Digest, Event, EventLog, EventType, LogFormat

SEPARATOR = measured(4, EV_SEPARATOR, bytes(4), ["sha1"])


def agile(*events: BuiltEvent, banks=("sha1", "sha256")) -> bytes:
    return agile_log(banks, events).data


@given(boot_logs())
def test_a_log_is_read_as_it_was_made(built):
    log = EventLog.decode(built.data)
    assert log.encode() == built.data
    assert log.format is (LogFormat.SHA1 if log.spec_id is None else LogFormat.CRYPTO_AGILE)
    assert len(log) == len(built.events)
    for event, made in zip(log, built.events, strict=True):
        assert (event.pcr, event.type, event.data) == (made.pcr, made.type, made.data)
        assert event.digests == tuple((BANKS[bank][0], digest) for bank, digest in made.digests)
    assert [event.number for event in log] == list(range(len(log)))
    assert EventLog(log.events) == log
    assert hash(EventLog(log.events)) == hash(log)


@given(boot_logs(), st.data())
def test_what_was_hashed_is_known_where_the_type_tells(built, data):
    log = EventLog.decode(built.data)
    for event, made in zip(log, built.events, strict=True):
        for bank, _ in made.digests:
            expected = True if made.type in HASHES_ITS_DATA else None
            assert event.digest_fits(bank) is expected, event
    assert log.misfits == ()


@given(boot_logs(), st.data())
def test_a_log_cut_short_is_refused(built, data):
    # Where it is cut between two records it is a whole, shorter log.
    boundaries, at = set(), 0
    for number, event in enumerate(built.events):
        is_sha1 = (built.banks == ("sha1",) and built.events[0].type != EV_NO_ACTION) or number == 0
        at += len(event.sha1_record() if is_sha1 else event.agile_record())
        boundaries.add(at)
    cut = data.draw(st.integers(0, len(built.data) - 1))
    if cut in boundaries:
        assert EventLog.decode(built.data[:cut]).encode() == built.data[:cut]
    else:
        with pytest.raises(TpmFormatError):
            EventLog.decode(built.data[:cut])


@given(boot_logs(), st.data())
def test_no_change_of_a_byte_is_hidden(built, data):
    """What a changed log is read as encodes to the changed bytes: nothing is made up, and nothing lost."""
    raw = bytearray(built.data)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        log = EventLog.decode(bytes(raw))
    except TpmFormatError:
        return
    assert log.encode() == raw
    assert log != EventLog.decode(built.data)


@given(buffers(max_size=200))
def test_any_bytes_are_a_log_or_refused(given_bytes):
    raw = bytes(memoryview(given_bytes).cast("B"))
    for prefix in (b"", agile()):
        try:
            log = EventLog.decode(prefix + raw if prefix else given_bytes)
        except TpmFormatError:
            continue
        assert log.encode() == prefix + raw
        for event in log:
            assert event.payload.encode() == event.data
            assert event.summary
        assert log._repr_html_().count("<tr>") == 1 + len(log)


@pytest.mark.parametrize("wrong", [None, 7, "text", [1], 3.5, object()])
def test_what_is_no_bytes_is_refused(wrong):
    with pytest.raises(TpmMisuseError):
        EventLog.decode(wrong)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no bytes"),
        (SEPARATOR.sha1_record()[:-1], "3 bytes left"),
        (SEPARATOR.sha1_record()[:28] + b"\xff" * 4, "0 bytes left"),
        (agile()[:60], "left"),
        (agile() + struct.pack("<III", 0, 4, 3), "3 digests"),
        (agile() + struct.pack("<III", 0, 4, 0xFFFFFFFF), "4294967295 digests"),
        (agile() + struct.pack("<IIIH", 0, 4, 1, 0x000C), "sha384"),
        (agile() + struct.pack("<IIIH", 0, 4, 1, 0x1234), "0x1234"),
        (agile() + struct.pack("<IIIH20sH", 0, 4, 2, 4, b"", 4), "sha1"),
        (agile() + struct.pack("<III", 32, 4, 0), "32"),
        (agile() + struct.pack("<IIII", 0, 4, 0, 0xFFFFFFFF), "0 bytes left"),
        (agile() + b"\xff\xff\xff\xff\x03\0\0\0", "left"),
        (agile() + bytes(15), "left"),
        (agile() + bytes(16) + struct.pack("<IIII", 1, 4, 0, 0), "an event of zeros only"),
        (sha1_log([SEPARATOR]).data + bytes(31), "left"),
    ],
)
def test_what_is_wrong_is_told(raw, words):
    with pytest.raises(TpmFormatError, match=words) as caught:
        EventLog.decode(raw)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (spec_id([]), "0 algorithms"),
        (spec_id(["sha1", "sha1"]), "1 of them different"),
        (spec_id(["sha1"])[:-3] + struct.pack("<H", 19) + b"\0", "19 bytes for sha1"),
        (spec_id(["sha1"])[:-5] + struct.pack("<HH", 0x1234, 0) + b"\0", "0 bytes"),
        (spec_id(["sha1"])[:-1] + b"\1", "0 bytes left"),
        (spec_id(["sha1"]) + b"\0", "1 bytes too many"),
        (spec_id(["sha1"])[:24] + struct.pack("<I", 0xFFFFFFFF), "0 bytes left"),
    ],
)
def test_banks_are_named_rightly_or_not_at_all(data, words):
    with pytest.raises(TpmFormatError, match=words):
        EventLog.decode(no_action(data, ["sha1"]).sha1_record())


def test_the_event_that_names_the_banks_is_not_extended():
    data = spec_id(["sha1"])
    for event in (no_action(data, ["sha1"], pcr=1), BuiltEvent(0, EV_NO_ACTION, (("sha1", b"\1" * 20),), data)):
        with pytest.raises(TpmFormatError, match="names the banks"):
            EventLog.decode(event.sha1_record())


def test_a_bank_of_a_hash_that_nobody_knows_is_read():
    data = spec_id(["sha256"])[:-5] + struct.pack("<HH", 0x1234, 3) + b"\0"
    raw = (
        no_action(data, ["sha1"]).sha1_record() + struct.pack("<IIIH", 1, 4, 1, 0x1234) + b"abc" + struct.pack("<I", 0)
    )
    log = EventLog.decode(raw)
    assert log.banks == (0x1234,)
    assert log[1].digest(0x1234) == b"abc"
    assert log.encode() == raw


@pytest.mark.parametrize("tail", [b"\xff" * 4, b"\xff" * 100, b"\xff" * 4 + bytes(50), bytes(16), bytes(1000)])
def test_what_filled_the_buffer_is_no_event(tail):
    whole = agile(measured(0, EV_SEPARATOR, bytes(4), ["sha1", "sha256"]))
    log = EventLog.decode(whole + tail)
    assert (len(log), log.padding) == (2, tail)
    assert log.encode() == whole + tail
    assert log.events == EventLog.decode(whole).events
    with pytest.raises(TpmFormatError):
        EventLog.decode(whole + tail + b"\1")


def test_events_of_no_pcr_are_read_where_they_are_not_extended():
    raw = agile(no_action(b"trust point", ["sha1"], pcr=0xFFFFFFFF), no_action(b"x", [], pcr=0x01C40200))
    assert [event.pcr for event in EventLog.decode(raw)] == [0, 0xFFFFFFFF, 0x01C40200]


def test_a_log_can_be_made_of_events():
    separator = Event(4, EventType.SEPARATOR, SEPARATOR.digests, bytes(4))  # type: ignore[arg-type]
    assert separator.digests == (Digest(4, bytes.fromhex("9069ca78e7450a285173431b3e52c5c25299e473")),)
    assert EventLog((separator,)).encode() == SEPARATOR.sha1_record()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Event(-1, 4, (), b""),
        lambda: Event(0, 1 << 32, (), b""),
        lambda: Event(32, 4, (), b""),
        lambda: Event(0, 4, 7, b""),  # type: ignore[arg-type]
        lambda: Event(0, 4, (7,), b""),  # type: ignore[arg-type]
        lambda: Event(0, 4, ((4, "text"),), b""),  # type: ignore[arg-type]
        lambda: Event(0, 4, (("md5", b""),), b""),  # type: ignore[arg-type]
        lambda: Event(0, 4, ((4, b""), (4, b"")), b""),  # type: ignore[arg-type]
        lambda: Event(0, 4, (), "text"),  # type: ignore[arg-type]
        lambda: EventLog(()),
        lambda: EventLog(7),  # type: ignore[arg-type]
        lambda: EventLog((7,)),  # type: ignore[arg-type]
        lambda: EventLog((Event(0, 4, (), b""),)),
        lambda: EventLog((Event(0, 4, (Digest(4, b"short"),), b""),)),
        lambda: EventLog((Event(0, 0, (Digest(4, bytes(20)),), b""),)),
        lambda: EventLog((Event(0, 4, (Digest(4, bytes(20)),), b""),), b"rest"),
        lambda: EventLog((Event(0, 4, (Digest(4, bytes(20)),), b""),))[1],
        lambda: EventLog((Event(0, 4, (Digest(4, bytes(20)),), b""),))["x"],  # type: ignore[call-overload]
        lambda: EventLog((Event(0, 4, (Digest(4, bytes(20)),), b""),))[0].digest("md5"),
    ],
)
def test_what_makes_no_log_is_refused(make):
    with pytest.raises(TpmMisuseError):
        make()
