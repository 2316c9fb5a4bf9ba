"""Recordings into batches of like length."""

from collections.abc import Sequence


def make_batches(lengths: Sequence[int], max_padded: int) -> list[list[int]]:
    """Indices grouped into batches, longest first, none padded to more than `max_padded` in all.

    A batch of n recordings whose longest is L takes n * L once padded. One that is over the limit by itself is alone.
    The longest go first so that what needs the most memory fails or passes at once.

    >>> make_batches([3, 9, 4, 8], max_padded=20)
    [[1, 3], [2, 0]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= max_padded:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
