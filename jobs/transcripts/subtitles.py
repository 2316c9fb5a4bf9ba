"""Divides transcripts into subtitle cues with times and line breaks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from actors.text.normalise import join_texts
from jobs.transcripts.words import PUNCTUATION, SENTENCE_ENDS, Word, joined, word_ends, words_of

PAUSE_RATIO = 4.0  # times the median distance between word starts: a pause of that length is worth a comma
CUE_COST = 1.0  # in commas: many short cues are harder to read
LONELY_COST, LONELY_WIDTH = 1.0, 2.0  # a cue of a single character is hardly seen, and belongs to its neighbour


@dataclass(frozen=True)
class SubtitleLayout:
    """Limits of a cue: lines, characters per line as wide as a Chinese one (others count half), and seconds. In a
    dialogue, the names of those who speak on each channel, by its number."""

    characters: int = 16
    lines: int = 2
    min_s: float = 1.0
    max_s: float = 7.0
    speakers: tuple[str, ...] = ()

    def speaker(self, channel: int) -> str:
        """The name of a channel: its number unless it is given another."""
        return self.speakers[channel] if 0 <= channel < len(self.speakers) else str(channel)


@dataclass(frozen=True)
class Cue:
    """A subtitle: seconds from the recording's start, and the text with line breaks."""

    start: float
    end: float
    text: str


def cues_of(rows: Sequence[dict[str, Any]], layout: SubtitleLayout) -> list[Cue]:
    """Divides a recording into cues that do not overlap and fit the layout; one without words has none.

    They end at the ends of sentences or phrases, or at pauses. A cue shorter than the minimum is extended, at most to
    the start of the next one.
    """
    spoken = sorted((row for row in rows if row["text"]), key=lambda row: row["start_s"])
    spaced = " " in join_texts(row["text"] for row in spoken).strip()
    pieces = [piece for row in spoken for piece in words_of(row, spaced)]
    cues = list(_cues(pieces, layout)) if pieces else []
    placed = list[Cue]()
    for index, cue in enumerate(cues):
        start = max(cue.start, placed[-1].end if placed else 0.0)
        following = cues[index + 1].start if index + 1 < len(cues) else float("inf")
        end = max(cue.end, min(start + layout.min_s, following), start + 0.001)
        placed.append(replace(cue, start=start, end=end))
    return placed


def _cues(pieces: Sequence[Word], layout: SubtitleLayout) -> Iterator[Cue]:
    ends = word_ends(pieces)
    words = [joined(pieces[begin:end]) for begin, end in pairwise([0, *ends])]
    values = _break_values(pieces)
    first = 0
    for last in _cue_ends(words, [values[end - 1] for end in ends], layout):
        text = _lines([word.text for word in words[first:last]], layout)
        yield Cue(words[first].start, words[last - 1].end, text)
        first = last


def _cue_ends(words: Sequence[Word], break_values: Sequence[float], layout: SubtitleLayout) -> list[int]:
    """End indices (exclusive) of the cues into `words`, optimal by dynamic programming.

    The value of a cue is that of the break at its end, minus a cost that is lower the fuller the cue is, and another if
    it has hardly a word. The best
    division up to a word is the best division up to an earlier one plus one cue.
    """
    room = layout.characters * layout.lines
    best, came_from = [0.0], [0]
    for end in range(1, len(words) + 1):
        width, worth, start = 0.0, float("-inf"), end - 1
        for first in range(end - 1, -1, -1):
            width += words[first].width
            seconds = words[end - 1].end - words[first].start
            if first < end - 1 and (width > room or seconds > layout.max_s):
                break
            value = best[first] + break_values[end - 1] - CUE_COST - (1 - min(width / room, 1)) ** 2
            value -= LONELY_COST if width < LONELY_WIDTH else 0.0
            if value > worth:
                worth, start = value, first
        best.append(worth)
        came_from.append(start)
    ends, place = list[int](), len(words)
    while place:
        ends.append(place)
        place = came_from[place]
    return ends[::-1]


def _break_values(words: Sequence[Word]) -> list[float]:
    """The value of a break after each word: highest at sentence ends and at pauses longer than usual."""
    steps = [right.start - left.start for left, right in pairwise(words)]
    usual = max(median(steps), 0.02) if steps else 1.0
    return [
        1.0 * (word.text[-1] in SENTENCE_ENDS)
        + 1.0 * (word.text[-1] in PUNCTUATION)
        + min(step / (PAUSE_RATIO * usual), 1.5)
        for word, step in zip(words, [*steps, 0.0], strict=True)
    ]


def _lines(words: Sequence[str], layout: SubtitleLayout) -> str:
    """Breaks words into the fewest lines, of similar length. A word wider than a line gets one of its own."""
    widths = [Word(word, 0, 0).width for word in words]
    count = 1
    while True:
        lines, filled, share = [""], 0.0, max(sum(widths) / count, 1)
        for word, width in zip(words, widths, strict=True):
            if lines[-1] and (
                filled + width > layout.characters or (filled + width / 2 > share and len(lines) < count)
            ):
                lines.append("")
                filled = 0.0
            lines[-1] += word
            filled += width
        if len(lines) <= count or count >= len(words):
            return "\n".join(line.strip() for line in lines)
        count += 1
