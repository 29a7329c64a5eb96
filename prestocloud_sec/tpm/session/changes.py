# SPDX-License-Identifier: Apache-2.0
"""Commands that change the value they are authorized with.

Source: TPM 2.0 Library, Part 1, 17.6.4 (the response is keyed with the new value); Part 3, the commands. Which commands
do so, and that TPM2_ObjectChangeAuth does not (the object that is loaded keeps its value), is as libtpms 0.9.2 has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import buffer
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session.auth_value import AuthValue
from prestocloud_sec.wire import items_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["auth_after"]

_LOCKOUT = (0x4000000A).to_bytes(4, "big")


def _first_value(_names: Sequence[bytes], parameters: bytes) -> AuthValue:
    size = int.from_bytes(parameters[:2], "big")
    if len(parameters) < 2 + size:
        what = f"{len(parameters)} bytes"
        raise TpmMisuseError(what, where="parameters", expected="a TPM2B_AUTH first")
    return AuthValue(parameters[2 : 2 + size])


def _none_left(_names: Sequence[bytes], _parameters: bytes) -> AuthValue:
    return AuthValue()


def _cleared(names: Sequence[bytes], _parameters: bytes) -> AuthValue | None:
    return AuthValue() if names and names[0] == _LOCKOUT else None


AFTER: dict[int, Callable[[Sequence[bytes], bytes], AuthValue | None]] = {
    0x011F: _none_left,  # NV_UndefineSpaceSpecial: the index is gone
    0x0126: _cleared,  # Clear empties the value of lockout, not that of platform
    0x0129: _first_value,  # HierarchyChangeAuth
    0x013B: _first_value,  # NV_ChangeAuth
    0x0183: _first_value,  # PCR_SetAuthValue
}
"""The commands after which the handle of the first session has another value, and how to find it."""


def auth_after(code: int, names: Sequence[BytesLike], parameters: BytesLike) -> AuthValue | None:
    """Return the value that the first handle of a command has after it; None if it is the one it had before.

    Parameters
    ----------
    code : int
        The TPM_CC.
    names : sequence of bytes-like
        The Names of the handles.
    parameters : bytes-like
        The parameter area before encryption.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, or the parameters end before the new value does.
    """
    find = AFTER.get(whole(code, "code", 0, 0xFFFFFFFF, error=TpmMisuseError))
    found = [buffer(name, "name") for name in items_of(names, "names", "bytes", error=TpmMisuseError)]
    area = octets(parameters, "parameters")
    return None if find is None else find(found, area)
