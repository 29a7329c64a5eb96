# SPDX-License-Identifier: Apache-2.0
"""What type checkers make of the client; `test_types` has mypy read this."""

from __future__ import annotations

from typing import assert_type

from prestocloud_sec.tpm import AsyncClient, Client, connect
from prestocloud_sec.tpm.client import AsyncObject, Object, SessionHandle
from prestocloud_sec.tpm.spec.commands import (
    CreatePrimary,
    GetRandom,
    HashSequenceStart,
    Load,
    PCR_Extend,
    Quote,
    StartAuthSession,
)
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_RH
from prestocloud_sec.tpm.spec.structures import TPMS_SENSITIVE_CREATE, TPMS_TIME_INFO, TPMT_PUBLIC, TPMT_SIG_SCHEME


def commands(client: Client, public: TPMT_PUBLIC, scheme: TPMT_SIG_SCHEME) -> None:
    assert_type(client.execute(GetRandom(bytesRequested=16)), GetRandom.Response)
    assert_type(client.execute(GetRandom(16), sessions=[]).randomBytes, bytes)
    assert_type(client.execute(PCR_Extend(16, ())), PCR_Extend.Response)
    assert_type(client.raw(b""), bytes)
    assert_type(client.get_random(16), bytes)
    assert_type(client.read_clock(), TPMS_TIME_INFO)
    with client.create_primary(TPM_RH.OWNER, TPMS_SENSITIVE_CREATE(b"", b""), public, b"", ()) as key:
        assert_type(key, Object[CreatePrimary.Response])
        assert_type(key.response.creationHash, bytes)
        assert_type(key.public, TPMT_PUBLIC)
        assert_type(client.load(key, b"", public), Object[Load.Response])
        assert_type(client.quote(key, b"", scheme, ()), Quote.Response)
    assert_type(client.hash_sequence_start(b"", TPM_ALG_ID.SHA256), Object[HashSequenceStart.Response])
    with client.start_session() as session:
        assert_type(session, SessionHandle[StartAuthSession.Response])
        client.pcr_extend(client.pcr(16), (), sessions=[session, session.use(audit=True), session.session])
    client.get_random("16")  # type: ignore[arg-type]
    client.execute(16)  # type: ignore[arg-type]
    client.pcr_extend(16, (), sessions=16)  # type: ignore[arg-type]
    client.get_random(16, [])  # type: ignore[call-arg]


async def awaited(client: AsyncClient, public: TPMT_PUBLIC) -> None:
    assert_type(await client.execute(GetRandom(16)), GetRandom.Response)
    assert_type(await client.get_random(16), bytes)
    assert_type(await client.load(0x81000001, b"", public), AsyncObject[Load.Response])
    async with await client.start_session() as session:
        await client.pcr_extend(16, (), sessions=[session])


def connected() -> None:
    with connect("embedded:", protect=True) as client:
        assert_type(client, Client)
