# SPDX-License-Identifier: Apache-2.0
"""Numbers of the helpers that code here has to know by name, and of the kernel functions that work here.

`prestocloud_sec.bpf.helpers.prototypes` has all helpers.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["FIRST_KFUNC", "GIVEN_KFUNCS", "HelperId", "KfuncId"]


class HelperId(IntEnum):
    """What a call instruction holds for a helper (Linux ``include/uapi/linux/bpf.h``, ``enum bpf_func_id``)."""

    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    KTIME_GET_NS = 5
    GET_PRANDOM_U32 = 7
    GET_SMP_PROCESSOR_ID = 8
    TAIL_CALL = 12
    GET_CGROUP_CLASSID = 17
    REDIRECT = 23
    SKB_LOAD_BYTES = 26
    CSUM_DIFF = 28
    REDIRECT_MAP = 51
    GET_LOCAL_STORAGE = 81
    KTIME_GET_BOOT_NS = 125
    RINGBUF_RESERVE = 131
    KTIME_GET_COARSE_NS = 160
    FOR_EACH_MAP_ELEM = 164
    TIMER_SET_CALLBACK = 170
    FIND_VMA = 180
    LOOP = 181
    STRNCMP = 182
    MAP_LOOKUP_PERCPU_ELEM = 195
    KTIME_GET_TAI_NS = 208
    USER_RINGBUF_DRAIN = 209


FIRST_KFUNC = 0x7001_0000
"""The first number of kernel functions that work here."""


class KfuncId(IntEnum):
    """Kernel functions, each by the number of the helper that a machine calls for it; programs call them by name.

    A kernel numbers its functions anew with every build. These numbers are in a range that it uses for no helper, and
    belong to one name for good: code that is kept on disk has them in it.
    """

    BPF_ITER_NUM_NEW = FIRST_KFUNC
    BPF_ITER_NUM_NEXT = FIRST_KFUNC + 1
    BPF_ITER_NUM_DESTROY = FIRST_KFUNC + 2
    BPF_ITER_BITS_NEW = FIRST_KFUNC + 3
    BPF_ITER_BITS_NEXT = FIRST_KFUNC + 4
    BPF_ITER_BITS_DESTROY = FIRST_KFUNC + 5

    @property
    def kfunc_name(self) -> str:
        """What programs call it by.

        >>> KfuncId.BPF_ITER_NUM_NEW.kfunc_name
        'bpf_iter_num_new'
        """
        return self.name.lower()


GIVEN_KFUNCS = 0x7100_0000
"""The first number of kernel functions that a user gives to a machine, in the order of their names."""
