# SPDX-License-Identifier: Apache-2.0
"""A client at the other end of a TPM, or of somebody in between, that answers whatever does most harm."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import Client, decode_command, decode_response
from prestocloud_sec.tpm.client.plan import plan_of
from prestocloud_sec.tpm.codec.frame import CommandFrame, ResponseFrame
from prestocloud_sec.tpm.errors import (
    TpmFormatError,
    TpmInputError,
    TpmMisuseError,
    TpmResponseError,
    TpmTrailingBytesError,
    TpmTruncatedError,
    TransportClosedError,
)
from prestocloud_sec.tpm.spec.commands import GetRandom, SelfTest
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC, TPM_RC, TPM_ST
from prestocloud_sec.tpm.spec.structures import TPMS_AUTH_RESPONSE
from prestocloud_sec.tpm.transport import EmbeddedTransport, Replayer, RetryPolicy, libtpms
from tests.tpm.client.fakes import REFUSED, Answering, Listening
from tests.tpm.client.objects import Template, secret
from tests.tpm.codec.recorded import Pair, pairs
from tests.tpm.codec.test_hostile import variants

OK = bytes.fromhex("8001 0000000a 00000000")
NO_HANDLES = bytes.fromhex("8001 00000013 00000000 00 00000001 00000000")
"""TPM2_GetCapability: no handle of the kind that was asked for, and no more to come."""

live = pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")


def code(command: bytes) -> int:
    return int.from_bytes(command[6:10], "big")


class Hostile(Answering):
    """Answers one command as it is told, and all others as a TPM without anything in it."""

    def __init__(self, answers: dict[int, bytes]) -> None:
        super().__init__(lambda command: answers.get(code(command), USUAL.get(code(command), REFUSED)))


USUAL = {TPM_CC.FlushContext: OK, TPM_CC.GetCapability: NO_HANDLES, TPM_CC.ContextSave: REFUSED}


def in_passwords(pair: Pair) -> tuple[Any, ResponseFrame] | None:
    """Return a recorded command, and its response as it is to a command without other sessions than passwords."""
    command = decode_command(pair.command)
    response = decode_response(pair.response, command)
    if command.value is None or response.value is None:  # its parameters are encrypted
        return None
    frame: Any = response.frame
    auths = plan_of(command.value).auths
    tag = TPM_ST.SESSIONS if auths else TPM_ST.NO_SESSIONS
    answers = (TPMS_AUTH_RESPONSE(b"", 1, b""),) * auths
    return command.value, ResponseFrame(tag, 0, frame.handles, frame.parameters, answers)


def some(pair: Pair, response: bytes) -> Iterator[bytes]:
    """Yield changed responses: all truncations of a short one, every seventh change of a long one."""
    changed = list(variants(response, pair.name))
    return iter(changed if len(changed) < 300 else changed[::7])


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: pair.name)
def test_a_changed_response_is_an_error_or_what_it_says(pair: Pair) -> None:
    recorded = in_passwords(pair)
    if recorded is None:
        return
    command, response = recorded
    refused = 0
    for message in some(pair, response.encode()):
        transport = Hostile({pair.code: message})
        with Client(transport, startup=False) as client:
            try:
                answer = client.execute(command)
            except (TpmInputError, TpmResponseError) as error:
                refused += bool(str(error))
            else:
                assert answer.encode_parameters() == ResponseFrame.decode(message, pair.code).parameters
        given = {int.from_bytes(sent[10:], "big") for sent in transport.sent if code(sent) == TPM_CC.FlushContext}
        named = {*response.handles, *command.handles, getattr(command, "flushHandle", 0)}
        assert given <= {*named, int.from_bytes(message[10:14], "big")}
    assert refused


@pytest.mark.parametrize("short", range(10))
def test_nothing_is_not_success(short: int) -> None:
    """Fewer bytes than a header have no response code, which is not the code 0."""
    transport = Hostile({TPM_CC.FlushContext: OK[:short], TPM_CC.Startup: OK[:short], TPM_CC.ContextSave: OK[:short]})
    with Client(transport) as client, pytest.raises(TpmTruncatedError):
        client.flush_context(0x80000000)


@pytest.mark.parametrize("command", [TPM_CC.Startup, TPM_CC.SelfTest])
@pytest.mark.parametrize("answer", [b"", OK[:9], OK + b"\0", OK[:5] + b"\x0b" + OK[6:] + b"\0", b"\x80\x02" + OK[2:]])
def test_what_the_client_sends_by_itself_is_answered_in_order_too(command: int, answer: bytes) -> None:
    why = TPM_RC.INITIALIZE if command == TPM_CC.Startup else TPM_RC.NEEDS_TEST
    refusal = OK[:6] + int(why).to_bytes(4, "big")
    transport = Hostile({TPM_CC.GetRandom: refusal, command: answer})
    with Client(transport) as client, pytest.raises(TpmFormatError):
        client.get_random(4)


# --- handles that the TPM should not have given -----------------------------------------------------------------------

MAKERS = [pair for pair in pairs() if (found := in_passwords(pair)) is not None and found[1].handles]


@pytest.mark.parametrize("pair", MAKERS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("handle", [0, 0x01000001, 0x40000001, 0x40000009, 0x81000001, 0xFFFFFFFF])
def test_a_handle_that_no_command_makes_changes_nothing(pair: Pair, handle: int) -> None:
    recorded = in_passwords(pair)
    assert recorded is not None
    command, response = recorded
    forged = ResponseFrame(response.tag, 0, (handle,), response.parameters, response.auths)
    transport = Hostile({pair.code: forged.encode()})
    with Client(transport, startup=False) as client:
        client.owner.set_auth("the owner's")
        before = {number: client.core.registry.of(number) for number in (0, 0x01000001, 0x40000001, 0x81000001)}
        with pytest.raises(TpmFormatError):
            client.execute(command)
        assert {number: client.core.registry.find(number) for number in before} == before
        assert bytes(before[0x40000001].auth.live()) == b"the owner's"
        client.core.faces.append((before[0x40000001], 0))
    assert TPM_CC.FlushContext not in map(code, transport.sent)


@pytest.mark.parametrize("kind", [TPM_CC.StartAuthSession])
@pytest.mark.parametrize("handle", [0x03000001, 0x80000001, 0x02000001])
@pytest.mark.parametrize("size", [0, 16, 32, 64])
def test_a_session_of_another_kind_or_with_another_nonce(kind: int, handle: int, size: int) -> None:
    answer = b"\x80\x01" + (16 + size).to_bytes(4, "big") + bytes(4) + handle.to_bytes(4, "big")
    transport = Hostile({kind: answer + size.to_bytes(2, "big") + bytes(size)})
    with Client(transport, startup=False) as client:
        if (handle, size) == (0x02000001, 32):
            assert client.start_session() == handle
        else:
            with pytest.raises(TpmFormatError):
                client.start_session()


def test_a_handle_that_is_given_twice_stands_for_the_younger() -> None:
    pair = next(pair for pair in MAKERS if pair.name == "Load")
    recorded = in_passwords(pair)
    assert recorded is not None
    command, response = recorded
    transport = Hostile({pair.code: response.encode()})
    with Client(transport, startup=False) as client:
        first = client.execute(command).objectHandle
        assert client.execute(command).objectHandle == first
        assert len([entity for entity in client.core.registry if entity.is_evictable]) == 1
    assert [code(sent) for sent in transport.sent].count(TPM_CC.FlushContext) == 1


class Swapping(Listening):
    """Answers one kind of command in the TPM's place."""

    swapped: tuple[int, bytes] = (0, b"")

    def transceive(self, command: bytes, /) -> bytes:
        response = super().transceive(command)
        return self.swapped[1] if code(command) == self.swapped[0] else response


@live
@pytest.mark.parametrize("handle", [0x40000001, 0x02000000, 0x81000001])
def test_a_context_is_not_loaded_as_something_else(handle: int) -> None:
    swapping = Swapping(EmbeddedTransport())
    with Client(swapping) as client:
        sequences = [client.hash_sequence_start(b"", 11) for _ in range(4)]
        swapping.swapped = TPM_CC.ContextLoad, OK[:5] + b"\x0e" + OK[6:] + handle.to_bytes(4, "big")
        with pytest.raises(TpmFormatError, match="ContextLoad"):
            client.sequence_update(sequences[0], b"x")


# --- lists and answers without end ------------------------------------------------------------------------------------


def listing(command: bytes) -> bytes:
    """Answer TPM2_GetCapability with the one handle that was asked for, and say that there is more."""
    if code(command) != TPM_CC.GetCapability:
        return REFUSED
    return bytes.fromhex("8001 00000017 00000000 01 00000001 00000001") + command[14:18]


def test_a_list_without_end_is_ended() -> None:
    transport = Answering(listing)
    with Client(transport) as client, pytest.raises(TpmFormatError, match="more to come"):
        client.capability(TPM_CAP.HANDLES, 0x80000000)
    assert len(transport.sent) < 2000


@pytest.mark.parametrize("answer", [NO_HANDLES, bytes.fromhex("8001 00000017 00000000 01 00000001 00000001 00000000")])
def test_another_list_than_was_asked_for(answer: bytes) -> None:
    for ask in (Client.lockout_state, Client.properties, Client.quirks):
        with Client(Hostile({TPM_CC.GetCapability: answer})) as client, pytest.raises(TpmFormatError, match="0x1"):
            ask(client)


@pytest.mark.parametrize("count", ["ffffffff", "00010000", "00000401", "80000000"])
def test_a_count_without_elements_allocates_nothing(count: str) -> None:
    answer = bytes.fromhex(f"8001 00000013 00000000 00 00000001 {count}")
    with Client(Hostile({TPM_CC.GetCapability: answer})) as client, pytest.raises(TpmFormatError):
        client.capability(TPM_CAP.HANDLES)


@pytest.mark.parametrize("rc", [TPM_RC.RETRY, TPM_RC.YIELDED, TPM_RC.TESTING])
def test_try_again_for_ever(rc: int) -> None:
    transport = Answering(lambda _: OK[:6] + int(rc).to_bytes(4, "big"))
    with Client(transport, retry=RetryPolicy(attempts=5, first=0.001, longest=0.001)) as client:
        with pytest.raises(TpmResponseError):
            client.get_random(4)
        assert len(transport.sent) == 5
        with pytest.raises(TpmResponseError):
            client.read_public(0x81000001)
        with pytest.raises(TpmResponseError):
            client.properties()


@pytest.mark.parametrize("rc", [*range(0x100, 0x160), *range(0x900, 0x930)])
def test_the_same_refusal_for_ever(rc: int) -> None:
    """Whatever a client does of its own accord about a refusal, it does not do it without end."""
    transport = Answering(lambda _: OK[:6] + rc.to_bytes(4, "big"))
    quick = RetryPolicy(attempts=2, first=0, longest=0)
    with Client(transport, retry=quick) as client:
        registry = client.core.registry
        for number in (0x80000000, 0x80000001, 0x02000000):
            registry.arrived(number)
        for ask in (lambda: client.get_random(4), lambda: client.read_public(0x80000000)):
            with pytest.raises(TpmResponseError):
                ask()
    assert len(transport.sent) < 40


# --- more or less than was asked for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 8, 64])
def test_random_bytes_are_as_many_as_they_say(size: int) -> None:
    """A recording, unlike a device, hands out responses of any length."""
    command = GetRandom(size)
    parameters = command.encode_parameters()
    frame = CommandFrame(TPM_ST.NO_SESSIONS, TPM_CC.GetRandom, (), (), parameters).encode()
    good = ResponseFrame(TPM_ST.NO_SESSIONS, 0, (), size.to_bytes(2, "big") + bytes(size)).encode()
    for wrong in (good[:-1], good[:12], good + b"\0"):
        with Client(Replayer([(frame, wrong)])) as client, pytest.raises(TpmFormatError):
            client.get_random(size)
    with Client(Replayer([(frame, good)])) as client:
        assert client.get_random(size) == bytes(size)


def test_done_with_something_more() -> None:
    answer = bytes.fromhex("8001 0000000b 00000000 00")
    with Client(Hostile({TPM_CC.FlushContext: answer})) as client, pytest.raises(TpmTrailingBytesError):
        client.flush_context(0x80000000)


# --- hostile callers --------------------------------------------------------------------------------------------------


class Loud:
    """Raises whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __iter__(self) -> Any:
        raise RuntimeError("iter")

    def __index__(self) -> int:
        raise RuntimeError("index")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")


@live
@pytest.mark.parametrize(
    "sessions",
    [[Loud()], (Loud(),), Loud(), [Loud] * 2, iter([Loud()])],
    ids=str.split("list tuple itself class iterator"),
)
def test_loud_sessions(sessions: Any) -> None:
    with Client(EmbeddedTransport()) as client, pytest.raises(TpmMisuseError):
        client.hierarchy_change_auth(client.owner, b"", sessions=sessions)


@live
def test_sessions_of_an_iterator_are_not_forgotten() -> None:
    """The command is put together twice, because something is closed first; it must not go with a password then."""
    listening = Listening(EmbeddedTransport())
    with Client(listening) as client:
        client.hierarchy_change_auth(client.owner, b"a secret")
        session = client.start_session()
        client.hash_sequence_start(b"", 11)
        listening.passed.clear()
        client.clear_control(client.lockout, True, sessions=iter([session]))
        client.set_primary_policy(client.owner, b"", 0x10, sessions=iter([session]))
    assert b"a secret" not in listening.all_bytes


@live
def test_sessions_can_be_made_while_they_are_gone_through() -> None:
    with Client(EmbeddedTransport()) as client:
        done = threading.Event()

        def run() -> None:
            kept = []
            client.get_random(4, sessions=(kept.append(client.start_session()) or kept[0].use(audit=True) for _ in "1"))
            done.set()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert done.wait(20), "the client waits for itself"


@live
def test_a_child_of_a_fork_has_no_part_in_the_client() -> None:
    """Even if another thread held the client's lock when the process was forked."""
    listening = Listening(EmbeddedTransport())
    client = Client(listening)
    client.get_random(1)
    inside, go = threading.Event(), threading.Event()

    def slow(response: bytes) -> bytes:
        inside.set()
        go.wait(20)
        return response

    listening.after = slow
    thread = threading.Thread(target=client.properties)
    thread.start()
    assert inside.wait(20)
    child = os.fork()
    if not child:
        code = 1
        try:
            client.properties()
        except TransportClosedError:
            client.close()
            code = 0
        finally:
            os._exit(code)
    result: list[int] = []
    waiting = threading.Thread(target=lambda: result.append(os.waitpid(child, 0)[1]), daemon=True)
    waiting.start()
    waiting.join(20)
    if not result:
        os.kill(child, 9)
    go.set()
    thread.join()
    listening.after = lambda response: response
    assert result == [0]
    assert len(client.get_random(4)) == 4
    client.close()


@live
def test_threads_share_a_client_and_one_of_them_closes_it() -> None:
    client = Client(EmbeddedTransport())
    key = client.create_primary(client.null, secret(), Template().storage, b"", ())
    wrong: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                client.get_random(8)
                with client.hash_sequence_start(b"", 11) as sequence:
                    client.sequence_update(sequence, b"x")
                client.read_public(key)
        except TpmMisuseError as error:
            if "gone" not in str(error):
                wrong.append(error)
        except PrestoCloudError as error:
            if not client.closed:
                wrong.append(error)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.3)
    client.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not wrong
    with pytest.raises((TransportClosedError, TpmMisuseError)):
        client.execute(SelfTest(False))


@live
def test_a_handle_of_another_client_is_not_taken_for_something_else() -> None:
    """Both TPMs have something at the same number."""
    with Client(EmbeddedTransport()) as one, Client(EmbeddedTransport()) as two:
        mine, other = (client.hash_sequence_start(b"", 11) for client in (one, two))
        assert int(mine) == int(other)
        sent = Listening(two.transport)
        for wrong in (
            lambda: two.sequence_update(mine, b"x"),
            lambda: two.start_session(bind=mine),
            lambda: two.start_session(salt_key=mine),
        ):
            with pytest.raises(TpmMisuseError, match="another client's"):
                wrong()
        assert not sent.passed
        two.sequence_update(other, b"y")
        assert two.sequence_complete(other, b"", 0x40000007).result != b""
        assert two.hierarchy(one.owner) == one.owner
        two.set_primary_policy(one.owner, b"", 0x10)
