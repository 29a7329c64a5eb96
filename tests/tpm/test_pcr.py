# SPDX-License-Identifier: Apache-2.0
"""PCRs in software do what PCRs of a TPM do; selections are what TPMs and tpm2-tools write."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.testing.tpm_pcr import PcrChange, pcr_changes, pcr_selections
from prestocloud_sec.tpm.errors import (
    LocalityError,
    TpmFormatError,
    TpmMisuseError,
    TpmResponseError,
    TpmUnavailableError,
)
from prestocloud_sec.tpm.pcr import PROFILE, PcrBanks, PcrSelection, pcr_digest
from prestocloud_sec.tpm.spec import TPMS_PCR_SELECTION
from prestocloud_sec.tpm.transport import HasLocality, HasPower, MeasuresLaunch, Transport, open_transport, require

SIZES = {0x0004: 20, 0x000B: 32, 0x000C: 48, 0x000D: 64}


class RealPcrs:
    """PCRs of a TPM, through commands packed by hand."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def command(self, code: int, handle: bytes, parameters: bytes, *, auth: bool = True) -> tuple[int, bytes]:
        area = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0) if auth else b""
        body = handle + area + parameters
        tag = 0x8002 if auth else 0x8001
        response = self._transport.transceive(struct.pack(">HII", tag, 10 + len(body), code) + body)
        return struct.unpack(">I", response[6:10])[0], response[10:]

    def apply(self, change: PcrChange) -> int:
        if change.kind == "launch":
            require(self._transport, MeasuresLaunch).measure_launch(change.data)
            return 0
        require(self._transport, HasLocality).set_locality(change.locality)
        handle = struct.pack(">I", change.pcr)
        if change.kind == "extend":
            values = b"".join(struct.pack(">H", bank) + value for bank, value in change.digests)
            return self.command(0x182, handle, struct.pack(">I", len(change.digests)) + values)[0]
        if change.kind == "event":
            return self.command(0x13C, handle, struct.pack(">H", len(change.data)) + change.data)[0]
        return self.command(0x13D, handle, b"")[0]

    def startup(self, state: int = 0) -> None:
        assert self.command(0x144, b"", struct.pack(">H", state), auth=False)[0] == 0

    def read(self, bank: int) -> tuple[int, dict[int, bytes]]:
        """Return the update counter and all values of a bank."""
        found, counter = {}, 0
        for group in range(3):
            bitmap = bytes(0xFF if at == group else 0 for at in range(3))
            rc, body = self.command(0x17E, b"", struct.pack(">IHB", 1, bank, 3) + bitmap, auth=False)
            assert rc == 0
            counter = struct.unpack(">I", body[:4])[0]
            assert body[4 : 4 + 10] == struct.pack(">IHB", 1, bank, 3) + bitmap
            values = body[18:]
            for at in range(8):
                size = struct.unpack(">H", values[:2])[0]
                found[8 * group + at], values = values[2 : 2 + size], values[2 + size :]
        return counter, found


@pytest.fixture
def real() -> Iterator[RealPcrs]:
    try:
        transport = open_transport("spawn:")
    except TpmUnavailableError as error:
        pytest.skip(f"hardware TPM or swtpm: {error}")
    with transport:
        pcrs = RealPcrs(transport)
        require(transport, HasPower).power_cycle()
        pcrs.startup()
        yield pcrs


def apply(pcrs: PcrBanks, change: PcrChange) -> int:
    """Do to PCRs in software what `RealPcrs.apply` does to a TPM's, and return the response code."""
    try:
        if change.kind == "launch":
            pcrs.dynamic_launch(change.data)
        elif change.kind == "extend":
            pcrs.extend(change.pcr, change.digests, change.locality)
        elif change.kind == "event":
            pcrs.event(change.pcr, change.data, change.locality)
        else:
            pcrs.reset(change.pcr, change.locality)
    except TpmResponseError as error:
        return error.rc
    return 0


def random_changes(seed: int, count: int) -> Iterator[PcrChange]:
    rng = random.Random(seed)
    for _ in range(count):
        kind = rng.choices(("extend", "event", "reset", "launch"), (20, 4, 3, 1))[0]
        banks = rng.choices(list(SIZES), k=rng.randrange(5)) if kind == "extend" else []
        digests = tuple((bank, rng.randbytes(SIZES[bank])) for bank in banks)
        yield PcrChange(
            kind, rng.randrange(24), rng.choice((0, 0, 1, 2, 3, 4)), digests, rng.randbytes(rng.randrange(40))
        )


def test_a_thousand_random_changes_lead_where_a_tpm_goes(real):
    model = PcrBanks()
    for number, change in enumerate(random_changes(20, 1600)):
        rc = apply(model, change)
        assert (real.apply(change) & 0xFFF) == rc, change
        if number % 100 == 99:
            for bank in SIZES:
                counter, values = real.read(bank)
                assert counter == model.update_counter, change
                assert values == model.values()[bank], change
    assert model.update_counter > 1000


def test_starts_are_those_of_a_tpm(real):
    model, power = PcrBanks(), require(real._transport, HasPower)
    extend = PcrChange("extend", 3, 0, tuple((bank, bytes(size)) for bank, size in SIZES.items()), b"")

    def agree() -> None:
        for bank in SIZES:
            counter, values = real.read(bank)
            assert (counter, values) == (model.update_counter, model.values()[bank])

    agree()
    for change in (extend, extend._replace(pcr=16), extend._replace(pcr=17, locality=2)):
        assert real.apply(change) == apply(model, change) == 0
    agree()
    assert real.command(0x145, b"", struct.pack(">H", 1), auth=False)[0] == 0
    power.power_cycle()
    require(real._transport, HasLocality).set_locality(0)
    real.startup(1)
    model.shutdown()
    model.resume()
    agree()
    power.power_cycle()
    require(real._transport, HasLocality).set_locality(3)
    real.startup()
    model.startup(3)
    agree()
    power.power_cycle()
    require(real._transport, HasLocality).set_locality(0)
    require(real._transport, MeasuresLaunch).measure_launch(b"crtm")
    real.startup()
    model.startup(hcrtm=b"crtm")
    agree()


@given(st.lists(pcr_changes(), max_size=20))
def test_values_follow_from_what_was_done(changes):
    """Against the definition, written out with hashlib for one bank."""
    model = PcrBanks(["sha256"])
    values = [b"\xff" * 32 if 17 <= pcr <= 22 else bytes(32) for pcr in range(24)]
    for change in changes:
        before = model.copy()
        if apply(model, change):
            assert model == before
            continue
        if change.kind == "launch":
            for pcr in range(17, 23):
                values[pcr] = bytes(32)
        extended = [value for bank, value in change.digests if bank == 0x000B]
        if change.kind in ("event", "launch"):
            extended = [hashlib.sha256(change.data).digest()]
        if change.kind == "reset":
            values[change.pcr] = bytes(32)
        for value in extended:
            pcr = 17 if change.kind == "launch" else change.pcr
            values[pcr] = hashlib.sha256(values[pcr] + value).digest()
    assert [model.read(pcr, "sha256") for pcr in range(24)] == values


def test_an_event_returns_what_it_extended():
    model = PcrBanks(["sha1", "sha256"])
    assert model.event(16, b"abc") == {
        0x0004: bytes.fromhex("a9993e364706816aba3e25717850c26c9cd0d89d"),
        0x000B: hashlib.sha256(b"abc").digest(),
    }


def test_what_may_be_done_from_where():
    extends = {17: {2, 3, 4}, 18: {2, 3, 4}, 19: {2, 3}, 20: {1, 2, 3}, 21: {2}, 22: {2}}
    resets = {16: {0, 1, 2, 3}, 23: {0, 1, 2, 3}, 20: {2}, 21: {2}, 22: {2}}
    for pcr in range(24):
        for locality in range(5):
            for change, allowed in (
                (PcrBanks.extend, extends.get(pcr, {0, 1, 2, 3, 4})),
                (PcrBanks.reset, resets.get(pcr, set())),
            ):
                args = (pcr, {}, locality) if change is PcrBanks.extend else (pcr, locality)
                if locality in allowed:
                    change(PcrBanks(), *args)
                else:
                    with pytest.raises(LocalityError, match=f"PCR {pcr}") as caught:
                        change(PcrBanks(), *args)
                    assert caught.value.rc == 0x907
    assert len(PROFILE) == 24


def test_state_is_kept_until_something_changes():
    model = PcrBanks()
    for change in (
        lambda: model.extend(0, {}),
        lambda: model.event(0, b""),
        lambda: model.reset(16),
        lambda: model.dynamic_launch(b""),
    ):
        model.shutdown()
        change()
        with pytest.raises(TpmResponseError, match="no state"):
            model.resume()
    with pytest.raises(LocalityError):
        model.startup(4)


def test_copies_go_ways_of_their_own():
    model = PcrBanks(["sha1"])
    model.shutdown()
    twin = model.copy()
    assert twin == model
    twin.extend(0, {"sha1": bytes(20)})
    assert twin != model
    assert (model.update_counter, twin.update_counter) == (20, 21)
    model.resume()
    with pytest.raises(TypeError):
        hash(model)
    assert "sha1" in repr(model)
    assert "<table>" in model._repr_html_()


@given(pcr_selections())
def test_selections_are_read_as_they_were_written(selection):
    rows = [struct.pack(">HB", bank, len(bitmap)) + bitmap for bank, bitmap in selection.rows]
    raw = struct.pack(">I", len(rows)) + b"".join(rows)
    assert selection.encode() == raw
    assert PcrSelection.decode(raw) == selection
    assert PcrSelection.of(selection.to_list()) == selection
    for cut in range(len(raw)):
        with pytest.raises(TpmFormatError):
            PcrSelection.decode(raw[:cut])
    with pytest.raises(TpmFormatError):
        PcrSelection.decode(raw + b"\0")


@given(pcr_selections(), st.sampled_from(["sha1", "sha256", "sha384", "sha512"]))
def test_digests_are_those_of_the_values_in_order(selection, algorithm):
    model = PcrBanks()
    for pcr in range(16):
        model.event(pcr, bytes([pcr]))
    wanted = b""
    for bank, bitmap in selection.rows:
        number = int.from_bytes(bitmap, "little")
        wanted += b"".join(model.values()[bank][pcr] for pcr in range(24) if number >> pcr & 1)
    if all(pcr < 24 for _, pcr in selection):
        assert model.digest(selection, algorithm) == hashlib.new(algorithm, wanted).digest()
        assert pcr_digest(selection, model.values(selection), algorithm) == hashlib.new(algorithm, wanted).digest()
    else:
        with pytest.raises(TpmMisuseError):
            selection.digest(model.values(), algorithm)
        with pytest.raises(TpmMisuseError):
            model.digest(selection, algorithm)


@pytest.mark.parametrize("selection", ["sha256:16", "sha1:0+sha256:0"])
def test_of_a_bank_that_is_not_there_is_no_digest(selection):
    model = PcrBanks(["sha1"])
    with pytest.raises(TpmMisuseError, match="no bank sha256"):
        model.digest(selection, "sha256")
    assert model.digest("sha1:0+sha256:", "sha256") == hashlib.sha256(bytes(20)).digest()


def test_selections_are_written_in_many_forms():
    selection = PcrSelection.of("sha256:0,7+sha1:16")
    assert PcrSelection.of({"sha256": [7, 0], 0x0004: range(16, 17)}) == selection
    assert PcrSelection.of([TPMS_PCR_SELECTION(0x000B, b"\x81\0\0"), TPMS_PCR_SELECTION(4, b"\0\0\1")]) == selection
    assert PcrSelection.of(str(selection)) == selection
    assert str(selection) == "sha256:0,7+sha1:16"
    assert repr(selection) == "PcrSelection.of('sha256:0,7+sha1:16')"
    assert selection.banks == {0x000B: (0, 7), 0x0004: (16,)}
    assert PcrSelection.of("sha1:all").banks == {4: tuple(range(24))}
    assert PcrSelection.of("sha1:none") == PcrSelection.of("sha1:")
    assert list(PcrSelection.of("")) == []
    assert "<table>" in selection._repr_html_()


WRONG = [
    None,
    7,
    "sha256",
    "sha256:x",
    "sha256:24",
    "md5:0",
    "sha256:0,,1",
    "sha256:-1",
    "sha1:0+",
    "sha1:٣",
    b"x",
    [7],
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_selection_is_refused(wrong):
    with pytest.raises(TpmMisuseError):
        PcrSelection.of(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: PcrBanks([]),
        lambda: PcrBanks(["sha1", "sha1"]),
        lambda: PcrBanks(["md5"]),
        lambda: PcrBanks(7),
        lambda: PcrBanks().extend(24, {}),
        lambda: PcrBanks().extend("0", {}),
        lambda: PcrBanks().extend(0, {}, 5),
        lambda: PcrBanks().extend(0, {"sha1": bytes(19)}),
        lambda: PcrBanks().extend(0, {"md5": bytes(16)}),
        lambda: PcrBanks().extend(0, 7),
        lambda: PcrBanks().extend(0, [7]),
        lambda: PcrBanks().extend(0, {"sha1": "x" * 20}),
        lambda: PcrBanks().event(0, "text"),
        lambda: PcrBanks().event(0, bytes(1025)),
        lambda: PcrBanks().reset(-1),
        lambda: PcrBanks().startup(9),
        lambda: PcrBanks().startup(hcrtm="text"),
        lambda: PcrBanks().dynamic_launch(None),
        lambda: PcrBanks().read(0, "md5"),
        lambda: PcrBanks(["sha1"]).read(0, "sha256"),
        lambda: PcrBanks(["sha1"]).values("sha256:0"),
        lambda: PcrBanks().digest("sha1:0", "md5"),
        lambda: PcrSelection((7,)),
        lambda: PcrSelection(((4, "text"),)),
        lambda: PcrSelection(((1 << 16, b""),)),
        lambda: PcrSelection(((4, bytes(33)),)),
        lambda: PcrSelection(((4, b""),) * 65),
        lambda: PcrSelection.of({"sha1": 7}),
        lambda: PcrSelection.of({"sha1": [24]}),
        lambda: PcrSelection.decode("text"),
        lambda: PcrSelection.of("sha1:0").digest({}, "sha1"),
        lambda: PcrSelection.of("sha1:0").digest({"sha1": {0: bytes(3)}}, "sha1"),
        lambda: PcrSelection.of("sha1:0").digest({"sha1": 7}, "sha1"),
        lambda: PcrSelection.of("sha1:0").digest(7, "sha1"),
    ],
)
def test_what_cannot_be_done_is_refused(call):
    with pytest.raises(TpmMisuseError):
        call()


def test_a_list_that_claims_to_be_long_allocates_nothing():
    for raw in (b"\xff" * 4, struct.pack(">IHB", 64, 4, 255), struct.pack(">IHB", 1, 4, 33) + bytes(33)):
        with pytest.raises(TpmFormatError):
            PcrSelection.decode(raw)
