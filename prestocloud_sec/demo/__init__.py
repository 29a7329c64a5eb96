# SPDX-License-Identifier: Apache-2.0
"""The guided end-to-end run."""
