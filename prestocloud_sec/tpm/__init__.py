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
    from prestocloud_sec.tpm.names import name_of as name_of
    from prestocloud_sec.tpm.names import qualified_name as qualified_name
    from prestocloud_sec.tpm.response_codes import ResponseCode as ResponseCode
    from prestocloud_sec.tpm.response_codes import explain as explain

_HOMES: dict[str, str] = {
    "CommandFrame": "codec.frame",
    "Decoded": "codec.tree",
    "ResponseCode": "response_codes",
    "ResponseFrame": "codec.frame",
    "TpmFormatError": "errors",
    "TpmInputError": "errors",
    "TpmMisuseError": "errors",
    "TpmResponseError": "errors",
    "TransportError": "errors",
    "decode_command": "codec.tree",
    "decode_response": "codec.tree",
    "decode_stream": "codec.streams",
    "explain": "response_codes",
    "name_of": "names",
    "qualified_name": "names",
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
