# SPDX-License-Identifier: Apache-2.0
"""TPM2_GetCapability, asked until everything was told.

A TPM answers with as much as fits, and says whether there is more (Part 3, 30.2). Where to go on depends on what is
listed; a table says how. TPMs have been seen that say there is more and give none, or go on into another list; so what
does not advance ends the questions, and what is outside of the asked range is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from prestocloud_sec.tpm.client.entities import SESSIONS, number_of
from prestocloud_sec.tpm.client.residence import Steps, asked
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.spec.commands import GetCapability
from prestocloud_sec.tpm.spec.constants import TPM_CAP
from prestocloud_sec.wire import whole

__all__ = ["everything"]

_MOST_AT_ONCE = 0xFFFF
"""How many are asked for; a TPM gives as many as it can."""

_MOST_ANSWERS = 1024
"""How often a TPM is asked for the rest of a list; one that tells its handles one by one has fewer."""

_COMMAND = 0x2000FFFF
"""The bits of a TPMA_CC that make a command code: index, and whether it is a vendor's."""


class Order(NamedTuple):
    """How a list goes on."""

    key: Callable[[Any], int]
    """Returns the number of an element, which the next question is counted from."""
    group: int = 0xFFFFFFFF
    """How many numbers belong together from a multiple of this on; later ones are another list."""


_ORDERS: Mapping[int, Order] = {
    TPM_CAP.ALGS: Order(lambda each: int(each.alg)),
    TPM_CAP.HANDLES: Order(int, 1 << 24),
    TPM_CAP.COMMANDS: Order(lambda each: int(each) & _COMMAND),
    TPM_CAP.PP_COMMANDS: Order(int),
    TPM_CAP.AUDIT_COMMANDS: Order(int),
    TPM_CAP.TPM_PROPERTIES: Order(lambda each: int(each.property), 0x100),
    TPM_CAP.PCR_PROPERTIES: Order(lambda each: int(each.tag)),
    TPM_CAP.ECC_CURVES: Order(int),
    TPM_CAP.AUTH_POLICIES: Order(lambda each: int(each.handle), 1 << 24),
    TPM_CAP.ACT: Order(lambda each: int(each.handle), 1 << 24),
}
"""How the lists go on; those that are not here come whole."""


def everything(capability: TPM_CAP, first: int = 0) -> Steps[tuple[Any, ...]]:
    """Return all that a TPM lists under a capability, from a number on.

    Parameters
    ----------
    capability : TPM_CAP
        What.
    first : int
        The number to begin with. Of handles and properties, those of the same kind are listed.

    Raises
    ------
    TpmFormatError
        If the TPM answers with another list than was asked for, or with one that does not end.
    TpmResponseError
        If it refuses.
    TpmMisuseError
        If an argument is no such number.
    """
    first = number_of(first, "first")
    order = _ORDERS.get(whole(capability, "capability", 0, 0xFFFFFFFF, error=TpmMisuseError))
    if capability == TPM_CAP.HANDLES and first >> 24 in SESSIONS:
        order = Order(lambda each: first & ~0xFFFFFF | each & 0xFFFFFF, 1 << 24)  # both kinds are listed together
    found: list[Any] = []
    last = first - 1
    for _ in range(_MOST_ANSWERS):
        _, parameters = yield from asked(GetCapability(capability, last + 1 if order else first, _MOST_AT_ONCE))
        answer = GetCapability.Response.decode_parameters(parameters)
        if answer.capabilityData.capability != capability:
            raise TpmFormatError(
                f"0x{int(answer.capabilityData.capability):x}", where="capability", expected=f"0x{int(capability):x}"
            )
        if order is None:
            return tuple(answer.capabilityData.data)
        end = first // order.group * order.group + order.group
        new = [each for each in answer.capabilityData.data if last < order.key(each) < end]
        found += new
        if not new or not answer.moreData or order.key(new[-1]) + 1 >= end:
            return tuple(found)
        last = order.key(new[-1])
    raise TpmFormatError(
        f"more to come after {_MOST_ANSWERS} answers", where="GetCapability", expected="a list that ends"
    )
