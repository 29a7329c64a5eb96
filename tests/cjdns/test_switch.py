# SPDX-License-Identifier: Apache-2.0
"""The switch: one packet at a time, and packets through meshes of switches with schemes of their own."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.checksum import checksum_holds
from prestocloud_sec.cjdns.constants import ErrorType
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, HeaderError, LabelError
from prestocloud_sec.cjdns.switch import (
    F4,
    F8,
    ROUTER,
    V3X5X8,
    V4X8,
    Drop,
    DropReason,
    EncodingForm,
    EncodingScheme,
    ErrorReply,
    Forward,
    InterfaceState,
    RouteLabel,
    Switch,
    error_packet,
    label_for,
)
from prestocloud_sec.testing.switch import (
    BUILT_IN,
    MESH_ROUTE_BITS,
    SwitchMesh,
    meshes,
    route_labels,
    routes,
    switch_packets,
    switches,
)

PAYLOAD = bytes(range(100, 140))


def packet(label: int, *, flags: int = 0, shift: int = 0x40, payload: bytes = PAYLOAD) -> bytes:
    return label.to_bytes(8, "big") + bytes((flags, shift, 0, 0)) + payload


def full_switch(scheme: EncodingScheme = V3X5X8) -> Switch:
    switch = Switch(scheme)
    while switch.free:
        switch.add_interface()
    return switch


def line(length: int, scheme: EncodingScheme = V3X5X8) -> SwitchMesh:
    mesh = SwitchMesh([Switch(scheme) for _ in range(length)])
    for node in range(1, length):
        mesh.connect(node - 1, node)
    return mesh


# -- interfaces --------------------------------------------------------------------------------------------------------


def test_interfaces_take_the_lowest_free_number() -> None:
    switch = Switch()
    assert switch.interfaces == (ROUTER,)
    # What cjdns hands out to its first peers.
    assert [switch.add_interface() for _ in range(3)] == [(0, 0x13), (2, 0x15), (3, 0x17)]
    switch.remove(2)
    assert switch.state(2) is InterfaceState.ABSENT
    assert switch.add_interface()[0] == 2
    assert switch.interfaces == (0, 1, 2, 3)
    assert switch.free == 257 - 4


@pytest.mark.parametrize(("scheme", "count"), [(V3X5X8, 257), (V4X8, 256), (F4, 16), (F8, 256)])
def test_a_full_switch_takes_no_more(scheme: EncodingScheme, count: int) -> None:
    switch = full_switch(scheme)
    assert switch.interfaces == tuple(range(count))
    with pytest.raises(CjdnsMisuseError, match="taken"):
        switch.add_interface()


def test_the_routers_interface_is_always_there() -> None:
    switch = Switch()
    for change in (switch.remove, switch.set_down, switch.set_up):
        with pytest.raises(CjdnsMisuseError, match="router"):
            change(ROUTER)
        for number in (0, 5, 257, -1, 10**30):
            with pytest.raises(CjdnsMisuseError, match="no interface"):
                change(number)
    assert switch.interfaces == (ROUTER,)


def test_schemes_that_no_switch_can_have() -> None:
    for scheme in (
        EncodingScheme([EncodingForm(12)]),
        EncodingScheme([EncodingForm(3, 2, 0), EncodingForm(5, 2, 2)]),
    ):
        with pytest.raises(CjdnsMisuseError):
            Switch(scheme)
    with pytest.raises(CjdnsMisuseError):
        Switch("v3x5x8")  # type: ignore[arg-type]


# -- one packet, by hand -----------------------------------------------------------------------------------------------


def test_a_packet_down_a_line_of_four() -> None:
    # The labels that were seen on the links of a live line of nodes: each adds 4 bits of way back at the top.
    mesh = line(4)
    journey = mesh.travel(0, packet(mesh.label([(0, 0), (1, 2), (2, 2)])))
    assert journey.arrived == 3
    labels = [hop.sent[:8].hex() for hop in journey.hops]
    # Here every relay's far interface is 2, whose director is 0101; the way back leaves by 0, director 0011 = 1100.
    assert labels == ["8000000000000155", "c800000000000015", "cc80000000000001", "ccc8000000000000"]
    assert [hop.sent[9] for hop in journey.hops] == [0x44, 0x48, 0x4C, 0x50]
    assert all(hop.sent[10:] == b"\xff\xff" + PAYLOAD for hop in journey.hops)
    assert RouteLabel(int(labels[-1], 16)).reversed() == 0x1333


def test_the_last_hop_takes_the_bits_its_wide_way_back_needs() -> None:
    switch = full_switch()
    outcome = switch.forward(100, packet(1))
    # Interface 100 is director 99 in 10 bits; the label's closing 1 goes with the 10 bits that are shifted out.
    assert outcome == Forward(
        ROUTER, packet(int(f"{99 << 2:010b}"[::-1], 2) << 54, shift=0x4A)[:10] + b"\xff\xff" + PAYLOAD
    )
    for bit in range(4, 14):
        refused = switch.forward(100, packet(1 | 1 << bit))
        assert isinstance(refused, ErrorReply)
        assert refused.error is ErrorType.RETURN_PATH_INVALID
    assert isinstance(switch.forward(100, packet(1 | 1 << 14)), Forward)


@pytest.mark.parametrize(
    ("scheme", "source", "label", "error"),
    [
        (V3X5X8, 100, 0x13, ErrorType.MALFORMED_ADDRESS),  # 10 bits of way back in a place of 4
        (V3X5X8, 20, 0x13, ErrorType.MALFORMED_ADDRESS),
        (V3X5X8, 2, 0x19, ErrorType.MALFORMED_ADDRESS),  # interface 4 is not there
        (V3X5X8, 2, 0x17, ErrorType.UNDELIVERABLE),  # interface 3 is down
        (V4X8, 2, 1 << 9, ErrorType.MALFORMED_ADDRESS),  # the router in its wide form
        (F4, 0, 0x19, ErrorType.MALFORMED_ADDRESS),
    ],
)
def test_refusals(scheme: EncodingScheme, source: int, label: int, error: ErrorType) -> None:
    switch = full_switch(scheme)
    gone = scheme.parse_director(0x19)
    switch.remove(gone)
    if scheme is V3X5X8:
        switch.set_down(3)
    cause = packet(label, payload=PAYLOAD * 20)
    outcome = switch.forward(source, cause)
    assert outcome == ErrorReply(source, error_packet(cause, error), error)
    assert switch.step(source, label) is error


def test_the_router_may_send_where_others_may_not() -> None:
    switch = Switch()
    number, label = switch.add_interface()
    switch.add_interface()
    switch.set_down(number)
    assert isinstance(switch.forward(2, packet(label)), ErrorReply)
    assert isinstance(switch.forward(ROUTER, packet(label)), Forward)
    switch.set_up(number)
    assert isinstance(switch.forward(2, packet(label)), Forward)


def test_the_error_packet_byte_by_byte() -> None:
    cause = packet(0x0000_0000_0000_0019, shift=0x48, payload=bytes(range(256)) * 2)
    reply = error_packet(cause, ErrorType.UNDELIVERABLE)
    assert reply[:12].hex() == "98000000000000000340ffff"
    assert reply[12:16].hex() == "ffffffff"
    assert checksum_holds(reply[16:])
    assert reply[18:24].hex() == "000200000008"
    assert reply[24:] == cause[:256]
    with pytest.raises(HeaderError):
        error_packet(cause[:15], ErrorType.UNDELIVERABLE)


def test_packets_that_nobody_hears_of() -> None:
    switch = Switch()
    switch.add_interface()
    assert switch.forward(0, b"") == switch.forward(0, bytes(11)) == Drop(DropReason.RUNT)
    assert switch.forward(0, packet(0x19, payload=bytes(3))) == Drop(DropReason.CAUSE_TOO_SHORT)
    assert isinstance(switch.forward(0, packet(0x19, payload=bytes(4))), ErrorReply)
    assert switch.forward(0, packet(0x19, flags=1)) == Drop(DropReason.ERRORS_SUPPRESSED)
    assert switch.forward(0, packet(0x13, shift=0x7C)) == Drop(DropReason.SHIFT_OVERFLOW)
    assert isinstance(switch.forward(0, packet(0x13, shift=0x7B)), Forward)
    assert switch.counters.drops == {
        DropReason.RUNT: 2,
        DropReason.CAUSE_TOO_SHORT: 1,
        DropReason.ERRORS_SUPPRESSED: 1,
        DropReason.SHIFT_OVERFLOW: 1,
    }
    assert switch.counters.errors[ErrorType.MALFORMED_ADDRESS] == 1
    assert switch.counters.forwarded == 1
    assert switch.counters.total == 7


def test_version_and_congestion_stay_as_they_are() -> None:
    switch = Switch()
    switch.add_interface()
    for flags in (0, 1, 0xFE):
        for version in (0, 0x40, 0xC0):
            outcome = switch.forward(0, packet(0x13, flags=flags, shift=version | 5))
            assert isinstance(outcome, Forward)
            assert outcome.packet[8:10] == bytes((flags, version | 9))


def test_a_packet_may_leave_by_the_interface_it_came_from() -> None:
    switch = Switch()
    switch.add_interface()
    outcome = switch.forward(0, packet(0x13))
    assert isinstance(outcome, Forward)
    assert outcome.interface == 0


def test_misuse_is_not_an_outcome() -> None:
    switch = Switch()
    for source in (5, -1, 257, None, "0", [0], 10**30):
        with pytest.raises(CjdnsMisuseError):
            switch.forward(source, packet(0x13))  # type: ignore[arg-type]
        with pytest.raises(CjdnsMisuseError):
            switch.forward(source, b"")  # type: ignore[arg-type]
        with pytest.raises(CjdnsMisuseError):
            switch.step(source, 0x13)  # type: ignore[arg-type]
    for wrong in ("text", None, 12, [1, 2]):
        with pytest.raises(CjdnsMisuseError):
            switch.forward(ROUTER, wrong)  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        switch.step(ROUTER, "0x13")  # type: ignore[arg-type]
    assert switch.counters.total == 0


# -- any packet --------------------------------------------------------------------------------------------------------


def _state(switch: Switch) -> object:
    return switch.interfaces, [switch.state(number) for number in range(300)], switch.scheme


@given(switches(), st.data())
def test_any_bytes_get_an_outcome_and_leave_no_trace(switch: Switch, data: st.DataObject) -> None:
    """C11: nothing of a packet is kept. Only the counters move, by one for each packet."""
    source = data.draw(st.sampled_from(switch.interfaces))
    given_packet = data.draw(switch_packets(switch.scheme))
    buffer = bytearray(given_packet)
    before, other = _state(switch), copy.deepcopy(switch)
    outcome = switch.forward(source, buffer)
    assert buffer == given_packet
    assert _state(switch) == before
    assert switch.counters.total == 1
    for _ in range(3):
        other.forward(data.draw(st.sampled_from(other.interfaces)), data.draw(switch_packets(other.scheme)))
    assert other.forward(source, given_packet) == outcome
    match outcome:
        case Forward(interface, sent):
            assert switch.state(interface) is InterfaceState.UP or source == ROUTER
            assert sent[12:] == given_packet[12:]
        case ErrorReply(interface, _, error):
            assert interface == source
            assert error in (ErrorType.MALFORMED_ADDRESS, ErrorType.UNDELIVERABLE, ErrorType.RETURN_PATH_INVALID)


@given(switches(schemes=st.sampled_from(BUILT_IN)), route_labels(), st.data())
def test_a_step_moves_bits_from_the_bottom_to_the_top(switch: Switch, label: RouteLabel, data: st.DataObject) -> None:
    """C18, C19, C20, as text: what is read stands rightmost, what is put in is mirrored and stands leftmost."""
    source = data.draw(st.sampled_from(switch.interfaces))
    step = switch.step(source, label)
    if isinstance(step, ErrorType):
        return
    out, new, width = step
    bits = f"{label:064b}"
    back = f"{switch.scheme.numbers.compress(source, width):0{width}b}"
    assert f"{new:064b}" == "".join(
        "1" if "1" in pair else "0"
        for pair in zip("0" * width + bits[:-width], back[::-1] + "0" * (64 - width), strict=True)
    )
    assert out == switch.scheme.parse_director(label)


# -- through a mesh ----------------------------------------------------------------------------------------------------


@given(meshes(), st.data())
def test_the_way_back_is_in_the_label_at_every_hop(mesh: SwitchMesh, data: st.DataObject) -> None:
    """C11, C20: from wherever a packet has got to, its reversed label leads back through the same interfaces."""
    route = data.draw(routes(mesh))
    start = route[0][0]
    there = mesh.travel(start, packet(mesh.label(route)))
    assert there.arrived is not None
    assert there.errors == 0
    assert [(hop.node, hop.left_by) for hop in there.hops[:-1]] == route
    assert there.arrived == mesh.links[route[-1]][0]
    for index, hop in enumerate(there.hops[1:], 1):
        way_in = [(seen.node, seen.came_from, seen.left_by) for seen in there.hops[:index]]
        # As the error packet that this hop could have sent.
        label = RouteLabel(int.from_bytes(hop.received[:8], "big")).reversed()
        back = mesh.travel(way_in[-1][0], packet(label), came_from=way_in[-1][2])
        assert back.arrived == start
        assert [(seen.node, seen.left_by, seen.came_from) for seen in back.hops] == way_in[::-1]
    # As the answer of the router at the end.
    label = RouteLabel(int.from_bytes(there.packet[:8], "big")).reversed()
    answer = mesh.travel(there.arrived, packet(label))
    assert answer.arrived == start
    passed = [(hop.node, hop.came_from, hop.left_by) for hop in there.hops]
    assert [(hop.node, hop.left_by, hop.came_from) for hop in answer.hops] == passed[::-1]
    # And the answer's reversed label is the way there again.
    assert RouteLabel(int.from_bytes(answer.packet[:8], "big")).reversed().path(
        [mesh.switches[node].scheme for node, _ in route]
    ) == [interface for _, interface in route]


@given(meshes(), st.data())
def test_an_error_finds_its_way_to_the_sender(mesh: SwitchMesh, data: st.DataObject) -> None:
    route = data.draw(routes(mesh))
    start, end = route[0][0], mesh.links[route[-1]]
    switch = mesh.switches[end[0]]
    if not switch.free:
        return
    # One hop further, to an interface that nobody has.
    missing = next(number for number in range(switch.scheme.numbers.count) if number not in switch.interfaces)
    beyond = RouteLabel(
        switch.scheme.serialize_director(missing, len(switch.scheme) - 1) | 1 << switch.scheme.numbers.widths[-1]
    )
    label = beyond.splice(mesh.label(route))
    if label.log2 > MESH_ROUTE_BITS:
        return
    sent = packet(label)
    journey = mesh.travel(start, sent)
    assert journey.errors == 1
    assert journey.arrived == start
    assert [hop.left_by for hop in journey.hops[: len(route)]] == [interface for _, interface in route]
    assert journey.packet[12:16] == b"\xff" * 4
    assert checksum_holds(journey.packet[16:])
    assert int.from_bytes(journey.packet[20:24], "big") == ErrorType.MALFORMED_ADDRESS
    assert journey.packet[24 + 12 :] == PAYLOAD


@given(meshes(), st.data())
def test_splicing_is_walking_one_route_after_the_other(mesh: SwitchMesh, data: st.DataObject) -> None:
    """C32: with the second route's first director made wide enough for the way back."""
    first = data.draw(routes(mesh, most_bits=24))
    middle, entered = mesh.links[first[-1]]
    second = data.draw(routes(mesh, start=middle, most_bits=24))
    switch = mesh.switches[middle]
    here = mesh.label(second, came_from=entered)
    if [*switch.scheme.numbers.widths] == sorted(switch.scheme.numbers.widths):
        assert label_for(mesh.label(second), switch.label_of(entered), scheme=switch.scheme) == here
    via = mesh.label(first)
    journey = mesh.travel(first[0][0], packet(here.splice(via)))
    assert [(hop.node, hop.left_by) for hop in journey.hops[:-1]] == first + second
    assert journey.arrived == mesh.links[second[-1]][0]


@given(meshes(), st.integers(0, 2**64 - 1), st.data())
def test_no_label_keeps_a_packet_going_for_ever(mesh: SwitchMesh, label: int, data: st.DataObject) -> None:
    node = data.draw(st.integers(0, len(mesh.switches) - 1))
    journey = mesh.travel(node, packet(label))
    least = min(min(switch.scheme.numbers.widths) for switch in mesh.switches)
    assert journey.errors <= 1  # an error packet asks for no errors
    assert len(journey.hops) <= 2 * (63 // least + 1)


@given(meshes())
def test_the_routers_own_label_is_delivered_and_never_forwarded(mesh: SwitchMesh) -> None:
    """C13: label 1 goes to the router, from whichever interface it comes."""
    for node, switch in enumerate(mesh.switches):
        for interface in switch.interfaces:
            outcome = switch.forward(interface, packet(1))
            assert isinstance(outcome, Forward), (node, interface)
            assert outcome.interface == ROUTER


def test_a_label_of_the_wrong_switch_is_a_label_error_not_a_crash() -> None:
    with pytest.raises(LabelError):
        Switch(F4).label_of(16)
