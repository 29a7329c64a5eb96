# SPDX-License-Identifier: Apache-2.0
"""The codec of TPM 2.0: derived from the declarations in `prestocloud_sec.tpm.spec`, once for each type.

``fields.py`` reads a declaration, ``walk.py`` is the plain codec, ``generate.py`` writes the straight-line text that
does the same, ``install.py`` gives it to the class. ``frame.py`` knows what is around parameters, ``streams.py`` and
``tree.py`` show captured commands and responses.
"""
