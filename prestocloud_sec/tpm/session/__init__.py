# SPDX-License-Identifier: Apache-2.0
"""Authorization, encryption and audit of commands: the mathematics of sessions, and the machines that do it.

`authorize` makes an `Exchange` of a command and up to three sessions; `SessionStart` makes sessions. The formulas they
use are functions of their own in `prestocloud_sec.tpm.session.formulas`.
"""

from __future__ import annotations

from prestocloud_sec.tpm.session.auth_value import AuthValue, AuthValueLike, auth_value
from prestocloud_sec.tpm.session.authorize import MOST_SESSIONS, authorize
from prestocloud_sec.tpm.session.base import PASSWORD, PasswordAuthorization, Session, SessionState, Use
from prestocloud_sec.tpm.session.changes import auth_after
from prestocloud_sec.tpm.session.cipher import ParameterCipher
from prestocloud_sec.tpm.session.exchange import Exchange
from prestocloud_sec.tpm.session.formulas import (
    audit_extend,
    command_hmac,
    cp_hash,
    response_hmac,
    rp_hash,
    session_key,
)
from prestocloud_sec.tpm.session.sessions import Binding, HmacSession, PolicySession
from prestocloud_sec.tpm.session.start import SessionKind, SessionStart

__all__ = [
    "MOST_SESSIONS",
    "PASSWORD",
    "AuthValue",
    "AuthValueLike",
    "Binding",
    "Exchange",
    "HmacSession",
    "ParameterCipher",
    "PasswordAuthorization",
    "PolicySession",
    "Session",
    "SessionKind",
    "SessionStart",
    "SessionState",
    "Use",
    "audit_extend",
    "auth_after",
    "auth_value",
    "authorize",
    "command_hmac",
    "cp_hash",
    "response_hmac",
    "rp_hash",
    "session_key",
]
