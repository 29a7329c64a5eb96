# SPDX-License-Identifier: Apache-2.0
"""tpm2-tools and this library read each other's objects, quotes, sealed data, credentials and NV indices, both ways."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from prestocloud_sec.tpm import use, verify_quote
from prestocloud_sec.tpm.errors import PolicyFailError
from prestocloud_sec.tpm.policy import PCR, AuthValue, Policy, Secret
from prestocloud_sec.tpm.protect import Credential, make_credential
from prestocloud_sec.tpm.public_keys import public_key_of
from prestocloud_sec.tpm.spec import TPM_RH, TPMS_ECC_POINT, TPMT_SIGNATURE

SRK = 0x81000001
AUTH_FAILED = 3
"""The exit code of tpm2-tools for a wrong authorization."""
NONCE = os.urandom(16)
SHA256 = hashes.SHA256()
ECDSA = ec.ECDSA(SHA256)


def pem_of(key) -> bytes:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(*form)


@pytest.fixture
def srk(tools):
    """Make the storage root key persistent, for both, and return its Name."""
    with tools.client() as client:
        return use.provision_srk(client, SRK).name


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_primary_keys_from_one_template_are_one_key(tools, kind):
    """What tpm2_createprimary makes by default, byte for byte."""
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
    tools.run(
        "createprimary",
        "-C",
        "o",
        "-g",
        "sha256",
        "-G",
        {"ecc": "ecc256:aes128cfb", "rsa": "rsa2048:aes128cfb"}[kind],
        "-a",
        attributes,
        "-c",
        "srk.ctx",
    )
    tools.run("readpublic", "-c", "srk.ctx", "-o", "srk.pub", "-n", "srk.name", "-f", "tss")
    tools.flush()
    template = use.srk_template(kind)
    template = template.replace(unique=b"" if kind == "rsa" else TPMS_ECC_POINT(b"", b""))
    with tools.client() as client, use.primary(client, template) as made:
        assert made.public.encode() == tools.read("srk.pub")[2:]
        assert made.name == tools.read("srk.name")


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_endorsement_keys_are_one_key(tools, kind):
    tools.run("createek", "-G", kind, "-c", "ek.ctx", "-u", "ek.pub", "-f", "tss")
    tools.flush()
    with tools.client() as client:
        assert use.ek(client, kind).public.encode() == tools.read("ek.pub")[2:]
        kept = use.provision_ek(client, kind)
    tools.run("readpublic", "-c", hex(kept), "-o", "kept.pub", "-f", "tss")
    assert tools.read("kept.pub") == tools.read("ek.pub")


def test_keys_of_theirs_are_ours(tools, srk):
    tools.write("message", b"a message")
    for kind, form in (("ecc", "ecdsa"), ("rsa2048", "rsassa")):
        tools.run("create", "-C", hex(SRK), "-G", kind, "-u", "key.pub", "-r", "key.priv", "-p", "secret")
        wrapped = use.WrappedObject.from_files(tools.read("key.pub"), tools.read("key.priv"), parent=srk)
        tools.flush()
        with tools.client() as client, use.load_key(client, wrapped, password="secret") as key:
            if form == "ecdsa":
                signature = key.sign(b"a message", ECDSA)
            else:
                signature = key.sign(b"a message", padding.PKCS1v15(), SHA256)
            tools.write("key.pem", pem_of(key.public_key()))
        tools.write("signature", signature)
        tools.run(
            "verifysignature",
            "-c",
            tools_loaded(tools, "key.pem"),
            "-g",
            "sha256",
            "-m",
            "message",
            "-s",
            "signature",
            "-f",
            form,
        )
        tools.flush()


def tools_loaded(tools, pem: str) -> str:
    """Load a public key in PEM into the TPM, and return its context."""
    kind = "ecc" if b"MFk" in tools.read(pem) else "rsa"
    tools.run("loadexternal", "-C", "n", "-G", kind, "-u", pem, "-c", "public.ctx")
    return "public.ctx"


def test_keys_of_ours_are_theirs(tools, srk):
    with tools.client() as client:
        assert use.srk(client).name == srk
        with use.create_key(client, "rsa", use="both", password="secret") as key:
            public, private = key.wrapped.to_files()
            rsa_public = key.public_key()
        with use.create_ak(client, "ecc") as ak:
            ak_public, ak_private = ak.wrapped.to_files()
            ak_key = ak.public_key()
    tools.run(
        "load",
        "-C",
        hex(SRK),
        "-u",
        tools.write("key.pub", public),
        "-r",
        tools.write("key.priv", private),
        "-c",
        "key.ctx",
    )
    tools.write("message", b"a message")
    tools.run(
        "sign",
        "-c",
        "key.ctx",
        "-p",
        "secret",
        "-g",
        "sha256",
        "-s",
        "rsassa",
        "-f",
        "plain",
        "-o",
        "signature",
        "message",
    )
    rsa_public.verify(tools.read("signature"), b"a message", padding.PKCS1v15(), SHA256)
    tools.flush()
    tools.run(
        "load",
        "-C",
        hex(SRK),
        "-u",
        tools.write("ak.pub", ak_public),
        "-r",
        tools.write("ak.priv", ak_private),
        "-c",
        "ak.ctx",
    )
    tools.flush()
    tools.run(
        "quote",
        "-c",
        "ak.ctx",
        "-l",
        "sha256:0,16",
        "-q",
        NONCE.hex(),
        "-m",
        "quote.msg",
        "-s",
        "quote.sig",
        "-o",
        "quote.pcrs",
        "-g",
        "sha256",
        "-F",
        "values",
    )
    tools.flush()
    verdict = verify_quote(
        tools.read("quote.msg"),
        TPMT_SIGNATURE.decode(tools.read("quote.sig")),
        ak_key,
        nonce=NONCE,
        pcrs={"sha256": {0: bytes(32), 16: bytes(32)}},
        selection="sha256:0,16",
    )
    assert verdict.accepts("signature", "nonce", "pcr digest", "selection")
    other = verify_quote(tools.read("quote.msg"), tools.read("quote.sig"), ak_key, nonce=b"another")
    assert [clause.name for clause in other.failed] == ["nonce"]


@pytest.mark.parametrize(("kind", "scheme"), [("ecc", "ecdsa"), ("rsa", "rsassa")])
def test_their_checkquote_verifies_our_quotes(tools, srk, kind, scheme):
    with tools.client() as client, use.create_ak(client, kind) as ak:
        client.pcr_event(16, b"an event")
        quoted = use.quote(client, ak, "sha256:0,1,16", NONCE)
        public = pem_of(ak.public_key())
    tools.write("ak.pem", public)
    tools.write("quote.msg", quoted.attest)
    tools.write("quote.sig", quoted.signature.encode())
    tools.run("pcrread", "sha256:0,1,16", "-o", "quote.pcrs", "-F", "values")
    wanted = b"".join(quoted.pcrs[11][pcr] for pcr in (0, 1, 16))
    assert tools.read("quote.pcrs") == wanted
    arguments = ["-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig", "-g", "sha256", "-q"]
    tools.run("checkquote", *arguments, NONCE.hex())
    tools.run("checkquote", *arguments, "0011223344", code=1)
    assert scheme == quoted.signature.sigAlg.name.lower()


def test_what_they_seal_opens_here(tools, srk):
    tools.write("secret", b"sealed by tpm2-tools")
    tools.run("pcrread", "sha256:16", "-o", "pcrs")
    tools.run("startauthsession", "-S", "session.ctx")
    tools.run("policypcr", "-S", "session.ctx", "-l", "sha256:16")
    tools.run("policyauthvalue", "-S", "session.ctx", "-L", "policy")
    tools.run("flushcontext", "session.ctx")
    tools.run(
        "create",
        "-C",
        hex(SRK),
        "-L",
        "policy",
        "-i",
        "secret",
        "-u",
        "sealed.pub",
        "-r",
        "sealed.priv",
        "-p",
        "open",
        "-a",
        "fixedtpm|fixedparent|adminwithpolicy",
    )
    tools.flush()
    policy = PCR("sha256:16", values={"sha256": {16: bytes(32)}}) >> AuthValue()
    assert policy.digest("sha256") == tools.read("policy")
    sealed = use.WrappedObject.from_files(
        tools.read("sealed.pub"), tools.read("sealed.priv"), parent=srk, policy=policy
    )
    with tools.client() as client:
        assert use.unseal(client, sealed, password="open") == b"sealed by tpm2-tools"
        client.pcr_event(16, b"an event")
        with pytest.raises(PolicyFailError):
            use.unseal(client, sealed, password="open")


def test_what_we_seal_opens_there(tools, srk):
    with tools.client() as client:
        sealed = use.seal(client, b"sealed here", pcrs="sha256:16")
        guarded = use.seal(client, b"for a password", password="open")
    for each, name in ((sealed, "sealed"), (guarded, "guarded")):
        public, private = each.to_files()
        tools.run(
            "load", "-C", hex(SRK), "-u", tools.write("p", public), "-r", tools.write("r", private), "-c", f"{name}.ctx"
        )
        tools.flush()
    assert tools.run("unseal", "-c", "guarded.ctx", "-p", "open") == "for a password"
    tools.flush()
    tools.run("unseal", "-c", "guarded.ctx", "-p", "shut", code=AUTH_FAILED)
    tools.flush()
    assert tools.run("unseal", "-c", "sealed.ctx", "-p", "pcr:sha256:16") == "sealed here"
    tools.flush()
    tools.run("pcrextend", f"16:sha256={'00' * 32}")
    tools.run("unseal", "-c", "sealed.ctx", "-p", "pcr:sha256:16", code=1)


def test_credentials_both_ways(tools, srk):
    with tools.client() as client:
        ek = use.provision_ek(client, "rsa")
        ek_public = ek.public
        with use.create_ak(client) as ak:
            ak_wrapped = ak.wrapped
    name = ak_wrapped.name
    tools.write("secret", b"from tpm2-tools")
    tools.write("ek.pem", pem_of(public_key_of(ek_public)))
    tools.run(
        "makecredential",
        "-T",
        "none",
        "-u",
        "ek.pem",
        "-G",
        "rsa",
        "-s",
        "secret",
        "-n",
        name.hex(),
        "-o",
        "credential",
    )
    with tools.client() as client, use.load_key(client, ak_wrapped) as ak:
        theirs = Credential.from_file(tools.read("credential"))
        assert use.activate(client, ak, use.ek(client, "rsa"), theirs) == b"from tpm2-tools"
    tools.write("ours", make_credential(ek_public, name, b"from here").to_file())
    public, private = ak_wrapped.to_files()
    tools.run(
        "load",
        "-C",
        hex(SRK),
        "-u",
        tools.write("ak.pub", public),
        "-r",
        tools.write("ak.priv", private),
        "-c",
        "ak.ctx",
    )
    tools.flush()
    tools.run("startauthsession", "--policy-session", "-S", "session.ctx")
    tools.run("policysecret", "-S", "session.ctx", "-c", "e")
    tools.run(
        "activatecredential", "-c", "ak.ctx", "-C", hex(ek), "-i", "ours", "-o", "found", "-P", "session:session.ctx"
    )
    assert tools.read("found") == b"from here"


def test_nv_both_ways(tools):
    index, other = 0x01500040, 0x01500041
    with tools.client() as client:
        use.NvData.define(client, index, 20, password="p", owner=True).write(b"written by us")
        counter = use.NvCounter.define(client, other, owner=True)
        first = counter.increment()
    found = tools.run("nvread", hex(index), "-C", hex(index), "-P", "p", "-s", 13)
    assert found == "written by us"
    tools.run("nvwrite", hex(index), "-C", hex(index), "-P", "p", "-i", tools.write("data", b"and by them"))
    tools.run("nvincrement", hex(other), "-C", "o")
    with tools.client() as client:
        assert use.NvData.open(client, index, password="p").read(11) == b"and by them"
        counter = use.NvCounter.open(client, other)
        assert counter.value == first + 1
    printed = tools.run("nvreadpublic", hex(other))
    assert counter.name.hex() in printed.lower()
    assert "nt=0x1" in printed


def test_a_duplicate_of_theirs(tools, srk):
    """A key that OpenSSL made goes into the TPM through tpm2_import, and is used here."""
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    tools.write("key.pem", private.private_bytes(*form))
    tools.run("import", "-C", hex(SRK), "-G", "ecc", "-i", "key.pem", "-u", "key.pub", "-r", "key.priv", "-p", "secret")
    tools.flush()
    wrapped = use.WrappedObject.from_files(tools.read("key.pub"), tools.read("key.priv"), parent=srk)
    with tools.client() as client, use.load_key(client, wrapped, password="secret") as key:
        private.public_key().verify(key.sign(b"m", ECDSA), b"m", ECDSA)
        ours = use.import_key(client, private, password="secret")
    public, secret = ours.to_files()
    tools.run(
        "load", "-C", hex(SRK), "-u", tools.write("o.pub", public), "-r", tools.write("o.priv", secret), "-c", "o.ctx"
    )
    tools.write("message", b"m")
    tools.run("sign", "-c", "o.ctx", "-p", "secret", "-g", "sha256", "-f", "plain", "-o", "signature", "message")
    private.public_key().verify(tools.read("signature"), b"m", ECDSA)


def test_policies_have_one_digest(tools):
    values = {"sha256": {0: bytes(32), 16: bytes(32)}}
    tools.run("startauthsession", "-S", "session.ctx")
    tools.run("policypcr", "-S", "session.ctx", "-l", "sha256:0,16")
    tools.run("policysecret", "-S", "session.ctx", "-c", "o", "-L", "policy")
    ours = Policy(PCR("sha256:0,16", values=values), Secret(TPM_RH.OWNER))
    assert ours.digest("sha256") == tools.read("policy")
