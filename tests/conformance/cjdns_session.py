# SPDX-License-Identifier: Apache-2.0
"""CryptoAuth against what cjdns v21.1 recorded: passwords, secrets, replay windows, whole sessions byte for byte."""

from __future__ import annotations

import re

import nacl.bindings as sodium

from prestocloud_sec.cjdns.cryptoauth import AuthField, ReplayWindow, Session, Users
from prestocloud_sec.cjdns.cryptoauth.auth import Credentials, hash_password
from prestocloud_sec.cjdns.cryptoauth.secrets import PairSecret, mix_password, plain_secret, raw_product
from prestocloud_sec.cjdns.errors import CryptoAuthError, DuplicateUserError
from prestocloud_sec.cjdns.keys import Address, PrivateKey
from prestocloud_sec.testing.session import state_of
from tests.conformance.family import Case, Family


def compare_password(case: Case, document: Case) -> None:
    password, login = bytes.fromhex(case["password"]), bytes.fromhex(case["login"])
    assert hash_password(password).hex() == case["secret"]
    for kind, given in (("1", None), ("2", login)):
        mine = Credentials.of(password, given)
        assert mine.secret.hex() == case["secret"]
        assert mine.matched.hex() == case[f"key8_type{kind}"]
        field = AuthField(int(kind), mine.matched[1:])
        assert field.encode().hex() == case[f"challenge{kind}"]
        assert AuthField.decode(bytes.fromhex(case[f"challenge{kind}"])) == field
        users = Users()
        assert users.lookup(field.matched) is None
        user = users.add(password, login=login)
        assert users.lookup(bytes.fromhex(case[f"key8_type{kind}"])) == user


def compare_secretbox(case: Case, document: Case) -> None:
    mine, hers = bytes.fromhex(case["my_private"]), bytes.fromhex(case["her_private"])
    her_public, hashed = bytes.fromhex(case["her_public"]), bytes.fromhex(case["password_hash"])
    assert PrivateKey(hers).public.raw == her_public
    assert raw_product(mine, her_public).hex() == case["x25519"]
    assert plain_secret(mine, her_public).hex() == case["secret_nopass"]
    secret = mix_password(raw_product(mine, her_public), hashed)
    assert secret.hex() == case["secret_pass"]
    assert PairSecret().get(hers, PrivateKey(mine).public.raw, hashed) == secret
    box = sodium.crypto_box_afternm(bytes.fromhex(case["plaintext"]), bytes.fromhex(case["nonce"]), secret)
    assert box.hex() == case["boxed_with_secret_pass"]
    opened = sodium.crypto_box_open_afternm(box, bytes.fromhex(case["nonce"]), secret)
    assert opened.hex() == case["plaintext"]


def compare_replay(case: Case, document: Case) -> None:
    window = ReplayWindow(int(case["start"], 16))
    assert "".join("01"[window.accept(nonce)] for nonce in case["nonces"]) == case["accept"]
    assert f"{window.bits:016x}" == case["bitfield"]
    assert f"{window.base:08x}" == case["base"]
    counted = (window.duplicates, window.lost, window.out_of_range)
    assert counted == (case["duplicates"], case["lost"], case["out_of_range"])


class _Random:
    """Gives the recorded bytes; `spent` says whether exactly those were drawn."""

    def __init__(self) -> None:
        self.left = b""

    def __call__(self, size: int) -> bytes:
        drawn, self.left = self.left[:size], self.left[size:]
        assert len(drawn) == size, "more random bytes drawn than recorded"
        return drawn


class _Transcript:
    """Two recorded sessions, played step by step with quirks."""

    def __init__(self, case: Case) -> None:
        self.now = float(case["start_time"])
        self.random = _Random()
        self.refused = 0
        self.sent: list[bytes] = []
        self.foreign: set[bytes] = set()
        keys = {side: PrivateKey.parse(case[side]["private"]) for side in "ab"}
        self.users = {side: Users() for side in "ab"}
        self.sessions: dict[str, Session] = {}
        for side, other in ("ab", "ba"):
            assert keys[side].public.hex == case[side]["public"]
            assert case[side]["require_auth"] in (0, 1)
            self.sessions[side] = Session(
                keys[side],
                peer_key=keys[other].public,
                users=self.users[side],
                require_auth=bool(case[side]["require_auth"]),
                quirks=True,
                random=self.random,
                clock=lambda: self.now,
            )

    def step(self, step: Case) -> None:
        operation = getattr(self, f"do_{step['op']}", None)
        assert operation is not None, f"unknown operation {step['op']!r}"
        operation(step)
        if "state" in step:
            self.compare_state(step)

    def compare_state(self, step: Case) -> None:
        session = self.sessions[step["side"]]
        state = state_of(session)
        assert session.state.name == step["state"]
        assert f"{state.next_nonce:08x}" == step["next_nonce"]
        assert int(session.initiator) == step["initiator"]
        assert int(session.established) == step["established"]
        assert state.temporary.hex() == step["our_temp_private"]
        assert state.peer_temporary.hex() == step["her_temp_public"]
        assert state.secret.hex() == step["shared_secret"]

    def do_encrypt(self, step: Case) -> None:
        assert step["packet"] == len(self.sent)
        self.random.left = bytes.fromhex(step["rand"])
        wire = self.sessions[step["side"]].encrypt(bytes.fromhex(step["plaintext"]), now=self.now)
        assert wire.hex() == step["wire"]
        assert not self.random.left, "fewer random bytes drawn than recorded"
        self.sent.append(wire)

    def do_decrypt(self, step: Case) -> None:
        wire = bytes.fromhex(step["wire"])
        self.check_origin(wire, step["note"])
        try:
            outcome = 0, self.sessions[step["side"]].decrypt(wire, now=self.now).hex()
        except CryptoAuthError as error:
            self.refused += 1
            outcome = error.code, None
        assert outcome == (step["ret"], step.get("plaintext"))

    def check_origin(self, wire: bytes, note: str) -> None:
        """Hold a packet to what its note says was done to one that was sent."""
        flipped = re.fullmatch(r"bit flipped byte (\d+) bit (\d+)", note)
        if flipped:
            byte, bit = map(int, flipped.groups())
            mended = bytearray(wire)
            mended[byte] ^= 1 << bit
            assert bytes(mended) in self.sent
        elif note == "truncated":
            assert any(sent.startswith(wire) for sent in self.sent)
        elif note == "other permanent key in header":
            assert any(sent[:40] == wire[:40] and sent[72:] == wire[72:] for sent in self.sent)
            assert wire not in self.sent
        elif note.startswith("nonce ffffffff"):
            self.foreign.add(wire)
            assert self.foreign == {wire}
        elif not note:
            assert wire in self.sent

    def do_time(self, step: Case) -> None:
        self.now += step["advance_seconds"]

    def do_reset(self, step: Case) -> None:
        self.sessions[step["side"]].reset(now=self.now)

    def do_reset_if_timeout(self, step: Case) -> None:
        self.sessions[step["side"]].reset_if_timeout(now=self.now)

    def do_set_auth(self, step: Case) -> None:
        password, login = (None if step[name] is None else bytes.fromhex(step[name]) for name in ("password", "login"))
        self.sessions[step["side"]].set_auth(password, login, now=self.now)

    def do_add_user(self, step: Case) -> None:
        login = None if step["login"] is None else bytes.fromhex(step["login"])
        restricted = step.get("restrict_ip6")
        restrict_to = None if restricted is None else Address(bytes.fromhex(restricted))
        try:
            self.users[step["side"]].add(bytes.fromhex(step["password"]), login=login, restrict_to=restrict_to)
        except DuplicateUserError:
            assert step["ret"] != 0
        else:
            assert step["ret"] == 0

    def do_set_next_nonce(self, step: Case) -> None:
        self.sessions[step["side"]]._live.next_nonce = int(step["value"], 16)


def compare_transcript(case: Case, document: Case) -> None:
    transcript = _Transcript(case)
    for step in case["steps"]:
        transcript.step(step)
    assert transcript.refused == case["errors"]


FILES = {
    "password.json": Family(compare_password, informational=frozenset({"id"})),
    "secretbox.json": Family(compare_secretbox, informational=frozenset({"id"})),
    "replay.json": Family(compare_replay, informational=frozenset({"id"})),
    "cryptoauth.json": Family(compare_transcript, informational=frozenset({"id", "name", "start_time", "steps.note"})),
}
