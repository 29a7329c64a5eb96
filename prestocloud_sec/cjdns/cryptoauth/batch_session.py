# SPDX-License-Identifier: Apache-2.0
"""A session's work on many packets at once: the same results as one by one, in one call.

As long as a session is established and nothing else is going on (no pending handshake), a batch goes through the
compiled kernels of `prestocloud_sec.cjdns.cryptoauth.batch`. What they cannot do goes through `Session.encrypt` and
`Session.decrypt`, packet by packet and in order: handshake packets on either side, the packet that finishes a
handshake, packets without authenticator, and all of it where PyNaCl does not expose libsodium. Payloads, packets,
states and statistics are those of a loop over the packets in either case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.cryptoauth.batch import BatchOpened, begin, open_run, put, seal_each, seal_run
from prestocloud_sec.cjdns.cryptoauth.batch_layout import OutsideError
from prestocloud_sec.cjdns.cryptoauth.core import NONCES_EXHAUSTED, SESSION_SECONDS, SETUP_SECONDS, SessionCore
from prestocloud_sec.cjdns.cryptoauth.handshake import HANDSHAKE_SIZE
from prestocloud_sec.cjdns.errors import CjdnsError, CjdnsMisuseError

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["NOT_A_NODE", "BatchSession"]

NOT_A_NODE = 254
"""Status of a handshake whose key hashes to no cjdns address (`AddressError`), which has no number in C."""


class BatchSession(SessionCore):
    """The two batch operations of a `Session`."""

    __slots__ = ()

    if TYPE_CHECKING:

        def encrypt(self, payload: BytesLike, *, now: float | None = None) -> bytes:
            """See `Session.encrypt`."""

        def decrypt(self, packet: BytesLike, *, now: float | None = None) -> bytes:
            """See `Session.decrypt`."""

    def encrypt_batch(
        self, arena: PacketArena, *, out: PacketArena | None = None, now: float | None = None
    ) -> PacketArena:
        """Return the packets that carry the payloads in `arena`, as `encrypt` makes them one after another.

        Parameters
        ----------
        arena : PacketArena
            The payloads.
        out : PacketArena, optional
            Where to write instead of into new arrays: an arena of as many packets, whose arrays are overwritten and
            which is returned; `arena` itself to work in place. A packet is 20 bytes longer than its payload, up to 120
            until the session is established; there must be room for that (in place: before each payload).
        now : float, optional
            Seconds, for the whole batch; without it the session's clock is asked once.

        Raises
        ------
        CjdnsMisuseError
            If an argument has the wrong type, `out` does not fit (nothing was written then), or as `encrypt`.
        SmallOrderError
            As `encrypt`.
        """
        live = self._live
        cipher = live.cipher
        at = self._now() if now is None else self._checked(now)
        if cipher is not None and cipher.batches and self._pending is None and isinstance(arena, PacketArena):
            nonce, count, idle = live.next_nonce, len(arena.offsets), at - self._heard
            if nonce + count <= NONCES_EXHAUSTED and (
                idle < SETUP_SECONDS or (idle < SESSION_SECONDS and live.established)
            ):
                reached = live.next_nonce = nonce + count  # before the kernel lets other threads run
                try:
                    return seal_run(cipher, self._counters, nonce, arena, out)
                except OutsideError:  # some packets may be sealed and written, and no nonce may seal twice
                    raise
                except CjdnsMisuseError:  # nothing was sealed
                    if live.next_nonce == reached:
                        live.next_nonce = nonce
                    raise
        return seal_each(lambda payload: self.encrypt(payload, now=at), HANDSHAKE_SIZE, arena, out)

    def decrypt_batch(
        self, arena: PacketArena, *, out: PacketArena | None = None, now: float | None = None
    ) -> BatchOpened:
        """Return the payloads of the packets in `arena`, as `decrypt` gives them one after another.

        Parameters
        ----------
        arena : PacketArena
            What arrived, in that order.
        out : PacketArena, optional
            Where to write instead of into new arrays: an arena of as many packets, whose arrays are overwritten and
            which is returned; `arena` itself to work in place.
        now : float, optional
            Seconds, for the whole batch; without it the session's clock is asked once.

        Returns
        -------
        BatchOpened
            The payloads, and for each packet 0 or the `CryptoAuthError.code` of why it was refused (`NOT_A_NODE` for an
            `AddressError`). A refused packet has a payload of length 0; a handshake may have one, too, with status 0.

        Raises
        ------
        CjdnsMisuseError
            If an argument has the wrong type, or `out` does not fit; nothing was decrypted then.
        """
        at = self._now() if now is None else self._checked(now)
        live = self._live
        cipher = live.cipher
        if (
            live.established
            and self._pending is None
            and self._authenticate
            and cipher is not None
            and cipher.batches
            and isinstance(arena, PacketArena)
        ):
            opened, index, accepted = open_run(cipher, live.window, self._counters, arena, out, None, 0, 1)
            if accepted and self._heard < at:
                self._heard = at
            if index == len(opened.status):
                return opened
        else:
            opened, index = begin(arena, out, 20 if self._authenticate else 4), 0
        self._open_on(arena, opened, index, at)
        return opened

    def _open_on(self, arena: PacketArena, opened: BatchOpened, index: int, at: float) -> None:
        """Go on at packet `index`, which must be decrypted alone; and so on to the end."""
        while index < len(opened.status):
            try:
                payload, code = self.decrypt(bytes(arena[index]), now=at), 0
            except CjdnsError as error:
                payload, code = b"", getattr(error, "code", NOT_A_NODE)
            put(arena, opened, index, payload, code)
            index += 1
            live = self._live
            cipher = live.cipher
            if (
                live.established
                and self._pending is None
                and self._authenticate
                and cipher is not None
                and cipher.batches
            ):
                _, index, accepted = open_run(
                    cipher, live.window, self._counters, arena, opened.arena, opened, index, 1
                )
                if accepted and self._heard < at:
                    self._heard = at
