# SPDX-License-Identifier: Apache-2.0
"""Many data packets of one session in one call: what `Session.encrypt_batch` and `Session.decrypt_batch` stand on.

`seal_batch` and `open_batch` do to a `PacketArena` what a loop of `DataCipher.seal`, or of `DataCipher.open` and
`ReplayWindow.accept`, does to its packets; the loop is their oracle in the tests. The work itself is in
`prestocloud_sec.cjdns.cryptoauth.batch_kernel`, compiled with numba at first use and kept on disk. They know nothing of
handshakes, times and counters: that is the session's.

Output goes to one of three places:

- ``out=None``: new arrays; packets lie one after another.
- ``out=`` another arena, whose three arrays are overwritten, and which is returned: no allocation. Its buffer must have
  room for all packets and share no memory with the input's.
- ``out=`` the arena itself: in place. Sealing needs 20 bytes free before each payload (``PacketArena.pack(...,
  headroom=20)``); opening leaves each payload where its ciphertext was. The packets must ascend and not overlap.

The functions here are for code that has packets in numpy arrays already. For a handful of packets as `bytes`, gathering
them costs more than the batch saves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from prestocloud_sec.arena import PacketArena, trusted_arena
from prestocloud_sec.cjdns.cryptoauth import sodium
from prestocloud_sec.cjdns.cryptoauth.cipher import DataCipher
from prestocloud_sec.cjdns.errors import CjdnsMisuseError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from prestocloud_sec.wire import BytesLike

__all__ = [
    "HANDSHAKE",
    "HEADER",
    "LAST_NONCE",
    "BatchOpened",
    "Opening",
    "WindowState",
    "open_batch",
    "seal_batch",
    "seal_each",
]

HEADER = 20
"""Bytes that sealing adds: nonce and tag."""

LAST_NONCE = 0xFFFFFFEF
"""The greatest nonce a session sends with; it resets rather than use 0xfffffff0."""

HANDSHAKE = 255
"""Status of a packet whose nonce is below 4: give it to `Session.decrypt`."""

_BYTE = np.dtype(np.uint8)
_WORD = np.dtype(np.int64)
_GUESS = 1 << 20
"""Up to this size (bytes) an output buffer is made as large as could be needed, rather than counting first."""


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


class WindowState(NamedTuple):
    """The numbers of a replay window (see `prestocloud_sec.cjdns.cryptoauth.replay`)."""

    base: int = 0
    bits: int = 0
    duplicates: int = 0
    lost: int = 0
    out_of_range: int = 0


_WINDOW = struct.Struct("=5Q")
_WINDOW_AT = 8 * 5
"""Where the window lies in a context, in bytes (word `batch_kernel.BASE`)."""

_put_window = _WINDOW.pack_into
_get_window = _WINDOW.unpack_from

_kernels: Any = None
"""The compiled kernels, once they were needed: numba takes a second to import."""


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
        If an argument has the wrong type, a nonce is out of range, `out` has the wrong number of packets, too little
        room, or overlaps the payloads. Nothing was written.
    UnavailableError
        If the installed PyNaCl does not expose libsodium.
    """
    kernels = _kernels or _load()
    context = getattr(cipher, "context", None)
    if context is None:
        context = _context(cipher)
    if not isinstance(arena, PacketArena):
        raise _not_an_arena("arena", arena)
    offsets = arena.offsets
    count = len(offsets)
    if type(first_nonce) is not int or first_nonce < 4 or first_nonce + count - 1 > LAST_NONCE:
        raise CjdnsMisuseError(
            f"nonces {first_nonce!r} and on for {count} packets", where="first_nonce", expected=f"4 to {LAST_NONCE:#x}"
        )
    buffer = arena.buffer
    if out is None:
        room = len(buffer) if len(buffer) <= _GUESS else int(arena.lengths.sum())
        target, places, sizes = np.empty(room + HEADER * count, _BYTE), np.empty(count, _WORD), np.empty(count, _WORD)
    else:
        target, places, sizes = _arrays(out, count)
    try:
        refusal = kernels.seal_packets(context, first_nonce, buffer, offsets, arena.lengths, target, places, sizes)
        if refusal and out is None and refusal <= kernels.NEED:  # packets that share bytes need more than the guess
            target = np.empty(kernels.NEED - refusal, _BYTE)
            refusal = kernels.seal_packets(context, first_nonce, buffer, offsets, arena.lengths, target, places, sizes)
    except kernels.UNREADABLE as error:
        raise _unreadable() from error
    if refusal:
        raise _refusal(refusal)
    return trusted_arena(target, places, sizes) if out is None else out


def seal_each(
    seal: Callable[[BytesLike], bytes], most: int, arena: PacketArena, out: PacketArena | None = None
) -> PacketArena:
    """Seal packets one by one, where a session cannot yet do without handshake headers.

    Parameters
    ----------
    seal : callable
        Takes a payload, returns a packet.
    most : int
        How many bytes longer than its payload a packet can be.
    arena, out
        As for `seal_batch`, but with room for `most` bytes in place of 20.

    Raises
    ------
    CjdnsMisuseError
        As `seal_batch`, before the first packet was sealed.
    """
    if not isinstance(arena, PacketArena):
        raise _not_an_arena("arena", arena)
    if out is None:
        return PacketArena.pack([seal(payload) for payload in arena])
    target, places, sizes = _arrays(out, len(arena))
    _check_layout(arena, target, most)
    in_place, end = _same_memory(arena.buffer, target), 0
    for index in range(len(arena)):
        payload = arena[index]
        packet = seal(payload)
        place = int(arena.offsets[index]) + len(payload) - len(packet) if in_place else end
        end = place + len(packet)
        target[place:end] = np.frombuffer(packet, _BYTE)
        places[index], sizes[index] = place, len(packet)
    return out


def open_batch(
    cipher: DataCipher, window: WindowState, arena: PacketArena, out: PacketArena | None = None
) -> tuple[BatchOpened, WindowState]:
    """Open the packets of `arena` in order, each checked against the replay window after it authenticated.

    Parameters
    ----------
    cipher : DataCipher
        Must be authenticated.
    window : WindowState
        The window before the first packet.
    arena : PacketArena
        The packets.
    out : PacketArena, optional
        Where to write, see the head of this module; its previous contents are lost.

    Returns
    -------
    opened : BatchOpened
        Payloads and status; a refused packet has no payload, and nothing of it stays in the buffer. Status is 0, 1 (too
        short), 14 (replay), 15 (does not authenticate) or `HANDSHAKE`.
    window : WindowState
        The window after the last packet.

    Raises
    ------
    CjdnsMisuseError
        If an argument has the wrong type, or `out` has the wrong number of packets, too little room, or overlaps the
        packets. Nothing was written.
    UnavailableError
        If the installed PyNaCl does not expose libsodium.
    """
    opening = Opening(arena, out)
    window = opening.run(cipher, window, stop=False)
    return opening.finish(), window


class Opening:
    """A batch that is being opened, with pauses where the session must look at a packet itself.

    `run` opens packets from `position` on; where it stops at a handshake packet, the session decrypts that one alone,
    hands over the outcome with `put`, and runs on. `finish` gives the results.

    Parameters
    ----------
    arena, out
        As for `open_batch`.
    """

    __slots__ = ("_arena", "_out", "_places", "_sizes", "_status", "_target", "position")

    def __init__(self, arena: PacketArena, out: PacketArena | None) -> None:
        if not isinstance(arena, PacketArena):
            raise _not_an_arena("arena", arena)
        count = len(arena.offsets)
        self._arena = arena
        self._out = out
        if out is None:
            room = len(arena.buffer) if len(arena.buffer) <= _GUESS else int(arena.lengths.sum())
            self._target, self._places, self._sizes = (
                np.empty(room, _BYTE),
                np.empty(count, _WORD),
                np.empty(count, _WORD),
            )
        else:
            self._target, self._places, self._sizes = _arrays(out, count)
        self._status = np.empty(count, _BYTE)
        self.position = 0

    def run(self, cipher: DataCipher, window: WindowState, *, stop: bool) -> WindowState:
        """Open packets up to the end, or with `stop` up to the next handshake packet."""
        kernels = _kernels or _load()
        context = getattr(cipher, "context", None)
        if context is None:
            context = _context(cipher)
        arena, position, how = self._arena, self.position, 1 if stop else 0
        buffer, offsets, lengths = arena.buffer, arena.offsets, arena.lengths
        _put_window(context, _WINDOW_AT, *window)
        try:
            reached = kernels.open_packets(
                context, position, how, buffer, offsets, lengths, self._target, self._places, self._sizes, self._status
            )
            if reached <= kernels.NEED and self._out is None:  # packets that share bytes need more than the guess
                self._target = self._grown(kernels.NEED - reached)
                reached = kernels.open_packets(
                    context,
                    position,
                    how,
                    buffer,
                    offsets,
                    lengths,
                    self._target,
                    self._places,
                    self._sizes,
                    self._status,
                )
        except kernels.UNREADABLE as error:
            raise _unreadable() from error
        if reached < 0:
            raise _refusal(reached)
        self.position = reached
        return WindowState._make(_get_window(context, _WINDOW_AT))

    def check(self, least: int) -> None:
        """Refuse now what `put` could not store later; `least` is how many bytes shorter a payload is at least.

        `run` does this by itself; it is for sessions that begin with packets to decrypt alone.

        Raises
        ------
        CjdnsMisuseError
            As `open_batch`.
        """
        if self._out is not None:
            _check_layout(self._arena, self._target, -least)

    def put(self, payload: bytes, code: int) -> None:
        """Store the outcome of the packet at `position`, which was decrypted alone, and go to the next."""
        index = self.position
        place = int(self._arena.offsets[index])
        length = int(self._arena.lengths[index])
        if not _same_memory(self._arena.buffer, self._target):
            place = int(self._places[index - 1] + self._sizes[index - 1]) if index else 0
        elif code:
            place += min(length, HEADER)
        else:
            place += length - len(payload)
        end = place + len(payload)
        if end > len(self._target):
            self._target = self._grown(end)
        self._target[place:end] = np.frombuffer(payload, _BYTE)
        self._places[index], self._sizes[index], self._status[index] = place, len(payload), code
        self.position = index + 1

    def finish(self) -> BatchOpened:
        """Return the results."""
        arena = self._out
        if arena is None:
            arena = trusted_arena(self._target, self._places, self._sizes)
        return BatchOpened(arena, self._status)

    def _grown(self, room: int) -> NDArray[np.uint8]:
        """Return a copy of our own output buffer with at least `room` bytes."""
        target = np.empty(max(room, 2 * len(self._target)), _BYTE)
        target[: len(self._target)] = self._target
        return target


def _load() -> Any:
    global _kernels
    from prestocloud_sec.cjdns.cryptoauth import batch_kernel

    _kernels = batch_kernel
    return batch_kernel


def _context(cipher: DataCipher) -> Any:
    """Make the array that kernels take in place of a cipher; `DataCipher.wipe` forgets it with the secret."""
    if not isinstance(cipher, DataCipher):
        raise CjdnsMisuseError(f"{type(cipher).__name__} is no cipher", where="cipher", expected="a DataCipher")
    if not cipher.authenticated:
        raise CjdnsMisuseError("packets without a tag", where="cipher", expected="an authenticated cipher")
    library, kernels = sodium.library(), _kernels or _load()
    context = np.zeros(kernels.CONTEXT_WORDS, np.uint64)
    context[kernels.SEAL], context[kernels.OPEN] = library.seal_address, library.open_address
    context[kernels.KEY] = cipher.key_address()
    context[kernels.SEND_AT], context[kernels.RECEIVE_AT] = (4, 0) if cipher.initiator else (0, 4)
    cipher.context = context
    return context


def _arrays(out: PacketArena, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    if not isinstance(out, PacketArena):
        raise _not_an_arena("out", out)
    if len(out.offsets) != count:
        raise CjdnsMisuseError(f"{len(out.offsets)} packets", where="out", expected=f"{count}, as in the batch")
    return out.buffer, out.offsets, out.lengths


def _same_memory(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    return a is b or (len(a) == len(b) and bool(a.ctypes.data == b.ctypes.data))


def _check_layout(arena: PacketArena, target: NDArray[np.uint8], grow: int) -> None:
    """Check that all results fit; the readable twin of the kernels' `_layout`.

    Parameters
    ----------
    arena : PacketArena
        The packets.
    target : ndarray of uint8
        Where results go.
    grow : int
        How many bytes longer than its packet a result is at most (negative: shorter at least).
    """
    lengths = arena.lengths
    if _same_memory(arena.buffer, target):
        ends = arena.offsets + lengths
        before = np.concatenate((np.zeros(min(len(ends), 1), _WORD), ends[:-1]))
        if (arena.offsets - max(grow, 0) < before).any():
            raise _refusal(_NO_ROOM)
        return
    if np.may_share_memory(arena.buffer, target):
        raise _refusal(_OVERLAP)
    need = int(np.maximum(lengths + grow, 0).sum())
    if need > len(target):
        raise _refusal(_NEED - need)


_OUTSIDE, _OVERLAP, _NO_ROOM, _NEED = -1, -2, -3, -4


def _refusal(code: int) -> CjdnsMisuseError:
    """Say what a kernel, or `_check_layout`, refused."""
    if code <= _NEED:
        return CjdnsMisuseError("too little room", where="out.buffer", expected=f"{_NEED - code} bytes")
    what, expected = {
        _OUTSIDE: ("a packet lies outside the buffer", "arrays that nobody changes meanwhile"),
        _OVERLAP: ("shares memory with the packets' buffer", "memory of its own, or the same arena to work in place"),
        _NO_ROOM: (
            "in place, packets overlap, do not ascend, or leave no room for a header",
            "ascending packets with headroom",
        ),
    }[code]
    return CjdnsMisuseError(what, where="out.buffer", expected=expected)


def _unreadable() -> CjdnsMisuseError:
    return CjdnsMisuseError(
        "an array of a kind that compiled code cannot use", where="PacketArena", expected="plain arrays; out writable"
    )


def _not_an_arena(name: str, value: object) -> CjdnsMisuseError:
    return CjdnsMisuseError(f"{type(value).__name__} is no batch", where=name, expected="a PacketArena")
