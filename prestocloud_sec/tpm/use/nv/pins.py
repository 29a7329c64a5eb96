# SPDX-License-Identifier: Apache-2.0
"""NV indices that hold a PIN."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from prestocloud_sec.tpm.errors import (
    AuthFailError,
    TpmMisuseError,
    TpmResponseError,
)
from prestocloud_sec.tpm.hashes import HashName
from prestocloud_sec.tpm.spec.attributes import TPMA_NV
from prestocloud_sec.tpm.spec.constants import TPM_NT, TPM_RC, TPM_RH
from prestocloud_sec.tpm.spec.structures.nv import TPMS_NV_PIN_COUNTER_PARAMETERS
from prestocloud_sec.tpm.use._doing import secret_session
from prestocloud_sec.tpm.use.nv.space import WORD, NvSpace
from prestocloud_sec.tpm.use.objects import srk
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.session import AuthValueLike

__all__ = ["NvPinFail", "NvPinPass"]

NV = TPMA_NV


class _NvPin(NvSpace):
    """What both types of PIN have in common."""

    _ATTRIBUTES: ClassVar[TPMA_NV]

    @classmethod
    def define(cls, client: Client, index: int, pin: AuthValueLike, limit: int, *, hash: HashName = "sha256") -> Self:
        """Define an index.

        Parameters
        ----------
        client : Client
            The TPM, whose owner authorizes, now and whenever the PIN is to start anew.
        index : int
            01000000 to 01ffffff.
        pin : AuthValue, bytes-like or str
            The PIN.
        limit : int
            How often.
        hash : HashAlgorithm, int or str
            The hash of its Name.

        Raises
        ------
        NvDefinedError, NvSpaceError, TpmMisuseError
            As of `NvData.define`.
        """
        attributes = NV.AUTHREAD | NV.OWNERREAD | NV.OWNERWRITE | cls._ATTRIBUTES
        _limits(0, limit)
        made = cls._define(client, index, WORD, attributes, pin, None, hash, {})
        made.handle.set_auth(b"")  # it is not this side's to know
        made.reset(limit)
        return made

    @property
    def state(self) -> tuple[int, int]:
        """How often it was counted, and the limit, as the owner reads them."""
        raw = self.client.nv_read(TPM_RH.OWNER, self.handle, WORD, 0)
        found = TPMS_NV_PIN_COUNTER_PARAMETERS.decode(raw)
        return found.pinCount, found.pinLimit

    def reset(self, limit: int | None = None, *, count: int = 0) -> None:
        """Start anew, for which the owner authorizes.

        Parameters
        ----------
        limit : int, optional
            The new limit; the one that it has, if not given.
        count : int
            Where counting begins.
        """
        wanted = _limits(count, self.state[1] if limit is None else limit)
        self.client.nv_write(TPM_RH.OWNER, self.handle, wanted.encode(), 0)

    def check(self, pin: AuthValueLike) -> bool:
        """Try a PIN, which is never sent, and counted as the type says.

        Returns
        -------
        bool
            Whether it is the PIN, and can still be used.
        """
        self.handle.set_auth(pin)
        try:
            with secret_session(self.client, srk(self.client)) as session:
                self.client.nv_read(self.handle, self.handle, WORD, 0, sessions=[session])
        except TpmResponseError as error:
            if isinstance(error, AuthFailError) or error.name == TPM_RC.AUTH_UNAVAILABLE.name:
                return False
            raise
        finally:
            self.handle.set_auth(b"")
        return True


class NvPinFail(_NvPin):
    """A PIN that can be tried only so often: wrong tries are counted, and a right one starts anew.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     pin = NvPinFail.define(client, 0x01500004, "1234", 3)
    ...     pin.check("4321"), pin.check("0000"), pin.state, pin.check("1234"), pin.state
    (False, False, (2, 3), True, (0, 3))
    """

    _TYPE = TPM_NT.PIN_FAIL
    _ATTRIBUTES = NV.NO_DA  # it does its own counting


class NvPinPass(_NvPin):
    """A PIN that can be used only so often: right uses are counted. Wrong ones count as those of any other value do.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     pin = NvPinPass.define(client, 0x01500005, "1234", 2)
    ...     pin.check("1234"), pin.check("1234"), pin.check("1234"), pin.state
    (True, True, False, (2, 2))
    """

    _TYPE = TPM_NT.PIN_PASS
    _ATTRIBUTES = NV(0)


def _limits(count: int, limit: int) -> TPMS_NV_PIN_COUNTER_PARAMETERS:
    numbers = [
        whole(number, name, 0, 0xFFFFFFFF, error=TpmMisuseError)
        for number, name in ((count, "count"), (limit, "limit"))
    ]
    return TPMS_NV_PIN_COUNTER_PARAMETERS(*numbers)
