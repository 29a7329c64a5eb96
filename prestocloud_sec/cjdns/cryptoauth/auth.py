# SPDX-License-Identifier: Apache-2.0
"""The authentication field of a handshake, and what a password becomes.

Sources: cjdns v21.1 ``crypto/CryptoAuth.c``, ``getAuth`` and ``hashPassword``; cjdns Whitepaper, "Authentication
field"; PrEstoCloud deliverable, 3.3, figures 5 and 6.

A password is never sent. The field names it by a *lookup*, seven bytes by which the receiver finds the user among
those it has authorised:

=========  ==========================================================
type       lookup
=========  ==========================================================
0          none; random filler
1          bytes 1 to 7 of ``SHA256(SHA256(password))``
2          bytes 1 to 7 of ``SHA256(login)``
=========  ==========================================================

Byte 0 of the hash is lost to the type. (The deliverable counts bytes from 1, "2 through 8", and says "5 bytes" in one
place; its figure has seven, as running nodes have.) Whoever knows no more than the lookup can link packets of one user,
and can test guessed passwords against a type 1 lookup: use long ones.

**Derivations** exist in ``profile="deliverable"`` alone: that many further rounds of SHA-256 over ``SHA256(password)``
make the secret. The lookup is always that of no rounds, so that a receiver finds the user without trying every count
(as historic cjdns had it). With type 0 the field is filler and means nothing.

The last four bytes of the field are bound by no authenticator: who can change packets on the way can change
*derivations* and the *A bit*. Derivations only make the handshake fail; for the A bit see
`prestocloud_sec.cjdns.cryptoauth.profiles`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from prestocloud_sec.cjdns._layout import Flag, Layout, Number, Octets, Structure, octets
from prestocloud_sec.cjdns.cryptoauth.secrets import KeepsSecrets
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["MAX_DERIVATIONS", "AuthField", "AuthType", "Credentials", "derive", "hash_password", "lookup_of"]

MAX_DERIVATIONS = 0xFFFF
"""What the field can hold."""

_MATCHED = 8  # type and lookup: what a receiver compares


class AuthType(IntEnum):
    """How the sender of a handshake says who it is."""

    NONE = 0
    """It does not."""
    PASSWORD = 1
    """By a hash of the hash of its password."""
    LOGIN = 2
    """By a hash of its login."""


@dataclass(frozen=True, slots=True)
class AuthField(Structure):
    r"""The 12 bytes at offset 4 of a handshake packet.

    Attributes
    ----------
    type : int
        0, 1 or 2 (`AuthType`); others can be represented, but no user has them.
    lookup : bytes, 7 bytes
        Names the user; filler for type 0.
    derivations : int
        Rounds of SHA-256 beyond the first, 0 to 65535; filler for type 0.
    authenticate : bool
        The A bit, the highest bit of the byte at offset 14 of the packet: every packet of this session is to carry an
        authenticator.
    additional : int
        15 bits without a meaning, 0.

    Examples
    --------
    >>> AuthField.decode(bytes.fromhex("01c31dd97f3265200000" "8000"))
    AuthField(type=1, lookup=b'\xc3\x1d\xd9\x7f2e ', derivations=0, authenticate=True, additional=0)
    >>> print(AuthField.figure())
     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |      type     |                     lookup                    |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |                             lookup                            |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |          derivations          |a|          additional         |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    """

    type: int = AuthType.NONE
    lookup: bytes = bytes(7)
    derivations: int = 0
    authenticate: bool = False
    additional: int = 0

    LAYOUT: ClassVar[Layout] = Layout(
        "auth field",
        Number("type", 8),
        Octets("lookup", 56),
        Number("derivations", 16),
        Flag("authenticate"),
        Number("additional", 15),
    )

    @property
    def matched(self) -> bytes:
        """The 8 bytes that are compared with those of each user."""
        return bytes((self.type,)) + self.lookup

    @classmethod
    def figure(cls) -> str:
        """Draw the declared fields as RFCs do: 32 bits a row, each bit two characters wide, names cut to fit."""
        rule = "+-" * 32 + "+"
        tens = " " + "".join(f"{bit // 10:<2}" if bit % 10 == 0 else "  " for bit in range(32)).rstrip()
        ones = " " + " ".join(str(bit % 10) for bit in range(32))
        rows: list[str] = []
        for cell in cls.LAYOUT.cells(cls()):
            bit, left = cell.first_bit, cell.bits
            while left:
                width = min(left, 32 - bit % 32)
                if bit % 32 == 0:
                    rows.append("|")
                rows[-1] += cell.name[: 2 * width - 1].center(2 * width - 1) + "|"
                bit, left = bit + width, left - width
        return "\n".join((tens, ones, rule, *(line for row in rows for line in (row, rule))))


def hash_password(password: BytesLike) -> bytes:
    """Return the secret that a password makes without derivations: ``SHA256(password)``."""
    return hashlib.sha256(octets(password, "password")).digest()


def derive(secret: bytes, rounds: int) -> bytes:
    """Hash `secret` with SHA-256 `rounds` times more (PrEstoCloud deliverable, 3.3, "Authentication Field").

    Raises
    ------
    CjdnsMisuseError
        If `secret` is not bytes-like, or `rounds` not 0 to 65535.
    """
    secret, rounds = octets(secret, "secret"), whole(rounds, "rounds", 0, MAX_DERIVATIONS, error=CjdnsMisuseError)
    for _ in range(rounds):
        secret = hashlib.sha256(secret).digest()
    return secret


def lookup_of(hashed: bytes, kind: AuthType) -> bytes:
    """Return type and lookup (8 bytes) for ``SHA256(secret)`` or ``SHA256(login)``."""
    return bytes((kind,)) + hashed[1:_MATCHED]


@dataclass(frozen=True, slots=True)
class Credentials(KeepsSecrets):
    """What one side tells the other in its handshake: a password, perhaps with a login.

    Attributes
    ----------
    secret : bytes, 32 bytes
        Mixed into the key of the handshake; not shown.
    matched : bytes, 8 bytes
        Type and lookup.
    derivations : int
        Rounds that the secret has gone through beyond the first.
    """

    secret: bytes = field(repr=False)
    matched: bytes
    derivations: int = 0

    @classmethod
    def of(cls, password: BytesLike, login: BytesLike | None = None, *, derivations: int = 0) -> Credentials:
        """Make credentials of type 2 if there is a login, else of type 1.

        Raises
        ------
        CjdnsMisuseError
            If password or login are not bytes-like, or `derivations` is not 0 to 65535.
        """
        if type(derivations) is not int or not 0 <= derivations <= MAX_DERIVATIONS:
            raise CjdnsMisuseError(shown(derivations), where="derivations", expected=f"0 to {MAX_DERIVATIONS}")
        secret = hash_password(password)
        if login is None:
            matched = lookup_of(hashlib.sha256(secret).digest(), AuthType.PASSWORD)
        else:
            matched = lookup_of(hashlib.sha256(octets(login, "login")).digest(), AuthType.LOGIN)
        return cls(derive(secret, derivations), matched, derivations)
