# SPDX-License-Identifier: Apache-2.0
"""Who may connect: the table a receiver looks users up in.

Source: cjdns v21.1 ``crypto/CryptoAuth.c``, ``CryptoAuth_addUser`` and ``getAuth``.

Every user is found both by the password (authentication type 1) and by the login (type 2). The first user added that
matches is the one; passwords of two users under one login, or one password under two logins, are therefore possible,
but only the first is ever found by the shared half.

A lookup is not secret, but how long finding it takes should not help in guessing the others. The table is therefore
keyed by a hash of the lookup under a key of its own: what takes time is independent of how much of a lookup is right,
and does not grow with the number of users.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from prestocloud_sec.cjdns._layout import octets
from prestocloud_sec.cjdns.cryptoauth.auth import MAX_DERIVATIONS, AuthType, derive, hash_password, lookup_of
from prestocloud_sec.cjdns.cryptoauth.secrets import KeepsSecrets
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, DuplicateUserError
from prestocloud_sec.cjdns.identity import Address
from prestocloud_sec.cjdns.keys import drawn
from prestocloud_sec.wire import BytesLike, whole

__all__ = ["User", "Users"]

_DERIVED = 256  # derived secrets kept


@dataclass(frozen=True, slots=True)
class User:
    """One who may connect.

    Attributes
    ----------
    login : bytes
        As given, or ``b"Anon #n"`` for a user without one.
    restrict_to : Address or None
        The only address this user may be used from.
    secret : bytes, 32 bytes
        ``SHA256(password)``; not shown.
    """

    login: bytes
    restrict_to: Address | None = None
    secret: bytes = field(default=b"", repr=False)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise CjdnsMisuseError(
            "holds secrets", where="User", expected="no copy and no pickle", hint="hand the object around"
        )

    def __copy__(self) -> User:
        return self  # it does not change, and leaves no trace outside this process

    def __deepcopy__(self, memo: object) -> User:
        return self

    def __post_init__(self) -> None:
        octets(self.login, "login")
        octets(self.secret, "secret")
        if self.restrict_to is not None and not isinstance(self.restrict_to, Address):
            raise CjdnsMisuseError(f"{type(self.restrict_to).__name__}", where="restrict_to", expected="Address")

    @property
    def name(self) -> str:
        """The login as text for people (bytes that are not UTF-8 are escaped)."""
        return self.login.decode("utf-8", "backslashreplace")


class Users(KeepsSecrets):
    """The users that sessions on the receiving side accept; many sessions can share one table.

    Parameters
    ----------
    limit : int
        Most users to hold.
    random : callable
        Gives the key of the index.

    Raises
    ------
    CjdnsMisuseError
        If `limit` is not 0 or more, or `random` is no random source.

    Examples
    --------
    >>> users = Users()
    >>> users.add(b"correct horse battery staple", login=b"edge-7")
    User(login=b'edge-7', restrict_to=None)
    >>> users.add(b"another").name
    'Anon #1'
    """

    def __init__(self, *, limit: int = 65536, random: Callable[[int], bytes] = os.urandom) -> None:
        self._limit = whole(limit, "limit", error=CjdnsMisuseError)
        self._key = drawn(random, 32)
        self._users: dict[tuple[bytes, bytes], User] = {}
        self._index: dict[bytes, list[User]] = {}
        self._derived: dict[tuple[bytes, int], bytes] = {}

    def add(self, password: BytesLike, *, login: BytesLike | None = None, restrict_to: Address | None = None) -> User:
        """Authorise a user and return it.

        Parameters
        ----------
        password : bytes-like
            What the user has to know.
        login : bytes-like, optional
            What the user may call itself. Without one it is named ``Anon #n``, *n* counting the users before it.
        restrict_to : Address, optional
            The address of the only node that may use it.

        Raises
        ------
        DuplicateUserError
            If there is a user with this password and this login.
        CjdnsMisuseError
            If an argument has the wrong type, or the table is full.
        """
        secret = hash_password(password)
        if len(self._users) >= self._limit:
            raise CjdnsMisuseError(f"{self._limit} users", where="Users", hint="remove one, or raise the limit")
        name = self._unused_name() if login is None else octets(login, "login")
        if (secret, name) in self._users:
            raise DuplicateUserError(
                "a user with this password and login is authorised already", where="Users.add", hint="remove it first"
            )
        user = User(name, restrict_to, secret)
        self._users[secret, name] = user
        for blinded in self._lookups(user):
            self._index.setdefault(blinded, []).append(user)
        return user

    def remove(self, user: User) -> None:
        """Withdraw a user; sessions it has opened go on until they are reset.

        Raises
        ------
        CjdnsMisuseError
            If it is not in the table.
        """
        if not isinstance(user, User) or self._users.get((user.secret, user.login)) != user:
            raise CjdnsMisuseError("no such user", where="Users.remove", expected="what add returned")
        del self._users[user.secret, user.login]
        for blinded in self._lookups(user):
            found = self._index[blinded]
            found.remove(user)
            if not found:
                del self._index[blinded]
        self._derived = {key: value for key, value in self._derived.items() if key[0] != user.secret}

    def lookup(self, matched: bytes) -> User | None:
        """Return the first user with these 8 bytes (type and lookup, `AuthField.matched`), or None."""
        found = self._index.get(self._blind(octets(matched, "matched")))
        return found[0] if found else None

    def secret(self, user: User, derivations: int = 0) -> bytes:
        """Return the user's secret after that many derivations; the latest 256 are kept."""
        if not isinstance(user, User):
            raise CjdnsMisuseError(f"{type(user).__name__}", where="user", expected="User")
        derivations = whole(derivations, "derivations", 0, MAX_DERIVATIONS, error=CjdnsMisuseError)
        if not derivations:
            return user.secret
        key = (user.secret, derivations)
        known = self._derived.get(key)
        if known is None:
            known = derive(user.secret, derivations)
            if len(self._derived) >= _DERIVED:
                del self._derived[next(iter(self._derived))]
            self._derived[key] = known
        return known

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[User]:
        return iter(tuple(self._users.values()))

    def __contains__(self, user: object) -> bool:
        return isinstance(user, User) and self._users.get((user.secret, user.login)) == user

    def __repr__(self) -> str:
        return f"Users({len(self)} of at most {self._limit})"

    def _unused_name(self) -> bytes:
        number = len(self._users)
        while self._blind(_by_login(b"Anon #%d" % number)) in self._index:
            number += 1
        return b"Anon #%d" % number

    def _lookups(self, user: User) -> tuple[bytes, bytes]:
        by_password = lookup_of(hashlib.sha256(user.secret).digest(), AuthType.PASSWORD)
        return self._blind(by_password), self._blind(_by_login(user.login))

    def _blind(self, matched: bytes) -> bytes:
        return hashlib.blake2b(matched, key=self._key, digest_size=16).digest()


def _by_login(login: bytes) -> bytes:
    return lookup_of(hashlib.sha256(login).digest(), AuthType.LOGIN)
