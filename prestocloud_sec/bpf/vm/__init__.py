# SPDX-License-Identifier: Apache-2.0
"""The machine that runs BPF programs: memory, the readable interpreter, its compiled twins, batches."""
