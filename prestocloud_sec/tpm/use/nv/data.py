# SPDX-License-Identifier: Apache-2.0
"""NV indices that hold bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import (
    TpmMisuseError,
)
from prestocloud_sec.tpm.hashes import HashName
from prestocloud_sec.tpm.policy import Policy, Step
from prestocloud_sec.tpm.spec.constants import TPM_NT
from prestocloud_sec.tpm.use.nv.space import NvSpace, most_at_once, usual_attributes, whole_of
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.session import AuthValueLike
    from prestocloud_sec.wire import BytesLike

__all__ = ["NvData"]


class NvData(NvSpace):
    """Bytes.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     data = NvData.define(client, 0x01500000, 2000, password="p")
    ...     data.write(b"kept here", 100)
    ...     data.read(9, 100), data
    (b'kept here', <NvData 0x01500000, 2000 bytes>)
    """

    _TYPE = TPM_NT.ORDINARY

    @classmethod
    def define(
        cls,
        client: Client,
        index: int,
        size: int,
        *,
        password: AuthValueLike = b"",
        policy: Policy | Step | None = None,
        owner: bool = False,
        lock: str | None = None,
        hash: HashName = "sha256",
        **options: Any,
    ) -> Self:
        """Define an index.

        Parameters
        ----------
        client : Client
            The TPM, whose owner authorizes.
        index : int
            01000000 to 01ffffff; 01c00000 and up are the TCG's.
        size : int
            Bytes.
        password : AuthValue, bytes-like or str
            Needed to read and write. Wrong ones are counted if there is one.
        policy : Policy, optional
            What has to hold instead of the password (`AuthValue` brings that back; without it, both are refused).
        owner : bool
            Whether the owner may read and write too.
        lock : str, optional
            ``"start"``: writing and reading can be locked until the next start; ``"good"``: writing for good.
        hash : HashAlgorithm, int or str
            The hash of its Name and policy.
        options
            ``choices`` and ``signer`` for the policy, as of `run_policy`.

        Raises
        ------
        NvDefinedError
            If there is such an index.
        NvSpaceError
            If there is no room.
        TpmMisuseError
            If an argument is not what it should be.
        """
        bytes_ = whole(size, "size", 0, 0xFFFF, error=TpmMisuseError)
        attributes = usual_attributes(password, policy, lock, owner=owner)
        return cls._define(client, index, bytes_, attributes, password, policy, hash, options)

    def read(self, size: int | None = None, offset: int = 0) -> bytes:
        """Return bytes of it: all from the offset on, if no size is given.

        Raises
        ------
        NvUninitializedError
            If it was never written.
        NvRangeError
            If there are not so many.
        """
        start = whole(offset, "offset", 0, 0xFFFF, error=TpmMisuseError)
        wanted = max(self.size - start, 0) if size is None else whole(size, "size", 0, 0xFFFF, error=TpmMisuseError)
        return whole_of(self.client, self.handle, lambda: self._reading(salted=True), start, wanted)

    def write(self, data: BytesLike, offset: int = 0) -> None:
        """Write bytes. If that takes several commands, and one of them fails, those before it have been carried out.

        Raises
        ------
        NvRangeError
            If they go past its end.
        NvLockedError
            If it is locked.
        """
        raw, start = octets(data, "data"), whole(offset, "offset", 0, 0xFFFF, error=TpmMisuseError)
        if start + len(raw) > self.size:
            where = f"data, at offset {start}"
            raise TpmMisuseError(f"{len(raw)} bytes", where=where, expected=f"at most {max(self.size - start, 0)}")
        most = most_at_once(self.client)
        for at in range(0, max(len(raw), 1), most):
            with self._writing(salted=True) as (who, sessions):
                self.client.nv_write(who, self.handle, raw[at : at + most], start + at, sessions=sessions)
