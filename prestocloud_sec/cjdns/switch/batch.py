# SPDX-License-Identifier: Apache-2.0
"""Many packets through a switch at once: what the kernel is given and what comes back.

A switch and the states of its interfaces are laid out as a *plan*, two tables in one array of bytes:

- at byte 0, `steps`: for each class of source interfaces 1024 words of 32 bits, by the lowest 10 bits of the label. A
  class is all interfaces whose way back takes the same widths; the router is one of its own, since it alone may send to
  interfaces that are down. A word holds the error in bits 0..3, the bits to shift out in bits 8..11, in bit 14 that the
  check of the last hop applies, and in bits 16..31 the interface to leave by, -1 where there is an error;
- at byte 65536, `rows`: for each source interface 16 numbers of 16 bits. At index `width` stand the highest 16 bits of
  what it puts into the label in place of `width` bits; at index 0 stands 0; at index 15 the place in bytes where its
  class begins in `steps`.

Everything is decided here, by the same rules as in `Switch.step`, of which the kernel knows but the last hop's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.constants import ErrorType
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.cjdns.switch.compress import ROUTER, TABLE_BITS
from prestocloud_sec.cjdns.switch.outcome import LEAST_REPORTED, InterfaceState

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from prestocloud_sec.cjdns.switch.scheme import EncodingScheme

__all__ = ["BatchForwarded"]

_INT32 = np.dtype(np.int32)
_CLASS_WORDS, _ROWS, _ROW_WORDS = 1 << TABLE_BITS, 1 << 16, 16
_REFUSED, _LAST_HOP, _LAST_HOP_BITS = 0xFFFF0000, 0x4000, 4


@dataclass(frozen=True, slots=True, eq=False)
class BatchForwarded:
    """What became of each packet of a batch.

    Attributes
    ----------
    out_interface : ndarray of int32, shape (k,)
        The interface the packet leaves by, 1 being the router; -1 for a packet that does not go on.
    status : ndarray of int8, shape (k,)
        0 for a packet that goes on, whose header has been rewritten. Above 0 the `ErrorType` to send back into the
        interface it came from (`error_packet` builds the packet); below 0 the `DropReason`.
    """

    out_interface: NDArray[np.int32]
    status: NDArray[np.int8]

    def __post_init__(self) -> None:
        for name, array, dtype in (("out_interface", self.out_interface, np.int32), ("status", self.status, np.int8)):
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise CjdnsMisuseError(
                    "wrong array", where=f"BatchForwarded.{name}", expected=f"one dimension of {dtype.__name__}"
                )

    def __len__(self) -> int:
        return len(self.status)

    @property
    def forwarded(self) -> NDArray[np.int64]:
        """Indexes of the packets that go on."""
        return np.flatnonzero(self.status == 0)

    @property
    def refused(self) -> NDArray[np.int64]:
        """Indexes of the packets that an error is to be sent back for."""
        return np.flatnonzero(self.status > 0)

    def __repr__(self) -> str:
        errors = len(self.refused)
        return (
            f"BatchForwarded({len(self.forwarded)} forwarded, {errors} refused, {int((self.status < 0).sum())} dropped)"
        )


@lru_cache(maxsize=16)
def _sources(scheme: EncodingScheme) -> tuple[tuple[tuple[frozenset[int], int, bool], ...], NDArray[np.uint16]]:
    """Sort a scheme's interface numbers into classes (widths, smallest width, router?) and lay out their rows."""
    numbers = scheme.numbers
    classes: dict[tuple[frozenset[int], int, bool], int] = {}
    rows = np.zeros((numbers.count, _ROW_WORDS), dtype=np.uint16)
    for number, returns in enumerate(numbers.returns):
        kind = (frozenset(returns), numbers.width_for(number), number == ROUTER)
        place = classes.setdefault(kind, len(classes))
        rows[number, _ROW_WORDS - 1] = place * _CLASS_WORDS * 4
        for width, back in returns.items():
            rows[number, width] = back >> 48
    return tuple(classes), rows


def make_plan(scheme: EncodingScheme, states: bytes | bytearray) -> NDArray[np.uint8]:
    """Lay out a switch for the kernel.

    Parameters
    ----------
    scheme : EncodingScheme
        The switch's scheme.
    states : bytes
        The `InterfaceState` of each interface number, and of one more, which is absent.
    """
    classes, rows = _sources(scheme)
    low = np.arange(_CLASS_WORDS, dtype=np.uint32)
    table = np.array(scheme.numbers.table, dtype=np.uint32)
    widths, numbers = table[:, 0], table[:, 1]
    state = np.frombuffer(bytes(states), dtype=np.uint8)[numbers]
    plan = np.zeros(_ROWS + rows.nbytes, dtype=np.uint8)
    steps = plan[:_ROWS].view(np.uint32).reshape(-1, _CLASS_WORDS)
    for place, (fitting, least, router) in enumerate(classes):
        passes = (state == InterfaceState.UP) | ((state == InterfaceState.DOWN) & router)
        error = np.where(state == InterfaceState.DOWN, ErrorType.UNDELIVERABLE, ErrorType.MALFORMED_ADDRESS).astype(
            np.uint32
        )
        word = np.where(passes, numbers << 16 | widths << 8, _REFUSED | error)
        narrow = ~np.isin(widths, list(fitting))
        word[narrow] = _REFUSED | ErrorType.MALFORMED_ADDRESS
        # Bits of the label beyond the table's 10 are the kernel's to look at.
        seen = np.uint32((1 << min(least + _LAST_HOP_BITS, TABLE_BITS)) - 1)
        last_hop = np.where(
            (low ^ 1) & seen, _REFUSED | ErrorType.RETURN_PATH_INVALID, ROUTER << 16 | _LAST_HOP | least << 8
        )
        to_router = numbers == ROUTER
        word = np.where(narrow & to_router, last_hop, word)
        steps[place] = np.where(to_router & (low & 0xF != 1), _REFUSED | ErrorType.MALFORMED_ADDRESS, word)
    plan[_ROWS:] = rows.view(np.uint8).reshape(-1)
    return plan


class Plan:
    """A switch as it is at one moment, ready to forward batches; a change of its interfaces takes a new one.

    Parameters
    ----------
    scheme, states
        As for `make_plan`.
    """

    def __init__(self, scheme: EncodingScheme, states: bytes | bytearray) -> None:
        from prestocloud_sec.cjdns.switch import batch_kernel

        self._kernel = batch_kernel
        self._tables = make_plan(scheme, states)
        self._attached = (np.frombuffer(bytes(states[:-1]), dtype=np.uint8) != 0).astype(np.uint8)

    def forward(
        self, packets: PacketArena | NDArray[np.uint8], interfaces: ArrayLike, counts: NDArray[np.int64]
    ) -> BatchForwarded:
        """Forward a batch in place, as `Switch.forward_batch`; add to `counts` how many packets had which status.

        `counts` has 16 places: a status is counted at its own index, a drop's reason 10 above its amount.
        """
        arena = packets if isinstance(packets, PacketArena) else _headers(packets)
        if not arena.buffer.flags.writeable:
            raise CjdnsMisuseError(
                "read-only", where="forward_batch.packets", expected="a buffer to rewrite headers in"
            )
        count = len(arena.offsets)
        source = _interfaces(interfaces, count)
        out, status = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int8)
        fault = self._kernel.forward(
            arena.buffer, arena.offsets, arena.lengths, source, self._attached, self._tables, out, status, counts
        )
        if fault == self._kernel.NO_INTERFACE:
            wrong = next(n for n in source.tolist() if not (0 <= n < len(self._attached) and self._attached[n]))
            raise CjdnsMisuseError(f"no interface {wrong}", where="forward_batch", expected="attached interfaces")
        if fault == self._kernel.OUTSIDE:
            raise CjdnsMisuseError("a packet lies outside the buffer", where="forward_batch.packets")
        return BatchForwarded(out, status)


def _headers(array: NDArray[np.uint8]) -> PacketArena:
    """Take an array of bare headers for packets that are long enough for any answer."""
    size = SwitchHeader.SIZE
    if not (
        isinstance(array, np.ndarray)
        and array.dtype == np.uint8
        and array.ndim == 2
        and array.shape[1] == size
        and array.flags.c_contiguous
    ):
        raise CjdnsMisuseError(
            "neither an arena nor an array of headers",
            where="forward_batch.packets",
            expected=f"a PacketArena, or C-contiguous uint8 of shape (n, {size})",
        )
    count = len(array)
    offsets = np.arange(0, count * size, size, dtype=np.int64)
    # The room after the last header is never touched, but an arena's packets have to lie within its buffer.
    arena = PacketArena(array.reshape(-1), offsets, np.zeros(count, dtype=np.int64))
    arena.lengths[:] = LEAST_REPORTED
    return arena


def _interfaces(given: ArrayLike, count: int) -> NDArray[np.int32]:
    """Make int32, contiguous and one for each packet of where the packets came from."""
    if type(given) is np.ndarray and given.dtype == _INT32 and given.shape == (count,) and given.flags.c_contiguous:
        return given
    try:
        array = np.asarray(given)
    except Exception as error:  # whatever numpy, or a foreign __array__, raises
        raise CjdnsMisuseError("no array", where="forward_batch.interfaces", expected="integers") from error
    if array.dtype.kind not in "iu" and array.size:
        raise CjdnsMisuseError(f"{array.dtype}", where="forward_batch.interfaces", expected="integers")
    if array.ndim == 0:
        array = np.full(count, array)
    if array.shape != (count,):
        raise CjdnsMisuseError(
            f"shape {array.shape}", where="forward_batch.interfaces", expected=f"one interface, or {count}"
        )
    # Beyond 32 bits nothing is attached, so the nearest number of 32 bits is refused as well.
    near = np.clip(array.astype(np.int64), -1, np.iinfo(np.int32).max)
    return np.ascontiguousarray(near, dtype=np.int32)
