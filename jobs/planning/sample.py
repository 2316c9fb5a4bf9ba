"""Chooses a few of many objects, and measures the sound in them by their headers, within a bounded time."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import NamedTuple

from actors.formats import AUDIO_SUFFIXES
from actors.isolation import Isolated
from actors.schema import RecordingError
from actors.sources.implied import implied_seconds
from actors.storage.place import Place
from actors.storage.stored_file import StoredFile
from actors.units import Format, SourceObject

CANDIDATES = 2_000  # objects that are looked at, by name, to choose a few
AT_ONCE = 25  # objects that a child is given together, a thread each
_SUFFIXES = frozenset(each[1:] for each in AUDIO_SUFFIXES) | set("tar tgz gz bz2 xz parquet pq".split())
PATIENCE_S = 20.0  # in all; a sample that storage does not give soon is not worth a longer wait
SHARES = 4  # of the time, of which a child may take one for what it is given


def candidates(objects: Sequence[SourceObject]) -> list[SourceObject]:
    """At most CANDIDATES of the objects, in an order that is random but always the same.

    Not every k-th: of pairs such as a.flac and a.wav, these might all be of one kind.
    """
    draw = random.Random(0)
    return [objects[number] for number in draw.sample(range(len(objects)), min(len(objects), CANDIDATES))]


def group_of(uri: str) -> tuple[str, str]:
    """A URI's folder, without a final slash, and its suffix as of `known_suffix`."""
    return uri.rpartition("/")[0], known_suffix(uri.rpartition(".")[2])


def known_suffix(suffix: str) -> str:
    """A suffix without its dot, in lower case; the same, "", for all that do not name a format."""
    return found if (found := suffix.lower()) in _SUFFIXES else ""


def spread(sources: Iterable[SourceObject], count: int) -> list[SourceObject]:
    """The first `count` of the objects, taking one of each suffix in turn, and of a suffix one of each folder."""
    by_suffix = dict[str, dict[str, list[SourceObject]]]()
    for each in sources:
        folder, suffix = group_of(each.uri)
        by_suffix.setdefault(suffix, {}).setdefault(folder, []).append(each)
    return _in_turn([_in_turn(list(folders.values())) for folders in by_suffix.values()])[:count]


def _in_turn(queues: list[list[SourceObject]]) -> list[SourceObject]:
    """The first of every queue, then the second of every queue, and so on."""
    placed = [(turn, number, each) for number, queue in enumerate(queues) for turn, each in enumerate(queue)]
    return [each for _, _, each in sorted(placed, key=itemgetter(0, 1))]


def measure(
    sources: Sequence[SourceObject],
    options: Mapping[str, object],
    patience_s: float = PATIENCE_S,
    of_each_channel: bool = False,
) -> list[float | None]:
    """The seconds of sound in each object by its headers, in order, read in a child process; None for one that does not
    tell, cannot be read, or is not read within the time. The run itself reports what is wrong with it. With
    `of_each_channel`, those of all channels count.

    A child that crashes, or is caught in a decoder, says nothing about the objects that it was given together.
    """
    end, share_s, found = time.monotonic() + patience_s, patience_s / SHARES, list[float | None]()
    child = Isolated(partial(measurer, options, share_s * 0.8), share_s)
    try:
        for start in range(0, len(sources), AT_ONCE):
            batch = sources[start : start + AT_ONCE]
            asked = [Sampled(each.uri, each.size, each.format, of_each_channel) for each in batch]
            told: list[float | None] = [None] * len(asked)
            if time.monotonic() + share_s <= end:
                with suppress(RecordingError, OSError):
                    told = child(asked)
            found += told
    finally:
        child.close()
    return found


class Sampled(NamedTuple):
    """What a child is told of an object."""

    uri: str
    size: int
    format: Format
    of_each_channel: bool = False


def measurer(options: Mapping[str, object], patience_s: float) -> Callable[[Sequence[Sampled]], list[float | None]]:
    """A function that measures objects side by side, in the child; those that take longer than `patience_s` are
    None."""

    def measured(asked: Sequence[Sampled]) -> list[float | None]:
        end = time.monotonic() + patience_s
        pool = ThreadPoolExecutor(AT_ONCE)  # of its own: threads of an earlier one may still wait for storage
        futures = [pool.submit(_seconds, _stored(each, options), each) for each in asked]
        wait(futures, end - time.monotonic())  # connecting loads the storage's client, for a second
        pool.shutdown(wait=False, cancel_futures=True)
        return [each.result() if each.done() and not each.cancelled() else None for each in futures]

    return measured


def _seconds(stored: StoredFile | None, asked: Sampled) -> float | None:
    try:
        return implied_seconds(stored, asked.format, asked.of_each_channel) if stored else None
    except Exception:  # noqa: BLE001 - clients of storage, and decoders of containers, raise many kinds
        return None


def _stored(asked: Sampled, options: Mapping[str, object]) -> StoredFile | None:
    """An object's stored file, without a request; None if its URL names none.

    Called in one thread: fsspec makes a client for each.
    """
    try:
        return StoredFile(Place.at(asked.uri, options), asked.size)
    except Exception:  # noqa: BLE001 - clients of storage raise many kinds
        return None
