"""Compiles loops by numba: without the GIL, and with the same bits wherever they run.

Importing this takes half a second: import it where it is used. Machine code is kept in the project's cache folder, or
in `$NUMBA_CACHE_DIR`, and not beside the source, which may be read-only. Processes may compile the same at once.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import numba

from actors.storage.cache import cache_folder

Function = Callable[..., Any]

_cache_dir_lock = threading.Lock()  # modules may be imported by several threads, and numba's setting is the process's


class Compiler:
    """Decorators for the functions of a few sources, whose machine code has a folder of its own.

    The folder is that of just these sources, functions and named tuples that they take: numba would take the machine
    code of a function whose own file is as it was, although one that it calls, or a tuple that it takes, is not.
    """

    def __init__(self, sources: Iterable[Path]) -> None:
        digest = hashlib.sha256(b"\0".join(each.read_bytes() for each in sources)).hexdigest()
        with _cache_dir_lock:
            self.folder = str(Path(numba.config.CACHE_DIR or cache_folder() / "numba") / digest[:16])

    def compiled(self, function: Function) -> Function:
        """Compiles a function when it is first called, or loads it. It must not allocate arrays: numba then counts no
        references to those that it is given, which takes longer than what loops do (`nrt` is numba's run-time memory).
        """
        return self._njit(function, _nrt=False)

    def allocating(self, function: Function) -> Function:
        """Compiles a function that allocates arrays."""
        return self._njit(function)

    def _njit(self, function: Function, **options: bool) -> Function:
        with _cache_dir_lock:
            others = numba.config.CACHE_DIR
            numba.config.CACHE_DIR = self.folder  # read when a function is decorated; other packages keep theirs
            try:
                return cast(Function, numba.njit(nogil=True, cache=True, **options)(function))
            except RuntimeError:  # it can keep nothing in that folder: each process compiles then
                return cast(Function, numba.njit(nogil=True, **options)(function))
            finally:
                numba.config.CACHE_DIR = others
