"""References as a model's vocabulary writes them: their tokens, and the words that these are of."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from actors.engine.vocabulary import Vocabulary
from actors.text.scripts import UNSPACED
from actors.text.spelling import CannotSpell, Speller


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a reference, with its punctuation: characters `begin` to `stop` of the source, and tokens `first` to
    `end`. It begins at the share `from_first` of the first token, and ends at the share `to_last` of the last."""

    text: str
    begin: int
    stop: int
    first: int
    end: int
    from_first: float
    to_last: float


@dataclass(frozen=True)
class Reference:
    """A reference: its source, the ids and texts of its tokens, its words, and how many characters were left out that
    the vocabulary cannot write."""

    source: str
    ids: list[int]
    token_texts: list[str]
    words: list[Word]
    left_out: int

    def text_of(self, first: int, end: int) -> str:
        """The text of words `first` to `end`."""
        return self.source[self.words[first].begin : self.words[end - 1].stop] if first < end else ""


class Referring:
    """Spells references with one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._speller, self._decoder = Speller(vocabulary), vocabulary.decoder()

    def __call__(self, text: str) -> Reference:
        """Spells a reference, without what the vocabulary cannot write.

        Its words are those of the text as it stands, such as a Chinese character and the comma after it. Where they
        cannot be found again in what is spelled, as when a rule of the vocabulary joins two words, they are those of
        what is spelled.
        """
        normalised, ids, strange = self._spelled(text)
        left_out = sum(char in strange for char in normalised)
        written = "".join(char for char in normalised if char not in strange)
        texts = self._decoder.token_texts(ids)
        for source in (text, written, "".join(texts)):
            words = self._words(source, strange, texts)
            if words is not None:
                return Reference(source, ids, texts, words, left_out)
        return Reference("".join(texts), ids, texts, [], left_out)

    def _spelled(self, text: str) -> tuple[str, list[int], set[str]]:
        """A text as the vocabulary writes it, the ids of what it can spell of it, and the characters that it cannot."""
        normalised, strange = self._speller.normalised(text), set[str]()
        rest = normalised
        while True:
            try:
                return normalised, self._speller.spell(rest).ids, strange
            except CannotSpell as problem:
                strange.update(problem.characters)
                shorter = "".join(char for char in rest if char not in strange)
                if len(shorter) == len(rest):  # what cannot be spelled is not in it as such
                    return normalised, [], set(normalised)
                rest = shorter

    def _words(self, source: str, strange: set[str], texts: list[str]) -> list[Word] | None:
        """The words of a source with the tokens that write them; None if these are not the characters of the source."""
        spans, written = list[tuple[int, int]](), list[str]()
        for begin, stop in word_spans(source):
            own = "".join(char for char in self._speller.normalised(source[begin:stop]) if char not in strange)
            spans.append((begin, stop))
            written.append("".join(own.split()))
        characters = ["".join(each.split()) for each in texts]
        if "".join(written) != "".join(characters):
            return None
        bounds = np.array([0, *accumulate(map(len, characters))])
        places, words = [0, *accumulate(map(len, written))], list[Word]()
        firsts = np.searchsorted(bounds[1:], places[:-1], "right").tolist()
        ends = np.searchsorted(bounds[:-1], places[1:], "left").tolist()
        for (begin, stop), place, until, first, end in zip(spans, places, places[1:], firsts, ends, strict=False):
            if place == until:  # nothing of it is spelled: it belongs to the word before it
                if words:
                    last = words[-1]
                    words[-1] = Word(source[last.begin : stop], last.begin, stop, *_tokens_of(last))
                continue
            begin = begin if words else 0  # what comes before the first word belongs to it
            length_first, length_last = len(characters[first]), len(characters[end - 1])
            from_first = (place - int(bounds[first])) / length_first
            to_last = (until - int(bounds[end - 1])) / length_last
            words.append(Word(source[begin:stop].strip(), begin, stop, first, end, from_first, to_last))
        return words if words or not texts else None


def _tokens_of(word: Word) -> tuple[int, int, float, float]:
    return word.first, word.end, word.from_first, word.to_last


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """The words of a text, as begins and ends: what is between spaces and, in scripts without them, each character,
    with the punctuation after it; an opening bracket belongs to what follows."""
    begin: int | None = None  # of the word that is open
    is_alone = is_opening = False  # whether it is one character of such a script; whether it has only brackets so far
    for place, char in enumerate(text):
        kind = unicodedata.category(char)
        if char.isspace():
            if begin is not None:
                yield begin, place
            begin = None
            continue
        is_base = kind[0] not in "PMS" and kind != "Cf"
        opens = kind in ("Ps", "Pi")
        unspaced = bool(UNSPACED.match(char)) and is_base
        if begin is not None and not is_opening and (opens or (is_base and (unspaced or is_alone))):
            yield begin, place
            begin = None
        if begin is None:
            begin, is_alone, is_opening = place, unspaced, opens
        else:
            is_alone, is_opening = is_alone or unspaced, is_opening and not is_base
    if begin is not None:
        yield begin, len(text)
