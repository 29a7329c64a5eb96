# SPDX-License-Identifier: Apache-2.0
"""What programs return to say what becomes of a packet, as far as helpers return it for them.

Sources: Linux ``include/uapi/linux/bpf.h``, ``enum xdp_action`` and ``BPF_F_*`` of the redirect helpers;
``include/uapi/linux/pkt_cls.h``, ``TC_ACT_*``.
"""

from __future__ import annotations

__all__ = [
    "ACTION_MASK",
    "BROADCAST",
    "EXCLUDE_INGRESS",
    "INGRESS",
    "TC_ACT_REDIRECT",
    "TC_ACT_SHOT",
    "XDP_ABORTED",
    "XDP_REDIRECT",
]

XDP_ABORTED, XDP_REDIRECT = 0, 4
"""Of XDP programs: an error, and the packet goes where a redirect helper was told."""
TC_ACT_SHOT, TC_ACT_REDIRECT = 2, 7
"""The same of programs that see an ``sk_buff``."""
INGRESS = 1
"""``BPF_F_INGRESS``, a flag of ``redirect``: the packet arrives at the interface, and does not leave by it."""
ACTION_MASK = 3
"""Bits of the flags of ``redirect_map`` that are returned where there is no target."""
BROADCAST, EXCLUDE_INGRESS = 8, 16
"""Flags of ``redirect_map``: to all entries of the map; but not to where the packet came from."""
