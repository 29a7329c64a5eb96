# SPDX-License-Identifier: Apache-2.0
"""What clients offer beyond single commands, as generators; `Client` and `AsyncClient` drive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm.client.capabilities import everything
from prestocloud_sec.tpm.client.entities import NV, Entity, number_of
from prestocloud_sec.tpm.client.frames import plain
from prestocloud_sec.tpm.client.properties import Properties
from prestocloud_sec.tpm.client.residence import Steps
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.spec.commands import Shutdown
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_HT, TPM_PT, TPM_SU

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client.core import Core

__all__ = ["close_all", "find_object", "find_persistent", "nv_index", "read_properties"]


def find_persistent(core: Core, handle: int) -> Steps[Entity]:
    """Return a persistent object, with its public area as it is now."""
    return (yield from _found(core, handle, (TPM_HT.PERSISTENT,), "81000000 to 81ffffff"))


def nv_index(core: Core, handle: int) -> Steps[Entity]:
    """Return an NV index, with its public area as it is now."""
    return (yield from _found(core, handle, NV, "01000000 to 01ffffff"))


def find_object(core: Core, handle: int) -> Steps[Entity]:
    """Return a transient object, with its public area as it is now."""
    return (yield from _found(core, handle, (TPM_HT.TRANSIENT,), "80000000 to 80ffffff"))


def _found(core: Core, handle: int, kinds: tuple[int, ...], expected: str) -> Steps[Entity]:
    number = number_of(handle)
    if number >> 24 not in kinds:
        raise TpmMisuseError(f"0x{number:08x}", where="handle", expected=expected)
    entity = core.registry.of(number)
    if not entity.resident:
        yield from core.residence.load(entity, (entity,))
    try:
        yield from core.learn(entity)
    except BaseException:
        if entity.kind != TPM_HT.TRANSIENT:
            core.registry.drop(entity, "nothing has this handle")
        raise
    return core.registry.keep(entity)


def read_properties() -> Steps[Properties]:
    """Return all properties of the TPM."""
    fixed = yield from everything(TPM_CAP.TPM_PROPERTIES, TPM_PT.PT_FIXED)
    varying = yield from everything(TPM_CAP.TPM_PROPERTIES, TPM_PT.PT_VAR)
    return Properties((*fixed, *varying))


def close_all(core: Core) -> Steps[None]:
    """Flush what this client has left in the TPM, and shut the TPM down if this client has started it."""
    for entity in core.registry:
        yield from core.flush(entity)
    if core.has_started:
        core.has_started = False
        yield plain(Shutdown(TPM_SU.CLEAR))
