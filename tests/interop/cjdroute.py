# SPDX-License-Identifier: Apache-2.0
"""A running cjdroute: its configuration, its process, and its admin interface.

Nothing here needs root: no TUN device is made, nothing listens anywhere but on 127.0.0.1. What a `Cjdroute` starts is
in a process group of its own, which `Cjdroute.stop` ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey
from prestocloud_sec.cjdns.routing import bencode
from prestocloud_sec.cjdns.switch import RouteLabel

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0


def executable() -> str | None:
    """Return the cjdroute that the environment variable CJDROUTE names, or None."""
    named = os.environ.get("CJDROUTE")
    return shutil.which(named) if named else None


def free_ports(count: int) -> list[int]:
    """Return UDP ports of the loopback that nobody uses."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class AdminError(Exception):
    """The admin interface did not answer, or answered with an error."""


class Admin:
    """Calls functions of a node's admin interface: bencoded dictionaries in UDP datagrams."""

    def __init__(self, port: int, password: str) -> None:
        self._password = password
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((LOOPBACK, port))

    def close(self) -> None:
        self._socket.close()

    def post(self, function: str, **arguments: Any) -> bytes:
        """Send a call and return its transaction id, which the answer to it will carry."""
        cookie = self._exchange({b"q": b"cookie"})[b"cookie"]
        first = hashlib.sha256(f"{self._password}{cookie.decode()}".encode()).hexdigest()
        txid = secrets.token_hex(8).encode()
        call = {
            b"aq": function.encode(),
            b"args": {name.encode(): _plain(value) for name, value in sorted(arguments.items())},
            b"cookie": cookie,
            b"hash": first.encode(),
            b"q": b"auth",
            b"txid": txid,
        }
        call[b"hash"] = hashlib.sha256(_write(call)).hexdigest().encode()
        self._socket.send(_write(call))
        return txid

    def answer(self, txid: bytes, *, seconds: float = 5.0) -> dict[bytes, Any] | None:
        """Return the answer to a call, or None if it does not come in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                answer = bencode.decode(self._socket.recv(65536)).value
            except (TimeoutError, ConnectionRefusedError):
                return None
            if isinstance(answer, dict) and answer.get(b"txid") == txid:
                return answer
        return None

    def call(self, function: str, **arguments: Any) -> dict[bytes, Any]:
        """Call a function and return its answer."""
        answer = self.answer(self.post(function, **arguments))
        if answer is None or answer.get(b"error", b"none") != b"none":
            raise AdminError(f"{function}: {answer}")
        return answer

    def _exchange(self, question: dict[bytes, Any]) -> dict[bytes, Any]:
        txid = secrets.token_hex(8).encode()
        self._socket.send(_write({**question, b"txid": txid}))
        answer = self.answer(txid)
        if answer is None:
            raise AdminError(f"no answer to {question}")
        return answer


def _plain(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def _write(value: dict[bytes, Any]) -> bytes:
    return bencode.encode(value, bencode.Layout(widths=()))


class Cjdroute:
    """A node of the C implementation on the loopback.

    Parameters
    ----------
    key : PrivateKey
        Its identity.
    passwords : sequence of dict
        ``authorizedPasswords``: dictionaries of ``password`` and ``user``.
    connect_to : dict
        ``connectTo`` of its UDP interface: ``"address:port"`` to ``publicKey``, ``password`` and perhaps ``login``.
    packets : bool
        Whether IPv6 packets for its user go to a UNIX socket (`user`) in place of a TUN device; without it, nowhere.
    """

    def __init__(
        self,
        key: PrivateKey,
        *,
        passwords: tuple[dict[str, str], ...] = (),
        connect_to: dict[str, dict[str, str]] | None = None,
        packets: bool = False,
    ) -> None:
        self.key = key
        self.public: PublicKey = key.public
        self._directory = Path(tempfile.mkdtemp(prefix="cjdroute-"))  # short: names of UNIX sockets are
        self.port, admin_port = free_ports(2)
        password = secrets.token_hex(16)
        self.admin = Admin(admin_port, password)
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self.user: UserSocket | None = None
        interface: dict[str, str] = {}
        if packets:
            path = str(self._directory / "user")
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self._listener.listen(1)
            interface = {"type": "SocketInterface", "socketFullPath": path}
        self.configuration: dict[str, Any] = {
            "privateKey": key.raw.hex(),
            "publicKey": key.public.text,
            "ipv6": str(key.address),
            "authorizedPasswords": list(passwords),
            "admin": {"bind": f"{LOOPBACK}:{admin_port}", "password": password},
            "interfaces": {"UDPInterface": [{"bind": f"{LOOPBACK}:{self.port}", "connectTo": connect_to or {}}]},
            "router": {"interface": interface},
            "security": [
                {"setuser": 0},
                {"chroot": 0},
                {"nofiles": 0},
                {"noforks": 0},
                {"seccomp": 0},
                {"setupComplete": 1},
            ],
            "logging": {"logTo": "stdout"},
            "noBackground": 0,
            "pipe": str(self._directory / "pipe"),
            "version": 2,
        }

    @property
    def endpoint(self) -> tuple[str, int]:
        """Where its UDP interface is bound."""
        return LOOPBACK, self.port

    @property
    def log(self) -> str:
        """What it has logged."""
        with contextlib.suppress(FileNotFoundError):
            return (self._directory / "log").read_text(errors="replace")
        return ""

    def start(self) -> None:
        """Start it; returns when it is configured, which is when the front process has left the core alone."""
        program = executable()
        assert program is not None
        configuration = self._directory / "conf"
        configuration.write_text(json.dumps(self.configuration))
        configuration.chmod(0o600)
        with configuration.open("rb") as stdin, (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program], stdin=stdin, stdout=log, stderr=log, cwd=self._directory, start_new_session=True
            )
        try:
            status = self._process.wait(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            self.stop()
            raise AdminError(f"cjdroute did not start (status {status}); the end of its log:\n{self.log[-2000:]}")
        if self._listener is not None:
            self._listener.settimeout(STOP_SECONDS)
            self.user = UserSocket(self._listener.accept()[0])

    def stop(self) -> None:
        """End it as a crash would, and wait until its port is free again."""
        if self.user is not None:
            self.user.close()
            self.user = None
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=STOP_SECONDS)
        self._process = None
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(self.endpoint)
                except OSError:
                    time.sleep(0.02)
                else:
                    return
        raise AdminError("cjdroute does not end")

    def close(self) -> None:
        """End it and forget everything."""
        try:
            self.stop()
        finally:
            self.admin.close()
            if self._listener is not None:
                self._listener.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[Cjdroute]:
        """Run it for as long as the block lasts."""
        try:
            self.start()
            yield self
        finally:
            self.close()

    # -- what it says about itself -------------------------------------------------------------------------------------

    def peer(self, key: PublicKey) -> dict[bytes, Any] | None:
        """Return the entry of ``InterfaceController_peerStats`` for a peer."""
        name = b"." + key.text.encode()
        for page in range(64):
            answer = self.admin.call("InterfaceController_peerStats", page=page)
            for peer in answer[b"peers"]:
                if peer[b"addr"].endswith(name):
                    assert isinstance(peer, dict)
                    return peer
            if b"more" not in answer:
                break
        return None

    def label_of(self, key: PublicKey) -> RouteLabel:
        """Return the label by which it reaches a peer."""
        peer = self.peer(key)
        assert peer is not None
        return RouteLabel.parse(peer[b"addr"].decode().split(".", 1)[1][:19])

    def version(self) -> int:
        """Return the protocol version it speaks."""
        version = self.admin.call("Core_nodeInfo")[b"version"]
        assert isinstance(version, int)
        return version


class UserSocket:
    """The far side of a node's ``SocketInterface``: IPv6 packets for its user, each after type (1) and length (4)."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def close(self) -> None:
        self._connection.close()

    def receive(self, *, seconds: float) -> bytes | None:
        """Return the next packet for the node's user, or None."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            packet = self._next()
            if packet is not None:
                return packet
            self._connection.settimeout(left)
            try:
                more = self._connection.recv(65536)
            except TimeoutError:
                return None
            if not more:
                return None
            self._buffer += more
        return None

    def _next(self) -> bytes | None:
        """Take one packet out of the buffer, skipping what the node tells about itself (its address, its MTU)."""
        sizes = {1: 16, 2: 4}
        while self._buffer and self._buffer[0] in sizes:
            size = 1 + sizes[self._buffer[0]]
            if len(self._buffer) < size:
                return None
            self._buffer = self._buffer[size:]
        if len(self._buffer) < 5:
            return None
        size = 5 + int.from_bytes(self._buffer[1:5], "big")
        if len(self._buffer) < size:
            return None
        framed, self._buffer = self._buffer[5:size], self._buffer[size:]
        return framed[4:]  # as from a TUN device: two bytes of flags, two of ethertype
