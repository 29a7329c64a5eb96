# SPDX-License-Identifier: Apache-2.0
"""What every TPM has, as handle objects: hierarchies and PCRs. No command is sent for them."""

from __future__ import annotations

from typing import NoReturn

from prestocloud_sec.tpm.client.core import Core
from prestocloud_sec.tpm.client.entities import number_of
from prestocloud_sec.tpm.client.handles import Hierarchy, Pcr
from prestocloud_sec.tpm.client.protection import Protection
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.constants import TPM_HT, TPM_RH
from prestocloud_sec.wire import whole

__all__ = ["Standing"]


class Standing:
    """The part of a client that needs no TPM to answer."""

    core: Core

    @property
    def owner(self) -> Hierarchy:
        """The storage hierarchy."""
        return self.hierarchy(TPM_RH.OWNER)

    @property
    def endorsement(self) -> Hierarchy:
        """The endorsement hierarchy."""
        return self.hierarchy(TPM_RH.ENDORSEMENT)

    @property
    def platform(self) -> Hierarchy:
        """The platform hierarchy."""
        return self.hierarchy(TPM_RH.PLATFORM)

    @property
    def lockout(self) -> Hierarchy:
        """The authority over dictionary-attack lockout."""
        return self.hierarchy(TPM_RH.LOCKOUT)

    @property
    def null(self) -> Hierarchy:
        """The null hierarchy, whose objects end with the next start."""
        return self.hierarchy(TPM_RH.NULL)

    def hierarchy(self, handle: int) -> Hierarchy:
        """Return the handle object of a permanent handle.

        Raises
        ------
        TpmMisuseError
            If it is none.
        """
        number = number_of(handle)
        if number >> 24 != TPM_HT.PERMANENT:
            raise TpmMisuseError(f"0x{number:08x}", where="handle", expected="40000000 to 40ffffff")
        return Hierarchy(self, self.core.registry.of(number))

    def pcr(self, index: int) -> Pcr:
        """Return the handle object of a PCR.

        Raises
        ------
        TpmMisuseError
            If it is not from 0 to 31.
        """
        return Pcr(self, self.core.registry.of(whole(index, "index", 0, 31, error=TpmMisuseError)))

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse: nonces of sessions must roll for one holder only, and a way to a TPM is in no pickle."""
        raise TpmMisuseError("a client can be neither copied nor pickled", where=repr(self), hint="connect again")

    @property
    def protection(self) -> Protection | None:
        """Which sessions commands get that the caller names none for; None if they get passwords."""
        return self.core.protection


def protection_of(protect: object) -> Protection | None:
    """Return what a caller gave: True for the usual protection, False for none, or one of his own."""
    if protect is True:
        return Protection()
    if protect is False or protect is None:
        return None
    if not isinstance(protect, Protection):
        raise TpmMisuseError(f"a {type(protect).__name__}", where="protect", expected="True, False or a Protection")
    return protect
