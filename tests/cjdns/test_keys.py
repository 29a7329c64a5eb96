# SPDX-License-Identifier: Apache-2.0
"""Keys, addresses and names: every text form, what is refused, and what a secret does not tell."""

from __future__ import annotations

import copy
import hashlib
import ipaddress
import pickle
import time
from typing import Any

import nacl.public
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestocloud_sec.cjdns.base32 import ALPHABET
from prestocloud_sec.cjdns.errors import (
    AddressError,
    AddressMismatchError,
    CjdnsMisuseError,
    KeyEncodingError,
    KeyFormatError,
    KeyLengthError,
    KeySuffixError,
)
from prestocloud_sec.cjdns.keys import (
    Address,
    NodeName,
    PrivateKey,
    PublicKey,
    address_bytes,
    base32_decode,
    base32_encode,
    parse_ip,
)
from prestocloud_sec.testing.keys import addresses, node_names, private_keys, public_keys, seeded_random


def hashed(public: bytes) -> bytes:
    return hashlib.sha512(hashlib.sha512(public).digest()).digest()[:16]


def base32_by_integer(data: bytes) -> str:
    """Encode by writing one little-endian number in base 32, lowest digit first."""
    number = int.from_bytes(data, "little")
    return "".join(ALPHABET[number >> 5 * place & 31] for place in range((8 * len(data) + 4) // 5))


NODE = PrivateKey.generate(random=seeded_random(b"test_keys"))
KEY = NODE.public
TEMPORARY = next(key for key in (PublicKey(bytes([n] * 32)) for n in range(256)) if hashed(key.raw)[0] != 0xFC)


class TestBase32:
    @given(st.binary(max_size=80))
    def test_encodes_as_the_number_in_base_32_and_decodes_back(self, data: bytes) -> None:
        text = base32_encode(data)
        assert text == base32_by_integer(data)
        assert base32_decode(text) == base32_decode(text.upper()) == data

    @given(st.text(ALPHABET, max_size=80))
    def test_whatever_is_accepted_encodes_back(self, text: str) -> None:
        try:
            data = base32_decode(text)
        except KeyEncodingError:
            spare = 5 * len(text) % 8
            assert spare >= 5 or ALPHABET.index(text[-1]) >> 5 - spare
        else:
            assert base32_encode(data) == text

    @pytest.mark.parametrize(
        "text", ["a", "0a", "e0", "I0", "O0", "é0", "٠0", "0\0", "0 ", "00=", "\ud8000", "0" * 70000]
    )
    def test_refuses_what_is_not_base32(self, text: str) -> None:
        with pytest.raises(KeyEncodingError):
            base32_decode(text)

    @pytest.mark.parametrize(
        "call", [lambda: base32_encode("00"), lambda: base32_encode(bytes(70000)), lambda: base32_decode(b"00")]
    )  # type: ignore[arg-type]
    def test_wrong_use(self, call: Any) -> None:
        with pytest.raises(CjdnsMisuseError):
            call()


class TestAddress:
    @given(addresses())
    def test_prints_and_parses_every_form(self, address: Address) -> None:
        other = ipaddress.IPv6Address(address.packed)
        assert str(address) == other.exploded
        for text in (other.exploded, other.compressed, other.exploded.upper(), address.short):
            assert Address.parse(text) == address
        assert repr(address) == f"Address('{other.exploded}')"
        assert bytes(address) == address.packed == other.packed
        assert pickle.loads(pickle.dumps(address)) == address  # noqa: S301 - our own pickle

    @given(st.lists(addresses(), max_size=8))
    def test_order_is_the_order_of_the_bytes(self, given_: list[Address]) -> None:
        assert [a.packed for a in sorted(given_)] == sorted(a.packed for a in given_)
        for a in given_:
            for b in given_:
                x, y = a.packed, b.packed
                assert (a < b, a <= b, a > b, a >= b, a == b) == (x < y, x <= y, x > y, x >= y, x == y)
                assert hash(a) == hash(b) or a != b

    @given(addresses())
    def test_metric_is_the_number_rotated_by_64_bits(self, address: Address) -> None:
        number = int(ipaddress.IPv6Address(address.packed))
        assert address.metric == (number << 64 | number >> 64) % 2**128

    @given(public_keys())
    def test_of_a_key_is_the_double_hash_or_refused(self, key: PublicKey) -> None:
        assert address_bytes(key.raw) == key.hashed == hashed(key.raw)
        assert key.is_routable == (hashed(key.raw)[0] == 0xFC)
        if not key.is_routable:
            for refused in (lambda: key.address, lambda: Address.from_key(key)):
                with pytest.raises(AddressError, match="fc00::/8"):
                    refused()

    @settings(max_examples=10)
    @given(private_keys(routable=True))
    def test_of_a_node(self, node: PrivateKey) -> None:
        public = bytes(nacl.public.PrivateKey(node.raw).public_key)
        assert node.public.raw == public
        assert node.address == node.public.address == Address.from_key(node.public) == Address(hashed(public))

    @pytest.mark.parametrize("packed", [b"", bytes(16), b"\xfc" * 15, b"\xfc" * 17, b"\xfd" + bytes(15)])
    def test_refuses_other_bytes(self, packed: bytes) -> None:
        with pytest.raises(AddressError):
            Address(packed)

    @pytest.mark.parametrize(
        "text",
        [
            *("", ":", "::", "::1", "fd00::1", "fc00::1%eth0", "fc00::1/8", "[fc00::1]", " fc00::1", "fc00::1\n"),
            *("fc00::1\0", "fc00:::1", "fc00::1::2", "fc00::12345", "fc00:1:2:3:4:5:6", "fc00:1:2:3:4:5:6:7:8"),
            *("fc٠٠::1", "fc00::1.2.3.256", "1.2.3.4", "fc00::" + "0" * 10**6),
        ],
    )
    def test_refuses_other_text(self, text: str) -> None:
        with pytest.raises(AddressError) as caught:
            Address.parse(text)
        assert len(str(caught.value)) < 300

    def test_an_embedded_ipv4_address_is_rfc_4291(self) -> None:
        assert Address.parse("fc00::1.2.3.4").packed.hex() == "fc" + "00" * 11 + "01020304"

    def test_parse_ip_takes_addresses_outside_the_prefix(self) -> None:
        assert parse_ip("::") == bytes(16)

    def test_is_not_equal_to_its_bytes_and_cannot_be_changed(self) -> None:
        assert NODE.address != NODE.address.packed
        with pytest.raises(AttributeError):
            NODE.address.packed = bytes(16)  # type: ignore[misc]
        with pytest.raises(TypeError):
            assert NODE.address < NODE.address.packed  # type: ignore[operator]

    def test_html(self) -> None:
        assert NODE.address._repr_html_() == f"<code>{NODE.address}</code>"
        assert KEY._repr_html_() == f"<code>{KEY.text}</code>"


class TestPublicKey:
    @given(public_keys())
    def test_prints_base32_and_hex(self, key: PublicKey) -> None:
        assert key.text == str(key) == base32_by_integer(key.raw) + ".k"
        assert len(key.text) == 54
        assert PublicKey.parse(key.hex) == PublicKey.parse(key.hex.upper()) == key
        assert bytes.fromhex(key.hex) == bytes(key) == key.raw
        assert key in {key}
        assert pickle.loads(pickle.dumps(key)) == key  # noqa: S301 - our own pickle
        if not key.is_routable:
            with pytest.raises(AddressError):
                PublicKey.parse(key.text)

    @settings(max_examples=10)
    @given(public_keys(routable=True))
    def test_the_name_of_a_node_parses_back(self, key: PublicKey) -> None:
        assert PublicKey.parse(key.text) == PublicKey.parse(key.text[:52].upper() + ".k") == key
        assert repr(key) == f"PublicKey('{key.text}')"

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("", KeyLengthError),
            (KEY.text[:53], KeyLengthError),
            (KEY.text[:40], KeyLengthError),
            (KEY.text[:52] + ".x", KeySuffixError),
            (KEY.text[:52] + ".K", KeySuffixError),
            (KEY.text[:52] + "kk", KeySuffixError),
            (KEY.text + "k", KeyLengthError),
            (KEY.text + " ", KeyLengthError),
            (KEY.text + "\0", KeyLengthError),
            (KEY.text + "." + KEY.text * 50000, KeyLengthError),
            (" " + KEY.text[1:], KeyEncodingError),
            ("a" + KEY.text[1:], KeyEncodingError),
            ("０" + KEY.text[1:], KeyEncodingError),
            (KEY.text[:51] + "z.k", KeyEncodingError),
            (KEY.hex[:-1], KeySuffixError),
            (KEY.hex + "0", KeySuffixError),
            (KEY.hex[:-1] + "٠", KeySuffixError),
            (TEMPORARY.text, AddressError),
        ],
    )
    def test_each_fault_of_a_text_has_its_own_error(self, text: str, error: type[Exception]) -> None:
        with pytest.raises(error) as caught:
            PublicKey.parse(text)
        assert type(caught.value) is error
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_size(self, size: int) -> None:
        for refused in (PublicKey, PrivateKey, address_bytes):
            with pytest.raises(KeyLengthError):
                refused(bytes(size))

    def test_a_peer_whose_key_does_not_give_its_address_is_refused(self) -> None:
        KEY.check_address(NODE.address)
        other = Address(NODE.address.packed[:15] + bytes([NODE.address.packed[15] ^ 1]))
        with pytest.raises(AddressMismatchError, match=str(other)):
            KEY.check_address(other)
        with pytest.raises(AddressError):
            TEMPORARY.check_address(other)

    def test_does_not_depend_on_the_buffer_it_was_made_of(self) -> None:
        buffer = bytearray(KEY.raw)
        for key in (PublicKey(buffer), PublicKey(memoryview(buffer))):
            buffer[0] ^= 1
            buffer[0] ^= 1
            assert key == KEY
        key, buffer[0] = PublicKey(buffer), buffer[0] ^ 1
        assert key == KEY


class TestPrivateKey:
    def test_generates_the_first_key_that_fits_of_a_random_source(self) -> None:
        drawn = []
        source = seeded_random(b"first")

        def random(size: int) -> bytes:
            drawn.append(source(size))
            return drawn[-1]

        key = PrivateKey.generate(random=random)
        publics = [bytes(nacl.public.PrivateKey(raw).public_key) for raw in drawn]
        assert [hashed(public)[0] == 0xFC for public in publics] == [False] * (len(drawn) - 1) + [True]
        assert key.raw == drawn[-1]

    def test_generates_from_the_operating_system(self) -> None:
        assert PrivateKey.generate().address.packed[0] == 0xFC

    @pytest.mark.parametrize("random", [lambda size: b"", lambda size: bytearray(size), lambda size: None, None, 7])
    def test_generate_refuses_what_is_no_random_source(self, random: Any) -> None:
        with pytest.raises(CjdnsMisuseError):
            PrivateKey.generate(random=random)

    def test_generate_gives_up_on_a_source_that_repeats_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("prestocloud_sec.cjdns.keys._GENERATE_LIMIT", 50)
        with pytest.raises(CjdnsMisuseError, match="50 keys"):
            PrivateKey.generate(random=lambda size: bytes(size))

    @given(private_keys())
    def test_hexadecimal(self, key: PrivateKey) -> None:
        assert PrivateKey.parse(key.raw.hex()) == PrivateKey.parse(key.raw.hex().upper()) == key
        assert key.public.raw == bytes(nacl.public.PrivateKey(key.raw).public_key)

    @pytest.mark.parametrize(
        "text", ["", "0" * 63, "0" * 65, "g" + "0" * 63, " " + "0" * 63, "0" * 63 + "\n", "٠" * 64, "0" * 10**6]
    )
    def test_a_bad_text_is_refused_without_being_repeated(self, text: str) -> None:
        with pytest.raises(KeyFormatError) as caught:
            PrivateKey.parse(text)
        assert text[:8] == "" or text[:8] not in str(caught.value)

    def test_shows_its_public_half_only(self) -> None:
        for shown in (repr(NODE), str(NODE), f"{NODE}"):
            assert KEY.text in shown
            assert NODE.raw.hex() not in shown
        assert not hasattr(NODE, "__dict__")

    def test_compares_and_hashes_as_a_value(self) -> None:
        twin = PrivateKey(NODE.raw)
        assert twin == NODE
        assert hash(twin) == hash(NODE)
        assert PrivateKey(bytes(32)) != NODE
        assert NODE.raw != NODE

    def test_compares_in_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = []
        monkeypatch.setattr(
            "prestocloud_sec.cjdns.keys.hmac.compare_digest", lambda a, b: called.append((a, b)) or True
        )
        assert PrivateKey(bytes(32)) == NODE
        assert len(called) == 1

    def test_does_not_go_into_a_pickle(self) -> None:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(CjdnsMisuseError, match="pickle"):
                pickle.dumps(NODE, protocol)

    def test_a_copy_is_the_key_itself(self) -> None:
        assert copy.copy(NODE) is NODE
        assert copy.deepcopy([NODE])[0] is NODE

    def test_after_wiping_every_use_is_refused(self) -> None:
        key = PrivateKey(NODE.raw)
        secret = key._secret
        assert key.public == KEY
        key.wipe()
        key.wipe()
        assert secret == bytearray(32)
        assert repr(key) == "PrivateKey(wiped)"
        uses = [
            lambda: key.raw, lambda: key.public, lambda: key.address, lambda: key.signing_public,
            lambda: key.sign(b""), lambda: key == NODE, lambda: PrivateKey(NODE.raw) == key, lambda: hash(key),
        ]  # fmt: skip
        for use in uses:
            with pytest.raises(CjdnsMisuseError, match="wiped"):
                use()


class TestNodeName:
    @settings(max_examples=10)
    @given(node_names())
    def test_prints_and_parses(self, name: NodeName) -> None:
        text = str(name)
        assert NodeName.parse(text) == name
        version, *path, key, suffix = text.split(".")
        assert version == f"v{name.version}"
        assert (len(path), int("".join(path), 16)) == (4, name.label)
        assert f"{key}.{suffix}" == name.key.text

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("", KeyFormatError),
            (f"21.0000.0000.0000.0013.{KEY}", KeyFormatError),
            (f"v0.0000.0000.0000.0013.{KEY}", KeyFormatError),
            (f"v021.0000.0000.0000.0013.{KEY}", KeyFormatError),
            (f"v4294967296.0000.0000.0000.0013.{KEY}", KeyFormatError),
            (f"v{'9' * 10**6}.0000.0000.0000.0013.{KEY}", KeyFormatError),
            (f"v٢1.0000.0000.0000.0013.{KEY}", KeyFormatError),
            (f"v21.0000.0000.0000.{KEY}", KeyFormatError),
            (f"v21.0000.0000.0000.00013.{KEY}", KeyFormatError),
            (f"v21.0000.0000.0000.001g.{KEY}", KeyFormatError),
            (f"v21.0000.0000.0000.0013.{KEY}\n", KeyFormatError),
            (f"v21.0000.0000.0000.0013.{TEMPORARY}", AddressError),
        ],
    )
    def test_refuses_other_text(self, text: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            NodeName.parse(text)

    @pytest.mark.parametrize(
        "parts", [(0, 19, KEY), (21, -1, KEY), (21, 2**64, KEY), (21, 19, KEY.raw), ("21", 19, KEY), (21, None, KEY)]
    )
    def test_refuses_other_parts(self, parts: Any) -> None:
        with pytest.raises(CjdnsMisuseError):
            NodeName(*parts)


PARSERS = [PublicKey.parse, PrivateKey.parse, Address.parse, NodeName.parse, base32_decode, parse_ip]
ODD_TEXT = st.one_of(
    st.text(max_size=80),
    st.text(ALPHABET + ALPHABET.upper() + ".:k٠߀ \0\n", max_size=80),
    st.builds(
        lambda text, at, new: text[:at] + new + text[at + 1 :],
        st.sampled_from([KEY.text, KEY.hex, str(NODE.address), f"v21.0000.0000.0000.0013.{KEY}"]),
        st.integers(0, 80),
        st.text(max_size=2),
    ),
)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=ODD_TEXT)
def test_any_text_parses_or_is_refused_by_type(parse: Any, text: str) -> None:
    try:
        value = parse(text)
    except (KeyFormatError, AddressError):
        return
    printed = {
        PublicKey: lambda: value.hex if len(text) == 64 else value.text,
        PrivateKey: lambda: value.raw.hex(),
        NodeName: lambda: str(value),
    }
    if type(value) in printed:
        assert printed[type(value)]().lower() == text.lower()


@pytest.mark.parametrize("make", [Address, PublicKey, PrivateKey, address_bytes])
@given(data=st.binary(max_size=64))
def test_any_bytes_are_taken_or_refused_by_type(make: Any, data: bytes) -> None:
    try:
        value = make(data)
    except (KeyFormatError, AddressError):
        assert len(data) != {Address: 16}.get(make, 32) or (make is Address and data[0] != 0xFC)
    else:
        assert len(data) == {Address: 16}.get(make, 32)
        assert make is address_bytes or (value.packed if make is Address else value.raw) == data


@pytest.mark.parametrize("wrong", [None, 7, 1.5, [], object(), b"\xfc" * 16])
@pytest.mark.parametrize("call", [*PARSERS, Address.from_key, KEY.check_address])
def test_wrong_types_are_misuse(call: Any, wrong: Any) -> None:
    with pytest.raises(CjdnsMisuseError):
        call(wrong)


@pytest.mark.parametrize("wrong", [None, 7, 1.5, [], object(), "fc" * 16])
@pytest.mark.parametrize("call", [Address, PublicKey, PrivateKey, address_bytes, NODE.sign])
def test_wrong_types_of_bytes_are_misuse(call: Any, wrong: Any) -> None:
    with pytest.raises(CjdnsMisuseError):
        call(wrong)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("unit", ["0", ":", ".", "fc00:", "v", "\0", "٠", KEY.text])
def test_a_million_characters_are_refused_at_once(parse: Any, unit: str) -> None:
    began = time.monotonic()
    with pytest.raises((KeyFormatError, AddressError)):
        parse(unit * (10**6 // len(unit)))
    assert time.monotonic() - began < 1
