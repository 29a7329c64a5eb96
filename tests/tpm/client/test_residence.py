# SPDX-License-Identifier: Apache-2.0
"""More objects and sessions than the TPM has room for: who is moved out, and that nobody notices."""

from __future__ import annotations

import errno
import hashlib
from contextlib import ExitStack

import pytest

from prestocloud_sec.tpm import Client
from prestocloud_sec.tpm.errors import (
    HandleNotLoadedError,
    ObjectMemoryError,
    SessionMemoryError,
    TpmMisuseError,
    TpmResponseError,
    TransportRefusedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.spec.commands import ContextSave, CreatePrimary, FlushContext, ReadPublic, Sign
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_CC, TPM_RH
from prestocloud_sec.tpm.spec.structures import TPMS_CONTEXT
from tests.tpm.client.exercises import DATA, DIGEST, child, pcr_value, policy, primary, verify
from tests.tpm.client.fakes import Answering, Listening
from tests.tpm.client.objects import NO_SCHEME, NO_TICKET, Template, digests, secret

MANY = 8


def in_tpm(client: Client, first: int = 0x80000000) -> tuple[int, ...]:
    return client.capability(TPM_CAP.HANDLES, first)


def test_more_objects_than_there_is_room_for(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        keys = [stack.enter_context(primary(client, template.signing, auth=b"%d" % n)) for n in range(MANY)]
        assert len(set(map(int, keys))) == MANY
        assert len(in_tpm(client)) <= 3
        for number in (*range(MANY), 0, 5, 0, 7, 2):
            signature = client.sign(keys[number], DIGEST, NO_SCHEME, NO_TICKET)
            verify(keys[number].public, DATA, signature)
        assert client.core.residence.moves
    assert in_tpm(client) == ()


def test_more_sessions_than_there_is_room_for(client: Client) -> None:
    with ExitStack() as stack:
        sessions = [stack.enter_context(client.start_session()) for _ in range(MANY)]
        for number in (*range(MANY), 0, 5, 0, 7, 2):
            before = pcr_value(client, 16)
            client.pcr_extend(16, digests(b"%d" % number), sessions=[sessions[number]])
            assert pcr_value(client, 16) == hashlib.sha256(before + digests(b"%d" % number)[0].digest).digest()
    assert in_tpm(client, 0x02000000) == ()
    assert in_tpm(client, 0x03000000) == ()


def test_policies_go_on_after_they_were_moved(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        sessions = [stack.enter_context(policy(client)) for _ in range(MANY)]
        for session in sessions:
            client.policy_command_code(session, TPM_CC.Sign)
        for session in sessions:
            client.policy_auth_value(session)
        assert len({client.policy_get_digest(session) for session in sessions}) == 1


def test_sequences_go_on_after_they_were_moved(client: Client) -> None:
    with ExitStack() as stack:
        sequences = [stack.enter_context(client.hash_sequence_start(b"s", TPM_ALG_ID.SHA256)) for _ in range(6)]
        for turn in range(3):
            for number, sequence in enumerate(sequences):
                client.sequence_update(sequence, b"%d in turn %d" % (number, turn))
        for number, sequence in enumerate(sequences):
            expected = hashlib.sha256(b"".join(b"%d in turn %d" % (number, turn) for turn in range(3))).digest()
            assert client.sequence_complete(sequence, b"", TPM_RH.NULL).result == expected


def test_who_was_used_the_longest_time_ago_goes_first(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        keys = [stack.enter_context(primary(client, template.signing)) for _ in range(3)]
        client.read_public(keys[0])
        stack.enter_context(primary(client, template.signing))
        resident = {each: client.core.registry.of(int(each)).resident for each in keys}
        if not all(resident.values()):  # a TPM with room for more moves nobody
            assert resident == {keys[0]: True, keys[1]: False, keys[2]: True}


def test_what_a_command_is_about_stays(client: Client, template: Template) -> None:
    """Three objects at once, each of them moved out before, in a TPM that has room for just three."""
    with ExitStack() as stack:
        ak = stack.enter_context(primary(client, template.attesting, auth=b"ak"))
        key = stack.enter_context(primary(client, template.signing, auth=b"key"))
        others = [stack.enter_context(primary(client, template.storage)) for _ in range(4)]
        sessions = [stack.enter_context(client.start_session()) for _ in range(5)]
        for turn in range(3):
            client.read_public(others[turn])
            answer = client.certify(key, ak, b"nonce", NO_SCHEME, sessions=[sessions[turn], sessions[turn + 1]])
            verify(ak.public, answer.certifyInfo, answer.signature)


def test_children_of_parents_that_were_moved(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        parents = [stack.enter_context(primary(client, template.storage, auth=b"%d" % n)) for n in range(4)]
        children = [stack.enter_context(child(client, parent, template.sealed, b"", DATA)) for parent in parents]
        for each in (*children, *reversed(children)):
            assert client.unseal(each) == DATA


def test_numbers_are_those_of_the_tpm_where_they_can_be(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        keys = [stack.enter_context(primary(client, template.signing)) for _ in range(3)]
        assert {int(key) for key in keys} == set(in_tpm(client))
        more = [stack.enter_context(primary(client, template.signing)) for _ in range(2)]
        assert len({*keys, *more}) == 5


def test_contexts_of_keys_are_saved_once(listening: tuple[Client, Listening], template: Template) -> None:
    client, between = listening
    with ExitStack() as stack:
        keys = [stack.enter_context(primary(client, template.signing)) for _ in range(4)]
        for _ in range(5):
            for key in keys:
                client.read_public(key)
        assert between.codes.count(TPM_CC.ContextSave) <= len(keys)


def test_saving_by_hand(client: Client, template: Template) -> None:
    with client.start_session() as session:
        context = client.context_save(session)
        client.pcr_extend(16, digests(b"x"), sessions=[session])  # loads it
        with pytest.raises(TpmResponseError):
            client.context_load(context)
    with primary(client, template.signing) as key:
        saved = client.context_save(key)
        with client.context_load(saved) as one, client.context_load(saved) as two:
            assert {client.read_public(each).name for each in (one, two)} == {key.name}


def test_somebody_flushes_what_is_ours(listening: tuple[Client, Listening], template: Template) -> None:
    client, between = listening
    with ExitStack() as stack:
        keys = [stack.enter_context(primary(client, template.signing)) for _ in range(3)]
        gone = keys[0]
        between.inner.transceive(bytes.fromhex("8001 0000000e 00000165") + client.core.registry.of(int(gone)).real)
        with pytest.raises(TpmResponseError):
            client.read_public(gone)
        more = [stack.enter_context(primary(client, template.signing)) for _ in range(3)]
        for key in (*keys[1:], *more):
            assert client.read_public(key).name == key.name


def test_a_context_that_cannot_be_loaded_any_more(client: Client, template: Template) -> None:
    with ExitStack() as stack:
        keys = [stack.enter_context(primary(client, template.signing)) for _ in range(4)]
        saved = [key for key in keys if not client.core.registry.of(int(key)).resident]
        if not saved:
            pytest.skip("hardware TPM: it has room for more than three objects")
        entity = client.core.registry.of(int(saved[0]))
        assert entity.context is not None
        entity.context = entity.context.replace(contextBlob=bytes(len(entity.context.contextBlob)))
        with pytest.raises(TpmResponseError) as refused:
            client.read_public(saved[0])
        assert refused.value.command == "ContextLoad"
        assert saved[0].closed
        with pytest.raises(TpmMisuseError, match="cannot be loaded any more"):
            client.read_public(saved[0])


# --- a TPM that never has room


class Full:
    """Answers whatever would need room with a response code, and saves and flushes what it is told to."""

    def __init__(self, rc: int) -> None:
        self.rc = rc
        self.next = 0x80000000

    def __call__(self, command: bytes) -> bytes:
        code = int.from_bytes(command[6:10], "big")
        if code == TPM_CC.ContextSave:
            context = TPMS_CONTEXT(self.next, int.from_bytes(command[10:14], "big") & 0xFF000000, TPM_RH.OWNER, b"c")
            return self.ok(ContextSave.Response(context).encode_parameters())
        if code == TPM_CC.FlushContext:
            return self.ok(b"")
        if code == TPM_CC.ContextLoad or self.rc:
            return bytes.fromhex("8001 0000000a") + self.rc.to_bytes(4, "big")
        raise NotImplementedError

    @staticmethod
    def ok(body: bytes) -> bytes:
        return bytes.fromhex("8001") + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body


@pytest.mark.parametrize("rc", [0x902, 0x904, 0x906])
def test_making_room_ends(rc: int, template: Template) -> None:
    transport = Answering(Full(rc))
    client = Client(transport)
    for number in range(5):
        client.core.registry.arrived(0x80000000 + number)
    with pytest.raises(ObjectMemoryError):
        client.execute(CreatePrimary(TPM_RH.OWNER, secret(), template.storage, b"", ()))
    codes = [int.from_bytes(command[6:10], "big") for command in transport.sent]
    assert codes.count(TPM_CC.ContextSave) == codes.count(TPM_CC.FlushContext) == 5
    assert codes.count(TPM_CC.CreatePrimary) == 6


def test_making_room_for_what_is_saved_ends(template: Template) -> None:
    transport = Answering(Full(0x902))
    client = Client(transport)
    entities = [client.core.registry.arrived(0x80000000 + number) for number in range(4)]
    client.run(client.core.residence.save(entities[0]))
    transport.sent.clear()
    with pytest.raises(ObjectMemoryError) as refused:
        client.execute(ReadPublic(entities[0].number))
    assert refused.value.command == "ContextLoad"
    codes = [int.from_bytes(command[6:10], "big") for command in transport.sent]
    assert codes.count(TPM_CC.ContextLoad) == 4
    assert entities[0].gone


@pytest.mark.parametrize("rc", [0x903, 0x905, 0x901])
def test_sessions_of_others_cannot_be_moved(rc: int) -> None:
    client = Client(Answering(Full(rc)))
    with pytest.raises(SessionMemoryError):
        client.start_session()


# --- the gap between contexts of sessions


def test_old_sessions_are_saved_anew_before_they_fall_behind(client: Client) -> None:
    client.core.residence._gap = 6  # as if the TPM's were so small
    with ExitStack() as stack:
        oldest, *others = [stack.enter_context(client.start_session()) for _ in range(6)]
        client.core.residence._gap = 6
        sequences = set()
        for turn in range(12):
            for session in others:
                client.pcr_extend(16, digests(b"%d" % turn), sessions=[session])
            entity = client.core.registry.of(int(oldest))
            assert entity.context is not None
            sequences.add(entity.context.sequence)
            saved = [
                each.context.sequence for each in client.core.registry if each.is_session and each.context is not None
            ]
            if "tpmrm" not in client.transport.name:  # Linux's resource manager saves them all, after each command
                assert max(saved) - min(saved) <= 6
        assert len(sequences) > 3
        client.pcr_extend(16, digests(b"the oldest"), sessions=[oldest])


def test_a_session_that_is_saved_anew_while_it_is_loaded(client: Client) -> None:
    """Making room for the oldest session is what finds it too old."""
    client.core.residence._gap = 2
    with ExitStack() as stack:
        sessions = [stack.enter_context(client.start_session()) for _ in range(5)]
        client.core.residence._gap = 2
        for turn in range(4):
            for session in sessions:
                client.pcr_extend(16, digests(b"%d" % turn), sessions=[session])
    assert in_tpm(client, 0x03000000) == ()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EFAULT])
def test_what_the_kernel_does_not_know_is_told_as_a_tpm_tells_it(number: int, template: Template) -> None:
    """Linux's resource manager refuses to write a command with a handle that it does not know."""

    def kernel(command: bytes) -> bytes:
        raise TransportRefusedError("the kernel refuses", number=number, where="device")

    client = Client(Answering(kernel))
    for command in (ReadPublic(0x80000000), Sign(0x80000001, bytes(32), NO_SCHEME, NO_TICKET)):
        with pytest.raises(HandleNotLoadedError, match="handle 1") as refused:
            client.execute(command)
        assert refused.value.command == type(command).__name__
        assert refused.value.rc >> 16 == 11
        assert isinstance(refused.value.__cause__, TransportRefusedError)
    with pytest.raises(HandleNotLoadedError):
        client.execute(FlushContext(0x80FFFFF0))
    with pytest.raises(TransportRefusedError):
        client.get_random(4)
    entity = client.core.registry.arrived(0x80000002)
    client.run(client.core.flush(entity))
    assert entity.gone


def test_a_session_that_the_kernel_does_not_take_is_as_it_was(listening: tuple[Client, Listening]) -> None:
    client, between = listening
    with client.start_session() as session:
        client.pcr_extend(16, digests(b"x"), sessions=[session])

        def kernel(command: bytes) -> bytes:
            raise TransportRefusedError("the kernel refuses", number=errno.ENOMEM, where="device")

        between.before = kernel
        with pytest.raises(TransportRefusedError):
            client.pcr_extend(16, digests(b"x"), sessions=[session])
        between.before = bytes
        client.pcr_extend(16, digests(b"x"), sessions=[session])


def test_a_session_whose_loading_was_not_answered(listening: tuple[Client, Listening]) -> None:
    """The TPM has loaded it, but the response was lost: the client finds out when it loads it again."""
    client, between = listening
    with client.start_session() as session:
        client.context_save(session)
        inner = between.inner

        class Lossy:
            def transceive(self, command: bytes) -> bytes:
                inner.transceive(command)
                raise TransportTimeoutError("lost")

        between.inner = Lossy()  # type: ignore[assignment]
        with pytest.raises(TransportTimeoutError):
            client.pcr_extend(16, digests(b"x"), sessions=[session])
        between.inner = inner
        assert int(session) in in_tpm(client, 0x02000000)
        client.pcr_extend(16, digests(b"x"), sessions=[session])


def test_the_gap_is_the_tpms_own(client: Client) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(client.start_session())
        from prestocloud_sec.tpm.spec.constants import TPM_PT

        if client.core.residence.moves:
            assert client.core.residence._gap == client.properties()[TPM_PT.CONTEXT_GAP_MAX]
