# SPDX-License-Identifier: Apache-2.0
"""Structures of bpf(2) as data: the layout against C's rules and the kernel's header, values against their fields."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.bpf.errors import BpfMisuseError
from prestocloud_sec.bpf.linux.attr import LAYOUTS, MAP_INFO, PROGRAM_INFO, Attr, Command, Layout, content, make_buffer
from prestocloud_sec.bpf.linux.host import parse_processors
from prestocloud_sec.errors import UnavailableError

ALL = [*LAYOUTS.values(), MAP_INFO, PROGRAM_INFO]
_ELEMENT = "0 map_fd,8 key,16 value,24 flags"
OFFSETS = {
    "MAP_CREATE": "0 map_type,4 key_size,8 value_size,12 max_entries,16 map_flags,20 inner_map_fd,24 numa_node,"
    "28 map_name,44 map_ifindex,48 btf_fd,52 btf_key_type_id,56 btf_value_type_id,60 btf_vmlinux_value_type_id,"
    "64 map_extra",
    "MAP_LOOKUP_ELEM": _ELEMENT,
    "MAP_UPDATE_ELEM": _ELEMENT,
    "MAP_DELETE_ELEM": _ELEMENT,
    "MAP_LOOKUP_AND_DELETE_ELEM": _ELEMENT,
    "MAP_GET_NEXT_KEY": "0 map_fd,8 key,16 next_key",
    "MAP_FREEZE": "0 map_fd",
    "MAP_GET_FD_BY_ID": "0 map_id,4 next_id,8 open_flags",
    "MAP_LOOKUP_BATCH": "0 in_batch,8 out_batch,16 keys,24 values,32 count,36 map_fd,40 elem_flags,48 flags",
    "PROG_LOAD": "0 prog_type,4 insn_cnt,8 insns,16 license,24 log_level,28 log_size,32 log_buf,40 kern_version,"
    "44 prog_flags,48 prog_name,64 prog_ifindex,68 expected_attach_type,72 prog_btf_fd,76 func_info_rec_size,"
    "80 func_info,88 func_info_cnt,92 line_info_rec_size,96 line_info,104 line_info_cnt,108 attach_btf_id,"
    "112 attach_prog_fd,116 core_relo_cnt,120 fd_array,128 core_relos,136 core_relo_rec_size,140 log_true_size",
    "PROG_TEST_RUN": "0 prog_fd,4 retval,8 data_size_in,12 data_size_out,16 data_in,24 data_out,32 repeat,36 duration,"
    "40 ctx_size_in,44 ctx_size_out,48 ctx_in,56 ctx_out,64 flags,68 cpu,72 batch_size",
    "PROG_GET_FD_BY_ID": "0 prog_id,4 next_id",
    "OBJ_GET_INFO_BY_FD": "0 bpf_fd,4 info_len,8 info",
    "bpf_map_info": "0 type,4 id,8 key_size,12 value_size,16 max_entries,20 map_flags,24 name,80 map_extra",
    "bpf_prog_info": "0 type,4 id,8 tag,16 jited_prog_len,20 xlated_prog_len,64 name,216 verified_insns",
}
"""Of ``include/uapi/linux/bpf.h``, as a C compiler lays it out."""


@pytest.mark.parametrize("layout", ALL, ids=lambda layout: layout.name)
def test_fields_neither_overlap_nor_stand_askew(layout: Layout) -> None:
    end = 0
    for field in layout.fields.values():
        assert field.offset >= end
        assert field.name.endswith("name") or field.offset % field.kind.size == 0
        end = field.offset + field.kind.size
    assert layout.size % 8 == 0
    assert 0 <= layout.size - end < 8


@pytest.mark.parametrize("command", [c for c in Command if c not in {Command.MAP_GET_FD_BY_ID, Command.MAP_FREEZE}])
def test_attrs_have_no_holes_that_could_hold_a_field(command: Command) -> None:
    """C leaves a gap only where the next field needs it to be aligned."""
    end = 0
    for field in LAYOUTS[command].fields.values():
        if (command, field.name) == (Command.PROG_LOAD, "insns"):
            assert end == 8
        size = 4 if field.name.endswith("name") else field.kind.size
        assert field.offset == end + -end % size
        end = field.offset + field.kind.size


@pytest.mark.parametrize("name", OFFSETS)
def test_offsets_are_those_of_the_kernels_header(name: str) -> None:
    layout = next(layout for layout in ALL if layout.name == name)
    expected = {field: int(at) for at, field in (row.split() for row in OFFSETS[name].split(","))}
    assert {field.name: field.offset for field in layout.fields.values()} == expected


def test_numbers_of_commands() -> None:
    assert {command.name: int(command) for command in Command} == {
        "MAP_CREATE": 0,
        "MAP_LOOKUP_ELEM": 1,
        "MAP_UPDATE_ELEM": 2,
        "MAP_DELETE_ELEM": 3,
        "MAP_GET_NEXT_KEY": 4,
        "PROG_LOAD": 5,
        "PROG_TEST_RUN": 10,
        "PROG_GET_FD_BY_ID": 13,
        "MAP_GET_FD_BY_ID": 14,
        "OBJ_GET_INFO_BY_FD": 15,
        "BTF_LOAD": 18,
        "MAP_LOOKUP_AND_DELETE_ELEM": 21,
        "MAP_FREEZE": 22,
        "MAP_LOOKUP_BATCH": 24,
    }


def test_an_attr_is_packed_and_read_back() -> None:
    keys = make_buffer(8)
    attr = Attr(Command.MAP_LOOKUP_BATCH, map_fd=7, count=3, keys=keys, elem_flags=1 << 40)
    assert (attr["map_fd"], attr["count"], attr["elem_flags"], attr["values"]) == (7, 3, 1 << 40, 0)
    assert attr["keys"] != 0
    assert bytes(attr.memory)[32:48] == bytes.fromhex("03000000 07000000 0000000000010000")
    named = Attr(Command.MAP_CREATE, map_name="flows")
    assert named.text("map_name") == "flows"
    assert bytes(named.memory)[28:44] == b"flows".ljust(16, b"\0")
    assert Attr(Command.MAP_LOOKUP_ELEM, map_fd=-1)["map_fd"] == -1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"map_type": -1}, "map_type"),
        ({"map_type": 1 << 32}, "map_type"),
        ({"map_type": 1.0}, "map_type"),
        ({"map_type": None}, "map_type"),
        ({"map_type": "2"}, "map_type"),
        ({"map_type": 10**5000}, "map_type"),
        ({"map_extra": 1 << 64}, "map_extra"),
        ({"inner_map_fd": -2}, "inner_map_fd"),
        ({"inner_map_fd": 1 << 31}, "inner_map_fd"),
        ({"map_name": b"x"}, "map_name"),
        ({"map_name": "x" * 17}, "map_name"),
        ({"map_name": "é" * 9}, "map_name"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_what_does_not_fit_a_field_is_refused_by_name(values: dict[str, object], says: str) -> None:
    with pytest.raises(BpfMisuseError, match=says):
        Attr(Command.MAP_CREATE, **values)


@pytest.mark.parametrize("value", [1, b"key", "key", bytearray(4)])
def test_a_pointer_takes_nothing_but_a_buffer(value: object) -> None:
    with pytest.raises(BpfMisuseError, match="expected a buffer or None"):
        Attr(Command.MAP_LOOKUP_ELEM, key=value)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1))
def test_every_number_of_its_range_comes_back(large: int, small: int) -> None:
    attr = Attr(Command.MAP_CREATE, map_extra=large, key_size=small)
    assert (attr["map_extra"], attr["key_size"]) == (large, small)
    with pytest.raises(BpfMisuseError, match="no field"):
        attr["insns"]


def test_buffers_hold_what_they_were_made_of() -> None:
    assert content(make_buffer(b"a\0b"), 3) == b"a\0b"
    assert content(make_buffer(b""), 0) == b""
    assert content(make_buffer(3), 99) == bytes(3)
    assert content(make_buffer(3), -1) == b""


@pytest.mark.parametrize(
    ("text", "processors"), [("0\n", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2-3,9\n", (0, 2, 3, 9)), ("7", (7,))]
)
def test_lists_of_processors(text: str, processors: tuple[int, ...]) -> None:
    assert parse_processors(text) == processors


@pytest.mark.parametrize("text", ["", "x", "1-", "-1", "3-2", "0-99999", "1,,2", "²", "0-65535,0-65535", "9" * 5000])
def test_what_is_no_list_of_processors(text: str) -> None:
    with pytest.raises(UnavailableError, match="list of processors"):
        parse_processors(text)


@given(st.text(st.sampled_from("0123456789,- \n"), max_size=40))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        found = parse_processors(text)
    except UnavailableError:
        return
    assert len(found) == len(re.findall(r"\d+", text)) or "-" in text
