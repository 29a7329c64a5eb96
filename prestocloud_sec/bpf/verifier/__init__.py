# SPDX-License-Identifier: Apache-2.0
"""The verifier: the judgement of the Linux kernel over BPF programs, with reasons."""
