"""Reads the digits of a text aloud, as a speaker of Mandarin would: 2026年 is 二零二六年, 30.5% 百分之三十点五."""

import re
from dataclasses import dataclass

from actors.text.written.said import MAX_DIGITS, date, decimal, digit_by_digit, quantity, time_of_day
from actors.text.written.surroundings import (
    AFTER_TWO,
    AS_ASCII,
    CALLED,
    EMERGENCY,
    HAN,
    HAS_MONEY,
    LASTED,
    LASTS,
    LATIN_BEFORE,
    MEASURE,
    MONEY,
    MONEY_NAMES,
    MULTIPLE,
    OF_RANGE,
    OF_YEAR,
    PER,
    ROOM,
    RUN,
    SAID_AGAIN,
    SCORE,
    SCORED,
    SHARES,
    TYPES,
    UNIT,
    UNITS,
)

_SEEN = 12  # characters on either side of a number
_BETWEEN = {"+": "加", "=": "等于", "×": "乘", "*": "乘"}
_MARKS = re.compile("([.,:/~-])")


def spoken_form(text: str, beside: str = "") -> str:
    """A text whose ASCII and full-width digits are written as they are said, with the signs and units that belong to
    them; all else is as it was. A text without a Chinese character is left as it is, for its language is another,
    unless the one beside it, with which it is to be compared, has one.

    Years, dates, times of day, decimals, percentages, fractions, amounts, ranges, scores, measures and units are read
    by their forms; digit by digit are years, phone, room and other numbers by name, what begins with 0, and what is too
    long for a quantity. Of several right readings, one is chosen; `alike` of readings.py makes them equal.
    """
    if not HAN.search(text) and not HAN.search(beside):
        return text
    plain = text.translate(AS_ASCII)
    said, done = list[str](), 0
    while run := RUN.search(plain, done):
        begin, end, words = _Reading(plain, run.start(), run.end(), done).read()
        said += text[done:begin], words
        done = end
    return "".join([*said, text[done:]])


@dataclass(frozen=True, slots=True)
class _Word:
    """A part of a run that has been read: its words, the numbers that it took, and whether a range may be of it."""

    text: str
    size: int = 1
    is_moment: bool = False


class _Reading:
    """Reads one run of digits and marks between them. Looks only a few characters around it, so that a text takes time
    by its length."""

    def __init__(self, plain: str, begin: int, end: int, done: int) -> None:
        self._plain, self._begin, self._end, self._done = plain, begin, end, done
        parts = _MARKS.split(plain[begin:end])
        self._numbers, self._marks = parts[::2], [*parts[1::2], "", "", ""]
        self._before = plain[max(begin - _SEEN, 0) : begin]
        self._after = plain[end : end + _SEEN].removeprefix(" ")
        self._is_score = bool(SCORE.search(self._before) or SCORED.match(self._after))
        self._dashes = self._marks.count("-") + self._marks.count("~")
        self._is_named = bool(LATIN_BEFORE.search(self._before))
        self._is_called = bool(CALLED.search(self._before)) or (bool(ROOM.match(self._after)) and not self._is_named)

    def read(self) -> tuple[int, int, str]:
        """Where what was read begins and ends, with the signs before and units after it, and its words."""
        end, share, unit = self._unit()
        money = MONEY.search(self._before)
        begin = self._begin - (len(money[0]) if money else 0)
        if money:
            end, unit = self._money(MONEY_NAMES[money[1]])
        begin, sign = self._sign(begin)
        if sign == "负" and unit.startswith(("摄氏度", "华氏度")):
            sign = "零下"
        return begin, end, sign + self._words(share, unit) + unit

    def _unit(self) -> tuple[int, str, str]:
        """Where the units after the run end, the share that is said before it, and what is said after it."""
        end, plain = self._end, self._plain
        if self._is_named:
            return end, "", ""
        place = end + (plain[end : end + 1] == " ")
        if plain[place : place + 1] in SHARES and place < len(plain):
            return place + 1, SHARES[plain[place]], ""
        if self._before[-1:] in ("点", "时") and self._numbers == ["00"] and plain[end : end + 1] == "分":
            return end + 1, "", ""
        unit = UNIT.match(plain, end)
        said = UNITS[unit[1]] if unit else ""
        end = unit.end() if unit else end
        if per := PER.match(plain, end):
            end, said = per.end(), f"{said}{per[1]}每{UNITS.get(per[2], per[2])}"
        return end, "", said

    def _money(self, name: str) -> tuple[int, str]:
        multiple = MULTIPLE.match(self._plain, self._end)
        end, said = (multiple.end(), multiple[1]) if multiple else (self._end, "")
        if not HAS_MONEY.match(self._plain, end):
            said += name
        if per := PER.match(self._plain, end):
            end, said = per.end(), f"{said}{per[1]}每{UNITS.get(per[2], per[2])}"
        return end, said

    def _sign(self, begin: int) -> tuple[int, str]:
        """What is said for a sign before the run, and where it begins."""
        mark, between = self._plain[max(begin - 1, 0) : begin], begin - 1 - self._done
        follows = self._done > 0 and between >= 0
        if mark in ("-", "~") and mark:
            if follows and between <= 4 and OF_RANGE.fullmatch(self._plain[self._done : begin - 1]):
                return begin - 1, "到"
            before = self._plain[max(begin - 3, 0) : begin - 1]
            is_minus = mark == "-" and between >= 0 and not before.endswith(TYPES)
            if is_minus and not re.search("[0-9A-Za-z~-]$", before):
                return begin - 1, "负"
        if mark in _BETWEEN and follows and between == 0:
            return begin - 1, _BETWEEN[mark]
        return begin, ""

    def _words(self, share: str, unit: str) -> str:
        said, first, place = list[str](), 0, 0  # `first`: where the range that is being read begins in `said`
        while place < len(self._numbers):
            word = self._one(place, unit)
            said.append(word.text)
            place += word.size
            if place < len(self._numbers):
                mark = self._joint(place, word)
                said.append(mark)
                first = first if mark == "到" else len(said)
        said[first] = share + said[first]
        if SAID_AGAIN.match(self._after):
            said[-1] = said[-1].removesuffix(self._after[:1])  # of 13:15分, 2025-11-26日
        return "".join(said)

    def _joint(self, place: int, left: _Word) -> str:
        """What is said between two parts of a run, where nothing is: the mark itself."""
        mark = self._marks[place - 1]
        if mark == ":":
            return "比"
        if mark not in ("-", "~"):
            return mark
        if left.is_moment or (mark == "~" and self._dashes == 1):
            return "到"
        if self._dashes > 1:
            return mark
        if self._is_score:
            return "比"
        if self._after[:1] == "=":
            return "减"
        low, high = self._numbers[place - 1], self._numbers[place]
        if self._marks[place - 2 : place - 1] == ["."] or self._marks[place] == ".":
            return "到"
        if self._is_called or self._is_named:
            return mark
        if low[0] != "0" and (len(low), low) < (len(high), high):
            return "到" if len(high) < 11 else mark
        return "比" if all(len(each) < 3 and (each == "0" or each[0] != "0") for each in (low, high)) else mark

    def _one(self, place: int, unit: str) -> _Word:
        """Reads the part of the run that begins at a number."""
        numbers, marks = self._numbers[place : place + 7], self._marks[place : place + 7]
        mark, number = marks[0], numbers[0]
        if mark in ("-", "/", ".") and marks[1] == mark and marks[2] != mark and (day := date(*numbers[:3])):
            return _Word(day, 3, is_moment=True)
        if mark == "-" and (size := _phone(numbers, marks)):
            return _Word(digit_by_digit("".join(numbers[:size])), size)
        if mark == ":" and not self._is_score and (moment := _moment(numbers, marks)):
            return moment
        if mark == "," and (size := _thousands(numbers, marks)):
            whole = "".join(numbers[:size])
            if marks[size - 1] == ".":
                return _Word(decimal(whole, numbers[size]), size + 1)
            return _Word(self._quantity(whole, self._after if place + size == len(self._numbers) else ""), size)
        if mark == ".":
            return self._dotted(place)
        if mark in ("-", "/") and (month := self._month(place)):
            return month
        if mark == "/" and marks[1] != "/" and not (place and self._marks[place - 1] == "/"):
            over = numbers[1]
            if over.strip("0") and not (_is_year(number) and len(over) in (2, 4)):
                return _Word(f"{quantity(over)}分之{quantity(number)}", 2)
        is_last = place + 1 == len(self._numbers) or (place + 2 == len(self._numbers) and mark in ("-", "~"))
        return _Word(self._whole(number, (unit or self._after) if is_last else "", mark))

    def _dotted(self, place: int) -> _Word:
        """A decimal, or what has several points: 192.168.1.1, a version."""
        end = place + 1
        while self._marks[end] == ".":
            end += 1
        if end == place + 1:
            return _Word(decimal(*self._numbers[place : place + 2]), 2)
        return _Word("点".join(map(digit_by_digit, self._numbers[place : end + 1])), end - place + 1)

    def _month(self, place: int) -> _Word | None:
        """2025-11 and 2025/11, a month of a year."""
        year, month = self._numbers[place : place + 2]
        is_one = _is_year(year) and len(month) == 2 and 1 <= int(month) <= 12 and len(self._numbers) == 2
        if not is_one or MEASURE.match(self._after) or self._after[:1] in ("年", "赛", "学"):
            return None
        return _Word(f"{digit_by_digit(year)}年{quantity(month)}月", 2, is_moment=True)

    def _whole(self, number: str, after: str, mark: str = "") -> str:
        """A number without marks, by what comes before and after it."""
        before = self._before if number is self._numbers[0] else ""
        if len(number) > MAX_DIGITS or self._is_by_digits(number, before, after, mark):
            return digit_by_digit(number)
        if number == "00":
            return "整" if after[:1] == "分" and before[-1:] in ("点", "时") else "零零"
        return self._quantity(number, after, before)

    def _quantity(self, number: str, after: str, before: str = "") -> str:
        is_two = number == "2" and AFTER_TWO.match(after) and before[-1:] not in ("第", "周", "期")
        return "两" if is_two and not self._is_score else quantity(number)

    def _is_by_digits(self, number: str, before: str, after: str, mark: str) -> bool:
        size, is_counted = len(number), bool(MEASURE.match(after) or after[:1] in SHARES)
        if number[0] == "0" and size > 1:
            is_day = after[:1] in ("月", "日") or (after[:1] == "号" and before[-1:] == "月")
            return not (number == "00" and after[:1] == "分") and not (size == 2 and is_day and number != "00")
        if after[:1] == "年":
            return self._is_year(number, before, after)
        if self._is_named or after[:1] in ("P", "p"):
            return size > 2
        if size == 2 and after[:1] == "后" and number[0] in "056789" and number[1] in "05":
            return after[1:2] not in ("来", "面", "退")
        if size == 11 and number[0] == "1" and number[1] > "2":
            return not is_counted
        if self._dashes > 1:
            return size > 1
        if self._is_called and not (is_counted and not ROOM.match(after)):
            return size > 2
        if _is_year(number) and OF_YEAR.match(after):
            return before[-1:] != "第"
        if before[-1:] == "第" or is_counted:
            return False
        if size == 2 and before[-1:] == "米" and before[-2:-1].isdigit():
            return True
        return _is_year(number) or number in EMERGENCY or (size > 4 and not number.endswith("00"))

    def _is_year(self, number: str, before: str, after: str) -> bool:
        """Whether what stands before 年 is a year, and not a number of years."""
        size = len(number)
        if size == 4:
            is_counted = LASTS.search(before) or after[1:3] in ("历史", "之久")
            return (number[1:] != "000" or number == "2000") and number < "2101" and not is_counted
        if size == 3:
            return before.endswith(("公元", "公元前"))
        if size != 2 or LASTS.search(before) or LASTED.match(after):
            return False
        return bool(re.match(r"年 ?\d{1,2} ?月", after)) or (number > "70" and number[1] != "0")


def _is_year(number: str) -> bool:
    """Whether a number is a year where nothing else tells."""
    return len(number) == 4 and number[:2] in ("19", "20")


def _phone(numbers: list[str], marks: list[str]) -> int:
    """How many numbers, with dashes between them, are one of a phone; 0 if they are none."""
    first = numbers[0]
    sizes = tuple(map(len, numbers[: 1 + next((at for at, mark in enumerate(marks) if mark != "-"), len(marks))]))
    is_area = first[0] == "0" and sizes[0] in (3, 4) and sizes[1] in (7, 8)
    if sizes in ((3, 4, 4), (3, 3, 4)) and first[0] in "148":
        return 3
    if sizes == (3, 7) and first in ("400", "800"):
        return 2
    return len(sizes) if is_area and len(sizes) < 4 else 0


def _moment(numbers: list[str], marks: list[str]) -> _Word | None:
    """A time of day, with seconds or without."""
    size = 3 if marks[1] == ":" else 2
    if marks[size - 1] == ":" or (said := time_of_day(*numbers[:size])) is None:
        return None
    return _Word(said, size, is_moment=True)


def _thousands(numbers: list[str], marks: list[str]) -> int:
    """How many numbers are one with a comma before each three digits; 0 if they are none."""
    size = 1 + next((at for at, mark in enumerate(marks) if mark != ","), len(marks))
    is_one = len(numbers[0]) <= 3 and numbers[0][0] != "0" and all(len(each) == 3 for each in numbers[1:size])
    return size if is_one and size <= 6 else 0
