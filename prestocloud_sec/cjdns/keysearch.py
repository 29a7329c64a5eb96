# SPDX-License-Identifier: Apache-2.0
"""Searching for a node key whose address begins as one likes: the readable walk, and the front of the batch search.

Trying keys one by one costs a scalar multiplication each. A *walk* is cheaper: the point of the scalar ``s + 8`` is the
point of ``s`` plus a constant, so one scalar multiplication buys a whole row of keys. `walk` is that in plain Python;
`prestocloud_sec.cjdns.keysearch_kernel` does the same many times faster, and tests hold one against the other and both
against PyNaCl. The kernel is handed public points only; the scalar they belong to never leaves this module.

Why steps of 8: X25519 *clamps* a scalar when it uses it: it clears bits 0 to 2 and 255 and sets bit 254 (RFC 7748,
section 5). Scalars that are a multiple of 8 in ``[2**254, 2**255)`` are left alone by that, and ``s + 8 i`` stays among
them as long as it stays below ``2**255``. So the key of ``s + 8 i`` is what the walk says it is.

Why a walk never meets the point at infinity or divides by zero: two points of a block, ``s`` and ``8 i``, share a ``u``
only if ``s = +-8 i`` modulo the order of the base point, which is ``l = 2**252 + d`` with d about ``2**124.6``. Written
``s = 8 t``, that is ``t = +-i (mod l)``; but t lies in ``[2**251, 2**252)``, so i would have to exceed d.

Why a key found this way is as unpredictable as one drawn alone: see `search_vanity`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import nacl.bindings as sodium

from prestocloud_sec.cjdns import sign as signatures
from prestocloud_sec.cjdns.errors import (
    AddressError,
    CjdnsMisuseError,
    KeySearchFaultError,
    KeySearchLimitError,
)
from prestocloud_sec.cjdns.identity import KEY_SIZE, PublicKey, exact_text
from prestocloud_sec.cjdns.keys import PrivateKey, Random, drawn
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

__all__ = ["CURVE_A", "FIELD_PRIME", "STEP", "Progress", "Walk", "point_of", "search_vanity", "walk"]

FIELD_PRIME = 2**255 - 19
"""The prime of the field that Curve25519 is defined over."""

CURVE_A = 486662
"""The coefficient of Curve25519, ``v**2 = u**3 + A u**2 + u``."""

STEP = 8
"""Distance of neighbouring scalars of a walk."""

_EDWARDS_D = -121665 * pow(121666, -1, FIELD_PRIME) % FIELD_PRIME
_END = 1 << 255
_WORD = (1 << 64) - 1
_RESERVE = 1 << 64  # keys; more than any search can try, and as nothing in a space of 2**251
_ROWS = 256
_A_MOMENT = 1e-9
_REPORT_SECONDS = 0.5
_DRAWS = 64
_PREFIX = re.compile(r"[0-9A-Fa-f]{2,16}")

Point = tuple[int, int]


def _square_root(number: int) -> int:
    """Return a square root, known to exist, modulo the prime, which is 5 modulo 8 (RFC 8032, section 5.1.3)."""
    root = pow(number, (FIELD_PRIME + 3) // 8, FIELD_PRIME)
    if (root * root - number) % FIELD_PRIME:
        root = root * pow(2, (FIELD_PRIME - 1) // 4, FIELD_PRIME) % FIELD_PRIME
    return root


_SCALE = _square_root(-(CURVE_A + 2) % FIELD_PRIME)


def point_of(scalar: int) -> Point:
    """Return the affine point ``(u, v)`` on Curve25519 of a scalar, 1 to ``2**255 - 1``.

    libsodium multiplies the base point of Ed25519 (in constant time); its public result is carried over by
    ``u = (1 + y) / (1 - y)`` and ``v = sqrt(-A - 2) u / x`` (RFC 7748, section 4.1).
    """
    scalar = whole(scalar, "scalar", 1, _END - 1, error=CjdnsMisuseError)
    packed = int.from_bytes(
        sodium.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(KEY_SIZE, "little")), "little"
    )
    y, odd = packed & (_END - 1), packed >> 255
    x = _square_root((y * y - 1) * pow(_EDWARDS_D * y * y + 1, -1, FIELD_PRIME) % FIELD_PRIME)
    if x % 2 != odd:
        x = FIELD_PRIME - x
    u = (1 + y) * pow(1 - y, -1, FIELD_PRIME) % FIELD_PRIME
    return u, _SCALE * u * pow(x, -1, FIELD_PRIME) % FIELD_PRIME


def add_points(first: Point, second: Point) -> Point:
    """Return the sum of two points of Curve25519 with different ``u``."""
    (u, v), (other_u, other_v) = first, second
    slope = (other_v - v) * pow(other_u - u, -1, FIELD_PRIME) % FIELD_PRIME
    new_u = (slope * slope - CURVE_A - u - other_u) % FIELD_PRIME
    return new_u, (slope * (u - new_u) - v) % FIELD_PRIME


def walk(scalar: int) -> Iterator[PublicKey]:
    """Yield the public keys of ``scalar``, ``scalar + 8``, ``scalar + 16``, ...: the readable form of the batch search.

    Parameters
    ----------
    scalar : int
        A clamped scalar; the caller stops before ``2**255``.
    """
    point, step = point_of(scalar), point_of(STEP)
    while True:
        yield PublicKey(point[0].to_bytes(KEY_SIZE, "little"))
        point = add_points(point, step)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is.

    Attributes
    ----------
    tried : int
        Keys tried so far.
    expected : int
        Keys that have to be tried in the mean. The search has no memory: having tried many brings the end no nearer.
    rate : float
        Keys per second.
    """

    tried: int
    expected: int
    rate: float


@lru_cache(maxsize=1)
def _tables() -> tuple[Words, Words]:
    """Return ``u`` and ``v`` of the multiples of the step, as `keysearch_kernel.walk_block` takes them."""
    import numpy as np

    from prestocloud_sec.cjdns.keysearch_kernel import LANES, LIMB_BITS, limbs_of

    count = _ROWS * LANES
    step = point_of(STEP)
    multiples = [step, point_of(2 * STEP)]
    while len(multiples) < count:
        multiples.append(add_points(multiples[-1], step))
    multiples += [point_of(STEP * (2 * count + 1))] * LANES
    tables = []
    for coordinate in range(2):
        table = np.array([limbs_of(point[coordinate]) for point in multiples], dtype=np.uint64)
        shaped = np.ascontiguousarray(table.reshape(_ROWS + 1, LANES, len(LIMB_BITS)).transpose(0, 2, 1))
        shaped.flags.writeable = False
        tables.append(shaped)
    return tables[0], tables[1]


class Walk:
    """A walk of the kernel, from a clamped scalar upwards, block after block.

    It holds public points and where in the walk they lie, not the scalar.

    Parameters
    ----------
    scalar : int
        The clamped scalar of the first key; the walk must stay below ``2**255``.
    """

    def __init__(self, scalar: int) -> None:
        import numpy as np

        from prestocloud_sec.cjdns import keysearch_kernel

        lanes, limbs = keysearch_kernel.LANES, len(keysearch_kernel.LIMB_BITS)
        self._kernel = keysearch_kernel
        self._word: Any = np.uint64
        self._tables = _tables()
        middle = point_of(whole(scalar, "scalar", 1, error=CjdnsMisuseError) + STEP * _ROWS * lanes)
        self._centre = np.array([keysearch_kernel.limbs_of(value) for value in middle], dtype=np.uint64)
        self._centre = np.repeat(self._centre[:, :, None], lanes, axis=2)
        self._products = np.zeros((_ROWS + 2, limbs, lanes), dtype=np.uint64)
        self._work = np.zeros((8, limbs, lanes), dtype=np.uint64)
        self._keys = np.zeros((2 * _ROWS + 1, 4, lanes), dtype=np.uint64)
        self._hashes = np.zeros((2 * _ROWS + 1, lanes), dtype=np.uint64)
        self.width = 2 * _ROWS * lanes + 1
        self.tried = 0

    def search(self, mask: int, wanted: int, limit: int) -> bool:
        """Try the next block, or `limit` keys of it, and return whether one fits, whose place then is `tried`.

        A key fits if the first 64 bits of its double hash, as a big-endian number, give `wanted` under `mask`. Where
        none does, `tried` counts all keys tried. After a key is found, or after part of a block, the walk is over.
        """
        mask, wanted = (whole(word, "Walk.search", 0, _WORD, error=CjdnsMisuseError) for word in (mask, wanted))
        most = min(self.width, whole(limit, "limit", 1, error=CjdnsMisuseError))
        self._kernel.walk_block(self._centre, *self._tables, self._products, self._work, self._keys)
        self._kernel.hash_rows(self._keys, self._hashes)
        place = int(self._kernel.first_match(self._hashes, self._word(mask), self._word(wanted), most))
        self.tried += place
        return place < most

    def block(self) -> list[tuple[bytes, int]]:
        """Return each key of the block last walked, in order, with the first 64 bits of its double hash."""
        rows = len(self._keys) // 2
        keys = self._keys.transpose(0, 2, 1).astype("<u8", order="C")
        above = [(row, lane) for row in range(0, 2 * rows, 2) for lane in range(keys.shape[1])]
        below = [(row + 1, lane) for row, lane in reversed(above)]
        places = [*below, (2 * rows, 0), *above]
        return [(keys[place].tobytes(), int(self._hashes[place])) for place in places]

    def middle(self) -> bytes:
        """Return the public key in the middle of the block last walked."""
        return self._keys[-1, :, 0].astype("<u8").tobytes()


def _parse_prefix(text: str) -> tuple[int, int, int]:
    """Return the mask and value of the first 64 bits that a prefix asks for, and how many bits it fixes."""
    start = exact_text(text, "prefix")[:32]
    digits = start.replace(":", "")
    if len(text) > 32 or not _PREFIX.fullmatch(digits) or _misplaced_colon(text):
        raise AddressError(
            f"{start!a} is no prefix to search for",
            where="prefix",
            expected="2 to 16 hexadecimal digits, in groups of four if colons are used, like fc12:34",
        )
    bits = 4 * len(digits)
    value = int(digits, 16) << 64 - bits
    if value >> 56 != 0xFC:
        raise AddressError(f"{digits[:2]}", where="prefix", expected="fc: cjdns uses fc00::/8 and nothing else")
    return (1 << 64) - (1 << 64 - bits), value, bits


def _misplaced_colon(text: str) -> bool:
    """Whether colons are used, and a group other than the last does not have four digits."""
    *groups, last = text.split(":")
    return any(len(group) != 4 for group in groups) or len(last) > (4 if groups else 16)


def _draw_start(random: Random) -> bytearray:
    """Draw the clamped scalar of a walk: uniform among those from which no search can reach the end."""
    for _ in range(_DRAWS):
        start = signatures.clamp(drawn(random, KEY_SIZE))
        if int.from_bytes(start, "little") + STEP * _RESERVE < _END:
            return start
        signatures.wipe(start)
    raise CjdnsMisuseError(
        f"{_DRAWS} draws lie within 2**67 of 2**255", where="random", expected="a source of uniform random bytes"
    )


def search_vanity(
    prefix: str,
    *,
    progress: Callable[[Progress], None] | None = None,
    limit: int | None = None,
    random: Random = os.urandom,
) -> PrivateKey:
    """Return a new private key whose address begins with `prefix`; each further digit takes 16 times as long.

    **Why the key is as unpredictable as one drawn alone.** Every search draws a start of its own, uniform among the
    ``2**251`` scalars that clamping leaves alone, walks upwards from it, returns the *first* key that fits and forgets
    the walk: two searches share nothing, and no second key is ever returned a known small distance away. A key k comes
    out exactly if the start lies in the gap between the fitting scalar before it and k itself, so its probability is
    ``gap / 2**251``, where a loop of independent draws would give all fitting keys ``m / 2**251``, m being the mean
    gap (`Progress.expected`). Which keys have wide gaps before them is decided by SHA-512 of public keys, so the gaps
    are as good as independent and geometric, and the longest in the whole space is about ``m ln(2**251) = 174 m``: even
    someone who knew all gaps, which takes some ``2**251`` hashes, would save at most 7.5 bits of a guess. Starting
    from the public key, the best attack known is the same for both: a discrete logarithm, about ``2**126`` steps.

    **Faults.** The key found is derived again with PyNaCl and hashlib before it is returned; twice a second, so is one
    of those the walk is at. The kernel sees public points only. The start is overwritten when the search ends, in
    whatever way; Python's temporary integers cannot be.

    Parameters
    ----------
    prefix : str
        2 to 16 hexadecimal digits, ``fc`` first; colons may stand where they stand in an address (``fc12:34``). ``fc``
        alone asks for any valid address.
    progress : callable, optional
        Called with a `Progress` about twice a second.
    limit : int, optional
        How many keys to try at most.
    random : callable
        Returns as many fresh random bytes as it is asked for; asked once for 32.

    Raises
    ------
    AddressError
        If `prefix` is not such a prefix.
    KeySearchLimitError
        If none of `limit` keys fits.
    KeySearchFaultError
        If kernel and PyNaCl disagree. Nothing is returned then.
    CjdnsMisuseError
        If an argument has the wrong type, or `random` is no random source.

    Notes
    -----
    Ctrl-C ends a search within a millisecond or so. The first search on a machine compiles for a few seconds.
    """
    mask, wanted, bits = _parse_prefix(prefix)
    if limit is not None and (not isinstance(limit, int) or not 1 <= limit < 1 << 63):
        raise CjdnsMisuseError(shown(limit), where="limit", expected="an int, 1 to 2**63 - 1")
    if progress is not None and not callable(progress):
        raise CjdnsMisuseError(f"{type(progress).__name__} is not callable", where="progress", expected="a function")
    secret = _draw_start(random)
    start = int.from_bytes(secret, "little")
    try:
        steps = _search(start, mask, wanted, (1 << 63) - 1 if limit is None else limit, 1 << bits, progress)
        if steps is None:
            raise KeySearchLimitError(
                f"no address in {limit} keys begins with {prefix}", hint="try more keys, or a shorter prefix"
            )
        key = PrivateKey(_scalar_bytes(start, steps))
    finally:
        signatures.wipe(secret)
        del start
    if int.from_bytes(key.public.hashed[:8], "big") & mask != wanted:
        key.wipe()
        raise _fault()
    return key


def _search(
    start: int, mask: int, wanted: int, limit: int, expected: int, progress: Callable[[Progress], None] | None
) -> int | None:
    """Walk from `start` and return after how many steps a key fits, or None if none of `limit` keys does."""
    trail = Walk(start)
    began = reported = time.monotonic()
    uncounted = 0
    while trail.tried < limit:
        if trail.search(mask, wanted, limit - trail.tried):
            return trail.tried
        now = time.monotonic()
        if now - reported >= _REPORT_SECONDS and trail.tried < limit:
            reported = now
            middle = PrivateKey(_scalar_bytes(start, trail.tried - trail.width // 2 - 1))
            if middle.public.raw != trail.middle():
                raise _fault()
            middle.wipe()
            if progress is not None:
                progress(Progress(trail.tried, expected, (trail.tried - uncounted) / max(now - began, _A_MOMENT)))
        if not uncounted:  # the first block may have had to be compiled: the rate counts from behind it
            began, uncounted = now, trail.tried
    return None


def _scalar_bytes(start: int, steps: int) -> bytes:
    return (start + STEP * steps).to_bytes(KEY_SIZE, "little")


def _fault() -> KeySearchFaultError:
    return KeySearchFaultError(
        "the search kernel and PyNaCl derive different keys",
        hint="do not trust this machine with keys; report it with its processor and the versions of numba and llvmlite",
    )
