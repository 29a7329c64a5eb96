# SPDX-License-Identifier: Apache-2.0
"""PCRs are read eight at a time and are of one moment; what is not there is left out, what does not fit refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.tpm.errors import TpmFormatError, TpmMisuseError, TpmUnavailableError
from prestocloud_sec.tpm.pcr import PcrBanks, PcrSelection, read_pcrs
from prestocloud_sec.tpm.spec import PCR_Read


class Device:
    """TPM2_PCR_Read as Part 3, 22.4 has it, over PCRs in software; `at_once` digests an answer."""

    def __init__(self, model: PcrBanks, at_once: int = 8, changes: int = 0) -> None:
        self.model, self.at_once, self.changes, self.counter, self.calls = model, at_once, changes, 0, 0

    def execute(self, command: Any) -> Any:
        assert isinstance(command, PCR_Read)
        self.calls += 1
        held = self.model.values()
        exist = [(b, p) for b, p in PcrSelection.of_list(command.pcrSelectionIn) if p in held.get(b, {})]
        given: dict[int, list[int]] = {}
        for bank, pcr in exist[: self.at_once]:
            given.setdefault(bank, []).append(pcr)
        selection = PcrSelection.of(given).to_list()  # type: ignore[arg-type]
        values = tuple(held[bank][pcr] for bank, pcr in PcrSelection.of_list(selection))
        counter = self.counter
        if self.changes:
            self.changes, self.counter = self.changes - 1, counter + 1
            self.model.event(16, counter.to_bytes(4, "big"))
        return PCR_Read.Response(counter, selection, values)


@given(
    st.dictionaries(st.sampled_from(["sha1", "sha256", "sha512"]), st.sets(st.integers(0, 23)), max_size=3),
    st.integers(1, 8),
)
def test_all_that_exist_are_read(selection: dict[str, set[int]], at_once: int) -> None:
    model = PcrBanks(["sha1", "sha256"])
    model.event(3, b"event")
    wanted = PcrSelection.of({bank: pcrs for bank, pcrs in selection.items() if bank != "sha512"})
    found = read_pcrs(Device(model, at_once).execute, selection)
    assert found == model.values(wanted)


def test_eight_at_a_time() -> None:
    device = Device(PcrBanks(["sha1", "sha256"]))
    read_pcrs(device.execute, "sha1:all+sha256:all")
    assert device.calls == 6


@pytest.mark.parametrize("changes", [1, 4, 9])
def test_values_are_of_one_moment(changes: int) -> None:
    device = Device(PcrBanks(["sha256"]), changes=changes)
    assert read_pcrs(device.execute, "sha256:all") == device.model.values()


def test_pcrs_that_never_rest() -> None:
    with pytest.raises(TpmUnavailableError):
        read_pcrs(Device(PcrBanks(["sha256"]), changes=10**6).execute, "sha256:all")
    few = Device(PcrBanks(["sha256"]), changes=10**6)
    assert set(read_pcrs(few.execute, "sha256:16")[0x0B]) == {16}  # of one answer, and so of one moment


@pytest.mark.parametrize(
    ("selection", "values"), [("sha256:5", (bytes(32),)), ("sha256:0", ()), ("sha256:0,5", (bytes(32),) * 2)]
)
def test_an_answer_to_something_else(selection: str, values: tuple[bytes, ...]) -> None:
    answer = PCR_Read.Response(0, PcrSelection.of(selection).to_list(), values)
    with pytest.raises(TpmFormatError):
        read_pcrs(lambda _command: answer, "sha256:0")


@pytest.mark.parametrize("execute", [None, lambda _command: None, lambda _command: b"", 5])
def test_what_carries_out_nothing(execute: Any) -> None:
    with pytest.raises(TpmMisuseError):
        read_pcrs(execute, "sha256:0")
