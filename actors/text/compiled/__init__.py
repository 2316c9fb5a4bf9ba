"""Loops over frames and tokens, compiled by numba (`compiler`).

Importing this takes half a second: import it where it is used.
"""

from pathlib import Path
from typing import TypeVar

import numpy as np

from actors.compiler import Compiler

Arrays = TypeVar("Arrays", bound=tuple)  # a named one

_TUPLES = ("frames", "language_model", "phrases")  # modules whose named tuples the loops take
_HERE = Path(__file__).parent
COMPILER = Compiler([*sorted(_HERE.glob("*.py")), *(_HERE.parent / f"{name}.py" for name in _TUPLES)])
compiled, allocating = COMPILER.compiled, COMPILER.allocating


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
