# SPDX-License-Identifier: Apache-2.0
"""What a TPM attests, one call each: PCRs, keys, how they were made, NV indices, time, and what it was told to do.

Each call returns an `Attestation`: the statement and its signature, with what a verifier needs besides. It goes to JSON
and back, and `prestocloud_sec.tpm.attest` verifies it without a TPM.

Sources: TPM 2.0 Library, Part 1, clause 31 (attestation); Part 3, clause 18 and 31.16.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm._given import instance, octets
from prestocloud_sec.tpm.client.handles import Handle
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError
from prestocloud_sec.tpm.eventlog.comparing import pcr_values
from prestocloud_sec.tpm.hashes import HashName, hash_of
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.tpm.session import PASSWORD
from prestocloud_sec.tpm.signatures import signature_hash
from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_RH
from prestocloud_sec.tpm.spec.structures.attestation import TPMS_ATTEST
from prestocloud_sec.tpm.spec.structures.schemes import TPMT_SIG_SCHEME, TPMT_SIGNATURE
from prestocloud_sec.tpm.use._doing import client_of, handle_of
from prestocloud_sec.tpm.use.nv import NvSpace
from prestocloud_sec.tpm.use.pcrs import Values, read_pcrs
from prestocloud_sec.tpm.use.private_keys import TpmKey
from prestocloud_sec.tpm.use.wrapped import Creation, WrappedObject, from_hex, json_object
from prestocloud_sec.wire import shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.client import Client
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.wire import BytesLike

__all__ = ["Attestation", "attest_time", "certify", "certify_creation", "certify_nv", "quote"]

_FORMAT, _VERSION = "prestocloud-sec TPM attestation", 1
_KEYS = frozenset({"format", "version", "attest", "signature", "pcrs"})
_KEYS_OWN_SCHEME = TPMT_SIG_SCHEME(TPM_ALG_ID.NULL, None)
_TRIES = 8


@dataclass(frozen=True, slots=True, repr=False)
class Attestation:
    """A statement of a TPM, signed.

    Attributes
    ----------
    attest : bytes
        The statement, as it was signed: a TPMS_ATTEST.
    signature : TPMT_SIGNATURE
        The signature.
    pcrs : mapping of int to mapping of int to bytes
        Of a quote, the values that were quoted, by bank and PCR; else empty.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type.
    """

    attest: bytes
    signature: TPMT_SIGNATURE
    pcrs: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "attest", octets(self.attest, "Attestation.attest", most=0xFFFF))
        instance(self.signature, TPMT_SIGNATURE, "Attestation.signature")
        held = pcr_values(self.pcrs)
        frozen = {bank: MappingProxyType(dict(sorted(pcrs.items()))) for bank, pcrs in sorted(held.items())}
        object.__setattr__(self, "pcrs", MappingProxyType(frozen))

    def __hash__(self) -> int:
        return hash((self.attest, self.signature))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.attest, self.signature, {bank: dict(pcrs) for bank, pcrs in self.pcrs.items()})

    @property
    def statement(self) -> TPMS_ATTEST:
        """The statement, read. It is worth nothing before the signature was verified."""
        return TPMS_ATTEST.decode(self.attest)

    @property
    def selection(self) -> PcrSelection:
        """The PCRs whose values are here."""
        chosen: dict[HashName, list[int]] = {bank: list(pcrs) for bank, pcrs in self.pcrs.items()}
        return PcrSelection.of(chosen)

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return it as JSON, which `from_json` takes back without loss."""
        pcrs = {
            hash_of(bank).name: {str(pcr): value.hex() for pcr, value in values.items()}
            for bank, values in self.pcrs.items()
        }
        fields = {
            "format": _FORMAT,
            "version": _VERSION,
            "attest": self.attest.hex(),
            "signature": self.signature.encode().hex(),
            "pcrs": pcrs,
        }
        return json.dumps(fields, indent=indent)

    @classmethod
    def from_json(cls, text: str | BytesLike) -> Attestation:
        """Return what `to_json` has written. Whether it is true is not looked at here.

        Raises
        ------
        TpmFormatError
            If the text is no such JSON.
        TpmMisuseError
            If `text` is neither text nor bytes.
        """
        found = json_object(text, _KEYS, _FORMAT, _VERSION)
        signature = TPMT_SIGNATURE.decode(from_hex(found["signature"], "signature"))
        given = found["pcrs"]
        if not isinstance(given, dict) or not all(isinstance(pcrs, dict) for pcrs in given.values()):
            raise TpmFormatError(shown(given), where="JSON.pcrs", expected="an object of banks")
        known = {str(number): number for number in range(256)}
        pcrs: dict[str, dict[int, bytes]] = {}
        for bank, values in given.items():
            if not set(values) <= set(known):
                raise TpmFormatError(shown(list(values)), where=f"JSON.pcrs.{shown(bank)}", expected="PCRs")
            pcrs[bank] = {known[pcr]: from_hex(value, f"pcrs.{pcr}") for pcr, value in values.items()}
        try:
            return cls(from_hex(found["attest"], "attest"), signature, pcrs)  # type: ignore[arg-type]
        except PrestoCloudError as error:
            raise TpmFormatError(error.what, where=error.where, expected=error.expected) from error

    def __repr__(self) -> str:
        quoted = f", {self.selection}" if self.pcrs else ""
        kind = getattr(self.signature.sigAlg, "name", shown(self.signature.sigAlg))
        return f"<Attestation of {len(self.attest)} bytes, signed by {kind}{quoted}>"


def quote(client: Client, key: TpmKey, selection: SelectionLike, nonce: BytesLike) -> Attestation:
    """Have the values of PCRs attested.

    Parameters
    ----------
    client : Client
        The TPM.
    key : RsaKey or EccKey
        The attestation key, as `create_ak` makes it.
    selection : PcrSelection, str or mapping
        The PCRs.
    nonce : bytes-like
        What the verifier has sent, so that the quote cannot be an old one.

    Returns
    -------
    Attestation
        With the values that were quoted: PCRs that change meanwhile are read and quoted again.

    Raises
    ------
    TpmFormatError
        If they never stand still.
    TpmMisuseError
        If an argument is not what it should be.
    TpmResponseError
        If the TPM refuses.

    >>> from prestocloud_sec.tpm import connect, verify_quote
    >>> from prestocloud_sec.tpm.use.keys import create_ak
    >>> with connect("embedded:") as client, create_ak(client) as ak:
    ...     quoted = quote(client, ak, "sha256:0,7", b"a nonce")
    ...     verdict = verify_quote(quoted.attest, quoted.signature, ak.public, nonce=b"a nonce", pcrs=quoted.pcrs)
    >>> verdict.failed, quoted
    ((), <Attestation of 120 bytes, signed by ECDSA, sha256:0,7>)
    """
    tpm, held = client_of(client), instance(key, TpmKey, "key")
    wanted, challenge = PcrSelection.of(selection), octets(nonce, "nonce")
    for _ in range(_TRIES):
        values = read_pcrs(tpm, wanted)
        with held.authorized() as sessions:
            made = tpm.quote(held.handle, challenge, _KEYS_OWN_SCHEME, wanted.to_list(), sessions=sessions)
        if _is_of(made.quoted, made.signature, values):
            return Attestation(made.quoted, made.signature, values)
    raise TpmFormatError("PCRs change all the time", where="Quote", hint="quote fewer of them")


def _is_of(attest: bytes, signature: TPMT_SIGNATURE, values: Values) -> bool:
    info: Any = TPMS_ATTEST.decode(attest).attested
    quoted = PcrSelection.of_list(info.pcrSelect)
    return bool(quoted.digest(values, signature_hash(signature)) == info.pcrDigest)


def certify(client: Client, handle: Handle, key: TpmKey, nonce: BytesLike) -> Attestation:
    """Have it attested that an object is in this TPM.

    Parameters
    ----------
    client : Client
        The TPM.
    handle : Handle
        The object; of a `TpmKey` its `handle`.
    key : RsaKey or EccKey
        The attestation key.
    nonce : bytes-like
        What the verifier has sent.
    """
    tpm, held = client_of(client), instance(key, TpmKey, "key")
    target, challenge = handle_of(handle, "handle"), octets(nonce, "nonce")
    with held.authorized() as sessions:
        both = _after_first(sessions)
        made = tpm.certify(target, held.handle, challenge, _KEYS_OWN_SCHEME, sessions=both)
    return Attestation(made.certifyInfo, made.signature)


def certify_creation(
    client: Client, handle: Handle, creation: Creation | WrappedObject, key: TpmKey, nonce: BytesLike
) -> Attestation:
    """Have it attested how an object was made: by this TPM, and in which state of it.

    Parameters
    ----------
    client : Client
        The TPM.
    handle : Handle
        The object, loaded.
    creation : Creation or WrappedObject
        What the TPM said when it made the object.
    key : RsaKey or EccKey
        The attestation key.
    nonce : bytes-like
        What the verifier has sent.
    """
    tpm, held = client_of(client), instance(key, TpmKey, "key")
    told = creation.creation if isinstance(creation, WrappedObject) else creation
    if not isinstance(told, Creation):
        hint = "it is not kept in JSON; have the object attested when it is made"
        raise TpmMisuseError("how it was made is not known", where="creation", hint=hint)
    target, challenge = handle_of(handle, "handle"), octets(nonce, "nonce")
    with held.authorized() as sessions:
        made = tpm.certify_creation(
            held.handle, target, challenge, told.hash, _KEYS_OWN_SCHEME, told.ticket, sessions=sessions
        )
    return Attestation(made.certifyInfo, made.signature)


def certify_nv(
    client: Client, space: NvSpace, key: TpmKey, nonce: BytesLike, *, size: int | None = None, offset: int = 0
) -> Attestation:
    """Have it attested what is in an NV index.

    Parameters
    ----------
    client : Client
        The TPM.
    space : NvSpace
        The index.
    key : RsaKey or EccKey
        The attestation key.
    nonce : bytes-like
        What the verifier has sent.
    size, offset : int
        Which bytes; all of them if no size is given. Both 0: a digest of all, where the TPM can do that.
    """
    tpm, held = client_of(client), instance(key, TpmKey, "key")
    index, challenge = instance(space, NvSpace, "space"), octets(nonce, "nonce")
    start = whole(offset, "offset", 0, 0xFFFF, error=TpmMisuseError)
    count = max(index.size - start, 0) if size is None else whole(size, "size", 0, 0xFFFF, error=TpmMisuseError)
    with held.authorized() as sessions, index._reading() as (who, its):
        both = None if sessions is None and its is None else [*_one(sessions), *_one(its)]
        made = tpm.nv_certify(held.handle, who, index.handle, challenge, _KEYS_OWN_SCHEME, count, start, sessions=both)
    return Attestation(made.certifyInfo, made.signature)


def attest_time(client: Client, key: TpmKey, nonce: BytesLike) -> Attestation:
    """Have time and clock attested, for which the endorsement hierarchy authorizes.

    Parameters
    ----------
    client : Client
        The TPM.
    key : RsaKey or EccKey
        The attestation key.
    nonce : bytes-like
        What the verifier has sent.
    """
    tpm, held = client_of(client), instance(key, TpmKey, "key")
    challenge = octets(nonce, "nonce")
    with held.authorized() as sessions:
        both = _after_first(sessions)
        made = tpm.get_time(TPM_RH.ENDORSEMENT, held.handle, challenge, _KEYS_OWN_SCHEME, sessions=both)
    return Attestation(made.timeInfo, made.signature)


def _one(sessions: list[Any] | None) -> Iterator[Any]:
    """Yield the session of a handle: a password where none was chosen for it."""
    yield from [PASSWORD] if sessions is None else sessions


def _after_first(sessions: list[Any] | None) -> list[Any] | None:
    """Return sessions for two handles, of which the key is the second."""
    return None if sessions is None else [*_one(None), *sessions]
