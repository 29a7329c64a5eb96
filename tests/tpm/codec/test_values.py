# SPDX-License-Identifier: Apache-2.0
"""What a caller may put into structures and commands, what he gets back, and what he is told when it does not fit."""

from __future__ import annotations

import copy
import inspect
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest

from prestocloud_sec import tpm
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.errors import TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.spec import (
    COMMANDS,
    COMMANDS_BY_NAME,
    MAC,
    TPM_ALG_ID,
    TPM_CAP,
    TPM_CC,
    TPM_ECC_CURVE,
    TPM_RC,
    TPM_RH,
    TPM_SE,
    TPM_SU,
    TPMA_NV,
    TPMA_OBJECT,
    TPMS_AUTH_COMMAND,
    TPMS_CAPABILITY_DATA,
    TPMS_CONTEXT,
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_KEYEDHASH_PARMS,
    TPMS_NV_PUBLIC,
    TPMS_PCR_SELECTION,
    TPMS_QUOTE_INFO,
    TPMS_RSA_PARMS,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMS_SYMCIPHER_PARMS,
    TPMT_ECC_SCHEME,
    TPMT_HA,
    TPMT_KDF_SCHEME,
    TPMT_KEYEDHASH_SCHEME,
    TPMT_PUBLIC,
    TPMT_RSA_SCHEME,
    TPMT_SENSITIVE,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
    TPMT_TK_CREATION,
    ActivateCredential,
    AuthRole,
    Certify,
    Clear,
    CreatePrimary,
    Duplicate,
    FlushContext,
    GetCapability,
    GetRandom,
    HierarchyChangeAuth,
    Load,
    LoadExternal,
    PCR_Extend,
    PCR_Read,
    PolicyCommandCode,
    PolicyOR,
    ReadPublic,
    SessionUse,
    StartAuthSession,
    Startup,
    Structure,
    Unseal,
)
from prestocloud_sec.tpm.spec.declare import Command, Declared

ALG = TPM_ALG_ID
NO_SCHEME = TPMT_ECC_SCHEME(ALG.NULL, None)
NO_CIPHER = TPMT_SYM_DEF_OBJECT(ALG.NULL, None, None)
AES = TPMT_SYM_DEF_OBJECT(ALG.AES, 128, ALG.CFB)
PARAMETERS = TPMS_ECC_PARMS(AES, NO_SCHEME, TPM_ECC_CURVE.NIST_P256, TPMT_KDF_SCHEME(ALG.NULL, None))
PUBLIC = TPMT_PUBLIC(
    type=ALG.ECC,
    nameAlg=ALG.SHA256,
    objectAttributes=TPMA_OBJECT(0x00030072),
    authPolicy=b"",
    parameters=PARAMETERS,
    unique=TPMS_ECC_POINT(b"", b""),
)
PUBLIC_BYTES = bytes.fromhex("0023000b00030072000000060080004300100003001000000000")
"""The template of an ECC storage key, written out by hand from the tables of Part 2."""


def test_the_bytes_are_those_of_the_tables() -> None:
    assert PUBLIC.encode() == PUBLIC_BYTES
    assert TPMT_PUBLIC.decode(PUBLIC_BYTES) == PUBLIC


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (TPMT_HA(ALG.SHA1, b"\x11" * 20), "0004" + "11" * 20),
        (TPMT_HA(ALG.NULL, None), "0010"),
        (TPMS_PCR_SELECTION(ALG.SHA256, b"\x01\x02\x03"), "000b03010203"),
        (TPMT_SYM_DEF(ALG.XOR, ALG.SHA256, None), "000a000b"),
        (TPMT_SYM_DEF(ALG.AES, 256, ALG.CFB), "000601000043"),
        (TPMT_KEYEDHASH_SCHEME(ALG.HMAC, TPMS_SCHEME_HASH(ALG.SHA384)), "0005000c"),
        (TPMS_SYMCIPHER_PARMS(AES), "000600800043"),
        (TPMT_TK_CREATION(0x8021, TPM_RH.NULL, b""), "8021400000070000"),
        (TPMS_NV_PUBLIC(0x01500019, ALG.SHA256, TPMA_NV(0x28020002), b"", 16), "01500019000b2802000200000010"),
        (TPMS_AUTH_COMMAND(TPM_RH.PW, b"", 0, b"pw"), "40000009" + "0000" + "00" + "00027077"),
        (TPMS_SENSITIVE_CREATE(b"a", b"bc"), "000161" + "00026263"),
        (TPMS_CONTEXT(1, 0x80000000, TPM_RH.OWNER, b"\x01"), "0000000000000001" + "80000000" + "40000001" + "000101"),
        (TPMT_SENSITIVE(ALG.SYMCIPHER, b"", b"\x01", b"key"), "0025" + "0000" + "000101" + "00036b6579"),
        (TPMS_CAPABILITY_DATA(TPM_CAP.HANDLES, (0x80000000,)), "00000001" + "00000001" + "80000000"),
        (TPMS_QUOTE_INFO((), b"\x01"), "00000000" + "000101"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Structure) else "",
)
def test_structures(value: Structure, wire: str) -> None:
    assert value.encode().hex() == wire
    assert type(value).decode(bytes.fromhex(wire)) == value


@pytest.mark.parametrize(
    ("command", "handles", "parameters"),
    [
        (GetRandom(32), (), "0020"),
        (Startup(TPM_SU.STATE), (), "0001"),
        (FlushContext(0x80000001), (), "80000001"),
        (Load(0x81000001, b"\x01\x02", PUBLIC), (0x81000001,), "00020102" + "001a" + PUBLIC_BYTES.hex()),
        (LoadExternal(None, PUBLIC, TPM_RH.NULL), (), "0000" + "001a" + PUBLIC_BYTES.hex() + "40000007"),
        (PCR_Extend(16, [TPMT_HA(ALG.SHA1, bytes(20))]), (16,), "00000001" + "0004" + "00" * 20),
        (
            StartAuthSession(
                TPM_RH.NULL, TPM_RH.NULL, bytes(16), b"", TPM_SE.POLICY, TPMT_SYM_DEF(ALG.NULL, None, None), ALG.SHA256
            ),
            (0x40000007, 0x40000007),
            "0010" + "00" * 16 + "0000" + "01" + "0010" + "000b",
        ),
        (PolicyCommandCode(0x03000000, TPM_CC.Sign), (0x03000000,), "0000015d"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Command) else "",
)
def test_commands(command: Command, handles: tuple[int, ...], parameters: str) -> None:
    assert command.handles == handles
    assert command.encode_parameters().hex() == parameters
    assert type(command).decode_parameters(bytes.fromhex(parameters), handles=handles) == command


def test_what_a_declaration_says_of_its_command() -> None:
    assert (Load.code, Load.handle_names, Load.handle_auths) == (TPM_CC.Load, ("parentHandle",), (AuthRole.USER,))
    assert Load.sessions is SessionUse.REQUIRED
    assert Load.first_parameter_is_2b
    assert Load.Response.first_parameter_is_2b
    assert Load.Response.handle_names == ("objectHandle",)
    assert ActivateCredential.handle_auths == (AuthRole.ADMIN, AuthRole.USER)
    assert Duplicate.handle_auths == (AuthRole.DUP, None)
    assert (FlushContext.sessions, FlushContext.handle_names) == (SessionUse.NEVER, ())
    assert (GetRandom.sessions, GetRandom.first_parameter_is_2b) == (SessionUse.OPTIONAL, False)
    assert (Clear.nv, Clear.extensive, Clear.flushed) == (True, True, False)
    assert COMMANDS[0x155] is MAC
    assert COMMANDS[0x157] is Load is COMMANDS_BY_NAME["Load"]
    assert len(COMMANDS) == 126


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError, match=r"TPMT_PUBLIC.nameAlg is frozen; use replace"):
        PUBLIC.nameAlg = ALG.SHA1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del PUBLIC.nameAlg
    with pytest.raises(AttributeError):
        PUBLIC.other = 1  # type: ignore[attr-defined]


def test_values_are_values() -> None:
    same = TPMT_PUBLIC(**{name: getattr(PUBLIC, name) for name in PUBLIC.__match_args__})
    assert same == PUBLIC
    assert hash(same) == hash(PUBLIC)
    assert {same: 1}[PUBLIC] == 1
    assert same != PUBLIC.encode()
    assert same != PUBLIC.replace(nameAlg=ALG.SHA1)
    assert TPMS_SCHEME_HASH(ALG.SHA1) != TPMT_KDF_SCHEME(ALG.MGF1, TPMS_SCHEME_HASH(ALG.SHA1))
    assert Load(0x80000000, b"", PUBLIC) != Load(0x80000001, b"", PUBLIC)
    assert hash(GetRandom(3)) == hash(GetRandom(3))


@pytest.mark.parametrize("value", [PUBLIC, Load(0x80000000, b"", PUBLIC), GetRandom.Response(b"1")], ids=repr)
def test_values_can_be_pickled_and_copied(value: Declared) -> None:
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
    assert copy.copy(value) is value
    assert copy.deepcopy(value) is value


def test_vendor_values_can_be_pickled() -> None:
    value = TPMS_SCHEME_HASH.decode(b"\x7f\xff", lenient=True)
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
    assert pickle.loads(pickle.dumps(value)).encode() == b"\x7f\xff"  # noqa: S301


def test_match_statements_take_them_apart() -> None:
    match PUBLIC:
        case TPMT_PUBLIC(type=ALG.ECC, unique=TPMS_ECC_POINT(x, y)):
            assert (x, y) == (b"", b"")
        case _:
            pytest.fail("not matched")


def test_signatures_can_be_looked_up() -> None:
    assert list(inspect.signature(TPMT_PUBLIC).parameters) == list(PUBLIC.__match_args__)
    assert list(inspect.signature(Load).parameters) == ["parentHandle", "inPrivate", "inPublic"]


def test_replacing() -> None:
    other = PUBLIC.replace(authPolicy=bytes(32))
    assert other.authPolicy == bytes(32)
    assert other.encode()[8:10] == b"\0\x20"
    assert PUBLIC.authPolicy == b""
    with pytest.raises(TpmMisuseError, match="no field 'policy'"):
        PUBLIC.replace(policy=b"")
    with pytest.raises(TpmMisuseError, match="authPolicy"):
        PUBLIC.replace(authPolicy=bytes(65))


def test_bases_are_no_values() -> None:
    for base in (Structure, Command, Command.Response):
        with pytest.raises(TpmMisuseError):
            base()
    with pytest.raises(TpmMisuseError):
        Structure.decode(b"")
    with pytest.raises(TpmMisuseError):
        Structure.codec_source()


def test_the_derived_text_can_be_read() -> None:
    text = TPMT_PUBLIC.codec_source()
    assert "def decode(cls, data" in text
    compile(text, "codec", "exec")


# --- what goes in -----------------------------------------------------------------------------------------------------


def test_numbers_are_held_by_name() -> None:
    assert Startup(1).startupType is TPM_SU.STATE  # type: ignore[arg-type]
    assert Startup(np.uint8(1)).startupType is TPM_SU.STATE
    assert CreatePrimary(0x40000001, TPMS_SENSITIVE_CREATE(b"", b""), PUBLIC, b"", ()).handles[0] is TPM_RH.OWNER
    assert type(Load(0x80000000, b"", PUBLIC).parentHandle) is int
    assert GetCapability(6, 0x100, 1).capability is TPM_CAP.TPM_PROPERTIES  # type: ignore[arg-type]
    assert isinstance(TPMS_AUTH_COMMAND(TPM_RH.PW, b"", 0x21, b"").sessionAttributes, tpm.spec.TPMA_SESSION)


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab"), np.frombuffer(b"ab", np.uint8)])
def test_bytes_may_be_anything_like_bytes(data: Any) -> None:
    assert TPMS_ECC_POINT(data, b"").x == b"ab"
    assert type(TPMS_ECC_POINT(data, b"").x) is bytes


def test_lists_may_be_anything_with_elements() -> None:
    selection = TPMS_PCR_SELECTION.of(ALG.SHA256, [0, 7])
    assert PCR_Read([selection]) == PCR_Read(iter([selection])) == PCR_Read((selection,))
    assert type(PCR_Read([selection]).pcrSelectionIn) is tuple


def test_pcr_selections() -> None:
    selection = TPMS_PCR_SELECTION.of(ALG.SHA256, [23, 0, 8])
    assert selection.pcrSelect.hex() == "010180"
    assert selection.pcrs == (0, 8, 23)
    assert TPMS_PCR_SELECTION.of(ALG.SHA256, [24]).pcrSelect.hex() == "00000001"
    assert TPMS_PCR_SELECTION.of(ALG.SHA256, [0], size=1).pcrSelect.hex() == "01"
    for wrong in ([256], [-1], ["0"], 5):
        with pytest.raises(TpmMisuseError):
            TPMS_PCR_SELECTION.of(ALG.SHA256, wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GetRandom(-1), "GetRandom.bytesRequested: -1; expected 0 to 65535"),
        (lambda: GetRandom(65536), "expected 0 to 65535"),
        (lambda: GetRandom("32"), "str is not an integer"),
        (lambda: GetRandom(1.0), "float is not an integer"),
        (lambda: GetRandom(10**5000), "an integer of"),
        (lambda: Startup(2), "expected one of CLEAR, STATE"),
        (lambda: Startup(None), "NoneType is not an integer"),
        (lambda: TPMS_SCHEME_HASH(ALG.AES), "TPMS_SCHEME_HASH.hashAlg: AES (0x0006); expected one of SHA1"),
        (lambda: TPMS_SCHEME_HASH(ALG.NULL), "expected one of SHA1"),
        (lambda: TPMT_HA(ALG.SHA256, bytes(31)), "TPMT_HA.digest: 31 bytes; expected 32 bytes"),
        (lambda: TPMT_HA(ALG.NULL, b""), "expected None, as hashAlg is"),
        (lambda: TPMS_ECC_POINT("ab", b""), "str is not a contiguous bytes-like object"),
        (lambda: TPMS_ECC_POINT([1, 2], b""), "list is not"),
        (lambda: TPMS_ECC_POINT(5, b""), "int is not"),
        (lambda: PUBLIC.replace(authPolicy=bytes(65)), "65 bytes; expected 0 to 64"),
        (lambda: PUBLIC.replace(objectAttributes=1), "TPMT_PUBLIC.objectAttributes"),
        (lambda: PUBLIC.replace(objectAttributes=TPMA_OBJECT(1)), "expected zero in the reserved bits"),
        (lambda: PUBLIC.replace(parameters=b"\0\x10"), "expected a TPMS_ECC_PARMS (TPMS_ECC_PARMS.decode() makes one"),
        (lambda: PUBLIC.replace(parameters=TPMS_ECC_PARMS), "the class TPMS_ECC_PARMS"),
        (lambda: PUBLIC.replace(type=ALG.RSA), "a TPMS_ECC_PARMS; expected a TPMS_RSA_PARMS"),
        (lambda: PUBLIC.replace(unique=b""), "expected a TPMS_ECC_POINT"),
        (lambda: Load(TPM_RH.OWNER, b"", PUBLIC), "Load.parentHandle: OWNER (0x40000001); expected 0x80000000 to"),
        (lambda: Load(0x100000000, b"", PUBLIC), "expected 0 to 4294967295"),
        (lambda: Load(0x80000000, b"", PUBLIC.replace(nameAlg=ALG.NULL)), "NULL as nameAlg"),
        (lambda: TPMS_SYMCIPHER_PARMS(NO_CIPHER), "NULL as algorithm"),
        (lambda: PolicyOR(0x03000000, [b""]), "1 elements; expected 2 or more"),
        (lambda: PolicyOR(0x03000000, [b""] * 9), "more than 8 elements"),
        (lambda: PCR_Read(5), "int cannot be gone through"),
        (lambda: PCR_Read([5]), "PCR_Read.pcrSelectionIn[0]: a int"),
        (lambda: TPMS_CAPABILITY_DATA(TPM_CAP.VENDOR_PROPERTY, ()), "nothing is known for capability"),
        (
            lambda: TPMS_NV_PUBLIC(0x81000000, ALG.SHA256, TPMA_NV(0), b"", 0),
            "nvIndex: 0x81000000; expected one of 0x1000000",
        ),
        (lambda: CreatePrimary(1, 2, 3, 4, 5), "CreatePrimary.primaryHandle"),
    ],
)
def test_what_does_not_fit(make: Any, words: str) -> None:
    with pytest.raises(TpmMisuseError) as caught:
        make()
    assert words in str(caught.value)


def test_null_is_allowed_where_the_table_says_so() -> None:
    external = LoadExternal(None, PUBLIC.replace(nameAlg=ALG.NULL), TPM_RH.NULL)
    assert external.inPublic is not None
    assert external.inPublic.nameAlg == ALG.NULL
    wire = external.encode_parameters()
    assert LoadExternal.decode_parameters(wire) == external
    assert ReadPublic.Response(external.inPublic, b"", b"").outPublic == external.inPublic
    signed = Certify.Response.decode_parameters(bytes.fromhex("0000" + "0010"))
    assert signed.signature.sigAlg == ALG.NULL
    no_name = b"\0\x02\x01\x02" + b"\0\x1a" + PUBLIC_BYTES.replace(b"\x00\x0b", b"\x00\x10", 1)
    with pytest.raises(TpmFormatError) as caught:
        Load.decode_parameters(no_name, handles=(0x80000000,))
    assert caught.value.rc == TPM_RC.HASH


# --- what comes in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wire", "words", "rc"),
    [
        (TPMT_PUBLIC, PUBLIC_BYTES[:-1], "TPMT_PUBLIC.unique.y (offset 24): 1 bytes left; expected 2", 0x09A),
        (TPMT_PUBLIC, PUBLIC_BYTES + b"\0", "TPMT_PUBLIC (offset 26): 1 bytes too many", 0x095),
        (TPMT_PUBLIC, b"\0\x99" + PUBLIC_BYTES[2:], "TPMT_PUBLIC.type (offset 0): 0x0099; expected one of RSA", 0x08A),
        (TPMT_PUBLIC, PUBLIC_BYTES[:2] + b"\0\x06" + PUBLIC_BYTES[4:], "TPMT_PUBLIC.nameAlg (offset 2)", 0x083),
        (TPMT_PUBLIC, PUBLIC_BYTES[:4] + b"\xff" * 4 + PUBLIC_BYTES[8:], "reserved bits 0xfff0f001", 0x0A1),
        (TPMT_PUBLIC, PUBLIC_BYTES[:8] + b"\xff\xff" + PUBLIC_BYTES[10:], "a size of 65535; expected 0 to 64", 0x095),
        (
            TPMT_PUBLIC,
            PUBLIC_BYTES[:12] + b"\0\x81" + PUBLIC_BYTES[14:],
            "keyBits (offset 12): 129",
            0x084,
        ),
        (TPMS_PCR_SELECTION, bytes.fromhex("000b0301"), "pcrSelect (offset 3): 1 bytes left; expected 3", 0x09A),
        (TPMS_QUOTE_INFO, bytes.fromhex("ffffffff0000"), "pcrSelect (offset 0): 4294967295 elements", 0x095),
        (TPMS_QUOTE_INFO, bytes.fromhex("00000002000b0100000b"), "TPMS_QUOTE_INFO.pcrSelect[1].pcrSelect", 0x09A),
        (TPMS_CAPABILITY_DATA, bytes.fromhex("0000010000000000"), "nothing is known for capability", 0x098),
        (TPMT_TK_CREATION, bytes.fromhex("8022400000070000"), "expected CREATION", 0x097),
    ],
)
def test_bytes_that_are_no_structure(kind: type[Structure], wire: bytes, words: str, rc: int) -> None:
    with pytest.raises(TpmFormatError) as caught:
        kind.decode(wire)
    assert words in str(caught.value)
    assert caught.value.rc == rc


def test_errors_have_types_of_their_own() -> None:
    with pytest.raises(TpmTruncatedError):
        TPMT_PUBLIC.decode(b"")
    with pytest.raises(TpmTrailingBytesError):
        TPMT_PUBLIC.decode(PUBLIC_BYTES + b"\0")


def test_boxes_are_exactly_as_long_as_their_structure() -> None:
    for size in (0x19, 0x1B):
        wire = b"\0\0" + size.to_bytes(2, "big") + PUBLIC_BYTES + b"\0" * 4
        with pytest.raises(TpmFormatError):
            LoadExternal.decode_parameters(wire)
    with pytest.raises(TpmFormatError, match="inSensitive"):
        CreatePrimary.decode_parameters(b"\0\0", handles=(TPM_RH.OWNER,))


@pytest.mark.parametrize("data", [None, 5, "00", [0], object()])
def test_what_is_not_bytes(data: Any) -> None:
    with pytest.raises(TpmMisuseError):
        TPMT_PUBLIC.decode(data)
    with pytest.raises(TpmMisuseError):
        GetRandom.decode_parameters(data)


@pytest.mark.parametrize("handles", [(), (1, 2), 5, None, "a", ("x",), (-1,), (1 << 32,)])
def test_handles_that_are_none(handles: Any) -> None:
    with pytest.raises(PrestoCloudError):
        Load.decode_parameters(b"\0\0" + b"\0\x1a" + PUBLIC_BYTES, handles=handles)


def test_a_handle_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(TpmFormatError) as caught:
        Unseal.decode_parameters(b"", handles=(TPM_RH.OWNER,))
    assert "Unseal.itemHandle" in str(caught.value)
    assert caught.value.rc == TPM_RC.VALUE


def test_received_bytes_are_kept() -> None:
    wire = b"\0\0" + b"\0\x1a" + PUBLIC_BYTES + bytes.fromhex("40000007")
    inner = LoadExternal.decode_parameters(wire).inPublic
    assert inner is not None
    assert inner.encode() == PUBLIC_BYTES
    public = TPMT_PUBLIC.decode(bytearray(PUBLIC_BYTES))
    assert public.encode() is public.encode()


def test_a_size_of_65535_allocates_nothing() -> None:
    wires = [
        (TPMS_ECC_POINT, b"\xff\xff"),
        (TPMS_CONTEXT, bytes(8) + bytes.fromhex("8000000040000001ffff")),
        (TPMS_QUOTE_INFO, b"\xff\xff\xff\xff"),
        (TPMS_CAPABILITY_DATA, bytes.fromhex("00000006ffffffff")),
    ]
    for kind, wire in wires:
        for lenient in (False, True):
            with pytest.raises(TpmFormatError):
                kind.decode(wire, lenient=lenient)
    tracemalloc.start()
    for kind, wire in wires:
        for lenient in (False, True):
            with pytest.raises(TpmFormatError):
                kind.decode(wire, lenient=lenient)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000


# --- lenient ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wire", "field", "value"),
    [
        (TPMS_SCHEME_HASH, "7fff", "hashAlg", 0x7FFF),
        (TPMT_PUBLIC, "0023000bffffffff000000060080004300100003001000000000", "objectAttributes", 0xFFFFFFFF),
        (TPMS_AUTH_COMMAND, "ffffffff" + "0000" + "18" + "0000", "sessionHandle", 0xFFFFFFFF),
        (TPMS_RSA_PARMS, "0010" + "0010" + "0201" + "00000000", "keyBits", 513),
    ],
)
def test_values_of_vendors_are_kept_on_request(kind: type[Structure], wire: str, field: str, value: int) -> None:
    data = bytes.fromhex(wire)
    with pytest.raises(TpmFormatError):
        kind.decode(data)
    kept = kind.decode(data, lenient=True)
    assert getattr(kept, field) == value
    assert type(getattr(kept, field)) is int
    assert kept.encode() == data
    repr(kept)


def test_a_union_needs_to_know_its_member_even_then() -> None:
    with pytest.raises(TpmFormatError, match="nothing is known"):
        TPMT_KEYEDHASH_SCHEME.decode(b"\x7f\xff", lenient=True)


def test_open_enumerations_take_any_number() -> None:
    data = bytes.fromhex("00000000" + "00000001" + "7fff" + "00000001")
    answer = TPMS_CAPABILITY_DATA.decode(data)
    assert answer.data[0].alg == 0x7FFF
    assert answer.encode() == data


# --- texts ------------------------------------------------------------------------------------------------------------


def test_secrets_are_in_no_text() -> None:
    secret = bytes.fromhex("c0ffee5ec2e7c0ffee")
    values: list[Declared] = [
        TPMS_SENSITIVE_CREATE(secret, secret),
        TPMT_SENSITIVE(ALG.KEYEDHASH, secret, secret, secret),
        TPMS_AUTH_COMMAND(TPM_RH.PW, b"", 0, secret),
        Unseal.Response(secret),
        HierarchyChangeAuth(TPM_RH.OWNER, secret),
        GetRandom.Response(secret),
        CreatePrimary(TPM_RH.OWNER, TPMS_SENSITIVE_CREATE(secret, secret), PUBLIC, b"", ()),
    ]
    for value in values:
        for text in (repr(value), value._repr_html_(), str(value)):
            assert "c0ffee" not in text.lower()
            assert repr(secret)[2:-1] not in text
    with pytest.raises(TpmMisuseError) as caught:
        TPMS_SENSITIVE_CREATE(secret * 20, b"")
    assert "c0ffee" not in str(caught.value).lower()


def test_reprs_are_calls() -> None:
    space = dict(vars(tpm.spec))
    for value in (PUBLIC, Load(0x80000000, b"\x01", PUBLIC), TPMS_PCR_SELECTION.of(ALG.SHA256, [0]), GetRandom(8)):
        text = repr(value).replace("TPMA_OBJECT(", "TPMA_OBJECT_(")
        space["TPMA_OBJECT_"] = lambda _: PUBLIC.objectAttributes
        for name in TPMA_OBJECT.__members__:
            space.setdefault(name, 0)
        assert eval(text, space) == value  # noqa: S307
    assert repr(TPMA_OBJECT.fixedTPM | TPMA_OBJECT.decrypt) == "TPMA_OBJECT(fixedTPM|decrypt)"
    assert repr(TPMA_NV(0x12)) == "TPMA_NV(OWNERWRITE|TPM_NT=1)"
    assert repr(TPMA_OBJECT(0)) == "TPMA_OBJECT(0)"


def test_pictures_show_every_field() -> None:
    picture = PUBLIC._repr_html_()
    for name in ("nameAlg", "objectAttributes", "curveID", "kdf", "NIST_P256"):
        assert name in picture


def test_attribute_words_have_fields() -> None:
    word = TPMA_NV(0).with_field("TPM_NT", 1) | TPMA_NV.WRITTEN
    assert (word.field("TPM_NT"), word.nt, word.names) == (1, 1, ("WRITTEN",))
    assert TPMA_NV(0x30).nt == 3
    assert type(TPMA_NV(0x10).nt).__name__ == "TPM_NT"
    with pytest.raises(TpmMisuseError):
        word.with_field("TPM_NT", 16)
    with pytest.raises(TpmMisuseError):
        word.field("NOTHING")


def test_keyedhash_objects() -> None:
    sealed = TPMT_PUBLIC(
        ALG.KEYEDHASH,
        ALG.SHA256,
        TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.userWithAuth,
        b"",
        TPMS_KEYEDHASH_PARMS(TPMT_KEYEDHASH_SCHEME(ALG.NULL, None)),
        bytes(32),
    )
    assert sealed.encode().hex() == "0008000b00000052" + "0000" + "0010" + "0020" + "00" * 32
    rsa = TPMS_RSA_PARMS(NO_CIPHER, TPMT_RSA_SCHEME(ALG.OAEP, TPMS_SCHEME_HASH(ALG.SHA1)), 2048, 0)
    assert rsa.encode().hex() == "0010" + "00170004" + "0800" + "00000000"
