# SPDX-License-Identifier: Apache-2.0
"""An object outside of its TPM: its public area, and its secret part as its parent has encrypted it.

No TPM but the one that has the parent can load it, so it may lie in any file. It is a value, and goes to JSON and back,
and to the files of tpm2-tools: a TPM2B_PUBLIC and a TPM2B_PRIVATE, as ``tpm2_create -u -r`` writes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm._secrets import buffer
from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmTrailingBytesError, TpmTruncatedError
from prestocloud_sec.tpm.names import name_of
from prestocloud_sec.tpm.policy.policy import Policy
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.spec.structures.basic import TPMT_TK_CREATION
    from prestocloud_sec.tpm.spec.structures.objects import TPMS_CREATION_DATA
    from prestocloud_sec.wire import BytesLike

__all__ = ["Creation", "WrappedObject", "from_hex", "json_object"]

_FORMAT = "prestocloud-sec TPM object"
_VERSION = 1
_KEYS = frozenset({"format", "version", "public", "private", "parent", "policy"})
_LONGEST = 1 << 20


class Creation(NamedTuple):
    """What a TPM says of how it made an object; `certify_creation` has it attested.

    Attributes
    ----------
    data : TPMS_CREATION_DATA
        The circumstances: PCRs, locality, parent.
    hash : bytes
        Their digest.
    ticket : TPMT_TK_CREATION
        Proof for TPM2_CertifyCreation, good in this TPM.
    """

    data: TPMS_CREATION_DATA
    hash: bytes
    ticket: TPMT_TK_CREATION


@dataclass(frozen=True, slots=True, repr=False)
class WrappedObject:
    """An object outside of its TPM.

    Attributes
    ----------
    public : TPMT_PUBLIC
        The public area.
    private : bytes
        The secret part, encrypted by the parent: what a TPM2B_PRIVATE holds.
    parent : bytes
        The Name of the parent, by which it is found again; empty if it is not known.
    policy : Policy, optional
        What has to hold for the object to be used; its digest is the public area's *authPolicy*.
    creation : Creation, optional
        How it was made, where this process has seen it. Not part of the value, and not kept in JSON.

    Raises
    ------
    TpmMisuseError
        If an argument is of the wrong type, or the policy is not that of the public area.
    """

    public: TPMT_PUBLIC
    private: bytes
    parent: bytes = b""
    policy: Policy | None = None
    creation: Creation | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.public, TPMT_PUBLIC):
            raise TpmMisuseError(shown(self.public), where="WrappedObject.public", expected="a TPMT_PUBLIC")
        for name in ("private", "parent"):
            object.__setattr__(self, name, buffer(getattr(self, name), f"WrappedObject.{name}"))
        if self.policy is None:
            return
        if not isinstance(self.policy, Policy):
            raise TpmMisuseError(shown(self.policy), where="WrappedObject.policy", expected="a Policy, or None")
        if self.policy.digest(self.public.nameAlg) != self.public.authPolicy:
            raise TpmMisuseError("another than the public area's", where="WrappedObject.policy")

    @property
    def name(self) -> bytes:
        """The Name of the object."""
        return name_of(self.public)

    # --- texts and files

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the object as JSON, which `from_json` takes back; nothing in it is a secret."""
        policy = None if self.policy is None else json.loads(self.policy.to_json())
        fields = {
            "format": _FORMAT,
            "version": _VERSION,
            "public": self.public.encode().hex(),
            "private": self.private.hex(),
            "parent": self.parent.hex(),
            "policy": policy,
        }
        return json.dumps(fields, indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | BytesLike) -> WrappedObject:
        """Return the object that `to_json` has written.

        Raises
        ------
        TpmFormatError
            If the text is no such JSON, or what is in it makes no object.
        TpmMisuseError
            If `text` is neither text nor bytes.
        """
        found = json_object(text, _KEYS, _FORMAT, _VERSION)
        public = TPMT_PUBLIC.decode(from_hex(found["public"], "public"))
        private, parent = (from_hex(found[key], key) for key in ("private", "parent"))
        policy = None if found["policy"] is None else Policy.from_json(json.dumps(found["policy"]))
        try:
            return cls(public, private, parent, policy)
        except PrestoCloudError as error:
            raise TpmFormatError(error.what, where=error.where, expected=error.expected) from error

    def to_files(self) -> tuple[bytes, bytes]:
        """Return what tpm2-tools have in the files of public and private part."""
        return tuple(len(part).to_bytes(2, "big") + part for part in (self.public.encode(), self.private))  # type: ignore[return-value]

    @classmethod
    def from_files(
        cls, public: BytesLike, private: BytesLike, *, parent: BytesLike = b"", policy: Policy | None = None
    ) -> WrappedObject:
        """Return the object that tpm2-tools have written.

        Parameters
        ----------
        public, private : bytes-like
            The contents of the files.
        parent : bytes-like
            The Name of the parent, which is not in the files.
        policy : Policy, optional
            The policy, of which only the digest is in the files.

        Raises
        ------
        TpmFormatError
            If they are no such files.
        TpmMisuseError
            If an argument is of the wrong type, or the policy is another.
        """
        area = TPMT_PUBLIC.decode(_unsized(public, "public"))
        return cls(area, _unsized(private, "private"), buffer(parent, "parent"), policy)

    def __repr__(self) -> str:
        kind = getattr(self.public.type, "name", shown(self.public.type))
        steps = "" if self.policy is None else f", policy {' >> '.join(type(s).__name__ for s in self.policy.steps)}"
        return f"<WrappedObject {kind}, name={self.name.hex()[:16]}..., {len(self.private)} bytes wrapped{steps}>"


def _unsized(data: BytesLike, where: str) -> bytes:
    """Return what a file with one TPM2B holds."""
    raw = octets(data, where)
    size = int.from_bytes(raw[:2], "big")
    if len(raw) < 2 or len(raw) - 2 < size:
        raise TpmTruncatedError(f"{len(raw)} bytes", where=where, expected=f"{size + 2}, as it begins")
    if len(raw) - 2 > size:
        raise TpmTrailingBytesError(f"{len(raw) - 2 - size} bytes too many", where=where, offset=size + 2)
    return raw[2:]


def json_object(text: str | BytesLike, keys: frozenset[str], form: str, version: int) -> dict[str, Any]:
    """Return the object that JSON of one of our formats holds; TpmFormatError if it is none, or has other keys."""
    raw = text if isinstance(text, str) else octets(text, "text")
    if len(raw) > _LONGEST:
        raise TpmFormatError(f"{len(raw)} characters", where="JSON", expected=f"at most {_LONGEST}")
    try:
        found = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise TpmFormatError("no JSON", where="text", expected="what to_json writes") from error
    if not isinstance(found, dict) or found.keys() != keys:
        raise TpmFormatError("other keys", where="JSON", expected=", ".join(sorted(keys)))
    if found["format"] != form or type(found["version"]) is not int or found["version"] != version:
        raise TpmFormatError(shown(found["format"]), where="JSON.format", expected=f"{form}, version {version}")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TpmFormatError("a key twice", where="JSON", expected="each key once")
    return found


def from_hex(value: Any, where: str) -> bytes:
    """Return the bytes of lower-case hexadecimal digits; TpmFormatError if it is anything else."""
    try:
        raw = bytes.fromhex(value)
    except (ValueError, TypeError) as error:
        raise TpmFormatError(shown(value), where=f"JSON.{where}", expected="hexadecimal digits") from error
    if raw.hex() != value:
        raise TpmFormatError("not as to_json writes it", where=f"JSON.{where}", expected="lower case, no blanks")
    return raw
