# SPDX-License-Identifier: Apache-2.0
"""Logs lead to the PCRs they were made for, and a log that does not is told where it goes wrong."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_logs import (
    EV_ACTION,
    EV_APPLICATION,
    EV_HCRTM,
    EV_NO_ACTION,
    EV_SEPARATOR,
    EV_VARIABLE,
    HASHES_ITS_DATA,
    agile_log,
    boot_logs,
    ima_log,
    ima_logs,
    image_load,
    measured,
    sha1_log,
    startup_locality,
    uefi_variable,
)
from prestocloud_sec.tpm.errors import TpmMisuseError
from prestocloud_sec.tpm.eventlog import EventLog, FaultKind, ImaLog, compare, kernel_log_at, replay
from prestocloud_sec.tpm.pcr import PcrBanks

SECURE_BOOT = uefi_variable(bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c"), "SecureBoot", b"\1")
BOTH = ("sha1", "sha256")


def boot(*, shim: bytes = b"shim", variable: bytes = SECURE_BOOT):
    """Return the log of a small boot: two variables, two images, the end of firmware."""
    return agile_log(
        BOTH,
        [
            measured(0, 0x8, b"v1.2.3", BOTH),
            measured(7, EV_VARIABLE, variable, BOTH),
            measured(4, EV_ACTION, b"Calling EFI Application from Boot Option", BOTH),
            measured(7, EV_SEPARATOR, bytes(4), BOTH),
            measured(4, EV_SEPARATOR, bytes(4), BOTH),
            measured(4, EV_APPLICATION, image_load("\\EFI\\shim.efi"), BOTH, shim),
            measured(4, EV_APPLICATION, image_load("\\EFI\\grub.efi"), BOTH, b"grub"),
        ],
    )


def with_event(built, number: int, **changes) -> EventLog:
    log = EventLog.decode(built.data)
    events = list(log.events)
    events[number] = changed(events[number], **changes)
    return EventLog(tuple(events))


def flipped(digests):
    return tuple((bank, bytes([value[0] ^ 1]) + value[1:]) for bank, value in digests)


@given(boot_logs())
def test_a_log_leads_where_it_was_made_to_lead(built):
    found = replay(EventLog.decode(built.data))
    for bank in built.banks:
        assert dict(found[bank]) == built.pcrs(bank)
    assert "table" in found._repr_html_()


@given(boot_logs())
def test_software_pcrs_go_the_same_way(built):
    """Two roads to one place: the replay, and a TPM's PCRs extended event by event."""
    pcrs = PcrBanks(built.banks)
    if built.locality == 3:
        pcrs.startup(3)
    assume(built.locality != 4)  # a hardware CRTM measures something, which a log without its event does not have
    for event in EventLog.decode(built.data):
        if event.type != EV_NO_ACTION:
            pcrs.extend(event.pcr, event.digests, locality=2)
    for bank in built.banks:
        for pcr, value in built.pcrs(bank).items():
            assert pcrs.read(pcr, bank) == value


@given(boot_logs())
def test_a_right_log_matches(built):
    log = EventLog.decode(built.data)
    found = compare(built.all_pcrs(), log)
    assert found.faults == ()
    assert found.first_fault is None
    assert found.uncompared == ()
    assert found.matches is any(built.all_pcrs().values())


@given(boot_logs(formats=("crypto-agile",)), st.data())
def test_a_changed_digest_is_found(built, data):
    """Where the data tells what was hashed, the very event is named; elsewhere the PCR is."""
    extended = [n for n, event in enumerate(built.events) if event.type != EV_NO_ACTION and event.digests]
    assume(extended)
    number = data.draw(st.sampled_from(extended))
    made = built.events[number]
    bad = with_event(built, number, digests=flipped(EventLog.decode(built.data)[number].digests))
    found = compare(built.all_pcrs(), bad)
    assert not found.matches
    banks = {bank for bank, _ in made.digests}
    assert len(found.faults) == len(banks)
    assert {row.pcr for row in found.faults} == {made.pcr}
    fault = found.first_fault
    assert fault is not None
    if made.type in HASHES_ITS_DATA:
        assert (fault.kind, fault.measurement) == (FaultKind.ALTERED, bad[number])
        assert found.misfits == (bad[number],)
        assert f"event {number}:" in str(fault)
    else:
        assert fault.kind is FaultKind.UNKNOWN


@given(boot_logs(), st.data())
def test_changed_data_is_told_though_the_pcrs_match(built, data):
    numbers = [n for n, event in enumerate(built.events) if event.type in HASHES_ITS_DATA and event.digests]
    assume(numbers)
    number = data.draw(st.sampled_from(numbers))
    raw = bytearray(built.events[number].data)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    # A separator may say 1 for an error, which is then what was measured.
    bad = with_event(built, number, data=bytes(raw))
    found = compare(built.all_pcrs(), bad)
    assert found.matches
    assert found.first_misfit == bad[number]
    assert found.misfits == (bad[number],)


@given(boot_logs(), st.data())
def test_single_changes_are_named(built, data):
    log = EventLog.decode(built.data)
    numbers = [event.number for event in log if event.is_extended]
    assume(numbers)
    number = data.draw(st.sampled_from(numbers))
    event = log[number]
    same = [other.number for other in log.of_pcr(event.pcr)]
    assume(len({log[n].digests for n in same}) == len(same))  # twice the same measurement cannot be told apart
    assume(all({bank for bank, _ in event.digests} == {bank for bank, _ in log[n].digests} for n in same))
    assume(event.digests)
    extra = changed(event, digests=flipped(event.digests), type=EV_APPLICATION)
    grown = EventLog((*log.events[: number + 1], extra, *log.events[number + 1 :]))
    found = compare(built.all_pcrs(), grown).first_fault
    kind = FaultKind.EXTRA if number == same[-1] else FaultKind.INSERTED
    assert found is not None
    assert (found.kind, found.measurement) == (kind, grown[number + 1])

    after = [n for n in same if n > number]
    if after:
        events = list(log.events)
        events[number], events[after[0]] = events[after[0]], events[number]
        swapped = EventLog(tuple(events))
        found = compare(built.all_pcrs(), swapped).first_fault
        assert found is not None
        assert (found.kind, found.measurement) == (FaultKind.SWAPPED, swapped[number])

    doubled = EventLog((*log.events[: number + 1], event, *log.events[number + 1 :]))
    found = compare(replay(doubled), log).first_fault
    assert found is not None
    assert (found.kind, found.measurement) == (FaultKind.DROPPED, log[number])


def test_a_log_that_lacks_an_event_names_none():
    built = boot()
    log = EventLog.decode(built.data)
    short = EventLog(log.events[:-1])
    fault = compare(built.all_pcrs(), short).first_fault
    assert fault is not None
    assert (fault.kind, fault.measurement, fault.is_proved) == (FaultKind.UNKNOWN, None, False)
    assert "cannot be told" in str(fault)


def test_a_digest_that_does_not_fit_is_suspected_where_more_is_wrong():
    built = boot()
    log = EventLog.decode(built.data)
    events = list(log.events)
    events[3] = changed(events[3], digests=flipped(events[3].digests))
    bad = EventLog(tuple(events[:-1]))
    fault = compare(built.all_pcrs(), bad).first_fault
    assert fault is not None
    assert (fault.kind, fault.measurement, fault.is_proved) == (FaultKind.SUSPECT, bad[3], False)


def test_a_pcr_that_no_log_extends_has_to_be_at_its_start():
    log = EventLog.decode(boot().data)
    good = {"sha256": {1: bytes(32), 17: b"\xff" * 32}}
    assert compare(good, log).matches
    bad = compare({"sha256": {1: b"\1" * 32, 17: bytes(32)}}, log)
    assert [row.fault.kind for row in bad.faults] == [FaultKind.UNLOGGED, FaultKind.START]
    assert (11, 4) in bad.uncompared
    assert (4, 4) in bad.uncompared


@pytest.mark.parametrize("locality", [0, 3, 4])
def test_pcr_0_starts_with_the_locality(locality):
    event = measured(0, 0x8, b"crtm", BOTH)
    told = agile_log(BOTH, [startup_locality(locality, BOTH), event], locality)
    assert dict(replay(EventLog.decode(told.data))["sha256"]) == told.pcrs("sha256")
    silent = EventLog.decode(agile_log(BOTH, [event]).data)
    found = compare(told.all_pcrs(), silent)
    assert found.matches is (locality == 0)
    if locality:
        assert found.first_fault.kind is FaultKind.START


def test_a_dynamic_launch_starts_its_pcrs_at_zero():
    raw = agile_log(BOTH, [measured(17, EV_SEPARATOR, bytes(4), BOTH)]).data
    model = PcrBanks(BOTH)
    model.dynamic_launch(bytes(4))  # whose own measurement is the one of the log
    values = {"sha1": {17: model.read(17, "sha1"), 18: bytes(20)}}
    launched, plain = EventLog.decode(raw, dynamic_launch=True), EventLog.decode(raw)
    assert replay(launched)["sha256"][17] == model.read(17, "sha256")
    assert compare(values, launched).matches
    assert [row.fault.kind for row in compare(values, plain).faults] == [FaultKind.START, FaultKind.START]
    assert launched != plain
    assert launched.encode() == plain.encode()


def test_a_hardware_crtm_means_locality_4():
    events = [measured(0, EV_HCRTM, b"HCRTM", BOTH, b"code"), measured(0, EV_SEPARATOR, bytes(4), BOTH)]
    built = agile_log(BOTH, events, 4)
    assert dict(replay(EventLog.decode(built.data))["sha1"]) == built.pcrs("sha1")
    model = PcrBanks(["sha1"])
    model.startup(hcrtm=b"code")
    model.extend(0, dict(events[1].digests))
    assert built.pcrs("sha1")[0] == model.read(0, "sha1")


def test_a_long_log_is_searched_within_bounds():
    events = [measured(10, 0xD, bytes([n % 251, n // 251]), ("sha1",), b"x%d" % n) for n in range(5000)]
    log = EventLog.decode(sha1_log(events).data)
    fault = compare({"sha1": {10: bytes(range(20))}}, log).first_fault
    assert fault is not None
    assert fault.kind is FaultKind.UNKNOWN


@given(ima_logs())
def test_kernel_logs_lead_where_they_were_made_to(built):
    log = ImaLog.decode(built.data)
    if not len(log):
        assert dict(replay(log)["sha1"]) == {}
        return
    assert replay(log)["sha1"][10] == built.pcr("sha1")
    both = replay(log, banks=["sha256", "sha512"])
    assert both["sha256"][10] == built.pcr("sha256")
    assert both["sha512"][10] == built.pcr("sha512")
    old = ImaLog.decode(built.data, sha1_padded=True)
    assert replay(old, banks=["sha256"])["sha256"][10] == built.pcr("sha256", padded=True)
    assert replay(old)["sha1"][10] == built.pcr("sha1")


@given(ima_logs(), st.data())
def test_a_changed_entry_is_named(built, data):
    log = ImaLog.decode(built.data)
    numbers = [entry.number for entry in log if not entry.is_violation]
    assume(numbers)
    number = data.draw(st.sampled_from(numbers))
    entry = log[number]
    digest = bytes([entry.digest[0] ^ 1]) + entry.digest[1:]
    assume(any(digest))
    bad = ImaLog((*log.entries[:number], changed(entry, digest=digest), *log.entries[number + 1 :]))
    found = compare({"sha1": {10: built.pcr("sha1")}}, bad)
    assert (found.first_fault.kind, found.first_fault.measurement) == (FaultKind.ALTERED, bad[number])
    assert found.misfits == (bad[number],)
    # In another bank the digest of the log says nothing, but the data still leads there.
    assert compare({"sha256": {10: built.pcr("sha256")}}, bad).matches


@given(ima_logs(), st.data())
def test_a_log_that_is_ahead_of_the_pcr_is_cut(built, data):
    whole = ImaLog.decode(built.data)
    count = data.draw(st.integers(0, len(whole)))
    there = replay(ImaLog(whole.entries[:count]), banks=["sha256"])["sha256"].get(10, bytes(32))
    for bank in ("sha1", "sha256"):
        values = replay(ImaLog(whole.entries[:count]), banks=[bank])[bank].get(10, bytes(20 if bank == "sha1" else 32))
        assert kernel_log_at({bank: {10: values}}, whole).entries == whole.entries[:count]
    old = ImaLog(whole.entries[:count], sha1_padded=True)
    padded = replay(old, banks=["sha256"])["sha256"].get(10, bytes(32))
    found = kernel_log_at({"sha256": {10: padded}}, whole)
    assert found.entries == whole.entries[:count]
    assert compare({"sha256": {10: padded}}, found).matches
    assert kernel_log_at({"sha256": {10: b"\1" * 32}}, whole) == whole
    assert kernel_log_at({"sha256": {9: there}}, whole) == whole
    before = EventLog.decode(sha1_log([measured(10, EV_SEPARATOR, bytes(4), ("sha1",))]).data)
    both = replay(before, ImaLog(whole.entries[:count]), banks=["sha1"])["sha1"][10]
    assert kernel_log_at({"sha1": {10: both}}, whole, before).entries == whole.entries[:count]


def test_logs_of_one_pcr_follow_each_other():
    first = sha1_log([measured(10, EV_SEPARATOR, bytes(4), ("sha1",))])
    second = sha1_log([measured(10, EV_SEPARATOR, b"\xff" * 4, ("sha1",))])
    joined = sha1_log([*first.events, *second.events])
    logs = EventLog.decode(first.data), EventLog.decode(second.data)
    assert replay(*logs)["sha1"][10] == joined.pcrs("sha1")[10]
    assert replay(*reversed(logs))["sha1"][10] != joined.pcrs("sha1")[10]


@pytest.mark.parametrize(
    "call",
    [
        lambda log: compare(7, log),
        lambda log: compare({"md5": {}}, log),
        lambda log: compare({"sha1": 7}, log),
        lambda log: compare({"sha1": {0: bytes(19)}}, log),
        lambda log: compare({"sha1": {32: bytes(20)}}, log),
        lambda log: compare({"sha1": {"0": bytes(20)}}, log),
        lambda log: compare({"sha1": {0: "text"}}, log),
        lambda log: compare({"sha1": {0: bytes(20)}}, 7),
        lambda log: replay(7),
        lambda log: replay(log, banks=["md5"]),
        lambda log: replay(log, banks=7),
        lambda log: replay(log)["sha512"],
        lambda log: replay(log)[object()],
    ],
)
def test_what_cannot_be_compared_is_refused(call):
    with pytest.raises(TpmMisuseError):
        call(EventLog.decode(boot().data))


def test_what_was_compared_can_be_read():
    built = boot()
    good, bad = EventLog.decode(built.data), with_event(built, 2, data=SECURE_BOOT[:-1] + b"\0")
    assert "PCR 7 (sha256): 2 measurements lead to its value" in str(compare(built.all_pcrs(), good))
    assert compare(built.all_pcrs(), bad).first_misfit.number == 2
    assert "<table>" in compare(built.all_pcrs(), good)._repr_html_()
    assert str(compare({}, good)) == "nothing was compared"
    assert not compare({}, good).matches
    assert ima_log([]).data == b""
