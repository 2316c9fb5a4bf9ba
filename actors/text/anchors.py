"""Finds places where a long text and what was heard surely are at the same point, so that they can be aligned in parts.

An alignment takes time with the product of frames and tokens, which for a day of sound is an hour's work. Runs of
tokens that are once in the text and once in what was heard, and in the same order in both, are its landmarks (as in
patience diff, and in Moreno et al. 1998, "A recursive algorithm for the forced alignment of very long audio segments").
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

RUN = 8  # tokens of a landmark
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # of a hash; odd, as good as any

Ids = NDArray[np.integer]


def anchors(text: Sequence[int], heard: Ids) -> Iterator[tuple[int, int]]:
    """Yields places in a text and in what was heard, of the same token, both rising: the middles of common runs."""
    places, others = _common(_hashes(np.asarray(text)), _hashes(heard))
    for at in _rising(others.tolist()):
        yield int(places[at]) + RUN // 2, int(others[at]) + RUN // 2


def _hashes(ids: Ids) -> NDArray[np.uint64]:
    """A hash of each run of RUN ids."""
    count = len(ids) - RUN + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    numbers, found = ids.astype(np.uint64), np.zeros(count, np.uint64)
    for at in range(RUN):
        found = (found + numbers[at : at + count] + np.uint64(1)) * _FACTOR
        found ^= found >> np.uint64(29)
    return found


def _common(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the values are that both have once, in the order of the left."""
    (left_values, left_places), (right_values, right_places) = map(_single, (left, right))
    _, in_left, in_right = np.intersect1d(left_values, right_values, assume_unique=True, return_indices=True)
    order = np.argsort(left_places[in_left])
    return left_places[in_left][order], right_places[in_right][order]


def _single(values: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The values that are there once, and where."""
    found, places, counts = np.unique(values, return_index=True, return_counts=True)
    return found[counts == 1], places[counts == 1]


def _rising(numbers: Sequence[int]) -> list[int]:
    """The indices of the longest rising subsequence."""
    smallest, ends, before = list[int](), list[int](), list[int]()  # ends of the best of each length
    for index, number in enumerate(numbers):
        length = bisect_left(smallest, number)
        if length == len(smallest):
            smallest.append(number)
            ends.append(index)
        else:
            smallest[length], ends[length] = number, index
        before.append(ends[length - 1] if length else -1)
    found, index = list[int](), ends[-1] if ends else -1
    while index >= 0:
        found.append(index)
        index = before[index]
    return found[::-1]
