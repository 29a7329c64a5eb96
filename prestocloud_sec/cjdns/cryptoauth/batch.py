# SPDX-License-Identifier: Apache-2.0
"""Many data packets of one session in one call: what `Session.encrypt_batch` and `Session.decrypt_batch` stand on.

`seal_batch` and `open_batch` do to a `PacketArena` what a loop of `DataCipher.seal`, or of `DataCipher.open` and
`ReplayWindow.accept`, does to its packets; the loop is their oracle in the tests. The work itself is in
`prestocloud_sec.cjdns.cryptoauth.batch_kernel`, compiled with numba at first use and kept on disk. They know nothing of
handshakes, times and counters: that is the session's, for which `seal_run`, `seal_each`, `begin`, `open_run` and `put`
are the pieces.

Output goes to one of three places:

- ``out=None``: new arrays; packets lie one after another.
- ``out=`` another arena, whose three arrays are overwritten, and which is returned: no allocation. Its buffer must have
  room for all packets and share no memory with the input's.
- ``out=`` the arena itself: in place. Sealing needs 20 bytes free before each payload (``PacketArena.pack(...,
  headroom=20)``); opening leaves each payload where its ciphertext was. The packets must ascend and not overlap.

All this is for code that has packets in numpy arrays already. For a handful of packets as `bytes`, gathering them costs
more than the batch saves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prestocloud_sec.arena import PacketArena, trusted_arena
from prestocloud_sec.cjdns.cryptoauth import sodium
from prestocloud_sec.cjdns.cryptoauth.batch_layout import (
    NEED,
    check_layout,
    check_output,
    not_an_arena,
    refusal,
    same_memory,
)
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher
from prestocloud_sec.cjdns.cryptoauth.replay import ReplayWindow
from prestocloud_sec.cjdns.cryptoauth.statistics import Counters
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, DecryptionError, ReplayError, RuntError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "HANDSHAKE",
    "LAST_NONCE",
    "BatchOpened",
    "begin",
    "open_batch",
    "open_run",
    "put",
    "seal_batch",
    "seal_each",
    "seal_run",
]

LAST_NONCE = 0xFFFFFFEF
"""The greatest nonce a session sends with; it resets rather than use 0xfffffff0."""

HANDSHAKE = 255
"""Status of a packet that is no data: its first word is below 4, or ffffffff. Give it to `Session.decrypt`."""

_HEADER = 20
_NOWHERE = np.empty(0, np.uint8)
_BYTE = np.dtype(np.uint8)
_WORD = np.dtype(np.int64)
_GUESS = 1 << 20
"""Up to this size (bytes) an output buffer is as large as could be needed for packets that share no bytes."""


class BatchOpened(NamedTuple):
    """What opening a batch gives.

    Attributes
    ----------
    arena : PacketArena
        The payloads, in the order of the packets; length 0 where a packet was refused.
    status : ndarray of uint8, shape (k,)
        0 where the packet was accepted, otherwise the `CryptoAuthError.code` that decrypting it alone raises.
    """

    arena: PacketArena
    status: NDArray[np.uint8]


def seal_batch(cipher: DataCipher, first_nonce: int, arena: PacketArena, out: PacketArena | None = None) -> PacketArena:
    """Seal packet i of `arena` with nonce ``first_nonce + i``.

    Parameters
    ----------
    cipher : DataCipher
        Must be authenticated.
    first_nonce : int
        At least 4; the last packet's nonce must not exceed `LAST_NONCE`. None of them was used before.
    arena : PacketArena
        The payloads.
    out : PacketArena, optional
        Where to write, see the head of this module; its previous contents are lost.

    Returns
    -------
    PacketArena
        The packets, each 20 bytes longer than its payload; `out` itself where it was given.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type, a nonce is out of range, the cipher was wiped or does not authenticate, or
        `out` has the wrong number of packets, too little room, or overlaps the payloads. Nothing was written.
    UnavailableError
        If the installed PyNaCl does not expose libsodium.
    """
    _check(cipher, arena)
    count = len(arena)
    if type(first_nonce) is not int or first_nonce < 4 or first_nonce + count - 1 > LAST_NONCE:
        raise CjdnsMisuseError(
            f"nonces {shown(first_nonce)} and on for {count} packets",
            where="first_nonce",
            expected=f"4 to {LAST_NONCE:#x}",
        )
    return seal_run(cipher, Counters(), first_nonce, arena, out)


def open_batch(
    cipher: DataCipher, window: ReplayWindow, arena: PacketArena, out: PacketArena | None = None
) -> BatchOpened:
    """Open the packets of `arena` in order, each checked against the replay window after it has authenticated.

    Parameters
    ----------
    cipher : DataCipher
        Must be authenticated.
    window : ReplayWindow
        Takes every accepted nonce.
    arena : PacketArena
        The packets.
    out : PacketArena, optional
        Where to write, see the head of this module; its previous contents are lost.

    Returns
    -------
    BatchOpened
        Payloads and status; a refused packet has no payload, and nothing of it stays in the buffer. Status is 0, 1 (too
        short), 14 (replay), 15 (does not authenticate) or `HANDSHAKE`.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type, the cipher was wiped or does not authenticate, or `out` has the wrong number
        of packets, too little room, or overlaps the packets. Nothing was written.
    UnavailableError
        If the installed PyNaCl does not expose libsodium.
    """
    _check(cipher, arena)
    if not isinstance(window, ReplayWindow):
        raise CjdnsMisuseError(f"{type(window).__name__}", where="window", expected="a ReplayWindow")
    # The window goes through the context: other threads may be opening with this cipher and windows of their own.
    context = (_context(cipher) if cipher.context is None else cipher.context).copy()
    return open_run(cipher, window, Counters(), arena, out, context=context)[0]


def seal_run(
    cipher: DataCipher, counters: Counters, first_nonce: int, arena: PacketArena, out: PacketArena | None
) -> PacketArena:
    """Seal as `seal_batch` does, but take all on trust except the layout of `out`, and count."""
    context = cipher.context
    if context is None:
        context = _context(cipher)
    buffer, offsets, lengths = arena.buffer, arena.offsets, arena.lengths
    count = len(offsets)
    if out is None:
        room = len(buffer)
        if room > _GUESS:
            room = int(lengths.sum())
        target, places, sizes = np.empty(room + _HEADER * count, _BYTE), np.empty(count, _WORD), np.empty(count, _WORD)
    else:
        check_output(out, count)
        target, places, sizes = out.buffer, out.offsets, out.lengths
    size = _seal(context, first_nonce, buffer, offsets, lengths, target, places, sizes)
    if size <= NEED and out is None:  # packets share bytes and need more room than the guess
        target = np.empty(NEED - size, _BYTE)
        size = _seal(context, first_nonce, buffer, offsets, lengths, target, places, sizes)
    if size < 0:
        raise refusal(size)
    counters.packets_out += count
    counters.bytes_out += size
    return trusted_arena(target, places, sizes) if out is None else out


def seal_each(
    seal: Callable[[BytesLike], bytes], most: int, arena: PacketArena, out: PacketArena | None
) -> PacketArena:
    """Seal packets one by one, where a session cannot yet do without handshake headers.

    Parameters
    ----------
    seal : callable
        Takes a payload, returns a packet.
    most : int
        How many bytes longer than its payload a packet can be; `out` must have room for that.
    arena, out
        As for `seal_batch`.

    Raises
    ------
    CjdnsMisuseError
        As `seal_batch`, before the first packet was sealed.
    """
    if not isinstance(arena, PacketArena):
        raise not_an_arena("arena", arena)
    if out is None:
        return PacketArena.pack([seal(payload) for payload in arena])
    check_output(out, len(arena))
    target, places, sizes = out.buffer, out.offsets, out.lengths
    check_layout(arena, target, most)
    in_place, end = same_memory(arena.buffer, target), 0
    for index in range(len(arena)):
        payload = arena[index]
        packet = seal(payload)
        place = int(arena.offsets[index]) + len(payload) - len(packet) if in_place else end
        end = place + len(packet)
        target[place:end] = np.frombuffer(packet, _BYTE)
        places[index], sizes[index] = place, len(packet)
    return out


def open_run(
    cipher: DataCipher,
    window: ReplayWindow,
    counters: Counters,
    arena: PacketArena,
    out: PacketArena | None,
    begun: BatchOpened | None = None,
    start: int = 0,
    stop: int = 0,
    *,
    context: Any = None,
) -> tuple[BatchOpened, int, int]:
    """Open packets to the end, or with ``stop=1`` up to the next packet that is no data.

    Parameters
    ----------
    cipher, window, arena, out
        As for `open_batch`, taken on trust but for the layout of `out`.
    counters : Counters
        Counts the packets accepted and refused.
    begun, start : BatchOpened, int
        Results so far, and how many packets they hold, to go on from there.
    context : ndarray, optional
        A copy of the cipher's context, where more than one thread may use the cipher; otherwise it is the cipher's own.

    Returns
    -------
    opened, reached, accepted : BatchOpened, int, int
        The results, the first packet not looked at, and how many were accepted now.
    """
    if context is None:
        context = _context(cipher) if cipher.context is None else cipher.context
    buffer, offsets, lengths = arena.buffer, arena.offsets, arena.lengths
    if begun is not None:
        results, status = begun
        target, places, sizes = results.buffer, results.offsets, results.lengths
    else:
        count = len(offsets)
        status = np.empty(count, _BYTE)
        if out is None:
            room = len(buffer)
            if room > _GUESS:
                room = int(lengths.sum())
            target, places, sizes = np.empty(room, _BYTE), np.empty(count, _WORD), np.empty(count, _WORD)
            results = trusted_arena(target, places, sizes)
        else:
            check_output(out, count)
            results, target, places, sizes = out, out.buffer, out.offsets, out.lengths
        begun = _new(BatchOpened, (results, status))
    _put_window(context, _WINDOW_AT, window.base, window.bits)
    reached = _open(context, start, stop, buffer, offsets, lengths, target, places, sizes, status)
    if reached < 0:
        if reached > NEED or out is not None:
            raise refusal(reached)
        # Packets share bytes and need more room than the guess. Nothing was written.
        results = trusted_arena(np.empty(NEED - reached, _BYTE), places, sizes)
        begun = _new(BatchOpened, (results, status))
        return open_run(cipher, window, counters, arena, None, begun, start, stop, context=context)
    window.base, window.bits, accepted, size, lost, twice, below, runts, forged = _get_results(context, _WINDOW_AT)
    counters.packets_in += accepted
    counters.bytes_in += size
    if lost:
        window.lost = (window.lost + lost) & 0xFFFFFFFF
    if accepted != reached - start:
        _count_refused(window, counters, twice, below, runts, forged)
    return begun, reached, accepted


def begin(arena: PacketArena, out: PacketArena | None, least: int) -> BatchOpened:
    """Return where to open a batch to whose first packet is to be decrypted alone.

    Parameters
    ----------
    arena, out
        As for `open_batch`.
    least : int
        How many bytes shorter a payload is than its packet, at least; `out` must have room for the rest.

    Raises
    ------
    CjdnsMisuseError
        As `open_batch`.
    """
    if not isinstance(arena, PacketArena):
        raise not_an_arena("arena", arena)
    count = len(arena)
    if out is None:
        check_layout(arena, _NOWHERE, -len(arena.buffer))
        none = np.zeros(count, _WORD)
        out = PacketArena(np.empty(int(arena.lengths.sum()), _BYTE), none, none.copy())
    else:
        check_output(out, count)
        check_layout(arena, out.buffer, -least)
    return BatchOpened(out, np.empty(count, _BYTE))


def _count_refused(
    window: ReplayWindow, counters: Counters, duplicates: int, out_of_range: int, runts: int, forged: int
) -> None:
    window.duplicates += duplicates
    window.out_of_range += out_of_range
    counts = counters.refused
    for kind, count in ((ReplayError, duplicates + out_of_range), (RuntError, runts), (DecryptionError, forged)):
        if count:
            counts[kind.__name__] = counts.get(kind.__name__, 0) + count


def put(arena: PacketArena, begun: BatchOpened, index: int, payload: bytes, code: int) -> None:
    """Store the outcome of a packet that was decrypted alone: its payload, or the code of the refusal."""
    results, status = begun
    target, places, sizes = results.buffer, results.offsets, results.lengths
    place, length = int(arena.offsets[index]), int(arena.lengths[index])
    if not same_memory(arena.buffer, target):
        place = int(places[index - 1] + sizes[index - 1]) if index else 0
    elif code:
        place += min(length, _HEADER)
    else:
        place += length - len(payload)
    target[place : place + len(payload)] = np.frombuffer(payload, _BYTE)
    places[index], sizes[index], status[index] = place, len(payload), code


_WINDOW_AT = 8 * 11
"""Where in a context the window lies, in bytes (word `batch_kernel.BASE`); behind it the counts."""

_new = tuple.__new__  # the constructor of a named tuple is written in Python and takes twice as long
_put_window = struct.Struct("=2Q").pack_into
_get_results = struct.Struct("=9Q").unpack_from

# The compiled kernels; `_context` loads them, for a cipher that has no context yet.
_seal: Any = None
_open: Any = None


def _context(cipher: DataCipher) -> Any:
    """Make the array that kernels take in place of a cipher; `DataCipher.wipe` forgets it with the secret."""
    global _open, _seal
    if not cipher.authenticated:
        raise CjdnsMisuseError("packets without a tag", where="cipher", expected="an authenticated cipher")
    library = sodium.library()
    from prestocloud_sec.cjdns.cryptoauth import batch_kernel as kernels

    if _seal is None:
        _seal, _open = kernels.compiled()
    context = np.zeros(kernels.CONTEXT_WORDS, np.uint64)
    context[kernels.BOX], context[kernels.OPEN_BOX] = library.seal_address, library.open_address
    context[kernels.WIPE] = library.zero_address
    parts = sodium.parts()
    if parts is not None:
        context[kernels.SUBKEY : kernels.VERIFY + 1] = parts
        context[kernels.ROOM] = kernels.STREAMED + 1
    context[kernels.KEY] = cipher.key_address()
    context[kernels.SEND_AT], context[kernels.RECEIVE_AT] = (4, 0) if cipher.initiator else (0, 4)
    cipher.context = context
    return context


def _check(cipher: object, arena: object) -> None:
    if not isinstance(cipher, DataCipher):
        raise CjdnsMisuseError(f"{type(cipher).__name__}", where="cipher", expected="a DataCipher")
    if not isinstance(arena, PacketArena):
        raise not_an_arena("arena", arena)
