"""Mandarin numerals: what they amount to, and how such a number is written."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

#: The digit of each numeral that is one. 幺 is said for 一 in telephone numbers, 两 for 二 where things are counted.
DIGITS = dict(zip("零〇○一幺二两三四五六七八九", "00011223456789", strict=True))
ZEROS = "零〇○"
TENS = {"十": 10, "百": 100, "千": 1000}
DIGIT_NUMERALS = "零〇○一二三四五六七八九幺"  # those that are said one by one
NUMERALS = DIGIT_NUMERALS + "两十百千万亿"
#: No number that people say is longer: 九千九百九十九万 of 亿 and all digits below have 32.
LONGEST = 40
_WAN, _YI = 10_000, 100_000_000
_FIGURES = str.maketrans(DIGITS)


class Edit(NamedTuple):
    """What is written instead of text[begin:end]."""

    begin: int
    end: int
    text: str


#: Where to go on in a text, and what is written for what was passed.
Judged = tuple[int, list[Edit]]


def digits_of(run: str) -> str:
    """The digits of numerals that are said one by one: 二零二六 is 2026."""
    return run.translate(_FIGURES)


@lru_cache(4096)
def value_of(run: str) -> int | None:
    """What a numeral amounts to; None where it is not well formed, or longer than any that is said.

    The last digit may stand for its unit, as people say it: 三万五 is 35,000, 三百五 is 350. Where digits stand side by
    side the numeral is approximate (三四十), a list (十一十二) or said digit by digit, so it has no value.
    """
    if not run or len(run) > LONGEST:
        return None
    head, yi, tail = run.rpartition("亿")
    if not yi:
        return _below_yi(run)
    if tail and "万" not in tail and tail[0] not in ZEROS and len(tail) > 1:
        return None  # 一亿两千 mostly means 一亿两千万
    return _joined(_below_yi(head), _YI, tail, _below_yi)


def shown(value: int) -> str:
    """A number as people write it: with 万 and 亿 where nothing is below them, else in digits.

    >>> shown(120_000_000), shown(35_000), shown(100_000)
    ('1亿2000万', '35000', '10万')
    """
    if value % _WAN or not value:
        return str(value)
    if value % (_YI * _WAN) == 0:
        return f"{value // _YI // _WAN}万亿"
    yi, wan = divmod(value // _WAN, _WAN)
    if yi and 0 < wan < 1000:
        return str(value)  # 一亿零二十万, whose zero would be lost
    return (f"{yi}亿" if yi else "") + (f"{wan}万" if wan else "")


def _below_yi(run: str) -> int | None:
    head, wan, tail = run.partition("万")
    return _joined(_below_wan(head), _WAN, tail, _below_wan) if wan else _below_wan(run)


def _joined(count: int | None, unit: int, tail: str, value: Callable[[str], int | None]) -> int | None:
    """So many units and what follows them."""
    if not count or not tail:
        return count and count * unit
    if len(tail) == 1:
        digit = int(DIGITS.get(tail, 0)) if tail not in "两幺" else 0
        return count * unit + digit * unit // 10 if digit else None
    rest = value(tail[1:] if tail[0] in ZEROS else tail)
    return count * unit + rest if rest else None


def _below_wan(run: str) -> int | None:
    total, last, digit, has_zero = 0, _WAN, "", False
    for char in run:
        if unit := TENS.get(char):
            if unit >= last or (unit == 10 and digit == "两") or (unit > 10 and not digit):
                return None
            total, last, digit, has_zero = total + int(DIGITS[digit or "一"]) * unit, unit, "", False
        elif digit or char not in DIGITS or char == "幺":
            return None
        elif char in ZEROS:
            if has_zero or not total:
                return 0 if run == char else None
            has_zero = True
        else:
            digit = char
    if not digit:
        return None if has_zero else total or None
    if has_zero or last in (10, _WAN):
        return total + int(DIGITS[digit]) if digit != "两" or not total else None
    return total + int(DIGITS[digit]) * last // 10 if digit != "两" else None
