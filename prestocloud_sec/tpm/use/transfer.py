# SPDX-License-Identifier: Apache-2.0
"""What goes from one TPM to another, or comes from none: credentials, duplicates, imported keys.

The other side of each need not be a TPM: `prestocloud_sec.tpm.protect` makes credentials, wraps and unwraps duplicates
in software.

Sources: TPM 2.0 Library, Part 1, clauses 23.3 and 24; Part 3, clause 13, 12.5 and 12.6.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from prestocloud_sec.tpm._given import instance
from prestocloud_sec.tpm._secrets import buffer
from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.policy import OR, CommandCode, DuplicationSelect, Policy, Step, any_of
from prestocloud_sec.tpm.protect import Credential, Duplicate, sensitive_of, wrap
from prestocloud_sec.tpm.session import PASSWORD, ParameterCipher, auth_value
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.constants import TPM_CC, TPM_RH
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.use._doing import client_of, handle_of, secret_session
from prestocloud_sec.tpm.use.endorsement import ek_session
from prestocloud_sec.tpm.use.objects import salt_key_for, srk
from prestocloud_sec.tpm.use.policies import secret_policy_sessions
from prestocloud_sec.tpm.use.private_keys import TpmKey
from prestocloud_sec.tpm.use.wrapped import WrappedObject
from prestocloud_sec.wire import items_of, shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.salt import SoftwareKey
    from prestocloud_sec.tpm.session import AuthValueLike
    from prestocloud_sec.wire import BytesLike

__all__ = ["activate", "duplicate", "import_duplicate", "import_key", "import_secret", "movable_policy"]


def activate(
    client: Client, key: TpmKey | Handle, endorsement_key: Handle, credential: tuple[BytesLike, BytesLike]
) -> bytes:
    """Return the secret of a credential: proof that an object is in the same TPM as a storage key.

    Parameters
    ----------
    client : Client
        The TPM.
    key : RsaKey, EccKey or Handle
        The object that the credential is for, such as an attestation key.
    endorsement_key : Handle
        The key that it was made with, as `ek` returns it.
    credential : Credential
        What `make_credential` or another TPM has made.

    Raises
    ------
    IntegrityError
        If it is for another object or key, or was changed.
    TpmMisuseError
        If an argument is not what it should be.

    >>> from prestocloud_sec.tpm import connect
    >>> from prestocloud_sec.tpm.protect import make_credential
    >>> from prestocloud_sec.tpm.use.endorsement import ek
    >>> from prestocloud_sec.tpm.use.keys import create_ak
    >>> with connect("embedded:") as client, create_ak(client) as ak, ek(client, "ecc") as key:
    ...     activate(client, ak, key, make_credential(key.public, ak.name, b"for this TPM only"))
    b'for this TPM only'
    """
    tpm = client_of(client)
    target = key.handle if isinstance(key, TpmKey) else handle_of(key, "key")
    decrypts = handle_of(endorsement_key, "endorsement_key")
    if not isinstance(credential, tuple) or len(credential) != 2:
        raise TpmMisuseError(shown(credential), where="credential", expected="a Credential")
    held = Credential(buffer(credential[0], "id_object"), buffer(credential[1], "encrypted_secret"))
    with secret_session(tpm, srk(tpm)) as first, ek_session(tpm, decrypts) as second:
        sessions = [first, PASSWORD if second is None else second]
        return tpm.activate_credential(target, decrypts, *held, sessions=sessions)


def import_duplicate(
    client: Client, public: TPMT_PUBLIC, duplicate: Duplicate, *, parent: Handle | None = None, policy: Any = None
) -> WrappedObject:
    """Take in an object that was wrapped for a storage key of this TPM.

    Parameters
    ----------
    client : Client
        The TPM.
    public : TPMT_PUBLIC
        The object's public area.
    duplicate : Duplicate
        The object, wrapped.
    parent : Handle, optional
        The storage key that it was wrapped for; `srk` if not given.
    policy : Policy, optional
        Its policy, whose digest is in the public area.

    Returns
    -------
    WrappedObject
        The object, as the parent wraps it; `load` loads it.

    Raises
    ------
    IntegrityError
        If it is for another key, or was changed.
    """
    tpm, area = client_of(client), instance(public, TPMT_PUBLIC, "public")
    held = instance(duplicate, Duplicate, "duplicate")
    above = srk(tpm) if parent is None else handle_of(parent, "parent")
    with secret_session(tpm, salt_key_for(tpm, above)) as session:
        private = tpm.import_(
            above, held.inner_key, area, held.duplicate, held.seed, held.symmetric, sessions=[session]
        )
    return WrappedObject(area, private, above.name, Policy(policy) if isinstance(policy, Step) else policy)


def import_key(
    client: Client,
    private: SoftwareKey,
    *,
    use: str = "sign",
    password: AuthValueLike = b"",
    parent: Handle | None = None,
) -> WrappedObject:
    """Put a private key that was made elsewhere into a TPM. It is wrapped for the parent here, and never sent in plain.

    Parameters
    ----------
    client : Client
        The TPM.
    private : RSA or ECC private key
        As pyca/cryptography has it.
    use : str
        ``"sign"``, ``"decrypt"`` or ``"both"``.
    password : AuthValue, bytes-like or str
        Its authorization value.
    parent : Handle, optional
        The storage key; `srk` if not given.

    Raises
    ------
    TpmMisuseError
        If a TPM has no such key, or an argument is not what it should be.
    TpmResponseError
        If the TPM refuses.
    """
    uses = {"sign": TPMA_OBJECT.sign_encrypt, "decrypt": TPMA_OBJECT.decrypt}
    uses["both"] = uses["sign"] | uses["decrypt"]
    if not isinstance(use, str) or use not in uses:
        raise TpmMisuseError(shown(use), where="use", expected=", ".join(uses))
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise TpmMisuseError(type(private).__name__, where="private", expected="a private key of RSA or ECC")
    counted = TPMA_OBJECT.noDA if auth_value(password).is_empty else TPMA_OBJECT(0)
    template = public_area_of(private.public_key(), attributes=uses[use] | TPMA_OBJECT.userWithAuth | counted)
    return import_secret(client, template, private, password=password, parent=parent)


def import_secret(
    client: Client,
    template: TPMT_PUBLIC,
    secret: SoftwareKey | BytesLike,
    *,
    password: AuthValueLike = b"",
    parent: Handle | None = None,
    policy: Policy | Step | None = None,
) -> WrappedObject:
    """Put a secret of any type into a TPM: a key, or data to unseal.

    Parameters
    ----------
    client : Client
        The TPM.
    template : TPMT_PUBLIC
        Its public area. What a TPM promises of objects that it made itself cannot be true of this one: fixedTPM,
        fixedParent and sensitiveDataOrigin are taken off.
    secret : RSA or ECC private key, or bytes-like
        As of `sensitive_of`.
    password, parent, policy
        As of `create`.
    """
    tpm, area = client_of(client), instance(template, TPMT_PUBLIC, "template")
    made_inside = TPMA_OBJECT.fixedTPM | TPMA_OBJECT.fixedParent | TPMA_OBJECT.sensitiveDataOrigin
    area = area.replace(objectAttributes=area.objectAttributes & ~made_inside)
    public, sensitive = sensitive_of(area, secret, password)
    above = srk(tpm) if parent is None else handle_of(parent, "parent")
    target = instance(getattr(above, "public", None), TPMT_PUBLIC, "parent.public")
    return import_duplicate(tpm, public, wrap(public, sensitive, target), parent=above, policy=policy)


def movable_policy(*new_parents: TPMT_PUBLIC | BytesLike) -> Policy:
    """Return the policy of a key that may be duplicated, for `key_template` with ``movable``.

    Parameters
    ----------
    new_parents : TPMT_PUBLIC or bytes-like
        The storage keys that it may go to, by public area or Name; with none, it may go anywhere.
    """
    names = [name_of(each) if isinstance(each, TPMT_PUBLIC) else buffer(each, "new_parents") for each in new_parents]
    if not names:
        return Policy(CommandCode(TPM_CC.Duplicate))
    return any_of(*(DuplicationSelect(name) for name in names))


def duplicate(
    client: Client,
    handle: Handle,
    new_parent: TPMT_PUBLIC | None,
    policy: Policy | Step,
    *,
    cipher: ParameterCipher | None = None,
    choices: Iterable[int | str] = (),
) -> Duplicate:
    """Wrap an object for a storage key of another TPM, or one in software.

    Parameters
    ----------
    client : Client
        The TPM.
    handle : Handle
        The object, loaded; made with ``movable``.
    new_parent : TPMT_PUBLIC or None
        The storage key that is to take it in. None for no outer wrap: then whoever has what comes back has the object.
    policy : Policy
        Its policy, as `movable_policy` makes it.
    cipher : ParameterCipher, optional
        The cipher of an inner wrap, whose key the TPM draws: send it another way than the rest.
    choices : iterable of int or str
        Branches of the policy.

    Raises
    ------
    PolicyFailError
        If the policy does not allow it.
    TpmResponseError
        If the object cannot be duplicated at all (fixedTPM).
    """
    tpm, source = client_of(client), handle_of(handle, "handle")
    public: Any = getattr(source, "public", None)
    area = instance(public, TPMT_PUBLIC, "handle.public")
    held = Policy(policy) if isinstance(policy, Step) else instance(policy, Policy, "policy")
    if cipher is not None:
        instance(cipher, ParameterCipher, "cipher")
    with _loaded(tpm, new_parent) as target:
        name = b"" if new_parent is None else name_of(new_parent)
        wanted = tuple(items_of(choices, "choices", "branches", error=TpmMisuseError)) or _branches(held, name)
        options: Any = {"hash": int(area.nameAlg), "choices": wanted}
        symmetric = Duplicate(b"", b"", bytes(0 if cipher is None else cipher.bits // 8), cipher).symmetric
        with secret_policy_sessions(tpm, _of_object(held, source.name), srk(tpm), **options) as sessions:
            made = tpm.duplicate(source, target, b"", symmetric, sessions=sessions)
    return Duplicate(made.duplicate, made.outSymSeed, made.encryptionKeyOut, cipher)


@contextlib.contextmanager
def _loaded(client: Client, public: TPMT_PUBLIC | None) -> Iterator[int]:
    """Load the public area of a storage key, for as long as it takes."""
    if public is None:
        yield TPM_RH.NULL
        return
    with client.load_external(None, instance(public, TPMT_PUBLIC, "new_parent"), TPM_RH.OWNER) as loaded:
        yield loaded


def _of_object(policy: Policy, name: bytes) -> Policy:
    """Return a policy that names the object, which its digest cannot: the TPM wants to be told."""
    steps: list[Step] = []
    for step in policy.steps:
        if isinstance(step, DuplicationSelect) and not step.object:
            steps.append(replace(step, object=name))
        elif isinstance(step, OR):
            steps.append(OR(*(_of_object(b, name) if isinstance(b, Policy) else b for b in step.branches)))
        else:
            steps.append(step)
    return Policy(*steps, label=policy.label)


def _branches(policy: Policy, new_parent: bytes) -> tuple[int, ...]:
    """Return the branches that lead to a new parent; none where no branch names it."""
    for step in policy.steps:
        if not isinstance(step, OR):
            continue
        for number, branch in enumerate(step.branches):
            if isinstance(branch, Policy) and _names(branch, new_parent):
                return (number, *_branches(branch, new_parent))
    return ()


def _names(policy: Policy, new_parent: bytes) -> bool:
    return any(
        (isinstance(step, DuplicationSelect) and step.new_parent == new_parent)
        or (isinstance(step, OR) and any(isinstance(b, Policy) and _names(b, new_parent) for b in step.branches))
        for step in policy.steps
    )
