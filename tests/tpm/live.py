# SPDX-License-Identifier: Apache-2.0
"""libtpms in this process, driven by the machines alone: typed commands, our sessions, nothing of the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from prestocloud_sec.tpm.names import handle_name, name_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.policy import Choose, Find, Outcome, Policy, Run, Sign
from prestocloud_sec.tpm.salt import Salt, make_salt
from prestocloud_sec.tpm.session import (
    PASSWORD,
    AuthValue,
    Binding,
    HmacSession,
    ParameterCipher,
    PolicySession,
    Session,
    SessionKind,
    SessionStart,
    authorize,
)
from prestocloud_sec.tpm.spec import (
    TPM_ALG_ID,
    TPM_CAP,
    TPM_HT,
    TPM_RH,
    TPMA_NV,
    TPMA_OBJECT,
    TPMS_NV_PUBLIC,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    CreatePrimary,
    FlushContext,
    GetCapability,
    NV_DefineSpace,
    NV_ReadPublic,
    ReadPublic,
    StartAuthSession,
)
from prestocloud_sec.tpm.transport import EmbeddedTransport, libtpms

RETRY = 0x922
NO_PCRS = PcrSelection().to_list()
SEAL = bytes.fromhex("0008 000b 00000440 0000 0010 0000")  # noDA: wrong values lock nothing
SIGN_RSA = bytes.fromhex("0001 000b 00040072 0000 0010 0010 0800 00000000 0000")
STORAGE_ECC = bytes.fromhex("0023 000b 00030072 0000 0006 0080 0043 0010 0003 0010 0000 0000")
STORAGE_RSA = bytes.fromhex("0001 000b 00030072 0000 0006 0080 0043 0010 0800 00000000 0000")


def available() -> Any:
    """Return the mark for tests that need libtpms."""
    return pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")


class RefusedError(Exception):
    """The TPM answered with an error code."""

    def __init__(self, rc: int) -> None:
        self.rc = rc
        super().__init__(f"0x{rc:03x}")


class Live:
    """A TPM of its own: what it is told is typed, what it answers too.

    `names` and `values` know Names and authorization values of what is loaded, by handle.
    """

    def __init__(self) -> None:
        self.transport = EmbeddedTransport()
        self.names: dict[int, bytes] = {}
        self.values: dict[int, AuthValue] = {}
        self.salt_key: tuple[int, TPMT_PUBLIC] | None = None

    def close(self) -> None:
        self.transport.close()

    def name(self, handle: int) -> bytes:
        return self.names.get(handle) or handle_name(handle)

    def value(self, handle: int) -> AuthValue:
        return self.values.setdefault(handle, AuthValue())

    # --- commands

    def send(self, body: bytes, code: int, sessions: bool) -> bytes:
        tag = b"\x80\x02" if sessions else b"\x80\x01"
        command = tag + (10 + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big") + body
        rc = RETRY
        while rc == RETRY:  # the same bytes again: the TPM has not begun, so no nonce has rolled
            answer = self.transport.transceive(command)
            rc = int.from_bytes(answer[6:10], "big")
        if rc:
            raise RefusedError(rc)
        return answer[10:]

    def execute(self, command: Any, sessions: Sequence[Any] | None = None) -> Any:
        """Execute a command; without sessions each handle is authorized by its password."""
        kind = type(command)
        needed = [h for h, role in zip(command.handles, kind.handle_auths, strict=True) if role is not None]
        uses = [PASSWORD] * len(needed) if sessions is None else sessions
        handles = b"".join(handle.to_bytes(4, "big") for handle in command.handles)
        parameters = command.encode_parameters()
        results = len(kind.Response.handle_names)
        if not uses:
            answer = self.send(handles + parameters, kind.code, sessions=False)
            return self.response(kind, answer[: 4 * results], answer[4 * results :])
        exchange = authorize(
            kind.code,
            [self.name(handle) for handle in command.handles],
            parameters,
            uses,
            [self.value(handle) for handle in needed],
            encryptable=(kind.first_parameter_is_2b, kind.Response.first_parameter_is_2b),
        )
        area = len(exchange.authorizations).to_bytes(4, "big") + exchange.authorizations
        try:
            answer = self.send(handles + area + exchange.parameters, kind.code, sessions=True)
        except RefusedError:
            exchange.refused()
            raise
        at = 4 * results
        stop = at + 4 + int.from_bytes(answer[at : at + 4], "big")
        plain = exchange.accept(answer[at + 4 : stop], answer[stop:])
        return self.response(kind, answer[:at], plain)

    @staticmethod
    def response(kind: Any, handles: bytes, parameters: bytes) -> Any:
        found = tuple(int.from_bytes(handles[at : at + 4], "big") for at in range(0, len(handles), 4))
        return kind.Response.decode_parameters(parameters, handles=found)

    # --- sessions

    def session(
        self,
        kind: SessionKind = SessionKind.HMAC,
        hash: str = "sha256",
        cipher: ParameterCipher | None = None,
        *,
        salted: bool = False,
        bind: int | None = None,
    ) -> Any:
        salt: Salt | None = None
        key = TPM_RH.NULL
        if salted:
            assert self.salt_key is not None
            key, public = self.salt_key  # type: ignore[assignment]
            salt = make_salt(public)
        binding = None if bind is None else Binding(self.name(bind), self.value(bind))
        start = SessionStart(kind, hash=hash, cipher=cipher, salt=salt, binding=binding)
        handles = (key, TPM_RH.NULL if bind is None else bind)
        command = StartAuthSession.decode_parameters(start.parameters, handles=handles)
        response = self.execute(command, [])
        return start.answered(response.sessionHandle, response.nonceTPM)

    def hmac(self, **how: Any) -> HmacSession:
        made: HmacSession = self.session(SessionKind.HMAC, **how)
        return made

    def policy(self, **how: Any) -> PolicySession:
        made: PolicySession = self.session(SessionKind.POLICY, **how)
        return made

    def flush(self, thing: int | Session) -> None:
        handle = thing if isinstance(thing, int) else thing.handle
        self.execute(FlushContext(handle), [])  # type: ignore[arg-type]
        if not isinstance(thing, int):
            thing.wipe()
        self.names.pop(handle, None)
        self.values.pop(handle, None)

    # --- objects

    def primary(
        self,
        template: bytes,
        auth: bytes = b"",
        *,
        data: bytes = b"",
        policy: bytes = b"",
        hierarchy: int = TPM_RH.OWNER,
    ) -> int:
        """Return the handle of a primary object."""
        public = TPMT_PUBLIC.decode(template).replace(authPolicy=policy)
        command = CreatePrimary(hierarchy, TPMS_SENSITIVE_CREATE(auth, data), public, b"", NO_PCRS)  # type: ignore[arg-type]
        response = self.execute(command)
        return self.loaded(response.objectHandle, response.outPublic, auth)

    def loaded(self, handle: int, public: TPMT_PUBLIC, auth: bytes = b"") -> int:
        self.names[handle] = name_of(public)
        self.values[handle] = AuthValue(auth)
        return handle

    def public(self, handle: int) -> TPMT_PUBLIC:
        public: TPMT_PUBLIC = self.execute(ReadPublic(handle)).outPublic  # type: ignore[arg-type]
        return public

    def index(
        self, handle: int, size: int, auth: bytes = b"", *, attributes: TPMA_NV | None = None, policy: bytes = b""
    ) -> int:
        """Return the handle of a new NV index, which its own value may read and write."""
        rights = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA if attributes is None else attributes
        public = TPMS_NV_PUBLIC(handle, TPM_ALG_ID.SHA256, rights, policy, size)  # type: ignore[arg-type]
        self.execute(NV_DefineSpace(TPM_RH.OWNER, auth, public))  # type: ignore[arg-type]
        self.values[handle] = AuthValue(auth)
        self.index_public(handle)
        return handle

    def index_public(self, handle: int) -> TPMS_NV_PUBLIC:
        """Return the public area of an index, and take note of its Name, which a write may have changed."""
        public: TPMS_NV_PUBLIC = self.execute(NV_ReadPublic(handle)).nvPublic  # type: ignore[arg-type]
        self.names[handle] = name_of(public)
        return public

    # --- policies

    def satisfy(self, policy: Policy, session: PolicySession, **how: Any) -> Outcome:
        """Execute a policy; `how` has ``sign``, ``choose`` and ``choices``."""
        sign, choose = how.pop("sign", None), how.pop("choose", None)
        course = policy.run(session, **how)
        try:
            request = next(course)
            while True:
                try:
                    answer = self.answer(request, sign, choose)
                except RefusedError as error:
                    request = course.throw(error)
                else:
                    request = course.send(answer)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome

    def answer(self, request: Any, sign: Any, choose: Any) -> Any:
        """Return the answer to a request of a policy."""
        if isinstance(request, Run):
            response = self.execute(request.command)
            if type(response).__qualname__ == "LoadExternal.Response":
                self.names[response.objectHandle] = response.name
            return response
        if isinstance(request, Find):
            return next((handle for handle, name in self.names.items() if name == request.name), 0x80000077)
        if isinstance(request, Sign):
            return sign(request)
        assert isinstance(request, Choose)
        return choose(request)

    def handles(self, kind: TPM_HT) -> list[int]:
        """Return the handles of a kind."""
        response = self.execute(GetCapability(TPM_CAP.HANDLES, kind << 24, 64), [])
        return list(response.capabilityData.data)

    @property
    def loaded_objects(self) -> list[int]:
        """The handles of transient objects."""
        return self.handles(TPM_HT.TRANSIENT)

    def tidy(self) -> None:
        """Flush all objects and sessions."""
        for kind in (TPM_HT.TRANSIENT, TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION):
            for handle in self.handles(kind):
                self.flush(handle)


__all__ = [
    "NO_PCRS",
    "SEAL",
    "SIGN_RSA",
    "STORAGE_ECC",
    "STORAGE_RSA",
    "TPMA_OBJECT",
    "Live",
    "RefusedError",
    "available",
]
