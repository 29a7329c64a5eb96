# SPDX-License-Identifier: Apache-2.0
"""``pytest tests/conformance --vectors DIR``: every recorded case, compared with what the library does."""

from tests.conformance.harness import Vectors

vectors = Vectors()
