# SPDX-License-Identifier: Apache-2.0
# Written by scripts/tpm_client_methods.py from prestocloud_sec/tpm/spec/commands/sessions.py; edit that, and run it.
"""Sessions: a method for each command."""

from __future__ import annotations

from prestocloud_sec.tpm.client.core import Sessions
from prestocloud_sec.tpm.client.executor import Executor, live
from prestocloud_sec.tpm.client.handles import SessionHandle
from prestocloud_sec.tpm.spec.commands.sessions import PolicyRestart, StartAuthSession
from prestocloud_sec.tpm.spec.constants import TPM_SE
from prestocloud_sec.tpm.spec.declare import OrNull
from prestocloud_sec.tpm.spec.interfaces import TPMI_ALG_HASH, TPMI_DH_ENTITY, TPMI_DH_OBJECT, TPMI_SH_POLICY
from prestocloud_sec.tpm.spec.structures.buffers import TPM2B_ENCRYPTED_SECRET, TPM2B_NONCE
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SYM_DEF

__all__ = ["SessionsMethods"]


class SessionsMethods(Executor):
    """Sessions: a method for each command."""

    def start_auth_session(
        self,
        tpmKey: OrNull[TPMI_DH_OBJECT],
        bind: OrNull[TPMI_DH_ENTITY],
        nonceCaller: TPM2B_NONCE,
        encryptedSalt: TPM2B_ENCRYPTED_SECRET,
        sessionType: TPM_SE,
        symmetric: OrNull[TPMT_SYM_DEF],
        authHash: TPMI_ALG_HASH,
        *,
        sessions: Sessions = None,
    ) -> SessionHandle[StartAuthSession.Response]:
        """Start an HMAC, policy or trial session (Part 3, 11.1).

        Parameters
        ----------
        tpmKey : OrNull[TPMI_DH_OBJECT]
            Key that the salt is encrypted for; NULL for no salt.
        bind : OrNull[TPMI_DH_ENTITY]
            Entity whose authValue goes into the session key; NULL for none.
        nonceCaller : TPM2B_NONCE
            First nonce of the caller, at least 16 bytes.
        encryptedSalt : TPM2B_ENCRYPTED_SECRET
            The salt, encrypted for tpmKey.
        sessionType : TPM_SE
            Kind of session.
        symmetric : OrNull[TPMT_SYM_DEF]
            How parameters are encrypted; NULL for not at all.
        authHash : TPMI_ALG_HASH
            Hash of the session.
        sessions : sequence, optional
            See `Client`.

        Returns
        -------
        SessionHandle[StartAuthSession.Response]
            The session.
        """
        response = self.execute(
            StartAuthSession(
                live(self, tpmKey), live(self, bind), nonceCaller, encryptedSalt, sessionType, symmetric, authHash
            ),
            sessions,
        )
        return self._session(response.sessionHandle, response)

    def policy_restart(self, sessionHandle: TPMI_SH_POLICY, *, sessions: Sessions = None) -> None:
        """Start the policy of a session anew (Part 3, 11.2).

        Parameters
        ----------
        sessionHandle : TPMI_SH_POLICY
            The session.
        sessions : sequence, optional
            See `Client`.
        """
        self.execute(PolicyRestart(live(self, sessionHandle)), sessions)
