# SPDX-License-Identifier: Apache-2.0
"""The Internet checksum (RFC 1071), as control frames and IPv6's upper layers carry it.

The checksum is the one's complement of the one's complement sum of the data's 16-bit words; an odd last byte counts as
the *high* byte of a word whose low byte is zero. cjdns v21.1 (``util/Checksum.h``) adds words in the machine's own byte
order and stores the result in that order; since the sum does not depend on the order of bytes within words (RFC 1071,
section 2 (B)), the two bytes on the wire are those of the big-endian computation here.

Data that already contains its checksum sums to 0xffff, so that its own checksum is 0: that is how a receiver checks.

Two forms of the same function stand here: `internet_checksum_reference` adds word by word as the RFC says;
`internet_checksum` takes the data as one long number modulo 0xffff, which is the same sum because 2**16 is 1 modulo
0xffff. They differ in nothing; a property test holds them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec.cjdns._layout import view

if TYPE_CHECKING:
    from prestocloud_sec.wire import BytesLike

__all__ = ["checksum_holds", "internet_checksum", "internet_checksum_reference"]

_ONES = 0xFFFF


def internet_checksum_reference(data: BytesLike) -> int:
    """Return the checksum of `data`, added up word by word (RFC 1071, section 1).

    Parameters
    ----------
    data : bytes-like
        Any number of bytes; where the checksum goes must be zero.

    Returns
    -------
    int
        16 bits; its big-endian bytes are the two bytes to store.

    Raises
    ------
    CjdnsMisuseError
        If `data` is not bytes-like.

    Examples
    --------
    The example of RFC 1071, section 3, sums to ddf2:

    >>> hex(0xffff - internet_checksum_reference(bytes.fromhex("0001f203f4f5f6f7")))
    '0xddf2'
    """
    raw = view(data, "checksum data")
    total = 0
    for at in range(0, len(raw) - 1, 2):
        total += raw[at] << 8 | raw[at + 1]
    if len(raw) % 2:
        total += raw[-1] << 8
    while total > _ONES:
        total = (total >> 16) + (total & _ONES)
    return total ^ _ONES


def internet_checksum(data: BytesLike) -> int:
    """Return the checksum of `data`, the same number as `internet_checksum_reference`, quicker.

    Raises
    ------
    CjdnsMisuseError
        If `data` is not bytes-like.
    """
    raw = view(data, "checksum data")
    number = int.from_bytes(raw, "big")
    if len(raw) % 2:
        number <<= 8
    total = number % _ONES
    if total == 0 and number:
        total = _ONES  # folding a sum that is not zero never ends at zero, where the remainder does
    return total ^ _ONES


def checksum_holds(data: BytesLike) -> bool:
    """Whether `data`, which contains its checksum, is what the checksum was made of.

    Data of nothing but zeros never holds, as in cjdns.

    Raises
    ------
    CjdnsMisuseError
        If `data` is not bytes-like.
    """
    return internet_checksum(data) == 0
