# SPDX-License-Identifier: Apache-2.0
"""`Client`: a TPM at the other end of a transport, for threads."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakSet

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._within import refuse_within
from prestocloud_sec.tpm.client import queries
from prestocloud_sec.tpm.client.capabilities import everything
from prestocloud_sec.tpm.client.core import Answered, Core, Sessions, listed
from prestocloud_sec.tpm.client.executor import live
from prestocloud_sec.tpm.client.frames import split
from prestocloud_sec.tpm.client.handles import NvIndex, Object, PersistentObject, SessionHandle
from prestocloud_sec.tpm.client.lockout import Lockout, read_lockout
from prestocloud_sec.tpm.client.methods import Methods
from prestocloud_sec.tpm.client.plan import HEAD, NO_SESSIONS, OK, PLANS, SESSIONS, Plan, plan_of
from prestocloud_sec.tpm.client.properties import Properties
from prestocloud_sec.tpm.client.standing import Standing, protection_of
from prestocloud_sec.tpm.client.starting import start_session
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.session import SessionKind
from prestocloud_sec.tpm.spec.commands import GetRandom, StartAuthSession
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_PT
from prestocloud_sec.tpm.transport.quirks import Quirk, quirks_of
from prestocloud_sec.tpm.transport.retry import Retrying, RetryPolicy

if TYPE_CHECKING:
    from prestocloud_sec.tpm._secrets import Random
    from prestocloud_sec.tpm.client.protection import Protection
    from prestocloud_sec.tpm.client.residence import Steps
    from prestocloud_sec.tpm.hashes import HashName
    from prestocloud_sec.tpm.session import ParameterCipher
    from prestocloud_sec.tpm.spec.interfaces import UINT16
    from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_DIGEST
    from prestocloud_sec.tpm.transport.base import Transport
    from prestocloud_sec.wire import BytesLike

__all__ = ["Client"]

R = TypeVar("R")

_HOLDING = frozenset({"_carry_out", "_answered", "run"})
"""The methods that hold the lock."""
_COMMANDING = _HOLDING | {"execute", "get_random", "raw"}
"""The methods in which a command is under way, if only in the transport."""
_PASSWORD_ANSWER = b"\0\0\1\0\0"
_MOST_RANDOM = 64
"""As many random bytes as the largest digest has; the frames that ask for fewer are kept."""


class Client(Methods, Standing):
    """A TPM.

    There are three levels, which give the same bytes: `raw` takes the bytes of a command; `execute` a command of
    `prestocloud_sec.tpm.spec`; and there is a method for each command, which returns what people want of it.

    What a handle needs to be authorized goes with each command by itself: its value (`Handle.set_auth`) as a password,
    or in a session if the client was made with ``protect``. Whoever wants it otherwise gives ``sessions``: a sequence
    of sessions (`start_session`), of what their `use` makes, or of `prestocloud_sec.tpm.session.PASSWORD`. The first of
    them authorize the command's handles, in order; further ones encrypt or audit. Handles that none is left for are
    authorized by password.

    Threads may share a client; their commands take turns.

    Parameters
    ----------
    transport : Transport
        The way to the TPM, which the client owns from now on.
    protect : bool or Protection
        Whether commands for which no sessions are given go in sessions that keep secrets and find out changes.
    startup : bool
        Whether a TPM that waits for TPM2_Startup gets one.
    retry : RetryPolicy, optional
        How often a command is sent again when the TPM says so.
    random : callable
        Returns as many fresh random bytes as it is asked for.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be.

    Attributes
    ----------
    transport : Transport
        The way to the TPM.
    core : Core
        What the client knows.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        protect: bool | Protection = False,
        startup: bool = True,
        retry: RetryPolicy | None = None,
        random: Random = secrets.token_bytes,
    ) -> None:
        patient = Retrying(transport, retry)  # which sees to it that it is a transport
        self.transport = transport
        self.core = Core(startup=startup, random=random)
        self._lock = threading.Lock()
        self._ended = False
        self._policy = patient.policy
        self._send = transport.transceive
        self._send_patiently = patient.transceive
        self._areas: dict[int, bytes] | None = None
        self._random_frames: dict[int, tuple[bytes, bytes]] = {}
        self.protect(protect)
        _CLIENTS.add(self)

    # --- the three levels

    def raw(self, command: BytesLike) -> bytes:
        """Send the bytes of a command, and return those of the response, whatever it says.

        The client neither looks at them nor remembers anything: handles are those of the TPM, and what such a command
        makes has to be flushed by another.

        Raises
        ------
        TpmMisuseError
            If `command` is no bytes, or not as long as it says.
        TransportError
            If the way to the TPM failed.
        """
        return self._send_patiently(octets(command, "command"))

    def execute(self, command: Answered[R], sessions: Sessions = None) -> R:
        """Carry out a command.

        Parameters
        ----------
        command : Command
            The command, such as ``GetRandom(bytesRequested=16)``.
        sessions : sequence, optional
            Its sessions (see `Client`).

        Returns
        -------
        Response
            The response; handles in it are numbers. What they stand for stays in the TPM until FlushContext or `close`.

        Raises
        ------
        TpmResponseError
            If the TPM refuses.
        ResponseHmacError
            If the response was changed on the way.
        TpmFormatError
            If the response is none.
        TpmMisuseError
            If it is no command, or the sessions are not for it.
        TransportError
            If the way to the TPM failed. Whether the TPM has carried out the command is not known then. `closed` tells
            whether the client can still be used.
        """
        areas = self._areas
        if sessions is None and areas is not None:
            # What needs nothing of what `Core` knows but an empty password: most of what is quick in a TPM.
            plan = PLANS.get(type(command))
            if plan is not None and plan.quick:
                parameters: bytes = command.encode_parameters()  # type: ignore[attr-defined]
                first = plan.first
                if first is None:
                    frame = HEAD.pack(NO_SESSIONS, 10 + len(parameters), plan.code) + parameters
                elif area := areas.get(first(command)):
                    frame = HEAD.pack(SESSIONS, 10 + len(area) + len(parameters), plan.code) + area + parameters
                else:
                    return self._carry_out(command, None)
                response = self._send(frame)
                if response == plan.bare_response and plan.nothing is not None:
                    return plan.nothing  # type: ignore[return-value]
                return self._answered(plan, command, frame, response)  # type: ignore[no-any-return]
        return self._carry_out(command, listed(sessions))  # without the lock: going through them may take commands

    def _carry_out(self, command: Answered[R], sessions: Sessions) -> R:
        """Carry out a command; the generators of `Core` are asked where it is not a matter of one exchange."""
        core = self.core
        if self._lock.locked():
            refuse_within(self, _HOLDING, "execute")
        with self._lock:
            call = core.begin(command, sessions)
            if call is None:
                return self._drive(core.execute(command, sessions))
            try:
                response = self._send(call.frame)
                if response[6:10] != OK:
                    response = self._policy.repeat(self._send, call.frame, response)
            except BaseException as error:
                call.failed(error)
            if response[6:10] == OK:
                answer: R = core.finish(call, response)
                if core.shaken:
                    self._drive(core.settle())
                return answer
            return self._drive(core.resume(command, sessions, call, response))

    def _answered(self, plan: Plan, command: Any, frame: bytes, response: bytes) -> Any:
        """Read the response to a command that was put together here; if it is a refusal, `Core` sees to it."""
        if response[6:10] != OK:
            response = self._policy.repeat(self._send, frame, response)
            if response[6:10] != OK:
                if self._lock.locked():
                    refuse_within(self, _HOLDING, "execute")
                with self._lock:
                    return self._drive(self._refused(command, response))
        _, parameters, auths = split(plan, response, sessions=plan.first is not None)
        if auths and auths != _PASSWORD_ANSWER:
            raise TpmFormatError("another", where="authorization area of the response", expected="that of a password")
        return plan.response.decode_parameters(parameters)

    def get_random(self, bytesRequested: UINT16, *, sessions: Sessions = None) -> TPM2B_DIGEST:  # noqa: N803
        """Return random bytes (Part 3, 16.1).

        Parameters
        ----------
        bytesRequested : UINT16
            How many; a TPM gives fewer if it has not so many at once.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        TPM2B_DIGEST
            The bytes.
        """
        # A TPM in this process answers within three microseconds; so this command is put together once for each size.
        if sessions is None and type(bytesRequested) is int and bytesRequested in self._random_frames:
            frame, head = self._random_frames[bytesRequested]
            response = self._send(frame)
            if response[:12] == head and len(response) == 12 + bytesRequested:
                return response[12:]
            command = GetRandom(bytesRequested)
            answer: GetRandom.Response = self._answered(plan_of(command), command, frame, response)
            return answer.randomBytes
        return super().get_random(bytesRequested, sessions=sessions)

    # --- carrying out

    def run(self, steps: Steps[R], /) -> R:
        """Carry out what takes several commands: a generator that yields commands and is sent the responses."""
        if self._lock.locked():
            refuse_within(self, _HOLDING, "run")
        with self._lock:
            return self._drive(steps)

    def _ask(self, make: Callable[[], Steps[R]]) -> R:
        """Carry out what takes several commands, of a TPM that may have to be started first."""
        return self.run(self.core.powered(make))

    def _drive(self, steps: Steps[R]) -> R:
        send = self._send_patiently
        try:
            command = next(steps)
            while True:
                try:
                    response = send(command)
                except BaseException as error:
                    command = steps.throw(error)
                else:
                    command = steps.send(response)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]

    def _refused(self, command: Any, response: bytes) -> Steps[Any]:
        """Go on with a command that `execute` has sent by the quick way, and that was refused."""
        core = self.core
        while (call := core.begin(command)) is None:
            yield from core.powered(lambda: core.make_ready(command, None))
        return (yield from core.resume(command, None, call, response))

    # --- what is asked of the TPM as a whole

    def capability(self, capability: TPM_CAP, first: int = 0) -> tuple[Any, ...]:
        """Return all that the TPM lists under a capability, however often it has to be asked.

        Parameters
        ----------
        capability : TPM_CAP
            What.
        first : int
            The number to begin with. Of handles and properties, those of the same kind are listed.

        Returns
        -------
        tuple
            Elements as TPMS_CAPABILITY_DATA has them: handles, TPMA_CC, TPMS_TAGGED_PROPERTY and so on.
        """
        return self._ask(lambda: everything(capability, first))

    def properties(self) -> Properties:
        """Return the properties of the TPM: maker, firmware, limits."""
        return self._ask(queries.read_properties)

    def quirks(self) -> tuple[Quirk, ...]:
        """Return what is known of TPMs of this maker and firmware that one does not expect."""
        properties = self.properties()
        return quirks_of(properties.get(TPM_PT.MANUFACTURER, 0), properties.firmware)

    def lockout_state(self) -> Lockout:
        """Return where the protection against dictionary attacks stands."""
        return self._ask(read_lockout)

    # --- handles

    def persistent(self, handle: int) -> PersistentObject:
        """Return a persistent object.

        Parameters
        ----------
        handle : int
            81xxxxxx.

        Raises
        ------
        HandleError
            If nothing has this handle.
        TpmMisuseError
            If it is no such handle.
        """
        return PersistentObject(self, self._ask(lambda: queries.find_persistent(self.core, handle)))

    def nv_index(self, handle: int) -> NvIndex:
        """Return an NV index.

        Parameters
        ----------
        handle : int
            01xxxxxx.

        Raises
        ------
        HandleError
            If nothing has this handle.
        TpmMisuseError
            If it is no such handle.
        """
        return NvIndex(self, self._ask(lambda: queries.nv_index(self.core, handle)))

    def object(self, handle: int) -> Object[None]:
        """Return a transient object that is in the TPM; it is this client's from now on, and is flushed with it.

        Parameters
        ----------
        handle : int
            80xxxxxx.

        Raises
        ------
        HandleError
            If nothing has this handle.
        TpmMisuseError
            If it is no such handle.
        """
        entity = self._ask(lambda: queries.find_object(self.core, handle))
        return Object(self, entity, None)

    def start_session(
        self,
        kind: SessionKind = SessionKind.HMAC,
        *,
        hash: HashName = "sha256",
        cipher: ParameterCipher | None = None,
        salt_key: int | None = None,
        bind: int | None = None,
        nonce_size: int | None = None,
    ) -> SessionHandle[StartAuthSession.Response]:
        """Start a session.

        Parameters
        ----------
        kind : SessionKind
            HMAC, policy or trial.
        hash : HashAlgorithm, int or str
            Of its HMACs, and of its policy.
        cipher : ParameterCipher, optional
            How it encrypts parameters. With one it does so wherever it can, unless `SessionHandle.use` says otherwise.
        salt_key : int or Handle, optional
            A key of the TPM that decrypts: who listens cannot find out the session key then. The key is as
            trustworthy as its Name (see `prestocloud_sec.tpm.client.protection`).
        bind : int or Handle, optional
            What the session is bound to: whoever knows its authorization value can use the session.
        nonce_size : int, optional
            Bytes of each nonce, from 16 to the size of the hash, which it is if not given.

        Returns
        -------
        SessionHandle
            The session. It is authorized with as long as it is open; ``with`` closes it.
        """
        entity, response = self._ask(
            lambda: start_session(
                self.core,
                kind,
                hash=hash,
                cipher=cipher,
                salt_key=None if salt_key is None else live(self, salt_key),
                bind=None if bind is None else live(self, bind),
                nonce_size=nonce_size,
            )
        )
        return SessionHandle(self, entity, response)

    def protect(self, protect: bool | Protection = True) -> None:
        """Say whether commands for which no sessions are given go in sessions (see `Protection`)."""
        self.core.protection = protection_of(protect)
        quick = self.core.protection is None
        self._areas = self.core.registry.areas if quick else None
        self._random_frames = _random_frames() if quick else {}

    # --- the end

    @property
    def closed(self) -> bool:
        """Whether the client cannot be used any more: it was closed, or the way to the TPM has ended."""
        return self._ended or self.transport.closed

    def close(self) -> None:
        """Flush what is left in the TPM, overwrite secrets, and close the transport.

        A TPM that this client had to start is shut down in order. What the TPM has to say to that is not raised.

        Raises
        ------
        TpmMisuseError
            If this thread is in the middle of a command, as in a handler of signals. The client is as it was.
        """
        if self._ended:
            return
        refuse_within(self, _COMMANDING, "close")
        self._ended = True
        try:
            if not self.transport.closed:
                with contextlib.suppress(PrestoCloudError):
                    self.run(queries.close_all(self.core))
        finally:
            self.core.end("the client was closed")
            self._random_frames = {}
            self.transport.close()

    def __enter__(self) -> Self:
        if self.closed:
            raise TpmMisuseError("was closed", where=repr(self), hint="connect again")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        protection = "" if self.core.protection is None else f", protect={self.core.protection!r}"
        return f"<Client of {self.transport.name}{protection}{state}>"


_CLIENTS: WeakSet[Client] = WeakSet()


def _forked() -> None:
    """Give clients a free lock in a child: whoever holds the old one is not there to give it back."""
    for client in list(_CLIENTS):
        client._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@cache
def _random_frames() -> dict[int, tuple[bytes, bytes]]:
    """Return, for each number of random bytes, the command and the beginning of a response with all of them."""
    code = int(GetRandom.code)
    return {
        size: (
            HEAD.pack(NO_SESSIONS, 12, code) + size.to_bytes(2, "big"),
            HEAD.pack(NO_SESSIONS, 12 + size, 0) + size.to_bytes(2, "big"),
        )
        for size in range(_MOST_RANDOM + 1)
    }
