# SPDX-License-Identifier: Apache-2.0
"""Handles as objects: numbers that know what they are numbers of, and close themselves."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import pytest

from prestocloud_sec.errors import MisuseError
from prestocloud_sec.tpm import Client, connect
from prestocloud_sec.tpm.client import Hierarchy, NvIndex, Object, Pcr, PersistentObject
from prestocloud_sec.tpm.errors import HandleError, TpmMisuseError, TpmResponseError
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.spec.commands import CreatePrimary, FlushContext, ReadPublic
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_RH
from tests.tpm.client.exercises import DATA, child, define, policy, primary
from tests.tpm.client.objects import (
    NO_SCHEME,
    NO_TICKET,
    NV_FIRST,
    NV_LAST,
    PERSISTENT_FIRST,
    PERSISTENT_LAST,
    Template,
    digests,
    secret,
)


def loaded(client: Client) -> tuple[int, ...]:
    return client.capability(TPM_CAP.HANDLES, 0x80000000)


def test_a_handle_is_a_number(client: Client, template: Template) -> None:
    with primary(client, template.storage) as key:
        assert isinstance(key, int)
        assert key == int(key)
        assert hash(key) == hash(int(key))
        assert {key: "key"}[int(key)] == "key"
        assert f"{key:08x}" == f"{int(key):08x}"
        assert f"0x{int(key):08x}" in f"{key}" == str(key) == repr(key)
        assert key.name == name_of(key.public)


def test_an_object_closes_itself_at_the_end_of_a_with(client: Client, template: Template) -> None:
    before = loaded(client)
    with primary(client, template.storage) as key:
        assert int(key) in loaded(client)
    assert key.closed
    assert loaded(client) == before
    key.close()
    key.close()


def test_an_object_that_nobody_refers_to_is_flushed(client: Client, template: Template) -> None:
    before = loaded(client)
    key = primary(client, template.storage)
    again = client.object(key)
    del key
    gc.collect()
    client.read_public(again)
    assert int(again) in loaded(client), "another object still stands for it"
    del again
    gc.collect()
    client.flush_context(client.start_session())
    assert loaded(client) == before


def test_what_is_in_use_is_not_flushed(client: Client, template: Template) -> None:
    """The object goes while its number is on the way into a command."""
    answer = client.execute(ReadPublic(primary(client, template.storage)))
    gc.collect()
    assert answer.name == name_of(answer.outPublic)  # type: ignore[arg-type]


def test_typed_commands_give_numbers_that_stay(client: Client, template: Template) -> None:
    command = CreatePrimary(TPM_RH.OWNER, secret(b"auth"), template.storage, b"", ())
    made = client.execute(command)
    assert type(made.objectHandle) is int
    gc.collect()
    client.create(made.objectHandle, secret(), template.signing, b"", ())  # with the value that it was made with
    assert client.execute(ReadPublic(made.objectHandle)).name == made.name
    client.execute(FlushContext(made.objectHandle))
    with pytest.raises(TpmResponseError):
        client.execute(ReadPublic(made.objectHandle))


def test_a_closed_object_is_refused_before_anything_is_sent(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        pass
    with primary(client, template.storage) as other:
        assert other == key, "the TPM gives the number out again"
        with pytest.raises(TpmMisuseError, match="gone: it was closed"):
            client.read_public(key)
        with pytest.raises(TpmMisuseError):
            client.sign(key, bytes(32), NO_SCHEME, NO_TICKET)
        with pytest.raises(TpmMisuseError), key:
            pass
        with pytest.raises(TpmMisuseError):
            key.set_auth(b"x")
    assert "gone: it was closed" in repr(key)


def test_flushing_by_hand_is_noted(client: Client, template: Template) -> None:
    key = primary(client, template.storage)
    client.flush_context(key)
    assert key.closed
    with pytest.raises(TpmResponseError, match="FlushContext"):
        client.execute(FlushContext(0x80FFFF00))


def test_handles_are_neither_pickled_nor_copied(client: Client, template: Template) -> None:
    with primary(client, template.storage) as key:
        assert copy.copy(key) is key
        assert copy.deepcopy([key])[0] is key
        with pytest.raises(MisuseError):
            pickle.dumps(key)


def test_what_every_tpm_has(client: Client) -> None:
    for handle, number in (
        (client.owner, TPM_RH.OWNER),
        (client.endorsement, TPM_RH.ENDORSEMENT),
        (client.platform, TPM_RH.PLATFORM),
        (client.lockout, TPM_RH.LOCKOUT),
        (client.null, TPM_RH.NULL),
    ):
        assert isinstance(handle, Hierarchy)
        assert (int(handle), handle.name) == (number, number.to_bytes(4, "big"))
        assert repr(handle) == f"Hierarchy({number.name})"
    assert repr(client.hierarchy(0x400001FF)) == "Hierarchy(0x400001ff)"
    assert isinstance(client.pcr(16), Pcr)
    assert repr(client.pcr(16)) == "Pcr(16)"
    assert client.pcr(16).name == b"\0\0\0\x10"


@pytest.mark.parametrize("wrong", [-1, 32, "16", None, 1.0, 0x81000001])
def test_what_is_no_pcr(client: Client, wrong: Any) -> None:
    with pytest.raises(MisuseError):
        client.pcr(wrong)


@pytest.mark.parametrize("wrong", [-1, 0x80000000, "owner", None, 1 << 32])
@pytest.mark.parametrize("kind", ["hierarchy", "persistent", "nv_index"])
def test_what_is_no_handle_of_its_kind(client: Client, kind: str, wrong: Any) -> None:
    with pytest.raises(MisuseError):
        getattr(client, kind)(wrong)


@pytest.mark.parametrize("wrong", [-1, 0x81000000, "key", None, 1 << 32])
def test_what_is_no_object(client: Client, wrong: Any) -> None:
    with pytest.raises(MisuseError):
        client.object(wrong)


def test_what_is_not_there(client: Client) -> None:
    for make, number in (
        (client.persistent, PERSISTENT_LAST),
        (client.nv_index, NV_LAST),
        (client.object, 0x80000002),
    ):
        with pytest.raises(HandleError):
            make(number)
        with pytest.raises(HandleError):
            make(number)


@pytest.mark.parametrize("value", [5, None, object(), b"x" * 70000])
def test_what_is_no_value(client: Client, value: Any) -> None:
    with pytest.raises(MisuseError):
        client.owner.set_auth(value)


def test_values_are_wiped_when_the_object_is_gone(client: Client, template: Template) -> None:
    with primary(client, template.storage, auth=b"secret") as key:
        live = client.core.registry.of(int(key)).auth.live()
        assert bytes(live) == b"secret"
    assert bytes(live) == bytes(6)


def test_persistent_objects_are_found_again(uri: str, client: Client, template: Template) -> None:
    with primary(client, template.storage, auth=b"auth") as key:
        name = key.name
        client.evict_control(client.owner, key, PERSISTENT_FIRST)
    kept = client.persistent(PERSISTENT_FIRST)
    assert isinstance(kept, PersistentObject)
    assert (kept.name, name_of(kept.public)) == (name, name)
    made = client.create(kept, secret(b"", DATA), template.sealed, b"", ())
    with client.load(kept, made.outPrivate, made.outPublic) as sealed:
        assert client.unseal(sealed) == DATA
    client.evict_control(client.owner, kept, kept)
    with pytest.raises(HandleError):
        client.persistent(PERSISTENT_FIRST)


def test_persistent_objects_survive_a_restart(client: Client, template: Template, power: Any) -> None:
    with primary(client, template.storage, auth=b"auth") as key:
        client.evict_control(client.owner, key, PERSISTENT_FIRST)
        transient, session = primary(client, template.signing), client.start_session()
        kept = client.persistent(PERSISTENT_FIRST)
        power()
        client.create(kept, secret(), template.signing, b"", ())  # which is started on the way
        assert client.core.has_started
        assert (transient.closed, session.closed, key.closed, kept.closed) == (True, True, True, False)
    with pytest.raises(TpmMisuseError, match="started anew"):
        client.read_public(transient)


def test_persistent_objects_survive_the_process(tmp_path: Any, template: Template) -> None:
    from prestocloud_sec.tpm.transport import libtpms

    if not libtpms.available():
        pytest.skip("libtpms is not here: apt-get install libtpms0")
    with connect(f"embedded:dir={tmp_path}") as first:
        with primary(first, template.storage) as key:
            first.evict_control(first.owner, key, PERSISTENT_FIRST)
            name = key.name
        first.nv_define_space(first.owner, b"nv", template.index())
        first.nv_write(first.owner, NV_FIRST, DATA[:16], 0)
    with connect(f"embedded:dir={tmp_path}") as second:
        assert second.persistent(PERSISTENT_FIRST).name == name
        index = second.nv_index(NV_FIRST)
        index.set_auth(b"nv")
        assert second.nv_read(index, index, 16, 0) == DATA[:16]


def test_nv_indices(client: Client, template: Template) -> None:
    number = define(client, template)
    index = client.nv_index(number)
    assert isinstance(index, NvIndex)
    assert index.public == template.index()
    assert index.name == name_of(template.index())
    client.nv_undefine_space(client.owner, index)
    assert index.closed
    with pytest.raises(TpmMisuseError, match="not defined any more"):
        client.nv_read(index, index, 1, 0)


def test_objects_of_others_can_be_taken_over(client: Client, template: Template) -> None:
    with primary(client, template.signing) as key:
        number = int(key)
        other = client.object(number)
        assert isinstance(other, Object)
        assert other.response is None
        assert other.public == key.public


def test_sequences_have_no_public_area(client: Client) -> None:
    with client.hash_sequence_start(b"", 0x000B) as sequence:  # type: ignore[arg-type]
        assert sequence.name == b""
        with pytest.raises(TpmMisuseError, match="public area"):
            assert sequence.public


def test_sessions_say_what_they_are(client: Client) -> None:
    from prestocloud_sec.tpm.session import SessionKind

    with client.start_session() as hmac, policy(client) as one, policy(client, SessionKind.TRIAL) as trial:
        assert [each.is_policy for each in (hmac, one, trial)] == [False, True, True]
        assert hmac.name == int(hmac).to_bytes(4, "big")
        assert hmac.session.handle == hmac
    assert hmac.closed


def test_closing_the_client_closes_everything(uri: str, template: Template) -> None:
    client = connect(uri)
    key, session = primary(client, template.storage, auth=b"x"), client.start_session()
    client.owner.set_auth(b"")
    client.close()
    client.close()
    assert (key.closed, session.closed, client.closed) == (True, True, True)
    key.close()
    session.close()
    assert "closed" in repr(client)
    with pytest.raises(TpmMisuseError), client:
        pass
    with connect(uri) as after:
        assert loaded(after) == ()


def test_child_of_a_child(client: Client, template: Template) -> None:
    with (
        primary(client, template.storage, auth=b"one") as one,
        child(client, one, template.storage, b"two") as two,
        child(client, two, template.sealed, b"three", DATA) as three,
    ):
        assert client.unseal(three) == DATA
    client.pcr_extend(16, digests(b"and on"))
