# SPDX-License-Identifier: Apache-2.0
"""Numbers of the helpers that code here has to know by name; `prestocloud_sec.bpf.helpers.prototypes` has all."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["HelperId"]


class HelperId(IntEnum):
    """What a call instruction holds for a helper (Linux ``include/uapi/linux/bpf.h``, ``enum bpf_func_id``)."""

    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    KTIME_GET_NS = 5
    GET_PRANDOM_U32 = 7
    GET_SMP_PROCESSOR_ID = 8
    TAIL_CALL = 12
    REDIRECT = 23
    SKB_LOAD_BYTES = 26
    CSUM_DIFF = 28
    REDIRECT_MAP = 51
    KTIME_GET_BOOT_NS = 125
    RINGBUF_RESERVE = 131
    KTIME_GET_COARSE_NS = 160
    FOR_EACH_MAP_ELEM = 164
    LOOP = 181
    STRNCMP = 182
    MAP_LOOKUP_PERCPU_ELEM = 195
    KTIME_GET_TAI_NS = 208
