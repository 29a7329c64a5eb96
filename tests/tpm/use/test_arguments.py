# SPDX-License-Identifier: Apache-2.0
"""Whatever is handed in, one argument at a time, gets an error of this package or an answer; never another error."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import Policy, use
from prestocloud_sec.tpm.policy import PCR, AuthValue
from prestocloud_sec.tpm.protect import SoftwareParent, make_credential

INDEX = 0x01800180
STATE = {"sha256": {16: bytes(32)}}
KEY = {"parent": None, "password": "", "policy": None, "choices": (), "signer": None}
SPACE = {"password": "", "policy": None, "owner": False, "lock": None, "hash": "sha256"}
NAMED = ("sealing", "objects", "keys", "pcrs", "attestation", "transfer", "nv", "endorsement", "templates", "values")


class Hostile:
    """What answers every question with an error of its own."""

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        raise OSError

    __iter__ = __eq__ = __bool__ = __index__ = __len__  # type: ignore[assignment]


def calls(client: Any) -> dict[str, list[tuple[Any, tuple[Any, ...], dict[str, Any]]]]:
    """Return functions of each room with arguments that are right."""
    key, ak, parent = use.create_key(client), use.create_ak(client), use.srk(client)
    sealed = use.seal(client, b"x", pcrs="sha256:16")
    space, pin = use.NvData.define(client, INDEX, 8), use.NvPinFail.define(client, INDEX + 1, "1", 3)
    space.write(bytes(8))
    endorsed, software = use.ek(client, "ecc"), SoftwareParent.generate("ecc")
    hmac_key = use.load(client, use.create(client, use.hmac_template()))
    aes_key = use.load(client, use.create(client, use.symmetric_template()))
    quoted = use.quote(client, ak, "sha256:0", b"n")
    credential = make_credential(endorsed.public, ak.name, b"secret")
    private = ec.generate_private_key(ec.SECP256R1())
    signing = ec.ECDSA(hashes.SHA256())
    nonce = b"nonce"
    return {
        "sealing": [
            (use.seal, (client, b"x"), {"pcrs": "sha256:16", "values": STATE, "password": "p", "policy": AuthValue()}),
            (use.seal, (client, b"x"), {"parent": parent}),
            (use.unseal, (client, sealed), {"password": "", "parent": parent, "choices": (), "signer": None}),
            (use.reseal, (client, sealed), {"values": STATE, "pcrs": "sha256:16", "new_password": "p"}),
            (use.reseal, (client, sealed), {"keep_current": False, "parent": parent}),
        ],
        "objects": [
            (use.primary, (client, use.srk_template()), {"hierarchy": 0x40000007, "password": "", "outside_info": b""}),
            (use.srk, (client, "ecc"), {"label": "a"}),
            (use.create, (client, use.key_template()), {"parent": parent, "data": b"", "creation_pcrs": "sha256:0"}),
            (use.load, (client, sealed), {"parent": parent, "password": ""}),
            (use.persist, (client, key.handle, 0x81004277), {"hierarchy": 0x40000001}),
            (use.random_bytes, (client, 4), {"mix": True}),
            (use.stir, (client, b"x"), {}),
            (use.hash_data, (client, b"x", "sha256"), {"hierarchy": 0x40000001}),
            (use.hmac_data, (client, hmac_key, b"x"), {}),
            (use.encrypt_data, (client, aes_key, b"x", bytes(16)), {}),
        ],
        "keys": [
            (use.create_key, (client, "ecc"), {"use": "sign", "curve": 3, "scheme": "ecdsa", "hash": "sha256", **KEY}),
            (use.create_ak, (client, "ecc"), {"scheme": "ecdsa", "hash": "sha256", "parent": parent, "password": ""}),
            (use.load_key, (client, key.wrapped), {"parent": parent, "password": "", "choices": (), "signer": None}),
            (use.open_key, (client, key.handle), {"policy": None, "choices": ()}),
            (key.sign, (b"x", signing), {}),
            (key.exchange, (ec.ECDH(), private.public_key()), {}),
        ],
        "pcrs": [
            (use.read_pcrs, (client, "sha256:0"), {}),
            (use.extend_pcr, (client, 16, {"sha256": bytes(32)}), {}),
            (use.foretell, (STATE, [(16, b"x")]), {}),
            (use.policy_session, (client, PCR("sha256:16", values=STATE)), {"hash": "sha256", "handles": ()}),
        ],
        "attestation": [
            (use.quote, (client, ak, "sha256:0", nonce), {}),
            (use.certify, (client, key.handle, ak, nonce), {}),
            (use.certify_creation, (client, key.handle, key.wrapped, ak, nonce), {}),
            (use.certify_nv, (client, space, ak, nonce), {"size": 8, "offset": 0}),
            (use.attest_time, (client, ak, nonce), {}),
            (use.set_audited_commands, (client,), {"add": (), "remove": (), "hash": None}),
        ],
        "transfer": [
            (use.activate, (client, ak, endorsed, credential), {}),
            (use.import_key, (client, private), {"use": "sign", "password": "", "parent": parent}),
            (use.import_secret, (client, use.hmac_template(), b"key"), {"parent": parent, "policy": None}),
            (use.duplicate, (client, key.handle, software.public, use.movable_policy()), {"cipher": None}),
            (use.movable_policy, (parent.public, software.public), {}),
        ],
        "nv": [
            (use.NvData.open, (client, INDEX), {"password": "", "policy": None, "choices": ()}),
            (use.NvData.define, (client, INDEX + 2, 8), {**SPACE, "choices": ()}),
            (use.NvCounter.define, (client, INDEX + 3), SPACE),
            (use.NvPinFail.define, (client, INDEX + 4, "1", 3), {"hash": "sha256"}),
            (pin.check, ("1",), {}),
            (pin.reset, (3,), {"count": 0}),
            (space.write, (b"x", 0), {}),
            (space.read, (1, 0), {}),
            (use.read_nv, (client, INDEX), {"password": ""}),
        ],
        "endorsement": [
            (use.ek, (client, "ecc"), {}),
            (use.ek_certificate, (client, "ecc"), {}),
            (use.ek_chain, (client, []), {"kind": "ecc", "others": [], "now": None}),
        ],
        "templates": [
            (use.key_template, ("rsa",), {"use": "sign", "bits": 2048, "scheme": None, "no_da": True, "policy": b""}),
            (use.key_template, ("ecc",), {"curve": 3, "hash": "sha256", "movable": False}),
            (use.symmetric_template, (), {"bits": 128, "mode": "cfb"}),
            (use.sealed_template, (), {"no_da": True, "policy": b"", "with_auth": True}),
            (use.ek_template, ("rsa",), {"nonce": b""}),
            (use.srk_template, ("rsa",), {"label": b""}),
        ],
        "values": [
            (use.Attestation, (quoted.attest, quoted.signature, quoted.pcrs), {}),
            (use.WrappedObject, (sealed.public, sealed.private, sealed.parent, sealed.policy), {}),
            (use.WrappedObject.from_files, sealed.to_files(), {"parent": b"", "policy": None}),
            (use.WrappedObject.from_json, (sealed.to_json(),), {}),
            (use.Attestation.from_json, (quoted.to_json(),), {}),
        ],
    }


@pytest.mark.parametrize("room", NAMED)
def test_one_wrong_argument(client, room):
    wrong = [
        None,
        -1,
        1 << 70,
        b"",
        b"x" * 40,
        "",
        "\ud800",
        [],
        [None],
        {},
        {1: 2},
        [(1, 2)],
        1.5,
        Hostile(),
        object(),
    ]
    wrong += [client.pcr(3), client.owner, Policy(), use.srk_template(), lambda *_: None, type, {"sha256": 5}]
    table = calls(client)
    space = use.NvData.open(client, INDEX)
    for call, arguments, options in table[room]:
        for place in (*range(len(arguments)), *options):
            for value in (*wrong, space, space.handle):
                given, named = list(arguments), dict(options)
                if isinstance(place, int):
                    given[place] = value
                else:
                    named[place] = value
                try:
                    call(*given, **named)
                except PrestoCloudError:
                    continue
