# SPDX-License-Identifier: Apache-2.0
"""Numbers more than one part of cjdns uses (cjdns v21.1, ``wire/Error.h``, ``wire/Control.h``, ``Version.h``)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CONTROL_HANDLE", "PROTOCOL_VERSION", "ErrorType"]

PROTOCOL_VERSION = 21
"""The protocol version this package speaks; compatible with 20, 21 and 22."""

CONTROL_HANDLE = 0xFFFFFFFF
"""First 32 bits after a switch header that mark an unencrypted control frame."""


class ErrorType(IntEnum):
    """Why a switch or a session gave a packet back (content of an ERROR control frame)."""

    MALFORMED_ADDRESS = 1
    FLOOD = 2
    LINK_LIMIT_EXCEEDED = 3
    OVERSIZE_MESSAGE = 4
    UNDERSIZE_MESSAGE = 5
    AUTHENTICATION = 6
    INVALID = 7
    UNDELIVERABLE = 8
    LOOP_ROUTE = 9
    RETURN_PATH_INVALID = 10
