# SPDX-License-Identifier: Apache-2.0
"""CryptoAuth: authenticated encryption between two nodes over anything that carries packets.

`Session` is the protocol, without I/O. The handshake's rules are at the head of
`prestocloud_sec.cjdns.cryptoauth.session`, its table of transitions in `prestocloud_sec.cjdns.cryptoauth.machine`. The
other modules are its parts, each readable alone:

=============  =====================================================================
`session`      what callers use, and the way that data takes
`machine`      the table of transitions, and what each packet of a handshake does
`core`         what a session holds, its clocks and resets
`exchange`     the temporary keys, counter and replay window of one handshake
`pending`      how replayed hellos are kept from ending live sessions
`peer`         permanent keys, passwords and users of the two ends
`handshake`    the 120-byte header and its box
`auth`         the authentication field
`secrets`      key agreement
`users`        who may connect
`replay`       the replay window
`cipher`       data packets one by one, by the short way to libsodium (`sodium`)
`batch`        many at once: `batch_session` decides what can be, `batch_kernel` does it
`statistics`   what a session counts
`profiles`     where the PrEstoCloud deliverable differs from running nodes
=============  =====================================================================
"""

from __future__ import annotations

from prestocloud_sec.cjdns.cryptoauth.auth import AuthField, AuthType
from prestocloud_sec.cjdns.cryptoauth.batch import BatchOpened
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher
from prestocloud_sec.cjdns.cryptoauth.exchange import SessionState
from prestocloud_sec.cjdns.cryptoauth.handshake import HANDSHAKE_SIZE, HandshakeHeader, PacketKind
from prestocloud_sec.cjdns.cryptoauth.machine import TRANSITIONS
from prestocloud_sec.cjdns.cryptoauth.replay import ReplayWindow
from prestocloud_sec.cjdns.cryptoauth.session import Session
from prestocloud_sec.cjdns.cryptoauth.statistics import Statistics
from prestocloud_sec.cjdns.cryptoauth.users import User, Users

__all__ = [
    "HANDSHAKE_SIZE",
    "TRANSITIONS",
    "AuthField",
    "AuthType",
    "BatchOpened",
    "DataCipher",
    "HandshakeHeader",
    "PacketKind",
    "ReplayWindow",
    "Session",
    "SessionState",
    "Statistics",
    "User",
    "Users",
]
