# SPDX-License-Identifier: Apache-2.0
"""What passes is written down, and what was written down can be played again, to the byte and no other way."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import (
    ReplayError,
    TpmFormatError,
    TpmMisuseError,
    TpmUnavailableError,
    TransportClosedError,
    TransportTimeoutError,
)
from prestocloud_sec.tpm.transport import EmbeddedTransport, Recorder, Replayer, open_transport
from tests.tpm.transport.peers import (
    ANSWER,
    OTHER_ANSWER,
    RANDOM,
    READ_CLOCK,
    command,
    get_random,
    in_threads,
    needs_libtpms,
    peer,
    rc_of,
    response,
)

CORPUS = Path(__file__).resolve().parents[2] / "vectors" / "tpm" / "corpus.jsonl"


@needs_libtpms
def test_a_recording_plays_again(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    sent = [RANDOM, READ_CLOCK, get_random(3), command(0x1FF), RANDOM]
    with Recorder(EmbeddedTransport(), file) as recorder:
        answers = [recorder.transceive(each) for each in sent]
    assert recorder.closed
    assert file.stat().st_mode & 0o077 == 0
    assert [set(json.loads(line)) for line in file.read_text().splitlines()] == [{"command_hex", "response_hex"}] * 5
    with Replayer.read(file) as replayer:
        assert replayer.name == f"replay:{file}"
        assert replayer.pairs == tuple(zip(sent, answers, strict=True))
        assert [replayer.transceive(each) for each in sent] == answers
        assert replayer.remaining == 0
    with open_transport(f"replay:{file}") as replayed:
        assert replayed.transceive(RANDOM) == answers[0]


def test_another_command_is_refused_and_the_recording_stays() -> None:
    with Replayer([(RANDOM, ANSWER), (READ_CLOCK, response())]) as tpm:
        secret = command(0x17B, b"\x5e\xc4")
        with pytest.raises(
            ReplayError, match=r"command 1 of 2: command 0x17b of 12 bytes .* from byte 10; exp"
        ) as caught:
            tpm.transceive(secret)
        assert "5ec4" not in str(caught.value)
        with pytest.raises(ReplayError, match=r"from byte 5; expected command 0x17b of 12 bytes"):
            tpm.transceive(READ_CLOCK)
        assert tpm.remaining == 2
        assert tpm.transceive(RANDOM) == ANSWER
        with pytest.raises(ReplayError, match="command 2 of 2"):
            tpm.transceive(RANDOM)
        assert tpm.transceive(bytearray(READ_CLOCK)) == response()
        with pytest.raises(ReplayError, match="ends after 2 commands; command 0x17b is one more"):
            tpm.transceive(RANDOM)
        assert not tpm.closed


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=5))
def test_whatever_was_recorded_comes_back(bodies: list[tuple[bytes, bytes]]) -> None:
    pairs = [(command(1, sent), response(answer)) for sent, answer in bodies]
    with Replayer(iter(pairs)) as tpm:
        assert [(sent, tpm.transceive(sent)) for sent, _ in pairs] == pairs


def test_recorded_corpora_play_too(tmp_path: Path) -> None:
    lines = CORPUS.read_text().splitlines()[:200]
    file = tmp_path / "corpus.jsonl"
    file.write_text("\n".join(lines) + "\n\n")
    wanted = [json.loads(line) for line in lines]
    with Replayer.read(file) as tpm:
        assert tpm.remaining == len(lines) > 100
        for entry in wanted:
            try:
                answer = tpm.transceive(bytes.fromhex(entry["command_hex"]))
            except TpmMisuseError:  # a malformed command was recorded; a transport does not send such
                tpm._next += 1
                continue
            assert answer.hex() == entry["response_hex"]
            assert rc_of(answer) == entry["rc"]


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "5",
        "null",
        "{}",
        '{"command_hex": "80"}',
        '{"command_hex": 5, "response_hex": "80"}',
        '{"command_hex": "8", "response_hex": "80"}',
        '{"command_hex": "zz", "response_hex": "80"}',
        "[" * 100000,
        "\x00\xff",
        '{"command_hex": "' + "00" * 200000 + '", "response_hex": ""}',
    ],
)
def test_lines_that_are_no_exchange(tmp_path: Path, line: str) -> None:
    file = tmp_path / "recording.jsonl"
    good = json.dumps({"command_hex": RANDOM.hex(), "response_hex": ANSWER.hex(), "more": 1})
    file.write_text(f"{good}\n\n{line}\n", encoding="latin-1")
    with pytest.raises(TpmFormatError, match=r"recording.jsonl:3: (no exchange|a line of)"):
        Replayer.read(file)


@given(st.binary(max_size=200))
def test_whatever_a_file_holds(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("recordings") / "file"
    file.write_bytes(content)
    with contextlib.suppress(TpmFormatError):
        Replayer.read(file).close()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(TpmUnavailableError, match="cannot be read: No such file"):
        Replayer.read(tmp_path / "nothing")
    with pytest.raises(TpmUnavailableError, match="cannot be read: Is a directory"):
        Replayer.read(tmp_path)
    for wrong in (5, None, "a\0b"):
        with pytest.raises(TpmMisuseError):
            Replayer.read(wrong)  # type: ignore[arg-type]
        with pytest.raises(TpmMisuseError):
            Recorder(Replayer([]), wrong)  # type: ignore[arg-type]
    with pytest.raises(TpmUnavailableError, match="cannot be written: Is a directory"):
        Recorder(Replayer([]), tmp_path)


@pytest.mark.parametrize("wrong", [5, None, [5], [(RANDOM,)], [(RANDOM, "x")], [(RANDOM, ANSWER, ANSWER)], [[1, 2]]])
def test_pairs_that_are_none(wrong: Any) -> None:
    with pytest.raises(TpmMisuseError):
        Replayer(wrong)


def test_what_failed_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"

    def script(connection: Any) -> None:
        connection.recv(4096)
        connection.sendall(ANSWER)
        connection.recv(4096)
        connection.recv(4096)

    with peer(script, timeouts=0.2) as inner, Recorder(inner, file) as tpm:
        assert tpm.transceive(RANDOM) == ANSWER
        with pytest.raises(TpmMisuseError):
            tpm.transceive(RANDOM[:-1])
        with pytest.raises(TransportTimeoutError):
            tpm.transceive(RANDOM)
        assert len(file.read_text().splitlines()) == 1


def test_a_full_disk() -> None:
    with (
        Recorder(Replayer([(RANDOM, ANSWER)]), "/dev/full") as tpm,
        pytest.raises(TpmUnavailableError, match="cannot be written down: No space left"),
    ):
        tpm.transceive(RANDOM)


def test_after_closing(tmp_path: Path) -> None:
    tpm = Recorder(Replayer([(RANDOM, ANSWER)] * 2), tmp_path / "file")
    tpm.transceive(RANDOM)
    tpm.close()
    tpm.close()
    with pytest.raises(TransportClosedError):
        tpm.transceive(RANDOM)


@needs_libtpms
def test_the_order_is_that_in_which_the_tpm_saw_them(tmp_path: Path) -> None:
    file = tmp_path / "recording.jsonl"
    with EmbeddedTransport() as inner:
        state = inner.snapshot()
        with Recorder(inner, file) as tpm:
            in_threads(lambda _: [tpm.transceive(RANDOM) for _ in range(20)], 3)
    with EmbeddedTransport() as again:
        again.restore(state)
        for sent, answer in Replayer.read(file).pairs:
            assert again.transceive(sent) == answer
    assert OTHER_ANSWER
