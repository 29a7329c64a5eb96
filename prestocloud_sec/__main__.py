# SPDX-License-Identifier: Apache-2.0
"""``python -m prestocloud_sec`` is the command ``prestocloud-sec``."""

from prestocloud_sec.cli import main

if __name__ == "__main__":
    main()
