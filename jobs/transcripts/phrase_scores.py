"""How many phrases of references were recognised: recall, precision and false alarms."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from actors.text.normalise import Normalisation, normalise
from actors.text.phrases import Phrase
from actors.text.scripts import UNSPACED, is_in_word
from actors.text.written.readings import alike
from jobs.transcripts.rates import rounded
from jobs.transcripts.scoring import Interval, interval

_LATIN = re.compile("[A-Za-z]")
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
    None where there are none. `with_errors` phrases were missed or falsely found, of which `worst` are the first."""

    phrases: int
    occurring: int
    in_references: int
    hits: int
    misses: int
    false_alarms: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    recall_interval_method: str | None
    precision: float | None
    precision_interval: tuple[float, float] | None
    precision_interval_method: str | None
    with_errors: int
    worst: list[PhraseScore]


class PhraseScores:
    """Counts phrases in references and transcripts. Overlapping and nested ones count each; in scripts with spaces,
    they are whole words. `empty` has the phrases of which normalisation leaves nothing."""

    def __init__(self, phrases: Sequence[Phrase], normalisation: Normalisation) -> None:
        self._normalisation = replace(normalisation, spaces=False)
        forms = [self._plain(normalise(each.text, self._normalisation, _language(each.text))) for each in phrases]
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

    def _plain(self, text: str) -> str:
        """A text as phrases are sought in it, without spaces that say nothing."""
        text = _without_spaces(text)
        return alike(text) if self._normalisation.digits == "spoken" else text

    def _occurrences(self, text: str) -> Iterator[str]:
        text = self._plain(text)
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
        recall, precision = (Interval.described(_interval(hits_of, of, samples)) for of in (expected_of, actual_of))
        return PhraseRates(
            phrases=len(self._phrases),
            occurring=len(expected),
            in_references=totals[0],
            hits=totals[1],
            misses=totals[0] - totals[1],
            false_alarms=totals[2] - totals[1],
            recall=rounded(totals[1] / totals[0]) if totals[0] else None,
            recall_interval=recall[0],
            recall_interval_method=recall[1],
            precision=rounded(totals[1] / totals[2]) if totals[2] else None,
            precision_interval=precision[0],
            precision_interval_method=precision[1],
            with_errors=len(worst),
            worst=worst[:shown],
        )


def _interval(hits: Sequence[int], of: Sequence[int], samples: int) -> Interval | None:
    """The interval of a share of occurrences, over the recordings that have any."""
    counted = [number for number, count in enumerate(of) if count]
    return interval([hits[each] for each in counted], [of[each] for each in counted], samples)


def _language(phrase: str) -> str:
    """What stands beside a phrase, to tell whether its digits are Mandarin: they are, if it has no Latin letter."""
    return "" if _LATIN.search(phrase) else "中文"


def _without_spaces(text: str) -> str:
    return _SPACE.sub("", text)
