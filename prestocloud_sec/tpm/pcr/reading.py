# SPDX-License-Identifier: Apache-2.0
"""PCRs read from a TPM: as many as one likes, and all of one moment.

TPM2_PCR_Read answers with at most eight digests and the number of changes that PCRs have seen so far. Whoever wants
more has to ask again, and if that number is another one then, what was read before may be out of date.

Source: TPM 2.0 Library, Part 3, 22.4 (TPM2_PCR_Read).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.pcr.selection import PcrSelection
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from prestocloud_sec.tpm.hashes import HashName
    from prestocloud_sec.tpm.pcr.selection import SelectionLike
    from prestocloud_sec.tpm.spec.commands.pcr import PCR_Read

__all__ = ["read_pcrs", "reading"]

_AT_ONCE = 8
_ATTEMPTS = 20

Values = dict[int, dict[int, bytes]]


def reading(selection: SelectionLike) -> Generator[PCR_Read, PCR_Read.Response, Values]:
    """Yield commands, and take their responses; return the values.

    Parameters
    ----------
    selection : PcrSelection, str or mapping
        Which PCRs. Those that the TPM does not have are left out, and banks too that it knows and has no PCRs in.

    Returns
    -------
    dict of int to dict of int to bytes
        By bank and PCR, as `PcrSelection.digest`, `verify_quote` and `Policy` steps take them.

    Raises
    ------
    TpmFormatError
        If the TPM answers with what was not asked for.
    TpmUnavailableError
        If PCRs change faster than they can be read.
    TpmResponseError
        From whoever carries out the commands, if the TPM does not know the hash of a bank.
    """
    from prestocloud_sec.tpm.spec.commands.pcr import PCR_Read

    wanted = list(PcrSelection.of(selection))
    for _ in range(_ATTEMPTS):
        found: Values = {}
        moment: int | None = None
        left = wanted
        while left:
            asked = _rows(left[:_AT_ONCE])
            response = yield PCR_Read(asked.to_list())
            if not isinstance(response, PCR_Read.Response):
                raise TpmMisuseError(shown(response), where="PCR_Read", expected="the response to PCR_Read")
            read = list(PcrSelection.of_list(response.pcrSelectionOut))
            if len(read) != len(response.pcrValues) or not set(read) <= set(asked):
                raise TpmFormatError(
                    f"{len(response.pcrValues)} values of {shown(str(PcrSelection.of_list(response.pcrSelectionOut)))}",
                    where="PCR_Read",
                    expected=f"values of {asked}",
                )
            if moment not in (None, response.pcrUpdateCounter):
                break
            moment = response.pcrUpdateCounter
            for (bank, pcr), value in zip(read, response.pcrValues, strict=True):
                found.setdefault(bank, {})[pcr] = value
            # What is not in the answer either did not fit or does not exist; the former is asked for once more.
            done = set(read) if read else set(asked)
            left = [each for each in left if each not in done]
        else:
            return found
    raise TpmUnavailableError("the PCRs change faster than they can be read", where="PCR_Read")


def read_pcrs(execute: Callable[[Any], Any], selection: SelectionLike) -> Values:
    r"""Return the values of PCRs, all of one moment.

    Parameters
    ----------
    execute : callable
        Carries out a command and returns its response: `Client.execute`.
    selection : PcrSelection, str or mapping
        Which PCRs; see `reading`, also for what is returned and raised.

    >>> from prestocloud_sec.tpm import connect
    >>> with connect("embedded:") as client:
    ...     values = read_pcrs(client.execute, "sha256:all")
    >>> len(values[0x000B]), values[0x000B][17] == b"\xff" * 32
    (24, True)
    """
    if not callable(execute):
        raise TpmMisuseError(shown(execute), where="execute", expected="a callable, such as client.execute")
    steps = reading(selection)
    try:
        command = next(steps)
        while True:
            command = steps.send(execute(command))
    except StopIteration as done:
        values: Values = done.value
        return values


def _rows(pairs: list[tuple[int, int]]) -> PcrSelection:
    rows: dict[HashName, list[int]] = {}
    for bank, pcr in pairs:
        rows.setdefault(bank, []).append(pcr)
    return PcrSelection.of(rows)
