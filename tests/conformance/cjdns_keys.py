# SPDX-License-Identifier: Apache-2.0
"""Keys, addresses, texts and signatures against what cjdns v21.1 made of them."""

from __future__ import annotations

from collections.abc import Callable

from prestocloud_sec.cjdns import sign as signatures
from prestocloud_sec.cjdns.errors import (
    AddressError,
    KeyEncodingError,
    KeyFormatError,
    KeyLengthError,
    KeySuffixError,
    LabelError,
    SignatureError,
)
from prestocloud_sec.cjdns.keys import (
    Address,
    PrivateKey,
    PublicKey,
    base32_decode,
    base32_encode,
    parse_ip,
    signing_key_to_curve,
    verify_signature,
)
from tests.conformance.family import Case, Family

_KEY_PARSE: dict[type[Exception], int] = {
    KeyLengthError: -1,
    KeySuffixError: -2,
    KeyEncodingError: -3,
    AddressError: -4,
}


def _groups(packed: bytes) -> str:
    return ":".join(packed[at : at + 2].hex() for at in range(0, 16, 2))


def compare_address(case: Case, document: Case) -> None:
    private = PrivateKey(bytes.fromhex(case["private"]))
    public = private.public
    assert public.raw.hex() == case["public"]
    assert public == PublicKey.parse(case["public"])
    assert public.text == case["key"]
    assert public.hashed.hex() == case["ip6"]
    assert public.is_routable is case["valid"]
    assert public.hashed[8:12].hex() == case["prefix"]
    if public.is_routable:
        address = private.address
        assert str(address) == case["ip6_str"]
        assert address.short == case["ip6_short_str"]
        assert f"{address.metric:032x}"[:8] == case["prefix"]
        assert Address.parse(case["ip6_str"]) == Address.parse(case["ip6_short_str"]) == address
        assert PublicKey.parse(case["key"]) == public
    else:
        assert _groups(public.hashed) == case["ip6_str"]
        assert ":".join(f"{int(group, 16):x}" for group in case["ip6_str"].split(":")) == case["ip6_short_str"]
        for refused in (lambda: private.address, lambda: PublicKey.parse(case["key"])):
            try:
                refused()
            except AddressError:
                continue
            raise AssertionError("a key outside fc00::/8 was taken")


def _key_parse(case: Case) -> Case:
    try:
        key = PublicKey.parse(case["text"][:54])  # Key_parse reads 54 characters and ignores what follows
    except (KeyFormatError, AddressError) as error:
        return {"ret": _KEY_PARSE[type(error)]}
    return {"ret": 0, "public": key.hex, "ip6": key.address.packed.hex()}


def _path_print(case: Case) -> Case:
    from prestocloud_sec.cjdns.switch import RouteLabel

    return {"text": str(RouteLabel(int(case["label"], 16)))}


def _path_parse(case: Case) -> Case:
    from prestocloud_sec.cjdns.switch import RouteLabel

    try:
        return {"ret": 0, "label": f"{RouteLabel.parse(case['text']):016x}"}
    except LabelError:
        return {"ret": -1, "label": "0" * 16}


def _ip_parse(case: Case) -> Case:
    try:
        return {"ret": 0, "ip6": parse_ip(case["text"]).hex()}
    except AddressError:
        return {"ret": -1, "ip6": ""}


def _base32_encode(case: Case) -> Case:
    text = base32_encode(bytes.fromhex(case["bytes"]))
    assert base32_decode(text).hex() == case["bytes"]
    return {"text": text, "ret": len(text)}


def _base32_decode(case: Case) -> Case:
    try:
        data = base32_decode(case["text"])
    except KeyEncodingError:
        return {"ret": -1, "bytes": ""}
    return {"ret": len(data), "bytes": data.hex()}


_TEXT_OPERATIONS: dict[str, Callable[[Case], Case]] = {
    "key_parse": _key_parse,
    "path_print": _path_print,
    "path_parse": _path_parse,
    "ip_parse": _ip_parse,
    "base32_encode": _base32_encode,
    "base32_decode": _base32_decode,
}


def compare_text(case: Case, document: Case) -> None:
    operation = _TEXT_OPERATIONS.get(case["op"])
    assert operation is not None, f"unknown operation {case['op']!r}"
    found = {**case, **operation(case)}
    assert found == case


def compare_sign(case: Case, document: Case) -> None:
    private = PrivateKey(bytes.fromhex(case["curve_private"]))
    signing = private.signing_public
    message, given = bytes.fromhex(case["message"]), bytes.fromhex(case["signed_message_given_to_verify"])
    noise = bytes.fromhex(case["az_random"])
    converted = signing_key_to_curve(signing)
    assert private.public.raw.hex() == case["curve_public"]
    assert signing.hex() == case["sign_public"]
    assert (signatures.clamp(private.raw) + signing).hex() == case["sign_keypair"]
    assert converted.raw.hex() == case["sign_public_to_curve"]
    assert (converted == private.public) is case["curve_matches"]
    assert private.sign(message, random=lambda size: noise[:size]).hex() == case["signature"]
    try:
        verified = verify_signature(given[64:], given[:64], signing) == private.public
    except SignatureError:
        verified = False
    assert verified is case["verify_ok"]


FILES = {
    "address.json": Family(compare_address, informational=frozenset({"id"})),
    "text_parse.json": Family(compare_text, informational=frozenset({"id"})),
    "sign.json": Family(compare_sign, informational=frozenset({"id"})),
}
