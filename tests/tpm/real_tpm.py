# SPDX-License-Identifier: Apache-2.0
"""A running TPM through commands packed by hand, so that what it answers owes nothing to the code under test."""

from __future__ import annotations

import struct

from prestocloud_sec.testing.tpm_device import two_bytes
from prestocloud_sec.tpm.pcr import PcrSelection
from prestocloud_sec.tpm.transport import Transport

OWNER, ENDORSEMENT, NULL, PASSWORD = 0x40000001, 0x4000000B, 0x40000007, 0x40000009
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
EK_TEMPLATE = (
    bytes.fromhex("0001000b000300b2")
    + two_bytes(EK_POLICY)
    + bytes.fromhex("0006008000430010080000000000")
    + two_bytes(bytes(256))
)
ECC_EK_TEMPLATE = (
    bytes.fromhex("0023000b000300b2")
    + two_bytes(EK_POLICY)
    + bytes.fromhex("000600800043 0010 0003 0010")
    + two_bytes(bytes(32)) * 2
)
SCHEMES = {"ecdsa": "0018000b", "rsassa": "0014000b", "rsapss": "0016000b"}


def ak_template(scheme: str) -> bytes:
    head = bytes.fromhex("000b000500720000")
    if scheme == "ecdsa":
        return b"\0\x23" + head + bytes.fromhex("00100018000b00030010") + bytes(4)
    return (
        b"\0\x01" + head + b"\0\x10" + bytes.fromhex(SCHEMES[scheme]) + bytes.fromhex("080000000000") + two_bytes(b"")
    )


class RealTpm:
    """A running TPM, through commands packed by hand."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def command(self, code: int, handles: list[int], parameters: bytes, auths: list[int] | None = None) -> bytes:
        """Return what follows the response's header, without its sessions."""
        body = b"".join(struct.pack(">I", handle) for handle in handles)
        if auths:
            area = b"".join(struct.pack(">IHBH", session, 0, 1 if session == PASSWORD else 0, 0) for session in auths)
            body += struct.pack(">I", len(area)) + area
        body += parameters
        raw = struct.pack(">HII", 0x8002 if auths else 0x8001, 10 + len(body), code) + body
        for _ in range(10):
            response = self._transport.transceive(raw)
            rc = struct.unpack(">I", response[6:10])[0]
            if rc != 0x922:
                break
        assert rc == 0, f"{code:#x}: {rc:#x}"
        return response[10:]

    def parts(self, raw: bytes, *, handle: bool = False) -> tuple[int, bytes]:
        """Return the handle, if there is one, and the parameters of a response with sessions."""
        found = struct.unpack(">I", raw[:4])[0] if handle else 0
        rest = raw[4:] if handle else raw
        size = struct.unpack(">I", rest[:4])[0]
        return found, rest[4 : 4 + size]

    def create_primary(self, hierarchy: int, template: bytes) -> tuple[int, bytes, dict[str, bytes]]:
        """Return the handle and the public area of a primary key, and what tells of its creation."""
        parameters = two_bytes(bytes(4)) + two_bytes(template) + two_bytes(b"outside") + bytes(4)
        handle, raw = self.parts(self.command(0x131, [hierarchy], parameters, [PASSWORD]), handle=True)
        public, raw = take(raw)
        data, raw = take(raw)
        digest, raw = take(raw)
        size = struct.unpack(">H", raw[6:8])[0]
        return handle, public, {"data": data, "hash": digest, "ticket": raw[: 8 + size]}

    def attestation(self, code: int, handles: list[int], parameters: bytes) -> tuple[bytes, bytes]:
        _, raw = self.parts(self.command(code, handles, parameters, [PASSWORD] * min(len(handles), 2)))
        return take(raw)

    def quote(self, ak: int, nonce: bytes, selection: bytes) -> tuple[bytes, bytes]:
        return self.attestation(0x158, [ak], two_bytes(nonce) + b"\0\x10" + selection)

    def read(self, selection: PcrSelection) -> list[bytes]:
        """Return the values of up to eight PCRs."""
        raw = self.command(0x17E, [], selection.encode())
        raw = raw[4 + len(selection.encode()) + 4 :]
        found = []
        while raw:
            value, raw = take(raw)
            found.append(value)
        return found

    def activate(self, ak: int, ek: int, id_object: bytes, secret: bytes) -> bytes:
        """Return the secret of a credential; the endorsement key's policy asks for its hierarchy's authorization."""
        start = two_bytes(bytes(16)) + two_bytes(b"") + b"\1" + b"\0\x10" + b"\0\x0b"
        session = struct.unpack(">I", self.command(0x176, [NULL, NULL], start)[:4])[0]
        self.command(0x151, [ENDORSEMENT, session], bytes(6) + bytes(4), [PASSWORD])
        _, raw = self.parts(
            self.command(0x147, [ak, ek], two_bytes(id_object) + two_bytes(secret), [PASSWORD, session])
        )
        return take(raw)[0]

    def sign_ticketed(self, ak: int, message: bytes) -> bytes:
        """Return the signature of a message that the TPM itself hashed, so that a restricted key may sign it."""
        raw = self.command(0x17D, [], two_bytes(message) + b"\0\x0b" + struct.pack(">I", ENDORSEMENT))
        digest, ticket = take(raw)
        _, signature = self.parts(self.command(0x15D, [ak], two_bytes(digest) + b"\0\x10" + ticket, [PASSWORD]))
        return signature

    def flush(self, handle: int) -> None:
        self.command(0x165, [], struct.pack(">I", handle))


def take(raw: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack(">H", raw[:2])[0]
    return raw[2 : 2 + size], raw[2 + size :]
