# SPDX-License-Identifier: Apache-2.0
"""LLVM through llvmlite: from IR to an object, from an object to code that can be called.

How much LLVM optimises depends on the size of the program: everything for small ones, less above `MIDDLE`
instructions, nothing above `LARGE`, where optimising would take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["LARGE", "MIDDLE", "Code", "compile_object", "host_name", "level_for", "load_object"]

MIDDLE = 1500
LARGE = 6000


def level_for(instructions: int) -> int:
    """Return the level of optimisation, 0 to 2, for a program of so many instructions."""
    return 2 if instructions <= MIDDLE else 1 if instructions <= LARGE else 0


@cache
def _binding() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def host_name() -> str:
    """Return what compiled code depends on besides its IR: version of LLVM, processor, and its features."""
    binding = _binding()
    version = ".".join(map(str, binding.llvm_version_info))
    return f"{version} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


@cache
def _machine(level: int) -> Any:
    binding = _binding()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=level,
        reloc="pic",
        codemodel="small",
    )


def compile_object(text: str, level: int) -> bytes:
    """Return the object code of a module."""
    binding = _binding()
    module = binding.parse_assembly(text)
    module.verify()
    machine = _machine(level)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    if level:
        tuning = binding.create_pipeline_tuning_options(level)
        tuning.loop_vectorization = False
        tuning.slp_vectorization = False
        builder = binding.create_pass_builder(machine, tuning)
        passes = builder.getModulePassManager()
        try:
            passes.run(module, builder)
        finally:
            _give_back(passes)
    emitted: bytes = machine.emit_object(module)
    return emitted


def _give_back(passes: Any) -> None:
    """Free a pass manager.

    Its own ``close`` does not: of the two classes that it inherits ``_dispose`` from, the one that does nothing comes
    first (llvmlite 0.50), and each compilation would keep some 48 KB.
    """
    from llvmlite.binding.newpassmanagers import NewPassManager

    dispose = getattr(NewPassManager, "_dispose", None)
    if dispose is not None:  # in a version without it, `passes` frees itself, or keeps what it has
        dispose(passes)
        passes.detach()


@dataclass(frozen=True, slots=True)
class Code:
    """Loaded code: where its functions are. Valid as long as this object lives.

    Attributes
    ----------
    main, callback : int
        Addresses.
    engine : object
        What owns the code.
    packets : int
        Address of the loop over packets, 0 where there is none.
    """

    main: int
    callback: int
    engine: Any
    packets: int = 0


def load_object(data: bytes, tags: Sequence[str] = ("",), *, loop: bool = False) -> list[Code]:
    """Load an object that `compile_object` made on such a machine; return the code of each program in it, by tag."""
    binding = _binding()
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _fresh_machine())
    engine.add_object_file(binding.object_file.ObjectFileRef.from_data(data))
    engine.finalize_object()
    address = engine.get_function_address
    packets = address("packets") if loop else 0
    return [Code(address(f"main{tag}"), address(f"callback{tag}"), engine, packets) for tag in tags]


def _fresh_machine() -> Any:
    """Return a target machine of its own for an engine, which takes it over."""
    binding = _binding()
    return binding.Target.from_default_triple().create_target_machine(reloc="pic", codemodel="jitdefault", jit=True)
