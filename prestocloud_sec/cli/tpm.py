# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec tpm``: traffic, response codes and policies explained, and the commands for a TPM that is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import EPILOG, ExitCode, json_option, new_console, printable, show_rows
from prestocloud_sec.cli.tpm_device import info, pcr, random, raw
from prestocloud_sec.cli.tpm_input import bytes_of, data_of
from prestocloud_sec.cli.tpm_verify import eventlog, verify_quote
from prestocloud_sec.errors import MisuseError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm import Decoded, ResponseCode

__all__ = ["tpm"]


@click.group(epilog=EPILOG)
def tpm() -> None:
    """TPM 2.0: captured traffic, response codes, policies, event logs and quotes, and a TPM that is there.

    Without --tpm the commands that need a TPM use one in this process (libtpms), which is made for them and gone
    afterwards.
    """


for command in (info, pcr, random, raw, eventlog, verify_quote):
    tpm.add_command(command)


# --- Traffic ---------------------------------------------------------------------------------------------


@tpm.command(short_help="Take captured commands and responses apart.")
@click.argument("source", metavar="[FILE|-|HEX]", default="-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["hex", "swtpm", "pcap", "bytes"]),
    help="What it is: hexadecimal text, a log of swtpm, a pcap or pcapng file, bytes.  [default: what it looks like]",
)
@click.option("--lenient", is_flag=True, help="Keep numbers that no table has, such as those of vendors.")
@click.option("--secrets", is_flag=True, help="Show passwords, keys and sealed data too.")
@json_option
@click.pass_context
def decode(ctx: click.Context, source: str, form: Any, lenient: bool, secrets: bool, as_json: bool) -> None:
    """Take captured commands and responses apart, field by field.

    Any number of messages may follow one another. A message that is broken is told in its place, the others are decoded
    all the same, and the exit code is 1.
    """
    from prestocloud_sec.tpm import decode_stream
    from prestocloud_sec.tpm.errors import TpmFormatError, TpmTruncatedError

    found: list[Decoded | TpmFormatError]
    try:
        found = decode_stream(bytes_of(source, "FILE"), form=form, lenient=lenient)
    except TpmTruncatedError as error:  # the first message was cut off: told in its place, as any other
        found = [error]
    broken = any(isinstance(message, TpmFormatError) for message in found)
    if as_json:
        print(json.dumps({"messages": [_plain(message, secrets=secrets) for message in found]}))
    else:
        console = new_console()
        for number, message in enumerate(found):
            text = f"not decoded: {message}" if isinstance(message, TpmFormatError) else message.text(secrets=secrets)
            console.print(("\n" if number else "") + "\n".join(map(printable, text.splitlines())))
    if broken:
        ctx.exit(ExitCode.FAILED)


def _plain(message: Decoded | Exception, *, secrets: bool) -> dict[str, Any]:
    from prestocloud_sec.tpm import Decoded

    return message.to_dict(secrets=secrets) if isinstance(message, Decoded) else {"problem": str(message)}


# --- Response codes --------------------------------------------------------------------------------------


@tpm.command(short_help="Say what a response code means.")
@click.argument("rc")
@click.option("--command", metavar="NAME", help="The command that it answers, such as Unseal: names what is at fault.")
@json_option
def explain(rc: str, command: str | None, as_json: bool) -> None:
    """Say what RC means: a number, such as 0x98e or 2446, or a name, such as AUTH_FAIL."""
    from prestocloud_sec.tpm import explain as explained
    from prestocloud_sec.tpm.spec.commands import COMMANDS_BY_NAME

    if command is not None:
        wanted = command.upper().removeprefix("TPM2_").removeprefix("TPM_CC_")
        found_name = next((name for name in COMMANDS_BY_NAME if name.upper() == wanted), None)
        if found_name is None:
            raise MisuseError(f"no command {shown(command)}", where="--command", expected="a name such as Unseal")
        command = found_name
    found = explained(_code_of(rc), command)
    if as_json:
        print(json.dumps(_fields_of(found)))
        return
    values = {name: value for name, value in _fields_of(found).items() if value is not None}
    show_rows((name.replace("_", " "), value) for name, value in values.items())


def _code_of(text: str) -> int:
    """Return the response code that a number or a name is."""
    from prestocloud_sec.tpm.spec.constants import TPM_RC

    name = text.upper().removeprefix("TPM_RC_")
    if name in TPM_RC.__members__:
        return int(TPM_RC[name])
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= 0xFFFFFFFF:
        raise MisuseError(
            f"{shown(text)} is no response code", where="RC", expected="a name, or a number of 32 bits such as 0x98e"
        )
    return number


def _fields_of(found: ResponseCode) -> dict[str, Any]:
    from prestocloud_sec.tpm.response_codes import LAYERS

    return {
        "rc": f"0x{found.rc:03x}",
        "name": found.name,
        "words": found.words,
        "kind": found.kind,
        "layer": LAYERS.get(found.layer, f"layer {found.layer}"),
        "command": found.command,
        "parameter": found.parameter,
        "handle": found.handle,
        "session": found.session,
        "culprit": found.culprit,
        "hint": found.hint,
    }


# --- Policies --------------------------------------------------------------------------------------------


@tpm.command(short_help="Show a policy and its digest.")
@click.argument("file", metavar="FILE")
@click.option("--hash", "algorithm", default="sha256", show_default=True, help="The nameAlg of the object.")
@json_option
def policy(file: str, algorithm: str, as_json: bool) -> None:
    """Show the policy in FILE, which Policy.to_json has written, as a tree, and its digest; no TPM is needed."""
    from prestocloud_sec.tpm.policy import Policy

    found = Policy.from_json(data_of(file))
    digests = found.digests(algorithm)
    told = found.digest(algorithm).hex()
    if as_json:
        steps = [{"op": step.op, "digest": digest.hex()} for step, digest in zip(found.steps, digests, strict=True)]
        print(json.dumps({"hash": algorithm, "digest": told, "steps": steps, "tree": str(found).splitlines()}))
        return
    console = new_console()
    console.print("\n".join(map(printable, str(found).splitlines())))
    console.print(f"\n{algorithm}  {told}")
