# SPDX-License-Identifier: Apache-2.0
"""The commands of ``prestocloud-sec tpm`` that judge without believing: event logs, and quotes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from prestocloud_sec.cli.base import ExitCode, json_option, new_console, printable, show_rows
from prestocloud_sec.cli.tpm_input import (
    bank_of,
    bytes_of,
    connected,
    data_of,
    kernel_log_of,
    log_of,
    tpm_option,
    values_of,
)
from prestocloud_sec.errors import MisuseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prestocloud_sec.tpm import EventLog, ImaLog, Verdict
    from prestocloud_sec.tpm.eventlog import Event, ImaEntry

__all__ = ["eventlog", "verify_quote"]

_REQUIRED = ("signature", "nonce", "pcr digest")


# --- Event logs ------------------------------------------------------------------------------------------


@click.command(short_help="Show an event log and the PCR values it leads to.")
@click.argument("file", metavar="FILE")
@click.option("--ima", "kernel", metavar="FILE", help="A log of the kernel's measurements that came after it.")
@click.option("--pcrs", "values", metavar="FILE", help="PCR values to compare with, as tpm pcr --json prints them.")
@click.option("--compare", is_flag=True, help="Compare with the PCRs of the TPM.")
@tpm_option
@json_option
@click.pass_context
def eventlog(
    ctx: click.Context,
    file: str,
    kernel: str | None,
    values: str | None,
    compare: bool,
    uri: str | None,
    as_json: bool,
) -> None:
    """Show every event of a log and the PCR values that the log leads to.

    FILE is a log of the firmware (/sys/kernel/security/tpm0/binary_bios_measurements), or the text of one of the kernel
    (/sys/kernel/security/ima/ascii_runtime_measurements). Compared with PCRs, the first measurement at fault is named,
    and the exit code is 1 where the log does not lead to them.
    """
    from prestocloud_sec.tpm import eventlog as events

    if values is not None and compare:
        raise MisuseError("both --pcrs and --compare", where="eventlog", expected="one of them")
    logs = [log_of(file), *([] if kernel is None else [kernel_log_of(kernel)])]
    replayed = events.replay(*logs).values
    compared = None
    if values is not None or compare:
        actual: Any = values_of(values) if values is not None else _pcrs_of(logs, uri)
        compared = events.compare(actual, *logs)
    rows = {bank_of(bank): {pcr: value.hex() for pcr, value in pcrs.items()} for bank, pcrs in replayed.items()}
    if as_json:
        told: dict[str, Any] = {"events": list(_events(logs)), "replay": rows}
        if compared is not None:
            told["matches"] = compared.matches
            told["comparison"] = [_compared(row) for row in compared.pcrs]
        print(json.dumps(told))
    else:
        console = new_console()
        for log in logs:
            for each in log:
                console.print(printable(str(each)))
        console.print()
        if rows and any(rows.values()):
            show_rows((f"{bank}:{pcr}", value) for bank, pcrs in rows.items() for pcr, value in pcrs.items())
        _show_misfits(logs)
        if compared is not None:
            console.print()
            for row in compared.pcrs:
                console.print(printable(str(row)))
    if compared is not None and not compared.matches:
        ctx.exit(ExitCode.FAILED)


def _pcrs_of(logs: list[Any], uri: str | None) -> dict[int, dict[int, bytes]]:
    """Return the PCRs that logs are about, of the banks that the TPM has."""
    from prestocloud_sec.tpm import use

    banks = {int(bank) for log in logs for bank in log.banks}
    pcrs = {pcr for log in logs for pcr in log.pcrs}
    with connected(uri) as client:
        there = use.pcr_banks(client).items()
        wanted: dict[Any, set[int]] = {bank: pcrs & set(has) for bank, has in there if bank in banks}
        return use.read_pcrs(client, wanted)


def _events(logs: list[EventLog | ImaLog]) -> Iterator[dict[str, Any]]:
    """Yield every record of logs as JSON has it."""
    from prestocloud_sec.tpm import EventLog

    for log in logs:
        misfits = {entry.number for entry in log.misfits}
        rows = map(_event, log) if isinstance(log, EventLog) else (_entry(each, log.algorithm) for each in log)
        for told in rows:
            yield told | {"fits": told["number"] not in misfits}


def _event(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "pcr": event.pcr,
        "type": event.name,
        "digests": {bank_of(digest.algorithm): digest.value.hex() for digest in event.digests},
        "data": event.data.hex(),
        "summary": event.summary,
    }


def _entry(entry: ImaEntry, algorithm: str) -> dict[str, Any]:
    return {
        "number": entry.number,
        "pcr": entry.pcr,
        "type": entry.template,
        "digests": {algorithm: entry.digest.hex()},
        "summary": str(entry),
    }


def _show_misfits(logs: list[EventLog | ImaLog]) -> None:
    console = new_console()
    for log in logs:
        for each in log.misfits:
            console.print(f"the digest is not that of the data: {printable(str(each))}")


def _compared(row: Any) -> dict[str, Any]:
    return {
        "bank": bank_of(row.bank),
        "pcr": row.pcr,
        "replayed": row.replayed.hex(),
        "actual": row.actual.hex(),
        "measurements": row.measurements,
        "matches": row.matches,
        "fault": None if row.fault is None else str(row.fault),
    }


# --- Quotes ----------------------------------------------------------------------------------------------


@click.command("verify-quote", short_help="Verify a quote without a TPM.")
@click.argument("attest", metavar="ATTEST")
@click.argument("signature", metavar="SIGNATURE")
@click.option(
    "--key", required=True, metavar="FILE", help="The attestation key: PEM, or a TPMT_PUBLIC or TPM2B_PUBLIC."
)
@click.option("--nonce", metavar="HEX", help="What was given to TPM2_Quote as qualifyingData.")
@click.option("--selection", metavar="PCRS", help="What was to be quoted, such as sha256:0,7.")
@click.option("--pcrs", "values", metavar="FILE", help="The values, as tpm pcr --json prints them.")
@click.option("--log", "logs", multiple=True, metavar="FILE", help="An event log that leads to the values.")
@click.option("--ima", "kernel", metavar="FILE", help="A log of the kernel's measurements.")
@click.option("--policy", metavar="FILE", help="What PCRs and measurements should be (ReferencePolicy.to_json).")
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="CLAUSE",
    help=f"A clause that has to hold.  [default: {', '.join(_REQUIRED)}]",
)
@json_option
@click.pass_context
def verify_quote(
    ctx: click.Context,
    attest: str,
    signature: str,
    key: str,
    nonce: str | None,
    selection: str | None,
    values: str | None,
    logs: tuple[str, ...],
    kernel: str | None,
    policy: str | None,
    required: tuple[str, ...],
    as_json: bool,
) -> None:
    """Verify a quote without a TPM: every clause that holds, fails or was not checked.

    ATTEST and SIGNATURE are files (a TPMS_ATTEST and a TPMT_SIGNATURE, as tpm2_quote -m and -s write them), or bytes in
    hexadecimal. The exit code is 0 where no clause fails and those that are required hold, else 1.
    """
    from prestocloud_sec.tpm import Grade, ReferencePolicy
    from prestocloud_sec.tpm import verify_quote as verified

    held = [log_of(log) for log in logs] + ([] if kernel is None else [kernel_log_of(kernel)])
    verdict = verified(
        bytes_of(attest, "ATTEST"),
        bytes_of(signature, "SIGNATURE"),
        _key_of(key),
        nonce=None if nonce is None else bytes_of(nonce, "--nonce"),
        selection=selection,
        pcrs=None if values is None else values_of(values),
        logs=held,
        policy=None if policy is None else ReferencePolicy.from_json(data_of(policy)),
    )
    wanted = required or _REQUIRED
    is_accepted = verdict.grade is not Grade.NONE and verdict.accepts(*wanted)
    if as_json:
        print(json.dumps(_plain(verdict, is_accepted=is_accepted)))
    else:
        console = new_console()
        for line in str(verdict).splitlines():
            console.print(printable(line))
        console.print(f"{'accepted' if is_accepted else 'NOT ACCEPTED'}: required were {', '.join(wanted)}")
    if not is_accepted:
        ctx.exit(ExitCode.FAILED)


def _key_of(path: str) -> bytes:
    """Return a key as it is in a file; the size in front of a TPM2B_PUBLIC is taken off."""
    data = data_of(path)
    if len(data) > 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        return data[2:]
    return data


def _plain(verdict: Verdict, *, is_accepted: bool) -> dict[str, Any]:
    return {
        "accepted": is_accepted,
        "grade": verdict.grade.value,
        "clauses": [{"name": each.name, "state": each.state.value, "words": each.words} for each in verdict],
        "culprit": None if verdict.culprit is None else str(verdict.culprit),
    }
