# SPDX-License-Identifier: Apache-2.0
"""The kernel's tests of its verifier: our verdict against that of Linux 6.18, as recorded.

What the recording kernel skipped, or could not load for reasons of its environment, is no case. Besides the verdict
itself, a program that the kernel refused for what it would do to memory (EACCES) has to be refused for that, and of
those, and of what it took, as many instructions and states have to be gone through. Of other refusals the kernel counts
some that are found here before any instruction is gone through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prestocloud_sec.bpf.verifier.corpus import Corpus
from tests.conformance.family import Case, Family

_NOT_TESTS = (
    *("file", "name", "generated", "n_insns", "skip_reason", "kernel_env_limited", "kfunc", "kfunc_fixups"),
    *("kfuncs_missing", "result", "result_unpriv", "errstr", "errstr_unpriv", "insn_processed", "runs", "func_info"),
    *("expected_xlated_hex", "unexpected_xlated_hex", "btf_hex", "kernel_log_tail", "kernel_differs", "kernel_runs"),
    *("kernel_insns_processed", "kernel_total_states", "kernel_peak_states", "kernel_errstr_match"),
    "kernel_retval_differs",
)
_ALIGNMENT = 3
"""Flags that say what is to be aligned; others make the kernel keep more states, which is not asked for here."""


def counted(document: Any) -> Sequence[Case]:
    """Return the tests that the recording kernel judged."""
    return [
        test
        for test in document["tests"]
        if test["kernel_6_18_verdict"] != "SKIP" and not test.get("kernel_env_limited")
    ]


def compare(case: Case, document: Case) -> None:
    (recorded,) = Corpus({"map_kinds": document["map_kinds"], "tests": [case]})
    verdict = recorded.judge()
    said = f"{verdict!r}, the kernel: {case['kernel_6_18_verdict']} {case['kernel_6_18_errno']}"
    assert verdict.accepted is {"ACCEPT": True, "REJECT": False}[case["kernel_6_18_verdict"]], said
    assert (case["kernel_6_18_errno"] is None) is verdict.accepted, said
    if case["kernel_6_18_errno"] == "EACCES":
        assert verdict.errno == "EACCES", said
    if case["kernel_6_18_errno"] in (None, "EACCES") and not case["test_flags"] & ~_ALIGNMENT:
        gone = verdict.processed, verdict.states
        assert gone == (case["kernel_insns_processed"], case["kernel_total_states"]), gone


FILES = {"verifier_selftests.json": Family(compare, frozenset(_NOT_TESTS), counted)}
