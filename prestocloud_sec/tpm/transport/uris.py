# SPDX-License-Identifier: Apache-2.0
"""Ways to a TPM as text: ``kind:option=value,option=value``, and the one function that opens them.

===========  ===================================================  ==============================================
kind         options                                              what it is
===========  ===================================================  ==============================================
embedded     dir, startup                                         libtpms in this process; the default
spawn        dir, startup, program                                a swtpm that is started and ended
swtpm        host, port, control-port; or path, control           a running swtpm, over TCP or a UNIX socket
mssim        host, port, platform-port, power                     a running reference simulator
device       the path itself                                      a character device; ``/dev/tpmrm0`` if none is named
replay       the path itself                                      a recording
===========  ===================================================  ==============================================

Values may have percent-encoded characters (``%2C`` for a comma). The texts that tpm2-tools take for swtpm, mssim and
device (``swtpm:host=localhost,port=2321``) mean the same here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

from prestocloud_sec.tpm._given import text
from prestocloud_sec.tpm.errors import TpmUnavailableError, TransportUriError
from prestocloud_sec.tpm.transport import libtpms
from prestocloud_sec.tpm.transport.base import Transport
from prestocloud_sec.tpm.transport.device import DEVICE, DeviceTransport
from prestocloud_sec.tpm.transport.embedded import EmbeddedTransport
from prestocloud_sec.tpm.transport.mssim import MssimTransport
from prestocloud_sec.tpm.transport.replayer import Replayer
from prestocloud_sec.tpm.transport.spawn import SpawnedTransport
from prestocloud_sec.tpm.transport.swtpm import HOST, PORT, SwtpmTransport
from prestocloud_sec.tpm.transport.timeouts import Timeouts
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.transport.stream import Address

__all__ = ["DEFAULT_URI", "KINDS", "TransportUri", "open_transport", "parse_uri"]

DEFAULT_URI = "embedded:"
"""What is opened where no TPM is named."""

_LONGEST = 8192


def _port(value: str, where: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:8]) < 65536:
        raise TransportUriError(shown(value), where=where, expected="a port, 1 to 65535")
    return int(value)


def _flag(value: str, where: str) -> bool:
    flags = {"yes": True, "1": True, "true": True, "no": False, "0": False, "false": False}
    if value.lower() not in flags:
        raise TransportUriError(shown(value), where=where, expected="yes or no")
    return flags[value.lower()]


def _word(value: str, where: str) -> str:
    if not value or "\0" in value:
        raise TransportUriError(shown(value), where=where, expected="something")
    return value


Read = Callable[[str, str], Any]


class Kind(NamedTuple):
    """One kind of transport: its options, and what opens it."""

    options: Mapping[str, Read]
    """What reads the value of each option."""
    rest: str
    """The option that the whole text after the colon is the value of; empty where options have names."""
    open: Callable[[Mapping[str, Any], Timeouts | None], Transport]
    """Opens a transport with the options that were read."""
    alone: tuple[str, ...] = ()
    """Options that do not stand together with others than `beside`."""
    beside: tuple[str, ...] = ()


def _open_swtpm(options: Mapping[str, Any], timeouts: Timeouts | None) -> Transport:
    if "path" in options:
        return SwtpmTransport(options["path"], options.get("control"), timeouts=timeouts)
    address: Address = (options.get("host", HOST), options.get("port", PORT))
    control = (address[0], options["control-port"]) if "control-port" in options else None
    return SwtpmTransport(address, control, timeouts=timeouts)


def _open_mssim(options: Mapping[str, Any], timeouts: Timeouts | None) -> Transport:
    host = options.get("host", HOST)
    platform = (host, options["platform-port"]) if "platform-port" in options else None
    return MssimTransport(
        (host, options.get("port", PORT)), platform, power_on=options.get("power", True), timeouts=timeouts
    )


KINDS: Mapping[str, Kind] = {
    "embedded": Kind(
        {"dir": _word, "startup": _flag},
        "",
        lambda options, _: EmbeddedTransport(options.get("dir"), startup=options.get("startup", True)),
    ),
    "spawn": Kind(
        {"dir": _word, "startup": _flag, "program": _word},
        "",
        lambda options, timeouts: SpawnedTransport(
            options.get("dir"),
            startup=options.get("startup", True),
            program=options.get("program", "swtpm"),
            timeouts=timeouts,
        ),
    ),
    "swtpm": Kind(
        {"host": _word, "port": _port, "control-port": _port, "path": _word, "control": _word},
        "",
        _open_swtpm,
        alone=("path", "control"),
        beside=("path", "control"),
    ),
    "mssim": Kind({"host": _word, "port": _port, "platform-port": _port, "power": _flag}, "", _open_mssim),
    "device": Kind(
        {"path": _word},
        "path",
        lambda options, timeouts: DeviceTransport(options.get("path", DEVICE), timeouts=timeouts),
    ),
    "replay": Kind({"path": _word}, "path", lambda options, _: Replayer.read(options["path"])),
}
"""The kinds by their names."""


class TransportUri(NamedTuple):
    """A way to a TPM, taken apart.

    >>> uri = parse_uri("swtpm:host=localhost,port=2321")
    >>> uri.kind, uri.options
    ('swtpm', (('host', 'localhost'), ('port', 2321)))
    >>> str(uri)
    'swtpm:host=localhost,port=2321'
    """

    kind: str
    """One of `KINDS`."""
    options: tuple[tuple[str, Any], ...]
    """The options that were given, and what they were read as."""

    def open(self, *, timeouts: Timeouts | float | None = None) -> Transport:
        """Open it (see `open_transport`)."""
        return KINDS[self.kind].open(dict(self.options), None if timeouts is None else Timeouts.of(timeouts))

    def __str__(self) -> str:
        if KINDS[self.kind].rest:
            return f"{self.kind}:{''.join(value for _, value in self.options)}"
        return f"{self.kind}:" + ",".join(f"{name}={_written(value)}" for name, value in self.options)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return quote(str(value), safe="/:@!$&'()*+;=?-._~[] ")


def parse_uri(uri: str) -> TransportUri:
    """Take apart a text that names a way to a TPM.

    Parameters
    ----------
    uri : str
        Such as ``device:/dev/tpm0``; a kind without options may go without its colon.

    Raises
    ------
    TransportUriError
        If there is no such kind or option, or a value is none.
    TpmMisuseError
        If `uri` is no text.
    """
    given = text(uri, "uri")
    name, _, rest = given.partition(":")
    kind = KINDS.get(name)
    if kind is None or len(given) > _LONGEST:
        raise TransportUriError(
            f"{shown(given)} names no way to a TPM",
            expected=", ".join(f"{each}:" for each in KINDS),
            hint=f"a device is device:{given}" if given.startswith("/dev/") and len(given) <= 40 else None,
        )
    if kind.rest:
        options = {kind.rest: kind.options[kind.rest](rest, name)} if rest else {}
        if not rest and name == "replay":
            raise TransportUriError("no path", where="replay:", expected="replay:PATH")
        return TransportUri(name, tuple(options.items()))
    return TransportUri(name, tuple(_options(name, kind, rest).items()))


def _options(name: str, kind: Kind, rest: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in rest.split(",") if rest else ():
        option, equals, value = part.partition("=")
        where = f"{name}:{option}" if len(option) < 40 else name
        if option not in kind.options:
            raise TransportUriError(
                f"there is no option {shown(option)}", where=f"{name}:", expected=", ".join(kind.options) or "none"
            )
        if not equals or option in options:
            raise TransportUriError(
                "given twice" if equals else "no value", where=where, expected=f"{option}=VALUE, once"
            )
        options[option] = kind.options[option](unquote(value), where)
    if any(each in options for each in kind.alone) and (others := [o for o in options if o not in kind.beside]):
        raise TransportUriError(f"{', '.join(kind.alone)} and {', '.join(others)} do not go together", where=f"{name}:")
    if "control" in options and "path" not in options:
        raise TransportUriError("control needs path", where=f"{name}:", expected=f"{name}:path=...,control=...")
    return options


def open_transport(uri: str | None = None, *, timeouts: Timeouts | float | None = None) -> Transport:
    """Open a way to a TPM.

    Parameters
    ----------
    uri : str, optional
        What `parse_uri` takes. Without it, a TPM in this process that ends with the transport.
    timeouts : Timeouts or float, optional
        How long to wait for responses. What runs in this process (``embedded:``) is waited for as long as it takes.

    Raises
    ------
    TransportUriError
        If the text names no way.
    TpmUnavailableError
        If a library, a program, a device or a server is not there.
    TransportBusyError
        If somebody else has the TPM or its state.
    TransportTimeoutError
        If a server does not answer.

    >>> with open_transport("embedded:") as tpm:
    ...     tpm
    <EmbeddedTransport embedded>
    """
    if uri is None and not libtpms.available():
        raise TpmUnavailableError(
            "no TPM is named, and libtpms is not here to be one",
            expected="a way to one, such as device:/dev/tpmrm0",
            hint="or install libtpms; on Debian and Ubuntu: apt-get install libtpms0",
        )
    return parse_uri(DEFAULT_URI if uri is None else uri).open(timeouts=timeouts)
