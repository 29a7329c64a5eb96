# SPDX-License-Identifier: Apache-2.0
"""What all NV indices have in common: who may use them, and bytes in and out, with as many commands as that takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm._secrets import KeepsSecrets, flag
from prestocloud_sec.tpm.client.handles import Handle, NvIndex
from prestocloud_sec.tpm.errors import (
    NvUninitializedError,
    TpmFormatError,
    TpmMisuseError,
)
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy import OR, Authorize, AuthorizeNV, AuthValue, Password, Policy, Step
from prestocloud_sec.tpm.session import auth_value
from prestocloud_sec.tpm.spec.attributes import TPMA_NV
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_HT, TPM_NT, TPM_PT, TPM_RH
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.tpm.use._doing import client_of, secret_session
from prestocloud_sec.tpm.use.objects import srk
from prestocloud_sec.tpm.use.policies import Signer, policy_session, secret_policy_sessions
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.session import AuthValueLike

__all__ = ["WORD", "NvSpace", "most_at_once", "number_in", "read_nv", "usual_attributes", "whole_of"]

NV = TPMA_NV


AT_ONCE = 512
"""As many bytes as every TPM takes and gives at once (TCG PC Client Platform TPM Profile, NV_BUFFER_MAX)."""
WORD = 8
"""Bytes of a counter, of bits, and of a PIN."""
READERS = (NV.AUTHREAD, None), (NV.OWNERREAD, TPM_RH.OWNER), (NV.PPREAD, TPM_RH.PLATFORM)
WRITERS = (NV.AUTHWRITE, None), (NV.OWNERWRITE, TPM_RH.OWNER), (NV.PPWRITE, TPM_RH.PLATFORM)
"""Who may, by the attributes of the index; None for whoever knows its own value."""


class NvSpace(KeepsSecrets):
    """What all types of index have in common.

    Attributes
    ----------
    client : Client
        The TPM.
    handle : NvIndex
        The index.
    policy : Policy or None
        What its authorization is bound to.
    """

    _TYPE: ClassVar[TPM_NT]

    def __init__(
        self,
        client: Client,
        handle: NvIndex,
        policy: Policy | Step | None = None,
        *,
        choices: Iterable[int | str] = (),
        signer: Signer = None,
    ) -> None:
        self.client = client_of(client)
        self.handle = instance(handle, NvIndex, "handle")
        known = Policy(policy) if isinstance(policy, Step) else policy
        self.policy = None if known is None else instance(known, Policy, "policy")
        held = items_of(choices, "choices", "numbers or labels", error=TpmMisuseError)
        self._choices, self._signer = tuple(held), signer
        if handle.public.attributes.nt != self._TYPE:
            found = getattr(handle.public.attributes.nt, "name", handle.public.attributes.nt)
            raise TpmMisuseError(f"an index of type {found}", where=repr(handle), expected=self._TYPE.name)

    @classmethod
    def open(cls, client: Client, index: int, *, password: AuthValueLike = b"", **options: Any) -> Self:
        """Return an index that is there.

        Parameters
        ----------
        client : Client
            The TPM.
        index : int
            01000000 to 01ffffff.
        password : AuthValue, bytes-like or str
            Its authorization value.
        options
            ``policy``, and ``choices`` and ``signer`` for it, as of `run_policy`.

        Raises
        ------
        HandleError
            If it is not defined.
        TpmMisuseError
            If it is of another type, or a password is given that neither the index nor the policy asks for.
        """
        handle = client_of(client).nv_index(index)
        made, value = cls(client, handle, **options), auth_value(password)
        if not value.is_empty:
            _check_asked(handle.public.attributes, made.policy)
            handle.set_auth(value)
        return made

    @classmethod
    def _define(
        cls,
        client: Client,
        index: int,
        size: int,
        attributes: TPMA_NV,
        password: AuthValueLike,
        policy: Policy | Step | None,
        hash: HashName,
        options: dict[str, Any],
    ) -> Self:
        tpm, value = client_of(client), auth_value(password)
        held = Policy(policy) if isinstance(policy, Step) else policy
        algorithm = hash_of(hash)
        digest = b"" if held is None else instance(held, Policy, "policy").digest(algorithm)
        number = whole(index, "index", error=TpmMisuseError)
        if number >> 24 != TPM_HT.NV_INDEX:
            raise TpmMisuseError(shown(number), where="index", expected="0x01000000 to 0x01ffffff")
        if not value.is_empty:
            _check_asked(attributes, held)
        kind = NV(cls._TYPE << 4)
        public = TPMS_NV_PUBLIC(number, TPM_ALG_ID(algorithm.id), attributes | kind, digest, size)
        if value.is_empty:
            tpm.nv_define_space(TPM_RH.OWNER, b"", public)
        else:
            with secret_session(tpm, srk(tpm)) as session:
                tpm.nv_define_space(TPM_RH.OWNER, value.raw, public, sessions=[session])
        return cls(tpm, tpm.nv_index(number), held, **options)

    @property
    def public(self) -> TPMS_NV_PUBLIC:
        """The public area, asked for again where a refusal may mean that somebody has changed it."""
        try:
            return self.handle.public
        except TpmMisuseError:
            return self.client.nv_index(self.handle).public

    @property
    def name(self) -> bytes:
        """The Name, which changes when the index is first written."""
        return name_of(self.public)

    @property
    def size(self) -> int:
        """Bytes in it."""
        return int(self.public.dataSize)

    @property
    def is_written(self) -> bool:
        """Whether it was ever written."""
        return bool(self.public.attributes & NV.WRITTEN)

    def undefine(self) -> None:
        """Remove the index, for which the owner authorizes; what is in it is gone."""
        self.client.nv_undefine_space(TPM_RH.OWNER, self.handle)

    @contextlib.contextmanager
    def _authorized(
        self, pairs: tuple[tuple[TPMA_NV, int | None], ...], policy: TPMA_NV, *, salted: bool = True
    ) -> Iterator[tuple[int, list[Any] | None]]:
        """Yield who authorizes, and the sessions for it."""
        bits = self.public.attributes
        if self.policy is not None and bits & policy:
            options: Any = {"choices": self._choices, "signer": self._signer, "hash": int(self.public.nameAlg)}
            options["handles"] = [self.handle]
            if not salted:
                with policy_session(self.client, self.policy, **options) as session:
                    yield self.handle, [session]
                return
            with secret_policy_sessions(self.client, self.policy, srk(self.client), **options) as sessions:
                yield self.handle, list(sessions)
            return
        for bit, who in pairs:
            if bits & bit:
                authority: int = self.handle if who is None else self.client.hierarchy(who)
                if not salted:
                    yield authority, None
                    return
                with secret_session(self.client, srk(self.client)) as session:
                    yield authority, [session]
                return
        raise TpmMisuseError("nobody may do that", where=repr(self), expected="an attribute that allows it")

    def _read(self) -> bytes:
        return whole_of(self.client, self.handle, self._reading, 0, self.size)

    def _reading(self, *, salted: bool = False) -> Any:
        return self._authorized(READERS, NV.POLICYREAD, salted=salted)

    def _writing(self, *, salted: bool = False) -> Any:
        return self._authorized(WRITERS, NV.POLICYWRITE, salted=salted)

    def lock_writing(self) -> None:
        """Lock it against writing: until the next start, or for good, as it was defined."""
        with self._writing() as (who, sessions):
            self.client.nv_write_lock(who, self.handle, sessions=sessions)

    def lock_reading(self) -> None:
        """Lock it against reading until the next start."""
        with self._reading() as (who, sessions):
            self.client.nv_read_lock(who, self.handle, sessions=sessions)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} 0x{int(self.handle):08x}, {self.size} bytes>"


def _check_asked(attributes: TPMA_NV, policy: Policy | None) -> None:
    """Refuse a password that is never asked for: who gives one believes that it protects what is there."""
    if policy is not None and not attributes & (NV.AUTHREAD | NV.AUTHWRITE) and not _may_ask(policy):
        hint = "the policy is instead of it; AuthValue, as a step of the policy, brings it back"
        raise TpmMisuseError("a password, and the policy asks for none", where="password", expected="none", hint=hint)


def _may_ask(policy: Policy) -> bool:
    """Return whether a policy may ask for the value of the entity; of one that is known by its digest, nobody knows."""
    for step in policy.steps:
        if isinstance(step, AuthValue | Password | Authorize | AuthorizeNV):
            return True
        if isinstance(step, OR) and any(not isinstance(each, Policy) or _may_ask(each) for each in step.branches):
            return True
    return False


def usual_attributes(password: AuthValueLike, policy: object, lock: str | None, *, owner: bool) -> TPMA_NV:
    """Return attributes for who may read and write, and what may be locked."""
    locks = {None: NV(0), "start": NV.WRITE_STCLEAR | NV.READ_STCLEAR, "good": NV.WRITEDEFINE | NV.READ_STCLEAR}
    if not isinstance(lock, str | None) or lock not in locks:
        raise TpmMisuseError(shown(lock), where="lock", expected='"start", "good" or None')
    own = NV.AUTHREAD | NV.AUTHWRITE if policy is None else NV.POLICYREAD | NV.POLICYWRITE
    others = NV.OWNERREAD | NV.OWNERWRITE if flag(owner, "owner") else NV(0)
    counted = NV.NO_DA if auth_value(password).is_empty else NV(0)
    return own | others | counted | locks[lock]


def number_in(space: NvSpace) -> int | None:
    """Return the number that is in an index; None before it is first written."""
    try:
        return int.from_bytes(space._read(), "big")
    except NvUninitializedError:
        return None


def most_at_once(client: Client) -> int:
    """Return how many bytes the TPM takes and gives at once."""
    told = client.properties().get(TPM_PT.NV_BUFFER_MAX, AT_ONCE)
    return max(1, min(told, 1024))


def whole_of(client: Client, handle: Handle, authorized: Callable[[], Any], start: int, size: int) -> bytes:
    """Return bytes of an index, with as many commands as it takes."""
    most, parts = most_at_once(client), []
    for at in range(start, start + max(size, 1), most):
        wanted = min(most, start + size - at)
        with authorized() as (who, sessions):
            part = client.nv_read(who, handle, wanted, at, sessions=sessions)
        if len(part) != wanted:
            raise TpmFormatError(f"{len(part)} bytes", where="NV_Read", expected=f"{wanted}")
        parts.append(part)
    return b"".join(parts)


def read_nv(client: Client, index: int, *, password: AuthValueLike = b"") -> bytes:
    """Return all that is in an index of any type, such as a certificate that the maker has left there.

    Parameters
    ----------
    client : Client
        The TPM.
    index : int
        01000000 to 01ffffff.
    password : AuthValue, bytes-like or str
        The authorization value of the index.

    Raises
    ------
    HandleError
        If it is not defined.
    NvUninitializedError
        If it was never written.
    TpmMisuseError
        If it cannot be read by its own value, nor by that of owner or platform.
    """
    tpm = client_of(client)
    handle = tpm.nv_index(index)
    if not auth_value(password).is_empty:
        handle.set_auth(password)
    bits = handle.public.attributes
    authority = next((handle if who is None else tpm.hierarchy(who) for bit, who in READERS if bits & bit), None)
    if authority is None:
        raise TpmMisuseError("only its policy reads it", where=repr(handle), hint="open it by its class")
    session = contextlib.nullcontext((authority, None))
    return whole_of(tpm, handle, lambda: session, 0, int(handle.public.dataSize))
