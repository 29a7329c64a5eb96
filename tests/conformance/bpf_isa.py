# SPDX-License-Identifier: Apache-2.0
"""Programs with a reserved field set, as the bpf_conformance project names them, against the decoder.

A case is named ``unused-<instruction>-<field>.data``: its first instruction is right but for that field.
"""

from __future__ import annotations

import re

from prestocloud_sec.bpf.disassembler import instruction_text
from prestocloud_sec.bpf.errors import DecodeError
from prestocloud_sec.bpf.isa import SLOT_SIZE, Alu, Branch, Imm, Instruction, Negate, decode, encode
from tests.conformance.family import Case, Family, tests_of

_FIELDS = {"offset": ("off", slice(2, 4)), "imm": ("imm", slice(4, 8)), "dst": ("dst", None), "src": ("src", None)}
_NAME = re.compile(r"unused-(?P<instruction>[a-z0-9_]+)-(?P<field>[a-z]+)\.data")


def _without(slot: bytes, field: str) -> bytes:
    """Return a slot with one field set to 0."""
    changed = bytearray(slot)
    place = _FIELDS[field][1]
    if place is None:
        changed[1] &= 0xF0 if field == "dst" else 0x0F
    else:
        changed[place] = bytes(place.stop - place.start)
    return bytes(changed)


def _spellings(instruction: Instruction) -> set[str]:
    """Return what the project calls an instruction: ``add_imm``, ``add64_imm``, ``jeq_imm``, ``be16``, ``ldxw``."""
    match instruction:
        case Alu(op, bits, _, src):
            return {f"{op}{'64' if bits == 64 else ''}_{'imm' if isinstance(src, Imm) else 'reg'}"}
        case Negate(bits):
            return {"neg64" if bits == 64 else "neg"}
        case _:
            words = instruction_text(instruction, syntax="mnemonic").split()
            names = {words[0], f"b{words[0]}", "_".join(words[:2]), "_".join(words[:3])}
            if isinstance(instruction, Branch):
                names = {f"{words[0]}_{'imm' if isinstance(instruction.src, Imm) else 'reg'}"}
            return names


def compare_reserved(case: Case, document: Case) -> None:
    data = bytes.fromhex(case["insns_hex"])
    try:
        accepted = encode(decode(data)) == data
        refusal = None
    except DecodeError as error:
        accepted, refusal = False, error
    assert accepted is (case["kernel_6_18_verdict"] == "ACCEPT")
    assert case["kernel_6_18_verdict"] in {"ACCEPT", "REJECT"}
    if refusal is None:
        return
    # The kernel looks at the registers that some instructions read before it looks at their reserved fields.
    unreadable = any("!read_ok" in line for line in case["kernel_log_tail"])
    assert case["kernel_6_18_errno"] == ("EACCES" if unreadable else "EINVAL")
    named = _NAME.fullmatch(case["name"])
    assert named is not None, f"a name that tells no field: {case['name']}"
    assert refusal.instruction == 0
    assert refusal.field == _FIELDS[named["field"]][0]
    mended = _without(data[:SLOT_SIZE], named["field"]) + data[SLOT_SIZE:]
    assert named["instruction"] in _spellings(decode(mended)[0])


FILES = {
    "reserved_fields.json": Family(compare_reserved, frozenset({"kernel_log_tail"}), tests_of),
}
