# SPDX-License-Identifier: Apache-2.0
"""Keys for simulated nodes, and the addresses they are taken to have.

Searches are about addresses; nothing in the simulator encrypts. So a node needs a key that has an address, and no
private half. Two kinds:

- ``"hashed"``: random keys whose double SHA-512 begins with fc, found by trying: real in every respect but that nobody
  has their private halves. About 0.4 ms each.
- ``"registered"``: 32 random bytes, with an address of 15 random bytes after fc that only the simulator's register
  knows. As random as the others, and free; the right kind for thousands of nodes.

A key that is not in the register has the address it hashes to, as outside.
"""

from __future__ import annotations

from random import Random

from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.keys import Address, PublicKey
from prestocloud_sec.cjdns.routing._checks import check_type
from prestocloud_sec.wire import shown

__all__ = ["Keyring"]

_KINDS = ("hashed", "registered")


class Keyring:
    """Makes keys, and says which address a key has.

    Parameters
    ----------
    random : random.Random
        Where the bytes come from: the same seed, the same keys.
    kind : {"registered", "hashed"}
        See the module's text.
    """

    def __init__(self, random: Random, kind: str = "registered") -> None:
        check_type(random, Random, "random")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise CjdnsMisuseError(shown(kind), where="keys", expected=" or ".join(_KINDS))
        self._random = random
        self._kind = kind
        self._addresses: dict[bytes, Address] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def make(self) -> PublicKey:
        """Return a new key that has an address."""
        key = PublicKey(self._random.randbytes(32))
        if self._kind == "hashed":
            while not key.is_routable:
                key = PublicKey(self._random.randbytes(32))
            return self.register(key, key.address)
        return self.register(key, Address(b"\xfc" + self._random.randbytes(15)))

    def register(self, key: PublicKey, address: Address) -> PublicKey:
        """Let a key have an address, whatever it hashes to; return the key."""
        check_type(key, PublicKey, "key")
        check_type(address, Address, "address")
        self._addresses[key.raw] = address
        return key

    def address_of(self, key: PublicKey) -> Address:
        """Return the address of a key; AddressError where it has none."""
        check_type(key, PublicKey, "key")
        known = self._addresses.get(key.raw)
        return Address.from_key(key) if known is None else known
