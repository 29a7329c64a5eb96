# SPDX-License-Identifier: Apache-2.0
"""Our decoded commands and responses, written down in the shape that the recorded trees have.

A TPM2B is its size and its bytes (or structure) under the name of Part 2, a list its count and elements, a union its
chosen member by name or nothing, an array of no bytes an empty list.
"""

from __future__ import annotations

from typing import Any

from prestocloud_sec.tpm.codec.fields import Array, Blob, Box, Choice, Digest, Field, Kind, Nested, Scalar, layout_of
from prestocloud_sec.tpm.codec.frame import CommandFrame, ResponseFrame
from prestocloud_sec.tpm.codec.tree import Decoded
from prestocloud_sec.tpm.spec import COMMANDS, TPMT_SYM_DEF, TPMT_SYM_DEF_OBJECT

Tree = Any


def octets(data: bytes) -> Tree:
    return {"hex": data.hex()} if data else []


def fields_of(owner: Any) -> Tree:
    """Return the fields of a structure, or the parameters of a command."""
    tree: dict[str, Tree] = {}
    for field in layout_of(type(owner)).fields:
        tree |= entry(field, getattr(owner, field.name), owner)
    if isinstance(owner, TPMT_SYM_DEF | TPMT_SYM_DEF_OBJECT):
        tree["details"] = {}  # TPMU_SYM_DETAILS, which has no bytes
    return tree


def entry(field: Field, value: Any, owner: Any) -> dict[str, Tree]:
    """Return a field under its name; bytes with a size of one byte stand beside it."""
    name = field.name.rstrip("_")
    if isinstance(field.kind, Blob) and field.kind.sized.code == "B":
        return {field.kind.sized.size_name: len(value), name: octets(value)}
    if isinstance(field.kind, Choice):
        selector = int(getattr(owner, field.kind.selector))
        member, kind = field.kind.union.by_selector[selector], field.kind.kinds[selector]
        return {name: {} if kind is None else {member.name: tree_of(kind, value)}}
    return {name: tree_of(field.kind, value)}


def tree_of(kind: Kind, value: Any) -> Tree:
    match kind:
        case Scalar():
            return int(value)
        case Blob():
            return {"size": len(value), kind.sized.name: octets(value)}
        case Digest():
            return octets(value)
        case Nested():
            return fields_of(value)
        case Box():
            size = 0 if value is None else len(value.encode())
            return {"size": size, kind.name: {} if value is None else fields_of(value)}
        case Array():
            return {"count": len(value), kind.name: [tree_of(kind.element, element) for element in value]}
    raise AssertionError(kind)


def handles_of(decoded: Decoded) -> Tree:
    assert decoded.code is not None
    declaration = COMMANDS[decoded.code] if decoded.kind == "command" else COMMANDS[decoded.code].Response
    return dict(zip(declaration.handle_names, (int(h) for h in decoded.frame.handles), strict=True))


def parameters_of(decoded: Decoded) -> Tree:
    if decoded.fields is None:
        return fields_of(decoded.value)
    (first, ciphertext), *others = decoded.fields  # a session encrypted the first parameter
    tree: dict[str, Tree] = {first.name: {"size": len(ciphertext), "encryptedParam": octets(ciphertext)}}
    for field, value in others:
        tree |= entry(field, value, None)
    return tree


def message(decoded: Decoded) -> Tree:
    """Return a command or response as a recorded tree."""
    frame = decoded.frame
    tree: dict[str, Tree] = {"tag": int(frame.tag), f"{decoded.kind}Size": len(decoded.raw)}
    if isinstance(frame, CommandFrame):
        tree |= {"commandCode": int(frame.code), "handles": handles_of(decoded)}
        if frame.auths:
            tree["authSize"] = sum(len(auth.encode()) for auth in frame.auths)
            tree["authorizationArea"] = [fields_of(auth) for auth in frame.auths]
        return tree | {"parameters": parameters_of(decoded)}
    assert isinstance(frame, ResponseFrame)
    tree["responseCode"] = frame.rc
    if frame.rc:
        return tree
    tree["handles"] = handles_of(decoded)
    if frame.auths:
        tree["parameterSize"] = len(frame.parameters)
        tree["authorizationArea"] = [fields_of(auth) for auth in frame.auths]
    return tree | {"parameters": parameters_of(decoded)}


RENAMED = {
    "HMAC": {"inScheme": "hashAlg", "outMAC": "outHMAC"},
    "HMAC_Start": {"inScheme": "hashAlg"},
}
"""Names of fields that the recorded trees take from HMAC, where we decode MAC, which has the same code and bytes."""


def as_recorded(name: str, tree: Tree) -> Tree:
    """Return a tree of ours as the recorder models the command `name`: FlushContext has its parameter as a handle."""
    if "parameters" not in tree:
        return tree
    names = RENAMED.get(name, {})
    parameters = {names.get(key, key): value for key, value in tree["parameters"].items()}
    if name == "FlushContext":
        return {**tree, "handles": parameters, "parameters": {}}
    return {**tree, "parameters": parameters}
