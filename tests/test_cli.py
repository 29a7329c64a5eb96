# SPDX-License-Identifier: Apache-2.0
"""The command line: results, exit codes, one line for an error, and arguments that mean harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import prestocloud_sec
from prestocloud_sec.cjdns import PrivateKey, PublicKey, RouteLabel
from prestocloud_sec.cli import STDIN_LIMIT, ExitCode, main
from prestocloud_sec.errors import InputError, MisuseError, PrestoCloudError, UnavailableError

ADDRESSES = Path(__file__).parent / "vectors" / "cjdns" / "address.json"
PING = "00000000000000130040ffff" + "ffffffff" + "e4ec000309f9110200000015"


def call(*words: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=stdin)


def answer(*words: str, stdin: str | bytes | None = None) -> Any:
    """Run a command with --json and return what it printed; it must succeed."""
    result = call(*words, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(code: int, *words: str, stdin: str | bytes | None = None) -> str:
    """Run a command that must fail with `code`: one line without --json, an object with it; return the message."""
    plain = call(*words, stdin=stdin)
    assert plain.exit_code == code, plain.output
    assert plain.stdout == ""
    assert plain.stderr.startswith("prestocloud-sec: ")
    assert plain.stderr.count("\n") == 1
    assert plain.stderr.removesuffix("\n").isprintable()
    machine = call(*words, "--json", stdin=stdin)
    assert machine.exit_code == code
    assert machine.stderr == ""
    error = json.loads(machine.stdout)["error"]
    assert error["code"] == code
    assert error["kind"]
    return str(error["message"])


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    return [case for case in json.loads(ADDRESSES.read_bytes())["cases"] if case["valid"]]


class TestKeys:
    def test_keygen_makes_a_pair(self) -> None:
        made = answer("cjdns", "keygen")
        key = PrivateKey.parse(made["private"])
        assert made == {"private": key.raw.hex(), "public": key.public.text, "address": str(key.address)}
        assert answer("cjdns", "keygen")["private"] != made["private"]

    def test_keygen_for_people(self) -> None:
        lines = dict(line.split() for line in call("cjdns", "keygen").stdout.splitlines())
        assert str(PublicKey.parse(lines["public"]).address) == lines["address"]

    def test_keygen_searches_for_a_prefix(self) -> None:
        assert answer("cjdns", "keygen", "--prefix", "fc1")["address"].startswith("fc1")

    def test_keygen_gives_up(self) -> None:
        refused(1, "cjdns", "keygen", "--prefix", "fc00112233445566", "--limit", "1")

    @pytest.mark.parametrize("words", [["--limit", "5"], ["--limit", "0", "--prefix", "fc1"], ["--prefix"], ["extra"]])
    def test_keygen_misused(self, words: list[str]) -> None:
        assert call("cjdns", "keygen", *words).exit_code == ExitCode.USAGE

    @pytest.mark.parametrize("prefix", ["", "f", "fd", "fcg", "zz", "fc" * 20, "\x1b[31m"])
    def test_keygen_refuses_impossible_prefixes(self, prefix: str) -> None:
        refused(1, "cjdns", "keygen", "--prefix", prefix)

    def test_addresses_as_recorded(self, recorded: list[dict[str, Any]]) -> None:
        for case in recorded[:5]:
            expected = {"address": case["ip6_str"], "public": case["key"], "hex": case["public"]}
            assert answer("cjdns", "address", case["key"]) == expected
            assert answer("cjdns", "address", case["public"]) == expected
            assert answer("cjdns", "address", "--private", stdin=case["private"] + "\n") == expected

    def test_a_private_key_is_never_repeated(self, recorded: list[dict[str, Any]]) -> None:
        secret = recorded[0]["private"]
        for given_key in (secret, secret[:-1] + "x", secret + "0"):
            result = call("cjdns", "address", "--private", stdin=given_key)
            assert secret[:-1] not in result.output

    def test_a_key_outside_the_network_is_refused(self) -> None:
        outside = next(c for c in json.loads(ADDRESSES.read_bytes())["cases"] if not c["valid"])
        refused(1, "cjdns", "address", outside["public"])

    def test_address_misused(self) -> None:
        refused(2, "cjdns", "address")
        refused(2, "cjdns", "address", "x", "--private", stdin="")


class TestLabels:
    def test_a_label_is_a_path(self) -> None:
        told = answer("cjdns", "label", "0000.0000.0000.0153")
        assert [hop["interface"] for hop in told["hops"]] == [0, 2]
        assert int(told["reversed"].replace(".", ""), 16) == int(f"{0x153:064b}"[::-1], 2)
        shown = call("cjdns", "label", "0000.0000.0000.0153").stdout
        assert "interface 0, director 0011" in shown
        assert "interface 2, director 0101" in shown

    def test_each_switch_has_its_scheme(self) -> None:
        words = ("--scheme", "f4", "--scheme", "f8")
        told = answer("cjdns", "label", "0000.0000.0000.17f5", *words)
        assert [(hop["interface"], hop["bits"]) for hop in told["hops"]] == [(5, 4), (0x7F, 8)]

    @given(st.integers(1, 2**29), st.integers(1, 2**29))
    def test_splicing(self, go: int, via: int) -> None:
        there = 1 << (via.bit_length() - 1)
        expected = (via ^ there) | go << (via.bit_length() - 1)
        told = answer("cjdns", "splice", str(RouteLabel(go)), str(RouteLabel(via)))
        assert int(told["label"].replace(".", ""), 16) == expected

    def test_bad_labels_are_refused(self) -> None:
        refused(1, "cjdns", "label", "13")
        refused(1, "cjdns", "label", "0000.0000.0000.0000")
        refused(1, "cjdns", "splice", "0fff.ffff.ffff.ffff", "0fff.ffff.ffff.ffff")
        refused(2, "cjdns", "splice", "0000.0000.0000.0013")
        refused(2, "cjdns", "label", "0000.0000.0000.0013", "--scheme", "v9")


class TestDecode:
    def test_a_control_frame(self) -> None:
        names = [layer["name"] for layer in answer("cjdns", "decode", "--as", "switch", PING)["layers"]]
        assert names == ["switch header", "control mark", "control Ping"]
        shown = call("cjdns", "decode", "--as", "switch", PING).stdout
        assert "0000.0000.0000.0013" in shown

    def test_input_may_come_from_a_pipe(self) -> None:
        spaced = " ".join(PING[i : i + 2] for i in range(0, len(PING), 2)) + "\n"
        told = answer("cjdns", "decode", "--as", "switch", "-", stdin=spaced)
        assert told == answer("cjdns", "decode", "--as", "switch", PING)

    @given(st.binary(max_size=200), st.sampled_from(["datagram", "ethernet", "switch", "content"]), st.booleans())
    def test_any_bytes_are_taken(self, data: bytes, kind: str, handshake: bool) -> None:
        words = ["cjdns", "decode", "--as", kind, *(["--handshake"] if handshake else []), "--json", "--", data.hex()]
        result = call(*words)
        assert result.exit_code in (0, 1)
        layers = json.loads(result.stdout)["layers"] if result.stdout else []
        assert (result.exit_code == 1) == any(layer["problem"] for layer in layers)

    def test_what_is_no_packet_is_refused(self) -> None:
        refused(1, "cjdns", "decode", "0")
        refused(1, "cjdns", "decode", "zz")
        refused(1, "cjdns", "decode", "-", stdin=b"\xff\xfe")
        refused(1, "cjdns", "decode", "-", stdin=b"00" * (STDIN_LIMIT // 2) + b"0")
        assert call("cjdns", "decode", "--as", "switch", "00").exit_code == ExitCode.FAILED


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (InputError("bad", where="x"), 1),
            (MisuseError("bad"), 2),
            (UnavailableError("gone"), 3),
            (PrestoCloudError("other"), 1),
            (KeyboardInterrupt(), 130),
            (BrokenPipeError(32, "Broken pipe"), 141),
            (OSError(28, "No space left on device"), 1),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_each_branch_has_its_code(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(PrivateKey, "generate", fail)
        result = call("cjdns", "keygen")
        assert result.exit_code == code
        assert result.stdout == ""
        assert result.stderr.count("\n") == (0 if code == ExitCode.PIPE else 1) or code == ExitCode.INTERRUPTED
        assert "Traceback" not in result.stderr

    @given(st.lists(st.text(max_size=12).filter(lambda word: word != "demo"), max_size=4))
    @settings(suppress_health_check=[HealthCheck.too_slow])
    def test_no_words_end_in_a_traceback(self, words: list[str]) -> None:
        for start in (
            (),
            ("cjdns",),
            ("cjdns", "address"),
            ("cjdns", "label"),
            ("cjdns", "splice"),
            ("cjdns", "decode"),
        ):
            result = call(*start, *words, stdin="")
            assert result.exit_code in (0, 1, 2), result.output
            assert result.exception is None or isinstance(result.exception, SystemExit)

    def test_a_terminal_cannot_be_reached_through_a_message(self) -> None:
        for words in (
            ("cjdns", "x\x1b[31m"),
            ("cjdns", "address", "\x1b]0;x\x07"),
            ("cjdns", "splice", "a", "b", "\x9b1m"),
        ):
            result = call(*words)
            assert result.exit_code in (1, 2)
            assert result.stderr.removesuffix("\n").isprintable()

    def test_help_documents_the_exit_codes(self) -> None:
        text = " ".join(call("--help").stdout.split())
        for code in ExitCode:
            assert str(int(code)) in text
        assert call().exit_code == ExitCode.USAGE
        assert "Usage:" in call().stderr


def start(*words: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "prestocloud_sec", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


class TestProcesses:
    """What only a real process shows: the interpreter's end, broken pipes, signals, locales."""

    def finish(self, process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=60)
        return process.returncode, out.decode(), err.decode()

    def test_version(self) -> None:
        code, out, _ = self.finish(start("--version"))
        assert (code, out) == (0, f"prestocloud-sec, version {prestocloud_sec.__version__}\n")
        script = Path(sys.executable).with_name("prestocloud-sec")
        assert subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout == out

    def test_the_demo(self) -> None:
        code, out, err = self.finish(start("demo", "--json"))
        assert (code, err) == (0, "")
        assert json.loads(out)["complete"] is True

    def test_the_demo_shows_every_packet(self) -> None:
        code, out, err = self.finish(start("demo", "--trace"))
        assert (code, err) == (0, "")
        assert "\npacket 0\n" in out
        assert "0 of 5 plain-text markers found" in " ".join(out.split())

    def test_a_reader_that_goes_away_is_met_quietly(self) -> None:
        process = start("cjdns", "decode", "-", stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(b"00" * 400)
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(timeout=60) == ExitCode.PIPE

    def test_a_full_disk_is_one_line(self) -> None:
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "prestocloud_sec", "cjdns", "keygen"],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)

    def test_an_interrupt_while_waiting_for_input(self) -> None:
        process = start("cjdns", "address", "--private", stdin=subprocess.PIPE)
        wait_until_reading(process.pid)
        process.send_signal(signal.SIGINT)
        code, out, err = self.finish(process)
        assert (code, out, err.strip()) == (130, "", "prestocloud-sec: interrupted")

    def test_arguments_that_are_no_text(self) -> None:
        environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        for word in (b"\xff\xfe\x1b[2J", "\u00e9\u2028".encode(), b"--\xff"):
            process = subprocess.run(
                [sys.executable.encode(), b"-m", b"prestocloud_sec", b"cjdns", b"address", word],
                env=environment,
                capture_output=True,
                timeout=60,
                check=False,
            )
            assert process.returncode in (1, 2)
            assert process.stderr.count(b"\n") == 1
            assert all(32 <= byte < 127 for byte in process.stderr.strip())


def wait_until_reading(pid: int) -> None:
    """Wait until a process waits in a read of its standard input (system call 0 on x86-64, 63 on ARM)."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
        if words[0] in ("0", "63") and words[1] == "0x0":
            return
        time.sleep(0.02)
