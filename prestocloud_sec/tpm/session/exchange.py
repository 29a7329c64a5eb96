# SPDX-License-Identifier: Apache-2.0
"""One command under way, and its response.

Sources: TPM 2.0 Library, Part 1, clauses 17 to 19 and 21; Part 3, 5.4 (session area).

Nothing of the sessions changes before every HMAC of a response has been checked, and its first parameter decrypted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import KeepsSecrets
from prestocloud_sec.tpm.errors import SessionStateError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.hashes import HashAlgorithm
from prestocloud_sec.tpm.session.auth_value import AuthValue
from prestocloud_sec.tpm.session.base import AUDIT, AUDIT_RESET
from prestocloud_sec.tpm.session.cipher import cfb_decrypt
from prestocloud_sec.tpm.session.place import Place, malformed

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["Exchange"]

_PASSWORD_ANSWER = b"\0\0\1\0\0"
_PASSWORD_WIDTH = len(_PASSWORD_ANSWER)


class Exchange(KeepsSecrets):
    """A command that was authorized, until its response comes; `authorize` makes one.

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
        "_head",
        "_open",
        "_places",
        "authorizations",
        "code",
        "parameters",
    )

    def __init__(
        self,
        code: int,
        head: bytes,
        places: list[Place | None],
        parameters: bytes,
        authorizations: bytes,
        cp_hashes: dict[HashAlgorithm, bytes],
        encrypting: Place | None,
        after: AuthValue | None,
    ) -> None:
        self.code = code
        self.authorizations = authorizations
        self.parameters = parameters
        self._head = head
        self._places = places
        """The sessions; None stands for a password."""
        self._cp_hashes = cp_hashes
        self._encrypting = encrypting
        self._after = after
        """What the command makes of the first handle's value, if it does."""
        self._open = True
        self._expected = 0
        for place in places:
            if place is None:
                self._expected += _PASSWORD_WIDTH
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
            If a response was accepted already, the command given up, or a session wiped.
        TpmMisuseError
            If an argument is not bytes-like.
        """
        self._check_open()
        received = parameters if type(parameters) is bytes else octets(parameters, "parameters")
        area = authorizations if type(authorizations) is bytes else octets(authorizations, "authorizations")
        if len(area) != self._expected:
            kind = TpmTruncatedError if len(area) < self._expected else TpmTrailingBytesError
            raise kind(f"{len(area)} bytes", where="authorization area of the response", expected=f"{self._expected}")
        rp_hashes: dict[HashAlgorithm, bytes] = {}
        answers: list[tuple[Place, bytes, int]] = []
        offset, changed = 0, self._after
        for number, place in enumerate(self._places, 1):
            if place is None:
                if area[offset : offset + _PASSWORD_WIDTH] != _PASSWORD_ANSWER:
                    raise malformed(number, offset, "an empty nonce, attributes 01, an empty HMAC")
                offset += _PASSWORD_WIDTH
            else:
                place.session.check_waiting()
                algorithm = place.session.algorithm
                if algorithm not in rp_hashes:
                    rp_hashes[algorithm] = algorithm.new(b"\0\0\0\0" + self._head + received).digest()
                answers.append((place, *place.answer(number, area, offset, rp_hashes[algorithm], changed)))
                offset += place.width
            changed = None  # it is the value of the first handle
        plain = received
        for place, nonce, _ in answers:
            if place is self._encrypting:
                plain = place.with_first(received, (nonce, place.nonce), cfb_decrypt)
        self._open = False
        for place, nonce, attributes in answers:
            session = place.session
            if place.attributes & AUDIT:
                cp_hash, rp_hash = self._cp_hashes[session.algorithm], rp_hashes[session.algorithm]
                session.audited(cp_hash, rp_hash, attributes, reset=bool(place.attributes & AUDIT_RESET))
            session.rolled(nonce, attributes)
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
