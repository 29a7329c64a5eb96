# SPDX-License-Identifier: Apache-2.0
"""What all calls here have in common: the client they are given, and sessions that keep secrets on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._secrets import KeepsSecrets
from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.client.methods import Methods
from prestocloud_sec.tpm.client.standing import Standing
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.session import ParameterCipher
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client, SessionHandle

__all__ = ["client_of", "handle_of", "secret_session"]


def client_of(client: object) -> Client:
    """Return a client; TpmMisuseError if it is none."""
    if not isinstance(client, Methods) or not hasattr(client, "start_session"):
        hint = "what awaits its commands is not driven by these calls" if isinstance(client, Standing) else None
        raise TpmMisuseError(shown(client), where="client", expected="a Client, as connect() returns it", hint=hint)
    return client  # type: ignore[return-value]


def handle_of(handle: object, where: str) -> Handle:
    """Return a handle object; TpmMisuseError if it is none, or what it stands for is gone."""
    if not isinstance(handle, Handle):
        keeps = isinstance(handle, KeepsSecrets) and isinstance(getattr(handle, "handle", None), Handle)
        hint = "give its .handle" if keeps else None
        raise TpmMisuseError(shown(handle), where=where, expected="a handle object of the client", hint=hint)
    handle._entity.check()
    return handle


@contextlib.contextmanager
def secret_session(client: Client, salt_key: int) -> Iterator[SessionHandle[Any]]:
    """Start a session that authorizes, and encrypts first parameters both ways; nobody on the way can tell its key.

    Parameters
    ----------
    client : Client
        The TPM.
    salt_key : int or Handle
        A key of the TPM that decrypts.
    """
    with client.start_session(cipher=ParameterCipher(), salt_key=salt_key) as session:
        yield session
