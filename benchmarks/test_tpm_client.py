# SPDX-License-Identifier: Apache-2.0
"""What a TPM client costs beside the least that could be done: the same bytes, made beforehand, on the same transport.

In the same process that is a call of libtpms; through swtpm, a send and a receive on the UNIX socket that the client
has. The peer of a command in an HMAC session is what one would write by hand with hashlib and hmac, the checks of the
response among it.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import os
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from benchmarks.conftest import Versus
from prestocloud_sec.tpm.client import Client, connect
from prestocloud_sec.tpm.spec.attributes import TPMA_OBJECT
from prestocloud_sec.tpm.spec.commands import GetRandom, PCR_Extend, Quote
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_ECC_CURVE
from prestocloud_sec.tpm.spec.structures import (
    TPMS_ECC_PARMS,
    TPMS_ECC_POINT,
    TPMS_PCR_SELECTION,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_ECC_SCHEME,
    TPMT_HA,
    TPMT_KDF_SCHEME,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF_OBJECT,
)
from prestocloud_sec.tpm.transport import libtpms, process

ALG = TPM_ALG_ID
RANDOM_16 = bytes.fromhex("8001 0000000c 0000017b 0010")
DIGEST = hashlib.sha256(b"a measurement").digest()
DIGESTS = (TPMT_HA(ALG.SHA256, DIGEST),)
PARAMETERS = bytes.fromhex("00000001 000b") + DIGEST
EXTEND = bytes.fromhex("8002 00000041 00000182 00000010 00000009 40000009 0000 01 0000") + PARAMETERS
NONCE = bytes(range(20))
SELECTION = (TPMS_PCR_SELECTION(ALG.SHA256, b"\xff\0\0"),)
SCHEME = TPMT_SIG_SCHEME(ALG.NULL, None)


@pytest.fixture
def embedded() -> Iterator[Client]:
    if not libtpms.available():
        pytest.skip("no libtpms")
    with connect("embedded:") as client:
        yield client


@pytest.fixture
def swtpm() -> Iterator[Client]:
    if not process.available():
        pytest.skip("no swtpm")
    with connect("spawn:") as client:
        yield client


class Bare:
    """The socket of a client, with nothing around it: it blocks, as code does that knows no time-outs."""

    def __init__(self, client: Client) -> None:
        transport: Any = client.transport
        self._socket = socket.socket(fileno=os.dup(transport._socket.fileno()))
        os.set_blocking(self._socket.fileno(), True)  # the transport, whose flags these are too, polls before it reads
        self.send, self.receive = self._socket.sendall, self._socket.recv

    def ask(self, command: bytes) -> bytes:
        self.send(command)
        return self.receive(4096)


def signing_key() -> TPMT_PUBLIC:
    scheme = TPMT_ECC_SCHEME(ALG.ECDSA, TPMS_SCHEME_HASH(ALG.SHA256))
    parameters = TPMS_ECC_PARMS(
        TPMT_SYM_DEF_OBJECT(ALG.NULL, None, None), scheme, TPM_ECC_CURVE.NIST_P256, TPMT_KDF_SCHEME(ALG.NULL, None)
    )
    attributes = (
        TPMA_OBJECT.fixedTPM
        | TPMA_OBJECT.fixedParent
        | TPMA_OBJECT.sensitiveDataOrigin
        | TPMA_OBJECT.userWithAuth
        | TPMA_OBJECT.restricted
        | TPMA_OBJECT.sign_encrypt
    )
    return TPMT_PUBLIC(ALG.ECC, ALG.SHA256, attributes, b"", parameters, TPMS_ECC_POINT(b"", b""))


def bare_call(client: Client) -> Callable[[], bytes]:
    """Return the call of libtpms that asks for 16 random bytes, as one writes it who knows the bytes."""
    library: Any = client.transport._library  # type: ignore[attr-defined]
    call = library._library.TPMLIB_Process
    pointer, length, capacity = ctypes.c_void_p(), ctypes.c_uint32(), ctypes.c_uint32()

    def bare() -> bytes:
        call(ctypes.byref(pointer), ctypes.byref(length), ctypes.byref(capacity), RANDOM_16, len(RANDOM_16))
        return ctypes.string_at(pointer.value or 0, length.value)

    return bare


def test_get_random_embedded(versus: Versus, embedded: Client) -> None:
    ours, against = partial(embedded.get_random, 16), "the same ctypes call, pre-built bytes"
    versus("GetRandom(16), embedded:", ours, bare_call(embedded), against=against, target=1.5)


def test_typed_get_random_embedded(versus: Versus, embedded: Client) -> None:
    ours, against = partial(embedded.execute, GetRandom(16)), "the same ctypes call, pre-built bytes"
    versus("GetRandom(16), embedded:, typed command", ours, bare_call(embedded), against=against)


def test_get_random_swtpm(versus: Versus, swtpm: Client) -> None:
    ours, bare = partial(swtpm.get_random, 16), partial(Bare(swtpm).ask, RANDOM_16)
    versus("GetRandom(16), swtpm, UNIX socket", ours, bare, against="pre-built bytes on the same socket", target=1.4)


def test_pcr_extend_swtpm(versus: Versus, swtpm: Client) -> None:
    bare = partial(Bare(swtpm).ask, EXTEND)
    ours = partial(swtpm.execute, PCR_Extend(16, DIGESTS))
    versus("PCR_Extend, swtpm, UNIX socket", ours, bare, against="pre-built bytes on the same socket", target=1.4)


def test_pcr_extend_made_swtpm(versus: Versus, swtpm: Client) -> None:
    bare = partial(Bare(swtpm).ask, EXTEND)
    ours = partial(swtpm.pcr_extend, 16, DIGESTS)
    name, against = "PCR_Extend, the same, made from its digests", "pre-built bytes on the same socket"
    versus(name, ours, bare, against=against, target=1.4)


def test_quote_swtpm(versus: Versus, swtpm: Client) -> None:
    with swtpm.create_primary(swtpm.endorsement, TPMS_SENSITIVE_CREATE(b"", b""), signing_key(), b"", ()) as key:
        parameters = Quote(int(key), NONCE, SCHEME, SELECTION).encode_parameters()
        body = int(key).to_bytes(4, "big") + EXTEND[14:27] + parameters
        frame = b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + b"\0\0\x01\x58" + body
        bare = Bare(swtpm)
        swtpm.quote(key, NONCE, SCHEME, SELECTION)  # the first use of an algorithm is answered with TPM_RC_RETRY
        assert bare.ask(frame)[6:10] == bytes(4)
        versus(
            "Quote (ECDSA P-256), swtpm, UNIX socket",
            partial(swtpm.quote, key, NONCE, SCHEME, SELECTION),
            partial(bare.ask, frame),
            against="pre-built bytes on the same socket",
            target=1.4,
        )


class ByHand:
    """An HMAC session as one writes it for a single command: PCR_Extend(16) in SHA-256."""

    def __init__(self, client: Client) -> None:
        bare = Bare(client)
        start = struct.pack(">IIH", 0x40000007, 0x40000007, 32) + os.urandom(32) + bytes.fromhex("0000 00 0010 000b")
        answer = bare.ask(struct.pack(">HII", 0x8001, 10 + len(start), 0x176) + start)
        assert answer[6:10] == bytes(4)
        self.handle, self.nonce_tpm = answer[10:14], answer[16:48]
        self.send, self.receive = bare.send, bare.receive
        self.key = b""  # neither salted nor bound, and PCR 16 has no value

    def extend(self) -> None:
        nonce = os.urandom(32)
        cp_hash = hashlib.sha256(b"\0\0\x01\x82\0\0\0\x10" + PARAMETERS).digest()
        mac = hmac.digest(self.key, cp_hash + nonce + self.nonce_tpm + b"\x01", "sha256")
        area = self.handle + b"\0\x20" + nonce + b"\x01\0\x20" + mac
        body = b"\0\0\0\x10" + len(area).to_bytes(4, "big") + area + PARAMETERS
        self.send(struct.pack(">HII", 0x8002, 10 + len(body), 0x182) + body)
        response = self.receive(4096)
        tag, size, rc = struct.unpack_from(">HII", response)
        if tag != 0x8002 or size != len(response) or rc or response[10:14] != bytes(4):
            raise ValueError(response.hex())
        newer, attributes, answer = response[16:48], response[48:49], response[51:]
        rp_hash = hashlib.sha256(b"\0\0\0\0\0\0\x01\x82" + response[14:14]).digest()
        if not hmac.compare_digest(hmac.digest(self.key, rp_hash + newer + nonce + attributes, "sha256"), answer):
            raise ValueError("HMAC")
        self.nonce_tpm = newer


def test_hmac_session_swtpm(versus: Versus, swtpm: Client) -> None:
    by_hand = ByHand(swtpm)
    with swtpm.start_session() as session:
        versus(
            "PCR_Extend in an HMAC session, all checked",
            partial(swtpm.execute, PCR_Extend(16, DIGESTS), (session,)),
            by_hand.extend,
            against="hmac + hashlib by hand on the same socket",
            target=1.6,
        )


def test_protected_swtpm(versus: Versus, swtpm: Client) -> None:
    swtpm.protect()
    swtpm.get_random(16)
    versus.report("GetRandom(16), encrypted and checked, swtpm", partial(swtpm.get_random, 16))
