# SPDX-License-Identifier: Apache-2.0
"""Who we are, who the peer is, and whether it may: all of CryptoAuth that concerns permanent keys and passwords.

A `Peer` keeps the permanent keys of both sides, our credentials and the table of users, and checks the clear header of
a handshake packet in the order of cjdns v21.1 (``crypto/CryptoAuth.c``, ``decryptHandshake``): the key (6), the user's
address (7), whether a user is required (8), whether a named user is known (9).
"""

from __future__ import annotations

from prestocloud_sec.cjdns.cryptoauth.auth import Credentials
from prestocloud_sec.cjdns.cryptoauth.handshake import ClearHeader
from prestocloud_sec.cjdns.cryptoauth.profiles import Profile
from prestocloud_sec.cjdns.cryptoauth.secrets import KeepsSecrets, PairSecret
from prestocloud_sec.cjdns.cryptoauth.users import User, Users
from prestocloud_sec.cjdns.errors import (
    AddressError,
    AddressRestrictedError,
    AuthenticationRequiredError,
    CjdnsMisuseError,
    UnrecognizedAuthenticationError,
    WrongPermanentKeyError,
)
from prestocloud_sec.cjdns.identity import PublicKey, address_bytes
from prestocloud_sec.cjdns.keys import PrivateKey

__all__ = ["Peer"]

_A_BIT = b"\x80\x00"
_NO_ADDITIONAL = b"\x00\x00"


class Peer(KeepsSecrets):
    """The two ends of a session.

    Parameters
    ----------
    private_key : PrivateKey
        Ours.
    key : PublicKey or None
        The peer's, if known beforehand; otherwise that of its first authentic handshake is kept.
    users : Users or None
        Who may connect by password.
    require_auth : bool
        Whether a handshake without a known user is refused.
    profile : Profile
        See `prestocloud_sec.cjdns.cryptoauth.profiles`.
    authenticate : bool
        Whether to set the A bit.
    quirks : bool
        Leave it to the caller to check that keys give addresses, as C does.
    max_derivations : int
        Most rounds of hashing to do for a peer.
    """

    __slots__ = (
        "_pair",
        "authenticate",
        "credentials",
        "key",
        "max_derivations",
        "own",
        "private",
        "profile",
        "provisional",
        "quirks",
        "require_auth",
        "users",
    )

    def __init__(
        self,
        private_key: PrivateKey,
        key: PublicKey | None,
        users: Users | None,
        *,
        require_auth: bool,
        profile: Profile,
        authenticate: bool,
        quirks: bool,
        max_derivations: int,
    ) -> None:
        self.private = private_key
        self.own = private_key.public.raw
        self.users = users
        self.require_auth = require_auth
        self.profile = profile
        self.authenticate = authenticate
        self.quirks = quirks
        self.max_derivations = max_derivations
        self.credentials: Credentials | None = None
        self.key: bytes | None = None
        self.provisional = False
        self._pair = PairSecret()
        if key is not None:
            raw = key.raw
            if raw == self.own:
                raise CjdnsMisuseError("the peer's key is our own", where="peer_key", expected="another node's key")
            if not quirks and not key.is_routable:
                raise _not_a_node()
            self.key = raw

    def unknown(self) -> CjdnsMisuseError:
        """Say that the peer's key is not known."""
        hint = "wait for a hello"
        if self.profile.connect_to_me:
            hint += ", or send connect_to_me()"
        return CjdnsMisuseError("the peer's key is not known", where="Session", hint=hint)

    def check_key(self, key: bytes, *, hello: bool) -> None:
        """Refuse a handshake that does not come from the peer, or from somebody who cannot be one.

        Raises
        ------
        WrongPermanentKeyError
            If the session has another peer, or the key is our own.
        AddressError
            If the key is new and does not hash into fc00::/8.
        """
        if key == self.key:
            return
        if self.key is not None and not (self.provisional and hello):
            raise WrongPermanentKeyError(
                "the packet is from another node than this session's peer",
                where="handshake.public_key",
                offset=40,
                hint="make a session for that node",
            )
        if not self.quirks:
            self._check_strange_key(key)

    def authenticate_header(self, header: ClearHeader) -> tuple[User | None, bytes | None]:
        """Return the user that the header names and the secret of its password, or None and None.

        Raises
        ------
        AddressRestrictedError, AuthenticationRequiredError, UnrecognizedAuthenticationError
            If the user may not be used from this key, or is missing, or unknown.
        """
        named = header.matched[0] != 0
        user = self.users.lookup(header.matched) if named and self.users is not None else None
        if user is None:
            if self.require_auth:
                raise AuthenticationRequiredError(
                    "no known user", where="handshake.auth", offset=4, hint="the peer needs a password for this node"
                )
            if named:
                raise UnrecognizedAuthenticationError("unknown user", where="handshake.auth", offset=4)
            return None, None
        restricted = user.restrict_to
        if restricted is not None and address_bytes(header.public_key) != restricted.packed:
            raise AddressRestrictedError(
                f"user {user.name!a} may not connect from this node", where="handshake.public_key", offset=40
            )
        return user, self._secret_of(user, header.derivations)

    def pair_with(self, key: bytes) -> PairSecret:
        """Return the secrets of our permanent key and `key`: those we keep if it is the peer's, else new ones."""
        return self._pair if key == self.key else PairSecret()

    def meet(self, key: bytes, pair: PairSecret) -> None:
        """Take `key` as the peer's from now on: an authentic handshake came from it."""
        if pair is not self._pair:
            self._pair.wipe()
            self._pair = pair
        self.key = key
        self.provisional = False

    def introduce(self, key: bytes) -> None:
        """Take `key` as the peer's until a handshake says otherwise: a connect-to-me packet names it, unproven.

        Raises
        ------
        WrongPermanentKeyError, AddressError
            As `check_key`.
        """
        self._check_strange_key(key)
        self.key = key
        self.provisional = True

    def forget_unproven(self) -> None:
        """Give up a key that only a connect-to-me packet named."""
        if self.provisional:
            self.key = None
            self.provisional = False
            self._pair.wipe()

    def auth_field(self, noise: bytes) -> bytes:
        """Return the 12 bytes of our authentication field; where it says nothing, from the beginning of `noise`."""
        additional = _A_BIT if self.profile.plain_data and self.authenticate else _NO_ADDITIONAL
        mine = self.credentials
        if mine is None:
            return b"\x00" + noise[1:10] + additional
        return mine.matched + mine.derivations.to_bytes(2, "big") + additional

    def wipe(self) -> None:
        """Forget the secrets kept here (the private key is the caller's)."""
        self._pair.wipe()
        self.credentials = None

    def _secret_of(self, user: User, derivations: int) -> bytes:
        if self.users is None or not self.profile.derivations:
            return user.secret
        if derivations > self.max_derivations:
            raise UnrecognizedAuthenticationError(
                f"{derivations} derivations",
                where="handshake.auth.derivations",
                offset=12,
                expected=f"at most {self.max_derivations}",
            )
        return self.users.secret(user, derivations)

    def _check_strange_key(self, key: bytes) -> None:
        if key == self.own:
            raise WrongPermanentKeyError(
                "the key is our own", where="peer key", hint="a packet came back to its sender"
            )
        if address_bytes(key)[0] != 0xFC:
            raise _not_a_node()


def _not_a_node() -> AddressError:
    return AddressError(
        "the key does not hash into fc00::/8", where="peer key", expected="a key whose address begins with fc"
    )
