"""Divides transcripts into subtitle cues with times and line breaks."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from actors.text.scripts import UNSPACED

SENTENCE_ENDS = "。！？!?…；;."
PUNCTUATION = SENTENCE_ENDS + "，,、：:"
PAUSE_RATIO = 4.0  # times the median distance between word starts: a pause of that length is worth a comma
CUE_COST = 1.0  # in commas: many short cues are harder to read

#: A number goes on with a digit, also after its sign or a point, and after its digits with its unit, which has several
#: characters in 300多万元, 5公里 and 30分钟. Beyond so many characters it is none that a line must keep whole.
_BEFORE_DIGIT = re.compile(r"(?:[第$¥￥€£#+−-]|\d[.,:/]?)$")
_BEFORE_UNIT = re.compile(r"\d[十百千万亿多余几来公平方立毫厘小美欧分]*$")
_UNITS = frozenset(
    "%％‰℃°十百千万亿多余几来年月日号时点分秒钟天周小刻元块角毛钱美欧岁个人名位口户家次遍趟倍成度斤两克吨升公毫厘微米"
    "里尺寸亩平方立层楼栋幢单室房路线届期章节页集条款项册卷版件箱张只本台辆艘架部套双对场种类批组级股瓦伏兆字句头匹棵"
    "朵颗粒杯瓶碗盒袋桶包座所间"
)
_LONGEST_NUMBER = 40


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


class Word(NamedTuple):
    """A word with the space before it, or a character in text without spaces."""

    text: str
    start: float
    end: float

    @property
    def width(self) -> float:
        return sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.5 for char in self.text)


def cues_of(rows: Sequence[dict[str, Any]], layout: SubtitleLayout) -> list[Cue]:
    """Divides a recording into cues that do not overlap and fit the layout; one without words has none.

    They end at the ends of sentences or phrases, or at pauses. A cue shorter than the minimum is extended, at most to
    the start of the next one.
    """
    spoken = sorted((row for row in rows if row["text"]), key=lambda row: row["start_s"])
    words = [word for row in spoken for word in words_of(row)]
    cues = list(_cues(words, layout)) if words else []
    placed = list[Cue]()
    for index, cue in enumerate(cues):
        start = max(cue.start, placed[-1].end if placed else 0.0)
        following = cues[index + 1].start if index + 1 < len(cues) else float("inf")
        end = max(cue.end, min(start + layout.min_s, following), start + 0.001)
        placed.append(replace(cue, start=start, end=end))
    return placed


def words_of(row: dict[str, Any]) -> list[Word]:
    """The words of a segment with times: those of its tokens, else spread evenly over the segment. A number is one with
    its unit."""
    tokens = [Word(each["token"], each["start_s"], each["end_s"]) for each in row["tokens"] or () if each["token"]]
    spaced = " " in row["text"].strip()
    words = list[Word]()
    for token in tokens or spread_evenly(row["text"], row["start_s"], row["end_s"]):
        if words and not _begins(token.text, words[-1].text, spaced):
            words[-1] = Word(words[-1].text + token.text, words[-1].start, token.end)
        else:
            words.append(token)
    if spaced:  # segments do not include the space between them
        words[0] = words[0]._replace(text=" " + words[0].text.lstrip())
    return words


def spread_evenly(text: str, start: float, end: float) -> list[Word]:
    """The characters of a text without times, one by one."""
    step = (end - start) / max(len(text), 1)
    return [Word(char, start + place * step, start + (place + 1) * step) for place, char in enumerate(text)]


def _begins(token: str, before: str, spaced: bool) -> bool:
    """Whether a token begins a word, in a text with spaces between words or without."""
    if token[0].isspace():
        return True
    if token in PUNCTUATION or _is_number_before(before, token):
        return False
    return not spaced or UNSPACED.match(token) is not None


def _is_number_before(before: str, token: str) -> bool:
    """Whether a number goes on with a token, or begins with it."""
    if len(before) >= _LONGEST_NUMBER:
        return False
    if token[0].isdecimal():
        return _BEFORE_DIGIT.search(before) is not None
    return token[0] in _UNITS and _BEFORE_UNIT.search(before) is not None


def _cues(words: Sequence[Word], layout: SubtitleLayout) -> Iterator[Cue]:
    first = 0
    for last in _cue_ends(words, layout):
        text = _lines([word.text for word in words[first:last]], layout)
        yield Cue(words[first].start, words[last - 1].end, text)
        first = last


def _cue_ends(words: Sequence[Word], layout: SubtitleLayout) -> list[int]:
    """End indices (exclusive) of the cues into `words`, optimal by dynamic programming.

    The value of a cue is that of the break at its end, minus a cost that is lower the fuller the cue is. The best
    division up to a word is the best division up to an earlier one plus one cue.
    """
    break_values = _break_values(words)
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
