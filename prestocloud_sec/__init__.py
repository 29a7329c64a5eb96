# SPDX-License-Identifier: Apache-2.0
"""The security layer of PrEstoCloud: three protocol libraries under one roof.

``prestocloud_sec.cjdns``
    Encrypted mesh networking: keys and addresses, CryptoAuth, switch, routing.

Importing this package costs milliseconds and brings in nothing but the standard library; each pillar is imported by
name, and imports numba and other heavy parts only where they are first needed.
"""

from prestocloud_sec.errors import InputError, MisuseError, PrestoCloudError, UnavailableError

__version__ = "0.1.0"

__all__ = ["InputError", "MisuseError", "PrestoCloudError", "UnavailableError", "__version__"]
