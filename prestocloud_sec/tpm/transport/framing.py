# SPDX-License-Identifier: Apache-2.0
"""How a response is put together from what a stream brings, and where it ends.

Two framings are in use: the bare response (swtpm), and a size before it and an acknowledgement after it (the protocol
of the TCG's reference simulator, TPM 2.0 Library, Part 4, ``TpmTcpProtocol.h``, which swtpm speaks too if asked so).
A length that no response has is refused as soon as it is read, so that nobody waits, or makes room, for the rest.
"""

from __future__ import annotations

from prestocloud_sec.tpm.errors import TransportProtocolError
from prestocloud_sec.tpm.transport.base import HEADER_BYTES, LIMIT_BYTES

__all__ = ["ACKNOWLEDGEMENT_BYTES", "PREFIX_BYTES", "Collector"]

PREFIX_BYTES = 4
ACKNOWLEDGEMENT_BYTES = 4
_SIZE_AT = 2


class Collector:
    """One response, as it comes in.

    Parameters
    ----------
    where : str
        What errors call the place.
    limit : int
        The longest response.
    framed : bool
        Whether a size (u32) comes before the response and an acknowledgement (u32, 0) after it.
    """

    __slots__ = ("_buffer", "_framed", "_limit", "_whole", "where")

    def __init__(self, where: str, limit: int = LIMIT_BYTES, *, framed: bool = False) -> None:
        self.where = where
        self._limit = limit
        self._framed = framed
        self._buffer = bytearray()
        self._whole = 0  # bytes of the response with its framing, once known

    @property
    def received(self) -> int:
        """Bytes that have come so far."""
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """How much to read: what the response still lacks, and one byte that would show what does not belong to it."""
        return (self._whole or self._limit + self._overhead) - len(self._buffer) + 1

    @property
    def _overhead(self) -> int:
        return PREFIX_BYTES + ACKNOWLEDGEMENT_BYTES if self._framed else 0

    def feed(self, chunk: bytes) -> bytes | None:
        """Take what came, and return the response once it is there.

        Raises
        ------
        TransportProtocolError
            If it is none.
        """
        self._buffer += chunk
        if not self._whole:
            self._find_end()
        if not self._whole or len(self._buffer) < self._whole:
            return None
        if len(self._buffer) > self._whole:
            raise self._error(f"{len(self._buffer) - self._whole} bytes or more after the response")
        if not self._framed:
            return bytes(self._buffer)
        acknowledged = int.from_bytes(self._buffer[-ACKNOWLEDGEMENT_BYTES:], "big")
        if acknowledged:
            raise self._error(f"the command was acknowledged with {acknowledged:#x}", "0")
        return bytes(self._buffer[PREFIX_BYTES:-ACKNOWLEDGEMENT_BYTES])

    def _find_end(self) -> None:
        start = PREFIX_BYTES if self._framed else 0
        outer = None
        if self._framed:
            if len(self._buffer) < PREFIX_BYTES:
                return
            outer = self._checked(int.from_bytes(self._buffer[:PREFIX_BYTES], "big"))
        if len(self._buffer) < start + _SIZE_AT + 4:
            return
        size = self._checked(int.from_bytes(self._buffer[start + _SIZE_AT : start + _SIZE_AT + 4], "big"))
        if outer is not None and size != outer:
            raise self._error(f"a response that says it has {size} bytes comes in {outer}")
        self._whole = size + self._overhead

    def _checked(self, size: int) -> int:
        if not HEADER_BYTES <= size <= self._limit:
            raise self._error(f"the response says it has {size} bytes", f"{HEADER_BYTES} to {self._limit}")
        return size

    def _error(self, what: str, expected: str | None = None) -> TransportProtocolError:
        return TransportProtocolError(
            what,
            where=self.where,
            expected=expected,
            hint="the transport is closed: what comes next cannot be told apart",
        )
