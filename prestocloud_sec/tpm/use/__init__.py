# SPDX-License-Identifier: Apache-2.0
"""What people do with a TPM, one call each, with safe defaults.

Every call takes a `Client` first. Secrets go to and from the TPM in sessions that are salted for one of its keys and
encrypt them; keys never leave it; what has to be kept outside is a value that goes to JSON and back.
"""
