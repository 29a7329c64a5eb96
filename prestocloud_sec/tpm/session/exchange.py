# SPDX-License-Identifier: Apache-2.0
"""One command and its response, authorized by up to three sessions.

Sources: TPM 2.0 Library, Part 1, clauses 17 to 19 and 21; Part 3, 5.4 (session area) and 5.6 (authorization checks).

`authorize` takes a command as bytes and gives an `Exchange`: the authorization area and the parameters to send. What
comes back goes into `Exchange.accept`, which gives the parameters of the response, or an error and nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import KeepsSecrets, buffer, flag
from prestocloud_sec.tpm.errors import (
    ResponseHmacError,
    SessionStateError,
    TpmFormatError,
    TpmMisuseError,
    TpmTrailingBytesError,
    TpmTruncatedError,
)
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.session.auth_value import AuthValue, AuthValueLike, auth_value
from prestocloud_sec.tpm.session.cipher import BlockCipher, cfb_decrypt, cfb_encrypt
from prestocloud_sec.tpm.session.sessions import (
    AUDIT,
    AUDIT_EXCLUSIVE,
    AUDIT_RESET,
    CONTINUE,
    DECRYPT,
    ENCRYPT,
    PasswordAuthorization,
    Session,
    Use,
)
from prestocloud_sec.wire import items_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Exchange", "auth_after", "authorize"]

MOST_SESSIONS = 3
_ANY = 0xFFFFFFFF
_PASSWORD_HEAD = b"\x40\0\0\x09\0\0"
_PASSWORD_ANSWER = b"\0\0\1\0\0"
_LOCKOUT = (0x4000000A).to_bytes(4, "big")
_FREE = CONTINUE | AUDIT_EXCLUSIVE | AUDIT_RESET
"""The bits of TPMA_SESSION that a response need not have as its command had them."""


class _Place:
    """One session of a command under way."""

    __slots__ = ("algorithm", "attributes", "included", "key", "nonce", "session", "value", "width")

    def __init__(self, session: Session, attributes: int, value: AuthValue | None) -> None:
        self.session = session
        self.algorithm = session.algorithm
        self.attributes = attributes
        self.value = value
        """Of the handle that the session authorizes; None where it authorizes none."""
        self.nonce = b""
        self.included = False
        """Whether the value is in the key."""
        self.key: Any = None
        """The keyed HMAC, or None where the field is empty, or the plain value."""
        self.width = 0
        """Size of the session's part of the response."""

    def prepare(self, name: bytes) -> None:
        """Draw the nonce, and find the key; `name` is that of the handle that the session authorizes."""
        session, value = self.session, self.value
        self.nonce = session.draw_nonce()
        self.width = 5 + len(self.nonce)
        if value is not None and session.is_plain:
            return
        self.included = value is not None and session.includes(name, value)
        live = value.live() if self.included and value is not None else None
        if live or session.is_always_keyed:
            self.key = session.keyed(live)
            self.width += self.algorithm.size

    def field(self, message: bytes) -> bytes:
        """Return the TPMS_AUTH_COMMAND; `message` is cpHash, then the nonces after the caller's."""
        attributes = bytes((self.attributes,))
        if self.key is not None:
            made = self.key.copy()
            size = self.algorithm.size
            made.update(message[:size] + self.nonce + message[size:] + attributes)
            last: bytes = made.digest()
        else:
            last = bytes(self.value.live()) if self.value is not None and self.session.is_plain else b""
        return self.session.prefix + self.nonce + attributes + len(last).to_bytes(2, "big") + last

    def answered(
        self, number: int, area: bytes, offset: int, rp_hash: bytes, changed: AuthValue | None
    ) -> tuple[bytes, int]:
        """Return nonce and attributes of the TPMS_AUTH_RESPONSE at `offset`, which is checked."""
        size = len(self.nonce)
        end, stop = offset + 2 + size, offset + self.width
        width = stop - end - 3
        if area[offset] << 8 | area[offset + 1] != size or area[end + 1] << 8 | area[end + 2] != width:
            raise _malformed(number, offset, f"a nonce of {size} bytes, an HMAC of {width}")
        nonce, attributes = area[offset + 2 : end], area[end]
        if self.key is not None:
            keyed = self.session.keyed(changed.live()) if changed is not None and self.included else self.key
            made = keyed.copy()
            made.update(rp_hash + nonce + self.nonce + area[end : end + 1])
            if not hmac.compare_digest(made.digest(), area[end + 3 : stop]):
                raise ResponseHmacError(
                    "the HMAC is wrong",
                    where=f"session {number} of the response",
                    hint="somebody changed the response, or the authorization value is not the TPM's",
                )
        if (attributes ^ self.attributes) & ~_FREE:
            raise _malformed(number, end, f"the attributes of the command, 0x{self.attributes:02x}")
        return nonce, attributes


def _first_buffer(parameters: bytes, where: str) -> int:
    """Return the size of the TPM2B at the beginning of a parameter area."""
    size = int.from_bytes(parameters[:2], "big")
    if len(parameters) < 2 or len(parameters) - 2 < size:
        raise TpmTruncatedError(
            f"{len(parameters)} bytes", where=where, expected="a TPM2B first", hint="its size is more than there is"
        )
    return size


def _first_value(_names: Sequence[bytes], parameters: bytes) -> AuthValue:
    size = _first_buffer(parameters, "parameters")
    return AuthValue(parameters[2 : 2 + size])


def _none_left(_names: Sequence[bytes], _parameters: bytes) -> AuthValue:
    return AuthValue()


def _cleared(names: Sequence[bytes], _parameters: bytes) -> AuthValue | None:
    return AuthValue() if names and names[0] == _LOCKOUT else None


_AFTER: dict[int, Callable[[Sequence[bytes], bytes], AuthValue | None]] = {
    0x011F: _none_left,  # NV_UndefineSpaceSpecial: the index is gone
    0x0126: _cleared,  # Clear empties the value of lockout, not that of platform
    0x0129: _first_value,  # HierarchyChangeAuth
    0x013B: _first_value,  # NV_ChangeAuth
    0x0183: _first_value,  # PCR_SetAuthValue
}
"""The commands after which the handle of the first session has another value, and how to find it (Part 1, 17.6.4).

TPM2_ObjectChangeAuth is not one: the object that is loaded keeps its value.
"""


def auth_after(code: int, names: Sequence[BytesLike], parameters: BytesLike) -> AuthValue | None:
    """Return the value that the first handle of a command has after it; None if it is the one it had before.

    Parameters
    ----------
    code : int
        The TPM_CC.
    names : sequence of bytes-like
        The Names of the handles.
    parameters : bytes-like
        The parameter area before encryption.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type.
    TpmTruncatedError
        If the command has a new value for its first parameter, and the parameters end before that does.
    """
    find = _AFTER.get(whole(code, "code", 0, _ANY, error=TpmMisuseError))
    found = [buffer(name, "name") for name in items_of(names, "names", "bytes", error=TpmMisuseError)]
    return None if find is None else find(found, octets(parameters, "parameters"))


class Exchange(KeepsSecrets):
    """A command that was authorized, until its response comes.

    Send the command with `authorizations` and `parameters`. Then call just one of: `accept` with the response,
    `refused` if the TPM answered with an error code or never got the command, `lost` if nobody knows. `accept` can be
    called again after it has refused a response: what was forged does not spoil what is genuine. The same bytes can be
    sent again as long as the TPM answers that it has not begun (TPM_RC_RETRY and its like).

    Attributes
    ----------
    code : int
        The TPM_CC.
    authorizations : bytes
        The authorization area: a TPMS_AUTH_COMMAND for each session, without the size before them.
    parameters : bytes
        The parameter area, encrypted where a session does that.
    """

    __slots__ = (
        "_after",
        "_cp_hashes",
        "_encrypting",
        "_expected",
        "_open",
        "_places",
        "authorizations",
        "code",
        "parameters",
    )

    def __init__(
        self,
        code: int,
        places: list[_Place | None],
        parameters: bytes,
        authorizations: bytes,
        cp_hashes: dict[HashAlgorithm, bytes],
        encrypting: _Place | None,
        after: AuthValue | None,
    ) -> None:
        self.code = code
        self.parameters = parameters
        self.authorizations = authorizations
        self._places = places
        self._cp_hashes = cp_hashes
        self._encrypting = encrypting
        self._after = after
        self._open = True
        self._expected = 0
        for place in places:
            if place is None:
                self._expected += 5
            else:
                self._expected += place.width
                place.session.began()

    def __repr__(self) -> str:
        sessions = len(self._places)
        return f"Exchange(code=0x{self.code:08x}, sessions={sessions}, {'open' if self._open else 'done'})"

    def accept(self, parameters: BytesLike, authorizations: BytesLike) -> bytes:
        """Return the parameters of the response, checked and decrypted; the sessions are ready for another command.

        Parameters
        ----------
        parameters : bytes-like
            The parameter area of the response: after the handle, if there is one, and after *parameterSize*.
        authorizations : bytes-like
            All that follows: a TPMS_AUTH_RESPONSE for each session.

        Raises
        ------
        ResponseHmacError
            If an HMAC is not the one of this response in this session. Nothing has changed.
        TpmFormatError
            If the area is not that of these sessions, or the first parameter not what was to be encrypted. Nothing has
            changed.
        SessionStateError
            If a response was accepted already, or the command given up.
        TpmMisuseError
            If an argument is not bytes-like.
        """
        self._check_open()
        received = octets(parameters, "parameters")
        area = octets(authorizations, "authorizations")
        if len(area) != self._expected:
            kind = TpmTruncatedError if len(area) < self._expected else TpmTrailingBytesError
            raise kind(f"{len(area)} bytes", where="authorization area of the response", expected=f"{self._expected}")
        prefix = b"\0\0\0\0" + self.code.to_bytes(4, "big") + received
        rp_hashes: dict[HashAlgorithm, bytes] = {}
        answers: list[tuple[bytes, int]] = []
        offset = 0
        for number, place in enumerate(self._places, 1):
            if place is None:
                if area[offset : offset + 5] != _PASSWORD_ANSWER:
                    raise _malformed(number, offset, "an empty nonce, attributes 01, an empty HMAC")
                offset += 5
                answers.append((b"", 0))
                continue
            algorithm = place.algorithm
            if algorithm not in rp_hashes:
                rp_hashes[algorithm] = algorithm.new(prefix).digest()
            changed = self._after if number == 1 else None
            answer = place.answered(number, area, offset, rp_hashes[algorithm], changed)
            answers.append(answer)
            offset += place.width
        plain = self._decrypted(received, answers)
        self._open = False
        for place, (nonce, attributes) in zip(self._places, answers, strict=True):
            if place is not None:
                self._roll(place, nonce, attributes, rp_hashes)
        return plain

    def refused(self) -> None:
        """Say that the TPM answered with an error code, or never got the command; the sessions are as they were.

        An error code has no HMAC, and whoever can change the answer can make one up. If the TPM did execute the
        command, it will refuse the next one of the same session.

        Raises
        ------
        SessionStateError
            If a response was accepted already, or the command given up.
        """
        self._close(known=True)

    def lost(self) -> None:
        """Say that no response will come; the sessions are of no use any more.

        Raises
        ------
        SessionStateError
            If a response was accepted already, or the command given up.
        """
        self._close(known=False)

    def _close(self, *, known: bool) -> None:
        self._check_open()
        self._open = False
        for place in self._places:
            if place is not None:
                place.session.ended(known=known)

    def _check_open(self) -> None:
        if not self._open:
            raise SessionStateError("is done", where=repr(self), expected="one response to one command")

    def _decrypted(self, received: bytes, answers: list[tuple[bytes, int]]) -> bytes:
        """Return the parameters with the first one in clear."""
        place = self._encrypting
        if place is None:
            return received
        nonce, _ = answers[self._places.index(place)]
        size = _first_buffer(received, "parameters of the response")
        return _changed(place, received, size, nonce, place.nonce, cfb_decrypt)

    def _roll(self, place: _Place, nonce: bytes, attributes: int, rp_hashes: dict[HashAlgorithm, bytes]) -> None:
        session, algorithm = place.session, place.algorithm
        if place.attributes & AUDIT:
            reset = bool(place.attributes & AUDIT_RESET)
            session.audited(self._cp_hashes[algorithm], rp_hashes[algorithm], attributes, reset=reset)
        session.rolled(nonce, attributes)


def _malformed(number: int, offset: int, expected: str) -> TpmFormatError:
    return TpmFormatError("another", where=f"session {number} of the response", offset=offset, expected=expected)


def _changed(
    place: _Place,
    parameters: bytes,
    size: int,
    newer: bytes,
    older: bytes,
    function: Callable[[BlockCipher, bytes, bytes, bytes], bytes],
) -> bytes:
    """Return a parameter area with its first parameter encrypted or decrypted by the session of a place."""
    session = place.session
    key = session._key + (b"" if place.value is None else place.value.live())
    if session.cipher is None:  # `Use` and `_attributes` see to that
        raise TpmMisuseError("no cipher", where=repr(session))
    buffer = session.cipher.apply(place.algorithm, key, newer, older, parameters[2 : 2 + size], function)
    return parameters[:2] + buffer + parameters[2 + size :]


def authorize(
    code: int,
    names: Sequence[BytesLike],
    parameters: BytesLike,
    sessions: Sequence[PasswordAuthorization | Session | Use],
    auths: Sequence[AuthValueLike] = (),
    *,
    encryptable: tuple[bool, bool] = (False, False),
) -> Exchange:
    """Authorize a command.

    Parameters
    ----------
    code : int
        The TPM_CC.
    names : sequence of bytes-like
        The Name of each handle in the handle area, in order.
    parameters : bytes-like
        The parameter area, in clear.
    sessions : sequence
        One to three sessions, or what `Session.use` makes of them. The first ones authorize the handles that need it,
        in order; the rest encrypt or audit.
    auths : sequence of AuthValue, bytes-like or str
        The authorization value of each handle that needs authorization, in order; those handles come first.
    encryptable : tuple of bool
        Whether the first parameter of the command, and that of its response, is a TPM2B.

    Returns
    -------
    Exchange
        What to send, and what takes the response.

    Raises
    ------
    TpmMisuseError
        If an argument has the wrong type, a handle has no session, or a session has nothing to do or what it cannot do.
    SessionStateError
        If a session has ended, lost its nonce, or has a command under way.
    """
    number = whole(code, "code", 0, _ANY, error=TpmMisuseError)
    area = octets(parameters, "parameters")
    found = [buffer(name, "name") for name in items_of(names, "names", "bytes", error=TpmMisuseError)]
    values = [auth_value(auth) for auth in items_of(auths, "auths", "authorization values", error=TpmMisuseError)]
    uses = [_use(given) for given in items_of(sessions, "sessions", "sessions", error=TpmMisuseError)]
    _check_numbers(uses, values, found)
    possible = _pair(encryptable)
    places = _placed(uses, values)
    decrypting = _role(0, uses, places, possible=possible[0])
    encrypting = _role(1, uses, places, possible=possible[1])
    after = _AFTER[number](found, area) if number in _AFTER else None
    for index, place in enumerate(places):
        if place is not None:
            if place.value is None and not place.attributes & (AUDIT | DECRYPT | ENCRYPT):
                raise TpmMisuseError(
                    "nothing to do", where=f"session {index + 1}", expected="audit, decrypt or encrypt"
                )
            place.prepare(found[index] if index < len(found) else b"")
    if decrypting is not None:
        size = _first_buffer(area, "parameters")
        area = _changed(decrypting, area, size, decrypting.nonce, decrypting.session.nonce_tpm, cfb_encrypt)
    head = number.to_bytes(4, "big") + b"".join(found) + area
    cp_hashes: dict[HashAlgorithm, bytes] = {}
    fields = []
    for index, place in enumerate(places):
        if place is None:
            value = values[index].live()
            fields.append(_PASSWORD_HEAD + bytes((uses[index].attributes, *divmod(len(value), 256))) + value)
            continue
        algorithm = place.algorithm
        if algorithm not in cp_hashes:
            cp_hashes[algorithm] = algorithm.new(head).digest()
        message = cp_hashes[algorithm] + place.session.nonce_tpm
        if index == 0 and values:
            message += _further(place, decrypting, encrypting)
        fields.append(place.field(message))
    return Exchange(number, places, area, b"".join(fields), cp_hashes, encrypting, after)


def _further(first: _Place, decrypting: _Place | None, encrypting: _Place | None) -> bytes:
    """Return the nonces of other sessions that the first one vouches for, so that they cannot be left out."""
    further = b""
    if decrypting is not None and decrypting is not first:
        further = decrypting.session.nonce_tpm
    if encrypting is not None and encrypting is not first and encrypting is not decrypting:
        further += encrypting.session.nonce_tpm
    return further


def _use(given: object) -> Use:
    if isinstance(given, Use):
        return given
    if isinstance(given, Session | PasswordAuthorization):
        return given.default
    raise TpmMisuseError(f"{type(given).__name__} is no session", where="sessions", expected="sessions")


def _pair(encryptable: object) -> tuple[bool, bool]:
    if isinstance(encryptable, tuple) and len(encryptable) == 2:
        return flag(encryptable[0], "encryptable"), flag(encryptable[1], "encryptable")
    raise TpmMisuseError(f"{type(encryptable).__name__}", where="encryptable", expected="two truth values")


def _check_numbers(uses: list[Use], values: list[AuthValue], names: list[bytes]) -> None:
    if not 1 <= len(uses) <= MOST_SESSIONS:
        raise TpmMisuseError(f"{len(uses)} sessions", where="sessions", expected=f"1 to {MOST_SESSIONS}")
    if len(values) > len(uses):
        raise TpmMisuseError(f"{len(uses)} sessions", where="sessions", expected=f"{len(values)}, one for each handle")
    if len(values) > len(names):
        raise TpmMisuseError(f"{len(values)} values", where="auths", expected=f"at most {len(names)}, one for a handle")


def _placed(uses: list[Use], values: list[AuthValue]) -> list[_Place | None]:
    """Return the places of the sessions, without what is left to choose; None stands for a password."""
    places: list[_Place | None] = []
    met: list[Session] = []
    for index, use in enumerate(uses):
        session = use.session
        value = values[index] if index < len(values) else None
        if isinstance(session, PasswordAuthorization):
            if value is None:
                raise TpmMisuseError("a password authorizes no handle here", where="sessions", expected="a session")
            places.append(None)
            continue
        session.check_ready()
        if any(session is other for other in met):
            raise TpmMisuseError("a session twice", where="sessions", expected="each session once")
        met.append(session)
        places.append(_Place(session, use.attributes, value))
    return places


_ROLES = ((DECRYPT, "decrypt", "command"), (ENCRYPT, "encrypt", "response"))


def _role(which: int, uses: list[Use], places: list[_Place | None], *, possible: bool) -> _Place | None:
    """Return the session that encrypts the first parameter of the command, or of the response, and set its bit."""
    bit, name, what = _ROLES[which]
    asked = [place for place in places if place is not None and place.attributes & bit]
    if len(asked) > 1:
        raise TpmMisuseError(f"{len(asked)} sessions with {name}", where="sessions", expected="at most one")
    if asked and not possible:
        raise TpmMisuseError(f"{name}, though the first parameter of the {what} is no TPM2B", where="sessions")
    if asked or not possible:
        return asked[0] if asked else None
    for use, place in zip(uses, places, strict=True):
        if place is not None and getattr(use, name) is None and place.session.cipher is not None:
            place.attributes |= bit
            return place
    return None
