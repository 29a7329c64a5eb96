# SPDX-License-Identifier: Apache-2.0
"""The base32 that cjdns writes public keys in (cjdns v21.1, ``util/Base32.h``).

It is not RFC 4648: the alphabet is the ten digits and the letters without vowels (``a``, ``e``, ``i``, ``o``), there
is no padding, and the bits of a byte string are taken least significant first, five to a character. Decoding takes
letters of either case and is otherwise strict: every text that is accepted, in lower case, is what encoding its bytes
gives. A 32-byte key makes 52 characters, of which the last carries one bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.cjdns._layout import view
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, KeyEncodingError

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["ALPHABET", "base32_decode", "base32_encode"]

ALPHABET = "0123456789bcdfghjklmnpqrstuvwxyz"
"""The character for each value 0..31."""

_LIMIT = 1 << 16
_VALUES = {character: value for value, letter in enumerate(ALPHABET) for character in (letter, letter.upper())}


def base32_encode(data: BytesLike) -> str:
    """Return the base32 text of at most 65536 bytes: ``ceil(8 * len(data) / 5)`` characters.

    Raises
    ------
    CjdnsMisuseError
        If `data` is not bytes-like, or longer than any field this encoding is meant for.

    Examples
    --------
    >>> base32_encode(bytes.fromhex("fa5772d577"))
    'uzp4rbzg'
    """
    raw = view(data, "data")
    if len(raw) > _LIMIT:
        raise CjdnsMisuseError(f"{len(raw)} bytes", where="data", expected=f"at most {_LIMIT}")
    characters = []
    pending = count = 0
    for byte in raw:
        pending |= byte << count
        count += 8
        while count >= 5:
            characters.append(ALPHABET[pending & 31])
            pending >>= 5
            count -= 5
    if count:
        characters.append(ALPHABET[pending])
    return "".join(characters)


def base32_decode(text: str) -> bytes:
    """Return the bytes of a base32 text of at most 65536 characters.

    Raises
    ------
    KeyEncodingError
        If a character is outside the alphabet, if whole characters are left over after the last byte, or if the spare
        bits of the last character are not zero (cjdns: ``Base32_BAD_INPUT``); or if the text is too long.
    CjdnsMisuseError
        If `text` is not a string.

    Examples
    --------
    >>> base32_decode("uzp4rbzg").hex()
    'fa5772d577'
    """
    if not isinstance(text, str):
        raise CjdnsMisuseError(f"{type(text).__name__} is not text", where="text", expected="str")
    if len(text) > _LIMIT:
        raise KeyEncodingError(f"{len(text)} characters", where="base32", expected=f"at most {_LIMIT}")
    data = bytearray()
    pending = count = 0
    for offset, character in enumerate(text):
        value = _VALUES.get(character)
        if value is None:
            raise KeyEncodingError(
                f"character {character!a}", where="base32", offset=offset, expected=f"one of {ALPHABET}"
            )
        pending |= value << count
        count += 5
        if count >= 8:
            data.append(pending & 0xFF)
            pending >>= 8
            count -= 8
    if count >= 5:
        raise KeyEncodingError(
            f"{len(text)} characters end inside a byte",
            where="base32",
            expected="one character fewer, or more to follow",
        )
    if pending:
        raise KeyEncodingError(
            "the spare bits of the last character are not zero", where="base32", offset=len(text) - 1
        )
    return bytes(data)
