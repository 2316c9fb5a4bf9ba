"""Loops over frames and tokens, compiled by numba: without the GIL, and with the same bits wherever they run.

Importing this takes half a second: import it where it is used. Machine code is kept in the project's cache folder, or
in `$NUMBA_CACHE_DIR`, and not beside the source, which may be read-only. Processes may compile the same at once.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba
import numpy as np

from actors.storage.cache import cache_folder

_TUPLES = ("frames", "language_model", "phrases")  # modules whose named tuples the loops take
Arrays = TypeVar("Arrays", bound=tuple)  # a named one


def _folder() -> Path:
    """The folder for the machine code of just these sources: numba would take that of a function whose own file is as
    it was, although one that it calls, or a named tuple that it takes, is not."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), *(here.parent / f"{name}.py" for name in _TUPLES)]
    digest = hashlib.sha256(b"\0".join(each.read_bytes() for each in sources)).hexdigest()
    return Path(numba.config.CACHE_DIR or cache_folder() / "numba") / digest[:16]


_FOLDER = str(_folder())


def compiled(function: Callable) -> Callable:
    """Compiles a function when it is first called, or loads it. It must not allocate arrays: numba then counts no
    references to those that it is given, which takes longer than what loops do (`nrt` is numba's run-time memory)."""
    return _njit(function, _nrt=False)


def allocating(function: Callable) -> Callable:
    """Compiles a function that allocates arrays."""
    return _njit(function)


def _njit(function: Callable, **options: bool) -> Callable:
    others = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _FOLDER  # read when a function is decorated; other packages keep theirs
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # it can keep nothing in that folder: each process compiles then
        return numba.njit(nogil=True, **options)(function)
    finally:
        numba.config.CACHE_DIR = others


def arguments(values: Arrays) -> Arrays:
    """A named tuple of arrays and numbers, of the same types for numba whatever it was made of.

    So functions are compiled once; and of two processes that compile, both write the same.
    """
    return type(values)(*(_argument(each) for each in values))


def _argument(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value.item() if isinstance(value, np.generic) else value
    view = np.ascontiguousarray(value).view(np.ndarray)
    view.flags.writeable = False
    return view
