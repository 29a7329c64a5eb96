# SPDX-License-Identifier: Apache-2.0
"""The machine that runs BPF programs: memory, the readable interpreter, its compiled twins, batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.bpf.vm.fault import Fault as Fault
    from prestocloud_sec.bpf.vm.fault import FaultKind as FaultKind
    from prestocloud_sec.bpf.vm.machine import Machine as Machine
    from prestocloud_sec.bpf.vm.result import BatchResult as BatchResult
    from prestocloud_sec.bpf.vm.result import Redirect as Redirect
    from prestocloud_sec.bpf.vm.result import Result as Result
    from prestocloud_sec.bpf.vm.runs import run as run
    from prestocloud_sec.bpf.vm.runs import run_batch as run_batch
    from prestocloud_sec.bpf.vm.trace import Step as Step
    from prestocloud_sec.bpf.vm.trace import Trace as Trace

_HOMES: dict[str, str] = {
    "BatchResult": "result",
    "Fault": "fault",
    "FaultKind": "fault",
    "Machine": "machine",
    "Redirect": "result",
    "Result": "result",
    "Step": "trace",
    "Trace": "trace",
    "run": "runs",
    "run_batch": "runs",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
