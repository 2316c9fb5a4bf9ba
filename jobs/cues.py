"""Transcripts into subtitles: what stands on the screen at once, from when to when, and where its lines break."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

ENDS = "。！？!?…；;"  # of sentences
STOPS = ENDS + "，,、：:"
PAUSE_S = 0.3  # between words, that is worth a stop
FILLED = 0.4  # share of the longest cue, before which none ends of its own will


@dataclass(frozen=True)
class Layout:
    """The size of a cue: characters of a line as wide as a Chinese one (others count half), lines, seconds."""

    characters: int = 16
    lines: int = 2
    least_s: float = 1.0
    most_s: float = 7.0


@dataclass(frozen=True)
class Cue:
    """Seconds from the start of the recording, and the text with its lines."""

    start: float
    end: float
    text: str


class Word(NamedTuple):
    """A word, or where there are no spaces a character, with the space before it if there is one."""

    text: str
    start: float
    end: float

    @property
    def width(self) -> float:
        return sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.5 for char in self.text)


def cues_of(rows: Sequence[dict[str, Any]], layout: Layout) -> list[Cue]:
    """The cues of a recording, none over another: of no more characters, lines and seconds than the layout says.

    They end where sentences or phrases do, or where there is a pause. One that would be too short to read stays until
    the next begins.
    """
    cues = [cue for row in rows if row["text"] for cue in _cues(words_of(row), layout)]
    placed = list[Cue]()
    for index, cue in enumerate(cues):
        start = max(cue.start, placed[-1].end if placed else 0.0)
        following = cues[index + 1].start if index + 1 < len(cues) else float("inf")
        end = max(cue.end, min(start + layout.least_s, following), start + 0.001)
        placed.append(replace(cue, start=start, end=end))
    return placed


def words_of(row: dict[str, Any]) -> list[Word]:
    """The words of a segment with their times: by its tokens, else spread evenly over it."""
    tokens = [Word(each["token"], each["start_s"], each["end_s"]) for each in row["tokens"] or () if each["token"]]
    if not tokens:
        step = (row["end_s"] - row["start_s"]) / len(row["text"])
        times = [
            (row["start_s"] + place * step, row["start_s"] + (place + 1) * step) for place in range(len(row["text"]))
        ]
        tokens = [Word(char, *time) for char, time in zip(row["text"], times, strict=True)]
    words = list[Word]()
    spaced = " " in row["text"].strip()
    for token in tokens:
        begins = token.text[0].isspace() if spaced else token.text not in STOPS
        if words and not begins:
            words[-1] = Word(words[-1].text + token.text, words[-1].start, token.end)
        else:
            words.append(token)
    return words


def _cues(words: Sequence[Word], layout: Layout) -> Iterator[Cue]:
    first = 0
    while first < len(words):
        last = _end(words, first, layout)
        text = _lines([word.text for word in words[first:last]], layout)
        yield Cue(words[first].start, words[last - 1].end, text)
        first = last


def _end(words: Sequence[Word], first: int, layout: Layout) -> int:
    """The word after the last one of a cue: the best place to stop among those where it may."""
    room, width, best, best_score = layout.characters * layout.lines, 0.0, first + 1, -1.0
    for place in range(first, len(words)):
        width += words[place].width
        if place > first and (width > room or words[place].end - words[first].start > layout.most_s):
            break
        is_last = place == len(words) - 1
        pause = 0.0 if is_last else words[place + 1].start - words[place].end
        filled = width / room
        score = filled + 2.0 * (words[place].text[-1] in ENDS) + 1.0 * (words[place].text[-1] in STOPS)
        score += 1.0 * (pause >= PAUSE_S) + 3.0 * is_last
        if score >= best_score and (filled >= FILLED or is_last or best_score < 1):
            best, best_score = place + 1, score
    return best


def _lines(words: Sequence[str], layout: Layout) -> str:
    """Words in as few lines as hold them, of like length; a word that is wider than a line has one of its own."""
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
