# SPDX-License-Identifier: Apache-2.0
"""Steps that ask for something about the command itself, or about the one who gives it.

Source: TPM 2.0 Library, Part 3, 23.9 (locality), 23.11 (command code), 23.12 (physical presence), 23.13 (cpHash), 23.14
(nameHash), 23.15 (duplication), 23.17 (authValue), 23.18 (password), 23.21 (template), 23.20 (NV written).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from prestocloud_sec.tpm._given import octets
from prestocloud_sec.tpm.errors import PolicyError, TpmMisuseError
from prestocloud_sec.tpm.hashes import HashAlgorithm, HashName, hash_of
from prestocloud_sec.tpm.policy.kinds import DIGEST, FLAG, NAME, NAME_OR_NONE, Kind, Whole, shown_bytes
from prestocloud_sec.tpm.policy.step import Step, sized
from prestocloud_sec.tpm.session.formulas import cp_hash
from prestocloud_sec.tpm.spec.attributes import TPMA_LOCALITY
from prestocloud_sec.tpm.spec.commands.policies import (
    PolicyAuthValue,
    PolicyCommandCode,
    PolicyCpHash,
    PolicyDuplicationSelect,
    PolicyLocality,
    PolicyNameHash,
    PolicyNvWritten,
    PolicyPassword,
    PolicyPhysicalPresence,
    PolicyTemplate,
)
from prestocloud_sec.tpm.spec.constants import TPM_CC
from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC
from prestocloud_sec.wire import items_of, shown, whole

if TYPE_CHECKING:
    from prestocloud_sec.tpm.policy.run import Course
    from prestocloud_sec.wire import BytesLike

__all__ = [
    "AuthValue",
    "CommandCode",
    "CpHash",
    "DuplicationSelect",
    "Locality",
    "NameHash",
    "NvWritten",
    "Password",
    "PhysicalPresence",
    "Template",
]


@dataclass(frozen=True, slots=True)
class AuthValue(Step):
    """The one who uses the object has to prove that he knows its authorization value, by an HMAC."""

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command; afterwards the session's HMAC is keyed with the value."""
        yield from course.command(PolicyAuthValue(course.handle))


@dataclass(frozen=True, slots=True)
class Password(Step):
    """The one who uses the object has to give its authorization value in plain.

    The digest is that of `AuthValue`: an object cannot tell whether its value has to be proved or to be given.
    """

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        return AuthValue().extend(digest, algorithm)

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command; afterwards the session gives the value."""
        yield from course.command(PolicyPassword(course.handle))


@dataclass(frozen=True, slots=True)
class PhysicalPresence(Step):
    """Somebody has to be at the machine, and to say so."""

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        yield from course.command(PolicyPhysicalPresence(course.handle))


class _CommandKind(Whole):
    """A command code; a caller may give the name, JSON has the number."""

    def admit(self, value: Any, where: str) -> int:
        """Return the code."""
        if isinstance(value, str):
            name = value.removeprefix("TPM2_").removeprefix("TPM_CC_")
            if name not in TPM_CC.__members__:
                raise TpmMisuseError(shown(value), where=where, expected="a command code, or a name such as Unseal")
            return TPM_CC[name]
        code = super().admit(value, where)
        return TPM_CC(code) if code in set(TPM_CC) else code


@dataclass(frozen=True, slots=True)
class CommandCode(Step):
    """The object is used in one command only.

    Attributes
    ----------
    command : TPM_CC, int or str
        The command, its code or its name; held as the TPM_CC, where it is one.

    >>> CommandCode("Unseal")
    CommandCode(command=<TPM_CC.Unseal: 350>)
    """

    command: int

    kinds: ClassVar[Mapping[str, Kind]] = {"command": _CommandKind(0, 0xFFFFFFFF)}

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        return self._hashed(digest, algorithm, self.command.to_bytes(4, "big"))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        command = PolicyCommandCode(course.handle, self.command)  # type: ignore[arg-type]  # may be a vendor's
        yield from course.command(command)

    def words(self) -> str:
        """Return the name of the command."""
        return TPM_CC(self.command).name if self.command in set(TPM_CC) else f"0x{self.command:08x}"


@dataclass(frozen=True, slots=True)
class Locality(Step):
    """The command has to be given from one of some localities.

    Attributes
    ----------
    localities : TPMA_LOCALITY or int
        The TPMA_LOCALITY byte: bit n for locality n (0 to 4), or the number of an extended locality (32 to 255). Where
        there are several such steps, what is allowed is what all of them allow.
    """

    localities: int

    kinds: ClassVar[Mapping[str, Kind]] = {"localities": Whole(0, 0xFF)}

    @classmethod
    def of(cls, *localities: int) -> Locality:
        """Return the step for localities by their numbers: any of 0 to 4, or one of 32 to 255.

        >>> Locality.of(0, 3)
        Locality(localities=9)
        """
        numbers = [whole(number, "locality", 0, 0xFF, error=TpmMisuseError) for number in localities]
        if len(numbers) == 1 and numbers[0] >= 32:
            return cls(numbers[0])
        if not numbers or max(numbers) > 4:
            raise TpmMisuseError(f"{numbers}", where="locality", expected="any of 0 to 4, or one of 32 to 255")
        return cls(sum(1 << number for number in set(numbers)))

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        return self._hashed(digest, algorithm, bytes((self.localities,)))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        yield from course.command(PolicyLocality(course.handle, TPMA_LOCALITY(self.localities)))

    def words(self) -> str:
        """Return the numbers of the localities."""
        if self.localities >= 32:
            return str(self.localities)
        return " or ".join(str(number) for number in range(5) if self.localities >> number & 1) or "none"


@dataclass(frozen=True, slots=True)
class NvWritten(Step):
    """The NV index that is used was written before, or was not.

    Attributes
    ----------
    written : bool
        Which of the two.
    """

    written: bool = True

    kinds: ClassVar[Mapping[str, Kind]] = {"written": FLAG}

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        return self._hashed(digest, algorithm, bytes((self.written,)))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        yield from course.command(PolicyNvWritten(course.handle, self.written))

    def words(self) -> str:
        """Return which of the two."""
        return "yes" if self.written else "no"


class _Digested(Step):
    """A step that is a digest of something."""

    __slots__ = ()
    digest: bytes
    command: ClassVar[Any]

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step.

        Raises
        ------
        PolicyError
            If the digest in the step is not of this hash.
        """
        return self._hashed(digest, algorithm, sized(self.digest, algorithm, f"{type(self).__name__}.digest"))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        yield from course.command(self.command(course.handle, self.digest))

    def words(self) -> str:
        """Return the beginning of the digest."""
        return shown_bytes(self.digest)


@dataclass(frozen=True, slots=True)
class CpHash(_Digested):
    """The object is used in one command with just these parameters.

    Attributes
    ----------
    digest : bytes
        The cpHash, with the hash of the policy.
    """

    digest: bytes

    kinds: ClassVar[Mapping[str, Kind]] = {"digest": DIGEST}
    command: ClassVar[Any] = PolicyCpHash

    @classmethod
    def of(cls, hash: HashName, code: int, names: Iterable[BytesLike], parameters: BytesLike) -> CpHash:
        """Return the step for a command; see `prestocloud_sec.tpm.session.cp_hash`."""
        return cls(cp_hash(hash, code, names, parameters))


@dataclass(frozen=True, slots=True)
class NameHash(_Digested):
    """The object is used in commands on just these entities.

    Attributes
    ----------
    digest : bytes
        The digest of their Names, with the hash of the policy.
    """

    digest: bytes

    kinds: ClassVar[Mapping[str, Kind]] = {"digest": DIGEST}
    command: ClassVar[Any] = PolicyNameHash

    @classmethod
    def of(cls, hash: HashName, names: Iterable[BytesLike]) -> NameHash:
        """Return the step for entities, given by their Names in the order of the command's handles."""
        found = [octets(name, "name") for name in items_of(names, "names", "bytes", error=TpmMisuseError)]
        return cls(hash_of(hash).digest(*found))


@dataclass(frozen=True, slots=True)
class Template(_Digested):
    """The parent is used to create objects from one template.

    Attributes
    ----------
    digest : bytes
        The digest of the TPMT_PUBLIC, with the hash of the policy.
    """

    digest: bytes

    kinds: ClassVar[Mapping[str, Kind]] = {"digest": DIGEST}
    command: ClassVar[Any] = PolicyTemplate

    @classmethod
    def of(cls, hash: HashName, template: TPMT_PUBLIC) -> Template:
        """Return the step for a template."""
        if not isinstance(template, TPMT_PUBLIC):
            raise TpmMisuseError(type(template).__name__, where="template", expected="a TPMT_PUBLIC")
        return cls(hash_of(hash).digest(template.encode()))


@dataclass(frozen=True, slots=True)
class DuplicationSelect(Step):
    """The object is duplicated to one parent only.

    Attributes
    ----------
    new_parent : bytes
        The Name of that parent.
    object : bytes
        The Name of the object, which the TPM compares. A policy that is to be the object's own cannot have it, because
        it is a part of the Name; so it is not in the digest, unless `include_object` says so.
    include_object : bool
        Whether the object's Name is in the digest; for a policy that is approved later (`Authorize`).
    """

    new_parent: bytes
    object: bytes = b""
    include_object: bool = False

    kinds: ClassVar[Mapping[str, Kind]] = {"new_parent": NAME, "object": NAME_OR_NONE, "include_object": FLAG}

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        if self.include_object and not self.object:
            raise PolicyError("no object to include", where="DuplicationSelect.object", expected="its Name")

    def extend(self, digest: bytes, algorithm: HashAlgorithm) -> bytes:
        """Return the policy's digest after this step."""
        name = self.object if self.include_object else b""
        return self._hashed(digest, algorithm, name, self.new_parent, bytes((self.include_object,)))

    def run(self, course: Course) -> Generator[Any, Any, None]:
        """Yield the command."""
        names = self.object, self.new_parent
        yield from course.command(PolicyDuplicationSelect(course.handle, *names, self.include_object))

    def words(self) -> str:
        """Return the beginnings of the Names."""
        what = f"{shown_bytes(self.object)} " if self.include_object else ""
        return f"{what}to {shown_bytes(self.new_parent)}"
