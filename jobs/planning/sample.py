"""Chooses a few of many objects, and measures the sound in them by their headers, within a bounded time."""

import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from queue import Empty, SimpleQueue
from typing import Any

from actors.sources.implied import implied_seconds
from actors.sources.recordings import AUDIO_SUFFIXES
from actors.storage import files as storage
from actors.storage.files import StoredFile
from actors.units import SourceObject

CANDIDATES = 2_000  # objects that are looked at, by name, to choose a few
THREADS = 16
_SUFFIXES = frozenset(each[1:] for each in AUDIO_SUFFIXES) | set("tar tgz gz bz2 xz parquet pq".split())
PATIENCE_S = 20.0  # in all; a sample that storage does not give soon is not worth a longer wait


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
    sources: Sequence[SourceObject], options: Mapping[str, Any], patience_s: float = PATIENCE_S
) -> list[float | None]:
    """The seconds of sound in each object, in order; None for one that does not tell, cannot be read, or whose storage
    takes too long. The run itself reports what is wrong with it."""
    found: list[float | None] = [None] * len(sources)
    to_do, done, is_over = SimpleQueue[tuple[int, StoredFile]](), SimpleQueue[tuple[int, float | None]](), False
    for number, each in enumerate(sources):
        if stored := _stored(each, options):
            to_do.put((number, stored))
    opened = to_do.qsize()

    def work() -> None:
        while not is_over:
            try:
                number, stored = to_do.get_nowait()
            except Empty:
                return
            try:
                seconds = implied_seconds(stored, sources[number].format)
            except Exception:  # noqa: BLE001 - clients of storage raise many kinds
                seconds = None
            done.put((number, seconds))

    for _ in range(min(THREADS, opened)):
        threading.Thread(target=work, daemon=True).start()  # an executor would wait for them when the process exits
    end = time.monotonic() + patience_s
    for _ in range(opened):
        try:
            number, seconds = done.get(timeout=max(end - time.monotonic(), 0))
        except Empty:
            break
        found[number] = seconds
    is_over = True
    return found


def _stored(source: SourceObject, options: Mapping[str, Any]) -> StoredFile | None:
    """An object's stored file, which is not asked for; None if its URL names none.

    Called in one thread: fsspec makes a client for each.
    """
    try:
        filesystem, path = storage.connect(source.uri, options)
    except Exception:  # noqa: BLE001 - clients of storage raise many kinds
        return None
    return StoredFile(filesystem, path, source.size)
