# SPDX-License-Identifier: Apache-2.0
"""The engines by name, and what runs a machine on each."""

from __future__ import annotations

from typing import Any

from prestocloud_sec.bpf.vm import interpreter, reference
from prestocloud_sec.bpf.vm.compiler import engine as compiler

ENGINES = ("reference", "interpreter", "compiled")
EXECUTE: dict[str, Any] = {
    "reference": reference.execute,
    "interpreter": interpreter.execute,
    "compiled": compiler.execute,
}
