"""Groups recordings into batches. Limits are in samples, or in whatever unit the lengths are."""

import heapq
from collections.abc import Sequence

from actors.engine.interface import Capacity


def make_batches(lengths: Sequence[int], limit: Capacity, pads: bool, streams: int = 1) -> list[list[int]]:
    """Indices in batches for an engine that pads, or does not, of which several streams may take batches as they become
    free. A recording over the limit forms a batch of its own."""
    if pads:
        return padded_batches(lengths, limit.samples)
    return even_batches(lengths, limit) if streams == 1 else shrinking_batches(lengths, limit, streams)


def padded_batches(lengths: Sequence[int], max_padded: int) -> list[list[int]]:
    """Batches of similar lengths, longest first, each of at most `max_padded` in all after padding: n recordings whose
    longest is L take n * L. So what needs the most memory fails or succeeds at once.

    >>> padded_batches([3, 9, 4, 8], max_padded=20)
    [[1, 3], [2, 0]]
    """
    batches: list[list[int]] = []
    for index in _longest_first(lengths):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= max_padded:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def even_batches(lengths: Sequence[int], limit: Capacity) -> list[list[int]]:
    """As few batches as the limit allows, or about so, as even as they can be: each recording, the longest first, goes
    to the batch that holds the least (https://doi.org/10.1137/0117039).

    A device that takes one batch at a time works through each of them with the same efficiency, and a small one would
    not pay for its launches.

    >>> even_batches([1, 9, 4, 8], Capacity(samples=20))
    [[1, 0], [3, 2]]
    """
    order = _longest_first(lengths)
    batches = [[index] for index in order if lengths[index] > limit.samples]
    rest = order[len(batches) :]
    count = max(-(-sum(lengths[index] for index in rest) // max(limit.samples, 1)), -(-len(rest) // limit.recordings))
    while (even := _spread(rest, lengths, limit, count)) is None:
        count += 1
    return batches + even


def _spread(order: Sequence[int], lengths: Sequence[int], limit: Capacity, count: int) -> list[list[int]] | None:
    """Recordings spread evenly over so many batches, those without any left out; None if they do not fit."""
    batches: list[list[int]] = [[] for _ in range(count)]
    loads = [(0, number) for number in range(count)]  # of the batches with room, a heap
    for index in order:
        if not loads or (load := loads[0][0] + lengths[index]) > limit.samples:
            return None
        number = loads[0][1]
        batches[number].append(index)
        if len(batches[number]) < limit.recordings:
            heapq.heapreplace(loads, (load, number))
        else:
            heapq.heappop(loads)
    return [batch for batch in batches if batch]


def shrinking_batches(lengths: Sequence[int], limit: Capacity, streams: int) -> list[list[int]]:
    """Batches for streams that take them as they become free: longest first, and shrinking towards the end to half of a
    stream's share of the rest, so that all streams end at about the same time (guided self-scheduling:
    https://doi.org/10.1109/TC.1987.5009495).

    >>> shrinking_batches([3, 3, 3, 3], Capacity(samples=6), streams=2)
    [[0], [1], [2], [3]]
    """
    batches: list[list[int]] = []
    left, size, most = sum(lengths), 0, 0
    for index in _longest_first(lengths):
        if batches and size + lengths[index] <= most and len(batches[-1]) < limit.recordings:
            batches[-1].append(index)
            size += lengths[index]
        else:
            batches.append([index])
            size, most = lengths[index], min(limit.samples, left // (2 * streams))
        left -= lengths[index]
    return batches


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda each: (-lengths[each], each))
