# SPDX-License-Identifier: Apache-2.0
"""Ways to a TPM as text: what is understood, what is refused, and what is opened."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError, TransportUriError
from prestocloud_sec.tpm.transport import (
    DeviceTransport,
    EmbeddedTransport,
    MssimTransport,
    SpawnedTransport,
    SwtpmServer,
    SwtpmTransport,
    libtpms,
    open_transport,
    parse_uri,
    uris,
)
from tests.tpm.transport.peers import RANDOM, needs_libtpms, needs_swtpm, rc_of


@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [
        ("embedded:", "embedded", {}),
        ("embedded", "embedded", {}),
        ("embedded:dir=/var/lib/x", "embedded", {"dir": "/var/lib/x"}),
        ("embedded:dir=/a%2Cb%25,startup=no", "embedded", {"dir": "/a,b%", "startup": False}),
        ("spawn:", "spawn", {}),
        ("spawn:dir=relative,program=/opt/swtpm", "spawn", {"dir": "relative", "program": "/opt/swtpm"}),
        ("swtpm:", "swtpm", {}),
        ("swtpm:host=localhost,port=2321", "swtpm", {"host": "localhost", "port": 2321}),
        ("swtpm:host=::1,port=1,control-port=65535", "swtpm", {"host": "::1", "port": 1, "control-port": 65535}),
        ("swtpm:path=/srv/a=b", "swtpm", {"path": "/srv/a=b"}),
        ("swtpm:path=/x,control=/y", "swtpm", {"path": "/x", "control": "/y"}),
        ("mssim:port=7,platform-port=9,power=no", "mssim", {"port": 7, "platform-port": 9, "power": False}),
        ("device:", "device", {}),
        ("device:/dev/tpm0", "device", {"path": "/dev/tpm0"}),
        ("device:/dev/a,b=c%41", "device", {"path": "/dev/a,b=c%41"}),
        ("replay:/srv/x y", "replay", {"path": "/srv/x y"}),
    ],
)
def test_what_is_understood(text: str, kind: str, options: dict[str, Any]) -> None:
    uri = parse_uri(text)
    assert (uri.kind, dict(uri.options)) == (kind, options)
    assert parse_uri(str(uri)) == uri
    assert pickle.loads(pickle.dumps(uri)) == uri  # noqa: S301


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' names no way to a TPM; expected embedded:, spawn:, swtpm:, mssim:, device:, replay:"),
        ("tabrmd:", "names no way to a TPM"),
        ("/dev/tpm0", "replay: (a device is device:/dev/tpm0)"),
        ("Embedded:", "names no way to a TPM"),
        (" embedded:", "names no way to a TPM"),
        ("device:" + "x" * 10000, "names no way to a TPM"),
        ("embedded:dir", "embedded:dir: no value; expected dir=VALUE, once"),
        ("embedded:dir=", "embedded:dir: ''; expected something"),
        ("embedded:dir=a,dir=b", "embedded:dir: given twice"),
        ("embedded:path=/x", "embedded:: there is no option 'path'; expected dir, startup"),
        ("embedded:startup=maybe", "embedded:startup: 'maybe'; expected yes or no"),
        ("embedded:,", "there is no option ''"),
        ("swtpm:port=0", "swtpm:port: '0'; expected a port, 1 to 65535"),
        ("swtpm:port=65536", "expected a port"),
        ("swtpm:port=-1", "expected a port"),
        ("swtpm:port=1e3", "expected a port"),
        ("swtpm:port=²", "expected a port"),
        ("swtpm:port=" + "9" * 5000, "expected a port"),
        ("swtpm:path=/x,port=5", "path, control and port do not go together"),
        ("swtpm:control=/x", "control needs path"),
        ("replay:", "replay:: no path; expected replay:PATH"),
        ("device:a\0b", "expected something"),
        ("embedded:dir=%00", "expected something"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(TransportUriError) as caught:
        parse_uri(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("wrong", [5, b"embedded:", Path("embedded:"), ["embedded:"]])
def test_what_is_no_text(wrong: Any) -> None:
    with pytest.raises(TpmMisuseError):
        parse_uri(wrong)
    with pytest.raises(TpmMisuseError):
        open_transport(wrong)


@given(
    st.one_of(st.text(max_size=40), st.builds("{}:{}".format, st.sampled_from(list(uris.KINDS)), st.text(max_size=40)))
)
@example("swtpm:port=1,host=%ff")
def test_whatever_the_text_is(text: str) -> None:
    try:
        uri = parse_uri(text)
    except TransportUriError:
        return
    assert parse_uri(str(uri)) == uri


@given(
    st.sampled_from(
        [("embedded", "dir"), ("spawn", "program"), ("swtpm", "host"), ("swtpm", "path"), ("device", "path")]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30),
)
def test_whatever_a_value_is(option: tuple[str, str], value: str) -> None:
    uri = uris.TransportUri(option[0], ((option[1], value),))
    assert parse_uri(str(uri)) == uri


@needs_libtpms
def test_the_default_is_a_tpm_in_this_process() -> None:
    with open_transport() as tpm:
        assert isinstance(tpm, EmbeddedTransport)
        assert rc_of(tpm.transceive(RANDOM)) == 0


def test_without_libtpms_one_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libtpms, "available", lambda: False)
    with pytest.raises(TpmUnavailableError, match=r"no TPM is named.*device:/dev/tpmrm0.*apt-get install libtpms0"):
        open_transport()


@needs_libtpms
def test_embedded_is_opened(tmp_path: Path) -> None:
    with open_transport(f"embedded:dir={tmp_path}/state,startup=no") as tpm:
        assert rc_of(tpm.transceive(RANDOM)) == 0x100
    assert (tmp_path / "state" / "tpm2-00.permall").exists()


@needs_swtpm
def test_spawn_is_opened(tmp_path: Path) -> None:
    with open_transport(f"spawn:dir={tmp_path}", timeouts=5) as tpm:
        assert isinstance(tpm, SpawnedTransport)
        assert tpm.timeouts.keys == 5
        assert rc_of(tpm.transceive(RANDOM)) == 0


@needs_swtpm
def test_swtpm_and_mssim_are_opened() -> None:
    with SwtpmServer() as server:
        host, port = server.address
        with open_transport(server.uri) as tpm:
            assert isinstance(tpm, SwtpmTransport)
            assert tpm.name == f"swtpm:host={host},port={port}" == str(parse_uri(tpm.name))
            tpm.set_locality(1)
            assert rc_of(tpm.transceive(RANDOM)) == 0
        with open_transport(f"swtpm:port={port},control-port={port + 1}") as tpm:
            assert rc_of(tpm.transceive(RANDOM)) == 0
        with open_transport(f"mssim:host={host},port={port},power=no") as tpm:
            assert isinstance(tpm, MssimTransport)
            assert rc_of(tpm.transceive(RANDOM)) == 0


def test_nobody_there(tmp_path: Path) -> None:
    for text in (f"swtpm:path={tmp_path}/x", f"device:{tmp_path}/x", f"replay:{tmp_path}/x", "spawn:program=/nothing"):
        with pytest.raises(TpmUnavailableError):
            open_transport(text)
    with pytest.raises(TpmMisuseError):
        open_transport("embedded:", timeouts="soon")  # type: ignore[arg-type]


def test_a_device_is_opened() -> None:
    with open_transport("device:/dev/null", timeouts=3) as tpm:
        assert isinstance(tpm, DeviceTransport)
        assert tpm.timeouts.ordinary == 3
