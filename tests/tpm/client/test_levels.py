# SPDX-License-Identifier: Apache-2.0
"""Bytes, typed commands and methods send the same bytes; methods are those of the declarations."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.errors import MisuseError
from prestocloud_sec.testing.tpm import values
from prestocloud_sec.tpm import AsyncClient, Client
from prestocloud_sec.tpm.client.async_methods import AsyncMethods
from prestocloud_sec.tpm.client.methods import Methods
from prestocloud_sec.tpm.codec.fields import layout_of
from prestocloud_sec.tpm.codec.frame import CommandFrame
from prestocloud_sec.tpm.errors import CommandUnknownError
from prestocloud_sec.tpm.spec.attributes import TPMA_SESSION
from prestocloud_sec.tpm.spec.commands import COMMANDS_BY_NAME
from prestocloud_sec.tpm.spec.constants import TPM_RH, TPM_ST
from prestocloud_sec.tpm.spec.declare import Command
from prestocloud_sec.tpm.spec.structures import TPMS_AUTH_COMMAND
from tests.tpm.client.fakes import Answering, AsyncAnswering

ROOT = Path(__file__).resolve().parents[3]


def writer() -> Any:
    """Return the script that writes the methods."""
    spec = importlib.util.spec_from_file_location("tpm_client_methods", ROOT / "scripts/tpm_client_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = writer()
METHODS = {name: WRITER.snake(name) for name in COMMANDS_BY_NAME}
EMPTY = TPMS_AUTH_COMMAND(TPM_RH.PW, b"", TPMA_SESSION.continueSession, b"")


def test_methods_are_as_they_are_written() -> None:
    for path, text in WRITER.files().items():
        assert path.read_text() == text, f"{path.name}: run scripts/tpm_client_methods.py"


def test_every_command_has_a_method() -> None:
    assert len(METHODS) == 128
    for kind in (Methods, AsyncMethods):
        public = {name for name in dir(kind) if not name.startswith("_")} - {"core", "execute", "run"}
        assert public == set(METHODS.values())


@pytest.mark.parametrize("name", list(COMMANDS_BY_NAME))
def test_parameters_are_those_of_the_specification(name: str) -> None:
    expected = [field.name for field in layout_of(COMMANDS_BY_NAME[name]).all]
    for kind in (Client, AsyncClient):
        signature = inspect.signature(getattr(kind, METHODS[name]))
        assert list(signature.parameters) == ["self", *expected, "sessions"]
        assert signature.parameters["sessions"].kind is inspect.Parameter.KEYWORD_ONLY
        assert getattr(kind, METHODS[name]).__doc__


def test_some_names() -> None:
    for name, method in {
        "NV_DefineSpace": "nv_define_space",
        "PCR_Extend": "pcr_extend",
        "Import": "import_",
        "ECDH_ZGen": "ecdh_zgen",
        "PolicyOR": "policy_or",
        "ChangeEPS": "change_eps",
        "CertifyX509": "certify_x509",
        "HMAC_Start": "hmac_start",
        "ZGen_2Phase": "zgen_2phase",
        "Policy_AC_SendSelect": "policy_ac_send_select",
    }.items():
        assert METHODS[name] == method


def by_hand(command: Command) -> bytes:
    """Return the bytes of a command whose handles have no values."""
    auths = (EMPTY,) * sum(role is not None for role in type(command).handle_auths)
    tag = TPM_ST.SESSIONS if auths else TPM_ST.NO_SESSIONS
    return CommandFrame(tag, type(command).code, command.handles, auths, command.encode_parameters()).encode()


@pytest.mark.parametrize("name", [name for name in COMMANDS_BY_NAME if name != "SetCapability"])  # nothing to set yet
@given(data=st.data())
@settings(max_examples=6)
def test_three_levels_send_the_same_bytes(name: str, data: st.DataObject) -> None:
    command: Any = data.draw(values(COMMANDS_BY_NAME[name]))
    fields = {field.name: getattr(command, field.name) for field in layout_of(type(command)).all}
    expected = by_hand(command)
    sent = []

    def raw(client: Client) -> bytes:
        return client.raw(expected)

    for call in (
        lambda client: client.execute(command),
        lambda client: getattr(client, METHODS[name])(**fields),
        lambda client: getattr(client, METHODS[name])(*fields.values()),
        raw,
        lambda client: client.run(client.core.execute(command)),
    ):
        transport = Answering()
        client = Client(transport)
        if call is raw:
            assert call(client) == transport.answer(b"")
        else:
            with pytest.raises(CommandUnknownError) as refused:
                call(client)
            assert refused.value.command == type(command).__name__
        sent.append(transport.sent)
    assert sent == [[expected]] * 5

    async def awaited() -> list[bytes]:
        transport = Answering()
        client = AsyncClient(AsyncAnswering(transport))
        with pytest.raises(CommandUnknownError):
            await getattr(client, METHODS[name])(**fields)
        return transport.sent

    assert asyncio.run(awaited()) == [expected]


@pytest.mark.parametrize("size", [*range(70), 1000, 65535])
def test_random_bytes_are_asked_for_as_usual(size: int) -> None:
    """The method for GetRandom has frames ready, which are those of the command."""
    command = COMMANDS_BY_NAME["GetRandom"](bytesRequested=size)
    transport = Answering()
    with pytest.raises(CommandUnknownError):
        Client(transport).get_random(size)
    assert transport.sent == [by_hand(command)]


@pytest.mark.parametrize("size", [16.0, "16", None, -1, 65536, b"16", [16]])
def test_what_is_no_size_is_refused(size: Any) -> None:
    transport = Answering()
    client = Client(transport)
    with pytest.raises(MisuseError):
        client.get_random(size)
    assert transport.sent == []
