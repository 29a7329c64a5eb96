# SPDX-License-Identifier: Apache-2.0
"""One session of a command under way: its TPMS_AUTH_COMMAND, and the check of its TPMS_AUTH_RESPONSE.

Source: TPM 2.0 Library, Part 1, 17.6.3 to 17.6.5; Part 2, 10.13.2 and 10.13.3.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from prestocloud_sec.tpm._secrets import wipe
from prestocloud_sec.tpm.errors import ResponseHmacError, TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.session.auth_value import AuthValue
from prestocloud_sec.tpm.session.base import AUDIT_EXCLUSIVE, AUDIT_RESET, CONTINUE, Session, Use
from prestocloud_sec.tpm.session.cipher import BlockCipher

__all__ = ["Place", "malformed"]

_FIXED = 0xFF & ~(CONTINUE | AUDIT_EXCLUSIVE | AUDIT_RESET)
"""The bits of TPMA_SESSION that a response has as its command had them."""

_BYTES = tuple(bytes((number,)) for number in range(256))


def malformed(number: int, offset: int, expected: str) -> TpmFormatError:
    """Return the error for a part of a response's authorization area."""
    return TpmFormatError("another", where=f"session {number} of the response", offset=offset, expected=expected)


class Place:
    """One session of a command under way.

    Parameters
    ----------
    session : Session
        The session, which draws its nonce now.
    use : Use
        What it is to do.
    name : bytes
        The Name of the handle that it authorizes.
    value : AuthValue or None
        The value of that handle; None where it authorizes none.

    Attributes
    ----------
    attributes : int
        The TPMA_SESSION byte.
    nonce : bytes
        The caller's nonce.
    width : int
        Size of the session's part of the response.
    """

    __slots__ = ("attributes", "included", "key", "nonce", "plain", "session", "use", "value", "width")

    def __init__(self, session: Session, use: Use, name: bytes, value: AuthValue | None) -> None:
        self.session = session
        self.use = use
        self.value = value
        self.attributes = use.attributes
        self.key, self.included, self.plain = session.keying(name, value)
        self.nonce = nonce = session.draw_nonce()
        self.width = 5 + len(nonce) + (session.algorithm.size if self.key is not None else 0)

    def field(self, cp_hash: bytes, further: bytes) -> bytes:
        """Return the TPMS_AUTH_COMMAND; `further` are the nonces of other sessions that the HMAC is to cover."""
        session, nonce, attributes = self.session, self.nonce, _BYTES[self.attributes]
        if self.key is not None:
            made = self.key.copy()
            made.update(cp_hash + nonce + session.nonce_tpm + further + attributes)
            last = made.digest()
        else:
            last = self.plain
        return b"".join((session.prefix, nonce, attributes, len(last).to_bytes(2, "big"), last))

    def answer(
        self, number: int, area: bytes, offset: int, rp_hash: bytes, changed: AuthValue | None
    ) -> tuple[bytes, int]:
        """Return nonce and attributes of the TPMS_AUTH_RESPONSE at `offset`, which is checked.

        Parameters
        ----------
        number : int
            Which session it is, from 1, for errors.
        area : bytes
            The authorization area, which has `width` bytes from `offset` on.
        offset : int
            Where the session's part begins.
        rp_hash : bytes
            The digest of the response.
        changed : AuthValue or None
            What the command has made of the value, if it has.
        """
        size = len(self.nonce)
        end, stop = offset + 2 + size, offset + self.width
        if area[offset] << 8 | area[offset + 1] != size or area[end + 1] << 8 | area[end + 2] != stop - end - 3:
            raise malformed(number, offset, f"a nonce of {size} bytes, an HMAC of {stop - end - 3}")
        nonce, attributes = area[offset + 2 : end], area[end]
        if self.key is not None:
            key = self.key if changed is None or not self.included else self.session.keyed(changed.live())
            made = key.copy()
            made.update(rp_hash + nonce + self.nonce + _BYTES[attributes])
            if not compare_digest(made.digest(), area[end + 3 : stop]):
                raise ResponseHmacError(
                    "the HMAC is wrong",
                    where=f"session {number} of the response",
                    hint="somebody changed the response, or the authorization value is not the TPM's",
                )
        if (attributes ^ self.attributes) & _FIXED:
            raise malformed(number, end, f"the attributes of the command, 0x{self.attributes:02x}")
        return nonce, attributes

    def with_first(
        self,
        parameters: bytes,
        nonces: tuple[bytes, bytes],
        function: Callable[[BlockCipher, bytes, bytes, bytes], bytes],
    ) -> bytes:
        """Return a parameter area with its first parameter encrypted or decrypted.

        Parameters
        ----------
        parameters : bytes
            The area.
        nonces : tuple of bytes
            The newer and the older.
        function : callable
            `cfb_encrypt` or `cfb_decrypt`.

        Raises
        ------
        TpmFormatError
            If the area does not begin with a TPM2B.
        """
        cipher = self.session.cipher
        if cipher is None:  # `Use` and `authorize` see to that
            raise TpmMisuseError("no cipher", where=repr(self.session))
        stop = 2 + int.from_bytes(parameters[:2], "big")
        if len(parameters) < stop:
            raise TpmFormatError(f"{len(parameters)} bytes", where="parameters", expected=f"a TPM2B of {stop} first")
        key = self.session.cipher_key(self.value)
        changed = cipher.apply(self.session.algorithm, key, *nonces, parameters[2:stop], function)
        wipe(key)
        return parameters[:2] + changed + parameters[stop:]
