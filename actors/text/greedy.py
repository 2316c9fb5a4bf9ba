"""Greedy CTC decoding: the best token per frame, repeats merged, blanks dropped (Graves et al. 2006, section 3.2)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.engine.interface import Tokens
from actors.schema import Floats


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
    kept: Tokens = best[(np.diff(best.astype(np.int64), prepend=-1) != 0) & (best != blank)]
    return kept


def align(best: Tokens, probability: Floats, blank: int, previous: int | None = None) -> Aligned:
    """Aligns the tokens of a greedy path: the best class of each frame, and its probability, both (frames,). A first
    token that continues `previous`, the best class of the frame before, is no new one.

    A token spans the frames in which it is the best one; its confidence is the mean of its probabilities there.
    """
    starts = np.flatnonzero(np.diff(best.astype(np.int64), prepend=-1 if previous is None else previous))
    ends = np.append(starts[1:], len(best))
    sums = np.concatenate([[0.0], np.cumsum(probability, dtype=np.float64)])
    kept = best[starts] != blank
    starts, ends = starts[kept], ends[kept]
    return Aligned(best[starts], starts, ends, (sums[ends] - sums[starts]) / (ends - starts))
