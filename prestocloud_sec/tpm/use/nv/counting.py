# SPDX-License-Identifier: Apache-2.0
"""NV indices that only go one way: counters, bits, and digests that are extended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import NvUninitializedError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.policy import Policy, Step
from prestocloud_sec.tpm.spec.constants import TPM_NT
from prestocloud_sec.tpm.use.nv.space import WORD, NvSpace, most_at_once, number_in, usual_attributes
from prestocloud_sec.wire import whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.session import AuthValueLike
    from prestocloud_sec.wire import BytesLike

__all__ = ["NvBits", "NvCounter", "NvExtend"]


class _NvWord(NvSpace):
    """An index that holds one big-endian number of eight bytes."""

    @classmethod
    def define(
        cls,
        client: Client,
        index: int,
        *,
        password: AuthValueLike = b"",
        policy: Policy | Step | None = None,
        owner: bool = False,
        lock: str | None = None,
        hash: HashName = "sha256",
        **options: Any,
    ) -> Self:
        """Define an index; parameters and errors as of `NvData.define`."""
        attributes = usual_attributes(password, policy, lock, owner=owner)
        return cls._define(client, index, WORD, attributes, password, policy, hash, options)


class NvCounter(_NvWord):
    """A number that only counts up, whatever is restored or defined anew.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     counter = NvCounter.define(client, 0x01500001)
    ...     counter.value, counter.increment(), counter.increment()
    (None, 1, 2)
    """

    _TYPE = TPM_NT.COUNTER

    @property
    def value(self) -> int | None:
        """The number; None before it is first counted up, for it does not begin at zero."""
        return number_in(self)

    def increment(self) -> int:
        """Count up, and return the number then."""
        with self._writing() as (who, sessions):
            self.client.nv_increment(who, self.handle, sessions=sessions)
        return int.from_bytes(self._read(), "big")


class NvBits(_NvWord):
    """64 bits that can be set, and never cleared: what is over and done with.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     bits = NvBits.define(client, 0x01500002)
    ...     bits.value, bits.set(0b101), bits.set(0b010)
    (None, 5, 7)
    """

    _TYPE = TPM_NT.BITS

    @property
    def value(self) -> int | None:
        """The bits; None before any is set."""
        return number_in(self)

    def set(self, bits: int) -> int:
        """Set bits, and return all that are set then."""
        wanted = whole(bits, "bits", 0, (1 << 64) - 1, error=TpmMisuseError)
        with self._writing() as (who, sessions):
            self.client.nv_set_bits(who, self.handle, wanted, sessions=sessions)
        return int.from_bytes(self._read(), "big")


class NvExtend(NvSpace):
    """A digest that is extended like a PCR: ``H(old || data)``, from zeros on.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     log = NvExtend.define(client, 0x01500003)
    ...     found = log.extend(b"an entry")
    >>> import hashlib
    >>> found == hashlib.sha256(bytes(32) + b"an entry").digest()
    True
    """

    _TYPE = TPM_NT.EXTEND

    @classmethod
    def define(
        cls,
        client: Client,
        index: int,
        *,
        password: AuthValueLike = b"",
        policy: Policy | Step | None = None,
        owner: bool = False,
        lock: str | None = None,
        hash: HashName = "sha256",
        **options: Any,
    ) -> Self:
        """Define an index; parameters and errors as of `NvData.define`. `hash` is what it is extended with."""
        attributes = usual_attributes(password, policy, lock, owner=owner)
        return cls._define(client, index, hash_of(hash).size, attributes, password, policy, hash, options)

    @property
    def value(self) -> bytes | None:
        """The digest; None before it is first extended."""
        try:
            return self._read()
        except NvUninitializedError:
            return None

    def extend(self, data: BytesLike) -> bytes:
        """Extend it with data, and return the digest then."""
        raw = octets(data, "data", most=most_at_once(self.client))
        with self._writing() as (who, sessions):
            self.client.nv_extend(who, self.handle, raw, sessions=sessions)
        return self._read()
