"""Greedy CTC: the best token of every frame, repeats merged, blanks dropped (Graves et al. 2006, section 3.2)."""

from typing import Any

import numpy as np

Tokens = np.ndarray[Any, np.dtype[Any]]


def collapse(best: Tokens, blank: int) -> Tokens:
    """Token ids of a recording from the best id of each of its frames, shape (frames,).

    >>> collapse(np.array([7, 7, 9, 9, 7, 7, 3, 9]), blank=9)
    array([7, 7, 3])
    """
    begins = np.ones(len(best), dtype=bool)
    begins[1:] = best[1:] != best[:-1]
    kept: Tokens = best[begins & (best != blank)]
    return kept
