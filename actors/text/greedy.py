"""Greedy CTC decoding: the best token per frame, repeats merged, blanks dropped (Graves et al. 2006, section 3.2)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.engine.interface import Emission, Tokens


class Aligned(NamedTuple):
    """Tokens of a greedy path with their alignment: ids, first frames, end frames and confidences, all (tokens,)."""

    ids: Tokens
    begins: Tokens
    ends: Tokens
    confidences: NDArray[np.float64]


def collapse(best: Tokens, blank: int) -> Tokens:
    """Merges repeats and drops blanks.

    >>> collapse(np.array([7, 7, 9, 9, 7, 7, 3, 9]), blank=9)
    array([7, 7, 3])
    """
    kept: Tokens = best[(np.diff(best, prepend=-1) != 0) & (best != blank)]
    return kept


def align(emission: Emission, blank: int, before: int | None = None) -> Aligned:
    """Aligns the tokens of a greedy path. A first token that continues `before`, the id of the frame before it, is no
    new one.

    A token spans the frames in which it is the best one; its confidence is the mean of its probabilities there.
    """
    best = emission.best
    starts = np.flatnonzero(np.diff(best, prepend=-1 if before is None else before))
    ends = np.append(starts[1:], len(best))
    sums = np.concatenate([[0.0], np.cumsum(emission.probability, dtype=np.float64)])
    kept = best[starts] != blank
    starts, ends = starts[kept], ends[kept]
    return Aligned(best[starts], starts, ends, (sums[ends] - sums[starts]) / (ends - starts))
