# SPDX-License-Identifier: Apache-2.0
"""libtpms through ctypes: loaded once for every TPM that runs at the same time.

The library has one TPM in its static memory (libtpms ``include/libtpms/tpm_library.h``). A second one runs in a copy of
the file that is loaded under another name. A `Library` is such a copy; copies are never unloaded but kept for the next
TPM, so that a process has as many as it ever had TPMs at a time; code that uses libtpms itself is left alone.

libtpms calls back for its state: `Storage` holds it, in memory or in a directory.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestocloud_sec.tpm.errors import TpmUnavailableError, TransportRefusedError
from prestocloud_sec.tpm.transport.stream import words_of

if TYPE_CHECKING:
    from prestocloud_sec.tpm.transport.storage import Storage

__all__ = ["PERMANENT", "VOLATILE", "Library", "available", "find"]

PERMANENT, VOLATILE = 1, 2
"""The states of ``TPMLIB_GetState`` and ``TPMLIB_SetState``."""

_SONAME = "libtpms.so.0"
_TPM2 = 1
_RESPONSE_BYTES = 1 << 16
"""Room for a response: more than any libtpms asks for (4096 to 0.10), or it would make its own."""

_PERMALL = b"permall"
_SUCCESS, _FAIL, _RETRY = 0, 9, 0x800

_LOAD = ctypes.CFUNCTYPE(
    ctypes.c_uint32,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_uint32,
    ctypes.c_char_p,
)
_STORE = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_char_p)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_char_p, ctypes.c_ubyte)
_PLAIN = ctypes.CFUNCTYPE(ctypes.c_uint32)
_LOCALITY = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32), ctypes.c_uint32)
_PRESENCE = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_uint32)


class _Callbacks(ctypes.Structure):
    """``struct libtpms_callbacks``."""

    _fields_ = (
        ("size", ctypes.c_int),
        ("nvram_init", _PLAIN),
        ("nvram_loaddata", _LOAD),
        ("nvram_storedata", _STORE),
        ("nvram_deletename", _DELETE),
        ("io_init", _PLAIN),
        ("io_getlocality", _LOCALITY),
        ("io_getphysicalpresence", _PRESENCE),
    )


class _Where(ctypes.Structure):
    """``Dl_info`` of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


@cache
def find() -> str:
    """Return the path of the libtpms that the system's loader finds.

    Raises
    ------
    TpmUnavailableError
        If it finds none.
    """
    try:
        function = ctypes.cast(ctypes.CDLL(_SONAME).TPMLIB_Process, ctypes.c_void_p)
        where = _Where()
        if ctypes.CDLL(None).dladdr(function, ctypes.byref(where)) and where.file:
            return os.fsdecode(where.file)
        reason = "the loader does not tell where it is"
    except (OSError, AttributeError) as error:
        reason = str(error)
    raise TpmUnavailableError(
        f"libtpms cannot be loaded: {reason}", where="embedded", hint="on Debian and Ubuntu: apt-get install libtpms0"
    )


def available() -> bool:
    """Return whether libtpms is here."""
    try:
        find()
    except TpmUnavailableError:
        return False
    return True


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.restype = None
    libc.free.argtypes = [ctypes.c_void_p]
    return libc


@cache
def _silence() -> int:
    """Return a descriptor for what libtpms would write on stderr: whole commands, passwords and all, when it fails."""
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _load_copy(path: str) -> ctypes.CDLL:
    """Load a copy of a library, under a name that nothing was loaded under before; no file is left."""
    try:
        with tempfile.TemporaryDirectory(prefix="libtpms-") as directory:
            copy = Path(directory, Path(path).name)
            shutil.copyfile(path, copy)
            try:
                return ctypes.CDLL(str(copy))
            except OSError:  # a file system that nothing may be run from; the loader says so in various words
                return _load_from_memory(path)
    except (OSError, UnicodeError) as error:
        raise TpmUnavailableError(f"libtpms cannot be loaded: {words_of(error)}", where=path) from error


def _load_from_memory(path: str) -> ctypes.CDLL:
    descriptor = os.memfd_create("libtpms")
    try:
        with Path(path).open("rb") as source, os.fdopen(descriptor, "wb", closefd=False) as target:
            shutil.copyfileobj(source, target)
        # The descriptor stays open: its number must not come back, for the loader knows libraries by their names.
        return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    except BaseException:
        os.close(descriptor)
        raise


class Library:
    """One copy of libtpms, and the TPM in it.

    Parameters
    ----------
    path : str
        The library to copy.
    """

    __slots__ = (
        "_callbacks",
        "_library",
        "_load",
        "_locality",
        "_path",
        "_store",
        "arguments",
        "fault",
        "length",
        "process",
        "response",
        "storage",
    )

    storage: Storage
    """Where the TPM that runs has its state."""

    fault: list[BaseException]
    """What went wrong in a callback, which can raise nothing itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._library = library = _load_copy(path)
        for needed in ("TPMLIB_ChooseTPMVersion", "TPMLIB_GetState", "TPMLIB_SetState", "TPMLIB_CancelCommand"):
            if not hasattr(library, needed):
                raise TpmUnavailableError(f"there is no {needed}", where=path, expected="libtpms 0.6 or later")
        library.TPMLIB_SetDebugFD(_silence())
        self.fault = []
        # What a call needs is made once. The memory for responses is malloc's, for libtpms may give it to realloc.
        memory = _libc().malloc(_RESPONSE_BYTES)
        pointer, capacity = ctypes.c_void_p(memory), ctypes.c_uint32(_RESPONSE_BYTES)
        self.length = ctypes.c_uint32()
        self.response: Any = (ctypes.c_char * _RESPONSE_BYTES).from_address(memory)
        self.process: Callable[..., int] = library.TPMLIB_Process
        self.arguments = (ctypes.byref(pointer), ctypes.byref(self.length), ctypes.byref(capacity))
        self._load, self._store = _LOAD(self._on_load), _STORE(self._on_store)
        self._locality = _LOCALITY()
        self._callbacks = _Callbacks()

    # --- Power ----------------------------------------------------------------------------------------------------

    def power_on(self, storage: Storage, permanent: bytes = b"", volatile: bytes = b"") -> None:
        """Start the TPM that a storage holds, or a new one where it holds none.

        Parameters
        ----------
        storage : Storage
            Where the state is and goes.
        permanent, volatile : bytes
            A state to go on with instead.

        Raises
        ------
        TransportRefusedError
            If libtpms cannot read the state. The TPM is off then.
        """
        library = self._library
        self.storage = storage
        self.fault.clear()
        self.set_locality(0)
        self._check(library.TPMLIB_ChooseTPMVersion(_TPM2), "TPM 2.0 cannot be chosen")
        try:
            for kind, state in ((PERMANENT, permanent), (VOLATILE, volatile)):
                if state:
                    self._check(library.TPMLIB_SetState(kind, state, len(state)), "the state cannot be read")
            self._check(library.TPMLIB_MainInit(), "the TPM cannot be started with this state")
            self.raise_fault()
        except BaseException:
            self.power_off()
            raise

    def power_off(self) -> None:
        """Stop the TPM; what it has not written is lost."""
        self._library.TPMLIB_Terminate()

    def state(self, kind: int) -> bytes:
        """Return a part of the running TPM's state.

        Raises
        ------
        TransportRefusedError
            If libtpms does not give it.
        """
        memory, size = ctypes.c_void_p(), ctypes.c_uint32()
        self._check(
            self._library.TPMLIB_GetState(kind, ctypes.byref(memory), ctypes.byref(size)), "the state cannot be had"
        )
        try:
            return ctypes.string_at(memory.value or 0, size.value) if size.value else b""
        finally:
            _libc().free(memory)

    # --- Signals --------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask for the running command to be given up; from any thread, without waiting."""
        self._library.TPMLIB_CancelCommand()

    def measure_launch(self, data: bytes) -> None:
        """Signal the measurement of a launch."""
        self._check(self._library.TPM_IO_Hash_Start(), "a measurement cannot be started")
        self._check(self._library.TPM_IO_Hash_Data(data, len(data)), "the data cannot be measured")
        self._check(self._library.TPM_IO_Hash_End(), "the measurement cannot be ended")

    def set_locality(self, locality: int) -> None:
        """Set the locality of later commands. For 0, libtpms is not made to ask, which takes as long as a command."""
        self._locality = _LOCALITY(_answers(locality)) if locality else _LOCALITY()
        self._callbacks = _Callbacks(
            size=ctypes.sizeof(_Callbacks),
            nvram_loaddata=self._load,
            nvram_storedata=self._store,
            io_getlocality=self._locality,
        )
        self._library.TPMLIB_RegisterCallbacks(ctypes.byref(self._callbacks))

    # --- Errors ---------------------------------------------------------------------------------------------------

    def raise_fault(self) -> None:
        """Raise what went wrong in a callback, if anything did."""
        if self.fault:
            fault = self.fault[0]
            self.fault.clear()
            raise fault

    def _check(self, result: int, what: str) -> None:
        if result:
            self.raise_fault()
            raise TransportRefusedError(f"{what} (libtpms: {result:#x})", number=result, where="embedded")

    # --- Callbacks ------------------------------------------------------------------------------------------------
    # Whatever happens in one, also Ctrl-C, is kept for the caller of libtpms: ctypes would print and forget it.

    def _on_load(self, data: Any, length: Any, _number: int, name: bytes) -> int:
        if name != _PERMALL:
            return _RETRY  # a volatile state comes by TPMLIB_SetState only: one from a file would come back for ever
        try:
            state = self.storage.load()
            if state is None:
                return _RETRY
            memory = _libc().malloc(len(state) or 1)  # libtpms frees it
            ctypes.memmove(memory, state, len(state))
            data[0], length[0] = memory, len(state)
        except BaseException as error:
            self.fault.append(error)
            return _FAIL
        return _SUCCESS

    def _on_store(self, data: int, length: int, _number: int, name: bytes) -> int:
        if name != _PERMALL:
            return _FAIL
        return self._kept(lambda: self.storage.store(ctypes.string_at(data, length)))

    def _kept(self, work: Callable[[], None]) -> int:
        try:
            work()
        except BaseException as error:
            self.fault.append(error)
            if isinstance(error, Exception):
                return _FAIL
            return self._kept(work)  # interrupted; the TPM counts on its state being written
        return _SUCCESS


def _answers(locality: int) -> Callable[[Any, int], int]:
    def answer(place: Any, _number: int) -> int:
        place[0] = locality
        return _SUCCESS

    return answer


_IDLE: list[Library] = []
_IDLE_LOCK = threading.Lock()


def borrow(path: str) -> Library:
    """Return a copy of a library in which no TPM runs."""
    with _IDLE_LOCK:
        for number, library in enumerate(_IDLE):
            if library._path == path:
                return _IDLE.pop(number)
    return Library(path)


def give_back(library: Library) -> None:
    """Keep a copy, whose TPM is off, for the next TPM."""
    with _IDLE_LOCK:
        _IDLE.append(library)
