# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio: the same commands, sessions and handles, awaited."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from prestocloud_sec.errors import MisuseError
from prestocloud_sec.tpm import AsyncClient, Protection, connect_async
from prestocloud_sec.tpm.client import AsyncObject, AsyncSessionHandle, Hierarchy, NvIndex, PersistentObject
from prestocloud_sec.tpm.errors import (
    HandleError,
    SessionStateError,
    TpmMisuseError,
    TransportBusyError,
    TransportClosedError,
)
from prestocloud_sec.tpm.session import SessionState
from prestocloud_sec.tpm.spec.commands import GetRandom, PCR_Extend
from prestocloud_sec.tpm.spec.constants import TPM_CAP, TPM_RH
from prestocloud_sec.tpm.spec.structures import TPMT_PUBLIC
from tests.tpm.client.exercises import DATA, DIGEST, verify
from tests.tpm.client.fakes import Answering, AsyncAnswering
from tests.tpm.client.objects import (
    NO_SCHEME,
    NO_TICKET,
    NV_FIRST,
    PERSISTENT_FIRST,
    Template,
    digests,
    secret,
    selection,
)

EXTEND = PCR_Extend(16, digests(b"x"))


def run(uri: str, work: Callable[[AsyncClient], Awaitable[None]], **more: Any) -> None:
    """Do something with a client, and close it."""

    async def inside() -> None:
        async with await connect_async(uri, **more) as client:
            await work(client)

    asyncio.run(inside())


async def primary(client: AsyncClient, public: TPMT_PUBLIC, auth: bytes = b"") -> AsyncObject[Any]:
    return await client.create_primary(TPM_RH.OWNER, secret(auth), public, b"", ())


def test_objects_and_sessions(uri: str, template: Template) -> None:
    async def work(client: AsyncClient) -> None:
        async with await primary(client, template.storage, b"parent") as parent:
            made = await client.create(parent, secret(b"auth", DATA), template.sealed, b"", ())
            async with await client.load(parent, made.outPrivate, made.outPublic) as sealed:
                sealed.set_auth(b"auth")
                assert await client.unseal(sealed) == DATA
                async with await client.start_session() as session:
                    assert isinstance(session, AsyncSessionHandle)
                    assert await client.unseal(sealed, sessions=[session]) == DATA
            assert sealed.closed
            with pytest.raises(TpmMisuseError):
                await client.unseal(sealed)
        assert await client.capability(TPM_CAP.HANDLES, 0x80000000) == ()

    run(uri, work)


def test_many_at_once(uri: str, template: Template) -> None:
    """Tasks share the client, and more keys than the TPM has room for."""

    async def sign(client: AsyncClient, number: int) -> None:
        async with await primary(client, template.signing, b"%d" % number) as key:
            for _ in range(2):
                verify(key.public, DATA, await client.sign(key, DIGEST, NO_SCHEME, NO_TICKET))
            async with await client.start_session() as session:
                await client.pcr_extend(16, digests(b"%d" % number), sessions=[session])

    async def work(client: AsyncClient) -> None:
        await asyncio.gather(*(sign(client, number) for number in range(8)))
        assert await client.capability(TPM_CAP.HANDLES, 0x80000000) == ()
        assert await client.capability(TPM_CAP.HANDLES, 0x02000000) == ()

    run(uri, work)


def test_levels(uri: str) -> None:
    async def work(client: AsyncClient) -> None:
        assert len(await client.get_random(16)) == 16
        assert len((await client.execute(GetRandom(16))).randomBytes) == 16
        assert len(await client.raw(bytes.fromhex("8001 0000000c 0000017b 0010"))) == 28
        before = (await client.pcr_read(selection(16))).pcrValues[0]
        assert await client.pcr_extend(client.pcr(16), digests(b"x")) is None  # type: ignore[func-returns-value]
        after = (await client.pcr_read(selection(16))).pcrValues[0]
        assert after == hashlib.sha256(before + digests(b"x")[0].digest).digest()
        assert isinstance(client.owner, Hierarchy)

    run(uri, work)


def test_protection(uri: str, template: Template) -> None:
    async def work(client: AsyncClient) -> None:
        assert client.protection is not None
        async with await primary(client, template.storage, b"value") as key:
            await client.create(key, secret(), template.signing, b"", ())
        assert client.protection.key_name
        client.protect(protect=False)
        await client.get_random(4)

    run(uri, work, protect=True)
    run(uri, work, protect=Protection(hash="sha384"))


def test_what_stays(uri: str, template: Template) -> None:
    async def work(client: AsyncClient) -> None:
        async with await primary(client, template.storage) as key:
            await client.evict_control(client.owner, key, PERSISTENT_FIRST)
            kept = await client.persistent(PERSISTENT_FIRST)
            assert isinstance(kept, PersistentObject)
            assert kept.name == key.name
            assert (await client.object(key)).name == key.name
        await client.evict_control(client.owner, kept, kept)
        with pytest.raises(HandleError):
            await client.persistent(PERSISTENT_FIRST)
        await client.nv_define_space(client.owner, b"nv", template.index())
        index = await client.nv_index(NV_FIRST)
        assert isinstance(index, NvIndex)
        await client.nv_write(index, index, DATA[:16], 0)
        assert await client.nv_read(index, index, 16, 0) == DATA[:16]
        await client.nv_undefine_space(client.owner, index)

    run(uri, work)


def test_about_the_tpm(uri: str) -> None:
    async def work(client: AsyncClient) -> None:
        assert (await client.properties()).family == "2.0"
        assert (await client.lockout_state()).limit > 0
        assert isinstance(await client.quirks(), tuple)
        assert uri.partition(":")[0] in repr(client)

    run(uri, work)


def test_what_nobody_refers_to_is_flushed(uri: str, template: Template) -> None:
    async def work(client: AsyncClient) -> None:
        key = await primary(client, template.storage)
        del key
        gc.collect()
        async with await client.start_session():
            pass
        assert await client.capability(TPM_CAP.HANDLES, 0x80000000) == ()

    run(uri, work)


def test_a_task_that_is_cancelled(uri: str) -> None:
    async def work(client: AsyncClient) -> None:
        session = await client.start_session()
        task = asyncio.create_task(client.execute(EXTEND, [session]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(200):  # the late answer is dropped when it comes
            try:
                await client.get_random(8)
                break
            except TransportBusyError:
                await asyncio.sleep(0.02)
        assert len(await client.get_random(8)) == 8
        if session.session.state is SessionState.LOST:
            with pytest.raises(SessionStateError):
                await client.execute(EXTEND, [session])
        await session.close()

    run(uri, work)


def test_the_end() -> None:
    transport = Answering()

    async def inside() -> None:
        client = AsyncClient(AsyncAnswering(transport))
        await client.close()
        await client.close()
        assert client.closed
        assert "closed" in repr(client)
        with pytest.raises(TpmMisuseError):
            await client.__aenter__()
        with pytest.raises(TransportClosedError):
            await client.get_random(1)

    asyncio.run(inside())
    assert transport.closed


@pytest.mark.parametrize("arguments", [{"uri": "nothing:"}, {"protect": 3}, {"retry": 3}, {"uri": 3}])
def test_what_cannot_be_connected_with(arguments: dict[str, Any]) -> None:
    from prestocloud_sec.errors import InputError

    async def inside() -> None:
        await connect_async(**{"uri": "embedded:", **arguments})

    with pytest.raises((MisuseError, InputError)):
        asyncio.run(inside())


@pytest.mark.parametrize("transport", [None, 3, "embedded:"])
def test_what_is_no_transport_is_refused(transport: Any) -> None:
    async def inside() -> None:
        AsyncClient(transport)

    with pytest.raises(MisuseError):
        asyncio.run(inside())
