# SPDX-License-Identifier: Apache-2.0
"""Authorizing a command with up to three sessions.

Sources: TPM 2.0 Library, Part 1, clauses 17 to 19 and 21; Part 3, 5.4 (session area) and 5.6 (authorization checks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import buffer, flag
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.session.auth_value import AuthValue, AuthValueLike, auth_value
from prestocloud_sec.tpm.session.base import AUDIT, DECRYPT, ENCRYPT, PasswordAuthorization, Session, Use
from prestocloud_sec.tpm.session.changes import AFTER
from prestocloud_sec.tpm.session.cipher import cfb_encrypt
from prestocloud_sec.tpm.session.exchange import Exchange
from prestocloud_sec.tpm.session.place import Place
from prestocloud_sec.wire import items_of, whole

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["MOST_SESSIONS", "authorize"]

MOST_SESSIONS = 3
"""The most sessions that a command can have (MAX_SESSION_NUM)."""

_PASSWORD_HEAD = b"\x40\0\0\x09\0\0"
_SESSIONS = Session, PasswordAuthorization
_TO_DO = AUDIT | DECRYPT | ENCRYPT


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
        If an argument has the wrong type, a handle has no session, or a session has nothing to do or what it cannot do;
        if a policy session is to encrypt with a value that its policy does not ask for: see
        `prestocloud_sec.tpm.session.cipher`.
    SessionStateError
        If a session has ended, lost its nonce, or has a command under way.
    """
    head = _u32(code)
    area = parameters if type(parameters) is bytes else octets(parameters, "parameters")
    found, values, uses = _names(names), _values(auths), _uses(sessions)
    _check_numbers(uses, values, found)
    find = AFTER.get(code)
    after = None if find is None else find(found, area)
    places = _places(uses, found, values)
    decrypting, encrypting = _roles(places, encryptable)
    for number, place in enumerate(places, 1):
        if place is not None and place.value is None and not place.attributes & _TO_DO:
            raise TpmMisuseError("nothing to do", where=f"session {number}", expected="audit, decrypt or encrypt")
    if decrypting is not None:
        area = _encrypted(decrypting, area)
    command = b"".join((head, *found, area))
    cp_hashes: dict[HashAlgorithm, bytes] = {}
    fields = []
    for index, place in enumerate(places):
        if place is None:
            fields.append(_password(uses[index].attributes, values[index]))
            continue
        algorithm = place.session.algorithm
        if algorithm not in cp_hashes:
            cp_hashes[algorithm] = algorithm.new(command).digest()
        further = _further(place, decrypting, encrypting) if index == 0 and values else b""
        fields.append(place.field(cp_hashes[algorithm], further))
    return Exchange(code, head, places, area, b"".join(fields), cp_hashes, encrypting, after)


# --- what the caller gives; the usual types are taken as they are, because this is done for every command


def _u32(code: int) -> bytes:
    try:
        return code.to_bytes(4, "big")
    except Exception:  # whatever a foreign object raises; `whole` says what is wrong
        return whole(code, "code", 0, 0xFFFFFFFF, error=TpmMisuseError).to_bytes(4, "big")


def _names(names: Sequence[BytesLike]) -> list[bytes]:
    if type(names) is not tuple and type(names) is not list:
        names = list(items_of(names, "names", "bytes", error=TpmMisuseError))
    return [name if type(name) is bytes else buffer(name, "name") for name in names]


def _values(auths: Sequence[AuthValueLike]) -> list[AuthValue]:
    if type(auths) is not tuple and type(auths) is not list:
        auths = list(items_of(auths, "auths", "authorization values", error=TpmMisuseError))
    return [auth if type(auth) is AuthValue else auth_value(auth) for auth in auths]


def _uses(sessions: Sequence[PasswordAuthorization | Session | Use]) -> list[Use]:
    if type(sessions) is not tuple and type(sessions) is not list:
        sessions = list(items_of(sessions, "sessions", "sessions", error=TpmMisuseError))
    uses = []
    for given in sessions:
        if isinstance(given, Use):
            uses.append(given)
        elif isinstance(given, _SESSIONS):
            uses.append(given.default)
        else:
            raise TpmMisuseError(f"{type(given).__name__} is no session", where="sessions", expected="sessions")
    return uses


def _check_numbers(uses: list[Use], values: list[AuthValue], names: list[bytes]) -> None:
    if not 1 <= len(uses) <= MOST_SESSIONS:
        raise TpmMisuseError(f"{len(uses)} sessions", where="sessions", expected=f"1 to {MOST_SESSIONS}")
    if len(values) > len(uses):
        raise TpmMisuseError(f"{len(uses)} sessions", where="sessions", expected=f"{len(values)}, one for each handle")
    if len(values) > len(names):
        raise TpmMisuseError(f"{len(values)} values", where="auths", expected=f"at most {len(names)}, one for a handle")


# --- what comes of it


def _places(uses: list[Use], names: list[bytes], values: list[AuthValue]) -> list[Place | None]:
    """Return the places of the sessions; None stands for a password."""
    places: list[Place | None] = []
    handles = len(values)
    for index, use in enumerate(uses):
        session = use.session
        name, value = (names[index], values[index]) if index < handles else (b"", None)
        if isinstance(session, PasswordAuthorization):
            if value is None:
                raise TpmMisuseError("a password authorizes no handle here", where="sessions", expected="a session")
            places.append(None)
            continue
        session.check_ready()
        if index and any(place is not None and place.session is session for place in places):
            raise TpmMisuseError("a session twice", where="sessions", expected="each session once")
        places.append(Place(session, use, name, value))
    return places


def _roles(places: list[Place | None], encryptable: tuple[bool, bool]) -> tuple[Place | None, Place | None]:
    """Return the sessions that encrypt the first parameters of the command and of the response, and set their bits."""
    if not isinstance(encryptable, tuple) or len(encryptable) != 2:
        raise TpmMisuseError(f"{type(encryptable).__name__}", where="encryptable", expected="two truth values")
    command, response = flag(encryptable[0], "encryptable"), flag(encryptable[1], "encryptable")
    able = [place for place in places if place is not None and place.session.cipher is not None]
    if not able:
        return None, None
    return _role(able, DECRYPT, "decrypt", possible=command), _role(able, ENCRYPT, "encrypt", possible=response)


def _role(able: list[Place], bit: int, name: str, *, possible: bool) -> Place | None:
    asked = [place for place in able if place.attributes & bit]
    if len(asked) > 1:
        raise TpmMisuseError(f"{len(asked)} sessions with {name}", where="sessions", expected="at most one")
    if asked and not possible:
        raise TpmMisuseError(f"{name}, though the first parameter is no TPM2B", where="sessions")
    free = [place for place in able if getattr(place.use, name) is None] if possible and not asked else asked
    if not free:
        return None
    chosen = next((place for place in free if place.session.proves(place.value)), free[0])
    value = chosen.value
    if value is not None and not value.is_empty and not chosen.session.proves(value):
        raise TpmMisuseError(
            f"a value that the policy does not ask for would be in the key of {name}, and nothing tells if it is wrong",
            where="sessions",
            expected="a further session that encrypts, an HMAC session with a cipher",
            hint="or none, and decrypt=False, encrypt=False in `use` of this one",
        )
    chosen.attributes |= bit
    return chosen


def _encrypted(place: Place, parameters: bytes) -> bytes:
    try:
        return place.with_first(parameters, (place.nonce, place.session.nonce_tpm), cfb_encrypt)
    except TpmFormatError as error:
        raise TpmMisuseError(error.what, where="parameters", expected=error.expected) from error


def _password(attributes: int, value: AuthValue) -> bytes:
    live = value.live()
    return _PASSWORD_HEAD + bytes((attributes, *divmod(len(live), 256))) + live


def _further(first: Place, decrypting: Place | None, encrypting: Place | None) -> bytes:
    """Return the nonces of other sessions that the first one vouches for, so that they cannot be left out."""
    further = b""
    if decrypting is not None and decrypting is not first:
        further = decrypting.session.nonce_tpm
    if encrypting is not None and encrypting is not first and encrypting is not decrypting:
        further += encrypting.session.nonce_tpm
    return further
