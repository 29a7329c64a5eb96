# SPDX-License-Identifier: Apache-2.0
"""Keys of RSA and ECC made, loaded and found again; `prestocloud_sec.tpm.use.private_keys` says what they do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.policy.step import Step
from prestocloud_sec.tpm.session import auth_value
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.use._doing import client_of
from prestocloud_sec.tpm.use.objects import create, load
from prestocloud_sec.tpm.use.policies import Signer
from prestocloud_sec.tpm.use.private_keys import EccKey, RsaKey
from prestocloud_sec.tpm.use.templates import ak_template, key_template
from prestocloud_sec.tpm.use.wrapped import WrappedObject
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.hashes import HashName
    from prestocloud_sec.tpm.session import AuthValueLike

__all__ = ["create_ak", "create_key", "load_key", "open_key"]

_KINDS: dict[int, type[RsaKey] | type[EccKey]] = {TPM_ALG_ID.RSA: RsaKey, TPM_ALG_ID.ECC: EccKey}


def create_key(
    client: Client,
    kind: str = "ecc",
    *,
    use: str = "sign",
    bits: int = 2048,
    curve: int | str = "P-256",
    scheme: str | None = None,
    hash: HashName = "sha256",
    parent: Handle | None = None,
    password: AuthValueLike = b"",
    policy: Policy | Step | None = None,
    choices: Iterable[int | str] = (),
    signer: Signer = None,
) -> RsaKey | EccKey:
    """Make a key, and load it. It never leaves the TPM.

    Parameters
    ----------
    client : Client
        The TPM.
    kind, use, bits, curve, scheme, hash
        As of `key_template`.
    parent : Handle, optional
        The storage key that wraps it; `srk` if not given.
    password : AuthValue, bytes-like or str
        Needed to use the key. Wrong ones are counted if there is one.
    policy : Policy, optional
        What has to hold for the key to be used, instead of the password (`AuthValue` brings that back).
    choices, signer
        For the policy, as of `run_policy`.

    Returns
    -------
    RsaKey or EccKey
        The key. Keep its `wrapped`, or `persist` it, to have it again.

    Raises
    ------
    TpmResponseError
        If the TPM refuses.
    TpmMisuseError
        If an argument is not what it should be.
    """
    held = Policy(policy) if isinstance(policy, Step) else policy
    options: Any = {
        "use": use,
        "bits": bits,
        "curve": curve,
        "scheme": scheme,
        "hash": hash,
        "no_da": auth_value(password).is_empty,
    }
    template = key_template(kind, policy=b"" if held is None else held, **options)
    wrapped = create(client, template, parent=parent, password=password, policy=held)
    return load_key(client, wrapped, parent=parent, password=password, choices=choices, signer=signer)


def create_ak(
    client: Client,
    kind: str = "ecc",
    *,
    scheme: str | None = None,
    hash: HashName = "sha256",
    parent: Handle | None = None,
    password: AuthValueLike = b"",
) -> RsaKey | EccKey:
    """Make an attestation key, and load it; parameters as of `ak_template` and `create_key`."""
    template = ak_template(kind, scheme=scheme, hash=hash, no_da=auth_value(password).is_empty)
    wrapped = create(client, template, parent=parent, password=password)
    return load_key(client, wrapped, parent=parent, password=password)


def load_key(
    client: Client,
    wrapped: WrappedObject,
    *,
    parent: Handle | None = None,
    password: AuthValueLike = b"",
    choices: Iterable[int | str] = (),
    signer: Signer = None,
) -> RsaKey | EccKey:
    """Load a key that was kept; parameters and errors as of `load` and `create_key`."""
    kind = _kind_of(instance(wrapped, WrappedObject, "wrapped").public)
    handle = load(client, wrapped, parent=parent, password=password)
    return kind(client, handle, wrapped, choices=choices, signer=signer)


def open_key(
    client: Client,
    handle: int,
    *,
    password: AuthValueLike = b"",
    policy: Policy | Step | None = None,
    choices: Iterable[int | str] = (),
    signer: Signer = None,
) -> RsaKey | EccKey:
    """Return a key that is in the TPM.

    Parameters
    ----------
    client : Client
        The TPM.
    handle : int or Handle
        A persistent handle, or the handle object of a loaded key.
    password, policy, choices, signer
        As of `create_key`.

    Raises
    ------
    HandleError
        If nothing has this handle.
    TpmMisuseError
        If it is no key of RSA or ECC.
    """
    found: Any = handle if isinstance(handle, Handle) else client_of(client).persistent(handle)
    if not auth_value(password).is_empty:
        found.set_auth(password)
    held = Policy(policy) if isinstance(policy, Step) else policy
    return _kind_of(getattr(found, "public", None))(client, found, policy=held, choices=choices, signer=signer)


def _kind_of(public: object) -> type[RsaKey] | type[EccKey]:
    kind = _KINDS.get(public.type) if isinstance(public, TPMT_PUBLIC) else None
    if kind is None:
        found = f"type {shown(public.type)}" if isinstance(public, TPMT_PUBLIC) else "no object"
        raise TpmMisuseError(found, where="key", expected="a key of RSA or ECC")
    return kind
