# SPDX-License-Identifier: Apache-2.0
"""Whatever the calling code hands to what people do with a TPM: it is done, or refused by an error of ours."""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm import decode_command, policy, protect
from prestocloud_sec.tpm.client import Client, Properties, connect
from prestocloud_sec.tpm.session import SessionKind
from prestocloud_sec.tpm.spec import GetRandom
from prestocloud_sec.tpm.transport import EmbeddedTransport, libtpms
from prestocloud_sec.tpm.use import (
    NvBits,
    NvData,
    NvExtend,
    WrappedObject,
    activate,
    attest_commands,
    attest_time,
    certify,
    certify_creation,
    certify_nv,
    create,
    create_ak,
    create_key,
    decrypt_data,
    duplicate,
    ek,
    ek_certificate,
    ek_chain,
    encrypt_data,
    extend_pcr,
    foretell,
    hash_data,
    hmac_data,
    hmac_template,
    import_duplicate,
    import_key,
    import_secret,
    key_template,
    load,
    load_key,
    maker_certificates,
    movable_policy,
    open_key,
    pcr_banks,
    persist,
    primary,
    quote,
    random_bytes,
    read_nv,
    read_pcrs,
    reseal,
    run_policy,
    seal,
    sealed_template,
    set_audited_commands,
    srk,
    srk_template,
    stir,
    symmetric_template,
    unseal,
)
from prestocloud_sec.wire import shown
from tests.tpm.client.fakes import Listening
from tests.tpm.test_attack_machines import WRONG

pytestmark = pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder of the test's own: some of what is handed in names a folder, where a TPM then keeps its state."""
    monkeypatch.chdir(tmp_path)


Calls = dict[str, tuple[Callable[..., Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Return a TPM of its own for this file."""
    with connect("embedded:") as made:
        yield made


@pytest.fixture(scope="module")
def calls(client: Client) -> Calls:
    """Return what is called, and with what."""
    return calls_of(client)


def calls_of(c: Client) -> Calls:
    software = ec.generate_private_key(ec.SECP256R1())
    parent = protect.SoftwareParent(software)
    k, ak = create_key(c), create_ak(c)
    w, plain = seal(c, b"data", password=b"x", pcrs="sha256:16"), seal(c, b"data")
    wrapped = create(c, key_template())
    nv = NvData.define(c, 0x01800300, 32)
    nv.write(bytes(32))
    other = NvData.define(c, 0x01800301, 32)
    other.write(bytes(32))
    bits, ext = NvBits.define(c, 0x01800302), NvExtend.define(c, 0x01800303)
    sym, hm = load(c, create(c, symmetric_template())), load(c, create(c, hmac_template()))
    ekh = ek(c, "ecc")
    mov = create(c, key_template(movable=True, policy=movable_policy(parent.public)))
    movh = load(c, mov)
    persist(c, k.handle, 0x81000099)
    ses2 = c.start_session(SessionKind.POLICY)
    return {
        "random_bytes": (random_bytes, {"client": c, "count": 4, "mix": False}),
        "stir": (stir, {"client": c, "data": b"x"}),
        "seal": (
            seal,
            {
                "client": c,
                "data": b"x",
                "pcrs": "sha256:16",
                "values": None,
                "password": b"",
                "policy": None,
                "parent": None,
            },
        ),
        "unseal": (
            unseal,
            {
                "client": c,
                "sealed": plain,
                "password": b"",
                "parent": None,
                "choices": None,
                "handles": (),
                "signer": None,
            },
        ),
        "reseal": (
            reseal,
            {
                "client": c,
                "sealed": w,
                "values": None,
                "pcrs": None,
                "password": b"x",
                "new_password": None,
                "keep_current": False,
                "parent": None,
            },
        ),
        "create": (
            create,
            {
                "client": c,
                "template": key_template(),
                "parent": None,
                "password": b"",
                "data": b"",
                "policy": None,
                "outside_info": b"",
                "creation_pcrs": "",
            },
        ),
        "load": (load, {"client": c, "wrapped": wrapped, "parent": None, "password": b""}),
        "load_key": (
            load_key,
            {"client": c, "wrapped": wrapped, "parent": None, "password": b"", "choices": (), "signer": None},
        ),
        "primary": (
            primary,
            {
                "client": c,
                "template": srk_template(),
                "hierarchy": 0x40000007,
                "password": b"",
                "outside_info": b"",
                "creation_pcrs": "",
            },
        ),
        "create_key": (
            create_key,
            {
                "client": c,
                "kind": "ecc",
                "use": "sign",
                "bits": 2048,
                "curve": 3,
                "scheme": None,
                "hash": 11,
                "parent": None,
                "password": b"",
                "policy": None,
            },
        ),
        "create_ak": (
            create_ak,
            {"client": c, "kind": "ecc", "scheme": None, "hash": 11, "parent": None, "password": b""},
        ),
        "srk": (srk, {"client": c, "kind": None, "label": b""}),
        "ek": (ek, {"client": c, "kind": "ecc"}),
        "ek_certificate": (ek_certificate, {"client": c, "kind": "ecc"}),
        "ek_chain": (ek_chain, {"client": c, "roots": [], "kind": "ecc", "others": (), "now": None}),
        "maker_certificates": (maker_certificates, {"client": c}),
        "quote": (quote, {"client": c, "key": ak, "selection": "sha256:0", "nonce": b"n"}),
        "certify": (certify, {"client": c, "handle": k.handle, "key": ak, "nonce": b""}),
        "certify_creation": (
            certify_creation,
            {"client": c, "handle": k.handle, "creation": k.wrapped, "key": ak, "nonce": b""},
        ),
        "certify_nv": (certify_nv, {"client": c, "space": nv, "key": ak, "nonce": b"", "size": None, "offset": 0}),
        "attest_time": (attest_time, {"client": c, "key": ak, "nonce": b""}),
        "attest_commands": (attest_commands, {"client": c, "key": ak, "nonce": b""}),
        "set_audited": (set_audited_commands, {"client": c, "add": (), "remove": (), "hash": None}),
        "activate": (activate, {"client": c, "key": k, "endorsement_key": ekh, "credential": (b"", b"")}),
        "duplicate": (
            duplicate,
            {
                "client": c,
                "handle": movh,
                "new_parent": parent.public,
                "policy": movable_policy(parent.public),
                "cipher": None,
                "choices": (),
            },
        ),
        "import_key": (import_key, {"client": c, "private": software, "use": "sign", "password": b"", "parent": None}),
        "import_secret": (
            import_secret,
            {
                "client": c,
                "template": sealed_template(),
                "secret": b"x",
                "password": b"",
                "parent": None,
                "policy": None,
            },
        ),
        "import_duplicate": (
            import_duplicate,
            {
                "client": c,
                "public": mov.public,
                "duplicate": protect.Duplicate(b"", b""),
                "parent": None,
                "policy": None,
            },
        ),
        "encrypt_data": (encrypt_data, {"client": c, "key": sym, "data": b"x" * 16, "iv": bytes(16)}),
        "decrypt_data": (decrypt_data, {"client": c, "key": sym, "data": b"x" * 16, "iv": bytes(16)}),
        "hash_data": (hash_data, {"client": c, "data": b"x", "hash": 11, "hierarchy": 0x40000007}),
        "hmac_data": (hmac_data, {"client": c, "key": hm, "data": b""}),
        "extend_pcr": (extend_pcr, {"client": c, "pcr": 16, "digests": {"sha256": bytes(32)}}),
        "read_pcrs": (read_pcrs, {"client": c, "selection": None}),
        "pcr_banks": (pcr_banks, {"client": c}),
        "open_key": (
            open_key,
            {"client": c, "handle": 0x81000099, "password": b"", "policy": None, "choices": (), "signer": None},
        ),
        "read_nv": (read_nv, {"client": c, "index": 0x01800300, "password": b""}),
        "NvData": (NvData, {"client": c, "handle": nv.handle, "policy": None, "choices": (), "signer": None}),
        "nvread": (other.read, {"size": None, "offset": 0}),
        "nvwrite": (other.write, {"data": b"x", "offset": 0}),
        "bits": (bits.set, {"bits": 1}),
        "ext": (ext.extend, {"data": b"x"}),
        "run_policy": (
            run_policy,
            {"client": c, "policy": policy.Policy(), "session": ses2, "choices": (), "handles": (), "signer": None},
        ),
        "sign": (k.sign, {"data": b"x", "signature_algorithm": ec.ECDSA(hashes.SHA256())}),
        "WrappedObject": (
            WrappedObject,
            {"public": wrapped.public, "private": b"", "parent": b"", "policy": None, "creation": None},
        ),
        "foretell": (foretell, {"values": {"sha256": {0: bytes(32)}}, "extends": [(0, b"x")]}),
        "start_session": (
            c.start_session,
            {"kind": SessionKind.HMAC, "hash": 11, "cipher": None, "salt_key": None, "bind": None, "nonce_size": None},
        ),
        "capability": (c.capability, {"capability": 6, "first": 0}),
        "raw": (c.raw, {"command": bytes.fromhex("80010000000c0000017b0002")}),
        "persistent": (c.persistent, {"handle": 0x81000099}),
        "nv_index": (c.nv_index, {"handle": 0x01800300}),
        "object": (c.object, {"handle": int(k.handle)}),
        "hier": (c.hierarchy, {"handle": 0x40000001}),
        "pcr": (c.pcr, {"index": 1}),
        "execute": (c.execute, {"command": GetRandom(3), "sessions": None}),
        "protect": (c.protect, {"protect": False}),
        "Properties": (Properties, {"listed": []}),
        "Client": (
            Client,
            {"transport": c.transport, "protect": False, "startup": True, "retry": None, "random": lambda n: bytes(n)},
        ),
        "EmbeddedTransport": (EmbeddedTransport, {"directory": None, "startup": True, "library": None}),
    }


NAMES = [
    "random_bytes",
    "stir",
    "seal",
    "unseal",
    "reseal",
    "create",
    "load",
    "load_key",
    "primary",
    "create_key",
    "create_ak",
    "srk",
    "ek",
    "ek_certificate",
    "ek_chain",
    "maker_certificates",
    "quote",
    "certify",
    "certify_creation",
    "certify_nv",
    "attest_time",
    "attest_commands",
    "set_audited",
    "activate",
    "duplicate",
    "import_key",
    "import_secret",
    "import_duplicate",
    "encrypt_data",
    "decrypt_data",
    "hash_data",
    "hmac_data",
    "extend_pcr",
    "read_pcrs",
    "pcr_banks",
    "open_key",
    "read_nv",
    "NvData",
    "nvread",
    "nvwrite",
    "bits",
    "ext",
    "run_policy",
    "sign",
    "WrappedObject",
    "foretell",
    "start_session",
    "capability",
    "raw",
    "persistent",
    "nv_index",
    "object",
    "hier",
    "pcr",
    "execute",
    "protect",
    "Properties",
    "Client",
    "EmbeddedTransport",
]

REFUSED = {"ek_chain", "activate", "import_duplicate"}
"""What is refused for good reasons, though each argument is of the right type."""


@pytest.mark.parametrize("name", NAMES)
def test_no_argument_gets_through_as_something_else(name: str, client: Client, calls: Calls) -> None:
    function, arguments = calls[name]
    if name in REFUSED:
        with pytest.raises(PrestoCloudError):
            function(**arguments)
    else:
        function(**arguments)
    for position in arguments:
        for wrong in WRONG:
            try:
                repr(function(**{**arguments, position: wrong}))
            except PrestoCloudError as error:
                assert len(str(error)) < 700  # noqa: PT017
            except Exception as error:
                pytest.fail(f"{name}({position}={shown(wrong)}): {type(error).__name__}: {error!r}")
            client.protect(protect=False)


def test_every_name_is_tried(calls: Calls) -> None:
    assert list(calls) == NAMES


# --- a TPM that answers something else --------------------------------------------------------------------------------

THROUGH = (
    *("seal", "unseal", "reseal", "create", "load_key", "create_ak", "srk", "ek", "ek_certificate", "quote", "certify"),
    *("certify_nv", "attest_commands", "duplicate", "import_secret", "hash_data", "read_pcrs", "pcr_banks", "read_nv"),
)
CHANGES = 6


def changed(response: bytes, rng: random.Random) -> bytes:
    """Return a response with a bit flipped, a size that is another, or without its end; its own size is right."""
    raw = bytearray(response)
    match rng.randrange(3):
        case 0:
            raw[rng.randrange(min(10, len(raw) - 1), len(raw))] ^= 1 << rng.randrange(8)
        case 1 if len(raw) > 12:
            at = rng.randrange(10, len(raw) - 1)
            raw[at : at + 2] = rng.choice([b"\xff\xff", b"\0\0"])
        case _:
            raw = raw[: rng.randrange(len(raw))]
    if len(raw) >= 6:
        raw[2:6] = len(raw).to_bytes(4, "big")
    return bytes(raw)


@pytest.mark.parametrize("name", THROUGH)
def test_a_hostile_tpm_does_no_more_than_be_refused(name: str) -> None:
    """Whichever of the responses to a call is another: it is done, or refused by an error of ours; and it ends."""
    rng = random.Random(name)
    listening = Listening(EmbeddedTransport())
    with Client(listening) as client:
        function, arguments = calls_of(client)[name]
        listening.passed.clear()
        function(**arguments)
        usual = len(listening.passed)
        for _ in range(CHANGES):
            left = [rng.randrange(usual)]

            def after(response: bytes, left: list[int] = left) -> bytes:
                left[0] -= 1
                return changed(response, rng) if left[0] == -1 else response

            listening.after = after
            listening.passed.clear()
            with contextlib.suppress(PrestoCloudError):
                function(**arguments)
            assert len(listening.passed) < 10 * usual + 50
        listening.after = lambda response: response
        assert len(client.get_random(8)) == 8


def test_secrets_are_in_no_text_of_the_client() -> None:
    password, data = b"correct horse battery", b"what nobody is to see"
    listening = Listening(EmbeddedTransport())
    with Client(listening, protect=True) as client:
        sealed = seal(client, data, password=password)
        key = create_key(client, password=password)
        handle = load(client, sealed, password=password)
        shown_of = [client, client.core, client.core.registry, client.protection, sealed, key, handle, handle._entity]
        errors: list[BaseException] = []
        for fails in (
            lambda: unseal(client, sealed, password=password + b"!"),
            lambda: seal(client, data * 10, password=password),
            lambda: handle.set_auth(password * 4000),
            lambda: handle.set_auth([password]),  # type: ignore[arg-type]
            lambda: client.hierarchy_change_auth(client.owner, [password]),  # type: ignore[arg-type]
            lambda: copy.copy(client),
            lambda: pickle.dumps(client),
        ):
            with pytest.raises(PrestoCloudError) as caught:
                fails()
            errors.append(caught.value)
        texts = [f"{thing!r} {thing} {vars(thing) if hasattr(thing, '__dict__') else ''}" for thing in shown_of]
        texts += ["".join(traceback.format_exception(error)) + repr(vars(error)) for error in errors]
        for exchange in listening.passed:
            command = decode_command(exchange[0])
            texts += [command.text(), command.to_json(), repr(command), repr(command.frame)]
        for secret in (password, data, bytes(client.core.protection.sessions[0].session._key)):  # type: ignore[union-attr]
            assert secret not in listening.all_bytes
            for text in texts:
                assert secret.decode("latin-1") not in text
                assert secret.hex() not in text
                assert repr(secret)[2:-1] not in text
