# SPDX-License-Identifier: Apache-2.0
"""BPF maps in user space, with the kernel's errors and edges."""
