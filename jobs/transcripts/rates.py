"""Error rates of groups of recordings."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.transcripts.scoring import Edits, Interval, interval


@dataclass
class Group:
    """Scores of a group: its edits by characters and by words, and the errors and length of each recording."""

    recordings: int = 0
    characters: Edits = field(default_factory=Edits)
    words: Edits = field(default_factory=Edits)
    errors: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def add(self, characters: Edits, words: Edits) -> None:
        self.recordings += 1
        self.characters, self.words = self.characters + characters, self.words + words
        self.errors.append(characters.errors)
        self.lengths.append(characters.tokens)

    def rates(self, samples: int) -> "Rates":
        """Its error rates, with a confidence interval from so many samples."""
        between, method = Interval.described(interval(self.errors, self.lengths, samples))
        cer, wer = rounded(self.characters.rate), rounded(self.words.rate)
        return Rates(self.recordings, cer, between, method, self.characters, wer, self.words)


@dataclass(frozen=True)
class Rates:
    """A group's error rates and edits, as in the summary; the interval of the CER is None where none can be given."""

    recordings: int
    cer: float | None
    interval: tuple[float, float] | None
    interval_method: str | None
    characters: Edits
    wer: float | None
    words: Edits


def merged(groups: Iterable[Group]) -> Group:
    whole = Group()
    for group in groups:
        whole.recordings += group.recordings
        whole.characters, whole.words = whole.characters + group.characters, whole.words + group.words
        whole.errors += group.errors
        whole.lengths += group.lengths
    return whole


def rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 6)
