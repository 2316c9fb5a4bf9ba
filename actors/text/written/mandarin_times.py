"""Dates and times of day in Mandarin, as they are written."""

import re

from actors.text.written import mandarin_words as words
from actors.text.written.mandarin_numbers import DIGIT_NUMERALS, NUMERALS, Edit, Judged, digits_of, value_of

_MONTH_AND_DAY = re.compile("([一二三四五六七八九十]{1,2})月(?:([一二三四五六七八九十]{1,3})(?=[日号]))?")
_TO_A_MONTH = re.compile("月[到至][一二三四五六七八九十]{1,2}月")
_TO_AN_HOUR = re.compile(f"点[到至][{NUMERALS}]{{1,3}}点")
_YEAR = re.compile(f"[{DIGIT_NUMERALS}]{{2,4}}")
_MINUTES = re.compile("[一二三四五]?十[一二三四五六七八九]?|零[一二三四五六七八九]")
_SECONDS = re.compile("分([一二三四五六七八九十零]{1,3})秒")
_FORMAL_MINUTES = re.compile("时([一二三四五六七八九十零]{1,3})分(?![之钟])")
_LAST_HOUR = 24


def year(plain: str, begin: int, end: int) -> Judged | None:
    """The edits of a year that is said digit by digit, before 年, and of its month and day; None if it is none.

    >>> year("九八年六月四号", 0, 2)
    (6, [Edit(begin=0, end=2, text='98'), Edit(begin=3, end=4, text='6'), Edit(begin=5, end=6, text='4')])
    """
    run = plain[begin:end]
    if not _YEAR.fullmatch(run):
        return None
    date = _MONTH_AND_DAY.match(plain, end + 1)
    if len(run) == 2 and not date and (run in words.UP or run == "三五" or plain[end + 1 : end + 2] in (*"华级纪龄",)):
        return None  # 三四年 and 三五年 are a few
    edits = [Edit(begin, end, digits_of(run))]
    if not date:
        return end, edits
    month_and_day = _date(date)
    return (date.end(), edits + month_and_day) if month_and_day else (end, edits)


def month(plain: str, begin: int, end: int) -> Judged:
    """The edits of a month before 月, and of its day. 三月 alone, and what may be a festival, stays."""
    date = _MONTH_AND_DAY.match(plain, begin)
    if not date or date.end(1) != end or not (edits := _date(date)):
        return end, []
    if len(edits) == 2:
        return date.end(), edits
    before, after = plain[begin - 1 : begin], plain[end + 1 : end + 2]
    is_month = before == "年" or after == "份" or bool(_TO_A_MONTH.match(plain, end))
    is_month = is_month or (begin > 1 and plain[begin - 2 : begin] in ("月到", "月至"))
    is_month = is_month or (end - begin == 2 and plain[begin] == "十" and after not in ("饼", "亮", "光", "球", "初"))
    return end, edits if is_month else []


def _date(date: re.Match[str]) -> list[Edit]:
    """The edits of a month and, where it is said, a day; none where there are no such."""
    numbers = [value_of(date[group]) for group in (1, 2) if date[group]]
    if any(not number or number > most for number, most in zip(numbers, (12, 31), strict=False)):
        return []
    return [Edit(*date.span(group), str(number)) for group, number in enumerate(numbers, 1)]


def hour_of(run: str) -> int | None:
    """The hour that a numeral may be."""
    hour = value_of(run) if len(run) <= 3 else None
    return hour if hour is not None and hour <= _LAST_HOUR else None


def is_in_day(plain: str, begin: int) -> bool:
    """Whether a part of the day, such as 早上, stands right before."""
    return begin > 1 and plain[begin - 2 : begin] in words.PARTS_OF_DAY


def hour_alone(plain: str, begin: int, end: int) -> list[Edit]:
    """The edit of an hour before 点 without minutes, where it is one: 三点 may be three things."""
    hour = hour_of(plain[begin:end])
    after = plain[end + 1 : end + 2]
    if hour is None or after in ("几", "儿"):
        return []
    is_hour = hour >= 10 or (after in ("半", "整", "钟") and plain[end + 2 : end + 3] not in ("点", "儿"))
    is_hour = is_hour or bool(_TO_AN_HOUR.match(plain, end))
    is_hour = is_hour or (begin > 1 and plain[begin - 2 : begin] in ("点到", "点至", "半到", "半至"))
    if not is_hour and is_in_day(plain, begin):
        is_hour = hour != 1 or not (after in NUMERALS or after.isdigit() or after in "都也没不吧啊")
    return [Edit(begin, end, str(hour))] if is_hour else []


def time(plain: str, begin: int, end: int, said: re.Match[str]) -> list[Edit]:
    """The edits of an hour before 点, of its minutes `said`, and of its seconds; none where it is no time of day.

    >>> written = "八点零五分", "晚上八点五分"
    >>> [len(time(text, text.index("八"), text.index("点"), re.compile("零?五").search(text))) for text in written]
    [2, 2]
    """
    hour, minutes, after = hour_of(plain[begin:end]), said[0], plain[said.end() : said.end() + 1]
    if hour is None:
        return []
    edits = [Edit(begin, end, str(hour))]
    if minutes in ("一", "三") and after == "刻":
        return edits
    if minutes == "十" and (after != "分" or plain[begin - 1 : begin] in words.BEFORE_A_BIT):
        return []  # 有一点十分重要
    if not _MINUTES.fullmatch(minutes) and not (len(minutes) == 1 and after == "分" and is_in_day(plain, begin)):
        return []
    if minutes[0] == "零" and after != "分" and not is_in_day(plain, begin):
        return []  # 五点零三 is 5.03
    if (written := _of_clock(minutes)) is None:
        return []
    edits.append(Edit(*said.span(), written))
    seconds = _SECONDS.match(plain, said.end())
    if seconds and (written := _of_clock(seconds[1])):
        edits.append(Edit(*seconds.span(1), written))
    return edits


def formal_time(plain: str, begin: int, end: int) -> Judged | None:
    """The edits of an hour before 时 and its minutes, as news say them; None where it is like any other number."""
    hour, minutes = hour_of(plain[begin:end]), _FORMAL_MINUTES.match(plain, end)
    written = _of_clock(minutes[1]) if minutes else None
    if hour is None or not (written or (is_in_day(plain, begin) and plain[begin:end] != "一")):
        return None
    edits = [Edit(begin, end, str(hour))]
    if minutes and written:
        return minutes.end(), [*edits, Edit(*minutes.span(1), written)]
    return end, edits


def _of_clock(run: str) -> str | None:
    if run[0] == "零":
        return digits_of(run) if len(run) == 2 and run[1] != "十" else None
    value = value_of(run)
    return None if value is None else str(value)
