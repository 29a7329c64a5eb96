# SPDX-License-Identifier: Apache-2.0
"""What marshalling costs, beside tpm2-pytss, the C library below it, and tpmstream, as far as they are here.

A value keeps its encoding, so that whoever sends a template or a received key again pays nothing for it. The rows
called "first time" take the kept encoding away before each call; "from new parts" takes it from every structure inside
as well.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import Versus
from prestocloud_sec.tpm import decode_command
from prestocloud_sec.tpm.codec.walk import walk_decode, walk_encode
from prestocloud_sec.tpm.spec import TPMS_ATTEST, TPMT_PUBLIC, Structure
from prestocloud_sec.tpm.spec.declare import Declared

ECC = bytes.fromhex("0023000b000300720000000600800043001000030010" + "0020" + "a9" * 32 + "0020" + "3e" * 32)
RSA = bytes.fromhex("0001000b00030072000000060080004300100800000000000100" + "c4" * 256)
QUOTE = bytes.fromhex(
    "ff544347" + "8018" + "0022" + "000b" + "5e" * 32 + "0010" + "00112233445566778899aabbccddeeff"
    "00000000000033c7" + "00000000" + "00000000" + "01" + "2019102300163636"
    "00000001" + "000b03070001" + "0020" + "31" * 32
)
CASES = {
    "TPMT_PUBLIC, ECC": (TPMT_PUBLIC, ECC),
    "TPMT_PUBLIC, RSA": (TPMT_PUBLIC, RSA),
    "TPMS_ATTEST": (TPMS_ATTEST, QUOTE),
}
NAMES = pytest.mark.parametrize("name", CASES)

_forget = Declared.__dict__["_wire"].__set__


def fresh(value: Structure) -> Structure:
    """Return an equal value none of whose structures knows its encoding."""

    def again(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(map(again, part))
        return fresh(part) if isinstance(part, Structure) else part

    return type(value)(**{name: again(part) for name, part in value._fields()})


def parts_of(value: Structure) -> list[Structure]:
    found = [value]
    for _, part in value._fields():
        for inner in part if isinstance(part, tuple) else (part,):
            if isinstance(inner, Structure):
                found += parts_of(inner)
    return found


def first_time(value: Structure) -> Callable[[], bytes]:
    """Return the encoding of a value that does not know its own yet."""

    def encode() -> bytes:
        _forget(value, None)
        return value.encode()

    assert encode() == value.encode()
    return encode


def from_new_parts(value: Structure) -> Callable[[], bytes]:
    """Return the encoding of a value of which nothing is known yet."""
    parts = parts_of(value)

    def encode() -> bytes:
        for part in parts:
            _forget(part, None)
        return value.encode()

    return encode


def peer(module: str, hint: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        pytest.skip(f"{module} is not here to measure beside: {hint}")


def pytss() -> Any:
    return peer("tpm2_pytss", "pip install tpm2-pytss, with the headers of tpm2-tss")


# --- beside tpm2-pytss ------------------------------------------------------------------------------------------------


@NAMES
@pytest.mark.parametrize("again", [False, True], ids=["first time", "again"])
def test_marshal_beside_pytss(versus: Versus, name: str, again: bool) -> None:
    kind, wire = CASES[name]
    theirs, _ = getattr(pytss(), kind.__name__).unmarshal(wire)
    assert theirs.marshal() == wire
    target = 0.12 if kind is TPMT_PUBLIC else 0.2
    value = kind.decode(wire)
    ours, how = (value.encode, "again") if again else (first_time(value), "first time")
    versus(f"marshal {name}, {how}", ours, theirs.marshal, against="tpm2-pytss", target=target)


@NAMES
def test_unmarshal_beside_pytss(versus: Versus, name: str) -> None:
    kind, wire = CASES[name]
    unmarshal = getattr(pytss(), kind.__name__).unmarshal
    versus(f"unmarshal {name}", lambda: kind.decode(wire), lambda: unmarshal(wire), against="tpm2-pytss", target=0.4)


IMPORT = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


def import_took(module: str) -> float:
    """Return the CPU time of importing a module in a fresh process, in seconds."""
    command = [sys.executable, "-c", IMPORT.format(module)]
    runs = [subprocess.run(command, capture_output=True, check=True, text=True) for _ in range(9)]
    return sorted(float(run.stdout) for run in runs)[len(runs) // 2]


@pytest.mark.parametrize(("module", "target"), [("prestocloud_sec.tpm", 0.5), ("prestocloud_sec.tpm.spec", None)])
def test_import_beside_pytss(versus: Versus, module: str, target: float | None) -> None:
    pytss()
    ours, theirs = import_took(module), import_took("tpm2_pytss")
    against, note = "import tpm2_pytss", "CPU time of a fresh process"
    versus.record(f"import {module}", against=against, ours=ours, peer=theirs, target=target, note=note)


# --- beside the C library ---------------------------------------------------------------------------------------------

LOOP = """
#include <stddef.h>
#include <stdint.h>
typedef uint32_t (*unmarshal_t)(const uint8_t *, size_t, size_t *, void *);
typedef uint32_t (*marshal_t)(const void *, uint8_t *, size_t, size_t *);
static uint8_t value[65536], out[65536];
int unmarshal(unmarshal_t f, const uint8_t *data, size_t size, int loops) {
    uint32_t rc = 0;
    for (int i = 0; i < loops; i++) { size_t at = 0; rc |= f(data, size, &at, value); }
    return rc;
}
int marshal(marshal_t f, int loops) {
    uint32_t rc = 0;
    for (int i = 0; i < loops; i++) { size_t at = 0; rc |= f(value, out, sizeof out, &at); }
    return rc;
}
"""
LOOPS = 2000


@cache
def marshalling_library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libtss2-mu.so.0")
    except OSError:
        pytest.skip("libtss2-mu is not here to measure beside: apt-get install libtss2-mu0")


@NAMES
@pytest.mark.parametrize("way", ["marshal", "unmarshal"])
def test_beside_the_c_library(versus: Versus, c_library: Callable[[str], Path], name: str, way: str) -> None:
    kind, wire = CASES[name]
    mu, loop = marshalling_library(), ctypes.CDLL(str(c_library(LOOP)))
    unmarshal = ctypes.cast(getattr(mu, f"Tss2_MU_{kind.__name__}_Unmarshal"), ctypes.c_void_p)
    marshal = ctypes.cast(getattr(mu, f"Tss2_MU_{kind.__name__}_Marshal"), ctypes.c_void_p)
    size, against = ctypes.c_size_t(len(wire)), "libtss2-mu, called in C"
    assert loop.unmarshal(unmarshal, wire, size, 1) == 0
    assert loop.marshal(marshal, 1) == 0
    if way == "unmarshal":
        work, peers, target, label = (
            lambda: kind.decode(wire),
            lambda: loop.unmarshal(unmarshal, wire, size, LOOPS),
            7,
            f"unmarshal {name}",
        )
    else:
        work, peers = first_time(kind.decode(wire)), lambda: loop.marshal(marshal, LOOPS)
        target, label = 4, f"marshal {name}, first time"
    versus(label, work, peers, against=against, target=target, peer_units=LOOPS)


# --- beside tpmstream -------------------------------------------------------------------------------------------------


@cache
def recorded() -> tuple[bytes, ...]:
    """Return one recorded command with sessions of each of some codes."""
    found: dict[str, bytes] = {}
    corpus = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "tpm" / "corpus.jsonl"
    with corpus.open() as lines:
        for line in lines:
            row = json.loads(line)
            if row["rc"] == 0 and row["command_hex"].startswith("8002"):
                found.setdefault(row["command_code_name"], bytes.fromhex(row["command_hex"]))
    return tuple(found[name] for name in ("CreatePrimary", "Load", "Certify", "Quote", "PCR_Extend", "Unseal"))


def typed() -> None:
    for command in recorded():
        decode_command(command)


def placed() -> None:
    for command in recorded():
        decode_command(command).nodes()


DECODED = pytest.mark.parametrize(("how", "work"), [("typed values", typed), ("every field with its place", placed)])


@DECODED
def test_decode_beside_tpmstream(versus: Versus, how: str, work: Callable[[], None]) -> None:
    peer("tpmstream", "pip install tpmstream")
    marshal = importlib.import_module("tpmstream.io.binary").Binary.marshal
    command = importlib.import_module("tpmstream.spec.commands").Command

    def theirs() -> None:
        for data in recorded():
            list(marshal(tpm_type=command, buffer=data))

    target = 0.01 if work is typed else None
    name = f"decode a recorded command to a tree: {how}"
    versus(name, work, theirs, against="tpmstream", target=target, units=len(recorded()), least=0.05)


# --- alone ------------------------------------------------------------------------------------------------------------


@DECODED
def test_decode(versus: Versus, how: str, work: Callable[[], None]) -> None:
    versus.report(f"decode a recorded command to a tree: {how}", work, units=len(recorded()))


WAYS: dict[str, Callable[[type[Structure], bytes], Callable[[], object]]] = {
    "unmarshal {}": lambda kind, wire: lambda: kind.decode(wire),
    "marshal {}, first time": lambda kind, wire: first_time(kind.decode(wire)),
    "marshal {}, from new parts": lambda kind, wire: from_new_parts(fresh(kind.decode(wire))),
    "make {} of its fields": lambda kind, wire: partial(kind, **dict(kind.decode(wire)._fields())),
}


@NAMES
@pytest.mark.parametrize("way", WAYS)
def test_alone(versus: Versus, name: str, way: str) -> None:
    versus.report(way.format(name), WAYS[way](*CASES[name]))


@pytest.mark.parametrize("way", ["marshal", "unmarshal"])
def test_derived_beside_the_walk(versus: Versus, way: str) -> None:
    value, against = TPMT_PUBLIC.decode(ECC), "the plain walk over the declaration"
    ours, walk = (
        (first_time(value), lambda: walk_encode(value))
        if way == "marshal"
        else (lambda: TPMT_PUBLIC.decode(ECC), lambda: walk_decode(TPMT_PUBLIC, ECC))
    )
    versus(f"{way} TPMT_PUBLIC, ECC, by derived text", ours, walk, against=against)
