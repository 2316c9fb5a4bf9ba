"""Words of transcripts with their times: what a line of subtitles is not broken within."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from actors.text.scripts import UNSPACED, is_in_word

SENTENCE_ENDS = "。！？!?…；;."
PUNCTUATION = SENTENCE_ENDS + "，,、：:"
CLOSING = PUNCTUATION + "」』）》〉】〕”’)]}·—～"  # no line begins with one
OPENING = "「『（《〈【〔“‘([{"  # no line ends with one

#: A number goes on with a digit, also after its sign or a point, and after its digits with its unit, which has several
#: characters in 300多万元, 5公里 and 30分钟. Beyond _LONGEST characters it is none that a line must keep whole, nor is
#: a word in a text without spaces.
_BEFORE_DIGIT = re.compile(r"(?:[第$¥￥€£#+−-]|\d[.,:/年月点时]?)$")
_BEFORE_UNIT = re.compile(r"\d[十百千万亿多余几来公平方立毫厘小美欧分]*$")
_UNITS = frozenset(
    "%％‰℃°十百千万亿多余几来年月日号时点分秒钟天周小刻元块角毛钱美欧岁个人名位口户家次遍趟倍成度斤两克吨升公毫厘微米"
    "里尺寸亩平方立层楼栋幢单室房路线届期章节页集条款项册卷版件箱张只本台辆艘架部套双对场种类批组级股瓦伏兆字句头匹棵"
    "朵颗粒杯瓶碗盒袋桶包座所间"
)
_LONGEST = 40

_MARKS = frozenset({"Mn", "Mc", "Me", "Cf", "Sk"})  # Unicode's categories of what alters the character before
_JOINER = "\u200d"
_WITHIN_WORDS = "'’-"


_CHINESE_NUMBER = re.compile(r"[零〇一二三四五六七八九十百千万亿两几点]+$|百分之[零〇一二三四五六七八九十百千万亿点]*$")
_CHINESE_DIGITS = frozenset("零〇一二三四五六七八九十百千万亿")
_WIDEST_WORD = 12.0  # as SubtitleLayout counts: what is joined beyond that may be broken
_AFTER_UNIT = frozenset("半多钟")  # 10点半
_PARTICLES = frozenset("的了着过们吗呢吧啊嘛呀")  # which belong to the word before them
_LONGEST_GAP_S = 1.0  # within a word
_LONGEST_WORD_S = 5.0  # what takes longer, as where few characters are spread over a segment, may be broken


class Word(NamedTuple):
    """A word with the space before it, or a character in text without spaces."""

    text: str
    start: float
    end: float

    @property
    def width(self) -> float:
        return sum(1.0 if unicodedata.east_asian_width(char) in "WF" else 0.5 for char in self.text)


def words_of(row: dict[str, Any], spaced: bool | None = None) -> list[Word]:
    """The words of a segment with times: those of its tokens, else spread evenly over the segment. A number is one with
    its unit. `spaced` tells whether there are spaces between words; if it is not given, the segment does."""
    tokens = [Word(each["token"], each["start_s"], each["end_s"]) for each in row["tokens"] or () if each["token"]]
    spaced = " " in row["text"].strip() if spaced is None else spaced
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
    if token[0] in CLOSING or (before[-1] in OPENING and len(before) < _LONGEST):
        return False
    if _is_number_before(before, token) or _is_part(token[0], before[-1]):
        return False
    if spaced:
        return UNSPACED.match(token) is not None
    return len(before) >= _LONGEST or not _is_latin_before(before, token[0])


def _is_part(char: str, before: str) -> bool:
    """Whether a character is shown as one with that before it: an accent, a tone of skin, what a joiner joins."""
    return unicodedata.category(char) in _MARKS or before == _JOINER


def _is_latin_before(before: str, char: str) -> bool:
    """Whether a word of a script that has spaces between words goes on, in a text without any: iPhone's."""
    at = before.rstrip(_WITHIN_WORDS) if len(before) > 1 and before[-1] in _WITHIN_WORDS else before
    return is_in_word(f"{at[-1:]}{'x' if char in _WITHIN_WORDS else char}", 1)


def _is_number_before(before: str, token: str) -> bool:
    """Whether a number goes on with a token, or begins with it."""
    if len(before) >= _LONGEST:
        return False
    if token[0].isdecimal():
        return _BEFORE_DIGIT.search(before) is not None
    return token[0] in _UNITS and _BEFORE_UNIT.search(before) is not None


def word_ends(pieces: Sequence[Word]) -> list[int]:
    """Where words end in what `words_of` found in a recording, as end indices (exclusive).

    Chinese is written without spaces: its words are those of jieba's dictionary, with what the surrounding text says
    where several fit, and its numbers are whole. (Source of the dictionary: https://github.com/messense/rjieba-py.)
    """
    borders, at = _borders("".join(piece.text for piece in pieces)), 0
    ends, begun, width = list[int](), 0, 0.0
    for index, piece in enumerate(pieces):
        at, width = at + len(piece.text), width + piece.width
        following = pieces[index + 1] if index + 1 < len(pieces) else None
        if (
            following is None
            or width + following.width > _WIDEST_WORD
            or following.start - piece.end > _LONGEST_GAP_S
            or following.end - pieces[begun].start > _LONGEST_WORD_S
            or not _is_within_word(pieces[begun : index + 1], following.text, at in borders)
        ):
            ends.append(index + 1)
            begun, width = index + 1, 0.0
    return ends


def joined(pieces: Sequence[Word]) -> Word:
    """Pieces of a word as one."""
    return Word("".join(piece.text for piece in pieces), pieces[0].start, pieces[-1].end)


def _is_within_word(before: Sequence[Word], text: str, is_border: bool) -> bool:
    """Whether a word goes on with a text, both without a space between them."""
    last = before[-1].text
    if not (UNSPACED.match(last[-1]) and UNSPACED.match(text)):
        return False
    if last[0].isdecimal():  # with its unit, of which the dictionary makes words with what follows: 5日去
        return text[0] in _AFTER_UNIT
    if not is_border:
        return True
    said = "".join(each.text for each in before)
    is_number = _CHINESE_NUMBER.search(said) is not None
    return is_number and (text[0] in _CHINESE_DIGITS or (text[0] in _UNITS and said[-1] in _CHINESE_DIGITS))


def _borders(text: str) -> set[int]:
    """The places in a text where a word of Chinese ends; all of them where it has none."""
    if not UNSPACED.search(text):
        return set(range(len(text) + 1))
    import rjieba  # its dictionary takes a moment, which other jobs need not wait for

    ends, at = set[int](), 0
    for word in rjieba.cut(text.encode("utf-8", "replace").decode()):  # half a surrogate becomes a question mark
        if word in _PARTICLES:
            ends.discard(at)
        at += len(word)
        ends.add(at)
    return ends
