# SPDX-License-Identifier: Apache-2.0
"""The switch: takes a packet from one interface, reads its label, and says where it goes.

Theory of operation (cjdns v21.1, ``switch/SwitchCore.c``; PrEstoCloud deliverable, 3.2, "Switch")
---------------------------------------------------------------------------------------------------
A packet begins with a 12-byte header: label (8, big-endian), congestion and suppress-errors (1), version and label
shift (1), traffic class (2). The switch

1. reads the first director at the low end of the label: its width and the interface it names;
2. shifts it out and writes the director of the interface the packet came from, bit-reversed, into the space at the top;
3. adds the width to the label shift, sets the traffic class to 0xffff, and hands the packet to the interface.

In between stand the refusals. The director of the way back must fit in the bits that were shifted out: if it does not,
the packet is malformed, except on its last step to the router, where nothing has to follow: there the switch takes as
many bits as the way back needs, provided that they are zero. An interface that does not exist is malformed too, one
that is down cannot be delivered to. A refused packet goes back where it came from, inside an error packet that finds
its way to the sender by the reversed label, unless it asks for no errors or is too short to be recognised.

Nothing of a packet is kept: the switch's only state is which interfaces there are, and its counters.
"""

from __future__ import annotations

from struct import Struct
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from prestocloud_sec.cjdns._layout import view
from prestocloud_sec.cjdns.constants import ErrorType
from prestocloud_sec.cjdns.errors import CjdnsMisuseError
from prestocloud_sec.cjdns.headers import SwitchHeader
from prestocloud_sec.cjdns.switch.compress import ROUTER, TABLE_BITS
from prestocloud_sec.cjdns.switch.label import LABEL_BITS, RouteLabel
from prestocloud_sec.cjdns.switch.outcome import (
    LEAST_REPORTED,
    Drop,
    DropReason,
    ErrorReply,
    Forward,
    InterfaceState,
    Outcome,
    SwitchCounters,
    error_packet,
)
from prestocloud_sec.cjdns.switch.scheme import V3X5X8, EncodingScheme
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from prestocloud_sec.arena import PacketArena
    from prestocloud_sec.cjdns.switch.batch import BatchForwarded, Plan
    from prestocloud_sec.wire import BytesLike

__all__ = ["Step", "Switch"]

_HEADER_SIZE = SwitchHeader.SIZE
_HEADER = Struct(">QBB")
_LOW = (1 << TABLE_BITS) - 1
_SHIFT_MASK = 0x3F
_CLASS = b"\xff\xff"
_SELF_NIBBLE = 0xF


Step: TypeAlias = tuple[int, int, int]
"""One switch's work on a label: (interface to leave by, label to leave with, bits shifted out)."""

_ABSENT, _UP = int(InterfaceState.ABSENT), int(InterfaceState.UP)
_DROPS = {reason: Drop(reason) for reason in DropReason}
_ERRORS = (ErrorType.MALFORMED_ADDRESS, ErrorType.UNDELIVERABLE, ErrorType.RETURN_PATH_INVALID)


class Switch:
    """A switch with up to 257 interfaces (in v3x5x8), of which number 1 is its own router and always there.

    Parameters
    ----------
    scheme : EncodingScheme
        How it writes interface numbers into labels: v3x5x8, as cjdns is built, or any other scheme whose directors have
        at most 10 bits and in which ``0..01`` means the router.

    Raises
    ------
    CjdnsMisuseError
        If no switch can use the scheme.

    Examples
    --------
    >>> switch = Switch()
    >>> switch.add_interface(), switch.add_interface()
    ((0, RouteLabel('0000.0000.0000.0013')), (2, RouteLabel('0000.0000.0000.0015')))
    >>> outcome = switch.forward(0, bytes.fromhex("0000000000000155 0040 0000 ffffffff"))
    >>> outcome.interface, outcome.packet.hex()
    (2, 'c0000000000000150044ffffffffffff')
    """

    def __init__(self, scheme: EncodingScheme = V3X5X8) -> None:
        if not isinstance(scheme, EncodingScheme):
            raise CjdnsMisuseError(f"a {type(scheme).__name__}", where="Switch.scheme", expected="an EncodingScheme")
        self.scheme = scheme
        self._table = scheme.numbers.table
        if self._table[1][1] != ROUTER:
            raise CjdnsMisuseError(
                "0..01 is not the router", where=repr(scheme), expected="a scheme with that director"
            )
        self._all_returns = scheme.numbers.returns
        # One more than there are numbers: what a label that begins with no form is taken to name is always absent.
        self._states = bytearray(scheme.numbers.count + 1)
        self._states[ROUTER] = InterfaceState.UP
        self._returns = {ROUTER: self._all_returns[ROUTER]}
        self._counts = dict.fromkeys((0, *_ERRORS, *DropReason), 0)
        self._batch_counts: NDArray[np.int64] | None = None
        self._plan: Plan | None = None

    # -- interfaces ----------------------------------------------------------------------------------------------------

    @property
    def interfaces(self) -> tuple[int, ...]:
        """Numbers of all interfaces there are, the router's included, in ascending order."""
        return tuple(sorted(self._returns))

    @property
    def free(self) -> int:
        """How many more interfaces can be added."""
        return self.scheme.numbers.count - len(self._returns)

    def state(self, interface: int) -> InterfaceState:
        """Say whether an interface is up, down or absent; any integer may be asked for."""
        known = isinstance(interface, int) and 0 <= interface < len(self._states)
        return InterfaceState(self._states[interface] if known else 0)

    def add_interface(self) -> tuple[int, RouteLabel]:
        """Attach an interface at the lowest free number.

        Returns
        -------
        number : int
            The number of the interface.
        label : RouteLabel
            The one-hop route to whatever is on its other side.

        Raises
        ------
        CjdnsMisuseError
            If there is no free number (`free` tells).
        """
        if not self.free:
            raise CjdnsMisuseError("all interface numbers are taken", where="Switch.add_interface", hint="remove one")
        number = self._states.index(InterfaceState.ABSENT)
        self._set(number, InterfaceState.UP)
        self._returns[number] = self._all_returns[number]
        return number, self.label_of(number)

    def label_of(self, interface: int) -> RouteLabel:
        """Return the one-hop route out of an interface number, attached or not; LabelError if it has no director."""
        return RouteLabel.from_path((interface,), self.scheme)

    def remove(self, interface: int) -> None:
        """Detach an interface; its number is free again. CjdnsMisuseError if it is not attached, or the router."""
        self._own(interface)
        self._set(interface, InterfaceState.ABSENT)
        del self._returns[interface]

    def set_down(self, interface: int) -> None:
        """Mark an interface as not answering: packets for it come back as undeliverable, except the router's own.

        Raises
        ------
        CjdnsMisuseError
            If it is not attached, or the router.
        """
        self._own(interface)
        self._set(interface, InterfaceState.DOWN)

    def set_up(self, interface: int) -> None:
        """Mark an interface as answering again. CjdnsMisuseError if it is not attached, or the router."""
        self._own(interface)
        self._set(interface, InterfaceState.UP)

    def _own(self, interface: int) -> None:
        if self.state(interface) is InterfaceState.ABSENT:
            raise _no_interface(interface)
        if interface == ROUTER:
            raise CjdnsMisuseError("the router's interface", where="Switch", expected="an interface that was added")

    def _set(self, interface: int, state: InterfaceState) -> None:
        self._states[interface] = state
        self._plan = None

    # -- packets -------------------------------------------------------------------------------------------------------

    def step(self, interface: int, label: int) -> Step | ErrorType:
        """Do a switch's work on a label alone: where a packet from `interface` goes, and with which label.

        Parameters
        ----------
        interface : int
            The interface it came from.
        label : int
            Its label, 64 bits.

        Returns
        -------
        tuple of (int, int, int) or ErrorType
            The interface to leave by, the new label and the bits shifted out; or why it goes nowhere.

        Raises
        ------
        CjdnsMisuseError
            If there is no such interface, or the label is no integer.
        LabelError
            If the label does not fit in 64 bits.
        """
        if not isinstance(label, int) or label >> LABEL_BITS:
            label = int(RouteLabel(label))
        try:
            returns = self._returns[interface]
        except Exception as error:  # no such key, or whatever a foreign __hash__ raises
            raise _no_interface(interface) from error
        width, out = self._table[label & _LOW]
        if out == ROUTER and label & _SELF_NIBBLE != 1:
            return ErrorType.MALFORMED_ADDRESS  # the router written in a form that has another, shorter name for it
        back = returns.get(width)
        if back is None:
            if out != ROUTER:
                return ErrorType.MALFORMED_ADDRESS
            width = self.scheme.numbers.width_for(interface)
            if (label ^ 1) & ((1 << (width + 4)) - 1):
                return ErrorType.RETURN_PATH_INVALID
            back = returns[width]
        state = self._states[out]
        if state != _UP:
            if state == _ABSENT:
                return ErrorType.MALFORMED_ADDRESS
            if interface != ROUTER:
                return ErrorType.UNDELIVERABLE
        return out, label >> width | back, width

    def forward(self, interface: int, packet: BytesLike) -> Outcome:
        """Forward one packet.

        Parameters
        ----------
        interface : int
            The interface it came from (1 for a packet of the switch's own router).
        packet : bytes-like
            A switch header of 12 bytes and whatever follows it. Any bytes will do.

        Returns
        -------
        Forward, ErrorReply or Drop
            What to do now. `packet` itself is never changed.

        Raises
        ------
        CjdnsMisuseError
            If there is no such interface, or `packet` is not bytes-like.
        """
        if type(packet) is not bytes:
            packet = bytes(view(packet, "packet"))
        if len(packet) < _HEADER_SIZE:
            self._check_source(interface)
            return self._drop(DropReason.RUNT)
        label, flags, shift = _HEADER.unpack_from(packet)
        step = self.step(interface, label)
        if not isinstance(step, tuple):
            return self._refuse(interface, packet, flags, step)
        out, label, width = step
        if (shift & _SHIFT_MASK) + width > _SHIFT_MASK:
            return self._drop(DropReason.SHIFT_OVERFLOW)
        self._counts[0] += 1
        return Forward(out, _HEADER.pack(label, flags, shift + width) + _CLASS + packet[_HEADER_SIZE:])

    def _check_source(self, interface: int) -> None:
        if self.state(interface) is InterfaceState.ABSENT:
            raise _no_interface(interface)

    def _drop(self, reason: DropReason) -> Drop:
        self._counts[reason] += 1
        return _DROPS[reason]

    def _refuse(self, interface: int, packet: bytes, flags: int, error: ErrorType) -> ErrorReply | Drop:
        if len(packet) < LEAST_REPORTED:
            return self._drop(DropReason.CAUSE_TOO_SHORT)
        if flags & 1:
            return self._drop(DropReason.ERRORS_SUPPRESSED)
        self._counts[error] += 1
        return ErrorReply(interface, error_packet(packet, error), error)

    def forward_batch(self, packets: PacketArena | NDArray[np.uint8], interfaces: ArrayLike) -> BatchForwarded:
        """Forward many packets at once, in place: the same outcomes as `forward`, one after the other.

        Parameters
        ----------
        packets : PacketArena, or ndarray of uint8 of shape (k, 12)
            Whole packets; or bare headers, C-contiguous, of packets taken to be at least 16 bytes long. The headers of
            packets that go on are rewritten where they are, nothing else is touched.
        interfaces : array_like of int, shape (k,) or ()
            Where each packet came from, or where all did.

        Returns
        -------
        BatchForwarded
            The interface to leave by and the status of each packet.

        Raises
        ------
        CjdnsMisuseError
            If an interface is not attached, a shape or type is wrong, or the packets are read-only. Nothing has been
            changed then.

        Examples
        --------
        >>> import numpy as np
        >>> switch = Switch()
        >>> _ = switch.add_interface(), switch.add_interface()
        >>> headers = np.frombuffer(bytes.fromhex("000000000000015500400000" "000000000000015700400000"), np.uint8)
        >>> headers = headers.reshape(2, 12).copy()
        >>> switch.forward_batch(headers, 0)
        BatchForwarded(1 forwarded, 1 refused, 0 dropped)
        >>> headers[0].tobytes().hex()
        'c0000000000000150044ffff'
        """
        if self._plan is None or self._batch_counts is None:
            self._plan, self._batch_counts = self._prepare()
        return self._plan.forward(packets, interfaces, self._batch_counts)

    def _prepare(self) -> tuple[Plan, NDArray[np.int64]]:
        """Lay the switch out for batches as it is now; numpy and numba are not needed before."""
        import numpy as np

        from prestocloud_sec.cjdns.switch.batch import Plan

        counts = np.zeros(16, dtype=np.int64) if self._batch_counts is None else self._batch_counts
        return Plan(self.scheme, self._states), counts

    @property
    def counters(self) -> SwitchCounters:
        """A snapshot of the counts, of `forward` and `forward_batch` together."""
        counts = dict(self._counts)
        if self._batch_counts is not None:
            # A status stands at its own index, a reason to drop, which is negative, 10 above its amount.
            in_batches = self._batch_counts.tolist()
            counts = {n: count + in_batches[n if n >= 0 else 10 - n] for n, count in counts.items()}
        return SwitchCounters(
            counts[0],
            MappingProxyType({error: counts[error] for error in _ERRORS}),
            MappingProxyType({reason: counts[reason] for reason in DropReason}),
        )

    def __repr__(self) -> str:
        down = sum(1 for number in self._returns if self._states[number] == InterfaceState.DOWN)
        return f"Switch({self.scheme!r}, {len(self._returns)} interfaces, {down} down)"


def _no_interface(interface: object) -> CjdnsMisuseError:
    return CjdnsMisuseError(f"no interface {shown(interface)}", where="Switch", expected="an attached interface")
