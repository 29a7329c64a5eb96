# SPDX-License-Identifier: Apache-2.0
"""The demo's third stage: the right states are trusted, the wrong one is not, and nothing stays behind in the TPM."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from prestocloud_sec.cli.base import new_console
from prestocloud_sec.demo import parties, trust
from prestocloud_sec.demo.run import run
from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import connect
from prestocloud_sec.tpm.errors import TpmUnavailableError
from prestocloud_sec.tpm.spec import TPM_CAP, TPM_HT
from prestocloud_sec.tpm.transport import libtpms

face = importlib.import_module("prestocloud_sec.cli.demo")  # the package has the command of that name

needs_tpm = pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")


@pytest.fixture(scope="module")
def shown() -> trust.Trust:
    if not libtpms.available():
        pytest.skip("libtpms is not here: apt-get install libtpms0")
    with trust.opened(None) as client:
        return trust.run_trust(client)


def after(*programs: str) -> str:
    """Return what PCR 16 is after programs (TPM 2.0 Library, Part 1, 17.2)."""
    state = bytes(32)
    for words in programs:
        state = hashlib.sha256(state + hashlib.sha256(words.encode()).digest()).digest()
    return state.hex()


def test_right_states_are_trusted_and_the_wrong_one_is_not(shown: trust.Trust) -> None:
    assert shown.is_complete
    assert [state.accepted for state in shown.states] == [True, False, True]
    assert [state.unsealed for state in shown.states] == [True, False, True]
    good, bad = after(*parties.GOOD), after(*parties.GOOD, parties.STRANGER)
    assert [state.pcr for state in shown.states] == [good, bad, good]


def test_the_gateway_names_the_measurement_that_broke_trust(shown: trust.Trust) -> None:
    assert [parties.STRANGER in state.culprit for state in shown.states] == [False, True, False]
    assert [state.failed for state in shown.states] == [(), ("measurements",), ()]
    assert all(state.clauses > 15 for state in shown.states)


def test_the_tpm_says_why_it_keeps_the_secret(shown: trust.Trust) -> None:
    assert [bool(state.words) for state in shown.states] == [False, True, False]
    assert "PolicyPCR" in shown.states[1].words


def test_there_are_four_messages(shown: trust.Trust) -> None:
    assert [name for name, _ in shown.messages] == ["enrol", "challenge", "evidence", "decision"]
    assert all(100 < size < 5000 for _, size in shown.messages)


def test_the_times_are_of_this_run(shown: trust.Trust) -> None:
    assert all(0 < state.attest_seconds < 30 and 0 < state.unseal_seconds < 30 for state in shown.states)


def test_it_is_plain_json(shown: trust.Trust) -> None:
    assert json.loads(json.dumps(asdict(shown)))["missing"] == ""


@needs_tpm
def test_nothing_stays_behind(tmp_path: Path) -> None:
    uri = f"embedded:dir={tmp_path}"
    with trust.opened(uri) as client:
        assert trust.run_trust(client).is_complete
        assert not isinstance(client, str)
        for kind in (TPM_HT.TRANSIENT, TPM_HT.PERSISTENT, TPM_HT.NV_INDEX, TPM_HT.HMAC_SESSION, TPM_HT.POLICY_SESSION):
            assert client.capability(TPM_CAP.HANDLES, kind << 24) == ()
    with connect(uri) as later:
        assert later.capability(TPM_CAP.HANDLES, TPM_HT.PERSISTENT << 24) == ()


@needs_tpm
def test_states_are_told_as_they_come() -> None:
    told: list[str] = []
    with trust.opened("embedded:") as client:
        trust.run_trust(client, lambda state: told.append(state.name))
    assert told == ["as it should be", "a stranger runs", "started anew"]


@needs_tpm
def test_what_a_tpm_refuses_is_told() -> None:
    with trust.opened("embedded:") as client:
        assert not isinstance(client, str)
        client.hierarchy_change_auth(client.owner, b"of somebody else")
        client.owner.set_auth(b"")
        shown = trust.run_trust(client)
    assert shown.problem
    assert not shown.is_complete
    assert not shown.missing


def test_without_libtpms_the_stage_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libtpms, "available", lambda: False)
    with trust.opened(None) as client:
        shown = trust.run_trust(client)
    assert "libtpms0" in shown.missing
    assert shown.is_complete
    assert shown.states == ()


def test_a_tpm_that_is_named_has_to_be_there() -> None:
    with pytest.raises(TpmUnavailableError), trust.opened("device:/nowhere/at/all"):
        pass
    with pytest.raises(PrestoCloudError):
        run(tpm="telepathy:")


def test_a_secret_that_comes_out_in_the_wrong_state_is_no_success(shown: trust.Trust) -> None:
    for position, change in ((0, {"unsealed": False}), (1, {"unsealed": True}), (1, {"accepted": True})):
        states = list(shown.states)
        states[position] = replace(states[position], **change)  # type: ignore[arg-type]
        assert not replace(shown, states=tuple(states)).as_expected
    assert not replace(shown, states=shown.states[:2]).as_expected
    assert not trust.Trust("a TPM").as_expected


def test_it_is_shown(shown: trust.Trust, capsys: pytest.CaptureFixture[str]) -> None:
    face._show_trust(new_console(), shown)
    text = capsys.readouterr().out
    for words in ("accepts", "refuses", "given", "kept", parties.STRANGER, "evidence", "says the TPM"):
        assert words in text
    told: Any = [face._TOLD["state"](asdict(state)) for state in shown.states]
    assert "NOT ACCEPTED" in told[1]
    assert "KEEPS" in told[1]
    face._show_trust(new_console(), trust.Trust(missing="install \x1b[31m libtpms0"))
    assert capsys.readouterr().out == "without a TPM: install \\x1b[31m libtpms0\n"
    face._show_trust(new_console(), replace(shown, problem="a TPM that is locked"))
    assert "not to its end: a TPM that is locked" in capsys.readouterr().out
