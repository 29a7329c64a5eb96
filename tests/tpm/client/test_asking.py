# SPDX-License-Identifier: Apache-2.0
"""What a TPM says about itself: asked until it was all told, and put into words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm import Client
from prestocloud_sec.tpm.client import Properties
from prestocloud_sec.tpm.errors import TpmFormatError, TpmResponseError
from prestocloud_sec.tpm.session import SessionKind
from prestocloud_sec.tpm.spec.attributes import TPMA_PERMANENT, TPMA_STARTUP_CLEAR
from prestocloud_sec.tpm.spec.commands import GetCapability
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_CC, TPM_PT
from prestocloud_sec.tpm.spec.structures import TPMS_CAPABILITY_DATA, TPMS_TAGGED_PROPERTY
from tests.tpm.client.conftest import IS_OURS
from tests.tpm.client.fakes import Answering, parameters

LISTS = [
    TPM_CAP.ALGS,
    TPM_CAP.HANDLES,
    TPM_CAP.COMMANDS,
    TPM_CAP.PP_COMMANDS,
    TPM_CAP.AUDIT_COMMANDS,
    TPM_CAP.PCRS,
    TPM_CAP.TPM_PROPERTIES,
    TPM_CAP.PCR_PROPERTIES,
    TPM_CAP.ECC_CURVES,
    TPM_CAP.AUTH_POLICIES,
]


@pytest.mark.parametrize("capability", LISTS, ids=lambda each: each.name)
def test_every_list_of_the_tpm(client: Client, capability: TPM_CAP) -> None:
    first = {TPM_CAP.TPM_PROPERTIES: 0x100, TPM_CAP.AUTH_POLICIES: 0x40000000}.get(capability, 0)
    whole = client.capability(capability, first)
    assert isinstance(whole, tuple)
    assert len(set(whole)) == len(whole)


@pytest.mark.parametrize("capability", LISTS, ids=lambda each: each.name)
def test_a_list_that_comes_one_by_one_is_the_same(client: Client, capability: TPM_CAP) -> None:
    """The TPM is asked for one element at a time, as if no more would fit."""
    first = {TPM_CAP.TPM_PROPERTIES: 0x100, TPM_CAP.AUTH_POLICIES: 0x40000000}.get(capability, 0)
    whole = client.capability(capability, first)

    def one(command: bytes) -> bytes:
        if command[6:10] == TPM_CC.GetCapability.to_bytes(4, "big"):
            count = b"\0\0\0\1" if capability != TPM_CAP.PCRS else b"\0\0\0\x20"
            command = command[:-4] + count
        return client.transport.transceive(command)

    assert Client(Answering(one)).capability(capability, first) == whole


def test_handles_are_of_the_kind_that_was_asked_for(client: Client) -> None:
    pcrs = client.capability(TPM_CAP.HANDLES, 0)
    assert set(pcrs) >= set(range(24))
    assert max(pcrs) < 32
    permanent = client.capability(TPM_CAP.HANDLES, 0x40000000)
    assert all(each >> 24 == 0x40 for each in permanent)
    assert 0x40000001 in permanent


def test_sessions_of_both_kinds_are_listed(client: Client) -> None:
    with client.start_session() as one, client.start_session(SessionKind.POLICY) as two:
        assert set(client.capability(TPM_CAP.HANDLES, 0x02000000)) == {one, two}, "those that are loaded"
        client.context_save(two)
        assert client.capability(TPM_CAP.HANDLES, 0x02000000) == (one,)
        saved = client.capability(TPM_CAP.HANDLES, 0x03000000)
        assert {each & 0xFFFFFF for each in saved} == {two & 0xFFFFFF}, "libtpms lists them all as if of one kind"
        client.policy_auth_value(two)
    assert client.capability(TPM_CAP.HANDLES, 0x02000000) == ()


def answering(pages: Iterable[tuple[bool, TPMS_CAPABILITY_DATA]]) -> Client:
    left = list(pages)

    def answer(_: bytes) -> bytes:
        more, data = left.pop(0) if len(left) > 1 else left[0]
        body = GetCapability.Response(more, data).encode_parameters()
        return bytes.fromhex("8001") + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body

    return Client(Answering(answer))


def handles(*numbers: int) -> TPMS_CAPABILITY_DATA:
    return TPMS_CAPABILITY_DATA(TPM_CAP.HANDLES, numbers)


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([(True, handles())], ()),
        ([(True, handles(1, 2)), (True, handles(2))], (1, 2)),
        ([(True, handles(1, 2)), (True, handles(1, 2))], (1, 2)),
        ([(True, handles(1)), (True, handles(0x02000000))], (1,)),
        ([(True, handles(1, 0x02000000))] * 2, (1,)),
        ([(True, handles(0xFFFFFF))], (0xFFFFFF,)),
    ],
)
def test_a_tpm_that_says_there_is_more_and_has_none(pages: Any, expected: tuple[int, ...]) -> None:
    assert answering(pages).capability(TPM_CAP.HANDLES) == expected


def test_a_tpm_that_answers_another_question() -> None:
    data = TPMS_CAPABILITY_DATA(TPM_CAP.ECC_CURVES, ())
    with pytest.raises(TpmFormatError, match="capability"):
        answering([(False, data)]).capability(TPM_CAP.HANDLES)


def test_a_capability_that_there_is_not(client: Client) -> None:
    with pytest.raises(TpmResponseError):
        client.get_capability(TPM_CAP.SPDM_SESSION_INFO, 0, 1)


@given(st.sets(st.integers(0x100, 0x1FF)), st.integers(1, 20), st.integers(0, 30))
def test_pages_of_any_size(numbers: set[int], size: int, beyond: int) -> None:
    """A TPM with any properties, that gives so many at once, and goes on into the next group."""
    listed = sorted(numbers) + [0x200 + each for each in range(beyond)]
    sent = []

    def answer(command: bytes) -> bytes:
        _, first, _ = (int.from_bytes(parameters(command)[at : at + 4], "big") for at in (0, 4, 8))
        sent.append(first)
        later = [each for each in listed if each >= first]
        data = tuple(TPMS_TAGGED_PROPERTY(each, each) for each in later[:size])  # type: ignore[arg-type]
        answer = GetCapability.Response(len(later) > size, TPMS_CAPABILITY_DATA(TPM_CAP.TPM_PROPERTIES, data))
        body = answer.encode_parameters()
        return bytes.fromhex("8001") + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body

    found = Client(Answering(answer)).capability(TPM_CAP.TPM_PROPERTIES, 0x100)
    assert [int(each.property) for each in found] == sorted(numbers)
    assert len(sent) <= len(listed) // size + 1


# --- in words


def test_properties_of_the_tpm(client: Client) -> None:
    properties = client.properties()
    assert properties.family == "2.0"
    assert properties.manufacturer
    assert properties[TPM_PT.PCR_COUNT] == 24
    assert TPM_PT.LOCKOUT_COUNTER in properties
    assert len(properties) == len(dict(properties)) > 40
    assert properties.published is not None
    assert properties.manufacturer in repr(properties)
    if IS_OURS:
        assert (properties.manufacturer, properties.vendor) == ("IBM", "SW   TPM")
        assert any(quirk.name == "retry-on-first-use" for quirk in client.quirks())
    rows = dict(properties.rows())
    assert rows["FAMILY_INDICATOR"] == "2.0"
    assert rows["PS_FAMILY_INDICATOR"]
    assert "orderly" in rows["STARTUP_CLEAR"] or "Enable" in rows["STARTUP_CLEAR"]
    assert properties._repr_html_().startswith("<table>")


def made(**values: int) -> Properties:
    return Properties(TPMS_TAGGED_PROPERTY(TPM_PT[name], value) for name, value in values.items())


def test_properties_in_words() -> None:
    properties = made(
        FAMILY_INDICATOR=0x322E3000,
        REVISION=159,
        DAY_OF_YEAR=312,
        YEAR=2019,
        MANUFACTURER=0x49465800,
        VENDOR_STRING_1=0x534C4239,
        VENDOR_STRING_2=0x36373000,
        FIRMWARE_VERSION_1=0x0007003E,
        FIRMWARE_VERSION_2=0x000AFE00,
        CONTEXT_SYM=0x0006,
        PERMANENT=0x00000401,
        STARTUP_CLEAR=0x8000000F,
    )
    assert (properties.family, properties.revision, properties.manufacturer) == ("2.0", "1.59", "IFX")
    assert (properties.vendor, properties.firmware) == ("SLB9670", 0x0007003E000AFE00)
    assert properties.published == date(2019, 11, 8)
    assert properties.permanent == TPMA_PERMANENT.ownerAuthSet | TPMA_PERMANENT.tpmGeneratedEPS
    assert TPMA_STARTUP_CLEAR.orderly in properties.startup_clear
    rows = dict(properties.rows())
    assert rows["CONTEXT_SYM"] == TPM_ALG_ID.AES.name
    assert rows["FIRMWARE_VERSION_1"] == "0x0007003e"
    assert rows["PERMANENT"] == "ownerAuthSet|tpmGeneratedEPS"


@pytest.mark.parametrize(("year", "day"), [(0, 1), (2019, 0), (2019, 367), (0xFFFFFFFF, 1)])
def test_no_date(year: int, day: int) -> None:
    assert made(YEAR=year, DAY_OF_YEAR=day).published is None


def test_a_tpm_that_tells_nothing() -> None:
    empty = Properties(())
    assert (empty.family, empty.manufacturer, empty.vendor, empty.firmware) == ("", "", "", 0)
    assert empty.published is None
    assert repr(empty)


def test_numbers_that_nobody_knows() -> None:
    odd = Properties([TPMS_TAGGED_PROPERTY(0x1FE, 7), TPMS_TAGGED_PROPERTY(TPM_PT.CONTEXT_HASH, 0xFFFF)])  # type: ignore[arg-type]
    assert odd.rows() == [("0x1fe", "7"), ("CONTEXT_HASH", "0xffff")]
    assert list(odd) == [0x1FE, TPM_PT.CONTEXT_HASH]
    assert Properties([TPMS_TAGGED_PROPERTY(TPM_PT.MANUFACTURER, 0x00FF4142)]).manufacturer == "\\x00\\xffAB"
