"""Takes a sample of an archive for a first try: so many recordings, spread over all of it.

The sample depends on the names of objects alone, so that it is the same in every run; a larger one holds the smaller
ones, so that nothing is transcribed twice as it grows.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from actors.units import SourceObject

AT_ONCE = 64  # containers of which the recordings are counted side by side
CONCURRENT_COUNTS = 16

Count = Callable[[SourceObject, int], int]  # the recordings of an object, counted up to a number


def take_sample(size: int, objects: Sequence[SourceObject], count: Count) -> list[SourceObject]:
    """The objects that hold a sample of `size` recordings, in the order given, containers limited to their share of it.

    Folders give an object in turn, the one whose key hashes lowest first, and a container its first recording. Only
    where there are fewer objects than that, containers give one more in turn, until the sample is full. Raises what
    `count` does.
    """
    held, taken, left = dict[int, int](), dict[int, int](), size  # recordings by the number of their object
    order = iter(spread(objects))
    while left > 0 and (some := list(islice(order, min(left, AT_ONCE)))):
        held.update(_counted(some, objects, count, 2))
        taken.update((each, min(held[each], 1)) for each in some)
        left -= sum(taken[each] for each in some)
    larger = [each for each in held if held[each] > 1]
    if left > 0 and larger:
        held.update(_counted(larger, objects, count, left + 2))  # the one taken, all that is left, and if there is more
    while left > 0 and (larger := [each for each in larger if held[each] > taken[each]]):
        for each in larger[:left]:
            taken[each] += 1
        left -= len(larger[:left])
    return [
        replace(objects[each], limit=taken[each], is_sampled=True) if held[each] > taken[each] else objects[each]
        for each in sorted(held)
    ]


def spread(objects: Sequence[SourceObject]) -> list[int]:
    """The numbers of objects in the order in which a sample takes them: first the one of each folder whose key hashes
    lowest, then the second of each, and so on, of different folders the one that hashes lowest first."""
    if not objects:
        return []
    folders = dict[str, int]()
    of_folder = np.fromiter(
        (folders.setdefault(each.uri.rpartition("/")[0], len(folders)) for each in objects), np.int64, len(objects)
    )
    hashes = _hashes(objects)
    by_folder = np.lexsort((hashes, of_folder))
    starts = np.searchsorted(of_folder[by_folder], np.arange(len(folders)))
    turns = np.empty(len(objects), np.int64)
    turns[by_folder] = np.arange(len(objects)) - starts[of_folder[by_folder]]
    numbers: list[int] = np.lexsort((hashes, turns)).tolist()
    return numbers


def _hashes(objects: Sequence[SourceObject]) -> NDArray[np.uint64]:
    """A hash of each object's key."""
    digests = (hashlib.blake2b(each.key.encode("utf-8", "surrogatepass"), digest_size=8).digest() for each in objects)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def _counted(
    numbers: Sequence[int], objects: Sequence[SourceObject], count: Count, enough: int
) -> Iterator[tuple[int, int]]:
    """Yields the numbers of objects, each with the count of its recordings."""
    containers = [each for each in numbers if objects[each].is_container]
    yield from ((each, count(objects[each], enough)) for each in numbers if not objects[each].is_container)
    if containers:
        with ThreadPoolExecutor(CONCURRENT_COUNTS) as pool:
            found = pool.map(count, (objects[each] for each in containers), [enough] * len(containers))
            yield from zip(containers, found, strict=True)
