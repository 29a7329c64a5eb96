# SPDX-License-Identifier: Apache-2.0
"""The data of events: every structure of the profile against bytes packed by hand, and any bytes in its place."""

from __future__ import annotations

import copy
import hashlib
import pickle
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_logs import gpt_data, image_load, spec_id, uefi_variable
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog import (
    DevicePath,
    Event,
    EventType,
    Guid,
    decode_payload,
    firmware,
    payloads,
    uefi,
)
from prestocloud_sec.tpm.eventlog.device_path import DevicePathNode
from prestocloud_sec.tpm.eventlog.origins import origin_of
from prestocloud_sec.tpm.eventlog.payloads import Opaque, Separator, Text, Unreadable, summary
from prestocloud_sec.tpm.eventlog.variables import (
    BootOrder,
    LoadOption,
    SignatureData,
    SignatureDatabase,
    SignatureList,
    UefiAuthority,
    UefiVariable,
)

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SECURITY = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
RAW = {name: uuid.UUID(name).bytes_le for name in (GLOBAL, SECURITY)}
SHA256_TYPE = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328").bytes_le
OWNER = bytes(range(16))


def signature_list(*digests: bytes, kind: bytes = SHA256_TYPE, header: bytes = b"") -> bytes:
    size = 16 + len(digests[0])
    total = 28 + len(header) + size * len(digests)
    body = b"".join(OWNER + digest for digest in digests)
    return kind + struct.pack("<III", total, len(header), size) + header + body


def load_option(description: str, path: bytes, optional: bytes = b"") -> bytes:
    return struct.pack("<IH", 1, len(path)) + description.encode("utf-16-le") + b"\0\0" + path + optional


FILE_PATH = image_load("\\EFI\\BOOT\\BOOTX64.EFI")[32:]
PCI_PATH = bytes.fromhex("02010c00d041030a00000000 010106000002 7fff0400")
TEXT16 = "v1.2".encode("utf-16-le") + b"\0\0"
NAMES = b"".join(bytes([len(name)]) + name for name in (b"Maker\0", b"Model\0", b"1.0\0", b"Firm\0"))

PAYLOADS = [
    (0x3, spec_id(["sha1", "sha256"], b"vendor"), firmware.SpecIdEvent, "sha1, sha256"),
    (0x3, b"Spec ID Event00\0" + struct.pack("<IBBBBB", 0, 21, 1, 1, 0, 0), firmware.SpecIdEventLegacy, "1.21"),
    (0x3, b"Spec ID Event02\0" + struct.pack("<IBBBBB", 0, 2, 1, 2, 2, 1) + b"v", firmware.SpecIdEventLegacy, "1.2"),
    (0x3, b"StartupLocality\0\3", firmware.StartupLocality, "locality 3"),
    (0x3, b"SP800-155 Event\0" + struct.pack("<I", 9) + OWNER, firmware.PlatformId, "03020100"),
    (0x3, b"SP800-155 Event2" + bytes(4) + OWNER + NAMES + bytes(4) + b"\2ab", firmware.PlatformId2, "Model"),
    (
        0x3,
        b"SP800-155 Event3" + bytes(4) + OWNER + NAMES + bytes(4) + b"\0" + struct.pack("<II3sII", 1, 3, b"uri", 0, 0),
        firmware.PlatformId3,
        "Model",
    ),
    (0x3, b"NvIndexInstance\0" + struct.pack("<H6s", 1, b"") + b"chain", firmware.NvIndexInstance, "5 bytes"),
    (
        0x3,
        b"NvIndexDynamic \0" + struct.pack("<H6sQH14sH4s", 1, b"", 7, 14, b"SPDM CHALLENGE", 4, b"once"),
        firmware.NvIndexDynamic,
        "SPDM CHALLENGE",
    ),
    (0x3, b"unknown signature", Opaque, "17 bytes"),
    (0x1, b"POST CODE", Text, "POST CODE"),
    (0x1, struct.pack("<QQ", 0xFFC00000, 0x1000), uefi.FirmwareBlob, "4096 bytes at 0xffc00000"),
    (0x13, b"\4text" + struct.pack("<QQ", 16, 32), uefi.FirmwareBlob2, "text: 32 bytes"),
    (0x4, bytes(4), Separator, "00000000"),
    (0x4, b"\1\0\0\0", Separator, "error: 01000000"),
    (0x6, struct.pack("<II", 0x8F3B22EC, 5) + b"hello", firmware.TaggedEvent, "0x8f3b22ec: hello"),
    (0x7, struct.pack("<QQ", 1, 2), uefi.FirmwareBlob, "2 bytes at 0x1"),
    (0x8, TEXT16, Text, "v1.2"),
    (0x8, b"1.0\0", Text, "1.0"),
    (0x8, bytes.fromhex("1efb6b540c1d5540a4ad4ef4bf17b83a"), Guid, "546bfb1e-1d0c-4055-a4ad-4ef4bf17b83a"),
    (0xD, b"grub_cmd: insmod ext2\0", Text, "grub_cmd: insmod ext2"),
    (0x80000001, uefi_variable(RAW[GLOBAL], "SecureBoot", b"\1"), UefiVariable, "SecureBoot = on"),
    (0x80000001, uefi_variable(RAW[GLOBAL], "SecureBoot", b""), UefiVariable, "SecureBoot is not set"),
    (
        0x80000001,
        uefi_variable(RAW[SECURITY], "db", signature_list(bytes(32))),
        UefiVariable,
        "db = 1 entries",
    ),
    (
        0x80000002,
        uefi_variable(RAW[GLOBAL], "BootOrder", b"\2\0\1\0"),
        UefiVariable,
        "BootOrder = 0002, 0001",
    ),
    (
        0x8000000C,
        uefi_variable(RAW[GLOBAL], "Boot0001", load_option("Linux", PCI_PATH)),
        UefiVariable,
        "Linux",
    ),
    (0x80000002, uefi_variable(RAW[GLOBAL], "Other", b"123"), UefiVariable, "Other = 3 bytes"),
    (0x800000E0, uefi_variable(RAW[SECURITY], "db", OWNER + b"cert"), UefiAuthority, "db entry of 4 bytes"),
    (0x800000E0, uefi_variable(RAW[GLOBAL], "SbatLevel", b"sbat,1"), UefiAuthority, "SbatLevel"),
    (0x80000003, image_load("\\EFI\\shim.efi"), uefi.ImageLoad, "\\EFI\\shim.efi"),
    (0x80000004, struct.pack("<QQQQ", 1, 2, 3, 0), uefi.ImageLoad, "2 bytes in memory"),
    (0x80000006, gpt_data(["root", "swap"]), uefi.GptEvent, "root, swap"),
    (0x80000008, struct.pack("<QQ", 1, 2), uefi.FirmwareBlob, "2 bytes at 0x1"),
    (0x8000000A, b"\0" + struct.pack("<QQ", 1, 2), uefi.FirmwareBlob2, "2 bytes at 0x1"),
    (0x80000009, struct.pack("<Q", 1) + RAW[GLOBAL] + bytes(8), uefi.HandoffTables, "EFI_GLOBAL_VARIABLE"),
    (0x8000000B, b"\3tab" + struct.pack("<Q", 1) + OWNER + bytes(8), uefi.HandoffTables2, "tab"),
    (0x80000010, b"HCRTM", Text, "HCRTM"),
    (0x800000E1, b"SPDM Device Sec\0" + struct.pack("<HHII", 1, 40, 2, 1) + b"rest", firmware.DeviceSecurity, "type 1"),
    (
        0x800000E2,
        b"SPDM Device Sec2" + struct.pack("<HBBIIIIQQ", 2, 0, 0, 99, 1, 0, 3, 7, len(PCI_PATH)) + PCI_PATH + b"subctx",
        firmware.DeviceSecurity2,
        "PciRoot(0x0)/Pci(0x2,0x0)",
    ),
    (0x80000004, b"too short", Unreadable, "9 bytes; "),
    (0x12345678, b"\1\2", Opaque, "2 bytes"),
]


@pytest.mark.parametrize(("kind", "raw", "shape", "words"), PAYLOADS)
def test_data_is_read_as_what_the_type_says(kind, raw, shape, words):
    payload = decode_payload(kind, raw)
    assert type(payload) is shape
    assert payload.encode() == raw
    assert words in summary(payload)
    again = pickle.loads(pickle.dumps(payload))  # noqa: S301
    assert again == copy.deepcopy(payload) == payload
    assert Event(0, kind, (), raw).payload == payload
    if hasattr(shape, "decode") and shape is not Guid:
        for at in range(len(raw)):
            shorter = decode_payload(kind, raw[:at])
            assert shorter.encode() == raw[:at]


@given(st.sampled_from(sorted({kind for kind, *_ in PAYLOADS})), st.sampled_from(PAYLOADS), st.data())
def test_any_data_is_read_or_told_unreadable(kind, row, data):
    raw = bytearray(row[1])
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw += data.draw(st.binary(max_size=4))
    payload = decode_payload(kind, bytes(raw))
    assert payload.encode() == raw
    line = summary(payload)
    assert line.isprintable()
    assert len(line) < 100
    if isinstance(payload, Unreadable):
        assert payload.problem


@given(st.binary(max_size=120))
def test_counts_allocate_nothing(raw):
    for huge in (b"\xff" * 4, b"\xff" * 8):
        for kind, base, *_ in PAYLOADS:
            payload = decode_payload(kind, base[:24] + huge + raw)
            assert payload.encode() == base[:24] + huge + raw


def test_fields_are_where_the_specification_puts_them():
    variable = decode_payload(0x80000001, uefi_variable(RAW[SECURITY], "dbx", signature_list(bytes(32), b"\1" * 32)))
    assert isinstance(variable, UefiVariable)
    assert (str(variable.guid), variable.name) == (SECURITY, "dbx")
    database = variable.contents
    assert isinstance(database, SignatureDatabase)
    assert [(kind.name, entry.owner.encode(), entry.data) for kind, entry in database.entries] == [
        ("EFI_CERT_SHA256", OWNER, bytes(32)),
        ("EFI_CERT_SHA256", OWNER, b"\1" * 32),
    ]
    gpt = decode_payload(0x80000006, gpt_data(["root"]))
    assert isinstance(gpt, uefi.GptEvent)
    assert (gpt.header.my_lba, gpt.header.alternate_lba, gpt.header.first_usable_lba) == (1, 2047, 34)
    assert (gpt.partitions[0].type.encode(), gpt.partitions[0].guid.encode()) == (b"\1" * 16, b"\x65" * 16)
    option = LoadOption.decode(load_option("Linux", PCI_PATH + FILE_PATH, b"args"))
    assert (option.attributes, option.description, option.optional_data) == (1, "Linux", b"args")
    assert option.device_path is None
    assert str(LoadOption.decode(load_option("x", PCI_PATH)).device_path) == "PciRoot(0x0)/Pci(0x2,0x0)"
    assert UefiAuthority.decode(uefi_variable(RAW[SECURITY], "db", OWNER + b"c")).entry.data == b"c"
    assert UefiVariable(Guid(GLOBAL), "SecureBoot", b"\2").contents is None


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("\\EFI\\BOOT\\BOOTX64.EFI", FILE_PATH),
        (
            "HD(1,GPT,03020100-0504-0706-0809-0a0b0c0d0e0f,0x800,0x64000)",
            struct.pack("<BBHIQQ16sBB", 4, 1, 42, 1, 0x800, 0x64000, OWNER, 2, 2),
        ),
        ("HD(2,MBR,0x12345678,0x3f,0x10)", struct.pack("<BBHIQQI12xBB", 4, 1, 42, 2, 0x3F, 16, 0x12345678, 1, 1)),
        ("Sata(0x1,0xffff,0x0)", struct.pack("<BBHHHH", 3, 18, 10, 1, 0xFFFF, 0)),
        ("NVMe(0x1,08-07-06-05-04-03-02-01)", struct.pack("<BBHI", 3, 23, 16, 1) + bytes(range(1, 9))),
        ("USB(0x2,0x0)", struct.pack("<BBHBB", 3, 5, 6, 2, 0)),
        ("MAC(525400123456,0x1)", struct.pack("<BBH32sB", 3, 11, 37, bytes.fromhex("525400123456"), 1)),
        ("Uri(http://x)", struct.pack("<BBH", 3, 24, 12) + b"http://x"),
        ("Acpi(PNP0A06,0x1)", struct.pack("<BBHII", 2, 1, 12, 0x0A0641D0, 1)),
        ("Offset(0xf250,0x201ff)", struct.pack("<BBHIQQ", 4, 8, 24, 0, 0xF250, 0x201FF)),
        (f"Fv({GLOBAL})", struct.pack("<BBH", 4, 7, 20) + RAW[GLOBAL]),
        ("Path(9,9,0102)", struct.pack("<BBH", 9, 9, 6) + b"\1\2"),
        ("Path(3,5)", struct.pack("<BBH", 3, 5, 4)),
    ],
)
def test_device_paths_are_written_as_uefi_shells_do(text, raw):
    whole = raw if raw.endswith(b"\x7f\xff\x04\0") else raw + b"\x7f\xff\x04\0"
    path = DevicePath.decode(whole)
    assert str(path) == text
    assert path.encode() == whole


@given(st.lists(st.builds(DevicePathNode, st.integers(1, 5), st.integers(0, 30), st.binary(max_size=60)), max_size=4))
def test_nodes_of_any_size_have_a_text(nodes):
    path = DevicePath(tuple(nodes))
    assert DevicePath.decode(path.encode()) == path
    assert isinstance(str(path), str)


@pytest.mark.parametrize("raw", [b"\1", b"\1\1\3\0", b"\1\1\x05\0", b"\x7f\xff\4\0\1\1\4\0", b"\x7f\xff\4\0\0"])
def test_paths_that_are_none_are_refused(raw):
    with pytest.raises(TpmFormatError):
        DevicePath.decode(raw)


@pytest.mark.parametrize("text", [GLOBAL.upper(), "{" + GLOBAL + "}", GLOBAL.replace("-", "")])
def test_guids_are_read_in_any_spelling(text):
    assert Guid(text) == Guid.decode(RAW[GLOBAL])
    assert (str(Guid(text)), Guid(text).name, hash(Guid(text))) == (
        GLOBAL,
        "EFI_GLOBAL_VARIABLE",
        hash(Guid.decode(RAW[GLOBAL])),
    )


@pytest.mark.parametrize("wrong", [None, 7, "", "x" * 36, GLOBAL + "0", b"bytes", []])
def test_what_is_no_guid_is_refused(wrong):
    with pytest.raises(TpmMisuseError):
        Guid(wrong)
    with pytest.raises((TpmMisuseError, TpmFormatError)):
        Guid.decode(wrong)


def test_values_do_not_change():
    with pytest.raises(AttributeError):
        Guid(GLOBAL).x = 1
    with pytest.raises(AttributeError):
        del Guid(GLOBAL)._raw
    with pytest.raises(AttributeError):
        DevicePath().nodes = ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: UefiVariable(GLOBAL, 7, b""),
        lambda: UefiVariable(GLOBAL, "x", "text"),
        lambda: UefiVariable(7, "x", b""),
        lambda: SignatureList(GLOBAL, b"", 20, (SignatureData(GLOBAL, b"abc"),)),
        lambda: SignatureList(GLOBAL, b"", 3, ()),
        lambda: SignatureDatabase((7,)),
        lambda: BootOrder((1 << 16,)),
        lambda: BootOrder(7),
        lambda: LoadOption(0, "a\0b", b""),
        lambda: LoadOption(0, "a", bytes(1 << 16)),
        lambda: uefi.ImageLoad(0, 0, 0, b""),
        lambda: uefi.ImageLoad(1 << 64, 0, 0, DevicePath()),
        lambda: uefi.GptEvent(7, ()),
        lambda: uefi.FirmwareBlob2(bytes(256), 0, 0),
        lambda: uefi.HandoffTables(7),
        lambda: firmware.SpecIdEvent(()),
        lambda: firmware.SpecIdEvent((firmware.AlgorithmSize(4, 19),)),
        lambda: firmware.SpecIdEventLegacy(bytes(16), 0, 0, 0, 0, 0, b""),
        lambda: firmware.StartupLocality(256),
        lambda: DevicePathNode(256, 0),
        lambda: DevicePathNode(0, 0, bytes(1 << 16)),
        lambda: DevicePath(7),
        lambda: DevicePath((7,)),
        lambda: DevicePath((DevicePathNode(0x7F, 0xFF), DevicePathNode(1, 1))),
        lambda: decode_payload("x", b""),
        lambda: decode_payload(4, 7),
        lambda: summary(7),
        lambda: UefiVariable.decode("text"),
    ],
)
def test_what_makes_no_value_is_refused(make):
    with pytest.raises(TpmMisuseError):
        make()


def test_names_of_variables_keep_halves_of_characters():
    raw = uefi_variable(RAW[GLOBAL], "ab", b"")[:32] + b"\x00\xd8\x61\x00"
    variable = UefiVariable.decode(raw)
    assert variable.encode() == raw
    assert summary(variable).isprintable()
    assert UefiVariable(Guid(GLOBAL), "\ud83d\ude00", b"") == UefiVariable(Guid(GLOBAL), "😀", b"")


@pytest.mark.parametrize(
    ("pcr", "kind", "data", "content", "fits"),
    [
        (4, EventType.SEPARATOR, bytes(4), bytes(4), True),
        (4, EventType.SEPARATOR, b"what failed", b"\1\0\0\0", True),
        (4, EventType.SEPARATOR, bytes(4), b"x", False),
        (8, EventType.IPL, b"grub_cmd: insmod ext2\0", b"insmod ext2", True),
        (8, EventType.IPL, b"kernel_cmdline: root=/dev/sda1\0", b"root=/dev/sda1\0", True),
        (8, EventType.IPL, b"grub_cmd: insmod ext2\0", b"other", None),
        (12, EventType.IPL, "root=/dev/sda1\0".encode("utf-16-le"), "root=/dev/sda1\0".encode("utf-16-le"), True),
        (9, EventType.IPL, b"/boot/vmlinuz\0", b"kernel", None),
        (1, EventType.EFI_VARIABLE_BOOT, uefi_variable(RAW[GLOBAL], "BootOrder", b"\0\0"), b"\0\0", True),
        (1, EventType.EFI_VARIABLE_BOOT2, uefi_variable(RAW[GLOBAL], "BootOrder", b"\0\0"), b"\0\0", False),
        (1, EventType.EFI_VARIABLE_BOOT, b"no variable", b"x", None),
        (4, EventType.EFI_BOOT_SERVICES_APPLICATION, image_load("x"), b"image", None),
        (0, EventType.S_CRTM_VERSION, TEXT16, TEXT16, True),
        (9, EventType.EVENT_TAG, struct.pack("<II", 1, 0), b"initrd", None),
        (0, EventType.NO_ACTION, b"StartupLocality\0\3", b"StartupLocality\0\3", None),
    ],
)
def test_what_a_digest_is_of(pcr, kind, data, content, fits):
    digest = hashlib.sha256(content).digest()
    event = Event(pcr, kind, (("sha256", digest),), data)
    assert event.digest_fits("sha256") is fits
    assert event.digest_fits("sha1") is None
    assert origin_of(pcr, 0x12345678, data).contents == ()
    assert payloads.decode_payload(kind, data).encode() == data
