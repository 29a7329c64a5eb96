# SPDX-License-Identifier: Apache-2.0
"""The running kernel's types, and programs that name functions of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prestocloud_sec.bpf import ProgramType, assemble
from prestocloud_sec.bpf.errors import BpfMisuseError, BtfError, LoadError
from prestocloud_sec.bpf.linux import KernelProgram, kernel_types
from prestocloud_sec.bpf.linux.kernel_types import vmlinux_btf
from prestocloud_sec.bpf.object.types import Function
from prestocloud_sec.errors import UnavailableError
from tests.bpf.linux.kernel import needs_kernel

COUNT = """
    r1 = r10
    r1 += -8
    r2 = 1
    r3 = 2
    call kfunc bpf_iter_num_new
    r6 = r0
    r1 = r10
    r1 += -8
    call kfunc bpf_iter_num_destroy
    r0 = r6
    exit
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a place for types that are not the kernel's."""
    monkeypatch.setattr(kernel_types, "_VMLINUX", tmp_path / "vmlinux")
    vmlinux_btf.cache_clear()
    yield tmp_path / "vmlinux"
    vmlinux_btf.cache_clear()


@needs_kernel
class TestNames:
    def test_a_program_is_loaded_with_numbers(self) -> None:
        with KernelProgram.load(assemble(COUNT, type=ProgramType.XDP)) as loaded:
            assert loaded.test_run(bytes(14)).value == 0

    def test_the_number_is_that_of_a_function(self) -> None:
        number = kernel_types.kfunc_id("bpf_iter_num_new")
        found = vmlinux_btf()[number]
        assert isinstance(found, Function)
        assert found.name == "bpf_iter_num_new"
        numbered = COUNT.replace("kfunc bpf_iter_num_new", f"kfunc {number}")
        with KernelProgram.load(assemble(numbered, type=ProgramType.XDP)) as loaded:
            assert loaded.test_run(bytes(14)).value == 0

    def test_a_function_that_the_kernel_does_not_have(self) -> None:
        with pytest.raises(UnavailableError, match="no function 'bpf_iter_num_old'"):
            KernelProgram.load(assemble("call kfunc bpf_iter_num_old\nexit", type=ProgramType.XDP))

    def test_a_type_is_no_function(self) -> None:
        with pytest.raises(UnavailableError, match="no function 'task_struct'"):
            kernel_types.kfunc_id("task_struct")

    @pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000])
    def test_what_can_be_no_name(self, name: str) -> None:
        with pytest.raises(BpfMisuseError):
            kernel_types.kfunc_id(name)

    def test_one_that_programs_may_not_call(self) -> None:
        with pytest.raises(LoadError, match="calling kernel function vfs_read is not allowed"):
            KernelProgram.load(assemble("call kfunc vfs_read\nexit", type=ProgramType.XDP))


def test_a_kernel_that_shows_no_types(elsewhere: Path) -> None:
    with pytest.raises(UnavailableError, match=r"the kernel does not show its types \[ENOENT\]") as refused:
        kernel_types.kfunc_id("bpf_iter_num_new")
    assert refused.value.where == str(elsewhere)


def test_what_is_no_btf(elsewhere: Path) -> None:
    elsewhere.write_bytes(b"none")
    for ask in (vmlinux_btf, lambda: kernel_types.kfunc_id("bpf_iter_num_new")):
        with pytest.raises(BtfError, match="4 bytes in all"):
            ask()
