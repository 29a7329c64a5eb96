# SPDX-License-Identifier: Apache-2.0
"""Reference policies: what a machine should have measured, and the first measurement that it should not have."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from dataclasses import replace as changed

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_device import PretendTpm
from prestocloud_sec.testing.tpm_logs import (
    EV_ACTION,
    EV_APPLICATION,
    EV_SEPARATOR,
    EV_VARIABLE,
    BuiltLog,
    agile_log,
    ima_entry,
    ima_log,
    image_load,
    measured,
    uefi_variable,
)
from prestocloud_sec.tpm.attest import Grade, ReferencePolicy, Verdict, verify_quote
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog import EventLog, ImaLog
from prestocloud_sec.tpm.pcr import PcrBanks, PcrSelection

BANKS = ("sha1", "sha256")
GUID = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
AK = PretendTpm().create_ak()


def boot(*, secure: bytes = b"\1", shim: bytes = b"shim", more: bytes | None = None) -> BuiltLog:
    """Return the log of a small boot."""
    events = [
        measured(0, 0x8, b"v1.2.3", BANKS),
        measured(7, EV_VARIABLE, uefi_variable(GUID, "SecureBoot", secure), BANKS),
        measured(7, EV_SEPARATOR, bytes(4), BANKS),
        measured(4, EV_ACTION, b"Calling EFI Application from Boot Option", BANKS),
        measured(4, EV_APPLICATION, image_load("\\EFI\\shim.efi"), BANKS, shim),
        measured(4, EV_APPLICATION, image_load("\\EFI\\grub.efi"), BANKS, b"grub"),
    ]
    if more is not None:
        events.append(measured(4, EV_APPLICATION, image_load("\\EFI\\more.efi"), BANKS, more))
    return agile_log(BANKS, events)


def aggregate(built: BuiltLog) -> bytes:
    """Return the digest that a log of the kernel begins with after such a boot."""
    values = built.pcrs("sha256")
    return hashlib.sha256(b"".join(values.get(pcr, bytes(32)) for pcr in range(10))).digest()


def kernel(built: BuiltLog, *entries, first: bytes | None = None):
    """Return a log of the kernel: the digest of the boot's PCRs, then files."""
    boot_entry = ima_entry("ima-ng", [b"sha256:\0" + (first or aggregate(built)), b"boot_aggregate\0"])
    return ima_log([boot_entry, *entries])


def a_file(path: bytes, content: bytes, *, violation: bool = False):
    fields = [b"sha256:\0" + hashlib.sha256(content).digest(), path + b"\0"]
    return ima_entry("ima-ng", fields, violation=violation)


def judge(
    policy: ReferencePolicy, built: BuiltLog, ima=None, selection: str = "sha256:0,1,2,3,4,5,6,7,8,9,10", logs=None
) -> Verdict:
    """Quote the PCRs that a boot and a kernel led to, and judge them."""
    pcrs = PcrBanks(BANKS)
    for event in built.events[1:]:
        pcrs.extend(event.pcr, event.digests)
    held = [EventLog.decode(built.data)]
    if ima is not None:
        log = ImaLog.decode(ima.data)
        for _, link in log.links(_row("sha256")):
            pcrs.extend(10, {"sha256": link.value})
        for _, link in log.links(_row("sha1")):
            pcrs.extend(10, {"sha1": link.value})
        held.append(log)
    AK.tpm.pcrs = pcrs
    attest, signature = AK.quote(PcrSelection.of(selection).encode(), b"nonce")
    return verify_quote(
        attest, signature, AK.public, nonce=b"nonce", pcrs=pcrs, logs=held if logs is None else logs, policy=policy
    )


def _row(name: str):
    from prestocloud_sec.tpm.hashes import hash_of

    return hash_of(name)


def failed(verdict: Verdict) -> set[str]:
    return {clause.name for clause in verdict.failed}


GOOD = EventLog.decode(boot().data)
LEARNED = ReferencePolicy.learn(GOOD, pcrs=[0, 4, 7])
SHIM = hashlib.sha256(b"shim").digest()


def test_what_was_learned_passes():
    verdict = judge(LEARNED, boot())
    assert failed(verdict) == set()
    assert verdict["measurements"].words == "6 measurements, all in the reference"
    assert verdict.culprit is None
    assert "shim.efi" in LEARNED.measurements[4][SHIM]


@given(st.sampled_from(["secure", "shim", "more"]), st.binary(min_size=1, max_size=8))
def test_the_first_measurement_that_is_new_is_named(which, content):
    if content in (b"\1", b"shim", b"grub"):
        return
    verdict = judge(LEARNED, boot(**{which: content}))
    assert failed(verdict) == {"measurements"}
    number = {"secure": 2, "shim": 5, "more": 7}[which]
    assert verdict.culprit.number == number
    assert f"event {number}:" in verdict["measurements"].words
    assert f"event {number}:" in str(verdict)
    assert verdict.grade is Grade.NONE


def test_two_culprits_the_first_is_named():
    policy = changed(LEARNED, forbidden={SHIM: "revoked"})
    verdict = judge(policy, boot(more=b"x"))
    assert failed(verdict) == {"measurements", "forbidden"}
    assert verdict.culprit.number == 5
    assert "revoked" in verdict["forbidden"].words


def test_values_may_be_any_of_a_set():
    values = boot().pcrs("sha256")
    policy = ReferencePolicy(values={4: [values[4], bytes(32)], 7: {values[7]}})
    assert judge(policy, boot())["values"].holds
    verdict = judge(policy, boot(shim=b"other"))
    assert failed(verdict) == {"values"}
    assert "PCR 4 is" in verdict["values"].words
    assert "PCR 7" not in verdict["values"].words


def test_what_is_asked_for_has_to_be_there():
    policy = ReferencePolicy(required={4: {SHIM: "the shim"}})
    assert judge(policy, boot())["required"].holds
    verdict = judge(policy, boot(shim=b"other"))
    assert failed(verdict) == {"required"}
    assert "PCR 4 the shim" in verdict["required"].words


@pytest.mark.parametrize("secure", [b"\1", b"\0", b"", b"\2"])
def test_secure_boot_is_what_the_firmware_measured(secure):
    wants_on, wants_off = ReferencePolicy(secure_boot=True), ReferencePolicy(secure_boot=False)
    verdict = judge(wants_on, boot(secure=secure))
    assert verdict["secure boot"].holds is (secure == b"\1")
    assert judge(wants_off, boot(secure=secure))["secure boot"].holds is (secure != b"\1")
    if secure != b"\1":
        assert verdict.culprit.number == 2


def test_secure_boot_is_not_what_the_log_says_or_what_came_later():
    """The PCR vouches for digests: an altered value is found, and so is a measurement after the firmware's last."""
    good = boot(secure=b"\0")
    log = EventLog.decode(good.data)
    lie = changed(log[2], data=uefi_variable(GUID, "SecureBoot", b"\1"))
    verdict = judge(ReferencePolicy(secure_boot=True), good, logs=[EventLog((*log.events[:2], lie, *log.events[3:]))])
    assert verdict["log"].holds
    assert failed(verdict) == {"secure boot"}
    assert "not what was measured" in verdict["secure boot"].words
    late = agile_log(
        BANKS,
        [
            measured(7, EV_SEPARATOR, bytes(4), BANKS),
            measured(7, EV_VARIABLE, uefi_variable(GUID, "SecureBoot", b"\1"), BANKS),
        ],
    )
    assert failed(judge(ReferencePolicy(secure_boot=True), late)) == {"secure boot"}


def test_what_is_not_quoted_fails():
    policy = changed(LEARNED, values={7: [bytes(32)]}, required={0: {}}, secure_boot=True)
    verdict = judge(policy, boot(), selection="sha256:4")
    assert failed(verdict) == {"values", "measurements", "required", "secure boot"}
    assert "not quoted: PCR 0, 7 of sha256" in verdict["measurements"].words
    assert "measurements" in failed(judge(LEARNED, boot(), selection="sha1:0,4,7"))


def test_nothing_is_said_of_what_no_quote_vouches_for():
    verdict = judge(LEARNED, boot(), logs=[])
    assert verdict["measurements"].state.value == "not checked"
    short = EventLog(EventLog.decode(boot().data).events[:-1])
    verdict = judge(LEARNED, boot(), logs=[short])
    assert failed(verdict) == {"log"}
    assert not verdict["measurements"].holds
    attest, signature = AK.quote(PcrSelection.of("sha256:0,4,7").encode(), b"nonce")
    verdict = verify_quote(attest, signature[:-1] + b"\0", AK.public, policy=LEARNED, pcrs=AK.tpm.pcrs)
    assert not verdict["measurements"].holds
    assert not verdict.accepts("measurements")


LS, SH = a_file(b"/bin/ls", b"ls"), a_file(b"/bin/sh", b"sh")


def learned_files(*entries) -> ReferencePolicy:
    return ReferencePolicy.learn(GOOD, ImaLog.decode(ima_log(entries).data), pcrs=[4], files=True)


def test_files_are_held_against_their_content():
    policy, built = learned_files(LS, SH), boot()
    verdict = judge(policy, built, kernel(built, LS, SH, LS))
    assert failed(verdict) == set()
    assert verdict["files"].words == "4 files, all in the reference"
    for bad, words in (
        (a_file(b"/bin/ls", b"changed"), "not in the reference: sha256:"),
        (a_file(b"/bin/new", b"ls"), "not in the reference"),
        (a_file(b"/bin/ls", b"ls", violation=True), "written while"),
        (ima_entry("ima-ng", [b"garbage", b"/bin/ls\0"]), "tells no content"),
        (ima_entry("unknown", [b"x", b"y\0"]), "tells no content"),
    ):
        verdict = judge(policy, built, kernel(built, LS, bad, SH))
        assert failed(verdict) == {"files"}, words
        assert words in verdict["files"].words
        assert verdict.culprit.number == 2
        assert "entry 2:" in str(verdict)
    lenient = changed(policy, allow_violations=True)
    assert judge(lenient, built, kernel(built, a_file(b"/x", b"x", violation=True)))["files"].holds
    assert failed(judge(policy, built)) == {"files"}


def test_files_that_are_forbidden_are_found():
    policy = ReferencePolicy(forbidden={hashlib.sha256(b"sh").digest(): "CVE"})
    verdict = judge(policy, boot(), kernel(boot(), LS, SH))
    assert failed(verdict) == {"forbidden"}
    assert verdict.culprit.path == "/bin/sh"
    assert judge(policy, boot(), kernel(boot(), LS))["forbidden"].holds


def test_the_kernels_log_belongs_to_this_boot():
    policy, built = learned_files(LS), boot()
    other = kernel(built, LS, first=bytes(32))
    verdict = judge(policy, built, other)
    assert failed(verdict) == {"files"}
    assert "other PCRs" in verdict["files"].words
    verdict = judge(policy, built, kernel(built, LS), selection="sha256:0,10")
    assert failed(verdict) >= {"files"}
    assert "were not all quoted" in verdict["files"].words
    odd = ima_log([ima_entry("ima-ng", [b"sha1:\0" + bytes(20), b"boot_aggregate\0"]), LS])
    assert "bank sha1" in judge(policy, built, odd)["files"].words
    sha1 = hashlib.sha1(
        b"".join(built.pcrs("sha1").get(pcr, bytes(20)) for pcr in range(8)), usedforsecurity=False
    ).digest()
    old = ima_log([ima_entry("ima-ng", [b"sha1:\0" + sha1, b"boot_aggregate\0"]), LS])
    policy = ReferencePolicy("sha1", files={"/bin/ls": [hashlib.sha256(b"ls").digest()]})
    assert judge(policy, built, old, selection="sha1:0,1,2,3,4,5,6,7,10")["files"].holds


def test_an_entry_that_is_not_what_was_measured_is_not_believed():
    """In the log's own bank the digests lead to the PCR whatever the data beside them says."""
    policy = ReferencePolicy("sha1", files={"/bin/ls": [hashlib.sha256(b"ls").digest()]})
    ima = ima_log([a_file(b"/bin/ls", b"evil")])
    log = ImaLog.decode(ima.data)
    lie = ImaLog((changed(log[0], fields=LS.fields),))
    verdict = judge(policy, boot(), ima, selection="sha1:10", logs=[lie])
    assert verdict["log"].holds
    assert failed(verdict) == {"files"}
    assert "not what was measured" in verdict["files"].words
    assert verdict.culprit == lie[0]


EVERYTHING = ReferencePolicy(
    "sha384",
    values={0: [bytes(48), b"\1" * 48]},
    measurements={4: {bytes(48): "shim ü"}, 9: {}},
    required={4: [b"\2" * 48]},
    forbidden={bytes(20): "old", bytes(32): ""},
    secure_boot=False,
    files={"/bin/ls": [bytes(32)], "/é": []},
    allow_violations=True,
)


def test_policies_are_values_and_json():
    for policy in (EVERYTHING, ReferencePolicy(), LEARNED):
        assert ReferencePolicy.from_json(policy.to_json()) == policy
        assert ReferencePolicy.from_json(policy.to_json().encode()) == policy
        assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy  # noqa: S301
        assert "reference policy" in policy._repr_html_()
    assert json.loads(EVERYTHING.to_json())["bank"] == "sha384"
    with pytest.raises(TypeError):
        EVERYTHING.values[0] = frozenset()
    with pytest.raises(AttributeError):
        EVERYTHING.bank = 4
    with pytest.raises(TypeError):
        hash(EVERYTHING)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("0a:é", max_size=4),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(["bank", "values", "0", "4", "00", "files", "forbidden", "required", "secure_boot"]),
                x,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_policy_or_refused(found):
    try:
        policy = ReferencePolicy.from_json(json.dumps(found))
    except TpmFormatError:
        return
    assert ReferencePolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"x": 1}',
        '{"bank": "md5"}',
        "[" * 100000,
        '{"values": {"0": "00"}}',
        '{"values": {"99": []}}',
        '{"forbidden": {"0g": ""}}',
        '{"files": {"x": [7]}}',
        '{"secure_boot": 7}',
    ],
)
def test_what_is_no_policy_is_refused(wrong):
    with pytest.raises(TpmFormatError):
        ReferencePolicy.from_json(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ReferencePolicy("md5"),
        lambda: ReferencePolicy(values=7),
        lambda: ReferencePolicy(values={0: 7}),
        lambda: ReferencePolicy(values={0: [bytes(31)]}),
        lambda: ReferencePolicy(values={0: bytes(32)}),
        lambda: ReferencePolicy(values={32: []}),
        lambda: ReferencePolicy(measurements={0: {bytes(32): 7}}),
        lambda: ReferencePolicy(measurements={0: {"x": ""}}),
        lambda: ReferencePolicy(forbidden=7),
        lambda: ReferencePolicy(secure_boot="yes"),
        lambda: ReferencePolicy(allow_violations=None),
        lambda: ReferencePolicy(files=[]),
        lambda: ReferencePolicy(files={7: []}),
        lambda: ReferencePolicy.learn(7, pcrs=[0]),
        lambda: ReferencePolicy.learn(GOOD, pcrs=7),
        lambda: ReferencePolicy.learn(GOOD, pcrs=[99]),
        lambda: ReferencePolicy.from_json(7),
    ],
)
def test_wrong_arguments_are_refused(call):
    with pytest.raises(TpmMisuseError):
        call()
