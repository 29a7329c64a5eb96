# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no BTF, what is said of them, and that the kernel refuses them as well."""

from __future__ import annotations

import struct

import pytest

from prestocloud_sec.bpf.errors import BtfError, KernelError
from prestocloud_sec.bpf.linux.functions import KernelBtf
from prestocloud_sec.bpf.object import Btf, Encoding
from prestocloud_sec.bpf.object.types import (
    Int,
    Void,
)
from tests.bpf.linux.kernel import needs_kernel
from tests.bpf.object.samples import INT, STRINGS, header, info, words

ONE = words(INT, info(1), 4, 1 << 24 | 32)
REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "0 bytes in all"),
    "half a header": (header()[:23], "23 bytes"),
    "other magic": (header(magic=0xEB9E), "does not begin BTF"),
    "big-endian": (header(magic=0x9FEB), "big-endian"),
    "version": (header(version=2), "version 2"),
    "flags": (header(flags=1), "flags 0x1"),
    "short header": (header(size=20), "a header of 20 bytes"),
    "long header": (header(size=1 << 31), "a header of"),
    "more in the header": (header(size=28)[:24] + b"\0\0\1\0" + b"\0", "more than is known"),
    "types outside": (header(ONE, types_len=1 << 31), "strings behind"),
    "strings outside": (header(ONE, strings_len=2), "strings behind"),
    "overlap": (header(ONE, strings_off=12), "strings behind"),
    "gap": (header(ONE, types_off=4), "strings behind"),
    "behind": (header(ONE) + b"\0", "strings behind"),
    "strings first": (struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 2, 16, 0, 2) + b"\0\0" + ONE, "strings behind"),
    "uneven": (header(ONE + b"\0"), "multiple of 4"),
    "no strings": (header(strings=b""), "zero"),
    "strings without an empty one": (header(strings=b"a\0"), "zero"),
    "strings without an end": (header(strings=b"\0a"), "zero"),
    "long string": (header(strings=b"\0" + b"a" * 1024 + b"\0"), "too long"),
    "half a type": (header(words(0, info(2))), "8 bytes left"),
    "half an integer": (header(words(0, info(1), 4)), "12 bytes left"),
    "more members than bytes": (header(words(0, info(4, 0xFFFF), 4)), "12 bytes left"),
    "kind 0": (header(words(0, 0, 0)), "there is no kind 0"),
    "kind 20": (header(words(0, info(20), 0)), "there is no kind 20"),
    "unused bits": (header(words(0, info(2) | 1 << 16, 0)), "0x02010000 has bits that mean nothing"),
    "flag without meaning": (header(words(0, info(2, flag=1), 0)), "flag"),
    "parts without meaning": (header(words(0, info(2, 1), 0)), "1 parts"),
    "name outside": (header(words(1, info(8), 0)), "its name is at 1"),
    "name of a pointer": (header(words(1, info(2), 0), b"\0a\0"), "no name"),
    "member's name outside": (header(words(0, info(4, 1), 4, 9, 0, 0)), "part's name"),
    "reference outside": (header(words(0, info(2), 2)), "refers to type 2"),
    "member of a type outside": (header(words(0, info(4, 1), 4, 0, 7, 0)), "refers to type 7"),
    "element outside": (header(words(0, info(3), 0, 3, 0, 1)), "refers to type 3"),
    "variable outside": (header(words(0, info(15, 1), 0, 5, 0, 1)), "refers to type 5"),
    "two encodings": (header(words(0, info(1), 4, 3 << 24 | 32)), "says nothing of an integer"),
    "bits beyond": (header(words(0, info(1), 4, 33)), "33 bits"),
    "bits beyond 128": (header(words(0, info(1), 32, 129)), "129 bits"),
    "array with a size": (header(words(0, info(3), 4, 0, 0, 0)), "its size is 4"),
    "enumeration of 3 bytes": (header(words(0, info(6), 3)), "3 bytes"),
    "float of 5 bytes": (header(words(0, info(16), 5)), "5 bytes"),
    "linkage of a function": (header(words(0, info(12, 3), 0)), "linkage 3"),
    "linkage of a variable": (header(words(0, info(14), 0, 3)), "linkage 3"),
    "component": (header(words(0, info(17), 0, -2)), "component -2"),
    "forward declaration with a type": (header(words(0, info(7), 1)), "a forward declaration refers to type 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    data, what = REFUSED[name]
    with pytest.raises(BtfError, match=what):
        Btf.from_bytes(data)


@needs_kernel
@pytest.mark.parametrize("name", REFUSED.keys() - {"long string"})
def test_the_kernel_refuses_them_too(name: str) -> None:
    with pytest.raises(KernelError):
        KernelBtf.of(REFUSED[name][0])


def test_refusals_name_the_place() -> None:
    with pytest.raises(BtfError) as caught:
        Btf.from_bytes(header(ONE + words(0, info(20), 0), STRINGS))
    assert (caught.value.type_id, caught.value.offset) == (2, 24 + 16)
    assert str(caught.value).startswith("type 2 (offset 40): there is no kind 20")


def test_the_first_type_that_refers_to_none_is_named() -> None:
    with pytest.raises(BtfError, match=r"refers to type 9; expected 0\.\.3") as caught:
        Btf.from_bytes(header(ONE + words(0, info(2), 9) + words(0, info(2), 10), STRINGS))
    assert (caught.value.type_id, caught.value.offset) == (2, 24 + 16)


def test_places_of_errors_are_joined() -> None:
    assert BtfError("wrong", where="records", type_id=4, offset=8).where == "records, type 4 (offset 8)"
    assert BtfError("wrong", where="records").where == "records"
    assert BtfError("wrong").where is None


@needs_kernel
@pytest.mark.parametrize(
    "data",
    [
        header(ONE, STRINGS),
        header(ONE, STRINGS, size=28)[:24] + bytes(4) + ONE + STRINGS,
    ],
    ids=["canonical", "long header"],
)
def test_layouts_that_the_kernel_takes(data: bytes) -> None:
    KernelBtf.of(data).close()
    btf = Btf.from_bytes(data)
    assert list(btf) == [Void(), Int("int", 4, 32, Encoding.SIGNED)]
    assert list(Btf.from_bytes(btf.to_bytes())) == list(btf)
