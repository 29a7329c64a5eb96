# SPDX-License-Identifier: Apache-2.0
"""NV indices of every type, with passwords, policies and locks."""

from __future__ import annotations

import hashlib
import os

import pytest

from prestocloud_sec.tpm import Client, connect, use
from prestocloud_sec.tpm.errors import (
    AuthFailError,
    HandleError,
    NvDefinedError,
    NvLockedError,
    NvUninitializedError,
    PolicyFailError,
    TpmMisuseError,
    TpmResponseError,
)
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy import OR, PCR, AuthValue, Password, Secret
from tests.tpm.client.objects import NV_FIRST

INDEX = NV_FIRST + 0x40


@pytest.mark.parametrize("password", ["", "a password"])
def test_data_of_any_size(client, password):
    data = use.NvData.define(client, INDEX, 2000, password=password)
    assert not data.is_written
    with pytest.raises(NvUninitializedError):
        data.read()
    held = bytearray(b"\xff" * 2000)  # what a TPM has where nothing was written
    data.write(bytes(held))
    for offset, size in ((0, 2000), (0, 1), (1999, 1), (700, 1100), (3, 1024)):
        part = os.urandom(size)
        data.write(part, offset)
        held[offset : offset + size] = part
        assert data.read() == held
        assert data.read(size, offset) == part
    assert data.is_written
    assert data.read(0) == b""
    assert use.read_nv(client, INDEX, password=password) == held
    again = use.NvData.open(client, INDEX, password=password)
    assert again.read() == held
    assert again.name == data.name == name_of(client.nv_read_public(INDEX).nvPublic)
    with pytest.raises(NvDefinedError):
        use.NvData.define(client, INDEX, 2000)
    data.undefine()
    with pytest.raises(HandleError):
        use.NvData.open(client, INDEX)


def test_a_wrong_password(client):
    use.NvData.define(client, INDEX, 8, password="right").write(b"contents")
    with pytest.raises(AuthFailError):
        use.NvData.open(client, INDEX, password="wrong").read()
    with pytest.raises(TpmMisuseError):
        use.NvCounter.open(client, INDEX)
    assert use.NvData.open(client, INDEX, password="right").read() == b"contents"


def test_a_policy_instead(client):
    client.pcr_reset(16)
    policy = PCR("sha256:16", values={"sha256": {16: bytes(32)}}) >> AuthValue()
    data = use.NvData.define(client, INDEX, 8, password="p", policy=policy)
    data.handle.set_auth("p")
    data.write(b"contents")
    assert data.read() == b"contents"
    client.pcr_event(16, b"x")
    with pytest.raises(TpmResponseError):
        data.read()
    client.pcr_reset(16)
    assert data.read() == b"contents"
    with pytest.raises(TpmResponseError):
        client.nv_read(data.handle, data.handle, 8, 0)


@pytest.mark.parametrize("kind", [use.NvData, use.NvExtend, use.NvCounter, use.NvBits])
def test_a_password_that_the_policy_does_not_ask_for_is_refused(client, kind):
    client.pcr_reset(16)
    policy = PCR("sha256:16", values={"sha256": {16: bytes(32)}})
    size = (8,) if kind is use.NvData else ()
    with pytest.raises(TpmMisuseError, match="the policy asks for none"):
        kind.define(client, INDEX, *size, password="p", policy=policy)
    kind.define(client, INDEX, *size, policy=policy)
    with pytest.raises(TpmMisuseError, match="the policy asks for none"):
        kind.open(client, INDEX, policy=policy, password="bad")
    kind.open(client, INDEX, policy=OR(AuthValue(), bytes(32)), password="perhaps")
    kind.open(client, INDEX, policy=OR(policy, OR(policy, Password())), password="perhaps")


def test_a_wrong_value_changes_nothing_of_what_is_written_and_read(client):
    client.pcr_reset(16)
    policy = PCR("sha256:16", values={"sha256": {16: bytes(32)}})
    data = use.NvData.define(client, INDEX, 8, policy=policy)
    data.handle.set_auth("bad")
    data.write(b"contents")
    assert data.read() == b"contents"
    data.handle.set_auth("")
    assert data.read() == b"contents"


def test_counters_only_go_up(client):
    counter = use.NvCounter.define(client, INDEX, password="p")
    assert counter.value is None
    first = counter.increment()
    assert [counter.increment() for _ in range(5)] == list(range(first + 1, first + 6))
    assert counter.value == first + 5
    counter.undefine()
    again = use.NvCounter.define(client, INDEX)
    assert again.increment() > first + 5


def test_bits_are_never_cleared(client):
    bits = use.NvBits.define(client, INDEX)
    assert bits.value is None
    assert bits.set(1 << 63 | 1) == 1 << 63 | 1
    assert bits.set(0) == bits.value == 1 << 63 | 1
    assert bits.set(6) == 1 << 63 | 7


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha384"])
def test_a_digest_is_extended(client, name):
    log = use.NvExtend.define(client, INDEX, hash=name)
    model = bytes(hashlib.new(name).digest_size)
    assert log.value is None
    for entry in (b"", b"one", os.urandom(1000)):
        model = hashlib.new(name, model + entry).digest()
        assert log.extend(entry) == log.value == model


def test_a_pin_that_can_be_tried_three_times(client):
    pin = use.NvPinFail.define(client, INDEX, "1234", 3)
    assert [pin.check(each) for each in ("0000", "0001", "1234", "0000")] == [False, False, True, False]
    assert pin.state == (1, 3)
    assert [pin.check(each) for each in ("0002", "0003", "1234")] == [False, False, False]
    assert pin.state == (3, 3)
    pin.reset()
    assert pin.check("1234")
    pin.reset(5, count=4)
    assert pin.state == (4, 5)


def test_a_pin_that_can_be_used_twice(client):
    pin = use.NvPinPass.define(client, INDEX, "1234", 2)
    assert not pin.check("0000")
    assert [pin.check("1234") for _ in range(3)] == [True, True, False]
    assert pin.state == (2, 2)


def test_what_a_pin_protects(client):
    """A secret whose policy names the PIN opens with it, as long as it may be tried."""
    pin = use.NvPinFail.define(client, INDEX, "1234", 2)
    sealed = use.seal(client, b"secret", policy=Secret(pin.name))
    pin.handle.set_auth("1234")
    assert use.unseal(client, sealed) == b"secret"
    pin.handle.set_auth("0000")
    for _ in range(2):
        with pytest.raises(AuthFailError):
            use.unseal(client, sealed)
    client.nv_index(INDEX).set_auth("1234")
    with pytest.raises((TpmResponseError, PolicyFailError)):
        use.unseal(client, sealed)


def test_locks(client):
    data = use.NvData.define(client, INDEX, 8, lock="start", password="p")
    data.write(b"contents")
    data.lock_writing()
    with pytest.raises(NvLockedError):
        data.write(b"other")
    assert data.read() == b"contents"
    data.lock_reading()
    with pytest.raises(NvLockedError):
        data.read()


def test_the_owner_reads_too(client):
    data = use.NvData.define(client, INDEX, 8, owner=True, password="p")
    data.write(b"contents")
    assert client.nv_read(client.owner, INDEX, 8, 0) == b"contents"
    data.undefine()
    data = use.NvData.define(client, INDEX, 8, password="p")
    data.write(b"contents")
    with pytest.raises(TpmResponseError):
        client.nv_read(client.owner, INDEX, 8, 0)


def test_it_is_there_after_a_restart(tmp_path):
    with connect(f"embedded:dir={tmp_path}") as client:
        use.NvData.define(client, INDEX, 8, password="p").write(b"contents")
        last = use.NvCounter.define(client, INDEX + 1).increment()
    with connect(f"embedded:dir={tmp_path}") as client:
        assert use.NvData.open(client, INDEX, password="p").read() == b"contents"
        assert use.NvCounter.open(client, INDEX + 1).value == last


def test_somebody_else_writes_meanwhile(client: Client):
    """Whoever writes first changes the Name, which the other's authorization is for."""
    data = use.NvData.define(client, INDEX, 8, password="p")
    other = use.NvData.open(client, INDEX, password="p")
    other.write(b"contents")
    assert data.read() == b"contents"


@pytest.mark.parametrize("wrong", [None, -1, 1 << 32, "x", b"", 0x81000001])
def test_misuse(client, wrong):
    for call in (
        lambda: use.NvData.define(client, wrong, 8),
        lambda: use.NvCounter.define(client, wrong),
        lambda: use.NvData.open(client, wrong),
        lambda: use.read_nv(client, wrong),
        lambda: use.NvPinFail.define(client, wrong, "1234", 3),
    ):
        with pytest.raises(TpmMisuseError):
            call()


def test_more_misuse(client):
    data = use.NvData.define(client, INDEX, 8)
    data.write(bytes(8))
    for call in (
        lambda: data.write(bytes(9)),
        lambda: data.write(b"x", 8),
        lambda: data.write(b"", 9),
        lambda: data.write("text"),
        lambda: data.write(b"x", -1),
        lambda: data.read(-1),
        lambda: data.read("8"),
        lambda: use.NvData.define(client, INDEX + 1, -1),
        lambda: use.NvData.define(client, INDEX + 1, 8, lock="now"),
        lambda: use.NvData.define(client, INDEX + 1, 8, lock=["start"]),
        lambda: use.NvData.define(client, INDEX + 1, 8, owner=1),
        lambda: use.NvData.define(client, INDEX + 1, 8, policy=b""),
        lambda: use.NvData.define(client, INDEX + 1, 8, hash="md5"),
        lambda: use.NvData.define(client, INDEX + 1, 8, password=5),
        lambda: use.NvPinFail.define(client, INDEX + 1, "1234", -1),
        lambda: use.NvBits.define(client, INDEX + 1).set(1 << 64),
        lambda: use.NvData(client, INDEX),
        lambda: use.NvExtend.open(client, INDEX),
    ):
        with pytest.raises(TpmMisuseError):
            call()
    assert data.read() == bytes(8)
    assert "1234" not in repr(vars(use.NvPinFail.define(client, INDEX + 3, "1234", 1)))
