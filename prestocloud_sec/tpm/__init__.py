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
    from prestocloud_sec.tpm.errors import TpmFormatError as TpmFormatError
    from prestocloud_sec.tpm.errors import TpmInputError as TpmInputError
    from prestocloud_sec.tpm.errors import TpmMisuseError as TpmMisuseError
    from prestocloud_sec.tpm.errors import TpmResponseError as TpmResponseError
    from prestocloud_sec.tpm.errors import TransportError as TransportError

_HOMES: dict[str, str] = {
    "TpmFormatError": "errors",
    "TpmInputError": "errors",
    "TpmMisuseError": "errors",
    "TpmResponseError": "errors",
    "TransportError": "errors",
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
