"""Greedy CTC: the best token of every frame, repeats merged, blanks dropped (Graves et al. 2006, section 3.2)."""

from typing import Any, NamedTuple

import numpy as np

from actors.engine.interface import Frames, Tokens


class Aligned(NamedTuple):
    """The tokens of a greedy path: ids, the frames where each begins and ends, and confidences, all (tokens,)."""

    ids: Tokens
    begins: Tokens
    ends: Tokens
    confidences: np.ndarray[Any, np.dtype[np.float64]]


def collapse(best: Tokens, blank: int) -> Tokens:
    """The tokens of the best ids of frames.

    >>> collapse(np.array([7, 7, 9, 9, 7, 7, 3, 9]), blank=9)
    array([7, 7, 3])
    """
    kept: Tokens = best[(np.diff(best, prepend=-1) != 0) & (best != blank)]
    return kept


def align(frames: Frames, blank: int, before: int | None = None) -> Aligned:
    """The tokens of frames. A first one that goes on from `before`, the best id of the frame before them, is not new.

    A token lasts as long as it is the best; its confidence is the mean of its probabilities.
    """
    best = frames.best
    starts = np.flatnonzero(np.diff(best, prepend=-1 if before is None else before))
    ends = np.append(starts[1:], len(best))
    sums = np.concatenate([[0.0], np.cumsum(frames.probability, dtype=np.float64)])
    kept = best[starts] != blank
    starts, ends = starts[kept], ends[kept]
    return Aligned(best[starts], starts, ends, (sums[ends] - sums[starts]) / (ends - starts))
