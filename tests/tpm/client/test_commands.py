# SPDX-License-Identifier: Apache-2.0
"""Every command that the TPM has, carried out with success."""

from __future__ import annotations

import pytest

from prestocloud_sec.tpm import Client
from prestocloud_sec.tpm.errors import TpmResponseError
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_CC
from tests.tpm.client.conftest import IS_OURS
from tests.tpm.client.exercises import EXERCISES, ONLY_REFUSED
from tests.tpm.client.objects import Template


@pytest.mark.parametrize("code", list(EXERCISES), ids=lambda code: TPM_CC(code).name)
def test_command_does_what_it_is_for(
    code: int, client: Client, template: Template, request: pytest.FixtureRequest
) -> None:
    for need in EXERCISES[code].needs:
        request.getfixturevalue(need)
    EXERCISES[code].run(client, template)


def test_every_command_is_exercised(client: Client) -> None:
    listed = {(int(each) & 0xFFFF) | (int(each) & 0x20000000) for each in client.capability(TPM_CAP.COMMANDS)}
    assert listed - set(EXERCISES) - set(ONLY_REFUSED) == set()
    if IS_OURS:
        assert len(listed) >= 110
        assert set(EXERCISES) | set(ONLY_REFUSED) <= listed


def test_what_can_only_be_refused_is(platform: Client) -> None:
    with pytest.raises(TpmResponseError) as refused:
        platform.pp_commands(platform.platform, (), ())
    assert refused.value.rc & 0x0BF == ONLY_REFUSED[TPM_CC.PP_Commands][0]
    assert refused.value.command == "PP_Commands"
