# SPDX-License-Identifier: Apache-2.0
"""Response codes in words: what is at fault, and the error that people catch."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import TpmMisuseError, TpmResponseError, errors, explain
from prestocloud_sec.tpm.response_codes import WORDS, error_for
from prestocloud_sec.tpm.spec import COMMANDS, TPM_CC, TPM_RC, Load, NV_Read
from tests.conformance.harness import REPOSITORY

PIECES = {"RC_VER1", "RC_MAX_FM0", "RC_FMT1", "RC_WARN", "H", "P", "S", "N_MASK", "NOT_USED"}


@pytest.mark.parametrize(
    ("rc", "command", "words"),
    [
        (0x000, None, "TPM_RC_SUCCESS: the command was carried out"),
        (0x101, None, "TPM_RC_FAILURE (0x101): a self-test failed"),
        (0x100, "Load", "Load: TPM_RC_INITIALIZE (0x100)"),
        (0x1DF, "Load", "Load, parameter 1 (inPrivate): TPM_RC_INTEGRITY (0x1df)"),
        (0x2D5, Load, "Load, parameter 2 (inPublic): TPM_RC_SIZE (0x2d5)"),
        (0x184, Load, "Load, handle 1 (parentHandle): TPM_RC_VALUE (0x184)"),
        (0x28B, "ActivateCredential", "ActivateCredential, handle 2 (keyHandle): TPM_RC_HANDLE (0x28b)"),
        (0x98E, "Unseal", "Unseal, session 1: TPM_RC_AUTH_FAIL (0x98e)"),
        (0xB8F, "Unseal", "Unseal, session 3: TPM_RC_NONCE (0xb8f)"),
        (0x084, "Load", "Load: TPM_RC_VALUE (0x084)"),
        (0x910, "Load", "Load, handle 1 (parentHandle): TPM_RC_REFERENCE_H0 (0x910)"),
        (0x91A, "Load", "Load, session 3: TPM_RC_REFERENCE_S2 (0x91a)"),
        (0x922, TPM_CC.Sign, "Sign: TPM_RC_RETRY (0x922)"),
        (0x3C4, "PolicyCommandCode", "PolicyCommandCode, parameter 3: TPM_RC_VALUE"),
        (0x1C4, "PolicyCommandCode", "PolicyCommandCode, parameter 1 (code): TPM_RC_VALUE"),
        (0x01E, None, "TPM_RC_BAD_TAG (0x01e)"),
        (0x003, None, "a code of TPM 1.2"),
        (0x501, None, "a code of the vendor"),
        (0x17E, None, "a code that the specification does not have"),
        (0x0BF, None, "a code that the specification does not have"),
        (0x000B0143, 0x20000001, "command 0x20000001: TPM_RC_COMMAND_CODE (0xb0143)"),
        (0x184, "NoSuchCommand", "NoSuchCommand, handle 1: TPM_RC_VALUE"),
    ],
)
def test_in_words(rc: int, command: Any, words: str) -> None:
    assert words in str(explain(rc, command))


def test_taken_apart() -> None:
    code = explain(0x2C4, NV_Read)
    assert (code.base, code.name, code.kind) == (TPM_RC.VALUE, "VALUE", "error")
    assert (code.parameter, code.handle, code.session, code.culprit) == (2, None, None, "offset")
    assert (code.command, code.layer, code.rc) == ("NV_Read", 0, 0x2C4)
    assert explain(0x000B0143).layer == 11
    assert explain(0x922).kind == "warning"
    assert explain(0).kind == "success"


@pytest.mark.parametrize(
    ("rc", "kind"),
    [
        (0x98E, errors.AuthFailError),
        (0x9A2, errors.BadAuthError),
        (0x921, errors.LockoutError),
        (0x99D, errors.PolicyFailError),
        (0x128, errors.PcrChangedError),
        (0x922, errors.RetryError),
        (0x908, errors.RetryError),
        (0x90A, errors.RetryError),
        (0x920, errors.NvRateError),
        (0x923, errors.NvUnavailableError),
        (0x909, errors.CanceledError),
        (0x902, errors.ObjectMemoryError),
        (0x903, errors.SessionMemoryError),
        (0x18B, errors.HandleError),
        (0x911, errors.HandleNotLoadedError),
        (0x918, errors.HandleNotLoadedError),
        (0x1DF, errors.IntegrityError),
        (0x907, errors.LocalityError),
        (0x120, errors.DisabledError),
        (0x100, errors.InitializeError),
        (0x101, errors.FailureModeError),
        (0x143, errors.CommandUnknownError),
        (0x146, errors.NvRangeError),
        (0x148, errors.NvLockedError),
        (0x149, errors.NvAuthorizationError),
        (0x14A, errors.NvUninitializedError),
        (0x14B, errors.NvSpaceError),
        (0x14C, errors.NvDefinedError),
        (0x1C4, TpmResponseError),
    ],
)
def test_errors_that_people_catch(rc: int, kind: type[TpmResponseError]) -> None:
    error = error_for(rc, "Unseal")
    assert type(error) is kind
    assert isinstance(error, PrestoCloudError)
    assert (error.rc, error.command) == (rc, "Unseal")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


def test_families_of_errors() -> None:
    assert issubclass(errors.BadAuthError, errors.AuthFailError)
    assert issubclass(errors.PcrChangedError, errors.PolicyFailError)
    assert issubclass(errors.NvRateError, errors.RetryError)
    assert issubclass(errors.NvRateError, errors.NvError)


def test_every_code_has_words() -> None:
    unknown = {
        m.name for m in TPM_RC if m not in WORDS and not m.name.startswith(("REFERENCE_", "N")) and m.name not in PIECES
    }
    assert not unknown
    for meaning in WORDS.values():
        assert meaning.words
        assert not meaning.words.endswith(".")


@given(rc=st.integers(0, 0xFFFFFFFF), command=st.none() | st.sampled_from(sorted(COMMANDS)))
def test_any_code_at_all(rc: int, command: int | None) -> None:
    code = explain(rc, command)
    assert code.rc == rc
    assert str(code)
    assert sum(part is not None for part in (code.parameter, code.handle, code.session)) <= 1
    if code.kind != "success":
        assert str(code.error()) == str(code)


@pytest.mark.parametrize("rc", [-1, 1 << 32, "0", None, 1.5])
def test_what_is_no_code(rc: Any) -> None:
    with pytest.raises(TpmMisuseError):
        explain(rc)


@pytest.mark.parametrize("command", [1.5, object(), [], bytes(4)])
def test_what_is_no_command(command: Any) -> None:
    with pytest.raises(TpmMisuseError):
        explain(0x101, command)


def test_success_is_no_error() -> None:
    with pytest.raises(TpmMisuseError):
        error_for(0)


def test_codes_that_were_recorded_are_all_known() -> None:
    with (REPOSITORY / "tests" / "vectors" / "tpm" / "corpus.jsonl").open() as lines:
        codes = {json.loads(line)["rc"] for line in lines}
    assert len(codes) > 40
    for rc in codes:
        assert "does not have" not in explain(rc).words


def test_reprs_are_short() -> None:
    assert repr(explain(0x98E, "Unseal")) == "<ResponseCode 0x98e, AUTH_FAIL, command Unseal, session 1>"
    assert (
        repr(explain(0x1DF, "Load")) == "<ResponseCode 0x1df, INTEGRITY, command Load, parameter 1, that is inPrivate>"
    )
    for rc in range(0x1000):
        for command in (None, "ActivateCredential", TPM_CC.NV_UndefineSpaceSpecial, "x" * 1000):
            assert len(repr(explain(rc, command))) <= 200


@pytest.mark.parametrize(
    ("rc", "command", "words"),
    [
        (0x182, "RSA_Decrypt", "the key is one that signs, or restricted"),
        (0x182, TPM_CC.ECDH_ZGen, "the key is one that signs, or restricted"),
        (0x19C, "Sign", "the key is one that decrypts"),
        (0x19C, "Quote", "the key is one that decrypts"),
    ],
)
def test_a_key_for_something_else_is_named(rc: int, command: str | int, words: str) -> None:
    told = explain(rc, command)
    assert words in str(told.hint)
    assert words in str(told)
    assert explain(rc, "Load").hint is explain(rc | 0x40, command).hint is None
