# SPDX-License-Identifier: Apache-2.0
"""Helpers that only translated classic programs call, under numbers that the kernel does not use."""

from __future__ import annotations

from prestocloud_sec.bpf.classic.private import HELPERS
from prestocloud_sec.bpf.helpers.registry import enter

__all__: list[str] = []

for _number, _function in HELPERS.items():
    enter(_number, _function)
