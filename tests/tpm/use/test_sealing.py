# SPDX-License-Identifier: Apache-2.0
"""Sealed secrets: they open in their state and for their password, and are sealed anew for what is foretold."""

from __future__ import annotations

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.testing.tpm_logs import agile_log, measured
from prestocloud_sec.tpm import Client, EventLog, PcrBanks, replay, use
from prestocloud_sec.tpm.errors import (
    AuthFailError,
    IntegrityError,
    PolicyError,
    PolicyFailError,
    TpmMisuseError,
    TpmResponseError,
)
from prestocloud_sec.tpm.pem import public_area_of
from prestocloud_sec.tpm.policy import CommandCode, Policy, Signed
from prestocloud_sec.tpm.session import ParameterCipher, SessionKind
from prestocloud_sec.tpm.spec import TPM_CC
from prestocloud_sec.tpm.spec.commands import PolicyPCR, Unseal

SECRET = bytes(range(32))
ZEROS = {"sha256": bytes(32), "sha1": bytes(20)}


@pytest.fixture
def reset(client: Client) -> Client:
    """Set the debug PCR to zero."""
    client.pcr_reset(16)
    return client


@pytest.mark.parametrize("pcrs", ["", "sha256:16", "sha1:0,16+sha256:16,23"])
@pytest.mark.parametrize("password", ["", "open"])
def test_what_is_sealed_opens(client, pcrs, password):
    sealed = use.seal(client, SECRET, pcrs=pcrs, password=password)
    again = use.WrappedObject.from_json(sealed.to_json())
    assert use.unseal(client, again, password=password) == SECRET
    assert SECRET.hex() not in sealed.to_json()
    assert SECRET not in b"".join(sealed.to_files())


def test_in_another_state_it_does_not_open(reset):
    sealed = use.seal(reset, SECRET, pcrs="sha256:16")
    reset.pcr_event(16, b"an event")
    now = hashlib.sha256(bytes(32) + hashlib.sha256(b"an event").digest()).hexdigest()
    with pytest.raises(PolicyFailError) as refused:
        use.unseal(reset, sealed)
    assert f"PCR 16 of sha256 is {now}, sealed for {bytes(32).hex()}" in str(refused.value)
    reset.pcr_reset(16)
    assert use.unseal(reset, sealed) == SECRET


def test_the_tpm_itself_says_policy_fail(reset):
    """A session that does not tell the TPM what it expects of the PCRs gets as far as the object."""
    sealed = use.seal(reset, SECRET, pcrs="sha256:16")
    reset.pcr_event(16, b"an event")
    with use.load(reset, sealed) as item, reset.start_session(SessionKind.POLICY) as session:
        reset.execute(PolicyPCR(session, b"", sealed.policy.steps[0].selection.to_list()))
        with pytest.raises(PolicyFailError) as refused:
            reset.execute(Unseal(item), [session])
    assert refused.value.rc == 0x99D


def test_a_wrong_password_is_refused_and_counted(client):
    sealed = use.seal(client, SECRET, pcrs="sha256:16", password="open")
    before = client.lockout_state().failures
    with pytest.raises(AuthFailError) as refused:
        use.unseal(client, sealed, password="shut")
    assert refused.value.rc == 0x98E
    with pytest.raises(AuthFailError):
        use.unseal(client, sealed)
    assert client.lockout_state().failures == before + 2
    assert use.unseal(client, sealed, password="open") == SECRET


def test_the_password_alone_is_not_enough(client):
    sealed = use.seal(client, SECRET, pcrs="sha256:16", password="open")
    with use.load(client, sealed, password="open") as item, pytest.raises(TpmResponseError):
        client.unseal(item)


def test_it_is_sealed_anew_before_an_update(reset):
    sealed = use.seal(reset, SECRET, pcrs="sha1:16+sha256:16", password="open")
    after = use.foretell(
        use.read_pcrs(reset), [(16, b"the new kernel"), (16, {"sha256": bytes(32), "sha1": bytes(20)})]
    )
    only = use.reseal(reset, sealed, values=after, password="open")
    both = use.reseal(reset, sealed, values=after, password="open", keep_current=True, new_password="other")
    with pytest.raises(PolicyFailError):
        use.unseal(reset, only, password="open")
    assert use.unseal(reset, both, password="other") == SECRET
    reset.pcr_event(16, b"the new kernel")
    for each in (only, both, sealed):
        with pytest.raises(PolicyFailError):
            use.unseal(reset, each, password="open")
    use.extend_pcr(reset, 16, ZEROS)
    assert use.unseal(reset, only, password="open") == SECRET
    assert use.unseal(reset, both, password="other") == SECRET
    with pytest.raises(PolicyFailError):
        use.unseal(reset, sealed, password="open")
    again = use.reseal(reset, both, password="other")
    assert use.unseal(reset, again, password="other") == SECRET


def test_a_software_bank_foretells(reset):
    model = PcrBanks(use.pcr_banks(reset))
    model.event(16, b"version 2")
    sealed = use.seal(reset, SECRET, pcrs="sha256:16", values=model)
    with pytest.raises(PolicyFailError):
        use.unseal(reset, sealed)
    reset.pcr_event(16, b"version 2")
    assert use.unseal(reset, sealed) == SECRET


def boot(*contents: bytes) -> EventLog:
    banks = ("sha1", "sha256")
    return EventLog.decode(agile_log(banks, [measured(16, 5, content, banks) for content in contents]).data)


def test_an_event_log_foretells(reset):
    old, new = boot(b"firmware", b"kernel 1", b"policy"), boot(b"firmware", b"kernel 2", b"policy")
    number = next(event.number for event in old if event.data == b"kernel 1")
    digests = {bank: hashlib.new(bank, b"kernel 2").digest() for bank in ("sha1", "sha256")}
    foretold = use.foretell_log(old, {number: digests})
    assert foretold == {bank: dict(pcrs) for bank, pcrs in replay(new).values.items()}
    without = use.foretell_log(old, {number: None})
    assert without == {bank: dict(pcrs) for bank, pcrs in replay(boot(b"firmware", b"policy")).values.items()}
    sealed = use.seal(reset, SECRET, pcrs="sha256:16", values=[replay(old), foretold])
    with pytest.raises(PolicyFailError):
        use.unseal(reset, sealed)
    for log in (old, new):
        reset.pcr_reset(16)
        for event in log:
            if event.is_extended:
                use.extend_pcr(reset, 16, {digest.algorithm: digest.value for digest in event.digests})
        assert use.read_pcrs(reset, "sha256:16")[11][16] == replay(log)["sha256"][16]
        assert use.unseal(reset, sealed) == SECRET


def test_it_is_bound_to_its_tpm(client):
    from prestocloud_sec.tpm import connect

    sealed = use.seal(client, SECRET)
    with connect("embedded:") as other:
        with pytest.raises(TpmMisuseError, match="no parent"):
            use.unseal(other, sealed)
        with pytest.raises(IntegrityError):
            use.unseal(other, sealed, parent=use.srk(other))


def test_a_policy_of_ones_own(client):
    owner = ec.generate_private_key(ec.SECP256R1())
    signed = Signed(public_area_of(owner.public_key()))
    sealed = use.seal(client, SECRET, policy=CommandCode(TPM_CC.Unseal) >> signed, password="open")
    assert use.unseal(client, sealed, password="open", signer=owner) == SECRET
    with pytest.raises(PolicyError, match="signature"):
        use.unseal(client, sealed, password="open")
    with pytest.raises(TpmMisuseError, match="policy of its own"):
        use.reseal(client, sealed, password="open")
    nothing = use.WrappedObject(sealed.public, sealed.private, sealed.parent)
    with pytest.raises(TpmMisuseError, match="policy is not known"):
        use.unseal(client, nothing, password="open")


@pytest.mark.parametrize("options", [{"pcrs": "sha256:16"}, {"policy": CommandCode(TPM_CC.Unseal)}])
def test_a_password_that_the_policy_does_not_ask_for_is_refused(reset, options):
    """The TPM has no HMAC that it would be wrong in, and would encrypt with another key than ours."""
    sealed = use.seal(reset, SECRET, **options)
    for call in (use.unseal, use.reseal) if "pcrs" in options else (use.unseal,):
        with pytest.raises(TpmMisuseError, match="the policy asks for none"):
            call(reset, sealed, password="foo")
    assert use.unseal(reset, sealed) == SECRET


def test_a_value_that_no_policy_asks_for_changes_nothing_of_what_comes_back(client):
    policy = Policy(CommandCode(TPM_CC.Unseal))
    template = use.sealed_template(policy=policy, with_auth=False)
    sealed = use.create(client, template, password="pw", data=SECRET, policy=policy)
    assert use.unseal(client, sealed) == SECRET
    with use.load(client, sealed, password="another") as item, use.srk(client) as key:
        with use.policy_session(client, policy, salt_key=key) as session:
            with pytest.raises(TpmMisuseError, match="does not ask for"):
                client.unseal(item, sessions=[session])
            with client.start_session(cipher=ParameterCipher(), salt_key=key) as further:
                assert client.unseal(item, sessions=[session, further]) == SECRET
        with use.policy_session(client, policy) as session:
            assert client.unseal(item, sessions=[session]) == SECRET


def test_a_parent_with_a_name_of_its_own(client):
    with use.srk(client, label="application") as parent:
        sealed = use.seal(client, SECRET, parent=parent, pcrs="sha256:16")
        with pytest.raises(TpmMisuseError, match="no parent"):
            use.unseal(client, sealed)
        assert use.unseal(client, sealed, parent=parent) == SECRET


@pytest.mark.parametrize(
    "options",
    [
        {"data": b""},
        {"data": bytes(129)},
        {"data": "text"},
        {"data": None},
        {"pcrs": "sha256"},
        {"pcrs": "md5:0"},
        {"pcrs": 7},
        {"pcrs": "sha256:24"},
        {"pcrs": "sha512:0", "values": {"sha256": {0: bytes(32)}}},
        {"values": {"sha256": {0: bytes(32)}}},
        {"pcrs": "sha256:0", "values": {"sha256": {0: bytes(31)}}},
        {"pcrs": "sha256:0", "values": []},
        {"pcrs": "sha256:0", "values": 5},
        {"password": 5},
        {"password": "x" * 33},
        {"policy": b""},
        {"policy": Policy},
        {"parent": 5},
    ],
)
def test_misuse_of_seal(client, options):
    with pytest.raises(TpmMisuseError):
        use.seal(client, **{"data": SECRET, **options})


def test_misuse_of_the_rest(client):
    sealed = use.seal(client, SECRET, pcrs="sha256:16")
    for call in (
        lambda: use.unseal(client, None),
        lambda: use.unseal(client, sealed.to_json()),
        lambda: use.unseal(client, sealed, password=5),
        lambda: use.unseal(client, sealed, parent=5),
        lambda: use.reseal(client, sealed, keep_current=1),
        lambda: use.reseal(client, sealed, values="sha256"),
        lambda: use.foretell({}, [(16, b"")]),
        lambda: use.foretell({"sha256": {16: bytes(32)}}, [16]),
        lambda: use.foretell({"sha256": {16: bytes(32)}}, [(24, b"")]),
        lambda: use.foretell({"sha256": {16: bytes(32)}}, [(16, {"sha1": bytes(20)})]),
        lambda: use.foretell_log(boot(b"x"), {99: None}),
        lambda: use.foretell_log(boot(b"x"), {1: {"sha1": bytes(20)}}),
        lambda: use.foretell_log(b"", {}),
        lambda: use.foretell_log(boot(b"x"), None),
        lambda: use.extend_pcr(client, 16, {}),
        lambda: use.extend_pcr(client, 16, {"sha256": b"x"}),
        lambda: use.extend_pcr(client, 25, {"sha256": bytes(32)}),
    ):
        with pytest.raises(TpmMisuseError):
            call()
    assert use.unseal(client, sealed) == SECRET


class TestPcrs:
    def test_a_thousand_random_extends(self, reset):
        """The software bank equals the TPM, over all banks and the PCRs that anyone may extend."""
        model = PcrBanks(use.pcr_banks(reset))
        start = use.read_pcrs(reset)
        if start != model.values():
            pytest.skip("hardware TPM: it has measured before")
        for number in range(1000):
            pcr = os.urandom(1)[0] % 16
            if number % 7 == 0:
                data = os.urandom(number)
                told = reset.pcr_event(pcr, data)
                assert {row.hashAlg: row.digest for row in told} == model.event(pcr, data)
                continue
            chosen = {bank: os.urandom(use.pcrs.hash_of(bank).size) for bank in model.banks if os.urandom(1)[0] % 2}
            if chosen:
                use.extend_pcr(reset, pcr, chosen)
                model.extend(pcr, chosen)
        assert use.read_pcrs(reset) == model.values()
        answer = reset.pcr_read(())
        assert answer.pcrUpdateCounter == model.update_counter

    def test_reading_says_what_is_missing(self, client):
        with pytest.raises(TpmResponseError, match="hash"):
            use.read_pcrs(client, "sha3_256:3")
        assert use.read_pcrs(client, "") == {}


class TestRandom:
    def test_a_mebibyte(self, client):
        """Ones and zeros, and bytes, are as frequent as chance has them (six standard deviations)."""
        size = 1 << 20
        data = use.random_bytes(client, size)
        assert len(data) == size
        ones = int.from_bytes(data, "big").bit_count()
        assert abs(ones - 4 * size) < 6 * (8 * size / 4) ** 0.5
        expected = size / 256
        square = sum((data.count(bytes((value,))) - expected) ** 2 / expected for value in range(256))
        assert abs(square - 255) < 6 * (2 * 255) ** 0.5
        assert len({data[at : at + 64] for at in range(0, size, 64)}) == size // 64

    @pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000])
    def test_sizes(self, client, size):
        assert len(use.random_bytes(client, size)) == len(use.random_bytes(client, size, mix=True)) == size

    def test_mixing_takes_both(self, client, monkeypatch):
        monkeypatch.setattr("prestocloud_sec.tpm.use.random.os.urandom", bytes)
        assert len(set(use.random_bytes(client, 4096, mix=True))) > 200
        monkeypatch.undo()
        monkeypatch.setattr(type(client), "get_random", lambda self, count: bytes(count))
        assert use.random_bytes(client, 64) == bytes(64)
        assert use.random_bytes(client, 64, mix=True) != bytes(64)

    def test_a_tpm_that_gives_too_much_or_nothing(self, client, monkeypatch):
        from prestocloud_sec.tpm.errors import TpmFormatError

        for count in (0, 65):
            monkeypatch.setattr(type(client), "get_random", lambda self, _, count=count: bytes(count))
            with pytest.raises(TpmFormatError):
                use.random_bytes(client, 100)

    def test_stirring(self, client):
        use.stir(client, os.urandom(1000))
        use.stir(client, b"")
        for wrong in (None, "x", 5):
            with pytest.raises(TpmMisuseError):
                use.stir(client, wrong)
        for wrong in (-1, None, 1 << 40, b""):
            with pytest.raises(TpmMisuseError):
                use.random_bytes(client, wrong)
