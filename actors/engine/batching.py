"""Groups recordings of similar length into batches."""

from collections.abc import Sequence


def make_batches(lengths: Sequence[int], max_padded: int, streams: int = 1) -> list[list[int]]:
    """Groups indices into batches, longest first, each of at most `max_padded` in all after padding.

    A batch of n recordings whose longest is L takes n * L once padded. A recording over the limit forms a batch of its
    own. The longest go first so that what needs the most memory fails or succeeds at once. If several streams take
    batches as they become free, batches shrink towards the end, each to half of a stream's share of the rest, so that
    all streams end at about the same time (guided self-scheduling: https://doi.org/10.1109/TC.1987.5009495).

    >>> make_batches([3, 9, 4, 8], max_padded=20)
    [[1, 3], [2, 0]]
    >>> make_batches([3, 3, 3, 3], max_padded=6, streams=2)
    [[0], [1], [2], [3]]
    """
    batches: list[list[int]] = []
    left, limit = sum(lengths), 0
    for index in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= limit:
            batches[-1].append(index)
        else:
            batches.append([index])
            limit = max_padded if streams == 1 else min(max_padded, left // (2 * streams))
        left -= lengths[index]
    return batches
