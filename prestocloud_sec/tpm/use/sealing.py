# SPDX-License-Identifier: Apache-2.0
"""Secrets that a TPM gives back only in a given state, or for a password, or both.

What `seal` makes is bound to the TPM by the parent that wraps it; to the state of the machine by a policy on PCRs; to
a password by an authorization value, which is proved in the session and never sent. What is unsealed comes back
encrypted.

Before an update changes what is measured, `reseal` binds the secret to the values that will be there afterwards, as
`prestocloud_sec.tpm.use.pcrs` foretells them; and, if asked, to those of now as well, should the update fail.

Sources: TPM 2.0 Library, Part 1, 27.7 (sealed data), clause 19; Part 3, 12.7, 23.7 (PolicyPCR), 23.17
(PolicyAuthValue).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm._banks import bank_name
from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm._secrets import flag
from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.errors import PolicyError, PolicyFailError, TpmMisuseError, TpmResponseError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.policy import OR, PCR, AuthValue, Policy, Step
from prestocloud_sec.tpm.session import auth_value
from prestocloud_sec.tpm.spec.constants import TPM_RC
from prestocloud_sec.tpm.use._doing import client_of, secret_session
from prestocloud_sec.tpm.use.objects import create, load, parent_of, salt_key_for
from prestocloud_sec.tpm.use.pcrs import Values, read_pcrs, values_of
from prestocloud_sec.tpm.use.policies import Signer, asks_for_value, secret_policy_sessions
from prestocloud_sec.tpm.use.templates import sealed_template
from prestocloud_sec.tpm.use.wrapped import WrappedObject
from prestocloud_sec.wire import items_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.tpm.session import AuthValueLike
    from prestocloud_sec.tpm.use.pcrs import ValuesLike
    from prestocloud_sec.wire import BytesLike

    StatesLike: TypeAlias = "ValuesLike | Iterable[ValuesLike] | None"

__all__ = ["reseal", "seal", "unseal"]

_MOST = 128
"""The most bytes that a TPM seals (MAX_SYM_DATA; Part 2, 11.1.15)."""


def seal(
    client: Client,
    data: BytesLike,
    *,
    pcrs: SelectionLike = "",
    values: StatesLike = None,
    password: AuthValueLike = b"",
    policy: Policy | Step | None = None,
    parent: Handle | None = None,
) -> WrappedObject:
    """Seal a secret.

    Parameters
    ----------
    client : Client
        The TPM.
    data : bytes-like
        1 to 128 bytes. Of more, seal a key that they are encrypted with.
    pcrs : PcrSelection, str or mapping
        The PCRs it is bound to, such as ``"sha256:7,11"``.
    values : PcrBanks, Replay or mapping; or up to eight of them
        Their values, as they will be when it is unsealed; as they are now, if not given. With several, each will do.
    password : AuthValue, bytes-like or str
        Needed to unseal. Wrong ones are counted.
    policy : Policy, optional
        What else has to hold.
    parent : Handle, optional
        The storage key that wraps it; `srk` if not given.

    Returns
    -------
    WrappedObject
        What is to be kept. Without PCRs, password and policy it is bound to this TPM and nothing else.

    Raises
    ------
    TpmMisuseError
        If an argument is not what it should be.
    TpmResponseError
        If the TPM refuses.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     kept = seal(client, b"a secret", pcrs="sha256:16", password="open").to_json()
    ...     unseal(client, WrappedObject.from_json(kept), password="open")
    b'a secret'
    """
    tpm, raw = client_of(client), octets(data, "data", most=_MOST)
    if not raw:
        raise TpmMisuseError("0 bytes", where="data", expected=f"1 to {_MOST} bytes")
    secret = auth_value(password)
    selection = PcrSelection.of(pcrs)
    steps: list[Step | Policy] = []
    if len(selection):
        states = [read_pcrs(tpm, selection)] if values is None else _states(values)
        steps.append(_bound(selection, states))
    elif values is not None:
        raise TpmMisuseError("values, but no PCRs", where="pcrs", expected="those that the values are of")
    if policy is not None:
        steps.append(Policy(policy) if isinstance(policy, Step) else instance(policy, Policy, "policy"))
    if steps and not secret.is_empty:
        steps.append(AuthValue())
    held = Policy(*steps) if steps else None
    template = sealed_template(no_da=secret.is_empty, policy=b"" if held is None else held, with_auth=held is None)
    return create(tpm, template, parent=parent, password=secret, data=raw, policy=held)


def unseal(
    client: Client,
    sealed: WrappedObject,
    *,
    password: AuthValueLike = b"",
    parent: Handle | None = None,
    choices: Iterable[int | str] | None = None,
    handles: Iterable[Handle] = (),
    signer: Signer = None,
) -> bytes:
    """Return a secret that was sealed.

    Parameters
    ----------
    client : Client
        The TPM.
    sealed : WrappedObject
        What `seal` returned.
    password : AuthValue, bytes-like or str
        The password.
    parent : Handle, optional
        The storage key that wrapped it; found by its Name if not given.
    choices : iterable of int or str, optional
        Branches of the policy; by default those whose PCRs are as they should be.
    handles, signer
        For the policy, as of `run_policy`.

    Raises
    ------
    PolicyFailError
        If PCRs are not as they should be; says which.
    AuthFailError
        If the password is wrong.
    IntegrityError
        If the parent did not wrap it.
    TpmMisuseError
        If the parent is not in this TPM, the policy is not known, or a password is given that it does not ask for.
    """
    tpm = client_of(client)
    held = instance(sealed, WrappedObject, "sealed")
    if held.policy is None and held.public.authPolicy:
        hint = "its digest is in the public area, but nothing follows from that"
        raise TpmMisuseError("its policy is not known", where="sealed.policy", expected="the Policy", hint=hint)
    with parent_of(tpm, held, parent) as above:
        salt_key = salt_key_for(tpm, above)
        with load(tpm, held, parent=above, password=password) as item:
            if held.policy is None:
                with secret_session(tpm, salt_key) as session:
                    return tpm.unseal(item, sessions=[session])
            branches = _branches(tpm, held.policy) if choices is None else choices
            options: Any = {"choices": branches, "handles": handles, "signer": signer}
            try:
                with secret_policy_sessions(
                    tpm, held.policy, salt_key, hash=int(held.public.nameAlg), **options
                ) as sessions:
                    if not auth_value(password).is_empty and not asks_for_value(sessions[0]):
                        hint = "nothing would tell whether it is right; AuthValue, as a step of the policy, asks for it"
                        what = "a password, and the policy asks for none"
                        raise TpmMisuseError(what, where="password", expected="none", hint=hint)
                    return tpm.unseal(item, sessions=sessions)
            except TpmResponseError as error:
                if error.command == "PolicyPCR" and error.name == TPM_RC.VALUE.name:
                    raise _told(tpm, held.policy, error) from error
                raise


def reseal(
    client: Client,
    sealed: WrappedObject,
    *,
    values: StatesLike = None,
    pcrs: SelectionLike | None = None,
    password: AuthValueLike = b"",
    new_password: AuthValueLike | None = None,
    keep_current: bool = False,
    parent: Handle | None = None,
) -> WrappedObject:
    """Seal a secret anew, for other values of PCRs or another password; it has to open now.

    Parameters
    ----------
    client : Client
        The TPM.
    sealed : WrappedObject
        What `seal` returned, without a policy of one's own.
    values : PcrBanks, Replay or mapping; or several of them
        As of `seal`: the values after the update. As they are now, if not given.
    pcrs : PcrSelection, str or mapping, optional
        The PCRs; those that it is bound to, if not given.
    password, new_password : AuthValue, bytes-like or str
        The password that it has, and the one that it gets: the same, if not given.
    keep_current : bool
        Whether the values of now will do too.
    parent : Handle, optional
        The storage key.

    Returns
    -------
    WrappedObject
        The new one. The old one goes on opening in its state: delete it.

    Raises
    ------
    PolicyFailError, AuthFailError, IntegrityError, TpmMisuseError
        As of `unseal` and `seal`.
    """
    tpm, held = client_of(client), instance(sealed, WrappedObject, "sealed")
    selection = _selection_of(held.policy) if pcrs is None else PcrSelection.of(pcrs)
    states = None if values is None or not len(selection) else _states(values)
    if flag(keep_current, "keep_current") and states is not None:
        states.append(read_pcrs(tpm, selection))
    secret = unseal(tpm, held, password=password, parent=parent)
    chosen = password if new_password is None else new_password
    return seal(tpm, secret, pcrs=selection, values=states, password=chosen, parent=parent)


def _states(values: Any) -> list[Values]:
    """Return the states that were given: one, or several."""
    if isinstance(values, list | tuple):
        held = [values_of(each) for each in items_of(values, "values", "states", error=TpmMisuseError)]
    else:
        held = [values_of(values)]
    if not 1 <= len(held) <= 8:
        raise TpmMisuseError(f"{len(held)} states", where="values", expected="1 to 8")
    return held


def _bound(selection: PcrSelection, states: list[Values]) -> Step:
    """Return the step that holds in each of some states."""
    steps: list[PCR] = []
    for state in states:
        step = PCR(selection, values=state)
        if step not in steps:
            steps.append(step)
    return steps[0] if len(steps) == 1 else OR(*steps)


def _selection_of(policy: Policy | None) -> PcrSelection:
    """Return the PCRs that a policy of `seal` is about; TpmMisuseError if it is another."""
    if policy is None:
        return PcrSelection()
    found = list(_pcr_steps(policy))
    rest = [step for step in policy.steps if not isinstance(step, PCR | OR | AuthValue)]
    nested = [child for step in policy.steps if isinstance(step, OR) for child in step.branches]
    plain = all(isinstance(c, Policy) and len(c) == 1 and isinstance(c.steps[0], PCR) for c in nested)
    if rest or not plain or len({step.selection for step in found}) > 1:
        hint = "unseal it, and seal it with its new policy"
        raise TpmMisuseError("a policy of its own", where="sealed.policy", hint=hint)
    return found[0].selection if found else PcrSelection()


def _pcr_steps(policy: Policy) -> Iterator[PCR]:
    for step in policy.steps:
        if isinstance(step, PCR):
            yield step
        elif isinstance(step, OR):
            for branch in step.branches:
                if isinstance(branch, Policy):
                    yield from _pcr_steps(branch)


def _branches(client: Client, policy: Policy) -> list[int | str]:
    """Return the branches whose PCRs are as they should be, in the order in which they are met."""
    chosen: list[int | str] = []
    for step in policy.steps:
        if not isinstance(step, OR):
            continue
        for number, branch in enumerate(step.branches):
            if isinstance(branch, Policy) and all(_holds(client, each) for each in _plain(branch)):
                chosen += [number, *_branches(client, branch)]
                break
        else:
            known = [number for number, branch in enumerate(step.branches) if isinstance(branch, Policy)]
            if not known:
                raise PolicyError("no branch is known by more than its digest", where="OR", expected="a policy")
            chosen.append(known[0])  # which the TPM will refuse
    return chosen


def _plain(policy: Policy) -> list[PCR]:
    return [step for step in policy.steps if isinstance(step, PCR)]


def _holds(client: Client, step: PCR) -> bool:
    algorithm = hash_of("sha256") if step.digest is None else _by_size(len(step.digest))
    return step.selection.digest(read_pcrs(client, step.selection), algorithm) == step.pcr_digest(algorithm)


def _by_size(size: int) -> Any:
    return hash_of({20: "sha1", 32: "sha256", 48: "sha384", 64: "sha512"}.get(size, "sha256"))


def _told(client: Client, policy: Policy, error: TpmResponseError) -> PolicyFailError:
    """Return an error that says which PCRs are not as they should be."""
    words = []
    for step in _pcr_steps(policy):
        now = read_pcrs(client, step.selection)
        for bank, pcrs in step.values or ():
            for pcr, wanted in pcrs:
                if now[bank][pcr] != wanted:
                    told = f"PCR {pcr} of {bank_name(bank)} is {now[bank][pcr].hex()}, sealed for {wanted.hex()}"
                    words += [told] if told not in words else []
    return PolicyFailError(
        error.rc,
        error.name,
        "; ".join(words) or "PCRs are not as they should be",
        command=error.command,
        parameter=error.parameter,
        hint="what is measured has changed since",
    )
