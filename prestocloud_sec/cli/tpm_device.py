# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec tpm`` that ask a TPM: what it is, its PCRs, random numbers, and any bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import ExitCode, json_option, new_console, printable, show_rows
from prestocloud_sec.cli.tpm_input import bank_of, bytes_of, connected, tpm_option
from prestocloud_sec.errors import InputError

if TYPE_CHECKING:
    from prestocloud_sec.tpm import Client

__all__ = ["info", "pcr", "random", "raw"]

_MOST_RANDOM = 1 << 16


# --- What it is ------------------------------------------------------------------------------------------


@click.command(short_help="Say what a TPM is and what it can do.")
@tpm_option
@json_option
def info(uri: str | None, as_json: bool) -> None:
    """Say what a TPM is and what it can do: maker, firmware, algorithms, PCR banks, properties, quirks."""
    with connected(uri) as client:
        told = _told(client)
    if as_json:
        print(json.dumps(told))
        return
    rows: list[tuple[str, object]] = [(name, told[name]) for name in _HEADLINES]
    rows += [("algorithms", ", ".join(told["algorithms"])), ("curves", ", ".join(told["curves"]) or "none")]
    rows += [("PCR bank", f"{bank}: {_ranges(pcrs)}") for bank, pcrs in told["banks"].items()]
    rows += [("commands", len(told["commands"])), ("handles", _counted(told["handles"]))]
    rows += [("quirk", f"{quirk['name']}: {quirk['words']}; {quirk['advice']}") for quirk in told["quirks"]]
    show_rows(rows)
    console = new_console()
    console.print()
    show_rows(told["properties"].items())


_HEADLINES = ("transport", "maker", "vendor", "family", "revision", "published", "firmware", "lockout")
_HANDLES = {"PERSISTENT": "persistent objects", "NV_INDEX": "NV indices", "TRANSIENT": "transient objects"}


def _told(client: Client) -> dict[str, Any]:
    """Return what a TPM says of itself, as JSON has it."""
    from prestocloud_sec.tpm.pcr import PcrSelection
    from prestocloud_sec.tpm.spec.constants import TPM_ALG_ID, TPM_CAP, TPM_CC, TPM_HT
    from prestocloud_sec.tpm.transport.quirks import MAKERS

    properties = client.properties()
    letters = properties.manufacturer
    banks = PcrSelection.of_list(client.capability(TPM_CAP.PCRS)).banks
    algorithms = [each.alg for each in client.capability(TPM_CAP.ALGS)]
    codes = [int(each) & 0x2000FFFF for each in client.capability(TPM_CAP.COMMANDS)]
    has_ecc = TPM_ALG_ID.ECC in algorithms
    return {
        "transport": client.transport.name,
        "maker": f"{letters}, {MAKERS[letters]}" if letters in MAKERS else letters,
        "vendor": properties.vendor,
        "family": properties.family,
        "revision": properties.revision,
        "published": str(properties.published),
        "firmware": f"0x{properties.firmware:016x}",
        "lockout": str(client.lockout_state()),
        "algorithms": [_named(TPM_ALG_ID, each) for each in algorithms],
        "curves": [_named(None, each) for each in client.capability(TPM_CAP.ECC_CURVES)] if has_ecc else [],
        "banks": {bank_of(bank): list(pcrs) for bank, pcrs in banks.items()},
        "commands": [_named(TPM_CC, each) for each in codes],
        "handles": {
            words: [f"0x{int(each):08x}" for each in client.capability(TPM_CAP.HANDLES, TPM_HT[name] << 24)]
            for name, words in _HANDLES.items()
        },
        "quirks": [
            {"name": each.name, "words": each.words, "advice": each.advice, "source": each.source}
            for each in client.quirks()
        ],
        "properties": dict(properties.rows()),
    }


def _named(kind: Any, value: int) -> str:
    """Return the name of a number, or the number where it has none."""
    found = getattr(value, "name", None)
    if found is None and kind is not None and value in kind._value2member_map_:
        found = kind(value).name
    return found or f"0x{int(value):x}"


def _ranges(pcrs: list[int]) -> str:
    """Return numbers with runs of them put together."""
    runs: list[list[int]] = []
    for number in pcrs:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs) or "none"


def _counted(handles: dict[str, list[str]]) -> str:
    return "; ".join(f"{', '.join(found) or 'no'} {words}" for words, found in handles.items())


# --- PCRs and random numbers -----------------------------------------------------------------------------


@click.command(short_help="Print PCR values.")
@click.argument("selection", default="")
@tpm_option
@json_option
def pcr(selection: str, uri: str | None, as_json: bool) -> None:
    """Print the values of PCRs: SELECTION is sha256:0,7, sha256:0-7 or sha1:all; all there are without.

    All values are of one moment. What --json prints is what verify-quote takes with --pcrs.
    """
    from prestocloud_sec.tpm import PcrSelection, use

    asked = PcrSelection.of(selection) if selection else None
    with connected(uri) as client:
        found = use.read_pcrs(client, asked)
    told = {bank_of(bank): {pcr: value.hex() for pcr, value in pcrs.items()} for bank, pcrs in found.items()}
    if as_json:
        print(json.dumps(told))
        return
    show_rows((f"{bank}:{number}", value) for bank, pcrs in told.items() for number, value in pcrs.items())


@click.command(short_help="Print random bytes of a TPM.")
@click.argument("count", type=click.IntRange(1, _MOST_RANDOM))
@tpm_option
@json_option
def random(count: int, uri: str | None, as_json: bool) -> None:
    """Print COUNT random bytes of a TPM in hexadecimal."""
    from prestocloud_sec.tpm import use

    with connected(uri) as client:
        found = use.random_bytes(client, count)
    if as_json:
        print(json.dumps({"bytes": found.hex()}))
    else:
        print(found.hex())


# --- Any bytes -------------------------------------------------------------------------------------------


@click.command(short_help="Send the bytes of a command, and print the response.")
@click.argument("command", metavar="HEX|-|FILE")
@tpm_option
@click.option("--decode", "decoded", is_flag=True, help="Take command and response apart instead.")
@click.option("--secrets", is_flag=True, help="With --decode: show passwords, keys and sealed data, and all bytes too.")
@json_option
@click.pass_context
def raw(ctx: click.Context, command: str, uri: str | None, decoded: bool, secrets: bool, as_json: bool) -> None:
    """Send the bytes of a command, and print the response in hexadecimal; an error of the TPM's ends with exit code 1.

    Only their size is looked at, and only what the transport itself needs is sent besides.
    """
    if secrets and not decoded:
        raise click.UsageError("--secrets goes with --decode")
    from prestocloud_sec.tpm import decode_stream, explain
    from prestocloud_sec.tpm.codec.streams import messages_in
    from prestocloud_sec.tpm.errors import TpmFormatError

    sent, *more = messages_in(bytes_of(command, "HEX"))
    if more:
        raise InputError(f"{1 + len(more)} commands", where="HEX", expected="one")
    with connected(uri, startup=False) as client:
        response = client.raw(sent)
    found = explain(int.from_bytes(response[6:10], "big"), int.from_bytes(sent[6:10], "big"))
    messages = decode_stream(sent + response, form="bytes", lenient=True) if decoded else []
    plain = response.hex() if secrets or not decoded else None  # it shows what decoding hides
    if as_json:
        told: dict[str, Any] = {"response": plain, "rc": found.rc, "words": str(found)}
        if decoded:
            told["messages"] = [
                {"problem": str(each)} if isinstance(each, TpmFormatError) else each.to_dict(secrets=secrets)
                for each in messages
            ]
        print(json.dumps(told))
    else:
        texts = [plain] if plain is not None else []
        texts += [str(each) if isinstance(each, TpmFormatError) else each.text(secrets=secrets) for each in messages]
        console = new_console()
        for number, text in enumerate(texts):
            console.print(("\n" if number else "") + "\n".join(map(printable, text.splitlines())))
        if found.rc:
            click.echo(f"prestocloud-sec: {printable(str(found))}", err=True)
    if found.rc:
        ctx.exit(ExitCode.FAILED)
