# SPDX-License-Identifier: Apache-2.0
"""Makes ``specification.json`` of a machine-readable specification: names, types, numbers and roles, nothing else.

``python -m tests.tpm.codec.specification SCHEMA`` writes the file anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Tables = dict[str, dict[str, Any]]

WIDTHS = {"UINT8": "B", "INT8": "b", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "TPM_HANDLE": "I", "TPM_CC": "I"}
PREFIXES = {
    "TPM_ECC_CURVE": "TPM_ECC_",
    "TPM_CLOCK_ADJUST": "TPM_CLOCK_",
    "TPM_CONSTANTS32": "TPM_",
    "TPM_ALG_ID": "TPM_ALG_",
}
OTHER_NAMES = {"TPM_RS_PW": "RS_PW", "sign/encrypt": "sign_encrypt"}
RESPONSE_PIECES = set("ABCDEF")
LATER_DIGESTS = {"SHA256_192": 24, "SHAKE256_192": 24, "SHAKE256_256": 32, "SHAKE256_512": 64}


def member_name(kind: str, name: str) -> str:
    """Return the name of a constant without the prefix of its type."""
    short = OTHER_NAMES.get(name) or name.removeprefix(PREFIXES.get(kind, f"{kind}_"))
    return f"N{short}" if kind == "TPM_RC" and (short[0].isdigit() or short in RESPONSE_PIECES) else short


def bit_names(name: str) -> list[str]:
    """Return the names of a bit; some have two."""
    if name in OTHER_NAMES:
        return [OTHER_NAMES[name]]
    return name.removeprefix("TPMA_NV_").removeprefix("TPMA_").split("/")


class Numbers:
    """What the constants of a schema are, by their full names."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.known: dict[str, int] = {"NO": 0, "YES": 1}
        for table in schema["constants"].values():
            self.known |= table["values"]
        sizes = schema["implementation_values_ms_reference"]
        self.lists = {f"${name}": json.loads(f"[{text[1:-1]}]") for name, text in sizes.items() if text[:1] == "{"}
        curves = schema["constants"]["TPM_ECC_CURVE"]["values"]
        self.lists["$ECC_CURVES"] = [number for name, number in curves.items() if name != "TPM_ECC_NONE"]

    def __getitem__(self, name: str) -> int:
        return int(name, 16) if name.startswith("0x") else self.known[name]

    def values(self, kind: str, values: list[Any]) -> Iterator[int]:
        for value in values:
            if isinstance(value, dict):
                continue
            if not value.startswith("$"):
                yield self[value]
            elif value.split("_")[0][1:] in kind or value in ("$RSA_KEY_SIZES_BITS", "$ECC_CURVES"):
                yield from self.lists[value]


def _row(field: dict[str, Any]) -> list[Any]:
    return [field["name"], field["type"], bool(field.get("null_ok"))]


def tables_of(schema: dict[str, Any]) -> Tables:
    """Return the tables that the declarations are compared with."""
    numbers = Numbers(schema)
    digests = {**schema["digest_sizes"], **{f"TPM_ALG_{name}": size for name, size in LATER_DIGESTS.items()}}

    def member(union: str, m: dict[str, Any]) -> list[Any]:
        size = digests[m["selectors"][0]] if union == "TPMU_HA" and m["type"] else None
        return [m["name"], m["type"], bool(m.get("null_ok")), [_selector(s) for s in m["selectors"]], size]

    def _selector(name: str) -> int:
        return numbers[name]

    def interface(name: str, table: dict[str, Any]) -> list[Any]:
        null, rc = table["null"], table["rc"]
        return [
            table["base"],
            None if null is None else numbers[null],
            None if rc is None else numbers[rc],
            list(numbers.values(name, table["values"])),
            [[numbers[end] for end in value["range"]] for value in table["values"] if isinstance(value, dict)],
        ]

    return {
        "numbers": {name: [t["size"], t["signed"]] for name, t in schema["base_types"].items()},
        "constants": {
            name: [WIDTHS[t["base"]], {member_name(name, m): v for m, v in t["values"].items()}]
            for name, t in schema["constants"].items()
        },
        "attributes": {
            name: [
                WIDTHS[t["base"]],
                {bit: [f["lsb"], f["width"]] for f in t["fields"] for bit in bit_names(f["name"])},
            ]
            for name, t in schema["attributes"].items()
        },
        "interfaces": {name: interface(name, t) for name, t in schema["interface_types"].items()},
        "aliases": {name: t["type"] for name, t in schema["aliases"].items()},
        "structures": {
            name: [t["kind"], [[*_row(f), f.get("selector")] for f in t["fields"]]]
            for name, t in schema["structures"].items()
        },
        "unions": {name: [member(name, m) for m in t["members"]] for name, t in schema["unions"].items()},
        "commands": {
            name: {
                "code": c["code"],
                "handles": [[*_row(f), f["auth"]["role"] if f.get("auth") else None] for f in c["handles"]],
                "params": [_row(f) for f in c["params"]],
                "rhandles": [_row(f) for f in c["rhandles"]],
                "rparams": [_row(f) for f in c["rparams"]],
                "sessions": c["sessions"],
                "effects": [bool(c["tpma_cc"][flag]) for flag in ("nv", "extensive", "flushed")],
                "encryptable": [c["first_param_encryptable"], c["first_rparam_encryptable"]],
            }
            for name, c in schema["commands"].items()
        },
    }


def main() -> None:
    tables = tables_of(json.loads(Path(sys.argv[1]).read_text()))
    lines = (
        f"{json.dumps(table)}: {{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in rows.items())
        + "\n}"
        for table, rows in tables.items()
    )
    Path(__file__).with_name("specification.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
