# SPDX-License-Identifier: Apache-2.0
"""Where the PrEstoCloud deliverable (3.3) and running cjdns nodes (v20 to v22) differ in CryptoAuth.

=====================  ==========================  ==============================================================
what                   ``profile="cjdns"``         ``profile="deliverable"``
=====================  ==========================  ==============================================================
connect-to-me          gone; ffffffff is a nonce   ffffffff, 120 bytes, only the permanent key counts
derivations            always 0                    rounds of SHA-256 beyond the first, chosen by the sender
A bit                  ignored                     either side sets it: all data packets carry an authenticator
key packet's key       must be the sender's        filler: present, but not looked at
data header            20 bytes                    20 bytes, or 4 if neither side sets the A bit or has a password
=====================  ==========================  ==============================================================

**Data packets of 4 bytes are not protected against change.** They are a stream cipher's output and nothing else: who
knows or guesses a byte of the plaintext can turn it into any other, on the way, unnoticed; any four bytes and more are
a valid packet; and a forged one moves the replay window and can complete a handshake. They exist because the
deliverable describes them. A session sends and accepts them only if it was made with ``authenticate=False``, which is
not the default; and even then not if the peer sets the A bit or either side used a password.

The A bit itself is bound by no authenticator. Who changes packets on the way can clear it; but a session made with
``authenticate=True`` insists on authenticators whatever it reads, so all that this can do is that nothing gets through.
A session with ``authenticate=False`` relies on its peer to insist.
"""

from __future__ import annotations

from dataclasses import dataclass

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import shown

__all__ = ["CJDNS", "DELIVERABLE", "Profile", "profile_of"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Which variant of the protocol to speak.

    Attributes
    ----------
    name : str
        What `Session` takes.
    connect_to_me : bool
        Whether ffffffff marks a connect-to-me packet.
    derivations : bool
        Whether bytes 12 and 13 of a handshake count rounds of hashing.
    key_packets_name_sender : bool
        Whether the permanent key in the clear header of a key packet has to be the sender's. It authenticates nothing:
        the box does.
    plain_data : bool
        Whether data packets without an authenticator can be agreed on.
    """

    name: str
    connect_to_me: bool
    derivations: bool
    key_packets_name_sender: bool
    plain_data: bool


CJDNS = Profile("cjdns", connect_to_me=False, derivations=False, key_packets_name_sender=True, plain_data=False)
"""As running nodes do it."""

DELIVERABLE = Profile(
    "deliverable", connect_to_me=True, derivations=True, key_packets_name_sender=False, plain_data=True
)
"""As the PrEstoCloud deliverable describes it."""

_PROFILES = {profile.name: profile for profile in (CJDNS, DELIVERABLE)}


def profile_of(name: str) -> Profile:
    """Return the profile of that name.

    Raises
    ------
    CjdnsMisuseError
        If there is none.
    """
    profile = _PROFILES.get(name) if isinstance(name, str) else None
    if profile is None:
        raise CjdnsMisuseError(shown(name), where="profile", expected=" or ".join(map(repr, _PROFILES)))
    return profile
