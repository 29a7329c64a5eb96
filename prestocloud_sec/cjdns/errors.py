# SPDX-License-Identifier: Apache-2.0
"""Everything that can be wrong in cjdns input, each with a type of its own.

CryptoAuth refusals carry the number that the C implementation gives them (``CryptoAuth_DecryptErr`` in cjdns v21.1), so
that logs of both can be compared.
"""

from __future__ import annotations

from typing import ClassVar

from prestocloud_sec.errors import InputError, MisuseError, PrestoCloudError

__all__ = [
    "AddressError",
    "AddressMismatchError",
    "AddressRestrictedError",
    "AuthenticationRequiredError",
    "BencodeError",
    "CjdnsError",
    "CjdnsMisuseError",
    "CryptoAuthError",
    "DecryptionError",
    "DuplicateUserError",
    "EstablishedKeyPacketError",
    "HandshakeDecryptionError",
    "HeaderError",
    "InvalidHandshakeError",
    "KeyEncodingError",
    "KeyFormatError",
    "KeyLengthError",
    "KeySearchError",
    "KeySearchFaultError",
    "KeySearchLimitError",
    "KeySuffixError",
    "LabelError",
    "MessageError",
    "NoSessionError",
    "ReplayError",
    "RuntError",
    "SchemeError",
    "SignatureError",
    "SmallOrderError",
    "StrayKeyError",
    "UnrecognizedAuthenticationError",
    "WrongPermanentKeyError",
    "ZeroTemporaryKeyError",
]


class CjdnsError(InputError):
    """Base of all errors that cjdns input can cause."""


class CjdnsMisuseError(MisuseError):
    """A cjdns object was called in a way its documentation forbids."""


class KeyFormatError(CjdnsError):
    """The text or bytes are not a key."""


class KeyLengthError(KeyFormatError):
    """The key has too few or too many characters or bytes (``Key_parse_TOO_SHORT`` where it is short)."""


class KeySuffixError(KeyFormatError):
    """The text of a public key does not end in ``.k`` (``Key_parse_MALFORMED``)."""


class KeyEncodingError(KeyFormatError):
    """The text is not the base32 or the hexadecimal that a key is written in (``Key_parse_DECODE_FAILED``)."""


class KeySearchError(PrestoCloudError):
    """A key search ended without a key."""


class KeySearchLimitError(KeySearchError):
    """A key search tried as many keys as it was allowed to, and none fitted."""


class KeySearchFaultError(KeySearchError):
    """A key the search kernel found is not what PyNaCl and hashlib derive: a fault of this machine."""


class SmallOrderError(KeyFormatError):
    """A public key is a point of small order: every secret made with it is known to everyone."""


class AddressError(CjdnsError):
    """The bytes or text are not an address in fc00::/8."""


class AddressMismatchError(AddressError):
    """A peer's key does not give the address it claims."""


class SignatureError(CjdnsError):
    """A signature does not verify."""


class HeaderError(CjdnsError):
    """A header or control frame breaks its layout, magic or checksum."""


class SchemeError(CjdnsError):
    """Forms that make no sane encoding scheme, or bytes that encode none."""


class LabelError(CjdnsError):
    """A route label that cannot be parsed, spliced or converted."""


class BencodeError(CjdnsError):
    """The bytes are not bencoding as cjdns speaks it."""


class MessageError(CjdnsError):
    """A bencoded message lacks a field, or a field has the wrong shape."""


class DuplicateUserError(CjdnsMisuseError):
    """A user with the same password and login is already authorised."""


class CryptoAuthError(CjdnsError):
    """A packet that a CryptoAuth session refuses; its state is as it was before the packet came."""

    code: ClassVar[int] = 0
    """The number of this refusal in the C implementation."""


class RuntError(CryptoAuthError):
    """The packet is too short for its kind."""

    code = 1


class NoSessionError(CryptoAuthError):
    """A data packet came before any handshake."""

    code = 2


class EstablishedKeyPacketError(CryptoAuthError):
    """A key packet came to a session that is already established."""

    code = 5


class WrongPermanentKeyError(CryptoAuthError):
    """The handshake carries another permanent key than this session's peer has."""

    code = 6


class AddressRestrictedError(CryptoAuthError):
    """The user may only be used from another address."""

    code = 7


class AuthenticationRequiredError(CryptoAuthError):
    """The handshake offers no known user, and this session requires one."""

    code = 8


class UnrecognizedAuthenticationError(CryptoAuthError):
    """The handshake names a user that is not authorised here."""

    code = 9


class StrayKeyError(CryptoAuthError):
    """A key packet came though no hello was sent."""

    code = 10


class HandshakeDecryptionError(CryptoAuthError):
    """The handshake does not decrypt: forged, damaged, or made with another password."""

    code = 11


class ZeroTemporaryKeyError(CryptoAuthError):
    """The handshake's temporary key is all zero, which would make the secret known to everyone."""

    code = 12


class InvalidHandshakeError(CryptoAuthError):
    """The handshake is a duplicate, or does not belong to the one under way."""

    code = 13


class ReplayError(CryptoAuthError):
    """The packet's nonce was seen before, or is too old to tell."""

    code = 14


class DecryptionError(CryptoAuthError):
    """The data packet does not decrypt: forged, damaged, reflected, or of another session."""

    code = 15
