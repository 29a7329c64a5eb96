# SPDX-License-Identifier: Apache-2.0
"""tpm2-tools and our verification on one swtpm: each believes the other's quotes, and both replay event logs alike."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_logs import (
    EV_ACTION,
    EV_APPLICATION,
    EV_SEPARATOR,
    EV_VARIABLE,
    agile_log,
    image_load,
    measured,
    sha1_log,
    uefi_variable,
)
from prestocloud_sec.tpm.attest import verify_quote
from prestocloud_sec.tpm.errors import TpmUnavailableError
from prestocloud_sec.tpm.eventlog import EventLog, replay
from prestocloud_sec.tpm.pcr import PcrBanks, PcrSelection
from prestocloud_sec.tpm.pem import public_to_pem
from prestocloud_sec.tpm.transport import SwtpmServer, SwtpmTransport
from tests.tpm.real_tpm import ENDORSEMENT, SCHEMES, RealTpm, ak_template

NONCE = bytes(range(16))
SELECTION = "sha1:0,16+sha256:7,16"

Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[SwtpmServer]:
    if shutil.which("tpm2_checkquote") is None:
        pytest.skip("hardware TPM tools (tpm2-tools) are not here")
    with ExitStack() as stack:
        try:
            yield stack.enter_context(SwtpmServer())
        except TpmUnavailableError as error:
            pytest.skip(f"hardware TPM or swtpm: {error}")


@pytest.fixture
def tool(server: SwtpmServer, tmp_path: Path) -> Tool:
    """Return a function that runs one of tpm2-tools in a folder of its own, against the server."""

    def run(*words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        tcti = f"swtpm:host={server.address[0]},port={server.address[1]}"
        environment = {"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": tcti, "TSS2_LOG": "all+NONE"}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if ok:
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    return run


@pytest.mark.parametrize("scheme", [scheme for scheme in SCHEMES if scheme != "rsapss"])  # which 5.4 does not know
def test_tpm2_checkquote_believes_our_quotes(server, tool, tmp_path, scheme):
    with SwtpmTransport(server.address) as transport:
        tpm = RealTpm(transport)
        ak, public, _ = tpm.create_primary(ENDORSEMENT, ak_template(scheme))
        attest, signature = tpm.quote(ak, NONCE, PcrSelection.of(SELECTION).encode())
        tpm.flush(ak)
    (tmp_path / "ak.pem").write_text(public_to_pem(public))
    (tmp_path / "quote").write_bytes(attest)
    (tmp_path / "signature").write_bytes(signature)
    words = [
        "tpm2_checkquote",
        "-u",
        "ak.pem",
        "-m",
        "quote",
        "-s",
        "signature",
        "-g",
        "sha256",
        "-q",
    ]
    tool(*words, NONCE.hex())
    assert verify_quote(attest, signature, public, nonce=NONCE)["signature"].holds
    for wrong in (NONCE[:-1].hex(), "00" * 16):
        assert tool(*words, wrong, ok=False).returncode != 0
        assert verify_quote(attest, signature, public, nonce=bytes.fromhex(wrong))["nonce"].fails
    (tmp_path / "quote").write_bytes(attest[:-1] + bytes([attest[-1] ^ 1]))
    assert tool(*words, NONCE.hex(), ok=False).returncode != 0


@pytest.mark.parametrize(("algorithm", "hashed"), [("ecc", "sha256"), ("rsa", "sha256"), ("rsa", "sha384")])
def test_we_believe_quotes_of_tpm2_quote(tool, tmp_path, algorithm, hashed):
    tool("tpm2_pcrextend", f"16:sha1={'11' * 20},sha256={'22' * 32}")
    words = [
        ["tpm2_createek", "-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub"],
        [
            "tpm2_createak",
            "-C",
            "ek.ctx",
            "-c",
            "ak.ctx",
            "-G",
            algorithm,
            "-g",
            hashed,
            "-u",
            "ak.pub",
            "-q",
            "ak.qname",
        ],
        ["tpm2_readpublic", "-c", "ak.ctx", "-o", "ak.pem", "-f", "pem"],
        [
            "tpm2_quote",
            "-c",
            "ak.ctx",
            "-l",
            SELECTION,
            "-q",
            NONCE.hex(),
            "-m",
            "quote",
            "-s",
            "signature",
            "-g",
            hashed,
        ],
    ]
    for step in words:
        tool(*step)
        tool("tpm2_flushcontext", "-t")  # there is room for three
    tool("tpm2_pcrread", SELECTION, "-o", "values")
    attest, signature = ((tmp_path / name).read_bytes() for name in ("quote", "signature"))
    raw, values = (tmp_path / "values").read_bytes(), {}
    for bank, pcr in PcrSelection.of(SELECTION):
        size = 20 if bank == 4 else 32
        values.setdefault(bank, {})[pcr], raw = raw[:size], raw[size:]
    assert raw == b""
    signer = (tmp_path / "ak.qname").read_bytes()
    for key in ((tmp_path / "ak.pem").read_bytes(), (tmp_path / "ak.pub").read_bytes()[2:]):
        verdict = verify_quote(attest, signature, key, nonce=NONCE, pcrs=values, selection=SELECTION, signer=signer)
        assert verdict.failed == ()
        assert verdict.accepts("signature", "nonce", "pcr digest", "selection", "signer")
        assert verify_quote(attest, signature, key, nonce=NONCE[1:])["nonce"].fails


def test_software_pcrs_are_those_of_tpm2_pcrread(tool):
    tool("tpm2_pcrreset", "23")
    tool("tpm2_pcrextend", f"23:sha1={'ab' * 20},sha384={'cd' * 48}", f"23:sha512={'ef' * 64}")
    model = PcrBanks()
    model.extend(23, {"sha1": b"\xab" * 20, "sha384": b"\xcd" * 48})
    model.extend(23, {"sha512": b"\xef" * 64})
    told = tool("tpm2_pcrread", "sha1:23+sha256:23+sha384:23+sha512:23").stdout
    found = re.findall(r"23: 0x([0-9A-F]+)", told)
    assert [bytes.fromhex(value) for value in found] == [
        model.read(23, bank) for bank in ("sha1", "sha256", "sha384", "sha512")
    ]


def told_pcrs(text: str) -> dict[str, dict[int, bytes]]:
    """Return the PCRs at the end of what tpm2_eventlog prints."""
    found: dict[str, dict[int, bytes]] = {}
    bank = ""
    for line in text[text.index("\npcrs:") :].splitlines():
        if match := re.fullmatch(r"  (sha\d+):", line):
            bank = match[1]
        elif match := re.fullmatch(r"    (\d+) *: 0x([0-9a-f]+)", line):
            found.setdefault(bank, {})[int(match[1])] = bytes.fromhex(match[2])
    return found


GUID = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
BANKS = st.lists(st.sampled_from(("sha1", "sha256", "sha384", "sha512")), min_size=1, unique=True).map(tuple)


@st.composite
def logs(draw: st.DrawFn):
    """Return a strategy of logs with events that tpm2_eventlog reads."""
    is_sha1 = draw(st.booleans())
    banks = ("sha1",) if is_sha1 else draw(BANKS)
    events = []
    # tpm2_eventlog 5.4 knows neither StartupLocality nor what a hardware CRTM means for PCR 0; TPMs do (test_pcr.py).
    for _ in range(draw(st.integers(1, 6))):
        pcr = draw(st.sampled_from((0, 1, 4, 5, 7, 17, 22)))
        kind = draw(st.sampled_from((EV_SEPARATOR, EV_VARIABLE, EV_ACTION, EV_APPLICATION)))
        data = {
            EV_SEPARATOR: bytes(4),
            EV_VARIABLE: uefi_variable(GUID, "SecureBoot", b"\1"),
            EV_ACTION: b"Calling EFI Application from Boot Option",
            EV_APPLICATION: image_load("\\EFI\\x.efi"),
        }[kind]
        events.append(
            measured(
                pcr, kind, data, banks, draw(st.binary(min_size=1, max_size=4)) if kind == EV_APPLICATION else None
            )
        )
    return sha1_log(events) if is_sha1 else agile_log(banks, events)


@pytest.mark.skipif(shutil.which("tpm2_eventlog") is None, reason="hardware TPM tools (tpm2-tools) are not here")
@given(logs())
@settings(max_examples=25)
def test_tpm2_eventlog_replays_as_we_do(tmp_path_factory, built):
    path = tmp_path_factory.mktemp("log") / "log.bin"
    path.write_bytes(built.data)
    done = subprocess.run(["tpm2_eventlog", path], capture_output=True, text=True, timeout=60, check=True)
    # tpm2_eventlog takes whatever is in PCRs 17 to 22 for a dynamic launch, and starts them at zero.
    found = replay(EventLog.decode(built.data, dynamic_launch=True))
    assert told_pcrs(done.stdout) == {bank: dict(found[bank]) for bank in built.banks}
