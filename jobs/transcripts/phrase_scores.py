"""How many phrases of references were recognised: recall, precision and false alarms."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from actors.text.normalise import Normalisation, normalise
from actors.text.phrases import Phrase
from actors.text.scripts import UNSPACED, is_in_word
from jobs.transcripts.rates import rounded
from jobs.transcripts.scoring import interval

_SPACE = re.compile(f"(?<={UNSPACED.pattern}) | (?={UNSPACED.pattern})")  # one that says nothing


@dataclass(frozen=True)
class PhraseScore:
    """Occurrences of a phrase: in references, of these those that the transcript of the same recording has, those that
    it has not, and those that only the transcript has."""

    phrase: str
    line: int
    in_references: int
    hits: int
    misses: int
    false_alarms: int


@dataclass(frozen=True)
class PhraseRates:
    """Occurrences of all phrases, `occurring` of which are in references. Recall is the share of occurrences in
    references that transcripts have, precision the share of those in transcripts that are right, with 95 % intervals;
    None where there are none."""

    phrases: int
    occurring: int
    in_references: int
    hits: int
    misses: int
    false_alarms: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    precision: float | None
    precision_interval: tuple[float, float] | None
    worst: list[PhraseScore]


class PhraseScores:
    """Counts phrases in references and transcripts. Overlapping and nested ones count each; in scripts with spaces,
    they are whole words. `empty` has the phrases of which normalisation leaves nothing."""

    def __init__(self, phrases: Sequence[Phrase], normalisation: Normalisation) -> None:
        self._normalisation = replace(normalisation, spaces=False)
        forms = [_without_spaces(normalise(each.text, self._normalisation)) for each in phrases]
        self.empty = [each for each, form in zip(phrases, forms, strict=True) if not form]
        self._phrases = dict[str, Phrase]()
        sizes = defaultdict[str, set[int]](set)
        for each, form in zip(phrases, forms, strict=True):
            if form:
                self._phrases.setdefault(form, each)
                sizes[form[:2]].add(len(form))
        self._sizes = {begin: sorted(those) for begin, those in sizes.items()}  # of the phrases that begin so
        self._counts = [Counter[str](), Counter[str](), Counter[str]()]  # in references, hits, in transcripts
        self._by_recording = [list[int](), list[int](), list[int]()]

    def add(self, reference: str, transcript: str) -> None:
        """Adds a recording; its texts are normalised, but for their spaces."""
        expected, actual = Counter(self._occurrences(reference)), Counter(self._occurrences(transcript))
        if not expected and not actual:
            return
        hits = expected & actual
        for counts, those, totals in zip(self._counts, (expected, hits, actual), self._by_recording, strict=True):
            counts.update(those)
            totals.append(those.total())

    def _occurrences(self, text: str) -> Iterator[str]:
        text = _without_spaces(text)
        for begin in range(len(text)):
            if is_in_word(text, begin):
                continue
            for start in dict.fromkeys((text[begin], text[begin : begin + 2])):
                for size in self._sizes.get(start, ()):
                    end = begin + size
                    form = text[begin:end]
                    if end <= len(text) and form in self._phrases and not is_in_word(text, end):
                        yield form

    def rates(self, samples: int, shown: int) -> PhraseRates:
        """The rates, and so many phrases with the most misses and false alarms."""
        expected, hits, actual = self._counts
        scores = (
            PhraseScore(
                each.text, each.line, expected[form], hits[form], expected[form] - hits[form], actual[form] - hits[form]
            )
            for form, each in self._phrases.items()
        )
        wrong = (each for each in scores if each.misses or each.false_alarms)
        worst = sorted(wrong, key=lambda each: (-each.misses - each.false_alarms, each.line))
        totals = [each.total() for each in self._counts]
        expected_of, hits_of, actual_of = self._by_recording
        return PhraseRates(
            phrases=len(self._phrases),
            occurring=len(expected),
            in_references=totals[0],
            hits=totals[1],
            misses=totals[0] - totals[1],
            false_alarms=totals[2] - totals[1],
            recall=rounded(totals[1] / totals[0]) if totals[0] else None,
            recall_interval=_interval(hits_of, expected_of, samples),
            precision=rounded(totals[1] / totals[2]) if totals[2] else None,
            precision_interval=_interval(hits_of, actual_of, samples),
            worst=[*islice(worst, shown)],
        )


def _interval(hits: Sequence[int], of: Sequence[int], samples: int) -> tuple[float, float] | None:
    """The interval of a share of occurrences, over the recordings that have any; None if none has."""
    if not any(of):
        return None
    counted = [number for number, count in enumerate(of) if count]
    low, high = interval([hits[each] for each in counted], [of[each] for each in counted], samples)
    return round(low, 5), round(high, 5)


def _without_spaces(text: str) -> str:
    return _SPACE.sub("", text)
