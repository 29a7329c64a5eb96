# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: a way that breaks, a TPM that loses power or locks itself, callers who hand in anything."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.errors import MisuseError, PrestoCloudError
from prestocloud_sec.tpm import Client, connect
from prestocloud_sec.tpm.client.lockout import Lockout
from prestocloud_sec.tpm.errors import (
    AuthFailError,
    InitializeError,
    LockoutError,
    RetryError,
    SessionStateError,
    Tpm12Error,
    TpmInputError,
    TpmMisuseError,
    TpmResponseError,
    TransportClosedError,
    TransportTimeoutError,
    TransportUriError,
)
from prestocloud_sec.tpm.session import SessionState
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.commands import COMMANDS_BY_NAME, GetRandom, PCR_Extend, ReadClock
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC
from prestocloud_sec.tpm.transport import RetryPolicy, StreamTransport
from tests.tpm.client.exercises import DATA, child, primary
from tests.tpm.client.fakes import Answering, Listening
from tests.tpm.client.objects import Template, digests
from tests.tpm.transport.peers import in_threads


class InterruptedByTestError(Exception):
    """What the handler of signals raises."""


EXTEND = PCR_Extend(16, digests(b"x"))


def refused(rc: int) -> bytes:
    return bytes.fromhex("8001 0000000a") + rc.to_bytes(4, "big")


# --- the way to the TPM


class Broken(Listening):
    """Fails once with an error, or closes for good."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.error: BaseException | None = None
        self.reached = True

    def transceive(self, command: bytes, /) -> bytes:
        error, self.error = self.error, None
        if error is not None:
            if self.reached:
                self.inner.transceive(command)
            raise error
        return super().transceive(command)


@pytest.mark.parametrize("error", [TransportTimeoutError("late"), KeyboardInterrupt(), MemoryError()], ids=repr)
@pytest.mark.parametrize("reached", [False, True])
def test_after_a_response_that_never_came_the_client_goes_on(
    uri: str, error: BaseException, template: Template, *, reached: bool
) -> None:
    with connect(uri) as plain:
        broken = Broken(plain.transport)
        client = Client(broken)
        key, session = primary(client, template.signing), client.start_session()
        client.execute(EXTEND, [session])
        broken.error, broken.reached = error, reached
        with pytest.raises(type(error)):
            client.execute(EXTEND, [session])
        assert not client.closed
        assert session.session.state is SessionState.LOST
        with pytest.raises(SessionStateError):
            client.execute(EXTEND, [session])
        client.execute(EXTEND)
        assert client.read_public(key).name == key.name
        session.close()
        with client.start_session() as another:
            client.execute(EXTEND, [another])
        for doing in (
            lambda: client.get_random(4),
            lambda: client.execute(EXTEND),
            lambda: client.capability(TPM_CAP.COMMANDS),
            lambda: client.raw(bytes.fromhex("8001 0000000a 00000181")),
            lambda: client.start_session(),
        ):
            broken.error, broken.reached = error, False
            with pytest.raises(type(error)):
                doing()
            assert len(client.get_random(4)) == 4
        client.close()


def test_a_socket_that_closes_in_the_middle_of_a_command() -> None:
    ours, its = socket.socketpair()
    client = Client(StreamTransport(ours, "a socket"))

    def peer() -> None:
        its.recv(4096)
        its.sendall(bytes.fromhex("8001 0000001c"))
        its.close()

    thread = threading.Thread(target=peer)
    thread.start()
    with pytest.raises(TransportClosedError):
        client.get_random(16)
    thread.join()
    assert client.closed
    for doing in (lambda: client.get_random(16), lambda: client.execute(EXTEND), lambda: client.properties()):
        with pytest.raises(TransportClosedError):
            doing()
    client.close()
    assert "closed" in repr(client)


def test_a_client_closed_by_another_thread() -> None:
    ours, its = socket.socketpair()
    client = Client(StreamTransport(ours, "a socket"))
    threading.Timer(0.05, client.transport.close).start()
    with pytest.raises(TransportClosedError):
        client.execute(ReadClock())
    assert client.closed
    client.close()
    its.close()


class Interrupting(Listening):
    """A TPM, and somebody who does something in the middle of a command, as a handler of signals would."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.does: Callable[[], object] | None = None
        self.errors: list[Exception] = []

    def transceive(self, command: bytes, /) -> bytes:
        does, self.does = self.does, None
        if does is not None:
            try:
                does()
            except Exception as error:
                self.errors.append(error)
        return super().transceive(command)


COMMANDING: list[Callable[[Client], object]] = [
    lambda client: client.raw(bytes.fromhex("8001 0000000c 0000017b 0010")),
    lambda client: client.get_random(16),
    lambda client: client.execute(EXTEND),
    lambda client: client.execute(ReadClock()),
    lambda client: client.properties(),
    lambda client: client.start_session().close(),
]


@pytest.mark.parametrize("doing", COMMANDING)
def test_a_client_closed_in_the_middle_of_its_own_command(doing: Callable[[Client], object]) -> None:
    inner = connect("embedded:")
    transport = Interrupting(inner.transport)
    with inner, Client(transport) as client:
        transport.does = client.close
        doing(client)
        (error,) = transport.errors
        assert isinstance(error, TpmMisuseError)
        assert "this thread is in the middle of a command; expected a call between two commands" in str(error)
        assert not client.closed
        doing(client)
        client.close()
        assert client.closed


def test_a_command_in_the_middle_of_another_that_holds_the_lock() -> None:
    inner = connect("embedded:")
    transport = Interrupting(inner.transport)
    with inner, Client(transport) as client:
        for does in (client.properties, lambda: client.execute(EXTEND, ())):
            transport.does = does
            client.properties()
        assert [type(error) for error in transport.errors] == [TpmMisuseError] * 2
        assert len(client.get_random(4)) == 4


@pytest.mark.parametrize("way", ["client", "transport"])
def test_a_handler_of_signals_that_closes(way: str) -> None:
    ours, its = socket.socketpair()
    client = Client(StreamTransport(ours, "a socket"))
    caught: list[Exception] = []

    def handler(*_: object) -> None:
        try:
            (client if way == "client" else client.transport).close()
        except TpmMisuseError as error:
            caught.append(error)
        raise InterruptedByTestError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptedByTestError):
            client.get_random(16)  # nobody answers
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(caught) == 1
    assert not client.closed
    client.close()
    assert client.closed
    its.close()


def test_threads_that_wait_for_each_other_are_not_in_the_middle_of_a_command() -> None:
    with connect("embedded:") as client:

        def ask(_: int) -> None:
            for _ in range(300):
                client.get_random(16)
                client.execute(ReadClock(), ())

        in_threads(ask, 4)


def test_what_the_tpm_says_at_the_end_does_not_matter() -> None:
    transport = Answering(lambda _: refused(0x101))
    client = Client(transport)
    client.core.registry.arrived(0x80000000)
    client.core.has_started = True
    client.close()
    assert transport.closed


def test_a_child_process_leaves_its_parents_client_alone(client: Client, template: Template) -> None:
    key = primary(client, template.signing)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are threads: the child does nothing with them
        child_process = os.fork()
    if not child_process:
        code = 1
        try:
            key.close()
        except TransportClosedError:
            client.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child_process, 0)[1]) == 0
    assert client.read_public(key).name == key.name


# --- responses that are none


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"\x80",
        bytes(10),
        bytes.fromhex("8001 0000000b 00000000"),
        bytes.fromhex("00c4 0000000a 0000001e"),
        bytes.fromhex("8002 0000000a 00000143"),
        bytes.fromhex("8001 0000000c 00000143 0000"),
        bytes.fromhex("8001 0000000a 80000000"),
        bytes.fromhex("8003 0000000a 00000000"),
        bytes.fromhex("8001 0000000c 00000000 ffff"),
        bytes.fromhex("8001 0000000c 00000000 0010"),
        bytes.fromhex("8002 00000013 00000000 00000000 0000 01 0000"),
        bytes.fromhex("8002 0000000e 00000000 ffffffff"),
    ],
    ids=bytes.hex,
)
@pytest.mark.parametrize("session", [False, True])
def test_what_is_no_response_is_refused(response: bytes, *, session: bool) -> None:
    client = Client(Answering(lambda _: response))
    commands: list[Callable[[], Any]] = [
        lambda: client.get_random(16),
        lambda: client.execute(GetRandom(200)),
        lambda: client.read_clock(),
        lambda: client.capability(TPM_CAP.HANDLES),
        lambda: client.start_session(),
        lambda: client.run(client.core.execute(GetRandom(16))),
    ]
    if response[:2] != b"\x80\x02":
        commands.append(lambda: client.execute(EXTEND))
    for command in commands:
        with pytest.raises(TpmInputError):
            command()


def test_a_tpm_12_is_refused_by_name() -> None:
    client = Client(Answering(lambda _: bytes.fromhex("00c4 0000000a 0000001e")))
    with pytest.raises(Tpm12Error):
        client.get_random(16)


@given(st.binary(min_size=0, max_size=60))
@settings(max_examples=300)
def test_whatever_comes_back_is_an_error_of_ours_or_a_response(data: bytes) -> None:
    for response in (data, bytes.fromhex("8001") + (10 + len(data)).to_bytes(4, "big") + bytes(4) + data):
        made = Client(Answering(lambda _, response=response: response), startup=False)
        for command in (
            lambda client: client.get_random(16),
            lambda client: client.execute(EXTEND),
            Client.start_session,
        ):
            with contextlib.suppress(PrestoCloudError):
                command(made)


def test_fewer_random_bytes_than_were_asked_for() -> None:
    client = Client(Answering(lambda _: bytes.fromhex("8001 0000000e 00000000 0002 aabb")))
    assert client.get_random(16) == b"\xaa\xbb"


# --- retries


@pytest.mark.parametrize("rc", [0x922, 0x908, 0x90A])
def test_commands_are_sent_again_when_the_tpm_says_so(rc: int) -> None:
    answers = [refused(rc), refused(rc), bytes.fromhex("8001 0000000e 00000000 0002 aabb")]
    for call in (
        lambda client: client.get_random(2),
        lambda client: client.execute(GetRandom(2)).randomBytes,
        lambda client: client.run(client.core.execute(GetRandom(2))).randomBytes,
        lambda client: client.raw(bytes.fromhex("8001 0000000c 0000017b 0002"))[12:],
    ):
        left = list(answers)
        transport = Answering(lambda _, left=left: left.pop(0))
        assert call(Client(transport, retry=RetryPolicy(first=0.0, longest=0.0))) == b"\xaa\xbb"
        assert len(transport.sent) == 3
        assert len(set(transport.sent)) == 1


def test_retries_end() -> None:
    transport = Answering(lambda _: refused(0x922))
    client = Client(transport, retry=RetryPolicy(attempts=3, first=0.0))
    with pytest.raises(RetryError):
        client.get_random(2)
    assert len(transport.sent) == 3


# --- start and power


def test_a_tpm_that_was_not_started_is_started(power: Callable[[], None], client: Client) -> None:
    power()
    assert len(client.get_random(16)) == 16
    assert client.core.has_started


def test_it_is_not_where_that_is_not_wanted() -> None:
    transport = Answering(lambda _: refused(0x100))
    client = Client(transport, startup=False)
    with pytest.raises(InitializeError):
        client.get_random(16)
    assert len(transport.sent) == 1


def test_a_tpm_that_cannot_be_started() -> None:
    transport = Answering(lambda _: refused(0x100))
    client = Client(transport)
    with pytest.raises(InitializeError):
        client.get_random(16)
    codes = [int.from_bytes(command[6:10], "big") for command in transport.sent]
    assert codes == [TPM_CC.GetRandom, TPM_CC.Startup, TPM_CC.GetRandom]
    assert not client.core.has_started


def test_what_was_lost_with_the_power_is_said(power: Callable[[], None], client: Client, template: Template) -> None:
    key, session = primary(client, template.signing), client.start_session()
    power()
    with pytest.raises(InitializeError, match="started now"):
        client.read_public(key)
    with pytest.raises(TpmMisuseError, match="started anew"):
        client.read_public(key)
    with pytest.raises(SessionStateError):
        client.execute(EXTEND, [session])
    client.protect()
    assert len(client.get_random(8)) == 8
    power()
    assert len(client.get_random(8)) == 8, "protection starts a session of its own again"


def test_who_started_the_tpm_shuts_it_down(uri: str) -> None:
    with connect(uri) as plain:
        between = Listening(plain.transport)
        client = Client(between)
        client.core.has_started = True
        between.close = lambda: None  # type: ignore[method-assign]
        client.close()
        assert between.codes == [TPM_CC.Shutdown]


def test_saved_sessions_survive_a_resume(client: Client, power: Callable[[], None]) -> None:
    from prestocloud_sec.tpm.spec.constants import TPM_SU

    session = client.start_session()
    client.context_save(session)
    client.shutdown(TPM_SU.STATE)
    power()
    client.startup(TPM_SU.STATE)
    assert not session.closed
    client.execute(EXTEND, [session])


def test_needs_test_is_answered_with_a_test() -> None:
    random = bytes.fromhex("8001 0000000e 00000000 0002 aabb")
    answers = [refused(0x153), bytes.fromhex("8001 0000000a 00000000"), random]
    transport = Answering(lambda _: answers.pop(0))
    assert Client(transport).get_random(2) == b"\xaa\xbb"
    codes = [int.from_bytes(command[6:10], "big") for command in transport.sent]
    assert codes == [TPM_CC.GetRandom, TPM_CC.SelfTest, TPM_CC.GetRandom]


# --- lock-out


def test_lockout_is_explained_with_the_time_left(erasable: Client, template: Template) -> None:
    client = erasable
    client.dictionary_attack_parameters(client.lockout, 2, 1000, 60)
    public = template.sealed
    public = public.replace(objectAttributes=public.objectAttributes & ~TPMA_OBJECT.noDA)
    try:
        with primary(client, template.storage) as parent, child(client, parent, public, b"right", DATA) as sealed:
            assert client.unseal(sealed) == DATA
            sealed.set_auth(b"wrong")
            for _ in range(2):
                with pytest.raises(AuthFailError):
                    client.unseal(sealed)
            sealed.set_auth(b"right")
            with pytest.raises(LockoutError) as locked:
                client.unseal(sealed)
            assert locked.value.seconds == 1000
            assert "2 of 2 failed attempts" in str(locked.value)
            assert "wait at most 16 min 40 s" in str(locked.value)
            assert str(locked.value).startswith("Unseal")
            assert client.lockout_state() == Lockout(2, 2, 1000, 60, locked=True)
            assert client.lockout_state().seconds == 1000
            client.dictionary_attack_lock_reset(client.lockout)
            assert client.unseal(sealed) == DATA
    finally:
        client.dictionary_attack_lock_reset(client.lockout)
        client.dictionary_attack_parameters(client.lockout, 32, 7200, 86400)


def test_lockout_of_lockoutauth(erasable: Client) -> None:
    client = erasable
    client.dictionary_attack_parameters(client.lockout, 32, 7200, 60)
    client.lockout.set_auth(b"wrong")
    with pytest.raises(AuthFailError):
        client.dictionary_attack_lock_reset(client.lockout)
    client.lockout.set_auth(b"")
    with pytest.raises(LockoutError, match=r"for 1 min after a wrong attempt") as locked:
        client.dictionary_attack_lock_reset(client.lockout)
    assert locked.value.seconds == 60


def test_lockout_is_told_where_the_tpm_does_not_explain_it() -> None:
    transport = Answering(lambda _: refused(0x921))
    with pytest.raises(LockoutError) as locked:
        Client(transport).execute(EXTEND)
    assert locked.value.seconds is None
    assert len(transport.sent) == 2, "it is asked once, and no more"


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Lockout(0, 32, 7200, 86400, locked=False), "not locked: 0 of 32 failed attempts"),
        (Lockout(32, 32, 0, 0, locked=True), "locked: 32 of 32 failed attempts, and none is ever forgotten"),
        (Lockout(33, 32, 7200, 0, locked=True), "forgotten every 2 h, so wait at most 4 h"),
        (Lockout(0, 0, 90061, 0, locked=True), "forgotten every 1 d 1 h, so wait at most 1 d 1 h"),
    ],
)
def test_lockout_in_words(state: Lockout, text: str) -> None:
    assert text in str(state)


# --- callers


NO_COMMANDS: list[Any] = [None, 3, "GetRandom", b"\x80\x01", GetRandom, GetRandom.Response(b""), [GetRandom(1)]]


@pytest.mark.parametrize("command", NO_COMMANDS, ids=repr)
def test_what_is_no_command_is_refused(command: Any) -> None:
    transport = Answering()
    client = Client(transport)
    for doing in (
        lambda: client.execute(command),
        lambda: client.execute(command, []),
        lambda: client.run(client.core.execute(command)),
    ):
        with pytest.raises(TpmMisuseError, match="no command"):
            doing()
    assert transport.sent == []


@pytest.mark.parametrize(
    "data", [None, 3, "text", b"", b"\x80\x01", bytes(10), bytes.fromhex("8001 0000000b 0000017b")]
)
def test_what_are_no_bytes_of_a_command_is_refused(client: Client, data: Any) -> None:
    with pytest.raises(MisuseError):
        client.raw(data)


@pytest.mark.parametrize("transport", [None, 3, "embedded:", object(), Client])
def test_what_is_no_transport_is_refused(transport: Any) -> None:
    with pytest.raises(MisuseError):
        Client(transport)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"uri": "nothing:"}, TransportUriError),
        ({"uri": 3}, MisuseError),
        ({"protect": "yes"}, MisuseError),
        ({"retry": 3}, MisuseError),
        ({"timeouts": "soon"}, MisuseError),
    ],
)
def test_what_cannot_be_connected_with(arguments: dict[str, Any], error: type[BaseException]) -> None:
    with pytest.raises(error):
        connect(**{"uri": "embedded:", **arguments})


@pytest.mark.parametrize("name", sorted(COMMANDS_BY_NAME))
@pytest.mark.parametrize("junk", [None, "text", -1, 1 << 70, 1.5, object(), [object()]], ids=repr)
def test_whatever_is_handed_to_a_method_is_refused(name: str, junk: Any) -> None:
    import inspect

    from tests.tpm.client.test_levels import METHODS

    transport = Answering()
    method = getattr(Client(transport), METHODS[name])
    count = len(inspect.signature(method).parameters) - 1
    if count == 0 or (count == 1 and junk is None and name in {"ECDH_ZGen"}):
        return
    with pytest.raises(PrestoCloudError):
        method(*[junk] * count)
    assert transport.sent == [] or junk is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": 7},
        {"kind": "hmac"},
        {"hash": "md5"},
        {"hash": None},
        {"cipher": "aes"},
        {"salt_key": "key"},
        {"salt_key": -1},
        {"salt_key": 0x40000001},
        {"bind": "key"},
        {"bind": 1 << 40},
        {"nonce_size": 15},
        {"nonce_size": 33},
        {"nonce_size": "16"},
    ],
    ids=repr,
)
def test_what_no_session_can_be_started_with(client: Client, arguments: dict[str, Any]) -> None:
    before = client.capability(TPM_CAP.HANDLES, 0x02000000)
    with pytest.raises((MisuseError, TpmResponseError)):
        client.start_session(**arguments)
    assert client.core.starting is None
    assert client.capability(TPM_CAP.HANDLES, 0x02000000) == before


def test_threads_share_a_client(client: Client) -> None:
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                with client.start_session() as session:
                    client.pcr_extend(16, digests(b"%d %d" % (number, turn)), sessions=[session])
                    assert len(client.get_random(16)) == 16
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert client.capability(TPM_CAP.HANDLES, 0x02000000) == ()
