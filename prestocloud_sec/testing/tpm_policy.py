# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies of policies.

>>> from hypothesis import find
>>> print(find(policies(), lambda policy: len(policy) == 2))
policy of 2 steps
├─ AuthValue
└─ AuthValue
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from prestocloud_sec.testing.tpm import values
from prestocloud_sec.testing.tpm_pcr import pcr_selections
from prestocloud_sec.tpm.hashes import HashAlgorithm, hash_of
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.policy import (
    NV,
    OR,
    PCR,
    Authorize,
    AuthorizeNV,
    AuthValue,
    CommandCode,
    CounterTimer,
    CpHash,
    DuplicationSelect,
    Locality,
    NameHash,
    NvWritten,
    Password,
    PhysicalPresence,
    Policy,
    Secret,
    Signed,
    Step,
    Template,
    Ticket,
)
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_RH, TPM_ST
from prestocloud_sec.tpm.spec.structures.basic import TPMT_TK_AUTH
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIGNATURE

__all__ = ["entity_names", "policies", "steps"]

_HIERARCHIES = (TPM_RH.OWNER, TPM_RH.ENDORSEMENT, TPM_RH.PLATFORM, TPM_RH.LOCKOUT, TPM_RH.NULL)


def _exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


def entity_names(*, handles: bool = True) -> st.SearchStrategy[bytes]:
    """Return a strategy of Names: of things with a public area, and of hierarchies too unless `handles` is False."""
    hashes = st.sampled_from(("sha1", "sha256", "sha384", "sha512")).map(hash_of)
    names = hashes.flatmap(lambda row: _exactly(row.size).map(lambda digest: row.id.to_bytes(2, "big") + digest))
    if not handles:
        return names
    return names | st.sampled_from(_HIERARCHIES).map(lambda handle: int(handle).to_bytes(4, "big"))


def steps(hash: str = "sha256", *, inner: st.SearchStrategy[Policy] | None = None) -> st.SearchStrategy[Step]:
    """Return a strategy of steps of every kind.

    Parameters
    ----------
    hash : str
        The hash that digests in the steps are of.
    inner : strategy of Policy, optional
        What alternatives are made of; without it there are none.
    """
    row = hash_of(hash)
    digest = _exactly(row.size)
    ref = st.binary(max_size=64)
    limits = {
        "policy_ref": ref,
        "expiration": st.integers(-(1 << 31), (1 << 31) - 1),
        "cp_hash": st.just(b"") | digest,
    }
    known = st.sampled_from((TPM_ALG_ID.SHA1, TPM_ALG_ID.SHA256, TPM_ALG_ID.SHA384, TPM_ALG_ID.SHA512))
    areas = st.tuples(values(TPMT_PUBLIC), known).map(lambda pair: pair[0].replace(nameAlg=pair[1]))
    spaces = st.tuples(values(TPMS_NV_PUBLIC), known).map(lambda pair: pair[0].replace(nameAlg=pair[1]))
    keys = entity_names(handles=False) | areas
    indexes = entity_names(handles=False) | spaces
    compared = {"operand": st.binary(max_size=64), "operation": st.integers(0, 11), "offset": st.integers(0, 0xFFFF)}
    signature = st.none() | values(TPMT_SIGNATURE)
    plain: list[st.SearchStrategy[Any]] = [
        st.sampled_from((AuthValue(), Password(), PhysicalPresence())),
        st.builds(CommandCode, st.integers(0, 0xFFFFFFFF)),
        st.builds(Locality, st.integers(0, 255)),
        st.builds(NvWritten, st.booleans()),
        st.builds(CpHash, digest),
        st.builds(NameHash, digest),
        st.builds(Template, digest),
        st.builds(DuplicationSelect, entity_names(), entity_names(), st.booleans()),
        _pcrs(row),
        st.builds(NV, indexes, **compared),
        st.builds(CounterTimer, **compared),
        st.builds(Secret, entity_names(), **limits, with_nonce=st.booleans()),
        st.builds(Signed, keys, **limits, signature=signature),
        st.builds(Signed, keys, **limits, with_nonce=st.just(value=True)),
        st.builds(Ticket, entity_names(), _tickets(), st.binary(max_size=16), ref, st.just(b"") | digest),
    ]
    if inner is not None:
        branches = st.lists(inner | digest, min_size=2, max_size=3) | st.lists(digest, min_size=2, max_size=8)
        plain += [
            branches.map(lambda found: OR(*found)),
            st.builds(Authorize, keys, ref, inner, signature),
            st.builds(AuthorizeNV, indexes, inner),
        ]
    return st.one_of(plain)


def policies(hash: str = "sha256", *, deepest: int = 1, most: int = 3) -> st.SearchStrategy[Policy]:
    """Return a strategy of policies.

    Parameters
    ----------
    hash : str
        The hash that digests in them are of.
    deepest : int
        How deep alternatives are in alternatives.
    most : int
        The most steps in a row.
    """
    labels = st.none() | st.text("abc xyz ä€", min_size=1, max_size=8).filter(str.isprintable)
    found = st.lists(steps(hash), max_size=most)
    for _ in range(deepest):
        inner = st.builds(lambda rows, label: Policy(*rows, label=label), found, labels)
        found = st.lists(steps(hash, inner=inner), max_size=most)
    return st.builds(lambda rows, label: Policy(*rows, label=label), found, labels)


@st.composite
def _pcrs(draw: st.DrawFn, row: HashAlgorithm) -> PCR:
    selection: PcrSelection = draw(pcr_selections(most=2))
    if draw(st.booleans()):
        return PCR(selection, digest=draw(_exactly(row.size)))
    banks = {bank: {pcr: draw(_exactly(hash_of(bank).size)) for pcr in pcrs} for bank, pcrs in selection.banks.items()}
    return PCR(selection, values=banks)


def _tickets() -> st.SearchStrategy[TPMT_TK_AUTH]:
    kinds = st.sampled_from((TPM_ST.AUTH_SECRET, TPM_ST.AUTH_SIGNED))
    return values(TPMT_TK_AUTH).flatmap(lambda ticket: kinds.map(lambda tag: ticket.replace(tag=tag)))
