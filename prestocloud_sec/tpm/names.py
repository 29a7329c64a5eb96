# SPDX-License-Identifier: Apache-2.0
"""Names: what an entity is called in authorizations, policies and attestations (TPM 2.0 Library, Part 1, clause 16).

The Name of an object or of an NV index is a digest of its public area, with the hash that the public area names in
front of it. Whatever has no public area is called by its handle. A Qualified Name also depends on every ancestor.
"""

from __future__ import annotations

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_HT
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PUBLIC
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import BytesLike, shown, whole

__all__ = ["handle_name", "name_of", "qualified_name"]

_CALLED_BY_HANDLE = (
    *(TPM_HT.PCR, TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION),
    *(TPM_HT.PERMANENT, TPM_HT.AC),
)
"""Types of handle whose entities have no public area."""


def name_of(public: TPMT_PUBLIC | TPMS_NV_PUBLIC | int) -> bytes:
    """Return the Name of an object or NV index by its public area, or of another entity by its handle.

    The digest is taken of the bytes that were received, where the public area was decoded. An object whose nameAlg is
    NULL has an empty Name.

    Parameters
    ----------
    public : TPMT_PUBLIC, TPMS_NV_PUBLIC or int
        The public area; or the handle of a PCR, a session, a hierarchy or the like.

    Raises
    ------
    TpmMisuseError
        If it is something else, or a handle whose entity has a public area.
    TpmUnavailableError
        If this Python has no such hash.
    """
    if isinstance(public, TPMT_PUBLIC | TPMS_NV_PUBLIC):
        if public.nameAlg == TPM_ALG_ID.NULL:
            return b""
        return _named(public.nameAlg, public.encode())
    return handle_name(public)


def handle_name(handle: int) -> bytes:
    """Return the Name of an entity that has no public area: its handle, in four bytes.

    >>> handle_name(0x40000001).hex()
    '40000001'

    Raises
    ------
    TpmMisuseError
        If it is no handle, or that of an object or an NV index.
    """
    number = whole(handle, "handle", 0, 0xFFFFFFFF, error=TpmMisuseError)
    if number >> 24 not in _CALLED_BY_HANDLE:
        raise TpmMisuseError(
            f"0x{number:08x} is the handle of something with a public area",
            where="handle",
            expected="a PCR, a session or a permanent handle",
            hint="its Name is a digest of its public area",
        )
    return number.to_bytes(4, "big")


def qualified_name(name: BytesLike, parent: BytesLike | int) -> bytes:
    """Return the Qualified Name of an object.

    Parameters
    ----------
    name : bytes-like
        Its Name.
    parent : bytes-like or int
        The Qualified Name of its parent; for a primary object the handle of its hierarchy.

    Raises
    ------
    TpmMisuseError
        If `name` is no Name of an object.
    """
    own = octets(name, "name")
    above = handle_name(parent) if isinstance(parent, int) else octets(parent, "parent")
    if len(own) < 2:
        raise TpmMisuseError(shown(own), where="name", expected="a hash algorithm and a digest")
    algorithm = int.from_bytes(own[:2], "big")
    if len(own) != 2 + hash_of(algorithm, "name").size:
        raise TpmMisuseError(f"{len(own)} bytes", where="name", expected=f"{2 + hash_of(algorithm, 'name').size} bytes")
    return _named(algorithm, above + own)


def _named(algorithm: int, data: bytes) -> bytes:
    return int(algorithm).to_bytes(2, "big") + hash_of(int(algorithm), "nameAlg").digest(data)
