# SPDX-License-Identifier: Apache-2.0
"""The command line, ``prestocloud-sec``: every subcommand is a thin call of the library.

With ``--json`` a command prints one JSON object, also when it fails (``{"error": {...}}``). The exit codes are those of
`ExitCode`. An error of this package is one line on standard error, never a traceback. This part of the house alone
imports click and rich.
"""

from __future__ import annotations

import click

from prestocloud_sec import __version__
from prestocloud_sec.cli.base import EPILOG, NAME, STDIN_LIMIT, Command, ExitCode
from prestocloud_sec.cli.bpf import bpf
from prestocloud_sec.cli.cjdns import cjdns
from prestocloud_sec.cli.demo import demo
from prestocloud_sec.cli.tpm import tpm

__all__ = ["STDIN_LIMIT", "ExitCode", "main"]


@click.group(cls=Command, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=NAME)
def main() -> None:
    """Use the security layer of PrEstoCloud from the command line."""


for command in (demo, cjdns, bpf, tpm):
    main.add_command(command)
