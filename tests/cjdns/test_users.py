# SPDX-License-Identifier: Apache-2.0
"""The table of users, credentials, and the authentication field."""

from __future__ import annotations

import copy
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.cjdns.cryptoauth import AuthField, HandshakeHeader, User, Users
from prestocloud_sec.cjdns.cryptoauth.auth import Credentials, derive, hash_password
from prestocloud_sec.cjdns.cryptoauth.handshake import clear_header
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, DuplicateUserError, HeaderError
from prestocloud_sec.testing.session import auth_fields, handshake_headers, node_key


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def by_password(password: bytes) -> bytes:
    return b"\x01" + sha(sha(password))[1:8]


def by_login(login: bytes) -> bytes:
    return b"\x02" + sha(login)[1:8]


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_a_user_is_found_by_password_and_by_login(password: bytes, login: bytes) -> None:
    users = Users()
    user = users.add(password, login=login)
    assert user.secret == sha(password)
    assert users.lookup(by_password(password)) is user
    assert users.lookup(by_login(login)) is user
    assert users.lookup(b"\x00" + by_login(login)[1:]) is None
    assert users.lookup(b"\x03" + by_login(login)[1:]) is None
    assert Credentials.of(password).matched == by_password(password)
    assert Credentials.of(password, login).matched == by_login(login)


def test_the_right_one_of_a_thousand() -> None:
    users = Users()
    added = [users.add(b"password %d" % n, login=b"login %d" % n) for n in range(1000)]
    for n in (0, 1, 499, 998, 999):
        assert users.lookup(by_password(b"password %d" % n)) is added[n]
        assert users.lookup(by_login(b"login %d" % n)) is added[n]
    assert users.lookup(by_password(b"password 1000")) is None
    assert len(users) == 1000
    assert list(users) == added


def test_a_duplicate_is_same_password_and_same_login() -> None:
    users = Users()
    users.add(b"pw", login=b"one")
    with pytest.raises(DuplicateUserError):
        users.add(b"pw", login=b"one", restrict_to=node_key(0).address)
    users.add(b"pw", login=b"two")
    users.add(b"other", login=b"one")
    assert len(users) == 3


def test_the_first_that_matches_is_the_one() -> None:
    users = Users()
    first, second = users.add(b"pw", login=b"one"), users.add(b"pw", login=b"two")
    assert users.lookup(by_password(b"pw")) is first
    assert users.lookup(by_login(b"two")) is second
    users.remove(first)
    assert users.lookup(by_password(b"pw")) is second
    assert users.lookup(by_login(b"one")) is None
    users.remove(second)
    assert users.lookup(by_password(b"pw")) is None
    assert len(users) == 0


def test_a_user_without_a_login_gets_a_name_that_is_free() -> None:
    users = Users()
    assert [users.add(b"%d" % n).name for n in range(3)] == ["Anon #0", "Anon #1", "Anon #2"]
    users.remove(next(iter(users)))
    assert users.add(b"3").name == "Anon #3"
    users.add(b"4", login=b"Anon #4")
    assert users.add(b"5").login == b"Anon #5"


def test_the_table_is_bounded() -> None:
    users = Users(limit=2)
    users.add(b"1")
    kept = users.add(b"2")
    with pytest.raises(CjdnsMisuseError, match="2 users"):
        users.add(b"3")
    users.remove(kept)
    users.add(b"3")


def test_misuse() -> None:
    users = Users()
    for wrong in ("text", 5, None):
        with pytest.raises(CjdnsMisuseError):
            users.add(wrong)  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        users.add(b"x", login="text")  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        users.add(b"x", restrict_to="fc00::1")  # type: ignore[arg-type]
    with pytest.raises(CjdnsMisuseError):
        users.remove(User(b"nobody"))
    assert len(users) == 0
    for derivations in (-1, 65536, 1.5, True):
        with pytest.raises(CjdnsMisuseError):
            Credentials.of(b"x", derivations=derivations)  # type: ignore[arg-type]


def test_nothing_secret_is_shown() -> None:
    users = Users()
    user = users.add(b"hunter2", login=b"dave \xff")
    shown = repr(user) + repr(users) + repr(Credentials.of(b"hunter2")) + user.name
    assert user.secret.hex() not in shown
    assert repr(user.secret)[2:10] not in shown
    assert "hunter2" not in shown
    assert user.name == "dave \\xff"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(CjdnsMisuseError, match="holds secrets"):
            pickle.dumps(user, protocol)
    assert copy.copy(user) is copy.deepcopy(user) is user


@pytest.mark.parametrize("rounds", [0, 1, 2, 65535])
def test_derivations_hash_that_many_times_more(rounds: int) -> None:
    expected = sha(b"password")
    for _ in range(rounds):
        expected = sha(expected)
    assert derive(hash_password(b"password"), rounds) == expected
    mine = Credentials.of(b"password", derivations=rounds)
    assert (mine.secret, mine.derivations, mine.matched) == (expected, rounds, by_password(b"password"))
    users = Users()
    user = users.add(b"password")
    assert users.secret(user, rounds) == users.secret(user, rounds) == expected


def test_derived_secrets_are_kept_within_bounds() -> None:
    users = Users()
    user = users.add(b"password")
    for rounds in range(600):
        users.secret(user, rounds)
    assert len(users._derived) == 256
    users.remove(user)
    assert not users._derived


@given(auth_fields())
def test_an_auth_field_is_its_bytes(field: AuthField) -> None:
    packed = field.encode()
    assert AuthField.decode(packed) == field
    assert packed[:8] == field.matched
    assert int.from_bytes(packed[8:10], "big") == field.derivations
    assert int.from_bytes(packed[10:], "big") == field.authenticate << 15 | field.additional


@given(st.binary(max_size=30))
def test_any_twelve_bytes_are_an_auth_field(data: bytes) -> None:
    if len(data) == 12:
        assert AuthField.decode(data).encode() == data
    else:
        with pytest.raises(HeaderError):
            AuthField.decode(data)


def test_the_figure_has_the_offsets_of_the_packet() -> None:
    """Each field is drawn at the bits where a packet with only that field set has ones."""
    rows = AuthField.figure().splitlines()[3::2]
    assert len(rows) == 3
    full = {
        "type": AuthField(type=0xFF),
        "lookup": AuthField(lookup=b"\xff" * 7),
        "derivations": AuthField(derivations=0xFFFF),
        "a": AuthField(authenticate=True),
        "additional": AuthField(additional=0x7FFF),
    }
    drawn: dict[str, int] = dict.fromkeys(full, 0)
    for row, line in enumerate(rows):
        column = 1
        for cell in line.strip("|").split("|"):
            first, width = (column - 1) // 2, (len(cell) + 1) // 2
            drawn[cell.strip()] |= ((1 << width) - 1) << (95 - (32 * row + first + width - 1))
            column += len(cell) + 1
    assert drawn == {name: int.from_bytes(field.encode(), "big") for name, field in full.items()}
    # In the packet the field begins at 4: the A bit is the highest of byte 14 (PrEstoCloud deliverable, 3.3).
    assert drawn["a"].bit_length() - 1 == 8 * (16 - 14) - 1


@given(handshake_headers(), st.binary(max_size=8))
def test_the_quick_reader_agrees_with_the_declared_header(header: HandshakeHeader, payload: bytes) -> None:
    packet = header.encode()
    assert len(packet) == 120
    assert HandshakeHeader.decode(packet) == header
    clear = clear_header(packet + payload)
    assert clear.matched == header.auth.matched
    assert clear.derivations == header.auth.derivations
    assert clear.authenticate is header.auth.authenticate
    assert (clear.nonce, clear.public_key) == (header.nonce, header.public_key)


@given(st.binary(max_size=140))
def test_a_header_is_120_bytes(data: bytes) -> None:
    if len(data) == 120:
        assert HandshakeHeader.decode(data).encode() == data
    else:
        with pytest.raises(HeaderError):
            HandshakeHeader.decode(data)
