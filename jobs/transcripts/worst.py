"""The recordings with the most errors, and those with the highest error rates."""

from bisect import insort
from dataclasses import dataclass
from itertools import islice

from actors.text.normalise import Normalisation
from jobs.transcripts.differences import TextDifference, differences
from jobs.transcripts.scores import Compared

DIFFERENCES = 3  # shown for each recording that is, on average


@dataclass(frozen=True)
class Wrong:
    """A transcribed recording with errors; the first of its differences, and how many it has."""

    name: str
    key: str
    errors: int
    characters: int
    differences: tuple[TextDifference, ...] = ()
    count: int = 0

    @property
    def rate(self) -> float:
        return self.errors / max(self.characters, 1)


def _by_errors(each: Wrong) -> tuple[object, ...]:
    return -each.errors, -each.rate, each.name, each.key


def _by_rate(each: Wrong) -> tuple[object, ...]:
    return -each.rate, -each.errors, each.name, each.key


class Worst:
    """Keeps so many of the recordings that are added, by both orders. Ties are in the order of names."""

    def __init__(self, shown: int, normalisation: Normalisation, has_differences: bool) -> None:
        self.shown, self.has_differences = shown, has_differences
        self.count = 0  # of recordings with errors
        self.by_errors, self._by_rate = list[Wrong](), list[Wrong]()
        self._normalisation = normalisation

    def add(self, recording: Compared) -> None:
        """Adds a recording. One that was not transcribed is left out: all of it is wrong."""
        errors = recording.characters.errors
        if not errors or not recording.of.is_transcribed:
            return
        self.count += 1
        wrong, described = _of(recording), None
        for kept, order in ((self.by_errors, _by_errors), (self._by_rate, _by_rate)):
            if len(kept) < self.shown or (kept and order(wrong) < order(kept[-1])):
                described = described or self._described(wrong, recording)
                insort(kept, described, key=order)
                del kept[self.shown :]

    def _described(self, wrong: Wrong, recording: Compared) -> Wrong:
        if not self.has_differences:
            return wrong
        found = differences(recording, self._normalisation)
        first = tuple(islice(found, DIFFERENCES * self.shown))
        return Wrong(wrong.name, wrong.key, wrong.errors, wrong.characters, first, len(first) + sum(1 for _ in found))

    @property
    def by_rate(self) -> list[Wrong]:
        """Those with the highest rates; none if they are the same as those with the most errors."""
        return self._by_rate if set(self._by_rate) - set(self.by_errors) else []

    @property
    def differences(self) -> list[tuple[Wrong, TextDifference]]:
        """Differences of these recordings: of each its first, then of each its second, and so on, until there are
        DIFFERENCES for each that is shown; in the order of the recordings."""
        recordings = list(dict.fromkeys([*self.by_errors, *self.by_rate]))
        room, taken = DIFFERENCES * self.shown, [0] * len(recordings)
        for turn in range(room):
            for number, each in enumerate(recordings):
                if turn < len(each.differences) and sum(taken) < room:
                    taken[number] += 1
        return [
            (each, found) for each, count in zip(recordings, taken, strict=True) for found in each.differences[:count]
        ]

    @property
    def differences_in_all(self) -> int:
        """The differences in these recordings, shown or not."""
        return sum(each.count for each in dict.fromkeys([*self.by_errors, *self.by_rate]))


def _of(recording: Compared) -> Wrong:
    name, *_, channel = str(recording.of.first["recording_id"]), *recording.key
    name = name if channel is None else f"{name}, channel {channel}"
    return Wrong(name, repr(recording.key), recording.characters.errors, recording.characters.tokens)
