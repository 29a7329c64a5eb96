# SPDX-License-Identifier: Apache-2.0
"""The declarations say what the tables of the specification say; every field says what it means.

``specification.json`` holds names, types, selectors, numbers and roles of the tables of TPM 2.0 Library, Parts 2 and 3,
in revision 1.59, and what revisions up to 1.84 add. Where a machine-readable specification lies beside the checkout,
the file is compared with it too.
"""

from __future__ import annotations

import ast
import inspect
import json
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from prestocloud_sec.tpm import spec
from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Nested, Scalar, layout_of
from prestocloud_sec.tpm.codec.walk import walk_decode
from prestocloud_sec.tpm.spec import COMMANDS_BY_NAME, TPM_RC, TPM_RH
from prestocloud_sec.tpm.spec.declare import (
    CONSTANTS,
    Allowed,
    Attributes,
    AuthRole,
    Boxed,
    Fixed,
    Listed,
    Number,
    Sized,
    Structure,
    Union,
)
from tests.conformance.harness import REPOSITORY

HERE = Path(__file__).parent
TABLES: dict[str, dict[str, Any]] = json.loads((HERE / "specification.json").read_text())

CODES = {"UINT8": "B", "INT8": "b", "UINT16": "H", "UINT32": "I", "UINT64": "Q"}

MORE_NULLS = {
    *((f"{name}.Response", "signature") for name in ("Certify", "CertifyCreation", "Quote", "GetTime", "NV_Certify")),
    *((f"{name}.Response", "signature") for name in ("GetSessionAuditDigest", "GetCommandAuditDigest")),
    ("ReadPublic.Response", "outPublic"),
    ("TPMS_TAGGED_POLICY", "policyHash"),
}
"""Where a TPM answers NULL, though the table does not say so: without a key nothing is signed, an object without a Name
has a public area all the same, and a hierarchy without a policy is listed."""

MORE_MEMBERS = {"TPM_RH": {"PW"}}
"""Members that the tables do not have: other names of theirs."""


def marks(hint: Any) -> tuple[Any, ...]:
    return tuple(getattr(hint, "__metadata__", ()))


def mark(hint: Any, kind: type) -> Any:
    return next(m for m in marks(hint) if isinstance(m, kind))


def plus(text: str) -> tuple[str, bool]:
    return text.strip("+"), "+" in text


@pytest.mark.parametrize("name", TABLES["constants"])
def test_constants(name: str) -> None:
    code, members = TABLES["constants"][name]
    ours = {n: int(m) for n, m in getattr(spec, name).__members__.items() if n not in MORE_MEMBERS.get(name, ())}
    assert ours == members
    assert CONSTANTS[getattr(spec, name)].code == code


@pytest.mark.parametrize("name", TABLES["attributes"])
def test_attributes(name: str) -> None:
    code, fields = TABLES["attributes"][name]
    kind = getattr(spec, name)
    assert issubclass(kind, Attributes)
    assert {n: int(m) for n, m in kind.__members__.items()} == {
        n: ((1 << w) - 1) << low for n, (low, w) in fields.items()
    }
    used = 0
    for low, width in fields.values():
        used |= ((1 << width) - 1) << low
    number = CONSTANTS[kind]
    assert number.code == code
    assert number.reserved == (1 << 8 * {"B": 1, "I": 4, "Q": 8}[code]) - 1 - used


@pytest.mark.parametrize("name", TABLES["interfaces"])
def test_interface_types(name: str) -> None:
    """What the table allows is allowed here; ranges may be wider, as they are the implementation's."""
    base, null, rc, values, ranges = TABLES["interfaces"][name]
    hint = getattr(spec, name)
    allowed = mark(hint, Allowed)
    assert allowed.null == null
    assert rc is None or allowed.rc == rc
    for number in (*values, *(n for pair in ranges for n in pair)):
        assert number in allowed, f"{number:x}"
    if base in vars(spec) and isinstance(getattr(spec, base), type):
        assert hint.__origin__ is getattr(spec, base)
    else:
        assert hint.__origin__ in (int, bool)
        assert allowed.code == {"BYTE": "B", "TPM_KEY_BITS": "H", "TPM_HANDLE": "I"}[base]
    if null is not None:
        assert null not in allowed


@pytest.mark.parametrize("name", TABLES["numbers"])
def test_numbers(name: str) -> None:
    size, signed = TABLES["numbers"][name]
    code = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
    hint = getattr(spec, name)
    found = next(m for m in marks(hint) if isinstance(m, Number | Allowed))
    assert found.code == (code if signed else code.upper())


def fields_of(kind: type[Any]) -> list[list[Any]]:
    """Return the fields of a declaration as the tables have them: name, type, whether NULL is a value, selector."""
    rows: list[list[Any]] = []
    for field in layout_of(kind).fields:
        text, null = plus(field.text)
        selector = field.kind.selector if isinstance(field.kind, Choice) else None
        if text == "PCR_BITMAP":
            rows.append(["sizeofSelect", "UINT8", False, None])
            text = "BYTE"
        if (layout_of(kind).name, field.name) in MORE_NULLS:
            assert null
            null = False
        rows.append([field.name.rstrip("_"), text, null, selector])
    return rows


@pytest.mark.parametrize("name", TABLES["structures"])
def test_structures(name: str) -> None:
    kind, fields = TABLES["structures"][name]
    ours = getattr(spec, name)
    if kind == "struct":
        assert issubclass(ours, Structure)
        assert fields_of(ours) == fields
    elif kind == "tpm2b_bytes":
        assert mark(ours, Sized).name == fields[1][0]
        assert (mark(ours, Sized).size_name, mark(ours, Sized).code) == ("size", "H")
        assert ours.__origin__ is bytes
    elif kind == "tpm2b_struct":
        assert mark(ours, Boxed).name == fields[1][0]
        inner = [t for t in (get_args(ours.__origin__) or (ours.__origin__,)) if t is not type(None)]
        assert inner == [getattr(spec, fields[1][1])]
    else:
        assert kind == "list"
        assert mark(ours, Listed).name == fields[1][0]
        assert get_args(ours.__origin__)[0] == getattr(spec, fields[1][1])


@pytest.mark.parametrize("name", TABLES["aliases"])
def test_aliases(name: str) -> None:
    same = getattr(spec, TABLES["aliases"][name])
    if name == "TPM2B_AUTH":  # the same bytes, but secret
        assert mark(spec.TPM2B_AUTH, Sized)._replace(secret=False) == mark(same, Sized)
    elif name != "TPM_HANDLE":
        assert getattr(spec, name) == same


@pytest.mark.parametrize("name", TABLES["unions"])
def test_unions(name: str) -> None:
    union = mark(getattr(spec, name), Union)
    for member, (title, kind, null, selectors, size) in zip(union.members, TABLES["unions"][name], strict=True):
        assert member.name == title
        assert sorted(member.selectors) == sorted(selectors)
        if size is not None:
            assert member.type == Fixed(size)
        elif kind is None:
            assert member.type is None
        elif kind != "BYTE":
            assert getattr(member.type, "__origin__", member.type) is getattr(
                getattr(spec, kind), "__origin__", getattr(spec, kind)
            )
            assert {m for m in marks(getattr(spec, kind)) if not isinstance(m, Allowed)} <= set(marks(member.type))
            assert null == any(m is spec.declare.NULL for m in marks(member.type))


@pytest.mark.parametrize("name", TABLES["commands"])
def test_commands(name: str) -> None:
    table, command = TABLES["commands"][name], COMMANDS_BY_NAME[name]
    assert command.code == table["code"]
    handles = [[f.name, *plus(f.text), f.auth and f.auth.name] for f in layout_of(command).handles]
    assert handles == table["handles"]
    assert [row[:3] for row in fields_of(command)] == table["params"]
    assert [[f.name, *plus(f.text)] for f in layout_of(command.Response).handles] == table["rhandles"]
    assert [row[:3] for row in fields_of(command.Response)] == table["rparams"]
    assert command.sessions.value == table["sessions"]
    assert [command.nv, command.extensive, command.flushed] == table["effects"]
    assert [command.first_parameter_is_2b, command.Response.first_parameter_is_2b] == table["encryptable"]
    assert command.handle_auths == tuple(role and AuthRole[role] for *_, role in table["handles"])


def test_nothing_is_missing() -> None:
    assert set(COMMANDS_BY_NAME) == set(TABLES["commands"])
    counts = {"constants": 23, "attributes": 14, "interfaces": 53, "structures": 116, "unions": 19, "commands": 128}
    assert {table: len(TABLES[table]) for table in counts} == counts
    declared = {n for n in spec.__all__ if n.startswith(("TPM", "_PRIVATE"))}
    known = {n for table in TABLES.values() for n in table}
    assert declared <= known | {"TPM_HANDLE"}


# --- texts ------------------------------------------------------------------------------------------------------------


@cache
def classes_of(module: str) -> dict[str, ast.ClassDef]:
    """Return the class statements of a module of declarations, nested ones too, by their qualified names."""
    found: dict[str, ast.ClassDef] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                found[prefix + statement.name] = statement
                visit(statement.body, f"{prefix}{statement.name}.")

    visit(ast.parse(Path(inspect.getfile(__import__(module, fromlist=["_"]))).read_text()).body, "")
    return found


DECLARED = [
    *(k for k in (getattr(spec, n) for n in spec.__all__) if isinstance(k, type) and issubclass(k, Structure)),
    *COMMANDS_BY_NAME.values(),
    *(command.Response for command in COMMANDS_BY_NAME.values()),
]


@pytest.mark.parametrize("kind", [k for k in DECLARED if k is not Structure], ids=lambda kind: kind.__qualname__)
def test_every_field_says_what_it_means(kind: type[Any]) -> None:
    statement = classes_of(kind.__module__)[kind.__qualname__]
    assert ast.get_docstring(statement)
    body = [s for s in statement.body if not isinstance(s, ast.ClassDef | ast.FunctionDef)]
    for field, words in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(words, ast.Expr), f"{ast.unparse(field)} has no words"
            assert isinstance(words.value, ast.Constant)
            assert str(words.value.value).strip()


@pytest.mark.parametrize("kind", [k for k in DECLARED if k is not Structure and "." not in k.__qualname__])
def test_every_declaration_names_its_source(kind: type[Any]) -> None:
    assert any(source in (kind.__doc__ or "") for source in ("Part 2, table", "Part 3, ", "revision 1.83"))


def test_every_constant_has_a_source() -> None:
    for kind in CONSTANTS:
        assert "Part 2, " in (kind.__doc__ or "")


# --- what follows from them -------------------------------------------------------------------------------------------


def test_no_field_is_a_union_without_its_selector_before_it() -> None:
    for kind in DECLARED:
        if kind is Structure:
            continue
        seen: set[str] = set()
        for field in layout_of(kind).all:
            if isinstance(field.kind, Choice):
                assert field.kind.selector in seen
            seen.add(field.name)


def test_handles_that_need_authorization_come_first() -> None:
    for command in COMMANDS_BY_NAME.values():
        needed = [auth is not None for auth in command.handle_auths]
        assert needed == sorted(needed, reverse=True)


def test_every_kind_is_met() -> None:
    met = {type(field.kind) for kind in DECLARED if kind is not Structure for field in layout_of(kind).all}
    assert met >= {Scalar, Blob, Nested, Box, Array, Choice}


def test_a_new_structure_is_one_declaration() -> None:
    point = walk_decode(spec.TPMS_ECC_POINT, bytes.fromhex("000101000102"))
    assert (point.x, point.y) == (b"\x01", b"\x02")
    assert TPM_RH.OWNER == 0x40000001
    assert TPM_RC.SUCCESS == 0


# --- the specification beside the checkout ----------------------------------------------------------------------------

BESIDE = sorted(REPOSITORY.parent.glob("*/*/tpm-schema.json"))


@pytest.mark.skipif(not BESIDE, reason="../shared is not beside the checkout: no machine-readable specification")
def test_the_tables_are_those_of_the_specification() -> None:
    from tests.tpm.codec.specification import tables_of

    assert tables_of(json.loads(BESIDE[0].read_text())) == TABLES
