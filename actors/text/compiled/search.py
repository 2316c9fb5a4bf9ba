"""Binary search."""

import numpy as np

from actors.text.compiled import compiled


@compiled
def find(labels: np.ndarray, begin: int, end: int, token: int) -> int:
    """Where a token is among labels in order, from `begin` to `end`; -1 if it is not."""
    last = end
    while begin < end:
        middle = (begin + end) >> 1
        if labels[middle] < token:
            begin = middle + 1
        else:
            end = middle
    return begin if begin < last and labels[begin] == token else -1
