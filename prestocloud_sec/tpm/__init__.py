# SPDX-License-Identifier: Apache-2.0
"""TPM 2.0 as a library: every structure and command, sessions, policies, attestation, sealing.

The names that most users need are here; each is imported from its module where it is first used, so that importing this
package stays cheap. A new public name is a row of `_HOMES` and an import for type checkers. Types of the specification
are in `prestocloud_sec.tpm.spec`, under the names that the TCG gave them.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if typing.TYPE_CHECKING:
    from prestocloud_sec.tpm.spec import *  # noqa: F403

if TYPE_CHECKING:
    from prestocloud_sec.tpm.attest.audit import verify_command_audit as verify_command_audit
    from prestocloud_sec.tpm.attest.audit import verify_session_audit as verify_session_audit
    from prestocloud_sec.tpm.attest.audit import verify_time as verify_time
    from prestocloud_sec.tpm.attest.nv import verify_nv as verify_nv
    from prestocloud_sec.tpm.attest.objects import verify_certify as verify_certify
    from prestocloud_sec.tpm.attest.objects import verify_creation as verify_creation
    from prestocloud_sec.tpm.attest.quote import verify_quote as verify_quote
    from prestocloud_sec.tpm.attest.reference import ReferencePolicy as ReferencePolicy
    from prestocloud_sec.tpm.attest.verdict import Grade as Grade
    from prestocloud_sec.tpm.attest.verdict import Verdict as Verdict
    from prestocloud_sec.tpm.client.asynchronous import AsyncClient as AsyncClient
    from prestocloud_sec.tpm.client.blocking import Client as Client
    from prestocloud_sec.tpm.client.opening import connect as connect
    from prestocloud_sec.tpm.client.opening import connect_async as connect_async
    from prestocloud_sec.tpm.client.protection import Protection as Protection
    from prestocloud_sec.tpm.codec.frame import CommandFrame as CommandFrame
    from prestocloud_sec.tpm.codec.frame import ResponseFrame as ResponseFrame
    from prestocloud_sec.tpm.codec.streams import decode_stream as decode_stream
    from prestocloud_sec.tpm.codec.tree import Decoded as Decoded
    from prestocloud_sec.tpm.codec.tree import decode_command as decode_command
    from prestocloud_sec.tpm.codec.tree import decode_response as decode_response
    from prestocloud_sec.tpm.errors import TpmFormatError as TpmFormatError
    from prestocloud_sec.tpm.errors import TpmInputError as TpmInputError
    from prestocloud_sec.tpm.errors import TpmMisuseError as TpmMisuseError
    from prestocloud_sec.tpm.errors import TpmResponseError as TpmResponseError
    from prestocloud_sec.tpm.errors import TransportError as TransportError
    from prestocloud_sec.tpm.errors import VerificationError as VerificationError
    from prestocloud_sec.tpm.eventlog.comparing import compare as compare
    from prestocloud_sec.tpm.eventlog.ima import ImaLog as ImaLog
    from prestocloud_sec.tpm.eventlog.log import EventLog as EventLog
    from prestocloud_sec.tpm.eventlog.replaying import replay as replay
    from prestocloud_sec.tpm.names import name_of as name_of
    from prestocloud_sec.tpm.names import qualified_name as qualified_name
    from prestocloud_sec.tpm.pcr.banks import PcrBanks as PcrBanks
    from prestocloud_sec.tpm.pcr.selection import PcrSelection as PcrSelection
    from prestocloud_sec.tpm.pem import public_from_pem as public_from_pem
    from prestocloud_sec.tpm.pem import public_to_pem as public_to_pem
    from prestocloud_sec.tpm.policy.policy import Policy as Policy
    from prestocloud_sec.tpm.protocol.attester import Attester as Attester
    from prestocloud_sec.tpm.protocol.pseudonyms import PseudonymIssuer as PseudonymIssuer
    from prestocloud_sec.tpm.protocol.relying_party import RelyingParty as RelyingParty
    from prestocloud_sec.tpm.protocol.verifier import Verifier as Verifier
    from prestocloud_sec.tpm.response_codes import ResponseCode as ResponseCode
    from prestocloud_sec.tpm.response_codes import explain as explain
    from prestocloud_sec.tpm.signatures import verify_signature as verify_signature
    from prestocloud_sec.tpm.use.keys import create_key as create_key
    from prestocloud_sec.tpm.use.keys import load_key as load_key
    from prestocloud_sec.tpm.use.keys import open_key as open_key
    from prestocloud_sec.tpm.use.sealing import reseal as reseal
    from prestocloud_sec.tpm.use.sealing import seal as seal
    from prestocloud_sec.tpm.use.sealing import unseal as unseal
    from prestocloud_sec.tpm.use.wrapped import WrappedObject as WrappedObject

_HOMES: dict[str, str] = {
    "AsyncClient": "client.asynchronous",
    "Attester": "protocol.attester",
    "Client": "client.blocking",
    "CommandFrame": "codec.frame",
    "Decoded": "codec.tree",
    "EventLog": "eventlog.log",
    "Grade": "attest.verdict",
    "ImaLog": "eventlog.ima",
    "PcrBanks": "pcr.banks",
    "PcrSelection": "pcr.selection",
    "Policy": "policy.policy",
    "Protection": "client.protection",
    "PseudonymIssuer": "protocol.pseudonyms",
    "ReferencePolicy": "attest.reference",
    "RelyingParty": "protocol.relying_party",
    "ResponseCode": "response_codes",
    "ResponseFrame": "codec.frame",
    "TpmFormatError": "errors",
    "TpmInputError": "errors",
    "TpmMisuseError": "errors",
    "TpmResponseError": "errors",
    "TransportError": "errors",
    "Verdict": "attest.verdict",
    "VerificationError": "errors",
    "Verifier": "protocol.verifier",
    "WrappedObject": "use.wrapped",
    "compare": "eventlog.comparing",
    "connect": "client.opening",
    "connect_async": "client.opening",
    "create_key": "use.keys",
    "decode_command": "codec.tree",
    "decode_response": "codec.tree",
    "decode_stream": "codec.streams",
    "explain": "response_codes",
    "load_key": "use.keys",
    "name_of": "names",
    "open_key": "use.keys",
    "public_from_pem": "pem",
    "public_to_pem": "pem",
    "qualified_name": "names",
    "replay": "eventlog.replaying",
    "reseal": "use.sealing",
    "seal": "use.sealing",
    "unseal": "use.sealing",
    "verify_certify": "attest.objects",
    "verify_command_audit": "attest.audit",
    "verify_creation": "attest.objects",
    "verify_nv": "attest.nv",
    "verify_quote": "attest.quote",
    "verify_session_audit": "attest.audit",
    "verify_signature": "signatures",
    "verify_time": "attest.audit",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    _named, __dir__ = lazy(__name__, _HOMES)

    def __getattr__(name: str) -> object:
        """Find a public name, or a type of the specification (all of them start with ``TPM``)."""
        if name.startswith("TPM"):
            from prestocloud_sec.tpm import spec

            if name in spec.__all__:
                return getattr(spec, name)
        return _named(name)
