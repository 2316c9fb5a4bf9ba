"""Where a transcript differs from its reference: the differing words, with a few on both sides, and when they are
said."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rich.cells import cell_len

from actors.parts.recordings import Row
from actors.text.normalise import Normalisation, normalise
from actors.text.scripts import UNSPACED
from jobs.transcripts.scores import Compared

CONTEXT = 10  # columns of a terminal on each side of a difference; a Chinese character takes two
SIDE = 12  # columns of what the reference has, and of what the transcript has; of more the beginning is shown
NOTHING, SPACE = "∅", "␣"

_WORDS = re.compile(rf"{UNSPACED.pattern}|(?:(?!{UNSPACED.pattern})\S)+")
_WORDS_AND_SPACES = re.compile(rf"{_WORDS.pattern}|\s")


class Moment(NamedTuple):
    """When something is said, in seconds from the recording's start; only about then if it is the beginning of the
    segment, for want of tokens."""

    seconds: float
    is_about: bool

    def __str__(self) -> str:
        whole = int(self.seconds)
        hours, minutes = divmod(whole // 60, 60)
        clock = f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
        return f"~{clock}" if self.is_about else clock


@dataclass(frozen=True)
class TextDifference:
    """A stretch of the reference that the transcript has otherwise, both normalised: words, or characters in scripts
    without spaces between words, as `…天早[上→下]司机…`."""

    at: Moment
    text: str


def differences(compared: Compared, normalisation: Normalisation) -> Iterator[TextDifference]:
    """The differences of a recording, in order. Each is at the first token that differs, or where there is none, at the
    token before it."""
    from rapidfuzz.distance import Levenshtein

    texts = _texts(compared)
    pattern = _WORDS if normalisation.spaces else _WORDS_AND_SPACES
    expected, actual = ([each[0] for each in pattern.finditer(text)] for text in texts)
    starts = [each.start() for each in pattern.finditer(texts[1])]
    moments = _moments(compared.of.rows, texts[1], normalisation)
    for begin, end, other_begin, other_end in _stretches(Levenshtein.opcodes(expected, actual)):
        was, now = _said(expected[begin:end]), _said(actual[other_begin:other_end])
        if normalisation.spaces and was.replace(" ", "") == now.replace(" ", ""):
            continue  # they differ by spaces, which do not count
        at = other_begin if other_begin < other_end else max(other_begin - 1, 0)
        edge = was or now
        before = _before(expected[max(begin - CONTEXT - 1, 0) : begin], edge[0])
        after = _after(expected[end : end + CONTEXT + 1], edge[-1])
        yield TextDifference(moments[starts[at] if starts else 0], f"{before}[{_side(was)}→{_side(now)}]{after}")


def _stretches(blocks: Iterable[Any]) -> list[list[int]]:
    """Begins and ends of what differs, in the reference and in the transcript, from the blocks of an alignment."""
    found = list[list[int]]()
    for kind, begin, end, other_begin, other_end in blocks:
        if kind == "equal":
            continue
        if found and found[-1][1] == begin and found[-1][3] == other_begin:
            found[-1][1::2] = end, other_end
        else:
            found.append([begin, end, other_begin, other_end])
    return found


def _texts(compared: Compared) -> tuple[str, str]:
    """The texts to show: as they were compared by characters if most of them is of scripts without spaces between
    words, else with their spaces."""
    both = compared.reference_words + compared.transcript_words
    if 2 * len(UNSPACED.findall(both)) >= len("".join(both.split())):
        return compared.reference, compared.transcript
    return compared.reference_words, compared.transcript_words


def _said(words: Sequence[str]) -> str:
    """Words as a text, with spaces between those of scripts that have them."""
    said = ""
    for word in words:
        said += _gap(said[-1:], word[0]) + word
    return said


def _gap(left: str, right: str) -> str:
    """What is between two words, given by their last and first character."""
    return " " if left and not any(UNSPACED.match(each) or each.isspace() for each in (left, right)) else ""


def _side(said: str) -> str:
    """What the reference or the transcript has, or the beginning of it."""
    if not said or said.isspace():
        return SPACE if said else NOTHING
    return said if cell_len(said) <= SIDE else f"{_beginning(said, SIDE - 1)}…"


def _before(words: Sequence[str], edge: str) -> str:
    """The last words that fit; what follows them begins with the character `edge`."""
    said = ""
    for word in reversed(words):
        longer = word + _gap(word[-1], (said or edge)[0]) + said
        if cell_len(longer) > CONTEXT:
            end = _beginning(word[::-1], CONTEXT - 2)[::-1] + _gap(word[-1], edge)
            return f"…{said or end}"
        said = longer
    return said


def _after(words: Sequence[str], edge: str) -> str:
    """The first words that fit; what precedes them ends with the character `edge`."""
    said = ""
    for word in words:
        gap = _gap((said or edge)[-1], word[0])
        if cell_len(said + gap + word) > CONTEXT:
            return f"{said or gap + _beginning(word, CONTEXT - 2)}…"
        said += gap + word
    return said


def _beginning(text: str, columns: int) -> str:
    """As much of a text as fits into so many columns of a terminal."""
    kept = text[:columns]
    while cell_len(kept) > columns:
        kept = kept[:-1]
    return kept


def _moments(rows: Sequence[Row], text: str, normalisation: Normalisation) -> list[Moment]:
    """When each character of a normalised text is said; of an empty one, when the recording begins.

    Each character of the rows' texts is normalised by itself. What that makes differs from the text where several are
    normalised together, as numbers that are read aloud: there, both are aligned by the fewest edits.
    """
    from rapidfuzz.distance import Levenshtein

    alone = replace(
        normalisation, spaces=True, digits="keep" if normalisation.digits == "spoken" else normalisation.digits
    )
    plain, moments = list[str](), list[Moment]()
    for char, moment in _heard(rows):
        made = normalise(char, alone)
        plain += made
        moments += [moment] * len(made)
    if not moments:
        return [Moment(rows[0]["start_s"] or 0.0, True)] * (len(text) + 1)
    found = list[Moment]()
    for each in Levenshtein.opcodes("".join(plain), text):
        begin, size = each.src_start, each.src_end - each.src_start
        for number in range(each.dest_end - each.dest_start):
            place = begin + number * size // (each.dest_end - each.dest_start)
            found.append(moments[min(place, len(moments) - 1)])
    return found or [moments[0]]


def _heard(rows: Sequence[Row]) -> Iterator[tuple[str, Moment]]:
    """The characters of the rows' texts, and when each is said: the start of its token, else of its segment."""
    for row in rows:
        if not row["text"]:
            continue
        tokens = [each for each in row["tokens"] or () if each["token"].strip()]
        for each in tokens:
            yield from ((char, Moment(max(each["start_s"], 0.0), False)) for char in each["token"])
        if not tokens:
            yield from ((char, Moment(row["start_s"] or 0.0, True)) for char in row["text"])
