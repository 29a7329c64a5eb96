# SPDX-License-Identifier: Apache-2.0
"""Logs of the kernel's integrity measurements, binary and text, against the formats of the kernel's source."""

from __future__ import annotations

import hashlib
import struct
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_logs import ima_entry, ima_log, ima_logs
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog import ImaEntry, ImaLog, replay

SHA1 = partial(hashlib.sha1, usedforsecurity=False)
NG = ima_entry("ima-ng", [b"sha256:\0" + bytes(range(32)), b"/usr/bin/true\0"])
LINE = ima_log([NG]).text


@given(ima_logs())
def test_both_forms_are_read_as_they_were_made(built):
    log = ImaLog.decode(built.data)
    assert log.encode() == built.data
    assert log.encode_ascii() == built.text
    assert ImaLog.decode_ascii(built.text) == log
    assert ImaLog.decode_ascii(built.text.decode()) == log
    assert log.misfits == ()
    for entry, made in zip(log, built.entries, strict=True):
        assert (entry.pcr, entry.digest, entry.template, entry.fields) == (10, made.digest, made.template, made.fields)
        assert entry.is_violation is not any(made.digest)
        path = made.fields[1].removesuffix(b"\0").decode()
        assert entry.path == path
        assert (
            entry.file_digest[1] == made.fields[0][0 if made.template == "ima" else made.fields[0].index(b"\0") + 1 :]
        )
        assert entry.path in str(entry)
    assert log._repr_html_().count("<tr>") == 1 + len(log)


@given(ima_logs(), st.data())
def test_a_log_cut_short_is_refused_or_shorter(built, data):
    cut = data.draw(st.integers(0, max(0, len(built.data) - 1)))
    try:
        log = ImaLog.decode(built.data[:cut])
    except TpmFormatError:
        pass
    else:
        assert log.encode() == built.data[:cut]
    lines = built.text[:cut]
    if lines and not lines.endswith(b"\n"):
        with pytest.raises(TpmFormatError):
            ImaLog.decode_ascii(lines)


@given(ima_logs(), st.data())
def test_no_change_of_a_byte_is_hidden(built, data):
    for raw, decode, encode in (
        (built.data, ImaLog.decode, ImaLog.encode),
        (built.text, ImaLog.decode_ascii, ImaLog.encode_ascii),
    ):
        if not raw:
            continue
        bad = bytearray(raw)
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            log = decode(bytes(bad))
        except TpmFormatError:
            pass
        else:
            assert encode(log) == bad


@given(st.binary(max_size=100))
def test_any_bytes_are_a_log_or_refused(raw):
    for decode, encode in ((ImaLog.decode, ImaLog.encode), (ImaLog.decode_ascii, ImaLog.encode_ascii)):
        for prefix in (b"", ima_log([NG]).data if decode == ImaLog.decode else LINE):
            try:
                log = decode(prefix + raw)
            except TpmFormatError:
                continue
            assert encode(log) == prefix + raw


def test_the_digest_of_the_first_template_is_that_of_a_filled_path():
    """The digest is of 20 bytes and the path in a field of 256 bytes."""
    file_digest, path = SHA1(b"content").digest(), b"/bin/sh"
    digest = SHA1(file_digest + path + bytes(256 - len(path))).digest()
    log = ImaLog((ImaEntry(10, digest, "ima", (file_digest, path)),))
    assert log.misfits == ()
    assert log[0].file_digest == ("sha1", file_digest)
    assert log.encode() == struct.pack("<I20sI3s20sI", 10, digest, 3, b"ima", file_digest, len(path)) + path


def test_big_endian_machines_hash_and_write_the_other_way():
    fields = (b"sha1:\0" + bytes(20), b"/x\0")
    data = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    digest = SHA1(data).digest()
    raw = struct.pack(">I20sI6sI", 10, digest, 6, b"ima-ng", len(data)) + data
    log = ImaLog.decode(raw, byteorder="big")
    assert log.encode() == raw
    assert log.misfits == ()
    with pytest.raises(TpmFormatError):
        ImaLog.decode(raw)


def test_a_violation_extends_ones():
    entry = ima_entry("ima-ng", NG.fields, violation=True)
    log = ImaLog.decode(ima_log([entry]).data)
    assert log[0].is_violation
    assert log.misfits == ()
    assert replay(log, banks=["sha256"])["sha256"][10] == hashlib.sha256(bytes(32) + b"\xff" * 32).digest()


def test_logs_of_one_bank_have_its_digests():
    built = ima_log([ima_entry("ima-ng", NG.fields, bank="sha256")])
    log = ImaLog.decode(built.data, algorithm="sha256")
    assert (log.algorithm, log.misfits) == ("sha256", ())
    assert log.banks == (0x000B,)
    assert ImaLog.decode_ascii(built.text) == log
    assert replay(log)["sha256"][10] == built.pcr("sha256")
    with pytest.raises(TpmFormatError):
        ImaLog.decode(built.data)


def test_templates_without_a_name_are_known_by_their_fields():
    entry = ima_entry("d-ng|n-ng|sig", [*NG.fields, b"\3\2"])
    log = ImaLog.decode(ima_log([entry]).data)
    assert (log[0].path, log[0].signature) == ("/usr/bin/true", b"\3\2")
    assert log.encode_ascii() == ima_log([entry]).text


def test_templates_that_nobody_knows_are_kept_in_the_binary_form():
    entry = ima_entry("new-template", [b"a", b"", b"ccc"])
    raw = ima_log([entry]).data
    log = ImaLog.decode(raw)
    assert log[0].fields == (b"a", b"", b"ccc")
    assert log[0].path is None
    assert "new-template" in str(log[0])
    assert log.misfits == ()
    assert log.encode() == raw
    with pytest.raises(TpmMisuseError):
        log.encode_ascii()


def test_all_fields_of_the_largest_template_are_read_and_written():
    fields = (
        NG.fields[0],
        NG.fields[1],
        b"\5sig",
        b"security.ima\0",
        b"\1\0\0\0",
        b"\7",
        b"\0\0\1\0",
        b"\1\0\0\0",
        b"\xa4\x81",
    )
    log = ImaLog((ImaEntry(10, bytes(20), "evm-sig", fields),))
    text = log.encode_ascii()
    assert text.endswith(b" /usr/bin/true 05736967 security.ima 01000000 07 65536 1 33188\n")
    assert ImaLog.decode_ascii(text) == log
    assert log[0].field("imode") == b"\xa4\x81"


def test_a_line_put_in_by_a_file_name_is_told():
    """The kernel does not escape line breaks: a file name can add a line, but not one whose digest fits."""
    forged = ImaLog.decode_ascii(LINE + LINE.replace(b"true", b"evil"))
    assert forged.misfits == (forged[1],)


def test_pcrs_of_one_digit_have_a_space_in_front():
    log = ImaLog.decode_ascii(b" 9" + LINE[2:])
    assert (log[0].pcr, log.encode_ascii()[:3]) == (9, b" 9 ")
    with pytest.raises(TpmFormatError):
        ImaLog.decode_ascii(b"9" + LINE[2:])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LINE[:-1], "does not end"),
        (b"\n", "1 words"),
        (b"10 00 ima-ng\n", "0 words"),
        (b"10 " + b"00" * 20 + b" unknown x\n", "unknown"),
        (b"10 " + b"00" * 20 + b" ima-ng sha1:00 /x y\n", "3 words"),
        (b"10 " + b"0g" * 20 + b" ima-ng sha1:00 /x\n", "hexadecimal"),
        (b"10 " + b"AA" * 20 + b" ima-ng sha1:00 /x\n", "lower case"),
        (b"99 " + b"00" * 20 + b" ima-ng sha1:00 /x\n", "0 to 31"),
        (b"xx " + b"00" * 20 + b" ima-ng sha1:00 /x\n", "0 to 31"),
        (b"10 " + b"00" * 20 + b" ima 00 /x\n", "20 bytes"),
        (b"10 " + b"00" * 21 + b" ima-ng sha1:00 /x\n", "21 bytes"),
        (LINE + b"10 " + b"00" * 32 + b" ima-ng sha1:00 /x\n", "32 bytes"),
        (b"10  " + b"00" * 20 + b" ima-ng sha1:00 /x\n", "template"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(text, words):
    with pytest.raises(TpmFormatError, match=words):
        ImaLog.decode_ascii(text)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (struct.pack("<I20sI", 10, b"", 0xFFFFFFFF), "4294967295"),
        (struct.pack("<I20sI", 10, b"", 0) + b"\0" * 8, "template"),
        (struct.pack("<I20sI3sI", 10, b"", 3, b"\xff\xfe\xfd", 0), "ASCII"),
        (struct.pack("<I20sI6sI", 10, b"", 6, b"ima-ng", 0), "0 fields"),
        (struct.pack("<I20sI6sII", 10, b"", 6, b"ima-ng", 4, 9), "0 bytes left"),
        (struct.pack("<I20sI6sI", 10, b"", 6, b"ima-ng", 0xFFFFFFFF), "0 bytes left"),
        (struct.pack("<I20sI6sI", 99, b"", 6, b"ima-ng", 0), "99"),
        (struct.pack("<I20sI3s20sI2s", 10, b"", 3, b"ima", b"", 2, b"a\0"), "cannot hold"),
    ],
)
def test_what_is_wrong_with_a_record_is_told(raw, words):
    with pytest.raises(TpmFormatError, match=words):
        ImaLog.decode(raw)


ENTRY = ImaEntry(10, bytes(20), "ima-ng", (b"", b""))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImaLog.decode(None),
        lambda: ImaLog.decode("text"),
        lambda: ImaLog.decode(b"", algorithm="md5"),
        lambda: ImaLog.decode(b"", byteorder="middle"),
        lambda: ImaLog.decode_ascii(7),
        lambda: ImaLog.decode_ascii(b"", algorithm=7),
        lambda: ImaLog(7),
        lambda: ImaLog((7,)),
        lambda: ImaLog((ENTRY,), algorithm="sha256"),
        lambda: ImaLog((ENTRY,), byteorder=None),
        lambda: ImaLog((ENTRY,))[3],
        lambda: ImaEntry(99, bytes(20), "ima-ng", (b"", b"")),
        lambda: ImaEntry(10, 7, "ima-ng", (b"", b"")),
        lambda: ImaEntry(10, bytes(20), 7, (b"", b"")),
        lambda: ImaEntry(10, bytes(20), "a b", (b"", b"")),
        lambda: ImaEntry(10, bytes(20), "", ()),
        lambda: ImaEntry(10, bytes(20), "ima-ng", (b"",)),
        lambda: ImaEntry(10, bytes(20), "ima-ng", 7),
        lambda: ImaEntry(10, bytes(20), "ima-ng", ("a", "b")),
        lambda: ImaLog((ImaEntry(10, bytes(20), "ima-ng", (b"x", b"")),)).encode_ascii(),
        lambda: ImaLog((ImaEntry(10, bytes(20), "ima-ng", (b"", b"a b\0")),)).encode_ascii(),
    ],
)
def test_what_makes_no_log_is_refused(make):
    with pytest.raises(TpmMisuseError):
        make()


def test_half_characters_are_no_text():
    with pytest.raises(TpmFormatError):
        ImaLog.decode_ascii("\ud800\n")
