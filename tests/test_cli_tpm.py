# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec tpm``: what they print, refuse, and say of a TPM in this process."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_device import PretendTpm
from prestocloud_sec.tpm import PcrSelection, ReferencePolicy, public_to_pem
from prestocloud_sec.tpm.policy import PCR, AuthValue, Password, Policy
from prestocloud_sec.tpm.spec import TPMT_PUBLIC
from prestocloud_sec.tpm.transport import libtpms
from tests.test_cli import answer, call, refused

sha1 = hashlib.sha1  # what logs of old are of

needs_tpm = pytest.mark.skipif(not libtpms.available(), reason="libtpms is not here: apt-get install libtpms0")

RANDOM = "80010000000c0000017b0008"
ANSWER = "80010000001400000000" + "0008" + "f33644d066eac4da"
SEPARATOR = struct.pack("<II", 0, 4) + sha1(bytes(4)).digest() + struct.pack("<I", 4) + bytes(4)
"""A log of one event in SHA-1: EV_SEPARATOR with four zeros, in PCR 0."""
AFTER_SEPARATOR = sha1(bytes(20) + sha1(bytes(4)).digest()).hexdigest()


class TestDecode:
    @pytest.mark.parametrize("form", [[], ["--format", "hex"]])
    def test_a_command_and_its_response(self, form: list[str]) -> None:
        told = answer("tpm", "decode", "-", *form, stdin=f"{RANDOM}\n{ANSWER}\n")["messages"]
        assert [(each["kind"], each["command"]) for each in told] == [
            ("command", "GetRandom"),
            ("response", "GetRandom"),
        ]
        assert told[0]["parameters"] == {"bytesRequested": 8}
        assert "bytesRequested: UINT16 = 8" in call("tpm", "decode", RANDOM).stdout

    def test_sources(self, tmp_path: Path) -> None:
        (tmp_path / "c.bin").write_bytes(bytes.fromhex(RANDOM))
        told = answer("tpm", "decode", str(tmp_path / "c.bin"))
        assert told == answer("tpm", "decode", RANDOM) == answer("tpm", "decode", stdin=RANDOM)
        assert told == answer("tpm", "decode", str(tmp_path / "c.bin"), "--format", "bytes")
        log = "SWTPM_IO_Read: length 12\n 80 01 00 00 00 0C 00 00 01 7B 00 08 \n"
        assert told == answer("tpm", "decode", "--format", "swtpm", stdin=log)

    def test_secrets_are_shown_on_demand(self) -> None:
        secret = ANSWER[-16:]
        assert secret not in call("tpm", "decode", stdin=RANDOM + ANSWER).stdout
        assert secret in call("tpm", "decode", "--secrets", stdin=RANDOM + ANSWER).stdout

    def test_a_broken_message_is_told_in_its_place(self) -> None:
        broken = "80010000000c0000017e0000"
        result = call("tpm", "decode", "--json", stdin=RANDOM + ANSWER + broken)
        assert result.exit_code == 1
        kinds = [each.get("kind", "problem") for each in json.loads(result.stdout)["messages"]]
        assert kinds == ["command", "response", "problem"]
        plain = call("tpm", "decode", stdin=broken)
        assert (plain.exit_code, plain.stdout[:12]) == (1, "not decoded:")

    def test_an_answer_of_tpm_1_2_is_refused_by_name(self) -> None:
        told = call("tpm", "decode", stdin="00c40000000a00000026")
        assert told.exit_code == 1
        assert "1.2" in told.stdout

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["nowhere.log"], 1),
            (["zz"], 1),
            ([RANDOM, "--format", "pcap"], 1),
            ([RANDOM, "--format", "swtpm"], 1),
            ([RANDOM, "--format", "morse"], 2),
        ],
    )
    def test_what_is_no_traffic(self, words: list[str], code: int) -> None:
        refused(code, "tpm", "decode", *words)

    @pytest.mark.parametrize("cut", ["80010000000c0000017b00", "8001000000"])
    def test_a_message_that_was_cut_off_is_a_problem(self, cut: str) -> None:
        result = call("tpm", "decode", cut, "--json")
        assert result.exit_code == 1
        (told,) = json.loads(result.stdout)["messages"]
        assert list(told) == ["problem"]
        plain = call("tpm", "decode", cut)
        assert (plain.exit_code, plain.stdout) == (1, f"not decoded: {told['problem']}\n")

    def test_a_capture_without_traffic_is_one_line(self) -> None:
        capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        refused(1, "tpm", "decode", "-", stdin=capture)
        assert "no message of a TPM" in call("tpm", "decode", "-", stdin=capture).stderr

    @given(st.binary(max_size=200))
    @settings(max_examples=40)
    def test_any_bytes(self, data: bytes) -> None:
        assert call("tpm", "decode", stdin=data).exit_code in (0, 1)


class TestExplain:
    @pytest.mark.parametrize("text", ["0x98e", "2446", "0X98E"])
    def test_numbers(self, text: str) -> None:
        told = answer("tpm", "explain", text)
        assert (told["rc"], told["name"], told["session"], told["command"]) == ("0x98e", "AUTH_FAIL", 1, None)

    @pytest.mark.parametrize("text", ["AUTH_FAIL", "auth_fail", "TPM_RC_AUTH_FAIL"])
    def test_names(self, text: str) -> None:
        assert answer("tpm", "explain", text)["rc"] == "0x08e"

    def test_what_is_at_fault_has_a_name(self) -> None:
        told = answer("tpm", "explain", "0x1d5", "--command", "TPM2_Create")
        assert (told["parameter"], told["culprit"]) == (1, "inSensitive")
        assert "inSensitive" in call("tpm", "explain", "0x1d5", "--command", "create").stdout

    @pytest.mark.parametrize("text", ["", "x", "4294967296", "1e3", "98e", "\x1b[31m"])
    def test_what_is_no_code(self, text: str) -> None:
        refused(2, "tpm", "explain", text)
        assert call("tpm", "explain", "--", "-1").exit_code == 2

    def test_a_command_that_nobody_knows(self) -> None:
        refused(2, "tpm", "explain", "0x98e", "--command", "Unsael")


class TestPolicy:
    POLICY = PCR("sha256:7", values={"sha256": {7: bytes(32)}}) >> AuthValue()

    def test_digest_and_tree(self, tmp_path: Path) -> None:
        (tmp_path / "p.json").write_text(self.POLICY.to_json())
        told = answer("tpm", "policy", str(tmp_path / "p.json"))
        # P = H(P || code || arguments), by hand (Part 3, 23.7 and 23.15)
        selection = bytes.fromhex("00000001000b03800000")
        step = hashlib.sha256(bytes(32) + b"\0\0\1\x7f" + selection + hashlib.sha256(bytes(32)).digest()).digest()
        expected = hashlib.sha256(step + b"\0\0\1\x6b").hexdigest()
        assert told["digest"] == expected
        assert [each["op"] for each in told["steps"]] == ["PolicyPCR", "PolicyAuthValue"]
        assert told["steps"][0]["digest"] == step.hex()
        shown = call("tpm", "policy", str(tmp_path / "p.json"))
        assert expected in shown.stdout
        assert "AuthValue" in shown.stdout

    def test_other_hashes(self) -> None:
        told = answer("tpm", "policy", "-", "--hash", "sha384", stdin=Policy(Password()).to_json())
        assert told["digest"] == hashlib.sha384(bytes(48) + b"\0\0\1\x6b").hexdigest()

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"steps":[{"op":"PolicyNothing"}]}', "[" * 5000])
    def test_what_is_no_policy(self, text: str) -> None:
        refused(1, "tpm", "policy", "-", stdin=text)

    def test_what_is_no_hash(self) -> None:
        refused(2, "tpm", "policy", "-", "--hash", "md5", stdin='{"steps":[]}')


class TestEventLogs:
    @pytest.fixture
    def log(self, tmp_path: Path) -> str:
        (tmp_path / "boot.log").write_bytes(SEPARATOR)
        return str(tmp_path / "boot.log")

    def values(self, tmp_path: Path, value: str) -> str:
        (tmp_path / "pcrs.json").write_text(json.dumps({"sha1": {"0": value}}))
        return str(tmp_path / "pcrs.json")

    def test_events_and_replay(self, log: str) -> None:
        told = answer("tpm", "eventlog", log)
        assert told["replay"] == {"sha1": {"0": AFTER_SEPARATOR}}
        assert [(each["type"], each["pcr"], each["fits"]) for each in told["events"]] == [("EV_SEPARATOR", 0, True)]
        shown = call("tpm", "eventlog", log).stdout
        assert "EV_SEPARATOR" in shown
        assert AFTER_SEPARATOR in shown

    def test_it_is_held_against_values(self, log: str, tmp_path: Path) -> None:
        told = answer("tpm", "eventlog", log, "--pcrs", self.values(tmp_path, AFTER_SEPARATOR))
        assert told["matches"] is True
        result = call("tpm", "eventlog", log, "--pcrs", self.values(tmp_path, "00" * 20), "--json")
        assert result.exit_code == 1
        assert "event 0" in json.loads(result.stdout)["comparison"][0]["fault"]

    def test_a_digest_that_is_not_that_of_the_data(self, tmp_path: Path) -> None:
        (tmp_path / "boot.log").write_bytes(SEPARATOR[:-4] + b"\0\0\0\1")
        told = answer("tpm", "eventlog", str(tmp_path / "boot.log"))
        assert told["events"][0]["fits"] is False
        assert "the digest is not that of the data" in call("tpm", "eventlog", str(tmp_path / "boot.log")).stdout

    def test_a_log_of_the_kernel(self, log: str, tmp_path: Path) -> None:
        digest = hashlib.sha256(b"content").hexdigest()
        fields = b"sha256:\0" + bytes.fromhex(digest), b"/bin/true\0"
        data = b"".join(struct.pack("<I", len(field)) + field for field in fields)
        template = sha1(data).hexdigest()
        text = tmp_path / "ima.txt"
        text.write_text(f"10 {template} ima-ng sha256:{digest} /bin/true\n")
        told = answer("tpm", "eventlog", str(text))
        assert told["replay"]["sha1"] == {"10": sha1(bytes(20) + bytes.fromhex(template)).hexdigest()}
        assert "/bin/true" in told["events"][0]["summary"]
        both = answer("tpm", "eventlog", log, "--ima", str(text))
        assert set(both["replay"]["sha1"]) == {"0", "10"}
        assert [each["type"] for each in both["events"]] == ["EV_SEPARATOR", "ima-ng"]

    @needs_tpm
    def test_it_is_held_against_a_tpm(self, log: str) -> None:
        result = call("tpm", "eventlog", log, "--compare", "--tpm", "embedded:", "--json")
        assert result.exit_code == 1  # a TPM that was made a moment ago has measured nothing
        told = json.loads(result.stdout)
        assert told["comparison"][0]["actual"] == "00" * 20

    def test_misused(self, log: str) -> None:
        refused(2, "tpm", "eventlog")
        refused(2, "tpm", "eventlog", log, "--compare", "--pcrs", "x")
        refused(1, "tpm", "eventlog", "/nowhere")
        refused(1, "tpm", "eventlog", log, "--pcrs", log)

    @pytest.mark.parametrize(
        "text", ["[]", "{", '{"sha1": 5}', '{"sha1": {"x": "00"}}', '{"sha1": {"0": 1}}', '{"sha1": {"0": "zz"}}']
    )
    def test_what_are_no_values(self, log: str, text: str, tmp_path: Path) -> None:
        (tmp_path / "pcrs.json").write_text(text)
        refused(1, "tpm", "eventlog", log, "--pcrs", str(tmp_path / "pcrs.json"))

    def test_values_that_do_not_fit_their_bank(self, log: str, tmp_path: Path) -> None:
        refused(2, "tpm", "eventlog", log, "--pcrs", self.values(tmp_path, "00"))


class TestQuotes:
    """Quotes of a TPM whose bytes are made by hand (`prestocloud_sec.testing.tpm_device`)."""

    NONCE = "00112233"

    @pytest.fixture
    def files(self, tmp_path: Path) -> Callable[..., list[str]]:
        device = PretendTpm()
        device.pcrs.event(7, b"event")
        key = device.create_ak()
        attest, signature = key.quote(PcrSelection.of("sha256:7").encode(), bytes.fromhex(self.NONCE))
        values = {"sha256": {"7": device.pcrs.read(7, "sha256").hex()}}
        pem = public_to_pem(TPMT_PUBLIC.decode(key.public))
        contents: dict[str, bytes] = {
            "attest": attest,
            "sig": signature,
            "key": key.public,
            "key2b": struct.pack(">H", len(key.public)) + key.public,
            "pem": pem if isinstance(pem, bytes) else pem.encode(),
            "pcrs": json.dumps(values).encode(),
        }
        for name, data in contents.items():
            (tmp_path / name).write_bytes(data)

        def words(key: str = "key", nonce: str | None = self.NONCE, pcrs: str | None = "pcrs") -> list[str]:
            found = [
                "tpm",
                "verify-quote",
                str(tmp_path / "attest"),
                str(tmp_path / "sig"),
                "--key",
                str(tmp_path / key),
            ]
            found += ["--nonce", nonce] if nonce is not None else []
            return found + (["--pcrs", str(tmp_path / pcrs)] if pcrs is not None else [])

        return words

    @pytest.mark.parametrize("key", ["key", "key2b", "pem"])
    def test_one_that_holds(self, files: Callable[..., list[str]], key: str) -> None:
        told = answer(*files(key), "--selection", "sha256:7")
        assert told["accepted"] is True
        states = {clause["name"]: clause["state"] for clause in told["clauses"]}
        assert {states[name] for name in ("signature", "nonce", "pcr digest", "selection")} == {"holds"}
        assert "accepted" in call(*files(key)).stdout

    def test_bytes_as_arguments(self, files: Callable[..., list[str]]) -> None:
        words = files()
        words[2:4] = (Path(word).read_bytes().hex() for word in words[2:4])
        assert answer(*words)["accepted"] is True

    def refused_by(self, words: list[str], name: str, state: str = "fails") -> None:
        result = call(*words, "--json")
        assert result.exit_code == 1
        told = json.loads(result.stdout)
        assert told["accepted"] is False
        assert {clause["name"]: clause["state"] for clause in told["clauses"]}[name] == state
        assert "NOT ACCEPTED" in call(*words).stdout

    def test_a_nonce_of_another_time(self, files: Callable[..., list[str]]) -> None:
        self.refused_by(files(nonce="00112234"), "nonce")

    def test_without_a_nonce_it_may_be_old(self, files: Callable[..., list[str]]) -> None:
        self.refused_by(files(nonce=None), "nonce", "not checked")
        assert answer(*files(nonce=None), "--require", "signature", "--require", "pcr digest")["accepted"] is True

    def test_without_values_it_says_little(self, files: Callable[..., list[str]]) -> None:
        self.refused_by(files(pcrs=None), "pcr digest", "not checked")

    def test_a_signature_of_another(self, files: Callable[..., list[str]], tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(PretendTpm().create_ak().public)
        self.refused_by(files("other"), "signature")

    def test_values_of_another(self, files: Callable[..., list[str]], tmp_path: Path) -> None:
        (tmp_path / "wrong").write_text(json.dumps({"sha256": {"7": "00" * 32}}))
        self.refused_by(files(pcrs="wrong"), "pcr digest")

    def test_what_is_no_quote(self, files: Callable[..., list[str]]) -> None:
        words = files()
        words[2] = "ff544347"
        self.refused_by(words, "format")

    def test_a_policy(self, files: Callable[..., list[str]], tmp_path: Path) -> None:
        (tmp_path / "policy").write_text(ReferencePolicy("sha256", values={7: [bytes(32)]}).to_json())  # type: ignore[arg-type]
        result = call(*files(), "--policy", str(tmp_path / "policy"), "--json")
        assert result.exit_code == 1
        failed = [clause["name"] for clause in json.loads(result.stdout)["clauses"] if clause["state"] == "fails"]
        assert failed
        assert not {"signature", "nonce", "pcr digest"} & set(failed)

    def test_a_clause_that_there_is_not(self, files: Callable[..., list[str]]) -> None:
        refused(2, *files(), "--require", "weather")

    def test_a_key_that_is_none(self, files: Callable[..., list[str]], tmp_path: Path) -> None:
        (tmp_path / "none").write_bytes(b"no key")
        assert call(*files("none")).exit_code == 1


@needs_tpm
class TestDevice:
    def test_info(self) -> None:
        told = answer("tpm", "info")
        assert told["maker"].startswith("IBM")
        assert told["family"] == "2.0"
        assert {"sha1", "sha256"} <= set(told["banks"])
        assert {"RSA", "SHA256", "AES"} <= set(told["algorithms"])
        assert "GetRandom" in told["commands"]
        assert told["properties"]["MANUFACTURER"] == "IBM"
        assert "retry-on-first-use" in [quirk["name"] for quirk in told["quirks"]]
        shown = call("tpm", "info").stdout
        for word in ("firmware", "sha256: 0-23", "not locked", "MAX_COMMAND_SIZE"):
            assert word in shown

    def test_pcr(self) -> None:
        told = answer("tpm", "pcr", "sha256:0,17")
        assert told == {"sha256": {"0": "00" * 32, "17": "ff" * 32}}
        everything = answer("tpm", "pcr")
        assert {"sha1", "sha256"} <= set(everything)
        assert all(len(pcrs) == 24 for pcrs in everything.values())
        assert "sha1:16" in call("tpm", "pcr", "sha1:16").stdout

    def test_random(self) -> None:
        for count in (1, 33, 100):
            found = bytes.fromhex(answer("tpm", "random", str(count))["bytes"])
            assert len(found) == count
        assert len(set(found)) > 30
        assert len(call("tpm", "random", "5").stdout.strip()) == 10

    def test_raw(self) -> None:
        told = answer("tpm", "raw", RANDOM, "--decode", "--secrets")
        assert told["rc"] == 0
        assert told["response"].startswith("80010000001400000000")
        assert told["response"].endswith(told["messages"][1]["parameters"]["randomBytes"])
        assert [each["command"] for each in told["messages"]] == ["GetRandom", "GetRandom"]
        assert call("tpm", "raw", "-", stdin=RANDOM).stdout.startswith("80010000001400000000")
        assert "bytesRequested" in call("tpm", "raw", RANDOM, "--decode").stdout

    def test_raw_decoded_hides_what_decode_hides(self) -> None:
        told = answer("tpm", "raw", RANDOM, "--decode")
        assert (told["response"], told["messages"][1]["parameters"]["randomBytes"]) == (None, None)
        hidden, shown = (call("tpm", "raw", RANDOM, "--decode", *more).stdout for more in ([], ["--secrets"]))
        assert "command GetRandom" in hidden
        assert "80010000001400000000" not in hidden
        assert shown[24:40] in shown[40:]
        refused(2, "tpm", "raw", RANDOM, "--secrets")

    def test_raw_takes_one_command(self) -> None:
        refused(1, "tpm", "raw", RANDOM + RANDOM)
        refused(1, "tpm", "raw", RANDOM[:-2])

    def test_raw_and_an_error_of_the_tpm(self) -> None:
        result = call("tpm", "raw", "80010000000a0000017b")
        assert result.exit_code == 1
        assert result.stdout.strip() == "80010000000a000001da"
        assert "INSUFFICIENT" in result.stderr
        told = json.loads(call("tpm", "raw", "80010000000a0000017b", "--json").stdout)
        assert told["rc"] == 0x1DA

    def test_the_way_may_stand_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PRESTOCLOUD_SEC_TPM", "device:/nowhere/at/all")
        refused(3, "tpm", "random", "1")
        assert answer("tpm", "random", "1", "--tpm", "embedded:")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["random", "0"], 2),
        (["random", "65537"], 2),
        (["random"], 2),
        (["pcr", "sha256"], 2),
        (["pcr", "sha256:24"], 2),
        (["raw", "zz"], 1),
        (["pcr", "sha256:99"], 2),
        (["info", "--tpm", "telepathy:"], 2),
        (["info", "--tpm", "embedded:nothing=1"], 2),
        (["info", "--tpm", "device:/nowhere/at/all"], 3),
        (["info", "--tpm", "swtpm:path=/nowhere/at/all"], 3),
        (["verify-quote", "00", "00"], 2),
    ],
)
def test_wrong_usage_and_what_is_not_there(words: list[str], code: int) -> None:
    refused(code, "tpm", *words)


def test_without_libtpms_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libtpms, "available", lambda: False)
    monkeypatch.delenv("PRESTOCLOUD_SEC_TPM", raising=False)
    assert "libtpms0" in refused(3, "tpm", "info")


def test_nothing_hostile_reaches_the_terminal() -> None:
    data: Any = json.dumps({"label": "x", "steps": [{"op": "\x1b[31m"}]})
    assert "\x1b" not in call("tpm", "policy", "-", stdin=data).output
