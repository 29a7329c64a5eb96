# SPDX-License-Identifier: Apache-2.0
"""Objects made, loaded, and made persistent: storage root keys, and what lies below them.

What a parent wraps names its parent by its Name only. `load` finds the parent again: among the persistent objects, or
by making the usual storage root keys anew from their templates.

Authorization values and data go to the TPM in sessions that are salted for the parent and encrypt them.

Sources: TPM 2.0 Library, Part 1, 23 (protected storage), Part 3, 12.1, 12.2, 24.1, 28.5; TCG TPM v2.0 Provisioning
Guidance 1.0, 7.5.1 and 7.8 (where storage root keys are kept).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.client.handles import Handle, Object, PersistentObject
from prestocloud_sec.tpm.errors import HandleError, TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.policy.step import Step
from prestocloud_sec.tpm.session import auth_value
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_HT, TPM_RH
from prestocloud_sec.tpm.spec.structures.objects import TPMS_SENSITIVE_CREATE, TPMT_PUBLIC
from prestocloud_sec.tpm.use._doing import client_of, handle_of, secret_session
from prestocloud_sec.tpm.use.templates import srk_template
from prestocloud_sec.tpm.use.wrapped import Creation, WrappedObject
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.tpm.session import AuthValueLike
    from prestocloud_sec.tpm.spec.commands import CreatePrimary, Load
    from prestocloud_sec.wire import BytesLike

__all__ = ["SRK_HANDLE", "create", "load", "parent_of", "persist", "primary", "provision_srk", "salt_key_for", "srk"]

SRK_HANDLE = 0x81000001
"""Where a provisioned TPM has its storage root key."""

_PARENT = TPMA_OBJECT.restricted | TPMA_OBJECT.decrypt
_ASYMMETRIC = (TPM_ALG_ID.RSA, TPM_ALG_ID.ECC)


def primary(
    client: Client,
    template: TPMT_PUBLIC,
    *,
    hierarchy: int = TPM_RH.OWNER,
    password: AuthValueLike = b"",
    outside_info: BytesLike = b"",
    creation_pcrs: SelectionLike = "",
) -> Object[CreatePrimary.Response]:
    """Make a primary object, which takes room in the TPM until it is closed.

    Parameters
    ----------
    client : Client
        The TPM.
    template : TPMT_PUBLIC
        What to make; see `prestocloud_sec.tpm.use.templates`.
    hierarchy : int
        OWNER, ENDORSEMENT, PLATFORM or NULL.
    password : AuthValue, bytes-like or str
        Its authorization value.
    outside_info : bytes-like
        What is to be in the creation data.
    creation_pcrs : PcrSelection, str or mapping
        PCRs whose values are to be in the creation data.

    Raises
    ------
    TpmResponseError
        If the TPM refuses.
    TpmMisuseError
        If an argument is not what it should be.
    """
    public = instance(template, TPMT_PUBLIC, "template")
    pcrs = PcrSelection.of(creation_pcrs).to_list()
    sensitive = TPMS_SENSITIVE_CREATE(_password(password, public), b"")
    return client_of(client).create_primary(
        whole(hierarchy, "hierarchy", 0, 0xFFFFFFFF, error=TpmMisuseError),
        sensitive,
        public,
        octets(outside_info, "outside_info"),
        pcrs,
    )


def srk(client: Client, kind: str | None = None, *, label: BytesLike | str = b"") -> Handle:
    """Return a storage root key: the persistent one where there is one, else one that is made for now.

    Parameters
    ----------
    client : Client
        The TPM.
    kind : str, optional
        ``"ecc"`` or ``"rsa"``; by default what is persistent, or else ECC.
    label : bytes-like or str
        For a key of one's own, as of `srk_template`; that one is never looked for at 81000001.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     srk(client).name == srk(client, "ecc").name, srk(client, label="app").name == srk(client).name
    (True, False)
    """
    template = srk_template("ecc" if kind is None else kind, label=label)
    if not (label if isinstance(label, str) else octets(label, "label")):
        try:
            kept = client_of(client).persistent(SRK_HANDLE)
        except HandleError:
            pass
        else:
            is_parent = kept.public.objectAttributes & (_PARENT | TPMA_OBJECT.sign_encrypt) == _PARENT
            if is_parent and (kind is None or kept.public.type == template.type):
                return kept
    return primary(client, template)


def provision_srk(
    client: Client, handle: int = SRK_HANDLE, *, kind: str = "ecc", label: BytesLike | str = b""
) -> PersistentObject:
    """Make a storage root key persistent; nothing happens where it is already.

    Parameters
    ----------
    client : Client
        The TPM, whose owner authorizes.
    handle : int
        81000000 to 817fffff. Each application can have its own.
    kind, label
        As of `srk`.

    Returns
    -------
    PersistentObject
        The key; it survives restarts.

    Raises
    ------
    NvDefinedError
        If another object has the handle.
    """
    with primary(client, srk_template(kind, label=label)) as made:
        return persist(client, made, handle)


def persist(client: Client, handle: Handle, persistent: int, *, hierarchy: int = TPM_RH.OWNER) -> PersistentObject:
    """Make a loaded object persistent; nothing happens where the very same is already.

    Parameters
    ----------
    client : Client
        The TPM.
    handle : Handle
        The object.
    persistent : int
        81000000 to 81ffffff; the upper half is the platform's.
    hierarchy : int
        Who authorizes: OWNER or PLATFORM.

    Raises
    ------
    NvDefinedError
        If another object has the handle.
    NvSpaceError
        If there is no room.
    """
    tpm, source = client_of(client), handle_of(handle, "handle")
    number = whole(
        persistent, "persistent", TPM_HT.PERSISTENT << 24, (TPM_HT.PERSISTENT << 24) + 0xFFFFFF, error=TpmMisuseError
    )
    with contextlib.suppress(HandleError):
        there = tpm.persistent(number)
        if there.name == source.name:
            return there
    tpm.evict_control(hierarchy, source, number)
    return tpm.persistent(number)


def create(
    client: Client,
    template: TPMT_PUBLIC,
    *,
    parent: Handle | None = None,
    password: AuthValueLike = b"",
    data: BytesLike = b"",
    policy: Policy | Step | None = None,
    outside_info: BytesLike = b"",
    creation_pcrs: SelectionLike = "",
) -> WrappedObject:
    """Make an object below a storage key.

    Parameters
    ----------
    client : Client
        The TPM.
    template : TPMT_PUBLIC
        What to make; see `prestocloud_sec.tpm.use.templates`.
    parent : Handle, optional
        The storage key; `srk` if not given.
    password : AuthValue, bytes-like or str
        Its authorization value.
    data : bytes-like
        What is to be sealed, or a key to import.
    policy : Policy, optional
        The policy whose digest is in the template; kept beside the object.
    outside_info, creation_pcrs
        As of `primary`.

    Returns
    -------
    WrappedObject
        The object; with its `Creation`.

    Raises
    ------
    TpmResponseError
        If the TPM refuses.
    TpmFormatError
        If it returns no public area.
    TpmMisuseError
        If an argument has the wrong type.
    """
    tpm, public = client_of(client), instance(template, TPMT_PUBLIC, "template")
    held = Policy(policy) if isinstance(policy, Step) else policy
    above = srk(tpm) if parent is None else handle_of(parent, "parent")
    pcrs = PcrSelection.of(creation_pcrs).to_list()
    sensitive = TPMS_SENSITIVE_CREATE(_password(password, public), octets(data, "data"))
    with secret_session(tpm, salt_key_for(tpm, above)) as session:
        made = tpm.create(above, sensitive, public, octets(outside_info, "outside_info"), pcrs, sessions=[session])
    creation = Creation(made.creationData, made.creationHash, made.creationTicket)
    if made.outPublic is None:
        raise TpmFormatError("no public area", where="response to Create", expected="that of the new object")
    return WrappedObject(made.outPublic, made.outPrivate, above.name, held, creation)


def load(
    client: Client, wrapped: WrappedObject, *, parent: Handle | None = None, password: AuthValueLike = b""
) -> Object[Load.Response]:
    """Load an object that its parent has wrapped.

    Parameters
    ----------
    client : Client
        The TPM.
    wrapped : WrappedObject
        The object.
    parent : Handle, optional
        Its parent; found by its Name if not given.
    password : AuthValue, bytes-like or str
        The authorization value, which the client keeps for commands to come.

    Raises
    ------
    TpmMisuseError
        If its parent is not in this TPM.
    IntegrityError
        If the parent did not wrap it, or it was changed.
    """
    tpm = client_of(client)
    with parent_of(tpm, wrapped, parent) as above:
        made = tpm.load(above, wrapped.private, wrapped.public)
    value = auth_value(password)
    if not value.is_empty:
        made.set_auth(value)
    return made


@contextlib.contextmanager
def parent_of(client: Client, wrapped: WrappedObject, parent: Handle | None) -> Iterator[Handle]:
    """Find the parent of an object by its Name, for as long as it takes; one that is given is taken as it is.

    Raises
    ------
    TpmMisuseError
        If it is not in this TPM.
    """
    held = instance(wrapped, WrappedObject, "wrapped")
    if parent is not None:
        yield handle_of(parent, "parent")
        return
    found = _named(client, held.parent)
    try:
        yield found
    finally:
        if isinstance(found, Object):
            found.close()


def salt_key_for(client: Client, parent: Handle) -> Handle:
    """Return a key for the salt of a session that secrets of this parent's children go in."""
    public: Any = getattr(parent, "public", None)
    return parent if isinstance(public, TPMT_PUBLIC) and public.type in _ASYMMETRIC else srk(client)


def _named(client: Client, name: bytes) -> Handle:
    hint = "give the parent; or is it another TPM?"
    if not name:
        raise TpmMisuseError("the Name of its parent is not known", where="wrapped", hint="give the parent")
    for number in client.capability(TPM_CAP.HANDLES, TPM_HT.PERSISTENT << 24):
        with contextlib.suppress(HandleError):
            kept = client.persistent(number)
            if kept.name == name:
                return kept
    for kind in ("ecc", "rsa"):
        made = primary(client, srk_template(kind))
        if made.name == name:
            return made
        made.close()
    raise TpmMisuseError(f"no parent {name.hex()[:16]}... in this TPM", where="wrapped", hint=hint)


def _password(password: AuthValueLike, public: TPMT_PUBLIC) -> bytes:
    raw, most = auth_value(password).raw, hash_of(int(public.nameAlg), "nameAlg").size
    if len(raw) > most:
        raise TpmMisuseError(f"{len(raw)} bytes", where="password", expected=f"at most {most}, a digest of nameAlg")
    return raw
