"""Puts marks of punctuation, found in a text as it was said, into its written form, and breaks no number by one."""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from actors.text.written.spans import units_of


class Mark(NamedTuple):
    """A mark of punctuation, and the number of characters of the text that stand before it."""

    at: int
    mark: str


#: What is punctuated as it stands.
_PUNCTUATED = re.compile(r"\s*[,.;:!?…。，、？！；：]")
_DIGITS = r"\d[\d.,:/]*+(?:[百千万亿]++\d*+)*+"
#: Numbers that are written in several pieces; a date, a time of day and an amount are one each.
_NUMBER = re.compile(
    rf"[负第$¥￥€£+−-]{{0,2}}+(?:{_DIGITS}年(?:{_DIGITS}月(?:{_DIGITS}[日号])?)?|{_DIGITS}月(?:{_DIGITS}[日号])?"
    rf"|{_DIGITS}[点时](?:半|[一三]刻|{_DIGITS}(?:分(?:{_DIGITS}秒)?)?)?|{_DIGITS}分{_DIGITS}秒"
    rf"|{_DIGITS}[元块](?:{_DIGITS}[角毛]?(?:{_DIGITS}分)?)?|{_DIGITS}[角毛](?:{_DIGITS}分)?|{_DIGITS}[%‰℃]?)"
)


def place_marks(text: str, written: str, marks: Sequence[Mark]) -> str:
    """The written form of a text with marks, which are given by their places in the text, in order.

    Nothing but marks is added: none within a number, within what stands for other words than it is written with, or
    where the written form has one.
    """
    places = marks if text == written else _places_in(text, written, marks)
    broken = {at for each in _NUMBER.finditer(written) for at in range(each.start() + 1, each.end())} if places else ()
    pieces, done = list[str](), 0
    for at, mark in places:
        if at not in broken and not _PUNCTUATED.match(written, at) and not _PUNCTUATED.match(written[at - 1 : at]):
            pieces += written[done:at], mark
            done = at
    return "".join([*pieces, written[done:]])


def _places_in(text: str, written: str, marks: Sequence[Mark]) -> list[Mark]:
    """The marks by their places in the written form: behind the last of the units that end where a mark stands in the
    text. One that stands where none ends is left out."""
    units = units_of(text, written)
    ends = accumulate(len(each.written) for each in units)
    places = dict[int, int]()
    for unit, end in zip(units, ends, strict=True):
        said = len(text[unit.begin : unit.end].rstrip())
        places[unit.begin + said] = end - len(unit.written) + len(unit.written.rstrip())
    return [Mark(places[each.at], each.mark) for each in marks if each.at in places]
