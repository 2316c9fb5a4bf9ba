"""Aligns a text with its written form, so that what is written has the times of what was said.

Both are divided into units: a number, a word of a script with spaces, else a character. Equal units are matched from
left to right. Where two differ, and it is not only that punctuation was inserted, the nearest unit that both have is
looked for, and what lies before it on either side replaces each other. Numerals are never looked for: the
wrong 十 is nearer in 十点十分十分准时, which is 10:10十分准时. From the unit that is found, matches go back over them;
and in a replacement those count that are there as often as in what is replaced: 点 in 八点十五, which is 8点15.

Where the nearest one lies is looked for in windows of growing size. One that is found in a window was in none of a
quarter of its size, so the search moves on by a share of what it read: all of it takes linear time, on any two texts.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from actors.text.scripts import UNSPACED

_LONGEST = 64  # characters of a number or a word; a longer one is several, so that a subtitle can break it
_WINDOW, _GROWTH = 16, 4  # units that are looked at on either side; and how much more if there is no match
_NUMBER = rf"[$¥￥€£+−-]?\d{{1,{_LONGEST}}}(?:[.,:/]\d{{1,{_LONGEST}}}){{0,8}}[%‰℃]?"
_WORD = rf"(?!{UNSPACED.pattern})[^\W\d_](?:['’]?(?!{UNSPACED.pattern})[^\W_]){{0,{_LONGEST}}}"
_UNIT = re.compile(rf"\s*(?:{_NUMBER}|{_WORD}|.)", re.DOTALL)
_JOINER = "\u200d"  # joins what is before and behind it to one letter or picture
_OPENING = {"Ps", "Pi"}  # categories of Unicode: brackets and quotation marks that belong to what follows

_NUMERALS = frozenset("零〇一二两三四五六七八九十百千点分之半负幺")
_NUMBER_WORDS = frozenset(
    "zero oh o one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million"
    " billion trillion and a point percent per cent half quarter double triple minus first second third fourth fifth"
    " sixth seventh eighth ninth tenth eleventh twelfth thirteenth twentieth thirtieth"
    " dollars pounds euros cents".split()
)


class Unit(NamedTuple):
    """A piece of a written form, with the space before it, and the characters `begin` to `end` of the text that it
    stands for."""

    written: str
    begin: int
    end: int


class _Block(NamedTuple):
    """Units of a text, and those of its written form that stand in their place; one of each if they are equal."""

    begin: int
    end: int
    written_begin: int
    written_end: int
    is_equal: bool


def units_of(text: str, written: str) -> list[Unit]:
    """The units of the written form of a text. Their pieces make up the written form, and they stand for all of the
    text, in order: each begins where the one before it ends, or stands for the same characters.

    An equal unit stands for itself, whatever its case. Those of a replacement all stand for what it replaces, which is
    never empty. Inserted punctuation is part of the unit before it, an opening bracket of that behind it; anything else
    that is inserted shares the characters of the unit before it, and what is left out is covered by that. Only an empty
    text has units of no characters, and only an empty written form has no units.
    """
    said, pieces = _divide(text), _divide(written)
    ends = [0]
    for each in said:
        ends.append(ends[-1] + len(each))
    found, spans, before, begin = list[str](), list[list[int]](), "", 0  # spans are shared, so that all grow as one
    waiting = list[str]()  # units that are inserted before any other

    for block in _blocks([*map(_key, said)], [*map(_key, pieces)]):
        end, span = ends[block.end], list[int]()
        for piece in pieces[block.written_begin : block.written_end]:
            if not block.is_equal and _is_punctuation(piece):
                if found and not before and unicodedata.category(piece.lstrip()[:1] or " ") not in _OPENING:
                    found[-1] += piece
                else:
                    before += piece
                continue
            piece, before = before + piece, ""
            if end > begin and not span:
                span = [begin, end]
                begin = end
                found += waiting
                spans += [span] * len(waiting)
                waiting = []
            if not spans and not span:
                waiting.append(piece)
            else:
                found.append(piece)
                spans.append(span or spans[-1])
        if spans and end > begin:  # it was left out
            spans[-1][1] = begin = end
    if waiting or (before and not found):
        waiting, before = [*waiting, before] if not waiting else [*waiting[:-1], waiting[-1] + before], ""
        found, spans = waiting, [[0, len(text)]] * len(waiting)
    elif before:
        found[-1] += before
    return [Unit(piece, *span) for piece, span in zip(found, spans, strict=True)]


def _divide(text: str) -> list[str]:
    """The units of a text. Marks and joiners stay with what they belong to, and a space at the end with the last."""
    units = list[str]()
    for match in _UNIT.finditer(text):
        piece = match[0]
        if units and (_belongs(piece) or (units[-1][-1] == _JOINER and not piece[0].isspace())):
            units[-1] += piece
        else:
            units.append(piece)
    return units


def _belongs(piece: str) -> bool:
    """Whether a piece belongs to the one before it: marks, joiners and selectors; or nothing but space."""
    first = piece[0]
    return (first > "\u02ff" and unicodedata.category(first) in ("Mn", "Mc", "Me", "Cf")) or piece.isspace()


def _is_punctuation(piece: str) -> bool:
    return all(unicodedata.category(char).startswith("P") for char in piece.strip())


def _key(piece: str) -> str:
    return piece.strip().casefold()


def _blocks(said: Sequence[str], written: Sequence[str]) -> Iterator[_Block]:
    """Blocks of two lists of units, one after the other, that cover both."""
    for block in _matched(said, written, _is_anchor):
        if block.is_equal:
            yield block
            continue
        here, there = said[block.begin : block.end], written[block.written_begin : block.written_end]
        counts, others = Counter(here), Counter(there)
        common = {key for key, count in counts.items() if others[key] == count}
        for inner in _matched(here, there, common.__contains__) if common else (_whole(here, there),):
            yield _Block(
                block.begin + inner.begin,
                block.begin + inner.end,
                block.written_begin + inner.written_begin,
                block.written_begin + inner.written_end,
                inner.is_equal,
            )


def _whole(said: Sequence[str], written: Sequence[str]) -> _Block:
    return _Block(0, len(said), 0, len(written), False)


def _matched(said: Sequence[str], written: Sequence[str], is_anchor: Callable[[str], bool]) -> Iterator[_Block]:
    """The same, where equal units are looked for that are anchors."""
    at = other = 0
    while at < len(said) and other < len(written):
        if said[at] == written[other]:
            yield _Block(at, at + 1, other, other + 1, True)
            at, other = at + 1, other + 1
            continue
        next_at, next_other = at, other
        while next_other < len(written) and _is_punctuation(written[next_other]):
            next_other += 1
        if next_other == len(written) or written[next_other] != said[at]:  # not only punctuation is inserted
            next_at, next_other = _next_equal(said, at, written, other, is_anchor)
        back = 0
        while (
            next_at - back > at
            and next_other - back > other
            and said[next_at - back - 1] == written[next_other - back - 1]
        ):
            back += 1
        yield _Block(at, next_at - back, other, next_other - back, False)
        at, other = next_at - back, next_other - back
    if at < len(said) or other < len(written):
        yield _Block(at, len(said), other, len(written), False)


def _next_equal(
    said: Sequence[str], at: int, written: Sequence[str], other: int, is_anchor: Callable[[str], bool]
) -> tuple[int, int]:
    """Where the nearest anchor is that both have; the ends of both if there is none."""
    size = _WINDOW
    while True:
        places = dict[str, int]()
        for place in range(min(at + size, len(said)) - 1, at - 1, -1):
            places[said[place]] = place
        best, distance = (len(said), len(written)), 2 * size + 1
        for place in range(other, min(other + size, len(written))):
            if place - other >= distance:
                break
            there = places.get(written[place])
            if there is not None and there - at + place - other < distance and is_anchor(written[place]):
                best, distance = (there, place), there - at + place - other
        if distance <= 2 * size or (at + size >= len(said) and other + size >= len(written)):
            return best
        size *= _GROWTH


def _is_anchor(key: str) -> bool:
    """Whether a unit is no numeral and no punctuation."""
    return key not in _NUMERALS and key not in _NUMBER_WORDS and key[:1].isalpha()
