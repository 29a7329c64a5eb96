# SPDX-License-Identifier: Apache-2.0
"""Public Hypothesis strategies (extra ``testing``)."""
